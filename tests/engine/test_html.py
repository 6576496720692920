"""Dead links, anchors and images are red in the strict build, at the line of the page; formulas and code are whole."""

from __future__ import annotations

import re
from html import unescape

import pygments
import pytest
from bs4 import BeautifulSoup
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from engine.publish import html

BROKEN = {
    "a dead link": ("[gone](gone.md)", "the link to gone.md leads nowhere. Name a file that is there."),
    "a dead link to a file": ("[gone](gone.pdf)", "the link to gone.pdf leads nowhere."),
    "a dead link in raw HTML": ('<a href="../gone/">gone</a>', "the link to ../gone/ leads nowhere."),
    "a dead anchor": ("[gone](add.md#gone)", "docs/add.md has no anchor #gone."),
    "a dead anchor on the page": ("[gone](#gone)", "docs/links.md has no anchor #gone."),
    "a missing image": ("![a picture](gone.png)", "the link to gone.png leads nowhere."),
    "a link to nothing": ("[gone](#)", "the link to '#' leads nowhere."),
    "an empty link": ('<a href="">gone</a>', "the link to '' leads nowhere."),
    "a link to one machine": ("[gone](http://localhost:8000/add.html)", "leads to the machine of its reader."),
    "a link to one host": ("[gone](/add.html)", "the link to '/add.html' isn't for every host."),
    "a link that anybody reads": (
        "[gone](http://example.org)",
        "the link to 'http://example.org' isn't for every host.",
    ),
    "an image of another host": ("![a picture](https://example.org/a.png)", "is another host's. Copy it to docs/."),
    "an image without alt text": (
        "![](../assets/favicon.svg)",
        "the alt text '' doesn't tell what the image",
    ),
}


@pytest.mark.parametrize(("text", "what"), BROKEN.values(), ids=BROKEN)
def test_red_at_its_line(project, text, what):
    project.write("docs/links.md", f"# Links\n\nText.\n\nHere: {text}.\n")
    code, said = project.build()
    assert code != 0
    line = next((line for line in said.splitlines() if "docs/links.md:5: " in line), said)
    assert what in line


UNUSABLE = {
    "a table without an empty line": ("# A\n\nText:\n| a |\n|---|\n| b |\n", 4, "'| a |"),
    "a list without an empty line": ("# A\n\nText:\n- an item\n", 4, "'- an item' is shown as it is"),
    "numbers without an empty line": ("# A\n\nText:\n1. an item\n", 4, "'1. an item' is shown as it is"),
    "a note indented by two": ("# A\n\n- b\n\n  !!! note\n      Text.\n", 5, "'!!! note"),
    "a star that isn't ended": ("# A\n\nSome *text.\n", 3, "'*text.' is shown as it is"),
    "numbers in brackets": ("# A\n\nText:\n\n1) an item\n", 5, "'1) an item' is shown as it is"),
    "a reference to nothing": ("# A\n\nSee [text][gone].\n", 3, "'][gone].' is shown as it is"),
    "a comment that isn't ended": ("# A\n\n<!-- search: a\n\nText.\n", 3, "'!-- search: a' is shown as it is"),
    "bold that isn't ended": ("# A\n\nSome **bold text.\n", 3, "'**bold text.' is shown as it is"),
    "code that isn't ended": ("# A\n\nSome `code.\n", 3, "'`code.' is shown as it is"),
    "a footnote": ("# A\n\nText.[^1]\n\n[^1]: A note.\n", 3, "'[^1]' is shown as it is"),
    "a formula that isn't ended": ("# A\n\nSome $x text.\n", 3, "'$x text.' is shown as it is"),
    "a macro that doesn't exist": ("# A\n\nSome $\\foo{x}$.\n", 3, r"'\\foo' is nothing that a formula may hold."),
    "attributes of nothing": ("# A\n\nText { .pair}\n", 3, "'{ .pair}' is shown as it is"),
    "a comment": ("# A\n\n<!-- 9 of 10 -->\n", 3, "'<!-- 9 of 10 ' is published, and no page shows it."),
    "a level that is left out": ("# A\n\n### B\n", 3, "'B' is of level 3, and stands under one of level 1."),
    "a part that isn't ended": (
        "# A\n\n<div class='pair' markdown>\n\nText.\n\n## B\n",
        7,
        "'B' stands within a <div>",
    ),
    "no title": ("Text.\n", 1, "the page has 0 headings of level 1. Give it one, its title"),
    "an empty page": ("", 1, "the page has 0 headings of level 1."),
    "two titles": ("# One\n\nText.\n\n# Two\n", 1, "the page has 2 headings of level 1."),
    "two anchors of one name": ("# A\n\n## B { #b }\n\n## C { #b }\n", 5, "two anchors are called #b."),
    "a drawing without a name": (
        "# A\n\n<svg viewBox='0 0 1 1'><path d='M0 0'/></svg>\n",
        3,
        "the alt text '' doesn't tell what the drawing",
    ),
    "a drawing called image": (
        "# A\n\n<svg role='img' aria-label='Image'></svg>\n",
        3,
        "the alt text 'Image' doesn't tell what the drawing",
    ),
    "an image called image": ("# A\n\n![image](assets/favicon.svg)\n", 3, "the alt text 'image' doesn't tell what"),
}


@pytest.mark.parametrize(("text", "line", "what"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_no_reader_can_use(project, text, line, what):
    project.write("docs/page.md", text)
    code, said = project.build()
    assert code != 0
    assert f"docs/page.md:{line}: {what}" in said


def test_a_drawing_that_is_only_decoration_needs_no_name(project):
    project.write("docs/page.md", "# A\n\n<svg aria-hidden='true'></svg>\n\n<svg role='img' aria-label='A b.'></svg>\n")
    code, said = project.build()
    assert code == 0, said


def test_a_formula_is_set_without_a_script(project):
    project.write("docs/formula.md", "# Formula\n\nAs $x^2$.\n\n$$a \\qquad b < c$$\n")
    code, said = project.build()
    assert code == 0, said
    html = (project.root / "site/formula.html").read_text(encoding="utf-8")
    assert "<math alttext=x^2>" in html
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html
    assert "<mspace width=2em></mspace>" in html
    assert html.count("<math") == html.count("</math>") == 2
    assert "</article>" in html


LOOSE = {
    "lines in one code element": "Text <code>x = 1<br>print(x)</code>.",
    "a text area": "<textarea>\nx = 1\n</textarea>",
    "an example": "<xmp>x = 1</xmp>",
    "a sample": "<samp>x = 1</samp>",
    "a style": "<style>pre { display: none } /* x = 1 */</style>",
    "a script": "<script>document.title = 'x = 1'</script>",
    "a hidden part": "<div hidden='hidden'>x = 1</div>",
    "white space that is kept": "<div style='white-space: pre'>x = 1</div>",
    "a frame": "<iframe srcdoc='x = 1'></iframe>",
    "words of a drawing that aren't": "<svg role='img' aria-label='A b.'><foreignObject>x = 1</foreignObject></svg>",
    "lines of code elements": "`x = 1`<br>`print(x)`",
    "an Example column": "| Example |\n|---|\n| `x = 1` |",
    "a column of code": "| Code |\n|---|\n| `x = 1` |",
    "a part that no search finds": "<p data-search-exclude=''>Text.</p>",
    "lines in a column": "| Part | How |\n|---|---|\n| a | `x = 1`<br>`print(x)` |",
    "a method in a column": "| Part | How |\n|---|---|\n| a | `def call(self, x):`<br>`return x` |",
}


@pytest.mark.parametrize("text", LOOSE.values(), ids=LOOSE)
def test_code_that_stands_elsewhere_than_in_a_block(project, text):
    project.write("docs/typed.md", f"# Typed\n\n{text}\n")
    code, said = project.build()
    assert code != 0
    line = 3 + (2 if text.startswith("|") else 0)
    assert f"docs/typed.md:{line}: " in said
    assert re.search("is code that isn't proved|isn't quoted from snippets/typed.py|isn't for pages", said)


def test_code_in_a_table_that_is_quoted_from_the_module(project):
    table = "\n| Part | Example |\n|---|---|\n| Adding | `def add(a, b):`<br>`return a + b` |\n"
    project.write("docs/add.md", project.read("docs/add.md") + table)
    code, said = project.build()
    assert code == 0, said


def test_green_when_all_lead_somewhere(project):
    links = "[a](add.md), [b](add.md#add), [c](#links), <https://example.org>, ![a logo](assets/favicon.svg)"
    project.write("docs/links.md", f"# Links\n\n{links}\n")
    code, said = project.build()
    assert code == 0, said


def test_code_keeps_its_text_and_loses_most_of_its_elements():
    code = 'def double(x):\n    """Twice `x`.\n\n    Any <x>.\n    """\n    return "twice", x  # done\n'
    coloured = pygments.highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    plain = html.refined(f"<pre><code>{coloured}</code></pre>")
    assert unescape(re.sub(r"<[^>]*>", "", plain)) == code
    assert re.findall(r'class="(\w+)"', plain) == ["k", "nf", "sd", "k", "s2", "c1"]


def test_a_term_is_explained_where_it_stands_first():
    terms = '<p><abbr title="once">FiLM</abbr> and <abbr title="once">FiLM</abbr>, <abbr title="too">logits</abbr></p>'
    expected = '<p><abbr title="once">FiLM</abbr> and FiLM, <abbr title="too">logits</abbr></p>'
    assert html.refined(terms) == expected


def test_a_long_line_tells_its_indentation():
    """Its text stays as it is; what a phone breaks is an element of its own, without the space before it."""
    long = "value = " + " + ".join(["number"] * 6)
    code = f'def total(number):\n    """{long}"""\n        {long}\n{long}  # why\n    return value\n'
    coloured = pygments.highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    page = BeautifulSoup(html.refined(f"<pre><code>{coloured}</code></pre>"), "html.parser")
    assert page.get_text() == code
    hung = [(span["class"][-1], span.get_text()) for span in page.select("[class*=i]") if span["class"][-1][0] == "i"]
    assert hung == [("i8", long)], "what begins the line needs none, nor does a docstring"
