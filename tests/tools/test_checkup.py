"""The checkup on the library of forms: which wrong ones it finds, for which reason; no right one is called wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from checkup import CHECKS, Report, check, checkup

from snippets.errors.check_your_own import Standardized
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
    report = report_on(form, form.right, only=FOUND.get(form.name))
    assert [one for one in report.findings if one.found != "None could be run."] == [], report


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(("cls", "arguments"), [(keras.layers.Dense, {"units": 3}), (Standardized, {"epsilon": 0.1})])
def test_a_right_layer_is_found_right_under_the_dtype_that_is_given(cls, arguments, dtype):
    report = checkup(cls, normal(8, 4), dtype=dtype, **arguments)
    report.assert_clean()
    assert {"each_dtype", "numbers_in_16_bits", "numbers_in_32_bits"} <= {*report.passed}
    checkup(cls(**arguments, dtype=dtype), normal(8, 4), leave_out=all_but("numbers_in_32_bits")).assert_clean()


def all_but(*names: str) -> dict[str, str]:
    """Leave out each check but these."""
    return {name: "another is tried" for name in CHECKS if name not in names}


def test_a_layer_that_overflows_is_found_under_the_dtype_that_is_given():
    form = next(form for form in FORMS if form.name == "squares in float16")
    report = checkup(form.wrong, form.inputs, leave_out=all_but("numbers_in_16_bits"), dtype="float16")
    assert [one.check for one in report.findings] == ["numbers_in_16_bits"]


LATE_GLOBAL = """
import keras, numpy as np, checkup

@keras.saving.register_keras_serializable("late")
class Scaled(keras.layers.Layer):
    def call(self, x):
        return K * x

    def compute_output_shape(self, input_shape):
        return input_shape

if __name__ == "__main__":
    K = 2.0
    leave_out = {name: "another" for name in checkup.CHECKS if name not in ("can_be_called", "file_round_trip")}
    report = checkup.checkup(Scaled, np.ones((4, 3), "float32"), leave_out=leave_out)
    print(len(report.findings), report.left["file_round_trip"])
"""


def test_a_global_of_a_guarded_part_of_a_script_is_named(tmp_path):
    Path(tmp_path, "late.py").write_text(LATE_GLOBAL, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(Path(sys.modules[checkup.__module__].__file__).parent)}
    command = [sys.executable, "late.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    told = "K isn't defined by the script in a new process: define it above the call of checkup, outside of `if __name"
    assert f"0 can't be run: {told}" in done.stdout, done.stdout + done.stderr


class Unmade(keras.losses.Loss):
    """Wrong: can't be made."""

    def __init__(self):
        raise ValueError("never")


class Uncalled(keras.layers.Layer):
    """Wrong: can't be called."""

    def call(self, inputs):
        raise ValueError("never")


def test_an_error_of_ones_own_check_is_told_where_nothing_can_be_tried():
    @check("layer", "loss")
    def own(case):
        case.make()(case.inputs)
        raise RuntimeError("mine")

    try:
        pair = normal(8, 3), normal(8, 3)
        only = all_but("own", "can_be_called", "can_be_made")
        for cls, inputs in ((Uncalled, pair[0]), (Unmade, pair)):
            report = checkup(cls, inputs, leave_out=only)
            assert "can't be run: " in report.left["own"]
            assert "ValueError: never" in report.left["own"]
        with pytest.raises(RuntimeError, match="mine"):
            checkup(keras.layers.Dense, pair[0], units=2, leave_out=only)
    finally:
        CHECKS.pop("own")


@pytest.mark.parametrize("reason", [None, "", " ", 3])
def test_a_check_is_left_out_for_a_reason(reason):
    with pytest.raises(ValueError, match="Give a reason why one_trace is left out"):
        checkup(keras.layers.Dense, normal(8, 3), units=2, leave_out={"one_trace": reason})


def test_what_is_left_out_by_name_does_not_hide_that_nothing_could_be_run():
    class Unshown(keras.layers.Layer):
        def get_config(self):
            raise ValueError("it has none")

    (found,) = checkup(Unshown(), normal(8, 3), leave_out=all_but("xla_call", "graph_call")).findings
    assert found.found == "None could be run."
    assert "a new one can't be made from the config of this object: ValueError: it has none" in found.fix
    assert checkup(Unshown(), normal(8, 3), leave_out=all_but()).clean


class Nothing(keras.regularizers.Regularizer):
    """Wrong: its number becomes 0."""

    def __init__(self, l2=0.5):
        self.l2 = int(l2)

    def __call__(self, x):
        return self.l2 * keras.ops.sum(keras.ops.square(x))


def test_a_penalty_that_is_0_is_no_penalty_that_acts():
    for penalty in (Nothing, keras.regularizers.L1L2):
        report = checkup(penalty, normal(6, 4), leave_out=all_but("regularizer_acts", "regularizer_values"))
        assert "is 0 for the example" in report.left["regularizer_acts"]
        report.assert_clean()


class Trained(keras.layers.Layer):
    """Wrong: seeds NumPy, and makes a function, in training."""

    def call(self, inputs, training=False):
        if training:
            np.random.seed(0)
            return tf.function(lambda x: 2 * x)(inputs)
        return 2 * inputs


@pytest.mark.parametrize("name", ["global_seeds", "one_trace"])
def test_what_is_done_in_training_only_is_found(name):
    assert [one.check for one in checkup(Trained, normal(8, 3), leave_out=all_but(name)).findings] == [name]


class Whole(keras.layers.Layer):
    """Wrong: makes a whole number of what it is given, and forgets another where it is the default."""

    def __init__(self, alpha=0.7, beta=1, **kwargs):
        super().__init__(**kwargs)
        self.alpha, self.beta = int(alpha), beta

    def call(self, inputs):
        return self.alpha * inputs

    def get_config(self):
        more = {"beta": self.beta} if self.beta == 1 else {}
        return {**super().get_config(), "alpha": self.alpha, **more}


@pytest.mark.parametrize("arguments", [{}, {"alpha": 0.3}])
def test_a_number_that_the_constructor_changes_is_found(arguments):
    report = checkup(Whole, normal(8, 3), leave_out=all_but("config_is_complete"), **arguments)
    assert [(one.tried, one.found) for one in report.findings] == [
        (f"Whole with alpha={arguments.get('alpha', 0.7)}, and get_config.", "alpha is 0 in the config."),
        ("Whole with beta=2, and get_config.", "beta=2 isn't in the config."),
    ]


def test_a_report_of_the_new_process_has_a_text_for_each_check(monkeypatch):
    monkeypatch.setenv("CHECKUP_DEFINES_CLASSES", "{}")
    assert checkup(keras.layers.Dense).left["each_dtype"] == ""
