"""Load part of the weights, reuse trained layers, take those of PyTorch."""

# --8<-- [start:definitions]
from unittest import mock

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class TrainableSwish(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``."""

    def build(self, input_shape):
        self.slope = self.add_weight(
            name="slope", shape=input_shape[-1:], initializer="ones"
        )

    def call(self, inputs):
        return inputs * ops.sigmoid(self.slope * inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def network(classes, name):
    """A body of three layers, and a head."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name="features"),
            keras.layers.BatchNormalization(name="norm"),
            TrainableSwish(name="swish"),
            keras.layers.Dense(classes, name="head"),
        ],
        name=name,
    )


def load_part(model, path, **options):
    """Load weights, and return the paths of those that the file didn't set."""
    was_set = set()
    assign = keras.Variable.assign

    def record(variable, value):
        assign(variable, value)
        was_set.add(id(variable))

    with mock.patch.object(keras.Variable, "assign", record):
        model.load_weights(path, **options)
    return [one.path for one in model.weights if id(one) not in was_set]


# --8<-- [end:definitions]


# --8<-- [start:copy_by_name]
def copy_by_name(source, target, renamed=None):
    """Copy weights from layer to layer; the names of what was left out.

    Args:
        source: A model, such as one from ``load_model``.
        target: A model whose layers get the weights of those of the same
            name, if each weight has the same shape.
        renamed: Names in ``source`` by names in ``target``.
    """
    theirs = {layer.name: layer for layer in source.layers}
    left_out = []
    for layer in target.layers:
        their = theirs.get((renamed or {}).get(layer.name, layer.name))
        shapes = [weight.shape for weight in layer.weights]
        if their and [weight.shape for weight in their.weights] == shapes:
            layer.set_weights(their.get_weights())
        elif shapes:
            left_out.append(layer.name)
    return left_out


# --8<-- [end:copy_by_name]


# --8<-- [start:low_rank]
@keras.saving.register_keras_serializable(package="guide")
class LowRank(keras.layers.Layer):
    """A frozen layer, plus a trained product of two small matrices (LoRA).

    Args:
        inner: A ``Dense`` without an activation, trained or not.
        rank: The columns of the first matrix, and the rows of the second.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(self, inner, rank=2, **kwargs):
        super().__init__(**{"dtype": inner.variable_dtype, **kwargs})
        self.inner = inner
        self.rank = rank

    def build(self, input_shape):
        if not self.inner.built:
            self.inner.build(input_shape)
        self.inner.trainable = False
        units = self.compute_output_shape(input_shape)[-1]
        self.down = self.add_weight(
            name="down", shape=(input_shape[-1], self.rank)
        )
        self.up = self.add_weight(
            name="up", shape=(self.rank, units), initializer="zeros"
        )

    def call(self, inputs):
        product = inputs @ self.down @ self.up
        return ops.add(self.inner(inputs), product)  # may be half and float

    def compute_output_shape(self, input_shape):
        return self.inner.compute_output_shape(input_shape)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner, "rank": self.rank}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**{**config, "inner": inner})


# --8<-- [end:low_rank]


# --8<-- [start:from_pytorch]
def from_pytorch(layer, state, name, cell="l0"):
    """Set the weights of a built layer to those of a PyTorch module.

    Args:
        layer: A Keras layer that has been called or built.
        state: NumPy arrays by name, those of a ``state_dict``.
        name: That of the module, the part before ``.weight``.
        cell: Of an LSTM or a GRU, the end of ``weight_ih_l0_reverse``.
    """
    start = f"{name}."
    part = {
        key.removeprefix(start): np.asarray(value)
        for key, value in state.items()
        if key.startswith(start)
    }
    if not part:
        raise KeyError(f"no name in the state begins with {start}")
    layers = keras.layers
    if isinstance(layer, (layers.LSTM, layers.GRU)):
        weights = [
            part[f"{kind}_{way}_{cell}"]
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
        ]
        if isinstance(layer, layers.GRU):  # gates r, z, n, here z, r, n
            thirds = [np.split(weight, 3) for weight in weights]
            weights = [np.concatenate([z, r, n]) for r, z, n in thirds]
            bias = np.stack(weights[2:])  # (2, 3 * units)
        else:  # i, f, g, o in both
            bias = weights[2] + weights[3]
        weights = [weights[0].T, weights[1].T, bias]
    elif isinstance(layer, layers.MultiHeadAttention):
        heads = (layer.num_heads, layer.key_dim)
        weights = []
        kernels = np.split(part["in_proj_weight"].T, 3, axis=-1)
        biases = np.split(part["in_proj_bias"], 3)
        for kernel, bias in zip(kernels, biases, strict=True):
            weights += [kernel.reshape(-1, *heads), bias.reshape(heads)]
        out = part["out_proj.weight"].T.reshape(*heads, -1)
        weights += [out, part["out_proj.bias"]]
    else:
        keys = ("weight", "bias", "running_mean", "running_var")
        weights = [part[key] for key in keys if key in part]
        if hasattr(layer, "kernel"):  # (out, in, ...) to (..., in, out)
            weights[0] = np.moveaxis(weights[0], (0, 1), (-1, -2))
    layer.set_weights(weights)


# --8<-- [end:from_pytorch]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(64, 4)).astype("float32")
    old = network(classes=3, name="old")
    old.compile(optimizer="adam", loss="mse")
    old.fit(x, x[:, :3], epochs=2, verbose=0)
    old.save_weights("old.weights.h5")

    new = network(classes=5, name="new")
    head = new.get_layer("head")
    missing = load_part(new, "old.weights.h5", objects_to_skip=[head])
    print("not loaded:", missing)
    bodies = [
        keras.Model(model.inputs[0], model.get_layer("swish").output)
        for model in (old, new)
    ]
    print("equal bodies:", np.array_equal(*(body(x) for body in bodies)))
    print("heads:", old(x).shape, "and", new(x).shape)
    # --8<-- [end:program]

    # --8<-- [start:order_fails]
    def stack(*names):
        layers = [keras.layers.Dense(4, name=name) for name in names]
        return keras.Sequential([keras.Input((4,)), *layers], name="stack")

    three = stack("first", "second", "third")
    three.save_weights("three.weights.h5")
    two = stack("second", "third")
    print("not loaded:", load_part(two, "three.weights.h5"))
    for layer in three.layers[:2]:
        equal = np.array_equal(layer.kernel, two.layers[0].kernel)
        print(f"{two.layers[0].name} is the old {layer.name}:", equal)
    # --8<-- [end:order_fails]

    # --8<-- [start:by_name]
    old.save("old.keras")
    source = keras.saving.load_model("old.keras")
    target = network(classes=5, name="target")
    print("left out:", copy_by_name(source, target))

    top = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(3, name="top")]
    )
    left_out = copy_by_name(source, top, renamed={"top": "head"})
    print("left out:", left_out)
    top_equal = np.array_equal(top.weights[0], old.weights[-2])
    print("equal kernels:", top_equal)
    # --8<-- [end:by_name]

    # --8<-- [start:set_fails]
    class InASet(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.experts = {keras.layers.Dense(4, name="expert")}

        def build(self, input_shape):
            for expert in self.experts:
                expert.build(input_shape)

        def call(self, inputs):
            return sum(expert(inputs) for expert in self.experts)

    def in_a_set():
        layers = [keras.Input((4,)), InASet(name="experts")]
        return keras.Sequential(layers, name="holder")

    model = in_a_set()
    print("trainable weights:", len(model.trainable_weights))
    model.save_weights("set.weights.h5")
    print("not loaded:", load_part(in_a_set(), "set.weights.h5"))
    # --8<-- [end:set_fails]

    # --8<-- [start:freeze]
    for layer in new.layers[:-1]:
        layer.trainable = False
    new.compile(optimizer="adam", loss="mse")
    before = new.get_weights()
    new.fit(x, np.ones((64, 5)), verbose=0)
    changed = [
        weight.path
        for weight, value in zip(new.weights, before, strict=True)
        if not np.array_equal(weight, value)
    ]
    print("changed:", changed)
    # --8<-- [end:freeze]

    # --8<-- [start:freeze_fails]
    model = network(classes=3, name="thaws")
    norm = model.get_layer("norm")
    norm.gamma.trainable = False
    norm.beta.trainable = False
    model.compile(optimizer="sgd", loss="mse")
    mean = norm.moving_mean.numpy()
    model.fit(x, x[:, :3], verbose=0)
    print("same moving mean:", np.array_equal(mean, norm.moving_mean))
    model.save("thaws.keras")
    loaded = keras.saving.load_model("thaws.keras")
    print("trainable weights:", len(model.trainable_weights), end=", ")
    print("loaded:", len(loaded.trainable_weights))
    # --8<-- [end:freeze_fails]

    # --8<-- [start:swap]
    def swap(layer):
        if layer.name == "swish":
            return keras.layers.Activation("silu", name="silu")
        return layer

    swapped = keras.models.clone_model(old, clone_function=swap)
    print([layer.name for layer in swapped.layers])
    shared = swapped.get_layer("head") is old.get_layer("head")
    print("one head in both:", shared)
    # --8<-- [end:swap]

    # --8<-- [start:wrap]
    def wrap(layer):
        if layer.name == "features":
            return LowRank(layer, rank=2, name="adapted")
        return layer

    source = keras.saving.load_model("old.keras")
    adapted = keras.models.clone_model(source, clone_function=wrap)
    print("equal at first:", np.array_equal(adapted(x), old(x)))
    adapted.compile(optimizer="adam", loss="mse")
    adapted.fit(x, -x[:, :3], verbose=0)
    layer = adapted.get_layer("adapted")
    kernel = old.get_layer("features").kernel
    print("same kernel:", np.array_equal(layer.inner.kernel, kernel))

    trained = adapted(x)
    layer.inner.kernel.assign_add(layer.down @ layer.up)
    layer.up.assign(ops.zeros_like(layer.up))
    print("merged:", np.allclose(adapted(x), trained, atol=1e-5))
    # --8<-- [end:wrap]

    # --8<-- [start:intermediate]
    names = ["features", "swish", "head"]
    outputs = {name: old.get_layer(name).output for name in names}
    for name, value in keras.Model(old.inputs[0], outputs)(x).items():
        print(name, value.shape)
    # --8<-- [end:intermediate]

    # --8<-- [start:intermediate_fails]
    dense = keras.layers.Dense(4)
    inputs = keras.Input((4,))
    twice = keras.Model(inputs, dense(dense(inputs)))
    last = keras.Model(inputs, dense.output)
    print("the last output:", np.allclose(last(x), twice(x)))
    # --8<-- [end:intermediate_fails]

    # --8<-- [start:pytorch]
    def numbers(*shape, start=0):
        steps = np.arange(1, np.prod(shape) + 1) ** 1.5
        return np.sin(start + steps).reshape(shape)

    state = {
        "conv.weight": numbers(2, 1, 3, 3),
        "conv.bias": numbers(2, start=1),
        "norm.weight": numbers(2, start=2),
        "norm.bias": numbers(2, start=3),
        "norm.running_mean": numbers(2, start=4),
        "norm.running_var": 1 + numbers(2, start=5) ** 2,
        "out.weight": numbers(2, 18, start=7),
        "out.bias": numbers(2, start=8),
    }

    def converted(layers):
        model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
        for layer in model.layers:
            if layer.weights:
                from_pytorch(layer, state, layer.name)
        image = np.moveaxis(numbers(1, 1, 6, 6), 1, -1)
        return np.round(model(image)[0], 3)

    layers = [
        keras.layers.ZeroPadding2D(1),
        keras.layers.Conv2D(2, 3, strides=2, name="conv"),
        keras.layers.BatchNormalization(epsilon=1e-5, name="norm"),
        keras.layers.ReLU(),
        keras.layers.Permute((3, 1, 2)),
        keras.layers.Flatten(),
        keras.layers.Dense(2, name="out"),
    ]
    print("Keras:  ", converted(layers))
    print("PyTorch:", np.array([2.333, -1.314]))  # recorded with 2.13
    # --8<-- [end:pytorch]

    # --8<-- [start:pytorch_fails]
    same = keras.layers.Conv2D(2, 3, 2, padding="same", name="conv")
    norm = keras.layers.BatchNormalization(name="norm")
    for what, wrong in {
        "without Permute:": layers[:4] + layers[5:],
        "padding='same': ": [same, *layers[2:]],
        "default epsilon:": [*layers[:2], norm, *layers[3:]],
    }.items():
        print(what, converted(wrong))
    # --8<-- [end:pytorch_fails]
