"""Errors of export: they fail as met, then work."""

# --8<-- [start:imports]
import keras
import numpy as np
import tensorflow as tf

# --8<-- [end:imports]


if __name__ == "__main__":
    # --8<-- [start:export_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Pricer(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(
                1, dtype=self.dtype_policy
            )

        def call(self, inputs):
            return self.dense(inputs)

    model = Pricer()
    try:
        model.export("pricer", verbose=False)
    except ValueError as error:
        print("ValueError:", error)

    x = np.ones((2, 3))
    before = model(x)
    model.save("pricer.keras")
    reloaded = keras.saving.load_model("pricer.keras")
    try:
        reloaded.export("pricer", verbose=False)
    except ValueError as error:
        print("ValueError:", error)
    # --8<-- [end:export_fails]

    # --8<-- [start:export_works]
    reloaded(keras.Input((3,)))
    reloaded.export("pricer", verbose=False)
    exported = tf.saved_model.load("pricer")
    after = exported.serve(tf.ones((2, 3)))
    print("same outputs:", np.allclose(after, before))
    # --8<-- [end:export_works]
