"""What custom layers cost, measured, and the checks that get it back."""

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
        epsilon: What keeps the root away from 0.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True  # the mask of the inputs goes on

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(
            name="gamma", shape=shape, initializer="ones", autocast=False
        )
        self.beta = self.add_weight(
            name="beta", shape=shape, initializer="zeros", autocast=False
        )

    def call(self, inputs):
        # Squares overflow in 16 bits: compute in 32 at least.
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, wide)
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        normal = centred / ops.sqrt(variance + self.epsilon)
        return ops.cast(self.gamma * normal + self.beta, self.compute_dtype)


# --8<-- [end:feature_norm]


# --8<-- [start:time_attention]
@keras.saving.register_keras_serializable(package="guide")
class TimeAttention(keras.layers.Layer):
    """The mean over time, each step weighted by how much it matters.

    ``softmax(inputs @ query)`` over the steps gives the weights.

    Shapes:
        ``(batch, time, features)`` to ``(batch, features)``.
    """

    def build(self, input_shape):
        self.query = self.add_weight(name="query", shape=(input_shape[-1], 1))

    def weigh(self, inputs):
        scores = ops.matmul(inputs, self.query)  # (batch, time, 1)
        return ops.softmax(scores, axis=1)

    def call(self, inputs):
        return ops.sum(self.weigh(inputs) * inputs, axis=1)


# --8<-- [end:time_attention]


# --8<-- [start:running_mean]
@keras.saving.register_keras_serializable(package="guide")
class RunningMean(keras.layers.Layer):
    """The mean of each step and all steps before it.

    Shapes:
        ``(batch, time, features)`` to ``(batch, time, features)``.
    """

    def call(self, inputs):
        total = ops.cumsum(inputs, axis=1)
        return total / ops.cumsum(ops.ones_like(inputs), axis=1)


# --8<-- [end:running_mean]


# --8<-- [start:slopes]
def slopes(layer, inputs):
    """Slope along a random direction: what the tape says, what is measured.

    Args:
        layer: A layer with weights, made with ``dtype="float64"``.
        inputs: A batch of ``float64``.
    """
    target = np.random.normal(size=layer(inputs).shape)
    start = layer.get_weights()
    directions = [np.random.normal(size=weight.shape) for weight in start]

    def loss(move=0.0):
        pairs = zip(start, directions, strict=True)
        layer.set_weights([weight + move * way for weight, way in pairs])
        return ops.sum(layer(inputs) * target)

    with tf.GradientTape() as tape:
        value = loss()
    weights = [weight.value for weight in layer.trainable_weights]
    gradients = tape.gradient(value, weights)
    by_tape = sum(map(np.vdot, gradients, directions))
    measured = (loss(1e-6) - loss(-1e-6)) / 2e-6
    loss()  # puts the weights back
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
        built_in = keras.layers.LayerNormalization()
        return np.allclose(norm()(batch), built_in(batch), atol=1e-5)

    def survives_float16(norm):
        large = 300 * batch
        half = norm(dtype="mixed_float16")(large)
        return np.allclose(half, norm()(large), atol=0.01)

    def hands_on_the_mask(norm):
        pooling = keras.layers.GlobalAveragePooling1D()
        model = keras.Sequential([keras.layers.Masking(), norm(), pooling])
        padded = np.pad(batch, [(0, 0), (0, 3), (0, 0)])  # (5, 10, 4)
        return np.allclose(model(padded), model(batch), atol=1e-5)

    def comes_back_from_a_file(norm):
        keras.Sequential([keras.Input((4,)), norm()]).save("norm.keras")
        try:
            return bool(keras.saving.load_model("norm.keras"))
        except TypeError:
            return False

    # --8<-- [end:four_checks]

    # --8<-- [start:bare_result]
    checks = (
        equals_the_built_in,
        survives_float16,
        hands_on_the_mask,
        comes_back_from_a_file,
    )

    def compare(norm):
        print(f"{'':24}{'built-in':10}yours")
        for check in checks:
            built_in = check(keras.layers.LayerNormalization)
            print(f"{check.__name__:24}{built_in!s:10}{check(norm)}")

    compare(BareNorm)
    # --8<-- [end:bare_result]

    # --8<-- [start:mended_result]
    compare(FeatureNorm)
    # --8<-- [end:mended_result]

    # --8<-- [start:wrong_axis]
    class WrongAxis(TimeAttention):
        def weigh(self, inputs):
            scores = ops.matmul(inputs, self.query)  # (batch, time, 1)
            return ops.softmax(scores, axis=0)

    # --8<-- [end:wrong_axis]

    # --8<-- [start:attend]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(500, 7, 4)).astype("float32")
    x[..., 0] = np.eye(7)[np.random.randint(7, size=500)]  # marks a step
    y = np.sum(x[..., :1] * x[..., 1:2], axis=1)  # what stands there: (500, 1)

    for attention in (WrongAxis(), TimeAttention()):
        model = keras.Sequential([attention, keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.05), loss="mse")
        losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
        total = ops.sum(attention.weigh(x), axis=1)[0, 0]
        change = ops.abs(model(x)[0] - model(x[:2])[0])[0]

        print(f"{type(attention).__name__}: ", end="")
        print(f"loss from {losses[0]:.1f} to {losses[-1]:.1f}")
        print(f"  weights of the first sample's steps add up to {total:.2f}")
        print(f"  in a batch of 2, its output changes by {change:.2f}")
    # --8<-- [end:attend]

    # --8<-- [start:looped_mean]
    class LoopedMean(keras.layers.Layer):
        def call(self, inputs):
            total, means = 0.0, []
            for step in range(inputs.shape[1]):
                total = total + inputs[:, step]
                means.append(total / (step + 1))
            return ops.stack(means, axis=1)

    # --8<-- [end:looped_mean]

    # --8<-- [start:operations]
    def operations(layer, steps):
        spec = tf.TensorSpec((None, steps, 4))
        graph = tf.function(layer).get_concrete_function(spec).graph
        return len(graph.get_operations())

    difference = np.max(np.abs(LoopedMean()(x) - RunningMean()(x)))
    print(f"largest difference of the outputs: {difference:.5f}")
    for layer in (LoopedMean(), RunningMean()):
        counts = {steps: operations(layer, steps) for steps in (8, 32, 128)}
        print(f"{type(layer).__name__}: operations by steps {counts}")
    # --8<-- [end:operations]

    # --8<-- [start:traces]
    layer = RunningMean()
    any_length = [tf.TensorSpec((None, None, 4))]
    functions = {
        "tf.function(layer)": tf.function(layer),
        "reduce_retracing=True": tf.function(layer, reduce_retracing=True),
        "input_signature": tf.function(layer, input_signature=any_length),
    }
    for name, function in functions.items():
        for steps in range(1, 21):
            function(tf.ones((2, steps, 4)))
        traces = function.experimental_get_tracing_count()
        print(f"{name}: {traces} traces for 20 lengths")
    # --8<-- [end:traces]

    # --8<-- [start:check_built_in]
    norm, built_in = FeatureNorm(), keras.layers.LayerNormalization()
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
    model.save("model.keras")
    reloaded = keras.saving.load_model("model.keras")
    difference = np.max(np.abs(model(batch) - reloaded(batch)))
    print(f"largest difference after reloading: {difference:.5f}")
    # --8<-- [end:check_file]

    # --8<-- [start:check_weights]
    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(model(batch)))
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])

    print("trainable weights:", len(weights))
    for weight, gradient in zip(weights, gradients, strict=True):
        reached = gradient is not None and bool(np.any(gradient != 0))
        print(f"{weight.name}: reached by a gradient: {reached}")
    # --8<-- [end:check_weights]
