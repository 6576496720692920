"""What a build costs, and how long a writer waits for a saved page."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.site import ADDRESSES, SITE

MKDOCS = [sys.executable, "-m", "mkdocs"]
MADE_OF = ("mkdocs.yml", "mkdocs_hooks.py", "requirements.txt", "docs", "snippets", "engine", "theme")


def test_a_build_costs_at_most_three_tenths_of_a_second_for_each_page(tmp_path):
    """Of CPU, all that MkDocs imports included; the better of two, for other work on the machine costs too."""
    costs = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*MKDOCS, "build", "--quiet", "--site-dir", str(tmp_path)], cwd=SITE.root, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) <= 0.3 * len(ADDRESSES), costs


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the site that may be edited, and where it is served."""
    for name in MADE_OF:
        copy = shutil.copytree if (SITE.root / name).is_dir() else shutil.copy
        copy(SITE.root / name, tmp_path / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = "{}:{}".format(*probe.getsockname())
    server = subprocess.Popen([*MKDOCS, "serve", "--quiet", "--dev-addr", host], cwd=tmp_path)
    yield tmp_path, f"http://{host}/"
    server.terminate()
    server.wait()


def wait_for(words: str, url: str) -> float:
    """Seconds until the page has these words."""
    start = time.monotonic()
    while time.monotonic() - start < 60:
        with contextlib.suppress(URLError, ConnectionError), urlopen(url) as answer:
            if words in answer.read().decode():
                return time.monotonic() - start
        time.sleep(0.02)
    pytest.fail(f"{words!r} isn't at {url} after a minute")


def test_a_saved_page_and_a_saved_module_show_within_two_seconds(served):
    """And both are shown as they are now, though a page whose files stay the same isn't rendered again."""
    folder, address = served
    page, module = folder / "docs/layers/custom_layer.md", folder / "snippets/layers/custom_layer.py"
    url = f"{address}layers/custom_layer.html"
    wait_for("Create a custom layer", url)
    waited = {page: [], module: []}
    for save in range(3):
        for file, old in ((page, r"(# Create a custom layer)( \d)?"), (module, r"(class Linear)(_\d)?")):
            new = rf"\1 {save}" if file == page else rf"\1_{save}"
            file.write_text(re.sub(old, new, file.read_text(encoding="utf-8"), count=1), encoding="utf-8")
            waited[file].append(wait_for(f"custom layer {save}" if file == page else f"Linear_{save}", url))
    assert max(map(statistics.median, waited.values())) <= 2, waited
