"""`docs/tutorials/transformer.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from engine.notebooks import definitions, printed
from tests import contract

NAME = "snippets.tutorials.transformer"
tutorial = definitions(NAME)

CASES = {
    "SelfAttention": contract.Layer(lambda **kw: tutorial.SelfAttention(2, 3, **kw), inputs=[(None, 4)]),
    "EncoderBlock": contract.Layer(lambda **kw: tutorial.EncoderBlock(8, 2, 16, **kw), inputs=[(5, 8)]),
    "MaskedScale": contract.Layer(lambda **kw: tutorial.MaskedScale(0.5, **kw), inputs=[(5, 4)]),
}


def small(blocks: int = 2) -> keras.Model:
    return tutorial.Transformer(11, 12, features=16, heads=2, blocks=blocks)


def sequences(samples: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tutorial.reversal(rng.integers(3, 13, size=samples), rng)


def one_hot() -> tuple[np.ndarray, np.ndarray]:
    tokens, targets = sequences()
    return tokens, np.eye(11, dtype="float32")[targets]


MODEL = contract.Model(
    lambda: small(blocks=1),
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
def test_contract(case, check, tmp_path, fresh_process):
    if check is contract.works_inside_time_distributed and case is not CASES["MaskedScale"]:
        pytest.skip("its outputs depend on `return_attention_scores`, so Keras finds their shapes by running `call`")
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
def test_model_contract(check, tmp_path, fresh_process):
    check(MODEL, tmp_path=tmp_path, fresh_process=fresh_process)


# --- the data ---------------------------------------------------------------------------------------------------------


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


# --- the embedding ----------------------------------------------------------------------------------------------------


def test_an_embedding_is_the_row_of_the_token_plus_the_row_of_the_place():
    layer = tutorial.TokenAndPosition(11, 12, 8)
    tokens, _ = sequences(5)
    outputs = layer(tokens)
    by_token, by_place = (np.asarray(weight) for weight in layer.weights)
    np.testing.assert_allclose(outputs, by_token[tokens] + by_place, rtol=1e-6)
    np.testing.assert_allclose(layer(tokens[:, :5]), outputs[:, :5])
    assert layer(keras.Input((12,), dtype="int32")).shape == (None, 12, 8)


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


def test_an_attention_without_places_treats_its_input_as_a_set(attention):
    x = vectors(1, 7, 16)
    order = np.array([3, 1, 6, 0, 2, 5, 4])
    contract.assert_same(attention(x[:, order]), ops.take(attention(x), order, axis=1))


# --- attention --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_padded_key_gets_nothing_and_a_row_without_keys_is_no_nan(dtype):
    layer = tutorial.SelfAttention(2, 8, dtype=dtype)
    mask = REAL.copy()
    mask[2] = False
    outputs, weights = layer(vectors(4, 7, 16), mask=mask, return_attention_scores=True)
    weights = np.asarray(weights)
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=2e-3)
    assert not weights[1, :, :, 5:].any()
    assert not weights[3, :, :, 3:].any()
    np.testing.assert_allclose(weights[2], 1 / 7, atol=1e-3)


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


# --- block and model --------------------------------------------------------------------------------------------------


def test_a_block_adds_to_its_input_and_normalizes_before():
    block = tutorial.EncoderBlock(16, 2, 32)
    x = vectors(4, 7, 16)
    outputs = block(x, mask=REAL)

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)

    middle = x + np.asarray(block.attention(norm(x), mask=REAL))
    (w1, b1), (w2, b2) = block.widen.get_weights(), block.narrow.get_weights()
    expected = middle + np.maximum(norm(middle) @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


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


def test_padding_behind_a_sequence_changes_nothing():
    model = small()
    tokens, _ = sequences(8)
    for row in tokens:
        size = int(np.sum(row != 0))
        np.testing.assert_allclose(model(row[None])[:, :size], model(row[None, :size]), atol=1e-5)


def test_a_new_models_weights_are_near_an_even_share():
    _, scores = tutorial.Transformer(11, 12, features=48, heads=2, blocks=2)(
        np.array([[8, 3, 6, 1, 10] + [0] * 7]), return_attention_scores=True
    )
    for weights in scores:
        assert np.abs(np.asarray(weights)[..., :5, :5] - 0.2).max() < 0.12


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


def test_a_place_counts_as_right_only_where_it_is_real():
    tokens = np.array([[1, 2, 0], [3, 0, 0]])
    targets = np.array([[2, 1, 0], [3, 0, 0]])
    logits = np.eye(11)[[[2, 5, 7], [3, 0, 0]]]
    assert tutorial.accuracy(logits, tokens, targets) == pytest.approx(2 / 3)


def test_no_sequence_is_seen_twice():
    """Several epochs of `steps_per_epoch` go on where the one before them stopped."""
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            seen.extend(np.asarray(inputs).ravel().tolist())
            return inputs * self.scale

        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=())

    model = keras.Sequential([Spy()])
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.arange(1.0, 25.0).reshape(-1, 1).astype("float32")
    model(x[:1])
    seen.clear()
    model.fit(x, x * 0, batch_size=2, steps_per_epoch=3, epochs=4, verbose=0)
    assert sorted(seen) == x.ravel().tolist()
    assert "training sequences: (23040, 12)" in printed(NAME)  # 360 steps of 64
    assert 360 * 64 == 23040


# --- after training ---------------------------------------------------------------------------------------------------


def test_it_learns_to_reverse_every_sequence():
    for what in ("accuracy that fit reports:   ", "accuracy on the real tokens: ", "sequences without an error:  "):
        assert float(re.search(re.escape(what) + r"([\d.]+)", printed(NAME))[1]) >= 0.99


def test_the_mirrored_weight_is_the_antidiagonal_of_the_real_places():
    lengths = np.array([3, 5])
    scores = np.zeros((2, 2, 12, 12))
    for row, size in zip(scores, lengths, strict=True):
        row[0, np.arange(size), size - 1 - np.arange(size)] = 1
        row[1, np.arange(12), 11 - np.arange(12)] = 1  # of the array, not of the sequence
    np.testing.assert_allclose(tutorial.mirrored_weight(scores, lengths), [1, 0])


def test_the_second_block_does_the_reversing():
    found = dict(re.findall(r"block (\d): ([\d.]+ and [\d.]+) on the mirrored token", printed(NAME)))
    first, second = ([float(one) for one in found[block].split(" and ")] for block in "12")
    assert max(first) < 0.5
    assert min(second) >= 0.8


# --- what goes wrong --------------------------------------------------------------------------------------------------


def connected(between, tokens):
    keras.utils.set_random_seed(0)
    model = small()
    model(tokens)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logits, scores = tutorial.with_layer(model, between)(tokens)
    return model(tokens), logits, np.asarray(scores), [str(one.message) for one in caught]


def test_without_supports_masking_padding_takes_part_and_keras_warns():
    tokens, _ = sequences(32)
    padded = np.sum(tokens != 0, axis=1) < 12
    on_padding = np.broadcast_to((tokens == 0)[None, :, None, None, :], (2, 32, 2, 12, 12))

    expected, kept, scores, messages = connected(tutorial.MaskedScale(1.0), tokens)
    contract.assert_same(kept, expected)
    assert not scores[on_padding].any()
    assert not messages

    expected, lost, scores, messages = connected(tutorial.Scale(1.0), tokens)
    assert scores[on_padding].min() > 0
    assert "does not support masking and will therefore destroy the mask information" in messages[0]
    difference = np.abs(np.asarray(lost - expected)).max(axis=(1, 2))
    assert difference[padded].min() > 0.01
    assert difference[~padded].max() < 1e-5


def test_the_lost_mask_costs_everything_but_the_sequences_without_padding():
    text = printed(NAME)
    assert "MaskedScale: 12 digits 1.0, fewer 1.0, warnings: 0" in text
    fewer, count = re.search(r"\nScale: 12 digits 1\.0, fewer ([\d.]+), warnings: (\d)", text).groups()
    assert float(fewer) <= 0.2
    assert int(count) > 0
    shares = [float(one) for one in re.findall(r"\d digits: ([\d.]+) of the weight on padding", text)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= 0.9


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
    assert float(re.search(r"the model's logits / 1\.0: ([\d.]+)", text)[1]) == pytest.approx(0.625, abs=0.01)


# --- saving -----------------------------------------------------------------------------------------------------------


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
