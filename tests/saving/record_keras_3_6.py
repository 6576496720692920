"""Writes `keras_3_6.keras.xz`, a file of Keras 3.6 with a loss and a metric that are registered functions.

Keras 3.6 isn't among what the site needs. In an environment of its own with `keras==3.6.0` and TensorFlow:

    python tests/saving/record_keras_3_6.py
"""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

import keras
from keras import ops

RECORD = Path(__file__).with_name("keras_3_6.keras.xz")


def error_of_3_6(y_true, y_pred):
    return 3 * ops.mean(ops.abs(y_true - y_pred), axis=-1)


def gap_of_3_6(y_true, y_pred):
    return 5 * ops.mean(ops.abs(y_true - y_pred), axis=-1)


def main() -> None:
    register = keras.saving.register_keras_serializable
    register("of_3_6")(error_of_3_6), register("of_3_6", "another_name")(gap_of_3_6)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", error_of_3_6, metrics=[gap_of_3_6])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        RECORD.write_bytes(lzma.compress(path.read_bytes(), preset=9))


if __name__ == "__main__":
    main()
