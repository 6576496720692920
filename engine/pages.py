"""What stands on a page: its fenced blocks, expanded as the site expands them.

A Python block is one line that draws a named section of the page's own module, and an Output block is one line
that draws what that section printed. Everything else in a Python or text fence is a `Problem`.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import markdown
import yaml
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from pymdownx.snippets import SnippetMissingError, SnippetPreprocessor
from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from engine import shapes

TYPED = {"console"}
"""Languages that may be typed into a page: commands, as `$ make serve`, of which nothing is claimed to be printed."""

MARKER = SnippetPreprocessor.RE_SNIPPET_SECTION
CELL = re.compile(r"^# %%", re.MULTILINE)
LOCKED = re.compile(r"^(?P<package>tensorflow|keras)==(?P<version>\S+)", re.MULTILINE)
PRIVATE = ("keras.src", "tensorflow.python", "tf.python", "tensorflow.keras", "tf.keras", "tf.compat.v1")
"""Roads that a copier would regret: closed in another release, or older names of what `keras` has."""
INCLUDE = re.compile(r'-+8<-+ "(?P<path>[^":]+):(?P<section>[\w-]+)"')


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
class Section:
    """The lines of a file between `[start:name]` and `[end:name]`."""

    path: Path
    name: str
    line: int
    """Number of its first line that isn't blank."""
    text: str

    @property
    def label(self) -> str:
        return f"section {self.name!r}"


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
    def include(self) -> tuple[str, str] | None:
        """Path and section that the block draws, if drawing them is all that it does."""
        match = INCLUDE.fullmatch(self.source.strip())
        return (match["path"], match["section"]) if match else None


class Site:
    """The project as `mkdocs.yml` describes it."""

    def __init__(self, config: MkDocsConfig) -> None:
        self.config = config
        self.root = Path(config.config_file_path).absolute().parent
        self.docs = Path(config.docs_dir)
        self.snippets = self.root / "snippets"

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
        """All pages: Markdown and notebooks."""
        return sorted([*self.docs.rglob("*.md"), *self.docs.rglob("*.ipynb")])

    def modules(self) -> list[Path]:
        """The modules that Markdown pages draw from."""
        return sorted(module for module in self.snippets.rglob("*.py") if not has_cells(module))

    def notebooks(self) -> list[Path]:
        """The modules that are notebooks themselves."""
        return sorted(module for module in self.snippets.rglob("*.py") if has_cells(module))

    def module_of(self, page: Path) -> Path:
        """The module that a page draws from: the same path, under `snippets/`."""
        return self.snippets / page.relative_to(self.docs).with_suffix(".py")

    def page_of(self, module: Path) -> Path:
        suffix = ".ipynb" if has_cells(module) else ".md"
        return self.docs / module.relative_to(self.snippets).with_suffix(suffix)

    def source_of(self, page: Path) -> Path:
        """The file that is edited to change a page: the page, or the module of a notebook."""
        return page if page.suffix == ".md" else self.module_of(page)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def expand(self, block: Block) -> str:
        """The block's text as the reader sees it."""
        return "\n".join(self.expander.run(block.source.splitlines())).strip("\n")

    def section(self, block: Block) -> Section:
        """The section that a block draws. Raises `LookupError` with the problem if it can't be shown or run."""
        problem = self.problem_of(block)
        if problem:
            raise LookupError(str(problem))
        path, name = block.include
        return sections(self.root / path)[name]

    def problem_of(self, block: Block) -> Problem | None:
        """Why a block can't stand on its page, or None."""

        def problem(what: str, mend: str, *, stops: bool = False) -> Problem:
            return Problem(block.path.relative_to(self.root), block.line, what, mend, stops)

        if not (block.is_python or block.is_output):
            if block.language in TYPED:
                return _no_command(self, block)
            return problem(
                f"a {block.language or 'fence without a language'!s} block can't be proved.",
                f"Draw Python and its output from snippets/, or use one of: {', '.join(sorted(TYPED))}.",
            )

        module = self.relative(self.module_of(block.path))
        record = module.removesuffix(".py") + ".txt"
        expected = record if block.is_output else module
        if block.include is None:
            what = "output" if block.is_output else "Python"
            return problem(
                f"{what} is typed into the page.",
                f'Move it to a section of {expected} and let the block be one line: --8<-- "{expected}:section"'
                + (" (`make outputs` writes it)." if block.is_output else "."),
            )
        path, name = block.include
        if path != expected:
            return problem(f"the block draws from {path}.", f"This page draws from its mirror, {expected}.")
        try:
            text = self.expand(block)
            section = sections(self.root / path)[name]
        except (SnippetMissingError, FileNotFoundError, KeyError):
            if not (self.root / path).is_file():
                mend = "Run `make outputs`." if block.is_output else "Write the module."
                return problem(f"{path} is missing.", mend, stops=True)
            mend = "Run `make outputs`: the block prints nothing yet." if block.is_output else "Add its two markers."
            return problem(f"{path} has no section {name!r}.", mend, stops=True)
        if not section.text.strip():
            what = f"section {name!r} of {path} is empty or not ended."
            return problem(what, "Put its lines between its two markers.")
        if text != section.text:
            return problem(
                f"section {name!r} of {path} holds the markers of another section.",
                "Let sections follow each other, so that each shown line has one place.",
            )
        return None


@cache
def _sections(path: Path, _mtime: int) -> dict[str, Section]:
    found: dict[str, Section] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    markers = [(number, match) for number, line in enumerate(lines) if (match := MARKER.match(line))]
    for start, marker in markers:
        name = marker["name"]
        if marker["type"] == "start" and name not in found:
            ends = (number for number, other in markers if number > start and _ends(other, name))
            content = lines[start + 1 : next(ends, start + 1)]  # not ended counts as empty, which is a problem
            blank = next((count for count, line in enumerate(content) if line.strip()), 0)
            text = textwrap.dedent("\n".join(content)).strip("\n")
            found[name] = Section(path, name, start + 2 + blank, text)
    return found


def _ends(marker: re.Match[str], name: str) -> bool:
    return marker["type"] == "end" and marker["name"] == name


def sections(path: Path) -> dict[str, Section]:
    """The sections of a file, in its order."""
    return _sections(path, path.stat().st_mtime_ns)


def has_cells(module: Path) -> bool:
    """Whether a module is a notebook in the percent format: such a module has cells where others have sections."""
    return module.is_file() and bool(CELL.search(module.read_text(encoding="utf-8")))


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


def problems(site: Site) -> list[Problem]:
    """Everything that is wrong with the pages and modules of a site and can be told without running them."""
    files = [*site.pages(), *site.snippets.rglob("*.py"), *site.snippets.rglob("*.txt")]
    if found := [problem for file in sorted(files) if (problem := _unreadable(site, file))]:
        return found
    found += _lock_problems(site)
    for page in sorted(site.docs.rglob("*.md")):
        page_blocks = read(page)
        found += _page_file_problems(site, page)
        found += filter(None, map(site.problem_of, page_blocks))
        found += _misplaced_outputs(site, page, page_blocks)
        found += _other_includes(site, page, page_blocks)
    for stray in sorted(site.docs.rglob("*.py")):
        what = "a module among the pages is published and never run."
        found.append(Problem(stray.relative_to(site.root), 1, what, "Move it to snippets/."))
    for module in site.modules():
        found += filter(None, [syntax_problem(site, module)])
        found += _unshown(site, module)
        found += _repeated(site, module)
    for module in [*site.modules(), *site.notebooks()]:
        found += _unchecked_shapes(site, module)
        found += _private(site, module)
    for record in sorted(site.snippets.rglob("*.txt")):
        if not record.with_suffix(".py").is_file():
            found.append(Problem(record.relative_to(site.root), 1, "the module of this record is gone.", "Delete it."))
        else:
            found += _beside_sections(site, record)
    return found


def _unreadable(site: Site, file: Path) -> Problem | None:
    try:
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = file.read_bytes().count(b"\n", 0, error.start) + 1
        return Problem(
            file.relative_to(site.root), line, "this line isn't UTF-8.", "Save the file as UTF-8.", stops=True
        )
    return None


def versions(root: Path) -> dict[str, str]:
    """With which TensorFlow and Keras the site is proved: those of the lock."""
    return dict(LOCKED.findall((root / "requirements.txt").read_text(encoding="utf-8")))


def _lock_problems(site: Site) -> Iterator[Problem]:
    """Each page tells the versions of the lock: they have to be those that run."""
    lock = site.root / "requirements.txt"
    lines = lock.read_text(encoding="utf-8").splitlines()
    locked = versions(site.root)
    for package in ("tensorflow", "keras"):
        if package not in locked:
            what = f"the lock has no line {package}==…, which each page tells its reader."
            yield Problem(lock.relative_to(site.root), 1, what, "Run `make lock`.", stops=True)
        elif locked[package] != (installed := importlib.metadata.version(package)):
            line = lines.index(f"{package}=={locked[package]}") + 1
            what = f"the lock has {package} {locked[package]}, and {installed} is installed."
            yield Problem(lock.relative_to(site.root), line, what, "Run `touch requirements.txt`, and again.")


def _page_file_problems(site: Site, page: Path) -> Iterator[Problem]:
    """The name of a page is its address, and what stands above its title is read by machines."""
    where, module = page.relative_to(site.root), site.module_of(page)
    if not re.fullmatch(r"[a-z0-9_]+", page.stem):
        yield Problem(where, 1, "the name of a page is its address.", "Use a to z, 0 to 9 and _ in it.")
    if has_cells(module):
        line = module.read_text(encoding="utf-8")[: CELL.search(module.read_text(encoding="utf-8")).start()].count("\n")
        what = f"a cell, `# %%`, makes a notebook of this module, and {where} draws sections from it."
        yield Problem(module.relative_to(site.root), line + 1, what, "Write another comment.")
    text = page.read_text(encoding="utf-8")
    if not text.startswith("---"):
        return
    front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    line, read_as = 1, None
    try:
        read_as = yaml.safe_load(front[1]) if front else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2
    if not isinstance(read_as, dict):
        yield Problem(where, line, "what stands above the title can't be read.", "Write `name: value` between two ---.")


def _private(site: Site, module: Path) -> Iterator[Problem]:
    """What isn't for readers to use, where it isn't shown to fail."""
    text = module.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # told already
    failing = [section for name, section in sections(module).items() if name.endswith("_fails")]
    shown_to_fail = {section.line + n for section in failing for n in range(len(section.text.splitlines()))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
        for road in PRIVATE:
            if any(f"{name}.".startswith(f"{road}.") for name in names) and node.lineno not in shown_to_fail:
                what = f"{road} isn't for readers to use."
                mend = "Use what `keras` and `tf` export, or show it in a section whose name ends in _fails."
                yield Problem(module.relative_to(site.root), node.lineno, what, mend)


def _no_command(site: Site, block: Block) -> Problem | None:
    """What in a console block isn't a command: output that nothing compares, or Python."""
    for number, line in enumerate(block.source.splitlines(), block.line + 1):
        if line.strip() and (not line.startswith("$ ") or re.search(r"\bpython3? -c\b", line)):
            what = f"{line.strip()[:40]!r} in a console block is no command."
            return Problem(block.path.relative_to(site.root), number, what, "Keep commands, as `$ make serve`.")
    return None


def _beside_sections(site: Site, record: Path) -> Iterator[Problem]:
    """What a record holds that no section of it does: nothing shows or compares it."""
    inside = ""
    for number, line in enumerate(record.read_text(encoding="utf-8").splitlines(), 1):
        marker = MARKER.match(line)
        if marker:
            inside = marker["name"] if marker["type"] == "start" else ""
        elif not inside and line.strip():
            what = "this line of the record belongs to no section."
            yield Problem(record.relative_to(site.root), number, what, "Run `make outputs`, which writes it anew.")
            return


def syntax_problem(site: Site, module: Path) -> Problem | None:
    """Why Python can't read a module, or None: outside its sections too, for a reader downloads it whole."""
    try:
        compile(module.read_text(encoding="utf-8"), str(module), "exec", dont_inherit=True)
    except SyntaxError as error:
        what = f"Python can't read this module: {error.msg}."
        return Problem(module.relative_to(site.root), error.lineno or 1, what, "Mend this line, or one above it.")
    return None


def _misplaced_outputs(site: Site, page: Path, page_blocks: list[Block]) -> Iterator[Problem]:
    """An Output block stands right under the block that printed it."""
    above: Block | None = None
    for block in page_blocks:
        if block.is_output and block.include:
            name = block.include[1]
            if above is None or not above.is_python or above.include is None or above.include[1] != name:
                yield Problem(
                    page.relative_to(site.root),
                    block.line,
                    f"the output of {name!r} doesn't stand under the block that prints it.",
                    "Move it right below that block.",
                )
        above = block


def _other_includes(site: Site, page: Path, page_blocks: list[Block]) -> Iterator[Problem]:
    """Outside a fence, a page may draw a picture as SVG; anything else could bring in code that no test sees."""
    text = page.read_text(encoding="utf-8")
    for block in page_blocks:
        text = text[: block.start] + re.sub(r"[^\n]", " ", text[block.start : block.end]) + text[block.end :]
    for number, line in enumerate(text.splitlines(), 1):
        match = SnippetPreprocessor.RE_ALL_SNIPPETS.match(line)
        if not match or match["escape"]:
            continue
        path = (match["snippet"] or "").strip("\"'")
        where = page.relative_to(site.root)
        if not path.endswith(".svg"):
            what = f"{path or 'a block'} is included outside a fence."
            yield Problem(where, number, what, "Only .svg pictures can be.")
        elif not (site.root / path).is_file():
            yield Problem(where, number, f"{path} is missing.", "Draw it, or mend the path.", stops=True)


def _repeated(site: Site, module: Path) -> Iterator[Problem]:
    """Two sections of one name: only the first would be shown and run."""
    seen: set[str] = set()
    for number, line in enumerate(module.read_text(encoding="utf-8").splitlines(), 1):
        match = MARKER.match(line)
        if match and match["type"] == "start":
            if match["name"] in seen:
                what = f"there is a section {match['name']!r} already."
                yield Problem(module.relative_to(site.root), number, what, "Give this one a name of its own.")
            seen.add(match["name"])


def _unchecked_shapes(site: Site, module: Path) -> Iterator[Problem]:
    """Comments that give a shape where none can be held against it."""
    try:
        lines = shapes.out_of_place(module.read_text(encoding="utf-8"))
    except SyntaxError:
        return  # told already
    for line in lines:
        what = "this comment begins with a shape, and there is nothing that it can be held against."
        mend = "Put it on the last line of an assignment or a return, or in other words."
        yield Problem(module.relative_to(site.root), line, what, mend)


def _unshown(site: Site, module: Path) -> Iterator[Problem]:
    """Sections of a module, and of its recorded outputs, that its page doesn't show, or shows twice."""
    page = site.page_of(module)
    where = site.relative(page)
    if not sections(module):
        what = f"the module has no section that {where} could show."
        yield Problem(module.relative_to(site.root), 1, what, "Mark one, or delete the module.")
    record = module.with_suffix(".txt")
    shown = [block.include for block in read(page)] if page.is_file() else []
    for path in filter(Path.is_file, (module, record)):
        for section in sections(path).values():
            include = (site.relative(path), section.name)
            times = shown.count(include)
            if times == 1:
                continue
            if times:
                what = f"{where} shows section {section.name!r} {times} times."
                mend = "A block runs where it stands: show it once."
            elif path == record:
                what = f"no page shows what {section.name!r} printed."
                mend = f"Show it on {where} under its block, or run `make outputs` if the block is gone."
            else:
                what = f"no page shows section {section.name!r}."
                mend = f"Show it on {where}, or delete it."
            yield Problem(path.relative_to(site.root), section.line, what, mend)
