"""`docs/errors/check_your_own.md`: the checkup finds what the page says, and leaves the rest of a program alone."""

from __future__ import annotations

import ast
import collections
import contextlib
import functools
import inspect
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import checkup as tool
import keras
import numpy as np
import pytest
import tensorflow as tf
from checkup import DoesNotApply, checkup

from snippets.errors import check_your_own
from snippets.errors.check_your_own import Squared, Standardized
from tests import contract
from tests.shown import shown
from tests.site import SITE
from tests.tools.forms import FORMS
from tests.tools.test_builtin import FACTS, RECORD
from tests.tools.test_checkup import FOUND, MISSED, RIGHT

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
CASES = {"Standardized": contract.Layer(lambda **kw: Standardized(0.1, **kw), inputs=[(4,), (7, 4)])}
CAUGHT = {
    "Standardize of layer_fails": contract.Wrong(check_your_own.Standardize, (4,), "rows_are_independent"),
    "Squared of loss_fails": contract.Wrong(Squared, (X[:, 1:2], X[:, :1]), "loss_shapes"),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.proves(
    "This one trains, and nothing is raised.",
    "Here the mean is taken over the batch, so that a prediction depends on its neighbours; a variable is float32 "
    "under any policy; and squares of 16 bits overflow.",
)
def test_the_wrong_layer_trains_and_is_found_wrong_three_times():
    wrong = shown(check_your_own, "layer_fails", "run")
    cls = wrong["Standardize"]
    model = keras.Sequential([keras.Input((4,)), cls()])
    model.compile(optimizer="sgd", loss="mse")
    losses = model.fit(X, X[:, ::-1], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert not np.allclose(cls()(X)[:2], cls()(X[:2]))
    for policy in contract.DTYPES:
        layer = cls(dtype=policy)
        layer.build(X.shape)
        assert layer.scale.dtype == "float32"
    large = np.float32([[300], [0], [-300]])
    assert np.ptp(cls(dtype="mixed_float16")(large)) == 0  # divided by inf
    assert np.ptp(cls()(large)) > 1
    found = [finding.check for finding in wrong["report"].findings]
    assert found == ["rows_are_independent", "each_dtype", "numbers_in_16_bits"]
    assert shown(check_your_own, "run", "mended").printed.endswith("findings: 0")


@pytest.mark.proves(
    "a failure shows the whole report.", "In a notebook, the report is a table if it is the last line of a cell."
)
def test_a_failure_shows_the_whole_report_and_a_notebook_a_table():
    report = checkup(Squared, (X[:, 1:2], X[:, :1]))
    with pytest.raises(AssertionError) as caught:
        report.assert_clean()
    assert str(report) in str(caught.value)
    for finding in report.findings:
        for text in (finding.tried, finding.found, finding.why, finding.fix):
            assert text in " ".join(str(report).split())
    table = report._repr_html_()
    assert table.count("<tr>") == len(report.findings) + len(report.passed) + len(report.left)
    assert "background" not in table


@pytest.mark.proves("On the command line, the exit status is 1 if something is found:")
@pytest.mark.parametrize(("subject", "status"), [("Standardize", 1), ("Standardized", 0), ("Gone", 2)])
def test_the_command_line(subject, status):
    code = Path(SITE.root, "snippets/errors")
    command = [sys.executable, str(Path(tool.__file__)), f"check_your_own:{subject}", "--input", "8x4", "epsilon=0.1"]
    done = subprocess.run(command, cwd=code, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("rows_are_independent" in done.stdout) == (subject != "Gone")


@pytest.mark.proves("It takes arrays and plain values: dicts of inputs, keywords, and layers as arguments need a test.")
def test_the_command_line_makes_arrays(capsys, monkeypatch, tmp_path):
    """Two of one shape have other numbers; an initializer gets the shape itself; what is no shape is refused."""
    Path(tmp_path, "mine.py").write_text(OF_TWO, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["checkup.py", *arguments])
        try:
            return tool.main()
        except SystemExit as exit:
            return exit.code

    assert run("mine:Difference", "--input", "8x4", "--input", "8x4") == 1
    assert "rows_are_independent" in capsys.readouterr().out
    assert run("keras.initializers:HeNormal", "--input", "64x32") == 0
    assert "initializer_values" in capsys.readouterr().out
    for wrong, said in (
        (("mine:Difference", "--input", "x=8x4"), "isn't a shape such as 8x4"),
        (("mine.py:Difference",), "Name the module, not the file: mine:Difference"),
        (("mine:Difference", "scale"), "isn't of the form name=value"),
        (("mine:Difference", "kind=b"), "kind is an argument of checkup: in a test, give the class one by functools"),
        (("mine:Difference", "--input", "8x4:string"), "'8x4:string': the command line makes numbers; strings need a"),
        (("keras.losses:LogCosh", "--input", "8x4"), "Give a loss the pair"),
    ):
        assert run(*wrong) == 2
        assert said in capsys.readouterr().err

    def broken(case):
        raise TypeError("my own check is broken")

    with only(broken, "initializer"), pytest.raises(TypeError, match="my own check is broken"):
        run("keras.initializers:HeNormal", "--input", "64x32")


OF_TWO = """
import keras

@keras.saving.register_keras_serializable("two")
class Difference(keras.layers.Layer):
    def call(self, inputs):
        left, right = inputs
        return left - keras.ops.mean(left - right, axis=0)
"""


def ended(folder, *command):
    """What a program printed that ended well, in a folder with its files."""
    env = {**os.environ, "PYTHONPATH": str(Path(tool.__file__).parent)}
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_blocks_of_the_page_are_one_script(tmp_path):
    """In the order of the page, where classes stand between the calls of `checkup`."""
    source = Path(check_your_own.__file__).read_text(encoding="utf-8")
    blocks = dict(re.findall(r"# --8<-- \[start:(\w+)\]\n(.*?) *# --8<-- \[end:", source, re.DOTALL))
    page = Path(SITE.docs, "errors/check_your_own.md").read_text(encoding="utf-8")
    names = re.findall(r"check_your_own\.py:(\w+)", page)
    assert set(names) == set(blocks)
    script = FEW_CHECKS + "".join(textwrap.dedent(blocks[name]) for name in names) + "print(report)"
    Path(tmp_path, "page.py").write_text(script, encoding="utf-8")
    printed = ended(tmp_path, "page.py").splitlines()
    assert printed[-1] == "✓ can_be_called, file_round_trip, each_dtype, has_a_docstring"
    assert "findings: 0" in printed


FEW_CHECKS = """
import checkup as tool

for name in {*tool.CHECKS} - {"can_be_called", "file_round_trip", "each_dtype"}:
    tool.CHECKS.pop(name)
"""


@pytest.mark.proves(
    "Saved models are loaded in a new process. It imports the modules of what the file holds, or runs your script "
    "again up to its classes, once for each object: on the way, each call of `checkup` there returns an empty report.",
    "A class that isn't defined there, since it stands inside of `if __name__`, is named beside ○, and so is a name "
    "that its code needs.",
    "What stands in a function, a class or a notebook, and any optimizer, is loaded in the same process, and that is "
    "all that a ✓ beside `file_round_trip` then means.",
)
def test_what_a_new_process_loads(tmp_path):
    for name, text in {"acts": ACTS, "parts": PARTS, "script": SCRIPT}.items():
        Path(tmp_path, f"{name}.py").write_text(text, encoding="utf-8")
    printed = ended(tmp_path, "script.py", "--rows", "6").splitlines()
    assert printed[:8] == [
        "Active in a new process",
        "Below in a new process",
        "First in a new process",
        "Second in a new process",
        "Active in a new process",
        "Active in a new process",
        "Active in this process",
        "Inside in this process",
    ]
    late, needy, guarded, again = printed[8:]
    assert "up to a call of checkup in a new process: NameError: name 'factor'" in late
    assert "can't be run: size isn't defined by the script in a new process: define it above the call" in needy
    assert "Guarded isn't defined by the script, which is run again there; define it above the call" in guarded
    assert again == "First in a new process"
    # This run, and one for each object of the script: First, Second, Active of cube, Late, Needy, Guarded, First.
    assert Path(tmp_path, "runs").read_text(encoding="utf-8").split() == ["start"] * 8


ACTS = """
import keras


@keras.saving.register_keras_serializable("mine")
def swish(x):
    return x * keras.ops.sigmoid(x)
"""
PARTS = """
import keras
import numpy as np
import checkup

ONLY = {name: "cheap" for name in checkup.CHECKS if name != "file_round_trip"}
PLACES = []
for name in ("load_here", "load_elsewhere"):
    def watched(*args, load=getattr(checkup, name), where=name):
        PLACES.append({"load_here": "this", "load_elsewhere": "a new"}[where])
        return load(*args)
    setattr(checkup, name, watched)


def told(subject, rows=4, **arguments):
    report = checkup.checkup(subject, np.ones((rows, 3), "float32"), leave_out=ONLY, **arguments)
    if report.passed:
        print(subject.__name__, "in", PLACES[-1], "process")
    else:
        print(report.left.get("file_round_trip") or [one.found for one in report.findings])


@keras.saving.register_keras_serializable("mine")
class Active(keras.layers.Layer):
    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


told(Active, activation="relu")


@keras.saving.register_keras_serializable("mine")
class Below(Active):
    pass


told(Below, activation="relu")
"""
SCRIPT = """
import argparse
import keras
import acts
from parts import Active, told

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, required=True)
rows = parser.parse_args().rows
register = keras.saving.register_keras_serializable("mine")
with open("runs", "a") as file:
    print("start", file=file)


@register
class First(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


told(First, rows)


@register
class Second(First):
    pass


@register
def cube(x):
    return x**3


class Outer:
    @register
    class Inside(First):
        pass


def test():
    @register
    def local(x):
        return x**4

    told(Active, activation=local)


told(Second, rows)
told(Active, activation=acts.swish)
told(Active, activation=cube)
test()
told(Outer.Inside)


class Late(keras.layers.Layer):
    def call(self, inputs):
        return factor * inputs


if __name__ != "__main__":
    told(First)
factor = 3
told(Late)


@register
class Needy(First):
    def call(self, inputs):
        return size * inputs


if __name__ == "__main__":
    size = 3
    told(Needy)

    @register
    class Guarded(First):
        pass

    told(Guarded)
    told(First)
"""


class Drawing(keras.layers.Layer):
    """Draws without a seed, from the generators that Keras and TensorFlow share."""

    def call(self, inputs):
        return inputs + keras.random.normal((4,)) + tf.random.normal((4,))


class Seeding(keras.layers.Layer):
    """Sets TensorFlow's seed."""

    def call(self, inputs):
        tf.random.set_seed(7)
        return 2 * inputs


@pytest.mark.proves(
    "Random states, the dtype policy and the eager mode are the same afterwards, but for TensorFlow's own seed if the "
    "class sets it by `tf.random.set_seed`."
)
def test_a_seed_that_the_class_sets_stays():
    drawn = []
    for subject in (None, Standardized, Seeding):
        keras.utils.set_random_seed(3)
        if subject:
            checkup(subject, X, leave_out={name: "cheap" for name in tool.CHECKS if name != "graph_call"})
        drawn.append((random.random(), np.random.random(), float(tf.random.normal(()))))
    assert drawn[0] == drawn[1]
    assert drawn[0][:2] == drawn[2][:2]
    assert drawn[0][2] != drawn[2][2]


@pytest.mark.proves("Random states, the dtype policy and the eager mode are the same afterwards")
@pytest.mark.parametrize("subject", [Standardized, Drawing])
def test_the_state_around_is_left_alone(subject):
    keras.utils.set_random_seed(3)
    expected = np.asarray(keras.random.normal((2,))), tf.random.normal((2,)).numpy()
    keras.utils.set_random_seed(3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    before = random.getstate(), np.random.get_state()[1].copy()
    tf.config.run_functions_eagerly(True)
    try:
        checkup(subject, X)
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.floatx() == "float32"
    np.testing.assert_array_equal(keras.random.normal((2,), dtype="float32"), expected[0])
    np.testing.assert_array_equal(tf.random.normal((2,)), expected[1])


def distance(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


KINDS = {
    "a layer": (Standardized, X, {"epsilon": 0.1}),
    "a model": (lambda **kw: keras.Sequential([keras.layers.Dense(2)], **kw), X, {}),
    "a loss": (keras.losses.LogCosh, (X[:, 1:], X[:, :3]), {}),
    "a loss function": (distance, (X[:, 1:], X[:, :3]), {}),
    "a loss function with other names": (lambda a, b: distance(a, b), (X[:, 1:], X[:, :3]), {}),
    "a metric": (keras.metrics.MeanSquaredError, (X[:, 1:], X[:, :3]), {}),
    "a metric function": (keras.metrics.mean_absolute_error, (X[:, 1:], X[:, :3]), {"kind": "metric function"}),
    "what makes an activation": (lambda: keras.activations.gelu, X, {"kind": "activation"}),
    "a regularizer's object": (keras.regularizers.L2(0.1), X, {}),
    "an activation": (keras.activations.gelu, X, {"kind": "activation"}),
    "a regularizer": (keras.regularizers.L2, X, {}),
    "a constraint": (keras.constraints.MaxNorm, X, {}),
    "an initializer": (keras.initializers.HeNormal, (6, 4), {}),
    "an optimizer": (keras.optimizers.Adam, None, {}),
    "a schedule": (keras.optimizers.schedules.CosineDecay, None, {"initial_learning_rate": 0.1, "decay_steps": 10}),
    "an object": (keras.layers.Dense(3), X, {}),
}


@pytest.mark.proves(
    "In place of a class, give a function that makes an object and takes keyword arguments such as `dtype`, or an "
    "object, which is made again from its config.",
    "a loss, a metric | its class or function, and `(y_true, y_pred)`; for a metric's function "
    '`kind="metric function"`',
    'an activation | the function, an array, and `kind="activation"`',
    "an initializer | its class, and a shape",
    "an optimizer | its class alone",
    "a schedule | its class, and the arguments of its constructor",
    "a regularizer, a constraint | its class or an object, and an array",
)
@pytest.mark.parametrize(("subject", "inputs", "arguments"), KINDS.values(), ids=KINDS)
def test_each_kind_of_object_is_tried_and_found_right(subject, inputs, arguments):
    report = checkup(subject, inputs, **arguments)
    report.assert_clean()
    assert len(report.passed) >= 2
    assert not any("can't be run" in reason for reason in report.left.values())


@pytest.mark.proves(
    "a layer, a model | its class, one batch for `call`, and the arguments of its constructor; "
    '`keywords={"context": …}` for further tensors',
    'a recurrent cell | the same, with its states: `keywords={"states": [h]}`',
)
def test_further_tensors_are_given_by_their_names():
    report = checkup(
        keras.layers.MultiHeadAttention,
        X.reshape(4, 2, 4),
        keywords={"value": X.reshape(4, 2, 4)},
        num_heads=1,
        key_dim=2,
        leave_out={"config_is_complete": "its config leaves flash_attention out"},
    )
    assert "graph_call" in report.passed
    report = checkup(keras.layers.SimpleRNNCell, X, keywords={"states": [X[:, :3]]}, units=3)
    report.assert_clean()
    assert "cell_states" in report.passed
    with pytest.raises(TypeError, match="decay_steps"):
        keras.optimizers.schedules.CosineDecay(0.1)


@pytest.mark.proves("Give four rows or more, and three steps of a sequence, of the kind that you will have.")
def test_how_many_rows_and_steps_are_needed():
    steps = np.stack([X] * 3, axis=1)
    assert "one_trace" in checkup(Standardized, X[:4]).passed
    assert "under 4 rows" in checkup(Standardized, X[:3]).left["one_trace"]
    assert "3 steps or more" not in checkup(Standardized, steps).left["mask_goes_on"]
    assert "3 steps or more" in checkup(Standardized, steps[:, :2]).left["mask_goes_on"]


def test_a_function_is_tried_with_the_arguments_that_are_given():
    def power(x, p=2.0):
        return keras.ops.power(x, p)

    checkup(power, X, kind="activation").assert_clean()
    assert not checkup(power, X, kind="activation", p=-0.5).clean
    with pytest.raises(ValueError, match="For kind='regularizer' give the class or an object"):
        checkup(power, X, kind="regularizer")


def test_what_can_not_be_tried_is_not_clean():
    class Unmade(keras.layers.Layer):
        def get_config(self):
            raise ValueError("it has none")

    with pytest.raises(AssertionError, match="None could be run"):
        checkup(Unmade(), X).assert_clean()
    with pytest.raises(ValueError, match=r"the pair \(y_true, y_pred\)"):
        checkup(Squared, X)
    with pytest.raises(ValueError, match="There is no kind 'activations'"):
        checkup(keras.activations.relu, X, kind="activations")
    with pytest.raises(ValueError, match="object already: epsilon"):
        checkup(Standardized(), X, epsilon=0.1)


def test_dropout_that_is_always_on_is_not_called_off():
    class Always(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dropout = keras.layers.Dropout(0.5, dtype=self.dtype_policy)

        def call(self, inputs):
            return self.dropout(inputs, training=True)

    class Never(Always):
        def call(self, inputs):
            return self.dropout(inputs, training=False)

    for cls, said, why in (
        (Always, "acts with training=False, too", "predict"),
        (Never, "should act", "is off in fit"),
    ):
        with only(tool.training_flag, "layer"):
            (found,) = checkup(cls, X).findings
        assert said in found.found
        assert why in found.why


@pytest.mark.proves("A check that doesn't fit is left out by its name, with a reason that the report repeats:")
def test_a_check_that_is_left_out():
    report = checkup(Standardized, X, leave_out={"one_trace": "for a reason"})
    assert report.left["one_trace"].endswith("for a reason")
    assert "one_trace" not in report.passed
    with pytest.raises(ValueError, match=r"no check 'one_trase'.*one_trace"):
        checkup(Standardized, X, leave_out={"one_trase": "misspelt"})
    with pytest.raises(TypeError, match="Give leave_out a dict"):
        checkup(Standardized, X, leave_out=["one_trace"])


class Thrice(keras.layers.Layer):
    """Uses one layer three times."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(4)] * 3

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs


@pytest.mark.proves(
    "Layers that are shared on purpose, such as `[Dense(4)] * 3`, are a finding of `separate_objects`: leave it out "
    "then."
)
def test_layers_that_are_shared_on_purpose():
    with only(tool.separate_objects, "layer"):
        (found,) = checkup(Thrice, X).findings
        assert found.found == "3 entries are 1 layer."
        assert checkup(Thrice, X, leave_out={"separate_objects": "on purpose"}).clean


@pytest.mark.proves(
    "An error in it is raised by `checkup`, unless the object can't be made or called: then, and with `raise "
    'DoesNotApply("why")`, imported from `checkup`, the reason stands beside ○.',
    "`assert_clean` looks at ✗ only: read ○ once.",
)
def test_a_check_of_ones_own_that_raises():
    class Uncalled(keras.layers.Layer):
        def call(self, inputs):
            raise ValueError("never")

    def own(case):
        return case.layer.biass

    def unfit(case):
        raise DoesNotApply("it has no bias")
        yield

    try:
        tool.check("layer")(own)
        with pytest.raises(AttributeError, match="biass"):
            checkup(Standardized, X)
        assert "own" in checkup(Standardized, X, leave_out={"own": "it raises"}).left
        assert "can't be run: the call raises ValueError: never" in checkup(Uncalled, X).left["own"]
        tool.CHECKS.pop("own")
        tool.check("layer")(unfit)
        report = checkup(Standardized, X)
        report.assert_clean()
        assert report.left["unfit"] == "doesn't apply: it has no bias"
    finally:
        tool.CHECKS.pop("own", None)
        tool.CHECKS.pop("unfit", None)


@contextlib.contextmanager
def only(function, *kinds):
    """Let a check of one's own be the only one."""
    before = dict(tool.CHECKS)
    tool.CHECKS.clear()
    try:
        tool.check(*kinds)(function)
        yield
    finally:
        tool.CHECKS.clear()
        tool.CHECKS.update(before)


WRONG_CHECKS = {
    "a text": (lambda: iter(["wrong"]), "yielded 'wrong'"),
    "nothing": (lambda: iter([None]), "yielded None"),
    "three texts": (lambda: iter([("tried", "found", "why")]), r"yielded \('tried', 'found', 'why'\)"),
    "six texts": (lambda: iter([("a", "b", "c", "d", "e", "f")]), "yielded"),
    "a number": (lambda: iter([("tried", 3.5, "why", "fix")]), "yielded"),
    "True, returned": (lambda: True, "returned True"),
    "False, returned": (lambda: False, "returned False"),
    "a text, returned": (lambda: "wrong", "returned 'wrong'"),
    "four texts, returned": (lambda: ("a", "b", "c", "d"), "yielded 'a'"),
}


@pytest.mark.parametrize(("gives", "said"), WRONG_CHECKS.values(), ids=WRONG_CHECKS)
def test_a_check_that_yields_something_else_is_named(gives, said):
    def mistaken(case):
        return gives()

    line = mistaken.__code__.co_firstlineno
    told = rf"The check mistaken \(test_check_your_own.py, line {line}\) {said}.*Yield four texts for each finding"
    with only(mistaken, "initializer"), pytest.raises(TypeError, match=told):
        checkup(keras.initializers.Ones, (2, 2))


def test_a_check_that_can_not_be_registered():
    def can_be_called(case):
        """Of one's own, under the name of another."""

    with pytest.raises(ValueError, match="can_be_called is a check of this module: give your own another name"):
        tool.check("layer")(can_be_called)
    assert tool.CHECKS["can_be_called"].run is tool.can_be_called
    with pytest.raises(ValueError, match="There is no kind 'layers'"):
        tool.check("layers")
    for wrong in ((), (can_be_called,)):
        with pytest.raises(TypeError, match=r'in parentheses: @check\("layer", "model"\)'):
            tool.check(*wrong)
    with pytest.raises(TypeError, match="A check is a function of one case"):
        tool.check("layer")(functools.partial(can_be_called))


class Averaged(keras.layers.Layer):
    """Keeps a moving mean in training."""

    def build(self, input_shape):
        size = (input_shape[-1],)
        self.mean = self.add_weight(shape=size, trainable=False, initializer="zeros", name="mean")
        self.bias = self.add_weight(shape=size, initializer="zeros", name="bias")

    def call(self, inputs, training=False):
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * keras.ops.mean(inputs, axis=0))
        return inputs - self.mean + self.bias


@pytest.mark.proves(
    "For a layer or a model, `layer = case.layer` is one that has been called, its trainable weights moved away from "
    "their start.",
    "`case.run(training=True)` calls it on your inputs, from the same values of its variables each time; reading "
    "`case.layer` again restores these, too. A Python attribute, a `tf.Variable` that Keras doesn't know and global "
    "random numbers go on:",
)
@pytest.mark.parametrize("subject", [Averaged, lambda **kw: keras.Sequential([Averaged()], **kw)])
def test_the_layer_of_a_case(subject):
    seen = []

    def sees(case):
        layer = case.layer
        bias, mean = layer.weights
        seen.append((layer.built, bool(np.all(bias)), bool(np.any(mean))))
        first, moved = np.asarray(case.run(training=True)), np.array(mean)
        again, twice = np.asarray(case.run(training=True)), np.array(mean)
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(moved, twice)
        np.testing.assert_allclose(moved, 0.5 * X.mean(axis=0), atol=1e-6)
        seen.append((bool(np.any(mean)), case.layer is layer, bool(np.any(mean))))

    with only(sees, "layer", "model"):
        checkup(subject, X)
    assert seen == [(True, True, False), (True, True, False)]


class Going(keras.layers.Layer):
    """Counts in Python and in a variable of TensorFlow's, and draws from a global generator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls, self.count, self.drawn = 0, tf.Variable(0.0, trainable=False), 0.0

    def call(self, inputs):
        self.calls += 1
        self.count.assign_add(1)
        self.drawn = np.random.random()
        return inputs


def test_what_goes_on_in_the_layer_of_a_case():
    seen = []

    def sees(case):
        for _ in range(2):
            case.run()
            seen.append((case.layer.calls, float(case.layer.count), case.layer.drawn))

    with only(sees, "layer"):
        checkup(Going, X)
    one, two = seen
    assert one[:2] == (2, 2.0)
    assert two[:2] == (3, 3.0)
    assert one[2] != two[2]


@pytest.mark.proves(
    "It yields what it tried, what it found, why that matters and how to fix it, and yields nothing if all is well. "
    "`case.make()` makes an object of any kind, which hasn't been called; `case.inputs` are your inputs."
)
@pytest.mark.parametrize(
    ("kind", "subject", "inputs", "cls"),
    [
        ("layer", Averaged, X, Averaged),
        ("loss", keras.losses.LogCosh, (X, X), keras.losses.LogCosh),
        ("metric", keras.metrics.Mean, (X, X), keras.metrics.Mean),
        ("initializer", keras.initializers.Ones, (3, 4), keras.initializers.Ones),
        ("optimizer", keras.optimizers.SGD, None, keras.optimizers.SGD),
        ("regularizer", keras.regularizers.L2, X, keras.regularizers.L2),
        ("activation", keras.activations.relu, X, type(keras.activations.relu)),
    ],
)
def test_a_check_of_ones_own_on_each_kind(kind, subject, inputs, cls):
    def sees(case):
        assert type(case.make()) is cls
        assert not getattr(case.make(), "built", False) or kind == "metric"
        if inputs is not None:
            keras.tree.map_structure(np.testing.assert_array_equal, case.inputs, inputs)

    def reads(case):
        return case.layer

    with only(sees, kind):
        assert checkup(subject, inputs).passed == ["sees"]
    if kind != "layer":
        told = f"case.layer and case.run are for layers and models: case.make.. makes a {kind}"
        with only(reads, kind), pytest.raises(TypeError, match=told):
            checkup(subject, inputs)


def test_the_check_of_the_page():
    try:
        shown(check_your_own, "run", "own")

        class Untold(keras.layers.Layer):
            def call(self, inputs):
                return inputs

        Untold.__doc__ = None
        found = [finding for finding in checkup(Untold, X).findings if finding.check == "has_a_docstring"]
        assert [(one.found, one.fix) for one in found] == [("There is none.", "Write one.")]
    finally:
        tool.CHECKS.pop("has_a_docstring", None)


def checks_table() -> list[str]:
    """A row for each check: what has to hold, and the wrong forms of the library that it finds."""
    rows = []
    for name, one in tool.CHECKS.items():
        holds = inspect.getdoc(one.run).splitlines()[0]
        forms = "; ".join(form.replace("**kwargs", "`**kwargs`") for form, by in FOUND.items() if by == name)
        rows.append(f"`{name}`: {holds} | {forms or 'none'}")
    return rows


def keras_table() -> list[str]:
    """A row for each fact about Keras: the objects, and what is so."""
    facts: dict[str, list[str]] = {}
    for (name, _), test in FACTS.items():
        facts.setdefault(inspect.getdoc(test).splitlines()[0], []).append(name.partition(".")[2])
    return [f"{', '.join(f'`{name}`' for name in dict.fromkeys(names))} | {words}" for words, names in facts.items()]


def shown_table(anchor: str) -> list[str]:
    """The rows of the table below a heading of the page."""
    _, _, below = Path(SITE.docs, "errors/check_your_own.md").read_text(encoding="utf-8").partition(f"{{ #{anchor} }}")
    lines = below.partition("\n## ")[0].splitlines()
    return [line.strip("| ") for line in lines if line.startswith("| ") and line != "|---"][1:]


@pytest.mark.proves(
    "`can_be_called`: It can be made and called on the example, with finite numbers. | a weight made in "
    "call; a kernel sized by the steps; the logarithm of 0; a default that is emptied",
    "`leaves_its_start`: No weight starts at a zero from which no gradient leads away. | two factors that"
    " start at zero",
    "`gradient_at_special_inputs`: Outputs and gradient are finite for inputs of zeros and for equal "
    "inputs. | the root of 0; the norm of zeros; where behind a division; the distance to weights that "
    "start at 0; a division by the length of zeros",
    "`different_starts`: No two weights start with the same random numbers. | one initializer for two "
    "weights; one seed for two weights",
    "`separate_objects`: Two objects share no weight, and no list inside holds one layer several times. |"
    " one layer three times in a list; weights in a class attribute",
    "`file_round_trip`: Saved and loaded in a new process, inside of models of each kind, it gives equal "
    "outputs. | a NumPy array in the config; a layer that isn't made from the config again; integer keys "
    "in the config; a class that isn't registered; an inner layer that is built twice; a lambda in a "
    "Lambda layer; a random array instead of a weight; weights made in the order of a set; a seed from "
    "hash(); adapted statistics in an array; a model's build that builds nothing; a model's build that "
    "makes layers; weights written and not read; a model's build for one of two arguments; a model of two"
    " arguments without a build",
    "`graph_call`: A call inside `tf.function` with an unknown batch size gives the numbers of an eager "
    "call, for one row too. | a reshape to shape[0]; an if on a tensor; NumPy in call; a Python loop over"
    " the rows; the clock read in call",
    "`added_losses`: Each loss that it adds is one finite number, in 16 bits too, and counts once. | a "
    "loss appended to self.losses; an added loss that is a vector; an added loss in float16; an inner "
    "loss added again; an added loss over the rows of the example; a loss added in build",
    "`numbers_in_16_bits`: In 16 bits the numbers stay near those of float32, for inputs that are large, "
    "small, constant and long. | softmax without the maximum; squares in float16; an epsilon lost in "
    "float16; a log of a sum of powers; a running mean in 16 bits; a mask of -1e9 in float16; softplus of"
    " large inputs; an epsilon that float16 loses for zeros",
    "`numbers_in_32_bits`: In float32 the numbers stay near those of float64, for inputs around 1,000 "
    "too. | a variance that cancels; softmax in 32 bits without the maximum",
    "`mask_is_used`: What stands in padded steps doesn't change the outputs for the others, if the layer "
    "says that it takes masks. | a mean that counts padding; a mean over all steps; an inverted mask; a "
    "maximum with padding at 0; statistics that count padding; a softmax that counts padding; neighbours "
    "that are padding; an LSTM that isn't told; np.all on a mask; -1e9 times a mask in float16",
    "`mask_inside`: Zeros behind integers don't count, if an embedding inside says that 0 is padding. | "
    "an embedding's mask that is lost; an embedding's mask lost in a model",
    "`mask_of_each_input`: Of several inputs with time steps, the padding of each is left out. | the "
    "first input's mask only; the first mask for two sequences",
    "`mask_goes_on`: The mask leaves a layer that keeps the time axis, with the shape of its output. | a "
    "mask with a further axis; a mask of all steps for half of them",
    "`own_train_step`: A `train_step` of its own calls the model in training, uses weights and the "
    "layers' losses, and reports them. | a step's metric that isn't reset; a step without training=True; "
    "a step without the layers' losses; a step that drops sample weights; a step that reports 0; weights "
    "that shrink at learning rate 0",
    "`loss_shapes`: Targets of shape (n,) and (n, 1) give the same loss, or an error. | (n,) against (n, 1)",
    "`loss_gradients`: The gradient is finite, also for a perfect prediction and for predictions of 0 and"
    " 1, and isn't 0 everywhere. | the logarithm of a sigmoid; nan at a perfect prediction; rounded "
    "predictions; 0 / 0 for a prediction of zeros; no gradient for the worst",
    "`loss_in_16_bits`: For predictions in 16 bits the loss is near that of the same numbers in float32. "
    "| a float32 constant in a loss",
    "`metric_value`: It gives a finite result for your data, and follows them. | a minimum that starts at 0",
    "`metric_resets`: After `reset_state` it starts again, and two objects share nothing. | not reset; "
    "half reset; 0 / 0 before the first batch; a result that changes the state; a maximum reset to 0; one"
    " metric inside of all objects",
    "`metric_weights`: A sample of weight 0 doesn't count, one of weight 2 counts twice. | sample weights"
    " ignored by a metric; samples counted without weights; sample weights applied twice; a metric that "
    "takes no weights",
    "`metric_shapes`: Targets of shape (n,) and (n, 1) give the same result, or an error. | a metric that broadcasts",
    "`metric_in_16_bits`: It counts in 32 bits: 4,000 predictions in float16 give the result of float32. "
    "| a count in float16",
    "`optimizer_rate`: The learning rate acts: at 0 nothing moves, and a schedule is followed. | the "
    "learning rate's schedule ignored",
    "`optimizer_separates`: The steps of one weight are no others if another weight of its shape was "
    "trained before. | one velocity for two weights",
    "`optimizer_at_zero`: With gradients of zero no weight becomes nan, and no noise repeats itself. | 0 "
    "/ 0 for a gradient of 0; the same noise at each step",
    "`schedule_value`: For Python integers and for tensors, in a graph too, it gives the same rate: one "
    "finite number, not negative. | a schedule with an if; a schedule that is infinite at 0; a schedule "
    "below 0; steps in float16",
    "`regularizer_values`: It returns one finite number that isn't negative, with a finite gradient, also"
    " at zero and in 16 bits. | a penalty for each column; a negative penalty; a penalty with a nan "
    "gradient; a penalty in float16",
    "`constraint_values`: It keeps shape and dtype, in a graph too, gives finite numbers, and changes "
    "nothing if it is applied again. | a constraint that shrinks again; a constraint in float32; a "
    "constraint that divides by 0; a constraint of another shape; a constraint by NumPy; a constraint "
    "that drops weights; a constraint that leaves nothing",
    "`activation_values`: It keeps the dtype, gives finite numbers and gradients for large inputs and in "
    "16 bits. | a sigmoid that overflows; an activation in float32; a float32 constant in an activation; "
    "an activation whose slope is infinite; noise of one seed in an activation",
)
def test_the_table_of_checks():
    assert shown_table("checks") == checks_table(), "\n".join(f"| {row} |" for row in checks_table())


@pytest.mark.proves(
    "It was run on the 325 objects that Keras 3.15.1 exports",
    "`UnitNormalization` | In float16 it makes zeros of numbers around 300, and nan of zeros.",
    "`Dice`, `Tversky`, `dice`, `tversky` | It gives one value for the batch: a sample of weight 0 counts.",
    "`Ftrl` | A warm-up that starts at 0 makes each weight nan.",
)
def test_the_table_of_facts_about_keras():
    """`tests/tools/test_builtin.py` has the programs."""
    assert shown_table("keras") == keras_table(), "\n".join(f"| {row} |" for row in keras_table())
    assert (sum(RECORD["tried"].values()), RECORD["keras"]) == (325, "3.15.1")


@pytest.mark.proves(
    "A run takes seconds of CPU time: of Keras's 137 layers half take less than 2, nine in ten less than 7, and the "
    "five dearest, recurrent ones such as `GRU` among them, 7 to 18, as the machine is. Most other objects take less "
    "than 1. The first run takes some 5 more, to start the new process."
)
def test_what_it_costs():
    """Measured with the process that loads files. Another machine took half as long again: its figures hold, too."""
    seconds = RECORD["seconds"]
    layers = seconds["layers"]
    assert RECORD["tried"]["layer"] == 137
    assert layers["median"] < 2
    assert layers["ninth decile"] < 7
    assert len(layers["dearest"]) == 5
    assert "layers.GRU" in layers["dearest"]
    assert all(7 <= taken < 18 for taken in layers["dearest"].values())
    assert seconds["others"]["median"] < 1
    assert 4 <= seconds["first run"] <= 6


@pytest.mark.proves(
    "It was tried on 296 wrong forms of layers, models and all else, each beside its right form, and on 70 right ones "
    "that are unusual",
    "It finds 284 of the wrong forms, and calls no right form wrong.",
)
def test_how_many_forms_are_found():
    """`tests/tools/test_checkup.py` tries each of them."""
    assert (len(FORMS), len(RIGHT), len(FOUND)) == (296, 70, 284)
    assert not RECORD["right forms called wrong"]


@pytest.mark.proves(
    "statistics that move in a frozen layer, a row that is all padding, a bound that float16 rounds away in a loss | "
    "no check tries it"
)
def test_what_no_check_tries():
    """The first and the third are forms of the library that are missed; here is the other."""

    class Pooled(keras.layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            wide = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
            shares = keras.ops.ones_like(wide[..., 0]) if mask is None else keras.ops.cast(mask, wide.dtype)
            mean = keras.ops.sum(wide * shares[..., None], axis=1) / keras.ops.sum(shares, axis=1)[..., None]
            return keras.ops.cast(mean, inputs.dtype)

        def compute_mask(self, inputs, previous_mask=None):
            return None

        def compute_output_shape(self, input_shape):
            return input_shape[0], input_shape[2]

    checkup(Pooled, np.stack([X] * 5, axis=1)).assert_clean()
    assert np.isnan(Pooled()(np.stack([X] * 5, axis=1), mask=np.zeros((8, 5), bool))).all()

    assert {"statistics moved though frozen", "a bound lost in float16"} <= set(MISSED)


@keras.saving.register_keras_serializable("checked")
class Unweighted(keras.Model):
    """A model whose loss drops weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1, dtype=self.dtype_policy)

    def call(self, inputs):
        return self.dense(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(keras.ops.cast(y, y_pred.dtype) - y_pred))


@keras.saving.register_keras_serializable("checked")
class Unasked(Unweighted):
    """One whose loss doesn't take weights."""

    def compute_loss(self, x=None, y=None, y_pred=None, training=True):
        return super().compute_loss(y=y, y_pred=y_pred)


@keras.saving.register_keras_serializable("checked")
class Negative(Unweighted):
    """One whose loss climbs."""

    def compute_loss(self, *args, **kwargs):
        return -super().compute_loss(*args, **kwargs)


@keras.saving.register_keras_serializable("checked")
class Stepping(Unweighted):
    """One whose own step uses the loss that drops weights."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(scaled, self.trainable_variables), self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, outputs, sample_weight=sample_weight)
        return {metric.name: metric.result() for metric in self.metrics}


@pytest.mark.proves(
    "a `compute_loss` that drops sample weights, doesn't take them, or is negative, in a model without a `train_step` "
    "| no check tries it"
)
def test_a_compute_loss_is_tried_in_a_train_step_only():
    def fitted(cls, **options):
        model = cls()
        model.compile(loss="mse")
        return model.evaluate(X, X[:, :1], verbose=0, **options)

    assert fitted(Unweighted, sample_weight=np.zeros(8)) > 0.1
    assert fitted(Negative) < 0
    with pytest.raises(TypeError, match="compute_loss"):
        fitted(Unasked)
    for cls in (Unweighted, Unasked, Negative):
        checkup(cls, X).assert_clean()
    assert "With sample_weight 0" in str(checkup(Stepping, X))


def swish(x):
    return x * keras.ops.sigmoid(x)


@pytest.mark.proves(
    "an attribute that is changed after the layer was made, a registered function that `get_config` holds as it is | "
    "the config may be right",
    "that the class isn't registered, in a script, a notebook, a function or another class | it is handed to "
    "`load_model`",
)
def test_what_a_config_holds():
    """An attribute that is changed is a form of the library that is missed."""

    class Bare(keras.layers.Layer):
        def __init__(self, activation=swish, **kwargs):
            super().__init__(**kwargs)
            self.activation = activation

        def call(self, inputs):
            return self.activation(inputs)

        def get_config(self):
            return {**super().get_config(), "activation": self.activation}

        @classmethod
        def from_config(cls, config):
            return cls(**{**config, "activation": keras.activations.get(config["activation"])})

    class AllOnes(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.ones(shape, dtype)

        def get_config(self):
            return {}

    class Doubling(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

        def compute_output_shape(self, input_shape):
            return input_shape

    (unregistered,) = checkup(Bare, X).findings
    assert unregistered.check == "config_round_trip"
    keras.saving.get_custom_objects()["swish"] = swish
    try:
        checkup(Bare, X).assert_clean()
    finally:
        keras.saving.get_custom_objects().pop("swish")
    checkup(AllOnes, (3, 4)).assert_clean()
    checkup(Doubling, X).assert_clean()  # it stands in a function, the next in a class
    checkup(Holder.Doubling, X).assert_clean()
    (inside,) = checkup(keras.layers.Dense, X, units=2, kernel_initializer=AllOnes()).findings
    assert inside.check == "config_round_trip"
    assert "register_keras_serializable" in inside.fix
    assert {"an attribute that the recorded config doesn't follow"} <= set(MISSED)


class Holder:
    """Holds a class that isn't registered."""

    class Doubling(keras.layers.Layer):
        """Doubles."""

        def call(self, inputs):
            return 2 * inputs

        def compute_output_shape(self, input_shape):
            return input_shape


class Distance(keras.losses.Loss):
    """The mean distance."""

    def call(self, y_true, y_pred):
        return distance(y_true, y_pred)


class MeanDistance(keras.metrics.MeanMetricWrapper):
    """The mean distance, of all samples."""

    def __init__(self, name="distance", dtype=None):
        super().__init__(keras.metrics.mean_absolute_error, name, dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


class Descent(keras.optimizers.SGD):
    """Keras's, under another name."""


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """Falls with the steps."""

    def __call__(self, step):
        return 0.1 / (1 + keras.ops.cast(step, "float32"))

    def get_config(self):
        return {}


class Squares(keras.regularizers.Regularizer):
    """A tenth of the squares."""

    def __call__(self, x):
        return 0.1 * keras.ops.sum(keras.ops.square(keras.ops.cast(x, "float32")))

    def get_config(self):
        return {}


class Drawn(keras.initializers.Initializer):
    """Draws without a seed."""

    def __call__(self, shape, dtype=None):
        return keras.ops.cast(np.random.default_rng().normal(size=shape), dtype or "float32")

    def get_config(self):
        return {}


@pytest.mark.proves(
    "that a loss, metric, optimizer, schedule, regularizer, initializer or activation isn't | it is handed to Keras, "
    "or not saved",
    "an initializer that no seed repeats | it may be meant",
)
@pytest.mark.parametrize("subject", [Distance, MeanDistance, Descent, Falling, Squares, Drawn, swish])
def test_what_is_no_layer_is_not_asked_whether_it_is_registered(subject):
    inputs = {Distance: (X[:, 1:], X[:, :3]), MeanDistance: (X[:, 1:], X[:, :3]), Drawn: (3, 4)}
    checkup(subject, inputs.get(subject, X), kind="activation" if subject is swish else None).assert_clean()
    assert subject not in keras.saving.get_custom_objects().values()


class Passing(keras.layers.Layer):
    """Passes its input on."""

    def call(self, inputs):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("checked")
class Sloped(Passing):
    """A slope that acts on nothing."""

    def __init__(self, negative_slope=0.1, start="zeros", **kwargs):
        super().__init__(**kwargs)
        self.negative_slope, self.start = negative_slope, start

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs):
        return keras.ops.relu(inputs) + self.bias

    def get_config(self):
        return {**super().get_config(), "negative_slope": self.negative_slope, "start": self.start}


@keras.saving.register_keras_serializable("checked")
class Sloping(Sloped):
    """An initializer that acts on nothing, named as Keras's are."""

    def __init__(self, bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.bias_initializer = bias_initializer

    def get_config(self):
        return {**super().get_config(), "bias_initializer": self.bias_initializer}


@keras.saving.register_keras_serializable("checked")
class Summed(Passing):
    """Adds a loss that grows with the batch."""

    def call(self, inputs):
        self.add_loss(keras.ops.sum(keras.ops.square(keras.ops.cast(inputs, "float32"))))
        return inputs


@pytest.mark.proves(
    "an argument in the config only, such as `negative_slope` | its name says nothing of an effect",
    "an added loss that sums over the batch, an initializer that no seed repeats | it may be meant",
    "`arguments_act` knows an argument by its name's end: `kernel_initializer` beside such a weight, `dropout`.",
)
def test_what_may_be_meant_by_an_argument_and_a_loss():
    for cls in (Sloped, Summed):
        checkup(cls, X).assert_clean()
    (found,) = checkup(Sloping, X).findings
    assert (found.check, found.found) == ("arguments_act", "bias_initializer changes nothing.")


@keras.saving.register_keras_serializable("checked")
class Queued(Passing):
    """Fills a deque."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = collections.deque()

    def call(self, inputs):
        self.seen.append(1)
        return inputs


@keras.saving.register_keras_serializable("checked")
class Counted(Passing):
    """Reads an iterator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.numbers = itertools.count()

    def call(self, inputs):
        next(self.numbers)
        return inputs


@keras.saving.register_keras_serializable("checked")
class Tallied(Passing):
    """Counts in its class."""

    calls = 0

    def call(self, inputs):
        Tallied.calls += 1
        return inputs


@keras.saving.register_keras_serializable("checked")
class Slotted(Passing):
    """Counts in a slot."""

    __slots__ = ("calls",)

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Slotted.calls.__set__(self, 0)

    def call(self, inputs):
        Slotted.calls.__set__(self, self.calls + 1)
        return inputs


@keras.saving.register_keras_serializable("checked")
class Listed(Queued):
    """Fills what it is made with."""

    kind = list

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = self.kind()

    def call(self, inputs):
        if isinstance(self.seen, list):
            self.seen.append(1)
        elif isinstance(self.seen, set):
            self.seen.add(len(self.seen))
        elif isinstance(self.seen, dict):
            self.seen[str(len(self.seen))] = 1
        elif isinstance(self.seen, np.ndarray):
            self.seen += 1
        else:
            self.seen = self.seen * 2 + type(self.seen)("1")
        return inputs


@pytest.mark.proves(
    "a call that changes a deque, an iterator, a class attribute or an attribute of `__slots__` | it isn't compared",
    "`python_state`: A call changes no number, text, list, set, dict or array among the attributes of the layer.",
)
def test_which_python_values_are_compared(monkeypatch):
    for cls in (Queued, Counted, Tallied, Slotted):
        checkup(cls, X).assert_clean()
    with only(tool.python_state, "layer"):
        for kind in (int, str, list, set, dict, lambda: np.zeros(2)):
            monkeypatch.setattr(Listed, "kind", staticmethod(kind))
            (found,) = checkup(Listed, X).findings
            assert found.found.startswith("seen changed")


@keras.saving.register_keras_serializable("checked")
class Precise(keras.metrics.Metric):
    """The share of right ones among what is predicted positive: 0 / 0 where nothing is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.right, self.found, self.seen = (
            self.add_variable((), "zeros", name=name) for name in ("right", "found", "seen")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        weights = keras.ops.ones_like(y_pred) if sample_weight is None else keras.ops.reshape(sample_weight, (-1, 1))
        y_true = keras.ops.reshape(keras.ops.cast(y_true, "float32"), keras.ops.shape(y_pred))
        found = keras.ops.cast(y_pred > 0.5, "float32") * keras.ops.cast(weights, "float32")
        self.right.assign_add(keras.ops.sum(found * y_true))
        self.found.assign_add(keras.ops.sum(found))
        self.seen.assign_add(keras.ops.sum(keras.ops.ones_like(found)))

    def result(self):
        return keras.ops.where(self.seen > 0, self.right / self.found, 0.0)


@pytest.mark.proves("`metric_value`: It gives a finite result for your data, and follows them.")
def test_a_metric_is_tried_on_the_data_that_are_given():
    targets, shares = (X[:, :1] > 0).astype("float32"), 1 / (1 + np.exp(-X[:, 1:2]))
    with only(tool.metric_value, "metric"):
        checkup(Precise, (targets, shares)).assert_clean()
        assert not checkup(Precise, (targets, 0.1 * shares)).clean


class Off(keras.layers.Layer):
    """A product whose gradient is a part too large."""

    def __init__(self, part, **kwargs):
        super().__init__(**kwargs)
        self.part = part

    def call(self, inputs):
        @tf.custom_gradient
        def twice(x):
            return 2 * x, lambda upstream: 2 * (1 + self.part) * upstream

        return twice(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.proves(
    "a gradient that is off by less than two parts in a thousand | it is compared with a slope that is measured"
)
@pytest.mark.parametrize(("part", "found"), [(0.2, True), (0.003, True), (-0.003, True), (0.001, False)])
def test_a_gradient_that_is_a_little_off_is_not_found(part, found):
    report = checkup(Off, X, part=part)
    assert ("true_gradients" in [finding.check for finding in report.findings]) == found


@pytest.mark.proves(
    "a mask that ends at a layer, a layer that `TimeDistributed` can't ask for its shape, a `train_step` that doesn't "
    "scale its loss | it may not be wanted; the report says so beside ○"
)
def test_what_is_told_and_is_no_finding():
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    report = checkup(Doubled, np.stack([X] * 5, axis=1))
    report.assert_clean()
    assert "a mask ends at it" in report.left["mask_goes_on"]
    assert "compute_output_shape" in report.left["inside_time_distributed"]

    class Stepped(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(1, dtype=self.dtype_policy)
            self.mean_loss = keras.metrics.Mean(name="loss")

        def call(self, inputs, training=False):
            return self.dense(inputs)

        def train_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            self.mean_loss.update_state(loss)
            return {"loss": self.mean_loss.result()}

    report = checkup(Stepped, X)
    assert "scale_loss" in report.left["own_train_step"], report


@pytest.mark.proves("It needs Python, NumPy, TensorFlow and Keras only.")
def test_what_the_module_needs():
    nodes = ast.walk(ast.parse(Path(tool.__file__).read_text(encoding="utf-8")))
    imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    nodes = ast.walk(ast.parse(Path(tool.__file__).read_text(encoding="utf-8")))
    imported += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    roots = {name.partition(".")[0] for name in imported}
    assert roots - sys.stdlib_module_names == {"keras", "numpy", "tensorflow"}


def test_a_file_is_reloaded_where_the_folder_of_an_earlier_checkup_is_gone():
    tool.helper.cache_clear()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        checkup(Standardized, X).assert_clean()
    report = checkup(
        lambda **kw: keras.Sequential([keras.layers.Dense(2)], **kw), X
    )  # of this module, which looks there
    report.assert_clean()
    assert "file_round_trip" in report.passed
