"""Each notebook that a page offers, downloaded as a reader does, runs as it is and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from nbclient import NotebookClient

from engine.publish import html
from engine.site import cells, pieces
from tests.site import AS_A_READER, SITE
from tests.takeaway import shell

NAMES = [module.relative_to(SITE.snippets).with_suffix("").as_posix() for module in SITE.modules()]


def module_of(name: str) -> Path:
    return SITE.snippets / f"{name}.py"


def download(address: str, name: str) -> nbformat.NotebookNode:
    with urlopen(f"{address}{name}.ipynb") as answer:
        return nbformat.reads(answer.read().decode(), as_version=4)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(printed: str) -> list[str]:
    """Those of a text: a notebook shows a summary in colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", printed).split()


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The words that each cell prints."""
    streams = [[output.text for output in cell.outputs if output.get("name") == "stdout"] for cell in code_of(notebook)]
    return [words("".join(texts)) for texts in streams]


@pytest.mark.parametrize("name", NAMES)
def test_its_cells_are_the_blocks_of_the_page(name, address):
    """Sybil has run them, and no block ends with a value that a notebook alone would show."""
    notebook = download(address, name)
    nbformat.validate(notebook)
    assert any(shown(notebook))
    with urlopen(f"{address}{name}.html") as answer:
        code = html.shown_in(answer.read().decode()).code
    assert [cell.source for cell in code_of(notebook)] == [text for language, text in code if language == "python"]


HELD_ALREADY = {name for name in NAMES if not any(piece.name.endswith("_fails") for piece in pieces(module_of(name)))}
"""Their modules are all that their notebooks are, and are run as readers run them: `test_modules.py`."""


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HELD_ALREADY])
def test_it_runs_as_it_is_and_prints_what_the_page_shows(name, address, process):
    notebook = download(address, name)
    printed = process.call(shell.cells, [cell.source for cell in code_of(notebook)])
    assert [words(text) for text in printed] == shown(notebook)


def test_a_kernel_prints_the_same(address, tmp_path):
    """The processes of the other tests are forked; this one is started as Jupyter starts it."""
    notebook = download(address, "layers/custom_layer")
    expected = shown(notebook)
    for cell in code_of(notebook):
        cell.outputs = []
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute(env=AS_A_READER)
    assert shown(notebook) == expected


@pytest.mark.parametrize("name", NAMES)
def test_its_prose_reads_without_the_site(name, address):
    """No markup of the site's own, and no link that leads nowhere from another folder."""
    notebook = download(address, name)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose.startswith("# ")
    assert "Proved with TensorFlow" in prose
    for markup in ("!!!", "--8<--", "{ #", "<div", "markdown>", "¶"):
        assert markup not in prose
    targets = re.findall(r"\]\(<?([^)>]+)", re.sub(r"`[^`]*`", "", prose))
    assert all(target.startswith(("http://", "https://", "/")) for target in targets), targets


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tutorials/")])
def test_a_tutorial_takes_its_plots_along(name, address):
    plots = [cell.alt for cell in cells(module_of(name)) if cell.alt]
    taken = [
        output.data["text/plain"]
        for cell in code_of(download(address, name))
        for output in cell.outputs
        if output.output_type == "display_data" and {"image/svg+xml", "image/png"} <= set(output.data)
    ]
    assert taken == plots
