"""Sybil runs each page top to bottom in one namespace, exactly as it is shown, and compares what it prints."""

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

from sybil import Document, Example, Region

from engine import records
from engine.pages import Block, Section, Site, blocks


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
        code = self.site.relative(section.path)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                run(section, example.namespace)
        except Exception as error:
            return _raised(error, section, code)
        return self._compare(section, below, as_recorded(printed.getvalue()), code)

    def _compare(self, section: Section, below: Block | None, printed: str, code: str) -> str | None:
        where = f"{code}:{section.line}: section {section.name!r}"
        record = self.site.relative(records.path_of(section.path))
        if self.update:
            records.write(section.path, section.name, printed)
        recorded = records.read(section.path, section.name) or ""
        if printed != recorded:
            before, after = recorded.splitlines(), printed.splitlines()
            diff = difflib.unified_diff(before, after, f"{record} (recorded)", "printed now", lineterm="")
            what = f"{where} prints something else than is recorded. If it is right, run `make outputs`."
            return "\n".join([what, *diff])
        shown = below is not None and below.is_output and below.include == (record, section.name)
        if printed and not shown:
            fence = f'```text title="Output"\n--8<-- "{record}:{section.name}"\n```'
            return f"{where} prints, and the page leaves it out. Put this under the block:\n{fence}"
        return None


def run(section: Section, namespace: dict) -> None:
    """Execute a section under its own file and lines, so that AutoGraph finds the source and tracebacks point at it."""
    linecache.checkcache(str(section.path))
    padded = "\n" * (section.line - 1) + section.text
    exec(compile(padded, str(section.path), "exec"), namespace)


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


def _raised(error: Exception, section: Section, code: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename == str(section.path)]
    line = error.lineno if isinstance(error, SyntaxError) else ours[-1].lineno if ours else section.line
    summary = f"{code}:{line}: section {section.name!r} raises {type(error).__name__}: {error}"
    start = frames.index(ours[0]) if ours else len(frames)
    return "\n".join([summary, *traceback.format_list(frames[start:])]).rstrip()
