"""Writes the files of Keras 2 that the tests load, and what their models compute, into `keras_2.tar.xz`.

Keras 2 isn't among what the site needs. In an environment of its own with `tf_keras==2.21.0`, h5py and NumPy, then in
one with `tensorflow-cpu==2.12.*`, whose files are of the form that older releases wrote:

    python tests/saving/record_keras_2.py

Each writes a folder of the archive. Weights and inputs aren't random: `numbers` makes them of their shapes.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RECORD = Path(__file__).with_name("keras_2.tar.xz")


def numbers(shape: Sequence[int], start: float = 0.0) -> np.ndarray:
    """Irregular numbers between -1 and 1, the same everywhere."""
    size = int(np.prod(shape))
    return np.sin(start + np.arange(1, size + 1) ** 1.5).reshape(shape).astype("float32")


def read() -> dict[str, bytes]:
    """The files that were recorded, by name."""
    if not RECORD.exists():
        return {}
    with tarfile.open(RECORD) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    try:
        import tf_keras as keras
    except ImportError:
        keras = tf.keras
    layers = keras.layers
    models: dict[str, Callable[[], Any]] = {}
    register = keras.utils.register_keras_serializable

    def model(make: Callable[[], Any]) -> Callable[[], Any]:
        models[make.__name__] = make
        return make

    def chain(*parts: Any, shape: tuple[int, ...] = (4,)) -> Any:
        return keras.Sequential([keras.Input(shape), *parts], name="old")

    def functional(call: Callable[[Any], Any], shape: tuple[int, ...] = (4,)) -> Any:
        inputs = keras.Input(shape, name="inputs")
        return keras.Model(inputs, call(inputs), name="old")

    class Scaled(layers.Layer):
        """As Keras 2 was written: a name by place, the weight that isn't trained first."""

        def __init__(self, units: int = 4, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape: Any) -> None:
            self.offset = self.add_weight("offset", shape=(self.units,), trainable=False)
            self.scale = self.add_weight("scale", shape=(self.units,))
            self.dense = layers.Dense(self.units, name="dense")
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs) * self.scale + self.offset

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    class Packed(Scaled):
        pass

    class Bare(Scaled):
        pass

    class Appended(layers.Layer):
        """Two lists that one loop fills."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.first, self.second = [], []
            for _ in range(2):
                self.first.append(layers.Dense(4))
                self.second.append(layers.Dense(4))

        def call(self, inputs: Any) -> Any:
            for place in range(2):
                inputs = 2.0 * self.first[place](inputs) + self.second[place](inputs)
            return inputs

    class Softmax(layers.Layer):
        """A class of one's own with the name of one of Keras."""

        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    class Gate(layers.Layer):
        """Its config holds an activation, and a layer."""

        def __init__(self, activation: Any = "hard_sigmoid", layer: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.activation = keras.activations.get(activation)
            self.layer = layer or layers.Activation("hard_sigmoid")

        def call(self, inputs: Any) -> Any:
            return self.activation(self.layer(inputs))

        def get_config(self) -> dict[str, Any]:
            own = {"activation": keras.activations.serialize(self.activation), "layer": layers.serialize(self.layer)}
            return {**super().get_config(), **own}

    register("Custom")(Scaled)
    register("lib")(Packed)

    class Late(layers.Layer):
        """Its second layer is assigned first; both have equal shapes."""

        def build(self, input_shape: Any) -> None:
            self.second = layers.Dense(4)
            self.first = layers.Dense(4)
            self.norm = layers.BatchNormalization()
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return self.norm(self.second(self.first(inputs)))

    class Loop(layers.Layer):
        """Layers in a list and in a dict whose keys aren't sorted."""

        def build(self, input_shape: Any) -> None:
            self.many = [layers.Dense(4), layers.Dense(4)]
            self.named = {"b": layers.Dense(4), "a": layers.Dense(4)}
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            for layer in [*self.many, self.named["b"], self.named["a"]]:
                inputs = layer(inputs) + 0.5 * inputs
            return inputs

    @model
    def sequential() -> Any:
        return chain(layers.Dense(3, activation="relu"), layers.Dropout(0.5), layers.BatchNormalization())

    @model
    def custom() -> Any:
        return chain(Scaled(4), layers.Dense(2))

    @model
    def packed() -> Any:
        return chain(Packed(4), layers.Dense(2))

    @model
    def bare() -> Any:
        return chain(Bare(4), layers.Dense(2))

    @model
    def late() -> Any:
        return chain(Late())

    @model
    def loop() -> Any:
        return chain(Loop())

    @model
    def appended() -> Any:
        return chain(Appended())

    @model
    def same_name() -> Any:
        return chain(Softmax(), layers.Dense(2))

    @model
    def gate() -> Any:
        return chain(Gate())

    @model
    def named() -> Any:
        return chain(layers.Activation("hard_sigmoid", name="hard_sigmoid"))

    @model
    def dropouts() -> Any:
        return chain(layers.SpatialDropout1D(0.5), layers.Conv1D(2, 2), shape=(5, 4))

    @model
    def discrete() -> Any:
        return chain(layers.Discretization([-0.5, 0.0, 0.5]))

    @model
    def flipped() -> Any:
        return chain(layers.RandomFlip(), layers.RandomRotation(0.1), shape=(4, 4, 2))

    @model
    def transposed() -> Any:
        return chain(layers.Conv2DTranspose(2, 2), layers.SeparableConv2D(2, 2), shape=(4, 4, 2))

    @model
    def recurrent() -> Any:
        return chain(layers.SimpleRNN(3, return_sequences=True), layers.RNN(layers.GRUCell(2)), shape=(5, 4))

    @model
    def states() -> Any:
        return functional(
            lambda x: layers.LSTM(3)(x, initial_state=layers.LSTM(3, return_state=True)(x)[1:]), shape=(5, 4)
        )

    @model
    def twice() -> Any:
        def call(x: Any) -> Any:
            inner = keras.Sequential([keras.Input((4,)), layers.Dense(4)], name="inner")
            return layers.Add()([inner(x), inner(inner(x))])

        return functional(call)

    @model
    def branches() -> Any:
        return functional(lambda x: layers.Add()([layers.Dense(4)(x), layers.Dense(4)(layers.Dense(4)(x))]))

    @model
    def ops() -> Any:
        return functional(lambda x: tf.reduce_sum(layers.Dense(4)(x) * 2.0 + x, axis=-1, keepdims=True) - 1.0)

    @model
    def slices() -> Any:
        return functional(lambda x: layers.Dense(2)(x[:, 1:3]))

    @model
    def lambdas() -> Any:
        return functional(lambda x: layers.Lambda(lambda t: t * 3.0)(layers.Dense(4)(x)))

    @model
    def hard_sigmoid() -> Any:
        return chain(layers.Dense(4, activation="hard_sigmoid"))

    @model
    def lstm_hard() -> Any:
        return chain(layers.LSTM(3, recurrent_activation="hard_sigmoid"), shape=(5, 4))

    @model
    def conv_lstm() -> Any:
        return chain(layers.ConvLSTM2D(2, 2), shape=(3, 4, 4, 2))

    @model
    def two_axes() -> Any:
        return chain(layers.LayerNormalization(axis=[1, 2], center=False, scale=False), shape=(3, 4))

    @model
    def softmax_axes() -> Any:
        return chain(layers.Softmax(axis=[1, 2]), shape=(3, 4))

    @model
    def unit_axes() -> Any:
        return chain(layers.UnitNormalization(axis=[1, 2]), shape=(3, 4))

    @model
    def lstm() -> Any:
        return chain(
            layers.Masking(),
            layers.LSTM(3, return_sequences=True),
            layers.Bidirectional(layers.GRU(2)),
            shape=(5, 4),
        )

    @model
    def time_distributed() -> Any:
        return chain(layers.TimeDistributed(layers.Dense(3)), shape=(5, 4))

    @model
    def td_norm() -> Any:
        return chain(layers.TimeDistributed(layers.BatchNormalization()), shape=(5, 4))

    @model
    def convs() -> Any:
        return chain(
            layers.Conv2D(3, 2, padding="same"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(2, 2),
            layers.LayerNormalization(),
            layers.Conv2DTranspose(2, 2, strides=2),
            layers.GlobalAveragePooling2D(),
            shape=(4, 4, 2),
        )

    @model
    def depthwise() -> Any:
        return chain(layers.DepthwiseConv2D(2), shape=(4, 4, 2))

    @model
    def leaky() -> Any:
        return chain(layers.LeakyReLU(alpha=0.1), layers.PReLU(), layers.ELU(0.5))

    @model
    def tf_leaky() -> Any:
        return chain(layers.Dense(4, activation=tf.nn.leaky_relu))

    @model
    def thresholded() -> Any:
        return chain(layers.ThresholdedReLU(theta=0.2))

    @model
    def attention() -> Any:
        return functional(lambda x: layers.MultiHeadAttention(2, 3)(x, x), shape=(3, 4))

    @model
    def dot_attention() -> Any:
        return functional(lambda x: layers.Attention(use_scale=True)([x, layers.Dense(4)(x)]), shape=(3, 4))

    @model
    def normalization() -> Any:
        return chain(layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 16.0]))

    @model
    def adapted() -> Any:
        layer = layers.Normalization()
        layer.adapt(numbers((6, 4)))
        return chain(layer)

    @model
    def nested_frozen() -> Any:
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)], name="inner")
        inner.layers[0].trainable = False
        return chain(inner)

    @model
    def nested_norms() -> Any:
        inner = keras.Sequential(
            [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4), layers.BatchNormalization()], name="inner"
        )
        return chain(inner, layers.Dense(2))

    @model
    def mixed() -> Any:
        return chain(layers.Dense(4, dtype=keras.mixed_precision.Policy("mixed_float16")))

    @model
    def shared() -> Any:
        def call(x: Any) -> Any:
            one = layers.Dense(4)
            return layers.Add()([one(x), one(one(x))])

        return functional(call)

    @model
    def named_inputs() -> Any:
        a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
        return keras.Model({"b": b, "a": a}, layers.Subtract()([a, b]), name="old")

    @model
    def gru_before() -> Any:
        return chain(layers.GRU(3, reset_after=False), shape=(5, 4))

    @model
    def time_major() -> Any:
        return chain(layers.LSTM(3, time_major=True, return_sequences=True), shape=(5, 4))

    @model
    def embedding() -> Any:
        return keras.Sequential(
            [keras.Input((3,), dtype="int32"), layers.Embedding(5, 4, mask_zero=True), layers.LSTM(2)]
        )

    @model
    def local() -> Any:
        return chain(layers.LocallyConnected1D(2, 2), shape=(4, 2))

    class Network(keras.Model):
        """Subclassed: its first layer is assigned last."""

        def __init__(self) -> None:
            super().__init__()
            self.head = layers.Dense(4)
            self.body = layers.Dense(4, activation="tanh")

        def call(self, inputs: Any) -> Any:
            return self.head(self.body(inputs))

    @model
    def subclass() -> Any:
        made = Network()
        made(numbers((4, 4)))
        return made

    class Loops(keras.Model):
        """Subclassed, with lists that one loop fills, and a dict."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = [], []
            for _ in range(2):
                self.first.append(layers.Dense(4))
                self.second.append(layers.Dense(4))
            self.named = {"b": layers.Dense(4), "a": layers.Dense(4)}

        def call(self, inputs: Any) -> Any:
            for place in range(2):
                inputs = 2.0 * self.first[place](inputs) + self.second[place](inputs)
            return self.named["a"](self.named["b"](inputs))

    @model
    def loops() -> Any:
        made = Loops()
        made(numbers((4, 4)))
        return made

    class Mixed(keras.Model):
        """Subclassed, with a layer whose weights have other names than its attributes."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = layers.BatchNormalization()
            self.lstm = layers.LSTM(4)
            self.own = Named()

        def call(self, inputs: Any) -> Any:
            return self.own(self.lstm(self.norm(inputs)[:, None, :]))

    class Named(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight("kernel", shape=(input_shape[-1],))
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return inputs * self.w

    @model
    def parts() -> Any:
        made = Mixed()
        made(numbers((4, 4)))
        return made

    def fill(made: Any) -> None:
        for place, weight in enumerate(made.weights):
            if weight.dtype.is_floating:
                values = numbers(weight.shape, float(place))
                values = 1 + values**2 if "variance" in weight.name else values
                weight.assign(values.astype(weight.dtype.as_numpy_dtype))

    def halved(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1) / 2

    old = keras.optimizers.legacy
    compiled = {
        "mse": {"optimizer": "adam", "loss": "mse"},
        "mean_squared_error": {"optimizer": "adam", "loss": "mean_squared_error"},
        "mae_metric": {"optimizer": "adam", "loss": "mean_squared_error", "metrics": ["mae"]},
        "accuracy": {"optimizer": "sgd", "loss": "categorical_crossentropy", "metrics": ["accuracy"]},
        "loss_object": {"optimizer": "adam", "loss": keras.losses.MeanSquaredError()},
        "function": {"optimizer": "adam", "loss": halved},
        "legacy_decay": {"optimizer": old.SGD(0.1, decay=0.5), "loss": "mean_squared_error"},
    }
    own = ("subclass", "loops", "parts")
    outputs: dict[str, Any] = {}
    fails: dict[str, str] = {}
    version = "keras-2.12" if keras is tf.keras else "tf_keras-2.21"
    whole = ("sequential", "custom", "subclass")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, make in models.items():
            keras.backend.clear_session()
            made = make()
            if name not in ("adapted", "normalization"):
                fill(made)
            shapes = [[4, *x.shape[1:]] for x in made.inputs] if name not in own else [[4, 4]]
            x = [np.array([[1, 2, 0], [4, 0, 0]])] if name == "embedding" else [numbers(shape) for shape in shapes]
            if name == "named_inputs":
                x = [{"a": numbers((4, 4)), "b": numbers((4, 4), 1.0)}]
            outputs[name] = {"inputs": shapes, "outputs": np.asarray(made(x[0], training=False)).tolist()}
            if name in own:
                try:
                    made.save(f"{name}.h5")
                except NotImplementedError as error:
                    fails[f"{name}.h5"] = str(error)
            else:
                made.save(f"{name}.h5")
                Path(f"{name}.json").write_text(made.to_json(), encoding="utf-8")
            if keras is not tf.keras and name not in ("mixed", *own):
                made.save(f"{name}.keras")  # in 2.12, it is an h5 file unless it is told otherwise
            if name in (*whole, *own, "nested_frozen", "loop"):
                made.save_weights(f"{name}_weights.h5")
            if name in ("sequential", "nested_frozen", "loops", "branches"):
                made.save_weights(f"{name}.weights.h5")
            if name in (*whole, "parts"):
                made.save_weights(f"{name}_ckpt")
            if name in whole:
                made.save(f"{name}_dir", save_format="tf")
                keras.models.load_model(f"{name}_dir").save_weights(f"{name}_of_dir.h5")
        for name, options in compiled.items():
            keras.backend.clear_session()
            made = chain(layers.Dense(2))
            fill(made)
            made.compile(**options)
            made.fit(numbers((4, 4)), np.abs(numbers((4, 2))), epochs=2, verbose=0)
            made.save(f"compiled_{name}.h5")
        code = "import tensorflow as tf; print(tf.keras.Sequential.__module__)"
        told = {
            flag: subprocess.run(
                [sys.executable, "-c", code], env=os.environ | {"TF_USE_LEGACY_KERAS": flag}, capture_output=True
            )
            for flag in "01"
        }
        record = {"outputs": outputs, "fails": fails}
        record["tf.keras.Sequential by TF_USE_LEGACY_KERAS"] = {
            flag: done.stdout.decode().strip() for flag, done in told.items()
        }
        Path("record.json").write_text(json.dumps(record), encoding="utf-8")
        files = {f"{version}/{path}": path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}
    kept = {name: content for name, content in read().items() if not name.startswith(version)}
    with tarfile.open(RECORD, "w:xz", preset=9) as archive:
        for name, content in sorted({**kept, **files}.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
