"""`docs/saving/what_comes_back.md`: every claim that the page makes, proved.

Models are made and saved in one process and loaded in another, which has seen none of their classes.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.saving.what_comes_back import WeightedError, not_as_saved, same
from tests import contract
from tests.shown import shown
from tests.site import SITE

MODULE = "snippets.saving.what_comes_back"
LOSSES = {"WeightedError": contract.Other(lambda **kw: WeightedError(3.0, **kw), (np.ones((4, 2)), np.zeros((4, 2))))}
NOT_IN_CONTRACT = {"Forgets of forgets_fails": "forgets its argument, on purpose: shown below"}
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = X[:, :1] + 1


@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_it_passes_the_checkup(case):
    contract.passes_the_checkup(case)


# --- the program ------------------------------------------------------------------------------------------------------


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(**{"optimizer": "sgd", "loss": "mse", "run_eagerly": True} | options)
    return model


def sequential(*layers: keras.layers.Layer, **options: Any) -> keras.Model:
    return compiled(keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)]), **options)


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The lines that the page's sections print."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading")
        page = shown(MODULE, "program", "forgets_fails", "half")
    keras.config.set_dtype_policy("float32")
    return page.printed.splitlines()


@pytest.mark.proves(
    "`not_as_saved` saves a compiled model, loads it, and names each number that differs: the predictions, the loss, "
    "the metrics, and the weights after one more step:",
    "All of it came back. Here the class was registered when the file was loaded.",
)
def test_it_names_what_differs(printed, monkeypatch, tmp_path):
    assert printed[0] == "[]"
    as_saved = keras.saving.load_model

    def changed(change: Callable[[keras.Model], None]) -> list[str]:
        def load(path):
            change(loaded := as_saved(path))
            return loaded

        monkeypatch.setattr(keras.saving, "load_model", load)
        model = sequential(metrics=["mae"])
        return not_as_saved(model, tmp_path / "model.keras", X, Y)

    assert changed(lambda model: None) == []
    assert set(changed(lambda model: model.layers[-1].bias.assign([1.0]))) == {
        "predictions",
        "loss",
        "mae",
        "weights after a step",
    }
    assert changed(lambda model: compiled(model, loss="mae", metrics=["mae"])) == ["loss", "weights after a step"]
    assert changed(lambda model: compiled(model, metrics=["mse"])) == ["mae"]
    assert changed(lambda model: compiled(model, optimizer=keras.optimizers.SGD(0.5), metrics=["mae"])) == [
        "weights after a step"
    ]


@pytest.mark.proves(
    "If the model was trained with `Dropout`, those weights differ: how far its random numbers have come isn't in the "
    "file."
)
@pytest.mark.parametrize("run_eagerly", [True, False])
def test_dropout_differs_once_trained(run_eagerly, tmp_path):
    model = sequential(keras.layers.Dropout(0.5, seed=1), run_eagerly=run_eagerly)
    if run_eagerly:
        assert not_as_saved(model, tmp_path / "untrained.keras", X, Y) == []
    model.train_on_batch(X, Y)
    assert not_as_saved(model, tmp_path / "model.keras", X, Y) == ["weights after a step"]


@pytest.mark.parametrize("kind", ["two outputs", "dicts", "subclassed"])
def test_it_compares_every_kind_of_model(kind, tmp_path):
    inputs = {"a": keras.Input((4,), name="a")} if kind == "dicts" else keras.Input((4,))
    of_one = inputs["a"] if kind == "dicts" else inputs
    first, second = keras.layers.Dense(1, name="p")(of_one), keras.layers.Dense(1, name="q")(of_one)
    model = keras.Model(inputs, {"p": first, "q": second} if kind == "dicts" else [first, second])
    if kind == "subclassed":
        model = keras.Sequential([keras.layers.Dense(1)])
    x, y = ({"a": X}, {"p": Y, "q": Y}) if kind == "dicts" else (X, Y if kind == "subclassed" else [Y, Y])
    compiled(model, optimizer="adam").fit(x, y, verbose=0)
    assert not_as_saved(model, tmp_path / "model.keras", x, y) == []


@pytest.mark.proves(
    "Without `get_config`, the same loss is saved and loaded, with the default of its argument:",
    "The predictions are the same, so that a test of predictions finds nothing.",
)
def test_a_loss_forgets(printed):
    assert printed[:3] == ["[]", "['loss', 'weights after a step']", "1.0"]
    assert not same([1.0], [1.0, 2.0])
    assert not same({"a": [1.0]}, {"a": [1.1]})


# --- objects ----------------------------------------------------------------------------------------------------------

Made = tuple[Any, Callable[[], keras.Model]]
"""A class or function, and what makes a model that uses it with an argument that isn't the default."""

OBJECTS: dict[str, tuple[str, Callable[[], Made]]] = {}
"""By name: the row of the page's table, and what makes it."""


def in_row(row: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def keep(make: Callable[[], Made]) -> Callable[[], Made]:
        OBJECTS[make.__name__] = row, make
        return make

    return keep


class Keeps:
    """Keeps an argument, and has it in its config, as the class does that comes before it."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def of_config(self):
        inherited = {} if type(self).__mro__[2] in ALONE else super().get_config()
        return {**inherited, "factor": self.factor}


ALONE = (
    keras.constraints.Constraint,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.optimizers.schedules.LearningRateSchedule,
)
LAYER, REGULARIZER = "A layer, or a cell of an `RNN`", "Another regularizer or schedule"
EXTENDS = "A layer, regularizer or schedule that extends one with a `get_config`, such as `Dense` or `L2`"
CHAIN, MAKES = (f"One that extends `Sequential` and {does} its layers" for does in ("is given", "makes"))
GRAPH = "One that takes `inputs`, `outputs` and an argument of its own"
LOSS = CONSTRAINT = "A loss, metric, optimizer, constraint or initializer"
CALLABLE, PARTIAL = "A class with `__call__` that extends none of Keras", "A `functools.partial`"
FUNCTION, LAMBDA = "A function, wherever Keras takes one", "A `lambda`, a bound method or a `tf.function`"


@in_row(LAYER)
def layer() -> Made:
    class Thing(Keeps, layers.Layer):
        def call(self, inputs):
            return self.factor * inputs

    return Thing, lambda: sequential(Thing(3.0))


@in_row(LAYER)
def layer_with_a_dict() -> Made:
    class Thing(Keeps, layers.Layer):
        def call(self, inputs):
            return self.factor["of"][0] * inputs

    return Thing, lambda: sequential(Thing({"of": [3.0, None], "name": ("b", True)}))


@in_row(LAYER)
def layer_with_a_layer() -> Made:
    class Thing(Keeps, layers.Layer):
        def call(self, inputs):
            return self.factor(inputs)

        def of_config(self):
            return {**super().get_config(), "factor": keras.saving.serialize_keras_object(self.factor)}

        @classmethod
        def from_config(cls, config):
            return cls(**{**config, "factor": keras.saving.deserialize_keras_object(config["factor"])})

    return Thing, lambda: sequential(Thing(layers.Dense(2)))


@in_row(LAYER)
def cell() -> Made:
    class Thing(Keeps, layers.Layer):
        state_size = output_size = 2

        def call(self, inputs, states):
            return self.factor * inputs + 0.5 * states[0], [inputs]

    return Thing, lambda: sequential(layers.Reshape((2, 2)), layers.RNN(Thing(3.0)))


@in_row(LAYER)
def layer_in_a_wrapper() -> Made:
    thing, _ = layer()
    return thing, lambda: sequential(
        layers.Reshape((2, 2)), layers.TimeDistributed(thing(3.0)), layers.Flatten(), layers.Dense(2, thing(2.0))
    )


@in_row(EXTENDS)
def extended() -> Made:
    class Thing(layers.Dense):
        def __init__(self, units, factor=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.factor = factor

        def call(self, inputs):
            return self.factor * super().call(inputs)

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Thing, lambda: sequential(Thing(2, 3.0))


@in_row("A model")
def model() -> Made:
    class Thing(Keeps, keras.Model):
        def __init__(self, factor=1.0, **kwargs):
            super().__init__(factor, **kwargs)
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.factor * self.dense(inputs)

    return Thing, lambda: compiled(Thing(3.0))


@in_row(CHAIN)
def chained() -> Made:
    class Thing(keras.Sequential):
        def __init__(self, layers=None, factor=1.0, **kwargs):
            super().__init__(layers, **kwargs)
            self.factor = factor

        def call(self, inputs, training=None, mask=None):
            return self.factor * super().call(inputs, training=training, mask=mask)

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Thing, lambda: compiled(Thing([layers.Dense(1)], 3.0))


@in_row(MAKES)
def chained_of_its_own() -> Made:
    class Thing(keras.Sequential):
        def __init__(self, factor=0.0, **kwargs):
            super().__init__([layers.Dense(4), layers.Dropout(factor), layers.Dense(1)], **kwargs)
            self.factor = factor

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Thing, lambda: compiled(Thing(0.5))


@in_row(GRAPH)
def of_named_inputs() -> Made:
    class Thing(keras.Model):
        def __init__(self, inputs, outputs, factor=1.0, **kwargs):
            super().__init__(inputs, outputs, **kwargs)
            self.factor = factor

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    inputs = keras.Input((4,))
    return Thing, lambda: compiled(Thing(inputs, layers.Dense(1)(inputs), 3.0))


@in_row("A `train_step` alone")
def train_step() -> Made:
    class Thing(keras.Model):
        def train_step(self, data):
            logs = super().train_step(data)
            self.layers[-1].bias.assign_add([1.0])
            return logs

    inputs = keras.Input((4,))
    return Thing, lambda: compiled(Thing(inputs, layers.Dense(1)(inputs)))


@in_row(LOSS)
def loss() -> Made:
    class Thing(Keeps, keras.losses.Loss):
        def call(self, y_true, y_pred):
            return self.factor * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    return Thing, lambda: sequential(loss=Thing(3.0))


@in_row(LOSS)
def metric() -> Made:
    class Thing(Keeps, keras.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(self.factor * ops.abs(y_true - y_pred), sample_weight)

    return Thing, lambda: sequential(metrics=[Thing(3.0)])


@in_row(LOSS)
def optimizer() -> Made:
    class Thing(Keeps, keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(self.factor * gradient, variable, learning_rate)

    return Thing, lambda: sequential(optimizer=Thing(3.0, learning_rate=0.01))


@in_row(CONSTRAINT)
def constraint() -> Made:
    class Thing(Keeps, keras.constraints.Constraint):
        def __call__(self, w):
            return ops.clip(w, -self.factor, self.factor)

    return Thing, lambda: sequential(layers.Dense(3, kernel_constraint=Thing(0.1)))


@in_row(CONSTRAINT)
def initializer() -> Made:
    class Thing(Keeps, keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return self.factor * ops.ones(shape, dtype)

    return Thing, lambda: sequential(layers.Dense(3, kernel_initializer=Thing(3.0)))


@in_row(REGULARIZER)
def regularizer() -> Made:
    class Thing(Keeps, keras.regularizers.Regularizer):
        def __call__(self, w):
            return self.factor * ops.sum(ops.abs(w))

    return Thing, lambda: sequential(layers.Dense(3, kernel_regularizer=Thing(3.0)))


@in_row(REGULARIZER)
def schedule() -> Made:
    class Thing(Keeps, keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.01 * self.factor / (1 + ops.cast(step, "float32"))

    return Thing, lambda: sequential(optimizer=keras.optimizers.SGD(Thing(3.0)))


@in_row(EXTENDS)
def extended_regularizer() -> Made:
    class Thing(keras.regularizers.L2):
        def __init__(self, l2=0.1, factor=1.0):
            super().__init__(l2)
            self.factor = factor

        def __call__(self, w):
            return self.factor * super().__call__(w)

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Thing, lambda: sequential(layers.Dense(3, kernel_regularizer=Thing(factor=3.0)))


@in_row(EXTENDS)
def extended_schedule() -> Made:
    class Thing(keras.optimizers.schedules.ExponentialDecay):
        def __init__(self, initial_learning_rate=0.01, decay_steps=9, decay_rate=0.9, factor=1.0, **kwargs):
            super().__init__(initial_learning_rate, decay_steps, decay_rate, **kwargs)
            self.factor = factor

        def __call__(self, step):
            return self.factor * super().__call__(step)

        def of_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Thing, lambda: sequential(optimizer=keras.optimizers.SGD(Thing(factor=3.0)))


class Bare:
    """Extends no class of Keras."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def of_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@in_row(CALLABLE)
def callable_penalty() -> Made:
    class Thing(Bare):
        def __call__(self, w):
            return self.factor * ops.sum(ops.abs(w))

    return Thing, lambda: sequential(layers.Dense(3, kernel_regularizer=Thing(3.0)))


@in_row(CALLABLE)
def callable_of_inputs() -> Made:
    class Thing(Bare):
        def __call__(self, w):
            return self.factor * w

    return Thing, lambda: sequential(layers.Dense(3, Thing(3.0), kernel_constraint=Thing(0.5)))


@in_row(CALLABLE)
def callable_loss() -> Made:
    class Thing(Bare):
        def __call__(self, y_true, y_pred):
            return self.factor * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    return Thing, lambda: sequential(loss=Thing(3.0))


@in_row(PARTIAL)
def partial_of_inputs() -> Made:
    def thing(x, factor=1.0):
        return factor * x

    return thing, lambda: sequential(layers.Dense(3, partial(thing, factor=3.0)))


@in_row(PARTIAL)
def partial_loss() -> Made:
    def thing(y_true, y_pred, factor=1.0):
        return factor * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    return thing, lambda: sequential(loss=partial(thing, factor=3.0))


@in_row(FUNCTION)
def function_of_nothing() -> Made:
    def thing():
        return 0.03

    return thing, lambda: sequential(optimizer=keras.optimizers.SGD(thing))


@in_row(FUNCTION)
def function_of_errors() -> Made:
    def thing(y_true, y_pred):
        return 3 * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    return thing, lambda: sequential(loss=thing, metrics=[thing])


@in_row(FUNCTION)
def function_of_inputs() -> Made:
    def thing(x):
        return ops.tanh(3 * x)

    return thing, lambda: sequential(layers.Dense(3, thing), layers.Lambda(thing, output_shape=(3,)))


@in_row(FUNCTION)
def function_of_a_shape() -> Made:
    def thing(shape, dtype=None):
        return 3 * ops.ones(shape, dtype)

    return thing, lambda: sequential(layers.Dense(3, kernel_initializer=thing))


@in_row(FUNCTION)
def function_of_weights() -> Made:
    def thing(w):
        return ops.clip(w, -0.1, 0.1)

    return thing, lambda: sequential(layers.Dense(3, kernel_constraint=thing, bias_constraint=thing))


@in_row(FUNCTION)
def penalty() -> Made:
    def thing(w):
        return 3 * ops.sum(ops.abs(w))

    return thing, lambda: sequential(layers.Dense(3, kernel_regularizer=thing))


@in_row(LAMBDA)
def activation_lambda() -> Made:
    thing = lambda x: 3 * ops.relu(x)  # noqa: E731
    return thing, lambda: sequential(layers.Dense(3, thing))


@in_row(LAMBDA)
def lambda_in_a_layer() -> Made:
    thing = lambda x: 3 * ops.relu(x)  # noqa: E731
    return thing, lambda: sequential(layers.Lambda(thing, output_shape=(4,)))


@in_row(LAMBDA)
def lambda_loss() -> Made:
    thing = lambda y_true, y_pred: 3 * ops.mean(ops.abs(y_true - y_pred), axis=-1)  # noqa: E731
    return thing, lambda: sequential(loss=thing, metrics=[thing])


@in_row(LAMBDA)
def lambda_of_weights() -> Made:
    thing = lambda w: 3 * ops.sum(ops.abs(w))  # noqa: E731
    return thing, lambda: sequential(layers.Dense(3, kernel_regularizer=thing))


class Holder:
    def thing(self, x):
        return 3 * x

    def error(self, y_true, y_pred):
        return 3 * ops.mean(ops.abs(y_true - y_pred), axis=-1)


@in_row(LAMBDA)
def method() -> Made:
    return Holder().thing, lambda: sequential(layers.Dense(3, Holder().thing))


@in_row(LAMBDA)
def method_as_a_loss() -> Made:
    return Holder().error, lambda: sequential(loss=Holder().error)


@in_row(LAMBDA)
def of_tensorflow() -> Made:
    thing = tf.function(Holder().error)
    return thing, lambda: sequential(loss=thing)


def drawn_anew(model: keras.Model) -> list[np.ndarray]:
    """The kernels that initializers of one's own give."""
    found = [layer.kernel_initializer for layer in model.layers if hasattr(layer, "kernel_initializer")]
    return [np.asarray(one((2, 2))) for one in found if not type(one).__module__.startswith("keras")]


def prepared(name: str, config: bool) -> Made:
    thing, make = OBJECTS[name][1]()
    if config and hasattr(thing, "of_config"):
        thing.get_config = thing.of_config
    return thing, make


Saved = tuple[bytes | str, dict[str, Any]]
"""A file, or the error that came instead of it, and what the model gives."""


def written(name: str, *, config: bool, registered: bool) -> Saved:
    thing, make = prepared(name, config)
    if registered:
        register(thing)
    keras.utils.set_random_seed(1)
    model = make()
    model(X)
    try:
        model.save("model.keras")
    except (NotImplementedError, TypeError) as error:
        return str(error), {}
    return Path("model.keras").read_bytes(), everything(model)


def register(thing: Any) -> None:
    if not isinstance(thing, type) or hasattr(thing, "get_config"):  # else it can't be registered
        keras.saving.register_keras_serializable("elsewhere", thing.__name__)(thing)


def everything(model: keras.Model) -> dict[str, Any]:
    """What `numbers` gives, without the datasets that `predict` and `evaluate` make."""
    found = {"predictions": model.predict_on_batch(X), **model.test_on_batch(X, Y, return_dict=True)}
    model.train_on_batch(X, Y)
    return {**found, "weights after a step": model.get_weights(), "weights drawn anew": drawn_anew(model)}


def all_written() -> dict[tuple[str, bool, bool], Saved]:
    return {
        (name, config, registered): written(name, config=config, registered=registered)
        for name in OBJECTS
        for config in ((False, True) if hasattr(OBJECTS[name][1]()[0], "of_config") else (False,))
        for registered in ((False, True) if config or name in ("model", "loss", "function_of_inputs") else (True,))
    }


def outcome(key: tuple[str, bool, bool], saved: Saved, *, handed_over: bool) -> tuple[str, list[str]]:
    """What comes of loading a file, and which numbers differ."""
    name, config, registered = key
    file, before = saved
    if isinstance(file, str):
        return "`save` raises", []
    keras.saving.get_custom_objects().clear()
    objects = {}
    if handed_over:
        thing, _ = prepared(name, config)
        if registered:
            register(thing)
        else:
            objects = {thing.__name__: thing}
    Path("model.keras").write_bytes(file)
    try:
        loaded = keras.saving.load_model("model.keras", custom_objects=objects)
    except (TypeError, ValueError) as error:
        return "`load_model` raises", [str(error)]
    after = everything(loaded)
    differ = [name for name in before if not same(before[name], after[name])]
    return "**the default, silently**" if differ else "comes back", differ


def outcomes_of(saved: dict[tuple[str, bool, bool], Saved], handed_over: bool) -> dict[tuple, tuple]:
    return {key: outcome(key, one, handed_over=handed_over) for key, one in saved.items()}


@pytest.fixture(scope="module")
def outcomes(readers):
    """What comes of each object, if it is handed over to a new process, and if it isn't."""
    found = []
    saved = readers.page().call(all_written)
    for handed_over in (True, False):
        page = readers.page()
        found.append(page.call(outcomes_of, saved, handed_over))
        page.end()
    return found


def table() -> dict[str, tuple[str, str]]:
    """The cells of the page's table of objects, by the first of each row."""
    page = (SITE.docs / "saving/what_comes_back.md").read_text(encoding="utf-8")
    rows = page.partition("| You wrote |")[2].partition("\n\n")[0].splitlines()[2:]
    return {first: (with_it, without) for first, with_it, without in (re.split(r" ?\| ?", row)[1:-1] for row in rows)}


@pytest.mark.proves(
    "What you wrote was given an argument that isn't its default, and was loaded in a new process:",
    "An initializer shows in no number, until weights are drawn anew: the file has the old ones.",
)
@pytest.mark.parametrize("name", OBJECTS)
def test_what_comes_back_of_each_object(name, outcomes):
    with_it, without = table()[OBJECTS[name][0]]
    if name == "layer_with_a_layer":
        assert "else `save` raises" in without
        without = "`save` raises"
    for config, cell in ((True, with_it), (False, without)):
        if (name, config, True) in outcomes[0]:
            came = {found[0] for key, found in outcomes[0].items() if key[:2] == (name, config)}
            assert came == {re.sub(", if.*", "", cell)}
    if name == "initializer":
        assert outcomes[0][name, False, True][1] == ["weights drawn anew"]


@pytest.mark.parametrize("name", OBJECTS)
def test_nothing_comes_back_of_what_is_not_handed_over(name, outcomes):
    for key, (came, said) in outcomes[1].items():
        if key[0] == name and came != "`save` raises":
            assert came == "`load_model` raises"
            assert re.search("Could not locate|could not be deserialized|Python lambda|'config' to be a", said[0])


@pytest.mark.proves(
    "If an argument has no default or sets a weight's shape, or the constructor doesn't take what the base has, such "
    "as `name`, then `save` or `load_model` raises instead."
)
def test_an_argument_that_is_not_lost_silently(tmp_path):
    def raises(thing: type, model: keras.Model) -> None:
        model(X)
        with pytest.raises((NotImplementedError, TypeError, ValueError)):  # noqa: PT012
            model.save(tmp_path / "model.keras")
            keras.saving.load_model(tmp_path / "model.keras", custom_objects={thing.__name__: thing})

    class NoDefault(keras.losses.Loss):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, y_true, y_pred):
            return self.factor * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    class NoName(NoDefault):
        def __init__(self, factor=1.0):
            super().__init__(factor)

    class NoDefaultInAModel(Inner):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)

    class NoNameInAModel(Inner):
        def __init__(self, factor=1.0):
            super().__init__()

    class Units(keras.Model):
        def __init__(self, units=1, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(units)

        def call(self, inputs):
            return self.dense(inputs)

    class Rank(layers.Dense):
        def __init__(self, units, rank=1, **kwargs):
            super().__init__(units, **kwargs)
            self.rank = rank

        def build(self, input_shape):
            super().build(input_shape)
            self.low = self.add_weight(shape=(self.rank,))

    for loss in (NoDefault, NoName):
        raises(loss, sequential(loss=loss(3.0)))
    for model in (NoDefaultInAModel, NoNameInAModel, Units):
        raises(model, model(3))
    raises(Rank, sequential(Rank(2, 3)))


class Items(layers.Layer):
    def __init__(self, items=None, **kwargs):
        super().__init__(**kwargs)
        self.items = items

    def call(self, inputs):
        return inputs


class Told(WeightedError):
    def __init__(self, weight=1.0, **kwargs):
        super().__init__(weight, **kwargs)


@pytest.mark.proves(
    "A `Sequential` that makes its layers needs a `from_config`. Saved before its first call, it comes back with each "
    "layer twice, silently."
)
def test_a_sequential_that_makes_its_layers(tmp_path):
    class Thing(keras.Sequential):
        def __init__(self, rate=0.0, **kwargs):
            super().__init__([layers.Dense(4), layers.Dropout(rate), layers.Dense(1)], **kwargs)
            self.rate = rate

    class Whole(Thing):
        def get_config(self):
            return {"name": self.name, "rate": self.rate}

        @classmethod
        def from_config(cls, config, custom_objects=None):
            return cls(**config)

    def loaded(model: keras.Model) -> keras.Model:
        model.save(tmp_path / "model.keras")
        known = {type(model).__name__: type(model)}
        return keras.saving.load_model(tmp_path / "model.keras", custom_objects=known)

    with pytest.warns(UserWarning, match="has not yet been built"):
        assert len(loaded(Thing(0.5)).layers) == 6
    model = Whole(0.5)
    expected = model(X)
    again = loaded(model)
    assert again.rate == 0.5
    contract.assert_same(again(X), expected)


class Given(layers.Layer):
    def __init__(self, given, **kwargs):
        super().__init__(**kwargs)
        self.given = given

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {**super().get_config(), "given": self.given}


class Makes(Given):
    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "given": keras.saving.deserialize_keras_object(config["given"])})


@pytest.mark.proves(
    "An array, a layer or a function that `get_config` returns comes to the constructor as a dict, unless "
    "`from_config` makes it anew."
)
def test_what_is_not_plain_in_a_config(tmp_path):
    for given in (np.ones(2), tf.ones(2), layers.ReLU(), keras.activations.tanh):
        for thing, is_dict in ((Given, True), (Makes, False)):
            model = sequential(thing(given))
            model.save(tmp_path / "model.keras")
            loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={thing.__name__: thing})
            assert isinstance(loaded.layers[0].given, dict) == is_dict


@pytest.mark.proves("A tuple comes back as a list, and the keys of a dict as strings.")
def test_what_json_has_not(tmp_path):
    for thing in (Items, type("Configured", (Items,), {"get_config": lambda self: {"items": self.items}})):
        model = sequential(thing((2, {1: 3})))
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={thing.__name__: thing})
        assert loaded.layers[0].items == [2, {"1": 3}]
    for other in (np.float32(3), 3j, {1}, np.ones(2), ops.tanh):
        with pytest.raises(NotImplementedError):
            sequential(Items(other)).save(tmp_path / "model.keras")


@pytest.mark.proves(
    "A class that was registered when saved is registered when loaded, or passed in `custom_objects` as "
    '`"guide>WeightedError"`.',
    "Else: Could not locate class.",
)
def test_the_name_in_the_file(tmp_path):
    keras.saving.register_keras_serializable("guide")(Told)
    sequential(loss=Told(3.0)).save(tmp_path / "model.keras")
    keras.saving.get_custom_objects().pop("guide>Told")
    whole_name = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"guide>Told": Told})
    assert whole_name.loss.weight == 3
    for objects in ({"Told": Told}, None):
        with pytest.raises(TypeError, match="Could not locate class 'Told'"):
            keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)


class Since(layers.Layer):
    def call(self, inputs):
        return 3 * inputs


@pytest.mark.proves('One that wasn\'t is passed as `"WeightedError"`, even if it is registered since.')
def test_a_class_that_is_registered_since(tmp_path):
    model = sequential(Since())
    model.save(tmp_path / "model.keras")
    keras.saving.register_keras_serializable("guide")(Since)
    for objects in (None, {"guide>Since": Since}):
        with pytest.raises(TypeError, match="Could not locate class 'Since'"):
            keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Since": Since})
    assert same(loaded(X), model(X))


@pytest.mark.proves(
    "An activation, loss or metric function of yours that isn't registered, and has the name of one of Keras's, such "
    "as `relu` or `huber`, comes back as Keras's, silently. A closure has the argument of the one that you register."
)
def test_another_function_than_that_which_was_saved(tmp_path):
    def relu(x):
        return 3 * x

    def times(factor):
        def closure(x):
            return factor * x

        return closure

    sequential(layers.Dense(2, relu)).save(tmp_path / "model.keras")
    for objects in ({"relu": relu}, None):
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)
        assert loaded.layers[0].activation is keras.activations.relu

    def huber(y_true, y_pred):
        return 7 + 0 * ops.mean(y_pred, axis=-1)

    model = sequential(loss=huber, metrics=[huber])
    model.save(tmp_path / "model.keras")
    assert model.evaluate(X, Y, verbose=0) == [7.0, 7.0]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = float(np.mean(keras.losses.huber(Y, model(X))))
    assert loaded.evaluate(X, Y, verbose=0) == pytest.approx([expected, expected], rel=1e-5)
    sequential(layers.Dense(2, times(3.0))).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"closure": times(1.0)})
    assert loaded.layers[0].activation(2.0) == 2.0


def test_each_row_was_tried():
    assert {row for row, _ in OBJECTS.values()} == set(table())


# --- a model in 16 bits -----------------------------------------------------------------------------------------------


class Inner(keras.Model):
    """A subclassed model whose constructor makes a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


def functional() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(1)(inputs))


def chain() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(1)])


def halves() -> dict[str, bytes]:
    keras.config.set_dtype_policy("mixed_float16")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    kinds = {
        "chain": (chain(), {"optimizer": "adam"}),
        "functional": (functional(), {"optimizer": keras.optimizers.Adam()}),
        "inner": (Inner(), {"optimizer": "adam"}),
        "own": (chain(), {"optimizer": scaled}),
        "not scaled": (chain(), {"optimizer": "adam", "auto_scale_loss": False}),
    }
    files = {}
    for name, (model, options) in kinds.items():
        compiled(model, **options)
        for _ in range(6):  # the first steps may overflow
            model.train_on_batch(X, Y)
        model.save("half.keras")
        files[name] = Path("half.keras").read_bytes()
    return files


def loaded_under(files: dict[str, bytes], policy: str) -> dict[str, tuple[bool, bool, str]]:
    """Whether the loss is scaled, whether steps go on, and in which dtype the layer computes."""
    keras.config.set_dtype_policy(policy)
    found = {}
    for name, file in files.items():
        Path("half.keras").write_bytes(file)
        model = keras.saving.load_model("half.keras", custom_objects={"Inner": Inner})
        scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        found[name] = scales, int(model.optimizer.iterations) > 0, model.layers[-1].compute_dtype
    return found


@pytest.mark.proves(
    "`compile` scales the loss of a model in `mixed_float16`, and decides so by the model's policy. A sequential or "
    "functional model takes its policy from the program that loads it. Under another policy than `mixed_float16`, "
    "its optimizer comes back without the scale, and begins anew:",
    "Layers have theirs in the file; those that the constructor of a subclassed model makes take that of the program: "
    "such a model computes in `float32`, silently.",
    "A `LossScaleOptimizer` that you passed to `compile` yourself comes back under each policy. With "
    "`auto_scale_loss=False`, set it again: it isn't saved.",
)
def test_the_policy_of_the_program_that_loads(readers):
    page = readers.page()
    files = page.call(halves)
    page.end()
    by_policy = {}
    for policy in ("mixed_float16", "float32", "mixed_bfloat16"):
        page = readers.page()
        by_policy[policy] = page.call(loaded_under, files, policy)
        page.end()
    here, half = True, "float16"
    assert by_policy["mixed_float16"] == {
        "chain": (True, here, half),
        "functional": (True, here, half),
        "inner": (True, here, half),
        "own": (True, here, half),
        "not scaled": (True, False, half),
    }
    for policy, dtype in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        found = by_policy[policy]
        assert found["chain"] == found["functional"] == (False, False, half)
        assert found["inner"][2] == dtype
        assert found["own"] == (True, here, half)


def test_the_program_of_the_policy(printed):
    saved, loaded, steps, with_policy = printed[-4:]
    assert (saved, loaded, steps) == ("saved: LossScaleOptimizer", "loaded: Adam", "steps: 0")
    assert with_policy == "LossScaleOptimizer"


# --- a model ----------------------------------------------------------------------------------------------------------

COMPILED = {
    "loss": {"p": "mse", "q": "mae"},
    "loss_weights": {"p": 2.0, "q": 0.5},
    "metrics": {"p": ["mae"], "q": []},
    "weighted_metrics": {"p": [], "q": ["mse"]},
    "run_eagerly": True,
    "steps_per_execution": 2,
    "jit_compile": False,
}
WORDS = np.array([["a"], ["b"], ["b"], ["z"]])


def whole() -> keras.Model:
    inputs = keras.Input((4,))
    normalization, twice = layers.Normalization(name="n"), layers.Dense(4, name="twice", dtype="bfloat16")
    normalization.adapt(X)
    hidden = twice(twice(normalization(inputs)))
    hidden = layers.BatchNormalization(name="b")(layers.Dense(3, name="frozen", trainable=False)(hidden))
    outputs = {
        "p": layers.Dense(1, name="p")(layers.Dropout(0.5, seed=3)(hidden)),
        "q": layers.Dense(1, name="q")(hidden),
    }
    model = keras.Model(inputs, outputs, name="whole")
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, gradient_accumulation_steps=2, clipnorm=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, **COMPILED)
    model.fit(X, {"p": Y, "q": Y}, batch_size=3, verbose=0)
    model.optimizer.learning_rate = 0.5
    model.note = model.layers[1].note = "set later"
    return model


def facts(model: keras.Model) -> dict[str, Any]:
    optimizer = model.optimizer
    kept = {
        "weights": [np.asarray(one, "float32") for one in model.weights],
        "predictions": model.predict(X, verbose=0),
        "optimizer": [np.asarray(one) for one in optimizer.variables],
        "of optimizer": {name: value for name, value in optimizer.get_config().items() if value is not None},
        "learning rate": float(optimizer.learning_rate),
        "names": [one.name for one in (model, *model.layers)],
        "trainable": [one.trainable for one in model.layers],
        "policies": [one.dtype_policy.name for one in model.layers],
        "reported": model.evaluate(X, {"p": Y, "q": Y}, sample_weight={"p": Y[:, 0], "q": Y[:, 0] + 1}, verbose=0),
        "compiled": [model.run_eagerly, model.steps_per_execution, model.jit_compile],
        "seed": [one.seed for one in model.layers if isinstance(one, layers.Dropout)],
    }
    lost = {
        "attributes": [hasattr(one, "note") for one in (model, model.layers[1])],
        "history": hasattr(model, "history"),
    }
    return {"kept": kept, "lost": lost}


def whole_written() -> tuple[bytes, dict[str, Any]]:
    model = whole()
    model.save("whole.keras")
    return Path("whole.keras").read_bytes(), facts(model)


def whole_loaded(file: bytes) -> dict[str, Any]:
    Path("whole.keras").write_bytes(file)
    return facts(keras.saving.load_model("whole.keras"))


@pytest.fixture(scope="module")
def before_and_after(readers):
    first, second = readers.page(), readers.page()
    file, before = first.call(whole_written)
    after = second.call(whole_loaded, file)
    first.end(), second.end()
    return before, after


@pytest.mark.proves(
    "weights, moving statistics, vocabularies, what `adapt` has found",
    "`trainable` and `name` of a layer, dtype policies, one layer used twice",
    "the optimizer: its arguments, steps, moments, averages of `use_ema`, gradients that were accumulated",
    "a learning rate that was set later",
    "of `compile`: losses, `loss_weights`, `metrics`, `weighted_metrics`, `run_eagerly`, `steps_per_execution`, "
    "`jit_compile`",
    "`seed` of a `Dropout`",
    "`history`; a distribution strategy",
)
def test_what_is_in_the_file(before_and_after):
    before, after = before_and_after
    for name, value in before["kept"].items():
        numeric = name in ("weights", "predictions", "optimizer", "learning rate", "reported")
        assert same(value, after["kept"][name]) if numeric else value == after["kept"][name], name
    assert after["kept"]["learning rate"] == pytest.approx(0.5)
    assert len(before["kept"]["weights"]) == len(whole().weights)
    assert before["lost"] == {"attributes": [True, True], "history": True}
    assert after["lost"] == {"attributes": [False, False], "history": False}


def words(file: bytes | None = None) -> tuple[bytes, list[list[int]]]:
    if file is None:
        lookup = layers.StringLookup()
        lookup.adapt(WORDS)
        model = keras.Sequential([keras.Input((1,), dtype="string"), lookup])
        model.save("words.keras")
    else:
        Path("words.keras").write_bytes(file)
        model = keras.saving.load_model("words.keras")
    return Path("words.keras").read_bytes(), model.predict(tf.constant(WORDS), verbose=0).tolist()


def test_a_vocabulary_comes_back(readers):
    first, second = readers.page(), readers.page()
    file, before = first.call(words)
    assert second.call(words, file)[1] == before
    assert len({row[0] for row in before}) == 3
    first.end(), second.end()


@pytest.mark.proves("edges of a `Discretization` that a constructor makes")
@pytest.mark.filterwarnings("ignore:(?s).*looks like it has unbuilt state")
def test_edges_that_are_left_out(tmp_path):
    class Edges(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Discretization(num_bins=3)

        def call(self, inputs):
            return ops.cast(self.inner(inputs), "float32")

        def compute_output_shape(self, input_shape):
            return input_shape

    layer = Edges()
    layer.inner.adapt(X)
    sequential(layer).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Edges": Edges})
    assert layer.inner.bin_boundaries is not None
    with pytest.raises(ValueError, match="You need to either pass the `bin_boundaries`"):
        loaded(X)


@pytest.mark.proves("`delta` of Keras's `Huber`, and what else Keras forgets;")
def test_arguments_that_keras_forgets(tmp_path):
    model = sequential(loss=keras.losses.Huber(delta=0.1), metrics=[keras.metrics.CosineSimilarity(axis=0)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before, after = (one.evaluate(X, Y, verbose=0) for one in (model, loaded))
    for delta, (error, _) in ((0.1, before), (1.0, after)):
        assert error == pytest.approx(float(np.mean(keras.losses.huber(Y, model(X), delta))), rel=1e-5)
    assert after[1] != pytest.approx(before[1], rel=1e-3)
    kept = sequential(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.2))
    kept.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").loss.label_smoothing == 0.2


@pytest.mark.proves("words of `exclude_from_weight_decay`", "whatever a callback knows: best value, patience")
def test_what_is_left_out_decays(tmp_path):
    model = sequential(optimizer=keras.optimizers.SGD(0.0001, weight_decay=1000.0))
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    stops = keras.callbacks.EarlyStopping("loss", patience=7)
    model.fit(X, Y, callbacks=[stops], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded, left = keras.saving.load_model(tmp_path / "model.keras"), []
    for one in (model, loaded):
        bias = one.layers[-1].bias
        bias.assign([1.0])
        one.optimizer.apply([keras.ops.zeros_like(weight) for weight in one.weights], one.trainable_variables)
        left.append(float(bias[0]))
    assert left == pytest.approx([1.0, 0.9])
    config = json.loads(zipfile.ZipFile(tmp_path / "model.keras").read("config.json"))
    assert "patience" not in str(config)
    assert "callback" not in str(config)


@pytest.mark.proves(
    "`trainable=False` of a layer that a constructor makes, as in `MultiHeadAttention`; attributes set later that no "
    "`get_config` returns"
)
def test_a_frozen_layer_with_layers_inside_comes_back_trainable(tmp_path):
    within = layers.MultiHeadAttention(1, 2)
    inputs = keras.Input((3, 1))
    model = keras.Model(inputs, within(inputs, inputs))
    within.trainable = False
    model.save(tmp_path / "model.keras")
    assert not model.trainable_weights
    assert len(keras.saving.load_model(tmp_path / "model.keras").trainable_weights) == 8
    inner = Inner()
    inner(X)
    inner.dense.trainable = False
    inner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Inner": Inner})
    assert (len(inner.trainable_weights), len(loaded.trainable_weights)) == (0, 2)


def test_what_a_config_has_comes_back_frozen_or_set_later(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.Sequential([layers.Dense(2), layers.Dropout(0.5)])])
    model.layers[0].trainable = False
    model.layers[0].layers[0].activation, model.layers[0].layers[1].rate = keras.activations.tanh, 0.25
    model.layers[0].note = "set later"
    model.save(tmp_path / "model.keras")
    within = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert not within.trainable_weights
    assert (within.layers[0].activation.__name__, within.layers[1].rate) == ("tanh", 0.25)
    assert not hasattr(within, "note")


@pytest.mark.proves("weights that Keras doesn't see: of a layer in a `deque`")
def test_a_layer_in_a_deque_comes_back_untrained(readers):
    first, second = readers.page(), readers.page()
    file, before = first.call(of_a_deque)
    _, after = second.call(of_a_deque, file)
    first.end(), second.end()
    assert not same(before, after)


class Queue(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.queue = deque([layers.Dense(3)])

    def call(self, inputs):
        return self.queue[0](inputs)


def of_a_deque(file: bytes | None = None) -> tuple[bytes, list]:
    if file is None:
        model = Queue()
        model(X)
        model.save("queue.keras")
    else:
        Path("queue.keras").write_bytes(file)
        model = keras.saving.load_model("queue.keras", custom_objects={"Queue": Queue})
    return Path("queue.keras").read_bytes(), np.asarray(model(X)).tolist()


class OwnCompile(keras.Model):
    def compile(self, factor=1.0, **kwargs):
        super().compile(**kwargs)
        self.factor = factor


@pytest.mark.proves("values of the metrics; what a `compile` of your own takes (`load_model` warns)")
def test_metrics_begin_anew(tmp_path):
    inputs = keras.Input((4,))
    own = compiled(OwnCompile(inputs, layers.Dense(1)(inputs)), factor=3.0)
    own.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="`compile\\(\\)` was not called as part of model loading"):
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"OwnCompile": OwnCompile})
    assert not hasattr(loaded, "factor")
    model = sequential(metrics=["mae"])
    model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(model.metrics[0].result()) > 0
    assert float(loaded.metrics[0].result()) == 0


@pytest.mark.proves(
    "how far its random numbers have come; the order of the rows; the state of an RNN with `stateful=True`"
)
def test_random_numbers_begin_anew(tmp_path):
    def masks(model: keras.Model) -> list[list[float]]:
        return [model(np.ones((1, 20), "float32"), training=True).numpy().tolist() for _ in range(2)]

    model = keras.Sequential([keras.Input((20,)), layers.Dropout(0.5, seed=3)])
    first = masks(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert masks(loaded) == first != masks(model)

    model = keras.Sequential([keras.Input(batch_shape=(8, 2, 2)), layers.SimpleRNN(3, stateful=True)])
    ones = np.ones((8, 2, 2), "float32")
    first = model(ones).numpy()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert same(loaded(ones).numpy(), first)
    assert not same(model(ones).numpy(), first)


@pytest.mark.proves(
    "`include_optimizer=False` leaves nothing out of a `.keras` file. With `load_model(…, compile=False)`, the model "
    "isn't compiled, and its weights are those of the file."
)
def test_without_the_optimizer(tmp_path):
    model = sequential(optimizer=keras.optimizers.Adam(0.5))
    model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras", include_optimizer=False)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.compiled
    assert same([one.numpy() for one in model.optimizer.variables], [one.numpy() for one in loaded.optimizer.variables])
    assert int(loaded.optimizer.iterations) == 1
    bare = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert not bare.compiled
    contract.assert_same(bare.get_weights(), model.get_weights())
