"""What a form is, and what the modules of each group share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

OBJECTS: dict[str, type] = {}
"""Every registered class of the library, for `keras.saving.custom_object_scope`."""


@dataclass(frozen=True)
class Form:
    """A wrong form of something beside its right one.

    Attributes:
        name: What is wrong, in a few words.
        wrong: Makes the wrong one. A loss, a metric or an activation that is a function is given as it is.
        right: Makes the right one: the smallest change that fixes it.
        inputs: The first argument of `call`; `(y_true, y_pred)` of a loss or a metric; an array for an activation, a
            regularizer or a constraint; otherwise `None`.
        group: weights, config, file, calls, dtype, training, mask, gradients, graph, loss, metric or other.
        says: A regular expression for check and found text of the finding that names this fault.
        kind: layer, model, loss, metric, optimizer, schedule, initializer, regularizer, constraint or activation.
        keywords: Tensors for further arguments of `call`.
        arguments: What the constructor is given; without it, both forms are made too.
        source: Page and anchor on the site that explains it.
        unseen: Why it can't be seen from outside, where that is so.
        raises: The fault is that making it, or calling it on its inputs, raises.
    """

    name: str
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    inputs: Any
    group: str
    says: str
    kind: str = "layer"
    keywords: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    unseen: str = ""
    raises: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def register(cls: type) -> type:
    """Register a class with Keras, and keep it for a test that needs it again."""
    if f"forms>{cls.__name__}" in OBJECTS:
        raise ValueError(f"{cls.__name__} of {cls.__module__}: another form has this name: it would be loaded.")
    OBJECTS[f"forms>{cls.__name__}"] = cls
    return keras.saving.register_keras_serializable("forms")(cls)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers in float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """Uniform numbers in float32."""
    return np.random.default_rng(seed).uniform(low, high, size=shape).astype("float32")


def wide(inputs: Any) -> Any:
    """Numbers of at least 32 bits, to sum up and to square in."""
    return ops.cast(inputs, "float32") if ops.dtype(inputs) in ("float16", "bfloat16") else inputs


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """`(n,)` beside `(n, 1)` becomes `(n, 1)`."""
    if len(y_true.shape) < len(y_pred.shape):
        return ops.expand_dims(y_true, -1), y_pred
    if len(y_pred.shape) < len(y_true.shape):
        return y_true, ops.expand_dims(y_pred, -1)
    return y_true, y_pred


class Same(keras.layers.Layer):
    """A layer whose output has the shape of its input."""

    def compute_output_shape(self, input_shape):
        return input_shape


class Scaled(Same):
    """Has one weight for each feature, `scale`."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer=near_one())

    def call(self, inputs):
        return inputs * self.scale


def near_one() -> keras.initializers.Initializer:
    """Random numbers around 1, so that no weight starts at a special value."""
    return keras.initializers.RandomUniform(0.5, 1.5)
