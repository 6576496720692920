"""`docs/training/train_step.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.site import sections
from snippets.training import train_step as module
from snippets.training.train_step import AdversarialClassifier, JudgedMoved, OwnStep, make_model
from tests import contract
from tests.shown import shown
from tests.site import SITE
from tests.training.replicas import two_replicas

MODULE = "snippets.training.train_step"
COMPILE = {"optimizer": "sgd", "loss": keras.losses.BinaryCrossentropy(from_logits=True)}


def classes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6)).astype("float32")
    return x, (x[:, :1] > 0).astype("float32")


MODELS = {"AdversarialClassifier": contract.Model(lambda **kw: AdversarialClassifier(0.1, **kw), classes, COMPILE)}
NOT_IN_CONTRACT = {
    "OwnStep": "is a functional model of Keras with another step, which is proved below",
    "JudgedMoved": "predicts another thing than it returns, on purpose: tested below",
    "OftenSeen of often_seen_fails": "its training is wrong, and its outputs are right: tested below",
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    check(case)


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    return [
        [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line.split(":", 1)[1])]
        for line in printed.splitlines()
    ]


# --- the step of fit, written out ---------------------------------------------------------------------------------


@pytest.mark.proves(
    "A model with a step of its own, which does what that of `fit` does.",
    "The step below is that of `fit`, written out. It reports the same numbers, for the validation data as well:",
)
def test_the_program_reports_what_fit_reports(seed):
    page = shown(MODULE, "program", seed=seed)
    *lines, reloaded = page.printed.splitlines()
    assert [line.split(":")[0] for line in lines] == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(line.endswith(", 0.00000 from that of fit") for line in lines), lines
    assert reloaded == "reloaded as OwnStep, same outputs: True"
    assert page["expected"]["loss"][-1] < page["expected"]["loss"][0] / 1.5


DATA = np.random.default_rng(1)
X = DATA.normal(size=(70, 4)).astype("float32")
Y = (X[:, :1] > X[:, 1:2]).astype("float32")


class AddsALoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(keras.ops.cast(inputs, "float32"))))
        return inputs


def busy(model_class, **options) -> keras.Model:
    """A model of whatever a step has to keep: regularizer, added loss, dropout, moving statistics."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = keras.layers.BatchNormalization(momentum=0.5)(hidden)
    hidden = AddsALoss()(keras.layers.Dropout(0.3)(hidden))
    outputs = keras.layers.Dense(1, activation="sigmoid", dtype="float32")(hidden)
    model = model_class(inputs, outputs)
    defaults = {"optimizer": keras.optimizers.SGD(0.1), "loss": "binary_crossentropy"}
    model.compile(**{**defaults, "metrics": ["accuracy"], "weighted_metrics": ["mse"], **options})
    return model


def trained(model_class, *, compile_with=dict, **fit) -> tuple[dict, list]:
    model = busy(model_class, **compile_with())
    history = model.fit(X, Y, **{"batch_size": 32, "epochs": 2, "verbose": 0, **fit}).history
    return history, model.get_weights()


def with_options() -> dict:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    kept = {"weight_decay": 0.1, "clipnorm": 0.1, "use_ema": True, "gradient_accumulation_steps": 2}
    return {"optimizer": keras.optimizers.Adam(schedule, **kept), "run_eagerly": True}


EQUAL = (
    "Compared with `fit` without it, the losses, metrics and weights are equal with `run_eagerly=True`, with "
    "`jit_compile=True`, with `steps_per_execution`, and under `mixed_float16`."
)
KEPT = (
    "`optimizer.apply` keeps the optimizer's options: clipping, weight decay, a schedule, accumulation and the moving "
    "average."
)
WAYS = {
    "eager, sample weights": ({"run_eagerly": True}, {"sample_weight": np.linspace(0, 2, 70), "epochs": 1}),
    "steps, class weights": ({"steps_per_execution": 2}, {"class_weight": {0: 1.0, 1: 5.0}}),
    "mixed precision": ({"run_eagerly": True}, {"epochs": 1, "validation_data": (X, Y, np.linspace(0, 1, 70))}),
    "options of the optimizer": (with_options, {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.proves(EQUAL, KEPT)
def test_it_is_equal_to_fit(way):
    compiled, fit = WAYS[way]
    if way == "mixed precision":
        keras.config.set_dtype_policy("mixed_float16")
    make = compiled if callable(compiled) else lambda: compiled
    (expected, weights), (history, own) = (trained(cls, compile_with=make, **fit) for cls in (keras.Model, OwnStep))
    assert history.keys() == expected.keys() >= {"loss", "accuracy", "mse"}
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-6)
    contract.assert_same(own, weights, atol=1e-6)
    start = busy(OwnStep).get_weights()
    assert max(np.abs(one - other).max() for one, other in zip(start, own, strict=True)) > 0.01


@pytest.mark.proves("Copy the class, and change what you need.")
def test_it_takes_dicts_of_inputs_and_outputs_and_a_dataset():
    x, y = {"a": X[:, :2], "b": X[:, 2:]}, {"one": Y, "two": 1 - Y}
    histories = []
    for model_class in (keras.Model, OwnStep):
        keras.utils.set_random_seed(3)
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        both = keras.layers.Concatenate()(list(inputs.values()))
        outputs = {name: keras.layers.Dense(1, name=name)(both) for name in ("one", "two")}
        model = model_class(inputs, outputs)
        losses, weights = {"one": "mse", "two": "mae"}, {"one": 1.0, "two": 3.0}
        model.compile(optimizer="sgd", loss=losses, loss_weights=weights, metrics={"one": "mae"}, run_eagerly=True)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
        histories.append(model.fit(data, epochs=2, shuffle=False, verbose=0).history)
    assert histories[0].keys() == histories[1].keys() >= {"loss", "one_loss", "two_loss", "one_mae"}
    contract.assert_same(histories[1], histories[0])


@pytest.mark.proves(
    "`OwnStep(inputs, outputs)` is a functional model with this step: it has no `call` of its own. "
    "A `keras.Sequential`, or a class with a `call`, takes the same method."
)
def test_other_kinds_of_models_take_the_method(tmp_path):
    assert "call" not in vars(OwnStep)

    @keras.saving.register_keras_serializable(package="tests")
    class InSequential(keras.Sequential):
        train_step = OwnStep.train_step

    @keras.saving.register_keras_serializable(package="tests")
    class WithoutTraining(keras.Model):
        train_step = OwnStep.train_step

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    for model in (InSequential([keras.Input((4,)), keras.layers.Dense(1)]), WithoutTraining(), own_step_of_four()):
        model.compile(optimizer="sgd", loss="mse")
        plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model(X)
        plain.set_weights(model.get_weights())
        plain.compile(optimizer="sgd", loss="mse")
        for one in (model, plain):
            one.fit(X, Y, shuffle=False, verbose=0)
        contract.assert_same(model.get_weights(), plain.get_weights())
        model.save(tmp_path / "model.keras")
        reloaded = keras.saving.load_model(tmp_path / "model.keras")
        assert type(reloaded).__name__ == type(model).__name__


def own_step_of_four() -> OwnStep:
    inputs = keras.Input((4,))
    return OwnStep(inputs, keras.layers.Dense(1)(inputs))


@pytest.mark.proves("`fit` keeps the epochs, validation, callbacks and the progress bar.")
def test_callbacks_and_the_progress_bar(capsys):
    model = own_step_of_four()
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"], run_eagerly=True)
    stops = keras.callbacks.EarlyStopping("val_mae", mode="min", patience=0, min_delta=10)
    history = model.fit(X, Y, epochs=9, validation_split=0.2, callbacks=[stops], verbose=1).history
    assert len(history["loss"]) == 2
    assert "val_mae:" in capsys.readouterr().out


@pytest.mark.proves(EQUAL)
def test_it_is_equal_to_fit_under_xla():
    results = []
    for model_class in (keras.Model, OwnStep):
        inputs = keras.Input((4,))
        model = model_class(
            inputs, keras.layers.Dense(1, "sigmoid", kernel_regularizer="l2", kernel_initializer="ones")(inputs)
        )
        model.compile("sgd", "binary_crossentropy", weighted_metrics=["mse"], jit_compile=True)
        history = model.fit(X, Y, sample_weight=np.linspace(0, 2, 70), epochs=2, shuffle=False, verbose=0).history
        results.append((history, model.get_weights()))
    contract.assert_same(results[1], results[0])


# --- what each line keeps -----------------------------------------------------------------------------------------


def without(*changes: tuple[str, str]) -> type[keras.Model]:
    """The class that is shown, with some of its text exchanged."""
    text = sections(SITE.root / "snippets/training/train_step.py")["own_step"].text
    found = next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    found.decorator_list = []
    text = ast.unparse(found)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    namespace = dict(vars(module))
    exec(text, namespace)
    return namespace["OwnStep"]


EAGER = {"compile_with": lambda: {"run_eagerly": True}, "epochs": 1}
LINES = {
    "unpack": (
        "x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)",
        "(x, y), sample_weight = (data, None)",
    ),
    "training": ("y_pred = self(x, training=True)", "y_pred = self(x)"),
    "loss": (
        "self.compute_loss(x, y, y_pred, sample_weight)",
        "tf.reduce_mean(keras.losses.binary_crossentropy(y, y_pred))",
    ),
    "weights": ("self.compute_loss(x, y, y_pred, sample_weight)", "self.compute_loss(x, y, y_pred)"),
    "tracker": ("self.metrics[0].update_state(loss, sample_weight=samples)", "pass"),
    "samples": ("update_state(loss, sample_weight=samples)", "update_state(loss)"),
    "metrics": ("return self.compute_metrics(x, y, y_pred, sample_weight)", "return {'loss': loss}"),
}


@pytest.mark.proves(
    "`unpack_x_y_sample_weight(data)` | With `sample_weight`, with `class_weight` and in `train_on_batch`, "
    "`x, y = data` raises `too many values to unpack`."
)
@pytest.mark.parametrize("fit", [{"sample_weight": np.ones(70)}, {"class_weight": {0: 1.0, 1: 2.0}}])
def test_weights_arrive_in_data(fit):
    with pytest.raises(ValueError, match="too many values to unpack"):
        trained(without(LINES["unpack"]), **EAGER, **fit)
    with pytest.raises(ValueError, match="too many values to unpack"):
        busy(without(LINES["unpack"]), run_eagerly=True).train_on_batch(X, Y)


@pytest.mark.proves(
    "`training=True` | Dropout drops nothing, and the moving statistics of batch normalization stay, silently."
)
def test_without_training_nothing_is_dropped_and_nothing_moves(recwarn):
    """`fit` passes no `training` to a step: the model has to be told in it."""
    moved = {}
    for name, cls in {"right": OwnStep, "wrong": without(LINES["training"])}.items():
        model = busy(cls, run_eagerly=True)
        dropped = []
        dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
        inner = dropout.call
        dropout.call = lambda x, training=False, inner=inner, found=dropped: (
            found.append(training) or inner(x, training)
        )
        normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
        before = normalization.moving_mean.numpy()
        model.fit(X, Y, batch_size=32, verbose=0)
        moved[name] = (any(dropped), float(np.abs(normalization.moving_mean - before).max()))
    assert moved["right"][0]
    assert moved["right"][1] > 0.1
    assert moved["wrong"] == (False, 0.0)
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


@pytest.mark.proves(
    "`self.compute_loss(…)` | Regularizers and `add_loss` are silently ignored, where you call the loss yourself."
)
def test_a_loss_called_by_hand_is_without_the_penalties():
    model = busy(without(LINES["loss"]), run_eagerly=True, optimizer=keras.optimizers.SGD(0.0))
    model.fit(X, Y, batch_size=70, verbose=0)
    reported = model.metrics[0].result()
    with_all = busy(OwnStep, run_eagerly=True, optimizer=keras.optimizers.SGD(0.0))
    with_all.fit(X, Y, batch_size=70, verbose=0)
    assert float(with_all.metrics[0].result() - reported) == pytest.approx(float(sum(with_all.losses)), rel=1e-4)
    assert float(sum(with_all.losses)) > 0.1


@pytest.mark.proves(
    "`sample_weight`, given to `compute_loss` | `sample_weight` and `class_weight` are silently ignored."
)
def test_a_step_that_does_not_pass_the_weights_on_trains_without_them():
    for fit in ({"sample_weight": np.linspace(0, 3, 70)}, {"class_weight": {0: 1.0, 1: 9.0}}):
        step = without(LINES["weights"])
        weighted, plain = (trained(step, **EAGER, **one) for one in (fit, {}))
        contract.assert_same(weighted[1], plain[1])
        assert weighted[0]["loss"] == plain[0]["loss"]
        right = trained(OwnStep, **EAGER, **fit)[1]
        assert max(np.abs(one - other).max() for one, other in zip(right, plain[1], strict=True)) > 1e-3


@pytest.mark.proves(
    "`metrics[0].update_state(…)` | `fit` reports `loss: 0.0`, silently.",
    "`self.metrics[0]` is the running mean that `fit` reports as `loss`.",
)
def test_without_its_update_the_loss_is_0(recwarn):
    model = busy(without(LINES["tracker"]), run_eagerly=True)
    assert model.fit(X, Y, verbose=0).history["loss"] == [0.0]
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]
    for made in (busy(OwnStep), make_model(OwnStep)):
        assert isinstance(made.metrics[0], keras.metrics.Mean)
        assert made.metrics[0].name == "loss"


@pytest.mark.proves(
    "`sample_weight=samples` | A last batch that is smaller counts as much as the others in the reported loss."
)
def test_batches_of_another_size_count_by_it():
    reported = {}
    for name, cls in {"right": OwnStep, "wrong": without(LINES["samples"])}.items():
        model = own_step_of_four() if name == "right" else cls(*line_of_four())
        model.set_weights([np.ones((4, 1)), np.zeros(1)])
        model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
        reported[name] = model.fit(X, Y, batch_size=64, shuffle=False, verbose=0).history["loss"][0]
    errors = np.square(X.sum(axis=1) - Y[:, 0])
    assert reported["right"] == pytest.approx(errors.mean(), rel=1e-5)
    assert reported["wrong"] == pytest.approx((errors[:64].mean() + errors[64:].mean()) / 2, rel=1e-5)
    assert reported["wrong"] != pytest.approx(reported["right"], rel=1e-2)


def line_of_four() -> tuple:
    inputs = keras.Input((4,))
    return inputs, keras.layers.Dense(1)(inputs)


@pytest.mark.proves(
    '`compute_metrics` | With `metrics=` in `compile`, `{"loss": loss}` raises `Cannot get result()`. After an '
    "`evaluate`, `fit` silently leaves the metrics out, and its loss is that of the last batch."
)
def test_metrics_that_nobody_updates_raise_or_are_missing():
    with pytest.raises(ValueError, match=r"Cannot get result\(\)"):
        trained(without(LINES["metrics"]), **EAGER)
    model = without(LINES["metrics"])(*line_of_four())
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"], run_eagerly=True)
    assert len(model.evaluate(X, Y, verbose=0)) == 2
    history = model.fit(X, Y, batch_size=64, shuffle=False, verbose=0).history
    of_each = np.square(np.asarray(model(X)) - Y)
    assert history == {"loss": [pytest.approx(of_each[64:].mean(), rel=1e-5)]}
    assert of_each.mean() != pytest.approx(of_each[64:].mean(), rel=1e-2)
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    with pytest.raises(ValueError, match=r"Cannot get result\(\)"):
        model.fit(X, Y, validation_data=(X, Y), verbose=0)


@pytest.mark.proves(
    "Each part of the step keeps something of `fit`. This is what is lost without it:",
    "`scale_loss` | Under `mixed_float16`, SGD makes steps that are at first 32768 times too small, silently.",
    "Here each model makes one step under `mixed_float16`:",
    "The loss is 0 because `fit` reports `metrics[0]`, which nobody updated.",
    "The weight hardly moves, because the optimizer divides the gradient by the loss scale, and the loss wasn't "
    "multiplied by it.",
)
def test_without_the_scaled_loss_the_step_is_too_small():
    *right, wrong = (
        (line.split(":")[0], float(line.rsplit(" ", 1)[1]))
        for line in shown(MODULE, "often_seen_fails").printed.splitlines()
    )
    assert [name for name, _ in right] == ["Model", "OwnStep"]
    assert {kernel for _, kernel in right} == {0.1}
    keras.config.set_dtype_policy("mixed_float16")
    kernels = {}
    for name, cls in {"right": OwnStep, "wrong": without(("self.optimizer.scale_loss(loss)", "loss"))}.items():
        inputs = keras.Input((1,))
        dense = keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)
        model = cls(inputs, dense(inputs))
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
        model.fit(np.ones((32, 1)), np.full((32, 1), 0.5), verbose=0)
        kernels[name] = float(dense.kernel.numpy()[0, 0])
    assert kernels["right"] / kernels["wrong"] == pytest.approx(32768, rel=1e-3)
    assert wrong == ("OftenSeen", pytest.approx(0.1 / 32768, abs=1e-6))


@pytest.mark.proves("With Adam, whose steps hardly depend on the size of the gradient, the second fault is hidden.")
def test_adam_hides_a_loss_that_is_not_scaled():
    keras.config.set_dtype_policy("mixed_float16")
    kernels = []
    for cls in (OwnStep, without(("self.optimizer.scale_loss(loss)", "loss"))):
        inputs = keras.Input((1,))
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        model = cls(inputs, dense(inputs))
        model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=True)
        model.fit(np.ones((32, 1)), np.full((32, 1), 0.5), verbose=0)
        kernels.append(float(dense.kernel.numpy()[0, 0]))
    assert kernels == pytest.approx([0.1, 0.1], abs=0.01)


# --- the smallest method ------------------------------------------------------------------------------------------


def counting() -> tuple[type[keras.Model], list[str]]:
    calls: list[str] = []

    class Counts(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            calls.append("compute_loss")
            return super().compute_loss(x, y, y_pred, sample_weight, training) + 100 + 0 * tf.reduce_sum(x)

        def train_step(self, data):
            calls.append(f"train_step {len(data)}")
            return super().train_step(data)

        def test_step(self, data):
            calls.append(f"test_step {len(data)}")
            return super().test_step(data)

        def predict_step(self, data):
            x, *others = keras.utils.unpack_x_y_sample_weight(data)
            calls.append(f"predict_step of {x.shape}, {others}")
            return -super().predict_step(data)

    return Counts, calls


@pytest.mark.proves(
    "`compute_loss(x, y, y_pred, sample_weight, training)` | `train_step` and `test_step` | another loss, of the "
    "inputs too: both steps then report it",
    "`train_step(data)` | `fit`, `train_on_batch` | other data, or other gradients",
    "`test_step(data)` | `evaluate`, `test_on_batch`, and `fit` for the validation data | another evaluation",
    "`predict_step(data)` | `predict`, `predict_on_batch` | other predictions; `model(x)` stays as it is",
    "`data` is what one batch holds: `(x, y)`, or `(x, y, sample_weight)`, where the weights may be `None`.",
    "`train_step` is what `fit` does with one batch.",
)
def test_what_calls_which_method():
    cls, calls = counting()
    model = cls(*line_of_four())
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)

    def called(function, *args, **options) -> list[str]:
        calls.clear()
        function(*args, **options)
        return calls.copy()

    train, test = ["train_step 2", "compute_loss"], ["test_step 2", "compute_loss"]
    assert called(model.fit, X, Y, batch_size=70, verbose=0) == train
    assert called(model.train_on_batch, X, Y) == ["train_step 3", "compute_loss"]
    assert called(model.evaluate, X, Y, batch_size=70, verbose=0) == test
    assert called(model.test_on_batch, X, Y) in (test, ["test_step 3", "compute_loss"])
    assert called(model.fit, X, Y, validation_data=(X, Y), batch_size=70, verbose=0) == train + test
    alone = ["predict_step of (70, 4), [None, None]"]
    assert called(model.predict, X, batch_size=70, verbose=0) == called(model.predict_on_batch, X) == alone
    weighted = {"sample_weight": np.ones(70), "batch_size": 70, "verbose": 0}
    assert called(model.fit, X, Y, **weighted)[0] == "train_step 3"

    history = model.fit(X, Y, validation_data=(X, Y), verbose=0).history
    assert min(history["loss"][0], history["val_loss"][0]) > 100
    np.testing.assert_allclose(model.predict(X, verbose=0), -model(X), rtol=1e-6)


@pytest.mark.proves(
    "In `predict_step` it is the inputs, alone or in a tuple, with the targets if the dataset has them. Always unpack "
    "it: `keras.utils.unpack_x_y_sample_weight` takes each of these."
)
@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")  # Keras's own, of a list of one array
def test_what_predict_step_is_given():
    x, y = classes()
    both = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)
    weighted = tf.data.Dataset.from_tensor_slices((x, y, np.ones(64))).batch(64)
    given = []

    def ways(model) -> dict:
        quiet = {"batch_size": 64, "verbose": 0}
        return {
            "an array": lambda: model.predict(x, **quiet),
            "a batch": lambda: model.predict_on_batch(x),
            "a dataset": lambda: model.predict(both, verbose=0),
            "with weights": lambda: model.predict(weighted, verbose=0),
            "a list": lambda: model.predict([x], **quiet),
        }

    class Negates(keras.Model):
        def predict_step(self, data):
            given.append(len(data) if isinstance(data, tuple) else "alone")
            inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            return -self(inputs)

    inputs = keras.Input((6,))
    negates = Negates(inputs, keras.layers.Dense(1)(inputs))
    judged = JudgedMoved(0.1)
    for model, expected in ((negates, -negates(x)), (judged, tf.sigmoid(judged(x)))):
        model.compile(**COMPILE, run_eagerly=True)
        for way, predicts in ways(model).items():
            if model is judged and way == "a list":  # its `call` gets the list, as under Keras's step
                assert predicts().shape != (64, 1)
            else:
                np.testing.assert_allclose(predicts(), expected, rtol=1e-4, atol=1e-5)
    assert given == ["alone", 1, 2, 3, 1]

    class Forgets(AdversarialClassifier):
        def predict_step(self, data):
            return self(data)

    forgets = Forgets(0.1)
    forgets(x)
    forgets.compile(**COMPILE, run_eagerly=True)
    of = ways(forgets)
    assert of["an array"]().shape == (64, 1)
    assert of["a batch"]().shape == (1, 64, 1)  # silently
    with pytest.raises(ValueError, match="received 2 input tensors"):
        of["a dataset"]()


# --- where it ends ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Unless you compile with `run_eagerly=True`, the Python of a step runs when TensorFlow traces it, and not for "
    "each batch. A number that the step reads from an attribute, such as `epsilon`, stays what it was then: after "
    "changing it, compile again."
)
def test_the_python_of_a_step_runs_when_it_is_traced():
    traced = []

    class Traced(AdversarialClassifier):
        def attack(self, x, y, epsilon, sample_weight=None):
            traced.append(epsilon)
            return super().attack(x, y, epsilon, sample_weight)

    x, y = classes()
    model = Traced(0.1)
    model.compile(**COMPILE)
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)  # Keras traces it, and TensorFlow
    times = len(traced)
    assert times < 2 * 4
    model.epsilon = 0.5
    model.fit(x, y, batch_size=16, verbose=0)
    assert set(traced) == {0.1}
    assert len(traced) == times
    model.compile(**COMPILE)
    model.fit(x, y, batch_size=16, verbose=0)
    assert set(traced) == {0.1, 0.5}
    model.compile(**COMPILE, run_eagerly=True)
    model.epsilon = 0.2
    traced.clear()
    model.fit(x, y, batch_size=16, verbose=0)
    assert traced == [0.2] * 4


def on_two_replicas() -> list[list[float]]:
    """Loss and weights of `fit`, of the page's step, and of one that doesn't multiply by the number of replicas."""
    divided, found = without(("loss *= self.distribute_strategy.num_replicas_in_sync", "")), []
    for model_class in (keras.Model, OwnStep, divided):
        with two_replicas().scope():
            inputs = keras.Input((4,))
            model = model_class(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
            model.compile("sgd", "mse")
        loss = model.fit(X[:64], Y[:64], shuffle=False, verbose=0).history["loss"][0]
        found.append([loss, *model.get_weights()[0].ravel().tolist()])
    return found


@pytest.mark.proves(
    "`loss *= …num_replicas_in_sync` | On several devices, the reported loss is divided by their number, silently. "
    "The weights are the same.",
    "Under a strategy, `compute_loss` divides by the number of replicas.",
)
def test_two_replicas(process):
    of_fit, own, divided = process.call(on_two_replicas)
    assert own == pytest.approx(of_fit, rel=1e-5)
    assert divided[0] == pytest.approx(of_fit[0] / 2, rel=1e-5)
    assert divided[1:] == pytest.approx(of_fit[1:], rel=1e-5)


@pytest.mark.proves("`fit` calls the step of the model that you call it on. That of a model inside it is not called.")
def test_the_step_of_a_model_inside_is_not_called():
    cls, calls = counting()
    inner, inputs = cls(*line_of_four()), keras.Input((4,))
    outer = keras.Model(inputs, inner(inputs))
    outer.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    before = inner.get_weights()
    outer.fit(X, Y, verbose=0)
    assert calls == []
    assert np.abs(inner.get_weights()[0] - before[0]).max() > 1e-4


@pytest.mark.proves(
    "`compute_loss` needs a loss in `compile`, an `add_loss` or a regularizer. If your step computes its own loss, a "
    "`test_step` has to compute it too. Without one, `evaluate` and `validation_data` raise `No loss to compute`, or "
    "silently report only the `add_loss` and the regularizers."
)
def test_a_step_with_its_own_loss_needs_a_test_step():
    cls = without(("self.compute_loss(x, y, y_pred, sample_weight)", "tf.reduce_mean(tf.square(y - y_pred))"))
    model = cls(*line_of_four())
    model.compile(optimizer="sgd", run_eagerly=True)
    assert model.fit(X, Y, verbose=0).history["loss"][0] > 0
    with pytest.raises(ValueError, match="No loss to compute"):
        model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        model.fit(X, Y, validation_data=(X, Y), verbose=0)

    class Evaluates(cls):
        def test_step(self, data):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            self.metrics[0].update_state(tf.reduce_mean(tf.square(y - self(x))), sample_weight=tf.shape(x)[0])
            return self.compute_metrics(x, y, None)

    model = Evaluates(*line_of_four())
    model.compile(optimizer="sgd", run_eagerly=True)
    expected = np.mean(np.square(Y - model(X)))
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)

    inputs = keras.Input((4,))
    adds = OwnStep(inputs, AddsALoss()(keras.layers.Dense(1)(inputs)))
    adds.compile(optimizer="sgd", run_eagerly=True)
    assert adds.fit(X, Y, verbose=0).history["loss"][0] > 0
    penalized = OwnStep(inputs, keras.layers.Dense(1, use_bias=False, kernel_regularizer="l2")(inputs))
    penalized.compile(optimizer="sgd", run_eagerly=True)
    assert penalized.fit(X, Y, verbose=0).history["loss"][0] > 0

    for add, options in ((AddsALoss(), {}), (keras.layers.Identity(), {"kernel_regularizer": "l2"})):
        model = cls(inputs, add(keras.layers.Dense(1, **options)(inputs)))
        model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
        history = model.fit(X, Y, validation_data=(X, Y), batch_size=70, verbose=0).history
        outputs = model(X)
        assert history["loss"][0] == pytest.approx(np.mean(np.square(Y - outputs)), rel=1e-5)
        assert history["val_loss"][0] == pytest.approx(float(sum(model.losses)), rel=1e-5)
        assert model.evaluate(X, Y, batch_size=70, verbose=0) == pytest.approx(history["val_loss"][0], rel=1e-5)
        assert history["val_loss"][0] != pytest.approx(history["loss"][0], rel=1e-2)


@pytest.mark.proves(
    "`self.compiled_loss` and `optimizer.get_scaled_loss`, of Keras 2: the first is deprecated, and warns, the second "
    "is gone. Write `self.compute_loss` and `optimizer.scale_loss`."
)
def test_what_keras_2_had():
    model = own_step_of_four()
    model.compile(optimizer="sgd", loss="mse")
    for optimizer in (model.optimizer, keras.optimizers.LossScaleOptimizer(model.optimizer)):
        assert not hasattr(optimizer, "get_scaled_loss")
    with pytest.warns(UserWarning, match="is deprecated"):
        model.compiled_loss(Y, model(X))


# --- evaluate and predict -----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`evaluate` of the model above judges it on inputs that nobody moved. A `test_step` moves them first. "
    "`predict` returns logits, and a `predict_step` makes them probabilities:",
    "Evaluated on moved inputs, and predicts probabilities.",
    "`fit`, `evaluate` and `predict` call them; `judged(x_test)` still returns logits:",
    "The metric is computed from the logits, so its threshold is 0.",
    "so that a model that is saved and loaded has them too, if the class is registered.",
)
def test_it_is_evaluated_on_moved_inputs_and_predicts_probabilities(tmp_path):
    x, y = classes()
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0)
    for cls in (AdversarialClassifier, JudgedMoved):
        keras.utils.set_random_seed(1)
        model = cls(0.4)
        model.compile(**{**COMPILE, "optimizer": keras.optimizers.Adam(0.02)}, metrics=[accuracy], run_eagerly=True)
        model.fit(x, y, epochs=3, verbose=0)
        weight = np.linspace(0, 1, 64).astype("float32")
        _, found = model.evaluate(x, y, verbose=0)
        weighted, _ = model.evaluate(x, y, sample_weight=weight, batch_size=64, verbose=0)
        moved = x if cls is AdversarialClassifier else model.attack(x, y, 0.4)
        assert found == pytest.approx(np.mean((np.asarray(model(moved)) > 0) == (y > 0)))
        losses = keras.losses.binary_crossentropy(y, model(moved), from_logits=True)
        assert weighted == pytest.approx(np.mean(losses * weight), rel=1e-3)
        logits = np.asarray(model(x))
        assert logits.min() < 0
        expected = logits if cls is AdversarialClassifier else 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4)
    assert np.abs(np.asarray(moved) - x).max() == pytest.approx(0.4, rel=1e-3)
    model.save(tmp_path / "judged.keras")
    reloaded = keras.saving.load_model(tmp_path / "judged.keras")
    np.testing.assert_allclose(reloaded.predict(x, verbose=0), expected, rtol=1e-4)
    assert reloaded.evaluate(x, y, verbose=0)[1] == pytest.approx(found)


# --- adversarial training -------------------------------------------------------------------------------------------


def test_classifier_is_what_its_layers_compute():
    x, _y = classes()
    model, rng = AdversarialClassifier(0.1), np.random.default_rng(1)
    model(x)
    k1, b1, k2, b2 = (rng.normal(size=weight.shape) for weight in model.weights)
    model.set_weights([k1, b1, k2, b2])
    np.testing.assert_allclose(model(x), np.maximum(x @ k1 + b1, 0) @ k2 + b2, rtol=1e-3, atol=1e-4)
    assert k1.shape == (6, 16)
    assert AdversarialClassifier.from_config(AdversarialClassifier(0.3, name="foe").get_config()).epsilon == 0.3


def plain_like(ours: keras.Model, x, **options) -> keras.Model:
    layers = [keras.layers.Dense(16, activation="relu", **options), keras.layers.Dense(1)]
    plain = keras.Sequential([keras.Input((6,)), *layers])
    ours(x)
    plain.set_weights(ours.get_weights())
    return plain


@pytest.mark.proves("How far each feature moves in training. 0 trains as usual.")
def test_with_epsilon_0_the_train_step_is_the_one_of_fit(monkeypatch):
    x, y = classes()
    ours = AdversarialClassifier(0.0)
    plain = plain_like(ours, x)
    monkeypatch.setattr(ours, "attack", None)  # no second pass for nothing
    histories = []
    for model in (ours, plain):
        model.compile(**{**COMPILE, "optimizer": "adam"}, metrics=["mae"])
        fit = {"sample_weight": np.linspace(0, 1, len(x)), "epochs": 3, "batch_size": 24, "shuffle": False}
        histories.append(model.fit(x, y, **fit, verbose=0).history)
    assert histories[0].keys() == histories[1].keys()
    for key in histories[0]:
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-5)


@pytest.mark.proves(
    "the model first moves each batch in the direction that raises the loss. "
    "Then it trains on the moved batch with the inherited step, which handles `sample_weight`, regularizers "
    "and loss scaling:",
    "If only the data of a step differ, change them and call the inherited step.",
)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_step_is_the_inherited_one_on_the_moved_batch(policy):
    keras.config.set_dtype_policy(policy)
    x, y = classes()
    weight = np.linspace(0, 1, len(x), dtype="float32")
    ours = AdversarialClassifier(0.3)
    ours.hidden.kernel_regularizer = keras.regularizers.L2(0.1)
    plain = plain_like(ours, x, kernel_regularizer=keras.regularizers.L2(0.1))
    for model in (ours, plain):
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=COMPILE["loss"])
    scales = policy == "mixed_float16"
    assert isinstance(ours.optimizer, keras.optimizers.LossScaleOptimizer) == scales
    ours.optimizer.build(ours.trainable_variables)
    moved = ours.attack(x, y, 0.3, weight)
    assert not np.allclose(moved, x)
    for model, inputs in ((ours, x), (plain, moved)):
        model.fit(inputs, y, sample_weight=weight, batch_size=len(x), shuffle=False, verbose=0)
    contract.assert_same(ours.get_weights(), plain.get_weights(), atol=2e-3 if scales else 1e-5)


@pytest.mark.proves(
    "Return `x`, each feature moved by `epsilon` to raise the loss.",
    "A feature without influence on the loss stays, and so does a sample with a weight of 0.",
)
def test_the_attack_moves_each_feature_by_epsilon_and_raises_the_loss():
    x, y = classes()
    model = AdversarialClassifier(0.0)
    model.compile(**COMPILE)
    moved = model.attack(x, y, 0.05)
    np.testing.assert_allclose(np.abs(moved - x), 0.05, rtol=1e-3)
    assert model.evaluate(moved, y, verbose=0) > model.evaluate(x, y, verbose=0)

    weight = np.ones(len(x), "float32")
    weight[:5] = 0
    model.hidden.kernel.assign(model.hidden.kernel.numpy() * np.array([1, 1, 0, 1, 1, 1])[:, None])
    moved = np.abs(model.attack(x, y, 0.05, weight) - x)
    assert moved[:5].max() == moved[:, 2].max() == 0
    np.testing.assert_allclose(np.delete(moved[5:], 2, axis=1), 0.05, rtol=1e-3)
    assert model.attack(np.ones((2, 6), "int64"), y[:2], 0.05).dtype == "float32"


@pytest.mark.proves("Keeps small gradients from becoming 0 under mixed_float16.")
def test_the_attack_sees_small_gradients_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    x, y = classes()
    model = AdversarialClassifier(0.1)
    model.compile(**COMPILE)
    model(x)
    model.hidden.kernel.assign(model.hidden.kernel * 1e-3)
    model.logit.kernel.assign(model.logit.kernel * 1e-2)
    model.optimizer.build(model.trainable_variables)
    scaled = np.mean(model.attack(x, y, 0.1) != x)
    model.optimizer.scale_loss = lambda loss: loss
    unscaled = np.mean(model.attack(x, y, 0.1) != x)
    assert scaled > 0.95
    assert unscaled < 0.5


def test_it_trains_compiled_by_xla():
    x, y = classes()
    losses = {}
    for jit_compile in (False, True):
        keras.utils.set_random_seed(3)
        model = AdversarialClassifier(0.1)
        model.compile(**COMPILE, jit_compile=jit_compile)
        losses[jit_compile] = model.fit(x, y, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-4)


@pytest.mark.proves(
    "One feature of the data is strong, and right for 95 % of the samples. "
    "Twenty features are weak, and right together.",
    "Trained as usual (`epsilon` 0), the model relies on the weak ones, "
    "and moving each feature by 0.2 makes nearly every prediction wrong:",
)
def test_what_small_moves_do_to_a_model_that_never_saw_any(seed):
    page = shown(MODULE, "attacked", seed=seed)
    x, y = page["sample"](5000)
    side = 2 * y - 1
    assert x.shape == (5000, 21)
    assert np.mean(np.sign(x[:, :1]) == side) == pytest.approx(0.95, abs=0.01)
    assert np.mean(np.sign(x[:, 1:].mean(axis=1, keepdims=True)) == side) > 0.999
    assert np.mean(np.sign(x[:, 1:]) == side) < 0.9  # one weak feature alone
    usual, usual_moved, trained, trained_moved = (line[-1] for line in figures(page.printed))
    assert usual >= 0.98
    assert usual_moved <= 0.02
    assert min(trained, trained_moved) > 0.85
    assert trained < usual
