"""`docs/training/custom_callback.md`: every claim that the page makes, proved."""

from __future__ import annotations

import math
import re

import keras
import numpy as np
import pytest

from snippets.training.custom_callback import DeadUnits, FindsOutliers, KeepsLargestError, Measures, Penalty, WarmUp
from tests import contract
from tests.shown import shown

MODULE = "snippets.training.custom_callback"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = X[:, :1] + 0.5


def data() -> tuple[np.ndarray, np.ndarray]:
    return X, Y


LAYERS = {"Penalty": contract.Layer(lambda **kw: Penalty(0.5, **kw), inputs=[(4,), (None, 4)])}


def keeps_largest(**kwargs) -> keras.Model:
    inputs = keras.Input((4,))
    return KeepsLargestError(inputs, keras.layers.Dense(1)(inputs), **kwargs)


NOT_IN_CONTRACT = {
    "KeepsLargestError": "is a functional model of Keras with another loss: tested below",
    "FrozenPenalty of frozen_fails": "its attribute is frozen in a graph, which no call can tell: tested below",
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_contract(case, check):
    check(case)


def make(optimizer="sgd", **options) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, **{"loss": "mse", **options})
    return model


def fit(callbacks, model=None, **options) -> keras.callbacks.History:
    model = model or make()
    given = {"batch_size": 16, "epochs": 2, "verbose": 0, "shuffle": False}
    return model.fit(X, Y, callbacks=callbacks, **{**given, **options})


EVENTS = [name for name in dir(keras.callbacks.Callback) if re.match(r"on_(epoch|train|test|predict)_", name)]


class Records(keras.callbacks.Callback):
    """Every event, with its number and its logs."""

    def __init__(self):
        super().__init__()
        self.events = []

    def names(self) -> list[str]:
        return [name for name, _, _ in self.events]

    def logs(self, name: str) -> list[dict]:
        return [logs for event, _, logs in self.events if event == name]


def _record(name):
    def hook(self, *args, logs=None):
        *number, logs = args if args and isinstance(args[-1], dict | None) else (*args, logs)
        self.events.append((name, number, dict(logs or {})))

    return hook


for event in EVENTS:
    setattr(Records, event, _record(event))


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves("You can call one customer in ten")
def test_the_program_returns_to_the_epoch_that_its_measure_found_best(seed):
    page = shown(MODULE, "program", seed=seed)
    history = page["history"]
    assert page["found"] == pytest.approx(max(history))
    assert page.printed.endswith("weights of the best epoch: True")
    assert max(history) > 2 * page["y_new"].mean(), "better than calling anyone"
    assert page["in_top_tenth"](np.arange(30) < 3, -np.arange(30.0)[:, None]) == 1
    assert page["in_top_tenth"](np.arange(30) < 3, np.arange(30.0)[:, None]) == 0
    assert len(history) == 40 or len(history) == int(np.argmax(history)) + 6


@pytest.mark.proves(
    "Callbacks are called in the order of the list. What one adds to `logs` in `on_epoch_end` is in the logs of those "
    "after it and in the history.",
    "Adds to each epoch's logs what is measured on all samples at once.",
)
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"steps_per_execution": 3}], ids=str)
def test_what_is_added_is_seen_by_those_behind_it_and_by_the_history(options):
    before, behind = Records(), Records()
    measures = {"largest": lambda y, predictions: predictions.max(), "samples": lambda y, predictions: len(predictions)}
    history = fit([before, Measures(X, Y, measures), behind], make(**options), validation_data=(X, Y)).history
    assert history.keys() == {"loss", "val_loss", "largest", "samples"}
    assert history["samples"] == [64, 64]
    assert all(logs.keys() == {"loss", "val_loss"} for logs in before.logs("on_epoch_end"))
    assert [logs["largest"] for logs in behind.logs("on_epoch_end")] == history["largest"]


@pytest.mark.proves(
    "An `EarlyStopping` that stands before `Measures` in the list only warns that the metric `is not available`, and "
    "never stops."
)
def test_early_stopping_has_to_stand_behind_it():
    worse = Measures(X, Y, {"epoch": lambda y, predictions: 1.0})
    stops = keras.callbacks.EarlyStopping("epoch", mode="max", patience=1)
    assert len(fit([worse, stops], epochs=5).history["loss"]) == 2
    with pytest.warns(UserWarning, match="is not available"):
        assert len(fit([stops, worse], epochs=5).history["loss"]) == 5


def test_a_checkpoint_follows_it_too(tmp_path):
    rises = Measures(X, Y, {"seen": lambda y, predictions: -float(np.mean((y - predictions) ** 2))})
    path = tmp_path / "best.weights.h5"
    kept = keras.callbacks.ModelCheckpoint(path, "seen", mode="max", save_best_only=True, save_weights_only=True)
    history = fit([rises, kept], epochs=4).history
    assert kept.best == max(history["seen"])
    assert path.is_file()


# --- when each method is called -----------------------------------------------------------------------------------


@pytest.mark.proves(
    "A callback is an object whose methods `fit` calls before and after training, each epoch and each batch.",
    "`on_train_begin(logs)`, `on_train_end(logs)` | `fit` | nothing; at the end, what the last epoch reported",
    "`on_epoch_begin(epoch, logs)` | `fit` | nothing",
    "`on_epoch_end(epoch, logs)` | `fit`, after the validation | the loss and metrics of the epoch, those of the "
    "validation as `val_…`",
    "`on_train_batch_begin(batch, logs)` | `fit` | nothing",
    "`on_train_batch_end(batch, logs)` | `fit` | the loss and metrics of the epoch so far",
    "`on_test_begin(logs)`, `on_test_end(logs)` | `evaluate`, and `fit` for the validation | nothing; at the end, the "
    "loss and metrics without `val_`",
    "`on_test_batch_begin(batch, logs)`, `on_test_batch_end(batch, logs)` | the same | nothing; at the end, the loss "
    "and metrics so far",
    "Epochs and batches are counted from 0.",
)
@pytest.mark.parametrize("eagerly", [False, True])
def test_fit_and_evaluate(eagerly):
    records = Records()
    model = make(metrics=["mae"], run_eagerly=eagerly)
    history = fit([records], model, validation_data=(X[:32], Y[:32])).history
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin", *["on_test_batch_begin", "on_test_batch_end"] * 2, "on_test_end"]
    epoch = ["on_epoch_begin", *batch * 4, *test, "on_epoch_end"]
    assert records.names() == ["on_train_begin", *epoch * 2, "on_train_end"]

    for name in EVENTS:
        if name.endswith("_begin"):
            assert not any(records.logs(name)), name
    ends = records.logs("on_epoch_end")
    assert [logs["val_mae"] for logs in ends] == history["val_mae"]
    assert ends[-1] == records.logs("on_train_end")[0]
    assert ends[0].keys() == {"loss", "mae", "val_loss", "val_mae"}
    for logs in (*records.logs("on_train_batch_end"), *records.logs("on_test_batch_end"), *records.logs("on_test_end")):
        assert logs.keys() == {"loss", "mae"}
    assert records.logs("on_test_end")[0]["loss"] == history["val_loss"][0]
    assert records.logs("on_test_batch_end")[1]["loss"] == history["val_loss"][0]
    assert records.logs("on_train_batch_end")[3]["loss"] == history["loss"][0]
    counted = [number for name, number, _ in records.events if name == "on_train_batch_end"]
    assert counted == [[0], [1], [2], [3]] * 2
    assert [number for name, number, _ in records.events if name == "on_epoch_begin"] == [[0], [1]]

    records.events.clear()
    model.evaluate(X[:32], Y[:32], batch_size=16, callbacks=[records], verbose=0)
    assert records.names() == test


@pytest.mark.proves(
    "`on_predict_begin(logs)`, `on_predict_end(logs)` | `predict` | nothing",
    "`on_predict_batch_begin(batch, logs)`, `on_predict_batch_end(batch, logs)` | `predict` | nothing; at the end, the "
    "predictions of the batch, as `outputs`",
)
def test_predict():
    records, model = Records(), make()
    predictions = model.predict(X, batch_size=48, callbacks=[records], verbose=0)
    batch = ["on_predict_batch_begin", "on_predict_batch_end"]
    assert records.names() == ["on_predict_begin", *batch * 2, "on_predict_end"]
    parts = [logs.pop("outputs") for logs in records.logs("on_predict_batch_end")]
    np.testing.assert_allclose(np.concatenate(parts), predictions, rtol=1e-6)
    assert not any(logs for name, _, logs in records.events if name != "on_predict_batch_end")


@pytest.mark.proves(
    "`self.model` is the model, and `self.params` has `epochs`, `steps` and `verbose`; `steps` is `None` for a "
    "generator without `steps_per_epoch`."
)
def test_what_a_callback_has():
    class Looks(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.found = self.model, self.params

    looks, model = Looks(), make()
    fit([looks], model)
    assert looks.found == (model, {"epochs": 2, "steps": 4, "verbose": 0})

    batches = ((X[:16], Y[:16]) for _ in range(3))
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(batches, shuffle=False, callbacks=[looks], verbose=0)
    assert looks.found[1]["steps"] is None


@pytest.mark.proves(
    "Here the errors of the three batches are 1, 3 and 8:",
    "`logs['loss']` after a batch is the mean of the epoch so far, and not the loss of that batch.",
)
def test_the_loss_after_a_batch_is_the_mean_so_far(capsys):
    assert shown(MODULE, "events").printed == (
        "epoch 0: batch 0 loss 1.0, batch 1 loss 2.0, batch 2 loss 4.0, validation 1.0, loss 4.0 val_loss 1.0"
    )
    means = np.cumsum([1.0, 3.0, 8.0]) / [1, 2, 3]
    assert means.tolist() == [1.0, 2.0, 4.0]
    records = Records()
    fit([records], make(keras.optimizers.SGD(0.0)), batch_size=48, epochs=1)  # the last batch is smaller
    whole = make(keras.optimizers.SGD(0.0)).evaluate(X, Y, verbose=0)
    assert records.logs("on_train_batch_end")[-1]["loss"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.proves(
    "With `steps_per_execution=10` in `compile`, the methods of batches are called once for ten batches."
)
def test_several_steps_in_one_call():
    records, model = Records(), make(steps_per_execution=10)
    fit([records], model, batch_size=2, epochs=1)  # 32 batches
    model.evaluate(X, Y, batch_size=2, callbacks=[records], verbose=0)
    model.predict(X, batch_size=2, callbacks=[records], verbose=0)
    for name in ("on_train_batch", "on_test_batch", "on_predict_batch"):
        for event in ("begin", "end"):
            assert records.names().count(f"{name}_{event}") == math.ceil(32 / 10), name


# --- change a weight of the loss ----------------------------------------------------------------------------------


@pytest.mark.proves(
    "Raises a layer's rate from 0 to `rate`, epoch by epoch.",
    "A plain attribute is not read again, and silently has no effect:",
    "`fit` compiles the training step into a graph, and what was a Python number then is a constant in it.",
)
def test_a_weight_changes_the_loss_and_an_attribute_does_not():
    page = shown(MODULE, "events", "warm_up")
    assert page["history"].history["loss"] == [0, 1, 2, 3, 3]
    frozen = shown(MODULE, "events", "warm_up", "frozen_fails")
    assert frozen["history"].history["loss"] == [0] * 5
    assert frozen["model"].layers[-1].rate == 3
    eager = frozen["model"]
    eager.compile("sgd", loss="mse", run_eagerly=True)
    ones = np.ones((8, 1))
    history = eager.fit(ones, 0 * ones + 1, epochs=2, callbacks=[frozen["WarmsNothing"]()], verbose=0).history
    assert history["loss"][0] != history["loss"][1], "without a graph, the attribute counts"


@pytest.mark.proves(
    "`penalty.rate = 3.0` replaces the weight with such an attribute: call `assign`. Make the weight with "
    "`trainable=False`, or the optimizer trains it."
)
def test_a_weight_that_is_replaced_or_trained():
    class Replaces(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            penalty.rate = float(epoch)

    def losses(rate, *callbacks):
        model = keras.Sequential([keras.Input((4,)), penalty, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate), loss=lambda y_true, y_pred: 0 * y_pred[:, 0])
        return fit(callbacks, model, epochs=3).history["loss"]

    penalty = Penalty()
    assert losses(0.1, Replaces()) == [0, 0, 0]
    assert penalty.rate == 2
    penalty = Penalty(1.0)
    assert losses(0.1) == pytest.approx([np.mean(X**2)] * 3, rel=1e-5)

    class Trained(Penalty):
        def add_weight(self, *, trainable, **kwargs):
            return super().add_weight(**kwargs)

    penalty = Trained(1.0)
    assert losses(0.1)[2] < 0.5 * np.mean(X**2)


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}])
@pytest.mark.proves("Keep a number that changes in a weight, and assign to it:")
def test_the_weight_is_read_in_each_step(options):
    keras.utils.set_random_seed(2)
    penalty = Penalty()
    model = keras.Sequential([keras.Input((4,)), penalty, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), loss="mse", **options)
    history = fit([WarmUp(penalty, rate=2.0, epochs=2)], model, epochs=4).history["loss"]
    np.testing.assert_allclose(np.diff(history), np.mean(X**2) * np.array([1, 1, 0]), atol=1e-4)


@pytest.mark.proves("Adds `rate` times the mean square of its inputs to the loss.")
def test_the_rate_is_saved_with_its_value(tmp_path):
    penalty = Penalty(0.25)
    model = keras.Sequential([keras.Input((4,)), penalty])
    model(X)
    assert float(model.losses[0]) == pytest.approx(0.25 * np.mean(X**2), rel=1e-5)
    penalty.rate.assign(2.0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    reloaded(X)
    assert float(reloaded.losses[0]) == pytest.approx(2.0 * np.mean(X**2), rel=1e-5)
    assert reloaded.trainable_weights == []


@pytest.mark.proves(
    "The same holds for `trainable` of a layer: without `run_eagerly=True`, `fit` trains what was trainable when the "
    "graph was made."
)
def test_trainable_set_in_a_callback():
    class Freezes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[0].trainable = epoch == 0
            self.before = self.model.layers[0].get_weights()

    for eagerly in (False, True):
        model, freezes = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)]), Freezes()
        model.compile("sgd", loss="mse", run_eagerly=eagerly)
        fit([freezes], model)
        moved = np.abs(model.layers[0].get_weights()[0] - freezes.before[0]).max()
        assert (moved == 0) == eagerly, "without a graph it counts"


@pytest.mark.proves(
    "The learning rate is a variable already: `self.model.optimizer.learning_rate = 0.01` works if the optimizer was "
    "made with a number. Made with a schedule, it raises `its learning rate is not settable`; with a function, "
    "`no attribute 'assign'`; a `MultiOptimizer` has no rate of its own."
)
@pytest.mark.parametrize("make_optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_the_learning_rate(make_optimizer):
    class Stops(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.0
                self.before = self.model.get_weights()

    stops, model = Stops(), make(make_optimizer(0.1))
    start = model.get_weights()
    fit([stops], model, epochs=3)
    contract.assert_same(model.get_weights(), stops.before)
    assert np.abs(start[0] - stops.before[0]).max() > 0.01
    scheduled = make(make_optimizer(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)))
    with pytest.raises(TypeError, match="its learning rate is not settable"):
        fit([stops], scheduled)
    with pytest.raises(AttributeError, match="no attribute 'assign'"):
        fit([stops], make(make_optimizer(lambda: 0.1)))
    one = make_optimizer(0.1)
    several = keras.optimizers.MultiOptimizer(lambda variable: one)
    with pytest.raises(AttributeError, match="Learning rate cannot be set"):
        fit([stops], make(several))
    with pytest.raises(AttributeError, match=r"(?i)learning.rate"):
        float(several.learning_rate)


@pytest.mark.proves("To print it, take `float(self.model.optimizer.learning_rate)`, which evaluates a schedule too.")
def test_the_learning_rate_is_a_number():
    class Reads(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.rates.append(float(self.model.optimizer.learning_rate))

    for rate, expected in (
        (0.1, [0.1] * 4),
        (keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5), 0.1 / 2.0 ** np.arange(1, 5)),
    ):
        reads = Reads()
        reads.rates = []
        fit([reads], make(keras.optimizers.SGD(rate)), epochs=1)
        np.testing.assert_allclose(reads.rates, expected, rtol=1e-6)


# --- see what a layer computes ------------------------------------------------------------------------------------


@pytest.mark.proves("No method is given the inputs, the targets or the outputs of a layer.")
def test_no_method_is_given_data():
    records = Records()
    model = make()
    fit([records], model, validation_data=(X, Y))
    model.evaluate(X, Y, callbacks=[records], verbose=0)
    given = [value for _, number, logs in records.events for value in (*number, *logs.values())]
    assert given
    assert all(isinstance(value, int | float) for value in given)


@pytest.mark.proves("Adds the share of a ReLU layer's units that are 0 for all samples.")
def test_dead_units_are_counted():
    layer = keras.layers.Dense(3, activation="relu", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    layer.bias.assign([1.0, -1.0, -1.0])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    assert fit([DeadUnits(layer, X)], model).history["dead"] == [pytest.approx(2 / 3)] * 2


def test_a_larger_learning_rate_kills_more_units(seed):
    keras.utils.set_random_seed(seed)
    x = np.random.normal(size=(1000, 10)).astype("float32")
    printed = shown(MODULE, "dead", x=x, y=(x[:, :1] > 1) * 1.0).printed
    small, large = ([int(share) for share in re.findall(r"(\d+)%", line)] for line in printed.splitlines())
    assert small[-1] == 0
    assert large[-1] > 5


@pytest.mark.proves("A ReLU unit that is 0 for all samples gets no gradient from them: it is dead.")
def test_a_dead_unit_is_not_trained():
    layer = keras.layers.Dense(3, activation="relu")
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    layer.bias.assign([5.0, -50.0, 5.0])
    model.compile("sgd", loss="mse")
    before = layer.get_weights()
    fit([], model)
    kernel, bias = (np.abs(one - other) for one, other in zip(before, layer.get_weights(), strict=True))
    assert kernel[:, 1].max() == bias[1] == 0
    assert kernel[:, 0].max() > 0


def test_a_unit_of_another_activation_gets_one():
    layer = keras.layers.Dense(3, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    assert fit([DeadUnits(layer, X)], model, epochs=1).history["dead"] == [0.0], "its units were 0 for all samples"


@pytest.mark.proves(
    "The callback needs a functional model, or a `Sequential` that begins with an `Input`, and a layer that isn't "
    "inside another model. Elsewhere, call the layers on the data yourself."
)
def test_what_the_callback_for_dead_units_needs():
    hidden = keras.layers.Dense(3, activation="relu")
    without = keras.Sequential([hidden, keras.layers.Dense(1)])
    without.compile("sgd", loss="mse")
    with pytest.raises(AttributeError, match="has no defined inputs yet"):
        fit([DeadUnits(hidden, X)], without)
    inside = keras.layers.Dense(3, activation="relu")
    inner = keras.Sequential([keras.Input((4,)), inside])
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="is not connected to `inputs`"):
        fit([DeadUnits(inside, X)], model)
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, activation="relu")
    functional = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    functional.compile("sgd", loss="mse")
    assert len(fit([DeadUnits(layer, X)], functional).history["dead"]) == 2


def test_a_subclassed_model_has_no_inputs():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(3, activation="relu")
            self.out = keras.layers.Dense(1)

        def call(self, inputs):
            return self.out(self.hidden(inputs))

    class Calls(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["active"] = float(np.mean(self.model.hidden(X) > 0))

    model = Subclassed()
    model.compile("sgd", loss="mse")
    assert 0 < fit([Calls()], model).history["active"][0] < 1
    with pytest.raises(AttributeError, match="inputs"):
        fit([DeadUnits(model.hidden, X)], model)


# --- see the batch of a step --------------------------------------------------------------------------------------


@pytest.mark.proves("Keeps the largest absolute error of the batch that it saw last.")
@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"run_eagerly": True}], ids=str)
@pytest.mark.parametrize("shape", [(64, 1), (64,)], ids=str)
def test_the_model_keeps_the_largest_error_of_each_batch(options, shape):
    class Reads(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.read = []

        def on_train_batch_end(self, batch, logs=None):
            self.read.append(float(self.model.largest_error))

    model, reads = keeps_largest(), Reads()
    model.compile(keras.optimizers.SGD(0.0), loss="mse", **options)
    model.fit(X, Y.reshape(shape), batch_size=16, shuffle=False, callbacks=[reads], verbose=0)
    errors = np.abs(Y - model.predict(X, verbose=0)).reshape(4, 16)
    np.testing.assert_allclose(reads.read, errors.max(axis=1), rtol=1e-5)


@pytest.mark.proves("Collects the batches in which an error is larger than `limit`.")
def test_the_wrong_label_is_found_in_its_batch():
    page = shown(MODULE, "outliers", x=RNG.normal(size=(1000, 10)).astype("float32"))
    assert page["finds"].batches == [333 // 32] == [10]
    model = keeps_largest()
    model.compile("sgd", loss="huber")
    none = FindsOutliers(limit=1e6)
    fit([none], model)
    assert none.batches == []


def test_it_trains_and_is_saved_as_the_model_without_it(tmp_path):
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        model = keeps_largest()
        inputs = keras.Input((4,))
        plain = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        plain.layers[-1].set_weights(model.layers[-1].get_weights())
        histories = []
        for one in (model, plain):
            one.compile("sgd", loss="mse")
            histories.append(fit([], one, sample_weight=np.linspace(0, 1, 64), validation_data=(X, Y)).history)
        assert histories[0] == {name: pytest.approx(values) for name, values in histories[1].items()}
        model.save(tmp_path / "model.keras")
        reloaded = keras.saving.load_model(tmp_path / "model.keras")
        contract.assert_same(reloaded.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.proves("`compute_loss` is called in each training step, and in each step of an evaluation too.")
def test_an_evaluation_writes_it_too():
    model = keeps_largest()
    model.compile("sgd", loss="mse")
    model.evaluate(X, Y + 500, verbose=0)
    assert float(model.largest_error) > 400
    fit([], model, epochs=1)
    assert float(model.largest_error) < 400


@pytest.mark.proves("With `steps_per_execution`, the variable holds what the last of the steps assigned.")
def test_with_steps_per_execution_the_last_step_counts():
    class Reads(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.read = float(self.model.largest_error)

    model, reads = keeps_largest(), Reads()
    model.compile(keras.optimizers.SGD(0.0), loss="mse", steps_per_execution=4)
    y = Y.copy()
    y[0] = 1000.0
    model.fit(X, y, batch_size=16, shuffle=False, callbacks=[reads], verbose=0)
    last = np.abs(y[48:] - model.predict(X[48:], verbose=0)).max()
    assert reads.read == pytest.approx(last, rel=1e-5)
    assert last < 100


# --- stop, and keep the best --------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`self.model.stop_training = True` ends `fit`: after the batch, if it is set in `on_train_batch_end`. The "
    "validation of that epoch, `on_epoch_end` and `on_train_end` still follow."
)
@pytest.mark.parametrize("eagerly", [False, True])
def test_stop_training(eagerly):
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    records = Records()
    history = fit([Stops(), records], make(run_eagerly=eagerly), epochs=5, validation_data=(X, Y)).history
    assert records.names().count("on_train_batch_end") == 2
    assert records.names()[-3:] == ["on_test_end", "on_epoch_end", "on_train_end"]
    assert history.keys() == {"loss", "val_loss"}
    assert len(history["val_loss"]) == 1

    class StopsAtTheEnd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    assert len(fit([StopsAtTheEnd()], epochs=5).history["loss"]) == 2


@pytest.mark.proves(
    "Stop when a number no longer improves, and return to the best weights | `EarlyStopping(monitor, patience=…, "
    "restore_best_weights=True)`",
    "Save the best model to a file | `ModelCheckpoint(path, monitor, save_best_only=True)`",
    "Lower the learning rate when a number no longer improves | `ReduceLROnPlateau(monitor)`",
    "Set it by a function of the epoch | `LearningRateScheduler(function)`",
    "Stop when the loss is NaN | `TerminateOnNaN()`",
    "Write the logs to a file | `CSVLogger(path)`",
    "Go on after a crash | `BackupAndRestore(folder)`",
    "Call a function, without a class | `LambdaCallback(on_epoch_end=…)`",
)
def test_the_built_in_callbacks_do_what_the_table_says(tmp_path):
    class Logs(keras.callbacks.Callback):
        """A number that is best in the second of its epochs."""

        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = [0.0, 3.0, 2.0, 1.0, 0.0][epoch]
            if epoch == 1:
                self.best = self.model.get_weights()

    logs, model = Logs(), make()
    stops = keras.callbacks.EarlyStopping("score", patience=2, mode="max", restore_best_weights=True)
    assert len(fit([logs, stops], model, epochs=5).history["loss"]) == 4
    contract.assert_same(model.get_weights(), logs.best)

    kept = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "score", save_best_only=True, mode="max")
    fit([logs, kept], epochs=5)
    contract.assert_same(keras.saving.load_model(tmp_path / "best.keras").get_weights(), logs.best)

    rates = []
    tells = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(logs["learning_rate"]))
    fit([logs, keras.callbacks.ReduceLROnPlateau("score", patience=1, mode="max"), tells], epochs=5)
    assert rates[0] > rates[-1]
    rates.clear()
    fit([keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / 2**epoch), tells])
    np.testing.assert_allclose(rates, [0.1, 0.05], rtol=1e-6)

    wrong = np.where(np.arange(64)[:, None] == 20, np.nan, Y)
    records = Records()
    make().fit(X, wrong, batch_size=16, shuffle=False, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN(), records])
    assert records.names().count("on_train_batch_end") == 2

    fit([logs, keras.callbacks.CSVLogger(tmp_path / "logs.csv")], epochs=2)
    first, *rows = (tmp_path / "logs.csv").read_text().splitlines()
    assert {"epoch", "loss", "score"} <= set(first.split(","))
    assert len(rows) == 2


@pytest.mark.proves("Go on after a crash | `BackupAndRestore(folder)`")
def test_backup_and_restore_goes_on_after_a_crash(tmp_path):
    class Crashes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise OSError("no power")

    backup, records = keras.callbacks.BackupAndRestore(tmp_path), Records()
    with pytest.raises(OSError, match="no power"):
        fit([backup, Crashes()], make("adam"), epochs=4)
    resumed = make("adam")
    fit([keras.callbacks.BackupAndRestore(tmp_path), records], resumed, epochs=4)
    assert [number for name, number, _ in records.events if name == "on_epoch_begin"] == [[2], [3]]
    whole = make("adam")
    fit([], whole, epochs=4)
    contract.assert_same(resumed.get_weights(), whole.get_weights())


@pytest.mark.proves(
    'Give `mode="max"` or `mode="min"` for a number that you add yourself, and for one of several outputs, such as '
    "`val_left_loss`. Keras knows the direction of `loss`, and of most of its own metrics, under their own names."
)
def test_the_mode_of_a_number_of_ones_own():
    added = Measures(X, Y, {"mine": lambda y, predictions: 1.0})
    with pytest.raises(ValueError, match="isn't able to automatically determine whether that metric"):
        fit([added, keras.callbacks.EarlyStopping("mine")])
    for name in ("loss", "val_loss", "mae", "val_mae"):
        fit([keras.callbacks.EarlyStopping(name)], make(metrics=["mae"]), validation_data=(X, Y))

    inputs = keras.Input((4,))
    sides = {"left": keras.layers.Dense(1)(inputs), "right": keras.layers.Dense(1)(inputs)}
    model = keras.Model(inputs, sides)
    model.compile("sgd", loss={"left": "mse", "right": "mse"}, metrics={"left": ["mae"]})
    both = {"left": Y, "right": Y}
    for name in ("val_left_loss", "val_left_mae"):
        with pytest.raises(ValueError, match="isn't able to automatically determine whether that metric"):
            model.fit(X, both, validation_data=(X, both), callbacks=[keras.callbacks.EarlyStopping(name)], verbose=0)
    stops = keras.callbacks.EarlyStopping("val_left_loss", mode="min")
    model.fit(X, both, validation_data=(X, both), callbacks=[stops], verbose=0)


@pytest.mark.proves("To keep weights yourself, `self.model.get_weights()` returns copies, and `set_weights` sets them.")
def test_get_weights_returns_copies():
    for policy in ("float32", "bfloat16"):
        keras.config.set_dtype_policy(policy)
        model = make()
        kept = model.get_weights()
        before = [weight.copy() for weight in kept]
        fit([], model)
        contract.assert_same(kept, before)
        assert not np.array_equal(model.get_weights()[0], kept[0])
        model.set_weights(kept)
        contract.assert_same(model.get_weights(), before)


# --- where it ends ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`evaluate` resets the metrics, which the running epoch is still adding to. The losses that `fit` then reports are "
    "silently those of something else:",
    "`on_epoch_begin` is as wrong a place, because `fit` resets the metrics before it. In `on_epoch_end` it does no "
    "harm: the numbers of the epoch are in the logs already.",
    "`test_on_batch` and `train_on_batch` reset the metrics, too. `predict` doesn't touch those of `compile`.",
)
def test_evaluate_in_a_callback():
    assert shown(MODULE, "events", "evaluates_fails").printed.endswith("reported loss: 4.0\nreported loss: 100.0")

    class After(keras.callbacks.Callback):
        def __init__(self, does, event):
            super().__init__()
            setattr(self, event, lambda *args, **kwargs: does(self.model))

    def evaluates(model):
        model.evaluate(X[:4], Y[:4] + 100, verbose=0)

    def predicts(model):
        model.predict(X[:4], verbose=0)

    def history(*callbacks):
        return fit(callbacks, make(metrics=["mae"]), batch_size=32, validation_data=(X, Y)).history

    plain = history()
    for does, event in (
        (evaluates, "on_epoch_end"),
        (predicts, "on_epoch_end"),
        (predicts, "on_train_batch_end"),
        (predicts, "on_test_batch_end"),
    ):
        assert history(After(does, event)) == {name: pytest.approx(values) for name, values in plain.items()}, event
    for does, event in (
        (evaluates, "on_train_batch_end"),
        (evaluates, "on_epoch_begin"),
        (lambda model: model.test_on_batch(X[:4], Y[:4] + 100), "on_train_batch_end"),
    ):
        wrong = history(After(does, event))
        assert wrong["loss"][0] > 100 * plain["loss"][0]
        assert wrong["val_loss"] == pytest.approx(plain["val_loss"])
    trains = After(lambda model: model.train_on_batch(X[:4], Y[:4] + 100), "on_train_batch_end")
    assert history(trains)["loss"][0] > 100 * plain["loss"][0]


@pytest.mark.proves(
    "A callback isn't saved with the model, and neither is what it has counted. A second `fit` with the same object "
    "goes on with its attributes: set them in `on_train_begin`."
)
def test_a_callback_keeps_its_attributes_and_no_file_has_them(tmp_path):
    model, finds = keeps_largest(), FindsOutliers(limit=-1)
    model.compile("sgd", loss="mse")
    for times in (1, 2):
        fit([finds], model, epochs=1)
        assert finds.batches == [0, 1, 2, 3] * times
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    fit([], reloaded, epochs=1)
    assert finds.batches == [0, 1, 2, 3] * 2


@pytest.mark.proves(
    "In a loop of your own nobody calls it, unless you make a `CallbackList`.",
)
def test_in_a_loop_a_callback_list_calls_it():
    records, model = Records(), make()
    model.train_on_batch(X, Y)
    assert not records.events
    called = keras.callbacks.CallbackList([records], model=model)
    called.on_train_begin()
    called.on_epoch_end(0, {"loss": 1.0})
    assert records.names() == ["on_train_begin", "on_epoch_end"]


OLD = {
    "`self.validation_data` | `has no attribute 'validation_data'`": lambda self: self.validation_data,
    "`self.model.optimizer.lr` | `has no attribute 'lr'`": lambda self: self.model.optimizer.lr,
}


@pytest.mark.proves(
    "`self.validation_data` | `has no attribute 'validation_data'`",
    "`self.model.optimizer.lr` | `has no attribute 'lr'`",
)
@pytest.mark.parametrize("row", OLD)
def test_old_attributes(row):
    class Old(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            OLD[row](self)

    with pytest.raises(AttributeError, match=re.findall("`([^`]*)`", row)[1]):
        fit([Old()])


@pytest.mark.proves("`self.model.optimizer.lr = 0.01` | sets nothing, silently")
def test_setting_lr_sets_nothing():
    class Old(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.lr = 0.0

    model = make(keras.optimizers.SGD(0.1))
    before = model.get_weights()
    fit([Old()], model)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert not np.array_equal(model.get_weights()[0], before[0])


@pytest.mark.proves(
    "`self.model = model` in `__init__` | `property 'model' of … has no setter`",
    "`on_epoch_end(self, epoch)` | `takes 2 positional arguments but 3 were given`",
    "`callbacks=[MyCallback]` | `missing 1 required positional argument`",
)
def test_old_forms():
    class SetsItsModel(keras.callbacks.Callback):
        def __init__(self, model):
            super().__init__()
            self.model = model

    with pytest.raises(AttributeError, match=r"property 'model' of '.*' object has no setter"):
        SetsItsModel(make())

    class TakesNoLogs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch):
            pass

    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        fit([TakesNoLogs()])
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        fit([Records])
