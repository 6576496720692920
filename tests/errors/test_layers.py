"""`docs/errors/layers.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

ONES = np.ones((2, 3), dtype="float32")


# --- add-weight-name --------------------------------------------------------------------------------------------------


class Scale(keras.layers.Layer):
    """Creates its one weight with the arguments that it is given."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.arguments = args, kwargs

    def build(self, input_shape):
        args, kwargs = self.arguments
        self.scale = self.add_weight(*args, **kwargs)

    def call(self, inputs):
        return inputs * self.scale


class Total(keras.metrics.Metric):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.total = self.add_weight(*args, **kwargs)


def test_a_positional_name_is_refused_by_a_layer():
    with pytest.raises(ValueError, match=r"^`name` must be passed as a keyword argument\. "):
        Scale("scale", shape=(3,))(ONES)


def test_a_positional_name_is_read_as_a_shape_by_a_metric():
    with pytest.raises(ValueError, match=r"^Cannot convert 'total' to a shape\."):
        Total("total", initializer="zeros")


def test_the_first_positional_argument_is_the_shape():
    layer = Scale((3,), name="scale")
    layer(ONES)
    assert (layer.scale.name, layer.scale.shape) == ("scale", (3,))
    assert Total((2,), initializer="zeros").total.shape == (2,)


def test_keywords_work_and_a_metric_needs_no_shape():
    layer = Scale(name="scale", shape=(3,))
    layer(ONES)
    assert [weight.name for weight in layer.weights] == ["scale"]
    total = Total(name="total", initializer="zeros").total
    assert (total.name, total.shape, float(total)) == ("total", (), 0.0)


# --- init-kwargs ------------------------------------------------------------------------------------------------------


class Bare(keras.layers.Layer):
    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent


class Open(keras.layers.Layer):
    def __init__(self, exponent, **kwargs):
        super().__init__(**kwargs)
        self.exponent = exponent


OPTIONS = {"name": "square", "dtype": "float64", "trainable": False}


@pytest.mark.parametrize("option", OPTIONS)
def test_without_kwargs_each_option_is_refused(option):
    with pytest.raises(TypeError, match=rf"^Bare\.__init__\(\) got an unexpected keyword argument '{option}'$"):
        Bare(2, **{option: OPTIONS[option]})


def test_keras_itself_hands_trainable_and_dtype_over():
    assert set(Bare(2).get_config()) == {"exponent", "trainable", "dtype"}
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'trainable'$"):
        Bare.from_config(Bare(2).get_config())


def test_with_kwargs_the_options_come_back_from_the_config():
    copy = Open.from_config(Open(2, **OPTIONS).get_config())
    assert (copy.exponent, copy.name, copy.dtype, copy.trainable) == (2, "square", "float64", False)


def test_cloning_makes_layers_from_their_configs():
    def clone(layer):
        return keras.models.clone_model(keras.Sequential([keras.Input((3,)), layer]))

    class BareIdentity(Bare):
        def call(self, inputs):
            return inputs

    class OpenIdentity(Open):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match="unexpected keyword argument 'trainable'"):
        clone(BareIdentity(2))
    assert clone(OpenIdentity(2)).layers[0].exponent == 2


# --- input-shape-axis -------------------------------------------------------------------------------------------------


class Projection(keras.layers.Layer):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[self.axis], 8))

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)


def of_steps(axis: int, steps: int | None = 7) -> keras.Model:
    inputs = keras.Input((steps, 4))
    return keras.Model(inputs, Projection(axis)(inputs))


def test_the_wrong_axis_builds_a_model_that_looks_right():
    assert of_steps(1).output_shape == of_steps(-1).output_shape == (None, 7, 8)
    assert [of_steps(axis).weights[0].shape for axis in (1, -1)] == [(7, 8), (4, 8)]


def test_the_wrong_axis_fails_at_the_first_batch():
    x, y = np.ones((2, 7, 4)), np.ones((2, 7, 8))
    model = of_steps(1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        model(x)
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 4 and 7"):
        model.predict(x, verbose=0)
    model.compile(loss="mse")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        model.fit(x, y, verbose=0)


def test_the_wrong_axis_has_no_size_if_it_is_none():
    message = r"^Shapes used to initialize variables must be fully-defined \(no `None` dimensions\)"
    with pytest.raises(ValueError, match=message):
        of_steps(1, None)


def test_the_wrong_axis_raises_nothing_if_the_sizes_happen_to_be_equal():
    layer = Projection(1)
    assert layer(np.ones((2, 4, 4))).shape == (2, 4, 8)


def test_the_first_axis_is_right_without_steps():
    layer = Projection(1)
    assert layer(np.ones((2, 4))).shape == (2, 8)
    assert layer.kernel.shape == (4, 8)


def test_the_last_axis_is_right_with_any_number_of_steps():
    model = of_steps(-1, None)
    for steps in 1, 7:
        x = np.random.default_rng(0).normal(size=(2, steps, 4)).astype("float32")
        np.testing.assert_allclose(model(x), x @ model.weights[0].numpy(), atol=1e-5)


# --- untracked-variable -----------------------------------------------------------------------------------------------


def dense():
    return keras.layers.Dense(3)


def by_index(layer):
    layer.blocks = [None]
    layer.blocks[0] = dense()
    return layer.blocks[0]


def by_append_to_a_list_that_was_appended(layer):
    layer.groups = []
    layer.groups.append([])
    layer.groups[-1].append(dense())
    return layer.groups[0][0]


def assigned_list(layer):
    layer.blocks = [dense()]
    return layer.blocks[0]


def assigned_nested_list(layer):
    layer.blocks = [[dense()]]
    return layer.blocks[0][0]


def by_append(layer):
    layer.blocks = []
    layer.blocks.append(dense())
    return layer.blocks[0]


def assigned_dict(layer):
    layer.blocks = {"a": dense()}
    return layer.blocks["a"]


def as_an_attribute(layer):
    layer.block = dense()
    return layer.block


class Through(keras.layers.Layer):
    """Holds a sublayer as ``hold`` does it and fetches it anew, so that nothing else tracks it."""

    def __init__(self, hold):
        super().__init__()
        held = hold(self)
        object.__setattr__(self, "fetch", lambda: held)

    def call(self, inputs):
        return self.fetch()(inputs)


@pytest.mark.parametrize(
    ("hold", "weights"),
    [
        (by_index, 0),
        (by_append_to_a_list_that_was_appended, 0),
        (as_an_attribute, 2),
        (assigned_list, 2),
        (assigned_nested_list, 2),
        (assigned_dict, 2),
        (by_append, 2),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_which_sublayers_are_tracked(hold, weights):
    layer = Through(hold)
    layer(ONES)
    assert len(layer.trainable_weights) == weights


class Gain(keras.layers.Layer):
    def __init__(self, make):
        super().__init__()
        self.gain = make(self)

    def call(self, inputs):
        return inputs * self.gain


@pytest.mark.parametrize(
    ("make", "weights", "trained"),
    [
        (lambda layer: tf.Variable(1.0), 0, 1.0),
        (lambda layer: keras.Variable(1.0), 1, 3.0),
        (lambda layer: layer.add_weight(name="gain", initializer="ones"), 1, 3.0),
    ],
    ids=["tf.Variable", "keras.Variable", "add_weight"],
)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_which_variables_are_tracked_and_train(make, weights, trained):
    layer = Gain(make)
    layer(ONES)
    assert len(layer.trainable_weights) == weights
    model = keras.Sequential([layer])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    model.fit(ONES, 3 * ONES, epochs=20, verbose=0)
    np.testing.assert_allclose(layer.gain.numpy(), trained, atol=1e-3)


# --- kerastensor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [tf.reduce_sum, tf.shape, tf.nn.relu, lambda x: tf.concat([x, x], axis=-1)])
def test_tensorflow_refuses_what_input_returns_and_what_layers_return(function):
    inputs = keras.Input((3,))
    for symbolic in inputs, keras.layers.Dense(2)(inputs):
        with pytest.raises(ValueError, match=r"^A KerasTensor cannot be used as input to a TensorFlow function\."):
            function(symbolic)


def test_keras_ops_and_a_layer_work():
    class Sum(keras.layers.Layer):
        def call(self, inputs):
            return tf.reduce_sum(inputs, axis=-1)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, [ops.sum(inputs, axis=-1), Sum()(inputs)])
    for total in model(ONES * [[1], [2]]):
        np.testing.assert_array_equal(total, [3, 6])
