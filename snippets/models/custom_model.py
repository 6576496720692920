"""A custom model: layers of its own, and a forward pass that connects them."""

# --8<-- [start:classifier]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class Classifier(keras.Model):
    """Probabilities of 10 classes, with dropout while it trains.

    Shapes:
        ``(batch, features)`` to ``(batch, 10)``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(128, activation="relu")
        self.dropout = keras.layers.Dropout(0.5)
        self.classify = keras.layers.Dense(10, activation="softmax")

    def call(self, inputs, training=False):
        x = self.hidden(inputs)  # (batch, 128)
        x = self.dropout(x, training=training)
        return self.classify(x)  # (batch, 10)


# --8<-- [end:classifier]


# --8<-- [start:price_and_risk]
@keras.saving.register_keras_serializable(package="guide")
class PriceAndRisk(keras.Model):
    """A price and a probability, from what they have in common.

    Shapes:
        ``(batch, features)`` to
        ``{"price": (batch, 1), "risk": (batch, 1)}``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = keras.layers.Dense(8, activation="relu")
        self.hidden = [
            keras.layers.Dense(8, activation="relu") for _ in range(3)
        ]
        self.heads = {
            "price": keras.layers.Dense(1),
            "risk": keras.layers.Dense(1, activation="sigmoid"),
        }

    def call(self, inputs):
        x = self.stem(inputs)  # (batch, 8)
        for layer in self.hidden:
            x = x + layer(x)  # each layer adds to what is known
        return {name: head(x) for name, head in self.heads.items()}


# --8<-- [end:price_and_risk]


# --8<-- [start:sized]
@keras.saving.register_keras_serializable(package="guide")
class SizedClassifier(keras.Model):
    """A classifier of any width.

    Args:
        units: Width of the hidden layer.
        classes: Number of classes.
        rate: Share of the hidden units that a training step leaves out.

    Shapes:
        ``(batch, features)`` to ``(batch, classes)``.
    """

    def __init__(self, units, classes, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.classes = classes
        self.rate = rate
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.dropout = keras.layers.Dropout(rate)
        self.classify = keras.layers.Dense(classes, activation="softmax")

    def call(self, inputs, training=False):
        x = self.dropout(self.hidden(inputs), training=training)
        return self.classify(x)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "classes": self.classes,
            "rate": self.rate,
        }


# --8<-- [end:sized]


if __name__ == "__main__":
    # --8<-- [start:train]
    keras.utils.set_random_seed(7)
    classes = np.random.randint(10, size=1000)
    centres = np.random.normal(size=(10, 20))
    x = (centres[classes] + np.random.normal(size=(1000, 20))).astype("float32")
    y = keras.utils.to_categorical(classes)

    model = Classifier()
    model.compile(
        optimizer="adam",
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = model.fit(x[:800], y[:800], epochs=10, verbose=0).history
    loss, accuracy = model.evaluate(x[800:], y[800:], verbose=0)

    first, *_, last = history["loss"]
    print(f"loss in the first epoch {first:.2f}, in the last {last:.2f}")
    print(f"accuracy on 200 unseen samples: {accuracy:.2f}")
    print("predicted:", model.predict(x[800:808], verbose=0).argmax(axis=-1))
    print("true:     ", classes[800:808])
    # --8<-- [end:train]

    # --8<-- [start:tracked]
    two = PriceAndRisk()
    two(keras.Input((20,)))
    in_list = sum(len(layer.weights) for layer in two.hidden)
    in_dict = sum(len(head.weights) for head in two.heads.values())
    print(f"attribute {len(two.stem.weights)}, list {in_list}, dict {in_dict}")
    print("weights to train:", len(two.trainable_weights))
    print("layers:", len(two.layers))
    # --8<-- [end:tracked]

    # --8<-- [start:by_index]
    class FilledByIndex(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = [None] * 3
            for index in range(3):
                self.hidden[index] = keras.layers.Dense(8, activation="relu")
            self.price = keras.layers.Dense(1)

        def call(self, inputs):
            for layer in self.hidden:
                inputs = layer(inputs)
            return self.price(inputs)

    hides = FilledByIndex()
    hides(x)
    print("weights to train:", len(hides.trainable_weights))

    kernel = hides.hidden[0].kernel.numpy()
    hides.compile("adam", "mse")
    hides.fit(x, x[:, :1], verbose=0)
    moved = np.abs(hides.hidden[0].kernel.numpy() - kernel).max()
    print(f"its first kernel has moved in fit by {moved:.2f}")
    # --8<-- [end:by_index]

    # --8<-- [start:assigned]
    class AssignedOnce(FilledByIndex):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            hidden = [None] * 3  # a list of Python's, until it is full
            for index in range(3):
                hidden[index] = keras.layers.Dense(8, activation="relu")
            self.hidden = hidden

    shows = AssignedOnce()
    shows(x)
    print("weights to train:", len(shows.trainable_weights))

    kernel = shows.hidden[0].kernel.numpy()
    shows.compile("adam", "mse")
    shows.fit(x, x[:, :1], verbose=0)
    moved = np.abs(shows.hidden[0].kernel.numpy() - kernel).max()
    print(f"its first kernel has moved in fit by {moved:.2f}")
    # --8<-- [end:assigned]

    # --8<-- [start:training]
    batch = x[:5]
    for training in (True, False):
        one, other = (model(batch, training=training) for _ in range(2))
        difference = float(ops.max(ops.abs(one - other)))
        print(f"training={training}: two calls differ by {difference:.2f}")

    difference = ops.max(
        ops.abs(model.predict(batch, verbose=0) - model(batch))
    )
    print(f"predict and model(batch) differ by {float(difference):.2f}")

    still = Classifier()  # a learning rate of 0 leaves its weights alone
    still.compile(keras.optimizers.SGD(0.0), loss="categorical_crossentropy")
    (loss,) = still.fit(x, y, verbose=0).history["loss"]
    print(f"same weights: loss in fit {loss:.2f}, ", end="")
    print(f"in evaluate {still.evaluate(x, y, verbose=0):.2f}")
    # --8<-- [end:training]

    # --8<-- [start:build]
    fresh = Classifier()
    print("new:         ", len(fresh.weights), "weights, built:", fresh.built)

    fresh.build((None, 20))  # no weights either, and a warning
    print("after build: ", len(fresh.weights), "weights, built:", fresh.built)

    fresh(keras.Input((20,)))
    print("after a call:", len(fresh.weights), "weights, built:", fresh.built)
    for weight in fresh.weights:
        print("  ", weight.name, weight.shape)
    print("numbers to train:", fresh.count_params())
    # --8<-- [end:build]

    # --8<-- [start:save]
    model.save("classifier.keras")
    reloaded = keras.saving.load_model("classifier.keras")

    difference = ops.max(ops.abs(model(batch) - reloaded(batch)))
    print(f"largest difference after reloading: {float(difference):.1f}")
    print("class:", type(reloaded).__name__, "- compiled:", reloaded.compiled)
    # --8<-- [end:save]

    # --8<-- [start:save_sized]
    sized = SizedClassifier(32, classes=4, rate=0.1, name="sized")
    sized(batch)
    sized.save("sized.keras")
    reloaded = keras.saving.load_model("sized.keras")

    difference = ops.max(ops.abs(sized(batch) - reloaded(batch)))
    print(f"largest difference after reloading: {float(difference):.1f}")
    print(reloaded.name, reloaded.units, reloaded.classes, reloaded.rate)
    # --8<-- [end:save_sized]

    # --8<-- [start:forgets]
    @keras.saving.register_keras_serializable(package="guide")
    class Forgets(keras.Model):
        def __init__(self, rate=0.5, **kwargs):
            super().__init__(**kwargs)
            self.dropout = keras.layers.Dropout(rate)

        def call(self, inputs, training=False):
            return self.dropout(inputs, training=training)

    forgets = Forgets(rate=0.1)
    forgets(batch)
    forgets.save("forgets.keras")
    reloaded = keras.saving.load_model("forgets.keras")
    print("rate:", forgets.dropout.rate)
    print("rate after reloading:", reloaded.dropout.rate)
    # --8<-- [end:forgets]

    # --8<-- [start:seen_init]
    class MyCustomModel(keras.Model):
        def __init__(self):
            super(MyCustomModel, self).__init__()
            self.dense1 = keras.layers.Dense(128, activation="relu")
            self.dense2 = keras.layers.Dense(10, activation="softmax")

        def call(self, inputs):
            return self.dense2(self.dense1(inputs))

    old = MyCustomModel()
    old(batch)
    old.save("old.keras")
    try:
        keras.saving.load_model("old.keras")
    except TypeError as error:
        print("TypeError:", str(error).split(". ")[0])

    try:
        keras.saving.load_model("old.keras", {"MyCustomModel": MyCustomModel})
    except TypeError as error:
        print("TypeError:", str(error).splitlines()[-1])
    # --8<-- [end:seen_init]

    # --8<-- [start:seen_training]
    class Untold(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = keras.layers.BatchNormalization()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(self.norm(inputs))

    class Told(Untold):
        def call(self, inputs, training=False):
            return self.dense(self.norm(inputs, training=training))

    around_five = np.random.normal(5.0, size=(640, 4)).astype("float32")
    total = around_five.sum(axis=-1, keepdims=True)
    for cls in (Untold, Told):
        regressor = cls()
        regressor.compile("sgd", "mse")
        regressor.fit(around_five, total, epochs=3, verbose=0)
        mean = float(ops.mean(regressor.norm.moving_mean))
        print(f"{cls.__name__}: moving mean after fit {mean:.1f}")
    # --8<-- [end:seen_training]
