"""`docs/training/two_networks.md`: every claim that the page makes, proved."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training import two_networks
from snippets.training.two_networks import GAN, WGANGP, HalveRates, check_owned_once
from tests import contract
from tests.shown import shown
from tests.training.replicas import two_replicas

MODULE = "snippets.training.two_networks"
X = np.random.default_rng(0).normal(size=(64, 2)).astype("float32") + 2
NOISE = np.random.default_rng(1).normal(size=(64, 2)).astype("float32")
CENTERS = np.array([[2.0, 2.0]])
PARTS = ("generator", "discriminator")

MODELS = {"GAN": contract.Model(GAN, lambda: (NOISE, NOISE))}
"""`fit_lowers_the_loss` isn't its: what `fit` gets isn't what it is called with, and its losses don't fall."""
CHECKS = [one for one in contract.MODEL if one is not contract.fit_lowers_the_loss]
NOT_IN_CONTRACT = {"WGANGP": "It is the GAN with other losses, which the checkup doesn't call."}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    assert check(case) is None, "a check that fails raises"


def sgd(rate: float = 0.1) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: keras.optimizers.SGD(rate)


def made(cls: type[GAN] = GAN, optimizer=lambda: keras.optimizers.SGD(0.002), compiled=None, **arguments) -> GAN:
    """A compiled model with the weights and the noise of seed 1. To trace its step takes longer than three batches."""
    keras.utils.set_random_seed(1)
    model = cls(**arguments)
    model.compile(optimizer(), optimizer(), **(compiled or {"run_eagerly": True}))
    return model


def fit(model: keras.Model, **options) -> dict[str, list[float]]:
    return model.fit(X, **{"batch_size": 32, "shuffle": False, "verbose": 0, **options}).history


def steps_of(model: GAN) -> list[int]:
    return [int(getattr(model, f"{part}_optimizer").iterations) for part in PARTS]


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def largest(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    return max(float(np.max(np.abs(old - new))) for old, new in zip(before, after, strict=True))


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The generator gets random numbers only, and learns to make such points:",
    "A cluster counts as found if more than 25 of 1000 points lie within 0.4 of its center. The normal distribution "
    "has the mean and covariance of the data.",
    "That all eight are found holds with each of six seeds.",
    "Neither loss tells how good the points are: in the program above the generator's loss is higher in the last epoch "
    "than in the first.",
)
def test_the_program_finds_every_cluster(seed):
    page = shown(MODULE, "program", seed=seed)
    untrained, normal, trained = page.printed.splitlines()
    assert trained == "trained: 8 of 8 clusters"
    for baseline in (untrained, normal):
        assert int(baseline.split(":")[1].split()[0]) <= 2
    np.testing.assert_allclose(page["fitted"].mean(axis=0), page["x"].mean(axis=0), atol=0.3)
    np.testing.assert_allclose(np.cov(page["fitted"].T), np.cov(page["x"].T), atol=0.4)

    made = page["model"].predict(page["noise"], verbose=0)
    away = np.linalg.norm(made[:, None] - page["centers"], axis=-1)
    counts = [np.sum((away.argmin(axis=-1) == one) & (away.min(axis=-1) < 0.4)) for one in range(8)]
    assert min(counts) > 25
    assert sum(counts) > 500
    first, *_, last = page["losses"]["generator_loss"]
    assert last > first


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class WithoutInput(GAN):
    def make_generator(self):
        return keras.Sequential([keras.layers.Dense(2)])


class Replaced(GAN):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.discriminator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.proves(
    "For other networks, override `make_generator` and `make_discriminator` in a subclass. If you replace them "
    "after `super().__init__()`, the first ones stay among the weights. Begin each with `keras.Input`: `compile` "
    "raises for a network that isn't built. Give each layer `dtype=self.dtype_policy`, or it silently takes the global "
    "policy."
)
def test_other_networks(tmp_path):
    model, reloaded = fitted_and_reloaded(WithLayer, tmp_path, layer="batch")
    check_owned_once(model, model.generator, model.discriminator)
    fit(model, batch_size=64)
    fit(reloaded, batch_size=64)
    assert same(model, reloaded)

    replaced = Replaced(dtype="mixed_float16")
    assert (len(replaced.discriminator.trainable_variables), len(replaced.trainable_variables)) == (2, 6 + 6 + 2)
    with pytest.raises(ValueError, match="has 0 optimizers"):
        check_owned_once(replaced, replaced.generator, replaced.discriminator)
    assert replaced.discriminator.layers[0].compute_dtype == "float32"
    assert replaced.generator.layers[0].compute_dtype == "float16"

    with pytest.raises(ValueError, match=r"Begin each network with keras\.Input\."):
        made(WithoutInput)
    late = WithoutInput()
    late(NOISE)
    late.compile("sgd", "sgd")
    late.save(tmp_path / "late.keras")
    assert same(late, keras.saving.load_model(tmp_path / "late.keras"))
    late.save_weights(tmp_path / "late.weights.h5")
    with pytest.raises(ValueError, match="a model that has not yet been built"):
        WithoutInput().load_weights(tmp_path / "late.weights.h5")


# --- which gradient goes to which network -------------------------------------------------------------------------


def by_hand(model: GAN, points: np.ndarray) -> tuple[list, list]:
    """The weights of both networks after one step of SGD(0.1), from the formulas, with the noise that is next."""
    state = model.random.state.numpy()
    first, second = model.draw_noise(len(points)), model.draw_noise(len(points))
    model.random.state.assign(state)

    def sigmoid(logits):
        return tf.sigmoid(tf.cast(logits, "float32"))

    with tf.GradientTape() as tape:
        real, fake = model.discriminator(points), model.discriminator(model.generator(first))
        loss = -tf.reduce_mean(tf.math.log(sigmoid(real))) - tf.reduce_mean(tf.math.log(1 - sigmoid(fake)))
    weights = model.discriminator.trainable_variables
    gradients = tape.gradient(loss, [one.value for one in weights])
    discriminator = [one.numpy() - 0.1 * gradient for one, gradient in zip(weights, gradients, strict=True)]

    judge = keras.models.clone_model(model.discriminator)
    judge.set_weights([np.asarray(one) for one in discriminator])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(sigmoid(judge(model.generator(second)))))
    weights = model.generator.trainable_variables
    gradients = tape.gradient(loss, [one.value for one in weights])
    return discriminator, [one.numpy() - 0.1 * gradient for one, gradient in zip(weights, gradients, strict=True)]


@pytest.mark.proves(
    "Train a GAN: two networks, two optimizers",
    "To train two networks towards different aims inside `fit`, write one `keras.Model`: its `compile` takes two "
    "optimizers, and its `train_step` gives each gradient to one network.",
    "The discriminator's step makes its points outside the tape. Its gradient goes to "
    "`discriminator.trainable_variables`.",
    "The generator's step makes them inside. Its gradient passes through the discriminator, and goes to "
    "`generator.trainable_variables`.",
    "`softplus(-logit)` is the cross-entropy of a real label, and `softplus(logit)` that of a made one. The generator "
    "gets a real label for its points:",
    "The last layer of the discriminator has no activation.",
)
@pytest.mark.parametrize("rows", [1, 64])
def test_a_step_is_that_of_the_formulas(rows):
    model = made(optimizer=sgd())
    assert model.discriminator.layers[-1].activation is keras.activations.linear
    discriminator, generator = by_hand(model, X[:rows])
    model.fit(X[:rows], batch_size=64, verbose=0)
    contract.assert_same(model.discriminator.get_weights(), [np.asarray(one) for one in discriminator], atol=1e-5)
    contract.assert_same(model.generator.get_weights(), [np.asarray(one) for one in generator], atol=1e-5)


@pytest.mark.proves(
    "`self.trainable_variables` are the weights of both networks. With them, the generator's step trains the "
    "discriminator to be wrong, silently:",
    "An optimizer that is built on its own network, as in `own`, raises instead.",
)
def test_the_generator_step_on_both_networks(seed):
    keras.utils.set_random_seed(seed)
    model = GAN()
    model.compile("adam", "adam")
    assert len(model.trainable_variables) == sum(len(getattr(model, part).trainable_variables) for part in PARTS)
    page = shown(MODULE, "both_moved_fails", model=model, noise=NOISE)
    assert page.printed == "the discriminator takes the same points for more real: True"
    with pytest.raises(ValueError, match="Unknown variable"):
        model.generator_optimizer.apply(page["gradients"], model.trainable_variables)


# --- freezing -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A step that names its weights needs no `trainable = False`. If you set it, what it does depends on when the step "
    "is traced, at the first `fit` after `compile`:",
    "Set before, the discriminator isn't trained at all, and nothing warns. Set after, it stops nothing, until you "
    "compile again or a batch of another shape makes a new trace. With `run_eagerly=True` it acts at once.",
)
def test_freezing_before_and_after_the_trace(recwarn):
    printed = shown(MODULE, "frozen_fails", x=X).printed.splitlines()
    assert printed == ["fitted before: False, still trained: False", "fitted before: True, still trained: True"]

    def trains(model, rows=64):
        before = model.discriminator.get_weights()
        model.train_on_batch(X[:rows])
        return largest(before, model.discriminator.get_weights()) > 0

    for compiled in ({"run_eagerly": True}, {"run_eagerly": False}):
        model = made(compiled=compiled)
        assert trains(model)
        model.discriminator.trainable = False
        assert trains(model) is not compiled["run_eagerly"]
    assert not trains(model, rows=32)
    assert trains(model), "the first trace is still there"
    model.compile("sgd", "sgd")
    assert not trains(model)
    assert not [one for one in recwarn if "trainable" in str(one.message)]


@pytest.mark.proves(
    "The discriminator isn't trained, with the warning `The model does not have any trainable weights.` If it trained "
    "a batch before it was frozen, it goes on.",
    "`discriminator.compile(…)`, then `discriminator.trainable = False`, then a combined model, and `train_on_batch` "
    "of both",
)
@pytest.mark.parametrize("trained_before", [False, True])
def test_the_old_recipe(trained_before):
    discriminator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    discriminator.compile("adam", loss="binary_crossentropy")
    real = np.ones((64, 1))
    if trained_before:
        discriminator.train_on_batch(X, real)
    discriminator.trainable = False
    noise = keras.Input((2,))
    combined = keras.Model(noise, discriminator(generator(noise)))
    combined.compile("adam", loss="binary_crossentropy")

    before, others = discriminator.get_weights(), generator.get_weights()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        discriminator.train_on_batch(X, real)
    warned = any("The model does not have any trainable weights." in str(one.message) for one in told)
    assert warned is not trained_before
    assert (largest(before, discriminator.get_weights()) > 0) is trained_before
    before = discriminator.get_weights()
    combined.train_on_batch(NOISE, real)
    assert largest(before, discriminator.get_weights()) == 0
    assert largest(others, generator.get_weights()) > 0


# --- logits and mixed precision -----------------------------------------------------------------------------------


@pytest.mark.proves(
    "when the discriminator is sure that they are made, its gradient stays:",
    "Keras finds the logits of a `sigmoid` that goes straight into the loss. Behind an operation that "
    "computes a new tensor, it clips the probabilities: at -20 the gradient is 0. The cast of a `float16` sigmoid in "
    "`BinaryCrossentropy` is one.",
)
def test_the_gradient_where_the_discriminator_is_sure():
    assert shown(MODULE, "logits").printed.splitlines()[2] == "of sigmoid + 0: [-0.99  0.  ]"
    logit = tf.constant([[-20.0], [-40.0]])
    between = (lambda p: p + 0.0, lambda p: ops.reshape(p, (-1, 1)), lambda p: ops.concatenate([p, p])[:2], tf.identity)
    sigmoid = keras.layers.Activation("sigmoid")
    for operation, expected in [
        (lambda p: p, -1.0),
        (lambda p: ops.cast(p, "float32"), -1.0),
        *((one, 0.0) for one in between),
    ]:
        with tf.GradientTape() as tape:
            tape.watch(logit)
            loss = keras.losses.BinaryCrossentropy(reduction="sum")(tf.ones((2, 1)), operation(sigmoid(logit)))
        np.testing.assert_allclose(tape.gradient(loss, logit), [[expected]] * 2, atol=1e-6)
    for dtype in ("float16", "bfloat16", "float64"):
        for cross_entropy, expected in (
            (keras.losses.BinaryCrossentropy(reduction="sum"), 0.0),
            (keras.losses.binary_crossentropy, -1.0),
        ):
            other = tf.cast(logit, dtype)
            with tf.GradientTape() as tape:
                tape.watch(other)
                loss = cross_entropy(tf.ones((2, 1)), ops.sigmoid(other))
            np.testing.assert_allclose(tf.cast(tape.gradient(loss, other), "float32"), [[expected]] * 2, atol=1e-6)

    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid", use_bias=False)])
    network.layers[0].kernel.assign([[1.0]])
    cross_entropy = keras.losses.BinaryCrossentropy(reduction="sum")

    def slope(inputs, nested):
        outer = keras.Sequential([keras.Input((1,)), network]) if nested else network
        return tf.gradients(cross_entropy(tf.ones((2, 1)), outer(inputs)), inputs)[0]

    for nested in (False, True):
        found = tf.function(slope)(logit, nested)
        np.testing.assert_allclose(found, [[-1.0]] * 2, atol=1e-6)


@pytest.mark.proves(
    "Under `mixed_float16` the losses are computed in float32. Each optimizer has a `LossScaleOptimizer` of its own, "
    "since the `compile` of Keras wraps only what it is given. Scale a loss with the optimizer that applies its "
    "gradient.",
)
def test_mixed_precision(tmp_path):
    mixed, full = made(optimizer=sgd(), dtype="mixed_float16"), made(optimizer=sgd())
    assert mixed.optimizer is None
    for part in PARTS:
        assert isinstance(getattr(mixed, f"{part}_optimizer"), keras.optimizers.LossScaleOptimizer)
        assert not isinstance(getattr(full, f"{part}_optimizer"), keras.optimizers.LossScaleOptimizer)
    points = mixed(NOISE)
    assert points.dtype == "float16"
    assert mixed.compute_generator_loss(points).dtype == "float32"
    assert mixed.compute_discriminator_loss(X, points).dtype == "float32"

    start = [getattr(full, part).get_weights() for part in PARTS]
    for model in (mixed, full):
        fit(model, batch_size=64)
    for part, before in zip(PARTS, start, strict=True):
        moved = largest(before, getattr(full, part).get_weights())
        assert largest(before, getattr(mixed, part).get_weights()) == pytest.approx(moved, rel=0.2)

    mixed.save(tmp_path / "mixed.keras")
    reloaded = keras.saving.load_model(tmp_path / "mixed.keras")
    assert type(reloaded.generator_optimizer.inner_optimizer) is keras.optimizers.SGD, "wrapped once"
    for model in (mixed, reloaded):
        fit(model, batch_size=64)
    assert same(mixed, reloaded)


# --- dropout and batch normalization ------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class WithLayer(GAN):
    """A GAN with one more layer in the discriminator."""

    def __init__(self, layer="dropout", **kwargs):
        self.layer = layer
        super().__init__(**kwargs)

    def make_discriminator(self):
        kinds = {"dropout": lambda: keras.layers.Dropout(0.5), "batch": keras.layers.BatchNormalization}
        self.added = kinds[self.layer]()
        first, *others = super().make_discriminator().layers
        return keras.Sequential([keras.Input((2,)), first, self.added, *others])

    def get_config(self):
        return {**super().get_config(), "layer": self.layer}


@pytest.mark.proves(
    "Both networks run with `training=True` in both steps.",
    "The generator's step updates the discriminator's moving averages, too.",
)
def test_training_in_both_steps():
    model = made(WithLayer, layer="batch")
    fake = model(NOISE)
    for loss in (lambda: model.compute_generator_loss(fake), lambda: model.compute_discriminator_loss(X, fake)):
        before = model.added.moving_mean.numpy()
        loss()
        assert np.any(model.added.moving_mean.numpy() != before)
    dropped = made(WithLayer, layer="dropout")
    assert np.any(dropped.judge(X) != dropped.judge(X))

    passed = []
    model = made(optimizer=sgd())
    for part in PARTS:
        network = getattr(model, part)
        call = network.call
        network.call = lambda *args, call=call, **kwargs: passed.append(kwargs.get("training")) or call(*args, **kwargs)
    fit(model, batch_size=64)
    assert set(passed) <= {True}


@pytest.mark.proves(
    "Batch normalization then takes the mean of the batch: with real and made points in two batches, it removes the "
    "difference of their means:",
    "In one batch it stays, but what the discriminator says of one point depends on the others.",
    "`LayerNormalization` takes each point by itself, and has no moving averages.",
    "With batch normalization in the discriminator, the slope at one point depends on the others: leave it out.",
)
def test_normalization_of_two_batches_and_of_one(seed):
    keras.utils.set_random_seed(seed)
    page = shown(MODULE, "normalized")
    assert page.printed == "in two batches, the means differ by 0.0"
    both = page["normalize"](np.concatenate([page["real"], page["fake"]]), training=True)
    assert np.mean(both[:64]) - np.mean(both[64:]) > 1.5
    for layer, alone in ((keras.layers.BatchNormalization(), False), (keras.layers.LayerNormalization(), True)):
        together = layer(X, training=True)[:8]
        assert np.allclose(layer(X[:8], training=True), together, atol=1e-5) is alone
        assert bool(layer.non_trainable_weights) is not alone
    model = made(WithLayer, layer="batch")
    points = tf.constant(X[:8])
    with tf.GradientTape() as tape:
        tape.watch(points)
        first = model.judge(points)[0]
    assert np.any(tape.gradient(first, points)[1:] != 0)


# --- save and resume ----------------------------------------------------------------------------------------------


def fitted_and_reloaded(cls, path, optimizer=lambda: keras.optimizers.SGD(0.01), **arguments) -> tuple[GAN, GAN]:
    model = made(cls, optimizer, **arguments)
    fit(model, batch_size=64)
    model.save(path / "model.keras")
    return model, keras.saving.load_model(path / "model.keras")


@pytest.mark.proves(
    "The loaded model goes on with the steps and moments of both optimizers, and draws the noise that the first one "
    "draws next:"
)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.002),
        lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.01, 20), momentum=0.9),
    ],
    ids=["Adam", "a schedule and momentum"],
)
def test_resumed_is_uninterrupted(optimizer, tmp_path):
    """The section of the page does the same in a graph."""
    model, reloaded = fitted_and_reloaded(GAN, tmp_path, optimizer, discriminator_steps=2)
    assert steps_of(model) == steps_of(reloaded) == [1, 2]
    for part in PARTS:
        one, other = (getattr(each, f"{part}_optimizer") for each in (model, reloaded))
        contract.assert_same([v.numpy() for v in one.variables], [v.numpy() for v in other.variables], atol=0)
    losses = [fit(each, batch_size=64)["generator_loss"] for each in (model, reloaded)]
    assert losses[0] == losses[1]
    assert same(model, reloaded)


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class WithoutConfig(GAN):
    get_compile_config = keras.Model.get_compile_config
    compile_from_config = keras.Model.compile_from_config


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class NotBuilt(GAN):
    def own(self, optimizer, part):
        return keras.optimizers.get(optimizer)


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class StateNotSaved(GAN):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generator_of_noise = keras.random.SeedGenerator(3)

    def draw_noise(self, size):
        return keras.random.normal((size, self.noise_size), seed=self.generator_of_noise)


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class NotSaidToBeBuilt(GAN):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.built = False


@keras.saving.register_keras_serializable(package="tests.training.two_networks")
class OfTensorFlow(GAN):
    def draw_noise(self, size):
        return tf.random.normal((size, self.noise_size))


@pytest.mark.proves(
    "`load_model` warns that `compile()` was not called, and both optimizers are lost.",
    "An optimizer with moments starts at step 0, with the warning `Skipping variable loading for optimizer`.",
)
def test_what_a_load_warns_of(tmp_path):
    with pytest.warns(UserWarning, match=r"`compile\(\)` was not called as part of model loading"):
        _, reloaded = fitted_and_reloaded(WithoutConfig, tmp_path)
    assert not any(hasattr(reloaded, f"{part}_optimizer") for part in PARTS)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        model, reloaded = fitted_and_reloaded(NotBuilt, tmp_path, keras.optimizers.Adam)
    assert steps_of(model) == [1, 1]
    assert steps_of(reloaded) == [0, 0]
    _, reloaded = fitted_and_reloaded(NotBuilt, tmp_path)
    assert steps_of(reloaded) == [1, 1], "SGD has no moments"


@pytest.mark.proves(
    "The state of a `SeedGenerator` isn't saved, silently: the noise is other noise.",
    "Dropout doesn't: the state of its random numbers isn't saved.",
    "Its state isn't saved, and a resumed training differs.",
)
@pytest.mark.parametrize("cls", [StateNotSaved, WithLayer, OfTensorFlow])
def test_random_states_that_are_not_saved(cls, tmp_path, recwarn):
    model, reloaded = fitted_and_reloaded(cls, tmp_path)
    assert steps_of(reloaded) == [1, 1]
    assert not [one for one in recwarn if "oading" in str(one.message)]
    for each in (model, reloaded):
        fit(each, batch_size=64)
    assert not same(model, reloaded)


@pytest.mark.proves(
    "`load_weights` raises, until the model is called.",
    "`save_weights` keeps both optimizers, too. `load_weights` silently leaves them out if the model isn't compiled "
    "yet.",
)
def test_weights_files(tmp_path, recwarn):
    path = tmp_path / "gan.weights.h5"
    model = made()
    fit(model)
    model.save_weights(path)
    compiled, late = made(), GAN()
    compiled.load_weights(path)
    late.load_weights(path)
    late.compile("adam", "adam")
    assert steps_of(compiled) == [2, 2]
    assert steps_of(late) == [0, 0]
    assert same(model, compiled)
    assert same(model, late)
    assert not [one for one in recwarn if "oading" in str(one.message)]
    unbuilt = NotSaidToBeBuilt()
    with pytest.raises(ValueError, match="a model that has not yet been built"):
        unbuilt.load_weights(path)
    unbuilt(NOISE)
    unbuilt.load_weights(path)


@pytest.mark.proves("`BackupAndRestore` resumes digit for digit with `shuffle=False` and its default `save_freq`.")
@pytest.mark.parametrize(
    ("options", "save_freq", "resumes"),
    [({}, "epoch", True), ({"shuffle": True}, "epoch", False), ({}, 1, False)],
    ids=["as said", "shuffled with another seed", "saved within the epoch"],
)
def test_backup_and_restore(options, save_freq, resumes, tmp_path):
    class Ends(keras.callbacks.Callback):
        """Interrupts the second epoch before its second batch, the fourth of all."""

        batches = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.batches += 1
            if self.batches == 4:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)

    whole, first = made(), made()
    fit(whole, epochs=2, **options)
    with pytest.raises(KeyboardInterrupt):
        fit(first, epochs=2, callbacks=[backup(), Ends()], **options)
    second = made()
    keras.utils.set_random_seed(5)  # that of another process
    fit(second, epochs=2, callbacks=[backup()], **options)
    assert same(whole, second) is resumes
    assert steps_of(second)[0] == (4 if save_freq == "epoch" else 5), "a batch is repeated"


def test_an_uncompiled_model_is_saved(tmp_path):
    model = GAN(3, 2)
    model.save(tmp_path / "gan.keras")
    reloaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert not reloaded.compiled
    assert (reloaded.noise_size, reloaded.discriminator_steps) == (3, 2)
    assert (GAN().noise_size, GAN().discriminator_steps) == (2, 1)
    assert same(model, reloaded)


# --- what fit still does ------------------------------------------------------------------------------------------


class Default(GAN):
    """Compiled with the default optimizer of Keras."""

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        super().compile(generator_optimizer, discriminator_optimizer)
        keras.Model.compile(self, **kwargs)


@pytest.mark.proves(
    "`LearningRateScheduler` looks at `model.optimizer`, finds `None`, and raises `Optimizer must have a "
    '"learning_rate" attribute`.',
    "Without `optimizer=None`, it silently sets the rate of an `RMSprop` that trains nothing.",
)
def test_callbacks_of_the_learning_rate(recwarn):
    model = made()
    assert model.optimizer is None
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    with pytest.raises(ValueError, match='Optimizer must have a "learning_rate" attribute'):
        fit(model, callbacks=[scheduler])
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="generator_loss", mode="min")
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'learning_rate'"):
        fit(model, callbacks=[plateau])

    default = made(Default)
    assert type(default.optimizer) is keras.optimizers.RMSprop
    reported = fit(default, callbacks=[scheduler])
    assert reported["learning_rate"] == [pytest.approx(0.1)]
    falls = keras.callbacks.ReduceLROnPlateau(monitor="generator_loss", mode="max", factor=0.1, min_delta=9, patience=1)
    fit(default, epochs=3, batch_size=64, callbacks=[falls])
    assert float(default.optimizer.learning_rate) < 0.05
    assert int(default.optimizer.iterations) == 0
    for part in PARTS:
        assert float(getattr(default, f"{part}_optimizer").learning_rate) == pytest.approx(0.002)
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


@pytest.mark.proves("Write one that sets both:", "Halves both learning rates after each epoch.")
def test_both_rates_are_halved():
    model = made(dtype="mixed_float16")  # the page's own is in float32
    fit(model, epochs=2, batch_size=64, callbacks=[HalveRates()])
    for part in PARTS:
        optimizer = getattr(model, f"{part}_optimizer")
        assert float(optimizer.learning_rate) == pytest.approx(0.002 / 4)


class MeasuresPoints(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        points = self.model.predict(NOISE, verbose=0)
        logs["near"] = np.mean(np.linalg.norm(points - CENTERS, axis=-1) < 0.4)


@pytest.mark.proves(
    "Measure what is made in a callback that writes it into `logs`, before `EarlyStopping` and `ModelCheckpoint` in "
    "the list, which then monitor it. Without a `mode` they raise."
)
def test_a_measure_is_monitored(tmp_path):
    def callbacks():
        saved = keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="near", mode="max", save_best_only=True
        )
        stop = keras.callbacks.EarlyStopping(monitor="near", mode="max", patience=2, min_delta=2)
        return [MeasuresPoints(), saved, stop]

    model = made()
    history = fit(model, epochs=9, batch_size=64, callbacks=callbacks())
    assert list(history) == ["discriminator_loss", "generator_loss", "near"]
    near = history["near"]
    assert len(near) == 3, "stopped"
    expected = np.mean(np.linalg.norm(model.predict(NOISE, verbose=0) - CENTERS, axis=-1) < 0.4)
    assert near[-1] == pytest.approx(expected)
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert np.mean(np.linalg.norm(best(NOISE) - CENTERS, axis=-1) < 0.4) == pytest.approx(max(near))
    assert steps_of(best)[0] == 1 + int(np.argmax(near))

    with pytest.warns(UserWarning, match="near"):
        fit(made(), batch_size=64, callbacks=callbacks()[::-1])
    for undirected in (
        keras.callbacks.EarlyStopping(monitor="near"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="near", save_best_only=True),
    ):
        with pytest.raises(ValueError, match="Pass `mode='max'`"):
            fit(model, batch_size=64, callbacks=[undirected])


@pytest.mark.proves("`run_eagerly=True` and `steps_per_execution` give the same losses and weights.")
def test_eager_and_several_steps():
    expected = made(optimizer=sgd(), compiled={"run_eagerly": False})
    losses = fit(expected)
    for compiled in ({"run_eagerly": True}, {"steps_per_execution": 3}):
        model = made(optimizer=sgd(), compiled=compiled)
        found = fit(model)
        for name, values in losses.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5)
        contract.assert_same(model.get_weights(), expected.get_weights(), atol=1e-5)


class Regularized(GAN):
    regularizer, adds = keras.regularizers.L2(10.0), False

    def make_discriminator(self):
        policy = self.dtype_policy
        hidden = keras.layers.Dense(8, "relu", kernel_regularizer=self.regularizer, dtype=policy)
        return keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1, dtype=policy)])

    def compute_discriminator_loss(self, real, fake):
        loss = super().compute_discriminator_loss(real, fake)
        return loss + sum(self.discriminator.losses) if self.adds else loss


class NotRegularized(Regularized):
    regularizer = None


class Adds(Regularized):
    adds = True


@pytest.mark.proves(
    "Regularizers and `sample_weight` have no effect. For a `kernel_regularizer` of the discriminator, add "
    "`sum(self.discriminator.losses)` to its loss.",
    "`evaluate` and `validation_data` raise `No loss to compute`. With a regularizer, they compute that alone.",
)
def test_regularizers():
    classes = (NotRegularized, Regularized, Adds)
    plain, ignored, added = (made(cls, sgd(0.001), dtype="mixed_float16") for cls in classes)
    start = plain.discriminator.layers[0].kernel.numpy()
    for model in (plain, ignored, added):
        fit(model, batch_size=64)
    assert same(plain, ignored), "sample_weight is that of test_other_data"
    moved = added.discriminator.layers[0].kernel - plain.discriminator.layers[0].kernel
    np.testing.assert_allclose(moved, -0.001 * 2 * 10 * start, atol=1e-5)

    with pytest.raises(ValueError, match="No loss to compute"):
        plain.evaluate(X, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        fit(plain, batch_size=64, validation_data=(X, X))
    alone = float(ignored.discriminator.losses[0])
    assert ignored.evaluate(X, verbose=0, return_dict=True)["loss"] == pytest.approx(alone)
    found = fit(ignored, batch_size=64, validation_data=(X, X))["val_loss"]
    assert found == [pytest.approx(float(ignored.discriminator.losses[0]))]


@pytest.mark.proves(
    "With `use_ema=True`, call `optimizer.finalize_variable_values(weights)` after `fit`, which does so for "
    "`model.optimizer` only."
)
def test_moving_averages_of_weights():
    model = made(optimizer=lambda: keras.optimizers.Adam(0.002, use_ema=True))
    fit(model)
    before, weights = model.generator.get_weights(), model.generator.trainable_variables
    model.generator_optimizer.finalize_variable_values(weights)
    assert largest(before, model.generator.get_weights()) > 0.0001
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    plain.compile(keras.optimizers.Adam(0.002, use_ema=True), loss="mse")
    fit(plain, y=X[:, :1])
    before = plain.get_weights()
    plain.optimizer.finalize_variable_values(plain.trainable_variables)
    assert largest(before, plain.get_weights()) == 0, "fit did it"


@pytest.mark.parametrize("kind", ["dataset", "tuple", "generator"])
def test_other_data(kind):
    expected, model = made(), made()
    fit(expected)
    if kind == "dataset":
        model.fit(tf.data.Dataset.from_tensor_slices(X).batch(32), shuffle=False, verbose=0)
    elif kind == "tuple":
        fit(model, y=np.zeros(64), sample_weight=np.zeros(64))
    else:
        model.fit(((X[start : start + 32],) for start in (0, 32)), shuffle=False, steps_per_epoch=2, verbose=0)
    assert same(model, expected)


@pytest.mark.proves("One optimizer instance for both networks | `Unknown variable`")
def test_one_optimizer_for_both():
    one, model = keras.optimizers.Adam(), GAN()
    with pytest.raises(ValueError, match="Unknown variable"):
        model.compile(one, one) or fit(model)


# --- several steps and the penalty --------------------------------------------------------------------------------


@pytest.mark.proves(
    "`discriminator_steps=5` makes five steps for each of the generator, on the same real points with new noise."
)
def test_discriminator_steps():
    model = made(optimizer=sgd(), discriminator_steps=5)
    seen = []
    loss = model.compute_discriminator_loss
    model.compute_discriminator_loss = lambda real, fake: seen.append((real, fake)) or loss(real, fake)
    fit(model, batch_size=64)
    assert steps_of(model) == [1, 5]
    assert len(seen) == 5
    for (real, fake), (next_real, next_fake) in itertools.pairwise(seen):
        np.testing.assert_array_equal(real, next_real)
        assert np.all(np.any(fake != next_fake, axis=-1))


@pytest.mark.proves(
    "A Wasserstein GAN replaces the losses, and nothing else:",
    "The discriminator is pulled towards a slope of 1 between real points and made ones "
    "(Gulrajani et al., 2017, arXiv:1704.00028).",
)
def test_the_penalty_brings_the_slope_to_one(seed):
    keras.utils.set_random_seed(seed)
    x = np.random.normal(size=(6400, 2)).astype("float32") + 2
    page = shown(MODULE, "penalty", seed=seed, x=x, noise=NOISE[:1].repeat(1000, axis=0))
    assert page.printed == "mean slope between 0.7 and 1.3: True"
    untrained = WGANGP()
    assert np.mean(untrained.slopes(X, untrained(NOISE))) < 0.5
    assert {name for name in vars(WGANGP) if "step" in name or name == "compile"} == set()


class OfImages(WGANGP):
    def make_generator(self):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(48), keras.layers.Reshape((4, 4, 3))])

    def make_discriminator(self):
        layers = [keras.layers.Flatten(), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((4, 4, 3)), *layers])


@pytest.mark.proves("`slopes` takes images as well.")
@pytest.mark.parametrize("rows", [4, 6])
def test_the_slopes_of_images(rows):
    """Four rows are as many as an image is high: shares and sums over another axis would be broadcast."""
    model = made(OfImages, discriminator_steps=2)
    real = np.random.normal(size=(rows, 4, 4, 3)).astype("float32")
    state, fake = model.random.state.numpy(), model(NOISE[:rows]).numpy()
    found = model.slopes(real, fake)
    model.random.state.assign(state)
    share = keras.random.uniform((rows, 1), seed=model.random).numpy()
    real_flat, fake_flat = real.reshape(rows, -1), fake.reshape(rows, -1)
    kernel, bias, last, _ = model.discriminator.get_weights()
    hidden = np.tanh((real_flat + share * (fake_flat - real_flat)) @ kernel + bias)
    np.testing.assert_allclose(found, np.linalg.norm((last.T * (1 - hidden**2)) @ kernel.T, axis=-1), rtol=1e-3)
    model.fit(real, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.proves("The inner tape stands inside that of the step, which differentiates it once more, as")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_penalty_and_its_gradient(dtype):
    model = made(WGANGP, dtype=dtype)
    state, fake = model.random.state.numpy(), model(NOISE)
    real = X.astype(dtype)
    share = ops.cast(keras.random.uniform((64, 1), seed=model.random), dtype)
    between = (real + share * (fake - real)).numpy()
    step = 1e-6 if dtype == "float64" else 1e-3
    rises = [(model.judge(between + way) - model.judge(between - way)) / (2 * step) for way in step * np.eye(2)]
    expected = np.hypot(*(np.asarray(one).ravel() for one in rises))
    model.random.state.assign(state)
    np.testing.assert_allclose(model.slopes(real, fake), expected, rtol=0.1, atol=0.02)

    model.random.state.assign(state)
    with tf.GradientTape() as tape:
        penalty = ops.mean(ops.square(model.slopes(real, fake) - 1))
    kernel = model.discriminator.layers[-1].kernel
    gradient = np.asarray(tape.gradient(penalty, kernel))
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)
    if dtype == "float64":
        start = kernel.numpy()
        sides = []
        for sign in (1, -1):
            kernel.assign(start + sign * 1e-5 * gradient)
            model.random.state.assign(state)
            sides.append(float(ops.mean(ops.square(model.slopes(real, fake) - 1))))
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(np.sum(gradient**2), rel=1e-3)


@pytest.mark.proves(
    "Under `mixed_float16`, the first of these discriminator steps may overflow. They are skipped until the loss scale "
    "has fallen."
)
def test_the_penalty_under_mixed_precision():
    calm = made(WGANGP, sgd(), dtype="mixed_float16")
    calm.discriminator.set_weights([weight / 2 for weight in calm.discriminator.get_weights()])
    fit(calm, batch_size=64)
    assert int(calm.discriminator_optimizer.inner_optimizer.iterations) == 1
    model, made_steps, scales = made(WGANGP, sgd(), dtype="mixed_float16"), [], []
    for _ in range(4):
        fit(model, batch_size=64)
        made_steps.append(int(model.discriminator_optimizer.inner_optimizer.iterations))
        scales.append(float(model.discriminator_optimizer.dynamic_scale))
        assert model.compute_discriminator_loss(X, model(NOISE)).dtype == "float32"
    assert made_steps[0] == 0
    assert 1 <= made_steps[-1] < 4
    assert scales[-1] < 32768
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


# --- one loss -----------------------------------------------------------------------------------------------------


def line(pattern: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(8, activation="tanh", name="encoder"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((2,)), *layers], name="line")
    slow = keras.optimizers.Adam(0.0001, name="slow")
    by_path = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.01, name="fast"), {pattern: slow})
    model.compile(keras.optimizers.MultiOptimizer(by_path), "mse", run_eagerly=True)
    return model


@pytest.mark.proves(
    "Parts that share one loss, such as an encoder and a head, need no step of your own.",
    'A pattern has to match the whole path. `"encoder/.*"` matches none here, and the encoder silently gets the '
    "default.",
    "`LearningRateScheduler` sets the rates of all: `lambda epoch, rate: rate / 2` keeps their ratio, "
    "`lambda epoch: 0.005` makes them equal.",
)
@pytest.mark.parametrize(("pattern", "step"), [(".*encoder.*", 0.0001), ("encoder/.*", 0.01)])
def test_several_optimizers_of_one_loss(pattern, step, recwarn, tmp_path):
    model = line(pattern)
    before = model.get_weights()
    fit(model, y=X[:, :1], batch_size=64)
    assert largest(before[:1], model.get_weights()[:1]) == pytest.approx(step, rel=0.01)
    halves = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    fit(model, y=X[:, :1], callbacks=[halves])
    rates = sorted(float(one.learning_rate) for one in model.optimizer.optimizers)
    assert rates == [pytest.approx(0.00005), pytest.approx(0.005)]
    fit(model, y=X[:, :1], callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.005)])
    assert [float(one.learning_rate) for one in model.optimizer.optimizers] == [pytest.approx(0.005)] * 2
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


@pytest.mark.proves(
    "In a step of your own, nothing tells you of a weight that no optimizer owns, or two. This check does, if you give "
    "it the parts whose weights the optimizers get, one for each:",
    "Raise unless each trainable weight belongs to exactly one part.",
)
def test_each_weight_has_one_owner():
    one_loss = line(".*")
    page = shown(MODULE, "owned", model=made(), line=one_loss, encoder=one_loss.layers[0])
    told = page.printed.splitlines()
    assert told == ["line/head/kernel has 0 optimizers", "line/encoder/kernel has 2 optimizers"]
    model = made()
    check_owned_once(model, model.generator, model.discriminator)
    check_owned_once(model, model)
    for parts, count in (((model.generator,), 0), ((model.generator, model), 2), ((), 0)):
        with pytest.raises(ValueError, match=f"kernel has {count} optimizers"):
            check_owned_once(model, *parts)
    model.generator.trainable = False
    check_owned_once(model, model.discriminator)

    unbuilt = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Build the model first"):  # its second layer belongs to none
        check_owned_once(unbuilt, unbuilt.layers[0])


def test_the_module_defines_what_the_page_shows():
    assert two_networks.network(3, 1, keras.DTypePolicy("float32"))(np.ones((4, 3))).shape == (4, 1)


# --- several devices --------------------------------------------------------------------------------------------------


class SameNoise(GAN):
    """Made points that don't depend on chance, and losses that are divided by the number of devices if it says so."""

    parts = 1

    def draw_noise(self, size):
        return tf.fill((size, self.noise_size), 0.3)

    def compute_discriminator_loss(self, real, fake):
        return super().compute_discriminator_loss(real, fake) / self.parts

    def compute_generator_loss(self, fake):
        return super().compute_generator_loss(fake) / self.parts


def first_step(strategy: tf.distribute.Strategy, parts: int) -> tuple[np.ndarray, ...]:
    """How far a step of both networks moves the weights of each."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        gan = SameNoise()
        gan.parts = parts
        gan.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
    before = [flat(gan.discriminator), flat(gan.generator)]
    gan.fit(X, batch_size=len(X), shuffle=False, verbose=0)
    return flat(gan.discriminator) - before[0], flat(gan.generator) - before[1]


def flat(network: keras.Model) -> np.ndarray:
    return np.concatenate([one.ravel() for one in network.get_weights()])


def on_two_devices() -> tuple[list[tuple[np.ndarray, ...]], list[np.ndarray]]:
    two = two_replicas()
    with two.scope():
        gan = GAN()
    drawn = two.run(tf.function(lambda: gan.draw_noise(5)))
    noise = [one.numpy() for one in two.experimental_local_results(drawn)]
    return [first_step(two, 1), first_step(two, 2), first_step(tf.distribute.get_strategy(), 1)], noise


@pytest.mark.proves(
    "On two devices of a `MirroredStrategy`, the steps are twice as long, silently, until each loss is divided by "
    "their number. Both draw the same noise."
)
def test_two_devices(process):
    (undivided, divided, alone), (noise, other_noise) = process.call(on_two_devices)
    np.testing.assert_array_equal(noise, other_noise)
    assert np.linalg.norm(undivided[0]) / np.linalg.norm(alone[0]) == pytest.approx(2, rel=1e-3)
    assert np.linalg.norm(undivided[1]) / np.linalg.norm(alone[1]) > 1.8  # against a discriminator that moved farther
    for right, expected in zip(divided, alone, strict=True):
        np.testing.assert_allclose(right, expected, rtol=1e-3, atol=1e-6)
