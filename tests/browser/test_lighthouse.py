"""Lighthouse, as on a middling phone with slow 4G, simulated: medians of three runs.

Lighthouse is no Python package: `.ci/run` installs it with npm, and elsewhere these tests are skipped without it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess

import pytest

from tests.site import SITE

LIGHTHOUSE = SITE.root / ".cache/lighthouse/node_modules/lighthouse/cli/index.js"
RUNS = 3


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
    for _ in range(3):  # now and then it misses the start of a page, and asks to be run again
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
    pytest.fail(done.stderr)


@pytest.mark.parametrize(
    "path", ["index.html", "layers/custom_layer.html", "errors/index.html", "tutorials/diffusion.html"]
)
def test_a_phone_on_a_slow_network(path, address, chromium, record_property):
    reports = [run(address + path, chromium) for _ in range(RUNS)]
    for category in ("accessibility", "best-practices", "seo"):
        report = reports[0]["categories"][category]
        audits = [ref["id"] for ref in report["auditRefs"] if reports[0]["audits"][ref["id"]]["score"] == 0]
        assert report["score"] == 1, (category, audits)

    def median(audit: str) -> float:
        return statistics.median(report["audits"][audit]["numericValue"] for report in reports)

    scores = [report["categories"]["performance"]["score"] for report in reports]
    record_property("performance", statistics.median(scores))  # a smell, not a gate: it varies by 13 points
    assert median("first-contentful-paint") <= 1500
    assert median("largest-contentful-paint") <= 1800
