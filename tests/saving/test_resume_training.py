"""`docs/saving/resume_training.md`: every claim that the page makes, proved."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import random
import re
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.prove.process import Page
from snippets.saving import resume_training
from snippets.saving.resume_training import Interrupts, Resume, ordered, variables_of, write_whole
from snippets.training.two_networks import GAN
from tests.shown import shown
from tests.site import SITE

NOT_IN_CONTRACT = {
    "Resume": "a callback: what it brings back is proved below",
    "Interrupts": "a callback that raises",
    "Line of unbuilt_fails": "it fails because it isn't built: tested below",
}
X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X[:, :1] * X[:, 1:2] + np.random.default_rng(1).normal(size=(40, 1)).astype("float32")
TRAIN, UNSEEN = (X[:24], Y[:24]), (X[24:], Y[24:])
STEPS, EPOCHS = 3, 3  # of batches of 10, 10 and 4

filterwarnings = pytest.mark.filterwarnings
pytestmark = filterwarnings("ignore:.*Skipping variable loading:UserWarning")


@keras.saving.register_keras_serializable(package="tests.saving.resume_training")
class Noise(keras.layers.Layer):
    """It has a random state and a state that isn't trained."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.random = keras.random.SeedGenerator()

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1)
            noise = keras.random.normal(keras.ops.shape(inputs), seed=self.random, dtype=self.compute_dtype)
            return inputs + 0.1 * noise
        return inputs


@keras.saving.register_keras_serializable(package="tests.saving.resume_training")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.3), Noise(), keras.layers.Dense(1)]

    def call(self, x, training=False):
        for one in self.parts:
            x = one(x) if isinstance(one, keras.layers.Dense) else one(x, training=training)
        return x


def layers() -> list[keras.layers.Layer]:
    own = keras.layers
    return [own.Dense(4, "tanh"), own.BatchNormalization(), own.Dropout(0.3), Noise(), own.Dense(1, dtype="float32")]


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *layers()])


def small() -> keras.Model:
    own = keras.layers
    return keras.Sequential([keras.Input((3,)), own.Dropout(0.3), own.Dense(1)])


def functional() -> keras.Model:
    inputs = outputs = keras.Input((3,))
    for layer in layers():
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def subclassed() -> keras.Model:
    model = Subclassed()
    model(X[:1])
    return model


def adam(**options) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(0.05, **options)


def made(kind=sequential, optimizer: Callable = adam, seed: int = 1, **compiled) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = kind()
    model.compile(optimizer(), "mse", **{"run_eagerly": True, **compiled})
    return model


MODELS: dict[Any, tuple[keras.Model, list[np.ndarray]]] = {}


def reused(kind=small, optimizer: Callable = adam, seed: int = 1, **compiled) -> keras.Model:
    """A model as new, in a graph that is traced once: all that it holds is what it began with."""
    key = (kind, optimizer, *compiled)
    if key not in MODELS:
        model = made(kind, optimizer, run_eagerly=False, **compiled)
        model.optimizer.build(model.trainable_variables)
        MODELS[key] = model, [one.numpy() for one in variables_of(model)]
    model, values = MODELS[key]
    for variable, value in zip(variables_of(model), values, strict=True):
        variable.assign(value)
    model._initial_epoch = None  # of BackupAndRestore
    keras.utils.set_random_seed(seed)
    return model


@cache
def unseen() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors(UNSEEN).cache()


@cache
def batched() -> tf.data.Dataset:
    """The rows in one order, for what doesn't depend on it: `fit` of arrays builds more."""
    return tf.data.Dataset.from_tensor_slices(TRAIN).batch(10).cache()


class At(keras.callbacks.Callback):
    """Calls a function in the nth call of a method."""

    def __init__(self, method: str, nth: int, function: Callable[[], Any]):
        super().__init__()
        self.left = nth

        def hook(*_args, **_logs):
            self.left -= 1
            if self.left == 0:
                function()

        setattr(self, method, hook)


def raises(error: type[BaseException]) -> Callable[[], None]:
    def function() -> None:
        raise error("interrupted")

    return function


def train(path, *, first=(), last=(), kept=None, model: Callable = reused, epochs=EPOCHS, data=None, **options):
    """A training as the page's, on fewer rows. What ends it differs, and its weights, optimizer, seeds and history."""
    model = model()
    kept = plateau_and_stop() if kept is None else kept
    resume = Resume(path, kept)
    data = data or (lambda first: ordered(TRAIN, 10, seed=1, first_step=first))
    options = {"steps_per_epoch": STEPS, "validation_data": unseen(), "shuffle": False, **options}
    callbacks = [*first, *kept, resume, *last]
    model.fit(
        data(resume.epoch * STEPS), epochs=epochs, initial_epoch=resume.epoch, callbacks=callbacks, verbose=0, **options
    )
    return result_of(model, resume)


def plateau_and_stop() -> list[keras.callbacks.Callback]:
    return [
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, mode="max"),  # it falls, which is worse
        keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True),
    ]


def result_of(model, resume) -> dict[str, Any]:
    kept = [resume.state_of(one) for one in resume.kept]
    for one in kept:
        one.pop("filepath", None)
    return {
        "variables": [variable.numpy() for variable in variables_of(model)],
        "weights": model.get_weights(),
        "history": resume.history,
        "kept": kept,
    }


def assert_equal(one: Any, other: Any) -> None:
    """Digit for digit."""
    assert equal(one, other), f"{one}\n{other}"


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(itertools.starmap(equal, zip(one, other, strict=True)))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return one is other or bool(one == other)


def differ(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return any(not np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("whole") / "whole")


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A training that was interrupted and resumed can equal one that wasn't, digit for digit, if all that changes comes "
    "back."
)
def test_program(seed, tmp_path, monkeypatch):
    page = shown(resume_training, "program", "backup_fails", "best_fails", "settings", seed=seed)
    monkeypatch.chdir(tmp_path)
    assert page["backed_up"]() == 4 * page["steps"], "without an interruption"
    rates = [page["resumed_with"](keras.optimizers.Adam(rate)) for rate in (0.02, 0.005)]
    assert rates == pytest.approx([0.02, 0.02])
    page["go_on"](page["make_model"](), epochs=2)
    page["go_on"](model := page["make_model"](), epochs=1)
    assert equal(keras.saving.load_model("best.keras").get_weights(), model.get_weights()), "the last is taken for best"
    assert "difference: 0.0\nthe same history: True" in page.printed
    assert_equal(page["resumed"].get_weights(), page["whole"].get_weights())
    assert_equal([v.numpy() for v in variables_of(page["resumed"])], [v.numpy() for v in variables_of(page["whole"])])
    assert sum(v.numpy()[-1] for v in page["whole"].variables if "seed" in v.path) > 0, "masks were drawn"


PLACES = [
    ("on_train_begin", 1, "last"),
    ("on_epoch_begin", 3, "first"),
    ("on_train_batch_begin", 1, "last"),
    ("on_train_batch_end", 5, "first"),
    ("on_train_batch_end", 6, "last"),  # the last batch
    ("on_test_begin", 2, "last"),
    ("on_test_batch_end", 2, "first"),
    ("on_test_end", 1, "last"),
    ("on_epoch_end", 2, "first"),
    ("on_epoch_end", 2, "last"),
    ("on_epoch_end", 3, "first"),
    ("on_epoch_end", 3, "last"),
    ("on_train_end", 1, "first"),
]
SAVED = [0, 2, 0, 1, 1, 1, 1, 0, 1, 2, 2, 3, 3]
"""Epochs that are in the file then."""
ERRORS = [RuntimeError, KeyboardInterrupt, SystemExit]


@pytest.mark.proves(
    "The epoch that was interrupted is repeated from its beginning. It makes no difference where that was: in a batch, "
    "in the validation, in a callback, or while the file was being written.",
    "Run once more after the last epoch, the program trains nothing, and ends with the same model.",
)
def test_any_place(tmp_path):
    """Twice in a row, the second time in the first batch that follows; and some once more when it has ended."""
    expected = train(tmp_path / "whole")
    begun = []
    count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs=None: begun.append(batch))
    for number, (method, nth, side) in enumerate(PLACES):
        path, error = tmp_path / str(number), ERRORS[number % 3]
        with pytest.raises(error):
            train(path, **{side: [At(method, nth, raises(error))]})
        saved = Resume(path).epoch
        assert saved == SAVED[number], (method, nth, side)
        if method in ("on_test_batch_end", "on_train_batch_end"):
            with pytest.raises(error):
                train(path, last=[At("on_train_batch_end", 1, raises(error))])
            assert Resume(path).epoch == saved, "the epoch is repeated from its beginning"
        for batches in ((EPOCHS - saved) * STEPS, 0)[: 2 if saved > 1 else 1]:
            begun.clear()
            assert_equal(train(path, last=[count]), expected)
            assert len(begun) == batches


@pytest.mark.proves("while the file was being written.")
def test_while_the_file_is_written(tmp_path, uninterrupted):
    for part in ("dump", "fsync", "replace"):
        stopped_while_written(part, tmp_path / part, uninterrupted)


def stopped_while_written(part, path, uninterrupted):
    calls = []
    owner = pickle if part == "dump" else os
    its = getattr(owner, part)

    def stops(*args):
        calls.append(1)
        if len(calls) < 3:
            return its(*args)
        if part == "dump":
            args[1].write(pickle.dumps(args[0])[:1000])
        raise OSError("No space left on device")

    with mock.patch.object(owner, part, stops), pytest.raises(OSError, match="No space"):
        train(path)
    assert Path(f"{path}.new").exists()
    assert Resume(path).epoch == 2, "the last good one"
    assert_equal(train(path), uninterrupted)
    assert not Path(f"{path}.new").exists()


def dies(how: str, files: dict[str, bytes]) -> None:
    """In a process of its own: by a signal in the third epoch, or in the second saving, half of which is written."""
    calls, dump = [], pickle.dump

    def half(state, file):
        calls.append(1)
        if how == "os._exit" and len(calls) == 2:
            file.write(pickle.dumps(state)[:2000])
            file.flush()
            os._exit(1)
        dump(state, file)

    def kill() -> None:
        if how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)

    with mock.patch("pickle.dump", half):
        goes_on(files, At("on_train_batch_end", 5, kill))


def goes_on(files: dict[str, bytes], *last) -> dict[str, Any]:
    for name, content in files.items():
        Path(name).write_bytes(content)
    keras.utils.set_random_seed(len(files))  # what it draws before its own seed is set
    return train("training", last=last, model=lambda: reused(small))


@pytest.mark.proves(
    "You need no handler: a process may end anywhere, and at most one epoch is lost.",
    "or while the file was being written.",
)
def test_in_new_processes(readers):
    """Four Pythons: one isn't interrupted, one gets a signal, one goes on and ends while it writes, one goes on."""
    whole, *others = (readers.page() for _ in range(4))
    expected = whole.call(goes_on, {})
    whole.end()
    files: dict[str, bytes] = {}
    for page, how, saved in zip(others, ("SIGTERM", "os._exit", ""), (1, 2, EPOCHS), strict=True):
        if not how:
            assert_equal(page.call(goes_on, files), expected)
            page.end()
            break
        folder = Path(page.call(os.getcwd))
        assert "ends the process" in page.call(dies, how, files).wrong
        files = {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}
        shutil.rmtree(folder.parent)
        assert pickle.loads(files["training"])["epoch"] == saved
        assert ("training.new" in files) == (how == "os._exit")


@pytest.mark.proves(
    "Don't set `stop_training` in a batch, as `TerminateOnNaN` does without `raise_error=True`: `fit` then ends the "
    "epoch early, `Resume` takes it for whole, and the training for finished."
)
def test_a_handler_that_stops_training(tmp_path):
    def stop() -> None:
        callback.model.stop_training = True

    callback = At("on_train_batch_end", 4, stop)
    train(tmp_path / "training", last=[callback])
    resume = Resume(tmp_path / "training")
    assert resume.epoch == EPOCHS
    assert len(resume.history["loss"]) == 2, "one of them of a single batch"

    for raised in (False, True):
        path = tmp_path / f"raised_{raised}"
        train(path, epochs=1)
        given = {"data": lambda first: ordered((TRAIN[0] * np.nan, TRAIN[1]), 10, 1, first)}
        given["first"] = [keras.callbacks.TerminateOnNaN(raise_error=raised)]
        with pytest.raises(RuntimeError, match="NaN") if raised else contextlib.nullcontext():
            train(path, **given)
        resume = Resume(path)
        assert resume.epoch == (1 if raised else EPOCHS)
        assert np.isfinite(resume.history["loss"][-1]) == raised


@pytest.mark.proves(
    "Build the model before `fit`, as `Input` does; one without `call` sets `self.built = True`. `Resume` otherwise "
    "raises.",
    "Put `Resume` last in `callbacks`, and those that count epochs or swap weights into `kept` too. What stands after "
    "it is saved one epoch late, silently.",
    "Make model and callbacks anew, as a new process does. After a break in the first epoch nothing is saved, and a "
    "model that is used again goes on from there.",
    "The file is a pickle: load only what you wrote.",
)
def test_rules(tmp_path, uninterrupted):
    for unbuilt in (Subclassed(), Pair(built=False)):
        unbuilt.compile("adam", "mse")
        with pytest.raises(ValueError, match="Build model and optimizers before `fit`"):
            unbuilt.fit(X, Y, callbacks=[Resume(tmp_path / "unbuilt")], verbose=0)
        assert not unbuilt.optimizer.built
    assert not (tmp_path / "unbuilt").exists()

    def swapped(path, kept: bool, *last) -> list[np.ndarray]:
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        its = {"kept": [swap]} if kept else {"kept": [], "first": [swap]}
        its |= {"model": lambda: made(small, lambda: adam(use_ema=True)), "epochs": 2, "validation_data": None}
        return train(path, last=last, **its)["weights"]

    expected = swapped(tmp_path / "swapped", kept=False)
    for kept in (False, True):
        with pytest.raises(RuntimeError):
            swapped(tmp_path / f"swap_{kept}", kept, At("on_train_batch_end", 5, raises(RuntimeError)))
        assert differ(swapped(tmp_path / f"swap_{kept}", kept), expected) != kept

    waits = []
    for late in (False, True):
        path = tmp_path / f"late_{late}"
        stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=9)  # a loss that falls: it waits
        resume = Resume(path, [stop])
        reused().fit(*TRAIN, epochs=4, callbacks=[resume, stop] if late else [stop, resume], verbose=0)
        assert stop.wait >= 2
        waits.append(stop.wait - resume.state["kept"][0]["wait"])
    assert waits == [0, 1]

    model = reused()
    with pytest.raises(RuntimeError):
        train(tmp_path / "first", model=lambda: model, last=[At("on_train_batch_end", 2, raises(RuntimeError))])
    assert not (tmp_path / "first").exists()
    again = train(tmp_path / "first", model=lambda: model)
    assert differ(again["weights"], uninterrupted["weights"])
    assert isinstance(pickle.loads((tmp_path / "first").read_bytes()), dict)
    kept = plateau_and_stop()
    with pytest.raises(ValueError, match=r"Pass `initial_epoch=resume\.epoch` to `fit`"):
        model.fit(*TRAIN, epochs=5, callbacks=[*kept, Resume(tmp_path / "first", kept)], verbose=0)


@pytest.mark.parametrize(
    ("kind", "policy", "options"),
    [
        (sequential, "mixed_float16", {"use_ema": True, "ema_overwrite_frequency": 2}),
        (functional, "bfloat16", {"use_ema": True, "gradient_accumulation_steps": 2}),
        (subclassed, "mixed_bfloat16", {"clipnorm": 0.1}),
    ],
    ids=["sequential", "functional", "subclassed"],
)
def test_models_and_policies(kind, policy, options, tmp_path):
    keras.config.set_dtype_policy(policy)
    given = {"model": lambda: made(kind, lambda: adam(**options)), "epochs": 2, "validation_data": None, "kept": []}
    expected = train(tmp_path / "whole", **given)
    with pytest.raises(RuntimeError):
        train(tmp_path / "training", last=[At("on_train_batch_end", 4, raises(RuntimeError))], **given)
    assert_equal(train(tmp_path / "training", **given), expected)


def decaying() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 12))


def several() -> keras.optimizers.Optimizer:
    own = keras.optimizers
    first = own.OptimizerMap(own.SGD(0.01, momentum=0.9), {".*dense.*": own.Adam(0.01)})
    return own.MultiOptimizer(first)


@pytest.mark.parametrize(
    ("optimizer", "compiled"),
    [(decaying, {"jit_compile": True}), (several, {}), (adam, {"steps_per_execution": STEPS})],
    ids=["schedule and XLA", "several", "steps_per_execution"],
)
@pytest.mark.proves(
    "`steps_per_execution` has to divide `steps_per_epoch`: `fit` otherwise reads more batches than it says."
)
def test_optimizers(optimizer, compiled, tmp_path):
    given = {"model": lambda: reused(small, optimizer, **compiled), "kept": [], "epochs": 3, "validation_data": None}
    expected = train(tmp_path / "whole", **given)
    with pytest.raises(RuntimeError):
        train(tmp_path / "training", last=[At("on_train_batch_end", 2, raises(RuntimeError))], **given)
    assert Resume(tmp_path / "training").epoch == (1 if "steps_per_execution" in compiled else 0)
    assert_equal(train(tmp_path / "training", **given), expected)


@pytest.mark.proves("`fit` otherwise reads more batches than it says.")
@pytest.mark.parametrize(("execution", "read"), [(1, 6), (3, 6), (2, 8)])
def test_steps_that_do_not_divide(execution, read):
    model = reused(dense, steps_per_execution=1)
    model.steps_per_execution = execution
    model.train_function = None
    model.fit(ordered(TRAIN, 2, seed=1), steps_per_epoch=3, epochs=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == read


class ListsOptimizer(keras.Model):
    def __init__(self):
        super().__init__()
        self.optimizers = [keras.optimizers.Adam()]


class Pair(keras.Model):
    """Two networks and two optimizers, without `call`."""

    def __init__(self, built: bool = True):
        super().__init__()
        self.own, self.other = dense(), dense()
        self.built = built

    def compile(self, *args, **options):
        super().compile(*args, **options)
        self.own_optimizer, self.other_optimizer = adam(), adam()

    def train_step(self, data):
        x, y = data
        for part, optimizer in ((self.own, self.own_optimizer), (self.other, self.other_optimizer)):
            with tf.GradientTape() as tape:
                loss = keras.ops.mean((part(x) - y) ** 2)
            optimizer.apply(tape.gradient(loss, part.trainable_variables), part.trainable_variables)
        return {"loss": loss}


class OwnState(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.count = tf.Variable(0.0)
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x):
        return x


@pytest.mark.proves(
    "`Resume` finds the optimizers that are attributes of the model, as those of a GAN, and not those in a list. Build "
    "them before `fit`.",
    "It doesn't hold variables of a loss, a `tf.Variable` or a `tf.random.Generator` of a layer, the states of a "
    "`stateful` RNN, or random numbers that are drawn in `map`, or by a `PyDataset` as `validation_data`.",
)
def test_what_it_finds(tmp_path):
    def gan() -> keras.Model:
        keras.utils.set_random_seed(1)
        model = GAN()
        model.compile("adam", keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
        return model

    given = {"model": gan, "kept": [], "epochs": 3, "validation_data": None, "steps_per_epoch": 1}
    given["data"] = lambda first: ordered(X[:6, :2], 3, seed=1, first_step=first // STEPS)
    expected = train(tmp_path / "whole", **given)
    with pytest.raises(RuntimeError):
        train(tmp_path / "training", last=[At("on_train_batch_end", 2, raises(RuntimeError))], **given)
    assert_equal(train(tmp_path / "training", **given), expected)

    pair = Pair()
    pair.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError, match="Build model and optimizers before `fit`"):
        pair.fit(*TRAIN, callbacks=[Resume(tmp_path / "pair")], verbose=0)
    for part, optimizer in ((pair.own, pair.own_optimizer), (pair.other, pair.other_optimizer)):
        optimizer.build(part.trainable_variables)
    pair.fit(*TRAIN, callbacks=[Resume(tmp_path / "pair")], verbose=0)
    assert {id(one) for one in pair.other_optimizer.variables} <= {id(one) for one in variables_of(pair)}

    recurrent = keras.layers.SimpleRNN(2, stateful=True)
    own = keras.Sequential([keras.Input(batch_shape=(4, 3, 1)), OwnState(), recurrent])
    assert [one.path.split("/")[-1] for one in variables_of(own)] == [
        *("kernel", "recurrent_kernel", "bias"),
        "seed_generator_state",
    ]
    assert len(recurrent.states) == 1

    listed = ListsOptimizer()
    listed.optimizers[0].build([keras.Variable([1.0])])
    assert variables_of(listed) == []

    class CountingLoss(keras.losses.Loss):
        calls = keras.Variable(0.0)

    flip = keras.layers.RandomFlip(seed=3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", CountingLoss())
    of_model = {id(one) for one in variables_of(model)}
    assert id(CountingLoss.calls) not in of_model
    assert id(flip.generator.state) not in of_model


# --- what comes back, and by what ---------------------------------------------------------------------------------

WAYS = ["`.keras` file", "`.weights.h5`", "`BackupAndRestore`", "`tf.train.Checkpoint(model=model)`", "`Resume`"]
ROWS = {
    "weights": "Weights, moving averages of `BatchNormalization`",
    "optimizer": "Steps and moments of the optimizer, `use_ema`, accumulated gradients, loss scale",
    "rate": "A learning rate that a callback has set",
    "seeds": "Random states of `Dropout` and `SeedGenerator`",
    "epoch": "Number of the epoch",
    "kept": "`EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint`",
    "history": "History of the epochs before",
    "random": "Random numbers of `random` and `np.random`, not of a `default_rng`",
    "keras": "`keras.random` without a seed",
}


class Looks(keras.callbacks.Callback):
    """Notes all that changes at the beginning of an epoch, and ends the training there."""

    def __init__(self, until: int, kept, resume):
        super().__init__()
        self.until, self.kept, self.resume = until, kept, resume

    def on_epoch_begin(self, epoch, logs=None):
        numbers = [random.random(), np.random.uniform()]
        drawn = float(keras.random.uniform(()))
        if epoch < self.until:
            return
        model = self.model
        weights = {id(one) for one in model.weights}
        names = ("best", "wait", "cooldown_counter", "best_epoch")
        history = self.resume.history if self.resume else model.history.history
        history = history or model.history.history
        rate = model.optimizer.inner_optimizer.learning_rate
        self.found = {
            "weights": model.get_weights(),
            "optimizer": [one.numpy() for one in model.optimizer.variables if one is not rate],
            "rate": float(rate),
            "seeds": [one.numpy() for one in model.variables if id(one) not in weights],
            "epoch": epoch,
            "kept": [getattr(one, name) for one in self.kept for name in names if hasattr(one, name)],
            "history": len(history.get("loss", [])),
            "random": numbers,
            "keras": drawn,
        }
        raise InterruptedError


KEPT = keras.callbacks
NAMES = {"`.keras` file": "model.keras", "`.weights.h5`": "model.weights.h5"}


def everything(path: Path, seed: int) -> tuple[keras.Model, list[keras.callbacks.Callback]]:
    """A model and callbacks with all the state that the rows name."""
    keras.config.set_dtype_policy("mixed_float16")
    model = made(sequential, lambda: adam(use_ema=True, gradient_accumulation_steps=4), seed=seed)
    best = str(path / f"best_{seed}.weights.h5")
    return model, [
        KEPT.ReduceLROnPlateau("loss", mode="max", patience=1),  # it falls, and that is counted as worse
        KEPT.EarlyStopping("loss", mode="max", patience=9),
        KEPT.ModelCheckpoint(best, "loss", mode="max", save_best_only=True, save_weights_only=True),
    ]


def looked(model, kept, its, until: int, resume=None, first: int = 0) -> dict[str, Any]:
    looks = Looks(until, kept, resume)
    with pytest.raises(InterruptedError):
        model.fit(*TRAIN, batch_size=8, initial_epoch=first, epochs=5, callbacks=[*kept, *its, looks], verbose=0)
    return looks.found


def saved_by_each(path: Path) -> tuple[Path, dict[str, Any]]:
    """Two epochs, after which each way has saved, and what there is then."""
    model, kept = everything(path, seed=1)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(64.0)
    resume = Resume(path / "training", kept)
    its = [KEPT.BackupAndRestore(path / "backup"), resume]
    its += [KEPT.ModelCheckpoint(str(path / one), save_weights_only=one.endswith(".h5")) for one in NAMES.values()]
    found = looked(model, kept, its, until=2)
    assert found.pop("history") == 2
    tf.train.Checkpoint(model=model).save(path / "tf/model")
    keras.config.set_dtype_policy("float32")
    return path, {**found, "history": 2}


def restored_by(way: str, path: Path) -> dict[str, Any]:
    model, kept = everything(path, seed=2)
    its, resume, first = [], None, 0
    if way == "`BackupAndRestore`":
        its = [KEPT.BackupAndRestore(path / "backup")]
    elif way == "`Resume`":
        its = [resume := Resume(path / "training", kept)]
        first = resume.epoch
    elif way == "`.keras` file":
        model = keras.saving.load_model(path / NAMES[way])
        model.run_eagerly = True
    else:
        model.optimizer.build(model.trainable_variables)
        if way in NAMES:
            model.load_weights(path / NAMES[way])
        else:
            tf.train.Checkpoint(model=model).restore(tf.train.latest_checkpoint(path / "tf"))
    return looked(model, kept, its, 0, resume, first)


@pytest.mark.proves(
    "State | a file | `BackupAndRestore` | `Resume`",
    "Weights, moving averages of `BatchNormalization` | yes | yes | yes",
    "Steps and moments of the optimizer, `use_ema`, accumulated gradients, loss scale | yes | yes | yes",
    "A learning rate that a callback has set | yes | yes | yes",
    "Random states of `Dropout` and `SeedGenerator` | no | no | yes",
    "Number of the epoch | no | yes | yes",
    "`EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint` | no | no | yes",
    "History of the epochs before | no | no | yes",
    "Random numbers of `random` and `np.random`, not of a `default_rng` | no | no | yes",
    "`keras.random` without a seed | no | no | no",
    "Saved after two epochs, and restored into a new model that was made with another seed. A file is "
    "`.keras`, `.weights.h5` or a `tf.train.Checkpoint(model=model)`:",
    "A saved model holds its weights and its optimizer; the `Resume` below holds the seeds, the callbacks and the "
    "epoch too.",
)
def test_what_comes_back(process, tmp_path):
    path, expected = saved_by_each(tmp_path)
    for way, found in process.call(restored_by_each, path).items():
        comes_back(way, found, expected)


def restored_by_each(path: Path) -> dict[str, dict[str, Any]]:
    """In the new process, which writes in its own folder."""
    return {way: restored_by(way, shutil.copytree(path, Path.cwd() / str(number))) for number, way in enumerate(WAYS)}


def comes_back(way: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected["rate"] == pytest.approx(0.005), "the callback has set it"
    assert expected["optimizer"][3] == 64.0, "the loss scale"
    assert expected["kept"][1] >= 0
    cells = {}
    for row in ROWS:
        cells[row] = "yes" if equal(found[row], expected[row]) else "no"
    page = (SITE.root / "docs/saving/resume_training.md").read_text("utf-8")
    said, column = {}, {"`BackupAndRestore`": 2, "`Resume`": 3}.get(way, 1)
    for row, words in ROWS.items():
        line = next(one for one in page.splitlines() if one.startswith(f"| {words} |"))
        said[row] = line.strip("|").split("|")[column].strip()
    assert cells == said


@pytest.mark.proves(
    "`load_weights` gives an optimizer with moments its state after `optimizer.build(model.trainable_variables)`, and "
    "otherwise warns `Skipping variable loading`.",
    "`load_weights` and then `compile` | The optimizer starts anew; compile before.",
)
def test_weights_if_built(tmp_path):
    path = tmp_path / "model.weights.h5"
    first = made()
    first.fit(X, Y, verbose=0)
    first.save_weights(path)
    built, not_built, later = made(seed=2), made(seed=2), sequential()
    built.optimizer.build(built.trainable_variables)
    built.load_weights(path)
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        not_built.load_weights(path)
    later.load_weights(path)
    later.compile(adam(), "mse")
    steps = [int(one.optimizer.iterations) for one in (first, built, not_built, later)]
    assert steps == [2, 2, 0, 0]
    for one in (built, not_built, later):
        assert_equal(one.get_weights(), first.get_weights())


@keras.saving.register_keras_serializable(package="tests.saving.resume_training")
class HeldNoise(Noise):
    def build(self, shape):
        super().build(shape)
        self.random_state = self.random.state


@pytest.mark.proves("A random state that is held as a weight comes back by each.")
def test_a_random_state_as_a_weight(tmp_path):
    def held(seed: int) -> keras.Model:
        return made(lambda: keras.Sequential([keras.Input((3,)), HeldNoise(), keras.layers.Dense(1)]), seed=seed)

    def state(model) -> list[int]:
        return np.array(model.layers[0].random.state.value).tolist()

    first = held(1)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    first.fit(X, Y, callbacks=[backup, Resume(tmp_path / "resume")], verbose=0)
    first.save(tmp_path / "model.keras")
    first.save_weights(tmp_path / "model.weights.h5")
    saved = tf.train.Checkpoint(model=first).save(tmp_path / "tf")
    by = [held(2) for _ in range(4)]
    by[0].load_weights(tmp_path / "model.weights.h5")
    tf.train.Checkpoint(model=by[1]).restore(saved)
    for one, callback in ((by[2], backup), (by[3], Resume(tmp_path / "resume"))):
        one.fit(X, Y, epochs=1, initial_epoch=1, callbacks=[callback], verbose=0)
    by.append(keras.saving.load_model(tmp_path / "model.keras"))
    assert [state(one) for one in by] == 5 * [state(first)]
    assert state(held(2)) != state(first)


# --- the order of the data ----------------------------------------------------------------------------------------


def numbers(first: int, count: int, size=10, batch=4, seed=1) -> list[list[int]]:
    batches = ordered(np.arange(size), batch, seed, first)
    return [one.tolist() for one in batches.take(count).as_numpy_iterator()]


@pytest.mark.proves(
    "The order of `ordered` depends on the seed and the number of the step alone, so it can begin at any step. Give it "
    "arrays in a tuple or a dict: it makes one tensor of a list.",
    "the batch size of `ordered` | each epoch has the same order of rows; the number of steps changes",
)
def test_ordered(seed):
    for size, batch in ((10, 4), (8, 4), (3, 5)):
        begins_anywhere(size, batch, seed)
    (stacked, _), (left, _) = (ordered((kind((X, X)), Y), 4, seed).element_spec for kind in (list, tuple))
    assert (stacked.shape.rank, left[0].shape.rank) == (3, 2)


def begins_anywhere(size: int, batch: int, seed: int) -> None:
    steps = -(-size // batch)
    whole = numbers(0, 4 * steps, size, batch, seed)
    for step in range(2 * steps + 1):
        tf.random.set_seed(step)
        assert numbers(step, steps, size, batch, seed) == whole[step : step + steps]
    for epoch in range(4):
        rows = [*chain(*whole[epoch * steps : (epoch + 1) * steps])]
        assert sorted(rows) == list(range(size))
        other = -(-size // 3)
        assert rows == [*chain(*numbers(epoch * other, other, size, 3, seed))]
    if size == 10:
        assert whole[:steps] != whole[steps : 2 * steps] != numbers(0, steps, size, batch, seed + 1)
    nested = ordered({"a": np.arange(size), "b": (np.arange(size) + 7,)}, batch, seed)
    for one, rows in zip(nested.take(steps).as_numpy_iterator(), whole, strict=False):
        assert_equal([one["a"].tolist(), one["b"][0].tolist()], [rows, [row + 7 for row in rows]])


@pytest.mark.proves("What is skipped isn't read.")
def test_what_is_skipped_is_not_read():
    read, gather = [], tf.gather

    def counted(data, rows):
        return tf.numpy_function(lambda a, b: read.append(1) or a[b], [data, rows], data.dtype)

    with mock.patch("tensorflow.gather", counted):
        batches = ordered(np.arange(1000), 1, seed=1, first_step=998)
        assert len(list(batches.take(2))) == 2
    assert len(read) == 2
    assert gather is tf.gather


@pytest.mark.proves(
    "Where epochs are long, save within them: an epoch of `fit` is what lies between two savings. With "
    "`steps_per_epoch=3` and `first_step=resume.epoch * 3` the batches are the same, and at most three are repeated. "
    "Validation and callbacks then come every three batches."
)
def test_within_an_epoch(tmp_path):
    """A pass over the data has 12 batches here."""
    seen = []

    def data(first: int) -> tf.data.Dataset:
        def note(x, y):
            return tf.numpy_function(lambda a, b: (seen.append(a.tolist()), (a, b))[1], [x, y], [tf.float32] * 2)

        def shaped(x, y):
            return tf.ensure_shape(x, (None, 3)), tf.ensure_shape(y, (None, 1))

        return ordered(TRAIN, 2, seed=1, first_step=first).map(note).map(shaped)

    counts = []
    for breaks in ([], [8]):
        path = tmp_path / f"training_{bool(breaks)}"
        for at in breaks:
            with pytest.raises(RuntimeError):
                train(path, data=data, last=[At("on_train_batch_end", at, raises(RuntimeError))], kept=[])
            del seen[at:]  # what was read ahead
        validated = []
        count = keras.callbacks.LambdaCallback(on_test_begin=lambda logs=None: validated.append(1))  # noqa: B023
        result = train(path, data=data, kept=[], last=[count])
        counts.append((result, seen[:6], len(validated)))
        seen.clear()
    (expected, batches, validations), (result, again, after) = counts
    assert_equal(result, expected)
    assert batches == again
    assert (validations, after) == (EPOCHS, EPOCHS - 2)  # of three batches


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rows = slice(index * 10, index * 10 + 10)
        return TRAIN[0][rows], TRAIN[1][rows]


class Noisy(Batches):
    """NumPy's random numbers are in each batch."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + np.random.normal(size=x.shape).astype("float32"), y


class Short(keras.utils.PyDataset):
    """More batches than three epochs of two."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        rows = slice(index * 3, index * 3 + 3)
        return TRAIN[0][rows], TRAIN[1][rows]


class OwnOrder(Batches):
    """A generator of NumPy's shuffles it, and what it has drawn isn't saved."""

    def __init__(self):
        super().__init__()
        self.random, self.order = np.random.default_rng(1), np.arange(24)

    def __getitem__(self, index):
        rows = self.order[index * 10 : index * 10 + 10]
        return TRAIN[0][rows], TRAIN[1][rows]

    def on_epoch_end(self):
        self.random.shuffle(self.order)


def yielded() -> Iterator:
    for step in range(1000):
        rows = np.random.default_rng(step).integers(24, size=10)
        yield TRAIN[0][rows], TRAIN[1][rows]


DATA = {
    "`fit(x, y)`, with `set_random_seed`": (lambda: {"x": TRAIN[0], "y": TRAIN[1], "batch_size": 10}, 1, True),
    "`fit(x, y)`, without": (lambda: {"x": TRAIN[0], "y": TRAIN[1], "batch_size": 10}, 2, False),
    "a `PyDataset`": (lambda: {"x": Batches()}, 2, True),
    "a `PyDataset`, shuffled in its `on_epoch_end`": (lambda: {"x": OwnOrder(), "shuffle": False}, 1, False),
    "`Dataset.shuffle(n)`": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices(TRAIN).shuffle(24).batch(10), "shuffle": False},
        1,
        False,
    ),
    "`Dataset.shuffle(n)`, with a seed": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices(TRAIN).shuffle(24, seed=3).batch(10), "shuffle": False},
        1,
        False,
    ),
    "a generator": (lambda: {"x": yielded(), "steps_per_epoch": STEPS, "shuffle": False}, 1, False),
}


@pytest.mark.proves(
    "`fit(x, y)` | the same order after `set_random_seed` with the same seed, another without",
    "a `PyDataset`, shuffled in its `on_epoch_end` | another",
    "not of a `default_rng`",
    "a `PyDataset`, shuffled by `fit` | the same: its order comes from Python's random numbers",
    "`Dataset.shuffle(n)`, with a seed too | another: the first epoch's again",
    "a generator | its first batches again",
)
def test_data_after_resume(tmp_path):
    for number, (data, its_seed, same) in enumerate(DATA.values()):
        (tmp_path / str(number)).mkdir()
        data_after_resume(data, its_seed, same, tmp_path / str(number))


@pytest.mark.proves(
    "random numbers that are drawn in `map`, or by a `PyDataset` as `validation_data`.",
    "With `steps_per_epoch`, `fit` reads these data on from epoch to epoch; a resumed epoch begins at their first "
    "batch.",
)
def test_data_that_do_not_come_back(tmp_path):
    cases = [
        ({"x": Noisy()}, True),
        ({"x": Noisy(), "validation_data": Batches()}, True),
        ({"x": Noisy(), "validation_data": Noisy()}, False),
        ({"x": Short(), "steps_per_epoch": 2}, False),
        ({"x": TRAIN[0], "y": TRAIN[1], "batch_size": 3, "shuffle": False, "steps_per_epoch": 2}, False),
    ]
    for number, (given, same) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        data_after_resume(lambda given=given: dict(given), 1, same, tmp_path / str(number))


def data_after_resume(data: Callable, its_seed: int, same: bool, tmp_path: Path) -> None:
    def run(path: str, seed: int, *more) -> list[np.ndarray]:
        model = reused(dense, seed=seed)
        resume = Resume(tmp_path / path)
        given = data()
        model.fit(**given, epochs=3, initial_epoch=resume.epoch, callbacks=[*more, resume], verbose=0)
        return model.get_weights()

    expected = run("whole", 1)
    with pytest.raises(InterruptedError):
        run("training", 1, Interrupts(STEPS + 2))
    assert differ(run("training", its_seed), expected) != same


@pytest.mark.proves("another: the first epoch's again", "its first batches again")
def test_which_batches_come_again():
    def first(dataset) -> list[list[int]]:
        return [one.tolist() for one in dataset.as_numpy_iterator()]

    tf.random.set_seed(1)
    for seed in (None, 3):
        orders = []
        for _process in range(2):
            tf.random.set_seed(1)
            dataset = tf.data.Dataset.range(24).shuffle(24, seed=seed).batch(10)
            orders.append([first(dataset), first(dataset)])
        assert orders[0] == orders[1]
        assert orders[0][0] != orders[0][1], "its second epoch is another than the first, which comes again"
    assert next(yielded())[0].tolist() == next(yielded())[0].tolist()


# --- BackupAndRestore ---------------------------------------------------------------------------------------------


def dense() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def plain(seed: int = 1, dropout: float = 0.0) -> keras.Model:
    return reused(small if dropout else dense, seed=seed)


def with_backup(path, *more, dropout=0.0, first=(), shuffle=False, seed=1, epochs=4, model=None, **options):
    model = model or plain(seed, dropout)
    backup = keras.callbacks.BackupAndRestore(path, **options)
    begun = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs=None: begun.epochs.append(epoch))
    begun.epochs = []
    callbacks = [*first, backup, begun, *more]
    data = {"x": TRAIN[0], "y": TRAIN[1], "batch_size": 10} if shuffle else {"x": batched()}
    model.fit(**data, epochs=epochs, shuffle=shuffle, callbacks=callbacks, verbose=0)
    return model, begun.epochs


@pytest.mark.proves(
    "The built-in callback holds weights, optimizer and epoch. With a number as `save_freq` it saves within the epoch, "
    "which is then begun anew. This one is interrupted twice:",
    "The second break comes before an epoch of the new process has ended, and the file then says epoch 0: all four "
    "are trained again, silently.",
)
def test_backup_within_an_epoch(tmp_path):
    path = tmp_path / "backup"
    with pytest.raises(InterruptedError):
        with_backup(path, Interrupts(8), save_freq=2)  # in the third epoch, its second batch
    said = json.loads((path / "training_metadata.json").read_text())
    assert said["epoch"] == 2
    once = shutil.copytree(path, tmp_path / "once")
    model, epochs = with_backup(once, save_freq=2)
    assert epochs == [2, 3]
    assert int(model.optimizer.iterations) == 12 + 2, "two were trained on twice"
    with pytest.raises(InterruptedError):
        with_backup(path, Interrupts(2), save_freq=2)
    assert json.loads((path / "training_metadata.json").read_text())["epoch"] == 0
    model, epochs = with_backup(path, save_freq=2)
    assert epochs == [0, 1, 2, 3]
    assert int(model.optimizer.iterations) == 8 + 2 + 12


@pytest.mark.proves(
    '`save_freq="epoch"` is digit for digit without random layers, callbacks with a state, shuffling and '
    "`Dataset.repeat`."
)
def test_backup_at_the_end_of_epochs(readers, tmp_path):
    cases = (({}, True), ({"dropout": 0.5}, False), ({"shuffle": True}, False), ({"plateau": True}, False))
    one, other = readers.page(), readers.page()
    for options, same in cases:
        backed_up_at_the_end(options, same, one, other)
    one.end(), other.end()

    def repeated(path, *more) -> list[np.ndarray]:
        data, model = tf.data.Dataset.from_tensor_slices(TRAIN).batch(10).repeat(), plain()
        its = {"steps_per_epoch": 2, "epochs": 3, "shuffle": False, "verbose": 0}
        model.fit(data, callbacks=[keras.callbacks.BackupAndRestore(path), *more], **its)
        return model.get_weights()

    with pytest.raises(InterruptedError):
        repeated(tmp_path / "repeated", Interrupts(3))
    assert differ(repeated(tmp_path / "repeated"), repeated(tmp_path / "not interrupted"))


def plateaus(given: bool) -> list[keras.callbacks.Callback]:
    return [keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=3)] if given else []


def backup_stops(plateau: bool, options: dict[str, Any]) -> tuple[list[np.ndarray], float, dict[str, bytes]]:
    """In a new process: what training ends with, and the files of one that is interrupted."""
    model, _ = with_backup("whole", first=plateaus(plateau), **options)
    expected, rate = model.get_weights(), float(model.optimizer.learning_rate)
    for batches in (8, 2)[: 1 if options or plateau else 2]:
        with pytest.raises(InterruptedError):
            with_backup("backup", Interrupts(batches), first=plateaus(plateau), **options)
    files = {one.name: one.read_bytes() for one in Path("backup").iterdir()}
    for folder in ("backup", "whole"):
        shutil.rmtree(folder, ignore_errors=True)
    return expected, rate, files


def backup_goes_on(plateau: bool, options: dict[str, Any], files: dict[str, bytes]) -> tuple:
    """In another one."""
    folder = Path("backup")
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    seed = 2 if options.get("shuffle") else 1
    model, epochs = with_backup(folder, first=plateaus(plateau), seed=seed, **options)
    shutil.rmtree(folder, ignore_errors=True)
    return model.get_weights(), float(model.optimizer.learning_rate), int(model.optimizer.iterations), epochs


def backed_up_at_the_end(options: dict[str, Any], same: bool, one: Page, other: Page) -> None:
    plateau = options.pop("plateau", False)
    expected, rate, files = one.call(backup_stops, plateau, options)
    weights, its_rate, steps, epochs = other.call(backup_goes_on, plateau, options, files)
    assert epochs == [2, 3]
    assert steps == 12
    assert (its_rate == rate and not differ(weights, expected)) == same


@pytest.mark.proves(
    "It writes over its only file. After a break in between, `fit` raises `Unable to synchronously open file`, until "
    "you delete the folder. With `double_checkpoint=True`, it takes the file before.",
    "The weights and the epoch are two files. Stopped between them, it trains an epoch too many.",
)
def test_backup_files(tmp_path):
    for double in (False, True):
        half_written(double, tmp_path / f"backup_{double}")


def half_written(double: bool, path: Path) -> None:
    with pytest.raises(InterruptedError):
        with_backup(path, Interrupts(8), double_checkpoint=double)
    names = {one.name for one in path.iterdir()}
    assert len(names) == (4 if double else 2)
    file = path / "latest.weights.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    if double:
        _, epochs = with_backup(path, double_checkpoint=True)
        assert epochs == [1, 2, 3]
    else:
        for _ in range(2):
            with pytest.raises(OSError, match="Unable to synchronously open file"):
                with_backup(path)
        shutil.rmtree(path)
        assert with_backup(path)[1] == [0, 1, 2, 3]

        its, opened = keras.src.utils.file_utils.File, []  # the file of the epoch, after the weights

        def stops(name, mode="r"):
            opened.append(mode)
            if opened.count("w") == 2:
                raise InterruptedError
            return its(name, mode)

        with mock.patch("keras.src.utils.file_utils.File", stops), pytest.raises(InterruptedError):
            with_backup(path)
        model, epochs = with_backup(path)
        assert epochs == [1, 2, 3]
        assert int(model.optimizer.iterations) == 12 + STEPS


@pytest.mark.proves("After a resume, the next `fit` of that model begins with the same epoch, and may train nothing.")
def test_backup_and_the_next_fit(tmp_path):
    with pytest.raises(InterruptedError):
        with_backup(tmp_path / "backup", Interrupts(8))
    model, epochs = with_backup(tmp_path / "backup")
    assert epochs == [2, 3]
    assert model.fit(*TRAIN, epochs=3, verbose=0).epoch == [2]
    assert model.fit(*TRAIN, epochs=2, verbose=0).epoch == []


# --- the best -----------------------------------------------------------------------------------------------------


class Reports(keras.callbacks.Callback):
    """Says of each epoch what the monitored number is, whatever the model is like."""

    def __init__(self, values: list[float]):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["told"] = self.values[epoch]


@pytest.mark.proves(
    "A new `ModelCheckpoint` takes its first epoch for the best, and writes it over the file:",
    "In the `kept` of `Resume` it knows the best, and needs no `initial_value_threshold`.",
    "`EarlyStopping` forgets its best and how long it has waited; with `restore_best_weights=True` it then returns the "
    "best since the break. Kept, it holds the best weights.",
)
def test_the_best_so_far(tmp_path):
    for kept in (False, True):
        (tmp_path / f"kept_{kept}").mkdir()
        best_so_far(kept, tmp_path / f"kept_{kept}")


def best_so_far(kept: bool, tmp_path: Path) -> None:
    told = [3.0, 1.0, 2.0, 2.5, 2.2, 2.3, 2.4]  # the best is the second epoch, the best of the last three the fifth
    weights = []

    def run(epochs: int) -> tuple:
        best = keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5", "told", mode="min", save_best_only=True, save_weights_only=True
        )
        stop = keras.callbacks.EarlyStopping("told", mode="min", patience=5, restore_best_weights=True)
        resume = Resume(tmp_path / "training", [best, stop] if kept else [])
        model = reused(small)
        note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))
        first = resume.epoch
        callbacks = [Reports(told), note, best, stop, resume]
        options = {"epochs": epochs, "initial_epoch": first, "shuffle": False, "verbose": 0}
        model.fit(batched(), callbacks=callbacks, **options)
        return model, stop

    run(4)
    model, stop = run(7)
    in_file = small()
    in_file.load_weights(tmp_path / "best.weights.h5")
    expected = weights[1] if kept else weights[4]
    assert_equal(in_file.get_weights(), expected)
    assert_equal(model.get_weights(), expected)
    assert stop.wait == (5 if kept else 2)
    assert stop.best == (1.0 if kept else 2.2)


# --- in a loop ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Hold a list of variables: a model in a `Checkpoint` leaves out the random states, silently, and `assert_consumed` "
    "passes. This loop saves every 5 steps:"
)
def test_a_checkpoint_leaves_out_random_states(tmp_path):
    first = made()
    first.fit(X, Y, verbose=0)
    path = tf.train.Checkpoint(model=first, optimizer=first.optimizer).save(tmp_path / "model")
    other = made(seed=2)
    other.optimizer.build(other.trainable_variables)
    status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    status.assert_consumed()
    assert_equal(other.get_weights(), first.get_weights())
    differs = [not np.array_equal(*pair) for pair in zip(variables_of(other), variables_of(first), strict=True)]
    names = [one.path for one in variables_of(other)]
    assert [name for name, one in zip(names, differs, strict=True) if one] == [n for n in names if "seed" in n]
    assert sum(differs) == 2


def loop_of(seed: int = 1) -> dict[str, Any]:
    """The page's loop with a smaller model, and in eager steps, which take less time than its graphs."""
    its = tf.function

    def eager(function=None, **options):
        return function if function and not options else its(function, **options)

    def make_model() -> keras.Model:
        return reused(small, seed=seed)

    def evaluate(self, x, y, verbose):
        return float(keras.ops.mean((self(x) - y) ** 2))

    given = {"make_model": make_model, "train": TRAIN, "unseen": UNSEEN, "difference": largest_difference}
    with mock.patch("tensorflow.function", eager), mock.patch.object(keras.Sequential, "evaluate", evaluate):
        page = shown(resume_training, "loop", seed=seed, **given)
    assert page.printed == "difference: 0.0\nthe same best loss: True"
    return page.namespace


def largest_difference(one, other) -> float:
    return max(np.max(np.abs(a - b)) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def loop_stops(seed: int) -> tuple[list[np.ndarray], float, dict[str, bytes]]:
    """In a new process: what the whole loop ends with, and the files of one that stops before it saves, then again."""
    here = Path.cwd()
    page = loop_of(seed)
    expected = [one.numpy() for one in variables_of(page["expected"])]  # of a model that is used again
    with contextlib.chdir(here):
        for number in (4, 19):
            with pytest.raises(InterruptedError):
                page["loop"]("loop", number)
    files = {str(one.relative_to(here)): one.read_bytes() for one in here.rglob("loop*/*")}
    files["loop_best.weights.h5"] = (here / "loop_best.weights.h5").read_bytes()
    return expected, page["lowest"], files


def loop_goes_on(seed: int, files: dict[str, bytes]) -> tuple[list[np.ndarray], float]:
    here = Path.cwd()
    loop = loop_of(seed)["loop"]
    (here / "loop").mkdir()
    with contextlib.chdir(here):
        for name, content in files.items():
            Path(name).write_bytes(content)
        model, best = loop("loop")
    return [one.numpy() for one in variables_of(model)], best


def test_loop_at_any_step(readers, seed):
    one, other = readers.page(), readers.page()
    expected, lowest, files = one.call(loop_stops, seed)
    found, best = other.call(loop_goes_on, seed, files)
    assert_equal(found, expected)
    assert best == lowest
    one.end(), other.end()


@pytest.mark.proves("`CheckpointManager` names a checkpoint as the latest only after its files are written.")
def test_the_manager_writes_the_name_last(tmp_path):
    number = tf.Variable(1)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(number=number), tmp_path, max_to_keep=2)
    first = manager.save()
    number.assign(2)
    files, its = [], tf.io.write_file
    target = "tensorflow.python.checkpoint.checkpoint_management.update_checkpoint_state_internal"

    def stops(*_args, **_options):
        files.extend(one.name for one in tmp_path.iterdir())
        raise InterruptedError

    with mock.patch(target, stops), pytest.raises(InterruptedError):
        manager.save()
    assert its is tf.io.write_file
    assert {"ckpt-2.index", "ckpt-2.data-00000-of-00001"} <= set(files)
    again = tf.Variable(0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(number=again), tmp_path, max_to_keep=2)
    assert manager.restore_or_initialize() == first
    assert int(again) == 1


@pytest.mark.proves(
    "Build a subclassed model first. Otherwise nothing is restored, then or later, and nothing is raised:",
    "An optimizer of a `Checkpoint` that is built later gets its moments then.",
    "`expect_partial()` only silences the warnings at the end.",
)
@pytest.mark.parametrize(
    "kind", [Subclassed, lambda: keras.Sequential([keras.layers.Dense(1)])], ids=["own", "Sequential"]
)
def test_built_before_it_is_restored(kind, tmp_path):
    def compiled(built: bool) -> keras.Model:
        keras.utils.set_random_seed(int(built))
        model = kind()
        model.compile(adam(), "mse", run_eagerly=True)
        if built:
            model(X)
        return model

    saved = compiled(built=True)
    saved.fit(X, Y, verbose=0)
    path = tf.train.Checkpoint(model=saved).save(tmp_path / "model")
    for silenced in (False, True):
        late = compiled(built=False)
        status = tf.train.Checkpoint(model=late).restore(path)
        if silenced:
            status.expect_partial()
        else:
            with pytest.raises(AssertionError, match=r"Unresolved|Object"):
                status.assert_consumed()
        late(X)
        assert differ(late.get_weights(), saved.get_weights()) == (kind is Subclassed)

    for mode in (True, False):
        ready = compiled(built=True)
        ready.run_eagerly = mode
        assert len(ready.optimizer.variables) == 2
        tf.train.Checkpoint(model=ready).restore(path)
        ready.optimizer.build(ready.trainable_variables)
        pairs = zip(ready.optimizer.variables, saved.optimizer.variables, strict=True)
        assert_equal(*map(list, zip(*((one.numpy(), other.numpy()) for one, other in pairs), strict=True)))


@pytest.mark.proves(
    "The iterator of a `Dataset.shuffle` comes back with `Checkpoint(iterator=iterator)` if the global seed is the "
    "same, and that of `from_generator` raises `PyFunc is stateful`."
)
def test_iterators(tmp_path):
    for its_seed in (None, 3):
        comes_back_if_seeded(its_seed, tmp_path)
    signature = tf.TensorSpec((), tf.int32)
    iterator = iter(tf.data.Dataset.from_generator(lambda: iter(range(9)), output_signature=signature))
    next(iterator)
    with pytest.raises(tf.errors.FailedPreconditionError, match="PyFunc is stateful"):
        tf.train.Checkpoint(iterator=iterator).save(tmp_path / "generator")


def comes_back_if_seeded(its_seed: int | None, tmp_path: Path) -> None:
    def begun(global_seed: int) -> Iterator:
        tf.random.set_seed(global_seed)
        return iter(tf.data.Dataset.range(10).shuffle(10, seed=its_seed).repeat(3).batch(4))

    iterator = begun(1)
    next(iterator), next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(tmp_path / "iterator")
    rest = [one.numpy().tolist() for one in iterator]
    for global_seed in (1, 2):
        other = begun(global_seed)
        tf.train.Checkpoint(iterator=other).restore(path)
        assert ([one.numpy().tolist() for one in other] == rest) == (global_seed == 1)


# --- other settings -----------------------------------------------------------------------------------------------


def settled(path, model, *, epochs=4, kept=(), more=()) -> tuple[Resume, list[float]]:
    resume, rates = Resume(path, list(kept)), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: rates.append(float(model.optimizer.learning_rate))
    )
    options = {"initial_epoch": resume.epoch, "epochs": epochs, "shuffle": False, "verbose": 0}
    model.fit(batched(), callbacks=[*kept, note, resume, *more], **options)
    return resume, rates


@pytest.mark.proves(
    "A learning rate is part of the state. The saved one replaces that of `compile`, silently:",
    "the learning rate | the saved one holds; assign to it in the `on_train_begin` of a callback after `Resume`",
    "`patience`, a path or another setting of a callback in `kept` | the saved one holds",
    "`AdamW` instead of `Adam`, a schedule instead of a number | `Resume` raises",
    "the layers that are trainable | `Resume` raises; `load_weights` warns `Skipping variable loading`, and the "
    "moments stay new, or takes those of other layers, silently, if the shapes are the same",
)
def test_other_settings(tmp_path):
    path = tmp_path / "training"
    stop = keras.callbacks.EarlyStopping("loss", patience=3)
    first = made(sequential)
    settled(path, first, epochs=2, kept=[stop])
    first.save_weights(tmp_path / "first.weights.h5")
    weights = first.get_weights()

    def other(rate: Any = 0.5) -> keras.Model:
        return made(sequential, lambda: keras.optimizers.Adam(rate), seed=2)

    stop = keras.callbacks.EarlyStopping("loss", patience=7)
    copied = shutil.copy(path, tmp_path / "copy")
    _, rates = settled(copied, other(), epochs=3, kept=[stop])
    assert rates == pytest.approx([0.05] * 3)
    assert stop.patience == 3
    model = other()
    sets = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: model.optimizer.learning_rate.assign(0.5))
    copied = shutil.copy(path, tmp_path / "copy")
    _, rates = settled(copied, model, epochs=3, kept=[stop], more=[sets])
    assert rates == pytest.approx([0.5] * 3)

    schedule = other(keras.optimizers.schedules.CosineDecay(0.5, 10))
    frozen = other()
    frozen.layers[0].trainable = False
    decayed = made(sequential, lambda: keras.optimizers.AdamW(0.05), seed=2)
    for wrong, kept in ((schedule, [stop]), (frozen, [stop]), (other(), []), (decayed, [stop])):
        before = wrong.get_weights()
        with pytest.raises(ValueError, match="Saved with another model or other callbacks"):
            settled(path, wrong, kept=kept)
        assert_equal(wrong.get_weights(), before)
    frozen.optimizer.build(frozen.trainable_variables)
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        frozen.load_weights(tmp_path / "first.weights.h5")
    assert_equal(frozen.get_weights(), weights)
    assert all(not np.any(one) for one in frozen.optimizer.variables if "momentum" in one.path)


def test_other_layers_of_the_same_shape(tmp_path):
    """All variables have the shapes that were saved, and the moments are of another layer."""

    def frozen(number: int, optimizer: Callable = adam) -> keras.Model:
        its = keras.layers.Dense
        model = made(lambda: keras.Sequential([keras.Input((3,)), its(3), its(3), its(1)]), optimizer)
        model.layers[number].trainable = False
        model.optimizer.build(model.trainable_variables)
        return model

    first = frozen(0)
    settled(tmp_path / "training", first, epochs=1)
    first.save_weights(tmp_path / "first.weights.h5")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*Skipping variable loading")
        (other := frozen(1)).load_weights(tmp_path / "first.weights.h5")
    assert_equal(*([one.numpy() for one in model.optimizer.variables] for model in (first, other)))
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    settled(tmp_path / "scaled", made(small), epochs=1)
    decayed = made(small, lambda: keras.optimizers.AdamW(0.05))
    keras.config.set_dtype_policy(policy)
    for path, wrong in (("training", frozen(1)), ("scaled", decayed)):
        with pytest.raises(ValueError, match="Saved with another model or other callbacks"):
            settled(tmp_path / path, wrong)

    for name in ("one", "two"):
        best = keras.callbacks.ModelCheckpoint(tmp_path / f"{name}.weights.h5", save_weights_only=True)
        settled(tmp_path / "kept", reused(), epochs=1 if name == "one" else 2, kept=[best])
    assert [one.name for one in tmp_path.glob("*.weights.h5")].count("two.weights.h5") == 0


@pytest.mark.proves("a schedule, as `decay_steps` | the new one holds, at the saved step: the rate may jump")
def test_another_schedule(tmp_path):
    def decays(steps: int) -> keras.Model:
        schedule = keras.optimizers.schedules.CosineDecay(0.1, steps)
        return made(small, lambda: keras.optimizers.SGD(schedule))

    _, before = settled(tmp_path / "training", decays(6), epochs=2)
    resume, after = settled(tmp_path / "training", decays(12), epochs=4)
    assert before[-1] < 0.01
    assert after[0] == pytest.approx(0.05)
    assert resume.epoch == 4


@pytest.mark.proves(
    "`epochs`, to more | training goes on; after `EarlyStopping` has stopped, with the epoch after the old `epochs`"
)
def test_more_epochs(tmp_path):
    settled(tmp_path / "longer", reused(), epochs=2)
    resume, _ = settled(tmp_path / "longer", reused(), epochs=4)
    whole, _ = settled(tmp_path / "whole", reused(), epochs=4)
    assert resume.history == whole.history
    for epochs, trained in ((6, 2), (6, 2), (8, 4)):
        stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1)
        resume, _ = settled(tmp_path / "stopped", reused(), epochs=epochs, kept=[stop])
        assert resume.epoch == epochs
        assert len(resume.history["loss"]) in (trained, trained - 1)


@pytest.mark.proves("For a fresh start from these weights, load them before `compile`, and give `Resume` another file.")
def test_a_fresh_start(tmp_path):
    first = reused()
    settled(tmp_path / "training", first, epochs=2)
    first.save_weights(tmp_path / "first.weights.h5")
    model = small()
    model.load_weights(tmp_path / "first.weights.h5")
    model.compile(keras.optimizers.Adam(0.5), "mse", run_eagerly=True)
    resume, rates = settled(tmp_path / "other", model, epochs=1)
    assert (resume.epoch, int(model.optimizer.iterations)) == (1, 3)
    assert rates == pytest.approx([0.5] * 3)


# --- you may have seen --------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`model.save` and `fit(initial_epoch=…)` | With `Dropout`, or callbacks with a state, it isn't the same training.",
    '`save_weights("ckpt")`, `tf.train.latest_checkpoint` | `save_weights` raises: the name ends in `.weights.h5`.',
)
def test_saved_and_numbered(tmp_path):
    for dropout, plateau, same in ((0.0, False, True), (0.5, False, False), (0.0, True, False)):
        saved_and_numbered(dropout, plateau, same, tmp_path)
    with pytest.raises(ValueError, match=re.escape("must end in `.weights.h5`")):
        dense().save_weights("ckpt")


def saved_and_numbered(dropout: float, plateau: bool, same: bool, tmp_path: Path) -> None:
    def run(model, first: int, last: int) -> list[int]:
        callbacks = [keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=3)] if plateau else []
        options = {"initial_epoch": first, "epochs": last, "shuffle": False, "verbose": 0, "callbacks": callbacks}
        return model.fit(*TRAIN, **options).epoch

    model = plain(dropout=dropout)
    assert run(model, 0, 5) == [0, 1, 2, 3, 4]
    expected, rate = model.get_weights(), float(model.optimizer.learning_rate)
    model = plain(dropout=dropout)
    run(model, 0, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    assert run(loaded, 3, 5) == [3, 4]
    equal = not differ(loaded.get_weights(), expected)
    equal &= float(loaded.optimizer.learning_rate) == rate
    assert equal == same


def test_write_whole_keeps_the_file(tmp_path):
    path = tmp_path / "state"
    write_whole(path, {"epoch": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_whole(path, {"epoch": lambda: 0})
    assert pickle.loads(path.read_bytes()) == {"epoch": 1}
