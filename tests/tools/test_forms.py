"""The library of forms holds what it says: right forms are called, saved and reloaded; wrong forms can be made."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

from tests.tools.forms import FORMS, OBJECTS, Form
from tests.tools.forms.unusual import UNUSUAL
from tests.tools.forms.unusual_layers import UNUSUAL_LAYERS

GROUPS = {
    "weights",
    "config",
    "file",
    "calls",
    "dtype",
    "training",
    "mask",
    "gradients",
    "graph",
    "loss",
    "metric",
    "other",
}

RIGHT = [*UNUSUAL, *UNUSUAL_LAYERS]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """The classes of the forms, which stand in other modules than this one, are found in files; warnings are theirs."""
    with keras.saving.custom_object_scope(OBJECTS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def called(thing: Any, inputs: Any, keywords: dict[str, Any]) -> Any:
    """What a layer or a model returns for a batch."""
    return thing(tree.map_structure(tf.constant, inputs), **tree.map_structure(tf.constant, keywords))


def descend(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Two weights of one shape after steps towards 1 and 2."""
    weights = [keras.Variable(np.zeros(3)), keras.Variable(np.zeros(3))]
    for _ in range(30):
        optimizer.apply([weights[0] - 1.0, weights[1] - 2.0], weights)
    return [weight.numpy() for weight in weights]


def call(form: Form, make: Callable[..., Any]) -> Any:
    """Make one and call it as its kind is called."""
    if form.kind == "activation":
        return make(tf.constant(form.inputs))
    if form.kind == "loss" and not isinstance(make, type):  # a function
        return make(*map(tf.constant, form.inputs))
    return used(make(), form.inputs, form.keywords)


def used(thing: Any, inputs: Any, keywords: dict[str, Any]) -> Any:
    """What comes out of a thing, whatever its kind."""
    match thing:
        case keras.optimizers.Optimizer():
            return descend(thing)
        case keras.optimizers.schedules.LearningRateSchedule():
            return [thing(step) for step in (0, 1, 15, 100)]
        case keras.initializers.Initializer():
            return thing((6, 4), dtype="float32")
        case keras.regularizers.Regularizer() | keras.constraints.Constraint():
            return thing(tf.constant(inputs))
        case keras.losses.Loss():
            return thing(*inputs)
        case keras.metrics.Metric():
            thing.update_state(*inputs)
            return thing.result()
    return called(thing, inputs, keywords)


def is_finite(outputs: Any) -> bool:
    """Whether all numbers of a structure are finite."""
    return all(np.isfinite(np.asarray(tf.cast(one, "float64"))).all() for one in tree.flatten(outputs))


def reloaded(thing: Any, inputs: Any, keywords: dict[str, Any], folder: Path) -> Any:
    """The same layer or model, out of the file of a model that holds it."""
    path = folder / "model.keras"
    if isinstance(thing, keras.Model) and not keywords:
        thing.save(path)
        return keras.models.load_model(path)
    shaped = tree.map_structure(lambda one: keras.Input(one.shape[1:], dtype=one.dtype), inputs)
    further = tree.map_structure(lambda one: keras.Input(one.shape[1:], dtype=one.dtype), keywords)
    model = keras.Model([shaped, further], thing(shaped, **further))
    model.save(path)
    return keras.models.load_model(path).get_layer(thing.name)


def assert_reloads(thing: Any, inputs: Any, keywords: dict[str, Any], folder: Path) -> None:
    """Weights that were moved come back, and so do the outputs."""
    called(thing, inputs, keywords)
    for weight in thing.weights:
        if "float" in weight.dtype:
            weight.assign(weight * 0.9 + 0.05)
    outputs = called(thing, inputs, keywords)
    again = called(reloaded(thing, inputs, keywords, folder), inputs, keywords)
    for one, other in zip(tree.flatten(outputs), tree.flatten(again), strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), atol=1e-5, rtol=1e-5)


def named(name: str) -> Form:
    """The form of a name."""
    return next(form for form in FORMS if form.name == name)


RELOADED = [form for form in FORMS if form.kind in ("layer", "model")]


def test_there_are_enough_of_each_group():
    assert {form.group for form in FORMS} == GROUPS
    assert len(FORMS) >= 90
    assert len({form.name for form in FORMS}) == len(FORMS)


def test_each_form_can_be_recognized():
    for form in FORMS:
        re.compile(form.says)
        for make in form.wrong, form.right:
            documented = getattr(make, "func", make).__doc__ or ""
            assert documented, form.name


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_right_form_is_called_and_finite(form):
    assert is_finite(call(form, form.right))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_wrong_form_can_be_made_and_called_unless_it_raises(form):
    if form.raises:
        with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
            call(form, form.wrong)
    else:
        call(form, form.wrong)


@pytest.mark.parametrize("form", RELOADED, ids=lambda form: form.name)
def test_the_right_form_is_saved_and_reloaded(form, tmp_path):
    assert_reloads(form.right(), form.inputs, form.keywords, tmp_path)


@pytest.mark.parametrize("name", [form.name for form in RELOADED])
def test_the_right_form_takes_each_dtype(name):
    form = next(form for form in RELOADED if form.name == name)
    for dtype in "float64", "float16", "bfloat16", "mixed_float16":
        try:
            thing = form.right(dtype=dtype)
        except TypeError:
            return  # a functional model has the dtypes of its layers
        assert is_finite(called(thing, form.inputs, form.keywords)), dtype


@pytest.mark.parametrize(("name", "make", "inputs", "keywords"), RIGHT, ids=[name for name, *_ in RIGHT])
def test_what_is_unusual_is_called_and_finite(name, make, inputs, keywords):
    thing = make if isinstance(make, keras.Model) else make()
    assert is_finite(tree.map_structure(tf.math.abs, used(thing, inputs, keywords)))


LAYERS = [one for one in RIGHT if one[3] == {} and one[0] not in ("a stateful RNN", "text in, integers out")]
"""Those whose file is tried: of the others one has a fixed batch, one takes strings."""


@pytest.mark.parametrize(("name", "make", "inputs", "keywords"), LAYERS, ids=[name for name, *_ in LAYERS])
def test_what_is_unusual_is_saved_and_reloaded(name, make, inputs, keywords, tmp_path):
    thing = make if isinstance(make, keras.Model) else make()
    if not isinstance(thing, keras.layers.Layer):
        assert type(thing).from_config(thing.get_config()).get_config() == thing.get_config()
    else:
        assert_reloads(thing, inputs, keywords, tmp_path)


@pytest.mark.parametrize(
    "form", [form for form in FORMS if "track" in form.says and form.group == "weights"], ids=lambda form: form.name
)
def test_weights_are_hidden_from_keras(form):
    """Fewer weights are trained than the tape watches."""
    for make, hidden in (form.wrong, True), (form.right, False):
        thing = make()
        called(thing, form.inputs, form.keywords)
        with tf.GradientTape() as tape:
            called(thing, form.inputs, form.keywords)
        watched = {id(variable) for variable in tape.watched_variables()}
        tracked = {id(weight.value) for weight in thing.trainable_weights}
        if form.name != "a layer made in call":  # whose weights are others in each call
            assert (watched > tracked) == hidden


@pytest.mark.parametrize(
    "form", [form for form in FORMS if "rows?" in form.says and form.group != "graph"], ids=lambda form: form.name
)
def test_rows_depend_on_other_rows(form):
    """The last row alone gives another output than it does beside the others."""
    for make, depends in (form.wrong, True), (form.right, False):
        whole_of = make if form.kind == "activation" else make()
        whole = called(whole_of, form.inputs, form.keywords)
        last = {name: one[-1:] for name, one in form.keywords.items()}
        alone = called(whole_of, form.inputs[-1:], last)
        same = np.allclose(np.asarray(whole)[-1:], np.asarray(alone), atol=1e-5)
        assert same != depends


@pytest.mark.parametrize("form", [form for form in FORMS if form.says == r"(?i)shape"], ids=lambda form: form.name)
def test_another_shape_is_declared(form):
    for make, wrong in (form.wrong, True), (form.right, False):
        if not (form.raises and wrong) and form.kind == "layer":
            layer = make()
            came = called(layer, form.inputs, form.keywords).shape
            assert (tuple(layer.compute_output_shape(form.inputs.shape)) != tuple(came)) == wrong


@pytest.mark.parametrize("name", ["the root of 0", "the norm of zeros", "where behind a division"])
def test_gradients_are_nan_or_infinite(name):
    form = named(name)
    for make, wrong in (form.wrong, True), (form.right, False):
        thing = make if form.kind == "activation" else make()
        x = tf.constant(form.inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = thing(x)
        assert is_finite(tape.gradient(outputs, x)) != wrong


@pytest.mark.parametrize(
    "form",
    [form for form in FORMS if form.group == "mask" and isinstance(form.inputs, np.ndarray) and "padd" in form.says],
    ids=lambda form: form.name,
)
def test_padding_is_counted_or_the_mask_is_lost(form):
    """With a mask the padding's numbers don't matter to what counts, and the mask goes on where the steps do."""
    mask = np.any(form.inputs != 0, axis=-1)
    mean = keras.layers.GlobalAveragePooling1D()
    for make, wrong in (form.wrong, True), (form.right, False):
        layer, means = make(), []
        for padding in 0.0, 7.0:
            x = tf.constant(np.where(mask[..., None], form.inputs, padding).astype("float32"))
            x._keras_mask = tf.constant(mask)
            outputs = layer(x)
            means.append(np.asarray(mean(outputs) if len(outputs.shape) == 3 else outputs))
        same = np.allclose(*means, atol=1e-4)
        if form.name in ("a mean over all steps", "a maximum with padding at 0", "a softmax that counts padding"):
            short = layer(tf.constant(form.inputs[1:2, :4]))
            same = same and np.allclose(np.asarray(short)[0], means[0][1], atol=1e-4)
        assert same != wrong
