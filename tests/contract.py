"""What every layer and model of the site keeps, whatever it computes, and the checkup that readers take away.

A test module lists its cases and runs each check on each of them:

    CASES = {"Linear": contract.Layer(lambda **kw: Linear(3, **kw), inputs=[(4,), (7, 4)])}

    @pytest.mark.parametrize("check", contract.LAYER)
    @pytest.mark.parametrize("case", CASES.values(), ids=CASES)
    def test_contract(case, check, tmp_path, fresh_process): ...
"""

from __future__ import annotations

import inspect
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

BATCHES = (1, 2, 5)
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

    def batches(self, dtype: str = "float32", sizes: tuple[int, ...] = BATCHES) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        shapes = [[6 if axis is None else axis for axis in shape] for shape in self.inputs]
        return [rng.normal(size=(size, *shape)).astype(dtype) for shape in shapes for size in sizes]


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
    for x in case.batches(sizes=(ROWS,)):
        checkup(case.make, x, leave_out=case.leave_out).assert_clean()


def shapes_agree(case: Layer, **_: Any) -> None:
    """Whatever the batch size and rank: the shape that is declared is the shape that comes out."""
    for x in case.batches():
        layer = case.make()
        symbolic = layer(keras.Input(x.shape[1:]))
        outputs = layer(x)
        assert symbolic.shape == (None, *outputs.shape[1:])
        assert layer.compute_output_spec(keras.KerasTensor(x.shape)).shape == outputs.shape
        if type(layer).compute_output_shape is not keras.layers.Layer.compute_output_shape:
            assert tuple(layer.compute_output_shape(x.shape)) == outputs.shape
            assert tuple(layer.compute_output_shape((None, *x.shape[1:]))) == symbolic.shape


def eager_graph_and_symbolic_calls_agree(case: Layer, **_: Any) -> None:
    for x in case.batches():
        layer = case.make()
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, layer(inputs))
        eager = layer(x)
        assert np.isfinite(eager).all()
        assert_same(tf.function(layer)(tf.constant(x)), eager)
        assert_same(model.predict(x, verbose=0), eager)


def gradients_match_finite_differences(case: Layer, **_: Any) -> None:
    """Along a random direction of each trainable weight and of the input, in float64."""
    rng = np.random.default_rng(1)
    for x in case.batches("float64", sizes=(2,)):
        layer = case.make(dtype="float64")
        x = tf.Variable(x)
        target = rng.normal(size=layer(x).shape)
        weights = layer.trainable_weights

        def loss(layer=layer, x=x, target=target) -> tf.Tensor:
            return tf.reduce_sum(layer(tf.convert_to_tensor(x)) * target)

        with tf.GradientTape() as tape:
            value = loss()
        for variable, gradient in zip(
            [x, *weights], tape.gradient(value, [x, *(w.value for w in weights)]), strict=True
        ):
            assert gradient is not None, f"no gradient reaches {variable.name}"
            start, direction = tf.identity(variable), rng.normal(size=variable.shape)
            variable.assign(start + 1e-6 * direction)
            above = loss()
            variable.assign(start - 1e-6 * direction)
            slope = (above - loss()) / 2e-6
            variable.assign(start)
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4, atol=1e-6, err_msg=variable.name)


def training_lowers_the_loss(case: Layer, **_: Any) -> None:
    """Alone against a target of the right shape, if it has something to train; every weight moves."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(2)
    x = case.batches(sizes=(20,))[0]
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


def config_comes_back(case: Layer, **_: Any) -> None:
    layer = case.make(name="by_name")
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    assert copy.name == "by_name"
    x = case.batches(sizes=(2,))[0]
    layer(x), copy(x)
    copy.set_weights(layer.get_weights())
    assert_same(copy(x), layer(x))


def reloads_in_a_new_process(case: Layer, tmp_path: Path, fresh_process: Executor) -> None:
    for number, x in enumerate(case.batches(sizes=(2,))):
        model = keras.Sequential([keras.Input(x.shape[1:]), case.make()])
        path = tmp_path / f"{number}.keras"
        model.save(path)
        _assert_reloads(path, model, x, type(model.layers[0]), fresh_process)


def computes_in_each_dtype(case: Layer, **_: Any) -> None:
    """In each policy outputs have the compute dtype, weights the variable dtype, and the numbers are the same."""
    for policy, tolerance in DTYPES.items():
        x = case.batches(sizes=(2,))[0]
        layer = case.make(dtype=policy)
        outputs = layer(x)
        assert outputs.dtype == layer.compute_dtype == policy.removeprefix("mixed_"), policy
        variables = "float32" if policy.startswith("mixed_") else policy
        assert {weight.dtype for weight in layer.trainable_weights} <= {variables}, policy
        outputs, expected = (np.asarray(tf.cast(out, "float64")) for out in (outputs, _like(layer, case.make(), x)(x)))
        assert np.isfinite(outputs).all(), policy
        np.testing.assert_allclose(outputs, expected, atol=tolerance, rtol=tolerance, err_msg=policy)


def computes_in_each_dtype_in_training(case: Layer, **_: Any) -> None:
    """With ``training=True`` outputs have the compute dtype too, and are finite; what is drawn may differ."""
    for policy in DTYPES:
        layer = case.make(dtype=policy)
        x = case.batches(sizes=(2,))[0]
        outputs = layer(x, training=True) if "training" in inspect.signature(layer.call).parameters else layer(x)
        assert outputs.dtype == layer.compute_dtype, policy
        assert np.isfinite(np.asarray(tf.cast(outputs, "float64"))).all(), policy


def _like(layer: keras.layers.Layer, other: keras.layers.Layer, x: np.ndarray) -> keras.layers.Layer:
    other(x)
    other.set_weights([np.asarray(tf.cast(weight, "float32")) for weight in layer.weights])
    return other


def works_inside_time_distributed(case: Layer, **_: Any) -> None:
    """A wrapper asks for the shape of the output without calling the layer, which needs `compute_output_shape`."""
    for x in case.batches(sizes=(2,)):
        steps = np.stack([x, -x, 2 * x], axis=1)
        wrapper = keras.layers.TimeDistributed(case.make())
        symbolic, outputs = wrapper(keras.Input(steps.shape[1:])), wrapper(steps)
        assert symbolic.shape == (None, *outputs.shape[1:])
        each = np.stack([wrapper.layer(steps[:, step]) for step in range(3)], axis=1)
        assert_same(np.asarray(outputs), each, atol=1e-5)


def its_docstring_gives_the_shapes(case: Layer, **_: Any) -> None:
    for x in case.batches():
        layer = case.make()
        shapes.check_docstring(type(layer), x, layer(x), layer=layer)


# --- models -----------------------------------------------------------------------------------------------------------


def model_passes_the_checkup(case: Model, **_: Any) -> None:
    x, _y = case.data()
    checkup(case.make, _first(x, ROWS), leave_out=case.leave_out).assert_clean()


def any_batch_size(case: Model, **_: Any) -> None:
    x, y = case.data()
    model = case.make()
    whole = model(x)
    tree.map_structure(lambda out, target: _assert_batch_shape(out, target), whole, y)
    for size in BATCHES:
        assert_same(model(_first(x, size)), _first(whole, size), atol=1e-5)


def _assert_batch_shape(outputs: tf.Tensor, target: np.ndarray) -> None:
    assert len(outputs) == len(target)
    assert len(outputs.shape) == max(2, target.ndim)


def eager_graph_and_predict_agree(case: Model, **_: Any) -> None:
    x, _y = case.data()
    model = case.make()
    eager = model(x)
    tree.map_structure(lambda out: _assert_finite(out), eager)
    assert_same(tf.function(model)(tree.map_structure(tf.constant, x)), eager, atol=1e-5)
    assert_same(model.predict(x, verbose=0), tree.map_structure(np.asarray, eager), atol=1e-5)


def _assert_finite(outputs: tf.Tensor) -> None:
    assert np.isfinite(outputs).all()


def gradients_reach_every_weight(case: Model, **_: Any) -> None:
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=tree.map_structure(tf.constant, y), y_pred=outputs, training=True)
    watched = {id(variable) for variable in tape.watched_variables()}
    weights = model.trainable_weights
    assert watched == {id(weight.value) for weight in weights}, "a weight that is used isn't tracked, or the reverse"
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


def model_reloads_in_a_new_process(case: Model, tmp_path: Path, fresh_process: Executor) -> None:
    """After training, with its optimizer, from a file."""
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    _assert_reloads(tmp_path / "model.keras", model, x, type(model), fresh_process)


def model_config_comes_back(case: Model, **_: Any) -> None:
    x, _y = case.data()
    model = case.make()
    copy = type(model).from_config(model.get_config())
    model(x), copy(x)
    copy.set_weights(model.get_weights())
    assert copy.get_config() == model.get_config()
    assert_same(copy(x), model(x))


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


def hands_its_dtype_to_its_layers(case: Model, **_: Any) -> None:
    """A model that is given a dtype computes in it; one that takes no arguments can't be given any."""
    if not inspect.signature(case.make).parameters:
        return
    x, _y = case.data()
    model = case.make(dtype="float64")
    tree.map_structure(lambda out: _assert_dtype(out, "float64"), model(x))
    assert {weight.dtype for weight in model.trainable_weights} == {"float64"}


def _assert_dtype(outputs: tf.Tensor, dtype: str) -> None:
    assert outputs.dtype == dtype


def the_docstring_of_the_model_gives_the_shapes(case: Model, **_: Any) -> None:
    x, _y = case.data()
    model = case.make()
    if type(model).__module__.startswith("snippets."):
        shapes.check_docstring(type(model), x, model(x), layer=model)


# --- a new process ----------------------------------------------------------------------------------------------------


def _assert_reloads(path: Path, model: keras.Model, x: Any, cls: type, fresh_process: Executor) -> None:
    module = cls.__module__ if cls.__module__.startswith("snippets.") else "keras"
    reloaded = fresh_process.submit(load_and_call, path, module, x).result()
    assert_same(reloaded, tree.map_structure(np.asarray, model(x)))


def load_and_call(path: Path, module: str, x: Any) -> Any:
    """Runs in the new process: define the class, as the module does that registers it, load, call."""
    definitions(module)
    outputs = keras.saving.load_model(path)(x)
    return tree.map_structure(np.asarray, outputs)


def _first(structure: Any, size: int) -> Any:
    return tree.map_structure(lambda array: array[:size], structure)


LAYER = [
    passes_the_checkup,
    shapes_agree,
    eager_graph_and_symbolic_calls_agree,
    gradients_match_finite_differences,
    training_lowers_the_loss,
    config_comes_back,
    reloads_in_a_new_process,
    computes_in_each_dtype,
    computes_in_each_dtype_in_training,
    works_inside_time_distributed,
    its_docstring_gives_the_shapes,
]
MODEL = [
    model_passes_the_checkup,
    any_batch_size,
    eager_graph_and_predict_agree,
    gradients_reach_every_weight,
    fit_lowers_the_loss,
    model_config_comes_back,
    model_reloads_in_a_new_process,
    trains_in_mixed_precision,
    hands_its_dtype_to_its_layers,
    the_docstring_of_the_model_gives_the_shapes,
]
