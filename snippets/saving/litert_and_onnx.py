"""Convert a model with a custom layer to LiteRT and ONNX, and run the files."""

# --8<-- [start:definitions]
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Prototypes(keras.layers.Layer):
    """Shapes: ``(batch, ..., features)`` to ``(batch, ..., units)``."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.points = self.add_weight(
            name="points", shape=(self.units, input_shape[-1])
        )

    def call(self, inputs):
        away = ops.expand_dims(inputs, axis=-2) - self.points
        return ops.exp(-ops.sum(ops.square(away), axis=-1))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


# --8<-- [end:definitions]


# --8<-- [start:run_file]
import onnxruntime


def run_file(path, **inputs):
    """Run a ``.tflite`` or ``.onnx`` file once.

    Args:
        path: The file.
        inputs: Arrays, by the names of the inputs.

    Returns:
        A dict of arrays, by the names of the outputs.
    """
    if Path(path).suffix == ".tflite":
        return Interpreter(str(path)).get_signature_runner()(**inputs)
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


# --8<-- [end:run_file]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    table = keras.Input((5,), name="table")
    price = keras.layers.Dense(1)(Prototypes(8)(table))
    model = keras.Model(table, {"price": price})
    model.export("prices.tflite", format="litert", verbose=False)

    x = np.random.normal(size=(5, 5)).astype("float32")
    run = Interpreter("prices.tflite").get_signature_runner()
    for rows in (1, 5):
        found = run(table=x[:rows])["price"]  # (rows, 1)
        gap = np.abs(found - model(x[:rows])["price"]).max()
        print(f"LiteRT, {rows} rows: largest difference {gap:.6f}")
    # --8<-- [end:program]

    # --8<-- [start:onnx]
    warnings.filterwarnings("ignore", "In the future `np.object`")
    model.export("prices.onnx", format="onnx", verbose=False)

    for rows in (1, 5):
        found = run_file("prices.onnx", table=x[:rows])["price"]
        gap = np.abs(found - model(x[:rows])["price"]).max()
        print(f"ONNX, {rows} rows: largest difference {gap:.6f}")
    # --8<-- [end:onnx]

    # --8<-- [start:silent_fails]
    def compare(name, function, x):
        inputs = keras.Input(x.shape[1:], dtype=x.dtype.name, name="x")
        outputs = keras.layers.Lambda(function)(inputs)
        model = keras.Model(inputs, {"y": outputs})
        print(f"{name}: {ops.convert_to_numpy(model(x)['y'])}")
        for format, path in (("litert", "y.tflite"), ("onnx", "y.onnx")):
            model.export(path, format=format, verbose=False)
            print(f"  {format}: {run_file(path, x=x)['y']}")

    compare("-7 // 2", lambda x: x // 2, np.array([-7], "int32"))
    compare("one_hot", lambda x: ops.one_hot(x, 3), np.array([-1], "int32"))
    compare("softplus", ops.softplus, np.array([100.0], "float32"))
    # --8<-- [end:silent_fails]

    # --8<-- [start:order_fails]
    new = keras.Input((1,), name="new")
    old = keras.Input((1,), name="old")
    change = keras.layers.Subtract()([new, old])
    changes = keras.Model([new, old], {"change": change})
    changes.export("change.tflite", format="litert", verbose=False)

    arrays = {
        "new": np.array([[9.0]], "float32"),
        "old": np.array([[2.0]], "float32"),
    }
    interpreter = Interpreter("change.tflite")
    interpreter.allocate_tensors()
    for detail, array in zip(
        interpreter.get_input_details(), arrays.values(), strict=True
    ):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    (detail,) = interpreter.get_output_details()
    print("by position:", interpreter.get_tensor(detail["index"]))
    print("by name:", run_file("change.tflite", **arrays)["change"])
    # --8<-- [end:order_fails]

    # --8<-- [start:stops_fails]
    signal = np.zeros((1, 4), "float32")
    bell = keras.Sequential(
        [keras.Input((4,), name="signal"), keras.layers.Lambda(ops.erf)]
    )
    bell.export("bell.tflite", format="litert", verbose=False)
    try:
        run_file("bell.tflite", signal=signal)
    except RuntimeError as error:
        print("LiteRT:", str(error).split(",")[0])
        print(str(error).split("select")[-1])

    exact = keras.layers.Activation("gelu", name="exact")
    gelu = keras.Sequential(
        [keras.Input((4,), name="signal"), exact], name="gelu"
    )
    gelu(signal)
    gelu.export("gelu.onnx", format="onnx", verbose=False)
    try:
        run_file("gelu.onnx", signal=signal)
    except Exception as error:
        print("ONNX:", str(error).split("Error ")[-1])
    # --8<-- [end:stops_fails]

    # --8<-- [start:sequence]
    notes = keras.Input((6, 4), name="notes")
    lstm = keras.layers.LSTM(3, unroll=True)
    unrolled = keras.Model(notes, {"state": lstm(notes)})
    unrolled.export("lstm.tflite", format="litert", verbose=False)
    played = np.random.normal(size=(5, 6, 4)).astype("float32")
    found = run_file("lstm.tflite", notes=played)["state"]
    gap = np.abs(found - unrolled(played)["state"]).max()
    print(f"largest difference {gap:.6f}")
    # --8<-- [end:sequence]

    # --8<-- [start:half]
    wide = keras.Input((64,), name="wide")
    many = keras.Model(
        wide, {"y": keras.layers.Dense(8)(Prototypes(1024)(wide))}
    )
    half = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "target_spec": {"supported_types": [tf.float16]},
    }
    many.export("full.tflite", format="litert", verbose=False)
    many.export("half.tflite", format="litert", verbose=False, **half)
    for path in ("full.tflite", "half.tflite"):
        size = Path(path).stat().st_size / many.count_params()
        print(f"{path}: {size:.1f} bytes a weight")
    # --8<-- [end:half]
