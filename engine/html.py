"""The built page as the last witness.

Each code block that a reader sees is one that was found on the page and proved, and every link, anchor and image leads
somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import latex2mathml.converter

from engine import notebooks
from engine.pages import Problem, Site, read

FORMULA = re.compile(
    r'<(?P<element>span|div) class="arithmatex">\\[(\[](?P<source>.*?)\\[)\]]</(?P=element)>', re.DOTALL
)
DOCSTRING = re.compile(r'<span class="sd">[^<]*</span>(?:\s+<span class="sd">[^<]*</span>)+')
"""Each line of it is an element of its own, as Pygments writes it."""


@dataclass
class Shown:
    """What a piece of HTML shows that has to be proved."""

    code: list[tuple[str, str]] = field(default_factory=list)
    """Language and text of each preformatted block."""
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    """Address and alternative text of each image."""
    head: dict[str, str] = field(default_factory=dict)
    """What the page says of itself: its description, for one."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.shown = Shown()
        self.language = ""
        self.text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.shown.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.shown.links.append(given["href"])
        if tag == "meta" and "name" in given:
            self.shown.head[given["name"]] = given.get("content", "")
        if tag == "img":
            self.shown.images.append((given.get("src", ""), given.get("alt", "")))
        languages = [name for name in given.get("class", "").split() if name.startswith("language-")]
        if languages:
            self.language = languages[0].removeprefix("language-")
        if tag == "pre":
            self.language = given.get("class") or self.language
            self.text = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre" and self.text is not None:
            self.shown.code.append((self.language, "".join(self.text).strip("\n")))
            self.language, self.text = "", None

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)


@lru_cache(maxsize=64)  # a page is looked at more than once while it is built
def shown_in(html: str) -> Shown:
    reader = _Reader()
    reader.feed(html)
    return reader.shown


def with_formulas(html: str) -> str:
    """Set each formula as MathML, which browsers show without a script or a font of another site."""

    def set_formula(found: re.Match[str]) -> str:
        source = unescape(found["source"]).strip()
        display = "block" if found["element"] == "div" else "inline"
        formula = latex2mathml.converter.convert(source, display=display)
        formula = re.sub(r"<(\w+)([^<>]*?) ?/>", r"<\1\2></\1>", formula)  # HTML knows no empty elements of others
        formula = formula.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "").replace(' display="inline"', "")
        formula = formula.replace("<math", f'<math alttext="{escape(source)}"', 1)
        return formula if display == "inline" else f'<p class="formula">{formula}</p>'

    return FORMULA.sub(set_formula, html)


def with_plain_code(html: str) -> str:
    """Colour keywords, strings, comments and definitions, and leave the rest, most elements of a page, as it is."""
    html = re.sub(
        r'(<span class="si">:</span>)<span class="s2">([^<]*)</span>', r"\1\2", html
    )  # a format in an f-string
    html = re.sub(r'<span class="(?:n|p|o|w|si|sa|bp|nb|nn|mi|mf|kc|ow|fm|vm)">([^<]*)</span>', r"\1", html)
    return DOCSTRING.sub(_as_one_element, html).replace("<span></span>", "")


def _as_one_element(lines: re.Match[str]) -> str:
    start, end = '<span class="sd">', "</span>"
    return start + lines[0].replace(start, "").replace(end, "") + end


def code_problems(site: Site, page: Path, html: str) -> Iterator[Problem]:
    """Compare the blocks that the HTML shows with those that were found on the page, one by one."""
    if page.suffix == ".ipynb":
        found = [(language, text, 1) for language, text in notebooks.shown(notebooks.read(page))]
    else:
        found = [(block.language, site.expand(block), block.line) for block in read(page)]
    shown = shown_in(html).code
    where = page.relative_to(site.root)
    for (language, text, line), (html_language, html_text) in zip(found, shown, strict=False):
        if (language, text) != (html_language, html_text):
            what = (
                f"the HTML shows a {html_language or 'plain'} block that isn't the one found here: {html_text[:60]!r}."
            )
            yield Problem(where, line, what, "Write each block as a fence: ```python, one --8<-- line, ```.")
            return
    if len(found) != len(shown):
        yield Problem(
            where,
            1,
            f"the HTML has {len(shown)} blocks of code, {len(found)} were found on the page.",
            "Look for indented code or raw HTML <pre>: only fences are proved.",
        )


def link_problems(site: Site, pages: dict[str, tuple[Path, str]], files: set[str]) -> Iterator[Problem]:
    """Dead links, anchors and images. `pages` maps an address to its source and HTML, `files` are all addresses."""
    ids = {url: shown_in(html).ids for url, (_, html) in pages.items()}
    for url, (source, html) in pages.items():
        shown = shown_in(html)
        for href in shown.links:
            target, anchor = resolve(url, href)
            if target is None:
                continue
            if target not in files:
                yield _at(site, source, href, f"the link to {href} leads nowhere.", "Name a .md file that is there.")
            elif anchor and target in ids and anchor not in ids[target]:
                page = site.relative(pages[target][0])
                what = f"{page} has no anchor #{anchor}."
                yield _at(site, source, f"#{anchor}", what, "Use one of its headings, or pin one with { #name }.")
        for src, alt in shown.images:
            target, _ = resolve(url, src)
            if target is not None and target not in files:
                yield _at(site, source, src, f"the image {src} isn't there.", "Add the file, or mend its path.")
            if not alt.strip():
                yield _at(site, source, src, f"the image {src} has no alt text.", "Say what it shows: ![text](…).")


def resolve(url: str, href: str) -> tuple[str | None, str]:
    """Address within the site and anchor of a link found at `url`; None where the link leaves the site."""
    if urlsplit(href).scheme or href.startswith("//"):
        return None, ""
    target, anchor = urldefrag(urljoin("/" + url, href))
    return unquote(target.removeprefix("/")), unquote(anchor)


def _at(site: Site, source: Path, needle: str, what: str, mend: str) -> Problem:
    """A problem at the first line of the page that names the needle."""
    needle = needle.removeprefix("../").rstrip("/")
    lines = source.read_text(encoding="utf-8").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if needle in text), 1)
    return Problem(source.relative_to(site.root), line, what, mend)
