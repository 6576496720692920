"""Sybil runs each page and notebook top to bottom in one namespace, exactly as shown, and compares what comes out."""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import linecache
import os
import random
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

from sybil import Document, Example, Region

from engine import notebooks, records, shapes
from engine.pages import CELL, Block, Section, Site, blocks, has_cells

MOST_LINES = 38
"""Of a difference, so that a terminal shows it whole."""


class PageParser:
    """A Sybil parser: every Python block of a page is an example, whatever the form of its fence."""

    def __init__(self, site: Site, *, update: bool = False) -> None:
        self.site = site
        self.update = update

    def __call__(self, document: Document) -> Iterator[Region]:
        for block, below in itertools.pairwise([*blocks(document), None]):
            if block.is_python:
                yield Region(block.start, block.end, parsed=(block, below), evaluator=self.evaluate)

    def evaluate(self, example: Example) -> str | None:
        """Run one block. Returns what is wrong, or None."""
        block, below = example.parsed
        try:
            section = self.site.section(block)
        except LookupError as problem:
            return str(problem)
        printed, wrong = _outcome(self.site, section, example.namespace)
        return wrong or self._compare(section, below, printed)

    def _compare(self, section: Section, below: Block | None, printed: str) -> str | None:
        where = _where(self.site, section)
        record = self.site.relative(records.path_of(section.path))
        if self.update:
            records.write(section.path, section.name, printed)
        recorded = records.read(section.path, section.name) or ""
        if printed != recorded:
            return _prints_otherwise(where, record, recorded, printed)
        shown = below is not None and below.is_output and below.include == (record, section.name)
        if printed and not shown:
            fence = f'```text title="Output"\n--8<-- "{record}:{section.name}"\n```'
            return f"{where} prints, and the page leaves it out. Put this under the block:\n{fence}"
        return None


class CellParser:
    """A Sybil parser: every code cell of a notebook's module is an example."""

    def __init__(self, site: Site, *, update: bool = False) -> None:
        self.site = site
        self.update = update

    def __call__(self, document: Document) -> Iterator[Region]:
        module = Path(document.path)
        if has_cells(module):
            starts = [match.start() for match in CELL.finditer(document.text)]
            ends = [*starts[1:], len(document.text)]
            for cell, start, end in zip(notebooks.cells(module), starts, ends, strict=False):
                if cell.is_code:
                    yield Region(start, end, parsed=cell, evaluator=self.evaluate)

    def evaluate(self, example: Example) -> str | None:
        """Run one cell. Returns what is wrong, or None."""
        cell: notebooks.Cell = example.parsed
        from engine import figures  # matplotlib is slow to import, and pages don't need it

        if "_figures" not in example.namespace:
            example.namespace["_figures"] = True
            figures.start(self.site.snippets / "plots.mplstyle")
        printed, wrong = _outcome(self.site, cell, example.namespace)
        if wrong:
            return wrong
        where = _where(self.site, cell)
        picture, wrong = figures.capture(cell.alt, prefix=f"c{cell.number}-")
        if wrong:
            return f"{where} {wrong}"
        if self.update:
            notebooks.record(self.site, cell, printed, figures.as_data(picture) if picture else None)

        record = self.site.relative(self.site.page_of(cell.path))
        notebook = notebooks.recorded(cell.path, self.site)
        if problem := notebooks.problem_of(self.site, cell, notebook):
            return str(problem)
        node = notebook.cells[cell.number - 1]
        if printed != notebooks.printed_by(node):
            return _prints_otherwise(where, record, notebooks.printed_by(node), printed)
        if picture and (change := figures.differ(figures.from_data(notebooks.drawn_by(node)), picture)):
            return f"{where} draws something else than is recorded: {change}. If it is right, run `make outputs`."
        return None


def run(code: Section | notebooks.Cell, namespace: dict) -> None:
    """Execute a section or cell under its own file and lines: AutoGraph finds the source, tracebacks point at it.

    Comments that give a shape are held against what they stand behind.
    """
    linecache.checkcache(str(code.path))
    compiled, namespace["__builtins__"] = shapes.checked("\n" * (code.line - 1) + code.text, code.path)
    exec(compiled, namespace)


def _outcome(site: Site, code: Section | notebooks.Cell, namespace: dict) -> tuple[str, str | None]:
    """What a section or cell prints when it is run, and what it raises."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            run(code, namespace)
    except Exception as error:
        return "", _raised(error, code, site)
    return as_recorded(printed.getvalue()), None


def start_page(namespace: dict) -> None:
    """A page runs as a reader's script does: in a new process, as far as Keras can tell, and in an empty folder.

    The seed is any: a page whose numbers depend on it has to set its own, as the reader's script has to.
    """
    fresh_keras(seed=random.SystemRandom().randrange(2**31))
    namespace["__name__"] = "__main__"
    namespace["_home"] = os.getcwd()
    namespace["_folder"] = tempfile.TemporaryDirectory()
    os.chdir(namespace["_folder"].name)


def end_page(namespace: dict) -> None:
    os.chdir(namespace["_home"])
    namespace["_folder"].cleanup()


def fresh_keras(seed: int) -> None:
    """Names and policies as in a new process, so that no page or test sees what ran before it."""
    if keras := sys.modules.get("keras"):
        keras.backend.clear_session()
        keras.config.set_dtype_policy("float32")
        keras.utils.set_random_seed(seed)


def as_recorded(printed: str) -> str:
    """What a reader can see of a printed text: no common indent, no blank lines around it, no trailing spaces."""
    return textwrap.dedent("\n".join(line.rstrip() for line in printed.splitlines())).strip("\n")


def _where(site: Site, code: Section | notebooks.Cell, line: int | None = None) -> str:
    return f"{site.relative(code.path)}:{line or code.line}: {code.label}"


def _raised(error: Exception, code: Section | notebooks.Cell, site: Site) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename == str(code.path)]
    line = error.lineno if isinstance(error, SyntaxError) else ours[-1].lineno if ours else code.line
    summary = f"{_where(site, code, line)} raises {type(error).__name__}: {error}"
    start = frames.index(ours[0]) if ours else len(frames)
    return "\n".join([summary, *traceback.format_list(frames[start:])]).rstrip()


def _prints_otherwise(where: str, record: str, before: str, after: str) -> str:
    what = f"{where} prints something else than is recorded. If it is right, run `make outputs`."
    before, after = before.splitlines(), after.splitlines()
    diff = list(difflib.unified_diff(before, after, f"{record} (recorded)", "now", lineterm=""))
    if len(diff) > MOST_LINES:
        diff[MOST_LINES:] = [f"and {len(diff) - MOST_LINES} lines more"]
    return "\n".join([what, *diff])
