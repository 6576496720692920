"""A custom layer with a weight that is learned."""

# --8<-- [start:layer]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("guide")
class Scale(keras.layers.Layer):
    """Multiplies by a factor that is learned."""

    def build(self, input_shape):
        self.factor = self.add_weight(
            name="factor",
            initializer="ones",
        )

    def call(self, inputs):
        return ops.multiply(inputs, self.factor)

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:layer]


if __name__ == "__main__":
    # --8<-- [start:train]
    x = np.linspace(1, 10, 64)[:, None]  # inches
    model = keras.Sequential([Scale()])
    model.compile("sgd", loss="mse")
    model.fit(x, 2.54 * x, epochs=20, verbose=0)

    factor = model.layers[0].factor.numpy()
    print(f"centimetres in an inch: {factor:.2f}")
    # --8<-- [end:train]
