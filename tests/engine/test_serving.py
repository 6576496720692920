"""What serving the site changes in its pages."""

from __future__ import annotations

from mkdocs.commands.build import build
from mkdocs.config import load_config


def test_a_page_lets_the_script_in_that_reloads_it(project):
    """Published, it has a policy against all that the site didn't write: `tests/browser/test_private.py`."""
    config = load_config(str(project.root / "mkdocs.yml"), site_dir=str(project.root / "served"))
    config.plugins.on_startup(command="serve", dirty=False)
    build(config, serve_url="http://127.0.0.1:0/")
    assert "Content-Security-Policy" not in project.read("served/add.html")
    assert project.build()[0] == 0
    assert "Content-Security-Policy" in project.read("site/add.html")
