"""Custom callbacks: what they can see, change and stop, and what they can't."""

# --8<-- [start:measures]
import keras
import numpy as np


class Measures(keras.callbacks.Callback):
    """Adds to each epoch's logs what is measured on all samples at once."""

    def __init__(self, x, y, measures):
        super().__init__()
        self.x, self.y, self.measures = x, y, measures

    def on_epoch_end(self, epoch, logs=None):
        predictions = self.model.predict(self.x, verbose=0)
        for name, measure in self.measures.items():
            logs[name] = float(measure(self.y, predictions))


# --8<-- [end:measures]


# --8<-- [start:penalty]
@keras.saving.register_keras_serializable(package="guide")
class Penalty(keras.layers.Layer):
    """Adds ``rate`` times the mean square of its inputs to the loss.

    Shapes:
        ``(batch, ...)`` to ``(batch, ...)``.
    """

    def __init__(self, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.initial_rate = rate
        constant = keras.initializers.Constant(rate)
        self.rate = self.add_weight(
            name="rate", initializer=constant, dtype="float32", trainable=False
        )

    def call(self, inputs):
        square = keras.ops.mean(
            keras.ops.square(keras.ops.cast(inputs, "float32"))
        )
        self.add_loss(self.rate * square)
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.initial_rate}


class WarmUp(keras.callbacks.Callback):
    """Raises a layer's rate from 0 to ``rate``, epoch by epoch."""

    def __init__(self, layer, rate, epochs):
        super().__init__()
        self.layer, self.rate, self.epochs = layer, rate, epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.layer.rate.assign(self.rate * min(1.0, epoch / self.epochs))


# --8<-- [end:penalty]


# --8<-- [start:dead_units]
class DeadUnits(keras.callbacks.Callback):
    """Adds the share of a ReLU layer's units that are 0 for all samples."""

    def __init__(self, layer, x):
        super().__init__()
        self.layer, self.x = layer, x

    def on_train_begin(self, logs=None):
        self.probe = keras.Model(self.model.inputs, self.layer.output)

    def on_epoch_end(self, epoch, logs=None):
        fires = self.probe.predict(self.x, verbose=0) > 0  # (samples, units)
        logs["dead"] = float(np.mean(~np.any(fires, axis=0)))


# --8<-- [end:dead_units]


# --8<-- [start:keeps_largest]
@keras.saving.register_keras_serializable(package="guide")
class KeepsLargestError(keras.Model):
    """Keeps the largest absolute error of the batch that it saw last."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.largest_error = keras.Variable(
            0.0, trainable=False, dtype="float32", name="largest_error"
        )

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        aligned = keras.ops.reshape(y, keras.ops.shape(y_pred))
        errors = keras.ops.abs(
            keras.ops.cast(aligned, "float32")
            - keras.ops.cast(y_pred, "float32")
        )
        self.largest_error.assign(keras.ops.max(errors))
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class FindsOutliers(keras.callbacks.Callback):
    """Collects the batches in which an error is larger than ``limit``."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.batches = limit, []

    def on_train_batch_end(self, batch, logs=None):
        if float(self.model.largest_error) > self.limit:
            self.batches.append(batch)


# --8<-- [end:keeps_largest]


if __name__ == "__main__":
    # --8<-- [start:program]
    def in_top_tenth(y, scores):
        """The share of positives among the tenth with the highest scores."""
        highest = np.argsort(-scores[:, 0])[: len(y) // 10]
        return y[highest].mean()

    keras.utils.set_random_seed(3)
    x = np.random.normal(size=(3000, 10)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] + np.random.normal(size=(3000, 1)) > 1.5) * 1.0
    x_new, y_new = x[2000:], y[2000:]
    model = keras.Sequential(
        [
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    callbacks = [
        Measures(x_new, y_new, {"val_top": in_top_tenth}),
        keras.callbacks.EarlyStopping(
            "val_top", mode="max", patience=5, restore_best_weights=True
        ),
    ]
    history = model.fit(
        x[:2000],
        y[:2000],
        batch_size=64,
        epochs=40,
        callbacks=callbacks,
        verbose=0,
    ).history["val_top"]
    found = in_top_tenth(y_new, model.predict(x_new, verbose=0))
    print(f"positives among all {y_new.mean():.0%}, in the top tenth:")
    print(f"after the first epoch {history[0]:.0%}, best {max(history):.0%}")
    print(
        "weights of the best epoch:", round(found, 3) == round(max(history), 3)
    )
    # --8<-- [end:program]

    # --8<-- [start:events]
    class Tells(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            print(f"epoch {epoch}:", end=" ")

        def on_train_batch_end(self, batch, logs=None):
            print(f"batch {batch} loss {logs['loss']:.1f}", end=", ")

        def on_test_end(self, logs=None):
            print(f"validation {logs['loss']:.1f}", end=", ")

        def on_epoch_end(self, epoch, logs=None):
            print(*(f"{name} {value:.1f}" for name, value in logs.items()))

    same = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)
    identity = keras.Sequential([keras.Input((1,)), same])
    identity.compile(keras.optimizers.SGD(0.0), loss="mae")  # it stays one
    errors = np.array([[1.0], [1.0], [3.0], [3.0], [8.0], [8.0]])
    history = identity.fit(
        errors,
        0 * errors,
        batch_size=2,
        epochs=1,
        shuffle=False,
        validation_data=(errors[:2], 0 * errors[:2]),
        callbacks=[Tells()],
        verbose=0,
    )
    # --8<-- [end:events]

    # --8<-- [start:warm_up]
    penalty = Penalty()
    model = keras.Sequential([identity, penalty])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    ones = np.ones((8, 1))
    warm_up = WarmUp(penalty, rate=3.0, epochs=3)
    history = model.fit(ones, ones, epochs=5, callbacks=[warm_up], verbose=0)
    print("loss by epoch:", history.history["loss"])
    # --8<-- [end:warm_up]

    # --8<-- [start:frozen_fails]
    class FrozenPenalty(keras.layers.Layer):
        rate = 0.0

        def call(self, inputs):
            self.add_loss(self.rate * keras.ops.mean(inputs**2))
            return inputs

    class WarmsNothing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[-1].rate = float(min(3, epoch))

    model = keras.Sequential([identity, FrozenPenalty()])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    history = model.fit(
        ones, ones, epochs=5, callbacks=[WarmsNothing()], verbose=0
    )
    print("loss by epoch:", history.history["loss"])
    print("attribute:", model.layers[-1].rate)
    # --8<-- [end:frozen_fails]

    # --8<-- [start:dead]
    for rate in (0.01, 0.3):
        hidden = keras.layers.Dense(64, activation="relu")
        model = keras.Sequential(
            [keras.Input((10,)), hidden, keras.layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(rate), loss="mse")
        history = model.fit(
            x[:1000],
            100 * y[:1000],
            epochs=5,
            callbacks=[DeadUnits(hidden, x[:500])],
            verbose=0,
        )
        print(f"learning rate {rate}:", end="")
        print(
            "", *(f"{share:.0%}" for share in history.history["dead"]), "dead"
        )
    # --8<-- [end:dead]

    # --8<-- [start:outliers]
    inputs = keras.Input((10,))
    model = KeepsLargestError(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", loss="huber")
    targets = x[:1000, :1].copy()
    targets[333] = 1000.0  # a wrong label, in batch 333 // 32 = 10
    finds = FindsOutliers(limit=100)
    model.fit(x[:1000], targets, shuffle=False, callbacks=[finds], verbose=0)
    print("batches with an error over 100:", finds.batches)
    # --8<-- [end:outliers]

    # --8<-- [start:evaluates_fails]
    class EvaluatesEachBatch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(errors[:2], 100 + errors[:2], verbose=0)

    for callbacks in ([], [EvaluatesEachBatch()]):
        history = identity.fit(
            errors, 0 * errors, batch_size=2, callbacks=callbacks, verbose=0
        )
        print(f"reported loss: {history.history['loss'][0]:.1f}")
    # --8<-- [end:evaluates_fails]
