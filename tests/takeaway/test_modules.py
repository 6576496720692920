"""Each module that a page offers, downloaded as a reader does, runs with Python and prints what the page shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from engine import notebooks, pages, records

SITE = pages.Site.load(Path(__file__).parents[2])
MODULES = {module.relative_to(SITE.snippets).as_posix(): module for module in sorted(SITE.snippets.rglob("*.py"))}


def recorded(module: Path) -> str:
    if pages.has_cells(module):
        return "\n".join(map(notebooks.printed_by, notebooks.recorded(module, SITE).cells))
    return "\n".join(records.read(module, name) or "" for name in pages.sections(module))


@pytest.mark.parametrize("name", MODULES)
def test_it_runs_in_an_empty_folder_and_prints_what_the_page_shows(name, address, tmp_path):
    with urlopen(address + name) as answer:
        text = answer.read().decode()
    assert "--8<--" not in text
    (tmp_path / "module.py").write_text(text, encoding="utf-8")
    folder = tmp_path / "empty"
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", "../module.py"]
    env = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == recorded(MODULES[name]).split()
