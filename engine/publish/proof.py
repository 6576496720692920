"""What a page's proof is, for its reader: how much of it ran, and which test proves what, section by section."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from bs4 import BeautifulSoup

from engine.publish.html import shown_in
from engine.site import Site

WHOLE = "The whole page"


@dataclass(frozen=True)
class Test:
    """A test of a page."""

    name: str
    line: int
    quotes: tuple[str, ...]
    """The sentences that it proves, in the page's words."""
    names: frozenset[str]
    """The strings in it, among which are the sections of the module that it runs."""

    @property
    def words(self) -> str:
        return self.name.removeprefix("test_").replace("_", " ")


@dataclass(frozen=True)
class Proof:
    """What is run and compared for a page."""

    site: Site
    page: Path
    html: str

    @property
    def path(self) -> str:
        """Address of the list of its tests."""
        return self.page.relative_to(self.site.docs).with_suffix(".proof.html").as_posix()

    @property
    def module(self) -> Path:
        return self.site.tests_of(self.page)

    @cached_property
    def tests(self) -> list[Test]:
        return _tests(self.module, self.module.stat().st_mtime_ns) if self.module.is_file() else []

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many blocks run, how many outputs are compared, and how many tests there are."""
        shown = shown_in(self.html)
        code = [language for language, _ in shown.code]
        return {"block": code.count("python"), "output": code.count("text") + shown.plots, "test": len(self.tests)}

    @property
    def told(self) -> str:
        blocks, outputs, tests = (f"{count} {what}{'' if count == 1 else 's'}" for what, count in self.counts.items())
        said = [f"{blocks} run, {outputs} compared"] if self.counts["block"] else []
        return ", ".join([*said, tests] if self.tests else said)

    def by_section(self) -> dict[str, list[Test]]:
        """The tests under the headings whose words they quote, or whose code they run, in the order of the page."""
        sections = dict(self._sections())
        found: dict[str, list[Test]] = {heading: [] for heading in [*sections, WHOLE]}
        for test in self.tests:
            proves = [name for name, (text, _) in sections.items() if any(one in text for one in test.quotes)]
            runs = [name for name, (_, drawn) in sections.items() if drawn & test.names]
            for heading in proves or runs or [WHOLE]:
                found[heading].append(test)
        return {heading: tests for heading, tests in found.items() if tests}

    def document(self, source: str = "") -> str:
        """The list as a document of its own; each test linked if the address of their source is known."""
        listed = []
        for heading, tests in self.by_section().items():
            items = "".join(f"<li>{_link(test, source)}</li>" for test in tests)
            listed.append(f"<h2>{escape(heading, quote=False)}</h2><ul>{items}</ul>")
        back = self.page.with_suffix(".html").name
        icon = "../" * self.path.count("/") + "assets/favicon.svg"
        return (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{self.told}</title>"
            f'<meta name=viewport content="width=device-width,initial-scale=1"><link rel=icon href="{icon}">'
            f'<p><a href="{back}">Back to the page</a></p><main>{"".join(listed)}</main></html>\n'
        )

    def _sections(self) -> Iterator[tuple[str, tuple[str, set[str]]]]:
        """Each heading of level 1 or 2, with the words under it and the sections of the module that it shows."""
        shown = self.site.shown(self.page)
        for heading, words, code in _parts(self.html):
            yield heading, (words, {piece.name for text in code for piece in shown.get(text, [])})


@lru_cache(maxsize=64)  # while serving, most pages stay as they were
def _parts(html: str) -> list[tuple[str, str, list[str]]]:
    """Each heading of level 1 or 2, with the words under it and its blocks of code."""
    parts = [("", [], [])]
    for element in BeautifulSoup(html, "html.parser")(["h1", "h2", "h3", "p", "li", "td", "pre", "summary"]):
        if element.name in ("h1", "h2"):
            parts.append((squeezed(element.get_text().removesuffix("¶")), [], []))
        elif element.name == "pre":
            parts[-1][2].append(element.get_text().strip("\n"))
        parts[-1][1].append(squeezed(element.get_text()))
    return [(heading, " ".join(words), code) for heading, words, code in parts if heading]


@cache
def _tests(module: Path, _mtime: int) -> list[Test]:
    found, whole = [], ast.parse(module.read_text(encoding="utf-8"))
    for node in whole.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            quotes = tuple(squeezed(re.sub(r"[`*]", "", sentence)) for sentence in quoted(whole, node))
            texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
            found.append(Test(node.name, node.lineno, quotes, frozenset(one for one in texts if isinstance(one, str))))
    return found


def quoted(module: ast.Module, node: ast.AST) -> Iterator[str]:
    """The sentences that a part of a module of tests names as proved, as text or as a constant of the module."""
    constants = {
        one.targets[0].id: one.value
        for one in module.body
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    }
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "proves":
            for value in call.args:
                yield squeezed(ast.literal_eval(constants[value.id] if isinstance(value, ast.Name) else value))


def _link(test: Test, source: str) -> str:
    return f'<a href="{quote(source, safe=":/")}#L{test.line}">{test.words}</a>' if source else test.words


def squeezed(text: str) -> str:
    return " ".join(text.split())
