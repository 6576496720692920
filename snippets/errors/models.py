"""Errors of custom models: each fails as met, then is fixed."""

# --8<-- [start:imports]
import keras
import numpy as np
import tensorflow as tf
from keras import ops

# --8<-- [end:imports]


if __name__ == "__main__":
    # --8<-- [start:metrics_fails]
    inputs = keras.Input((4,))
    colour = keras.layers.Dense(
        3, activation="softmax", name="colour"
    )(inputs)
    shape = keras.layers.Dense(
        2, activation="softmax", name="shape"
    )(inputs)

    x = np.ones((8, 4))
    y = {
        "colour": np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]],
        "shape": np.eye(2)[[0, 1] * 4],
    }
    in_list = keras.Model(inputs, [colour, shape])
    in_dict = keras.Model(
        inputs, {"colour": colour, "shape": shape}
    )
    for model in in_list, in_dict:
        model.compile(
            loss="categorical_crossentropy", metrics=["accuracy"]
        )
        try:
            model.fit(x, y, verbose=0)
        except ValueError as error:
            print("ValueError:", error)
    # --8<-- [end:metrics_fails]

    # --8<-- [start:metrics_works]
    by_place = [["accuracy"], ["accuracy"]]
    by_name = {"colour": ["accuracy"], "shape": ["accuracy"]}
    for model, metrics in (in_list, by_place), (in_dict, by_name):
        model.compile(
            loss="categorical_crossentropy", metrics=metrics
        )
        logs = model.fit(x, y, verbose=0).history
        print("metrics:", [key for key in logs if "acc" in key])
    # --8<-- [end:metrics_works]

    # --8<-- [start:relu_fails]
    keras.utils.set_random_seed(1)
    classes = np.random.randint(3, size=300)
    centres = np.random.normal(scale=2, size=(3, 4))
    noise = np.random.normal(size=(300, 4))
    x = (centres[classes] + noise).astype("float32")
    y = keras.utils.to_categorical(classes)

    def trained(model, loss):
        model.compile(
            optimizer=keras.optimizers.Adam(0.01),
            loss=loss,
            metrics=["accuracy"],
        )
        return model.fit(x, y, epochs=20, verbose=0).history

    relu = keras.Sequential(
        [keras.layers.Dense(3, activation="relu")]
    )
    zero = np.all(relu.predict(x, verbose=0) == 0, axis=-1)
    print("samples whose outputs are all 0:", zero.sum())
    history = trained(relu, "categorical_crossentropy")
    print("loss:", history["loss"][-1])
    # --8<-- [end:relu_fails]

    # --8<-- [start:relu_works]
    softmax = keras.Sequential(
        [keras.layers.Dense(3, activation="softmax")]
    )
    linear = keras.Sequential([keras.layers.Dense(3)])
    from_logits = keras.losses.CategoricalCrossentropy(
        from_logits=True
    )

    for name, model, loss in [
        ("softmax", softmax, "categorical_crossentropy"),
        ("from_logits", linear, from_logits),
    ]:
        history = trained(model, loss)
        print(f"{name}: loss {history['loss'][-1]:.1f}", end=", ")
        print(f"accuracy {history['accuracy'][-1]:.1f}")
    # --8<-- [end:relu_works]

    # --8<-- [start:nan_fails]
    def softmax(x):
        powers = ops.exp(x)
        return powers / ops.sum(powers)

    def norm(x):
        return ops.sqrt(ops.sum(ops.square(x)))

    def log_if_positive(x):
        return ops.where(x > 0, ops.log(x), 0.0)

    scores = np.array([0.0, 100.0], "float32")
    print("softmax:", np.array(softmax(scores)))
    for function in norm, log_if_positive:
        x = tf.constant([0.0])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        slope = tape.gradient(y, x)
        print(
            function.__name__,
            np.sum(y),
            "gradient",
            slope[0].numpy(),
        )
    # --8<-- [end:nan_fails]

    # --8<-- [start:nan_works]
    def softmax(x):
        return ops.softmax(x)

    def norm(x):
        return ops.sqrt(ops.maximum(ops.sum(ops.square(x)), 1e-12))

    def log_if_positive(x):
        return ops.log(ops.where(x > 0, x, 1.0))

    scores = np.array([0.0, 100.0], "float32")
    print("softmax:", np.array(softmax(scores)))
    for function in norm, log_if_positive:
        x = tf.constant([0.0])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        slope = tape.gradient(y, x)
        print(
            function.__name__,
            np.sum(y),
            "gradient",
            slope[0].numpy(),
        )
    # --8<-- [end:nan_works]

    # --8<-- [start:training_fails]
    class Normalized(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = keras.layers.BatchNormalization(
                momentum=0.9
            )
            self.head = keras.layers.Dense(1)

        def call(self, inputs):
            return self.head(self.norm(inputs))

    x = np.random.default_rng(0).normal(5.0, 1.0, size=(128, 1))
    model = Normalized()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, x, epochs=20, verbose=0)
    print("mean of the inputs:", f"{x.mean():.1f}")
    moving_mean = model.norm.moving_mean.numpy()[0]
    print("moving mean:", f"{moving_mean:.1f}")
    # --8<-- [end:training_fails]

    # --8<-- [start:training_works]
    class Normalized(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = keras.layers.BatchNormalization(
                momentum=0.9
            )
            self.head = keras.layers.Dense(1)

        def call(self, inputs, training=False):
            return self.head(self.norm(inputs, training=training))

    x = np.random.default_rng(0).normal(5.0, 1.0, size=(128, 1))
    model = Normalized()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, x, epochs=20, verbose=0)
    moving_mean = model.norm.moving_mean.numpy()[0]
    print("moving mean:", f"{moving_mean:.1f}")
    # --8<-- [end:training_works]

    # --8<-- [start:order_fails]
    inputs = keras.Input((1,))
    outputs = {
        "price": keras.layers.Rescaling(10.0)(inputs),
        "area": keras.layers.Rescaling(1.0)(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")

    x = np.ones((8, 1))  # the true price is 10, the true area 1
    loss, *_ = model.evaluate(x, [10 * x, x], verbose=0)
    print("list in the order of the dict, loss:", loss)
    loss, *_ = model.evaluate(x, [x, 10 * x], verbose=0)
    print("list in sorted order, loss:", loss)
    # --8<-- [end:order_fails]

    # --8<-- [start:order_works]
    model.compile(loss={"price": "mse", "area": "mse"})
    loss, *_ = model.evaluate(
        x, {"price": 10 * x, "area": x}, verbose=0
    )
    print("dict, loss:", loss)
    # --8<-- [end:order_works]

    # --8<-- [start:summary_fails]
    class Classifier(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = keras.layers.Dense(8, name="hidden")
            self.scores = keras.layers.Dense(3, name="scores")

        def call(self, inputs):
            return self.scores(ops.relu(self.hidden(inputs)))

    Classifier(name="new").summary(line_length=66)
    # --8<-- [end:summary_fails]

    # --8<-- [start:summary_works]
    model = Classifier(name="called")
    model(keras.Input((4,)))
    model.summary(line_length=66)
    # --8<-- [end:summary_works]

    # --8<-- [start:freeze_fails]
    base = keras.layers.Dense(1, kernel_initializer="ones")
    head = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([base, head])

    def kernel():
        return f"{base.kernel.numpy().item():.2f}"

    x, y = np.ones((8, 1)), np.zeros((8, 1))
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
    model.fit(x, y, verbose=0)

    base.trainable = False
    print("trainable weights:", len(model.trainable_weights))
    before = kernel()
    model.fit(x, y, verbose=0)
    print(f"frozen kernel: {before}, after a fit: {kernel()}")
    # --8<-- [end:freeze_fails]

    # --8<-- [start:freeze_works]
    for trainable in False, True:
        base.trainable = trainable
        model.compile(
            optimizer=keras.optimizers.SGD(0.05), loss="mse"
        )
        print("trainable weights:", len(model.trainable_weights))
        before = kernel()
        model.fit(x, y, verbose=0)
        print(f"kernel: {before}, after a fit: {kernel()}")
    # --8<-- [end:freeze_works]
