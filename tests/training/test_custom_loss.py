"""`docs/training/custom_loss.md`: every claim that the page makes, proved."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path

import checkup
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from engine.prove import shapes
from snippets.training.custom_loss import Interval, QuantileLoss, Rebuilding, deliveries, weighted_crossentropy
from tests import contract
from tests.shown import maker, shown

MODULE = "snippets.training.custom_loss"
PAIR = tuple(np.random.default_rng(seed).normal(size=(8, 1)).astype("float32") for seed in (0, 1))
BINARY = ((PAIR[0] > 0).astype("float32"), PAIR[1])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def interval() -> keras.Model:
    inputs = keras.Input((3,))
    return Interval(inputs, {name: keras.layers.Dense(1)(inputs) for name in ("low", "high")})


def intervals() -> tuple:
    x, y = rng().normal(size=(32, 3)).astype("float32"), rng().normal(size=(32, 1)).astype("float32")
    return x, {"low": y, "high": y}


LOSSES = {"low": QuantileLoss(0.1), "high": QuantileLoss(0.9)}
LAYERS = {"Rebuilding": contract.Layer(lambda **kw: Rebuilding(3, rate=0.5, **kw), inputs=[(4,), (None, 4), (2, 5, 4)])}
MODELS = {
    "Interval": contract.Model(
        interval,
        intervals,
        compile={"optimizer": "adam", "loss": LOSSES},
        leave_out={"config_is_complete": "Its inputs and outputs are its graph, which the config holds."},
    )
}
OTHERS = {
    "QuantileLoss": contract.Other(lambda **kw: QuantileLoss(0.9, **kw), PAIR),
    "weighted_crossentropy": contract.Other(weighted_crossentropy, BINARY),
}
CAUGHT = {
    "Unaligned": contract.Wrong(
        maker(
            "Unaligned",
            MODULE,
            "ranks",
            far=np.ones((100, 1)),
            hours=np.ones((100, 1)),
            model=ops.ones_like,
            arguments=(0.9,),
        ),
        PAIR,
        "loss_shapes",
    ),
    "OneNumber": contract.Wrong(maker("OneNumber", MODULE, "scalar", arguments=(0.5,)), PAIR, "loss_per_sample"),
    "Forgetful": contract.Wrong(
        shown(MODULE, "forgetful", far=np.ones((8, 1)), hours=np.zeros((8, 1)))["Forgetful"], PAIR, "config_is_complete"
    ),
    "from_sigmoid": contract.Wrong(lambda: shown(MODULE, "logits")["from_sigmoid"], BINARY, "loss_gradients"),
}
NUMBER = r"-?\d+(?:\.\d+)?|inf|nan"


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    return [[float(number) for number in re.findall(NUMBER, line.split(":", 1)[1])] for line in printed.splitlines()]


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract_of_a_layer(case, check):
    check(case)


@pytest.mark.parametrize("check", [contract.passes_the_checkup, contract.fit_lowers_the_loss])
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_contract_of_a_model(case, check):
    check(case)


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_losses_pass_the_checkup(case):
    contract.passes_the_checkup(case)


@pytest.mark.parametrize("name", ["Unaligned", "OneNumber", "Forgetful"])
def test_a_wrong_form_is_caught(name):
    contract.is_caught(CAUGHT[name])


@pytest.mark.proves("it tries shapes, weights, gradients, 16 bits and the config.")
def test_what_the_checkup_tries():
    report = checkup.checkup(QuantileLoss, PAIR, quantile=0.9)
    tried = {"loss_shapes", "loss_per_sample", "loss_gradients", "loss_in_16_bits", "config_is_complete"}
    assert tried <= set(report.passed)


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "It is `quantile * error` for a target above the prediction, and `(quantile - 1) * error` for one below "
    '(Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978).',
    "one value for each sample",
)
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(6, 3), (6, 1), (6, 4, 2), (1, 1)])
def test_quantile_loss_against_numpy(quantile, shape):
    y_true, y_pred = rng().normal(size=(2, *shape))
    error = y_true - y_pred
    expected = np.where(error > 0, quantile * error, (quantile - 1) * error).mean(axis=-1)
    loss = QuantileLoss(quantile, reduction=None)
    assert loss(y_true, y_pred).shape == shape[:-1]
    np.testing.assert_allclose(loss(y_true, y_pred), expected, rtol=1e-5)
    np.testing.assert_allclose(QuantileLoss(quantile)(y_true, y_pred), expected.mean(), rtol=1e-5)
    shapes.check_docstring(QuantileLoss, [y_true, y_pred], loss(y_true, y_pred), layer=loss)


def test_half_of_the_median_loss_is_the_absolute_error():
    y_true, y_pred = rng().normal(size=(2, 6, 3))
    np.testing.assert_allclose(
        2 * QuantileLoss(0.5)(y_true, y_pred), keras.losses.MeanAbsoluteError()(y_true, y_pred), rtol=1e-5
    )


@pytest.mark.proves("Pinball loss: least where a share `quantile` of the targets lie below.")
@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_the_loss_is_least_at_the_quantile(quantile):
    y = rng().normal(size=(2000, 1))
    candidates = np.linspace(-3, 3, 301)
    losses = QuantileLoss(quantile, reduction=None)(np.repeat(y.T, 301, 0), np.repeat(candidates[:, None], 2000, 1))
    assert candidates[np.argmin(losses)] == pytest.approx(np.quantile(y, quantile), abs=0.03)


@pytest.mark.proves(
    "Trained with `mse`, a model predicts the mean. A promise to a customer needs a quantile: "
    "the time that nine deliveries of ten don't exceed. The pinball loss, or quantile loss, predicts it:",
    "The baseline without a custom loss is the predicted mean plus a margin. "
    "The margin is chosen so that nine of ten training deliveries are in time:",
    "With the margin, about nine of ten unseen deliveries are in time: more for near customers, "
    "and fewer for far ones. The quantile loss comes within 0.03 of 0.9 for both.",
    "Distances, and the hours it took: the farther, the less sure.",
)
def test_the_quantile_loss_keeps_the_promise_near_and_far(seed):
    page = shown(MODULE, "program", "coverage", seed=seed)
    program, rest = page.printed.split("mse:")
    assert figures(program.splitlines()[0])[0][0] == pytest.approx(0.9, abs=0.03)
    assert program.endswith("quantile in the file: 0.9\nsame predictions: True\n")
    _mse, margin, quantile = figures(f"mse:{rest}")
    far, hours, unseen, took = (page[name] for name in ("far", "hours", "unseen", "took"))
    exact = (10 + 20 * unseen + 2 * (1 + 6 * unseen)) / 60  # the mean of the gamma distribution is 2 * its scale
    np.testing.assert_allclose(page["mean"](unseen), exact, atol=0.03)
    assert np.mean(hours <= page["mean"].predict(far, verbose=0) + page["margin"]) == pytest.approx(0.9, abs=0.001)
    assert margin[0] == pytest.approx(0.9, abs=0.02)
    assert margin[1] > 0.93
    assert margin[2] < 0.87
    assert quantile == pytest.approx([0.9, 0.9, 0.9], abs=0.03)
    unsure = took - exact
    assert unsure[unseen > 0.5].std() > 1.5 * unsure[unseen < 0.5].std()
    assert page["deliveries"](10)[1].shape == deliveries(10)[0].shape == (10, 1)


def test_the_losses_train_compiled_by_xla_and_eagerly():
    x = rng().normal(size=(64, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("float32")
    for loss in (QuantileLoss(0.9), weighted_crossentropy):
        losses = []
        for options in ({"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}):
            keras.utils.set_random_seed(1)
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile(optimizer="adam", loss=loss, **options)
            losses.append(model.fit(x, y, epochs=2, shuffle=False, verbose=0).history["loss"])
        np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-4)


# --- one value for each sample ----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Keras multiplies it by `sample_weight`, leaves out what the mask of `y_pred` calls padding, and reduces the rest "
    "as `reduction` says:",
    "The default, `sum_over_batch_size`, divides by the number of samples, whatever their weights are. "
    "`mean_with_sample_weight` divides by the sum of the weights.",
)
@pytest.mark.parametrize("loss", [QuantileLoss, lambda q, **kw: keras.losses.MeanAbsoluteError(**kw)])
def test_how_weights_are_reduced(loss):
    y_true, y_pred = rng().normal(size=(2, 6, 3))
    weight, each = rng().uniform(0, 3, size=6), np.asarray(loss(0.3, reduction=None)(y_true, y_pred))
    expected = {
        None: weight * each,
        "sum": np.sum(weight * each),
        "sum_over_batch_size": np.sum(weight * each) / 6,
        "mean_with_sample_weight": np.sum(weight * each) / weight.sum(),
    }
    for reduction, value in expected.items():
        found = loss(0.3, reduction=reduction)(y_true, y_pred, sample_weight=weight)
        np.testing.assert_allclose(found, value, rtol=1e-5)
    assert loss(0.3).reduction == "sum_over_batch_size"
    printed = shown(MODULE, "weights").printed
    assert figures(printed)[1:] == [[10, 3], [2.5, 0.75], [2.5, 1]]


def masked_model(loss, *, mask=True, steps=3) -> keras.Model:
    """Predicts its input."""
    inputs = keras.Input((steps, 1))
    outputs = keras.layers.Masking()(inputs) if mask else inputs
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(outputs))
    model.compile(loss=loss)
    return model


SEQUENCES = np.array([[[1.0], [0.0], [0.0]], [[2.0], [3.0], [0.0]]])  # its zeros are padding


@pytest.mark.proves("leaves out what the mask of `y_pred` calls padding")
@pytest.mark.parametrize("padding", [0.0, 50.0, -1e6])
def test_padding_is_left_out_of_the_loss_in_a_model(padding):
    targets = np.where(SEQUENCES == 0, padding, 0.0)
    found = masked_model(QuantileLoss(0.5)).evaluate(SEQUENCES, targets, verbose=0)
    assert found == pytest.approx(0.5 * (1 + 2 + 3) / 3)


NONE = (
    "Don't give `fit` a loss with `None`: it trains on the sum, reports the mean, and raises beside a regularizer or "
    "`add_loss`."
)


@pytest.mark.proves(NONE)
@pytest.mark.parametrize(
    "layer", [lambda: keras.layers.Dense(1, kernel_regularizer="l2"), lambda: Rebuilding(1)], ids=["penalty", "added"]
)
def test_without_a_reduction_nothing_can_be_added(layer):
    model = keras.Sequential([keras.Input((2,)), layer()])
    model.compile(loss=QuantileLoss(0.5, reduction=None))
    with pytest.raises(ValueError, match="Shapes must be equal rank"):
        model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)


@pytest.mark.proves(NONE)
@pytest.mark.parametrize("batch_size", [8, 5])
def test_what_fit_does_without_a_reduction(batch_size):
    def run(reduction):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss=keras.losses.MeanSquaredError(reduction=reduction))
        x = np.linspace(0.5, 1.5, 8)[:, None]
        first = model.evaluate(x, 0 * x, batch_size=batch_size, verbose=0)
        model.fit(x, 0 * x, batch_size=batch_size, shuffle=False, verbose=0)
        return first, model.layers[0].kernel.numpy()

    (mean, _), (_, after_sum) = run("sum_over_batch_size"), run("sum")
    reported, after = run(None)
    assert reported == pytest.approx(mean, rel=1e-4)
    np.testing.assert_allclose(after, after_sum, rtol=1e-5)


@pytest.mark.proves(
    "With the default reduction, Keras multiplies the number by the mean of the weights outside padding, and a mask "
    "alone changes nothing. No sample and no padding is left out, and nothing is raised:",
    "Both losses should be 0: what is wrong has weight 0, or is padding.",
)
def test_one_number_for_the_batch_hears_no_weight_and_no_mask():
    page = shown(MODULE, "scalar")
    one, right = figures(page.printed)
    assert right == [0, 0]
    assert min(one) > 1
    loss = page["OneNumber"](0.3)
    y_true, y_pred = rng().normal(size=(2, 6, 3))
    weight = rng().uniform(0, 3, size=6)
    plain = float(loss(y_true, y_pred))
    assert float(loss(y_true, y_pred, sample_weight=weight)) == pytest.approx(plain * weight.mean(), rel=1e-5)
    targets = rng().normal(size=SEQUENCES.shape)
    found = [masked_model(page["OneNumber"](0.5), mask=mask).evaluate(SEQUENCES, targets, verbose=0) for mask in (0, 1)]
    assert found[0] == pytest.approx(found[1])
    weights, padding = rng().uniform(0, 3, size=(2, 3)), SEQUENCES[..., 0] == 0
    for mask, counted in ((False, weights), (True, weights[~padding])):
        model = masked_model(page["OneNumber"](0.5), mask=mask)
        weighted = model.evaluate(SEQUENCES, targets, sample_weight=weights, verbose=0)
        assert weighted == pytest.approx(found[0] * counted.mean(), rel=1e-5)


@pytest.mark.proves(
    "For a loss of `(batch, time)`, give `sample_weight` as `(batch, 1)` or `(batch, time)`.",
    "Weights of `(batch,)` raise in a batch of several samples; with as many samples as steps, they silently weigh "
    "the steps.",
)
@pytest.mark.parametrize("mask", [True, False])
def test_sample_weights_of_sequences(mask):
    def evaluate(x, weight):
        return masked_model(QuantileLoss(0.5), mask=mask, steps=x.shape[1]).evaluate(
            x, 0 * x, sample_weight=weight, verbose=0
        )

    counted = 3 if mask else 6
    for weight in (np.array([[0.0], [1.0]]), np.array([[0.0] * 3, [1.0] * 3])):
        assert evaluate(SEQUENCES, weight) == pytest.approx(0.5 * (2 + 3) / counted)
    for jit_compile in (False, True):
        model = masked_model(QuantileLoss(0.5), mask=mask)
        model.compile(loss=QuantileLoss(0.5), jit_compile=jit_compile)
        with pytest.raises(tf.errors.InvalidArgumentError):
            model.evaluate(SEQUENCES, 0 * SEQUENCES, sample_weight=np.array([0.0, 1.0]), verbose=0)

    square = np.array([[1.0, 1, 1], [2, 2, 2], [4, 4, 4]])[..., None]
    assert evaluate(square, np.array([[1.0], [0], [0]])) == pytest.approx(0.5 * 3 / 9)
    assert evaluate(square, np.array([1.0, 0, 0])) == pytest.approx(0.5 * (1 + 2 + 4) / 9)
    assert evaluate(square[2:], np.array([0.5])) == pytest.approx(0.5 * 0.5 * 4)


@pytest.mark.proves(
    "With `mean_with_sample_weight`, give `(batch, time)`: from `(batch, 1)`, the loss without a mask is as many times "
    "too large as there are steps."
)
@pytest.mark.parametrize("steps", [3, 4])
def test_the_mean_of_weighted_sequences(steps):
    y_true, y_pred = rng().normal(size=(2, 5, steps, 2)).astype("float32")
    weight = rng().uniform(0, 3, size=(5, 1)).astype("float32")
    every = np.repeat(weight, steps, axis=1)
    each = np.abs(y_true - y_pred).mean(axis=-1)
    mean = {"reduction": "mean_with_sample_weight"}
    for loss, factor in ((QuantileLoss(0.5, **mean), 0.5), (keras.losses.MeanAbsoluteError(**mean), 1.0)):
        right = pytest.approx(factor * np.average(each, weights=every), rel=1e-4)
        assert float(loss(y_true, y_pred, sample_weight=every)) == right
        assert float(loss(y_true, y_pred, sample_weight=weight)) / steps == right
        assert float(loss(y_true, keras.layers.Masking()(y_pred), sample_weight=weight)) == right


# --- shapes and dtypes ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "If the targets have the shape `(batch,)` and the predictions `(batch, 1)`, this loss adds the missing axis. "
    "Keras adds it for the classes of its built-in losses, and for a function that is given to `compile`, but not for "
    "a subclass of `Loss` that overrides `call`. "
    "Without the axis, each target is silently compared with each prediction:",
)
def test_who_aligns_the_targets():
    """In `compile`: targets of (batch,), predictions of (batch, 1)."""
    unaligned = shown(MODULE, "ranks", far=np.ones((100, 1)), hours=np.ones((100, 1)), model=ops.ones_like)
    x, y = rng().normal(size=(2, 12, 1))

    def pinball(y_true, y_pred):
        return ops.mean(ops.maximum(0.9 * (y_true - y_pred), -0.1 * (y_true - y_pred)), axis=-1)

    each = y[None, :, 0] - x  # each target with each prediction
    every = np.maximum(0.9 * each, -0.1 * each).mean()
    own = np.maximum(0.9 * (y - x), -0.1 * (y - x)).mean()

    def reported(loss, targets):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(loss=loss)
        return model.evaluate(x, targets, verbose=0)

    found = {}
    for name, loss in {"ours": QuantileLoss(0.9), "function": pinball, "class": unaligned["Unaligned"](0.9)}.items():
        found[name] = [reported(loss, targets) for targets in (y, y[:, 0])]
    assert found["ours"] == found["function"] == pytest.approx([own, own], rel=1e-4)
    assert found["class"] == pytest.approx([own, every], rel=1e-4)
    x = y = np.abs(x) + 0.1
    for function in (keras.losses.poisson, keras.losses.hinge, keras.losses.kl_divergence):
        assert reported(function, y[:, 0]) == pytest.approx(reported(function, y))
        column, row = (np.mean(function(targets, x)) for targets in (y, y[:, 0]))
        assert abs(row - column) > 1e-3, "called by yourself, it isn't aligned"


@pytest.mark.proves("Keras adds it for the classes of its built-in losses")
@pytest.mark.parametrize(
    "name",
    [
        *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError"),
        *("Huber", "LogCosh", "Poisson", "Hinge", "SquaredHinge", "BinaryCrossentropy", "BinaryFocalCrossentropy"),
        "KLDivergence",
    ],
)
def test_built_in_losses_align_the_targets(name):
    y_true, y_pred = rng().uniform(0.1, 0.9, size=(2, 12, 1))
    loss = getattr(keras.losses, name)()
    assert float(loss(y_true[:, 0], y_pred)) == pytest.approx(float(loss(y_true, y_pred)))


@pytest.mark.proves("`assert_is_compatible_with` raises for targets that still have another shape,")
@pytest.mark.parametrize("targets", [(2, 6), (3, 4), (12,), (6,), (6, 1), (6, 2, 1), (6, 2, 2)])
def test_targets_that_do_not_fit_raise(targets):
    with pytest.raises(ValueError, match="incompatible"):
        QuantileLoss(0.9)(np.ones(targets), np.ones((6, 2)))


@pytest.mark.proves("if TensorFlow knows it when it traces; an unknown length of 1 silently broadcasts.")
def test_a_length_that_is_not_known_is_not_compared():
    random = rng()
    y_true, y_pred = (random.normal(size=(4, steps, 1)).astype("float32") for steps in (1, 3))

    def evaluate(run_eagerly):
        specs = (tf.TensorSpec((None, None, 1)),) * 2
        data = tf.data.Dataset.from_generator(lambda: iter([(y_pred, y_true)]), output_signature=specs)
        model = keras.Sequential([keras.Input((None, 1)), keras.layers.Identity()])
        model.compile(loss=QuantileLoss(0.5), run_eagerly=run_eagerly)
        return model.evaluate(data, steps=1, verbose=0)

    assert evaluate(run_eagerly=False) == pytest.approx(0.5 * np.abs(y_true - y_pred).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="incompatible"):
        evaluate(run_eagerly=True)
    model = keras.Sequential([keras.Input((3, 1)), keras.layers.Identity()])
    model.compile(loss=QuantileLoss(0.5))
    with pytest.raises(ValueError, match="incompatible"):
        model.fit(y_pred, y_true, verbose=0)


def test_targets_may_leave_out_an_axis_of_1():
    y_true, y_pred = rng().normal(size=(2, 6, 5, 1))
    whole = QuantileLoss(0.3)(y_true, y_pred)
    assert float(QuantileLoss(0.3)(y_true[..., 0], y_pred)) == pytest.approx(float(whole))

    @tf.function(input_signature=[tf.TensorSpec((None,)), tf.TensorSpec((None, 1))])
    def unknown(y_true, y_pred):
        return QuantileLoss(0.3)(y_true, y_pred)

    given = y_true[:, 0, 0].astype("float32"), y_pred[:, 0].astype("float32")
    assert float(unknown(*given)) == pytest.approx(float(QuantileLoss(0.3)(*given)))


@pytest.mark.proves(
    'In sequences with a mask, targets of `(batch, time)` raise in a function and in losses such as `"mse"`. With as '
    "many samples as steps, or one sample, padding silently counts. Give them `(batch, time, 1)`; "
    "`sparse_categorical_crossentropy` takes both."
)
def test_targets_of_masked_sequences():
    def absolute(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    whole, without = 0 * SEQUENCES, 0 * SEQUENCES[..., 0]
    for loss in (absolute, "mae", "mse", keras.losses.Huber()):
        assert masked_model(loss).evaluate(SEQUENCES, whole, verbose=0) > 0
        assert masked_model(loss, mask=False).evaluate(SEQUENCES, without, verbose=0) > 0
        with pytest.raises(tf.errors.InvalidArgumentError):
            masked_model(loss).evaluate(SEQUENCES, without, verbose=0)
    assert masked_model(QuantileLoss(0.5)).evaluate(SEQUENCES, without, verbose=0) == pytest.approx(1.0)

    for samples in (3, 1):
        x = np.tile([[[2.0], [2.0], [0.0]]], (samples, 1, 1))
        targets = np.where(x == 0, 100.0, 0.0)
        for loss in (absolute, "mae"):
            assert masked_model(loss).evaluate(x, targets, verbose=0) == pytest.approx(2)
            assert masked_model(loss).evaluate(x, targets[..., 0], verbose=0) == pytest.approx((2 + 2 + 100) / 3)

    for samples in (4, 3, 1):
        inputs = keras.Input((3, 5))
        model = keras.Model(inputs, keras.layers.Activation("softmax")(keras.layers.Masking()(inputs)))
        x, labels = rng().normal(size=(samples, 3, 5)), rng().integers(0, 5, (samples, 3, 1))
        x[:, 2] = 0
        shares = np.take_along_axis(np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True), labels, -1)[:, :2]
        for targets in (labels, labels[..., 0]):
            model.compile(loss="sparse_categorical_crossentropy")
            assert model.evaluate(x, targets, verbose=0) == pytest.approx(-np.log(shares).mean(), rel=1e-4)


@pytest.mark.proves(
    "Keras converts both tensors to the `dtype` of the loss, which is float32 for integer targets and under "
    "`mixed_float16` too."
)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("targets", ["int64", "bool", "float64", "float16"])
def test_the_dtypes_that_a_loss_meets(policy, targets):
    keras.config.set_dtype_policy(policy)
    met = set()

    def see(y_true, y_pred):
        met.update((y_true.dtype, y_pred.dtype))
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    class See(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return see(y_true, y_pred)

    for loss in (see, See()):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(loss=loss)
        model.fit(np.ones((8, 1)), np.ones((8, 1), targets), verbose=0)
    assert met == {tf.float32}
    See(dtype="float64")(np.ones((8, 1), targets), np.ones((8, 1)))
    assert met == {tf.float32, tf.float64}


@pytest.mark.proves("`tf` functions work in a loss as well as `keras.ops`.")
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("built", [False, True])
def test_tensorflow_functions_in_a_loss(jit_compile, built):
    def absolute(y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)

    class Absolute(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return absolute(y_true, y_pred)

    x, y = rng().normal(size=(2, 16, 1))
    found = []
    for loss in (absolute, Absolute(), "mae"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,))] * built + [keras.layers.Dense(1)])
        model.compile(loss=loss, jit_compile=jit_compile)
        found += model.fit(x, y, shuffle=False, verbose=0).history["loss"]
    assert found == pytest.approx([found[0]] * 3)


# --- a function, from logits ------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Binary cross-entropy of logits, in which a miss costs five times more.",
    "`y_pred` are the logits of a last layer without an activation. `softplus(-logit)` is `-log(sigmoid(logit))`, and "
    "stays finite where the sigmoid is rounded to 0 or 1:",
)
def test_the_weighted_crossentropy_is_the_formula_and_stays_finite():
    targets, logits = (rng().uniform(size=(6, 3)) > 0.5).astype("float64"), rng().normal(size=(6, 3))
    share = 1 / (1 + np.exp(-logits))
    expected = -(5 * targets * np.log(share) + (1 - targets) * np.log(1 - share)).mean(axis=-1)
    loss = weighted_crossentropy(ops.convert_to_tensor(targets), ops.convert_to_tensor(logits))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)

    page = shown(MODULE, "logits")
    assert [line[1] for line in figures(page.printed)] == [2.13, np.inf, np.inf]
    for target in (0.0, 1.0):
        for logit in (-1000.0, -30.0, 30.0, 1000.0):
            y, z = tf.fill((1, 1), target), tf.Variable([[logit]])
            with tf.GradientTape() as tape:
                loss = weighted_crossentropy(y, z)
            assert np.isfinite(loss).all()
            assert np.isfinite(tape.gradient(loss, z)).all()
            rounded = float(ops.sigmoid(z)[0, 0])
            if rounded in (0.0, 1.0):
                assert not np.isfinite(page["from_sigmoid"](y, z)).all()


@pytest.mark.proves(
    'Metrics see the logits too: `keras.metrics.BinaryAccuracy(threshold=0.0)`, not `"accuracy"`, which cuts at 0.5.'
)
def test_the_accuracy_of_logits_cuts_at_0():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(
        loss=weighted_crossentropy, metrics=["accuracy", keras.metrics.BinaryAccuracy(name="right", threshold=0.0)]
    )
    x = np.array([[-1.0], [0.2], [0.4], [3.0]])  # the logits
    found = model.evaluate(x, (x > 0).astype("float32"), verbose=0, return_dict=True)
    assert (found["accuracy"], found["right"]) == (0.5, 1.0)


@pytest.mark.proves("Without arguments, a function is enough. It takes `y_true` and `y_pred` and returns one value for")
def test_weights_and_masks_reach_a_function():
    def absolute(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    targets = np.where(SEQUENCES == 0, 50.0, 0.0)
    assert masked_model(absolute).evaluate(SEQUENCES, targets, verbose=0) == pytest.approx(2.0)
    weight = np.array([[0.0], [1.0]])
    found = masked_model(absolute).evaluate(SEQUENCES, targets, sample_weight=weight, verbose=0)
    assert found == pytest.approx((2 + 3) / 3)


# --- more than y_true and y_pred --------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A weight that you can compute beforehand is a `sample_weight`. A number for each sample, such as its price, is "
    "another column of `y_true`. Two outputs that one formula needs, such as a mean and a variance, are two columns of "
    "one `y_pred`."
)
def test_columns_carry_more():
    def priced(y_true, y_pred):  # y_true: value and price
        return y_true[:, 1] * ops.abs(y_true[:, 0] - y_pred[:, 0])

    def normal(y_true, y_pred):  # y_pred: mean and logarithm of the variance
        error = ops.square(y_true[:, 0] - y_pred[:, 0])
        return 0.5 * (y_pred[:, 1] + error * ops.exp(-y_pred[:, 1]))

    x, y, price = rng().normal(size=(400, 1)), rng().normal(3.0, 2.0, size=(400, 1)), rng().uniform(1, 9, size=(400, 1))

    def made(units, loss):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(units, kernel_initializer="zeros")])
        model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)
        return model

    by_column = made(1, priced).evaluate(x, np.concatenate([y, price], axis=-1), verbose=0)
    by_weight = made(1, "mae").evaluate(x, y, sample_weight=price[:, 0], verbose=0)
    assert by_column == pytest.approx(by_weight, rel=1e-5) == np.mean(price * np.abs(y))
    model = made(2, normal)
    model.fit(0 * x, y, epochs=60, verbose=0)
    mean, variance = model.predict(x[:1] * 0, verbose=0)[0]
    assert mean == pytest.approx(y.mean(), abs=0.2)
    assert np.exp(variance) == pytest.approx(y.var(), rel=0.2)


@pytest.mark.proves(
    "A layer sees its input, its weights and its activity. `add_loss` adds a scalar to the loss that is trained. "
    "Here the features have to hold what rebuilds the input:",
    "Adds `rate` times the mean squared error of what is rebuilt.",
)
def test_rebuilding_adds_the_error_and_learns_from_it():
    layer, x = Rebuilding(3, rate=0.25), rng().normal(size=(5, 7, 4)).astype("float32")
    features = layer(x)
    np.testing.assert_allclose(features, x @ layer.encode.kernel + layer.encode.bias, rtol=1e-4, atol=1e-5)
    rebuilt = features @ layer.decode.kernel.value + layer.decode.bias
    assert len(layer.losses) == 1
    assert float(layer.losses[0]) == pytest.approx(0.25 * np.mean((rebuilt - x) ** 2), rel=1e-4)
    assert Rebuilding(3).rate == 1.0

    x = rng().normal(size=(200, 2)) @ rng().normal(size=(2, 6))  # two features hold it
    model = keras.Sequential([Rebuilding(2), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
    losses = model.fit(x, np.zeros(200), sample_weight=np.zeros(200), epochs=60, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 10


@pytest.mark.proves("`fit` and `evaluate` include what is added, and no `sample_weight` reaches it.")
def test_what_is_added_is_reported_and_not_weighted():
    loss, added = figures(shown(MODULE, "added").printed.replace("loss ", "loss: ", 1))
    assert loss[0] == pytest.approx(loss[1] + loss[2], abs=0.0015)
    assert added[-1] == loss[2]
    x, y = rng().normal(size=(60, 6)), rng().normal(size=(60, 1))
    model = keras.Sequential([keras.Input((6,)), Rebuilding(3), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    model(x)
    mean_added = float(model.losses[0])
    for weight in (np.zeros(60), np.r_[np.ones(30), np.zeros(30)]):
        whole = np.mean(weight[:, None] * (y - model.predict(x, verbose=0)) ** 2) + mean_added
        options = {"sample_weight": weight, "batch_size": 20, "verbose": 0}
        assert model.evaluate(x, y, **options) == pytest.approx(whole, rel=1e-4)
        assert model.fit(x, y, **options).history["loss"][0] == pytest.approx(whole, rel=1e-4)


@pytest.mark.proves(
    "A training loop of your own adds it itself: `loss + tf.add_n(model.losses)`, after the call whose losses it means."
)
def test_an_own_loop_with_the_added_losses_is_fit():
    x, y = rng().normal(size=(2, 32, 1)).astype("float32")
    kernels = []
    for fitted in (True, False):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,)), Rebuilding(3), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        if fitted:
            model.fit(x, y, shuffle=False, verbose=0)
        else:
            with tf.GradientTape() as tape:
                predicted = model(x, training=True)
                loss = tf.reduce_mean(tf.square(predicted - y)) + tf.add_n(model.losses)
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            model(0 * x)
            assert float(model.losses[0]) < 0.1 * float(loss)
        kernels.append(model.get_weights())
    contract.assert_same(*kernels)


@pytest.mark.proves("A loss in `compile` sees one output at a time.")
@pytest.mark.parametrize("outputs", [dict, list])
def test_one_loss_is_called_with_each_output_alone(outputs):
    met = []

    def see(y_true, y_pred):
        met.append(isinstance(y_pred, tf.Tensor))
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    inputs = keras.Input((1,))
    heads = {name: keras.layers.Dense(1)(inputs) for name in ("a", "b")}
    x = np.ones((8, 1))
    model = keras.Model(inputs, heads if outputs is dict else list(heads.values()))
    model.compile(loss=see)
    model.fit(x, {"a": x, "b": x} if outputs is dict else [x, x], verbose=0)
    assert met
    assert all(met)


@pytest.mark.proves(
    "`compute_loss` of a model gets the input and all outputs, and `fit` and `evaluate` call it:",
    "`low` predicts 1 and `high` predicts 0, so that 10 is added to the losses of the outputs.",
    "The call of `super()` keeps those, `sample_weight`, `add_loss` and the regularizers.",
    "A model with the outputs `low` and `high`: low > high costs extra.",
)
def test_compute_loss_adds_to_everything_else():
    printed = dict(line.split(": ") for line in shown(MODULE, "two_outputs").printed.splitlines())
    assert printed == {"high_loss": "0.0", "loss": "10.9", "low_loss": "0.9"}
    met = []

    class Sees(Interval):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            met.append((x.shape, set(y), set(y_pred), training))
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    x, y = rng().normal(size=(32, 3)).astype("float32"), rng().normal(size=(32, 1)).astype("float32")
    weight = rng().uniform(size=32).astype("float32")
    inputs = keras.Input((3,))
    features = Rebuilding(2)(inputs)
    heads = {name: keras.layers.Dense(1, kernel_regularizer="l2")(features) for name in ("low", "high")}
    found, models = [], (keras.Model(inputs, heads), Sees(inputs, heads))
    for model in models:
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=LOSSES)
        data = (x, {"low": y, "high": y})
        weights = {"low": weight, "high": weight}
        found.append(model.evaluate(*data, sample_weight=weights, verbose=0, return_dict=True)["loss"])
        fitted = model.fit(*data, sample_weight=weights, verbose=0, batch_size=32).history["loss"][0]
        assert fitted == pytest.approx(found[-1], rel=1e-4)
    predicted = models[1].predict(x, verbose=0)
    crossing = np.maximum(predicted["low"] - predicted["high"], 0).mean()
    assert crossing > 0
    assert found[1] - found[0] == pytest.approx(10 * crossing, rel=1e-3)
    assert {one[3] for one in met} == {True, False}
    assert {(one[0][-1], *sorted(one[1]), *sorted(one[2])) for one in met} == {(3, "high", "low", "high", "low")}


def load_interval(path: Path) -> tuple:
    """Runs in the new process."""
    importlib.import_module(MODULE)
    model = keras.saving.load_model(path)
    return type(model).__name__, model.evaluate(*intervals(), verbose=0)


def test_a_model_with_compute_loss_comes_back(tmp_path, fresh_process):
    model = interval()
    model.compile(loss=LOSSES)
    model.fit(*intervals(), verbose=0)
    model.save(tmp_path / "model.keras")
    name, found = fresh_process.submit(load_interval, tmp_path / "model.keras").result()
    assert name == "Interval"
    assert found == pytest.approx(model.evaluate(*intervals(), verbose=0))


# --- saving -----------------------------------------------------------------------------------------------------------


def saved(loss, path: Path) -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss=loss)
    model.fit(np.ones((8, 1)), np.zeros((8, 1)), verbose=0)
    model.save(path)
    return model


@pytest.mark.proves(
    "A class comes back with what `get_config` records, and of a loss Keras records by itself only `name` and "
    "`reduction`. A forgotten argument with a default silently comes back as the default:"
)
def test_what_a_file_holds_of_a_loss(tmp_path, recwarn):
    assert set(keras.losses.Loss().get_config()) == {"name", "reduction"}
    page = shown(MODULE, "forgetful", far=np.ones((8, 1)), hours=np.zeros((8, 1)))
    assert page.printed == "Forgetful: 0.9 saved, 0.5 loaded\nQuantileLoss: 0.9 saved, 0.9 loaded"
    assert not [one for one in recwarn if not issubclass(one.category, DeprecationWarning)]
    saved(QuantileLoss(0.75, name="late", reduction="sum"), tmp_path / "model.keras")
    loss = keras.saving.load_model(tmp_path / "model.keras").loss
    assert (loss.quantile, loss.name, loss.reduction) == (0.75, "late", "sum")


@pytest.mark.proves("The `dtype` of a loss isn't recorded even with `get_config`, as for the built-in losses.")
@pytest.mark.parametrize("loss", [QuantileLoss(0.7, dtype="float64"), keras.losses.MeanSquaredError(dtype="float64")])
def test_the_dtype_of_a_loss_does_not_come_back(loss):
    assert loss.dtype == "float64"
    assert type(loss).from_config(loss.get_config()).dtype == "float32"


def times(factor):
    def scaled(y_true, y_pred):
        return factor * ops.mean(ops.square(y_true - y_pred), axis=-1)

    return scaled


@pytest.mark.proves(
    'Register functions as well as classes, or pass them: `custom_objects={"name": function}`.',
    "A function inside a function loses what it was made with: its file holds its name only.",
    "A `lambda` is saved with a warning and refused on loading. `functools.partial` isn't saved.",
    "`load_model(path, compile=False)` needs no loss. It predicts, and can be compiled anew.",
)
def test_functions_in_a_file(tmp_path):
    path, x, y = tmp_path / "model.keras", np.ones((8, 1)), np.zeros((8, 1))
    saved(weighted_crossentropy, path)
    assert keras.saving.load_model(path).loss is weighted_crossentropy

    model = saved(times(3.0), path)
    with pytest.raises(TypeError, match="Could not locate function 'scaled'"):
        keras.saving.load_model(path)
    reloaded = keras.saving.load_model(path, custom_objects={"scaled": times(1.0)})
    assert model.evaluate(x, y, verbose=0) == pytest.approx(3 * reloaded.evaluate(x, y, verbose=0))

    bare = keras.saving.load_model(path, compile=False)
    np.testing.assert_allclose(bare.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="must call `compile\\(\\)`"):
        bare.evaluate(x, y, verbose=0)
    bare.compile(loss=times(3.0))
    assert bare.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))

    with pytest.warns(UserWarning, match="lambda"):
        saved(lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), axis=-1), path)
    with pytest.raises(ValueError, match="lambda"):
        keras.saving.load_model(path)
    with pytest.raises(TypeError, match=r"Cannot serialize object functools\.partial"):
        saved(functools.partial(weighted_crossentropy), path)


# --- you may have seen, and what goes wrong ---------------------------------------------------------------------------


@pytest.mark.proves(
    "`tf.keras.losses.Reduction.AUTO` | `Invalid value for argument` | leave `reduction` out",
    "`keras.losses.Reduction.NONE` | `has no attribute 'Reduction'` | `reduction=None`",
    "`model.add_loss(tensor)`, functional model | `NotImplementedError`, without a message | `add_loss` in a layer",
    "`model.add_loss(tensor)`, other models | `can only be called from inside`; `fit` silently drops an eager "
    "tensor | `add_loss` in a layer",
    "a loss that takes `sample_weight` | `missing 1 required positional argument` | one value for each sample",
)
def test_forms_of_former_releases():
    with pytest.raises(ValueError, match="Invalid value for argument `reduction`"):
        QuantileLoss(0.9, reduction=tf.keras.losses.Reduction.AUTO)
    with pytest.raises(AttributeError, match="has no attribute 'Reduction'"):
        keras.losses.Reduction  # noqa: B018
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="can only be called from inside"):
        model.add_loss(ops.sum(model.outputs[0]))
    functional = keras.Model(model.inputs, model.outputs)
    for tensor in (ops.sum(model.outputs[0]), ops.ones(())):
        with pytest.raises(NotImplementedError, match=r"^$"):
            functional.add_loss(tensor)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_initializer="zeros")

        def call(self, inputs):
            return self.dense(inputs)

    zeros = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    for other in (zeros, Own()):
        with pytest.raises(ValueError, match="can only be called from inside"):
            other.add_loss(ops.sum(model.outputs[0]))
        other.compile(loss="mse")
        other.add_loss(ops.full((), 7.0))
        assert other.fit(np.ones((8, 1)), np.zeros((8, 1)), verbose=0).history["loss"] == [0]
        other.add_loss(ops.full((), 7.0))
        assert other.evaluate(np.ones((8, 1)), np.zeros((8, 1)), verbose=0) == 0

    def weighted(y_true, y_pred, sample_weight):
        return sample_weight * y_pred

    model.compile(loss=weighted)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        model.fit(np.ones((8, 1)), np.ones((8, 1)), sample_weight=np.ones(8), verbose=0)


@pytest.mark.proves(
    "`No gradients provided for any variable`: a comparison, `round` or `argmax` of the predictions has no gradient. "
    "An accuracy can be a metric, not a loss."
)
@pytest.mark.parametrize("step", [lambda p: p > 0.5, ops.round, lambda p: ops.argmax(p, axis=-1)[:, None]])
def test_a_loss_without_a_gradient(step):
    def loss(y_true, y_pred):
        return ops.mean(ops.abs(y_true - ops.cast(step(y_pred), "float32")), axis=-1)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    model.compile(loss=loss)
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        model.fit(np.ones((8, 1)), np.ones((8, 2)), verbose=0)
    model.compile(metrics=[loss])
    assert "loss" in model.evaluate(np.ones((8, 1)), np.ones((8, 2)), verbose=0, return_dict=True)


def test_if_on_a_tensor_is_as_in_the_errors():
    def loss(y_true, y_pred):
        return ops.mean(y_pred if y_pred[0, 0] > 0 else y_true, axis=-1)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss=loss)
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match="Python `bool`"):
        model.fit(np.ones((8, 1)), np.ones((8, 1)), verbose=0)


# --- look for a built-in one first --------------------------------------------------------------------------------


@pytest.mark.proves(
    "Look for a built-in one first: `Huber` for outliers, `BinaryFocalCrossentropy` and `CategoricalFocalCrossentropy` "
    "for many easy samples, `Dice` and `Tversky` for masks, `CTC` for sequences that aren't aligned."
)
def test_what_the_built_in_losses_are_for():
    def of(loss, y_true, y_pred) -> float:
        return float(loss(np.array(y_true, "float32"), np.array(y_pred, "float32")))

    huber = keras.losses.Huber()
    assert of(huber, [[0.0]], [[1001.0]]) - of(huber, [[0.0]], [[1000.0]]) == pytest.approx(1.0, rel=1e-3)

    for plain, focal in (
        (keras.losses.BinaryCrossentropy(), keras.losses.BinaryFocalCrossentropy()),
        (keras.losses.CategoricalCrossentropy(), keras.losses.CategoricalFocalCrossentropy(alpha=1.0)),
    ):
        easy, hard = ([[1.0, 0.0]], [[0.9, 0.1]]), ([[1.0, 0.0]], [[0.3, 0.7]])
        assert of(focal, *hard) / of(focal, *easy) > 10 * of(plain, *hard) / of(plain, *easy)

    mask = np.zeros((2, 4, 4, 1))
    mask[:, 1:3, 1:3] = 1
    for loss in (keras.losses.Dice(), keras.losses.Tversky()):
        assert of(loss, mask, mask) == pytest.approx(0, abs=1e-5)
        assert of(loss, mask, 1 - mask) == pytest.approx(1, abs=1e-5)

    logits = np.full((1, 6, 3), -9.0)
    logits[0, range(6), [1, 0, 0, 2, 2, 0]] = 9.0  # 1, blank, blank, 2, 2, blank: the sequence 1 2
    assert of(keras.losses.CTC(), [[1, 2]], logits) < 0.01 < 5 < of(keras.losses.CTC(), [[2, 1]], logits)


@pytest.mark.proves("`BinaryCrossentropy`, `CategoricalCrossentropy` and their focal forms take `label_smoothing=`.")
@pytest.mark.parametrize("form", ["Crossentropy", "FocalCrossentropy"])
@pytest.mark.parametrize("kind", ["Binary", "Categorical"])
def test_label_smoothing(kind, form):
    name = kind + form
    sure, smooth = (getattr(keras.losses, name)(label_smoothing=share) for share in (0.0, 0.2))
    y, p = np.array([[1.0, 0.0]]), np.array([[0.99, 0.01]])
    assert float(smooth(y, p)) > 5 * float(sure(y, p))
    for other in ("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"):
        with pytest.raises(TypeError, match="label_smoothing"):
            getattr(keras.losses, other)(label_smoothing=0.2)
