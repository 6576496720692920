"""`docs/models/custom_model.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re
import types
import warnings
from collections import deque

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.models.custom_model import AsWideAsItsInput, Classifier, PriceAndRisk, SizedClassifier
from tests import contract
from tests.shown import maker, shown

MODULE = "snippets.models.custom_model"


def inputs(samples: int = 64, features: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(samples, features)).astype("float32")


def one_of(classes: int):
    """The class is the largest of the first features."""

    def data():
        x = inputs()
        return x, keras.utils.to_categorical(x[:, :classes].argmax(axis=-1), classes)

    return data


def price_and_risk():
    x = inputs()
    return x, {"price": x[:, :1], "risk": (x[:, :1] > 0).astype("float32")}


CLASSES = {"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]}
CAUGHT = {
    "FilledByIndex of by_index_fails": contract.Wrong(
        maker("FilledByIndex", MODULE, "by_index_fails", x=inputs()), (20,), "tracked_weights"
    ),
    "BuildsNoLayer of builds_no_layer_fails": contract.Wrong(
        maker("BuildsNoLayer", MODULE, "builds_no_layer_fails", batch=inputs(5)), (20,), "file_round_trip"
    ),
    "TwoArguments of two_arguments_fails": contract.Wrong(
        maker("TwoArguments", MODULE, "two_arguments_fails", batch=inputs(5)),
        inputs(6),
        "file_round_trip",
        keywords={"right": inputs(6)},
    ),
    "Forgets of forgets_fails": contract.Wrong(
        maker("Forgets", MODULE, "save_sized", "forgets_fails", batch=inputs(5), arguments=(0.1,)),
        (20,),
        "config_is_complete",
    ),
    "MyCustomModel of seen_init_fails": contract.Wrong(
        maker("MyCustomModel", MODULE, "seen_init_fails", batch=inputs(5)), (20,), "config_round_trip"
    ),
    "Untold of seen_training_fails": contract.Wrong(
        maker("Untold", MODULE, "seen_training_fails"), (4,), "training_flag", "moving mean"
    ),
}
NOT_IN_CONTRACT = {"Told of seen_training_fails": "it is right, and `test_told_passes_training_on` holds it"}
CASES = {
    "Classifier": contract.Model(lambda **kw: Classifier(**kw), data=one_of(10), compile=CLASSES),
    "PriceAndRisk": contract.Model(
        lambda **kw: PriceAndRisk(**kw),
        data=price_and_risk,
        compile={"loss": {"price": "mse", "risk": "binary_crossentropy"}},
    ),
    "AsWideAsItsInput": contract.Model(lambda **kw: AsWideAsItsInput(**kw), data=one_of(10), compile=CLASSES),
    "AssignedOnce": contract.Model(
        maker("AssignedOnce", MODULE, "assigned", x=inputs()),
        data=lambda: (inputs(), inputs()[:, :1]),
        compile={"loss": "mse"},
    ),
    "SizedClassifier": contract.Model(
        lambda **kw: SizedClassifier(32, classes=4, rate=0.1, **kw), data=one_of(4), compile=CLASSES
    ),
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


def randomized(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Give a model random weights, biases too, and return them."""
    model(x)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(scale=0.3, size=weight.shape) for weight in model.weights])
    return model.get_weights()


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def reloaded(model: keras.Model, tmp_path, *x: np.ndarray) -> tuple[int, bool]:
    """How many weights come back from a file, and whether the model computes the same as before."""
    outputs = model(*x)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    return len(again.weights), np.allclose(again(*x), outputs, atol=1e-6)


def through_a_file(model: keras.Model, tmp_path) -> keras.Model:
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


# --- the top of the page ----------------------------------------------------------------------------------------------


@pytest.mark.proves("Subclass `keras.Model` to create the model. `tf.keras.Model` is the same class.")
def test_tf_keras_model_is_the_same_class():
    assert tf.keras.Model is keras.Model


def built_and_shared(layer: layers.Layer) -> keras.Model:
    """A functional model that calls one layer on four features and on five."""
    four, five = keras.Input((7, 4)), keras.Input((7, 5))
    return keras.Model([four, five], [layer(four), layer(five)])


@pytest.mark.proves(
    "there `Dense`, convolutions and merging layers check the shapes while you build it.",
)
@pytest.mark.parametrize("make", [lambda: layers.Dense(3), lambda: layers.Conv1D(3, 2), lambda: layers.Conv2D(3, 2)])
def test_functional_checks_the_shapes_of_dense_and_convolutions_while_it_is_built(make):
    layer = make()
    more = (6,) if isinstance(layer, layers.Conv2D) else ()
    layer(keras.Input((7, *more, 4)))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(keras.Input((7, *more, 5)))


@pytest.mark.proves("there `Dense`, convolutions and merging layers check the shapes while you build it.")
@pytest.mark.parametrize("cls", [layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum])
def test_functional_checks_the_shapes_that_are_merged_while_it_is_built(cls):
    x = keras.Input((20,))
    three, four = layers.Dense(3)(x), layers.Dense(4)(x)
    with pytest.raises(ValueError, match="incompatible shapes"):
        cls()([three, four])
    with pytest.raises(ValueError, match="matching shapes"):
        layers.Concatenate()([keras.Input((7, 4)), keras.Input((6, 5))])


def test_functional_does_not_check_those_of_any_layer():
    """Why the page names the layers: these set no `input_spec`."""

    class Projects(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], 3))

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    for layer in (Projects(), layers.LSTM(3), layers.LayerNormalization()):
        assert len(built_and_shared(layer).outputs) == 2


def test_a_subclass_checks_them_when_it_is_called():
    class Adds(keras.Model):
        def __init__(self):
            super().__init__()
            self.three, self.four, self.add = layers.Dense(3), layers.Dense(4), layers.Add()

        def call(self, inputs):
            return self.add([self.three(inputs), self.four(inputs)])

    model = Adds()
    with pytest.raises(ValueError, match="incompatible shapes"):
        model(inputs())


@pytest.mark.proves(
    "`Classifier` gives the probabilities of 10 classes, with two dense layers and a dropout between them."
)
def test_classifier_is_what_its_layers_compute():
    model, x = Classifier(), inputs(5)
    kernel, bias, kernel2, bias2 = randomized(model, x)
    expected = softmax(np.maximum(x @ kernel + bias, 0) @ kernel2 + bias2)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4)
    assert model.dropout.rate == 0.5
    left_out = np.mean(np.asarray(model.dropout(np.ones((200, 200)), training=True)) == 0)
    assert left_out == pytest.approx(0.5, abs=0.02)
    assert np.abs(model(x, training=True) - expected).max() > 0.01


@pytest.mark.proves(
    "Without it, a layer of the model follows the global policy and computes in float32, silently.",
    "Pass `**kwargs` to Keras, and the dtype of the model to its layers.",
)
def test_without_dtype_a_layer_follows_the_global_policy():
    class Swallows(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = layers.Dense(128, activation="relu")
            self.classify = layers.Dense(10, activation="softmax")

        def call(self, inputs):
            return self.classify(self.hidden(inputs))

    x = inputs()
    for dtype in ("mixed_bfloat16", "mixed_float16", "float64"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            swallows, takes = Swallows(dtype=dtype), Classifier(dtype=dtype)
            assert swallows(x).dtype == "float32"
        assert takes(x).dtype == takes.compute_dtype != "float32"
        assert {takes.hidden.dtype_policy.name, takes.dropout.dtype_policy.name} == {dtype}
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert Swallows()(x).dtype == Classifier()(x).dtype == "bfloat16"


@pytest.mark.parametrize("make", [Classifier, PriceAndRisk, AsWideAsItsInput, lambda **kw: SizedClassifier(8, 3, **kw)])
def test_each_layer_of_each_model_takes_its_dtype(make):
    model = make(dtype="float64")
    model(inputs())
    assert {layer.dtype_policy.name for layer in model._flatten_layers(include_self=False)} == {"float64"}


@pytest.mark.proves("It is compiled, trained, evaluated, saved and reloaded like a built-in model.")
def test_the_program_trains_on_800_samples_and_measures_on_the_other_200():
    page = shown(MODULE, "train")
    model, x, y = page["model"], page["x"], page["y"]
    assert int(model.optimizer.iterations) == 10 * 800 // 32
    assert page["accuracy"] == pytest.approx(
        np.mean(model.predict(x[800:], verbose=0).argmax(-1) == y[800:].argmax(-1))
    )
    assert f"accuracy on 200 unseen samples: {page['accuracy']:.2f}" in page.printed
    np.testing.assert_array_equal(y.argmax(-1), page["classes"])
    assert page["accuracy"] > 0.8

    again = page["reloaded"]
    assert "same outputs after reloading: True" in page.printed
    assert type(again) is Classifier
    assert again is not model
    contract.assert_same(again.get_weights(), model.get_weights())


# --- layers as attributes ---------------------------------------------------------------------------------------------


def held(fill):
    """A model of two layers that are kept as `fill` does it."""

    def build(self, **kwargs):
        keras.Model.__init__(self, **kwargs)
        self.two = fill(self, layers.Dense(20), layers.Dense(20))

    def call(self, x):
        one, other = self.two()
        return other(one(x))

    cls = type(f"Holds{fill.__name__}", (keras.Model,), {"__init__": build, "call": call})
    return keras.saving.register_keras_serializable(package="tests")(cls)()


def by_attribute(model, one, other):
    model.one, model.other = one, other
    return lambda: (model.one, model.other)


def by_list(model, one, other):
    model.held = [one, other]
    return lambda: model.held


def by_nested_list(model, one, other):
    model.held = [[one], {"other": [other]}]
    return lambda: (model.held[0][0], model.held[1]["other"][0])


def by_tuple(model, one, other):
    model.held = (one, other)
    return lambda: model.held


def by_dict(model, one, other):
    model.held = {"one": one, "other": other}
    return lambda: (model.held["one"], model.held["other"])


def by_append(model, one, other):
    model.held = []
    model.held.append(one)
    model.held.append(other)
    return lambda: model.held


def by_extend(model, one, other):
    model.held = []
    model.held.extend([one, other])
    return lambda: model.held


def by_key(model, one, other):
    model.heads = {}
    model.heads["risk"] = one
    model.heads["price"] = other
    return lambda: (model.heads["risk"], model.heads["price"])


def by_a_list_that_is_filled_first(model, one, other):
    held = [None, None]
    held[0], held[1] = one, other
    model.held = held
    return lambda: model.held


def by_index(model, one, other):
    model.held = [None, None]
    model.held[0], model.held[1] = one, other
    return lambda: model.held


def by_slice(model, one, other):
    model.held = [None, None]
    model.held[:] = [one, other]
    return lambda: model.held


def by_setdefault(model, one, other):
    model.held = {}
    model.held.setdefault("one", one)
    model.held.setdefault("other", other)
    return lambda: (model.held["one"], model.held["other"])


def by_object(model, one, other):
    model.held = types.SimpleNamespace(one=one, other=other)
    return lambda: (model.held.one, model.held.other)


def by_deque(model, one, other):
    model.held = deque([one, other])
    return lambda: model.held


def by_function(model, one, other):
    return lambda: (one, other)


@pytest.mark.proves(
    "It finds a layer in an attribute, a list, a tuple or a dict, and trains and saves the weights of the layers that "
    "it finds.",
    'Before the first call, `append`, `extend` and `self.heads["risk"] = layer` are tracked too',
    "Fill a plain list first, and assign it once:",
)
@pytest.mark.parametrize(
    "fill",
    [
        by_attribute,
        by_list,
        by_nested_list,
        by_tuple,
        by_dict,
        by_append,
        by_extend,
        by_key,
        by_a_list_that_is_filled_first,
    ],
)
def test_layers_are_found_trained_and_saved(fill, tmp_path):
    model, x = held(fill), inputs()
    model(x)
    before = [weight.numpy() for weight in model.trainable_weights]
    assert len(before) == 4
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.fit(x, x, verbose=0)
    assert all((weight.numpy() != start).any() for weight, start in zip(model.trainable_weights, before, strict=True))
    assert reloaded(model, tmp_path, x) == (4, True)


HIDDEN = {
    by_index: True,
    by_slice: True,
    by_setdefault: True,
    by_object: False,
    by_deque: False,
    by_function: False,
}


@pytest.mark.proves(
    "Assigning to an index of a list isn't tracked, and nothing is raised.",
    "These hide a layer too, silently:",
    "An index or a slice of a list that is tracked, `setdefault` on a dict | no | yes",
    "An object of a class of your own, a `deque`, a function that captures the layer | no | no: the loaded model has "
    "new weights",
)
@pytest.mark.parametrize(("fill", "saved"), HIDDEN.items(), ids=[fill.__name__ for fill in HIDDEN])
def test_layers_are_hidden_and_nothing_complains(fill, saved, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model, x = held(fill), inputs()
        model(x)
        kernels = [layer.kernel.numpy() for layer in model.two()]
        assert len(kernels) == 2
        assert not model.trainable_weights
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        _, same = reloaded(model, tmp_path, x)
        assert same == saved


@pytest.mark.proves("its list holds three layers, and none of their weights is trained.")
def test_the_list_that_is_filled_by_index_trains_nothing_and_the_one_assigned_once_does():
    page = shown(MODULE, "by_index_fails", "assigned", x=inputs())
    for name, weights, moves in (("hides", 2, False), ("shows", 8, True)):
        model = page[name]
        assert len(model.hidden) == 3
        assert len(model.trainable_weights) == weights
        before = [layer.get_weights() for layer in model.hidden]
        model.fit(inputs(), inputs()[:, :1], epochs=3, verbose=0)
        for layer, (kernel, bias) in zip(model.hidden, before, strict=True):
            assert (np.any(layer.kernel != kernel), np.any(layer.bias != bias)) == (moves, moves)
    assert page.printed.count("weights to train: 2\nits first kernel has moved in fit by 0.00") == 1


@pytest.mark.proves(
    "Each dense layer has a kernel and a bias, and the model finds those of all six:",
    "A price and a probability, from what they have in common.",
    "each layer adds to what is known",
)
def test_price_and_risk_is_what_its_layers_compute():
    model, x = PriceAndRisk(), inputs(7)
    weights = randomized(model, x)
    assert len(weights) == len(model.trainable_weights) == 12
    assert len(model.layers) == 6
    kernels = {layer.name: layer.get_weights() for layer in model.layers}
    assert all(len(pair) == 2 for pair in kernels.values())

    def dense(layer, x):
        kernel, bias = layer.get_weights()
        return x @ kernel + bias

    h = np.maximum(dense(model.stem, x), 0)
    for layer in model.hidden:
        h = h + np.maximum(dense(layer, h), 0)
    price, risk = dense(model.heads["price"], h), 1 / (1 + np.exp(-dense(model.heads["risk"], h)))
    outputs = model(x)
    np.testing.assert_allclose(outputs["price"], price, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["risk"], risk, rtol=1e-4, atol=1e-5)
    assert [layer.units for layer in (model.stem, *model.hidden)] == [8] * 4


# --- training ---------------------------------------------------------------------------------------------------------


class Spy(layers.Layer):
    """Keeps what it is told. Its `call` runs while the step is traced."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = set()

    def call(self, inputs, training=None):
        self.seen.add(training)
        return inputs


class Handed(keras.Model):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.dense = inner, layers.Dense(1)

    def call(self, inputs, training=False):
        return self.dense(self.inner(inputs, training=training))


class Declared(Handed):
    def call(self, inputs, training=False):
        return self.dense(self.inner(inputs))


class Undeclared(Handed):
    def call(self, inputs):
        return self.dense(self.inner(inputs))


class Between(layers.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


class Traced(Between):
    @tf.function
    def call(self, inputs):
        return self.inner(inputs)


class TracedWithTraining(Between):
    @tf.function
    def call(self, inputs, training=False):
        return self.inner(inputs)


class TakesKwargs(Handed):
    def call(self, inputs, **kwargs):
        return self.dense(self.inner(inputs))


def functional(inner):
    x = keras.Input((20,))
    return keras.Model(x, inner(x))


TRAINED = {
    "handed on": (Handed, True),
    "declared, not handed on": (Declared, True),
    "declared, through a layer that doesn't": (lambda spy: Declared(Between(spy)), True),
    "declared, through a model that doesn't": (lambda spy: Declared(Undeclared(spy)), True),
    "declared, through a tf.function that doesn't": (lambda spy: Declared(Traced(spy)), False),
    "declared, through a tf.function that does": (lambda spy: Declared(TracedWithTraining(spy)), True),
    "undeclared in a Sequential": (lambda spy: keras.Sequential([Undeclared(spy)]), True),
    "undeclared in a functional model": (lambda spy: functional(Undeclared(spy)), True),
    "undeclared": (Undeclared, False),
    "with **kwargs only": (TakesKwargs, False),
    "undeclared around one that does": (lambda spy: Undeclared(Handed(spy)), False),
}


@pytest.mark.proves(
    "`fit` tells the model which by `training=True`, if `call` has the argument; `evaluate` and `predict` pass "
    "`False`.",
    "The model that you call `fit` on needs the argument. Keras passes it to the layers inside, even where a `call` in "
    "between doesn't have it, unless that `call` is a `tf.function` or wraps them in `keras.remat`, which calls them "
    "again without it.",
    "Define the forward pass. `fit` sets `training` to `True`.",
    "`training` in `call` | if `call` itself uses it | if a layer inside depends on it",
)
@pytest.mark.parametrize(("make", "expected"), TRAINED.values(), ids=TRAINED)
def test_the_outermost_model_has_to_declare_training(make, expected):
    spy = Spy()
    model = make(spy)
    model.compile(optimizer="sgd", loss="mse")
    x = inputs()
    model.evaluate(x, x[:, :1], verbose=0)
    model.predict(x, verbose=0)
    assert True not in spy.seen
    spy.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(x, x[:, :1], verbose=0)
    assert (True in spy.seen) == expected


class Remat(Between):
    def call(self, inputs):
        return keras.remat(self.inner)(inputs)


class RematWithTraining(Between):
    def call(self, inputs, training=False):
        return keras.remat(lambda inputs: self.inner(inputs, training=training))(inputs)


@pytest.mark.parametrize(
    ("between", "seen", "right"),
    [(Between, {True}, True), (Remat, {True, None}, False), (RematWithTraining, {True}, True)],
)
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.proves("or wraps them in `keras.remat`, which calls them again without it.")
def test_a_layer_that_is_computed_again_is_not_told(between, seen, right, eagerly):
    class DenseFirst(Handed):
        def call(self, inputs, training=False):
            return self.inner(self.dense(inputs))

    spy, x = Spy(), inputs()
    inner = keras.Sequential([layers.BatchNormalization(), spy])
    model, plain = DenseFirst(between(inner)), keras.Sequential([layers.Dense(1), layers.BatchNormalization()])
    model(x), plain(x)
    plain.set_weights([*model.dense.get_weights(), *inner.get_weights()])
    for each in (model, plain):
        each.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse", run_eagerly=eagerly)
        spy.seen.clear()
        each.fit(x, 5 * x[:, :1], batch_size=len(x), verbose=0)
        if each is model:
            assert spy.seen == seen
    assert np.allclose(model.dense.kernel, plain.layers[0].kernel, atol=1e-4) == right


def test_evaluate_and_predict_pass_false():
    spy = Spy()
    model = Handed(spy)
    model.compile(optimizer="sgd", loss="mse")
    x = inputs()
    model.predict(x, verbose=0)
    assert spy.seen == {False}
    spy.seen.clear()
    model.evaluate(x, x[:, :1], verbose=0)
    assert spy.seen == {False}


@pytest.mark.proves(
    "Dropout and batch normalization do one thing while the model trains and another when it predicts.",
    "Share of the hidden units that a training step leaves out.",
    "a learning rate of 0 leaves its weights alone",
)
@pytest.mark.parametrize("make", [Classifier, lambda: SizedClassifier(128, classes=10)], ids=["Classifier", "Sized"])
def test_dropout_is_on_in_fit_and_off_elsewhere(make):
    keras.utils.set_random_seed(1)
    x, y = one_of(10)()
    model = make()
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="categorical_crossentropy")
    evaluated = model.evaluate(x, y, verbose=0)
    (fitted,) = model.fit(x, y, verbose=0).history["loss"]
    assert abs(fitted - evaluated) > 0.01
    assert model.evaluate(x, y, verbose=0) == evaluated
    assert np.abs(model(x, training=True) - model(x, training=True)).max() > 0.1
    contract.assert_same(model.predict(x, verbose=0), np.asarray(model(x)), atol=1e-6)
    contract.assert_same(model(x), model(x, training=False))


@pytest.mark.proves("in `fit` they behave as in `predict`, without a warning.")
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(("declare", "same"), [(True, False), (False, True)])
def test_without_training_dropout_in_fit_does_as_in_evaluate(declare, same, eagerly):
    keras.utils.set_random_seed(1)
    x = inputs()
    model = (Handed if declare else Undeclared)(layers.Dropout(0.5))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", run_eagerly=eagerly)
    evaluated = model.evaluate(x, x[:, :1], verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (fitted,) = model.fit(x, x[:, :1], verbose=0).history["loss"]
    assert (abs(fitted - evaluated) < 1e-5) == same


@pytest.mark.parametrize(("make", "expected"), [(Handed, 5 * (1 - 0.9**28)), (Undeclared, 0.0)])
def test_moving_mean(make, expected):
    """Each of 28 steps keeps 0.9 of the old mean and takes 0.1 of 5."""
    norm = layers.BatchNormalization(momentum=0.9)
    model = make(norm)
    model.compile(optimizer="sgd", loss="mse")
    model.fit(np.full((28, 4), 5.0), np.zeros((28, 1)), batch_size=1, verbose=0)
    np.testing.assert_allclose(norm.moving_mean, [expected] * 4, atol=1e-4)


@pytest.mark.proves("the data are centred on 5.0, and the mean stays at its first value.")
def test_the_moving_mean_of_the_page():
    page = shown(MODULE, "seen_training_fails")
    assert page["around_five"].mean() == pytest.approx(5, abs=0.1)
    assert page["regressor"].norm.moving_mean.numpy() == pytest.approx(5 * (1 - 0.99**60), abs=0.1)
    untold = page["Untold"]()
    untold.compile(optimizer="sgd", loss="mse")
    untold.fit(page["around_five"], page["total"], verbose=0)
    np.testing.assert_array_equal(untold.norm.moving_mean, np.zeros(4))  # as it starts


@pytest.mark.proves(
    "A model whose layers do the same in both cases, as in `PriceAndRisk`, can leave it out.",
)
def test_price_and_risk_does_the_same_in_both_cases():
    model, x = PriceAndRisk(), inputs()
    contract.assert_same(model(x, training=True), model(x, training=False))


# --- the first call ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "so a new `Classifier` has no weights. The first call creates them, on data or on a `keras.Input`, which needs no "
    "data.",
)
@pytest.mark.parametrize("given", [lambda: keras.Input((20,)), inputs], ids=["symbolic", "data"])
def test_the_first_call_creates_the_weights(given):
    model = Classifier()
    assert not model.weights
    assert not model.built
    model(given())
    assert [tuple(weight.shape) for weight in model.weights] == [(20, 128), (128,), (128, 10), (10,)]
    assert model.count_params() == 20 * 128 + 128 + 128 * 10 + 10 == 3978


@pytest.mark.proves(
    "`build` warns, marks the model as built and creates nothing:",
    "Weights that you load then don't arrive, silently. Without `build`, `load_weights` raises, and its message "
    "suggests `build`: call the model instead.",
)
def test_build_creates_nothing_and_warns_and_loaded_weights_do_not_arrive(tmp_path):
    saved, x = Classifier(), inputs()
    outputs = saved(x)
    saved.save_weights(tmp_path / "model.weights.h5")

    built = Classifier()
    with pytest.warns(UserWarning, match="does not have a `build\\(\\)` method"):
        built.build((None, 20))
    assert built.built
    assert not built.weights
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        built.load_weights(tmp_path / "model.weights.h5")  # and no exception
    assert np.abs(built(x) - outputs).max() > 0.01

    called = Classifier()
    with pytest.raises(ValueError, match=r"model that has not yet been built(.|\n)*using `build\(\)`"):
        called.load_weights(tmp_path / "model.weights.h5")
    called(keras.Input((20,)))
    called.load_weights(tmp_path / "model.weights.h5")
    contract.assert_same(called(x), outputs)


# --- a build of one's own ---------------------------------------------------------------------------------------------


@pytest.mark.proves("Probabilities of 10 classes, through as many units as features.", "hidden keeps the shape")
def test_as_wide_as_its_input_is_what_its_layers_compute():
    model, x = AsWideAsItsInput(), inputs(5, features=7)
    kernel, bias, kernel2, bias2 = randomized(model, x)
    assert kernel.shape == (7, 7)
    expected = softmax(np.maximum(x @ kernel + bias, 0) @ kernel2 + bias2)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4)


@pytest.mark.proves("`load_model` calls `build` and fills the weights that are there afterwards")
def test_load_model_calls_build(tmp_path):
    calls = []

    @keras.saving.register_keras_serializable(package="tests")
    class Noted(AsWideAsItsInput):
        def build(self, input_shape):
            super().build(input_shape)
            calls.append(("build", len(self.weights)))

        def call(self, inputs):
            calls.append(("call", len(self.weights)))
            return super().call(inputs)

    model = Noted()
    model(inputs())
    model.save(tmp_path / "model.keras")
    calls.clear()
    assert len(keras.saving.load_model(tmp_path / "model.keras").weights) == 4
    assert calls == [("build", 4)]


@pytest.mark.proves("`Classifier` has no `build`: `load_model` calls it instead.")
def test_load_model_calls_a_model_without_build(tmp_path):
    calls = []

    @keras.saving.register_keras_serializable(package="tests")
    class Noted(Classifier):
        def call(self, inputs, training=False):
            calls.append(inputs.shape)
            return super().call(inputs, training=training)

    model = Noted()
    model(inputs())
    model.save(tmp_path / "model.keras")
    calls.clear()
    keras.saving.load_model(tmp_path / "model.keras")
    assert len(calls) == 1


def makes_in_init(build):
    @keras.saving.register_keras_serializable(package="tests")
    class MakesInInit(Classifier):
        pass

    MakesInInit.build = build
    return MakesInInit()


BUILDS = {
    "empty": (lambda self, input_shape: None, 0),
    "of the base class": (lambda self, input_shape: keras.Model.build(self, input_shape), 0),
    "one of two": (lambda self, input_shape: self.hidden.build(input_shape), 2),
    "both": (lambda self, input_shape: (self.hidden.build(input_shape), self.classify.build((None, 128))), 4),
}


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")  # of the base class
@pytest.mark.proves(
    "The same happens to layers that are made in `__init__`, once there is a `build` that doesn't build them.",
    "`build` then has to build every layer, and a layer that makes layers in its own `build` has to build those.",
)
@pytest.mark.parametrize(("build", "weights"), BUILDS.values(), ids=BUILDS)
def test_build_has_to_build_every_layer(build, weights, tmp_path):
    assert reloaded(makes_in_init(build), tmp_path, inputs()) == (weights, weights == 4)


@pytest.mark.proves("a layer that makes layers in its own `build` has to build those.")
@pytest.mark.parametrize("builds", [False, True])
def test_a_layer_that_makes_layers_in_build_has_to_build_them(builds, tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Makes(layers.Layer):
        def build(self, input_shape):
            self.one, self.other = layers.Dense(8), layers.Dense(8)
            if builds:
                self.one.build(input_shape), self.other.build((None, 8))

        def call(self, inputs):
            return self.other(self.one(inputs))

    @keras.saving.register_keras_serializable(package="tests")
    class Around(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.makes, self.dense = Makes(), layers.Dense(1)

        def build(self, input_shape):
            self.makes.build(input_shape), self.dense.build((None, 8))

        def call(self, inputs):
            return self.dense(self.makes(inputs))

    assert reloaded(Around(), tmp_path, inputs()) == ((6, True) if builds else (2, False))


@pytest.mark.proves(
    "its `build` makes the layers and leaves it to `call` to build them. Its file is loaded without a warning, and all "
    "weights are lost.",
)
def test_a_build_that_builds_no_layer_loses_all_weights(tmp_path):
    page = shown(MODULE, "builds_no_layer_fails", batch=inputs(5))
    model, x = page["BuildsNoLayer"](), inputs()
    y = one_of(10)()[1]
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="categorical_crossentropy")
    losses = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]  # it trains
    assert len(model.trainable_weights) == 4
    model.compile()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert reloaded(model, tmp_path, x) == (0, False)


# --- saving -----------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
def registered(true, outputs):
    return ops.mean(ops.square(true - outputs))


def unregistered(true, outputs):
    return registered(true, outputs)


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnSchedule(keras.optimizers.schedules.ExponentialDecay):
    pass


@pytest.mark.proves(
    "Register a loss, metric, optimizer or learning rate schedule of your own too, or load with `compile=False`."
)
@pytest.mark.parametrize(
    ("options", "loads"),
    [
        ({"loss": registered}, True),
        ({"loss": "mse", "metrics": [registered]}, True),
        ({"loss": unregistered}, False),
        ({"loss": "mse", "metrics": [unregistered]}, False),
        ({"loss": "mse", "optimizer": OwnOptimizer}, False),
        ({"loss": "mse", "optimizer": lambda: keras.optimizers.SGD(OwnSchedule(0.1, 10, 0.9))}, False),
    ],
    ids=["loss registered", "metric registered", "loss", "metric", "optimizer", "schedule"],
)
def test_a_loss_metric_or_optimizer_of_your_own_is_registered(options, loads, tmp_path):
    x, y = one_of(10)()
    model = Classifier()
    optimizer = options.get("optimizer", keras.optimizers.SGD)()
    model.compile(**{**options, "optimizer": optimizer})
    model.fit(x, y, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    contract.assert_same(keras.saving.load_model(path, compile=False)(x), model(x))
    if loads:
        assert keras.saving.load_model(path).compiled
    else:
        with pytest.raises(TypeError, match=r"unregistered|OwnOptimizer|OwnSchedule"):
            keras.saving.load_model(path)


@pytest.mark.proves("The file needs no more than that, and the compiled optimizer comes back as well.")
def test_the_compiled_optimizer_comes_back(tmp_path):
    x, y = one_of(10)()
    model = Classifier()
    model.compile(optimizer=keras.optimizers.Adam(0.003), loss="categorical_crossentropy")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.compiled
    assert isinstance(again.optimizer, keras.optimizers.Adam)
    assert int(again.optimizer.iterations) == 4
    for one, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        contract.assert_same(one, other)
    contract.assert_same(again(x), model(x))


def test_name_and_dtype_come_back(tmp_path):
    model = Classifier(name="mine", dtype="mixed_bfloat16")
    model(inputs())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (again.name, again.dtype_policy.name, again.hidden.dtype_policy.name) == ("mine", *["mixed_bfloat16"] * 2)


@pytest.mark.proves(
    "Save a model after its first call. Before it, the file holds no weights, and Keras warns: `You are saving a model "
    "that has not yet been built`.",
)
def test_a_model_saved_before_its_first_call_has_no_weights(tmp_path):
    with pytest.warns(UserWarning, match="You are saving a model that has not yet been built"):
        Classifier().save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert not again.weights
    assert not again.built


def of_two(**methods):
    """The page's model of two arguments, with other methods."""
    base = shown(MODULE, "two_arguments_fails", batch=inputs(5))["TwoArguments"]
    return keras.saving.register_keras_serializable(package="tests")(type("OfTwo", (base,), methods))()


@pytest.mark.proves(
    "Without a `build` of the model's own, a file holds the shape of the first argument of `call`, and of no other. "
    "The model below is wrong: half of its weights are lost without a warning.",
)
def test_the_weights_of_a_second_argument_are_lost(tmp_path):
    model, x = of_two(), inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert reloaded(model, tmp_path, x, x) == (2, False)
    assert len(model.weights) == 4
    assert model.get_build_config() == {"input_shape": (64, 20)}


@pytest.mark.proves(
    "With `call(self, left, right)` all are lost, and `load_model` warns that the model `cannot be built "
    "automatically`.",
)
def test_the_weights_of_two_required_arguments_are_lost(tmp_path):
    model, x = of_two(call=lambda self, left, right: self.of_left(left) + self.of_right(right)), inputs()
    with pytest.warns(UserWarning, match="cannot be built automatically"):
        assert reloaded(model, tmp_path, x, x) == (0, False)


def builds_both(self, left_shape, right_shape):
    self.of_left.build(left_shape), self.of_right.build(right_shape)


@pytest.mark.proves("or write a `build(self, left_shape, right_shape)` that builds every layer.")
def test_a_build_with_both_shapes_keeps_them(tmp_path):
    model, x = (
        of_two(call=lambda self, left, right: self.of_left(left) + self.of_right(right), build=builds_both),
        inputs(),
    )
    assert reloaded(model, tmp_path, x, inputs(features=3)) == (4, True)
    assert model.get_build_config() == {"shapes_dict": {"left_shape": (64, 20), "right_shape": (64, 3)}}


@pytest.mark.proves("Take the inputs as one dict")
def test_one_dict_keeps_them(tmp_path):
    model = of_two(call=lambda self, sides: self.of_left(sides["left"]) + self.of_right(sides["right"]))
    assert reloaded(model, tmp_path, {"left": inputs(), "right": inputs(features=3)}) == (4, True)


@pytest.mark.proves("It comes back with its name and its three arguments:")
def test_sized_classifier_keeps_every_argument():
    model = SizedClassifier(17, classes=3, rate=0.2, name="other", dtype="float64", trainable=False)
    config = model.get_config()
    assert {key: config[key] for key in ("units", "classes", "rate", "name", "trainable")} == {
        "units": 17,
        "classes": 3,
        "rate": 0.2,
        "name": "other",
        "trainable": False,
    }
    copy = SizedClassifier.from_config(config)
    assert (copy.units, copy.classes, copy.rate, copy.name) == (17, 3, 0.2, "other")
    assert (copy.hidden.units, copy.classify.units, copy.dropout.rate) == (17, 3, 0.2)
    assert (copy.dtype_policy.name, copy.trainable) == ("float64", False)


@pytest.mark.proves("Width of the hidden layer.", "Number of classes.")
def test_sized_classifier_is_what_its_layers_compute():
    model, x = SizedClassifier(7, classes=3), inputs(5)
    assert (model.rate, model.dropout.rate) == (0.5, 0.5)
    kernel, bias, kernel2, bias2 = randomized(model, x)
    assert (kernel.shape, kernel2.shape) == ((20, 7), (7, 3))
    expected = softmax(np.maximum(x @ kernel + bias, 0) @ kernel2 + bias2)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4)


def required(base):
    class Required(base):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

    return Required


def defaulted(base, value=3):
    class Defaulted(base):
        def __init__(self, units=value, flag=True, name_of="a", nothing=None, **kwargs):
            super().__init__(**kwargs)

    return Defaulted


RECORDED = [5, 2.5, "b", False, None, [1, 2], (1, 2), {"a": [1]}, [[1], {"b": (2,)}]]
ROW = (
    "Arguments recorded without `get_config` | numbers, strings and booleans of Python, `None`; lists, tuples and "
    "dicts of these | the default values, not what you pass; without a default, `save` raises"
)
NUMPY = (
    "An argument of NumPy, `np.int64(3)`; not `np.float64`, which is a `float` | stops `save` without `get_config` | "
    "stops `save` as a default"
)


@pytest.mark.proves(ROW, "Keras records them for a layer, but not for a model.")
@pytest.mark.parametrize("value", RECORDED, ids=repr)
def test_arguments_are_recorded_for_a_layer(value):
    layer = required(layers.Layer)(value)
    assert layer.get_config()["units"] == value
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer), custom_objects={"Required": type(layer)}
    )
    assert repr(copy.get_config()["units"]).replace("(1, 2)", "[1, 2]") == repr(value).replace("(1, 2)", "[1, 2]")


@pytest.mark.proves(ROW, "even if they are numbers. Keras records them for a layer, but not for a model.")
def test_of_a_model_only_the_defaults_are():
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        required(keras.Model)(5).get_config()
    config = defaulted(keras.Model)(5, False, "b", 0.5).get_config()
    assert [config[key] for key in ("units", "flag", "name_of", "nothing")] == [3, True, "a", None]


@pytest.mark.proves(NUMPY)
@pytest.mark.parametrize("value", [np.int64(3), np.float32(2), np.array([1.0])], ids=repr)
def test_numbers_of_numpy_are_not(value, tmp_path):
    for model in given_and_default(value):
        with pytest.raises(NotImplementedError):
            model.save(tmp_path / "model.keras")


@pytest.mark.proves(
    "What is passed to `*args` | stops `save` without `get_config` | lost without `get_config`, silently"
)
def test_variadic_arguments_stop_a_layer_and_are_lost_by_a_model(tmp_path):
    def variadic(base):
        class Variadic(base):
            def __init__(self, *sizes, **kwargs):
                super().__init__(**kwargs)
                self.sizes = sizes

            def call(self, inputs):
                return inputs

        return Variadic

    path = tmp_path / "model.keras"
    with pytest.raises(NotImplementedError, match="variadic positional arguments"):
        keras.Sequential([keras.Input((4,)), variadic(layers.Layer)(3, 4)]).save(path)
    cls = variadic(keras.Model)
    model = cls(3, 4)
    model(np.ones((2, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save(path)
        reloaded = keras.saving.load_model(path, custom_objects={"Variadic": cls})
    assert model.sizes == (3, 4)
    assert reloaded.sizes == ()


@pytest.mark.proves(NUMPY)
def test_a_float64_of_numpy_is_a_float(tmp_path):
    half = np.linspace(0, 1, 3)[1]
    assert type(half) is np.float64
    of_layer, of_model = given_and_default(half)
    assert of_layer.layers[0].get_config()["units"] == of_model.get_config()["units"] == 0.5
    for model in (of_layer, of_model):
        model.save(tmp_path / "model.keras")
        custom_objects = {type(one).__name__: type(one) for one in (of_layer.layers[0], of_model)}
        keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects)


def given_and_default(value):
    """A layer that is given a value, in a model, and a model that has it as the default."""

    class Given(required(layers.Layer)):
        def call(self, inputs):
            return inputs

    class Default(defaulted(keras.Model, value)):
        def call(self, inputs):
            return inputs

    models = keras.Sequential([Given(value)]), Default()
    for model in models:
        model(inputs())
    return models


@pytest.mark.proves("Without `get_config`, a required argument stops `save`.", "without a default, `save` raises")
def test_a_required_argument_stops_save(tmp_path):
    class Required(required(keras.Model)):
        def call(self, inputs):
            return inputs

    model = Required(5)
    model(inputs())
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        model.save(tmp_path / "model.keras")


@pytest.mark.proves(
    "This model is wrong: its file holds the default instead of your value.",
    "`SizedClassifier` returns `rate` in `get_config`: above, it was loaded with 0.1.",
)
def test_the_default_is_saved_without_get_config():
    page = shown(MODULE, "save_sized", "forgets_fails", batch=inputs(5))
    assert (page["sized"].rate, page["forgets"].dropout.rate) == (0.1, 0.1)
    assert "sized 32 4 0.1" in page.printed
    assert page["reloaded"].dropout.rate == 0.5
    assert page["Forgets"](rate=0.3).get_config()["rate"] == 0.5


# --- replacing a layer ------------------------------------------------------------------------------------------------


LATE = {
    "append": lambda model: model.hidden.append(layers.Dense(8)),
    "extend": lambda model: model.hidden.extend([layers.Dense(8)]),
    "key": lambda model: model.heads.__setitem__("risk", layers.Dense(1)),
    "new attribute": lambda model: setattr(model, "other", layers.Dense(1)),
    "another layer": lambda model: setattr(model, "stem", layers.Dense(8)),
}


@pytest.mark.proves(
    '`append`, `extend` and `self.heads["risk"] = layer` are tracked too; after it, don\'t change the layers.',
    "Don't replace the head in the old model: after its first call, a new layer raises.",
)
@pytest.mark.parametrize("given", [inputs, lambda: keras.Input((20,))], ids=["data", "symbolic"])
@pytest.mark.parametrize("change", LATE.values(), ids=LATE)
def test_after_the_first_call_no_layer_is_added_or_replaced(change, given):
    model = PriceAndRisk()
    change(model)  # before it,
    model = PriceAndRisk()
    model(given())
    with pytest.raises(ValueError, match="You cannot add new elements of state"):
        change(model)  # and after it
    with pytest.raises(ValueError, match="You cannot add new elements of state"):
        model.hidden = [layers.Dense(8)]


@pytest.mark.proves(
    "put the layers that you keep into a new model, and freeze them before you compile it.",
    "The new model shares the layer with the old one, frozen in both. It is saved and loaded with the new head, and "
    "the same lines work on a model from `load_model`.",
)
@pytest.mark.parametrize("loaded", [False, True])
def test_the_layers_that_are_kept_are_shared_and_frozen(loaded, tmp_path):
    model = Classifier()
    model(inputs())
    model = through_a_file(model, tmp_path) if loaded else model
    page = shown(MODULE, "replace", "replace_fails", model=model, x=inputs(), classes=np.arange(64) % 10)
    tuned = page["tuned"]
    assert tuned.layers[0] is model.hidden
    assert [tuple(weight.shape) for weight in tuned.trainable_weights] == [(128, 2), (2,)]
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [(128, 10), (10,)]
    kernel, bias = model.hidden.get_weights()
    head = tuned.layers[1].get_weights()
    tuned.fit(inputs(), np.arange(64) % 2, verbose=0)
    np.testing.assert_array_equal(model.hidden.kernel, kernel)
    np.testing.assert_array_equal(model.hidden.bias, bias)
    assert np.any(tuned.layers[1].kernel != head[0])
    assert ("ValueError: You cannot add new elements of state" in page.printed) != loaded
    again = through_a_file(tuned, tmp_path)
    contract.assert_same(again(inputs()), tuned(inputs()))
    assert again(inputs()).shape == (64, 2)
    np.testing.assert_array_equal(again.layers[0].kernel, kernel)
    assert len(again.trainable_weights) == 2


UNNOTICED = (
    "A model from `load_model`, without a `build` of its own, accepts a head of another size and trains it, but the "
    "file that you save then is loaded with the old head. `add` on a `Sequential` inside the model is accepted and "
    "lost in the same way; a layer assigned to an index of a list is accepted and not trained."
)


@pytest.mark.proves(UNNOTICED)
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")  # of the old head
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.parametrize(
    "name", ["classify", "scores"]
)  # sorted before `layers`, and after it: another place in a file
def test_a_loaded_model_accepts_a_new_head_and_its_file_has_the_old_one(name, tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Named(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = layers.Dense(8, activation="relu")
            setattr(self, name, layers.Dense(10, activation="softmax"))

        def call(self, inputs):
            return getattr(self, name)(self.hidden(inputs))

    x, y = one_of(2)()
    model = Named()
    model(x)
    old, new = getattr(model, name).get_weights(), layers.Dense(2, activation="softmax")
    model = through_a_file(model, tmp_path)
    model(x)
    setattr(model, name, new)
    model.compile(optimizer="sgd", loss="categorical_crossentropy")
    model.fit(x, y, verbose=0)
    kernel = new.kernel.numpy()
    model.fit(x, y, verbose=0)
    assert np.any(new.kernel != kernel)
    assert model(x).shape == (64, 2)
    again = through_a_file(model, tmp_path)
    assert again(x).shape == (64, 10)
    contract.assert_same(getattr(again, name).get_weights(), old)

    model = AsWideAsItsInput()
    model(x)
    model = through_a_file(model, tmp_path)
    with pytest.raises(ValueError, match="You cannot add new elements of state"):
        model.classify = layers.Dense(2)


@pytest.mark.proves(UNNOTICED)
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")  # of the layer that is replaced
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.parametrize("from_file", [False, True])
def test_add_and_an_index_are_accepted_after_the_first_call(from_file, tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Holds(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden, self.body = [layers.Dense(20)], keras.Sequential([layers.Dense(20)])

        def call(self, inputs):
            return self.body(self.hidden[0](inputs))

    x, y = inputs(), np.ones((64, 3))
    for change, outputs in ((lambda model, new: model.body.add(new), 3), (lambda model, new: index(model, new), 20)):
        model = Holds()
        model(x)
        model = through_a_file(model, tmp_path) if from_file else model
        new = layers.Dense(outputs)
        change(model, new)
        assert model(x).shape == (64, outputs)
        kernel = new.kernel.numpy()
        model.compile(optimizer="sgd", loss="mse")
        model.fit(x, y if outputs == 3 else x, verbose=0)
        assert np.any(new.kernel != kernel) == (outputs == 3)
        if outputs == 3:
            assert through_a_file(model, tmp_path)(x).shape == (64, 20)


def index(model, new):
    model.hidden[0] = new


# --- layer or model ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("`compile`, `fit`, `evaluate`, `predict`, `save`, `summary` | not there | there")
@pytest.mark.parametrize("method", ["compile", "fit", "evaluate", "predict", "save", "summary"])
def test_only_a_model_has(method):
    assert hasattr(keras.Model, method)
    assert not hasattr(layers.Layer, method)


@pytest.mark.proves("A place inside another model | yes | yes, a model is a layer")
def test_a_model_is_a_layer_and_a_part_of_another_model():
    assert issubclass(keras.Model, layers.Layer)
    model = keras.Sequential([Classifier(), layers.Dense(1)])
    model(inputs())
    assert len(model.trainable_weights) == 6


# --- you may have seen ------------------------------------------------------------------------------------------------


def old_form(**methods):
    """The form of the page, changed as a test needs it."""
    base = shown(MODULE, "seen_init_fails", batch=inputs(5))["MyCustomModel"]
    return type("MyCustomModel", (base,), methods)


def with_kwargs(self, **kwargs):
    keras.Model.__init__(self, **kwargs)
    self.dense1 = layers.Dense(8, activation="relu")
    self.dense2 = layers.Dense(10, activation="softmax")


UNEXPECTED = "unexpected keyword argument 'trainable'"
OLD = {
    "as it is": ({}, None, "Could not locate class 'MyCustomModel'"),
    "handed over": ({}, "custom_objects", UNEXPECTED),
    "registered": ({}, "register", UNEXPECTED),
    "with **kwargs": ({"__init__": with_kwargs}, None, "Could not locate class 'MyCustomModel'"),
    "with **kwargs, handed over": ({"__init__": with_kwargs}, "custom_objects", None),
    "with **kwargs, registered": ({"__init__": with_kwargs}, "register", None),
}


@pytest.mark.proves(
    "it trains and it saves, but it can't be loaded. First the class isn't found. If you pass it in `custom_objects`, "
    "or register it, its constructor refuses what Keras has saved.",
    "Register the class, and write `def __init__(self, **kwargs): super().__init__(**kwargs)`, as in `Classifier`.",
)
@pytest.mark.parametrize(("methods", "how", "message"), OLD.values(), ids=OLD)
def test_what_loading_the_old_form_takes(methods, how, message, tmp_path):
    cls = old_form(**methods)
    objects = {"MyCustomModel": cls} if how == "custom_objects" else None
    if how == "register":
        keras.saving.register_keras_serializable(package="tests")(cls)
    x, y = one_of(10)()
    model = cls()
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]  # it trains,
    model.save(tmp_path / "model.keras")  # and it saves
    if message is None:
        again = keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)
        contract.assert_same(again(x), model(x))
    else:
        with pytest.raises(TypeError, match=re.escape(message)):
            keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)


@pytest.mark.proves(
    "Without a `get_config` of yours, the file holds `trainable` and `dtype`, and Keras passes both to the "
    "constructor; with one that begins with `super().get_config()`, `name` too.",
)
def test_the_old_form_records_trainable_and_dtype_and_nothing_else(tmp_path):
    assert set(old_form()().get_config()) == {"trainable", "dtype"}
    cls = old_form()
    cls.get_config = lambda self: {**super(cls, self).get_config(), "units": 3}
    assert set(cls().get_config()) == {"name", "trainable", "dtype", "units"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        cls.from_config(cls().get_config())


@pytest.mark.proves("Passing it to the layer, as `Told` does, isn't required: Keras does it.")
def test_told_passes_training_on():
    cls = shown(MODULE, "seen_training_fails")["Told"]

    class OnlyDeclares(cls):
        def call(self, inputs, training=False):
            return self.dense(self.norm(inputs))

    told, only_declares, x = cls(), OnlyDeclares(), inputs()
    told(x), only_declares(x)
    only_declares.set_weights(told.get_weights())
    contract.assert_same(only_declares(x, training=True), told(x, training=True))
    contract.assert_same(only_declares.norm.moving_mean, told.norm.moving_mean)
    trained, predicted = told(x, training=True), told(x, training=False)
    assert np.abs(trained - predicted).max() > 1e-4
    contract.assert_same(told(x), told(x, training=False), atol=1e-3)


# --- the blocks themselves --------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Dropout and batch normalization do one thing while the model trains and another when it predicts.",
    "`evaluate` and `predict` pass `False`.",
)
def test_the_two_calls_that_the_page_compares_differ_in_training_alone():
    x, model = inputs(), Classifier()
    model(x)
    page = shown(MODULE, "training", model=model, x=x, y=np.eye(10)[np.arange(len(x)) % 10])
    trains, predicts, same, _losses = page.printed.splitlines()
    assert trains.startswith("training=True: ")
    assert float(trains.rsplit(" ", 1)[1]) > 0.01
    assert predicts == "training=False: two calls differ by 0"
    assert same == "predict returns what model(batch) does: True"


@pytest.mark.proves("its list holds three layers, and none of their weights is trained.")
def test_the_two_lists_differ_in_how_they_are_filled_alone():
    page = shown(MODULE, "by_index_fails", "assigned", x=inputs())
    hides, shows = page["hides"], page["shows"]
    x = inputs()
    for one, other in zip([*hides.hidden, hides.price], [*shows.hidden, shows.price], strict=True):
        one.set_weights(weights := [np.random.normal(size=weight.shape) for weight in one.weights])
        other.set_weights(weights)
        if one is not hides.price:
            x = np.maximum(x @ weights[0] + weights[1], 0)
    expected = x @ weights[0] + weights[1]
    np.testing.assert_allclose(hides(inputs()), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shows(inputs()), expected, rtol=1e-3, atol=1e-3)
