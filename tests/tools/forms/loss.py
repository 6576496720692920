"""Losses that reduce, broadcast or compute wrong."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, aligned, normal, register, uniform

BROADCAST = r"(?i)\(n,\)|broadcast|shape|\(n, ?1\)|\(\d+,\)"


@register
class Squares(keras.losses.Loss):
    """The mean square of each sample's errors."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.square(y_pred - y_true), axis=-1)


@register
class ScalarSquares(keras.losses.Loss):
    """Wrong: one number for the batch, which no sample weight reaches."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.square(y_pred - y_true))


@register
class FlatSquares(keras.losses.Loss):
    """Wrong: means over the batch instead of the outputs."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.square(y_pred - y_true), axis=0)


@register
class UnalignedSquares(keras.losses.Loss):
    """Wrong: targets `(n,)` and predictions `(n, 1)` broadcast to `(n, n)`."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_pred - y_true), axis=-1)


@register
class UnreducedSquares(Squares):
    """Wrong: ignores its reduction."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true, self.dtype), ops.convert_to_tensor(y_pred, self.dtype)
        losses = self.call(y_true, y_pred)
        if sample_weight is not None:
            losses = losses * ops.cast(sample_weight, losses.dtype)
        return ops.mean(losses)


@register
class UnweightedSquares(Squares):
    """Wrong: ignores the sample weights."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred)


@register
class Crossed(keras.losses.Loss):
    """Binary cross-entropy of logits."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        losses = ops.maximum(y_pred, 0) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred)))
        return ops.mean(losses, axis=-1)


@register
class BareCrossed(Crossed):
    """Wrong: takes the logarithm of a sigmoid that may be 0 or 1."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        share = ops.sigmoid(y_pred)
        return -ops.mean(y_true * ops.log(share) + (1 - y_true) * ops.log(1 - share), axis=-1)


@register
class Shared(keras.losses.Loss):
    """Cross-entropy of probabilities, bounded in every dtype."""

    def call(self, y_true, y_pred):
        bound = keras.config.epsilon() if ops.dtype(y_pred) != "float16" else 1e-3
        return -ops.sum(y_true * ops.log(ops.clip(y_pred, bound, 1.0)), axis=-1)


@register
class TinyShared(Shared):
    """Wrong: its bound of 1e-12 is 0 in float16, of which the logarithm is infinite."""

    def call(self, y_true, y_pred):
        return -ops.sum(y_true * ops.log(ops.maximum(y_pred, 1e-12)), axis=-1)


@register
class Distance(keras.losses.Loss):
    """The distance of each sample, smooth at 0."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.sqrt(ops.sum(ops.square(y_pred - y_true), axis=-1) + 1e-3)


@register
class BareDistance(Distance):
    """Wrong: its gradient is nan for a perfect prediction."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.sqrt(ops.sum(ops.square(y_pred - y_true), axis=-1))


@register
class RelativeSquares(Squares):
    """Wrong: divides by the largest error of the batch, so that a sample's loss depends on the others."""

    def call(self, y_true, y_pred):
        losses = super().call(y_true, y_pred)
        return losses / (1 + ops.max(losses))


@register
class BoundedSquares(Squares):
    """Divides by each sample's own error."""

    def call(self, y_true, y_pred):
        losses = super().call(y_true, y_pred)
        return losses / (1 + losses)


@register
class CountedSquares(Squares):
    """Wrong: grows with a Python counter of its calls."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return super().call(y_true, y_pred) * self.calls


@register
class BranchedSquares(Squares):
    """Wrong: a Python `if` on a tensor."""

    def call(self, y_true, y_pred):
        losses = super().call(y_true, y_pred)
        if ops.max(losses) > 100:
            return ops.sqrt(losses)
        return losses


@register
class ChosenSquares(Squares):
    """Chooses by `ops.where`."""

    def call(self, y_true, y_pred):
        losses = super().call(y_true, y_pred)
        return ops.where(losses > 100, ops.sqrt(ops.maximum(losses, 1)), losses)


@register
class Detached(Squares):
    """Wrong: rounds the predictions, which get no gradient."""

    def call(self, y_true, y_pred):
        return super().call(y_true, ops.round(y_pred))


@register
class Discounted(Squares):
    """Wrong: discounts large predictions, which can grow the loss down to 0."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.square(y_pred - y_true) * ops.exp(-y_pred), axis=-1)


def scalar_loss(y_true, y_pred):
    """Wrong: a function that returns one number for the batch."""
    y_true, y_pred = aligned(y_true, y_pred)
    return ops.mean(ops.abs(y_pred - y_true))


def sample_loss(y_true, y_pred):
    """A function that returns one number per sample."""
    y_true, y_pred = aligned(y_true, y_pred)
    return ops.mean(ops.abs(y_pred - y_true), axis=-1)


@register
class ConstantHuber(keras.losses.Loss):
    """Wrong: multiplies by a float32 tensor, which other dtypes refuse."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return tf.reduce_mean(tf.multiply(tf.constant(0.5), tf.square(y_pred - y_true)), axis=-1)


@register
class HalfSquares(keras.losses.Loss):
    """Half of the mean square of each sample's errors."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return 0.5 * ops.mean(ops.square(y_pred - y_true), axis=-1)


@register
class StaticSquares(Squares):
    """Wrong: reshapes to the number of rows, which a graph doesn't know."""

    def call(self, y_true, y_pred):
        rows = y_pred.shape[0]
        return ops.mean(ops.square(ops.reshape(y_pred, (rows, -1)) - ops.reshape(y_true, (rows, -1))), axis=-1)


@register
class Angle(keras.losses.Loss):
    """1 - the cosine between target and prediction, which is 0 for zeros."""

    def call(self, y_true, y_pred):
        sizes = ops.sqrt(ops.sum(ops.square(y_true), axis=-1) * ops.sum(ops.square(y_pred), axis=-1) + 1e-3)
        return 1 - ops.sum(y_true * y_pred, axis=-1) / sizes


@register
class BareAngle(Angle):
    """Wrong: 0 / 0 for a prediction of zeros."""

    def call(self, y_true, y_pred):
        sizes = ops.sqrt(ops.sum(ops.square(y_true), axis=-1) * ops.sum(ops.square(y_pred), axis=-1))
        return 1 - ops.sum(y_true * y_pred, axis=-1) / sizes


@register
class Clipped(keras.losses.Loss):
    """Binary cross-entropy of probabilities, clipped a little inside of 0 and 1."""

    bound = 1e-3

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        share = ops.clip(y_pred, self.bound, 1 - self.bound)
        return -ops.mean(y_true * ops.log(share) + (1 - y_true) * ops.log(1 - share), axis=-1)


@register
class WideClipped(Clipped):
    """Wrong: clips at 0.1 and 0.9, so that nothing is learnt from what is predicted worst."""

    bound = 0.1


@tf.custom_gradient
def half_square(x):
    """Half of a square, with its gradient."""
    return 0.5 * x * x, lambda upstream: upstream * x


@tf.custom_gradient
def false_half_square(x):
    """Wrong: the gradient is that of the whole square."""
    return 0.5 * x * x, lambda upstream: upstream * 2 * x


@register
class OwnHalfSquares(keras.losses.Loss):
    """Half of the mean square of each sample's errors, with a gradient of its own."""

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(self.half(y_pred - y_true), axis=-1)

    def half(self, errors):
        return half_square(errors)


@register
class FalseHalfSquares(OwnHalfSquares):
    """Wrong: its gradient is twice the true one."""

    def half(self, errors):
        return false_half_square(errors)


Y = (normal(8, 3, seed=1), normal(8, 3, seed=2))
ONE = (normal(8, 1, seed=1), normal(8, 1, seed=2))
BINARY = ((uniform(8, 3, seed=1) > 0.5).astype("float32"), 3 * normal(8, 3, seed=2))
CLASSES = (np.eye(4, dtype="float32")[[0, 1, 2, 3, 0, 1, 2, 3]], uniform(8, 4, seed=2))
CLASSES[1][0] = [0, 0.5, 0.25, 0.25]
SHARES = ((uniform(8, 3, seed=1) > 0.5).astype("float32"), uniform(8, 3, low=0.2, high=0.8, seed=2))

FORMS = [
    Form("a scalar for the batch", ScalarSquares, Squares, Y, "loss", r"(?i)sample|weight|reduc|scalar", "loss"),
    Form("a mean over the batch", FlatSquares, Squares, Y, "loss", r"(?i)sample|weight|reduc|shape", "loss"),
    Form("a function with a scalar", scalar_loss, sample_loss, Y, "loss", r"(?i)sample|weight|reduc|scalar", "loss"),
    Form("(n,) against (n, 1)", UnalignedSquares, Squares, ONE, "loss", BROADCAST, "loss"),
    Form("the reduction ignored", UnreducedSquares, Squares, Y, "loss", r"(?i)reduction", "loss"),
    Form("sample weights ignored", UnweightedSquares, Squares, Y, "loss", r"(?i)sample_weight|weight", "loss"),
    Form("the logarithm of a sigmoid", BareCrossed, Crossed, BINARY, "loss", r"(?i)nan|inf|finite", "loss"),
    Form("a bound lost in float16", TinyShared, Shared, CLASSES, "loss", r"(?i)float16|inf|nan", "loss"),
    Form("nan at a perfect prediction", BareDistance, Distance, Y, "loss", r"(?i)gradient|perfect|nan", "loss"),
    Form(
        "divided by the batch's largest error",
        RelativeSquares,
        BoundedSquares,
        Y,
        "loss",
        r"(?i)batch|sample|row",
        "loss",
    ),
    Form(
        "a loss with a counter",
        CountedSquares,
        Squares,
        Y,
        "loss",
        r"(?i)call|state|python|attribute|repeat|differ|eager",
        "loss",
    ),
    Form("a loss with an if", BranchedSquares, ChosenSquares, Y, "loss", r"(?i)\bbool\b|graph|symbolic", "loss"),
    Form("rounded predictions", Detached, Squares, Y, "loss", r"(?i)gradient", "loss"),
    Form("a float32 constant in a loss", ConstantHuber, HalfSquares, Y, "loss", r"float16|float64", "loss"),
    Form("a loss for one batch size", StaticSquares, Squares, Y, "loss", r"(?i)loss_value .*(None|shape)", "loss"),
    Form("0 / 0 for a prediction of zeros", BareAngle, Angle, Y, "loss", r"(?i)nan|inf", "loss"),
    Form("no gradient for the worst", WideClipped, Clipped, SHARES, "loss", r"(?i)gradient is 0", "loss"),
    Form(
        "a loss with the wrong formula",
        Discounted,
        Squares,
        Y,
        "loss",
        r"(?i)formula",
        "loss",
        unseen="What a loss is meant to compute stands nowhere but in its formula.",
    ),
    Form("a false gradient of a loss", FalseHalfSquares, OwnHalfSquares, Y, "loss", r"the gradient says", "loss"),
]
