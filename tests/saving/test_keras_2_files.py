"""`docs/saving/keras_2_files.md`: every claim that the page makes, proved on files that Keras 2 wrote."""

from __future__ import annotations

import contextlib
import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.saving import keras_2_files
from snippets.saving.keras_2_files import Offset, from_checkpoint, hard_sigmoid_2, keras_3_config, load_keras_2
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


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(4)
        self.body = layers.Dense(4, activation="tanh")

    def call(self, inputs):
        return self.head(self.body(inputs))


CLASSES = {cls.__name__: cls for cls in (Packed, Bare, Late, Loop)} | {"Custom>Scaled": Scaled, "lib>Packed": Packed}


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
        return float(np.max(np.abs(np.asarray(model(given(record, name)), "float64") - np.array(record["outputs"]))))


def tried(load, name: str, version: str) -> str:
    """`equal`, `differs`, or the message."""
    keras.backend.clear_session()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "equal" if off(load(), name, version) < (2e-3 if name == "mixed" else 1e-5) else "differs"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def everything(folder: Path, version: str, every: bool) -> dict[str, dict[str, str]]:
    """Runs in the new process."""
    found: dict[str, dict[str, str]] = {"load_model": {}, "load_keras_2": {}, "json": {}, "from json": {}}
    found |= {".keras": {}, "load_keras_2 .keras": {}}
    load = keras.saving.load_model
    for name in recorded(version)["outputs"]:
        path = folder / version / name
        if name == "subclass":
            continue
        h5, zipped, text = path.with_suffix(".h5"), path.with_suffix(".keras"), path.with_suffix(".json")
        options = {"custom_objects": CLASSES}
        if every:
            found["load_model"][name] = tried(lambda: load(h5, compile=False, **options), name, version)  # noqa: B023
        found["load_keras_2"][name] = tried(lambda: load_keras_2(h5, **options), name, version)  # noqa: B023
        if zipped.exists():
            found[".keras"][name] = tried(lambda: load(zipped, compile=False, **options), name, version)  # noqa: B023
            found["load_keras_2 .keras"][name] = tried(lambda: load_keras_2(zipped, **options), name, version)  # noqa: B023
        config = text.read_text("utf-8")
        found["json"][name] = tried(lambda: keras.models.model_from_json(config, **options), name, version)  # noqa: B023
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keras_2")
    for name, content in read().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
