"""Smaller models: int8 weights and LoRA in layers of your own."""

# --8<-- [start:definitions]
import os
import warnings

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits


@keras.saving.register_keras_serializable(package="guide")
class Convolve(keras.layers.Layer):
    """A 3 by 3 convolution that ``quantize`` makes int8.

    Shapes: ``(batch, h, w, features)`` to ``(batch, h, w, filters)``.
    """

    frozen = False  # a subclass for LoRA sets it

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.bias = self.add_weight(
            name="bias",
            shape=(self.filters,),
            initializer="zeros",
            trainable=not self.frozen,
        )
        # Last, as `quantize` adds its weights behind the others.
        self.add_kernel((3, 3, input_shape[-1], self.filters))

    def add_kernel(self, shape):
        int8 = self.quantization_mode == "int8"  # quantized, or saved so
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer="zeros" if int8 else "glorot_uniform",
            dtype="int8" if int8 else None,
            trainable=not (int8 or self.frozen),
        )
        if int8:
            self.scale = self.add_weight(
                name="scale",
                shape=(self.filters,),
                initializer="ones",
                trainable=False,
            )

    def set_kernel(self, kernel):
        if self.quantization_mode == "int8":
            kernel, scale = keras.quantizers.abs_max_quantize(
                kernel, axis=(0, 1, 2)
            )
            self.scale.assign(ops.reshape(scale, (self.filters,)))
        self.kernel.assign(kernel)

    def quantize(self, mode=None, type_check=True, config=None):
        if mode != "int8":
            raise NotImplementedError(f"{self.name} has no mode {mode}")
        if self.quantization_mode is None:
            # With the new policy, Keras calls `quantize` once more.
            self.dtype_policy = f"int8_from_{self.dtype_policy.name}"
        elif self.kernel.dtype == "int8":
            raise ValueError(f"{self.name} is already quantized")
        else:
            kernel = self.kernel.numpy()
            del self.kernel
            self.add_kernel(kernel.shape)
            self.set_kernel(kernel)

    def float_kernel(self):
        if self.quantization_mode == "int8":
            return ops.cast(self.kernel, self.compute_dtype) / self.scale
        return self.kernel

    def call(self, inputs):
        outputs = ops.conv(inputs, self.float_kernel(), padding="same")
        return outputs + self.bias

    def quantized_call(self, inputs):
        return self.call(inputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def still_float(model):
    """List what isn't int8, but for vectors, biases and scales."""
    return [
        weight.path
        for weight in model.weights
        if len(weight.shape) > 1
        and weight.dtype != "int8"
        and not weight.name.endswith(("bias", "scale"))
    ]


def size(model, path="digits.keras"):
    """Save, and tell how many bytes the weights and the file take."""
    model.save(path)
    weights = sum(weight.numpy().nbytes for weight in model.weights)
    return f"{weights:,} bytes, file {os.path.getsize(path) // 1000} kB"


def accuracy(model, images, labels):
    return np.mean(np.argmax(model(images), axis=-1) == labels)


# --8<-- [end:definitions]


# --8<-- [start:gated]
@keras.saving.register_keras_serializable(package="guide")
class GatedUnits(keras.layers.Layer):
    """The product of two dense layers, one of which is a gate.

    Args:
        units: The size of the last axis of the outputs.
        inner_dtype: The policy of the dense layers. A file holds it.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, inner_dtype=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        dtype = inner_dtype or self.dtype_policy
        self.values = keras.layers.Dense(units, dtype=dtype)
        self.gates = keras.layers.Dense(units, "sigmoid", dtype=dtype)

    def build(self, input_shape):
        self.values.build(input_shape)
        self.gates.build(input_shape)

    def call(self, inputs):
        return self.values(inputs) * self.gates(inputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        inner_dtype = self.values.dtype_policy.name
        options = {"units": self.units, "inner_dtype": inner_dtype}
        return {**super().get_config(), **options}


# --8<-- [end:gated]


# --8<-- [start:low_rank]
@keras.saving.register_keras_serializable(package="guide")
class AdaptedConvolve(Convolve):
    """A frozen ``Convolve``, plus a trained product of two matrices.

    Args:
        filters: As of ``Convolve``.
        rank: The columns of ``down``, and the rows of ``up``.
        alpha: The product is multiplied by ``alpha / rank``.

    Shapes:
        ``(batch, h, w, features)`` to ``(batch, h, w, filters)``.
    """

    frozen = True

    def __init__(self, filters, rank=2, alpha=2, **kwargs):
        super().__init__(filters, **kwargs)
        self.rank, self.alpha = rank, alpha

    def build(self, input_shape):
        super().build(input_shape)
        self.down = self.add_weight(
            name="down",
            shape=(9 * input_shape[-1], self.rank),
            initializer="he_uniform",
        )
        self.up = self.add_weight(
            name="up", shape=(self.rank, self.filters), initializer="zeros"
        )

    def float_kernel(self):
        product = (self.alpha / self.rank) * (self.down @ self.up)
        kernel = super().float_kernel()
        return kernel + ops.reshape(product, kernel.shape)

    def get_config(self):
        options = {"rank": self.rank, "alpha": self.alpha}
        return {**super().get_config(), **options}

    def merge(self):
        self.set_kernel(self.float_kernel())
        self.up.assign(ops.zeros_like(self.up))


def adapt(layer, **options):
    """Make a layer of a trained ``Convolve``; freeze and return others."""
    if type(layer) is not Convolve:
        layer.trainable = False
        return layer
    adapted = AdaptedConvolve.from_config({**layer.get_config(), **options})
    adapted.build(layer.input.shape)
    for name in ("kernel", "bias", "scale"):
        if hasattr(layer, name):
            getattr(adapted, name).assign(getattr(layer, name))
    return adapted


# --8<-- [end:low_rank]

if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    order = np.random.default_rng(1).permutation(len(images))
    train, test = order[:1200], order[1200:]

    layers = [
        keras.Input((8, 8, 1)),
        Convolve(32, name="first"),
        keras.layers.LeakyReLU(0.1),
        Convolve(32, name="second"),
        keras.layers.LeakyReLU(0.1),
        keras.layers.Flatten(),
        keras.layers.Dense(10, name="logits"),
    ]
    model = keras.Sequential(layers, name="digits")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.fit(images[train], labels[train], epochs=3, verbose=0)
    before = accuracy(model, images[test], labels[test])
    print("float32:", size(model))

    with warnings.catch_warnings(action="ignore"):  # of ReLU, Flatten
        model.quantize("int8")
    after = accuracy(model, images[test], labels[test])
    print("still float:", still_float(model))
    print("int8:", size(model))
    model.compile(keras.optimizers.Adam(0.003), loss)
    print("int8, compiled again:", size(model))
    print(f"above 0.9: {before > 0.9}, changed: {abs(after - before):.2f}")

    loaded = keras.saving.load_model("digits.keras", compile=False)
    print("loaded:", np.array_equal(loaded(images), model(images)))
    # --8<-- [end:program]

    # --8<-- [start:silent_fails]
    class OwnKernel(keras.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], 8))

        def call(self, inputs):
            return inputs @ self.kernel

    class DroppingConvolve(Convolve):
        def __init__(self, filters, **kwargs):
            super().__init__(filters, **kwargs)
            self.drop = keras.layers.Dropout(0.1)

        def call(self, inputs):
            return self.drop(super().call(inputs))

    class ReadsKernel(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(8)

        def build(self, input_shape):
            self.inner.build(input_shape)

        def call(self, inputs):
            transposed = ops.transpose(self.inner.kernel)
            return ops.matmul(self.inner(inputs), transposed)

    x = np.ones((1, 8, 8, 8), "float32")
    for layer in (OwnKernel(), DroppingConvolve(8), ReadsKernel()):
        model_of_one = keras.Sequential([keras.Input((8, 8, 8)), layer])
        before = model_of_one(x)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            model_of_one.quantize("int8")
        change = np.max(np.abs(model_of_one(x) - before))
        wrong = bool(change > np.max(np.abs(before)))
        kernel = next(w for w in layer.weights if w.name != "bias")
        left = len(still_float(model_of_one))
        kind = type(layer).__name__
        print(f"{kind}: {kernel.dtype}, {left} still float, wrong: {wrong}")
        for warning in told[1:]:  # the first is of the input
            print(" ", warning.message)
    # --8<-- [end:silent_fails]

    # --8<-- [start:gated_units]
    gated = keras.Sequential(
        [keras.Input((8,)), GatedUnits(4), keras.layers.Dense(1)]
    )
    with warnings.catch_warnings(action="ignore"):
        gated.quantize("int8")
    print("still float:", still_float(gated))
    gated.save("gated.keras")
    loaded = keras.saving.load_model("gated.keras")
    x = np.random.normal(size=(5, 8))
    print("loaded:", np.array_equal(loaded(x), gated(x)))
    # --8<-- [end:gated_units]

    # --8<-- [start:by_weights]
    def attention():
        inputs = keras.Input((4, 8))
        attend = keras.layers.MultiHeadAttention(2, 4, name="attend")
        return keras.Model(inputs, attend(inputs, inputs))

    def small():
        model = attention()
        with warnings.catch_warnings(action="ignore"):
            model.quantize("int8")
        return model

    source, target = small(), small()
    source.save_weights("attention.weights.h5")
    target.load_weights("attention.weights.h5")
    x = np.random.normal(size=(2, 4, 8))
    print("loaded:", np.array_equal(target(x), source(x)))
    # --8<-- [end:by_weights]

    # --8<-- [start:attention_fails]
    source.save("attention.keras")
    try:
        keras.saving.load_model("attention.keras")
    except ValueError as error:
        print(str(error).split("\n\n")[1])
    # --8<-- [end:attention_fails]

    # --8<-- [start:range]
    def relative_error(largest, config=None):
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        random = np.random.default_rng(0)
        kernel, bias = model.get_weights()
        kernel = random.normal(size=kernel.shape)
        x = random.normal(size=(256, 64))
        x[:, 0] *= largest  # a column in another unit
        kernel[0] /= largest
        model.set_weights([kernel, bias])
        expected = model(x)
        with warnings.catch_warnings(action="ignore"):
            model.quantize("int8", config=config)
        return float(np.std(model(x) - expected) / np.std(expected))

    weights_only = keras.quantizers.Int8QuantizationConfig(
        activation_quantizer=None
    )
    for largest in (1, 10, 100, 1000):
        default = relative_error(largest)
        kernel_only = relative_error(largest, weights_only)
        print(f"times {largest}: {default:.3f}, weights: {kernel_only:.3f}")
    # --8<-- [end:range]

    # --8<-- [start:lora]
    moved = np.roll(images, 1, axis=2)  # one pixel to the right
    base = keras.saving.load_model("digits.keras", compile=False)
    adapted = keras.models.clone_model(base, clone_function=adapt)
    equal = np.array_equal(adapted(images), base(images))
    print("equal at first:", equal)

    adapted.compile(keras.optimizers.Adam(0.005), loss)
    adapted.fit(moved[train], labels[train], epochs=3, verbose=0)
    trained = sum(weight.numpy().size for weight in adapted.trainable_weights)
    print(f"trained: {trained:,} of {adapted.count_params():,}")
    first, second = base.get_layer("first"), adapted.get_layer("first")
    print("same kernel:", np.array_equal(first.kernel, second.kernel))
    before = accuracy(base, moved[test], labels[test])
    after = accuracy(adapted, moved[test], labels[test])
    print(f"below 0.6: {before < 0.6}, then above 0.9: {after > 0.9}")

    for name in ("first", "second"):
        adapted.get_layer(name).merge()
    merged = accuracy(adapted, moved[test], labels[test])
    print(f"merged, changed: {abs(merged - after):.2f}")
    # --8<-- [end:lora]

    # --8<-- [start:lora_fails]
    layer = GatedUnits(4, name="gated")
    gated = keras.Sequential([keras.Input((8,)), layer])
    for dense in (layer.values, layer.gates):
        dense.enable_lora(2)
    print([weight.name for weight in gated.trainable_weights])
    gated.save("gated.keras")
    loaded = keras.saving.load_model("gated.keras")
    print("loaded:", [weight.name for weight in loaded.trainable_weights])
    # --8<-- [end:lora_fails]
