"""`docs/training/contrastive_learning.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.contrastive_learning import PairEncoder, TripletEncoder, nt_xent
from tests import contract
from tests.shown import Shown, shown
from tests.training.replicas import two_replicas

MODULE = "snippets.training.contrastive_learning"
RNG = np.random.default_rng(1)
FIRST, SECOND = RNG.normal(size=(2, 24, 5)).astype("float32")
PENALTY = keras.regularizers.L2(0.1)


def pairs() -> tuple[list[np.ndarray], np.ndarray]:
    first = RNG.normal(size=(64, 5)).astype("float32")
    return [first, first + 0.1 * RNG.normal(size=first.shape).astype("float32")], np.zeros((64, 1))


MODELS = {"PairEncoder": contract.Model(lambda **kw: PairEncoder(3, 0.5, **kw), pairs)}
NOT_IN_CONTRACT = {
    "TripletEncoder": "is a PairEncoder with another loss, which is held against its equation below",
    "Attracted of collapse_fails": "is a PairEncoder whose loss collapses, which is shown below",
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    assert check(case) is None, "a check that fails raises"


def figures(page: Shown) -> dict[str, float]:
    lines = [line.rpartition(": ") for line in page.printed.splitlines()]
    return {name: float(number) for name, _, number in lines if number not in ("True", "False")}


# --- the program ----------------------------------------------------------------------------------------------------


def by_lda(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Linear discriminant analysis of pairs, to as many numbers as the encoder has."""
    within = np.cov(first - second, rowvar=False) / 2 + 1e-3 * np.eye(32)
    between = np.cov((first + second) / 2, rowvar=False) - within / 2
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    return whiten.T @ np.linalg.eigh(whiten @ between @ whiten.T)[1][:, -8:]


def share(first: np.ndarray, second: np.ndarray) -> float:
    first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (first, second))
    return np.mean(np.argmax(first @ second.T, axis=1) == np.arange(len(first)))


def upright(page: Shown, people: np.ndarray) -> np.ndarray:
    """What `photograph` returns, without the negatives."""
    days, noise = page["rng"].normal(size=people.shape), page["rng"].normal(size=(len(people), 32))
    mixed = people @ page["of_person"] + 0.5 * days @ page["of_day"]
    return np.tanh(0.4 * mixed + 0.1 * noise)


@pytest.mark.chance
@pytest.mark.proves(
    "Each person is photographed on two days. The day changes a picture, and half of all are negatives. The encoder "
    "learns from 2000 people, and is tried on 200 strangers: what share of them is nearest to their own other picture?",
    "A linear map gives a negative the opposite embedding, so it can't bring the two together. The share of linear "
    "discriminant analysis to 8 numbers is below 0.1 on each of six seeds, and above 0.9 without the negatives: try it "
    "first.",
    "Return the share of the strangers who are nearest to their own.",
    "Return 32 numbers of each person and a day: half are negatives.",
    "Both losses are lower than that of the program, and the encoders are of no use:",
    "If pairs are only brought together, nothing keeps these embeddings apart. If both views are the same, nothing "
    "says what has to be ignored: draw each view with random numbers of its own.",
    "If all embeddings are alike, a triplet loss is its margin. Others may have that loss, too.",
)
def test_strangers_are_recognized(seed):
    page = shown(MODULE, "program", "triplets", "collapse_fails", seed=seed)
    found = figures(page)
    raw = page["recognized"](lambda x: x)
    assert found == {
        "as they are": pytest.approx(raw, abs=0.051),
        "not trained": pytest.approx(0.05, abs=0.1),
        "trained on pairs": pytest.approx(0.9, abs=0.11),
        "trained on triplets": pytest.approx(0.6, abs=0.21),
    }
    assert raw < 0.3
    alike = ops.ones((8, 4))
    np.testing.assert_allclose(TripletEncoder().losses_of_pairs(alike, alike), np.full(8, 0.5))  # the margin
    apart = np.eye(8, dtype="float32")  # each is as far from its own as from the others
    np.testing.assert_allclose(TripletEncoder().losses_of_pairs(apart[:4], apart[4:]), np.full(4, 0.5), rtol=1e-6)
    assert "reloaded, same: True" in page.printed
    assert page.printed.count("recognizes most: False") == 2

    people = page["photograph"](page["strangers"])
    assert people.shape == (200, 32)
    again = page["photograph"](page["strangers"])
    assert np.mean(np.sum(people * again, axis=1) < 0) == pytest.approx(0.5, abs=0.12)
    days = np.mean([np.square(upright(page, page["strangers"]) - upright(page, page["strangers"])) for _ in range(4)])
    assert days > 0.1 * np.mean(np.square(people))

    linear = by_lda(*page["pairs"])
    np.testing.assert_allclose(-people @ linear, -(people @ linear))
    assert share(*(one @ linear for one in page["on_two_days"])) < 0.1
    assert page["recognized"](lambda x: x @ linear.astype("float32")) < 0.1
    everyone = page["people"], page["strangers"]
    (first, mine), (second, other) = ([upright(page, some) for some in everyone] for _ in range(2))
    linear = by_lda(first, second)
    assert share(mine @ linear, other @ linear) > 0.9

    model = PairEncoder()
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(page["batches"], epochs=15, shuffle=False, verbose=0)
    of_pairs = model.evaluate(page["batches"], verbose=0)
    assert page["recognized"](model.encoder) > raw + 0.5
    for name, (trained, data) in page["trials"].items():
        assert trained.evaluate(data, verbose=0) < of_pairs, name
    spreads = [np.std(one.encoder(people), axis=0).mean() for one in (page["trials"]["no other pairs"][0], model)]
    assert spreads[0] < 0.25 * spreads[1]


def fit_on(data: tf.data.Dataset, model: keras.Model, **options) -> dict:
    return model.fit(data, shuffle=False, verbose=0, **options).history


@pytest.mark.proves(
    "`fit` needs no labels. It gets a dataset of tuples of one, `((first, second),)`: without the outer tuple, "
    "`second` is taken for the target, and the call raises."
)
def test_what_fit_is_given():
    model = PairEncoder(3)
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices(((FIRST, SECOND),)).batch(12)
    assert len(fit_on(data, model)["loss"]) == 1
    for options in ({}, {"run_eagerly": True}):
        other = PairEncoder(3)
        other.compile("sgd", **options)
        for remainder in (False, True):
            bare = tf.data.Dataset.from_tensor_slices((FIRST, SECOND)).batch(12, drop_remainder=remainder)
            with pytest.raises((TypeError, ValueError, tf.errors.OperatorNotAllowedInGraphError)):
                fit_on(bare, other)


# --- the loss ---------------------------------------------------------------------------------------------------------


def by_loops(first: np.ndarray, second: np.ndarray, temperature: float) -> list[float]:
    both = np.concatenate([first, second]).astype("float64")
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    batch, losses = len(first), []

    def of(i: int, j: int) -> float:
        others = [np.exp(both[i] @ both[k] / temperature) for k in range(2 * batch) if k != i]
        return -np.log(np.exp(both[i] @ both[j] / temperature) / sum(others))

    for i in range(batch):
        losses.append((of(i, i + batch) + of(i + batch, i)) / 2)
    return losses


@pytest.mark.proves(
    "`nt_xent` returns the mean of $\\ell_{i,j}$ and $\\ell_{j,i}$.",
    "Return the loss of each pair: Chen et al. 2020, arXiv:2002.05709, eq. 1.",
    "Each of the two has to tell the other from all that are in the batch.",
    "It computes in float32 under mixed precision: in float16, 1e9 is infinite.",
)
def test_the_loss_is_equation_1():
    expected = by_loops(FIRST, SECOND, 0.2)
    np.testing.assert_allclose(nt_xent(FIRST, SECOND, 0.2), expected, rtol=1e-5)
    compiled = tf.function(nt_xent, jit_compile=True)
    np.testing.assert_allclose(compiled(FIRST, SECOND, 0.2), expected, rtol=1e-5)
    double = nt_xent(FIRST.astype("float64"), SECOND.astype("float64"), 0.2)
    assert double.dtype == "float64"
    np.testing.assert_allclose(double, expected, rtol=1e-10)
    for dtype in ("float16", "bfloat16"):
        half = nt_xent(ops.cast(FIRST, dtype), ops.cast(SECOND, dtype), 0.2)
        assert half.dtype == "float32"
        np.testing.assert_allclose(half, expected, rtol=0.1, atol=0.05)
    with np.errstate(over="ignore"):
        assert np.isinf(np.float16(1e9))
    changed = FIRST.copy()
    changed[5] += 1  # all in the batch are told from each other
    assert np.all(np.asarray(nt_xent(changed, SECOND, 0.2)) != np.asarray(nt_xent(FIRST, SECOND, 0.2)))


@pytest.mark.proves("Without $k \\neq i$, an embedding is its own best match. The loss then can't fall below log 2:")
def test_without_the_mask_there_is_a_floor():
    page = shown(MODULE, "itself_fails")
    right, wrong = figures(page).values()
    assert (right, wrong) == (0.0, 0.69)
    for seed in range(20):
        first, second = np.random.default_rng(seed).normal(size=(2, 6, 4)).astype("float32")
        for temperature in (0.01, 0.2, 5.0):
            assert float(ops.min(page["with_itself"](first, first, temperature))) > np.log(2) - 1e-4
            both = ops.reshape(page["with_itself"](first, second, temperature), (2, 6))
            assert float(ops.min(both)) > np.log(2) - 1e-4


@pytest.mark.proves(
    "Each embedding is compared with all others of the batch, even those of one person. If all are alike, the "
    "loss of a batch of n pairs is $\\log(2n - 1)$:",
    "So losses of different batch sizes can't be compared, validation included, and a smaller last batch lowers the "
    "mean: write `drop_remainder=True`. Gradients that are accumulated over two batches aren't those of one of twice "
    "the size.",
)
def test_the_size_of_the_batch_is_part_of_the_loss():
    found = figures(shown(MODULE, "by_size"))
    for size, loss in zip((8, 64, 512), found.values(), strict=True):
        assert loss == pytest.approx(np.log(2 * size - 1), abs=0.005)
    twice = np.concatenate([FIRST[:1], FIRST])  # two of the same person: each is told from the other pair
    assert np.all(nt_xent(twice, twice, 0.01)[:2] > np.log(3) - 1e-3)

    data = tf.data.Dataset.from_tensor_slices(((FIRST, SECOND),))
    model = PairEncoder(3)
    model.compile(keras.optimizers.SGD(0.0))
    whole, halves, uneven = (model.evaluate(data.batch(size), verbose=0) for size in (24, 12, 20))
    assert halves < whole - 0.5
    assert uneven < whole - 0.1

    def gradient(parts: int) -> np.ndarray:
        with tf.GradientTape() as tape:
            batches = zip(np.split(FIRST, parts), np.split(SECOND, parts), strict=True)
            loss = sum(ops.mean(model.losses_of_pairs(*model(list(batch)))) for batch in batches) / parts
        return np.asarray(tape.gradient(loss, model.encoder.weights[0].value))

    one, two = gradient(1), gradient(2)
    assert np.abs(one - two).max() > 0.02 * np.abs(one).max()


@pytest.mark.proves("of regularizers, too", "one for each pair")
def test_sample_weights_and_penalties_count():
    model = PairEncoder(3)
    model.build([(None, 5), (None, 5)])
    outputs = model([FIRST, SECOND])
    plain = np.asarray(nt_xent(*outputs, 0.2))
    weights = np.linspace(0, 2, 24)
    assert float(model.compute_loss(y_pred=outputs)) == pytest.approx(plain.mean(), rel=1e-5)
    for given in (weights, weights[:, None]):
        weighted = model.compute_loss(y_pred=outputs, sample_weight=given)
        assert float(weighted) == pytest.approx(np.mean(plain * weights), rel=1e-5)
    model.encoder.layers[0].kernel.regularizer = PENALTY
    outputs = model([FIRST, SECOND])
    penalty = 0.1 * np.sum(np.square(model.encoder.layers[0].kernel))
    assert float(model.compute_loss(y_pred=outputs)) == pytest.approx(plain.mean() + penalty, rel=1e-5)


@pytest.mark.proves("Keras drops a `sample_weight` that comes without a target: give zeros.")
def test_sample_weights_need_a_target():
    model = PairEncoder(3)
    model.compile("sgd")
    weights = np.linspace(0, 2, 24)

    def loss(**options) -> float:
        return model.evaluate([FIRST, SECOND], batch_size=24, verbose=0, **options)

    dropped, weighted = loss(sample_weight=weights), loss(y=np.zeros(24), sample_weight=weights)
    plain = np.asarray(nt_xent(*model([FIRST, SECOND]), 0.2))
    assert dropped == pytest.approx(plain.mean(), rel=1e-4)
    assert weighted == pytest.approx(np.mean(plain * weights), rel=1e-4)
    assert abs(dropped - weighted) > 1e-3


@pytest.mark.proves("Scale each to length 1, in float32 under mixed precision.")
@pytest.mark.parametrize("encoder", [PairEncoder, TripletEncoder])
def test_mixed_precision_with_penalties(encoder):
    model = encoder(3, dtype="mixed_float16")
    for scale in (300, 1e-5):  # whose squares float16 can't hold
        expected = model.losses_of_pairs(scale * FIRST, scale * SECOND)
        half = model.losses_of_pairs(*(ops.cast(scale * one, "float16") for one in (FIRST, SECOND)))
        assert half.dtype == "float32"
        np.testing.assert_allclose(half, expected, rtol=0.1, atol=0.1)
    for layer, penalty in zip(model.encoder.layers, ("kernel_regularizer", "activity_regularizer"), strict=True):
        setattr(layer, penalty, PENALTY)
    model.build([(None, 5), (None, 5)])
    outputs = model([FIRST, SECOND])
    losses = ops.mean(model.losses_of_pairs(*outputs))
    assert {str(one.dtype.name) for one in model.losses} == {"float16", "float32"}
    assert float(model.compute_loss(y_pred=outputs)) > float(losses)


def on_two() -> list[float]:
    """The loss of a batch on one replica, and that of each of two that share it."""
    strategy = two_replicas()
    with strategy.scope():
        model = PairEncoder(3)
        model.build([(None, 5), (None, 5)])
    data = tf.data.Dataset.from_tensor_slices((FIRST, SECOND)).batch(24)
    batch = next(iter(strategy.experimental_distribute_dataset(data)))
    losses = strategy.run(lambda *pair: model.compute_loss(y_pred=model(list(pair))), args=batch)
    halves = [model.compute_loss(y_pred=model([FIRST[part], SECOND[part]])) for part in (slice(12), slice(12, 24))]
    return [float(loss) for loss in (*strategy.experimental_local_results(losses), *halves)]


@pytest.mark.proves(
    "On several devices, each replica compares only its own pairs, and this `compute_loss` doesn't divide by their "
    "number."
)
def test_each_replica_compares_its_own_pairs(process):
    *shared, first, second = process.call(on_two)
    assert shared == pytest.approx([first, second], rel=1e-5)


# --- triplets ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A triplet loss compares each pair with one other, here the next of the batch:",
    "Trained on triplets: Schroff et al. 2015, arXiv:1503.03832, eq. 3.",
    "A triplet whose `far` exceeds `near` by the margin has no gradient.",
)
def test_the_triplet_loss_is_its_equation():
    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    a, p = unit(FIRST), unit(SECOND)
    near = np.sum((a - p) ** 2, axis=1)
    far = np.array([np.sum((a[i] - p[i - 1]) ** 2) for i in range(24)])
    expected = np.maximum(near - far + 0.5, 0)
    model = TripletEncoder(3)
    np.testing.assert_allclose(model.losses_of_pairs(FIRST, SECOND), expected, rtol=1e-4, atol=1e-5)
    assert 0 < np.mean(expected == 0) < 1

    first = tf.Variable(FIRST)
    with tf.GradientTape() as tape:
        losses = model.losses_of_pairs(first, SECOND)
    slopes = np.abs(np.asarray(tape.gradient(losses, first))).max(axis=1)
    assert np.array_equal(slopes == 0, expected == 0)
