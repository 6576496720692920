"""`docs/errors/saving.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests import contract

X = np.ones((2, 3), dtype="float32")
PACKAGE = "tests_errors_saving"
registered = keras.saving.register_keras_serializable(package=PACKAGE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.keras"


def saved(model: keras.Model, path) -> np.ndarray:
    outputs = model(X)
    model.save(path)
    return outputs


def loaded(path, **options) -> keras.Model:
    return keras.saving.load_model(path, **options)


# --- could-not-locate-class -------------------------------------------------------------------------------------------


def unregistered() -> type[keras.layers.Layer]:
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    return Doubled


def sequential(layer: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layer])


def test_an_unregistered_layer_is_named_at_the_end(path):
    saved(sequential(unregistered()()), path)
    message = (
        r"(?s)^<class '[\w.]+\.Sequential'> could not be deserialized properly\..*Could not locate class 'Doubled'\."
    )
    with pytest.raises(TypeError, match=message):
        loaded(path)


def test_an_h5_file_has_an_unknown_layer(path):
    cls = unregistered()
    expected = saved(sequential(cls()), path.with_suffix(".h5"))
    with pytest.raises(ValueError, match=r"^Unknown layer: 'Doubled'\."):
        loaded(path.with_suffix(".h5"))
    contract.assert_same(loaded(path.with_suffix(".h5"), custom_objects={"Doubled": cls})(X), expected)


def test_an_unregistered_model_is_named_at_once(path):
    class Unregistered(keras.Model):
        def call(self, inputs):
            return inputs

    saved(Unregistered(), path)
    with pytest.raises(TypeError, match=r"^Could not locate class 'Unregistered'\."):
        loaded(path)


def test_the_file_is_loaded_with_custom_objects_and_not_by_a_registration_under_a_package(path):
    cls = unregistered()
    expected = saved(sequential(cls()), path)
    keras.saving.register_keras_serializable(package="later")(cls)
    with pytest.raises(TypeError, match="Could not locate class 'Doubled'"):
        loaded(path)
    contract.assert_same(loaded(path, custom_objects={"Doubled": cls})(X), expected)


@registered
class Tripled(keras.layers.Layer):
    def call(self, inputs):
        return 3 * inputs


def test_a_registered_class_is_found_once_its_module_is_imported(path, fresh_process):
    expected = saved(sequential(Tripled()), path)
    contract.assert_same(loaded(path)(X), expected)
    with pytest.raises(TypeError, match="Could not locate class 'Tripled'"):
        fresh_process.submit(contract.load_and_call, path, "keras", X).result()
    found = fresh_process.submit(load_after_registering, path, X).result()
    np.testing.assert_array_equal(found, expected)


def load_after_registering(path, x) -> np.ndarray:
    """Runs in the new process. This module, and with it the decorator, is imported to find this function."""
    return np.asarray(keras.saving.load_model(path)(x))


# --- could-not-be-deserialized ----------------------------------------------------------------------------------------


def called(name: str, cls: type) -> type:
    """One class before and after it is mended: the name is the same in the file."""
    cls.__name__ = name
    return registered(cls)


def dense_model(name: str, with_kwargs: bool) -> type[keras.Model]:
    class Without(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    class With(Without):
        def __init__(self, **kwargs):
            keras.Model.__init__(self, **kwargs)
            self.dense = keras.layers.Dense(1)

    return called(name, With if with_kwargs else Without)


def test_a_model_without_kwargs_is_refused_and_its_file_is_not_lost(path):
    expected = saved(dense_model("Dense1", with_kwargs=False)(), path)
    with pytest.raises(TypeError) as caught:
        loaded(path)
    first, *middle, last = str(caught.value).split("\n\n")
    assert " could not be deserialized properly. " in first
    assert any(words.startswith("Exception encountered: Unable to revive model from config. ") for words in middle)
    assert last.endswith("__init__() got an unexpected keyword argument 'trainable'")

    dense_model("Dense1", with_kwargs=True)
    contract.assert_same(loaded(path)(X), expected)


def layer_with_weights(name: str, with_kwargs: bool) -> type[keras.layers.Layer]:
    class Without(keras.layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def build(self, input_shape):
            self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    class With(Without):
        def __init__(self, units, **kwargs):
            keras.layers.Layer.__init__(self, **kwargs)
            self.units = units

    return called(name, With if with_kwargs else Without)


def test_so_is_a_layer(path):
    expected = saved(sequential(layer_with_weights("Linear1", with_kwargs=False)(2)), path)
    with pytest.raises(TypeError, match=r"could not be deserialized properly") as caught:
        loaded(path)
    assert str(caught.value).endswith("__init__() got an unexpected keyword argument 'trainable'")

    layer_with_weights("Linear1", with_kwargs=True)
    contract.assert_same(loaded(path)(X), expected)


def test_keras_hands_over_trainable_and_dtype():
    config = dense_model("Dense2", with_kwargs=False)().get_config()
    assert set(config) == {"trainable", "dtype"}


# --- non-serializable-arguments ---------------------------------------------------------------------------------------


class Required(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


@registered
class RequiredWithConfig(Required):
    def get_config(self):
        return {**super().get_config(), "units": self.units}


MESSAGE = r"Object {} was created by passing\s+non-serializable argument values in `__init__\(\)`"


def test_a_required_argument_of_a_model_is_refused_and_the_file_emptied(path):
    sequential(keras.layers.Dense(1)).save(path)
    assert path.stat().st_size > 0
    with pytest.raises(NotImplementedError, match=MESSAGE.format("Required")):
        saved(Required(5), path)
    assert path.stat().st_size == 0


def test_get_config_saves_it(path):
    expected = saved(RequiredWithConfig(5, name="projector"), path)
    model = loaded(path)
    assert (model.units, model.name) == (5, "projector")
    contract.assert_same(model(X), expected)


def test_a_layers_simple_arguments_are_recorded_and_others_are_not():
    class Holds(keras.layers.Layer):
        def __init__(self, value, **kwargs):
            super().__init__(**kwargs)

    for value in (5, 0.5, "relu", True, None):
        assert Holds(value).get_config()["value"] == value
    for value in (keras.activations.relu, keras.regularizers.L2(0.1), keras.layers.Dense(1)):
        with pytest.raises(NotImplementedError, match=MESSAGE.format("Holds")):
            Holds(value).get_config()


# --- default-arguments-saved ------------------------------------------------------------------------------------------


@registered
class Defaults(keras.Model):
    def __init__(self, units=3, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dropout = keras.layers.Dropout(rate)
        self.scores = keras.layers.Dense(units, name="scores")

    def call(self, inputs, training=False):
        return self.scores(self.dropout(inputs, training=training))


@registered
class DefaultsWithConfig(Defaults):
    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.dropout.rate}


def test_the_defaults_are_stored():
    config = Defaults(units=5, rate=0.5).get_config()
    assert (config["units"], config["rate"]) == (3, 0.1)


def test_another_shape_fails_in_words_that_speak_of_missing_variables(path):
    saved(Defaults(units=5), path)
    with pytest.raises(
        ValueError, match="Layer 'scores' expected 2 variables, but received 0 variables during loading"
    ):
        loaded(path)


def test_the_same_words_are_raised_for_any_weights_of_another_shape(tmp_path):
    """So the variables aren't missing: they have another shape."""
    model, other = Defaults(units=5), Defaults(units=3)
    model(X), other(X)
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(
        ValueError, match="Layer 'scores' expected 2 variables, but received 0 variables during loading"
    ):
        other.load_weights(tmp_path / "model.weights.h5")


def test_the_same_shape_raises_nothing_and_is_another_model(path):
    saved(Defaults(rate=0.5), path)
    assert loaded(path).dropout.rate == 0.1


def test_get_config_keeps_every_argument(path):
    expected = saved(DefaultsWithConfig(units=5, rate=0.5), path)
    model = loaded(path)
    assert (model.units, model.dropout.rate) == (5, 0.5)
    contract.assert_same(model(X), expected)


# --- build-then-load-weights ------------------------------------------------------------------------------------------


class Encoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class EncoderWithBuild(Encoder):
    def build(self, input_shape):
        self.dense.build(input_shape)


@pytest.fixture
def weights(tmp_path):
    model = Encoder()
    expected = model(X)
    model.save_weights(tmp_path / "encoder.weights.h5")
    return tmp_path / "encoder.weights.h5", np.asarray(expected)


def test_the_message_for_a_new_model_recommends_build(weights):
    with pytest.raises(ValueError, match=r"not yet been built\..*or by using `build\(\)`\.$"):
        Encoder().load_weights(weights[0])


def test_build_warns_once_creates_nothing_and_load_weights_loads_nothing(weights, recwarn):
    file, expected = weights
    recwarn.clear()
    model = Encoder()
    model.build((None, 3))
    model.load_weights(file)
    (warning,) = [str(w.message) for w in recwarn if w.category is UserWarning]
    assert warning.startswith("`build()` was called on layer ")
    assert (model.built, model.dense.built, len(model.weights)) == (True, False, 0)
    assert not np.allclose(model(X), expected)


@pytest.mark.parametrize("inputs", [lambda: keras.Input((3,)), lambda: X], ids=["Input", "data"])
def test_a_call_creates_the_weights_and_they_are_loaded(weights, inputs):
    file, expected = weights
    model = Encoder()
    model(inputs())
    assert len(model.weights) == 2
    assert not np.allclose(model(X), expected)
    model.load_weights(file)
    np.testing.assert_array_equal(model(X), expected)


def test_a_build_of_its_own_works_too(weights):
    file, expected = weights
    model = EncoderWithBuild()
    model.build((None, 3))
    model.load_weights(file)
    np.testing.assert_array_equal(model(X), expected)
