"""Each module that a page offers, downloaded as a reader does, runs with Python and prints what the page shows.

It is run without a file, as if pasted, so TensorFlow finds no source to rewrite. Sybil has run the same code from its
file.
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
from urllib.request import urlopen

import pytest
from bs4 import BeautifulSoup

from engine.prove import records
from engine.publish import html
from engine.site import Piece, pieces
from tests.site import AS_A_READER, SITE
from tests.takeaway import shell

MODULES = {module.relative_to(SITE.snippets).as_posix(): module for module in SITE.modules()}


def download(address: str, name: str) -> str:
    with urlopen(address + name) as answer:
        return answer.read().decode()


def parts(name: str) -> tuple[list[Piece], list[Piece]]:
    """The pieces of a module that a reader gets, and those that aren't taken along because they fail."""
    fail = [piece for piece in pieces(MODULES[name]) if piece.name.endswith("_fails") and name[:7] != "errors/"]
    return [piece for piece in pieces(MODULES[name]) if piece not in fail], fail


def recorded(name: str) -> list[str]:
    """The words that a module is recorded to print."""
    return " ".join(records.read(SITE, piece).printed for piece in parts(name)[0]).split()


@pytest.mark.parametrize("name", MODULES)
def test_it_runs_in_an_empty_folder_and_prints_what_the_page_shows(name, address, process):
    text = download(address, name)
    assert "--8<--" not in text
    assert process.call(shell.script, text).split() == recorded(name)


@pytest.mark.parametrize("name", MODULES)
def test_it_holds_what_works(name, address):
    """Forms that fail are in it only where the page is one of the errors."""
    text, (works, fails) = flat(download(address, name)), parts(name)
    assert all(flat(piece.text) in text for piece in works if piece.is_code)
    assert not any(flat(piece.text) in text for piece in fails)
    assert fails or name != "layers/custom_layer.py"


def flat(text: str) -> str:
    """Its lines, wherever they begin: a section may stand in the guard."""
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.mark.parametrize("name", [name for name in MODULES if name[:7] != "errors/"])
def test_nothing_in_it_needs_what_was_left_out(name, address, tmp_path):
    """No name is undefined, and nothing is imported that is no longer used."""
    (tmp_path / "module.py").write_text(download(address, name), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", "--ignore=F811", "module.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_interpreter_prints_the_same(address, tmp_path):
    """The processes of the other tests are forked; this one is started as a reader starts it."""
    text = download(address, "layers/custom_layer.py")
    command = [sys.executable, "-"]
    env = AS_A_READER
    done = subprocess.run(command, input=text, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == recorded("layers/custom_layer.py")


PROGRAMS = ("layers/custom_layer", "models/custom_model", "models/multiple_inputs_outputs")
"""The pages that begin with a program to copy."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_page_begins_with_a_program(name, built):
    """It stands above all but what says when to use it, is seen whole, and what it prints stands under it."""
    page = (built / f"{name}.html").read_text(encoding="utf-8")
    (language, text), (below, _), *_ = html.shown_in(page).code
    assert (language, below) == ("python", "text")
    assert 30 <= len(text.splitlines()) <= 50
    assert all(part in text for part in ("import keras\n", ".compile(", ".fit(", ".save(", "load_model("))
    docstrings = [ast.get_docstring(node) for node in ast.parse(text).body if isinstance(node, DEFINED)]
    assert docstrings
    assert all(len(docstring.splitlines()) <= 2 for docstring in docstrings)

    body = BeautifulSoup(page, "html.parser").article
    assert body.h2.get_text().removesuffix("¶") == "A complete program"
    assert body.table.find_previous("h2") is not body.h2
    assert body.find("pre").find_previous("h2") is body.h2


DEFINED = (ast.ClassDef, ast.FunctionDef)


def test_a_downloaded_tool_links_to_the_site_that_offers_it(address, built, tmp_path):
    """What a report names beside "see:" is an address, and the page there has the entry."""
    (tmp_path / "checkup.py").write_text(download(address, "tools/checkup.py"), encoding="utf-8")
    (tmp_path / "mine.py").write_text(NAMELESS, encoding="utf-8")
    command = [sys.executable, "checkup.py", "mine:Nameless"]
    done = subprocess.run(command, cwd=tmp_path, env=AS_A_READER, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    page, _, anchor = re.search(r"see: (\S+)", done.stdout)[1].removeprefix(address).partition("#")
    assert BeautifulSoup((built / page).read_text(encoding="utf-8"), "html.parser").find(id=anchor)


NAMELESS = """
import keras

@keras.saving.register_keras_serializable()
class Nameless(keras.layers.Layer):
    def __init__(self, units=2):
        super().__init__()
        self.units = units

    def call(self, inputs):
        return inputs
"""


HEAD = re.compile(r"# /// script\n((?:#.*\n)+?)# ///\n# Run it with: uv run (\S+)\n\n")


@pytest.mark.parametrize("name", [*MODULES, "tools/checkup.py", "tools/cost.py", "tools/serve.py"])
def test_it_says_how_it_is_run(name, address):
    assert HEAD.match(download(address, name))[2] == name.rpartition("/")[2]


@pytest.mark.parametrize("name", MODULES)
def test_its_head_names_the_versions_that_it_is_proved_with(name, address):
    """Those of the lock, for each package that it imports, and for TensorFlow, which Keras imports."""
    text = download(address, name)
    head = tomllib.loads(re.sub(r"(?m)^# ?", "", HEAD.match(text)[1]))
    project = tomllib.loads((SITE.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert head["requires-python"] == project["requires-python"]
    named = dict(dependency.split("==") for dependency in head["dependencies"])
    assert all(importlib.metadata.version(package) == version for package, version in named.items())
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in nodes}
    tools = {tool.stem for tool in SITE.tools.glob("*.py")}
    called = {"sklearn": "scikit-learn", "ai_edge_litert": "ai-edge-litert"}
    packages = {called.get(name, name) for name in roots - sys.stdlib_module_names - tools}
    assert set(named) == packages | {"tensorflow"}


@pytest.mark.skipif(not shutil.which("uv"), reason="uv isn't installed")
def test_uv_runs_it_in_an_empty_folder(address, tmp_path):
    (tmp_path / "index.py").write_text(download(address, "index.py"), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(["uv", "run", "index.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == recorded("index.py")
