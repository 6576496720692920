"""`docs/training/several_devices.md`: every claim that the page makes, proved.

Devices can't be made once TensorFlow has computed something: whatever needs two runs in a new process.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.several_devices import LastMean, SharedStep, make_model
from tests import contract
from tests.shown import shown
from tests.training.replicas import make_two_devices, two_replicas

MODULE = "snippets.training.several_devices"
RNG = np.random.default_rng(1)
X = RNG.normal(size=(73, 4)).astype("float32")
Y = (X[:, :1] > X[:, 1:2]).astype("float32")
EQUAL = 1e-6

LAYERS = {"LastMean": contract.Layer(LastMean, inputs=[(4,), (None, 3)])}
NOT_IN_CONTRACT = {
    "SharedStep": "is a functional model of Keras with another step, which is compared with that of `fit` below",
    "Largest of largest_fails": "is right on one device, and wrong on two: shown below",
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_contract(case, check):
    assert check(case) is None, "a check that fails raises"


# --- in a process of its own ----------------------------------------------------------------------------------------


class AddsALoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.mean(ops.square(ops.cast(inputs, "float32"))))
        return inputs


def built(
    *,
    shape=(4,),
    between: tuple[Callable[[], keras.layers.Layer], ...] = (),
    cls=keras.Model,
    regularizer=None,
    **options,
):
    """A model of four numbers to one, with other layers in between."""
    keras.utils.set_random_seed(3)
    outputs = inputs = keras.Input(shape)
    for layer in (lambda: keras.layers.Dense(5, "relu", kernel_regularizer=regularizer), *between):
        outputs = layer()(outputs)
    model = cls(inputs, keras.layers.Dense(1, "sigmoid", dtype="float32")(outputs))
    options = {"optimizer": keras.optimizers.SGD, "loss": "binary_crossentropy", "metrics": ["accuracy"], **options}
    model.compile(**{**options, "optimizer": options["optimizer"](0.1)})
    return model


def apart(one: list, other: list) -> float:
    return max(float(np.max(np.abs(np.subtract(left, right)))) for left, right in zip(one, other, strict=True))


def compared(strategy, *, rows: int = 72, fit: Callable[[], dict] = dict, of_two: dict | None = None, **options) -> Any:
    """The largest difference in history and weights between `fit` on one device and on two, or the words of an error.

    `of_two` are options of the model on two devices alone.
    """
    found = []
    for scope, more in ((contextlib.nullcontext(), {}), (strategy.scope(), of_two or {})):
        with scope:
            model = built(**{**options, **more})
        try:
            history = model.fit(X[:rows], Y[:rows], **{"batch_size": 24, "verbose": 0, **fit()}).history
        except (RuntimeError, tf.errors.InvalidArgumentError) as error:
            return str(error)
        found.append(([history[name] for name in sorted(history)], model.get_weights()))
    (history, weights), (shared, on_two) = found
    return max(apart(history, shared), apart(weights, on_two))


def optimizer(cls: type[keras.optimizers.Optimizer], **options) -> Callable[[float], keras.optimizers.Optimizer]:
    return lambda rate: cls(rate, **options)


def decaying(_rate: float) -> keras.optimizers.Optimizer:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    return keras.optimizers.Adam(schedule, use_ema=True, ema_momentum=0.5)


def synchronized() -> keras.layers.Layer:
    return keras.layers.BatchNormalization(momentum=0.5, synchronized=True)


def callbacks() -> dict[str, Any]:
    kinds = keras.callbacks
    made = [
        kinds.ReduceLROnPlateau(patience=0, factor=0.5, min_delta=1),
        kinds.EarlyStopping(patience=0, min_delta=1.0, restore_best_weights=True),
        kinds.ModelCheckpoint("best.keras", save_best_only=True),
        kinds.LearningRateScheduler(lambda epoch, rate: rate / 2),
    ]
    return {"validation_data": (X[:48], Y[:48]), "epochs": 3, "callbacks": made}


SAME = {
    "sample_weight, penalties, callbacks, metrics": {
        "regularizer": "l2",
        "between": (AddsALoss,),
        "fit": lambda: {**callbacks(), "sample_weight": np.linspace(0, 2, 72)},
        "metrics": ["auc", "precision", "mse"],
        "weighted_metrics": ["recall"],
    },
    "class_weight, schedule, use_ema, synchronized": {
        "between": (synchronized,),
        "optimizer": decaying,
        "fit": lambda: {"class_weight": {0: 1.0, 1: 5.0}},
    },
    "eager, in order, with a smaller last batch, accumulated": {
        "rows": 60,
        "run_eagerly": True,
        "steps_per_execution": 2,
        "optimizer": optimizer(keras.optimizers.SGD, gradient_accumulation_steps=2),
        "fit": lambda: {"validation_data": (X[:40], Y[:40]), "shuffle": False},
    },
}
OTHER = {
    "odd": {"rows": 47},
    "normalized": {"between": (lambda: keras.layers.BatchNormalization(momentum=0.5),)},
    "dropout": {"between": (lambda: keras.layers.Dropout(0.5),)},
    "added, synchronized": {"between": (AddsALoss, synchronized)},
    "synchronized, added": {"between": (synchronized, AddsALoss)},
}


def ways_of_fit() -> dict[str, Any]:
    strategy = two_replicas()
    found = {name: compared(strategy, **options) for name, options in SAME.items()}
    found |= {
        name: compared(strategy, **{"rows": 48, "run_eagerly": True, **options}) for name, options in OTHER.items()
    }
    keras.config.set_dtype_policy("mixed_float16")
    found["mixed_float16"] = compared(strategy, rows=48, run_eagerly=True)
    return found


@pytest.mark.proves(
    "Losses, metrics and weights of `fit` on two replicas are equal to those on one device, to rounding, for "
    "`sample_weight`, `class_weight`, regularizers, `add_loss`, validation data, `run_eagerly=True`, `mixed_float16`, "
    "schedules and `use_ema=True`.",
    "`fit`, `evaluate`, `predict`, `save` and the callbacks need no scope.",
    "`BatchNormalization` | Each replica takes the mean and variance of its part. With `synchronized=True`, they are "
    "those of the whole batch, but losses of `add_loss` are wrong, silently.",
    "A last batch that can't be divided evenly | Each replica's mean counts as much as another's.",
    "They raise, unless `run_eagerly=True`.",
)
def test_what_is_equal_to_one_device_and_what_is_not(process):
    found = process.call(ways_of_fit)
    assert found.pop("mixed_float16") < 1e-3
    assert {name: found[name] for name in SAME if not found[name] < EQUAL} == {}
    assert {name: found[name] for name in OTHER if not found[name] > 1e-4} == {}


def single(strategy, *, x=4, y=1.0, between=(), loss="mse", **options) -> list[tuple[float, list]]:
    """The loss of `fit` with batches of four, and how far it moves a weight that starts at 0, on one device and on two.

    `x` and `y` are what the samples hold, or how many ones there are.
    """
    x = np.ones((x, 1)) if isinstance(x, int) else x
    y, found = np.broadcast_to(np.float32(y), x.shape), []
    for scope in (contextlib.nullcontext(), strategy.scope()):
        with scope:
            start = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
            line = keras.Sequential([keras.Input((1,)), start, *(layer() for layer in between)])
            eager = len(x) == 4  # where the loss of no sample is NaN
            line.compile(keras.optimizers.SGD(0.1, **options), loss, run_eagerly=eager)
        history = line.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
        found.append((history["loss"][0], [weight.numpy().sum() for weight in line.weights]))
    return found


def single_steps() -> dict[str, Any]:
    strategy = two_replicas()
    clipped = ("clipnorm", "clipvalue", "global_clipnorm")
    found = {name: single(strategy, y=100.0, **{name: 0.5}) for name in clipped}
    found["whole"] = single(strategy, y=100.0)
    found["of one"] = single(strategy, x=5, y=[[0], [0], [0], [0], [1]])
    for name, axis in (("of rows", -1), ("one number", None)):
        found[name] = single(strategy, loss=lambda y, p, axis=axis: ops.mean(ops.square(y - p), axis=axis))

    found["normalized"] = single(strategy, x=5, between=[keras.layers.BatchNormalization])
    found["added"] = single(strategy, x=5, between=[AddsALoss])
    return found


@pytest.mark.proves(
    "A replica without a sample shortens the step, to half on two, and makes moving statistics of "
    "`BatchNormalization` and a mean in `add_loss` NaN, silently: use `batch(64, drop_remainder=True)`.",
    "`clipnorm`, `clipvalue`, `global_clipnorm` | Each replica clips its own gradient, before they are added up: on "
    "two, a clipped step is up to twice as long.",
    "A loss that is given to `compile` and returns one number for the batch | It isn't divided: on two replicas the "
    "loss and the gradient are twice as large. Return one value for each sample.",
)
def test_single_steps(process):
    found = process.call(single_steps)
    losses = {name: [loss for loss, _ in both] for name, both in found.items()}
    steps = {name: [weights[0] for _, weights in both] for name, both in found.items()}
    assert steps["whole"] == pytest.approx([20.0, 20.0])
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        assert steps[name] == pytest.approx([0.05, 0.1]), name
    assert steps["of one"] == pytest.approx([0.2, 0.1])

    assert losses["of rows"] == pytest.approx([1.0, 1.0])
    assert steps["of rows"] == pytest.approx([0.2, 0.2])
    assert losses["one number"] == pytest.approx([1.0, 2.0])
    assert steps["one number"] == pytest.approx([0.2, 0.4])

    finite = {name: [bool(np.isfinite(weights).all()) for _, weights in both] for name, both in found.items()}
    assert finite.pop("normalized") == [True, False]
    assert all(all(both) for both in finite.values()), finite
    assert np.isfinite(losses.pop("added")).tolist() == [True, False]
    assert np.isfinite([*losses.values()]).all()


# --- the program ----------------------------------------------------------------------------------------------------


def as_on_one(seed: int) -> tuple[dict, dict, list, list]:
    warnings.simplefilter("ignore")
    page = shown(MODULE, "program", seed=seed)
    return page["history"], page["expected"], page["model"].get_weights(), page["on_one"].get_weights()


@pytest.mark.proves(
    "A model with a step of its own, trained on two devices, and what `fit` does on one:",
    "A model whose step does what that of `fit` does, on any replicas.",
    "`compute_loss` has divided by the number of replicas, for that sum.",
    "Adds up the gradients of all replicas.",
    "This page was run on two logical CPUs.",
    "`batch_size` counts the samples of all replicas together: with 64, each of two gets 32.",
)
def test_the_program_reports_what_one_device_does(process, seed):
    history, expected, weights, of_one = process.call(as_on_one, seed)
    assert history.keys() == expected.keys() == {"accuracy", "loss"}
    for name, values in history.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5)
    assert apart(weights, of_one) < EQUAL
    start = make_model().get_weights()
    assert apart(start, weights) > 0.01


def shared_step() -> dict[str, Any]:
    """The step of the page on two devices, and `fit` on one."""
    strategy = two_replicas()
    ways = {
        "busy": {
            "fit": lambda: {"sample_weight": np.linspace(0, 2, 72)},
            "regularizer": "l2",
            "between": (AddsALoss,),
            "weighted_metrics": ["mse"],
            "optimizer": keras.optimizers.Adam,
        },
    }
    found = {name: compared(strategy, of_two={"cls": SharedStep}, **options) for name, options in ways.items()}
    keras.config.set_dtype_policy("mixed_float16")
    found["mixed_float16"] = compared(strategy, rows=48, run_eagerly=True, of_two={"cls": SharedStep})

    sizes = []

    def seen(y_true, y_pred):
        sizes.append(tuple(y_pred.shape))
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    with strategy.scope():
        model = built(loss=seen, run_eagerly=True)
    model.fit(X[:64], Y[:64], batch_size=64, verbose=0)
    found["sizes"] = sizes[-2:]
    return found


@pytest.mark.proves("A model whose step does what that of `fit` does, on any replicas.")
def test_the_step_is_that_of_fit(process):
    found = process.call(shared_step)
    assert found.pop("sizes") == [(32, 1), (32, 1)]
    assert found.pop("mixed_float16") < 1e-3
    assert max(found.values()) < EQUAL, found


def saved_and_loaded() -> dict[str, Any]:
    strategy = two_replicas()
    with strategy.scope():
        model = built(cls=SharedStep)
    data = {"x": X[:48], "y": Y[:48], "batch_size": 24, "shuffle": False, "verbose": 0}
    model.fit(**data)
    model.save("half.keras")
    expected = model.fit(**data).history["loss"]
    alone = keras.saving.load_model("half.keras")
    with strategy.scope():
        shared = keras.saving.load_model("half.keras")
    kinds = [type(one.layers[1].kernel.value).__name__ for one in (alone, shared)]
    losses = [one.fit(**data).history["loss"] for one in (alone, shared)]
    rows = [model.predict(X[:60], batch_size=20, verbose=0), model(X[:60])]
    return {"kinds": kinds, "apart": apart(losses, [expected] * 2), "rows": apart(*([one] for one in rows))}


@pytest.mark.proves(
    "The file that is saved knows nothing of the strategy; to go on training on several devices, call `load_model` "
    "under the scope.",
    "Compute it from `model.predict(x)`, whose rows are those of one device, in the same order.",
)
def test_a_saved_model_goes_on_on_one_device_and_on_two(process):
    found = process.call(saved_and_loaded)
    assert found["kinds"] == ["ResourceVariable", "MirroredVariable"]
    assert found["apart"] < EQUAL
    assert found["rows"] < EQUAL


# --- the loop, and who divides the loss ------------------------------------------------------------------------------


def loops() -> dict[Any, float]:
    """How far the weights of the page's loop on two devices are from those of `fit` on one."""
    warnings.simplefilter("ignore")
    strategy, x = two_replicas(), np.random.default_rng(7).normal(size=(321, 4)).astype("float32")
    page = shown(MODULE, "loop", strategy=strategy, x=x, y=np.float32(x[:, :1] > x[:, 1:2]))
    make_train_step = page["make_train_step"]
    found = {"printed": page.printed.splitlines()[-2:]}
    for name, x, y, more in (
        (
            "Adam, rows of five",
            np.repeat(X[:25, None], 5, axis=1),
            np.repeat(Y[:25, None], 5, axis=1),
            {"shape": (5, 4)},
        ),
        ("mixed_float16", X[:25], Y[:25], {}),
        ("added", X[:25], Y[:25], {"between": (AddsALoss,)}),
    ):
        keras.config.set_dtype_policy(name if "mixed" in name else "float32")
        options = {"regularizer": "l2", "optimizer": getattr(keras.optimizers, name[:4], keras.optimizers.SGD), **more}
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(24)
        on_one = built(run_eagerly=True, **options)
        on_one.fit(batches.take(1 if name == "added" else 2), shuffle=False, verbose=0)
        with strategy.scope():
            model = built(**options)
        step = make_train_step(model)
        trained = [(float(step(*b)), model.get_weights()) for b in strategy.experimental_distribute_dataset(batches)]
        compared_at = 0 if name == "added" else 1
        found[name] = apart(trained[compared_at][1], on_one.get_weights()), trained[1][0]

    sizes = strategy.run(lambda x: tf.shape(x)[0], args=(tf.ones((8, 1)),))
    found["whole"] = [int(size) for size in strategy.experimental_local_results(sizes)]
    found["parts"] = strategy.reduce("SUM", strategy.run(lambda: tf.constant(3.0)), axis=None).numpy()
    return found


@pytest.mark.proves(
    "A loop can divide by the number of losses that all replicas have together, which `fit` doesn't. Here the last "
    "batch of 321 samples has one:",
    "The penalty of a regularizer is the same on each replica, so it is divided by their number. That is exact for a "
    "mean in `add_loss` only if the batch can be divided evenly.",
    "`strategy.run` calls "
    'a function on each replica, and returns what each returned: `strategy.reduce("SUM", …)` adds it up. Without '
    "`experimental_distribute_dataset`, each replica gets the whole batch.",
    "Return a step of a built model, for batches that are distributed.",
)
def test_the_loop_is_equal_for_any_batch(process):
    found = process.call(loops)
    of_fit, of_loop = (float(line.split()[-2]) for line in found.pop("printed"))
    assert of_fit > 0.005 > 1e-4 > of_loop
    assert found.pop("whole") == [8, 8]
    assert found.pop("parts") == 6
    assert found.pop("mixed_float16")[0] < 1e-3
    assert np.isnan(found["added"][1])
    assert max(apart for apart, _ in found.values()) < EQUAL, found


def divided() -> dict[str, Any]:
    warnings.simplefilter("ignore")
    strategy = two_replicas()
    page = shown(MODULE, "who_divides", strategy=strategy)
    found = {"printed": page.printed.splitlines()[-4:]}
    found["Adam"] = [float(page["after_a_step"](loss, keras.optimizers.Adam)) for loss in page["losses"].values()]

    y, p = tf.ones((8, 1)), tf.zeros((8, 1))
    losses = keras.losses
    kinds = {
        "mean": lambda: losses.BinaryFocalCrossentropy()(y, p + 0.5),
        "sum": lambda: losses.MeanSquaredError(reduction="sum")(y, p),
        "none": lambda: ops.sum(losses.MeanSquaredError(reduction=None)(y, p)),
        "function": lambda: ops.sum(losses.mean_squared_error(y, p)),
    }
    found["shares"] = {
        name: float(strategy.experimental_local_results(strategy.run(kind))[0]) / float(kind())
        for name, kind in kinds.items()
    }
    with strategy.scope():
        model = make_model()
    own = strategy.run(lambda: model.compute_loss(y=y, y_pred=p + 0.5))
    alone = make_model().compute_loss(y=y, y_pred=p + 0.5)
    found["compute_loss"] = float(strategy.experimental_local_results(own)[0]) / float(alone)
    return found


@pytest.mark.proves(
    "Return a weight that starts at 0, and should become 1.",
    "Since `optimizer.apply` adds up the gradients of the replicas, each has to be that of a part of the mean over the "
    "batch. The losses of Keras divide by the number of replicas, and so does `compute_loss`. A mean of your own "
    "doesn't, and nothing tells you. On one device, the weight moves by 0.2:",
    "Adam hides the first and the last. Objects with "
    '`reduction="sum"` or `None`, and functions such as `keras.losses.mean_squared_error`, divide by nothing.',
)
def test_who_divides_the_loss(process):
    found = process.call(divided)
    assert [float(line.split()[-1]) for line in found["printed"]] == [0.4, 0.2, 0.2, 0.1]
    assert found["Adam"] == pytest.approx([0.1] * 4, rel=1e-4)
    assert found["shares"] == pytest.approx({"mean": 0.5, "sum": 1, "none": 1, "function": 1})
    assert found["compute_loss"] == pytest.approx(0.5)
    alone = shown(MODULE, "who_divides", strategy=tf.distribute.get_strategy())
    assert "ops.mean: one step to 0.2" in alone.printed


# --- state, metrics and random numbers -------------------------------------------------------------------------------


def states() -> dict[str, Any]:
    warnings.simplefilter("ignore")
    strategy = two_replicas()
    page = shown(MODULE, "states", "largest_fails", "same_noise", strategy=strategy)
    layer = page["layer"]
    *means, largest, noise = page.printed.splitlines()[-6:]
    found = {"means": means, "largest": largest, "noise": noise}
    page["line"].save("line.keras")
    found["weights"] = [float(weight) for weight in layer.get_weights()]

    with strategy.scope():
        again = keras.Sequential([keras.Input((1,)), LastMean()])
        counts = {kind: keras.Variable(0.0, trainable=False, aggregation=kind) for kind in layer.means}
        masks = keras.layers.GaussianNoise(1.0)

    @tf.function
    def count():
        strategy.run(lambda: [counter.assign_add(1.0) for counter in counts.values()])

    for _ in range(3):
        count()
    found["counts"] = {name: float(counter.numpy()) for name, counter in counts.items()}
    found["untrained"] = [float(weight) for weight in again.get_weights()]

    @tf.function
    def drawn(draw):
        return strategy.run(draw)

    def of_the_replica():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.random.stateless_normal((8,), seed=(7, replica))

    same = [strategy.experimental_local_results(drawn(lambda: masks(tf.ones((1, 9)), training=True))) for _ in "ab"]
    found["same"] = [bool(np.array_equal(*parts)) for parts in same]
    found["moved on"] = not np.array_equal(same[0][0], same[1][0])
    found["other"] = not np.array_equal(*strategy.experimental_local_results(drawn(of_the_replica)))
    return found


@pytest.mark.proves(
    "A weight that the layer assigns in training is kept on each replica. `aggregation` says what is assigned when "
    "the replicas assign different values. One replica gets rows of 0, the other rows of 2:",
    '`"none"` is the default: the replicas part, and `save` and `get_weights` take the first one\'s. Write `"mean"` '
    'for moving statistics, `"only_first_replica"` for what each replica counts alike. With `"sum"`, `assign_add(1)` '
    "doesn't count: three steps on two replicas give 14, as it adds up what was there, too.",
    "Keeps the mean of the last batch in training, in four ways.",
    "A largest value is wrong:",
    "A `keras.random.SeedGenerator` is a state that starts and moves alike on each replica. For other noise on each, "
    "draw with `tf.random.stateless_normal`, and let its seed hold "
    "`tf.distribute.get_replica_context().replica_id_in_sync_group`.",
    "Dropout, and other layers that draw | Each replica draws the same numbers.",
)
def test_state_metrics_and_noise_on_two_replicas(process):
    found = process.call(states)
    means = ["none: [0.0, 2.0]", "mean: [1.0, 1.0]", "sum: [2.0, 2.0]", "only_first_replica: [0.0, 0.0]"]
    assert found["means"] == means
    assert found["weights"] == [0, 1, 2, 0]
    assert found["counts"] == {"none": 3, "mean": 3, "sum": 14, "only_first_replica": 3}
    assert found["largest"] == "largest of ones: 2"
    assert found["noise"] == "the same values dropped on both: True"
    assert found["same"] == [True, True]
    assert found["moved on"]
    assert found["other"]
    assert keras.Variable(0.0).aggregation == "none"


@pytest.mark.proves("Keeps the mean of the last batch in training, in four ways.")
def test_on_one_device_the_four_are_one():
    layer = LastMean()
    layer(np.float32([[1.0], [4.0]]), training=True)
    layer(np.float32([[9.0], [9.0]]))
    assert layer.get_weights() == [2.5] * 4


def sums() -> list[float]:
    strategy = two_replicas()
    with strategy.scope():
        mean, total = keras.metrics.Mean(), keras.metrics.Sum()

    @tf.function
    def update():
        replica = tf.distribute.get_replica_context
        strategy.run(lambda: mean.update_state(tf.cast(replica().replica_id_in_sync_group, "float32")))
        strategy.run(lambda: total.update_state(5.0))

    update()
    return [float(mean.result()), float(total.result())]


@pytest.mark.proves(
    "Each replica updates a state of its own, and `result` gets their sum. That is right for sums and counts, and so "
    "for metrics that keep them.",
    "A metric whose state isn't a sum | Wrong",
)
def test_the_states_of_a_metric_are_added_up(process):
    assert process.call(sums) == [0.5, 10.0]


# --- what raises ------------------------------------------------------------------------------------------------------


def raised() -> dict[str, str]:
    tf.constant(1.0)
    try:
        make_two_devices()
    except RuntimeError as error:
        return {"late": str(error)}


def all_raised() -> dict[str, Any]:
    strategy = two_replicas()
    sgd = keras.optimizers.SGD

    def fitted(batch_size=24, **options) -> str:
        with strategy.scope():
            model = built(**options)
        return message(lambda: model.fit(X[:batch_size], Y[:batch_size], batch_size=batch_size, verbose=0))

    def message(call: Callable[[], Any]) -> str:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            call()
        return f"{raised.typename}: {raised.value}"

    overwriting = optimizer(sgd, use_ema=True, ema_overwrite_frequency=2)
    found = {
        "first batch": fitted(23),
        "XLA": fitted(jit_compile=True),
        "steps": fitted(steps_per_execution=2),
        "accumulated": fitted(optimizer=optimizer(sgd, gradient_accumulation_steps=2)),
        "overwritten": fitted(optimizer=overwriting),
    }
    with strategy.scope():
        shared = built()
        uneven = built()
        lazy = {name: keras.Sequential([keras.layers.Dense(1)]) for name in ("SGD", "Adam")}

    def compiled(model, optimizer="adam"):
        model.compile(optimizer, loss="mse")
        return model.fit(X[:24], Y[:24], verbose=0)

    def under_the_scope(call):
        with strategy.scope():
            return call()

    found["float"] = message(lambda: float(shared.optimizer.learning_rate))
    found["numpy"] = float(shared.optimizer.learning_rate.numpy())
    found["evaluated"] = message(lambda: uneven.evaluate(X[:15], Y[:15], verbose=0))
    found["outside"] = message(lambda: compiled(shared))
    found["SGD outside"] = compiled(uneven, "sgd").history["loss"]
    alone = built()
    found["fitted under it"] = message(lambda: under_the_scope(lambda: alone.fit(X[:24], Y[:24], verbose=0)))
    for name in ("SGD", "Adam"):
        outside = built()
        under_the_scope(lambda name=name, model=outside: model.compile(name.lower(), "mse"))
        found[f"{name} and fitted"] = message(lambda model=outside: model.fit(X[:24], Y[:24], verbose=0))
        under_the_scope(lambda name=name: lazy[name].compile(name.lower(), "mse"))
        lazy[name](X)
        found[f"{name} and called"] = message(lambda name=name: lazy[name].fit(X[:24], Y[:24], verbose=0))
    return found


@pytest.mark.proves(
    "`Mixing different tf.distribute.Strategy objects` | `compile` outside of the scope, with an optimizer that keeps "
    "a state for each weight, as Adam does",
    '`AssertionError` without a text, `Need to be inside "with strategy.scope()"` or `colocate_vars_with` | The '
    "weights were made outside of the scope. A model without an `Input` makes them when it is first called.",
    "`Inputs to operation AddN of type AddN must have the same size and shape` | `fit` or `evaluate` on a first batch "
    "that can't be divided evenly. Choose another `batch_size`.",
    "`Trying to access resource … located in device` | `jit_compile=True`",
    "`You must feed a value for placeholder tensor` | `steps_per_execution` of 2 or more",
    "`merge_call called while defining a new graph or a tf.function` | `gradient_accumulation_steps`, or "
    "`ema_overwrite_frequency`",
    "`float() argument must be a string or a real number, not 'MirroredVariable'` | `float(optimizer.learning_rate)`: "
    "write `optimizer.learning_rate.numpy()`.",
    "`Virtual devices cannot be modified after being initialized` | Something was computed before the devices were "
    "made.",
    "`gradient_accumulation_steps`, `jit_compile=True`, `steps_per_execution` | They raise, unless `run_eagerly=True`.",
    "Make the model and compile it under `strategy.scope()`.",
)
def test_what_raises(process, readers):
    found = process.call(all_raised)
    for name in ("first batch", "evaluated"):
        assert "Inputs to operation AddN of type AddN must have the same size and shape" in found[name], name
    assert "Trying to access resource" in found["XLA"]
    assert "located in device" in found["XLA"]
    assert "You must feed a value for placeholder tensor" in found["steps"]
    for name in ("accumulated", "overwritten"):
        assert "`merge_call` called while defining a new graph or a tf.function" in found[name], name
    assert "float() argument must be a string or a real number, not 'MirroredVariable'" in found["float"]
    assert found["numpy"] == pytest.approx(0.1)
    assert "Mixing different tf.distribute.Strategy objects" in found["outside"]
    assert found["fitted under it"] == found["SGD and fitted"] == found["SGD and called"] == "AssertionError: "
    assert "`colocate_vars_with` must only be passed a variable created in this" in found["Adam and called"]
    assert 'Need to be inside "with strategy.scope()"' in found["Adam and fitted"]
    assert found["SGD outside"]
    other = readers.page()
    assert "Virtual devices cannot be modified after being initialized" in other.call(raised)["late"]
    other.end()
