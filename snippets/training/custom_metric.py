"""A custom metric: written, reported by `fit`, reloaded, and where it ends."""

# --8<-- [start:balanced_accuracy]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class BalancedAccuracy(keras.metrics.Metric):
    """The accuracy within each class, averaged over the classes that occurred.

    Targets are class indices, with or without a last axis of 1.
    """

    def __init__(self, classes, name="balanced_accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        vector = {"shape": (classes,), "initializer": "zeros"}
        self.hits = self.add_weight(name="hits", **vector)
        self.seen = self.add_weight(name="seen", **vector)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        seen = ops.one_hot(y_true, self.classes)
        if sample_weight is not None:
            seen *= ops.reshape(ops.cast(sample_weight, seen.dtype), (-1, 1))
        predicted = ops.reshape(ops.argmax(y_pred, axis=-1), (-1,))
        right = ops.cast(y_true == predicted, seen.dtype)  # (samples,)
        self.hits.assign_add(ops.sum(seen * right[:, None], axis=0))
        self.seen.assign_add(ops.sum(seen, axis=0))

    def result(self):
        occurred = ops.sum(ops.cast(self.seen > 0, self.seen.dtype))
        within = ops.divide_no_nan(self.hits, self.seen)
        return ops.divide_no_nan(ops.sum(within), occurred)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


# --8<-- [end:balanced_accuracy]


# --8<-- [start:largest]
@keras.saving.register_keras_serializable(package="guide")
class LargestExcess(keras.metrics.Metric):
    """The most by which a prediction lies above its target, so far."""

    def __init__(self, name="largest_excess", **kwargs):
        super().__init__(name=name, **kwargs)
        lowest = keras.initializers.Constant(-np.inf)
        self.largest = self.add_weight(name="largest", initializer=lowest)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.cast(y_pred, self.dtype)  # (batch, outputs)
        y_true = ops.reshape(ops.cast(y_true, self.dtype), ops.shape(y_pred))
        excess = ops.max(y_pred - y_true, axis=-1)
        if sample_weight is not None:
            counts = ops.reshape(sample_weight, ops.shape(excess)) > 0
            excess = ops.where(counts, excess, -np.inf)
        self.largest.assign(ops.maximum(self.largest, ops.max(excess)))

    def result(self):
        return ops.where(ops.isinf(self.largest), 0.0, self.largest)  # no data

    def reset_state(self):
        self.largest.assign(-np.inf)


# --8<-- [end:largest]


# --8<-- [start:quantile]
@keras.saving.register_keras_serializable(package="guide")
class ErrorQuantile(keras.metrics.Metric):
    """A quantile of the absolute errors, to a hundredth of ``upper``.

    Args:
        quantile: Share of the samples whose error lies below the result.
        upper: The largest error that is told apart from larger ones.
    """

    def __init__(self, quantile, upper, name="error_quantile", **kwargs):
        super().__init__(name=name, **kwargs)
        self.quantile = quantile
        self.upper = upper
        self.counts = self.add_weight(
            name="counts", shape=(100,), initializer="zeros"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.reshape(ops.cast(y_pred, self.dtype), (-1,))
        y_true = ops.reshape(ops.cast(y_true, self.dtype), (-1,))
        bins = ops.floor(ops.abs(y_true - y_pred) / self.upper * 100)
        each = ops.one_hot(ops.cast(ops.clip(bins, 0, 99), "int32"), 100)
        if sample_weight is not None:
            each *= ops.reshape(ops.cast(sample_weight, each.dtype), (-1, 1))
        self.counts.assign_add(ops.sum(each, axis=0))

    def result(self):
        wanted = self.quantile * ops.sum(self.counts)
        below = ops.cast(ops.cumsum(self.counts) < wanted, self.dtype)
        return (ops.sum(below) + 1) / 100 * self.upper

    def get_config(self):
        own = {"quantile": self.quantile, "upper": self.upper}
        return {**super().get_config(), **own}


# --8<-- [end:quantile]


# --8<-- [start:reports_near]
@keras.saving.register_keras_serializable(package="guide")
class ReportsNear(keras.Model):
    """Reports the error where the first feature is below 0.5, too."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.near = keras.metrics.MeanAbsoluteError(name="near_error")

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        near = ops.cast(x[:, 0] < 0.5, "float32")
        self.near.update_state(y, y_pred, sample_weight=near)
        return super().compute_metrics(x, y, y_pred, sample_weight)


# --8<-- [end:reports_near]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    labels = np.random.choice(3, size=2000, p=[0.9, 0.07, 0.03])
    x = np.random.normal(size=(2000, 4)) + labels[:, None]
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy", BalancedAccuracy(classes=3)],
    )
    model.fit(x, labels, epochs=5, verbose=0)
    model.save("classifier.keras")
    reloaded = keras.saving.load_model("classifier.keras")
    for one in (model, reloaded):
        found = one.evaluate(x, labels, verbose=0, return_dict=True)
        print({name: round(value, 3) for name, value in found.items()})
    # --8<-- [end:program]

    # --8<-- [start:batches]
    def precision(y_true, y_pred):
        said = ops.cast(y_pred > 0.5, "float32")
        return ops.sum(said * y_true) / (ops.sum(said) + 1e-7)

    def mean_error(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    scores = np.random.uniform(size=(1100, 1)) ** 4
    rare = (np.random.uniform(size=(1100, 1)) < scores).astype("float32")
    scores[1000:], rare[1000:] = 0.9, 0.0  # the last hundred are wrong
    identity = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    identity.compile(
        loss="mse",
        metrics=[
            precision,
            keras.metrics.Precision(name="Precision"),
            mean_error,
            keras.metrics.MeanAbsoluteError(name="MeanAbsoluteError"),
        ],
    )
    for batch_size in (10, 1000, 1100):
        found = identity.evaluate(
            scores, rare, batch_size=batch_size, verbose=0, return_dict=True
        )
        del found["loss"]
        print(f"batches of {batch_size}:", end="")
        print("", *(f"{name} {value:.2f}" for name, value in found.items()))
    # --8<-- [end:batches]

    # --8<-- [start:reset]
    class StartsAtZero(LargestExcess):
        def reset_state(self):
            keras.metrics.Metric.reset_state(self)  # as if it weren't written

    for metric in (StartsAtZero(), LargestExcess()):
        print(f"{type(metric).__name__}:", end="")
        for epoch in (1, 2):
            metric.update_state(
                np.array([[5.0], [9.0]]), np.array([[3.0], [4.0]])
            )
            print(f" epoch {epoch} {metric.result():.1f}", end="")
            metric.reset_state()
        print()
    # --8<-- [end:reset]

    # --8<-- [start:error_quantile]
    errors = np.random.gamma(2.0, size=(5000, 1))
    identity.compile(loss="mse", metrics=[ErrorQuantile(0.9, upper=10.0)])
    _, found = identity.evaluate(errors, 0 * errors, verbose=0)
    exact = np.quantile(errors, 0.9)
    print(f"0.9 quantile: {found:.1f}, by NumPy {exact:.1f}")
    # --8<-- [end:error_quantile]

    # --8<-- [start:weights]
    values, zeros = np.array([[1.0], [2.0], [6.0]]), np.zeros((3, 1))
    identity.compile(
        loss="mae",
        metrics=[keras.metrics.MeanAbsoluteError(name="plain")],
        weighted_metrics=[keras.metrics.MeanAbsoluteError(name="weighted")],
    )
    found = identity.evaluate(
        values,
        zeros,
        sample_weight=np.array([1.0, 1.0, 0.0]),
        verbose=0,
        return_dict=True,
    )
    print({name: round(value, 2) for name, value in found.items()})
    # --8<-- [end:weights]

    # --8<-- [start:hits]
    class TruePositives(keras.metrics.Metric):
        def __init__(self, name="true_positives", **kwargs):
            super().__init__(name=name, **kwargs)
            self.hits = self.add_weight(name="hits", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            y_pred = ops.reshape(ops.argmax(y_pred, axis=1), (-1, 1))
            right = ops.cast(y_true, "int32") == ops.cast(y_pred, "int32")
            self.hits.assign_add(ops.sum(ops.cast(right, "float32")))

        def result(self):
            return ops.cast(self.hits, self.dtype)

    predicted = model.predict(x, verbose=0)  # (2000, 3)
    for shape in ((2000,), (2000, 1)):
        metric = TruePositives()
        metric.update_state(labels.reshape(shape), predicted)
        print(f"targets {shape}: {metric.result():,.0f} hits in 2,000 samples")
    # --8<-- [end:hits]

    # --8<-- [start:near]
    inputs = keras.Input((1,))
    regression = ReportsNear(inputs, keras.layers.Dense(1)(inputs))
    regression.compile(loss="mse", metrics=["mae"])
    far = np.random.uniform(size=(500, 1))
    history = regression.fit(far, 2 * far, epochs=1, verbose=0).history
    print("reported:", sorted(history))
    # --8<-- [end:near]

    # --8<-- [start:loop]
    metric = BalancedAccuracy(classes=3)
    for epoch in (1, 2):
        metric.reset_state()
        for start in range(0, 2000, 300):
            part = slice(start, start + 300)
            metric.update_state(labels[part], model(x[part]))
        print(f"epoch {epoch}: {metric.result():.3f}", end="")
        print(f" of {int(ops.sum(metric.seen))} samples")
    # --8<-- [end:loop]
