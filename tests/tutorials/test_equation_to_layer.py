"""`docs/tutorials/equation_to_layer.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import itertools
import re
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.notebooks import definitions, printed
from tests import contract
from tests.shown import Shown, shown_cells

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
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


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
    "no gradient moves the antisymmetric rest: trained without weight decay, it stays as it was drawn.",
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
    "trained without weight decay, it stays as it was drawn.",
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


@pytest.mark.proves(
    "They cross zero at nearly the same two places",
)
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
def run(seed: int) -> Shown:
    """The notebook up to its comparison with Dense, with another seed of weights and data."""
    return shown_cells(NAME, seed=seed, until="test accuracy {accuracy:.2f}")


@pytest.mark.proves(
    "on the training points and on 1000 points that the model doesn't train on.",
    "Both curves fall together: seven numbers don't overfit 300 points here. The accuracy is flat long "
    "before the loss is",
    "the accuracy climbs from about one half to nearly 1 within the first ten or so epochs and stays there.",
    "The boundary has closed into an ellipse between the rings.",
)
def test_it_finds_the_ellipse_with_other_seeds(seed):
    found = run(seed)
    history = found["history"]
    assert np.abs(np.subtract(history["loss"], history["val_loss"]))[10:].max() < 0.1
    assert history["val_loss"][0] > history["val_loss"][9] > history["val_loss"][49]
    assert max(history["val_accuracy"][15:]) - min(history["val_accuracy"][15:]) < 0.08
    assert 0.3 < history["val_accuracy"][0] < 0.75
    assert history["val_accuracy"][-1] > 0.96
    assert found["x_train"].shape == (300, 2)
    assert found["x_test"].shape == (1000, 2)
    np.testing.assert_allclose(found["axes_found"], 0.76, atol=0.12)
    best = number(r"test accuracy of the best circle: (\S+)", found.printed)
    assert history["val_accuracy"][-1] == pytest.approx(best, abs=0.03)


@pytest.mark.proves(
    "close a polygon around the inner ring",
)
def test_dense_layers_with_other_seeds(seed):
    printed = run(seed).printed
    assert number(r"Dense\(1\) +3 parameters, test accuracy (\S+)", printed) < 0.7
    assert number(r"Dense\(8\), Dense\(1\) +33 parameters, test accuracy (\S+)", printed) > 0.75


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


@pytest.mark.proves(
    "the cross-entropy prefers to say about 0.5 everywhere.",
)
def test_accuracies(output):
    assert number(r"Dense\(1\) .*accuracy (\S+)", "\n".join(re.findall(r"(?m)^Dense\(1\).*", output))) < 0.6
    assert number(r"Dense\(8\), Dense\(1\) .*accuracy (\S+)", output) > 0.9
    assert number(r"Quadratic\(1\) .*accuracy (\S+)", output) > 0.97


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


@pytest.mark.proves(
    "the loss stays near that of `Dense`, however many features there are. The other two climb",
    "The start of 1 / features stays as level as Dense, between 2 and 4; glorot_uniform rises to 14 and "
    "random_normal to about 60.",
)
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
    "A model that knows nothing has a loss of",
)
def test_a_model_that_knows_nothing_has_the_logarithm_of_the_classes():
    zeros = keras.layers.Dense(10, kernel_initializer="zeros")
    assert tutorial.loss_at_start(zeros, 4) == pytest.approx(np.log(10), rel=1e-5)


@pytest.mark.proves(
    "Inputs are squared as well: pixels from 0 to 255 make",
    "65,025 times what pixels from 0 to 1 make it.",
)
def test_pixels_are_squared():
    layer, x = in_float64()
    layer.kernel.assign(np.zeros((4, 3)))
    np.testing.assert_allclose(layer(255 * x), 65_025 * layer(x), rtol=1e-10)


@pytest.mark.proves(
    "The class is registered and `get_config` returns its three arguments, so the file is enough.",
)
def test_it_comes_back_from_its_file(output):
    assert number(r"largest difference after reloading: (\S+)", output) == 0
    assert "activation: sigmoid" in output
    config = Quadratic(1, "sigmoid", "random_normal").get_config()
    copy = Quadratic.from_config(config)
    assert (copy.units, copy.activation) == (1, keras.activations.sigmoid)
    assert isinstance(copy.matrix_initializer, keras.initializers.RandomNormal)
    assert Quadratic.from_config(Quadratic(1).get_config()).matrix_initializer is None
