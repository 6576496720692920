"""The laws of the site, on the site: what is built is what was proved; page, module and proof mirror each other.

`tests/engine/` breaks each law on purpose.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sybil import Document

from engine import html, notebooks, pages
from engine.examples import CellParser, PageParser

ROOT = Path(__file__).parents[1]
SITE = pages.Site.load(ROOT)
PAGES = {SITE.relative(page): page for page in SITE.pages()}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def examples(page: Path) -> list[str]:
    """The text of each example that Sybil runs on a page, or in the module of a notebook."""
    source = SITE.source_of(page)
    document = Document(source.read_text(encoding="utf-8"), str(source))
    if source != page:
        return [region.parsed.text for region in CellParser(SITE)(document)]
    return [SITE.section(region.parsed[0]).text for region in PageParser(SITE)(document)]


def built_page(built: Path, page: Path) -> str:
    return (built / page.relative_to(SITE.docs)).with_suffix(".html").read_text(encoding="utf-8")


def test_no_law_is_broken():
    found = [*pages.problems(SITE), *notebooks.problems(SITE)]
    assert not found, "\n".join(map(str, found))


@each_page
def test_the_html_shows_exactly_what_ran(built, page):
    shown = [text for language, text in html.shown_in(built_page(built, page)).code if language == "python"]
    assert shown == examples(page)


@each_page
def test_no_page_is_green_because_nothing_ran(page):
    """Each page but the index of the errors runs something, and has a module and a test module in its mirror."""
    if page == SITE.docs / "errors/index.md":
        assert not examples(page)
        return
    assert examples(page)
    assert SITE.module_of(page).is_file()


@each_page
def test_each_page_has_its_proof(page):
    path = page.relative_to(SITE.docs)
    proof = ROOT / "tests" / path.parent / f"test_{path.stem}.py"
    assert proof.is_file(), f"{SITE.relative(page)} claims things that no test proves: write {proof.relative_to(ROOT)}"
    assert f"`{SITE.relative(page)}`" in proof.read_text(encoding="utf-8").split('"""')[1]


@each_page
def test_each_page_tells_the_versions_of_the_lock(built, page):
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for package in ("tensorflow", "keras"):
        version = re.search(rf"^{package}==(\S+)$", lock, re.MULTILINE)[1]
        assert importlib.metadata.version(package) == version
    tensorflow, keras = (importlib.metadata.version(package) for package in ("tensorflow", "keras"))
    assert f"Proved with TensorFlow {tensorflow} and Keras {keras}" in built_page(built, page)


@each_page
def test_a_page_is_light_beside_its_pictures(built, page):
    text = built_page(built, page)
    assert len(re.sub(r"(?s)<figure.*?</figure>", "", text).encode()) <= 60_000


@each_page
def test_each_page_has_a_description(built, page):
    head = html.shown_in(built_page(built, page)).head
    assert 40 <= len(head["description"]) <= 160, "a sentence of 40 to 160 characters"


@each_page
def test_examples_in_tables_are_quoted_from_the_module(built, page):
    for cell in table_cells(built_page(built, page), "Example"):
        assert cell, "an Example cell quotes code"
        assert squeezed(cell).rstrip(",") in squeezed(SITE.module_of(page).read_text(encoding="utf-8")), cell


def squeezed(code: str) -> str:
    """Code without comments and what a formatter decides: white space, and the comma before a closing bracket."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", re.sub(r"  # .*", "", code)))


def table_cells(text: str, column: str) -> list[str]:
    """The code of each cell of the columns with a given heading."""
    reader = _Tables()
    reader.feed(text)
    return [row[headings.index(column)] for headings, rows in reader.tables if column in headings for row in rows]


class _Tables(HTMLParser):
    """Reads tables as headings and, for each row, the code in each of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[list[str], list[list[str]]]] = []
        self.inside: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.inside.add(tag)
        if tag == "table":
            self.tables.append(([], []))
        elif tag == "th":
            self.tables[-1][0].append("")
        elif tag == "tr" and "tbody" in self.inside:
            self.tables[-1][1].append([])
        elif tag == "td":
            self.tables[-1][1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside.discard(tag)

    def handle_data(self, data: str) -> None:
        if "th" in self.inside:
            self.tables[-1][0][-1] += data
        elif {"td", "code"} <= self.inside:
            self.tables[-1][1][-1][-1] += data


def test_every_link_of_the_built_site_leads_somewhere(built):
    """Those of the navigation, the header and the footer too."""
    files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    shown = {
        name: html.shown_in((built / name).read_text(encoding="utf-8")) for name in files if name.endswith(".html")
    }
    dead = []
    for name, page in shown.items():
        if name == "404.html":
            continue  # its links are absolute, for it is shown at any address
        for href in [*page.links, *(src for src, _ in page.images)]:
            target, anchor = html.resolve(name, href)
            if target is None:
                continue
            target = target + "index.html" if not target or target.endswith("/") else target
            if target not in files or (anchor and anchor not in shown[target].ids):
                dead.append(f"{name}: {href}")
    assert not dead


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
