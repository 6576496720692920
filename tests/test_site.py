"""The laws of the site, on the site: what is built is what was proved; page, module and proof mirror each other.

`tests/engine/` breaks each law on purpose.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document

from engine.prove import laws
from engine.prove.examples import Examples
from engine.publish import html
from engine.site import Piece
from tests import mirror
from tests.site import SITE

ROOT = SITE.root
PAGES = {SITE.relative(page): page for page in SITE.pages()}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def examples(page: Path) -> list[str]:
    """The text of each example that Sybil runs on a page, or in the module of a tutorial."""
    source = SITE.source_of(page)
    regions = Examples(SITE)(Document(source.read_text(encoding="utf-8"), str(source)))
    parsed = [region.parsed for region in regions]
    return [one.text if isinstance(one, Piece) else SITE.expand(one[0]) for one in parsed]


def built_page(built: Path, page: Path) -> str:
    return (built / page.relative_to(SITE.docs)).with_suffix(".html").read_text(encoding="utf-8")


def test_no_law_is_broken():
    found = [*laws.problems(SITE), *mirror.problems(SITE)]
    assert not found, "\n".join(map(str, found))


@each_page
def test_the_html_shows_exactly_what_ran(built, page):
    shown = [text for language, text in html.shown_in(built_page(built, page)).code if language == "python"]
    assert shown == examples(page)


@each_page
def test_no_page_is_green_because_nothing_ran(page):
    """Each page but two, which are tables, runs something, and has a module and a test module in its mirror."""
    if page in (SITE.docs / "errors/index.md", SITE.docs / "releases.md"):
        assert not examples(page)
        return
    assert examples(page)
    assert SITE.module_of(page).is_file()


@each_page
def test_each_page_tells_the_versions_of_the_lock(built, page):
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for package in ("tensorflow", "keras"):
        version = re.search(rf"^{package}==(\S+)$", lock, re.MULTILINE)[1]
        assert importlib.metadata.version(package) == version
    tensorflow, keras = (importlib.metadata.version(package) for package in ("tensorflow", "keras"))
    assert f"With TensorFlow {tensorflow} and Keras {keras}" in built_page(built, page)


@each_page
def test_a_page_is_light_beside_its_pictures(built, page):
    text = built_page(built, page)
    assert len(re.sub(r"(?s)<figure.*?</figure>", "", text).encode()) <= 60_000


@each_page
def test_each_page_has_a_description(built, page):
    head = html.shown_in(built_page(built, page)).head
    told = head["description"]
    own = told != SITE.config.site_description or page == SITE.docs / "index.md"
    assert own and 40 <= len(told) <= 160, "write `description:`, a sentence of 40 to 160 characters, above the title"  # noqa: PT018


def test_no_two_pages_say_the_same_of_themselves(built):
    texts = [built_page(built, page) for page in SITE.pages()]
    for said in (
        [html.shown_in(text).head["description"] for text in texts],
        re.findall("<title>.*?<", "".join(texts)),
    ):
        assert len(set(said)) == len(texts), sorted(said)


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
