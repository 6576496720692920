"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import gzip
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from xdist.workermanage import WorkerController

from engine.prove.process import Page, Server
from tests import prose
from tests.site import AS_A_READER, COLAB, REPOSITORY, SITE

SERVED = pytest.StashKey[tuple[int, str]]()


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
    """Names, policies and seed as in a new process."""
    if keras := sys.modules.get("keras"):
        keras.backend.clear_session()
        gc.freeze()  # it collected garbage: next time through what this test made, not all that was imported
        keras.config.set_dtype_policy("float32")
        keras.utils.set_random_seed(0)


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
def readers() -> Iterator[Server]:
    """Starts processes with the arithmetic that this machine is best at, and not the one that every machine has."""
    server = Server(SITE, AS_A_READER)
    yield server
    server.close()


@pytest.fixture
def process(readers: Server) -> Iterator[Page]:
    """A reader's new Python, in an empty folder."""
    page = readers.page()
    yield page
    page.end()


# --- the built site: made once, and served to all workers by the process that started them ----------------------------


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[SERVED] = config.workerinput["served"]
        return
    around = tempfile.TemporaryDirectory()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.folder = Path(around.name, "site")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config.stash[SERVED] = (server.server_port, str(server.folder))
    config.add_cleanup(around.cleanup)
    config.add_cleanup(server.server_close)
    config.add_cleanup(server.shutdown)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    node.workerinput["served"] = node.config.stash[SERVED]


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> Path:
    """The site, built strictly for the host that serves it, with a repository that is known."""
    port, folder = pytestconfig.stash[SERVED]
    address = f"http://127.0.0.1:{port}/"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker that needs it builds it
        if not Path(folder, "index.html").is_file():
            known = {"SITE_URL": address, "REPO_URL": REPOSITORY, "EDIT_URI": "edit/main/docs/", "COLAB_URL": COLAB}
            command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
            env = os.environ | known
            done = subprocess.run(command, cwd=SITE.root, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return Path(folder)


@pytest.fixture(scope="session")
def address(built: Path, pytestconfig: pytest.Config) -> str:
    """Where the built site is served."""
    port, _ = pytestconfig.stash[SERVED]
    return f"http://127.0.0.1:{port}/"
