"""Errors of saving and loading: each fails as met, then works."""

# --8<-- [start:imports]
import os
import warnings

import keras
import numpy as np
from keras import ops

# --8<-- [end:imports]


if __name__ == "__main__":
    # --8<-- [start:locate_fails]
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential([keras.Input((3,)), Doubled()])
    model.save("doubled.keras")
    try:
        keras.saving.load_model("doubled.keras")
    except TypeError as error:
        first, *_, last = str(error).split("\n\n")
        print("TypeError begins:", first.partition(". ")[0])
        print("TypeError ends:", last.partition(" Full object")[0])

    model.save("doubled.h5")  # the format before .keras
    try:
        keras.saving.load_model("doubled.h5")
    except ValueError as error:
        print("ValueError:", str(error).partition(". ")[0])
    # --8<-- [end:locate_fails]

    # --8<-- [start:locate_works]
    x = np.array([[1.0, 2.0, 3.0]])
    reloaded = keras.saving.load_model(
        "doubled.keras", custom_objects={"Doubled": Doubled}
    )
    print("custom_objects:", reloaded(x).numpy())

    @keras.saving.register_keras_serializable(package="guide")
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential([keras.Input((3,)), Doubled()])
    model.save("registered.keras")
    reloaded = keras.saving.load_model("registered.keras")
    print("registered:    ", reloaded(x).numpy())
    # --8<-- [end:locate_works]

    # --8<-- [start:deserialize_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Forecaster(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    x = np.ones((1, 3))
    model = Forecaster()
    before = model(x)
    model.save("forecaster.keras")
    try:
        keras.saving.load_model("forecaster.keras")
    except TypeError as error:
        print("TypeError, its first words, then what follows:")
        configs = ("config=", "Received config=")
        for words in str(error).split("\n\n"):
            if not words.startswith(configs):
                print(words.partition(". ")[0])
    # --8<-- [end:deserialize_fails]

    # --8<-- [start:deserialize_works]
    @keras.saving.register_keras_serializable(package="guide")
    class Forecaster(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            dtype = self.dtype_policy
            self.dense = keras.layers.Dense(1, dtype=dtype)

        def call(self, inputs):
            return self.dense(inputs)

    reloaded = keras.saving.load_model("forecaster.keras")
    difference = float(ops.max(ops.abs(reloaded(x) - before)))
    print("the same file, largest difference:", difference)
    # --8<-- [end:deserialize_works]

    # --8<-- [start:required_fails]
    class Projector(keras.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(units)

        def call(self, inputs):
            return self.dense(inputs)

    model = Projector(5)
    model(np.ones((1, 3)))
    try:
        model.save("projector.keras")
    except NotImplementedError as error:
        words, _, _ = str(error).strip().partition("\n\n")
        print("NotImplementedError:", words)
    print("bytes in the file:", os.path.getsize("projector.keras"))
    # --8<-- [end:required_fails]

    # --8<-- [start:required_works]
    @keras.saving.register_keras_serializable(package="guide")
    class Projector(keras.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            dtype = self.dtype_policy
            self.dense = keras.layers.Dense(units, dtype=dtype)

        def call(self, inputs):
            return self.dense(inputs)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    x = np.ones((1, 3))
    model = Projector(5)
    before = model(x)
    model.save("projector.keras")
    reloaded = keras.saving.load_model("projector.keras")
    difference = float(ops.max(ops.abs(reloaded(x) - before)))
    print("units:", reloaded.units)
    print("largest difference:", difference)
    # --8<-- [end:required_works]

    # --8<-- [start:default_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Tagger(keras.Model):
        def __init__(self, units=3, rate=0.1, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.dropout = keras.layers.Dropout(rate)
            self.scores = keras.layers.Dense(units, name="scores")

        def call(self, inputs, training=False):
            dropped = self.dropout(inputs, training=training)
            return self.scores(dropped)

    for model in Tagger(units=5), Tagger(rate=0.5):
        model(np.ones((1, 4)))
        model.save("tagger.keras")
        config = model.get_config()
        rate = model.dropout.rate
        print("built with:", model.units, rate, end=", ")
        print("stored:", config["units"], config["rate"])
        try:
            reloaded = keras.saving.load_model("tagger.keras")
            print("loaded with rate:", reloaded.dropout.rate)
        except ValueError as error:
            print("ValueError:", str(error).splitlines()[2])
    # --8<-- [end:default_fails]

    # --8<-- [start:default_works]
    @keras.saving.register_keras_serializable(package="guide")
    class Tagger(keras.Model):
        def __init__(self, units=3, rate=0.1, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            dtype = self.dtype_policy
            self.dropout = keras.layers.Dropout(rate, dtype=dtype)
            self.scores = keras.layers.Dense(
                units, name="scores", dtype=dtype
            )

        def call(self, inputs, training=False):
            dropped = self.dropout(inputs, training=training)
            return self.scores(dropped)

        def get_config(self):
            return {
                **super().get_config(),
                "units": self.units,
                "rate": self.dropout.rate,
            }

    model = Tagger(units=5, rate=0.5)
    model(np.ones((1, 4)))
    model.save("tagger.keras")
    reloaded = keras.saving.load_model("tagger.keras")
    print("loaded with:", reloaded.units, reloaded.dropout.rate)
    # --8<-- [end:default_works]

    # --8<-- [start:build_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Encoder(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            dtype = self.dtype_policy
            self.dense = keras.layers.Dense(2, dtype=dtype)

        def call(self, inputs):
            return self.dense(inputs)

    x = np.ones((1, 3))
    trained = Encoder()
    before = trained(x)
    trained.save_weights("encoder.weights.h5")

    model = Encoder()
    try:
        model.load_weights("encoder.weights.h5")
    except ValueError as error:
        print("ValueError:", error)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.build((None, 3))
    print("UserWarning:", str(caught[0].message).partition(". ")[0])
    model.load_weights("encoder.weights.h5")
    print("weights after loading:", len(model.weights))
    print("same outputs:", np.allclose(model(x), before))

    @keras.saving.register_keras_serializable(package="guide")
    class WithBuild(Encoder):
        def build(self, input_shape):
            super().build(input_shape)  # builds no layer

    model = WithBuild()
    model(x)
    model.save("with_build.keras")
    reloaded = keras.saving.load_model("with_build.keras")
    print("weights from load_model:", len(reloaded.weights))
    # --8<-- [end:build_fails]

    # --8<-- [start:build_works]
    model = Encoder()
    model(keras.Input((3,)))
    model.load_weights("encoder.weights.h5")
    print("weights after loading:", len(model.weights))
    print("same outputs:", np.allclose(model(x), before))

    trained.save("encoder.keras")  # a class without build
    reloaded = keras.saving.load_model("encoder.keras")
    print("weights from load_model:", len(reloaded.weights))
    print("same outputs:", np.allclose(reloaded(x), before))
    # --8<-- [end:build_works]
