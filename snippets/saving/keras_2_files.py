"""Files of Keras 2 under Keras 3: load them, and bring them over once."""

# --8<-- [start:definitions]
import json
import zipfile

import h5py
import keras
import numpy as np
import tensorflow as tf


def keras_2_file(path, *layers):
    """Write a Sequential as Keras 2 does: (class, config, weights) each."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [config["name"] for _, config, _ in layers]
        for _, config, weights in layers:
            layer = group.create_group(config["name"])
            layer.attrs["weight_names"] = list(weights)
            for name, value in weights.items():
                layer[name] = np.asarray(value, "float32")
        pairs = [{"class_name": one, "config": two} for one, two, _ in layers]
        config = {"name": "old", "layers": pairs}
        model = {"class_name": "Sequential", "config": config}
        file.attrs["model_config"] = json.dumps(model)


@keras.saving.register_keras_serializable(package="guide")
class Offset(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``."""

    def build(self, input_shape):
        # Keras 2: self.add_weight("offset", shape=(input_shape[-1],))
        self.offset = self.add_weight(name="offset", shape=input_shape[-1:])

    def call(self, inputs):
        return inputs + self.offset

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:definitions]


# --8<-- [start:keras_3_config]
@keras.saving.register_keras_serializable(package="guide")
def hard_sigmoid_2(x):
    """What Keras 2 calls ``hard_sigmoid``."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


LEFT_OUT = {
    "time_major": False,
    "groups": 1,
    "trainable": True,
    "noise_shape": None,
    "rng_type": "stateful",
}
NOT_USED = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")


def keras_3_config(node, own=()):
    """A config of Keras 2 as Keras 3 writes it. ``own``: your class names."""
    if isinstance(node, list):
        return [keras_3_config(one, own) for one in node]
    if not isinstance(node, dict):
        return node
    node = {key: keras_3_config(value, own) for key, value in node.items()}
    name, config = node.get("class_name"), node.get("config")
    if name == "Policy":
        return config["name"]
    if not isinstance(config, dict) or "name" not in config:
        return node  # an initializer, for example
    for key in ("build_config", "compile_config"):
        node.pop(key, None)
    if name in ("Functional", "Model", "Sequential"):
        name = "Sequential" if name == "Sequential" else "Model"
        return {**node, "class_name": name, "module": "keras.models"}
    if name in own or not hasattr(
        keras.layers, name
    ):  # one of yours, "Custom>Offset"
        node.setdefault("registered_name", name)
        return {**node, "class_name": name.split(">")[-1], "module": None}

    shape = config.pop("batch_input_shape", None)
    if name == "InputLayer" and shape:
        config["batch_shape"] = shape
    for key, value in list(config.items()):
        if key in LEFT_OUT and value == LEFT_OUT[key]:
            del config[key]
        elif value == "hard_sigmoid" and key != "name":
            config[key] = keras.saving.serialize_keras_object(hard_sigmoid_2)
        elif key == "axis" and isinstance(value, list):
            config[key] = value[0] if len(value) == 1 else value or None
    if name.startswith("SeparableConv"):
        for key in NOT_USED:
            config.pop(key, None)
    return {**node, "module": "keras.layers", "registered_name": None}


def load_keras_2(path, custom_objects=None):
    """Load a Sequential or functional model of Keras 2, not compiled.

    Args:
        path: An ``.h5`` file of a whole model, or a ``.keras`` file.
        custom_objects: Classes and functions by their names in the file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            text = file.read("config.json")
    else:
        with h5py.File(path) as file:
            text = file.attrs["model_config"]
    own = custom_objects or {}
    config = keras_3_config(json.loads(text), own)
    model = keras.saving.deserialize_keras_object(config, custom_objects=own)
    model.load_weights(path)
    return model


# --8<-- [end:keras_3_config]


# --8<-- [start:from_checkpoint]
def from_checkpoint(model, path, places):
    """Set weights to those of a TensorFlow checkpoint of Keras 2.

    Args:
        model: A built model.
        path: The name without ``.index``.
        places: Where each layer of ``model`` stands in the checkpoint.

    Returns:
        The paths of the weights that were not set.
    """
    reader = tf.train.load_checkpoint(path)
    was_set = set()
    for layer, place in places.items():
        for weight in layer.weights:
            key = "/".join(
                (place, weight.name, ".ATTRIBUTES", "VARIABLE_VALUE")
            )
            own = weight.path == f"{layer.path}/{weight.name}"
            if own and reader.has_tensor(key):
                weight.assign(reader.get_tensor(key))
                was_set.add(id(weight))
    return [one.path for one in model.weights if id(one) not in was_set]


# --8<-- [end:from_checkpoint]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras_2_file(  # in place of your own file
        "old.h5",
        ("InputLayer", {"name": "x", "batch_input_shape": [None, 2]}, {}),
        ("Offset", {"name": "shift"}, {"shift/offset:0": [0.5, -1.0]}),
        ("Dense", {"name": "sum", "units": 1}, {"k:0": [[2], [3]], "b:0": [1]}),
    )
    x = np.array([[1.0, 1.0], [0.0, 2.0]], "float32")
    expected = np.array([[4.0], [5.0]])  # saved by the old program

    model = keras.saving.load_model(
        "old.h5", custom_objects={"Offset": Offset}, compile=False
    )
    print("as in Keras 2:", np.allclose(model(x), expected))
    model.save("new.keras")
    again = keras.saving.load_model("new.keras")
    print("from new.keras:", np.allclose(again(x), expected))
    # --8<-- [end:program]

    # --8<-- [start:old_files]
    keras_2_file(
        "gate.h5",
        ("InputLayer", {"name": "x", "batch_input_shape": [None, 1]}, {}),
        ("Activation", {"name": "a", "activation": "hard_sigmoid"}, {}),
    )
    keras_2_file(
        "map.h5",
        ("InputLayer", {"name": "x", "batch_input_shape": [None, 2, 3]}, {}),
        ("Softmax", {"name": "softmax", "axis": [1, 2]}, {}),
    )
    # --8<-- [end:old_files]
    # --8<-- [start:silent_fails]
    gate = keras.saving.load_model("gate.h5", compile=False)
    print(f"hard_sigmoid of 1: 0.70, loaded: {gate(np.ones((1, 1)))[0, 0]:.2f}")
    total = keras.saving.load_model("map.h5", compile=False)
    total = np.sum(total(np.ones((1, 2, 3))))
    print(f"softmax over two axes sums to: 1.0, loaded: {total:.1f}")
    # --8<-- [end:silent_fails]

    # --8<-- [start:load]
    settings = {"name": "lstm", "units": 1, "time_major": False}
    settings["recurrent_activation"] = "hard_sigmoid"
    keras_2_file(
        "lstm.h5",
        ("InputLayer", {"name": "x", "batch_input_shape": [None, 3, 1]}, {}),
        (
            "LSTM",
            settings,
            {"k": [[1, 1, 1, 1]], "r": [[0, 0, 0, 0]], "b": [0, 0, 0, 0]},
        ),
    )
    try:
        keras.saving.load_model("lstm.h5", compile=False)
    except ValueError as error:
        print("ValueError:", error)
    lstm = load_keras_2("lstm.h5")
    print("LSTM:", np.round(lstm(np.ones((1, 3, 1))), 4))

    gate, total = load_keras_2("gate.h5"), load_keras_2("map.h5")
    print(f"hard_sigmoid of 1: {gate(np.ones((1, 1)))[0, 0]:.2f}")
    print(f"softmax: {np.sum(total(np.ones((1, 2, 3)))):.1f}")
    # --8<-- [end:load]

    # --8<-- [start:checkpoint]
    held = tf.train.Checkpoint  # in place of your own files
    held(
        **{
            "layer_with_weights-0": held(offset=tf.Variable([0.5, -1.0])),
            "layer_with_weights-1": held(
                kernel=tf.Variable([[2.0], [3.0]]), bias=tf.Variable([1.0])
            ),
        }
    ).write("ckpt")

    new = keras.Sequential(
        [
            keras.Input((2,)),
            Offset(name="shift"),
            keras.layers.Dense(1, name="sum"),
        ],
        name="new",
    )
    tf.train.Checkpoint(new).restore("ckpt").expect_partial()
    print("restored:", np.allclose(new(x), expected))
    places = {
        new.layers[0]: "layer_with_weights-0",
        new.layers[1]: "layer_with_weights-1",
    }
    print("not set:", from_checkpoint(new, "ckpt", places))
    print("as in Keras 2:", np.allclose(new(x), expected))
    # --8<-- [end:checkpoint]
