"""`docs/decisions/when_to_use.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.decisions.when_to_use import AdversarialClassifier, SkipBlock, Snake, wave
from tests import contract

CASES = {
    "SkipBlock": contract.Layer(lambda **kw: SkipBlock(6, **kw), inputs=[(4,), (None, 4)]),
    "Snake": contract.Layer(lambda **kw: Snake(2.0, **kw), inputs=[(4,), (7, 4)]),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layer_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


def classes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6)).astype("float32")
    return x, (x[:, :1] > 0).astype("float32")


COMPILE = {"optimizer": "sgd", "loss": keras.losses.BinaryCrossentropy(from_logits=True)}
MODELS = {"AdversarialClassifier": contract.Model(lambda: AdversarialClassifier(0.1), classes, COMPILE)}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


# --- complex architecture ---------------------------------------------------------------------------------------------


def test_skip_block_is_two_dense_layers_and_the_input():
    block, x = SkipBlock(6), np.random.default_rng(0).normal(size=(5, 7, 4)).astype("float32")
    np.testing.assert_array_equal(block(x), x)  # it starts as the identity
    rng = np.random.default_rng(1)
    k1, b1, k2, b2 = (rng.normal(size=weight.shape) for weight in block.weights)
    block.set_weights([k1, b1, k2, b2])
    np.testing.assert_allclose(block(x), x + np.maximum(x @ k1 + b1, 0) @ k2 + b2, rtol=1e-4, atol=1e-5)


def test_the_layers_inside_compute_in_the_dtype_of_the_outer_one():
    block = SkipBlock(6, dtype="mixed_float16")
    block(np.ones((2, 4)))
    assert block.hidden.compute_dtype == block.back.compute_dtype == "float16"


def test_gradients_of_a_skip_block_that_is_no_longer_the_identity():
    """At the start the way back is zero, and so is every gradient behind it."""

    class Moved(SkipBlock):
        def build(self, input_shape):
            super().build(input_shape)
            self.back.kernel.assign(rng.normal(size=self.back.kernel.shape))

    rng = np.random.default_rng(3)
    contract.gradients_match_finite_differences(contract.Layer(lambda **kw: Moved(6, **kw), inputs=[(4,), (7, 4)]))


def test_a_graph_of_built_in_layers_is_saved_without_a_line_of_ours(tmp_path, fresh_process):
    inputs = keras.Input((4,))
    graph = keras.Model(inputs, keras.layers.Add()([inputs, keras.layers.Dense(4)(inputs)]))
    graph.save(tmp_path / "graph.keras")
    x = np.ones((2, 4), "float32")
    reloaded = fresh_process.submit(contract.load_and_call, tmp_path / "graph.keras", "keras", x).result()
    contract.assert_same(reloaded, np.asarray(graph(x)))


# --- non-standard operations ------------------------------------------------------------------------------------------


def test_wave_and_snake_are_the_formula():
    x = np.linspace(-5, 5, 40, dtype="float32").reshape(-1, 4)
    np.testing.assert_allclose(wave(x), x + np.sin(x) ** 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Snake()(x), wave(x), rtol=1e-5, atol=1e-6)
    layer, alpha = Snake(), np.array([0.5, 1.0, -2.0, 3.0])
    layer(x)
    layer.set_weights([alpha])
    np.testing.assert_allclose(layer(x), x + np.sin(alpha * x) ** 2 / alpha, rtol=1e-5, atol=1e-5)


def test_snake_starts_where_it_is_told_and_refuses_zero():
    layer = Snake(3.0)
    layer(np.ones((1, 4)))
    np.testing.assert_array_equal(layer.alpha, [3.0] * 4)
    assert Snake.from_config(layer.get_config()).start == 3.0
    with pytest.raises(ValueError, match="`alpha` must not be 0"):
        Snake(0)


def test_a_registered_function_is_saved_as_an_option(tmp_path, fresh_process):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=wave)])
    model.save(tmp_path / "wave.keras")
    x = np.ones((2, 4), "float32")
    module = "snippets.decisions.when_to_use"
    reloaded = fresh_process.submit(contract.load_and_call, tmp_path / "wave.keras", module, x).result()
    contract.assert_same(reloaded, np.asarray(model(x)))


def test_training_finds_a_frequency_only_from_near_it():
    """From a wrong start, the periodic network is worse than `relu`."""
    losses = {}
    for name, make in {"relu": keras.layers.ReLU, "1": Snake, "3": lambda: Snake(3.0)}.items():
        keras.utils.set_random_seed(1)
        x = np.random.uniform(-3, 3, size=(1000, 1)).astype("float32")
        model = keras.Sequential([keras.layers.Dense(16), make(), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.02), loss="mse")
        model.fit(x, np.sin(3 * x), batch_size=50, epochs=20, verbose=0)
        losses[name] = float(np.mean(np.square(model(x) - np.sin(3 * x))))
    assert 0.35 < losses["1"] < 0.45
    assert losses["3"] < 0.005
    assert losses["relu"] < losses["1"] - 0.1


# --- custom training loops --------------------------------------------------------------------------------------------


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, size=(320, 1)).astype("float32")
    y = (3 * x + 1 + rng.normal(0, 0.1, x.shape)).astype("float32")
    wrong = y.copy()
    wrong[::40] += 100
    return x, y, wrong


def line() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])


def test_fit_adds_the_penalties_of_regularizers():
    """The loop has to: without `model.losses` it would report the plain error."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1.0))])
    model.set_weights([np.array([[2.0]]), np.array([0.0])])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    x = np.ones((4, 1))
    assert model.fit(x, 2 * x, verbose=0).history["loss"] == [pytest.approx(4.0)]
    assert float(sum(model.losses)) == pytest.approx(4.0)


class ClipsEachSample(keras.Model):
    """The page's clipped step, in a `train_step`."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        with tf.GradientTape() as tape:
            losses = keras.losses.mean_squared_error(y, self(x, training=True))
        gradients = tape.jacobian(losses, [w.value for w in weights])
        flat = [tf.reshape(g, (tf.shape(x)[0], -1)) for g in gradients]
        norms = ops.norm(ops.concatenate(flat, axis=1), axis=1)
        scales = ops.minimum(1.0, 1.0 / norms) / 32
        pulls = ops.norm(scales[:, None] * ops.concatenate(flat, axis=1), axis=1)
        tf.debugging.assert_less_equal(ops.max(pulls), 1 / 32 + 1e-6)
        self.optimizer.apply([ops.tensordot(scales, g, axes=1) for g in gradients], weights)
        return {"loss": tf.reduce_mean(losses)}


def fitted(model, options, loss) -> list[float]:
    x, _y, wrong = points()
    model.compile(keras.optimizers.SGD(0.1, **options), loss=loss)
    model.fit(x, wrong, batch_size=32, epochs=20, shuffle=False, verbose=0)
    return [weight.numpy().item() for weight in model.weights]


def test_clipping_the_mean_keeps_the_direction_that_wrong_labels_gave_it():
    inputs = line().inputs
    each = fitted(ClipsEachSample(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs[0])), {}, "mse")
    np.testing.assert_allclose(each, [3, 1], atol=0.05)
    for options in ({}, {"clipnorm": 1.0}):
        slope, intercept = fitted(line(), options, "mse")
        assert abs(slope - 3) > 1
        assert abs(intercept - 1) > 1


def test_huber_finds_the_same_line():
    np.testing.assert_allclose(fitted(line(), {}, "huber"), [3, 1], atol=0.05)


def test_with_epsilon_0_the_train_step_is_the_one_of_fit():
    x, y = classes()
    keras.utils.set_random_seed(3)
    ours = AdversarialClassifier(0.0)
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
    ours(x)
    plain.set_weights(ours.get_weights())
    weight = np.linspace(0, 1, len(x))
    histories = []
    for model in (ours, plain):
        model.compile(**{**COMPILE, "optimizer": "adam"}, metrics=["mae"])
        histories.append(
            model.fit(x, y, sample_weight=weight, epochs=3, batch_size=24, shuffle=False, verbose=0).history
        )
    assert histories[0].keys() == histories[1].keys()
    for key in histories[0]:
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-5)


def test_the_attack_moves_each_feature_by_epsilon_and_raises_the_loss():
    x, y = classes()
    model = AdversarialClassifier(0.0)
    model.compile(**COMPILE)
    moved = model.attack(x, y, 0.05)
    np.testing.assert_allclose(np.abs(moved - x), 0.05, rtol=1e-3)
    assert model.evaluate(moved, y, verbose=0) > model.evaluate(x, y, verbose=0)


def test_training_on_moved_inputs_differs_from_training_on_the_inputs():
    x, y = classes()
    losses = []
    for epsilon in (0.0, 0.5):
        keras.utils.set_random_seed(3)
        model = AdversarialClassifier(epsilon)
        model.compile(**COMPILE)
        losses += model.fit(x, y, verbose=0).history["loss"]
    assert losses[1] > losses[0]


def test_the_options_that_save_a_step_exist():
    optimizer = keras.optimizers.SGD(0.1, clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2)
    config = optimizer.get_config()
    assert (config["clipnorm"], config["use_ema"], config["gradient_accumulation_steps"]) == (1.0, True, 2)
