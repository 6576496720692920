"""Each module that a page offers, downloaded as a reader does, runs with Python and prints what the page shows.

It is handed to an interpreter as its input, as if pasted: without a file, TensorFlow finds no source to rewrite. Sybil
has run the same code from its file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from engine import notebooks, pages, records
from tests.site import AS_A_READER

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
    command = [sys.executable, "-W", "ignore", "-"]
    env = AS_A_READER | {"MPLBACKEND": "agg"}
    done = subprocess.run(command, input=text, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == recorded(MODULES[name]).split()
