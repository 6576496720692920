"""`docs/saving/keras_2_files.md`: every claim that the page makes, proved on files that Keras 2 wrote."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.saving import keras_2_files
from snippets.saving.keras_2_files import (
    Offset,
    from_checkpoint,
    hard_sigmoid_2,
    keras_2_file,
    keras_3_config,
    load_keras_2,
)
from tests import contract
from tests.saving.record_keras_2 import numbers, read
from tests.shown import shown

LAYERS = {"Offset": contract.Layer(lambda **kw: Offset(**kw), inputs=[(4,), (3, 4)])}
OLD, NEW = "keras-2.12", "tf_keras-2.21"
register = keras.saving.register_keras_serializable


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


# --- the classes of the old programs, as Keras 3 wants them -----------------------------------------------------------


class Scaled(layers.Layer):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.offset = self.add_weight(name="offset", shape=(self.units,), trainable=False)
        self.scale = self.add_weight(name="scale", shape=(self.units,))
        self.dense = layers.Dense(self.units, name="dense")
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs) * self.scale + self.offset


class Packed(Scaled):
    pass


class Bare(Scaled):
    pass


class Late(layers.Layer):
    def build(self, input_shape):
        self.second, self.first = layers.Dense(4), layers.Dense(4)
        self.norm = layers.BatchNormalization()
        for layer in (self.second, self.first, self.norm):
            layer.build(input_shape)

    def call(self, inputs):
        return self.norm(self.second(self.first(inputs)))


class Loop(layers.Layer):
    """As the old one, with the keys of its dict in the order that is given."""

    keys = ("b", "a")

    def build(self, input_shape):
        self.many = [layers.Dense(4), layers.Dense(4)]
        self.named = {key: layers.Dense(4) for key in self.keys}
        for layer in [*self.many, *self.named.values()]:
            layer.build(input_shape)

    def call(self, inputs):
        for layer in [*self.many, self.named["b"], self.named["a"]]:
            inputs = layer(inputs) + 0.5 * inputs
        return inputs


class SortedLoop(Loop):
    keys = ("a", "b")


class Appended(layers.Layer):
    """As the old one: one loop fills two lists."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.fill()

    def fill(self):
        self.first, self.second = [], []
        for _ in range(2):
            self.first.append(layers.Dense(4))
            self.second.append(layers.Dense(4))

    def build(self, input_shape):
        for layer in [*self.first, *self.second]:
            layer.build(input_shape)

    def call(self, inputs):
        for first, second in zip(self.first, self.second, strict=True):
            inputs = 2.0 * first(inputs) + second(inputs)
        return inputs


class ListByList(Appended):
    def fill(self):
        self.first = [layers.Dense(4) for _ in range(2)]
        self.second = [layers.Dense(4) for _ in range(2)]


class Softmax(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


class Gate(layers.Layer):
    """`layer` is made by Keras from the config, `activation` by its name."""

    hard_sigmoid = staticmethod(keras.activations.hard_sigmoid)

    def __init__(self, activation="hard_sigmoid", layer=None, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer if isinstance(layer, layers.Layer) else layers.deserialize(layer)

    def call(self, inputs):
        return self.hard_sigmoid(self.layer(inputs))


class Gate2(Gate):
    hard_sigmoid = staticmethod(hard_sigmoid_2)


class Loops(keras.Model):
    keys = ("b", "a")
    fill = Appended.fill

    def __init__(self):
        super().__init__()
        self.fill()
        self.named = {key: layers.Dense(4) for key in self.keys}

    def call(self, inputs):
        for first, second in zip(self.first, self.second, strict=True):
            inputs = 2.0 * first(inputs) + second(inputs)
        return self.named["a"](self.named["b"](inputs))


class Named(layers.Layer):
    def build(self, input_shape):
        self.w = self.add_weight(name="kernel", shape=input_shape[-1:])

    def call(self, inputs):
        return inputs * self.w


class Parts(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.lstm = layers.LSTM(4)
        self.own = Named()

    def call(self, inputs):
        return self.own(self.lstm(self.norm(inputs)[:, None, :]))


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(4)
        self.body = layers.Dense(4, activation="tanh")

    def call(self, inputs):
        return self.head(self.body(inputs))


CLASSES = {cls.__name__: cls for cls in (Packed, Bare, Late, Loop, Appended, Gate)} | {
    "Custom>Scaled": Scaled,
    "lib>Packed": Packed,
}


# --- what Keras 3 makes of each file, in a new process ----------------------------------------------------------------


@cache
def recorded(version: str) -> dict[str, Any]:
    return json.loads(read()[f"{version}/record.json"])


def given(record: dict, name: str) -> Any:
    if name == "embedding":
        return np.array([[1, 2, 0], [4, 0, 0]])
    if name == "named_inputs":
        return {"a": numbers((4, 4)), "b": numbers((4, 4), 1.0)}
    return numbers(record["inputs"][0])


def off(model: Any, name: str, version: str = OLD) -> float:
    """How far the outputs are from those of Keras 2."""
    record = recorded(version)["outputs"][name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            np.max(
                np.abs(np.asarray(model(given(record, name), training=False), "float64") - np.array(record["outputs"]))
            )
        )


def tried(load, name: str, version: str) -> str:
    """`equal`, `differs`, or the message."""
    keras.backend.clear_session()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "equal" if off(load(), name, version) < (2e-3 if name == "mixed" else 1e-5) else "differs"
    except (ValueError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


def everything(folder: Path, version: str, ways: dict[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Runs in the new process: what each way makes of the models of these names."""

    def load(way: str, path: Path) -> Any:
        options = {"custom_objects": CLASSES | ({"Softmax": Softmax} if path.name == "same_name" else {})}
        if way == "h5":
            return keras.saving.load_model(path.with_suffix(".h5"), compile=False, **options)
        if way == "keras":
            return keras.saving.load_model(path.with_suffix(".keras"), compile=False, **options)
        if way == "json":
            return keras.models.model_from_json(path.with_suffix(".json").read_text("utf-8"), **options)
        if way == "from json":
            config = keras_3_config(json.loads(path.with_suffix(".json").read_text("utf-8")))
            model = keras.saving.deserialize_keras_object(config, **options)
            model.load_weights(path.with_suffix(".h5"))
            return model
        return load_keras_2(path.with_suffix(f".{way.removeprefix('2 ')}"), **options)

    return {
        way: {name: tried(lambda: load(way, folder / version / name), name, version) for name in names}  # noqa: B023
        for way, names in ways.items()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keras_2")
    for name, content in read().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


RIGHT = (
    "sequential",
    "custom",
    "packed",
    "bare",
    "late",
    "adapted",
    "nested_frozen",
    "shared",
    "named_inputs",
    "leaky",
    "same_name",
    "branches",
    "nested_norms",
    "normalization",
)
SILENT = ("hard_sigmoid", "named", "two_axes", "softmax_axes", "unit_axes", "loop", "appended")
RAISES = {
    "lstm": "Unrecognized keyword arguments passed to LSTM: {'time_major': False}",
    "gru_before": "Unrecognized keyword arguments passed to GRU: {'time_major': False}",
    "conv_lstm": "Unrecognized keyword arguments passed to ConvLSTM2D: {'time_major': False}",
    "depthwise": "{'groups': 1}",
    "transposed": "{'groups': 1",
    "convs": "{'groups': 1",
    "recurrent": "passed to SimpleRNN: {'time_major': False}",
    "dropouts": "unexpected keyword argument 'trainable'",
    "discrete": "unexpected keyword argument 'trainable'",
    "dot_attention": "Invalid value for argument score_mode",
    "states": "{'time_major': False}",
    "twice": "nodes failed to be resolved",
    "time_distributed": "Could not locate class 'Dense'",
    "mixed": "has no attribute 'quantization_mode'",
    "ops": "Unknown layer: 'TFOpLambda'",
    "slices": "Unknown layer: 'SlicingOpLambda'",
    "lambdas": "Requested the deserialization of a",
    "attention": "passed to MultiHeadAttention",
    "thresholded": "Unknown layer: 'ThresholdedReLU'",
    "local": "Unknown layer: 'LocallyConnected1D'",
}
AGAIN = ("ops", "slices", "lambdas", "attention", "thresholded", "local", "states", "twice")


@pytest.mark.proves(
    "Keras 3 reads the `.h5` files of Keras 2, and some of its `.keras` files.",
    "The tables were tried on files that Keras 2.12 and tf_keras 2.21 wrote.",
    "In a layer, weights go by order, the trainable ones first, and not by name.",
    "`hard_sigmoid`, the default of `ConvLSTM2D` | `x / 6 + 0.5` instead of `0.2 * x + 0.5` | `load_keras_2`",
    "`.h5`: `Softmax`, `UnitNormalization` over two axes, or `LayerNormalization` over two and without weights | "
    "the last axis | `load_keras_2`",
    "`.h5`: a custom class with layers in a dict | by order of insertion; Keras 2 sorted the keys | "
    "Insert them by sorted keys",
    "`.h5`: a custom class that appends to two lists in one loop | by order of appending, if shapes agree; Keras 2 "
    "took list after list | Fill one list after the other",
    "`load_keras_2` rewrites the config and loads the weights of the same file:",
    "It takes a Sequential or functional `.h5` or `.keras` file. Where it loads, the outputs were those of Keras 2, "
    "but for the dict and the lists above, and `hard_sigmoid` in the config of your own class",
    "`Unrecognized keyword arguments passed to LSTM: {'time_major': False}` | An `LSTM`, `GRU`, `SimpleRNN` "
    "or `ConvLSTM2D` | `load_keras_2`",
    "`{'groups': 1` | `DepthwiseConv2D`, `Conv2DTranspose`, `SeparableConv2D` | `load_keras_2`",
    "`{'rng_type': 'stateful'}` | `RandomFlip` and the like, of tf_keras 2.21 | `load_keras_2`",
    "`unexpected keyword argument 'trainable'` | `SpatialDropout1D`, `Discretization` | `load_keras_2`",
    "`Invalid value for argument score_mode` | `Attention` | `load_keras_2`",
    "`Could not locate class 'Dense'`; `not 'list'` | A layer in a `TimeDistributed`; `BatchNormalization` in one, in "
    "a nested model or in a `.keras` file | `load_keras_2`",
    "`has no attribute 'quantization_mode'` | A layer with a policy, `mixed_float16` | `load_keras_2`",
    "`Could not locate class 'Functional'` | A functional `.keras` file | `load_keras_2`",
    "`Unknown layer: 'TFOpLambda'`, `'SlicingOpLambda'` | `tf.reduce_sum(x)`, `x * 2` or `x[:, 1:3]` in a functional "
    "model | Write the model again",
    "`Requested the deserialization of a` | A `Lambda` with a Python lambda | Write the model again",
    "`passed to MultiHeadAttention` | `MultiHeadAttention` in a functional model | Write the model again",
    "`load_keras_2` says `expects 1 input(s)` | `initial_state=` of an `LSTM` | Write the model again",
    "`nodes failed to be resolved` | A nested model called twice | Write the model again",
    "`model_from_json` raises `Could not locate class` for JSON of Keras 2.",
    "Make a model of it with `keras.saving.deserialize_keras_object(keras_3_config(json.loads(text)))`, then "
    "`load_weights`.",
)
def test_what_a_new_process_makes_of_each_file(files, process):
    loads = (*RIGHT, *SILENT, "lstm", "conv_lstm", "gru_before", "depthwise", "convs", "time_distributed", "mixed")
    loads += ("transposed", "recurrent", "dropouts", "discrete", "dot_attention", "embedding", "lstm_hard", "flipped")
    old = {
        "h5": (*RIGHT, *SILENT, *RAISES),
        "2 h5": (*loads, *AGAIN),
        "json": ("custom", "shared", "lstm"),
        "from json": ("custom", "shared", "hard_sigmoid"),
    }
    found = process.call(everything, files, OLD, old)
    assert found["h5"] == dict.fromkeys(RIGHT, "equal") | dict.fromkeys(SILENT, "differs") | {
        name: found["h5"][name] for name in RAISES
    }
    for name, message in RAISES.items():
        assert message in found["h5"][name], name
    for name in loads:
        assert found["2 h5"][name] == ("differs" if name in ("loop", "appended") else "equal"), name
    for name in AGAIN:
        assert "Error: " in found["2 h5"][name], name
    assert "expects 1 input(s)" in found["2 h5"]["states"]
    assert "nodes failed to be resolved" in found["2 h5"]["twice"]
    assert all("Could not locate class" in told for told in found["json"].values())
    assert set(found["from json"].values()) == {"equal"}
    new = {
        "h5": ("custom", "loop", "td_norm", "hard_sigmoid", "ops", "depthwise", "flipped", "nested_norms"),
        "keras": ("custom", "loop", "shared", "sequential", "hard_sigmoid", "softmax_axes"),
        "2 h5": ("td_norm", "shared", "depthwise", "hard_sigmoid", "flipped", "nested_norms", "same_name"),
        "2 keras": (
            "custom",
            "loop",
            "appended",
            "shared",
            "sequential",
            "hard_sigmoid",
            "named",
            "same_name",
            "discrete",
        ),
    }
    found = process.call(everything, files, NEW, new)
    assert found["h5"]["custom"] == found["keras"]["custom"] == found["keras"]["loop"] == "equal"
    assert found["h5"]["loop"] == found["h5"]["hard_sigmoid"] == found["keras"]["hard_sigmoid"] == "differs"
    assert "not 'list'" in found["h5"]["td_norm"]
    assert "not 'list'" in found["keras"]["sequential"]
    assert "not 'list'" in found["h5"]["nested_norms"]
    assert "{'rng_type': 'stateful'}" in found["h5"]["flipped"]
    assert "TFOpLambda" in found["h5"]["ops"]
    assert "{'groups': 1}" in found["h5"]["depthwise"]
    assert "Could not locate class 'Functional'" in found["keras"]["shared"]
    assert found["keras"]["softmax_axes"] == "equal"
    assert set(found["2 h5"].values()) | set(found["2 keras"].values()) == {"equal"}


@pytest.mark.proves(
    "`custom_objects` takes the name in the file. It is `Offset` for a class that wasn't registered, "
    "`Custom>Offset` for one without a package, `lib>Offset` for one of the package `lib`.",
    "`Unknown layer`, with its name | A custom class isn't found | `custom_objects`",
    "`Unknown layer: 'ThresholdedReLU'`, `'LocallyConnected1D'` | The layer is gone | `custom_objects` with one of "
    "your own",
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_names_of_custom_objects(files, version):
    for name, registered in (("bare", "Bare"), ("custom", "Custom>Scaled"), ("packed", "lib>Packed")):
        with pytest.raises((ValueError, TypeError), match=f"'{registered}'|{registered.split('>')[-1]}"):
            keras.saving.load_model(files / version / f"{name}.h5", compile=False)
        model = keras.saving.load_model(
            files / version / f"{name}.h5", custom_objects={registered: Scaled}, compile=False
        )
        assert off(model, name, version) < 1e-5
    with pytest.raises(ValueError, match="Unknown layer: 'Bare'"):
        keras.saving.load_model(files / version / "bare.h5", compile=False)

    class Threshold(layers.Layer):
        def __init__(self, theta, **kwargs):
            super().__init__(**kwargs)
            self.theta = theta

        def call(self, inputs):
            return ops.where(inputs > self.theta, inputs, 0.0)

    for load in (lambda path, **kw: keras.saving.load_model(path, compile=False, **kw), load_keras_2):
        model = load(files / version / "thresholded.h5", custom_objects={"ThresholdedReLU": Threshold})
        assert off(model, "thresholded", version) < 1e-6


def test_a_dict_by_sorted_keys_is_right(files):
    for version in (OLD, NEW):
        model = keras.saving.load_model(files / version / "loop.h5", custom_objects={"Loop": SortedLoop}, compile=False)
        assert off(model, "loop", version) < 1e-5


@pytest.mark.parametrize("version", [OLD, NEW])
def test_lists_that_are_filled_one_after_the_other_are_right(files, version):
    path = files / version / "appended.h5"
    for load in (
        lambda **kw: keras.saving.load_model(path, compile=False, **kw),
        lambda **kw: load_keras_2(path, **kw),
    ):
        assert off(load(custom_objects={"Appended": Appended}), "appended", version) > 0.1
        assert off(load(custom_objects={"Appended": ListByList}), "appended", version) < 1e-4


@pytest.mark.proves("and `hard_sigmoid` in the config of your own class: pass `hard_sigmoid_2` there.")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_your_own_class_has_in_its_config(files, version):
    path = files / version / "gate.h5"
    assert off(load_keras_2(path, custom_objects={"Gate": Gate}), "gate", version) > 0.01
    assert off(load_keras_2(path, custom_objects={"Gate": Gate2}), "gate", version) < 1e-6  # the layer in it was right


@pytest.mark.proves(
    "Keras 3 reads the `.h5` files of Keras 2, and some of its `.keras` files. Use this page to load an old model with "
    "custom classes, to compare its numbers, and to save it once as a new `.keras` file.",
    "`keras_2_file` writes what Keras 2 wrote, in place of your file. Save outputs with the old program too, and "
    "compare",
)
def test_what_keras_2_file_writes_is_what_keras_2_wrote(files, tmp_path):
    values = [numbers((4, 4)), numbers((4,), 1.0), numbers((4, 2), 2.0), numbers((2,), 3.0)]
    keras_2_file(
        tmp_path / "old.h5",
        ("InputLayer", {"name": "x", "batch_input_shape": [None, 4]}, {}),
        ("Dense", {"name": "a", "units": 4}, {"a/kernel:0": values[0], "a/bias:0": values[1]}),
        ("Dense", {"name": "b", "units": 2}, {"b/kernel:0": values[2], "b/bias:0": values[3]}),
    )
    model = keras.saving.load_model(tmp_path / "old.h5", compile=False)
    expected = (numbers((3, 4)) @ values[0] + values[1]) @ values[2] + values[3]
    np.testing.assert_allclose(model(numbers((3, 4))), expected, rtol=1e-5)
    for version in (OLD, NEW):  # its parts are those of a file that Keras 2 wrote
        with h5py.File(files / version / "custom.h5") as old, h5py.File(tmp_path / "old.h5") as written:
            assert {"model_config"} == set(written.attrs) <= set(old.attrs)
            assert set(written) == {"model_weights"} <= set(old)
            for group in (old["model_weights"], written["model_weights"]):
                assert all("weight_names" in group[name].attrs for name in group.attrs["layer_names"])
        new = tmp_path / f"{version}.keras"
        model = keras.saving.load_model(files / version / "custom.h5", custom_objects=CLASSES, compile=False)
        model.save(new)
        assert off(keras.saving.load_model(new, custom_objects={"Scaled": Scaled}), "custom", version) < 1e-5


def test_the_program_and_the_silent_cases():
    page = shown(keras_2_files, "program", "old_files", "silent_fails", "load")
    np.testing.assert_allclose(page["again"](page["x"]), (page["x"] + [0.5, -1.0]) @ [[2.0], [3.0]] + 1, rtol=1e-6)
    x = np.linspace(-4, 4, 9, dtype="float32")[:, None]
    gate = keras.saving.deserialize_keras_object(keras_3_config(keras_activation()))
    np.testing.assert_allclose(gate(x), np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(keras.activations.hard_sigmoid(x), np.clip(x / 6 + 0.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(hard_sigmoid_2(x), np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6)
    h = c = 0.0
    for _ in range(3):  # each gate sees the input alone
        c = 0.7 * c + 0.7 * np.tanh(1.0)
        h = 0.7 * np.tanh(c)
    np.testing.assert_allclose(page["lstm"](np.ones((1, 3, 1))), [[h]], atol=1e-6)


def keras_activation() -> dict:
    return {"class_name": "Activation", "config": {"name": "a", "activation": "hard_sigmoid"}}


def test_a_config_of_a_custom_class_is_kept():
    config = {"name": "mine", "activation": "hard_sigmoid", "axis": [1], "groups": 1, "time_major": False}
    made = keras_3_config({"class_name": "lib>Mine", "config": dict(config)})
    assert made == {"class_name": "Mine", "registered_name": "lib>Mine", "module": None, "config": config}
    assert keras_3_config({"class_name": "LSTM", "config": {"name": "mine", "groups": 1}}, ("LSTM",))["module"] is None
    axes = {"class_name": "Normalization", "config": {"name": "n", "axis": []}}
    assert keras_3_config(axes)["config"]["axis"] is None


@pytest.mark.proves(
    "Write the model again with `keras.ops`, in the same order of layers, and call "
    '`model.load_weights("old.h5")`. It takes whole models and weight files.',
)
def test_a_model_that_is_written_again_takes_the_weights(files):
    def again(name, call, shape=(4,)):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, call(inputs))
        model.load_weights(files / version / f"{name}.h5")
        assert off(model, name, version) < 1e-5

    for version in (OLD, NEW):
        again("ops", lambda x: ops.sum(layers.Dense(4)(x) * 2.0 + x, axis=-1, keepdims=True) - 1.0)
        again("slices", lambda x: layers.Dense(2)(x[:, 1:3]))
        again("lambdas", lambda x: layers.Dense(4)(x) * 3.0)
        again("attention", lambda x: layers.MultiHeadAttention(2, 3)(x, x), (3, 4))
        again("custom", lambda x: layers.Dense(2)(Scaled(4)(x)))
        again("states", lambda x: layers.LSTM(3)(x, initial_state=layers.LSTM(3, return_state=True)(x)[1:]), (5, 4))
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
        again("twice", lambda x, inner=inner: layers.Add()([inner(x), inner(inner(x))]))
        model = keras.Sequential([keras.Input((4,)), Scaled(4), layers.Dense(2)])
        model.load_weights(files / version / "custom_weights.h5")
        assert off(model, "custom", version) < 1e-5


@pytest.mark.proves(
    "Weights `.h5`: a nested model with frozen layers, loaded before these are frozen | exchanged, if shapes agree | "
    "Freeze, then load",
    "Weights `.h5`, `by_name=True`, other names | loads nothing | Leave out `by_name`",
    "Weights `.h5` | loads by order",
    "`.weights.h5` of tf_keras 2.21 | loads; a subclassed model with a list or dict of layers may raise, "
    "or exchange them",
    "`.weights.h5` of Keras 2.12 | the same; with branches or a nested model, `received 0 variables`",
)
@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weight_files(files, version):
    def nested():
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)], name="inner")
        return keras.Sequential([keras.Input((4,)), inner])

    path = files / version / "nested_frozen_weights.h5"
    model = nested()
    model.load_weights(path)
    first, second = model.layers[0].layers
    exchanged = [np.asarray(w) for w in (*second.weights, *first.weights)]
    model = nested()
    model.layers[0].layers[0].trainable = False
    model.load_weights(path)
    assert off(model, "nested_frozen", version) < 1e-5
    np.testing.assert_array_equal(exchanged[0], model.layers[0].layers[0].kernel)
    np.testing.assert_array_equal(exchanged[2], model.layers[0].layers[1].kernel)

    model = keras.Sequential([keras.Input((4,)), Scaled(4, name="one"), layers.Dense(2, name="two")])
    before = model.get_weights()
    model.load_weights(files / version / "custom_weights.h5", by_name=True)
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
    model.load_weights(files / version / "custom_weights.h5")
    assert off(model, "custom", version) < 1e-5

    inputs = keras.Input((4,))
    branches = layers.Add()([layers.Dense(4)(inputs), layers.Dense(4)(layers.Dense(4)(inputs))])
    for name, model in (("nested_frozen", nested()), ("branches", keras.Model(inputs, branches))):
        if version == OLD:
            with pytest.raises(ValueError, match="received 0 variables"):
                model.load_weights(files / version / f"{name}.weights.h5")
        else:
            model.load_weights(files / version / f"{name}.weights.h5")
            assert off(model, name, version) < 1e-5

    def right(fill, keys, ending):
        keras.backend.clear_session()
        layers.Dense(1)  # so that names aren't those of the old program
        model = type("Made", (Loops,), {"fill": fill, "keys": keys})()
        model(numbers((4, 4)))
        try:
            model.load_weights(files / version / f"loops{ending}")
        except ValueError as error:
            return "received 0 variables" in str(error) and "raises"
        return off(model, "loops", version) < 1e-4

    one_loop, by_list, as_given, by_key = Appended.fill, ListByList.fill, ("b", "a"), ("a", "b")
    assert right(by_list, by_key, "_weights.h5")
    assert not right(one_loop, by_key, "_weights.h5")
    assert not right(by_list, as_given, "_weights.h5")
    found = [right(*case, ".weights.h5") for case in ((by_list, by_key), (one_loop, by_key), (by_list, as_given))]
    assert found == [version == OLD, "raises", version == NEW]


@pytest.mark.proves(
    "`compile=False` leaves out the loss, the metrics and the optimizer. Compile anew. The state of the old optimizer "
    "is lost.",
    "`loss=\"mse\"` | `Could not deserialize 'keras.metrics.mse'`",
    "`MeanSquaredError()` | `unexpected keyword argument 'fn'`, or `Received: reduction=auto`",
    "`metrics=[\"mae\"]` | Loads; `evaluate` then raises `'str' object is not callable`",
    "A function of your own | `string indices must be integers`",
    '`loss="mean_squared_error"` | Loads; `fit` then raises `Unknown variable`',
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_compiled_files(files, version):
    def load(name, **options):
        return keras.saving.load_model(files / version / f"compiled_{name}.h5", **options)

    with pytest.raises(ValueError, match=r"Could not deserialize 'keras.metrics.mse'"):
        load("mse")
    with pytest.raises(TypeError, match="string indices must be integers"):
        load("function")
    told = "unexpected keyword argument 'fn'" if version == NEW else "Received: reduction=auto"
    with pytest.raises((TypeError, ValueError), match=told):
        load("loss_object")
    x, y = numbers((4, 4)), numbers((4, 2))
    model = load("mean_squared_error")
    with pytest.raises(ValueError, match="Unknown variable"):
        model.fit(x, y, verbose=0)
    model = load("mae_metric")
    with pytest.raises(TypeError, match="'str' object is not callable"):
        model.evaluate(x, y, verbose=0)
    for name in ("mse", "function", "loss_object", "legacy_decay", "accuracy"):
        model = load(name, compile=False)
        assert not model.compiled
        assert getattr(model, "optimizer", None) is None
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.fit(x, y, verbose=0)


@pytest.mark.proves(
    "A subclassed model has no `.h5` of its own in Keras 2, only weights.",
    'Make the model, call it once, and `load_weights("old_weights.h5")` takes them by the order of its layers.',
    "Keras 3 doesn't load TensorFlow's checkpoints, `File format not supported`.",
    "A checkpoint, `tf.train.Checkpoint(model).restore` | restores nothing; in a subclassed model a part, such as "
    "the bias of a `Dense` and not its kernel | `from_checkpoint`",
    '`tf.train.list_variables("ckpt")` tells the places: `layer_with_weights-0` in a Sequential or functional model, '
    "the attribute in a subclassed one.",
    'Name a layer inside a layer, too: `layer.dense: "layer_with_weights-0/dense"`, or `lstm.cell: "lstm/cell"`.',
    "A SavedModel folder, `load_model` | `File format not supported`",
    'A SavedModel folder, `TFSMLayer(path, call_endpoint="serving_default")` | the same outputs, in a dict',
    "Only Keras 2 loads a SavedModel as a model.",
    'Install `tf_keras` beside Keras 3, load the folder there, and `save_weights("old.h5")`; Keras 3 loads these.',
    "With `TF_USE_LEGACY_KERAS=1`, `tf.keras` is tf_keras: keep an old program on it until its numbers agree.",
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_checkpoints_saved_models_and_subclassed_models(files, version):
    folder = files / version
    assert "does not work for subclassed models" in recorded(version)["fails"]["subclass.h5"]
    if version == NEW:
        told = recorded(version)["tf.keras.Sequential by TF_USE_LEGACY_KERAS"]
        assert [name.split(".")[0] for name in told.values()] == ["keras", "tf_keras"]

    def chain():
        model = keras.Sequential([keras.Input((4,)), Scaled(4), layers.Dense(2)])
        own = {model.layers[0]: "layer_with_weights-0", model.layers[1]: "layer_with_weights-1"}
        return model, own | {model.layers[0].dense: "layer_with_weights-0/dense"}

    def network():
        model = Network()
        model(numbers((4, 4)))
        return model, {model.body: "body", model.head: "head"}

    for name, make in (("custom", chain), ("subclass", network)):
        with pytest.raises(ValueError, match="File format not supported"):
            make()[0].load_weights(folder / f"{name}_ckpt")
        with pytest.raises(ValueError, match="File format not supported"):
            keras.saving.load_model(folder / f"{name}_dir")
        model, places = make()
        before = model.get_weights()
        tf.train.Checkpoint(model).restore(str(folder / f"{name}_ckpt")).expect_partial()
        kept = [np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True)]
        assert kept == ([True] * len(kept) if name == "custom" else [True, False] * 2)
        assert off(model, name, version) > 0.1
        assert from_checkpoint(model, str(folder / f"{name}_ckpt"), places) == []
        assert off(model, name, version) < 1e-5
        listed = {key for key, _ in tf.train.list_variables(str(folder / f"{name}_ckpt"))}
        assert all(any(key.startswith(f"{place}/") for key in listed) for place in places.values())
        last = list(places)[-1]
        model, places = make()
        del places[list(places)[-1]]
        assert len(from_checkpoint(model, str(folder / f"{name}_ckpt"), places)) == len(last.weights)
        for weights in ("weights", "of_dir") if name == "custom" else ("weights",):
            model, _ = make()
            model.load_weights(folder / f"{name}_{weights}.h5")
            assert off(model, name, version) < 1e-5
        with pytest.raises(ValueError, match="endpoint 'serve'"):
            keras.layers.TFSMLayer(str(folder / f"{name}_dir"))
        layer = keras.layers.TFSMLayer(str(folder / f"{name}_dir"), call_endpoint="serving_default")
        (outputs,) = layer(numbers((4, 4))).values()
        np.testing.assert_allclose(outputs, recorded(version)["outputs"][name]["outputs"], atol=1e-5)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_parts_of_a_checkpoint(files, version):
    def make():
        model = Parts()
        model(numbers((4, 4)))
        return model

    path = str(files / version / "parts_ckpt")
    model = make()
    places = {model.norm: "norm", model.lstm.cell: "lstm/cell", model.own: "own"}
    assert from_checkpoint(model, path, places) == []  # a weight stands there by its name, and not by its attribute
    other = make()
    assert (
        len(from_checkpoint(other, path, {other.norm: "norm", other.lstm: "lstm"})) == 4
    )  # the weights of an LSTM are those of its cell
    assert off(model, "parts", version) < 1e-5


def test_the_checkpoint_of_the_page():
    page = shown(keras_2_files, "program", "checkpoint")
    assert page.printed.splitlines()[-3:] == ["restored: False", "not set: []", "as in Keras 2: True"]
    np.testing.assert_allclose(page["new"](page["x"]), page["expected"], rtol=1e-6)
