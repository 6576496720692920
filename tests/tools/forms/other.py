"""Optimizers, schedules, initializers, regularizers, constraints, activations and training steps."""

from __future__ import annotations

import random

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, normal, register, uniform, wide

IF = "errors/layers.html#python-if-on-a-tensor"


@register
class Momentum(keras.optimizers.Optimizer):
    """Gradient descent with a velocity for each weight."""

    def __init__(self, learning_rate=0.05, momentum=0.9, name="momentum", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = self.make(variables)

    def make(self, variables):
        return [self.add_variable_from_reference(variable, name="velocity") for variable in variables]

    def velocity(self, variable):
        return self.velocities[self._get_variable_index(variable)]

    def update_step(self, gradient, variable, learning_rate):
        velocity = self.velocity(variable)
        gradient = ops.cast(gradient, variable.dtype)
        moved = self.factor(variable) * velocity - self.rate(learning_rate, variable) * gradient
        self.assign(velocity, moved)
        self.assign_add(variable, moved)

    def factor(self, variable):
        return ops.cast(self.momentum, variable.dtype)

    def rate(self, learning_rate, variable):
        return ops.cast(learning_rate, variable.dtype)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@register
class ForgetfulMomentum(Momentum):
    """Wrong: its config leaves out `momentum`."""

    def get_config(self):
        return keras.optimizers.Optimizer.get_config(self)


@register
class UntrackedMomentum(Momentum):
    """Wrong: its velocities are `tf.Variable`s, which no file holds."""

    def make(self, variables):
        return [tf.Variable(tf.zeros(variable.shape, variable.dtype)) for variable in variables]


@register
class SignedMomentum(Momentum):
    """Each step is the sign of the gradient and of the velocity (Chen et al. 2023, arXiv:2302.06675, Lion)."""

    def update_step(self, gradient, variable, learning_rate):
        velocity, gradient = self.velocity(variable), ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * ops.sign(0.9 * velocity + 0.1 * gradient))
        self.assign(velocity, 0.99 * velocity + 0.01 * gradient)


@register
class UntrackedSignedMomentum(SignedMomentum):
    """Wrong: its velocities are `tf.Variable`s, which no file holds."""

    def make(self, variables):
        return [tf.Variable(tf.zeros(variable.shape, variable.dtype)) for variable in variables]


@register
class FixedMomentum(Momentum):
    """Wrong: keeps its first learning rate, whatever the schedule says."""

    def build(self, variables):
        super().build(variables)
        if not hasattr(self, "first"):
            self.first = float(self.learning_rate)

    def rate(self, learning_rate, variable):
        return ops.cast(self.first, variable.dtype)


@register
class CountingMomentum(Momentum):
    """Wrong: warms up by a count in Python, which a graph freezes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.steps = 0

    def rate(self, learning_rate, variable):
        self.steps += 1
        return ops.cast(learning_rate, variable.dtype) * min(1.0, self.steps / 20)


@register
class WarmMomentum(Momentum):
    """Warms up by its own count of iterations."""

    def rate(self, learning_rate, variable):
        share = (ops.cast(self.iterations, "float32") + 1) / 20
        return ops.cast(learning_rate, variable.dtype) * ops.cast(ops.minimum(1.0, share), variable.dtype)


@register
class SharedMomentum(Momentum):
    """Wrong: weights of one shape share a velocity."""

    def make(self, variables):
        self.places = {}
        for variable in variables:
            self.places.setdefault(str(variable.shape), len(self.places))
        firsts = {str(variable.shape): variable for variable in reversed(variables)}
        return [self.add_variable_from_reference(firsts[shape], name="velocity") for shape in self.places]

    def velocity(self, variable):
        return self.velocities[self.places[str(variable.shape)]]


@register
class Ascent(Momentum):
    """Wrong: climbs instead of descending."""

    def rate(self, learning_rate, variable):
        return -ops.cast(learning_rate, variable.dtype)


@register
class FloatMomentum(Momentum):
    """Wrong: velocities of float32, whatever the weights are."""

    def make(self, variables):
        return [self.add_variable(shape=v.shape, dtype="float32", name="velocity") for v in variables]


@register
class FlatMomentum(Momentum):
    """Wrong: has velocities of one axis at least, also for a scalar."""

    def make(self, variables):
        return [
            self.add_variable(shape=tuple(v.shape) or (1,), initializer="zeros", dtype=v.dtype, name="velocity")
            for v in variables
        ]


@register
class RootScaled(Momentum):
    """Divides by the root of the mean square of the gradients (RMSprop)."""

    epsilon = 1e-3

    def update_step(self, gradient, variable, learning_rate):
        gradient, square = ops.cast(gradient, variable.dtype), self.velocity(variable)
        self.assign(square, 0.9 * square + 0.1 * ops.square(gradient))
        step = self.rate(learning_rate, variable) * gradient / (ops.sqrt(square) + self.epsilon)
        self.assign_sub(variable, step)


@register
class BareScaled(RootScaled):
    """Wrong: 0 / 0 for a gradient of 0."""

    epsilon = 0.0


@register
class NoisyMomentum(Momentum):
    """Adds noise to the gradients, other noise at each step and for each weight."""

    def update_step(self, gradient, variable, learning_rate):
        noise = tf.random.stateless_normal(gradient.shape, self.seed(variable), dtype="float32")
        super().update_step(gradient + ops.cast(0.01 * noise, gradient.dtype), variable, learning_rate)

    def seed(self, variable):
        step = tf.cast(tf.convert_to_tensor(self.iterations), "int32")
        return tf.stack([tf.constant(self._get_variable_index(variable), "int32"), step])


@register
class SameNoiseMomentum(NoisyMomentum):
    """Wrong: the same noise at each step."""

    def seed(self, variable):
        return tf.constant([7, 7], "int32")


@register
class DeafMomentum(Momentum):
    """Wrong: leaves out what the base class takes, such as `clipnorm`."""

    def __init__(self, learning_rate=0.05, momentum=0.9, name="deaf", **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name)


@register
class FloatRateMomentum(Momentum):
    """Wrong: a schedule becomes a number in its config."""

    def get_config(self):
        return {**super().get_config(), "learning_rate": float(self.learning_rate)}


@register
class EagerCount(Momentum):
    """Wrong: counts a step for each weight."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)
        self.iterations.assign_add(1)


@register
class LateMomentum(Momentum):
    """Wrong: makes its velocities in the first step, not in `build`: a file is loaded before there are any."""

    def make(self, variables):
        return [None for _ in variables]

    def velocity(self, variable):
        index = self._get_variable_index(variable)
        if self.velocities[index] is None:
            self.velocities[index] = self.add_variable_from_reference(variable, name="velocity")
        return self.velocities[index]


@register
class SignDescent(Momentum):
    """Moves each weight by the rate, against the gradient's sign, which takes 8 bits."""

    bits = "int8"

    def update_step(self, gradient, variable, learning_rate):
        direction = ops.cast(ops.cast(-ops.sign(gradient), self.bits), "int8")
        self.assign_add(variable, self.rate(learning_rate, variable) * ops.cast(direction, variable.dtype))


@register
class UnsignedDescent(SignDescent):
    """Wrong: -1 becomes 255 in unsigned bits, and 0 under XLA."""

    bits = "uint8"


Schedule = keras.optimizers.schedules.LearningRateSchedule


@register
class Steps(Schedule):
    """Falls to a tenth after some steps."""

    def __init__(self, start=0.1, boundary=10):
        self.start = start
        self.boundary = boundary

    def __call__(self, step):
        return ops.where(ops.cast(step, "float32") < self.boundary, self.start, self.start / 10)

    def get_config(self):
        return {"start": self.start, "boundary": self.boundary}


@register
class IfSteps(Steps):
    """Wrong: a Python `if` on the step, a tensor in a graph."""

    def __call__(self, step):
        if step < self.boundary:
            return self.start
        return self.start / 10


@register
class ForgetfulSteps(Steps):
    """Wrong: its config leaves out `boundary`."""

    def get_config(self):
        return {"start": self.start}


@register
class Falling(Schedule):
    """Falls in proportion to the root of the step, from the first on."""

    def __init__(self, start=0.1):
        self.start = start

    def __call__(self, step):
        return self.start / ops.sqrt(ops.cast(step, "float32") + 1)

    def get_config(self):
        return {"start": self.start}


@register
class InfiniteFalling(Falling):
    """Wrong: infinite at step 0."""

    def __call__(self, step):
        return self.start / ops.sqrt(ops.cast(step, "float32"))


@register
class Linear(Schedule):
    """Falls to 0 and stays there."""

    def __init__(self, start=0.1, steps=20):
        self.start = start
        self.steps = steps

    def __call__(self, step):
        return self.start * self.share(1 - ops.cast(step, "float32") / self.steps)

    def share(self, left):
        return ops.maximum(left, 0.0)

    def get_config(self):
        return {"start": self.start, "steps": self.steps}


@register
class NegativeLinear(Linear):
    """Wrong: falls below 0."""

    def share(self, left):
        return left


@register
class Decayed(Schedule):
    """Falls with the step, counted in float32."""

    dtype = "float32"

    def __call__(self, step):
        step = ops.cast(step, self.dtype)
        return ops.cast(0.1 * (1 - step / (step + 5000)), "float32")

    def get_config(self):
        return {}


@register
class NarrowDecayed(Decayed):
    """Wrong: counts in float16, which ends at 65504."""

    dtype = "float16"


@register
class CountedFalling(Falling):
    """Wrong: counts its calls in Python."""

    calls = 0

    def __call__(self, step):
        self.calls += 1
        return super().__call__(self.calls)


@register
class WarmedRate(Schedule):
    """Rises at first, to another schedule, which its config holds."""

    def __init__(self, after=None, steps=10):
        self.after = Falling() if after is None else after
        self.steps = steps

    def __call__(self, step):
        return ops.minimum(1.0, (ops.cast(step, "float32") + 1) / self.steps) * self.after(step)

    def get_config(self):
        return {"after": keras.saving.serialize_keras_object(self.after), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["after"]), config["steps"])


@register
class DictWarmed(WarmedRate):
    """Wrong: the other schedule comes back as a dict."""

    def get_config(self):
        return {"after": dict(self.after.get_config()), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class Drawn(keras.initializers.Initializer):
    """Uniform numbers of the scale, repeated under a seed."""

    def __init__(self, scale=0.5, seed=None):
        self.scale = scale
        self.seed = seed
        self.used = random.randint(1, 10**9) if seed is None else seed

    def __call__(self, shape, dtype=None):
        return keras.random.uniform(shape, -self.scale, self.scale, dtype=dtype or "float32", seed=self.used)

    def get_config(self):
        return {"scale": self.scale, "seed": self.seed}


@register
class FloatSpread(Drawn):
    """Wrong: ignores the dtype."""

    def __call__(self, shape, dtype=None):
        return super().__call__(shape, "float32")


@register
class SquareSpread(Drawn):
    """Wrong: ignores the second size of the shape."""

    def __call__(self, shape, dtype=None):
        return super().__call__([shape[0]] * len(shape), dtype)


@register
class AlikeSpread(Drawn):
    """Wrong: the same numbers in each object that has no seed."""

    def __init__(self, scale=0.5, seed=None):
        super().__init__(scale, seed)
        self.used = 7 if seed is None else seed


@register
class SeededSpread(Drawn):
    """Wrong: takes no seed, and draws from one that is fixed."""

    def __init__(self, scale=0.5):
        super().__init__(scale)

    def __call__(self, shape, dtype=None):
        return keras.random.uniform(shape, -self.scale, self.scale, dtype=dtype or "float32", seed=42)

    def get_config(self):
        return {"scale": self.scale}


@register
class NumPySpread(Drawn):
    """Wrong: draws by NumPy's own generator, whatever the seed."""

    def __call__(self, shape, dtype=None):
        drawn = np.random.default_rng().uniform(-self.scale, self.scale, size=tuple(shape))
        return ops.convert_to_tensor(drawn, dtype or "float32")


@register
class SeedlessSpread(Drawn):
    """Wrong: its config leaves out `seed`."""

    def get_config(self):
        return {"scale": self.scale}


@register
class GlobalSpread(Drawn):
    """Wrong: seeds NumPy for the whole program."""

    def __call__(self, shape, dtype=None):
        np.random.seed(self.used % 2**32)
        return super().__call__(shape, dtype)


@register
class Ridge(keras.regularizers.Regularizer):
    """A penalty on squares, summed up in at least 32 bits."""

    def __init__(self, strength=0.01):
        self.strength = strength

    def __call__(self, x):
        return self.strength * ops.sum(ops.square(wide(x)))

    def get_config(self):
        return {"strength": self.strength}


@register
class RowRidge(Ridge):
    """Wrong: a penalty for each column instead of one."""

    def __call__(self, x):
        return self.strength * ops.sum(ops.square(x), axis=0)


@register
class NegativeRidge(Ridge):
    """Wrong: rewards large weights."""

    def __call__(self, x):
        return -super().__call__(x)


@register
class ForgetfulRidge(Ridge):
    """Wrong: its config leaves out `strength`."""

    def get_config(self):
        return {}


@register
class BareNorm(Ridge):
    """Wrong: the gradient of the norm is nan at 0."""

    def __call__(self, x):
        return self.strength * ops.sqrt(ops.sum(ops.square(wide(x))))


@register
class NarrowRidge(Ridge):
    """Wrong: squares and sums in float16, which overflows."""

    def __call__(self, x):
        return self.strength * ops.sum(ops.square(x))


@register
class NumPyRidge(Ridge):
    """Wrong: computes by NumPy, which has no gradient and fails in a graph."""

    def __call__(self, x):
        return self.strength * np.sum(np.square(x))


@register
class StoppedRidge(Ridge):
    """Wrong: stops the gradient."""

    def __call__(self, x):
        return super().__call__(ops.stop_gradient(x))


@register
class CountedRidge(Ridge):
    """Wrong: grows with a Python counter of its calls."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return self.calls * super().__call__(x)


@register
class Bounded(keras.constraints.Constraint):
    """Keeps weights within a bound."""

    def __init__(self, bound=0.5):
        self.bound = bound

    def __call__(self, w):
        return ops.clip(w, -self.bound, self.bound)

    def get_config(self):
        return {"bound": self.bound}


@register
class ShrinkingBounded(Bounded):
    """Wrong: shrinks weights again at each step, though they are within the bound."""

    def __call__(self, w):
        return 0.9 * super().__call__(w)


@register
class NumPyBounded(Bounded):
    """Wrong: computes by NumPy, which fails in a graph."""

    def __call__(self, w):
        return ops.convert_to_tensor(np.clip(w, -self.bound, self.bound))


@register
class DroppingBounded(Bounded):
    """Wrong: drops weights at random, others at each step."""

    def __call__(self, w):
        kept = keras.random.uniform(w.shape, dtype="float32") > 0.1
        return super().__call__(w) * ops.cast(kept, w.dtype)


@register
class Slow(keras.constraints.Constraint):
    """Goes a part of the way into a bound."""

    def __init__(self, rate=0.5):
        self.rate = rate

    def __call__(self, w):
        return (1 - self.rate) * w + self.rate * self.target(w)

    def target(self, w):
        return ops.clip(w, -0.5, 0.5)

    def get_config(self):
        return {"rate": self.rate}


@register
class SlowToNothing(Slow):
    """Wrong: each step takes a part of all weights."""

    def target(self, w):
        return ops.zeros_like(w)


@register
class FloatBounded(Bounded):
    """Wrong: returns float32 in every dtype."""

    def __call__(self, w):
        return super().__call__(ops.cast(w, "float32"))


@register
class ForgetfulBounded(Bounded):
    """Wrong: its config leaves out `bound`."""

    def get_config(self):
        return {}


@register
class Shortened(keras.constraints.Constraint):
    """Scales each column down to a length of 1 at most; zeros stay."""

    def __call__(self, w):
        return w / ops.maximum(1.0, ops.sqrt(ops.sum(ops.square(w), axis=0, keepdims=True)))


@register
class BareShortened(Shortened):
    """Wrong: nan for a column of zeros."""

    def __call__(self, w):
        return w / ops.sqrt(ops.sum(ops.square(w), axis=0, keepdims=True))


@register
class ReducedBounded(Bounded):
    """Wrong: returns one number for each column."""

    def __call__(self, w):
        return ops.mean(super().__call__(w), axis=0)


def logistic(x):
    """The sigmoid of any number."""
    return ops.sigmoid(x)


def bare_logistic(x):
    """Wrong: inf / inf for large inputs."""
    return ops.exp(x) / (1 + ops.exp(x))


def swish(x):
    """Swish: x sigmoid(x)."""
    return x * ops.sigmoid(x)


def float_swish(x):
    """Wrong: returns float32 in every dtype."""
    x = ops.cast(x, "float32")
    return x * ops.sigmoid(x)


def constant_swish(x):
    """Wrong: multiplies by a float32 tensor, which other dtypes refuse."""
    return tf.multiply(tf.constant(1.0), tf.convert_to_tensor(x)) * ops.sigmoid(x)


@tf.custom_gradient
def sloped_tanh(x):
    """The hyperbolic tangent, with its gradient."""
    y = tf.tanh(x)
    return y, lambda upstream: upstream * (1 - y * y)


@tf.custom_gradient
def false_tanh(x):
    """Wrong: a gradient without the square."""
    y = tf.tanh(x)
    return y, lambda upstream: upstream * (1 - y)


@tf.custom_gradient
def sloped_square(x):
    """The square of what is positive, with its gradient."""
    positive = tf.nn.relu(x)
    return positive * positive, lambda upstream: upstream * 2 * positive


@tf.custom_gradient
def false_square(x):
    """Wrong: a gradient without the factor of 2."""
    positive = tf.nn.relu(x)
    return positive * positive, lambda upstream: upstream * positive


def own_tanh(x):
    """The hyperbolic tangent with a gradient of its own."""
    return sloped_tanh(tf.convert_to_tensor(x))


def false_own_tanh(x):
    """Wrong: the slope is 1 - tanh² and not 1 - tanh."""
    return false_tanh(tf.convert_to_tensor(x))


def own_squared_relu(x):
    """The square of relu with a gradient of its own."""
    return sloped_square(tf.convert_to_tensor(x))


def false_squared_relu(x):
    """Wrong: its gradient is half of the true one."""
    return false_square(tf.convert_to_tensor(x))


def shares(x):
    """Softmax over the last axis."""
    return ops.softmax(x, axis=-1)


def batch_shares(x):
    """Wrong: softmax over the batch."""
    return ops.softmax(x, axis=0)


def leaky_root(x):
    """The root of what is positive, with a finite slope."""
    return ops.sqrt(ops.maximum(x, 1e-2))


def bare_root(x):
    """Wrong: the slope of the root is infinite at 0."""
    return ops.sqrt(ops.relu(x))


def batch_scaled(x):
    """Wrong: divides by the largest number of the batch."""
    return ops.tanh(x / (1 + ops.max(ops.abs(x))))


def row_scaled(x):
    """Divides by the largest number of each row."""
    return ops.tanh(x / (1 + ops.max(ops.abs(x), axis=-1, keepdims=True)))


def still_noise(x):
    """Wrong: adds the same noise in each call, in predict too."""
    return ops.relu(x) + 0.1 * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=7)


@register
class Trainer(keras.Model):
    """A training step of its own, which does what `fit` does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.hidden = keras.layers.Dense(6, activation="relu", kernel_regularizer="l2", dtype=policy)
        self.dropout = keras.layers.Dropout(0.3, dtype=policy)
        self.out = keras.layers.Dense(2, dtype=policy)

    def call(self, inputs, training=False):
        return self.out(self.dropout(self.hidden(inputs), training=training))

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self.predicted(x)
            loss = self.loss_of(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, weights), weights)
        return self.report(x, y, y_pred, sample_weight, loss)

    def predicted(self, x):
        return self(x, training=True)

    def loss_of(self, x, y, y_pred, sample_weight):
        return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

    def report(self, x, y, y_pred, sample_weight, loss):
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(y_pred)[0])
        return self.compute_metrics(x, y, y_pred, sample_weight)


@register
class InferenceTrainer(Trainer):
    """Wrong: its step calls the model without `training=True`."""

    def predicted(self, x):
        return self(x)


@register
class UnregularizedTrainer(Trainer):
    """Wrong: its step leaves out the losses of the layers."""

    def loss_of(self, x, y, y_pred, sample_weight):
        return super().loss_of(x, y, y_pred, sample_weight) - tf.add_n(self.losses)


@register
class UnweightedTrainer(Trainer):
    """Wrong: its step drops the sample weights."""

    def loss_of(self, x, y, y_pred, sample_weight):
        return self.compute_loss(x=x, y=y, y_pred=y_pred)


@register
class LastLossTrainer(Trainer):
    """Wrong: reports the loss that it didn't add up, which `fit` shows as 0."""

    def report(self, x, y, y_pred, sample_weight, loss):
        return {"loss": loss}


W = normal(6, 4)
WITH_ZEROS = normal(6, 4)
WITH_ZEROS[:, 1] = 0
X = normal(8, 5)
FIRST = normal(8, 5)
FIRST[0, 0] = 9
LARGE = uniform(6, 4, low=50, high=90)

FORMS = [
    Form(
        "an optimizer's config forgets an argument",
        ForgetfulMomentum,
        Momentum,
        None,
        "config",
        "momentum",
        "optimizer",
    ),
    Form(
        "velocities behind a sign that aren't tracked",
        UntrackedSignedMomentum,
        SignedMomentum,
        None,
        "other",
        r"optimizer_state .*next steps differ",
        "optimizer",
    ),
    Form(
        "velocities that aren't tracked",
        UntrackedMomentum,
        Momentum,
        None,
        "other",
        r"(?i)track|variables|slot|reload|state",
        "optimizer",
    ),
    Form(
        "the learning rate's schedule ignored",
        FixedMomentum,
        Momentum,
        None,
        "other",
        r"(?i)schedule|learning.rate",
        "optimizer",
    ),
    Form(
        "an optimizer with a counter in Python",
        CountingMomentum,
        WarmMomentum,
        None,
        "other",
        r"(?i)python|attribute|graph|frozen",
        "optimizer",
    ),
    Form(
        "one velocity for two weights",
        SharedMomentum,
        Momentum,
        None,
        "other",
        r"(?i)alone|together|share|slot|other",
        "optimizer",
    ),
    Form(
        "an optimizer that climbs",
        Ascent,
        Momentum,
        None,
        "other",
        r"(?i)minimi|lower|quadratic|grow|fall",
        "optimizer",
    ),
    Form("a schedule with an if", IfSteps, Steps, None, "other", r"(?i)\bbool\b|graph|tensor", "schedule", source=IF),
    Form("a schedule's config forgets an argument", ForgetfulSteps, Steps, None, "config", "boundary", "schedule"),
    Form(
        "a schedule that is infinite at 0",
        InfiniteFalling,
        Falling,
        None,
        "other",
        r"(?i)inf|finite|step 0",
        "schedule",
    ),
    Form("a schedule below 0", NegativeLinear, Linear, None, "other", r"(?i)negative|below", "schedule"),
    Form(
        "an initializer without the dtype",
        FloatSpread,
        Drawn,
        None,
        "other",
        r"(?i)dtype|float16|float64",
        "initializer",
    ),
    Form("an initializer without the shape", SquareSpread, Drawn, None, "other", r"(?i)shape", "initializer"),
    Form("the same numbers without a seed", AlikeSpread, Drawn, None, "other", r"(?i)same|equal|seed", "initializer"),
    Form("other numbers under a seed", NumPySpread, Drawn, None, "other", r"(?i)seed|repeat", "initializer"),
    Form("an initializer's config forgets the seed", SeedlessSpread, Drawn, None, "config", "seed", "initializer"),
    Form(
        "an initializer that seeds NumPy",
        GlobalSpread,
        Drawn,
        None,
        "other",
        r"(?i)global|np\.random|numpy",
        "initializer",
    ),
    Form("a penalty for each column", RowRidge, Ridge, W, "other", r"(?i)scalar|shape", "regularizer"),
    Form("a negative penalty", NegativeRidge, Ridge, W, "other", r"(?i)negative|below", "regularizer"),
    Form("a regularizer's config forgets an argument", ForgetfulRidge, Ridge, W, "config", "strength", "regularizer"),
    Form(
        "a penalty with a nan gradient",
        BareNorm,
        Ridge,
        np.zeros((6, 4), "float32"),
        "other",
        r"(?i)gradient|nan",
        "regularizer",
    ),
    Form("a penalty in float16", NarrowRidge, Ridge, LARGE, "other", r"(?i)float16|overflow|inf", "regularizer"),
    Form(
        "a constraint that shrinks again",
        ShrinkingBounded,
        Bounded,
        W,
        "other",
        r"(?i)idempotent|twice|again",
        "constraint",
    ),
    Form("a constraint in float32", FloatBounded, Bounded, W, "other", r"(?i)dtype|float16|float64", "constraint"),
    Form("a constraint's config forgets an argument", ForgetfulBounded, Bounded, W, "config", "bound", "constraint"),
    Form(
        "a constraint that divides by 0",
        BareShortened,
        Shortened,
        WITH_ZEROS,
        "other",
        r"(?i)nan|finite|zero",
        "constraint",
    ),
    Form("a constraint of another shape", ReducedBounded, Bounded, W, "other", r"(?i)shape", "constraint"),
    Form(
        "a sigmoid that overflows", bare_logistic, logistic, X, "other", r"(?i)large|nan|overflow|float16", "activation"
    ),
    Form("an activation in float32", float_swish, swish, X, "other", r"(?i)dtype|float16|float64", "activation"),
    Form("a float32 constant in an activation", constant_swish, swish, X, "other", r"float16|float64", "activation"),
    Form(
        "an activation over the batch", batch_shares, shares, X, "other", r"(?i)(\b|_)rows?(\b|_)|batch", "activation"
    ),
    Form(
        "a step without training=True",
        InferenceTrainer,
        Trainer,
        X,
        "other",
        r"(?i)training|train_step|dropout",
        "model",
    ),
    Form(
        "a step without the layers' losses",
        UnregularizedTrainer,
        Trainer,
        X,
        "other",
        r"(?i)losses|regulari|train_step",
        "model",
    ),
    Form(
        "a step that drops sample weights",
        UnweightedTrainer,
        Trainer,
        X,
        "other",
        r"(?i)sample_weight|train_step",
        "model",
    ),
    Form("a step that reports 0", LastLossTrainer, Trainer, X, "other", r"(?i)loss|train_step|report", "model"),
    Form("velocities of float32", FloatMomentum, Momentum, None, "other", r"(?i)dtypes .*(float|double)", "optimizer"),
    Form("velocities without scalars", FlatMomentum, Momentum, None, "other", r"(?i)shape", "optimizer"),
    Form("0 / 0 for a gradient of 0", BareScaled, RootScaled, None, "other", r"(?i)nan", "optimizer"),
    Form(
        "the same noise at each step",
        SameNoiseMomentum,
        NoisyMomentum,
        None,
        "other",
        r"(?i)same at each step",
        "optimizer",
    ),
    Form("clipnorm without effect", DeafMomentum, Momentum, None, "other", r"(?i)clipnorm has no effect", "optimizer"),
    Form(
        "a schedule that becomes a number",
        FloatRateMomentum,
        Momentum,
        None,
        "other",
        r"(?i)not 0.5 and 0.125",
        "optimizer",
    ),
    Form("a step counted for each weight", EagerCount, Momentum, None, "other", r"(?i)iterations", "optimizer"),
    Form("steps in float16", NarrowDecayed, Decayed, None, "other", r"(?i)not finite", "schedule"),
    Form("a schedule with a counter", CountedFalling, Falling, None, "other", r"(?i)calls changed", "schedule"),
    Form("a schedule inside that becomes a dict", DictWarmed, WarmedRate, None, "other", r"(?i)dict", "schedule"),
    Form("a seed in the code of an initializer", SeededSpread, Drawn, None, "other", r"(?i)equal", "initializer"),
    Form("a penalty by NumPy", NumPyRidge, Ridge, W, "other", r"(?i)numpy", "regularizer"),
    Form("a penalty that pulls at nothing", StoppedRidge, Ridge, W, "other", r"(?i)None", "regularizer"),
    Form("a penalty with a counter", CountedRidge, Ridge, W, "other", r"(?i)calls changed", "regularizer"),
    Form("a constraint by NumPy", NumPyBounded, Bounded, W, "other", r"(?i)numpy", "constraint"),
    Form("a constraint that drops weights", DroppingBounded, Bounded, W, "other", r"(?i)random|again", "constraint"),
    Form("a constraint that leaves nothing", SlowToNothing, Slow, W, "other", r"(?i)nothing", "constraint"),
    Form("an activation whose slope is infinite", bare_root, leaky_root, X, "other", r"(?i)nan or inf", "activation"),
    Form(
        "scaled by the batch, whose first row is largest",
        batch_scaled,
        row_scaled,
        FIRST,
        "other",
        r"(?i)rows",
        "activation",
    ),
    Form("noise of one seed in an activation", still_noise, logistic, X, "other", r"(?i)outputs differ", "activation"),
    Form("velocities made in the first step", LateMomentum, Momentum, None, "other", r"in_model .*loaded", "optimizer"),
    Form("a sign in unsigned bits", UnsignedDescent, SignDescent, None, "other", r"xla .*5 steps", "optimizer"),
    Form(
        "a false gradient of an activation",
        false_squared_relu,
        own_squared_relu,
        X,
        "other",
        r"gradient says",
        "activation",
    ),
    Form("a gradient without a square", false_own_tanh, own_tanh, X, "other", r"gradient says", "activation"),
]
