"""The laws: everything that is wrong with pages, modules and records, and can be told without running them."""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from mkdocs.utils.meta import get_data
from nbformat import ValidationError
from pymdownx.snippets import SnippetMissingError, SnippetPreprocessor
from sybil import Document

from engine.prove import records, releases, shapes
from engine.site import (
    CELL,
    MARKER,
    UNSEEN,
    Block,
    Piece,
    Problem,
    Site,
    blocks,
    cells,
    has_cells,
    read,
    sections,
    tree,
)

TYPED = {"console"}
"""Languages that may be typed into a page: commands, as `$ make serve`, of which nothing is claimed to be printed."""

COMMAND = re.compile(r"\$ (export|make|mkdocs|pip|pytest|python|uv)\b(?!.* -c\b)")

PRIVATE = ("keras.src", *(f"{tf}.{part}" for tf in ("tensorflow", "tf") for part in ("python", "compat", "keras")))
PRIVATE += ("engine", "snippets", "tests")
"""Roads that a copier would regret: not there, closed in another release, or older names of what `keras` has."""
ENDS = {road.rpartition(".")[2] for road in PRIVATE}


def problems(site: Site) -> list[Problem]:
    files = [*site.pages(), *site.snippets.rglob("*.py"), *site.snippets.rglob("*.txt")]
    if found := [problem for file in sorted(files) for problem in _unreadable(site, file)]:
        return found
    found += [problem for file in sorted(files) for problem in (*_unseen(site, file), *_unfinished(site, file))]
    found += _lock(site)
    for page in site.pages():
        found += _markdown(site, page) if page.suffix == ".md" else _without_module(site, page)
    for stray in sorted(site.docs.rglob("*")):
        found += _stray(site, stray)
    for module in site.modules():
        found += [*syntax(site, module)] or _module(site, module)
    for tool in sorted(site.tools.glob("*.py")):
        found += [*syntax(site, tool)] or _private(site, tool)
    for record in sorted(site.snippets.rglob("*.txt")):
        found += _record(site, record)
    return [*found, *releases.problems(site)]


ELSEWHERE = re.compile(r"(/\S|~|\.\.(/|$)|[a-z]+://)\S*$")
DEFINES = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
OUTPUTS = "Run `make outputs`."
UNWRITTEN = re.compile(r"\b(TODO|FIXME|TBD|[Ll]orem ipsum)\b")


def _stray(site: Site, file: Path) -> Iterator[Problem]:
    """What MkDocs would publish, and nothing reads."""
    is_page = file.suffix in (".md", ".ipynb")
    if file.is_symlink():
        yield site.problem(file, 1, "what a link leads to is published, and isn't looked at.", "Copy it here.")
    elif file.suffix == ".py":
        yield site.problem(file, 1, "a module among the pages is published and never run.", "Move it to snippets/.")
    elif file.is_file() and not is_page and file.suffix != ".svg" and file.parent != site.docs / "assets":
        yield site.problem(file, 1, "this is published as it is, and isn't looked at.", "Move it to docs/assets/.")
    elif file.is_file() and not is_page and not _is_named(site, file):
        yield site.problem(file, 1, "this is published, and no page and no template names it.", "Delete it.")


def _is_named(site: Site, file: Path) -> bool:
    """Whether a page names a file, or what makes pages."""
    folders = (site.docs / "assets", site.root / "theme", site.root / "engine")
    makers = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".css", ".html", ".js", ".py")
    ]
    readers = [*site.root.glob("*.yml"), *site.pages(), *makers]
    return any(file.name in reader.read_text(encoding="utf-8") for reader in readers if reader != file)


def _unreadable(site: Site, file: Path) -> Iterator[Problem]:
    try:
        records.notebook(file) if file.suffix == ".ipynb" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = file.read_bytes().count(b"\n", 0, error.start) + 1
        yield site.problem(file, line, "this line isn't UTF-8.", "Save the file as UTF-8.", stops=True)
    except (ValueError, ValidationError):
        mend = "Delete it, and run `make outputs`."
        yield site.problem(file, 1, "this can't be read as a notebook.", mend, stops=True)


def _unseen(site: Site, file: Path) -> Iterator[Problem]:
    """What stands in a file and on no screen: it could show its reader other code than what runs."""
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if found := UNSEEN.search(line):
            yield site.problem(file, number, f"this line holds {found[0]!r}, which nobody sees.", "Delete it.")


def _unfinished(site: Site, file: Path) -> Iterator[Problem]:
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if re.match(r"(<{7}|>{7}) ", line):
            yield site.problem(file, number, "two versions of these lines wait to be merged.", "Choose one.")
        if found := UNWRITTEN.search(line):
            yield site.problem(file, number, f"{found[0]!r}: something isn't written yet.", "Write it, or delete this.")


def _lock(site: Site) -> Iterator[Problem]:
    """Each page tells the versions of the lock: they have to be those that run."""
    lock, locked = site.root / "requirements.txt", site.versions()
    for package in sorted({"tensorflow", "keras"} - set(locked)):
        what = f"the lock has no line {package}==…, which each page tells its reader."
        yield site.problem(lock, 1, what, "Run `make lock`.", stops=True)
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        package, _, version = line.partition("==")
        if ";" in line or not version:  # a package that isn't for every machine, or no package
            continue
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed = "none"
        if installed != version:
            what = f"the lock has {package} {version}, and {installed} is installed."
            yield site.problem(lock, number, what, "Run `touch requirements.txt`, and again.")


# --- pages ------------------------------------------------------------------------------------------------------------


def _markdown(site: Site, page: Path) -> Iterator[Problem]:
    page_blocks = read(page)
    yield from _head(site, page)
    yield from _unlisted(site, page)
    yield from _titles(site, page, page_blocks)
    for block in page_blocks:
        yield from _block(site, block)
    yield from _misplaced_outputs(site, page, page_blocks)
    yield from _other_includes(site, page, page_blocks)


def _head(site: Site, page: Path) -> Iterator[Problem]:
    """The name of a page is its address, and what stands above its title is read by machines."""
    if not re.fullmatch(r"[a-z0-9_]+", page.stem):
        yield site.problem(page, 1, "the name of a page is its address.", "Use a to z, 0 to 9 and _ in it.")
    module = site.module_of(page)
    if has_cells(module):
        text = module.read_text(encoding="utf-8")
        line = text.count("\n", 0, CELL.search(text).start()) + 1
        what = f"a cell, `# %%`, makes a tutorial of this module, and {site.relative(page)} draws sections from it."
        yield site.problem(module, line, what, "Write another comment.")
    text, line, read_as = page.read_text(encoding="utf-8"), 1, None
    front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    try:
        read_as = yaml.safe_load(front[1]) if front else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2
    for name in sorted(set(get_data(text)[1]) - {"title", "description", "hide"}):
        first = 1 + text.startswith("---")
        yield site.problem(page, first, f"{name}: above the title changes what is shown.", "Leave it out.")
    if text.startswith("---") and not isinstance(read_as, dict):
        yield site.problem(
            page, line, "what stands above the title can't be read.", "Write `name: value`, between ---."
        )


def _unlisted(site: Site, page: Path) -> Iterator[Problem]:
    path = page.relative_to(site.docs).as_posix()
    named = yaml.safe_dump(site.config.nav).replace("'", " ").split().count(path)
    if site.config.nav and named != 1:
        what = f"the navigation leads to this page {named} times." if named else "no navigation leads to this page."
        yield site.problem(page, 1, what, f"Name {path} once in mkdocs.yml, under nav.")


def _titles(site: Site, page: Path, page_blocks: list[Block]) -> Iterator[Problem]:
    """A fence says at most that it is an output: no test would hold another title to anything."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in page_blocks:
        if block.include and (title := re.search(r"title=(?!\"Output\"$).*", lines[block.line - 1])):
            what = f"nothing proves what {title[0]} says."
            yield site.problem(page, block.line, what, 'Leave it out, or write title="Output".')


def sections_of(site: Site, block: Block) -> list[Piece]:
    """The sections that a block draws. Raises `LookupError` with the problem if one can't be shown or run."""
    for problem in _block(site, block):
        raise LookupError(str(problem))
    return site.sections_of(block)


def _block(site: Site, block: Block) -> Iterator[Problem]:
    """Why a block can't stand on its page."""
    module = site.relative(site.module_of(block.path))
    expected = f"{module.removesuffix('.py')}.txt" if block.is_output else module
    if not (block.is_python or block.is_output):
        yield from _typed(site, block.path, block)
    elif len(block.includes) != 1 and (block.is_output or not block.includes):
        what = "output" if block.is_output else "Python"
        mend = f'Move it to a section of {expected} and let the block be one line: --8<-- "{expected}:section"'
        mend += " (`make outputs` writes it)." if block.is_output else "."
        yield site.problem(block.path, block.line, f"{what} is typed into the page.", mend)
    else:
        for path, name in block.includes:
            if path == expected:
                yield from _drawn(site, block, path, name)
            else:
                mend = f"This page draws from its mirror, {expected}."
                yield site.problem(block.path, block.line, f"the block draws from {path}.", mend)


def _drawn(site: Site, block: Block, path: str, name: str) -> Iterator[Problem]:
    """Why the section that a block draws can't be shown."""
    what = mend = ""
    try:
        shown, section = site.drawn(path, name), sections(site.root / path)[name]
    except (SnippetMissingError, FileNotFoundError, KeyError):
        what, mend = f"{path} has no section {name!r}.", "Add its two markers."
        if not (site.root / path).is_file():
            what, mend = f"{path} is missing.", "Write the module."
        yield site.problem(block.path, block.line, what, OUTPUTS if block.is_output else mend, stops=True)
        return
    if not section.text.strip():
        what, mend = "is empty or not ended.", "Put its lines between its two markers."
    elif shown != section.text or "--8<--" in shown:
        what = "holds a marker, of another section or none."
        mend = "Let sections follow each other, so that each shown line has one place."
    if what:
        yield site.problem(block.path, block.line, f"section {name!r} of {path} {what}", mend)


def _typed(site: Site, path: Path, block: Block, above: int = 0) -> Iterator[Problem]:
    """What is typed and can't be proved: another language, or in a console block more than commands."""
    if block.language not in TYPED:
        what = f"a {block.language or 'fence without a language'!s} block can't be proved."
        mend = f"Draw Python and its output from snippets/, or use one of: {', '.join(sorted(TYPED))}."
        yield site.problem(path, above + block.line, what, mend)
        return
    for number, line in enumerate(block.source.splitlines(), above + block.line + 1):
        if line.strip() and not COMMAND.match(line):
            what = f"{line.strip()[:40]!r} in a console block is no command."
            yield site.problem(path, number, what, "Keep commands, as `$ make serve`.")


def _misplaced_outputs(site: Site, page: Path, page_blocks: list[Block]) -> Iterator[Problem]:
    """An Output block stands right under the block that printed it."""
    for above, block in zip([None, *page_blocks], page_blocks, strict=False):
        if not (block.is_output and block.include):
            continue
        name = block.include[1]
        if above is None or not above.is_python or above.include is None or above.include[1] != name:
            what = f"the output of {name!r} doesn't stand under the block that prints it."
            yield site.problem(page, block.line, what, "Move it right below that block.")


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
        if not path.endswith(".svg"):
            what = f"{path or 'a block'} is included outside a fence."
            yield site.problem(page, number, what, "Only .svg pictures can be.")
        elif not (site.root / path).is_file():
            yield site.problem(page, number, f"{path} is missing.", "Draw it, or mend the path.", stops=True)


# --- modules and their records ----------------------------------------------------------------------------------------


def syntax(site: Site, module: Path) -> Iterator[Problem]:
    """Why Python can't read a module, outside its sections too: a reader downloads it whole."""
    try:
        compile(module.read_text(encoding="utf-8"), str(module), "exec", dont_inherit=True)
    except SyntaxError as error:
        what = f"Python can't read this module: {error.msg}."
        yield site.problem(module, error.lineno or 1, what, "Mend this line, or one above it.")


def _module(site: Site, module: Path) -> Iterator[Problem]:
    yield from _tutorial(site, module) if has_cells(module) else _of_sections(site, module)
    for line in shapes.out_of_place(module.read_text(encoding="utf-8")):
        what = "this comment begins with a shape, and there is nothing that it can be held against."
        mend = "Put it on the last line of an assignment or a return, or in other words."
        yield site.problem(module, line, what, mend)
    yield from _private(site, module)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ELSEWHERE.match(node.value):
            what = f"{node.value[:40]!r} leads out of the folder that a page has."
            yield site.problem(module, node.lineno, what, "Write to the folder in which it runs.")


def _private(site: Site, module: Path) -> Iterator[Problem]:
    """What isn't for readers to use, where it isn't shown to fail."""
    failing = [section for name, section in sections(module).items() if name.endswith("_fails")]
    shown_to_fail = {section.line + n for section in failing for n in range(len(section.text.splitlines()))}
    nodes = list(ast.walk(tree(module)))
    imports = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    called = {alias.asname: alias.name for alias in imports}
    for node in nodes:
        names = []
        if isinstance(node, ast.Attribute) and node.attr in ENDS:
            first, *rest = ast.unparse(node).split(".")
            names = [".".join([called.get(first, first), *rest])]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            road = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [f"{road}{alias.name}" for alias in node.names]
        for road in PRIVATE:
            if any(f"{name}.".startswith(f"{road}.") for name in names) and node.lineno not in shown_to_fail:
                mend = "Use what `keras` and `tf` export, define it here, or show it in a section that ends in _fails."
                yield site.problem(module, node.lineno, f"{road} isn't for readers to use.", mend)


def _of_sections(site: Site, module: Path) -> Iterator[Problem]:
    page, record = site.page_of(module), module.with_suffix(".txt")
    if not sections(module):
        what = f"the module has no section that {site.relative(page)} could show."
        yield site.problem(module, 1, what, "Mark one, or delete the module.")
    yield from _repeated(site, module)
    yield from _unguarded(site, module)
    yield from _unshown(site, module)
    shown = [include for block in read(page) for include in block.includes] if page.is_file() else []
    for path in filter(Path.is_file, (module, record)):
        for section in sections(path).values():
            times = shown.count((site.relative(path), section.name))
            if times != 1:
                yield _shown_otherwise(site, page, section, times)


def _unguarded(site: Site, module: Path) -> Iterator[Problem]:
    """What importing a module would do, beside defining."""
    for node in tree(module).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (docstring or isinstance(node, DEFINES) or ast.unparse(node).startswith("if __name__ == '__main__':")):
            mend = 'Put it into `if __name__ == "__main__":`, with its section.'
            yield site.problem(module, node.lineno, "this runs where the module is imported.", mend)


def _unshown(site: Site, module: Path) -> Iterator[Problem]:
    """Code beside the sections: no reader sees it, and no block runs it, while tests would import it."""
    shown = {section.line + n for section in sections(module).values() for n in range(section.text.count("\n") + 1)}
    for node in _statements(tree(module).body):
        first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", ()))])
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and (line := next((n for n in range(first, node.end_lineno + 1) if n not in shown), 0)):
            what = "this line stands in no section: no page shows it."
            yield site.problem(module, line, what, "Put it into one, or delete it.")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module, and those that it runs as a script."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            yield from (*node.body, *node.orelse)
        else:
            yield node


def _shown_otherwise(site: Site, page: Path, section: Piece, times: int) -> Problem:
    """A section that its page doesn't show, or shows twice."""
    where = site.relative(page)
    what, mend = f"no page shows section {section.name!r}.", f"Show it on {where}, or delete it."
    if times:
        what = f"{where} shows section {section.name!r} {times} times."
        mend = "A block runs where it stands: show it once."
    elif section.path.suffix == ".txt":
        what = f"no page shows what {section.name!r} printed."
        mend = f"Show it on {where} under its block, or run `make outputs` if the block is gone."
    return site.problem(section.path, section.line, what, mend)


def _repeated(site: Site, module: Path) -> Iterator[Problem]:
    """Two sections of one name: only the first would be shown and run."""
    seen: set[str] = set()
    for number, line in enumerate(module.read_text(encoding="utf-8").splitlines(), 1):
        match = MARKER.match(line)
        if match and match["type"] == "start":
            if match["name"] in seen:
                what = f"there is a section {match['name']!r} already."
                yield site.problem(module, number, what, "Give this one a name of its own.")
            seen.add(match["name"])


def _record(site: Site, record: Path) -> Iterator[Problem]:
    """What is wrong with the record of a module's sections."""
    module = record.with_suffix(".py")
    if not module.is_file() or has_cells(module):
        yield site.problem(record, 1, "the module of this record is gone.", "Delete it.")
        return
    yield from _otherwise(site, module, record)


def _otherwise(site: Site, module: Path, record: Path) -> Iterator[Problem]:
    """Where a record is another than the command writes: nothing shows or compares what it holds there."""
    written, lines = records.text(site, module).splitlines(), record.read_text(encoding="utf-8").splitlines()
    for number, (line, other) in enumerate(itertools.zip_longest(lines, written), 1):
        if line != other:
            yield site.problem(record, number, "the record isn't as the command writes it from here on.", OUTPUTS)
            return


# --- tutorials --------------------------------------------------------------------------------------------------------


def _without_module(site: Site, notebook: Path) -> Iterator[Problem]:
    module = site.module_of(notebook)
    yield from _unlisted(site, notebook)
    if not has_cells(module):
        what = f"there is no {site.relative(module)} with cells to record."
        yield site.problem(notebook, 1, what, "Write the module, or delete the notebook.")


def _tutorial(site: Site, module: Path) -> Iterator[Problem]:
    module_cells, path = cells(module), records.path_of(site, module)
    if not module_cells:
        yield site.problem(module, 1, "something stands outside the cells.", "Begin each with # %% or # %% [markdown].")
    for cell in module_cells:
        if not cell.is_code:
            yield from _prose(site, cell)
    if not path.is_file():
        yield site.problem(module, 1, f"{site.relative(path)} is missing.", OUTPUTS)
        return
    for cell in module_cells:
        if problem := cell_problem(site, cell):
            yield problem
            return
    yield from _otherwise(site, module, path)


def cell_problem(site: Site, cell: Piece) -> Problem | None:
    """Why the recorded notebook doesn't hold a cell, or None."""
    path = records.path_of(site, cell.path)
    recorded = records.notebook(path).cells if path.is_file() else []
    node = recorded[cell.number - 1] if cell.number <= len(recorded) else None
    held = node and (node.cell_type == "code", node.source.strip("\n"), node.metadata.get("alt", ""))
    if held != (cell.is_code, cell.text, cell.alt):
        return site.problem(cell.path, cell.line, f"{cell.label} isn't the one in {site.relative(path)}.", OUTPUTS)
    if bool(cell.alt) != bool(records.of_cell(node).picture):
        return site.problem(cell.path, cell.line, f"{cell.label} has no plot in {site.relative(path)}.", OUTPUTS)
    return None


def _prose(site: Site, cell: Piece) -> Iterator[Problem]:
    for block in blocks(Document(cell.text, str(cell.path))):
        yield from _typed(site, cell.path, block, above=cell.line - 1)
    if "--8<--" in cell.text:
        what = "a tutorial includes nothing: what it holds is what a reader downloads."
        yield site.problem(cell.path, cell.line, what, "Write the cell itself.")
