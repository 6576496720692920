"""One finds one's way: the tree, the frame that stays, home, what a badge opens to, small screens and paper."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from engine.publish.proof import Proof
from tests.site import ADDRESSES, DESKTOP, NOTEBOOKS, PHONE, REPOSITORY, SITE

LAPTOP = {"width": 1280, "height": 800}
WIDTHS = (390, 768, 1280, 1440, 1920)
FRAME = """() => {
  const left = (selector) => {
    const element = document.querySelector(selector);
    return element?.checkVisibility() ? Math.round(element.getBoundingClientRect().left) : null;
  };
  const [header, title, text] = [".md-header", "h1", "article > p, article .about"].map(left);
  return { header, title, text, tree: left(".md-nav--primary a"), top: document.querySelector("h1").offsetTop };
}"""


def test_nothing_jumps_from_page_to_page(page):
    """Header, tree, title and text begin where they began on the page before, the errors and the home page included."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found = {}
        for path in ADDRESSES:
            page.goto(path)
            found.setdefault(str(page.evaluate(FRAME)), []).append(path)
        assert len(found) == 1, (width, found)


TREE = """() => [...document.querySelectorAll(".md-nav--primary > ul a:not(.toc a)")]
  .filter((link) => link.checkVisibility({ visibilityProperty: true }))
  .map((link) => [link.textContent.trim(), new URL(link.href).pathname.slice(1)])"""
NAMED = ("Layers", "Models", "Errors", "Tutorials", "When to write your own")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_whole_tree_is_open_on_each_page(page, size):
    page.set_viewport_size(size)
    for path in [*ADDRESSES, "404.html"] if size is DESKTOP else ["index.html", "errors/layers.html"]:
        page.goto(path)
        if size is PHONE:
            page.get_by_role("button", name="Navigation").click()
        tree = page.evaluate(TREE)
        assert sorted(address for _, address in tree) == sorted(ADDRESSES), path
        chapters = page.locator(".md-nav--primary strong").all_inner_texts()
        assert set(NAMED) <= set(chapters)
        tabs = {tab.strip() for tab in page.locator(".md-tabs__link").all_text_contents()}
        assert tabs == {"Home", *chapters}


def test_the_drawer_opens_at_the_page_that_is_open(page):
    page.set_viewport_size({"width": 390, "height": 500})
    page.goto("decisions/disadvantages.html")
    page.get_by_role("button", name="Navigation").click()
    here = page.locator(".md-nav--primary .md-nav__link--active").first
    expect(here).to_be_focused()
    expect(here).to_be_in_viewport()


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_home_shows_in_its_first_screen_what_the_site_can_do(page, size):
    page.set_viewport_size(size)
    page.goto("")
    ways = [page.get_by_role("link", name=name) for name in ("Explain it to me", "Give me something", "Why does mine")]
    shown = [page.locator("h1"), page.locator("article > p").first, page.locator("input.paste"), *ways]
    shown += [page.locator(".first .language-python code").first, page.locator(".first .language-text code")]
    for element in shown:
        box = element.bounding_box()
        assert box["y"] >= 0, element
        assert box["y"] + box["height"] <= size["height"], element
    titles = page.evaluate("""() => [...document.querySelectorAll("h1, .md-header__topic .md-ellipsis")]
      .map((element) => element.textContent.replace("¶", "").trim())""")
    assert len(titles) - 1 == len(set(titles)), "the header has the page's title for who has scrolled, nobody else"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_message_that_is_pasted_on_the_home_page_finds_its_entry(page, size):
    page.set_viewport_size(size)
    page.goto("")
    page.evaluate("navigator.clipboard.writeText(\"TypeError: Could not locate class 'Doubled'. Make sure\")")
    page.locator("input.paste").focus()
    page.keyboard.press("Control+V")
    first = page.locator(".md-search-result__link").first
    first.wait_for()
    expect(first).to_have_attribute("href", re.compile(r"errors/saving\.html"))


def test_home_counts_what_is_proved(page, built):
    page.goto("")
    figures = page.evaluate("""() => Object.fromEntries([...document.querySelectorAll(".figures > div")]
      .map((one) => [one.querySelector("dt").textContent, one.querySelector("dd").textContent]))""")
    html = {path: (built / path).read_text("utf-8") for path in ADDRESSES}
    assert figures["pages"] == str(len(ADDRESSES))
    text = "".join(html.values())
    assert figures["errors reproduced"] == str(len(re.findall(r'<div class="?pair', text)))
    python = len(re.findall(r'class="[^"]*language-python', text))
    assert figures["blocks run"] == str(python)
    assert figures["TensorFlow"] == SITE.versions()["tensorflow"]
    assert figures["Keras"] == SITE.versions()["keras"]


def test_home_shows_each_tutorial_by_a_plot_of_its_own(page):
    page.goto("")
    for path in NOTEBOOKS:
        picture = page.locator(f"a[href$='{path}'] > img")
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("(image) => image.naturalWidth") > 100, path


# --- what a page's proof is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["layers/custom_layer.html", "tutorials/diffusion.html", "errors/index.html"])
def test_the_badge_opens_to_what_was_run_and_which_test_proves_what(page, built, path):
    page.goto(path)
    badge = page.locator(".proof")
    before = page.evaluate(FRAME)
    badge.locator("summary").click()
    source = next(one for one in SITE.pages() if one.relative_to(SITE.docs).with_suffix(".html").as_posix() == path)
    proof = Proof(SITE, source, (built / path).read_text("utf-8"))
    counts = proof.counts
    for what in ("block", "output") if counts["block"] else ():
        expect(badge).to_contain_text(f"{counts[what]} {what}s")
    expect(badge).to_contain_text(f"{counts['test']} tests")
    links = badge.locator("li a")
    expect(links).not_to_have_count(0)
    assert page.evaluate(FRAME) == before, "it lies over the page, and moves nothing"
    listed = {link.get_attribute("href") for link in links.all()}
    names = proof.module.read_text("utf-8").splitlines()
    for href in listed:
        assert href.startswith(f"{REPOSITORY}/blob/main/tests/{path.rpartition('/')[0]}/test_")
        assert names[int(href.rpartition("#L")[2]) - 1].startswith("def test_")
    assert len(listed) == len(proof.tests)
    page.locator("h1").click()
    expect(badge.locator("li").first).to_be_hidden()


def test_tests_stand_under_the_section_whose_words_they_prove(page):
    page.goto("layers/custom_layer.html")
    page.locator(".proof summary").click()
    heading = page.locator(".proof h2", has_text="Take options as the built-in layers do")
    expect(heading.locator("xpath=following-sibling::ul[1]")).to_contain_text("affine")


def test_without_scripts_the_badge_leads_to_the_tests(open_page):
    page = open_page(java_script_enabled=False)
    page.goto("layers/custom_layer.html")
    page.locator(".proof summary").click()
    page.get_by_role("link", name="Which test proves what").click()
    assert page.locator("main li").count() > 20
    page.get_by_role("link", name="Back to the page").click()
    expect(page).to_have_url(re.compile("layers/custom_layer.html$"))


# --- code, tables, formulas -------------------------------------------------------------------------------------------

OVERLAPS = """() => {
  const wrong = [];
  for (const button of document.querySelectorAll("article .md-code__nav")) {
    const on = button.getBoundingClientRect();
    if (!button.checkVisibility() || !on.width) continue;
    for (const code of document.querySelectorAll("article pre > code")) {
      const range = document.createRange();
      range.selectNodeContents(code);
      for (const box of range.getClientRects()) {
        const apart = box.right <= on.left || on.right <= box.left || box.bottom <= on.top || on.bottom <= box.top;
        if (!apart) { wrong.push(code.textContent.slice(0, 40)); break; }
      }
    }
  }
  return wrong;
}"""


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_no_button_lies_on_code(page, size):
    page.set_viewport_size(size)
    for path in ADDRESSES:
        page.goto(path)
        page.locator(".md-code__nav").first.wait_for(state="attached") if "language-python" in page.content() else None
        assert not page.evaluate(OVERLAPS), path


def test_on_a_phone_fewer_than_a_quarter_of_the_blocks_scroll_sideways(open_page):
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    for path in ADDRESSES:
        page.goto(path)
        wide, blocks = page.evaluate("""() => {
          const blocks = [...document.querySelectorAll("article pre > code")];
          return [blocks.filter((code) => code.scrollWidth > code.clientWidth).length, blocks.length];
        }""")
        assert wide <= blocks / 4, (path, wide, blocks)


HANG = """() => [...document.querySelectorAll("article pre > code > span[class^=i]")].map((line) => {
  const text = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  const rows = [];
  while (text.nextNode()) {
    for (const [i, letter] of [...text.currentNode.data].entries()) {
      if (letter === " ") continue;
      const range = document.createRange();
      range.setStart(text.currentNode, i);
      range.setEnd(text.currentNode, i + 1);
      const { top, left } = range.getBoundingClientRect();
      const row = rows.find((one) => Math.abs(one.top - top) < 6) ?? rows[rows.push({ top, left }) - 1];
      row.left = Math.min(row.left, left);
    }
  }
  return [line.textContent, rows.map(({ left }) => left)];
})"""


@pytest.mark.parametrize("name", ["training/train_step", "tutorials/transformer", "errors/layers"])
def test_on_a_phone_a_broken_line_goes_on_under_its_own_beginning(open_page, name):
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto(f"{name}.html")
    broken = [(text, lefts) for text, lefts in page.evaluate(HANG) if len(lefts) > 1]
    assert len(broken) > 10
    for text, (first, *following) in broken:
        assert all(first < left < first + 30 for left in following), text


TITLE = """() => {
  const range = document.createRange();
  range.selectNodeContents([...document.querySelectorAll(".md-header__topic .md-ellipsis")].pop());
  const [header, title] = [document.querySelector(".md-header"), range].map((one) => one.getBoundingClientRect());
  const above = 2; // of a line's box, in which no letter stands
  return header.top - above <= title.top && title.bottom <= header.bottom + above;
}"""


def test_on_a_phone_the_header_tells_the_whole_title(open_page):
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    for path in ADDRESSES:
        page.goto(path)
        for width in (360, 390):
            page.set_viewport_size(PHONE | {"width": width})
            assert page.evaluate(TITLE), (path, width)


def test_on_a_phone_a_cell_tells_its_column(open_page):
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto("training/train_step.html")
    told = page.evaluate("""() => [...document.querySelectorAll("article table:first-of-type td")].slice(0, 3)
      .map((cell) => getComputedStyle(cell, "::before").content)""")
    assert told == ["none", '"What calls it"', '"Override it for"']
    page.set_viewport_size(DESKTOP)
    assert page.evaluate("getComputedStyle(document.querySelector('td + td'), '::before').content") == "none"


LINES = """() => [...document.querySelectorAll("code.lines")].map((code) => {
  const { left, right, top } = code.getBoundingClientRect();
  const said = code.closest("td").previousElementSibling.getBoundingClientRect();
  const style = getComputedStyle(code);
  return {
    text: code.textContent,
    wraps: style.whiteSpace !== "pre",
    below: said.bottom <= top + 1,
    inside: right <= innerWidth && left >= 0,
    whole: code.scrollWidth <= code.clientWidth,
  };
})"""
TABLES = ("layers/custom_layer", "models/custom_model")


@pytest.mark.parametrize("name", TABLES)
def test_code_in_a_table_keeps_its_lines_and_its_indentation(page, name):
    module = (SITE.snippets / f"{name}.py").read_text("utf-8")
    for width in (390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{name}.html")
        found = page.evaluate(LINES)
        assert found
        for code in found:
            assert not code["wraps"], (width, code)
            lines = code["text"].splitlines()
            assert any(line.startswith("    ") for line in lines)
            first = next(line for line in module.splitlines() if line.strip() == lines[0])
            indent = first[: len(first) - len(first.lstrip())]
            assert "\n".join(indent + line if line else line for line in lines) in module, "as it stands in the module"
            assert code["below"], (width, code)
            assert code["inside"], (width, code)
            assert code["whole"] or width == 390, (width, code)


BROKEN = r"""() => [...document.querySelectorAll("td code")].flatMap((code) => {
  const [text, broken] = [code.firstChild, []];
  for (const word of text?.textContent.matchAll(/[^\s-]+/g) ?? []) {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map(({ top }) => top)).size > 1) broken.push(word[0]);
  }
  return broken;
})"""


@pytest.mark.parametrize("width", [768, 1280])
def test_no_word_of_code_in_a_table_is_broken(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    for path in ADDRESSES:
        page.goto(path)
        assert page.evaluate(BROKEN) == [], path


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_what_needs_more_room_than_the_text_takes_it_on_both_sides_alike(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    for path in ADDRESSES:
        page.goto(path)
        sides = page.evaluate("""() => {
          const text = document.querySelector("article > p").getBoundingClientRect();
          return [...document.querySelectorAll("article > table, article > .md-typeset__scrollwrap")]
            .map((table) => table.getBoundingClientRect()).map((box) => [text.left - box.left, box.right - text.right]);
        }""")
        for left, right in sides:
            assert abs(left - right) <= 2, (path, left, right)


def test_an_index_stands_below_its_letter_with_the_sites_own_font(page):
    """On a machine without a font for formulas, as this one is; no page without a formula loads it."""
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url) if request.url.endswith(".woff2") else None)
    page.goto("layers/custom_layer.html", wait_until="networkidle")
    assert not loaded
    for path in NOTEBOOKS:
        loaded.clear()
        page.goto(path, wait_until="networkidle")
        assert bool(page.locator("math").count()) == bool(loaded), path
        low = page.evaluate("""() => [...document.querySelectorAll("math :is(msub, msubsup)")].map((sub) => {
          const [base, index] = [...sub.children].map((child) => child.getBoundingClientRect());
          return index.bottom - base.bottom;
        })""")
        assert all(below > 1 for below in low), (path, low)


MISSING_LETTERS = r"""async () => {
  await document.fonts.load("16px 'Site Math'");
  const context = document.createElement("canvas").getContext("2d");
  const width = (letter, other) => {
    context.font = `64px 'Site Math', ${other}`;
    return context.measureText(letter).width;
  };
  const italic = (letter) => {
    const from = (first, to) => String.fromCodePoint(letter.codePointAt(0) - first.codePointAt(0) + to);
    if (letter === "h") return "\u210e";
    if (/[A-Z]/.test(letter)) return from("A", 0x1d434);
    if (/[a-z]/.test(letter)) return from("a", 0x1d44e);
    if (/[\u03b1-\u03c9]/.test(letter)) return from("\u03b1", 0x1d6fc);
    return { "\u2202": "\u{1d715}", "\u03f5": "\u{1d716}" }[letter] ?? letter;
  };
  const used = [...document.querySelectorAll("math :is(mi, mo, mn)")].flatMap(({ localName, textContent }) => {
    const letters = [...textContent.trim()];
    return localName === "mi" && letters.length === 1 ? letters.map(italic) : letters;
  });
  const letters = new Set(used.filter((letter) => !/[A-Za-z\s\u00a0]/.test(letter)));
  return [...letters].filter((letter) => width(letter, "monospace") !== width(letter, "serif"));
}"""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS))
def test_the_font_of_formulas_has_what_the_pages_need(page, path):
    """But for the letters of words, such as log, which have the look of the text."""
    page.goto(path)
    assert not page.evaluate(MISSING_LETTERS), "cut docs/assets/math.woff2 anew (CONTRIBUTING.md says how)"


# --- paper, and what isn't there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "most"), [("layers/custom_layer.html", 8), ("tutorials/transformer.html", 12)])
def test_a_page_takes_half_the_sheets_that_it_took(page, path, most):
    """16 and 24, while each block of code was kept on one sheet."""
    page.goto(path)
    sheets = page.pdf(format="A4").count(b"/Type /Page\n")
    assert 0 < sheets <= most


def test_a_page_that_is_not_there_says_so_and_searches_in_one_click(browser, address):
    page: Page = browser.new_page(base_url=address, viewport=PHONE)  # the console tells of the 404, which is right
    page.goto("layers/quadratic-decision_surface.html")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_in_viewport()
    expect(page.locator(".md-search__output")).to_be_hidden()
    page.get_by_role("link", name="Search for “layers quadratic decision surface”").click()
    result = page.locator(".md-search-result__link").first
    result.wait_for()
    assert "equation_to_layer" in result.get_attribute("href")
    page.close()
