"""`docs/decisions/advantages.md`: every claim that the page makes, proved."""

from __future__ import annotations

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from snippets.decisions.advantages import NormalizedMomentum, QuantileLoss, RadialBasis, SharedDepth
from tests import contract

MODULE = "snippets.decisions.advantages"
CASES = {
    "SharedDepth": contract.Layer(lambda **kw: SharedDepth(3, **kw), inputs=[(4,), (None, 4)]),
    "RadialBasis": contract.Layer(lambda **kw: RadialBasis(3, gamma=0.5, **kw), inputs=[(4,), (7, 4), (2, 5, 4)]),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0, 1, 5])
def test_shared_depth_is_the_formula_with_one_kernel(times):
    layer, x = SharedDepth(times), rng().normal(size=(2, 7, 4)).astype("float32")
    layer(x)
    kernel, bias = rng().normal(size=(4, 4)), np.arange(4.0)
    layer.set_weights([kernel, bias])
    state = x
    for _ in range(times):
        state = x + np.tanh(state @ kernel + bias)
    np.testing.assert_allclose(layer(x), state, rtol=1e-4, atol=1e-5)
    assert layer.count_params() == 4 * 4 + 4


def test_the_layer_inside_computes_in_the_dtype_of_the_outer_one():
    layer = SharedDepth(2, dtype="mixed_float16")
    layer(np.ones((2, 4)))
    assert layer.dense.compute_dtype == "float16"


def test_radial_basis_is_the_formula():
    layer, x = RadialBasis(3, gamma=2.0), rng().normal(size=(5, 7, 4)).astype("float32")
    outputs = layer(x)
    assert outputs.shape == (5, 7, 3)
    assert [weight.name for weight in layer.trainable_weights] == ["centres"]
    distance = np.linalg.norm(x[:, :, None, :] - layer.centres.numpy(), axis=-1)
    np.testing.assert_allclose(outputs, np.exp(-2.0 * distance**2), rtol=1e-4, atol=1e-6)


def test_settings_that_are_not_the_defaults_come_back():
    basis = RadialBasis.from_config(RadialBasis(3, gamma=0.25).get_config())
    assert (basis.units, basis.gamma) == (3, 0.25)
    assert SharedDepth.from_config(SharedDepth(7).get_config()).times == 7


def test_gamma_decides_whether_the_radial_basis_beats_relu():
    """On points, and from weights, that the page doesn't show."""
    keras.utils.set_random_seed(2)
    x = np.random.uniform(-1, 1, size=(1000, 2)).astype("float32")
    distance = np.hypot(x[:, :1], x[:, 1:])
    ring = (distance > 0.4) & (distance < 0.8)
    right = {}
    layers = {"relu": keras.layers.Dense(16, "relu"), 2: RadialBasis(16, gamma=2.0), 8: RadialBasis(16, gamma=8.0)}
    for name, layer in layers.items():
        model = keras.Sequential([layer, keras.layers.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
        model.fit(x[:800], ring[:800], batch_size=50, epochs=15, verbose=0)
        right[name] = np.mean((model(x[800:]) > 0.5) == ring[800:])
    assert right[2] < right["relu"] < right[8]


# --- the loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantile_loss_against_numpy(quantile):
    y_true, y_pred = rng().normal(size=(2, 6, 3))
    error = y_true - y_pred
    expected = np.where(error > 0, quantile * error, (quantile - 1) * error).mean(axis=-1)
    loss = QuantileLoss(quantile, reduction=None)
    assert loss(y_true, y_pred).shape == (6,)
    np.testing.assert_allclose(loss(y_true, y_pred), expected, rtol=1e-5)
    np.testing.assert_allclose(QuantileLoss(quantile)(y_true, y_pred), expected.mean(), rtol=1e-5)


def test_half_of_the_median_loss_is_the_absolute_error():
    y_true, y_pred = rng().normal(size=(2, 6, 3))
    np.testing.assert_allclose(
        2 * QuantileLoss(0.5)(y_true, y_pred), keras.losses.MeanAbsoluteError()(y_true, y_pred), rtol=1e-5
    )


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_the_loss_is_least_at_the_quantile(quantile):
    y = rng().normal(size=(2000, 1))
    candidates = np.linspace(-3, 3, 601)
    losses = [float(QuantileLoss(quantile)(y, np.full_like(y, value))) for value in candidates]
    assert candidates[np.argmin(losses)] == pytest.approx(np.quantile(y, quantile), abs=0.02)


def test_sample_weight_counts_each_sample_by_its_own():
    y_true, y_pred = rng().normal(size=(2, 6, 1))
    weight = np.array([1.0, 0, 0, 0, 0, 0])
    loss = QuantileLoss(0.9)
    np.testing.assert_allclose(loss(y_true, y_pred, sample_weight=weight), loss(y_true[:1], y_pred[:1]) / 6, rtol=1e-5)


class Unaligned(QuantileLoss):
    def call(self, y_true, y_pred):
        return pinball(y_true, y_pred)


def pinball(y_true, y_pred):
    return keras.ops.mean(keras.ops.maximum(0.9 * (y_true - y_pred), -0.1 * (y_true - y_pred)), axis=-1)


@pytest.mark.parametrize(
    ("loss", "aligns"),
    [(QuantileLoss(0.9), True), (Unaligned(0.9), False), (pinball, True)],
    ids=["ours", "class", "function"],
)
def test_keras_aligns_targets_for_a_function_and_not_for_a_class(loss, aligns):
    """In `compile`: targets of (batch,), predictions of (batch, 1)."""
    x, y = rng().normal(size=(2, 12, 1))
    right = np.maximum(0.9 * (y - x), -0.1 * (y - x)).mean()
    for targets, expected in ((y, True), (y[:, 0], aligns)):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(loss=loss)
        assert np.isclose(model.evaluate(x, targets, verbose=0), right, rtol=1e-4) == expected


def test_targets_that_do_not_fit_raise():
    with pytest.raises(tf.errors.InvalidArgumentError):
        QuantileLoss(0.9)(np.ones((4, 2)), np.ones((4, 1)))


@pytest.mark.parametrize("quantile", [0, 1, 1.5, -0.1])
def test_quantile_loss_refuses_what_is_no_quantile(quantile):
    with pytest.raises(ValueError, match="`quantile` must be between 0 and 1"):
        QuantileLoss(quantile)


def test_quantile_loss_keeps_its_config():
    loss = QuantileLoss(0.75, name="late", reduction="sum")
    copy = QuantileLoss.from_config(loss.get_config())
    assert (copy.quantile, copy.name, copy.reduction) == (0.75, "late", "sum")


# --- the optimizer ----------------------------------------------------------------------------------------------------


def by_hand(weights, gradients, learning_rate, momentum) -> list[np.ndarray]:
    averages = [np.zeros_like(weight) for weight in weights]
    for step in gradients:
        for index, gradient in enumerate(step):
            averages[index] = momentum * averages[index] + (1 - momentum) * gradient
            weights[index] = weights[index] - learning_rate * averages[index] / np.linalg.norm(averages[index])
    return weights


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_normalized_momentum_against_numpy(momentum):
    start = [rng().normal(size=(4, 3)), rng().normal(size=(3,))]
    gradients = [[rng().normal(size=(4, 3)) * scale, rng().normal(size=(3,))] for scale in (1, -3, 10, 0.1)]
    variables = [keras.Variable(weight) for weight in start]
    optimizer = NormalizedMomentum(0.05, momentum)
    for step in gradients:
        optimizer.apply([tf.constant(gradient, "float32") for gradient in step], variables)
    for variable, expected in zip(variables, by_hand(start, gradients, 0.05, momentum), strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-5)


def test_without_a_gradient_there_is_no_step():
    variable = keras.Variable([1.0, 2.0])
    NormalizedMomentum().apply([tf.zeros(2)], [variable])
    np.testing.assert_array_equal(variable, [1.0, 2.0])


def test_the_sparse_gradient_of_an_embedding_is_the_dense_one():
    results = []
    for dense in (False, True):
        table = keras.Variable(np.arange(8.0).reshape(4, 2))
        optimizer = NormalizedMomentum(0.1)
        for ids in ([0, 2], [1, 1]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table.value, ids) ** 2)
            gradient = tape.gradient(loss, table.value)
            assert isinstance(gradient, tf.IndexedSlices)
            optimizer.apply([tf.convert_to_tensor(gradient) if dense else gradient], [table])
        results.append(table.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_normalized_momentum_keeps_its_config():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    copy = NormalizedMomentum.from_config(
        NormalizedMomentum(schedule, momentum=0.5, weight_decay=0.01, clipnorm=2.0, name="steady").get_config()
    )
    assert (copy.momentum, copy.weight_decay, copy.clipnorm, copy.name) == (0.5, 0.01, 2.0, "steady")
    assert copy.get_config()["learning_rate"]["config"]["initial_learning_rate"] == 0.5


def test_schedules_clipping_and_weight_decay_come_from_the_base_class():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.25])
    variable, optimizer = keras.Variable([0.0]), NormalizedMomentum(schedule)
    positions = []
    for _ in range(2):
        optimizer.apply([tf.ones(1)], [variable])
        positions.append(float(variable.numpy()[0]))
    assert positions == pytest.approx([-1.0, -1.25])

    # The first gradient counts 1 instead of 100 in the average: the second one turns it.
    clipped, free = (keras.Variable([0.0, 0.0]) for _ in range(2))
    for variable, options in ((clipped, {"clipvalue": 1.0}), (free, {})):
        optimizer = NormalizedMomentum(0.1, **options)
        for gradient in ([100.0, 0.0], [0.0, 1.0]):
            optimizer.apply([tf.constant(gradient)], [variable])
    assert abs(clipped.numpy()[1]) > 0.05 > abs(free.numpy()[1])

    decays = keras.Variable([10.0])
    NormalizedMomentum(0.1, weight_decay=0.5).apply([tf.zeros(1)], [decays])
    assert float(decays.numpy()[0]) == pytest.approx(9.5)


def test_it_trains_in_mixed_precision():
    x = rng().normal(size=(64, 4)).astype("float32")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(NormalizedMomentum(0.05), "mse")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        losses = model.fit(x, x.sum(axis=-1, keepdims=True), epochs=10, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses[-1] < losses[0] / 2


# --- saving -----------------------------------------------------------------------------------------------------------


def compiled_model(x, y) -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(NormalizedMomentum(0.02, momentum=0.5), QuantileLoss(0.75))
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    return model


def load_and_train(path: Path, x, y) -> dict:
    """Runs in the new process."""
    importlib.import_module(MODULE)
    model = keras.saving.load_model(path)
    found = {
        "momentum": model.optimizer.momentum,
        "quantile": model.loss.quantile,
        "averages": [np.asarray(average) for average in model.optimizer.averages],
        "evaluate": model.evaluate(x, y, verbose=0),
    }
    model.fit(x, y, shuffle=False, verbose=0)
    return {**found, "weights": model.get_weights()}


def test_a_compiled_model_comes_back_in_a_new_process_and_trains_on(tmp_path, fresh_process):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.save(tmp_path / "model.keras")
    found = fresh_process.submit(load_and_train, tmp_path / "model.keras", x, y).result()

    assert (found["momentum"], found["quantile"]) == (0.5, 0.75)
    averages = [np.asarray(average) for average in model.optimizer.averages]
    assert all(np.abs(average).max() > 0 for average in averages)
    contract.assert_same(found["averages"], averages)
    assert found["evaluate"] == pytest.approx(model.evaluate(x, y, verbose=0))
    model.fit(x, y, shuffle=False, verbose=0)
    contract.assert_same(found["weights"], model.get_weights())


@keras.saving.register_keras_serializable(package="tests")
class Forgets(NormalizedMomentum):
    def get_config(self):
        return keras.optimizers.Optimizer.get_config(self)


@keras.saving.register_keras_serializable(package="tests")
class ForgetsItsQuantile(QuantileLoss):
    def __init__(self, quantile=0.9, **kwargs):
        super().__init__(quantile, **kwargs)

    def get_config(self):
        return keras.losses.Loss.get_config(self)


def test_without_get_config_the_default_comes_back_and_nothing_is_said(tmp_path, recwarn):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.compile(Forgets(0.02, momentum=0.5), ForgetsItsQuantile(0.75))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    recwarn.clear()
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not [warning for warning in recwarn if not issubclass(warning.category, DeprecationWarning)]
    assert (model.optimizer.momentum, reloaded.optimizer.momentum) == (0.5, 0.9)
    assert (model.loss.quantile, reloaded.loss.quantile) == (0.75, 0.9)


def test_a_layer_records_simple_arguments_by_itself():
    assert "get_config" not in vars(SharedDepth)
    assert SharedDepth(7).get_config()["times"] == 7


def test_no_built_in_does_it():
    names = [name.lower() for part in (keras.layers, keras.losses, keras.optimizers) for name in dir(part)]
    assert not [
        name for name in names if any(word in name for word in ("radial", "quantile", "pinball", "normalizedm"))
    ]
