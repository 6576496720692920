"""The cases of the checkup: the layers and models of the site pass it, and the wrong forms that pages show are caught.

A test module lists its cases, and runs each check on each of them:

    CASES = {"Linear": contract.Layer(lambda **kw: Linear(3, **kw), inputs=[(4,), (7, 4)])}

    @pytest.mark.parametrize("check", contract.LAYER)
    @pytest.mark.parametrize("case", CASES.values(), ids=CASES)
    def test_contract(case, check): ...

    CAUGHT = {"Power of kwargs_fails": contract.Wrong(lambda: Power(3), inputs=[(4,)], by="base_arguments")}

    @pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
    def test_a_wrong_form_is_caught(case):
        contract.is_caught(case)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
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
REFUSED = ("can't be run", "which isn't written", "jit_compile", "XLA: ")
"""Of the reasons for which a check tells nothing, those that nothing on this site may have."""


def batch(shape: tuple[int | None, ...], rows: int) -> np.ndarray:
    """Normal numbers of a shape without the batch; an axis that may vary has 6 entries."""
    return np.random.default_rng(0).normal(size=(rows, *(size or 6 for size in shape))).astype("float32")


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

    def examples(self, rows: int = ROWS) -> Iterator[np.ndarray]:
        yield from (batch(shape, rows) for shape in self.inputs)


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

    def examples(self, rows: int = ROWS) -> Iterator[Any]:
        yield tree.map_structure(lambda array: array[:rows], self.data()[0])


@dataclass(frozen=True)
class Other:
    """A loss, a metric, an optimizer or something else to check.

    Attributes:
        make: A class or a function.
        inputs: What the checkup asks for, for its kind.
        leave_out: Checks of the checkup that aren't run, each with the reason.
    """

    make: Callable[..., Any]
    inputs: Any = None
    leave_out: dict[str, str] = field(default_factory=dict)

    def examples(self) -> Iterator[Any]:
        yield self.inputs


@dataclass(frozen=True)
class Wrong:
    """A form that a page shows because it is wrong.

    Attributes:
        make: Makes it: a class or a function.
        inputs: What it is called with: the shape of one input without the batch, or a batch.
        by: The check that tells of it.
        says: What it has to tell, in its finding or in its reason to find nothing.
        keywords: Tensors for further arguments of ``call``.
    """

    make: Callable[..., Any]
    inputs: Any
    by: str
    says: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)


def assert_same(actual: Any, expected: Any, atol: float = 1e-6) -> None:
    """Compare two structures of tensors, number by number."""
    tree.assert_same_structure(actual, expected)
    for one, other in zip(tree.flatten(actual), tree.flatten(expected), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=atol, rtol=1e-5)


# --- checks -----------------------------------------------------------------------------------------------------------


def passes_the_checkup(case: Layer | Model | Other) -> None:
    """Nothing is found, and nothing but what the case leaves out is refused."""
    for x in case.examples():
        report = checkup(case.make, x, leave_out=case.leave_out)
        report.assert_clean()
        reasons = {name: why for name, why in report.left.items() if name not in case.leave_out}
        refused = [f"{name}: {why}" for name, why in reasons.items() if any(text in why for text in REFUSED)]
        assert not refused, "\n".join(["Let these run, or name them in leave_out:", *refused])


def its_docstring_gives_the_shapes(case: Layer | Model) -> None:
    for rows in (1, 2, 5):
        for x in case.examples(rows):
            thing = case.make()
            if type(thing).__module__.startswith("snippets.") or isinstance(case, Layer):
                shapes.check_docstring(type(thing), x, thing(x), layer=thing)


def fit_lowers_the_loss(case: Model) -> None:
    keras.utils.set_random_seed(0)
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    model.evaluate(x, y, verbose=0)
    losses = model.fit(x, y, epochs=case.epochs, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def hands_its_dtype_to_its_layers(case: Model) -> None:
    """A model that is given a dtype computes in it; one that takes no arguments can't be given any."""
    if not inspect.signature(case.make).parameters:
        return
    model = case.make(dtype="float64")
    outputs = [tree.flatten(model(x)) for x in case.examples()]
    assert {output.dtype for output in tree.flatten(outputs)} == {tf.float64}
    assert {weight.dtype for weight in model.trainable_weights} == {"float64"}


LAYER = [passes_the_checkup, its_docstring_gives_the_shapes]
MODEL = [passes_the_checkup, its_docstring_gives_the_shapes, fit_lowers_the_loss, hands_its_dtype_to_its_layers]


def is_caught(case: Wrong) -> None:
    """The checkup tells of the mistake that the page shows, by the check that is named."""
    x = case.inputs
    if isinstance(x, tuple) and not any(isinstance(one, np.ndarray) for one in x):
        x = batch(x, ROWS)
    report = checkup(case.make, x, keywords=case.keywords or None)
    told = {**(report.left if case.says else {}), **{finding.check: finding.found for finding in report.findings}}
    assert case.by in told, report
    assert case.says in told[case.by], report


def load_and_call(path: Path, module: str, x: Any) -> Any:
    """Runs in the new process: define the class, as the module does that registers it, load, call."""
    definitions(module)
    outputs = keras.saving.load_model(path)(x)
    return tree.map_structure(np.asarray, outputs)
