"""`docs/errors/index.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import keras
import markdown
import numpy as np
import pytest

from engine.pages import sections

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "docs" / "errors"
PAGES = ("layers", "models", "saving")


@dataclass(frozen=True)
class Row:
    """A row of a table of the index: what a reader looks for, and where it leads."""

    told: list[str]
    """The inline codes by which a reader knows the failure."""
    links: list[str]


@dataclass(frozen=True)
class Entry:
    """An h2 of a page of the chapter."""

    address: str
    text: str
    printed: str
    """The recorded outputs that stand under it."""


def tables() -> dict[str, list[Row]]:
    """The index as the site reads it: the rows of each table, by the heading of the column that tells."""
    html = markdown.markdown((CHAPTER / "index.md").read_text("utf-8"), extensions=["tables", "attr_list"])
    page = ElementTree.fromstring(f"<page>{html.replace('<br>', '<br />')}</page>")
    found = {}
    for table in page.iter("table"):
        heads = ["".join(cell.itertext()) for cell in table.iter("th")]
        told = next(n for n, head in enumerate(heads) if head in ("Message", "The number that gives it away"))
        rows = [row.findall("td") for row in table.find("tbody")]
        found[heads[told]] = [
            Row(
                ["".join(code.itertext()) for code in row[told].iter("code")],
                [link.get("href") for cell in row for link in cell.iter("a")],
            )
            for row in rows
        ]
    return found


def entries() -> dict[str, Entry]:
    found = {}
    for page in PAGES:
        _, *parts = re.split(r"^## ", (CHAPTER / f"{page}.md").read_text("utf-8"), flags=re.MULTILINE)
        recorded = sections(ROOT / "snippets" / "errors" / f"{page}.txt")
        for part in parts:
            pinned = re.search(r"\{ #([a-z-]+) \}$", part.partition("\n")[0])
            assert pinned, f"{page}.md: no id is pinned on: {part.partition(chr(10))[0]}"
            shown = re.findall(r"snippets/errors/\w+\.txt:([\w-]+)", part)
            entry = Entry(f"{page}.md#{pinned[1]}", part, "\n".join(recorded[name].text for name in shown))
            assert entry.address not in found
            found[entry.address] = entry
    return found


TABLES, ENTRIES = tables(), entries()
ROWS = [row for rows in TABLES.values() for row in rows]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_there_are_two_tables_and_each_row_tells_something():
    assert list(TABLES) == ["Message", "The number that gives it away"]
    assert all(row.told for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.told[0])
def test_each_row_leads_to_one_entry_in_which_its_words_are_printed(row):
    (link,) = row.links
    assert link in ENTRIES
    for words in row.told:
        assert squeezed(words) in squeezed(ENTRIES[link].printed)


def test_each_entry_is_listed_once():
    assert sorted(link for row in ROWS for link in row.links) == sorted(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_each_entry_shows_a_failure_a_cure_and_a_page_that_teaches(entry):
    blocks = re.findall(r"```python\n--8<-- \"snippets/errors/\w+\.py:(\w+)_(\w+)\"", entry.text)
    (topic, fails), (same_topic, works) = blocks
    assert (topic, fails, works) == (same_topic, "fails", "works")
    assert re.search(r"^More: .*\]\(\.\./", entry.text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_links_between_entries_lead_to_entries(page):
    for target, anchor in re.findall(r"\]\((\w*\.?m?d?)#([\w-]+)\)", (CHAPTER / f"{page}.md").read_text("utf-8")):
        assert f"{target or page + '.md'}#{anchor}" in ENTRIES


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_needs_the_imports_of_its_page_and_nothing_else(entry):
    """It stands alone: no name in it comes from another entry."""
    module = sections(ROOT / "snippets" / "errors" / f"{entry.address.partition('.')[0]}.py")
    shown = re.findall(r"snippets/errors/\w+\.py:([\w-]+)", entry.text)
    tree = ast.parse("\n".join(module[name].text for name in dict.fromkeys(["imports", *shown])))
    given, used = set(dir(builtins)), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                given.add(name)
            case ast.FunctionDef(name=name) | ast.ExceptHandler(name=name):
                given.add(name)
            case _:
                pass
        if isinstance(node, ast.alias) and node.asname:
            given.add(node.asname)
    assert used <= given, f"not defined in the entry: {used - given}"


def test_a_message_of_deserializing_names_its_cause_at_the_beginning_of_its_last_paragraph(tmp_path):
    registered = keras.saving.register_keras_serializable(package="tests_errors_index")

    class Unknown(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    @registered
    class RefusingLayer(keras.layers.Layer):
        def __init__(self):
            super().__init__()

        def call(self, inputs):
            return inputs

    @registered
    class RefusingModel(keras.Model):
        def __init__(self):
            super().__init__()

        def call(self, inputs):
            return inputs

    for model, cause in [
        (keras.Sequential([keras.Input((3,)), Unknown()]), r"Exception encountered: Could not locate class 'Unknown'"),
        (
            keras.Sequential([keras.Input((3,)), RefusingLayer()]),
            r"Exception encountered: \S*RefusingLayer\.__init__\(\) got",
        ),
        (RefusingModel(), r"Error encountered during deserialization: \S*RefusingModel\.__init__\(\) got"),
    ]:
        model(np.ones((1, 3)))
        model.save(tmp_path / "model.keras")
        with pytest.raises(TypeError, match=r"could not be deserialized properly\.(?s:.*)config=") as caught:
            keras.saving.load_model(tmp_path / "model.keras")
        assert re.match(cause, str(caught.value).split("\n\n")[-1])


def test_a_message_of_a_layer_has_its_cause_in_its_second_paragraph():
    class Fails(keras.layers.Layer):
        def call(self, inputs):
            raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause") as caught:
        Fails()(np.ones((2, 3)))
    first, cause, last = str(caught.value).split("\n\n")
    assert first.startswith("Exception encountered when calling")
    assert "the cause" in cause
    assert last.startswith("Arguments received")


def test_the_cause_is_one_paragraph_later_if_keras_could_not_infer_the_output_shape():
    class Fails(keras.layers.Layer):
        def call(self, inputs):
            raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause") as caught:
        Fails()(keras.Input((3,)))
    first, inferred, cause, last = str(caught.value).split("\n\n")
    assert first.startswith("Exception encountered when calling")
    assert "Could not automatically infer the output shape" in inferred
    assert "the cause" in cause
    assert last.startswith("Arguments received")
