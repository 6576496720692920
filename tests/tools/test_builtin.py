"""What the checkup finds in Keras's own objects: each finding stands here with a program that shows it without it.

`make builtins` runs the checkup on what Keras exports and records what it finds. A fact is a test: `@fact` names the
check and the objects in which it found it. The page of the checkup shows the first line of its docstring.
"""

from __future__ import annotations

import importlib.util
import inspect
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from checkup import KINDS, graph_size
from keras import layers, losses

from tests.tools import builtin
from tests.tools.builtin import BASE, BITS, BOXES, FINDS, KNOWN, LABELLED, NOT_TRIED, PHOTOS, TABLE
from tests.tools.forms import FORMS

AGAIN = "run `make builtins`"
RECORD = yaml.safe_load(builtin.RECORD.read_text(encoding="utf-8"))
FOUND = {(name, check): found for name, checks in RECORD["findings"].items() for check, found in checks.items()}
FACTS: dict[tuple[str, str], Callable[..., None]] = {}
"""Of a name and a check, the test that shows what was found."""


def fact(check: str, *names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Tie a test to what a check found in objects."""

    def keep(function: Callable[..., None]) -> Callable[..., None]:
        FACTS.update(dict.fromkeys([(name, check) for name in names], function))
        return function

    return keep


# --- the record -------------------------------------------------------------------------------------------------------


def test_whatever_is_exported_is_tried_or_left_out_for_a_reason():
    exported, tried = builtin.exported().keys(), builtin.cases().keys()
    assert not tried & NOT_TRIED.keys()
    assert tried | NOT_TRIED.keys() == exported
    assert all(NOT_TRIED.values())


def test_the_record_is_of_this_checkup_of_these_cases_and_of_this_keras():
    assert RECORD["sha256"] == builtin.digest(), AGAIN
    assert (RECORD["keras"], RECORD["tensorflow"]) == (keras.__version__, tf.__version__), AGAIN
    assert sum(RECORD["tried"].values()) == len(builtin.cases()), AGAIN


def test_no_right_form_of_the_library_was_called_wrong():
    assert (RECORD["right forms"], RECORD["right forms called wrong"]) == (len(FORMS), {}), AGAIN


def test_the_cost_of_the_record():
    """It has to stay cheap enough to be made again whenever the checkup changes."""
    assert RECORD["seconds"]["all"] < 1200
    assert RECORD["seconds"]["layers"]["median"] < 3
    assert RECORD["seconds"]["others"]["median"] < 1


def test_each_finding_is_a_fact():
    unshown, unfound = sorted(FOUND.keys() - FACTS.keys()), sorted(FACTS.keys() - FOUND.keys())
    assert not unshown, f"found, and no fact shows it: {unshown}"
    assert not unfound, f"a fact that isn't found: remove it, or {AGAIN}: {unfound}"


@pytest.mark.parametrize("name", ["activations.relu", "initializers.Identity", "losses.Dice", "losses.circle"])
def test_the_checkup_finds_what_the_record_says(name):
    assert builtin.found_in(builtin.report_on(name)) == RECORD["findings"].get(name, {}), AGAIN


def test_what_is_left_out_is_what_its_reason_says():
    exported = builtin.exported()
    reasons: dict[str, list[Any]] = {}
    for name, reason in NOT_TRIED.items():
        reasons.setdefault(reason, []).append(exported[name])
    assert set(reasons[BASE]) == set(KINDS.values()) - {keras.Model}
    assert all(one.__name__ in ("get", "serialize", "deserialize") for one in reasons[FINDS])
    assert not any(map(importlib.util.find_spec, ("jax", "flax", "torch")))
    assert layers.Wrapper.call is layers.Layer.call
    assert list(inspect.signature(layers.InputLayer.call).parameters) == ["self"]
    assert not issubclass(layers.InputSpec, layers.Layer)
    assert not issubclass(keras.optimizers.OptimizerMap, keras.optimizers.Optimizer)


# --- configs ----------------------------------------------------------------------------------------------------------


def remade(thing: Any) -> Any:
    """Another one, from the config."""
    return type(thing).from_config(thing.get_config())


@fact("config_is_complete", "layers.MultiHeadAttention", "layers.GroupQueryAttention")
def test_flash_attention_is_not_in_the_config_of_attention():
    """`flash_attention` isn't in its config."""
    assert "flash_attention" not in layers.MultiHeadAttention(2, 3, flash_attention=False).get_config()
    assert "flash_attention" not in layers.GroupQueryAttention(4, 4, 2, flash_attention=False).get_config()


@fact("config_is_complete", "layers.CategoryEncoding")
def test_category_encoding_from_its_config_is_dense():
    """From its config it isn't sparse."""
    layer = layers.CategoryEncoding(num_tokens=3, sparse=True)
    assert layer.sparse
    assert not remade(layer).sparse


@fact("config_is_complete", "layers.RandomGrayscale")
def test_random_grayscale_from_its_config_has_another_seed():
    """From its config it has another seed."""
    layer = layers.RandomGrayscale(seed=3)
    assert layer.seed == 3
    assert remade(layer).seed != 3


@fact("config_is_complete", "layers.MaxNumBoundingBoxes")
def test_max_num_bounding_boxes_from_its_config_fills_with_another_number():
    """From its config it fills with another number."""
    layer = layers.MaxNumBoundingBoxes(max_number=2, fill_value=-7)
    assert (layer.fill_value, remade(layer).fill_value) == (-7, -1)


@fact("config_is_complete", "initializers.Identity")
def test_the_identity_initializer_from_its_config_has_another_gain():
    """From its config the initializer has another gain."""
    initializer = keras.initializers.Identity(gain=2.0)
    assert float(initializer((1, 1))[0, 0]) == 2.0
    assert float(remade(initializer)((1, 1))[0, 0]) == 1.0


@fact("config_gives_the_same", "losses.Huber")
def test_the_huber_loss_from_its_config_has_another_delta():
    """From its config it has another `delta`."""
    loss = losses.Huber(delta=0.5)
    far, zero = np.float32([[4.0]]), np.float32([[0.0]])
    assert float(loss(far, zero)) == 0.5 * (4.0 - 0.25)
    assert float(remade(loss)(far, zero)) == 4.0 - 0.5  # of a delta of 1


@fact("config_gives_the_same", "losses.CosineSimilarity", "metrics.CosineSimilarity")
def test_the_cosine_similarity_from_its_config_has_another_axis():
    """From its config it has another `axis`."""
    loss = losses.CosineSimilarity(axis=0)
    one, other = np.float32([[1, 2], [3, 4]]), np.float32([[1, 0], [3, 0]])
    assert float(loss(one, other)) == pytest.approx(-0.5)  # of columns that are equal, and at right angles
    assert float(remade(loss)(one, other)) == pytest.approx(-0.5236, abs=1e-4)  # of rows
    metric = keras.metrics.CosineSimilarity(axis=0)
    assert float(metric(one, other)) == pytest.approx(0.5)
    assert float(remade(metric)(one, other)) == pytest.approx(0.5236, abs=1e-4)


@fact("varying_axes", "layers.RandomPerspective", "layers.RandomElasticTransform")
def test_two_layers_of_images_raise_if_the_height_is_unknown():
    """In a graph it raises if the height of the images is unknown."""
    images = tf.TensorSpec((None, None, 8, 3), "float32")
    for layer in layers.RandomPerspective(), layers.RandomElasticTransform():
        layer(keras.Input((None, 8, 3)))
        with pytest.raises(TypeError, match="NoneType"):
            tf.function(layer).get_concrete_function(images)


@fact("optimizer_dtypes", "optimizers.Muon")
def test_muon_steps_no_weight_of_float64():
    """It raises for weights of float64."""
    weight = keras.Variable(np.ones((3, 2)), dtype="float64")
    with pytest.raises(tf.errors.InvalidArgumentError, match="double"):
        keras.optimizers.Muon().apply([tf.ones((3, 2), "float64")], [weight])


@fact("config_round_trip", "layers.RandomShear")
def test_random_shear_is_not_made_from_its_config():
    """It can't be made from its config."""
    with pytest.raises(TypeError, match="data_format"):
        remade(layers.RandomShear(x_factor=0.2))


@fact("config_round_trip", "layers.TFSMLayer")
def test_a_saved_model_is_not_made_from_its_config_in_safe_mode():
    """It is loaded with `safe_mode=False` only."""
    with pytest.raises(ValueError, match="safe_mode=False"):
        remade(builtin.saved_model())


@fact("base_arguments", "layers.HashedCrossing")
def test_the_config_of_hashed_crossing_has_lost_the_policy():
    """Its config holds float32 for a mixed policy."""
    for policy, kept in (("mixed_bfloat16", "float32"), ("mixed_float16", "float32"), ("float16", "float16")):
        layer = layers.HashedCrossing(5, output_mode="one_hot", dtype=policy)
        assert layer.dtype_policy.name == policy
        assert remade(layer).dtype_policy.name == kept


@fact("base_arguments", "layers.Pipeline")
def test_a_pipeline_takes_no_dtype():
    """It takes neither `dtype` nor `trainable`."""
    for option in {"dtype": "mixed_bfloat16"}, {"trainable": False}:
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            layers.Pipeline([layers.Rescaling(2.0)], **option)


@fact("initializer_values", "initializers.Orthogonal")
def test_the_orthogonal_initializer_makes_no_bfloat16():
    """It makes no numbers in bfloat16."""
    keras.initializers.Orthogonal()((3, 3), dtype="float16")
    with pytest.raises(tf.errors.InvalidArgumentError, match="bfloat16"):
        keras.initializers.Orthogonal()((3, 3), dtype="bfloat16")


@fact("base_arguments", "layers.IntegerLookup", "layers.StringLookup")
def test_a_lookup_ignores_its_dtype():
    """It ignores `dtype`."""
    for made, one in (layers.IntegerLookup, 1), (layers.StringLookup, "a"):
        layer = made(vocabulary=[one], output_mode="multi_hot", dtype="mixed_bfloat16")
        assert layer.dtype_policy.name == "float32"
        assert layer(np.array([[one]])).dtype == tf.int64


# --- dtypes -----------------------------------------------------------------------------------------------------------


@fact("each_dtype", "layers.AdaptiveMaxPooling3D", "layers.MaxPooling3D")
@fact("each_dtype", "layers.AdaptiveAveragePooling3D", "layers.AveragePooling3D")
@pytest.mark.parametrize(
    "name", ["MaxPooling3D", "AveragePooling3D", "AdaptiveMaxPooling3D", "AdaptiveAveragePooling3D"]
)
def test_pooling_over_three_axes_has_no_kernel_on_a_cpu(name):
    """It has no kernel for a CPU in float64 or float16."""
    for dtype in "float64", "float16", "mixed_float16":
        with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.NotFoundError), match=r"(Max|Avg)Pool3D"):
            getattr(layers, name)(2, dtype=dtype)(np.ones((1, 4, 4, 4, 1)))


@fact("each_dtype", "layers.CategoryEncoding")
def test_category_encoding_in_16_bits():
    """It gives float32 under a mixed policy, and raises in float16 and bfloat16."""

    def called(dtype: str) -> Any:
        return layers.CategoryEncoding(num_tokens=3, output_mode="multi_hot", dtype=dtype)(np.array([[0, 1]]))

    assert called("mixed_float16").dtype == called("mixed_bfloat16").dtype == tf.float32
    for dtype in "float16", "bfloat16":
        with pytest.raises(tf.errors.InvalidArgumentError, match="DenseBincount"):
            called(dtype)


@fact("each_dtype", "layers.MelSpectrogram")
def test_mel_spectrogram_in_float64():
    """It raises in float64."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected to be a double tensor"):
        layers.MelSpectrogram(dtype="float64")(np.ones((1, 8000)))


@fact("each_dtype", "layers.STFTSpectrogram")
def test_stft_spectrogram_in_bfloat16():
    """It raises in bfloat16."""
    for dtype in "bfloat16", "mixed_bfloat16":
        with pytest.raises(TypeError, match="bfloat16"):
            layers.STFTSpectrogram(frame_length=64, frame_step=32, dtype=dtype)(np.ones((1, 400, 1)))


@fact("each_dtype", "layers.TFSMLayer")
def test_a_saved_model_takes_the_dtype_that_it_was_saved_with():
    """It takes the dtype that it was saved with, and no other."""
    for dtype in "float64", "mixed_float16", "mixed_bfloat16":
        with pytest.raises(TypeError, match="Can not cast"):
            builtin.saved_model(dtype=dtype)(TABLE)


@fact("each_dtype", "layers.CutMix")
def test_cut_mix_in_bfloat16():
    """It raises in bfloat16."""
    assert layers.CutMix(dtype="mixed_float16")(PHOTOS).dtype == tf.float16
    for dtype in "bfloat16", "mixed_bfloat16":
        with pytest.raises(ValueError, match="requested dtype float32"):
            layers.CutMix(dtype=dtype)(PHOTOS)


@fact("each_dtype", "layers.MixUp")
def test_mix_up_takes_labels_in_float32_only():
    """With labels it raises in each dtype but float32."""
    assert layers.MixUp()(dict(LABELLED))["labels"].dtype == tf.float32
    for dtype in "float64", "float16", "mixed_float16", "bfloat16", "mixed_bfloat16":
        assert layers.MixUp(dtype=dtype)(PHOTOS).dtype == keras.DTypePolicy(dtype).compute_dtype
        with pytest.raises(tf.errors.InvalidArgumentError, match="cannot compute Mul"):
            layers.MixUp(dtype=dtype)(dict(LABELLED))


@fact("each_dtype", "layers.MaxNumBoundingBoxes")
def test_bounding_boxes_are_float32_under_any_policy():
    """Its boxes are float32 under any policy."""
    for dtype in "float64", "float16", "mixed_float16", "bfloat16", "mixed_bfloat16":
        layer = layers.MaxNumBoundingBoxes(2, bounding_box_format="xyxy", dtype=dtype)
        given = {"images": PHOTOS, "bounding_boxes": dict(BOXES)}
        assert layer(given)["bounding_boxes"]["boxes"].dtype == tf.float32


@fact("numbers_in_16_bits", "layers.UnitNormalization")
def test_unit_normalization_of_large_numbers_in_float16_is_zero():
    """In float16 it makes zeros of numbers around 300, and nan of zeros."""
    x = np.full((1, 4), 300.0, "float32")
    np.testing.assert_allclose(layers.UnitNormalization()(x), 0.5, rtol=1e-5)
    assert not np.any(layers.UnitNormalization(dtype="mixed_float16")(x))
    assert np.isnan(layers.UnitNormalization(dtype="mixed_float16")(0 * x)).all()
    assert not np.any(layers.UnitNormalization()(0 * x))


@fact("metric_in_16_bits", "metrics.TopKCategoricalAccuracy", "metrics.top_k_categorical_accuracy")
@fact("metric_in_16_bits", "metrics.SparseTopKCategoricalAccuracy", "metrics.sparse_top_k_categorical_accuracy")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_top_k_accuracy_takes_float32_only(dtype):
    """It takes predictions in float32 only."""
    y_true, y_pred = KNOWN
    classes, half = y_true.argmax(axis=-1), tf.cast(y_pred, dtype)
    for call in (
        lambda: keras.metrics.TopKCategoricalAccuracy(2).update_state(y_true, half),
        lambda: keras.metrics.top_k_categorical_accuracy(y_true, half, 2),
        lambda: keras.metrics.SparseTopKCategoricalAccuracy(2).update_state(classes, half),
        lambda: keras.metrics.sparse_top_k_categorical_accuracy(classes, half, 2),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="InTopKV2"):
            call()


@fact("regularizer_values", "regularizers.OrthogonalRegularizer")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_orthogonal_regularizer_takes_float32_only(dtype):
    """It takes weights in float32 only."""
    keras.regularizers.OrthogonalRegularizer()(tf.ones((3, 3)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="float"):
        keras.regularizers.OrthogonalRegularizer()(tf.ones((3, 3), dtype))


# --- calls, gradients and training ------------------------------------------------------------------------------------


@fact("symbolic_call", "layers.MaxNumBoundingBoxes")
def test_labels_of_bounding_boxes_are_declared_as_numbers():
    """Its labels are declared as float32, and come out as integers."""
    layer = layers.MaxNumBoundingBoxes(2, bounding_box_format="xyxy")
    labels = keras.Input((3,), dtype="int32")
    symbols = {"images": keras.Input((8, 8, 3)), "bounding_boxes": {"boxes": keras.Input((3, 4)), "labels": labels}}
    assert layer(symbols)["bounding_boxes"]["labels"].dtype == "float32"
    assert layer({"images": PHOTOS, "bounding_boxes": dict(BOXES)})["bounding_boxes"]["labels"].dtype == tf.int32


@fact("graph_call", "layers.AugMix")
def test_aug_mix_draws_with_pythons_random():
    """It draws with Python's `random`: a graph keeps what was drawn first.

    The seed and the variables decide no more than a part, and a graph keeps what was drawn when it was traced.
    """
    layer = layers.AugMix(seed=1)
    layer(PHOTOS)
    state = [np.array(variable) for variable in layer.variables]

    def called(call: Callable[..., Any], seed: int) -> np.ndarray:
        for variable, value in zip(layer.variables, state, strict=True):
            variable.assign(value)
        random.seed(seed)
        return np.asarray(call(PHOTOS))

    graph = tf.function(layer)
    assert not np.allclose(called(layer, 0), called(layer, 1))
    assert np.array_equal(called(graph, 0), called(graph, 1))


@fact("one_trace", "layers.RandomElasticTransform")
def test_random_elastic_transform_loops_over_the_images():
    """Its graph grows with the batch; in one of unknown size each image becomes the first."""
    graph = tf.function(layers.RandomElasticTransform(factor=(1.0, 1.0)))
    sizes = [graph_size(graph.get_concrete_function(tf.TensorSpec((batch, 8, 8, 1)))) for batch in (4, 8)]
    assert sizes[1] > 1.3 * sizes[0]
    layer = layers.RandomElasticTransform(factor=(1.0, 1.0))
    brightness = np.float32([0, 50, 100, 150])
    images = np.ones((4, 8, 8, 1), "float32") * brightness[:, None, None, None]
    mapped = tf.data.Dataset.from_tensor_slices(images).batch(4).map(layer)
    np.testing.assert_allclose(np.mean(layer(images), axis=(1, 2, 3)), brightness, rtol=1e-5)
    np.testing.assert_allclose(np.mean(next(iter(mapped)), axis=(1, 2, 3)), [0, 0, 0, 0])


@fact("inside_time_distributed", "layers.Equalization")
def test_equalization_does_nothing_inside_of_time_distributed():
    """It does nothing inside `TimeDistributed`.

    Its `training` is True by default, and TimeDistributed passes another one.
    """
    layer, films = layers.Equalization(), PHOTOS[:, None]
    assert not np.allclose(layer(PHOTOS), PHOTOS)
    assert np.array_equal(layers.TimeDistributed(layer)(films), films)


@fact("gradient_at_special_inputs", "layers.AutoContrast", "layers.RandAugment")
def test_the_gradient_of_contrast_is_nan_for_an_image_of_one_colour():
    """Its gradient is nan for an image of one colour."""
    for layer in layers.AutoContrast(), layers.RandAugment():
        images = tf.zeros((2, 8, 8, 3))
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        assert np.isfinite(outputs).all()
        assert np.isnan(tape.gradient(outputs, images)).any()


@fact("loss_per_sample", "losses.Dice", "losses.Tversky", "losses.dice", "losses.tversky")
def test_dice_and_tversky_have_one_value_for_the_whole_batch():
    """It gives one value for the batch: a sample of weight 0 counts.

    Unless an axis is given. A weight of 0 for a sample leaves that sample in.
    """
    for made, function in (losses.Dice, losses.dice), (losses.Tversky, losses.tversky):
        assert function(*BITS).shape == made(reduction=None)(*BITS).shape == ()
        weights = np.float32([1, 0, 0, 0, 0, 0, 0, 0])
        one, others = BITS[0][:1], BITS[1][:1]
        assert not np.isclose(made(reduction="sum")(*BITS, weights), made(reduction="sum")(one, others))
        assert made(axis=-1, reduction=None)(*BITS).shape == (8,)


@fact("optimizer_rate", "optimizers.Ftrl")
def test_ftrl_divides_by_the_learning_rate():
    """A warm-up that starts at 0 makes each weight nan."""
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.0, decay_steps=10, end_learning_rate=0.1)
    for made, broken in (keras.optimizers.Ftrl, True), (keras.optimizers.SGD, False):
        weight = keras.Variable([1.0, 2.0])
        made(warm_up).apply([tf.ones(2)], [weight])
        assert np.isnan(weight).all() == broken
