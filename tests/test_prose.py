"""No figure of a page's prose stands there untied: `tests/prose.py` says what ties it."""

from __future__ import annotations

import pytest

from tests import prose
from tests.site import SITE

PAGES = {SITE.relative(page): page for page in SITE.pages()}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_each_figure_is_printed_or_proved(page):
    found = list(prose.untied(page))
    assert not found, "\n".join(found)
