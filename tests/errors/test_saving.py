"""`docs/errors/saving.md`: every claim that the page makes, proved on the code that it shows."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import enum
import re
import types
import warnings
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests import contract
from tests.shown import Shown, maker, shown

MODULE = "snippets.errors.saving"
X = np.random.default_rng(3).normal(size=(6, 3)).astype("float32")
RNG = np.random.default_rng(4)
registered = keras.saving.register_keras_serializable(package="tests_errors_saving")


@cache
def section(*names: str) -> Shown:
    return shown(MODULE, *names)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.keras"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "model.weights.h5"


def saved(model: keras.Model, path: Path, *x) -> tf.Tensor:
    outputs = model(*(x or [X]))
    model.save(path)
    return outputs


def loaded(path: Path, **options) -> keras.Model:
    return keras.saving.load_model(path, **options)


def called(model: keras.Model, x=X) -> keras.Model:
    model(x)
    return model


def sequential(layer: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layer])


def differs(one, other) -> bool:
    return not np.allclose(one, other, atol=1e-3)


def load_and_call(path: Path, sections: tuple[str, ...], name: str, x) -> np.ndarray:
    """Runs in a new process: the page's sections define the classes, and register those that are registered."""
    cls = shown(MODULE, *sections)[name]
    known = keras.saving.get_registered_name(cls) != name
    return np.asarray(keras.saving.load_model(path, custom_objects=None if known else {name: cls})(x))


# --- the classes that are shown, under the contract -------------------------------------------------------------------


def data():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    return x, x[:, :1] * np.ones((1, 5), "float32")


def one_column():
    x, y = data()
    return x, y[:, :1]


def two_columns():
    x, y = data()
    return x, y[:, :2]


MSE = {"optimizer": "adam", "loss": "mse"}
SECTIONS = {
    "Doubled": ("locate_fails", "locate_works"),
    "Forecaster": ("deserialize_fails", "deserialize_works"),
    "Projector": ("required_works",),
    "Tagger": ("default_works",),
    "Encoder": ("build_fails",),
}


def cls_of(name: str, /, *sections: str) -> type:
    """A class that is shown, by default the form that works; it is the one that is registered from now on."""
    cls = section(*(sections or SECTIONS[name]))[name]
    if (full_name := keras.saving.get_registered_name(cls)) != name:
        keras.saving.get_custom_objects()[full_name] = cls
    return cls


def made(name: str, /, *sections: str, **options) -> keras.layers.Layer:
    return cls_of(name, *sections)(**options)


# What an entry shows is one mistake and its fix. So its classes have no docstring, its layer no `compute_output_shape`
# for a wrapper to ask, and its models take no `dtype` on to their layers: the chapters on layers and models show that.
# Its classes aren't the module's, so they are loaded in a new process by a test of our own.
CAUGHT = {
    "Forecaster of deserialize_fails": contract.Wrong(
        maker("Forecaster", MODULE, "deserialize_fails"), (3,), "config_round_trip"
    ),
    "Projector of required_fails": contract.Wrong(
        maker("Projector", MODULE, "required_fails", arguments=(5,)), (3,), "file_round_trip"
    ),
    "Tagger of default_fails": contract.Wrong(
        maker("Tagger", MODULE, "default_fails"), (4,), "config_is_complete", "rate"
    ),
    "WithBuild of build_fails": contract.Wrong(maker("WithBuild", MODULE, "build_fails"), (3,), "file_round_trip"),
}
NOT_IN_CONTRACT = {
    "Doubled of locate_fails": "it isn't registered; who can import its module loads it",
    "Encoder of build_fails": "it is right: its weights are asked for too early",
}
MODELS = {
    "Forecaster": contract.Model(lambda: made("Forecaster"), one_column, MSE),
    "Projector": contract.Model(lambda: made("Projector", units=5), data, MSE),
    "Tagger": contract.Model(lambda: made("Tagger", units=5, rate=0.2), data, MSE),
    "Encoder": contract.Model(lambda: made("Encoder"), two_columns, MSE),
}
LAYERS = {
    "Doubled": contract.Layer(
        lambda **options: made("Doubled", **options),
        inputs=[(4,), (7, 4)],
        leave_out={"inside_time_distributed": "an entry shows no compute_output_shape"},
    )
}


@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer(case):
    contract.passes_the_checkup(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.parametrize("name", [*MODELS, *LAYERS])
def test_it_reloads_in_a_new_process_as_it_was_trained(name, path, fresh_process):
    if name in LAYERS:
        x, model = X, sequential(made(name))
    else:
        (x, y), model = MODELS[name].data(), MODELS[name].make()
        model.compile(**MSE)
        model.fit(x, y, verbose=0)
    expected = saved(model, path, x)
    found = fresh_process.submit(load_and_call, path, SECTIONS[name], name, x).result()
    contract.assert_same(found, np.asarray(expected))


# --- could-not-locate-class -------------------------------------------------------------------------------------------

NAMED_LAST = r"(?s)^<class '[\w.]+\.Sequential'> could not be deserialized properly\..*Could not locate class '{}'\."


def unregistered() -> type[keras.layers.Layer]:
    return section("locate_fails")["Doubled"]


@pytest.mark.parametrize("sections", [("locate_fails",), ("locate_fails", "locate_works")], ids=["fails", "works"])
def test_both_forms_double(sections):
    for x in X, 10 * X[:, None]:
        np.testing.assert_allclose(section(*sections)["Doubled"]()(x), 2 * x, rtol=1e-6)


AROUND = (
    "If the class is inside another object, such as a layer in a model or a learning-rate schedule in an optimizer, "
    "the message begins with that object and names the class at its end."
)
OTHERWISE = (
    "Otherwise, as for a model by itself, a loss, a metric or an optimizer, it begins with `Could not locate class`."
)


@pytest.mark.proves(AROUND)
def test_an_unregistered_layer_is_named_at_the_end(path):
    saved(sequential(unregistered()()), path)
    with pytest.raises(TypeError, match=NAMED_LAST.format("Doubled")):
        loaded(path)


class OwnLSTM(keras.layers.LSTM):
    pass


@pytest.mark.proves(
    "`from_config` of the model around it, `copy.deepcopy` and the constructor of `Bidirectional` raise it without a "
    "file."
)
@pytest.mark.parametrize(
    "attempt",
    [
        lambda model: keras.Sequential.from_config(model.get_config()),
        copy.deepcopy,
        lambda model: copy.deepcopy(model.layers[0]),
        lambda model: keras.layers.Bidirectional(OwnLSTM(2)),
    ],
    ids=["from_config", "deepcopy", "deepcopy of the layer", "Bidirectional"],
)
def test_other_copies_look_the_class_up_too(attempt):
    model = sequential(unregistered()())
    with pytest.raises(TypeError, match=r"Could not locate class '(Doubled|OwnLSTM)'\."):
        attempt(model)
    with keras.saving.custom_object_scope({"Doubled": unregistered(), "OwnLSTM": OwnLSTM}):
        attempt(model)
    layer = unregistered()()
    assert isinstance(type(layer).from_config(layer.get_config()), type(layer))


class Unregistered(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class OwnMetric(keras.metrics.Mean):
    pass


class OwnOptimizer(keras.optimizers.SGD):
    pass


def own_function(values):
    return 2 * values


@pytest.mark.proves(AROUND)
def test_so_is_an_unregistered_model_inside_another(path):
    inputs = keras.Input((3,))
    for model in sequential(Unregistered()), keras.Model(inputs, Unregistered()(inputs)):
        saved(model, path)
        words = NAMED_LAST.format("Unregistered").replace("Sequential", type(model).__name__)
        with pytest.raises(TypeError, match=words):
            loaded(path)


@pytest.mark.proves(
    OTHERWISE,
    "For a function, it contains `Could not locate function`.",
    "`compile=False` loads a model without its custom loss, metrics and optimizer.",
)
def test_other_classes_are_named_at_once_and_functions_as_functions(path):
    saved(Unregistered(), path)
    with pytest.raises(TypeError, match=r"^Could not locate class 'Unregistered'\."):
        loaded(path)
    for options, name in [
        ({"loss": OwnLoss()}, "class 'OwnLoss'"),
        ({"loss": "mse", "metrics": [OwnMetric()]}, "class 'OwnMetric'"),
        ({"loss": "mse", "optimizer": OwnOptimizer()}, "class 'OwnOptimizer'"),
        ({"loss": own_function}, "function 'own_function'"),
    ]:
        model = sequential(keras.layers.Dense(2))
        model.compile(**options)
        expected = saved(model, path)
        with pytest.raises(TypeError, match=rf"^Could not locate {re.escape(name)}\."):
            loaded(path)
        contract.assert_same(loaded(path, compile=False)(X), expected)
    saved(sequential(keras.layers.Dense(2, activation=own_function)), path)
    with pytest.raises(TypeError, match=r"Could not locate function 'own_function'\."):
        loaded(path)


H5 = (
    "Unless it extends `Sequential` or is made from `inputs` and `outputs`, only `load_weights` reads its `.h5` file, "
    "after a call."
)


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1

    def get_config(self):
        return {}


@pytest.mark.proves(AROUND, OTHERWISE)
@pytest.mark.parametrize(
    ("optimizer", "begins", "name"),
    [
        (lambda: keras.optimizers.SGD(OwnSchedule()), r"<class '[\w.]+\.SGD'>", "OwnSchedule"),
        (
            lambda: keras.optimizers.LossScaleOptimizer(OwnOptimizer()),
            r"<class '[\w.]+\.LossScaleOptimizer'>",
            "OwnOptimizer",
        ),
    ],
    ids=["schedule", "LossScaleOptimizer"],
)
def test_so_is_what_an_optimizer_holds(optimizer, begins, name, path):
    model = sequential(keras.layers.Dense(2))
    model.compile(optimizer=optimizer(), loss="mse")
    saved(model, path)
    with pytest.raises(TypeError, match=rf"(?s)^{begins} could not be deserialized.*Could not locate class '{name}'\."):
        loaded(path)


@pytest.mark.proves(OTHERWISE)
def test_in_mixed_precision_an_optimizer_begins_so_too(path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = sequential(keras.layers.Dense(1))
        model.compile(optimizer=OwnOptimizer(), loss="mse")
        model.fit(X, X[:, :1], verbose=0)
        model.save(path)
        with pytest.raises(TypeError, match=r"^Could not locate class 'OwnOptimizer'\."):
            loaded(path)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.proves(
    "For a layer in an `.h5` file it is `Unknown layer`, which is also said of a registered subclassed model by "
    "itself.",
    "Save a subclassed model as `.keras`.",
    H5,
)
def test_an_h5_file_has_an_unknown_layer(path):
    path = path.with_suffix(".h5")
    cls = unregistered()
    expected = saved(sequential(cls()), path)
    with pytest.raises(ValueError, match=r"^Unknown layer: 'Doubled'\."):
        loaded(path)
    contract.assert_same(loaded(path, custom_objects={"Doubled": cls})(X), expected)

    model = made("Encoder")
    expected = saved(model, path)
    with pytest.raises(ValueError, match=r"^Unknown layer: 'Encoder'\."):
        loaded(path)
    with pytest.raises(ValueError, match=r"^Layer count mismatch"):
        loaded(path, custom_objects={"Encoder": type(model)})
    other = called(made("Encoder"))
    other.load_weights(path)
    contract.assert_same(other(X), expected)


@pytest.mark.proves(
    "which is also said of a registered subclassed model by itself.",
    H5,
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_registered_model_inside_another_comes_back_from_an_h5_file(path):
    path = path.with_suffix(".h5")
    inputs = keras.Input((3,))
    for model in sequential(made("Encoder")), keras.Model(inputs, made("Encoder")(inputs)):
        expected = saved(model, path)
        contract.assert_same(loaded(path)(X), expected)


@pytest.mark.proves("which is also said of a registered subclassed model by itself.", H5)
@pytest.mark.parametrize("base", [keras.Model, keras.Sequential])
@pytest.mark.parametrize("own_call", [False, True])
def test_a_subclass_made_from_layers_comes_back_with_custom_objects(base, own_call, path):
    path = path.with_suffix(".h5")

    @registered
    class FromLayers(base):
        if own_call:

            def call(self, inputs, training=None, mask=None):
                return 2 * super().call(inputs, training=training, mask=mask)

    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2)(inputs)
    model = FromLayers(inputs, outputs) if base is keras.Model else FromLayers([inputs, keras.layers.Dense(2)])
    expected = saved(model, path)
    with pytest.raises(ValueError, match=r"^Unknown layer: 'FromLayers'\."):
        loaded(path)
    contract.assert_same(loaded(path, custom_objects={"FromLayers": FromLayers})(X), expected)


class OwnCell(keras.layers.SimpleRNNCell):
    pass


@registered
class OwnWrapper(keras.layers.Wrapper):
    def call(self, inputs):
        return self.layer(inputs)


@pytest.mark.proves(
    "For a layer inside another, such as `TimeDistributed` or `RNN`, it is `Could not locate class`.",
)
@pytest.mark.parametrize(
    ("wrapped", "cls"),
    [
        (lambda: keras.layers.TimeDistributed(unregistered()()), "Doubled"),
        (lambda: keras.layers.RNN(OwnCell(2)), "OwnCell"),
        (lambda: OwnWrapper(unregistered()()), "Doubled"),
    ],
    ids=["TimeDistributed", "RNN", "one of your own"],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_wrapped_layer_of_an_h5_file_has_the_other_words(wrapped, cls, path):
    path = path.with_suffix(".h5")
    saved(keras.Sequential([keras.Input((4, 3)), wrapped()]), path, X[None, :4])
    with pytest.raises(TypeError, match=rf"^Could not locate class '{cls}'\."):
        loaded(path)


class OwnInitializer(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.ones(shape, dtype)


class OwnRegularizer(keras.regularizers.Regularizer):
    def __call__(self, x):
        return 0.0 * ops.sum(x)

    def get_config(self):
        return {}


class OwnConstraint(keras.constraints.Constraint):
    def __call__(self, w):
        return w


@pytest.mark.proves(
    "`Cannot deserialize object of type`, `Could not interpret initializer identifier` | A custom initializer of a "
    "script or notebook, or one of a module, isn't found. So it is with a regularizer or a constraint | "
    "`custom_objects`"
)
@pytest.mark.parametrize(
    ("cls", "kind"), [(OwnInitializer, "initializer"), (OwnRegularizer, "regularizer"), (OwnConstraint, "constraint")]
)
@pytest.mark.parametrize("module", ["__main__", __name__])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_initializer_is_not_interpreted(suffix, module, cls, kind, path, monkeypatch):
    monkeypatch.setattr(cls, "__module__", module)
    path = path.with_suffix(suffix)
    expected = saved(sequential(keras.layers.Dense(2, **{f"kernel_{kind}": cls()})), path)
    told = "Cannot deserialize object of type" if module == "__main__" else f"Could not interpret {kind} identifier"
    with pytest.raises(TypeError, match=told):
        loaded(path)
    contract.assert_same(loaded(path, custom_objects={cls.__name__: cls})(X), expected)


@pytest.mark.proves(
    "`Could not interpret loss identifier`, `Could not interpret optimizer identifier` | A custom loss or optimizer of "
    "an `.h5` file isn't found | `custom_objects`, or `compile=False`",
    "`string indices must be integers` | A custom loss function of an `.h5` file isn't found | `custom_objects`, or "
    "`compile=False`",
    "`Could not deserialize 'keras.metrics.mse'` | An `.h5` file of a model compiled with `loss=\"mse\"` | "
    "`compile=False`",
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": OwnLoss()}, r"^Could not interpret loss identifier: "),
        ({"optimizer": OwnOptimizer(), "loss": keras.losses.MeanAbsoluteError()}, r"^Could not interpret optimizer id"),
        ({"loss": own_function}, r"^string indices must be integers"),
        ({"loss": "mse"}, r"^Could not deserialize 'keras\.metrics\.mse'"),
    ],
    ids=["loss", "optimizer", "function", "mse"],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_what_is_compiled_has_other_words_in_an_h5_file(options, message, path):
    path = path.with_suffix(".h5")
    model = sequential(keras.layers.Dense(1))
    model.compile(**options)
    if options.get("loss") is not own_function:
        model.fit(X, X[:, :1], verbose=0)
    expected = saved(model, path)
    with pytest.raises((TypeError, ValueError), match=message):
        loaded(path)
    contract.assert_same(loaded(path, compile=False)(X), expected)
    if options["loss"] != "mse":
        known = {one.__name__: one for one in (OwnLoss, OwnOptimizer, own_function)}
        assert loaded(path, custom_objects=known).compiled


class AsGiven(keras.layers.Layer):
    """Returns what it was given, as it is."""

    def __init__(self, value=None, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {**super().get_config(), "value": self.value}


class Sizes(keras.layers.Layer):
    def __init__(self, *sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = sizes

    def call(self, inputs):
        return inputs


class Size(Sizes):
    def __init__(self, size=1, /, **kwargs):
        super().__init__(**kwargs)
        self.size = size


class Penalty(keras.regularizers.Regularizer):
    def __call__(self, w):
        return ops.sum(ops.abs(w))


class Constant(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


class OfNothing:
    pass


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    units: int = 3


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    SUM = "sum"


Identity = keras.layers.Identity


def with_penalty(penalty) -> keras.Model:
    return sequential(keras.layers.Dense(1, kernel_regularizer=penalty))


def with_schedule(schedule) -> keras.Model:
    model = sequential(keras.layers.Dense(1))
    model.compile(keras.optimizers.SGD(schedule), "mse")
    return model


@pytest.mark.proves(
    "`does not implement get_config()`, `in order to be serializable` | A regularizer or a learning rate schedule "
    "without one | Return its arguments in `get_config`",
    "`positional only or variadic positional arguments` | A layer takes one before a `/`, or was given one by "
    "`*sizes` | Remove the `/`; take a list instead",
    "`Cannot serialize object` | `get_config` returns an `Enum`, a set, a `Path`, a date or a dataclass. An `IntEnum` "
    "or `StrEnum` silently comes back as a number or string | Return its name, a list, a string or a dict, and convert "
    "that in the constructor",
    "`get_config() missing 1 required positional argument: 'self'` | `get_config` returns a class | Return an instance",
    "`'numpy.ufunc' object has no attribute 'item'`, or `'numpy._ArrayFunctionDispatcher'` | `get_config` returns a "
    "function of NumPy, such as `np.sin` or `np.mean` | Return that of Keras, `ops.sin`",
)
@pytest.mark.parametrize(
    ("wrong", "message", "right"),
    [
        (
            lambda: sequential(keras.layers.Dense(1, kernel_regularizer=Penalty())),
            "does not implement get_config()",
            None,
        ),
        (lambda: with_schedule(Constant()), "in order to be serializable", None),
        (lambda: sequential(Sizes(1, 2)), "positional only or variadic positional arguments", AsGiven([1, 2])),
        (lambda: sequential(Size()), "positional only or variadic positional arguments", AsGiven(1)),
        (lambda: sequential(Size(1)), "positional only or variadic positional arguments", AsGiven([1])),
        (lambda: sequential(AsGiven(Color.RED)), "Cannot serialize object", AsGiven(Color.RED.name)),
        (lambda: sequential(AsGiven({1, 2})), "Cannot serialize object", AsGiven([1, 2])),
        (lambda: sequential(AsGiven(Path("a"))), "Cannot serialize object", AsGiven("a")),
        (lambda: sequential(AsGiven(datetime.date(2026, 1, 1))), "Cannot serialize object", AsGiven("2026-01-01")),
        (
            lambda: sequential(AsGiven(keras.layers.ReLU)),
            "get_config() missing 1 required",
            AsGiven(keras.layers.ReLU()),
        ),
        (
            lambda: sequential(AsGiven(np.mean)),
            "'numpy._ArrayFunctionDispatcher' object has no attribute 'item'",
            AsGiven(ops.mean),
        ),
        (lambda: sequential(AsGiven(Options())), "Cannot serialize object", AsGiven(dataclasses.asdict(Options()))),
        (lambda: sequential(AsGiven(np.sin)), "'numpy.ufunc' object has no attribute 'item'", AsGiven(ops.sin)),
    ],
)
def test_other_messages_of_a_config(wrong, message, right, path):
    with pytest.raises((NotImplementedError, TypeError, AttributeError), match=re.escape(message)):
        saved(wrong(), path)
    if right:
        expected = saved(sequential(right), path)
        contract.assert_same(loaded(path, custom_objects={"AsGiven": AsGiven})(X), expected)


@pytest.mark.parametrize(
    ("cls", "give"),
    [
        (Penalty, with_penalty),
        (Constant, with_schedule),
    ],
)
def test_a_get_config_is_all_that_it_lacks(cls, give, path):
    told = type(cls.__name__, (cls,), {"get_config": lambda self: {}})
    expected = saved(give(told()), path)
    contract.assert_same(loaded(path, custom_objects={cls.__name__: told})(X), expected)


@pytest.mark.proves(
    "`Cannot register a class that does not have a get_config() method` | The class extends none of Keras's that have "
    "one | Write `get_config` and `from_config`",
    "`decorator() missing 1 required positional argument`, `got an unexpected keyword argument` or `takes 1 "
    "positional argument`; `'int' object has no attribute '__name__'` | `@register_keras_serializable` without "
    "parentheses | Write `@register_keras_serializable()`",
)
def test_registering_in_the_wrong_way():
    with pytest.raises(ValueError, match=re.escape("that does not have a get_config() method")):
        registered(OfNothing)
    methods = {"get_config": lambda self: {}, "from_config": classmethod(lambda cls, config: cls())}
    told = registered(type("OfNothing", (), methods))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(told()))
    assert isinstance(again, told)
    bare = keras.saving.register_keras_serializable(AsGiven)
    for arguments, options, message in (
        ((), {}, "decorator() missing 1 required positional argument"),
        ((), {"units": 3}, "decorator() got an unexpected keyword argument"),
        ((3, 4), {}, "decorator() takes 1 positional argument"),
        ((3,), {}, "'int' object has no attribute '__name__'"),
    ):
        with pytest.raises((TypeError, AttributeError), match=re.escape(message)):
            bare(*arguments, **options)


@pytest.mark.proves("An `IntEnum` or `StrEnum` silently comes back as a number or string")
@pytest.mark.parametrize("member", [Level.LOW, Mode.SUM])
def test_members_that_are_numbers_or_strings(member, path):
    saved(sequential(AsGiven(member)), path)
    came = loaded(path, custom_objects={"AsGiven": AsGiven}).layers[0].value
    assert came == member
    assert type(came) in (int, str)


class Around(keras.layers.Layer):
    """AsGiven a layer, and returns it as it is."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, input_shape):
        if not self.inner.built:
            self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        return {**super().get_config(), "inner": self.inner}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


class Serialized(Around):
    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


@pytest.mark.proves("One layer was passed to two layers of the model | Return it as it is in both configs")
def test_one_layer_in_two_others(path):
    dense = keras.layers.Dense(3)
    saved(keras.Sequential([Serialized(dense), Serialized(dense)]), path)
    with pytest.raises(ValueError, match="expected 2 variables, but received 0"):
        loaded(path, custom_objects={"Serialized": Serialized})
    model = keras.Sequential([Around(dense), Around(dense)])
    expected = saved(model, path)
    again = loaded(path, custom_objects={"Around": Around})
    contract.assert_same(again(X), expected)
    assert len(again.weights) == len(model.weights) == 2


def tripled(package: str | None) -> type[keras.layers.Layer]:
    class Tripled(keras.layers.Layer):
        def call(self, inputs):
            return 3 * inputs

    return keras.saving.register_keras_serializable(package=package)(Tripled) if package else Tripled


@pytest.mark.proves(
    "Load a file that exists with `custom_objects`.",
    "Its keys are the names in the file: `Doubled` for a class that wasn't registered, `guide>Doubled` for one that "
    "was, under the package `guide`.",
    "The file holds the name under which the class was registered, and no class goes by it: the class isn't "
    "registered, its module isn't imported, or its package has another name now.",
)
@pytest.mark.parametrize(("package", "later", "key"), [
    (None, "tests_later", "Tripled"),
    (None, "Custom", "Tripled"),
    ("tests_before", "tests_later", "tests_before>Tripled"),
])  # fmt: skip
def test_the_file_is_loaded_under_the_name_that_it_holds_and_not_by_another_registration(path, package, later, key):
    expected = saved(sequential(tripled(package)()), path)
    if package:
        keras.saving.get_custom_objects().pop(key)
    cls = tripled(later)
    with pytest.raises(TypeError, match=NAMED_LAST.format("Tripled")):
        loaded(path)
    if package:
        with pytest.raises(TypeError, match=NAMED_LAST.format("Tripled")):
            loaded(path, custom_objects={"Tripled": cls})
    contract.assert_same(loaded(path, custom_objects={key: cls})(X), expected)


@pytest.mark.proves("For the next file register the class, and import its module before you load.")
def test_a_registered_class_is_found_once_it_is_defined(path, fresh_process):
    expected = saved(sequential(made("Doubled")), path)
    contract.assert_same(loaded(path)(X), expected)
    (name,) = [name for name in keras.saving.get_custom_objects() if name.endswith(">Doubled")]
    assert name == "guide>Doubled"
    cls = keras.saving.get_custom_objects().pop(name)
    with pytest.raises(TypeError, match="Could not locate class 'Doubled'"):
        loaded(path)
    keras.saving.get_custom_objects()[name] = cls


# --- could-not-be-deserialized ----------------------------------------------------------------------------------------


def named(name: str, cls: type) -> type:
    """One class before and after it is corrected: the name is the same in the file."""
    cls.__name__ = name
    return registered(cls)


def paragraphs(path: Path, error: type[Exception] = TypeError) -> list[str]:
    with pytest.raises(error) as caught:
        loaded(path)
    return str(caught.value).split("\n\n")


@pytest.mark.proves("Take `**kwargs` and pass it to `super().__init__`.")
def test_the_form_that_works_keeps_name_dtype_and_trainable(path):
    model = made("Forecaster", name="tomorrow", dtype="mixed_bfloat16", trainable=False)
    saved(model, path)
    again = loaded(path)
    assert (again.dtype_policy.name, again.trainable) == ("mixed_bfloat16", False)
    copy = type(model).from_config(model.get_config())
    assert (copy.dtype_policy.name, copy.trainable) == ("mixed_bfloat16", False)
    assert model.name == "tomorrow"


def test_both_forms_are_one_dense_layer():
    for sections in ("deserialize_fails",), SECTIONS["Forecaster"]:
        model = called(made("Forecaster", *sections))
        kernel, bias = np.array([[1.0], [-2.0], [0.5]]), np.array([0.25])
        model.set_weights([kernel, bias])
        np.testing.assert_allclose(model(X), X @ kernel + bias, rtol=1e-5)


@pytest.mark.proves(
    "The class was found, and its constructor refuses what Keras passes to it.",
    "The last line names the class and the argument.",
    "The file isn't lost: the corrected class loads it.",
)
def test_a_model_without_kwargs_is_refused_and_its_file_is_not_lost(path):
    model = made("Forecaster", "deserialize_fails")
    model = called(model)
    model.set_weights([np.array([[1.0], [-2.0], [0.5]]), np.array([0.25])])
    expected = saved(model, path)
    first, *middle, last = paragraphs(path)
    assert " could not be deserialized properly. " in first
    assert any(words.startswith("Exception encountered: Unable to revive model from config. ") for words in middle)
    assert last.endswith("Forecaster.__init__() got an unexpected keyword argument 'trainable'")

    cls_of("Forecaster")
    contract.assert_same(loaded(path)(X), expected)


def test_of_the_message_the_paragraphs_that_quote_no_config_are_shown(path):
    saved(made("Forecaster", "deserialize_fails"), path)
    told = [words.partition(". ")[0] for words in paragraphs(path)]
    configs = [words for words in told if words.startswith(("config={", "Received config={"))]
    _, *lines = section("deserialize_fails").printed.splitlines()
    assert len(configs) == 2
    assert [line.rpartition(".")[2] for line in lines] == [
        words.rpartition(".")[2] for words in told if words not in configs
    ]


@pytest.mark.proves(
    "Without a `get_config` of its own, a layer or a model is passed `trainable` and `dtype`.",
    "`name` comes before them if `get_config` starts from `super().get_config()`, if the class extends one such as "
    "`Dense` or `Sequential`, or if it calls `super().__init__(inputs, outputs)`.",
)
@pytest.mark.parametrize("base", [keras.Model, keras.layers.Layer])
def test_what_keras_passes_depends_on_get_config(base, path):
    class Plain(base):
        def __init__(self):
            super().__init__()

        def call(self, inputs):
            return inputs

    class WithConfig(Plain):
        def get_config(self):
            return {**super().get_config()}

    class TakesTrainable(Plain):
        def __init__(self, trainable=True):
            super().__init__()

    cases = [(Plain, ["trainable", "dtype"]), (TakesTrainable, ["dtype"]), (WithConfig, ["name", "trainable", "dtype"])]
    for cls, refused in cases:
        one = registered(cls)()
        assert [key for key in one.get_config() if key in refused] == refused
        saved(one if base is keras.Model else sequential(one), path)
        assert paragraphs(path)[-1].endswith(f"__init__() got an unexpected keyword argument '{refused[0]}'")


@pytest.mark.proves("if the class extends one such as `Dense` or `Sequential`")
@pytest.mark.parametrize("base", [keras.layers.Dense, keras.layers.LSTM, keras.Sequential])
def test_a_subclass_of_a_built_in_one_is_passed_its_name(base, path):
    class Extends(base):
        def __init__(self):
            super().__init__([keras.layers.Dense(2)] if base is keras.Sequential else 2)

    one = registered(Extends)()
    if base is keras.Sequential:
        saved(one, path)
    else:
        saved(keras.Sequential([keras.Input((4, 3)), one]), path, X[None, :4])
    assert paragraphs(path)[-1].endswith("__init__() got an unexpected keyword argument 'name'")


MAKES = (
    "A subclass of `keras.Sequential` that makes its layers needs a `from_config` too, which returns "
    '`cls(name=config["name"])`.'
)


@pytest.mark.proves(MAKES)
def test_a_subclass_of_sequential_that_is_given_its_layers_needs_none(path):
    class Given(keras.Sequential):
        def __init__(self, layers=None):
            super().__init__(layers)

    class Corrected(keras.Sequential):
        def __init__(self, layers=None, **kwargs):
            super().__init__(layers, **kwargs)

    expected = saved(named("GivenOne", Given)([keras.layers.Dense(2), keras.layers.ReLU()]), path)
    assert paragraphs(path)[-1].endswith("__init__() got an unexpected keyword argument 'name'")
    named("GivenOne", Corrected)
    contract.assert_same(loaded(path)(X), expected)


@pytest.mark.proves(MAKES)
@pytest.mark.parametrize("first", [[], [keras.Input((3,))]], ids=["layers", "Input"])
def test_a_subclass_of_sequential_needs_a_from_config(first, path):
    class Stack(keras.Sequential):
        def __init__(self, **kwargs):
            super().__init__([*first, keras.layers.Dense(2), keras.layers.ReLU()], **kwargs)

    class StackAgain(Stack):
        @classmethod
        def from_config(cls, config):
            return cls(name=config["name"])

    model = named("StackOne", Stack)()
    expected = saved(model, path)
    with pytest.raises(ValueError, match=r"ayers added to a Sequential model|already been configured"):
        loaded(path)
    named("StackOne", StackAgain)
    again = loaded(path)
    contract.assert_same(again(X), expected)
    assert (again.name, len(again.layers)) == (model.name, 2)


@pytest.mark.proves("or if it calls `super().__init__(inputs, outputs)`.")
def test_a_functional_subclass_is_passed_its_name(path):
    @registered
    class FunctionalBare(keras.Model):
        def __init__(self):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(2)(inputs))

    saved(FunctionalBare(), path)
    assert paragraphs(path)[-1].endswith("__init__() got an unexpected keyword argument 'name'")


DTYPE = "A `dtype` in `**kwargs` doesn't reach the layers of a model unless you pass it to each of them, as here."


class Keeps(keras.Model):
    """Takes a `dtype`, and doesn't pass it on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.proves(DTYPE)
def test_a_dtype_reaches_the_layers_that_it_is_passed_to():
    for model, expected in (Keeps(dtype="float16"), "float32"), (made("Forecaster", dtype="float16"), "float16"):
        assert model.dtype_policy.name == "float16"
        assert keras.backend.standardize_dtype(model(X).dtype) == expected


@pytest.mark.proves(
    DTYPE,
    "Otherwise a model saved in mixed precision computes in `float32` after `load_model`, unless the global "
    "policy is set again.",
)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_a_model_saved_in_mixed_precision_comes_back_in_it(policy, path):
    shown_ones = ("Forecaster", {}), ("Projector", {"units": 5}), ("Tagger", {"units": 5, "rate": 0.5}), ("Encoder", {})
    makes = {name: lambda name=name, options=options: made(name, **options) for name, options in shown_ones}
    for name, make in {**makes, "Keeps": registered(Keeps)}.items():
        keras.config.set_dtype_policy(policy)
        try:
            model = make()
            before = keras.backend.standardize_dtype(saved(model, path).dtype)
        finally:
            keras.config.set_dtype_policy("float32")
        again = loaded(path)
        after = keras.backend.standardize_dtype(again(X).dtype)
        assert before == keras.DTypePolicy(policy).compute_dtype
        assert again.dtype_policy.name == policy
        assert after == ("float32" if name == "Keeps" else before)
        if name != "Keeps":
            np.testing.assert_array_equal(again(X), model(X))
        keras.config.set_dtype_policy(policy)
        try:
            np.testing.assert_array_equal(loaded(path)(X), model(X))
        finally:
            keras.config.set_dtype_policy("float32")


class Holds(keras.layers.Layer):
    """A layer with one argument, and without a `get_config`."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, inputs):
        return inputs


registered(Holds)


@pytest.mark.proves("`Could not locate class` | The class isn't registered | The entry above")
def test_an_unregistered_class_is_the_end_of_the_same_words(path):
    saved(sequential(unregistered()()), path)
    first, *_, last = paragraphs(path)
    assert " could not be deserialized properly. " in first
    assert last.startswith("Exception encountered: Could not locate class 'Doubled'")


@pytest.mark.proves(
    "`missing 1 required positional argument: 'units'` | `get_config` leaves the argument out, or calls it by another "
    "name | Return it under the name that the constructor gives it. A subclass of `keras.Sequential` needs a "
    "`from_config` too"
)
def test_a_sequential_subclass_needs_from_config(path):
    class Mlp(keras.Sequential):
        def __init__(self, units, **kwargs):
            super().__init__([keras.layers.Dense(units)], **kwargs)
            self.units = units

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Restored(Mlp):
        @classmethod
        def from_config(cls, config):
            return cls(config["units"], name=config["name"])

    expected = saved(named("Mlp", Mlp)(4), path)
    assert paragraphs(path)[-1].endswith("__init__() missing 1 required positional argument: 'units'")
    named("Mlp", Restored)
    contract.assert_same(loaded(path)(X), expected)


@pytest.mark.proves(
    "`missing 1 required positional argument: 'units'` | `get_config` leaves the argument out, or calls it by another "
    "name | Return it under the name that the constructor gives it"
)
@pytest.mark.parametrize("base", [keras.Model, keras.layers.Layer])
def test_an_argument_that_the_config_lacks_is_missing(base, path):
    class Sized(base):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def call(self, inputs):
            return self.units * inputs

    class LeavesOut(Sized):
        def get_config(self):
            return super().get_config()

    class CallsOtherwise(Sized):
        def get_config(self):
            return {**super().get_config(), "size": self.units}

    class Returns(Sized):
        def get_config(self):
            return {**super().get_config(), "units": self.units}

    for cls in LeavesOut, CallsOtherwise, Returns:
        one = named(f"{cls.__name__}{base.__name__}", cls)(4)
        expected = saved(one if base is keras.Model else sequential(one), path)
        if cls is Returns:
            contract.assert_same(loaded(path)(X), expected)
        else:
            first, *_, last = paragraphs(path)
            assert " could not be deserialized properly. " in first
            assert last.endswith("__init__() missing 1 required positional argument: 'units'")


@pytest.mark.proves(
    "`Unrecognized keyword arguments passed to` | `get_config` of a layer returns a key that its constructor doesn't "
    "take | Take it, or leave it out"
)
def test_a_key_that_the_constructor_does_not_take_is_unrecognized(path):
    class Extra(Holds):
        def get_config(self):
            return {**super().get_config(), "value": self.value, "size": 3}

    registered(Extra)
    saved(sequential(Extra(2)), path)
    first, *_, last = paragraphs(path)
    assert " could not be deserialized properly. " in first
    assert last.startswith("Exception encountered: Unrecognized keyword arguments passed to Extra: {'size': 3}")


class Wraps(keras.layers.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        return {**super().get_config(), "inner": self.inner}


@registered
def doubled(values):
    return 2 * values


class WrapsAgain(Wraps):
    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("inner")), **config)


@pytest.mark.proves(
    "`'TrackedDict' object is not callable` or `got __numpy__ of type 'str'`, then `Arguments received by` | An "
    "argument that is a layer, a function or a NumPy array comes back as a dict | "
    "`keras.saving.deserialize_keras_object` in `from_config`",
    "A layer, a function or a NumPy array comes back as a dict: restore it in `from_config`.",
)
@pytest.mark.parametrize(
    ("value", "use", "message"),
    [
        (doubled, None, "'TrackedDict' object is not callable"),
        (ops.relu, None, "'TrackedDict' object is not callable"),
        (np.arange(3.0), lambda x, its: x * ops.convert_to_tensor(its, x.dtype), "got __numpy__ of type 'str'"),
    ],
    ids=["function", "function of Keras", "array"],
)
def test_a_function_and_an_array_come_back_as_a_dict_too(value, use, message, path):
    class Uses(keras.layers.Layer):
        def __init__(self, value, **kwargs):
            super().__init__(**kwargs)
            self.value = value

        def call(self, inputs):
            return use(inputs, self.value) if use else self.value(inputs)

        def get_config(self):
            return {**super().get_config(), "value": self.value}

    class UsesAgain(Uses):
        @classmethod
        def from_config(cls, config):
            return cls(keras.saving.deserialize_keras_object(config.pop("value")), **config)

    expected = saved(sequential(named("UsesOne", Uses)(value)), path)
    *_, cause, last = paragraphs(path)
    assert message in cause
    assert last.startswith("Arguments received by")
    named("UsesOne", UsesAgain)
    contract.assert_same(loaded(path)(X), expected)


@pytest.mark.proves(
    "`'TrackedDict' object is not callable` or `got __numpy__ of type 'str'`, then `Arguments received by` | An "
    "argument that is a layer, a function or a NumPy array comes back as a dict | "
    "`keras.saving.deserialize_keras_object` in `from_config`"
)
def test_a_layer_as_an_argument_comes_back_as_its_config(path):
    expected = saved(sequential(named("WrapsOne", Wraps)(keras.layers.Dense(2))), path)
    first, *_, cause, last = paragraphs(path)
    assert " could not be deserialized properly. " in first
    assert cause.startswith("'TrackedDict' object is not callable")
    assert last.startswith("Arguments received by")
    named("WrapsOne", WrapsAgain)
    contract.assert_same(loaded(path)(X), expected)


# --- non-serializable-arguments ---------------------------------------------------------------------------------------

MESSAGE = r"Object {} was created by passing\s+non-serializable argument values in `__init__\(\)`"


@pytest.mark.proves("Return the arguments in `get_config`.")
def test_both_forms_project_and_the_one_that_works_keeps_its_options(path):
    kernel, bias = np.linspace(-1, 2, 21).reshape(3, 7), np.linspace(0, 1, 7)
    for sections in ("required_fails",), ("required_works",):
        model = called(made("Projector", *sections, units=7))
        model.set_weights([kernel, bias])
        np.testing.assert_allclose(model(X), X @ kernel + bias, rtol=1e-4, atol=1e-5)
    model = made("Projector", units=7, name="seven", dtype="mixed_bfloat16", trainable=False)
    saved(model, path)
    for again in loaded(path), type(model).from_config(model.get_config()):
        assert (again.units, again.name, again.trainable) == (7, "seven", False)
        assert again.dtype_policy.name == "mixed_bfloat16"


@pytest.mark.proves(
    "A model with a required argument can't be saved, even if the argument is a number; nor can a model with a default "
    "that isn't a plain value.",
    "The attempt empties a `.keras` file of that name, so an earlier model in it is lost.",
)
def test_a_required_argument_of_a_model_is_refused_and_the_file_emptied(path):
    class Activated(keras.Model):
        def __init__(self, activation=keras.activations.relu, **kwargs):
            super().__init__(**kwargs)

        def call(self, inputs):
            return inputs

    for model in made("Projector", "required_fails", units=5), Activated():
        sequential(keras.layers.Dense(1)).save(path)
        assert path.stat().st_size > 0
        with pytest.raises(NotImplementedError, match=MESSAGE.format(type(model).__name__)):
            saved(model, path)
        assert path.stat().st_size == 0

    h5 = path.with_suffix(".h5")
    sequential(keras.layers.Dense(1)).save(h5)
    with pytest.raises(NotImplementedError, match=MESSAGE.format("Activated")):
        saved(Activated(), h5)
    assert h5.stat().st_size > 0


@pytest.mark.proves(
    "A model with a required argument is saved if its class extends `Sequential` or calls `super().__init__(inputs, "
    "outputs)`, and then can't be loaded."
)
def test_a_functional_subclass_is_saved_and_not_loaded(path):
    @registered
    class Functional(keras.Model):
        def __init__(self, units, **kwargs):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(units)(inputs), **kwargs)

    @registered
    class Stacked(keras.Sequential):
        def __init__(self, units, **kwargs):
            super().__init__([keras.layers.Dense(units)], **kwargs)

    for cls in Functional, Stacked:
        saved(cls(4), path)
        assert paragraphs(path)[-1].endswith("__init__() missing 1 required positional argument: 'units'")

    @registered
    class WithDefault(keras.Model):
        def __init__(self, units=4, **kwargs):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(units)(inputs), **kwargs)

    expected = saved(WithDefault(), path)
    contract.assert_same(loaded(path)(X), expected)


EXTENDS = (
    "A layer that extends one such as `Dense` needs it for each argument of its own: one left out comes back with its "
    "default."
)
PLAIN = [5, 0.5, "relu", True, None, (1, 2), [1, 2], {"a": 1}, [[1], [2]], {"a": [1, {"b": None}]}]
NOT_PLAIN = [np.int64(3), np.float32(0.5), 1 + 2j, b"a", np.array([1]), [np.int64(1)], {1, 2}, keras.activations.relu]


@pytest.mark.proves(
    "Keras records the arguments of a layer if they are plain values, unless it extends one such as `Dense`.",
    "A layer needs it too, unless its arguments are strings, booleans, `None`, an `int` or a `float`, or lists, tuples "
    "and dicts of these.",
)
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_layers_plain_arguments_are_recorded_and_come_back(value, path):
    assert Holds(value).get_config()["value"] == value
    saved(sequential(Holds(value)), path)
    found = loaded(path).layers[-1].value
    assert found == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.proves(
    "Keras records the arguments of a layer if they are plain values, unless it extends one such as `Dense`.",
    "It doesn't record those of a subclassed model.",
    EXTENDS,
)
@pytest.mark.parametrize(
    ("base", "sizes"), [(keras.layers.Dense, [2]), (keras.layers.Conv1D, [2, 1]), (keras.layers.UnitNormalization, [])]
)
def test_a_plain_argument_of_a_subclass_of_a_built_in_layer_is_lost(base, sizes, path):
    class Scaled(base):
        def __init__(self, *sizes, scale=1.0, **kwargs):
            super().__init__(*sizes, **kwargs)
            self.scale = scale

        def call(self, inputs):
            return self.scale * super().call(inputs)

    class Returns(Scaled):
        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    for cls, comes_back in (Scaled, False), (Returns, True):
        model = keras.Sequential([keras.Input((6, 3)), registered(cls)(*sizes, scale=3.0)])
        expected = saved(model, path, X[None])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            again = loaded(path)
        assert again.layers[-1].scale == (3.0 if comes_back else 1.0)
        assert differs(again(X[None]), expected) is not comes_back


@pytest.mark.proves(EXTENDS)
def test_the_default_may_change_the_shape_of_a_weight_and_then_loading_raises(path):
    @registered
    class Ranked(keras.layers.LayerNormalization):
        def __init__(self, rank=2, **kwargs):
            super().__init__(**kwargs)
            self.rank = rank

        def build(self, input_shape):
            super().build(input_shape)
            self.down = self.add_weight(shape=(input_shape[-1], self.rank))

    model = sequential(Ranked(rank=4))
    assert "rank" not in model.layers[0].get_config()
    saved(model, path)
    with pytest.raises(ValueError, match=r"could not be loaded"):
        loaded(path)
    saved(sequential(Ranked()), path)
    assert loaded(path).layers[0].rank == 2


@pytest.mark.proves(
    "It needs it for `np.int64(3)` and `np.float32(0.5)`, for a function or a layer, and for `dtype` or "
    "`activity_regularizer` given as an object."
)
def test_other_arguments_of_a_layer_are_not_recorded(path):
    for value in [*NOT_PLAIN, keras.layers.Dense(1), keras.regularizers.L2(0.1)]:
        with pytest.raises(NotImplementedError, match=MESSAGE.format("Holds")):
            Holds(value).get_config()
    for options in {"dtype": keras.DTypePolicy("float32")}, {"activity_regularizer": keras.regularizers.L2(0.1)}:
        with pytest.raises(NotImplementedError, match=MESSAGE.format("Holds")):
            sequential(Holds(3, **options)).save(path)
    for options in {"dtype": "float32"}, {"activity_regularizer": "l2"}:
        sequential(Holds(3, **options)).save(path)

    @registered
    class Returns(Holds):
        def get_config(self):
            return {**super().get_config(), "value": self.value}

    for value in np.int64(3), np.float32(0.5):
        sequential(Returns(value, dtype=keras.DTypePolicy("float32"))).save(path)
        assert loaded(path).layers[-1].value == value


@pytest.mark.proves("A tuple comes back as a list, and the integer keys of a dict as strings.")
def test_tuples_and_integer_keys_change_on_the_way(path):
    for value, expected in ((1, 2), [1, 2]), ({1: 2.0}, {"1": 2.0}):
        saved(sequential(Holds(value)), path)
        found = loaded(path).layers[-1].value
        assert found == expected
        assert isinstance(found, type(expected))


# --- default-arguments-saved ------------------------------------------------------------------------------------------

WORDS = "Layer '{}' expected {} variables, but received 0 variables during loading"
SCORES = WORDS.format("scores", 2)
IDENTITY = [np.eye(3), np.zeros(3)]


def tagger(form: str, **options) -> keras.Model:
    return made("Tagger", f"default_{form}", **options)


def test_the_class_has_the_same_defaults_before_and_after():
    for form in "fails", "works":
        model = tagger(form)
        assert (model.units, model.dropout.rate, model.scores.units) == (3, 0.1, 3)


def test_in_inference_both_forms_compute_the_same():
    kernel, bias = np.linspace(-1, 2, 12).reshape(3, 4), np.linspace(0, 1, 4)
    for form in "fails", "works":
        model = called(tagger(form, units=4, rate=0.7))
        model.set_weights([kernel, bias])
        for outputs in model(X), model.predict(X, verbose=0), model(X, training=False):
            np.testing.assert_allclose(outputs, X @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_in_training_both_forms_drop_their_rate_and_scale_the_rest():
    x = np.random.default_rng(1).uniform(1, 2, size=(400, 3)).astype("float32")
    for form in "fails", "works":
        model = called(tagger(form, rate=0.25))
        model.set_weights(IDENTITY)
        outputs = np.asarray(model(x, training=True))
        kept = outputs != 0
        assert 0.7 < kept.mean() < 0.8
        np.testing.assert_allclose(outputs[kept], x[kept] / 0.75, rtol=1e-5)


OTHER_WEIGHTS = "If a layer's own weights then differ from the file in shape or number, loading raises."
ANOTHER = "Otherwise it doesn't, and the loaded model is another one, with fewer layers for example."


@pytest.mark.proves(
    "A model without `get_config` is saved with the defaults of its arguments, not with the values it was built with.",
    OTHER_WEIGHTS,
    ANOTHER,
)
def test_the_defaults_are_stored(path):
    config = tagger("fails", units=6, rate=0.3).get_config()
    assert (config["units"], config["rate"]) == (3, 0.1)
    saved(tagger("fails", units=6), path)
    with pytest.raises(ValueError, match=SCORES):
        loaded(path)
    saved(tagger("fails", rate=0.3), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert loaded(path).dropout.rate == 0.1


@pytest.mark.proves(
    OTHER_WEIGHTS,
    ANOTHER,
)
@pytest.mark.parametrize(
    ("options", "raises"),
    [
        ({"units": 4}, True),
        ({"depth": 1}, True),
        ({"bias": False}, True),
        ({"center": True}, True),
        ({"depth": 3}, False),
        ({"inner": 2}, False),
        ({"inner": 0}, True),
        ({"slope": 9}, False),
    ],
    ids=repr,
)
def test_a_default_may_add_a_weight_or_take_one_away(options, raises, path):
    @registered
    class Stacked(keras.Model):
        def __init__(self, units=3, depth=2, inner=1, bias=True, center=False, slope=1, **kwargs):
            super().__init__(**kwargs)
            self.norm = keras.layers.LayerNormalization(center=center)
            self.blocks = [keras.layers.Dense(units, use_bias=bias) for _ in range(depth)]
            self.block = keras.Sequential([keras.layers.Dense(3) for _ in range(inner)] + [keras.layers.Flatten()])
            self.slope = slope

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return self.slope * self.block(self.norm(inputs))

    expected = saved(Stacked(**options), path)
    if raises:
        with pytest.raises(ValueError, match=r"expected \d variables, but received"):
            loaded(path)
    else:
        assert differs(loaded(path)(X), expected)


@pytest.mark.proves("Return every argument in `get_config`.")
def test_get_config_keeps_every_argument(path):
    model = tagger("works", units=6, rate=0.3, name="tags", dtype="mixed_bfloat16", trainable=False)
    saved(model, path)
    for again in loaded(path), type(model).from_config(model.get_config()):
        assert (again.units, again.scores.units, again.dropout.rate, again.name) == (6, 6, 0.3, "tags")
        assert (again.dtype_policy.name, again.trainable) == ("mixed_bfloat16", False)
    expected = saved(tagger("works", units=6, rate=0.3), path)
    contract.assert_same(loaded(path)(X), expected)


@pytest.mark.proves(
    "The file that is already written loads as weights: make the model with its own arguments, call it, then "
    '`load_weights("tagger.keras")`.'
)
def test_the_file_that_is_written_loads_as_weights(path):
    expected = saved(tagger("fails", units=6), path)
    again = called(tagger("fails", units=6))
    again.load_weights(path)
    contract.assert_same(again(X), expected)


@pytest.mark.proves(
    "The file has no weights for this layer, or weights of another shape.",
    "`load_weights` into a model that was called on inputs of another width, or made with other arguments | Make it "
    "and call it as the one that was saved",
)
def test_another_width_or_another_argument_has_the_same_words(weights):
    expected = (one := called(tagger("fails", units=6)))(X)
    one.save_weights(weights)
    wide = np.ones((1, 4))
    for other in called(tagger("fails", units=6), wide), called(tagger("fails", units=5)):
        with pytest.raises(ValueError, match=SCORES):
            other.load_weights(weights)
    other = called(tagger("fails", units=6))
    other.load_weights(weights)
    contract.assert_same(other(X), expected)


@pytest.mark.proves(
    "A layer was replaced after the constructor, as in `model.scores = Dense(7)`. If the shapes are equal, the loaded "
    "model may silently have the constructor's layer, with the weights of the new one | Replace it again in a new "
    "model, call that, then `load_weights`"
)
@pytest.mark.filterwarnings("ignore:`build:UserWarning")
def test_a_replaced_layer_has_the_same_words_or_is_silently_another_one(path):
    def replaced(units: int) -> keras.Model:
        model = tagger("works")
        model.scores = keras.layers.Dense(units, activation="tanh")
        return called(model)

    expected = saved(replaced(7), path)
    with pytest.raises(ValueError, match=SCORES):
        loaded(path)
    again = replaced(7)
    again.load_weights(path)
    contract.assert_same(again(X), expected)

    model = registered(HasHead)()
    model.head = keras.layers.Dense(3, activation="tanh")
    expected = saved(model, path)
    contract.assert_same(np.tanh(loaded(path)(X)), np.asarray(expected))


class HasHead(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(inputs)


class Plain(keras.Model):
    def __init__(self, bias=True, **kwargs):
        super().__init__(**kwargs)
        self.scores = keras.layers.Dense(3, use_bias=bias, name="scores")

    def call(self, inputs):
        return self.scores(inputs)


class Named(keras.Model):
    def __init__(self, attribute="head", **kwargs):
        super().__init__(**kwargs)
        self.attribute = attribute
        self.hidden = keras.layers.Dense(4)
        setattr(self, attribute, keras.layers.Dense(3, name="scores"))

    def call(self, inputs):
        return getattr(self, self.attribute)(self.hidden(inputs))


class Longer(Plain):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.again = keras.layers.Dense(3, name="again")

    def call(self, inputs):
        return self.again(self.scores(inputs))


RENAMED = (
    "Since the file was written, the class got another layer, or the attribute of a layer was renamed. In a subclassed "
    "model, a new name matters only if the old one sorts before `layers` and doesn't begin with `_` | Load with the "
    "class as it was"
)


@pytest.mark.proves(RENAMED)
@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("head", "zone", True),
        ("dense", "hidden2", True),
        ("scores", "output_layer", False),
        ("scores", "dense", False),
        ("_dense", "_hidden", False),
        ("_dense", "hidden", False),
    ],
)
def test_only_names_before_layers_are_in_the_file(old, new, refused, weights):
    class One(keras.Model):
        def __init__(self, attribute):
            super().__init__()
            self.attribute = attribute
            setattr(self, attribute, keras.layers.Dense(2))

        def call(self, inputs):
            return getattr(self, self.attribute)(inputs)

    one, other = called(One(old)), called(One(new))
    one.save_weights(weights)
    if refused:
        with pytest.raises(ValueError, match="expected 2 variables, but received 0 variables during loading"):
            other.load_weights(weights)
    else:
        other.load_weights(weights)
        contract.assert_same(other(X), one(X))


@pytest.mark.proves(
    "In a subclassed model, a new name matters only if the old one sorts before `layers` and doesn't begin with `_`",
    "In a subclassed model, layers in attributes whose names sort after `layers` or begin with `_` are stored by class "
    "and by order of assignment.",
)
@pytest.mark.parametrize(("old", "new"), [("scores", "output_layer"), ("_dense", "_hidden"), ("head", "zone")])
def test_in_a_layer_of_your_own_each_name_is_in_the_file(old, new, weights):
    class Inner(keras.layers.Layer):
        def __init__(self, *names):
            super().__init__()
            self.names = names
            for name in names:
                setattr(self, name, keras.layers.Dense(3))

        def call(self, inputs):
            for name in sorted(self.names):
                inputs = getattr(self, name)(inputs)
            return inputs

    def of(*names: str) -> keras.Model:
        return called(sequential(Inner(*names)))

    of(old).save_weights(weights)
    with pytest.raises(ValueError, match="expected 2 variables, but received 0 variables during loading"):
        of(new).load_weights(weights)
    (one := of(old, new)).save_weights(weights)
    (exchanged := of(new, old)).load_weights(weights)
    contract.assert_same(exchanged(X), one(X))


@pytest.mark.proves(
    "In a subclassed model, layers in attributes whose names sort after `layers` or begin with `_` are stored by class "
    "and by order of assignment.",
)
@pytest.mark.parametrize(
    ("names", "created", "assigned", "exchanged"),
    [
        (("part", "score"), True, False, False),
        (("part", "score"), False, True, True),
        (("_part", "_score"), True, False, False),
        (("_part", "_score"), False, True, True),
        (("dense", "head"), True, True, False),
    ],
)
def test_the_order_that_counts_is_that_of_the_assignments(names, created, assigned, exchanged, path):
    def net(creates: bool, assigns: bool) -> type[keras.Model]:
        class Net(keras.Model):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                made = {name: keras.layers.Dense(3) for name in (reversed(names) if creates else names)}
                for name in reversed(names) if assigns else names:
                    setattr(self, name, made[name])

            def call(self, inputs):
                for name in names:
                    inputs = getattr(self, name)(inputs)
                return inputs

        return named("NetOne", Net)

    expected = saved(net(False, False)(), path)
    net(created, assigned)
    assert differs(loaded(path)(X), expected) is exchanged


@pytest.mark.proves(
    "In a subclassed model, layers in attributes whose names sort after `layers` or begin with `_` are stored by class "
    "and by order of assignment.",
    "Exchange two lines of the constructor that assign layers of one class and shape, and `load_model` silently "
    "exchanges their weights.",
)
@pytest.mark.parametrize(
    ("lines", "exchanged"),
    [(("part", "score"), False), (("score", "part"), True), (("prep", "rank"), False)],
    ids=["as they were", "exchanged", "renamed"],
)
def test_two_exchanged_lines_exchange_the_weights(lines, exchanged, path):
    def net(first: str, second: str, then: tuple[str, str]) -> type[keras.Model]:
        class Net(keras.Model):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                for name in first, second:
                    setattr(self, name, keras.layers.Dense(3))

            def call(self, inputs):
                for name in then:
                    inputs = getattr(self, name)(inputs)
                return inputs

        return named("Net", Net)

    model = net("part", "score", ("part", "score"))()
    expected = saved(model, path)
    net(*lines, lines if "prep" in lines else ("part", "score"))
    again = loaded(path)
    assert differs(again(X), expected) is exchanged
    if exchanged:
        contract.assert_same(np.asarray(again.part.kernel), np.asarray(model.score.kernel))


@pytest.mark.proves(RENAMED)
def test_a_class_that_has_changed_has_the_same_words(weights):
    for before, after, name in [
        (Named, lambda: Named("out"), "scores"),
        (Plain, Longer, "again"),
    ]:
        one = called(before())
        one.save_weights(weights)
        with pytest.raises(ValueError, match=WORDS.format(name, 2)):
            called(after()).load_weights(weights)
        same = called(before())
        same.load_weights(weights)
        contract.assert_same(same(X), one(X))


@pytest.mark.proves("The file was written before the model had weights | Call the model before you save it")
def test_a_file_without_weights_has_the_same_words(path, weights):
    model = Plain()
    with pytest.warns(UserWarning, match=r"^You are saving a model that has not yet been built"):
        model.save(path)
    with pytest.raises(ValueError, match=SCORES):
        called(Plain()).load_weights(path)
    with pytest.warns(UserWarning, match=r"^`build\(\)` was called on layer"):
        model.build((None, 3))
    model.save_weights(weights)
    with pytest.raises(ValueError, match=SCORES):
        called(Plain()).load_weights(weights)


@pytest.mark.proves(
    "`use_bias` or another option changes the number of the layer's weights | Make the layer as the one that was saved"
)
@pytest.mark.parametrize("bias", [True, False])
def test_another_number_of_weights_has_the_same_words(bias, weights):
    called(Plain(bias)).save_weights(weights)
    with pytest.raises(ValueError, match=WORDS.format("scores", 1 if bias else 2)):
        called(Plain(not bias)).load_weights(weights)


ADDS = (
    "The class extends `Dense`, `EinsumDense`, `Embedding`, `Conv1D`, `Conv2D` or `Conv3D` and adds a weight of its "
    "own. A `.keras` or `.weights.h5` file doesn't have that weight | Extend `Layer`, and keep the `Dense` in an "
    "attribute. Or have `save_own_variables` and `load_own_variables` call those of `keras.layers.Layer`. Save again"
)
EXTENDED = {
    "Dense": ((2,), X),
    "EinsumDense": (("ab,bc->ac", 4), X),
    "Embedding": ((5, 2), np.array([[1, 2]])),
    "Conv1D": ((2, 2), np.ones((1, 3, 2), "float32")),
    "Conv2D": ((2, 2), np.ones((1, 3, 3, 2), "float32")),
    "Conv3D": ((2, 2), np.ones((1, 2, 2, 2, 2), "float32")),
}


def with_a_gain(name: str, way: str) -> type[keras.layers.Layer]:
    base = getattr(keras.layers, name)

    class Gain(keras.layers.Layer if way == "attribute" else base):
        def __init__(self, *args, **kwargs):
            if way != "attribute":
                super().__init__(*args, **kwargs)
            else:
                super().__init__(**kwargs)
                self.inner = base(*args)

        def build(self, input_shape):
            (self.inner.build if way == "attribute" else super().build)(input_shape)
            self.gain = self.add_weight(shape=(1,), initializer="random_normal")

        def call(self, inputs):
            return self.gain * (self.inner if way == "attribute" else super().call)(inputs)

        if way == "own variables":

            def save_own_variables(self, store):
                keras.layers.Layer.save_own_variables(self, store)

            def load_own_variables(self, store):
                keras.layers.Layer.load_own_variables(self, store)

        def get_config(self):
            return {**keras.layers.Layer.get_config(self), "args": EXTENDED[name][0]}

        @classmethod
        def from_config(cls, config):
            return cls(*config.pop("args"), **config)

    return Gain


@pytest.mark.proves(ADDS)
@pytest.mark.parametrize("way", ["extends", "own variables", "attribute"])
@pytest.mark.parametrize("name", EXTENDED)
def test_a_weight_added_to_a_dense_layer_is_not_in_the_file(name, way, path, weights):
    args, x = EXTENDED[name]
    cls = registered(with_a_gain(name, way))

    def of() -> keras.Model:
        return keras.Sequential([keras.Input(x.shape[1:], dtype=str(x.dtype)), cls(*args)])

    model, other = of(), of()
    expected = saved(model, path, x)
    model.save_weights(weights)
    if way == "extends":
        all_of_them = len(model.weights)
        assert all_of_them == (2 if name in ("EinsumDense", "Embedding") else 3)
        words = f"expected {all_of_them} variables, but received {all_of_them - 1} variables during loading"
        for attempt in lambda: loaded(path), lambda: other.load_weights(weights):
            with pytest.raises(ValueError, match=words):
                attempt()
    else:
        other.load_weights(weights)
        for again in loaded(path), other:
            contract.assert_same(again(x), expected)


@pytest.mark.proves(ADDS)
def test_a_layer_norm_saves_an_added_weight(path):
    @registered
    class Gain(keras.layers.LayerNormalization):
        def build(self, input_shape):
            super().build(input_shape)
            self.gain = self.add_weight(shape=(1,), initializer="random_normal")

        def call(self, inputs):
            return self.gain * super().call(inputs)

    expected = saved(sequential(Gain()), path)
    contract.assert_same(loaded(path)(X), expected)


class Forgets(keras.layers.Layer):
    """A layer whose `build` leaves out the layer inside it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(2)

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs):
        return self.inner(inputs * self.scale)


class HasForgetful(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.forgets = Forgets(name="forgets")

    def call(self, inputs):
        return self.forgets(inputs)


class BuildsForgetful(HasForgetful):
    def build(self, input_shape):
        self.forgets.build(input_shape)


@pytest.mark.proves("The model has a `build` that doesn't build all its layers | Leave it out")
def test_a_build_that_does_not_build_all_has_the_same_words(path):
    registered(Forgets)
    saved(named("HasOne", BuildsForgetful)(), path)
    with pytest.raises(ValueError, match=WORDS.format("forgets", 1)):
        loaded(path)
    expected = saved(named("HasOne", HasForgetful)(), path)
    contract.assert_same(loaded(path)(X), expected)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@pytest.mark.proves(
    "For its own layers, a functional or Sequential model names the two shapes instead, after `The shape of the target "
    "variable and the shape of the target value`.",
    "If the number of weights differs, it says `expected 2 variables, but received 1`.",
)
def test_a_functional_model_and_layers_that_are_not_its_own_or_have_fewer_weights(weights):
    def of(layer: keras.layers.Layer) -> keras.Model:
        inputs = keras.Input((3,))
        return keras.Model(inputs, layer(inputs))

    for make in of, sequential:
        make(keras.layers.Dense(2, use_bias=False)).save_weights(weights)
        with pytest.raises(ValueError, match=r"expected 2 variables, but received 1"):
            make(keras.layers.Dense(2)).load_weights(weights)
    of(tagger("fails", units=6)).save_weights(weights)
    with pytest.raises(ValueError, match=SCORES):
        of(tagger("fails", units=5)).load_weights(weights)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@pytest.mark.proves(
    "For its own layers, a functional or Sequential model names the two shapes instead, after `The shape of the target "
    "variable and the shape of the target value`."
)
def test_a_functional_or_sequential_model_names_the_shapes(weights):
    def functional(units: int) -> keras.Model:
        inputs = keras.Input((3,))
        return keras.Model(inputs, keras.layers.Dense(units)(inputs))

    for make in functional, lambda units: sequential(keras.layers.Dense(units)):
        make(2).save_weights(weights)
        with pytest.raises(
            ValueError, match=r"The shape of the target variable and the shape of the target value.*must"
        ):
            make(4).load_weights(weights)


# --- build-then-load-weights ------------------------------------------------------------------------------------------


def encoder() -> keras.Model:
    return made("Encoder")


@pytest.fixture
def trained(weights) -> tuple[Path, tf.Tensor]:
    model = encoder()
    expected = model(X)
    model.save_weights(weights)
    return weights, expected


def test_it_is_one_dense_layer():
    model = called(encoder())
    kernel, bias = np.linspace(-1, 2, 6).reshape(3, 2), np.array([0.5, -0.5])
    model.set_weights([kernel, bias])
    np.testing.assert_allclose(model(X), X @ kernel + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.proves("Loading into a new subclassed model raises, and the message recommends `build`.")
def test_the_message_for_a_new_model_recommends_build(trained):
    with pytest.raises(ValueError, match=r"not yet been built\..*or by using `build\(\)`\.$"):
        encoder().load_weights(trained[0])


BUILT = "If the class has no `build` of its own, `model.build` creates no weights, warns, and marks the model as built."
NEXT = "The next `load_weights` raises nothing and loads nothing, except into weights that existed before."


@registered
class Shifts(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.shift = self.add_weight(shape=(3,), initializer="random_normal")

    def call(self, inputs):
        return inputs + self.shift


@pytest.mark.proves(BUILT, NEXT)
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
@pytest.mark.parametrize("base", [lambda: sequential(keras.layers.Dense(4)), Shifts], ids=["built", "not built"])
def test_weights_that_existed_before_are_loaded_and_the_others_are_not(base, weights, path):
    class OnTop(keras.Model):
        def __init__(self):
            super().__init__()
            self.base = base()
            self.head = keras.layers.Dense(2)

        def call(self, inputs):
            return self.head(self.base(inputs))

    trained = OnTop()
    expected = trained(X)
    trained.save_weights(weights)
    trained.save(path)
    for file in weights, path:
        model = OnTop()
        with pytest.raises(ValueError, match=r"not yet been built"):
            model.load_weights(file)
        model.build((None, 3))
        model.load_weights(file)
        contract.assert_same(model.base.get_weights(), trained.base.get_weights())
        assert (len(model.weights), model.head.weights) == (len(model.base.weights), [])
        assert model.weights
        assert differs(model(X), expected)


@pytest.mark.proves(BUILT, NEXT)
def test_build_warns_creates_nothing_and_load_weights_loads_nothing(trained):
    file, expected = trained
    model = encoder()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.build((None, 3))
        model.load_weights(file)
    (warning,) = [str(one.message) for one in caught if one.category is UserWarning]
    assert warning.startswith("`build()` was called on layer ")
    assert (model.built, model.dense.built, len(model.weights)) == (True, False, 0)
    assert differs(model(X), expected)


@pytest.mark.proves("From an `.h5` file that `model.save` wrote, it raises `Layer count mismatch` both times.")
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_the_h5_file_of_a_model_raises_before_and_after_build(path):
    path = path.with_suffix(".h5")
    expected = saved(encoder(), path)
    model = encoder()
    with pytest.raises(ValueError, match=r"^Layer count mismatch"):
        model.load_weights(path)
    model.build((None, 3))
    with pytest.raises(ValueError, match=r"^Layer count mismatch"):
        model.load_weights(path)
    called(model).load_weights(path)
    contract.assert_same(model(X), expected)


class Empty(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def build(self, input_shape):
        pass

    def call(self, inputs):
        return self.dense(inputs)


class CallsSuper(Empty):
    def build(self, input_shape):
        super(Empty, self).build(input_shape)


class CreatesUnbuilt(keras.Model):
    def build(self, input_shape):
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class Builds(Empty):
    def build(self, input_shape):
        self.dense.build(input_shape)


@pytest.mark.proves(
    "One that leaves out a layer with weights, be it empty or `super().build(input_shape)`, has the same effect "
    "without the warning, and `load_model` returns a model without those weights.",
    "`load_weights` after `build` loads nothing: `weights after loading: 0`",
)
@pytest.mark.parametrize("cls", [Empty, CallsSuper, CreatesUnbuilt], ids=lambda cls: cls.__name__)
def test_a_build_that_builds_no_layer_loses_the_weights_silently(cls, path, weights):
    model = registered(cls)()
    expected = saved(model, path)
    model.save_weights(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again, other = loaded(path), cls()
        other.build((None, 3))
        other.load_weights(weights)
    for one in again, other:
        assert (len(model.weights), len(one.weights)) == (2, 0)
        assert differs(one(X), expected)


class ChoosesFloats(Empty):
    build = keras.Model.build

    def call(self, inputs):
        return self.dense(inputs / 9.0 if ops.max(inputs) > 100 else inputs)


TRAINED = "If the model was trained, both may warn `Skipping variable loading for optimizer`."


@pytest.mark.proves(TRAINED, "`call` has an `if` on a tensor | None, or `Skipping variable loading for optimizer` |")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("cls", [Empty, CallsSuper, ChoosesFloats], ids=lambda cls: cls.__name__)
def test_a_trained_model_without_its_weights_may_warn_of_the_optimizer(cls, optimizer, path, weights):
    model = registered(cls)()
    model.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
    model.fit(X, X[:, :2], verbose=0)
    model.save(path)
    model.save_weights(weights)
    other = cls()
    other.compile(optimizer=optimizer, loss="mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if cls is not ChoosesFloats:
            other.build((None, 3))
            other.load_weights(weights)
        again = loaded(path)
    assert again.weights == other.weights == []
    told = [str(one.message) for one in caught if one.category is UserWarning]
    assert len(told) == (0 if optimizer == "sgd" else 1 + (cls is not ChoosesFloats))
    assert all(one.startswith("Skipping variable loading for optimizer") for one in told)
    expected = model(X)
    again(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        again.load_weights(path)
    contract.assert_same(again(X), expected)


@pytest.mark.proves(
    "A file that came back without weights still has them, except in the last two cases of the table below: call the "
    "loaded model, then `load_weights` from the same file."
)
def test_some_files_never_had_the_weights(path):
    model = encoder()
    with pytest.warns(UserWarning, match=r"^You are saving a model that has not yet been built"):
        model.save(path)
    with pytest.raises(ValueError, match="expected 2 variables, but received 0"):
        called(loaded(path)).load_weights(path)
    expected = saved(InDeque(), path)
    again = called(loaded(path))
    again.load_weights(path)
    assert differs(again(X), expected)


@pytest.mark.proves(
    "A file that came back without weights still has them, except in the last two cases of the table below: call the "
    "loaded model, then `load_weights` from the same file."
)
@pytest.mark.parametrize("cls", [Empty, CallsSuper, CreatesUnbuilt], ids=lambda cls: cls.__name__)
def test_the_file_still_has_the_weights(cls, path):
    expected = saved(registered(cls)(), path)
    again = called(loaded(path))
    assert differs(again(X), expected)
    again.load_weights(path)
    contract.assert_same(again(X), expected)


def test_the_shown_build_is_one_of_them(path):
    model = section("build_fails")["WithBuild"]()
    expected = saved(model, path)
    again = loaded(path)
    assert again.weights == []
    assert differs(again(X), expected)


class Block(keras.layers.Layer):
    def build(self, input_shape):
        self.inner = keras.layers.Dense(4)

    def call(self, inputs):
        return self.inner(inputs)


class BuiltBlock(Block):
    def build(self, input_shape):
        self.inner = keras.layers.Dense(4)
        self.inner.build(input_shape)


class BlockWithoutBuild(Block):
    build = keras.layers.Layer.build

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(4)


@pytest.mark.proves(
    "A `build` of its own isn't the cure.",
    "If a model needs a `build`, build each layer with weights in it. A layer with layers inside then needs a "
    "`build` that does the same for them.",
)
@pytest.mark.parametrize(("block", "found"), [(Block, 2), (BlockWithoutBuild, 2), (BuiltBlock, 4)])
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_a_build_has_to_build_the_layers_in_its_layers_too(block, found, path):
    class HasBlock(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.block = block()
            self.head = keras.layers.Dense(2)

        def build(self, input_shape):
            self.block.build(input_shape)
            self.head.build((None, 4))

        def call(self, inputs):
            return self.head(self.block(inputs))

    registered(block)
    model = registered(HasBlock)()
    expected = saved(model, path)
    again = loaded(path)
    assert (len(model.weights), len(again.weights)) == (4, found)
    assert differs(again(X), expected) is (found < 4)


@pytest.mark.proves(
    "One that leaves out a layer with weights",
    "If a model needs a `build`, build each layer with weights in it.",
)
@pytest.mark.parametrize("left_out", ["nothing", "norm"])
def test_a_layer_without_weights_needs_no_build(left_out, path, weights):
    @registered
    class BuildsSome(Empty):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dropout, self.relu = keras.layers.Dropout(0.5), keras.layers.ReLU()
            self.norm = keras.layers.BatchNormalization(beta_initializer="random_normal")

        def build(self, input_shape):
            self.dense.build(input_shape)
            if left_out != "norm":
                self.norm.build((None, 2))

        def call(self, inputs, training=False):
            hidden = self.relu(self.dropout(self.dense(inputs), training=training))
            return self.norm(hidden, training=training)

    model = BuildsSome()
    expected = saved(model, path)
    model.save_weights(weights)
    other = BuildsSome()
    other.build((None, 3))
    other.load_weights(weights)
    for again in loaded(path), other:
        assert (len(model.weights), len(again.weights)) == (6, 6 if left_out == "nothing" else 2)
        assert differs(again(X), expected) is (left_out == "norm")


def test_a_build_that_builds_its_layers_works(path, weights):
    model = registered(Builds)()
    expected = saved(model, path)
    model.save_weights(weights)
    other = Builds()
    other.build((None, 3))
    other.load_weights(weights)
    for again in loaded(path), other:
        contract.assert_same(again(X), expected)


@pytest.mark.proves(
    "Create the layers in `__init__` and write no `build` in a model.",
    "Before `load_weights`, call the model once, on data or on a `keras.Input`.",
)
@pytest.mark.parametrize("inputs", [lambda: keras.Input((3,)), lambda: X], ids=["Input", "data"])
def test_a_call_creates_the_weights_and_they_are_loaded(trained, inputs, path):
    file, expected = trained
    model = encoder()
    model(inputs())
    assert len(model.weights) == 2
    assert differs(model(X), expected)
    model.load_weights(file)
    contract.assert_same(model(X), expected)
    model.save(path)
    contract.assert_same(loaded(path)(X), expected)


class TwoTensors(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, left, right):
        return self.dense(left) - self.dense(2 * right)


class OneList(TwoTensors):
    def call(self, both):
        return super().call(*both)


class OneDict(TwoTensors):
    def call(self, both):
        return super().call(both["left"], both["right"])


@pytest.mark.proves(
    "`call` takes two tensors: `call(self, left, right)` | `had a build config, but the model cannot be built "
    "automatically`, when loading | Take them as one list or dict"
)
def test_a_call_of_two_tensors_comes_back_without_weights(path):
    expected = saved(registered(TwoTensors)(), path, X, X + 1)
    with pytest.warns(UserWarning, match="had a build config, but the model cannot be built automatically"):
        again = loaded(path)
    assert again.weights == []
    assert differs(again(X, X + 1), expected)
    for cls, both in (OneList, [X, X + 1]), (OneDict, {"left": X, "right": X + 1}):
        expected = saved(registered(cls)(), path, both)
        contract.assert_same(loaded(path)(both), expected)


class Letters(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, ids):
        return self.dense(tf.one_hot(ids, 5))


class Gathers(Letters):
    def call(self, ids):
        return self.dense(tf.gather(tf.eye(5), ids))


class Chooses(Letters):
    def call(self, ids):
        return self.dense(ops.cast(ids, "float32") / 9.0 if ops.max(ids) > 100 else ops.cast(ids, "float32"))


class ChoosesByCond(Letters):
    def call(self, ids):
        ids = ops.cast(ids, "float32")
        return self.dense(ops.cond(ops.max(ids) > 100, lambda: ids / 9.0, lambda: ids))


class Takes(Letters):
    def call(self, ids):
        return self.dense(ops.take(ops.eye(5), ids, axis=0))


class LettersCast(Letters):
    def call(self, ids):
        return super().call(ops.cast(ids, "int32"))


class GathersCast(Gathers):
    def call(self, ids):
        return super().call(ops.cast(ids, "int32"))


class TakesCast(Takes):
    def call(self, ids):
        return super().call(ops.cast(ids, "int32"))


@pytest.mark.proves(
    '`call` needs integers, as `tf.one_hot`, `tf.gather` and `ops.take` do | The same | `ops.cast(inputs, "int32")` in '
    "`call`; or call the loaded model, then `load_weights`",
    "`call` has an `if` on a tensor | None, or `Skipping variable loading for optimizer` | `ops.cond`; or call the "
    "loaded model, then `load_weights`",
)
@pytest.mark.parametrize(
    ("cls", "has_weights", "warns"),
    [
        (Letters, False, True),
        (Gathers, False, True),
        (Takes, False, True),
        (LettersCast, True, False),
        (GathersCast, True, False),
        (TakesCast, True, False),
        (Chooses, False, False),
        (ChoosesByCond, True, False),
    ],
)
def test_keras_rebuilds_a_model_with_floats_and_without_values(cls, has_weights, warns, path):
    ids = np.array([[1, 2, 3]])
    expected = saved(registered(cls)(), path, ids)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = loaded(path)
    told = any("had a build config, but the model cannot be built automatically" in str(one.message) for one in caught)
    assert (told, bool(again.weights)) == (warns, has_weights)
    again(ids)
    again.load_weights(path)
    contract.assert_same(again(ids), expected)


@pytest.mark.proves(
    "It was saved before its first call | `You are saving a model that has not yet been built`, when saving | Call it, "
    "then save"
)
def test_a_model_that_was_never_called_is_saved_without_weights(path):
    model = encoder()
    with pytest.warns(UserWarning, match=r"^You are saving a model that has not yet been built"):
        model.save(path)
    assert loaded(path).weights == []


@registered
class InDeque(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layers_of_its_own = collections.deque([keras.layers.Dense(2)])

    def call(self, inputs):
        return self.layers_of_its_own[0](inputs)


@pytest.mark.proves(
    "`load_model` returns a model without weights in these cases too:",
    "A weight is a `tf.Variable`, or its layer is kept in a `deque`, in an object or by a function | None | Let Keras "
    "track it",
    "Compare outputs afterwards; that no exception was raised proves nothing.",
)
def test_weights_that_are_not_tracked_are_not_in_the_file(path):
    expected = saved(InDeque(), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again = loaded(path)
    assert again.weights == []
    assert differs(again(X), expected)


def by_variable(model):
    model.held = tf.Variable(RNG.normal(size=(3, 2)).astype("float32"))
    return lambda inputs: tf.matmul(inputs, model.held)


def in_an_object(model):
    model.held = types.SimpleNamespace(dense=keras.layers.Dense(2))
    return model.held.dense


def by_a_function(model):
    dense = keras.layers.Dense(2)
    model.held = lambda: dense
    return dense


def by_index(model):
    model.held = [None]
    model.held[0] = keras.layers.Dense(2)
    return model.held[0]


def by_setdefault(model):
    model.held = {}
    return model.held.setdefault("dense", keras.layers.Dense(2))


def in_an_appended_list(model):
    model.held = []
    model.held.append([])
    model.held[-1].append(keras.layers.Dense(2))
    return model.held[-1][-1]


@pytest.mark.proves(
    "A weight is a `tf.Variable`, or its layer is kept in a `deque`, in an object or by a function | None | Let Keras "
    "track it",
    "A file that came back without weights still has them, except in the last two cases of the table below",
)
@pytest.mark.parametrize(
    ("hold", "comes_back"),
    [
        (by_variable, False),
        (in_an_object, False),
        (by_a_function, False),
        (by_index, True),
        (by_setdefault, True),
        (in_an_appended_list, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_tracked_may_be_in_the_file_all_the_same(hold, comes_back, path):
    @registered
    class HoldsOne(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            held = hold(self)
            object.__setattr__(self, "fetch", lambda: held)

        def call(self, inputs):
            return self.fetch()(inputs)

    model = HoldsOne()
    expected = saved(model, path)
    again = loaded(path)
    assert model.weights == again.weights == []
    assert differs(again(X), expected) is not comes_back
    again.load_weights(path)
    assert differs(again(X), expected) is not comes_back


# --- state of your own ------------------------------------------------------------------------------------------------


class HasNoAssets(keras.layers.Layer):
    def call(self, inputs):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


class HasAssets(HasNoAssets):
    def save_assets(self, dir_path):
        Path(dir_path, "words.txt").write_text("tea")

    def load_assets(self, dir_path):
        self.words = Path(dir_path, "words.txt").read_text()


class AcceptsNone(HasAssets):
    def load_assets(self, dir_path):
        if dir_path is not None:
            super().load_assets(dir_path)


class Normalizes(HasNoAssets):
    def __init__(self, builds=False, **kwargs):
        super().__init__(**kwargs)
        self.builds, self.normalize = builds, keras.layers.Normalization()

    def build(self, input_shape):
        if self.builds and not self.normalize.built:
            self.normalize.build(input_shape)

    def call(self, inputs):
        return self.normalize(inputs)


class StoresAString(HasNoAssets):
    def save_own_variables(self, store):
        store["word"] = "tea"


class HasRows(HasNoAssets):
    def build(self, input_shape):
        self.rows = self.add_weight(shape=self.shape(input_shape))

    def shape(self, input_shape):
        return (2, *input_shape[1:])


class AddsATuple(HasRows):
    def shape(self, input_shape):
        return (2,) + input_shape[1:]  # noqa: RUF005


def with_words(words: list[str], **options) -> keras.Model:
    lookup = keras.layers.StringLookup(**options)
    lookup.adapt(np.array(words))
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup])


@pytest.mark.proves(
    "`was never built and thus it doesn't have any variables` | A `Normalization` in a layer that has a "
    "`compute_output_shape`, and whose `build` doesn't build it | `if not self.normalize.built: "
    "self.normalize.build(input_shape)` in that `build`",
    "`Table not initialized` | A `StringLookup` has no words: they aren't in a `.weights.h5` | Save a `.keras` file",
    "`has at least one repeated term`, `Found reserved mask token` | A word of the vocabulary has a line separator in "
    "it | Remove it before `adapt`",
    '`must be the same length as vocabulary` | A lookup with `output_mode="tf_idf"` and `pad_to_max_tokens=True` | '
    "Leave out `pad_to_max_tokens`",
    "`not NoneType` or `No such file`, in `load_assets` | When the file was written, the class had no assets | Return "
    "if `dir_path` is `None` or lacks the file",
    "`Invalid dtype: str`, with a number, in `fit` or `predict` | The words are a NumPy array | `tf.constant(words)`, "
    "or a `tf.data.Dataset`",
    "`Invalid dtype: str`, with a number, in `save` | `save_own_variables` stores a string | Put it into an asset",
    '`can only concatenate tuple (not "list") to tuple` | `build` adds a tuple and a shape, which is a list when it is '
    "loaded | `(2, *input_shape[1:])`",
)
def test_messages_about_state(path):
    def raises(model: keras.Model, message: str, **classes: type) -> None:
        model.save(path)
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            loaded(path, custom_objects=classes)

    never, right = Normalizes(), Normalizes(builds=True)
    never.normalize.adapt(X), right.normalize.adapt(X)
    raises(sequential(never), "was never built and thus it doesn't have any variables", Normalizes=Normalizes)
    model = sequential(right)
    model.save(path)
    contract.assert_same(loaded(path, custom_objects={"Normalizes": Normalizes})(X), model(X))

    words = with_words(["a", "b", "b"])
    asked = tf.constant([["a"], ["b"]])
    words.save_weights(path.with_name("words.weights.h5"))
    new = keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.StringLookup()])
    new.load_weights(path.with_name("words.weights.h5"))
    with pytest.raises(Exception, match="Table not initialized"):
        new(asked)
    words.save(path)
    contract.assert_same(loaded(path)(asked), words(asked))

    raises(with_words(["a\u2028b", "a"]), "has at least one repeated term")
    vectorize = keras.layers.TextVectorization()
    vectorize.adapt(np.array(["b b \u2028a"]))
    of_lines = keras.Sequential([keras.Input((1,), dtype="string"), vectorize])
    raises(of_lines, "Found reserved mask token")
    array = np.array([["b"]])
    of_lines.compile("sgd", "mse")
    for call in (of_lines.predict, of_lines.fit):
        with pytest.raises(ValueError, match=r"Invalid dtype: str\d+"):
            call(array, verbose=0)
    expected = of_lines(tf.constant(array))
    for given in (tf.constant(array), tf.data.Dataset.from_tensor_slices(array).batch(1)):
        contract.assert_same(of_lines.predict(given, verbose=0), expected)
    options = {"output_mode": "tf_idf", "max_tokens": 9}
    raises(with_words(["a", "b"], **options, pad_to_max_tokens=True), "must be the same length as vocabulary")
    words = with_words(["a", "b"], **options)
    words.save(path)
    contract.assert_same(loaded(path)(asked), words(asked))

    keras.Sequential([keras.Input((3,)), HasNoAssets(), HasAssets()]).save(path)
    classes = {"HasNoAssets": HasAssets, "HasAssets": HasAssets}
    with pytest.raises(ValueError, match=r"not '?NoneType"):
        loaded(path, custom_objects=classes)
    layers = loaded(path, custom_objects={**classes, "HasNoAssets": AcceptsNone}).layers
    assert [getattr(layer, "words", None) for layer in layers] == [None, "tea"]

    with pytest.raises(ValueError, match=r"Invalid dtype: str\d+"):
        sequential(StoresAString()).save(path)
    raises(sequential(AddsATuple()), 'can only concatenate tuple (not "list") to tuple', AddsATuple=AddsATuple)
    sequential(HasRows()).save(path)
    loaded(path, custom_objects={"HasRows": HasRows})
