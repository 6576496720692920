"""What a page weighs on a first visit, and what the next one costs. KB are 1,000 bytes, compressed by gzip."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

import pytest
from playwright.sync_api import Browser, Response

from tests.site import ADDRESSES, DESKTOP, NOTEBOOKS, PHONE, WIDE

KB = 1_000
SHIFTS = """
    self.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) self.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""
TWELVE_FRAMES = """(left = 12) => new Promise(function frame(done) {
    if (left--) requestAnimationFrame(() => frame(done));
    else done();
})"""


@dataclass
class Visit:
    """What one visit loaded."""

    sizes: dict[str, int] = field(default_factory=dict)
    html: str = ""

    def note(self, response: Response) -> None:
        self.sizes[response.url] = int(response.headers["content-length"])


@pytest.fixture(scope="module")
def visits(browser: Browser, address: str) -> dict[str, Visit]:
    """The first visit of a reader who comes to each page, with an empty cache, until nothing more is asked for."""
    found = {}
    for path in ADDRESSES:
        context = browser.new_context(base_url=address, viewport=DESKTOP)
        page = context.new_page()
        found[path] = visit = Visit()
        page.on("response", visit.note)
        visit.html = page.goto(path, wait_until="networkidle").text()
        context.close()
    return found


def weight(html: str) -> int:
    return len(gzip.compress(html.encode(), 9))


def without_pictures(html: str) -> str:
    return re.sub(r"(?s)<figure.*?</figure>", "", html)


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_first_visit_is_light(visits, path):
    """Pictures and all."""
    visit = visits[path]
    assert len(visit.sizes) <= 10, sorted(visit.sizes)
    assert len(without_pictures(visit.html).encode()) <= 60 * KB
    assert sum(visit.sizes.values()) <= (100 if path in NOTEBOOKS else 90) * KB, visit.sizes


@pytest.fixture(scope="module")
def in_parts(built: Path) -> Iterator[str]:
    """Where a page arrives in four parts, each time for long enough to be painted."""

    class Slow(SimpleHTTPRequestHandler):
        def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
            whole = source.read()
            if not source.name.endswith(".html"):
                outputfile.write(whole)
                return
            for part in range(4):
                outputfile.write(whole[len(whole) * part // 4 : len(whole) * (part + 1) // 4])
                outputfile.flush()
                time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            """Into the void."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("size", [PHONE, DESKTOP, WIDE], ids=["phone", "desktop", "wide"])
def test_nothing_moves_while_it_loads(browser, in_parts, size):
    """Nor where half of a page is there first, of which the tables have other columns than the whole ones."""
    for path in ADDRESSES:
        context = browser.new_context(base_url=in_parts, viewport=size)
        context.add_init_script(SHIFTS)
        page = context.new_page()
        page.goto(path)
        page.mouse.wheel(0, 100_000)
        page.evaluate(TWELVE_FRAMES)
        # What a reader notices begins at 0.1.
        assert page.evaluate("self.shift") < 0.01, path
        context.close()


@pytest.mark.parametrize("path", ADDRESSES)
def test_the_search_index_is_left_alone(visits, path):
    assert not [url for url in visits[path].sizes if "search_index" in url or "/workers/" in url]


def test_the_next_page_comes_without_a_reload(page, address):
    """It is fetched when the pointer is on its link, and takes the place of the one before."""
    sizes: dict[str, int] = {}
    page.goto("index.html", wait_until="networkidle")
    page.evaluate("self.stayed = true")
    page.on("response", lambda response: sizes.update({response.url: int(response.headers["content-length"])}))
    link = page.locator(".md-content a[href$='tutorials/equation_to_layer.html']").first
    with page.expect_response("**/equation_to_layer.html"):
        link.hover()
    assert [url.removeprefix(address) for url in sizes] == ["tutorials/equation_to_layer.html"], "prefetched"
    link.click()
    page.get_by_role("heading", name="From an equation to a trained layer").wait_for()
    assert page.evaluate("self.stayed"), "without a full reload"
    font = sizes.pop(f"{address}assets/math.woff2", 0)  # may have arrived: once, for all pages with formulas
    assert font <= 10 * KB
    assert sum(sizes.values()) <= 40 * KB, sizes


@pytest.mark.parametrize("path", ADDRESSES)
def test_no_page_costs_more_than_40_kb_as_the_next_one(visits, address, path):
    assert visits[path].sizes[address + path] <= 40 * KB


@pytest.mark.parametrize("path", sorted(NOTEBOOKS))
def test_a_plot_weighs_at_most_15_kb(visits, path):
    for figure in re.findall(r"(?s)<figure.*?</figure>", visits[path].html):
        assert weight(figure) <= 15 * KB, figure[:200]
