"""What custom layers, losses, optimizers and models let you do."""

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

    def build(self, input_shape):
        # A layer inside a layer computes in the dtype of the outer one.
        self.dense = keras.layers.Dense(
            input_shape[-1], activation="tanh", dtype=self.dtype_policy
        )
        self.dense.build(input_shape)

    def call(self, inputs):
        state = inputs
        for _ in range(self.times):
            state = inputs + self.dense(state)
        return state


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

    def build(self, input_shape):
        self.centres = self.add_weight(
            name="centres",
            shape=(self.units, input_shape[-1]),
            initializer=keras.initializers.RandomUniform(-1.0, 1.0),
        )

    def call(self, inputs):
        # (batch, ..., 1, features) - (units, features)
        apart = ops.expand_dims(inputs, -2) - self.centres
        return ops.exp(-self.gamma * ops.sum(ops.square(apart), axis=-1))


# --8<-- [end:radial_basis]


# --8<-- [start:quantile_loss]
@keras.saving.register_keras_serializable(package="guide")
class QuantileLoss(keras.losses.Loss):
    """The pinball loss, least where ``quantile`` of the targets lie below.

    ``quantile * error`` of targets above the prediction, and
    ``(quantile - 1) * error`` of those below: Koenker and Bassett,
    "Regression Quantiles", Econometrica 46, 1978.

    Args:
        quantile: Share of the targets that the prediction is to exceed.

    Shapes:
        Two of ``(batch, ..., outputs)`` to ``(batch, ...)``, of which Keras
        takes the mean. Targets may leave out an axis of size 1.

    Raises:
        ValueError: If ``quantile`` isn't between 0 and 1.
    """

    def __init__(self, quantile, **kwargs):
        super().__init__(**kwargs)
        if not 0 < quantile < 1:
            raise ValueError("`quantile` must be between 0 and 1.")
        self.quantile = quantile

    def call(self, y_true, y_pred):
        # Targets of (batch,) would be broadcast against (batch, 1).
        error = ops.reshape(y_true, ops.shape(y_pred)) - y_pred
        above = self.quantile * error
        below = (self.quantile - 1) * error
        return ops.mean(ops.maximum(above, below), axis=-1)

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


# --8<-- [end:quantile_loss]


# --8<-- [start:normalized_momentum]
@keras.saving.register_keras_serializable(package="guide")
class NormalizedMomentum(keras.optimizers.Optimizer):
    """Steps of one length, in the direction of the averaged gradient.

    ``average = momentum * average + (1 - momentum) * gradient``, then
    ``weight -= learning_rate * average / |average|``: Cutkosky and Mehta,
    "Momentum Improves Normalized SGD", 2020, arXiv:2002.03305.

    Args:
        learning_rate: Length of the step that each weight makes.
        momentum: Share of the average that is kept at each step.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient, variable, learning_rate):
        average = self.averages[self._get_variable_index(variable)]
        fresh = ops.multiply(gradient, 1 - self.momentum)
        self.assign(average, ops.add(self.momentum * average, fresh))

        length = ops.norm(ops.ravel(average))  # 0 if no gradient came yet
        step = ops.cast(learning_rate, variable.dtype) * average
        self.assign_sub(variable, ops.divide_no_nan(step, length))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


# --8<-- [end:normalized_momentum]


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
    x = np.random.uniform(-1, 1, size=(1000, 2)).astype("float32")
    y = np.sign(x[:, :1] * x[:, 1:])  # (batch, 1)

    model = keras.Sequential(
        [keras.layers.Dense(8), SharedDepth(8), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    model.fit(x[:800], y[:800], batch_size=50, epochs=20, verbose=0)
    right = np.mean(np.sign(model(x[800:])) == y[800:])
    print(f"8 deep: {model.count_params()} numbers to train, ", end="")
    print(f"{right:.2f} right on 200 unseen points")
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
    distance = np.hypot(x[:, :1], x[:, 1:])
    ring = (distance > 0.4) & (distance < 0.8)  # (batch, 1)

    for name, layer in {
        "relu": keras.layers.Dense(16, activation="relu"),
        "gamma 2": RadialBasis(16, gamma=2.0),
        "gamma 8": RadialBasis(16, gamma=8.0),
    }.items():
        model = keras.Sequential(
            [layer, keras.layers.Dense(1, activation="sigmoid")]
        )
        model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
        model.fit(x[:800], ring[:800], batch_size=50, epochs=15, verbose=0)
        right = np.mean((model(x[800:]) > 0.5) == ring[800:])
        print(f"{name}: {model.count_params()} numbers to train, ", end="")
        print(f"{right:.2f} right on 200 unseen points")
    # --8<-- [end:ring]

    # --8<-- [start:coverage]
    keras.utils.set_random_seed(7)

    def deliveries(size):
        """Distances, and the hours it took: the farther, the less sure."""
        far = np.random.uniform(size=(size, 1))
        minutes = 10 + 20 * far + np.random.gamma(2.0, 1 + 6 * far)
        return far.astype("float32"), (minutes / 60).astype("float32")

    far, hours = deliveries(5000)
    unseen, took = deliveries(5000)
    for name, loss in {"mse": "mse", "0.9 quantile": QuantileLoss(0.9)}.items():
        model = keras.Sequential(
            [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)]
        )
        rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=200)
        model.compile(keras.optimizers.Adam(rate), loss)
        model.fit(far, hours, batch_size=250, epochs=10, verbose=0)
        late = took > model(unseen)
        print(f"{name}: {1 - np.mean(late):.2f} arrive before the prediction")
    # --8<-- [end:coverage]

    # --8<-- [start:ranks]
    class Unaligned(QuantileLoss):
        def call(self, y_true, y_pred):
            error = y_true - y_pred
            return ops.mean(ops.maximum(0.9 * error, -0.1 * error), axis=-1)

    predicted = model(far[:100])  # (100, 1)
    for loss in (Unaligned(0.9), QuantileLoss(0.9)):
        column = loss(hours[:100], predicted)  # (100, 1)
        row = loss(hours[:100, 0], predicted)  # (100,)
        print(f"{type(loss).__name__}: {column:.3f}, from a row {row:.3f}")
    # --8<-- [end:ranks]

    # --8<-- [start:steps]
    weight = keras.Variable([4.0, 3.0], name="weight")
    optimizer = NormalizedMomentum(learning_rate=0.5)
    for scale in (1.0, 1000.0, 0.001):
        before = weight.numpy()
        optimizer.apply([scale * weight], [weight])
        length = np.linalg.norm(weight.numpy() - before)
        print(f"gradient times {scale}: a step of {length:.3f}")
    # --8<-- [end:steps]

    # --8<-- [start:scaled]
    def slope(optimizer, factor):
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((1,)), dense])
        model.compile(optimizer, loss="mse", loss_weights=factor)
        model.fit(far[:640], 3 * far[:640] + 1, epochs=10, verbose=0)
        return dense.kernel.numpy().item()

    for factor in (1.0, 1000.0):
        plain = slope(keras.optimizers.SGD(0.02), factor)
        ours = slope(NormalizedMomentum(0.02), factor)
        print(f"loss times {factor}: SGD {plain:.1f}, ours {ours:.1f}")
    # --8<-- [end:scaled]

    # --8<-- [start:reload]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(NormalizedMomentum(0.02, momentum=0.5), QuantileLoss(0.75))
    model.fit(far, hours, verbose=0)
    model.save("compiled.keras")
    reloaded = keras.saving.load_model("compiled.keras")

    print("optimizer:", type(reloaded.optimizer).__name__, end="")
    print(f", momentum {reloaded.optimizer.momentum}")
    print("loss:", type(reloaded.loss).__name__, reloaded.loss.quantile)
    losses = [m.evaluate(far, hours, verbose=0) for m in (model, reloaded)]
    print(f"difference of their losses: {abs(losses[0] - losses[1]):.5f}")
    # --8<-- [end:reload]
