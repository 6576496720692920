"""Outputs that depend on the batch, on Python or on the example, and shapes that are declared wrong."""

from __future__ import annotations

import random

import keras
import numpy as np
from keras import ops

from tests.tools.forms.form import Form, Same, Scaled, normal, register, wide

IF = "errors/layers.html#python-if-on-a-tensor"
AXIS = "errors/layers.html#input-shape-axis"
ROWS = r"(?i)(\b|_)rows?(\b|_)|batch"
SHAPE = r"(?i)shape"


@register
class Centre(Same):
    """Subtracts the mean of each row."""

    def call(self, inputs):
        return inputs - ops.mean(inputs, axis=-1, keepdims=True)


@register
class BatchCentre(Same):
    """Wrong: subtracts the mean over the batch."""

    def call(self, inputs):
        return inputs - ops.mean(inputs, axis=0, keepdims=True)


@register
class WholeCentre(Same):
    """Wrong: subtracts the mean over everything."""

    def call(self, inputs):
        return inputs - ops.mean(inputs)


@register
class Ordered(Same):
    """Sorts the features of each row."""

    def call(self, inputs):
        return ops.sort(inputs, axis=-1)


@register
class BatchOrdered(Same):
    """Wrong: sorts over the batch."""

    def call(self, inputs):
        return ops.sort(inputs, axis=0)


@register
class Shares(Same):
    """Softmax over the features."""

    def call(self, inputs):
        return ops.softmax(inputs, axis=-1)


@register
class BatchShares(Same):
    """Wrong: softmax over the batch."""

    def call(self, inputs):
        return ops.softmax(inputs, axis=0)


@register
class Limited(Same):
    """Divides each row by its largest size."""

    def call(self, inputs):
        return inputs / (1 + ops.max(ops.abs(inputs), axis=-1, keepdims=True))


@register
class BatchLimited(Same):
    """Wrong: divides by the largest size in the batch."""

    def call(self, inputs):
        return inputs / (1 + ops.max(ops.abs(inputs)))


@register
class Before(Same):
    """Adds the step before to each step."""

    def call(self, inputs):
        return inputs + ops.pad(inputs, [[0, 0], [1, 0], [0, 0]])[:, :-1]


@register
class RowBefore(Same):
    """Wrong: adds the row before, instead of the step before."""

    def call(self, inputs):
        return inputs + ops.roll(inputs, 1, axis=0)


@register
class Running(Same):
    """A running sum over the steps."""

    def call(self, inputs):
        return ops.cast(ops.cumsum(wide(inputs), axis=1), inputs.dtype)


@register
class BatchRunning(Same):
    """Wrong: a running sum over the batch."""

    def call(self, inputs):
        return ops.cast(ops.cumsum(wide(inputs), axis=0), inputs.dtype)


@register
class Split(keras.layers.Layer):
    """Splits the features into two heads and puts the heads before the steps."""

    def call(self, inputs):
        _, steps, features = inputs.shape
        heads = ops.reshape(inputs, (-1, steps, 2, features // 2))
        return ops.transpose(heads, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, 2, steps, features // 2


@register
class Mixed(Same):
    """Adds to each step what the steps before it hold, by way of steps in front."""

    def call(self, inputs):
        sums = ops.cumsum(wide(self.steps_first(inputs)), axis=0)
        return ops.cast(ops.transpose(sums, (1, 0, 2)), inputs.dtype)

    def steps_first(self, inputs):
        return ops.transpose(inputs, (1, 0, 2))


@register
class ReshapeMixed(Mixed):
    """Wrong: reshapes where it should transpose, which mixes the rows."""

    def steps_first(self, inputs):
        return ops.reshape(inputs, (inputs.shape[1], -1, inputs.shape[2]))


@register
class Flat(keras.layers.Layer):
    """Joins steps and features."""

    def size(self) -> int:
        return -1

    def call(self, inputs):
        return ops.reshape(inputs, (self.size(), inputs.shape[1] * inputs.shape[2]))

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[1] * input_shape[2]


@register
class ExampleFlat(Flat):
    """Wrong: reshapes to the batch of the example."""

    def size(self):
        return 8


@register
class StaticFlat(Flat):
    """Wrong: reshapes to `shape[0]`, which is `None` in a graph."""

    def call(self, inputs):
        return ops.reshape(inputs, (inputs.shape[0], inputs.shape[1] * inputs.shape[2]))


@register
class FirstHalf(Same):
    """Doubles rows of which the first feature is positive, by `ops.where`."""

    def call(self, inputs):
        return ops.where(inputs[..., :1] > 0, 2 * inputs, inputs)


@register
class PythonHalf(Same):
    """Wrong: a Python `if` on a tensor."""

    def call(self, inputs):
        if ops.max(inputs) > 0:
            return ops.where(inputs[..., :1] > 0, 2 * inputs, inputs)
        return inputs


@register
class Rounded(Same):
    """Takes the sine by an operation of Keras."""

    def call(self, inputs):
        return ops.sin(inputs)


@register
class NumPySine(Same):
    """Wrong: takes the sine by NumPy, of a tensor that has no numbers in a graph."""

    def call(self, inputs):
        return ops.convert_to_tensor(np.sin(inputs.numpy()), inputs.dtype)


@register
class SizedByStep(keras.layers.Layer):
    """Wrong: sizes its kernel by axis 1, the steps, though it multiplies the features."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[1], 4))

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4)


@register
class SizedByFeature(SizedByStep):
    """Sizes its kernel by the last axis."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 4))


@register
class Doubled(keras.layers.Layer):
    """Puts each feature beside its square."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return ops.concatenate([inputs, inputs**2], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])


@register
class WrongAxisDoubled(Doubled):
    """Wrong: declares that the axis before the last is doubled."""

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], 2 * input_shape[-2], input_shape[-1])


@register
class SameDoubled(Doubled):
    """Wrong: declares the shape of its input."""

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class StepMean(keras.layers.Layer):
    """The mean over the steps."""

    def call(self, inputs):
        return ops.mean(inputs, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]


@register
class WrongRankMean(StepMean):
    """Wrong: declares an axis of 1 that isn't there."""

    def compute_output_shape(self, input_shape):
        return input_shape[0], 1, input_shape[-1]


@register
class Halved(keras.layers.Layer):
    """Keeps every second step."""

    def call(self, inputs):
        return inputs[:, ::2]

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, None if steps is None else (steps + 1) // 2, features


@register
class KnownHalved(Halved):
    """Wrong: can't declare its shape for an unknown number of steps."""

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, (steps + 1) // 2, features


@register
class FloorHalved(Halved):
    """Wrong: declares one step less for an odd number of steps."""

    def compute_output_shape(self, input_shape):
        batch, steps, features = input_shape
        return batch, None if steps is None else steps // 2, features


@register
class Largest(keras.layers.Layer):
    """The index of the largest feature, an integer, as declared."""

    def call(self, inputs):
        return ops.argmax(inputs, axis=-1)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape[:-1], dtype="int32")


@register
class FloatLargest(Largest):
    """Wrong: declares a float."""

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape[:-1], dtype=self.compute_dtype)


@register
class BatchGate(Scaled):
    """Wrong: gates each row by the mean of the whole batch."""

    def call(self, inputs):
        return super().call(inputs) * ops.sigmoid(ops.mean(inputs))


@register
class RowGate(Scaled):
    """Gates each row by its own mean."""

    def call(self, inputs):
        return super().call(inputs) * ops.sigmoid(ops.mean(inputs, axis=-1, keepdims=True))


@register
class PairAttention(keras.layers.Layer):
    """Attends from each row's steps to the same row's context."""

    def call(self, inputs, context):
        return ops.matmul(self.weights_of(inputs, context), context)

    def weights_of(self, inputs, context):
        scores = ops.matmul(ops.tanh(inputs), ops.swapaxes(ops.tanh(context), 1, 2))
        return ops.softmax(scores, axis=-1)

    def compute_output_shape(self, inputs_shape, context_shape):
        return inputs_shape


@register
class BatchAttention(PairAttention):
    """Wrong: attends to the context of all rows, by its mean over the batch."""

    def call(self, inputs, context):
        shared = ops.mean(context, axis=0, keepdims=True) + ops.zeros_like(context)
        return super().call(inputs, shared)


@register
class ShuffledModel(keras.Model):
    """Wrong: adds another row's hidden values, chosen by the place in the batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(6, activation="relu", dtype=self.dtype_policy)
        self.out = keras.layers.Dense(2, dtype=self.dtype_policy)

    def call(self, inputs):
        hidden = self.hidden(inputs)
        return self.out(hidden + self.other(hidden))

    def other(self, hidden):
        return ops.flip(hidden, axis=0)


@register
class FlippedModel(ShuffledModel):
    """Adds the same row's hidden values, in reverse."""

    def other(self, hidden):
        return ops.flip(hidden, axis=-1)


@register
class Jitter(Same):
    """Wrong: scales by a number of Python's `random`, which a graph repeats."""

    def call(self, inputs, training=False):
        return inputs * random.uniform(0.9, 1.1) if training else inputs


@register
class NumPyJitter(Same):
    """Wrong: adds NumPy's random numbers, which a graph repeats."""

    def call(self, inputs, training=False):
        if not training:
            return inputs
        noise = np.random.default_rng().normal(size=inputs.shape[1:])
        return inputs + ops.convert_to_tensor(noise, inputs.dtype)


@register
class KerasJitter(Same):
    """Scales by a number of Keras's seed generator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        if not training:
            return inputs
        return inputs * keras.random.uniform((), 0.9, 1.1, dtype=inputs.dtype, seed=self.seeds)


@register
class Beside(keras.layers.Layer):
    """Puts the inputs of a dict beside each other, in the order of their names."""

    def call(self, inputs):
        return ops.concatenate([inputs[name] for name in self.order(inputs)], axis=-1)

    def order(self, inputs):
        return sorted(inputs)

    def compute_output_shape(self, input_shape):
        shapes = list(input_shape.values())
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


@register
class GivenBeside(Beside):
    """Wrong: in the order in which the dict happens to hold them."""

    def order(self, inputs):
        return list(inputs)


@register
class Informed(Same):
    """Adds what a Dense layer makes of a context, which is given by keyword."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(5, activation="tanh", dtype=self.dtype_policy)

    def build(self, inputs_shape, context_shape):
        self.dense.build(context_shape)

    def call(self, inputs, context):
        return inputs + self.dense(context)

    def compute_output_shape(self, inputs_shape, context_shape):
        return inputs_shape


@register
class Uninformed(Informed):
    """Wrong: takes the context and drops it."""

    def call(self, inputs, context):
        return inputs + self.dense(inputs)


@register
class Opened(keras.layers.Layer):
    """Scales the first input by a gate, the second."""

    def call(self, inputs):
        values, gate = inputs
        return values * self.share(gate)

    def share(self, gate):
        return ops.sigmoid(gate)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@register
class AlwaysOpened(Opened):
    """Wrong: a softmax over one number is 1, whatever the gate says."""

    def share(self, gate):
        return ops.softmax(gate, axis=-1)


@register
class SampleCentre(Same):
    """Subtracts the mean over the steps and features of each sample."""

    def call(self, inputs):
        flat = self.flat(inputs)
        return ops.reshape(flat - ops.mean(flat, axis=-1, keepdims=True), ops.shape(inputs))

    def flat(self, inputs):
        return ops.reshape(inputs, (ops.shape(inputs)[0], -1))


@register
class StaticSampleCentre(SampleCentre):
    """Wrong: multiplies by the number of steps, which is `None` for sequences of any length."""

    def flat(self, inputs):
        return ops.reshape(inputs, (-1, inputs.shape[1] * inputs.shape[2]))


@register
class StepSum(keras.layers.Layer):
    """The sum of what a layer makes of each step."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3, activation="tanh", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return ops.cast(ops.sum(wide(self.dense(inputs)), axis=1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0], 3


@register
class LoopedStepSum(StepSum):
    """Wrong: a Python loop over the steps, which needs their number."""

    def call(self, inputs):
        steps = [wide(self.dense(inputs[:, step])) for step in range(inputs.shape[1])]
        return ops.cast(sum(steps), self.compute_dtype)


@register
class Paired(keras.layers.Layer):
    """Puts the features into pairs."""

    def call(self, inputs):
        return ops.reshape(inputs, (-1, inputs.shape[-1] // 2, 2))

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1] // 2, 2


@register
class BuiltPaired(Paired):
    """Wrong: its shape is asked for before `build` made what it reads."""

    def build(self, input_shape):
        self.pairs = input_shape[-1] // 2

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.pairs, 2


@register
class Folded(Scaled):
    """Scales the size of each feature."""

    def call(self, inputs):
        return super().call(ops.abs(inputs))


@register
class EarlyFolded(Scaled):
    """Wrong: takes the size in `__call__`, which `TimeDistributed` doesn't use."""

    def __call__(self, inputs, *args, **kwargs):
        return super().__call__(ops.abs(inputs), *args, **kwargs)


@register
class RunningBothWays(Same):
    """A running sum over the steps from the first on, or from the last."""

    def __init__(self, return_sequences=True, go_backwards=False, **kwargs):
        super().__init__(**kwargs)
        self.return_sequences, self.go_backwards = return_sequences, go_backwards
        self.return_state = self.stateful = False

    def call(self, sequences, initial_state=None):
        sums = ops.cumsum(wide(self.directed(sequences)), axis=1)
        if initial_state is not None:
            sums = sums + wide(initial_state[0])[:, None]
        sums = ops.cast(sums, sequences.dtype)
        return sums if self.return_sequences else sums[:, -1]

    def directed(self, sequences):
        return ops.flip(sequences, axis=1) if self.go_backwards else sequences

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        return sequences_shape if self.return_sequences else (sequences_shape[0], *sequences_shape[2:])

    def get_config(self):
        own = {"return_sequences": self.return_sequences, "go_backwards": self.go_backwards}
        return {**super().get_config(), **own}


@register
class RunningForwards(RunningBothWays):
    """Wrong: keeps `go_backwards` and doesn't read it."""

    def directed(self, sequences):
        return sequences


@register
class KeepingCell(keras.layers.Layer):
    """A recurrent cell."""

    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units
        self.inner = keras.layers.Dense(units, dtype=self.dtype_policy)
        self.outer = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.outer.build((input_shape[0], self.units))

    def call(self, inputs, states):
        output = ops.tanh(self.inner(inputs) + self.outer(states[0]))
        return output, [self.kept(output, states[0])]

    def kept(self, new, old):
        return new

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class ForgetfulCell(KeepingCell):
    """Wrong: gives back the state that it was given."""

    def kept(self, new, old):
        return old


def keeping(**kwargs) -> keras.layers.RNN:
    """A recurrent layer around the cell."""
    return keras.layers.RNN(KeepingCell(5, dtype=kwargs.get("dtype")), **kwargs)


def forgetful(**kwargs) -> keras.layers.RNN:
    """Wrong: each step starts from the first state."""
    return keras.layers.RNN(ForgetfulCell(5, dtype=kwargs.get("dtype")), **kwargs)


X = normal(8, 5)
STEPS = normal(8, 7, 4)
EVEN = normal(8, 6, 4)
CONTEXT = {"context": normal(8, 3, 4, seed=1)}
FIELDS = {"height": normal(8, 3), "age": normal(8, 2, seed=1)}
INPUT = r"(?i)each_input.*are the same"

FORMS = [
    Form("the mean over the batch", BatchCentre, Centre, X, "calls", ROWS),
    Form("the mean over everything", WholeCentre, Centre, X, "calls", ROWS),
    Form("sorted over the batch", BatchOrdered, Ordered, X, "calls", ROWS),
    Form("softmax over the batch", BatchShares, Shares, X, "calls", ROWS),
    Form("scaled by the batch's maximum", BatchLimited, Limited, X, "calls", ROWS),
    Form("rolled over the batch", RowBefore, Before, STEPS, "calls", ROWS),
    Form("a running sum over the batch", BatchRunning, Running, STEPS, "calls", ROWS),
    Form("a reshape that should be a transpose", ReshapeMixed, Mixed, EVEN, "calls", ROWS),
    Form("a gate of the batch's mean", BatchGate, RowGate, X, "calls", ROWS),
    Form("attention over the whole batch", BatchAttention, PairAttention, STEPS, "calls", ROWS, keywords=CONTEXT),
    Form("a model that adds another row", ShuffledModel, FlippedModel, X, "calls", ROWS, "model"),
    Form("a reshape to the example's batch", ExampleFlat, Flat, EVEN, "calls", r"(?i)batch"),
    Form("a reshape to shape[0]", StaticFlat, Flat, EVEN, "calls", r"(?i)batch|None|graph|symbolic"),
    Form("an if on a tensor", PythonHalf, FirstHalf, X, "graph", r"(?i)\bbool\b|symbolic|graph", source=IF),
    Form("NumPy in call", NumPySine, Rounded, X, "graph", r"(?i)numpy|symbolic|graph"),
    Form(
        "a kernel sized by the steps",
        SizedByStep,
        SizedByFeature,
        STEPS,
        "calls",
        r"Matrix size",
        source=AXIS,
        raises=True,
    ),
    Form("another axis declared", WrongAxisDoubled, Doubled, STEPS, "calls", SHAPE),
    Form("the input's shape declared", SameDoubled, Doubled, STEPS, "calls", SHAPE),
    Form("another rank declared", WrongRankMean, StepMean, STEPS, "calls", SHAPE),
    Form("no shape for unknown steps", KnownHalved, Halved, STEPS, "calls", r"(?i)shape|None|unknown"),
    Form("one step less declared for odd lengths", FloorHalved, Halved, EVEN, "calls", r"declared_shape"),
    Form("one step less declared", FloorHalved, Halved, STEPS, "calls", SHAPE),
    Form("another dtype declared", FloatLargest, Largest, X, "calls", r"(?i)dtype|float32|int32"),
    Form("Python's random in call", Jitter, KerasJitter, X, "graph", r"(?i)random|repeat|frozen|python"),
    Form("NumPy's random in call", NumPyJitter, KerasJitter, X, "graph", r"(?i)random|repeat|frozen|python"),
    Form("a dict read in its order", GivenBeside, Beside, FIELDS, "calls", r"each_input.*differ"),
    Form(
        "a keyword that is dropped",
        Uninformed,
        Informed,
        X,
        "calls",
        INPUT,
        keywords={"context": normal(8, 5, seed=1)},
    ),
    Form("a second input without effect", AlwaysOpened, Opened, [X, normal(8, 1, seed=1)], "calls", INPUT),
    Form("None in the arithmetic of shapes", StaticSampleCentre, SampleCentre, STEPS, "calls", r"(?i)None"),
    Form("a Python loop over the steps", LoopedStepSum, StepSum, STEPS, "calls", r"(?i)None"),
    Form(
        "a cell that gives back the old state",
        ForgetfulCell,
        KeepingCell,
        X,
        "calls",
        r"cell_states",
        keywords={"states": [normal(8, 5, seed=1)]},
    ),
    Form("a recurrent layer whose state doesn't move", forgetful, keeping, STEPS, "calls", r"reached_weights .*cell"),
    Form("a shape that needs build", BuiltPaired, Paired, EVEN[:, 0], "calls", r"(?i)attribute|pairs"),
    Form("work done in __call__", EarlyFolded, Folded, X, "calls", r"inside_time_distributed .*differ"),
    Form(
        "go_backwards that isn't read",
        RunningForwards,
        RunningBothWays,
        STEPS,
        "calls",
        r"inside_bidirectional .*differ",
    ),
]
