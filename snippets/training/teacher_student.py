"""Knowledge distillation, moving averages of the weights, a mean teacher."""

# --8<-- [start:soft_targets]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class SoftTargets(keras.losses.Loss):
    """Cross-entropy with the softened logits of a teacher.

    Shapes: ``[(batch, classes), (batch, classes)]`` to ``(batch,)``
    """

    def __init__(self, temperature=2.0, name="soft_targets", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        of_teacher = ops.softmax(y_true / self.temperature)
        loss = ops.categorical_crossentropy(
            of_teacher, y_pred / self.temperature, from_logits=True
        )
        return self.temperature**2 * loss  # (batch,)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def network(width):
    hidden = keras.layers.Dense(width, activation="relu")
    return keras.Sequential([keras.Input((10,)), hidden, keras.layers.Dense(3)])


# --8<-- [end:soft_targets]


# --8<-- [start:distiller]
@keras.saving.register_keras_serializable(package="guide")
class Distiller(keras.Model):
    """Trains a student on labels and on the logits of a frozen teacher.

    The loss is that of ``compile``, plus cross-entropy with the teacher's
    softened logits (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531).

    Args:
        student: A built model that returns logits.
        teacher: A trained model that returns logits of the same classes. It
            is frozen.
        temperature: Divides the logits of both.
        weight: Multiplies the teacher's part of the loss.

    Shapes:
        ``(batch, features)`` to ``(batch, classes)``, the student's logits.
    """

    def __init__(self, student, teacher, temperature=2.0, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.temperature = temperature
        self.weight = weight
        self.soft_targets = SoftTargets(temperature)

    def call(self, inputs, training=False):
        return self.student(inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        logits = self.teacher(x, training=False)
        of_teacher = self.soft_targets(logits, y_pred, sample_weight)
        return loss + self.weight * of_teacher

    def get_config(self):
        own = {"temperature": self.temperature, "weight": self.weight}
        for name in ("student", "teacher"):
            part = keras.saving.serialize_keras_object(getattr(self, name))
            part.pop("compile_config", None)  # an optimizer of its own
            own[name] = part
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        for name in ("student", "teacher"):
            part = keras.saving.deserialize_keras_object(config[name])
            config = {**config, name: part}
        return cls(**config)


# --8<-- [end:distiller]


# --8<-- [start:mean_teacher]
@keras.saving.register_keras_serializable(package="guide")
class MeanTeacher(keras.Model):
    """A student, and a teacher that is its moving average.

    The student learns the labels, and to agree with the teacher (Tarvainen
    and Valpola, 2017, arXiv:1703.01780). In training the model is the
    student, in ``evaluate`` and ``predict`` the teacher.

    Args:
        student: A built functional or sequential model that returns logits.
        momentum: Share of the teacher that each step keeps.
        consistency: Multiplies the squared difference of their
            probabilities.

    Shapes:
        ``(batch, features)`` to ``(batch, classes)``, logits.

    Raises:
        ValueError: The student isn't built.
    """

    def __init__(self, student, momentum=0.99, consistency=1.0, **kwargs):
        super().__init__(**kwargs)
        if not student.built:
            raise ValueError("Build the student: it has no weights to copy.")
        self.student = student
        self.teacher = keras.models.clone_model(student)
        self.teacher.set_weights(student.get_weights())
        self.teacher.trainable = False
        self.momentum = momentum
        self.consistency = consistency

    def call(self, inputs, training=False):
        used = self.student if training else self.teacher
        return used(inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        of_teacher = ops.cast(self.teacher(x, training=training), loss.dtype)
        of_model = ops.cast(y_pred, loss.dtype)
        apart = ops.softmax(of_model) - ops.softmax(of_teacher)
        return loss + self.consistency * ops.mean(ops.square(apart))

    def train_step(self, data):
        logs = super().train_step(data)
        pairs = zip(self.teacher.weights, self.student.weights, strict=True)
        for average, weight in pairs:
            average.assign_add((1 - self.momentum) * (weight - average))
        return logs

    def get_config(self):
        own = {
            "student": keras.saving.serialize_keras_object(self.student),
            "momentum": self.momentum,
            "consistency": self.consistency,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        student = keras.saving.deserialize_keras_object(config["student"])
        return cls(**{**config, "student": student})


# --8<-- [end:mean_teacher]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(3)
    mixing = np.random.normal(size=(20, 3)) / 3

    def sample(size):
        x = np.random.normal(size=(size, 10)).astype("float32")
        scores = np.concatenate([x, np.abs(x) - 0.8], axis=-1) @ mixing
        noisy = scores + np.random.gumbel(size=scores.shape)
        return x, noisy.argmax(axis=-1), scores.argmax(axis=-1)

    x, labels, _ = sample(8000)
    x_test, _, y_test = sample(2000)

    def right(model):
        return np.mean(np.argmax(model(x_test), axis=-1) == y_test)

    on_labels = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher = network(64)
    teacher.compile(keras.optimizers.Adam(0.01), on_labels)
    teacher.fit(x, labels, batch_size=128, epochs=3, verbose=0)
    print(f"teacher, 8000 points: {right(teacher):.1f}")

    few, few_labels = x[:200], labels[:200]
    logits = teacher.predict(few, verbose=0)
    student = network(16)
    start = student.get_weights()
    found = {}
    for name, loss, targets in (
        ("labels", on_labels, few_labels),
        ("teacher", SoftTargets(), logits),
    ):
        student.set_weights(start)
        student.compile(keras.optimizers.Adam(0.02), loss)
        student.fit(few, targets, batch_size=50, epochs=30, verbose=0)
        found[name] = right(student)
        print(f"student, 200 points, {name}: {found[name]:.1f}")
    # --8<-- [end:program]

    # --8<-- [start:distilled]
    adam = keras.optimizers.Adam(0.02)
    distiller = Distiller(network(16), teacher, weight=4.0)
    distiller.compile(adam, on_labels, metrics=["accuracy"])
    validation = (x_test, y_test)
    fitted = distiller.fit(
        few, few_labels, epochs=15, validation_data=validation, verbose=0
    ).history
    print(*fitted)
    trained = len(distiller.trainable_weights)
    print(f"trained weights: {trained} of {len(distiller.weights)}")
    print(f"right: {right(distiller.student):.1f}")
    # --8<-- [end:distilled]

    # --8<-- [start:trained_along_fails]
    along = keras.models.clone_model(teacher)
    along.set_weights(teacher.get_weights())
    distiller = Distiller(network(16), along, weight=4.0)
    distiller.teacher.trainable = True
    distiller.compile(keras.optimizers.Adam(0.02), on_labels)
    distiller.fit(few, few_labels, epochs=15, verbose=0)
    print(f"trained weights: {len(distiller.trainable_weights)} of 8")
    print(f"right: the teacher {right(teacher):.1f}, ", end="")
    print(f"its copy less than 0.5: {right(along) < 0.5}")
    # --8<-- [end:trained_along_fails]

    # --8<-- [start:temperature]
    of_teacher = tf.constant([[5.0, 2.0, -7.0]])
    of_student = tf.zeros((1, 3))
    for temperature in (1.0, 10.0, 100.0):
        with tf.GradientTape() as tape:
            tape.watch(of_student)
            loss = SoftTargets(temperature)(of_teacher, of_student)
        slopes = tape.gradient(loss, of_student).numpy()
        without = abs(slopes).max() / temperature**2
        print(f"T = {temperature:g}: {slopes[0].round(2)}", end="")
        print(f", without T² at most {without:.5f}")
    # --8<-- [end:temperature]

    # --8<-- [start:saved]
    distiller = Distiller(network(16), teacher)
    distiller.compile("adam", on_labels)
    distiller.fit(few, few_labels, verbose=0)
    distiller.save("both.keras")
    distiller.student.save("student.keras")

    both = keras.saving.load_model("both.keras")
    alone = keras.saving.load_model("student.keras", compile=False)
    print(f"{type(both).__name__}: {both.count_params()} parameters")
    print(f"{type(alone).__name__}: {alone.count_params()} parameters")
    for loaded in (both, alone):
        print(np.allclose(loaded(few), distiller(few)))
    # --8<-- [end:saved]

    # --8<-- [start:averaged]
    keras.utils.set_random_seed(1)
    true = np.random.normal(size=(10, 1))
    features = np.random.normal(size=(2000, 10))
    values = features @ true + np.random.normal(size=(2000, 1))

    def fit_line(epochs=3, callbacks=(), **options):
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        line = keras.Sequential([keras.Input((10,)), dense])
        line.compile(keras.optimizers.SGD(0.1, **options), "mse")
        fit = {"batch_size": 20, "shuffle": False, "verbose": 0}
        line.fit(features, values, epochs=epochs, callbacks=callbacks, **fit)
        return dense.kernel.numpy()

    plain = np.mean((fit_line() - true) ** 2)
    mean = np.mean((fit_line(use_ema=True, ema_momentum=0.95) - true) ** 2)
    print("error of the weights less than half:", mean < plain / 2)
    # --8<-- [end:averaged]

    # --8<-- [start:undone_fails]
    ema = {"use_ema": True, "ema_momentum": 0.95}
    averages = fit_line(epochs=2, **ema)

    restore = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    kernel = fit_line(epochs=2, callbacks=[restore], **ema)
    print("restored, averages:", np.allclose(kernel, averages))

    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    stop = keras.callbacks.EarlyStopping("loss", min_delta=10.0)
    kernel = fit_line(epochs=5, callbacks=[swap, stop], **ema)
    print(f"stopped after {stop.stopped_epoch + 1} epochs, ", end="")
    print("averages:", np.allclose(kernel, averages))
    # --8<-- [end:undone_fails]

    # --8<-- [start:kept]
    ema = {"use_ema": True, "ema_momentum": 0.95}
    for min_delta in (0.0, 10.0):
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        stop = keras.callbacks.EarlyStopping(
            "loss", min_delta=min_delta, restore_best_weights=True
        )
        kernel = fit_line(epochs=2, callbacks=[swap, stop], **ema)
        averages = fit_line(epochs=stop.best_epoch + 1, **ema)
        print(f"stopped: {stop.stopped_epoch > 0}, ", end="")
        print("averages:", np.allclose(kernel, averages))
    # --8<-- [end:kept]

    # --8<-- [start:followed]
    mean = MeanTeacher(network(16), momentum=0.9)
    print("same at the start:", np.allclose(mean(few), mean.student(few)))

    mean.compile("adam", on_labels, metrics=["accuracy"])
    has_label = np.arange(1000) < 200
    mean.fit(x[:1000], labels[:1000], sample_weight=has_label, verbose=0)
    reported = mean.evaluate(x_test, y_test, verbose=0, return_dict=True)
    of_teacher = np.isclose(reported["accuracy"], right(mean.teacher))
    print("evaluate judges the teacher:", of_teacher)
    print("same at the end:", np.allclose(mean(few), mean.student(few)))
    # --8<-- [end:followed]
