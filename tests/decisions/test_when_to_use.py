"""`docs/decisions/when_to_use.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.decisions import disadvantages
from snippets.decisions.when_to_use import SkipBlock, Snake, wave
from tests import contract
from tests.shown import shown

MODULE = "snippets.decisions.when_to_use"
CASES = {
    "SkipBlock": contract.Layer(lambda **kw: SkipBlock(6, **kw), inputs=[(4,), (None, 4)]),
    "Snake": contract.Layer(lambda **kw: Snake(2.0, **kw), inputs=[(4,), (7, 4)]),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layer_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.proves("the mask of the inputs goes on")
def test_layers_of_each_step_propagate_the_mask(case):
    """The check of the page on disadvantages, with weights that don't start at 0."""
    checks = shown(disadvantages, "imports", "four_checks")

    def moved(**options):
        layer = case.make(**options)
        layer.build((None, None, 4))
        layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
        return layer

    assert checks["propagates_the_mask"](moved)
    masked = keras.layers.Masking()(np.array([[[1.0] * 4, [0.0] * 4]]))
    np.testing.assert_array_equal(case.make()(masked)._keras_mask, [[True, False]])


def figures(printed: str) -> list[list[float]]:
    """The numbers behind the first colon of each line."""
    return [
        [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line.split(":", 1)[1])]
        for line in printed.splitlines()
    ]


# --- choose the smallest thing ----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Not if it behaves differently in training, draws random numbers, or reads a mask: that takes a layer."
)
def test_a_function_knows_no_training_draws_once_and_sees_no_mask():
    given = []

    def curious(inputs, training=None, mask=None):
        given.append((training, mask))
        return inputs

    embed = keras.layers.Embedding(5, 3, mask_zero=True)
    model = keras.Sequential([embed, keras.layers.Activation(curious), keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(np.array([[1, 0]]), np.ones((1, 2, 1)), verbose=0)
    assert set(given) == {(None, None)}

    inputs = keras.Input((4,))
    graph = keras.Model(inputs, inputs + keras.random.normal((4,)))
    np.testing.assert_array_equal(graph(np.ones((2, 4))), graph(np.ones((2, 4))))


@pytest.mark.proves("Calling `wave` silently drops a mask; `keras.layers.Activation(wave)` propagates it.")
def test_a_call_of_a_function_ends_the_mask_and_an_activation_does_not():
    ids = keras.Input((None,), dtype="int32")
    embedding, pooling = keras.layers.Embedding(5, 4, mask_zero=True), keras.layers.GlobalAveragePooling1D()
    padded = np.array([[1, 2, 3, 0, 0, 0]])
    changes = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, operation in {"function": wave, "layer": keras.layers.Activation(wave)}.items():
            model = keras.Model(ids, pooling(operation(embedding(ids))))
            changes[name] = float(ops.max(ops.abs(model(padded) - model(padded[:, :3]))))
            assert (getattr(operation(embedding(padded)), "_keras_mask", None) is None) == (name == "function")
    assert changes["function"] > 1e-3
    assert changes["layer"] < 1e-6
    # A function that returns what it is given is the exception.
    assert keras.activations.linear(embedding(padded))._keras_mask is not None


@pytest.mark.proves("Not if a loss has weights of its own: `compile` doesn't train them.")
def test_the_weight_of_a_loss_is_not_trained():
    class Weighed(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.factor = keras.Variable(1.0)

        def call(self, y_true, y_pred):
            return ops.mean(self.factor * ops.square(y_true - y_pred), axis=-1)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss=Weighed())
    model.fit(np.ones((4, 1)), np.full((4, 1), 3.0), verbose=0)
    assert float(model.loss.factor) == 1.0
    assert len(model.trainable_weights) == 2


@pytest.mark.proves("An activation may have some, if it is a layer: `Dense(3, activation=Snake())`.")
def test_an_activation_with_a_weight_trains_and_comes_back(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=Snake())])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.fit(x, np.ones((32, 3)), epochs=2, verbose=0)
    alpha = model.layers[0].activation.alpha
    assert any(weight is alpha for weight in model.trainable_weights)
    assert np.abs(alpha - np.ones(3)).min() > 1e-4
    model.save(tmp_path / "model.keras")
    contract.assert_same(np.asarray(keras.saving.load_model(tmp_path / "model.keras")(x)), np.asarray(model(x)))


@pytest.mark.proves(
    "A functional model of built-in layers is saved and loaded without code of yours, unless it holds a `Lambda`, an "
    "activation function from outside `keras.activations`, or a function or class of yours."
)
def test_a_graph_of_built_in_layers_is_saved_without_a_line_of_ours(tmp_path, fresh_process):
    inputs = keras.Input((4,))
    graph = keras.Model(inputs, keras.layers.Add()([inputs, keras.layers.Dense(4)(inputs)]))
    graph.save(tmp_path / "graph.keras")
    x = np.ones((2, 4), "float32")
    reloaded = fresh_process.submit(contract.load_and_call, tmp_path / "graph.keras", "keras", x).result()
    contract.assert_same(reloaded, np.asarray(graph(x)))

    keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        keras.saving.load_model(tmp_path / "lambda.keras")

    for function in (ops.sin, ops.square, tf.sin):  # not yours, and not of `keras.activations`
        keras.Model(inputs, keras.layers.Dense(4, activation=function)(inputs)).save(tmp_path / "sin.keras")
        with pytest.raises(TypeError, match="Could not locate function"):
            keras.saving.load_model(tmp_path / "sin.keras")
    for dense, right in (
        (keras.layers.Dense(4, activation=keras.activations.gelu), True),
        (keras.layers.Dense(4, activation=ops.gelu), False),  # silently loaded as that of `keras.activations`
        (keras.layers.Dense(4, activation=keras.layers.LeakyReLU(0.5)), True),
    ):
        graph = keras.Model(inputs, ops.sin(dense(inputs)))
        graph.save(tmp_path / "sin.keras")
        reloaded = keras.saving.load_model(tmp_path / "sin.keras")
        assert np.allclose(reloaded(3 * x), graph(3 * x), rtol=0, atol=1e-6) is right

    @keras.saving.register_keras_serializable(package="test")
    def defined_here(x):
        return 2 * x

    keras.Model(inputs, keras.layers.Dense(4, activation=defined_here)(inputs)).save(tmp_path / "function.keras")
    keras.saving.load_model(tmp_path / "function.keras")
    elsewhere = fresh_process.submit(contract.load_and_call, tmp_path / "function.keras", "keras", x)
    with pytest.raises((TypeError, ValueError), match="defined_here"):
        elsewhere.result()

    class OwnRegularizer(keras.regularizers.L2):
        pass

    class OwnLoss(keras.losses.MeanSquaredError):
        pass

    class OwnSchedule(keras.optimizers.schedules.ExponentialDecay):
        pass

    for layer, options in (
        ({"kernel_regularizer": OwnRegularizer()}, None),
        ({}, {"loss": OwnLoss()}),
        ({}, {"loss": "mse", "optimizer": keras.optimizers.SGD(OwnSchedule(0.1, 10, 0.9))}),
    ):
        model = keras.Model(inputs, keras.layers.Dense(4, **layer)(inputs))
        if options:
            model.compile(**options)
        model.save(tmp_path / "class.keras")
        with pytest.raises(TypeError, match=r"Own(Regularizer|Loss|Schedule)"):
            keras.saving.load_model(tmp_path / "class.keras")


def moves(gradients: list, **options) -> list[float]:
    variable = keras.Variable([0.0, 0.0])
    optimizer = keras.optimizers.SGD(1.0, **options)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy().tolist()


@pytest.mark.proves(
    "Not if an option does it: `loss=`, or the optimizer's `clipnorm=`, `use_ema=`, `gradient_accumulation_steps=`."
)
def test_the_options_that_save_a_step_do_what_they_say():
    assert moves([[30.0, 40.0]], clipnorm=1.0) == pytest.approx([-0.6, -0.8])
    assert moves([[2.0, 0.0]], gradient_accumulation_steps=2) == [0, 0]
    assert moves([[2.0, 0.0], [0.0, 4.0]], gradient_accumulation_steps=2) == [-1, -2]
    # The average of -1 and -3, which took the place of the weight.
    assert moves([[1.0, 0.0], [2.0, 0.0]], use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2) == [-2, 0]


# --- complex architecture ---------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "In `keras.Sequential`, a layer receives the output of the layer before it, with its mask, and no earlier output."
)
def test_sequential_passes_one_output_and_its_mask():
    class Records(keras.layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            received.append((inputs, mask))
            return inputs

    received = []
    embed = keras.layers.Embedding(5, 3, mask_zero=True)
    model = keras.Sequential([embed, Records()])
    ids = np.array([[1, 0]])
    model(ids)
    inputs, mask = received[-1]
    np.testing.assert_array_equal(inputs, embed(ids))
    np.testing.assert_array_equal(mask, [[True, False]])


@pytest.mark.proves(
    "`inputs + back(hidden(inputs))`: a skip connection around two layers. "
    "`back` starts at zero, so that a new block returns its inputs.",
    "The block keeps the shape of its input, so blocks can be stacked.",
)
def test_skip_block_is_two_dense_layers_and_the_input():
    block, x = SkipBlock(6), np.random.default_rng(0).normal(size=(5, 7, 4)).astype("float32")
    np.testing.assert_array_equal(block(x), x)
    rng = np.random.default_rng(1)
    k1, b1, k2, b2 = (rng.normal(size=weight.shape) for weight in block.weights)
    block.set_weights([k1, b1, k2, b2])
    np.testing.assert_allclose(block(x), x + np.maximum(x @ k1 + b1, 0) @ k2 + b2, rtol=1e-4, atol=1e-5)
    assert block.compute_output_shape((None, 7, 4)) == (None, 7, 4)


def test_skip_block_keeps_its_config():
    copy = SkipBlock.from_config(SkipBlock(9, name="past", dtype="float64").get_config())
    assert (copy.units, copy.name, copy.dtype_policy.name) == (9, "past", "float64")
    assert copy.hidden.units == 9


@pytest.mark.proves("Without `dtype`, a layer in it would have the dtype set globally.")
def test_layers_inside_a_layer_need_its_dtype():
    block = SkipBlock(6, dtype="mixed_float16")
    block(np.ones((2, 4)))
    assert block.hidden.compute_dtype == block.back.compute_dtype == "float16"

    class Outer(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(2)

        def call(self, inputs):
            return self.inner(inputs)

    assert Outer(dtype="float64")(np.ones((2, 4))).dtype == "float32"


@pytest.mark.proves("It trains together with the layers around it:")
def test_the_network_with_blocks_learns_the_product(seed):
    page = shown(MODULE, "blocks", seed=seed)
    history = page["history"]
    assert history[-1] < history[0] / 10
    kernels = {weight.path: np.abs(weight).max() for weight in page["model"].trainable_weights}
    assert min(kernels.values()) > 0  # those of `back`, which start at 0, as well


@pytest.mark.proves(
    "With the weights of the block it returns what the block returns. "
    "A `Sequential` of the same layers has as many weights, and returns something else:"
)
def test_the_graph_is_the_block_and_the_chain_is_not():
    rng = np.random.default_rng(0)
    block, batch = SkipBlock(32), rng.normal(size=(5, 16)).astype("float32")
    block(batch)
    block.set_weights([rng.normal(size=weight.shape) for weight in block.weights])
    page = shown(MODULE, "graph", block=block, batch=batch)
    np.testing.assert_allclose(page["graph"](batch), block(batch), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(page["chain"](batch) + batch, block(batch), rtol=1e-5, atol=1e-5)
    assert np.abs(page["chain"](batch) - block(batch)).max() > 0.1
    assert page["graph"].count_params() == page["chain"].count_params() == block.count_params()


# --- non-standard operations ------------------------------------------------------------------------------------------


@pytest.mark.proves("`inputs + sin²(inputs)`, number by number.")
def test_wave_is_the_formula():
    x = np.linspace(-5, 5, 40, dtype="float32").reshape(-1, 4)
    np.testing.assert_allclose(wave(x), x + np.sin(x) ** 2, rtol=1e-5, atol=1e-6)


@pytest.mark.proves("Register it, and models that use it save its name:")
def test_a_registered_function_is_saved_as_an_option(tmp_path, fresh_process):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=wave)])
    assert "wave" in str(model.layers[0].get_config()["activation"])
    model.save(tmp_path / "wave.keras")
    x = np.ones((2, 4), "float32")
    reloaded = fresh_process.submit(contract.load_and_call, tmp_path / "wave.keras", MODULE, x).result()
    contract.assert_same(reloaded, np.asarray(model(x)))


@pytest.mark.proves("A built-in layer takes it as an option, and a functional model can call it:")
def test_a_functional_model_calls_the_function():
    page = shown(MODULE, "use_wave")
    assert [weight.name for weight in page["reloaded"].weights] == ["kernel", "bias"]
    inputs = keras.Input((7, 4))
    x = np.linspace(-5, 5, 56, dtype="float32").reshape(2, 7, 4)
    np.testing.assert_allclose(keras.Model(inputs, wave(inputs))(x), wave(x), rtol=1e-5)
    np.testing.assert_allclose(page["reloaded"].layers[0].activation(x), wave(x), rtol=1e-5)
    np.testing.assert_allclose(page["reloaded"](x[0]), page["model"](x[0]), rtol=1e-5)


@pytest.mark.proves(
    "`inputs + sin²(alpha * inputs) / alpha`, with a learnt `alpha`.",
    "Here the frequency of the wave is trainable, one for each feature.",
)
def test_snake_is_the_formula():
    x = np.linspace(-5, 5, 40, dtype="float32").reshape(-1, 4)
    np.testing.assert_allclose(Snake()(x), x + np.sin(x) ** 2, rtol=1e-5, atol=1e-6)
    layer, alpha = Snake(), np.array([0.5, 1.0, -2.0, 3.0])
    layer(x)
    layer.set_weights([alpha])
    np.testing.assert_allclose(layer(x), x + np.sin(alpha * x) ** 2 / alpha, rtol=1e-5, atol=1e-5)
    assert [weight.shape for weight in layer.trainable_weights] == [(4,)]
    assert layer.compute_output_shape((None, 4)) == (None, 4)


@pytest.mark.proves("What each feature's `alpha` starts from.")
def test_snake_starts_where_it_is_told():
    layer = Snake(3.0)
    layer(np.ones((1, 4)))
    np.testing.assert_array_equal(layer.alpha, [3.0] * 4)
    assert Snake().initial_alpha == 1.0
    copy = Snake.from_config(Snake(-0.5, name="hiss").get_config())
    assert (copy.initial_alpha, copy.name) == (-0.5, "hiss")


@pytest.mark.proves(
    "ValueError: If `initial_alpha` is 0, where `alpha` has no gradient.",
    "An `alpha` of 0 adds 0, the limit of the formula, and not NaN.",
)
def test_alpha_may_become_0_and_may_not_start_there():
    with pytest.raises(ValueError, match="`initial_alpha` must not be 0"):
        Snake(0)
    layer, x = Snake(), np.array([[0.0, 1.0, -2.0]], "float32")
    layer(x)
    layer.alpha.assign(np.zeros(3))
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
        loss = tf.reduce_sum(outputs)
    np.testing.assert_array_equal(outputs, x)
    of_alpha, of_inputs = tape.gradient(loss, [layer.alpha.value, x])
    np.testing.assert_array_equal(of_alpha, np.zeros(3))
    np.testing.assert_array_equal(of_inputs, np.ones((1, 3)))
    layer.alpha.assign(np.full(3, 1e-6))
    np.testing.assert_allclose(layer(x), x, atol=1e-5)  # the limit


@pytest.mark.parametrize("alpha", [1e-2, 1e-3, 1e-4])
@pytest.mark.proves("its square may vanish in float16")
def test_a_small_alpha_has_its_gradient_in_float16(alpha):
    layer, x = Snake(alpha, dtype="float16"), tf.constant([[1.0, -2.0]], "float16")
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    # The derivative by alpha, of which x² is the limit at 0.
    np.testing.assert_allclose(tape.gradient(loss, layer.alpha.value), [1.0, 4.0], rtol=0.01)
    if alpha == 1e-4:
        assert np.square(np.sin(np.float16(alpha))) == 0


@pytest.mark.proves(
    "Networks of the same width learn `sin(3x)` between −3 and 3, and are then asked beyond, "  # noqa: RUF001
    "where they weren't trained.",
    "A model that always predicts 0 has a loss of 0.5:",
    "`Snake(3.0)` fits the sine and continues it, with a loss below 0.3.",
    "`Snake(1.0)` stays at a loss of about 0.4: in these 20 epochs, training doesn't find a frequency "
    "that is so far away.",
)
def test_training_finds_a_frequency_only_from_near_it(seed):
    page = shown(MODULE, "periodic", seed=seed)
    _relu, (one, *_), _three = figures(page.printed)
    assert np.abs(page["inside"]).max() <= 3 <= page["beyond"].min()
    np.testing.assert_allclose(page["target"], np.sin(3 * page["inside"]))
    assert np.mean(np.square(np.sin(3 * page["beyond"]))) == pytest.approx(0.5, abs=0.05)
    assert one in (0.4, 0.5)
    assert page["near"] < 0.01  # of the last, Snake(3.0)
    assert page["far"] < 0.3


@pytest.mark.proves("`Snake(3.0)` fits the sine and continues it, with a loss below 0.3.")
def test_with_one_seed_of_sixteen_the_sine_is_continued_less_well():
    page = shown(MODULE, "periodic", seed=40)
    assert page["near"] < 0.01
    assert 0.2 < page["far"] < 0.3


@pytest.mark.proves(
    "More epochs help with some seeds only, so start near the frequency that you expect.",
)
def test_more_epochs_find_the_frequency_with_some_seeds_only():
    losses = {}
    for seed in (2, 4):
        keras.utils.set_random_seed(seed)
        x = np.random.uniform(-3, 3, size=(1000, 1)).astype("float32")
        np.random.uniform(3, 6, size=(1000, 1))  # the page draws the points beyond, and trains `relu`, before it
        model = keras.Sequential([keras.layers.Dense(16), keras.layers.ReLU(), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(0.03), loss="mse", steps_per_execution=10)
        model.fit(x, np.sin(3 * x), batch_size=100, epochs=20, verbose=0)
        model = keras.Sequential([keras.layers.Dense(16), Snake(1.0), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(0.03), loss="mse", steps_per_execution=10)
        model.fit(x, np.sin(3 * x), batch_size=100, epochs=150, verbose=0)
        losses[seed] = float(np.mean(np.square(model(x) - np.sin(3 * x))))
    assert losses[2] < 0.01
    assert losses[4] > 0.3


# --- multiple inputs and outputs --------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A functional model takes inputs as a dict, and returns outputs as a dict:", "A graph with two of each"
)
def test_two_inputs_and_two_outputs():
    page = shown(MODULE, "two_and_two")
    x = {"size": np.ones((2, 3)), "place": np.ones((2, 5))}
    outputs = page["model"].predict(x, verbose=0)
    assert {name: output.shape for name, output in outputs.items()} == {"price": (2, 1), "sold": (2, 1)}
    far = page["model"]({"size": 1e4 * x["size"], "place": x["place"]})
    assert float(ops.max(ops.abs(far["price"]))) > 1 >= float(ops.max(far["sold"]))


# --- custom training loops --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loop():
    return shown(MODULE, "fit", "loop")


@pytest.mark.proves(
    "Here `fit` learns a line from noisy points, without shuffling them, and reports a loss for each epoch:",
    "This loop does the same steps and reports the same losses.",
    "weight the losses of batches by their sizes,",
    "`fit` also does the following by itself, and a loop of your own has to do it:",
)
def test_the_loop_reports_what_fit_reports(loop):
    assert len(loop["reported"]) == 20
    np.testing.assert_allclose(loop["losses"], loop["reported"], rtol=1e-5)
    assert set(loop["sizes"]) == {32, 10}
    # Without the sizes, the last and smaller batch counts as much as the others.
    unweighted = np.mean(loop["of_batches"]), np.average(loop["of_batches"], weights=loop["sizes"])
    assert abs(np.subtract(*unweighted)) > 1e-4


@pytest.mark.proves("add `model.losses`, the penalties of regularizers,")
def test_without_the_penalty_the_loop_would_report_another_loss(loop):
    model = loop["model"]
    assert float(sum(model.losses)) > 0.01
    plain = np.mean(np.square(model(loop["x"]) - loop["y"]))
    model.compile(loss="mse")
    assert model.evaluate(loop["x"], loop["y"], verbose=0) == pytest.approx(plain + float(sum(model.losses)), rel=1e-4)


@pytest.mark.proves("with `use_ema=True`, call `optimizer.finalize_variable_values(weights)` after the last epoch,")
def test_at_the_end_fit_takes_the_averaged_weights(loop, monkeypatch):
    x, y, found = loop["x"], loop["y"], []
    fitted = loop["make_line"]()
    fitted.compile(optimizer=keras.optimizers.SGD(0.1, use_ema=True), loss="mse")
    fitted.fit(x, y, batch_size=32, shuffle=False, verbose=0)

    model, optimizer = loop["make_line"](), keras.optimizers.SGD(0.1, use_ema=True)
    weights = model.trainable_variables
    optimizer.build(weights)
    for name, value in {"model": model, "optimizer": optimizer, "weights": weights}.items():
        monkeypatch.setitem(loop.namespace, name, value)
    step = loop["step"].python_function
    for start in range(0, len(x), 32):
        step(x[start : start + 32], y[start : start + 32])
    found.append(model.get_weights())
    optimizer.finalize_variable_values(weights)
    found.append(model.get_weights())
    assert np.abs(found[0][0] - fitted.get_weights()[0]).max() > 0.1
    contract.assert_same(found[1], fitted.get_weights(), atol=1e-5)


@pytest.mark.proves(
    "under `mixed_float16`, wrap the optimizer in `keras.optimizers.LossScaleOptimizer` and scale the loss. "
    "`scale_loss` of an optimizer without a loss scale, as here, returns the loss unchanged."
)
def test_in_mixed_precision_small_gradients_need_the_scaled_loss(loop):
    moved = {}
    keras.config.set_dtype_policy("mixed_float16")
    x, y = tf.fill((32, 1), 1e-3), tf.fill((32, 1), 1e-5)
    for make in (keras.optimizers.SGD, lambda rate: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rate))):
        model = loop["make_line"]()
        optimizer = make(0.1)
        optimizer.build(model.trainable_variables)
        loop.namespace.update(model=model, weights=model.trainable_variables, optimizer=optimizer)
        loop["step"].python_function(x, y)
        moved[type(optimizer).__name__] = model.weights[0].numpy().item()
    assert moved["SGD"] == 0
    assert moved["LossScaleOptimizer"] == pytest.approx(0.1 * 2 * 1e-5 * 1e-3, rel=0.05)
    assert float(keras.optimizers.SGD(0.1).scale_loss(tf.constant(3.0))) == 3.0
    assert float(keras.optimizers.SGD(0.1, loss_scale_factor=2).scale_loss(tf.constant(3.0))) == 6.0

    model.compile(optimizer="sgd", loss="mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
