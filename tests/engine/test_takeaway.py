"""What becomes of a page's HTML when it is taken away."""

from __future__ import annotations

import nbformat
import pytest

from engine.publish.takeaway import Page, script
from tests.site import SITE

CODE = '<div class="language-python highlight"><pre><span></span><code>{}\n</code></pre></div>'
OUTPUT = (
    '<div class="language-text highlight"><span class="filename">Output</span>'
    "<pre><span></span><code>{}\n</code></pre></div>"
)


def page(html: str, **options) -> Page:
    given = {
        "site": "https://example.org/guide/",
        "path": "layers/linear",
        "address": "https://example.org/guide/layers/linear/",
        "chapter": "Layers",
        "title": "Linear",
        "description": "A layer.",
        "html": f"<h1>Linear</h1>{html}",
        "proof": "Proved",
    }
    return Page(**given | options)


FORMS = {
    "a heading loses its permalink": (
        '<h2 id="b">Build<a class="headerlink" href="#b">¶</a></h2>',
        "## Build",
    ),
    "a link is resolved": (
        '<p>See <a href="../../errors/layers/#kernel">errors</a>.</p>',
        "See [errors](https://example.org/guide/errors/layers/#kernel).",
    ),
    "a link to another site stays": ('<p><a href="https://keras.io">Keras</a></p>', "[Keras](https://keras.io)"),
    "names keep their underscores": ("<p>add_weight and *args</p>", "add_weight and *args"),
    "code": (CODE.format("x = 1\n\n\ny = x &lt; 2"), "```python\nx = 1\n\n\ny = x < 2\n```"),
    "code that holds a fence": (CODE.format("'''\n```\n'''"), "````python\n'''\n```\n'''\n````"),
    "an output": (CODE.format("f()") + OUTPUT.format("a"), '```python\nf()\n```\n\n```text title="Output"\na\n```'),
    "a warning": (
        '<div class="admonition warning"><p class="admonition-title">Call it <code>x</code></p><p>Or not.</p></div>',
        "> **Call it `x`**\n>\n> Or not.",
    ),
    "a formula": ('<p>As <math alttext="x^2" display="inline"><mi>x</mi></math>.</p>', "As $x^2$."),
    "a formula of its own": ('<math alttext="x^2" display="block"><mi>x</mi></math>', "$$x^2$$"),
    "a picture": ('<figure><svg role="img" aria-label="A line."><text>0</text></svg></figure>', "> Picture: A line."),
}


@pytest.mark.parametrize(("html", "text"), FORMS.values(), ids=FORMS)
def test_markdown(html, text):
    head = "# Linear\n\n*Proved: <https://example.org/guide/layers/linear/>*\n\n"
    assert page(html).markdown() == f"{head}{text}\n"


def test_a_notebook_has_prose_code_and_what_it_prints():
    html = f"<p>One.</p>{CODE.format('a = 1')}<p>Two.</p>{CODE.format('print(a)')}{OUTPUT.format('1')}<p>Three.</p>"
    notebook = page(html).notebook()
    nbformat.validate(notebook)
    assert [(cell.cell_type, cell.source.split("\n")[-1]) for cell in notebook.cells] == [
        ("markdown", "One."),
        ("code", "a = 1"),
        ("markdown", "Two."),
        ("code", "print(a)"),
        ("markdown", "Three."),
    ]
    assert [output.text for output in notebook.cells[3].outputs] == ["1\n"]
    assert page(html).notebook() == notebook


def test_a_notebook_keeps_the_outputs_that_were_recorded():
    recorded = [[nbformat.v4.new_output("display_data", {"text/plain": "A line.", "image/svg+xml": "<svg/>"})]]
    html = CODE.format("plot()") + '<figure><svg role="img" aria-label="A line."></svg></figure>'
    notebook = page(html, outputs=recorded).notebook()
    assert notebook.cells[-1].outputs == recorded[0]
    assert "Picture" not in "".join(cell.source for cell in notebook.cells)


MODULE = """\
import keras

# --8<-- [start:right]
def right():
    return 1


# --8<-- [end:right]


# --8<-- [start:wrong_fails]
import numpy as np


def wrong():
    return np.ones(2)


# --8<-- [end:wrong_fails]


if __name__ == "__main__":
    # --8<-- [start:use]
    print(right())
    # --8<-- [end:use]

    # --8<-- [start:use_fails]
    print(wrong())

    print("again")
    # --8<-- [end:use_fails]

    # --8<-- [start:again]
    print(right() + 1)
    # --8<-- [end:again]

    # --8<-- [start:last_fails]
    print(wrong())
    # --8<-- [end:last_fails]
"""

WORKS = """\
import keras

def right():
    return 1


if __name__ == "__main__":
    print(right())

    print(right() + 1)
"""


def test_a_module_is_taken_away_without_what_fails():
    """And without the packages that nothing else needs."""
    head, _, text = script(MODULE, "layers/right.py", SITE).partition("\n\n")
    assert text == WORKS
    assert '"keras==' in head
    assert "numpy" not in head


def test_a_module_of_the_errors_keeps_what_fails():
    head, _, text = script(MODULE, "errors/right.py", SITE).partition("\n\n")
    assert text.count("wrong()") == 3
    assert "--8<--" not in text
    assert '"numpy==' in head


def test_the_head_of_a_module_says_how_it_is_run():
    head, _, _ = script(MODULE, "layers/right.py", SITE).partition("\n\n")
    assert head.splitlines()[0] == "# /// script"
    assert head.splitlines()[-2:] == ["# ///", "# Run it with: uv run right.py"]
