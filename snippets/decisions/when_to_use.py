"""When a custom layer, model or loop is worth writing: one case of each."""

# --8<-- [start:skip_block]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class SkipBlock(keras.layers.Layer):
    """``inputs + back(hidden(inputs))``: a skip connection around two layers.

    ``back`` starts at zero, so that a new block returns its inputs.

    Args:
        units: Width of the hidden layer.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True  # the mask of the inputs goes on
        # Without `dtype`, a layer in it would have the dtype set globally.
        self.hidden = keras.layers.Dense(
            units, activation="relu", dtype=self.dtype_policy
        )

    def build(self, input_shape):
        self.back = keras.layers.Dense(
            input_shape[-1], kernel_initializer="zeros", dtype=self.dtype_policy
        )
        self.hidden.build(input_shape)
        self.back.build((*input_shape[:-1], self.units))

    def call(self, inputs):
        return inputs + self.back(self.hidden(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:skip_block]


# --8<-- [start:wave]
@keras.saving.register_keras_serializable(package="guide")
def wave(inputs):
    """``inputs + sin²(inputs)``, number by number."""
    return inputs + ops.square(ops.sin(inputs))


# --8<-- [end:wave]


# --8<-- [start:snake]
@keras.saving.register_keras_serializable(package="guide")
class Snake(keras.layers.Layer):
    """``inputs + sin²(alpha * inputs) / alpha``, with a learnt ``alpha``.

    Ziyin, Hartwig and Ueda, "Neural Networks Fail to Learn Periodic Functions
    and How to Fix It", 2020, arXiv:2006.08195.

    Args:
        initial_alpha: What each feature's ``alpha`` starts from.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.

    Raises:
        ValueError: If ``initial_alpha`` is 0, where ``alpha`` has no gradient.
    """

    def __init__(self, initial_alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        if initial_alpha == 0:
            raise ValueError("`initial_alpha` must not be 0.")
        self.initial_alpha = initial_alpha
        self.supports_masking = True  # the mask of the inputs goes on

    def build(self, input_shape):
        self.alpha = self.add_weight(
            name="alpha",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_alpha),
        )

    def call(self, inputs):
        sine = ops.sin(self.alpha * inputs)  # its square may vanish in float16
        # An `alpha` of 0 adds 0, the limit of the formula, and not NaN.
        return inputs + sine * ops.divide_no_nan(sine, self.alpha)

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:snake]


if __name__ == "__main__":
    # --8<-- [start:blocks]
    keras.utils.set_random_seed(7)
    x = np.random.uniform(-1, 1, size=(500, 2)).astype("float32")
    y = x[:, :1] * x[:, 1:]  # (batch, 1)

    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(16),
            SkipBlock(32),
            SkipBlock(32),
            keras.layers.Dense(1),
        ]
    )
    print("shapes:", [layer.output.shape for layer in model.layers])

    block = model.layers[1]
    batch = np.random.normal(size=(5, 16)).astype("float32")
    print("starts as the identity:", np.array_equal(block(batch), batch))

    model.compile(optimizer="adam", loss="mse")
    history = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    print(f"loss in the first epoch {history[0]:.2f}, in the last ", end="")
    print(f"{history[-1]:.2f}")
    # --8<-- [end:blocks]

    # --8<-- [start:graph]
    inputs = keras.Input((16,))
    x = keras.layers.Dense(32, activation="relu")(inputs)
    x = keras.layers.Dense(16)(x)
    graph = keras.Model(inputs, keras.layers.Add()([inputs, x]))
    graph.set_weights(block.get_weights())

    chain = keras.Sequential([keras.Input((16,)), *graph.layers[1:3]])

    for name, other in {"graph": graph, "Sequential": chain}.items():
        difference = float(ops.max(ops.abs(block(batch) - other(batch))))
        print(f"{name}: {other.count_params()} numbers to train, ", end="")
        print(f"differs from the block by {difference:.1f}")
    # --8<-- [end:graph]

    # --8<-- [start:use_wave]
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation=wave)]
    )
    model.save("wave.keras")
    reloaded = keras.saving.load_model("wave.keras")

    print("weights:", [weight.name for weight in model.weights])
    print("reloaded:", reloaded.layers[0].activation.__name__)
    print("in a graph:", wave(keras.Input((7, 4))).shape)
    # --8<-- [end:use_wave]

    # --8<-- [start:periodic]
    keras.utils.set_random_seed(7)
    inside = np.random.uniform(-3, 3, size=(1000, 1)).astype("float32")
    beyond = np.random.uniform(3, 6, size=(1000, 1)).astype("float32")

    for name, activation in {
        "relu": keras.layers.ReLU(),
        "Snake(1.0)": Snake(1.0),
        "Snake(3.0)": Snake(3.0),
    }.items():
        model = keras.Sequential(
            [keras.layers.Dense(16), activation, keras.layers.Dense(1)]
        )
        model.compile(optimizer=keras.optimizers.Adam(0.03), loss="mse")
        target = np.sin(3 * inside)
        model.fit(inside, target, batch_size=100, epochs=20, verbose=0)
        near = np.mean(np.square(model(inside) - target))
        far = np.mean(np.square(model(beyond) - np.sin(3 * beyond)))
        print(f"{name}: loss {near:.1f} in -3 … 3, {far:.1f} in 3 … 6")
    # --8<-- [end:periodic]

    # --8<-- [start:two_and_two]
    size = keras.Input((3,), name="size")
    place = keras.Input((5,), name="place")
    both = keras.layers.Concatenate()([size, place])  # (batch, 8)
    sold = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(
        {"size": size, "place": place},
        {"price": keras.layers.Dense(1)(both), "sold": sold(both)},
    )
    outputs = model({"size": np.ones((2, 3)), "place": np.ones((2, 5))})
    print({name: tuple(output.shape) for name, output in outputs.items()})
    # --8<-- [end:two_and_two]

    # --8<-- [start:fit]
    keras.utils.set_random_seed(7)
    x = np.random.uniform(-1, 1, size=(330, 1)).astype("float32")
    y = 3 * x + 1 + np.random.normal(0, 0.1, x.shape).astype("float32")

    def make_line(**options):
        dense = keras.layers.Dense(1, kernel_initializer="zeros", **options)
        return keras.Sequential([keras.Input((1,)), dense])

    model = make_line(kernel_regularizer="l2")
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    reported = model.fit(
        x, y, batch_size=32, epochs=20, shuffle=False, verbose=0
    ).history["loss"]
    # --8<-- [end:fit]

    # --8<-- [start:loop]
    model = make_line(kernel_regularizer="l2")
    weights = model.trainable_variables
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(weights)
    mean_squared_error = keras.losses.MeanSquaredError()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = mean_squared_error(y, model(x, training=True))
            loss += sum(model.losses)  # the kernel's penalty
            scaled = optimizer.scale_loss(loss)  # for mixed_float16
        optimizer.apply(tape.gradient(scaled, weights), weights)
        return loss

    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    sizes = [len(inputs) for inputs, _ in batches]  # the last one is 10
    losses = []
    for _ in range(20):
        of_batches = [step(*batch) for batch in batches]
        losses.append(np.average(of_batches, weights=sizes))

    difference = np.max(np.abs(np.subtract(losses, reported)))
    print(f"loss in epoch 1: {losses[0]:.2f}, in epoch 20: {losses[-1]:.2f}")
    print(f"largest difference from fit: {difference:.5f}")
    # --8<-- [end:loop]
