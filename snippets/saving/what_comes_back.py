"""A saved model and the one that is loaded, compared number by number."""

# --8<-- [start:not_as_saved]
import os

import keras
import numpy as np
from keras import ops


def numbers(model: keras.Model, x, y) -> dict[str, object]:
    """What a compiled model predicts, reports, and learns from a batch.

    ``x`` and ``y`` are what ``train_on_batch`` takes. The batch moves the
    weights: ask a model and its copy once each.
    """
    found = {"predictions": model.predict(x, verbose=0)}
    found |= model.evaluate(x, y, verbose=0, return_dict=True)
    model.train_on_batch(x, y)
    return found | {"weights after a step": model.get_weights()}


def not_as_saved(
    model: keras.Model, path: str | os.PathLike, x, y
) -> list[str]:
    """Save a compiled model, load it, and name the numbers that differ.

    ``x`` and ``y`` are what ``train_on_batch`` takes.
    """
    model.save(path)
    loaded = keras.saving.load_model(path)
    before, after = numbers(model, x, y), numbers(loaded, x, y)
    return [
        name
        for name in before
        if name not in after or not same(before[name], after[name])
    ]


def same(one, other) -> bool:
    """Whether two nests of arrays hold the same, to rounding."""
    ones, others = keras.tree.flatten(one), keras.tree.flatten(other)
    return [np.shape(a) for a in ones] == [np.shape(b) for b in others] and all(
        np.allclose(a, b, rtol=1e-4, atol=1e-6)
        for a, b in zip(ones, others, strict=True)
    )


# --8<-- [end:not_as_saved]


# --8<-- [start:loss]
@keras.saving.register_keras_serializable(package="guide")
class WeightedError(keras.losses.Loss):
    """The absolute error, times ``weight``.

    Shapes: ``[(batch, features), (batch, features)]`` to ``(batch,)``
    """

    def __init__(self, weight: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


# --8<-- [end:loss]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(1)
    x = np.random.normal(size=(64, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)

    def trained(loss):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        optimizer = keras.optimizers.Adam(name="adam")
        model.compile(optimizer=optimizer, loss=loss)
        model.fit(x, y, verbose=0)
        return model

    print(not_as_saved(trained(WeightedError(3.0)), "model.keras", x, y))
    # --8<-- [end:program]

    # --8<-- [start:forgets_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Forgets(keras.losses.Loss):
        def __init__(self, weight: float = 1.0, **kwargs):
            super().__init__(**kwargs)
            self.weight = weight

        def call(self, y_true, y_pred):
            return self.weight * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    print(not_as_saved(trained(Forgets(3.0)), "forgets.keras", x, y))
    print(keras.saving.load_model("forgets.keras").loss.weight)
    # --8<-- [end:forgets_fails]

    # --8<-- [start:half]
    keras.config.set_dtype_policy("mixed_float16")
    model = trained("mse")
    model.save("half.keras")
    print("saved:", type(model.optimizer).__name__)

    keras.config.set_dtype_policy("float32")  # as in a new program
    loaded = keras.saving.load_model("half.keras")
    print("loaded:", type(loaded.optimizer).__name__)
    print("steps:", int(loaded.optimizer.iterations))

    keras.config.set_dtype_policy("mixed_float16")
    print(type(keras.saving.load_model("half.keras").optimizer).__name__)
    # --8<-- [end:half]
