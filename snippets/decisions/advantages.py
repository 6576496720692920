"""What custom layers, optimizers and models let you do."""

# --8<-- [start:shared_depth]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class SharedDepth(keras.layers.Layer):
    """One dense layer, applied ``times`` times over: depth without weights.

    ``state = inputs + tanh(state @ kernel + bias)``, from ``state = inputs``.

    Args:
        times: How often the dense layer is applied.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def __init__(self, times, **kwargs):
        super().__init__(**kwargs)
        self.times = times
        self.supports_masking = True  # the mask of the inputs goes on

    def build(self, input_shape):
        # Without `dtype`, it would have the dtype that is set globally.
        self.dense = keras.layers.Dense(
            input_shape[-1], activation="tanh", dtype=self.dtype_policy
        )
        self.dense.build(input_shape)

    def call(self, inputs):
        state = inputs
        for _ in range(self.times):
            state = inputs + self.dense(state)
        return state

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:shared_depth]


# --8<-- [start:radial_basis]
@keras.saving.register_keras_serializable(package="guide")
class RadialBasis(keras.layers.Layer):
    """``exp(-gamma * |inputs - centre|²)`` for each of ``units`` centres.

    Broomhead and Lowe, "Multivariable Functional Interpolation and Adaptive
    Networks", Complex Systems 2, 1988.

    Args:
        units: Number of centres, which are learnt.
        gamma: How fast a unit fades with the distance from its centre.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, gamma=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.gamma = gamma
        self.supports_masking = True  # the mask of the inputs goes on

    def build(self, input_shape):
        self.centres = self.add_weight(
            name="centres",
            shape=(self.units, input_shape[-1]),
            initializer=keras.initializers.RandomUniform(-1.0, 1.0),
        )

    def call(self, inputs):
        points = ops.expand_dims(inputs, -2)  # (batch, ..., 1, features)
        apart = points - self.centres  # (batch, ..., units, features)
        return ops.exp(-self.gamma * ops.sum(ops.square(apart), axis=-1))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


# --8<-- [end:radial_basis]


if __name__ == "__main__":
    # --8<-- [start:count]
    for times in (1, 4, 16):
        shared = keras.Sequential([keras.Input((8,)), SharedDepth(times)])
        own = keras.Sequential(
            [keras.Input((8,)), *[SharedDepth(1) for _ in range(times)]]
        )
        print(
            f"{times} deep: {shared.count_params()} numbers to train, ", end=""
        )
        print(f"with weights of their own {own.count_params()}")
    # --8<-- [end:count]

    # --8<-- [start:depth]
    keras.utils.set_random_seed(7)

    def spirals(size):
        """Points on two spirals, wound into each other for 1.75 turns."""
        y = np.random.choice([-1.0, 1.0], size=(size, 1))  # (size, 1)
        radius = np.sqrt(np.random.uniform(0.05, 1, size=(size, 1)))
        angle = 2 * np.pi * 1.75 * radius + np.pi * (y > 0)
        x = radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        return x.astype("float32"), y.astype("float32")

    x, y = spirals(1000)
    x_test, y_test = spirals(1000)
    for name, layers in {
        "one Dense layer": [keras.layers.Dense(8, activation="tanh")],
        "one, four times": [SharedDepth(4)],
        "four": [SharedDepth(1) for _ in range(4)],
    }.items():
        model = keras.Sequential(
            [keras.layers.Dense(8), *layers, keras.layers.Dense(1)]
        )
        model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
        model.fit(x, y, batch_size=100, epochs=20, verbose=0)
        right = np.mean(np.sign(model(x_test)) == y_test)
        print(f"{name}: {model.count_params()} numbers to train, ", end="")
        print(f"{right:.1f} right on 1000 unseen points")
    # --8<-- [end:depth]

    # --8<-- [start:by_hand]
    layer = RadialBasis(3, gamma=2.0)
    batch = np.random.normal(size=(4, 2)).astype("float32")
    outputs = layer(batch)

    expected = np.empty((4, 3))
    for row, point in enumerate(batch):
        for unit, centre in enumerate(layer.centres.numpy()):
            expected[row, unit] = np.exp(-2.0 * np.sum((point - centre) ** 2))

    print("shape:", outputs.shape)
    print(f"largest difference: {np.max(np.abs(outputs - expected)):.6f}")
    # --8<-- [end:by_hand]

    # --8<-- [start:ring]
    keras.utils.set_random_seed(7)
    x = np.random.uniform(-1, 1, size=(2800, 2)).astype("float32")
    distance = np.hypot(x[:, :1], x[:, 1:])
    ring = (distance > 0.4) & (distance < 0.8)  # (2800, 1)

    for name, layer in {
        "relu": keras.layers.Dense(16, activation="relu"),
        "gamma 2": RadialBasis(16, gamma=2.0),
        "gamma 8": RadialBasis(16, gamma=8.0),
    }.items():
        model = keras.Sequential(
            [layer, keras.layers.Dense(1, activation="sigmoid")]
        )
        optimizer = keras.optimizers.Adam(0.05)
        model.compile(optimizer=optimizer, loss="binary_crossentropy")
        model.fit(x[:800], ring[:800], batch_size=50, epochs=15, verbose=0)
        right = np.mean((model(x[800:]) > 0.5) == ring[800:])
        print(f"{name}: {model.count_params()} numbers to train, ", end="")
        print(f"{right:.2f} right on 2000 unseen points")
    # --8<-- [end:ring]
