"""Gradients of your own: straight through, stable, reversed, in the loss."""

# --8<-- [start:sign_dense]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


@tf.custom_gradient
def sign(x):
    """-1 or 1. Between -1 and 1 the gradient passes, elsewhere it is zero."""

    def grad(upstream):
        return upstream * tf.cast(tf.abs(x) <= 1, upstream.dtype)

    return tf.where(x < 0, -tf.ones_like(x), tf.ones_like(x)), grad


@keras.saving.register_keras_serializable(package="guide")
class SignDense(keras.layers.Layer):
    """Multiplies by the signs of its kernel only.

    Shapes: ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units)
        )

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)  # not the variable
        return ops.matmul(inputs, sign(kernel))  # (batch, ..., units)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


# --8<-- [end:sign_dense]


# --8<-- [start:straight_through]
def straight_through_sign(x):
    """-1, 0 or 1, up to rounding; its gradient passes everywhere."""
    return x + ops.stop_gradient(ops.sign(x) - x)


# --8<-- [end:straight_through]


# --8<-- [start:log1pexp]
@tf.custom_gradient
def log1pexp(x):
    """``log(1 + exp(x))``, with a gradient that stays finite."""

    def grad(upstream):
        return upstream * tf.sigmoid(x)

    return tf.math.log(1 + tf.exp(x)), grad


# --8<-- [end:log1pexp]


# --8<-- [start:reverse_gradient]
@keras.saving.register_keras_serializable(package="guide")
class ReverseGradient(keras.layers.Layer):
    """Returns its inputs, and reverses their gradient.

    What lies before the layer is trained to raise the loss that what lies
    behind it is trained to lower (Ganin and Lempitsky, "Unsupervised Domain
    Adaptation by Backpropagation", 2015).

    Args:
        strength: The gradient is multiplied by ``-strength``.

    Shapes:
        ``(batch, ...)`` to ``(batch, ...)``.
    """

    def __init__(self, strength=1.0, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength
        self.supports_masking = True

    def call(self, inputs):
        @tf.custom_gradient
        def reverse(x):
            def grad(upstream):
                return -self.strength * upstream

            return tf.identity(x), grad

        return reverse(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}


# --8<-- [end:reverse_gradient]


# --8<-- [start:partly_frozen]
@keras.saving.register_keras_serializable(package="guide")
class PartlyFrozenDense(keras.layers.Layer):
    """A dense layer without a bias, whose first rows aren't trained.

    Args:
        units: Size of the last axis of the outputs.
        frozen: How many of the input's features have a row that stays.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, frozen, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.frozen = frozen

    def build(self, input_shape):
        free = input_shape[-1] - self.frozen
        self.fixed = self.add_weight(
            name="fixed", shape=(self.frozen, self.units), trainable=False
        )
        self.kernel = self.add_weight(name="kernel", shape=(free, self.units))

    def call(self, inputs):
        kernel = ops.concatenate([self.fixed, self.kernel])
        return ops.matmul(inputs, kernel)  # (batch, ..., units)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        own = {"units": self.units, "frozen": self.frozen}
        return {**super().get_config(), **own}


# --8<-- [end:partly_frozen]


# --8<-- [start:decay]
@keras.saving.register_keras_serializable(package="guide")
class SolvesDecay(keras.Model):
    """Learns u with u' = -u and u(0) = 1, from times alone.

    Shapes:
        ``(batch, 1)`` to ``(batch, 1)``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.hidden = keras.layers.Dense(16, activation="tanh", dtype=policy)
        self.slope = keras.layers.Dense(1, dtype=policy)

    def call(self, t):
        return 1 + t * self.slope(self.hidden(t))  # (batch, 1): 1 at t = 0

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = self(x)
        derivative = tape.gradient(u, x)  # (batch, 1)
        rest = derivative + ops.cast(u, derivative.dtype)
        return ops.mean(ops.square(rest))


# --8<-- [end:decay]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(1)
    true_signs = np.sign(np.random.normal(size=(16, 4)))
    x = np.random.normal(size=(1000, 16))
    y = x @ true_signs

    model = keras.Sequential([SignDense(4)])
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    model.save("signs.keras")

    reloaded = keras.saving.load_model("signs.keras")
    signs = np.sign(reloaded.layers[0].get_weights()[0])
    print(f"loss: {losses[0]:.0f}, then {losses[-1]:.4f}")
    print(f"signs found: {np.mean(signs == true_signs):.0%}")
    # --8<-- [end:program]

    # --8<-- [start:gradients]
    def gradient(function, *values):
        x = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        found = tape.gradient(y, x)
        return None if found is None else found.numpy().tolist()

    print("ops.sign: ", gradient(ops.sign, -0.5, 0.5, 2.0))
    print("tf.round: ", gradient(tf.round, -0.5, 0.5, 2.0))
    print("sign:     ", gradient(sign, -0.5, 0.5, 2.0))
    # --8<-- [end:gradients]

    # --8<-- [start:one_line]
    print(gradient(straight_through_sign, -0.5, 0.5, 2.0))
    # --8<-- [end:one_line]

    # --8<-- [start:variable_fails]
    kernel = keras.Variable([0.5, -2.0], name="kernel")
    try:
        sign(kernel)
    except TypeError as error:
        print(str(error).partition(",")[0])
    # --8<-- [end:variable_fails]

    # --8<-- [start:stable]
    def naive(x):
        return tf.math.log(1 + tf.exp(x))

    print("naive:       ", gradient(naive, 0.0, 100.0))
    print("log1pexp:    ", gradient(log1pexp, 0.0, 100.0))
    print("ops.softplus:", gradient(ops.softplus, 0.0, 100.0))
    # --8<-- [end:stable]

    # --8<-- [start:reversed]
    half = ReverseGradient(0.5)
    print("x³:          ", gradient(lambda x: x**3, 1.0, 2.0))
    print("reversed(x)³:", gradient(lambda x: half(x) ** 3, 1.0, 2.0))
    # --8<-- [end:reversed]

    # --8<-- [start:frozen]
    layer = PartlyFrozenDense(1, frozen=1)
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.fixed.assign([[1.0]])
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), loss="mse")
    features = np.random.normal(size=(320, 3))
    model.fit(features, features @ [[1], [2], [3]], epochs=10, verbose=0)
    print("after 100 steps:", layer.fixed.numpy()[0])
    # --8<-- [end:frozen]

    # --8<-- [start:decays_fails]
    kernel = keras.Variable([[1.0], [0.0], [0.0]], name="kernel")
    is_free = np.array([[False], [True], [True]])
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    for _ in range(100):
        with tf.GradientTape() as tape:
            used = ops.where(is_free, kernel, ops.stop_gradient(kernel))
            errors = ops.matmul(features, used) - features @ [[1], [2], [3]]
            loss = ops.mean(ops.square(errors))
        optimizer.apply([tape.gradient(loss, kernel.value)], [kernel])
    print("after 100 steps:", kernel.numpy()[0].round(2))
    # --8<-- [end:decays_fails]

    # --8<-- [start:solve]
    keras.utils.set_random_seed(1)
    t = np.random.uniform(0, 2, size=(512, 1)).astype("float32")
    solver = SolvesDecay()
    solver.compile(keras.optimizers.Adam(0.02))
    losses = solver.fit(t, batch_size=64, epochs=50, verbose=0).history["loss"]
    between = np.linspace(0, 2, 41)[:, None]
    errors = solver.predict(between, verbose=0) - np.exp(-between)
    print(f"largest error below 0.05: {np.max(np.abs(errors)) < 0.05}")
    # --8<-- [end:solve]
