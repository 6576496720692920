"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from engine.examples import fresh_keras
from tests import prose
from tests.site import COLAB, REPOSITORY


class Host(SimpleHTTPRequestHandler):
    """Serves a folder as static hosts do: compressed, under the headers of its `_headers`, with its 404.html."""

    def do_GET(self) -> None:
        folder: Path = self.server.folder
        path = folder / unquote(urlsplit(self.path).path).lstrip("/")
        path = path / "index.html" if path.is_dir() else path
        found = path.is_file()
        content = (path if found else folder / "404.html").read_bytes()
        kind = self.guess_type(path) if found else "text/html"
        self.send_response(200 if found else 404)
        for line in (folder / "_headers").read_text(encoding="utf-8").split("\n\n")[0].splitlines()[1:]:
            self.send_header(*line.strip().split(": ", 1))
        self.send_header("Content-Type", kind if "image" in kind else f"{kind}; charset=utf-8")
        if "gzip" in self.headers.get("Accept-Encoding", "") and not path.name.endswith((".png", ".gz")):
            content = gzip.compress(content, 9)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a browser that has moved on
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    fresh_keras(seed=0)


@pytest.fixture(autouse=True, scope="module")
def _classes_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keras finds no class that another module of tests has registered.

    All of them are imported into one process, where a class of one would stand in for that of another.
    """
    registry = sys.modules["keras"].saving.get_custom_objects() if "keras" in sys.modules else {}
    before = dict(registry)
    for name, thing in before.items():
        if thing.__module__.startswith("tests.") and thing.__module__ != request.module.__name__:
            del registry[name]
    yield
    registry.clear()
    registry.update(before)


@pytest.fixture(autouse=True)
def _the_page_says_it(request: pytest.FixtureRequest) -> None:
    """A test that names the sentences it proves is red when its page no longer says them."""
    for mark in request.node.iter_markers("proves"):
        for sentence in mark.args:
            if problem := prose.missing(prose.page_of(request.path), sentence):
                pytest.fail(problem, pytrace=False)


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[Executor]:
    """One other Python that has seen none of this one's classes: what a file loads there, it loads anywhere."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="session")
def host() -> Iterator[ThreadingHTTPServer]:
    """A static host on a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, host: ThreadingHTTPServer) -> Path:
    """The site, built strictly for the host that serves it, with a repository that is known."""
    folder = tmp_path_factory.mktemp("site")
    address = f"http://127.0.0.1:{host.server_port}/"
    known = {"SITE_URL": address, "REPO_URL": REPOSITORY, "EDIT_URI": "edit/main/docs/", "COLAB_URL": COLAB}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | known
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    host.folder = folder
    return folder


@pytest.fixture(scope="session")
def address(built: Path, host: ThreadingHTTPServer) -> str:
    """Where the built site is served."""
    return f"http://127.0.0.1:{host.server_port}/"
