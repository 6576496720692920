"""`docs/tutorials/equation_to_layer.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import itertools
import re
from functools import cache
from unittest import mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

from tests import contract
from tests.shown import Shown, definitions, printed, shown_cells

NAME = "snippets.tutorials.equation_to_layer"
tutorial = definitions(NAME)
Quadratic = tutorial.Quadratic

CASES = {
    "Quadratic": contract.Layer(lambda **kw: Quadratic(3, **kw), inputs=[(4,), (7, 4), (None, 4)]),
    "Quadratic, all options": contract.Layer(
        lambda **kw: Quadratic(2, "sigmoid", matrix_initializer="glorot_uniform", **kw), inputs=[(3,)]
    ),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.fixture(scope="module")
def output() -> str:
    return printed(NAME)


def number(pattern: str, text: str) -> float:
    """The number that stands in a printed line where the pattern has its group."""
    found = re.search(pattern, text)
    assert found, f"nothing printed matches {pattern}"
    return float(found[1].replace(",", ""))


def in_float64(units: int = 3, features: int = 4, **options) -> tuple[keras.layers.Layer, np.ndarray]:
    layer = Quadratic(units, dtype="float64", **options)
    x = np.random.default_rng(0).normal(size=(5, features))
    layer(x)
    return layer, x


# --- the layer --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A quadratic unit adds every product of two inputs, each with a weight of its own",
    "Quadratic units, `x A_k x + w_k x + b_k`",
)
def test_it_is_the_equation():
    layer, x = in_float64()
    matrices, kernel, bias = layer.get_weights()
    assert (matrices.shape, kernel.shape, bias.shape) == ((3, 4, 4), (4, 3), (3,))
    bias = np.array([0.5, -1.0, 2.0])
    layer.set_weights([matrices, kernel, bias])
    expected = np.zeros((5, 3))
    for row, k in itertools.product(range(5), range(3)):
        expected[row, k] = x[row] @ matrices[k] @ x[row] + kernel[:, k] @ x[row] + bias[k]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def test_an_activation_comes_last():
    layer, x = in_float64()
    active = Quadratic(3, "relu", dtype="float64")
    active(x)
    active.set_weights(layer.get_weights())
    np.testing.assert_allclose(active(x), np.maximum(layer(x), 0))


@pytest.mark.proves(
    "so only their sum counts. Replace",
)
def test_only_the_symmetric_part_matters():
    layer, x = in_float64()
    before = layer(x)
    matrices, kernel, bias = layer.get_weights()
    turned = matrices.transpose(0, 2, 1)
    layer.set_weights([(matrices + turned) / 2, kernel, bias])
    np.testing.assert_allclose(layer(x), before, rtol=1e-12)
    layer.set_weights([(matrices - turned) / 2, np.zeros_like(kernel), bias])
    np.testing.assert_allclose(layer(x), 0, atol=1e-12)
    assert np.abs(matrices - turned).max() > 0.1


@pytest.mark.proves(
    "The gradient has a closed form too",
)
def test_the_gradients_have_the_closed_form():
    layer, x = in_float64()
    matrices, kernel, _bias = layer.get_weights()
    for k in range(3):
        point = tf.Variable(x[:1])
        with tf.GradientTape() as tape:
            y = layer(tf.convert_to_tensor(point))[0, k]
        to_x, to_matrices = tape.gradient(y, [point, layer.matrices.value])
        np.testing.assert_allclose(to_x[0], (matrices[k] + matrices[k].T) @ x[0] + kernel[:, k], rtol=1e-10)
        np.testing.assert_allclose(to_matrices[k], np.outer(x[0], x[0]), rtol=1e-10)
        assert not np.delete(to_matrices, k, axis=0).any()


@pytest.mark.proves(
    "no gradient moves the antisymmetric rest: trained with Adam or SGD in `float32`, without weight decay, it stays "
    "as it was drawn.",
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_never_moves_the_antisymmetric_rest(optimizer):
    model = keras.Sequential([keras.Input((2,)), Quadratic(1, "sigmoid")])
    before = model.layers[0].get_weights()[0][0]
    model.compile(optimizer, "binary_crossentropy")
    model.fit(*tutorial.draw_rings(64, seed=0), epochs=3, verbose=0)
    after = model.layers[0].get_weights()[0][0]
    assert np.abs(after - before).max() > 1e-3
    assert abs(before - before.T).max() > 1e-2
    np.testing.assert_allclose(after - after.T, before - before.T, atol=1e-6)


@pytest.mark.proves(
    "without weight decay, it stays as it was drawn.",
)
def test_weight_decay_moves_the_antisymmetric_rest():
    model = keras.Sequential([keras.Input((2,)), Quadratic(1, "sigmoid")])
    before = model.layers[0].get_weights()[0][0]
    model.compile(optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1), loss="binary_crossentropy")
    model.fit(*tutorial.draw_rings(64, seed=0), epochs=20, verbose=0)
    after = model.layers[0].get_weights()[0][0]
    assert np.abs(after - after.T).max() < 0.9 * np.abs(before - before.T).max()


def test_the_defaults_of_the_constructor():
    layer = Quadratic(3)
    assert (layer.activation, layer.matrix_initializer) == (keras.activations.linear, None)
    assert Quadratic.from_config(layer.get_config()).activation is keras.activations.linear


@pytest.mark.proves(
    "The last axis becomes the units, and the axes before it stay.",
    "with a difference of two outputs that knows nothing of either.",
)
def test_what_the_checks_print(output):
    assert "(None, 7, 4) becomes (None, 7, 3)" in output
    for unit in (0, 1):
        layer, by_hand = re.search(rf"unit {unit}: layer (\S+), by hand (\S+)", output).groups()
        assert layer == by_hand
    assert number(r"change with the symmetric part: (\S+)", output) == 0
    assert number(r"output of the rest alone: +(\S+)", output) == 0
    assert number(r"largest number in the rest: +(\S+)", output) > 0.1
    rows = [re.search(rf"{name}: +(\[.*\])", output)[1] for name in ("tape", "closed form", "differences")]
    assert len(set(rows)) == 1
    assert "to A it is x xᵀ: True" in output
    before, after = re.search(r"antisymmetric part before (\S+), after (\S+)", output).groups()
    assert before == after
    before, after = re.search(r"\nsymmetric part before (\S+), after (\S+)", output).groups()
    assert float(after) < 0 < float(before)


# --- the rings --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Two rings of radius 1 and 0.5 around the point (0.5, -0.3), with noise of standard deviation 0.1. The "
    "inner ring is class 1.",
)
def test_the_rings():
    points, inner = tutorial.draw_rings(4000, seed=3)
    assert (points.shape, inner.shape) == ((4000, 2), (4000, 1))
    assert (points.dtype, inner.dtype) == ("float32", "float32")
    assert inner.mean() == 0.5
    np.testing.assert_allclose(points.mean(axis=0), tutorial.CENTRE, atol=0.05)
    distance = np.linalg.norm(points - tutorial.CENTRE, axis=-1)
    for value, radius in ((0, 1.0), (1, 0.5)):
        ring = distance[inner[:, 0] == value]
        # The noise along the tangent adds to the distance as well, by variance / (2 radius).
        assert ring.mean() == pytest.approx(radius + tutorial.NOISE**2 / (2 * radius), abs=0.01)
        assert ring.std() == pytest.approx(tutorial.NOISE, abs=0.01)


@pytest.mark.proves(
    "The logarithm of the ratio of the two densities is the best",
    "and where it is zero is the best radius.",
)
def test_the_best_logit_is_the_ratio_of_the_densities():
    """Each density as a mean of Gaussians along its ring."""
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    for r in (0.5, 0.7, 0.76, 1.0):
        inner, outer = (
            np.mean(np.exp(-np.sum((radius * circle - [r, 0]) ** 2, axis=-1) / (2 * tutorial.NOISE**2)))
            for radius in (0.5, 1.0)
        )
        assert tutorial.best_logit(r) == pytest.approx(np.log(inner / outer), rel=1e-6)
    assert tutorial.best_logit(0.75) > 0 > tutorial.best_logit(0.765)


def test_the_surface_is_the_model_on_the_middles_of_a_grid():
    class Sum(keras.Model):
        def call(self, inputs):
            return keras.ops.sum(inputs * np.array([1.0, 10.0], "float32"), axis=-1, keepdims=True)

    left, right, bottom, top = tutorial.EXTENT
    values = tutorial.surface(Sum(), 4)
    width, height = (right - left) / 4, (top - bottom) / 4
    for row, column in itertools.product(range(4), repeat=2):
        x1, x2 = left + (column + 0.5) * width, bottom + (row + 0.5) * height
        assert values[row, column] == pytest.approx(x1 + 10 * x2, abs=1e-4)


@pytest.mark.proves(
    "The boundary of one unit can be written down. Complete the square with the symmetric part",
)
def test_complete_square():
    rng = np.random.default_rng(1)
    matrix, vector, x = rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=2)
    symmetric, centre, rest = tutorial.complete_square(matrix, vector, 0.3)
    np.testing.assert_allclose(symmetric, symmetric.T)
    y = (x - centre) @ symmetric @ (x - centre) + rest
    assert y == pytest.approx(x @ matrix @ x + vector @ x + 0.3)


@pytest.mark.proves(
    "The ellipse has its centre at",
    "In two dimensions",
)
def test_the_semi_axes():
    """Of an ellipse around (1, 2) with semi-axes 3 and 0.5, turned by 30°, whatever the antisymmetric rest."""
    turn = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    shape = -turn @ np.diag([1 / 3**2, 1 / 0.5**2]) @ turn.T
    centre = np.array([1.0, 2.0])
    matrix = shape + np.array([[0, 0.7], [-0.7, 0]])
    found = tutorial.complete_square(matrix, -2 * shape @ centre, centre @ shape @ centre + 1)
    np.testing.assert_allclose(found[1], centre)
    np.testing.assert_allclose(np.sqrt(-found[2] / np.linalg.eigvalsh(found[0])), [0.5, 3])


def test_the_trained_unit_is_the_ellipse_between_the_rings(output):
    assert number(r"epoch  1: .* accuracy (\S+)", output) < 0.6
    assert number(r"epoch 10: .* accuracy (\S+)", output) > 0.9
    losses = [number(rf"epoch +{epoch}: test loss (\S+),", output) for epoch in (1, 10, 50)]
    assert losses[0] > 2 * losses[1] > 4 * losses[2]
    centre = re.search(r"centre: +\[(.*?)\]", output)[1].split()
    np.testing.assert_allclose([float(value) for value in centre], tutorial.CENTRE, atol=0.05)
    axes = re.search(r"semi-axes: \[(.*?)\]", output)[1].split()
    np.testing.assert_allclose([float(value) for value in axes], 0.76, atol=0.1)
    assert number(r"best radius: +(\S+)", output) == 0.76
    assert number(r"mean of semi-axes: (\S+)", output) == pytest.approx(0.76, abs=0.05)
    best = number(r"accuracy of the best circle: (\S+)", output)
    assert number(r"accuracy of the unit: +(\S+)", output) == pytest.approx(best, abs=0.015)
    assert best >= 0.98


def test_the_printed_equation_is_the_printed_ellipse(output):
    line = re.search(r"y = (\S+) x1² (\S+) x1 x2 (\S+) x2² (\S+) x1 (\S+) x2 (\S+)", output)
    xx, xy, yy, x, y, constant = map(float, line.groups())
    shape, centre, rest = tutorial.complete_square(np.array([[xx, xy], [0, yy]]), np.array([x, y]), constant)
    axes = np.sqrt(-rest / np.linalg.eigvalsh(shape))
    assert centre.round(1).tolist() == [0.5, -0.3]
    assert axes.mean() == pytest.approx(number(r"mean of semi-axes: (\S+)", output), abs=0.02)


@cache
def trained(seed: int) -> tuple[Shown, list[plt.Figure]]:
    """The whole tutorial with a seed, and its figures. One run for all that is said of it."""
    figures: list[plt.Figure] = []
    with mock.patch("matplotlib.pyplot.show", side_effect=lambda: figures.append(plt.gcf())):
        done = shown_cells(NAME, seed=seed)
    return done, figures


def lines(axes: plt.Axes) -> dict[str, np.ndarray]:
    """The curves of an axes, by their labels in the legend."""
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def assert_points(axes: plt.Axes, done: Shown, every: int) -> None:
    """The training points, each class under its label, with its own marker and colour."""
    points = {one.get_label(): one for one in axes.collections if one.get_label() in ("outer", "inner")}
    assert list(points) == ["outer", "inner"]
    for value, name in enumerate(points):
        expected = done["x_train"][done["y_train"][:, 0] == value][::every]
        np.testing.assert_array_equal(points[name].get_offsets(), expected)
        radius = np.linalg.norm(points[name].get_offsets() - np.array(tutorial.CENTRE), axis=1).mean()
        assert radius == pytest.approx({"outer": 1.0, "inner": 0.5}[name], abs=0.05)
    outer, inner = points.values()
    assert outer.get_paths()[0].vertices.shape != inner.get_paths()[0].vertices.shape
    assert not np.array_equal(outer.get_facecolor(), inner.get_facecolor())


def surface_of(axes: plt.Axes) -> np.ndarray:
    """The probabilities that an axes shows, from the bottom up; its boundary is the line at 0.5."""
    contour = next(one for one in axes.collections if hasattr(one, "levels"))
    assert contour.levels.tolist() == [0.5]
    (image,) = axes.images
    assert tuple(image.get_extent()) == tutorial.EXTENT
    assert image.origin == "lower"
    assert sum(image.get_clim()) == 1, "0.5 has the colour of the middle"
    return np.asarray(image.get_array())


@pytest.mark.proves(
    "`History` keeps the loss and the accuracy of each epoch, on the training points and on 1000 points that the model "
    "doesn't train on.",
    "Both losses fall together: seven numbers don't overfit 300 points here. The accuracy is flat long before the loss "
    "is",
    "Two panels over 50 epochs, each with a curve for training and one for test points. Left, the loss falls steeply "
    "and then slowly. Right, the accuracy climbs to more than 0.9 within the first ten epochs and stays there.",
)
def test_the_curves_of_the_training(seed):
    done, figures = trained(seed)
    history = done["history"]
    assert done["x_train"].shape == (300, 2)
    assert done["x_test"].shape == (1000, 2)
    for axes, name in zip(figures[2].axes, ("loss", "accuracy"), strict=True):
        curves = lines(axes)
        assert list(curves) == ["train", "test"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", name)
        for label, key in (("train", name), ("test", f"val_{name}")):
            np.testing.assert_array_equal(curves[label][:, 0], np.arange(1, 51))
            np.testing.assert_array_equal(curves[label][:, 1], history[key])
    assert [text.get_text() for text in figures[2].axes[0].get_legend().get_texts()] == ["train", "test"]
    assert np.abs(np.subtract(history["loss"], history["val_loss"]))[10:].max() < 0.1
    for losses in (history["loss"], history["val_loss"]):
        assert losses[0] - losses[9] > 2 * (losses[9] - losses[29]) / 2 > 2 * (losses[29] - losses[49]) / 2 > 0
    for accuracies in (history["accuracy"], history["val_accuracy"]):
        assert min(accuracies[9:]) > 0.9
        assert np.ptp(accuracies[25:]) < 0.03
    assert history["val_loss"][25] > 1.3 * history["val_loss"][-1]


@pytest.mark.proves(
    "The boundary has closed into an ellipse between the rings. Beyond the outer ring the surface is flat and certain",
    "The boundary at probability 0.5 is a nearly circular ellipse between the two rings; inside it the probability of "
    "the inner ring rises to 1, outside it falls to 0.",
    "Its surface is the probability of class 1 at each point of a grid, and its boundary is the line at 0.5",
    "The surface is smooth and has nothing to do with the rings: the boundary goes where the first random numbers put "
    "it.",
    "The boundary at probability 0.5 is a curve that cuts across the outer ring.",
)
def test_the_surfaces_before_and_after(seed):
    done, figures = trained(seed)
    for figure in (figures[1], figures[3]):
        axes, bar = figure.axes
        assert_points(axes, done, every=2)
        assert bar.get_ylabel() == "probability of the inner ring"
    before, after = (surface_of(figure.axes[0]) for figure in (figures[1], figures[3]))
    np.testing.assert_allclose(after, done["surface"](done["model"], 32), atol=1e-6)
    left, right, bottom, top = tutorial.EXTENT
    x1, x2 = np.meshgrid(
        *(start + (end - start) * (np.arange(32) + 0.5) / 32 for start, end in ((left, right), (bottom, top)))
    )
    distance = np.hypot(x1 - tutorial.CENTRE[0], x2 - tutorial.CENTRE[1])
    ring = before[np.abs(distance - 1) < 0.05]
    assert ring.min() < 0.5 < ring.max()
    assert np.abs(np.diff(before, axis=0)).max() < 0.2
    assert after[distance < 0.55].min() > 0.5 > after[distance > 0.95].max()
    assert after[distance < 0.2].min() > 0.9
    assert after[distance > 1.5].max() < 0.01
    np.testing.assert_allclose(done["axes_found"], 0.78, atol=0.06)
    best = number(r"test accuracy of the best circle: (\S+)", done.printed)
    assert done["history"]["val_accuracy"][-1] == pytest.approx(best, abs=0.02)


@pytest.mark.proves(
    "They cross zero at nearly the same two places, which is all that the accuracy sees; away from the rings the "
    "unit's parabola and the true curve part, and so do the probabilities there.",
    "Line plot of y over x1 along a horizontal line through the centre of the rings. The trained unit is a downward "
    "parabola; the best curve is a rounded cone with steeper sides and a higher top. Both cross zero at almost the "
    "same two places, near -0.3 and 1.3.",
)
def test_the_cut_through_the_centre(seed):
    done, figures = trained(seed)
    (axes,) = figures[4].axes
    curves = lines(axes)
    unit, best = curves["trained unit"], curves["best possible"]
    weights = done["unit"].get_weights()
    points = np.stack([unit[:, 0], np.full(100, tutorial.CENTRE[1])], axis=-1)
    np.testing.assert_allclose(
        unit[:, 1],
        np.einsum("ni,ij,nj->n", points, weights[0][0], points) + points @ weights[1][:, 0] + weights[2],
        rtol=1e-3,
        atol=1e-3,
    )
    np.testing.assert_allclose(best[:, 1], tutorial.best_logit(np.abs(best[:, 0] - tutorial.CENTRE[0])))
    assert np.diff(unit[:, 1], 2).max() < 0
    crossings = [curve[:-1, 0][np.diff(np.sign(curve[:, 1])) != 0] for curve in (unit, best)]
    np.testing.assert_allclose(crossings[0], crossings[1], atol=0.1)
    np.testing.assert_allclose(crossings[1], [-0.3, 1.3], atol=0.1)
    assert best[:, 1].max() > 2 * unit[:, 1].max()
    slopes = [np.abs(np.gradient(curve[:, 1], curve[:, 0]))[np.abs(curve[:, 1]).argmin()] for curve in (unit, best)]
    assert slopes[1] > 1.5 * slopes[0]


@pytest.mark.proves(
    "the cross-entropy prefers to say about 0.5 everywhere.",
    "Eight `relu` units close a polygon around the inner ring",
    "Three decision surfaces side by side with the training points. Dense(1) draws a straight line through the middle "
    "of both rings, on a surface that is nearly the same everywhere. The network of eight relu units has a closed "
    "boundary with corners. Quadratic(1) has a smooth one, an ellipse.",
    "Each gets the same optimizer and epochs.",
)
def test_beside_dense(seed):
    done, figures = trained(seed)
    surfaces = {}
    for axes in figures[5].axes:
        assert_points(axes, done, every=5)
        surfaces[axes.get_title()] = surface_of(axes)
    assert list(surfaces) == ["Dense(1)", "Dense(8), Dense(1)", "Quadratic(1)"]
    for name, model in done["models"].items():
        np.testing.assert_allclose(surfaces[name], done["surface"](model, 30), atol=1e-6)
    assert np.abs(surfaces["Dense(1)"] - 0.5).max() < 0.2
    kernel, bias = done["models"]["Dense(1)"].get_weights()
    assert abs(np.array(tutorial.CENTRE) @ kernel[:, 0] + bias[0]) / np.linalg.norm(kernel) < 0.9
    for name in ("Dense(8), Dense(1)", "Quadratic(1)"):
        inside = surfaces[name] > 0.5
        border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
        assert inside[15, 15]
        assert not border.any(), name
    accuracy = {
        name: model.evaluate(done["x_test"], done["y_test"], verbose=0)[1] for name, model in done["models"].items()
    }
    assert accuracy["Dense(1)"] < 0.6
    assert accuracy["Dense(8), Dense(1)"] > 0.95
    assert accuracy["Quadratic(1)"] > 0.97
    for model in done["models"].values():
        assert isinstance(model.optimizer, keras.optimizers.Adam)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
        assert int(model.optimizer.iterations) == 50 * 300 / 60


@pytest.mark.proves(
    "And the part of",
    "that doesn't matter is the one that was drawn",
)
def test_the_antisymmetric_part_is_the_one_that_was_drawn(seed):
    done, _figures = trained(seed)
    before, after = done["matrix_before"], done["unit"].get_weights()[0][0]
    np.testing.assert_allclose(after - after.T, before - before.T, atol=1e-5)
    assert np.abs(after - before).max() > 1


@pytest.mark.proves(
    "Scatter plot of every second training point over x1 and x2. The points of class 1 form a ring of radius 0.5 "
    "around (0.5, -0.3), those of class 0 a ring of radius 1 around it, each blurred by noise."
)
def test_the_plot_of_the_rings(seed):
    done, figures = trained(seed)
    (axes,) = figures[0].axes
    assert_points(axes, done, every=2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$x_1$", "$x_2$")


@pytest.mark.proves(
    "the loss stays near that of `Dense` up to 784 features. The other two climb.",
    "Loss before training over the number of features from 4 to 784, both on logarithmic axes, for three starts of "
    "Quadratic and for Dense. The start of 1 / features stays as level as Dense, between 2 and 4; glorot_uniform rises "
    "to 14 and random_normal to about 60.",
)
def test_the_plot_of_the_losses_at_the_start(seed):
    done, figures = trained(seed)
    (axes,) = figures[6].axes
    curves = {name: points[:, 1] for name, points in lines(axes).items()}
    assert list(curves) == ["1 / features", "glorot_uniform", "random_normal", "Dense"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    for name, losses in curves.items():
        assert losses.tolist() == done["starts"][name]
        assert lines(axes)[name][:, 0].tolist() == [4, 16, 64, 256, 784]
    for name in ("1 / features", "Dense"):
        assert min(curves[name]) > 2
        assert max(curves[name]) < 4
    assert curves["glorot_uniform"][-1] == pytest.approx(14, abs=1.5)
    assert curves["random_normal"][-1] == pytest.approx(60, abs=6)
    for name in ("glorot_uniform", "random_normal"):
        assert np.all(np.diff(curves[name][1:]) > 0)


# --- beside Dense -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The model is one quadratic unit with a sigmoid: seven numbers.",
    "with more than four times the parameters of the unit whose equation has the shape of the problem.",
    "At two inputs a unit has 7 numbers and a `Dense` unit 3. At the 784 pixels of a digit ten quadratic "
    "units have more than six million, and nearly half of those do nothing, since only",
)
def test_parameters(output):
    assert number(r"Dense\(1\) +(\d+) parameters", output) == 2 + 1
    assert number(r"Quadratic\(1\) +(\d+) parameters", output) == 2 * 2 + 2 + 1
    assert number(r"Dense\(8\), Dense\(1\) +(\d+) parameters", output) == 2 * 8 + 8 + 8 + 1 > 4 * 7
    for n in (2, 16, 784):
        row = re.search(rf"\n *{n} features: Dense (\S+), Quadratic (\S+), (\S+) do nothing", output)
        dense, quadratic, idle = (int(count.replace(",", "")) for count in row.groups())
        assert dense == 10 * (n + 1)
        assert quadratic == 10 * (n * n + n + 1)
        assert idle == 10 * (n * n - n * (n + 1) // 2)
    assert quadratic > 6e6
    assert 0.49 < idle / quadratic < 0.5


def test_accuracies(output):
    assert number(r"Dense\(1\) .*accuracy (\S+)", "\n".join(re.findall(r"(?m)^Dense\(1\).*", output))) < 0.6
    assert number(r"Dense\(8\), Dense\(1\) .*accuracy (\S+)", output) > 0.9
    assert number(r"Quadratic\(1\) .*accuracy (\S+)", output) > 0.97


@pytest.mark.proves(
    "form an ellipse, a parabola or a hyperbola (a conic). They may also be lines, one point or none.",
)
@pytest.mark.parametrize(
    ("matrix", "w", "b", "zeros"),
    [
        ([[1, 0], [0, 2]], [0, 0], -1, lambda x, y: x**2 + 2 * y**2 == 1),
        ([[1, 0], [0, 0]], [0, -1], 0, lambda x, y: y == x**2),
        ([[1, 0], [0, -1]], [0, 0], -1, lambda x, y: x**2 == 1 + y**2),
        ([[0, 0], [0, 0]], [1, 2], 0, lambda x, y: x == -2 * y),
        ([[0, 1], [0, 0]], [0, 0], 0, lambda x, y: (x == 0) | (y == 0)),
        ([[1, 0], [0, 1]], [0, 0], 0, lambda x, y: (x == 0) & (y == 0)),
        ([[1, 0], [0, 1]], [0, 0], 1, lambda x, y: x != x),
    ],
    ids=["ellipse", "parabola", "hyperbola", "line", "two lines", "point", "nothing"],
)
def test_where_a_unit_of_two_inputs_is_zero(matrix, w, b, zeros):
    layer = Quadratic(1, dtype="float64")
    x = np.stack(np.meshgrid(*[np.arange(-40, 41) / 8] * 2), axis=-1)
    layer(x)
    layer.set_weights([np.array([matrix]), np.array(w)[:, None], np.array([b])])
    np.testing.assert_array_equal(layer(x)[..., 0] == 0, zeros(x[..., 0], x[..., 1]))


@pytest.mark.proves(
    "No straight line separates them, and an ellipse does.",
    "A line that touches the inner ring would cut a third of the outer one off, and be right for 0.67 of the points",
)
def test_the_best_line_is_right_for_two_thirds():
    """On rings without noise: it touches the inner one."""
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    offsets = np.linspace(0, 1, 101)
    accuracy = [(np.mean(np.cos(angles) > h) + np.mean(0.5 * np.cos(angles) <= h)) / 2 for h in offsets]
    assert max(accuracy) == pytest.approx(2 / 3, abs=0.01)
    assert offsets[int(np.argmax(accuracy))] == pytest.approx(0.5, abs=0.01)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "for normal numbers with a deviation of 1 / features.",
    "so its standard deviation is about",
)
@pytest.mark.parametrize(
    ("initializer", "deviation"), [(None, 1 / 64), ("glorot_uniform", 1 / np.sqrt(10 * 64)), ("random_normal", 0.05)]
)
def test_how_the_matrices_start(initializer, deviation):
    """And with them x A x, whose deviation is n times theirs."""
    layer = Quadratic(10, matrix_initializer=initializer)
    x = np.random.default_rng(0).normal(size=(500, 64)).astype("float32")
    layer(x)
    assert np.std(layer.matrices) == pytest.approx(deviation, rel=0.02)
    layer.kernel.assign(np.zeros((64, 10)))
    assert np.std(layer(x)) == pytest.approx(64 * deviation, rel=0.1)


@pytest.mark.proves(
    "Keras's default, `glorot_uniform`, reads a weight of shape",
)
def test_glorot_uniform_is_what_add_weight_takes():
    class Default(keras.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(10, 64, 64))

    layer = Default()
    layer.build(())
    assert np.std(layer.kernel) == pytest.approx(1 / np.sqrt(10 * 64), rel=0.02)
    assert np.abs(layer.kernel).max() <= np.sqrt(3 / (10 * 64))


@pytest.mark.proves(", which is too much for more features than units.")
def test_the_default_start_is_too_much_where_there_are_more_features_than_units():
    def loss(layer, units, features):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(256, features)).astype("float32"), rng.integers(units, size=256)
        return float(np.mean(keras.losses.sparse_categorical_crossentropy(y, layer(x), from_logits=True)))

    def losses(units, features):
        layers = (lambda: Quadratic(units, matrix_initializer="glorot_uniform"), lambda: keras.layers.Dense(units))
        return [np.mean([loss(make(), units, features) for _ in range(5)]) for make in layers]

    for units, features in ((64, 16), (10, 4)):
        default, dense = losses(units, features)
        assert default < 1.2 * dense
    for units, features in ((10, 64), (16, 128)):
        default, dense = losses(units, features)
        assert default > 1.4 * dense


def test_the_loss_at_the_start(output):
    losses = {name: tutorial.loss_at_start(Quadratic(10, None, start), 256) for name, start in tutorial.STARTS.items()}
    losses["Dense"] = tutorial.loss_at_start(keras.layers.Dense(10), 256)
    assert np.log(10) < losses["Dense"] < losses["1 / features"] < 4.5
    assert 6 < losses["glorot_uniform"] < 12
    assert 15 < losses["random_normal"] < 30
    at_784 = {name: number(rf"{name} +at 784 features: a loss of (\S+)", output) for name in losses}
    assert 2.3 < at_784["Dense"] < at_784["1 / features"] < 4
    assert 13 < at_784["glorot_uniform"] < 15
    assert 55 < at_784["random_normal"] < 65


@pytest.mark.proves(
    r"A model that knows nothing has a loss of $\ln 10 = 2.3$ over ten classes.",
)
def test_a_model_that_knows_nothing_has_the_logarithm_of_the_classes():
    zeros = keras.layers.Dense(10, kernel_initializer="zeros")
    assert tutorial.loss_at_start(zeros, 4) == pytest.approx(np.log(10), rel=1e-5) == pytest.approx(2.3, abs=0.05)


@pytest.mark.proves(
    "Inputs are squared as well: pixels from 0 to 255 make",
    "65,025 times what pixels from 0 to 1 make it.",
)
def test_pixels_are_squared():
    layer, x = in_float64()
    layer.kernel.assign(np.zeros((4, 3)))
    np.testing.assert_allclose(layer(255 * x), 65_025 * layer(x), rtol=1e-10)


@pytest.mark.proves(
    "The class is registered and `get_config` returns its three arguments, so the file is enough where the class is "
    "imported.",
)
def test_it_comes_back_from_its_file(output, tmp_path):
    model = keras.Sequential([keras.Input((2,)), Quadratic(1)])
    model.save(tmp_path / "ring.keras")
    with (
        mock.patch.dict(keras.saving.get_custom_objects(), clear=True),
        pytest.raises(TypeError, match="Could not locate class 'Quadratic'"),
    ):
        keras.saving.load_model(tmp_path / "ring.keras")
    assert number(r"largest difference after reloading: (\S+)", output) == 0
    assert "activation: sigmoid" in output
    config = Quadratic(1, "sigmoid", "random_normal").get_config()
    copy = Quadratic.from_config(config)
    assert (copy.units, copy.activation) == (1, keras.activations.sigmoid)
    assert isinstance(copy.matrix_initializer, keras.initializers.RandomNormal)
    assert Quadratic.from_config(Quadratic(1).get_config()).matrix_initializer is None


@pytest.mark.proves("that doesn't matter is the one that was drawn")
def test_the_parts_that_are_printed_are_those_of_the_matrix(seed):
    done, _figures = trained(seed)
    drawn, learned = done["matrix_before"], done["matrix"]
    for printed_part, whole in ((done["before"], drawn), (done["after"], learned)):
        assert printed_part == pytest.approx((whole - (whole + whole.T) / 2)[0, 1], abs=1e-5)
    assert f"antisymmetric part before {done['before']:.3f}, after {done['before']:.3f}\n" in done.printed
    assert f"symmetric part before {drawn[0, 0]:.1f}, after {learned[0, 0]:.1f}\n" in done.printed
