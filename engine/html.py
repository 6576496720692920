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
    titles: int = 0
    """How many headings of level 1."""
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    """Address and alternative text of each image; of a drawing within the page its name, without an address."""
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
            self.shown.ids.append(given["id"])
        if tag == "a" and "href" in given:
            self.shown.links.append(given["href"])
        if tag == "meta" and "name" in given:
            self.shown.head[given["name"]] = given.get("content", "")
        if tag == "h1":
            self.shown.titles += 1
        if tag == "svg" and given.get("aria-hidden") != "true":
            self.shown.images.append(("", given.get("aria-label", "")))
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
    # A format in an f-string, `.2f`, looks like the name before it.
    html = re.sub(r'(<span class="si">:</span>)<span class="s2">([^<]*)</span>', r"\1\2", html)
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


def page_problems(site: Site, source: Path, html: str) -> Iterator[Problem]:
    """What a page shows that its reader can't use: no title or two, two anchors of one name, drawings without words."""
    shown = shown_in(html)
    if shown.titles != 1:
        what = f"the page has {shown.titles} headings of level 1."
        yield Problem(source.relative_to(site.root), 1, what, "Give it one, its title: # Title.")
    for name in sorted({name for name in shown.ids if shown.ids.count(name) > 1}):
        yield _at(site, source, f"#{name}", f"two anchors are called #{name}.", "Give one another name.", last=True)
    for src, alt in shown.images:
        if not src and not says_something(alt):
            what = "a drawing has no name that tells what it shows."
            yield _at(site, source, "<svg", what, 'Give its <svg> role="img" and aria-label="…".', or_else=".svg")
        elif src and not alt.strip():
            yield _at(site, source, src, f"the image {src} has no alt text.", "Say what it shows: ![text](…).")
        elif src and not says_something(alt):
            what = f"the alt text {alt!r} doesn't tell what the image {src} shows."
            yield _at(site, source, src, what, "Say it in words of its own.")


def says_something(alt: str) -> bool:
    return alt.strip().lower() not in ("", "image", "picture", "diagram", "plot", "graph", "figure", "screenshot")


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
        for src, _ in shown.images:
            target, _ = resolve(url, src)
            if src and target is not None and target not in files:
                yield _at(site, source, src, f"the image {src} isn't there.", "Add the file, or mend its path.")


def resolve(url: str, href: str) -> tuple[str | None, str]:
    """Address within the site and anchor of a link found at `url`; None where the link leaves the site."""
    if urlsplit(href).scheme or href.startswith("//"):
        return None, ""
    target, anchor = urldefrag(urljoin("/" + url, href))
    return unquote(target.removeprefix("/")), unquote(anchor)


def _at(
    site: Site, source: Path, needle: str, what: str, mend: str, *, or_else: str = "", last: bool = False
) -> Problem:
    """A problem at the first line of the page, or the last, that names the needle or what may stand for it."""
    needles = [one for one in (needle.removeprefix("../").rstrip("/"), or_else) if one]
    lines = source.read_text(encoding="utf-8").splitlines()
    found = [number for number, text in enumerate(lines, 1) if any(one in text for one in needles)] or [1]
    return Problem(source.relative_to(site.root), found[-1 if last else 0], what, mend)
