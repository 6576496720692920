"""`docs/decisions/disadvantages.md`: every claim that the page makes, proved."""

from __future__ import annotations

import inspect
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.examples import run
from engine.pages import sections
from snippets.decisions import disadvantages as module
from snippets.decisions.disadvantages import FeatureNorm, RunningMean, TimeAttention, slopes
from tests import contract

CASES = {
    "FeatureNorm": contract.Layer(lambda **kw: FeatureNorm(0.01, **kw), inputs=[(4,), (None, 4), (2, 5, 4)]),
    "TimeAttention": contract.Layer(TimeAttention, inputs=[(7, 4), (None, 4)]),
    "RunningMean": contract.Layer(RunningMean, inputs=[(7, 4), (None, 4)]),
}
PAGE = Path(__file__).parents[2] / "docs/decisions/disadvantages.md"


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


def shown(*names: str) -> dict:
    """What the page's wrong forms define, taken from where they stand."""
    namespace = dict(vars(module))
    for name in names:
        run(sections(Path(module.__file__))[name], namespace)
    return namespace


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- increased complexity ---------------------------------------------------------------------------------------------


def test_feature_norm_is_the_built_in_with_any_weights():
    x = rng().normal(3, 2, size=(5, 7, 4)).astype("float32")
    ours, built_in = FeatureNorm(0.01), keras.layers.LayerNormalization(epsilon=0.01)
    ours(x), built_in(x)
    weights = [rng().normal(size=4), rng().normal(size=4)]
    assert [weight.name for weight in ours.weights] == [weight.name for weight in built_in.weights]
    for layer in (ours, built_in):
        layer.set_weights(weights)
    contract.assert_same(ours(x), built_in(x), atol=1e-5)
    assert FeatureNorm.from_config(ours.get_config()).epsilon == 0.01


def test_the_four_checks_tell_the_formula_from_the_layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = shown("bare_norm", "four_checks")
    checks = ["equals_the_built_in", "survives_float16", "hands_on_the_mask", "comes_back_from_a_file"]
    results = {
        norm.__name__: [bool(namespace[check](norm)) for check in checks]
        for norm in (keras.layers.LayerNormalization, namespace["BareNorm"], FeatureNorm)
    }
    assert results["LayerNormalization"] == results["FeatureNorm"] == [True] * 4
    assert results["BareNorm"] == [True, False, False, False]


@pytest.mark.filterwarnings("error")
def test_in_16_bits_rows_come_out_as_zeros_without_a_word():
    large = np.array([[300.0, -300.0, 600.0, 0.0]])
    outputs = shown("bare_norm")["BareNorm"](dtype="mixed_float16")(large)
    np.testing.assert_array_equal(outputs, np.zeros((1, 4)))
    contract.assert_same(
        FeatureNorm(dtype="mixed_float16")(large),
        keras.layers.LayerNormalization(dtype="mixed_float16")(large),
        atol=1e-3,
    )


def test_the_mask_is_lost_with_a_warning():
    bare = shown("bare_norm")["BareNorm"]
    with pytest.warns(UserWarning, match="does not support masking and will therefore destroy the mask"):
        keras.Sequential([keras.layers.Masking(), bare()])(np.ones((1, 2, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras.Sequential([keras.layers.Masking(), FeatureNorm()])(np.ones((1, 2, 4)))


def test_the_class_is_not_found_when_the_file_is_loaded(tmp_path):
    keras.Sequential([keras.Input((4,)), shown("bare_norm")["BareNorm"]()]).save(tmp_path / "norm.keras")
    with pytest.raises(TypeError, match="Could not locate class 'BareNorm'"):
        keras.saving.load_model(tmp_path / "norm.keras")


def test_the_lines_are_counted():
    found = sections(Path(module.__file__))
    lines = [len(found[name].text.splitlines()) for name in ("bare_norm", "feature_norm")]
    text = PAGE.read_text(encoding="utf-8")
    assert re.search(r"from (\d+) lines to (\d+)", text).groups() == tuple(map(str, lines))
    call = found["bare_norm"].text.split("def call(self, x):\n")[1]
    assert "formula of a layer normalisation is four lines" in text
    assert len(call.splitlines()) == 4


def test_the_built_in_layer_takes_more_options():
    options = set(inspect.signature(keras.layers.LayerNormalization).parameters)
    assert {"axis", "gamma_initializer", "gamma_regularizer", "gamma_constraint"} <= options
    x = rng().normal(size=(2, 3, 4)).astype("float32")
    outputs = keras.layers.LayerNormalization(axis=(1, 2))(x)
    np.testing.assert_allclose(np.mean(outputs, axis=(1, 2)), 0, atol=1e-6)


# --- bugs -------------------------------------------------------------------------------------------------------------


def test_time_attention_is_the_formula():
    layer, x = TimeAttention(), rng().normal(size=(5, 7, 4)).astype("float32")
    layer(x)
    query = rng().normal(size=(4, 1))
    layer.set_weights([query])
    weights = np.exp(x @ query) / np.exp(x @ query).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer.weigh(x), weights, rtol=1e-4)
    np.testing.assert_allclose(layer(x), (weights * x).sum(axis=1), rtol=1e-4, atol=1e-5)


def test_a_softmax_over_the_batch_raises_nothing_and_mixes_the_samples():
    x = rng().normal(size=(8, 7, 4)).astype("float32")
    wrong, right = shown("wrong_axis")["WrongAxis"](), TimeAttention()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        wrong(x), right(x)
    np.testing.assert_allclose(np.sum(right.weigh(x), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.sum(wrong.weigh(x), axis=0), 1, rtol=1e-5)
    assert np.abs(np.sum(wrong.weigh(x), axis=1) - 1).max() > 0.1
    contract.assert_same(right(x)[:2], right(x[:2]), atol=1e-5)
    assert np.abs(wrong(x)[:2] - wrong(x[:2])).max() > 0.1


def test_a_variable_that_is_not_tracked_shows_in_the_count():
    class Untracked(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = tf.Variable(tf.ones(input_shape[-1]))

        def call(self, inputs):
            return inputs * self.scale

    layer = Untracked()
    layer(np.ones((2, 4)))
    assert len(layer.trainable_weights) == 0


# --- inefficiencies ---------------------------------------------------------------------------------------------------


def test_running_mean_is_the_mean_of_the_steps_so_far():
    x = rng().normal(size=(2, 7, 4)).astype("float32")
    expected = np.stack([x[:, : step + 1].mean(axis=1) for step in range(7)], axis=1)
    np.testing.assert_allclose(RunningMean()(x), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(shown("looped_mean")["LoopedMean"]()(x), expected, rtol=1e-4, atol=1e-6)


def test_the_graph_of_the_loop_grows_and_the_other_does_not():
    namespace = shown("looped_mean")
    looped = [operations(namespace["LoopedMean"](), steps) for steps in (8, 16, 24)]
    assert looped[2] - looped[1] == looped[1] - looped[0] > 8
    assert len({operations(RunningMean(), steps) for steps in (8, 16, 24)}) == 1


def operations(layer: keras.layers.Layer, steps: int) -> int:
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((None, steps, 4))).graph
    return len(graph.get_operations())


def test_the_loop_cannot_take_a_sequence_of_unknown_length():
    with pytest.raises(TypeError, match="'NoneType' object cannot be interpreted as an integer"):
        shown("looped_mean")["LoopedMean"]()(keras.Input((None, 4)))
    assert RunningMean()(keras.Input((None, 4))).shape == (None, None, 4)


def test_fit_and_predict_reduce_the_traces():
    counts = {"fit": 0, "predict": 0}
    phase = "fit"

    class Counts(RunningMean):
        def call(self, inputs):
            counts[phase] += 1
            return super().call(inputs)

    model = keras.Sequential([keras.layers.Dense(1), Counts()])
    model.compile("sgd", "mse")
    model(np.ones((2, 3, 4)))
    counts["fit"] = 0
    for steps in range(1, 11):
        model.fit(np.ones((2, steps, 4)), np.ones((2, steps, 1)), verbose=0)
    phase = "predict"
    for steps in range(1, 11):
        model.predict(np.ones((2, steps, 4)), verbose=0)
    assert 1 <= counts["fit"] < 10
    assert 1 <= counts["predict"] < 10


# --- the checks -------------------------------------------------------------------------------------------------------


def test_the_slopes_agree_only_for_a_right_gradient():
    x = rng().normal(size=(5, 7, 4))
    by_tape, measured = slopes(TimeAttention(dtype="float64"), x)
    assert by_tape == pytest.approx(measured, rel=1e-5)
    assert abs(by_tape) > 1e-3

    class Stops(TimeAttention):
        def weigh(self, inputs):
            half = keras.ops.stop_gradient(super().weigh(inputs)) / 2
            return half + super().weigh(inputs) / 2

    by_tape, measured = slopes(Stops(dtype="float64"), x)
    assert by_tape == pytest.approx(measured / 2, rel=1e-4)


def test_the_slopes_leave_the_weights_as_they_were():
    layer, x = FeatureNorm(dtype="float64"), rng().normal(size=(2, 4))
    layer(x)
    before = layer.get_weights()
    slopes(layer, x)
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
