"""`docs/saving/export.md`: every claim that the page makes, proved."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import serve
import tensorflow as tf
from keras import layers, ops

from engine.prove.process import TOOLS
from snippets.saving import export
from snippets.saving.export import Appraiser, Saturate
from tests import contract
from tests.shown import maker, shown
from tests.site import AS_A_READER

X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
SPEC = [keras.InputSpec(shape=(None, 5), dtype="float32")]


def appraisals(rows: int = 64) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    made = np.random.default_rng(1)
    x = {"table": made.normal(size=(rows, 4)), "photo": made.normal(size=(rows, 9))}
    x = {name: value.astype("float32") for name, value in x.items()}
    return x, {"price": x["table"][:, :1] - x["photo"][:, :1]}


LAYERS = {"Saturate": contract.Layer(lambda **kw: Saturate(**kw), inputs=[(4,), (7, 4)])}
MODELS = {
    "Appraiser": contract.Model(
        lambda **kw: Appraiser(**kw), appraisals, {"optimizer": keras.optimizers.SGD(0.05), "loss": "mse"}
    )
}
CAUGHT = {
    "Shifted of frozen_fails": contract.Wrong(
        maker("Shifted", export, "frozen_fails"), (1,), by="fit_and_predict", says="differ"
    ),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_contract_of_a_model(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


# --- helpers ----------------------------------------------------------------------------------------------------------


def of(*parts: keras.layers.Layer, width: int = 5, **kwargs) -> keras.Sequential:
    return keras.Sequential([keras.Input((width,), name="table"), *parts], **kwargs)


class Calls(keras.Model):
    """Calls one layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def everywhere(make) -> list[keras.Model]:
    """The layer in a Sequential, a functional and a subclassed model, each called once."""
    inputs = keras.Input((5,), name="table")
    models = [of(make()), keras.Model(inputs, make()(inputs)), Calls(make())]
    for model in models:
        model(X)
    return models


def load(model: keras.Model, folder: Path, **kwargs) -> Any:
    model.export(folder, verbose=False, **kwargs)
    return tf.saved_model.load(folder)


def archived(folder: Path, *tracked, **endpoints) -> Any:
    """Each endpoint is a function and its signature."""
    archive = keras.export.ExportArchive()
    for resource in tracked:
        archive.track(resource)
    for name, (function, signature) in endpoints.items():
        archive.add_endpoint(name, function, signature)
    archive.write_out(folder, verbose=False)
    return tf.saved_model.load(folder)


def called(loaded: Any, endpoint: str, *args: Any) -> Any:
    """It lives until it is called, which it doesn't in `load(…).serve(…)`."""
    return getattr(loaded, endpoint)(*args)


def takes(loaded: Any, name: str = "serve") -> dict[str, tf.TensorSpec]:
    return loaded.signatures[name].structured_input_signature[1]


def returns(loaded: Any, name: str = "serve") -> list[str]:
    return sorted(loaded.signatures[name].structured_outputs)


def close(one: Any, other: Any) -> bool:
    return np.allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-6)


def layer_of(call, **methods) -> type[keras.layers.Layer]:
    return type("Own", (keras.layers.Layer,), {"call": call, "compute_output_shape": lambda self, s: s, **methods})


def times_ten(x):
    """The inputs, and ten times their gradient."""

    def gradient(*args, upstream=None):
        return 10.0 * (args[0] if upstream is None else upstream)

    return x * 1.0, gradient


# --- another process, without Keras -----------------------------------------------------------------------------------

ELSEWHERE = """
import json, pathlib, runpy, sys
sys.modules["keras"] = None
import numpy as np
import tensorflow as tf

here = pathlib.Path(sys.argv[1])
found = {}
for given in sorted(here.glob("*.npz")):
    loaded = tf.saved_model.load(str(here / given.stem))
    inputs = dict(np.load(given))
    try:
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures["serving_default"](**inputs)
        found[given.stem] = {name: value.numpy().tolist() for name, value in outputs.items()}
    except tf.errors.OpError as error:
        found[given.stem] = str(error)
loaded, x = tf.saved_model.load(str(here / "gradient")), tf.ones((1, 5))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = loaded.serve(x)
found["gradient"] = tape.gradient(y, x).numpy().tolist()
found["keras"] = sorted(name for name, module in sys.modules.items() if module and name.split(".")[0] == "keras")
found["ours"] = sorted(name for name in sys.modules if name.split(".")[0] in ("snippets", "tests"))
print(json.dumps(found), flush=True)
sys.argv = ["serve.py", str(here / "prices"), "--port", "0"]
runpy.run_path(TOOL, run_name="__main__")
""".replace("TOOL", repr(str(TOOLS / "serve.py")))


@dataclass
class Elsewhere:
    """What another process has found, and the server that runs there."""

    expected: dict[str, dict[str, list]]
    found: dict[str, Any]
    host: str
    raw: keras.Model
    inner: keras.Model

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers) -> tuple[int, Any]:
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            assert response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(response.read())

    def predict(self, request: Any, name: str = "prices") -> tuple[int, Any]:
        body = request if isinstance(request, bytes | str) else json.dumps(request)
        return self.ask("POST", f"/v1/models/{name}:predict", body)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    here, expected = tmp_path_factory.mktemp("elsewhere"), {}

    def give(name: str, model: Any, **inputs: np.ndarray) -> None:
        np.savez(here / f"{name}.npz", **inputs)
        model.export(here / name, verbose=False)

    saturate = Saturate()
    for number, model in enumerate([of(saturate, layers.Dense(2)), everywhere(Saturate)[1]]):
        model.layers[-1 if number else 0].slope.assign([-2.0, 0.5, 1.0, 3.0, 0.0])
        give(f"saturate{number}", model, table=X)
        expected[f"saturate{number}"] = {"output_0": model(X).numpy().tolist()}

    policy = keras.Input((5,), name="table")
    mixed = keras.Model(policy, layers.Dense(2, dtype="mixed_float16")(Saturate(dtype="mixed_float16")(policy)))
    give("mixed", mixed, table=X)
    expected["mixed"] = {"output_0": mixed(X).numpy().tolist()}

    series = keras.Input((3, 5), name="series")
    wrapped = layers.Bidirectional(layers.LSTM(2))(layers.TimeDistributed(Saturate())(series))
    wrapped = keras.Model(series, wrapped)
    give("wrapped", wrapped, series=np.stack([X[:3], X[3:6]]))
    expected["wrapped"] = {"output_0": wrapped(np.stack([X[:3], X[3:6]])).numpy().tolist()}

    words = layers.TextVectorization(output_sequence_length=3)
    words.adapt(["the flat", "the house"])
    text = keras.Input((), dtype="string", name="text")
    vectorized = keras.Model(text, words(text))
    given = np.array([b"the House!", b"a flat"])
    np.savez(here / "text.npz", text=given)
    vectorized.export(here / "text", verbose=False)
    expected["text"] = {"output_0": vectorized(tf.constant(given)).numpy().tolist()}

    random = of(layer_of(lambda self, x: x + keras.random.normal(ops.shape(x)))())
    random.export(here / "random", verbose=False)
    np.savez(here / "random.npz", table=X)
    expected["random"] = {"output_0": called(tf.saved_model.load(here / "random"), "serve", X).numpy().tolist()}

    for name, function in (("py_function", tf.py_function), ("numpy_function", tf.numpy_function)):
        doubles = layer_of(lambda self, x, f=function: tf.ensure_shape(f(lambda v: v * 2, [x], tf.float32), x.shape))
        give(name, of(doubles()), table=X)
        here_it_works = tf.saved_model.load(here / name)
        assert close(here_it_works.serve(X), 2 * X)

    of(layer_of(lambda self, x: ops.custom_gradient(times_ten)(x))()).export(here / "gradient", verbose=False)

    page = shown(export, "program", "endpoints")
    model, raw = page["model"], page["raw"]
    archive = keras.export.ExportArchive()
    archive.track_and_add_endpoint("raw", raw, [raw.input])
    archive.track_and_add_endpoint("table", model, [model.input])
    archive.add_endpoint(
        "echo", lambda a, b_bytes: {"a": a, "b_bytes": b_bytes}, [tf.TensorSpec((None,), tf.string)] * 2
    )
    archive.add_endpoint("two", lambda x: {"twice": 2 * x, "total": ops.sum(x, axis=1)}, SPEC)
    archive.add_endpoint("odd", lambda x: {"x": x, "first": x[0, 0]}, SPEC)
    archive.add_endpoint("half", lambda x: ops.cast(x, "float16"), SPEC)
    half = [keras.InputSpec(shape=(None,), dtype="float16")]
    archive.add_endpoint("takes_half", lambda x: ops.cast(x, "float32"), half)
    several = {name: tf.TensorSpec((None,), name) for name in ("bool", "uint8", "int64", "float64")}
    archive.add_endpoint("types", lambda a, b, c, d: {"a": a, "b": b, "c": c, "d": d}, list(several.values()))
    archive.add_endpoint("fails", lambda x: tf.debugging.check_numerics(x, "isn't finite"), SPEC)
    archive.write_out(here / "prices" / "12", verbose=False)
    shutil.copytree(here / "saturate0", here / "prices" / "9")
    (here / "prices" / "notes").mkdir()

    command = [sys.executable, "-c", ELSEWHERE, str(here)]
    with subprocess.Popen(command, cwd=here, env=AS_A_READER, stdout=subprocess.PIPE, text=True) as process:
        found, address = json.loads(process.stdout.readline()), process.stdout.readline().strip()
        host = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/v1/models/prices:predict", address)[1]
        yield Elsewhere(expected, found, host, raw, model)
        process.kill()


@pytest.mark.proves(
    "`model.export` writes what `call` computes, with the weights, into a folder. TensorFlow runs it without your "
    "classes and without Keras; to train it further, save a `.keras` file too.",
    "Mixed precision | Computes the same; the output is `float16` or `bfloat16` if the last layer is mixed",
)
def test_without_keras_and_the_classes_the_numbers_are_the_same(elsewhere):
    assert elsewhere.found["keras"] == elsewhere.found["ours"] == []
    for name, outputs in elsewhere.expected.items():
        assert outputs.keys() == elsewhere.found[name].keys()
        for output, numbers in outputs.items():
            tolerance = 2e-3 if name == "mixed" else 1e-4
            np.testing.assert_allclose(elsewhere.found[name][output], numbers, rtol=tolerance, atol=tolerance)


@pytest.mark.proves(
    "`tf.py_function`, `tf.numpy_function` | Another process raises `Could not find callback`",
)
@pytest.mark.parametrize("name", ["py_function", "numpy_function"])
def test_a_python_function_stays_behind(name, elsewhere):
    assert "Could not find callback" in elsewhere.found[name]


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`serve` takes the inputs as the model was made: a dict for a dict, a list for a list. A signature takes tensors "
    "by name, and returns a dict.",
    "An array of another dtype is converted, silently: 2.7 becomes 2 for an integer input. A tensor of another dtype "
    "raises.",
    "`serve` raises `Can not cast TensorSpec` for a wrong shape. A signature doesn't check it: what the graph can "
    "compute, it computes.",
)
def test_how_an_endpoint_is_called(tmp_path):
    page = shown(export, "program")
    loaded, model, x = page["loaded"], page["model"], page["x"]
    slope, (kernel, bias) = model.layers[1].slope.numpy(), map(ops.convert_to_numpy, model.layers[2].weights)
    np.testing.assert_allclose(loaded.serve(x)["price"], np.tanh(slope * x) @ kernel + bias, rtol=1e-4, atol=1e-5)
    for rows in (0, 1, 3):
        assert close(loaded.serve(x[:rows])["price"], model(x[:rows])["price"])
    signature = loaded.signatures["serve"]
    for given in (x, x.astype("float64"), x.tolist()):
        assert close(loaded.serve(given)["price"], model(x)["price"])
        assert close(signature(table=given)["price"], model(x)["price"])
    for wrong in (x[:, :3], x[0], x[None]):
        with pytest.raises(TypeError, match="Can not cast TensorSpec"):
            loaded.serve(wrong)
    with pytest.raises(TypeError, match="Can not cast TensorSpec"):
        loaded.serve(tf.constant(x, tf.float64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="was expected to be a float tensor"):
        signature(table=tf.constant(x, tf.float64))
    with pytest.raises(TypeError, match="missing a required argument"):
        signature(other=tf.constant(x))
    with pytest.raises(TypeError, match="too many positional arguments"):
        signature(x)

    table, photo = keras.Input((5,), name="table"), keras.Input((5,), name="photo")
    both = layers.Subtract()([table, photo])
    named = {"table": X, "photo": X[::-1]}
    for number, (inputs, right, wrongs) in enumerate(
        (
            ({"table": table, "photo": photo}, named, ([X, X[::-1]],)),
            ([table, photo], [X, X[::-1]], ((X, X[::-1]), named)),
        )
    ):
        functional = keras.Model(inputs, both)
        loaded = load(functional, tmp_path / f"made{number}")
        assert close(loaded.serve(right), functional(right))
        for wrong in wrongs:
            if number:  # the model takes them
                assert functional(wrong).shape == (8, 5)
            with pytest.raises(TypeError, match=r"Binding inputs to tf\.function failed"):
                loaded.serve(wrong)

    alone = load(of(Saturate()), tmp_path / "alone").signatures["serve"]
    assert alone(table=tf.zeros((2, 1)))["output_0"].shape == (2, 5)  # broadcast
    assert alone(table=tf.zeros(5))["output_0"].shape == (5,)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        alone(table=tf.zeros((2, 3)))

    numbers = keras.Sequential([keras.Input((), dtype="int32", name="id"), layers.Embedding(10, 2)])
    loaded = load(numbers, tmp_path / "ids")
    assert close(loaded.serve(np.array([2.7])), numbers(np.array([2])))
    assert close(loaded.signatures["serve"](id=np.array([2.7]))["output_0"], numbers(np.array([2])))


@pytest.mark.proves(
    "Keep `loaded` in a variable. `tf.saved_model.load(folder).serve(x)` in one line raises "
    "`variables which have been deleted` if the model has weights.",
    "Subclassed models have to be called first. So has one that `load_model` returns, which otherwise raises `has "
    "never called`: call it on a batch or on a `keras.Input`.",
)
def test_before_and_after_the_export(tmp_path):
    model = of(Saturate())
    model.export(tmp_path / "one", verbose=False)
    with pytest.raises(AssertionError, match="variables which have been deleted"):
        tf.saved_model.load(tmp_path / "one").serve(X)
    of(layers.ReLU()).export(tmp_path / "without", verbose=False)
    assert close(tf.saved_model.load(tmp_path / "without").serve(X), np.maximum(X, 0))
    kept = tf.saved_model.load(tmp_path / "one")
    assert close(kept.serve(X), model(X))

    x = appraisals(8)[0]
    fresh = Appraiser()
    with pytest.raises(ValueError, match="has not yet been built"):
        fresh.export(tmp_path / "no", verbose=False)
    fresh.build({"table": (None, 4), "photo": (None, 9)})
    with pytest.raises(ValueError, match="has never called"):
        fresh.export(tmp_path / "no", verbose=False)
    fresh.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="has never called"):
        again.export(tmp_path / "no", verbose=False)
    again({"table": keras.Input((4,)), "photo": keras.Input((9,))})
    assert close(called(load(again, tmp_path / "symbolic"), "serve", x)["price"], fresh(x)["price"])
    assert close(called(load(fresh, tmp_path / "batch"), "serve", x)["price"], fresh(x)["price"])


@pytest.mark.proves(
    "Axes other than the batch have the size of the very first call, before the model was saved. They are `None` if "
    "that call was on `keras.Input((None, 5))`, or if `input_signature` says so.",
)
def test_the_size_of_the_first_call(tmp_path):
    model, series = Calls(layers.Dense(2)), np.ones((2, 6, 5), "float32")
    model(series)
    loaded = load(model, tmp_path / "fixed")
    assert takes(loaded)["args_0"].shape.as_list() == [None, 6, 5]
    with pytest.raises(TypeError, match="Can not cast TensorSpec"):
        loaded.serve(series[:, :3])
    free = load(model, tmp_path / "free", input_signature=[keras.InputSpec(shape=(None, None, 5), dtype="float32")])
    assert close(free.serve(series[:, :3]), model(series[:, :3]))

    symbolic = Calls(layers.Dense(2))
    symbolic(keras.Input((None, 5)))
    loaded = load(symbolic, tmp_path / "symbolic")
    assert takes(loaded)["args_0"].shape.as_list() == [None, None, 5]
    assert close(loaded.serve(series[:, :3]), symbolic(series[:, :3]))

    @keras.saving.register_keras_serializable(package="test_export")
    class Twice(keras.Model):
        def call(self, inputs):
            return 2.0 * inputs

    twice = Twice()
    twice(series)
    twice.save(tmp_path / "twice.keras")
    again = keras.saving.load_model(tmp_path / "twice.keras")
    again(series[:, :3])
    assert takes(load(again, tmp_path / "again"))["args_0"].shape.as_list() == [None, 6, 5]


# --- what is frozen ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`call(self, inputs, training=True)` | Training: dropout drops. `predict` passes `False`, but not through a "
    "subclassed model whose `call` has no `training`",
    "Here `predict` gives 5, and the export 100: `predict` passes `training=False`, and `shift` was changed after the "
    "export:",
)
def test_the_default_of_training(tmp_path):
    page = shown(export, "frozen_fails")
    assert page["zero"].shape == (1, 1)

    class Drops(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, inputs, training=True):
            return self.drop(inputs, training=training)

    for number, model in enumerate(everywhere(Drops)):
        assert close(model.predict(X, verbose=0), X) == (number < 2)
        assert not close(called(load(model, tmp_path / str(number)), "serve", X), X)

    class Trains(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, inputs, training=True):
            return self.drop(inputs, training=training)

    subclassed = Trains()
    subclassed(X)
    assert close(subclassed.predict(X, verbose=0), X)
    assert not close(called(load(subclassed, tmp_path / "subclassed"), "serve", X), X)
    for number, model in enumerate(everywhere(lambda: layers.Dropout(0.5))):
        assert close(called(load(model, tmp_path / f"built-in{number}"), "serve", X), X)


@pytest.mark.proves(
    "A Python attribute, a NumPy array, `np.random`, a counter in Python | Its value at the export, from then on",
    "keep what changes in a weight",
)
def test_what_python_knew_is_frozen(tmp_path):
    class Holds(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.factor, self.array, self.calls = 2.0, np.ones(5, "float32"), 0
            self.kept = self.add_weight(name="kept", shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.calls += 1
            return self.factor * inputs + self.array + 10.0 * self.calls + float(np.random.normal()) + self.kept

    holds = Holds()
    model = Calls(holds)
    model(X)
    model.export(tmp_path / "a", verbose=False)
    at_export = holds.calls
    holds.factor, holds.array[:] = 7.0, 50.0
    loaded = tf.saved_model.load(tmp_path / "a")
    first = loaded.serve(X).numpy()
    np.testing.assert_array_equal(first, loaded.serve(X))
    rest = first - 2.0 * X - 1.0
    assert np.ptp(rest) < 1e-4
    assert any(abs(rest.mean() - 10.0 * calls) < 5.0 for calls in range(2, at_export + 1))
    loaded.non_trainable_variables[0].assign(3.0)
    np.testing.assert_allclose(loaded.serve(X), first + 3.0, rtol=1e-5)


@pytest.mark.proves(
    "`predict_step`, any method but `call` | Isn't there",
    "A second argument of `call` with a default | Its default",
    "`add_loss`, regularizers, metrics, the optimizer | Not there",
)
def test_what_is_not_exported(tmp_path):
    class More(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, kernel_regularizer="l2")

        def call(self, inputs, scale=1.0):
            outputs = self.dense(inputs) * scale
            self.add_loss(ops.sum(outputs))
            return outputs

        def predict_step(self, data):
            return 100.0 * self(data)

        def score(self, inputs):
            return self(inputs)

        @tf.function(input_signature=[tf.TensorSpec((None, 5))])
        def traced(self, inputs):
            return self(inputs)

    model = More()
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
    model.fit(X, X[:, :2], verbose=0)
    model(X, scale=3.0)
    loaded = load(model, tmp_path / "more")
    assert close(loaded.serve(X), model(X))
    assert close(model.predict(X, verbose=0), 100.0 * model(X))
    assert list(takes(loaded)) == ["args_0"]
    assert not any(
        hasattr(loaded, name) for name in ("score", "traced", "losses", "optimizer", "metrics", "predict_step")
    )
    assert [variable.shape.as_list() for variable in loaded.variables] == [[5, 2], [2]]
    kinds = {type(resource) for resource in loaded._all_variables}
    assert len(loaded._all_variables) == 2, kinds


@pytest.mark.proves(
    "Inputs of a subclassed model, or of a `Sequential` without `Input` | Are `float32`, strings and integers too: the "
    "id 16777217 becomes 16777216. A subclassed model in `mixed_float16` makes 2048 of 2049",
)
def test_integers_of_a_subclassed_model(tmp_path):
    ids = np.array([[16777217]])
    model = Calls(layer_of(lambda self, x: ops.cast(x, "int64") + 0)())
    assert int(model(ids)[0, 0]) == 16777217
    loaded = load(model, tmp_path / "float")
    assert takes(loaded)["args_0"].dtype == tf.float32
    assert int(loaded.serve(ids)[0, 0]) == 16777216
    sequential = keras.Sequential([layer_of(lambda self, x: ops.cast(x, "int64") + 0)()])
    sequential(ids)
    loaded = load(sequential, tmp_path / "sequential")
    assert [spec.dtype for spec in takes(loaded).values()] == [tf.float32]
    assert int(loaded.serve(ids)[0, 0]) == 16777216

    class Mixed(keras.Model):
        def call(self, inputs):
            return ops.cast(inputs, "int64") + 0

    mixed, half = Mixed(dtype="mixed_float16"), np.array([[2049]])
    assert int(mixed(half)[0, 0]) == 2049
    loaded = load(mixed, tmp_path / "mixed")
    assert takes(loaded)["args_0"].dtype == tf.float16
    assert int(loaded.serve(half)[0, 0]) == 2048

    words = Calls(layers.StringLookup(vocabulary=["flat"]))
    words(tf.constant([["flat"]]))
    loaded = load(words, tmp_path / "words")
    assert takes(loaded)["args_0"].dtype == tf.float32
    with pytest.raises(TypeError):
        loaded.serve(np.array([["flat"]]))

    spec = [keras.InputSpec(shape=(None, 1), dtype="int64")]
    assert int(called(load(model, tmp_path / "int", input_signature=spec), "serve", ids)[0, 0]) == 16777217


@pytest.mark.proves(
    "`keras.random` with `seed=3` | The same numbers in each call",
    "`keras.random` with a `SeedGenerator` or without a seed | New numbers in each call, the same ones after each load",
)
@pytest.mark.parametrize("given", [3, "generator", None])
def test_random_numbers(given, tmp_path):
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(3) if given == "generator" else given

        def call(self, inputs):
            return inputs + keras.random.normal(ops.shape(inputs), seed=self.seed)

    for number, model in enumerate(everywhere(Noise)):
        loaded = load(model, tmp_path / str(number))
        again = tf.saved_model.load(tmp_path / str(number))
        calls = [loaded.serve(X).numpy() for _ in range(3)]
        for call in calls:
            np.testing.assert_array_equal(call, again.serve(X))
        assert (given == 3) == np.array_equal(calls[0], calls[1]) == np.array_equal(calls[1], calls[2])


@pytest.mark.proves(
    "A layer with `trainable = False` | Can be trained: `loaded.trainable_variables` leaves its weights out, a tape "
    "watches them",
    "With `trainable=True`, the default, it trains frozen layers too. Weights made with `trainable=False`, such as a "
    "moving mean, stay.",
)
def test_a_frozen_layer(tmp_path):
    model = of(Saturate(), layers.Dense(2))
    model.layers[0].trainable = False
    loaded = load(model, tmp_path / "frozen")
    assert (len(loaded.trainable_variables), len(loaded.non_trainable_variables)) == (2, 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded.serve(X) ** 2)
    assert len(tape.watched_variables()) == 3
    assert tape.gradient(loss, loaded.non_trainable_variables[0]) is not None
    for trainable, number in ((True, 3), (False, 0)):
        layer = layers.TFSMLayer(tmp_path / "frozen", trainable=trainable)
        assert len(layer.trainable_weights) == number

    again = of(layers.TFSMLayer(tmp_path / "frozen"))
    before = [w.numpy() for w in again.weights]
    again.compile("sgd", "mse", run_eagerly=True)
    again.fit(X, X[:, :2], verbose=0)
    assert all(not np.array_equal(one, w.numpy()) for one, w in zip(before, again.weights, strict=True))

    def add(self, input_shape):
        self.shift = self.add_weight(name="shift", shape=(5,), initializer="zeros", trainable=False)

    own = layer_of(lambda self, x: x + self.shift, build=add)()
    made = of(own, layers.BatchNormalization(), layers.Dense(2))
    made.export(tmp_path / "made", verbose=False)
    for jit_compile in (False, True):
        again = of(layers.TFSMLayer(tmp_path / "made"))
        assert (len(again.trainable_weights), len(again.non_trainable_weights)) == (4, 3)
        before = [w.numpy() for w in again.non_trainable_weights]
        again.compile("sgd", "mse", jit_compile=jit_compile)
        again.fit(X, X[:, :2], verbose=0)
        for one, weight in zip(before, again.non_trainable_weights, strict=True):
            np.testing.assert_array_equal(one, weight)


@pytest.mark.proves(
    "A weight that `call` assigns, the state of a `stateful` RNN | Changes with each call, and calls at the same time "
    "may lose a change; a new load starts from the export",
)
def test_state_that_moves(tmp_path):
    class Visits(keras.layers.Layer):
        def build(self, input_shape):
            self.seen = self.add_weight(name="seen", shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.seen.assign_add(1.0)
            return 0.0 * inputs + self.seen

    model = of(Visits())
    model(X)
    loaded = load(model, tmp_path / "visits")
    assert [float(loaded.serve(X)[0, 0]) for _ in range(2)] == [2.0, 3.0]
    assert float(loaded.signatures["serving_default"](table=X)["output_0"][0, 0]) == 4.0
    assert float(called(tf.saved_model.load(tmp_path / "visits"), "serve", X)[0, 0]) == 2.0
    assert float(model.layers[0].seen) == 1.0
    threads = [threading.Thread(target=lambda: [loaded.serve(X) for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 30.0 <= float(loaded.serve(X)[0, 0]) <= 105.0
    graphs = loaded.signatures["serve"].graph.as_graph_def().library.function
    kinds = {node.op for function in graphs for node in function.node_def}
    assert "AssignVariableOp" in kinds  # after a read: between both, another thread may have written
    assert "AssignAddVariableOp" not in kinds

    series = np.stack([X[:3], X[3:6]])
    rnn = keras.Sequential([keras.Input((3, 5), batch_size=2), layers.SimpleRNN(2, stateful=True)])
    loaded = load(rnn, tmp_path / "rnn")
    first, second = loaded.serve(series).numpy(), loaded.serve(series).numpy()
    assert not close(first, second)
    again = tf.saved_model.load(tmp_path / "rnn")
    assert close(again.serve(series), first)


@pytest.mark.proves(
    "The mask of the output | Lost. Inside the model, masks work",
    "It loses masks.",
)
def test_masks(tmp_path):
    tokens = np.array([[1, 2, 0, 0]], "int32")
    embed = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(10, 3, mask_zero=True)])
    inside = keras.Sequential([keras.Input((None,), dtype="int32"), *embed.layers, layers.GlobalAveragePooling1D()])
    loaded = load(inside, tmp_path / "inside")
    assert close(loaded.serve(tokens), loaded.serve(tokens[:, :2]))
    assert close(loaded.serve(tokens), inside(tokens))
    loaded = load(embed, tmp_path / "outside")
    assert not hasattr(loaded.serve(tokens), "_keras_mask")
    assert keras.src.backend.get_keras_mask(embed(tokens)) is not None
    inputs = keras.Input((None,), dtype="int32")
    lost = keras.Model(inputs, layers.GlobalAveragePooling1D()(layers.TFSMLayer(tmp_path / "outside")(inputs)))
    assert close(lost(tokens), embed(tokens).numpy().mean(axis=1))
    assert not close(lost(tokens), inside(tokens))


@pytest.mark.proves(
    "`TimeDistributed` over an axis of length `None` | Has as many steps as the batch has rows. "
    "More rows than steps raise",
)
def test_time_distributed_takes_the_batch_for_the_time(tmp_path):
    for number, length in enumerate((None, 3)):
        series = keras.Input((length, 5), name="series")
        model = keras.Model(series, layers.TimeDistributed(Saturate())(series))
        x = np.stack([X[:3], X[3:6], X[5:8], X[:3]])
        loaded = load(model, tmp_path / str(number))
        assert close(loaded.serve(x[:3]), model(x[:3]))
        assert loaded.serve(x[:2]).shape == (2, length or 2, 5)
        assert close(loaded.serve(x[:2]), model(x[:2])[:, : length or 2])
        assert close(model.predict(x, verbose=0), model(x))
        if length:
            assert close(loaded.serve(x), model(x))
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="slice index 3 of dimension 0 out of bounds"):
                loaded.serve(x)


@pytest.mark.proves("A custom gradient | Kept")
@pytest.mark.parametrize("form", ["tf", "ops"])
def test_a_custom_gradient_is_kept(form, tmp_path, elsewhere):
    assert np.all(np.array(elsewhere.found["gradient"]) == 10.0)
    wrap = tf.custom_gradient if form == "tf" else ops.custom_gradient
    loaded = load(of(layer_of(lambda self, x: wrap(times_ten)(x))()), tmp_path / "gradient")
    x = tf.constant(X)
    for call in (loaded.serve, lambda x: loaded.signatures["serve"](table=x)["output_0"]):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(call(x))
        np.testing.assert_allclose(tape.gradient(total, x), np.full(X.shape, 10.0))


@pytest.mark.proves(
    "Mixed precision | Computes the same; the output is `float16` or `bfloat16` if the last layer is mixed"
)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_policies(dtype, tmp_path):
    inputs = keras.Input((5,), name="table")
    model = keras.Model(inputs, layers.Dense(2, dtype=dtype)(Saturate(dtype=dtype)(inputs)))
    loaded = load(model, tmp_path / "policy")
    np.testing.assert_array_equal(loaded.serve(X), model(X))
    assert loaded.serve(X).dtype == keras.DTypePolicy(dtype).compute_dtype


@pytest.mark.proves('End such a model in a layer with `dtype="float32"`.')
def test_a_model_in_mixed_precision_that_ends_in_float32(tmp_path):
    inputs = keras.Input((5,), name="table")
    hidden = Saturate(dtype="mixed_float16")(inputs)
    for number, last in enumerate(("mixed_float16", "float32")):
        model = keras.Model(inputs, layers.Dense(2, dtype=last)(hidden))
        loaded = load(model, tmp_path / str(number))
        status, reply = serve.answer(loaded, json.dumps({"instances": X.tolist()}))
        assert status == (200 if last == "float32" else 501)
        assert loaded.serve(X).dtype == ("float32" if last == "float32" else "float16")
    np.testing.assert_allclose(reply["predictions"], model(X), rtol=1e-3, atol=1e-3)


@pytest.mark.proves("A Python `if` on a tensor, NumPy on a tensor, `len(inputs)` | The export raises")
def test_what_cannot_be_traced(tmp_path):
    def branches(self, inputs):
        if ops.sum(inputs) > 0:
            return inputs
        return -inputs

    cases = {
        branches: "as a Python `bool` is not allowed",
        lambda self, x: np.tanh(x): "Cannot convert a symbolic tf.Tensor",
        lambda self, x: x / len(x): "len is not well defined for a symbolic Tensor",
    }
    for call, message in cases.items():
        model = Calls(layer_of(call)())
        model(X)
        with pytest.raises(Exception, match=message):
            model.export(tmp_path / "no", verbose=False, input_signature=SPEC)


@pytest.mark.proves(
    "Write `training=False`, keep what changes in a weight, and compare `loaded.serve(x)` with `model.predict(x)` "
    "before you deploy.",
)
def test_the_mended_form(tmp_path):
    class Mended(keras.layers.Layer):
        def build(self, input_shape):
            self.shift = self.add_weight(name="shift", shape=(), initializer="zeros", trainable=False)

        def call(self, inputs, training=False):
            return inputs + self.shift + (100.0 if training else 0.0)

    mended = Mended()
    model = of(mended)
    mended.shift.assign(5.0)
    loaded = load(model, tmp_path / "mended")
    assert close(loaded.serve(X), X + 5.0)
    assert close(loaded.serve(X), model.predict(X, verbose=0))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Sequential or functional | The names of its `Input`s, with `_` for `-` and `.`, not the keys of a dict",
    "An `Input` without a name | `keras_tensor_12`, whose number depends on what was made before it",
    "A dict of outputs keeps its keys. One tensor is `output_0`, a list `output_0` and `output_1`, whatever the layers "
    "are called.",
)
def test_the_names_of_a_functional_model(tmp_path):
    loaded = load(of(layers.Dense(2, name="price")), tmp_path / "sequential")
    assert (list(takes(loaded)), returns(loaded)) == (["table"], ["output_0"])
    table, photo = keras.Input((5,), name="table"), keras.Input((3,), name="photo")
    outputs = [layers.Dense(2, name="price")(table), layers.Dense(1, name="rent")(photo)]
    with pytest.warns(UserWarning, match="all keys in the dict must match the names"):
        model = keras.Model({"a": table, "b": photo}, dict(zip(("x", "y"), outputs, strict=True)))
    loaded = load(model, tmp_path / "dict")
    assert (sorted(takes(loaded)), returns(loaded)) == (["photo", "table"], ["x", "y"])
    given = {"a": X, "b": X[:, :3]}
    assert close(loaded.serve(given)["x"], model(given)["x"])
    loaded = load(keras.Model([table, photo], outputs), tmp_path / "list")
    assert (sorted(takes(loaded)), returns(loaded)) == (["photo", "table"], ["output_0", "output_1"])
    for name in ("my-input", "my.input"):
        given = keras.Input((5,), name=name)
        assert list(takes(load(keras.Model(given, Saturate()(given)), tmp_path / name))) == ["my_input"]
    names = []
    for number in range(3):  # after the second, nothing was made before
        if number == 2:
            keras.utils.clear_session()
        inputs = keras.Input((5,))
        model = keras.Model(inputs, Saturate()(inputs))
        first, again = (list(takes(load(model, tmp_path / f"unnamed{number}{time}"))) for time in (1, 2))
        assert first == again, "the same model has the same name"
        names += first
    assert len(set(names)) == 3
    assert names[2] == "keras_tensor"
    assert all(re.fullmatch(r"keras_tensor(_\d+)?", name) for name in names)


@pytest.mark.proves(
    "Subclassed, one tensor | `args_0`",
    "Subclassed, a list or a dict | `args_0`, `args_0_1`, those of a dict in the order of `sorted(keys)`",
    "If both had the same shape, a request that swaps them would be answered.",
    "Any of them, with `name=` in the `input_signature` | These",
)
def test_the_names_of_a_subclassed_model(tmp_path):
    page = shown(export, "names_fails", "named")
    assert page.printed == "args_0 (None, 9)\nargs_0_1 (None, 4)\nphoto (None, 9)\ntable (None, 4)"
    x = appraisals(8)[0]
    assert close(page["signature"](**{k: tf.constant(v) for k, v in x.items()})["price"], page["appraiser"](x)["price"])
    assert list(takes(load(everywhere(Saturate)[2], tmp_path / "one"))) == ["args_0"]

    class Minus(keras.Model):
        def call(self, inputs):
            return inputs["b"] - inputs["a"]

    ones, twos = tf.ones((1, 2)), 2 * tf.ones((1, 2))
    for number, keys in enumerate((("a", "b"), ("b", "a"))):
        model = Minus()
        model({key: ones for key in keys})
        signature = load(model, tmp_path / f"minus{number}").signatures["serve"]
        assert float(signature(args_0=ones, args_0_1=twos)["output_0"][0, 0]) == 1.0
        assert float(signature(args_0=twos, args_0_1=ones)["output_0"][0, 0]) == -1.0

    class First(keras.Model):
        def call(self, inputs):
            first, second = (inputs["a"], inputs["B"]) if isinstance(inputs, dict) else inputs
            return first - second

    for number, (given, difference) in enumerate((({"a": ones, "B": ones}, 1.0), ([ones, ones], -1.0))):
        model = First()
        model(given)
        signature = load(model, tmp_path / f"first{number}").signatures["serve"]
        assert float(signature(args_0=ones, args_0_1=twos)["output_0"][0, 0]) == difference

    for number, (model, spec) in enumerate(
        (
            (of(Saturate()), keras.InputSpec(shape=(None, 5), dtype="float32", name="mine")),
            (everywhere(Saturate)[1], tf.TensorSpec((None, 5), name="mine")),
            (everywhere(Saturate)[2], tf.TensorSpec((None, 5), name="mine")),
        )
    ):
        assert list(takes(load(model, tmp_path / f"named{number}", input_signature=[spec]))) == ["mine"]


@pytest.mark.proves(
    "`input_signature` is a list with one entry for each positional argument of `call`. A model with two of them needs "
    "it, or its own `build`: `export` otherwise raises `missing a required argument`.",
)
def test_two_positional_arguments(tmp_path):
    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = layers.Dense(2), layers.Dense(2)

        def call(self, left, right):
            return self.left(left) - self.right(right)

    class Built(Pair):
        def build(self, left_shape, right_shape):
            self.left.build(left_shape)
            self.right.build(right_shape)

    pair, built = Pair(), Built()
    pair(X, X[:, :3])
    built(X, X[:, :3])
    with pytest.raises(TypeError, match="missing a required argument: 'right'"):
        pair.export(tmp_path / "no", verbose=False)
    loaded = load(built, tmp_path / "built")
    assert close(loaded.serve(X, X[:, :3]), built(X, X[:, :3]))
    specs = [tf.TensorSpec((None, width), name=name) for name, width in (("left", 5), ("right", 3))]
    loaded = load(pair, tmp_path / "pair", input_signature=specs)
    assert sorted(takes(loaded)) == ["left", "right"]
    assert close(loaded.serve(X, X[:, :3]), pair(X, X[:, :3]))


@pytest.mark.proves("A Python `if` on a tensor: it raises as in `fit`.")
def test_a_python_if_raises_as_in_fit(tmp_path):
    def branches(self, inputs):
        if ops.sum(inputs) > 0:
            return inputs
        return -inputs

    model = Calls(layer_of(branches)())
    model(X)
    model.compile("sgd", "mse")
    for run in (
        lambda: model.fit(X, X, verbose=0),
        lambda: model.export(tmp_path / "no", verbose=False, input_signature=SPEC),
    ):
        with pytest.raises(Exception, match="as a Python `bool` is not allowed"):
            run()


# --- endpoints --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`ExportArchive` writes several endpoints into one folder, which share their weights:",
    "The first endpoint is also `serving_default`, unless you give that name to another.",
    "A function in `add_endpoint` | Its parameters",
)
def test_several_endpoints(tmp_path):
    page = shown(export, "program", "endpoints")
    loaded, raw = page["loaded"], page["raw"]
    kinds, sizes = np.array(["house", "?", "flat"]), np.array([[80, 3], [110, 5], [50, 1]], "float32")
    hot = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], "float32")
    table = np.concatenate([hot, (sizes - [80, 3]) / [30, 2]], axis=1).astype("float32")
    expected = page["model"](table)["price"]
    assert close(loaded.signatures["raw"](kind=tf.constant(kinds), size=sizes)["price"], expected)
    assert close(loaded.signatures["serving_default"](kind=tf.constant(kinds), size=sizes)["price"], expected)
    assert close(loaded.raw({"kind": tf.constant(kinds), "size": sizes})["price"], expected)
    assert close(raw({"kind": tf.constant(kinds), "size": tf.constant(sizes)})["price"], expected)
    for variable in loaded.variables:
        variable.assign(tf.zeros_like(variable))
    assert not np.any(loaded.signatures["raw"](kind=tf.constant(kinds), size=sizes)["price"])
    assert not np.any(loaded.signatures["table"](table=table)["price"])

    model = of(layers.Dense(2))
    both = {"one": (lambda photo: model(photo), SPEC), "serving_default": (lambda x: 0.0 * model(x), SPEC)}
    loaded = archived(tmp_path / "default", model, **both)
    assert sorted(loaded.signatures) == ["one", "serving_default"]
    assert list(takes(loaded, "one")) == ["photo"]
    assert not np.any(loaded.signatures["serving_default"](x=X)["output_0"])
    assert close(loaded.signatures["one"](photo=X)["output_0"], model(X))


@pytest.mark.proves(
    "A function is an endpoint too, such as `lambda table: model(table, training=True)` for dropout at prediction.",
    "What it uses has to be tracked, if it isn't a weight:",
    "Call the layer once, then pass it to `archive.track`. A table that is an attribute of a layer is found by "
    "tracking its model. `loaded.variables` has the weights of what was tracked, and is empty without: the numbers are "
    "right either way.",
)
def test_what_has_to_be_tracked(tmp_path):
    lookup = layers.StringLookup(vocabulary=["flat", "house"])
    archive = keras.export.ExportArchive()
    with pytest.raises(ValueError, match="has not yet been built"):
        archive.track(lookup)
    lookup(tf.constant(["flat"]))
    word, index = [tf.TensorSpec((None,), "string")], (lambda kind: lookup(kind))
    loaded = archived(tmp_path / "lookup", lookup, index=(index, word))
    assert loaded.index(tf.constant(["house", "boat"])).numpy().tolist() == [2, 0]
    with pytest.raises(AssertionError, match="references an 'untracked' resource"):
        archived(tmp_path / "no", index=(index, word))

    pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
    table = tf.lookup.StaticHashTable(pairs, 0.0)
    with pytest.raises(AssertionError, match="references an 'untracked' resource"):
        archived(tmp_path / "no", find=(table.lookup, word))
    found = called(archived(tmp_path / "table", table, find=(table.lookup, word)), "find", tf.constant(["b", "?"]))
    assert found.numpy().tolist() == [2.0, 0.0]
    finds = layer_of(
        lambda self, x: self.table.lookup(x), compute_output_spec=lambda s, x: keras.KerasTensor(x.shape)
    )()
    finds.table = table
    text = keras.Input((), dtype="string")
    loaded = load(keras.Model(text, finds(text)), tmp_path / "attribute")
    assert loaded.serve(tf.constant(["b", "?"])).numpy().tolist() == [2.0, 0.0]

    model = of(layers.Dropout(0.5), Saturate())
    ends = {"one": (lambda table: model(table, training=True), SPEC), "two": (lambda x: model(x), SPEC)}
    for number, tracked in enumerate(((), (model,))):
        loaded = archived(tmp_path / f"weights{number}", *tracked, **ends)
        assert close(loaded.two(X), model(X))
        assert not close(loaded.one(X), model(X))
        assert len(loaded.variables) == (1 + 1 if tracked else 0)  # of dropout, too


# --- serving ----------------------------------------------------------------------------------------------------------

FLAT, HOUSE = {"kind": "flat", "size": [80.0, 3.0]}, {"kind": "house", "size": [120.0, 5.0]}
COLUMNS = {"kind": ["flat", "house"], "size": [[80.0, 3.0], [120.0, 5.0]]}


@pytest.mark.proves(
    "serve.py answers the predict requests of TensorFlow Serving's REST API.",
    "It needs TensorFlow and no Keras:",
    '`{"instances": [[1, 2], [3, 4]]}`, one input | `{"predictions": [...]}`, one entry for each row',
    '`{"instances": [{"kind": "flat", "size": [80, 3]}]}`, inputs by name | The same',
    '`{"inputs": {"kind": ["flat"], "size": [[80, 3]]}}`, in columns | `{"outputs": ...}`',
    '`"signature_name": "table"` | From this endpoint; by default `serving_default`',
    "One output is written without its name, several are an object.",
    "TensorFlow Serving looks for a folder whose name is a number, the version: hence `prices/1`.",
)
def test_rows_and_columns(elsewhere):
    prices = elsewhere.raw({"kind": tf.constant(COLUMNS["kind"]), "size": tf.constant(COLUMNS["size"])})["price"]
    status, reply = elsewhere.predict({"instances": [FLAT, HOUSE]})
    assert (status, list(reply)) == (200, ["predictions"])
    assert close(reply["predictions"], prices)
    status, reply = elsewhere.predict({"inputs": COLUMNS})
    assert (status, list(reply)) == (200, ["outputs"])
    assert close(reply["outputs"], prices)
    status, reply = elsewhere.predict({"inputs": {**COLUMNS, "more": 3}})
    assert status == 200
    for request in (
        {"instances": X.tolist()},
        {"instances": [{"table": row} for row in X.tolist()]},
        {"inputs": X.tolist()},
        {"inputs": {"table": X.tolist()}},
    ):
        status, reply = elsewhere.predict({"signature_name": "table", **request})
        (values,) = reply.values()
        assert status == 200
        np.testing.assert_allclose(values, elsewhere.inner(X)["price"], rtol=1e-4, atol=1e-6)
    two = {"signature_name": "two", "instances": [[1, 2, 3, 4, 5], [0, 0, 0, 0, 0.1]]}
    assert elsewhere.predict(two)[1]["predictions"][0] == {"total": 15.0, "twice": [2.0, 4.0, 6.0, 8.0, 10.0]}
    two["inputs"] = two.pop("instances")
    assert elsewhere.predict(two)[1]["outputs"] == {
        "total": [15.0, 0.1],
        "twice": [[2.0, 4.0, 6.0, 8.0, 10.0], [0.0, 0.0, 0.0, 0.0, 0.2]],
    }
    odd = {"signature_name": "odd", "inputs": [[1, 2, 3, 4, 5]]}
    assert elsewhere.predict(odd)[1]["outputs"]["first"] == 1.0
    odd["instances"] = odd.pop("inputs")
    assert elsewhere.predict(odd)[0] == 400


@pytest.mark.proves(
    '`{"b64": "..."}` in the place of a string | Bytes, such as a PNG file',
    'An output whose name ends in `_bytes` | `{"b64": "..."}`',
)
def test_strings_and_bytes(elsewhere):
    png = b"\x89PNG\r\n\xff"
    encoded = {"b64": base64.b64encode(png).decode()}
    status, reply = elsewhere.predict({"signature_name": "echo", "instances": [{"a": "Zoë", "b_bytes": encoded}]})
    assert (status, reply) == (200, {"predictions": [{"a": "Zoë", "b_bytes": encoded}]})
    status, reply = elsewhere.predict({"signature_name": "echo", "inputs": {"a": [""], "b_bytes": [encoded]}})
    assert (status, reply) == (200, {"outputs": {"a": [""], "b_bytes": [encoded]}})
    for wrong in (
        {"a": encoded, "b_bytes": "x"},
        {"a": "x", "b_bytes": {"b64": "?"}},
        {"a": "x", "b_bytes": {"b": "1"}},
    ):
        assert elsewhere.predict({"signature_name": "echo", "instances": [wrong]})[0] == 400
    types = {"a": [True], "b": [255], "c": [-(2**62)], "d": [0.1]}
    assert elsewhere.predict({"signature_name": "types", "inputs": types}) == (200, {"outputs": types})


WRONG = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "deep": b"[" * 20_000,
    "no object": [1],
    "neither": {"signature_name": "raw"},
    "both": {"instances": [FLAT], "inputs": COLUMNS},
    "another signature": {"signature_name": "sell", "instances": [FLAT]},
    "no name": {"signature_name": 3, "instances": [FLAT]},
    "no list": {"instances": FLAT},
    "no rows": {"instances": []},
    "rows without names": {"instances": [[80.0, 3.0]]},
    "missing key": {"instances": [FLAT, {"kind": "flat"}]},
    "another key": {"instances": [{**FLAT, "price": 3}]},
    "a row without names": {"instances": [FLAT, [1, 2]]},
    "columns without names": {"inputs": [[80.0, 3.0]]},
    "missing column": {"inputs": {"kind": ["flat"]}},
    "number for a string": {"instances": [{**FLAT, "kind": 3}]},
    "string for a number": {"instances": [{**FLAT, "size": ["80", 3]}]},
    "bool for a number": {"instances": [{**FLAT, "size": [True, 3]}]},
    "null": {"instances": [{**FLAT, "size": [None, 3]}]},
    "too large": {"instances": [{**FLAT, "size": [1e39, 3]}]},
    "huge": b'{"instances": [{"kind": "flat", "size": [1' + b"0" * 400 + b", 3]}]}",
    "wrong width": {"instances": [{**FLAT, "size": [80.0]}]},
    "wrong rank": {"instances": [{**FLAT, "size": 80.0}]},
    "ragged": {"inputs": {"kind": ["flat", "flat"], "size": [[80.0, 3.0], [1.0]]}},
    "unequal batches": {"inputs": {"kind": ["flat"], "size": [[80.0, 3.0], [1.0, 2.0]]}},
    "whole number": {"signature_name": "types", "inputs": {"a": [True], "b": [1.5], "c": [1], "d": [1]}},
    "out of range": {"signature_name": "types", "inputs": {"a": [True], "b": [256], "c": [1], "d": [1]}},
    "number for a bool": {"signature_name": "types", "inputs": {"a": [1], "b": [1], "c": [1], "d": [1]}},
    "the graph refuses": {"signature_name": "fails", "inputs": [[float("nan")] * 5]},
}


@pytest.mark.proves('A wrong shape, type, signature or JSON, a missing input | 400, `{"error": "..."}`')
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request(name, elsewhere):
    status, reply = elsewhere.predict(WRONG[name])
    assert (status, list(reply)) == (400, ["error"])
    assert reply["error"]
    assert elsewhere.predict({"instances": [FLAT]})[0] == 200


@pytest.mark.proves(
    "Another model, another version | 404",
    "`float16`, which mixed precision returns, isn't written: 501.",
    "serves the highest version until it is stopped.",
)
def test_addresses_and_versions(elsewhere):
    body = json.dumps({"instances": [FLAT]})
    assert elsewhere.ask("POST", "/v1/models/prices/versions/12:predict", body)[0] == 200
    for path in ("rents", "prices/versions/9"):
        status, reply = elsewhere.ask("POST", f"/v1/models/{path}:predict", body)
        assert status == 404
        assert reply["error"].startswith("Servable not found for request: ")
    for path in ("/", "/v1/models/prices", "/v1/models/prices:classify", "/v1/models/prices/versions/a:predict"):
        assert elsewhere.ask("POST", path, body)[0] == 400
    status, reply = elsewhere.ask("GET", "/v1/models/prices")
    assert (status, reply["model_version_status"][0]["version"]) == (200, "12")
    assert elsewhere.ask("GET", "/v1/models/rents")[0] == 404
    assert elsewhere.ask("POST", "/v1/models/prices:predict", "", **{"Content-Length": "many"})[0] == 400
    # Not what a client promises: no length, more than the connection brings, a digit that isn't one, chunks
    for headers in ({"Content-Length": "\xb2"}, {"Content-Length": "9" * 5000}, {"Transfer-Encoding": "chunked"}):
        status, reply = elsewhere.ask("POST", "/v1/models/prices:predict", "", **headers)
        assert (status, reply) == (400, {"error": "Expecting a Content-Length, and no other encoding"})
    host, port = elsewhere.host.split(":")
    for version, header in (("1.1", "Connection: close\r\n"), ("1.0", "")):
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            head = f"POST /v1/models/prices:predict HTTP/{version}\r\n{header}Content-Length: {len(body)}\r\n\r\n"
            raw.sendall(head.encode() + body.encode())
            assert b"predictions" in raw.makefile("rb").read()  # to the end, which the server has to make
    with contextlib.closing(http.client.HTTPConnection(elsewhere.host, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/v1/models/prices:predict", body)
            kept = connection.sock
            assert connection.getresponse().read()
            assert connection.sock is kept is not None
    assert serve.Handler.disable_nagle_algorithm  # 40 ms a request otherwise, on a connection that is kept
    for name in ("half", "takes_half"):
        given = {"signature_name": name, "inputs": [[1.0] * 5] if name == "half" else [1.0]}
        assert elsewhere.predict(given)[0] == 501
    nan = elsewhere.predict({"signature_name": "table", "instances": [[float("nan")] * 5]})
    assert np.isnan(nan[1]["predictions"][0][0])

    several = [[{"instances": [row]}, None] for row in (FLAT, HOUSE) * 8]
    threads = [threading.Thread(target=lambda one=one: one.append(elsewhere.predict(one[0]))) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [elsewhere.predict({"instances": [row]}) for row in (FLAT, HOUSE)]
    assert [one[2] for one in several] == expected * 8


@pytest.mark.proves(
    "Post JSON to `http://localhost:8501/v1/models/prices:predict`.",
    "Its `answer` is a function, so that you can test requests without a server:",
    "`serve.py` follows the documentation of TensorFlow Serving, and wasn't compared with the server. It answers this "
    "machine only, unless you pass `--host`",
)
def test_answer_is_the_function_of_the_server(tmp_path, monkeypatch):
    page = shown(export, "program", "endpoints", "requests")
    assert page["answer"] is serve.answer
    for request in (page["in_rows"], page["in_columns"]):
        status, reply = serve.answer(page["loaded"], json.dumps(request))
        assert status == 200
        assert np.shape(next(iter(reply.values())))[1:] == (1,)

    status, reply = serve.answer(object(), json.dumps({"instances": [1]}))
    assert (status, list(reply)) == (500, ["error"])
    given = []

    class Server:
        server_port = 8501

        def __init__(self, address, handler):
            given.append((address, handler.args[1:]))

        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

        def serve_forever(self):
            pass

    monkeypatch.setattr(serve, "Server", Server)
    of(Saturate()).export(tmp_path / "mine", verbose=False)
    for arguments in ([], ["--host", "0.0.0.0", "--port", "80", "--name", "yours"]):
        monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "mine"), *arguments])
        serve.main()
    assert given == [(("127.0.0.1", 8501), ("mine", "1")), (("0.0.0.0", 80), ("yours", "1"))]


# --- in Keras again ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`load_model` doesn't read the folder: `File format not supported`.",
    "`TFSMLayer` makes a layer of one endpoint:",
    "A `.keras` file of the model holds its weights, and of the graph the path of the folder alone: `load_model` needs "
    "`safe_mode=False`, and the folder where it was. Give `TFSMLayer` that path as a `str`: a `Path` raises `Cannot "
    "serialize object` at `save`. `export` again writes a folder that needs no other.",
)
def test_in_keras_again(tmp_path):
    page = shown(export, "program", "endpoints", "again")
    assert page["frozen"].trainable_weights == []
    model, folder, file = of(Saturate(), layers.Dense(2)), tmp_path / "folder", tmp_path / "model.keras"
    model.export(folder, verbose=False)
    with pytest.raises(ValueError, match="File format not supported"):
        keras.saving.load_model(folder)
    again = of(layers.TFSMLayer(str(folder)))
    assert close(again(X), model(X))
    again.set_weights([3.0 * weight for weight in again.get_weights()])
    assert not close(again(X), model(X))
    again.save(file)
    with pytest.raises(ValueError, match="Requested the deserialization of a `TFSMLayer`"):
        keras.saving.load_model(file)
    assert close(keras.saving.load_model(file, safe_mode=False)(X), again(X))
    with pytest.raises(TypeError, match="Cannot serialize object"):
        of(layers.TFSMLayer(folder)).save(tmp_path / "path.keras")
    again.export(tmp_path / "again", verbose=False)
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="SavedModel file does not exist"):
        keras.saving.load_model(file, safe_mode=False)
    loaded = tf.saved_model.load(tmp_path / "again")
    assert close(loaded.serve(X), again(X))
    with pytest.raises(ValueError, match="is neither an attribute"):
        layers.TFSMLayer(tmp_path / "again", "predict")


@pytest.mark.proves(
    "Dropout and `BatchNormalization` stay as in prediction, silently, unless `call_training_endpoint` names an "
    "endpoint with `training=True`.",
)
def test_training_an_exported_model(tmp_path):
    model = of(layers.Dropout(0.5), layers.BatchNormalization())
    ends = {
        "serve": (lambda x: model(x, training=False), SPEC),
        "train": (lambda x: model(x, training=True), SPEC),
    }
    archived(tmp_path / "both", model, **ends)
    alone = layers.TFSMLayer(tmp_path / "both")
    both = layers.TFSMLayer(tmp_path / "both", call_training_endpoint="train")
    assert close(alone(X + 9.0, training=True), model(X + 9.0))
    assert close(alone(X), model(X))
    assert not close(both(X + 9.0, training=True), model(X + 9.0))
    moved = both(X).numpy()
    assert not close(moved, model(X))
