"""A checkup for your own layer: what it finds, what it tries."""

# --8<-- [start:layer_fails]
import keras
import numpy as np
from checkup import checkup
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Standardize(keras.layers.Layer):
    """Standardizes each sample, and scales it."""

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        size = (input_shape[-1],)
        ones = np.ones(size, "float32")
        self.scale = keras.Variable(ones, name="scale")
        self.shift = self.add_weight(shape=size, name="shift")

    def call(self, inputs):
        mean = ops.mean(inputs, axis=0)
        spread = ops.std(inputs, axis=0)
        scaled = (inputs - mean) / (spread + self.epsilon)
        return scaled * self.scale + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:layer_fails]
# --8<-- [start:layer_works]
@keras.saving.register_keras_serializable(package="guide")
class Standardized(keras.layers.Layer):
    """Standardizes each sample, and scales it.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        size = (input_shape[-1],)
        self.scale = self.add_weight(
            shape=size, initializer="ones", name="scale"
        )
        self.shift = self.add_weight(shape=size, name="shift")

    def call(self, inputs):
        # Squares of 16 bits end at 65,504: mean and deviation
        # are computed in 32.
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        wide = ops.cast(inputs, dtype)
        mean = ops.mean(wide, axis=-1, keepdims=True)
        spread = ops.std(wide, axis=-1, keepdims=True)
        scaled = (wide - mean) / (spread + self.epsilon)
        scaled = ops.cast(scaled, self.compute_dtype)
        return scaled * self.scale + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


# --8<-- [end:layer_works]
# --8<-- [start:loss_fails]
@keras.saving.register_keras_serializable(package="guide")
class Squared(keras.losses.Loss):
    """The mean of the squared errors of each sample."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


# --8<-- [end:loss_fails]
if __name__ == "__main__":
    # --8<-- [start:run]
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 4)).astype("float32")
    report = checkup(Standardize, x, epsilon=0.1)
    print(report)
    # --8<-- [end:run]

    # --8<-- [start:mended]
    report = checkup(Standardized, x, epsilon=0.1)
    report.assert_clean()
    print("findings:", len(report.findings))
    # --8<-- [end:mended]

    # --8<-- [start:loss]
    pair = (x[:, 1:2], x[:, :1])  # y_true and y_pred
    print(checkup(Squared, pair))
    # --8<-- [end:loss]

    # --8<-- [start:left]
    leave_out = {"each_dtype": "it is used in float32 only"}
    report = checkup(Standardize, x, leave_out=leave_out)
    print("each_dtype:", report.left["each_dtype"])
    # --8<-- [end:left]

    # --8<-- [start:own]
    from checkup import check

    @check("layer", "model")
    def has_a_docstring(case):
        """Its class says what it does."""
        if not type(case.layer).__doc__:
            yield (
                "The docstring of the class.",
                "There is none.",
                "Nobody knows what the layer is for.",
                "Write one.",
            )

    report = checkup(Standardized, x)
    print("passed:", "has_a_docstring" in report.passed)
    # --8<-- [end:own]
