"""`docs/training/custom_metric.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import checkup
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.custom_metric import BalancedAccuracy, ErrorQuantile, LargestExcess, ReportsNear
from tests import contract
from tests.shown import maker, shown

MODULE = "snippets.training.custom_metric"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def near() -> keras.Model:
    inputs = keras.Input((3,))
    return ReportsNear(inputs, keras.layers.Dense(1)(inputs))


def normal() -> tuple:
    return rng().uniform(size=(32, 3)).astype("float32"), rng().normal(size=(32, 1)).astype("float32")


PAIR = tuple(np.random.default_rng(seed).normal(size=(9, 1)).astype("float32") for seed in (0, 1))
CLASSES = (rng().integers(0, 3, 9), rng().normal(size=(9, 3)).astype("float32"))
BELOW = (PAIR[0] + 5, PAIR[1])
METRICS = {
    "BalancedAccuracy": contract.Other(lambda **kw: BalancedAccuracy(3, **kw), CLASSES),
    "LargestExcess": contract.Other(LargestExcess, PAIR),
    "LargestExcess below": contract.Other(LargestExcess, BELOW),
    "ErrorQuantile": contract.Other(lambda **kw: ErrorQuantile(0.5, 4.0, **kw), PAIR),
}
MODELS = {
    "ReportsNear": contract.Model(
        near,
        normal,
        compile={"optimizer": "adam", "loss": "mse"},
        leave_out={"config_is_complete": "Its inputs and outputs are its graph, which the config holds."},
    )
}
CAUGHT = {
    "StartsAtZero": contract.Wrong(maker("StartsAtZero", MODULE, "reset"), BELOW, "metric_resets"),
    "TruePositives": contract.Wrong(lambda: true_positives()["TruePositives"](), CLASSES, "metric_over_batches"),
}
NUMBER = r"-?\d[\d,]*(?:\.\d+)?"


def true_positives():
    return shown(MODULE, "hits", labels=np.zeros(2000, int), x=None, model=Zeros())


class Zeros:
    def predict(self, _x, verbose=0):
        return np.zeros((2000, 3))


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    lines = [line.split(":", 1)[1] for line in printed.splitlines()]
    return [[float(number.replace(",", "")) for number in re.findall(NUMBER, line)] for line in lines]


def identity(shape=(1,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), keras.layers.Identity()])


def evaluated(model, x, y, **options) -> dict:
    return model.evaluate(x, y, verbose=0, return_dict=True, **options)


@pytest.mark.parametrize("case", METRICS.values(), ids=METRICS)
def test_metrics_pass_the_checkup(case):
    contract.passes_the_checkup(case)


@pytest.mark.parametrize("check", [contract.passes_the_checkup, contract.fit_lowers_the_loss])
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_contract_of_a_model(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.proves("it splits the data into batches, and tries weights, shapes, the reset and the config.")
def test_what_the_checkup_tries():
    report = checkup.checkup(ErrorQuantile, PAIR, quantile=0.5, upper=4.0)
    tried = {"metric_over_batches", "metric_weights", "metric_shapes", "metric_resets", "config_is_complete"}
    assert tried <= set(report.passed)


# --- the program ------------------------------------------------------------------------------------------------------


def balanced(labels, predicted, weights=None) -> float:
    weights = np.ones(len(labels)) if weights is None else weights
    right = predicted.argmax(-1) == labels
    return np.mean([np.average(right[labels == k], weights=weights[labels == k]) for k in np.unique(labels)])


@pytest.mark.proves(
    "Balanced accuracy averages the accuracies within the classes:",
    "The accuracy within each class, averaged over the classes that occurred.",
    "Targets are class indices, with or without a last axis of 1.",
)
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_balanced_accuracy_against_numpy(classes, dtype):
    labels, predicted = rng().integers(0, classes, 60), rng().normal(size=(60, classes))
    labels[labels == 1] = 0  # a class that doesn't occur
    weights = rng().uniform(size=60)
    for shape in ((60,), (60, 1)):
        for weight in (None, weights):
            metric = BalancedAccuracy(classes)
            for part in (slice(0, 7), slice(7, 40), slice(40, 60)):
                given = None if weight is None else weight[part]
                metric.update_state(labels.reshape(shape)[part].astype(dtype), predicted[part], sample_weight=given)
            assert float(metric.result()) == pytest.approx(balanced(labels, predicted, weight), rel=1e-5)
    assert float(BalancedAccuracy(classes).result()) == 0
    sequences = BalancedAccuracy(classes)
    sequences.update_state(labels.reshape(6, 10), predicted.reshape(6, 10, classes), weights.reshape(6, 10))
    assert float(sequences.result()) == pytest.approx(balanced(labels, predicted, weights), rel=1e-5)


@pytest.mark.proves(
    "Where nine samples of ten are of one class, always answering that class has an accuracy of 0.9, and is of no use.",
    "The balanced accuracy is at least 0.2 below the accuracy: the model finds far fewer of the two rare classes than "
    "of the common one. The reloaded model reports the same.",
)
def test_the_program_on_other_seeds(seed):
    page = shown(MODULE, "program", seed=seed)
    own, reloaded = map(ast.literal_eval, page.printed.splitlines())
    assert own == reloaded
    labels, predicted = page["labels"], page["model"].predict(page["x"], verbose=0)
    assert own["balanced_accuracy"] == pytest.approx(balanced(labels, predicted), abs=0.001)
    assert own["balanced_accuracy"] < own["accuracy"] - 0.2
    found = [np.mean(predicted[labels == k].argmax(-1) == k) for k in range(3)]
    assert max(found[1:]) < found[0] - 0.2
    assert np.mean(labels == 0) == pytest.approx(0.9, abs=0.03)
    assert balanced(labels, np.eye(3)[np.zeros(2000, int)]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_metrics_give_the_same_eagerly_and_under_xla(policy):
    keras.config.set_dtype_policy(policy)
    x = np.round(rng().normal(size=(50, 3)), 1)
    labels, y = rng().integers(0, 3, 50), np.zeros((50, 3))
    found = []
    for options in ({"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}):
        for targets, metrics in ((labels, [BalancedAccuracy(3)]), (y, [LargestExcess(), ErrorQuantile(0.7, 3.0)])):
            model = identity((3,))
            loss = "mse" if targets is y else "sparse_categorical_crossentropy"
            model.compile(loss=loss, metrics=metrics, **options)
            one = evaluated(model, x, targets, batch_size=16)
            found.append({name: value for name, value in one.items() if name != "loss"})
    assert found[:2] == found[2:4] == found[4:]
    assert found[1]["largest_excess"] == pytest.approx(x.max(), rel=0.01)


# --- sums -------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Keras averages it over the batches, each counted the same, and what is reported depends on the batch size:",
    "Even a mean is wrong as one number for the batch, if the last batch is smaller. A function is right if it returns "
    "one value for each sample, `ops.mean(…, axis=-1)`.",
    "Write a function when it is a mean over samples",
)
def test_functions_are_averaged_over_batches():
    page = shown(MODULE, "batches")
    lines = [dict(zip(*[iter(line.split(":")[1].split())] * 2, strict=True)) for line in page.printed.splitlines()]
    for name in ("Precision", "MeanAbsoluteError"):
        assert len({line[name] for line in lines}) == 1
    assert len({line["precision"] for line in lines}) == 3
    assert [line["mean_error"] == line["MeanAbsoluteError"] for line in lines] == [True, False, True]

    def each(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    x, model = np.arange(10.0)[:, None], identity()
    model.compile(loss="mse", metrics=[each, page["mean_error"]])
    for batch_size, batches in ((4, [x[:4], x[4:8], x[8:]]), (3, [x[:3], x[3:6], x[6:9], x[9:]]), (10, [x])):
        found = evaluated(model, x, 0 * x, batch_size=batch_size)
        assert found["each"] == pytest.approx(4.5)
        assert found["mean_error"] == pytest.approx(np.mean([batch.mean() for batch in batches]))


@pytest.mark.proves(
    "R² | the sums of 1, `y`, `y²` and the squared errors | from the four sums, for `y` with a mean near 0",
    "Precision, recall, F-score | hits, predicted, actual | ratios of the sums",
    "Look for a built-in one first: `Precision`, `F1Score` and `AUC` give the same for batches of any size.",
)
def test_what_the_sums_give():
    y, p = rng().normal(size=(2, 50, 1))
    built = keras.metrics.R2Score()
    for part in (slice(0, 7), slice(7, 50)):
        built.update_state(y[part], p[part])
    n, total, squares, errors = 50, y.sum(), (y**2).sum(), ((y - p) ** 2).sum()
    assert float(built.result()) == pytest.approx(1 - errors / (squares - total**2 / n), rel=1e-4)

    true, said = (y > 0).astype("float32"), (p > 0).astype("float32")
    hits, predicted, actual = (true * said).sum(), said.sum(), true.sum()
    expected = [(keras.metrics.Precision, hits / predicted), (keras.metrics.Recall, hits / actual)]
    expected += [(lambda: keras.metrics.F1Score(threshold=0.5), 2 * hits / (predicted + actual))]
    for make, value in expected:
        metric = make()
        for part in (slice(0, 7), slice(7, 50)):
            metric.update_state(true[part], said[part])
        assert float(np.squeeze(metric.result())) == pytest.approx(value, rel=1e-5)
    whole, parts = keras.metrics.AUC(), keras.metrics.AUC()
    whole.update_state(true, 1 / (1 + np.exp(-p)))
    for part in (slice(0, 7), slice(7, 50)):
        parts.update_state(true[part], 1 / (1 + np.exp(-p[part])))
    assert float(whole.result()) == pytest.approx(float(parts.result()))


@pytest.mark.proves(
    "`R2Score` does too if the mean of the targets isn't large beside their spread: subtract it from both first.",
    "from the four sums, for `y` with a mean near 0",
)
def test_r2_far_from_0_depends_on_the_batches():
    noise, error = rng().normal(size=(2, 2000, 1))

    def found(mean, shift=0.0):
        y, scores = mean + noise - shift, []
        for parts in (1, 50):
            metric = keras.metrics.R2Score()
            for target, predicted in zip(np.split(y, parts), np.split(y + error / 2, parts), strict=True):
                metric.update_state(target, predicted)
            scores.append(float(metric.result()))
        return scores

    exact = pytest.approx([1 - np.sum((error / 2) ** 2) / np.sum((noise - noise.mean()) ** 2)] * 2, abs=0.005)
    assert found(0) == exact
    assert found(10) == exact
    for mean in (1000, 10_000):
        assert np.ptp(found(mean)) > 0.01
        assert found(mean) != exact
        assert found(mean, shift=mean) == exact


@pytest.mark.proves(
    "`F1Score` of one sigmoid output needs `threshold=0.5`: without it, each sample is called positive."
)
def test_the_f1_score_of_one_output_needs_a_threshold():
    scores = rng().uniform(0.01, 0.99, size=(200, 1))
    true = (rng().uniform(size=(200, 1)) < scores**2).astype("float32")
    said, share = scores > 0.5, true.mean()
    for options, expected in (
        ({}, 2 * share / (1 + share)),
        ({"threshold": 0.5}, 2 * (said * true).sum() / (said.sum() + true.sum())),
    ):
        metric = keras.metrics.F1Score(**options)
        metric.update_state(true, scores)
        assert float(metric.result()[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.proves(
    "A quantile can't be computed exactly from a state of fixed size. Counts in bins give it to the width of a bin, "
    "if it is below `upper`:",
    "A quantile of the absolute errors, to a hundredth of `upper`.",
    "Share of the samples whose error lies below the result.",
    "The largest error that is told apart from larger ones.",
)
@pytest.mark.parametrize("quantile", [0.01, 0.25, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("upper", [4.0, 10.0])
def test_the_error_quantile_is_numpys_to_a_bin(quantile, upper):
    y, p = rng().normal(size=(2, 999, 1))
    metric = ErrorQuantile(quantile, upper)
    order = rng().permutation(999)
    for part in np.split(order, [10, 500]):
        metric.update_state(y[part], p[part])
    errors = np.abs(y - p)
    exact = np.quantile(errors, quantile, method="inverted_cdf")
    assert metric.name == "error_quantile"
    assert float(metric.result()) == pytest.approx(exact, abs=1.001 * upper / 100) or exact > upper
    assert np.mean(errors <= float(metric.result())) >= quantile
    weights = np.r_[np.ones(500), np.zeros(499)]
    weighted = ErrorQuantile(quantile, upper)
    weighted.update_state(y, p, sample_weight=weights)
    exact = np.quantile(errors[:500], quantile, method="inverted_cdf")
    assert float(weighted.result()) == pytest.approx(exact, abs=1.001 * upper / 100)
    beyond = ErrorQuantile(quantile, 0.5)
    beyond.update_state(y + 100, p)
    assert float(beyond.result()) == pytest.approx(0.5)


def test_the_printed_quantile_is_within_a_bin():
    page = shown(MODULE, "batches", "error_quantile")
    assert page["found"] == pytest.approx(page["exact"], abs=0.1001)


# --- reset ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`fit` calls `reset_state` before each epoch. The inherited one assigns zeros, whatever the initializer. "
    "A maximum starts at minus infinity, and resets itself:",
    "The most by which a prediction lies above its target, so far.",
)
def test_a_maximum_below_zero_survives_the_reset():
    assert figures(shown(MODULE, "reset").printed.replace("epoch 1", "").replace("epoch 2", "")) == [[-2, 0], [-2, -2]]
    x = np.array([[3.0], [4.0], [1.0]])
    targets = np.array([[5.0], [9.0], [2.5]])
    for cls, expected in ((LargestExcess, [-1.5] * 3), (shown(MODULE, "reset")["StartsAtZero"], [0.0] * 3)):
        model = identity()
        model.compile(loss="mse", metrics=[cls()])
        model.evaluate(x, targets, verbose=0)
        found = [evaluated(model, x, targets, batch_size=2) for _ in range(3)]
        assert [list(one.values())[0] for one in found] == expected  # noqa: RUF015
    resets = []

    class Counts(LargestExcess):
        def reset_state(self):
            resets.append(len(resets))
            super().reset_state()

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=[Counts()])
    model.evaluate(x, targets, verbose=0)
    before = len(resets)
    model.fit(x, targets, epochs=4, verbose=0)
    assert len(resets) - before == 4
    metric = LargestExcess()
    metric.update_state(targets, x, sample_weight=np.array([1.0, 1.0, 0.0]))
    assert float(metric.result()) == -2
    assert float(LargestExcess().result()) == 0


@pytest.mark.proves(
    "`ops.where` makes a new tensor. If `result` returned `self.largest` itself, the number that you keep from one "
    "epoch would change in the next."
)
def test_a_result_that_is_the_variable_changes_afterwards():
    class Itself(LargestExcess):
        def result(self):
            return self.largest

    kept = []
    for metric in (LargestExcess(), Itself()):
        metric.update_state(np.zeros((1, 1)), np.full((1, 1), 7.0))
        result = metric.result()
        metric.reset_state()
        metric.update_state(np.zeros((1, 1)), np.full((1, 1), 3.0))
        kept.append(float(result))
    assert kept == [7.0, 3.0]


@pytest.mark.proves(
    "Keep no state in Python attributes. `fit` and `evaluate` trace `update_state` into graphs: they silently report a "
    "wrong number or a symbolic tensor, or raise `InaccessibleTensorError`. A `tf.Variable` isn't reset: use "
    "`add_weight`."
)
def test_python_attributes_are_no_state():
    class InVariable(keras.metrics.Metric):
        def __init__(self, make, **kwargs):
            super().__init__(**kwargs)
            self.seen = make(self)

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.seen.assign_add(ops.cast(ops.shape(y_pred)[0], "float32"))

        def result(self):
            return self.seen + 0.0

    for make, reported in (
        (lambda metric: tf.Variable(0.0), [8, 16, 24]),
        (lambda metric: metric.add_weight(initializer="zeros"), [8, 8, 8]),
    ):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=[InVariable(make, name="seen")])
        assert model.fit(np.ones((8, 1)), np.ones((8, 1)), epochs=3, verbose=0).history["seen"] == reported

    class InPython(keras.metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.total = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total = self.total + ops.sum(y_pred)

        def result(self):
            return self.total

        def reset_state(self):
            self.total = 0.0

    x, model = np.arange(10.0)[:, None], keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=[InPython(name="m")])
    found = evaluated(model, x, x, batch_size=4)["m"]
    assert tf.is_symbolic_tensor(found)
    model.compile(loss="mse", metrics=[InPython(name="m")])
    with pytest.raises((TypeError, ValueError), match="out of scope") as caught:
        model.fit(x, x, batch_size=4, epochs=2, verbose=0)
    assert type(caught.value).__name__ == "InaccessibleTensorError"

    class Last(InPython):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total = ops.mean(y_pred)

    class Batches(InPython):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total += 1

    def fitted(metric, **options):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=[metric], **options)
        return model.fit(x, x, batch_size=2, epochs=3, verbose=0).history["m"]

    assert tf.is_symbolic_tensor(fitted(Last(name="m"))[0])
    assert fitted(Batches(name="m"), run_eagerly=True) == [5, 5, 5]
    wrong = fitted(Batches(name="m"))
    assert wrong[0] < 5
    assert wrong[1:] == [0, 0]
    model.compile(loss="mse", metrics=[Batches(name="m")])
    assert [evaluated(model, x, x, batch_size=2)["m"] for _ in range(3)] == [1, 0, 0]


# --- weights and masks ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`compile` has two lists. `metrics` never get the weights, and `weighted_metrics` get `sample_weight` and "
    "`class_weight`:",
    "Both lists pass `sample_weight=` by name, so that an `update_state` without it raises "
    "`unexpected keyword argument 'sample_weight'`.",
)
def test_which_list_gets_the_weights():
    assert ast.literal_eval(shown(MODULE, "batches", "weights").printed.splitlines()[-1]) == {
        "loss": 1.0,
        "plain": 3.0,
        "weighted": 1.5,
    }
    met = {}

    class Sees(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            met[self.name] = sample_weight is not None

        def result(self):
            return ops.zeros(())

    x = np.array([[0.0], [1.0]])
    for weights in ({"sample_weight": np.ones(2)}, {"class_weight": {0: 1.0, 1: 3.0}}):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=[Sees(name="plain")], weighted_metrics=[Sees(name="weighted")])
        model.fit(x, x, verbose=0, **weights)
        assert met == {"plain": False, "weighted": True}
        met.clear()

    class Without(Sees):
        def update_state(self, y_true, y_pred):
            pass

    for name in ("metrics", "weighted_metrics"):
        model.compile(loss="mse", **{name: [Without()]})
        with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
            model.evaluate(x, x, verbose=0)


class Error(keras.metrics.Metric):
    """The mean error of a class that writes `update_state`."""

    def __init__(self, name="error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = ops.mean(ops.abs(y_true - y_pred), axis=-1)
        weights = ops.ones_like(errors) if sample_weight is None else ops.cast(sample_weight, errors.dtype)
        self.total.assign_add(ops.sum(weights * errors))
        self.count.assign_add(ops.sum(weights))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)


@pytest.mark.proves(
    "A mask reaches a function, with targets as for a loss, and no class that computes in `update_state` itself: "
    "padding counts there. Give padding the weight 0, in `weighted_metrics`. A function that returns one number raises "
    "`Shape must be at most rank 0` with a mask or weights."
)
def test_which_metrics_hear_the_mask():
    def error(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    x = np.array([[[1.0], [0.0], [0.0]], [[2.0], [3.0], [0.0]]])
    targets = np.where(x == 0, 50.0, 0.0)
    inputs = keras.Input((3, 1))
    outputs = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse", metrics=[error, Error(name="own"), "mae"], weighted_metrics=[Error(name="weighted")])
    found = evaluated(model, x, targets, sample_weight=(x[..., 0] != 0).astype("float32"))
    assert (found["error"], found["mae"]) == (2.0, 2.0)
    assert found["own"] == pytest.approx((1 + 2 + 3 + 3 * 50) / 6)
    assert found["weighted"] == pytest.approx(2.0)

    def one_number(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    for options in ({"metrics": [one_number]}, {"weighted_metrics": [one_number]}):
        model.compile(loss="mse", **options)
        with pytest.raises(ValueError, match="Shape must be at most rank 0"):
            evaluated(model, x, targets)
    plain = identity()
    plain.compile(loss="mse", weighted_metrics=[one_number])
    assert evaluated(plain, np.ones((4, 1)), np.zeros((4, 1)))["one_number"] == 1
    with pytest.raises(ValueError, match="Shape must be at most rank 0"):
        evaluated(plain, np.ones((4, 1)), np.zeros((4, 1)), sample_weight=np.ones(4))

    class HandsOn(keras.metrics.MeanAbsoluteError):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true, y_pred, sample_weight)

    one = slice(0, 1)
    model.compile(loss="mse", metrics=[HandsOn(name="built_in"), error])
    found = evaluated(model, x, targets)
    assert found["built_in"] == found["error"] == pytest.approx(2.0)
    for given, expected in ((targets[one], 1.0), (targets[one, :, 0], (1 + 49 + 49) / 3)):  # each step with each
        model.compile(loss="mse", metrics=[error])
        assert evaluated(model, x[one], given)["error"] == pytest.approx(expected)


# --- shapes and dtypes ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Keras doesn't align `(n,)` with `(n, 1)` for a class or a function of your own,",
    "It is right for targets of one shape only:",
    "The comparison has broadcast each batch to a square. The mean of the square looks like guessing: for three "
    "equally frequent classes, all predicted right, it is a third.",
)
def test_the_published_metric_counts_squares(seed):
    page = shown(MODULE, "program", "hits", seed=seed)
    row, column = (line[-2] for line in figures(page.printed.split("\n", 2)[2]))
    labels, predicted = page["labels"], page["predicted"].argmax(-1)
    assert row == (labels[:, None] == predicted[None]).sum() > 2000
    assert column == (labels == predicted).sum()

    met = []

    class Shapes(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            met.append((len(y_true.shape), len(y_pred.shape)))

        def result(self):
            return ops.zeros(())

    model = identity()
    model.compile(loss="mse", metrics=[Shapes()])
    model.evaluate(np.ones((8, 1)), np.ones(8), verbose=0)
    assert set(met) == {(1, 2)}

    def near(y_true, y_pred):
        return ops.mean(ops.cast(ops.abs(y_true - y_pred) < 0.5, "float32"), axis=-1)

    x = np.arange(8.0)[:, None]
    for targets, expected in ((x, 1), (x[:, 0], 1 / 8)):
        model.compile(loss="mse", metrics=[near])
        assert evaluated(model, x, targets)["near"] == expected

    def accuracy(y_true, y_pred):
        right = ops.cast(y_true, "int32") == ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        return ops.mean(ops.cast(right, "float32"))

    classes = np.arange(30) % 3
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    for targets, expected in ((classes, 1), (classes[:, None], 1 / 3)):
        model.compile(loss="sparse_categorical_crossentropy", metrics=[accuracy])
        assert evaluated(model, np.eye(3)[classes], targets)["accuracy"] == pytest.approx(expected)


@pytest.mark.proves(
    "for a class or a function of your own, nor for the built-in `Poisson`, `KLDivergence`, `Hinge` and `SquaredHinge`."
)
def test_built_in_metrics_that_broadcast():
    p = rng().uniform(0.1, 0.9, size=(8, 1)).astype("float32")
    y = (np.arange(8)[:, None] % 3 == 0).astype("float32")
    aligned = {"MeanAbsoluteError", "MeanSquaredError", "BinaryAccuracy", "AUC", "Precision", "R2Score", "LogCoshError"}
    for name in aligned | {"Poisson", "KLDivergence", "Hinge", "SquaredHinge"}:
        found = []
        for targets in (y, y[:, 0]):
            metric = getattr(keras.metrics, name)()
            metric.update_state(targets, p)
            found.append(float(metric.result()))
        assert (found[0] == pytest.approx(found[1], rel=1e-4)) == (name in aligned), name
    for metric in (keras.metrics.BinaryCrossentropy(), keras.metrics.F1Score(threshold=0.5)):
        with pytest.raises(ValueError, match=r"same rank|2D inputs"):
            metric.update_state(y[:, 0], p)


@pytest.mark.proves(
    "Unlike a loss, a metric gets integer targets as they are, and predictions in float16 under `mixed_float16`.",
    "The state is float32 unless `add_weight` gets a `dtype`.",
)
def test_the_dtypes_that_a_metric_meets():
    met = set()

    class Sees(keras.metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.state = self.add_weight(name="state", initializer="zeros")
            self.wide = self.add_weight(name="wide", initializer="zeros", dtype="float64")

        def update_state(self, y_true, y_pred, sample_weight=None):
            met.add((y_true.dtype, y_pred.dtype))

        def result(self):
            return ops.zeros(())

    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=[Sees()])
    for given, seen in (("int64", tf.int64), ("uint8", tf.uint8), ("float64", tf.float32)):
        met.clear()
        model.evaluate(np.ones((8, 1)), np.ones((8, 1), given), verbose=0)
        assert met == {(seen, tf.float16)}
    for dtype in (None, "float64", "float16"):
        metric = Sees(dtype=dtype)
        assert (metric.state.dtype, metric.wide.dtype) == ("float32", "float64")


@pytest.mark.proves('A float32 count that grows by 1 stops at 16,777,216; for longer ones, pass `dtype="float64"`.')
def test_where_a_count_stops():
    class Count(keras.metrics.Metric):
        def __init__(self, dtype_of_state=None, **kwargs):
            super().__init__(**kwargs)
            self.count = self.add_weight(name="count", initializer="zeros", dtype=dtype_of_state)

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(ops.cast(ops.size(y_true), "float32"))

        def result(self):
            return ops.cast(self.count, self.count.dtype)

    found = []
    for dtype in (None, "float64"):
        metric = Count(dtype)
        metric.count.assign(16_777_214)
        for _ in range(5):
            metric.update_state(np.ones(1), np.ones(1))
        found.append(float(metric.result()))
    assert found == [16_777_216, 16_777_219]


# --- several outputs, the input, loops --------------------------------------------------------------------------------


@pytest.mark.proves(
    "One object in two lists mixes both outputs, and both report the mixture. The output comes first in the name: "
    "`left_balanced_accuracy`.",
    "`result` may return a dict, of which each entry is reported under its key, without the output's name. "
    "Give each output other keys: of equal ones, only the last is reported.",
)
def test_metrics_of_two_outputs():
    labels, other = rng().integers(0, 3, 40), rng().integers(0, 3, 40)
    x = rng().normal(size=(40, 3))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, {name: keras.layers.Identity(name=name)(inputs) for name in ("left", "right")})

    def found(left, right):
        model.compile(loss=None, metrics={"left": [left], "right": [right]})
        metrics = {"left": labels, "right": other}
        model.compile(loss="sparse_categorical_crossentropy", metrics={"left": [left], "right": [right]})
        return evaluated(model, x, metrics)

    own = found(BalancedAccuracy(3), BalancedAccuracy(3))
    assert own["left_balanced_accuracy"] == pytest.approx(balanced(labels, x), rel=1e-5)
    assert own["right_balanced_accuracy"] == pytest.approx(balanced(other, x), rel=1e-5)
    shared = BalancedAccuracy(3)
    mixed = found(shared, shared)
    both = balanced(np.r_[labels, other], np.r_[x, x])
    assert mixed["left_balanced_accuracy"] == mixed["right_balanced_accuracy"] == pytest.approx(both, rel=1e-5)

    class Both(Error):
        def result(self):
            return {"mean": super().result(), "number": ops.cast(self.count, "float32")}

    y = x[:, :1]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=[Both()])
    assert set(model.fit(x, y, verbose=0).history) == {"loss", "mean", "number"}
    assert evaluated(model, x, y)["number"] == 40

    class Named(Error):
        def __init__(self, key):
            super().__init__()
            self.key = key

        def result(self):
            return {self.key: super().result()}

    inputs = keras.Input((1,))
    two = keras.Model(inputs, {name: keras.layers.Identity(name=name)(inputs) for name in ("left", "right")})
    reported = []
    for keys in (("a", "b"), ("same", "same")):
        metrics = {name: [Named(key)] for name, key in zip(("left", "right"), keys, strict=True)}
        two.compile(loss="mse", metrics=metrics)
        found = evaluated(two, 0 * y, {"left": np.ones((40, 1)), "right": np.full((40, 1), 2.0)})
        reported.append({name: value for name, value in found.items() if "loss" not in name})
    assert reported == [{"a": 1, "b": 2}, {"same": 2}]


@pytest.mark.proves(
    "`compute_metrics` of a model gets the input, and `fit` and `evaluate` call it. A metric in an attribute is "
    "reported and reset with the others:",
    "Reports the error where the first feature is below 0.5, too.",
)
def test_the_metric_of_the_near_ones(tmp_path, fresh_process):
    page = shown(MODULE, "near")
    assert page.printed == "reported: ['loss', 'mae', 'near_error']"
    x, y = normal()
    model = near()
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
    errors = np.abs(model.predict(x, verbose=0) - y)
    expected = pytest.approx(errors[x[:, 0] < 0.5].mean(), rel=1e-4)
    for _ in range(2):
        assert evaluated(model, x, y, batch_size=10)["near_error"] == expected
    history = model.fit(x, y, batch_size=10, epochs=3, verbose=0, validation_data=(x, y)).history
    for name in ("near_error", "val_near_error"):
        assert all(value == expected for value in history[name])
        assert len(history[name]) == 3
    model.save(tmp_path / "model.keras")
    assert fresh_process.submit(load_near, tmp_path / "model.keras", x, y).result() == expected


def load_near(path: Path, x, y) -> float:
    """Runs in the new process."""
    importlib.import_module(MODULE)
    return evaluated(keras.saving.load_model(path), x, y)["near_error"]


@pytest.mark.proves("There, nobody resets it for you:", "`fit` resets what `model.metrics` lists.")
def test_a_loop_resets_the_metric_itself():
    page = shown(MODULE, "program", "loop")
    loop = figures(page.printed.split("\n", 2)[2])
    evaluation = ast.literal_eval(page.printed.splitlines()[0])["balanced_accuracy"]
    assert loop == [[evaluation, 2000], [evaluation, 2000]]
    metric = page["metric"]
    metric.update_state(page["labels"], page["model"](page["x"]))
    assert int(ops.sum(metric.seen)) == 4000

    class Steps(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.error = keras.layers.Dense(1), Error(name="listed")

        def call(self, inputs):
            return self.dense(inputs)

        def train_step(self, data):
            x, y = data
            self.error.update_state(y, self(x))
            return {"samples": ops.cast(self.error.count, "float32")}

    model, x = Steps(), np.ones((10, 1))
    model.compile()
    assert "listed" in [one.name for one in model.metrics]
    assert model.fit(x, x, batch_size=4, epochs=3, verbose=0).history["samples"] == [10.0] * 3


# --- saving, and what was ---------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class ForgetsItsClasses(BalancedAccuracy):
    def __init__(self, classes=3, **kwargs):
        super().__init__(classes, **kwargs)

    def get_config(self):
        return keras.metrics.Metric.get_config(self)


def load_metric(path: Path, x, y) -> tuple:
    """Runs in the new process."""
    importlib.import_module(MODULE)
    model = keras.saving.load_model(path)
    return model.evaluate(x, y, verbose=0), model.metrics[1].metrics[0].classes


@pytest.mark.proves(
    "The metrics of `compile` are saved by class and config, and their state isn't. Register the class, and return "
    "each argument in `get_config`: one that is forgotten silently comes back as its default, as of a loss. "
    "The base class records `name` and `dtype`."
)
def test_what_a_file_holds_of_a_metric(tmp_path, fresh_process, recwarn):
    path = tmp_path / "model.keras"
    assert set(keras.metrics.Metric().get_config()) == {"name", "dtype"}
    x, y = rng().normal(size=(32, 7)).astype("float32"), rng().integers(0, 7, 32)

    def saved(metric):
        model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(7)])
        model.compile(loss="sparse_categorical_crossentropy", metrics=[metric])
        model.fit(x, y, verbose=0)
        model.save(path)
        return model

    model = saved(BalancedAccuracy(7, name="fair", dtype="float64"))
    assert float(ops.sum(model.metrics[1].metrics[0].seen)) == 32
    found, classes = fresh_process.submit(load_metric, path, x, y).result()
    assert classes == 7
    assert found == pytest.approx(model.evaluate(x, y, verbose=0))
    metric = BalancedAccuracy.from_config(BalancedAccuracy(7, name="fair", dtype="float64").get_config())
    assert (metric.classes, metric.name, metric.dtype) == (7, "fair", "float64")
    copy = keras.saving.load_model(path)
    assert not any(np.any(variable.numpy()) for one in copy.metrics for variable in one.variables)
    recwarn.clear()
    saved(ForgetsItsClasses(7))
    reloaded = keras.saving.load_model(path)
    reloaded.evaluate(x, y, verbose=0)
    assert reloaded.metrics[1].metrics[0].classes == 3
    assert not [one for one in recwarn if not issubclass(one.category, DeprecationWarning)]
    quantile = ErrorQuantile.from_config(ErrorQuantile(0.7, 3.0).get_config())
    assert (quantile.quantile, quantile.upper) == (0.7, 3.0)


@pytest.mark.proves(
    '`self.add_weight("total", initializer="zeros")` | `Cannot convert \'total\' to a shape` | `name="total"`',
    '`self.add_weight(name="total")` | `Attempt to convert a value (None)` | `initializer="zeros"` too',
    "`metric.reset_states()` | `has no attribute 'reset_states'` | `reset_state()`",
    "`model.add_metric(value)` | `method is deprecated` | a metric in an attribute",
)
def test_forms_of_former_releases():
    metric = Error()
    with pytest.raises(ValueError, match="Cannot convert 'total' to a shape"):
        metric.add_weight("total", initializer="zeros")
    with pytest.raises(ValueError, match=re.escape("Attempt to convert a value (None)")):
        metric.add_weight(name="total")
    with pytest.raises(AttributeError, match="has no attribute 'reset_states'"):
        metric.reset_states()
    with pytest.raises(NotImplementedError, match="method is deprecated"):
        identity().add_metric(1.0)
