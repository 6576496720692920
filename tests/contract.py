"""What every layer and model of the site keeps: each passes the checkup that readers take away, and a little more.

A test module lists its cases and runs each check on each of them:

    CASES = {"Linear": contract.Layer(lambda **kw: Linear(3, **kw), inputs=[(4,), (7, 4)])}

    @pytest.mark.parametrize("check", contract.LAYER)
    @pytest.mark.parametrize("case", CASES.values(), ids=CASES)
    def test_contract(case, check, tmp_path, fresh_process): ...
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from checkup import checkup
from keras import tree

from engine.prove import shapes
from tests.shown import definitions

ROWS = 6
"""Of the batch that the checkup is given: it tries others of its own."""
DTYPES = {"float64": 1e-6, "float16": 0.02, "bfloat16": 0.1, "mixed_float16": 0.02, "mixed_bfloat16": 0.1}
"""The policies that a layer may be given beside `float32`, and how much of a number each keeps."""


@dataclass(frozen=True)
class Layer:
    """A layer to check.

    Attributes:
        make: Builds a new layer and passes its keyword arguments on, as in ``Linear(3, **kwargs)``.
        inputs: Shapes without the batch, of one input each. ``None`` stands for an axis that may vary.
        leave_out: Checks of the checkup that aren't run, each with the reason.
    """

    make: Callable[..., keras.layers.Layer]
    inputs: list[tuple[int | None, ...]]
    leave_out: dict[str, str] = field(default_factory=dict)

    def batches(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        sizes = [[6 if axis is None else axis for axis in shape] for shape in self.inputs]
        return [rng.normal(size=(ROWS, *shape)).astype("float32") for shape in sizes]


@dataclass(frozen=True)
class Model:
    """A model to check.

    Attributes:
        make: Builds a new, uncompiled model. If it has a constructor of its own, passes its keyword arguments on.
        data: ``(x, y)`` of at least 32 samples: arrays, or lists or dicts of arrays.
        compile: Arguments of ``compile``.
        epochs: How long it trains before its loss has to be lower.
        leave_out: Checks of the checkup that aren't run, each with the reason.
    """

    make: Callable[..., keras.Model]
    data: Callable[[], tuple[Any, Any]]
    compile: dict[str, Any] = field(default_factory=dict)
    epochs: int = 5
    leave_out: dict[str, str] = field(default_factory=dict)


def assert_same(actual: Any, expected: Any, atol: float = 1e-6) -> None:
    """Compare two structures of tensors, number by number."""
    tree.assert_same_structure(actual, expected)
    for one, other in zip(tree.flatten(actual), tree.flatten(expected), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=atol, rtol=1e-5)


# --- layers -----------------------------------------------------------------------------------------------------------


def passes_the_checkup(case: Layer, **_: Any) -> None:
    for x in case.batches():
        checkup(case.make, x, leave_out=case.leave_out).assert_clean()


def training_lowers_the_loss(case: Layer, **_: Any) -> None:
    """Alone against a target of the right shape, if it has something to train; every weight moves."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(2)
    x = np.concatenate([case.batches()[0]] * 3)
    model = keras.Sequential([case.make()])
    y = rng.normal(size=model(x).shape)
    if not model.trainable_weights:
        return
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight, start in zip(model.trainable_weights, before, strict=True):
        assert not np.allclose(weight, start), f"{weight.path} didn't move"


def its_docstring_gives_the_shapes(case: Layer, **_: Any) -> None:
    for x in case.batches():
        layer = case.make()
        for rows in (1, 2, 5):
            shapes.check_docstring(type(layer), x[:rows], layer(x[:rows]), layer=layer)


# --- models -----------------------------------------------------------------------------------------------------------


def model_passes_the_checkup(case: Model, **_: Any) -> None:
    x, _y = case.data()
    checkup(case.make, _first(x, ROWS), leave_out=case.leave_out).assert_clean()


def gradients_reach_every_weight(case: Model, **_: Any) -> None:
    """The gradient of the loss, with which it is compiled."""
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=tree.map_structure(tf.constant, y), y_pred=outputs, training=True)
    weights = model.trainable_weights
    for weight, gradient in zip(weights, tape.gradient(loss, [w.value for w in weights]), strict=True):
        assert gradient is not None, f"no gradient reaches {weight.path}"
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, f"the gradient of {weight.path} is zero"


def fit_lowers_the_loss(case: Model, **_: Any) -> None:
    keras.utils.set_random_seed(0)
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    model.evaluate(x, y, verbose=0)
    losses = model.fit(x, y, epochs=case.epochs, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def trains_in_mixed_precision(case: Model, **_: Any) -> None:
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            x, y = case.data()
            model = case.make()
            model.compile(**case.compile)
            losses = model.fit(x, y, epochs=2, verbose=0).history["loss"]
        finally:
            keras.config.set_dtype_policy("float32")
        assert np.isfinite(losses).all()
        assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def model_reloads_in_a_new_process(case: Model, tmp_path: Path, fresh_process: Executor) -> None:
    """After training, with its optimizer, from a file."""
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    module = type(model).__module__ if type(model).__module__.startswith("snippets.") else "keras"
    reloaded = fresh_process.submit(load_and_call, tmp_path / "model.keras", module, x).result()
    assert_same(reloaded, tree.map_structure(np.asarray, model(x)))


def the_docstring_of_the_model_gives_the_shapes(case: Model, **_: Any) -> None:
    x, _y = case.data()
    model = case.make()
    if type(model).__module__.startswith("snippets."):
        shapes.check_docstring(type(model), x, model(x), layer=model)


def load_and_call(path: Path, module: str, x: Any) -> Any:
    """Runs in the new process: define the class, as the module does that registers it, load, call."""
    definitions(module)
    outputs = keras.saving.load_model(path)(x)
    return tree.map_structure(np.asarray, outputs)


def _first(structure: Any, size: int) -> Any:
    return tree.map_structure(lambda array: array[:size], structure)


LAYER = [passes_the_checkup, training_lowers_the_loss, its_docstring_gives_the_shapes]
MODEL = [
    model_passes_the_checkup,
    gradients_reach_every_weight,
    fit_lowers_the_loss,
    trains_in_mixed_precision,
    model_reloads_in_a_new_process,
    the_docstring_of_the_model_gives_the_shapes,
]
