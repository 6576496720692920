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


@pytest.mark.proves("The state of `Dropout`'s random numbers and the order of the rows aren't.")
@pytest.mark.parametrize(("rate", "shuffle", "same"), [(0.0, False, True), (0.0, True, False), (0.5, False, False)])
def test_random_numbers_go_on_elsewhere(tmp_path, rate, shuffle, same):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    dropout = keras.layers.Dropout(rate)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), dropout, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, x[:, :1], shuffle=shuffle, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    for process, each in enumerate((model, reloaded)):
        keras.utils.set_random_seed(process)  # of what isn't in the file
        each.fit(x, x[:, :1], shuffle=shuffle, verbose=0)
    pairs = zip(model.get_weights(), reloaded.get_weights(), strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs) == same


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
    "to be registered; a `lambda` is refused. With `safe_mode=False`, the `lambda` of a loss or of a `Lambda` layer is "
    "loaded, and raises a `NameError` where it names a module; that of an activation isn't loaded"
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

    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    for function, names_a_module in ((lambda t: 2 * t, False), (lambda t: keras.ops.tanh(t), True)):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(function)])
        model.save(path)
        with pytest.raises(ValueError, match="lambda"):
            keras.saving.load_model(path)
        reloaded = keras.saving.load_model(path, safe_mode=False)
        if names_a_module:
            with pytest.raises(NameError, match="'keras' is not defined"):
                reloaded(x)
        else:
            np.testing.assert_allclose(reloaded(x), model(x))

        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation=function)])
        with pytest.warns(UserWarning, match="lambda"):
            model.save(path)
        for safe_mode in (True, False):
            with pytest.raises(TypeError, match="Could not interpret activation function identifier"):
                keras.saving.load_model(path, safe_mode=safe_mode)

    model = keras.Sequential([keras.Input((3, 1)), keras.layers.SimpleRNN(1, activation=lambda t: 2 * t)])
    with pytest.warns(UserWarning, match="lambda"):
        model.save(path)
    with pytest.raises(ValueError, match="Could not interpret activation function identifier"):
        keras.saving.load_model(path, safe_mode=False)


@pytest.mark.proves(
    "The file holds numbers and no classes, and is read into a model that you made yourself. Make the same layers with "
    "weights in the same order, and build all of them:",
    "The `start` of the layer isn't in the file. `load_weights` doesn't check the order of layers of different "
    "classes, and leaves out a layer that only the file has, silently: what a weight file goes by.",
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

    def loaded(*layers) -> keras.Model:
        other = keras.Sequential([keras.Input((3,)), *layers])
        other.load_weights(path)  # a warning would be an error
        return other

    x = page["x"]
    with_dropout = loaded(Shift(), keras.layers.Dropout(0.5), keras.layers.Dense(1))
    np.testing.assert_allclose(with_dropout(x), model(x), rtol=1e-5)
    np.testing.assert_allclose(loaded(Shift())(x), x + model.layers[0].shift, rtol=1e-5)  # without the Dense
    with pytest.raises(ValueError, match="could not be loaded"):
        loaded(Shift(), keras.layers.Dense(1), keras.layers.Dense(1))

    square = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), Shift(start=0.5)])
    square.save_weights(path)
    dense, shift = loaded(Shift(), keras.layers.Dense(3)).layers[::-1]
    contract.assert_same([*dense.get_weights(), *shift.get_weights()], square.get_weights())
    assert np.abs(dense(shift(x)) - square(x)).max() > 0.1


@pytest.mark.proves(
    "If the first model was compiled, its optimizer's steps, moments and learning rate are in the file too. They "
    "silently replace those of the second model, if its optimizer has as many variables: after `fit`, and for SGD "
    "without momentum before it too. To keep its own, compile after loading."
)
def test_the_weights_of_a_compiled_model_bring_its_optimizer(tmp_path):
    x, path = np.random.default_rng(0).normal(size=(64, 3)).astype("float32"), tmp_path / "model.weights.h5"

    def compiled(optimizer, epochs: int) -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(optimizer=optimizer, loss="mse")
        if epochs:
            model.fit(x, x[:, :1], epochs=epochs, verbose=0)
        return model

    def of(model) -> list[np.ndarray]:
        return [np.asarray(variable) for variable in model.optimizer.variables]

    first = compiled("adam", 3)
    first.save_weights(path)
    fitted = compiled(keras.optimizers.Adam(0.5), 1)
    assert int(fitted.optimizer.iterations) == 2
    fitted.load_weights(path)  # a warning would be an error
    assert int(fitted.optimizer.iterations) == 6
    assert float(fitted.optimizer.learning_rate) == pytest.approx(0.001)
    contract.assert_same(of(fitted), of(first))

    built = compiled(keras.optimizers.Adam(0.5), 0)
    built.optimizer.build(built.trainable_variables)
    built.load_weights(path)
    contract.assert_same(of(built), of(first))

    not_built, fewer = compiled(keras.optimizers.Adam(0.5), 0), compiled(keras.optimizers.SGD(0.5), 1)
    for kept, steps in ((not_built, 0), (fewer, 2)):
        with pytest.warns(UserWarning, match="Skipping variable loading"):
            kept.load_weights(path)
        contract.assert_same(kept.get_weights(), first.get_weights())
        assert (int(kept.optimizer.iterations), float(kept.optimizer.learning_rate)) == (steps, 0.5)

    plain_sgd = compiled(keras.optimizers.SGD(0.5), 1)
    plain_sgd.save_weights(tmp_path / "sgd.weights.h5")
    not_fitted = compiled(keras.optimizers.SGD(0.01), 0)
    not_fitted.load_weights(tmp_path / "sgd.weights.h5")
    assert (int(not_fitted.optimizer.iterations), float(not_fitted.optimizer.learning_rate)) == (2, 0.5)

    later = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    later.load_weights(path)
    later.compile("adam", "mse")
    assert int(later.optimizer.iterations) == 0

    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    plain.save_weights(path)
    with pytest.warns(UserWarning, match="the saved optimizer has 0 variables"):
        fitted.load_weights(path)
    assert int(fitted.optimizer.iterations) == 6
