"""`docs/decisions/advantages.md`: every claim that the page makes, proved."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.decisions import disadvantages
from snippets.decisions.advantages import NormalizedMomentum, RadialBasis, SharedDepth
from tests import contract
from tests.shown import shown

MODULE = "snippets.decisions.advantages"
CASES = {
    "SharedDepth": contract.Layer(lambda **kw: SharedDepth(3, **kw), inputs=[(4,), (None, 4)]),
    "RadialBasis": contract.Layer(lambda **kw: RadialBasis(3, gamma=0.5, **kw), inputs=[(4,), (7, 4), (2, 5, 4)]),
}
OTHERS = {"NormalizedMomentum": contract.Other(lambda **kw: NormalizedMomentum(**kw))}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_an_optimizer_passes_the_checkup(case):
    contract.passes_the_checkup(case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.proves("the mask of the inputs goes on")
def test_layers_of_each_step_propagate_the_mask(case):
    assert shown(disadvantages, "imports", "four_checks")["propagates_the_mask"](case.make)
    masked = keras.layers.Masking()(np.array([[[1.0] * 4, [0.0] * 4]]))
    np.testing.assert_array_equal(case.make()(masked)._keras_mask, [[True, False]])


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    return [
        [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", line.split(":", 1)[1])]
        for line in printed.splitlines()
    ]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`state = inputs + tanh(state @ kernel + bias)`, from `state = inputs`.",
    "This one applies the same dense layer several times, so that the depth of a network is an argument:",
)
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
    assert layer.compute_output_shape((None, 7, 4)) == (None, 7, 4)


@pytest.mark.proves("Without `dtype`, it would have the dtype that is set globally.")
def test_the_layer_inside_computes_in_the_dtype_of_the_outer_one():
    layer = SharedDepth(2, dtype="mixed_float16")
    layer(np.ones((2, 4)))
    assert layer.dense.compute_dtype == "float16"

    class Outer(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(2)

    assert Outer(dtype="float64").dense.compute_dtype == "float32"


@pytest.mark.proves("The number of weights doesn't depend on the depth:")
def test_the_count_is_that_of_one_layer():
    lines = figures(shown(MODULE, "count").printed)
    assert lines == [[8 * 8 + 8, times * (8 * 8 + 8)] for times in (1, 4, 16)]


@pytest.mark.proves(
    "The task is to tell two spirals apart that are wound into each other. One `Dense` layer with as many weights "
    "doesn't learn it in these 20 epochs; the same layer applied four times does. Four layers with weights of "
    "their own do as well, with about three times as many weights:",
    "Points on two spirals, wound into each other for 1.75 turns.",
)
def test_depth_with_shared_weights_tells_the_spirals_apart(seed):
    page = shown(MODULE, "depth", seed=seed)
    dense, shared, own = figures(page.printed)
    assert dense[0] == shared[0] == own[0] - 3 * (8 * 8 + 8)
    assert own[0] / shared[0] == pytest.approx(3, abs=0.1)
    assert dense[1] <= 0.7
    assert min(shared[1], own[1]) >= 0.9
    x, y = page["spirals"](2000)
    assert 0.4 < np.mean(y > 0) < 0.6
    radius = np.hypot(*x.T)
    turns = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - 1.75 * radius - 0.5 * (y[:, 0] > 0)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-4)
    assert radius.max() == pytest.approx(1, abs=0.01)


@pytest.mark.proves(
    "In 2000 epochs with a decaying learning rate, the one `Dense` layer gets more than 0.8 of the points right too"
)
def test_one_layer_learns_the_spirals_in_a_hundred_times_the_steps(seed):
    spirals = shown(MODULE, "depth", seed=seed)["spirals"]
    keras.utils.set_random_seed(seed)
    (x, y), (x_test, y_test) = spirals(1000), spirals(1000)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((2,)), dense(8), dense(8, activation="tanh"), dense(1)])
    assert model.count_params() == 105
    steps, weights = 2000 * 10, model.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, steps))
    optimizer.build(weights)

    @tf.function
    def train():  # as `fit` does, in one graph: 20 000 steps of `fit` take minutes
        for _ in tf.range(steps):
            rows = tf.random.uniform((100,), 0, 1000, dtype="int32")
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(model(tf.gather(x, rows)) - tf.gather(y, rows)))
            optimizer.apply(tape.gradient(loss, weights), weights)

    train()
    assert np.mean(np.sign(model(x_test)) == y_test) > 0.8


@pytest.mark.proves("A functional model that calls one `Dense` in a Python loop computes the same.")
def test_a_graph_with_one_dense_in_a_loop_is_the_layer():
    inputs = state = keras.Input((8,))
    dense = keras.layers.Dense(8, activation="tanh")
    for _ in range(4):
        state = inputs + dense(state)
    graph, layer, x = keras.Model(inputs, state), SharedDepth(4), rng().normal(size=(5, 8)).astype("float32")
    layer(x)
    weights = [rng().normal(size=weight.shape) for weight in layer.weights]
    layer.set_weights(weights)
    graph.set_weights(weights)
    assert graph.count_params() == layer.count_params()
    np.testing.assert_allclose(graph(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.proves(
    "`exp(-gamma * |inputs - centre|²)` for each of `units` centres.",
    "A radial basis unit measures how near its input is to a point, and the points are trainable:",
)
def test_radial_basis_is_the_formula():
    layer, x = RadialBasis(3, gamma=2.0), rng().normal(size=(5, 7, 4)).astype("float32")
    outputs = layer(x)
    assert outputs.shape == (5, 7, 3)
    assert layer.compute_output_shape((None, 7, 4)) == (None, 7, 3)
    assert [weight.name for weight in layer.trainable_weights] == ["centres"]
    distance = np.linalg.norm(x[:, :, None, :] - layer.centres.numpy(), axis=-1)
    np.testing.assert_allclose(outputs, np.exp(-2.0 * distance**2), rtol=1e-4, atol=1e-6)


def test_the_defaults_of_the_radial_basis():
    layer = RadialBasis(1000)
    layer(np.ones((1, 2)))
    assert layer.gamma == 1.0
    assert np.abs(layer.centres).max() == pytest.approx(1, abs=0.01)
    assert np.mean(layer.centres) == pytest.approx(0, abs=0.1)


def test_settings_that_are_not_the_defaults_come_back():
    basis = RadialBasis.from_config(RadialBasis(3, gamma=0.25).get_config())
    assert (basis.units, basis.gamma) == (3, 0.25)
    assert SharedDepth.from_config(SharedDepth(7).get_config()).times == 7


@pytest.mark.proves("Compare it with its formula, number by number, in NumPy and plain loops:")
def test_the_comparison_would_see_another_gamma():
    page = shown(MODULE, "by_hand")
    np.testing.assert_allclose(page["outputs"], page["expected"], atol=1e-5)
    other = RadialBasis(3, gamma=2.1)
    other(page["batch"])
    other.set_weights(page["layer"].get_weights())
    assert np.abs(other(page["batch"]) - page["expected"]).max() > 1e-4


@pytest.mark.proves(
    "The task is to tell the points of a ring around the origin from all others. Whether the layer is better or "
    "worse than one of `relu`, which has more weights, depends on its option `gamma`:"
)
def test_gamma_decides_whether_the_radial_basis_beats_relu(seed):
    (more, relu, _), (fewer, two, _), (_, eight, _) = figures(shown(MODULE, "ring", seed=seed).printed)
    assert fewer < more
    assert two < relu < eight


# --- the optimizer ----------------------------------------------------------------------------------------------------


def by_hand(weights, gradients, learning_rate, momentum) -> tuple[list[np.ndarray], list[np.ndarray]]:
    averages = [np.zeros_like(weight) for weight in weights]
    for step in gradients:
        for index, gradient in enumerate(step):
            averages[index] = momentum * averages[index] + (1 - momentum) * gradient
            weights[index] = weights[index] - learning_rate * averages[index] / np.linalg.norm(averages[index])
    return weights, averages


@pytest.mark.proves(
    "`average = momentum * average + (1 - momentum) * gradient`, then `weight -= learning_rate * average / |average|`",
    "An optimizer creates its variables in `build` and updates one weight in `update_step`.",
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_normalized_momentum_against_numpy(momentum):
    start = [rng().normal(size=(4, 3)), rng().normal(size=(3,))]
    gradients = [[rng().normal(size=(4, 3)) * scale, rng().normal(size=(3,))] for scale in (1, -3, 10, 0.1)]
    variables = [keras.Variable(weight) for weight in start]
    optimizer = NormalizedMomentum(0.05, momentum)
    for step in gradients:
        optimizer.apply([tf.constant(gradient, "float32") for gradient in step], variables)
    weights, averages = by_hand(start, gradients, 0.05, momentum)
    for variable, expected in zip([*variables, *optimizer.averages], [*weights, *averages], strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-5)

    held = len(optimizer.variables)
    optimizer.build(variables)
    assert len(optimizer.variables) == held == 2 + 2  # with the iterations and the learning rate


def test_the_defaults_of_the_optimizer():
    optimizer = NormalizedMomentum()
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert optimizer.momentum == 0.9


@pytest.mark.proves("ValueError: If `momentum` is below 0, or is 1 or more.")
@pytest.mark.parametrize("momentum", [-0.1, 1, 1.5])
def test_a_momentum_that_never_settles_is_refused(momentum):
    with pytest.raises(ValueError, match="`momentum` must be at least 0 and less than 1"):
        NormalizedMomentum(momentum=momentum)


def step_lengths(gradients, dtype="float32", **options) -> list[float]:
    variable = keras.Variable([0.0, 0.0], dtype=dtype)
    optimizer, lengths = NormalizedMomentum(0.5, **options), []
    for gradient in gradients:
        before = np.asarray(variable.numpy(), "float64")
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
        lengths.append(np.linalg.norm(np.asarray(variable.numpy(), "float64") - before))
    return lengths


@pytest.mark.proves("This optimizer keeps the direction, and its step has the length of the learning rate.")
@pytest.mark.parametrize("scale", [1e-30, 5e-19, 1e-3, 1.0, 1e3, 5e20, 1e30])
def test_a_step_has_one_length_whatever_the_size_of_the_gradient(scale):
    assert step_lengths([[4 * scale, 3 * scale]]) == pytest.approx([0.5])
    # And after a spike: its direction is kept, and the steps go on.
    assert step_lengths([[5e20, 0.0], [0.0, scale], [0.0, scale]]) == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_step_has_one_length_in_each_dtype(dtype):
    for scale in (5e-4, 1.0, 1e3):
        assert step_lengths([[4 * scale, 3 * scale]], dtype) == pytest.approx([0.5], rel=0.01)


@pytest.mark.proves(
    "Both hold for each weight tensor alone, and weight decay comes on top.",
    "Length of the step of each weight tensor. Weight decay comes on top.",
)
def test_each_weight_makes_its_own_step_and_decay_is_added():
    weights = [keras.Variable([0.0]), keras.Variable([0.0])]
    NormalizedMomentum(0.5).apply([tf.constant([4.0]), tf.constant([3.0])], weights)
    assert [float(weight.numpy()[0]) for weight in weights] == [-0.5, -0.5]
    decays = keras.Variable([10.0])
    NormalizedMomentum(0.1, weight_decay=0.5).apply([tf.ones(1)], [decays])
    assert float(decays.numpy()[0]) == pytest.approx(10 - 0.5 - 0.1)


@pytest.mark.proves(
    "The first step of each optimizer at a learning rate of 0.5, for the gradient (−4, −3), 1000 times that, "  # noqa: RUF001
    "and a hundredth:",
    "The step of SGD grows with the gradient. Those of Adam and Lion hardly depend on its size, but move each "
    "number by the same amount, and lose the direction.",
)
def test_what_the_first_steps_are():
    sgd, adam, lion, ours = (np.reshape(line, (3, 2)) for line in figures(shown(MODULE, "steps").printed))
    np.testing.assert_allclose(sgd, 0.5 * np.array([[4, 3], [4000, 3000], [0.04, 0.03]]))
    np.testing.assert_allclose(adam, np.full((3, 2), 0.5), rtol=1e-3)
    np.testing.assert_allclose(lion, np.full((3, 2), 0.5))
    np.testing.assert_allclose(ours, [[0.4, 0.3]] * 3)


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


@pytest.mark.proves("Learning rate schedules, clipping and weight decay come from the base class.")
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


WRAPS = (
    "If the policy of the model is `mixed_float16`, and not only that of its layers, "
    "`compile` wraps the optimizer in a `LossScaleOptimizer`, unless it gets `auto_scale_loss=False`:"
)


@pytest.mark.proves(WRAPS)
def test_the_policy_of_layers_alone_does_not_wrap_the_optimizer():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, dtype="mixed_float16")])
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse")
    assert model.layers[0].compute_dtype == "float16"
    assert type(model.optimizer) is NormalizedMomentum


@pytest.mark.proves(WRAPS)
def test_it_trains_in_mixed_precision():
    x = rng().normal(size=(64, 4)).astype("float32")
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    losses = model.fit(x, x.sum(axis=-1, keepdims=True), epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse", auto_scale_loss=False)
    assert type(model.optimizer) is NormalizedMomentum


def test_it_trains_compiled_by_xla():
    x = rng().normal(size=(64, 4)).astype("float32")
    losses = {}
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), SharedDepth(2), RadialBasis(5), keras.layers.Dense(1)])
        model.compile(optimizer=NormalizedMomentum(0.05), loss="mse", jit_compile=jit_compile)
        losses[jit_compile] = model.fit(x, x[:, 0], epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-4)


# --- saving -----------------------------------------------------------------------------------------------------------


def compiled_model(x, y) -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=NormalizedMomentum(0.02, momentum=0.5), loss="mse")
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    return model


def load_and_train(path: Path, x, y) -> dict:
    """Runs in the new process."""
    importlib.import_module(MODULE)
    model = keras.saving.load_model(path)
    found = {
        "momentum": model.optimizer.momentum,
        "averages": [np.asarray(average) for average in model.optimizer.averages],
        "evaluate": model.evaluate(x, y, verbose=0),
    }
    model.fit(x, y, shuffle=False, verbose=0)
    return {**found, "weights": model.get_weights()}


@pytest.mark.proves(
    "A compiled model is saved with its optimizer and its averages. "
    "The optimizer comes back with what `get_config` records:"
)
def test_a_compiled_model_comes_back_in_a_new_process_and_trains_on(tmp_path, fresh_process):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.save(tmp_path / "model.keras")
    found = fresh_process.submit(load_and_train, tmp_path / "model.keras", x, y).result()

    assert found["momentum"] == 0.5
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


@pytest.mark.proves(
    "Of an optimizer, as of a loss, it records only those of the base class: without `get_config`, a `momentum` of 0.5 "
    "silently comes back as the default of 0.9."
)
def test_without_get_config_the_default_comes_back_and_nothing_is_said(tmp_path, recwarn):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.compile(optimizer=Forgets(0.02, momentum=0.5), loss="mse")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    recwarn.clear()
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not [warning for warning in recwarn if not issubclass(warning.category, DeprecationWarning)]
    assert (model.optimizer.momentum, reloaded.optimizer.momentum) == (0.5, 0.9)


@pytest.mark.proves("Keras records the simple arguments of a layer without it.")
def test_a_layer_records_simple_arguments_by_itself():
    assert "get_config" not in vars(SharedDepth)
    assert SharedDepth(7).get_config()["times"] == 7
