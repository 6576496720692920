"""The site as a reader has it, in Chromium: one click away, copied and run, with nothing asked of another site."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine import pages

SITE = pages.Site.load(Path(__file__).parents[1])
ADDRESSES = [
    "" if page.stem == "index" and page.parent == SITE.docs else f"{path.parent if path.name == 'index' else path}/"
    for page in SITE.pages()
    for path in [page.relative_to(SITE.docs).with_suffix("")]
]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: .ci/run installs it, so that no browser test is skipped.")
        pytest.skip("Chromium isn't installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A new page of which nothing leaves the served site; it fails on errors in the console and on other requests."""
    context = browser.new_context(base_url=address, viewport=DESKTOP)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    yield page
    context.close()
    assert not wrong


@pytest.mark.parametrize(
    ("way", "heading"),
    [
        ("Explain it to me", "Create a custom layer"),
        ("Give me something to copy", "Copy something that works"),
        ("Why does mine fail?", "Why does my custom layer or model fail"),
    ],
)
def test_each_reader_is_on_their_way_in_one_click(page, way, heading):
    page.goto("")
    page.get_by_role("link", name=way).click()
    expect(page.get_by_role("heading", name=heading).first).to_be_in_viewport()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("path", ADDRESSES, ids=lambda path: path or "home")
def test_no_page_scrolls_sideways(page, path, size):
    page.set_viewport_size(size)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_what_the_copy_buttons_copy_runs_in_an_empty_interpreter(page, tmp_path):
    """Block by block through the clipboard, as a reader does it; what it prints is what the page shows."""
    page.goto("")
    script = ""
    for block in page.locator(".language-python").all():
        block.hover()
        block.locator("button.md-clipboard, button.md-code__button").first.click()
        script += page.evaluate("navigator.clipboard.readText()") + "\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [output.inner_text() for output in page.locator(".language-text pre").all()]
    assert done.stdout.split() == "\n".join(shown).split()


def test_search_finds_an_error_as_it_is_raised(page):
    page.goto("")
    page.keyboard.press("/")
    page.keyboard.type("could not locate class", delay=20)
    page.locator(".md-search-result__link").first.wait_for()
    hrefs = [link.get_attribute("href") for link in page.locator(".md-search-result__link").all()[:3]]
    assert any("errors/saving/" in href for href in hrefs), hrefs


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
