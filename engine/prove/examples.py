"""Sybil runs each page and tutorial top to bottom, exactly as shown, and compares what comes out with the record."""

from __future__ import annotations

import difflib
import itertools
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from sybil import Document, Example, Region

from engine.prove import figures, records
from engine.prove.laws import cell_problem, sections_of
from engine.prove.process import ROOT, Outcome
from engine.prove.records import Record, as_recorded
from engine.site import CELL, Block, Piece, Site, blocks, cells, has_cells

PLACES = (str(ROOT), *map(sysconfig.get_path, ("purelib", "stdlib")))
"""Where this machine has what pages run with."""
MOST_LINES = 38
"""Of a difference, so that a terminal shows it whole."""


class Examples:
    """A Sybil parser: every Python block of a page, and every code cell of a tutorial's module, is an example."""

    def __init__(self, site: Site, *, update: bool = False) -> None:
        self.site = site
        self.update = update

    def __call__(self, document: Document) -> Iterator[Region]:
        module = Path(document.path)
        if module.suffix == ".md":
            for block, below in itertools.pairwise([*blocks(document), None]):
                if block.is_python:
                    yield Region(block.start, block.end, parsed=(block, below), evaluator=self.run_block)
        elif has_cells(module):
            starts = [match.start() for match in CELL.finditer(document.text)]
            for cell, start, end in zip(cells(module), starts, [*starts[1:], len(document.text)], strict=False):
                if cell.is_code:
                    yield Region(start, end, parsed=cell, evaluator=self.run_cell)

    def run_block(self, example: Example) -> str | None:
        """Run one block of a page. Returns what is wrong, or None."""
        block, below = example.parsed
        try:
            drawn = sections_of(self.site, block)
        except LookupError as problem:
            return str(problem)
        for piece in drawn:
            if wrong := self._run(piece, example) or (None if self.update else self._left_out(piece, below)):
                return wrong
        return None

    def run_cell(self, example: Example) -> str | None:
        """Run one cell of a tutorial. Returns what is wrong, or None."""
        return self._run(example.parsed, example)

    def _run(self, piece: Piece, example: Example) -> str | None:
        outcome: Outcome = example.namespace["page"].run(piece)
        if outcome.wrong:
            return f"{self._where(piece, outcome.line)} {outcome.wrong}\n{outcome.frames}".rstrip()
        now = Record(as_recorded(outcome.printed), outcome.picture)
        if place := next((place for place in PLACES if place in now.printed), ""):
            return f"{self._where(piece)} prints {place}, which no other machine has: print a name instead."
        if self.update:
            records.write(self.site, piece, now)
        if piece.number and (problem := cell_problem(self.site, piece)):
            return str(problem)
        return self._compare(piece, records.read(self.site, piece), now)

    def _compare(self, piece: Piece, before: Record, now: Record) -> str | None:
        if now.printed != before.printed:
            record = self.site.relative(records.path_of(self.site, piece.path))
            what = f"{self._where(piece)} prints something else than is recorded. If it is right, run `make outputs`."
            return f"{what}\n{_difference(record, before.printed, now.printed)}"
        if now.picture and (change := figures.differ(before.picture, now.picture)):
            what = f"{self._where(piece)} draws something else than is recorded: {change}."
            return f"{what} If it is right, run `make outputs`."
        return None

    def _left_out(self, piece: Piece, below: Block | None) -> str | None:
        """A page shows what its block prints, right under it."""
        record = self.site.relative(records.path_of(self.site, piece.path))
        shown = below is not None and below.is_output and below.include == (record, piece.name)
        if shown or not records.read(self.site, piece).printed:
            return None
        fence = f'```text title="Output"\n--8<-- "{record}:{piece.name}"\n```'
        return f"{self._where(piece)} prints, and the page leaves it out. Put this under the block:\n{fence}"

    def _where(self, piece: Piece, line: int = 0) -> str:
        return f"{self.site.relative(piece.path)}:{line or piece.line}: {piece.label}"


def _difference(record: str, before: str, now: str) -> str:
    lines = list(
        difflib.unified_diff(before.splitlines(), now.splitlines(), f"{record} (recorded)", "now", lineterm="")
    )
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"and {len(lines) - MOST_LINES} lines more"]
    return "\n".join(lines)
