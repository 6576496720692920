"""What is recorded of each piece of code: the outputs that a page shows, and that every run is compared with.

For the sections of a module it is `linear.txt` beside `linear.py`, with a section for each that prints. For a tutorial
it is the notebook that the site renders, with what its cells print and draw.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import nbformat
from nbformat import NotebookNode

from engine.prove import figures
from engine.site import Piece, Site, description, has_cells, pieces, sections


@dataclass(frozen=True)
class Record:
    """What a piece of code is recorded to print and to draw."""

    printed: str = ""
    picture: figures.Picture | None = None


def path_of(site: Site, module: Path) -> Path:
    """Where the outputs of a module are recorded."""
    return site.page_of(module) if has_cells(module) else module.with_suffix(".txt")


def read(site: Site, piece: Piece) -> Record:
    path = path_of(site, piece.path)
    if not path.is_file():
        return Record()
    if not piece.number:
        section = sections(path).get(piece.name)
        return Record(section.text if section else "")
    recorded = notebook(path).cells
    return of_cell(recorded[piece.number - 1]) if piece.number <= len(recorded) else Record()


def write(site: Site, piece: Piece, record: Record) -> None:
    """Record what a piece printed and drew; forget what is recorded of pieces that are gone."""
    path = path_of(site, piece.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(site, piece.path, {piece.name: record}), encoding="utf-8")
    if not path.stat().st_size:
        path.unlink()


def text(site: Site, module: Path, changed: Mapping[str, Record] = MappingProxyType({})) -> str:
    """The file that records a module, with other records of some of its pieces."""
    records = {piece: changed.get(piece.name) or read(site, piece) for piece in pieces(module)}
    if has_cells(module):
        return _as_notebook(description(module), records)
    printed = [(piece.name, record.printed) for piece, record in records.items() if record.printed.strip()]
    return "\n".join(f"--8<-- [start:{name}]\n{text}\n--8<-- [end:{name}]\n" for name, text in printed)


def as_recorded(printed: str) -> str:
    """What a reader can see of a printed text: no common indent, no blank lines around it, no trailing spaces."""
    return textwrap.dedent("\n".join(line.rstrip() for line in printed.splitlines())).strip("\n")


# --- notebooks --------------------------------------------------------------------------------------------------------


def notebook(path: Path) -> NotebookNode:
    return _notebook_at(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _notebook_at(path: Path, _mtime: int) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def new_notebook(**metadata: str) -> NotebookNode:
    """An empty notebook for the Python that a reader has."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(metadata={"kernelspec": kernel, "language_info": {"name": "python"}, **metadata})


def _as_notebook(described: str, records: dict[Piece, Record]) -> str:
    made = new_notebook(description=described)
    for cell, record in records.items():
        new = nbformat.v4.new_code_cell if cell.is_code else nbformat.v4.new_markdown_cell
        node = new(cell.text, id=f"cell-{cell.number}", metadata={"alt": cell.alt} if cell.alt else {})
        if record.printed:
            node.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=record.printed + "\n"))
        if record.picture:
            data = {"text/plain": cell.alt, **figures.as_data(record.picture)}
            node.outputs.append(nbformat.v4.new_output("display_data", data))
        made.cells.append(node)
    return nbformat.writes(made) + "\n"


def of_cell(node: NotebookNode) -> Record:
    """What a cell of a notebook is recorded to print and draw."""
    outputs = node.get("outputs", [])
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout").rstrip("\n")
    drawn = next((output.data for output in outputs if output.output_type == "display_data"), None)
    return Record(printed, figures.from_data(drawn) if drawn else None)
