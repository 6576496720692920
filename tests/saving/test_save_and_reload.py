"""`docs/saving/save_and_reload.md`: every claim that the page makes, proved."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from checkup import checkup

from snippets.saving import save_and_reload
from snippets.saving.save_and_reload import Shift, absolute_error
from tests import contract
from tests.shown import shown
from tests.site import AS_A_READER, SITE

CASES = {"Shift": contract.Layer(lambda **kw: Shift(0.5, **kw), inputs=[(3,), (5, 3)])}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_the_loss_passes_the_checkup():
    truth = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    checkup(absolute_error, (truth, truth[::-1]), kind="loss").assert_clean()


@pytest.mark.proves("`Shift` adds a trainable shift to its inputs.")
@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3)])
def test_it_adds_what_it_starts_with(shape):
    layer = Shift(start=0.5)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_allclose(layer(x), x + 0.5, rtol=1e-6)
    layer.shift.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(x), x + np.float32([1, 2, 3]), rtol=1e-6)
    assert Shift().start == 0.0


@pytest.mark.proves(
    "its layers, its weights, its loss and its optimizer.",
    "`fit` goes on where it stopped: the optimizer's steps and moments are in the file, too.",
)
def test_the_file_holds_the_model_and_its_training(seed):
    page = shown(save_and_reload, "program", seed=seed)
    model, reloaded = page["model"], page["reloaded"]
    assert [type(layer) for layer in reloaded.layers] == [type(layer) for layer in model.layers]
    contract.assert_same(reloaded.get_weights(), model.get_weights())
    assert reloaded.loss is absolute_error
    assert reloaded.layers[0].start == 0.5
    for ours, theirs in zip(model.optimizer.variables, reloaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for each in (model, reloaded):
        keras.utils.set_random_seed(0)
        each.fit(page["x"], page["y"], epochs=3, verbose=0)
    contract.assert_same(reloaded.get_weights(), model.get_weights())


LOADS = """\
import sys, keras, numpy as np
if sys.argv[1:]:
    import save_and_reload
model = keras.saving.load_model("model.keras")
print(float(model(np.ones((1, 3), "float32"))[0, 0]))
"""


@pytest.mark.proves(
    "if its class or function is registered",
    "Registration happens when the module is imported. A program that loads the file imports the module that has the "
    "class first.",
)
def test_another_program_imports_the_module(tmp_path):
    model = shown(save_and_reload, "program")["model"]
    model.save(tmp_path / "model.keras")
    source = (SITE.snippets / "saving/save_and_reload.py").read_text("utf-8")
    (tmp_path / "save_and_reload.py").write_text(source, encoding="utf-8")
    imports, forgets = (
        subprocess.run(
            [sys.executable, "-c", LOADS, *given],
            cwd=tmp_path,
            env=AS_A_READER,
            capture_output=True,
            text=True,
            check=False,
        )
        for given in (["import"], [])
    )
    assert imports.returncode == 0, imports.stderr
    np.testing.assert_allclose(float(imports.stdout), float(model(np.ones((1, 3), "float32"))[0, 0]), rtol=1e-5)
    assert forgets.returncode
    assert "Could not locate class 'Shift'" in forgets.stderr


@pytest.mark.proves(
    "to be registered; a `lambda` is refused, and with `safe_mode=False` it comes back without the modules that it "
    "names"
)
def test_a_lambda_is_refused_in_safe_mode(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss=lambda y_true, y_pred: keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1))
    model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
    path = tmp_path / "model.keras"
    with pytest.warns(UserWarning, match="lambda"):
        model.save(path)
    with pytest.raises((ValueError, TypeError), match="lambda"):
        keras.saving.load_model(path)
    reloaded = keras.saving.load_model(path, safe_mode=False)
    with pytest.raises(NameError, match="'keras' is not defined"):
        reloaded.evaluate(np.ones((2, 3)), np.ones((2, 1)), verbose=0)


@pytest.mark.proves(
    "The file holds numbers and no classes, and is read into a model that you made yourself. It needs the same layers "
    "in the same order, and all of them built",
    "`load_weights` doesn't bring the optimizer of the first model, nor the `start` of its layer.",
)
def test_weights_alone(tmp_path):
    page = shown(save_and_reload, "program", "weights")
    model, same_shape = page["model"], page["same_shape"]
    contract.assert_same(same_shape.get_weights(), model.get_weights())
    assert same_shape.layers[0].start == 0.0
    assert getattr(same_shape, "optimizer", None) is None
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    other_order = keras.Sequential([keras.layers.Dense(1), Shift()])
    other_order.build((None, 3))
    with pytest.raises(ValueError, match="could not be loaded"):
        other_order.load_weights(path)
    unbuilt = keras.Sequential([Shift(), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="has not yet been built"):
        unbuilt.load_weights(path)
