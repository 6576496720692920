"""The site as a reader has it, in Chromium: one click away, copied and run, with nothing asked of another site."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys

import pytest
from PIL import Image
from playwright.sync_api import expect

from engine.publish import html
from tests.site import ADDRESSES, AS_A_READER, DESKTOP, PHONE, WIDE


@pytest.mark.parametrize(
    ("way", "heading"),
    [
        ("Explain it to me", "Create a custom layer"),
        ("Give me something to copy", "Copy a whole program"),
        ("Why does mine fail?", "Why does my custom layer or model fail"),
    ],
)
def test_each_reader_is_on_their_way_in_one_click(page, way, heading):
    page.goto("")
    page.get_by_role("link", name=way).click()
    expect(page.get_by_role("heading", name=heading).first).to_be_in_viewport()


def test_no_page_scrolls_sideways(page):
    """At each width where the layout changes, and just below it. Phones are in `test_reachable.py`."""
    for path in ADDRESSES:
        page.goto(path)
        for width in (719, 720, 959, 960, 1219, 1220, 1439, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


PAIRS = """() => [...document.querySelectorAll(".pair")].map((pair) => {
  const cut = ({ scrollWidth, clientWidth }) => scrollWidth > clientWidth;
  const lines = (text) => text.data.split("\\n").map((line, index, all) => {
    const range = document.createRange();
    const start = all.slice(0, index).join("\\n").length + (index > 0);
    range.setStart(text, start);
    range.setEnd(text, start + line.length);
    return [line, new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size];
  });
  return {
    sides: [...pair.children].map((side) => [side.firstElementChild, ...side.querySelectorAll(":scope > .highlight")]
      .map((part) => part.getBoundingClientRect().toJSON())),
    rows: [...pair.children].map((side) => [...side.querySelectorAll(":scope > :not(.releases), .release")]
      .map((part) => part.getBoundingClientRect().toJSON())),
    cut: [...pair.querySelectorAll("code")].filter(cut).map((code) => code.textContent),
    drawn: [...pair.querySelectorAll(".language-text code")].flatMap((code) => lines(code.lastChild))
      .filter(([line, rows]) => /[\u2500-\u257f]/.test(line) && rows > 1),
  };
})"""


@pytest.mark.parametrize("path", ["errors/layers.html", "errors/models.html", "errors/saving.html"])
def test_what_fails_and_what_works_stand_side_by_side_on_a_wide_screen(page, path):
    """Their texts, blocks and outputs each begin on one line, and no line of code is cut."""
    page.set_viewport_size(WIDE)
    page.goto(path)
    pairs = page.evaluate(PAIRS)
    assert len(pairs) == page.locator("article h2[id]").count(), "each entry has its pair"
    for pair in pairs:
        assert not pair["cut"]
        assert not pair["drawn"]
        for rows in pair["rows"]:
            assert all(above["bottom"] <= below["top"] for above, below in itertools.pairwise(rows)), "printed over"
        fails, works = pair["sides"]
        assert [part["top"] for part in fails] == [part["top"] for part in works]
        assert max(part["right"] for part in fails) < min(part["left"] for part in works)

    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        for pair in page.evaluate(PAIRS):
            fails, works = pair["sides"]
            assert max(part["bottom"] for part in fails) < min(part["top"] for part in works)
            assert not pair["drawn"]


@pytest.mark.parametrize("path", ADDRESSES)
def test_each_copy_button_copies_exactly_the_code(page, built, path):
    """No prompt, no output, no line less: read from the clipboard, block by block."""
    page.goto(path)
    shown = html.shown_in((built / path).read_text(encoding="utf-8")).code
    code = [text for language, text in shown if language == "python"]
    buttons = page.locator(".language-python button[data-clipboard-target]")
    buttons.last.wait_for(state="attached") if code else None
    copied = []
    for button in buttons.all():
        button.dispatch_event("click")
        copied.append(page.evaluate("navigator.clipboard.readText()").strip("\n"))
    if path == "index.html":  # one program in two blocks
        code = ["\n\n\n".join(code)] * len(code)
    assert copied == code


def test_what_the_copy_buttons_copy_runs_in_an_empty_interpreter(page, tmp_path):
    """The program of the home page, by its one button; what it prints is what the page shows."""
    page.goto("")
    button = page.locator(".first .md-code__button").locator("visible=true")
    expect(button).to_have_count(1)
    button.click()
    script = page.evaluate("navigator.clipboard.readText()")
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=AS_A_READER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [output.inner_text() for output in page.locator(".language-text pre").all()]
    assert done.stdout.split() == "\n".join(shown).split()


@pytest.mark.parametrize("device", [{"viewport": DESKTOP}, {"viewport": PHONE}], ids=["desktop", "phone"])
def test_an_underscore_is_seen_above_the_line_of_a_link(open_page, device):
    """`train_step` in a link isn't read as two words: its underscore and the link's line are two strokes."""
    page = open_page(device_scale_factor=2, **device)
    page.goto("decisions/disadvantages.html")
    link = page.locator("a", has=page.locator("code", has_text="compute_output_shape")).first
    link.scroll_into_view_if_needed()
    one = link.evaluate("""link => {
        const text = document.createTreeWalker(link, NodeFilter.SHOW_TEXT).nextNode();
        const range = document.createRange(), at = text.data.indexOf("_");
        range.setStart(text, at), range.setEnd(text, at + 1);
        const {left, right, top, height} = range.getBoundingClientRect();
        return {x: (left + right) / 2, y: top + height / 2, width: 1, height};
    }""")
    seen = Image.open(io.BytesIO(page.screenshot(clip=one))).convert("L")
    rows = [seen.getpixel((0, row)) for row in range(seen.height)]
    dark = [row < (min(rows) + max(rows)) / 2 for row in rows]
    assert sum(here and not before for before, here in itertools.pairwise([False, *dark])) == 2


def test_dark_and_light_follow_the_system_and_the_toggle(page):
    page.emulate_media(color_scheme="dark")
    page.goto("")
    body = page.locator("body")
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
    page.emulate_media(color_scheme="light")
    expect(body).to_have_attribute("data-md-color-scheme", "default")
    for name in ("Switch to light mode", "Switch to dark mode"):
        page.get_by_title(name).click()
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
