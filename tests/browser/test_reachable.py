"""The site for everyone: any colours, any width, by keyboard, by ear, with little motion, without scripts, on paper."""

from __future__ import annotations

import io
from pathlib import Path

import axe_playwright_python
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.site import ADDRESSES, DESKTOP, MISSING, PHONE

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
NARROW = {"width": 320, "height": 640}
"""Also what 400 % of a desktop leaves."""

RUN = """async ([part, exclude]) => {
  const values = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const options = { runOnly: { type: "tag", values }, resultTypes: ["violations"], preload: false };
  const { violations } = await axe.run({ include: part, exclude }, options);
  return violations.flatMap(({ id, nodes }) => nodes.map((n) => `${id}: ${n.target.join(" ")}: ${n.failureSummary}`));
}"""

# Of each word in a drawing: its place and its colour. Hidden, it shows what is under it.
WORDS = """() => [...document.querySelectorAll(".md-typeset svg text")].map((text) => {
  const box = text.getBoundingClientRect();
  const [r, g, b, a = 1] = getComputedStyle(text).fill.match(/[\\d.]+/g).map(Number);
  text.style.visibility = "hidden";
  return [text.textContent.trim(), box.x + box.width / 2, box.y + box.height / 2 + scrollY, [r, g, b], a];
})"""


@pytest.fixture
def calm(open_page) -> Page:
    """A page without transitions, so that nothing has to be waited for."""
    return open_page(reduced_motion="reduce")


@pytest.mark.parametrize("path", [*ADDRESSES, MISSING], ids=str)
def test_a_page_meets_wcag_2_2_aa_in_eight_states(calm, path):
    """Light and dark, each at rest, with search open, on a phone, with its drawer open.

    In all of them the fixture looks out for errors in the console, a breach of the page's policy among them.
    """
    calm.goto(path)
    calm.evaluate(AXE)
    wrong = _violations(calm, "at rest")
    calm.locator(".md-search__input").fill("keras layer")
    calm.locator(".md-search-result__link mark").first.wait_for()
    wrong += _violations(calm, "search", ".md-search")
    calm.keyboard.press("Escape")
    calm.set_viewport_size(PHONE)
    wrong += _violations(calm, "phone")
    calm.locator(".md-header__button[for=__drawer]").click()
    wrong += _violations(calm, "drawer", ".md-sidebar--primary")
    if calm.locator("svg text").count():
        wrong += _faint_words(calm)
    assert not wrong, "\n".join(wrong)


def _violations(page: Page, state: str, part: str = "body") -> list[str]:
    """What stands in a drawing or a formula doesn't change with the state."""
    found = []
    for scheme in ("dark", "light"):
        _wear(page, scheme)
        exclude = [] if (state, scheme) == ("at rest", "light") else ["svg", "math"]
        found += [f"{state}, {scheme}: {line}" for line in page.evaluate(RUN, [part, exclude])]
    return found


def _wear(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    worn = {"light": "default", "dark": "slate"}[scheme]
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", worn)


def _faint_words(page: Page) -> list[str]:
    """Words in drawings, which axe leaves out: a photograph without them shows the ground of each."""
    found = []
    page.keyboard.press("Escape")
    page.set_viewport_size(DESKTOP)
    for scheme in ("light", "dark"):
        _wear(page, scheme)
        words = page.evaluate(WORDS)
        photograph = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        for word, x, y, colour, alpha in words:
            ground = np.array(photograph.getpixel((x, y)))
            contrast = _contrast(ground + alpha * (np.array(colour) - ground), ground)
            if contrast < 4.5:
                found.append(f"drawing, {scheme}: {word}: {contrast:.2f} : 1 on {ground}")
    return found


def _contrast(*colours: np.ndarray) -> float:
    """As WCAG defines it."""
    parts = np.array(colours) / 255
    luminance = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    return (luminance.max() + 0.05) / (luminance.min() + 0.05)


def test_a_copy_button_has_its_name_while_it_is_focused_and_says_what_it_did(calm):
    calm.goto("")
    button = calm.locator(".md-code__button").first
    button.focus()
    expect(button).to_have_accessible_name("Copy to clipboard")
    calm.keyboard.press("Enter")
    expect(calm.get_by_role("status")).to_have_text("Copied to clipboard")


NARROWED = """() => {
  const wrong = [];
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) wrong.push("the page scrolls sideways");
  for (const element of document.querySelectorAll("article *")) {
    if (!/auto|scroll/.test(getComputedStyle(element).overflowX)) continue;
    const [scrolls, stops] = [element.scrollWidth > element.clientWidth, element.tabIndex === 0];
    const name = `${element.tagName} ${element.className}`;
    if (scrolls !== stops) wrong.push(`${name} scrolls: ${scrolls}, a tab stop: ${stops}`);
    element.focus();
    if (scrolls && document.activeElement !== element) wrong.push(`${name} isn't focused`);
  }
  for (const word of document.querySelectorAll(".plot text")) {
    const svg = word.ownerSVGElement;
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const size = parseFloat(getComputedStyle(word).fontSize) * scale;
    if (size < 7) wrong.push(`the word ${word.textContent} of a plot is ${size} px high`);
  }
  for (const cell of document.querySelectorAll("article :is(td, th)")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let text; (text = texts.nextNode());) {
      if (text.parentElement.closest("code")) continue;
      for (const word of text.data.matchAll(/[^\\s/-]+/g)) {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (lines.size > 1) wrong.push(`the word ${word} is broken`);
      }
    }
  }
  return wrong;
}"""


def test_on_a_narrow_screen_no_page_scrolls_sideways_and_what_does_can_be_focused(open_page):
    """Without hover, as phones are; 320 px are also 400 % of a desktop. Words in tables are whole, in plots legible."""
    page = open_page(is_mobile=True, has_touch=True, reduced_motion="reduce")
    wrong = []
    for path in ADDRESSES:
        for size in (PHONE, NARROW):
            page.set_viewport_size(size)
            if size is PHONE:
                page.goto(path)
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)))")
            wrong += [f"{path}, {size['width']}: {line}" for line in page.evaluate(NARROWED)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "wide"),
    [
        ("tutorials/diffusion.html", ".formula[tabindex]"),
        ("models/multiple_inputs_outputs.html", ".comparison .md-typeset__scrollwrap[tabindex]"),
    ],
)
def test_what_is_wider_than_a_phone_is_scrolled_by_arrow_keys(calm, path, wide):
    calm.set_viewport_size(NARROW)
    calm.goto(path)
    element = calm.locator(wide).first
    element.focus()
    calm.keyboard.press("ArrowRight")
    moved = "(e) => e.scrollLeft || new Promise((done) => e.addEventListener('scroll', () => done(e.scrollLeft)))"
    assert element.evaluate(moved) > 0


def test_everything_on_a_page_is_there_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    for path in [*ADDRESSES, MISSING]:
        page.goto(path)
        for closed in page.locator("details > summary").all():
            closed.click()
        hidden = page.evaluate("""() => [...document.querySelectorAll("article :is(h1, h2, h3, p, li, td, pre, svg)")]
          .filter((element) => !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
            || (element.textContent.trim() && element.innerText?.trim() === ""))
          .map((element) => element.outerHTML.slice(0, 100))""")
        assert page.locator("article h1").count() == 1
        assert not hidden, path


LOOK = """() => {
  const look = (element) => {
    const { outline, boxShadow, backgroundColor, borderColor } = getComputedStyle(element);
    return JSON.stringify([outline, boxShadow, backgroundColor, borderColor]);
  };
  const focused = document.activeElement;
  if (focused === document.body || focused === window.first) return null;
  window.first ??= focused;
  const shown = focused.matches(".md-option") ? focused.nextElementSibling : focused;
  const box = shown.getBoundingClientRect();
  const inside = box.width && box.height && box.x >= 0 && box.x < innerWidth && box.bottom > 0 && box.y < innerHeight;
  const on = look(shown);
  if (!focused.matches(".md-search__input")) focused.blur();
  const visible = on !== look(shown);
  focused.focus({ focusVisible: true });
  const kind = focused.classList[0] === "focus-visible" ? focused.tagName : focused.classList[0] ?? focused.tagName;
  return [kind, `${focused.outerHTML.slice(0, 90)} seen: ${inside && visible}`, Boolean(inside && visible)];
}"""


@pytest.mark.parametrize(
    ("size", "kinds"),
    [
        (DESKTOP, {"md-header__button", "md-option", "md-search__input", "md-source", "md-tabs__link", "md-nav__link"}),
        (PHONE, {"md-header__button", "md-option", "md-search__input"}),
    ],
    ids=["desktop", "phone"],
)
def test_every_control_is_reached_by_tab_and_shows_its_focus(calm, size, kinds):
    calm.set_viewport_size(size)
    calm.goto("models/custom_model.html")
    seen = []
    for _ in range(200):
        calm.keyboard.press("Tab")
        stop = calm.evaluate(LOOK)
        if stop is None:
            break
        if stop[0] == "md-search__input":  # shows it by opening
            expect(calm.locator("#__search")).to_be_checked()
            expect(calm.locator(".md-search__input")).to_be_in_viewport()
            stop[2] = True
        seen.append(stop)
    assert kinds | {"md-skip", "SUMMARY", "A", "headerlink", "md-code__button", "md-footer__link"} <= {
        kind for kind, _, _ in seen
    }
    assert not [line for _, line, visible in seen if not visible]


def test_skip_link_tabs_contents_and_colours_work_by_keyboard(calm):
    calm.goto("layers/custom_layer.html")
    calm.keyboard.press("Tab")
    expect(calm.locator(".md-skip")).to_be_focused()
    calm.keyboard.press("Enter")
    calm.wait_for_url("**#*")
    expect(calm.locator(".md-skip")).not_to_be_focused()
    calm.keyboard.press("Tab")
    expect(calm.locator("article .headerlink").first).to_be_focused()
    link = calm.locator(".md-sidebar--secondary .md-nav__link").nth(2)
    link.press("Enter")
    expect(link).not_to_be_focused()
    calm.keyboard.press("Tab")
    expect(calm.locator("h2 > .headerlink").nth(2)).to_be_focused()
    calm.locator(".md-option:checked").press("Enter")
    calm.keyboard.press("Enter")
    expect(calm.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    calm.locator(".md-tabs__link", has_text="Errors").press("Enter")
    expect(calm).to_have_url("errors/index.html")


@pytest.mark.parametrize(("size", "key"), [(DESKTOP, "/"), (PHONE, "Enter")], ids=["desktop", "phone"])
def test_search_opens_and_closes_by_keyboard_and_gives_the_focus_back(calm, size, key):
    calm.set_viewport_size(size)
    calm.goto("layers/custom_layer.html")
    start = calm.locator(".md-header__button[for=__search]" if size is PHONE else "article > p a").first
    start.press(key)
    expect(calm.locator(".md-search__input")).to_be_focused()
    calm.keyboard.type("build")
    calm.locator(".md-search-result__link").first.wait_for()
    calm.keyboard.press("ArrowDown")
    expect(calm.locator(".md-search-result__link").first).to_be_focused()
    calm.keyboard.press("Escape")
    expect(calm.locator(".md-search__output")).to_be_hidden() if size is DESKTOP else None
    expect(start).to_be_focused()


def test_the_drawer_of_a_phone_works_by_keyboard(calm):
    calm.set_viewport_size(PHONE)
    calm.goto("layers/custom_layer.html")
    button = calm.get_by_role("button", name="Navigation")
    links = calm.locator(".md-sidebar--primary a")
    assert not any(link.is_visible() for link in links.all())
    button.press("Enter")
    here = links.filter(has_text="Create a custom layer")
    expect(here).to_be_focused()
    calm.keyboard.press("Tab")
    expect(links.filter(has_text="A complete program")).to_be_focused()  # the contents of the page stand below it
    calm.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert not any(link.is_visible() for link in links.all())
    button.press("Enter")
    links.filter(has_text="Create a custom model").press("Enter")
    expect(calm).to_have_url("models/custom_model.html")
    expect(calm.locator("#__drawer")).not_to_be_checked()


def test_nothing_moves_where_the_reader_wants_little_motion(calm):
    calm.goto("layers/custom_layer.html")
    moving = calm.evaluate("""() => [...document.querySelectorAll("*")].flatMap((element) =>
      [null, "::before", "::after"].map((part) => [element, getComputedStyle(element, part)]))
      .filter(([, style]) => style.transitionDuration.split(", ").some((time) => parseFloat(time) > 0.01)
        || style.animationName !== "none" || style.scrollBehavior !== "auto")
      .map(([element]) => `${element.tagName}.${element.className.baseVal ?? element.className}`)""")
    assert not moving


PRINTED = """() => {
  const wrong = [];
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)];
  const extra = ".md-header, .md-tabs, .md-sidebar, .md-footer, .md-code__nav, .headerlink, .about a";
  for (const element of all(extra)) if (shown(element)) wrong.push(`${element.className} is printed`);
  const content = "article :is(pre, table, .plot svg, svg.diagram)";
  for (const element of all(content)) if (!shown(element)) wrong.push(`no ${element.outerHTML.slice(0, 80)}`);
  for (const code of all("pre > code")) {
    const cut = code.scrollWidth > code.clientWidth || code.scrollHeight > code.clientHeight;
    if (cut) wrong.push(`${code.textContent.slice(0, 40)} is cut`);
  }
  const grounds = all("body, .highlight, .plot").map((element) => getComputedStyle(element).backgroundColor);
  const words = all("article :is(p, h1, h2, td, code, code span), svg text").filter(shown).map((element) => {
    const { fill, color } = getComputedStyle(element);
    return element.matches("svg *") ? fill : color;
  });
  return [wrong, [...new Set(grounds)], [...new Set(words)].map((colour) => colour.match(/[\\d.]+/g).map(Number))];
}"""


@pytest.mark.parametrize("path", ["tutorials/diffusion.html", "decisions/when_to_use.html"])
def test_a_page_is_printed_dark_on_white_with_its_code_in_full_and_nothing_to_click(calm, path):
    calm.set_viewport_size({"width": 680, "height": 960})  # a sheet of A4
    calm.emulate_media(color_scheme="dark", reduced_motion="reduce")
    calm.goto(path)
    calm.emulate_media(media="print", color_scheme="dark", reduced_motion="reduce")
    wrong, grounds, words = calm.evaluate(PRINTED)
    assert not wrong
    white = np.full(3, 255)
    assert {"rgb(255, 255, 255)", "rgb(244, 246, 246)"} >= set(grounds), grounds
    for *colour, alpha in ([*word, 1][:4] for word in words):
        assert _contrast(white + alpha * (np.array(colour) - white), white) >= 4.5, colour
