"""State of your own in the file: assets, own variables, compile arguments."""

# --8<-- [start:definitions]
import json
import os

import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class TargetMean(keras.layers.Layer):
    """Means by word. Shapes: ``(batch, ...)`` to ``(batch, ...)``."""

    def __init__(self, unseen=0.0, **kwargs):
        super().__init__(**kwargs)
        self.unseen = unseen
        self.supports_jit = False  # XLA has no strings
        self.table = tf.lookup.experimental.MutableHashTable(
            tf.string, tf.float32, default_value=unseen
        )

    def adapt(self, words, targets):
        words, targets = np.asarray(words), np.asarray(targets)
        self.table.remove(self.table.export()[0])
        for word in np.unique(words):
            self.table.insert(word, np.mean(targets[words == word]))

    def call(self, words):
        means = self.table.lookup(words)
        means.set_shape(words.shape)  # a graph doesn't know it
        return ops.cast(means, self.compute_dtype)

    def compute_output_spec(self, words):
        return keras.KerasTensor(words.shape, self.compute_dtype)

    def save_assets(self, dir_path):
        words, means = (column.numpy() for column in self.table.export())
        words, means = [word.decode() for word in words], means.tolist()
        with open(os.path.join(dir_path, "means.json"), "w") as file:
            json.dump(dict(zip(words, means, strict=True)), file)

    def load_assets(self, dir_path):
        with open(os.path.join(dir_path, "means.json")) as file:
            means = json.load(file)
        self.table.remove(self.table.export()[0])
        if means:
            self.table.insert(list(means), list(means.values()))


# --8<-- [end:definitions]


# --8<-- [start:bins]
@keras.saving.register_keras_serializable(package="guide")
class Bins(keras.layers.Layer):
    """The number of the bin of each input, between edges that it learns.

    Shapes: ``(batch, ...)`` to ``(batch, ...)``
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.edges = tf.Variable(  # of any length
            [], shape=[None], dtype=self.variable_dtype, trainable=False
        )

    def adapt(self, data, bins):
        quantiles = np.linspace(0, 1, bins + 1)[1:-1]
        edges = np.unique(np.quantile(data, quantiles))
        self.edges.assign(ops.cast(edges, self.variable_dtype))

    def call(self, inputs):
        inputs = ops.cast(inputs, self.variable_dtype)  # integers, too
        above = ops.expand_dims(inputs, -1) >= self.edges
        return ops.sum(ops.cast(above, self.compute_dtype), axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["edges"] = self.edges

    def load_own_variables(self, store):
        names = set(store.keys()) - {"edges"}
        super().load_own_variables({name: store[name] for name in names})
        self.edges.assign(ops.cast(store["edges"], self.variable_dtype))


# --8<-- [end:bins]


# --8<-- [start:codes]
@keras.saving.register_keras_serializable(package="guide")
class Codes(keras.Model):
    """One row of scores per code. Shapes: ``(batch,)`` to ``(batch, 2)``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scores = keras.layers.Dense(2, dtype=self.dtype_policy)

    def call(self, codes):
        return self.scores(tf.one_hot(codes, 5))  # takes integers only

    def build_from_config(self, config):
        shape = [size or 1 for size in config["input_shape"]]
        self(ops.zeros(shape, "int32"))


# --8<-- [end:codes]


# --8<-- [start:penalized]
@keras.saving.register_keras_serializable(package="guide")
class Penalized(keras.Model):
    """Large outputs cost. Shapes: ``(batch, features)`` to ``(batch, 1)``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.dense(inputs)

    def compile(self, penalty=0.0, **kwargs):
        super().compile(**kwargs)
        self.penalty = penalty

    def compute_loss(self, x=None, y=None, y_pred=None, *args, **kwargs):
        loss = super().compute_loss(x, y, y_pred, *args, **kwargs)
        squares = ops.square(ops.cast(y_pred, loss.dtype))
        return loss + self.penalty * ops.mean(squares)

    def get_compile_config(self):
        config = super().get_compile_config()  # {} if it isn't compiled
        return {**config, "penalty": self.penalty} if config else config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)


# --8<-- [end:penalized]


if __name__ == "__main__":
    # --8<-- [start:program]
    words = np.array(["tea", "tea", "milk", "milk", "salt"])
    prices = np.array([3.0, 5.0, 1.0, 2.0, 0.5], "float32")

    layer = TargetMean(unseen=2.3, name="target_mean")
    layer.adapt(words, prices)
    model = keras.Sequential([keras.Input((1,), dtype="string"), layer])
    model.save("prices.keras")

    loaded = keras.saving.load_model("prices.keras")
    asked = tf.constant([["tea"], ["milk"], ["salt"], ["wine"]])
    print(loaded.predict(asked, verbose=0).ravel())
    # --8<-- [end:program]

    # --8<-- [start:lost_fails]
    new = TargetMean(unseen=2.3)
    other = keras.Sequential([keras.Input((1,), dtype="string"), new])
    model.save_weights("prices.weights.h5")
    other.load_weights("prices.weights.h5")
    print("weights:      ", other(asked).numpy().ravel())

    model.save("prices", zipped=False)
    unzipped = keras.saving.load_model("prices")
    print("zipped=False: ", unzipped(asked).numpy().ravel())

    clone = keras.models.clone_model(model)
    print("clone_model:  ", clone(asked).numpy().ravel())
    # --8<-- [end:lost_fails]

    # --8<-- [start:own_variables]
    x = np.arange(12, dtype="float32").reshape(6, 2)
    layer = Bins()
    layer.adapt(x, bins=4)
    model = keras.Sequential([keras.Input((2,)), layer])
    model.save_weights("bins.weights.h5")

    new = keras.Sequential([keras.Input((2,)), Bins()])
    print("before:", new.predict(x, verbose=0)[:, 0])
    new.load_weights("bins.weights.h5")
    print("loaded:", new.predict(x, verbose=0)[:, 0])
    # --8<-- [end:own_variables]

    # --8<-- [start:integers]
    model = Codes()
    codes = np.array([0, 3, 4])
    model(codes)
    model.save("codes.keras")
    loaded = keras.saving.load_model("codes.keras")
    print("weights:", len(loaded.weights))
    print("same outputs:", np.allclose(loaded(codes), model(codes)))
    # --8<-- [end:integers]

    # --8<-- [start:compile]
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    model = Penalized()
    model.compile(penalty=0.5, optimizer="adam", loss="mse")
    model.fit(x, y, verbose=0)
    model.save("penalized.keras")

    loaded = keras.saving.load_model("penalized.keras")
    print("penalty:", loaded.penalty)
    print("steps:", int(loaded.optimizer.iterations))
    # --8<-- [end:compile]

    # --8<-- [start:line_fails]
    texts = ["the cat\u2028sat", "the dog", "the dog", "a dog"]
    vectorize = keras.layers.TextVectorization()
    vectorize.adapt(np.array(texts))
    model = keras.Sequential([keras.Input((1,), dtype="string"), vectorize])
    model.save("text.keras")

    loaded = keras.saving.load_model("text.keras")
    text = tf.constant([["the dog"], ["a dog"]])
    print("saved: ", model(text).numpy().tolist())
    print("loaded:", loaded(text).numpy().tolist())
    # --8<-- [end:line_fails]

    # --8<-- [start:line_works]
    texts = ["the cat\u2028sat", "the dog", "the dog", "a dog"]
    learns = keras.layers.TextVectorization()
    learns.adapt(np.array(texts))
    found = map(str, learns.get_vocabulary(include_special_tokens=False))
    vectorize = keras.layers.TextVectorization(vocabulary=list(found))
    model = keras.Sequential([keras.Input((1,), dtype="string"), vectorize])
    model.save("text.keras")

    loaded = keras.saving.load_model("text.keras")
    text = tf.constant([["the dog"], ["a dog"]])
    print("saved: ", model(text).numpy().tolist())
    print("loaded:", loaded(text).numpy().tolist())
    # --8<-- [end:line_works]

    # --8<-- [start:stale_fails]
    normalize = keras.layers.Normalization()
    normalize.adapt(np.array([[0.0], [2.0]]))
    model = keras.Sequential([keras.Input((1,)), normalize])
    row = np.array([[10.0]], "float32")
    print("predict:", model.predict(row, verbose=0)[0, 0])

    normalize.adapt(np.array([[0.0], [20.0]]))
    print("adapted:", model.predict(row, verbose=0)[0, 0])
    model.compile()
    print("compile:", model.predict(row, verbose=0)[0, 0])
    # --8<-- [end:stale_fails]
