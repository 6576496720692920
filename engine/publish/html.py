"""The built page as the last witness, read with one reader: what a reader sees is what was proved, and can be used.

Each code block is one that was found on the page and ran, and every link, anchor and image leads somewhere.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import latex2mathml.converter
from bs4 import BeautifulSoup, Comment, Tag
from sybil import Document

from engine.prove import records
from engine.site import Problem, Site, blocks, read

PLAIN = ["n", "p", "o", "w", "si", "sa", "bp", "nb", "nn", "mi", "mf", "kc", "ow", "fm", "vm"]
"""What stays in the colour of the text: most elements of a page."""
PHONE, DEEPEST = 45, 24
"""How many characters of code fit on a phone, and the deepest indentation that its style knows."""
TELLS_NOTHING = ("image", "picture", "diagram", "plot", "graph", "figure", "screenshot", "")
ELEMENTS = """a abbr aside blockquote br code dd details div dl dt em figcaption figure h1 h2 h3 h4 hr img input label
li math ol p pre section span strong sub summary sup svg table tbody td th thead tr ul""".split()  # noqa: SIM905
DRAWN = """circle clippath defs desc ellipse g image line marker path polygon polyline rect text title tspan
use""".split()  # noqa: SIM905
ATTRIBUTES = """alt alttext aria-label checked class data-tabs display download for height href id
name open src title type width""".split()  # noqa: SIM905
"""What a page is made of: whatever else could show what isn't proved, or hide what is."""


EXAMPLES = re.compile(r"(?i)examples?|code|programs?|snippets?|usage|how\b")
"""A column of a table whose code is quoted."""
HEADING = re.compile(r"^h[1-6]$")
MARKUP = re.compile(
    r"(?:^|\n)\s*(?:[-*+] |\d+[.)] |#{1,6} |\||!!!|\?\?\?|===|> )|(?<!\w)[*_]\w|\*\*|__\w|\][(\[]|\[\^|`|"
    r":::|\{ ?[#.:]|~~|\$|!-- |\\[a-z(\[]"
)
"""What Markdown would have read, if it stood where it reads it."""


@dataclass(frozen=True)
class Shown:
    """What a piece of HTML shows that has to be proved."""

    code: list[tuple[str, str]]
    """Language and text of each preformatted block."""
    titles: int
    """How many headings of level 1."""
    ids: list[str]
    links: list[str]
    images: list[tuple[str, str]]
    """Address and alternative text of each image; of a drawing within the page its name, without an address."""
    plots: int
    head: dict[str, str]
    """What the page says of itself: its description, for one."""
    loose: list[str]
    """Code on several lines that stands in no block, and so is proved by nothing."""
    included: list[str]
    """Lines that were to be replaced by what they name, and stand on the page as they are."""
    strange: list[tuple[str, str]]
    """Elements and attributes that aren't for pages, each with how it begins in the source."""
    unread: list[str]
    """Marks of Markdown that stand on the page as they are, and comments, which stand in its source only."""
    headings: list[tuple[int, str, bool]]
    """Level and text of each heading, and whether it stands within a `<div>`."""
    tables: list[tuple[list[str], list[list[str]]]]
    """Headings of each table, and the code in each cell of its rows."""


@lru_cache(maxsize=64)  # a page is looked at more than once while it is built
def shown_in(html: str) -> Shown:
    page = BeautifulSoup(html, "html.parser")
    drawings = [("", svg.get("aria-label", "")) for svg in page("svg") if svg.get("aria-hidden") != "true"]
    loose = [code for code in page("code") if code.br]
    loose += [br.previous_sibling for br in page("br") if _between_code(br) and not br.find_parent("td")]
    return Shown(
        code=[(_language(pre), pre.get_text().strip("\n")) for pre in page("pre")],
        titles=len(page("h1")),
        ids=[element["id"] for element in page(id=True)],
        links=[link["href"] for link in page("a", href=True)],
        images=drawings + [(image.get("src", ""), image.get("alt", "")) for image in page("img")],
        plots=len(page("figure", class_="plot")),
        head={meta["name"]: meta.get("content", "") for meta in page("meta", attrs={"name": True})},
        loose=[element.get_text("\n").strip() for element in loose],
        included=[line.strip() for line in page.get_text().splitlines() if "--8<--" in line],
        strange=list(_strange(page)),
        unread=list(_unread(page)),
        headings=[(int(one.name[1]), one.get_text(), one.find_parent("div") is not None) for one in page(HEADING)],
        tables=[
            ([cell.get_text() for cell in table("th")], [_code_of(row) for row in table("tr") if row.td])
            for table in page("table")
        ],
    )


def _unread(page: BeautifulSoup) -> Iterator[str]:
    for text in page.find_all(string=True):
        if isinstance(text, Comment):
            yield f"<!--{text}"
        elif not text.find_parent(["pre", "code", "svg", "math"]) and (mark := MARKUP.search(text)):
            yield text[mark.start() :].strip()
        elif text.find_parent("math") and "\\" in text:
            yield text.strip()


def _between_code(br: Tag) -> bool:
    return all(isinstance(one, Tag) and one.name == "code" for one in (br.previous_sibling, br.next_sibling))


def _strange(page: BeautifulSoup) -> Iterator[tuple[str, str]]:
    for element in page(True):
        drawing = element.find_parent(["svg", "math"])
        if drawing is None and element.name not in ELEMENTS:
            yield f"<{element.name}>", f"<{element.name}"
        elif drawing is not None and drawing.name == "svg" and element.name not in DRAWN:
            yield f"<{element.name}> in a drawing", f"<{element.name}"
        elif drawing is None and element.name != "svg":
            yield from (
                (f"{name}=… of <{element.name}>", f"{name}=")
                for name in element.attrs
                if name not in ATTRIBUTES and (element.name, name) != ("figure", "data-search-exclude")
            )


def _language(pre: Tag) -> str:
    around = pre.find_parent(class_=re.compile("^language-"))
    names = [name.removeprefix("language-") for name in (around["class"] if around else pre.get("class", []))]
    return names[0] if names else ""


def _code_of(row: Tag) -> list[str]:
    """The code in each cell, with a line end where the cell has one."""
    parts = [[("\n" if part.name == "br" else part.get_text()) for part in cell(["br", "code"])] for cell in row("td")]
    return ["".join(texts).strip() for texts in parts]


# --- what a page is made of -------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)  # while serving, most pages stay as they were
def refined(html: str) -> str:
    """Formulas as MathML, a term explained once, and no more elements in code than tell something."""
    page = BeautifulSoup(html, "html.parser")
    for formula in page(class_="arithmatex"):
        _set(formula)
    explained = set()
    for term in page("abbr"):  # where it stands first; the extension explains it each time
        if term["title"] in explained:
            term.unwrap()
        explained.add(term.get("title"))
    for code in page("pre"):
        for colon in code(
            "span", class_="si", string=":"
        ):  # a format in an f-string, `.2f`, looks like what it formats
            colon.next_sibling.unwrap()
        for span in code("span", class_=PLAIN):
            span.unwrap()
        if code.code and _language(code) != "text":
            _hang(code.code)
        for span in code("span", class_="sd"):  # a docstring has an element for each of its lines
            _join(span)
        for empty in code.find_all(lambda span: span.name == "span" and not span.contents):
            empty.decompose()
    return page.decode(formatter="minimal")


def with_lines(site: Site, page: Path, html: str) -> str:
    """The page, with code on several lines of a table's cell as it stands in the module: its lines, its indentation."""
    module = site.module_of(page)
    if "<br" not in html or not module.is_file():
        return html
    soup = BeautifulSoup(html, "html.parser")
    known = module.read_text(encoding="utf-8").splitlines()
    for cell in soup("td"):
        code = [part.get_text() for part in cell("code")]
        if cell.br and len(cell("br")) == len(code) - 1 and (lines := _lines_of("".join(code), known)):
            cell.clear()
            cell.append(soup.new_tag("code", attrs={"class": "lines"}, string=textwrap.dedent("\n".join(lines))))
    return soup.decode(formatter="minimal")


def _lines_of(code: str, known: list[str]) -> list[str]:
    """The lines of a module that a piece of code quotes."""
    wanted = _squeezed(code)
    for start in range(len(known)):
        end, found = start, _squeezed(known[start])
        while found and wanted.startswith(found.rstrip(",")) and end + 1 < len(known):
            if found.rstrip(",") == wanted:
                return known[start : end + 1]
            end += 1
            found = _squeezed("\n".join(known[start : end + 1]))
    return []


def _set(formula: Tag) -> None:
    display = "block" if formula.name == "div" else "inline"
    source = formula.get_text().strip()[2:-2].strip()
    math = BeautifulSoup(latex2mathml.converter.convert(source, display=display), "html.parser").math
    del math["xmlns"]
    if display == "inline":
        del math["display"]
    math.attrs = {"alttext": source, **math.attrs}
    formula.replace_with(math)
    if display == "block":
        math.wrap(Tag(name="p", attrs={"class": "formula"}))


def _hang(code: Tag) -> None:
    """Tell of each indented line of code that a phone has to break its indentation, under which it goes on."""
    code.smooth()
    for text in [part for part in code.children if isinstance(part, str)]:
        text.replace_with(*re.findall(r"\n|[^\n]+", text))
    lines = [list(line) for end, line in itertools.groupby(code.children, key=lambda part: part == "\n") if not end]
    for line in lines:
        text = "".join(part.get_text() for part in line)
        indent = len(text) - len(text.lstrip())
        is_docstring = isinstance(line[-1], Tag) and line[-1].get("class") == ["sd"]
        if indent and len(text) > PHONE and not is_docstring:
            hung = line[0].wrap(Tag(name="span", attrs={"class": f"i{min(indent, DEEPEST) // 4 * 4}"}))
            hung.extend(line)
            beginning = next(hung.strings)
            hung.insert_before(beginning[:indent])
            beginning.replace_with(beginning[indent:])
    code.smooth()


def _join(first: Tag) -> None:
    while (space := first.next_sibling) is not None:
        following = space.next_sibling if isinstance(space, str) and space.isspace() else space
        if not (isinstance(following, Tag) and following.get("class") == ["sd"]):
            return
        if following is not space:
            first.append(space.extract())
        first.extend(list(following.contents))
        following.decompose()


# --- what is wrong with it --------------------------------------------------------------------------------------------


def page_problems(site: Site, page: Path, html: str) -> Iterator[Problem]:
    """What a page shows that isn't proved, or that its reader can't use."""
    shown, source = shown_in(html), site.source_of(page)
    yield from _code_problems(site, page, shown)
    if shown.titles != 1:
        what = f"the page has {shown.titles} headings of level 1."
        yield site.problem(source, 1, what, "Give it one, its title: # Title.")
    for name, start in shown.strange:
        what = f"{name} isn't for pages: it could show what isn't proved, or hide what is."
        yield site.problem(source, min(_lines(source, start)), what, "Write Markdown.")
    for text in shown.unread:
        what = f"{text[:40]!r} is shown as it is: Markdown doesn't read it here."
        mend = "Begin a list or a table after an empty line, and end what is begun."
        if text.startswith("<!--"):
            what, mend = f"{text[:40]!r} is published, and no page shows it.", "Delete it, or say it."
        elif text.startswith("\\"):
            what, mend = f"{text[:40]!r} is nothing that a formula may hold.", "Use another command of LaTeX."
        needle = text.removeprefix("<!--").split("\n")[0][:40].strip()
        yield site.problem(source, min(_lines(source, needle)), what, mend)
    yield from _heading_problems(site, source, shown)
    for name in sorted({name for name in shown.ids if shown.ids.count(name) > 1}):
        line = max(_lines(source, f"#{name}"))
        yield site.problem(source, line, f"two anchors are called #{name}.", "Give one another name.")
    for address, alt in shown.images:
        if alt.strip().lower() in TELLS_NOTHING:
            what = f"the alt text {alt!r} doesn't tell what the {f'image {address}' if address else 'drawing'} shows."
            needle, mend = address or "svg", 'Say it: ![text](…), or <svg aria-label="text">.'
            if source != page and not address:
                needle, mend = f'alt="{alt}"', 'Say it: # %% alt="text".'
            yield site.problem(source, min(_lines(source, needle)), what, mend)


def _heading_problems(site: Site, source: Path, shown: Shown) -> Iterator[Problem]:
    above = 1
    for level, text, inside in shown.headings:
        title = text.removesuffix("¶")
        if level > above + 1:
            what = f"{title!r} is of level {level}, and stands under one of level {above}."
            yield site.problem(source, min(_lines(source, title)), what, f"Begin it with {'#' * (above + 1)}.")
        if inside:
            what = f"{title!r} stands within a <div>, which isn't ended."
            yield site.problem(source, min(_lines(source, title)), what, "Write </div> where it ends.")
        above = level


def _code_problems(site: Site, page: Path, shown: Shown) -> Iterator[Problem]:
    """Compare the blocks that the HTML shows with those that were found on the page, one by one."""
    found = list(_found(site, page))
    for (language, text, line), (html_language, html_text) in zip(found, shown.code, strict=False):
        if (language, text) != (html_language, html_text):
            what = f"the HTML shows a {html_language or 'plain'} block that isn't the one found here: "
            mend = "Write each block as a fence: ```python, one --8<-- line, ```."
            yield site.problem(page, line, f"{what}{html_text[:60]!r}.", mend)
            return
    if len(found) != len(shown.code):
        what = f"the HTML has {len(shown.code)} blocks of code, {len(found)} were found on the page."
        yield site.problem(page, 1, what, "Look for indented code or raw HTML <pre>: only fences are proved.")
    for text in shown.loose:
        line = min(_lines(page, text.split("\n")[0]))
        yield site.problem(page, line, f"{text[:40]!r} is code that isn't proved.", "Write a fence: only they are.")
    for included in shown.included:
        what = f"{included[:60]!r} is shown as it is: a block in a quote or a list draws nothing."
        yield site.problem(page, max(_lines(page, included)), what, "Let the fence begin its line.")
    yield from _unquoted(site, page, shown)


def _found(site: Site, page: Path) -> Iterator[tuple[str, str, int]]:
    """Language, text and line of each block that a page is made of."""
    if page.suffix == ".md":
        yield from ((block.language, site.expand(block), block.line) for block in read(page))
        return
    for cell in records.notebook(page).cells:
        if cell.cell_type == "code":
            yield "python", cell.source, 1
            if printed := records.of_cell(cell).printed:
                yield "text", printed, 1
        else:
            yield from ((block.language, block.source.strip("\n"), 1) for block in blocks(Document(cell.source, "")))


def _unquoted(site: Site, page: Path, shown: Shown) -> Iterator[Problem]:
    """Code in a table, in a column called Example or on several lines, is quoted from the page's module."""
    module = site.module_of(page)
    known = _squeezed(module.read_text(encoding="utf-8")) if module.is_file() else ""
    for headings, rows in shown.tables:
        for heading, code in ((heading, code) for row in rows for heading, code in zip(headings, row, strict=False)):
            if (EXAMPLES.match(heading) or _has_lines(code)) and not (code and _squeezed(code).rstrip(",") in known):
                line = min(_lines(page, code.split("\n")[0].strip()))
                what = f"the cell {code[:40]!r} of the column {heading} isn't quoted from {site.relative(module)}."
                yield site.problem(page, line, what, "Quote the module, without comments.")


def _has_lines(code: str) -> bool:
    """Whether it is more than one line of Python, and not two messages."""
    try:
        return len(ast.parse(textwrap.dedent(code)).body) > 1
    except SyntaxError:
        return code.startswith(("def ", "class ", "for ", "with "))


def _squeezed(code: str) -> str:
    """Code without comments and what a formatter decides: white space, and the comma before a closing bracket."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", re.sub(r"  # .*", "", code)))


def link_problems(site: Site, pages: dict[str, tuple[Path, str]], files: set[str]) -> Iterator[Problem]:
    """Dead links, anchors and images. `pages` maps an address to its source and HTML, `files` are all addresses."""
    for url, (source, html) in pages.items():
        shown = shown_in(html)
        images = [address for address, _ in shown.images if address]
        for address in [*shown.links, *images]:
            if elsewhere := _elsewhere(address, is_image=address in images):
                yield site.problem(source, min(_lines(source, address)), *elsewhere)
                continue
            target, anchor = resolve(url, address)
            if target is None:
                continue
            what = ""
            if target not in files:
                what, mend = f"the link to {address} leads nowhere.", "Name a file that is there."
            elif anchor and target in pages and anchor not in shown_in(pages[target][1]).ids:
                what = f"{site.relative(pages[target][0])} has no anchor #{anchor}."
                mend = "Use one of its headings, or pin one with { #name }."
            if what:
                needle = f"#{anchor}" if anchor else address.removeprefix("../").rstrip("/")
                yield site.problem(source, min(_lines(source, needle)), what, mend)


def _elsewhere(address: str, *, is_image: bool) -> tuple[str, str] | None:
    """Why an address is none for a page, and what to write: what it names is there on one machine, or for today."""
    told = f"the link to {address!r}"
    parts = urlsplit(address)
    if not address.strip("#"):
        return f"{told} leads nowhere.", "Name a page, or a heading as #name."
    if parts.scheme and is_image:
        return f"the image {address} is another host's.", "Copy it to docs/."
    if parts.hostname in ("localhost", "127.0.0.1", "0.0.0.0", "::1"):
        return f"{told} leads to the machine of its reader.", "Name the page as it lies in docs/."
    if parts.scheme not in ("", "https", "mailto") or address.startswith("/"):
        return f"{told} isn't for every host.", "Begin it with https://, or name the page as it lies in docs/."
    return None


def resolve(url: str, href: str) -> tuple[str | None, str]:
    """Address within the site and anchor of a link found at `url`; None where the link leaves the site."""
    if urlsplit(href).scheme or href.startswith("//"):
        return None, ""
    target, anchor = urldefrag(urljoin("/" + url, href))
    return unquote(target.removeprefix("/")), unquote(anchor)


def _lines(source: Path, needle: str) -> list[int]:
    """The lines of a page that name something, or its first."""
    lines = source.read_text(encoding="utf-8").lower().splitlines()
    return [number for number, line in enumerate(lines, 1) if needle and needle.lower() in line] or [1]
