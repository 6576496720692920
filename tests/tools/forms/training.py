"""The training flag, random numbers and statistics that move."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, normal, register, wide
from tests.tools.forms.other import Trainer

TRAINING = "errors/models.html#training-argument"


@register
class Dropped(Same):
    """Dropout of its own, in training only."""

    def __init__(self, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        return self.drop(inputs) if training else inputs

    def drop(self, inputs):
        return keras.random.dropout(inputs, self.rate, seed=self.seeds)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@register
class AlwaysDropped(Dropped):
    """Wrong: ignores the training flag, and drops in `predict` too."""

    def call(self, inputs, training=False):
        return self.drop(inputs)


@register
class DefaultDropped(Dropped):
    """Wrong: takes a call without the flag for training."""

    def call(self, inputs, training=True):
        return self.drop(inputs) if training else inputs


@register
class InvertedDropped(Dropped):
    """Wrong: drops outside of training, not in it."""

    def call(self, inputs, training=False):
        return inputs if training else self.drop(inputs)


@register
class FixedDropped(Dropped):
    """Wrong: drops with the same seed in each call, and so the same numbers."""

    def drop(self, inputs):
        return keras.random.dropout(inputs, self.rate, seed=3)


@register
class NumPyDropped(Dropped):
    """Wrong: draws by NumPy, once for a graph and without Keras's seed."""

    def drop(self, inputs):
        kept = np.random.default_rng().uniform(size=inputs.shape[1:]) > self.rate
        return inputs * ops.convert_to_tensor(kept / (1 - self.rate), inputs.dtype)


@register
class UnscaledDropped(Dropped):
    """Wrong: doesn't scale up what it keeps, so that the mean in training is another."""

    def drop(self, inputs):
        kept = keras.random.uniform(ops.shape(inputs), seed=self.seeds) > self.rate
        return inputs * ops.cast(kept, inputs.dtype)


@register
class Noisy(Scaled):
    """Adds noise in training only."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        outputs = super().call(inputs)
        return outputs + self.noise(outputs) if training else outputs

    def noise(self, outputs):
        return keras.random.normal(ops.shape(outputs), stddev=0.1, dtype=outputs.dtype, seed=self.seeds)


@register
class AlwaysNoisy(Noisy):
    """Wrong: takes no training flag, and adds noise in `predict` too."""

    def call(self, inputs):
        return super().call(inputs, training=True)


@register
class UnseededNoisy(Noisy):
    """Wrong: draws by TensorFlow with a generator from the system's entropy, which no seed repeats."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = tf.random.Generator.from_non_deterministic_state()

    def noise(self, outputs):
        return ops.cast(self.generator.normal(tf.shape(outputs), stddev=0.1), outputs.dtype)


@register
class Inner(Same):
    """A Dense layer and a dropout that is told whether it trains."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(5, activation="tanh", dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(0.5, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs, training=False):
        return self.dropout(self.dense(inputs), training=training)


@register
class SilencedInner(Inner):
    """Wrong: tells its dropout that it never trains."""

    def call(self, inputs, training=False):
        return self.dropout(self.dense(inputs), training=False)


@register
class AlwaysInner(Inner):
    """Wrong: tells its dropout that it always trains."""

    def call(self, inputs, training=False):
        return self.dropout(self.dense(inputs), training=True)


@register
class Normed(Same):
    """Batch statistics in training, moving ones outside of it."""

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training and self.trainable:
            self.move(inputs)
            return inputs - ops.mean(inputs, axis=0)
        return inputs - self.mean

    def move(self, inputs):
        batch = ops.cast(ops.mean(inputs, axis=0), self.mean.dtype)
        self.mean.assign(0.9 * ops.cast(self.mean, batch.dtype) + 0.1 * batch)


@register
class BatchNormed(Normed):
    """Wrong: uses the statistics of the batch outside of training too."""

    def call(self, inputs, training=False):
        if training and self.trainable:
            self.move(inputs)
        return inputs - ops.mean(inputs, axis=0)


@register
class AlwaysMoving(Normed):
    """Wrong: moves its statistics outside of training too."""

    def call(self, inputs, training=False):
        self.move(inputs)
        return inputs - ops.mean(inputs, axis=0) if training and self.trainable else inputs - self.mean


@register
class FrozenMoving(Normed):
    """Wrong: moves its statistics though it is frozen."""

    def call(self, inputs, training=False):
        if training:
            self.move(inputs)
            return inputs - ops.mean(inputs, axis=0)
        return inputs - self.mean


@register
class Decaying(Scaled):
    """Scales by its weight."""


@register
class SelfDecaying(Scaled):
    """Wrong: changes its trainable weight in each call."""

    def call(self, inputs):
        self.scale.assign(self.scale * 0.99)
        return super().call(inputs)


@register
class NormedModel(keras.Model):
    """Hands the training flag to its batch normalization."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.hidden = keras.layers.Dense(6, dtype=policy)
        self.norm = keras.layers.BatchNormalization(dtype=policy)
        self.dropout = keras.layers.Dropout(0.5, dtype=policy)
        self.out = keras.layers.Dense(2, dtype=policy)

    def call(self, inputs, training=False):
        hidden = self.norm(self.hidden(inputs), training=training)
        return self.out(self.dropout(hidden, training=training))


@register
class FlaglessModel(NormedModel):
    """Wrong: has no training argument, so that its layers never train in `fit`."""

    def call(self, inputs):
        return super().call(inputs, training=None)


@register
class HalfToldModel(NormedModel):
    """Wrong: keeps the flag from its normalization."""

    def call(self, inputs, training=False):
        hidden = self.norm(self.hidden(inputs), training=False)
        return self.out(self.dropout(hidden, training=training))


@register
class Penalized(Scaled):
    """Adds a loss for large activations, in at least 32 bits."""

    def call(self, inputs):
        outputs = super().call(inputs)
        self.add_loss(self.penalty(outputs))
        return outputs

    def penalty(self, outputs):
        return 0.01 * ops.mean(ops.square(wide(outputs)))


@register
class ListPenalized(Penalized):
    """Wrong: appends to `self.losses`, which is a new list each time."""

    def call(self, inputs):
        outputs = Scaled.call(self, inputs)
        self.losses.append(self.penalty(outputs))
        return outputs


@register
class VectorPenalized(Penalized):
    """Wrong: adds a loss for each row, which `fit` sums up over the batch."""

    def penalty(self, outputs):
        return 0.01 * ops.mean(ops.square(wide(outputs)), axis=-1)


@register
class NarrowPenalized(Penalized):
    """Wrong: squares in 16 bits, which overflows above 255."""

    def penalty(self, outputs):
        return 0.01 * ops.mean(ops.square(outputs))


@register
class ExamplePenalized(Penalized):
    """Wrong: divides by the number of rows in Python, which a graph doesn't know."""

    def penalty(self, outputs):
        return 0.01 * ops.sum(ops.square(wide(outputs))) / (outputs.shape[0] or 1)


@register
class WeightPenalized(Scaled):
    """Adds a loss for large weights."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), regularizer=keras.regularizers.L2(0.01))


@register
class OncePenalized(Scaled):
    """Wrong: adds the loss in `build`: the first call empties the list."""

    def build(self, input_shape):
        super().build(input_shape)
        self.add_loss(0.01 * ops.sum(ops.square(self.scale)))


@register
class Regularized(Same):
    """A Dense layer inside that adds the loss of its regularizer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(5, kernel_regularizer="l2", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)


@register
class TwiceRegularized(Regularized):
    """Wrong: adds the loss of the inner layer again, which Keras collects."""

    def call(self, inputs):
        outputs = super().call(inputs)
        for loss in self.dense.losses:
            self.add_loss(loss)
        return outputs


@register
class Peaked(Same):
    """Divides by the largest size that it has seen in training."""

    def build(self, input_shape):
        self.peak = self.add_weight(name="peak", shape=(), initializer="ones", trainable=False)

    def call(self, inputs, training=False):
        if training and self.trainable:
            self.see(inputs)
        return inputs / self.peak

    def see(self, inputs):
        seen = ops.cast(ops.max(ops.abs(inputs)), self.peak.dtype)
        self.peak.assign(ops.maximum(ops.convert_to_tensor(self.peak), seen))


@register
class AlwaysPeaked(Peaked):
    """Wrong: takes larger inputs into account in `predict` too."""

    def call(self, inputs, training=False):
        self.see(inputs)
        return inputs / self.peak


@register
class Followed(Same):
    """Adds the mean of the last batch of training."""

    def build(self, input_shape):
        self.last = self.add_weight(name="last", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        outputs = inputs + self.last
        if training and self.trainable:
            self.keep(inputs)
        return outputs

    def keep(self, inputs):
        self.last.assign(ops.cast(ops.mean(inputs, axis=0), self.last.dtype))


@register
class AlwaysFollowed(Followed):
    """Wrong: adds the mean of the last batch of `predict` too."""

    def call(self, inputs, training=False):
        outputs = inputs + self.last
        self.keep(inputs)
        return outputs


@register
class DroppedModel(keras.Model):
    """Takes the training flag, so that `fit` tells it to its layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(6, activation="relu", dtype=self.dtype_policy)
        self.inner = self.make()
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)

    def make(self) -> keras.layers.Layer:
        return keras.layers.Dropout(0.5, dtype=self.dtype_policy)

    def call(self, inputs, training=None):
        return self.out(self.inner(self.hidden(inputs), training=training))


@register
class FlaglessDroppedModel(DroppedModel):
    """Wrong: `fit` tells it no flag, and its dropout never acts."""

    def call(self, inputs):
        return self.out(self.inner(self.hidden(inputs)))


@register
class MovingModel(DroppedModel):
    """The same with batch normalization."""

    def make(self):
        return keras.layers.BatchNormalization(dtype=self.dtype_policy)


@register
class FlaglessMovingModel(MovingModel):
    """Wrong: `fit` tells it no flag, and its statistics never move."""

    def call(self, inputs):
        return self.out(self.inner(self.hidden(inputs)))


@register
class Evaluated(Trainer):
    """A `test_step` of its own, which runs the model outside of training."""

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self.tested(x)
        return self.report(x, y, y_pred, sample_weight, self.loss_of(x, y, y_pred, sample_weight))

    def tested(self, x):
        return self(x, training=False)


@register
class TrainingEvaluated(Evaluated):
    """Wrong: `evaluate` runs with dropout."""

    def tested(self, x):
        return self(x, training=True)


@register
class Tracked(Trainer):
    """A training step with a metric, an attribute of the model, which `fit` resets."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.keep(keras.metrics.Mean(name="error"))

    def keep(self, metric: keras.metrics.Metric):
        self.error = metric

    def tracker(self) -> keras.metrics.Metric:
        return self.error

    def report(self, x, y, y_pred, sample_weight, loss):
        self.tracker().update_state(ops.abs(y_pred - ops.cast(y, y_pred.dtype)))
        return super().report(x, y, y_pred, sample_weight, loss) | {"error": self.tracker().result()}


@register
class Untracked(Tracked):
    """Wrong: Keras doesn't know the metric, so that it is never reset."""

    def keep(self, metric):
        self.kept = lambda: metric

    def tracker(self):
        return self.kept()


@register
class PartlyListed(Tracked):
    """Wrong: `metrics` leaves one out, so that it is never reset."""

    @property
    def metrics(self):
        return [one for one in super().metrics if one is not self.error]


@register
class HalfTrainer(Trainer):
    """Wrong: its step gives the optimizer one layer's weights only."""

    @property
    def trainable_variables(self):
        return self.out.trainable_variables


@register
class Climber(Trainer):
    """Wrong: its step follows the gradient upwards."""

    def loss_of(self, x, y, y_pred, sample_weight):
        loss = super().loss_of(x, y, y_pred, sample_weight)
        return ops.stop_gradient(2 * loss) - loss


@register
class Idle(Trainer):
    """Wrong: its step gives the optimizer no weights."""

    @property
    def trainable_variables(self):
        return []


@register
class Numbered(Trainer):
    """Wrong: its step makes a Python number of the loss, which runs eagerly only."""

    def loss_of(self, x, y, y_pred, sample_weight):
        loss = super().loss_of(x, y, y_pred, sample_weight)
        return loss if float(loss) < 1e6 else loss / 2


@register
class Shrinking(Trainer):
    """Wrong: its step makes the weights smaller, whatever the learning rate is."""

    def report(self, *given):
        for weight in self.out.trainable_variables:
            weight.assign(0.99 * weight)
        return super().report(*given)


@register
class ThreeTrainer(Trainer):
    """Wrong: its step takes data without `sample_weight` for an error."""

    def train_step(self, data):
        x, y, sample_weight = data
        return super().train_step((x, y, sample_weight))


@register
class Freezer(Trainer):
    """Wrong: its step freezes a layer, which stays so."""

    def report(self, *given):
        self.hidden.trainable = False
        return super().report(*given)


@register
class Remembering(Trainer):
    """Wrong: its step keeps the last predictions in Python, where a graph can't read them again."""

    last = None

    def loss_of(self, x, y, y_pred, sample_weight):
        before, self.last = self.last, y_pred
        return super().loss_of(x, y, y_pred if before is None else y_pred + 0 * before, sample_weight)


@register
class Encoding(Trainer):
    """A step that calls the layers inside, which are all there from the start."""

    def predicted(self, x):
        return self.out(self.dropout(self.hidden(x), training=True))


@register
class LateEncoding(Encoding):
    """Wrong: a layer is made in `build`, which a step that doesn't call the model never reaches."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        del self.out

    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)
        self.out.build((input_shape[0], 6))


@register
class SeededNoise(Same):
    """A Dropout layer inside, with the seed that is given."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.dropout = keras.layers.Dropout(0.4, seed=self.seed_inside(), dtype=self.dtype_policy)

    def seed_inside(self):
        return self.seed

    def call(self, inputs, training=False):
        return self.dropout(inputs, training=training)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@register
class UnseededNoise(SeededNoise):
    """Wrong: keeps `seed`, and doesn't hand it on."""

    def seed_inside(self):
        return None


@register
class Straightened(Scaled):
    """Keeps the mean of its weights at 1, in training and unless it is frozen."""

    def call(self, inputs, training=False):
        if training and self.moves():
            self.scale.assign(self.scale / ops.mean(self.scale))
        return super().call(inputs)

    def moves(self):
        return self.trainable


@register
class FrozenStraightened(Straightened):
    """Wrong: moves its weights though it is frozen."""

    def moves(self):
        return True


X = normal(16, 5) + 1
FLAG = r"(?i)training|predict"
LOUD = 20 * normal(8, 5)

FORMS = [
    Form("dropout whatever the flag", AlwaysDropped, Dropped, X, "training", FLAG),
    Form("training by default", DefaultDropped, Dropped, X, "training", r"(?i)default|without|predict|training"),
    Form("dropout outside of training", InvertedDropped, Dropped, X, "training", FLAG),
    Form("the same dropout in each call", FixedDropped, Dropped, X, "training", r"(?i)same|repeat|random|call to call"),
    Form("dropout by NumPy", NumPyDropped, Dropped, X, "training", r"(?i)random|repeat|graph|frozen|seed"),
    Form(
        "dropout that isn't scaled",
        UnscaledDropped,
        Dropped,
        X,
        "training",
        r"(?i)mean",
        unseen="Augmentation may change the mean on purpose; nothing declares that it mustn't.",
    ),
    Form("noise in predict", AlwaysNoisy, Noisy, X, "training", r"(?i)predict|training|random|differ"),
    Form("noise that no seed repeats", UnseededNoisy, Noisy, X, "training", r"(?i)seed|repeat"),
    Form("an inner dropout told False", SilencedInner, Inner, X, "training", FLAG),
    Form("an inner dropout told True", AlwaysInner, Inner, X, "training", FLAG),
    Form("batch statistics outside of training", BatchNormed, Normed, X, "training", r"(?i)(\b|_)rows?(\b|_)|batch"),
    Form("statistics moved in predict", AlwaysMoving, Normed, X, "training", r"(?i)mean|moved?|chang|assign"),
    Form("statistics moved though frozen", FrozenMoving, Normed, X, "training", r"(?i)frozen|trainable"),
    Form("a trainable weight changed in call", SelfDecaying, Decaying, X, "gradients", r"(?i)scale|chang|assign"),
    Form(
        "a model without a training argument",
        FlaglessModel,
        NormedModel,
        X,
        "training",
        r"(?i)training",
        "model",
        source=TRAINING,
    ),
    Form(
        "a normalization that isn't told",
        HalfToldModel,
        NormedModel,
        X,
        "training",
        r"(?i)training|norm|mov",
        "model",
        source=TRAINING,
    ),
    Form("a loss appended to self.losses", ListPenalized, Penalized, X, "training", r"self\.losses"),
    Form(
        "an added loss over the rows of the example", ExamplePenalized, Penalized, X, "training", r"tf\.function|eager"
    ),
    Form("a loss added in build", OncePenalized, WeightPenalized, X, "training", r"add_loss"),
    Form("an added loss that is a vector", VectorPenalized, Penalized, X, "training", r"(?i)has the shape"),
    Form("an added loss in float16", NarrowPenalized, Penalized, LOUD, "training", r"(?i)nan|inf"),
    Form("an inner loss added again", TwiceRegularized, Regularized, X, "training", r"(?i)twice"),
    Form("a peak moved by larger inputs", AlwaysPeaked, Peaked, X, "training", r"peak"),
    Form("the last batch kept in predict", AlwaysFollowed, Followed, X, "training", r"last"),
    Form(
        "dropout in a model without the flag",
        FlaglessDroppedModel,
        DroppedModel,
        X,
        "training",
        FLAG,
        "model",
        source=TRAINING,
    ),
    Form(
        "normalization in a model without the flag",
        FlaglessMovingModel,
        MovingModel,
        X,
        "training",
        FLAG,
        "model",
        source=TRAINING,
    ),
    Form(
        "a test_step with training=True",
        TrainingEvaluated,
        Evaluated,
        X,
        "training",
        r"test_step.*acts",
        "model",
        source=TRAINING,
    ),
    Form("a metric that metrics leaves out", PartlyListed, Tracked, X, "training", r"own_metrics .*error", "model"),
    Form("a step that trains one layer only", HalfTrainer, Trainer, X, "training", r"trained_.*hidden|dense", "model"),
    Form("a step that climbs", Climber, Trainer, X, "training", r"trained_.*rises", "model"),
    Form("a step that trains nothing", Idle, Trainer, X, "training", r"trained_.*not moved", "model"),
    Form("a Python number in a step", Numbered, Trainer, X, "training", r"trained_.*eagerly", "model"),
    Form("weights that shrink at learning rate 0", Shrinking, Trainer, X, "training", r"own_train.*moved", "model"),
    Form("a step that needs sample weights", ThreeTrainer, Trainer, X, "training", r"trained_.*unpack", "model"),
    Form("a seed that isn't handed on", UnseededNoise, SeededNoise, X, "training", r"randomness .*differ"),
    Form("a layer that a step freezes", Freezer, Trainer, X, "training", r"trained_.*frozen", "model"),
    Form(
        "a layer made in a build that fit never calls", LateEncoding, Encoding, X, "training", r"After a call", "model"
    ),
    Form("a step that keeps a tensor in Python", Remembering, Trainer, X, "training", r"trained_.*scope", "model"),
    Form("a step's metric that isn't reset", Untracked, Tracked, X, "training", r"(?i)reset", "model"),
    Form("weights moved though frozen", FrozenStraightened, Straightened, X, "training", r"frozen_state .*scale"),
]
