"""Custom `train_step`, `test_step` and `predict_step`, inside `fit`."""

# --8<-- [start:own_step]
import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="guide")
class OwnStep(keras.Model):
    """A model with a step of its own, which does what that of `fit` does."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights)
        # Change the gradients here.
        self.optimizer.apply(gradients, self.trainable_weights)

        # Under a strategy, `compute_loss` divides by the number of replicas.
        loss *= self.distribute_strategy.num_replicas_in_sync
        samples = tf.shape(keras.tree.flatten(x)[0])[0]
        self.metrics[0].update_state(loss, sample_weight=samples)
        return self.compute_metrics(x, y, y_pred, sample_weight)


def make_model(model_class):
    keras.utils.set_random_seed(7)
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(16, "relu", kernel_regularizer="l2")
    hidden = keras.layers.Dropout(0.2)(dense(inputs))
    outputs = keras.layers.Dense(1, "sigmoid")(hidden)
    model = model_class(inputs, outputs)
    adam = keras.optimizers.Adam(0.01)
    model.compile(adam, "binary_crossentropy", metrics=["accuracy"])
    return model


# --8<-- [end:own_step]


# --8<-- [start:adversarial]
@keras.saving.register_keras_serializable(package="guide")
class AdversarialClassifier(keras.Model):
    """A classifier of two classes, trained on inputs that raise its loss.

    Each feature moves by ``epsilon`` in the direction that raises the loss:
    Goodfellow, Shlens and Szegedy 2014, arXiv:1412.6572.

    Args:
        epsilon: How far each feature moves in training. 0 trains as usual.

    Shapes:
        ``(batch, features)`` to ``(batch, 1)``, a logit.
    """

    def __init__(self, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.hidden = keras.layers.Dense(
            16, activation="relu", dtype=self.dtype_policy
        )
        self.logit = keras.layers.Dense(1, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.logit(self.hidden(inputs))

    def attack(self, x, y, epsilon, sample_weight=None):
        """Return ``x``, each feature moved by ``epsilon`` to raise the loss.

        A feature without influence on the loss stays, and so does a sample
        with a weight of 0.
        """
        x = tf.cast(x, self.variable_dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)  # the inputs, not the weights
            loss = self.compute_loss(
                x=x, y=y, y_pred=self(x), sample_weight=sample_weight
            )
            # Keeps small gradients from becoming 0 under mixed_float16.
            loss = self.optimizer.scale_loss(loss)
        return x + epsilon * tf.sign(tape.gradient(loss, x))

    def train_step(self, data):
        if self.epsilon:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            x = self.attack(x, y, self.epsilon, sample_weight)
            data = (x, y, sample_weight)
        return super().train_step(data)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


# --8<-- [end:adversarial]


# --8<-- [start:judged_moved]
@keras.saving.register_keras_serializable(package="guide")
class JudgedMoved(AdversarialClassifier):
    """Evaluated on moved inputs, and predicts probabilities.

    Shapes:
        ``(batch, features)`` to ``(batch, 1)``, a logit.
    """

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = self.attack(x, y, self.epsilon, sample_weight)
        return super().test_step((x, y, sample_weight))

    def predict_step(self, data):
        return tf.sigmoid(super().predict_step(data))


# --8<-- [end:judged_moved]


if __name__ == "__main__":
    # --8<-- [start:program]
    x = np.random.default_rng(7).normal(size=(330, 4)).astype("float32")
    y = (x[:, :1] > x[:, 1:2]).astype("float32")
    options = {"epochs": 5, "validation_split": 0.2, "verbose": 0}
    options["class_weight"] = {0: 1.0, 1: 3.0}

    expected = make_model(keras.Model).fit(x, y, **options).history
    model = make_model(OwnStep)
    for name, values in model.fit(x, y, **options).history.items():
        difference = np.max(np.abs(np.subtract(values, expected[name])))
        print(f"{name}: {values[-1]:.2f}, {difference:.5f} from that of fit")

    model.save("own_step.keras")
    reloaded = keras.saving.load_model("own_step.keras")
    same = np.allclose(reloaded(x), model(x))
    print(f"reloaded as {type(reloaded).__name__}, same outputs: {same}")
    # --8<-- [end:program]

    # --8<-- [start:attacked]
    def sample(size):
        y = np.random.randint(2, size=(size, 1))
        side = 2 * y - 1
        mistaken = np.random.uniform(size=y.shape) < 0.05
        strong = side * np.where(mistaken, -1, 1)  # right for 95 %
        weak = 0.1 * (side + np.random.normal(size=(size, 20)))
        x = np.concatenate([strong, weak], axis=-1)  # (size, 21)
        return x.astype("float32"), y.astype("float32")

    keras.utils.set_random_seed(7)
    x, y = sample(1000)
    x_test, y_test = sample(500)
    for epsilon in (0.0, 0.2):
        model = AdversarialClassifier(epsilon)
        model.compile(
            optimizer=keras.optimizers.Adam(0.01),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
        )
        model.fit(x, y, epochs=5, verbose=0)

        moved = model.attack(x_test, y_test, 0.2)
        for name, inputs in {"as they are": x_test, "moved": moved}.items():
            right = np.mean((model(inputs) > 0) == (y_test > 0))
            print(f"epsilon {epsilon}: right on inputs {name}: {right:.2f}")
    # --8<-- [end:attacked]

    # --8<-- [start:judged]
    judged = JudgedMoved(0.2)
    judged.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
    )
    judged.fit(x, y, epochs=5, verbose=0)

    reported = judged.evaluate(x_test, y_test, verbose=0, return_dict=True)
    moved = judged.attack(x_test, y_test, 0.2)
    right = np.mean((judged(moved) > 0) == (y_test > 0))
    print(f"evaluate: {reported['binary_accuracy']:.2f}, ", end="")
    print(f"by hand on moved inputs: {right:.2f}")

    logits = judged(x_test)
    predicted = judged.predict(x_test, verbose=0)
    same = np.allclose(predicted, tf.sigmoid(logits))
    print("predict gives the sigmoid of the logits:", same)
    # --8<-- [end:judged]

    # --8<-- [start:often_seen_fails]
    class OftenSeen(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply(gradients, self.trainable_weights)
            return {"loss": loss}

    keras.config.set_dtype_policy("mixed_float16")
    x, y = np.ones((64, 1)), np.full((64, 1), 0.5)
    for model_class in (keras.Model, OwnStep, OftenSeen):
        inputs = keras.Input((1,))
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        line = model_class(inputs, dense(inputs))
        line.compile(keras.optimizers.SGD(0.1), "mse")
        reported = line.fit(x, y, batch_size=64, verbose=0).history["loss"]
        kernel = dense.kernel.numpy().item()
        print(f"{model_class.__name__}: loss {reported[0]:.2f}, ", end="")
        print(f"kernel {kernel:.6f}")
    keras.config.set_dtype_policy("float32")
    # --8<-- [end:often_seen_fails]
