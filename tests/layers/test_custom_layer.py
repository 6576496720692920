"""`docs/layers/custom_layer.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from snippets.layers.custom_layer import Affine, Linear
from tests import contract

CASES = {
    "Linear": contract.Layer(lambda **kw: Linear(3, **kw), inputs=[(4,), (7, 4), (2, 5, 4)]),
    "Affine": contract.Layer(lambda **kw: Affine(3, activation="tanh", **kw), inputs=[(4,), (None, 4)]),
    "Affine, all options": contract.Layer(
        lambda **kw: Affine(3, "softplus", kernel_initializer="he_normal", kernel_regularizer="l2", **kw),
        inputs=[(4,)],
    ),
}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


def test_linear_is_a_matrix_product():
    layer = Linear(3)
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ np.asarray(layer.kernel), rtol=1e-5)


def test_tf_keras_layer_is_the_same_class():
    assert tf.keras.layers.Layer is keras.layers.Layer


def test_build_gets_a_plain_tuple_with_an_unknown_batch_and_runs_once():
    shapes = []

    class Spy(Linear):
        def build(self, input_shape):
            shapes.append(input_shape)
            super().build(input_shape)

    layer = Spy(3)
    layer(keras.Input((7, 4)))
    layer(np.ones((2, 7, 4)))
    assert shapes == [(None, 7, 4)]
    assert type(shapes[0]) is tuple


def test_keras_knows_the_shape_of_the_output_without_compute_output_shape():
    assert Linear.compute_output_shape is keras.layers.Layer.compute_output_shape
    assert Linear(3)(keras.Input((None, 4))).shape == (None, None, 3)


def test_tensorflow_functions_work_inside_call():
    class WithTensorFlow(Linear):
        def call(self, inputs):
            return tf.matmul(inputs, self.kernel)

    contract.shapes_agree(contract.Layer(lambda **kw: WithTensorFlow(3, **kw), inputs=[(4,)]))


@pytest.mark.parametrize("activation", [None, "relu", "softmax"])
def test_affine_equals_dense(activation):
    options = {"activation": activation, "kernel_regularizer": keras.regularizers.L2(0.1)}
    affine, dense = Affine(3, **options), keras.layers.Dense(3, **options)
    x = np.random.default_rng(0).normal(size=(5, 7, 4)).astype("float32")
    affine(x), dense(x)
    affine.set_weights(dense.get_weights())
    contract.assert_same(affine(x), dense(x))
    contract.assert_same(affine.losses, dense.losses)


def test_affine_keeps_every_option():
    layer = Affine(3, "relu", kernel_initializer="ones", kernel_regularizer=keras.regularizers.L1(0.5), name="a")
    copy = Affine.from_config(layer.get_config())
    assert (copy.units, copy.activation, copy.name) == (3, keras.activations.relu, "a")
    assert isinstance(copy.kernel_initializer, keras.initializers.Ones)
    assert copy.kernel_regularizer.l1 == 0.5


def test_the_name_survives_only_if_the_parameter_is_spelled_kwargs():
    class Kwargs(keras.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

    class Kw(keras.layers.Layer):
        def __init__(self, units, **kw):
            super().__init__(**kw)

    assert Kwargs.from_config(Kwargs(3, name="projection").get_config()).name == "projection"
    assert Kw.from_config(Kw(3, name="projection").get_config()).name != "projection"


def test_an_argument_that_is_not_simple_needs_get_config():
    class Applies(keras.layers.Layer):
        def __init__(self, activation, **kwargs):
            super().__init__(**kwargs)

    assert Applies("relu").get_config()["activation"] == "relu"
    with pytest.raises(NotImplementedError, match="non-serializable argument values"):
        Applies(keras.activations.relu).get_config()


def test_keras_does_not_import_the_module_of_a_saved_layer(tmp_path, fresh_process):
    """In a process that hasn't imported it, the class isn't found."""
    model = keras.Sequential([keras.Input((4,)), Unimported()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="Could not locate class 'Unimported'"):
        fresh_process.submit(contract.load_and_call, tmp_path / "model.keras", "keras", np.ones((1, 4))).result()


@keras.saving.register_keras_serializable(package="tests")
class Unimported(keras.layers.Layer):
    def call(self, inputs):
        return inputs
