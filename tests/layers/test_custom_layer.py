"""`docs/layers/custom_layer.md`: every claim that the page makes, proved."""

from __future__ import annotations

import importlib.util
import inspect
import site
import warnings
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.layers import custom_layer
from snippets.layers.custom_layer import Affine, Linear
from tests import contract
from tests.shown import maker, shown

CASES = {
    "Linear": contract.Layer(lambda **kw: Linear(3, **kw), inputs=[(4,), (7, 4), (2, 5, 4)]),
    "Affine": contract.Layer(lambda **kw: Affine(3, activation="tanh", **kw), inputs=[(4,), (None, 4)]),
    "Affine, all options": contract.Layer(
        lambda **kw: Affine(3, "softplus", kernel_initializer="he_normal", kernel_regularizer="l2", **kw),
        inputs=[(4,)],
    ),
}
rng = np.random.default_rng(0)


CAUGHT = {
    "FirstAxis of seen_axis_fails": contract.Wrong(
        maker("FirstAxis", custom_layer, "seen_axis_fails"), (7, 4), "can_be_called"
    ),
    "MyCustomLayer of seen_name_fails": contract.Wrong(
        maker("MyCustomLayer", custom_layer, "seen_name_fails"), (4,), "can_be_called"
    ),
}
NOT_IN_CONTRACT = {"Undeclared of undeclared_fails": "it may leave out the method that another layer asks for"}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


def with_random_weights(layer: keras.layers.Layer, x: np.ndarray) -> keras.layers.Layer:
    layer(x)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return layer


def saved_and_reloaded(layer: keras.layers.Layer, path, **options) -> keras.layers.Layer:
    """The layer of a model that was saved and loaded, with its class registered unless options are given."""
    keras.Sequential([keras.Input((4,)), layer]).save(path / "model.keras")
    options = options or {"custom_objects": {type(layer).__name__: type(layer)}}
    return keras.saving.load_model(path / "model.keras", **options).layers[-1]


class Holds(keras.layers.Layer):
    """Takes any argument, and leaves its config to Keras."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, inputs):
        return inputs


# --- what it is -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("`tf.keras.layers.Layer` is the same class.")
def test_tf_keras_layer_is_the_same_class():
    assert tf.keras.layers.Layer is keras.layers.Layer


@pytest.mark.proves(
    "An operation without weights can stay a function of `keras.ops`; make it a layer to put it into a "
    "`Sequential` model."
)
def test_a_function_is_enough_in_a_functional_model_and_not_in_a_sequential_one(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.sin(keras.layers.Dense(3)(inputs)))
    model.compile(optimizer="sgd", loss="mse")
    x = rng.normal(size=(8, 4))
    model.fit(x, np.zeros((8, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    contract.assert_same(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))
    with pytest.raises(ValueError, match=r"Only instances of `keras.Layer` can be added"):
        keras.Sequential([ops.sin])
    sine = shown(custom_layer, "undeclared_fails")["Undeclared"]()
    np.testing.assert_allclose(keras.Sequential([sine])(x), 2 * x, rtol=1e-6)


@pytest.mark.proves("What you want to call `fit` on is a model.")
def test_a_layer_has_no_fit():
    assert not hasattr(Linear(3), "fit")
    assert hasattr(keras.Sequential([Linear(3)]), "fit")


@pytest.mark.proves("No weights yet.", "Take the layer's settings, and hand the rest to Keras through `**kwargs`.")
def test_init_makes_no_weights_and_hands_on_what_every_layer_takes():
    for layer in (Linear(3, name="a", dtype="float64", trainable=False), Affine(3, name="a", dtype="float64")):
        assert not layer.weights
        assert (layer.units, layer.name, layer.dtype) == (3, "a", "float64")
    assert not Linear(3, trainable=False).trainable


@pytest.mark.proves(
    "`Linear` multiplies the last axis of its inputs by a weight of its own: `outputs = inputs @ kernel`."
)
@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 3, 5, 4)])
def test_linear_is_a_matrix_product(shape):
    x = rng.normal(size=shape).astype("float32")
    layer = with_random_weights(Linear(3), x)
    np.testing.assert_allclose(layer(x), x @ np.asarray(layer.kernel), rtol=1e-4, atol=1e-5)


def test_the_kernel_starts_as_that_of_dense():
    kernels = []
    for cls in (Linear, Affine, keras.layers.Dense):
        keras.utils.set_random_seed(5)
        layer = cls(3)
        layer.build((None, 4))
        kernels.append(np.asarray(layer.kernel))
    np.testing.assert_array_equal(kernels[0], kernels[2])
    np.testing.assert_array_equal(kernels[1], kernels[2])
    assert np.abs(kernels[2]).min() > 0


# --- a complete program -----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "It stands between built-in layers, and the model is compiled, trained, saved and reloaded as usual."
)
def test_it_trains_between_built_in_layers_and_is_judged_on_unseen_samples(seed):
    handed = {}

    def spy(name):
        method = getattr(keras.Model, name)

        def call(self, x, *args, **kwargs):
            handed[name] = np.asarray(x)
            return method(self, x, *args, **kwargs)

        return mock.patch.object(keras.Model, name, call)

    with spy("fit"), spy("evaluate"):
        page = shown(custom_layer, "train", seed=seed)
    model, reloaded = page["model"], page["reloaded"]
    assert [type(layer) for layer in model.layers] == [keras.layers.Dense, Linear, keras.layers.Dense]
    unseen, known = handed["evaluate"], handed["fit"]
    assert not (unseen[:, None] == known).all(axis=-1).any()
    assert f"accuracy on {len(unseen)} unseen samples: {page['accuracy']:.2f}" in page.printed

    right = model.predict(unseen, verbose=0).argmax(axis=-1) == page["classes"][-len(unseen) :]
    assert right.mean() == pytest.approx(page["accuracy"])
    first, *_, last = model.history.history["loss"]
    assert last < first / 3
    assert page["accuracy"] > 0.85  # a tenth is right by chance

    assert "same outputs after reloading: True" in page.printed
    assert reloaded is not model
    assert type(reloaded.layers[1]) is Linear
    contract.assert_same(reloaded.get_weights(), model.get_weights())


# --- build ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Keras calls `build` once, with the shape of the first input that the layer meets",
    "For one tensor, `input_shape` is a tuple",
    "Its first entry is the batch size, or `None` where that isn't known.",
    "Create the weights here, where the shape of the input is known.",
)
def test_build_gets_a_tuple_and_runs_once():
    shapes = []

    class Spy(Linear):
        def build(self, input_shape):
            shapes.append(input_shape)
            super().build(input_shape)

    layer = Spy(3)
    layer(keras.Input((7, 4)))
    layer(np.ones((2, 7, 4)))
    Spy(3)(np.ones((2, 4)))
    assert shapes == [(None, 7, 4), (2, 4)]
    assert {type(shape) for shape in shapes} == {tuple}


def functional(layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(inputs))


def sequential(layer: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layer])


@keras.saving.register_keras_serializable(package="tests")
class Around(keras.Model):
    """A subclassed model that makes the layer itself, of a class that a test sets."""

    makes = keras.layers.Layer

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer = self.makes()

    def call(self, inputs):
        return self.layer(inputs)


def subclassed(layer: keras.layers.Layer) -> keras.Model:
    Around.makes = type(layer)
    model = Around()
    model(np.ones((2, 4)))
    return model


@pytest.mark.proves(
    "on loading, it can be a list. Index it or write `(*input_shape[:-1], self.units)`: `input_shape + (3,)` can raise "
    "on loading.",
)
@pytest.mark.parametrize(("around", "kind"), [(functional, list), (sequential, list), (subclassed, tuple)])
def test_on_loading_the_shape_can_be_a_list(around, kind, tmp_path):
    shapes = []

    class Keeps(keras.layers.Layer):
        units = 3

        def build(self, input_shape):
            shapes.append(input_shape)
            self.bias = self.add_weight(name="bias", shape=(*input_shape[1:-1], self.units))

        def call(self, inputs):
            return inputs

    class Adds(Keeps):
        def build(self, input_shape):
            self.bias = self.add_weight(name="bias", shape=(input_shape + (3,))[1:])  # noqa: RUF005

    path = tmp_path / "model.keras"
    around(Keeps()).save(path)
    keras.saving.load_model(path, custom_objects={"Keeps": Keeps})
    assert type(shapes[0]) is tuple
    assert type(shapes[-1]) is kind

    around(Adds()).save(path)
    if kind is list:
        with pytest.raises(TypeError, match='can only concatenate list \\(not "tuple"\\) to list'):
            keras.saving.load_model(path, custom_objects={"Adds": Adds})
    else:
        keras.saving.load_model(path)


@pytest.mark.proves("`add_weight` makes each weight there, and Keras trains, counts and saves what it made.")
def test_a_weight_is_trained_counted_and_saved(tmp_path):
    layer = Linear(3)
    model = keras.Sequential([keras.Input((4,)), layer])
    assert model.count_params() == 12
    start = layer.kernel.numpy()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(rng.normal(size=(8, 4)), np.ones((8, 3)), verbose=0)
    assert not np.allclose(layer.kernel, start)
    np.testing.assert_array_equal(saved_and_reloaded(layer, tmp_path).kernel, layer.kernel)


@pytest.mark.proves(
    "Another number of features raises as soon as the layer is called on it, in a functional model before there is "
    "any data. A `TimeDistributed` around the layer raises only when it gets data."
)
@pytest.mark.parametrize("cls", [Linear, Affine])
def test_another_number_of_features_raises_when_it_is_called(cls):
    layer, dense = cls(3), keras.layers.Dense(3)
    for each in (layer, dense):
        each(keras.Input((7, 4)))
        for wrong in (keras.Input((7, 5)), np.ones((2, 5)), np.ones((2, 7, 3)), np.ones((4,))):
            with pytest.raises(ValueError, match="is incompatible with the layer"):
                each(wrong)
        for right in (keras.Input((4,)), keras.Input((None, 4)), np.ones((2, 3, 5, 4))):
            each(right)
    wrapped = keras.layers.TimeDistributed(layer)
    assert wrapped(keras.Input((7, 5))).shape == (None, 7, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        wrapped(np.ones((2, 7, 5)))


# --- call -------------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A layer that you call on arrays runs `call` on their values. By default, `fit` and `predict` trace `call` into a "
    "graph, where the values aren't known.",
    "A Python `if` on a tensor raises where `call` is traced.",
)
def test_call_runs_on_values_and_is_traced_by_fit_and_predict():
    symbolic = []

    class Spy(Linear):
        def call(self, inputs):
            symbolic.append(tf.is_symbolic_tensor(inputs))
            return super().call(inputs)

    class If(Linear):
        def call(self, inputs):
            if ops.sum(inputs) > 0:
                return super().call(inputs)
            return inputs

    x, y = np.ones((2, 4)), np.ones((2, 3))
    for method, arguments in (("__call__", (x,)), ("fit", (x, y)), ("predict", (x,))):
        for cls, raises in ((Spy, False), (If, method != "__call__")):
            model = keras.Sequential([keras.Input((4,)), cls(3)])
            model.compile(optimizer="sgd", loss="mse")
            symbolic.clear()
            if raises:
                with pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match="as a Python `bool`"):
                    getattr(model, method)(*arguments, verbose=0)
            else:
                getattr(model, method)(*arguments, **({} if method == "__call__" else {"verbose": 0}))
                assert cls is If or set(symbolic) == {method != "__call__"}


@pytest.mark.proves("Written with `keras.ops`, the same line serves both, with one axis or several before the last.")
@pytest.mark.parametrize("axes", range(1, 6))
def test_any_number_of_axes_before_the_last(axes):
    x = rng.normal(size=(*[2] * axes, 4)).astype("float32")
    layer = with_random_weights(Linear(3), x)
    expected = np.einsum("...i,ij->...j", x, np.asarray(layer.kernel))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    np.testing.assert_allclose(tf.function(layer)(tf.constant(x)), expected, atol=1e-5)
    np.testing.assert_allclose(tf.function(layer, jit_compile=True)(tf.constant(x)), expected, atol=1e-5)


@pytest.mark.proves(
    "`tf.matmul`, `tf.einsum` and `tf.tensordot` work inside `call` too. Outside a layer they refuse the symbolic "
    "inputs of a functional model."
)
@pytest.mark.parametrize(
    "product",
    [tf.matmul, lambda x, kernel: tf.einsum("...i,ij->...j", x, kernel), lambda x, kernel: tf.tensordot(x, kernel, 1)],
    ids=["matmul", "einsum", "tensordot"],
)
def test_tensorflow_functions_work_inside_call(product):
    class WithTensorFlow(Linear):
        compute_output_shape = keras.layers.Layer.compute_output_shape

        def call(self, inputs):
            return product(inputs, self.kernel)

    undeclared = dict.fromkeys(("declared_shape", "inside_time_distributed"), "it has that of Layer")
    leave_out = {**undeclared, "file_round_trip": "it is a local class"}
    contract.passes_the_checkup(contract.Layer(lambda **kw: WithTensorFlow(3, **kw), [(4,), (7, 4)], leave_out))
    with pytest.raises(ValueError, match="A KerasTensor cannot be used as input to a TensorFlow function"):
        product(keras.Input((4,)), np.ones((4, 3), "float32"))


@pytest.mark.proves(
    "A stack of weights along axis 0, `ops.stack([self.a, self.b])`, raises `'str' object has no attribute "
    "'base_dtype'`, and so does `tf.stack`. Write `ops.stack([self.a.value, self.b.value])`."
)
@pytest.mark.parametrize("shape", [(), (4,), (4, 3)])
def test_weights_are_stacked_by_their_value(shape):
    class Stacks(keras.layers.Layer):
        def __init__(self, stack, **kwargs):
            super().__init__(**kwargs)
            self.stack = stack

        def build(self, input_shape):
            self.a, self.b = (self.add_weight(name=name, shape=shape, initializer="ones") for name in "ab")

        def call(self, inputs):
            return ops.sum(inputs) * self.stack(self)

    x = np.ones((1, 4))
    for stack in (ops.stack, tf.stack):
        with pytest.raises(AttributeError, match="'str' object has no attribute 'base_dtype'"):
            Stacks(lambda self, stack=stack: stack([self.a, self.b]))(x)
        if shape:  # another axis, or a concatenation, is no problem
            outputs = Stacks(lambda self, stack=stack: stack([self.a, self.b], axis=-1))(x)
            np.testing.assert_array_equal(outputs, np.full((*shape, 2), 4.0))
            outputs = Stacks(lambda self: ops.concatenate([self.a, self.b]))(x)
            np.testing.assert_array_equal(outputs, np.full((2 * shape[0], *shape[1:]), 4.0))
    for dtype in ("float32", "mixed_bfloat16"):
        layer = Stacks(lambda self: ops.stack([self.a.value, self.b.value]), dtype=dtype)
        for outputs in (layer(x), tf.function(layer)(tf.constant(x))):
            assert outputs.dtype == layer.compute_dtype
            np.testing.assert_array_equal(tf.cast(outputs, "float32"), np.full((2, *shape), 4.0))


# --- compute_output_shape ---------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Declare it for code that asks for the shape and doesn't call the layer.",
    "`TimeDistributed` doesn't: in a functional model, it calls this method of the layer inside. If the method is "
    "missing, it raises `does not have a `compute_output_shape` method implemented`, and the summary of a subclassed "
    "model shows `?` for the layer.",
)
def test_what_asks_for_the_shape_without_calling_the_layer():
    undeclared = shown(custom_layer, "undeclared_fails")["Undeclared"]
    steps = keras.Input((7, 4))
    assert undeclared()(steps).shape == (None, 7, 4)
    with pytest.raises(NotImplementedError, match="does not have a `compute_output_shape` method implemented"):
        keras.layers.TimeDistributed(undeclared())(steps)
    assert keras.layers.TimeDistributed(undeclared())(np.ones((2, 7, 4))).shape == (2, 7, 4)

    class Subclassed(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs)

    for layer, shape in ((undeclared(), "?"), (Linear(3), "(2, 3)"), (Affine(3), "(2, 3)")):
        model = Subclassed(layer)
        model(np.ones((2, 4)))
        lines = []
        model.summary(print_fn=lambda text, lines=lines: lines.append(text))
        row = next(line for line in "\n".join(lines).splitlines() if layer.name in line)
        assert shape in row


@pytest.mark.parametrize("cls", [Linear, Affine])
def test_the_shape_and_dtype_are_known_without_a_call(cls):
    assert cls(3).compute_output_shape((None, 7, 4)) == (None, 7, 3)
    assert keras.Sequential([cls(3)]).compute_output_shape((None, 4)) == (None, 3)
    for dtype in ("mixed_float16", "mixed_bfloat16", "float64"):
        layer = cls(3, dtype=dtype)
        layer.build((None, 4))
        assert (
            layer.compute_output_spec(keras.KerasTensor((2, 4), dtype=layer.compute_dtype)).dtype
            == layer(np.ones((2, 4))).dtype
        )


@pytest.mark.proves(
    "Without this method, a functional model traces `call` to find the shape of the output.",
    "Keras trusts this method: a wrong shape can go unnoticed, in `predict` too. A functional model is then built "
    "without `call`, and an error in `call` shows only with data. If the layer contains layers that aren't built, and "
    "has no `build`, `call` is traced to build them, and an error in it warns.",
)
def test_keras_trusts_the_method():
    called = []

    class Traced(keras.layers.Layer):
        def call(self, inputs):
            called.append(inputs)
            return inputs

    class Wrong(Traced):
        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 9)

    class Raises(Wrong):
        def call(self, inputs):
            raise RuntimeError("in call")

    inputs = keras.Input((4,))
    assert Traced()(inputs).shape == (None, 4)
    assert len(called) == 1
    wrong, raises = (keras.Model(inputs, cls()(inputs)) for cls in (Wrong, Raises))
    assert len(called) == 1
    assert wrong.output_shape == raises.output_shape == (None, 9)
    assert wrong.predict(np.ones((2, 4)), verbose=0).shape == (2, 4)
    with pytest.raises(RuntimeError, match="in call"):
        raises.predict(np.ones((2, 4)), verbose=0)

    class Contains(Wrong):
        def __init__(self, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner or keras.layers.Dense(4)

        def call(self, inputs):
            return self.inner(super().call(inputs))

    class ContainsAndRaises(Contains):
        call = Raises.call

    class Builds(ContainsAndRaises):
        def build(self, input_shape):
            self.inner.build(input_shape)

    called.clear()
    assert Contains()(inputs).shape == (None, 9)
    assert len(called) == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ContainsAndRaises()(inputs).shape == (None, 9)
    assert any("not able to trace the layer `call" in str(warning.message) for warning in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Builds()(inputs).shape == (None, 9)
        for built in (keras.layers.Dropout(0.5), keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])):
            assert ContainsAndRaises(built)(inputs).shape == (None, 9)

    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):  # the next layer sees the wrong shape
        keras.layers.LSTM(2)(Wrong()(inputs))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`keras.activations.get`, `keras.initializers.get` and `keras.regularizers.get` accept a name, an object or `None`."
)
@pytest.mark.parametrize(
    ("get", "name", "made"),
    [
        (keras.activations.get, "relu", keras.activations.relu),
        (keras.initializers.get, "he_normal", keras.initializers.HeNormal()),
        (keras.regularizers.get, "l2", keras.regularizers.L2()),
    ],
)
def test_get_accepts_a_name_an_object_or_none(get, name, made):
    assert get(made) is made
    assert get(name) is made or type(get(name)) is type(made)
    assert get(None) is (keras.activations.linear if get is keras.activations.get else None)


@pytest.mark.proves("as `Dense` does it.")
def test_the_defaults_of_affine_are_those_of_dense():
    ours, theirs = (inspect.signature(cls.__init__).parameters for cls in (Affine, keras.layers.Dense))
    for name in set(ours) - {"self", "units", "kwargs"}:
        assert ours[name].default == theirs[name].default, name
    layers = []
    for cls in (Affine, keras.layers.Dense):
        keras.utils.set_random_seed(5)
        layers.append(cls(3))
        layers[-1].build((None, 4))
    affine, dense = layers
    contract.assert_same(affine.get_weights(), dense.get_weights())
    assert affine.losses == dense.losses == []


@pytest.mark.proves(
    "Given the weights of a `Dense`, it returns what `Dense` returns, and adds the same penalty to the loss",
    "`outputs = activation(inputs @ kernel + bias)`, as `Dense` does it.",
    "units: Size of the last axis of the outputs. activation: Name of an activation, a function, or None for the "
    "identity. kernel_initializer: Name or object that fills the kernel. kernel_regularizer: Name or object that "
    "penalises the kernel, or None.",
)
@pytest.mark.parametrize("activation", [None, "softplus", "softmax", keras.activations.tanh])
@pytest.mark.parametrize("regularizer", [None, "l1", keras.regularizers.L2(0.1)])
def test_affine_equals_dense(activation, regularizer):
    options = {"activation": activation, "kernel_regularizer": regularizer, "kernel_initializer": "he_normal"}
    affine, dense = Affine(3, **options), keras.layers.Dense(3, **options)
    x = rng.normal(size=(5, 7, 4)).astype("float32")
    affine(x)
    affine.set_weights(with_random_weights(dense, x).get_weights())
    assert np.abs(affine.bias).min() > 0
    contract.assert_same(affine(x), dense(x))
    contract.assert_same(affine.losses, dense.losses)

    linear = x @ np.asarray(affine.kernel) + np.asarray(affine.bias)
    np.testing.assert_allclose(affine(x), keras.activations.get(activation)(linear), rtol=1e-4, atol=1e-5)
    assert isinstance(affine.kernel_initializer, keras.initializers.HeNormal)


def test_the_initializer_fills_the_kernel():
    for initializer in ("ones", keras.initializers.Constant(0.5), keras.initializers.HeNormal(seed=3)):
        affine, dense = (cls(3, kernel_initializer=initializer) for cls in (Affine, keras.layers.Dense))
        affine.build((None, 4)), dense.build((None, 4))
        np.testing.assert_array_equal(affine.kernel, dense.kernel)


@pytest.mark.proves(
    "`get_config` returns every argument of `Affine` in a form that a file can hold, and `name`, `trainable`, `dtype` "
    "and `activity_regularizer`, but not `autocast`."
)
def test_affine_keeps_every_option(tmp_path):
    layer = Affine(
        5,
        "softplus",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.3, seed=4),
        kernel_regularizer=keras.regularizers.L1(0.5),
        activity_regularizer=keras.regularizers.L2(0.25),
        dtype=keras.DTypePolicy("mixed_bfloat16"),
        trainable=False,
        name="by_name",
    )
    for copy in (Affine.from_config(layer.get_config()), saved_and_reloaded(layer, tmp_path)):
        assert (copy.units, copy.activation, copy.name) == (5, keras.activations.softplus, "by_name")
        assert isinstance(copy.kernel_initializer, keras.initializers.RandomNormal)
        assert (copy.kernel_initializer.stddev, copy.kernel_initializer.seed) == (0.3, 4)
        assert (copy.kernel_regularizer.l1, copy.activity_regularizer.l2) == (0.5, 0.25)
        assert copy.dtype_policy.name == "mixed_bfloat16"
        assert not copy.trainable
        assert copy.get_config() == layer.get_config()
    for cls in (Affine, keras.layers.Dense):
        layer = cls(3, autocast=False)
        assert not layer.autocast
        assert cls.from_config(layer.get_config()).autocast


@pytest.mark.proves("`supports_masking` propagates the mask of a padded sequence, as `Dense` does.")
def test_affine_propagates_the_mask_as_dense_does():
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
    table = rng.normal(size=(6, 4))
    for layer in (Affine(3), keras.layers.Dense(3)):
        embedding = keras.layers.Embedding(6, 4, mask_zero=True)
        model = keras.Sequential([embedding, layer, keras.layers.GlobalAveragePooling1D()])
        model(ids)
        embedding.set_weights([table])
        tokens = np.asarray(layer(table.astype("float32")[None]))[0]
        expected = [tokens[[1, 2]].mean(axis=0), tokens[[3, 4, 5]].mean(axis=0)]
        np.testing.assert_allclose(model(ids), expected, atol=1e-5)
        np.testing.assert_allclose(model.predict(ids, verbose=0), expected, atol=1e-5)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_what_is_shown_reloads_with_the_weights_that_were_compared():
    page = shown(custom_layer, "compare", "save")
    affine, reloaded = page["affine"], page["reloaded"]
    assert np.abs(affine.bias).min() > 0
    contract.assert_same(reloaded.layers[0].get_weights(), affine.get_weights())
    contract.assert_same(reloaded(page["batch"]), page["model"](page["batch"]))


@pytest.mark.proves(
    "The layer comes back from a file if its class is registered, so that the name in the file leads to the class; if "
    "its constructor takes `name`, `trainable` and `dtype`, which `**kwargs` does; and if its config is complete."
)
def test_what_a_layer_needs_to_come_back(tmp_path):
    class Unregistered(Affine):
        pass

    class TakesNothing(Affine):
        def __init__(self, units):
            super().__init__(units)

    class TakesThem(Affine):
        def __init__(self, units, activation=None, name=None, trainable=True, dtype=None, **rest):
            super().__init__(units, activation, name=name, trainable=trainable, dtype=dtype)

    class Incomplete(Affine):
        def get_config(self):
            config = super().get_config()
            return {key: value for key, value in config.items() if key != "activation"}

    x = rng.normal(size=(2, 4))
    whole = saved_and_reloaded(layer := with_random_weights(Affine(3, "tanh"), x), tmp_path, compile=False)
    contract.assert_same(whole(x), layer(x))
    with pytest.raises(TypeError, match="Could not locate class 'Unregistered'"):
        saved_and_reloaded(Unregistered(3), tmp_path, compile=False)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        saved_and_reloaded(TakesNothing(3), tmp_path)
    takes = saved_and_reloaded(layer := with_random_weights(TakesThem(3, "tanh", name="a"), x), tmp_path)
    contract.assert_same(takes(x), layer(x))
    assert takes.name == "a"
    incomplete = saved_and_reloaded(layer := with_random_weights(Incomplete(3, "tanh"), x), tmp_path)
    assert not np.allclose(incomplete(x), layer(x))


@pytest.mark.proves(
    "A program that loads the file imports the module first; Keras doesn't do it.",
    "Registration happens when the module is imported.",
)
def test_keras_does_not_import_the_module_of_a_saved_layer(tmp_path, fresh_process):
    """In a process that could import it and hasn't, the class isn't found."""
    (tmp_path / "unimported_layer.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable(package='tests')\n"
        "class Unimported(keras.layers.Layer):\n    def call(self, inputs):\n        return 3 * inputs\n"
    )
    spec = importlib.util.spec_from_file_location("unimported_layer", tmp_path / "unimported_layer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((4,)), module.Unimported()]).save(path)
    fresh_process.submit(site.addsitedir, str(tmp_path)).result()
    with pytest.raises(TypeError, match="Could not locate class 'Unimported'"):
        fresh_process.submit(contract.load_and_call, path, "keras", np.ones((1, 4))).result()
    fresh_process.submit(exec, "import unimported_layer", {}).result()
    outputs = fresh_process.submit(contract.load_and_call, path, "keras", np.ones((1, 4))).result()
    np.testing.assert_array_equal(outputs, 3 * np.ones((1, 4)))


OWN = (
    "A function or class of your own that is passed as `activation`, `kernel_initializer` or `kernel_regularizer` has "
    "to be registered too. A lambda isn't loaded even then: write a `def`."
)


@pytest.mark.proves(
    "Don't call it `relu`: an activation with the name of a built-in one, and not registered, can silently be loaded "
    "as the built-in, even with `custom_objects`."
)
@pytest.mark.parametrize("cls", [Affine, keras.layers.Dense])
def test_an_activation_with_the_name_of_a_built_in_one_is_replaced(cls, tmp_path):
    def relu(x):
        return 0.5 * x

    for register, kept in ((lambda function: function, False), (keras.saving.register_keras_serializable("own"), True)):
        layer = cls(3, activation=register(relu))
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=UserWarning)
            reloaded = saved_and_reloaded(layer, tmp_path)
            with_the_function = saved_and_reloaded(layer, tmp_path, custom_objects={"relu": relu, cls.__name__: cls})
        for each in (reloaded, with_the_function):
            assert each.activation is (relu if kept else keras.activations.relu)

    def swish(x):
        return 0.5 * x

    assert keras.activations.get("swish") is keras.activations.silu  # a name of it, but not the one in the function
    with pytest.raises(TypeError, match="Could not locate function 'swish'"):
        saved_and_reloaded(cls(3, activation=swish), tmp_path)


@pytest.mark.proves(OWN)
@pytest.mark.parametrize("option", ["activation", "kernel_initializer", "kernel_regularizer"])
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning")
def test_a_function_of_your_own_is_registered(option, tmp_path):
    def own(x, dtype=None):
        return ops.zeros(x, dtype) if option == "kernel_initializer" else 0.5 * ops.sum(x)

    register = keras.saving.register_keras_serializable(package="tests")
    with pytest.raises(TypeError, match=r"Could not (locate function 'own'|interpret (initializer|regularizer))"):
        saved_and_reloaded(Affine(3, **{option: own}), tmp_path)
    assert getattr(saved_and_reloaded(Affine(3, **{option: register(own)}), tmp_path), option) is own
    a_lambda = register(lambda x, dtype=None: own(x, dtype))
    with pytest.raises(TypeError, match="Could not interpret"):
        saved_and_reloaded(Affine(3, **{option: a_lambda}), tmp_path)


@pytest.mark.proves(OWN)
@pytest.mark.parametrize(
    ("option", "base"),
    [("kernel_initializer", keras.initializers.HeNormal), ("kernel_regularizer", keras.regularizers.L2)],
)
def test_a_class_of_your_own_is_registered(option, base, tmp_path):
    cls = type("Own", (base,), {})
    with pytest.raises(TypeError, match="Own"):
        saved_and_reloaded(Affine(3, **{option: cls()}), tmp_path)
    keras.saving.register_keras_serializable(package="tests")(cls)
    assert type(getattr(saved_and_reloaded(Affine(3, **{option: cls()}), tmp_path), option)) is cls


@pytest.mark.proves(
    "A number, string or boolean of Python, or `None`; a list, tuple or dict of these | Recorded. A tuple comes back "
    "as a list, and an integer key of a dict as a string."
)
@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        *((value, value) for value in (3, 2.5, "a", True, None, [1, 2], {"a": 1}, [[1], ["b"]], {"a": {"b": [None]}})),
        ((1, 2), [1, 2]),
        ({1: 2}, {"1": 2}),
        ({"a": (1, [2, None])}, {"a": [1, [2, None]]}),
    ],
    ids=repr,
)
def test_what_keras_records(value, comes_back, tmp_path):
    reloaded = saved_and_reloaded(Holds(value, name="by_name"), tmp_path)
    assert reloaded.value == comes_back
    assert reloaded.name == "by_name"
    assert isinstance(reloaded.value, type(comes_back))


@pytest.mark.proves(
    "`np.int64(3)`, `np.float32(0.5)` | `save` raises `NotImplementedError`. Convert it with `int` or `float`."
)
@pytest.mark.parametrize(("number", "kind"), [(np.int64(3), int), (np.float32(0.5), float)])
def test_numbers_of_numpy_are_not_recorded(number, kind, tmp_path):
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        saved_and_reloaded(Holds(number), tmp_path)
    assert saved_and_reloaded(Holds(kind(number)), tmp_path).value == number


@pytest.mark.proves(
    "An activation, initializer or regularizer that isn't given by name | `save` raises. Return it in `get_config`, as "
    "`Affine` does."
)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("activation", keras.activations.relu),
        ("kernel_initializer", keras.initializers.HeNormal()),
        ("kernel_regularizer", keras.regularizers.L2(0.1)),
    ],
)
def test_objects_are_not_recorded(option, value, tmp_path):
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        saved_and_reloaded(Holds(value), tmp_path)
    assert type(getattr(saved_and_reloaded(Affine(3, **{option: value}), tmp_path), option)) is type(value)


@pytest.mark.proves(
    "`dtype=keras.DTypePolicy(…)` or `activity_regularizer=keras.regularizers.L2(…)`, through `**kwargs` | `save` "
    "raises. A `get_config` that begins with `**super().get_config()` returns them."
)
@pytest.mark.parametrize(
    "option",
    [
        {"dtype": keras.DTypePolicy("mixed_bfloat16")},
        {"activity_regularizer": keras.regularizers.L2(0.1)},
    ],
    ids=list,
)
def test_options_of_the_base_class_may_be_objects_too(option, tmp_path):
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        saved_and_reloaded(Linear(3, **option), tmp_path)
    layer = Affine(3, **option)
    assert saved_and_reloaded(layer, tmp_path).get_config() == layer.get_config()


@pytest.mark.proves(
    "Without a `get_config` of yours, Keras saves the layer's name only if `__init__` declares `name` or `**kwargs`, "
    "with exactly this spelling. With `**kw` alone, the layer loads under another name."
)
def test_what_keeps_the_name(tmp_path):
    class Kw(keras.layers.Layer):
        def __init__(self, value, **kw):
            super().__init__(**kw)

        def call(self, inputs):
            return inputs

    class NameAndKw(Kw):
        def __init__(self, value, name=None, **kw):
            super().__init__(value, name=name, **kw)

    class Spelled(Kw):
        def __init__(self, value, name=None, dtype=None, trainable=True):
            super().__init__(value, name=name, dtype=dtype, trainable=trainable)

    class KwWithConfig(Kw):
        def get_config(self):
            return {**super().get_config(), "value": 3}

    for cls, kept in ((Holds, True), (Kw, False), (NameAndKw, True), (Spelled, True), (KwWithConfig, True)):
        assert (saved_and_reloaded(cls(3, name="by_name"), tmp_path).name == "by_name") == kept, cls


# --- what else --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "take several inputs | `call(self, inputs)` with a list, a tuple or a dict | `build` gets the shapes in the same "
    "structure. On loading, `build` can get a list instead of a tuple, and a string instead of an integer key.",
    "take them one by one | `call(self, left, right)` and `build(self, left_shape, right_shape)` | Each parameter of "
    "`build` is one of `call` with `_shape` added; otherwise Keras raises `ValueError`. `*shapes` and `**shapes` stay "
    "empty. If `right` may be left out, write `right_shape=None`. A `build` with one parameter gets the shape of "
    "`left`.",
)
def test_what_build_gets_for_several_inputs(tmp_path):
    shapes = []

    class Together(keras.layers.Layer):
        def build(self, input_shape):
            shapes.append(input_shape)

        def call(self, inputs):
            return keras.tree.flatten(inputs)[0]

    class OneByOne(keras.layers.Layer):
        def build(self, left_shape, right_shape):
            shapes.append((left_shape, right_shape))

        def call(self, left, right):
            return left

    class OneShape(OneByOne):
        def build(self, shape):
            shapes.append(shape)

    class Unmatched(OneByOne):
        def build(self, left_shape, other_shape):
            pass

    left, right = keras.Input((4,)), keras.Input((3,))
    for inputs, expected in (
        ([left, right], [(None, 4), (None, 3)]),
        ((left, right), ((None, 4), (None, 3))),
        ({"a": left, "b": right}, {"a": (None, 4), "b": (None, 3)}),
        ({0: left, 1: right}, {0: (None, 4), 1: (None, 3)}),
    ):
        model = keras.Model([left, right], Together()(inputs))
        assert type(shapes[-1]) is type(expected)
        assert shapes.pop() == expected
        model.save(tmp_path / "model.keras")
        keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Together": Together})
        listed = [[None, 4], [None, 3]]
        keys = map(str, inputs)
        assert shapes.pop() == (dict(zip(keys, listed, strict=True)) if isinstance(inputs, dict) else listed)
    OneByOne()(left, right)
    assert shapes.pop() == ((None, 4), (None, 3))
    OneShape()(left, right)
    assert shapes.pop() == (None, 4)
    with pytest.raises(ValueError, match="all arguments should have a `_shape` suffix and match an argument"):
        Unmatched()(left, right)

    class Starred(OneByOne):
        def build(self, left_shape, *shapes_, **named):
            shapes.append((left_shape, shapes_, named))

    class StarredOnly(OneByOne):
        def build(self, *shapes_):
            shapes.append(shapes_)

    for cls, expected in ((Starred, ((None, 4), (), {})), (StarredOnly, ())):
        cls()(left, right)
        assert shapes.pop() == expected

    class LeftOut(OneByOne):
        def call(self, left, right=None):
            return left

    class Default(LeftOut):
        def build(self, left_shape, right_shape=None):
            shapes.append((left_shape, right_shape))

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'right_shape'"):
        LeftOut()(left)
    Default()(left)
    assert shapes.pop() == ((None, 4), None)

    class Around(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.together = Together()

        def call(self, inputs):
            return self.together((inputs, inputs))

    model = Around()
    model(np.ones((2, 4)))
    model.save(tmp_path / "model.keras")
    shapes.clear()
    keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Around": Around, "Together": Together})
    assert shapes == [((2, 4), (2, 4))]  # a subclassed model calls its layers, and no list appears


@pytest.mark.proves(
    'compute in mixed precision or another dtype | `Linear(3, dtype="mixed_bfloat16")` | Keras casts the weights '
    "and floating-point inputs. Cast a tensor of your own, and integer inputs: `ops.cast(scale, self.compute_dtype)`."
)
def test_a_tensor_of_your_own_is_cast():
    scale = tf.constant([1.0, 2.0, 3.0, 4.0])

    class Scaled(Linear):
        def call(self, inputs):
            return super().call(inputs * (ops.cast(scale, self.compute_dtype) if self.casts else scale))

    x = rng.normal(size=(2, 4)).astype("float32")
    layer = Scaled(3, dtype="mixed_bfloat16")
    layer.casts = True
    assert layer(x).dtype == "bfloat16"
    assert layer.kernel.dtype == "float32"
    np.testing.assert_allclose(tf.cast(layer(x), "float32"), x * scale @ layer.kernel.numpy(), rtol=0.1, atol=0.1)
    layer.casts = False
    with pytest.raises(tf.errors.InvalidArgumentError, match="was expected to be a bfloat16 tensor but is a float"):
        layer(x)


@pytest.mark.proves("Keras casts the weights and floating-point inputs. Cast a tensor of your own, and integer inputs:")
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("x", [np.array([[1, 2, 3]]), np.array([[True, False, True]])], ids=["int", "bool"])
def test_integer_inputs_are_not_cast(x, dtype):
    class ToInputs(keras.layers.Layer):
        def call(self, inputs):
            assert inputs.dtype == x.dtype
            return inputs * ops.cast(0.5, inputs.dtype)

    class ToComputeDtype(keras.layers.Layer):
        def call(self, inputs):
            return ops.cast(inputs, self.compute_dtype) * ops.cast(0.5, self.compute_dtype)

    assert ToInputs(dtype=dtype)(x).dtype == x.dtype  # 0.5 has become 0, or True
    outputs = ToComputeDtype(dtype=dtype)(x)
    assert outputs.dtype == ToComputeDtype(dtype=dtype).compute_dtype
    np.testing.assert_array_equal(tf.cast(outputs, "float32"), 0.5 * x)
    assert not np.array_equal(tf.cast(ToInputs(dtype=dtype)(x), "float32"), 0.5 * x)


MASK = (
    "propagate a mask | `self.supports_masking = True` in `__init__` | The output gets the mask of the input; "
    "otherwise the mask is lost. With several inputs or outputs, the first output gets the mask of the first input. A "
    "dict counts in the order of its sorted keys. A layer that removes the axis of steps returns `None` from "
    "`compute_mask(self, inputs, previous_mask)`; otherwise the mask can make the loss wrong, and `fit` can raise."
)


@pytest.mark.proves(MASK)
@pytest.mark.parametrize("samples", [3, 4])
def test_a_layer_that_removes_the_axis_of_steps_returns_no_mask(samples):
    class Sums(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, inputs):
            return ops.sum(inputs, axis=1)

    class SumsWithoutMask(Sums):
        def compute_mask(self, inputs, previous_mask):
            return None

    steps = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 1], [2, 2, 2]])[:samples]
    y = np.arange(samples)[:, None]
    for cls in (Sums, SumsWithoutMask):
        embedding = keras.layers.Embedding(5, 4, mask_zero=True)
        model = keras.Sequential([embedding, cls(), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
        if cls is Sums and samples != steps.shape[1]:
            with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
                model.fit(steps, y, verbose=0)
            continue
        (loss,) = model.fit(steps, y, verbose=0).history["loss"]
        right = np.mean((model.predict(steps, verbose=0) - y) ** 2)
        assert (abs(loss - right) < 1e-5) == (cls is SumsWithoutMask)
        (loss,) = model.fit(steps, y, batch_size=1, verbose=0).history["loss"]
        assert loss == pytest.approx(right, rel=1e-5)  # of a batch of 1, the mask takes nothing


@pytest.mark.proves(MASK)
def test_of_several_inputs_and_outputs_the_first_has_the_mask():
    class Both(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, inputs):
            left, right = keras.tree.flatten(inputs)
            return {"left": left + right, "right": left - right}

    class OneByOne(Both):
        def call(self, left, right):
            return super().call([left, right])

    ids = np.array([[1, 2, 0]])
    masked, plain = (keras.layers.Embedding(6, 4, mask_zero=zero)(ids) for zero in (True, False))
    both, one_by_one = Both(), OneByOne()
    for left, right in ((masked, plain), (plain, masked)):
        by_key = ({"a": left, "b": right}, {"b": right, "a": left})  # the order of the keys doesn't count
        for outputs in (*map(both, ([left, right], (left, right), *by_key)), one_by_one(left, right)):
            assert (getattr(outputs["left"], "_keras_mask", None) is not None) == (left is masked)

    class Reversed(Both):
        def call(self, inputs):
            outputs = super().call(inputs)
            return {"right": outputs["right"], "left": outputs["left"]}

    class OneInput(Reversed):
        def call(self, inputs):
            return super().call([inputs, inputs])

    for outputs in (Reversed()([masked, plain]), OneInput()(masked)):
        assert getattr(outputs["left"], "_keras_mask", None) is not None
        assert getattr(outputs["right"], "_keras_mask", None) is None

    inputs = {name: keras.Input((3,), name=name) for name in ("b", "a")}  # in a functional model too
    for masks in ("a", "b"):
        embedded = {name: keras.layers.Embedding(6, 4, mask_zero=name == masks)(x) for name, x in inputs.items()}
        outputs = keras.Model(inputs, Both()(embedded))({"a": ids, "b": ids})
        assert (getattr(outputs["left"], "_keras_mask", None) is not None) == (masks == "a")


@pytest.mark.proves(MASK)
def test_supports_masking():
    h = keras.layers.Embedding(6, 4, mask_zero=True)(np.array([[1, 2, 0]]))
    for supports in (True, False):
        layer = Linear(3)
        layer.supports_masking = supports
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mask = getattr(layer(h), "_keras_mask", None)
        assert (mask is not None) == supports
        assert [("does not support masking" in str(warning.message)) for warning in caught] == [True] * (not supports)
    assert mask is None


@pytest.mark.proves(
    "differ in training | `call(self, inputs, training=False)` | `fit` passes `True`, `evaluate` and `predict` pass "
    "`False`. The model that is fitted needs the argument too if it is subclassed."
)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_training_is_passed():
    class Adds(keras.layers.Layer):
        def call(self, inputs, training=False):
            return inputs + float(training)

    class Without(keras.Model):
        def __init__(self):
            super().__init__()
            self.adds = Adds()

        def call(self, inputs):
            return self.adds(inputs)

    class With(Without):
        def call(self, inputs, training=False):
            return self.adds(inputs)

    inputs = keras.Input((2,))
    models = {"sequential": keras.Sequential([Adds()]), "functional": keras.Model(inputs, Adds()(inputs))}
    x = np.zeros((4, 2))
    for name, model in {**models, "with": With(), "without": Without()}.items():
        model.compile(loss="mae")
        assert model.fit(x, x, verbose=0).history["loss"] == [float(name != "without")], name
        assert model.evaluate(x, x, verbose=0) == 0
        assert (model.predict(x, verbose=0) == 0).all()


@pytest.mark.proves(
    "keep state that isn't trained | `add_weight(…, trainable=False, autocast=False)` in `build`, `assign` in `call` | "
    "It is saved with the weights. Without `autocast=False`, mixed precision reads it in 16 bits: in `mixed_bfloat16`, "
    "a counter stops at 256. `predict` changes it too, unless `assign` stands under `if training`."
)
@pytest.mark.parametrize("guarded", [False, True])
def test_state_that_is_not_trained(guarded, tmp_path):
    class Counts(keras.layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, autocast=False)

        def call(self, inputs, training=False):
            if training or not guarded:
                self.count.assign(self.count + 1)
            return inputs

    layer = Counts()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), layer])
    model.compile(optimizer="sgd", loss="mse")
    model.fit(np.ones((4, 2)), np.zeros((4, 2)), batch_size=1, verbose=0)
    assert layer.count == 4
    model.predict(np.ones((4, 2)), verbose=0)
    assert layer.count == (4 if guarded else 5)
    assert layer.trainable_weights == []
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Counts": Counts})
    assert reloaded.layers[-1].count == layer.count


@pytest.mark.proves(
    "Without `autocast=False`, mixed precision reads it in 16 bits: in `mixed_bfloat16`, a counter stops"
)
@pytest.mark.parametrize(
    ("dtype", "options", "stops_at"),
    [
        ("mixed_bfloat16", {}, 256),
        ("mixed_bfloat16", {"autocast": False}, 300),
        ("mixed_float16", {"autocast": False}, 300),
        ("float32", {}, 300),
    ],
)
def test_where_a_counter_stops(dtype, options, stops_at):
    class Counts(keras.layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, **options)

        def call(self, inputs):
            self.count.assign(self.count + 1)
            return inputs

    layer = Counts(dtype=dtype)
    keras.Sequential([layer]).predict(np.ones((300, 2)), batch_size=1, verbose=0)
    assert layer.count == stops_at
    assert layer.count.dtype == "float32"


@pytest.mark.proves(
    "draw random numbers | `self.generator = keras.random.SeedGenerator(1)` in `__init__`, `keras.random.normal(shape, "
    "dtype=self.compute_dtype, seed=self.generator)` in `call` | Each call draws other numbers. With `seed=1`, each "
    "call draws the same."
)
def test_a_seed_generator_draws_other_numbers_in_each_call():
    class Noise(keras.layers.Layer):
        gives_dtype = True

        def __init__(self, seed, **kwargs):
            super().__init__(**kwargs)
            self.generator = seed

        def call(self, inputs):
            dtype = {"dtype": self.compute_dtype} if self.gives_dtype else {}
            return inputs + keras.random.normal(ops.shape(inputs), **dtype, seed=self.generator)

    x = np.zeros((2, 3))
    for dtype in ("float64", "mixed_float16", "mixed_bfloat16"):
        assert Noise(1, dtype=dtype)(x).dtype == Noise(1, dtype=dtype).compute_dtype
        layer = Noise(1, dtype=dtype)
        layer.gives_dtype = False
        with pytest.raises(tf.errors.InvalidArgumentError, match="tensor but is a float tensor"):
            layer(x)
    for seed, changes in ((keras.random.SeedGenerator(1), True), (1, False)):
        layer = Noise(seed)
        model = keras.Sequential([keras.Input((3,)), layer])
        for draw in (layer, lambda x, model=model: model.predict(x, verbose=0)):
            draws = [np.asarray(draw(x)) for _ in range(4)]
            assert len({draw.tobytes() for draw in draws}) == (4 if changes else 1)


class Penalised(keras.layers.Layer):
    casts = True

    def call(self, inputs):
        term = ops.sum(ops.abs(inputs))
        self.add_loss(ops.cast(term, keras.config.floatx()) if self.casts else term)
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


class PenalisedWithoutCast(Penalised):
    casts = False


def fitted(layer, x, **options):
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(**{"loss": "mse", **options})
    return model, model.fit(x, x, verbose=0).history["loss"]


ADD_LOSS = (
    "add a term to the loss | `self.add_loss(ops.cast(term, keras.config.floatx()))` in `call` | `fit` adds it. "
    "In mixed precision, `fit` with `loss=` raises without the cast. It also raises with an `activity_regularizer`, "
    "which Keras doesn't cast. A training loop of your own adds `model.losses`. In a cell, `add_loss` needs "
    "`keras.layers.RNN(cell, unroll=True)` and no list of cells: otherwise `fit` raises, or adds the term of the first "
    "step more than once."
)


@pytest.fixture
def floatx_of_64_bits():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.proves(ADD_LOSS)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_add_loss_where_floatx_has_64_bits(floatx_of_64_bits):
    x = np.array([[1.0, -2.0, 4.0]])
    for dtype in ("float64", "float32"):
        assert fitted(Penalised(dtype=dtype), x)[1] == [7.0]
    assert fitted(PenalisedWithoutCast(dtype="float64"), x)[1] == [7.0]
    with pytest.raises(TypeError, match="Cannot convert a list containing a tensor of dtype"):
        fitted(PenalisedWithoutCast(dtype="float32"), x)


@pytest.mark.proves(ADD_LOSS)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_add_loss():
    x = np.array([[1.0, -2.0, 4.0]])
    for dtype in ("float32", "mixed_float16", "mixed_bfloat16", "float64"):
        for cls in (Penalised, PenalisedWithoutCast):
            if cls.casts or dtype == "float32":
                model, losses = fitted(cls(dtype=dtype), x)
                assert losses == [7.0]
                model(x)
                assert [float(loss) for loss in model.losses] == [7.0]
            else:
                with pytest.raises(TypeError, match="Cannot convert a list containing a tensor of dtype"):
                    fitted(cls(dtype=dtype), x)
            assert fitted(cls(dtype=dtype), x, loss=None)[1] == [7.0]  # a loss of one term
    assert fitted(keras.layers.TimeDistributed(Penalised()), np.stack([x, x], axis=1))[1] == [14.0]
    with pytest.raises(TypeError, match="Cannot convert a list containing a tensor of dtype"):
        fitted(Affine(3, activity_regularizer="l2", dtype="mixed_bfloat16"), x)
    assert fitted(Affine(3, activity_regularizer="l2", dtype="mixed_bfloat16"), x, loss=None)[1][0] > 0

    class CastsItself(keras.regularizers.L2):
        def __call__(self, x):
            return ops.cast(super().__call__(x), keras.config.floatx())

    assert fitted(Affine(3, activity_regularizer=CastsItself(), dtype="mixed_bfloat16"), x)[1][0] > 0

    class Cell(Penalised):
        state_size = output_size = 3

        def call(self, inputs, states):
            return super().call(inputs), states

    x = np.ones((2, 5, 3))
    with pytest.raises(Exception, match="is out of scope") as caught:
        fitted(keras.layers.RNN(Cell(), return_sequences=True), x)
    assert type(caught.value).__name__ == "InaccessibleTensorError"
    for options in ({}, {"run_eagerly": True}):
        assert fitted(keras.layers.RNN(Cell(), return_sequences=True, unroll=True), x, **options)[1] == [x.sum()]
    once_too_often = x.sum() + x[:, 0].sum()
    assert fitted(keras.layers.RNN(Cell(), return_sequences=True), x, run_eagerly=True)[1] == [once_too_often]
    for cells in (1, 2):
        for options in ({}, {"run_eagerly": True}):
            layer = keras.layers.RNN([Cell() for _ in range(cells)], return_sequences=True, unroll=True)
            assert fitted(layer, x, **options)[1] == [cells * once_too_often]


# --- what older tutorials print ---------------------------------------------------------------------------------------


@pytest.mark.proves("the first positional argument is the shape now.")
def test_the_first_argument_of_add_weight_is_the_shape():
    assert next(iter(inspect.signature(keras.layers.Layer.add_weight).parameters)) == "self"
    layer = keras.layers.Layer()
    assert layer.add_weight((2, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match="`name` must be passed as a keyword argument"):
        layer.add_weight("kernel", shape=(2, 3))


@pytest.mark.proves(
    "Older tutorials print a form that fails today.",
    "it can't be given a name. In a functional or `Sequential` model it saves but can't be loaded, because Keras "
    "passes `trainable` and `dtype` to the constructor. Write `def __init__(self, **kwargs): "
    "super().__init__(**kwargs)`.",
)
def test_the_old_constructor_saves_and_is_not_loaded(tmp_path):
    old = shown(custom_layer, "seen_name_fails", "seen_init_fails")["MyCustomLayer"]

    class MyCustomLayer(old):
        def build(self, input_shape):
            self.kernel = self.add_weight(name="kernel", shape=(input_shape[1], 128))

    assert {"trainable", "dtype"} <= set(MyCustomLayer().get_config())
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        MyCustomLayer(name="projection")
    with pytest.raises(TypeError, match="unexpected keyword argument 'trainable'"):
        saved_and_reloaded(MyCustomLayer(), tmp_path)
    assert (tmp_path / "model.keras").is_file()
    functional(MyCustomLayer()).save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="unexpected keyword argument 'trainable'"):
        keras.saving.load_model(tmp_path / "model.keras", custom_objects={"MyCustomLayer": MyCustomLayer})
    model = subclassed(MyCustomLayer())  # which makes the layer itself
    model.save(tmp_path / "model.keras")
    contract.assert_same(keras.saving.load_model(tmp_path / "model.keras").get_weights(), model.get_weights())

    class Mended(MyCustomLayer):
        def __init__(self, **kwargs):
            keras.layers.Layer.__init__(self, **kwargs)

    assert saved_and_reloaded(Mended(name="projection"), tmp_path).name == "projection"


@pytest.mark.proves(
    "right where axis 1 holds the features, as in `(batch, features)`. On a sequence it is the number of steps. If "
    "that is fixed, and isn't the number of features, a model may be built without an error, as it is here from Keras "
    "3.15 on, and fails at its first batch. If it is `None`, `add_weight` raises.",
    "With `tf.matmul` in place of `ops.matmul`, it raises while the model is built, unless the layer has a "
    "`compute_output_shape`.",
)
def test_the_first_axis():
    cls = shown(custom_layer, "seen_axis_fails")["FirstAxis"]

    class WithTensorFlow(cls):
        def call(self, inputs):
            return tf.matmul(inputs, self.kernel)

    for right in ((4,), (4, 4)):
        x = rng.normal(size=(2, *right)).astype("float32")
        layer = cls()
        model = keras.Sequential([keras.Input(right), layer])
        np.testing.assert_allclose(model.predict(x, verbose=0), x @ layer.kernel.numpy(), atol=1e-5)

    model = keras.Sequential([keras.Input((7, 4)), cls()])
    assert model.output_shape == (None, 7, 8)
    for method in (model, model.predict):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"(?i)matri|dimension|incompatible"):
            method(np.ones((2, 7, 4)))
    with pytest.raises(ValueError, match="Shapes used to initialize variables must be fully-defined"):
        cls()(keras.Input((None, 4)))
    with pytest.raises(ValueError, match="Dimensions must be equal"):
        keras.Sequential([keras.Input((7, 4), batch_size=2), cls()])
    with pytest.raises(ValueError, match="Could not automatically infer the output shape"):
        keras.Sequential([keras.Input((7, 4)), WithTensorFlow()])

    class Declared(WithTensorFlow):
        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 8)

    assert keras.Sequential([keras.Input((7, 4)), Declared()]).output_shape == (None, 7, 8)
