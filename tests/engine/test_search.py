"""What is written for the search alone leaves the page, and reaches the index."""

from __future__ import annotations

import json

import pytest

from engine.publish import search, takeaway
from tests.site import SITE

HTML = """\
<h1 id="sums">Sums</h1>
<!-- search: adding up,
total -->
<p>Text.</p>
<h2 id="two"><code>add</code></h2>
<!-- search: plus, + -->
<!-- search: sum of two -->
<!-- search lacks: differences, minus, subtract -->
<!-- search lacks: products, times -->
<p>More.</p>
<h2 id="three">Three</h2>
<!-- 9 of 10 -->
"""


def test_its_words_leave_the_page_and_nothing_else_does():
    html, noted = search.noted(HTML)
    assert html.split("\n") == [
        '<h1 id="sums">Sums</h1>',
        "<p>Text.</p>",
        '<h2 id="two"><code>add</code></h2>',
        "<p>More.</p>",
        '<h2 id="three">Three</h2>',
        "<!-- 9 of 10 -->",  # is told as one that no page shows
        "",
    ]
    assert noted == {
        "": {"search": ["adding up", "total"]},
        "two": {
            "search": ["plus", "+", "sum of two"],
            "lacks": [["differences", "minus", "subtract"], ["products", "times"]],
        },
    }


@pytest.mark.parametrize("unmeant", ["<!-- search words -->", "<!-- Search: words -->", "<!--search: words-->"])
def test_a_comment_that_is_written_otherwise_stays_to_be_told(unmeant):
    assert search.noted(f"<h1 id='a'>A</h1>\n{unmeant}\n") == (f"<h1 id='a'>A</h1>\n{unmeant}\n", {})


def test_the_index_has_them_with_a_server_and_without(tmp_path):
    docs = [
        {"location": "sums.html", "title": "Sums", "text": "<p>Text.</p>"},
        {"location": "sums.html#two", "title": "<code>add</code>", "text": "<p>More: “so”.</p>"},
        {"location": "sums.html#next", "title": "Where next", "text": "<ul> <li>Sums</li> </ul>"},
        {"location": "other.html#two", "title": "Another", "text": ""},
    ]
    (tmp_path / "search").mkdir()
    (tmp_path / "search/search_index.json").write_text(json.dumps({"config": {}, "docs": docs}), encoding="utf-8")
    leads = '<h2 id="next">Where next</h2>\n<ul>\n<li><a href="sums.html">Sums</a>: more.</li>\n</ul>\n'
    search.write(tmp_path, {"sums.html": search.noted(HTML + leads)[1], "other.html": {}})

    written = (tmp_path / "search/search_index.json").read_text(encoding="utf-8")
    first, second, other = json.loads(written)["docs"]  # a list of links leads on, and answers nothing
    assert first == docs[0] | {"search": ["adding up", "total"]}
    assert second["lacks"][1] == ["products", "times"]
    assert other == docs[3]
    assert (tmp_path / "search/search_index.js").read_text(encoding="utf-8") == f"var __index = {written}"


def test_a_module_is_taken_away_without_them():
    module = "# %% [markdown]\n# # Sums\n# <!-- search: adding up -->\n# <!-- search lacks: minus -->\n# Text.\n"
    assert takeaway.script(module, "tutorials/x.py", SITE).endswith("# %% [markdown]\n# # Sums\n# Text.\n")
