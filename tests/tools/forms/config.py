"""Configs that lose, change or can't hold an argument."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, aligned, normal, register, uniform

ARGUMENTS = "errors/saving.html#default-arguments-saved"
KWARGS = "errors/layers.html#init-kwargs"
OBJECTS = "errors/saving.html#non-serializable-arguments"
REVIVE = "errors/saving.html#could-not-be-deserialized"
LOCATE = "errors/saving.html#could-not-locate-class"


@register
class Affine(Same):
    """Scales and shifts by two numbers, which its config keeps."""

    def __init__(self, scale=2.0, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.shift = shift

    def call(self, inputs):
        return inputs * self.scale + self.shift

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "shift": self.shift}


@register
class ForgetfulAffine(Affine):
    """Wrong: its config leaves out `shift`."""

    def get_config(self):
        return {**keras.layers.Layer.get_config(self), "scale": self.scale}


@register
class NamelessAffine(Affine):
    """Wrong: `from_config` drops the name."""

    @classmethod
    def from_config(cls, config):
        return cls(scale=config["scale"], shift=config["shift"], dtype=config["dtype"], trainable=config["trainable"])


@register
class BareAffine(Affine):
    """Wrong: its config leaves out `dtype`."""

    def get_config(self):
        config = super().get_config()
        del config["dtype"]
        return config


@register
class UnfrozenAffine(Scaled):
    """Wrong: its config leaves out `trainable`."""

    def get_config(self):
        config = super().get_config()
        del config["trainable"]
        return config


@register
class FrozenAffine(Scaled):
    """Keeps `trainable` in its config."""


@register
class ClosedAffine(Affine):
    """Wrong: takes no `name`, `dtype` and `trainable`."""

    def __init__(self, scale=2.0, shift=0.0):
        super().__init__(scale, shift)


@register
class RecordedAffine(Same):
    """Wrong: has no `get_config`, and the recorded arguments don't follow a change of an attribute."""

    def __init__(self, scale=2.0, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.shift = shift

    def call(self, inputs):
        return inputs * self.scale + self.shift


@register
class Factors(Same):
    """Scales each feature by a number of a list."""

    def __init__(self, factors=(1.0, 2.0, 3.0, 4.0, 5.0), **kwargs):
        super().__init__(**kwargs)
        self.factors = self.kept(factors)

    def kept(self, factors):
        return [float(factor) for factor in factors]

    def call(self, inputs):
        return inputs * ops.convert_to_tensor([float(factor) for factor in self.factors], inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "factors": self.held()}

    def held(self):
        return list(self.factors)


@register
class ArrayFactors(Factors):
    """Wrong: its config holds a NumPy array, which doesn't come back from a file as one."""

    def kept(self, factors):
        return np.asarray(factors)

    def held(self):
        return self.factors


@register
class Percent(Same):
    """Scales by a share in percent, which its config keeps as it was given."""

    def __init__(self, percent=50.0, **kwargs):
        super().__init__(**kwargs)
        self.percent = percent

    def call(self, inputs):
        return inputs * (self.percent / 100)

    def get_config(self):
        return {**super().get_config(), "percent": self.percent}


@register
class ChangedPercent(Percent):
    """Wrong: its config keeps the share, which each copy divides by 100 again."""

    def get_config(self):
        return {**super().get_config(), "percent": self.percent / 100}


@register
class Polynomial(Same):
    """A sum of powers."""

    def __init__(self, powers=(1, 2), **kwargs):
        super().__init__(**kwargs)
        self.powers = list(powers)

    def call(self, inputs):
        return sum(inputs**power for power in self.powers)

    def get_config(self):
        return {**super().get_config(), "powers": list(self.powers)}


@register
class GrowingPolynomial(Polynomial):
    """Wrong: adds a power to what it was given, and to what its config gives it again."""

    def __init__(self, powers=(1, 2), **kwargs):
        super().__init__([*powers, 3], **kwargs)


@register
class ExtendedPolynomial(Polynomial):
    """Adds a power and keeps the powers that it was given."""

    def call(self, inputs):
        return super().call(inputs) + inputs**3


@register
class SharedPolynomial(Polynomial):
    """Wrong: appends to its default, which all objects share."""

    def __init__(self, powers=[], **kwargs):  # noqa: B006
        powers.append(1 + len(powers))
        super().__init__(powers, **kwargs)


@register
class HeldClosedAffine(ClosedAffine):
    """Wrong: takes no `name` and `dtype`, and leaves them out of the config, so that a reloaded one has others."""

    def get_config(self):
        return {"scale": self.scale, "shift": self.shift}


@register
class SizedTower(keras.layers.Layer):
    """Dense layers of the sizes that are given, or of two."""

    def __init__(self, sizes=(4, 3), **kwargs):
        super().__init__(**kwargs)
        self.sizes = self.kept(sizes)
        self.layers = [keras.layers.Dense(size, dtype=self.dtype_policy) for size in self.sizes]

    def kept(self, sizes):
        return list(sizes)

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.sizes[-1])

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes}


@register
class EmptiedTower(SizedTower):
    """Wrong: takes the sizes out of its default, which has two of them."""

    def __init__(self, sizes=[4, 3], **kwargs):  # noqa: B006
        super().__init__(sizes, **kwargs)

    def kept(self, sizes):
        return [sizes.pop(0)]


@register
class Biased(keras.layers.Layer):
    """A kernel, and a bias if it is asked for."""

    def __init__(self, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.use_bias = use_bias

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 3))
        self.bias = self.add_weight(name="bias", shape=(3,)) if self.wants_bias() else None

    def wants_bias(self):
        return self.use_bias

    def call(self, inputs):
        outputs = ops.matmul(inputs, self.kernel)
        return outputs if self.bias is None else outputs + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)

    def get_config(self):
        return {**super().get_config(), "use_bias": self.use_bias}


@register
class AlwaysBiased(Biased):
    """Wrong: makes a bias in any case."""

    def wants_bias(self):
        return True


@register
class OwnPolynomial(Polynomial):
    """Has a default that can't change."""

    def __init__(self, powers=(1,), **kwargs):
        super().__init__(powers, **kwargs)


@register
class Activated(Same):
    """Applies an activation, which its config holds by name."""

    def __init__(self, activation="tanh", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


@register
class BareActivated(Activated):
    """Wrong: its config holds the function itself, which JSON can't."""

    def get_config(self):
        return {**super().get_config(), "activation": self.activation}


@register
class Residual(Same):
    """Adds what a layer, its argument, returns."""

    def __init__(self, layer=None, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer or keras.layers.Dense(5, activation="tanh", dtype=self.dtype_policy)

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)

    def call(self, inputs):
        return inputs + self.layer(inputs)

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["layer"] = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**config)


@register
class DictResidual(Residual):
    """Wrong: doesn't make its layer again from the config."""

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class RebuiltResidual(Residual):
    """Wrong: builds its layer again, which comes from a file already built."""

    def build(self, input_shape):
        self.layer.build(input_shape)


class Halving(keras.initializers.Initializer):
    """Wrong: isn't registered."""

    def __call__(self, shape, dtype=None):
        return ops.full(shape, 0.5, dtype)

    def get_config(self):
        return {}


@register
class RegisteredHalving(Halving):
    """Starts weights at a half."""


@register
class Started(Same):
    """Takes an initializer, which its config holds."""

    def __init__(self, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer or RegisteredHalving())

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer=self.initializer)

    def call(self, inputs):
        return inputs * self.scale

    def get_config(self):
        return {**super().get_config(), "initializer": keras.initializers.serialize(self.initializer)}


@register
class UnregisteredStart(Started):
    """Wrong: its default is an initializer that isn't registered."""

    def __init__(self, initializer=None, **kwargs):
        super().__init__(initializer or Halving(), **kwargs)


class UnregisteredScale(Scaled):
    """Wrong: isn't registered, so that no file that holds it can be loaded."""


@register
class RegisteredScale(Scaled):
    """Is registered."""


@register
class Classes(Same):
    """Weighs features by a dict with integer keys, which it makes again from JSON's strings."""

    def __init__(self, weights_of=None, **kwargs):
        super().__init__(**kwargs)
        self.weights_of = {int(key): value for key, value in (weights_of or {0: 2.0, 3: 0.5}).items()}

    def call(self, inputs):
        factors = [self.weights_of.get(index, 1.0) for index in range(inputs.shape[-1])]
        return inputs * ops.convert_to_tensor(factors, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weights_of": dict(self.weights_of)}


@register
class StringClasses(Classes):
    """Wrong: looks for integers among keys that come back from JSON as strings."""

    def __init__(self, weights_of=None, **kwargs):
        super().__init__(**kwargs)
        self.weights_of = dict(weights_of or {0: 2.0, 3: 0.5})


@register
class Tilted(keras.losses.Loss):
    """Weighs errors above and below by `quantile`."""

    def __init__(self, quantile=0.5, name="tilted", **kwargs):
        super().__init__(name=name, **kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.quantile * error, (self.quantile - 1) * error), axis=-1)

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


@register
class ForgetfulTilted(Tilted):
    """Wrong: its config leaves out `quantile`."""

    def get_config(self):
        return keras.losses.Loss.get_config(self)


@register
class Within(keras.metrics.Mean):
    """The share of predictions within a tolerance."""

    def __init__(self, tolerance=0.5, name="within", **kwargs):
        super().__init__(name=name, **kwargs)
        self.tolerance = tolerance

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = aligned(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype))
        near = ops.abs(y_true - y_pred) < self.tolerance
        return super().update_state(ops.mean(ops.cast(near, self.dtype), axis=-1), sample_weight)

    def get_config(self):
        return {**super().get_config(), "tolerance": self.tolerance}


@register
class ForgetfulWithin(Within):
    """Wrong: its config leaves out `tolerance`."""

    def get_config(self):
        return keras.metrics.Mean.get_config(self)


@register
class Perceptron(keras.Model):
    """Two Dense layers, sized by an argument that its config keeps."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation="relu", dtype=self.dtype_policy)
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class ForgetfulPerceptron(Perceptron):
    """Wrong: its config leaves out `units`."""

    def get_config(self):
        return keras.Model.get_config(self) | {"name": self.name}


def with_lambda(name=None) -> keras.Model:
    """Wrong: a functional model with a Lambda layer of a lambda, which isn't loaded by default."""
    inputs = keras.Input((5,))
    halves = keras.layers.Lambda(lambda x: x / 2)(keras.layers.Dense(3)(inputs))
    return keras.Model(inputs, halves, name=name)


def with_rescaling(name=None) -> keras.Model:
    """A functional model with a Rescaling layer."""
    inputs = keras.Input((5,))
    halves = keras.layers.Rescaling(0.5)(keras.layers.Dense(3)(inputs))
    return keras.Model(inputs, halves, name=name)


@register
class Prepared(keras.layers.Layer):
    """A Dense layer without a bias, with the arguments that Keras names for it."""

    def __init__(
        self,
        activation="tanh",
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 4), **self.options())

    def options(self):
        return {
            "initializer": self.kernel_initializer,
            "regularizer": self.kernel_regularizer,
            "constraint": self.kernel_constraint,
        }

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.kernel))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4)

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


@register
class LinearPrepared(Prepared):
    """Wrong: keeps the activation and never applies it."""

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)


@register
class UninitializedPrepared(Prepared):
    """Wrong: keeps the initializer, and starts its kernel by the default."""

    def options(self):
        return {**super().options(), "initializer": None}


@register
class UnregularizedPrepared(Prepared):
    """Wrong: keeps the regularizer and doesn't hand it on."""

    def options(self):
        return {**super().options(), "regularizer": None}


@register
class UnconstrainedPrepared(Prepared):
    """Wrong: keeps the constraint and doesn't hand it on."""

    def options(self):
        return {**super().options(), "constraint": None}


@register
class Stairs(Same):
    """A smooth staircase, whose steps are given in any order."""

    def __init__(self, levels=None, **kwargs):
        super().__init__(**kwargs)
        self.levels = self.ordered([0.5, -0.5, 0.0] if levels is None else levels)

    def ordered(self, levels):
        return sorted(levels)

    def call(self, inputs):
        return sum((number + 1) * ops.sigmoid(inputs - level) for number, level in enumerate(self.levels))

    def get_config(self):
        return {**super().get_config(), "levels": list(self.levels)}


@register
class SortingStairs(Stairs):
    """Wrong: sorts the list that it is given, which the caller still uses."""

    def ordered(self, levels):
        levels.sort()
        return levels


@register
class Twofold(keras.losses.Loss):
    """Twice another loss, which its config holds."""

    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = self.made(keras.losses.MeanSquaredError() if inner is None else inner)

    def made(self, inner):
        return keras.losses.get(inner)

    def call(self, y_true, y_pred):
        return 2 * self.inner.call(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


@register
class DictTwofold(Twofold):
    """Wrong: the other loss stays the dict that the config holds."""

    def made(self, inner):
        return inner


@register
class Reduced(keras.losses.Loss):
    """The mean size of each sample's errors."""

    def __init__(self, reduction="sum_over_batch_size", **kwargs):
        super().__init__(reduction=reduction, **kwargs)

    def call(self, y_true, y_pred):
        y_true, y_pred = aligned(y_true, y_pred)
        return ops.mean(ops.abs(y_pred - y_true), axis=-1)


@register
class AutoReduced(Reduced):
    """Wrong: `"auto"` was a reduction of Keras 2."""

    def __init__(self, reduction="auto", **kwargs):
        super().__init__(reduction=reduction, **kwargs)


X = normal(8, 5)
Y = (uniform(8, 2, seed=1), uniform(8, 2, seed=2))

FORMS = [
    Form("get_config forgets an argument", ForgetfulAffine, Affine, X, "config", "shift", source=ARGUMENTS),
    Form("get_config keeps a changed value", ChangedPercent, Percent, X, "config", "percent"),
    Form("from_config drops the name", NamelessAffine, Affine, X, "config", r"\bname\b"),
    Form("get_config without the dtype", BareAffine, Affine, X, "config", "dtype"),
    Form("get_config without trainable", UnfrozenAffine, FrozenAffine, X, "config", "trainable"),
    Form("no **kwargs", ClosedAffine, Affine, X, "config", r"name|dtype|trainable|keyword", source=KWARGS),
    Form(
        "an attribute that the recorded config doesn't follow",
        RecordedAffine,
        Affine,
        X,
        "config",
        r"scale|shift|changed",
    ),
    Form(
        "a NumPy array in the config",
        ArrayFactors,
        Factors,
        X,
        "config",
        r"(?i)json|numpy|array|serializ|factors",
        source=OBJECTS,
    ),
    Form("a config that grows", GrowingPolynomial, ExtendedPolynomial, X, "config", "powers"),
    Form("neither name nor dtype", HeldClosedAffine, Affine, X, "config", r"base_arguments .*name"),
    Form("a default that is emptied", EmptiedTower, SizedTower, X, "config", r"can_be_called .*pop"),
    Form("a use_bias that isn't read", AlwaysBiased, Biased, X, "config", r"arguments_act .*weights"),
    Form("a mutable default", SharedPolynomial, OwnPolynomial, X, "config", r"(?i)powers|default"),
    Form(
        "a function in the config",
        BareActivated,
        Activated,
        X,
        "config",
        r"(?i)activation|json|serializ",
        source=OBJECTS,
    ),
    Form(
        "a layer that isn't made from the config again",
        DictResidual,
        Residual,
        X,
        "config",
        r"(?i)dict|layer|deserializ",
        source=REVIVE,
    ),
    Form(
        "an initializer that isn't registered",
        UnregisteredStart,
        Started,
        X,
        "config",
        r"(?i)Halving|register|locate",
        source=LOCATE,
    ),
    Form("integer keys in the config", StringClasses, Classes, X, "config", r"weights_of|keys|reload|differ"),
    Form(
        "a loss's config forgets an argument",
        ForgetfulTilted,
        Tilted,
        Y,
        "config",
        "quantile",
        "loss",
        source=ARGUMENTS,
    ),
    Form(
        "a metric's config forgets an argument",
        ForgetfulWithin,
        Within,
        Y,
        "config",
        "tolerance",
        "metric",
        source=ARGUMENTS,
    ),
    Form(
        "a model's config forgets an argument",
        ForgetfulPerceptron,
        Perceptron,
        X,
        "config",
        "units",
        "model",
        source=ARGUMENTS,
    ),
    Form(
        "a class that isn't registered",
        UnregisteredScale,
        RegisteredScale,
        X,
        "file",
        r"(?i)locate|register|deserializ",
        source=LOCATE,
    ),
    Form(
        "an inner layer that is built twice",
        RebuiltResidual,
        Residual,
        X,
        "file",
        r"(?i)new elements|built|reload|load",
    ),
    Form("a lambda in a Lambda layer", with_lambda, with_rescaling, X, "file", r"(?i)lambda", "model"),
    Form("an activation that isn't applied", LinearPrepared, Prepared, X, "config", r"\bactivation\b"),
    Form("an initializer that isn't used", UninitializedPrepared, Prepared, X, "config", "kernel_initializer"),
    Form("a regularizer that isn't used", UnregularizedPrepared, Prepared, X, "config", "kernel_regularizer"),
    Form("a constraint that isn't used", UnconstrainedPrepared, Prepared, X, "config", "kernel_constraint"),
    Form(
        "a list that is sorted in place",
        SortingStairs,
        Stairs,
        X,
        "config",
        r"arguments_unchanged levels was",
        arguments={"levels": [1.0, -1.0, 0.25]},
    ),
    Form("a loss inside that stays a dict", DictTwofold, Twofold, Y, "config", r"config_gives.*dict", "loss"),
    Form("a reduction of Keras 2", AutoReduced, Reduced, Y, "config", r"can_be_made.*reduction", "loss", raises=True),
]
