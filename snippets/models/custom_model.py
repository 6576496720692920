"""A custom model: layers of its own, and a forward pass that connects them."""

# --8<-- [start:classifier]
import keras
import numpy as np


@keras.saving.register_keras_serializable(package="guide")
class Classifier(keras.Model):
    """Shapes: ``(batch, features)`` to ``(batch, 10)``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.hidden = keras.layers.Dense(128, activation="relu", dtype=dtype)
        self.dropout = keras.layers.Dropout(0.5, dtype=dtype)
        self.classify = keras.layers.Dense(
            10, activation="softmax", dtype=dtype
        )

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
        dtype = self.dtype_policy
        self.stem = keras.layers.Dense(8, activation="relu", dtype=dtype)
        self.hidden = [
            keras.layers.Dense(8, activation="relu", dtype=dtype)
            for _ in range(3)
        ]
        self.heads = {
            "price": keras.layers.Dense(1, dtype=dtype),
            "risk": keras.layers.Dense(1, activation="sigmoid", dtype=dtype),
        }

    def call(self, inputs):
        x = self.stem(inputs)  # (batch, 8)
        for layer in self.hidden:
            x = x + layer(x)  # each layer adds to what is known
        return {name: head(x) for name, head in self.heads.items()}


# --8<-- [end:price_and_risk]


# --8<-- [start:own_build]
@keras.saving.register_keras_serializable(package="guide")
class AsWideAsItsInput(keras.Model):
    """Probabilities of 10 classes, through as many units as features.

    Shapes:
        ``(batch, features)`` to ``(batch, 10)``.
    """

    def build(self, input_shape):
        units = input_shape[-1]
        dtype = self.dtype_policy
        self.hidden = keras.layers.Dense(units, activation="relu", dtype=dtype)
        self.classify = keras.layers.Dense(
            10, activation="softmax", dtype=dtype
        )
        self.hidden.build(input_shape)
        self.classify.build(input_shape)  # hidden keeps the shape

    def call(self, inputs):
        x = self.hidden(inputs)  # (batch, features)
        return self.classify(x)  # (batch, 10)


# --8<-- [end:own_build]


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
        dtype = self.dtype_policy
        self.hidden = keras.layers.Dense(units, activation="relu", dtype=dtype)
        self.dropout = keras.layers.Dropout(rate, dtype=dtype)
        self.classify = keras.layers.Dense(
            classes, activation="softmax", dtype=dtype
        )

    def call(self, inputs, training=False):
        x = self.hidden(inputs)  # (batch, units)
        x = self.dropout(x, training=training)
        return self.classify(x)  # (batch, classes)

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
    noise = np.random.normal(size=(1000, 20))
    x = (centres[classes] + noise).astype("float32")
    y = keras.utils.to_categorical(classes)

    model = Classifier()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:800], y[:800], epochs=10, verbose=0)
    _, accuracy = model.evaluate(x[800:], y[800:], verbose=0)
    print(f"accuracy on 200 unseen samples: {accuracy:.2f}")

    model.save("classifier.keras")
    reloaded = keras.saving.load_model("classifier.keras")
    same = np.allclose(reloaded(x), model(x), atol=1e-6)
    print("same outputs after reloading:", same)
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

    # --8<-- [start:by_index_fails]
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
    hides.compile(optimizer="adam", loss="mse")
    hides.fit(x, x[:, :1], verbose=0)
    moved = np.abs(hides.hidden[0].kernel.numpy() - kernel).max()
    print(f"its first kernel has moved in fit by {moved:.2f}")
    # --8<-- [end:by_index_fails]

    # --8<-- [start:assigned]
    class AssignedOnce(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            hidden = [None] * 3  # a list of Python's, until it is full
            for index in range(3):
                hidden[index] = keras.layers.Dense(8, activation="relu")
            self.hidden = hidden
            self.price = keras.layers.Dense(1)

        def call(self, inputs):
            for layer in self.hidden:
                inputs = layer(inputs)
            return self.price(inputs)

    shows = AssignedOnce()
    shows(x)
    print("weights to train:", len(shows.trainable_weights))

    kernel = shows.hidden[0].kernel.numpy()
    shows.compile(optimizer="adam", loss="mse")
    shows.fit(x, x[:, :1], verbose=0)
    moved = np.abs(shows.hidden[0].kernel.numpy() - kernel).max()
    print(f"its first kernel has moved in fit by {moved:.2f}")
    # --8<-- [end:assigned]

    # --8<-- [start:training]
    keras.utils.set_random_seed(7)
    batch = x[:5]
    for training in (True, False):
        one, other = (model(batch, training=training) for _ in range(2))
        difference = np.abs(one - other).max()
        print(f"training={training}: two calls differ by {difference:.1g}")

    predicted = model.predict(batch, verbose=0)
    same = np.allclose(predicted, model(batch), atol=1e-6)
    print("predict returns what model(batch) does:", same)

    still = Classifier()  # a learning rate of 0 leaves its weights alone
    still.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.0),
        loss="categorical_crossentropy",
    )
    (loss,) = still.fit(x, y, verbose=0).history["loss"]
    print(f"same weights: loss in fit {loss:.2f}, ", end="")
    print(f"in evaluate {still.evaluate(x, y, verbose=0):.2f}")
    # --8<-- [end:training]

    # --8<-- [start:build]
    fresh = Classifier()
    print("new:         ", len(fresh.weights), "weights, built:", fresh.built)

    fresh(keras.Input((20,)))
    print("after a call:", len(fresh.weights), "weights, built:", fresh.built)
    for weight in fresh.weights:
        print("  ", weight.name, weight.shape)
    print("numbers to train:", fresh.count_params())
    # --8<-- [end:build]

    # --8<-- [start:build_fails]
    fresh = Classifier()
    fresh.build((None, 20))
    print("after build:", len(fresh.weights), "weights, built:", fresh.built)
    # --8<-- [end:build_fails]

    # --8<-- [start:own_build_saved]
    saved = AsWideAsItsInput()
    outputs = saved(batch)
    saved.save("built.keras")
    reloaded = keras.saving.load_model("built.keras")
    print(len(saved.weights), "weights saved,", len(reloaded.weights), "loaded")
    same = np.allclose(reloaded(batch), outputs, atol=1e-6)
    print("same outputs:", same)
    # --8<-- [end:own_build_saved]

    # --8<-- [start:builds_no_layer_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class BuildsNoLayer(AsWideAsItsInput):
        def build(self, input_shape):
            units = input_shape[-1]
            self.hidden = keras.layers.Dense(units, activation="relu")
            self.classify = keras.layers.Dense(10, activation="softmax")

    saved = BuildsNoLayer()
    outputs = saved(batch)
    saved.save("built.keras")
    reloaded = keras.saving.load_model("built.keras")
    print(len(saved.weights), "weights saved,", len(reloaded.weights), "loaded")
    same = np.allclose(reloaded(batch), outputs, atol=1e-6)
    print("same outputs:", same)
    # --8<-- [end:builds_no_layer_fails]

    # --8<-- [start:save]
    model.save("classifier.keras")
    reloaded = keras.saving.load_model("classifier.keras")
    print("class:", type(reloaded).__name__, "- compiled:", reloaded.compiled)
    # --8<-- [end:save]

    # --8<-- [start:two_arguments_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class TwoArguments(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.of_left = keras.layers.Dense(4)
            self.of_right = keras.layers.Dense(4)

        def call(self, left, right=None):
            x = self.of_left(left)
            return x if right is None else x + self.of_right(right)

    saved = TwoArguments()
    outputs = saved(batch, batch)
    saved.save("two.keras")
    reloaded = keras.saving.load_model("two.keras")
    print(len(saved.weights), "weights saved,", len(reloaded.weights), "loaded")
    same = np.allclose(reloaded(batch, batch), outputs, atol=1e-6)
    print("same outputs:", same)
    # --8<-- [end:two_arguments_fails]

    # --8<-- [start:save_sized]
    sized = SizedClassifier(32, classes=4, rate=0.1, name="sized")
    sized(batch)
    sized.save("sized.keras")
    reloaded = keras.saving.load_model("sized.keras")

    same = np.allclose(reloaded(batch), sized(batch), atol=1e-6)
    print("same outputs after reloading:", same)
    print(reloaded.name, reloaded.units, reloaded.classes, reloaded.rate)
    # --8<-- [end:save_sized]

    # --8<-- [start:forgets_fails]
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
    # --8<-- [end:forgets_fails]

    # --8<-- [start:replace]
    model.hidden.trainable = False
    tuned = keras.Sequential(
        [model.hidden, keras.layers.Dense(2, activation="softmax")]
    )
    tuned.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    kernel = model.hidden.kernel.numpy()
    tuned.fit(x, classes % 2, verbose=0)
    print("weights to train:", len(tuned.trainable_weights))
    print("hidden moved:", bool((model.hidden.kernel.numpy() != kernel).any()))
    # --8<-- [end:replace]

    # --8<-- [start:replace_fails]
    try:
        model.classify = keras.layers.Dense(2, activation="softmax")
    except ValueError as error:
        print("ValueError:", error)
    # --8<-- [end:replace_fails]

    # --8<-- [start:seen_init_fails]
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
        keras.saving.load_model(
            "old.keras", custom_objects={"MyCustomModel": MyCustomModel}
        )
    except TypeError as error:
        print("TypeError:", str(error).splitlines()[-1])
    # --8<-- [end:seen_init_fails]

    # --8<-- [start:seen_training_fails]
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
        regressor.compile(optimizer="sgd", loss="mse")
        regressor.fit(around_five, total, epochs=3, verbose=0)
        mean = np.mean(regressor.norm.moving_mean)
        print(f"{cls.__name__}: moving mean after fit {mean:.1f}")
    # --8<-- [end:seen_training_fails]
