"""`docs/training/custom_optimizer.md`: every claim that the page makes, proved."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from snippets.training.custom_optimizer import DecaysKernels, LayerwiseAdam, NormalizedMomentum, WarmupCosine
from tests import contract
from tests.shown import shown

MODULE = "snippets.training.custom_optimizer"
OTHERS = {
    "NormalizedMomentum": contract.Other(lambda **kw: NormalizedMomentum(**kw)),
    "LayerwiseAdam": contract.Other(lambda **kw: LayerwiseAdam(**kw)),
    "DecaysKernels": contract.Other(lambda **kw: DecaysKernels(**kw)),
    "WarmupCosine": contract.Other(lambda: WarmupCosine(0.1, 10, 100), tf.constant(3)),
}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_it_passes_the_checkup(case):
    contract.passes_the_checkup(case)


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    return [
        [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", line.split(":", 1)[1])]
        for line in printed.splitlines()
    ]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- the program --------------------------------------------------------------------------------------------------


def test_the_program_learns_and_reloads(seed):
    page = shown(MODULE, "program", seed=seed)
    _loss, reloaded, steps = page.printed.splitlines()
    assert page["losses"][-1] < page["losses"][0] / 100
    assert reloaded == "reloaded: NormalizedMomentum 0.5"
    assert steps == "steps so far: 100"
    np.testing.assert_allclose(page["model"].get_weights()[0][:, 0], [2, -1, 0.5], atol=0.1)


# --- the optimizer ----------------------------------------------------------------------------------------------------


def by_hand(weights, gradients, learning_rate, momentum) -> tuple[list[np.ndarray], list[np.ndarray]]:
    averages = [np.zeros_like(weight) for weight in weights]
    for step in gradients:
        for index, gradient in enumerate(step):
            averages[index] = momentum * averages[index] + (1 - momentum) * gradient
            weights[index] = weights[index] - learning_rate * averages[index] / np.linalg.norm(averages[index])
    return weights, averages


@pytest.mark.proves(
    "It keeps `average = momentum * average + (1 - momentum) * gradient` for each weight, then does "
    "`weight -= learning_rate * average / |average|`",
    "`update_step` | Update one weight, and its slots.",
    "Steps of length `learning_rate` along the averaged gradient.",
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_normalized_momentum_against_numpy(momentum):
    start = [rng().normal(size=(4, 3)), rng().normal(size=(3,))]
    gradients = [[rng().normal(size=(4, 3)) * scale, rng().normal(size=(3,))] for scale in (1, -3, 10, 0.1)]
    variables = [keras.Variable(weight) for weight in start]
    optimizer = NormalizedMomentum(0.05, momentum)
    for step in gradients:
        optimizer.apply([tf.constant(gradient, "float32") for gradient in step], variables)
    weights, averages = by_hand(start, gradients, 0.05, momentum)
    for variable, expected in zip([*variables, *optimizer.averages], [*weights, *averages], strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-5)

    held = len(optimizer.variables)
    optimizer.build(variables)
    assert len(optimizer.variables) == held == 2 + 2  # with the iterations and the learning rate


def test_the_defaults_of_the_optimizer():
    optimizer = NormalizedMomentum()
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert optimizer.momentum == 0.9


@pytest.mark.parametrize("momentum", [-0.1, 1, 1.5])
def test_a_momentum_that_never_settles_is_refused(momentum):
    with pytest.raises(ValueError, match="`momentum` must be at least 0 and less than 1"):
        NormalizedMomentum(momentum=momentum)


def step_lengths(gradients, dtype="float32", **options) -> list[float]:
    variable = keras.Variable([0.0, 0.0], dtype=dtype)
    optimizer, lengths = NormalizedMomentum(0.5, **options), []
    for gradient in gradients:
        before = np.asarray(variable.numpy(), "float64")
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
        lengths.append(np.linalg.norm(np.asarray(variable.numpy(), "float64") - before))
    return lengths


@pytest.mark.proves("This optimizer keeps the direction, and its step has the length of the learning rate.")
@pytest.mark.parametrize("scale", [1e-30, 5e-19, 1e-3, 1.0, 1e3, 5e20, 1e30])
def test_a_step_has_one_length_whatever_the_size_of_the_gradient(scale):
    assert step_lengths([[4 * scale, 3 * scale]]) == pytest.approx([0.5])
    # And after a spike: its direction is kept, and the steps go on.
    assert step_lengths([[5e20, 0.0], [0.0, scale], [0.0, scale]]) == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_step_has_one_length_in_each_dtype(dtype):
    for scale in (5e-4, 1.0, 1e3):
        assert step_lengths([[4 * scale, 3 * scale]], dtype) == pytest.approx([0.5], rel=0.01)


@pytest.mark.proves(
    "Both hold for each weight tensor alone, and weight decay comes on top.",
)
def test_each_weight_makes_its_own_step_and_decay_is_added():
    weights = [keras.Variable([0.0]), keras.Variable([0.0])]
    NormalizedMomentum(0.5).apply([tf.constant([4.0]), tf.constant([3.0])], weights)
    assert [float(weight.numpy()[0]) for weight in weights] == [-0.5, -0.5]
    decays = keras.Variable([10.0])
    NormalizedMomentum(0.1, weight_decay=0.5).apply([tf.ones(1)], [decays])
    assert float(decays.numpy()[0]) == pytest.approx(10 - 0.5 - 0.1)


@pytest.mark.proves(
    "The first step of each optimizer at a learning rate of 0.5, for the gradient (−4, −3), 1000 times that, "  # noqa: RUF001
    "and a hundredth:",
    "The step of SGD grows with the gradient. Those of Adam and Lion hardly depend on its size, but move each "
    "number by the same amount, and lose the direction.",
)
def test_what_the_first_steps_are():
    sgd, adam, lion, ours = (np.reshape(line, (3, 2)) for line in figures(shown(MODULE, "steps").printed))
    np.testing.assert_allclose(sgd, 0.5 * np.array([[4, 3], [4000, 3000], [0.04, 0.03]]))
    np.testing.assert_allclose(adam, np.full((3, 2), 0.5), rtol=1e-3)
    np.testing.assert_allclose(lion, np.full((3, 2), 0.5))
    np.testing.assert_allclose(ours, [[0.4, 0.3]] * 3)


def test_without_a_gradient_there_is_no_step():
    variable = keras.Variable([1.0, 2.0])
    NormalizedMomentum().apply([tf.zeros(2)], [variable])
    np.testing.assert_array_equal(variable, [1.0, 2.0])


def test_the_sparse_gradient_of_an_embedding_is_the_dense_one():
    results = []
    for dense in (False, True):
        table = keras.Variable(np.arange(8.0).reshape(4, 2))
        optimizer = NormalizedMomentum(0.1)
        for ids in ([0, 2], [1, 1]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table.value, ids) ** 2)
            gradient = tape.gradient(loss, table.value)
            assert isinstance(gradient, tf.IndexedSlices)
            optimizer.apply([tf.convert_to_tensor(gradient) if dense else gradient], [table])
        results.append(table.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_normalized_momentum_keeps_its_config():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    copy = NormalizedMomentum.from_config(
        NormalizedMomentum(schedule, momentum=0.5, weight_decay=0.01, clipnorm=2.0, name="steady").get_config()
    )
    assert (copy.momentum, copy.weight_decay, copy.clipnorm, copy.name) == (0.5, 0.01, 2.0, "steady")
    assert copy.get_config()["learning_rate"]["config"]["initial_learning_rate"] == 0.5


@pytest.mark.proves(
    "Learning rate schedules, clipping and weight decay come from the base class, and so do `use_ema` and "
    "`gradient_accumulation_steps`."
)
def test_schedules_clipping_and_weight_decay_come_from_the_base_class():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.25])
    variable, optimizer = keras.Variable([0.0]), NormalizedMomentum(schedule)
    positions = []
    for _ in range(2):
        optimizer.apply([tf.ones(1)], [variable])
        positions.append(float(variable.numpy()[0]))
    assert positions == pytest.approx([-1.0, -1.25])

    # The first gradient counts 1 instead of 100 in the average: the second one turns it.
    clipped, free = (keras.Variable([0.0, 0.0]) for _ in range(2))
    for variable, options in ((clipped, {"clipvalue": 1.0}), (free, {})):
        optimizer = NormalizedMomentum(0.1, **options)
        for gradient in ([100.0, 0.0], [0.0, 1.0]):
            optimizer.apply([tf.constant(gradient)], [variable])
    assert abs(clipped.numpy()[1]) > 0.05 > abs(free.numpy()[1])

    decays = keras.Variable([10.0])
    NormalizedMomentum(0.1, weight_decay=0.5).apply([tf.zeros(1)], [decays])
    assert float(decays.numpy()[0]) == pytest.approx(9.5)

    variable, optimizer = keras.Variable([0.0]), NormalizedMomentum(1.0, gradient_accumulation_steps=2)
    positions = []
    for _ in range(4):
        optimizer.apply([tf.ones(1)], [variable])
        positions.append(float(variable.numpy()[0]))
    assert positions == [0, -1, -1, -2]

    averaged, optimizer = keras.Variable([0.0]), NormalizedMomentum(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([tf.ones(1)], [averaged])
    optimizer.finalize_variable_values([averaged])
    assert -2 < float(averaged.numpy()[0]) < 0


WRAPS = (
    "If the policy of the model is `mixed_float16`, and not only that of its layers, "
    "`compile` wraps the optimizer in a `LossScaleOptimizer`, unless it gets `auto_scale_loss=False`."
)


@pytest.mark.proves(WRAPS)
def test_the_policy_of_layers_alone_does_not_wrap_the_optimizer():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, dtype="mixed_float16")])
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse")
    assert model.layers[0].compute_dtype == "float16"
    assert type(model.optimizer) is NormalizedMomentum


@pytest.mark.proves(WRAPS)
def test_it_trains_in_mixed_precision():
    x = rng().normal(size=(64, 4)).astype("float32")
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    losses = model.fit(x, x.sum(axis=-1, keepdims=True), epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    model.compile(optimizer=NormalizedMomentum(0.05), loss="mse", auto_scale_loss=False)
    assert type(model.optimizer) is NormalizedMomentum


def test_it_trains_compiled_by_xla():
    x = rng().normal(size=(64, 4)).astype("float32")
    losses = {}
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)])
        model.compile(optimizer=NormalizedMomentum(0.05), loss="mse", jit_compile=jit_compile)
        losses[jit_compile] = model.fit(x, x[:, 0], epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-4)


# --- saving -----------------------------------------------------------------------------------------------------------


def compiled_model(x, y) -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=NormalizedMomentum(0.02, momentum=0.5), loss="mse")
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    return model


def load_and_train(path: Path, x, y) -> dict:
    model = keras.saving.load_model(path)
    found = {
        "momentum": model.optimizer.momentum,
        "averages": [np.asarray(average) for average in model.optimizer.averages],
        "iterations": int(model.optimizer.iterations),
        "evaluate": model.evaluate(x, y, verbose=0),
    }
    model.fit(x, y, shuffle=False, verbose=0)
    return {**found, "weights": model.get_weights()}


@pytest.mark.proves(
    "A compiled model is saved with its optimizer: the arguments that `get_config` returns, the slots and the number "
    "of steps. A loaded model trains on where the saved one stopped."
)
def test_a_compiled_model_comes_back_and_trains_on(tmp_path):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.save(tmp_path / "model.keras")
    found = load_and_train(tmp_path / "model.keras", x, y)

    assert found["momentum"] == 0.5
    assert found["iterations"] == int(model.optimizer.iterations) == 4
    averages = [np.asarray(average) for average in model.optimizer.averages]
    assert all(np.abs(average).max() > 0 for average in averages)
    contract.assert_same(found["averages"], averages)
    assert found["evaluate"] == pytest.approx(model.evaluate(x, y, verbose=0))
    model.fit(x, y, shuffle=False, verbose=0)
    contract.assert_same(found["weights"], model.get_weights())


@keras.saving.register_keras_serializable(package="tests")
class Forgets(NormalizedMomentum):
    def get_config(self):
        return keras.optimizers.Optimizer.get_config(self)


@pytest.mark.proves(
    "Of an optimizer, it records only those of the base class: without `get_config`, a `momentum` of 0.5 silently "
    "comes back as the default of 0.9."
)
def test_without_get_config_the_default_comes_back_and_nothing_is_said(tmp_path, recwarn):
    x, y = rng().normal(size=(2, 64, 1)).astype("float32")
    model = compiled_model(x, y)
    model.compile(optimizer=Forgets(0.02, momentum=0.5), loss="mse")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    recwarn.clear()
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not [warning for warning in recwarn if not issubclass(warning.category, DeprecationWarning)]
    assert (model.optimizer.momentum, reloaded.optimizer.momentum) == (0.5, 0.9)


@pytest.mark.proves("Keras records the simple arguments of a layer without it.")
def test_a_layer_records_simple_arguments_by_itself():
    class Simple(keras.layers.Layer):
        def __init__(self, times, **kwargs):
            super().__init__(**kwargs)
            self.times = times

    assert Simple(7).get_config()["times"] == 7


# --- build and update_step ----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`__init__` | Pass the learning rate and `**kwargs` to Keras. The rate is a `float`, a schedule or a function."
)
def test_what_a_learning_rate_may_be():
    for rate in (0.5, keras.optimizers.schedules.ExponentialDecay(0.5, 1, 1.0), lambda: 0.5):
        weight = keras.Variable([0.0])
        NormalizedMomentum(rate).apply([tf.ones(1)], [weight])
        assert float(weight.numpy()[0]) == -0.5
    with pytest.raises(ValueError, match="`learning_rate` should be float"):
        NormalizedMomentum(1)


@pytest.mark.proves(
    "`build` | Create the variables that belong to each weight, often called slots.",
    "Slots are made by `add_optimizer_variables`. A slot has the shape and dtype of its weight, and is saved with a "
    "compiled model. A `tf.Variable` that you make yourself is not among `optimizer.variables`, and is not saved.",
)
def test_a_variable_of_ones_own_is_not_saved(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Counts(NormalizedMomentum):
        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.count = tf.Variable(0)

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate)
            self.count.assign_add(1)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="float64"), keras.layers.Dense(1)])
    model.compile(optimizer=Counts(0.1), loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    slots = model.optimizer.averages
    assert [(slot.shape, slot.dtype) for slot in slots] == [(w.shape, w.dtype) for w in model.trainable_variables]
    assert len({slot.dtype for slot in slots}) == 2
    assert not any(variable is model.optimizer.count for variable in model.optimizer.variables)
    assert int(model.optimizer.count) == 4
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    contract.assert_same(*([np.asarray(slot) for slot in one.averages] for one in (reloaded, model.optimizer)))
    assert int(reloaded.count) == 0


@pytest.mark.proves("`build` may be called twice: return if `self.built`, or the slots are made twice.")
def test_who_builds_twice():
    class BuildsTwice(NormalizedMomentum):
        def build(self, variables):
            keras.optimizers.Optimizer.build(self, variables)
            self.averages = self.add_optimizer_variables(variables, "average")

    counts = {}
    for cls in (NormalizedMomentum, BuildsTwice):
        optimizer = cls()
        for _ in range(2):
            optimizer.build([keras.Variable([0.0])])
        counts[cls] = len(optimizer.variables)
    assert list(counts.values()) == [3, 4]


@pytest.mark.proves(
    "`update_step` gets a TensorFlow variable, not a `keras.Variable`. It has no `path`. "
    "`self._get_variable_index(variable)` says which weight it is.",
    "Python in `update_step` runs when TensorFlow traces the step, and not for each batch. What changes from step to "
    "step is a variable.",
)
def test_what_update_step_gets():
    seen = []

    class Looks(NormalizedMomentum):
        def update_step(self, gradient, variable, learning_rate):
            seen.append((isinstance(variable, tf.Variable), hasattr(variable, "path")))
            seen.append(self._get_variable_index(variable))
            super().update_step(gradient, variable, learning_rate)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=Looks(), loss="mse")
    model.fit(np.ones((64, 3)), np.ones((64, 1)), epochs=5, verbose=0)
    assert seen[:4] == [(True, False), 0, (True, False), 1]
    assert len(seen) <= 2 * 4 < 5 * 2 * 2


@pytest.mark.proves(
    "The gradient of an embedding is a `tf.IndexedSlices`. `ops.multiply` takes it; `*` with a Python number "
    "raises a `TypeError`."
)
@pytest.mark.filterwarnings("ignore:Converting sparse IndexedSlices:UserWarning")
def test_a_sparse_gradient_and_an_operator():
    def times(factor) -> type[NormalizedMomentum]:
        class Operator(NormalizedMomentum):
            def update_step(self, gradient, variable, learning_rate):
                gradient = gradient * (learning_rate if factor is None else factor)
                super().update_step(gradient, variable, learning_rate)

        return Operator

    for cls, right in ((NormalizedMomentum, True), (times(None), True), (times(1.0), False), (times(2), False)):
        model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 3)])
        model.compile(optimizer=cls(), loss="mse", run_eagerly=True)
        fit = {"x": np.array([[1, 2]]), "y": np.ones((1, 2, 3)), "verbose": 0}
        if right:
            assert model.fit(**fit).history["loss"][0] > 0
        else:
            with pytest.raises(TypeError, match="IndexedSlices"):
                model.fit(**fit)


# --- the schedule -------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "From 0 to `peak` in a line, then to 0 along half a cosine wave.",
    "A schedule is an object that gets the number of the step and returns the rate. This one warms up and then follows "
    "a cosine:",
    "An optimizer takes it as its `learning_rate`. `CosineDecay` of Keras gives the same rates, so for this curve you "
    "need no class of your own:",
)
@pytest.mark.parametrize("sizes", [(0.1, 10, 100), (2.0, 1, 7), (0.001, 500, 501)])
def test_the_schedule_is_the_formula_and_the_built_in(sizes):
    peak, warmup, total = sizes
    rate, decay = WarmupCosine(*sizes), keras.optimizers.schedules.CosineDecay
    built_in = decay(0.0, decay_steps=total - warmup, warmup_target=peak, warmup_steps=warmup)
    compiled = tf.function(rate, input_signature=[tf.TensorSpec((), "int64")])
    middle = (warmup + total) // 2
    for step in {0, 1, warmup // 2, warmup - 1, warmup, warmup + 1, middle, total - 1, total, total + 99}:
        share = min(1, (step - warmup) / (total - warmup))
        expected = peak * (step / warmup if step < warmup else (1 + np.cos(np.pi * share)) / 2)
        for found in (rate(step), rate(tf.constant(step)), compiled(step), built_in(step)):
            assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6 * peak)


@pytest.mark.proves("ValueError: If `warmup` is below 0, or isn't less than `total`.")
def test_a_curve_that_never_falls_is_refused():
    for warmup, total in ((-1, 5), (5, 5), (6, 5)):
        with pytest.raises(ValueError, match="`warmup` must be at least 0 and less than `total`"):
            WarmupCosine(0.1, warmup, total)
    assert [float(WarmupCosine(0.1, 0, 2)(step)) for step in range(3)] == pytest.approx([0.1, 0.05, 0])


def test_each_step_of_fit_has_its_rate():
    for optimizer in (keras.optimizers.SGD(WarmupCosine(1.0, 2, 6)), NormalizedMomentum(WarmupCosine(1.0, 2, 6), 0.0)):
        weight, rates = keras.Variable([0.0]), []
        for _ in range(7):
            before = float(weight.numpy()[0])
            optimizer.apply([tf.ones(1)], [weight])
            rates.append(before - float(weight.numpy()[0]))
        assert rates == pytest.approx([0, 0.5, 1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0], abs=1e-6)


def test_the_schedule_is_saved_and_compiled_by_xla(tmp_path):
    page = shown(MODULE, "rates", x=np.ones((320, 3), "float32"), y=np.ones((320, 1)), model=line())
    assert page.printed.splitlines()[-1] == f"reloaded after 30 steps: {float(WarmupCosine(0.1, 10, 100)(30)):.3f}"
    model = line()
    model.compile(optimizer=keras.optimizers.SGD(WarmupCosine(0.1, 2, 6)), loss="mse", jit_compile=True)
    assert model.fit(np.ones((64, 3)), np.ones((64, 1)), verbose=0).history["loss"][0] > 0
    copy = WarmupCosine.from_config(WarmupCosine(0.3, 4, 5).get_config())
    assert (copy.peak, copy.warmup, copy.total) == (0.3, 4, 5)


def line() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


@pytest.mark.proves(
    "`step` is an integer tensor: cast it. Branch with `ops.where`, because `if` on a tensor raises in `fit`.",
    "Without `get_config`, `save` raises `NotImplementedError`.",
)
def test_what_a_schedule_is_given(tmp_path):
    steps = []

    class Branches(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            steps.append(step.dtype)
            return 0.1 if step < 3 else 0.01

    model = line()
    model.compile(optimizer=keras.optimizers.SGD(Branches()), loss="mse")
    with pytest.raises(Exception, match=r"symbolic `?tf\.Tensor`? as a Python `?bool`?"):
        model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
    assert set(steps) == {"int64"}
    model.compile(optimizer=keras.optimizers.SGD(Branches()), loss="mse", run_eagerly=True)
    model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
    with pytest.raises(NotImplementedError, match="must override `get_config"):
        model.save(tmp_path / "model.keras")


@pytest.mark.proves("With `gradient_accumulation_steps`, the schedule counts batches, and not updates.")
def test_the_schedule_counts_batches():
    counted = []

    class Counts(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            counted.append(int(step))
            return 0.1

    optimizer, weight = keras.optimizers.SGD(Counts(), gradient_accumulation_steps=2), keras.Variable([0.0])
    for _ in range(6):
        optimizer.apply([tf.ones(1)], [weight])
    assert counted == [1, 3, 5]
    assert int(optimizer.iterations) == 3


@pytest.mark.proves(
    "A rate that depends on the results, and not on the step, takes a callback: `keras.callbacks.ReduceLROnPlateau`, "
    "or `optimizer.learning_rate = 0.01` in one of your own. With a schedule, setting it to a number raises a "
    "`TypeError`; with a function, and in a `MultiOptimizer`, an `AttributeError`."
)
def test_a_rate_that_depends_on_the_results():
    class Falls(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01

    x, y, model = np.ones((8, 3)), np.ones((8, 1)), line()
    model.compile(optimizer=NormalizedMomentum(0.5), loss="mse")
    model.fit(x, y, callbacks=[Falls()], verbose=0)
    before = model.get_weights()[1]
    model.fit(x, y, verbose=0)
    assert np.abs(model.get_weights()[1] - before).max() == pytest.approx(0.01, rel=1e-3)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100)
    model.fit(x, y, epochs=2, callbacks=[plateau], verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001, rel=1e-3)
    with pytest.raises(TypeError, match="not settable"):
        NormalizedMomentum(WarmupCosine(0.1, 1, 2)).learning_rate = 0.01
    with pytest.raises(AttributeError, match="has no attribute 'assign'"):
        NormalizedMomentum(lambda: 0.5).learning_rate = 0.01
    optimizers = keras.optimizers
    with pytest.raises(AttributeError, match="Learning rate cannot be set on a MultiOptimizer"):
        optimizers.MultiOptimizer(optimizers.OptimizerMap(NormalizedMomentum(0.5), {})).learning_rate = 0.01


# --- a rate for each layer ----------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Body(keras.layers.Layer):
    def build(self, input_shape):
        self.first = keras.layers.Dense(2, name="first")
        self.first.build(input_shape)

    def call(self, inputs):
        return self.first(inputs)


def nested() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), Body(name="body"), keras.layers.Dense(1, name="head")])


def one_step(model: keras.Model, optimizer, **options) -> dict[str, float]:
    model.compile(optimizer=optimizer, loss="mse", **options)
    before = model.get_weights()
    x = rng().normal(size=(16, 3)).astype("float32")
    model.fit(x, x[:, :1] + 5, batch_size=16, verbose=0)
    moved = [float(np.abs(new - old).max()) for new, old in zip(model.get_weights(), before, strict=True)]
    return {"/".join(weight.path.split("/")[-2:]): far for weight, far in zip(model.weights, moved, strict=True)}


@pytest.mark.proves(
    "Subclass a built-in optimizer and multiply the rate that `update_step` gets. The names of the layers are known in "
    "`build` only:",
    "Adam with a rate of its own for some layers.",
    "A layer inside a named layer has its factor, unless it has one of its own.",
)
def test_each_layer_has_its_rate():
    for factors, body, head in (
        ({"body": 0.01}, 0.001, 0.1),
        ({"body": 0.01, "first": 0.5}, 0.05, 0.1),
        ({"first": 0.5, "body": 0.01, "head": 0.1}, 0.05, 0.01),
        ({}, 0.1, 0.1),
        (None, 0.1, 0.1),
    ):
        moved = one_step(nested(), LayerwiseAdam(0.1, factors), run_eagerly=True)
        expected = {"first/kernel": body, "first/bias": body, "head/kernel": head, "head/bias": head}
        assert moved == pytest.approx(expected, rel=1e-3)
    assert float(LayerwiseAdam().learning_rate) == pytest.approx(0.001)


@pytest.mark.proves(
    "ValueError: If no weight is in a layer of that name.",
    "The name of an inner functional model isn't in the paths of its weights. The name of an inner `Sequential` is, "
    "until you save and load it. Name the layers in it, or the class above raises; `MultiOptimizer` silently takes its "
    "default.",
    "found by the paths of its weights.",
)
def test_names_that_are_in_no_path(tmp_path, recwarn):
    def holding(kind: str) -> keras.Model:
        inputs, first = keras.Input((3,)), keras.layers.Dense(2, name="first")
        if kind == "functional":
            body = keras.Model(inputs, first(inputs), name="body")
        else:
            body = keras.Sequential([keras.Input((3,)), first], name="body")
        return keras.Model(inputs, keras.layers.Dense(1, name="head")(body(inputs)))

    for model, name in ((nested(), "nobody"), (holding("functional"), "body")):
        with pytest.raises(ValueError, match=rf"No weight is in a layer named '{name}'"):
            one_step(model, LayerwiseAdam(0.1, {name: 0.5}), run_eagerly=True)
    model = holding("Sequential")
    moved = one_step(model, LayerwiseAdam(0.1, {"body": 0.01}), run_eagerly=True)
    assert moved["first/bias"] == pytest.approx(0.001, rel=1e-3)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="No weight is in a layer named"):
        keras.saving.load_model(tmp_path / "model.keras")
    for kind in ("functional", "Sequential"):
        moved = one_step(holding(kind), LayerwiseAdam(0.1, {"first": 0.01}), run_eagerly=True)
        assert moved["first/bias"] == pytest.approx(0.001, rel=1e-3)
    optimizers = keras.optimizers
    recwarn.clear()
    by_path = optimizers.OptimizerMap(optimizers.Adam(0.1), {".*body/.*": optimizers.Adam(0.001)})
    moved = one_step(holding("functional"), optimizers.MultiOptimizer(by_path), run_eagerly=True)
    assert moved["first/bias"] == pytest.approx(0.1, rel=1e-3)
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


@pytest.mark.proves("A trained body moves by a hundredth of what a new head moves by:")
def test_the_body_moves_less(seed):
    page = shown(MODULE, "moved", seed=seed, x=rng().normal(size=(320, 3)).astype("float32"), y=np.ones((320, 1)))
    found = {line.split("/")[1]: float(line.rsplit(" ", 1)[1]) for line in page.printed.splitlines()}
    assert found == {"body": 0.001, "head": 0.1}


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}], ids=["XLA", "steps"])
def test_layers_have_their_rates_in_a_graph(options):
    moved = one_step(nested(), LayerwiseAdam(0.1, {"head": 0.5}), **options)
    assert moved["head/bias"] == pytest.approx(0.05, rel=1e-3)


def test_the_rates_of_layers_come_back_and_train_on(tmp_path):
    model = nested()
    one_step(model, LayerwiseAdam(0.1, {"body": 0.01}), run_eagerly=True)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert dict(reloaded.optimizer.factors) == {"body": 0.01}
    x = rng().normal(size=(16, 3)).astype("float32")
    for one in (model, reloaded):
        one.run_eagerly = True
        one.fit(x, x[:, :1], batch_size=16, verbose=0)
    contract.assert_same(reloaded.get_weights(), model.get_weights())


@pytest.mark.proves(
    "Weight decay isn't multiplied by the factor.",
    "A factor of 0 keeps the weights where they are, without weight decay.",
    "`trainable = False` before `compile` needs no optimizer of your own.",
)
def test_weight_decay_has_no_factor():
    still = one_step(nested(), LayerwiseAdam(0.1, {"body": 0.0}), run_eagerly=True)
    assert still["first/kernel"] == still["first/bias"] == 0
    plain = keras.Variable([10.0])
    optimizer = LayerwiseAdam(0.1, {"w": 0.0}, weight_decay=0.5)  # a weight has its name in its path too
    weight = keras.Variable([10.0], name="w")
    optimizer.apply([tf.zeros(1), tf.zeros(1)], [plain, weight])
    assert float(plain.numpy()[0]) == float(weight.numpy()[0]) == pytest.approx(9.5)
    model = nested()
    model.get_layer("body").trainable = False
    frozen = one_step(model, keras.optimizers.Adam(0.1), run_eagerly=True)
    assert frozen["first/kernel"] == 0
    assert frozen["head/kernel"] > 0.05


@pytest.mark.proves("Give the layers names. Those that Keras gives, `dense_3`, are others in the next model.")
def test_names_that_keras_gives_change():
    names = [keras.layers.Dense(1).name for _ in range(4)]
    assert len(set(names)) == 4
    assert names[3] == "dense_3"


@pytest.mark.proves(
    "From Keras 3.15 on, `keras.optimizers.MultiOptimizer` gives each layer an optimizer of its own, found by the "
    "paths of its weights."
)
def test_an_optimizer_for_each_layer():
    optimizers = keras.optimizers
    given = optimizers.OptimizerMap(optimizers.Adam(0.1), {".*body/.*": optimizers.Adam(0.001)})
    moved = one_step(nested(), optimizers.MultiOptimizer(given), run_eagerly=True)
    assert moved["head/bias"] == pytest.approx(0.1, rel=1e-3)
    assert moved["first/bias"] == pytest.approx(0.001, rel=1e-3)


# --- accumulate gradients -----------------------------------------------------------------------------------------


def accumulated(optimizer, batches: int = 4, *, layers=(), data=None, epochs: int = 1) -> list[np.ndarray]:
    """The weights after training on 32 samples in a number of batches."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    x, y = data or (rng.normal(size=(32, 3)).astype("float32"), rng.normal(size=(32, 1)).astype("float32"))
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    model.fit(x, y, batch_size=len(x) // batches, shuffle=False, epochs=epochs, verbose=0)
    return model.get_weights()


OPTIONS = {"plain": {}, "clipped": {"clipnorm": 0.1}, "decayed": {"weight_decay": 0.1}}


@pytest.mark.proves(
    "With `gradient_accumulation_steps=4`, an optimizer averages the gradients of four batches, and then makes one "
    "step.",
    "The weights are those of the large batch if the batches are of one size and the loss is a mean over samples.",
    "Clipping and weight decay are applied once a step, to the average.",
)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_four_batches_make_one_step_of_the_large_batch(options):
    names = ["SGD", "Adam", "RMSprop", "Lion", "Adagrad"] if not options else ["SGD", "Adam"]
    for name in names:
        make = getattr(keras.optimizers, name)
        whole = accumulated(make(0.1, **options), 1, epochs=3)
        parts = accumulated(make(0.1, gradient_accumulation_steps=4, **options), 4, epochs=3)
        contract.assert_same(parts, whole, atol=1e-5)
        alone = accumulated(make(0.1, **options), 4, epochs=3)
        assert np.abs(alone[0] - whole[0]).max() > 1e-3, name


def test_each_built_in_optimizer_takes_it_but_the_one_that_is_made_of_others():
    built_in = [
        cls
        for name, cls in vars(keras.optimizers).items()
        if isinstance(cls, type)
        and issubclass(cls, keras.Optimizer)
        and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    ]
    assert len(built_in) > 10
    for make in built_in:
        weight, optimizer = keras.Variable(np.ones((2, 2), "float32")), make(0.1, gradient_accumulation_steps=2)
        optimizer.build([weight])
        moved = []
        for _ in range(2):
            optimizer.apply([np.ones((2, 2), "float32")], [weight])
            moved.append(float(np.abs(np.array(weight) - 1).max()))
        assert moved[0] == 0 < moved[1], make


ACTS = "`BatchNormalization` still sees the small batches, and constraints and `use_ema` act after each."


@pytest.mark.proves(ACTS)
def test_constraints_and_the_moving_average_act_after_each_batch():
    weight, moved = keras.Variable([3.0, 4.0]), keras.Variable([0.0])
    weight.constraint = keras.constraints.MaxNorm(1.0)
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5)
    averages = []
    for _ in range(6):
        optimizer.apply([tf.zeros(2), tf.ones(1)], [weight, moved])
        assert np.linalg.norm(weight) == pytest.approx(1)  # before the first step, too
        now = moved.numpy()
        optimizer.finalize_variable_values([weight, moved])
        averages.append(moved.numpy().item())
        moved.assign(now)
    assert now.item() == -3
    assert averages[4] < averages[3]  # the fifth batch makes no step, and moves the average

    sgd, dense = keras.optimizers.SGD, keras.layers.Dense
    for options, constraint in (({"use_ema": True, "ema_momentum": 0.5}, None), ({}, "non_neg")):
        whole, parts = (
            accumulated(sgd(0.1, **options, **more), n, layers=[dense(3, kernel_constraint=constraint)], epochs=3)
            for n, more in ((1, {}), (4, {"gradient_accumulation_steps": 4}))
        )
        assert max(np.abs(one - other).max() for one, other in zip(whole, parts, strict=True)) > 1e-3


@pytest.mark.proves(
    "With masked sequences, the loss is a mean over valid steps, and a batch with few of them counts as much as the "
    "others."
)
def test_masked_sequences_are_weighed_by_batch():
    rng = np.random.default_rng(0)
    for valid, alike in (([3, 3], True), ([1, 5], False)):
        x, y = rng.normal(size=(16, 5, 3)), rng.normal(size=(16, 5, 1))
        for part, steps in enumerate(valid):
            x[8 * part : 8 * part + 8, steps:] = 0
        found = []
        for size, options in ((16, {}), (8, {"gradient_accumulation_steps": 2})):
            masked = keras.layers.Masking(), keras.layers.Dense(1, kernel_initializer="zeros")
            model = keras.Sequential([keras.Input((5, 3)), *masked])
            model.compile(keras.optimizers.SGD(0.1, **options), "mse", run_eagerly=True)
            model.fit(x, y, batch_size=size, shuffle=False, verbose=0)
            found.append(model.get_weights()[0])
        of_steps = [
            [-2 * y[i, t, 0] * x[i, t] for i in range(8 * part, 8 * part + 8) for t in range(steps)]
            for part, steps in enumerate(valid)
        ]
        means = [
            np.mean(np.concatenate(of_steps), axis=0),
            np.mean([np.mean(part, axis=0) for part in of_steps], axis=0),
        ]
        for weights, mean in zip(found, means, strict=True):
            np.testing.assert_allclose(weights[:, 0], -0.1 * mean, rtol=1e-4, atol=1e-6)
        assert np.allclose(*found, atol=1e-5) == alike


@pytest.mark.proves(
    "Under `mixed_float16`, a batch whose gradient overflows doesn't count: the step is made one batch later."
)
def test_a_batch_that_overflows_does_not_count():
    weight, steps = keras.Variable([0.0]), {}
    inner = keras.optimizers.SGD(1.0, gradient_accumulation_steps=4)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    optimizer.build([weight])
    for batch in range(1, 13):
        before = weight.numpy().item()
        scaled = optimizer.scale_loss(tf.constant([1.0]))
        optimizer.apply([scaled * np.inf if batch == 2 else scaled], [weight])
        if weight.numpy().item() != before:
            steps[batch] = weight.numpy().item() - before
    assert steps == {5: -1, 9: -1}


@pytest.mark.proves(ACTS)
def test_batch_normalization_sees_the_small_batches():
    def norm() -> keras.layers.Layer:
        return keras.layers.BatchNormalization()

    whole = accumulated(keras.optimizers.SGD(0.1), 1, layers=[norm()])
    parts = accumulated(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4), 4, layers=[norm()])
    assert max(np.abs(one - other).max() for one, other in zip(whole, parts, strict=True)) > 1e-3


@pytest.mark.proves("What is left at the end of an epoch counts in the first step of the next one.")
def test_what_is_left_counts_in_the_next_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=(24, 1)).astype("float32")
    make = keras.optimizers.SGD
    found = accumulated(
        make(0.1, gradient_accumulation_steps=4), 3, data=(x, y), epochs=2
    )  # 6 batches: one step, two left
    twice = (np.concatenate([x, x[:8]]), np.concatenate([y, y[:8]]))
    contract.assert_same(found, accumulated(make(0.1), 1, data=twice), atol=1e-6)


@pytest.mark.proves("The average takes the memory of one more copy of the weights.")
def test_the_average_is_one_more_copy_of_the_weights():
    weights = [keras.Variable(np.ones((3, 4), "float32")), keras.Variable(np.ones(4, "float32"))]
    sizes = []
    for options in ({}, {"gradient_accumulation_steps": 4}):
        optimizer = keras.optimizers.Adam(**options)
        optimizer.build(weights)
        sizes.append(sum(int(np.prod(variable.shape)) for variable in optimizer.variables))
    assert sizes[1] - sizes[0] == 3 * 4 + 4


def test_the_block_trains_alike_in_four_parts(seed):
    printed = shown(MODULE, "program", "accumulate", seed=seed).printed.splitlines()[-3:]
    whole, parts, alone = (np.array(re.findall(r"-?\d+\.\d*", line), float) for line in printed)
    np.testing.assert_allclose(whole, parts, atol=0.011)
    assert np.abs(whole - alone).max() > 0.01


# --- weight decay -------------------------------------------------------------------------------------------------


def decaying(cls: type[keras.optimizers.Optimizer]) -> list[float]:
    """What ten steps without a gradient leave of a kernel, a bias and a gamma that begin at 1."""
    weights = [keras.Variable(keras.ops.ones(shape), name=name) for name, shape in SHAPES.items()]
    optimizer = cls(0.1, weight_decay=0.1)
    optimizer.build(weights)
    for _ in range(10):
        optimizer.apply([keras.ops.zeros_like(weight) for weight in weights], weights)
    return [float(keras.ops.max(weight)) for weight in weights]


SHAPES = {"kernel": (2, 2), "bias": (2,), "gamma": (2,)}
OF_ANOTHER_RULE = {"Muon", "Ftrl", "ScheduleFreeAdamW"}
OF_OTHERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}  # a base class, and two that hold optimizers


@pytest.mark.proves(
    "With `weight_decay`, an optimizer also multiplies each trainable weight by one minus the learning rate times "
    "`weight_decay`, biases and the `gamma` of normalization too.",
    "Of Keras's own, `Muon`, `Ftrl` and `ScheduleFreeAdamW` have other rules.",
)
def test_each_weight_decays():
    exported = {name: thing for name, thing in vars(keras.optimizers).items() if inspect.isclass(thing)}
    found = {
        name: decaying(cls)
        for name, cls in exported.items()
        if issubclass(cls, keras.optimizers.Optimizer) and name not in OF_OTHERS
    }
    assert len(found) > 12
    other = {name for name, left in found.items() if left != pytest.approx([0.99**10] * 3, rel=1e-5)}
    assert other == OF_ANOTHER_RULE


@pytest.mark.proves(
    "By `exclude_from_weight_decay`, you leave weights out whose names contain a word. That isn't saved: in a loaded "
    "model they decay, silently, until you call it again. A class that calls it in `build` does so itself:",
    "AdamW without decay of biases and of what normalization multiplies by.",
    "Return weights that start at 1 and have no gradient.",
)
@pytest.mark.parametrize("cls", [keras.optimizers.AdamW, DecaysKernels])
def test_what_is_left_out_is_told_again_by_the_class_alone(cls, tmp_path):
    page = shown(MODULE, "decayed")
    assert page.printed.splitlines() == [
        "AdamW: [0.9, 1.0, 1.0]",
        "from its config: [0.9, 0.9, 0.9]",
        "DecaysKernels: [0.9, 1.0, 1.0]",
        "from its config: [0.9, 1.0, 1.0]",
    ]
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.RMSNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    optimizer = cls(0.1, weight_decay=0.1)
    if cls is keras.optimizers.AdamW:
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "scale"])
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    model.save(tmp_path / "decays.keras")
    loaded = keras.saving.load_model(tmp_path / "decays.keras")
    of_loaded = {"kernel"} if cls is DecaysKernels else {"kernel", "bias", "gamma", "beta", "scale"}
    for one, expected in ((model, {"kernel"}), (loaded, of_loaded), (loaded, {"kernel"})):
        if one is loaded and expected is not of_loaded:
            one.optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "scale"])
        for weight in one.trainable_variables:
            weight.assign(keras.ops.ones_like(weight))
        zeros = [keras.ops.zeros_like(weight) for weight in one.trainable_variables]
        one.optimizer.apply(zeros, one.trainable_variables)
        moved = {weight.name for weight in one.trainable_variables if float(weight.numpy().min()) < 1}
        assert moved == expected


@pytest.mark.proves(
    "An L2 regularizer isn't the same with Adam, which divides by the size of the gradient: where the penalty is all "
    "of it, the steps don't depend on the penalty's strength, down to `epsilon`."
)
def test_a_penalty_alone_makes_steps_of_one_size():
    left = {}
    for strength in (1e-8, 1e-4, 0.01, 1.0):
        weight, adam = keras.Variable([1.0, 2.0]), keras.optimizers.Adam(0.1)
        adam.build([weight])
        for _ in range(3):
            adam.apply([2 * strength * weight], [weight])
        left[strength] = float(weight[0])
    assert [left[strength] for strength in (1e-4, 0.01, 1.0)] == pytest.approx([0.7] * 3, abs=0.01)
    assert left[1e-8] > 0.95, "the gradient is smaller than epsilon"
