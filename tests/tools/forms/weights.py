"""Weights that Keras doesn't see, that are made late or that start alike."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, near_one, normal, register

UNTRACKED = "errors/layers.html#untracked-variable"
LATE = "errors/layers.html#state-created-late"
HIDDEN = r"(?i)track|watche|optimizer"


@register
class Gain(Scaled):
    """Scales each feature by a weight."""


@register
class VariableGain(Same):
    """Wrong: its scale is a `tf.Variable`, which Keras doesn't track."""

    def build(self, input_shape):
        start = near_one()((input_shape[-1],), dtype=self.variable_dtype)
        self.scale = tf.Variable(start, name="scale")

    def call(self, inputs):
        return inputs * ops.cast(self.scale, inputs.dtype)


@register
class ModuleGain(Same):
    """Wrong: its scale belongs to a `tf.Module`, which Keras doesn't track."""

    def build(self, input_shape):
        self.module = tf.Module()
        self.module.scale = tf.Variable(near_one()((input_shape[-1],), dtype=self.variable_dtype), name="scale")

    def call(self, inputs):
        return inputs * ops.cast(self.module.scale, inputs.dtype)


@register
class TupleGain(Same):
    """Wrong: two `tf.Variable`s in a tuple."""

    def build(self, input_shape):
        shape, dtype = (input_shape[-1],), self.variable_dtype
        self.pair = tuple(tf.Variable(near_one()(shape, dtype=dtype), name=name) for name in ("scale", "shift"))

    def call(self, inputs):
        scale, shift = (ops.cast(variable, inputs.dtype) for variable in self.pair)
        return inputs * scale + shift


@register
class PairGain(Same):
    """Scales and shifts each feature by two weights in a tuple."""

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.pair = tuple(
            self.add_weight(name=name, shape=shape, initializer=near_one()) for name in ("scale", "shift")
        )

    def call(self, inputs):
        scale, shift = self.pair
        return inputs * scale + shift


@register
class Blocks(Same):
    """Three Dense layers in a list, one after the other."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.keep()

    def make(self, number: int) -> keras.layers.Layer:
        return keras.layers.Dense(5, activation="tanh", dtype=self.dtype_policy, name=f"block_{number}")

    def keep(self):
        self.blocks = [self.make(number) for number in range(3)]

    def build(self, input_shape):
        for block in self.each():
            block.build(input_shape)

    def each(self) -> list[keras.layers.Layer]:
        return list(self.blocks)

    def call(self, inputs):
        for block in self.each():
            inputs = block(inputs)
        return inputs


@register
class IndexedBlocks(Blocks):
    """Wrong: the layers are put into a list by index after it was assigned."""

    def keep(self):
        self.blocks = [None, None, None]
        for number in range(3):
            self.blocks[number] = self.make(number)


@register
class DequeBlocks(Blocks):
    """Wrong: the layers are kept in a deque."""

    def keep(self):
        self.blocks = deque(self.make(number) for number in range(3))


@register
class AliasBlocks(Blocks):
    """Wrong: the layers are appended by the list's old name, after it was assigned."""

    def keep(self):
        blocks = []
        self.blocks = blocks
        for number in range(3):
            blocks.append(self.make(number))
        self.kept = lambda: blocks

    def each(self):
        return self.kept()


@register
class NestedBlocks(Blocks):
    """Wrong: the layers are appended to a list that was appended to a tracked list."""

    def keep(self):
        self.groups = []
        self.groups.append([])
        for number in range(3):
            self.groups[-1].append(self.make(number))

    def each(self):
        return self.groups[-1]


@register
class DefaultBlocks(Blocks):
    """Wrong: the layers come into a dict by `setdefault`."""

    def keep(self):
        self.blocks = {}
        for number in range(3):
            self.blocks.setdefault(f"block_{number}", self.make(number))

    def each(self):
        return list(self.blocks.values())


@register
class ClosureBlocks(Blocks):
    """Wrong: the layers are known to a function only."""

    def keep(self):
        blocks = [self.make(number) for number in range(3)]
        self.kept = lambda: blocks

    def each(self):
        return self.kept()


@dataclass
class Parts:
    """Keeps layers in fields, which Keras doesn't look into."""

    first: Any
    second: Any


@register
class DataclassBlocks(Blocks):
    """Wrong: the layers are the fields of a dataclass."""

    def keep(self):
        self.parts = Parts(self.make(0), self.make(1))

    def each(self):
        return [self.parts.first, self.parts.second]


@register
class GeneratedWeights(Same):
    """Wrong: `tf.Variable`s in a list inside a dataclass."""

    def build(self, input_shape):
        start = near_one()((input_shape[-1],), dtype=self.variable_dtype)
        self.parts = Parts([tf.Variable(start, name="scale")], None)

    def call(self, inputs):
        return inputs * ops.cast(self.parts.first[0], inputs.dtype)


@register
class LateWeight(Same):
    """Wrong: makes its weight in `call`."""

    def call(self, inputs):
        self.scale = self.add_weight(name="scale", shape=(inputs.shape[-1],), initializer=near_one())
        return inputs * self.scale


@register
class LateLayer(Same):
    """Wrong: makes a Dense layer in each call."""

    def call(self, inputs):
        return keras.layers.Dense(5, dtype=self.dtype_policy)(inputs)


@register
class InnerLayer(Same):
    """Calls a Dense layer that was made with it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(5, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)


@register
class Gated(Same):
    """Two kernels, each from an initializer of its own."""

    def build(self, input_shape):
        size = input_shape[-1]
        value, gate = self.initializers()
        self.value = self.add_weight(name="value", shape=(size, size), initializer=value)
        self.gate = self.add_weight(name="gate", shape=(size, size), initializer=gate)

    def initializers(self):
        return keras.initializers.GlorotUniform(), keras.initializers.GlorotUniform()

    def call(self, inputs):
        return ops.matmul(inputs, self.value) * ops.sigmoid(ops.matmul(inputs, self.gate))


@register
class SharedInitializer(Gated):
    """Wrong: both kernels start with the numbers of one initializer."""

    def initializers(self):
        shared = keras.initializers.GlorotUniform()
        return shared, shared


@register
class SeededAlike(Gated):
    """Wrong: two initializers with one seed, so that both kernels start alike."""

    def initializers(self):
        return keras.initializers.HeNormal(seed=1), keras.initializers.HeNormal(seed=1)


@register
class SeededApart(Gated):
    """Two initializers with a seed each."""

    def initializers(self):
        return keras.initializers.HeNormal(seed=1), keras.initializers.HeNormal(seed=2)


@register
class Heads(keras.Model):
    """Two heads over one body, in a dict."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.body = keras.layers.Dense(8, activation="relu", dtype=policy)
        self.keep({name: keras.layers.Dense(2, dtype=policy) for name in ("left", "right")})

    def keep(self, heads: dict[str, keras.layers.Layer]):
        self.heads = heads

    def call(self, inputs):
        hidden = self.body(inputs)
        return {name: self.heads[name](hidden) for name in ("left", "right")}


class Holder:
    """Keeps what it is given, and isn't tracked."""

    def __init__(self, heads):
        self.heads = heads

    def __getitem__(self, name):
        return self.heads[name]


@register
class HeldHeads(Heads):
    """Wrong: the heads are kept by an object of a plain class."""

    def keep(self, heads):
        self.heads = Holder(heads)


@register
class RepeatedBlocks(Blocks):
    """Wrong: `[layer] * 3` is one layer three times."""

    def keep(self):
        self.blocks = [self.make(0)] * 3

    def build(self, input_shape):
        self.blocks[0].build(input_shape)


@register
class ClassLayer(InnerLayer):
    """Wrong: keeps its Dense layer in the class, so that all objects share the weights."""

    made: ClassVar[dict[str, keras.layers.Layer]] = {}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = self.made.setdefault(self.dtype_policy.name, self.dense)

    def build(self, input_shape):
        if not self.dense.built:
            self.dense.build(input_shape)


@register
class Assisted(InnerLayer):
    """Adds what a Dense layer says, in training only."""

    def call(self, inputs, training=False):
        return inputs + self.dense(inputs) if training else inputs


@register
class LateAssisted(Assisted):
    """Wrong: doesn't build the Dense layer, which makes its weights in the first call in training."""

    def build(self, input_shape):
        pass


@register
class Factored(Same):
    """Adds a product of two small matrices, of which one starts at zero."""

    def build(self, input_shape):
        size = input_shape[-1]
        self.down = self.add_weight(name="down", shape=(size, 2), initializer=self.start())
        self.up = self.add_weight(name="up", shape=(2, size), initializer="zeros")

    def start(self) -> keras.initializers.Initializer:
        """How the first one starts."""
        return keras.initializers.RandomNormal(stddev=0.5)

    def call(self, inputs):
        return inputs + ops.matmul(ops.matmul(inputs, self.down), self.up)


@register
class StuckFactored(Factored):
    """Wrong: both start at zero."""

    def start(self):
        return keras.initializers.Zeros()


X = normal(8, 5)

FORMS = [
    Form("a tf.Variable", VariableGain, Gain, X, "weights", HIDDEN, source=UNTRACKED),
    Form("a tf.Variable of a tf.Module", ModuleGain, Gain, X, "weights", HIDDEN, source=UNTRACKED),
    Form("tf.Variables in a tuple", TupleGain, PairGain, X, "weights", HIDDEN, source=UNTRACKED),
    Form("tf.Variables in a dataclass", GeneratedWeights, Gain, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers put into a list by index", IndexedBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers in a deque", DequeBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers appended by the list's old name", AliasBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers in a list appended to a list", NestedBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers in a dict by setdefault", DefaultBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers in a closure", ClosureBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("layers in a dataclass", DataclassBlocks, Blocks, X, "weights", HIDDEN, source=UNTRACKED),
    Form("a model's layers in a plain object", HeldHeads, Heads, X, "weights", HIDDEN, "model", source=UNTRACKED),
    Form(
        "a weight made in call",
        LateWeight,
        Gain,
        X,
        "weights",
        r"new elements of state|late|in `?call",
        source=LATE,
        raises=True,
    ),
    Form(
        "a layer made in call",
        LateLayer,
        InnerLayer,
        X,
        "weights",
        r"(?i)singleton|late|in `?call|track|watche|made",
        source=LATE,
    ),
    Form(
        "one initializer for two weights",
        SharedInitializer,
        Gated,
        X,
        "weights",
        r"(?i)same (random )?(numbers|values)|start",
    ),
    Form(
        "one seed for two weights", SeededAlike, SeededApart, X, "weights", r"(?i)same (random )?(numbers|values)|start"
    ),
    Form("one layer three times in a list", RepeatedBlocks, Blocks, X, "weights", r"(?i)share|entries are"),
    Form("two factors that start at zero", StuckFactored, Factored, X, "weights", r"(?i)zero|start"),
    Form("weights in a class attribute", ClassLayer, InnerLayer, X, "weights", r"(?i)share"),
    Form("weights made in training", LateAssisted, Assisted, X, "weights", r"late_weights .*variables", source=LATE),
]
