"""`docs/saving/weights.md`: every claim that the page makes, proved."""

from __future__ import annotations

import warnings
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np
import pytest
import yaml
from keras import layers, ops

from snippets.saving import weights
from snippets.saving.weights import LowRank, TrainableSwish, copy_by_name, from_pytorch, load_part, network
from tests import contract
from tests.saving.record_pytorch import RECORD, numbers, state
from tests.shown import Shown, definitions, maker, shown

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
register = keras.saving.register_keras_serializable
sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def low_rank(**kwargs) -> LowRank:
    return LowRank(layers.Dense(3, dtype=kwargs.get("dtype")), rank=2, **kwargs)


LAYERS = {
    "TrainableSwish": contract.Layer(lambda **kw: TrainableSwish(**kw), inputs=[(4,), (5, 4)]),
    "LowRank": contract.Layer(low_rank, inputs=[(4,), (5, 4)]),
}
CAUGHT = {
    "InASet of set_fails": contract.Wrong(
        maker("InASet", weights, "set_fails"), (4,), by="file_round_trip", says="outputs differ"
    ),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


def dense(name: str, units: int = 4, **kwargs) -> layers.Dense:
    return layers.Dense(units, name=name, **kwargs)


def sequential(*given: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *given])


def functional(*given: keras.layers.Layer) -> keras.Model:
    x = inputs = keras.Input((4,))
    for layer in given:
        x = layer(x)
    return keras.Model(inputs, x)


def fill(model: keras.Model, seed: int) -> None:
    """Other numbers in each weight."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))


def place(weight: keras.Variable) -> str:
    return "/".join(weight.path.split("/")[-2:])


def loaded(old: keras.Model, new: keras.Model, folder: Path, **options: Any) -> tuple[str, dict[str, str | None]]:
    """What `load_weights` says, and where each weight of the new model comes from: of the old one, or its own."""
    path = folder / "old.weights.h5"
    return origins_in(new, path, numbers_saved(old, path), **options)


def numbers_saved(old: keras.Model, path: Path) -> list[tuple[str, np.ndarray]]:
    """Each number of the file, with its place in the old model."""
    fill(old, 1)
    old.save_weights(path)
    return [(place(weight), weight.numpy()) for weight in old.weights]


def origins_in(
    new: keras.Model, path: Path, saved: list[tuple[str, np.ndarray]], **options: Any
) -> tuple[str, dict[str, str | None]]:
    fill(new, 2)
    before = new.get_weights()
    said = ""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            new.load_weights(path, **options)
        said = "".join(str(one.message) for one in caught if issubclass(one.category, UserWarning))
    except ValueError as error:
        said = f"raises: {error}"
    origins = {}
    for weight, own in zip(new.weights, before, strict=True):
        same = [where for where, one in saved if one.shape == own.shape and np.allclose(one, weight, atol=1e-2)]
        origins[place(weight)] = None if np.array_equal(weight, own) else same[0]
    return said, origins


def kernels(origins: dict[str, str | None]) -> dict[str, str | None]:
    """By layers, if all weights of a layer have one origin."""
    by_layer: dict[str, set] = {}
    for where, origin in origins.items():
        by_layer.setdefault(where.split("/")[0], set()).add(origin and origin.split("/")[0])
    assert all(len(found) == 1 for found in by_layer.values()), by_layer
    return {layer: found.pop() for layer, found in by_layer.items()}


def eagerly(*names: str) -> Shown:
    """Sections of the page, which train in eager steps: these take less time than the graphs of the page."""
    always = property(lambda self: True, lambda self, value: None)
    with mock.patch.object(keras.Model, "run_eagerly", always):
        return shown(weights, *names)


@pytest.fixture(scope="module")
def anew(readers) -> Iterator[Callable]:
    """Calls a function in a new process, one for all tests: a file that this one wrote is loaded there."""
    page = readers.page()
    yield page.call
    page.end()


# --- the program ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`load_part` loads a file, and returns the paths of the weights that it didn't set. The body comes from the old "
    "model, and the head is new:",
    "`objects_to_skip` takes layers, also layers inside layers, and a `.weights.h5` file.",
)
def test_the_program(tmp_path):
    page = shown(weights, "program")
    old, new = page["old"], page["new"]
    assert page["missing"] == ["new/head/kernel", "new/head/bias"]
    for mine, their in zip(new.weights[:-2], old.weights[:-2], strict=True):
        np.testing.assert_array_equal(mine, their)
    assert not np.array_equal(new.layers[0].kernel, network(5, "other").layers[0].kernel)
    kernel, bias = old.layers[0].get_weights()
    gamma, beta, mean, variance = old.layers[1].get_weights()
    assert np.abs(mean).max() > 0
    hidden = (X @ kernel + bias - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    hidden = hidden * sigmoid(old.layers[2].slope * hidden)
    kernel, bias = new.layers[3].get_weights()
    np.testing.assert_allclose(new(X), hidden @ kernel + bias, rtol=1e-3, atol=1e-5)
    old.save(tmp_path / "old.keras")
    with pytest.raises(ValueError, match=r"`objects_to_skip` only supports loading '\.weights\.h5' files"):
        load_part(new, tmp_path / "old.keras", objects_to_skip=[new.layers[-1]])


class TwoInside(layers.Layer):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.out = dense("inner"), dense("out", units)

    def build(self, shape):
        self.inner.build(shape)
        self.out.build((*shape[:-1], 4))

    def call(self, inputs):
        return self.out(self.inner(inputs))


def test_layers_inside_layers_are_skipped(tmp_path):
    new = TwoInside(3)
    said, origins = loaded(sequential(TwoInside()), sequential(new), tmp_path, objects_to_skip=[new.out])
    assert (said, kernels(origins)) == ("", {"inner": "inner", "out": None})
    said, origins = loaded(
        sequential(TwoInside()), sequential(whole := TwoInside(3)), tmp_path, objects_to_skip=[whole]
    )
    assert (said, set(origins.values())) == ("", {None})


@pytest.mark.proves(
    "Without it loading raises here, but not before the body is loaded: after the exception, the model is a mixture.",
)
def test_after_the_exception_the_model_is_a_mixture(tmp_path):
    old, new = network(3, "old"), network(5, "new")
    said, origins = loaded(old, new, tmp_path)
    assert said.startswith("raises: A total of 1 objects could not be loaded")
    assert kernels(origins) == {"features": "features", "norm": "norm", "swish": "swish", "head": None}
    fill(new, 3)
    head = new.layers[-1].get_weights()
    with pytest.raises(ValueError, match="The shape of the target variable"):
        load_part(new, tmp_path / "old.weights.h5")
    contract.assert_same(new.layers[-1].get_weights(), head)
    contract.assert_same(new.get_weights()[:-2], old.get_weights()[:-2])


class OddWeights(layers.Layer):
    """Weights that aren't float32."""

    def build(self, shape):
        for name, dtype in (("steps", "int32"), ("seen", "bool"), ("b", "bfloat16"), ("h", "float16"), ("u", "uint8")):
            self.add_weight(name=name, shape=(), dtype=dtype, initializer="zeros", trainable=False)

    def call(self, inputs):
        return inputs


def test_load_part_sees_weights_of_each_dtype(tmp_path):
    path = tmp_path / "odd.weights.h5"
    old, new = sequential(OddWeights()), sequential(OddWeights())
    for value in (0, 1):
        for weight in new.weights:
            weight.assign(value)
        old.save_weights(path)  # zeros, as a new layer has them
        assert load_part(new, path) == []
        assert not any(np.any(weight) for weight in new.get_weights())
        for weight in new.weights:
            weight.assign(value)
        sequential(layers.ReLU()).save_weights(tmp_path / "none.weights.h5")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            missing = load_part(new, tmp_path / "none.weights.h5", skip_mismatch=True)
        assert missing == [weight.path for weight in new.weights]
        assert all(np.all(weight == value) for weight in new.get_weights())


@pytest.mark.proves("Compile the new model afterwards. The file also holds the state of the old optimizer.")
def test_the_state_of_the_old_optimizer(tmp_path):
    page = eagerly("program")
    path = tmp_path / "old.weights.h5"
    page["old"].save_weights(path)
    new = network(5, "new")
    new.compile("adam", "mse")
    new.optimizer.build(new.trainable_variables)
    with pytest.raises(ValueError, match=r"object <keras\.src\.optimizers\.adam\.Adam"):
        load_part(new, path, objects_to_skip=[new.layers[-1]])
    assert new.optimizer.iterations == page["old"].optimizer.iterations > 0
    page["new"].compile("adam", "mse")
    page["new"].fit(X, np.ones((8, 5)), verbose=0)
    assert page["new"].optimizer.iterations == 1


def loads_in_a_new_process(path: Path) -> tuple[list[str], list[np.ndarray]]:
    module = definitions(weights.__name__)
    new = module.network(5, "new")
    missing = module.load_part(new, path, objects_to_skip=[new.layers[-1]])
    return missing, new.get_weights()


def test_a_new_process_loads_the_body_and_what_wraps_it(anew, tmp_path):
    page = eagerly("program", "by_name", "wrap")
    page["old"].save_weights(tmp_path / "old.weights.h5")
    missing, found = anew(loads_in_a_new_process, tmp_path / "old.weights.h5")
    assert missing == ["new/head/kernel", "new/head/bias"]
    contract.assert_same(found[:-2], page["old"].get_weights()[:-2], atol=0)
    adapted = page["adapted"]
    layer = adapted.get_layer("adapted")
    layer.up.assign(ops.ones_like(layer.up))
    adapted.save(tmp_path / "adapted.keras")
    found = anew(contract.load_and_call, tmp_path / "adapted.keras", weights.__name__, X)
    np.testing.assert_array_equal(found, adapted(X))
    again = keras.saving.load_model(tmp_path / "adapted.keras")
    assert len(again.trainable_weights) == len(adapted.trainable_weights) == 2 + 2 + 1 + 2


# --- what a file goes by --------------------------------------------------------------------------------------------


def body(*names: str) -> list[keras.layers.Layer]:
    return [*(dense(name) for name in names), dense("head", 2)]


def branches(first: str, second: str) -> keras.Model:
    inputs = keras.Input((4,))
    branch = {name: dense(name)(inputs) for name in "ab"}
    return keras.Model(inputs, layers.Concatenate()([branch[first], branch[second]]))


class Doubles(layers.Dense):
    """Another class."""


def twice(name: str) -> keras.Model:
    inputs, layer = keras.Input((4,)), dense(name)
    return keras.Model(inputs, dense("head", 2)(layer(layer(inputs))))


RIGHT = {"a": "a", "b": "b", "head": "head"}
NOTHING = "received 0 variables"
SHAPES = "The shape of the target variable"
norm = layers.LayerNormalization
CHANGES: dict[str, tuple[list, list, str, dict]] = {
    "renamed": (body("a", "b"), [dense("x"), dense("y"), dense("z", 2)], "", {"x": "a", "y": "b", "z": "head"}),
    "another activation": (body("a", "b"), [dense("a", activation="relu"), *body("b")], "", RIGHT),
    "another dtype": (body("a", "b"), [dense("a", dtype="float16"), *body("b")], "", RIGHT),
    "without weights put in": (body("a", "b"), [layers.Dropout(0.5), dense("a"), layers.ReLU(), *body("b")], "", RIGHT),
    "without weights removed": ([layers.ReLU(), dense("a"), layers.ReLU(), *body("b")], body("a", "b"), "", RIGHT),
    "classes exchanged": ([dense("a"), norm(name="b")], [norm(name="b"), dense("a")], "", {"a": "a", "b": "b"}),
    "exchanged": (body("a", "b"), body("b", "a"), "", {"b": "a", "a": "b", "head": "head"}),
    "removed": ([*map(dense, "abc")], [*map(dense, "bc")], "", {"b": "a", "c": "b"}),
    "last removed": (body("a", "b"), [dense("a"), dense("b")], "", {"a": "a", "b": "b"}),
    "last of its class removed": ([dense("a"), norm(name="n"), dense("b")], [dense("a"), norm(name="n")], "", {
        "a": "a", "n": "n",
    }),
    "put in": ([*map(dense, "ab")], [*map(dense, "nab")], NOTHING, {"n": "a", "a": "b", "b": None}),
    "without weights, of a class that has some": (
        [dense("a"), norm(name="n")], [norm(center=False, scale=False, name="m"), dense("a"), norm(name="n")],
        "expected 0 variables, but received 2", {"a": "a", "n": None},
    ),
    "put in before a head": (body("a"), body("n", "a"), SHAPES, {"n": "a", "a": None, "head": None}),
    "another class put in": (body("a", "b"), [dense("a"), norm(name="n"), *body("b")], NOTHING, {**RIGHT, "n": None}),
    "class renamed": (body("a"), [Doubles(4, name="a"), dense("head", 2)], NOTHING, {"a": None, "head": None}),
    "units": (body("a", "b"), [*map(dense, "ab"), dense("head", 3)], SHAPES, {**RIGHT, "head": None}),
    "bias": (body("a", "b"), [dense("a", use_bias=False), *body("b")], "expected 1 variables, but received 2", {
        **RIGHT, "a": None,
    }),
}  # fmt: skip


KINDS = ((sequential, sequential), (functional, functional), (sequential, functional))


def remade(kind: Callable, those: list) -> keras.Model:
    again = keras.saving.deserialize_keras_object
    custom = {"Doubles": Doubles}
    return kind(*(again(keras.saving.serialize_keras_object(one), custom_objects=custom) for one in those))


def all_changed(folder: Path, saved: dict[str, list]) -> dict[str, tuple[str, dict]]:
    """In the new process: make each changed model, and load."""
    return {
        name: origins_in(remade(KINDS[int(number)][1], CHANGES[change][1]), folder / f"{name}.weights.h5", saved[name])
        for name in saved
        for change, number in [name.split(".")]
    }


@pytest.mark.proves(
    "A weight file holds the numbers of each layer by the layer's place in the model, and not by its name.",
    "In a Sequential or functional model, the place is the name of the class and a number: `dense`, `dense_1`, in the "
    "order of `model.layers`.",
    "A layer renamed, its activation or dtype changed | loads right",
    "In a single chain of layers: one of a class without weights put in or removed, or one applied twice in a row | "
    "loads right",
    "The whole model rewritten from Sequential to functional | loads right",
    "Two layers of different classes exchanged | loads right",
    "Two layers of one class and shape exchanged, or two such branches of `Concatenate` | each has the other's "
    "weights, silently",
    "A layer removed before others of its class and shape | each has the weights of the one before, silently",
    "The last layer of its class removed | loads the others; silent",
    "A layer put in before others of its class, also one without weights | each has the weights of the "
    "next, until `received 0 variables` or another shape raises",
    "A layer of a class that wasn't there | loads the others, raises `received 0 variables`",
    "The class of a layer renamed, or a Sequential inside the model rewritten as functional | raises `received 0 "
    "variables`",
    "Another number of units or inputs | loads the others, raises `The shape of the target variable`",
)
def test_what_a_weight_file_goes_by(anew, tmp_path):
    saved = {}
    for change, (before, _, _, _) in CHANGES.items():
        for number, (kind, _) in enumerate(KINDS):
            name = f"{change}.{number}"
            path = tmp_path / f"{name}.weights.h5"
            saved[name] = numbers_saved(remade(kind, before), path)
            with h5py.File(path) as file:
                assert set(file["layers"]) >= {"dense"}
    for name, (said, origins) in anew(all_changed, tmp_path, saved).items():
        _, _, message, expected = CHANGES[name.split(".")[0]]
        assert message in said, name
        assert bool(said) == bool(message), name
        assert kernels(origins) == expected, name


def test_places_of_a_functional_model(tmp_path):
    said, origins = loaded(branches("a", "b"), branches("b", "a"), tmp_path)
    assert (said, kernels(origins)) == ("", {"a": "b", "b": "a"})
    said, origins = loaded(sequential(*body("a")), twice("a"), tmp_path)
    assert (said, kernels(origins)) == ("", {"a": "a", "head": "head"})
    said, origins = loaded(
        sequential(sequential(dense("a")), *body()), sequential(functional(dense("a")), *body()), tmp_path
    )
    assert NOTHING in said
    assert kernels(origins) == {"a": None, "head": "head"}
    two = [sequential(dense("a")), sequential(dense("b"))]
    noise = keras.Sequential([layers.GaussianNoise(0.1)])
    said, origins = loaded(sequential(*two), sequential(noise, *map(keras.models.clone_model, two)), tmp_path)
    assert NOTHING in said
    assert kernels(origins) == {"a": "b", "b": None}
    sequential(dense("x"), norm(), dense("y")).save_weights(tmp_path / "names.weights.h5")
    with h5py.File(tmp_path / "names.weights.h5") as file:
        assert set(file["layers"]) == {"dense", "layer_normalization", "dense_1"}
        assert list(file["layers/dense_1/vars"]) == ["0", "1"]


def two_branches(of_a, of_b) -> keras.Model:
    inputs = keras.Input((4,))
    a, b = of_a(dense("a"), inputs), of_b(dense("b"), inputs)
    return keras.Model(inputs, layers.Concatenate()([a, b]))


@pytest.mark.proves(
    "The same in one of two equal branches | may exchange their weights, silently: `model.layers` begins farthest from "
    "the output",
)
def test_a_branch_that_is_made_longer(tmp_path):
    once = lambda layer, x: layer(x)  # noqa: E731
    exchanged, right = {"a": "b", "b": "a"}, {"a": "a", "b": "b"}
    for longer, expected in (
        (lambda layer, x: layers.ReLU()(layer(x)), exchanged),
        (lambda layer, x: layers.Dropout(0.1)(layer(x)), exchanged),
        (lambda layer, x: 2 * layer(x), exchanged),
        (lambda layer, x: layer(layer(x)), exchanged),
        (lambda layer, x: layer(layers.ReLU()(x)), right),  # the Dense layers stay as far from the output
    ):
        for old, new in (((once, once), (once, longer)), ((once, longer), (once, once))):
            said, origins = loaded(two_branches(*old), two_branches(*new), tmp_path)
            assert (said, kernels(origins)) == ("", expected)
        said, origins = loaded(two_branches(once, once), two_branches(longer, once), tmp_path)
        assert (said, kernels(origins)) == ("", right)


@pytest.mark.proves(
    "Another number of units or inputs | loads the others, raises `The shape of the target variable`",
    "`use_bias` or `center` changed | loads nothing of the layer, raises as `expected 1 variables, but received 2`",
    "Layers put into a model inside the model | loads nothing of them, raises `received 0 variables`",
)
def test_other_inputs_a_center_and_a_model_inside(tmp_path):
    wide = keras.Sequential([keras.Input((5,)), *body("a", "b")])
    said, origins = loaded(sequential(*body("a", "b")), wide, tmp_path)
    assert SHAPES in said
    assert kernels(origins) == {**RIGHT, "a": None}
    said, origins = loaded(
        sequential(norm(name="n"), dense("a")), sequential(norm(name="n", center=False), dense("a")), tmp_path
    )
    assert "expected 1 variables, but received 2" in said
    assert kernels(origins) == {"n": None, "a": "a"}
    batch_norm = layers.BatchNormalization
    for old, new, says in (
        (batch_norm(name="n"), batch_norm(name="n", center=False), "expected 3 variables, but received 4"),
        (dense("n", use_bias=False), dense("n"), "expected 2 variables, but received 1"),
    ):
        said, origins = loaded(sequential(old, norm(name="m")), sequential(new, norm(name="m")), tmp_path)
        assert says in said
        assert kernels(origins) == {"n": None, "m": "m"}
    for inside in (sequential, functional):
        said, origins = loaded(
            sequential(*body("a", "b")), sequential(inside(*map(dense, "ab")), dense("head", 4)), tmp_path
        )
        assert NOTHING in said
        assert kernels(origins)["a"] is kernels(origins)["b"] is None


class Holder(layers.Layer):
    """Holds layers as it is told to."""

    def __init__(self, held: dict[str, Any], order: list[str], **kwargs):
        super().__init__(**kwargs)
        for name, value in held.items():
            setattr(self, name, value)
        self.order = order

    def build(self, shape):
        for layer in self.those():
            layer.build(shape)

    def those(self):
        return [one for name in self.order for one in flat(getattr(self, name))]

    def call(self, inputs):
        for layer in self.those():
            inputs = layer(inputs)
        return inputs


def flat(value: Any) -> list:
    if isinstance(value, dict):
        return [one for each in value.values() for one in flat(each)]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [one for each in value for one in flat(each)]
    return [value] if isinstance(value, layers.Layer) else flat(vars(value))


def held(**attributes: Any) -> keras.Model:
    return sequential(Holder(attributes, sorted(attributes)))


class TwoWeights(layers.Layer):
    """Two weights of its own, created in an order, the second of a size, and some not trainable."""

    def __init__(self, names=("a", "b"), size=4, fixed="", **kwargs):
        super().__init__(**kwargs)
        self.names, self.size, self.fixed = names, size, fixed

    def build(self, shape):
        first, second = self.names
        self.add_weight(name=first, shape=(4,), trainable=first not in self.fixed)
        self.add_weight(name=second, shape=(self.size,), trainable=second not in self.fixed)

    def call(self, inputs):
        return inputs


def ends(origins: dict[str, str | None]) -> dict[str, str | None]:
    return {where.split("/")[-1]: origin and origin.split("/")[-1] for where, origin in origins.items()}


@pytest.mark.proves(
    "In a layer of your own, it is the attribute. Inside a list, tuple or dict it is class and number again. The "
    "weights of one layer are numbered, the trainable ones first.",
    "Attributes of layers assigned in another order; `name` of an `add_weight` | loads right",
    "The attribute of a layer renamed | raises `received 0 variables`",
    "Two trainable `add_weight` of one shape exchanged, or the first of them made `trainable=False` | each has the "
    "other's numbers, silently",
    "A layer added at the end of a list | loads the others, raises `received 0 variables`",
    "A list made shorter at its end | loads the others; silent",
    "A list made a tuple or a dict, or the keys of a dict renamed | loads right",
    "The keys of a dict in another order | by order, and not by key, silently",
)
def test_what_a_layer_of_your_own_goes_by(tmp_path):
    def goes(old: keras.Model, new: keras.Model) -> tuple[str, dict]:
        said, origins = loaded(old, new, tmp_path)
        return said, kernels(origins)

    both = {"a": "a", "b": "b"}
    for names in ("pq", "_x", "xy"):  # also after `layers` and private
        first, second = ("_x", "y") if names == "_x" else names
        assert goes(
            held(**{first: dense("a"), second: dense("b")}), held(**{second: dense("b"), first: dense("a")})
        ) == ("", both)
        said, origins = goes(
            held(**{first: dense("a"), second: dense("b")}), held(**{first: dense("a"), f"{second}2": dense("b")})
        )
        assert NOTHING in said
        assert origins == {"a": "a", "b": None}
    two = lambda: held(p=[dense("a"), dense("b")])  # noqa: E731
    said, origins = goes(two(), held(p=[dense("a"), dense("b"), dense("c")]))
    assert NOTHING in said
    assert origins == {**both, "c": None}
    assert goes(two(), held(p=[dense("a")])) == ("", {"a": "a"})
    assert goes(two(), held(p=(dense("a"), dense("b")))) == ("", both)
    assert goes(two(), held(p={"k": dense("a"), "l": dense("b")})) == ("", both)
    assert goes(held(p={"k": dense("a"), "l": dense("b")}), held(p={"m": dense("a"), "n": dense("b")})) == ("", both)
    # Under "k" was "a": after the keys have been exchanged, the file gives "k" what "l" was.
    said, origins = goes(held(p={"k": dense("a"), "l": dense("b")}), held(p={"l": dense("b"), "k": dense("a")}))
    assert (said, origins) == ("", {"b": "a", "a": "b"})

    said, origins = loaded(sequential(TwoWeights()), sequential(TwoWeights(("c", "d"))), tmp_path)
    assert (said, ends(origins)) == ("", {"c": "a", "d": "b"})
    exchanged, right = {"b": "a", "a": "b"}, {"a": "a", "b": "b"}
    for old, new, expected in (
        (TwoWeights(), TwoWeights(("b", "a")), exchanged),
        (TwoWeights(), TwoWeights(fixed="a"), exchanged),
        (TwoWeights(), TwoWeights(fixed="b"), right),
        (TwoWeights(fixed="a"), TwoWeights(("b", "a"), fixed="a"), right),  # one is trainable, the other isn't
        (TwoWeights(fixed="ab"), TwoWeights(("b", "a"), fixed="ab"), exchanged),
    ):
        said, origins = loaded(sequential(old), sequential(new), tmp_path)
        assert (said, ends(origins)) == ("", expected)


@pytest.mark.proves(
    "In a subclassed model, so it is with attributes that sort before `layers`. The others go by class and number.",
)
def test_what_a_subclassed_model_goes_by(tmp_path):
    def made(**attributes: str) -> keras.Model:
        class Made(keras.Model):
            def __init__(self):
                super().__init__()
                for name, value in attributes.items():
                    setattr(self, name, dense(value))

            def call(self, inputs):
                for name in sorted(attributes):
                    inputs = getattr(self, name)(inputs)
                return inputs

        model = Made()
        model(X)
        return model

    def goes(old, new):
        said, origins = loaded(old, new, tmp_path)
        return said, kernels(origins)

    assert goes(made(f="a", g="b"), made(g="b", f="a")) == ("", {"a": "a", "b": "b"})
    said, origins = goes(made(f="a", g="b"), made(f="a", h="b"))
    assert NOTHING in said
    assert origins == {"a": "a", "b": None}
    assert goes(made(x="a", y="b"), made(x="a", z="b")) == ("", {"a": "a", "b": "b"})
    assert goes(made(x="a", y="b"), made(y="b", x="a")) == ("", {"a": "b", "b": "a"})


@pytest.mark.proves(
    "Here the first of three equal layers is gone. Nothing is missing, and each number is in the wrong place:",
    "Compare the outputs of the bodies, as above: that nothing was raised proves nothing.",
)
def test_each_number_in_the_wrong_place():
    page = shown(weights, "order_fails")
    three, two = page["three"], page["two"]
    contract.assert_same(two.get_weights(), three.get_weights()[:4])
    assert not np.allclose(two(X), three.layers[2](three.layers[1](X)))


# --- skip_mismatch --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`skip_mismatch=True` makes a warning of the error: `A total of 1 objects could not be loaded`. It ends with the "
    "list of these layers.",
    "It doesn't look for the right place: where layers have moved, they get wrong weights as above. A file of "
    "another model is loaded where place and shape agree.",
    "A layer is loaded up to its first weight that doesn't fit. One with two weights may have an old and a new one; "
    "`load_part` names the new one.",
    "With another number of weights, it stays new.",
)
def test_skip_mismatch(tmp_path):
    path = tmp_path / "old.weights.h5"
    said, origins = loaded(network(3, "old"), new := network(5, "new"), tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 1 objects could not be loaded")
    assert said.endswith(f"List of objects that could not be loaded:\n[{new.layers[-1]}]")
    assert kernels(origins) == {"features": "features", "norm": "norm", "swish": "swish", "head": None}

    said, origins = loaded(sequential(*map(dense, "ab")), sequential(*map(dense, "nab")), tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 1 objects could not be loaded")
    assert kernels(origins) == {"n": "a", "a": "b", "b": None}

    new = sequential(TwoWeights(size=3, name="two"))
    said, origins = loaded(sequential(TwoWeights(size=2)), new, tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 1 objects could not be loaded")
    assert ends(origins) == {"a": "a", "b": None}
    with pytest.warns(UserWarning, match="A total of 1 objects"):
        assert load_part(new, path, skip_mismatch=True) == [new.weights[1].path]

    said, origins = loaded(sequential(norm()), sequential(*body("a", "b")), tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 3 objects could not be loaded")
    assert set(origins.values()) == {None}
    another = lambda: sequential(dense("p"), layers.Softmax(), dense("q"), norm())  # noqa: E731
    said, origins = loaded(another(), sequential(*body("a")), tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 1 objects could not be loaded")
    assert kernels(origins) == {"a": "p", "head": None}
    said, origins = loaded(another(), sequential(*map(dense, "ab")), tmp_path, skip_mismatch=True)
    assert (said, kernels(origins)) == ("", {"a": "p", "b": "q"})

    bare = dense("a", use_bias=False)  # the kernel would fit
    said, origins = loaded(sequential(dense("a")), sequential(bare), tmp_path, skip_mismatch=True)
    assert said.startswith("A total of 1 objects could not be loaded")
    assert set(origins.values()) == {None}


@pytest.mark.proves(
    "The state of a compiled, built optimizer is loaded up to its first variable that doesn't fit, too. With another "
    "number of variables, it stays as it is.",
)
@pytest.mark.filterwarnings("ignore:A total of 2 objects")
def test_skip_mismatch_and_the_optimizer(tmp_path):
    def compiled(head: int, *others: keras.layers.Layer) -> keras.Model:
        model = sequential(dense("a"), *others, dense("head", head))
        model.compile("adam", "mse", run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        return model

    old, new = compiled(2), compiled(3)
    old.fit(X, X[:, :2], epochs=2, verbose=0)
    old.save_weights(tmp_path / "old.weights.h5")
    new.load_weights(tmp_path / "old.weights.h5", skip_mismatch=True)
    assert new.optimizer.iterations == 2
    moments = [bool(np.any(v.numpy())) for v in new.optimizer.variables[2:]]
    assert moments == [True] * 4 + [False] * 4

    new = compiled(3, norm())
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        new.load_weights(tmp_path / "old.weights.h5", skip_mismatch=True)
    assert new.optimizer.iterations == 0
    assert not any(np.any(v.numpy()) for v in new.optimizer.variables[2:])


# --- by name --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`load_weights(…, by_name=True)` raises for a `.weights.h5` or `.keras` file. It is for `.h5` files, and where no "
    "name fits, it loads nothing, silently.",
)
def test_by_name_is_for_old_files(tmp_path):
    old = sequential(*body("a", "b"))
    for suffix in (".weights.h5", ".keras"):
        path = tmp_path / f"old{suffix}"
        old.save_weights(path) if suffix == ".weights.h5" else old.save(path)
        with pytest.raises(ValueError, match=r"`by_name` only supports loading legacy '.h5' or '.hdf5'"):
            old.load_weights(path, by_name=True)
    old.save(tmp_path / "old.h5")
    moved = sequential(dense("b"), dense("x"), dense("head", 2))
    own = moved.layers[1].get_weights()
    moved.load_weights(tmp_path / "old.h5", by_name=True)  # a warning would be an error
    contract.assert_same(moved.layers[0].get_weights(), old.layers[1].get_weights())
    contract.assert_same(moved.layers[1].get_weights(), own)
    contract.assert_same(moved.layers[2].get_weights(), old.layers[2].get_weights())
    other = sequential(dense("x"), dense("y"))
    own = other.get_weights()
    other.load_weights(tmp_path / "old.h5", by_name=True)
    contract.assert_same(other.get_weights(), own)


@pytest.mark.proves(
    "Instead, load the old model and copy:",
    "It looks at the layers of `model.layers`; what is inside one of them is copied with it. Give each layer a `name`: "
    "automatic names differ from model to model.",
)
def test_copy_by_name():
    page = eagerly("program", "by_name")
    old, target = page["old"], page["target"]
    contract.assert_same(target.get_weights()[:-2], old.get_weights()[:-2])
    contract.assert_same(page["top"].get_weights(), old.get_weights()[-2:])

    source, other = sequential(TwoInside(name="both"), dense("c")), functional(dense("c", 3), TwoInside(name="both"))
    assert copy_by_name(source, other) == ["c", "both"]  # of other shapes
    other = functional(layers.ReLU(), TwoInside(name="both"), dense("c"), layers.Dense(2))
    fill(source, 1)
    assert copy_by_name(source, other) == [other.layers[-1].name]
    contract.assert_same(other.get_weights()[:-2], source.get_weights())
    inner = sequential(dense("a"))
    assert copy_by_name(sequential(dense("a")), sequential(inner)) == [inner.name]  # doesn't look inside
    first, second = sequential(layers.Dense(4)), sequential(layers.Dense(4))
    assert copy_by_name(first, second) == [second.layers[0].name]


class Mixed(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = dense("inner")

    def build(self, shape):
        self.inner.build(shape)
        self.add_weight(name="count", shape=(), trainable=False)
        self.scale = self.add_weight(name="scale", shape=())

    def call(self, inputs):
        return self.scale * self.inner(inputs)


@pytest.mark.proves(
    "`get_weights` and `set_weights` go by the order of `layer.weights`: its own trainable weights, its own others, "
    "then those of the layers inside. Freezing doesn't change the order. `set_weights` raises for another number of "
    "arrays, and for a shape that doesn't fit, after it has set the weights before that one.",
)
def test_the_order_of_weights():
    model = sequential(layers.BatchNormalization(name="norm"), Mixed(name="mixed"))
    mixed = model.layers[1]
    order = ["scale", "count", "kernel", "bias"]
    assert [weight.name for weight in mixed.weights] == order
    assert [w.name for w in model.weights] == ["gamma", "beta", "moving_mean", "moving_variance", *order]
    whole = [weight.path for weight in model.weights]
    for freeze in (mixed.inner, mixed.scale, mixed, model.layers[0].gamma, model.layers[0], model):
        freeze.trainable = False
        assert [weight.path for weight in model.weights] == whole
    for found, weight in zip(mixed.get_weights(), mixed.weights, strict=True):
        np.testing.assert_array_equal(found, weight)
    with pytest.raises(ValueError, match="with a weight list of length 1, but the layer was expecting 4 weights"):
        mixed.set_weights([np.float32(0)])
    wrong = [np.float32(7), np.float32(5), np.ones((3, 4)), np.zeros(4)]
    with pytest.raises(ValueError, match="is not compatible with provided weight shape"):
        mixed.set_weights(wrong)
    assert (mixed.scale.numpy(), mixed.weights[1].numpy()) == (7, 5)
    with pytest.raises(ValueError, match="expecting 0 weights"):
        layers.Dense(3).set_weights([np.ones((4, 3)), np.ones(3)])


# --- what the file doesn't hold -------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "one two")

HOLD = {
    "attribute": (lambda a, b: a, True, True),
    "list": (lambda a, b: [a, b], True, True),
    "tuple": (lambda a, b: (a, b), True, True),
    "named tuple": (Pair, True, True),
    "dict": (lambda a, b: {"a": a, "b": b}, True, True),
    "each other": (lambda a, b: [[a], {"b": (b,)}], True, True),
    "in a tuple": (lambda a, b: ([a], {"b": [b]}), True, True),
    "in a dict": (lambda a, b: {"x": [a], "y": {"z": b}}, True, True),
    "set": (lambda a, b: {a}, True, False),
    "frozenset": (lambda a, b: frozenset([a]), False, False),
    "deque": (lambda a, b: deque([a, b]), False, False),
    "object": (lambda a, b: SimpleNamespace(a=a, b=b), False, False),
}


class PutThere(layers.Layer):
    """Layers that come into a list or a dict after that has become an attribute."""

    def __init__(self, into: str, **kwargs):
        super().__init__(**kwargs)
        one = dense("one")
        self.inner = {"held": {}} if into in ("setdefault", "dict in a dict", "held before") else [dense("before")]
        if into == "setdefault":
            self.inner.setdefault("one", one)
        elif into == "index":
            self.inner[0] = one
        elif into == "slice":
            self.inner[:] = [one]
        elif into == "list in a dict":
            self.inner = {}
            self.inner["a"] = []
            self.inner["a"].append(one)
        elif into == "dict in a dict":
            self.inner["a"] = {}
            self.inner["a"]["b"] = one
        elif into == "list in a list":
            self.inner = []
            self.inner.append([])
            self.inner[0].append(one)
        elif into == "held before":
            self.inner["held"]["b"] = one
        else:
            self.inner = []
            self.inner.append([one])
            if into == "added later":
                self.inner[0].append(dense("later"))

    def build(self, shape):
        for layer in flat(self.inner):
            layer.build(shape)

    def call(self, inputs):
        return flat(self.inner)[0](inputs)


INTO = {
    **dict.fromkeys(("index", "slice", "setdefault", "list in a dict", "dict in a dict", "list in a list"), 0),
    **dict.fromkeys(("held before", "filled before", "added later"), 2),
}
"""How many weights train."""


def all_held(folder: Path) -> dict[str, np.ndarray]:
    """In the new process: what each holder computes after loading, which says nothing."""
    made = {name: held(p=make(dense("a"), dense("b"))) for name, (make, _, _) in HOLD.items()}
    made |= {into: sequential(PutThere(into)) for into in INTO}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, model in made.items():
            model.load_weights(folder / f"{name}.weights.h5")
    return {name: np.asarray(model(X)) for name, model in made.items()}


@pytest.mark.proves(
    "an attribute, a list, a tuple, a dict, or these in each other | yes | yes",
    "a list or a dict, put there by an index or `setdefault` | no | yes",
    'a list or a dict, added to it after `self.parts["a"] = []` or `self.parts.append([])` | no | yes',
    "a `set` | yes | no, silently",
    "a `deque`, a `frozenset`, an object of your own, a function | no | no, silently",
)
def test_what_holds_layers(anew, tmp_path):
    expected = {}
    for name, (make, trains, _) in HOLD.items():
        old = held(p=make(dense("a"), dense("b")))
        those = old.layers[0].those()
        assert len(old.trainable_weights) == (2 * len(those) if trains else 0)
        before = [layer.kernel.numpy() for layer in those]
        old.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = np.asarray(old(X))
        if trains:
            old.compile("sgd", "mse", run_eagerly=True)
            old.fit(X, X, verbose=0)
        moved = [not np.array_equal(kernel, layer.kernel) for kernel, layer in zip(before, those, strict=True)]
        assert moved == [trains] * len(those)
    for into, trained in INTO.items():
        old = sequential(PutThere(into))
        assert len(old.trainable_weights) == trained
        old.save_weights(tmp_path / f"{into}.weights.h5")
        expected[into] = np.asarray(old(X))
    found = anew(all_held, tmp_path)
    in_file = {name: holds for name, (_, _, holds) in HOLD.items()} | dict.fromkeys(INTO, True)
    assert {name: np.allclose(one, expected[name], atol=1e-6) for name, one in found.items()} == in_file


class Ranked(layers.Dense):
    """A set goes through small hashes in their order."""

    def __init__(self, rank, **kwargs):
        self.rank = rank
        super().__init__(4, **kwargs)

    def __hash__(self):
        return self.rank


class SetOfAModel(keras.Model):
    def __init__(self, ranks, attribute):
        super().__init__()
        self.attribute = attribute
        setattr(self, attribute, {Ranked(rank, name=name) for name, rank in zip("ab", ranks, strict=True)})

    def call(self, inputs):
        for layer in sorted(getattr(self, self.attribute), key=lambda layer: layer.name):
            inputs = layer(inputs)
        return inputs


@pytest.mark.proves("a `set` of a subclassed model | yes | by the order of the set: wrong weights, silently")
@pytest.mark.parametrize("attribute", ["experts", "parts"])
def test_a_set_of_a_subclassed_model(attribute, tmp_path):
    for old_ranks, new_ranks, expected in (
        ((0, 1), (0, 1), {"a": "a", "b": "b"}),
        ((0, 1), (1, 0), {"a": "b", "b": "a"}),
    ):
        old, new = SetOfAModel(old_ranks, attribute), SetOfAModel(new_ranks, attribute)
        old(X), new(X)
        assert len(new.trainable_weights) == 4
        said, origins = loaded(old, new, tmp_path)
        assert (said, kernels(origins)) == ("", expected)


def test_a_layer_that_a_function_holds(tmp_path):
    class Held(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            inner = dense("inner")
            self.run = lambda x: inner(x)
            self.make = lambda: inner.build((None, 4))

        def build(self, shape):
            self.make()

        def call(self, inputs):
            return self.run(inputs)

    old, new = sequential(Held()), sequential(Held())
    old.save_weights(tmp_path / "old.weights.h5")
    new.load_weights(tmp_path / "old.weights.h5")
    assert old.weights == []
    assert not np.allclose(new(X), old(X))


@pytest.mark.proves(
    "A weight of `add_weight` is in the file, whatever holds it, unless the layer extends `Dense`, `EinsumDense`, "
    "`Embedding`, `Conv1D`, `Conv2D` or `Conv3D`. A list in a list is since Keras 3.15: from an older file, loading "
    "warns `Skipping nested container`, and the layers in it stay new.",
)
def test_weights_of_a_layer_and_older_files(tmp_path):
    for make in (
        lambda a, b: [a, b],
        lambda a, b: {"a": a, "b": b},
        lambda a, b: (a, [b]),
        lambda a, b: deque([a, b]),
        lambda a, b: SimpleNamespace(a=a, b=b),
        lambda a, b: lambda: (a, b),
        lambda a, b: None,
    ):

        class Keeps(layers.Layer):
            keep = staticmethod(make)

            def build(self, shape):
                self.kept = self.keep(self.add_weight(name="a", shape=(4,)), self.add_weight(name="b", shape=(2,)))

            def call(self, inputs):
                return inputs

        said, origins = loaded(sequential(Keeps()), sequential(Keeps()), tmp_path)
        assert (said, ends(origins)) == ("", {"a": "a", "b": "b"})

    old, new = (held(p=[[dense("a")], dense("b")]) for _ in range(2))
    path = tmp_path / "old.weights.h5"
    old.save_weights(path)
    with h5py.File(path, "a") as file:  # as Keras 3.14.1 writes it: p/dense, and nothing of the list inside
        assert set(file["layers/holder/p"]) == {"container", "dense"}
        del file["layers/holder/p/container"]
    own = new.get_weights()
    with pytest.warns(UserWarning, match="Skipping nested container"):
        assert len(load_part(new, path)) == 2
    contract.assert_same(new.get_weights(), [*own[:2], *old.get_weights()[2:]])


@pytest.mark.parametrize(
    ("base", "options", "shape", "held_in_file"),
    [
        (layers.Dense, {"units": 4}, (4,), False),
        (layers.EinsumDense, {"equation": "ab,bc->ac", "output_shape": 4}, (4,), False),
        (layers.Embedding, {"input_dim": 4, "output_dim": 3}, (3,), False),
        (layers.Conv1D, {"filters": 4, "kernel_size": 1}, (3, 4), False),
        (layers.Conv2D, {"filters": 4, "kernel_size": 1}, (3, 3, 4), False),
        (layers.Conv3D, {"filters": 4, "kernel_size": 1}, (2, 2, 2, 4), False),
        (layers.DepthwiseConv2D, {"kernel_size": 1}, (3, 3, 4), True),
        (layers.BatchNormalization, {}, (4,), True),
        (layers.LayerNormalization, {}, (4,), True),
        (layers.Conv2DTranspose, {"filters": 4, "kernel_size": 1}, (3, 3, 4), True),
    ],
)
def test_a_weight_that_a_subclass_adds(base, options, shape, held_in_file, tmp_path):
    class Scaled(base):
        def build(self, input_shape):
            super().build(input_shape)
            self.extra = self.add_weight(name="extra", shape=(4,))

    old, new = (keras.Sequential([keras.Input(shape), Scaled(**options)]) for _ in range(2))
    said, origins = loaded(old, new, tmp_path)
    assert (ends(origins)["extra"] == "extra") == held_in_file
    assert bool(said) != held_in_file


def test_a_set_trains_and_is_not_saved():
    page = shown(weights, "set_fails")
    assert page.printed.startswith("trainable weights: 2")
    model = page["model"]
    kernel = model.weights[0].numpy()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, X, verbose=0)
    assert not np.array_equal(kernel, model.weights[0])
    inner = next(iter(model.layers[0].experts))
    np.testing.assert_allclose(page["InASet"].call(model.layers[0], X), inner(X), rtol=1e-6)


# --- freeze ---------------------------------------------------------------------------------------------------------


def trained(model: keras.Model, optimizer="sgd", epochs: int = 1) -> keras.Model:
    model.compile(optimizer, "mse", run_eagerly=True)
    model.fit(X, np.ones((8, model.output_shape[-1])), epochs=epochs, verbose=0)
    return model


@pytest.mark.proves(
    "Freeze before you compile. The body stays as it is, with the moving averages of `norm`:",
    "`BatchNormalization` | uses its moving averages, with `training=True` too, and keeps them",
)
def test_a_frozen_body_stays_as_it_is():
    page = eagerly("program", "freeze")
    assert page["changed"] == ["new/head/kernel", "new/head/bias"]
    thawed = trained(network(5, "thawed"))
    assert np.any(thawed.layers[1].moving_mean.numpy())
    frozen = page["new"].layers[1]
    values = np.random.default_rng(1).normal(3, size=(8, 8)).astype("float32")
    before = frozen.get_weights()
    gamma, beta, mean, variance = before
    np.testing.assert_allclose(
        frozen(values, training=True), (values - mean) / np.sqrt(variance + 1e-3) * gamma + beta, rtol=1e-3, atol=1e-4
    )
    contract.assert_same(frozen.get_weights(), before)
    inside = sequential(dense("a"), layers.BatchNormalization())
    model = sequential(inside, dense("head", 2))
    inside.trainable = False
    before = inside.get_weights()
    contract.assert_same(trained(model).get_weights()[:6], before)


class Means(layers.Layer):
    """Keeps the mean of what it was given."""

    def __init__(self, careful: bool, **kwargs):
        super().__init__(**kwargs)
        self.careful = careful

    def build(self, shape):
        self.means = self.add_weight(name="means", shape=shape[-1:], initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training and (self.trainable or not self.careful):
            self.means.assign(ops.mean(inputs, axis=0))
        return inputs


@pytest.mark.proves(
    "A weight that `call` assigns, in a layer of your own | still changes: assign it `if training and self.trainable`",
    "`SpectralNormalization` | still changes the kernel of its layer",
    "`Dropout` | drops as before",
    "The penalty of a `kernel_regularizer` | is no longer in the loss, so that the loss falls",
    "The penalty of an `activity_regularizer` | stays in the loss",
    "`weight_decay` | leaves the weights alone",
    "`trainable = True` for the model around it | changes nothing if it is `True` already; after `False`, unfreezes "
    "each layer in it",
)
def test_what_a_frozen_part_does():
    drops = layers.Dropout(0.5, seed=1)
    drops.trainable = False
    assert 0.2 < np.mean(np.asarray(drops(np.ones((40, 40)), training=True)) == 0) < 0.8

    for careful in (False, True):
        model = sequential(Means(careful), layers.SpectralNormalization(dense("a")), dense("head", 2))
        for layer in model.layers[:-1]:
            layer.trainable = False
        means, kernel = model.layers[0].get_weights()[0], model.layers[1].layer.kernel.numpy()
        trained(model)
        assert np.array_equal(model.layers[0].means, means) == careful
        assert not np.allclose(model.layers[1].layer.kernel, kernel)
        model.layers[0].trainable = True
        trained(model)
        assert not np.array_equal(model.layers[0].means, means)

    for options, stays in (({"kernel_regularizer": "l2"}, False), ({"activity_regularizer": "l2"}, True)):
        model = sequential(dense("a", **options), dense("head", 2))
        model.compile("sgd", "mse", run_eagerly=True)
        before = model.evaluate(X, X[:, :2], verbose=0)
        model.layers[0].trainable = False
        model.compile("sgd", "mse", run_eagerly=True)
        after = model.evaluate(X, X[:, :2], verbose=0)
        np.testing.assert_allclose(after, before) if stays else None
        plain = np.mean((X[:, :2] - np.asarray(model(X))) ** 2)
        assert before > plain + 1e-3
        assert (abs(after - plain) < 1e-5) != stays

    for optimizer in (keras.optimizers.AdamW(0.1, weight_decay=0.5), keras.optimizers.SGD(0.1, weight_decay=0.5)):
        model = sequential(dense("a"), dense("head", 2))
        model.layers[0].trainable = False
        kernel = model.layers[0].get_weights()
        contract.assert_same(trained(model, optimizer).layers[0].get_weights(), kernel, atol=0)

    inside = sequential(dense("a"), TwoInside(name="two"))
    model = sequential(inside, dense("head", 2))
    inside.layers[0].trainable = inside.layers[1].inner.trainable = False
    for around in (model, inside, inside.layers[1]):
        assert len(model.trainable_weights) == 4
        around.trainable = True
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_weights) == 8


@pytest.mark.proves(
    "After a change of `trainable` compile again, with a new optimizer: an old one goes on if you freeze more, and "
    "raises `Unknown variable` if you unfreeze what was frozen when it was first compiled.",
)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_an_old_optimizer(name):
    model = sequential(dense("a"), dense("head", 2))
    optimizer = keras.optimizers.get(name)
    trained(model, optimizer)
    model.layers[0].trainable = False
    kernel, head = model.layers[0].kernel.numpy(), model.layers[1].kernel.numpy()
    trained(model, optimizer)
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    assert not np.array_equal(model.layers[1].kernel, head)

    model = sequential(dense("a"), dense("head", 2))
    model.layers[0].trainable = False
    optimizer = keras.optimizers.get(name)
    trained(model, optimizer)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="Unknown variable"):
        trained(model, optimizer)
    trained(model, name)

    model = sequential(dense("a"), dense("head", 2))
    optimizer = keras.optimizers.get(name)
    for trainable in (True, False, True):
        model.layers[0].trainable = trainable
        before = model.layers[0].kernel.numpy()
        trained(model, optimizer)
        assert np.array_equal(model.layers[0].kernel, before) != trainable


class FrozenBias(layers.Dense):
    def build(self, shape):
        super().build(shape)
        self.bias.trainable = False


@pytest.mark.proves(
    "A single weight can be frozen too, but `norm` then still moves its averages, and the file doesn't hold it:",
    "To keep it, set it in the `build` of a layer of your own. A layer that a constructor makes also comes back "
    "trainable.",
)
def test_a_single_frozen_weight(tmp_path):
    page = eagerly("program", "freeze_fails")
    assert page.printed.endswith("same moving mean: False\ntrainable weights: 5, loaded: 7")
    frozen = page["norm"]
    np.testing.assert_array_equal(frozen.gamma, np.ones(8))
    model = sequential(dense("a"), dense("head", 2))
    model.layers[0].kernel.trainable = False
    kernel, bias = model.layers[0].get_weights()
    trained(model)
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    assert not np.array_equal(model.layers[0].bias, bias)

    register("weights_test")(FrozenBias)
    register("weights_test")(MakesItsOwn)
    model = sequential(FrozenBias(4), MakesItsOwn())
    assert len(model.trainable_weights) == 3
    model.layers[1].inner.trainable = False
    assert len(model.trainable_weights) == 1
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [weight.name for weight in again.layers[0].trainable_weights] == ["kernel"]
    assert len(again.layers[1].trainable_weights) == 2


class MakesItsOwn(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = dense("inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)


# --- swap, wrap, look inside ----------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`clone_model` builds a Sequential or functional model again from what `clone_function` returns for each layer:",
    "A layer that is returned as it is belongs to both models: training one changes the other. For two models, clone "
    "the one that `load_model` returns. Without a `clone_function`, all weights are new.",
)
def test_swapping_a_layer(tmp_path):
    page = eagerly("program", "swap")
    old, swapped = page["old"], page["swapped"]
    features, head = old.get_layer("features"), old.get_layer("head")
    hidden = np.asarray(old.get_layer("norm")(features(X)))
    np.testing.assert_allclose(swapped(X), head(hidden * sigmoid(hidden)), rtol=1e-4, atol=1e-5)
    before = np.asarray(old(X))
    trained(swapped)
    assert not np.allclose(old(X), before)

    clone = keras.models.clone_model(old)
    assert not any(
        np.array_equal(mine, their)
        for mine, their in zip(clone.get_layer("head").weights[:1], head.weights[:1], strict=True)
    )
    old.save(tmp_path / "old.keras")
    before = np.asarray(old(X))
    source = keras.saving.load_model(tmp_path / "old.keras")
    trained(keras.models.clone_model(source, clone_function=page["swap"]))
    np.testing.assert_array_equal(old(X), before)

    model = functional(dense("features"), TrainableSwish(name="swish"), dense("head", 2))
    swapped = keras.models.clone_model(model, clone_function=page["swap"])
    hidden = np.asarray(model.get_layer("features")(X))
    np.testing.assert_allclose(swapped(X), model.get_layer("head")(hidden * sigmoid(hidden)), rtol=1e-4, atol=1e-5)


class OfItsOwn(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense("dense")

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.proves(
    "The layers of a model inside are passed to it with `recursive=True` only. For a subclassed model, a "
    "`clone_function` raises.",
)
def test_models_inside_and_subclassed_models():
    for make in (sequential, functional):
        model = make(make(dense("a"), layers.ReLU(name="b")), dense("head", 2))
        for recursive in (False, True):
            seen = []
            keras.models.clone_model(
                model, clone_function=lambda layer, seen=seen: (seen.append(layer.name), layer)[1], recursive=recursive
            )
            assert ({"a", "b"} <= set(seen)) == recursive
            assert "head" in seen
    model = OfItsOwn()
    model(X)
    with pytest.raises(ValueError, match="only supported for Sequential models or Functional models"):
        keras.models.clone_model(model, clone_function=lambda layer: layer)
    clone = keras.models.clone_model(model)
    assert isinstance(clone, OfItsOwn)
    assert not np.allclose(clone(X), model(X))


@pytest.mark.proves(
    "A wrapper takes the trained layer as an argument, and keeps its weights. `LowRank` freezes it, and trains a "
    "product of two small matrices:",
    "`up` begins at zero, so that the model first computes what it did. If `adapted.trainable` is set to `False` and "
    "back to `True`, `inner` trains too.",
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_low_rank_is_its_formula(dtype):
    inner = dense("inner", 3, dtype=dtype)
    inner.build((None, 4))
    layer = LowRank(inner, rank=2, dtype=dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 0.01, "atol": 0.01}
    np.testing.assert_array_equal(layer(X), inner(X))
    assert LowRank(inner).rank == 2
    layer.up.assign(np.random.default_rng(1).normal(size=(2, 3)))
    kernel, bias = map(np.asarray, inner.get_weights())
    down, up = layer.down.numpy(), layer.up.numpy()
    for x in (X, np.stack([X, 2 * X])):
        np.testing.assert_allclose(layer(x), x @ kernel + bias + x @ down @ up, **tolerance)
    assert [weight.name for weight in layer.trainable_weights] == ["down", "up"]
    model = sequential(layer)
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_weights) == 4


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("around", ["float32", "mixed_float16"])
def test_low_rank_computes_in_the_dtype_of_the_layer(dtype, around, tmp_path):
    source = sequential(dense("a", dtype=dtype), dense("head", 2, dtype=dtype))
    source.save(tmp_path / "source.keras")
    keras.config.set_dtype_policy(around)
    try:
        source = keras.saving.load_model(tmp_path / "source.keras")
        model = keras.models.clone_model(source, clone_function=lambda one: LowRank(one) if one.name == "a" else one)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(np.asarray(model(X), "float32"), np.asarray(source(X), "float32"))
    trained(model).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(again(X), "float32"), np.asarray(model(X), "float32"))
    assert LowRank(dense("a", dtype="float16"), dtype="float32").dtype == "float32"


def test_low_rank_on_a_quantized_layer():
    inner = dense("inner", 3)
    inner.build((None, 4))
    inner.quantize("int8")
    layer = LowRank(inner)
    np.testing.assert_array_equal(layer(X), inner(X))
    layer.up.assign(np.ones((2, 3)))
    found = layer(X) - inner(X)
    np.testing.assert_allclose(found, X @ layer.down.numpy() @ layer.up.numpy(), rtol=1e-4, atol=1e-5)


def test_a_wrapped_model():
    page = eagerly("program", "by_name", "wrap")
    assert page.printed.splitlines()[-3:] == ["equal at first: True", "same kernel: True", "merged: True"]
    assert not np.allclose(page["adapted"](X), page["old"](X))  # it has trained
    assert not np.any(page["layer"].up.numpy())


@pytest.mark.proves(
    "`Dense`, `EinsumDense`, `Embedding`, `Conv1D`, `Conv2D` and `Conv3D` have it built in: `layer.enable_lora(2)`, "
    "then compile.",
)
def test_lora_that_is_built_in(tmp_path):
    for layer, shape, kept in (
        (layers.Dense(4), (None, 4), ["kernel"]),
        (layers.EinsumDense("ab,bc->ac", 4), (None, 4), ["kernel"]),
        (layers.Embedding(5, 3), (None,), ["embeddings"]),
        (layers.Conv1D(3, 2), (None, 6, 4), ["kernel"]),
        (layers.Conv2D(3, 2), (None, 6, 6, 4), ["kernel"]),
        (layers.Conv3D(3, 2), (None, 4, 4, 4, 2), ["kernel"]),
    ):
        layer.build(shape)
        layer.enable_lora(2)
        names = [weight.name for weight in layer.trainable_weights]
        assert [name for name in names if "lora" in name] == [f"lora_{kept[0]}_a", f"lora_{kept[0]}_b"]
        assert kept[0] not in names
    model = sequential(dense("a"), dense("head", 2))
    before = np.asarray(model(X))
    kernel = model.layers[0].get_weights()[0]
    model.layers[0].enable_lora(2)
    np.testing.assert_array_equal(model(X), before)
    trained(model)
    np.testing.assert_array_equal(model.layers[0]._kernel, kernel)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(X), model(X), rtol=1e-4, atol=1e-5)


@pytest.mark.proves(
    "With `old.inputs`, a list, calling the model on an array warns `The structure of `inputs` doesn't match`. "
    "The output of a layer inside a nested model `is not connected`, and a layer of a "
    "subclassed model `has never been called`: return it from `call`. If a layer is applied twice, `output` is that of "
    "its first call, silently:",
)
def test_outputs_of_layers_inside():
    page = eagerly("program", "intermediate")
    old = page["old"]
    found = keras.Model(old.inputs[0], page["outputs"])(X)
    hidden = old.layers[0](X)
    np.testing.assert_allclose(found["features"], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["swish"], old.layers[2](old.layers[1](hidden)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["head"], old(X), rtol=1e-4, atol=1e-5)
    listed = keras.Model(old.inputs, page["outputs"])
    for _ in range(2):
        with pytest.warns(UserWarning, match="The structure of `inputs` doesn't match"):
            listed(X)
    listed = keras.Model(old.inputs, old.get_layer("swish").output)
    listed.predict(X, verbose=0)  # a warning would be an error
    for mode in (False, True):
        listed.compile("sgd", "mse", run_eagerly=mode)
        listed.fit(X, np.ones((8, 8)), verbose=0)
    inside = functional(dense("a"), dense("b"))
    outer = functional(inside, dense("head", 2))
    with pytest.raises(ValueError, match="is not connected to `inputs`"):
        keras.Model(outer.inputs[0], inside.get_layer("a").output)
    model = OfItsOwn()
    model(X)
    with pytest.raises(AttributeError, match="has never been called and thus has no defined output"):
        _ = model.dense.output
    page = eagerly("program", "intermediate_fails")
    np.testing.assert_allclose(page["last"](X), page["dense"](X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(page["twice"](X), page["dense"](page["dense"](X)), rtol=1e-4, atol=1e-6)


# --- PyTorch --------------------------------------------------------------------------------------------------------

RECORDED = yaml.safe_load(RECORD.read_text(encoding="utf-8"))


def recorded(name: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The state under the name `m`, the inputs and the outputs of a module of PyTorch."""
    of = RECORDED[name]
    of_module = {f"m.{key}": value for key, value in state(of["state"]).items()}
    return of_module, numbers(of["inputs"][0]), np.array(of["outputs"])


def is_as_recorded(name: str, layer: keras.layers.Layer, before=None, scale=1.0, shift=0.0) -> bool:
    """Whether a layer computes what the module did, with its channels last."""
    given, x, expected = recorded(name)
    channels = layer.__class__.__name__ not in ("Dense", "LSTM", "GRU", "LayerNormalization") and x.ndim > 2
    x = np.moveaxis(scale * x + shift, 1, -1) if channels else scale * x + shift
    x = before(x) if before else x
    layer(x)
    if layer.weights:
        from_pytorch(layer, given, "m")
    found = np.asarray(layer(x))
    found = np.moveaxis(found, -1, 1) if channels else found
    assert found.shape == expected.shape
    return bool(np.allclose(found, expected, rtol=1e-4, atol=1e-5))


@pytest.mark.proves(
    "What the rows say was compared with outputs of PyTorch 2.13:",
    "`Linear` | `Dense`; the kernel is transposed",
    "`ConvTranspose2d` | `Conv2DTranspose`. `padding=1`: `Cropping2D(1)` behind",
    "`Conv1d`, `Conv2d`, `Conv3d` | the same, channels last. `padding=1`: `ZeroPadding2D(1)` in "
    'front; `padding="same"` pads another side if there is a stride',
    "`Conv2d(groups=…)` | `Conv2D(groups=…)`, for depthwise too",
)
def test_dense_layers_and_convolutions_of_pytorch():
    assert RECORDED["made by"] == "torch 2.13.0"
    assert is_as_recorded("linear", layers.Dense(3))
    given, x, expected = recorded("linear")
    straight = layers.Dense(3)
    straight(x)
    straight.set_weights([given["m.weight"], given["m.bias"]])  # square: nothing is raised
    assert not np.allclose(straight(x), expected, atol=0.1)
    assert is_as_recorded("conv1d", layers.Conv1D(3, 3, strides=2), layers.ZeroPadding1D(1))
    assert is_as_recorded("conv2d", layers.Conv2D(3, 3, strides=2), layers.ZeroPadding2D(1))
    assert not is_as_recorded("conv2d", layers.Conv2D(3, 3, strides=2, padding="same"))
    assert is_as_recorded("conv2d without stride", layers.Conv2D(2, 3), layers.ZeroPadding2D(1))
    assert is_as_recorded("conv2d without stride", layers.Conv2D(2, 3, padding="same"))
    assert is_as_recorded("conv2d groups", layers.Conv2D(4, (1, 2), groups=2))
    assert is_as_recorded("conv2d depthwise", layers.Conv2D(4, 2, groups=2))
    assert is_as_recorded("conv3d", layers.Conv3D(2, 2))
    assert is_as_recorded("conv2d transpose", layers.Conv2DTranspose(2, 2, strides=2))
    given, x, expected = recorded("conv2d transpose with padding")
    x = np.moveaxis(x, 1, -1)
    layer = layers.Conv2DTranspose(3, 3, strides=2)
    layer(x)
    from_pytorch(layer, given, "m")
    np.testing.assert_allclose(layers.Cropping2D(1)(layer(x)), np.moveaxis(expected, 1, -1), rtol=1e-4, atol=1e-5)
    assert layer(layers.ZeroPadding2D(1)(x)).shape != np.moveaxis(expected, 1, -1).shape


@pytest.mark.proves(
    "`BatchNorm1d`, `BatchNorm2d` | `epsilon=1e-5, momentum=0.9`, for `momentum=0.1`. In training, PyTorch divides by "
    "n - 1 for `running_var`, and Keras by n",
    "`LayerNorm`, `GroupNorm` | `epsilon=1e-5`; Keras has `1e-3`",
    "`Embedding` | the same",
)
def test_normalizations_and_embeddings_of_pytorch():
    plain = {"center": False, "scale": False}
    assert is_as_recorded("batch norm", layers.BatchNormalization(epsilon=1e-5))
    assert is_as_recorded("batch norm without affine", layers.BatchNormalization(epsilon=1e-5, **plain))
    assert layers.BatchNormalization().momentum == 0.99
    layer = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)
    given, x, expected = recorded("batch norm in training")
    layer(x)
    from_pytorch(layer, given, "m")
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-4, atol=1e-5)
    after = RECORDED["batch norm in training"]["after"]
    np.testing.assert_allclose(layer.moving_mean, after["running_mean"], rtol=1e-4)
    start, n = given["m.running_var"], len(x)
    np.testing.assert_allclose(after["running_var"], 0.9 * start + 0.1 * x.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * start + 0.1 * x.var(0), rtol=1e-5)
    assert n == 4
    assert layers.LayerNormalization().epsilon == layers.GroupNormalization(2).epsilon == 1e-3
    for epsilon, right in ((1e-5, True), (1e-3, False)):
        assert is_as_recorded("layer norm", layers.LayerNormalization(epsilon=epsilon), scale=0.01) == right
        assert is_as_recorded("group norm", layers.GroupNormalization(2, epsilon=epsilon), scale=0.01) == right
    assert is_as_recorded("layer norm of two axes", layers.LayerNormalization(axis=(1, 2), epsilon=1e-5))

    given, _, expected = recorded("embedding")
    layer = layers.Embedding(5, 3)
    layer(np.array([[1, 0, 4]]))
    from_pytorch(layer, given, "m")
    np.testing.assert_allclose(layer(np.array([[1, 0, 4]])), expected, atol=1e-5)


@pytest.mark.proves(
    '`LSTM` | the same gates; the two biases are added. Of several layers or directions: `cell="l1_reverse"`',
    "`GRU` | other order of gates; `reset_after=True`, the default",
)
def test_recurrent_layers_of_pytorch():
    assert is_as_recorded("lstm", layers.LSTM(3, return_sequences=True))
    assert is_as_recorded("gru", layers.GRU(3, return_sequences=True))
    assert layers.GRU(3).reset_after
    with pytest.raises(ValueError, match="is not compatible with provided weight shape"):
        is_as_recorded("gru", layers.GRU(3, return_sequences=True, reset_after=False))

    # The formulas of PyTorch's documentation, in NumPy.
    given, x, expected = recorded("gru")
    w, u, b, c = (given[f"m.{kind}_l0"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = np.zeros((2, 3))
    for step in range(4):
        of_x, of_h = np.split(x[:, step] @ w.T + b, 3, axis=1), np.split(h @ u.T + c, 3, axis=1)
        r, z = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
        h = (1 - z) * np.tanh(of_x[2] + r * of_h[2]) + z * h
        np.testing.assert_allclose(h, expected[:, step], atol=1e-5)
    given, x, expected = recorded("lstm")
    w, u, b, c = (given[f"m.{kind}_l0"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = state_c = np.zeros((2, 3))
    for step in range(4):
        i, f, g, o = np.split(x[:, step] @ w.T + h @ u.T + b + c, 4, axis=1)
        state_c = sigmoid(f) * state_c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(state_c)
        np.testing.assert_allclose(h, expected[:, step], atol=1e-5)

    given, x, expected = recorded("lstm of two layers, both ways")
    for depth in range(2):
        both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
        both(x)
        from_pytorch(both.forward_layer, given, "m", cell=f"l{depth}")
        from_pytorch(both.backward_layer, given, "m", cell=f"l{depth}_reverse")
        x = both(x)
    np.testing.assert_allclose(x, expected, atol=1e-5)


@pytest.mark.proves(
    "`MultiheadAttention(embed_dim, heads)` | `MultiHeadAttention(heads, embed_dim // heads)`, called with query, "
    "value, key. Masks are the other way round",
)
def test_attention_of_pytorch():
    given, query, expected = recorded("attention")
    key, value = numbers((2, 3, 4), 1.0), numbers((2, 3, 4), 2.0)
    padding = np.array([[False, False, True], [False, True, True]])
    attention = layers.MultiHeadAttention(2, 4 // 2)
    attention(query, value, key)
    from_pytorch(attention, given, "m")
    found = attention(query, value, key, attention_mask=~padding[:, None, :])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(attention(query, key, value, attention_mask=~padding[:, None, :]), expected, atol=0.01)
    assert not np.allclose(attention(query, value, key, attention_mask=padding[:, None, :]), expected, atol=0.01)


@pytest.mark.proves(
    "`LeakyReLU()` | `negative_slope=0.01`; Keras has 0.3, and 0.2 as a function",
    '`GELU()` | `activation="gelu"`; `approximate="tanh"` is `approximate=True`, the default of `ops.gelu`',
    "`MaxPool2d(3, 2, padding=1)` | pad with `-inf`, then pool; `ZeroPadding2D` after a ReLU",
)
def test_layers_of_pytorch_without_weights():
    assert is_as_recorded("leaky relu", layers.LeakyReLU(negative_slope=0.01))
    assert not is_as_recorded("leaky relu", layers.LeakyReLU())
    assert abs(layers.LeakyReLU().negative_slope - 0.3) < 1e-6
    _, x, expected = recorded("gelu")
    np.testing.assert_allclose(keras.activations.gelu(x), expected, atol=2e-6)
    assert is_as_recorded("gelu", layers.Activation("gelu"))
    np.testing.assert_allclose(keras.activations.gelu(x, approximate=True), recorded("gelu tanh")[2], atol=2e-6)
    np.testing.assert_allclose(ops.gelu(x), recorded("gelu tanh")[2], atol=2e-6)
    assert not np.allclose(ops.gelu(x), expected, atol=2e-6)
    np.testing.assert_allclose(layers.Dense(4, activation="gelu").activation(x), expected, atol=2e-6)
    for function in (keras.activations.leaky_relu, ops.leaky_relu, keras.activations.get("leaky_relu")):
        np.testing.assert_allclose(function(np.float32([-1, 1])), [-0.2, 1], rtol=1e-6)
    edges = [[0, 0], [1, 1], [1, 1], [0, 0]]
    infinite = lambda x: ops.pad(x, edges, constant_values=-np.inf)  # noqa: E731
    assert is_as_recorded("max pool", layers.MaxPooling2D(3, 2), infinite, shift=-2)
    assert not is_as_recorded("max pool", layers.MaxPooling2D(3, 2), layers.ZeroPadding2D(1), shift=-2)
    assert not is_as_recorded("max pool", layers.MaxPooling2D(3, 2, padding="same"), shift=-2)
    x = np.maximum(np.random.default_rng(0).normal(size=(2, 4, 4, 3)), 0)
    pool = layers.MaxPooling2D(3, 2)
    np.testing.assert_array_equal(pool(infinite(x)), pool(layers.ZeroPadding2D(1)(x)))


@pytest.mark.proves(
    "In PyTorch, `{name: tensor.numpy() for name, tensor in module.state_dict().items()}` gives the arrays; "
    "for bfloat16, `tensor.float().numpy()`. This function puts those of one module into a layer:",
    "Keras takes images with the channels last. `state` stands for the arrays of a small PyTorch network:",
    "Each of these has the right shapes and loads. Each is wrong, silently:",
    "`Flatten` before `Linear` | `Permute((3, 1, 2))`, then `Flatten`",
)
def test_the_network_of_the_page_is_that_of_pytorch():
    assert RECORDED["bfloat16 to NumPy"] == {"raises": "Got unsupported ScalarType BFloat16", "as float": [1, 1]}
    page = shown(weights, "pytorch", "pytorch_fails")
    assert "name: value.numpy() for name, value in module.state_dict().items()" in (
        Path(__file__).with_name("record_pytorch.py").read_text(encoding="utf-8")
    )
    shapes = RECORDED["net"]["state"]
    expected = np.round(RECORDED["net"]["outputs"][0], 3)
    for name, value in state(shapes).items():
        if name != "norm.num_batches_tracked":
            np.testing.assert_allclose(page["state"][name], value, atol=1e-5)
    np.testing.assert_allclose(page["converted"](page["layers"]), expected, atol=2e-3)
    lines = page.printed.splitlines()
    assert lines[1] == f"PyTorch: {expected}"
    assert lines[0].split(":")[1].strip() == lines[1].split(":")[1].strip()
    assert all(line.split(":")[1].strip() != str(expected) for line in lines[2:])
    assert len(lines) == 5


class OwnKernel(layers.Layer):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))
        self.bias = self.add_weight(name="bias", shape=(self.units,))

    def call(self, inputs):
        return inputs @ self.kernel + self.bias


@pytest.mark.proves(
    "A layer of your own is converted too, if its weights are a `kernel` of shape `(inputs, units)` and a bias.",
)
def test_a_layer_of_ones_own_and_names_that_are_not_there():
    given, x, expected = recorded("linear")
    layer = OwnKernel()
    layer(x)
    from_pytorch(layer, given, "m")
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    with pytest.raises(KeyError, match=r"no name in the state begins with n\."):
        from_pytorch(layer, given, "n")
    bare = layers.Dense(3, use_bias=False)
    bare(x)
    with pytest.raises(ValueError, match="with a weight list of length 2, but the layer was expecting 1 weights"):
        from_pytorch(bare, given, "m")
    with pytest.raises(ValueError, match="expecting 0 weights"):
        from_pytorch(layers.Dense(3), given, "m")
