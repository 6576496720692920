"""What is written: pages, the blocks on them, and the modules from which they draw their pieces of code.

A page of the site is Markdown whose blocks draw named sections of its module, or a tutorial: a module in the percent
format, whose cells are the page. Either way, what runs and what is shown is a `Piece`.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import jupytext
import markdown
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from pymdownx.snippets import SnippetPreprocessor
from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

MARKER = SnippetPreprocessor.RE_SNIPPET_SECTION
CELL = re.compile(r"^# %%", re.MULTILINE)
INCLUDE = re.compile(r'-+8<-+ "(?P<path>[^":]+):(?P<section>[\w-]+)"')
LOCKED = re.compile(r"^(?P<package>[\w.-]+)==(?P<version>[^\s;]+)", re.MULTILINE)
UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""What a terminal does something with, or a reader doesn't see."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and how to mend it."""

    path: Path
    line: int
    what: str
    mend: str
    stops: bool = False
    """Whether the page can't even be built."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what} {self.mend}"


@dataclass(frozen=True)
class Piece:
    """What is run and shown as one: the lines between `[start:name]` and `[end:name]`, or a cell."""

    path: Path
    name: str
    line: int
    """Number of its first line that isn't blank."""
    text: str
    number: int = 0
    """Of a cell, from 1, prose and code alike."""
    is_code: bool = True
    alt: str = ""
    """What its plot shows, from the cell's marker."""
    is_cover: bool = False
    """Whether the plot stands for its tutorial: the marker has `tags=["cover"]`."""

    @property
    def label(self) -> str:
        return self.name if self.number else f"section {self.name!r}"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    path: Path
    line: int
    start: int
    end: int
    language: str
    source: str
    """What is typed between the fences."""

    @property
    def is_python(self) -> bool:
        return self.language == "python"

    @property
    def is_output(self) -> bool:
        return self.language == "text"

    @property
    def includes(self) -> list[tuple[str, str]]:
        """Path and section of each line, one below the other, if drawing them is all that the block does."""
        matches = [INCLUDE.fullmatch(line.strip()) for line in self.source.splitlines() if line.strip()]
        return [(match["path"], match["section"]) for match in matches] if all(matches) else []

    @property
    def include(self) -> tuple[str, str] | None:
        """The last that the block draws: its name is the block's, and what it prints is the block's output."""
        return self.includes[-1] if self.includes else None


class Site:
    """The project as `mkdocs.yml` describes it."""

    def __init__(self, config: MkDocsConfig) -> None:
        self.config = config
        self.root = Path(config.config_file_path).absolute().parent
        self.docs = Path(config.docs_dir)
        self.snippets = self.root / "snippets"
        self.tools = self.snippets / "tools"
        """Modules that readers take whole and import: no page shows them, and each page may import them."""

    @classmethod
    def load(cls, root: Path) -> Site:
        return cls(load_config(str(root / "mkdocs.yml")))

    @cached_property
    def expander(self) -> SnippetPreprocessor:
        """The site's own include preprocessor, under the options of `mkdocs.yml`."""
        name = "pymdownx.snippets"
        md = markdown.Markdown(extensions=[name], extension_configs={name: self.config.mdx_configs[name]})
        return md.preprocessors["snippet"]

    def pages(self) -> list[Path]:
        """All pages: Markdown, and the recorded notebooks of tutorials."""
        return sorted([*self.docs.rglob("*.md"), *self.docs.rglob("*.ipynb")])

    def modules(self) -> list[Path]:
        """The modules of all pages."""
        return sorted(set(self.snippets.rglob("*.py")) - set(self.tools.glob("*.py")))

    def module_of(self, page: Path) -> Path:
        """The module of a page: the same path, under `snippets/`."""
        return self.snippets / page.relative_to(self.docs).with_suffix(".py")

    def tests_of(self, page: Path) -> Path:
        """The module that proves what a page says."""
        return self.root / "tests" / page.relative_to(self.docs).with_name(f"test_{page.stem}.py")

    def page_of(self, module: Path) -> Path:
        suffix = ".ipynb" if has_cells(module) else ".md"
        return self.docs / module.relative_to(self.snippets).with_suffix(suffix)

    def source_of(self, page: Path) -> Path:
        """The file that is edited to change a page: the page, or the module of a tutorial."""
        return page if page.suffix == ".md" else self.module_of(page)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def problem(self, path: Path, line: int, what: str, mend: str, *, stops: bool = False) -> Problem:
        return Problem(path.relative_to(self.root), line, what, mend, stops)

    def expand(self, block: Block) -> str:
        """The block's text as the reader sees it."""
        return self._expanded(*block.source.splitlines())

    def drawn(self, path: str, name: str) -> str:
        """What a line of a block that names a section puts there."""
        return self._expanded(f'--8<-- "{path}:{name}"')

    def _expanded(self, *lines: str) -> str:
        return "\n".join(self.expander.run(list(lines))).strip("\n")

    def shown(self, page: Path) -> dict[str, list[Piece]]:
        """The pieces that each block of a page shows, by the text of the block."""
        module = self.module_of(page)
        if page.suffix != ".md":
            return {piece.text: [piece] for piece in (cells(module) if module.is_file() else [])}
        drawing = [block for block in read(page) if block.is_python and block.includes]
        return {self.expand(block): self.sections_of(block) for block in drawing}

    def sections_of(self, block: Block) -> list[Piece]:
        """The sections that a block draws, in order."""
        return [sections(self.root / path)[name] for path, name in block.includes]

    def versions(self) -> dict[str, str]:
        """Which release of each package the lock names."""
        return dict(LOCKED.findall((self.root / "requirements.txt").read_text(encoding="utf-8")))


# --- the pieces of a module, and the sections of a record -------------------------------------------------------------


def sections(path: Path) -> dict[str, Piece]:
    """The sections of a file, in its order."""
    return _sections(path, path.stat().st_mtime_ns)


@cache
def _sections(path: Path, _mtime: int) -> dict[str, Piece]:
    found: dict[str, Piece] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    markers = [(number, match) for number, line in enumerate(lines) if (match := MARKER.match(line))]
    for start, marker in markers:
        name = marker["name"]
        if marker["type"] == "start" and name not in found:
            ends = (number for number, other in markers if number > start and _ends(other, name))
            content = lines[start + 1 : next(ends, start + 1)]  # not ended counts as empty, which is a problem
            text = textwrap.dedent("\n".join(content)).strip("\n")
            found[name] = Piece(path, name, start + 2 + _blank_lines(content), text)
    return found


def _ends(marker: re.Match[str], name: str) -> bool:
    return marker["type"] == "end" and marker["name"] == name


def _blank_lines(lines: list[str]) -> int:
    """How many stand above the first that isn't blank."""
    return next((count for count, line in enumerate(lines) if line.strip()), 0)


def tree(module: Path) -> ast.Module:
    """The syntax of a module, which is parsed once for all who look at it: nobody changes it."""
    return _tree(module, module.stat().st_mtime_ns)


@cache
def _tree(path: Path, _mtime: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def has_cells(module: Path) -> bool:
    """Whether a module is a tutorial: such a module has cells where others have sections."""
    return module.is_file() and bool(CELL.search(module.read_text(encoding="utf-8")))


def cells(module: Path) -> list[Piece]:
    """The cells of a module, in order; none if something stands outside them."""
    return _cells(module, module.stat().st_mtime_ns)[1]


def pieces(module: Path) -> list[Piece]:
    """The sections of a module, or its cells, in order."""
    return cells(module) if has_cells(module) else list(sections(module).values())


def description(module: Path) -> str:
    """What the head of a tutorial's module says of it."""
    return _cells(module, module.stat().st_mtime_ns)[0]


@cache
def _cells(path: Path, _mtime: int) -> tuple[str, list[Piece]]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    markers = [number for number, line in enumerate(lines, 1) if CELL.match(line)]
    notebook = jupytext.reads(text, fmt="py:percent")
    found = []
    # jupytext makes a cell of what stands above the first marker, too.
    for number, (cell, marker) in enumerate(zip(notebook.cells, [*markers, len(lines)], strict=False), 1):
        line = marker + 1 + _blank_lines(lines[marker:])
        is_code, alt = cell.cell_type == "code", cell.metadata.get("alt", "")
        is_cover = "cover" in cell.metadata.get("tags", [])
        found.append(Piece(path, f"cell {number}", line, cell.source.strip("\n"), number, is_code, alt, is_cover))
    if len(notebook.cells) != len(markers):
        found.clear()
    return notebook.metadata.get("description", ""), found


# --- the blocks of a page ---------------------------------------------------------------------------------------------


def language_of(info: str) -> str:
    """The language that a fence names, as Pygments calls it: `py title="x"` and `{ .python3 .annotate }` are python."""
    match = re.match(r"\s*\{[^}]*?\.([\w+-]+)", info) or re.match(r"\s*([\w+-]+)", info)
    name = match[1].lower() if match else ""
    try:
        return get_lexer_by_name(name).aliases[0]
    except ClassNotFound:
        return name


def blocks(document: Document) -> Iterator[Block]:
    """The fenced blocks of a page, in order: with a title, annotated, in a list, a tab, a quote or an admonition."""
    any_fence = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n?"))
    for region in sorted(any_fence(document), key=lambda region: region.start):
        yield Block(
            path=Path(document.path),
            line=document.text.count("\n", 0, region.start) + 1,
            start=region.start,
            end=region.end,
            language=language_of(region.lexemes["info"]),
            source=str(region.lexemes["source"]),
        )


def read(page: Path) -> list[Block]:
    return list(blocks(Document(page.read_text(encoding="utf-8"), str(page))))


def fence(info: str, text: str) -> str:
    """A fenced block of Markdown, whatever its text holds."""
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{ticks}{info}\n{text}\n{ticks}"
