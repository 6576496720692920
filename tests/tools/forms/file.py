"""What a file doesn't bring back, though nothing is raised."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, near_one, normal, register

BUILD = "errors/saving.html#build-then-load-weights"
RELOAD = r"(?i)reload|load_model|new process|file"


@register
class Projected(keras.layers.Layer):
    """A random projection that doesn't train, kept as a weight."""

    def build(self, input_shape):
        self.matrix = self.add_weight(
            name="matrix", shape=(input_shape[-1], 4), initializer=keras.initializers.RandomNormal(), trainable=False
        )

    def call(self, inputs):
        return ops.matmul(inputs, self.matrix)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4)


@register
class NumPyProjected(Projected):
    """Wrong: the projection is an array, drawn again for each object."""

    def build(self, input_shape):
        self.matrix = np.random.default_rng().normal(size=(input_shape[-1], 4))

    def call(self, inputs):
        return ops.matmul(inputs, ops.convert_to_tensor(self.matrix, inputs.dtype))


@register
class Branches(Same):
    """One weight for each of some names, made in the order of the names."""

    # Nine: with five, two processes agree by chance once in 120 runs.
    NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota")

    def build(self, input_shape):
        for name in self.order():
            setattr(self, name, self.add_weight(name=name, shape=(input_shape[-1],), initializer=near_one()))

    def order(self):
        return sorted(self.NAMES)

    def call(self, inputs):
        for number, name in enumerate(self.NAMES):
            inputs = inputs * getattr(self, name) + number
        return inputs


@register
class SetBranches(Branches):
    """Wrong: the order is that of a set of strings, another in each process."""

    def order(self):
        return set(self.NAMES)


@register
class Hashed(Same):
    """Signs for each feature, drawn from a fixed seed."""

    def seed(self) -> int:
        return 7

    def call(self, inputs):
        drawn = np.random.default_rng(self.seed()).normal(size=inputs.shape[-1])
        return inputs * ops.convert_to_tensor(drawn, inputs.dtype)


@register
class StringHashed(Hashed):
    """Wrong: the seed is the hash of a string, another in each process."""

    def seed(self):
        return abs(hash("signs"))


@register
class Centred(Same):
    """Subtracts the means that `adapt` found, kept as a weight."""

    def build(self, input_shape):
        self.mean = self.add_weight(name="mean", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def adapt(self, data):
        self(data[:1])
        self.mean.assign(np.mean(data, axis=0))

    def call(self, inputs):
        return inputs - self.mean


@register
class UnsavedCentred(Same):
    """Wrong: keeps the means that `adapt` found as an array, which no file holds."""

    def build(self, input_shape):
        self.mean = np.zeros(input_shape[-1])

    def adapt(self, data):
        self(data[:1])
        self.mean = np.mean(data, axis=0)

    def call(self, inputs):
        return inputs - ops.convert_to_tensor(self.mean, inputs.dtype)


def adapted(cls: type):
    """Makes a layer of the class that has seen data."""

    def make(**kwargs):
        """Makes one and shows it data."""
        layer = cls(**kwargs)
        layer.adapt(normal(32, 5, seed=3) + 2)
        return layer

    return make


@register
class Adder(keras.Model):
    """Adds what two Dense layers make of two inputs, given as one list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.right = keras.layers.Dense(3, dtype=self.dtype_policy)

    def call(self, inputs):
        left, right = inputs
        return self.left(left) + self.right(right)


@register
class EmptyBuild(Adder):
    """Wrong: its `build` builds nothing, and a file loads into no weights."""

    def build(self, input_shape):
        pass


@register
class BuildLayers(keras.Model):
    """Wrong: its `build` makes the layers and doesn't build them."""

    def build(self, input_shape):
        self.hidden = keras.layers.Dense(8, activation="relu", dtype=self.dtype_policy)
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


@register
class InitLayers(keras.Model):
    """Makes the layers with the model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8, activation="relu", dtype=self.dtype_policy)
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


@register
class HalfSaved(Scaled):
    """Wrong: writes its own weights into the file and doesn't read them again."""

    def save_own_variables(self, store):
        store["scale"] = ops.convert_to_numpy(self.scale)

    def load_own_variables(self, store):
        pass


@register
class WholeSaved(Scaled):
    """Writes its own weights into the file and reads them again."""

    def save_own_variables(self, store):
        store["scale"] = ops.convert_to_numpy(self.scale)

    def load_own_variables(self, store):
        self.scale.assign(store["scale"])


@register
class Stacked(keras.Sequential):
    """A Sequential model that makes its layers, as its own `from_config` knows."""

    def __init__(self, units=6, **kwargs):
        super().__init__([keras.layers.Dense(units, activation="relu"), keras.layers.Dense(2)], **kwargs)
        self.units = units

    def get_config(self):
        return {"name": self.name, "units": self.units}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class DoublyStacked(keras.Sequential):
    """Wrong: makes its layers, and is given them again by the inherited `from_config`."""

    def __init__(self, units=6, **kwargs):
        super().__init__([keras.layers.Dense(units, activation="relu"), keras.layers.Dense(2)], **kwargs)


@register
class Unbuilt(keras.Model):
    """Wrong: has no `build`, and Keras builds what it loads by the first argument only."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left = keras.layers.Dense(3, dtype=self.dtype_policy)
        self.right = keras.layers.Dense(3, dtype=self.dtype_policy)

    def call(self, inputs, context):
        return self.left(inputs) + self.right(context)


@register
class BothBuilt(Unbuilt):
    """Adds what two Dense layers make of two arguments, and builds both."""

    def build(self, inputs_shape, context_shape):
        self.left.build(inputs_shape)
        self.right.build(context_shape)


@register
class HalfBuilt(Unbuilt):
    """Wrong: its `build` knows of one argument, and the weights of the second layer aren't loaded."""

    def build(self, input_shape):
        self.left.build(input_shape)


X = normal(8, 5)
PAIR = [normal(8, 5), normal(8, 4, seed=1)]

FORMS = [
    Form("a random array instead of a weight", NumPyProjected, Projected, X, "file", RELOAD),
    Form(
        "weights made in the order of a set",
        SetBranches,
        Branches,
        X,
        "file",
        RELOAD,
    ),
    Form(
        "a seed from hash()",
        StringHashed,
        Hashed,
        X,
        "file",
        RELOAD,
    ),
    Form("adapted statistics in an array", adapted(UnsavedCentred), adapted(Centred), X, "file", RELOAD),
    Form("a model's build that builds nothing", EmptyBuild, Adder, PAIR, "file", RELOAD, "model", source=BUILD),
    Form("a model's build that makes layers", BuildLayers, InitLayers, X, "file", RELOAD, "model", source=BUILD),
    Form("a Sequential model that makes its layers", DoublyStacked, Stacked, X, "file", RELOAD + "|config", "model"),
    Form("weights written and not read", HalfSaved, WholeSaved, X, "file", RELOAD),
    Form(
        "a model's build for one of two arguments",
        HalfBuilt,
        BothBuilt,
        X,
        "file",
        RELOAD,
        "model",
        keywords={"context": PAIR[1]},
        source=BUILD,
    ),
    Form(
        "a model of two arguments without a build",
        Unbuilt,
        BothBuilt,
        X,
        "file",
        RELOAD,
        "model",
        keywords={"context": PAIR[1]},
        source=BUILD,
    ),
]
