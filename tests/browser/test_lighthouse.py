"""Lighthouse, as on a middling phone with slow 4G, simulated.

Lighthouse is no Python package: `.ci/run` installs it with npm, and elsewhere these tests are skipped without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from tests.site import SITE

LIGHTHOUSE = SITE.root / ".cache/lighthouse/node_modules/lighthouse/cli/index.js"
PATHS = ["index.html", "layers/custom_layer.html", "errors/index.html", "tutorials/diffusion.html"]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if not (LIGHTHOUSE.is_file() and shutil.which("node")):
        if os.environ.get("CI"):
            pytest.fail("Lighthouse is missing: .ci/run installs it, so that no test is skipped.")
        pytest.skip("Lighthouse isn't installed")


def run(url: str, chromium: str) -> dict:
    flags = "--headless=new --no-sandbox --disable-background-networking --disable-component-update"
    command = ["node", str(LIGHTHOUSE), url, "--output=json", "--quiet", f"--chrome-flags={flags}"]
    env = os.environ | {"CHROME_PATH": chromium}
    said = ""
    for _ in range(3):  # now and then it misses the start of a page and asks to be run again, or waits for ever
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(command, env=env, stdout=out, stderr=err, start_new_session=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=150)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the browser that it has started
            out.seek(0), err.seek(0)
            if process.wait() == 0:
                return json.load(out)
            said += err.read()
    pytest.fail(said or "It waits for ever.")


@pytest.mark.parametrize("path", PATHS)
def test_a_phone_meets_every_audit(path, address, chromium):
    """But for the times, which are the machine's as much as the page's: `make bench` prints them."""
    report = run(address + path, chromium)
    for category in ("accessibility", "best-practices", "seo"):
        audits = [ref["id"] for ref in report["categories"][category]["auditRefs"]]
        missed = [audit for audit in audits if report["audits"][audit]["score"] == 0]
        assert report["categories"][category]["score"] == 1, (category, missed)
