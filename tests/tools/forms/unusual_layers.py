"""Further right layers that are unusual: they stop or turn gradients on purpose, scan, or look like another case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tests.tools.forms.form import Same, normal, register, wide
from tests.tools.forms.unusual import dense, reverse

Layer = keras.layers.Layer


@register
class Quantized(Same):
    """The nearest code of each step, past which the gradient goes straight; a loss trains the codes."""

    def build(self, input_shape):
        self.codes = self.add_weight(name="codes", shape=(6, input_shape[-1]), initializer="random_normal")

    def call(self, inputs):
        numbers, codes = wide(inputs), wide(ops.convert_to_tensor(self.codes))
        distances = ops.sum(ops.square(numbers[..., None, :] - codes), axis=-1)
        nearest = ops.take(codes, ops.argmin(distances, axis=-1), axis=0)
        self.add_loss(ops.mean(ops.square(nearest - ops.stop_gradient(numbers))))
        return ops.cast(numbers + ops.stop_gradient(nearest - numbers), inputs.dtype)


@register
class Averaged(Layer):
    """An online projection, and a target without a gradient that follows it in training: a dict comes out."""

    def __init__(self, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape):
        shape = (input_shape[-1], 3)
        self.online = self.add_weight(name="online", shape=shape)
        self.target = self.add_weight(name="target", shape=shape, trainable=False)

    def call(self, inputs, training=False):
        if training and self.trainable:
            old, new = (wide(variable.value) for variable in (self.target, self.online))
            self.target.assign(ops.cast(self.momentum * old + (1 - self.momentum) * new, self.target.dtype))
        target = ops.stop_gradient(ops.matmul(inputs, self.target))
        return {"online": ops.matmul(inputs, self.online), "target": target}

    def compute_output_shape(self, input_shape):
        shape = (*input_shape[:-1], 3)
        return {"online": shape, "target": shape}

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@register
class Siamese(Layer):
    """How far the prediction from one view is from the projection of the other, of which the gradient is stopped."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.project, self.predict = dense(self, 4), dense(self, 4)

    def build(self, input_shape):
        self.project.build(input_shape[0])
        self.predict.build((*input_shape[0][:-1], 4))

    def call(self, inputs):
        one, other = map(self.project, inputs)
        distance = wide(self.predict(one)) - ops.stop_gradient(wide(other))
        return ops.cast(ops.mean(ops.square(distance), axis=-1, keepdims=True), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], 1)


@register
class Adversary(Layer):
    """Tells domains apart, behind a gradient that is reversed for what stands before it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense(self, 2)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(reverse(inputs))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


@register
class MinimalGRU(Layer):
    """A recurrent layer without a cell: a scan, whose gates depend on the inputs only; padded steps keep the state."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True
        self.gate, self.candidate = dense(self, units, activation="sigmoid"), dense(self, units)

    def build(self, input_shape):
        self.gate.build(input_shape)
        self.candidate.build(input_shape)

    def call(self, inputs, mask=None):
        gates, candidates = self.gate(inputs), self.candidate(inputs)
        if mask is not None:
            gates = gates * ops.cast(mask, gates.dtype)[..., None]
        gates, candidates = (ops.swapaxes(one, 0, 1) for one in (gates, candidates))

        def step(state, both):
            gate, candidate = both
            state = (1 - gate) * state + gate * candidate
            return state, state

        _, states = ops.scan(step, ops.zeros_like(candidates[0]), (gates, candidates))
        return ops.swapaxes(states, 0, 1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class Ranked(Layer):
    """Scores in a tuple, with a dict of the best class, an integer, and a list of what it was chosen from."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = dense(self, 4)

    def build(self, input_shape):
        self.score.build(input_shape)

    def call(self, inputs):
        scores = self.score(inputs)
        shares = ops.cast(ops.softmax(wide(scores)), scores.dtype)
        return scores, {"best": ops.argmax(scores, axis=-1), "from": [shares, 1 - shares]}

    def compute_output_spec(self, inputs):
        scores = keras.KerasTensor((*inputs.shape[:-1], 4), dtype=self.compute_dtype)
        return scores, {"best": keras.KerasTensor(inputs.shape[:-1], dtype="int32"), "from": [scores, scores]}


@register
class LowRank(Same):
    """A frozen kernel beside a trainable one of low rank, of which one factor starts at 0."""

    def build(self, input_shape):
        size = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(size, size), trainable=False)
        self.down = self.add_weight(name="down", shape=(size, 2))
        self.up = self.add_weight(name="up", shape=(2, size), initializer="zeros")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + ops.matmul(ops.matmul(inputs, self.down), self.up)


@register
class MergedSteps(Layer):
    """The mean of each two steps, without those that are padding; a last one that is alone is dropped."""

    supports_masking = True

    def call(self, inputs, mask=None):
        given = ops.ones_like(inputs[..., 0]) if mask is None else ops.cast(mask, inputs.dtype)
        weights = self.pairs(given[..., None])
        return ops.sum(self.pairs(inputs) * weights, axis=2) / ops.maximum(ops.sum(weights, axis=2), 1)

    def compute_mask(self, inputs, previous_mask=None):
        mask = previous_mask
        return None if mask is None else ops.any(self.pairs(mask[..., None])[..., 0], axis=-1)

    def pairs(self, steps):
        batch, length, features = ops.shape(steps)
        return ops.reshape(steps[:, : length // 2 * 2], (batch, length // 2, 2, features))

    def compute_output_shape(self, input_shape):
        batch, length, features = input_shape
        return batch, None if length is None else length // 2, features


@register
class PostNormalized(Same):
    """Attention within each sequence, added and normalized: both by Keras."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(2, 2, dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)

    def build(self, input_shape):
        self.attention.build(input_shape, input_shape)
        self.norm.build(input_shape)

    def call(self, inputs):
        return self.norm(inputs + self.attention(inputs, inputs))


@register
class Neighboured(Layer):
    """A sum over the neighbours in a graph, whose matrix has zeros for nodes that aren't there; masks go through."""

    supports_masking = True

    def build(self, input_shape):
        nodes, _ = input_shape
        self.kernel = self.add_weight(name="kernel", shape=(nodes[-1], 3))

    def call(self, inputs, mask=None):
        nodes, matrix = inputs
        outputs = ops.matmul(matrix, ops.matmul(nodes, self.kernel))
        return outputs if mask is None or mask[0] is None else outputs * ops.cast(mask[0], outputs.dtype)[..., None]

    def compute_mask(self, inputs, previous_mask=None):
        return previous_mask and previous_mask[0]

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], 3)


@register
class Placed(Same):
    """Adds a learned position to each step, for up to as many steps as the example has."""

    def __init__(self, length=6, **kwargs):
        super().__init__(**kwargs)
        self.length = length

    def build(self, input_shape):
        self.places = self.add_weight(name="places", shape=(self.length, input_shape[-1]))

    def call(self, inputs):
        return inputs + self.places[: ops.shape(inputs)[1]]

    def get_config(self):
        return {**super().get_config(), "length": self.length}


@register
class Patches(Layer):
    """Squares of an image as steps, each with a learned place: the size of the image is fixed."""

    def build(self, input_shape):
        _, height, width, channels = input_shape
        self.steps = (height // 4) * (width // 4)
        self.kernel = self.add_weight(name="kernel", shape=(4, 4, channels, 5))
        self.places = self.add_weight(name="places", shape=(self.steps, 5))

    def call(self, inputs):
        return ops.reshape(ops.conv(inputs, self.kernel, strides=4), (-1, self.steps, 5)) + self.places

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, (height // 4) * (width // 4), 5


@register
class NoConstructor(Layer):
    """No constructor of its own, and a `get_config` that adds nothing."""

    def call(self, inputs):
        return ops.tanh(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config()


def square_lstm(**kwargs: Any) -> Layer:
    """An LSTM with as many units as there are steps, so that `(batch, units)` looks like `(batch, time)`."""
    return keras.layers.LSTM(6, recurrent_initializer="glorot_uniform", **kwargs)


def both_ways(**kwargs: Any) -> Layer:
    """Two GRUs, one for each direction."""
    gru = keras.layers.GRU(3, recurrent_initializer="glorot_uniform", dtype=kwargs.get("dtype"))
    return keras.layers.Bidirectional(gru, **kwargs)


def functional() -> keras.Model:
    """A functional model as an object, which is made again from its config."""
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs))


X = normal(8, 5)
STEPS = normal(8, 6, 4)

UNUSUAL_LAYERS: list[tuple[str, Callable[..., Any], Any, dict[str, Any]]] = [
    ("the nearest code", Quantized, STEPS, {}),
    ("a target that follows", Averaged, X, {}),
    ("two views of a sample", Siamese, [X, normal(8, 5, seed=1)], {}),
    ("gradient reversal before a Dense layer", Adversary, X, {}),
    ("a scan with a mask", MinimalGRU, STEPS, {}),
    ("an LSTM with as many units as steps", square_lstm, STEPS, {}),
    ("an RNN in both directions", both_ways, STEPS, {}),
    ("nested outputs with integers", Ranked, X, {}),
    ("a kernel of low rank beside a frozen one", LowRank, X, {}),
    ("two steps become one, with their mask", MergedSteps, normal(8, 7, 4), {}),
    ("no constructor of its own", NoConstructor, X, {}),
    ("attention that is normalized behind", PostNormalized, STEPS, {}),
    ("a matrix between nodes", Neighboured, [STEPS, np.abs(normal(8, 6, 6))], {}),
    ("as many positions as the example has steps", Placed, STEPS, {}),
    ("patches of an image of one size", Patches, normal(8, 8, 8, 2), {}),
    ("a functional model as an object", functional(), X, {}),
]
"""Of each: its name, what makes it, its inputs and further inputs by keyword."""
