"""A custom loss: written, trained with, saved, reloaded, and where it ends."""

# --8<-- [start:quantile_loss]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class QuantileLoss(keras.losses.Loss):
    """Pinball loss: least where a share ``quantile`` of the targets lie below.

    Shapes:
        ``[(batch, ..., outputs), (batch, ..., outputs)]`` to ``(batch, ...)``.
    """

    def __init__(self, quantile, **kwargs):
        super().__init__(**kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        if len(y_true.shape) == len(y_pred.shape) - 1:  # as of (batch,)
            y_true = ops.expand_dims(y_true, axis=-1)
        y_true.shape.assert_is_compatible_with(y_pred.shape)
        error = y_true - y_pred
        loss = ops.maximum(self.quantile * error, (self.quantile - 1) * error)
        return ops.mean(loss, axis=-1)  # one value for each sample

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


def deliveries(size):
    """Distances, and the hours it took: the farther, the less sure."""
    far = np.random.uniform(size=(size, 1))
    return far, (10 + 20 * far + np.random.gamma(2.0, 1 + 6 * far)) / 60


# --8<-- [end:quantile_loss]


# --8<-- [start:function]
@keras.saving.register_keras_serializable(package="guide")
def weighted_crossentropy(y_true, y_pred):
    """Binary cross-entropy of logits, in which a miss costs five times more.

    Shapes:
        ``[(batch, ..., outputs), (batch, ..., outputs)]`` to ``(batch, ...)``.
    """
    misses = 5 * y_true * ops.softplus(-y_pred)
    false_alarms = (1 - y_true) * ops.softplus(y_pred)
    return ops.mean(misses + false_alarms, axis=-1)


# --8<-- [end:function]


# --8<-- [start:rebuilding]
@keras.saving.register_keras_serializable(package="guide")
class Rebuilding(keras.layers.Layer):
    """Features from which a second layer has to rebuild the input.

    Adds ``rate`` times the mean squared error of what is rebuilt.

    Shapes:
        ``(batch, ..., inputs)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, rate=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rate = rate

    def build(self, input_shape):
        dtype = self.dtype_policy
        self.encode = keras.layers.Dense(self.units, dtype=dtype)
        self.encode.build(input_shape)
        self.decode = keras.layers.Dense(input_shape[-1], dtype=dtype)
        self.decode.build((*input_shape[:-1], self.units))

    def call(self, inputs):
        features = self.encode(inputs)  # (batch, ..., units)
        error = ops.cast(self.decode(features) - inputs, "float32")
        self.add_loss(self.rate * ops.mean(ops.square(error)))
        return features

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


# --8<-- [end:rebuilding]


# --8<-- [start:interval]
@keras.saving.register_keras_serializable(package="guide")
class Interval(keras.Model):
    """A model with the outputs ``low`` and ``high``: low > high costs extra."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        crossing = ops.relu(y_pred["low"] - y_pred["high"])
        return loss + 10 * ops.mean(crossing)


# --8<-- [end:interval]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    far, hours = deliveries(5000)
    model = keras.Sequential(
        [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=200)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=QuantileLoss(0.9))
    model.fit(far, hours, batch_size=250, epochs=10, verbose=0)
    promised = model.predict(far, verbose=0)
    print(f"deliveries in time: {np.mean(hours <= promised):.2f}")

    model.save("deliveries.keras")
    reloaded = keras.saving.load_model("deliveries.keras")
    print("quantile in the file:", reloaded.loss.quantile)
    again = reloaded.predict(far, verbose=0)
    print("same predictions:", np.array_equal(promised, again))
    # --8<-- [end:program]

    # --8<-- [start:coverage]
    mean = keras.models.clone_model(model)
    mean.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    mean.fit(far, hours, batch_size=250, epochs=10, verbose=0)
    margin = np.quantile(hours - mean.predict(far, verbose=0), 0.9)

    unseen, took = deliveries(5000)
    for name, promised in {
        "mse": mean.predict(unseen, verbose=0),
        "mse and a margin": mean.predict(unseen, verbose=0) + margin,
        "quantile loss": model.predict(unseen, verbose=0),
    }.items():
        kept = took <= promised
        near, away = kept[unseen < 0.5].mean(), kept[unseen >= 0.5].mean()
        print(f"{name}: {kept.mean():.2f} in time, ", end="")
        print(f"near {near:.2f}, far {away:.2f}")
    # --8<-- [end:coverage]

    # --8<-- [start:weights]
    targets = np.zeros((4, 1))
    predicted = np.array([[2.0], [4.0], [6.0], [8.0]])
    weights = np.array([3.0, 0.0, 0.0, 0.0])
    for reduction in (
        None,
        "sum",
        "sum_over_batch_size",
        "mean_with_sample_weight",
    ):
        loss = QuantileLoss(0.5, reduction=reduction)
        weighted = loss(targets, predicted, sample_weight=weights)
        print(f"{reduction}: {loss(targets, predicted)}, ", end="")
        print(f"weighted {weighted}")
    # --8<-- [end:weights]

    # --8<-- [start:scalar]
    class OneNumber(QuantileLoss):
        def call(self, y_true, y_pred):
            return ops.mean(super().call(y_true, y_pred))

    targets = np.array([[0.0], [0.0], [0.0], [100.0]])
    predicted = np.zeros((4, 1))
    weights = np.array([1.0, 1.0, 1.0, 0.0])
    padded = np.array([[[1.0], [2.0], [0.0]]])  # (batch, time, outputs)
    after = np.array([[[1.0], [2.0], [100.0]]])
    for loss in (OneNumber(0.5), QuantileLoss(0.5)):
        weighted = loss(targets, predicted, sample_weight=weights)
        masked = loss(after, keras.layers.Masking()(padded))
        print(f"{type(loss).__name__}: weighted {weighted:.2f}", end="")
        print(f", with padding {masked:.2f}")
    # --8<-- [end:scalar]

    # --8<-- [start:ranks]
    class Unaligned(QuantileLoss):
        def call(self, y_true, y_pred):
            error = y_true - y_pred
            return ops.mean(ops.maximum(0.9 * error, -0.1 * error), axis=-1)

    predicted = model(far[:100])  # (100, 1)
    column = hours[:100]  # (100, 1)
    row = hours[:100, 0]  # (100,)
    for loss in (Unaligned(0.9), QuantileLoss(0.9)):
        print(f"{type(loss).__name__}: {loss(column, predicted):.2f}", end="")
        print(f", from a row {loss(row, predicted):.2f}")
    # --8<-- [end:ranks]

    # --8<-- [start:logits]
    def from_sigmoid(y_true, y_pred):
        p = ops.sigmoid(y_pred)
        misses = 5 * y_true * ops.log(p)
        false_alarms = (1 - y_true) * ops.log(1 - p)
        return -ops.mean(misses + false_alarms, axis=-1)

    no = ops.zeros((1, 1))
    for logit in (2.0, 20.0, 200.0):
        scores = ops.full((1, 1), logit)
        good = weighted_crossentropy(no, scores)[0]
        bad = from_sigmoid(no, scores)[0]
        print(f"logit {logit:g}: {good:.2f}, from the sigmoid {bad:.2f}")
    # --8<-- [end:logits]

    # --8<-- [start:added]
    x = np.random.normal(size=(200, 6))
    y = np.random.normal(size=(200, 1))
    model = keras.Sequential([Rebuilding(3, rate=0.1), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse", metrics=["mse"])

    loss, mse = model.evaluate(x, y, batch_size=200, verbose=0)
    model(x)  # `model.losses` are those of the last call
    print(f"loss {loss:.3f}, mse {mse:.3f}, added {model.losses[0]:.3f}")
    nothing = np.zeros(200)
    loss, _ = model.evaluate(
        x, y, batch_size=200, sample_weight=nothing, verbose=0
    )
    print(f"loss if all sample weights are 0: {loss:.3f}")
    # --8<-- [end:added]

    # --8<-- [start:two_outputs]
    inputs = keras.Input((1,))
    heads = {
        "low": keras.layers.Dense(1, kernel_initializer="ones")(inputs),
        "high": keras.layers.Dense(1, kernel_initializer="zeros")(inputs),
    }
    model = Interval(inputs, heads)
    model.compile(loss={"low": QuantileLoss(0.1), "high": QuantileLoss(0.9)})
    far, hours = np.ones((8, 1)), np.zeros((8, 1))
    found = model.evaluate(
        far, {"low": hours, "high": hours}, return_dict=True, verbose=0
    )
    for name, value in found.items():
        print(f"{name}: {value:.1f}")
    # --8<-- [end:two_outputs]

    # --8<-- [start:forgetful]
    @keras.saving.register_keras_serializable(package="guide")
    class Forgetful(QuantileLoss):
        def __init__(self, quantile=0.5, **kwargs):
            super().__init__(quantile, **kwargs)

        def get_config(self):  # as if it weren't written
            return keras.losses.Loss.get_config(self)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for cls in (Forgetful, QuantileLoss):
        model.compile(loss=cls(0.9))
        model.fit(far, hours, verbose=0)
        model.save("forgetful.keras")
        reloaded = keras.saving.load_model("forgetful.keras")
        print(f"{cls.__name__}: 0.9 saved, ", end="")
        print(f"{reloaded.loss.quantile} loaded")
    # --8<-- [end:forgetful]
