"""Chromium, on the built site."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.site import DESKTOP, MISSING, SITE

expect.set_options(timeout=30_000)  # as long as Playwright waits for anything else: a busy machine isn't a wrong page


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: .ci/run installs it, so that no browser test is skipped.")
        pytest.skip("Chromium isn't installed")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    menu = "--blink-settings=javaScriptCanAccessClipboard=true,DOMPasteAllowed=true"  # a test pastes as a menu does
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*quiet, menu])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens pages of which nothing leaves the served site; fails on errors in the console and on other requests."""
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and MISSING not in message.location["url"]:
            wrong.append(message.text)

    def open_page(**options) -> Page:
        context = browser.new_context(**{"base_url": address, "viewport": DESKTOP} | options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
        return page

    yield open_page
    for context in browser.contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


COMMANDS = {
    "make serve": ["make", "--assume-old=.venv/ready", "serve", "PORT={port}"],
    "mkdocs serve": [".venv/bin/mkdocs", "serve", "--dev-addr", "127.0.0.1:{port}"],
}
PAGES = ("index", "layers/custom_layer", "tutorials/diffusion")
"""Those of the copy: it is built in a quarter of the time that the whole site takes."""


@dataclass(frozen=True)
class Served:
    """A copy of some pages of the site that may be edited while it is served."""

    folder: Path
    address: str

    def edit(self, file: str, old: str, new: str) -> None:
        """Save a file with the first match of a pattern replaced."""
        text, times = re.subn(old, new, (self.folder / file).read_text(encoding="utf-8"), count=1)
        assert times, f"{old!r} doesn't stand in {file}"
        (self.folder / file).write_text(text, encoding="utf-8")

    def told(self) -> str:
        """What the terminal shows."""
        return (self.folder / "terminal.txt").read_text(encoding="utf-8")

    def wait_until_told(self, words: str) -> None:
        """Until the terminal shows what a pattern matches."""
        end = time.monotonic() + 120
        while not re.search(words, told := self.told()):
            assert time.monotonic() < end, told
            time.sleep(0.1)

    def settle(self) -> None:
        """Until nothing is built any more: a save may be noticed twice, and the second build reloads pages too."""
        seen = None
        while seen != (seen := self.told()):
            # That the site is built isn't told if it took as long as once before: MkDocs drops what it has said.
            self.wait_until_told(r"(Serving on|Reloading browsers|error happened)(?!(.|\n)*Building documentation)")
            time.sleep(1)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = _copy_to(tmp_path_factory.mktemp("copy"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [part.format(port=port) for part in getattr(request, "param", COMMANDS["make serve"])]
    with (folder / "terminal.txt").open("w") as terminal:
        server = subprocess.Popen(command, cwd=folder, stdout=terminal, stderr=terminal, start_new_session=True)
    site = Served(folder, f"http://127.0.0.1:{port}/")
    site.wait_until_told("Serving on http")
    yield site
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _copy_to(folder: Path) -> Path:
    """Make a folder the site of `PAGES`. Returns it."""

    def of_others(place: str, names: list[str]) -> list[str]:
        where = Path(place).relative_to(SITE.root).parts
        paths = {name: Path(*where[1:], name) for name in names if where[1:2] not in (("assets",), ("tools",))}
        files = {name: path for name, path in paths.items() if path.suffix in (".md", ".ipynb", ".py", ".txt")}
        return [name for name, path in files.items() if path.with_suffix("").as_posix() not in PAGES]

    for name in ("Makefile", "mkdocs_hooks.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(SITE.root / name, folder)
    for name in ("engine", "theme"):
        shutil.copytree(SITE.root / name, folder / name)
    for name in ("docs", "snippets"):
        shutil.copytree(SITE.root / name, folder / name, ignore=of_others)
    shutil.copy(SITE.root / "mkdocs.yml", folder / "base.yml")
    (folder / "mkdocs.yml").write_text("INHERIT: base.yml\nnav: null\n", encoding="utf-8")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder
