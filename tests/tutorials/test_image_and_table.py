"""`docs/tutorials/image_and_table.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re
from functools import cache
from unittest import mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

from engine.prove import shapes
from tests import contract
from tests.shown import Shown, definitions, printed, shown_cells

NAME = "snippets.tutorials.image_and_table"
tutorial = definitions(NAME)
FiLM, PieceReader = tutorial.FiLM, tutorial.PieceReader


class FiLMOfItsMean(keras.layers.Layer):
    """FiLM as a layer of one input: the features' mean is the condition."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.film = FiLM(dtype=self.dtype_policy)

    def build(self, input_shape):
        self.film.build(input_shape, (input_shape[0], input_shape[-1]))

    def call(self, inputs):
        return self.film(inputs, keras.ops.mean(inputs, axis=(1, 2)))

    def compute_output_shape(self, input_shape):
        return self.film.compute_output_shape(input_shape, (input_shape[0], input_shape[-1]))


LAYER = contract.Layer(
    FiLMOfItsMean,
    inputs=[(5, 4, 3), (None, None, 2)],
    leave_out={"file_round_trip": "the class of a test can't be loaded elsewhere: the contract of the model has FiLM"},
)
COMPILE = {
    "optimizer": "adam",
    "loss": {"shape": "sparse_categorical_crossentropy", "mass": "mse"},
    "metrics": {"shape": ["accuracy"], "mass": ["mae"]},
}


def three_columns() -> tuple[dict, dict]:
    x, y = tutorial.draw_pieces(64, seed=0)
    return {**x, "table": np.concatenate([x["table"], x["table"][:, :1]], axis=1)}, y


MODELS = {
    "FiLM": contract.Model(PieceReader, data=lambda: tutorial.draw_pieces(64, seed=0), compile=COMPILE),
    "Concatenate, all options": contract.Model(
        lambda **kw: PieceReader(5, 3, film=False, **kw), data=three_columns, compile=COMPILE
    ),
}


def test_layer_contract():
    """Of a class of this test, without a docstring: that of FiLM is held against its shapes below."""
    contract.passes_the_checkup(LAYER)


def wrong_of_its_mean(**kwargs) -> keras.layers.Layer:
    """Its class is of this function alone: from elsewhere, the checkup would import the tutorial, and run all of it."""

    class WrongOfItsMean(FiLMOfItsMean):
        def build(self, input_shape):
            self.film = tutorial.WrongAxis(dtype=self.dtype_policy)
            super().build(input_shape)

    return WrongOfItsMean(**kwargs)


CAUGHT = {"WrongAxis": contract.Wrong(wrong_of_its_mean, inputs=(5, contract.ROWS, 3), by="rows_are_independent")}


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    check(case)


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


@pytest.mark.proves(
    "The task: pieces are punched from sheet metal 1 mm thick and photographed at 16 by 16 pixels.",
    "The table says how many millimetres a pixel is, and how dense the metal is.",
    "mm per pixel",
    "g/cm³: light alloys to steel",
    "1500 pieces are for training, 500 for the test.",
)
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


@pytest.mark.proves("Inputs and targets are dicts: Keras finds each by its key, not by its position.")
def test_the_order_of_the_keys_means_nothing(pieces):
    x, y = ({name: value[:8] for name, value in part.items()} for part in pieces)
    model = built()
    contract.assert_same(model(dict(reversed(x.items()))), model(x))
    model.compile(**COMPILE)
    one, other = (model.evaluate(x, target, verbose=0, return_dict=True) for target in (y, dict(reversed(y.items()))))
    assert one == pytest.approx(other)


def areas(x: dict, y: dict) -> np.ndarray:
    """Of pieces 1 mm thick, in pixels: 1 g/cm³ is 1 mg/mm³."""
    scale, density = x["table"].T
    volume = y["mass"][:, 0] / (density * 1e-3)  # mm³
    return volume / 1.0 / scale**2


@pytest.mark.proves(
    "Each piece is a disc, a square or a triangle with an area of 20 to 60 pixels, whatever its shape, at a random "
    "place and turned by a random angle.",
    "A density of 1 g/cm³ is 1 mg/mm³, so with a thickness of 1 mm the mass in grams is",
    "The shape of a piece is in its picture only; its mass needs both.",
)
def test_the_mass_is_that_of_the_area_in_the_picture(pieces):
    x, y = pieces
    area = areas(x, y)
    assert 20 <= area.min() < 21
    assert 59 < area.max() <= 60
    covered = x["image"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(covered, area, rtol=0.09)
    assert np.mean(covered / area) == pytest.approx(1, abs=0.02)


@pytest.mark.proves("The shape of a piece is in its picture only")
def test_neither_the_area_nor_the_table_says_anything_of_the_shape(pieces):
    x, y = pieces
    area = areas(x, y)
    for k in range(3):
        assert area[y["shape"] == k].mean() == pytest.approx(40, abs=3)
        np.testing.assert_allclose(x["table"][y["shape"] == k].mean(axis=0), [2, 5], atol=0.4)


@pytest.mark.parametrize(("shape", "corners"), [(0, None), (1, 4), (2, 3)])
@pytest.mark.proves("Distance of pixels from the outline of a piece, negative inside.")
def test_the_outlines(shape, corners):
    """The area of each is the one asked for, and each polygon reaches as far as it has to."""
    x, y = np.meshgrid(np.linspace(-10, 10, 1001), np.linspace(-10, 10, 1001))
    inside = tutorial.from_outline(np.array([[shape]]), np.array([[50.0]]), x, y) < 0
    assert inside.sum() * 0.02**2 == pytest.approx(50, rel=0.01)
    farthest = np.hypot(x, y)[inside].max()
    circumradius = np.sqrt(50 / np.pi) if corners is None else np.sqrt(100 / (corners * np.sin(2 * np.pi / corners)))
    assert farthest == pytest.approx(circumradius, abs=0.05)
    # beside the middle of a side, which looks to the right, the value is the distance
    side = circumradius if corners is None else circumradius * np.cos(np.pi / corners)
    beside = tutorial.from_outline(np.array([[shape]]), np.array([[50.0]]), side + x, 0 * y)
    np.testing.assert_allclose(beside[:, 400:600], x[:, 400:600], atol=1e-9)


@pytest.mark.proves(
    "A pixel is the share of it that the piece covers: close to 0.5 minus its distance from the outline, which is "
    "negative inside, and no less than 0 or more than 1.",
    "Pixels from its middle along its own axis, `(samples, 16, 16)`.",
    "Pixels across that axis, `(samples, 16, 16)`.",
)
def test_a_pixel_is_the_share_that_is_covered():
    """Counted on a grid of 20 by 20 points in each pixel, for a disc whose place is read off its picture."""
    x, y = tutorial.draw_pieces(30, seed=3, noise=0)
    images = x["image"][y["shape"] == 0, ..., 0]
    assert images.min() == 0
    assert images.max() == 1
    area = areas(x, y)[y["shape"] == 0]
    row, column = np.mgrid[:16, :16]
    fine = np.mgrid[:320, :320] / 20 - 0.475  # middles of the small cells, in pixels
    for image, size in zip(images, area, strict=True):
        middle = [np.sum(image * axis) / image.sum() for axis in (row, column)]
        inside = np.hypot(fine[0] - middle[0], fine[1] - middle[1]) < np.sqrt(size / np.pi)
        covered = inside.reshape(16, 20, 16, 20).mean(axis=(1, 3))
        np.testing.assert_allclose(image, covered, atol=0.12)


def test_no_piece_is_cut_off_by_much(pieces):
    x, _y = pieces
    edge = np.ones((16, 16), bool)
    edge[1:-1, 1:-1] = False
    assert (x["image"][:, edge].sum(axis=(1, 2)) / x["image"].sum(axis=(1, 2, 3))).max() < 0.12


@pytest.mark.proves(
    "Small discs and small squares differ by few pixels, and the noise has a standard deviation of 0.1, so the class "
    "is not free."
)
def test_noise():
    quiet, noisy = (tutorial.draw_pieces(50, seed=1, **noise)[0]["image"] for noise in ({"noise": 0}, {}))
    assert np.std(noisy - quiet) == pytest.approx(0.1, rel=0.03)
    x, y = np.meshgrid(np.arange(16) - 7.5, np.arange(16) - 7.5)
    disc, square = (
        np.clip(0.5 - tutorial.from_outline(np.array([[shape]]), np.array([[20.0]]), x, y), 0, 1) for shape in (0, 1)
    )
    assert np.sum(np.abs(disc - square) > 0.2) < 16


@pytest.mark.proves("The mass has a standard deviation of 0.64 g")
def test_the_masses(output):
    _x, y = tutorial.draw_pieces(1500, seed=1)
    mass = y["mass"]
    assert f"mass from {mass.min():.2f} g to {mass.max():.2f} g" in output
    assert f"mean {mass.mean():.2f} g, standard deviation {mass.std():.2f} g" in output
    assert mass.std() == pytest.approx(0.64, abs=0.005)
    assert mass.max() < 4  # the scatter plots end there


@pytest.mark.proves(
    "The area is all that a picture tells about the mass, and pieces of nearly one area differ in mass by more than "
    "ten times.",
    "The grams per pixel, which the table gives, sort them into rays.",
)
def test_at_any_area_the_masses_spread():
    x, y = tutorial.draw_pieces(1500, seed=1)
    area, mass, (scale, density) = areas(x, y), y["mass"][:, 0], x["table"].T
    for low in range(20, 60, 5):
        some = mass[(area > low) & (area < low + 5)]
        assert some.max() > 10 * some.min()
    np.testing.assert_allclose(mass, area * scale**2 * density / 1000, rtol=1e-5)


# --- FiLM -------------------------------------------------------------------------------------------------------------


def film_in_float64() -> tuple[keras.layers.Layer, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    film, features, condition = FiLM(dtype="float64"), rng.normal(size=(5, 6, 7, 3)), rng.normal(size=(5, 4))
    film(features, condition)
    film.set_weights([rng.normal(size=(4, 6)), rng.normal(size=6)])
    return film, features, condition


@pytest.mark.proves(
    "FiLM (feature-wise linear modulation, Perez et al. 2018) multiplies: it computes a factor and a shift for each "
    "channel",
    r"Here $\gamma$ and $\beta$ are linear in $z$, with a bias.",
    "Gamma and beta for each sample: `(batch, channels)` each.",
    "Scale and shift each channel as a condition says (Perez et al. 2018).",
)
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


@pytest.mark.proves("Because of the 1, weights of zero leave the features unchanged.")
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


@pytest.mark.proves(
    "If `call` takes two tensors, `build` and `compute_output_shape` take a shape for each, named like the tensor "
    "with `_shape` behind."
)
def test_build_takes_a_shape_for_each_input():
    film = FiLM()
    film.build((None, 8, 8, 3), (None, 4))
    assert [tuple(weight.shape) for weight in film.weights] == [(4, 6), (6,)]
    assert not film.get_weights()[1].any()
    assert film.compute_output_shape((None, 8, 8, 3), (None, 4)) == (None, 8, 8, 3)

    class Misnamed(keras.layers.Layer):
        def build(self, one_shape, other_shape):
            pass

        def call(self, features, condition):
            return features

    with pytest.raises(ValueError, match="should have a `_shape` suffix and match an argument from `call"):
        Misnamed()(np.ones((2, 3)), np.ones((2, 3)))


def test_the_docstring_of_film_gives_the_shapes():
    film, features, condition = film_in_float64()
    shapes.check_docstring(FiLM, [features, condition], film(features, condition), layer=film)


@pytest.mark.proves("A dense layer after a `Concatenate` computes a weighted sum of the two.")
def test_a_dense_layer_after_a_concatenation_adds():
    """What the table changes in its output doesn't depend on the features."""
    rng = np.random.default_rng(0)
    features, other = rng.normal(size=(2, 5, 3)).astype("float32")
    table, changed = rng.normal(size=(2, 5, 4)).astype("float32")
    dense, join = keras.layers.Dense(6), keras.layers.Concatenate()
    here = dense(join([features, changed])) - dense(join([features, table]))
    there = dense(join([other, changed])) - dense(join([other, table]))
    np.testing.assert_allclose(here, there, atol=1e-5)


@pytest.mark.proves(
    "Check it with numbers: against the formula in NumPy for one sample, one channel and one pixel, with all weights "
    "at zero, and one gradient against a difference of two outputs."
)
def test_what_the_checks_print(output):
    for line in (r"layer (\S+), by hand (\S+)", r"gradient (\S+), differences (\S+)"):
        one, other = re.search(line, output).groups()
        assert one == other
    assert "unchanged with weights of zero: True" in output


@pytest.mark.proves(
    "If the batch is as large as the width, nothing is raised, and each column of a picture is scaled by another "
    "sample's condition.",
    "Wrong: lines the batch up with the width.",
)
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


@pytest.mark.proves("is broadcast against `(width, channels)` of the features.")
def test_the_wrong_axis_raises_unless_the_sizes_agree():
    """Or unless the batch is a single sample, where it is right."""
    rng = np.random.default_rng(0)
    condition = rng.normal(size=(5, 4)).astype("float32")
    layer, right = tutorial.WrongAxis(), FiLM()
    with pytest.raises(Exception, match=r"[Ii]ncompatible shapes|must be equal|broadcast"):
        layer(np.ones((5, 8, 8, 3), "float32"), condition)
    one = rng.normal(size=(1, 8, 8, 3)).astype("float32")
    right(one, condition[:1])
    right.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(one, condition[:1]), right(one, condition[:1]), rtol=1e-6)


# --- the model --------------------------------------------------------------------------------------------------------


def built() -> keras.Model:
    model = PieceReader()
    model(tutorial.draw_pieces(2, seed=0)[0])
    return model


@pytest.mark.proves(
    "One model for an image and a table, with two outputs",
    "This tutorial builds a model that takes a picture and a row of measurements, and answers two questions at once: "
    "which class, and how much.",
    "Two convolutions | `image`, `(batch, 16, 16, 1)` | features, `(batch, 8, 8, 24)`",
    "Two dense layers | `table`, `(batch, 2)` | condition, `(batch, 32)`",
    "FiLM, the custom layer | features and condition | fused, `(batch, 8, 8, 24)`",
    "Shape head | features | `shape`, `(batch, 3)`",
    "Mass head | fused | `mass`, `(batch, 1)`",
    "`call` takes a dict and returns a dict.",
)
def test_shapes_along_the_way(pieces):
    """As the table of the data flow says."""
    x = {name: value[:7] for name, value in pieces[0].items()}
    model = built()
    assert {type(layer).__name__ for layer in (model.edges, model.parts)} == {"Conv2D"}
    assert [type(layer).__name__ for layer in model.condition.layers] == ["Dense", "Dense"]
    features = model.parts(model.halve(model.edges(x["image"])))
    condition = model.condition(model.normalize(x["table"]))
    fused = model.film(features, condition)
    assert (features.shape, condition.shape, fused.shape) == ((7, 8, 8, 24), (7, 32), (7, 8, 8, 24))
    assert {name: tuple(value.shape) for name, value in model(x).items()} == {"shape": (7, 3), "mass": (7, 1)}


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def halve(x: np.ndarray) -> np.ndarray:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), (3, 3), axis=(1, 2))
    return relu(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias)


@pytest.mark.proves(
    "The shape head reads the features before FiLM, so the table can't change the shape",
    "The mass head is one linear unit over the fused features.",
    "Average the same features, concatenate them with the condition, and leave the rest as it is: one linear unit for "
    "the mass.",
    "Whether FiLM joins the table, or a concatenation.",
)
@pytest.mark.parametrize("film", [True, False])
def test_the_model_is_what_its_layers_compute(film):
    rng = np.random.default_rng(0)
    x = {name: value[:3].astype("float64") for name, value in tutorial.draw_pieces(3, seed=0)[0].items()}
    model = PieceReader(4, film=film, dtype="float64")
    model.normalize.adapt(tutorial.draw_pieces(50, seed=1)[0]["table"].astype("float64"))
    model(x)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.4, size=weight.shape))
    layers = (model.edges, model.parts, model.shape_hidden, model.shape_head, model.mass_head)
    edges, parts, hidden, shape_head, mass_head = (layer.get_weights() for layer in layers)
    features = conv(halve(conv(x["image"], *edges)), *parts)
    condition = (x["table"] - np.asarray(model.normalize.mean)) / np.sqrt(model.normalize.variance)
    for dense in model.condition.layers:
        kernel, bias = dense.get_weights()
        condition = relu(condition @ kernel + bias)
    logits = relu(halve(features).reshape(3, -1) @ hidden[0] + hidden[1]) @ shape_head[0] + shape_head[1]
    if film:
        kernel, bias = model.film.get_weights()
        gamma, beta = np.split((condition @ kernel + bias)[:, None, None], 2, axis=-1)
        fused = relu((1 + gamma) * features + beta).mean(axis=(1, 2))
    else:
        fused = np.concatenate([features.mean(axis=(1, 2)), condition], axis=-1)
    outputs = model(x)
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(outputs["shape"], chances, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(outputs["mass"], fused @ mass_head[0] + mass_head[1], rtol=1e-6, atol=1e-9)


@pytest.mark.proves("Kernels before a `relu` start with `he_normal`, which is made for it.")
def test_defaults_and_starts():
    model = built()
    assert (model.filters, model.columns, model.film is not None) == (24, 2, True)
    for layer in (model.edges, model.parts, *model.condition.layers, model.shape_hidden):
        assert layer.activation is keras.activations.relu
        assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)
    assert not isinstance(model.shape_head.kernel_initializer, keras.initializers.HeNormal)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 256)).astype("float32")
    for _ in range(8):  # it keeps the size of what passes through relus
        x = keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal")(x)
    assert 0.3 < np.mean(np.square(x)) < 3


@pytest.mark.proves("the layers compute as the model does", "float32 in mixed precision too")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_heads_compute_in_float32_under_mixed_precision(policy, pieces):
    x = {name: value[:3] for name, value in pieces[0].items()}
    for film in (True, False):
        model = PieceReader(film=film, dtype=policy)
        assert {name: value.dtype for name, value in model(x).items()} == {"shape": "float32", "mass": "float32"}
        inner = [model.edges, model.parts, *model.condition.layers, model.shape_hidden, model.average, model.normalize]
        inner += [model.film] if film else []
        assert {layer.compute_dtype for layer in inner} == {policy.removeprefix("mixed_")}


def test_parameters(output):
    counts = {
        "edges": 9 * 16 + 16,
        "parts": 9 * 16 * 24 + 24,
        "condition": 2 * 32 + 32 + 32 * 32 + 32,
        "film": 32 * 48 + 48,
        "shape_hidden": 4 * 4 * 24 * 32 + 32,
        "shape_head": 32 * 3 + 3,
        "mass_head": 24 + 1,
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


@pytest.mark.proves("both heads train the convolutions.")
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


@pytest.mark.proves(
    "Give each picture the row of another piece: the columns keep their values and lose their connection to the "
    "picture.",
    "The same pictures, each with the row of another piece.",
)
def test_foreign_rows_keep_the_values_and_lose_the_order(pieces):
    x, _y = pieces
    mixed = tutorial.with_foreign_rows(x, seed=1)
    assert mixed["image"] is x["image"]
    np.testing.assert_array_equal(np.sort(mixed["table"], axis=0), np.sort(x["table"], axis=0))
    assert np.mean(mixed["table"][:, 0] == x["table"][:, 0]) < 0.02
    pairs = {tuple(row) for row in x["table"]}
    assert all(tuple(row) in pairs for row in mixed["table"]), "a row stays whole"


@pytest.mark.proves("`Normalization` keeps the mean and the variance of the table in the model, and so in its file.")
def test_the_normalization_is_that_of_the_table(pieces):
    x, _y = pieces
    model = PieceReader()
    model.normalize.adapt(x["table"])
    expected = (x["table"] - x["table"].mean(axis=0)) / x["table"].std(axis=0)
    np.testing.assert_allclose(model.normalize(x["table"]), expected, atol=1e-4)


@pytest.mark.proves("Built here, it returns the table unchanged until `adapt`.")
def test_before_adapt_the_table_is_handed_on_unchanged(pieces):
    x, _y = pieces
    np.testing.assert_allclose(PieceReader().normalize(x["table"]), x["table"], rtol=1e-6)


class NotBuilt(keras.Model):
    """With a Normalization that is left to the first call."""

    def __init__(self):
        super().__init__()
        self.normalize = keras.layers.Normalization()
        self.head = keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.normalize(inputs["table"]))


@pytest.mark.proves(
    "Otherwise a subclassed model that is called before `adapt` builds it symbolically, and its tensors can't be used "
    "later: the call raises `cannot be accessed from here`, and `fit` raises `InaccessibleTensorError`."
)
def test_a_normalization_that_the_first_call_builds_is_out_of_reach():
    x, y = {"table": np.ones((3, 2), "float32")}, np.ones((3, 1))
    with pytest.raises(TypeError, match="cannot be accessed from here"):
        NotBuilt()(x)
    model = NotBuilt()
    model.compile(loss="mse")
    with pytest.raises(Exception, match="cannot be accessed from FuncGraph") as caught:
        model.fit(x, y, verbose=0)
    assert "InaccessibleTensorError" in type(caught.value).__name__
    inputs = keras.Input((2,))
    functional = keras.Model(inputs, keras.layers.Normalization()(inputs))
    for other in (functional, keras.Sequential([keras.layers.Normalization()])):
        np.testing.assert_allclose(other(x["table"]), x["table"], rtol=1e-6)


def test_after_adapt_it_need_not_be_built_by_hand(tmp_path):
    """What the page doesn't say any more."""
    model, x = NotBuilt(), {"table": np.random.default_rng(0).normal(size=(30, 2))}
    model.normalize.adapt(x["table"])
    assert np.isfinite(model(x)).all()
    assert np.isfinite(model.predict(x, verbose=0)).all()


@pytest.mark.proves("Add a third column to the table, with `PieceReader(columns=3)`")
def test_a_third_column():
    x, _y = three_columns()
    model = PieceReader(columns=3)
    model.normalize.adapt(x["table"])
    assert model(x)["mass"].shape == (64, 1)
    np.testing.assert_allclose(np.mean(model.normalize(x["table"]), axis=0), 0, atol=1e-5)


@pytest.mark.proves("10 epochs of 50 batches")
def test_the_steps_are_those_of_the_epochs():
    assert tutorial.STEPS == 500 == tutorial.EPOCHS * 1500 / 30


@pytest.mark.proves(
    "Each output has its loss and its metric under its name.",
    "`loss` is their sum",
    "The learning rate falls along a cosine to zero",
    "The test pieces are the validation data too.",
    "10 epochs of 50 batches",
)
def test_training_reports_each_output_by_name(pieces, monkeypatch):
    x, y = ({name: value[:1500] for name, value in part.items()} for part in tutorial.draw_pieces(1500, seed=4))
    x_test, y_test = tutorial.draw_pieces(20, seed=3)
    monkeypatch.setattr(tutorial, "x_test", x_test, raising=False)
    monkeypatch.setattr(tutorial, "y_test", y_test, raising=False)
    model = PieceReader(2)
    history = tutorial.train(model, x, y)
    own = {"loss", "shape_loss", "mass_loss", "shape_accuracy", "mass_mae"}
    assert set(history) == own | {f"val_{name}" for name in own}
    assert len(history["loss"]) == tutorial.EPOCHS
    for start in ("", "val_"):
        total = np.add(history[f"{start}shape_loss"], history[f"{start}mass_loss"])
        np.testing.assert_allclose(history[f"{start}loss"], total, rtol=1e-4)
    outputs = model.predict(x_test, verbose=0)
    assert history["val_mass_mae"][-1] == pytest.approx(tutorial.absolute_error(outputs, y_test), rel=1e-4)
    assert int(model.optimizer.iterations) == tutorial.STEPS
    rate = model.optimizer._learning_rate
    assert [float(rate(step)) for step in (0, tutorial.STEPS)] == pytest.approx([0.005, 0])


@pytest.mark.proves("Rounded down to a tenth.", "Rounded up to a tenth.", "Results are rounded down or up to a tenth")
def test_rounding():
    assert tutorial.at_least(0.97) == "at least 0.9"
    assert tutorial.at_most(0.031) == "at most 0.1"
    assert tutorial.at_most(0.11) == "at most 0.2"


@pytest.mark.proves("Mean absolute error of the mass, in g.")
def test_absolute_error():
    true = {"mass": np.array([[1.0], [2.0]])}
    assert tutorial.absolute_error({"mass": np.array([[1.5], [1.0]])}, true) == 0.75
    assert tutorial.absolute_error({"mass": 1.0}, true) == 0.5


# --- what the training gives ------------------------------------------------------------------------------------------


@cache
def trained(seed: int) -> tuple[Shown, list[plt.Figure]]:
    """The whole tutorial with a seed, and its figures. One run for all that is said of it."""
    figures: list[plt.Figure] = []
    with mock.patch("matplotlib.pyplot.show", side_effect=lambda: figures.append(plt.gcf())):
        done = shown_cells(NAME, seed=seed)
    return done, figures


def lines(axes: plt.Axes) -> dict[str, np.ndarray]:
    """The curves of an axes, by their labels in the legend."""
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}


def at(points) -> np.ndarray:
    return np.asarray(points.get_offsets())


def errors(done: Shown, predicted: dict) -> np.ndarray:
    return np.abs(predicted["mass"] - done["y_test"]["mass"])


@pytest.mark.proves(
    "an untrained model is right about as often as a guess, which is once in three.",
    "The shape is read about as well as before.",
)
def test_the_shape_is_learned(seed):
    done, _figures = trained(seed)
    true = done["y_test"]["shape"]
    assert 0.2 < np.mean(done["guessed"] == true) < 0.47
    right, blind = (
        np.mean(one["shape"].argmax(axis=-1) == true) for one in (done["predicted"], done["predicted_blind"])
    )
    assert right > 0.93
    assert blind == pytest.approx(right, abs=0.03)
    assert f"test accuracy of the shape: at least {np.floor(10 * right) / 10:.1f}" in done.printed


@pytest.mark.proves(
    "The mass is learned first: from the first epoch to the second its loss falls to less than a third.",
    r"In the first epoch the loss of the shape is still near $\ln 3 = 1.1$, that of a guess",
    "and it keeps the larger part of the sum to the end.",
    "Left, the cross-entropy of the shape starts above 0.5 and falls below 0.2.",
    "Right, the squared error of the mass falls steeply in training from the first epoch to the second, and both "
    "curves end below 0.01.",
    "Two panels over 10 epochs with logarithmic vertical axes, each with a curve for training and one for test pieces.",
)
def test_the_losses_and_their_plot(seed):
    done, figures = trained(seed)
    history, axes = done["history"], figures[2].axes
    for ax, name in zip(axes, ("shape", "mass"), strict=True):
        assert ax.get_ylabel().startswith(f"{name}: ")
        assert ax.get_yscale() == "log"
        drawn = lines(ax)
        assert list(drawn) == ["train", "test"]
        np.testing.assert_array_equal(drawn["train"], history[f"{name}_loss"])
        np.testing.assert_array_equal(drawn["test"], history[f"val_{name}_loss"])
        assert len(drawn["train"]) == 10
    shape, mass = history["shape_loss"], history["mass_loss"]
    assert mass[1] < mass[0] / 3
    assert shape[0] == pytest.approx(np.log(3), abs=0.25)
    assert np.log(3) == pytest.approx(1.1, abs=0.05)
    assert shape[-1] > 2 * mass[-1]
    assert 0.5 < history["val_shape_loss"][0] < 1.25
    assert max(shape[-1], history["val_shape_loss"][-1]) < 0.2
    assert max(mass[-1], history["val_mass_loss"][-1]) < 0.01


@pytest.mark.proves(
    "Count, for each true shape, what was read: the confusion matrix. Its rows are the truth.",
    "Discs and triangles are confused in less than 1 % of the pieces; nearly every error has a square in it.",
    "Confusion matrix of the three shapes as shades, true shape in rows and predicted shape in columns. The diagonal "
    "has nearly all of each row, and the two cells of discs and triangles taken for each other are the darkest.",
)
def test_the_confusion_matrix_and_its_plot(seed):
    done, figures = trained(seed)
    true, read = done["y_test"]["shape"], done["predicted"]["shape"].argmax(axis=-1)
    counts = np.array([[np.sum((true == row) & (read == column)) for column in range(3)] for row in range(3)])
    np.testing.assert_array_equal(done["confusion"], counts)
    disc, square, triangle = (tutorial.SHAPES.index(name) for name in ("disc", "square", "triangle"))
    assert counts[disc, triangle] + counts[triangle, disc] < 5
    wrong = counts - np.diag(np.diag(counts))
    assert wrong[square].sum() + wrong[:, square].sum() > 0.8 * wrong.sum()

    axes, bar = figures[3].axes
    (image,) = axes.images
    drawn = np.asarray(image.get_array())
    np.testing.assert_allclose(drawn**2, counts / counts.sum(axis=1, keepdims=True))
    assert np.diag(drawn**2).min() > 0.9
    assert max(drawn[disc, triangle], drawn[triangle, disc]) <= drawn.min() + 0.08
    for axis, label in ((axes.yaxis, "true shape"), (axes.xaxis, "predicted shape")):
        assert axis.get_label_text() == label
        assert [tick.get_text() for tick in axis.get_ticklabels()] == list(tutorial.SHAPES)
    ticks = [float(tick.get_text()) for tick in bar.get_yticklabels()]
    np.testing.assert_allclose(bar.get_yticks() ** 2, ticks)
    assert bar.get_ylabel() == "share of the true shape"


@pytest.mark.proves(
    "A right one lies on the diagonal, and the vertical distance from it is the error in grams.",
    "Scatter plot of predicted over true mass in grams for 200 test pieces, from 0 to 4. The points lie close along "
    "the diagonal.",
)
def test_the_masses_and_their_plot(seed):
    done, figures = trained(seed)
    true, predicted = (values["mass"][:200, 0] for values in (done["y_test"], done["predicted"]))
    (axes,) = figures[4].axes
    np.testing.assert_array_equal(at(axes.collections[0]), np.stack([true, predicted], axis=1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true mass in g", "predicted mass in g")
    (label,) = lines(axes)
    assert label == "right"
    assert np.ptp(axes.lines[0].get_xydata(), axis=1).tolist() == [0, 0]
    assert errors(done, done["predicted"]).max() < 0.8
    assert np.corrcoef(done["predicted"]["mass"][:, 0], done["y_test"]["mass"][:, 0])[0, 1] > 0.98


@pytest.mark.proves(
    "Keep one picture and give it the rows of 100 pieces. Its mass has to grow in proportion to the grams per pixel",
    "and the slope is its area",
    "Its shape must not change at all.",
    "The points follow the lines of the true areas: each slope is right within a fifth.",
    "The table changes the mass and leaves the shape alone.",
    "a small, a middling and a large one",
    "The points of each picture lie along a line through the origin, and the line is steeper the larger the piece; "
    "the straight lines with the true areas as slopes run through them.",
)
def test_the_slope_is_the_area(seed):
    done, figures = trained(seed)
    (axes,) = figures[5].axes
    x, y = done["x_test"], done["y_test"]
    all_areas = areas(x, y)
    per_pixel = x["table"][:100, 0] ** 2 * x["table"][:100, 1] / 1000
    assert len(axes.collections) == len(axes.lines) == 3
    slopes = []
    for points, line, rank in zip(axes.collections, axes.lines, (0.05, 0.5, 0.95), strict=True):
        area = np.sort(all_areas)[int(rank * 500)]
        assert points.get_label() == f"{area:.0f} pixels"
        offsets = at(points)
        np.testing.assert_allclose(offsets[:, 0], per_pixel, rtol=1e-6)
        slopes.append(np.sum(offsets[:, 0] * offsets[:, 1]) / np.sum(offsets[:, 0] ** 2))
        assert slopes[-1] == pytest.approx(area, rel=0.2)
        assert np.corrcoef(offsets.T)[0, 1] > 0.95
        assert line.get_ydata()[1] / line.get_xdata()[1] == pytest.approx(area, rel=1e-4)
        assert line.get_ydata()[0] == 0
    assert slopes == sorted(slopes)
    for answer in done["answers"].values():
        assert answer["mass"].shape == (100, 1)
        assert np.ptp(answer["shape"], axis=0).max() < 1e-5
    assert done.printed.count("slope within a fifth of it: True, largest change of the shape: 0.0000") == 3


@pytest.mark.proves(
    "FiLM has less than half of the error",
    "A hidden layer can approximate the product: with 32 `relu` units before the mass head, Concatenate comes closer.",
)
@pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer:UserWarning")  # of the head that is replaced
def test_film_against_concatenate(seed):
    done, _figures = trained(seed)
    with_film, without = (errors(done, done[name]).mean() for name in ("predicted", "without"))
    assert without > 2 * with_film

    keras.utils.set_random_seed(seed)
    deeper = done["PieceReader"](film=False)
    deeper.mass_head = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
    deeper.normalize.adapt(done["x_train"]["table"])
    history = done["train"](deeper, done["x_train"], done["y_train"])
    assert history["val_mass_mae"][-1] < 0.85 * without


@pytest.mark.proves(
    "You want one when the picture alone can't give the number, and the row alone can't give the class.",
    "The error of the mass is more than eight times as large, and hardly smaller than that of one constant for all "
    "pieces.",
)
def test_without_its_row(seed):
    done, _figures = trained(seed)
    with_row, without = (errors(done, done[name]).mean() for name in ("predicted", "predicted_blind"))
    median = np.abs(np.median(done["y_train"]["mass"]) - done["y_test"]["mass"]).mean()
    assert without > 8 * with_row
    assert 0.88 * median < without < 1.03 * median


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "and before any training its loss is less than ten times that of the shape.",
    "In milligrams the squared error of the same masses is a million times as large.",
    "Look at the gradient of each loss at the first convolution, which both outputs share",
)
def test_a_million_times_the_loss_and_a_thousand_times_the_gradient(seed):
    done, _figures = trained(seed)
    rows = {
        name: re.search(rf"{name} *: loss (\S+), norm of its gradient (\S+)", done.printed).groups()
        for name in ("shape", "mass in g", "mass in mg")
    }
    loss, gradient = ({name: float(row[k]) for name, row in rows.items()} for k in (0, 1))
    assert loss["mass in g"] < 10 * loss["shape"]
    # an untrained answer is little beside a mass in milligrams
    assert loss["mass in mg"] == pytest.approx(1e6 * np.mean(done["y_train"]["mass"] ** 2), rel=0.1)
    errors_in_g = np.array([0.3, 0.7])
    assert np.mean((1000 * errors_in_g) ** 2) == pytest.approx(1e6 * np.mean(errors_in_g**2))
    assert gradient["mass in mg"] > 100 * max(gradient["shape"], gradient["mass in g"])


@pytest.mark.proves(
    "Train on milligrams, and nothing is raised.",
    "the shape is read little better than by a guess.",
)
def test_milligrams_drown_the_shape(seed):
    done, _figures = trained(seed)
    in_g, in_mg = (done[name]["shape_accuracy"] for name in ("history", "history_mg"))
    assert in_g[-1] > 0.97
    assert max(in_mg) < 0.5
    assert in_mg[-1] > 0.3


@pytest.mark.proves(
    "Three rows of eight noisy pictures of 16 by 16 pixels: discs in the first row, squares in the second and "
    "triangles in the third, in several sizes, places and angles.",
    "Scatter plot of the mass in grams over the area in pixels for 200 pieces, coloured by grams per pixel.",
    "Pieces of one area have masses from nearly zero up to an upper limit that grows with the area; points of one "
    "colour lie along a ray from the origin, steeper for more grams per pixel.",
)
def test_the_plots_of_the_data(seed):
    done, figures = trained(seed)
    (panel,) = figures[0].axes
    assert panel.get_title() == "discs, squares and triangles, a row each"
    drawn = np.asarray(panel.images[0].get_array()).reshape(3, 16, 8, 16)
    x, y = done["x_train"], done["y_train"]
    for k in range(3):
        for place, image in enumerate(x["image"][y["shape"] == k][:8, ..., 0]):
            np.testing.assert_array_equal(drawn[k, :, place], image)
    axes, bar = figures[1].axes
    area, (scale, density) = areas(x, y)[:200], x["table"][:200].T
    np.testing.assert_allclose(at(axes.collections[0]), np.stack([area, y["mass"][:200, 0]], axis=1), rtol=1e-5)
    np.testing.assert_allclose(axes.collections[0].get_array(), scale**2 * density / 1000, rtol=1e-5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("area in pixels", "mass in g")
    assert bar.get_ylabel() == "grams per pixel"


@pytest.mark.proves(
    'A third mistake raises: with `metrics=["accuracy"]` for two outputs, `fit` raises at the first batch.'
)
def test_one_metric_for_two_outputs_is_refused_at_the_first_batch(pieces):
    x, y = ({name: value[:8] for name, value in part.items()} for part in pieces)
    model = PieceReader()
    model.compile(loss=COMPILE["loss"], metrics=["accuracy"])
    with pytest.raises(ValueError, match="Invalid `metrics`"):
        model.fit(x, y, verbose=0)


@pytest.mark.proves("a misspelt name in it isn't reported.")
def test_a_misspelt_key_of_loss_weights_raises_nothing(pieces):
    x, y = ({name: value[:8] for name, value in part.items()} for part in pieces)
    model = PieceReader()
    model.compile(loss=COMPILE["loss"], loss_weights={"shape": 1.0, "weight": 0.5}, run_eagerly=True)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] > 0  # and a warning would be an error


@pytest.mark.proves(
    "The file holds the statistics of the table and all weights, but not the classes.",
    "The arguments stand in `get_config`; without them the file would hold the defaults.",
)
def test_it_comes_back_from_its_file(output, pieces, tmp_path):
    for name in ("shape", "mass"):
        assert number(rf"{name}: largest difference (\S+)", output) == 0
    assert "the same statistics: True" in output

    x, _y = pieces
    model = PieceReader(filters=5, columns=2, film=False)
    model.normalize.adapt(x["table"])
    expected = model(x)
    model.save(tmp_path / "pieces.keras")
    with (
        mock.patch.dict(keras.saving.get_custom_objects(), clear=True),
        pytest.raises(TypeError, match="Could not locate class 'PieceReader'"),
    ):
        keras.saving.load_model(tmp_path / "pieces.keras")
    reloaded = keras.saving.load_model(tmp_path / "pieces.keras")
    assert (reloaded.filters, reloaded.columns, reloaded.film) == (5, 2, None)
    config = PieceReader(7, 3, film=False, name="reader", dtype="float64").get_config()
    copy = PieceReader.from_config(config)
    assert (copy.filters, copy.columns, copy.film, copy.name, copy.dtype) == (7, 3, None, "reader", "float64")
    np.testing.assert_array_equal(reloaded.normalize.mean, model.normalize.mean)
    contract.assert_same(reloaded(x), expected)


@pytest.mark.proves("Change one row of the table and see which samples change:")
def test_one_row_of_the_table_is_changed_and_that_sample_or_every_one_moves(seed):
    done, _figures = trained(seed)
    assert np.flatnonzero(np.any(done["other"] != done["row"], axis=1)).tolist() == [7]
    assert "FiLM: samples that change: [7]\n" in done.printed
    assert f"WrongAxis: samples that change: {np.arange(8)}\n" in done.printed
