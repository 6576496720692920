"""`docs/training/teacher_student.md`: every claim that the page makes, proved."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.teacher_student import Distiller, MeanTeacher, SoftTargets
from tests import contract
from tests.shown import shown

MODULE = "snippets.training.teacher_student"
DATA = np.random.default_rng(0)
X = DATA.normal(size=(64, 10)).astype("float32")
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
COMPILE = {"optimizer": "sgd", "loss": CROSS_ENTROPY}
EAGER, XLA = {"run_eagerly": True}, {"jit_compile": True}


def dense(*layers: keras.layers.Layer, width: int = 4, **options) -> keras.Sequential:
    """A network of 10 features and 3 classes, with layers in between."""
    hidden = keras.layers.Dense(width, activation="tanh", **options)
    return keras.Sequential([keras.Input((10,)), hidden, *layers, keras.layers.Dense(3, **options)])


def single(**kwargs) -> keras.Sequential:
    return keras.Sequential([keras.Input((10,)), keras.layers.Dense(3, dtype=kwargs.get("dtype"))])


MODELS = {
    "Distiller": contract.Model(lambda **kw: Distiller(single(**kw), single(**kw), **kw), lambda: (X, Y), COMPILE)
}
NOT_IN_CONTRACT = {
    "MeanTeacher": "is made as the Distiller is; what it averages, its dtypes, graphs, and its file are proved below"
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    check(case)


def test_the_loss_passes_the_checkup():
    contract.passes_the_checkup(contract.Other(SoftTargets, (X[:, :3], X[:, 3:6])))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def slopes(loss: Callable, of_teacher: np.ndarray, of_student: np.ndarray) -> np.ndarray:
    """The gradient with respect to what the student says."""
    given = tf.constant(of_student)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(of_teacher, given)
    return np.array(tf.cast(tape.gradient(value, given), "float32"))


def fit(model: keras.Model, x=X, y=Y, rate: float = 0.1, fit_options=None, **compiled) -> dict[str, list[float]]:
    given = {
        "optimizer": keras.optimizers.SGD(rate),
        "loss": CROSS_ENTROPY,
        **({} if compiled.get("jit_compile") else EAGER),
        **compiled,
    }
    model.compile(**given)
    options = {"batch_size": 32, "shuffle": False, "verbose": 0, **(fit_options or {})}
    return model.fit(x, y, **options).history


def same(one: list[np.ndarray], other: list[np.ndarray], atol: float = 1e-6) -> bool:
    return all(np.allclose(left, right, atol=atol) for left, right in zip(one, other, strict=True))


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The labels here are noisy: a point gets one drawn from its probabilities. The teacher has seen 8000 points. The "
    "student gets 200 of them, once with their labels, and once with the teacher's logits:",
    "Each model is judged by how often it finds the most likely class of 2000 other points. The student starts "
    "from the "
    "same weights and makes the same number of steps. On each of six seeds, the share that it gets right was larger "
    "by at least 0.1 with the teacher's logits.",
)
def test_the_program_is_better_with_a_teacher(seed):
    page = shown(MODULE, "program", seed=seed)
    x, labels, most_likely = page["sample"](20_000)
    scores = np.concatenate([x, np.abs(x) - 0.8], axis=-1) @ page["mixing"]
    np.testing.assert_array_equal(most_likely, scores.argmax(axis=-1))
    drawn = np.mean(softmax(scores)[np.arange(20_000), labels])
    assert abs(drawn - np.mean(np.sum(softmax(scores) ** 2, axis=-1))) < 0.02, "drawn from the softmax"
    assert (len(page["x"]), len(page["few"]), len(page["x_test"])) == (8000, 200, 2000)

    assert page["found"]["teacher"] > page["found"]["labels"] + 0.10
    assert page["right"](page["teacher"]) > page["found"]["teacher"]


@pytest.mark.proves(
    "This is a loss and no new step: `fit` keeps its sample weights, callbacks and mixed precision. The student "
    "needs no "
    "labels, so the points may be ones that nobody labelled.",
    "Cross-entropy with the softened logits of a teacher.",
    "Both logits are divided by `temperature` before the softmax (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531, "
    "equation 1).",
)
@pytest.mark.parametrize("temperature", [0.5, 2.0, 20.0])
def test_the_loss_is_that_of_the_paper(temperature):
    v, z = 3 * DATA.normal(size=(2, 5, 4)).astype("float32")
    p, q = softmax(v / temperature), softmax(z / temperature)
    expected = -(temperature**2) * np.sum(p * np.log(q), axis=-1)
    loss = SoftTargets(temperature)
    np.testing.assert_allclose(loss.call(v, z), expected, rtol=1e-4)
    np.testing.assert_allclose(loss(v, z), expected.mean(), rtol=1e-4)
    np.testing.assert_allclose(loss(v, z, sample_weight=np.eye(5)[2]), expected[2] / 5, rtol=1e-4)
    if temperature == 0.5:
        np.testing.assert_allclose(tf.function(loss, jit_compile=True)(v, z), expected.mean(), rtol=1e-4)
    for dtype in ("float16", "bfloat16"):
        halved = loss(tf.cast(v, dtype), tf.cast(z, dtype))
        np.testing.assert_allclose(halved, expected.mean(), rtol=0.02)
    np.testing.assert_allclose(slopes(loss, v, z), temperature * (q - p) / 5, rtol=1e-3, atol=1e-6)
    assert SoftTargets().temperature == 2.0


def test_the_loss_under_mixed_precision_and_with_weights():
    keras.config.set_dtype_policy("mixed_float16")
    student, targets = dense(), 3 * X[:, :3]
    weighted = np.where(np.arange(64) < 32, 1.0, 0.0)
    losses = fit(student, y=targets, loss=SoftTargets(), fit_options={"sample_weight": weighted, "epochs": 3})["loss"]
    assert losses[-1] < losses[0]
    assert student.optimizer.name == "loss_scale_optimizer"


@pytest.mark.proves(
    "A dataset that shuffles has another order in `fit` than in `teacher.predict`, silently. Map its batches instead: "
    "`dataset.map(lambda x, y: (x, teacher(x)))`."
)
def test_a_dataset_that_shuffles():
    teacher = dense(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64).batch(16)
    predicted = teacher.predict(dataset, verbose=0)
    mapped = list(dataset.map(lambda x, y: (x, teacher(x))))
    x, logits = (np.concatenate(parts) for parts in zip(*mapped, strict=True))
    np.testing.assert_allclose(logits, teacher(x), atol=1e-5)
    assert not np.allclose(predicted, logits, atol=0.01)


# --- the temperature ----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "It also makes the gradient smaller, in the limit as 1/T², so the loss multiplies by T²:",
    "With T² the gradient approaches the difference of the centered logits, divided by the number of classes. Without "
    "it, the teacher's part of a sum disappears at a high temperature.",
)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_gradient_at_a_high_temperature(classes):
    v, z = DATA.normal(size=(2, 1, classes)).astype("float32")
    apart = (z - z.mean()) - (v - v.mean())
    np.testing.assert_allclose(slopes(SoftTargets(1000.0), v, z), apart / classes, atol=0.01)

    def without(temperature):
        return slopes(lambda *given: SoftTargets(temperature)(*given) / temperature**2, v, z)

    np.testing.assert_allclose(100 * without(1000.0), without(100.0), atol=2e-6)
    lines = shown(MODULE, "temperature").printed.splitlines()
    assert lines[2] == "T = 100: [-1.66 -0.63  2.29], without T² at most 0.00023"


@pytest.mark.proves(
    "A high temperature shows how the teacher ranks the wrong classes.",
    "The loss doesn't reach 0. Its smallest value is the entropy of the softened teacher times T², where student and "
    "teacher agree.",
    "`keras.losses.KLDivergence` takes the teacher first, and raises nothing if it comes second. Times T², it has the "
    "gradient of this loss, if it gets the softened probabilities and none is below `1e-7`.",
)
def test_the_divergence():
    v, z = 2 * DATA.normal(size=(2, 6, 4)).astype("float32")
    p = softmax(v / 3)
    entropy = -9 * np.mean(np.sum(p * np.log(p), axis=-1))
    np.testing.assert_allclose(SoftTargets(3.0)(v, v), entropy, rtol=1e-4)
    np.testing.assert_allclose(SoftTargets(3.0)(v, v + 1), entropy, rtol=1e-4)
    assert np.abs(slopes(SoftTargets(3.0), v, v)).max() < 1e-6
    assert all(float(SoftTargets(3.0)(v, z + seed)) > entropy for seed in DATA.normal(size=(20, 6, 4)))

    divergence = keras.losses.KLDivergence()

    def teacher_first(of_teacher, of_student):
        return 9 * divergence(ops.softmax(of_teacher / 3), ops.softmax(of_student / 3))

    def student_first(of_teacher, of_student):
        return 9 * divergence(ops.softmax(of_student / 3), ops.softmax(of_teacher / 3))

    expected = slopes(SoftTargets(3.0), v, z)
    np.testing.assert_allclose(slopes(teacher_first, v, z), expected, atol=1e-5)
    assert np.abs(slopes(student_first, v, z) - expected).max() > 0.01
    far = np.array([[0.0, 120.0]], "float32")
    assert np.abs(slopes(teacher_first, far, -far) - slopes(SoftTargets(3.0), far, -far)).max() > 1

    sharp, soft = (softmax(np.array([9.0, 3.0, -3.0]) / temperature)[1:] for temperature in (1, 5))
    assert (sharp < 0.003).all()
    assert soft[0] > 0.2 > soft[1] > 0.05


@pytest.mark.proves(
    "Both arguments are logits. If a teacher ends in a softmax, its probabilities go through a second one, silently: "
    "1, 0 and 0 become 0.58, 0.21 and 0.21. Give their logarithm instead: its softmax is the probabilities. The "
    "student ends without a softmax.",
    "With one logit the loss is 0, since the softmax of one is 1. Keras warns. A binary classifier needs two logits "
    "here.",
)
def test_a_second_softmax():
    np.testing.assert_allclose(ops.softmax(np.array([[1.0, 0.0, 0.0]])), [[0.58, 0.21, 0.21]], atol=0.005)
    certain, logits = np.array([[0.0, -np.inf, -np.inf]], "float32"), np.array([[0.1, 0.2, 0.3]], "float32")
    assert np.isfinite(slopes(SoftTargets(), certain, logits)).all()
    assert np.isinf(SoftTargets()(logits, certain)), "so the student has no logarithm of a softmax"
    with pytest.warns(UserWarning, match="axis has size 1"):
        assert float(SoftTargets()(X[:, :1], X[:, 1:2])) == 0
    p = softmax(X[:, :4]).astype("float32")
    np.testing.assert_allclose(ops.softmax(np.log(p)), p, atol=1e-6)
    z = X[:, 4:8]
    np.testing.assert_allclose(SoftTargets(3.0)(np.log(p), z), SoftTargets(3.0)(X[:, :4], z), rtol=1e-5)
    assert not np.isclose(float(SoftTargets(1.0)(p, z)), float(SoftTargets(1.0)(X[:, :4], z)), rtol=0.01)


# --- labels and a teacher -----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The loss is that of `compile`, plus cross-entropy with the teacher's softened logits",
    "The metrics are those of the student. `sample_weight` and `class_weight` act on both parts of the loss. "
    "Regularizers and `add_loss` of the student are kept, and `val_loss` contains both parts.",
    "A `Distiller` with a `compile` of its own and a `train_step` | `compute_loss` is enough, and keeps loss "
    "scaling and "
    "`sample_weight`.",
)
@pytest.mark.parametrize("way", ["eager", "mixed precision"])
def test_the_loss_has_both_parts(way):
    if way == "mixed precision":
        keras.config.set_dtype_policy("mixed_float16")
    close = 0.01 if way == "mixed precision" else 1e-4
    student, teacher = dense(kernel_regularizer="l2"), dense(width=8)
    model = Distiller(student, teacher, temperature=3.0, weight=0.5)
    weights = np.linspace(0, 2, 64)

    def expected(weights):
        z, v = (np.array(ops.cast(one(X), "float32")) for one in (student, teacher))
        labels = -np.log(softmax(z)[np.arange(64), Y])
        of_teacher = -9 * np.sum(softmax(v / 3) * np.log(softmax(z / 3)), axis=-1)
        regularized = sum(0.01 * np.sum(one.kernel.numpy() ** 2) for one in student.layers)
        return np.mean(weights * (labels + 0.5 * of_teacher)) + regularized

    whole = {"batch_size": 64}
    by_class = np.array([1.0, 2.0, 3.0])
    for given, of_each in (
        ({"sample_weight": weights}, weights),
        ({"class_weight": dict(enumerate(by_class))}, by_class[Y]),
    ):
        before = expected(of_each)
        history = fit(model, metrics=["accuracy"], fit_options={**whole, **given})
        np.testing.assert_allclose(history["loss"], before, rtol=close)
    reported = model.evaluate(X, Y, batch_size=64, verbose=0, return_dict=True)
    np.testing.assert_allclose(reported["loss"], expected(1.0), rtol=close)
    np.testing.assert_allclose(reported["accuracy"], np.mean(np.argmax(student(X), axis=-1) == Y), atol=1e-6)


def test_the_defaults_of_the_distiller():
    model = Distiller(dense(), dense())
    assert (model.temperature, model.weight, model.soft_targets.temperature) == (2.0, 1.0, 2.0)


def test_an_added_loss_is_kept():
    class Adds(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(ops.mean(0 * inputs) + 7)
            return inputs

    plain = Distiller(dense(), dense())
    adding = Distiller(keras.Sequential([keras.Input((10,)), Adds(), plain.student]), plain.teacher)
    losses = [fit(model, rate=0.0)["loss"][0] for model in (plain, adding)]
    np.testing.assert_allclose(losses[1], losses[0] + 7, rtol=1e-5)


def of_weights(model: keras.Model, weights: list[np.ndarray]) -> np.ndarray:
    """What a model returns with other weights."""
    own = model.get_weights()
    model.set_weights(weights)
    outputs = model.predict(X, verbose=0)
    model.set_weights(own)
    return outputs


# --- freeze -------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Left trainable, it learns to agree with the student:",
    "The teacher is a part of the model, so its weights are among `trainable_weights` unless it is frozen.",
    "`Distiller` freezes the object that you give it: the model that you trained, and any layer that the student "
    "shares with it. Setting `distiller.trainable` to `False` and back to `True` unfreezes it.",
)
def test_freezing():
    teacher = dense(keras.layers.BatchNormalization(), width=8)
    model = Distiller(dense(), teacher)
    assert model.teacher is teacher
    assert not teacher.trainable_weights
    before = teacher.get_weights()
    fit(model, optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))
    assert same(teacher.get_weights(), before, atol=0), "nor do its statistics move"

    model.trainable = True
    assert not teacher.trainable_weights, "it was True before"
    model.trainable = False
    model.trainable = True
    assert teacher.trainable_weights
    apart = float(model.soft_targets(teacher(X), model.student(X)))
    student = model.student.get_weights()
    fit(model)
    agreed = float(model.soft_targets(teacher(X), tf.constant(of_weights(model.student, student))))
    assert agreed < apart
    moved = teacher.get_weights()[0]
    assert np.any(moved != before[0])

    backbone = dense().layers[0]
    sharing = [keras.Sequential([keras.Input((10,)), backbone, keras.layers.Dense(3)]) for _ in range(2)]
    assert len(Distiller(*sharing).trainable_weights) == 2, "of the four of the student"


@pytest.mark.proves(
    "`training=False` turns off the teacher's Dropout. Without it, the teacher's layers take the `training` of "
    "the step: "
    "in `fit`, its logits are those of a random part of the network."
)
@pytest.mark.parametrize("given", [{"training": False}, {}])
def test_the_teacher_drops_nothing(given):
    teacher, seen = dense(keras.layers.Dropout(0.5), width=8), []

    class Asks(Distiller):
        def call(self, inputs, training=False):
            seen.append(np.array(self.teacher(inputs, **given)))
            return super().call(inputs, training=training)

    fit(Asks(dense(), teacher), rate=0.0, fit_options={"batch_size": 64})
    assert np.allclose(seen[-1], teacher(X), atol=1e-5) is bool(given)


# --- save ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`distiller.save` saves both networks, `distiller.student.save` the one to deploy:",
    "With `compile=False`, a student that was compiled with `SoftTargets` loads where that class is unknown.",
)
def test_saving(tmp_path):
    student = dense()
    student.compile("sgd", SoftTargets(5.0))
    student.save(tmp_path / "known.keras")
    assert keras.saving.load_model(tmp_path / "known.keras").loss.temperature == 5.0
    path = tmp_path / "unknown.keras"
    with zipfile.ZipFile(tmp_path / "known.keras") as known, zipfile.ZipFile(path, "w") as unknown:
        for name in known.namelist():
            unknown.writestr(name, known.read(name).replace(b"SoftTargets", b"SomethingElse"))
    with pytest.raises(TypeError, match="Could not locate class"):
        keras.saving.load_model(path)
    np.testing.assert_array_equal(keras.saving.load_model(path, compile=False)(X), student(X))

    teacher = dense()
    fit(teacher, optimizer="adam")
    model = Distiller(dense(), teacher, temperature=5.0, weight=3.0)
    fit(model, optimizer="adam")
    model.save(tmp_path / "both.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of the optimizer of a frozen teacher, which `get_config` leaves out
        loaded = keras.saving.load_model(tmp_path / "both.keras")
    assert (loaded.temperature, loaded.weight) == (5.0, 3.0)
    assert not loaded.teacher.trainable_weights
    loaded.run_eagerly = True
    for each in (model, loaded):
        each.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
    assert same(loaded.get_weights(), model.get_weights())


# --- use_ema ------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A moving average of a model's own weights is often better than its last weights, which move with each batch. Each "
    "optimizer of Keras has it as an option, but those that wrap another:"
)
def test_the_average_is_better(seed):
    page = shown(MODULE, "averaged", seed=seed)
    assert page.printed == "error of the weights less than half: True"


def test_each_optimizer_has_it():
    wrap = {"LossScaleOptimizer", "MultiOptimizer"}
    classes = {name: found for name, found in vars(keras.optimizers).items() if isinstance(found, type)}
    assert wrap < classes.keys()
    for name in classes.keys() - wrap - {"Optimizer", "OptimizerMap"}:
        optimizer = classes[name](learning_rate=0.01, use_ema=True)
        assert (optimizer.use_ema, optimizer.ema_momentum, optimizer.ema_overwrite_frequency) == (True, 0.99, None)
    with pytest.raises(ValueError, match="does not support `use_ema`"):
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), use_ema=True)
    with pytest.raises((TypeError, ValueError)):
        keras.optimizers.MultiOptimizer([], use_ema=True)


class Looks(keras.callbacks.Callback):
    """Keeps the kernel at each step, and as a callback behind the others finds it at the end of an epoch."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs, self.judged = [], [], []

    def _kernel(self):
        return self.model.layers[-1].kernel.numpy()

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self._kernel())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self._kernel())

    def on_test_batch_end(self, batch, logs=None):
        self.judged.append(self._kernel())

    @property
    def averages(self) -> list[np.ndarray]:
        """The moving average of the steps at the end of each epoch, in NumPy."""
        mean, found, per_epoch = self.steps[0], [], len(self.steps) // len(self.epochs)
        for step, kernel in enumerate(self.steps):
            mean = 0.9 * mean + 0.1 * kernel
            if (step + 1) % per_epoch == 0:
                found.append(mean)
        return found

    @property
    def average(self) -> np.ndarray:
        return self.averages[-1]


def averaging(*callbacks, **options) -> tuple[keras.Model, Looks]:
    keras.utils.set_random_seed(1)
    model, looks = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)]), Looks()
    ema = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9)
    options = {"callbacks": [*callbacks, looks], "validation_data": (X, X[:, :1]), **options}
    fit(model, y=X[:, :1], optimizer=ema, loss="mse", fit_options=options)
    return model, looks


@pytest.mark.proves(
    "The average begins with the weights after the first step, so it isn't biased towards 0.",
    "During `fit`: metrics, `validation_data`, `ModelCheckpoint` | those of the last step",
    "In `validation_data`, with the callback `SwapEMAWeights()` | the averages, but `ModelCheckpoint` saves those of "
    "the last step",
    "In each callback behind `SwapEMAWeights(swap_on_epoch=True)`, at the end of an epoch | the averages",
    "After `fit` | the averages, and a second `fit` begins with them",
    "After `train_on_batch`, or a `fit` that was interrupted | those of the last step",
    "After `predict(callbacks=[SwapEMAWeights()])` | swapped, and not swapped back",
)
def test_when_the_weights_are_averages(tmp_path):
    def saved(name):
        return keras.callbacks.ModelCheckpoint(tmp_path / f"{name}.weights.h5", save_weights_only=True)

    def in_file(name):
        model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
        model.load_weights(tmp_path / f"{name}.weights.h5", skip_mismatch=True)
        return model.layers[0].kernel.numpy()

    swap = keras.callbacks.SwapEMAWeights
    close = {"atol": 1e-6}
    model, looks = averaging(saved("plain"))
    assert not np.allclose(looks.average, looks.steps[-1], atol=1e-3)
    for found in (looks.epochs[-1], looks.judged[-1], in_file("plain")):
        np.testing.assert_allclose(found, looks.steps[-1], **close)
    np.testing.assert_allclose(model.layers[0].kernel, looks.average, **close)

    model, looks = averaging(swap(), saved("judged"))
    np.testing.assert_allclose(looks.judged[-1], looks.average, **close)
    for found in (looks.epochs[-1], in_file("judged")):
        np.testing.assert_allclose(found, looks.steps[-1], **close)
    np.testing.assert_allclose(model.layers[0].kernel, looks.average, **close)
    begins = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_, **__: first.append(kernel.numpy()))
    first, kernel = [], model.layers[0].kernel
    model.fit(X, X[:, :1], callbacks=[begins], verbose=0)
    np.testing.assert_allclose(first[0], looks.average, **close)

    model, looks = averaging(swap(swap_on_epoch=True), saved("swapped"), epochs=2)
    for found in (looks.epochs[-1], looks.judged[-1], in_file("swapped"), model.layers[0].kernel):
        np.testing.assert_allclose(found, looks.average, **close)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    looks = Looks()
    with pytest.raises(KeyboardInterrupt):
        fit(
            model := keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)]),
            y=X[:, :1],
            optimizer=keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9),
            loss="mse",
            fit_options={"callbacks": [looks, keras.callbacks.LambdaCallback(on_epoch_end=interrupt)]},
        )
    assert not np.allclose(looks.average, looks.steps[-1], atol=1e-3)
    np.testing.assert_allclose(model.layers[0].kernel, looks.steps[-1], **close)

    model, _ = averaging()
    kernel = model.layers[0].kernel
    average = kernel.numpy()
    for _ in range(3):
        model.train_on_batch(X, X[:, :1])
        average = 0.9 * average + 0.1 * kernel.numpy()
    last = kernel.numpy()
    assert not np.allclose(last, average, atol=1e-3)
    model.predict(X, callbacks=[swap()], verbose=0)
    np.testing.assert_allclose(kernel, average, **close)


@pytest.mark.proves(
    "Two combinations silently undo it. `restore_best_weights` restores the weights of a step. With "
    "`SwapEMAWeights(swap_on_epoch=True)`, a training that stops early ends with those of the last step:",
    "Together they are right, the swap first. Then the best weights are averages, stopped or not:",
)
@pytest.mark.parametrize("stopped", [False, True])
def test_what_undoes_it(stopped):
    def stop(**options):
        return keras.callbacks.EarlyStopping("loss", min_delta=10.0 if stopped else 0.0, **options)

    def swap():
        return keras.callbacks.SwapEMAWeights(swap_on_epoch=True)

    best = 0 if stopped else 1
    for callbacks, kind, epoch in (
        ([stop(restore_best_weights=True)], "step", best),
        ([swap(), stop()], "step" if stopped else "average", 1),
        ([swap(), stop(restore_best_weights=True)], "average", best),
        ([stop(restore_best_weights=True), swap()], "step", best),
        ([stop()], "average", 1),
    ):
        model, looks = averaging(*callbacks, epochs=4 if stopped else 2, validation_data=None)
        assert len(looks.epochs) == 2
        ends = {"step": looks.steps[1::2], "average": looks.averages}[kind][epoch]
        np.testing.assert_allclose(model.layers[0].kernel, ends, atol=1e-6, err_msg=str(callbacks))
        assert not np.allclose(looks.averages[epoch], looks.steps[1::2][epoch], atol=1e-4)


@pytest.mark.proves(
    "The moving statistics of batch normalization aren't averaged: they stay those of the last step.",
    "`weights` contains the moving statistics of batch normalization, so they are averaged as well. A frozen teacher "
    "doesn't update its own. A `Normalization` layer in the student raises a `TypeError` in `fit`, since it counts in "
    "integers: put it into the dataset.",
)
def test_moving_statistics():
    seen = []
    for options in ({}, {"use_ema": True}):
        keras.utils.set_random_seed(1)
        normalized = keras.Sequential([keras.Input((10,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)])
        fit(normalized, optimizer=keras.optimizers.SGD(0.1, **options))
        seen.append(normalized.layers[0].moving_mean.numpy())
    np.testing.assert_array_equal(*seen)

    student = dense(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    model = MeanTeacher(student, momentum=0.9)
    before = student.layers[1].moving_mean.numpy()
    fit(model, fit_options={"batch_size": 64})
    expected = 0.9 * before + 0.1 * student.layers[1].moving_mean.numpy()
    np.testing.assert_allclose(model.teacher.layers[1].moving_mean, expected, atol=1e-6)
    counting = MeanTeacher(dense(keras.layers.Normalization()))
    assert "int64" in {weight.dtype for weight in counting.student.weights}
    with pytest.raises(TypeError, match="int64"):
        fit(counting)


# --- mean teacher -------------------------------------------------------------------------------------------------


class Follows(keras.callbacks.Callback):
    """The moving average of the student, in NumPy, from its first weights on."""

    def on_train_begin(self, logs=None):
        self.average, self.calls = self.model.student.get_weights(), 0

    def on_train_batch_end(self, batch, logs=None):
        self.calls += 1
        pairs = zip(self.average, self.model.student.get_weights(), strict=True)
        self.average = [0.9 * mean + 0.1 * weight for mean, weight in pairs]


@pytest.mark.proves(
    "A student, and a teacher that is its moving average.",
    "In training the model is the student, in `evaluate` and `predict` the teacher.",
    "The average equals that of `use_ema=True`, but for its start: this one begins with the initial weights.",
)
@pytest.mark.parametrize("options", [XLA, {"policy": "mixed_float16"}], ids=str)
def test_the_teacher_is_the_average(options):
    keras.config.set_dtype_policy({**options}.pop("policy", "float32"))
    options = {name: value for name, value in options.items() if name != "policy"}
    follows = Follows()
    model = MeanTeacher(dense(keras.layers.BatchNormalization()), momentum=0.9)
    ema = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    start = model.student.get_weights()
    history = fit(model, optimizer=ema, fit_options={"callbacks": [follows], "epochs": 3}, **options)
    assert len(history["loss"]) == 3
    assert same(model.teacher.get_weights(), follows.average, atol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), model.teacher(X), rtol=0.01, atol=1e-3)
    np.testing.assert_array_equal(model(X), model.teacher(X))
    np.testing.assert_array_equal(model(X, training=True), model.student(X, training=True))

    # After fit, the student holds the average of the optimizer. The two began one step apart.
    first, of_optimizer = start[0], model.student.get_weights()[0]
    gap = np.abs(model.teacher.get_weights()[0] - of_optimizer).max()
    assert 0 < gap < 0.9**5 * np.abs(first - of_optimizer).max() * 2


def test_the_mean_teacher_compares_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    model = MeanTeacher(dense(), consistency=1000.0)
    model.teacher.set_weights(
        [weight + 0.003 * (1 + np.arange(weight.shape[-1])) for weight in model.get_weights()[:4]]
    )
    model.compile("sgd", lambda y, y_pred: 0 * ops.sum(y_pred, axis=-1), run_eagerly=True)
    z, v = (softmax(np.array(one(X), "float32")) for one in (model.student, model.teacher))
    loss = model.compute_loss(X, Y, model.student(X))
    np.testing.assert_allclose(loss, 1000 * np.mean((z - v) ** 2), rtol=1e-3)


def test_the_average_equals_that_of_the_optimizer():
    """From the same start: the teacher gets the weights after the first step."""
    model = MeanTeacher(dense(), momentum=0.9, consistency=0.0)
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), CROSS_ENTROPY, run_eagerly=True)
    model.train_on_batch(X, Y)
    model.teacher.set_weights(model.student.get_weights())
    model.fit(X, Y, batch_size=8, verbose=0)
    assert same(model.teacher.get_weights(), model.student.get_weights())


@pytest.mark.proves(
    "A point without a label gets any class and a sample weight of 0. The loss of the labels is still divided by "
    "the size "
    "of the whole batch:",
    "A mean teacher needs no training of its own. The student also learns to agree with it, so points without a label "
    "train it, too.",
    "The student and its teacher agree on a point if nothing differs. Put Dropout, noise or augmentation into the "
    "student, without a `seed`: a clone with the same seed draws the same, silently.",
)
@pytest.mark.parametrize(
    ("layer", "differs"),
    [
        (keras.layers.Dropout(0.5), True),
        (keras.layers.GaussianNoise(1.0), True),
        (keras.layers.Dropout(0.5, seed=1), False),
        (keras.layers.Identity(), False),
    ],
)
def test_points_without_a_label(layer, differs):
    student = keras.Sequential([keras.Input((10,)), layer, dense()])
    model = MeanTeacher(student)
    model.compile("sgd", CROSS_ENTROPY, run_eagerly=True)
    losses = []
    for other in (0, 2):
        labels = np.where(np.arange(64) < 16, Y, other)
        without = MeanTeacher(dense(), consistency=0.0)
        without.student.set_weights(student.get_weights())
        without.teacher.set_weights(student.get_weights())
        without.compile("sgd", CROSS_ENTROPY, run_eagerly=True)
        losses.append(without.test_on_batch(X, labels, sample_weight=np.arange(64) < 16))
    z = np.array(student(X))[:16]
    np.testing.assert_allclose(losses, [-np.sum(np.log(softmax(z)[np.arange(16), Y[:16]])) / 64] * 2, rtol=1e-4)

    before = student.get_weights()
    model.fit(X, Y, sample_weight=np.zeros(64), batch_size=64, verbose=0)
    assert same(student.get_weights(), before, atol=1e-9) is not differs


@pytest.mark.proves(
    "`consistency=0` trains the student alone: compare with it.",
    "In a callback, the average is updated once per call of `on_train_batch_end`: with `steps_per_execution=5`, "
    "once in "
    "five steps, silently.",
)
def test_alone_and_in_a_callback():
    student = dense(keras.layers.BatchNormalization())
    alone = keras.models.clone_model(student)
    alone.set_weights(student.get_weights())
    model, follows = MeanTeacher(student, momentum=0.9, consistency=0), Follows()
    options = {"batch_size": 6, "callbacks": [follows]}
    fit(model, x=X[:60], y=Y[:60], steps_per_execution=5, run_eagerly=False, fit_options=options)
    fit(alone, x=X[:60], y=Y[:60], fit_options={"batch_size": 6})
    assert same(student.get_weights(), alone.get_weights(), atol=1e-5)
    assert (follows.calls, int(model.optimizer.iterations)) == (2, 10)
    assert not same(model.teacher.get_weights(), follows.average, atol=1e-3)
    assert (MeanTeacher(dense()).momentum, MeanTeacher(dense()).consistency) == (0.99, 1.0)


@pytest.mark.proves(
    "`clone_model` draws new random weights. Without `set_weights`, the teacher starts as another network.",
    "ValueError: The student isn't built.",
)
def test_a_clone():
    for seed in range(11, 14):
        student = dense(keras.layers.BatchNormalization())
        keras.utils.set_random_seed(seed)
        assert not np.allclose(keras.models.clone_model(student)(X), student(X), atol=1e-3)
        np.testing.assert_array_equal(MeanTeacher(student).teacher(X), student(X))
    with pytest.raises(ValueError, match="Build the student"):
        MeanTeacher(keras.Sequential([keras.layers.Dense(3)]))


@pytest.mark.proves(
    "Deploy `mean.teacher`. To fine-tune what you load from its file, set `trainable` to `False`, then to `True`: its "
    "layers are frozen, the model isn't."
)
def test_a_saved_mean_teacher_goes_on(tmp_path):
    model = MeanTeacher(dense(), momentum=0.8, consistency=2.0)
    fit(model, optimizer="adam")
    model.save(tmp_path / "mean.keras")
    loaded = keras.saving.load_model(tmp_path / "mean.keras")
    assert (loaded.momentum, loaded.consistency) == (0.8, 2.0)
    loaded.run_eagerly = True
    for each in (model, loaded):
        each.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
    assert same(model.get_weights(), loaded.get_weights())
    assert not same(model.teacher.get_weights(), model.student.get_weights(), atol=1e-3)

    model.teacher.save(tmp_path / "teacher.keras")
    deployed = keras.saving.load_model(tmp_path / "teacher.keras")
    for trainable, weights in ((True, 0), (False, 0), (True, 4)):
        deployed.trainable = trainable
        assert len(deployed.trainable_weights) == weights
