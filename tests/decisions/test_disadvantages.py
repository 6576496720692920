"""`docs/decisions/disadvantages.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import warnings
from contextlib import chdir, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from engine.prove import shapes
from engine.site import sections
from snippets.decisions import disadvantages as module
from snippets.decisions.disadvantages import FeatureNorm, TimeAttention, running_mean, slopes
from snippets.decisions.when_to_use import SkipBlock
from tests import contract, prose
from tests.shown import maker, shown

CASES = {
    "FeatureNorm": contract.Layer(lambda **kw: FeatureNorm(0.01, **kw), inputs=[(4,), (None, 4), (2, 5, 4)]),
    "TimeAttention": contract.Layer(TimeAttention, inputs=[(7, 4), (None, 4)]),
}
CAUGHT = {
    "WrongAxis": contract.Wrong(maker("WrongAxis", module, "wrong_axis"), (7, 4), "rows_are_independent"),
    "BareNorm": contract.Wrong(maker("BareNorm", module, "imports", "bare_norm"), (7, 4), "numbers_in_16_bits"),
}
CHECKS = ["equals_the_built_in", "survives_float16", "propagates_the_mask", "comes_back_from_a_file"]
LOST_MASK = "does not support masking and will therefore destroy the mask"


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def numbers(tensor) -> np.ndarray:
    """In float64, from 16 bits too."""
    return np.asarray(tf.cast(tensor, "float64"))


def passes(norm, *names: str) -> list[bool]:
    """The page's four checks, tried on a layer."""
    checks = shown(module, "imports", "four_checks").namespace
    with TemporaryDirectory() as folder, chdir(folder):
        return [checks[check](norm) for check in names or CHECKS]


def padded(x: np.ndarray, steps: int = 3) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, steps), (0, 0)])


# --- increased complexity ---------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`gamma * (inputs - mean) / sqrt(variance + epsilon) + beta`, arXiv:1607.06450.",
    "Layer normalisation of the last axis",
)
def test_feature_norm_is_its_formula_with_any_weights():
    x, (gamma, beta) = rng().normal(3, 2, size=(5, 7, 4)), rng().normal(size=(2, 4))
    layer = FeatureNorm(0.25, dtype="float64")
    layer.build(x.shape)
    layer.set_weights([gamma, beta])
    expected = gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.25) + beta
    np.testing.assert_allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["BareNorm", "FeatureNorm"])
@pytest.mark.parametrize("mean", [0, 3, 1e3, 1e5])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e18, 1e20, 1e30])
@pytest.mark.proves("In `float32`, `keras.layers.LayerNormalization` computes the same, up to rounding.")
def test_the_formula_is_the_built_in_with_any_weights(name, mean, scale):
    x = (scale * rng().normal(mean, 2, size=(5, 7, 4))).astype("float32")
    ours, built_in = shown(module, "imports", "bare_norm")[name](), layers.LayerNormalization()
    for layer in (ours, built_in):
        layer.build(x.shape)
        layer.set_weights(rng().normal(size=(2, 4)))
    rounding = 1e-6 * max(1, mean)
    contract.assert_same(ours(x), built_in(x), atol=rounding)
    if scale > 1e19:  # the squares overflow in both: only beta is left
        contract.assert_same(ours(x), np.broadcast_to(ours.beta, x.shape), atol=0)


def test_the_defaults_and_names_are_those_of_the_built_in():
    ours, built_in = FeatureNorm(), layers.LayerNormalization()
    assert ours.epsilon == built_in.epsilon == 1e-3
    for layer in (ours, built_in):
        layer.build((None, 4))
    contract.assert_same(ours.get_weights(), built_in.get_weights())
    assert [weight.name for weight in ours.weights] == [weight.name for weight in built_in.weights]


@pytest.mark.proves("Added to the variance, so that a row of equal numbers isn't divided by 0.")
def test_a_row_of_equal_numbers_is_not_divided_by_zero():
    np.testing.assert_array_equal(FeatureNorm()(np.full((1, 4), 5.0)), 0)
    assert np.isnan(FeatureNorm(0.0)(np.full((1, 4), 5.0))).all()


@pytest.mark.parametrize("policy", ["float64", keras.DTypePolicy("mixed_float16")], ids=["by name", "as an object"])
def test_options_come_back_with_the_layer(policy, tmp_path):
    norm = FeatureNorm(0.25, name="norm", dtype=policy, trainable=False)
    keras.Sequential([keras.Input((7, 4)), norm]).save(tmp_path / "model.keras")
    (layer,) = keras.saving.load_model(tmp_path / "model.keras").layers
    assert (layer.epsilon, layer.name, layer.trainable) == (0.25, "norm", False)
    assert layer.dtype_policy == norm.dtype_policy


@pytest.mark.proves("The formula alone passes the first check only:", "With all three fixed")
def test_the_four_checks_tell_the_formula_from_the_layer():
    with pytest.warns(UserWarning, match=LOST_MASK):
        assert passes(shown(module, "imports", "bare_norm")["BareNorm"]) == [True, False, False, False]
    assert passes(FeatureNorm) == passes(layers.LayerNormalization) == [True] * 4


@keras.saving.register_keras_serializable(package="test")
class HalfSaved(FeatureNorm):
    """Keeps its offset in a variable that Keras saves as little as it trains it."""

    def build(self, input_shape):
        super().build(input_shape)
        self.offset = tf.Variable(tf.random.normal((4,)))

    def call(self, inputs):
        return super().call(inputs) + self.offset


def test_a_layer_that_comes_back_different_does_not_pass():
    assert passes(HalfSaved, "comes_back_from_a_file") == [False]


@keras.saving.register_keras_serializable(package="test")
class NewBeta(FeatureNorm):
    """Comes back from a file with the weight it starts from."""

    def load_own_variables(self, store):
        self.gamma.assign(store["0"])


def test_a_layer_that_comes_back_with_new_weights_does_not_pass():
    assert passes(NewBeta, "comes_back_from_a_file") == [False]


class MinusBeta(FeatureNorm):
    def call(self, inputs):
        return super().call(inputs) - 2 * self.beta


@pytest.mark.proves("a bias that starts at 0 isn't compared", "Give both the same random weights")
def test_a_wrong_sign_of_the_bias_shows_with_random_weights_only():
    x = rng().normal(size=(5, 4)).astype("float32")
    contract.assert_same(MinusBeta()(x), layers.LayerNormalization()(x), atol=1e-5)
    assert passes(MinusBeta, "equals_the_built_in") == [False]
    given_batch = rng().normal(size=(5, 7, 4)).astype("float32")
    printed = shown(module, "check_built_in", FeatureNorm=MinusBeta, batch=given_batch).printed
    assert float(printed.split(": ")[1]) > 0.1


LARGE = np.array([[300.0, -300.0, 600.0, 0.0], [1.0, 2.0, 3.0, 4.0]])


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
@pytest.mark.proves(
    "In `float16` the squares overflow, and rows come out as zeros, silently.", "Squares overflow in float16"
)
def test_in_float16_rows_come_out_as_zeros_silently(policy):
    outputs = np.asarray(shown(module, "imports", "bare_norm")["BareNorm"](dtype=policy)(LARGE))
    np.testing.assert_array_equal(outputs[0], np.zeros(4))
    assert np.abs(outputs[1]).max() > 1


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
@pytest.mark.proves("`bfloat16` doesn't overflow here: it has the range of `float32`.")
def test_bfloat16_does_not_overflow(policy):
    outputs = numbers(shown(module, "imports", "bare_norm")["BareNorm"](dtype=policy)(LARGE))
    np.testing.assert_allclose(outputs, layers.LayerNormalization()(LARGE), atol=0.02)
    assert tf.bfloat16.max > 0.99 * tf.float32.max


@pytest.mark.parametrize("policy", contract.DTYPES)
@pytest.mark.proves("compute in 32 bits at least", "With all three fixed")
def test_feature_norm_rounds_only_its_result(policy):
    """Large numbers, and weights that 16 bits can't tell apart from others."""
    layer, exact = FeatureNorm(dtype=policy), FeatureNorm(dtype="float64")
    x = numbers(ops.cast(300 * rng().normal(size=(50, 4)), layer.compute_dtype))
    for one in (layer, exact):
        one.build(x.shape)
    layer.set_weights([np.array([1.0039, 1.0117, 0.9981, 1.0005]), np.array([0.0013, 0.0, 0.0, -0.0007])])
    exact.set_weights([numbers(weight) for weight in layer.weights])
    expected = numbers(ops.cast(ops.cast(exact(x), "float32"), layer.compute_dtype))
    outputs = numbers(layer(ops.cast(x, layer.compute_dtype)))
    assert np.mean(outputs == expected) > 0.97 if "16" in policy else np.allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("policy", contract.DTYPES)
def test_feature_norm_trains_under_each_policy(policy):
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential([FeatureNorm(), TimeAttention(), layers.Dense(1, dtype="float32")])
    model.compile(optimizer="sgd", loss="mse")
    x = rng().normal(size=(32, 7, 4))
    losses = model.fit(x, x[:, 0, :1], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.proves("The mask is lost, with a warning.", "the mask of the inputs goes on")
def test_the_mask_is_lost_with_a_warning():
    bare = shown(module, "imports", "bare_norm")["BareNorm"]()
    with pytest.warns(UserWarning, match=LOST_MASK):
        keras.Sequential([layers.Masking(), bare])(np.ones((1, 2, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        outputs = keras.Sequential([layers.Masking(), FeatureNorm()])(np.array([[[1.0, 2.0], [0.0, 0.0]]]))
    np.testing.assert_array_equal(outputs._keras_mask, [[True, False]])


@pytest.mark.proves("The class isn't found when the file is loaded, because it isn't registered.")
def test_the_class_is_not_found_unless_it_is_registered(tmp_path):
    bare = shown(module, "imports", "bare_norm")["BareNorm"]
    keras.Sequential([keras.Input((4,)), bare()]).save(tmp_path / "norm.keras")
    with pytest.raises(TypeError, match="Could not locate class 'BareNorm'"):
        keras.saving.load_model(tmp_path / "norm.keras")
    keras.saving.register_keras_serializable(package="test")(bare)
    keras.Sequential([keras.Input((4,)), bare()]).save(tmp_path / "norm.keras")
    keras.saving.load_model(tmp_path / "norm.keras")


@pytest.mark.proves(
    "and with `compute_output_shape`, which wrappers such as `TimeDistributed` call",
    "In a custom layer, you write the code for each of these yourself.",
)
def test_wrappers_ask_for_the_shape():
    inputs = keras.Input((3, 7, 4))
    with pytest.raises(NotImplementedError, match="compute_output_shape"):
        layers.TimeDistributed(shown(module, "imports", "bare_norm")["BareNorm"]())(inputs)
    assert layers.TimeDistributed(FeatureNorm())(inputs).shape == (None, 3, 7, 4)
    assert layers.TimeDistributed(TimeAttention())(inputs).shape == (None, 3, 4)
    assert layers.TimeDistributed(layers.LayerNormalization())(inputs).shape == (None, 3, 7, 4)


@pytest.mark.proves(
    "Many built-in layers, such as `LayerNormalization`, support masks, 16 bits, saving and wrappers.",
)
def test_many_built_in_layers_propagate_a_mask_and_many_do_not():
    masked = layers.Masking()(padded(np.ones((2, 4, 4), "float32")))
    keeps = (layers.LayerNormalization(), layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.5))
    loses = (layers.Conv1D(3, 3, padding="same"), layers.MaxPooling1D(), layers.Flatten(), layers.Reshape((28,)))
    for layer in keeps:
        np.testing.assert_array_equal(layer(masked)._keras_mask, masked._keras_mask)
    for layer in loses:
        with pytest.warns(UserWarning, match=LOST_MASK):
            assert getattr(layer(masked), "_keras_mask", None) is None


@pytest.mark.parametrize("name", ["FeatureNorm", "TimeAttention"])
@pytest.mark.parametrize("features", [1, 5])
def test_inputs_of_another_width_raise_while_the_model_is_built(name, features):
    layer = getattr(module, name)()
    layer(keras.Input((7, 4)))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 4"):
        layer(keras.Input((7, features)))


def test_attention_takes_sequences_only():
    layer = TimeAttention()
    layer(keras.Input((7, 4)))
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=4"):
        layer(keras.Input((2, 7, 4)))


def lines_of_code(text: str) -> int:
    """Lines that hold anything but a docstring or a comment."""
    text = textwrap.dedent(text)
    docstrings = [
        node.body[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    told = {line for node in docstrings for line in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(text.splitlines(), 1)
    return sum(number not in told and not re.fullmatch(r"\s*(#.*)?", line) for number, line in lines)


@pytest.mark.proves(
    "Without docstring, comments and blank lines, the class has grown from 10 lines to 27, "
    "and still normalises the last axis only.",
    "The formula of a layer normalisation is four lines:",
    "This page counts what it costs, in lines, in checks that fail and in operations of the graph.",
    "There is more code to write, to understand and to maintain",
)
def test_the_lines_are_counted():
    found = sections(Path(module.__file__))
    assert [lines_of_code(found[name].text) for name in ("bare_norm", "feature_norm")] == [10, 27]
    call = found["bare_norm"].text.split("def call(self, x):\n")[1]
    assert len(call.splitlines()) == 4
    assert "axis" not in inspect.signature(FeatureNorm).parameters


@pytest.mark.proves("The built-in layer also takes a list of axes, initializers, regularizers and constraints.")
def test_the_built_in_layer_takes_more_options():
    options = set(inspect.signature(layers.LayerNormalization).parameters)
    assert {"axis", "gamma_initializer", "gamma_regularizer", "gamma_constraint"} <= options
    x = rng().normal(size=(2, 3, 4)).astype("float32")
    outputs = layers.LayerNormalization(axis=[1, 2])(x)
    np.testing.assert_allclose(np.mean(outputs, axis=(1, 2)), 0, atol=1e-6)


# --- bugs -------------------------------------------------------------------------------------------------------------


def attended(x: np.ndarray, query: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    weights = np.exp(x @ query) * (1 if mask is None else mask[..., None])
    return np.sum(weights / weights.sum(axis=1, keepdims=True) * x, axis=1)


@pytest.mark.proves(
    "This one weighs the steps of a sequence by a softmax over time, which is axis 1:",
    "`softmax(inputs @ query)` over the steps gives the weights. "
    "The values of a masked step are ignored. Its weight is 0, unless all steps are masked.",
    "The mean over time, each step weighted by how much it matters.",
)
def test_time_attention_is_the_formula():
    layer, x = TimeAttention(dtype="float64"), rng().normal(size=(5, 7, 4))
    layer.build(x.shape)
    query = rng().normal(size=(4, 1))
    layer.set_weights([query])
    weights = np.exp(x @ query) / np.exp(x @ query).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer.weigh(ops.convert_to_tensor(x)), weights, rtol=1e-9)
    np.testing.assert_allclose(layer(x), attended(x, query), rtol=1e-9)
    mask = rng().integers(2, size=(5, 7)).astype(bool)
    mask[:, 3] = True
    np.testing.assert_allclose(layer(x, mask=ops.convert_to_tensor(mask)), attended(x, query, mask), rtol=1e-9)
    by_step = np.asarray(layer.weigh(ops.convert_to_tensor(x), ops.convert_to_tensor(mask)))[..., 0]
    np.testing.assert_array_equal(by_step[~mask], 0)
    mask[2] = False
    np.testing.assert_allclose(layer.weigh(ops.convert_to_tensor(x), ops.convert_to_tensor(mask))[2], 1 / 7)
    np.testing.assert_array_equal(layer(x, mask=ops.convert_to_tensor(mask))[2], 0)


def test_the_query_starts_from_random_numbers():
    layer = TimeAttention()
    layer.build((None, 7, 100))
    query = np.asarray(layer.query)
    limit = np.sqrt(6 / 101)  # Glorot and Bengio's, as for a Dense of one unit
    assert 0.8 * limit < np.abs(query).max() <= limit
    assert layer.query.name == "query"


SAME_ALONE = (
    "While its scores stay above −1e9, a padded sequence with a mask gives what the sequence gives alone, "  # noqa: RUF001
    "even if the padding is infinite."
)


@pytest.mark.parametrize(("score", "same"), [(-1e8, True), (-1e10, False)])
@pytest.mark.proves(SAME_ALONE)
def test_the_mask_is_a_score(score, same):
    attention, x = TimeAttention(), score * np.ones((1, 5, 4), "float32")
    attention.build(x.shape)
    attention.set_weights([np.eye(4)[:, :1]])
    masked = attention(padded(x), mask=ops.convert_to_tensor([[True] * 5 + [False] * (padded(x).shape[1] - 5)]))
    assert np.allclose(masked, attention(x), rtol=1e-5) is same


@pytest.mark.parametrize("policy", ["float32", *contract.DTYPES])
@pytest.mark.proves(SAME_ALONE)
def test_padding_changes_nothing(policy):
    x = rng().normal(size=(5, 7, 4)).astype("float32")
    attention = TimeAttention(dtype=policy)
    model = keras.Sequential([layers.Masking(dtype=policy), FeatureNorm(dtype=policy), attention])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        alone, with_padding = numbers(model(x)), numbers(model(padded(x)))
        in_front = numbers(model(np.flip(padded(np.flip(x, 1)), 1)))
        symbolic = model(keras.Input((None, 4)))
    tolerance = contract.DTYPES.get(policy, 1e-6)
    np.testing.assert_allclose(with_padding, alone, atol=tolerance)
    np.testing.assert_allclose(in_front, alone, atol=tolerance)
    np.testing.assert_allclose(numbers(model.predict(padded(x), verbose=0)), alone, atol=tolerance)
    assert symbolic.shape == (None, 4)


@pytest.mark.parametrize("policy", ["float32", *contract.DTYPES])
@pytest.mark.parametrize("padding", [-np.inf, np.inf, np.nan])
@pytest.mark.proves(
    SAME_ALONE,
    "a weight of 0 times infinity would be NaN",
)
def test_infinite_padding_changes_nothing(policy, padding):
    attention = TimeAttention(dtype=policy)
    x = ops.cast(rng().normal(size=(2, 5, 4)), attention.compute_dtype)
    mask = ops.convert_to_tensor(np.arange(5) < np.array([[3], [5]]))
    infinite = ops.where(mask[..., None], x, ops.cast(padding, x.dtype))

    def outputs_and_gradients(x, mask):
        with tf.GradientTape() as tape:
            outputs = attention(x, mask=mask)
            loss = ops.sum(outputs)
        return numbers(outputs), numbers(tape.gradient(loss, attention.query.value))

    given, gradient = outputs_and_gradients(infinite, mask)
    tolerance = contract.DTYPES.get(policy, 1e-6)
    np.testing.assert_allclose(given[:1], numbers(attention(x[:1, :3])), atol=tolerance)
    np.testing.assert_allclose(gradient, outputs_and_gradients(x, mask)[1], atol=tolerance)
    assert np.isfinite(gradient).all()
    assert attention(infinite, mask=mask).dtype == attention.compute_dtype


def test_without_the_mask_padding_counts():
    x = rng().normal(size=(5, 7, 4)).astype("float32")
    attention = TimeAttention()
    assert np.abs(attention(padded(x)) - attention(x)).max() > 0.05


@pytest.mark.proves("the outputs have no steps")
def test_attention_ends_the_mask_without_a_warning():
    model = keras.Sequential([layers.Masking(), TimeAttention(), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(padded(rng().normal(size=(8, 7, 4))), np.ones((8, 1)), verbose=0)
    assert getattr(model.layers[1](layers.Masking()(np.ones((1, 7, 4)))), "_keras_mask", None) is None
    inputs = layers.Masking()(keras.Input((7, 4)))
    assert getattr(inputs, "_keras_mask", None) is not None
    assert getattr(TimeAttention()(inputs), "_keras_mask", None) is None


@pytest.mark.proves("If all steps of a sample are masked, its outputs are 0.")
def test_of_padding_alone_the_outputs_are_0():
    embedding = layers.Embedding(5, 4, mask_zero=True)
    outputs = TimeAttention()(embedding(np.array([[0, 0, 0], [1, 0, 2]])))
    np.testing.assert_array_equal(outputs[0], 0)
    assert np.abs(outputs[1]).max() > 0


@pytest.mark.parametrize("policy", contract.DTYPES)
@pytest.mark.proves("Many steps have small weights: compute in 32 bits at least.")
def test_attention_is_right_for_many_steps_in_16_bits(policy):
    layer, exact = TimeAttention(dtype=policy), TimeAttention(dtype="float64")
    x = rng().normal(1, 1, size=(2, 20_000, 4))
    layer(x), exact(x)
    exact.set_weights([numbers(weight) for weight in layer.weights])
    expected = numbers(exact(numbers(ops.cast(x, layer.compute_dtype))))
    rounding = 2.0 ** -{"float16": 10, "bfloat16": 7}.get(layer.compute_dtype, 20)
    np.testing.assert_allclose(numbers(layer(x)), expected, rtol=rounding)


@pytest.mark.proves(
    "Here is the same layer with a mistake: its softmax runs over the batch. "
    "The weights of each sample depend on the other samples."
)
def test_a_softmax_over_the_batch_mixes_the_samples():
    x = ops.convert_to_tensor(rng().normal(size=(8, 7, 4)).astype("float32"))
    wrong, right = shown(module, "wrong_axis")["WrongAxis"](), TimeAttention()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrong(x), right(x)
    wrong.set_weights(right.get_weights())
    scores = np.exp(np.asarray(x) @ np.asarray(right.query))
    np.testing.assert_allclose(wrong.weigh(x), scores / scores.sum(axis=0), rtol=1e-4)
    assert np.abs(wrong.weigh(x)[:2] - wrong.weigh(x[:2])).max() > 0.1
    contract.assert_same(right.weigh(x)[:2], right.weigh(x[:2]), atol=1e-5)


@pytest.mark.proves(
    "It raises nothing, and its loss falls.",
    "Two numbers show the mistake: weights that should add up to 1, and an output that shouldn't depend on the batch.",
)
def test_the_wrong_layer_trains_and_two_numbers_show_it(seed):
    told = re.findall(
        r"(\w+): loss from ([\d.]+) to ([\d.]+)\n.* add up to ([\d.]+)\n.* changes by (\d+)",
        shown(module, "imports", "wrong_axis", "attend", seed=seed).printed,
    )
    assert [name for name, *_ in told] == ["WrongAxis", "TimeAttention"]
    (_, first, last, total, change), (_, right_first, right_last, right_total, right_change) = told
    assert float(last) < 0.5 * float(first)
    assert float(right_last) < 0.1 * float(right_first)
    assert float(total) < 0.1
    assert float(change) >= 1
    assert (float(right_total), float(right_change)) == (1, 0)


class Untracked(layers.Layer):
    def build(self, input_shape):
        self.scale = tf.Variable(tf.ones(input_shape[-1], self.compute_dtype))

    def call(self, inputs):
        return inputs * self.scale


@pytest.mark.proves(
    "Another mistake that raises nothing is a variable that is never trained. The count of trainable weights shows it.",
    "Trainable weights | A variable that isn't trained | A gradient that is wrong, but finite and not 0",
)
def test_a_variable_that_is_not_tracked_shows_in_the_count():
    model = keras.Sequential([layers.Dense(4), Untracked()])
    batch = rng().normal(size=(2, 4)).astype("float32")
    model(batch)
    printed = shown(module, "imports", "check_weights", model=model, batch=batch).printed
    assert printed.startswith("trainable weights: 2\n")
    model.compile(optimizer="sgd", loss="mse")
    model.fit(batch, batch, verbose=0)
    np.testing.assert_array_equal(model.layers[1].scale, 1)


# --- inefficiencies ---------------------------------------------------------------------------------------------------


def mean_so_far(x: np.ndarray) -> np.ndarray:
    return np.cumsum(x, axis=1) / np.arange(1, x.shape[1] + 1)[:, None]


@pytest.mark.parametrize("steps", [7, 200])
@pytest.mark.proves(
    "This running mean is right in `float32`, and reads like the formula:",
    "The same mean as two cumulative sums:",
    "The mean of each step and all steps before it.",
)
def test_both_are_the_mean_of_the_steps_so_far(steps):
    x = rng().normal(1, 1, size=(2, steps, 4)).astype("float32")
    expected = mean_so_far(x.astype("float64"))
    np.testing.assert_allclose(expected[:, 4], x[:, :5].mean(axis=1), rtol=1e-5)
    for function in (running_mean, shown(module, "imports", "looped_mean")["looped_mean"]):
        contract.assert_same(function(ops.convert_to_tensor(x)), expected.astype("float32"), atol=1e-5)
    assert inspect.getsource(running_mean).count("ops.cumsum(") == 2


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.proves("A long sum in 16 bits stops growing: add up in 32 bits at least.")
def test_running_mean_is_right_for_long_sequences(dtype):
    x = tf.cast(rng().normal(1, 1, size=(2, 10_000, 3)), dtype)
    rounding = 2.0 ** -{"float64": 40, "float32": 15, "float16": 10, "bfloat16": 7}[dtype]
    for function in (running_mean, tf.function(running_mean), tf.function(running_mean, jit_compile=True)):
        means = function(x)
        assert means.dtype == dtype
        np.testing.assert_allclose(numbers(means), mean_so_far(numbers(x)), rtol=rounding, atol=rounding)
    shapes.check_docstring(running_mean, x, running_mean(x))


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool"])
def test_the_running_mean_of_integers_is_not_cut_off(dtype):
    means = running_mean(tf.constant([[[1], [0]]], dtype) if dtype != "bool" else tf.constant([[[True], [False]]]))
    np.testing.assert_array_equal(means, [[[1.0], [0.5]]])
    assert means.dtype == "float32"


@pytest.mark.parametrize(("dtype", "limit"), [("bfloat16", 256), ("float16", 2048)])
@pytest.mark.proves(
    "In 16 bits the two differ for long sequences. "
    "The total of the loop stops growing once a step is smaller than the rounding of the total: "
    "for ones, at 256 in `bfloat16`, and at 2048 in `float16`."
)
def test_the_total_of_the_loop_stops_growing(dtype, limit):
    looped_mean = shown(module, "imports", "looped_mean")["looped_mean"]
    ones = ops.ones((1, limit + 500, 1), dtype=dtype)
    totals = numbers(looped_mean(ones))[0, :, 0] * np.arange(1, limit + 501)
    np.testing.assert_allclose(totals[limit - 1 :], limit, rtol=0.01)
    np.testing.assert_array_equal(numbers(looped_mean(ones[:, :limit])), 1)  # shorter ones agree
    np.testing.assert_array_equal(numbers(running_mean(ones)), 1)
    assert numbers(ops.cast(limit, dtype) + ops.cast(1, dtype)) == limit


@pytest.mark.proves(
    "While a graph is traced, a Python loop over the `range` of a Python number adds its operations "
    "once for each turn.",
    "The graph of the loop grows with the sequence",
)
def test_the_graph_of_the_loop_grows_and_the_other_does_not():
    found = shown(module, "imports", "looped_mean", "operations", x=np.ones((2, 7, 4), "float32"))
    looped = [found["operations"](found["looped_mean"], steps) for steps in (8, 16, 24)]
    assert looped[2] - looped[1] == looped[1] - looped[0] > 8
    assert len({found["operations"](running_mean, steps) for steps in (8, 16, 24, 128)}) == 1

    def over_a_tensor(inputs):
        total = tf.zeros_like(inputs[:, 0])
        for step in range(tf.shape(inputs)[1]):
            total = total + inputs[:, step]
        return total

    assert len({found["operations"](over_a_tensor, steps) for steps in (8, 16, 24, 128, None)}) == 1


@pytest.mark.proves("the loop can't take a sequence of unknown length, `Input((None, 4))`.")
def test_the_loop_cannot_take_a_sequence_of_unknown_length():
    with pytest.raises(TypeError, match="'NoneType' object cannot be interpreted as an integer"):
        shown(module, "imports", "looped_mean")["looped_mean"](keras.Input((None, 4)))
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, running_mean(inputs))
    x = rng().normal(size=(2, 9, 4)).astype("float32")
    contract.assert_same(model(x), running_mean(x))


@pytest.mark.proves(
    "Both are functions, which end a mask silently. "
    "Padding behind a sequence doesn't change the means before it, but what follows in the model counts the padding."
)
def test_a_function_ends_the_mask_silently():
    looped_mean = shown(module, "imports", "looped_mean")["looped_mean"]
    x = rng().normal(size=(2, 7, 4)).astype("float32")
    pooling = layers.GlobalAveragePooling1D()
    for function in (running_mean, looped_mean):
        inputs = keras.Input((10, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model = keras.Model(inputs, pooling(function(layers.Masking()(inputs))))
            means = function(layers.Masking()(padded(x)))
        assert getattr(means, "_keras_mask", None) is None
        contract.assert_same(means[:, :7], function(ops.convert_to_tensor(x)), atol=1e-6)
        contract.assert_same(model(padded(x)), np.mean(means, axis=1), atol=1e-6)
        assert np.abs(model(padded(x)) - pooling(means[:, :7])).max() > 0.01


def test_a_model_with_the_function_loads_where_it_is_not_defined(tmp_path, fresh_process):
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, running_mean(inputs))
    model.save(tmp_path / "model.keras")
    x = rng().normal(size=(2, 9, 4)).astype("float32")
    outputs = fresh_process.submit(contract.load_and_call, tmp_path / "model.keras", "keras", x).result()
    contract.assert_same(outputs, np.asarray(model(x)))


@pytest.mark.proves(
    "By default, a `tf.function` is traced again for each new shape. "
    "`fit` and `predict` set `reduce_retracing`; in a loop of your own, you have to."
)
def test_fit_and_predict_reduce_the_traces(monkeypatch):
    set_by, function = [], tf.function
    monkeypatch.setattr(tf, "function", lambda *args, **options: set_by.append(options) or function(*args, **options))
    traced = []

    class Counts(layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return running_mean(inputs)

    model = keras.Sequential([layers.Dense(1), Counts()])
    model.compile(optimizer="sgd", loss="mse")
    model(np.ones((2, 3, 4)))
    for run in (
        lambda x: model.fit(x, x[..., :1], verbose=0),
        lambda x: model.predict(x, verbose=0),
    ):
        set_by.clear(), traced.clear()
        for steps in range(1, 6):
            run(np.ones((2, steps, 4)))
        assert set_by
        assert all(options.get("reduce_retracing") for options in set_by)
        assert 1 <= len(traced) < 5
    by_default, asked = function(Counts()), function(Counts(), reduce_retracing=True)
    for steps in range(1, 6):
        by_default(tf.ones((2, steps, 4))), asked(tf.ones((2, steps, 4)))
    assert by_default.experimental_get_tracing_count() == 5
    assert asked.experimental_get_tracing_count() == 2


# --- the checks -------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "It ends with four checks for your own layers.",
    "Four checks for your own layers. Put them into a test, so that they run again at each change. "
    "Each check has a limit:",
)
def test_the_checks_are_four():
    page = prose.page_of(Path(__file__))
    text = page.read_text(encoding="utf-8").split("## How to get the cost back")[1].split("## Where next")[0]
    assert len(re.findall(r"^### ", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^\| \[", text, re.MULTILINE)) == 4


@pytest.mark.proves(
    "Same as the built-in | A wrong formula | What the test doesn't try: a mask, large numbers, 16 bits"
)
def test_the_comparison_finds_a_wrong_formula_and_not_what_it_does_not_try():
    bare = shown(module, "imports", "bare_norm")["BareNorm"]
    batch = rng().normal(size=(5, 7, 4)).astype("float32")

    def compared(norm):
        return float(shown(module, "check_built_in", FeatureNorm=norm, batch=batch).printed.split(": ")[1])

    class NoRoot(FeatureNorm):
        def call(self, inputs):
            return super().call(inputs) ** 2

    assert compared(NoRoot) > 0.1
    assert compared(bare) == compared(FeatureNorm) == 0
    with pytest.warns(UserWarning, match=LOST_MASK):
        assert passes(bare, "survives_float16", "propagates_the_mask") == [False, False]


FAIR = {
    "FeatureNorm": (lambda: FeatureNorm(dtype="float64"), {}),
    "TimeAttention": (lambda: TimeAttention(dtype="float64"), {}),
    "SkipBlock": (lambda: SkipBlock(8, dtype="float64"), {}),
    "moving averages": (lambda: layers.BatchNormalization(dtype="float64"), {}),
    "moving averages that move": (lambda: layers.BatchNormalization(dtype="float64"), {"training": True}),
    "frozen": (lambda: layers.Dense(3, trainable=False, dtype="float64"), {}),
    "several outputs": (lambda: layers.LSTM(3, return_state=True, return_sequences=True, dtype="float64"), {}),
    "dropout": (
        lambda: keras.Sequential([layers.Dense(4, dtype="float64"), layers.Dropout(0.5, dtype="float64")]),
        {"training": True},
    ),
}

UNDISTURBED = (
    "Weights that aren't trainable, integer inputs, several outputs and the dropout of Keras don't disturb the check; "
    "`tf.nn.dropout` and `keras.remat` do."
)


@pytest.mark.proves(UNDISTURBED)
def test_dropout_of_tensorflow_disturbs_the_slopes(seed):
    class Drops(layers.Dense):
        by = staticmethod(keras.random.dropout)

        def call(self, inputs):
            return self.by(super().call(inputs), 0.5)

    class DropsByTensorFlow(Drops):
        by = staticmethod(tf.nn.dropout)

    for layer, right in ((Drops, True), (DropsByTensorFlow, False)):
        keras.utils.set_random_seed(seed)
        by_tape, measured = slopes(layer(3, dtype="float64"), rng().normal(size=(5, 4)))
        assert (by_tape == pytest.approx(measured, rel=1e-5)) is right


@pytest.mark.proves(UNDISTURBED)
def test_remat_disturbs_the_slopes(seed):
    class ComputesAgain(layers.Dense):
        def call(self, inputs):
            return keras.remat(super().call)(inputs)

    keras.utils.set_random_seed(seed)
    by_tape, measured = slopes(ComputesAgain(3, dtype="float64"), rng().normal(size=(5, 4)))
    assert by_tape == 0
    assert abs(measured) > 0.01


class Traced(layers.Dense):
    @tf.function(jit_compile=True)
    def call(self, inputs):
        return layers.Dense.call(self, inputs)


class TracedAndStopped(layers.Dense):
    @tf.function
    def call(self, inputs):
        return ops.stop_gradient(layers.Dense.call(self, inputs))


class TracedInTraining(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        kinds = (lambda **kw: layers.Dense(3, **kw), layers.BatchNormalization, lambda **kw: layers.Dropout(0.5, **kw))
        self.inner = keras.Sequential([kind(dtype="float64") for kind in kinds])

    @tf.function
    def call(self, inputs, training=False):
        return self.inner(inputs, training=training)


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.proves("A traced `tf.function` would keep the weights it was traced with.")
def test_the_slopes_of_a_tf_function(seed, called_before):
    """Of a trace that is kept, both are 0, and every gradient passes."""
    cases = (
        (lambda: Traced(3, dtype="float64"), {}, True),
        (lambda: layers.TimeDistributed(Traced(3, dtype="float64"), dtype="float64"), {}, True),
        (lambda: TracedAndStopped(3, dtype="float64"), {}, False),
        (lambda: TracedInTraining(dtype="float64"), {"training": True}, True),
    )
    for make, options, right in cases:
        keras.utils.set_random_seed(seed)
        layer, x = make(), rng().normal(size=(5, 7, 4))
        if called_before:
            layer(x)
        by_tape, measured = slopes(layer, x, **options)
        assert (by_tape == pytest.approx(measured, rel=1e-5)) is right
        assert abs(measured) > 1e-3
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("name", FAIR)
@pytest.mark.proves(
    UNDISTURBED,
    "Slope along a random direction: what the tape says, what is measured.",
)
def test_the_slopes_of_a_right_layer_agree(name, seed):
    keras.utils.set_random_seed(seed)
    make, options = FAIR[name]
    by_tape, measured = slopes(make(), rng().normal(size=(5, 7, 4)), **options)
    assert by_tape == pytest.approx(measured, rel=1e-5, abs=1e-7)
    assert (by_tape == 0) == (name == "frozen")


@pytest.mark.proves(UNDISTURBED)
def test_the_slopes_of_integer_inputs_agree(seed):
    keras.utils.set_random_seed(seed)
    embedding = layers.Embedding(5, 3, dtype="float64")
    by_tape, measured = slopes(embedding, np.array([[1, 2], [3, 3]]))
    assert by_tape == pytest.approx(measured, rel=1e-5)
    assert by_tape != 0
    inputs = {name: keras.Input((4,), dtype="float64", name=name) for name in "ab"}
    dense = layers.Dense(2, dtype="float64")
    model = keras.Model(inputs, {"sum": dense(inputs["a"]) + dense(inputs["b"]), "a": dense(inputs["a"])})
    by_tape, measured = slopes(model, {"a": rng().normal(size=(5, 4)), "b": np.ones((5, 4))})
    assert by_tape == pytest.approx(measured, rel=1e-5)


@pytest.mark.proves(UNDISTURBED)
def test_an_offset_that_is_not_trainable_and_stands_first_does_not_disturb_the_slopes(seed):
    class Offset(layers.Layer):
        def build(self, input_shape):
            self.offset = self.add_weight(shape=(4,), initializer="ones", trainable=False)
            self.scale = self.add_weight(shape=(4,), initializer="ones")

        def call(self, inputs):
            return self.scale * (inputs + self.offset)

    keras.utils.set_random_seed(seed)
    by_tape, measured = slopes(Offset(dtype="float64"), rng().normal(size=(5, 4)))
    assert by_tape == pytest.approx(measured, rel=1e-5)


@pytest.mark.proves("NumPy's `inputs * weight` would turn the weight into a constant.")
def test_a_numpy_batch_in_front_of_a_weight_does_not_disturb_the_slopes(seed):
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],))

        def call(self, inputs):
            return inputs * self.scale

    class OfDict(Scale):
        def build(self, input_shape):
            super().build(input_shape["a"])

        def call(self, inputs):
            return super().call(inputs["a"]) + inputs["b"] * self.scale

    keras.utils.set_random_seed(seed)
    x = rng().normal(size=(5, 4))
    for layer, inputs in ((Scale, x), (OfDict, {"a": x, "b": x})):
        by_tape, measured = slopes(layer(dtype="float64"), inputs)
        assert by_tape == pytest.approx(measured, rel=1e-5)
        assert by_tape != 0


@pytest.mark.proves(
    "Outputs that aren't floating point, such as those of `ops.argmax`, are left out.",
    "The slope of a randomly weighted sum of the floating-point outputs, as the trainable weights move.",
)
def test_outputs_that_are_not_floating_point_are_left_out(seed):
    class Three(layers.Dense):
        stops = False

        def call(self, inputs):
            outputs = super().call(inputs)
            kept = ops.stop_gradient(outputs) if self.stops else outputs
            return ops.argmax(outputs, axis=-1), kept, outputs > 0

    class Stopped(Three):
        stops = True

    for layer, right in ((Three, True), (Stopped, False)):
        keras.utils.set_random_seed(seed)
        by_tape, measured = slopes(layer(3, dtype="float64"), rng().normal(size=(5, 4)))
        assert (by_tape == pytest.approx(measured, rel=1e-5)) is right
        assert measured != 0


class Stops(TimeAttention):
    """Its gradient is half the slope."""

    def weigh(self, inputs, mask=None):
        half = ops.stop_gradient(super().weigh(inputs, mask)) / 2
        return half + super().weigh(inputs, mask) / 2


@pytest.mark.proves(
    "Gradients | A gradient that is stopped, or wrong by a factor "
    "| A wrong formula: its gradient still matches its slope; a variable that Keras doesn't track",
    "Trainable weights | A variable that isn't trained | A gradient that is wrong, but finite and not 0",
)
def test_what_the_slopes_find_and_what_not(seed):
    keras.utils.set_random_seed(seed)
    x = rng().normal(size=(5, 7, 4))
    by_tape, measured = slopes(Stops(dtype="float64"), x)
    assert by_tape == pytest.approx(measured / 2, rel=1e-4)
    assert abs(measured) > 1e-4
    model = keras.Sequential([Stops()])
    model(x)
    assert "reached by a gradient: True" in shown(module, "imports", "check_weights", model=model, batch=x).printed

    class AllStopped(layers.Dense):
        def call(self, inputs):
            return ops.stop_gradient(super().call(inputs))

    by_tape, measured = slopes(AllStopped(3, dtype="float64"), x)
    assert by_tape == 0
    assert abs(measured) > 0.01
    wrong_axis = shown(module, "wrong_axis")["WrongAxis"](dtype="float64")
    by_tape, measured = slopes(wrong_axis, x)
    assert by_tape == pytest.approx(measured, rel=1e-4)
    by_tape, measured = slopes(Untracked(dtype="float64"), x)
    assert (by_tape, measured) == (0, 0)


def test_the_slopes_find_a_wrong_gradient_of_a_second_output(seed):
    class TwoOutputs(layers.Dense):
        def call(self, inputs):
            outputs = super().call(inputs)
            return outputs, ops.stop_gradient(outputs)

    keras.utils.set_random_seed(seed)
    by_tape, measured = slopes(TwoOutputs(3, dtype="float64"), rng().normal(size=(5, 4)))
    assert by_tape != pytest.approx(measured, rel=0.01)


@pytest.mark.proves("As for a call, such as `training=True`.")
def test_the_slopes_find_a_wrong_gradient_in_training(seed):
    class StopsInTraining(layers.Dense):
        def call(self, inputs, training=False):
            outputs = super().call(inputs)
            return ops.stop_gradient(outputs) if training else outputs

    keras.utils.set_random_seed(seed)
    for training in (False, True):
        by_tape, measured = slopes(StopsInTraining(3, dtype="float64"), rng().normal(size=(5, 4)), training=training)
        assert (by_tape == pytest.approx(measured, rel=0.01)) is not training


def test_the_slopes_are_measured_on_both_sides():
    """On one side alone, the curvature would be measured too."""

    class Steep(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs):
            return ops.exp(10 * self.scale) * inputs

    by_tape, measured = slopes(Steep(dtype="float64"), np.ones((1, 1)))
    assert by_tape == pytest.approx(measured, rel=1e-7)


@pytest.mark.proves(
    "They don't move from where they start, but from near it: "
    "a weight that starts at 0 hides the slopes of those before it."
)
def test_a_weight_that_starts_at_zero_does_not_hide_a_wrong_gradient():
    class HiddenStops(SkipBlock):
        def call(self, inputs):
            return inputs + self.back(ops.stop_gradient(self.hidden(inputs)))

    layer, x = HiddenStops(8, dtype="float64"), rng().normal(size=(5, 4))
    by_tape, measured = slopes(layer, x)
    assert by_tape != pytest.approx(measured, rel=0.01)
    np.testing.assert_array_equal(layer.back.kernel, 0)


@pytest.mark.parametrize("training", [None, True])
def test_the_slopes_leave_the_trainable_weights_as_they_were(training):
    layer, x = layers.BatchNormalization(dtype="float64"), rng().normal(size=(5, 4))
    layer(x)
    before = [weight.numpy() for weight in layer.trainable_weights]
    slopes(layer, x, training=training)
    contract.assert_same([weight.numpy() for weight in layer.trainable_weights], before)


@pytest.mark.proves("Use `float64`: in `float32`, rounding alone makes the two differ.")
def test_in_float32_the_slopes_of_a_right_layer_differ(seed):
    x = rng().normal(size=(5, 7, 4))
    for make in (FeatureNorm, TimeAttention):
        gaps = {}
        for dtype in ("float32", "float64"):
            keras.utils.set_random_seed(seed)
            by_tape, measured = slopes(make(dtype=dtype), x.astype(dtype))
            gaps[dtype] = abs(by_tape - measured) / abs(by_tape)
        assert gaps["float64"] < 1e-6
        assert gaps["float32"] > 1e-3


@pytest.mark.proves(
    "A straight-through estimator, whose gradient isn't the slope on purpose, fails it if a trainable weight "
    "comes before it."
)
def test_the_slopes_of_a_straight_through_estimator_differ(seed):
    class Rounds(layers.Dense):
        def call(self, inputs):
            outputs = super().call(inputs)
            return outputs + ops.stop_gradient(ops.round(outputs) - outputs)

    keras.utils.set_random_seed(seed)
    x = rng().normal(size=(5, 4))
    by_tape, measured = slopes(Rounds(3, dtype="float64"), x)
    assert by_tape != pytest.approx(measured, rel=0.01)
    frozen = Rounds(3, dtype="float64", trainable=False)
    by_tape, measured = slopes(keras.Sequential([frozen, layers.Dense(3, dtype="float64")]), x)
    assert by_tape == pytest.approx(measured, rel=1e-5)

    class RoundsInputs(layers.Dense):
        def call(self, inputs):
            return super().call(inputs + ops.stop_gradient(ops.round(inputs) - inputs))

    by_tape, measured = slopes(RoundsInputs(3, dtype="float64"), rng().normal(size=(5, 4)))
    assert by_tape == pytest.approx(measured, rel=1e-5)


@pytest.mark.proves(
    "To check the gradient with respect to the inputs too, put a `Dense` in front of the layer: "
    "`slopes` takes a `Sequential`."
)
def test_behind_a_dense_the_gradient_of_the_inputs_is_checked(seed):
    class InputStops(layers.Dense):
        def call(self, inputs):
            return super().call(ops.stop_gradient(inputs))

    keras.utils.set_random_seed(seed)
    x = rng().normal(size=(5, 4))
    by_tape, measured = slopes(InputStops(3, dtype="float64"), x)
    assert by_tape == pytest.approx(measured, rel=1e-5)
    for layer, right in ((InputStops, False), (layers.Dense, True)):
        model = keras.Sequential([layers.Dense(4, dtype="float64"), layer(3, dtype="float64")])
        by_tape, measured = slopes(model, x)
        assert (by_tape == pytest.approx(measured, rel=1e-3)) is right


@pytest.mark.proves(
    "Reloading | A lost weight or option, a class that isn't registered "
    "| A lost option that acts only in training, such as a dropout rate; "
    "an import that is missing, unless the file is loaded in a new process",
    "Load it in a new process too, where only what you import is known.",
)
def test_what_reloading_finds_and_what_not(tmp_path, fresh_process):
    @keras.saving.register_keras_serializable(package="test")
    class NoOption(FeatureNorm):
        def get_config(self):
            return {key: value for key, value in super().get_config().items() if key != "epsilon"}

    @keras.saving.register_keras_serializable(package="test")
    class NoRate(layers.Dropout):
        def __init__(self, rate=0.1, **kwargs):
            super().__init__(rate, **kwargs)

        def get_config(self):
            return {key: value for key, value in super().get_config().items() if key != "rate"}

    x = rng().normal(size=(5, 4)).astype("float32")
    for number, (layer, found) in enumerate(
        [(FeatureNorm(1.0), False), (HalfSaved(), True), (NewBeta(), True), (NoOption(1.0), True), (NoRate(0.5), False)]
    ):
        model = keras.Sequential([keras.Input((4,)), layer])
        model.set_weights([weight + 0.5 for weight in model.get_weights()])
        model.save(tmp_path / f"{number}.keras")
        reloaded = keras.saving.load_model(tmp_path / f"{number}.keras")
        assert (np.abs(model(x) - reloaded(x)).max() > 0.1) is np.bool_(found)
    assert (layer.rate, reloaded.layers[0].rate) == (0.5, 0.1)  # lost, and not found
    elsewhere = fresh_process.submit(contract.load_and_call, tmp_path / "3.keras", "keras", x)
    with pytest.raises(TypeError, match="Could not locate class 'NoOption'"):
        elsewhere.result()


@pytest.mark.proves(
    "Away from the start, where new weights would pass for the saved ones.",
    "Compare outputs: a file can be loaded without an error and without the weights.",
)
def test_at_the_start_a_new_weight_passes_for_the_saved_one(tmp_path):
    model = keras.Sequential([keras.Input((4,)), NewBeta()])
    model.save(tmp_path / "model.keras")
    x = rng().normal(size=(5, 4)).astype("float32")
    contract.assert_same(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))
    found = shown(module, "imports", "check_file", FeatureNorm=NewBeta, batch=rng().normal(size=(5, 7, 4)))
    assert float(found.printed.split(": ")[1]) > 0.1


@pytest.mark.proves(
    "Check it away from the start, as here: a weight that starts at 0 stops the gradient of the weights before it. "
    "In a new `SkipBlock`, the hidden layer gets a gradient of 0.",
    "Count them, and check that each gets a finite gradient that isn't 0.",
)
def test_the_gradient_stops_at_a_weight_that_starts_at_zero():
    batch = rng().normal(size=(5, 4)).astype("float32")
    model = keras.Sequential([SkipBlock(8)])
    model(batch)

    def reached():
        printed = shown(module, "imports", "check_weights", model=model, batch=batch).printed
        return [line.endswith("True") for line in printed.splitlines()[1:]]

    assert [weight.path.split("/")[-2] for weight in model.trainable_weights] == [
        "dense",
        "dense",
        "dense_1",
        "dense_1",
    ]
    assert reached() == [False, False, True, True]
    model.set_weights([weight + 0.5 for weight in model.get_weights()])
    assert reached() == [True] * 4
    assert "Away from the start" in sections(Path(module.__file__))["check_file"].text


@pytest.mark.proves("Count them, and check that each gets a finite gradient that isn't 0.")
@pytest.mark.parametrize("gradient", [np.inf, np.nan, 1.0])
def test_a_gradient_that_is_not_finite_does_not_count(gradient):
    @tf.custom_gradient
    def turned(x):
        return tf.identity(x), lambda upstream: upstream * gradient

    model = keras.Sequential([layers.Dense(3, bias_initializer="ones"), layers.Lambda(turned)])
    model(np.ones((2, 4)))
    printed = shown(module, "imports", "check_weights", model=model, batch=np.ones((2, 4))).printed
    assert [line.rsplit(" ", 1)[1] for line in printed.splitlines()[1:]] == [str(gradient == 1)] * 2


def test_an_embedding_that_no_number_of_the_batch_reaches_shows():
    """The gradient of an embedding isn't a tensor."""
    model = keras.Sequential([layers.Embedding(5, 3), layers.Lambda(lambda x: 0 * x)])
    model(np.ones((2, 4), "int32"))
    printed = shown(module, "imports", "check_weights", model=model, batch=np.ones((2, 4), "int32")).printed
    assert printed == "trainable weights: 1\nembeddings: reached by a gradient: False"


def test_compare_prints_a_row_for_each_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = shown(module, "imports", "bare_norm", "four_checks", "bare_result")
    with redirect_stdout(io.StringIO()) as printed:
        page["compare"](keras.layers.LayerNormalization)
    heading, *rows = printed.getvalue().splitlines()
    assert heading.split() == ["built-in", "yours"]
    assert [row.split() for row in rows] == [[check, "True", "True"] for check in CHECKS]


@pytest.mark.proves("Use `float64`: in `float32`, rounding alone makes the two differ.")
def test_the_slopes_of_the_page_are_measured_in_float64():
    batch = rng().normal(size=(5, 7, 4)).astype("float32")
    page = shown(module, "check_slopes", batch=batch)
    assert page["layer"].dtype == "float64"
    for line, cls in zip(page.printed.splitlines(), (FeatureNorm, TimeAttention), strict=True):
        name, by_tape, measured = re.fullmatch(r"(\w+): slope (\S+) by the tape, (\S+) measured", line).groups()
        assert name == cls.__name__
        assert float(by_tape) == pytest.approx(float(measured), abs=1.1e-4)
        rounded = [abs(np.subtract(*slopes(cls(dtype="float32"), batch))) for _ in range(3)]
        assert max(rounded) > 1e-3


@pytest.mark.proves(
    "The slope of a randomly weighted sum of the floating-point outputs, as the trainable weights move.",
)
def test_the_slope_is_that_of_the_weighted_sum_of_all_outputs(monkeypatch):
    x, start = rng().normal(size=(5, 7, 4)), rng().normal(size=4)
    norm = FeatureNorm(0.25, dtype="float64")
    norm.build(x.shape)
    norm.set_weights([start, start])
    drawn = []
    normal = np.random.normal
    monkeypatch.setattr(
        np.random, "normal", lambda *args, **options: drawn.append(normal(*args, **options)) or drawn[-1]
    )
    found = slopes(norm, x)
    (weights,) = (one for one in drawn if one.shape == x.shape)
    *_starts, of_gamma, of_beta = (one for one in drawn if one.shape == (4,))
    normalized = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.25)
    expected = np.sum(weights * (of_gamma * normalized + of_beta))
    assert found == pytest.approx((expected, expected), rel=1e-5)
