"""The pages outlive their theme's end of life: ProperDocs, the successor of MkDocs, builds the same site."""

from __future__ import annotations

import subprocess
import sys

from engine.publish import html
from tests.site import ADDRESSES, SITE


def test_properdocs_builds_the_same_pages(built, tmp_path):
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "-f", "mkdocs.yml", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=SITE.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in ADDRESSES:
        ours, theirs = (html.shown_in((folder / path).read_text(encoding="utf-8")) for folder in (built, tmp_path))
        assert ours.code == theirs.code, path
        assert ours.ids == theirs.ids, path
