"""`docs/training/training_loop.md`: every claim that the page makes, proved."""

from __future__ import annotations

import contextlib
import re
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.decisions.when_to_use import SkipBlock
from tests import contract
from tests.shown import shown

MODULE = "snippets.training.training_loop"


def a_line(samples: int = 64) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).uniform(-1, 1, size=(samples, 1)).astype("float32")
    return {"x": x, "y": 3 * x + 1}


# --- the program --------------------------------------------------------------------------------------------------


@pytest.fixture
def program(seed, monkeypatch):
    """The program with another seed, and with its batches in the order of the samples."""
    monkeypatch.setattr(tf.data.Dataset, "shuffle", lambda data, _size: data)
    return shown(MODULE, "program", seed=seed)


def fitted(page, seed: int) -> tuple[dict, list]:
    keras.utils.set_random_seed(seed)
    np.random.uniform(-1, 1, size=(410, 1))
    np.random.normal(0, 0.1, (410, 1))
    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1e-4))
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    stops = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    options = {"validation_data": page["unseen"], "epochs": 200, "shuffle": False, "callbacks": [stops], "verbose": 0}
    return model.fit(page["train"], **options).history, model.get_weights()


@pytest.mark.proves(
    "The loop learns a line, measures the loss on unseen samples after each epoch, stops when it hasn't fallen for "
    "five epochs, and saves the best weights:",
    "`fit` with `EarlyStopping(patience=5, restore_best_weights=True)` reports the same losses, stops in the same "
    "epoch and returns the same weights, if the batches come in the same order.",
    "Weights the losses of batches by their sizes | `mean.update_state(loss, sample_weight=len(x))`",
)
def test_the_loop_is_fit_with_early_stopping(program, seed):
    history, weights = fitted(program, seed)
    assert len(history["loss"]) == program["epoch"] + 1
    assert (program["waited"] == 5) == (program["epoch"] < 199)  # with seed 6, the loss falls in each of 200 epochs
    assert history["loss"][-1] == pytest.approx(program["loss"], rel=1e-4)
    assert history["val_loss"][-1] == pytest.approx(program["unseen_loss"], rel=1e-4)
    assert min(history["val_loss"]) == pytest.approx(program["best"], rel=1e-4)
    contract.assert_same(program["reloaded"].get_weights(), weights, atol=1e-5)
    contract.assert_same(program["model"].get_weights(), weights, atol=1e-5)
    printed = re.findall(r"epoch (\d+): ([\d.]+), unseen ([\d.]+)", program.printed)
    assert len(printed) > 1
    for epoch, loss, unseen in printed:
        reported = history["loss"][int(epoch)], history["val_loss"][int(epoch)]
        assert (float(loss), float(unseen)) == pytest.approx(reported, abs=0.006)


# --- what fit does by itself --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def once():
    return shown(MODULE, "program", seed=1)


@pytest.mark.proves(
    "Shuffles the samples | `shuffle` of the dataset, before `batch`, with a buffer that holds all samples"
)
def test_what_shuffle_shuffles():
    """Behind `batch`, whole batches change places; with a small buffer, samples stay near their place."""
    numbers = tf.data.Dataset.range(1000)
    behind = next(iter(numbers.batch(10).shuffle(100, seed=1))).numpy()
    np.testing.assert_array_equal(np.diff(behind), 1)
    near = np.array(list(numbers.shuffle(10, seed=1).as_numpy_iterator()))
    assert (near - np.arange(1000)).max() < 10
    whole = np.array(list(numbers.shuffle(1000, seed=1).as_numpy_iterator()))
    assert np.abs(whole - np.arange(1000)).mean() > 200


@pytest.mark.proves(
    "Passes `training` | `model(x, training=True)` in a training step, `training=False` in an evaluation",
    "Adds the penalties of regularizers and `add_loss` | `loss += sum(model.losses)`, after the call of the model",
)
def test_training_and_the_losses_are_of_the_last_call():
    class AddsALoss(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(ops.mean(inputs))
            return inputs

    layers = [keras.Input((1,)), AddsALoss(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential(layers)
    for value in (2.0, 3.0):
        model(tf.fill((8, 1), value))
        assert float(sum(model.losses)) == value
    mean = model.layers[1].moving_mean
    x = a_line()["x"] + 5
    quiet = np.asarray(model(x, training=False))
    np.testing.assert_array_equal(quiet, model(x))
    assert float(mean.numpy()[0]) == 0
    assert np.sum(np.asarray(model(x, training=True)) == 0) > 10
    assert float(mean.numpy()[0]) > 0.01


@pytest.mark.proves("Resets metrics | A new metric for each epoch, or `metric.reset_state()`")
def test_a_metric_goes_on_until_it_is_reset():
    mean = keras.metrics.Mean()
    mean.update_state(4.0)
    mean.update_state(2.0)
    assert float(mean.result()) == 3
    mean.reset_state()
    mean.update_state(2.0)
    assert float(mean.result()) == 2


@pytest.mark.proves(
    "Scales the loss under `mixed_float16` | `keras.optimizers.LossScaleOptimizer(optimizer)`, and `scale_loss` in the "
    "tape"
)
def test_the_step_of_the_page_under_mixed_precision(once):
    keras.config.set_dtype_policy("mixed_float16")
    moved, loss_of = {}, once["loss_of"].python_function
    x, y = tf.fill((32, 1), 1e-3), tf.fill((32, 1), 1e-5)
    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((1,)), dense])
        optimizer = wrap(keras.optimizers.SGD(0.1))
        optimizer.build(model.trainable_variables)
        with mock.patch.dict(once.namespace, model=model, optimizer=optimizer, loss_of=loss_of):
            once["train_step"].python_function(x, y)
        moved[type(optimizer).__name__] = dense.kernel.numpy().item()
    assert moved["SGD"] == 0
    assert moved["LossScaleOptimizer"] == pytest.approx(0.1 * 2 * 1e-5 * 1e-3, rel=0.05)


@pytest.mark.proves(
    "Takes the averaged weights of `use_ema=True` | `optimizer.finalize_variable_values(weights)` after the last epoch"
)
def test_the_averaged_weights_are_taken_at_the_end():
    weight = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer.build([weight])
    for _ in range(2):
        optimizer.apply([tf.ones(1)], [weight])
    assert float(weight.numpy()[0]) == -2
    optimizer.finalize_variable_values([weight])
    assert -2 < float(weight.numpy()[0]) < 0


@pytest.mark.proves(
    "Calls callbacks | the early stopping above, or `keras.callbacks.CallbackList([…], model=model)`: set "
    "`model.stop_training = False`, call `on_train_begin()`, `on_epoch_begin(epoch)` and `on_epoch_end(epoch, logs)`, "
    "and look at `model.stop_training`. End with `on_train_end()`, where `EarlyStopping` restores the best weights."
)
def test_callbacks_of_keras_in_a_loop(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    stops = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    keeps = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    callbacks = keras.callbacks.CallbackList([stops, keeps], model=model)
    with pytest.raises(AttributeError):
        model.stop_training  # noqa: B018
    model.stop_training = False
    callbacks.on_train_begin()
    for epoch, loss in enumerate((3.0, 1.0, 2.0, 2.0, 2.0)):
        callbacks.on_epoch_begin(epoch)
        model.layers[0].bias.assign([loss])
        callbacks.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            break
    assert float(model.layers[0].bias.numpy()[0]) == 2
    callbacks.on_train_end()
    assert epoch == 3
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert float(best.layers[0].bias.numpy()[0]) == float(model.layers[0].bias.numpy()[0]) == 1


@pytest.mark.proves("Callbacks that use the optimizer need `model.optimizer`.")
def test_callbacks_that_use_the_optimizer_in_a_loop():
    for make in (
        lambda: keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=100),
        lambda: keras.callbacks.LearningRateScheduler(lambda index, rate: rate / (2 if index else 1)),
    ):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.stop_training = False
        for optimizer in (None, keras.optimizers.SGD(0.1)):
            if optimizer:
                model.optimizer = optimizer
            callbacks = keras.callbacks.CallbackList([make()], model=model)
            callbacks.on_train_begin()
            without = pytest.raises(AttributeError, match="has no attribute 'optimizer'")
            with contextlib.nullcontext() if optimizer else without:
                for epoch in range(2):
                    callbacks.on_epoch_begin(epoch)
                    callbacks.on_epoch_end(epoch, {"val_loss": 1.0})
                callbacks.on_train_end()
        assert float(optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.proves("Draws a progress bar | `keras.utils.Progbar(steps)`, whose `update(step)` you call")
def test_the_progress_bar(capsys):
    bar = keras.utils.Progbar(2)
    bar.update(1)
    bar.update(2, finalize=True)
    assert "2/2" in capsys.readouterr().out


# --- tf.function --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Its Python, a `print` too, runs once for each kind of arguments, and not for each batch.",
    "A last batch of another size is traced once more. A Python number as an argument is traced for each value: pass a "
    "tensor.",
)
def test_when_the_python_of_a_step_runs():
    traced = []

    @tf.function
    def step(x, factor=None):
        traced.append(x.shape)
        return x if factor is None else factor * x

    for _ in range(3):
        step(tf.ones((32, 1)))
    assert len(traced) == 1
    for _ in range(3):
        step(tf.ones((10, 1)))
        step(tf.ones((32, 1)))
    assert len(traced) == 2
    for size in (3, 4, 5):
        step(tf.ones((size, 1)))
    assert len(traced) > 2
    traced.clear()
    for factor in (1.0, 2.0, 3.0):
        step(tf.ones((32, 1)), factor)
    assert len(traced) == 3
    traced.clear()
    for factor in (1.0, 2.0, 3.0):
        step(tf.ones((32, 1)), tf.constant(factor))
    assert len(traced) == 1


@pytest.mark.proves("If it makes variables, it runs twice the first time.")
@pytest.mark.parametrize("makes", ["nothing", "the optimizer's", "the model's"])
def test_a_step_that_makes_variables_is_traced_twice(makes, capsys):
    layers = [keras.layers.Dense(1)] if makes == "the model's" else [keras.Input((1,)), keras.layers.Dense(1)]
    model, optimizer = keras.Sequential(layers), keras.optimizers.Adam()
    if makes == "nothing":
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(x):
        print("runs")
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    for size, times in ((32, 1 if makes == "nothing" else 2), (10, 1)):
        for _ in range(3):
            step(tf.ones((size, 1)))
        assert capsys.readouterr().out.count("runs") == times


@pytest.mark.proves(
    "A step that meets a second model or optimizer that isn't built raises "
    "`tf.function only supports singleton tf.Variables`, or `Creating variables on a non-first call`, where the first "
    "was built."
)
def test_a_step_that_builds_twice_raises(once):
    step, x, y = once["train_step"], tf.constant(once["x"][:32]), tf.constant(once["y"][:32])

    @tf.function
    def with_optimizer(optimizer, x, y):
        del x, y
        optimizer.apply([ops.ones_like(weight) for weight in once["model"].weights], once["model"].trainable_variables)

    with_optimizer(keras.optimizers.Adam(), x, y)  # the first may create its variables in the step
    with pytest.raises(ValueError, match="only supports singleton"):
        with_optimizer(keras.optimizers.Adam(), x, y)
    built = keras.optimizers.Adam()
    built.build(once["model"].trainable_variables)
    with_optimizer(built, x, y)
    assert step(x, y).shape == ()

    for first, message in ((False, "only supports singleton"), (True, "Creating variables on a non-first call")):
        one, other = (keras.Sequential([keras.layers.Dense(1)]) for _ in range(2))
        if first:
            one.build((None, 1))
        calls = tf.function(lambda model, x: model(x))
        calls(one, x)
        with pytest.raises(ValueError, match=message):
            calls(other, x)
    after_built = tf.function(with_optimizer.python_function)
    after_built(built, x, y)
    with pytest.raises(ValueError, match="Creating variables on a non-first call"):
        after_built(keras.optimizers.Adam(), x, y)


@pytest.mark.proves(
    "`loss.numpy()` in the step raises: there the loss has no value yet. Return it.",
    "To look into a step, call `tf.config.run_functions_eagerly(True)`, and `print` shows numbers.",
)
def test_a_step_has_no_numbers_until_it_is_run_eagerly(capsys):
    @tf.function
    def step(x):
        return x.numpy()

    with pytest.raises(AttributeError):
        step(tf.constant(2.5))

    @tf.function
    def prints(x):
        print(x)
        return x

    prints(tf.constant(2.5))
    assert "2.5" not in capsys.readouterr().out
    tf.config.run_functions_eagerly(True)
    try:
        prints(tf.constant(2.5))
    finally:
        tf.config.run_functions_eagerly(False)
    assert "2.5" in capsys.readouterr().out
    assert float(prints(tf.constant(2.5))) == 2.5


# --- save and resume ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resumed():
    x, y = a_line(200).values()
    return shown(MODULE, "resume", data=tf.data.Dataset.from_tensor_slices((x, y)), seed=3)


@pytest.mark.proves(
    "To go on after a crash as if nothing had happened, save all that changes: the model, the optimizer, the number of "
    "the epoch, and the states of random numbers.",
    "The order of the samples depends on the epoch alone, because its number is the seed:",
    "`Checkpoint(model=model, optimizer=optimizer)` doesn't restore the state of the dropout's random numbers, "
    "silently: with the same seed, the resumed run draws the numbers of the first epochs again. A list of "
    "`model.variables` holds it.",
)
def test_a_resumed_run_is_the_one_without_a_break(resumed):
    assert resumed.printed.splitlines() == [
        "by variables: True, as without a break: True",
        "by variables: False, as without a break: False",
    ]
    start, train_until = resumed["start"], resumed["train_until"]
    for by_variables in (True, False):
        model, optimizer, checkpoint = start(by_variables)
        train_until(1, model, optimizer, checkpoint)
        with contract_folder() as folder:
            path = checkpoint.save(f"{folder}/checkpoint")
            other, its_optimizer, its_checkpoint = start(by_variables)
            its_checkpoint.restore(path).assert_existing_objects_matched()  # nothing is said
        assert int(its_checkpoint.epoch) == 1
        contract.assert_same(other.get_weights(), model.get_weights())
        its, expected = ([np.asarray(v) for v in one.variables] for one in (its_optimizer, optimizer))
        contract.assert_same(its, expected)
        states = [one.layers[1].seed_generator.state.numpy().tolist() for one in (model, other)]
        assert states[0][1] == 200 // 64 + 1
        assert (states[0] == states[1]) == by_variables
        assert states[1] == start(by_variables)[0].layers[1].seed_generator.state.numpy().tolist() or by_variables
    orders = [
        [x[0, 0] for x, _ in resumed["data"].shuffle(410, seed=n).batch(64).as_numpy_iterator()] for n in (0, 1, 0)
    ]
    assert orders[0] == orders[2] != orders[1]


@contextlib.contextmanager
def contract_folder():
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.mark.proves("Neither does `.keras`: a loaded model draws other numbers.")
def test_a_loaded_model_draws_other_numbers(tmp_path):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5)])
    x = np.ones((4, 50), "float32")
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not np.array_equal(reloaded(x, training=True), model(x, training=True))


# --- clip each sample ---------------------------------------------------------------------------------------------


@pytest.fixture
def clipping(seed):
    return shown(MODULE, "program", "clip_the_mean", "clip_each_sample", seed=seed)


@pytest.mark.proves(
    "Eight labels are wrong by 100, and the true line is 3 x + 1.",
    "By then the wrong labels have already changed its direction, and the line is wrong with both:",
    "A step of your own has the gradient of each sample, and clips it before averaging.",
    'Against wrong labels alone, `loss="huber"` is the smaller thing, and finds the same line.',
)
def test_only_clipping_each_sample_finds_the_line(clipping):
    wrong = clipping["wrong"] - clipping["y"]
    assert np.sum(np.isclose(wrong, 100, atol=1e-3)) == 8
    assert np.sum(wrong == 0) == len(wrong) - 8
    *_, stopped, none, of_each, of_all, each = clipping.printed.splitlines()
    of_the_mean = [none, of_each, of_all]
    assert stopped.startswith("stopped early")
    for line in of_the_mean:
        assert float(line.rsplit(" ", 1)[1]) > 1.5, line
    slope, intercept = (weight.numpy().item() for weight in clipping["model"].weights)
    assert each == f"each sample clipped: {slope:.1f} x + {intercept:.1f}"
    assert (slope, intercept) == pytest.approx((3, 1), abs=0.1)

    huber = clipping["make_line"]()
    huber.compile(optimizer=keras.optimizers.SGD(0.1), loss="huber")
    huber.fit(clipping["x"], clipping["wrong"], epochs=20, shuffle=False, verbose=0)
    assert [weight.numpy().item() for weight in huber.weights] == pytest.approx([3, 1], abs=0.1)


@pytest.mark.proves(
    "The optimizer's `clipnorm` clips the averaged gradient of each weight, "
    "`global_clipnorm` that of all weights together."
)
def test_what_the_options_clip():
    lengths = {}
    for option in ("clipnorm", "global_clipnorm"):
        weights = [keras.Variable([0.0]), keras.Variable([0.0])]
        keras.optimizers.SGD(1.0, **{option: 1.0}).apply([tf.constant([30.0]), tf.constant([40.0])], weights)
        lengths[option] = [abs(weight.numpy().item()) for weight in weights]
    assert lengths["clipnorm"] == [1, 1]
    assert lengths["global_clipnorm"] == pytest.approx([0.6, 0.8])


@pytest.fixture(scope="module")
def one_batch():
    """The page's clipped step, with a model of its own before it has seen anything."""
    page = shown(MODULE, "clip_the_mean", "clip_each_sample", seed=1, **a_line())
    for weight in page["model"].weights:
        weight.assign(ops.zeros_like(weight))
    return page


def stepped(page, step, x, y) -> np.ndarray:
    for weight in page["weights"]:
        weight.assign(ops.zeros_like(weight))
    step(tf.constant(x, "float32"), tf.constant(y, "float32"))
    return np.concatenate([weight.numpy().ravel() for weight in page["weights"]])


@pytest.mark.proves("No sample of a batch of 32 then moves the mean by more than 1/32:")
def test_each_sample_moves_the_mean_by_at_most_its_share(one_batch):
    x, y = np.full((32, 1), 2.0), np.zeros((32, 1))
    y[5] = 1000.0  # the other samples are predicted, and pull at nothing
    moved = stepped(one_batch, one_batch["clipped_step"], x, y)
    assert np.linalg.norm(moved / 0.1) == pytest.approx(1 / 32, rel=1e-4)
    y[5] = 0.1  # a gradient of 0.45 is left as it is
    moved = stepped(one_batch, one_batch["clipped_step"], x, y)
    np.testing.assert_allclose(moved / 0.1, [2 * 0.1 * 2 / 32, 2 * 0.1 / 32], rtol=1e-4)


@pytest.mark.proves("In float32, the same lines work in a `train_step`, under `fit`.")
def test_fit_clips_each_sample_in_a_train_step(clipping):
    class Clips(keras.Sequential):
        def train_step(self, data):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            own = {"model": self, "weights": self.trainable_variables, "optimizer": self.optimizer}
            with mock.patch.dict(clipping.namespace, own):
                clipping["clipped_step"].python_function(x, y)
            return {"loss": tf.constant(0.0)}

    model = Clips(clipping["make_line"]().layers)
    model.compile(keras.optimizers.SGD(0.1))
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    model.fit(clipping["x"], clipping["wrong"], batch_size=32, epochs=20, shuffle=False, verbose=0)
    contract.assert_same(model.get_weights(), clipping["model"].get_weights(), atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_clipped_step_is_the_formula_for_a_batch_of_unknown_size(one_batch, jit_compile):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 1)), 3 * rng.normal(size=(7, 1))
    gradients = np.concatenate([-2 * y * x, -2 * y], axis=1)  # at weights of 0
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    expected = -0.1 * np.mean(gradients * np.minimum(1, 1 / norms), axis=0)
    assert norms.min() < 1 < norms.max()
    step = one_batch["clipped_step"].python_function
    unknown = tf.TensorSpec((None, 1))
    options = {"jit_compile": True} if jit_compile else {"input_signature": [unknown, unknown]}
    step = tf.function(step, **options)
    np.testing.assert_allclose(stepped(one_batch, step, x, y), expected, rtol=1e-4)


@pytest.mark.proves("The jacobian holds one gradient for each sample.")
def test_the_size_of_the_jacobian(one_batch, monkeypatch):
    sizes, jacobian = [], tf.GradientTape.jacobian

    def measured(*args, **kwargs):
        found = jacobian(*args, **kwargs)
        sizes.append(sum(int(tf.size(part)) for part in found))
        return found

    monkeypatch.setattr(tf.GradientTape, "jacobian", measured)
    stepped(one_batch, one_batch["clipped_step"].python_function, np.ones((9, 1)), np.ones((9, 1)))
    assert sizes == [9 * one_batch["model"].count_params()]


def tensor_sizes(step, batch: int, shape: tuple[int, ...] = (1,)) -> set[int]:
    """How many numbers each tensor of a step's graph holds, at a fixed batch size."""
    specs = [tf.TensorSpec((batch, *shape)), tf.TensorSpec((batch, 1))]
    graph = tf.function(step).get_concrete_function(*specs).graph
    tensors = [output for operation in graph.get_operations() for output in operation.outputs]
    return {output.shape.num_elements() or 0 for output in tensors if output.shape.is_fully_defined()}


def jacobian_of(model, **options):
    weights = [weight.value for weight in model.trainable_variables]

    def jacobian(x, y):
        with tf.GradientTape() as tape:
            losses = keras.losses.mean_squared_error(y, model(x))
        return tape.jacobian(losses, weights, **options)

    return jacobian


JACOBIAN_MEMORY = (
    "While it is computed, each activation after the first trainable weight has a gradient for each pair of samples. "
    "For a layer with w trainable weights and o outputs for a sample, the jacobian is batch × w numbers, "  # noqa: RUF001
    "and the gradients of the pairs are at least batch² × o numbers."  # noqa: RUF001
)
POOLED = {1: keras.layers.GlobalAveragePooling1D, 2: keras.layers.GlobalAveragePooling2D, 0: keras.layers.Identity}


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: keras.layers.Conv2D(4, 3, padding="same", use_bias=False), (8, 8, 1)),
        (lambda: keras.layers.Conv2D(4, 3, strides=4, use_bias=False), (9, 9, 1)),  # fewer outputs than weights
        (lambda: keras.layers.Dense(50, use_bias=False), (30,)),
        (lambda: keras.layers.Dense(50, use_bias=False), (100, 30)),  # of a sequence, more features than samples
    ],
    ids=["convolution", "strides", "dense", "dense on a sequence"],
)
@pytest.mark.proves(JACOBIAN_MEMORY)
def test_the_memory_of_the_jacobian_and_of_the_pairs(make, shape, batch):
    layer = make()
    ends = [POOLED[len(shape) - 1](), keras.layers.Dense(1, use_bias=False)]
    model = keras.Sequential([keras.Input(shape), layer, *ends])
    weights, outputs = layer.count_params(), int(np.prod(layer.output.shape[1:]))
    sizes = tensor_sizes(jacobian_of(model), batch, shape)
    assert {batch * weights, batch**2 * outputs} <= sizes
    assert max(sizes) == max(batch * weights, batch**2 * outputs, batch * int(np.prod(shape)))
    layer.trainable = False
    assert batch == 1 or batch**2 * outputs not in tensor_sizes(jacobian_of(model), batch, shape)


@pytest.mark.proves(JACOBIAN_MEMORY)
def test_of_a_layer_that_contains_layers_the_pairs_take_more():
    batch = 16
    model = keras.Sequential([keras.Input((4,)), SkipBlock(100), keras.layers.Dense(1)])
    assert {batch**2 * 4, batch**2 * 100} <= tensor_sizes(jacobian_of(model), batch, (4,))


@pytest.mark.proves(
    JACOBIAN_MEMORY,
    "Use small batches, or `jacobian(…, experimental_use_pfor=False)`: in a `tf.function`, as here, it takes one "
    "sample after another, without the pairs.",
)
def test_the_jacobian_of_one_sample_after_another_has_no_pairs(one_batch):
    clipped = one_batch["clipped_step"].python_function
    assert [max(tensor_sizes(clipped, batch)) for batch in (16, 32, 64)] == [16**2, 32**2, 64**2]

    layers = [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    by_pairs, by_sample = jacobian_of(model), jacobian_of(model, experimental_use_pfor=False)
    for batch in (1, 16, 64):
        assert max(tensor_sizes(by_sample, batch, (8, 8, 1))) == batch * 8 * 8 * 4
    x, y = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32"), np.ones((5, 1), "float32")
    contract.assert_same(by_pairs(x, y), tf.function(by_sample)(x, y), atol=1e-4)
    with pytest.raises(RuntimeError, match="persistent=True"):
        by_sample(x, y)


@pytest.mark.proves("The optimizer's `clipnorm` clips the averaged gradient of each weight")
def test_the_options_of_the_page_clip_to_the_norm_that_its_step_clips_to(monkeypatch):
    made = []

    class Kept(keras.optimizers.SGD):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(keras.optimizers, "SGD", Kept)
    page = shown(MODULE, "clip_the_mean", "clip_each_sample", seed=1, **a_line())
    *of_the_mean, _plain = made[-4:]
    for optimizer, expected in zip(of_the_mean, (10, 1, 1), strict=True):
        weight, other = (keras.Variable([0.0]) for _ in range(2))
        optimizer = Kept.from_config(optimizer.get_config())
        optimizer.apply([tf.constant([10.0]), tf.constant([0.0])], [weight, other])
        assert weight.numpy().item() == pytest.approx(-0.1 * expected)
    for weight in page["weights"]:
        weight.assign(ops.zeros_like(weight))
    page["clipped_step"](tf.constant([[0.0]]), tf.constant([[5.0]]))
    assert page["weights"][1].numpy().item() == pytest.approx(0.1 * 1)


# --- you may have seen --------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`metric.reset_states()` and `optimizer.minimize` are gone. Write `metric.reset_state()`, and `tape.gradient` with "
    "`optimizer.apply(gradients, weights)`. `optimizer.apply_gradients(zip(gradients, weights))` still does the same.",
    "`tape.gradient` outside of `tf.function`, for each batch: it computes the same, one operation at a time.",
)
def test_what_is_gone_and_what_is_the_same(once):
    assert not hasattr(keras.metrics.Mean(), "reset_states")
    assert not hasattr(keras.optimizers.SGD(), "minimize")
    results = []
    for name in ("apply", "apply_gradients"):
        weight, optimizer = keras.Variable([1.0]), keras.optimizers.Adam(0.1)
        gradients, weights = [tf.constant([3.0])], [weight]
        if name == "apply":
            optimizer.apply(gradients, weights)
        else:
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
        results.append(weight.numpy())
    np.testing.assert_array_equal(*results)

    x, y, losses = tf.constant(once["x"][:32]), tf.constant(once["y"][:32]), []
    start = once["model"].get_weights()
    for step in (once["train_step"], once["train_step"].python_function):
        once["model"].set_weights(start)
        count, _rate, *others = once["optimizer"].variables
        for variable in (count, *others):
            variable.assign(ops.zeros_like(variable))
        losses += [float(step(x, y)), float(step(x, y))]
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-3)
