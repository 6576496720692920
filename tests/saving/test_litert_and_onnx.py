"""`docs/saving/litert_and_onnx.md`: every claim that the page makes, proved by the interpreters themselves."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops, tree
from keras.src.export.tf2onnx_lib import patch_tf2onnx
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph
from tensorflow.lite.python.convert_phase import ConverterError

from snippets.saving import litert_and_onnx
from snippets.saving.litert_and_onnx import Prototypes, run_file
from tests import contract
from tests.shown import shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),
    pytest.mark.usefixtures("_in_an_empty_folder"),
]
LAYERS = {"Prototypes": contract.Layer(lambda **kw: Prototypes(3, **kw), inputs=[(7, 4)])}
RUNS = "runs"


@pytest.fixture
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnxruntime.set_default_logger_severity(4)


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


# --- helpers ----------------------------------------------------------------------------------------------------------


class Calls(layers.Layer):
    """A layer of the reader's own: what it makes is built with it, and `function` is its `call`."""

    def __init__(self, function: Callable, *inner: layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.function, self.inner = function, list(inner)

    def call(self, inputs, noise=None):
        more = [] if noise is None else [noise]
        return self.function(inputs, *more, *self.inner)


class Subclassed(keras.Model):
    def __init__(self, function: Callable):
        super().__init__()
        self.function, self.head = function, layers.Dense(1)

    def call(self, inputs):
        return self.function(inputs, self.head)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def of(function: Callable, x: np.ndarray, *inner: layers.Layer, unknown: bool = False, **kwargs) -> keras.Model:
    """A functional model of one such layer, with the output `y`; with `unknown`, of any length of its second axis."""
    shape = (None, *x.shape[2:]) if unknown else x.shape[1:]
    dtype = "string" if x.dtype.kind in "OU" else x.dtype.name
    inputs = keras.Input(shape, dtype=dtype, name="x")
    outputs = Calls(function, *inner, **kwargs)(inputs)
    return keras.Model(inputs, outputs if isinstance(outputs, dict) else {"y": outputs})


def write(model: keras.Model, kind: str, **kwargs) -> str:
    path = {"litert": "model.tflite", "onnx": "model.onnx"}[kind]
    Path(path).unlink(missing_ok=True)
    model.export(path, format=kind, verbose=False, **kwargs)
    return path


def close(one: Any, other: Any, within: float = 1e-5) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    return np.allclose(one.astype("float64"), other.astype("float64"), rtol=within, atol=within, equal_nan=True)


STOPS = {
    "Select TensorFlow op(s), included in the given model": "Flex",
    "No Op registered for": "Load raises",
    "Type parameter (T) of Optype": "Load raises",
    "Invalid tensor data type 0": "Load raises",
    "Could not translate MLIR to FlatBuffer": "Export raises",
}


def fate(model: keras.Model, kind: str, x: np.ndarray) -> str:
    """`runs` and is equal at batches of 1, 2 and 5, or where it stops."""
    model(tf.constant(x))
    try:
        path = write(model, kind)
        found = {rows: run_file(path, x=x[:rows]) for rows in (1, 2, 5)}
    except (RuntimeError, ConverterError, Fail, InvalidArgument, InvalidGraph) as error:
        for text, stop in STOPS.items():
            if text in str(error):
                return stop
        raise
    for rows, outputs in found.items():
        expected = model(tf.constant(x[:rows]))
        assert sorted(outputs) == sorted(expected)
        for name, value in outputs.items():
            assert close(value, expected[name]), f"{kind} computes something else for {name} with {rows} rows"
    return RUNS


def together(functions: dict[str, Callable]) -> Callable:
    return lambda x, *inner: {name: function(x, *inner) for name, function in functions.items()}


def all_run(functions: dict[str, Callable], x: np.ndarray, kinds: Iterable[str] = ("litert", "onnx")) -> None:
    for kind in kinds:
        assert fate(of(together(functions), x), kind, x) == RUNS


def each(functions: dict[str, Callable], x: np.ndarray, litert: str, onnx: str) -> None:
    """Those that run are tried in one model, those that don't one by one."""
    for kind, expected in (("litert", litert), ("onnx", onnx)):
        if expected == RUNS:
            all_run(functions, x, [kind])
        else:
            found = {name: fate(of(function, x), kind, x) for name, function in functions.items()}
            assert found == dict.fromkeys(functions, expected)


def values(function: Callable, x: np.ndarray, *inner, kinds=("litert", "onnx"), **kwargs) -> list[np.ndarray]:
    """What the model computes, and what each file does."""
    model = of(function, x, *inner, **kwargs)
    expected = ops.convert_to_numpy(model(x)["y"])
    return [expected, *(run_file(write(model, kind), x=x)["y"] for kind in kinds)]


# --- the programs -----------------------------------------------------------------------------------------------------

ALONE = """
import sys
sys.modules["keras"] = sys.modules["tensorflow"] = None
import numpy as np, onnxruntime
from ai_edge_litert.interpreter import Interpreter
x = np.load("x.npy")
run = Interpreter("model.tflite").get_signature_runner()
session = onnxruntime.InferenceSession("model.onnx")
for rows in (1, 5):
    found = run(table=x[:rows])["price"], session.run(["price"], {"table": x[:rows]})[0]
    np.save(f"{rows}.npy", np.stack(found))
assert not any(name.startswith(("snippets", "keras.", "tensorflow.")) for name in sys.modules)
"""


@pytest.mark.proves(
    "`model.export` writes what `call` computes to one file, which LiteRT (formerly TensorFlow Lite) or ONNX Runtime "
    "runs without TensorFlow, Keras or your classes.",
    "The signature runner takes a batch of any size. With `set_tensor`, the batch is 1 until `resize_tensor_input` and "
    "`allocate_tensors`: `Dimension mismatch`.",
    "`run_file` runs either file.",
)
def test_the_programs(tmp_path):
    page = shown(litert_and_onnx, "program", "onnx")
    lines = page.printed.splitlines()
    assert [line for line in lines if "difference" in line] == [
        f"{name}, {rows} rows: largest difference 0.000000" for name in ("LiteRT", "ONNX") for rows in (1, 5)
    ]
    model, x = page["model"], normal(5, 5)
    for kind in ("litert", "onnx"):
        path = write(model, kind)
        assert Path(path).is_file()
        for rows in (1, 5, 3, 64):
            many = np.resize(x, (rows, 5))
            assert close(run_file(Path(path), table=many)["price"], model(many)["price"], 1e-6)

    np.save("x.npy", x)
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for rows in (1, 5):
        for found in np.load(f"{rows}.npy"):
            assert close(found, model(x[:rows])["price"], 1e-6)

    interpreter = Interpreter("model.tflite")
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    with pytest.raises(ValueError, match="Cannot set tensor: Dimension mismatch"):
        interpreter.set_tensor(detail["index"], x)
    interpreter.resize_tensor_input(detail["index"], (5, 5))
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    (detail,) = interpreter.get_output_details()
    assert close(interpreter.get_tensor(detail["index"]), model(x)["price"], 1e-6)


@pytest.mark.proves(
    "The warning that is filtered is of tf2onnx 1.17 with NumPy 2:",
    "Call the model once before, one that was loaded too: otherwise a `Sequential` or functional model raises `has "
    "never called`, which LiteRT doesn't.",
)
def test_before_the_export():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        had, _ = vars(np).pop("object", None), patch_tf2onnx.cache_clear()
        with pytest.raises(FutureWarning, match=r"In the future `np\.object`"):
            patch_tf2onnx()
        warnings.filterwarnings("ignore", "In the future `np.object`")
        patch_tf2onnx()
    assert had in (None, object)

    x = normal(5, 4)
    inputs = keras.Input((4,), name="x")
    for model in (keras.Sequential([inputs, Prototypes(3)]), keras.Model(inputs, Prototypes(3)(inputs))):
        with pytest.raises(ValueError, match="has never called"):
            write(model, "onnx")
        (found,) = run_file(write(model, "litert"), x=x).values()
        assert close(found, model(x))
        (found,) = run_file(write(model, "onnx"), x=x).values()
        assert close(found, model(x))
    model.save("called.keras")
    with pytest.raises(ValueError, match="has never called"):
        write(keras.saving.load_model("called.keras"), "onnx")


# --- silent -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`//` or `%`, where an integer is negative | Equal | Rounds to zero: `-7 // 2` is -3",
    "`ops.one_hot` or `ops.segment_sum` of -1, which leaves it out | Equal | The last class or segment",
    "`ops.sort` or `ops.top_k` of integers above `2**24` | Equal | Rounds them",
    "`ops.scatter` with an index twice, which adds | Equal | Keeps the last",
    "`ops.scatter_update` with an index twice, which keeps the last | Adds each change | Equal",
    "`ops.softplus` above 88 | `inf` | Equal",
    "`ops.where(x > 0, ops.log(x), 0.0)`, and another `where` that leaves out a computed `nan` or `inf` | Equal | "
    "`nan`",
    "`ops.where(x > 0, ops.log(x), 0.0)` | `ops.log(ops.where(x > 0, x, 1.0))`",
    "A float that its integer type can't hold, in `ops.cast` | Another number | Equal",
    "Three of them:",
)
def test_other_numbers():
    n = np.array([[-7, 7, -6, 5]], "int32")
    divided = {
        f"{sign}{d}": function
        for d in (2, -2, 3)
        for sign, function in (("//", lambda x, d=d: x // d), ("%", lambda x, d=d: x % d))
    }
    model = of(together(divided), n)
    expected = model(n)
    litert, onnx = (run_file(write(model, kind), x=n) for kind in ("litert", "onnx"))
    for name in divided:
        sign, divisor = ("//", int(name[2:])) if name.startswith("//") else ("%", int(name[1:]))
        assert np.array_equal(litert[name], expected[name])
        assert np.array_equal(onnx[name], np.fix(n / divisor) if sign == "//" else np.fmod(n, divisor))
        assert not np.array_equal(onnx[name], expected[name])
    for function in (lambda x: x // 2, lambda x: x % 3):
        expected, litert, onnx = values(function, n.astype("float32"))
        assert np.array_equal(litert, expected)
        assert np.array_equal(onnx, expected)
        expected, onnx = values(function, n.astype("int64"), kinds=["onnx"])
        assert not np.array_equal(onnx, expected)

    expected, litert, onnx = values(lambda x: ops.one_hot(x, 3), np.array([-1, 1, 5], "int32"))
    assert np.array_equal(expected, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert np.array_equal(litert, expected)
    assert np.array_equal(onnx, [[0, 0, 1], [0, 1, 0], [0, 0, 0]])

    def segments(x):
        return ops.segment_sum(x[0], ops.convert_to_tensor([0, 0, -1]), num_segments=2)

    large = np.array([[2**24 + 1, 2**24 + 3, 2**24]], "int32")
    for function in (ops.sort, lambda x: ops.top_k(x, 2)[0]):
        expected, litert, onnx = values(function, large)
        assert np.array_equal(litert, expected)
        assert not np.array_equal(onnx, expected)
    two = np.array([[1.0, 2.0, 4.0]], "float32")
    assert [list(one) for one in values(segments, two)] == [[3, 0], [3, 0], [3, 4]]
    expected, litert, onnx = values(lambda x: ops.scatter([[0], [0], [2]], x[0], (3,)), two)
    assert [list(one) for one in (expected, litert, onnx)] == [[3, 0, 4], [3, 0, 4], [2, 0, 4]]
    expected, litert, onnx = values(lambda x: ops.scatter_update(x[0], [[0], [0]], x[0, 1:]), two)
    assert [list(one) for one in (expected, litert, onnx)] == [[4, 2, 4], [1 + (2 - 1) + (4 - 1), 2, 4], [4, 2, 4]]

    expected, litert, onnx = values(ops.softplus, np.array([[-100, 0, 20, 88, 89, 200]], "float32"))
    assert close(onnx, expected)
    assert np.array_equal(np.isinf(litert), [[False] * 4 + [True] * 2])
    assert close(litert[:, :4], expected[:, :4])

    some = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 2.0]], "float32")
    wheres = {
        "log": lambda x: ops.where(x > 0, ops.log(ops.minimum(x, 9.0)), 0.0),
        "equal": lambda x: ops.where(x == x, x, 0.0),
        "finite": lambda x: ops.where(ops.isfinite(x), x, 7.0),
        "second": lambda x: ops.where(x > 5, 0.0, x),
        "isnan": lambda x: ops.where(ops.isnan(x), 0.0, x),
        "rewritten": lambda x: ops.log(ops.where(x > 0, x, 1.0)),
    }
    model = of(together(wheres), some)
    expected = model(some)
    litert, onnx = (run_file(write(model, kind), x=some) for kind in ("litert", "onnx"))
    assert all(close(litert[name], expected[name]) for name in wheres)
    wrong = {name for name in wheres if not close(onnx[name], expected[name])}
    assert wrong == {"log", "equal", "finite", "second", "rewritten"}
    assert np.isnan(onnx["log"][0, 3])
    assert close(onnx["rewritten"][:, 3:], expected["rewritten"][:, 3:])  # a `nan` in the input stays
    assert close(ops.log(ops.where(some > 0, some, 1.0))[:, 3:], wheres["log"](some)[:, 3:])

    big = np.array([[300.0, -1.0, 5.0]], "float32")
    expected, litert, onnx = values(lambda x: ops.cast(x, "uint8"), big)
    assert np.array_equal(onnx, expected)
    assert np.array_equal(litert == expected, [[False, False, True]]) or not np.array_equal(litert, expected)

    lines = [
        line for line in shown(litert_and_onnx, "run_file", "silent_fails").printed.splitlines() if "INFO" not in line
    ]
    assert lines == [
        "-7 // 2: [-4]", "  litert: [-4]", "  onnx: [-3]",
        "one_hot: [[0. 0. 0.]]", "  litert: [[0. 0. 0.]]", "  onnx: [[0. 0. 1.]]",
        "softplus: [100.]", "  litert: [inf]", "  onnx: [100.]",
    ]  # fmt: skip


@pytest.mark.proves(
    "`ops.max` or `ops.sort` of numbers with a `nan` | May lose it | May lose it",
    "`ops.exp` or `ops.selu` of `nan` | A number | Equal",
    "`ops.isinf` | Always `False` | Equal",
    "`ops.nan_to_num` of `inf` | `inf` | `nan`",
    "`ops.rsqrt` of 0 | `nan` | Equal",
    "`tf.image.non_max_suppression` that finds fewer | Padded with zeros | Equal",
    "`float16` or `mixed_float16` | Flex | Rounds less: 70,000 isn't `inf`",
    "Bicubic `ops.image.resize` | Flex | Differs in the third decimal",
    "Inputs of another shape | May compute: `(5, 1, 256)` for `(5, 256)` | Raises",
    "`TimeDistributed` over an axis of length `None` | Flex, see below | As many steps as the batch has rows",
)
def test_other_numbers_again():
    lost = {"litert": set(), "onnx": set()}
    model = of(together({"max": lambda x: ops.max(x, axis=-1), "sort": ops.sort}), np.ones((1, 3), "float32"))
    model(np.ones((1, 3), "float32"))
    for kind, names in lost.items():
        path = write(model, kind)
        for place in range(3):
            x = np.array([[1.0, 3.0, 2.0]], "float32")
            x[0, place] = np.nan
            found, expected = run_file(path, x=x), model(x)
            names |= {name for name in found if not np.array_equal(found[name], expected[name], equal_nan=True)}
    assert lost == {"litert": {"max", "sort"}, "onnx": {"max", "sort"}}

    names = ("exp", "selu", "isinf", "nan_to_num", "rsqrt")
    special = np.array([[np.nan, np.inf, -np.inf, 0.0, 1.0]], "float32")
    model = of(together({name: getattr(ops, name) for name in names}), special)
    expected = model(special)
    litert, onnx = (run_file(write(model, kind), x=special) for kind in ("litert", "onnx"))
    assert np.isfinite([litert["exp"][0, 0], litert["selu"][0, 0]]).all()
    assert np.isnan([expected["exp"][0, 0], expected["selu"][0, 0]]).all()
    assert list(expected["isinf"][0]) == [False, True, True, False, False]
    assert not litert["isinf"].any()
    assert np.isinf(litert["nan_to_num"][0, 1:3]).all()
    assert np.isnan(onnx["nan_to_num"][0, 1:3]).all()
    assert np.isinf(expected["rsqrt"][0, 3])
    assert np.isnan(litert["rsqrt"][0, 3])
    assert all(close(onnx[name], expected[name]) for name in names if name != "nan_to_num")

    boxes = np.tile(np.array([[0.0, 0.0, 1.0, 1.0]], "float32"), (3, 1))
    expected, litert, onnx = values(lambda x: tf.image.non_max_suppression(x, x[:, 3], 3), boxes)
    assert [list(one) for one in (expected, onnx, litert)] == [[0], [0], [0, 0, 0]]

    large = np.array([[70000.0, 1.0]], "float32")
    for kwargs in ({}, {"dtype": "float16"}, {"dtype": "mixed_float16"}):

        def half(x):
            return ops.cast(ops.cast(x, "float16") / 2, "float32")

        expected, onnx = values(half, large, kinds=["onnx"], autocast=False, **kwargs)
        assert np.isinf(expected[0, 0])
        assert close(onnx, large / 2)
        assert (
            fate(of(half, np.tile(large, (5, 1)), autocast=False, **kwargs), "litert", np.tile(large, (5, 1))) == "Flex"
        )

    image = np.random.default_rng(0).uniform(size=(5, 4, 5, 3)).astype("float32")
    model = of(lambda x: ops.image.resize(x, (7, 9), interpolation="bicubic"), image)
    assert fate(model, "litert", image) == "Flex"
    gap = np.abs(run_file(write(model, "onnx"), x=image)["y"] - model(image)["y"]).max()
    assert 1e-4 < gap < 5e-3
    for how in ("bilinear", "nearest"):
        assert fate(of(lambda x, how=how: ops.image.resize(x, (7, 9), interpolation=how), image), "onnx", image) == RUNS

    wide = normal(5, 256)
    model = of(lambda x, dense: dense(x), wide, layers.Dense(2))
    expected = model(wide)["y"]
    path = write(model, "litert")
    assert close(run_file(path, x=wide[:, None])["y"], expected)
    with pytest.raises(RuntimeError, match="XNNPack delegate failed to reshape"):
        run_file(path, x=wide[:, :255])
    path = write(model, "onnx")
    for other in (wide[:, None], wide[:, :255], wide[0]):
        with pytest.raises(Exception, match=r"Got invalid dimensions for input|Invalid rank for input"):
            run_file(path, x=other)

    steps = normal(5, 6, 4)
    model = of(lambda x, each: each(x), steps, layers.TimeDistributed(layers.Dense(2)), unknown=True)
    assert fate(model, "litert", steps) == "Flex"
    path = write(model, "onnx")
    for rows in (2, 5):
        assert run_file(path, x=steps[:rows])["y"].shape == (rows, rows, 2)
    known = of(lambda x, each: each(x), steps, layers.TimeDistributed(layers.Dense(2)))
    assert [fate(known, kind, steps) for kind in ("litert", "onnx")] == [RUNS, RUNS]


class CountsCalls(layers.Layer):
    def build(self, input_shape):
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign_add(1.0)
        return inputs + self.count


@pytest.mark.proves(
    "A weight that `call` assigns | Changes with each call, from its value at the export; each interpreter has its own "
    "| Never changes",
    "What is frozen in a SavedModel, such as a Python attribute, is frozen here too.",
)
def test_state():
    zeros = np.zeros((1, 2), "float32")
    inputs = keras.Input((2,), name="x")
    counts = CountsCalls()
    model = keras.Model(inputs, {"y": counts(inputs)})
    for _ in range(3):
        model(zeros)
    first = counts.count.numpy()
    assert first == 3
    path = write(model, "litert")
    for _interpreter in range(2):
        run = Interpreter(path).get_signature_runner()
        assert [run(x=zeros)["y"][0, 0] for _ in range(3)] == [4, 5, 6]
    session = onnxruntime.InferenceSession(write(model, "onnx"))
    assert len({float(session.run(["y"], {"x": zeros})[0][0, 0]) for _ in range(3)}) == 1

    model_shift = [1.0]
    model = of(lambda x: x + model_shift[0], zeros)
    model(zeros)
    paths = [write(model, kind) for kind in ("litert", "onnx")]
    model_shift[0] = 5.0
    assert [run_file(path, x=zeros)["y"][0, 0] for path in paths] == [1.0, 1.0]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`get_input_details` and `get_output_details` of LiteRT may have another order than the model. Where shapes are "
    "equal, tensors that are set by position are swapped silently:",
    "The signature runner, and so `run_file`, takes names and returns them:",
    "An input of a functional or Sequential model | That of its `Input` | The same",
    "An output that is a value of a dict | Its key | The same",
    "Outputs in a list | `output_0`, `output_1` | `Identity:0`, `Identity_1:0`, in order",
)
def test_the_order_of_inputs_and_outputs():
    printed = shown(litert_and_onnx, "run_file", "order_fails").printed.splitlines()
    assert [line for line in printed if "by " in line] == ["by position: [[-7.]]", "by name: [[7.]]"]

    def made(names, outputs=3, by_key=False):
        inputs = [keras.Input((2 + place,), name=name) for place, name in enumerate(names)]
        both = layers.Concatenate()(inputs)
        dense = [layers.Dense(2 + place)(both) for place in range(outputs)]
        found = {f"out{len(dense) - place}": one for place, one in enumerate(dense)} if by_key else dense
        model = keras.Model(inputs, found)
        arrays = [normal(5, 2 + place) for place in range(len(names))]
        return model, dict(zip(names, arrays, strict=True)), model(arrays)

    inputs_moved = outputs_moved = 0
    for names in (["zebra", "apple", "mid"], ["new", "old"]):
        for by_key in (False, True):
            model, arrays, expected = made(names, by_key=by_key)
            path = write(model, "litert")
            details = Interpreter(path).get_input_details()
            inputs_moved += [len(arrays[n][0]) for n in names] != [d["shape"][-1] for d in details]
            details = Interpreter(path).get_output_details()
            outputs_moved += [one.shape[-1] for one in tree.flatten(expected)] != [d["shape"][-1] for d in details]
            for kind, listed in (("litert", "output_{}"), ("onnx", "Identity_{}:0")):
                found = run_file(path if kind == "litert" else write(model, kind), **arrays)
                if not by_key:
                    keys = [listed.format(place).replace("Identity_0", "Identity") for place in range(3)]
                    assert list(found) == keys
                    wanted = dict(zip(keys, expected, strict=True))
                else:
                    wanted = expected
                assert found.keys() == wanted.keys()
                assert all(close(found[key], wanted[key]) for key in wanted)
    assert inputs_moved
    assert outputs_moved
    sequential = keras.Sequential([keras.Input((4,), name="my-in"), Prototypes(3)])
    sequential(normal(1, 4))
    for kind in ("litert", "onnx"):
        run_file(write(sequential, kind), **{"my-in": normal(2, 4)})


@pytest.mark.proves(
    'A subclassed model called with `{"a": ..., "b": ...}` | `args_0`, `args_0_1` | `args_0_a`, `args_0_b`',
    "A subclassed model called with a list | `args_0`, `args_0_1` | `args_0_0`, `args_0_1`",
    "Pass NumPy arrays of the model's dtype: both raise for another, as `float64`. LiteRT raises for a list, ONNX for "
    "a tensor.",
)
def test_names_of_a_subclassed_model():
    a, b = normal(5, 2), normal(5, 3)
    cases = [
        (Subclassed(lambda x, head: {"y": head(ops.concatenate([x["a"], x["b"]], -1))}), {"a": a, "b": b}, "ab"),
        (Subclassed(lambda x, head: {"y": head(ops.concatenate([x[0], x[1]], -1))}), [a, b], "01"),
    ]
    for model, inputs, names in cases:
        expected = model(inputs)["y"]
        found = run_file(write(model, "litert"), args_0=a, args_0_1=b)
        assert close(found["y"], expected)
        path = write(model, "onnx")
        assert close(
            run_file(path, **{f"args_0_{n}": one for n, one in zip(names, (a, b), strict=True)})["y"], expected
        )
    model = of(lambda x: x * 2, a)
    model(a)
    litert, onnx = write(model, "litert"), write(model, "onnx")
    for dtype in ("float64", "int32", "float16"):
        with pytest.raises(ValueError, match="Cannot set tensor: Got value of type"):
            run_file(litert, x=a.astype(dtype))
        with pytest.raises(Exception, match="Unexpected input data type"):
            run_file(onnx, x=a.astype(dtype))
    with pytest.raises(AttributeError, match="'list' object has no attribute 'shape'"):
        run_file(litert, x=a.tolist())
    with pytest.raises(RuntimeError, match="Input must be a list of dictionaries or a single numpy array"):
        run_file(onnx, x=tf.constant(a))


# --- operations -------------------------------------------------------------------------------------------------------

X, CUBES, SQUARES = normal(5, 8), normal(5, 6, 4), normal(5, 3, 3)
LABELS, TOKENS = np.arange(15, dtype="int32").reshape(5, 3) % 7, np.array([["a b"], ["b"], ["c"], ["a"], [""]], object)


def positive(x):
    return ops.matmul(x, ops.transpose(x, (0, 2, 1))) + 3 * ops.eye(3)


@tf.custom_gradient
def doubled(x):
    return x * 2, lambda upstream: upstream * 5


@pytest.mark.proves(
    "Each was run with 1, 2 and 5 rows; runs means that the outputs are equal within `1e-5`:",
    "`ops.matmul`, `einsum`, `softmax`, `top_k`, `sort`, `cumsum`, `where` of three arguments, `take`, "
    "`take_along_axis`, `one_hot`, `scatter`, `segment_sum`, `conv` without groups, `max_pool` in 1D and 2D | Runs | "
    "Runs",
    "`ops.cond`, `while_loop`, `fori_loop`, `map`, `vectorized_map`, `tf.custom_gradient`, "
    "`tf.debugging.assert_greater` "
    "| Runs | Runs",
)
def test_what_runs():
    functions = {
        "softmax": ops.softmax,
        "top_k": lambda x: ops.top_k(x, 2)[0],
        "top_k_indices": lambda x: ops.top_k(x, 2)[1],
        "sort": ops.sort,
        "cumsum": lambda x: ops.cumsum(x, axis=-1),
        "where": lambda x: ops.where(x > 0, x * 2, x - 1),
        "take": lambda x: ops.take(x, [2, 0, -1], axis=-1),
        "take_along_axis": lambda x: ops.take_along_axis(x, ops.argsort(x), axis=-1),
        "scatter": lambda x: ops.scatter([[0], [2]], ops.transpose(x)[:2], (5, ops.shape(x)[0])),
        "segment_sum": lambda x: ops.segment_sum(
            ops.transpose(x), ops.convert_to_tensor([0, 0, 1, 1, 2, 2, 2, 2]), num_segments=3
        ),
        "cond": lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x - 1),
        "while_loop": lambda x: ops.while_loop(
            lambda y: ops.sum(ops.square(y)) < 100.0, lambda y: (y * 1.5,), (x,)
        )[0],
        "fori_loop": lambda x: ops.fori_loop(0, 3, lambda i, y: y * 1.5, x),
        "map": lambda x: ops.map(lambda row: row * 2, x),
        "vectorized_map": lambda x: ops.vectorized_map(lambda row: row * 2 + ops.sum(row), x),
        "custom_gradient": doubled,
        "assert_greater": lambda x: (tf.debugging.assert_greater(x, -100.0), x * 2)[1],
    }  # fmt: skip
    all_run(functions, X)
    all_run({
        "matmul": lambda x: ops.matmul(x, ops.ones((4, 2))),
        "einsum": lambda x: ops.einsum("btd,bsd->bts", x, x),
        "conv": lambda x: ops.conv(x, ops.ones((3, 4, 2)), padding="same"),
        "max_pool": lambda x: ops.max_pool(x, 2),
        "conv 2D": lambda x: ops.conv(x[..., None], ops.ones((3, 3, 1, 2)), padding="same"),
        "max_pool 2D": lambda x: ops.max_pool(x[..., None], 2),
    }, CUBES)  # fmt: skip
    all_run({"one_hot": lambda x: ops.one_hot(x, 7)}, LABELS)


@pytest.mark.proves(
    "`MultiHeadAttention`, `BatchNormalization`, `LayerNormalization`, `Embedding`, `Dropout` in inference | Runs | "
    "Runs",
)
def test_which_layers_run():
    x = keras.Input((6, 4), name="x")
    y = layers.MultiHeadAttention(2, 3)(x, x)
    y = layers.MultiHeadAttention(2, 3)(y, y, use_causal_mask=True)
    for layer in (layers.BatchNormalization(), layers.LayerNormalization(), layers.Dropout(0.5)):
        y = layer(y)
    model = keras.Model(x, {"y": y})
    labels = keras.Input((3,), dtype="int32", name="x")
    embedding = keras.Model(labels, {"y": layers.Embedding(7, 2)(labels)})
    for kind in ("litert", "onnx"):
        assert fate(model, kind, CUBES) == RUNS
        assert fate(embedding, kind, LABELS) == RUNS


@pytest.mark.proves(
    '`ops.gelu(x, approximate=False)`, `activation="gelu"`, `log1p`, `expm1`, `celu`, `logaddexp`, `digitize`, '
    "`rfft` of a power of two, "
    "`slice_update`, a `conv` with groups, `StringLookup`, `jit_compile=True` | Runs | Load raises",
)
def test_what_stops_onnx():
    functions = {
        "gelu": lambda x: ops.gelu(x, approximate=False),
        "activation": keras.activations.get("gelu"),
        "log1p": lambda x: ops.log1p(ops.square(x)),
        "expm1": ops.expm1,
        "celu": ops.celu,
        "logaddexp": lambda x: ops.logaddexp(x, x),
        "digitize": lambda x: ops.digitize(x, [0.0, 0.5]),
        "rfft": lambda x: ops.rfft(x)[0],
        "slice_update": lambda x: ops.slice_update(x, (0, 0), x[:, 1:2]),
        "jit_compile": lambda x: tf.function(lambda a: a * 2 + tf.sin(a), jit_compile=True)(x),
    }
    each(functions, X, RUNS, "Load raises")
    image = normal(5, 4, 4, 2)
    each({"groups": lambda x: ops.conv(x, ops.ones((3, 3, 1, 4)), padding="same")}, image, RUNS, "Load raises")
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    words = np.array(["a", "b", "c", "a", "b"], object)
    assert fate(of(lambda x, lookup: lookup(x), words, lookup), "litert", words) == RUNS
    assert fate(of(lambda x, lookup: lookup(x), words, lookup), "onnx", words) == "Load raises"


@pytest.mark.proves(
    "`ops.erf`, `tan`, `sinh`, `cosh`, `arctan`, `roll`, `median`, `cumprod(x, axis=1)`, `diagonal`, `det`, an "
    "integer divided by `/`, "
    "`float64` | Flex | Runs",
    "`ops.arcsin`, `arccosh` | Export raises | Runs",
    "`MultiHeadAttention` with `use_causal_mask=True` and a length of `None`, `ops.where(x > 0)`, `max_pool` in 3D | "
    "Flex | Runs",
)
def test_what_stops_litert():
    functions = {
        "erf": ops.erf,
        "tan": ops.tan,
        "sinh": ops.sinh,
        "cosh": ops.cosh,
        "arctan": ops.arctan,
        "roll": lambda x: ops.roll(x, 1, axis=-1),
        "cumprod": lambda x: ops.cumprod(x, axis=1),
        "median": lambda x: ops.median(x, axis=-1),
        "float64": lambda x: ops.sin(ops.cast(x, "float64")),
    }
    each(functions, X, "Flex", RUNS)
    squares = {"diagonal": lambda x: ops.diagonal(x, axis1=1, axis2=2), "det": lambda x: ops.det(positive(x))}
    each(squares, SQUARES, "Flex", RUNS)
    each({"divided": lambda x: x / 2}, LABELS, "Flex", RUNS)
    each({"where": lambda x: ops.where(x > 0)[0]}, X, "Flex", RUNS)
    each({"max_pool": lambda x: ops.max_pool(x, 2)}, normal(5, 4, 4, 4, 2), "Flex", RUNS)
    model = of(lambda x, m: m(x, x, use_causal_mask=True), CUBES, layers.MultiHeadAttention(2, 3), unknown=True)
    assert [fate(model, kind, CUBES) for kind in ("litert", "onnx")] == ["Flex", RUNS]
    raises = {"arcsin": lambda x: ops.arcsin(x / 10), "arccosh": lambda x: ops.arccosh(ops.square(x) + 1)}
    each(raises, X, "Export raises", RUNS)


@pytest.mark.proves(
    "`ops.argmax`, `cumprod(x, axis=-1)`, `cholesky`, `inv`, `qr`, `fft`, `bitwise_and`, sparse tensors, "
    "`TextVectorization`, "
    "`IntegerLookup`, `Hashing` | Flex | Load raises",
    "`keras.random`, `Dropout` with `training=True`, `ops.scan`, `bfloat16` | Flex | Load raises",
)
def test_what_stops_both():
    functions = {
        "argmax": lambda x: ops.argmax(x, axis=-1),
        "cumprod": lambda x: ops.cumprod(x, axis=-1),
        "fft": lambda x: ops.fft((x, x * 0))[0],
        "sparse": lambda x: tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(x), tf.ones((8, 2))),
        "normal": lambda x: x + keras.random.normal(ops.shape(x), seed=3),
        "uniform": lambda x: x + keras.random.uniform(ops.shape(x), seed=3),
        "dropout": lambda x: keras.random.dropout(x, 0.5, seed=3),
        "bfloat16": lambda x: ops.cast(ops.cast(x, "bfloat16") * 2, "float32"),
    }
    each(functions, X, "Flex", "Load raises")
    squares = {
        "cholesky": lambda x: ops.cholesky(positive(x)),
        "inv": lambda x: ops.inv(positive(x)),
        "qr": lambda x: ops.qr(x)[1],
        "scan": lambda x: ops.scan(lambda c, a: (c + a, c), ops.zeros_like(x[:, 0]), ops.transpose(x, (1, 0, 2)))[1],
    }
    each(squares, SQUARES, "Flex", "Load raises")
    each({"bitwise_and": lambda x: ops.bitwise_and(x, 3)}, LABELS, "Flex", "Load raises")
    vectorize = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    long = LABELS.astype("int64")
    for layer, x in (
        (vectorize, TOKENS), (layers.IntegerLookup(vocabulary=[3, 5]), long), (layers.Hashing(5), long),
        (layers.Dropout(0.5), X),
    ):  # fmt: skip
        kwargs = {"training": True} if isinstance(layer, layers.Dropout) else {}
        model = of(lambda x, layer, kwargs=kwargs: layer(x, **kwargs), x, layer)
        assert [fate(model, kind, x) for kind in ("litert", "onnx")] == ["Flex", "Load raises"]


@pytest.mark.proves(
    "`ops.svd`, `solve`, `eigh`, `erfinv`, `searchsorted`, `switch`, `antialias=True`, `tf.py_function`, "
    "`tf.numpy_function` | Export raises | Load raises",
)
def test_what_raises_at_the_export():
    limits = ops.convert_to_tensor([0.0, 0.5, 1.0])
    functions = {
        "erfinv": lambda x: ops.erfinv(x / 10),
        "searchsorted": lambda x: ops.searchsorted(limits, ops.reshape(x, (-1,))),
        "switch": lambda x: ops.switch(ops.cast(ops.sum(x) > 0, "int32"), [lambda a: a * 2, lambda a: a - 1], x),
        "py_function": lambda x: tf.ensure_shape(tf.py_function(lambda a: a * 2, [x], tf.float32), (None, 8)),
        "numpy_function": lambda x: tf.ensure_shape(tf.numpy_function(lambda a: a * 2, [x], tf.float32), (None, 8)),
    }
    each(functions, X, "Export raises", "Load raises")
    squares = {
        "svd": lambda x: ops.svd(x)[1],
        "solve": lambda x: ops.solve(positive(x), x),
        "eigh": lambda x: ops.eigh(positive(x))[0],
        "antialias": lambda x: ops.image.resize(x[..., None], (2, 2), antialias=True),
    }
    each(squares, SQUARES, "Export raises", "Load raises")


@pytest.mark.proves(
    "Flex: the file is written, and the interpreter raises `Select TensorFlow op(s)`: it needs the Flex delegate, "
    "which "
    "neither `ai-edge-litert` nor `tf.lite.Interpreter` brings. Load raises: the file is written, and "
    "`InferenceSession` raises, most often `No Op registered`.",
    'To learn it at the export, pass `target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}`: it raises '
    "`ConverterError`, and its message holds `TF Select ops: Erf`. For ONNX, load the file.",
    "`tf.lite.Interpreter` | Works, and warns that it will be deleted",
)
def test_the_messages_of_an_operation(caplog):
    page = shown(litert_and_onnx, "run_file", "stops_fails")
    assert "LiteRT: Select TensorFlow op(s)\nNode number 0 (FlexErf) failed to prepare." in page.printed
    assert "ONNX: No Op registered for Erfc with domain_version of 15" in page.printed
    model = of(ops.erf, X)
    builtins = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with pytest.raises(Exception, match="Could not translate MLIR to FlatBuffer") as raised:
        write(model, "litert", target_spec=builtins)
    assert type(raised.value).__name__ == "ConverterError"
    assert "TF Select ops: Erf" in str(raised.value)
    write(of(ops.tanh, X), "litert", target_spec=builtins)
    caplog.clear()
    model = of(lambda x: ops.gelu(x, approximate=False), X)
    model(X)
    write(model, "onnx")
    assert "Unsupported ops: Counter({'Erfc': 1})" in caplog.text

    for function, runs in ((ops.tanh, True), (ops.erf, False)):
        with pytest.warns(UserWarning, match=r"tf\.lite\.Interpreter is deprecated and is scheduled for deletion"):
            interpreter = tf.lite.Interpreter(write(of(function, X), "litert"))
        run = interpreter.get_signature_runner()
        if runs:
            assert close(run(x=X)["y"], np.tanh(X))
        else:
            with pytest.raises(RuntimeError, match=r"Select TensorFlow op\(s\)"):
                run(x=X)


@pytest.mark.proves(
    "These run in both:",
    '`ops.gelu(x, approximate=False)`, `activation="gelu"` | `ops.gelu(x)`, which differs by less than 0.0005',
    "`ops.argmax(x, axis=-1)` | `tf.argmax(x, axis=-1)`",
    "`ops.log1p(x)` | `ops.log(1 + x)`, less exact near 0",
    "The magnitude of `ops.rfft(x)`, of a matrix, its width a power of two | `tf.abs(tf.signal.rfft(x))`",
    "`ops.softplus(x)` | `ops.relu(x) + ops.log(1 + ops.exp(-ops.abs(x)))`",
    "`ops.tan(x)` | `ops.sin(x) / ops.cos(x)`",
    "`ops.roll(x, 1, axis=1)` | `ops.concatenate([x[:, -1:], x[:, :-1]], axis=1)`",
    '`n // d` of integers | `ops.cast(ops.floor((ops.cast(n, "float32") + 0.5) / d), "int32")`, up to `2**22`',
    '`ops.one_hot(n, 3)` | `ops.cast(n[..., None] == ops.arange(3), "float32")`',
    "Noise of `keras.random` | An input that takes the noise",
)
def test_what_to_write_otherwise():
    pairs = {
        "gelu": (ops.gelu, lambda x: ops.gelu(x, approximate=False), 5e-4),
        "argmax": (lambda x: tf.argmax(x, axis=-1), lambda x: ops.argmax(x, axis=-1), 0),
        "rfft": (
            lambda x: tf.abs(tf.signal.rfft(x)),
            lambda x: ops.sqrt(sum(ops.square(part) for part in ops.rfft(x))),
            1e-5,
        ),
        "log1p": (lambda x: ops.log(1 + ops.abs(x)), lambda x: ops.log1p(ops.abs(x)), 1e-6),
        "softplus": (lambda x: ops.relu(x) + ops.log(1 + ops.exp(-ops.abs(x))), ops.softplus, 1e-6),
        "tan": (lambda x: ops.sin(x) / ops.cos(x), ops.tan, 1e-5),
        "roll": (lambda x: ops.concatenate([x[:, -1:], x[:, :-1]], axis=1), lambda x: ops.roll(x, 1, axis=1), 0),
    }
    wide = np.linspace(-200, 200, 4005, dtype="float32").reshape(5, -1)
    all_run({name: pair[0] for name, pair in pairs.items()}, X)
    for name, (written, instead, within) in pairs.items():
        x = wide if name in ("gelu", "softplus") else X
        one, other = ops.convert_to_numpy(written(x)), ops.convert_to_numpy(instead(x))
        np.testing.assert_allclose(one, other, atol=within, rtol=1e-4 if name == "tan" else 1e-6)
    all_run({"softplus": pairs["softplus"][0]}, wide)
    tiny = ops.convert_to_tensor([1e-9])
    assert ops.log(1 + tiny) == 0
    assert ops.log1p(tiny) > 0

    def floored(n, d):
        return ops.cast(ops.floor((ops.cast(n, "float32") + 0.5) / d), "int32")

    # A file multiplies by the reciprocal: without the half, `-2996 // 7` is -429 there, and -428 in the model.
    divisors = (2, 3, 7, 13, 1000)
    n = np.concatenate([np.arange(-3000, 3000), 2**22 - np.arange(1000), np.arange(1000) - 2**22]).astype("int32")
    n = n.reshape(5, -1)
    model = of(together({str(d): lambda n, d=d: floored(n, d) for d in divisors}), n)
    model(n)
    for kind in ("litert", "onnx"):
        found = run_file(write(model, kind), x=n)
        assert all(np.array_equal(found[str(d)], n // d) for d in divisors)

    def hot(n):
        return ops.cast(n[..., None] == ops.arange(3), "float32")

    n = np.array([[-1, 0, 2, 5]] * 5, "int32")
    all_run({"hot": hot}, n)
    assert np.array_equal(hot(n), ops.one_hot(n, 3))
    inputs = [keras.Input((4,), name="x"), keras.Input((4,), name="noise")]
    model = keras.Model(inputs, {"y": Calls(lambda x, noise: x + 0.1 * noise)(*inputs)})
    given = {"x": normal(5, 4), "noise": np.random.default_rng(3).normal(size=(5, 4)).astype("float32")}
    expected = model(list(given.values()))["y"]
    for kind in ("litert", "onnx"):
        assert close(run_file(write(model, kind), **given)["y"], expected)


class SmallCell(layers.Layer):
    state_size = output_size = 3

    def build(self, input_shape):
        self.inner = self.add_weight(name="inner", shape=(input_shape[-1], 3))
        self.outer = self.add_weight(name="outer", shape=(3, 3))

    def call(self, inputs, states):
        state = ops.tanh(inputs @ self.inner + states[0] @ self.outer)
        return state, [state]


@pytest.mark.proves(
    "`LSTM`, `GRU`, `RNN` with a cell of your own | Flex | Runs",
    "With `unroll=True`, they run in LiteRT at any batch size:",
    "If the length isn't known, fix the batch, and name the input: "
    '`input_signature=[keras.InputSpec(shape=(1, None, 4), dtype="float32", name="notes")]`. Another batch then '
    "raises.",
)
def test_recurrent_layers():
    assert shown(litert_and_onnx, "run_file", "sequence").printed.splitlines()[-1] == "largest difference 0.000000"
    makers = {
        "LSTM": lambda **kw: layers.LSTM(3, **kw),
        "GRU": lambda **kw: layers.GRU(3, **kw),
        "cell": lambda **kw: layers.RNN(SmallCell(), return_sequences=True, **kw),
    }
    steps = normal(5, 6, 4)

    def model_of(made, length):
        inputs = keras.Input((length, 4), name="x")
        return keras.Model(inputs, {"y": made(inputs)})

    for name, make in makers.items():
        for length in (6, None) if name == "LSTM" else (None,):
            assert fate(model_of(make(), length), "litert", steps) == "Flex"

    def all_of(length, **kwargs):
        inputs = keras.Input((length, 4), name="x")
        return keras.Model(inputs, {name: make(**kwargs)(inputs) for name, make in makers.items()})

    model = all_of(None)
    assert fate(model, "onnx", steps) == RUNS
    path = write(model, "litert", input_signature=[keras.InputSpec(shape=(1, None, 4), dtype="float32", name="x")])
    for length in (6, 3):
        one = steps[:1, :length]
        found, expected = run_file(path, x=one), model(one)
        assert all(close(found[name], expected[name]) for name in makers)
    with pytest.raises(RuntimeError):
        run_file(path, x=steps)
    assert fate(all_of(6, unroll=True), "litert", steps) == RUNS


# --- size and dtype ---------------------------------------------------------------------------------------------------


def a_wide_one(**kwargs) -> keras.Sequential:
    hidden = layers.Dense(256, **kwargs)
    return keras.Sequential([keras.Input((256,), name="x"), hidden, Prototypes(8, **kwargs)])


@pytest.mark.proves(
    "Further arguments of `export` are attributes of `tf.lite.TFLiteConverter`. These store weights as `float16`; "
    "inputs, outputs and arithmetic stay `float32`:",
    "Without `target_spec`, large matrices are stored as `int8`.",
    "`float32` | 4 | 4 | `float32`",
    "`mixed_float16`, `float16` | Flex | 2 | `float16`",
    "`float64` | Flex | 8 | `float64`",
    "`mixed_bfloat16`, `bfloat16` | Flex | Load raises | ",
    "For LiteRT, copy a model of mixed precision into one of `float32`: `plain.set_weights(mixed.get_weights())`, then "
    "export `plain`.",
)
def test_size_and_dtype():
    page = shown(litert_and_onnx, "run_file", "half")
    assert page.printed.splitlines()[-2:] == ["full.tflite: 4.0 bytes a weight", "half.tflite: 2.0 bytes a weight"]
    x = 0.1 * normal(5, 256)
    plain = a_wide_one()
    weights, expected = plain.count_params(), plain(x)

    def bytes_a_weight(path: str) -> float:
        return Path(path).stat().st_size / weights

    for kind in ("litert", "onnx"):
        path = write(plain, kind)
        assert bytes_a_weight(path) == pytest.approx(4, rel=0.02)
        (found,) = run_file(path, x=x).values()
        assert found.dtype == "float32"
    path = write(plain, "litert", **page["half"])
    assert bytes_a_weight(path) == pytest.approx(2, rel=0.04)
    run = Interpreter(path).get_signature_runner()
    assert [one["dtype"] for one in run.get_input_details().values()] == [np.float32]
    (found,) = run(x=x).values()
    assert found.dtype == "float32"
    assert close(found, expected, 0.02)
    assert not np.array_equal(found, expected)
    exact = plain.get_weights()
    for place, one in enumerate(exact):
        exact[place] = one.astype("float16").astype("float32")
    rounded = a_wide_one()
    rounded.set_weights(exact)
    assert close(found, rounded(x), 1e-5)  # float32 but for the weights
    path = write(plain, "litert", optimizations=[tf.lite.Optimize.DEFAULT])
    assert bytes_a_weight(path) == pytest.approx(1, rel=0.2)
    assert np.int8 in {one["dtype"] for one in Interpreter(path).get_tensor_details()}

    for policy, size, dtype in (("mixed_float16", 2, "float16"), ("float16", 2, "float16"), ("float64", 8, "float64")):
        model = a_wide_one(dtype=policy)
        model(x)
        with pytest.raises(RuntimeError, match=r"Select TensorFlow op\(s\)"):
            run_file(write(model, "litert"), x=x)
        path = write(model, "onnx")
        assert bytes_a_weight(path) == pytest.approx(size, rel=0.02)
        (found,) = run_file(path, x=x).values()
        assert found.dtype == dtype
        assert close(found, model(x), 0.01)
    for policy in ("mixed_bfloat16", "bfloat16"):
        model = a_wide_one(dtype=policy)
        model(x)
        with pytest.raises(RuntimeError, match=r"Select TensorFlow op\(s\)"):
            run_file(write(model, "litert"), x=x)
        with pytest.raises(Exception, match=r"Type parameter \(T\) of Optype"):
            run_file(write(model, "onnx"), x=x)
    mixed = a_wide_one(dtype="mixed_float16")
    plain.set_weights(mixed.get_weights())
    (found,) = run_file(write(plain, "litert"), x=x).values()
    assert close(found, mixed(x), 0.01)


# --- other converters ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`tf.lite.TFLiteConverter.from_keras_model(model)` | Works, for subclassed models too. An operation of a Flex row "
    "raises in `convert`",
    "`tf.lite.TFLiteConverter.from_saved_model(folder)` | Works, the same; what to write before Keras 3.13",
    "`tf2onnx.convert.from_keras(model)` | A `Sequential` raises `KeyError: 'keras_tensor...'`. A functional model "
    "works, "
    "a subclassed one needs `input_signature`",
)
def test_other_converters():
    x = normal(5, 4)
    sequential = keras.Sequential([keras.Input((4,)), Prototypes(3)])
    subclassed = Subclassed(lambda x, head: head(x))
    functional = of(ops.tanh, x)
    erf = of(ops.erf, x)
    converters = {
        "keras": tf.lite.TFLiteConverter.from_keras_model,
        "saved": lambda model: tf.lite.TFLiteConverter.from_saved_model(saved(model)),
    }

    def saved(model):
        model.export("saved", verbose=False)
        return "saved"

    for converter in converters.values():
        for model in (sequential, subclassed, functional):
            (expected,) = tree.flatten(model(x))
            with contextlib.redirect_stdout(io.StringIO()):
                content = converter(model).convert()
            run = Interpreter(model_content=content).get_signature_runner()
            (name,) = run.get_input_details()
            (found,) = run(**{name: x}).values()
            assert close(found, expected)
        with (
            pytest.raises(Exception, match="neither a custom op nor a flex op"),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            converter(erf).convert()

    spec = [tf.TensorSpec((None, 4), name="x")]
    with pytest.raises(KeyError, match="keras_tensor"):
        tf2onnx.convert.from_keras(sequential)
    with pytest.raises(ValueError, match="input shapes have not been set"):
        tf2onnx.convert.from_keras(subclassed)
    for model, signature in ((functional, None), (subclassed, spec)):
        converted, _ = tf2onnx.convert.from_keras(model, input_signature=signature)
        session = onnxruntime.InferenceSession(converted.SerializeToString())
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        assert close(found, tree.flatten(model(x))[0])
