"""What custom layers cost, counted, and the checks that find it."""

# --8<-- [start:imports]
import keras
import numpy as np
import tensorflow as tf
from keras import ops

# --8<-- [end:imports]


# --8<-- [start:feature_norm]
@keras.saving.register_keras_serializable(package="guide")
class FeatureNorm(keras.layers.Layer):
    """Layer normalisation of the last axis: Ba, Kiros and Hinton 2016.

    ``gamma * (inputs - mean) / sqrt(variance + epsilon) + beta``,
    arXiv:1607.06450.

    Args:
        epsilon: Added to the variance, so that a row of equal numbers isn't
            divided by 0.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True  # the mask of the inputs goes on

    def build(self, input_shape):
        features = input_shape[-1]
        self.input_spec = keras.InputSpec(axes={-1: features})
        self.gamma = self.add_weight(
            name="gamma", shape=(features,), initializer="ones", autocast=False
        )
        self.beta = self.add_weight(
            name="beta", shape=(features,), initializer="zeros", autocast=False
        )

    def call(self, inputs):
        # Squares overflow in float16: compute in 32 bits at least.
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, wide)
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        normal = centred / ops.sqrt(variance + self.epsilon)
        gamma, beta = ops.cast(self.gamma, wide), ops.cast(self.beta, wide)
        return ops.cast(gamma * normal + beta, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


# --8<-- [end:feature_norm]


# --8<-- [start:time_attention]
@keras.saving.register_keras_serializable(package="guide")
class TimeAttention(keras.layers.Layer):
    """The mean over time, each step weighted by how much it matters.

    ``softmax(inputs @ query)`` over the steps gives the weights. The values of
    a masked step are ignored. Its weight is 0, unless all steps are masked.

    Shapes:
        ``(batch, time, features)`` to ``(batch, features)``.
    """

    def build(self, input_shape):
        features = input_shape[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: features})
        self.query = self.add_weight(
            name="query", shape=(features, 1), autocast=False
        )

    def weigh(self, inputs, mask=None):
        query = ops.cast(self.query, inputs.dtype)
        scores = ops.matmul(inputs, query)  # (batch, time, 1)
        if mask is not None:
            scores = ops.where(mask[..., None], scores, -1e9)
        return ops.softmax(scores, axis=1)

    def call(self, inputs, mask=None):
        # Many steps have small weights: compute in 32 bits at least.
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, wide)
        if mask is not None:  # a weight of 0 times infinity would be NaN
            x = ops.where(mask[..., None], x, 0)
        mean = ops.sum(self.weigh(x, mask) * x, axis=1)  # (batch, features)
        return ops.cast(mean, self.compute_dtype)

    def compute_mask(self, inputs, previous_mask):
        return None  # the outputs have no steps

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]


# --8<-- [end:time_attention]


# --8<-- [start:running_mean]
def running_mean(inputs):
    """The mean of each step and all steps before it.

    Shapes:
        ``(batch, time, features)`` to ``(batch, time, features)``.
    """
    # A long sum in 16 bits stops growing: add up in 32 bits at least.
    x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    means = ops.cumsum(x, axis=1) / ops.cumsum(ops.ones_like(x), axis=1)
    return ops.cast(means, keras.backend.result_type(inputs.dtype, float))


# --8<-- [end:running_mean]


# --8<-- [start:slopes]
def slopes(layer, inputs, **options):
    """Slope along a random direction: what the tape says, what is measured.

    The slope of a randomly weighted sum of the floating-point outputs, as the
    trainable weights move. They don't move from where they start, but from near
    it: a weight that starts at 0 hides the slopes of those before it.

    Args:
        layer: A layer or model whose dtype is ``float64``.
        inputs: A batch, or a list or dict of batches.
        options: As for a call, such as ``training=True``.
    """
    # NumPy's `inputs * weight` would turn the weight into a constant.
    inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    layer(inputs, **options)  # builds it
    weights, state = layer.trainable_variables, layer.non_trainable_variables
    starts = [w + 0.1 * np.random.normal(size=w.shape) for w in weights]
    directions = [np.random.normal(size=w.shape) for w in weights]

    def outputs(move):
        pairs = zip(starts, directions, strict=True)
        moved = [start + move * direction for start, direction in pairs]
        eagerly = tf.config.functions_run_eagerly()
        # A traced `tf.function` would keep the weights it was traced with.
        tf.config.run_functions_eagerly(True)
        try:
            result, _ = layer.stateless_call(moved, state, inputs, **options)
        finally:
            tf.config.run_functions_eagerly(eagerly)
        is_float = keras.backend.is_float_dtype
        return [o for o in keras.tree.flatten(result) if is_float(o.dtype)]

    targets = [np.random.normal(size=output.shape) for output in outputs(0.0)]

    def loss(move):
        pairs = zip(outputs(move), targets, strict=True)
        return sum(ops.sum(output * target) for output, target in pairs)

    move = tf.Variable(0.0, dtype="float64")
    with tf.GradientTape() as tape:
        value = loss(move)
    by_tape = tape.gradient(value, move, unconnected_gradients="zero")
    measured = (loss(1e-6) - loss(-1e-6)) / 2e-6
    return float(by_tape), float(measured)


# --8<-- [end:slopes]


if __name__ == "__main__":
    # --8<-- [start:bare_norm]
    class BareNorm(keras.layers.Layer):
        def build(self, input_shape):
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(shape=shape, initializer="ones")
            self.beta = self.add_weight(shape=shape, initializer="zeros")

        def call(self, x):
            centred = x - ops.mean(x, axis=-1, keepdims=True)
            variance = ops.mean(centred**2, axis=-1, keepdims=True)
            normal = centred / ops.sqrt(variance + 1e-3)
            return self.gamma * normal + self.beta

    # --8<-- [end:bare_norm]

    # --8<-- [start:four_checks]
    keras.utils.set_random_seed(7)
    batch = np.random.normal(size=(5, 7, 4)).astype("float32")

    def equals_the_built_in(norm):
        ours, built_in = norm(), keras.layers.LayerNormalization()
        gamma, beta = np.random.normal(size=(2, 4))
        for layer in (ours, built_in):
            layer.build(batch.shape)
            layer.set_weights([gamma, beta])
        return np.allclose(ours(batch), built_in(batch), atol=1e-5)

    def survives_float16(norm):
        large = 300 * batch
        half = norm(dtype="mixed_float16")(large)
        return np.allclose(half, norm()(large), atol=0.01)

    def propagates_the_mask(norm):
        pooling = keras.layers.GlobalAveragePooling1D()
        model = keras.Sequential([keras.layers.Masking(), norm(), pooling])
        padded = np.pad(batch, [(0, 0), (0, 3), (0, 0)])  # (5, 10, 4)
        return np.allclose(model(padded), model(batch), atol=1e-5)

    def comes_back_from_a_file(norm):
        model = keras.Sequential([keras.Input((7, 4)), norm()])
        # Away from the start, where new weights would pass for the saved ones.
        model.set_weights([weight + 0.5 for weight in model.get_weights()])
        model.save("norm.keras")
        try:
            reloaded = keras.saving.load_model("norm.keras")
        except TypeError:
            return False
        return np.allclose(reloaded(batch), model(batch), atol=1e-5)

    # --8<-- [end:four_checks]

    # --8<-- [start:bare_result]
    checks = (
        equals_the_built_in,
        survives_float16,
        propagates_the_mask,
        comes_back_from_a_file,
    )

    def compare(norm):
        print(f"{'':24}{'built-in':10}yours")
        for check in checks:
            built_in = check(keras.layers.LayerNormalization)
            print(f"{check.__name__:24}{built_in!s:10}{check(norm)}")

    compare(BareNorm)
    # --8<-- [end:bare_result]

    # --8<-- [start:fixed_result]
    compare(FeatureNorm)
    # --8<-- [end:fixed_result]

    # --8<-- [start:wrong_axis]
    class WrongAxis(TimeAttention):
        def weigh(self, inputs, mask=None):
            scores = ops.matmul(inputs, self.query)  # (batch, time, 1)
            return ops.softmax(scores, axis=0)

    # --8<-- [end:wrong_axis]

    # --8<-- [start:attend]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(500, 7, 4)).astype("float32")
    x[..., 0] = np.eye(7)[np.random.randint(7, size=500)]  # marks one step
    y = np.sum(x[..., :1] * x[..., 1:2], axis=1)  # (500, 1): what it holds

    for attention in (WrongAxis(), TimeAttention()):
        model = keras.Sequential([attention, keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
        losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
        total = ops.sum(attention.weigh(x), axis=1)[0, 0]
        change = ops.abs(model(x)[0] - model(x[:2])[0])[0]

        print(f"{type(attention).__name__}: ", end="")
        print(f"loss from {losses[0]:.1f} to {losses[-1]:.1f}")
        print(f"  weights of the first sample's steps add up to {total:.2f}")
        print(f"  in a batch of 2, its output changes by {change:.0f}")
    # --8<-- [end:attend]

    # --8<-- [start:looped_mean]
    def looped_mean(inputs):
        total, means = 0.0, []
        for step in range(inputs.shape[1]):
            total = total + inputs[:, step]
            means.append(total / (step + 1))
        return ops.stack(means, axis=1)

    # --8<-- [end:looped_mean]

    # --8<-- [start:operations]
    def operations(function, steps):
        spec = tf.TensorSpec((None, steps, 4))
        graph = tf.function(function).get_concrete_function(spec).graph
        return len(graph.get_operations())

    difference = np.max(np.abs(looped_mean(x) - running_mean(x)))
    print(f"largest difference of the outputs: {difference:.5f}")
    for function in (looped_mean, running_mean):
        counts = {steps: operations(function, steps) for steps in (8, 32, 128)}
        print(f"{function.__name__}: operations by steps {counts}")
    # --8<-- [end:operations]

    # --8<-- [start:ones]
    ones = ops.ones((1, 1000, 1), dtype="bfloat16")
    for function in (looped_mean, running_mean):
        mean = float(function(ones)[0, -1, 0])
        print(f"{function.__name__}: mean of 1000 ones: {mean:.2f}")
    # --8<-- [end:ones]

    # --8<-- [start:traces]
    any_length = [tf.TensorSpec((None, None, 4))]
    functions = {
        "by default": tf.function(running_mean),
        "reduce_retracing": tf.function(running_mean, reduce_retracing=True),
        "input_signature": tf.function(
            running_mean, input_signature=any_length
        ),
    }
    for name, function in functions.items():
        for steps in range(1, 21):
            function(tf.ones((2, steps, 4)))
        traces = function.experimental_get_tracing_count()
        print(f"{name}: {traces} traces for 20 lengths")
    # --8<-- [end:traces]

    # --8<-- [start:check_built_in]
    norm, built_in = FeatureNorm(), keras.layers.LayerNormalization()
    gamma, beta = np.random.normal(size=(2, 4))
    for layer in (norm, built_in):
        layer.build(batch.shape)
        layer.set_weights([gamma, beta])
    difference = np.max(np.abs(norm(batch) - built_in(batch)))
    print(f"largest difference from the built-in: {difference:.5f}")
    # --8<-- [end:check_built_in]

    # --8<-- [start:check_slopes]
    for layer in (FeatureNorm(dtype="float64"), TimeAttention(dtype="float64")):
        by_tape, measured = slopes(layer, batch.astype("float64"))
        print(
            f"{type(layer).__name__}: slope {by_tape:.4f} by the tape, ", end=""
        )
        print(f"{measured:.4f} measured")
    # --8<-- [end:check_slopes]

    # --8<-- [start:check_file]
    model = keras.Sequential(
        [keras.Input((7, 4)), FeatureNorm(), TimeAttention()]
    )
    # Away from the start, where new weights would pass for the saved ones.
    model.set_weights([weight + 0.5 for weight in model.get_weights()])
    model.save("model.keras")
    reloaded = keras.saving.load_model("model.keras")
    difference = np.max(np.abs(model(batch) - reloaded(batch)))
    print(f"largest difference after reloading: {difference:.5f}")
    # --8<-- [end:check_file]

    # --8<-- [start:check_weights]
    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(model(batch)))
    weights = model.trainable_weights
    gradients = tape.gradient(loss, weights)

    print("trainable weights:", len(weights))
    for weight, gradient in zip(weights, gradients, strict=True):
        values = 0 if gradient is None else tf.convert_to_tensor(gradient)
        reached = np.any(values) and np.all(np.isfinite(values))
        print(f"{weight.name}: reached by a gradient: {reached}")
    # --8<-- [end:check_weights]
