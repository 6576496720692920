"""Each notebook that a page offers, downloaded as a reader does, runs as it is and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from nbclient import NotebookClient

from engine import notebooks, pages
from tests.site import AS_A_READER

SITE = pages.Site.load(Path(__file__).parents[2])
NAMES = [module.relative_to(SITE.snippets).with_suffix("").as_posix() for module in sorted(SITE.snippets.rglob("*.py"))]


def download(address: str, name: str) -> nbformat.NotebookNode:
    with urlopen(f"{address}{name}.ipynb") as answer:
        return nbformat.reads(answer.read().decode(), as_version=4)


def printed(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The words that each cell prints: a notebook shows a summary in colours, and TensorFlow's log among the prints."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [re.sub(r"\x1b\[[\d;]*m", "", "".join(map(_text, cell.outputs))).split() for cell in cells]


def _text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "display_data":
        return "" if "image/svg+xml" in output.data or "image/png" in output.data else output.data["text/plain"] + "\n"
    if output.get("name") != "stdout":
        return ""
    lines = output.text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("WARNING:tensorflow:"))


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_it_is_and_prints_what_the_page_shows(name, address, tmp_path):
    notebook = download(address, name)
    nbformat.validate(notebook)
    shown = printed(notebook)
    assert any(shown)
    for cell in notebook.cells:
        cell.outputs = [] if cell.cell_type == "code" else cell.pop("outputs", None)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute(env=AS_A_READER)
    assert printed(notebook) == shown


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
    module = SITE.snippets / f"{name}.py"
    plots = [cell.alt for cell in notebooks.cells(module) if cell.alt]
    taken = [
        output.data["text/plain"]
        for cell in download(address, name).cells
        for output in cell.get("outputs", [])
        if output.output_type == "display_data" and {"image/svg+xml", "image/png"} <= set(output.data)
    ]
    assert taken == plots
