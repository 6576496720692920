"""`docs/training/fast_and_small.md`: every claim that the page makes, proved."""

from __future__ import annotations

import contextlib
import gc
import importlib
import re
import weakref
from functools import cache

import cost
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.training.fast_and_small import RMSNorm, Traces, operations, size
from tests import contract
from tests.shown import Shown, shown
from tests.tools import ratios

MODULE = "snippets.training.fast_and_small"
SECTIONS = ("program", "sizes", "fitted", "refused", "overflow_fails", "loss_scale", "models", "sized")
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X[:, :1]

LAYERS = {"RMSNorm": contract.Layer(RMSNorm, inputs=[(4,), (None, 4), (2, 5, 4)])}
NOT_IN_CONTRACT = {
    "Traces": "is no layer: it counts runs",
    "Ranks of refused": "has no gradient and XLA refuses it, on purpose: tested below",
    "NarrowNorm of overflow_fails": "overflows in float16: tested below",
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_contract(case, check):
    check(case)


def small(optimizer="sgd", *first, built=False, policy=None, **options) -> keras.Model:
    last = layers.Dense(1, dtype=policy)
    model = keras.Sequential([keras.Input((3,)), *first, last])
    model.compile(optimizer, "mse", **options)
    if built:
        model.optimizer.build(model.trainable_variables)
    return model


@cache
def page() -> Shown:
    """The sections of the page, run once."""
    return shown(MODULE, *SECTIONS)


def printed(first: str, last: str) -> list[str]:
    """The lines that it prints, from one that begins so to one that does."""
    lines = page().printed.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(first))
    end = next(n for n, line in enumerate(lines) if line.startswith(last))
    return lines[begin : end + 1]


def counted(model: keras.Model, name: str = "train_step") -> Traces:
    found = Traces(getattr(model, name))
    setattr(model, name, found)
    return found


def traces(function, calls, **options) -> int:
    """How often a function is traced in some calls, counted in two ways."""
    found = Traces(function)
    graph = tf.function(found, **options)
    for arguments in calls:
        graph(*arguments)
    assert len(found.seen) == graph.experimental_get_tracing_count()
    return len(found.seen)


# --- traces -------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Here the rate of a training step changes at each batch:",
    "`Traces` counts these runs, and keeps what they were given.",
    "Runs a function, and keeps what it was given each time it ran.",
)
def test_the_program():
    first, second = printed("a Python number", "a tensor")
    assert first == "a Python number: 30 traces in 30 steps"
    assert second.startswith("a tensor: 1 trace, (TensorShape([32, 3]), TensorShape([32, 1]), TensorShape([])")
    found = Traces(lambda x, y=None: x)
    found(3, y="a")
    assert found.seen == [(3, ("y", "a"))]


@pytest.mark.proves(
    "A Python number is part of the graph, and a tensor is an input of it.",
    "Python number, string, `bool` or `None` | one for each value",
    "tensor, NumPy array, NumPy number | one for each shape and dtype",
    "a function or another object | one for each object: a new `lambda` each time, a trace each time",
    "A `tf.function` runs its Python once for each kind of arguments: it is traced.",
    "Equal values (`==`) share the first one's trace: `1`, `1.0` and `True`, or two equal objects.",
)
def test_what_makes_a_new_trace():
    def one(argument):
        return tf.constant(0.0)

    def twice(values):
        return [(value,) for value in [*values, *values]]

    for values in ([1.0, 2.0, 3.0], [1, 2, 3], ["a", "b", "c"], [True, False, None]):
        assert traces(one, twice(values)) == 3
        assert traces(one, twice(values), reduce_retracing=True) == 3, "reduce_retracing doesn't help"
    for make_one in (tf.constant, np.float32, np.array, lambda value: np.full((2,), value)):
        assert traces(one, [(make_one(value),) for value in (1.0, 2.0, 3.0)]) == 1
    arrays = [np.zeros(shape, dtype) for shape in ((2,), (3,), (2, 3)) for dtype in ("float32", "int32")]
    assert traces(one, twice(arrays)) == 6
    assert traces(lambda function: function(1.0), [(lambda x: tf.constant(x),) for _ in range(5)]) == 5
    same = tf.constant
    assert traces(lambda function: function(1.0), [(same,) for _ in range(5)]) == 1
    for value, inputs in ((2.0, 0), (tf.constant(2.0), 1)):
        graph = tf.function(lambda x: x * tf.constant(X)).get_concrete_function(value).graph
        assert [node.op for node in graph.as_graph_def().node].count("Placeholder") == inputs

    class Equal:
        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

    kept = [Equal(), Equal()]
    assert traces(one, [(value,) for value in kept]) == 1
    graph = tf.function(lambda value: tf.constant(value))
    assert [graph(value).dtype for value in (1, 1.0, True)] == ["int32"] * 3


@pytest.mark.proves("A `tf.function(step)` that is made inside the loop is traced in each turn.")
def test_a_function_made_in_the_loop():
    found = Traces(lambda x: x)
    for _ in range(5):
        tf.function(found)(X)
    assert len(found.seen) == 5


@pytest.mark.proves(
    "At five traces in about ten calls, TensorFlow warns `5 out of the last 5 calls to …`, at most twice."
)
def test_the_warning_comes_with_five_traces_in_ten_calls(monkeypatch):
    from tensorflow.python.platform import tf_logging

    warned = []
    monkeypatch.setattr(tf_logging, "warning", lambda text, *values: warned.append(text % values))
    graph = tf.function(lambda rate: tf.constant(rate))
    for value in range(7):
        graph(float(value))
        assert len(warned) == min(2, max(0, value - 3)), "the fifth, and once more"
    assert re.match(r"5 out of the last 5 calls to .* triggered tf.function retracing", warned[0])
    for calls, expected in ((2, 2), (4, 0)):
        warned.clear()
        graph = tf.function(lambda rate: tf.constant(rate))
        for value in range(8):
            for _ in range(calls):
                graph(float(value))
        assert len(warned) == expected, "eight traces, with calls between that need none"


@pytest.mark.proves(
    "Traces for tensors of thirty lengths:",
    "`reduce_retracing=True` makes the second trace with an unknown length.",
)
def test_lengths():
    assert printed("by default", "input_signature") == [
        "by default 30",
        "reduce_retracing 2",
        "input_signature 1",
    ]
    found = Traces(lambda x: x)
    graph = tf.function(found, reduce_retracing=True)
    for rows in range(1, 5):
        graph(X[:rows])
    assert [shape.as_list() for (shape,) in found.seen] == [[1, 3], [None, 3]]


# --- fit and predict ----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The first call is traced twice if the optimizer or a metric makes its variables in it. After "
    "`model.optimizer.build(model.trainable_variables)`, in a built model without `metrics`, it is traced once.",
    "`compile` throws the graph away.",
)
def test_first_fit():
    """With Adam, of a model that isn't built, and after `compile`: the page prints that, and it is asserted below."""
    for name, options, expected in (
        ("sgd", {}, 1),
        ("adam", {"built": True, "metrics": ["mae"]}, 2),
        ("adam", {"built": True}, 1),
    ):
        model = small(name, **options)
        found = counted(model)
        model.fit(X, Y, verbose=0, epochs=2)
        assert len(found.seen) == expected


@pytest.mark.proves("A smaller last batch costs no trace if it is there from the start.")
@pytest.mark.parametrize("kind", ["arrays", "dataset", "generator"])
def test_a_smaller_last_batch(kind):
    x, y = X[:40], Y[:40]
    model = small(built=True)
    found = counted(model)
    given = {
        "arrays": lambda: {"x": x, "y": y},
        "dataset": lambda: {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(32), "shuffle": False},
        "generator": lambda: {"x": (part for part in [(x[:32], y[:32]), (x[32:], y[32:])]), "shuffle": False},
    }[kind]
    steps = {"steps_per_epoch": 2} if kind == "generator" else {}
    model.fit(**given(), **steps, verbose=0)
    assert len(found.seen) == 1


@pytest.mark.proves(
    "Setting `trainable` doesn't, and the old graph goes on; so does a Python number read from an attribute."
)
def test_the_old_graph_goes_on():
    lines = printed("first fit", "trainable = False")
    assert [line.rpartition(" ")[2] for line in lines] == ["2", "0", "1", "0", "0", "2", "0"]

    class Scaled(layers.Layer):
        factor = 1.0

        def call(self, inputs):
            return inputs * self.factor

    scaled = Scaled()
    model = small("sgd", scaled)
    model.fit(X, Y, verbose=0)
    before = model.get_weights()[0]
    first = model.predict(X, verbose=0)
    scaled.factor = 0.0
    model.layers[-1].trainable = False
    contract.assert_same(model.predict(X, verbose=0), first)
    model.fit(X, Y, verbose=0)
    assert np.any(model.get_weights()[0] != before)


@pytest.mark.proves(
    "`predict` on a single row, again and again, is traced once.",
    "each call makes a dataset and its iterator.",
)
def test_predict_row_by_row(monkeypatch):
    iterators = importlib.import_module("tensorflow.python.data.ops.iterator_ops")
    made, start = [], iterators.OwnedIterator.__init__
    monkeypatch.setattr(
        iterators.OwnedIterator, "__init__", lambda self, *args, **kw: (made.append(args), start(self, *args, **kw))[1]
    )
    model = small()
    found = counted(model, "predict_step")
    rows = [model.predict(X[n : n + 1], verbose=0) for n in range(5)]
    assert len(found.seen) == 1
    assert len(made) >= 5
    made.clear()
    graph = tf.function(model)
    for call in (model, graph):
        contract.assert_same([np.asarray(call(X[n : n + 1])) for n in range(5)], rows)
    assert not made
    assert graph.experimental_get_tracing_count() == 1


# --- XLA ----------------------------------------------------------------------------------------------------------


def ragged(x) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(tf.reshape(x, [-1]), tf.fill([tf.shape(x)[0]], tf.shape(x)[1]))


UNSUPPORTED = {
    "tf.py_function": lambda x: tf.py_function(lambda v: v * 2, [x], tf.float32),
    "tf.numpy_function": lambda x: tf.numpy_function(lambda v: v * 2, [x], tf.float32),
    "tf.print": lambda x: [tf.print("x", x), x][1:],
    "tf.strings": lambda x: tf.strings.length(tf.strings.as_string(x)),
    "tf.timestamp": lambda x: tf.timestamp(),
    "tf.math.segment_sum": lambda x: tf.math.segment_sum(x, tf.range(tf.shape(x)[0])),
    "tf.histogram_fixed_width": lambda x: tf.histogram_fixed_width(x, [-1.0, 1.0], 4),
    "tf.sparse.reduce_sum": lambda x: tf.sparse.reduce_sum(tf.sparse.from_dense(x)),
    "to_tensor": lambda x: ragged(x).to_tensor(),
}
TAKEN = {
    "tf.boolean_mask": lambda x: tf.boolean_mask(x, x > 0),
    "tf.where": lambda x: tf.where(x > 0),
    "tf.unique": lambda x: tf.unique(tf.round(tf.reshape(x, [-1])))[0],
    "tf.map_fn": lambda x: tf.map_fn(lambda v: v * 2, x),
    "tf.math.top_k": lambda x: tf.math.top_k(x, 2)[0],
}


@pytest.mark.proves(
    "`Detected unsupported operations` | `tf.py_function`, `tf.numpy_function`, `tf.print`, `tf.strings`, "
    "`tf.timestamp`, `tf.math.segment_sum`, `tf.histogram_fixed_width`, `tf.sparse.reduce_sum`, `to_tensor` of a "
    "`tf.RaggedTensor`",
)
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_xla_refuses(name):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Detected unsupported operations"):
        tf.function(UNSUPPORTED[name], jit_compile=True)(X[:4])
    tf.function(UNSUPPORTED["tf.timestamp"] if name == "tf.print" else UNSUPPORTED[name])(X[:4])


@pytest.mark.proves(
    "nothing, and computes the same | `tf.boolean_mask`, `tf.where(x > 0)`, `tf.unique`, `tf.map_fn`, "
    " `tf.math.top_k`, `keras.layers.LSTM`"
)
def test_xla_takes():
    x = X[:4]
    for name, function in TAKEN.items():
        found = [np.asarray(tf.function(function, jit_compile=jit)(x)) for jit in (False, True)]
        np.testing.assert_allclose(*found, rtol=1e-5, err_msg=name)
    keras.utils.set_random_seed(1)
    model = small("sgd", layers.Reshape((3, 1)), layers.LSTM(2), jit_compile=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-4, atol=1e-6)
    assert model.jit_compile


@pytest.mark.proves(
    "`must be a compile-time constant` | a size that is computed in the model, as in `tf.range(n)`, or in the sums "
    "of rows of `tf.ragged.boolean_mask`",
    "`XLA compilation requires a fixed tensor list size` | some loops, in training",
)
def test_xla_needs_sizes():
    class Counts(layers.Layer):
        def call(self, inputs):
            numbers = tf.range(tf.cast(tf.reduce_sum(tf.abs(inputs)), tf.int32))
            return inputs + tf.cast(tf.reduce_sum(numbers), inputs.dtype)

    assert small("sgd", layers.Dense(3), Counts()).predict(X, verbose=0).shape == (64, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a compile-time constant"):
        small("sgd", layers.Dense(3), Counts(), jit_compile=True).predict(X, verbose=0)

    def sums(x):
        return tf.reduce_sum(tf.ragged.boolean_mask(x, x > 0), axis=1)

    np.testing.assert_allclose(tf.function(sums)(X), np.maximum(X, 0).sum(axis=1), rtol=1e-4, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a compile-time constant"):
        tf.function(sums, jit_compile=True)(X)

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ops.fori_loop(0, 3, lambda _, v: v * 1.1, x)
        return tape.gradient(y, x)

    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA compilation requires a fixed tensor list size"):
        tf.function(slope, jit_compile=True)(tf.constant(X))


@pytest.mark.proves(
    '`jit_compile=True` compiles the traced step with XLA. The default, `"auto"`, is off on a CPU:',
    "It raises at the first batch.",
    'Set `self.supports_jit = False` in the layer\'s `__init__`: `"auto"` then leaves XLA out, and `jit_compile=True` '
    "only warns.",
)
def test_where_it_raises():
    assert printed("jit_compile", "Detected")[0] == "jit_compile by default: False"
    assert not small().jit_compile
    layer = page()["Ranks"]()
    model = small("sgd", layer, jit_compile=True)
    assert model.jit_compile
    assert model(X).shape == (64, 1)
    for run in (lambda: model.fit(X, Y, verbose=0), lambda: model.predict(X, verbose=0)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Detected unsupported operations"):
            run()

    supports = importlib.import_module("keras.src.trainers.trainer").model_supports_jit
    assert supports(model)
    layer = page()["Ranks"]()
    layer.supports_jit = False
    model = small("sgd", layer)
    assert not supports(model), "what 'auto' asks"
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        model = small("sgd", layer, jit_compile=True)
    assert not model.jit_compile
    model.fit(X, Y, verbose=0)


@pytest.mark.proves("Each input shape is compiled, even if it is traced once.")
def test_each_shape_is_compiled():
    graph = tf.function(lambda x: x * x, input_signature=[tf.TensorSpec((None, 3))], jit_compile=True)
    for rows in (32, 6):
        text = graph.experimental_get_compiler_ir(tf.ones((rows, 3)))(stage="hlo")
        assert f"f32[{rows},3]" in text
    assert graph.experimental_get_tracing_count() == 1


@pytest.mark.proves(
    "In a sparse cross-entropy, a label that is too large makes the loss `nan`, and without XLA it raises."
)
@pytest.mark.parametrize("logits", [True, False])
def test_a_label_that_is_too_large(logits):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation=None if logits else "softmax")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile("sgd", loss, jit_compile=True)
    assert np.isnan(model.evaluate(X[:4], np.array([0, 1, 2, 3]), verbose=0))
    model.compile("sgd", loss, jit_compile=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="valid range"):
        model.evaluate(X[:4], np.array([0, 1, 2, 3]), verbose=0)


@pytest.mark.proves("Put such a check into `dataset.map`, which XLA doesn't compile: it raises there.")
def test_a_check_in_map_raises_under_xla():
    def checked(ids, y):
        tf.debugging.assert_less(ids, 3)
        return ids, y

    model = keras.Sequential([keras.Input((1,), dtype="int32"), layers.Embedding(3, 2), layers.Flatten()])
    model.compile("sgd", "mse", jit_compile=True)
    for ids, raises in ([[0], [2]], False), ([[0], [7]], True):
        dataset = tf.data.Dataset.from_tensor_slices((np.array(ids, "int32"), np.ones((2, 2)))).batch(2)
        model.fit(dataset, shuffle=False, verbose=0)  # XLA doesn't tell
        with pytest.raises(tf.errors.InvalidArgumentError) if raises else contextlib.nullcontext():
            model.fit(dataset.map(checked), shuffle=False, verbose=0)


@pytest.mark.proves(
    "What checks numbers does nothing under XLA, silently: `tf.debugging.assert_less`, `check_numerics`, and the "
    "bounds of `tf.gather` and `Embedding`. An id that is too large reads the last row. In an `Embedding`, -1 does so "
    "without XLA, too:"
)
def test_checks_are_silent_under_xla():
    assert shown(MODULE, "unchecked_fails").printed.splitlines()[1] == "XLA True: [[1. 1.]]"

    def less(x):
        tf.debugging.assert_less(x, -100.0)
        return x

    table = layers.Embedding(3, 2)
    table.build()
    for function, given in (
        (less, X),
        (lambda x: tf.debugging.check_numerics(x / 0.0, "not finite"), X),
        (lambda ids: tf.gather(table.embeddings.value, ids), np.array([7])),
        (table, np.array([7])),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.function(function)(given)
        found = np.asarray(tf.function(function, jit_compile=True)(given))
        if len(given) == 1:
            contract.assert_same(found, table.embeddings.numpy()[2:])
    contract.assert_same(tf.function(table)(np.array([-1])), table.embeddings.numpy()[2:])
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.gather(table.embeddings.value, [-1])
    model = keras.Sequential([keras.Input((1,), dtype="int32"), table, layers.Flatten(), layers.Dense(1)])
    ids = np.full((4, 1), 7)
    for jit in (True, False):
        model.compile("sgd", "mse", jit_compile=jit)
        if jit:
            assert model.predict(ids, verbose=0).shape == (4, 1)
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="is not in"):
                model.predict(ids, verbose=0)


# --- mixed precision ----------------------------------------------------------------------------------------------


class Sees(layers.Layer):
    def build(self, *shapes):
        self.wide = self.add_weight(name="wide", shape=(3,), autocast=False)
        self.weight = self.add_weight(name="weight", shape=(3,))
        self.variable = tf.Variable(1.0)

    def call(self, inputs, other=()):
        self.seen = [keras.backend.standardize_dtype(one.dtype) for one in keras.tree.flatten([inputs, other])]
        return ops.cast(keras.tree.flatten(inputs)[0], self.compute_dtype)


@pytest.mark.proves(
    "Under `mixed_float16`, `compute_dtype` is float16 and `variable_dtype` is float32. Keras casts what a layer gets, "
    "but not what its `call` makes:",
    "floating-point tensors and NumPy arrays that it is given, in lists and dicts and as keywords too | float16",
    "integers that it is given | as they are",
    "a weight of `add_weight` | stored in float32, read in float16",
    "one with `autocast=False`, or a `tf.Variable` | float32",
    "the output of an inner layer without `dtype=` | that of the global policy",
)
@pytest.mark.parametrize("short", ["float16", "bfloat16"])
def test_what_a_layer_gets(short):
    layer = Sees(dtype=f"mixed_{short}")
    assert (layer.compute_dtype, layer.variable_dtype) == (short, "float32")
    for given in (X, X.astype("float64"), tf.constant(X), {"a": X}, [X, {"b": tf.constant(X)}], (X, X)):
        layer(given)
        assert set(layer.seen) == {short}
        layer(X, other=given)
        assert set(layer.seen) == {short}
    for given in (np.ones((2, 3), "int32"), tf.ones((2, 3), tf.int64), np.ones((2, 3), bool)):
        layer(X, other=given)
        assert layer.seen[1] == keras.backend.standardize_dtype(given.dtype)
    assert layer.weight.value.dtype == "float32"

    class Reads(Sees):
        def call(self, inputs):
            self.read = [ops.convert_to_tensor(one).dtype for one in (self.weight, self.wide, self.variable)]
            return inputs

    reads = Reads(dtype=f"mixed_{short}")
    reads(X)
    assert reads.read == [short, "float32", "float32"]

    class Outer(layers.Layer):
        def __init__(self, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(2, dtype=inner)

        def call(self, inputs):
            return self.inner(inputs)

    assert Outer(dtype=f"mixed_{short}")(X).dtype == "float32"
    policy = keras.DTypePolicy(f"mixed_{short}")
    assert Outer(policy, dtype=policy)(X).dtype == short


@pytest.mark.proves(
    "`x * 2.0`, `x * np.pi`, `x * np.ones(3)` | float16",
    "`x * tf.constant(2.0)`, `x * ops.ones(3)` | raises",
    "`ops.multiply(x, tf.constant(2.0))`, `ops.multiply(x, np.ones(3))` | silently float32, and float64",
)
def test_what_call_makes():
    x = tf.cast(X, "float16")
    for made in (2.0, np.pi, np.ones(3), np.sqrt(3.0), np.float32(2)):
        assert (x * made).dtype == "float16"
    for made in (tf.constant(2.0), ops.ones(3), ops.arange(3.0)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected to be a half tensor"):
            x * made
    assert ops.multiply(x, tf.constant(2.0)).dtype == "float32"
    assert ops.multiply(x, np.ones(3)).dtype == "float64"


@pytest.mark.proves(
    "float16 ends at 65504, and the square of 300 is more; an epsilon of 1e-8 is 0 in it.",
    "Divides by the root of the mean square, which it takes in 32 bits.",
    "Infinity in the divisor makes 0, and nothing warns.",
    "Cast the inputs, and cast the result back:",
)
def test_the_norm_in_32_bits():
    assert np.finfo("float16").max == 65504 < 300**2
    assert not np.float16(1e-8)
    lines = printed("mixed_float16 Narrow", "mixed_bfloat16 RMS")
    assert [line.rpartition(" ")[2] for line in lines] == ["0.0", "1.0", "1.0", "1.0"]
    narrow = page()["NarrowNorm"](dtype="float16")
    assert not narrow(np.full((2, 4), 300.0)).numpy().any()
    for policy, atol in {"float32": 1e-5, **contract.DTYPES}.items():
        x = np.array([[300.0, -200.0, 100.0], [3.0, 4.0, 0.0]])
        expected = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
        layer = RMSNorm(dtype=policy)
        contract.assert_same(ops.cast(layer(x), "float64"), expected, atol=max(atol, 1e-5))
        assert layer(x).dtype == layer.compute_dtype
    contract.assert_same(RMSNorm()(X), layers.RMSNormalization(epsilon=1e-6)(X), atol=1e-5)


@pytest.mark.proves(
    "bfloat16 has the range of float32 and eight bits of precision: in it 256 + 1 is 256, and in float16 2048 + 1 is "
    "2048.",
    "`ops.mean` adds up in float32, `tf.reduce_mean` doesn't: its mean of two 60000 is infinite.",
    "Squares, `exp`, sums over many numbers and statistics that move belong in float32.",
)
def test_what_16_bits_lose():
    for dtype, last in (("bfloat16", 256), ("float16", 2048)):
        assert float(tf.constant(last, dtype) + 1) == last
        assert float(tf.constant(last - 2, dtype) + 1) == last - 1
        running = tf.zeros((), dtype)
        for _ in range(last + 100 if dtype == "bfloat16" else 0):
            running = running + 1
        assert dtype == "float16" or float(running) == 256
    info = tf.as_dtype("bfloat16")
    assert float(tf.cast(info.max, "float32")) > 3e38
    large = tf.constant([60000.0, 60000.0], "float16")
    assert abs(float(ops.mean(large)) - 60000) < 32
    assert np.isinf(float(tf.reduce_mean(large)))
    assert np.isinf(float(ops.exp(tf.constant(12.0, "float16"))))
    assert np.isinf(float(ops.square(tf.constant(300.0, "float16"))))


@pytest.mark.proves(
    'Give the last layer `dtype="float32"`, so that the loss gets float32.',
    "Outputs take half the bytes; weights and what the optimizer keeps take as many as before.",
)
def test_the_bytes_of_16_bits():
    found = {}
    for policy in ("float32", "mixed_float16"):
        model = small("adam", layers.Dense(8, dtype=policy), policy="float32")
        outputs = model.layers[0](X)
        assert model(X).dtype == "float32"
        found[policy] = (outputs.numpy().nbytes, *size(model))
    (wide, *of_wide), (narrow, *of_narrow) = found.values()
    assert wide == 2 * narrow
    assert of_wide == of_narrow


@pytest.mark.proves(
    "A small gradient is 0 in float16. If the policy of the model is `mixed_float16`, `compile` wraps the optimizer in "
    "a `LossScaleOptimizer`.",
    "A gradient with infinity or `nan` skips the step and halves the scale. After 2000 finite steps in a row it "
    "doubles.",
)
def test_loss_scale():
    assert float(tf.constant(1e-8, "float16")) == 0.0
    keras.config.set_dtype_policy("mixed_float16")
    try:
        wrapped = small().optimizer
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(wrapped, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(small(policy="mixed_float16").optimizer, keras.optimizers.LossScaleOptimizer)
    assert printed("at first", "steps") == ["at first: 32768.0", "after inf: 16384.0 [1.]", "steps: 0"]
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    assert optimizer.dynamic_growth_steps == 2000
    for steps, before in ((2000, 0), (3, 2)):
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), dynamic_growth_steps=steps)
        weight = keras.Variable([1.0])
        optimizer.build([weight])
        optimizer.apply([tf.constant([np.nan])])
        assert float(optimizer.dynamic_scale) == 16384
        assert weight.numpy() == 1.0
        for _ in range(before):
            optimizer.apply([tf.constant([0.0])])
        optimizer.apply([tf.constant([np.inf])])  # the count begins again
        if steps == 3:
            for n in range(3):
                assert float(optimizer.dynamic_scale) == 8192, n
                optimizer.apply([tf.constant([8192.0])])
            assert float(optimizer.dynamic_scale) == 16384
            assert weight.numpy() == -2.0, "the gradient is divided by the scale"


@pytest.mark.proves(
    "A batch that always overflows is silently never trained on: compare `optimizer.inner_optimizer.iterations` with "
    "the number of batches."
)
def test_a_batch_that_overflows_is_never_trained_on():
    x = np.concatenate([np.full((8, 3), 30000.0), np.ones((24, 3))])
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(run_eagerly=True)
        model.layers[0].kernel.assign(np.full((3, 1), 0.1))
        model.fit(x, np.zeros(32), batch_size=8, shuffle=False, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert int(model.optimizer.inner_optimizer.iterations) == 3


# --- memory -------------------------------------------------------------------------------------------------------


def run(optimizer="sgd", how="fit", built=False, activation=None, **options) -> keras.Model:
    first = [layers.Activation(activation)] if activation else []
    model = small(optimizer, *first, built=built, **options)
    given = (X,) if how == "predict" else (X, Y)
    getattr(model, how)(*given, **({} if how == "train_on_batch" else {"verbose": 0}))
    return model


@pytest.mark.proves(
    "After `del model` and `gc.collect()`, the model and its weights are gone. The graph that trained it isn't: in "
    "TensorFlow 2.21, each trace that applies a Keras optimizer or a `tf.custom_gradient`, such as `silu`, stays in a "
    "global table.",
    "`clear_session()` frees neither these graphs nor a model. It resets names, and silently the policy of "
    "`keras.config.set_dtype_policy`: what is made after it is float32.",
    "How many operations of graphs stay alive after each run but the first.",
)
def test_the_graph_stays():
    lines = printed("a new model each", "one model")
    assert int(re.search(r"\d+", lines[0])[0]) > 50
    assert lines[1] == "one model, reset: 0 operations"

    table = importlib.import_module("tensorflow.python.framework.ops").gradient_registry._registry
    before, known = operations(), set(table)
    model = run()
    found = [weakref.ref(model), *(weakref.ref(weight) for weight in model.weights)]
    del model
    gc.collect()
    assert not any(one() for one in found)
    keras.backend.clear_session()
    assert operations() > before
    for name in set(table) - known:
        del table[name]
    assert operations() == before, "the table kept them"

    model = small()
    kept = weakref.ref(model)
    assert layers.Dense(1).name != "dense"
    keras.backend.clear_session()
    gc.collect()
    assert kept() is model
    assert layers.Dense(1).name == "dense"

    keras.config.set_dtype_policy("mixed_float16")
    assert layers.Dense(1).compute_dtype == "float16"
    keras.utils.clear_session()
    assert layers.Dense(1).compute_dtype == "float32"


@pytest.mark.proves(
    "Reset one model, then set its rate, as above, instead of compiling again.",
    "`model.optimizer.build(model.trainable_variables)` halves what an Adam leaves, without `metrics`.",
    "`run_eagerly=True` leaves nothing, unless a `tf.function` or `Dataset.map` in it has a `custom_gradient`. Without "
    "one, `predict` and `evaluate` leave nothing.",
)
def test_what_leaves_operations():
    run("adam", "predict")  # what only the first leaves

    def left(run) -> int:
        before = operations()
        run()
        return operations() - before

    built, unbuilt = (left(lambda built=built: run("adam", built=built)) for built in (True, False))
    assert unbuilt >= 2 * built > 0
    for options in ({"how": "predict"}, {"how": "evaluate"}, {"run_eagerly": True}):
        assert left(lambda options=options: run("adam", **options)) == 0

    @tf.custom_gradient
    def own(x):
        return 2 * x, lambda slope: 2 * slope

    def plain(x):
        return 2 * x

    for function, stays in ((tf.nn.silu, True), (own, True), (plain, False)):
        assert bool(left(lambda function=function: tf.function(lambda x: function(x))(X))) is stays
    assert left(lambda: run("adam", "predict", activation="silu")) > 0

    def traced(function):
        run("adam", activation=tf.function(lambda x: function(x)), run_eagerly=True)

    def mapped(function):
        data = tf.data.Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (function(x), y))
        small("sgd", run_eagerly=True).fit(data.batch(32), shuffle=False, verbose=0)

    for function, stays in ((tf.nn.silu, True), (plain, False)):
        assert bool(left(lambda function=function: traced(function))) is stays
        assert bool(left(lambda function=function: mapped(function))) is stays
    assert left(lambda: run("adam", activation="silu", run_eagerly=True)) == 0

    model = run()

    def again(compiled: bool) -> None:
        if compiled:
            model.compile("sgd", "mse")
        model.optimizer.learning_rate = 0.5
        before = model.get_weights()[0]
        model.fit(X, Y, verbose=0)
        assert np.any(model.get_weights()[0] != before)
        assert float(model.optimizer.learning_rate) == 0.5

    assert left(lambda: again(compiled=False)) == 0
    assert left(lambda: again(compiled=True)) > 0


@pytest.mark.proves("Reset one model, then set its rate, as above, instead of compiling again.")
def test_a_reset_model_trains_as_a_new_one():
    model = small("adam", layers.Dropout(0.5), built=True)
    variables = [*model.variables, *model.optimizer.variables]
    reset = page()["same_model"]
    x, found = page()["x"], []
    replaced = {"model": model, "variables": variables, "start": [one.numpy() for one in variables]}
    held = {name: reset.__globals__[name] for name in replaced}
    reset.__globals__.update(replaced)
    try:
        for rate in (0.1, 0.5, 0.1):
            keras.utils.set_random_seed(1)  # the order of the rows
            reset(rate)
            assert float(model.optimizer.learning_rate) == np.float32(rate)
            found.append(model.get_weights())
    finally:
        reset.__globals__.update(held)
    assert len(x) == 320
    contract.assert_same(found[0], found[2], atol=0)
    assert np.any(found[0][0] != found[1][0])


@pytest.mark.proves(
    "the `History` that `fit` returns | yes; its `.history` doesn't",
    "a `tf.function` that calls the model | yes",
    "a callback that `fit` was given | yes, the last model",
    "the optimizer, or a layer of a Sequential or functional model | no, but all its weights",
    "a weight, an eager loss | no",
)
def test_what_keeps_a_model():
    callback = keras.callbacks.Callback()

    def traced(model):
        graph = tf.function(lambda x: model(x))
        graph(X)
        return graph

    def loss(model):
        with tf.GradientTape() as tape:
            found = tf.reduce_mean(model(X))
        return found, tape.gradient(found, model.trainable_variables)

    holders = {
        "History": (lambda model: model.fit(X, Y, verbose=0), 2),
        "history": (lambda model: model.fit(X, Y, verbose=0).history, 0),
        "function": (traced, 2),
        "callback": (lambda model: model.fit(X, Y, verbose=0, callbacks=[callback]).history, 1),
        "weight": (lambda model: model.weights[0], 0),
        "layer": (lambda model: model.layers[0], 0),
        "optimizer": (lambda model: model.optimizer, 0),
        "loss": (loss, 0),
    }
    held = {}
    for name, (hold, _) in holders.items():
        found, kept, weights = [], [], []
        for _ in range(2):
            model = small("sgd", layers.Dense(2), built=True, run_eagerly=True)
            found.append(weakref.ref(model))
            weights += [weakref.ref(weight) for weight in model.weights]
            kept.append(hold(model))
        held[name] = found, weights, kept
    del model
    gc.collect()
    for name, (found, weights, _) in held.items():
        expected = holders[name][1]
        assert sum(one() is not None for one in found) == expected, name
        if not expected:
            alive = sum(one() is not None for one in weights)
            assert alive == {"layer": 8, "optimizer": 8, "weight": 2}.get(name, 0), name


# --- bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Bytes of a compiled model's weights and of what its optimizer keeps.",
    "Adam keeps two numbers for each weight, and a step makes one more, the gradient.",
    "trains on smaller ones, with one more number for each weight.",
)
def test_bytes():
    assert printed("sgd", "adam") == ["sgd 20200 12", "adam 20200 40412"]
    assert 4 * (100 * 50 + 50) == 20200
    assert 12 + 2 * 20200 == 40412
    model = small(keras.optimizers.Adam(gradient_accumulation_steps=2))
    plain = small("adam")
    assert size(model)[1] - size(plain)[1] == 4 * 4
    unbuilt = keras.Sequential([layers.Dense(1)])
    unbuilt.compile("adam", "mse")
    with pytest.raises(ValueError, match="call the model on data first"):
        size(unbuilt)
    assert not unbuilt.optimizer.built, "built without weights, it would raise in fit"
    half = small(policy="float16")
    assert size(half)[0] == 2 * 4
    with tf.GradientTape() as tape:
        found = tf.reduce_mean(model(X))
    gradients = tape.gradient(found, model.trainable_variables)
    assert [one.shape for one in gradients] == [one.shape for one in model.trainable_variables]


@pytest.mark.proves(
    "In Keras 3.15, `fit` of a Sequential or functional model that was made in a `keras.RematScope()` raises, unless "
    "it runs eagerly."
)
def test_remat_scope():
    with keras.RematScope():
        model = small("sgd", layers.Dense(4))
        inputs = keras.Input((3,))
        functional = keras.Model(inputs, layers.Dense(1)(inputs))
    functional.compile("sgd", "mse")
    for one in (model, functional):
        with pytest.raises(ValueError, match="custom_gradient decorator currently supports keywords arguments only"):
            one.fit(X, Y, verbose=0)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, Y, verbose=0)
    model = small("sgd", layers.Dense(4))
    with keras.RematScope():
        model.fit(X, Y, verbose=0)


# --- the cost -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Each row is processor time, divided by that of the form behind the slash, in a model of two layers of 128 units, "
    "in batches of 32.",
    "Measured on 2026-11-30 with TensorFlow 2.21.0 and Keras 3.15.1 on 2 shared cores, 9 times:",
    "custom Dense / Dense | 0.96 | 0.87 to 1.03",
    "custom LayerNormalization / built-in | 1.07 | 0.93 to 1.19",
    "custom train_step / fit | 1.02 | 0.89 to 1.19",
    "traced loop / fit | 0.59 | 0.46 to 0.79",
    "eager loop / traced loop | 9.06 | 8.27 to 10.69",
    "run_eagerly=True / fit | 8.99 | 8.13 to 10.33",
    "steps_per_execution=16 / fit | 0.53 | 0.44 to 0.57",
    "jit_compile=True / fit | 1.12 | 0.95 to 1.21",
    "mixed_float16 / float32 | 0.99 | 0.83 to 1.25",
    "mixed_bfloat16 / float32 | 1.07 | 0.97 to 1.17",
    "predict(row) / model(row) | 29.43 | 25.62 to 34.18",
    "tf.function(model)(row) / model(row) | 0.33 | 0.26 to 0.38",
)
def test_the_rows_are_those_of_the_record():
    record = ratios.read()
    text = " ".join(ratios.PAGE.read_text(encoding="utf-8").split())
    for told in ratios.told(record):
        assert " ".join(told.split()) in text.replace("`", ""), told
    assert len(record["ratios"]) + 1 == text.count(" to ", text.index("| Form |"), text.index("Where a row goes"))
    assert all(len(found) == record["repeat"] for found in record["ratios"].values())
    model = cost.make()
    assert [layer.units for layer in model.layers if isinstance(layer, layers.Dense)] == [128, 128, 1]
    assert cost.BATCH == 32


def test_the_benchmark_prints_each_row():
    """No time is compared: at one step and one repetition, each row is there."""
    lines = cost.report(cost.measure(repeat=1, steps=1)).splitlines()
    assert f"TensorFlow {tf.__version__}, Keras {keras.__version__}" in lines[0]
    assert [line[:40].strip() for line in lines[1:]] == list(ratios.read()["ratios"])
    assert all(re.fullmatch(r".{40} +\d+\.\d\d   \d+\.\d\d to \d+\.\d\d", line) for line in lines[1:])


def test_what_is_compared_computes_the_same():
    x = np.random.default_rng(0).normal(size=(4, 32)).astype("float32")
    for own, built_in in ((cost.OwnDense(3), layers.Dense(3)), (cost.OwnNormalization(), layers.LayerNormalization())):
        own.build(x.shape), built_in.build(x.shape)
        own.set_weights(built_in.get_weights())
        contract.assert_same(own(x), built_in(x), atol=1e-5)
    y = x[:, :1]
    found = []
    for cls in (keras.Sequential, cost.OwnStep):
        model = cost.make(cls=cls, run_eagerly=True)
        found.append([model.fit(x, y, verbose=0).history["loss"][0], *model.get_weights()])
    contract.assert_same(*found)
