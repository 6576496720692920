"""Notebooks: a percent-format module among the snippets, and its executed form, which the site renders as a page.

`snippets/tutorials/diffusion.py` is the source, cell by cell; `docs/tutorials/diffusion.ipynb` is the same cells with
what they print and draw, recorded. Nothing is executed to render it.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
from nbformat import NotebookNode
from sybil import Document

from engine.pages import TYPED, Problem, Site, blocks, syntax_problem

MARKER = re.compile(r"^# %%")


@dataclass(frozen=True)
class Cell:
    """A cell of a module."""

    path: Path
    number: int
    """From 1, prose and code alike."""
    line: int
    """Number of its first line that isn't blank."""
    is_code: bool
    text: str
    alt: str
    """What its plot shows, from the cell's marker."""

    @property
    def label(self) -> str:
        return f"cell {self.number}"


def _content(cell: NotebookNode) -> tuple[bool, str, str]:
    """Whether it is code, its text and its alt text."""
    return cell.cell_type == "code", cell.source.strip("\n"), cell.metadata.get("alt", "")


@cache
def _read(path: Path, _mtime: int) -> tuple[dict[str, str], list[Cell]]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    markers = [number for number, line in enumerate(lines, 1) if MARKER.match(line)]
    notebook = jupytext.reads(text, fmt="py:percent")
    found = []
    # jupytext makes a cell of what stands above the first marker, too.
    for number, (cell, marker) in enumerate(zip(notebook.cells, [*markers, len(lines)], strict=False), 1):
        blank = next((count for count, line in enumerate(lines[marker:]) if line.strip()), 0)
        found.append(Cell(path, number, marker + 1 + blank, *_content(cell)))
    if len(notebook.cells) != len(markers):
        found.clear()
    return dict(notebook.metadata), found


def cells(module: Path) -> list[Cell]:
    """The cells of a module, in order; none if something stands outside them."""
    return _read(module, module.stat().st_mtime_ns)[1]


@lru_cache(maxsize=64)
def _recorded(path: Path, _mtime: int) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def read(notebook: Path) -> NotebookNode:
    return _recorded(notebook, notebook.stat().st_mtime_ns)


def recorded(module: Path, site: Site) -> NotebookNode:
    """The notebook of a module as it is recorded, without cells if it isn't there."""
    path = site.page_of(module)
    return read(path) if path.is_file() else new_notebook()


def new_notebook(**metadata: str) -> NotebookNode:
    """An empty notebook for the Python that a reader has."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(metadata={"kernelspec": kernel, "language_info": {"name": "python"}, **metadata})


def record(site: Site, cell: Cell, printed: str, picture: dict[str, str] | None) -> None:
    """Write what a cell prints and draws into the notebook, which gets the module's cells as they are now."""
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed + "\n")] if printed else []
    if picture:
        outputs.append(nbformat.v4.new_output("display_data", {"text/plain": cell.alt, **picture}))
    path = site.page_of(cell.path)
    metadata, module_cells = _read(cell.path, cell.path.stat().st_mtime_ns)
    before = recorded(cell.path, site).cells
    notebook = new_notebook(description=metadata.get("description", ""))
    for one in module_cells:
        new = nbformat.v4.new_code_cell if one.is_code else nbformat.v4.new_markdown_cell
        node = new(one.text, id=f"cell-{one.number}", metadata={"alt": one.alt} if one.alt else {})
        if one.is_code and one.number == cell.number:
            node.outputs = outputs
        elif one.is_code and one.number <= len(before):
            node.outputs = before[one.number - 1].get("outputs", [])
        notebook.cells.append(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def printed_by(cell: NotebookNode) -> str:
    streams = (output for output in cell.get("outputs", []) if output.get("name") == "stdout")
    return "".join(output.text for output in streams).rstrip("\n")


def drawn_by(cell: NotebookNode) -> dict[str, str] | None:
    """The plot of a recorded cell, by its formats."""
    return next((output.data for output in cell.get("outputs", []) if output.output_type == "display_data"), None)


def markdown(notebook: NotebookNode) -> str:
    """The page of a notebook, for the site's own Markdown: its code and outputs as on every other page."""
    heading = notebook.cells[0].source.partition("\n")[0].removeprefix("# ").replace("`", "")
    meta = {"title": heading, "description": notebook.metadata.get("description", "")}
    parts = ["\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in meta.items()), "---"])]
    for cell in notebook.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(fence("python", cell.source))
        if text := printed_by(cell):
            parts.append(fence('text title="Output"', text))
        if picture := drawn_by(cell):
            # The colours of a sheet of paper become the page's, light or dark.
            svg = picture["image/svg+xml"].replace("#000000", "currentColor").replace("#ffffff", "none")
            parts.append(f'<figure class="plot" data-search-exclude>\n{svg}\n</figure>')
    return "\n\n".join(parts) + "\n"


def shown(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Language and text of each block that the page of a notebook shows."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found.append(("python", cell.source))
            if text := printed_by(cell):
                found.append(("text", text))
        else:
            found += [(block.language, block.source.strip("\n")) for block in blocks(Document(cell.source, ""))]
    return found


def fence(info: str, text: str) -> str:
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{ticks}{info}\n{text}\n{ticks}"


def problems(site: Site) -> Iterator[Problem]:
    """What is wrong with the notebooks of a site and can be told without running them."""
    modules = site.notebooks()
    for module in modules:
        yield from _module_problems(site, module)
    for path in sorted(site.docs.rglob("*.ipynb")):
        if site.module_of(path) not in modules:
            what = f"there is no {site.relative(site.module_of(path))} with cells to record."
            yield Problem(path.relative_to(site.root), 1, what, "Write the module, or delete the notebook.")


def _module_problems(site: Site, module: Path) -> Iterator[Problem]:
    where, record_path = module.relative_to(site.root), site.page_of(module)
    if problem := syntax_problem(site, module):
        yield problem  # and not that its cells aren't the recorded ones: they can't be recorded
        return
    module_cells = cells(module)
    if not module_cells:
        yield Problem(where, 1, "something stands outside the cells.", "Begin each cell with # %% or # %% [markdown].")
        return
    for cell in module_cells:
        if not cell.is_code:
            yield from _prose_problems(site, cell)
    if not record_path.is_file():
        yield Problem(where, 1, f"{site.relative(record_path)} is missing.", "Run `make outputs`.")
        return
    notebook = recorded(module, site)
    for cell in module_cells:
        if problem := problem_of(site, cell, notebook):
            yield problem
            return
    if len(module_cells) != len(notebook.cells):
        what = f"the module has {len(module_cells)} cells, {site.relative(record_path)} has {len(notebook.cells)}."
        yield Problem(where, 1, what, "Run `make outputs`.")
    metadata, _ = _read(module, module.stat().st_mtime_ns)
    if notebook.metadata.get("description", "") != metadata.get("description", ""):
        yield Problem(
            where, 1, f"its description isn't the one in {site.relative(record_path)}.", "Run `make outputs`."
        )


def problem_of(site: Site, cell: Cell, notebook: NotebookNode) -> Problem | None:
    """Why the recorded notebook doesn't hold a cell, or None."""
    record_path = site.relative(site.page_of(cell.path))
    node = notebook.cells[cell.number - 1] if cell.number <= len(notebook.cells) else None
    if node is None or (cell.is_code, cell.text, cell.alt) != _content(node):
        what = f"{cell.label} isn't the one in {record_path}."
    elif bool(cell.alt) != bool(drawn_by(node)):
        what = f"{cell.label} has no plot in {record_path}."
    else:
        return None
    return Problem(cell.path.relative_to(site.root), cell.line, what, "Run `make outputs`.")


def _prose_problems(site: Site, cell: Cell) -> Iterator[Problem]:
    for block in blocks(Document(cell.text, str(cell.path))):
        if block.language not in TYPED:
            what = f"a {block.language or 'fence without a language'!s} block in a prose cell can't be proved."
            line = cell.line + block.line - 1
            yield Problem(cell.path.relative_to(site.root), line, what, "Move it to a cell of code.")
    if "--8<--" in cell.text:
        what = "a notebook includes nothing: what it holds is what a reader downloads."
        yield Problem(cell.path.relative_to(site.root), cell.line, what, "Write the cell itself.")


# --- for the tests of a notebook's claims -----------------------------------------------------------------------------


def definitions(name: str) -> ModuleType:
    """The imports, classes, functions and literal constants of a notebook's module, without running the rest.

    `name` is as for an import: ``snippets.tutorials.diffusion``.
    """
    if name in sys.modules:
        return sys.modules[name]
    path = _path(name)
    kept = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, kept) or _is_constant(node)]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(tree, str(path), "exec"), module.__dict__)
    return module


def printed(name: str) -> str:
    """Everything that a notebook is recorded to print."""
    notebook = read(_path(name.replace("snippets", "docs", 1)).with_suffix(".ipynb"))
    return "\n".join(filter(None, map(printed_by, notebook.cells)))


def _path(name: str) -> Path:
    return Path(__file__).parents[1].joinpath(*name.split(".")).with_suffix(".py")


def _is_constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Name) for target in node.targets):
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True
