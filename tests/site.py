"""The site that the tests build and visit."""

from __future__ import annotations

import os
from pathlib import Path

from engine.site import Site

SITE = Site.load(Path(__file__).parents[1])
ADDRESSES = [page.relative_to(SITE.docs).with_suffix(".html").as_posix() for page in SITE.pages()]
NOTEBOOKS = {page.relative_to(SITE.docs).with_suffix(".html").as_posix() for page in SITE.docs.rglob("*.ipynb")}
AS_A_READER = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
"""The environment with the arithmetic that this machine is best at, and not the one that every machine has."""
MISSING = "nothing.html"
PHONE, DESKTOP, WIDE = ({"width": width, "height": height} for width, height in ((390, 844), (1280, 900), (1440, 900)))

REPOSITORY = "https://github.com/someone/guide"
COLAB = "https://colab.research.google.com/github/someone/guide/blob/notebooks/"
"""As the workflow tells them where the repository is known."""
