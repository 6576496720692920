"""The checkup on the library of forms: which wrong ones it finds, for which reason; no right one is called wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
import yaml
from checkup import CHECKS, Report, checkup

from tests.tools.forms import FORMS, OBJECTS, Form
from tests.tools.forms.form import normal
from tests.tools.forms.unusual import UNUSUAL
from tests.tools.forms.unusual_layers import UNUSUAL_LAYERS

MISSED = {
    "an attribute that the recorded config doesn't follow": "it is changed by whoever uses the layer",
    "a function in the config": "Keras reloads it where it can be imported",
    "float64 through float32": "it may be meant",
    "a model that keeps its dtype to itself": "it may be meant",
    "statistics moved though frozen": "no check tries it",
    "supports_masking not declared": "Keras warns, and the report says that a mask ends there",
    "a mask that ends silently": "the report says that a mask ends there",
    "a bound lost in float16": "it shows at a bound only",
    "divided by the batch's largest error": "it may be meant",
}
"""Wrong forms that the checkup doesn't find, and why."""
FOUND = yaml.safe_load(Path(__file__).with_name("found.yaml").read_text(encoding="utf-8"))

RIGHT = [*UNUSUAL, *UNUSUAL_LAYERS]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with keras.saving.custom_object_scope(OBJECTS):
        yield


def report_on(form: Form, make: Any, only: str | None = None) -> Report:
    kind = form.kind if form.kind == "activation" else None
    others = {name: "another is tried" for name in CHECKS if name != only} if only else None
    return checkup(make, form.inputs, keywords=form.keywords or None, kind=kind, leave_out=others, **form.arguments)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.group}: {form.name}")
def test_a_wrong_form_is_found_for_its_reason(form):
    """By the check that is written down for it; what is missed is missed by each of them."""
    by = FOUND.get(form.name)
    told = [f"{one.check} {one.found}" for one in report_on(form, form.wrong, only=by).findings]
    assert any(re.search(form.says, one) for one in told) == bool(by) or form.unseen, told


def test_each_wrong_form_is_found_or_missed_for_a_reason():
    unseen = {form.name for form in FORMS if form.unseen}
    assert FOUND.keys() | MISSED.keys() | unseen == {form.name for form in FORMS}
    assert len(FOUND) + len(MISSED) + len(unseen) == len(FORMS) == len({form.name for form in FORMS})


def test_each_check_finds_a_form():
    """A check that no form turns red may be one that can't fail. Those that other tests register stand elsewhere."""
    own = {name for name, one in CHECKS.items() if one.run.__module__ == checkup.__module__}
    assert own == set(FOUND.values())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.group}: {form.name}")
def test_a_right_form_is_found_right(form):
    """By the check that finds the wrong one beside it; `make builtins` runs every check, and records."""
    report_on(form, form.right, only=FOUND.get(form.name)).assert_clean()


@pytest.mark.parametrize(("name", "make", "inputs", "keywords"), RIGHT, ids=[name for name, *_ in RIGHT])
def test_what_is_unusual_is_found_right(name, make, inputs, keywords):
    checkup(make, inputs, keywords=keywords or None).assert_clean()


@pytest.mark.parametrize("start", range(5))
def test_a_sigmoid_at_its_ends_is_not_taken_for_a_normalization(start):
    """Which would have to stand inputs that are 300 times larger in float16."""
    checkup(Saturated, normal(6, 3), seed=start).assert_clean()


@keras.saving.register_keras_serializable("forms")
class Saturated(keras.layers.Layer):
    """A sigmoid of a quadratic form."""

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        kernel = keras.initializers.GlorotUniform(self.seed)
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], input_shape[-1]), initializer=kernel)

    def call(self, inputs):
        return keras.ops.sigmoid(keras.ops.sum(keras.ops.matmul(inputs, self.kernel) * inputs, -1, keepdims=True))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def test_a_report_is_the_same_whatever_the_caller_has_drawn():
    def found(drawn):
        keras.utils.set_random_seed(drawn)
        form = next(form for form in FORMS if form.name == "the mean over the batch")
        return [(one.check, one.found) for one in checkup(form.wrong, form.inputs).findings]

    assert found(1) == found(2) != []


class Sorting(keras.losses.Loss):
    """Wrong: sorts the list that it is given."""

    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        levels.sort()
        self.levels = levels

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) * self.levels[0]

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}


def test_a_list_that_the_constructor_changes_is_found_and_stays_with_the_caller():
    levels = [3.0, 1.0, 2.0]
    report = checkup(Sorting, (normal(8, 3), normal(8, 3, seed=1)), levels=levels)
    assert [one.check for one in report.findings] == ["arguments_unchanged"]
    assert levels == [3.0, 1.0, 2.0]


@keras.saving.register_keras_serializable("forms")
def reversed_gradient(x):
    """Passes on what it is given, and the gradient with the other sign."""

    @tf.custom_gradient
    def function(x):
        return tf.identity(x), lambda upstream: -upstream

    return function(tf.convert_to_tensor(x))


def noisy(x):
    """Adds other noise in each call."""
    return x + keras.random.normal(keras.ops.shape(x), dtype=x.dtype)


@pytest.mark.parametrize(
    "make", [reversed_gradient, noisy, keras.optimizers.Adam(global_clipnorm=0.1), keras.initializers.HeNormal(seed=3)]
)
def test_right_functions_and_objects_are_found_right(make):
    kind = "activation" if callable(make) and not isinstance(make, keras.initializers.Initializer) else None
    checkup(make, normal(8, 3) if kind else None, kind=kind).assert_clean()
