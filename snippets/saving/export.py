"""Export a model to a SavedModel, load it without Keras, and serve it."""

# --8<-- [start:definitions]
import json

import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Saturate(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``."""

    def build(self, input_shape):
        self.slope = self.add_weight(
            name="slope", shape=(input_shape[-1],), initializer="ones"
        )

    def call(self, inputs):
        return ops.tanh(self.slope * inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:definitions]


# --8<-- [start:appraiser]
@keras.saving.register_keras_serializable(package="guide")
class Appraiser(keras.Model):
    """A price from a table and a photo.

    Shapes: ``{"table": (batch, t), "photo": (batch, p)}`` to
    ``{"price": (batch, 1)}``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.price = keras.layers.Dense(1, dtype=self.dtype_policy)

    def build(self, input_shape):
        width = input_shape["table"][-1] + input_shape["photo"][-1]
        self.price.build((None, width))

    def call(self, inputs):
        both = ops.concatenate([inputs["table"], inputs["photo"]], axis=-1)
        return {"price": self.price(both)}


# --8<-- [end:appraiser]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    table = keras.Input((5,), name="table")
    price = keras.layers.Dense(1)(Saturate()(table))
    model = keras.Model(table, {"price": price})
    model.export("prices/1", verbose=False)

    loaded = tf.saved_model.load("prices/1")
    x = np.random.normal(size=(8, 5)).astype("float32")
    same = np.allclose(loaded.serve(x)["price"], model(x)["price"])
    print("same outputs:", same)

    print("signatures:", sorted(loaded.signatures))
    signature = loaded.signatures["serving_default"]
    for name, spec in signature.structured_input_signature[1].items():
        print("takes", name, spec.shape, spec.dtype.name)
    for name, spec in signature.structured_outputs.items():
        print("returns", name, spec.shape, spec.dtype.name)
    # --8<-- [end:program]

    # --8<-- [start:names_fails]
    appraiser = Appraiser()
    appraiser({"table": np.zeros((8, 4)), "photo": np.zeros((8, 9))})
    appraiser.export("appraiser/1", verbose=False)
    signature = tf.saved_model.load("appraiser/1").signatures["serve"]
    for name, spec in sorted(signature.structured_input_signature[1].items()):
        print(name, spec.shape)
    # --8<-- [end:names_fails]

    # --8<-- [start:named]
    appraiser = Appraiser()
    inputs = {"table": np.zeros((8, 4)), "photo": np.zeros((8, 9))}
    appraiser(inputs)
    specs = {
        name: tf.TensorSpec((None, value.shape[1]), "float32", name=name)
        for name, value in inputs.items()
    }
    appraiser.export("appraiser/2", input_signature=[specs], verbose=False)
    signature = tf.saved_model.load("appraiser/2").signatures["serve"]
    for name, spec in sorted(signature.structured_input_signature[1].items()):
        print(name, spec.shape)
    # --8<-- [end:named]

    # --8<-- [start:endpoints]
    kind = keras.Input((), dtype="string", name="kind")
    size = keras.Input((2,), name="size")
    kinds = keras.layers.StringLookup(
        vocabulary=["flat", "house"], output_mode="one_hot"
    )(kind)  # (batch, 3): the first column is any other word
    sizes = keras.layers.Normalization(mean=[80, 3], variance=[900, 4])(size)
    features = keras.layers.Concatenate()([kinds, sizes])  # (batch, 5)
    raw = keras.Model({"kind": kind, "size": size}, model(features))

    archive = keras.export.ExportArchive()
    archive.track_and_add_endpoint("raw", raw, [raw.input])
    archive.track_and_add_endpoint("table", model, [model.input])
    archive.write_out("prices/2", verbose=False)

    loaded = tf.saved_model.load("prices/2")
    for name, signature in sorted(loaded.signatures.items()):
        print(name, sorted(signature.structured_input_signature[1]))
    prices = loaded.signatures["raw"](
        kind=tf.constant(["flat", "boat"]),
        size=tf.constant([[80.0, 3.0], [110.0, 5.0]]),
    )["price"]
    x = np.array([[0, 1, 0, 0, 0], [1, 0, 0, 1, 1]], "float32")
    print("same outputs:", np.allclose(prices, model(x)["price"]))
    # --8<-- [end:endpoints]

    # --8<-- [start:untracked_fails]
    lookup = keras.layers.StringLookup(vocabulary=["flat", "house"])
    archive = keras.export.ExportArchive()
    word = tf.TensorSpec((None,), "string")
    archive.add_endpoint("index", lambda kind: lookup(kind), [word])
    try:
        archive.write_out("index/1", verbose=False)
    except AssertionError as error:
        print(str(error).split(".")[0])
    # --8<-- [end:untracked_fails]

    # --8<-- [start:frozen_fails]
    class Shifted(keras.layers.Layer):
        shift = 0.0

        def call(self, inputs, training=True):
            return inputs + self.shift + (100.0 if training else 0.0)

    shifted = Shifted()
    shifting = keras.Sequential([keras.Input((1,)), shifted])
    shifting.export("shifted/1", verbose=False)
    shifted.shift = 5.0
    zero = np.zeros((1, 1), "float32")
    print("predict:", shifting.predict(zero, verbose=0))
    loaded = tf.saved_model.load("shifted/1")
    print("exported:", loaded.serve(zero).numpy())
    # --8<-- [end:frozen_fails]

    # --8<-- [start:again]
    frozen = keras.layers.TFSMLayer("prices/2", "table", trainable=False)
    again = keras.Sequential([keras.Input((5,)), frozen])
    print("same outputs:", np.allclose(again(x)["price"], model(x)["price"]))
    # --8<-- [end:again]

    # --8<-- [start:requests]
    from serve import answer

    loaded = tf.saved_model.load("prices/2")
    flat = {"kind": "flat", "size": [80.0, 3.0]}
    house = {"kind": "house", "size": [120.0, 5.0]}
    in_rows = {"instances": [flat, house]}
    in_columns = {
        "signature_name": "table",
        "inputs": {"table": [[1, 0, 0, 0, 0]]},
    }
    wrong = {"instances": [{"kind": 3, "size": [80.0, 3.0]}]}
    for request in (in_rows, in_columns, wrong):
        status, reply = answer(loaded, json.dumps(request))
        text = json.dumps(reply)
        print(status, json.loads(text, parse_float=lambda n: f"{float(n):.2f}"))
    # --8<-- [end:requests]
