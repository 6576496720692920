"""Masks that are ignored, ended or wrong."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tests.tools.forms.form import Form, Same, normal, register, wide

LOST = "errors/layers.html#mask-lost"


def shares(mask, like):
    """The mask as numbers, with an axis for the features."""
    return ops.ones_like(like[..., :1]) if mask is None else ops.cast(mask, like.dtype)[..., None]


@register
class Pooled(keras.layers.Layer):
    """The mean over the steps that aren't padding."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        numbers = wide(inputs)
        kept = shares(mask, numbers)
        return ops.cast(ops.sum(numbers * kept, axis=1) / self.count(kept), inputs.dtype)

    def count(self, kept):
        return ops.maximum(ops.sum(kept, axis=1), 1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]


@register
class IgnoredPooled(Pooled):
    """Wrong: takes a mask and counts the padding."""

    def call(self, inputs, mask=None):
        return ops.mean(inputs, axis=1)


@register
class FullCountPooled(Pooled):
    """Wrong: leaves padding out of the sum, and divides by all steps."""

    def count(self, kept):
        return ops.sum(ops.ones_like(kept), axis=1)


@register
class InvertedPooled(Pooled):
    """Wrong: means the padding, as if `True` were padding."""

    def call(self, inputs, mask=None):
        return super().call(inputs, None if mask is None else ops.logical_not(mask))


@register
class Highest(Pooled):
    """The maximum over the steps that aren't padding."""

    def call(self, inputs, mask=None):
        lowest = ops.cast(-6e4, inputs.dtype)
        return ops.max(ops.where(ops.cast(shares(mask, inputs), "bool"), inputs, lowest), axis=1)


@register
class ZeroHighest(Pooled):
    """Wrong: sets padding to 0, which is the maximum of negative steps."""

    def call(self, inputs, mask=None):
        return ops.max(inputs * shares(mask, inputs), axis=1)


@register
class Shifted(Same):
    """Treats each step alone and passes the mask on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs * 2 + 1


@register
class UndeclaredShifted(Same):
    """Wrong: ends the mask, though it treats each step alone: it doesn't declare `supports_masking`."""

    def call(self, inputs):
        return inputs * 2 + 1


@register
class EndedShifted(Shifted):
    """Wrong: its `compute_mask` ends the mask without a warning."""

    def compute_mask(self, inputs, mask=None):
        return None


@register
class WrongMaskShifted(Shifted):
    """Wrong: its mask has a further axis."""

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[..., None]


@register
class EverySecond(keras.layers.Layer):
    """Keeps every second step, and of the mask too."""

    def call(self, inputs):
        return inputs[:, ::2]

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[:, ::2]

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, None if steps is None else (steps + 1) // 2, features


@register
class LongMaskEverySecond(EverySecond):
    """Wrong: passes on a mask for all steps."""

    def compute_mask(self, inputs, mask=None):
        return mask


@register
class Normalized(Same):
    """Subtracts the mean over the steps that aren't padding."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        numbers = wide(inputs)
        kept = shares(mask, numbers)
        total = ops.sum(numbers * kept, axis=1, keepdims=True)
        return ops.cast(numbers - total / ops.maximum(ops.sum(kept, axis=1, keepdims=True), 1), inputs.dtype)


@register
class PaddedNormalized(Normalized):
    """Wrong: declares `supports_masking` and counts the padding in its mean."""

    def call(self, inputs):
        return inputs - ops.mean(inputs, axis=1, keepdims=True)


@register
class Focus(Pooled):
    """Weighs the steps by a softmax over those that aren't padding."""

    def call(self, inputs, mask=None):
        scores = ops.sum(inputs, axis=-1, keepdims=True)
        return ops.sum(self.weights_of(scores, shares(mask, inputs)) * inputs, axis=1)

    def weights_of(self, scores, kept):
        blocked = ops.where(ops.cast(kept, "bool"), scores, ops.cast(-3e4, scores.dtype))
        return ops.softmax(blocked, axis=1)


@register
class PaddedFocus(Focus):
    """Wrong: takes the softmax over all steps and sets padding to 0 afterwards."""

    def weights_of(self, scores, kept):
        return ops.softmax(scores, axis=1) * kept


@register
class Neighbours(Same):
    """Adds the neighbours of each step, padding set to 0 before."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        padded = ops.pad(self.clean(inputs, mask), [[0, 0], [1, 1], [0, 0]])
        return padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]

    def clean(self, inputs, mask):
        return inputs * shares(mask, inputs)


@register
class PaddedNeighbours(Neighbours):
    """Wrong: the last step that counts adds what the padding holds."""

    def clean(self, inputs, mask):
        return inputs


@register
class Joined(keras.layers.Layer):
    """Adds two sequences; what either of them leaves out is left out."""

    def call(self, inputs):
        left, right = inputs
        return left + right

    def compute_mask(self, inputs, mask=None):
        masks = [one for one in mask or [] if one is not None]
        return ops.logical_and(*masks) if len(masks) == 2 else (masks or [None])[0]

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@register
class FirstJoined(Joined):
    """Wrong: passes on the mask of the first input only."""

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None


@register
class Recurrent(keras.layers.Layer):
    """An LSTM inside, which is told of the mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        # its default, orthogonal, can't be drawn in bfloat16
        self.lstm = keras.layers.LSTM(3, recurrent_initializer="glorot_uniform", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.lstm.build(input_shape)

    def call(self, inputs, mask=None):
        return self.lstm(inputs, mask=mask)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape[0], 3


@register
class UntoldRecurrent(Recurrent):
    """Wrong: takes the mask, computes with a tensor that has none and doesn't tell the LSTM."""

    def call(self, inputs, mask=None):
        return self.lstm(inputs * 1.0)


@register
class DecidedPooled(Pooled):
    """Wrong: asks in Python whether the mask leaves anything out, which a graph can't answer."""

    def call(self, inputs, mask=None):
        return super().call(inputs, None if mask is None or np.all(mask) else mask)


@register
class Blocked(Pooled):
    """Weighs the steps by a softmax, before which the scores of padding are blocked."""

    def call(self, inputs, mask=None):
        scores = ops.sum(inputs, axis=-1, keepdims=True)
        if mask is not None:
            scores = self.blocked(scores, mask[..., None])
        return ops.sum(ops.softmax(scores, axis=1) * inputs, axis=1)

    def blocked(self, scores, mask):
        return ops.where(mask, scores, ops.cast(-3e4, scores.dtype))


@register
class BillionBlocked(Blocked):
    """Wrong: adds -1e9 times what is padding, which is nan in float16."""

    def blocked(self, scores, mask):
        return scores + (1 - ops.cast(mask, scores.dtype)) * ops.cast(-1e9, scores.dtype)


@register
class Reader(keras.layers.Layer):
    """An embedding that knows its padding, and an LSTM that is told of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(12, 4, mask_zero=True, dtype=self.dtype_policy)
        self.lstm = keras.layers.LSTM(3, recurrent_initializer="glorot_uniform", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.embedding.build(input_shape)
        self.lstm.build((*input_shape, 4))

    def call(self, inputs):
        return self.lstm(ops.tanh(self.embedding(inputs)), mask=self.mask_of(inputs))

    def mask_of(self, inputs):
        return self.embedding.compute_mask(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0], 3


@register
class UntoldReader(Reader):
    """Wrong: the mask of the embedding is lost on the way to the LSTM."""

    def mask_of(self, inputs):
        return None


@register
class BehindEachOther(keras.layers.Layer):
    """Two sequences, one behind the other, and their masks."""

    supports_masking = True

    def call(self, inputs):
        return ops.concatenate(list(inputs), axis=1)

    def compute_mask(self, inputs, previous_mask=None):
        masks = previous_mask or [None, None]
        return None if None in masks else self.masks_of(masks)

    def masks_of(self, masks):
        return ops.concatenate(list(masks), axis=1)

    def compute_output_shape(self, input_shape):
        (batch, left, features), (_, right, _) = input_shape
        return batch, None if None in (left, right) else left + right, features


@register
class FirstBehindEachOther(BehindEachOther):
    """Wrong: the mask of the first sequence, for the steps of both."""

    def masks_of(self, masks):
        return masks[0]


@register
class ReaderModel(keras.Model):
    """An embedding that knows its padding, and an LSTM that is told of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(12, 4, mask_zero=True, dtype=self.dtype_policy)
        self.lstm = keras.layers.LSTM(3, recurrent_initializer="glorot_uniform", dtype=self.dtype_policy)

    def call(self, inputs):
        return self.lstm(self.embedded(inputs))

    def embedded(self, inputs):
        return self.embedding(inputs)


@register
class UntoldReaderModel(ReaderModel):
    """Wrong: a product has no mask."""

    def embedded(self, inputs):
        return self.embedding(inputs) * 2


STEPS = normal(8, 7, 4)
STEPS[1, 4:] = 0
STEPS[3, 2:] = 0
NEGATIVE = -np.abs(STEPS)
PADDING = r"(?i)mask|padd"
TOKENS = np.random.default_rng(0).integers(1, 12, size=(8, 6)).astype("int32")
TOKENS[:3, 4:] = 0
TWO = [STEPS, normal(8, 5, 4, seed=1)]

FORMS = [
    Form("a mean that counts padding", IgnoredPooled, Pooled, STEPS, "mask", PADDING, source=LOST),
    Form("a mean over all steps", FullCountPooled, Pooled, STEPS, "mask", PADDING),
    Form("an inverted mask", InvertedPooled, Pooled, STEPS, "mask", PADDING),
    Form("a maximum with padding at 0", ZeroHighest, Highest, NEGATIVE, "mask", PADDING),
    Form("supports_masking not declared", UndeclaredShifted, Shifted, STEPS, "mask", PADDING, source=LOST),
    Form("a mask that ends silently", EndedShifted, Shifted, STEPS, "mask", PADDING),
    Form("a mask with a further axis", WrongMaskShifted, Shifted, STEPS, "mask", r"(?i)mask.*shape|shape.*mask"),
    Form("a mask of all steps for half of them", LongMaskEverySecond, EverySecond, STEPS, "mask", r"(?i)mask"),
    Form("statistics that count padding", PaddedNormalized, Normalized, STEPS, "mask", PADDING),
    Form("a softmax that counts padding", PaddedFocus, Focus, STEPS, "mask", PADDING),
    Form("neighbours that are padding", PaddedNeighbours, Neighbours, STEPS, "mask", PADDING),
    Form("the first input's mask only", FirstJoined, Joined, [STEPS, normal(8, 7, 4, seed=1)], "mask", PADDING),
    Form(
        "the first mask for two sequences", FirstBehindEachOther, BehindEachOther, TWO, "mask", r"mask_of_each.*leaves"
    ),
    Form("an embedding's mask lost in a model", UntoldReaderModel, ReaderModel, TOKENS, "mask", r"mask_ins", "model"),
    Form("an LSTM that isn't told", UntoldRecurrent, Recurrent, STEPS, "mask", PADDING),
    Form("np.all on a mask", DecidedPooled, Pooled, STEPS, "mask", r"(?i)numpy|symbolic|graph"),
    Form("-1e9 times a mask in float16", BillionBlocked, Blocked, STEPS, "mask", r"(?i)nan|inf"),
    Form("an embedding's mask that is lost", UntoldReader, Reader, TOKENS, "mask", r"(?i)mask", source=LOST),
]
