"""Each module that a page offers, downloaded as a reader does, runs with Python and prints what the page shows.

It is handed to an interpreter as its input, as if pasted: without a file, TensorFlow finds no source to rewrite. Sybil
has run the same code from its file.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
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


HEAD = re.compile(r"# /// script\n((?:#.*\n)+?)# ///\n")


@pytest.mark.parametrize("name", MODULES)
def test_its_head_names_the_versions_that_it_is_proved_with(name, address):
    """Those of the lock, for each package that it imports, and for TensorFlow, which Keras imports."""
    with urlopen(address + name) as answer:
        text = answer.read().decode()
    head = tomllib.loads(re.sub(r"(?m)^# ?", "", HEAD.match(text)[1]))
    assert (
        head["requires-python"]
        == tomllib.loads((SITE.root / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    named = dict(dependency.split("==") for dependency in head["dependencies"])
    assert all(importlib.metadata.version(package) == version for package, version in named.items())
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in nodes}
    packages = {"scikit-learn" if name == "sklearn" else name for name in roots - sys.stdlib_module_names}
    assert set(named) == packages | {"tensorflow"}


@pytest.mark.skipif(not shutil.which("uv"), reason="uv isn't installed")
def test_uv_runs_it_in_an_empty_folder(address, tmp_path):
    with urlopen(address + "index.py") as answer:
        (tmp_path / "index.py").write_bytes(answer.read())
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(["uv", "run", "index.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == recorded(MODULES["index.py"]).split()
