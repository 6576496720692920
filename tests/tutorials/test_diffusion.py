"""`docs/tutorials/diffusion.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re
from functools import cache
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.prove import shapes
from tests import contract
from tests.shown import Shown, definitions, printed, shown_cells

NAME = "snippets.tutorials.diffusion"
tutorial = definitions(NAME)
tutorial.betas, tutorial.alpha_bars = tutorial.make_schedule(tutorial.STEPS)


def output() -> str:
    return printed(NAME)


def number(pattern: str) -> float:
    return float(re.search(pattern, output())[1])


def batch(count: int = 64) -> tuple[list[np.ndarray], np.ndarray]:
    """Noisy points with their times, and the noise."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(count, 2)).astype("float32")
    t = rng.integers(1, tutorial.STEPS + 1, size=(count, 1))
    return [np.asarray(tutorial.diffuse(tutorial.spiral(count, seed=0), t, noise)), t.astype("float32")], noise


# --- the layer and the model ------------------------------------------------------------------------------------------

LAYERS = {
    "TimeEmbedding": contract.Layer(lambda **kw: tutorial.TimeEmbedding(8, **kw), inputs=[(1,)]),
    "TimeEmbedding, another base": contract.Layer(lambda **kw: tutorial.TimeEmbedding(4, base=50.0, **kw), [(1,)]),
}
MODEL = contract.Model(
    lambda **kw: tutorial.NoisePredictor(16, **kw), batch, compile={"optimizer": "adam", "loss": "mse"}
)


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_contract(case, check):
    check(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
def test_model_contract(check):
    check(MODEL)


@pytest.mark.proves(
    "The angles are computed in `float32` at least",
    "In 16 bits a time would be rounded before `call` sees it.",
)
@pytest.mark.parametrize("policy", ["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("given", ["int32", "float32"])
def test_the_angles_are_right_in_each_dtype_up_to_large_times(policy, given):
    t = np.arange(1001)
    layer = tutorial.TimeEmbedding(32, dtype=policy)
    waves = np.asarray(tf.cast(layer(t[:, None].astype(given)), "float64"))
    angles = t[:, None] * 1000.0 ** (-np.arange(16) / 16)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    np.testing.assert_allclose(waves, expected, atol=0.004 if "16" in policy else 1e-3)
    assert np.abs(np.diff(waves, axis=0)).max(axis=-1).min() > 0.01, "two neighbouring times are the same"


@pytest.mark.proves(
    "`bfloat16` rounds a time of 999 to 1000.",
    "In 16 bits a time would be rounded before `call` sees it.",
    "The times go to the embedding as they are; the layers cast.",
)
@pytest.mark.parametrize("kind", ["int32", "float32", "float64"])
def test_a_time_is_not_rounded_before_it_is_a_wave(kind):
    assert float(tf.cast(tf.cast(999.0, "bfloat16"), "float32")) == 1000.0
    for times in (999, 997):
        t = np.full((3, 1), times, kind)
        narrow, wide = (tutorial.TimeEmbedding(32, dtype=dtype) for dtype in ("bfloat16", "float32"))
        np.testing.assert_allclose(np.asarray(tf.cast(narrow(t), "float32")), wide(t), atol=0.005)
        mixed, full = tutorial.NoisePredictor(8, dtype="mixed_bfloat16"), tutorial.NoisePredictor(8)
        points = np.zeros((3, 2), "float32")
        mixed([points, t]), full([points, t])
        mixed.set_weights(full.get_weights())
        np.testing.assert_allclose(mixed([points, t]), full([points, t]), atol=0.01)
        assert mixed([points.astype("float64"), t]).dtype == "float32"


@pytest.mark.proves(
    "If `units` is odd, or the times have no axis of size 1.",
    "Without that axis, times would be spread over the waves.",
)
@pytest.mark.parametrize("shape", [(16,), (5, 2), (5, 3, 16)])
def test_times_without_an_axis_of_size_1_are_refused(shape):
    with pytest.raises(ValueError, match=r"times are \(batch, 1\), and not"):
        tutorial.TimeEmbedding(32)(np.ones(shape))


def test_defaults_and_config_of_the_classes():
    assert tutorial.TimeEmbedding(8).base == 1000.0
    assert tutorial.NoisePredictor().units == 128
    layer = tutorial.TimeEmbedding(6, base=10.0, name="clock", dtype="mixed_float16")
    copy = tutorial.TimeEmbedding.from_config(layer.get_config())
    assert (copy.units, copy.base, copy.name, copy.compute_dtype) == (6, 10.0, "clock", "float16")
    model = tutorial.NoisePredictor.from_config(tutorial.NoisePredictor(24, name="noise").get_config())
    assert (model.units, model.name) == (24, "noise")


@pytest.mark.proves(
    "It is three dense layers over both, side by side.",
)
def test_the_predictor_is_three_silu_layers_and_a_linear_one():
    model, ([points, t], _noise) = tutorial.NoisePredictor(16), batch(5)
    model([points, t])
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=weight.shape, scale=0.5) for weight in model.weights]
    model.set_weights(weights)
    x = np.concatenate([points, model.embedding(t)], axis=-1)
    for kernel, bias in zip(weights[:6:2], weights[1:6:2], strict=True):
        x = x @ kernel + bias
        x = x / (1 + np.exp(-x))
    np.testing.assert_allclose(model([points, t]), x @ weights[6] + weights[7], rtol=1e-3, atol=1e-3)


@pytest.mark.proves(
    "The last layer computes in the dtype of the weights: `float32`, under mixed precision too",
)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_last_layer_computes_in_float32_under_mixed_precision(policy):
    model, ([points, t], _noise) = tutorial.NoisePredictor(16, dtype=policy), batch(5)
    assert model([points, t]).dtype == "float32"
    assert model.hidden[0].compute_dtype == model.embedding.compute_dtype == policy.removeprefix("mixed_")


def test_the_docstrings_give_the_shapes():
    x, noise, t = np.ones((5, 2), "float32"), np.ones((5, 2), "float32"), np.ones((5, 1), int)
    shapes.check_docstring(tutorial.diffuse, [x, t, noise], tutorial.diffuse(x, t, noise))
    shapes.check_docstring(tutorial.denoise, [x, np.array(3), noise], tutorial.denoise(x, 3, noise))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_the_embedding_is_sines_then_cosines(dtype):
    t = np.arange(101)
    waves = tutorial.TimeEmbedding(32)(t[:, None].astype(dtype))
    angles = t[:, None] * 1000.0 ** (-np.arange(16) / 16)
    np.testing.assert_allclose(waves, np.concatenate([np.sin(angles), np.cos(angles)], axis=-1), atol=1e-5)


@pytest.mark.proves(
    "The fast waves tell 3 from 4, the slow ones tell 10 from 80.",
)
def test_neighbouring_times_are_told_apart():
    waves = np.asarray(tutorial.TimeEmbedding(32)(np.arange(101)[:, None]))
    assert np.linalg.norm(np.diff(waves, axis=0), axis=-1).min() == pytest.approx(1.3, abs=0.05)
    distances = np.linalg.norm(waves[:, None] - waves[None], axis=-1) + 10 * np.eye(101)
    assert distances.min() > 1
    assert "neighbouring times are at least 1.3 apart" in output()
    assert "the wave of i = 4, largest difference from NumPy: 0.0" in output()


@pytest.mark.proves("The slowest wave is slower than the fastest by the factor `base ** (1 - 2 / units)`.")
@pytest.mark.parametrize(("units", "base"), [(32, 1000.0), (4, 1000.0), (2, 50.0), (8, 1e4)])
def test_the_slowest_wave_beside_the_fastest(units, base):
    sines = np.asarray(tutorial.TimeEmbedding(units, base, dtype="float64")(np.array([[1e-6]])))[0, : units // 2]
    assert sines.max() / sines.min() == pytest.approx(base ** (1 - 2 / units), rel=1e-4)


@pytest.mark.proves(
    "Size of the outputs, an even number.",
)
def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="units has to be even, and is 7"):
        tutorial.TimeEmbedding(7)


def test_the_model_uses_the_time():
    model = tutorial.NoisePredictor(16)
    points = np.ones((3, 2), "float32")
    one, other = (model([points, np.full((3, 1), t)]) for t in (3, 4))
    assert np.abs(one - other).max() > 1e-3


def test_the_counts_that_the_notebook_prints():
    model = tutorial.NoisePredictor()
    assert model([np.ones((5, 2)), np.ones((5, 1))]).shape == (5, 2)
    sizes = [(2 + 32, 128), (128, 128), (128, 128), (128, 2)]
    assert model.count_params() == sum(rows * columns + columns for rows, columns in sizes) == 37762
    assert len(model.trainable_variables) == 8
    for line in "predicted: (500, 2)", "weights to train: 8", "numbers to train: 37762":
        assert line in output()


# --- the way to noise -------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The points lie along a spiral of a little more than one turn, with a deviation of 0.05 around it.",
)
def test_the_spiral_is_as_the_prose_says():
    points = tutorial.spiral(5000, seed=3)
    assert points.shape == (5000, 2)
    turns = 3 * np.pi * (1 - np.sqrt(0.06)) / (2 * np.pi)
    assert 1 < turns < 1.25
    radius = np.linspace(np.sqrt(0.06), 1, 4000)
    curve = 2 * radius[:, None] * np.stack([np.cos(3 * np.pi * radius), np.sin(3 * np.pi * radius)], axis=-1)
    across = np.sqrt(((points[:500, None] - curve[None]) ** 2).sum(-1)).min(1)
    assert np.sqrt(np.mean(across**2)) == pytest.approx(0.05, abs=0.005)


def test_nearest_is_the_mean_of_the_least_distances():
    points, others = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[3.0, 4.0], [10.0, 1.0], [50.0, 0.0]])
    assert tutorial.nearest(points, others) == pytest.approx((5 + 1) / 2)


@pytest.mark.proves(
    "no noise at all, so that index `t` means step",
)
def test_the_schedule_has_an_entry_for_no_noise():
    betas, alpha_bars = tutorial.make_schedule(100)
    assert len(betas) == len(alpha_bars) == 101
    assert (betas[0], alpha_bars[0]) == (0.0, 1.0)
    product = 1.0
    for t in range(1, 101):
        assert betas[t] == pytest.approx(np.linspace(0.001, 0.2, 100)[t - 1], rel=1e-5)
        product *= 1 - float(betas[t])
        assert alpha_bars[t] == pytest.approx(product, rel=1e-4)
    assert alpha_bars[100] < 1e-4


@pytest.mark.proves(
    "The closed form against the steps themselves: 100,000 copies of one point, walked 40 steps one by one, "
    "have the mean and the deviation that the formula says.",
)
def test_one_step_is_as_good_as_many():
    rng, x = np.random.default_rng(0), np.full((100_000, 2), 1.5)
    for t in range(1, 41):
        x = np.sqrt(1 - tutorial.betas[t]) * x + np.sqrt(tutorial.betas[t]) * rng.normal(size=x.shape)
    t = np.full((100_000, 1), 40)
    direct = np.asarray(tutorial.diffuse(np.full((100_000, 2), 1.5, "float32"), t, rng.normal(size=x.shape)))
    assert x.mean() == pytest.approx(direct.mean(), abs=0.01)
    assert x.std() == pytest.approx(direct.std(), abs=0.01)
    assert "mean: walked 0.66, formula 0.66" in output()
    assert "deviation: walked 0.90, formula 0.90" in output()


def test_each_point_gets_its_own_time():
    x, noise = np.ones((3, 2), "float32"), np.full((3, 2), 2.0, "float32")
    noisy = np.asarray(tutorial.diffuse(x, np.array([[0], [10], [100]]), noise))
    for row, t in enumerate((0, 10, 100)):
        expected = np.sqrt(tutorial.alpha_bars[t]) + 2 * np.sqrt(1 - tutorial.alpha_bars[t])
        np.testing.assert_allclose(noisy[row], expected, rtol=1e-5)


# --- the way back -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Each step takes out a share of the predicted noise, and puts fresh noise",
    "(equations 7 and 11 of the paper)",
)
@pytest.mark.parametrize("t", [1, 2, 40, 100])
def test_a_step_back_is_the_posterior_of_the_paper(t):
    """With the true noise, mean and variance are those of Bayes' rule on two Gaussians, equations 6 and 7."""
    rng = np.random.default_rng(t)
    x0, noise = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    before, now, beta = (float(v) for v in (tutorial.alpha_bars[t - 1], tutorial.alpha_bars[t], tutorial.betas[t]))
    x = np.sqrt(now) * x0 + np.sqrt(1 - now) * noise
    if t > 1:
        precision = 1 / (1 - before) + (1 - beta) / beta
        mean = (np.sqrt(before) * x0 / (1 - before) + np.sqrt(1 - beta) * x / beta) / precision
        variance = 1 / precision
    else:
        mean, variance = x0, 0.0
    np.testing.assert_allclose(tutorial.denoise(x, t, noise), mean, atol=2e-3)
    assert tutorial.deviation(t) ** 2 == pytest.approx(variance, rel=1e-3, abs=1e-9)


@pytest.mark.proves(
    "the entry for step 0 makes",
    "the last step adds nothing.",
)
def test_the_last_step_adds_nothing():
    assert tutorial.deviation(1) == 0.0


def test_normal_data_come_back_with_the_deviation_that_theory_says():
    """For normal data of deviation s the best prediction has a closed form, and so has the variance of a step back.

    With that variance s itself comes back; with the one of the paper, exact for data in one point, a little less.
    """
    s = 0.5

    def predict(inputs):
        x, t = inputs
        alpha_bar = tutorial.alpha_bars[t[0, 0]]
        return x * np.sqrt(1 - alpha_bar) / (alpha_bar * s**2 + 1 - alpha_bar)

    def exact(t):
        before, now = (alpha_bar * s**2 + 1 - alpha_bar for alpha_bar in tutorial.alpha_bars[[t - 1, t]])
        return np.sqrt(tutorial.betas[t] * before / now)

    path = tutorial.sample(predict, count=20_000, seed=0, deviation=exact)
    assert path.shape == (101, 20_000, 2)
    assert path[100].std() == pytest.approx(1.0, abs=0.01)
    assert path[0].std() == pytest.approx(s, abs=0.01)
    narrower = tutorial.sample(predict, count=20_000, seed=0)
    assert narrower[0].std() == pytest.approx(0.47, abs=0.01)


@pytest.mark.proves(
    "This variance is exact for data in a single point. Normally distributed data come back too narrow.",
    "with the best prediction, data of deviation 2 come back with 1.94 from 100 steps, of deviation 0.5 with 0.47, of "
    "deviation 0.05 with 0.035.",
)
@pytest.mark.parametrize(
    ("s", "comes_back"), [(0.0, 0.0), (0.01, 0.0029), (0.05, 0.035), (0.5, 0.47), (1.0, 0.96), (2.0, 1.94)]
)
def test_data_come_back_too_narrow_and_narrow_data_most(s, comes_back):
    def predict(inputs):
        x, t = inputs
        alpha_bar = tutorial.alpha_bars[t[0, 0]]
        return x * np.sqrt(1 - alpha_bar) / (alpha_bar * s**2 + 1 - alpha_bar)

    spread = tutorial.sample(predict, count=20_000, seed=0)[0].std()
    assert spread == pytest.approx(comes_back, rel=0.015, abs=1e-3)


@pytest.mark.proves("Up to a deviation of 3, narrower data lose a larger share")
def test_data_wider_than_3_lose_more_again():
    def share(s):
        variance = 1.0
        for t in range(100, 0, -1):
            now = float(tutorial.alpha_bars[t]) * (s**2 - 1) + 1  # of the data after t steps
            factor = (1 - float(tutorial.betas[t]) / now) / np.sqrt(1 - float(tutorial.betas[t]))
            variance = factor**2 * variance + tutorial.deviation(t) ** 2
        return np.sqrt(variance) / s

    shares = [share(s) for s in (0.01, 0.05, 0.1, 0.5, 1, 2, 2.5, 3)]
    assert shares == sorted(shares)
    assert share(2) == pytest.approx(1.94 / 2, abs=0.001)
    assert share(100) < share(20) < share(2) < share(3) < 1


def test_sampling_asks_for_the_times_from_the_last_to_one():
    asked = []

    def predict(inputs):
        asked.append(int(inputs[1][0, 0]))
        return np.zeros_like(inputs[0])

    tutorial.sample(predict, count=2, seed=0)
    assert asked == list(range(100, 0, -1))


@pytest.mark.proves(
    "An untrained model takes no noise out, and a hundred divisions by",
)
def test_without_a_prediction_the_points_blow_up():
    path = tutorial.sample(lambda inputs: np.zeros_like(inputs[0]), count=500, seed=5)
    assert tutorial.nearest(path[0], tutorial.spiral(500, seed=0)) > 100
    assert "an untrained model ends farther than 100 away: True" in output()


# --- the loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`randint` leaves its upper end out, so the times are 1 to 100.",
    "One number from 1 to 100 is a poor input for a dense layer",
)
def test_randint_leaves_its_upper_end_out():
    t = np.asarray(keras.random.randint((20_000, 1), 1, tutorial.STEPS + 1, seed=0))
    assert (t.min(), t.max()) == (1, 100)


@pytest.mark.proves(
    "A model that always answers 0 has a loss of 1, the variance of the noise",
)
def test_answering_zero_has_a_loss_of_one():
    noise = np.asarray(keras.random.normal((100_000, 2), seed=0))
    assert np.mean(noise**2) == pytest.approx(1.0, abs=0.02)
    assert number(r"loss, first step: ([\d.]+)") == pytest.approx(1.0, abs=0.1)


@pytest.mark.proves(
    "the optimizer's variables by `build`",
)
def test_build_makes_every_variable_of_the_optimizer_before_the_first_step():
    model = tutorial.NoisePredictor(16)
    (points, t), _noise = batch()
    model([points, t])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    before = len(optimizer.variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model([points, t]) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    step(), step()
    assert before == len(optimizer.variables) == 2 + 2 * 8
    assert int(optimizer.iterations) == 2


@cache
def run(seed: int) -> Shown:
    """The notebook up to its samples, with another seed."""
    return shown_cells(NAME, seed=seed, until="an untrained model ends")


@pytest.mark.proves(
    "It drops steeply within the first few hundred steps and then falls slowly to a little above 0.2",
    "Training loss over 4000 steps, as means over 40 steps.",
    "One batch has 256 times of its own, easy and hard, and its loss jumps. The mean over 40 steps shows "
    "where it goes.",
)
def test_the_loop_of_the_page_learns_with_other_seeds(seed):
    losses = run(seed)["losses"]
    assert losses[0] > 0.8
    assert 0.15 < losses[-1000:].mean() < 0.3
    assert len(set(losses.tolist())) > 3900  # other rows, times and noise in each step


@pytest.mark.proves(
    "`scale_loss` returns the loss as it is. Under `mixed_float16` the optimizer has to be a "
    "`keras.optimizers.LossScaleOptimizer` around Adam, and it scales the loss",
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["Adam", "LossScaleOptimizer"])
def test_scale_loss_is_the_identity_but_for_a_loss_scale_optimizer(wrapped):
    optimizer = keras.optimizers.Adam(0.003)
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build([keras.Variable(1.0)])
    assert (float(optimizer.scale_loss(tf.constant(2.0))) == 2.0) is not wrapped


@pytest.mark.proves(
    "so that small gradients aren't rounded to 0",
)
def test_without_a_scaled_loss_small_gradients_are_rounded_to_zero_in_float16():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype="mixed_float16", use_bias=False)])
    x = np.full((4, 1), 1e-3, "float32")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    optimizer.build(model.trainable_variables)
    gradients = []
    for scale in (lambda loss: loss, optimizer.scale_loss):
        with tf.GradientTape() as tape:
            loss = scale(1e-5 * tf.reduce_mean(tf.cast(model(x), "float32")))
        gradients.append(np.abs(tape.gradient(loss, model.trainable_variables[0].value)).max())
    assert gradients[0] == 0 < gradients[1]


@pytest.mark.proves(
    "`compile` does that for `fit`.",
)
def test_compile_puts_the_loss_scale_optimizer_around_it():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="m")
    keras.config.set_dtype_policy("mixed_float16")
    mixed = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    keras.config.set_dtype_policy("float32")
    for one, expected in ((model, keras.optimizers.Adam), (mixed, keras.optimizers.LossScaleOptimizer)):
        one.compile(optimizer="adam", loss="mse")
        assert type(one.optimizer) is expected


def test_the_loss_that_the_notebook_reaches():
    assert "steps: 4000" in output()
    assert 0.18 < number(r"loss, last 1000 steps: ([\d.]+)") < 0.24


# --- what the trained run shows ---------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The samples lie farther from the data than held-out data do, because a few of them end between the arms of the "
    "spiral.",
)
def test_samples_lie_farther_than_held_out_data(seed):
    found = run(seed)
    train, held_out, path = found["train"], found["held_out"], found["path"]
    ratio = tutorial.nearest(path[0], train) / tutorial.nearest(held_out, train)
    assert 1.4 < ratio < 2.6
    distances = np.linalg.norm(path[0][:, None] - train[None], axis=-1).min(axis=1)
    assert 0.005 < np.mean(distances > 0.2) < 0.08  # a few end between the arms
    assert np.linalg.norm(held_out[:, None] - train[None], axis=-1).min(axis=1).max() < 0.2
    assert tutorial.nearest(path[0], train) < tutorial.nearest(path[100], train) / 8
    assert tutorial.nearest(held_out, path[0]) < 0.06


@pytest.mark.proves(
    "every point is sent towards the middle.",
    "with little noise left, nearly all are sent to the spiral.",
    "At t = 80 all arrows point towards one place near the middle. At t = 4 nearly all point to the spiral: those "
    "around it inwards, and most of those inside it outwards.",
)
def test_where_the_model_sends_a_point(seed):
    found = run(seed)
    axis = np.linspace(-2.4, 2.4, 7, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    radius = np.linalg.norm(grid, axis=1)

    def arrows(t):
        arrows = -np.asarray(found["model"]([grid, np.full((49, 1), t)]))
        return arrows / np.linalg.norm(arrows, axis=1, keepdims=True)

    away = radius > 0.5
    assert (np.sum(arrows(80) * -grid, axis=1)[away] / radius[away]).min() > 0.95

    spiral, directions = found["train"], arrows(4)
    on_the_way = grid[:, None] + np.linspace(0, 2.5, 100)[:, None] * directions[:, None]  # (49, 100, 2)
    distances = np.array([np.linalg.norm(way[:, None] - spiral[None], axis=-1).min() for way in on_the_way])
    assert np.mean(distances < 0.2) > 0.9
    assert distances.max() < 0.8
    outwards = np.sum(directions * grid, axis=1) / np.maximum(radius, 1e-6)
    assert outwards[radius > 2.5].max() < -0.7
    beside = np.linalg.norm(grid[:, None] - spiral[None], axis=-1).min(axis=1) > 0.2
    assert np.mean(outwards[beside & (radius > 0) & (radius < 1.2)] > 0) > 0.5


def test_the_printed_distances_are_those_of_the_sentence():
    held_out = number(r"held-out data: mean distance to the data ([\d.]+)")
    trained = number(r"trained model: mean distance to the data ([\d.]+)")
    assert (held_out, trained) == (0.02, 0.03)
    assert number(r"from held-out data to the samples: ([\d.]+)") < 0.05


@pytest.mark.proves(
    "2,000 of them train the model, and 500 others say how near a good sample lies.",
)
def test_the_distances_before_training_are_those_of_the_data():
    train = tutorial.spiral(2000, seed=0)
    for name, points in {
        "held out": tutorial.spiral(500, seed=1),
        "pure noise": np.random.default_rng(2).normal(size=(500, 2)),
    }.items():
        assert number(rf"mean distance to the data, {name}: ([\d.]+)") == round(tutorial.nearest(points, train), 2)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Forget that, and every sample ends with a deviation of 0.03 that nothing takes out again.",
    "Nothing is raised, and",
)
def test_the_deviations_of_the_wrong_last_steps():
    assert tutorial.noise_at_the_end(1) == pytest.approx(0.03, abs=0.005)
    assert tutorial.wrapped(1) == pytest.approx(1.0, abs=0.01)
    for t in range(2, 101):
        assert tutorial.wrapped(t) == tutorial.deviation(t)  # only the last step is off


def test_the_wrong_last_steps_move_the_samples_away():
    right = number(r"\ndeviation: deviation at the last step 0.00, mean distance to the data ([\d.]+)")
    noisy = number(r"noise_at_the_end: deviation at the last step 0.03, mean distance to the data ([\d.]+)")
    wrapped = number(r"wrapped: deviation at the last step 1.00, mean distance to the data ([\d.]+)")
    assert right < noisy < 0.1
    assert wrapped > number(r"pure noise: mean distance to the data ([\d.]+)")


@pytest.mark.proves(
    "What isn't a tensor happens while the function is traced, and not again. A list gets one entry in ten "
    "calls, and NumPy's noise is the same in all of them",
)
def test_python_runs_once_in_a_tf_function():
    calls = []

    @tf.function
    def traced_once():
        calls.append("called")
        return tf.constant(np.random.normal(size=(4, 2)))

    draws = [traced_once().numpy() for _ in range(10)]
    assert len(calls) == 1
    assert all(np.array_equal(draw, draws[0]) for draw in draws)
    assert "entries after 10 calls: 1" in output()
    assert "all draws the same: True" in output()


@pytest.mark.proves(
    "A layer or an optimizer that is made in there creates its variables at each trace, and `tf.function` refuses "
    "them.",
)
@pytest.mark.parametrize(
    "made",
    [
        lambda: keras.layers.Dense(2)(tf.zeros((1, 2))),
        lambda: keras.layers.Dropout(0.5)(tf.zeros((1, 2)), training=True),  # its noise has a counter
        lambda: keras.optimizers.Adam(),
        lambda: keras.optimizers.SGD(),
    ],
)
def test_a_layer_or_an_optimizer_made_in_a_tf_function_is_refused(made):
    @tf.function
    def makes():
        made()

    words = "tf.function only supports singleton tf.Variables created on the first call."
    with pytest.raises(ValueError, match=words):
        makes()
    assert f"ValueError: {words}" in output()


def test_a_layer_without_variables_may_be_made_in_a_tf_function():
    relu = tf.function(lambda x: keras.layers.ReLU()(x))
    np.testing.assert_array_equal(relu(tf.constant([[-1.0, 2.0]])), [[0, 2]])


@pytest.mark.proves(
    "so the file holds all that sampling needs, except the schedule and the code.",
)
def test_the_reloaded_model_draws_the_same_samples(tmp_path):
    assert "largest difference of the samples: 0.0" in output()
    model = tutorial.NoisePredictor(8)
    model([np.ones((5, 2)), np.ones((5, 1))])
    model.save(tmp_path / "diffusion.keras")
    with (
        mock.patch.dict(keras.saving.get_custom_objects(), clear=True),
        pytest.raises(TypeError, match="Could not locate class 'NoisePredictor'"),
    ):
        keras.saving.load_model(tmp_path / "diffusion.keras")


def test_a_step_that_makes_a_layer_raises():
    with pytest.raises(ValueError, match=r"tf\.function only supports singleton tf\.Variables"):
        tutorial.makes_a_layer(tf.zeros((1, 2)))


def test_train_step_applies_what_it_returns_the_loss_of():
    """It moves each weight of the model, once, and its loss is that of the noise."""
    page = shown_cells(NAME, until="def train_step():")
    model, optimizer = page["model"], page["optimizer"]
    before, steps = model.get_weights(), int(optimizer.iterations)
    loss = float(page["train_step"]())
    assert 0.5 < loss < 2  # an untrained model predicts nothing of noise whose variance is 1
    assert int(optimizer.iterations) == steps + 1
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
