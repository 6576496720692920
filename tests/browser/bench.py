"""How long things take on this machine, as ratios and medians: printed by `make bench`, and never a reason to fail.

A time tells as much of the machine, and of what else runs on it, as of the site. What is counted instead, bytes,
requests and pages rendered again, is tested.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import COMMANDS
from tests.browser.test_lighthouse import LIGHTHOUSE, PATHS, run
from tests.browser.test_search import FINDS, INPUT, LINKS, MESSAGES, TRACEBACK
from tests.browser.test_writing import MODULE, PAGE, RECORD, save
from tests.site import ADDRESSES, SITE

RUNS = 5


@pytest.fixture(autouse=True)
def _heading(request: pytest.FixtureRequest) -> None:
    print(f"\n{request.node.originalname.removeprefix('test_').replace('_', ' ')}")


def tell(what: str, seconds: list[float], than: tuple[str, list[float]] | None = None) -> None:
    middle = statistics.median(seconds)
    other = f", {middle / statistics.median(than[1]):.2f} times {than[0]}" if than else ""
    print(f"  {what:<38} {middle:7.3f} s ({min(seconds):.3f} to {max(seconds):.3f}){other}")


def of_cpu(*command: str) -> float:
    """Seconds of the processor that a command costs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=SITE.root, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_build_in_seconds_of_the_processor(tmp_path: Path):
    imports = [of_cpu("-c", "import mkdocs.commands.build, mkdocs_hooks") for _ in range(3)]
    builds = [of_cpu("-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)) for _ in range(3)]
    tell("what it imports", imports)
    tell("a build", builds, ("what it imports", imports))
    tell("for each page", [build / len(ADDRESSES) for build in builds])


@pytest.mark.parametrize("served", [COMMANDS["mkdocs serve"]], indirect=True)
def test_from_a_save_until_it_shows(served, browser):
    page = browser.new_page(base_url=served.address)
    took: dict[str, list[float]] = {}
    for name, (path, file, words) in {"a page": PAGE, "a module": MODULE, "a notebook": RECORD}.items():
        page.goto(path)
        took[name] = []
        for _ in range(RUNS):
            start = time.perf_counter()
            expect(page.locator("article")).to_contain_text(save(served, file, words))
            took[name].append(time.perf_counter() - start)
        tell(name, took[name], None if name == "a page" else ("a page", took["a page"]))
    page.close()


TIMED = """() => {
  self.took = new Promise((done) => {
    addEventListener("input", () => {
      const asked = performance.now();
      new MutationObserver(() => done((performance.now() - asked) / 1000))
        .observe(document.querySelector(".md-search-result__list"), { childList: true });
    }, { once: true, capture: true });
  });
}"""


def answered(page: Page, text: str) -> float:
    page.locator(INPUT).select_text()
    page.evaluate(TIMED)
    page.keyboard.insert_text(text)
    return page.evaluate("self.took")


def test_a_search(page):
    page.goto("")
    page.keyboard.press("/")
    page.keyboard.type("tensor")
    page.locator(LINKS).first.wait_for()
    short = [answered(page, query) for query in dict.fromkeys(query for query, _, _ in FINDS if len(query) < 40)]
    tell("a few words", short)
    tell("a message", [answered(page, text) for text in MESSAGES.values()], ("a few words", short))
    tell("a traceback", [answered(page, TRACEBACK + text) for text in MESSAGES.values()], ("a few words", short))


@pytest.mark.skipif(not LIGHTHOUSE.is_file(), reason="Lighthouse isn't installed")
def test_a_visit_by_a_phone_on_slow_4g(address, chromium):
    for path in PATHS:
        reports = [run(address + path, chromium) for _ in range(3)]
        for audit in ("first-contentful-paint", "largest-contentful-paint"):
            tell(f"{path}, {audit.split('-')[0]} paint", [r["audits"][audit]["numericValue"] / 1000 for r in reports])
        scores = [round(100 * report["categories"]["performance"]["score"]) for report in reports]
        print(f"  {path}, of 100: {statistics.median(scores):.0f} ({min(scores)} to {max(scores)})")
