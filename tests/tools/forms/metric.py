"""Metrics that forget, don't forget or count wrong."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, aligned, normal, register, uniform


@register
class Missed(keras.metrics.Metric):
    """The mean size of the errors over samples."""

    def __init__(self, name="missed", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total, self.count = self.make("total"), self.make("count")

    def make(self, name):
        return self.add_weight(name=name, initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = self.errors(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        weights = ops.ones_like(errors) if sample_weight is None else self.spread(sample_weight, errors)
        self.add(ops.sum(errors * weights), ops.sum(weights))

    def errors(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.abs(y_pred - y_true), axis=-1)

    def spread(self, sample_weight, errors):
        return ops.cast(ops.reshape(sample_weight, (-1,)), errors.dtype)

    def add(self, total, count):
        self.total.assign_add(total)
        self.count.assign_add(count)

    def result(self):
        return ops.divide_no_nan(self.total, self.count)


@register
class KeptMissed(Missed):
    """Wrong: isn't reset."""

    def reset_state(self):
        pass


@register
class HalfReset(Missed):
    """Wrong: resets the total and not the count."""

    def reset_state(self):
        self.total.assign(0.0)


@register
class BatchMissed(Missed):
    """Wrong: a mean of the batches' means."""

    def add(self, total, count):
        self.total.assign_add(ops.divide_no_nan(total, count))
        self.count.assign_add(1.0)


@register
class LastMissed(Missed):
    """Wrong: keeps the last batch only."""

    def add(self, total, count):
        self.total.assign(total)
        self.count.assign(count)


@register
class UnweightedMissed(Missed):
    """Wrong: ignores the sample weights."""

    def spread(self, sample_weight, errors):
        return ops.ones_like(errors)


@register
class FullCountMissed(Missed):
    """Wrong: weighs the errors and counts the samples without their weights."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = self.errors(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        weights = ops.ones_like(errors) if sample_weight is None else self.spread(sample_weight, errors)
        self.add(ops.sum(errors * weights), ops.sum(ops.ones_like(errors)))


@register
class CrossedMissed(Missed):
    """Wrong: `(n,)` against `(n, 1)` broadcasts to `(n, n)`."""

    def errors(self, y_true, y_pred):
        return ops.mean(ops.abs(y_pred - y_true), axis=-1)


@register
class BareMissed(Missed):
    """Wrong: divides 0 by 0 before the first batch."""

    def result(self):
        return self.total / self.count


@register
class EagerMissed(Missed):
    """Wrong: each reading adds a sample to the count."""

    def result(self):
        self.count.assign_add(1.0)
        return super().result()


@register
class PythonMissed(keras.metrics.Metric):
    """Wrong: sums up in Python attributes, which hold a graph's tensors in `evaluate`."""

    def __init__(self, name="python_missed", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = 0.0
        self.count = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = aligned(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        errors = ops.mean(ops.abs(y_pred - y_true), axis=-1)
        weights = ops.ones_like(errors) if sample_weight is None else ops.cast(sample_weight, errors.dtype)
        self.total += ops.sum(errors * weights)
        self.count += ops.sum(weights)

    def result(self):
        return ops.divide_no_nan(ops.convert_to_tensor(self.total), ops.convert_to_tensor(self.count))

    def reset_state(self):
        self.total = 0.0
        self.count = 0.0


@register
class HiddenMissed(Missed):
    """Wrong: its state is in `tf.Variable`s, which Keras doesn't track."""

    def make(self, name):
        return tf.Variable(0.0, name=name)

    def reset_state(self):
        self.total.assign(0.0)
        self.count.assign(0.0)


@register
class LargestError(keras.metrics.Metric):
    """The largest error, from -1 on, also after a reset."""

    def __init__(self, name="largest_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.largest = self.add_weight(name="largest", initializer=self.start())

    def start(self):
        return keras.initializers.Constant(-1e9)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = aligned(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        errors = y_pred - y_true
        if sample_weight is not None:
            kept = ops.reshape(ops.cast(sample_weight, self.dtype), (-1, *[1] * (len(errors.shape) - 1))) > 0
            errors = ops.where(kept, errors, ops.full_like(errors, -1e9))
        self.largest.assign(ops.maximum(self.largest, ops.max(errors)))

    def result(self):
        return ops.convert_to_tensor(self.largest)

    def reset_state(self):
        self.largest.assign(ops.full((), -1e9, self.largest.dtype))


@register
class ZeroLargest(LargestError):
    """Wrong: the inherited reset sets it to 0, which is above every negative error."""

    def reset_state(self):
        keras.metrics.Metric.reset_state(self)


@register
class Precise(keras.metrics.Metric):
    """The share of hits among what is predicted, counted over all batches."""

    def __init__(self, name="precise", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.predicted = self.add_weight(name="predicted", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = aligned(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        said = ops.cast(y_pred > 0.5, self.dtype)
        hits = said * y_true
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, self.dtype), (-1, *[1] * (len(said.shape) - 1)))
            said, hits = said * weights, hits * weights
        self.add(ops.sum(hits), ops.sum(said))

    def add(self, hits, said):
        self.hits.assign_add(hits)
        self.predicted.assign_add(said)

    def result(self):
        return ops.divide_no_nan(self.hits, self.predicted)


@register
class BatchPrecise(Precise):
    """Wrong: a mean of the batches' shares."""

    def add(self, hits, said):
        self.hits.assign_add(ops.divide_no_nan(hits, said))
        self.predicted.assign_add(1.0)


@register
class TwiceWeighted(Missed):
    """Wrong: weighs the errors twice."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = self.errors(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        weights = ops.ones_like(errors) if sample_weight is None else self.spread(sample_weight, errors)
        self.add(ops.sum(errors * weights * weights), ops.sum(weights))


@register
class FloatMissed(Missed):
    """Wrong: its result is a Python number, which a graph hasn't."""

    def result(self):
        return float(self.total) / max(float(self.count), 1.0)


@register
class WeightlessMissed(Missed):
    """Wrong: doesn't take the weights that Keras hands on."""

    def update_state(self, y_true, y_pred):
        super().update_state(y_true, y_pred)


@register
class NarrowMissed(Missed):
    """Wrong: counts in float16, which ends at 2048."""

    def __init__(self, name="narrow_missed", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="narrow", initializer="zeros", dtype="float16")

    def add(self, total, count):
        super().add(total, ops.cast(count, "float16"))

    def result(self):
        return ops.divide_no_nan(self.total, ops.cast(self.count, self.dtype))


@register
class SmallestError(keras.metrics.Metric):
    """The smallest error, which starts at infinity."""

    start = 1e9

    def __init__(self, name="smallest_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smallest = self.add_weight(name="smallest", initializer=keras.initializers.Constant(self.start))

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = ops.mean(ops.abs(ops.cast(y_pred, self.dtype) - ops.cast(y_true, self.dtype)), axis=-1)
        if sample_weight is not None:
            kept = ops.reshape(ops.cast(sample_weight, self.dtype), (-1,)) > 0
            errors = ops.where(kept, errors, ops.full_like(errors, 1e9))
        self.smallest.assign(ops.minimum(self.smallest, ops.min(errors)))

    def result(self):
        return ops.convert_to_tensor(self.smallest)

    def reset_state(self):
        self.smallest.assign(ops.full((), self.start, self.smallest.dtype))


@register
class ZeroSmallest(SmallestError):
    """Wrong: starts at 0, and stays there."""

    start = 0.0


@register
class LastLargest(LargestError):
    """Wrong: keeps the largest error of the last batch."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(-1e9)
        super().update_state(y_true, y_pred, sample_weight)


@register
class MeanMissed(keras.metrics.Metric):
    """The mean size of the errors, by a metric inside."""

    def __init__(self, name="mean_missed", **kwargs):
        super().__init__(name=name, **kwargs)
        self.inner = self.make()

    def make(self):
        return keras.metrics.Mean(name="inner")

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = ops.mean(ops.abs(ops.cast(y_pred, self.dtype) - ops.cast(y_true, self.dtype)), axis=-1)
        self.inner.update_state(errors, sample_weight)

    def result(self):
        return self.inner.result()

    def reset_state(self):
        self.inner.reset_state()


@register
class SharedMissed(MeanMissed):
    """Wrong: all objects share one metric."""

    shared = keras.metrics.Mean(name="shared")

    def make(self):
        return self.shared


Y = (normal(9, 3, seed=1), normal(9, 3, seed=2))
ONE = (normal(9, 1, seed=1), normal(9, 1, seed=2))
BELOW = (normal(9, 3, seed=1) + 5, normal(9, 3, seed=2))
LAST = (np.concatenate([normal(8, 3, seed=1), np.full((1, 3), -9, "float32")]), normal(9, 3, seed=2))
BINARY = ((uniform(9, 3, seed=1) > 0.5).astype("float32"), uniform(9, 3, seed=2))
RESET = r"(?i)reset"
SPLIT = r"(?i)batch|split"
WEIGHTS = r"(?i)sample_weight|weight"

FORMS = [
    Form("not reset", KeptMissed, Missed, Y, "metric", RESET, "metric"),
    Form("half reset", HalfReset, Missed, Y, "metric", RESET, "metric"),
    Form("a mean of batch means", BatchMissed, Missed, Y, "metric", SPLIT, "metric"),
    Form("the last batch only", LastMissed, Missed, Y, "metric", SPLIT, "metric"),
    Form("sample weights ignored by a metric", UnweightedMissed, Missed, Y, "metric", WEIGHTS, "metric"),
    Form("samples counted without weights", FullCountMissed, Missed, Y, "metric", WEIGHTS, "metric"),
    Form(
        "a metric that broadcasts",
        CrossedMissed,
        Missed,
        ONE,
        "metric",
        r"(?i)\(n,\)|broadcast|shape|\(\d+,\)",
        "metric",
    ),
    Form(
        "0 / 0 before the first batch",
        BareMissed,
        Missed,
        Y,
        "metric",
        r"(?i)nan|finite|empty|before|no data",
        "metric",
    ),
    Form("a result that changes the state", EagerMissed, Missed, Y, "metric", r"(?i)result|twice|again", "metric"),
    Form(
        "sums in Python attributes",
        PythonMissed,
        Missed,
        Y,
        "metric",
        r"(?i)python|attribute|graph|symbolic|state|scope",
        "metric",
    ),
    Form("a maximum reset to 0", ZeroLargest, LargestError, BELOW, "metric", RESET, "metric"),
    Form("a mean of the batches' precision", BatchPrecise, Precise, BINARY, "metric", SPLIT, "metric"),
    Form("sample weights applied twice", TwiceWeighted, Missed, Y, "metric", WEIGHTS, "metric"),
    Form("a result that is a Python number", FloatMissed, Missed, Y, "metric", r"(?i)in_graph|symbolic", "metric"),
    Form("a metric that takes no weights", WeightlessMissed, Missed, Y, "metric", r"sample_weight", "metric"),
    Form("a count in float16", NarrowMissed, Missed, Y, "metric", r"(?i)16 bits", "metric"),
    Form("a minimum that starts at 0", ZeroSmallest, SmallestError, Y, "metric", r"(?i)stays", "metric"),
    Form("the largest error of the last batch", LastLargest, LargestError, LAST, "metric", SPLIT, "metric"),
    Form("one metric inside of all objects", SharedMissed, MeanMissed, Y, "metric", r"(?i)share", "metric"),
    Form("state in tf.Variables", HiddenMissed, Missed, Y, "metric", r"metric_state .*total, count", "metric"),
]
