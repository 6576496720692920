"""What ties a page's words to the tests is itself broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.site import Site
from tests import prose

PAGE = """\
---
description: 7 things.
---

# Scale 3 things { #scale }

The [result](x.md) is **4.50** for
each `Scale(2)`, and half as much in float16.

!!! warning "Not 8"

    It costs 9.

| Case | Result |
|---|---|
| `a` | 12 |

```python
--8<-- "snippets/scale.py:use"
```

```text title="Output"
--8<-- "snippets/scale.txt:use"
```

## Another part

There 4.50 isn't printed.
"""

TEST = """\
import pytest


@pytest.mark.proves("and half as much in float16", "It costs 9")
def test_cost(): ...
"""


@pytest.fixture
def page(project, monkeypatch) -> Path:
    project.write("docs/scale.md", PAGE)
    project.write("snippets/scale.py", "# --8<-- [start:use]\nprint(4.50, 2)\n# --8<-- [end:use]\n")
    project.write("snippets/scale.txt", "--8<-- [start:use]\n4.50 8 3\n--8<-- [end:use]\n")
    project.write("tests/test_scale.py", TEST)
    monkeypatch.setattr(prose, "SITE", Site.load(project.root))
    prose.readable.cache_clear()
    return project.root / "docs/scale.md"


def test_each_figure_that_nothing_ties_is_told_with_its_line(page):
    found = list(prose.untied(page))
    assert [problem.partition(" in ")[0] for problem in found] == [
        "docs/scale.md:2: nothing ties '7'",
        "docs/scale.md:16: nothing ties '12'",
        "docs/scale.md:28: nothing ties '4.50'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("**4.50**", "**4.60**", "docs/scale.md:7: nothing ties '4.60'"),
        ("Scale(2)", "Scale(5)", "docs/scale.md:7: nothing ties '5'"),
        ("half as much", "a third as much", "docs/scale.md:7: nothing ties 'third'"),
        ("Scale 3", "Scale five", "docs/scale.md:5: nothing ties 'five'"),
        ("Not 8", "Not 88", "docs/scale.md:10: nothing ties '88'"),
        ("costs 9", "costs 90", "docs/scale.md:12: nothing ties '90'"),
    ],
)
def test_a_changed_figure_is_red(page, old, new, problem):
    page.write_text(page.read_text("utf-8").replace(old, new), encoding="utf-8")
    assert any(found.startswith(problem) for found in prose.untied(page)), list(prose.untied(page))


def test_a_changed_output_is_red(page):
    record = prose.SITE.root / "snippets/scale.txt"
    record.write_text(record.read_text("utf-8").replace("4.50", "4.70"), encoding="utf-8")
    assert any(found.startswith("docs/scale.md:7: nothing ties '4.50'") for found in prose.untied(page))


@pytest.mark.parametrize(
    "words", ["The result is 4.50 for each `Scale(2)`", "`a` | 12", "Scale 3 things", "It costs 9."]
)
def test_words_are_found_as_they_are_read(page, words):
    assert prose.missing(page, words) is None


def test_words_that_left_the_page_are_told_with_what_stands_there_now(page):
    problem = prose.missing(page, "The result is 4.60 for each `Scale(2)`")
    assert problem.startswith("docs/scale.md:7: the page doesn't say any more: 'The result is 4.60")
    assert "Nearest is 'The result is 4.50 for each `Scale(2)`, and half as much in float16.'" in problem


def test_a_test_module_belongs_to_its_page(page):
    assert prose.page_of(prose.SITE.root / "tests/test_scale.py") == page
    assert prose.proved(prose.SITE.root / "tests/test_scale.py") == ["and half as much in float16", "It costs 9"]
