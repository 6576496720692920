"""`docs/saving/state_and_files.md`: every claim that the page makes, proved.

What is saved here is loaded in a process that has seen none of the objects.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.saving.state_and_files import Bins, Codes, Penalized, TargetMean
from tests import contract
from tests.shown import shown
from tests.site import SITE

MODULE = "snippets.saving.state_and_files"
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] + 1
WORDS = np.array(["tea", "tea", "milk", 'süß\n, \u2028and \\ "x"', ""])
ASKED = tf.constant([["tea"], ["milk"], [WORDS[3]], [""], ["other"]])
register = keras.saving.register_keras_serializable("state_test")
load = keras.saving.load_model


def learnt_means(*, scale: float = 1.0, **kwargs: Any) -> TargetMean:
    layer = TargetMean(unseen=0.5, **kwargs)
    layer.adapt(WORDS, scale * np.arange(2.0, 7.0).astype("float32"))
    return layer


MEANS = [2.5, 4.0, 5.0, 6.0, 0.5]


def learnt_bins(**kwargs: Any) -> Bins:
    layer = Bins(**kwargs)
    layer.adapt(X, bins=4)
    return layer


def of(*its: keras.layers.Layer, shape: tuple = (4,), dtype: str = "float32") -> keras.Sequential:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *its])


def of_words(*its: keras.layers.Layer) -> keras.Sequential:
    return of(*its, shape=(1,), dtype="string")


LAYERS = {"Bins": contract.Layer(learnt_bins, inputs=[(4,)])}
STRINGS = {
    "TargetMean": contract.Other(
        learnt_means, ASKED, leave_out={"true_gradients": "its inputs are strings, which have no gradient"}
    )
}
MODELS = {
    "Codes": contract.Model(
        lambda **kw: Codes(**kw),
        lambda: (np.arange(32) % 5, np.eye(5)[np.arange(32) % 5][:, :2]),
        {"optimizer": "adam", "loss": "mse", "run_eagerly": True},
        epochs=2,
    ),
    "Penalized": contract.Model(
        lambda **kw: Penalized(**kw),
        lambda: (X, Y),
        {"optimizer": "sgd", "loss": "mse", "penalty": 0.1, "run_eagerly": True},
        epochs=2,
    ),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", STRINGS.values(), ids=STRINGS)
def test_a_layer_of_strings_passes_the_checkup(case):
    contract.passes_the_checkup(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_models(case, check):
    check(case)


def loaded_anew(path: Path, x: Any) -> Any:
    """Runs in the new process, which gets the classes of this module."""
    return keras.tree.map_structure(np.asarray, load(path)(x))


# --- the program ------------------------------------------------------------------------------------------------------


@register
class Holder(keras.layers.Layer):
    """`TargetMean` in an attribute, a list, a tuple in a dict, and under a name that begins with an underscore."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self._two = TargetMean(0.5), TargetMean(0.5)
        self.many = [TargetMean(0.5), {"a/b": (TargetMean(0.5),)}]

    def every(self) -> list[TargetMean]:
        return [self.one, self._two, self.many[0], self.many[1]["a/b"][0]]

    def build(self, input_shape):
        pass

    def call(self, words):
        return ops.concatenate([layer(words) for layer in self.every()], axis=-1)


@register
class Words(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.holder, self.single = Holder(), TargetMean(0.5)

    def call(self, words):
        return [self.holder(words), self.single(words)]


def filled(holder: Holder) -> Holder:
    for place, layer in enumerate(holder.every()):
        layer.adapt(WORDS, place + np.arange(2.0, 7.0).astype("float32"))
    return holder


@pytest.mark.proves(
    "What a layer learns beside its weights, such as words or bin edges, comes back only if the layer says how.",
    "`TargetMean` replaces a word by the mean target of its rows. `adapt` fills a table, `save_assets` writes it "
    "into the `.keras` file, and `load_assets` reads it:",
    "A new process prints the same. The layer may also stand in another layer, in a list or a dict of layers, or in"
    " `TimeDistributed`.",
)
def test_the_program_in_a_new_process(process, tmp_path):
    page = shown(MODULE, "program")
    page["model"].save(tmp_path / "prices.keras")
    found = process.call(loaded_anew, tmp_path / "prices.keras", page["asked"])
    assert page.printed == str(found.ravel()) == "[4.  1.5 0.5 2.3]"

    inputs = keras.Input((1,), dtype="string")
    twice = learnt_means(scale=3.0)
    subclassed = Words()
    subclassed(ASKED)
    filled(subclassed.holder), subclassed.single.adapt(np.array(["tea"]), np.array([9.0]))
    models = {
        "sequential": (of_words(learnt_means(), layers.Dense(2)), ASKED),
        "two of one name": (
            keras.Model(
                inputs,
                [of_words(learnt_means(name="its"))(inputs), of_words(learnt_means(scale=2.0, name="its"))(inputs)],
            ),
            ASKED,
        ),
        "used twice": (keras.Model(inputs, [twice(inputs), twice(inputs)]), ASKED),
        "within": (of_words(filled(Holder())), ASKED),
        "subclassed": (subclassed, ASKED),
        "distributed": (of(layers.TimeDistributed(learnt_means()), shape=(5, 1), dtype="string"), ASKED[None]),
        "half": (of_words(learnt_means(dtype="mixed_float16")), ASKED),
        "of another rank": (of(learnt_means(), shape=(), dtype="string"), ASKED[:, 0]),
        "before adapt": (of_words(TargetMean(0.5)), ASKED),
    }
    for name, (model, _) in models.items():
        model.save(tmp_path / f"{name}.keras")
    after = process.call(all_anew, {name: (tmp_path / f"{name}.keras", x) for name, (_, x) in models.items()})
    for name, (model, x) in models.items():
        contract.assert_same(after[name], keras.tree.map_structure(np.asarray, model(x)))
    np.testing.assert_allclose(models["used twice"][0](ASKED)[0][:4, 0], 3 * np.array(MEANS[:4]))
    np.testing.assert_allclose(after["half"].ravel(), MEANS)
    assert after["half"].dtype == "float16"
    with zipfile.ZipFile(tmp_path / "used twice.keras") as file:
        assert sum(name.startswith("assets") for name in file.namelist()) == 1


def all_anew(which: dict[str, tuple[Path, Any]]) -> dict[str, Any]:
    return {name: loaded_anew(*its) for name, its in which.items()}


def test_target_mean(tmp_path):
    layer = learnt_means()
    np.testing.assert_allclose(layer(ASKED).numpy().ravel(), MEANS)
    layer.adapt(np.array(["milk"]), np.array([7.0]))
    np.testing.assert_allclose(layer(ASKED).numpy().ravel(), [0.5, 7.0, 0.5, 0.5, 0.5])
    assert TargetMean().unseen == 0.0
    for listed in (list, tf.constant):
        layer.adapt(listed(["tea", "tea", "milk"]), listed([1.0, 2.0, 9.0]))
        np.testing.assert_allclose(layer(ASKED).numpy().ravel(), [1.5, 9.0, 0.5, 0.5, 0.5])
    learnt_means().save_assets(tmp_path)
    layer.adapt(np.array(["other", "tea"]), np.array([7.0, 8.0]))
    layer.load_assets(tmp_path)  # what it had learnt is gone
    np.testing.assert_allclose(layer(ASKED).numpy().ravel(), MEANS)
    model = of_words(learnt_means(), layers.Dense(1))
    model.compile("sgd", "mse")
    model.fit(ASKED, np.ones((5, 1)), verbose=0)
    assert not model.jit_compile


# --- where ------------------------------------------------------------------------------------------------------------


class Learns(keras.layers.Layer):
    """Adds a number that it has learnt: 3. Its constructor has 0."""

    def __init__(self, value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.begin(value)

    def begin(self, value):
        pass

    def build(self, input_shape):
        pass

    def call(self, inputs):
        return inputs + ops.cast(self.number(), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config()


KINDS: dict[str, tuple[str, type[Learns]]] = {}
"""By name: the row of the page's table, and its layer."""


def in_row(row: str):
    def keep(cls: type[Learns]) -> type[Learns]:
        KINDS[cls.__name__] = row, cls
        return register(cls)

    return keep


ASSET, SET_LATER = "An asset", "A list, dict, array or number set later"


@in_row("An argument that `get_config` returns")
class Argument(Learns):
    def begin(self, value):
        self.value = value

    def learn(self):
        self.value = 3.0

    def number(self):
        return self.value

    def get_config(self):
        return {**super().get_config(), "value": self.value}


@in_row("A weight: `add_weight(…, trainable=False)`")
class Weight(Learns):
    def build(self, input_shape):
        self.weight = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def learn(self):
        self.weight.assign(3.0)

    def number(self):
        return self.weight


class Own(Learns):
    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["value"] = self.value

    def load_own_variables(self, store):
        super().load_own_variables({name: store[name] for name in set(store.keys()) - {"value"}})
        self.set(store["value"])

    def number(self):
        return ops.sum(self.value)


@in_row("An own variable, in a `tf.Variable`")
class OwnVariable(Own):
    def begin(self, value):
        self.value = tf.Variable([], shape=[None], dtype="float32")

    def set(self, value):
        self.value.assign(value)

    def learn(self):
        self.set([1.0, 2.0])


@in_row("An own variable, in a NumPy array")
class OwnArray(Own):
    def begin(self, value):
        self.set(np.zeros(2, "float32"))

    def set(self, value):
        self.value = value

    def learn(self):
        self.set(np.array([1.0, 1.0, 1.0], "float32"))


@in_row(ASSET)
class Asset(Learns):
    def begin(self, value):
        self.value = 0.0

    def learn(self):
        self.value = 3.0

    def number(self):
        return self.value

    def save_assets(self, dir_path):
        Path(dir_path, "value.json").write_text(json.dumps(self.value))

    def load_assets(self, dir_path):
        self.value = json.loads(Path(dir_path, "value.json").read_text())


@in_row(ASSET)
class AssetInATable(TargetMean):
    def call(self, inputs):
        return inputs + ops.cast(super().call(tf.fill(tf.shape(inputs), "tea")), inputs.dtype)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def learn(self):
        self.adapt(np.array(["tea"]), np.array([3.0]))


class Attribute(Learns):
    def begin(self, value):
        self.value = self.of(0.0)

    def learn(self):
        self.value = self.of(3.0)

    def number(self):
        return self.value


@in_row(SET_LATER)
class Number(Attribute):
    of = float


@in_row(SET_LATER)
class Array(Attribute):
    of = staticmethod(np.array)


@in_row(SET_LATER)
class AList(Attribute):
    def of(self, value):
        return [value]

    def number(self):
        return self.value[0]


@in_row(SET_LATER)
class Appended(AList):
    def learn(self):
        self.value.clear()
        self.value.append(3.0)


@in_row(SET_LATER)
class ADict(Attribute):
    def of(self, value):
        return {"of": value}

    def number(self):
        return self.value["of"]


@in_row("A `tf.Variable`")
class Variable(Learns):
    def begin(self, value):
        self.value = tf.Variable(0.0)

    def learn(self):
        self.value.assign(3.0)

    def number(self):
        return self.value


class Table(Learns):
    def number(self):
        return ops.reshape(self.table.lookup(tf.constant("tea")), ())


@in_row("A `StaticHashTable` set later")
class Static(Table):
    def begin(self, value):
        self.set(0.0)

    def set(self, value):
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["tea"], [value]), -1.0)

    def learn(self):
        self.set(3.0)


@in_row("A `MutableHashTable`")
class Mutable(Table):
    def begin(self, value):
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, 0.0)

    def learn(self):
        self.table.insert("tea", 3.0)


WAYS = ["Model", "Weights", "Checkpoint", "Clone", "Export"]
ONES = np.ones((1, 1), "float32")


def save_each(folder: Path) -> None:
    for name, (_, cls) in KINDS.items():
        model = of(layer := cls(), shape=(1,))
        model(ONES)
        layer.learn()
        assert float(model(ONES)[0, 0]) == 4.0, name
        model.save(folder / f"{name}.keras")
        model.save_weights(folder / f"{name}.weights.h5")
        tf.train.Checkpoint(model=model).write(folder / name / "checkpoint")
        model.export(folder / name / "exported", verbose=False)


def come_back(folder: Path) -> dict[str, dict[str, float]]:
    """Runs in the new process: what each layer has learnt, as the new one has it, by the way it was saved."""

    def number(model: Any) -> float:
        return float(np.asarray(model(ONES))[0, 0]) - 1.0

    found = {}
    for name, (_, cls) in KINDS.items():
        by_weights, by_checkpoint = of(cls(), shape=(1,)), of(cls(), shape=(1,))
        by_weights.load_weights(folder / f"{name}.weights.h5")
        tf.train.Checkpoint(model=by_checkpoint).read(str(folder / name / "checkpoint")).expect_partial()
        exported = tf.saved_model.load(str(folder / name / "exported"))
        loaded = load(folder / f"{name}.keras")
        its = [loaded, by_weights, by_checkpoint, None, exported.serve]
        found[name] = {way: number(model) for way, model in zip(WAYS, its, strict=True) if model}
        learnt = of(layer := cls(), shape=(1,))
        layer.learn()
        found[name]["Clone"] = number(keras.models.clone_model(learnt))
    return found


def table(anchor: str) -> dict[str, list[str]]:
    """The rows of the first table of a section of the page, by the first cell."""
    page = (SITE.docs / "saving/state_and_files.md").read_text("utf-8")
    its = re.search(r"\n((\|.*\n)+)", page.split(f"{{ #{anchor} }}")[1])[1].splitlines()
    rows = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in its if "---" not in row]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.proves(
    "an attribute is lost silently.",
    "Each layer below learnt something, and was saved. Yes means that it came back. No means that the new layer has"
    " what its constructor gave it, silently:",
    "An argument that `get_config` returns | yes | no | no | yes | yes",
    "A weight: `add_weight(…, trainable=False)` | yes | yes | yes | no | yes",
    "An own variable, in a `tf.Variable` | yes | yes | yes | no | yes",
    "An own variable, in a NumPy array | yes | yes | no | no | yes",
    "An asset | yes | no | no | no | yes",
    "A list, dict, array or number set later | no | no | no | no | yes",
    "A `tf.Variable` | no | no | yes | no | yes",
    "A `StaticHashTable` set later | no | no | no | no | yes",
    "A `MutableHashTable` | no | no | yes | no | yes",
    "Put text into an asset, numbers into a weight or an own variable, and arguments into the config;",
)
def test_what_comes_back_of_each(process, tmp_path):
    save_each(tmp_path)
    found = process.call(come_back, tmp_path)
    rows = table("where")
    assert next(iter(rows)) == "Kept in"
    assert rows.pop("Kept in") == WAYS
    assert set(rows) == {row for row, _ in KINDS.values()}
    for name, (row, _) in KINDS.items():
        says = {"yes": 3.0, "**no**": 0.0}
        expected = {way: says[cell] for way, cell in zip(WAYS, rows[row], strict=True)}
        if name == "AssetInATable":  # its table is a `MutableHashTable`
            expected["Checkpoint"] = 3.0
        assert found[name] == expected, name


# --- what writes which file -------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The columns are a `.keras` file, a `.weights.h5` file, `tf.train.Checkpoint`, `clone_model` and `export`. "
    "`BackupAndRestore`, and `ModelCheckpoint` with `save_weights_only=True`, write a `.weights.h5`. An `.h5` file "
    "holds arguments and weights alone. `pickle` and `copy.deepcopy` bring back what `.keras` does.",
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_other_files(tmp_path):
    means, edges = learnt_means(), learnt_bins()
    argument, weight = Argument(), Weight()
    models = [of_words(means), of(edges), of(argument), of(weight)]
    argument.learn(), weight.learn()
    xs = [ASKED, X, X, X]
    before = [np.asarray(model(x)) for model, x in zip(models, xs, strict=True)]
    came = {}
    for name, model, x, expected in zip(["means", "edges", "argument", "weight"], models, xs, before, strict=True):
        model.save(tmp_path / "model.h5")
        ways = [load(tmp_path / "model.h5"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
        came[name] = [np.array_equal(way(x), expected) for way in ways]
    assert came["means"] == came["edges"] == [False, True, True]
    assert came["argument"] == came["weight"] == [True, True, True]
    later, mutable = of(Number(), shape=(1,)), of(Mutable(), shape=(1,))
    later.layers[0].learn(), mutable.layers[0].learn()
    for model in (later, mutable):
        assert float(model(ONES)[0, 0]) == 4.0
        assert float(pickle.loads(pickle.dumps(model))(ONES)[0, 0]) == 1.0
        assert float(copy.deepcopy(model)(ONES)[0, 0]) == 1.0


class Stops(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise InterruptedError


def test_the_callbacks_write_weights(tmp_path):
    def both() -> tuple[keras.Model, Asset, OwnArray]:
        model = of(asset := Asset(), own := OwnArray(), layers.Dense(1), shape=(1,))
        model.compile("sgd", "mse", run_eagerly=True)
        return model, asset, own

    kept = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    writes = keras.callbacks.ModelCheckpoint(tmp_path / "a.weights.h5", save_weights_only=True)
    model, asset, own = both()
    asset.learn(), own.learn()
    with pytest.raises(InterruptedError):
        model.fit(ONES, ONES, epochs=2, callbacks=[kept, writes, Stops()], verbose=0)
    model, asset, own = both()
    model.fit(ONES, ONES, epochs=1, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")], verbose=0)
    assert (asset.value, own.value.tolist()) == (0.0, [1.0, 1.0, 1.0])
    model, asset, own = both()
    model.load_weights(tmp_path / "a.weights.h5")
    assert (asset.value, own.value.tolist()) == (0.0, [1.0, 1.0, 1.0])


@pytest.mark.proves(
    "A weight is the safest place for numbers. If their count isn't known before `adapt`, make the largest count an"
    " argument, and fill the rest of the weight with a value that does nothing.",
)
def test_a_weight_with_a_largest_count(process, tmp_path):
    cells = {row: cells for row, cells in table("where").items() if row != "Kept in"}
    silent = {row: cells.count("**no**") for row, cells in cells.items()}
    weight = "A weight: `add_weight(…, trainable=False)`"
    assert silent[weight] == min(silent.values())
    model = of(layer := PaddedBins(9))
    model.predict(X, verbose=0)
    layer.adapt(X)
    expected = np.asarray(learnt_bins()(X))
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    model.save(tmp_path / "padded.keras")
    np.testing.assert_array_equal(process.call(loaded_anew, tmp_path / "padded.keras", X), expected)
    new = of(PaddedBins(9))
    new.set_weights(model.get_weights())
    np.testing.assert_array_equal(new(X), expected)


@register
class PaddedBins(Bins):
    """At most so many edges: the others are infinite, and no input is above them."""

    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def build(self, input_shape):
        self.edges = self.add_weight(
            shape=(self.most,), initializer=keras.initializers.Constant(np.inf), trainable=False
        )

    def adapt(self, data):
        quantiles = np.quantile(data, [0.25, 0.5, 0.75])
        self.edges.assign(np.pad(quantiles, (0, self.most - 3), constant_values=np.inf))

    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)


# --- assets -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Assets are in a zipped `.keras` file. In these, they are lost silently:",
    "`zipped=False` loses the assets if the path of the folder is relative. With an absolute path, it keeps them. "
    "Beside a `.weights.h5`, call `layer.save_assets` and `layer.load_assets` yourself.",
)
def test_where_assets_are(tmp_path, monkeypatch):
    lines = shown(MODULE, "program", "lost_fails").printed.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["weights", "zipped=False", "clone_model"]
    assert {line.split(":")[1].strip() for line in lines[1:]} == {"[2.3 2.3 2.3 2.3]"}
    model = of_words(layer := learnt_means())
    monkeypatch.chdir(tmp_path)
    for path, kept in (("folder", False), ("./in/folder", False), (tmp_path / "absolute", True)):
        model.save(path, zipped=False)
        np.testing.assert_allclose(load(path)(ASKED).numpy().ravel(), MEANS if kept else 5 * [0.5])
        assert bool([*Path(path).rglob("means.json")]) == kept
    model.save_weights(tmp_path / "m.weights.h5")
    layer.save_assets(tmp_path)
    other = of_words(new := TargetMean(0.5))
    other.load_weights(tmp_path / "m.weights.h5")
    new.load_assets(tmp_path)
    np.testing.assert_allclose(other(ASKED).numpy().ravel(), MEANS)


CALLS: list[tuple[Any, ...]] = []


class Traces:
    """What Keras calls of a class that has each method of this page."""

    def save_assets(self, dir_path):
        CALLS.append(("save_assets", type(self).__name__))
        Path(dir_path, "file.txt").write_text("of this object")

    def load_assets(self, dir_path):
        CALLS.append(("load_assets", type(self).__name__))

    def save_own_variables(self, store):
        CALLS.append(("save_own_variables", type(self).__name__))
        store["number"] = 1.0

    def load_own_variables(self, store):
        CALLS.append(("load_own_variables", type(self).__name__))


BASES = {
    "loss": keras.losses.MeanSquaredError,
    "metric": keras.metrics.MeanAbsoluteError,
    "optimizer": keras.optimizers.SGD,
    "regularizer": keras.regularizers.L2,
    "constraint": keras.constraints.NonNeg,
    "initializer": keras.initializers.RandomNormal,
    "schedule": keras.optimizers.schedules.ExponentialDecay,
}
TRACED = {name: register(type(f"Traced{name}", (Traces, base), {})) for name, base in BASES.items()}


@register
class TracedModel(Traces, keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(
            1,
            kernel_regularizer=TRACED["regularizer"](),
            kernel_constraint=TRACED["constraint"](),
            kernel_initializer=TRACED["initializer"](),
        )

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.proves(
    "Models, losses and optimizers have assets too, and so has a metric in an attribute of a layer or model. Metrics "
    "given to `compile`, regularizers, constraints, initializers and schedules don't: their methods aren't called.",
)
@pytest.mark.parametrize("trained", [False, True])
def test_what_has_assets(trained, tmp_path):
    model = TracedModel()
    schedule = TRACED["schedule"](0.1, 2, 0.5)
    model.compile(TRACED["optimizer"](schedule), TRACED["loss"](), metrics=[TRACED["metric"]()], run_eagerly=True)
    model.fit(X, Y, verbose=0) if trained else model(X)
    CALLS.clear()
    model.save(tmp_path / "model.keras")
    load(tmp_path / "model.keras")
    called = {name: {one for one, its in CALLS if its == name} for _, name in CALLS}
    every = {"save_assets", "load_assets", "save_own_variables", "load_own_variables"}
    assert called == dict.fromkeys(["TracedModel", "Tracedloss", "Tracedoptimizer"], every)
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert sum(name.endswith("file.txt") for name in file.namelist()) == 3


@register
class HoldsAMetric(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.of_weights = TRACED["metric"](), TRACED["regularizer"]()

    def call(self, inputs):
        return inputs


@register
class HoldsMetrics(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.many = HoldsAMetric(), [TRACED["metric"]()]

    def call(self, inputs):
        return self.inner(inputs)


def test_a_metric_in_an_attribute_has_assets(tmp_path):
    model = HoldsMetrics()
    for its, count in ((of(HoldsAMetric()), 1), (model, 2)):
        its(X)
        CALLS.clear()
        its.save(tmp_path / "model.keras")
        load(tmp_path / "model.keras")
        assert {name for _, name in CALLS} == {"Tracedmetric"}
        assert [method for method, _ in CALLS].count("load_assets") == count


@register
class Files(Learns):
    """Writes a folder with an empty folder in it, and says what it finds."""

    def number(self):
        return 0.0

    def save_assets(self, dir_path):
        Path(dir_path, "one", "emp ty").mkdir(parents=True)
        Path(dir_path, "one", "é").mkdir()
        np.save(Path(dir_path, "one", "é", "rows.npy"), np.arange(3))

    def load_assets(self, dir_path):
        self.rows = np.load(Path(dir_path, "one", "é", "rows.npy"))
        self.found = sorted(path.relative_to(dir_path).as_posix() for path in Path(dir_path).rglob("*"))


@register
class Outer(Files):
    """Looks at the layers in it when its own assets are loaded."""

    def begin(self, value):
        self.inner = Asset()
        self.dense = layers.Dense(1, kernel_initializer="zeros")

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(), initializer="zeros")
        self.dense.build(input_shape)

    def load_assets(self, dir_path):
        self.seen = float(self.weight), float(ops.max(self.dense.kernel)), self.inner.value


@register
class Clashes(Outer):
    def save_assets(self, dir_path):
        Path(dir_path, "inner").write_text("a file where the folder of a layer is")


@pytest.mark.proves(
    "Each object has a folder of its own, named like its place in a weight file. Two layers may use one file name. "
    "A file with the name of an attribute that holds a layer with assets makes `save` raise.",
    "A folder inside it is kept, unless it is empty.",
    "`load_assets` runs after `build` and after the layer's own weights are loaded, but before those of the layers "
    "in it: there, they still have initial numbers.",
)
def test_folders_and_order(tmp_path):
    model = of(Files(), outer := Outer(), shape=(1,))
    outer.weight.assign(5.0), outer.dense.kernel.assign([[7.0]]), outer.inner.learn()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        names = [name for name in file.namelist() if name.startswith("assets/")]
    assert {name.removeprefix("assets/layers/") for name in names} == {
        "files/one/é/rows.npy",
        "outer/one/é/rows.npy",
        "outer/inner/value.json",
    }
    files, outer = load(tmp_path / "model.keras").layers
    assert files.rows.tolist() == [0, 1, 2]
    assert files.found == ["one", "one/é", "one/é/rows.npy"]
    assert outer.seen == (5.0, 0.0, 0.0)
    assert (float(outer.dense.kernel[0, 0]), outer.inner.value) == (7.0, 3.0)
    with pytest.raises(OSError, match="Not a directory"):
        of(Clashes(), shape=(1,)).save(tmp_path / "clash.keras")


@register
class Was(Learns):
    """As the class was before it had assets."""

    def number(self):
        return 0.0


@register
class AcceptsNone(Asset):
    def load_assets(self, dir_path):
        if dir_path is not None:
            raise OSError("can't be read")


@register
class Twice(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = AcceptsNone()
        self.two = [self.one]

    def call(self, inputs):
        return self.one(inputs)


@register
class WasAround(keras.layers.Layer):
    """Has no assets; the layer in it does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Asset()

    def build(self, input_shape):
        pass

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.proves(
    "If the file has no asset of any layer, `load_assets` isn't called. If another layer has one, it is called with"
    " `None`; if a layer inside this one has one, with a folder that lacks the file.",
    "In a layer that is found in two attributes, an error of `load_assets` is lost silently if it accepts `None`.",
)
def test_a_file_without_the_asset(tmp_path, monkeypatch):
    of(Was(), shape=(1,)).save(tmp_path / "alone.keras")
    of(Was(), Asset(), shape=(1,)).save(tmp_path / "other.keras")
    given = []
    now = type("Was", (Asset,), {"load_assets": lambda self, dir_path: given.append(dir_path)})
    monkeypatch.setitem(keras.saving.get_custom_objects(), "state_test>Was", now)
    load(tmp_path / "alone.keras")
    assert given == []
    load(tmp_path / "other.keras")
    assert given == [None]
    monkeypatch.setitem(keras.saving.get_custom_objects(), "state_test>Was", type("Was", (Asset,), {}))
    with pytest.raises(ValueError, match=r"(?s)A total of 1 objects could not.*not 'NoneType'|not NoneType"):
        load(tmp_path / "other.keras")

    of(WasAround(), shape=(1,)).save(tmp_path / "around.keras")
    given.clear()
    now = type("WasAround", (WasAround,), {"load_assets": lambda self, folder: given.extend(Path(folder).iterdir())})
    monkeypatch.setitem(keras.saving.get_custom_objects(), "state_test>WasAround", now)
    load(tmp_path / "around.keras")
    assert [path.name for path in given] == ["inner"]
    read = {"load_assets": lambda self, folder: Path(folder, "value.json").read_text()}
    monkeypatch.setitem(
        keras.saving.get_custom_objects(), "state_test>WasAround", type("WasAround", (WasAround,), read)
    )
    with pytest.raises(ValueError, match="No such file"):
        load(tmp_path / "around.keras")

    model = Twice()
    model(X)
    model.save(tmp_path / "twice.keras")
    load(tmp_path / "twice.keras")
    of(AcceptsNone()).save(tmp_path / "once.keras")
    with pytest.raises(ValueError, match="can't be read"):
        load(tmp_path / "once.keras")


# --- own variables ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`save_own_variables` gets a store, which takes arrays by name. Here are edges whose number depends on the "
    "data. They come back in `load_weights` too:",
    "`shape=[None]` lets a `tf.Variable` change its length. `predict` above was traced with no edges, and uses the "
    "loaded ones; a NumPy attribute in its place would keep its old numbers.",
)
def test_bins_come_back(process, tmp_path):
    assert shown(MODULE, "own_variables").printed.splitlines() == [
        "before: [0. 0. 0. 0. 0. 0.]",
        "loaded: [0. 0. 1. 2. 2. 3.]",
    ]
    edges = np.quantile(X, [0.25, 0.5, 0.75])
    np.testing.assert_array_equal(learnt_bins()(X), np.digitize(X, edges))
    whole = np.arange(12)
    for dtype in ("int32", "int64", "uint8", "float32"):
        layer = Bins()
        layer.adapt(whole, bins=4)  # 2 is under 2.75
        np.testing.assert_array_equal(layer(whole.astype(dtype)), np.digitize(whole, [2.75, 5.5, 8.25]))
    few = Bins()
    few.adapt(np.array([1.0, 1.0, 1.0, 2.0]), bins=3)
    assert few.edges.numpy().tolist() == [1.0]
    cases = {
        "half": of(learnt_bins(dtype="mixed_bfloat16"), layers.Dense(1)),
        "double": of(learnt_bins(dtype="float64")),
        "within": of(layers.TimeDistributed(learnt_bins()), shape=(3, 4)),
        "without": of(Bins()),
    }
    for name, model in cases.items():
        model.save(tmp_path / f"{name}.keras")
    x = {name: X[:30].reshape(10, 3, 4) if name == "within" else X for name in cases}
    after = process.call(all_anew, {name: (tmp_path / f"{name}.keras", x[name]) for name in cases})
    for name, model in cases.items():
        np.testing.assert_allclose(after[name], model(x[name]), rtol=1e-2 if name == "half" else 1e-6)

    scaled = [of(ScaledBins()) for _ in range(2)]
    scaled[0].layers[0].adapt(X, bins=4)
    scaled[0].layers[0].scale.assign(3.0)
    scaled[0].save_weights(tmp_path / "scaled.weights.h5")
    scaled[1].load_weights(tmp_path / "scaled.weights.h5")
    np.testing.assert_allclose(scaled[1](X), 3 * np.asarray(learnt_bins()(X)))

    new = of(array := OwnArray(), shape=(1,))
    new.predict(ONES, verbose=0)
    learnt = of(OwnArray(), shape=(1,))
    learnt.layers[0].learn()
    learnt.save_weights(tmp_path / "array.weights.h5")
    new.load_weights(tmp_path / "array.weights.h5")
    assert float(new(ONES)[0, 0]) == 4.0
    assert float(new.predict(ONES, verbose=0)[0, 0]) == 1.0
    new.compile()
    assert float(new.predict(ONES, verbose=0)[0, 0]) == 4.0
    assert array.value.shape == (3,)


class ScaledBins(Bins):
    """Has a weight, too."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return self.scale * super().call(inputs)


class Stores(keras.layers.Layer):
    """Keeps whatever it is given in the store, and reads it again."""

    def __init__(self, **given):
        super().__init__()
        self.given = given["given"]

    def call(self, inputs):
        return inputs

    def save_own_variables(self, store):
        for name, value in self.given:
            store[name] = value

    def load_own_variables(self, store):
        self.names = list(store.keys())
        self.read = {name: store[name] for name, _ in self.given}


def stored(*given: tuple[str, Any], path: Path, sharded: bool = False) -> Stores:
    model = of(layer := Stores(given=given), layers.Dense(40), layers.Dense(40), shape=(40,))
    if sharded:
        model.save_weights(path, max_shard_size=1e-5)
    else:
        model.save_weights(path)
    model.load_weights(path)
    return layer


@pytest.mark.proves(
    "A real number, a list, an array, a tensor or a variable | Comes back as a NumPy array of the same dtype",
    "A `bfloat16` tensor of shape `()` | Raises `__array__ method not producing an array`; store a NumPy array or a "
    "variable",
    "A float8 array | Comes back as raw bytes, silently; in a `.weights.json`, raises `Invalid dtype`",
    "A ragged tensor | Comes back filled up with zeros, silently",
    "A string, `bytes`, `None`, a dict, a date or an array of objects | Raises `Invalid dtype`; put it into an asset",
    'A name with a slash, `"a/b"` | Works, but `store.keys()` has `"a"`',
    'Names `"2"` and `"10"` | `store.keys()` has `"10"` first',
    "One name twice | Raises `name already exists`",
    "Within one shard, a `.weights.json` works the same way.",
)
@pytest.mark.parametrize("file", ["model.weights.h5", "model.weights.json"])
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_what_a_store_takes(file, tmp_path):
    path, sharded = tmp_path / file, file.endswith("json")
    dtypes = ["bool", "int8", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
    values = {
        **{dtype: tf.cast(tf.constant([[0, 1, 1]]), dtype) for dtype in dtypes},
        "number": 1.5,
        "whole": 3,
        "list": [[1, 2], [3, 4]],
        "of NumPy": np.float16([0.1]),
        "empty": np.zeros((0, 3), "float32"),
        "scalar": np.array(2, "int16"),
        "weight": keras.Variable([1.0, 2.0]),
        "variable": tf.Variable([[1, 2]]),
    }
    layer = stored(*values.items(), path=path, sharded=sharded)
    for name, value in values.items():
        read, expected = layer.read[name], np.asarray(value)
        assert type(read) is np.ndarray
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape), name
        np.testing.assert_array_equal(read, expected)
    half = tf.constant(1.5, tf.bfloat16)
    with pytest.raises(ValueError, match="__array__ method not producing an array"):
        stored(("a", half), path=path, sharded=sharded)
    for value in (tf.Variable(half), keras.Variable(half, dtype="bfloat16"), half.numpy()):
        read = stored(("a", value), path=path, sharded=sharded).read["a"]
        assert (read.dtype, float(read)) == ("bfloat16", 1.5)
    bits = keras.Variable([1.5], dtype="float8_e4m3fn")
    if sharded:
        with pytest.raises(ValueError, match="Invalid dtype: float8"):
            stored(("a", bits), path=path, sharded=True)
    else:
        assert stored(("a", bits), path=path).read["a"].dtype == np.dtype("V1")
    ragged = tf.ragged.constant([[1], [2, 3]])
    assert stored(("a", ragged), path=path, sharded=sharded).read["a"].tolist() == [[1, 0], [2, 3]]
    objects = np.array([1, "a"], dtype=object)
    for value in ("a", np.array(["a"]), b"a", tf.constant("a"), None, {"a": 1}, np.datetime64("2026-01-01"), objects):
        with pytest.raises(ValueError, match="Invalid dtype"):
            stored(("a", value), path=path, sharded=sharded)
    layer = stored(("a/b", np.ones(2)), ("a b", 1), ("é", 2), path=path, sharded=sharded)
    assert sorted(layer.names) == ["a", "a b", "é"]
    assert layer.read["a/b"].tolist() == [1.0, 1.0]
    assert stored(("2", 1), ("10", 2), path=path, sharded=sharded).names == ["10", "2"]
    with pytest.raises((OSError, ValueError), match="name already exists"):
        stored(("a", 1), ("a", 2), path=path, sharded=sharded)


@pytest.mark.proves(
    "Across shards, one name twice doesn't raise, and names keep the order of the shards. An array larger than a shard"
    " raises.",
)
def test_a_store_of_several_shards(tmp_path):
    path, big = tmp_path / "model.weights.json", np.ones(2000, "float32")
    assert stored(("2", big), ("10", big), ("1", big), path=path, sharded=True).names == ["2", "10", "1"]
    names = stored(("a", big), ("b", big), ("a", 2 * big), path=path, sharded=True).names
    assert sorted(names) == ["a", "a", "b"]
    with pytest.raises(ValueError, match="exceeds the maximum shard size"):
        stored(("a", np.ones(5000, "float32")), path=path, sharded=True)
    models = [of(Bins(), layers.Dense(2000, use_bias=False), shape=(1,)) for _ in range(2)]
    models[0].layers[0].adapt(np.arange(5000.0), bins=2000)
    models[0].save_weights(path, max_shard_size=1e-5)
    models[1].load_weights(path)
    for values in (lambda model: model.layers[0].edges, lambda model: model.layers[1].kernel):
        np.testing.assert_array_equal(*(np.asarray(values(model)) for model in models))
    assert np.asarray(models[1].layers[0].edges).shape == (1999,)


class Forgets(keras.layers.Layer):
    """Its own variable, without its weights."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(), initializer="zeros")
        self.value = np.zeros(1)

    def call(self, inputs):
        return inputs * self.weight

    def save_own_variables(self, store):
        store["value"] = self.value

    def load_own_variables(self, store):
        self.value = store["value"]


class Counts(Bins):
    """Doesn't leave out its own name."""

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)


class Breaks(Own):
    def begin(self, value):
        self.value, self.first = np.zeros(1), 0.0

    def load_own_variables(self, store):
        self.first = 5.0
        raise OSError("can't be read")


@pytest.mark.proves(
    "`save_own_variables` and `load_own_variables` without `super()` | The weights of the layer aren't saved, silently",
    "`super().load_own_variables(store)` with a name of yours in the store | Raises `expected 0 variables, but "
    "received 1`",
    "An exception in `load_own_variables` | With `skip_mismatch=True`, a warning. What was assigned before it stays",
)
def test_own_variables_that_go_wrong(tmp_path):
    path = tmp_path / "model.weights.h5"
    model, new = of(Forgets()), of(Forgets())
    model.layers[0].weight.assign(3.0)
    model.layers[0].value = np.ones(2)
    model.save_weights(path)
    new.load_weights(path)
    assert (float(new.layers[0].weight), new.layers[0].value.tolist()) == (0.0, [1.0, 1.0])
    of(Counts()).save_weights(path)
    with pytest.raises(ValueError, match="expected 0 variables, but received 1"):
        of(Counts()).load_weights(path)
    model = of(layer := Breaks())
    model.save_weights(path)
    with pytest.raises(ValueError, match="can't be read"):
        model.load_weights(path)
    layer.first = 0.0
    with pytest.warns(UserWarning, match="(?s)A total of 1 objects could not be loaded.*can't be read"):
        model.load_weights(path, skip_mismatch=True)
    assert layer.first == 5.0


# --- build ------------------------------------------------------------------------------------------------------------


class Shaped(keras.layers.Layer):
    """Has a weight of all its sizes, and remembers the types of its shapes."""

    def weigh(self, *sizes):
        self.weight = self.add_weight(shape=(sum(sizes),), initializer="random_normal")

    def compute_output_shape(self, *args, **kwargs):
        return (None, 1)


@register
class OfTwo(Shaped):
    def build(self, left_shape, right_shape):
        self.kinds = [type(left_shape), type(right_shape)]
        self.weigh(left_shape[-1], right_shape[-1])

    def call(self, left, right):
        return ops.sum(self.weight) * ops.sum(left, -1, keepdims=True) + ops.sum(right)


@register
class OfADict(Shaped):
    def build(self, input_shape):
        self.kinds = [type(input_shape["a"])]
        self.weigh(input_shape["a"][-1], 2 * input_shape["b"][-1])

    def call(self, inputs):
        return ops.sum(self.weight) * ops.sum(inputs["a"], -1, keepdims=True) + ops.sum(inputs["b"])


@register
class OfAList(Shaped):
    def build(self, input_shape):
        self.kinds = [type(input_shape[0])]
        self.weigh(*(shape[-1] for shape in input_shape))

    def call(self, inputs):
        return ops.sum(self.weight) * ops.sum(inputs[0], -1, keepdims=True) + ops.sum(inputs[1])


@register
class Rows(keras.layers.Layer):
    def build(self, input_shape):
        self.kinds = [type(input_shape)]
        shape = (2, *input_shape[1:])
        self.weight = self.add_weight(shape=shape, initializer="random_normal")

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.weight))


@register
class AddsTuples(Rows):
    def build(self, input_shape):
        self.weight = self.add_weight(shape=(2,) + input_shape[1:])  # noqa: RUF005


@pytest.mark.proves(
    "`load_model` builds each layer from the input shapes that the file holds: of one or several inputs, a list or "
    "a dict. From the file a shape is a list: `(2,) + input_shape[1:]` raises `can only concatenate tuple (not "
    '"list") to tuple`. Write `(2, *input_shape[1:])`.',
)
def test_shapes_from_the_file(tmp_path):
    left, right = keras.Input((4,)), keras.Input((3,))
    of_a_dict = OfADict()({"a": left, "b": right})
    its = {
        "two": (keras.Model([left, right], OfTwo()(left, right)), [X, X[:, :3]]),
        "by name": (
            keras.Model([left, right], OfTwo()(left, right=right)),
            [X, X[:, :3]],
        ),
        "dict": (keras.Model([left, right], of_a_dict), [X, X[:, :3]]),
        "list": (keras.Model([left, right], OfAList()([left, right])), [X, X[:, :3]]),
        "one": (of(Rows()), X),
    }
    for model, x in its.values():
        assert set(model.layers[-1].kinds) == {tuple}
        model.save(tmp_path / "model.keras")
        loaded = load(tmp_path / "model.keras")
        assert set(loaded.layers[-1].kinds) == {list}
        np.testing.assert_array_equal(loaded(x), model(x))
    of(AddsTuples()).save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match=r'can only concatenate tuple \(not "list"\) to tuple'):
        load(tmp_path / "model.keras")


class Learnt(Learns):
    """A weight whose size `adapt` decides; 1 is the default."""

    def begin(self, size):
        self.size = int(size) or 1

    def adapt(self, data):
        self.size = len(np.unique(data))

    def build(self, input_shape):
        self.rows = self.add_weight(shape=(self.size,), initializer="random_normal")

    def number(self):
        return ops.sum(self.rows)


@register
class InTheConfig(Learnt):
    def get_config(self):
        return {**super().get_config(), "value": self.size}


@register
class InTheBuildConfig(Learnt):
    def get_build_config(self):
        return {**super().get_build_config(), "size": self.size}

    def build_from_config(self, config):
        self.size = config["size"]
        super().build_from_config(config)


class MakesALearner(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = self.cls()

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)


MAKES = [
    register(type(f"Makes{cls.__name__}", (MakesALearner,), {"cls": cls})) for cls in (InTheConfig, InTheBuildConfig)
]


@pytest.mark.proves(
    "If `adapt` decides the size of a weight, return that size in `get_config`, as an argument. In "
    "`get_build_config` it comes back with `load_model` too, but `clone_model` silently makes a weight of the "
    "default size. In either, loading raises if the constructor of another layer makes this one.",
)
def test_a_size_that_is_learnt(process, tmp_path):
    for cls, size_of_a_clone in ((InTheConfig, 5), (InTheBuildConfig, 1)):
        layer = cls()
        layer.adapt(np.arange(5))
        model = of(layer)
        model.save(tmp_path / f"{cls.__name__}.keras")
        np.testing.assert_array_equal(process.call(loaded_anew, tmp_path / f"{cls.__name__}.keras", X), model(X))
        clone = keras.models.clone_model(model)
        assert clone.layers[0].rows.shape == (size_of_a_clone,)
        clone(X)
    for cls in MAKES:
        outer = cls()
        outer.inner.adapt(np.arange(5))
        of(outer).save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="The shape of the target variable"):
            load(tmp_path / "model.keras")


SEEN: list[str] = []


@register
class CodesAsFloats(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scores, self.rows = layers.Dense(2), layers.Embedding(5, 2)

    def call(self, codes):
        SEEN.append(keras.backend.standardize_dtype(codes.dtype))
        return self.scores(ops.one_hot(codes, 5)) + self.rows(codes)


@register
class CodesWithout(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scores = layers.Dense(2)

    call = Codes.call


@pytest.mark.proves(
    "`load_model` builds a subclassed model by calling it with floats. `Embedding` and `keras.ops.one_hot` take them. "
    "`tf.one_hot` doesn't: without `build_from_config`, `load_model` warns, and the weights are lost:",
)
@pytest.mark.filterwarnings("ignore:(?s).*looks like it has unbuilt state")
def test_build_from_config(process, tmp_path):
    page = shown(MODULE, "integers")
    assert page.printed.splitlines() == ["weights: 2", "same outputs: True"]
    page["model"].save(tmp_path / "codes.keras")
    np.testing.assert_array_equal(
        process.call(loaded_anew, tmp_path / "codes.keras", page["codes"]), page["model"](page["codes"])
    )
    codes = np.arange(4)
    model = CodesWithout()
    model(codes)
    assert len(model.weights) == 2
    model.save(tmp_path / "without.keras")
    with pytest.warns(UserWarning, match="had a build config, but the model cannot be built automatically"):
        loaded = load(tmp_path / "without.keras")
    assert not loaded.weights
    assert np.abs(loaded(codes) - model(codes)).max() > 0

    model = CodesAsFloats()
    model(codes)
    model.save(tmp_path / "floats.keras")
    SEEN.clear()
    loaded = load(tmp_path / "floats.keras")
    assert set(SEEN) == {"float32"}
    np.testing.assert_array_equal(loaded(codes), model(codes))


# --- compile ----------------------------------------------------------------------------------------------------------


def penalized(leave_out: tuple[str, ...] = (), **methods: Any) -> type[Penalized]:
    """The page's model, as it is without some of its methods."""
    inherited = {name: getattr(keras.Model, name) for name in leave_out}
    return register(type("PenalizedWithout", (Penalized,), {**inherited, **methods}))


def trained(cls: type[keras.Model]) -> keras.Model:
    model = cls()
    model.compile(
        penalty=0.5,
        optimizer=keras.optimizers.Adam(0.1),
        loss=keras.losses.MeanAbsoluteError(reduction="sum"),
        metrics=["mae"],
        run_eagerly=True,
    )
    model.train_on_batch(X, Y)
    return model


@pytest.mark.proves(
    "Both methods, or `compile_from_config` | Warns that `compile()` was not called: `fit` raises `No loss to compute`",
    "`get_compile_config` | `penalty` has its default, silently",
    "`optimizer.build(…)` | Warns `Skipping variable loading`: the optimizer begins anew. Plain `SGD` comes back",
    "`if config` | `save` of a model that isn't compiled raises",
)
def test_what_each_part_of_compile_does(tmp_path):
    path = tmp_path / "model.keras"

    def unbuilt(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def unguarded(self):
        return {**keras.Model.get_compile_config(self), "penalty": self.penalty}

    both = ("get_compile_config", "compile_from_config")
    for left in (both, both[1:]):
        trained(penalized(left)).save(path)
        with pytest.warns(UserWarning, match=r"`compile\(\)` was not called"):
            loaded = load(path)
        with pytest.raises(ValueError, match="No loss to compute"):
            loaded.fit(X, Y, verbose=0)
    trained(penalized(both[:1])).save(path)
    loaded = load(path)
    assert (loaded.compiled, loaded.penalty, int(loaded.optimizer.iterations)) == (True, 0.0, 1)
    trained(penalized(compile_from_config=unbuilt)).save(path)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        loaded = load(path)
    assert (loaded.penalty, int(loaded.optimizer.iterations)) == (0.5, 0)
    for optimizer, steps in (("sgd", 1), (keras.optimizers.SGD(momentum=0.9), 0)):
        model = penalized(compile_from_config=unbuilt)()
        model.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
        model.train_on_batch(X, Y)
        model.save(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not steps else "error")
            assert int(load(path).optimizer.iterations) == steps
    model = penalized(get_compile_config=unguarded)()
    model(X)
    with pytest.raises(AttributeError, match="penalty"):
        model.save(path)


def goes_on(path: Path) -> tuple[list, list]:
    """Runs in the new process: what it reports, and its weights after one more step."""
    model = load(path)
    reported = model.evaluate(X, Y, verbose=0)
    model.train_on_batch(X, Y)
    return reported, [np.asarray(weight) for weight in model.weights]


def test_a_penalized_model_goes_on_in_a_new_process(process, tmp_path):
    assert shown(MODULE, "compile").printed.splitlines() == ["penalty: 0.5", "steps: 1"]
    path = tmp_path / "model.keras"
    model = trained(Penalized)
    model.compile(penalty=0.75, optimizer=model.optimizer, loss=model.loss, metrics=["mae"], run_eagerly=True)
    model.save(path)
    reported, after = process.call(goes_on, path)
    y = np.asarray(model(X))
    np.testing.assert_allclose(reported[0], np.sum(np.abs(Y - y)) + 0.75 * np.mean(y**2), rtol=1e-5)
    np.testing.assert_allclose(reported, model.evaluate(X, Y, verbose=0), rtol=1e-5)
    model.train_on_batch(X, Y)
    for one, other in zip(after, model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    for model in (Penalized(), trained(Penalized)):
        model(X)
        model.save(path)
        assert load(path).compiled == model.compiled
        assert not load(path, compile=False).compiled
    new = Penalized()
    new.compile(penalty=0.25, optimizer="adam", loss="mse", run_eagerly=True)
    new.compile_from_config(new.get_compile_config())  # before it is built
    assert new.penalty == 0.25
    new.train_on_batch(X, Y)
    assert int(new.optimizer.iterations) == 1


# --- the layers of Keras ----------------------------------------------------------------------------------------------


def numbers(layer: keras.layers.Layer, asked: Any, path: Path) -> tuple[list, list]:
    """What the layer makes of each row, before and after saving."""
    model = of_words(layer)
    model.save(path)
    return [np.asarray(one(asked)).tolist() for one in (model, load(path))]


ENDS = ["\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
"""At which Python begins a new line, and which `TextVectorization` leaves in a word."""


@pytest.mark.proves(
    "`TextVectorization` writes one word per line. A word with a character that Python takes for a new line becomes"
    " two words, and each word behind it gets another number, silently. U+2028 comes from web pages, and the "
    "default settings keep it:",
    'So it is with U+0085 and U+2029, and in `StringLookup` with `"\\n"` and `"\\r"`. If one of the'
    " two is a word already, loading raises `has at least one repeated term`. Otherwise, if the character begins or "
    "ends a word, `TextVectorization` raises `Found reserved mask token`. If it ends the last word of the "
    "vocabulary, that word loses it silently. Remove such characters before `adapt`, or pass the words as an argument, "
    "which is in the config:",
)
def test_a_word_of_two_lines(tmp_path):
    path = tmp_path / "model.keras"
    saved, loaded = (eval(line.split(": ")[1]) for line in shown(MODULE, "line_fails").printed.splitlines())
    assert (saved, loaded) == ([[2, 3], [5, 3]], [[2, 3], [6, 3]])
    saved, loaded = (eval(line.split(": ")[1]) for line in shown(MODULE, "line_works").printed.splitlines())
    assert saved == loaded == [[2, 3], [5, 3]]
    for end in ENDS:
        words = f"z z z z x{end}y x{end}y x{end}y v v w"
        layer = layers.TextVectorization()
        layer.adapt(np.array([words]))
        before, after = numbers(layer, tf.constant([["z v w"]]), path)
        assert (before, after) == ([[2, 4, 5]], [[2, 5, 6]]), repr(end)
    for end in [*ENDS, "\n", "\r", "\x0b", "\x0c"]:
        words = ["z", "z", "z", f"x{end}y", f"x{end}y", "w"]
        layer = layers.StringLookup()
        layer.adapt(np.array(words))
        asked = tf.constant([["z"], [words[3]], ["w"]])
        assert numbers(layer, asked, path) == [[[1], [2], [3]], [[1], [0], [4]]], repr(end)
        given = layers.StringLookup(vocabulary=[str(word) for word in layer.get_vocabulary()[1:]])
        before, after = numbers(given, asked, path)
        assert before == after == [[1], [2], [3]]
    layer = layers.StringLookup()
    layer.adapt(np.array(["z", "z", "x", "x\u2028y"]))
    with pytest.raises(ValueError, match="has at least one repeated term"):
        numbers(layer, tf.constant([["z"]]), path)
    for end in ENDS:
        for text in (f"z z {end}x w", f"z z w {end}x", f"x{end} x{end} w", f"z z z x{end} x{end} w"):
            layer = layers.TextVectorization()
            layer.adapt(np.array([text]))
            with pytest.raises(ValueError, match="Found reserved mask token"):
                numbers(layer, tf.constant([["z"]]), path)
        layer = layers.TextVectorization()
        layer.adapt(np.array([f"z z w w x{end} w"]))
        before, after = numbers(layer, tf.constant([[f"w z x{end} x"]]), path)
        assert (before, after) == ([[2, 3, 4, 1]], [[2, 3, 1, 4]])


@pytest.mark.proves(
    "An empty word, as for a missing value, is lost in a `StringLookup` if it is the last one: silently, or, with "
    'another `output_mode` than `"int"`, loading raises `vocabulary size cannot be changed`. Replace it before '
    "`adapt`.",
    "With `vocabulary=[…]`, what `set_vocabulary` sets later is lost silently.",
)
def test_words_that_a_lookup_loses(tmp_path):
    path, asked = tmp_path / "model.keras", tf.constant([["b"], ["a"], [""]])

    def lookup(*words: str, **options: Any) -> keras.layers.Layer:
        layer = layers.StringLookup(**options)
        layer.adapt(np.array(words))
        return layer

    assert numbers(lookup("b", "b", "a", ""), asked, path) == [[[1], [2], [3]], [[1], [2], [0]]]
    assert numbers(lookup("", "", "b"), asked, path) == 2 * [[[2], [0], [1]]]
    for mode in ("one_hot", "multi_hot", "count", "tf_idf"):
        with pytest.raises(ValueError, match="vocabulary size cannot be changed"):
            numbers(lookup("b", "b", "a", "", output_mode=mode), asked, path)
    before, after = numbers(lookup("b", "b", "a", "none"), asked, path)
    assert before == after
    layer = layers.StringLookup(vocabulary=["a"])
    layer.set_vocabulary(["b", "a"])
    assert numbers(layer, asked, path) == [[[1], [2], [0]], [[0], [1], [0]]]


ROWS = np.array([[1.0], [5.0], [9.0], [2.0]], "float32")
KEPT: dict[str, tuple[str, Any, Any, Any, str]] = {
    "StringLookup": (
        "lookup",
        lambda: layers.StringLookup(),
        np.array(["a", "b", "b"]),
        tf.constant([["a"], ["b"]]),
        "string",
    ),
    "IntegerLookup": ("lookup", lambda: layers.IntegerLookup(), np.array([7, 9, 9]), np.array([[7], [9]]), "int64"),
    "TextVectorization": (
        "lookup",
        lambda: layers.TextVectorization(output_mode="count"),
        np.array(["a", "b b"]),
        tf.constant([["a b"], ["b"]]),
        "string",
    ),
    "tf_idf": (
        "lookup",
        lambda: layers.StringLookup(output_mode="tf_idf"),
        np.array([["a", "b"], ["a", "a"]]),
        tf.constant([["a"], ["b"]]),
        "string",
    ),
    "given strings": (
        "given",
        lambda: layers.StringLookup(vocabulary=["a", "b"]),
        None,
        tf.constant([["a"], ["b"]]),
        "string",
    ),
    "given integers": ("given", lambda: layers.IntegerLookup(vocabulary=[7, 9]), None, np.array([[7], [9]]), "int64"),
    "given text": (
        "given",
        lambda: layers.TextVectorization(vocabulary=["a", "b"]),
        None,
        tf.constant([["a"], ["b"]]),
        "string",
    ),
    "Normalization": ("`Normalization`", lambda: layers.Normalization(), ROWS, ROWS, "float32"),
    "Discretization": (
        "`Discretization(num_bins=…)`",
        lambda: layers.Discretization(num_bins=3),
        ROWS,
        ROWS,
        "float32",
    ),
}
OF_KERAS = {
    "lookup": "`StringLookup`, `IntegerLookup`, `TextVectorization`",
    "given": "The same, given a `vocabulary`",
}
OTHER = {"string": np.array(["q", "r", "r", "r", "s"]), "int64": np.array([1, 2, 2, 3]), "float32": ROWS * 100}


@register
class Wraps(keras.layers.Layer):
    """A layer of Keras in one of ours, which builds it if that is asked for."""

    def __init__(self, kind, builds=True, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.builds = kind, builds
        self.inner = KEPT[kind][1]()

    def build(self, input_shape):
        if self.builds and not self.inner.built:
            self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((*inputs.shape[:-1], None), "float32")


def model_of(kind: str, data: Any = None, wrapped: bool = False) -> keras.Sequential:
    _, make, _, _, dtype = KEPT[kind]
    layer = Wraps(kind) if wrapped else make()
    if data is not None:
        (layer.inner if wrapped else layer).adapt(data)
    return of(layer, shape=(1,), dtype=dtype)


def computed(model: keras.Model, kind: str) -> list | str:
    try:
        return np.asarray(model(KEPT[kind][3])).tolist()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        return str(error)


def write_of_keras(folder: Path) -> dict[tuple[str, bool], list | str]:
    found = {}
    for kind, (_, _, data, *_) in KEPT.items():
        for wrapped in (False, True):
            model = model_of(kind, data, wrapped)
            found[kind, wrapped] = computed(model, kind)
            model.save(folder / f"{kind} {wrapped}.keras")
            if not wrapped:
                model.save_weights(folder / f"{kind}.weights.h5")
                tf.train.Checkpoint(model=model).write(folder / f"{kind} checkpoint")
    return found


def read_of_keras(folder: Path) -> dict[tuple[str, bool], list | str]:
    """Runs in the new process."""
    keys = [(kind, wrapped) for kind in KEPT for wrapped in (False, True)]
    return {key: computed(load(folder / f"{key[0]} {key[1]}.keras"), key[0]) for key in keys}


@pytest.mark.proves(
    "What `adapt` found, in a layer of Keras or inside a layer of yours:",
    "`StringLookup`, `IntegerLookup`, `TextVectorization` | yes | no | no | no | no",
    "The same, given a `vocabulary` | yes | no | no | yes | yes",
    "`Normalization` | yes | yes | inputs unchanged, silently | inputs unchanged, silently | yes",
    "`Discretization(num_bins=…)` | yes | no | no | yes | yes",
    "No: the first call raises, as `Table not initialized`. If the new layer was adapted to other data, it keeps "
    "those, silently.",
    "`Normalization` after a `Checkpoint` or `set_weights`: call `finalize_state()`.",
    "`Bins` above comes back.",
)
def test_the_layers_of_keras(process, tmp_path, monkeypatch):
    before = write_of_keras(tmp_path)
    anew = process.call(read_of_keras, tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = table("vocabularies")
    assert len(rows) == 5
    for kind, (name, make, data, _x, dtype) in KEPT.items():
        expected = before[kind, False]
        assert type(expected) is list
        assert anew[kind, False] == before[kind, False]
        if kind != "Discretization":
            assert anew[kind, True] == before[kind, True] == expected
        else:
            assert "You need to either pass the `bin_boundaries`" in anew[kind, True]
        model = model_of(kind, data)

        def other_ways(adapted: bool, kind: str = kind, dtype: str = dtype) -> list:
            by_weights, by_checkpoint = (model_of(kind, OTHER[dtype] if adapted else None) for _ in range(2))
            try:
                by_weights.load_weights(f"{kind}.weights.h5")
            except AttributeError:  # of tf_idf
                by_weights = None
            tf.train.Checkpoint(model=by_checkpoint).read(f"{kind} checkpoint").expect_partial()
            return [by_weights, by_checkpoint]

        if name == "given":  # a constructor without words can't read them
            fresh = [of(type(make())(), shape=(1,), dtype=dtype) for _ in range(2)]
            fresh[0].load_weights(f"{kind}.weights.h5")
            tf.train.Checkpoint(model=fresh[1]).read(f"{kind} checkpoint").expect_partial()
        else:
            fresh = other_ways(False)
        model.save("folder", zipped=False)
        ways = [load(f"{kind} False.keras"), *fresh, keras.models.clone_model(model), load("folder")]
        for says, its in zip(rows[OF_KERAS.get(name, name)], ways, strict=True):
            came = computed(its, kind)
            if says == "yes":
                assert came == expected, (kind, says)
            elif says == "no":
                told = "bin_boundaries" if kind == "Discretization" else "Table not initialized|idf_weights|vocabulary"
                assert re.search(told, str(came)), (kind, came)
            else:
                assert says == "**inputs unchanged, silently**"
                assert came == ROWS.tolist()
        if kind == "Normalization":
            for new in (other_ways(False)[1], keras.models.clone_model(model)):
                new.set_weights(model.get_weights())
                assert computed(new, kind) == ROWS.tolist()
                new.layers[0].finalize_state()
                assert computed(new, kind) == expected
        elif name != "given" and kind != "tf_idf":
            own = computed(model_of(kind, OTHER[dtype]), kind)
            assert own != expected
            assert [computed(its, kind) for its in other_ways(True)] == [own, own], kind


@register
class Edges(keras.Model):
    """Its constructor makes the layer that learns."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.edges = layers.Discretization(num_bins=3)

    def call(self, inputs):
        return self.edges(inputs)


@pytest.mark.proves(
    "`Discretization` made by the constructor of your layer or model: its edges aren't saved, and the first call "
    "raises.",
)
def test_a_discretization_in_a_model(tmp_path):
    model = Edges()
    model.edges.adapt(X)
    assert len(np.unique(model(X))) == 3
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="cannot be built automatically"):
        loaded = load(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="You need to either pass the `bin_boundaries`"):
        loaded(X)


@pytest.mark.proves(
    "`Normalization` inside a layer of yours that has a `compute_output_shape`: build it in your `build`, if it isn't "
    "`built`, or loading raises `was never built`.",
)
def test_a_normalization_that_nobody_builds(tmp_path, monkeypatch):
    layer = Wraps("Normalization", builds=False)
    layer.inner.adapt(ROWS)
    model = of(layer, shape=(1,))
    model.save(tmp_path / "model.keras")
    spec = Wraps.compute_output_spec
    monkeypatch.delattr(Wraps, "compute_output_spec")
    assert computed(load(tmp_path / "model.keras"), "Normalization") == computed(model, "Normalization")
    shape = ("compute_output_shape", lambda self, input_shape: input_shape)
    for name, method in (shape, ("compute_output_spec", spec)):
        monkeypatch.setattr(Wraps, name, method, raising=False)
        with pytest.raises(ValueError, match="was never built and thus it doesn't have any variables"):
            load(tmp_path / "model.keras")
        monkeypatch.delattr(Wraps, name)


@pytest.mark.proves(
    "`fit`, `evaluate` and `predict` are traced at the first call. What isn't a variable is a constant there:",
    "So it is with a lookup, with an array that `load_own_variables` sets, and with a new `StaticHashTable`. A weight, "
    "a `tf.Variable` and the `MutableHashTable` of `TargetMean` are read anew.",
)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_after_predict():
    assert shown(MODULE, "stale_fails").printed.splitlines() == ["predict: 9.0", "adapted: 9.0", "compile: 0.0"]

    def after(layer: keras.layers.Layer, learn: Any, x: Any, dtype: str = "float32") -> list[bool]:
        """Whether `predict` uses what was learnt after it, before and after `compile`."""
        model = of(layer, shape=x.shape[1:], dtype=dtype)
        model.predict(x, verbose=0)
        learn(layer)
        found = []
        for _ in range(2):
            found.append(np.allclose(model.predict(x, verbose=0), model(x)))
            model.compile()
        return found

    def string_lookup() -> layers.StringLookup:
        layer = layers.StringLookup()
        layer.adapt(np.array(["a", "b", "b"]))
        return layer

    stale, used = [False, True], [True, True]
    asked = tf.constant([["a"], ["b"], ["c"]])
    assert after(string_lookup(), lambda layer: layer.adapt(np.array(["c", "c", "a", "d"])), asked, "string") == stale
    for cls in (OwnArray, Static):
        assert after(cls(), lambda layer: layer.learn(), ONES) == stale, cls
    for cls in (Weight, Variable):
        assert after(cls(), lambda layer: layer.learn(), ONES) == used, cls
    assert after(learnt_means(), lambda layer: layer.adapt(np.array(["b"]), np.array([9.0])), asked, "string") == used

    for cls, expected in ((OwnArray, 1.0), (OwnVariable, 4.0)):  # in `fit` and `evaluate`
        model = of(layer := cls(), shape=(1,))
        model.compile(optimizer=None, loss=lambda y_true, y_pred: y_pred)
        model.evaluate(ONES, ONES, verbose=0), model.fit(ONES, ONES, verbose=0)
        layer.learn()
        assert model.evaluate(ONES, ONES, verbose=0) == expected
        assert model.fit(ONES, ONES, verbose=0).history["loss"] == [expected]


@pytest.mark.proves(
    "A batch of another size may be traced anew, and use the new state.",
    "Call `compile` again, with the model's optimizer, loss and metrics. `compile()` alone keeps the loss and the "
    "metrics, but makes the optimizer a new `RMSprop`, silently. A file that is saved after it has no loss: the loaded "
    "model raises `No loss to compute`.",
)
def test_after_predict_with_another_size_and_after_compile(tmp_path):
    model, rows = of(layer := Number(), shape=(1,)), np.ones((5, 1), "float32")
    model.predict(ONES, verbose=0)
    layer.learn()
    assert [float(model.predict(x, verbose=0)[0, 0]) for x in (ONES, rows, ONES)] == [1.0, 4.0, 1.0]

    model = of(layers.Dense(1))
    model.compile(keras.optimizers.Adam(), "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    model.compile(model.optimizer, model.loss, metrics=["mae"])
    assert (type(model.optimizer), int(model.optimizer.iterations)) == (keras.optimizers.Adam, 1)
    model.compile()
    assert (type(model.optimizer), int(model.optimizer.iterations)) == (keras.optimizers.RMSprop, 0)
    expected = np.mean((np.asarray(model(X)) - Y) ** 2)
    distance = np.mean(np.abs(np.asarray(model(X)) - Y))
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [expected, distance], rtol=1e-5)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert loaded.compiled
    for method in (loaded.fit, loaded.evaluate):
        with pytest.raises(ValueError, match="No loss to compute"):
            method(X, Y, verbose=0)


# --- what must not be saved -------------------------------------------------------------------------------------------


RAN: list[str] = []


class Runs:
    def __reduce__(self):
        return ran, ("code of the file",)


def ran(what: str) -> None:
    RAN.append(what)


@register
class Pickles(Learns):
    def number(self):
        return 0.0

    def save_assets(self, dir_path):
        Path(dir_path, "thing.pkl").write_bytes(pickle.dumps(Runs()))

    def load_assets(self, dir_path):
        pickle.loads(Path(dir_path, "thing.pkl").read_bytes())


@register
class Lists(Learns):
    def begin(self, value):
        self.value = value

    def number(self):
        return 0.0

    def get_config(self):
        return {**super().get_config(), "value": self.value}


@register
class ManyNumbers(Learns):
    def build(self, input_shape):
        self.weight = self.add_weight(shape=(100_000,), initializer="random_normal")

    def number(self):
        return 0.0


@pytest.mark.proves(
    "Secrets: `config.json` and the assets are plain text in a zip file.",
    "Paths to read from: the file is elsewhere in the next program. Copy what it holds into an asset.",
    "Pickles: `safe_mode` doesn't check what `load_assets` does, and a pickle runs its code. Write JSON, text or "
    "`.npy`. A `lambda` isn't loaded.",
    "Arrays in a config: 100,000 numbers take 2.1 MB of JSON, and 0.4 MB as a float32 weight.",
    "Open files, caches: keep them in attributes, which aren't saved, and make them on first use.",
)
def test_what_must_not_be_saved(process, tmp_path):
    path = tmp_path / "model.keras"
    of(Lists(["a secret"]), learnt_means(), shape=(1,), dtype="string").save(path)
    with zipfile.ZipFile(path) as file:
        assert b"a secret" in file.read("config.json")
        assert b"tea" in file.read("assets/layers/target_mean/means.json")

    model = of(Pickles())
    RAN.clear()
    model.save(path)
    assert RAN == []
    load(path, safe_mode=True)
    assert RAN == ["code of the file"]
    of(layers.Lambda(lambda x: x)).save(path)
    with pytest.raises(ValueError, match="lambda"):
        load(path)
    np.save(tmp_path / "rows.npy", np.array([Runs()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "rows.npy")

    drawn = np.random.default_rng(0).normal(size=100_000)
    of(Lists(drawn.tolist())).save(path)
    with zipfile.ZipFile(path) as file:
        assert round(len(file.read("config.json")) / 1e6, 1) == 2.1
    of(ManyNumbers()).save(path)
    assert round(path.stat().st_size / 1e6, 1) == 0.4

    layer = Argument()
    with (tmp_path / "open.txt").open("w") as layer.file:
        layer.cache = {"of": lambda: 1}
        model = of(layer)
        model.save(path)
    loaded = load(path).layers[0]
    assert not hasattr(loaded, "file")
    assert not hasattr(loaded, "cache")
