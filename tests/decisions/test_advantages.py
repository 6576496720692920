"""`docs/decisions/advantages.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.decisions import disadvantages
from snippets.decisions.advantages import RadialBasis, SharedDepth
from tests import contract
from tests.shown import shown

MODULE = "snippets.decisions.advantages"
CASES = {
    "SharedDepth": contract.Layer(lambda **kw: SharedDepth(3, **kw), inputs=[(4,), (None, 4)]),
    "RadialBasis": contract.Layer(lambda **kw: RadialBasis(3, gamma=0.5, **kw), inputs=[(4,), (7, 4), (2, 5, 4)]),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


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
