"""A custom layer: weights of its own, and an operation that uses them."""

# --8<-- [start:linear]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Linear(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., units)``."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units)
        )
        size = input_shape[-1]
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: size})

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


# --8<-- [end:linear]


# --8<-- [start:affine]
@keras.saving.register_keras_serializable(package="guide")
class Affine(keras.layers.Layer):
    """``outputs = activation(inputs @ kernel + bias)``, as ``Dense`` does it.

    Args:
        units: Size of the last axis of the outputs.
        activation: Name of an activation, a function, or None for the identity.
        kernel_initializer: Name or object that fills the kernel.
        kernel_regularizer: Name or object that penalises the kernel, or None.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(
        self,
        units,
        activation=None,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        features = input_shape[-1]
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.kernel) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }


# --8<-- [end:affine]


if __name__ == "__main__":
    # --8<-- [start:train]
    keras.utils.set_random_seed(7)
    classes = np.random.randint(10, size=1000)
    centres = np.random.normal(size=(10, 20))
    noise = np.random.normal(size=(1000, 20))
    x = (centres[classes] + noise).astype("float32")
    y = keras.utils.to_categorical(classes)

    hidden = keras.layers.Dense(64, activation="relu")
    outputs = keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential([hidden, Linear(128), outputs])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:800], y[:800], epochs=5, verbose=0)
    _, accuracy = model.evaluate(x[800:], y[800:], verbose=0)
    print(f"accuracy on 200 unseen samples: {accuracy:.2f}")

    model.save("model.keras")
    reloaded = keras.saving.load_model("model.keras")
    same = np.allclose(reloaded(x), model(x), atol=1e-6)
    print("same outputs after reloading:", same)
    # --8<-- [end:train]

    # --8<-- [start:build]
    layer = Linear(3, name="projection")
    print("weights before the first call:", len(layer.weights))

    layer(np.ones((2, 4), dtype="float32"))
    for weight in layer.weights:
        print("after it:", weight.name, weight.shape, weight.dtype)
    # --8<-- [end:build]

    # --8<-- [start:input_spec]
    try:
        layer(keras.Input((5,)))
    except ValueError as error:
        print(f"ValueError: {error}")
    # --8<-- [end:input_spec]

    # --8<-- [start:call]
    print("eager:   ", layer(np.ones((2, 4))).shape)
    print("sequence:", layer(np.ones((2, 7, 4))).shape)
    print("symbolic:", layer(keras.Input((None, 4))).shape)
    # --8<-- [end:call]

    # --8<-- [start:undeclared_fails]
    class Undeclared(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    steps = keras.Input((7, 4))
    print("called:", Undeclared()(steps).shape)
    try:
        keras.layers.TimeDistributed(Undeclared())(steps)
    except NotImplementedError:
        print("in TimeDistributed: NotImplementedError")
    # --8<-- [end:undeclared_fails]

    # --8<-- [start:output_shape]
    wrapped = keras.layers.TimeDistributed(Linear(3))
    print("Linear in TimeDistributed:", wrapped(keras.Input((7, 4))).shape)
    # --8<-- [end:output_shape]

    # --8<-- [start:compare]
    options = {"activation": "tanh", "kernel_regularizer": "l2"}
    affine = Affine(3, name="hidden", **options)
    dense = keras.layers.Dense(3, **options)
    batch = np.random.normal(size=(5, 4)).astype("float32")
    affine(batch), dense(batch)

    weights = [np.random.normal(size=each.shape) for each in dense.weights]
    dense.set_weights(weights)
    affine.set_weights(dense.get_weights())

    print("same outputs:", np.allclose(affine(batch), dense(batch)))
    print("same penalty:", np.allclose(affine.losses, dense.losses))
    # --8<-- [end:compare]

    # --8<-- [start:save]
    model = keras.Sequential(
        [keras.Input((4,)), affine, Linear(2, name="projection")]
    )
    model.save("model.keras")
    reloaded = keras.saving.load_model("model.keras")

    print("same outputs:", np.allclose(model(batch), reloaded(batch)))
    print("layers:", [layer.name for layer in reloaded.layers])
    print("activation:", reloaded.layers[0].activation.__name__)
    # --8<-- [end:save]

    # --8<-- [start:seen_name_fails]
    class MyCustomLayer(keras.layers.Layer):
        def __init__(self):
            super(MyCustomLayer, self).__init__()

        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", shape=(input_shape[1], 128))

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    try:
        MyCustomLayer()(np.ones((2, 4)))
    except (TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")
    # --8<-- [end:seen_name_fails]

    # --8<-- [start:seen_init_fails]
    try:
        MyCustomLayer(name="projection")
    except TypeError as error:
        print(f"TypeError: {error}")

    try:
        MyCustomLayer.from_config(MyCustomLayer().get_config())
    except TypeError as error:
        print(f"TypeError: {str(error).splitlines()[-1]}")
    # --8<-- [end:seen_init_fails]

    # --8<-- [start:seen_axis_fails]
    class FirstAxis(keras.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[1], 8)
            )

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    layer = FirstAxis()
    seven_steps = {"model": keras.Input((7, 4)), "data": np.ones((2, 7, 4))}
    for name, inputs in seven_steps.items():
        try:
            print(f"{name}:", layer(inputs).shape)
        except Exception as error:
            print(f"{name}:", type(error).__name__)
    print("kernel:", layer.kernel.shape)
    # --8<-- [end:seen_axis_fails]
