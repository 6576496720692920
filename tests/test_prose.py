"""No figure of a page's prose stands there untied (`tests/prose.py` says what ties it), and no paper is misquoted."""

from __future__ import annotations

import re

import pytest

from tests import prose
from tests.site import SITE

PAGES = {SITE.relative(page): page for page in SITE.pages()}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_each_figure_is_printed_or_proved(page):
    found = list(prose.untied(page))
    assert not found, "\n".join(found)


CITED = {
    "Abadi et al.": {"2016", "arXiv:1607.00133"},
    "Ba, Kiros and Hinton": {"2016", "arXiv:1607.06450"},
    "Bengio et al.": {"2013", "arXiv:1308.3432"},
    "Broomhead and Lowe": {"Complex Systems 2", "1988"},
    "Chen et al.": {"2020", "arXiv:2002.05709"},
    "Courbariaux et al.": {"2016", "arXiv:1602.02830"},
    "Cutkosky and Mehta": {"2020", "arXiv:2002.03305"},
    "Giles and Maxwell": {"1987"},
    "Goodfellow et al.": {"2014", "arXiv:1406.2661"},
    "Goodfellow, Shlens and Szegedy": {"2014", "arXiv:1412.6572"},
    "Gulrajani et al.": {"2017", "arXiv:1704.00028"},
    "Hinton, Vinyals and Dean": {"2015", "arXiv:1503.02531"},
    "Ho, Jain and Abbeel": {"2020"},
    "Hu et al.": {"2021", "arXiv:2106.09685"},
    "Kingma and Welling": {"2013"},
    "Koenker and Bassett": {"Econometrica 46", "1978"},
    "Loshchilov and Hutter": {"2019", "arXiv:1711.05101"},
    "Perez et al.": {"2018"},
    "Schroff et al.": {"2015", "arXiv:1503.03832"},
    "Tarvainen and Valpola": {"2017", "arXiv:1703.01780"},
    "Vaswani": {"2017"},
    "Xiong et al.": {"2020"},
    "Ziyin, Hartwig and Ueda": {"2020", "arXiv:2006.08195"},
}
"""Looked up once, by hand: the year of each paper, and where to find it."""
PLACES = re.compile(r"arXiv:[\d.]*\d|(?:Complex Systems|Econometrica) \d+|\b(?:1[89]|20)\d\d\b")


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_each_paper_is_where_the_page_sends_its_reader(page):
    for passage in prose.readable(page):
        found = set(PLACES.findall(passage.text))
        authors = [author for author in CITED if author in passage.text]
        expected = set().union(*(CITED[author] for author in authors))
        assert not authors or found == expected, f"{passage.where}: {authors} are cited with {sorted(found)}"
        assert authors or not any("arXiv" in place for place in found), f"{passage.where}: whose paper is {found}?"
