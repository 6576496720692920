"""Two digits read by one model: two inputs, a shared encoder, two heads."""

# --8<-- [start:functional]
import keras
import numpy as np


def functional_reader(activation="softmax"):
    """Read the two digits of a number, each from an image of its own."""
    left = keras.Input(shape=(784,), name="left")
    right = keras.Input(shape=(784,), name="right")
    encoder = keras.layers.Dense(64, activation="relu", name="encoder")
    left_head = keras.layers.Dense(10, activation, name="left_head")
    right_head = keras.layers.Dense(10, activation, name="right_head")
    return keras.Model(
        inputs={"left": left, "right": right},
        outputs={
            "left_digit": left_head(encoder(left)),
            "right_digit": right_head(encoder(right)),
        },
    )


# --8<-- [end:functional]


# --8<-- [start:subclass]
@keras.saving.register_keras_serializable(package="guide")
class TwoDigitReader(keras.Model):
    """The model of ``functional_reader`` as a class.

    Args:
        units: Size of the encoder's output.

    Shapes:
        ``{"left": (batch, features), "right": (batch, features)}`` to
        ``{"left_digit": (batch, 10), "right_digit": (batch, 10)}``.
    """

    def __init__(self, units=64, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        dtype = self.dtype_policy
        head = {"units": 10, "activation": "softmax", "dtype": dtype}
        self.encoder = keras.layers.Dense(units, activation="relu", dtype=dtype)
        self.left_head = keras.layers.Dense(**head)
        self.right_head = keras.layers.Dense(**head)

    def call(self, inputs):
        left = self.encoder(inputs["left"])  # (batch, units)
        right = self.encoder(inputs["right"])  # (batch, units)
        return {
            "left_digit": self.left_head(left),
            "right_digit": self.right_head(right),
        }

    def get_config(self):
        return {**super().get_config(), "units": self.units}


# --8<-- [end:subclass]


# --8<-- [start:what_is_there]
@keras.saving.register_keras_serializable(package="guide")
class ReadsWhatIsThere(TwoDigitReader):
    """Reads each image that it is given; the first call takes both.

    Shapes:
        ``{"left": (batch, features), "right": (batch, features)}`` to
        ``{"left_digit": (batch, 10), "right_digit": (batch, 10)}``.
    """

    def call(self, inputs):
        heads = {"left": self.left_head, "right": self.right_head}
        return {
            f"{side}_digit": heads[side](self.encoder(image))
            for side, image in inputs.items()
        }


# --8<-- [end:what_is_there]


if __name__ == "__main__":
    # --8<-- [start:train]
    keras.utils.set_random_seed(7)
    prototypes = np.random.normal(size=(10, 784))  # one image a digit
    digits = np.random.randint(10, size=(2, 768))
    noise = np.random.normal(scale=2.0, size=(2, 768, 784))
    left, right = (prototypes[digits] + noise).astype("float32")
    one_hot = keras.utils.to_categorical(digits)  # (2, 768, 10)
    x = {"left": left[:512], "right": right[:512]}
    y = {"left_digit": one_hot[0, :512], "right_digit": one_hot[1, :512]}
    x_test = {"left": left[512:], "right": right[512:]}

    settings = {
        "optimizer": "adam",
        "loss": dict.fromkeys(y, "categorical_crossentropy"),
        "loss_weights": {"left_digit": 1.0, "right_digit": 0.5},
        "metrics": {name: ["accuracy"] for name in y},
    }
    model = functional_reader()
    model.compile(**settings)
    model.fit(x, y, epochs=5, verbose=0)

    predicted = model.predict(x_test, verbose=0)
    read = np.stack([predicted[name].argmax(axis=-1) for name in y])
    correct = np.mean(np.all(read == digits[:, 512:], axis=0))
    print(f"both digits right in {correct:.2f} of 256 unseen numbers")

    model.save("reader.keras")
    reloaded = keras.saving.load_model("reader.keras")
    for name, outputs in reloaded.predict(x_test, verbose=0).items():
        same = np.allclose(outputs, predicted[name], atol=1e-6)
        print(f"{name} {outputs.shape}, same after reloading: {same}")
    # --8<-- [end:train]

    # --8<-- [start:shared]
    encoder = model.get_layer("encoder")
    shared = model.count_params()
    print("layers:", [layer.name for layer in model.layers])
    print("parameters:", shared)
    print("with an encoder per input:", shared + encoder.count_params())
    # --8<-- [end:shared]

    # --8<-- [start:gradient]
    import tensorflow as tf

    crossentropy = keras.losses.CategoricalCrossentropy()
    y_test = {"left_digit": one_hot[0, 512:], "right_digit": one_hot[1, 512:]}
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(x_test)
        left_loss = crossentropy(y_test["left_digit"], outputs["left_digit"])
        right_loss = crossentropy(y_test["right_digit"], outputs["right_digit"])
        total = 1.0 * left_loss + 0.5 * right_loss

    kernel = encoder.kernel.value  # the tf.Variable that a tape watches
    from_left = tape.gradient(left_loss, kernel)
    from_right = tape.gradient(right_loss, kernel)
    both = 1.0 * from_left + 0.5 * from_right
    print(f"norm of the left loss's gradient:  {np.linalg.norm(from_left):.1f}")
    print(
        f"norm of the right loss's gradient: {np.linalg.norm(from_right):.1f}"
    )
    same = np.allclose(both, tape.gradient(total, kernel), atol=1e-6)
    print("their weighted sum is the total's gradient:", same)
    # --8<-- [end:gradient]

    # --8<-- [start:losses]
    logs = model.evaluate(x_test, y_test, return_dict=True, verbose=0)
    for name in sorted(logs):
        print(f"{name}: {logs[name]:.2f}")

    weighted = 1.0 * logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"]
    print(f"1.0 * left_digit_loss + 0.5 * right_digit_loss: {weighted:.2f}")
    # --8<-- [end:losses]

    # --8<-- [start:uneven]
    # A batch of 32 and one of 1.
    x_33 = {name: images[:33] for name, images in x_test.items()}
    y_33 = {name: targets[:33] for name, targets in y_test.items()}
    logs = model.evaluate(x_33, y_33, return_dict=True, verbose=0)
    weighted = 1.0 * logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"]
    print(f"loss: {logs['loss']:.2f}, weighted sum: {weighted:.2f}")
    print("equal:", np.isclose(logs["loss"], weighted, rtol=1e-3))
    # --8<-- [end:uneven]

    # --8<-- [start:same]
    reader = TwoDigitReader()
    reader(x_test)  # the first call creates the weights
    reader.set_weights(model.get_weights())

    for name, probabilities in reader.predict(x_test, verbose=0).items():
        same = np.allclose(probabilities, predicted[name], atol=1e-6)
        print(f"{name}: same predictions: {same}")
    # --8<-- [end:same]

    # --8<-- [start:save]
    reader = TwoDigitReader(units=32)
    reader.compile(**settings)
    losses = reader.fit(x, y, epochs=5, verbose=0).history["loss"]
    print("loss below 1 in the last epoch:", losses[-1] < 1)

    reader.save("reader.keras")
    reloaded = keras.saving.load_model("reader.keras")
    outputs, again = reader(x_test), reloaded(x_test)
    for name in outputs:
        same = np.allclose(outputs[name], again[name], atol=1e-6)
        print(f"{name}: same outputs after reloading: {same}")
    # --8<-- [end:save]

    # --8<-- [start:missing]
    only_left = {"left": x_test["left"]}
    try:
        model.predict(only_left, verbose=0)
    except ValueError as error:
        print("ValueError:", str(error).split(". ")[0])

    reader = ReadsWhatIsThere()
    reader(x_test)  # both inputs, so that both heads get their weights
    reader.set_weights(model.get_weights())
    for images in (x_test, only_left):
        outputs = reader.predict(images, verbose=0)
        same = np.allclose(
            outputs["left_digit"], predicted["left_digit"], atol=1e-6
        )
        print(f"{list(images)}: {list(outputs)}, same left digit: {same}")
    # --8<-- [end:missing]

    # --8<-- [start:seen_metrics_fails]
    input1 = keras.layers.Input(shape=(784,))
    input2 = keras.layers.Input(shape=(784,))
    dense1 = keras.layers.Dense(64, activation="relu", name="dense1")
    output1 = dense1(input1)
    output2 = dense1(input2)
    seen = keras.models.Model([input1, input2], [output1, output2])

    images = [x["left"], x["right"]]
    targets = [  # of 64 columns, as many as the outputs have
        keras.utils.to_categorical(digit.argmax(axis=-1), 64)
        for digit in (y["left_digit"], y["right_digit"])
    ]
    seen.compile(
        optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"]
    )
    try:
        seen.fit(images, targets, verbose=0)
    except ValueError as error:
        print("ValueError:", error)
    # --8<-- [end:seen_metrics_fails]

    # --8<-- [start:seen_names_fails]
    seen.compile(
        optimizer="adam",
        loss="categorical_crossentropy",
        metrics=["accuracy", "accuracy"],
    )
    history = seen.fit(images, targets, verbose=0).history
    print(sorted(history))
    # --8<-- [end:seen_names_fails]

    # --8<-- [start:seen_relu_fails]
    true = tf.constant([[0.0, 1.0]])
    for row in ([3.0, 1.0], [300.0, 100.0], [3.0, 0.0], [0.0, 0.0]):
        outputs = tf.constant([row])
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = keras.losses.categorical_crossentropy(true, outputs)
        gradient = tape.gradient(loss, outputs)[0].numpy()
        print(f"outputs {row}: loss {loss[0]:.2f}, gradient {gradient}")
    # --8<-- [end:seen_relu_fails]

    # --8<-- [start:seen_relu_train_fails]
    for activation in ("relu", "softmax"):
        keras.utils.set_random_seed(7)
        other = functional_reader(activation)
        other.compile(**settings)
        losses = other.fit(x, y, epochs=5, verbose=0).history["loss"]
        predicted = other.predict(x_test, verbose=0)
        read = np.stack([predicted[name].argmax(axis=-1) for name in y])
        correct = np.mean(np.all(read == digits[:, 512:], axis=0))
        print(f"{activation} heads: loss below 1: {losses[-1] < 1}, ", end="")
        print(f"both digits right in three of four: {correct > 0.75}")
    # --8<-- [end:seen_relu_train_fails]

    # --8<-- [start:seen_list_fails]
    heads = {
        "top": model.output["left_digit"],
        "bottom": model.output["right_digit"],
    }
    renamed = keras.Model(model.input, heads)
    renamed.compile(loss="categorical_crossentropy")

    top, bottom = y_test["left_digit"], y_test["right_digit"]
    for targets in ([top, bottom], {"top": top, "bottom": bottom}):
        loss, *_ = renamed.evaluate(x_test, targets, verbose=0)
        print(f"loss with a {type(targets).__name__} of targets: {loss:.1f}")
    # --8<-- [end:seen_list_fails]
