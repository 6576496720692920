"""Numbers that 16 bits, float64 or large inputs make wrong."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tests.tools.forms.form import Form, Same, near_one, normal, register, uniform, wide

F16 = r"(?i)float16|16.bits"
ANY = r"(?i)float16|float64|dtype|16.bits"


@register
class Tripled(Same):
    """Multiplies by a constant in the dtype of its input."""

    def call(self, inputs):
        return inputs * ops.cast(tf.constant(3.0), inputs.dtype)


@register
class ConstantTripled(Same):
    """Wrong: multiplies by a float32 constant, which other dtypes refuse."""

    def call(self, inputs):
        return tf.multiply(inputs, tf.constant(3.0))


@register
class FloatTripled(Tripled):
    """Wrong: returns float32 in every dtype."""

    def call(self, inputs):
        return ops.cast(super().call(inputs), "float32")


@register
class Squashed(Same):
    """The tangent, computed in the dtype of its input."""

    def call(self, inputs):
        return ops.tanh(inputs * 0.7)


@register
class NarrowSquashed(Squashed):
    """Wrong: computes in float32 and casts back, so that float64 loses half of its digits."""

    def call(self, inputs):
        return ops.cast(super().call(ops.cast(inputs, "float32")), inputs.dtype)


@register
class Softened(Same):
    """Softmax that subtracts the maximum."""

    def call(self, inputs):
        largest = ops.max(inputs, axis=-1, keepdims=True)
        powers = ops.exp(inputs - ops.stop_gradient(largest))
        return powers / ops.sum(powers, axis=-1, keepdims=True)


@register
class BareSoftened(Same):
    """Wrong: softmax without the maximum subtracted, which overflows."""

    def call(self, inputs):
        powers = ops.exp(inputs)
        return powers / ops.sum(powers, axis=-1, keepdims=True)


@register
class Unit(Same):
    """Divides each row by the root of its mean square, taken in at least 32 bits."""

    def call(self, inputs):
        numbers = wide(inputs)
        scale = ops.rsqrt(ops.mean(ops.square(numbers), axis=-1, keepdims=True) + 1e-3)
        return ops.cast(numbers * scale, inputs.dtype)


@register
class NarrowUnit(Same):
    """Wrong: squares in 16 bits, which overflows above 255."""

    def call(self, inputs):
        return inputs * ops.rsqrt(ops.mean(ops.square(inputs), axis=-1, keepdims=True) + 1e-3)


@register
class Ratio(Same):
    """Divides by the largest size and an epsilon that float16 can hold."""

    epsilon = 1e-3

    def call(self, inputs):
        return inputs / (ops.max(ops.abs(inputs), axis=-1, keepdims=True) + self.epsilon)


@register
class LostRatio(Ratio):
    """Wrong: its epsilon is 0 in float16, so that rows of zeros become nan."""

    epsilon = 1e-8


@register
class Logged(Same):
    """The logarithm of a share, bounded from below."""

    def call(self, inputs):
        return ops.log(ops.maximum(ops.abs(inputs), 1e-3))


@register
class BareLogged(Same):
    """Wrong: the logarithm of what may be 0."""

    def call(self, inputs):
        return ops.log(ops.abs(inputs))


@register
class LogSum(keras.layers.Layer):
    """The logarithm of a sum of powers, with the maximum taken out."""

    def call(self, inputs):
        return ops.logsumexp(inputs, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@register
class BareLogSum(LogSum):
    """Wrong: takes the powers as they are, which overflows."""

    def call(self, inputs):
        return ops.log(ops.sum(ops.exp(inputs), axis=-1, keepdims=True))


@register
class Mean(keras.layers.Layer):
    """The mean over the steps, summed up in at least 32 bits."""

    def call(self, inputs):
        numbers = wide(inputs)
        return ops.cast(ops.cumsum(numbers, axis=1) / self.count(numbers), inputs.dtype)

    def count(self, numbers):
        return ops.cumsum(ops.ones_like(numbers), axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class NarrowMean(Mean):
    """Wrong: sums and counts in 16 bits, which stand still after 256 or 2048 steps."""

    def call(self, inputs):
        return ops.cumsum(inputs, axis=1) / self.count(inputs)


@register
class Spread(Same):
    """Subtracts the mean, divides by the standard deviation: squares of differences."""

    def call(self, inputs):
        numbers = wide(inputs)
        centred = numbers - ops.mean(numbers, axis=-1, keepdims=True)
        return ops.cast(centred * ops.rsqrt(self.variance(numbers, centred) + 1e-3), inputs.dtype)

    def variance(self, numbers, centred):
        return ops.mean(ops.square(centred), axis=-1, keepdims=True)


@register
class DifferenceSpread(Spread):
    """Wrong: the mean of squares less the square of the mean, which cancels for large means."""

    def variance(self, numbers, centred):
        mean = ops.mean(numbers, axis=-1, keepdims=True)
        return ops.mean(ops.square(numbers), axis=-1, keepdims=True) - ops.square(mean)


@register
class Outer(Same):
    """Passes its dtype policy on to the layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = self.make()

    def make(self):
        return keras.layers.Dense(5, activation="tanh", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)


@register
class PolicylessOuter(Outer):
    """Wrong: the layer inside computes in the global dtype."""

    def make(self):
        return keras.layers.Dense(5, activation="tanh")


@register
class Weighted(Same):
    """Scales by a weight in its dtype."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer=near_one(), dtype=self.kept())

    def kept(self):
        return None

    def call(self, inputs):
        return ops.multiply(inputs, self.scale)


@register
class FixedWeighted(Weighted):
    """Wrong: its weight is float32 in every dtype."""

    def kept(self):
        return "float32"


@register
class PolicyModel(keras.Model):
    """Passes its dtype policy on to its layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(6, activation="relu", dtype=self.policy())
        self.out = keras.layers.Dense(2, dtype=self.policy())

    def policy(self):
        return self.dtype_policy

    def call(self, inputs):
        return self.out(self.hidden(inputs))


@register
class PolicylessModel(PolicyModel):
    """Wrong: its layers compute in the global dtype, whatever its own."""

    def policy(self):
        return None


@register
class Attention(keras.layers.Layer):
    """Attends to the positions that are allowed; a share of 0 for the others in every dtype."""

    def call(self, inputs, allowed):
        keys = ops.tanh(inputs)  # scores of a bounded size
        scores = ops.matmul(keys, ops.swapaxes(keys, 1, 2))
        return ops.matmul(ops.softmax(self.blocked(scores, allowed[:, None, :]), axis=-1), inputs)

    def blocked(self, scores, allowed):
        return ops.where(ops.cast(allowed, "bool"), scores, ops.cast(-3e4, scores.dtype))

    def compute_output_shape(self, inputs_shape, allowed_shape):
        return inputs_shape


@register
class BillionAttention(Attention):
    """Wrong: adds -1e9 times what is not allowed, which is nan in float16."""

    def blocked(self, scores, allowed):
        return scores + (1 - ops.cast(allowed, scores.dtype)) * ops.cast(-1e9, scores.dtype)


@register
class Grown(Same):
    """Softplus that is right for any size."""

    def call(self, inputs):
        return ops.softplus(inputs)


@register
class BareGrown(Same):
    """Wrong: takes the power as it is, which overflows above 11 in float16 and above 88 in float32."""

    def call(self, inputs):
        return ops.log(1 + ops.exp(inputs))


@register
class WideSoftened(Same):
    """Wrong: softmax in 32 bits without the maximum subtracted, which overflows above 88."""

    def call(self, inputs):
        powers = ops.exp(wide(inputs))
        return ops.cast(powers / ops.sum(powers, axis=-1, keepdims=True), inputs.dtype)


X = normal(8, 5)
ROW_OF_ZEROS = normal(8, 5) * (1 - (normal(8, 1, seed=4) > 1))
ROW_OF_ZEROS[2] = 0
STEPS = normal(8, 7, 4)
ALLOWED = {"allowed": (uniform(8, 7, seed=2) > 0.3).astype("float32")}
ALLOWED["allowed"][:, 0] = 1

FORMS = [
    Form("a float32 constant", ConstantTripled, Tripled, X, "dtype", ANY),
    Form("always float32", FloatTripled, Tripled, X, "dtype", ANY),
    Form("float64 through float32", NarrowSquashed, Squashed, X, "dtype", "float64"),
    Form("softmax without the maximum", BareSoftened, Softened, X, "dtype", r"(?i)large|nan|overflow|float16|16.bits"),
    Form("squares in float16", NarrowUnit, Unit, X, "dtype", F16),
    Form("an epsilon lost in float16", LostRatio, Ratio, ROW_OF_ZEROS, "dtype", F16),
    Form("an epsilon that float16 loses for zeros", LostRatio, Ratio, X, "dtype", F16),
    Form("the logarithm of 0", BareLogged, Logged, ROW_OF_ZEROS, "dtype", r"(?i)inf|finite|zero"),
    Form("a log of a sum of powers", BareLogSum, LogSum, X, "dtype", r"(?i)large|inf|overflow|float16|16.bits"),
    Form("a running mean in 16 bits", NarrowMean, Mean, STEPS, "dtype", F16),
    Form("a variance that cancels", DifferenceSpread, Spread, X, "dtype", r"(?i)large|constant|nan|float16|near"),
    Form("an inner layer without the policy", PolicylessOuter, Outer, X, "dtype", ANY),
    Form("a weight that is always float32", FixedWeighted, Weighted, X, "dtype", ANY),
    Form("a model that keeps its dtype to itself", PolicylessModel, PolicyModel, X, "dtype", ANY, "model"),
    Form("a mask of -1e9 in float16", BillionAttention, Attention, STEPS, "dtype", F16, keywords=ALLOWED),
    Form("softplus of large inputs", BareGrown, Grown, X, "dtype", r"(?i)large|inf|overflow|float16|16.bits"),
    Form("softmax in 32 bits without the maximum", WideSoftened, Softened, X, "dtype", r"(?i)nan|overflow"),
]
