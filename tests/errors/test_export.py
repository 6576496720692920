"""`docs/errors/export.md`: every claim that the page makes, proved on the code that it shows."""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import ops
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, InvalidGraph

from tests import contract
from tests.shown import shown

MODULE = "snippets.errors.export"
X = np.random.default_rng(3).normal(size=(6, 3)).astype("float32")


@cache
def pricer_class() -> type[keras.Model]:
    return shown(MODULE, "export_fails")["Pricer"]


def pricer() -> keras.Model:
    keras.saving.get_custom_objects()[keras.saving.get_registered_name(pricer_class())] = pricer_class()
    return pricer_class()()


def data():
    return X, X[:, :1]


MODELS = {"Pricer": contract.Model(pricer, data, {"optimizer": "adam", "loss": "mse"})}
NOT_IN_CONTRACT = {"Pricer of export_fails": "it is right: it is exported too early"}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model(case, check):
    check(case)


def load_and_call(path: Path) -> np.ndarray:
    """Runs in a new process: the page's section registers the class."""
    shown(MODULE, "export_fails")
    return np.asarray(keras.saving.load_model(path)(X))


def test_it_reloads_in_a_new_process_as_it_was_trained(tmp_path, fresh_process):
    model, path = pricer(), tmp_path / "model.keras"
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    model.save(path)
    contract.assert_same(fresh_process.submit(load_and_call, path).result(), np.asarray(model(X)))


NEVER, UNBUILT = "The model provided has never called", "The model provided has not yet been built"
SPEC = [keras.InputSpec(shape=(None, 3), dtype="float32")]


def doubling(name: str = "table") -> keras.Model:
    inputs = keras.Input((3,), name=name)
    return keras.Model(inputs, 2.0 * inputs)


@pytest.mark.proves(
    "`export` traces the model with the shapes of its calls.",
    "A subclassed model that wasn't called has none.",
    "So has one that `load_model` returns: it has its weights, and no call.",
    "Call the model on a batch or on a `keras.Input`, then export it.",
    "With an `input_signature`, a loaded model needs no call.",
)
def test_a_subclassed_model_is_called_before_it_is_exported(tmp_path):
    folder, path, x = tmp_path / "exported", tmp_path / "model.keras", np.ones((2, 3), "float32")
    model = pricer()
    with pytest.raises(ValueError, match=UNBUILT):
        model.export(folder, verbose=False)
    with pytest.warns(UserWarning, match=r"`build\(\)` was called"):
        model.build((None, 3))
    with pytest.raises(ValueError, match=NEVER):
        model.export(folder, verbose=False)
    expected = model(x)
    model.save(path)

    uncalled = keras.saving.load_model(path)
    assert np.allclose(uncalled.weights[0], model.weights[0])
    with pytest.raises(ValueError, match=NEVER):
        uncalled.export(folder, verbose=False)
    uncalled.export(folder, verbose=False, input_signature=SPEC)
    exported = tf.saved_model.load(folder)
    assert np.allclose(exported.serve(x), expected)
    keras.models.clone_model(doubling()).export(folder, verbose=False)  # it has the shapes of its `Input`
    for call in (
        lambda model: model(x[:1]),
        lambda model: model(keras.Input((3,))),
        lambda model: model.predict(x, verbose=0),
    ):
        again = keras.saving.load_model(path)
        call(again)
        again.export(folder, verbose=False)
        exported = tf.saved_model.load(folder)
        assert np.allclose(exported.serve(x), expected)
        with pytest.raises(Exception, match=r"signature|[Bb]inding"):
            exported.serve(np.ones((2, 4), "float32"))  # the columns are those of the call, and rows may be any number


@pytest.mark.proves(
    "`input_signature must be either a tuple or a list` | One spec, or a dict | `[spec]`",
    "`The `shape` and `dtype` must be provided` | `InputSpec` without one of them | Give both",
    "`Unsupported x=` | A shape or an array in the `input_signature` | `keras.InputSpec`",
    "`Got non-flat/non-unique argument names` | An `Input` whose name has a space, a `:` or an `ö`, or begins with `_` "
    "| Rename it",
    "`Got a non-Tensor value` | `call` returns `None`, or a dict in a dict | Return a flat dict of tensors",
    "`has never been called` | A `tf.function` in `add_endpoint` | Give the signature",
    "`is already taken` | Two endpoints of a name | Rename one",
    '`Unrecognized format` | `format="tf"`, `format="h5"` | Leave it out',
    "`is neither an attribute of the reloaded SavedModel` | Another `call_endpoint` in `TFSMLayer` | One that the "
    "message lists",
)
def test_other_messages_of_export(tmp_path):
    folder, x, model = tmp_path / "exported", np.ones((2, 3), "float32"), doubling()
    for wrong, message in (
        (SPEC[0], "input_signature must be either a tuple or a list"),
        ({"table": SPEC[0]}, "input_signature must be either a tuple or a list"),
        ([keras.InputSpec(shape=(None, 3))], "The `shape` and `dtype` must be provided"),
        ([keras.InputSpec(ndim=2, dtype="float32")], "The `shape` and `dtype` must be provided"),
        ([(None, 3)], "Unsupported x="),
        ([x], "Unsupported x="),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            model.export(folder, verbose=False, input_signature=wrong)
    for name in "my input", "a:b", "größe", "_x":
        with pytest.raises(ValueError, match="Got non-flat/non-unique argument names"):
            doubling(name).export(folder, verbose=False)
    doubling("my_input").export(folder, verbose=False)
    for returned in (
        lambda self, x: None,
        lambda self, x: {"a": {"b": x + 1}},
        lambda self, x: {"a": x + 1, "b": None},
    ):
        model = type("Returns", (keras.Model,), {"call": returned})()
        model(x)
        with pytest.raises(ValueError, match="Got a non-Tensor value"):
            model.export(folder, verbose=False)
    archive = keras.export.ExportArchive()
    with pytest.raises(ValueError, match="has never been called"):
        archive.add_endpoint("one", tf.function(lambda x: x))
    archive.add_endpoint("one", tf.function(lambda x: x), SPEC)
    with pytest.raises(ValueError, match="is already taken"):
        archive.add_endpoint("one", lambda x: x, SPEC)
    for form in "tf", "h5":
        with pytest.raises(ValueError, match="Unrecognized format"):
            doubling().export(folder, format=form)
    doubling().export(folder, verbose=False)
    with pytest.raises(ValueError, match="is neither an attribute of the reloaded SavedModel") as raised:
        keras.layers.TFSMLayer(folder, call_endpoint="predict")
    assert "serving_default" in str(raised.value)


@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
@pytest.mark.proves(
    'The same | `format="tflite"`, or Keras before 3.13 | `format="litert"`',
    '`has never called`, of a functional model | `format="onnx"` | Call the model once',
    "`Select TensorFlow op(s), included in the given model` | An operation that LiteRT doesn't have: its name follows "
    "`Flex` | Write it otherwise",
    "`Could not translate MLIR to FlatBuffer` | One that Flex doesn't have either, or builtins only | The same",
    "`No Op registered for Erfc` | One that tf2onnx doesn't convert, `Unsupported ops` at the export | The same",
    "`XNNPack delegate failed to reshape` | Another batch or width than the file takes | Leave the batch open",
    "`Cannot set tensor: Got value of type FLOAT64`, `Unexpected input data type` | An array of another dtype | "
    '`x.astype("float32")`',
    "`Cannot set tensor: Dimension mismatch` | `set_tensor` with a batch that isn't 1 | The signature runner",
    "`Type parameter (T) of Optype` | `bfloat16` in ONNX | A model in `float32`",
    "`requires the filepath to end with '.tflite'` | Another ending | `.tflite`",
    "`Unknown converter attribute` | An argument that the converter doesn't have | Its spelling",
)
def test_messages_of_litert_and_onnx(tmp_path, caplog):
    x, litert, onnx = np.ones((5, 4), "float32"), tmp_path / "model.tflite", str(tmp_path / "model.onnx")
    onnxruntime.set_default_logger_severity(4)

    def computes(function):
        inputs = keras.Input((4,), name="x")
        return keras.Model(inputs, {"y": keras.layers.Lambda(function)(keras.layers.Dense(4)(inputs))})

    def signature(**options):
        model.export(litert, format="litert", verbose=False, **options)
        return Interpreter(str(litert)).get_signature_runner()

    def session():
        model.export(onnx, format="onnx", verbose=False)
        return onnxruntime.InferenceSession(onnx)

    model = computes(ops.tanh)
    with pytest.raises(ValueError, match="Unrecognized format=tflite"):
        model.export(litert, format="tflite")
    with pytest.raises(ValueError, match=r"requires the filepath to end with '\.tflite'"):
        model.export(tmp_path / "model.lite", format="litert")
    with pytest.raises(ValueError, match=NEVER):
        session()
    with pytest.raises(ValueError, match="Unknown converter attribute 'optimisations'"):
        signature(optimisations=[])
    expected, run, ready = model(x)["y"], signature(), session()
    interpreter = Interpreter(str(litert))
    interpreter.allocate_tensors()
    with pytest.raises(ValueError, match="Cannot set tensor: Dimension mismatch"):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    with pytest.raises(ValueError, match="Cannot set tensor: Got value of type FLOAT64"):
        run(x=x.astype("float64"))
    with pytest.raises(InvalidArgument, match="Unexpected input data type"):
        ready.run(None, {"x": x.astype("float64")})
    with pytest.raises(RuntimeError, match="XNNPack delegate failed to reshape"):
        run(x=x[:, :3])
    steps = keras.Input((6, 4), name="x")
    fixed, lstm = [keras.InputSpec(shape=(1, 6, 4), dtype="float32", name="x")], keras.layers.LSTM(3)
    keras.Model(steps, lstm(steps)).export(litert, format="litert", verbose=False, input_signature=fixed)
    with pytest.raises(RuntimeError, match="XNNPack delegate failed to reshape"):
        Interpreter(str(litert)).get_signature_runner()(x=np.ones((5, 6, 4), "float32"))
    for found in (run(x=x)["y"], ready.run(None, {"x": x})[0]):
        assert np.allclose(found, expected, atol=1e-6)

    model = computes(lambda x: ops.erf(x) + ops.gelu(x, approximate=False))
    model(x)
    with pytest.raises(RuntimeError, match=r"Select TensorFlow op\(s\), included in the given model(.|\n)*FlexErf"):
        signature()(x=x)
    with pytest.raises(Exception, match="Could not translate MLIR to FlatBuffer"):
        signature(target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]})
    with pytest.raises(InvalidGraph, match="No Op registered for Erfc"):
        session()
    assert "Unsupported ops: Counter({'Erfc': 1})" in caplog.text

    model = computes(ops.arcsin)
    with pytest.raises(Exception, match="Could not translate MLIR to FlatBuffer"):
        signature()
    model = computes(lambda x: ops.cast(ops.cast(x, "bfloat16") * 2, "float32"))
    model(x)
    with pytest.raises(Exception, match=r"Type parameter \(T\) of Optype"):
        session()


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.proves(
    "`does not have a `quantize` method implemented`, a warning | The layer stays float. `InputLayer` and `ReLU` have "
    "no kernel, and give it too | List what stays float",
    "`Cannot quantize a layer that isn't yet built`, `Cannot enable lora on a layer that isn't yet built` | There are "
    "no weights yet | Call the model once",
    "`is already quantized with dtype_policy` | It was quantized before, if only in part, as by a `quantize` that "
    "raised; or it was loaded from a file of a quantized model | Quantize the float model, or leave these layers out "
    "by `filters`",
    "`maximum recursion depth exceeded` in `quantize` | A `keras.Model` in it has weights and holds no layer | Extend "
    "`Layer` instead",
    "`doesn't work well with compute_dtype='float16'` | The policy of a layer is `float16`, or `mixed_float16`, which "
    "the message "
    "recommends | Use `mixed_bfloat16`",
    "`lora is already enabled` | It was enabled before, or the file of its model says so | Train the matrices that it "
    "has",
)
def test_messages_of_quantize_and_lora(tmp_path):
    path = tmp_path / "model.keras"

    def model(**options):
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, **options)])

    with pytest.warns(UserWarning, match="does not have a `quantize` method implemented") as told:
        keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]).quantize("int8")
    assert [str(one.message).split()[1] for one in told] == ["InputLayer", "ReLU"]
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="Cannot quantize a layer that isn't yet built"):
        unbuilt.quantize("int8")
    with pytest.raises(ValueError, match="Cannot enable lora on a layer that isn't yet built"):
        unbuilt.layers[0].enable_lora(2)
    unbuilt(X)
    unbuilt.layers[0].enable_lora(2)
    unbuilt.save(path)
    for one in (unbuilt, keras.saving.load_model(path)):
        with pytest.raises(ValueError, match="lora is already enabled"):
            one.layers[0].enable_lora(2)
    with warnings.catch_warnings(action="ignore"):
        unbuilt.quantize("int8")
        unbuilt.save(path)
        for one in (unbuilt, keras.saving.load_model(path)):
            with pytest.raises(ValueError, match="is already quantized with dtype_policy"):
                one.quantize("int8")
        for policy in ("float16", "mixed_float16"):
            with pytest.raises(ValueError, match=r"well with compute_dtype='float16'.*or 'mixed_float16' before"):
                model(dtype=policy).quantize("int8")
        model(dtype="mixed_bfloat16").quantize("int8")
        dense = [keras.layers.Dense(2, name=name) for name in ("first", "last")]
        halfway = keras.layers.ReLU(dtype="float16")
        part = keras.Sequential([keras.Input((3,)), dense[0], halfway, dense[1]])
        for message in ("well with compute_dtype='float16'", "'first' is already quantized with dtype_policy"):
            with pytest.raises(ValueError, match=message):
                part.quantize("int8")
        part.quantize("int8", filters="last")
        assert [one.quantization_mode for one in dense] == ["int8", "int8"]
        for cls in (keras.Model, keras.layers.Layer):
            methods = {
                "build": lambda self, shape: setattr(self, "kernel", self.add_weight(shape=(shape[-1], 2))),
                "call": lambda self, inputs: keras.ops.matmul(inputs, self.kernel),
            }
            inner = type("OfWeights", (cls,), methods)()
            inputs = keras.Input((3,))
            whole = keras.Model(inputs, inner(inputs))
            if cls is keras.Model:
                with pytest.raises(RecursionError, match="maximum recursion depth exceeded"):
                    whole.quantize("int8")
            else:
                whole.quantize("int8")
