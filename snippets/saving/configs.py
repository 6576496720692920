"""What is in a config: `get_config`, `from_config`, and registered names."""

# --8<-- [start:definitions]
import inspect
import json

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="guide")
class Residual(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``."""

    def __init__(self, inner, initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        if not self.inner.built:  # from a file, it is
            self.inner.build(input_shape)
        self.scale = self.add_weight(
            name="scale", shape=(), initializer=self.initializer
        )

    def call(self, inputs):
        return inputs + self.scale * self.inner(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "inner": keras.saving.serialize_keras_object(self.inner),
            "initializer": keras.initializers.serialize(self.initializer),
        }

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**{**config, "inner": inner})


# --8<-- [end:definitions]


# --8<-- [start:scaled_error]
@keras.saving.register_keras_serializable(package="guide")
class ScaledError(keras.losses.Loss):
    """The absolute error, times ``factor``.

    Shapes:
        ``[(batch, ..., outputs), (batch, ..., outputs)]`` to ``(batch, ...)``.
    """

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.losses.mean_absolute_error(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


# --8<-- [end:scaled_error]


# --8<-- [start:affine]
@keras.saving.register_keras_serializable(package="guide")
class Rescale(keras.layers.Layer):
    """Shapes: ``(batch, ...)`` to ``(batch, ...)``."""

    def __init__(self, scale=1.0, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.shift = shift

    def call(self, inputs):
        return self.scale * inputs + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = {"version": 2, "scale": self.scale, "shift": self.shift}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if config.pop("version", 1) < 2:
            config["scale"] = config.pop("gain")
        return cls(**config)


@keras.saving.register_keras_serializable(package="guide")
class Amplify(Rescale):
    """For old files. Shapes: ``(batch, ...)`` to ``(batch, ...)``."""


# --8<-- [end:affine]


# --8<-- [start:round_trip]
def round_trip(thing):
    """Make ``thing`` again from its config, by way of JSON."""
    text = json.dumps(keras.saving.serialize_keras_object(thing))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    config = json.loads(text)["config"]
    arguments = list(inspect.signature(thing.__init__).parameters.values())
    missing = [
        argument.name
        for argument in arguments
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
        and argument.name not in config
    ]
    assert not missing, f"not in the config: {', '.join(missing)}"
    assert json.dumps(keras.saving.serialize_keras_object(again)) == text
    return again


# --8<-- [end:round_trip]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    inner = keras.layers.Dense(4, activation="tanh")
    layer = Residual(inner, keras.initializers.Constant(0.5))
    for key, value in layer.get_config().items():
        print(f"{key}:", value["class_name"] if type(value) is dict else value)

    model = keras.Sequential([keras.Input((4,)), layer])
    model.save("residual.keras")
    reloaded = keras.saving.load_model("residual.keras")
    x = np.random.normal(size=(8, 4)).astype("float32")
    print("same outputs:", np.allclose(reloaded(x), model(x)))
    # --8<-- [end:program]

    # --8<-- [start:forgets_fails]
    class ForgetsError(keras.losses.Loss):
        def __init__(self, factor=1.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, y_true, y_pred):
            error = keras.losses.mean_absolute_error(y_true, y_pred)
            return self.factor * error

    loss = ForgetsError(factor=10.0)
    again = ForgetsError.from_config(loss.get_config())
    zeros, ones = np.zeros((2, 1)), np.ones((2, 1))
    print(f"{loss(zeros, ones):.1f} and {again(zeros, ones):.1f}")
    # --8<-- [end:forgets_fails]

    # --8<-- [start:remembers]
    loss = ScaledError(factor=10.0)
    again = ScaledError.from_config(loss.get_config())
    zeros, ones = np.zeros((2, 1)), np.ones((2, 1))
    print(f"{loss(zeros, ones):.1f} and {again(zeros, ones):.1f}")
    # --8<-- [end:remembers]

    # --8<-- [start:half_fails]
    class Half(keras.layers.Layer):
        def __init__(self, scale=1.0, shift=0.0, **kwargs):
            super().__init__(**kwargs)
            self.scale, self.shift = scale, shift

        def get_config(self):
            return {**super().get_config(), "shift": self.shift}

    again = Half.from_config(Half(scale=3.0, shift=0.5).get_config())
    print("scale:", again.scale, "shift:", again.shift)
    # --8<-- [end:half_fails]

    # --8<-- [start:frozen_fails]
    attention = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, attention(inputs, inputs))
    attention.trainable = False
    model.save("frozen.keras")
    thawed = keras.saving.load_model("frozen.keras")
    print("saved: ", len(model.trainable_weights), "trainable weights")
    print("loaded:", len(thawed.trainable_weights), "trainable weights")
    thawed.layers[-1].trainable = True  # False is what it has already,
    thawed.layers[-1].trainable = False  # and sets nothing if set alone
    print("frozen again:", len(thawed.trainable_weights))
    # --8<-- [end:frozen_fails]

    # --8<-- [start:twice_fails]
    @keras.saving.register_keras_serializable()
    class Times(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential([keras.Input((1,)), Times()])
    model.save("times.keras")

    @keras.saving.register_keras_serializable(name="Times")
    class OfAnotherModule(keras.layers.Layer):
        def call(self, inputs):
            return 3 * inputs

    loaded = keras.saving.load_model("times.keras")
    one = np.ones((1, 1), "float32")
    print(f"saved: {model(one)[0, 0]:.1f}, loaded: {loaded(one)[0, 0]:.1f}")
    # --8<-- [end:twice_fails]

    # --8<-- [start:old_file]
    in_old_files = {
        "class_name": "Amplify",
        "registered_name": "guide>Amplify",
        "config": {"name": "gain", "dtype": "float32", "gain": 3.0},
    }
    layer = keras.saving.deserialize_keras_object(in_old_files)
    print(f"{type(layer).__name__}: {layer(np.ones((1, 1)))[0, 0]:.1f}")
    print("is an Rescale:", isinstance(layer, Rescale))
    # --8<-- [end:old_file]

    # --8<-- [start:trips]
    for thing in (
        Residual(keras.layers.Dense(4), "ones", dtype="float64"),
        ScaledError(factor=10.0, reduction="sum"),
        Rescale(scale=3.0, name="scaled"),
    ):
        print(type(round_trip(thing)).__name__)
    # --8<-- [end:trips]

    # --8<-- [start:trip_fails]
    keras.saving.register_keras_serializable("guide")(ForgetsError)
    try:
        round_trip(ForgetsError(factor=10.0))
    except AssertionError as error:
        print(error)
    # --8<-- [end:trip_fails]
