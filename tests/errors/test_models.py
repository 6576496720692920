"""`docs/errors/models.md`: every claim that the page makes, proved on the code that it shows."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from checkup import checkup

from tests import contract
from tests.shown import Shown, maker, shown

MODULE = "snippets.errors.models"


@cache
def section(*names: str) -> Shown:
    return shown(MODULE, *names)


def reloaded(path, name: str, sections: tuple[str, ...], x) -> np.ndarray:
    """Runs in a new process, in which the page's sections define the class."""
    cls = shown(MODULE, *sections)[name]
    return np.asarray(keras.saving.load_model(path, custom_objects={name: cls})(x))


def randomize(model: keras.Model) -> None:
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) * rng.choice([-1, 1]) for weight in model.get_weights()])


# --- the models that are shown, under the contract --------------------------------------------------------------------


def regression():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return x, 2 * x[:, :1] - 1


def classification():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=-1)


# What an entry shows is one mistake and its fix. So its models take no `dtype` on to their layers, have no docstring,
# and are loaded with `custom_objects`, as they aren't registered.
SHOWN = {"Normalized": ("training_works",), "Classifier": ("summary_fails",)}
CASES = {
    "Normalized": contract.Model(
        maker("Normalized", MODULE, "training_works"), regression, {"optimizer": "sgd", "loss": "mse"}
    ),
    "Classifier": contract.Model(
        maker("Classifier", MODULE, "summary_fails"),
        classification,
        {"optimizer": "adam", "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    ),
}


NOT_IN_CONTRACT = {"Classifier of summary_fails": "it is right, and among the cases: its summary comes too early"}
CAUGHT = {
    "Normalized of training_fails": contract.Wrong(
        maker("Normalized", MODULE, "training_fails"), (4,), "training_flag", "moving mean"
    )
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.parametrize("name", CASES)
def test_a_shown_model_reloads_in_a_new_process(name, tmp_path, fresh_process):
    case = CASES[name]
    x, y = case.data()
    model = case.make()
    model.compile(**case.compile)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    found = fresh_process.submit(reloaded, tmp_path / "model.keras", name, SHOWN[name], x).result()
    contract.assert_same(found, np.asarray(model(x)))


# --- metrics-arity ----------------------------------------------------------------------------------------------------

X = np.random.default_rng(3).normal(size=(8, 4)).astype("float32")
Y = {"colour": np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]], "shape": np.eye(2)[[0, 1] * 4]}
INVALID = r"[^\n]*\nInvalid `metrics`\."
BY_NAME = {"colour": ["accuracy"], "shape": ["accuracy"]}
BY_PLACE = [["accuracy"], ["accuracy"]]


class Subclassed(keras.Model):
    """Two outputs in a list, a tuple or a dict, as no entry shows them."""

    def __init__(self, container: type, **kwargs):
        super().__init__(**kwargs)
        self.container = container
        self.colour = keras.layers.Dense(3, activation="softmax")
        self.shape = keras.layers.Dense(2, activation="softmax")

    def call(self, inputs):
        outputs = {"colour": self.colour(inputs), "shape": self.shape(inputs)}
        return outputs if self.container is dict else self.container(outputs.values())


def functional(container: type) -> keras.Model:
    at = section("metrics_fails")
    return at["in_dict"] if container is dict else keras.Model(at["inputs"], container([at["colour"], at["shape"]]))


MODELS = [functional, Subclassed]
CONTAINERS = [list, tuple, dict]


def targets(container: type):
    return Y if container is dict else container(Y.values())


def with_metrics(make, container: type, metrics) -> keras.Model:
    model = make(container)
    model.compile(loss="categorical_crossentropy", metrics=metrics)
    return model


@pytest.mark.proves(
    "A list of metrics is read as one entry for each output.",
    "`compile` accepts a list of another length, and the first `fit` or `evaluate` raises.",
    "Where the outputs are a dict, the message begins with `Expected an instance of dict`.",
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("make", MODELS)
def test_a_list_of_another_length_is_accepted_by_compile_and_refused_by_the_first_batch(make, container, method):
    for metrics in ["accuracy"], ["accuracy", "mse", "mae"]:
        model = with_metrics(make, container, metrics)
        arity = f"tuple arity mismatch; expected: 2, got: {len(metrics)}; "
        first = "Expected an instance of dict, " if container is dict else arity
        with pytest.raises(ValueError, match=f"^{first}{INVALID}"):
            getattr(model, method)(X, targets(container), verbose=0)


def test_both_messages_are_printed():
    first, *_, second = [line for line in section("metrics_fails").printed.splitlines() if line.startswith("Val")]
    assert first.startswith("ValueError: tuple arity mismatch; expected: 2, got: 1; tuple: ('accuracy',).")
    assert second.startswith("ValueError: Expected an instance of dict, ")


@pytest.mark.proves(
    '`metrics=["accuracy", "mse"]` raises nothing, and computes the accuracy of the first output and the error of the '
    "second."
)
def test_a_list_of_two_metrics_gives_one_to_each_output():
    for container in CONTAINERS:
        model = with_metrics(functional, container, ["accuracy", "mse"])
        found = model.evaluate(X, targets(container), verbose=0, return_dict=True)
        assert set(found) == {"loss", "colour_loss", "shape_loss", "colour_accuracy", "shape_mse"}
        outputs = model(X)
        shape = outputs["shape"] if container is dict else outputs[1]
        assert found["shape_mse"] == pytest.approx(np.mean((shape - Y["shape"]) ** 2), rel=1e-5)


@pytest.mark.proves(
    "If the outputs are a dict, use its keys: the names of the layers, which the message of a functional model lists, "
    "raise `dictionary key mismatch`."
)
def test_the_metrics_of_a_dict_go_by_its_keys_and_not_by_the_names_of_layers():
    at = section("metrics_fails")
    y = {"hue": Y["colour"], "form": Y["shape"]}

    def fitted(metrics):
        model = keras.Model(at["inputs"], {"hue": at["colour"], "form": at["shape"]})
        model.compile(loss="categorical_crossentropy", metrics=metrics)
        return model.fit(X, y, verbose=0).history

    with pytest.raises(ValueError, match=r"output names of the functional model \['(colour|shape)', "):
        fitted(["accuracy"])
    with pytest.raises(ValueError, match=r"^dictionary key mismatch; "):
        fitted(BY_NAME)
    assert {"hue_accuracy", "form_accuracy"} <= set(fitted({"hue": ["accuracy"], "form": ["accuracy"]}))

    class Renamed(Subclassed):
        def call(self, inputs):
            return {"hue": self.colour(inputs), "form": self.shape(inputs)}

    model = with_metrics(Renamed, dict, {layer.name: ["accuracy"] for layer in Renamed(dict).layers})
    with pytest.raises(ValueError, match=r"^dictionary key mismatch; ") as caught:
        model.fit(X, y, verbose=0)
    assert "output names" not in str(caught.value)


@pytest.mark.proves("Name the metrics of each output in a dict, or write one list for each output.")
@pytest.mark.parametrize("metrics", [BY_NAME, BY_PLACE], ids=["dict", "lists"])
@pytest.mark.parametrize(("make", "container"), [*((functional, kind) for kind in CONTAINERS), (Subclassed, dict)])
def test_the_metrics_of_each_output_are_computed_by_name_and_by_place(make, container, metrics):
    model = with_metrics(make, container, metrics)
    found = model.evaluate(X, targets(container), verbose=0, return_dict=True)
    outputs = model(X)
    parts = list(outputs.values()) if container is dict else outputs
    accuracies = [value for key, value in found.items() if "accuracy" in key]
    expected = [np.mean(np.argmax(o, -1) == np.argmax(y, -1)) for o, y in zip(parts, Y.values(), strict=True)]
    assert accuracies == pytest.approx(expected)


def test_the_shown_fix_computes_the_accuracies_of_both_models():
    at = shown(MODULE, "metrics_fails", "metrics_works")
    for name in "in_list", "in_dict":
        model = at[name]
        outputs = model(X)
        parts = outputs.values() if isinstance(outputs, dict) else outputs
        found = model.evaluate(X, Y, verbose=0, return_dict=True)
        for output, (key, y) in zip(parts, Y.items(), strict=True):
            assert found[f"{key}_accuracy"] == pytest.approx(np.mean(np.argmax(output, -1) == np.argmax(y, -1)))


@pytest.mark.proves(
    "A list or tuple of outputs that a subclassed model returns has no names, unless you set `model.output_names`.",
    "Without names a dict raises `Expected an instance of tuple`, and the list of lists works.",
)
@pytest.mark.parametrize("container", [list, tuple])
def test_outputs_of_a_subclassed_model_have_no_names(container):
    model = with_metrics(Subclassed, container, BY_NAME)
    with pytest.raises(ValueError, match=f"^Expected an instance of tuple, {INVALID}"):
        model.fit(X, targets(container), verbose=0)
    history = with_metrics(Subclassed, container, BY_PLACE).fit(X, targets(container), verbose=0).history
    assert {"accuracy", "accuracy_1"} <= set(history)

    model = Subclassed(container)
    model.output_names = ["colour", "shape"]
    model.compile(loss="categorical_crossentropy", metrics=BY_NAME)
    history = model.fit(X, targets(container), verbose=0).history
    assert {"colour_accuracy", "shape_accuracy"} <= set(history)


# --- relu-cross-entropy -----------------------------------------------------------------------------------------------


def of_one_sample(outputs: list[float], loss=keras.losses.categorical_crossentropy, true=((1.0, 0, 0),)):
    """Loss and gradient where the first class is true."""
    variable = tf.Variable([outputs])
    with tf.GradientTape() as tape:
        value = loss(np.array(true), variable)
    return float(value[0]), tape.gradient(value, variable).numpy()


@pytest.mark.proves(
    "The loss divides a sample's outputs by their sum and takes the logarithm of the true class's share."
)
def test_the_loss_is_the_logarithm_of_the_true_classs_share():
    assert of_one_sample([2.0, 5.0, 1.0])[0] == pytest.approx(-np.log(2 / 8), rel=1e-5)


@pytest.mark.proves("Where relu makes all outputs of a sample 0, that is 0 / 0, which is `nan`.")
def test_outputs_that_are_all_zero_give_nan():
    assert np.isnan(of_one_sample([0.0, 0.0, 0.0])[0])


@pytest.mark.proves("Where only the true class's output is 0, the gradient is 0, and the sample teaches nothing.")
@pytest.mark.parametrize("outputs", [[0.0, 5.0, 0.0], [0.0, 0.1, 3.0]])
def test_the_gradient_is_zero_where_the_true_classs_output_is(outputs):
    loss, gradient = of_one_sample(outputs)
    assert loss > 16
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.proves("`sparse_categorical_crossentropy` isn't `nan` in the first case: there its gradient is 0 as well.")
def test_the_sparse_loss_stands_still_in_both_cases():
    for outputs in [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]:
        loss, gradient = of_one_sample(outputs, keras.losses.sparse_categorical_crossentropy, (0,))
        assert np.isfinite(loss)
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.proves(
    "The loss is `nan` or stands still: `categorical_crossentropy` on a relu output",
    "End in softmax, or in no activation, with `from_logits=True` in the loss.",
)
def test_softmax_and_logits_train_where_relu_does_not(seed):
    at = shown(MODULE, "relu_fails", "relu_works", seed=seed)
    assert at["zero"].any()
    assert not np.isfinite(at["relu"].get_weights()[0]).any()
    for model in at["softmax"], at["linear"]:
        loss, accuracy = model.evaluate(at["x"], at["y"], verbose=0)
        assert loss < np.log(3)
        assert accuracy > 0.5


@pytest.mark.proves(
    "tanh, and no activation without `from_logits=True`, have the same fault: the gradient is 0 where the true class's "
    "share is negative."
)
@pytest.mark.parametrize(
    ("outputs", "still"),
    [
        ([-0.5, 0.9, 0.8], True),
        ([-3.0, 5.0, 1.0], True),
        ([3.0, -5.0, 1.0], True),
        ([0.5, 0.9, 0.8], False),
        ([-3.0, -5.0, 1.0], False),
    ],
)
def test_the_gradient_is_zero_where_the_share_is_negative(outputs, still):
    assert (outputs[0] / sum(outputs) < 0) is still
    _, gradient = of_one_sample(outputs)
    assert (not gradient.any()) is still
    logits = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
    assert of_one_sample(outputs, logits)[1].all()


def test_the_three_are_trained_alike_and_the_two_that_work_are_one_function():
    at = section("relu_fails", "relu_works")
    for model in at["relu"], at["softmax"], at["linear"]:
        assert type(model.optimizer) is keras.optimizers.Adam
        assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
        assert model.optimizer.iterations == 20 * 10
    x = np.random.default_rng(5).normal(size=(6, 4)).astype("float32")
    weights = [np.random.default_rng(6).normal(size=shape) for shape in ((4, 3), (3,))]
    for model in at["softmax"], at["linear"]:
        model.set_weights(weights)
    logits = x @ weights[0] + weights[1]
    np.testing.assert_allclose(at["linear"](x), logits, rtol=1e-4, atol=1e-5)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(at["softmax"](x), shares, rtol=1e-4, atol=1e-5)
    y = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    for model in at["softmax"], at["linear"]:
        expected = -np.mean(np.log(np.sum(shares * y, axis=-1)))
        assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


# --- nan-of-your-own --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`exp` overflows above 88.7 in float32, and above 11.08 in float16: infinity divided by infinity is `nan`."
)
@pytest.mark.parametrize(("dtype", "largest"), [("float32", 88.7), ("float16", 11.08)])
def test_where_exp_overflows(dtype, largest):
    assert np.isfinite(np.array(keras.ops.exp(keras.ops.cast(largest, dtype))))
    assert np.isinf(np.array(keras.ops.exp(keras.ops.cast(largest + 0.05, dtype))))
    softmax = section("nan_fails")["softmax"]
    assert not np.isnan(softmax(keras.ops.cast([0, largest], dtype))).any()
    assert np.isnan(softmax(keras.ops.cast([0, largest + 1], dtype))).any()


def slope(function, value: float) -> tuple[float, float]:
    x = tf.constant([value])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.ops.sum(function(x))
    return float(y), float(tape.gradient(y, x)[0])


@pytest.mark.proves(
    "The derivatives of `sqrt` and `log` at 0 are infinite. Multiplied by 0 they are `nan`: the output is right, and "
    "its gradient isn't. `ops.where` around a logarithm doesn't stop it, because both of its branches get a gradient; "
    "around a root it does, except under XLA, which `fit` uses on a GPU."
)
@pytest.mark.parametrize("name", ["norm", "log_if_positive"])
def test_the_gradient_is_nan_where_the_value_is_right(name):
    for function in keras.ops.sqrt, keras.ops.log:
        assert slope(function, 0.0)[1] == np.inf
    value, gradient = slope(section("nan_fails")[name], 0.0)
    assert value == 0
    assert np.isnan(gradient)
    assert np.isfinite(slope(section("nan_fails")[name], 0.5)).all()
    graph = tf.function(lambda x: tf.gradients(section("nan_fails")[name](x), x)[0])
    assert np.isnan(graph(tf.constant([0.0]))).all()


def test_where_around_a_root():
    def root_if_positive(x):
        return keras.ops.where(x > 0, keras.ops.sqrt(x), 0.0)

    def gradient(x):
        return tf.gradients(root_if_positive(x), x)[0]

    assert slope(root_if_positive, 0.0) == (0.0, 0.0)
    zero = tf.constant([0.0])
    assert tf.function(gradient)(zero).numpy() == [0.0]
    assert np.isnan(tf.function(gradient, jit_compile=True)(zero)).all()


@pytest.mark.proves("Bound what goes into a root or a logarithm, and not what comes out.")
@pytest.mark.parametrize("name", ["norm", "log_if_positive"])
def test_bounding_what_goes_in_gives_a_finite_gradient(name):
    fails, works = section("nan_fails")[name], section("nan_works")[name]
    assert slope(works, 0.0) == (pytest.approx(0, abs=1e-5), 0.0)
    for value in (0.01, 0.5, 3.0):
        assert slope(works, value) == pytest.approx(slope(fails, value), rel=1e-5)
    assert np.isnan(slope(lambda x: keras.ops.maximum(keras.ops.sqrt(keras.ops.square(x)), 0.0), 0.0)[1])


@pytest.mark.proves(
    "`ops.softmax`, `ops.logsumexp`, `ops.log_softmax` and the cross-entropies with `from_logits=True`, except the "
    "focal one for categories, subtract the largest value first."
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_keras_has_for_it_is_finite(dtype):
    scores = keras.ops.cast([[0.0, 30000.0]], dtype)
    for found in (keras.ops.softmax(scores), keras.ops.logsumexp(scores), keras.ops.log_softmax(scores)):
        assert np.isfinite(np.array(found, "float32")).all()
    for loss in (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.BinaryCrossentropy(from_logits=True),
    ):
        assert np.isfinite(float(loss(np.array([[0.0, 1.0]]), scores)))
    assert np.isfinite(float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(np.array([0]), scores)))
    wrong = tf.constant([[0.0, 17.0]])  # for the first class
    for loss, trains in (
        (keras.losses.CategoricalFocalCrossentropy, False),
        (keras.losses.CategoricalCrossentropy, True),
    ):
        with tf.GradientTape() as tape:
            tape.watch(wrong)
            value = loss(from_logits=True)(np.array([[1.0, 0.0]]), wrong)
        assert np.any(tape.gradient(value, wrong)) == trains, loss
    small = np.array([[0.0, 2.0]], "float32")
    np.testing.assert_allclose(
        section("nan_works")["softmax"](small), section("nan_fails")["softmax"](small), rtol=1e-6
    )


@keras.saving.register_keras_serializable(package="tests.errors.models")
class Length(keras.layers.Layer):
    """The root of the sum of squares, as the entry has it."""

    def call(self, inputs):
        return keras.ops.sqrt(keras.ops.sum(keras.ops.square(inputs), axis=-1, keepdims=True))


@keras.saving.register_keras_serializable(package="tests.errors.models")
class Softmax(keras.layers.Layer):
    """The softmax of the entry, sample by sample."""

    def call(self, inputs):
        powers = keras.ops.exp(inputs)
        return powers / keras.ops.sum(powers, axis=-1, keepdims=True)


@pytest.mark.proves("it calls it on zeros and on large inputs.")
def test_the_checkup_finds_both():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    found = {layer: {finding.check for finding in checkup(layer, x).findings} for layer in (Length, Softmax)}
    assert "gradient_at_special_inputs" in found[Length]
    assert "numbers_in_16_bits" in found[Softmax]


@pytest.mark.proves("One step with such a gradient makes the weight `nan`, and then what is computed from it.")
def test_one_step_makes_the_weight_nan():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Length()(keras.layers.Dense(2, use_bias=False)(inputs)))
    model.compile("sgd", loss="mse")
    x = np.ones((4, 3))
    x[0] = 0.0
    model.fit(x, np.ones((4, 1)), verbose=0)
    assert np.isnan(model.get_weights()[0]).all()
    assert np.isnan(model.predict(x, verbose=0)).all()


@pytest.mark.proves(
    "Under `mixed_float16`, `fit` skips such steps instead: nothing is `nan`, and these batches train no weight.",
)
def test_mixed_precision_skips_the_step():
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Length()(keras.layers.Dense(2, use_bias=False)(inputs)))
    model.compile("sgd", loss="mse")
    before = model.get_weights()[0]
    x = np.ones((4, 3))
    x[0] = 0.0
    losses = model.fit(x, np.ones((4, 1)), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(model.get_weights()[0], before)
    model.fit(x[1:], np.ones((3, 1)), verbose=0)
    assert np.any(model.get_weights()[0] != before), "another batch does"


# --- training-argument ------------------------------------------------------------------------------------------------

BATCH = np.random.default_rng(0).normal(5.0, 1.0, size=(128, 1)).astype("float32")


def fails() -> type[keras.Model]:
    return section("training_fails")["Normalized"]


def works() -> type[keras.Model]:
    return section("training_works")["Normalized"]


def normalized(model: keras.Model, x: np.ndarray, mean, variance) -> np.ndarray:
    norm, head = model.norm, model.head
    scaled = (x - mean) / np.sqrt(variance + 1e-3) * norm.gamma + norm.beta
    return scaled @ np.asarray(head.kernel) + np.asarray(head.bias)


@pytest.mark.parametrize("form", [fails, works])
def test_in_inference_both_forms_compute_the_same(form):
    x = np.random.default_rng(4).normal(size=(9, 3)).astype("float32")
    model = form()()
    model(x)
    randomize(model)
    mean, variance = np.linspace(-1, 1, 3), np.linspace(0.5, 2, 3)
    model.norm.moving_mean.assign(mean)
    model.norm.moving_variance.assign(variance)
    for outputs in model(x), model.predict(x, verbose=0), tf.function(model)(tf.constant(x)):
        np.testing.assert_allclose(outputs, normalized(model, x, mean, variance), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.norm.moving_mean, mean, rtol=1e-6)


def test_in_training_the_form_that_works_takes_the_statistics_of_the_batch_and_keeps_a_tenth_of_them():
    x = np.random.default_rng(4).normal(2, 3, size=(9, 3)).astype("float32")
    model = works()()
    model(x)
    before = model.norm.moving_mean.numpy()
    outputs = model(x, training=True)
    np.testing.assert_allclose(outputs, normalized(model, x, x.mean(0), x.var(0)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.norm.moving_mean, 0.9 * before + 0.1 * x.mean(0), rtol=1e-4)


class Variant(keras.Model):
    """What the entry says of other forms of `call`."""

    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.norm = inner or keras.layers.BatchNormalization(momentum=0.9)
        self.head = keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.norm(inputs))


class Keywords(Variant):
    def call(self, inputs, **kwargs):
        return self.head(self.norm(inputs, **kwargs))


def fitted(model: keras.Model, **options) -> keras.Model:
    model.compile(optimizer="sgd", loss="mse", **options)
    model.fit(BATCH, BATCH, epochs=3, verbose=0)
    return model


@pytest.mark.proves(
    "BatchNormalization and Dropout don't work in `fit`: `moving mean: 0.0`",
    "Nothing is raised.",
    "`fit` tells a model that it is training only if the model's `call` has a parameter that is named `training`; "
    "`**kwargs` isn't enough.",
    "Without it the layers inside run in inference mode: dropout drops nothing, and the moving statistics keep their "
    "first values.",
)
@pytest.mark.parametrize("eager", [False, True])
def test_without_the_argument_the_moving_statistics_keep_their_first_values(eager, recwarn):
    for cls in fails(), Keywords:
        norm = fitted(cls(), run_eagerly=eager).norm
        assert (norm.moving_mean.numpy(), norm.moving_variance.numpy()) == (0.0, 1.0)
    assert not [warning for warning in recwarn if "training" in str(warning.message)]


@pytest.mark.proves("In a `train_step` of your own, call `self(x, training=True)`.")
@pytest.mark.parametrize(("options", "learns"), [({}, False), ({"training": True}, True)])
def test_a_train_step_has_to_say_that_it_trains(options, learns):
    class Steps(works()):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, **options) - y) ** 2)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    assert (fitted(Steps()).norm.moving_mean.numpy() != 0.0) == learns


@pytest.mark.proves("Take the argument in the model that is fitted, and pass it on.")
@pytest.mark.parametrize("eager", [False, True])
def test_with_the_argument_they_are_learnt(eager):
    norm = fitted(works()(), run_eagerly=eager).norm
    assert norm.moving_mean.numpy() == pytest.approx(5 * (1 - 0.9**12), rel=0.05)
    assert norm.moving_variance.numpy() != 1.0


@pytest.mark.proves(
    "A subclassed model inside a functional or Sequential model trains without it, except in a `fit` of its own."
)
def test_inside_a_functional_or_sequential_model_it_is_not_needed():
    for outer in (
        lambda inner: keras.Sequential([keras.Input((1,)), inner]),
        lambda inner: keras.Model(inputs := keras.Input((1,)), inner(inputs)),
    ):
        inner = fails()()
        model = outer(inner)
        fitted(model)
        learnt = inner.norm.moving_mean.numpy()
        assert learnt > 3
        fitted(inner)
        assert inner.norm.moving_mean.numpy() == learnt
        fitted(model)
        assert inner.norm.moving_mean.numpy() > learnt


class VariantWith(Variant):
    def call(self, inputs, training=False):
        return self.head(self.norm(inputs, training=training))


@pytest.mark.parametrize(("cls", "drops"), [(Variant, False), (VariantWith, True)])
def test_dropout_drops_nothing_in_fit_without_the_argument(cls, drops):
    """Nothing is learnt at a rate of 0: the loss of `fit` is that of `evaluate`, unless something is dropped."""
    x = np.random.default_rng(0).normal(size=(64, 1)).astype("float32")
    model = cls(keras.layers.Dropout(0.5))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    loss = model.fit(x, x, verbose=0).history["loss"][0]
    assert (loss != pytest.approx(model.evaluate(x, x, verbose=0), rel=1e-5)) is drops


# --- list-order -------------------------------------------------------------------------------------------------------


class PriceAndArea(keras.Model):
    def call(self, inputs):
        return {"price": 10.0 * inputs, "area": inputs}


ONE = np.random.default_rng(1).uniform(1, 2, size=(8, 1)).astype("float32")
DICT = {"price": 10 * ONE, "area": ONE}
OFF = {"price": 10 * ONE + 3, "area": ONE + 2}


@pytest.fixture(params=[lambda: section("order_fails")["model"], PriceAndArea], ids=["shown", "subclassed"])
def dict_model(request) -> keras.Model:
    return request.param()


def evaluated(model: keras.Model, y, x=ONE, **options) -> dict[str, float]:
    model.compile(**options)
    return model.evaluate(x, y, verbose=0, return_dict=True)


def about(**losses: float):
    return pytest.approx(losses, rel=1e-4, abs=1e-4)


@pytest.mark.proves(
    "The losses of a dict of outputs are wrong: a list is matched in sorted key order",
    "Where the outputs are a dict, a list of targets, losses, metrics or loss weights is matched with the sorted keys, "
    "whatever order you wrote the keys in.",
)
def test_a_list_of_targets_is_matched_with_the_sorted_keys(dict_model):
    ones = np.ones((8, 1))
    found = evaluated(dict_model, [10 * ones, ones], ones, loss="mse")
    assert found == {"loss": 162.0, "price_loss": 81.0, "area_loss": 81.0}
    assert evaluated(dict_model, [ONE, 10 * ONE], loss="mse")["loss"] == 0


@pytest.mark.proves(
    "Where the outputs are a dict, a list of targets, losses, metrics or loss weights is matched with the sorted keys, "
    "whatever order you wrote the keys in."
)
def test_so_is_a_list_of_losses(dict_model):
    assert evaluated(dict_model, OFF, loss=["mse", "mae"]) == about(loss=7, price_loss=3, area_loss=4)
    by_name = {"price": "mse", "area": "mae"}
    assert evaluated(dict_model, OFF, loss=by_name) == about(loss=11, price_loss=9, area_loss=2)


@pytest.mark.proves(
    "Where the outputs are a dict, a list of targets, losses, metrics or loss weights is matched with the sorted keys, "
    "whatever order you wrote the keys in."
)
def test_so_are_lists_of_metrics_and_loss_weights(dict_model):
    loss = {"price": "mse", "area": "mse"}
    assert {"area_mae", "price_mse"} <= set(evaluated(dict_model, OFF, loss=loss, metrics=["mae", "mse"]))
    assert evaluated(dict_model, OFF, loss=loss, loss_weights=[100.0, 1.0])["loss"] == pytest.approx(409, rel=1e-4)


@pytest.mark.proves(
    "`loss_weights` with one `loss` for all outputs raise `must match the number of losses`, as a list and as a dict."
)
@pytest.mark.parametrize("weights", [[100.0, 1.0], {"price": 1.0, "area": 100.0}], ids=["list", "dict"])
def test_loss_weights_with_one_loss_raise(dict_model, weights):
    with pytest.raises(ValueError, match="must match the number of losses"):
        evaluated(dict_model, OFF, loss="mse", loss_weights=weights)
    losses = ["mse", "mse"] if isinstance(weights, list) else {"price": "mse", "area": "mse"}
    assert evaluated(dict_model, OFF, loss=losses, loss_weights=weights)["loss"] == pytest.approx(409, rel=1e-4)


ORDERED = "An `OrderedDict` keeps its order, but `load_model` of a functional model makes it a dict."
EXCHANGED = (
    "If its keys aren't sorted, that may raise, or silently exchange the weights of its outputs. `load_weights` into a "
    "new model doesn't."
)


@pytest.mark.proves(ORDERED)
def test_a_functional_model_that_is_loaded_has_lost_the_order(tmp_path):
    inputs = keras.Input((1,))
    model = keras.Model(
        inputs, OrderedDict(price=keras.layers.Rescaling(10.0)(inputs), area=keras.layers.Rescaling(1.0)(inputs))
    )
    assert evaluated(model, [10 * ONE, ONE], loss="mse")["loss"] == 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again(ONE)) is dict
    assert evaluated(again, [10 * ONE, ONE], loss="mse")["loss"] > 1
    assert evaluated(again, [ONE, 10 * ONE], loss="mse")["loss"] == 0


@pytest.mark.proves(ORDERED, EXCHANGED)
@pytest.mark.parametrize("outputs", [OrderedDict, dict])
@pytest.mark.parametrize("keys", [("price", "area"), ("area", "price"), ("price", "area", "floor")])
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_functional_model_that_is_loaded_may_have_exchanged_weights(outputs, keys, tmp_path):
    def of() -> keras.Model:
        inputs = keras.Input((1,))
        return keras.Model(inputs, outputs((key, keras.layers.Dense(1, name=key)(inputs)) for key in keys))

    model, path = of(), tmp_path / "model.keras"
    expected = model(ONE)
    model.save(path)
    again = keras.saving.load_model(path)(ONE)
    layers_in_order = keys if outputs is OrderedDict else sorted(keys)
    for key, other in zip(sorted(keys), layers_in_order, strict=True):
        np.testing.assert_array_equal(again[key], expected[other])
    (new := of()).load_weights(path)
    for key in keys:
        np.testing.assert_array_equal(new(ONE)[key], expected[key])


@pytest.mark.proves(EXCHANGED)
@pytest.mark.parametrize("keys", [("price", "area"), ("area", "price")])
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_loading_raises_if_the_exchanged_weights_differ_in_shape(keys, tmp_path):
    def of() -> keras.Model:
        inputs = keras.Input((1,))
        return keras.Model(inputs, OrderedDict((key, keras.layers.Dense(len(key))(inputs)) for key in keys))

    model, path = of(), tmp_path / "model.keras"
    expected = model(ONE)
    model.save(path)
    if keys == ("price", "area"):
        with pytest.raises(ValueError, match="The shape of the target variable and the shape of the target value"):
            keras.saving.load_model(path)
    else:
        np.testing.assert_array_equal(keras.saving.load_model(path)(ONE)["area"], expected["area"])
    (new := of()).load_weights(path)
    for key in keys:
        np.testing.assert_array_equal(new(ONE)[key], expected[key])


@pytest.mark.proves(ORDERED)
@pytest.mark.parametrize("form", ["functional", "subclassed"])
def test_an_ordered_dict_is_matched_in_its_own_order(form):
    class Ordered(keras.Model):
        def call(self, inputs):
            return OrderedDict(price=10.0 * inputs, area=inputs)

    inputs = keras.Input((1,))
    functional = keras.Model(inputs, OrderedDict(price=10.0 * inputs, area=1 * inputs))
    model = functional if form == "functional" else Ordered()
    assert evaluated(model, [10 * ONE, ONE], loss="mse")["loss"] == 0
    assert evaluated(model, [ONE, 10 * ONE], loss="mse")["loss"] > 1
    assert evaluated(model, OFF, loss=["mse", "mae"])["loss"] == pytest.approx(11, rel=1e-4)
    assert {"price_mae", "area_mse"} <= set(evaluated(model, OFF, loss="mse", metrics=["mae", "mse"]))


@pytest.mark.proves("Where the outputs are a dict, use dicts for the targets, losses, metrics and loss weights too.")
def test_dicts_are_matched_by_key(dict_model):
    options = {
        "loss": {"price": "mse", "area": "mae"},
        "metrics": {"price": ["mae"], "area": ["mse"]},
        "loss_weights": {"price": 100.0, "area": 1.0},
    }
    for y in OFF, dict(reversed(OFF.items())):
        found = evaluated(dict_model, y, **options)
        assert found == about(loss=902, price_loss=9, area_loss=2, price_mae=3, area_mse=4)


def test_the_shown_fix_measures_both_outputs_with_the_mean_squared_error():
    model = shown(MODULE, "order_fails", "order_works")["model"]
    found = model.evaluate(ONE, OFF, verbose=0, return_dict=True)
    assert found == about(loss=13, price_loss=9, area_loss=4)
    contract.assert_same(model(ONE), {"price": tf.constant(10 * ONE), "area": tf.constant(ONE)})


# --- unbuilt-summary --------------------------------------------------------------------------------------------------


def classifier() -> keras.Model:
    return section("summary_fails")["Classifier"]()


def summary(model: keras.Model) -> str:
    lines: list[str] = []
    model.summary(line_length=72, print_fn=lines.append)
    return "\n".join(lines)


def test_it_is_two_layers_with_a_relu_between():
    x = np.random.default_rng(4).normal(size=(9, 4)).astype("float32")
    model = classifier()
    model(x)
    randomize(model)
    w, b, v, c = model.get_weights()
    assert (w.shape, v.shape) == ((4, 8), (8, 3))
    np.testing.assert_allclose(model(x), np.maximum(x @ w + b, 0) @ v + c, rtol=1e-4, atol=1e-4)


@pytest.mark.proves(
    "`summary()` shows `?` and `0 (unbuilt)`",
    "Before a subclassed model is called, it doesn't know the shape of its input, and its layers haven't created the "
    "weights whose shapes depend on it.",
)
def test_a_new_model_shows_nothing():
    model = classifier()
    text = summary(model)
    assert (text.count("?"), text.count("0 (unbuilt)"), model.weights) == (2, 2, [])


@pytest.mark.proves(
    "`model.build(shape)` changes nothing in the summary if the class has no `build` of its own.",
    "It only marks the model as built, and `load_weights` then loads nothing.",
)
def test_build_marks_the_model_as_built_and_changes_nothing_else(tmp_path):
    model, other = classifier(), classifier()
    other(np.ones((1, 4)))
    other.save_weights(tmp_path / "other.weights.h5")
    before = summary(model).partition("\n")[2]
    with pytest.warns(UserWarning, match=r"^`build\(\)` was called on layer"):
        model.build((None, 4))
    assert summary(model).partition("\n")[2] == before
    model.load_weights(tmp_path / "other.weights.h5")
    assert (model.built, model.weights) == (True, [])


@pytest.mark.proves(
    "Layers such as `Dropout` and `ReLU` show `?` after the call too, which is no mistake.",
)
@pytest.mark.parametrize("layer", [keras.layers.Dropout, keras.layers.ReLU, keras.layers.BatchNormalization])
def test_layers_without_a_build_keep_the_question_mark(layer):
    class Ends(type(classifier())):
        def __init__(self):
            super().__init__()
            self.end = layer() if layer is keras.layers.BatchNormalization else layer(0.5)

        def call(self, inputs):
            return self.end(super().call(inputs))

    model = Ends()
    model(np.ones((1, 4)))
    assert summary(model).count("?") == (layer is not keras.layers.BatchNormalization)


@pytest.mark.proves("Call it once, on data or on a `keras.Input`.")
@pytest.mark.parametrize("inputs", [lambda: keras.Input((4,)), lambda: np.ones((1, 4))], ids=["Input", "data"])
def test_one_call_is_enough(inputs):
    model = classifier()
    model(inputs())
    text = summary(model)
    assert "?" not in text
    assert "Total params: 67 " in text
    assert model.count_params() == 4 * 8 + 8 + 8 * 3 + 3


# --- trainable-after-compile ------------------------------------------------------------------------------------------

ONES = np.ones((8, 1), dtype="float32")


def two_layers(first: bool, optimizer="sgd", **options) -> tuple[keras.Model, keras.layers.Layer]:
    base, head = (keras.layers.Dense(1, kernel_initializer="ones") for _ in range(2))
    base.trainable = first
    model = keras.Sequential([keras.Input((1,)), base, head])
    model.compile(optimizer=optimizer, loss="mse", **options)
    return model, base


def moved(model: keras.Model, base: keras.layers.Layer, **new) -> bool:
    """Whether a `fit` changes the kernel."""
    before = base.kernel.numpy()
    model.fit(ONES, 0 * ONES, verbose=0, **new)
    return not np.array_equal(before, base.kernel.numpy())


@pytest.mark.proves(
    "The first `fit` after `compile` traces the training step with the weights that are trainable then, and later ones "
    "run that graph.",
    "What you freeze in between is no longer listed in `trainable_weights`, and still changes; what you unfreeze is "
    "listed, and doesn't.",
    "Compile again after each change of `trainable`, with a new optimizer.",
)
@pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["graph", "XLA"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("first", [True, False])
def test_a_change_after_the_first_fit_changes_what_is_listed_and_not_what_is_trained(
    first, optimizer, options, recwarn
):
    model, base = two_layers(first, optimizer, **options)
    assert moved(model, base) is first
    base.trainable = not first
    assert len(model.trainable_weights) == (2 if first else 4)
    assert moved(model, base) is first
    assert moved(model, base) is first
    assert not [warning for warning in recwarn if "compile" in str(warning.message)]

    model.compile(optimizer=optimizer, loss="mse")
    assert moved(model, base) is not first


@pytest.mark.parametrize("first", [True, False])
def test_it_is_the_first_fit_that_settles_it(first):
    model, base = two_layers(first)
    base.trainable = not first
    assert moved(model, base) is not first


@pytest.mark.proves(
    "So it does if TensorFlow traces the step again: for a first `sample_weight`, for a `Dataset` of another dtype, or "
    "for the second batch size in `train_on_batch`."
)
def test_other_ways_to_trace_the_step_again():
    def data(dtype: str):
        return tf.data.Dataset.from_tensor_slices((ONES.astype(dtype), 0 * ONES.astype(dtype))).batch(4)

    def changed(first, second) -> bool:
        model, base = two_layers(True)
        first(model)
        base.trainable = False
        before = base.kernel.numpy()
        second(model)
        return not np.array_equal(before, base.kernel.numpy())

    def fits(model):
        model.fit(ONES, 0 * ONES, verbose=0)

    def on(size: int):
        return lambda model: model.train_on_batch(ONES[:size], 0 * ONES[:size])

    for dtype, still in ("float32", True), ("float64", False):
        assert changed(fits, lambda model, dtype=dtype: model.fit(data(dtype), shuffle=False, verbose=0)) is still
    for size, still in (8, True), (5, False):
        assert changed(on(8), on(size)) is still

    def on_two_sizes(model):
        on(8)(model)
        on(5)(model)

    assert changed(on_two_sizes, on(6)) is True  # the second trace takes each size


@pytest.mark.proves("Unfreezing then raises `Unknown variable`, if the optimizer was built without the weight.")
def test_eagerly_a_weight_of_the_first_step_is_unfrozen_at_once():
    model, base = two_layers(True, run_eagerly=True)
    assert moved(model, base)
    base.trainable = False
    assert not moved(model, base)
    base.trainable = True
    assert moved(model, base)


@pytest.mark.proves(
    "With `run_eagerly=True`, freezing works at once.",
    "Unfreezing then raises `Unknown variable`, if the optimizer was built without the weight.",
)
@pytest.mark.parametrize(
    ("options", "new"),
    [({"run_eagerly": True}, {}), ({}, {"sample_weight": np.ones(8)})],
    ids=["eager", "traced again"],
)
def test_without_the_old_graph_freezing_works_at_once_and_unfreezing_raises(options, new):
    model, base = two_layers(True, **options)
    assert moved(model, base)
    base.trainable = False
    assert not moved(model, base, **new)

    model, base = two_layers(False, **options)
    assert not moved(model, base)
    base.trainable = True
    with pytest.raises(ValueError, match=r"^Unknown variable: "):
        moved(model, base, **new)


BUILT = "One that was built without a weight raises `Unknown variable` when it gets that weight."


@pytest.mark.proves(BUILT)
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_an_optimizer_that_was_built_with_a_weight_accepts_it_after_a_first_step_without(optimizer):
    used = optimizer()
    model, base = two_layers(True, used)
    used.build(model.trainable_variables)
    for trainable in False, True:
        base.trainable = trainable
        model.compile(optimizer=used, loss="mse")
        assert moved(model, base) is trainable


@pytest.mark.proves(BUILT, "The first step builds it, and so does `load_model`.")
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_loaded_optimizer_refuses_a_weight_before_its_first_step(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model, _ = two_layers(False, "adam")
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"^Skipping variable loading for optimizer"):
        again = keras.saving.load_model(tmp_path / "model.keras")
    for layer in again.layers:
        layer.trainable = True
    with pytest.raises(ValueError, match=r"^Unknown variable: "):
        again.fit(ONES, 0 * ONES, verbose=0)
    for layer in model.layers:
        layer.trainable = True
    model.fit(ONES, 0 * ONES, verbose=0)


@pytest.mark.proves(BUILT, "The first step builds it")
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_an_optimizer_knows_the_weights_of_its_first_step(optimizer):
    used = optimizer()
    model, base = two_layers(True, used)
    for trainable in True, False, True:
        base.trainable = trainable
        model.compile(optimizer=used, loss="mse")
        assert moved(model, base) is trainable


@pytest.mark.proves(BUILT, "The first step builds it")
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_an_optimizer_that_has_trained_without_a_weight_refuses_it(optimizer):
    used = optimizer()
    model, base = two_layers(False, used)
    model.fit(ONES, ONES, verbose=0)
    base.trainable = True
    model.compile(optimizer=used, loss="mse")
    with pytest.raises(ValueError, match=r"^Unknown variable: "):
        model.fit(ONES, ONES, verbose=0)
    model.compile(optimizer=optimizer(), loss="mse")
    assert moved(model, base)


class OwnLayer(keras.layers.Layer):
    def __init__(self, base):
        super().__init__()
        self.base, self.head = base, keras.layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs):
        return self.head(self.base(inputs))


class BuildsItsOwn(OwnLayer):
    def build(self, input_shape):
        self.base.build(input_shape)
        self.head.build(input_shape)


class OwnModel(keras.Model):
    def __init__(self, base):
        super().__init__()
        self.inner = OwnLayer(base)

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.proves(
    "Freeze a layer after the first call.",
    "If you freeze it earlier, inside a model or layer of your own, it may stay untrained after you unfreeze it: `fit` "
    "warns `Gradients do not exist`.",
)
@pytest.mark.parametrize("before", [True, False], ids=["frozen before the first call", "after it"])
@pytest.mark.parametrize("own", [OwnModel, OwnLayer, BuildsItsOwn, None])
def test_a_layer_that_was_frozen_before_it_had_weights_may_stay_untrained(own, before, recwarn):
    base = keras.layers.Dense(1, kernel_initializer="ones")
    base.trainable = not before
    inner = own(base) if own else keras.Sequential([base, keras.layers.Dense(1, kernel_initializer="ones")])
    model = inner if own is OwnModel else keras.Sequential([keras.Input((1,)), inner])
    model(ONES)
    for trainable in False, True:
        base.trainable = trainable
        model.compile(optimizer="sgd", loss="mse")
        assert len(model.trainable_weights) == (4 if trainable else 2)
        stays = before and own in (OwnModel, OwnLayer)
        assert moved(model, base) is (trainable and not stays)
    told = [one for one in recwarn if str(one.message).startswith("Gradients do not exist")]
    assert bool(told) is stays


@pytest.mark.proves(
    "Freeze a layer after `compile`: with `trainable = False` it still trains: `frozen kernel: 0.90, after a fit: 0.84`"
)
def test_the_shown_kernels_follow_the_gradient_of_the_mean_squared_error():
    """With weights w, v and biases b, c on ones: each step of 0.05 along the gradient of (v (w + b) + c)^2."""
    at = shown(MODULE, "freeze_fails", "freeze_works")
    w, b, v, c = 1.0, 0.0, 1.0, 0.0
    kernels = []
    for trains in True, True, False, True:
        slope = 2 * (v * (w + b) + c)
        step = np.array([slope * v * trains, slope * v * trains, slope * (w + b), slope])
        w, b, v, c = np.array([w, b, v, c]) - 0.05 * step
        kernels.append(f"{w:.2f}")
    assert at["base"].kernel.numpy().item() == pytest.approx(w, rel=1e-5)
    assert at.printed.splitlines() == [
        "trainable weights: 2",
        f"frozen kernel: {kernels[0]}, after a fit: {kernels[1]}",
        "trainable weights: 2",
        f"kernel: {kernels[1]}, after a fit: {kernels[2]}",
        "trainable weights: 4",
        f"kernel: {kernels[2]}, after a fit: {kernels[3]}",
    ]
    assert kernels[:2] == ["0.90", "0.84"]
