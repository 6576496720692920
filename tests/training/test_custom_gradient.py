"""`docs/training/custom_gradient.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.custom_gradient import (
    PartlyFrozenDense,
    ReverseGradient,
    SignDense,
    SolvesDecay,
    log1pexp,
    sign,
    straight_through_sign,
)
from tests import contract
from tests.shown import shown

MODULE = "snippets.training.custom_gradient"
X = np.linspace(-3, 3, 41, dtype="float32")  # with 0, -1 and 1

LAYERS = {
    "SignDense": contract.Layer(lambda **kw: SignDense(3, **kw), inputs=[(4,), (None, 4)]),
    "ReverseGradient": contract.Layer(lambda **kw: ReverseGradient(0.5, **kw), inputs=[(4,), (None, 4)]),
    "PartlyFrozenDense": contract.Layer(lambda **kw: PartlyFrozenDense(2, frozen=1, **kw), inputs=[(4,), (None, 4)]),
}


def times() -> tuple[np.ndarray, np.ndarray]:
    t = np.random.default_rng(0).uniform(0, 2, size=(256, 1)).astype("float32")
    return t, np.exp(-t)


MODELS = {"SolvesDecay": contract.Model(SolvesDecay, times, compile={"optimizer": "adam"})}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_layer_contract(case, check):
    check(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_model_contract(case, check):
    check(case)


def slopes(function, x=X, upstream=1.0, dtype="float32") -> np.ndarray | None:
    """The gradient of ``upstream`` times the function at each number."""
    x = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x) * tf.cast(upstream, dtype)
    found = tape.gradient(y, x)
    return None if found is None else np.array(tf.cast(found, "float32"))


# --- the program --------------------------------------------------------------------------------------------------


@pytest.mark.proves("This layer multiplies by the signs of its kernel only.")
def test_the_program_finds_every_sign(seed):
    page = shown(MODULE, "program", seed=seed)
    assert page.printed.endswith("signs found: 100%")
    assert page["losses"][-1] < page["losses"][0] / 10_000
    x = page["x"][:50]
    np.testing.assert_allclose(page["reloaded"].predict(x, verbose=0), x @ page["true_signs"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_it_learns_nothing_with_the_derivative_of_the_sign(options):
    class Untrained(SignDense):
        def call(self, inputs):
            return ops.matmul(inputs, ops.sign(ops.convert_to_tensor(self.kernel)))

    for cls, learns in ((SignDense, True), (Untrained, False)):
        keras.utils.set_random_seed(1)
        x = np.random.normal(size=(64, 4))
        model = keras.Sequential([keras.Input((4,)), cls(3)])
        before = model.get_weights()[0]
        model.compile(keras.optimizers.Adam(0.02), loss="mse", **options)
        model.fit(x, x[:, :3], verbose=0)
        assert np.any(model.get_weights()[0] != before) == learns, cls


@pytest.mark.proves(
    "The gradient passes straight through the sign to the kernel (Bengio et al., 2013, arXiv:1308.3432), except to "
    "numbers outside of -1 to 1 (Courbariaux et al., 2016, arXiv:1602.02830):",
    "-1 or 1. Between -1 and 1 the gradient passes, elsewhere it is zero.",
    "That one gets the gradient with respect to the value, and returns the gradient with respect to the argument; of a "
    "function with several arguments, one for each.",
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_sign(dtype):
    value = sign(tf.cast(X, dtype))
    assert value.dtype == dtype
    np.testing.assert_array_equal(tf.cast(value, "float32"), np.where(X < 0, -1, 1))
    upstream = np.arange(41, dtype="float32")
    np.testing.assert_array_equal(slopes(sign, upstream=upstream, dtype=dtype), upstream * (np.abs(X) <= 1))
    np.testing.assert_array_equal(tf.function(lambda x: slopes_of(sign, x), jit_compile=True)(X), np.abs(X) <= 1)

    @tf.custom_gradient
    def product(a, b):
        return a * b, lambda upstream: (upstream * b, upstream * a)

    a, b = tf.constant(2.0), tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        y = product(a, b)
    assert [float(part) for part in tape.gradient(y, [a, b])] == [3.0, 2.0]


def slopes_of(function, x) -> tf.Tensor:
    return tf.gradients(function(x), x)[0]


@pytest.mark.proves("The derivative of the sign itself is zero, and `tf.round` has none:")
def test_what_tensorflow_has_for_sign_and_round():
    printed = shown(MODULE, "gradients").printed.splitlines()
    assert printed == ["ops.sign:  [0.0, 0.0, 0.0]", "tf.round:  None", "sign:      [1.0, 1.0, 0.0]"]
    assert not slopes(ops.sign).any()
    assert slopes(tf.round) is None


@pytest.mark.proves("With TensorFlow, `keras.ops.custom_gradient` does the same.")
def test_keras_has_a_name_for_it():
    @ops.custom_gradient
    def doubled(x):
        return x + 0, lambda upstream: 2 * upstream

    np.testing.assert_array_equal(slopes(doubled), np.full(41, 2.0))


# --- stop_gradient ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "To pass the gradient on unchanged, one line is enough. Forwards the two `x` cancel, and backwards only the first "
    "one counts:",
    "-1, 0 or 1, up to rounding; its gradient passes everywhere.",
    "A large `x` leaves no digits for the sign: the value is 0 for 1e8, in float16 for 3000, in bfloat16 for 300.",
)
def test_straight_through_in_one_line():
    assert shown(MODULE, "gradients", "one_line").printed.endswith("[1.0, 1.0, 1.0]")
    np.testing.assert_allclose(straight_through_sign(tf.constant(X)), np.sign(X), rtol=1e-6)
    upstream = np.arange(41, dtype="float32")
    np.testing.assert_array_equal(slopes(straight_through_sign, upstream=upstream), upstream)
    for dtype, large in (("float32", 1e8), ("float16", 3000), ("bfloat16", 300)):
        assert float(straight_through_sign(tf.constant(large, dtype))) == 0.0


# --- weights ------------------------------------------------------------------------------------------------------


class Given(SignDense):
    """The variable is an argument."""

    def call(self, inputs):
        return ops.matmul(inputs, sign(self.kernel))


class Around(SignDense):
    """The variable comes from around the function."""

    def call(self, inputs):
        @tf.custom_gradient
        def multiply(x):
            signs = tf.sign(tf.convert_to_tensor(self.kernel))
            return tf.matmul(x, signs), lambda upstream: tf.matmul(upstream, signs, transpose_b=True)

        return multiply(inputs)


@pytest.mark.proves(
    "A function with a gradient of its own takes tensors. A trainable weight raises, whether it is an argument or the "
    "function uses it from around itself:",
    "As an argument it raises in eager mode only: `fit` passes, until you set `run_eagerly=True`.",
)
@pytest.mark.parametrize(("cls", "fits"), [(Given, True), (Around, False), (SignDense, True)])
def test_a_variable_raises(cls, fits):
    x = np.ones((4, 3), "float32")

    def fit(**options):
        model = keras.Sequential([keras.Input((3,)), cls(2)])
        model.compile("sgd", loss="mse", **options)
        model.fit(x, x[:, :2], verbose=0)

    def gradient():
        layer = cls(2)
        layer.build((None, 3))
        with tf.GradientTape():
            layer(tf.constant(x))

    if fits:
        fit()
    else:
        with pytest.raises(TypeError, match="grad_fn must accept keyword argument 'variables'"):
            fit()
    if cls is SignDense:
        fit(run_eagerly=True)
        gradient()
        return
    for eager in (lambda: fit(run_eagerly=True), gradient):
        with pytest.raises(TypeError, match="grad_fn must accept keyword argument 'variables'"):
            eager()


@pytest.mark.proves(
    "Write `tf.convert_to_tensor(self.kernel)`, as the layer above does, which casts the kernel as the dtype policy "
    "says, too. `ops.convert_to_tensor` may return the variable itself."
)
def test_the_kernel_is_cast():
    layer = SignDense(2, dtype="mixed_bfloat16")
    assert layer(np.ones((4, 3))).dtype == "bfloat16"
    assert layer.kernel.dtype == "float32"
    with pytest.raises(TypeError, match="grad_fn must accept keyword argument 'variables'"):
        sign(ops.convert_to_tensor(layer.kernel))


# --- a derivative that doesn't overflow ---------------------------------------------------------------------------


@pytest.mark.proves(
    "`log(1 + exp(x))` is `x` for a large `x`, and its derivative is 1. TensorFlow multiplies the derivatives of the "
    "parts, which are 0 and infinity:",
    "`log(1 + exp(x))`, with a gradient that stays finite.",
    "Look for a built-in operation first: `ops.softplus` is right in its value as well, which `log1pexp` isn't.",
    "The second derivative is the derivative of what `grad` computes.",
    "`ops.norm` and `ops.std` have a gradient of `nan` where they are 0. Write the root out, and bound what goes in.",
)
def test_log1pexp():
    shown(MODULE, "gradients", "stable")
    wide = np.array([-200, -30, -1, 0, 1, 30, 88, 89, 200], "float32")
    expected = 1 / (1 + np.exp(-wide.astype("float64")))
    np.testing.assert_allclose(slopes(log1pexp, wide), expected, rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(slopes(ops.softplus, wide), expected, rtol=1e-5, atol=1e-37)
    assert np.isnan(slopes(lambda x: tf.math.log(1 + tf.exp(x)), wide)[-2:]).all()
    large = tf.constant(100.0)
    assert np.isinf(log1pexp(large))
    assert float(ops.softplus(large)) == 100.0

    for function, x in ((ops.norm, tf.zeros(2)), (ops.std, tf.ones(2))):
        assert function(x) == 0
        assert np.isnan(slopes_inside(function, x)).all()
    assert not np.any(slopes_inside(lambda x: ops.sqrt(ops.maximum(ops.sum(x**2), 1e-6)), tf.zeros(2)))

    second = slopes(lambda x: slopes_inside(log1pexp, x), wide)
    np.testing.assert_allclose(second, expected * (1 - expected), atol=1e-6)
    assert not slopes(lambda x: slopes_inside(sign, x) + 0 * x, X).any(), "grad of sign is a constant"


def slopes_inside(function, x) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


# --- reverse ------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Returns its inputs, and reverses their gradient.",
    "The gradient is multiplied by `-strength`.",
    "In domain adaptation, one part of a network learns to tell two sources apart, and the part before it learns to "
    "make them alike.",
)
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_what_stands_before_it_climbs_and_what_stands_behind_it_descends(options):
    page = shown(MODULE, "gradients", "reversed")
    assert page.printed.endswith("x³:           [3.0, 12.0]\nreversed(x)³: [-1.5, -6.0]")
    x = np.random.default_rng(0).normal(size=(32, 3))
    moved = []
    for between in (keras.layers.Identity(), ReverseGradient(2.0)):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), between, keras.layers.Dense(1)])
        before = [np.full(weight.shape, 0.5) for weight in model.weights]
        model.set_weights(before)
        model.compile(keras.optimizers.SGD(0.01), loss="mse", **options)
        model.fit(x, x[:, :1], batch_size=32, verbose=0)
        moved.append([after - start for after, start in zip(model.get_weights(), before, strict=True)])
    (kernel, bias, *head), (kernel_back, bias_back, *head_back) = moved
    np.testing.assert_allclose(kernel_back, -2 * kernel, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(bias_back, -2 * bias, rtol=1e-4, atol=1e-7)
    contract.assert_same(head_back, head)


@pytest.mark.proves("To raise its `strength` while training, make it a weight:")
@pytest.mark.parametrize("is_weight", [False, True])
def test_a_strength_that_changes_is_a_weight(is_weight):
    class Raises(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            layer = self.model.layers[1]
            if is_weight:
                layer.strength.assign(float(epoch))
            else:
                layer.strength = float(epoch)
            self.before = self.model.get_weights()[0]

    layer, raises = ReverseGradient(0.0), Raises()
    if is_weight:
        layer.strength = layer.add_weight(name="strength", initializer="zeros", trainable=False)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), layer, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    model.fit(np.ones((8, 2)), np.ones(8), epochs=2, callbacks=[raises], verbose=0)
    assert np.any(model.get_weights()[0] != raises.before) == is_weight


def test_a_mask_passes():
    embed = keras.layers.Embedding(5, 2, mask_zero=True)
    assert ReverseGradient()(embed(np.array([[1, 0]])))._keras_mask.numpy().tolist() == [[True, False]]
    assert ReverseGradient().strength == 1.0


# --- freeze -------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A dense layer without a bias, whose first rows aren't trained.", "Make two weights, and train one of them:"
)
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
        keras.optimizers.AdamW(0.1, weight_decay=0.1),
        keras.optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=1),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_the_fixed_rows_stay_under_any_of_these_optimizers(optimizer, tmp_path):
    assert shown(MODULE, "frozen").printed == "after 100 steps: [1.]"
    keras.utils.set_random_seed(1)
    layer = PartlyFrozenDense(2, frozen=1)
    model = keras.Sequential([keras.Input((3,)), layer])
    fixed, kernel = layer.fixed.numpy(), layer.kernel.numpy()
    x = np.random.normal(size=(64, 3)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ np.concatenate([fixed, kernel]), rtol=1e-5, atol=1e-6)
    model.compile(optimizer, loss="mse")
    model.fit(x, x[:, :2], epochs=3, verbose=0)
    np.testing.assert_array_equal(layer.fixed, fixed)
    assert np.abs(layer.kernel.numpy() - kernel).min() > 0
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(reloaded.layers[0].fixed, fixed)
    assert len(reloaded.trainable_weights) == 1


@pytest.mark.proves(
    "Weight decay moves that part all the same:",
    "So do a regularizer and a constraint of the weight, and momentum, if the part was trained before.",
)
def test_a_masked_gradient_leaves_weight_decay_and_momentum():
    assert shown(MODULE, "frozen", "decays_fails").printed.endswith("after 100 steps: [0.9]")
    assert round(0.999**100, 1) == 0.9, "a hundred times by the learning rate times the decay"
    for make, moves in (
        (lambda: keras.optimizers.SGD(0.1), False),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9), True),
        (lambda: keras.optimizers.Adam(0.1), True),
    ):
        weight, optimizer = keras.Variable([1.0, 1.0]), make()
        optimizer.apply([tf.constant([1.0, 1.0])], [weight])
        held = weight.numpy()
        optimizer.apply([tf.constant([0.0, 1.0])], [weight])  # the first is masked now
        assert (weight.numpy()[0] != held[0]) == moves

    is_free = np.array([[False], [True], [True]])

    class Masked(PartlyFrozenDense):
        def call(self, inputs):
            return ops.matmul(inputs, ops.where(is_free, self.kernel, ops.stop_gradient(self.kernel)))

    features = np.random.default_rng(0).normal(size=(320, 3)).astype("float32")
    for options in ({}, {"regularizer": "l2"}, {"constraint": keras.constraints.MaxNorm(1.0)}):
        layer = Masked(1, frozen=0)
        layer.kernel = layer.add_weight(shape=(3, 1), initializer="ones", **options)
        layer.built = True
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(keras.optimizers.SGD(0.05), loss="mse")
        model.fit(features, features @ [[1], [2], [3]], epochs=10, verbose=0)
        assert (layer.kernel.numpy()[0] < 0.95) == bool(options)


# --- a derivative in the loss -------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A network can learn a function from its differential equation, here `u' = -u` with `u(0) = 1`.",
    "Learns u with u' = -u and u(0) = 1, from times alone.",
    "The condition at 0 is in the form of `call`, and needs no second term in the loss.",
)
def test_it_solves_the_equation(seed):
    page = shown(MODULE, "solve", seed=seed)
    assert page.printed.endswith("largest error below 0.05: True")
    line = np.max(np.abs(np.exp(-page["between"]) - (1 - 0.45 * page["between"])))
    assert np.max(np.abs(page["errors"])) < line / 5, "better than a line"
    assert page["solver"].predict(np.zeros((1, 1)), verbose=0) == 1.0


@pytest.mark.proves(
    "A tape inside `compute_loss` gives the derivative with respect to the input, and the step of `fit` differentiates "
    "it once more:"
)
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_its_loss_is_the_mean_square_of_what_the_equation_leaves(options):
    t, _ = times()
    solver = SolvesDecay()
    solver(t)
    step = 1e-3
    u, before, after = (solver(t + shift).numpy().astype("float64") for shift in (0, -step, step))
    expected = np.mean(((after - before) / (2 * step) + u) ** 2)
    solver.compile(keras.optimizers.Adam(0.01), **options)
    assert solver.evaluate(t, verbose=0) == pytest.approx(expected, rel=1e-3)
    losses = solver.fit(t, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@keras.saving.register_keras_serializable(package="tests.training.custom_gradient")
class Penalized(keras.Sequential):
    """With a penalty on the gradient of its outputs, beside the loss of `compile`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = self(x)
        penalty = ops.mean(ops.square(tape.gradient(outputs, x)))
        return super().compute_loss(x, y, y_pred, sample_weight, training) + penalty


@pytest.mark.proves(
    "This `compute_loss` ignores the loss of `compile`, sample weights and regularizers. A penalty on the gradient is "
    "added to what `super().compute_loss(…)` returns, which keeps them."
)
def test_a_penalty_is_added_to_what_super_returns():
    x, weights = np.ones((8, 3), "float32"), np.linspace(0, 1, 8)

    def loss(model, **options) -> float:
        model.compile("sgd", loss="mse")
        return model.evaluate(x, np.ones((8, 1)), verbose=0, **options)

    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(10.0))
    model = Penalized([keras.Input((3,)), dense])
    kernel = dense.kernel.numpy()
    error = (1 - kernel.sum()) ** 2
    rest = 10 * np.sum(kernel**2) + np.mean(kernel**2)
    assert loss(model) == pytest.approx(error + rest, rel=1e-5)
    assert loss(model, sample_weight=weights) == pytest.approx(error * weights.mean() + rest, rel=1e-5)

    solver = SolvesDecay()
    solver.hidden.kernel_regularizer = keras.regularizers.L2(1e6)
    alone = loss(solver)
    assert loss(solver, sample_weight=0 * weights) == alone < 100


@pytest.mark.proves("The activation needs as many derivatives as the equation has: the second one of `relu` is 0.")
@pytest.mark.parametrize(("activation", "has"), [("relu", False), ("tanh", True)])
def test_the_second_derivative_of_an_activation(activation, has):
    function = keras.activations.get(activation)
    assert slopes(lambda x: slopes_inside(function, x) + 0 * x, X).any() == has


# --- what else changes a gradient ---------------------------------------------------------------------------------


@pytest.mark.proves(
    "Clip the gradient of each weight, or of all together | `clipnorm=`, or `global_clipnorm=`, of the optimizer"
)
def test_clipping():
    for options, steps in (({"clipnorm": 1.0}, [0.6, 0.8, 1.0]), ({"global_clipnorm": 13.0}, [3.0, 4.0, 12.0])):
        weights = [keras.Variable([0.0, 0.0]), keras.Variable([0.0])]
        optimizer = keras.optimizers.SGD(1.0, **options)
        optimizer.apply([tf.constant([3.0, 4.0]), tf.constant([12.0])], weights)
        np.testing.assert_allclose(-np.concatenate([weight.numpy() for weight in weights]), steps, rtol=1e-6)
    weights = [keras.Variable([0.0, 0.0]), keras.Variable([0.0])]
    keras.optimizers.SGD(1.0, global_clipnorm=1.0).apply([tf.constant([3.0, 4.0]), tf.constant([12.0])], weights)
    moved = np.concatenate([weight.numpy() for weight in weights])
    np.testing.assert_allclose(np.linalg.norm(moved), 1.0, rtol=1e-6)
