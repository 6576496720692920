"""`docs/saving/configs.md`: every claim that the page makes, proved."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import lzma
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from snippets.saving import configs
from snippets.saving.configs import Amplify, Rescale, Residual, ScaledError, round_trip
from tests import contract
from tests.saving import record_keras_3_6
from tests.shown import maker, shown
from tests.takeaway import shell

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
register = keras.saving.register_keras_serializable
serialize, deserialize = keras.saving.serialize_keras_object, keras.saving.deserialize_keras_object


def residual(initializer="ones", **kwargs) -> Residual:
    return Residual(keras.layers.Dense(4, dtype=kwargs.get("dtype")), initializer, **kwargs)


LAYERS = {
    "Residual": contract.Layer(residual, inputs=[(5, 4)]),
    "Rescale": contract.Layer(lambda **kw: Rescale(2.0, 0.5, **kw), inputs=[(4,)]),
}
PAIR = (X[:, :1], X[:, 1:2])
LOSSES = {"ScaledError": contract.Other(lambda: ScaledError(10.0), PAIR)}
CAUGHT = {
    "ForgetsError of forgets_fails": contract.Wrong(
        maker("ForgetsError", configs, "forgets_fails", arguments=(10.0,)), PAIR, by="config_is_complete", says="factor"
    ),
}
NOT_IN_CONTRACT = {
    "Amplify": "is `Rescale` under the name of old files, which are loaded below",
    "Half of half_fails": "has no `call`: what its config holds is shown below",
    "Times of twice_fails": "is right but for its registered name, of which the page tells",
    "OfAnotherModule of twice_fails": "is right but for its registered name, of which the page tells",
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_the_loss_passes_the_checkup(case):
    contract.passes_the_checkup(case)


def of(*layers: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), *layers])


def loads(path: Path, x=X) -> tuple[np.ndarray, int, int]:
    """Runs in the new process, which gets the classes of this module: outputs, weights, and those that train."""
    model = keras.saving.load_model(path)
    return np.asarray(model(x)), len(model.weights), len(model.trainable_weights)


def told(process, *code: str) -> Any:
    """What a script prints last, as JSON, in a new process."""
    return json.loads(process.call(shell.script, "\n".join(code)).splitlines()[-1])


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A file holds it as JSON, and `from_config` passes it to the constructor.",
    "`Residual` takes a layer and an initializer:",
)
def test_the_program_comes_back_in_a_new_process(process):
    page = shown(configs, "program")
    layer, model, x = page["layer"], page["model"], page["x"]
    kernel, bias = map(np.asarray, layer.inner.weights)
    np.testing.assert_allclose(model(x), x + 0.5 * np.tanh(x @ kernel + bias), rtol=1e-4, atol=1e-6)
    held = json.loads(json.dumps(layer.get_config()))
    again = Residual.from_config(held)
    assert (again.inner.units, again.inner.activation) == (4, keras.activations.tanh)
    assert again.initializer.value == 0.5
    assert held == again.get_config()


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "float64"])
def test_a_residual_layer_computes_the_same_in_a_new_process(dtype, process, tmp_path):
    layer = residual(keras.initializers.Constant(0.5), dtype=dtype, name="mine")
    model = of(layer)
    layer.scale.assign(-2.0)
    model.save(tmp_path / "model.keras")
    found = process.call(contract.load_and_call, tmp_path / "model.keras", configs.__name__, X)
    assert found.dtype == layer.compute_dtype
    np.testing.assert_array_equal(found, model(X))
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        held = json.loads(file.read("config.json"))["config"]["layers"][1]
    assert held["registered_name"] == "guide>Residual"
    assert held["config"]["initializer"]["config"] == {"value": 0.5}


class Bare(keras.layers.Layer):
    """Without what the base class records."""

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {}


class Same(keras.layers.Layer):
    def call(self, inputs):
        return inputs

    def get_config(self):
        return {**super().get_config()}


@pytest.mark.proves(
    "`super().get_config()` holds `name`, `trainable`, `dtype` and, if there is one, `activity_regularizer`. "
    "Without it they come back with their defaults. What is in it is passed to the constructor: without `**kwargs` "
    "there, loading raises `unexpected keyword argument`.",
)
def test_what_the_base_config_of_a_layer_holds():
    assert set(Same().get_config()) == {"name", "trainable", "dtype"}
    given = {"name": "mine", "trainable": False, "dtype": "mixed_float16", "activity_regularizer": "l2"}
    for cls, kept in ((Same, True), (Bare, False)):
        again = deserialize(serialize(cls(**given, autocast=False)), custom_objects={cls.__name__: cls})
        assert (again.name == "mine") == kept
        assert again.trainable != kept
        assert (again.dtype_policy.name == "mixed_float16") == kept
        assert (again.activity_regularizer is not None) == kept
        assert again.autocast
    with_regularizer = Same(**given)
    assert set(with_regularizer.get_config()) == {"name", "trainable", "dtype", "activity_regularizer"}
    cfg = {**Same(autocast=False).get_config(), "autocast": False}
    assert not Same.from_config(cfg).autocast


@pytest.mark.parametrize("hand", [False, True], ids=["recorded", "by hand"])
@pytest.mark.parametrize("base", ["Layer", "Model", "Dense", "Loss", "Metric", "Optimizer"])
def test_a_constructor_without_kwargs(base, hand):
    parent, needs = families["BASES"][base][0], families["NEEDS"].get(base, {})

    class Narrow(parent):
        def __init__(self, value=1.0):
            super().__init__(**needs)
            self.value = value

        if hand:

            def get_config(self):
                return {**parent.get_config(self), "value": self.value}

    with pytest.raises(TypeError, match=r"unexpected keyword argument '(name|trainable)'"):
        deserialize(json.loads(json.dumps(serialize(Narrow(5.0)))), custom_objects={"Narrow": Narrow})


@register("configs_test")
def doubled(x):
    return 2 * x


@pytest.mark.proves(
    "`keras.initializers.get` takes the dict of the file, and so do those of `regularizers`, `constraints` and "
    "`activations`. Call it in the constructor, and the argument needs nothing in `from_config`.",
)
def test_get_takes_what_a_file_holds():
    for module, thing in (
        (keras.initializers, keras.initializers.Constant(0.5)),
        (keras.regularizers, keras.regularizers.L2(0.5)),
        (keras.constraints, keras.constraints.MaxNorm(0.5)),
    ):
        again = module.get(json.loads(json.dumps(serialize(thing))))
        assert type(again) is type(thing)
        assert again.get_config() == thing.get_config()
        assert module.get(again) is again
    for function in (keras.activations.tanh, doubled):
        assert keras.activations.get(json.loads(json.dumps(serialize(function)))) is function


# --- what is recorded -----------------------------------------------------------------------------------------------

FAMILIES = """
import json, keras, numpy as np
from keras import ops

class WithValue:
    def __init__(self, value=1.0, **kwargs):
        super().__init__(**kwargs)
        self.value = value

class Required:
    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

BASES = {
    "Layer": (keras.layers.Layer, dict(call=lambda self, x: self.value * x)),
    "Model": (keras.Model, dict(call=lambda self, x: self.value * x)),
    "Dense": (keras.layers.Dense, {}),
    "LSTM": (keras.layers.LSTM, {}),
    "Loss": (keras.losses.Loss, dict(call=lambda self, y, p: self.value * ops.mean(ops.abs(y - p), -1))),
    "MeanSquaredError": (keras.losses.MeanSquaredError, {}),
    "Metric": (keras.metrics.Metric, dict(update_state=lambda self, *a, **k: None, result=lambda self: self.value)),
    "Mean": (keras.metrics.Mean, {}),
    "Optimizer": (keras.optimizers.Optimizer, dict(update_step=lambda self, *a: None)),
    "SGD": (keras.optimizers.SGD, {}),
    "Initializer": (keras.initializers.Initializer, dict(__call__=lambda self, s, dtype=None: ops.full(s, self.value))),
    "Constraint": (keras.constraints.Constraint, dict(__call__=lambda self, w: self.value * w)),
    "Regularizer": (keras.regularizers.Regularizer, dict(__call__=lambda self, w: self.value * ops.sum(w))),
    "LearningRateSchedule": (
        keras.optimizers.schedules.LearningRateSchedule, dict(__call__=lambda self, step: self.value)
    ),
}
NEEDS = {"Dense": {"units": 2}, "LSTM": {"units": 2}, "Optimizer": {"learning_rate": 0.5}}

def made(mixin, base, **more):
    cls = type(mixin.__name__ + base, (mixin, BASES[base][0]), {**BASES[base][1], **more})
    return keras.saving.register_keras_serializable("families")(cls)

OWN = {base: made(WithValue, base) for base in BASES}
REQUIRED = {base: made(Required, base) for base in BASES}

def number(thing):
    '''What it computes with its value.'''
    y, p = np.zeros((2, 1)), np.ones((2, 1))
    if isinstance(thing, keras.losses.MeanSquaredError) or isinstance(thing, (keras.layers.Dense, keras.layers.LSTM)):
        return thing.value
    if isinstance(thing, (keras.optimizers.Optimizer, keras.metrics.Mean)):
        return thing.value
    if isinstance(thing, (keras.losses.Loss, keras.layers.Layer)):
        return float(np.mean(thing(y, p) if isinstance(thing, keras.losses.Loss) else thing(p)))
    if isinstance(thing, keras.initializers.Initializer):
        return float(thing(()))
    if isinstance(thing, keras.metrics.Metric):
        return thing.result()
    return float(thing(1.0))
"""
module = types.ModuleType("families")
families: dict[str, Any] = vars(module)


@pytest.fixture(scope="module", autouse=True)
def _families():
    """The same classes in this process as in the new one."""
    before = dict(keras.saving.get_custom_objects())
    sys.modules["families"] = module  # dataclasses look there
    exec(FAMILIES, families)
    yield
    del sys.modules["families"]
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(before)


LOADS = """
def loaded(text):
    try:
        return number(keras.saving.deserialize_keras_object(json.loads(text)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


@pytest.mark.proves(
    "`Layer` | `name`, `trainable`, `dtype`, `activity_regularizer` | Recorded, if it is plain",
    "`Model`, with a `call` of its own | The same | Its default comes back, silently. A required one can't be saved",
    "A layer with a `get_config`, such as `Dense` | That layer's arguments too | Its default comes back, "
    "silently. A required one can't be loaded",
    "`Loss` | `name`, `reduction`; not `dtype` | Its default comes back, silently. A required one can't be loaded",
    "`Metric` | `name`, `dtype` | Its default comes back, silently. A required one can't be loaded",
    "`Optimizer` | Each argument of `Optimizer` | Its default comes back, silently. A required one can't be loaded",
    "`Initializer`, `Constraint` | Nothing | Its default comes back, silently. A required one can't be loaded",
    "`Regularizer`, `LearningRateSchedule` | None: `get_config` raises | Can't be saved",
)
def test_what_comes_back_of_an_argument_without_get_config(process):
    texts, raises = {}, {}
    for base in families["BASES"]:
        for name, classes in (("own", families["OWN"]), ("required", families["REQUIRED"])):
            thing = classes[base](value=5.0, **families["NEEDS"].get(base, {}))
            assert families["number"](thing) == 5.0
            try:
                texts[base, name] = json.dumps(serialize(thing))
            except NotImplementedError as error:
                raises[base, name] = str(error)
    both = {(base, name) for base in ("Regularizer", "LearningRateSchedule") for name in ("own", "required")}
    assert set(raises) == {("Model", "required"), *both}
    assert "non-serializable argument values" in raises["Model", "required"]
    found = told(process, FAMILIES, LOADS, f"print(json.dumps([loaded(t) for t in {list(texts.values())!r}]))")
    for (base, name), value in zip(texts, found, strict=True):
        if base == "Layer":
            assert value == 5.0
        elif name == "own":
            assert value == 1.0, base
        else:
            assert "missing 1 required positional argument: 'value'" in value, base


def test_what_the_base_configs_hold():
    own = {base: cls(value=5.0, **families["NEEDS"].get(base, {})) for base, cls in families["OWN"].items()}
    of_layers = {"name", "trainable", "dtype"}
    assert set(own["Layer"].get_config()) == {*of_layers, "value"}
    model = families["OWN"]["Model"](name="mine", dtype="mixed_float16", activity_regularizer="l2", trainable=False)
    assert set(model.get_config()) == {*of_layers, "activity_regularizer", "value"}
    again = deserialize(serialize(model))
    assert (again.name, again.trainable, again.dtype_policy.name) == ("mine", False, "mixed_float16")
    assert again.activity_regularizer is not None
    assert set(own["Dense"].get_config()) == set(keras.layers.Dense(2).get_config())
    assert deserialize(serialize(own["Dense"])).units == 2
    assert own["Metric"].get_config() == {"name": own["Metric"].name, "dtype": "float32"}
    assert own["Initializer"].get_config() == own["Constraint"].get_config() == {}
    constructors = [inspect.signature(cls.__init__).parameters for cls in keras.optimizers.Optimizer.__mro__[:-1]]
    arguments = set(next(those for those in constructors if "learning_rate" in those)) - {"self", "kwargs"}
    assert set(own["Optimizer"].get_config()) == arguments

    exact = families["OWN"]["Loss"](dtype="float64", name="exact", reduction="sum")
    assert exact.get_config() == {"name": "exact", "reduction": "sum"}
    again = deserialize(serialize(exact))
    y = np.float64([[1 / 3]])
    assert (exact(y, 0 * y).dtype, again(y, 0 * y).dtype) == ("float64", "float32")
    builtin = keras.losses.MeanSquaredError(dtype="float64")
    assert deserialize(serialize(builtin))(y, 0 * y).dtype == "float32"


@pytest.mark.proves("Where the argument decides the shape of a weight, loading raises.")
def test_a_default_that_decides_a_shape(tmp_path):
    @register("configs_test")
    class Sized(keras.Model):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(units)

        def call(self, inputs):
            return self.dense(inputs)

    model = Sized(5)
    model(X)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="objects could not be loaded"):
        keras.saving.load_model(tmp_path / "model.keras")


def trained(loss, path: Path) -> keras.Model:
    model = of(keras.layers.Dense(1))
    model.compile("sgd", loss)
    model.fit(X, X[:, :1], verbose=0)
    model.save(path)
    return model


@pytest.mark.proves(
    "This loss trains, and is saved and loaded. Then it is a tenth of what it was:",
    "One method keeps the factor:",
)
def test_a_loss_that_forgets_its_factor(tmp_path, process):
    page = shown(configs, "forgets_fails")
    assert page.printed == "10.0 and 1.0"
    assert shown(configs, "remembers").printed == "10.0 and 10.0"
    forgets = page["ForgetsError"]
    np.testing.assert_allclose(ScaledError(3.0)(X, 0 * X), 3 * np.abs(X).mean(), rtol=1e-5)
    assert forgets().factor == ScaledError().factor == 1.0
    path = tmp_path / "model.keras"
    for cls, ratio in ((forgets, 0.1), (ScaledError, 1.0)):
        model = trained(cls(factor=10.0), path)
        ours = model.evaluate(X, X[:, :1], verbose=0)
        theirs = told(
            process,
            f"import json, keras, numpy as np\nX = np.array({X.tolist()!r}, 'float32')",
            "from keras import ops",
            inspect.getsource(ScaledError),
            inspect.getsource(ScaledError).split("    def get_config")[0].replace("ScaledError", "ForgetsError"),
            f"model = keras.saving.load_model({str(path)!r}, custom_objects={{'ForgetsError': ForgetsError}})",
            "print(model.evaluate(X, X[:, :1], verbose=0))",
        )
        assert theirs == pytest.approx(ratio * ours, rel=1e-4)


@pytest.mark.proves(
    "A `get_config` in a layer turns the recording off, for all its arguments and for those of the class that it "
    "extends. This one forgets `scale`:",
)
def test_a_get_config_turns_the_recording_off():
    assert shown(configs, "half_fails").printed == "scale: 1.0 shift: 0.5"
    plain, mixin = families["OWN"]["Layer"], families["WithValue"]

    class Extended(plain):
        def __init__(self, extra=0, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    class Returns(Extended):
        def get_config(self):
            return {**super().get_config(), "extra": self.extra}

    for cls, kept in ((Extended, 5.0), (Returns, 1.0)):
        again = cls.from_config(cls(extra=3, value=5.0).get_config())
        assert (again.extra, again.value) == (3, kept)

    class Empty(mixin, keras.layers.Layer):
        def get_config(self):
            return super().get_config()

    assert Empty.from_config(Empty(value=5.0).get_config()).value == 1.0


RECORDED = """
import json, keras, numpy as np
register = keras.saving.register_keras_serializable("recorded")

@register
class Sized(keras.layers.Layer):
    def __init__(self, units=DEFAULT, sizes=(), **kwargs):
        self.rate = kwargs.pop("rate", 0.5)
        super().__init__(**kwargs)
        self.units = units
        self.sizes = sizes

    def call(self, inputs):
        return inputs * self.units * self.rate * (1 + len(self.sizes))
"""


@pytest.mark.proves(
    "What is recorded are the arguments of the constructor, and not the attributes of the layer:",
    "leave out an argument | The default of that day",
    "set `layer.units = 7` afterwards | What the constructor got",
    "append to a list that you passed | The longer list. The layer has the shorter one",
    "append to `layer.sizes` | The shorter list",
    "set `trainable`, `dtype_policy` or `activity_regularizer` afterwards | What you set",
)
def test_what_is_recorded_of_a_layer(process, tmp_path):
    namespace: dict[str, Any] = {"__name__": "recorded"}
    exec(RECORDED.replace("DEFAULT", "3"), namespace)
    sized = namespace["Sized"]
    sizes, other = [1, 2], [1, 2]
    layers = [sized(), sized(4), sized(4, sizes=sizes), sized(4, sizes=other), sized(4, rate=0.25)]
    layers[1].units = 7
    sizes.append(3)
    layers[3].sizes.append(3)
    expected = [3 * 0.5, 4 * 0.5, 4 * 0.5 * 4, 4 * 0.5 * 3, 4 * 0.25]
    here = [3 * 0.5, 7 * 0.5, 4 * 0.5 * 3, 4 * 0.5 * 4, 4 * 0.25]
    paths = []
    for layer, number in zip(layers, here, strict=True):
        model = of(layer)
        assert float(model(np.ones((1, 4)))[0, 0]) == pytest.approx(number)
        paths.append(str(tmp_path / f"{len(paths)}.keras"))
        model.save(paths[-1])
    there = told(
        process,
        RECORDED.replace("DEFAULT", "100"),
        f"loaded = [keras.saving.load_model(path) for path in {paths!r}]",
        "print(json.dumps([float(model(np.ones((1, 4)))[0, 0]) for model in loaded]))",
    )
    assert there == pytest.approx(expected)

    later = sized(4)
    later.trainable, later.dtype_policy = False, keras.DTypePolicy("mixed_float16")
    later.activity_regularizer = keras.regularizers.L2(0.5)
    again = deserialize(json.loads(json.dumps(serialize(later))))
    assert (again.trainable, again.dtype_policy.name) == (False, "mixed_float16")
    assert float(again.activity_regularizer.l2) == 0.5


@pytest.mark.proves(
    "pass something to `*args`, or take positional-only arguments | Nothing: saving raises",
    "pass `dtype` or `activity_regularizer` as an object | Nothing: saving raises",
)
def test_what_cannot_be_recorded_of_a_layer(tmp_path):
    class Varied(Same):
        get_config = keras.layers.Layer.get_config

        def __init__(self, *sizes, **kwargs):
            super().__init__(**kwargs)

    class Placed(Varied):
        def __init__(self, size, /, **kwargs):
            super().__init__(**kwargs)

    class Plain(Varied):
        def __init__(self, size=1, **kwargs):
            super().__init__(**kwargs)

    of(Varied()).save(tmp_path / "model.keras")
    of(Plain(dtype="mixed_float16", activity_regularizer="l2")).save(tmp_path / "model.keras")
    for layer, says in (
        (Varied(1), "positional only or variadic"),
        (Placed(1), "positional only or variadic"),
        (Plain(dtype=keras.DTypePolicy("float32")), "non-serializable argument"),
        (Plain(activity_regularizer=keras.regularizers.L2(0.5)), "non-serializable argument"),
    ):
        with pytest.raises(NotImplementedError, match=says):
            of(layer).save(tmp_path / "model.keras")


# --- values -----------------------------------------------------------------------------------------------------------

VALUES = """
import collections, dataclasses, datetime, enum, functools, math, pathlib
import tensorflow as tf

class Color(enum.Enum): RED = 1
class Number(enum.IntEnum): RED = 1
class Word(str, enum.Enum): RED = "red"

@dataclasses.dataclass
class Point: x: int = 2

class Kept:
    def __init__(self, x): self.x = x
    def get_config(self): return {"x": self.x}
    @classmethod
    def from_config(cls, config): return cls(**config)

keras.saving.register_keras_serializable("families")(Kept)
Pair = collections.namedtuple("Pair", "a b")

@keras.saving.register_keras_serializable("families")
def doubled(x): return 2 * x

VALUES = dict(
    whole=3, floating=0.1, text="a", flag=True, nothing=None, nan=float("nan"), list=[1, [2.5, "a"]],
    dict={"a": {"b": [1]}}, float64=np.float64(0.5), string=np.str_("a"), tuple=(1, (2, 3)), named=Pair(1, 2),
    keys={1: "a"}, number=Number.RED, word=Word.RED, float32=np.float32(0.1), int64=np.int64(3), bool=np.bool_(True),
    scalar=np.array(1.5), dtype=tf.float16, shape=tf.TensorShape([None, 3]), array=np.float32([[1, 2], [3, 4]]),
    tensor=tf.constant([1.5, 2]), bytes=b"a", slice=slice(1, 5, 2), layer=keras.layers.Dense(2, "tanh"),
    model=keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), initializer=keras.initializers.Constant(0.5),
    policy=keras.DTypePolicy("mixed_float16"), function=doubled, builtin=keras.activations.tanh, kept=Kept(2),
    layers=[keras.layers.Dense(2)], by_name={"a": keras.layers.Dense(2)}, nameless=None,
    color=Color.RED, point=Point(), set={1}, range=range(3), path=pathlib.Path("a"), date=datetime.date(2020, 1, 1),
    complex=1j, np_dtype=np.dtype("float32"), partial=functools.partial(doubled), cls=keras.layers.Dense, ufunc=np.sin,
    strings=np.array(["a"]), method=Kept(2).get_config, root=math.sqrt, single=np.float32,
)

def get_config(self):
    try:
        config = super(type(self), self).get_config()
    except NotImplementedError:
        config = {}
    return {**config, "value": self.value}

HAND = {base: made(type("Hand", (WithValue,), {}), base, get_config=get_config) for base in BASES}
"""
PLAIN = ["whole", "floating", "text", "flag", "nothing", "nan", "list", "dict", "float64", "string", "tuple", "named"]
PLAIN += ["keys", "number", "word"]
BACK = {
    "whole": 3,
    "floating": 0.1,
    "text": "a",
    "flag": True,
    "nothing": None,
    "list": [1, [2.5, "a"]],
    "dict": {"a": {"b": [1]}},
    "float64": 0.5,
    "string": "a",
    "tuple": [1, [2, 3]],
    "named": [1, 2],
    "keys": {"1": "a"},
    "number": 1,
    "word": "red",
    "float32": float(np.float32(0.1)),
    "int64": 3,
    "bool": True,
    "scalar": 1.5,
    "dtype": "float16",
    "shape": [None, 3],
}
RESTORED = ["array", "tensor", "bytes", "slice", "layer", "model", "initializer", "policy", "function", "builtin"]
RESTORED += ["kept", "layers", "by_name"]
REFUSED = [
    "color",
    "point",
    "set",
    "range",
    "path",
    "date",
    "complex",
    "np_dtype",
    "partial",
    "cls",
    "ufunc",
    "strings",
]
STUCK = ["method", "root", "single"]
READS = """
def plain(value):
    if isinstance(value, (list, tuple)): return [plain(one) for one in value]
    if isinstance(value, dict): return {key: plain(one) for key, one in value.items()}
    return value if type(value) in (int, float, bool, str, type(None)) else repr(type(value))

def equal(one, other):
    if isinstance(one, (np.ndarray, tf.Tensor)):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, keras.Model): return [layer.units for layer in other.layers] == [2]
    if isinstance(one, list): return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict): return set(one) == set(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, keras.layers.Dense): return (one.units, one.activation) == (other.units, other.activation)
    if hasattr(one, "get_config"): return type(one) is type(other) and one.get_config() == other.get_config()
    return one == other

def value_of(base, text):
    thing = keras.saving.deserialize_keras_object(json.loads(text))
    return thing.value

found = {}
for name, texts in TEXTS.items():
    for base, text in texts.items():
        value = value_of(base, text)
        back = keras.saving.deserialize_keras_object(value) if name in RESTORED else None
        kind = [isinstance(value, want) for want in (list, dict)]
        tracked = type(value).__name__.startswith("Tracked")
        found.setdefault(name, {})[base] = [
            plain(value), kind, tracked, name in RESTORED and bool(equal(VALUES[name], back))
        ]
print(json.dumps(found))
"""


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.proves(
    "The second column is a layer without `get_config`. The third is what your constructor gets from the file if "
    "`get_config` returns the value as it is, in any of the classes above:",
    "`int`, `float`, `str`, `bool`, `None`, `nan`, a list of these, a dict with strings as keys | Yes | The same",
    '`np.float64(0.5)`, `np.str_("a")` | Yes | `float`, `str`',
    "A tuple, a named tuple | Yes | A list",
    '`{1: "a"}` | Yes | `{"1": "a"}`',
    "A member of an `IntEnum`, or of an `Enum` that extends `str` | Yes | Its `int` or `str`",
    "`np.float32(0.1)`, `np.int64(3)`, `np.bool_(True)`, `np.array(1.5)` | Saving raises | `float`, `int`, "
    "`bool`, `float`",
    '`tf.float16`, `tf.TensorShape([None, 3])` | Saving raises | `"float16"`, `[None, 3]`',
    "An array or tensor of real numbers or booleans, UTF-8 `bytes`, a `slice` | Saving raises | A dict: "
    "`deserialize_keras_object`",
    "A layer, model, initializer, policy or registered function; an object with `get_config` and `from_config` | "
    "Saving raises | A dict: `deserialize_keras_object`",
    "A `lambda` | Saving raises | A dict that can't be loaded in safe mode",
    "A method, a built-in such as `math.sqrt`, a class without `get_config`, such as `np.float32` | Saving raises | "
    "A dict that can't be loaded",
    "An `Enum`, a dataclass, a `set`, `range`, `Path`, date, `complex`, `np.dtype` or `partial`; a class such as "
    "`Dense`, `np.sin`, an array of strings | Saving raises | Saving raises",
    "The attribute of a layer, model, metric or optimizer is a `TrackedList` or `TrackedDict` then.",
    "`serialize_keras_object` takes a list or a dict of layers too, and `deserialize_keras_object` gives it back.",
)
def test_each_kind_of_value_in_each_kind_of_object(process):
    exec(VALUES, families)
    values = families["VALUES"] | {"nameless": lambda x: 2 * x}  # its source has to be in a file
    automatic, by_hand = families["OWN"]["Layer"], families["HAND"]
    assert [*PLAIN, *list(BACK)[14:], *RESTORED, "nameless", *REFUSED, *STUCK] == list(values)
    texts: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        if name in PLAIN:
            texts.setdefault(name, {})["automatic"] = json.dumps(serialize(automatic(value)))
        else:
            with pytest.raises(NotImplementedError, match="non-serializable argument values"):
                serialize(automatic(value))
        for base, cls in by_hand.items():
            thing = cls(value, **families["NEEDS"].get(base, {}))
            if name in REFUSED:
                with pytest.raises((TypeError, AttributeError, ValueError)):
                    json.dumps(serialize(thing))
            elif name in STUCK:
                held = json.loads(json.dumps(serialize(thing)))["config"]["value"]
                with pytest.raises(TypeError, match="Expected 'config' to be a dict"):
                    deserialize(held)
            else:
                texts.setdefault(name, {})[base] = json.dumps(serialize(thing))
    found = told(process, FAMILIES, VALUES, f"TEXTS, RESTORED = {texts!r}, {RESTORED!r}", READS)
    tracks = {"automatic", "Layer", "Model", "Dense", "LSTM", "Metric", "Mean", "Optimizer", "SGD"}
    for name, bases in found.items():
        for base, (value, (is_list, is_dict), tracked, equal) in bases.items():
            if name in RESTORED:
                assert (is_list or is_dict, equal) == (True, True), (name, base)
            elif name == "nameless":
                assert value["class_name"] == "__lambda__"
            elif name == "nan":
                assert np.isnan(value)
            else:
                assert (value, type(value)) == (BACK[name], type(BACK[name])), (name, base)
            assert tracked == ((is_list or is_dict) and base in tracks), (name, base)
    with pytest.raises(ValueError, match="lambda"):
        deserialize(json.loads(texts["nameless"]["Layer"])["config"]["value"])

    def unregistered(x):
        return x

    with pytest.raises(TypeError, match="Could not locate function"):
        deserialize(serialize(unregistered))
    with pytest.raises(UnicodeDecodeError):
        serialize(by_hand["Layer"](b"\xff"))
    for value in (np.array([True]), np.float16([1.5]), np.array([np.inf])):
        np.testing.assert_array_equal(deserialize(json.loads(json.dumps(serialize(value)))), value)
    for value in (np.array([1j]), np.array([b"a"])):
        with pytest.raises((TypeError, ValueError)):
            json.dumps(serialize(value))


def test_the_kinds_of_value_in_a_file(process, tmp_path, monkeypatch):
    """`model.save` writes what was compared above."""
    exec(VALUES, families)
    for classes in ("OWN", "HAND"):
        monkeypatch.setattr(families[classes]["Layer"], "call", lambda self, inputs: inputs)
    paths = {}
    for name in ("tuple", "keys", "float32", "array", "function"):
        for kind, cls in (("automatic", families["OWN"]["Layer"]), ("by hand", families["HAND"]["Layer"])):
            if kind == "by hand" or name in PLAIN:
                model = of(keras.layers.Identity(), cls(families["VALUES"][name]))
                model.save(paths.setdefault((name, kind), str(tmp_path / f"{name}-{kind}.keras")))
    found = told(
        process,
        FAMILIES,
        VALUES,
        "for cls in (OWN['Layer'], HAND['Layer']): cls.call = lambda self, x: x",
        f"loaded = [keras.saving.load_model(path).layers[-1].value for path in {list(paths.values())!r}]",
        "print(json.dumps(loaded))",
    )
    for (name, _), value in zip(paths, found, strict=True):
        assert value == BACK[name] if name in BACK else value["class_name"] in ("__numpy__", "function")


@pytest.mark.proves(
    "For what can't be saved, put something plain into the config: `color.name`, `str(path)`, "
    "`dataclasses.asdict(options)`. The constructor or `from_config` makes the value of it.",
)
def test_something_plain_in_place_of_it():
    class Color(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Options:
        rate: float = 0.5

    plain = json.loads(json.dumps(serialize([Color.RED.name, str(Path("a/b")), dataclasses.asdict(Options(0.1))])))
    assert (Color[plain[0]], Path(plain[1]), Options(**plain[2])) == (Color.RED, Path("a/b"), Options(0.1))


# --- layers in layers -----------------------------------------------------------------------------------------------


@register("configs_test")
class Two(keras.layers.Layer):
    def __init__(self, left, right, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = left, right

    def build(self, input_shape):
        for layer in (self.left, self.right):
            if not layer.built:
                layer.build(input_shape)

    def call(self, inputs):
        return self.left(inputs) + self.right(inputs)

    def get_config(self):
        return {**super().get_config(), "left": serialize(self.left), "right": serialize(self.right)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "left": deserialize(config["left"]), "right": deserialize(config["right"])})


@register("configs_test")
class AsItIs(Residual):
    def get_config(self):
        return {**super().get_config(), "inner": self.inner}


@pytest.mark.proves(
    "With `load_model`, a shared layer stays one if `get_config` returns `self.inner` as it is. `from_config` raises "
    "`Could not parse config` then.",
    "Twice to one object | One layer | Two layers, silently: 4 weights in place of 2",
    "To two objects of a model | `expected 2 variables, but received 0` | Two layers, silently",
)
def test_a_layer_that_is_passed_twice(tmp_path, process):
    path, dense = tmp_path / "model.keras", keras.layers.Dense(4)
    model = of(Two(dense, dense))
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert (len(model.weights), len(loaded.weights)) == (2, 2)
    assert loaded.layers[0].left is loaded.layers[0].right
    outputs, weights, _ = process.call(loads, path)
    np.testing.assert_array_equal(outputs, model(X))
    assert weights == 2
    of_config = Two.from_config(model.layers[0].get_config())
    assert of_config.left is not of_config.right
    cloned, again = keras.models.clone_model(model), type(model).from_config(model.get_config())
    of_json = keras.models.model_from_json(model.to_json())
    assert (len(cloned.weights), len(again.weights), len(of_json.weights)) == (4, 4, 4)

    model = of(Residual(dense), Residual(dense))
    assert len(model.weights) == 2 + 2  # a scale each
    model.save(path)
    with pytest.raises(ValueError, match="expected 2 variables, but received 0"):
        keras.saving.load_model(path)
    raw = of(AsItIs(dense), AsItIs(dense))
    raw.save(path)
    outputs, weights, _ = process.call(loads, path)
    assert (len(raw.weights), weights) == (2 + 2, 2 + 2)
    np.testing.assert_array_equal(outputs, raw(X))
    for make in (keras.models.clone_model, lambda model: AsItIs.from_config(model.layers[0].get_config())):
        with pytest.raises(TypeError, match="Could not parse config"):
            make(raw)
    of_json = [keras.models.model_from_json(one.to_json()) for one in (model, raw)]
    for copy in (keras.models.clone_model(model), type(model).from_config(model.get_config()), *of_json):
        assert len(copy.weights) == 4 + 2


@register("configs_test")
class Block(keras.layers.Layer):
    def __init__(self, passes=(), **kwargs):
        super().__init__(**kwargs)
        self.passes = passes
        given = {name: getattr(self, {"dtype": "dtype_policy"}.get(name, name)) for name in passes}
        self.inner = keras.layers.Dense(4, **given)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)


def frozen_and_loaded(process, model: keras.Model, path: Path) -> list[int]:
    model.save(path)
    outputs, _, trainable = process.call(loads, path)
    np.testing.assert_allclose(outputs, model(X), rtol=1e-5, atol=1e-6)
    return [len(model.trainable_weights), trainable]


@pytest.mark.proves(
    "If a layer is frozen, the layers that its constructor or its `build` makes are loaded trainable, silently, unless "
    "it passes `trainable` on, as `LSTM` does. `trainable=False` is passed to the constructor, and reaches no layer "
    "that is made after that. So it is with Keras's own `MultiHeadAttention`:",
    "In a layer of your own, write `self.inner.trainable = self.trainable` behind `self.inner.build(...)`. "
    "A layer that is frozen inside, by `block.inner.trainable = False`, comes back trainable all the same, unless it "
    "is an argument, as in `Residual`.",
)
def test_frozen_layers_inside(tmp_path, process):
    page = shown(configs, "frozen_fails")
    assert page.printed.split("\n")[1:] == ["loaded: 8 trainable weights", "frozen again: 0"]
    path = tmp_path / "model.keras"
    for passes, expected in (((), 2), (("trainable",), 0)):
        block = Block(passes)
        model = of(block)
        block.trainable = False
        assert frozen_and_loaded(process, model, path) == [0, expected]
        if expected:
            loaded = keras.saving.load_model(path)
            before = loaded.get_weights()
            loaded.compile("sgd", "mse")
            loaded.fit(X, X, verbose=0)
            assert np.any(before[0] != loaded.get_weights()[0])
        block.trainable = True
        block.inner.trainable = False
        assert frozen_and_loaded(process, model, path) == [0, 2]

    for frozen, expected in (
        (keras.layers.LSTM(2), 0),
        (keras.layers.GRU(2), 0),
        (keras.layers.Bidirectional(keras.layers.LSTM(2)), 0),
        (keras.layers.ConvLSTM1D(2, 1), 3),
    ):
        shape = (3, 2, 2) if expected else (3, 2)
        model = keras.Sequential([keras.Input(shape), frozen])
        frozen.trainable = False
        model.save(path)
        found = [len(one.trainable_weights) for one in (model, keras.saving.load_model(path))]
        assert found == [0, expected]

    assert len(of(Block(trainable=False)).trainable_weights) == 2  # before there is a file
    assert not of(Block(("trainable",), trainable=False)).trainable_weights

    @register("configs_test")
    class Follows(Block):
        def __init__(self, kind="Dense", **kwargs):
            super().__init__(**kwargs)
            self.kind = kind
            made = {
                "Dense": lambda: keras.layers.Dense(4),
                "Sequential": lambda: keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(4)]),
                "MultiHeadAttention": lambda: keras.layers.MultiHeadAttention(1, 2),
                "argument": lambda: keras.layers.MultiHeadAttention(1, 2, trainable=self.trainable),
            }
            self.inner = made[kind]()

        def build(self, input_shape):
            self.inner.build(*[input_shape] * self.times())
            if self.kind != "argument":
                self.inner.trainable = self.trainable

        def call(self, inputs):
            return self.inner(*[inputs] * self.times())

        def times(self):
            return 2 if isinstance(self.inner, keras.layers.MultiHeadAttention) else 1

    blocks = [Follows(kind) for kind in ("Dense", "Sequential", "MultiHeadAttention", "argument")]
    model = keras.Sequential([keras.Input((3, 4)), *blocks])
    for block in blocks:
        block.trainable = False
    model.save(path)
    loaded = keras.saving.load_model(path)
    found = [sum(weight.trainable for weight in block.weights) for block in loaded.layers]
    assert found == [0, 0, 0, 8]  # an argument doesn't reach what `MultiHeadAttention` makes
    for block in loaded.layers:
        block.trainable = True
    assert len(loaded.trainable_weights) == len(model.weights)

    class MakesInBuild(Block):
        def build(self, input_shape):
            self.inner = keras.layers.Dense(4)
            self.inner.build(input_shape)

    @register("configs_test")
    class Whole(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(4)

        def call(self, inputs):
            return self.inner(inputs)

    register("configs_test")(MakesInBuild)
    for layer in (MakesInBuild(), Whole()):
        model = of(layer)
        layer.trainable = False
        model.save(path)
        loaded = keras.saving.load_model(path)
        assert (len(model.trainable_weights), len(loaded.trainable_weights)) == (0, 2)
    for layer in (keras.layers.TimeDistributed(keras.layers.Dense(4)), of(keras.layers.Dense(4))):  # as arguments
        model = keras.Sequential([keras.Input((4, 4) if hasattr(layer, "layer") else (4,)), layer])
        layer.trainable = False
        model.save(path)
        assert not keras.saving.load_model(path).trainable_weights

    own = residual()
    model = of(own)
    own.trainable = False
    assert frozen_and_loaded(process, model, path) == [0, 0]
    own.trainable = True
    own.inner.trainable = False
    assert frozen_and_loaded(process, model, path) == [1, 1]


def test_freezing_again_sets_nothing_where_it_is_set(tmp_path):
    """The comment in the block: `trainable` is `False` already, and setting it does nothing."""
    block = Block()
    model = of(block)
    block.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inner = loaded.layers[0]
    assert not inner.trainable
    for value, left in ((False, 2), (True, 2), (False, 0)):
        inner.trainable = value
        assert len(loaded.trainable_weights) == left


@pytest.mark.proves(
    "A layer that the constructor makes also has the dtype of the global policy, and not that of the file, "
    "unless you pass `dtype=self.dtype_policy`.",
)
def test_the_dtype_of_layers_inside(tmp_path, process):
    for passes, loaded_as in (((), "float32"), (("dtype",), "mixed_float16")):
        keras.config.set_dtype_policy("mixed_float16")
        model = of(Block(passes))
        model.save(tmp_path / "model.keras")
        keras.config.set_dtype_policy("float32")
        block = keras.saving.load_model(tmp_path / "model.keras").layers[0]
        assert (model.layers[0].inner.dtype_policy.name, block.dtype_policy.name) == ("mixed_float16", "mixed_float16")
        assert block.inner.dtype_policy.name == loaded_as
        assert process.call(loads, tmp_path / "model.keras")[0].dtype == ("float16" if passes else "float32")


# --- registration -----------------------------------------------------------------------------------------------------

TRIPLES = """
import json, keras, numpy as np
def triples(package, name=None):
    class Times(keras.layers.Layer):
        def call(self, inputs):
            return FACTOR * inputs
    return keras.saving.register_keras_serializable(package, name)(Times)
"""
READ = "print(float(keras.saving.load_model(PATH)(np.ones((1, 4)))[0, 0]))"


@pytest.mark.proves(
    "A file holds the registered name, here `guide>Residual`, which `keras.saving.get_registered_name` tells. "
    "The module isn't imported, so you can move a class to another one. Without a package it is `Custom>Name`. A "
    "second class under the same name replaces the first one, silently, and so does a notebook cell that is run again:",
)
def test_the_registered_name_is_what_counts(process, tmp_path):
    first = types.ModuleType("first_module")
    exec(TRIPLES.replace("FACTOR", "2"), vars(first))
    times = first.triples("configs_moved")
    path = str(tmp_path / "model.keras")
    of(times()).save(path)
    with zipfile.ZipFile(path) as file:
        held = json.loads(file.read("config.json"))["config"]["layers"][1]
    assert (held["registered_name"], held["module"]) == ("configs_moved>Times", "first_module")
    code = TRIPLES.replace("FACTOR", "2"), "triples('configs_moved')", READ.replace("PATH", repr(path))
    assert told(process, *code) == 2.0
    assert (
        told(process, "triples('configs_moved').call = lambda self, x: 7 * x", READ.replace("PATH", repr(path))) == 7.0
    )

    assert keras.saving.get_registered_name(Residual) == "guide>Residual"
    assert keras.saving.get_registered_object("guide>Residual") is Residual
    assert shown(configs, "twice_fails").printed == "saved: 2.0, loaded: 3.0"
    custom = register()(type("Plain", (Same,), {}))
    assert keras.saving.get_registered_name(custom) == "Custom>Plain"
    assert keras.saving.get_registered_name(Same) == "Same"


@pytest.mark.proves(
    "Give each library a package of its own. Inside a model, neither `custom_objects` nor `custom_object_scope` "
    "helps: the registered class comes first. A subclass isn't registered with its base.",
)
def test_which_class_a_file_loads_as(tmp_path):
    path = tmp_path / "model.keras"
    spaces = [dict(vars(types.ModuleType("cell"))) for _ in range(3)]
    for factor, space in enumerate(spaces, 2):
        exec(TRIPLES.replace("FACTOR", str(factor)), space)
    first = spaces[0]["triples"]("configs_first")
    model = of(first())
    model.save(path)
    other = spaces[1]["triples"]("configs_second")

    def loaded(**options) -> float:
        return float(keras.saving.load_model(path, **options)(np.ones((1, 4)))[0, 0])

    assert loaded() == 2.0  # of its own package
    for key in ("configs_first>Times", "Times"):
        assert loaded(custom_objects={key: other}) == 2.0
        with keras.saving.custom_object_scope({key: other}):
            assert loaded() == 2.0
    again = spaces[2]["triples"]("configs_first")
    assert loaded() == 4.0
    assert isinstance(keras.saving.load_model(path).layers[0], again)
    assert not isinstance(keras.saving.load_model(path).layers[0], first)
    model.save(path)  # the old class goes by that name still
    assert loaded() == 4.0
    extended = type("Extended", (again,), {})
    assert keras.saving.get_registered_name(extended) == "Extended"
    with keras.saving.custom_object_scope({"configs_first>Times": other}):  # not inside a model, it helps
        assert type(deserialize(serialize(again()))) is other


@pytest.mark.proves(
    "An activation, loss or metric function that isn't registered comes back as Keras's own, silently, if Keras has "
    "one of that name, such as `relu`.",
)
def test_a_function_named_as_one_of_keras(tmp_path):
    def relu(x):
        return 2 * x

    def mean_squared_error(y_true, y_pred):
        return 100 * ops.mean(ops.square(y_true - y_pred), axis=-1)

    def ones(shape, dtype=None):
        return 3 * ops.ones(shape, dtype)

    def l2(weights):
        return 3 * ops.sum(ops.square(weights))

    def non_neg(weights):
        return 3 * weights

    for options in ({"kernel_initializer": ones}, {"kernel_regularizer": l2}, {"kernel_constraint": non_neg}):
        of(keras.layers.Dense(1, **options)).save(tmp_path / "model.keras")
        with pytest.raises(TypeError, match="could not be deserialized"):
            keras.saving.load_model(tmp_path / "model.keras")

    model = of(keras.layers.Dense(1, activation=relu))
    model.compile("sgd", mean_squared_error, metrics=[mean_squared_error])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert model.layers[0].activation is relu
    assert loaded.layers[0].activation is keras.activations.relu
    assert loaded.loss is keras.losses.mean_squared_error
    error, of_metrics = loaded.evaluate(X, X[:, :1], verbose=0)
    np.testing.assert_allclose(error, np.mean((np.asarray(loaded(X)) - X[:, :1]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(error, of_metrics, rtol=1e-5)
    register("configs_test")(relu)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").layers[0].activation is relu


# --- a class that changed -------------------------------------------------------------------------------------------


def version(init: str, body: str, config: str = "", name: str = "Changing") -> str:
    """The source of a class, as it is at a time."""
    own = f"    def get_config(self):\n        return {{**super().get_config(), {config}}}\n" if config else ""
    return f"""
import json, keras, numpy as np
@keras.saving.register_keras_serializable("configs_changed")
class {name}(keras.layers.Layer):
    def __init__(self, {init}**kwargs):
        super().__init__(**kwargs)
        {body}
    def call(self, inputs):
        return self.number * inputs
{own}
"""


def as_it_was(source: str, name: str = "Changing") -> type:
    exec(source, space := {"__name__": "as_it_was"})
    return space[name]


HAND, AUTO = "'scale': self.scale", ""


@pytest.mark.proves(
    "An argument with a default is new | Loads, with the default | Choose a default that does what the class did",
    "A required argument is new | `missing 1 required` | Give it a default",
    "An argument was renamed or removed | `Unrecognized keyword arguments`; of a loss or metric, `unexpected keyword "
    "argument`; of an optimizer, `Argument(s) not recognized` | Translate it in `from_config`",
    "A default was changed | Keeps its value, if the config holds the argument. If not, has the new default, "
    "silently | Return each argument",
    "An argument has another type, as `(3, 3)` for `3` | Passes the old value | Convert it in `from_config`",
    "The class was renamed | `Could not locate class` | Keep a subclass under the old name",
)
@pytest.mark.parametrize("config", [HAND, AUTO], ids=["by hand", "recorded"])
def test_an_old_file(tmp_path, process, config):
    path = tmp_path / "old.keras"

    def number(source: str) -> float | str:
        """What the old file computes with ones, by the class as it is now, in a process that has no other."""
        return told(
            process,
            source,
            "try:",
            f"    told = float(keras.saving.load_model({str(path)!r})(np.ones((1, 4)))[0, 0])",
            "except Exception as error:",
            "    told = f'{type(error).__name__}: {error}'",
            "print(json.dumps(told))",
        )

    old = version("scale=2.0, ", "self.scale = self.number = scale", config)
    of(as_it_was(old)(3.0)).save(path)
    assert number(old) == 3.0
    assert number(version("scale=2.0, power=2, ", "self.number = scale ** power", config)) == 9.0
    for init, says in (
        ("power, scale=2.0, ", "missing 1 required positional argument: 'power'"),
        ("factor=2.0, ", "Unrecognized keyword arguments passed to"),
        ("", "Unrecognized keyword arguments passed to"),
    ):
        assert says in number(version(init, "pass"))
    translates = version("factor=2.0, ", "self.number = factor")
    translates += "Changing.from_config = classmethod(lambda cls, held: cls(factor=held['scale']))"
    assert number(translates) == 3.0
    assert number(version("scale=(2.0, 2.0), ", "self.number = scale if type(scale) is float else None")) == 3.0

    of(as_it_was(old)()).save(path)
    assert number(version("scale=5.0, ", "self.number = scale", config)) == 2.0
    forgets = version("scale=2.0, ", "self.number = scale", "'name': self.name")
    of(as_it_was(forgets)()).save(path)
    assert number(forgets) == 2.0
    assert number(forgets.replace("2.0", "5.0")) == 5.0
    renamed = version("scale=2.0, ", "self.number = scale", name="Renamed")
    del_old = "keras.saving.get_custom_objects().pop('configs_changed>Changing', None)"
    assert "Could not locate class 'Changing'" in number(f"{renamed}\n{del_old}")
    keeps = "@keras.saving.register_keras_serializable('configs_changed')\nclass Changing(Renamed): pass"
    assert number(f"{renamed}\n{keeps}") == 2.0


@pytest.mark.parametrize(
    ("bases", "says"),
    [
        (["Layer", "Model", "Dense", "LSTM"], "Unrecognized keyword arguments"),
        (["Loss", "MeanSquaredError", "Metric", "Mean"], "unexpected keyword argument 'gone'"),
        (["Optimizer", "SGD"], "Argument\\(s\\) not recognized: {'gone': 1}"),
    ],
    ids=["layers", "losses and metrics", "optimizers"],
)
def test_an_argument_that_is_gone(bases, says):
    for base in bases:
        held = serialize(families["OWN"][base](**families["NEEDS"].get(base, {})))
        held["config"]["gone"] = 1
        with pytest.raises((TypeError, ValueError), match=says):
            deserialize(held)


WEIGHED = """
import keras
class NAME(keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=input_shape[-1:], initializer="random_normal")
    def call(self, inputs):
        return self.scale * inputs
"""


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.proves(
    "`Amplify` stays as a subclass, because a Sequential or functional model saves the weights of a layer under the "
    "name of its class:",
    "Its package was renamed | `Could not locate class` | Register it under both: the upper one is written",
)
def test_the_weights_of_a_renamed_class(tmp_path):
    def space(name: str) -> dict[str, Any]:
        exec(WEIGHED.replace("NAME", name), found := {"__name__": "weighed"})
        return found

    was = space("Scales")
    register("weighed")(was["Scales"])
    inputs = keras.Input((4,))
    functional = keras.Model(inputs, was["Scales"]()(was["Scales"]()(inputs)))
    models = {"sequential": of(was["Scales"]()), "functional": functional}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")

    def loads_all() -> None:
        for name, model in models.items():
            loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
            np.testing.assert_array_equal(loaded(X), model(X))

    is_now = space("Renamed")
    register("weighed")(register("weighed", "Scales")(is_now["Renamed"]))
    for name in models:
        with pytest.raises(ValueError, match="expected 1 variables, but received 0"):
            keras.saving.load_model(tmp_path / f"{name}.keras")
    register("weighed")(type("Scales", (is_now["Renamed"],), {}))
    loads_all()

    moved = space("Scales")["Scales"]  # to another package
    del keras.saving.get_custom_objects()["weighed>Scales"]
    register("moved")(moved)
    with pytest.raises(TypeError, match="Could not locate class 'Scales'"):
        keras.saving.load_model(tmp_path / "sequential.keras")
    register("moved")(register("weighed")(moved))
    assert keras.saving.get_registered_name(moved) == "moved>Scales"
    loads_all()


@pytest.mark.proves("A renamed attribute may not find its weights.")
def test_a_renamed_attribute(process, tmp_path):
    path = str(tmp_path / "old.keras")
    of(Block()).save(path)
    source = inspect.getsource(Block)
    loads = f"""
from keras import ops
register = keras.saving.register_keras_serializable
try:
    exec(SOURCE)
    told = len(keras.saving.load_model({path!r}).weights)
except ValueError as error:
    told = str(error)
print(json.dumps(told))
"""
    names = "import json, keras\n"
    assert told(process, names, loads.replace("SOURCE", repr(source))) == 2
    renamed = source.replace("inner", "core")
    assert "expected 2 variables, but received 0" in told(process, names, loads.replace("SOURCE", repr(renamed)))


OLD_GAIN = """
import json, keras, numpy as np
@keras.saving.register_keras_serializable("guide", name="Amplify")
class Amplify(keras.layers.Layer):
    def __init__(self, gain=1.0, **kwargs):
        super().__init__(**kwargs)
        self.gain = gain
    def call(self, inputs):
        return self.gain * inputs
    def get_config(self):
        return {**super().get_config(), "gain": self.gain}
"""


@pytest.mark.proves(
    "`Rescale` was `Amplify`, and its `scale` was `gain`. A config without a `version` is of that time.",
)
def test_an_old_file_under_a_new_name(tmp_path, process):
    path = tmp_path / "old.keras"
    exec(OLD_GAIN, space := {"__name__": "old"})
    model = of(space["Amplify"](3.0, name="mine", dtype="float64"))
    model.save(path)
    keras.saving.get_custom_objects()["guide>Amplify"] = Amplify
    found = process.call(contract.load_and_call, path, configs.__name__, X)
    np.testing.assert_allclose(found, 3 * X)
    assert found.dtype == "float64"
    layer = keras.saving.load_model(path).layers[0]
    assert (type(layer), layer.name, layer.scale, layer.shift) == (Amplify, "mine", 3.0, 0.0)
    assert round_trip(layer).scale == 3.0  # of the version that it has now

    held = {"name": "gain", "gain": 3.0}
    Rescale.from_config(held)
    assert held == {"name": "gain", "gain": 3.0}
    of(Rescale(3.0, 0.5)).save(path)
    found = process.call(contract.load_and_call, path, configs.__name__, X)
    np.testing.assert_allclose(found, 3 * X + 0.5, rtol=1e-6)
    assert serialize(Rescale())["registered_name"] == "guide>Rescale"
    assert (Rescale().scale, Rescale().shift) == (1.0, 0.0)
    assert shown(configs, "old_file").printed.splitlines() == ["Amplify: 3.0", "is an Rescale: True"]


@pytest.mark.proves(
    "It doesn't find one that was registered under another `name=`: pass that in `custom_objects`, under the name that "
    "stands behind `def`."
)
def test_a_function_of_keras_3_6_under_another_name(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(lzma.decompress(record_keras_3_6.RECORD.read_bytes()))
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("metadata.json"))["keras_version"] == "3.6.0"
        held = json.loads(file.read("config.json"))["compile_config"]
    assert [one["config"] for one in (held["loss"], *held["metrics"])] == ["error_of_3_6", "gap_of_3_6"]
    error, gap = record_keras_3_6.error_of_3_6, record_keras_3_6.gap_of_3_6
    register("of_3_6")(error)
    register("of_3_6", "another_name")(gap)
    for objects in (None, {"another_name": gap}, {"of_3_6>another_name": gap}):
        with pytest.raises(TypeError, match="Could not locate function 'gap_of_3_6'"):
            keras.saving.load_model(path, custom_objects=objects)
    loaded = keras.saving.load_model(path, custom_objects={"gap_of_3_6": gap})
    assert loaded.loss is error
    apart = np.mean(np.abs(X.sum(axis=1, keepdims=True) - 1))
    ones = np.ones((len(X), 1), "float32")
    np.testing.assert_allclose(loaded.evaluate(X, ones, verbose=0), [3 * apart, 5 * apart], rtol=1e-5)


@pytest.mark.proves(
    "A file of Keras 3.6 with a registered loss function holds its name without the package. Keras 3.7 doesn't "
    "find it, `Could not locate function`. Keras 3.15 takes the first registered function of that name, of "
    "whichever package.",
)
def test_a_file_of_keras_3_6(tmp_path):
    """Its form was read from a file that 3.6.0 wrote; 3.7.0 doesn't load that, and 3.13.2 and 3.15.1 do."""

    def gap(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    def other(y_true, y_pred):
        return 7 * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    ours = register("configs_gap", "gap")(gap)
    model = trained(ours, tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                held = json.loads(content)
                assert held["compile_config"]["loss"]["config"] == "configs_gap>gap"
                loss = {"module": "builtins", "class_name": "function", "config": "gap", "registered_name": "function"}
                held["compile_config"]["loss"] = loss
                content = json.dumps(held).encode()
            old.writestr(name, content)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    assert loaded.loss is ours
    expected = model.evaluate(X, X[:, :1], verbose=0)
    assert loaded.evaluate(X, X[:, :1], verbose=0) == pytest.approx(expected)
    del keras.saving.get_custom_objects()["configs_gap>gap"]
    register("configs_other", "gap")(other)
    register("configs_gap", "gap")(gap)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    assert loaded.evaluate(X, X[:, :1], verbose=0) == pytest.approx(7 * expected)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`json.dumps(layer.get_config())` raises for an array, a layer or `np.float32(0.1)`, which `model.save` "
    "writes. `serialize_keras_object` makes JSON of them, and so does `model.to_json()`. "
    "`keras.models.model_from_json` makes a model of that text with new weights, and compiles it if the first "
    "one was compiled.",
)
def test_json(tmp_path):
    exec(VALUES, families)

    @register("configs_test")
    class Holds(Same):
        def __init__(self, value=None, **kwargs):
            super().__init__(**kwargs)
            self.value = value

        def build(self, input_shape):
            if isinstance(self.value, keras.layers.Layer):
                self.value.build(input_shape)

        def get_config(self):
            return {**super().get_config(), "value": self.value}

    for name in ("array", "layer", "float32"):
        model = of(Holds(families["VALUES"][name]))
        with pytest.raises(TypeError, match="is not JSON serializable"):
            json.dumps(model.layers[0].get_config())
        model.save(tmp_path / "model.keras")
        value = keras.saving.load_model(tmp_path / "model.keras").layers[0].value
        of_json = keras.models.model_from_json(model.to_json()).layers[0].value
        held = json.loads(json.dumps(serialize(model.layers[0])))["config"]["value"]
        if name == "float32":
            assert value == of_json == held == float(np.float32(0.1))
        else:
            assert value["class_name"] == of_json["class_name"] == held["class_name"]
    for compiled in (True, False):
        model = of(residual())
        if compiled:
            model.compile("adam", "mse")
        again = keras.models.model_from_json(model.to_json())
        assert again.compiled == compiled
        assert np.abs(again(X) - model(X)).max() > 0.01
        again.set_weights(model.get_weights())
        np.testing.assert_allclose(again(X), model(X), rtol=1e-6)


@pytest.mark.proves(
    "It finds what the loss above forgets:",
    "It sees configs, and no numbers: not the default that is recorded of a model without `get_config`, an "
    "argument that the constructor ignores, a value that changed its type on the way, a frozen or shared layer, or "
    "a class that another program doesn't import. It names what a base class leaves out, too: the `dtype` of a loss "
    "without a constructor of its own, an `activity_regularizer=None`.",
)
def test_what_round_trip_sees():
    assert shown(configs, "trips").printed.split() == ["Residual", "ScaledError", "Rescale"]
    assert shown(configs, "forgets_fails", "trip_fails").printed.endswith("not in the config: factor")
    again = round_trip(residual(dtype="mixed_float16", name="mine"))
    assert (again.name, again.dtype_policy.name, again.inner.units) == ("mine", "mixed_float16", 4)

    for base, cls in families["OWN"].items():
        thing = cls(value=5.0, **families["NEEDS"].get(base, {}))
        if base in ("Regularizer", "LearningRateSchedule"):
            with pytest.raises(NotImplementedError):
                round_trip(thing)
        elif base not in ("Layer", "Model"):
            with pytest.raises(AssertionError, match="not in the config: value"):
                round_trip(thing)
    assert round_trip(families["OWN"]["Model"](value=5.0)).value == 1.0

    @register("configs_test")
    class Ignores(Same):
        def __init__(self, value=1.0, **kwargs):
            super().__init__(**kwargs)
            self.value = 1.0

        def get_config(self):
            return {**super().get_config(), "value": self.value}

    assert round_trip(Ignores(5.0)).value == 1.0
    assert round_trip(families["OWN"]["Layer"]((1, 2))).value == [1, 2]
    frozen = of(Block())
    frozen.layers[0].trainable = False
    again = round_trip(frozen.layers[0])
    assert again.inner.trainable
    plain = register("configs_test")(type("PlainLoss", (keras.losses.Loss,), {"call": lambda self, y, p: p}))
    with pytest.raises(AssertionError, match=r"not in the config: dtype$"):
        round_trip(plain())
    dense = keras.layers.Dense(4)
    again = round_trip(Two(dense, dense))
    assert again.left is not again.right

    @register("configs_test")
    class Regularized(Same):
        def __init__(self, activity_regularizer=None, **kwargs):
            super().__init__(activity_regularizer=activity_regularizer, **kwargs)

    assert round_trip(Regularized("l2")).activity_regularizer is not None
    with pytest.raises(AssertionError, match=r"not in the config: activity_regularizer$"):
        round_trip(Regularized())
    round_trip(register("configs_test")(type("NoConstructor", (keras.Model,), {"call": lambda self, x: x}))())
