"""`docs/saving/smaller.md`: every claim that the page makes, proved."""

from __future__ import annotations

import inspect
import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.saving import smaller
from snippets.saving.smaller import AdaptedConvolve, Convolve, GatedUnits, accuracy, adapt, size, still_float
from tests import contract
from tests.shown import shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method implemented:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]
X = np.random.default_rng(0).normal(size=(3, 6, 6, 4)).astype("float32")
ROWS = np.random.default_rng(1).normal(size=(5, 8)).astype("float32")
WEIGHTS_ONLY = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
register = keras.saving.register_keras_serializable("tests.saving.smaller")

CASES = {
    "Convolve": contract.Layer(lambda **kw: Convolve(3, **kw), inputs=[(6, 6, 4), (5, 7, 1)]),
    "AdaptedConvolve": contract.Layer(lambda **kw: AdaptedConvolve(3, **kw), inputs=[(6, 6, 4)]),
    "GatedUnits": contract.Layer(lambda **kw: GatedUnits(3, **kw), inputs=[(4,), (7, 4)]),
}
NOT_IN_CONTRACT = {
    "OwnKernel of silent_fails": "stays in float: tested below",
    "DroppingConvolve of silent_fails": "stays in float: tested below",
    "ReadsKernel of silent_fails": "is wrong once quantized: tested below",
}


@pytest.mark.parametrize("check", contract.LAYER)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def of(*parts: keras.layers.Layer, shape=(6, 6, 4), dtype=None) -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def flat(*parts: keras.layers.Layer) -> keras.Model:
    return of(*parts, shape=(8,))


def told(model: keras.Model, *args, **options) -> list[str]:
    """What `quantize` warns of, but for the input."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        model.quantize(*args, **options)
    return [str(one.message) for one in record if "InputLayer" not in str(one.message)]


def dtypes(thing: Any) -> list[str]:
    return [weight.dtype for weight in thing.weights]


def off(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest number."""
    found, expected = (np.asarray(one).astype("float64") for one in (found, expected))
    return np.abs(found - expected).max() / np.abs(expected).max()


def reloaded(model: keras.Model, tmp_path: Path) -> keras.Model:
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs():
    return {}


def program(seed, programs):
    """The first program and LoRA, run once for each seed."""
    if seed not in programs:
        programs[seed] = shown(smaller, "program", "low_rank", "lora", seed=seed)
    return programs[seed]


@pytest.mark.chance
@pytest.mark.proves(
    "On five seeds, int8 changes the accuracy by at most 0.01.",
)
def test_accuracy_before_and_after(seed, programs):
    page = program(seed, programs)
    model, test = page["model"], page["test"]
    assert still_float(model) == []
    after = accuracy(model, page["images"][test], page["labels"][test])
    float_model = keras.models.clone_model(model, clone_function=in_float)
    before = accuracy(float_model, page["images"][test], page["labels"][test])
    assert dtypes(float_model) != dtypes(model)
    assert after > 0.9
    assert abs(after - before) <= 0.01
    changed = page.printed.split("changed: ")[1][:4]
    assert float(changed) <= 0.01  # of the model as it was trained
    assert "above 0.9: True" in page.printed


def in_float(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer without rounding of its inputs."""
    if not isinstance(layer, Convolve | layers.Dense):
        return layer
    config = {**layer.get_config(), "dtype": "float32", "trainable": True}
    config.pop("quantization_config", None)
    new = type(layer).from_config(config)
    new.build(layer.input.shape)
    scale = layer.scale if isinstance(layer, Convolve) else layer.kernel_scale
    kernel = layer.kernel.numpy() / scale.numpy()
    new.set_weights([layer.bias, kernel] if isinstance(layer, Convolve) else [kernel, layer.bias])
    return new


@pytest.mark.proves(
    '`model.quantize("int8")` keeps the kernels of built-in `Dense`, `EinsumDense` and `Embedding` layers in 8 '
    "bits, a quarter of float32, and leaves a kernel of your own in float.",
    "Keras doesn't quantize convolutions. `Convolve` does, and works in the program as built-in layers do:",
    "To make the file small, compile again: until then it holds Adam's two moments of each float kernel, and "
    "loading skips them with a warning. A model that wasn't compiled has none.",
)
def test_the_file_of_a_compiled_model(tmp_path):
    for conv in (layers.Conv1D, layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D):
        layer = conv(3, 2) if conv is not layers.DepthwiseConv2D else conv(2)
        model = of(layer, shape=(6, 4) if conv is layers.Conv1D else (6, 6, 4))
        assert told(model, "int8") == [f"Layer {conv.__name__} does not have a `quantize` method implemented."]
        assert len(still_float(model)) >= 1
    for built_in, shape, dtype in (
        (layers.Dense(8), (8,), None),
        (layers.EinsumDense("ab,bc->ac", 8), (8,), None),
        (layers.Embedding(9, 8), (3,), "int32"),
    ):
        model = of(built_in, shape=shape, dtype=dtype)
        kernel = max(model.weights, key=lambda weight: len(weight.shape)).numpy()
        assert told(model, "int8") == []
        (small,) = (weight.numpy() for weight in model.weights if weight.dtype == "int8")
        assert kernel.nbytes == 4 * small.nbytes

    path = str(tmp_path / "model.keras")
    model = of(Convolve(32), layers.Flatten(), layers.Dense(10))
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(X, np.ones((3, 10)), verbose=0)
    counts = {"float": sum(w.numpy().nbytes for w in model.weights)}
    assert size(model, path) == f"{counts['float']:,} bytes, file {Path(path).stat().st_size // 1000} kB"
    kernels = [w.shape for w in model.weights if len(w.shape) > 1]
    model.quantize("int8")
    model.save(path)
    with zipfile.ZipFile(path) as file:
        file.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        held = [tuple(one.shape) for one in file["optimizer/vars"].values() if len(one.shape) > 1]
    assert sorted(held) == sorted(2 * [tuple(shape) for shape in kernels])
    large = Path(path).stat().st_size
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam'"):
        loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded(X), model(X))
    model.compile("adam", "mse")
    size(model, path)
    assert Path(path).stat().st_size < large - 2 * 4 * 9 * 4 * 32
    never = of(Convolve(32), layers.Flatten(), layers.Dense(10))
    never.quantize("int8")
    assert size(never, path).endswith(f"{Path(path).stat().st_size // 1000} kB")
    assert Path(path).stat().st_size < large - 2 * 4 * 9 * 4 * 32
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded(X), never(X))


# --- what the layer needs ---------------------------------------------------------------------------------------------


def convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return bias + sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def test_its_formula_in_float_and_in_int8():
    model = of(Convolve(3))
    layer = model.layers[0]
    layer.bias.assign([1.0, -2.0, 3.0])
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    np.testing.assert_allclose(model(X), convolution(X, kernel, bias), rtol=1e-4, atol=1e-5)
    model.quantize("int8")
    assert layer.dtype_policy.name == "int8_from_float32"
    largest = np.abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.scale, 127 / largest, rtol=1e-4)
    np.testing.assert_array_equal(layer.kernel, np.round(kernel * layer.scale.numpy()))
    assert np.abs(layer.kernel.numpy().astype(int)).max() == 127
    rounded = layer.kernel.numpy() / layer.scale.numpy()
    np.testing.assert_allclose(model(X), convolution(X, rounded, bias), rtol=1e-4, atol=1e-5)
    assert np.abs(rounded - kernel).max() <= 0.51 * (largest / 127).max()


@pytest.mark.parametrize("cls", [Convolve, AdaptedConvolve])
@pytest.mark.parametrize("policy", ["float32", "float64", "bfloat16", "mixed_bfloat16"])
@pytest.mark.proves(
    "`get_config` | Without it, a loaded int8 layer can't be saved again",
    "`quantize` | `model.quantize` calls it with `mode`, `type_check` and `config`. Setting the policy calls it "
    "once more, and records int8 in the config",
)
def test_it_is_saved_loaded_and_saved_again(cls, policy, tmp_path):
    model = of(cls(3, dtype=policy))
    layer = model.layers[0]
    layer.bias.assign([1.0, 2.0, 3.0])
    before = model(X)
    told(model, "int8")
    assert off(model(X), before) < (0.02 if "bfloat16" in policy else 0.01)
    assert model(X).dtype == before.dtype
    assert layer.get_config()["dtype"]["config"]["source_name"] == policy
    once = reloaded(model, tmp_path)
    twice = reloaded(once, tmp_path)
    for one in (once, twice):
        assert dtypes(one) == dtypes(model)
        assert [weight.trainable for weight in one.weights] == [weight.trainable for weight in model.weights]
        np.testing.assert_array_equal(one(X), model(X))
    for again in (model, layer, twice, twice.layers[0]):
        with pytest.raises(ValueError, match="is already quantized"):
            again.quantize("int8")
    if cls is Convolve and policy == "float32":
        calls = []

        class Records(Convolve):
            def quantize(self, mode=None, **options):
                calls.append((mode, sorted(options), self.quantization_mode))
                super().quantize(mode, **options)

        of(Records(3)).quantize("int8")
        assert [(mode, now) for mode, _, now in calls] == [("int8", None), ("int8", "int8")]
        assert calls[0][1] == ["config", "type_check"]

        bare = register(type("NoConfig", (Convolve,), {"get_config": layers.Layer.get_config}))
        model = of(bare(3))
        model.quantize("int8")
        loaded = reloaded(model, tmp_path)
        with pytest.raises(NotImplementedError, match="non-serializable argument values"):
            loaded.save(tmp_path / "again.keras")


@pytest.mark.proves(
    'If one layer has `float16` or `mixed_float16`, if only a `ReLU`, `quantize("int8")` raises, and the message '
    "recommends `mixed_float16` all the same; use `mixed_bfloat16`.",
)
@pytest.mark.filterwarnings("ignore:.*overflow encountered:RuntimeWarning")
def test_float16_and_what_raises():
    one = flat(layers.Dense(3), layers.ReLU(dtype="mixed_float16"))
    with pytest.raises(ValueError, match="such as 'mixed_bfloat16' or 'mixed_float16' before calling"):
        one.quantize("int8")
    for mode in ("int4", "float8"):
        flat(layers.Dense(3, dtype="mixed_float16")).quantize(mode)
    for policy in ("float16", "mixed_float16"):
        for layer in (Convolve(3, dtype=policy), layers.Dense(3, dtype=policy)):
            with pytest.raises(ValueError, match="such as 'mixed_bfloat16' or 'mixed_float16' before calling"):
                of(layer).quantize("int8")
            assert "int8" not in dtypes(layer)
    model = of(Convolve(3, dtype="mixed_bfloat16"), layers.Dense(3, dtype="mixed_bfloat16"))
    model.quantize("int8")
    assert dtypes(model).count("int8") == 2
    with pytest.raises(ValueError, match="Cannot quantize a layer that isn't yet built"):
        Convolve(3).quantize("int8")
    model = of(Convolve(3, name="mine"))
    assert told(model, "int4") == ["mine has no mode int4"]
    assert dtypes(model) == ["float32"] * 2
    layer = Convolve(3)
    layer.build(X.shape)
    layer.dtype_policy = "int8_from_float32"
    assert "int8" in dtypes(layer)


@register
class KernelBeforeBias(AdaptedConvolve):
    """As it is wrong: what `quantize` makes stands before a frozen weight."""

    def build(self, input_shape):
        self.add_kernel((3, 3, input_shape[-1], self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,), trainable=False)
        self.down = self.add_weight(name="down", shape=(9 * input_shape[-1], 2))
        self.up = self.add_weight(name="up", shape=(2, self.filters))


@register
class TwoScales(layers.Layer):
    """Two vectors, of which `quantize` makes the first anew."""

    def build(self, input_shape):
        self.rest = None
        self.add_scale()
        self.rest = self.add_weight(name="rest", shape=(8,), initializer="ones", trainable=False)

    def add_scale(self):
        self.scale = self.add_weight(name="scale", shape=(8,), initializer="zeros", trainable=False)

    def quantize(self, mode=None, type_check=True, config=None):
        if self.quantization_mode is None:
            self.dtype_policy = f"int8_from_{self.dtype_policy.name}"
        else:
            del self.scale
            self.add_scale()

    def call(self, inputs):
        return inputs * self.rest + self.scale

    def quantized_call(self, inputs):
        return self.call(inputs)

    def get_config(self):
        return super().get_config()


@pytest.mark.proves(
    "`build` | A file with an int8 layer sets the policy first. `build` then makes the weights that `quantize` "
    "made, in the same order",
    "The weights that `quantize` makes stand behind the others. If `build` made them before a frozen bias, loading "
    "would raise, or exchange weights of one shape silently.",
)
def test_the_order_of_the_weights(tmp_path):
    for cls in (Convolve, AdaptedConvolve):
        model = of(cls(3))
        model.quantize("int8")
        assert [weight.name for weight in model.weights][-2:] == ["kernel", "scale"]
        built = of(cls(3, dtype="int8_from_float32"))
        assert [(w.name, w.dtype) for w in built.weights] == [(w.name, w.dtype) for w in model.weights]
    model = of(KernelBeforeBias(3))
    model.quantize("int8")
    with pytest.raises(ValueError, match="The shape of the target variable"):
        reloaded(model, tmp_path)
    model = flat(TwoScales())
    model.quantize("int8")
    loaded = reloaded(model, tmp_path)
    np.testing.assert_array_equal(model(ROWS), ROWS)
    np.testing.assert_array_equal(loaded(ROWS), np.ones_like(ROWS))


@register
class FloatCall(Convolve):
    def call(self, inputs):
        if self.quantization_mode is not None:
            raise RuntimeError("called in int8")
        return super().call(inputs)

    def quantized_call(self, inputs):
        return Convolve.call(self, inputs)


@register
class NoShape(FloatCall):
    compute_output_shape = layers.Layer.compute_output_shape


@pytest.mark.proves(
    "`quantized_call` | Keras calls it in place of `call` if there is a `quantization_mode`",
    "`compute_output_shape` | Without it, loading an int8 layer runs `call` to find the shape",
    "You may have seen `_int8_build` and `_int8_call`. Keras's own layers have them, and both are private. The "
    "program uses public names only.",
)
def test_quantized_call_and_private_names(tmp_path):
    class Marks(Convolve):
        def quantized_call(self, inputs):
            return 0 * super().call(inputs) + 7

    model = of(Marks(3))
    assert not np.all(np.asarray(model(X)) == 7)
    model.quantize("int8")
    assert np.all(np.asarray(model(X)) == 7)
    assert np.all(model.predict(X, verbose=0) == 7)
    bare = type("Bare", (Convolve,), {"quantized_call": layers.Layer.quantized_call})
    model = of(bare(3))
    model.quantize("int8")
    with pytest.raises(NotImplementedError, match="does not have a `_int8_call` method"):
        model(X)
    for cls in (FloatCall, NoShape):
        model = of(cls(3))
        model(X)
        model.quantize("int8")
        assert model(X).shape == (3, 6, 6, 3)
        if cls is FloatCall:
            np.testing.assert_array_equal(reloaded(model, tmp_path)(X), model(X))
        else:
            with pytest.raises(RuntimeError, match="called in int8"):
                reloaded(model, tmp_path)
    for built_in in (layers.Dense, layers.EinsumDense, layers.Embedding):
        assert {"_int8_build", "_int8_call"} <= set(vars(built_in))
    source = "".join(inspect.getsource(one) for one in (Convolve, AdaptedConvolve, GatedUnits, adapt))
    assert not re.search(r"\._[a-z]", source)
    assert "def _" not in source.replace("def __init__", "")


@pytest.mark.filterwarnings("ignore:.*calling `fit`:UserWarning")
@pytest.mark.proves(
    "`Convolve` converts its kernel back to float at each call: it saves bytes, and doesn't calculate in integers. "
    "Its int8 kernel is frozen. Its bias and the layers in front of it go on training, and `fit` needs no `compile` "
    "after `model.quantize`. After `layer.quantize`, compile: a second `predict` otherwise keeps the float kernel, "
    "silently.",
)
def test_training_after_it():
    for eagerly in (True, False):
        model = of(Convolve(4, name="front"), Convolve(3, name="int8"), layers.Flatten(), layers.Dense(1))
        model.compile("sgd", "mse", run_eagerly=eagerly)
        model.fit(X, np.ones((3, 1)), verbose=0)
        model.quantize("int8", filters="int8")
        before = [np.copy(weight.numpy()) for weight in model.weights]
        model.fit(X, np.ones((3, 1)), verbose=0)
        pairs = zip(model.weights, before, strict=True)
        moved = {w.path.split("/", 1)[1]: not np.array_equal(w, old) for w, old in pairs}
        assert {name for name, does in moved.items() if not does} == {"int8/kernel", "int8/scale"}
    with tf.GradientTape() as tape:
        loss = ops.sum(ops.square(model(X)))
    assert all(np.any(gradient) for gradient in tape.gradient(loss, model.trainable_weights))
    layer = Convolve(3, dtype="int8_from_float32")
    layer.build(X.shape)
    assert layer.float_kernel().dtype == tf.float32

    model = of(Convolve(3))
    model.compile("sgd", "mse")
    before = model.predict(X, verbose=0)
    model.layers[0].quantize("int8")
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    assert off(model(X), before) > 1e-4
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(X, verbose=0), model(X), rtol=1e-5, atol=1e-6)
    first = of(Convolve(3))
    first.layers[0].quantize("int8")
    np.testing.assert_allclose(first.predict(X, verbose=0), first(X), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*SavedModel.*:UserWarning")
@pytest.mark.proves(
    "In float32, a model of `Convolve` and `Dense` gives the same numbers after saving and loading, exported, and "
    "under `jit_compile`.",
)
def test_it_is_exported_compiled_and_loaded_in_a_new_process(tmp_path, process):
    once = of(Convolve(3), layers.LeakyReLU(), AdaptedConvolve(2))
    once.layers[2].up.assign(np.ones((2, 2)))
    inputs = keras.Input((2, 6, 6, 4))
    distributed = keras.Model(inputs, layers.TimeDistributed(Convolve(3))(inputs))
    dense = of(Convolve(3), layers.Flatten(), layers.Dense(16, "tanh"), layers.Dense(3))
    pairs = np.stack([X, 2 * X], axis=1)
    for name, model, x in (("once", once, X), ("distributed", distributed, pairs), ("dense", dense, X)):
        before = model(x)
        model.quantize("int8")
        expected = np.asarray(model(x))
        assert 0 < off(expected, before) < 0.02
        assert still_float(model) == [w.path for w in model.weights if w.name in ("down", "up")]
        model.save(tmp_path / f"{name}.keras")
        found = process.call(contract.load_and_call, tmp_path / f"{name}.keras", smaller.__name__, x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        compiled = tf.function(model, jit_compile=True)
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-5)
        if name != "distributed":
            model.export(tmp_path / name, verbose=False)
            served = tf.saved_model.load(tmp_path / name)
            np.testing.assert_allclose(served.serve(x), expected, rtol=1e-4, atol=1e-5)


# --- what stays float -------------------------------------------------------------------------------------------------


class Holds(layers.Layer):
    """Layers in an attribute, a list and a dict."""

    def __init__(self, *parts, **kwargs):
        super().__init__(**kwargs)
        self.first, self.listed = parts[0], list(parts[1:2])
        self.named = dict(zip(["last"], parts[2:], strict=False))

    def build(self, input_shape):
        for part in (self.first, *self.listed, *self.named.values()):
            part.build(input_shape)

    def compute_output_shape(self, input_shape):
        return self.first.compute_output_shape(input_shape)

    def call(self, inputs):
        for part in (self.first, *self.listed, *self.named.values()):
            inputs = part(inputs)
        return inputs


class KernelAndDense(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(8)

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.kernel = self.add_weight(shape=(8, 8), name="kernel")

    def call(self, inputs):
        return ops.matmul(self.inner(inputs), self.kernel)


class TenTimes(layers.Dense):
    def call(self, inputs, training=None):
        return 10 * super().call(inputs)


@register
class KeepsTable(layers.Layer):
    def __init__(self, inner_dtype=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(8, dtype=inner_dtype or self.dtype_policy)

    def get_config(self):
        return {**super().get_config(), "inner_dtype": self.inner.dtype_policy.name}

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.table = self.inner.kernel

    def call(self, inputs):
        return ops.matmul(inputs, self.table)


@pytest.mark.proves(
    "Holds `Dense`, `EinsumDense`, `Embedding` or `MultiHeadAttention`, also in a list, a dict or `TimeDistributed` "
    "| They are int8 | No message about them",
    "Has a kernel of its own and holds no layer, or holds a `Conv2D`, `LSTM` or `GRU` | It stays float | A warning",
    "Extends `Dense` | It stays float | A warning",
    "Extends `Dense`, has a `call`, and you pass `type_check=False` | Its `call` isn't run, silently | No message",
    "Is a `Dense` with a layer for activation, as `LeakyReLU()` | It stays float, silently | No message about it",
    "Keeps `self.table = self.inner.kernel` | It uses the float kernel, and the model holds both. Loaded as int8, it "
    "gets whole numbers | No message",
    "Holds layers, and `filters` matches its name only | They stay float, silently: the inner names count | No message",
)
def test_the_table_of_what_stays_float(tmp_path):
    held = flat(Holds(layers.Dense(8), layers.EinsumDense("ab,bc->ac", 8), layers.Dense(8)))
    before = held(ROWS)
    assert told(held, "int8") == []
    assert (dtypes(held).count("int8"), still_float(held)) == (3, [])
    assert off(held(ROWS), before) < 0.05
    embedded = of(Holds(layers.Embedding(9, 4)), shape=(3,), dtype="int32")
    assert (told(embedded, "int8"), dtypes(embedded)) == ([], ["int8", "float32"])
    inputs = keras.Input((3, 8))
    spread = keras.Model(inputs, layers.TimeDistributed(Holds(layers.Dense(8)))(inputs))
    assert (told(spread, "int8"), still_float(spread)) == ([], [])
    attention = layers.MultiHeadAttention(2, 4)
    attending = keras.Model(inputs, attention(inputs, inputs))
    assert all("Dropout" in text or "Softmax" in text for text in told(attending, "int8"))
    assert still_float(attending) == []  # its biases have two axes
    assert dtypes(attending).count("int8") == 4

    class Subclass(layers.Dense):
        pass

    for part, shape, name in (
        (Holds(layers.Conv2D(4, 2)), (6, 6, 4), "Conv2D"),
        (Holds(layers.LSTM(4)), (3, 4), "LSTMCell"),
        (Holds(layers.GRU(4)), (3, 4), "GRUCell"),
        (Subclass(4), (8,), "Subclass"),
        (TenTimes(4), (8,), "TenTimes"),
    ):
        model = of(part, shape=shape)
        assert told(model, "int8") == [f"Layer {name} does not have a `quantize` method implemented."]
        assert set(dtypes(model)) == {"float32"}
    model = flat(TenTimes(4, use_bias=False))
    before = model(ROWS)
    assert told(model, "int8", type_check=False) == []
    assert off(10 * np.asarray(model(ROWS)), before) < 0.02

    model = flat(KeepsTable())
    before = model(ROWS)
    assert told(model, "int8") == []
    np.testing.assert_array_equal(model(ROWS), before)
    assert sorted(dtypes(model)) == ["float32", "float32", "float32", "int8"]  # kernel, bias, scale; kernel
    assert off(reloaded(model, tmp_path)(ROWS), before) > 10
    active = flat(layers.Dense(8, activation=layers.LeakyReLU()))
    before = active(ROWS)
    assert told(active, "int8") == ["Layer LeakyReLU does not have a `quantize` method implemented."]
    assert still_float(active) == [active.layers[0].kernel.path]
    active.layers[0].quantize("int8")
    assert still_float(active) == []
    assert 0 < off(active(ROWS), before) < 0.02
    np.testing.assert_array_equal(reloaded(active, tmp_path)(ROWS), active(ROWS))
    model = flat(Holds(layers.Dense(8, name="inner"), name="outer"), layers.Dense(4, name="other"))
    assert told(model, "int8", filters="outer") == []
    assert "int8" not in dtypes(model)
    told(model, "int8", filters="inner")
    assert dtypes(model).count("int8") == 1


@pytest.mark.proves(
    "Has a kernel of its own, and holds a layer, if only a `Dropout` | It stays float, silently: its `quantize` isn't "
    "called | No message about it",
    "Reads `self.inner.kernel` in `ops.matmul` | It gets whole numbers up to 127, silently. With `@` it raises | No "
    "message",
    "The warning is `Layer OwnKernel does not have a `quantize` method implemented`. `InputLayer`, `ReLU` and "
    "`Flatten` give the same one, so list the weights with `still_float`:",
    'For the second, and for `Dense` with a layer for activation, call `layer.quantize("int8")` yourself. For the '
    "third, tied weights, use "
    "`ReversibleEmbedding`, which is quantized rightly, or exclude the inner layer by `filters`.",
)
def test_what_is_wrong_silently():
    page = shown(smaller, "silent_fails")
    assert page.printed.count("wrong: True") == 1
    assert "ReadsKernel: int8, 0 still float, wrong: True" in page.printed
    for cls in (layers.ReLU, layers.Flatten):
        assert told(flat(cls()), "int8") == [f"Layer {cls.__name__} does not have a `quantize` method implemented."]
    with pytest.warns(UserWarning, match="Layer InputLayer does not have a `quantize` method"):
        flat(layers.Dense(2)).quantize("int8")

    model = of(page["DroppingConvolve"](3))
    before = model(X)
    assert told(model, "int8") == ["Layer Dropout does not have a `quantize` method implemented."]
    np.testing.assert_array_equal(model(X), before)
    model.layers[0].quantize("int8")
    assert still_float(model) == []
    assert 0 < off(model(X), before) < 0.02
    both = flat(KernelAndDense())
    assert told(both, "int8") == []
    assert still_float(both) == [both.layers[0].kernel.path]
    assert dtypes(both).count("int8") == 1
    own = flat(page["OwnKernel"]())
    assert len(told(own, "int8")) == len(still_float(own)) == 1

    reads = flat(page["ReadsKernel"]())
    before = reads(ROWS)
    told(reads, "int8", filters=lambda layer: not isinstance(layer, layers.Dense))
    np.testing.assert_array_equal(reads(ROWS), before)
    assert told(reads, "int8") == []
    kernel = np.asarray(reads.layers[0].inner.kernel)
    assert np.abs(kernel.astype(int)).max() == 127
    assert off(reads(ROWS), before) > 10

    class Strict(page["ReadsKernel"]):
        def call(self, inputs):
            return self.inner(inputs) @ ops.transpose(self.inner.kernel)

    strict = flat(Strict())
    told(strict, "int8")
    with pytest.raises(Exception, match="expected to be a float tensor"):
        strict(ROWS)
    tied = layers.ReversibleEmbedding(9, 8)
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, tied(tied(inputs), reverse=True))
    ids = np.arange(9).reshape(3, 3)
    before = model(ids)
    model.quantize("int8")
    assert "int8" in dtypes(model)
    assert off(model(ids), before) < 0.05


# --- layers that hold layers ------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "If your formula can be written with `Dense` or `EinsumDense`, hold them: they need no `quantize` of yours. But "
    "a file holds the policy of a layer in its config, and a layer that a constructor makes has no config there. "
    "Keep its policy in yours:",
    "`int4` and `float8` come back so too. A `config` of `quantize` doesn't. A layer that is passed as an argument "
    "has a config of its own, which holds both.",
)
@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_a_layer_that_holds_dense_layers(tmp_path, process):
    page = shown(smaller, "gated", "gated_units")
    assert page.printed.splitlines() == ["still float: []", "loaded: True"]
    layer = GatedUnits(4)
    layer.build((None, 8))
    values, gates = layer.values, layer.gates
    expected = (ROWS @ values.kernel.numpy()) / (1 + np.exp(-(ROWS @ gates.kernel.numpy())))
    np.testing.assert_allclose(layer(ROWS), expected, rtol=1e-4, atol=1e-5)
    for mode in ("int8", "int4", "float8"):
        model = flat(GatedUnits(4))
        told(model, mode)
        loaded = reloaded(model, tmp_path)
        assert loaded.layers[0].values.quantization_mode == mode
        np.testing.assert_array_equal(loaded(ROWS), model(ROWS))
        if mode == "int8":
            found = process.call(contract.load_and_call, tmp_path / "model.keras", smaller.__name__, ROWS)
            np.testing.assert_allclose(found, model(ROWS), rtol=1e-5, atol=1e-6)
    model = flat(GatedUnits(4))
    told(model, config=WEIGHTS_ONLY)
    assert off(reloaded(model, tmp_path)(ROWS), model(ROWS)) > 1e-4

    @register
    class Given(layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def build(self, input_shape):
            if not self.inner.built:
                self.inner.build(input_shape)

        def call(self, inputs):
            return self.inner(inputs)

        def get_config(self):
            return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

        @classmethod
        def from_config(cls, config):
            return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})

    for options in ({"mode": "int8"}, {"mode": "int4"}, {"config": WEIGHTS_ONLY}):
        model = flat(Given(layers.Dense(4)))
        told(model, **options)
        np.testing.assert_array_equal(reloaded(model, tmp_path)(ROWS), model(ROWS))
    given = flat(Given(layers.Dense(4)))
    given.layers[0].inner.enable_lora(2)
    given.layers[0].inner.lora_kernel_b.assign(np.ones((2, 4)))
    again = reloaded(given, tmp_path)
    np.testing.assert_allclose(again(ROWS), given(ROWS), rtol=1e-5, atol=1e-6)
    assert not np.any(again.layers[0].inner.lora_kernel_b.numpy())
    assert len(again.trainable_weights) == len(given.trainable_weights) == 3


@register
class OfItsOwn(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4)

    def call(self, inputs):
        return self.inner(inputs)


@register
class MadeInside(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)


@register
class MakesConvolve(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Convolve(4, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.inner.build((None, 2, 2, 2))

    def call(self, inputs):
        return self.inner(ops.reshape(inputs, (-1, 2, 2, 2)))


@pytest.mark.proves(
    "Where constructors make layers, also in `MultiHeadAttention` and in subclassed models, save weights. Make the "
    "model, quantize it, then load:",
    "`load_model` builds float layers here, and raises:",
)
def test_quantized_layers_that_constructors_make(tmp_path):
    assert shown(smaller, "by_weights").printed == "loaded: True"
    assert "'key' expected 2 variables" in shown(smaller, "by_weights", "attention_fails").printed

    def made(cls):
        model = cls()
        model(ROWS)
        model.quantize("int8")
        return model

    makers = (OfItsOwn, 0), (lambda: flat(MadeInside()), 3), (lambda: flat(MakesConvolve()), 3)
    for cls, received in makers:
        model = made(cls)
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=f"expected 2 variables, but received {received}"):
            keras.saving.load_model(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")
        other = made(cls)
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_array_equal(other(ROWS), model(ROWS))


# --- where int8 is inexact --------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A quantized `Dense` also rounds its inputs, each vector of features to 255 steps of its largest value. Here one "
    "column is in another unit, and its row of the kernel makes up for that. The float layer computes the same, and "
    "the int8 "
    "layer loses the other columns:",
    "The numbers are relative errors. Scale the inputs; `activation_quantizer=None` rounds the kernel only. "
    "`Convolve` does that too.",
    "`int4` halves the bytes of the kernel again, and the error in the first line is then more than five times as "
    "large. `float8` keeps the float kernels, so nothing gets smaller. `gptq` and `awq` need a `config`.",
)
def test_where_int8_is_inexact():
    page = shown(smaller, "range")
    first, *_, last = ([float(part.split(",")[0]) for part in row.split(": ")[1:]] for row in page.printed.splitlines())
    assert first[0] < 0.01
    assert last[0] > 0.5
    assert last[1] < last[0] / 5
    dense = flat(layers.Dense(8))
    dense.quantize("int8")
    layer = dense.layers[0]
    largest = np.abs(ROWS).max(axis=-1, keepdims=True)
    steps = np.round(ROWS / largest * 127)
    kernel = layer._kernel.numpy() / layer.kernel_scale.numpy()
    np.testing.assert_allclose(dense(ROWS), steps * largest / 127 @ kernel, rtol=1e-3, atol=1e-4)
    times = ROWS[None] * np.array([[[1.0], [2.0], [30.0], [4.0], [5.0]]], "float32")  # one sample of five vectors
    wide = of(layers.Dense(8), shape=(5, 8))
    wide.set_weights(flat(layers.Dense(8)).get_weights())
    wide.quantize("int8")
    one_by_one = np.stack([wide(times[:, i : i + 1])[0, 0] for i in range(5)])
    np.testing.assert_allclose(wide(times)[0], one_by_one, rtol=1e-5, atol=1e-6)
    only = flat(layers.Dense(8))
    only.quantize(config=WEIGHTS_ONLY)
    kernel = only.layers[0]._kernel.numpy() / only.layers[0].kernel_scale.numpy()
    np.testing.assert_allclose(only(ROWS), ROWS @ kernel, rtol=1e-4, atol=1e-5)

    x = np.random.default_rng(0).normal(size=(256, 64))
    errors, held = {}, {}
    for mode in ("int8", "int4", "float8"):
        model = of(layers.Dense(64, use_bias=False), shape=(64,))
        model.set_weights([np.random.default_rng(0).normal(size=(64, 64))])
        expected = model(x)
        told(model, mode)
        errors[mode] = np.std(model(x) - expected) / np.std(expected)
        held[mode] = sum(one.numpy().nbytes for one in model.weights if len(one.shape) > 1 and one.shape[0] > 1)
    assert errors["int4"] > 5 * errors["int8"]
    assert held["int4"] == held["int8"] / 2
    model = of(layers.Dense(64), shape=(64,))
    told(model, "float8")
    assert set(dtypes(model)) == {"float32"}
    for mode in ("gptq", "awq"):
        with pytest.raises(ValueError, match=r"you must pass an? `(GPTQ|AWQ)Config` object in the `config` argument"):
            flat(layers.Dense(4)).quantize(mode)


# --- LoRA -------------------------------------------------------------------------------------------------------------


@pytest.mark.chance
@pytest.mark.proves(
    "On five seeds, the base is right on less than 0.65 of the moved digits, and the adapted model on more than "
    "0.9. Training all 30,058 numbers of the float model is at most 0.04 better.",
)
def test_lora_adapts_to_moved_digits(seed, programs):
    page = program(seed, programs)
    test, train, moved = page["test"], page["train"], page["moved"]
    assert accuracy(page["base"], moved[test], page["labels"][test]) < 0.65
    assert page["before"] < 0.65
    assert page["after"] > 0.9
    assert page["trained"] == 722
    whole = keras.models.clone_model(page["base"], clone_function=in_float)
    whole.trainable = True
    assert sum(weight.numpy().size for weight in whole.trainable_weights) == 30_058
    whole.compile(keras.optimizers.Adam(0.003), page["loss"])
    whole.fit(moved[train], page["labels"][train], epochs=3, verbose=0)
    assert accuracy(whole, moved[test], page["labels"][test]) <= page["after"] + 0.04


@pytest.mark.proves(
    "Use this page to quantize your own layers, and to adapt them by training two small matrices in place of a "
    "kernel (LoRA).",
    "LoRA freezes a kernel and adds `alpha / rank` times a product of two small matrices (Hu et al. 2021, "
    "arXiv:2106.09685). One begins at zero, so that the layer first computes what it did. `adapt` puts it on the "
    "int8 model of the first program:",
    "`adapt` freezes the other layers, which both models share. A `Convolve` inside one of them isn't adapted. "
    "`trainable = False` and back to `True` unfreezes those, but not the kernels. `merge` rounds to int8 again; on a "
    "float kernel, it changes nothing but rounding "
    "errors. A saved model comes back with its adapters, merged or not.",
)
@pytest.mark.parametrize("int8", [False, True])
def test_lora_is_its_formula(int8, tmp_path, process):
    base = of(Convolve(3, name="one"), layers.Flatten(), layers.Dense(2, name="head"))
    if int8:
        base.quantize("int8")
    options = {"rank": 3, "alpha": 6}
    adapted = keras.models.clone_model(base, clone_function=lambda layer: adapt(layer, **options))
    layer = adapted.get_layer("one")
    np.testing.assert_array_equal(adapted(X), base(X))
    assert [weight.name for weight in adapted.trainable_weights] == ["down", "up"]
    assert adapted.get_layer("head") is base.get_layer("head")
    assert not base.get_layer("head").trainable
    layer.up.assign(np.random.default_rng(2).normal(size=(3, 3)))
    kernel = layer.kernel.numpy() / layer.scale.numpy() if int8 else layer.kernel.numpy()
    product = 2 * (layer.down.numpy() @ layer.up.numpy()).reshape(kernel.shape)
    np.testing.assert_allclose(layer(X), convolution(X, kernel + product, layer.bias.numpy()), rtol=1e-3, atol=1e-4)
    nested = of(of(Convolve(3)), layers.Flatten(), layers.Dense(2))
    assert keras.models.clone_model(nested, clone_function=adapt).trainable_weights == []
    default = AdaptedConvolve(3)
    assert (default.rank, default.alpha) == (2, 2)

    adapted.trainable = False
    adapted.trainable = True
    names = sorted(weight.name for weight in adapted.trainable_weights)
    assert names == ["bias", "down", "up"] if int8 else ["bias", "down", "kernel", "up"]
    assert not any(weight is layer.kernel for weight in adapted.trainable_weights)

    for merged in (False, True):
        before = layer(X)
        if merged:
            layer.merge()
            assert not np.any(layer.up.numpy())
            assert off(layer(X), before) < (0.02 if int8 else 1e-5)
            assert not int8 or off(layer(X), before) > 1e-4
            assert layer.kernel.dtype == ("int8" if int8 else "float32")
        adapted.save(tmp_path / "adapted.keras")
        found = process.call(contract.load_and_call, tmp_path / "adapted.keras", smaller.__name__, X)
        np.testing.assert_allclose(found, adapted(X), rtol=1e-4, atol=1e-4)
        again = keras.saving.load_model(tmp_path / "adapted.keras").get_layer("one")
        np.testing.assert_array_equal(again.up, layer.up)
        assert (again.rank, again.alpha) == (3, 6)


@pytest.mark.proves(
    "`enable_lora` of `Dense`, `EinsumDense`, `Embedding` and `Conv2D` works inside a layer too, after `build`. It "
    "freezes that kernel alone. Compile after it: a second `fit` otherwise trains the whole kernel, silently.",
    "Saving merges the product into the kernel, and a layer that a constructor makes comes back without LoRA, "
    "silently. The whole kernel then trains, until you call `enable_lora` again:",
    "A layer that is passed as an argument comes back with new matrices on the merged kernel; in `Dense` and "
    "`Embedding`, `lora_alpha` is then the rank. Of an int8 `Dense` with LoRA, the merged kernel is rounded, so that "
    "a loaded model gives slightly other numbers.",
)
def test_built_in_lora_inside_a_layer(tmp_path):
    page = shown(smaller, "gated", "lora_fails")
    assert page.printed.splitlines()[1] == "loaded: ['kernel', 'bias', 'kernel', 'bias']"
    layer = page["layer"]
    layer.values.lora_kernel_b.assign(np.ones((2, 4)))
    loaded = reloaded(page["gated"], tmp_path)
    np.testing.assert_allclose(loaded(ROWS), page["gated"](ROWS), rtol=1e-5, atol=1e-6)
    loaded.layers[0].values.enable_lora(2)
    assert [w.name for w in loaded.layers[0].values.trainable_weights] == ["bias", "lora_kernel_a", "lora_kernel_b"]
    for jit in (False, True):
        dense = layers.Dense(4)
        model = flat(dense)
        for again in (False, True):
            model.compile("sgd", "mse", jit_compile=jit)
            if not again:
                model.fit(ROWS, np.ones((5, 4)), verbose=0)
                dense.enable_lora(2)
            before = dense._kernel.numpy().copy()
            model.fit(ROWS, np.ones((5, 4)), verbose=0)
            assert np.array_equal(before, dense._kernel) is again
            assert np.any(dense.lora_kernel_b.numpy()) == again
    for inner, shape, dtype, alpha in (
        (layers.Dense(4), (8,), None, 2),
        (layers.Embedding(9, 4), (3,), "int32", 2),
        (layers.EinsumDense("ab,bc->ac", 4), (8,), None, 8),
        (layers.Conv2D(4, 2), (6, 6, 4), None, 8),
    ):
        model = of(inner, shape=shape, dtype=dtype)
        inner.enable_lora(2, lora_alpha=8)
        assert (reloaded(model, tmp_path).layers[0].lora_alpha, inner.lora_alpha) == (alpha, 8)
    for inner, shape, dtype in (
        (layers.Dense(4), (8,), None),
        (layers.EinsumDense("ab,bc->ac", 4), (8,), None),
        (layers.Embedding(9, 4), (3,), "int32"),
        (layers.Conv2D(4, 2), (6, 6, 4), None),
    ):
        with pytest.raises(ValueError, match="Cannot enable lora on a layer that isn't yet built"):
            inner.enable_lora(2)
        model = of(Holds(inner), shape=shape, dtype=dtype)
        x = np.ones((1, *shape))
        before, names = model(x), {weight.name for weight in model.trainable_weights}
        inner.enable_lora(2)
        np.testing.assert_array_equal(model(x), before)
        after = {weight.name for weight in model.trainable_weights}
        assert names - after in ({"kernel"}, {"embeddings"})
        assert len(after - names) == 2
    dense = layers.Dense(4)
    model = flat(dense)
    told(model, "int8")
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 4)))
    assert 1e-5 < off(reloaded(model, tmp_path)(ROWS), model(ROWS)) < 0.05
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert "lora_rank" in json.dumps(json.loads(file.read("config.json")))
