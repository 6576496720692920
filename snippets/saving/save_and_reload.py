"""A model with a layer and a loss of one's own: saved, loaded, trained on."""

# --8<-- [start:definitions]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Shift(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``."""

    def __init__(self, start=0.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.start)
        features = input_shape[-1]
        self.shift = self.add_weight(
            name="shift", shape=(features,), initializer=initializer
        )
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs):
        return ops.add(inputs, self.shift)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable(package="guide")
def absolute_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


# --8<-- [end:definitions]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(256, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True) + 1

    model = keras.Sequential([Shift(start=0.5), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss=absolute_error)
    model.fit(x, y, epochs=2, verbose=0)
    model.save("model.keras")

    reloaded = keras.saving.load_model("model.keras")
    print("same outputs:", np.allclose(reloaded(x), model(x)))
    print("start:", reloaded.layers[0].start)
    print("steps of the optimizer:", int(reloaded.optimizer.iterations))
    # --8<-- [end:program]

    # --8<-- [start:weights]
    model.save_weights("model.weights.h5")

    same_shape = keras.Sequential([Shift(), keras.layers.Dense(1)])
    same_shape.build((None, 3))  # a layer without weights takes none
    same_shape.load_weights("model.weights.h5")
    print("same outputs:", np.allclose(same_shape(x), model(x)))
    # --8<-- [end:weights]
