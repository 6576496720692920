"""What a save costs while the site is served: the pages that it changes are rendered again, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.structure.pages import Page


@pytest.fixture
def save(with_notebook, monkeypatch) -> Callable[..., list[str]]:
    """Builds the site as its server does after a save, and tells which pages it rendered."""
    rendered = []
    render = Page.render
    monkeypatch.setattr(Page, "render", lambda page, *rest: rendered.append(page.file.src_uri) or render(page, *rest))
    config_file, site_dir = str(with_notebook.root / "mkdocs.yml"), str(with_notebook.root / "served")

    def config():
        return load_config(config_file, site_dir=site_dir, dev_addr="127.0.0.1:0")

    def save(path: str = "", old: str = "", new: str = "") -> list[str]:
        rendered.clear()
        if path:
            with_notebook.replace(path, old, new)
        build(config(), serve_url="http://127.0.0.1:0/")
        return sorted(rendered)

    config().plugins.on_startup(command="serve", dirty=False)
    save()
    return save


def test_a_save_renders_only_the_page_that_it_changes(with_notebook, save):
    def shown(page: str) -> str:
        return with_notebook.read(f"served/{page}.html")

    assert save() == []
    assert save("docs/add.md", "Two numbers", "Both numbers") == ["add.md"]
    assert "Both numbers are added." in shown("add")
    assert save("snippets/add.py", "add(1, 2)", "add(2, 1)") == ["add.md"]
    assert "add(2, 1)" in shown("add")
    assert save("snippets/add.txt", "total: 3", "total: three") == ["add.md"]
    assert "total: three" in shown("add")
    assert save("docs/squares.ipynb", "numbers: 3", "numbers: three") == ["squares.ipynb"]
    assert "numbers: three" in shown("squares")


def test_what_every_page_may_show_renders_them_all(with_notebook, save):
    every = ["add.md", "index.md", "squares.ipynb"]
    assert save("mkdocs.yml", "nav: null", "nav: null\nsite_name: Numbers") == every
    with_notebook.write("docs/more.md", "# More\n")
    assert save() == sorted([*every, "more.md"])


def test_a_page_lets_the_script_in_that_reloads_it(with_notebook, save):
    """Published, it has a policy against all that the site didn't write: `tests/browser/test_private.py`."""
    assert "Content-Security-Policy" not in with_notebook.read("served/add.html")
    assert with_notebook.build()[0] == 0
    assert "Content-Security-Policy" in with_notebook.read("site/add.html")
