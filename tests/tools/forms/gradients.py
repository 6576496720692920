"""Gradients that don't arrive, aren't finite or are false."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, near_one, normal, register, wide

REACH = r"(?i)gradient"
FALSE = r"(?i)gradient|finite difference|slope"
NAN = r"(?i)nan|finite|gradient"


@register
class Stopped(Scaled):
    """Wrong: stops the gradient of its weight."""

    def call(self, inputs):
        return inputs * ops.stop_gradient(self.scale)


@register
class Passing(Scaled):
    """Lets the gradient through to its weight."""


@register
class Copied(Scaled):
    """Wrong: computes with a copy of its weight's first value."""

    def build(self, input_shape):
        super().build(input_shape)
        self.copy = self.scale.numpy()

    def call(self, inputs):
        return inputs * ops.convert_to_tensor(self.copy, inputs.dtype) + 0 * ops.stop_gradient(self.scale)


@register
class Shrunk(Same):
    """Subtracts a threshold that is learned, softly."""

    def build(self, input_shape):
        self.threshold = self.add_weight(name="threshold", shape=(input_shape[-1],), initializer=near_one())

    def call(self, inputs):
        return inputs * ops.sigmoid(5 * (inputs - self.threshold))


@register
class HardShrunk(Shrunk):
    """Wrong: compares with the threshold, which gives it no gradient."""

    def call(self, inputs):
        return inputs * ops.cast(inputs > self.threshold, inputs.dtype)


@register
class RoundedScale(Scaled):
    """Wrong: rounds its weight, which gives it a gradient of 0."""

    def call(self, inputs):
        return inputs * ops.round(4 * self.scale) / 4


@register
class Picked(keras.layers.Layer):
    """Weighs the features by scores that are learned."""

    def build(self, input_shape):
        self.scores = self.add_weight(name="scores", shape=(input_shape[-1],), initializer=near_one())

    def call(self, inputs):
        return ops.sum(inputs * ops.softmax(self.scores), axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@register
class ArgmaxPicked(Picked):
    """Wrong: picks the feature with the largest score, which gives the scores no gradient."""

    def call(self, inputs):
        picked = ops.one_hot(ops.argmax(self.scores), inputs.shape[-1], dtype=inputs.dtype)
        return ops.sum(inputs * picked, axis=-1, keepdims=True)


@tf.custom_gradient
def square(x):
    """The square with its gradient."""
    return x * x, lambda upstream: upstream * 2 * x


@tf.custom_gradient
def false_square(x):
    """Wrong: its gradient lacks the factor 2."""
    return x * x, lambda upstream: upstream * x


@tf.custom_gradient
def deaf_square(x):
    """Wrong: its gradient ignores the upstream one."""
    return x * x, lambda upstream: 2 * x


@register
class Squared(Same):
    """Squares with a gradient of its own."""

    def call(self, inputs):
        return square(inputs)


@register
class FalseSquared(Same):
    """Wrong: the gradient of its input is half of the true one."""

    def call(self, inputs):
        return false_square(inputs)


@register
class DeafSquared(Same):
    """Wrong: its gradient ignores the upstream one."""

    def call(self, inputs):
        return deaf_square(inputs)


@tf.custom_gradient
def scaled(x, scale):
    """A product with its gradients."""

    def gradient(upstream):
        return upstream * scale, tf.reduce_sum(upstream * x, axis=range(x.shape.rank - 1))

    return x * scale, gradient


@tf.custom_gradient
def mean_scaled(x, scale):
    """Wrong: means the gradient of the weight over the batch instead of summing it up."""

    def gradient(upstream):
        return upstream * scale, tf.reduce_mean(upstream * x, axis=range(x.shape.rank - 1))

    return x * scale, gradient


@register
class OwnScaled(Scaled):
    """Scales with a gradient of its own."""

    def call(self, inputs):
        return scaled(inputs, ops.cast(tf.convert_to_tensor(self.scale), inputs.dtype))


@register
class MeanScaled(Scaled):
    """Wrong: the gradient of its weight is a mean, not a sum."""

    def call(self, inputs):
        return mean_scaled(inputs, ops.cast(tf.convert_to_tensor(self.scale), inputs.dtype))


@register
class Root(Same):
    """The root of a size, with a bound away from 0."""

    def call(self, inputs):
        return ops.sqrt(ops.abs(inputs) + 1e-3)


@register
class BareRoot(Same):
    """Wrong: the slope of the root at 0 isn't finite."""

    def call(self, inputs):
        return ops.sqrt(ops.abs(inputs))


@register
class Length(keras.layers.Layer):
    """The length of each row, with a bound away from 0."""

    def call(self, inputs):
        return ops.sqrt(ops.sum(ops.square(inputs), axis=-1, keepdims=True) + 1e-3)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@register
class BareLength(Length):
    """Wrong: the gradient of the norm is nan for a row of zeros."""

    def call(self, inputs):
        return ops.norm(inputs, axis=-1, keepdims=True)


@register
class Inverse(Same):
    """1 / x, and 0 for 0: `where` before and behind the division."""

    def call(self, inputs):
        zero = ops.abs(inputs) < 1e-3
        return ops.where(zero, 0 * inputs, 1 / ops.where(zero, ops.ones_like(inputs), inputs))


@register
class WhereInverse(Same):
    """Wrong: `where` behind the division only, so that the gradient at 0 is nan."""

    def call(self, inputs):
        zero = ops.abs(inputs) < 1e-3
        return ops.where(zero, ops.zeros_like(inputs), 1 / inputs)


@register
class InputStopped(Same):
    """Wrong: stops the gradient of its input in a Dense layer's place."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(5, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(ops.stop_gradient(inputs))


@register
class InputPassing(InputStopped):
    """Lets the gradient through to its input."""

    def call(self, inputs):
        return self.dense(inputs)


@register
class TwoHeads(keras.Model):
    """Adds what two Dense layers say."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.other = keras.layers.Dense(3, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.one(inputs) + self.other(inputs)


@register
class SilentHead(TwoHeads):
    """Wrong: the second layer's kernel and bias get no gradient, since its output is stopped."""

    def call(self, inputs):
        return self.one(inputs) + ops.stop_gradient(self.other(inputs))


@register
class Nearest(keras.layers.Layer):
    """Distances to points that start at 0, with a bound away from it."""

    bound = 1e-3

    def build(self, input_shape):
        self.points = self.add_weight(name="points", shape=(3, input_shape[-1]), initializer="zeros")

    def call(self, inputs):
        squares = ops.square(wide(inputs[..., None, :] - self.points))
        return ops.cast(ops.sqrt(ops.sum(squares, axis=-1) + self.bound), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)


@register
class BareNearest(Nearest):
    """Wrong: the gradient is nan where an input is at a point, as a row of zeros is at the start."""

    bound = 0.0


@register
class Chances(Same):
    """The probability of one class, by a sigmoid."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = keras.layers.Dense(1, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.score.build(input_shape)

    def call(self, inputs):
        return self.chance(self.score(inputs))

    def chance(self, score):
        return ops.sigmoid(score)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@register
class CertainChances(Chances):
    """Wrong: a softmax over one class is always 1, and its gradient is 0 or rounding."""

    def chance(self, score):
        return ops.softmax(score)


@register
class Directed(Same):
    """Divides each row by its length."""

    least = 1e-3

    def call(self, inputs):
        x = wide(inputs)
        squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
        return ops.cast(x / ops.sqrt(squares + self.least), inputs.dtype)


@register
class BareDirected(Directed):
    """Wrong: a row of zeros becomes nan."""

    least = 0.0


X = normal(8, 5)
ZEROS = normal(8, 5)
ZEROS[2], ZEROS[4, 1] = 0, 0

FORMS = [
    Form("a weight whose gradient is stopped", Stopped, Passing, X, "gradients", r"scale"),
    Form("a weight that is copied", Copied, Passing, X, "gradients", r"scale"),
    Form("a threshold by comparison", HardShrunk, Shrunk, X, "gradients", r"threshold"),
    Form("a rounded weight", RoundedScale, Passing, X, "gradients", r"scale"),
    Form("argmax of learned scores", ArgmaxPicked, Picked, X, "gradients", r"scores"),
    Form("a false gradient of the input", FalseSquared, Squared, X, "gradients", FALSE),
    Form("a gradient that ignores the upstream one", DeafSquared, Squared, X, "gradients", FALSE),
    Form("a false gradient of a weight", MeanScaled, OwnScaled, X, "gradients", FALSE),
    Form("the root of 0", BareRoot, Root, ZEROS, "gradients", NAN),
    Form("the norm of zeros", BareLength, Length, ZEROS, "gradients", NAN),
    Form("where behind a division", WhereInverse, Inverse, ZEROS, "gradients", NAN),
    Form(
        "an input whose gradient is stopped",
        InputStopped,
        InputPassing,
        X,
        "gradients",
        REACH,
        unseen="A layer may stop the gradient of its input on purpose, as on a frozen backbone or a target.",
    ),
    Form("a layer of a model that gets no gradient", SilentHead, TwoHeads, X, "gradients", REACH, "model"),
    Form("a softmax over one class", CertainChances, Chances, X, "gradients", r"reached_weights .*kernel"),
    Form("a division by the length of zeros", BareDirected, Directed, X, "gradients", r"special_inputs .*nan"),
    Form("the distance to weights that start at 0", BareNearest, Nearest, X, "gradients", NAN),
]
