"""Right objects that are unusual: a tool that finds a fault in one of them is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Same, Scaled, near_one, normal, register, uniform, wide

Layer = keras.layers.Layer


def dense(owner: Layer, units: int, **kwargs: Any) -> Layer:
    """A Dense layer in the dtype of its owner."""
    return keras.layers.Dense(units, dtype=owner.dtype_policy, **kwargs)


@register
class Weightless(Same):
    """Has no weights and no arguments."""

    def call(self, inputs):
        return ops.sin(inputs) + inputs


@register
class DictInOut(Layer):
    """Takes a dict and returns a dict with other keys."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.other = dense(self, 3), dense(self, 2)

    def build(self, input_shape):
        self.one.build(input_shape["image"])
        self.other.build(input_shape["table"])

    def call(self, inputs):
        return {"left": self.one(inputs["image"]), "right": self.other(inputs["table"])}

    def compute_output_shape(self, input_shape):
        return {"left": (*input_shape["image"][:-1], 3), "right": (*input_shape["table"][:-1], 2)}


@register
class Nested(Layer):
    """Returns a tuple with a dict and a list in it."""

    def call(self, inputs):
        return inputs * 2, {"sum": ops.sum(inputs, axis=-1), "parts": [ops.abs(inputs), ops.square(inputs)]}

    def compute_output_shape(self, input_shape):
        return input_shape, {"sum": input_shape[:-1], "parts": [input_shape, input_shape]}


@register
class Conditioned(Layer):
    """Takes a condition by keyword, and scales by it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = dense(self, 5)

    def build(self, inputs_shape, condition_shape):
        self.scale.build(condition_shape)

    def call(self, inputs, *, condition):
        return inputs * self.scale(condition)

    def compute_output_shape(self, inputs_shape, condition_shape):
        return inputs_shape


@register
class OptionalContext(Same):
    """Has a weight that only a further input uses, which may be missing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.used, self.optional = dense(self, 5), dense(self, 5)

    def build(self, inputs_shape, context_shape=None):
        self.used.build(inputs_shape)
        self.optional.build(inputs_shape)

    def call(self, inputs, context=None):
        outputs = self.used(inputs)
        return outputs if context is None else outputs + self.optional(context)

    def compute_output_shape(self, inputs_shape, context_shape=None):
        return inputs_shape


@register
class Lookup(Layer):
    """An embedding of integers that passes a mask on for zeros."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(12, 4, mask_zero=True, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.embedding.build(input_shape)

    def call(self, inputs):
        return self.embedding(inputs)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)

    def compute_output_shape(self, input_shape):
        return (*input_shape, 4)


@register
class Moving(Same):
    """Centres by batch statistics in training, by moving ones outside of it."""

    def build(self, input_shape):
        self.mean = self.add_weight(name="mean", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if not (training and self.trainable):
            return inputs - self.mean
        batch = ops.mean(inputs, axis=list(range(len(inputs.shape) - 1)))
        kept = ops.cast(ops.convert_to_tensor(self.mean), batch.dtype)
        self.mean.assign(0.9 * kept + 0.1 * batch)
        return inputs - batch


@register
class OwnSpectral(Layer):
    """Divides its kernel by the largest singular value, which one step of the power method follows in training."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 4))
        self.u = self.add_weight(name="u", shape=(1, 4), initializer=near_one(), trainable=False)

    def call(self, inputs, training=False):
        kernel, u = ops.convert_to_tensor(self.kernel), ops.cast(ops.convert_to_tensor(self.u), inputs.dtype)
        fixed = ops.stop_gradient(kernel)
        v = self.unit(ops.matmul(u, ops.transpose(fixed)))
        moved = self.unit(ops.matmul(v, fixed))
        if training and self.trainable:
            self.u.assign(ops.cast(moved, self.u.dtype))
        sigma = ops.sum(ops.matmul(v, kernel) * moved)
        return ops.matmul(inputs, kernel) / sigma

    def unit(self, x):
        return x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-3)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4)


@register
class MinimalCell(Layer):
    """A recurrent cell."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units
        self.inner, self.outer = dense(self, units), dense(self, units, use_bias=False)

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.outer.build((input_shape[0], self.units))

    def call(self, inputs, states):
        output = ops.tanh(self.inner(inputs) + self.outer(states[0]))
        return output, [output]

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def recurrent(**kwargs: Any) -> Layer:
    """An RNN around a cell of our own."""
    return keras.layers.RNN(MinimalCell(3, dtype=kwargs.get("dtype")), return_sequences=True, **kwargs)


def stateful(**kwargs: Any) -> Layer:
    """An RNN that goes on from batch to batch, with a batch size that is fixed."""
    return keras.layers.GRU(3, stateful=True, **kwargs)


@register
class Strided(Layer):
    """Means pairs of steps: half as many come out."""

    def call(self, inputs):
        even = inputs[:, : 2 * (inputs.shape[1] // 2)] if inputs.shape[1] else inputs
        return (even[:, ::2] + even[:, 1::2]) / 2

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, None if steps is None else steps // 2, features


@register
class Standardized(Same):
    """Standardizes by what `adapt` found, as weights."""

    def build(self, input_shape):
        self.mean = self.add_weight(name="mean", shape=(input_shape[-1],), initializer="zeros", trainable=False)
        self.deviation = self.add_weight(
            name="deviation", shape=(input_shape[-1],), initializer="ones", trainable=False
        )

    def adapt(self, data):
        self(data[:1])
        self.mean.assign(np.mean(data, axis=0))
        self.deviation.assign(np.std(data, axis=0))

    def call(self, inputs):
        return (inputs - self.mean) / self.deviation


def adapted(**kwargs: Any) -> Layer:
    """A layer that was adapted."""
    layer = Standardized(**kwargs)
    layer.adapt(normal(64, 5, seed=5) * 2 + 1)
    return layer


@register
class Spectrum(Layer):
    """The sizes of the frequencies, by an FFT in at least 32 bits."""

    def call(self, inputs):
        narrow = ops.dtype(inputs) in ("float16", "bfloat16")
        real, imaginary = ops.rfft(ops.cast(inputs, "float32") if narrow else inputs)
        return ops.cast(ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-3), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2 + 1)


@register
class Turned(Same):
    """Turns pairs of features by a learned angle, by complex numbers inside."""

    def build(self, input_shape):
        self.angle = self.add_weight(name="angle", shape=(input_shape[-1] // 2,), initializer=near_one())

    def call(self, inputs):
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        numbers = tf.cast(inputs, wide)
        half = inputs.shape[-1] // 2
        angle = tf.cast(tf.convert_to_tensor(self.angle), wide)
        turned = tf.complex(numbers[..., :half], numbers[..., half:]) * tf.complex(tf.cos(angle), tf.sin(angle))
        return tf.cast(tf.concat([tf.math.real(turned), tf.math.imag(turned)], axis=-1), inputs.dtype)


@register
class ComplexOut(Layer):
    """Returns complex numbers."""

    def call(self, inputs):
        wide = tf.cast(inputs, "float32")
        return tf.complex(wide, 2 * wide)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype="complex64")


def vectorized(name=None) -> Layer:
    """Text to integers, by a vocabulary that is given."""
    return keras.layers.TextVectorization(vocabulary=["red", "green", "blue"], output_sequence_length=4, name=name)


@register
class OnBackbone(Layer):
    """A Dense layer on a frozen one, which the optimizer never gets."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.backbone, self.head = dense(self, 6, activation="relu"), dense(self, 2)
        self.backbone.trainable = False

    def build(self, input_shape):
        self.backbone.build(input_shape)
        self.head.build((*input_shape[:-1], 6))

    def call(self, inputs):
        return self.head(self.backbone(inputs))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


@register
class Pairwise(Layer):
    """The squared distances between all rows of the batch, without an axis of its own for a row: `(batch, batch)`."""

    def call(self, inputs):
        differences = wide(inputs)[:, None] - wide(inputs)[None]
        return ops.cast(ops.sum(ops.square(differences), axis=-1), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[0]


@register
class Contrast(Layer):
    """Similarities of each row with all rows, on purpose: a softmax over the batch for a contrastive loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.project = dense(self, 4)

    def build(self, input_shape):
        self.project.build(input_shape)

    def call(self, inputs):
        projected = wide(self.project(inputs))
        unit = projected * ops.rsqrt(ops.sum(ops.square(projected), axis=-1, keepdims=True) + 1e-3)
        return ops.cast(ops.log_softmax(4 * ops.matmul(unit, ops.transpose(unit)), axis=-1), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[0]


@register
class Augmented(Same):
    """Flips and scales rows by chance, in training only."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        shape = (ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))
        signs = ops.sign(keras.random.uniform(shape, -1, 1, seed=self.seeds))
        return inputs * ops.cast(signs, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@tf.custom_gradient
def reverse(x):
    """The same numbers with the gradient reversed."""
    return tf.identity(x), lambda upstream: -upstream


@register
class Reversal(Same):
    """Reverses gradients on purpose, as domain-adversarial training does."""

    def call(self, inputs):
        return reverse(inputs)


@register
class StraightThrough(Same):
    """Rounds, and passes the gradient straight through on purpose."""

    def call(self, inputs):
        return inputs + ops.stop_gradient(ops.round(inputs) - inputs)


@register
class Binarized(Layer):
    """A kernel of -1 and 1, whose gradient passes straight through."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 4))

    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel)
        return ops.matmul(inputs, kernel + ops.stop_gradient(ops.where(kernel > 0, 1 - kernel, -1 - kernel)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4)


@register
class ReZero(Same):
    """A residual branch behind a gate that starts at 0, so that its weights get no gradient at first."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.branch = dense(self, 5, activation="tanh")

    def build(self, input_shape):
        self.branch.build(input_shape)
        self.gate = self.add_weight(name="gate", shape=(), initializer="zeros")

    def call(self, inputs):
        return inputs + self.gate * self.branch(inputs)


@register
class Lazy(Same):
    """Makes and builds its sublayers in `build`, sized by the input."""

    def build(self, input_shape):
        self.steps = [dense(self, input_shape[-1], activation="tanh") for _ in range(2)]
        for step in self.steps:
            step.build(input_shape)

    def call(self, inputs):
        for step in self.steps:
            inputs = step(inputs)
        return inputs


@register
class Endpoint(Layer):
    """Returns one number for the batch: the loss."""

    def call(self, inputs):
        predicted, target = inputs
        return ops.mean(ops.square(predicted - target))

    def compute_output_shape(self, input_shape):
        return ()


@register
class AddsLoss(Scaled):
    """Passes its input on and adds a loss of its activity."""

    def call(self, inputs):
        outputs = super().call(inputs)
        self.add_loss(0.01 * ops.mean(ops.square(ops.cast(outputs, "float32"))))
        return outputs


@register
class Sampling(Layer):
    """Samples from a mean and a log variance in training; the mean outside of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        mean, log_variance = inputs
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seeds)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@register
class Experts(Layer):
    """The two best of four experts, weighed by their gates."""

    def build(self, input_shape):
        self.gate = self.add_weight(name="gate", shape=(input_shape[-1], 4))
        self.kernels = self.add_weight(name="kernels", shape=(4, input_shape[-1], 3))

    def call(self, inputs):
        scores = ops.matmul(inputs, self.gate)
        values, chosen = ops.top_k(scores, k=2)
        kept = ops.sum(ops.one_hot(chosen, 4, dtype=scores.dtype) * ops.softmax(values)[..., None], axis=-2)
        return ops.einsum("bf,efu,be->bu", inputs, self.kernels, kept)

    def compute_output_shape(self, input_shape):
        return input_shape[0], 3


@register
class Tied(keras.Model):
    """An embedding that is used twice: to look up, and transposed, to score."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(12, 4, dtype=self.dtype_policy)

    def call(self, inputs):
        hidden = ops.tanh(ops.mean(self.embedding(inputs), axis=1))
        return self.scores(hidden)

    def scores(self, hidden):
        return ops.matmul(hidden, ops.transpose(ops.cast(self.embedding.embeddings, hidden.dtype)))


@register
class SharedTwice(keras.Model):
    """One encoder for two inputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = dense(self, 4, activation="tanh")

    def call(self, inputs):
        left, right = inputs
        return ops.abs(self.encoder(left) - self.encoder(right))


@register
class OwnStep(keras.Model):
    """A training step of its own, with a tracker for its loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.out = dense(self, 2)

    def call(self, inputs):
        return self.out(inputs)

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, weights), weights)
        return self.compute_metrics(x, y, y_pred, sample_weight) | {"step_loss": loss}


@register
class Gan(keras.Model):
    """Two networks, two optimizers: the step makes the critic's and the generator's move."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator, self.critic = dense(self, 5), dense(self, 1)
        self.generator_optimizer = keras.optimizers.Adam(1e-3)
        self.generator_loss = keras.metrics.Mean(name="generator_loss")

    def call(self, inputs):
        return self.critic(self.generator(inputs))

    def train_step(self, data):
        x, *_ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape(persistent=True) as tape:
            made = self.critic(self.generator(x))
            critic_loss = tf.reduce_mean(made) - tf.reduce_mean(self.critic(x))
            generator_loss = -tf.reduce_mean(made)
        for loss, part, optimizer in (
            (critic_loss, self.critic, self.optimizer),
            (generator_loss, self.generator, self.generator_optimizer),
        ):
            weights = part.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
        self.generator_loss.update_state(generator_loss)
        return {"generator_loss": self.generator_loss.result()}


@register
class Tower(keras.Sequential):
    """A Sequential model with layers of its own, which a config with its argument makes again."""

    def __init__(self, units=6, **kwargs):
        layers = [keras.layers.Dense(units, activation="relu"), keras.layers.Dense(2)]
        super().__init__(layers, **kwargs)
        self.units = units

    def get_config(self):
        return {"name": self.name, "units": self.units}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def functional(name=None) -> keras.Model:
    """A functional model of two inputs, with a residual."""
    left, right = keras.Input((5,), name="left"), keras.Input((4,), name="right")
    hidden = keras.layers.Dense(5, activation="relu")(keras.layers.Concatenate()([left, right]))
    return keras.Model([left, right], keras.layers.Add()([left, hidden]), name=name)


@register
class Causal(Same):
    """A running mean over the steps that takes a mask and passes it on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        narrow = ops.dtype(inputs) in ("float16", "bfloat16")
        numbers = ops.cast(inputs, "float32") if narrow else inputs
        kept = ops.ones_like(numbers[..., :1]) if mask is None else ops.cast(mask, numbers.dtype)[..., None]
        counts = ops.maximum(ops.cumsum(kept, axis=1), 1)
        return ops.cast(ops.cumsum(numbers * kept, axis=1) / counts, inputs.dtype)


@register
class Routed(Same):
    """Starts two weights alike on purpose: both at the identity."""

    def build(self, input_shape):
        size = input_shape[-1]
        self.one = self.add_weight(name="one", shape=(size, size), initializer="identity")
        self.other = self.add_weight(name="other", shape=(size, size), initializer="identity")

    def call(self, inputs):
        return ops.matmul(ops.tanh(ops.matmul(inputs, self.one)), self.other)


@register
class Histogram(Layer):
    """Counts of features in bins, integers without a gradient."""

    def call(self, inputs):
        return ops.cast(ops.sum(ops.cast(inputs > 0, "int32"), axis=-1), "int32")

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape[:-1], dtype="int32")


@register
class FromLogits(keras.losses.Loss):
    """Cross-entropy of integer classes, of logits or of probabilities."""

    def __init__(self, from_logits=True, name="from_logits", **kwargs):
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return ops.sparse_categorical_crossentropy(ops.cast(y_true, "int32"), y_pred, from_logits=self.from_logits)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@register
class ClassRecall(keras.metrics.Metric):
    """The recall of each class, from two variables of a vector shape; the result is a vector too."""

    def __init__(self, classes=4, name="class_recall", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.hits = self.add_weight(name="hits", shape=(classes,), initializer="zeros")
        self.seen = self.add_weight(name="seen", shape=(classes,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        true = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        hit = ops.cast(ops.equal(true, ops.cast(ops.argmax(y_pred, axis=-1), "int32")), self.dtype)
        rows = ops.one_hot(true, self.classes, dtype=self.dtype)
        if sample_weight is not None:
            rows = rows * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        self.hits.assign_add(ops.sum(rows * hit[:, None], axis=0))
        self.seen.assign_add(ops.sum(rows, axis=0))

    def result(self):
        return ops.divide_no_nan(self.hits, self.seen)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@register
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a line, then falls as a cosine; it jumps nowhere, but has a kink."""

    def __init__(self, peak=0.1, warm=10, steps=100):
        self.peak, self.warm, self.steps = peak, warm, steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = ops.clip((step - self.warm) / (self.steps - self.warm), 0.0, 1.0)
        fallen = 0.5 * (1 + ops.cos(np.pi * done))
        return self.peak * ops.where(step < self.warm, step / self.warm, fallen)

    def get_config(self):
        return {"peak": self.peak, "warm": self.warm, "steps": self.steps}


@register
class Layerwise(keras.optimizers.Optimizer):
    """Steps of a length for each weight (LARS-like): one number of state for each."""

    def __init__(self, learning_rate=0.05, name="layerwise", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.scales = [
            self.add_variable(shape=(), initializer="zeros", dtype="float32", name=f"scale_{number}")
            for number in range(len(variables))
        ]

    def update_step(self, gradient, variable, learning_rate):
        scale = self.scales[self._get_variable_index(variable)]
        wide = ops.cast(gradient, "float32")
        mean = 0.9 * scale + 0.1 * ops.mean(ops.square(wide))
        self.assign(scale, mean)
        step = ops.cast(learning_rate, "float32") * wide / (ops.sqrt(mean) + 1e-3)
        self.assign_sub(variable, ops.cast(step, variable.dtype))


@register
class KnownSquares(keras.losses.Loss):
    """Leaves out targets that are nan: they aren't known."""

    def call(self, y_true, y_pred):
        known = ops.logical_not(ops.isnan(y_true))
        errors = ops.where(known, ops.where(known, y_true, ops.zeros_like(y_true)) - y_pred, ops.zeros_like(y_pred))
        counts = ops.sum(ops.cast(known, y_pred.dtype), axis=-1)
        return ops.sum(ops.square(errors), axis=-1) / ops.maximum(counts, 1)


@register
class Sampled(keras.losses.Loss):
    """Compares each prediction with its target and with others that are drawn at random."""

    def call(self, y_true, y_pred):
        others = keras.random.normal((4, y_pred.shape[-1]), dtype=y_pred.dtype)
        near = ops.sum(y_true * y_pred, axis=-1, keepdims=True)
        logits = ops.concatenate([near, ops.matmul(y_pred, ops.transpose(others))], axis=-1)
        return -ops.log_softmax(logits, axis=-1)[:, 0]


@register
class GloballyNormed(keras.optimizers.Optimizer):
    """Divides by the norm of all gradients together."""

    def __init__(self, learning_rate=0.05, name="normed", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def apply(self, grads, trainable_variables=None):
        norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads))
        super().apply([grad / ops.cast(norm + 1e-3, grad.dtype) for grad in grads], trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        step = ops.cast(learning_rate, variable.dtype) * ops.cast(gradient, variable.dtype)
        self.assign_sub(variable, self.factor(variable) * step)

    def factor(self, variable):
        return 1.0


@register
class DecayedByLayer(GloballyNormed):
    """Later weights have a smaller rate."""

    def apply(self, grads, trainable_variables=None):
        keras.optimizers.Optimizer.apply(self, grads, trainable_variables)

    def factor(self, variable):
        return 0.8 ** self._get_variable_index(variable)


@register
class Langevin(DecayedByLayer):
    """Adds noise, drawn anew for each weight and step from these two."""

    def update_step(self, gradient, variable, learning_rate):
        step = tf.cast(tf.convert_to_tensor(self.iterations), "int32")
        seed = tf.stack([tf.constant(self._get_variable_index(variable), "int32"), step])
        noise = 0.01 * tf.random.stateless_normal(gradient.shape, seed)
        super().update_step(gradient + ops.cast(noise, gradient.dtype), variable, learning_rate)


@register
class Fitted(keras.optimizers.Optimizer):
    """One step size for all weights, which grows with the way that they have gone (D-adaptation)."""

    def __init__(self, learning_rate=1.0, name="fitted", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.size = self.add_variable((), initializer=keras.initializers.Constant(0.01), name="size")
        self.starts = [self.add_variable_from_reference(variable, name="start") for variable in variables]
        for start, variable in zip(self.starts, variables, strict=True):
            start.assign(variable)

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.cast(gradient, variable.dtype)
        start = self.starts[self._get_variable_index(variable)]
        went = ops.sum(gradient * (start - variable)) / (ops.sum(ops.abs(gradient)) + 1e-3)
        self.assign(self.size, ops.maximum(self.size, ops.minimum(ops.cast(went, "float32"), 0.2)))
        rate = ops.cast(learning_rate, variable.dtype) * ops.cast(self.size, variable.dtype)
        self.assign_sub(variable, rate * gradient / (ops.sqrt(ops.sum(ops.square(gradient))) + 1e-3))


def ignoring():
    """A loss that leaves a class out by a mask."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)


def scaled_loss():
    """Keras's optimizer around another one, for float16."""
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))


def seeded():
    """An initializer with a seed of its own."""
    return keras.initializers.GlorotUniform(seed=1)


@register
class Thresholds(keras.metrics.Metric):
    """Counts errors between edges; their number is that of the edges, if these are given."""

    def __init__(self, bins=3, edges=None, name="thresholds", **kwargs):
        super().__init__(name=name, **kwargs)
        self.edges = [float(n + 1) for n in range(bins - 1)] if edges is None else list(edges)
        self.counts = self.add_weight(name="counts", shape=(len(self.edges) + 1,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = ops.max(ops.abs(ops.cast(y_pred, self.dtype) - ops.cast(y_true, self.dtype)), axis=-1)
        place = ops.sum(ops.cast(errors[:, None] > ops.convert_to_tensor(self.edges, errors.dtype), "int32"), axis=-1)
        rows = ops.one_hot(place, len(self.edges) + 1, dtype=self.dtype)
        if sample_weight is not None:
            rows = rows * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        self.counts.assign_add(ops.sum(rows, axis=0))

    def result(self):
        return ops.convert_to_tensor(self.counts)

    def get_config(self):
        return {**super().get_config(), "bins": len(self.edges) + 1, "edges": self.edges}


X = normal(8, 5)
UNKNOWN = normal(8, 5)
UNKNOWN[1, 0] = UNKNOWN[4, 2] = np.nan
STEPS = normal(8, 6, 4)
TOKENS = np.random.default_rng(0).integers(1, 12, size=(8, 6)).astype("int32")
TOKENS[:3, 4:] = 0
WORDS = np.array([["red green"], ["blue"], ["red red blue"], ["black"], ["green"], ["blue red"]])

UNUSUAL: list[tuple[str, Callable[..., Any], Any, dict[str, Any]]] = [
    ("no weights", Weightless, X, {}),
    ("a dict in, a dict out", DictInOut, {"image": X, "table": normal(8, 3, seed=1)}, {}),
    ("nested outputs", Nested, X, {}),
    ("an input by keyword only", Conditioned, X, {"condition": normal(8, 3, seed=1)}),
    ("an optional input with a weight of its own", OptionalContext, X, {}),
    ("integers with mask_zero", Lookup, TOKENS, {}),
    ("moving statistics", Moving, X, {}),
    ("batch normalization", keras.layers.BatchNormalization, X, {}),
    ("spectral normalization", OwnSpectral, X, {}),
    ("an RNN around a cell", recurrent, STEPS, {}),
    ("a recurrent cell", MinimalCell, X, {"states": [normal(8, 3, seed=1)]}),
    ("a stateful RNN", stateful, STEPS, {}),
    ("half as many steps", Strided, STEPS, {}),
    ("an adapted layer", adapted, X, {}),
    ("an FFT inside", Spectrum, normal(8, 16), {}),
    ("complex numbers inside", Turned, normal(8, 6), {}),
    ("complex outputs", ComplexOut, X, {}),
    ("text in, integers out", vectorized, WORDS, {}),
    ("a frozen backbone", OnBackbone, X, {}),
    ("distances between rows", Pairwise, X, {}),
    ("similarities over the batch", Contrast, X, {}),
    ("random augmentation", Augmented, X, {}),
    ("gradient reversal", Reversal, X, {}),
    ("straight-through rounding", StraightThrough, X, {}),
    ("a binary kernel", Binarized, X, {}),
    ("a gate that starts at 0", ReZero, X, {}),
    ("sublayers made in build", Lazy, X, {}),
    ("a scalar loss as the output", Endpoint, [X, normal(8, 5, seed=1)], {}),
    ("a loss added in call", AddsLoss, X, {}),
    ("the sampling of a VAE", Sampling, [X, normal(8, 5, seed=1)], {}),
    ("the two best of four experts", Experts, X, {}),
    ("an embedding used twice", Tied, TOKENS, {}),
    ("an encoder used twice", SharedTwice, [X, normal(8, 5, seed=1)], {}),
    ("a train_step of its own", OwnStep, X, {}),
    ("two optimizers", Gan, X, {}),
    ("a subclass of Sequential", Tower, X, {}),
    ("a functional model", functional, [X, normal(8, 4, seed=1)], {}),
    ("a running mean with a mask", Causal, STEPS, {}),
    ("two weights that start as identities", Routed, X, {}),
    ("counts without a gradient", Histogram, X, {}),
    ("a loss from logits", FromLogits, (np.arange(8) % 4, 3 * normal(8, 4, seed=2)), {}),
    ("a metric with vectors", ClassRecall, (np.arange(8) % 4, uniform(8, 4, seed=2)), {}),
    ("a cosine with warm-up", WarmCosine, None, {}),
    ("an optimizer with one number for each weight", Layerwise, None, {}),
    ("targets that aren't known", KnownSquares, (UNKNOWN, normal(8, 5, seed=1)), {}),
    ("a loss with random negatives", Sampled, (X, normal(8, 5, seed=1)), {}),
    ("a class that doesn't count", ignoring, (np.arange(8) % 4, 3 * normal(8, 4, seed=2)), {}),
    ("the norm of all gradients", GloballyNormed, None, {}),
    ("a rate that falls from layer to layer", DecayedByLayer, None, {}),
    ("noise in each step", Langevin, None, {}),
    ("a step size for all weights", Fitted, None, {}),
    ("an optimizer inside of another", scaled_loss, None, {}),
    ("an initializer with a seed", seeded, (6, 4), {}),
    ("edges that set the number of bins", Thresholds, (X, normal(8, 5, seed=1)), {}),
]
"""Of each: its name, what makes it, its inputs and further inputs by keyword."""
