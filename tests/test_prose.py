"""No figure of a page's prose stands there untied: `tests/prose.py` says what ties it."""

from __future__ import annotations

import pytest

from tests import prose
from tests.site import SITE

NOT_YET = ("docs/tutorials/image_and_table.ipynb", "docs/tutorials/transformer.ipynb")
"""Pages of which some figures are tied by nothing. Strict: a page that no longer is one has to leave the list."""

PAGES = [
    pytest.param(page, id=name, marks=pytest.mark.xfail(reason="not tied yet", strict=True) if name in NOT_YET else ())
    for name, page in ((SITE.relative(page), page) for page in SITE.pages())
]


@pytest.mark.parametrize("page", PAGES)
def test_each_figure_is_printed_or_proved(page):
    found = list(prose.untied(page))
    assert not found, "\n".join(found)
