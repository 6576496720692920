"""`docs/tutorials/transformer.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re
import warnings
from functools import cache
from unittest import mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from engine.prove import shapes
from tests import contract
from tests.shown import Shown, definitions, printed, shown_cells

NAME = "snippets.tutorials.transformer"
tutorial = definitions(NAME)

# TokenAndPosition takes token numbers, which the contract has none of: what it keeps is checked below, and by the
# contract of the model. Gain is there to show what goes wrong.
CASES = {
    "SelfAttention": contract.Layer(lambda **kw: tutorial.SelfAttention(2, 3, **kw), inputs=[(None, 4)]),
    "EncoderBlock": contract.Layer(lambda **kw: tutorial.EncoderBlock(8, 2, 16, **kw), inputs=[(5, 8)]),
    "MaskedGain": contract.Layer(lambda **kw: tutorial.MaskedGain(0.5, **kw), inputs=[(5, 4)]),
}


def small(blocks: int = 2, **options) -> keras.Model:
    return tutorial.Transformer(11, 12, features=16, heads=2, blocks=blocks, **options)


def sequences(samples: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tutorial.reversal(rng.integers(3, 13, size=samples), rng)


def one_hot() -> tuple[np.ndarray, np.ndarray]:
    tokens, targets = sequences()
    return tokens, np.eye(11, dtype="float32")[targets]


MODEL = contract.Model(
    lambda **kw: small(blocks=1, **kw),
    data=one_hot,
    compile={"optimizer": "sgd", "loss": keras.losses.CategoricalCrossentropy(from_logits=True)},
)


@pytest.fixture
def attention():
    layer = tutorial.SelfAttention(2, 8)
    layer.build((None, 7, 16))
    return layer


def vectors(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


REAL = np.arange(7) < np.array([[7], [5], [2], [3]])


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
def test_model_contract(check):
    check(MODEL)


@cache
def trained(seed: int) -> tuple[Shown, list[plt.Figure]]:
    """The whole tutorial with a seed, and its figures. One run for all that is said of it."""
    figures: list[plt.Figure] = []
    with mock.patch("matplotlib.pyplot.show", side_effect=lambda: figures.append(plt.gcf())):
        done = shown_cells(NAME, seed=seed)
    return done, figures


def drawn(axes: plt.Axes) -> np.ndarray:
    """What an axes shows as an image."""
    return np.asarray(axes.images[0].get_array())


def digits_at(axis) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


# --- the data ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The sequences have 3 to 12 digits, so each token needs to know where its sequence ends",
    "A batch is an array, so each sequence is filled up to 12 places. The token 0 stands for padding and nothing "
    "else: the digits 0 to 9 are the tokens 1 to 10.",
    "The target of place",
    "Tokens and targets, each `(samples, PLACES)`, of these lengths.",
)
def test_a_target_is_its_sequence_backwards_with_the_padding_left_at_the_right():
    tokens, targets = sequences()
    for row, target in zip(tokens, targets, strict=True):
        size = int(np.sum(row != 0))
        assert 3 <= size <= 12
        np.testing.assert_array_equal(target[:size], row[:size][::-1])
        assert not row[size:].any()
        assert not target[size:].any()
        assert set(row[:size]) <= set(range(1, 11))


def test_the_test_is_padded_as_printed_whatever_the_digits():
    tokens, _ = tutorial.reversal(np.repeat(np.arange(3, 13), 50), np.random.default_rng(1))
    assert tokens.shape == (500, 12)
    assert np.mean(tokens == 0) == 0.375
    assert "padding: 0.375 of the places of the test" in printed(NAME)


@pytest.mark.proves(
    "Of the 1,000 sequences of 3 digits, chance would put many into both sets.",
    "Training sequences that occur in the test are left out.",
    "360 steps of 64",
)
def test_no_sequence_of_the_test_is_trained_on(seed):
    done, _figures = trained(seed)
    known = {tuple(row) for row in done["test"][0]}
    assert len(done["train"][0]) == 360 * 64 == done["steps"] * done["rounds"] * 64
    assert not any(tuple(row) in known for row in done["train"][0])
    tokens, targets = done["drawn"]
    leaks = np.array([tuple(row) in known for row in tokens])
    assert leaks.sum() > 100
    of_three = {tuple(row) for row in tokens[np.sum(tokens != 0, axis=1) == 3]}
    short = [row for row in map(tuple, done["test"][0]) if sum(token != 0 for token in row) == 3]
    assert np.mean([row in of_three for row in short]) > 0.8
    np.testing.assert_array_equal(done["train"][0], tokens[~leaks][: 360 * 64])
    np.testing.assert_array_equal(done["train"][1], targets[~leaks][: 360 * 64])


# --- the embedding ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "So each token becomes a row of one table, and the row of its place in a second table, a learned positional "
    "encoding, is added.",
    "A learned vector for each token, plus one for its place.",
)
def test_an_embedding_is_the_row_of_the_token_plus_the_row_of_the_place():
    layer = tutorial.TokenAndPosition(11, 12, 8)
    tokens, _ = sequences(5)
    outputs = layer(tokens)
    shapes.check_docstring(tutorial.TokenAndPosition, tokens, outputs, layer=layer)
    by_token, by_place = (np.asarray(weight) for weight in layer.weights)
    np.testing.assert_allclose(outputs, by_token[tokens] + by_place, rtol=1e-6)
    np.testing.assert_allclose(layer(tokens[:, :5]), outputs[:, :5])
    assert layer(keras.Input((12,), dtype="int32")).shape == (None, 12, 8)
    assert layer.compute_output_shape((None, 7)) == (None, 7, 8)
    wrapper = keras.layers.TimeDistributed(tutorial.TokenAndPosition(11, 12, 8))
    outputs = wrapper(tokens.reshape(5, 1, 12).repeat(3, axis=1))
    np.testing.assert_allclose(outputs[:, 1], wrapper.layer(tokens), rtol=1e-6)


@pytest.mark.parametrize("policy", ["float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_an_embedding_has_its_dtype_and_its_options(policy):
    layer = tutorial.TokenAndPosition(11, 12, 8, dtype=policy, name="by_name")
    tokens, _ = sequences(5)
    outputs = layer(tokens)
    assert outputs.dtype == layer.compute_dtype == policy.removeprefix("mixed_")
    by_token, by_place = (np.asarray(tf.cast(weight, "float64")) for weight in layer.weights)
    np.testing.assert_allclose(tf.cast(outputs, "float64"), by_token[tokens] + by_place, atol=0.05)
    copy = tutorial.TokenAndPosition.from_config(layer.get_config())
    assert (copy.tokens, copy.places, copy.features, copy.name) == (11, 12, 8, "by_name")
    assert copy.dtype_policy == layer.dtype_policy


@pytest.mark.proves("16 bits would round the numbers of tokens, where they are floats.")
@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_large_token_numbers_may_be_floats(policy):
    tokens = np.array([[257, 2049, 3001]])
    layer = tutorial.TokenAndPosition(4000, 3, 8, dtype=policy)
    model = tutorial.Transformer(4000, 3, 8, heads=2, blocks=1, dtype=policy)
    for part in (layer, model):
        contract.assert_same(part(tokens.astype("float32")), part(tokens))
        assert part(tokens).dtype == (layer.compute_dtype if part is layer else model.variable_dtype)


def test_the_two_tables_start_with_numbers_of_their_own():
    layer = tutorial.TokenAndPosition(12, 12, 400)
    layer(np.ones((1, 12), "int32"))
    one, other = (np.asarray(weight) for weight in layer.weights)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.06
    assert one.std() == pytest.approx(1.0, abs=0.05)


def test_the_gradient_of_a_table_counts_how_often_its_row_is_used():
    layer = tutorial.TokenAndPosition(11, 12, 2)
    tokens, _ = sequences(5)
    with tf.GradientTape() as tape:
        total = ops.sum(layer(tokens))
    by_token, by_place = tape.gradient(total, [weight.value for weight in layer.weights])
    counts = np.bincount(tokens.ravel(), minlength=11)
    np.testing.assert_allclose(tf.convert_to_tensor(by_token), np.stack([counts, counts], axis=1))
    np.testing.assert_allclose(by_place, np.full((12, 2), 5.0))


@pytest.mark.proves(
    "This layer sees the token numbers, so it knows which are padding, and returns that from `compute_mask`. Keras "
    "attaches the mask to the output and passes it to the next layer whose `call` takes a `mask`.",
    "The token 0 is padding. Its places are False in the mask.",
    "For the sequence 7 2 5 0 9, padded:",
)
@pytest.mark.parametrize("make", [lambda x: x, lambda x: tf.constant(x)])
def test_the_mask_is_true_where_there_is_a_digit_and_the_next_layer_gets_it(make):
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, inputs, mask=None):
            seen.append(mask)
            return inputs

    layer = tutorial.TokenAndPosition(11, 12, 8)
    tokens, _ = sequences(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Spy()(layer(make(tokens)))
    np.testing.assert_array_equal(seen[0], tokens != 0)
    np.testing.assert_array_equal(layer.compute_mask(tokens), tokens != 0)
    assert "mask: [1 1 1 1 1 0 0 0 0 0 0 0]" in printed(NAME)


@pytest.mark.proves(
    "Attention treats its input as a set: without a sign of its place, a 7 at the start and a 7 at the end are the "
    "same."
)
def test_an_attention_without_places_treats_its_input_as_a_set(attention):
    x = vectors(1, 7, 16)
    order = np.array([3, 1, 6, 0, 2, 5, 4])
    contract.assert_same(attention(x[:, order]), ops.take(attention(x), order, axis=1))


class Attends:
    """Notes whether the input of an attention has its mask after it."""

    def __init__(self, attention, **kwargs):
        super().__init__(**kwargs)
        self.attention, self.supports_masking = attention, True

    def call(self, inputs):
        self.attention(*[inputs] * (2 if isinstance(self.attention, keras.layers.MultiHeadAttention) else 1))
        self.left = keras.src.backend.get_keras_mask(inputs) is not None
        return inputs


class AttendingLayer(Attends, keras.layers.Layer):
    pass


class AttendingModel(Attends, keras.Model):
    pass


@pytest.mark.proves("called on data, as in a model or layer of your own, it removes the mask from its input.")
@pytest.mark.parametrize("kind", [AttendingLayer, AttendingModel])
@pytest.mark.parametrize("model", ["none", "functional", "sequential"])
def test_multi_head_attention_removes_the_mask_of_its_input(kind, model):
    """Ours doesn't."""
    tokens, _ = sequences(4)
    for attention, left in ((keras.layers.MultiHeadAttention(2, 8), False), (tutorial.SelfAttention(2, 8), True)):
        part = kind(attention)
        one_after_another(model, tutorial.TokenAndPosition(11, 12, 16), part)(tokens)
        assert part.left is left


def one_after_another(model, first, second):
    inputs = keras.Input((12,), dtype="int32")
    if model == "functional":
        return keras.Model(inputs, second(first(inputs)))
    return keras.Sequential([inputs, first, second]) if model == "sequential" else lambda x: second(first(x))


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Each token asks with a query",
    "all three linear maps of its vector. The weight that token",
    "A layer has several heads, each with its own three maps to",
    "numbers and its own weights",
    "a last map combines their results.",
    "The sum in the denominator runs over real tokens only.",
    "the query's place, then the key's.",
    "Length of a query, key or value, `d` in the equation.",
)
def test_attention_is_the_equation_one_head_and_one_query_after_another(attention):
    x = vectors(4, 7, 16).astype("float64")
    query, key, value, output = (np.asarray(weight, "float64") for weight in attention.get_weights())
    outputs, weights = attention(x.astype("float32"), mask=REAL, return_attention_scores=True)
    for sample in range(4):
        size = REAL[sample].sum()
        for i in range(7):
            expected = np.zeros(16)
            for head in range(2):
                q = x[sample, i] @ query[:, head]
                raised = np.exp([q @ (x[sample, j] @ key[:, head]) / np.sqrt(8) for j in range(size)])
                a = raised / raised.sum()
                np.testing.assert_allclose(weights[sample, head, i, :size], a, rtol=1e-4)
                expected += sum(a[j] * (x[sample, j] @ value[:, head]) for j in range(size)) @ output[head]
            np.testing.assert_allclose(outputs[sample, i], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.proves(
    "A `keras.layers.MultiHeadAttention` without biases, given the same weights and key mask, returns the same "
    "numbers, if each query has a score far above -10000 for a real key."
)
@pytest.mark.parametrize("mask", [None, REAL])
def test_attention_equals_the_built_in_layer(attention, mask):
    x = vectors(4, 7, 16)
    builtin = keras.layers.MultiHeadAttention(2, key_dim=8, use_bias=False)
    wide = None if mask is None else mask[:, None, :]
    builtin(x, x)
    attention.set_weights(builtin.get_weights())
    ours = attention(x, mask=mask, return_attention_scores=True)
    theirs = builtin(x, x, attention_mask=wide, return_attention_scores=True)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert float(ops.max(ops.abs(one - other))) < 1e-5
    low = np.ones((4, 7, 16), "float32")
    attention.set_weights([200 * np.ones((16, 2, 8)), -200 * np.ones((16, 2, 8)), *builtin.get_weights()[2:]])
    assert np.max(attention.agreement(low)) < -1e4
    two = np.arange(7) < np.full((4, 1), 2)
    attended = attention(low, mask=two, return_attention_scores=True)[1]
    assert np.all(attended[..., 2:] > 0.1)  # masked, and read
    low[:, 2:] = -1  # and the scores of the padding are high
    attended = attention(low, mask=two, return_attention_scores=True)[1]
    assert np.all(attended[:, :, :2, 2:] > 0.1)

    no_token = np.zeros((4, 7), bool)
    _, scores = builtin(x, x, attention_mask=no_token[:, None, :], return_attention_scores=True)
    assert not np.any(scores)
    np.testing.assert_allclose(attention(x, mask=no_token, return_attention_scores=True)[1], 1 / 7, rtol=1e-5)


@pytest.mark.proves(
    "given the same weights and key mask, returns the same numbers, if each query has a score far above -10000 for a "
    "real key.",
    "Scaled first: float16 products may overflow.",
)
@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
@pytest.mark.parametrize("mask", [None, REAL])
def test_products_that_float16_holds_only_when_they_are_scaled(policy, mask):
    ours = tutorial.SelfAttention(2, 16, dtype=policy)
    builtin = keras.layers.MultiHeadAttention(2, key_dim=16, use_bias=False, dtype=policy)
    x = np.ones((4, 7, 16), "float16")
    x[:, 2:, :8] = vectors(4, 5, 8)  # other tokens than the first two, and lower scores
    builtin(x, x)
    large = np.full((16, 2, 16), 5.0)  # queries and keys of 80: their product is 16 * 80 * 80 > 65504
    builtin.set_weights([large, large, *builtin.get_weights()[2:]])
    ours.build(x.shape)
    ours.set_weights(builtin.get_weights())
    assert 16 * 80 * 80 > 65504  # the largest number of float16
    assert np.max(ours.agreement(x)) == 16 * 80 * 80 / 4
    wide = None if mask is None else mask[:, None, :]
    theirs = builtin(x, x, attention_mask=wide, return_attention_scores=True)
    for one, other in zip(ours(x, mask=mask, return_attention_scores=True), theirs, strict=True):
        assert one.dtype == other.dtype == "float16"
        np.testing.assert_allclose(one, other, atol=5e-3)
        assert np.isfinite(other).all()  # the fused computation without scores isn't, in Keras 3.15


@pytest.mark.proves("given the same weights and key mask")
def test_a_mask_that_is_attached_masks_queries_too_in_the_built_in_layer(attention):
    x = vectors(4, 7, 16)
    x[~REAL] = 0
    builtin = keras.layers.MultiHeadAttention(2, key_dim=8, use_bias=False)
    builtin(x, x)
    attention.set_weights(builtin.get_weights())
    masked = keras.layers.Masking()(x)
    _, ours = attention(masked, return_attention_scores=True)
    _, theirs = builtin(masked, masked, return_attention_scores=True)
    ours, theirs = (np.asarray(scores).transpose(0, 2, 1, 3) for scores in (ours, theirs))  # (batch, query, ...)
    np.testing.assert_allclose(ours[REAL], theirs[REAL], atol=1e-5)
    np.testing.assert_allclose(ours[~REAL].sum(axis=-1), 1, rtol=1e-5)
    assert not theirs[~REAL].any()


@pytest.mark.proves(
    "The layer makes the score of a padded key so low that its exponential is 0; adding more padding then changes "
    "nothing. A row of padding alone has no real key, and its weights are even.",
    "exp(-10000) is 0, and 10000 still fits into 16 bits",
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_padded_key_gets_nothing_and_a_row_without_keys_is_no_nan(dtype):
    layer = tutorial.SelfAttention(2, 8, dtype=dtype)
    mask = REAL.copy()
    mask[2] = False
    outputs, weights = layer(vectors(4, 7, 16), mask=mask, return_attention_scores=True)
    weights, outputs = (np.asarray(tf.cast(one, "float32")) for one in (weights, outputs))
    assert np.isfinite(outputs).all()
    assert np.exp(np.float32(-1e4)) == 0
    assert np.isfinite(np.float16(1e4))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=0.02)
    assert not weights[1, :, :, 5:].any()
    assert not weights[3, :, :, 3:].any()
    np.testing.assert_allclose(weights[2], 1 / 7, atol=1e-3)


@pytest.mark.proves(
    "`call` takes a `mask`, and Keras fills it in from what is attached to the inputs.",
    "and `supports_masking` attaches it to what the block returns.",
    "the mask is passed on as it came",
)
def test_keras_fills_the_mask_in_and_hands_it_on():
    tokens, _ = sequences(8)
    x = tutorial.TokenAndPosition(11, 12, 16)(tokens)
    for layer in (tutorial.SelfAttention(2, 8), tutorial.EncoderBlock(16, 2, 32)):
        by_hand = layer(np.asarray(x), mask=tokens != 0, return_attention_scores=True)
        outputs, weights = layer(x, return_attention_scores=True)
        contract.assert_same((outputs, weights), by_hand)
        assert not np.asarray(weights)[tokens[:, None, None, :].repeat(2, 1).repeat(12, 2) == 0].any()
        # the block that comes next leaves padding out, too
        _, again = tutorial.SelfAttention(2, 8)(outputs, return_attention_scores=True)
        assert not np.asarray(again)[tokens[:, None, None, :].repeat(2, 1).repeat(12, 2) == 0].any()


@pytest.mark.proves(
    "The axis of the softmax is easy to get wrong, because both time axes have the same length and every shape stays "
    "right. The weights of a query have to add up to 1 over the keys, the last axis."
)
def test_over_the_wrong_axis_the_shape_is_right_and_the_rows_are_not(attention):
    scores = attention.agreement(3 * vectors(4, 7, 16))
    right, wrong = (np.asarray(ops.softmax(scores, axis=axis)) for axis in (-1, -2))
    assert right.shape == wrong.shape
    np.testing.assert_allclose(right.sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(wrong.sum(axis=-2), 1.0, rtol=1e-5)
    assert np.ptp(wrong.sum(axis=-1)) > 0.5
    low, high = map(float, re.search(r"axis=-2: .* between ([\d.]+) and ([\d.]+)", printed(NAME)).groups())
    assert low < 0.7 < 1.3 < high
    assert re.search(r"axis=-1: .* between 1\.00 and 1\.00", printed(NAME))


@pytest.mark.proves(
    "`compute_output_spec` is needed because `call` returns one tensor or two, which `compute_output_shape` can't say."
)
def test_the_declared_shapes_are_those_that_come_out():
    inputs = keras.Input((7, 16))
    for layer in (tutorial.SelfAttention(4, 8, dtype="mixed_float16"), tutorial.EncoderBlock(16, 4, 32)):
        for asked in (False, True):
            symbolic = layer(inputs, return_attention_scores=asked)
            outputs = layer(vectors(5, 7, 16), return_attention_scores=asked)
            if not asked:
                symbolic, outputs = (symbolic,), (outputs,)
            assert len(symbolic) == len(outputs) == 1 + asked
            for one, other in zip(symbolic, outputs, strict=True):
                assert one.shape == (None, *other.shape[1:])
                assert one.dtype == other.dtype.name
        if asked:
            assert outputs[1].shape == (5, 4, 7, 7)

    class OnlyShape(tutorial.SelfAttention):
        compute_output_spec = keras.layers.Layer.compute_output_spec

    with pytest.raises(NotImplementedError, match="Iterating over a symbolic KerasTensor"):
        _outputs, _scores = OnlyShape(2, 8)(keras.Input((3, 4)), return_attention_scores=True)


# --- block and model --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A block adds two things to each token: what attention brings from all tokens, and what two dense layers compute "
    "from the token alone. Each of them gets normalized inputs, and the sum isn't normalized inside the block",
    "Self-attention and two dense layers, each added to its input.",
    "Width between the two dense layers.",
)
def test_a_block_adds_to_its_input_and_normalizes_before():
    block = tutorial.EncoderBlock(16, 2, 32)
    x = vectors(4, 7, 16)
    block(x)
    rng = np.random.default_rng(1)
    for weight in block.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    outputs = block(x, mask=REAL)

    def norm(x, layer):
        gamma, beta = layer.get_weights()
        return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) + beta

    assert (block.attention.heads, block.attention.size) == (2, 8)
    middle = x + np.asarray(block.attention(norm(x, block.before_attention), mask=REAL))
    (w1, b1), (w2, b2) = block.widen.get_weights(), block.narrow.get_weights()
    expected = middle + np.maximum(norm(middle, block.before_dense) @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.proves("If `features` isn't a multiple of `heads`.", "Size of a token's vector, a multiple of `heads`.")
def test_features_that_the_heads_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="10 isn't a multiple of 4 heads"):
        tutorial.EncoderBlock(10, 4, 16)
    with pytest.raises(ValueError, match="10 isn't a multiple of 4 heads"):
        tutorial.Transformer(11, 12, features=10, heads=4, blocks=1)


@pytest.mark.proves(
    "The model embeds, runs the blocks, normalizes once at the end and computes a logit for each token at each place.",
    "logits, with a list of each block's attention scores if they are asked for.",
)
def test_the_model_is_its_layers_one_after_another():
    model, (tokens, _) = small(), sequences(5)
    model(tokens)
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    x = model.embed(tokens)
    for block in model.blocks:
        x = block(x, mask=tokens != 0)
    x = np.asarray(x)
    gamma, beta = model.norm.get_weights()
    x = gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) + beta
    kernel, bias = model.classify.get_weights()
    np.testing.assert_allclose(model(tokens), x @ kernel + bias, rtol=1e-3, atol=1e-3)
    assert [block.widen.units for block in model.blocks] == [64, 64]
    assert model.classify.activation is keras.activations.linear


@pytest.mark.proves(
    "The logits have the dtype of the weights, `float32` under mixed precision too.",
    "the layers compute as the model does",
    "the parts compute as the block does",
)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(policy):
    tokens, _ = sequences(3)
    model = small(dtype=policy)
    logits, scores = model(tokens, return_attention_scores=True)
    assert logits.dtype == "float32"
    assert scores[0].dtype == policy.removeprefix("mixed_")
    plain = small()
    plain(tokens)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(logits, plain(tokens), atol=0.2)


@pytest.mark.proves(
    "Its arguments stand in `get_config`, because Keras records those of a layer but not those of a model."
)
def test_each_argument_comes_back():
    model = tutorial.Transformer(9, 7, features=12, heads=3, blocks=4, name="by_name", dtype="float64")
    copy = tutorial.Transformer.from_config(model.get_config())
    assert (copy.tokens, copy.places, copy.features, copy.heads, len(copy.blocks)) == (9, 7, 12, 3, 4)
    assert (copy.name, copy.dtype, copy.blocks[0].attention.heads) == ("by_name", "float64", 3)


@pytest.mark.proves("A sum such as `inputs + found` is a new tensor without a mask.")
def test_a_sum_has_no_mask_of_its_own():
    """Why the block hands it to the attention by name."""
    x = keras.layers.Masking()(vectors(2, 3, 4))
    attention = tutorial.SelfAttention(2, 8)
    x = x * np.array([1.0, 1.0, 0.0])[None, :, None]
    masked = keras.layers.Masking()(x)
    _, kept = attention(masked, return_attention_scores=True)
    _, lost = attention(masked + 0.0, return_attention_scores=True)
    assert np.max(kept[..., 2]) == 0
    assert np.min(lost[..., 2]) > 0


def test_the_model_has_the_shapes_and_the_parameters_that_are_printed():
    f, tokens, places = 48, 11, 12
    attention, dense, norm = 4 * f * f, (f * 4 * f + 4 * f) + (4 * f * f + f), 2 * f
    expected = (tokens + places) * f + 2 * (attention + dense + 2 * norm) + norm + f * tokens + tokens
    model = tutorial.Transformer(tokens, places, features=f, heads=2, blocks=2)
    logits, scores = model(np.ones((1, 12), "int32"), return_attention_scores=True)
    assert logits.shape == (1, 12, 11)
    assert [tuple(one.shape) for one in scores] == [(1, 2, 12, 12)] * 2
    assert model.count_params() == expected
    assert f"parameters: {expected}" in printed(NAME)


@pytest.mark.proves(
    "Before any training one thing has to hold: the logits of 7 2 5 0 9 are the same with 7 places of padding behind "
    "it and with none."
)
def test_padding_behind_a_sequence_changes_nothing():
    model = small()
    tokens, _ = sequences(8)
    for row in tokens:
        size = int(np.sum(row != 0))
        np.testing.assert_allclose(model(row[None])[:, :size], model(row[None, :size]), atol=1e-5)


@pytest.mark.proves(
    "The weights have no pattern yet: all lie around 0.2, an even share of 5 tokens.",
    "Each row of a map is a place that asks, labelled with the digit that belongs there in the reversed sequence. Each "
    "column is a token that it can read from, and a row adds up to 1.",
    "Two maps of 5 by 5 weights, the first head of each block, for the sequence 7 2 5 0 9. The columns are the tokens "
    "read, the rows the tokens to write. All weights lie around 0.2, without a pattern.",
    "Two blocks of two heads are enough here.",
)
def test_the_maps_of_the_untrained_model(seed):
    done, figures = trained(seed)
    *maps, bar = figures[0].axes
    for number, axes in enumerate(maps, 1):
        assert axes.get_title() == f"block {number}, head 1"
        weights = drawn(axes)
        assert weights.shape == (5, 5)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-4)
        assert np.abs(weights - 0.2).max() < 0.2
        assert abs(weights[range(5), range(4, -1, -1)].mean() - 0.2) < 0.1
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("token read", "token to write")
        assert digits_at(axes.xaxis) == list("72509")
        assert digits_at(axes.yaxis) == list("90527")
    assert bar.get_ylabel() == "attention weight"
    assert (len(done["model"].blocks), done["model"].heads) == (2, 2)


@pytest.mark.proves(
    "The loss is the cross-entropy of each place.",
    "and Keras applies it to the loss and to the accuracy: padded places count in neither.",
)
def test_loss_and_accuracy_of_fit_leave_padding_out():
    tokens, targets = sequences()
    model = small()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    result = model.evaluate(tokens, targets, batch_size=64, verbose=0, return_dict=True)
    logits = np.asarray(model(tokens), "float64")
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    chance = np.take_along_axis(chances, targets[..., None], axis=-1)[..., 0]
    assert result["loss"] == pytest.approx(-np.log(chance[tokens != 0]).mean(), rel=1e-4)
    assert result["accuracy"] == pytest.approx(tutorial.accuracy(logits, tokens, targets), rel=1e-4)


@pytest.mark.proves("Share of the real tokens that are right.")
def test_a_place_counts_as_right_only_where_it_is_real():
    tokens = np.array([[1, 2, 0], [3, 0, 0]])
    targets = np.array([[2, 1, 0], [3, 0, 0]])
    logits = np.eye(11)[[[2, 5, 7], [3, 0, 0]]]
    assert tutorial.accuracy(logits, tokens, targets) == pytest.approx(2 / 3)


# --- after training ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "this pre-norm order trains without a warm-up of the learning rate", "The test is the validation data too."
)
def test_it_learns_to_reverse_every_sequence(seed):
    done, _figures = trained(seed)
    tokens, targets = done["test"]
    written = np.where(tokens == 0, 0, np.argmax(done["logits"], axis=-1))
    assert np.mean((written == targets).all(axis=1)) > 0.94
    for what in ("accuracy that fit reports:   ", "accuracy on the real tokens: ", "sequences without an error:  "):
        assert float(re.search(re.escape(what) + r"([\d.]+)", done.printed)[1]) >= 0.95
    reported = done["history"]["val_accuracy"][-1]
    assert reported == pytest.approx(tutorial.accuracy(done["logits"], *done["test"]), abs=1e-3)


@pytest.mark.proves(
    "How much weight each head gives to it, as a mean over the places of a sequence and then over the test"
)
def test_the_mirrored_weight_is_the_antidiagonal_of_the_real_places():
    lengths = np.array([3, 5])
    scores = np.zeros((2, 2, 12, 12))
    for row, size in zip(scores, lengths, strict=True):
        row[0, np.arange(size), size - 1 - np.arange(size)] = 1
        row[1, np.arange(12), 11 - np.arange(12)] = 1  # of the array, not of the sequence
    np.testing.assert_allclose(tutorial.mirrored_weight(scores, lengths), [1, 0])


def with_masks(done: Shown, first: bool, second: bool, bring: float = 1.0) -> tuple[float, np.ndarray]:
    """Accuracy, and weights of the second block, with a mask in the blocks that are named.

    What the first block's attention brings is multiplied by `bring`.
    """
    model, (tokens, targets) = done["model"], done["test"]
    x = model.embed(tokens)
    for block, masked, factor in zip(model.blocks, (first, second), (bring, 1.0), strict=True):
        mask = (tokens != 0) | (not masked)
        found, weights = block.attention(block.before_attention(x), mask=mask, return_attention_scores=True)
        x = x + factor * found
        x = x + block.narrow(block.widen(block.before_dense(x)))
    return tutorial.accuracy(model.classify(model.norm(x)), tokens, targets), np.asarray(weights)


@pytest.mark.proves(
    "The second block does the reversing.",
    "Block 2 knows the end of the sequence mostly from block 1",
)
def test_what_each_block_does(seed):
    done, _figures = trained(seed)
    first, second = (tutorial.mirrored_weight(weights, done["lengths"]) for weights in done["scores"])
    assert max(first) < 0.5
    assert min(second) > 0.75
    whole, weights = with_masks(done, True, True)
    np.testing.assert_allclose(weights, done["scores"][1], atol=1e-4)
    assert whole > 0.99
    assert 0.1 < with_masks(done, True, True, bring=0)[0] < 0.4
    assert with_masks(done, True, False)[0] > 0.9
    # and yet the mask of the second block tells it something: without both there is less
    ends = np.arange(500), slice(None), 0, done["lengths"] - 1
    alone, nothing = (with_masks(done, True, second, bring=0)[1][ends].mean() for second in (True, False))
    assert alone > nothing + 0.1


@pytest.mark.proves(
    "In the first row the weight has moved from place 4 to places 10 and 11.",
    "whose first rows look for it.",
    "In the second block, most bright cells stand where both labels are the same: the antidiagonal of a 5 by 5 map.",
    "Four maps of 5 by 5 weights for the sequence 7 2 5 0 9. Both heads of block 2 have most of their weight on the "
    "antidiagonal, where the token read is the token to write. The first rows of block 1 lean to the right, to the "
    "last tokens of the sequence.",
    "With 12 digits it is the antidiagonal of a 12 by 12 map.",
    "Four maps of 12 by 12 weights for a sequence of 12 digits. Both heads of block 2 follow the antidiagonal from "
    "corner to corner, with some weight on the cells beside it. In block 1 the first rows look at the last tokens and "
    "the last rows at the first tokens.",
    "Each block in a row, each head in a column, for one sequence.",
)
def test_the_maps_of_the_trained_model(seed):
    done, figures = trained(seed)
    for figure, digits in ((figures[1], [7, 2, 5, 0, 9]), (figures[2], [3, 9, 1, 6, 0, 8, 2, 7, 4, 5, 1, 6])):
        size = len(digits)
        tokens = np.array([[digit + 1 for digit in digits] + [0] * (12 - size)])
        _, scores = done["model"](tokens, return_attention_scores=True)
        *maps, bar = figure.axes
        assert len(maps) == 4
        for place, axes in enumerate(maps):
            block, head = divmod(place, 2)
            assert axes.get_title() == f"block {block + 1}, head {head + 1}"
            weights = drawn(axes)
            np.testing.assert_allclose(weights, scores[block][0, head, :size, :size], atol=1e-5)
            assert digits_at(axes.xaxis) == [str(digit) for digit in digits]
            assert digits_at(axes.yaxis) == [str(digit) for digit in digits[::-1]]
            assert (axes.get_xlabel(), axes.get_ylabel()) == ("token read", "token to write")
            centres = weights @ np.arange(size)
            rows = np.arange(size)
            if block == 0:
                assert centres[0] > (size - 1) / 2 + 0.3
                if size == 12:
                    assert centres[:2].mean() > 8
                    assert centres[-2:].mean() < 4
            else:
                mirrored = weights[rows, rows[::-1]]
                assert mirrored.mean() > (0.75 if size == 5 else 0.6)
                assert np.abs(weights.argmax(axis=1) - rows[::-1]).max() <= 1
                assert weights[0, {5: [4], 12: [10, 11]}[size]].sum() > 0.9
                if size == 5:
                    assert np.mean(weights.argmax(axis=1) == rows[::-1]) > 0.5
                beside = np.abs(rows[:, None] + rows - (size - 1)) <= 1
                assert weights[beside].sum() / size > 0.9
        assert bar.get_ylabel() == "attention weight"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def connected(between, tokens):
    keras.utils.set_random_seed(0)
    model = small()
    model(tokens)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logits, scores = tutorial.with_layer(model, between)(tokens)
    return model(tokens), logits, np.asarray(scores), [str(one.message) for one in caught]


@pytest.mark.proves(
    "A layer without `supports_masking` between the embedding and the blocks is enough.",
    "`MaskedGain` is the right form of `Gain`, one line longer. Both get the factor 1, so they can change only the "
    "mask.",
    "Multiply by a constant. A mask ends here, and it should not.",
    "The same, and it propagates the mask.",
    "Keras warns and continues. The softmax now includes the padding",
    "No weight changes.",
)
def test_without_supports_masking_padding_takes_part_and_keras_warns():
    tokens, _ = sequences(32)
    padded = np.sum(tokens != 0, axis=1) < 12
    on_padding = np.broadcast_to((tokens == 0)[None, :, None, None, :], (2, 32, 2, 12, 12))

    expected, kept, scores, messages = connected(tutorial.MaskedGain(1.0), tokens)
    contract.assert_same(kept, expected)
    assert not scores[on_padding].any()
    assert not messages

    expected, lost, scores, messages = connected(tutorial.Gain(1.0), tokens)
    assert scores[on_padding].min() > 0
    assert "does not support masking and will therefore destroy the mask information" in messages[0]
    difference = np.abs(np.asarray(lost - expected)).max(axis=(1, 2))
    assert difference[padded].min() > 0.01
    assert difference[~padded].max() < 1e-5


def test_scale_multiplies():
    for make in (tutorial.Gain, tutorial.MaskedGain):
        x = vectors(2, 3)
        np.testing.assert_allclose(make(-2.5)(x), -2.5 * x)
        assert make.from_config(make(0.5).get_config()).factor == 0.5
        shapes.check_docstring(make, x, make(2.0)(x))


@pytest.mark.proves(
    "where most of the row is padding, most of the weight goes there.",
    "Sequences of 12 digits have no padding and stay right: a test on them alone doesn't show the fault.",
    "Token accuracy for each length from 3 to 12 digits, as pairs of bars. With the mask all bars are close to 1.0. "
    "With the mask lost those for 3 to 10 digits stay below 0.25, most of them near the dotted line of guessing at "
    "0.1; the bar for 11 is higher than guessing, and the bar for 12 close to 1.0.",
)
def test_the_lost_mask_costs_everything_but_the_sequences_without_padding(seed):
    done, figures = trained(seed)
    (tokens, targets), lengths = done["test"], done["lengths"]
    lost = np.asarray(done["lost_scores"])
    for size in (3, 4):  # of 12 places
        assert lost[:, lengths == size][..., :size, size:].sum(axis=-1).mean() > 0.5
    (axes,) = figures[3].axes
    bars = {one.get_label(): one for one in axes.containers}
    assert list(bars) == ["with the mask", "mask lost"]
    for name, logits in (("with the mask", done["logits"]), ("mask lost", done["lost_logits"])):
        heights = [patch.get_height() for patch in bars[name]]
        expected = [
            tutorial.accuracy(np.asarray(logits)[some], tokens[some], targets[some])
            for some in (lengths == size for size in range(3, 13))
        ]
        np.testing.assert_allclose(heights, expected)
        middles = [patch.get_x() + patch.get_width() / 2 for patch in bars[name]]
        np.testing.assert_allclose(middles, np.arange(3, 13), atol=0.25)
        if name == "with the mask":
            assert min(heights) > 0.96
        else:
            *short, eleven, twelve = heights  # that of 11 moves between seeds, from 0.12 to 0.74
            assert max(short) < 0.25
            assert np.median(short) == pytest.approx(0.1, abs=0.06)
            assert 0.1 < eleven < 0.9
            assert twelve > 0.96
    assert set(axes.lines[0].get_ydata()) == {0.1}


@pytest.mark.proves(
    "A mask is attached to one tensor, and an operation outside a layer returns a new tensor without it. Dividing the "
    "logits by a temperature of 1 changes no number, but from then on losses and metrics count the padding.",
    "A model that writes only padding scores the rest, 0.375.",
    "use a layer that propagates the mask, or pass `sample_weight`, 1 for real tokens and 0 for padding.",
)
def test_an_operation_outside_a_layer_drops_the_mask_and_the_metric_counts_padding():
    tokens, targets = tutorial.reversal(np.repeat(np.arange(3, 13), 50), np.random.default_rng(0))
    weight = (tokens != 0).astype("float32")
    right = np.eye(11, dtype="float32")[np.where(tokens == 0, 5, targets)]  # right but on padding
    padding = np.eye(11, dtype="float32")[np.zeros_like(tokens)]

    def accuracy(logits, **kwargs):
        metric = keras.metrics.SparseCategoricalAccuracy()
        metric.update_state(targets, logits, **kwargs)
        return float(metric.result())

    embed = tutorial.TokenAndPosition(11, 12, 11)
    embed(tokens)
    dense = keras.layers.Dense(11)
    logits = dense(embed(tokens))
    assert accuracy(logits) == pytest.approx(tutorial.accuracy(logits, tokens, targets), abs=1e-5)
    counted = np.mean(np.argmax(logits, axis=-1) == targets)
    assert accuracy(logits / 1.0) == pytest.approx(counted, abs=1e-5)
    assert counted != pytest.approx(tutorial.accuracy(logits, tokens, targets), abs=1e-2)
    np.testing.assert_array_equal(logits / 1.0, logits)

    assert accuracy(right) == pytest.approx(0.625)
    assert accuracy(right, sample_weight=weight) == pytest.approx(1.0)
    assert accuracy(padding) == pytest.approx(0.375)
    assert accuracy(padding, sample_weight=weight) == 0
    text = printed(NAME)
    assert "a model that only writes padding: 0.375" in text
    assert "padding: 0.000" in text
    short_tokens, short_targets = tutorial.reversal(np.full(50, 3), np.random.default_rng(0))
    metric = keras.metrics.SparseCategoricalAccuracy()
    metric.update_state(short_targets, np.eye(11, dtype="float32")[np.zeros_like(short_tokens)])
    assert float(metric.result()) == 0.75


class Divided(keras.Model):
    """Its logits, as they are or divided by 1."""

    def __init__(self, divided):
        super().__init__()
        self.embed, self.classify, self.divided = tutorial.TokenAndPosition(11, 12, 8), keras.layers.Dense(11), divided

    def call(self, inputs):
        logits = self.classify(self.embed(inputs))
        return logits / 1.0 if self.divided else logits


@pytest.mark.proves(
    "`fit` uses it in the loss and `weighted_metrics`, not `metrics`. The loss still divides by all places."
)
@pytest.mark.parametrize("eagerly", [False, True])
def test_what_fit_does_with_weights_for_the_real_tokens(eagerly):
    tokens, targets = sequences()
    real = (tokens != 0).astype("float32")
    found = {}
    for name, divided, weight in (("masked", False, None), ("counted", True, None), ("weighted", True, real)):
        keras.utils.set_random_seed(0)
        model = Divided(divided)
        model.compile(
            optimizer=keras.optimizers.SGD(0.0),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="of_the_weighted")],
            run_eagerly=eagerly,
        )
        history = model.fit(tokens, targets, sample_weight=weight, batch_size=64, verbose=0).history
        found[name] = {key: value[0] for key, value in history.items()}
    assert found["weighted"]["accuracy"] == found["counted"]["accuracy"] != found["masked"]["accuracy"]
    assert found["weighted"]["of_the_weighted"] == pytest.approx(found["masked"]["accuracy"], abs=1e-6)
    assert found["weighted"]["loss"] == pytest.approx(found["masked"]["loss"] * np.mean(real), rel=1e-5)


@pytest.mark.proves(
    "The same logits look worse, because nothing trained the model to write padding: 0.625 is the share of real tokens."
)
def test_a_model_that_never_writes_padding(seed):
    done, _figures = trained(seed)
    tokens, _ = done["test"]
    assert np.mean(np.argmax(done["logits"], axis=-1)[tokens == 0] == 0) < 0.01
    assert float(re.search(r"the model's logits / 1\.0: ([\d.]+)", done.printed)[1]) == pytest.approx(0.625, abs=0.01)


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The classes are registered and their arguments are recorded, so the file is enough",
    "The mask comes back too, since the embedding computes it.",
)
def test_a_reloaded_model_returns_the_same_and_makes_the_mask(tmp_path):
    model = small()
    tokens, _ = sequences(8)
    model(tokens)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    contract.assert_same(reloaded(tokens), model(tokens))
    _, scores = reloaded(tokens, return_attention_scores=True)
    assert not np.asarray(scores[1])[:, 0, 0][tokens == 0].any()
    assert "largest difference of the logits: 0.0" in printed(NAME)
    assert "7 2 5 0 9 backwards: 9 0 5 2 7" in printed(NAME)


@pytest.mark.proves("so the file is enough")
def test_the_reloaded_model_writes_the_sequence_backwards(seed):
    done, _figures = trained(seed)
    logits = np.asarray(done["reloaded"](done["short"]))[0]
    assert [int(digit) for digit in done["written"]] == [9, 0, 5, 2, 7]
    assert np.argmax(logits[:5], axis=-1).tolist() == [10, 1, 6, 3, 8]
    assert "7 2 5 0 9 backwards: 9 0 5 2 7" in done.printed


@pytest.mark.proves("returns the same numbers, if each query has a score far above -10000 for a real key.")
def test_both_attentions_of_the_comparison_have_the_weights_and_the_mask(seed):
    done, _figures = trained(seed)
    for one, other in zip(done["ours"], done["theirs"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for _outputs, weights in (done["ours"], done["theirs"]):
        of_padding = np.asarray(weights)[np.broadcast_to(~REAL[:, None, None, :], weights.shape)]
        assert not of_padding.any()
        assert of_padding.size == 2 * 7 * np.sum(~REAL)


@pytest.mark.parametrize("make", [lambda: tutorial.SelfAttention(2, 3), lambda: tutorial.EncoderBlock(8, 2, 16)])
def test_build_alone_creates_each_weight(make):
    built, called = make(), make()
    built.build((None, 5, 8))
    called(vectors(2, 5, 8))
    assert [weight.shape for weight in built.weights] == [weight.shape for weight in called.weights]
    assert all(layer.built for layer in built._flatten_layers())
