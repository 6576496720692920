"""`docs/tutorials/image_and_table.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.notebooks import definitions, printed
from tests import contract

NAME = "snippets.tutorials.image_and_table"
tutorial = definitions(NAME)
FiLM, PieceReader = tutorial.FiLM, tutorial.PieceReader


class FiLMOfItsMean(keras.layers.Layer):
    """FiLM as a layer of one input: the features' mean is the condition."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.film = FiLM(dtype=self.dtype_policy)

    def call(self, inputs):
        return self.film(inputs, keras.ops.mean(inputs, axis=(1, 2)))


LAYER = contract.Layer(FiLMOfItsMean, inputs=[(5, 4, 3), (None, None, 2)])
MODEL = contract.Model(
    PieceReader,
    data=lambda: tutorial.draw_pieces(64, seed=0),
    compile={
        "optimizer": "adam",
        "loss": {"shape": "sparse_categorical_crossentropy", "mass": "mse"},
        "metrics": {"shape": ["accuracy"], "mass": ["mae"]},
    },
)


@pytest.mark.parametrize(
    "check",
    # The class of a test can't be loaded elsewhere: the model's contract has FiLM reloaded.
    [check for check in contract.LAYER if check is not contract.reloads_in_a_new_process],
    ids=lambda check: check.__name__,
)
def test_layer_contract(check):
    check(LAYER)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
def test_model_contract(check, tmp_path, fresh_process):
    check(MODEL, tmp_path=tmp_path, fresh_process=fresh_process)


@pytest.fixture(scope="module")
def output() -> str:
    return printed(NAME)


@pytest.fixture(scope="module")
def pieces() -> tuple[dict, dict]:
    return tutorial.draw_pieces(600, seed=5, noise=0)


def number(pattern: str, text: str) -> float:
    """The number that stands in a printed line where the pattern has its group."""
    found = re.search(pattern, text)
    assert found, f"nothing printed matches {pattern}"
    return float(found[1].replace(",", ""))


# --- the data ---------------------------------------------------------------------------------------------------------


def test_inputs_and_targets(pieces, output):
    x, y = pieces
    assert {name: (value.shape, str(value.dtype)) for name, value in x.items()} == {
        "image": ((600, 16, 16, 1), "float32"),
        "table": ((600, 2), "float32"),
    }
    assert (y["shape"].shape, y["mass"].shape) == ((600,), (600, 1))
    assert set(y["shape"]) == {0, 1, 2}
    assert x["table"].min(axis=0) == pytest.approx([1, 2], abs=0.1)
    assert x["table"].max(axis=0) == pytest.approx([3, 8], abs=0.1)
    for line in ("image  (1500, 16, 16, 1)", "table  (1500, 2)", "shape  (1500,)", "mass   (1500, 1)"):
        assert line in output


def areas(x: dict, y: dict) -> np.ndarray:
    """Of pieces 1 mm thick, in pixels: 1 g/cm³ is 1 mg/mm³."""
    scale, density = x["table"].T
    volume = y["mass"][:, 0] / (density * 1e-3)  # mm³
    return volume / 1.0 / scale**2


def test_the_mass_is_that_of_the_area_in_the_picture(pieces):
    x, y = pieces
    area = areas(x, y)
    assert 20 <= area.min() < 21
    assert 59 < area.max() <= 60
    covered = x["image"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(covered, area, rtol=0.09)
    assert np.mean(covered / area) == pytest.approx(1, abs=0.02)


def test_the_area_says_nothing_of_the_shape(pieces):
    x, y = pieces
    area = areas(x, y)
    for k in range(3):
        assert area[y["shape"] == k].mean() == pytest.approx(40, abs=3)


@pytest.mark.parametrize(("shape", "corners"), [(0, None), (1, 4), (2, 3)])
def test_the_outlines(shape, corners):
    """The area of each is the one asked for, and each polygon reaches as far as it has to."""
    x, y = np.meshgrid(np.linspace(-10, 10, 1001), np.linspace(-10, 10, 1001))
    inside = tutorial.from_outline(np.array([[shape]]), np.array([[50.0]]), x, y) < 0
    assert inside.sum() * 0.02**2 == pytest.approx(50, rel=0.01)
    farthest = np.hypot(x, y)[inside].max()
    circumradius = np.sqrt(50 / np.pi) if corners is None else np.sqrt(100 / (corners * np.sin(2 * np.pi / corners)))
    assert farthest == pytest.approx(circumradius, abs=0.05)


def test_no_piece_is_cut_off_by_much(pieces):
    x, _y = pieces
    edge = np.ones((16, 16), bool)
    edge[1:-1, 1:-1] = False
    assert (x["image"][:, edge].sum(axis=(1, 2)) / x["image"].sum(axis=(1, 2, 3))).max() < 0.12


def test_noise():
    quiet, noisy = (tutorial.draw_pieces(50, seed=1, noise=noise)[0]["image"] for noise in (0, 0.15))
    assert np.std(noisy - quiet) == pytest.approx(0.15, rel=0.03)


def test_the_masses(output):
    _x, y = tutorial.draw_pieces(1500, seed=1)
    mass = y["mass"]
    assert f"mass from {mass.min():.2f} g to {mass.max():.2f} g" in output
    assert f"mean {mass.mean():.2f} g, standard deviation {mass.std():.2f} g" in output
    assert mass.std() == pytest.approx(0.64, abs=0.005)
    assert mass.max() < 4  # the scatter plots end there


def test_at_any_area_the_masses_spread(pieces):
    x, y = pieces
    area, mass = areas(x, y), y["mass"][:, 0]
    for low in (20, 30, 40, 50):
        some = mass[(area > low) & (area < low + 10)]
        assert some.max() > 10 * some.min()


# --- FiLM -------------------------------------------------------------------------------------------------------------


def film_in_float64() -> tuple[keras.layers.Layer, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    film, features, condition = FiLM(dtype="float64"), rng.normal(size=(5, 6, 7, 3)), rng.normal(size=(5, 4))
    film(features, condition)
    film.set_weights([rng.normal(size=(4, 6)), rng.normal(size=6)])
    return film, features, condition


def test_film_is_the_equation():
    film, features, condition = film_in_float64()
    kernel, bias = film.get_weights()
    outputs = film(features, condition)
    assert outputs.shape == features.shape
    for sample in range(5):
        for channel in range(3):
            gamma = condition[sample] @ kernel[:, channel] + bias[channel]
            beta = condition[sample] @ kernel[:, 3 + channel] + bias[3 + channel]
            expected = (1 + gamma) * features[sample, :, :, channel] + beta
            np.testing.assert_allclose(outputs[sample, :, :, channel], expected, rtol=1e-10)


def test_film_without_weights_changes_nothing():
    film, features, condition = film_in_float64()
    film.set_weights([np.zeros((4, 6)), np.zeros(6)])
    np.testing.assert_array_equal(film(features, condition), features)


def test_the_gradient_reaches_the_condition():
    film, features, condition = film_in_float64()
    point, target = tf.Variable(condition), np.random.default_rng(1).normal(size=features.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(film(features, point) * target)
    gradient = tape.gradient(loss, point).numpy()
    for index in np.ndindex(5, 4):
        step = np.zeros((5, 4))
        step[index] = 1e-6
        above, below = (np.sum(film(features, condition + sign * step) * target) for sign in (1, -1))
        assert gradient[index] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-6)


def test_build_takes_a_shape_for_each_input():
    film = FiLM()
    film.build((None, 8, 8, 3), (None, 4))
    assert [tuple(weight.shape) for weight in film.weights] == [(4, 6), (6,)]


def test_what_the_checks_print(output):
    for line in (r"layer (\S+), by hand (\S+)", r"gradient (\S+), differences (\S+)"):
        one, other = re.search(line, output).groups()
        assert one == other
    assert "unchanged with weights of zero: True" in output


@pytest.mark.parametrize("make", [FiLM, tutorial.WrongAxis])
def test_whom_a_row_of_the_table_reaches(make, output):
    features = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    condition = np.random.default_rng(1).normal(size=(8, 4)).astype("float32")
    other = condition.copy()
    other[7] += 1
    layer = make()
    moved = np.abs(layer(features, condition) - layer(features, other))
    changed = np.flatnonzero(moved.max(axis=(1, 2, 3)))
    assert changed.tolist() == ([7] if make is FiLM else list(range(8)))
    assert f"{make.__name__}: samples that change: {changed}" in output
    if make is tutorial.WrongAxis:
        assert np.flatnonzero(moved.max(axis=(0, 1, 3))).tolist() == [7], "a column of each picture"


def test_the_wrong_axis_raises_unless_the_sizes_agree():
    """Or unless the batch is a single sample, where it is right."""
    condition = np.ones((5, 4), "float32")
    with pytest.raises(Exception, match=r"[Ii]ncompatible shapes|must be equal|broadcast"):
        tutorial.WrongAxis()(np.ones((5, 8, 8, 3), "float32"), condition)


# --- the model --------------------------------------------------------------------------------------------------------


def built() -> keras.Model:
    model = PieceReader()
    model(tutorial.draw_pieces(2, seed=0)[0])
    return model


def test_shapes_along_the_way(pieces):
    """As the table of the data flow says."""
    x = {name: value[:7] for name, value in pieces[0].items()}
    model = built()
    features = model.parts(model.halve(model.edges(x["image"])))
    condition = model.condition(model.normalize(x["table"]))
    fused = model.film(features, condition)
    assert (features.shape, condition.shape, fused.shape) == ((7, 8, 8, 24), (7, 32), (7, 8, 8, 24))
    assert {name: tuple(value.shape) for name, value in model(x).items()} == {"shape": (7, 3), "mass": (7, 1)}


def test_parameters(output):
    counts = {
        "edges": 9 * 16 + 16,
        "parts": 9 * 16 * 24 + 24,
        "condition": 2 * 32 + 32,
        "film": 32 * 48 + 48,
        "shape_hidden": 4 * 4 * 24 * 32 + 32,
        "shape_head": 32 * 3 + 3,
        "mass_hidden": 24 * 32 + 32,
        "mass_head": 32 + 1,
    }
    model = built()
    assert {name: getattr(model, name).count_params() for name in counts} == counts
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == sum(counts.values())
    assert number(r"trainable parameters: (\S+)", output) == sum(counts.values())


def test_the_table_cannot_disturb_the_shape_and_moves_the_mass(pieces):
    x, _y = pieces
    model = built()
    here, there = model(x), model(tutorial.with_foreign_rows(x, seed=1))
    np.testing.assert_array_equal(here["shape"], there["shape"])
    assert np.abs(here["mass"] - there["mass"]).max() > 1e-3


def test_both_heads_train_the_convolutions(pieces):
    x, _y = pieces
    model = built()
    with tf.GradientTape(persistent=True) as tape:
        outputs = model({name: value[:16] for name, value in x.items()})
        shape, mass = tf.reduce_sum(outputs["shape"][:, 0]), tf.reduce_sum(outputs["mass"])
    for layer in (model.edges, model.parts):
        for output in (shape, mass):
            assert np.abs(tape.gradient(output, layer.kernel.value)).max() > 0
    assert tape.gradient(shape, model.film.kernel.value) is None


def test_foreign_rows_keep_the_values_and_lose_the_order(pieces):
    x, _y = pieces
    mixed = tutorial.with_foreign_rows(x, seed=1)
    assert mixed["image"] is x["image"]
    np.testing.assert_array_equal(np.sort(mixed["table"], axis=0), np.sort(x["table"], axis=0))
    assert np.mean(mixed["table"][:, 0] == x["table"][:, 0]) < 0.02
    pairs = {tuple(row) for row in x["table"]}
    assert all(tuple(row) in pairs for row in mixed["table"]), "a row stays whole"


def test_the_normalization_is_that_of_the_table(pieces):
    x, _y = pieces
    model = PieceReader()
    model.normalize.adapt(x["table"])
    expected = (x["table"] - x["table"].mean(axis=0)) / x["table"].std(axis=0)
    np.testing.assert_allclose(model.normalize(x["table"]), expected, atol=1e-4)


def test_before_adapt_the_table_is_handed_on_unchanged(pieces):
    x, _y = pieces
    np.testing.assert_allclose(PieceReader().normalize(x["table"]), x["table"], rtol=1e-6)


def test_a_normalization_that_the_first_call_builds_is_out_of_reach():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.normalize = keras.layers.Normalization()

        def call(self, inputs):
            return self.normalize(inputs["table"])

    with pytest.raises(TypeError, match="cannot be accessed from here"):
        Model()({"table": np.ones((3, 2), "float32")})


def test_the_steps_are_those_of_the_epochs():
    assert tutorial.STEPS == tutorial.EPOCHS * 1500 / 60


def test_training_reports_each_output_by_name(pieces):
    x, y = ({name: value[:120] for name, value in part.items()} for part in pieces)
    history = tutorial.train(PieceReader(), x, y)
    assert set(history) == {"loss", "shape_loss", "mass_loss", "shape_accuracy", "mass_mae"}
    assert len(history["loss"]) == tutorial.EPOCHS
    total = np.add(history["shape_loss"], history["mass_loss"])
    np.testing.assert_allclose(history["loss"], total, rtol=1e-4)


def test_absolute_error():
    true = {"mass": np.array([[1.0], [2.0]])}
    assert tutorial.absolute_error({"mass": np.array([[1.5], [1.0]])}, true) == 0.75
    assert tutorial.absolute_error({"mass": 1.0}, true) == 0.5


# --- what the training gives ------------------------------------------------------------------------------------------


def test_it_learns_both(output):
    assert number(r"accuracy before training: (\S+)", output) < 0.45
    for name, start, end in (("shape_accuracy", (0.3, 0.7), (0.88, 1)), ("mass_mae", (0.1, 0.4), (0, 0.07))):
        first, last = re.search(rf"test {name}: (\S+) after 1 epoch, (\S+) after 12", output).groups()
        assert start[0] <= float(first) <= start[1]
        assert end[0] <= float(last) <= end[1]
    assert number(r"mean absolute error: (\S+) g", output) < 0.07


def test_the_confusion_matrix(output):
    rows = re.search(r"\[\[.*\]\]", output, re.DOTALL)[0]
    confusion = np.array([int(count) for count in re.findall(r"\d+", rows)]).reshape(3, 3)
    _x, y = tutorial.draw_pieces(500, seed=2)
    np.testing.assert_array_equal(confusion.sum(axis=1), np.bincount(y["shape"]))
    assert number(r"read right: (\S+)", output) == pytest.approx(np.trace(confusion) / 500, abs=0.005)
    disc, square, triangle = range(3)
    assert confusion[disc, triangle] + confusion[triangle, disc] <= 3
    discs_and_squares = confusion[disc, square] + confusion[square, disc]
    assert discs_and_squares > confusion[square, triangle] + confusion[triangle, square] > 3


def test_the_slope_is_the_area(output):
    rows = re.findall(r"area (\d+) pixels, slope (\d+), largest change of the shape: (\S+)", output)
    assert len(rows) == 3
    for area, slope, moved in rows:
        assert float(slope) == pytest.approx(float(area), rel=0.15)
        assert float(moved) == 0
    assert all(int(slope) < int(area) for area, slope, _moved in rows[1:])


def test_without_its_row(output):
    right, accuracy = re.search(r"with its row: +(\S+) g, shape accuracy (\S+)", output).groups()
    wrong, accuracy_without = re.search(r"with another row: (\S+) g, shape accuracy (\S+)", output).groups()
    median = number(r"always the median: (\S+) g", output)
    assert 7 < float(wrong) / float(right) < 11
    assert median - 0.05 < float(wrong) < median
    assert float(accuracy) - 0.01 <= float(accuracy_without) < float(accuracy) + 0.05


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_million_times_the_loss_and_a_thousand_times_the_gradient(output):
    rows = {
        name: re.search(rf"{name} *: loss (\S+), norm of its gradient (\S+)", output).groups() for name in GRADIENTS
    }
    loss, gradient = ({name: float(row[k]) for name, row in rows.items()} for k in (0, 1))
    assert 0.5 < loss["shape"] / loss["mass in g"] < 2
    assert loss["mass in mg"] / loss["mass in g"] == pytest.approx(1e6, rel=0.2)
    assert 500 < gradient["mass in mg"] / gradient["mass in g"] < 2000
    assert gradient["mass in mg"] > 1000 * gradient["shape"]


GRADIENTS = ("shape", "mass in g", "mass in mg")


def test_milligrams_drown_the_shape(output):
    assert number(r"share of the mass in the first loss: (\S+)%", output) > 99.99
    assert number(r"in g : shape accuracy (\S+)", output) >= 0.9
    assert number(r"in mg: shape accuracy (\S+)", output) < 0.5


def test_one_metric_for_two_outputs_is_refused_at_the_first_batch(pieces):
    x, y = ({name: value[:8] for name, value in part.items()} for part in pieces)
    model = PieceReader()
    model.compile(loss=MODEL.compile["loss"], metrics=["accuracy"])
    with pytest.raises(ValueError, match="Invalid `metrics`"):
        model.fit(x, y, verbose=0)


def test_a_misspelt_key_of_loss_weights_raises_nothing(pieces):
    x, y = ({name: value[:8] for name, value in part.items()} for part in pieces)
    model = PieceReader()
    model.compile(loss=MODEL.compile["loss"], loss_weights={"shape": 1.0, "weight": 0.5}, run_eagerly=True)
    model.evaluate(x, y, verbose=0)


def test_it_comes_back_from_its_file(output, pieces, tmp_path):
    for name in ("shape", "mass"):
        assert number(rf"{name}: largest difference (\S+)", output) == 0
    assert "the same statistics: True" in output

    x, _y = pieces
    model = PieceReader(filters=5)
    model.normalize.adapt(x["table"])
    expected = model(x)
    model.save(tmp_path / "pieces.keras")
    reloaded = keras.saving.load_model(tmp_path / "pieces.keras")
    assert reloaded.filters == 5
    np.testing.assert_array_equal(reloaded.normalize.mean, model.normalize.mean)
    contract.assert_same(reloaded(x), expected)
