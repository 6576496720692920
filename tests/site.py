"""The site that the tests build and visit."""

from __future__ import annotations

from pathlib import Path

from engine import pages

SITE = pages.Site.load(Path(__file__).parents[1])
ADDRESSES = [page.relative_to(SITE.docs).with_suffix(".html").as_posix() for page in SITE.pages()]
NOTEBOOKS = {page.relative_to(SITE.docs).with_suffix(".html").as_posix() for page in SITE.docs.rglob("*.ipynb")}
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

REPOSITORY = "https://github.com/someone/guide"
COLAB = "https://colab.research.google.com/github/someone/guide/blob/notebooks/"
"""As the workflow tells them where the repository is known."""
