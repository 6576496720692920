"""Python that a graph freezes, repeats for each row or traces again and again."""

from __future__ import annotations

import time

import keras
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, normal, register

STATE = r"(?i)python|attribute|frozen|state|graph"


@register
class Warmed(Same):
    """Scales by how often it was called in training, counted in a weight."""

    def build(self, input_shape):
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1)
        return inputs * ops.cast(1 - 1 / (2 + ops.convert_to_tensor(self.calls)), inputs.dtype)


@register
class PythonWarmed(Same):
    """Wrong: counts in a Python attribute, which counts traces."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, inputs, training=False):
        if training:
            self.calls += 1
        return inputs * (1 - 1 / (2 + self.calls))


@register
class Listed(Same):
    """Wrong: appends a tensor to a list in each call, and keeps it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, inputs):
        self.seen.append(ops.mean(inputs))
        return inputs * 2


@register
class Unlisted(Same):
    """Keeps nothing of a call."""

    def call(self, inputs):
        return inputs * 2


@register
class Remembered(Same):
    """Wrong: keeps its last input as an attribute, a tensor of a graph that is gone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.last = None

    def call(self, inputs):
        self.last = inputs
        return inputs * 2


@register
class Retraced(Scaled):
    """Wrong: hands a new Python number to a `tf.function` in each call, which traces again."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.made = 0

    def call(self, inputs):
        self.made += 1
        return self.times(inputs, self.made) * self.scale

    @tf.function
    def times(self, inputs, number):
        return inputs + 0 * number


@register
class Traced(Scaled):
    """Hands a tensor to a `tf.function`."""

    def call(self, inputs):
        return self.times(inputs) * self.scale

    @tf.function
    def times(self, inputs):
        return inputs + 0


@register
class RowLoop(Same):
    """Wrong: a Python loop over the rows, which needs the number of rows."""

    def call(self, inputs):
        return ops.stack([ops.softmax(inputs[row]) for row in range(inputs.shape[0])])


@register
class RowsAtOnce(Same):
    """All rows in one operation."""

    def call(self, inputs):
        return ops.softmax(inputs, axis=-1)


@register
class Clocked(Same):
    """Wrong: reads the clock in `call`, once for a graph."""

    def call(self, inputs):
        return inputs * (1 + 0.1 * (time.perf_counter() % 1))


@register
class Unclocked(Same):
    """Reads no clock."""

    def call(self, inputs):
        return inputs * 1.1


@register
class HeldShape(keras.layers.Layer):
    """Wrong: keeps the number of steps of the example that built it."""

    def build(self, input_shape):
        self.steps = input_shape[1]

    def call(self, inputs):
        return ops.sum(inputs, axis=1) / self.steps

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]


@register
class CallShape(HeldShape):
    """Takes the number of steps of what it is called on."""

    def build(self, input_shape):
        pass

    def call(self, inputs):
        return ops.sum(inputs, axis=1) / ops.cast(ops.shape(inputs)[1], inputs.dtype)


@register
class RampModel(keras.Model):
    """Wrong: blends two layers by an attribute that each call in training moves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.other = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.share = 0.0

    def call(self, inputs, training=False):
        if training:
            self.share = min(1.0, self.share + 0.1)
        return (1 - self.share) * self.one(inputs) + self.share * self.other(inputs)


@register
class WeightRampModel(keras.Model):
    """Blends two layers by a weight that each call in training moves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.other = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.share = self.add_weight(name="share", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        one, other = self.one(inputs), self.other(inputs)
        if training:
            self.share.assign(ops.minimum(1.0, self.share + 0.1))
        share = ops.cast(ops.convert_to_tensor(self.share), one.dtype)
        return (1 - share) * one + share * other


@register
class InnerTraced(Scaled):
    """Wrong: makes its `tf.function` in `call`, which traces it anew each time."""

    def call(self, inputs):
        @tf.function
        def times(x):
            return x + 0

        return times(inputs) * self.scale


@register
class RandomMatrix(Same):
    """Multiplies by a random matrix, which is drawn once."""

    def build(self, input_shape):
        size, start = input_shape[-1], keras.initializers.RandomNormal(seed=7)
        self.matrix = self.add_weight(name="matrix", shape=(size, size), initializer=start, trainable=False)

    def call(self, inputs):
        return ops.matmul(inputs, self.matrix)


@register
class RedrawnMatrix(Same):
    """Wrong: draws the matrix in each call from one seed, of which XLA makes other numbers."""

    def call(self, inputs):
        size = inputs.shape[-1]
        matrix = keras.random.normal((size, size), stddev=0.05, dtype="float32", seed=7)
        return ops.matmul(inputs, ops.cast(matrix, inputs.dtype))


@register
class PythonCubed(Scaled):
    """Calls a Python function, and says which shape it returns."""

    def call(self, inputs):
        return super().call(self.shaped(tf.py_function(lambda x: x**3, [inputs], inputs.dtype), inputs))

    def shaped(self, outputs, inputs):
        outputs.set_shape(inputs.shape)
        return outputs


@register
class ShapelessCubed(PythonCubed):
    """Wrong: a graph doesn't know which shape `tf.py_function` returns, not even the number of axes."""

    def shaped(self, outputs, inputs):
        return outputs


@register
class Holder(Same):
    """A layer inside that keeps nothing of a call."""

    inside = Unlisted

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = self.inside(dtype=self.dtype_policy)

    def call(self, inputs):
        return self.inner(inputs)


@register
class HolderRemembered(Holder):
    """Wrong: the layer inside keeps its last input."""

    inside = Remembered


X = normal(8, 5)
STEPS = normal(8, 7, 4)

FORMS = [
    Form("a counter in Python", PythonWarmed, Warmed, X, "graph", STATE),
    Form("a list that grows in call", Listed, Unlisted, X, "graph", STATE),
    Form("the last input kept", Remembered, Unlisted, X, "graph", STATE),
    Form("the last input kept by a layer inside", HolderRemembered, Holder, X, "graph", r"python_state .*\."),
    Form("a trace for each call", Retraced, Traced, X, "graph", r"(?i)trac|attribute|python"),
    Form("a Python loop over the rows", RowLoop, RowsAtOnce, X, "graph", r"(?i)rows?|batch|None|loop|grow"),
    Form("the clock read in call", Clocked, Unclocked, X, "graph", r"(?i)repeat|frozen|differ|graph|call"),
    Form("the steps of the example kept", HeldShape, CallShape, STEPS, "calls", r"(?i)steps|axis|length|None"),
    Form("a model's share in Python", RampModel, WeightRampModel, X, "graph", STATE, "model"),
    Form("a tf.function made in call", InnerTraced, Traced, X, "graph", r"(?i)tf\.function"),
    Form("a random matrix of one seed in call", RedrawnMatrix, RandomMatrix, X, "graph", r"xla_call "),
    Form("a py_function without a shape", ShapelessCubed, PythonCubed, X, "graph", r"fit_and_predict .*rank"),
]
