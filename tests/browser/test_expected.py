"""What readers expect of a reference on the web: links, dates, terms, a way back, a way on."""

from __future__ import annotations

import io
import re
import subprocess
import xml.etree.ElementTree as ET
from urllib.request import urlopen

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.site import ADDRESSES, COLAB, REPOSITORY, SITE

ATOM = "{http://www.w3.org/2005/Atom}"


def download(url: str) -> bytes:
    with urlopen(url) as answer:
        return answer.read()


def source_of(path: str) -> str:
    """The file that is edited to change a page."""
    page = next(page for page in SITE.pages() if page.relative_to(SITE.docs).with_suffix(".html").as_posix() == path)
    return SITE.relative(SITE.source_of(page))


@pytest.mark.parametrize("path", ADDRESSES)
def test_around_a_page(page, address, path):
    page.goto(path)
    permalinks = page.eval_on_selector_all(
        "article :is(h1, h2, h3)[id]",
        "headings => headings.map(heading => [heading.id, heading.querySelector('a.headerlink')?.hash.slice(1)])",
    )
    assert permalinks
    assert all(anchor == permalink for anchor, permalink in permalinks), permalinks
    sections = {f"#{anchor}" for anchor in page.eval_on_selector_all("article h2[id]", "all => all.map(one => one.id)")}
    listed = {f"#{link.get_attribute('href').rpartition('#')[2]}" for link in page.locator(".toc a").all()}
    assert sections <= listed, "every section is in the contents"
    above = page.locator(".about > a").count()
    assert above == (path != "index.html"), "the way up to its chapter"
    assert page.locator("a.md-footer__link").count() == (
        1 if path in ("index.html", "decisions/disadvantages.html") else 2
    )

    edit = page.locator("a[rel=edit]").get_attribute("href")
    assert edit == f"{REPOSITORY}/edit/main/{source_of(path)}"
    runs = (SITE.snippets / path).with_suffix(".py").is_file()
    assert page.locator(f"a[href='{COLAB}{path.removesuffix('.html')}.ipynb']").count() == runs

    head = dict(
        page.eval_on_selector_all(
            "head meta", "metas => metas.map(meta => [meta.name || meta.getAttribute('property'), meta.content])"
        )
    )
    assert page.locator("link[rel=canonical]").get_attribute("href") == address + path
    assert 40 <= len(head["description"]) <= 160
    shared = page.locator("meta[property='og:description']")
    assert shared.get_attribute("content") == head["description"], "what a shared link shows"
    assert head["og:title"] == page.locator("h1").first.inner_text().removesuffix("¶").strip() or path == "index.html"
    card = Image.open(io.BytesIO(download(head["og:image"])))
    assert card.size == (1200, 630)
    assert len(card.convert("RGB").getcolors()) > 4, "something is drawn on the card"


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_page_tells_when_it_last_changed(page, path):
    name = path.removesuffix(".html")
    files = [f"docs/{name}.md", f"docs/{name}.ipynb", f"snippets/{name}.py", f"snippets/{name}.txt"]
    command = ["git", "log", "-1", "--format=%cs", "--", *files]
    done = subprocess.run(command, cwd=SITE.root, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("this page isn't in a repository")
    page.goto(path)
    expect(page.locator(".about time")).to_have_text(done.stdout.strip())


def test_the_feed_has_every_page(address):
    feed = ET.fromstring(download(f"{address}feed.xml"))
    links = [entry.find(f"{ATOM}link").get("href") for entry in feed.iter(f"{ATOM}entry")]
    assert sorted(links) == sorted(address + path for path in ADDRESSES)
    dates = [entry.findtext(f"{ATOM}updated") for entry in feed.iter(f"{ATOM}entry")]
    assert dates == sorted(dates, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", date) for date in [*dates, feed.findtext(f"{ATOM}updated")])


def test_the_sitemap_has_every_page(address):
    sitemap = ET.fromstring(download(f"{address}sitemap.xml"))
    assert sorted(element.text for element in sitemap.iter() if element.tag.endswith("loc")) == sorted(
        address + path for path in ADDRESSES
    )


def test_terms_are_explained_where_they_stand(page):
    page.goto("errors/layers.html")
    expect(page.locator("abbr", has_text="KerasTensor").first).to_have_attribute("title", re.compile("symbolic"))


def test_every_term_of_the_glossary_stands_somewhere(built):
    pages = "".join(file.read_text(encoding="utf-8") for file in built.rglob("*.html"))
    glossary = SITE.config.mdx_configs["abbr"]["glossary"]
    assert glossary
    for term in glossary:
        assert f">{term}</abbr>" in pages, f"{term} stands on no page: delete it from mkdocs.yml"


def test_the_choice_of_light_or_dark_is_remembered(page):
    page.emulate_media(color_scheme="light")
    page.goto("index.html")
    for name in ("Switch to light mode", "Switch to dark mode"):
        page.get_by_title(name).click()
    page.goto("errors/index.html")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")


def test_what_a_block_prints_on_another_release_is_closed_and_a_link_from_the_releases_opens_it(page):
    page.goto("errors/models.html")
    older = page.locator("details.release", has_text="Before Keras 3.14")
    expect(older.locator("pre")).to_be_hidden()
    older.locator("summary").click()
    expect(older.locator("pre")).to_contain_text("For a model with multiple outputs")

    page.goto("releases.html")
    page.get_by_role("link", name="errors/models: metrics_fails").click()
    expect(page).to_have_url(re.compile("errors/models.html#other-releases-metrics_fails$"))
    expect(older.locator("pre")).to_be_in_viewport()
