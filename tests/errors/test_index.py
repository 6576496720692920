"""`docs/errors/index.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import keras
import markdown
import numpy as np
import pytest
import tensorflow as tf
from bs4 import BeautifulSoup
from keras import layers
from markdown.extensions import toc

from engine.publish.proof import squeezed
from engine.site import sections

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "docs" / "errors"
PAGES = ("layers", "models", "saving", "export")
TOLD = ("Message", "What shows it", "What is printed there", "What it says")
"""The columns by which a reader of a table knows the failure: one for each table."""


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
        told = next(n for n, head in enumerate(heads) if head in TOLD)
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
            pinned = re.search(r"\{ #([a-z-]+)( data-toc-label=\"[^\"]+\")? \}$", part.partition("\n")[0])
            assert pinned, f"{page}.md: no id is pinned on: {part.partition(chr(10))[0]}"
            shown = re.findall(r"snippets/errors/\w+\.txt:([\w-]+)", part)
            entry = Entry(f"{page}.md#{pinned[1]}", part, "\n".join(recorded[name].text for name in shown))
            assert entry.address not in found
            found[entry.address] = entry
    return found


TABLES, ENTRIES = tables(), entries()
ROWS = [row for told in TOLD[:2] for row in TABLES[told]]
TRAINING, SAYS = TABLES[TOLD[2]], TABLES[TOLD[3]]


def test_there_are_four_tables_and_each_row_tells_something():
    assert list(TABLES) == list(TOLD)
    assert all(row.told for rows in TABLES.values() for row in rows)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.told[0])
def test_each_row_leads_to_one_entry_in_which_its_words_are_printed(row):
    (link,) = row.links
    assert link in ENTRIES
    for words in row.told:
        assert squeezed(words) in squeezed(ENTRIES[link].printed)


@pytest.mark.proves("What the pages on training and on saving show going wrong without a message:")
@pytest.mark.parametrize("row", TRAINING, ids=lambda row: row.links[0])
def test_each_symptom_leads_to_the_section_that_prints_it(row):
    (link,) = row.links
    address, _, anchor = link.partition("#")
    _, *parts = re.split(r"^##+ ", (CHAPTER / address).read_text("utf-8"), flags=re.MULTILINE)
    (part,) = (part for part in parts if anchor == slug(part.partition("\n")[0]))
    shown = re.findall(r"(snippets/\w+/\w+\.txt):([\w-]+)", part)
    printed = "\n".join(sections(ROOT / path)[name].text for path, name in shown)
    assert all(squeezed(words) in squeezed(printed) for words in row.told), printed


@pytest.mark.proves("Those of the errors pages are above; these are explained on the pages about saving:")
@pytest.mark.parametrize("row", SAYS, ids=lambda row: row.told[0])
def test_each_message_leads_to_the_section_that_explains_it(row, built):
    (link,) = row.links
    address, _, anchor = link.partition("#")
    page = BeautifulSoup((built / "errors" / address).with_suffix(".html").read_text("utf-8"), "html.parser")
    below = page.find(id=anchor).find_next_siblings()
    part = itertools.takewhile(lambda element: element.name not in ("h1", "h2"), below)
    told = squeezed(" ".join(element.get_text() for element in part))
    assert all(words.replace("`", "") in told.replace("`", "") for words in row.told), told


@pytest.mark.parametrize("page", sorted({row.links[0].partition("#")[0] for row in SAYS}))
def test_a_page_to_which_a_message_leads_points_back(page):
    assert "](../errors/index.md#saving)" in (CHAPTER / page).read_text("utf-8")


def is_python(text: str) -> bool:
    for whole in (text, f"{text}: ..."):
        with contextlib.suppress(SyntaxError):
            nodes = ast.walk(ast.parse(whole.replace("…", "...")))
            return not any(isinstance(node, ast.Is | ast.AnnAssign) for node in nodes)  # "PyFunc is stateful" says so
    return False


def quoted(page: Path) -> set[str]:
    """The messages that the prose of a page of the built site quotes: three words of code or more, no Python."""
    codes = BeautifulSoup(page.read_text("utf-8"), "html.parser").select("article code")
    texts = (squeezed(code.get_text().replace("`", "")) for code in codes if code.find_parent("pre") is None)
    return {text for text in texts if text.count(" ") > 1 and not is_python(text)}


COMMANDS = {"pip install ai-edge-litert", "pip install tf2onnx onnx onnxruntime"}


@pytest.mark.parametrize("page", sorted(path.stem for path in (ROOT / "docs" / "saving").glob("*.md")))
def test_each_message_that_a_page_on_saving_quotes_is_in_the_chapter(page, built):
    """As it is quoted there, or the part of it that doesn't name the page's own class."""
    chapter = {text for name in ("index", *PAGES) for text in quoted(built / "errors" / f"{name}.html")}
    lacking = quoted(built / "saving" / f"{page}.html") - COMMANDS
    assert not {text for text in lacking if not any(text in known or known in text for known in chapter)}


def slug(heading: str) -> str:
    """The anchor of a heading: pinned on it, or made of its words."""
    pinned = re.search(r"\{ #([a-z-]+) \}$", heading)
    return pinned[1] if pinned else toc.slugify(re.sub(r"[`*]", "", heading), "-")


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


# --- where a long message has its cause -------------------------------------------------------------------------------


registered = keras.saving.register_keras_serializable(package="tests_errors_index")
ONES = np.ones((2, 3), dtype="float32")


class Fails(keras.layers.Layer):
    def call(self, inputs):
        raise ValueError("the cause")


class Outer(keras.layers.Layer):
    """A layer that has a layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


class FailsToBuild(keras.layers.Layer):
    def build(self, input_shape):
        raise ValueError("the cause")

    def call(self, inputs):
        return inputs


class Model(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def above_the_arguments(message: str) -> str:
    """The paragraph above the first that begins with `Arguments received by`."""
    paragraphs = message.split("\n\n")
    return paragraphs[next(n for n, text in enumerate(paragraphs) if text.startswith("Arguments received by")) - 1]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


@pytest.mark.proves(
    "`Exception encountered when calling`: the cause is the paragraph above the first `Arguments received by`."
)
@pytest.mark.parametrize(
    "run",
    [
        lambda: Fails()(ONES),
        lambda: Fails()(keras.Input((3,))),
        lambda: Outer(Fails())(ONES),
        lambda: Outer(Fails())(keras.Input((3,))),
        lambda: Outer(Outer(Fails()))(keras.Input((3,))),
        lambda: keras.Sequential([Outer(Fails())])(ONES),
        lambda: Outer(FailsToBuild())(ONES),
        lambda: Outer(FailsToBuild())(keras.Input((3,))),
        lambda: Model(Outer(Fails())).predict(ONES, verbose=0),
    ],
    ids=[
        "data",
        "symbolic",
        "nested",
        "nested, symbolic",
        "twice",
        "Sequential",
        "build",
        "build, symbolic",
        "predict",
    ],
)
@pytest.mark.filterwarnings("ignore:Layer .* looks like it has unbuilt state", "ignore:`build..` was called on layer")
def test_the_cause_of_a_layers_message(run):
    with pytest.raises(ValueError, match=r"^Exception encountered when calling") as caught:
        run()
    assert plain(above_the_arguments(str(caught.value))) == "the cause"


@pytest.mark.proves("A `KeyError` is one line, with `\\n\\n` between its paragraphs.")
@pytest.mark.parametrize("run", ["call", "fit"])
@pytest.mark.filterwarnings("ignore:Layer .* looks like it has unbuilt state", "ignore:`build..` was called on layer")
def test_the_cause_of_a_key_error(run):
    class Prices(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs["price"])

    model = Prices()
    model.compile(loss="mse")
    with pytest.raises(KeyError) as caught:
        model({"area": ONES}) if run == "call" else model.fit({"area": ONES}, ONES[:, :1], verbose=0)
    (printed,) = str(caught.value).splitlines()
    *_, cause, last = printed.split(r"\n\n")
    assert "price" in cause
    assert last.startswith("Arguments received by")


@pytest.mark.proves("If example code stands there, the cause is above the code.")
def test_the_cause_of_a_message_about_a_kerastensor():
    kept = keras.Input((3,))

    class Keeps(keras.layers.Layer):
        def call(self, inputs):
            return tf.abs(kept) + inputs

    with pytest.raises(ValueError, match=r"^Exception encountered when calling") as caught:
        Keeps()(ONES)
    assert plain(above_the_arguments(str(caught.value))).startswith("x = MyLayer()(x)")
    above, _, _ = plain(str(caught.value)).partition("```")
    assert above.split("\n\n")[1].startswith("A KerasTensor cannot be used as input to a TensorFlow function.")


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


@registered
class Serialized(keras.layers.Layer):
    """A layer with a layer as its argument, which its config has as a config."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


class Unknown(keras.layers.Layer):
    def call(self, inputs):
        return inputs


@registered
class Restores(Serialized):
    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


def sequential(layer: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layer])


@pytest.mark.proves(
    "`could not be deserialized properly`: the message quotes whole configs.",
    "Read the beginning of the last paragraph.",
    "If that is `Arguments received by`, read the paragraph above it.",
)
@pytest.mark.parametrize(
    ("make", "cause", "above"),
    [
        (lambda: sequential(Unknown()), r"Exception encountered: Could not locate class 'Unknown'", False),
        (lambda: sequential(Restores(Unknown())), r"Exception encountered: Could not locate class 'Unknown'", False),
        (lambda: sequential(RefusingLayer()), r"Exception encountered: \S*RefusingLayer\.__init__\(\) got", False),
        (RefusingModel, r"Error encountered during deserialization: \S*RefusingModel\.__init__\(\) got", False),
        (lambda: sequential(Serialized(layers.Dense(2))), r"'TrackedDict' object is not callable$", True),
    ],
    ids=["unknown", "unknown inside", "refuses", "model refuses", "layer argument"],
)
def test_the_cause_of_a_message_of_deserializing(make, cause, above, tmp_path):
    model = make()
    model(np.ones((1, 3)))
    model.save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match=r"could not be deserialized properly\.(?s:.*)config=") as caught:
        keras.saving.load_model(tmp_path / "model.keras")
    message = str(caught.value)
    last = message.split("\n\n")[-1]
    assert last.startswith("Arguments received by") == above
    assert re.match(cause, plain(above_the_arguments(message)) if above else last)


class OwnGRU(keras.layers.GRU):
    pass


@pytest.mark.proves(
    "`load_model`, `copy.deepcopy` or `Bidirectional`; the message may begin with `could not be deserialized properly`"
)
def test_the_class_is_looked_up_by_a_copy_and_by_bidirectional_too():
    with pytest.raises(TypeError, match=r"^<class '.*Sequential'> could not be deserialized properly(?s:.*)OwnGRU"):
        copy.deepcopy(keras.Sequential([keras.Input((4, 3)), OwnGRU(2)]))
    with pytest.raises(TypeError, match=r"^Could not locate class 'OwnGRU'\."):
        keras.layers.Bidirectional(OwnGRU(2))


class SizedByAxis1(keras.layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[1], 8))

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel)


def of_steps() -> keras.Model:
    inputs = keras.Input((7, 4))
    return keras.Model(inputs, SizedByAxis1()(inputs))


@pytest.mark.proves(
    "`Graph execution error`: below each `Detected at node` stand lines that begin with `File`, or `<stack traces "
    "unavailable>`.",
    "The cause is the first line after the last of these blocks.",
)
def test_the_cause_stands_below_the_last_block():
    @tf.function
    def loss(y, y_pred):
        if keras.ops.max(y) > 1.0:
            return keras.ops.mean((y - y_pred) ** 2)
        return keras.ops.mean(y_pred)

    model = sequential(layers.Dense(3))
    for jit in False, True:  # traced without XLA, it is refused with it
        model.compile(loss=loss, jit_compile=jit)
        if jit:
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"^Graph execution error") as caught:
                model.fit(ONES, ONES, verbose=0)
        else:
            model.fit(ONES, ONES, verbose=0)
    blocks = [block.strip() for block in str(caught.value).split("Detected at node")[1:]]
    assert len(blocks) > 1
    _, *below = blocks[-1].splitlines()
    left_out = ("  File ", "File ", "<stack traces unavailable>")
    assert next(line for line in below if line and not line.startswith(left_out)).startswith("Detected unsupported")
    for block in blocks[:-1]:
        _, *below = block.splitlines()
        assert all(line.startswith(left_out) for line in below if line)


@pytest.mark.proves(
    "`Graph execution error`: below each `Detected at node` stand lines that begin with `File`, or `<stack traces "
    "unavailable>`.",
    "The cause is the first line after the last of these blocks.",
)
@pytest.mark.parametrize(
    ("make", "method", "options", "x", "cause"),
    [
        (of_steps, "fit", {}, np.ones((2, 7, 4)), "Matrix size-incompatible"),
        (of_steps, "evaluate", {}, np.ones((2, 7, 4)), "Matrix size-incompatible"),
        (of_steps, "fit", {"jit_compile": True}, np.ones((2, 7, 4)), "Matrix size-incompatible"),
        (lambda: keras.Sequential([layers.Embedding(3, 8)]), "fit", {}, np.full((2, 7), 5), "indices"),
    ],
    ids=["fit", "evaluate", "by XLA", "embedding"],
)
def test_the_cause_of_a_graph_execution_error(make, method, options, x, cause):
    model = make()
    model.compile(loss="mse", **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"^Graph execution error:\n\nDetected at node") as caught:
        getattr(model, method)(x, np.ones((2, 7, 8)), verbose=0)
    _, _, *below = [line.strip() for line in str(caught.value).splitlines() if line.strip()]
    left_out = [line for line in below if line.startswith("File ") or line == "<stack traces unavailable>"]
    assert left_out
    assert next(line for line in below if line not in left_out).startswith(cause)


# --- messages without an entry ----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`'str' object has no attribute 'base_dtype'` comes from a function such as `ops.stack([self.a, self.b])`, "
    "`ops.sum` or `tf.stack`, called on a list of weights.",
    "Pass their values: `ops.stack([self.a.value, self.b.value])`.",
)
@pytest.mark.parametrize("stack", [keras.ops.stack, keras.ops.array, keras.ops.sum, tf.stack])
def test_a_list_of_weights_is_not_stacked(stack):
    class Sums(keras.layers.Layer):
        def __init__(self, by_value):
            super().__init__()
            self.a, self.b = (self.add_weight(initializer="ones") for _ in range(2))
            self.by_value = by_value

        def call(self, inputs):
            weights = [self.a.value, self.b.value] if self.by_value else [self.a, self.b]
            return inputs * keras.ops.sum(stack(weights))

    for inputs in ONES, keras.Input((3,)):
        with pytest.raises(AttributeError, match="'str' object has no attribute 'base_dtype'"):
            Sums(by_value=False)(inputs)
    np.testing.assert_array_equal(Sums(by_value=True)(ONES), 2 * ONES)
    model = sequential(Sums(by_value=True))
    model.compile(loss="mse")
    model.fit(ONES, ONES, verbose=0)
    assert len(model.trainable_weights) == 2


@pytest.mark.proves("`save` of a model with a required argument, or of a layer with one such as `np.int64(3)`")
@pytest.mark.parametrize(("value", "refused"), [(np.int64(3), True), (3, False)])
def test_a_layer_is_refused_too(value, refused, tmp_path):
    class Takes(keras.layers.Layer):
        def __init__(self, value, **kwargs):
            super().__init__(**kwargs)

        def call(self, inputs):
            return inputs

    model = sequential(Takes(value))
    words = r"was created by passing\s+non-serializable argument values in `__init__\(\)`"
    with pytest.raises(NotImplementedError, match=words) if refused else contextlib.nullcontext():
        model.save(tmp_path / "model.keras")


# --- one message, several causes --------------------------------------------------------------------------------------


class Scores(keras.Model):
    def __init__(self, second=None):
        super().__init__()
        self.hidden, self.second = layers.Dense(4), second or layers.Dense(2)

    def call(self, inputs):
        return self.second(self.hidden(inputs))


@pytest.mark.proves(
    "`load_model` or `load_weights`: the model was saved with its default arguments, is called on another input width, "
    "or has a replaced layer"
)
@pytest.mark.parametrize(
    ("saved", "loaded", "width"),
    [
        (Scores, Scores, 5),
        (lambda: Scores(layers.ReLU()), Scores, 3),
    ],
    ids=["another width", "a replaced layer"],
)
def test_other_causes_of_missing_variables(saved, loaded, width, tmp_path):
    assert "received 0 variables" in ENTRIES["saving.md#default-arguments-saved"].printed  # by default arguments
    model = saved()
    model(ONES)
    model.save_weights(tmp_path / "model.weights.h5")
    model = loaded()
    model(np.ones((2, width)))
    with pytest.raises(ValueError, match=r"expected 2 variables, but received 0 variables during loading"):
        model.load_weights(tmp_path / "model.weights.h5")
