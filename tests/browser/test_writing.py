"""What a writer sees who saves a file while its page stands open: the page as it is now, without a reload by hand.

On a copy of the site that may be edited, served by `make serve`, and once by MkDocs alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import COMMANDS, Served

PAGE = ("layers/custom_layer.html", "docs/layers/custom_layer.md", r"(?m)^# \w+")
MODULE = ("layers/custom_layer.html", "snippets/layers/custom_layer.py", r"(?m)^class \w+")
RECORD = ("tutorials/diffusion.html", "docs/tutorials/diffusion.ipynb", r'"# \w+')
TUTORIAL = "snippets/tutorials/diffusion.py"
SAVES = pytest.mark.parametrize(("path", "file", "words"), [PAGE, MODULE, RECORD], ids=["page", "module", "record"])
number = count(1)


@pytest.fixture
def writer(browser, served) -> Iterator[Page]:
    """A writer's browser."""
    served.settle()
    page = browser.new_page(base_url=served.address)
    yield page
    page.close()


def save(served: Served, file: str, words: str) -> str:
    """Put a new word after some words of a file."""
    new = f"Saved{next(number)}"
    served.edit(file, words, rf"\g<0>{new}")
    return new


@SAVES
def test_an_open_page_shows_what_is_saved(writer, served, path, file, words):
    writer.goto(path)
    for _ in range(2):
        expect(writer.locator("article")).to_contain_text(save(served, file, words))


@SAVES
def test_a_page_that_a_link_led_to_shows_what_is_saved(writer, served, path, file, words):
    builds = None
    while builds != (builds := served.told().count("Reloading browsers")):  # once more if one has ended meanwhile
        writer.goto("index.html")
        writer.evaluate("self.stayed = true")
        writer.locator(f"article a[href$='{path}']").first.click()
        writer.wait_for_url(f"**/{path}")
        stayed = writer.evaluate("self.stayed")
    assert stayed, "a link leads to a page without a reload"
    expect(writer.locator("article")).to_contain_text(save(served, file, words))


UNCLOSED = (r"\Z", "\nnumbers = (\n", r"Python can't read this module: '\(' was never closed\. Mend")
MISTAKES = {
    "a section that isn't there": (PAGE, PAGE[1], (r"(layer\.py):\w+", r"\1:gone", "has no section 'gone'\\. Add")),
    "no Python outside of the sections": (MODULE, MODULE[1], UNCLOSED),
    "no Python in a tutorial": (RECORD, TUTORIAL, UNCLOSED),
}


@pytest.mark.parametrize(("saved", "mistaken", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_and_the_open_page_shows_what_is_saved_after_it(writer, served, saved, mistaken, mistake):
    path, file, words = saved
    old, new, told = mistake
    writer.goto(path)
    wrong = served.folder / mistaken
    right = wrong.read_text(encoding="utf-8")
    served.edit(mistaken, old, new)
    served.wait_until_told(rf"{mistaken}:\d+: .*{told}")
    wrong.write_text(right, encoding="utf-8")
    expect(writer.locator("article")).to_contain_text(save(served, file, words))


@pytest.mark.parametrize("served", [COMMANDS["mkdocs serve"]], indirect=True, ids=["mkdocs serve"])
def test_without_make_it_is_the_same(writer, served):
    path, file, words = PAGE
    writer.goto(path)
    expect(writer.locator("article")).to_contain_text(save(served, file, words))
