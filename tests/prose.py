"""What the pages say in words, tied to what proves it.

A test names the sentences that it proves, as a reader sees them, and is red when they leave the page:

    @pytest.mark.proves("Given the weights of a `Dense`, it returns what `Dense` returns")
    def test_affine_equals_dense(): ...

A figure in the prose stands in what its part of the page is recorded to print, or in a sentence that a test proves; one
in code font, in a formula, or in the description of a plot or of the page, may stand anywhere in the page's code or
outputs.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token

from engine.prove import records
from engine.publish import proof
from engine.publish.proof import squeezed
from engine.site import INCLUDE, cells, description, sections
from tests.site import SITE

NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
WORDS = {word: str(number) for number, word in enumerate(NUMBERS, 2)}
WORDS |= {"twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "hundred": "100", "thousand": "1000"}
PARTS = ["half", "twice", "quarters?", "(?:thir|fif|six|seven|eigh|nin|ten|hundred)ths?", "thirds?"]
FIGURE = re.compile(rf"\d+(?:[.,]\d+)*|\b(?:{'|'.join([*WORDS, *PARTS])})\b", re.IGNORECASE)
FORMULA = re.compile(r"\$\$?[^$]+\$\$?")
NAMES = re.compile(
    r"(?:Keras|TensorFlow|Python) \d[\d.]*\d?|[A-Za-z_]\w*\d\w*|arXiv:[\d.]+|\b(?:1[89]|20)\d\d\b|"
    r"(?:[Aa]lgorithm|[Ee]quations?|[Ss]ections?) [\d.]*\d(?: and [\d.]*\d)?"
)
"""Figures that are part of a name: `float32`, Keras 3, a year, a paper and a place in it."""


@dataclass(frozen=True)
class Passage:
    """A heading, a paragraph, an item, a row of a table, an alt text, a comment: one piece of what a reader reads."""

    path: Path
    line: int
    text: str
    """Without markup but for code, which stays in backticks. Cells of a row are divided by |."""
    is_alt: bool = False
    """Whether it describes a plot."""

    @property
    def where(self) -> str:
        return f"{SITE.relative(self.path)}:{self.line}"


@dataclass
class Part:
    """What stands under a heading of level 1 or 2: its passages, and the code and outputs among them."""

    passages: list[Passage] = field(default_factory=list)
    code: str = ""
    outputs: str = ""


def parts(page: Path) -> list[Part]:
    """The parts of a page, in order."""
    return _of_notebook(SITE.module_of(page)) if page.suffix == ".ipynb" else _of_page(page)


def _of_page(page: Path) -> list[Part]:
    text, found = page.read_text("utf-8"), [Part()]
    if front := re.match(r"---\n(.*?\n)---\n", text, flags=re.S):
        told = yaml.safe_load(front[1]).get("description", "")
        found[0].passages.append(Passage(page, 2, told, is_alt=True))
        text = "\n" * front[0].count("\n") + text[front.end() :]
    for passage, level, include in _read(page, text, first=1):
        if level in (1, 2):
            found.append(Part())
        if passage:
            found[-1].passages.append(passage)
        file = SITE.root / include[0] if include else page
        if include and file.is_file() and include[1] in sections(file):  # otherwise a law is broken, and told
            text = f"{sections(file)[include[1]].text}\n"
            found[-1].outputs += text if file.suffix == ".txt" else ""
            found[-1].code += text if file.suffix == ".py" else ""
    return found


def _of_notebook(module: Path) -> list[Part]:
    found = [Part([Passage(module, 1, description(module), is_alt=True)])]
    for cell in cells(module):
        if cell.is_code:
            found[-1].code += f"{cell.text}\n"
            recorded = records.read(SITE, cell)
            found[-1].outputs += f"{recorded.printed}\n{_words_of_plot(recorded)}\n"
            if cell.alt:
                found[-1].passages.append(Passage(module, cell.line, cell.alt, is_alt=True))
            continue
        for passage, level, _ in _read(module, cell.text, first=cell.line):
            if level in (1, 2):
                found.append(Part())
            if passage:
                found[-1].passages.append(passage)
    return found


def _words_of_plot(record: records.Record) -> str:
    """What stands in the plot of a cell: titles, legends, numbers at the axes."""
    return BeautifulSoup(record.picture.svg, "html.parser").get_text(" ") if record.picture else ""


def _read(path: Path, text: str, first: int) -> Iterator[tuple[Passage | None, int, tuple[str, str] | None]]:
    """Each passage, with its level if it is a heading; and each section that a fence draws."""
    # What stands indented is an admonition here, and its text is read as any other.
    reader = MarkdownIt().enable("table").disable("code")
    row: list[str] | None = None
    level, line = 0, 0
    for token in reader.parse(text):
        line = token.map[0] + first if token.map else line
        if token.type == "heading_open":
            level = int(token.tag[1])
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            yield Passage(path, line, " | ".join(row)), 0, None
            row = None
        elif token.type == "inline":
            words = _words_of_drawing(token.content) or _words(token)
            if row is not None:
                row.append(words)
            else:
                yield Passage(path, line, words), level, None
            level = 0
        elif token.type == "html_block":
            yield Passage(path, line, squeezed(BeautifulSoup(token.content, "html.parser").get_text(" "))), 0, None
        elif token.type == "fence":
            for match in INCLUDE.finditer(token.content):
                yield None, 0, (match["path"], match["section"])


def _words_of_drawing(text: str) -> str:
    """What stands in a drawing that a page includes; nothing where it includes none."""
    drawing = re.fullmatch(r'-+8<-+ "([^"]+\.svg)"', text)
    file = SITE.root / drawing[1] if drawing else None
    return squeezed(BeautifulSoup(file.read_text("utf-8"), "html.parser").get_text(" ")) if file else ""


def _words(token: Token) -> str:
    found = []
    for child in token.children:
        if child.type == "code_inline":
            found.append(f"`{child.content}`")
        elif child.type in ("softbreak", "hardbreak", "html_inline"):
            found.append(" ")
        else:
            found.append(child.content)
    return squeezed(re.sub(r" \{ #[^{}]+ \}$", "", "".join(found)))


def comments(module: Path) -> Iterator[Passage]:
    """The docstrings and comments of a module, which readers copy with its code."""
    text = module.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (told := ast.get_docstring(node)):
            yield Passage(module, node.body[0].lineno, squeezed(told.replace("``", "`")))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(module, token.start[0], squeezed(token.string.lstrip("# ")))


def page_of(test: Path) -> Path | None:
    """The page whose claims a test module proves."""
    mirrored = SITE.docs / test.relative_to(SITE.root / "tests").with_name(test.stem.removeprefix("test_"))
    return next((page for ending in (".md", ".ipynb") if (page := mirrored.with_suffix(ending)).is_file()), None)


@cache
def readable(page: Path) -> list[Passage]:
    """Everything that a page says in words, the comments of its code included."""
    module = SITE.module_of(page)
    return [*(p for part in parts(page) for p in part.passages), *(comments(module) if module.is_file() else [])]


def missing(page: Path, sentence: str) -> str | None:
    """Why a sentence isn't proved any more: the page doesn't say it. None if it does."""
    words = squeezed(sentence)
    if len(words.split()) < 3:
        return f"{words!r} could be said by any sentence: quote three words or more."
    passages = readable(page)
    if any(_quote(words).search(passage.text) for passage in passages):
        return None
    nearest = max(passages, key=lambda one: _likeness(words, one.text))
    return (
        f"{nearest.where}: the page doesn't say any more: {words!r}. Nearest is {nearest.text!r}. "
        "Prove what the page says now and quote that, or say it again."
    )


def _quote(words: str) -> re.Pattern[str]:
    """A sentence where it ends with its words: `costs 9` isn't said by `costs 90` or `costs 9.5`."""
    return re.compile(rf"(?<![\w.]){re.escape(words)}(?!\w|[.,]\d)")


def _likeness(words: str, text: str) -> float:
    matcher = difflib.SequenceMatcher(None, words, text, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks() if block.size > 3) / len(words)


def proved(test: Path) -> list[str]:
    """The sentences that a module of tests names as proved."""
    tree = ast.parse(test.read_text("utf-8"))
    return list(proof.quoted(tree, tree))


def untied(page: Path) -> Iterator[str]:
    """The figures of a page's prose that nothing would contradict if they were others."""
    test = SITE.tests_of(page)
    quoted = proved(test)
    of_page = "\n".join(part.code + part.outputs for part in parts(page)).strip()
    shown = set(FIGURE.findall(of_page or _printed_around(page)))
    for part in parts(page):
        printed = set(FIGURE.findall(part.outputs))
        for passage in part.passages:
            text = passage.text
            for sentence in quoted:
                text = _quote(sentence).sub(" ", text)
            formulas = [range(*formula.span()) for formula in FORMULA.finditer(text)]
            text = NAMES.sub(lambda name: " " * len(name[0]), text)
            for figure in FIGURE.finditer(text):
                in_formula = any(figure.start() in formula for formula in formulas)
                if in_formula and len(figure[0]) == 1:  # a coefficient, an index, an exponent
                    continue
                in_code = text.count("`", 0, figure.start()) % 2 == 1
                value = WORDS.get(figure[0].lower(), figure[0])
                if value not in (shown if in_code or in_formula or passage.is_alt else printed):
                    around = text[max(0, figure.start() - 30) : figure.end() + 30]
                    yield (
                        f"{passage.where}: nothing ties {figure[0]!r} in {around!r}. Let a test of "
                        f"{SITE.relative(test)} prove the sentence and quote it with `proves`, or print the figure."
                    )


def _printed_around(index: Path) -> str:
    """What a chapter prints, and the pages that its index leads to, which has no code of its own."""
    links = re.findall(r"\]\(\.\./([\w/]+)\.md", index.read_text("utf-8"))
    others = {SITE.snippets / f"{link}.txt" for link in links}
    chapter = (SITE.snippets / index.parent.relative_to(SITE.docs)).glob("*.txt")
    return "\n".join(record.read_text("utf-8") for record in sorted({*chapter, *others}) if record.exists())
