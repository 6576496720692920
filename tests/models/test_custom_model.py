"""`docs/models/custom_model.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from snippets.models.custom_model import Classifier, PriceAndRisk, SizedClassifier
from tests import contract


def inputs(samples: int = 64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(samples, 20)).astype("float32")


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
CASES = {
    "Classifier": contract.Model(Classifier, data=one_of(10), compile=CLASSES),
    "PriceAndRisk": contract.Model(
        PriceAndRisk, data=price_and_risk, compile={"loss": {"price": "mse", "risk": "binary_crossentropy"}}
    ),
    "SizedClassifier": contract.Model(
        lambda: SizedClassifier(32, classes=4, rate=0.1), data=one_of(4), compile=CLASSES
    ),
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


# --- the top of the page ----------------------------------------------------------------------------------------------


def test_tf_keras_model_is_the_same_class():
    assert tf.keras.Model is keras.Model


def test_functional_checks_the_shapes_while_it_is_built_and_a_subclass_when_it_is_called():
    x = keras.Input((20,))
    three, four = layers.Dense(3)(x), layers.Dense(4)(x)
    with pytest.raises(ValueError, match="incompatible shapes"):
        layers.Add()([three, four])

    class Adds(keras.Model):
        def __init__(self):
            super().__init__()
            self.three, self.four, self.add = layers.Dense(3), layers.Dense(4), layers.Add()

        def call(self, inputs):
            return self.add([self.three(inputs), self.four(inputs)])

    model = Adds()
    with pytest.raises(ValueError, match="incompatible shapes"):
        model(inputs())


def test_classifier_is_what_its_layers_compute():
    model, x = Classifier(), inputs(5)
    probabilities = model(x)
    kernel, bias, kernel2, bias2 = model.get_weights()
    logits = np.maximum(x @ kernel + bias, 0) @ kernel2 + bias2
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


# --- layers as attributes ---------------------------------------------------------------------------------------------


def holds(fill):
    """How many of two layers a model finds, and the model."""
    two = [layers.Dense(20), layers.Dense(20)]

    class Holds(keras.Model):
        def __init__(self):
            super().__init__()
            fill(self, *two)

        def call(self, inputs):
            return two[1](two[0](inputs))

    model = Holds()
    model(inputs())
    assert all(len(layer.weights) == 2 for layer in two)
    return len(model.trainable_weights) // 2


def by_attribute(model, one, other):
    model.one, model.other = one, other


def by_list(model, one, other):
    model.held = [one, other]


def by_nested_list(model, one, other):
    model.held = [[one], [other]]


def by_tuple(model, one, other):
    model.held = (one, other)


def by_dict(model, one, other):
    model.held = {"one": one, "other": other}


def by_append(model, one, other):
    model.held = []
    model.held.append(one)
    model.held.append(other)


def by_extend(model, one, other):
    model.held = []
    model.held.extend([one, other])


def by_key(model, one, other):
    model.held = {}
    model.held["one"] = one
    model.held["other"] = other


def by_a_list_that_is_filled_first(model, one, other):
    held = [None, None]
    held[0], held[1] = one, other
    model.held = held


def by_index(model, one, other):
    model.held = [None, None]
    model.held[0], model.held[1] = one, other


def by_setdefault(model, one, other):
    model.held = {}
    model.held.setdefault("one", one)
    model.held.setdefault("other", other)


def by_object(model, one, other):
    model.held = types.SimpleNamespace(one=one, other=other)


def by_function(model, one, other):
    model.held = lambda inputs: other(one(inputs))


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
def test_layers_are_found(fill):
    assert holds(fill) == 2


@pytest.mark.parametrize("fill", [by_index, by_setdefault, by_object, by_function])
def test_layers_are_hidden_and_nothing_complains(fill):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert holds(fill) == 0


def test_layers_in_a_tuple_are_saved(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class InTuple(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.held = (layers.Dense(3), layers.Dense(2))

        def call(self, inputs):
            return self.held[1](self.held[0](inputs))

    model, x = InTuple(), inputs()
    outputs = model(x)
    model.save(tmp_path / "model.keras")
    contract.assert_same(keras.saving.load_model(tmp_path / "model.keras")(x), outputs)


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


TRAINED = {
    "handed on": (Handed, True),
    "declared, not handed on": (Declared, True),
    "declared, through a layer that doesn't": (lambda spy: Declared(Between(spy)), True),
    "declared, through a model that doesn't": (lambda spy: Declared(Undeclared(spy)), True),
    "undeclared in a Sequential": (lambda spy: keras.Sequential([Undeclared(spy)]), True),
    "undeclared": (Undeclared, False),
    "undeclared around one that does": (lambda spy: Undeclared(Handed(spy)), False),
}


@pytest.mark.parametrize(("make", "expected"), TRAINED.values(), ids=TRAINED)
def test_the_outermost_model_has_to_declare_training(make, expected):
    spy = Spy()
    model = make(spy)
    model.compile("sgd", "mse")
    x = inputs()
    model.evaluate(x, x[:, :1], verbose=0)
    model.predict(x, verbose=0)
    assert True not in spy.seen
    spy.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(x, x[:, :1], verbose=0)
    assert (True in spy.seen) == expected


def test_evaluate_and_predict_pass_false():
    spy = Spy()
    model = Handed(spy)
    model.compile("sgd", "mse")
    x = inputs()
    model.predict(x, verbose=0)
    assert spy.seen == {False}
    spy.seen.clear()
    model.evaluate(x, x[:, :1], verbose=0)
    assert spy.seen == {False}


@pytest.mark.parametrize("make", [Classifier, lambda: SizedClassifier(128, classes=10)], ids=["Classifier", "Sized"])
def test_dropout_is_on_in_fit_and_off_elsewhere(make):
    keras.utils.set_random_seed(1)
    x, y = one_of(10)()
    model = make()
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    evaluated = model.evaluate(x, y, verbose=0)
    (fitted,) = model.fit(x, y, verbose=0).history["loss"]
    assert abs(fitted - evaluated) > 0.01
    assert model.evaluate(x, y, verbose=0) == evaluated
    assert np.abs(model(x, training=True) - model(x, training=True)).max() > 0.1
    contract.assert_same(model.predict(x, verbose=0), np.asarray(model(x)), atol=1e-6)
    contract.assert_same(model(x), model(x, training=False))


@pytest.mark.parametrize(("declare", "same"), [(True, False), (False, True)])
def test_without_training_dropout_in_fit_does_as_in_evaluate(declare, same):
    keras.utils.set_random_seed(1)
    x = inputs()
    model = (Handed if declare else Undeclared)(layers.Dropout(0.5))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    evaluated = model.evaluate(x, x[:, :1], verbose=0)
    (fitted,) = model.fit(x, x[:, :1], verbose=0).history["loss"]
    assert (abs(fitted - evaluated) < 1e-5) == same


@pytest.mark.parametrize(("make", "expected"), [(Handed, 5 * (1 - 0.9**28)), (Undeclared, 0.0)])
def test_moving_mean(make, expected):
    """Each of 28 steps keeps 0.9 of the old mean and takes 0.1 of 5."""
    norm = layers.BatchNormalization(momentum=0.9)
    model = make(norm)
    model.compile("sgd", "mse")
    model.fit(np.full((28, 4), 5.0), np.zeros((28, 1)), batch_size=1, verbose=0)
    np.testing.assert_allclose(norm.moving_mean, [expected] * 4, atol=1e-4)


def test_price_and_risk_does_the_same_in_both_cases():
    model, x = PriceAndRisk(), inputs()
    contract.assert_same(model(x, training=True), model(x, training=False))


# --- the first call ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [lambda: keras.Input((20,)), inputs], ids=["symbolic", "data"])
def test_the_first_call_creates_the_weights(given):
    model = Classifier()
    assert not model.weights
    assert not model.built
    model(given())
    assert [tuple(weight.shape) for weight in model.weights] == [(20, 128), (128,), (128, 10), (10,)]
    assert model.count_params() == 20 * 128 + 128 + 128 * 10 + 10 == 3978


def test_build_creates_nothing_and_warns_and_loaded_weights_do_not_arrive(tmp_path):
    saved, x = Classifier(), inputs()
    outputs = saved(x)
    saved.save_weights(tmp_path / "model.weights.h5")

    built = Classifier()
    with pytest.warns(UserWarning, match="does not have a `build\\(\\)` method"):
        built.build((None, 20))
    assert built.built
    assert not built.weights
    built.load_weights(tmp_path / "model.weights.h5")  # and no exception
    assert np.abs(built(x) - outputs).max() > 0.01

    called = Classifier()
    called(keras.Input((20,)))
    called.load_weights(tmp_path / "model.weights.h5")
    contract.assert_same(called(x), outputs)


def test_a_build_that_builds_the_layers_creates_the_weights(tmp_path):
    class Builds(Classifier):
        def build(self, input_shape):
            self.hidden.build(input_shape)
            self.classify.build((None, 128))

    saved, x = Classifier(), inputs()
    outputs = saved(x)
    saved.save_weights(tmp_path / "model.weights.h5")
    model = Builds()
    model.build((None, 20))
    assert len(model.weights) == 4
    model.load_weights(tmp_path / "model.weights.h5")
    contract.assert_same(model(x), outputs)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_the_compiled_optimizer_comes_back(tmp_path):
    x, y = one_of(10)()
    model = Classifier()
    model.compile(keras.optimizers.Adam(0.003), "categorical_crossentropy")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.compiled
    assert isinstance(reloaded.optimizer, keras.optimizers.Adam)
    assert int(reloaded.optimizer.iterations) == 4
    for one, other in zip(reloaded.optimizer.variables, model.optimizer.variables, strict=True):
        contract.assert_same(one, other)


def test_sized_classifier_keeps_every_argument():
    model = SizedClassifier(32, classes=4, rate=0.1, name="sized")
    copy = SizedClassifier.from_config(model.get_config())
    assert (copy.units, copy.classes, copy.rate, copy.name) == (32, 4, 0.1, "sized")
    assert (copy.hidden.units, copy.classify.units, copy.dropout.rate) == (32, 4, 0.1)


def required(base):
    class Required(base):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

    return Required


def defaulted(base):
    class Defaulted(base):
        def __init__(self, units=3, flag=True, name_of="a", nothing=None, **kwargs):
            super().__init__(**kwargs)

    return Defaulted


def test_arguments_are_recorded_for_a_layer():
    assert required(layers.Layer)(5).get_config()["units"] == 5
    config = defaulted(layers.Layer)(5, False, "b", 0.5).get_config()
    assert [config[key] for key in ("units", "flag", "name_of", "nothing")] == [5, False, "b", 0.5]


def test_of_a_model_only_the_defaults_are():
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        required(keras.Model)(5).get_config()
    config = defaulted(keras.Model)(5, False, "b", 0.5).get_config()
    assert [config[key] for key in ("units", "flag", "name_of", "nothing")] == [3, True, "a", None]


def test_a_required_argument_stops_save(tmp_path):
    class Required(required(keras.Model)):
        def call(self, inputs):
            return inputs

    model = Required(5)
    model(inputs())
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        model.save(tmp_path / "model.keras")


def old_form(**methods):
    """The form of the older tutorials, changed as a test needs it."""

    class MyCustomModel(keras.Model):
        def __init__(self):
            super(MyCustomModel, self).__init__()  # noqa: UP008
            self.dense1 = layers.Dense(8, activation="relu")
            self.dense2 = layers.Dense(10, activation="softmax")

        def call(self, inputs):
            return self.dense2(self.dense1(inputs))

    for name, method in methods.items():
        setattr(MyCustomModel, name, method)
    return MyCustomModel


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


@pytest.mark.parametrize(("methods", "how", "message"), OLD.values(), ids=OLD)
def test_what_loading_the_old_form_takes(methods, how, message, tmp_path):
    cls = old_form(**methods)
    objects = {"MyCustomModel": cls} if how == "custom_objects" else None
    if how == "register":
        keras.saving.register_keras_serializable(package="tests")(cls)
    x, y = one_of(10)()
    model = cls()
    model.compile("adam", "categorical_crossentropy")
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]  # it trains,
    model.save(tmp_path / "model.keras")  # and it saves
    if message is None:
        contract.assert_same(keras.saving.load_model(tmp_path / "model.keras", objects)(x), model(x))
    else:
        with pytest.raises(TypeError, match=re.escape(message)):
            keras.saving.load_model(tmp_path / "model.keras", objects)


def test_the_old_form_records_trainable_and_dtype_and_nothing_else():
    assert set(old_form()().get_config()) == {"trainable", "dtype"}


# --- layer or model ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["compile", "fit", "evaluate", "predict", "save", "summary"])
def test_only_a_model_has(method):
    assert hasattr(keras.Model, method)
    assert not hasattr(layers.Layer, method)


def test_a_model_is_a_layer_and_a_part_of_another_model():
    assert issubclass(keras.Model, layers.Layer)
    model = keras.Sequential([Classifier(), layers.Dense(1)])
    model(inputs())
    assert len(model.trainable_weights) == 6
