"""A custom layer with a weight: trained, saved and reloaded."""

# --8<-- [start:layer]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Scale(keras.layers.Layer):
    """Multiplies each feature by a factor that is learned.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., features)``.
    """

    def build(self, input_shape):
        self.factor = self.add_weight(
            name="factor", shape=(input_shape[-1],), initializer="ones"
        )
        features = input_shape[-1]
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs):
        return ops.multiply(inputs, self.factor)

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:layer]


if __name__ == "__main__":
    # --8<-- [start:train]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(256, 3))
    y = x * [2.0, -1.0, 0.5]

    model = keras.Sequential([Scale()])
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    model.fit(x, y, epochs=20, verbose=0)
    print("learned factors:", model.layers[0].factor.numpy().round(2))

    model.save("model.keras")
    reloaded = keras.saving.load_model("model.keras")
    same = np.allclose(
        model.predict(x, verbose=0), reloaded.predict(x, verbose=0)
    )
    print("same predictions after reloading:", same)
    # --8<-- [end:train]
