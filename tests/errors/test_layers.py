"""`docs/errors/layers.md`: every claim that the page makes, proved."""

from __future__ import annotations

import contextlib
import inspect
import warnings

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


# --- mask-lost --------------------------------------------------------------------------------------------------------


STEPS = np.array([[[2.0], [4.0], [0.0], [0.0]]], dtype="float32")
WARNING = r"^Layer '\w+' \(of type \w+\) was passed an input .* this layer does not support masking and will "


class TimesOne(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 1.0


class TakesMask(keras.layers.Layer):
    def call(self, inputs, mask=None):
        return inputs * 1.0


class Declares(TimesOne):
    def __init__(self):
        super().__init__()
        self.supports_masking = True


class EverySecond(keras.layers.Layer):
    """Changes the number of steps."""

    def call(self, inputs):
        return inputs[:, ::2]

    def compute_mask(self, inputs, previous_mask=None):
        return None if previous_mask is None else previous_mask[:, ::2]


def masked() -> tf.Tensor:
    return keras.layers.Masking()(STEPS)


def mean(steps) -> float:
    return keras.layers.GlobalAveragePooling1D()(steps).numpy().item()


def through(operation):
    """The mean of the steps, called on data and in a functional model."""
    inputs = keras.Input((4, 1))
    steps = operation(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(steps))
    return mean(operation(masked())), model(STEPS).numpy().item(), model.predict(STEPS, verbose=0).item()


OPERATIONS = [
    lambda h: h * 1.0,
    lambda h: ops.multiply(h, 1.0),
    lambda h: h + h - h,
    lambda h: ops.concatenate([h, h], axis=-1)[..., :1],
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_ends_the_mask_without_a_word(operation):
    with warnings.catch_warnings(action="error", category=UserWarning):
        assert through(operation) == (1.5, 1.5, 1.5)


def test_so_does_one_in_the_call_of_a_model():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.mask, self.mean = keras.layers.Masking(), keras.layers.GlobalAveragePooling1D()

        def call(self, inputs):
            return self.mean(self.mask(inputs) * 1.0)

    with warnings.catch_warnings(action="error", category=UserWarning):
        assert (Model()(STEPS).numpy().item(), Model().predict(STEPS, verbose=0).item()) == (1.5, 1.5)


@pytest.mark.parametrize("make", [TimesOne, TakesMask, lambda: keras.layers.Lambda(lambda h: h * 1.0)])
def test_a_layer_that_does_not_declare_it_ends_the_mask_with_a_warning(make):
    with pytest.warns(UserWarning, match=WARNING):
        assert through(make()) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("make", [Declares, lambda: keras.layers.Rescaling(1.0), lambda: keras.layers.Dropout(0.5)])
def test_a_layer_that_declares_it_and_built_in_ones_hand_the_mask_on(make):
    with warnings.catch_warnings(action="error", category=UserWarning):
        assert through(make()) == (3.0, 3.0, 3.0)


def test_compute_mask_declares_it_and_returns_the_mask_of_the_new_steps():
    assert EverySecond().supports_masking
    with warnings.catch_warnings(action="error", category=UserWarning):
        kept = EverySecond()(masked())
    assert kept.shape == (1, 2, 1)
    assert mean(kept) == 2.0


class SelfAttention:
    """Lets the first two steps attend to all, whose mask Keras hands over."""

    def __init__(self):
        self.attend = keras.layers.MultiHeadAttention(1, 2)

    def __call__(self, inputs):
        return self.attend(inputs[:, :2], inputs)


@pytest.mark.parametrize(
    "make",
    [
        keras.layers.GlobalAveragePooling1D,
        lambda: keras.layers.GRU(1),
        SelfAttention,
    ],
    ids=["pooling", "recurrent", "attention"],
)
def test_what_comes_after_counts_the_padding(make):
    layer = make()
    without_padding = np.asarray(layer(STEPS[:, :2]))
    np.testing.assert_allclose(layer(masked()), without_padding, rtol=1e-5)
    assert not np.allclose(layer(masked() * 1.0), without_padding)


@pytest.mark.parametrize(
    ("operation", "loss"), [(lambda h: h * 1.0, 40.5), (lambda h: keras.layers.Rescaling(1.0)(h), 0.0)]
)
def test_so_does_the_loss(operation, loss):
    inputs = keras.Input((4, 1))
    model = keras.Model(inputs, operation(keras.layers.Masking()(inputs)))
    model.compile(loss="mse")
    targets = np.array([[[2.0], [4.0], [9.0], [9.0]]])  # the padding is off by 9
    assert model.evaluate(STEPS, targets, verbose=0) == loss


# --- state-created-late -----------------------------------------------------------------------------------------------


REFUSED = r"You cannot add new elements of state \(variables or sub-layers\) to a layer that is already built\. "
SINGLETON = r"tf\.function only supports singleton tf\.Variables created on the first call\. "


def calling(base, create):
    """A layer or a model that calls ``create`` in ``call``."""

    class Late(base):
        def call(self, inputs):
            return create(self, inputs)

    return Late()


def weight_in_call(layer, inputs):
    layer.scale = layer.add_weight(name="scale", shape=(inputs.shape[-1],))
    return inputs * layer.scale


def layer_in_call(layer, inputs):
    layer.dense = keras.layers.Dense(2)
    return layer.dense(inputs)


def unkept_layer_in_call(layer, inputs):
    return keras.layers.Dense(2)(inputs)


@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
@pytest.mark.parametrize("create", [weight_in_call, layer_in_call])
def test_state_made_in_call_is_refused(base, create):
    with pytest.raises(ValueError, match=rf"^Exception encountered when calling Late\.call\(\)\.\n\n\S*{REFUSED}"):
        calling(base, create)(ONES)
    with pytest.raises(ValueError, match=rf"Could not automatically infer .*\n\n{REFUSED}"):
        calling(base, create)(keras.Input((3,)))


@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
def test_a_layer_that_call_does_not_keep_is_new_each_time(base):
    layer = calling(base, unkept_layer_in_call)
    with warnings.catch_warnings(action="error", category=UserWarning):
        assert not np.allclose(layer(ONES), layer(ONES))
    assert layer.weights == []


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_a_functional_model_takes_it_and_fit_and_predict_raise():
    inputs = keras.Input((3,))
    with warnings.catch_warnings(action="error", category=UserWarning):
        model = keras.Model(inputs, calling(keras.layers.Layer, unkept_layer_in_call)(inputs))
    assert model.output_shape == (None, 2)
    assert model.weights == []
    with pytest.raises(ValueError, match=SINGLETON):
        model.predict(ONES, verbose=0)
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=SINGLETON):
        model.fit(ONES, ONES[:, :2], verbose=0)


class Kept(keras.layers.Layer):
    """Creates its layer where it is told to."""

    def __init__(self, in_build):
        super().__init__()
        self.in_build = in_build
        if not in_build:
            self.dense = keras.layers.Dense(2)

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],))
        if self.in_build:
            self.dense = keras.layers.Dense(2)
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs * self.scale)


@pytest.mark.parametrize("in_build", [False, True])
def test_state_made_in_init_or_build_stays_and_trains(in_build):
    layer = Kept(in_build)
    np.testing.assert_array_equal(layer(ONES), layer(ONES))
    model = keras.Sequential([layer])
    model.compile(loss="mse")
    before = [weight.numpy() for weight in layer.weights]
    model.fit(ONES, ONES[:, :2], verbose=0)
    assert len(model.trainable_weights) == 3
    assert not any(np.array_equal(old, new) for old, new in zip(before, layer.weights, strict=True))


# --- python-if-on-a-tensor --------------------------------------------------------------------------------------------


NO_BOOL = r"Using a symbolic `tf\.Tensor` as a Python `bool` is not allowed\. "
NO_ITERATION = r"Iterating over a symbolic `tf\.Tensor` is not allowed\. "
NOT_INFERRED = r"Could not automatically infer the output shape / dtype of .*\n\n"
LARGE, SMALL = np.array([[1.0, 4.0]], dtype="float32"), np.array([[0.5, 0.25]], dtype="float32")


class Limit(keras.layers.Layer):
    """Limits as ``limit`` does it."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def call(self, inputs):
        return self.limit(inputs)


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.dense, self.limit = keras.layers.Dense(2), layer

    def call(self, inputs):
        return self.limit(self.dense(inputs))


def by_if(inputs):
    largest = ops.max(inputs)
    if largest > 1.0:
        return inputs / largest
    return inputs


def by_while(inputs):
    while ops.max(inputs) > 1.0:
        inputs = inputs / 2
    return inputs


def by_and(inputs):
    return inputs / (ops.max(inputs) > 1.0 and ops.max(inputs))


def by_for(inputs):
    return sum(row for row in inputs)


def by_where(inputs):
    largest = ops.max(inputs)
    return inputs / ops.where(largest > 1.0, largest, 1.0)


def by_cond(inputs):
    largest = ops.max(inputs)
    return ops.cond(largest > 1.0, lambda: inputs / largest, lambda: inputs)


def by_while_loop(inputs):
    (halved,) = ops.while_loop(lambda x: ops.max(x) > 1.0, lambda x: (x / 2,), (inputs,))
    return halved


@pytest.mark.parametrize(
    ("limit", "expected", "message"),
    [
        (by_if, [[0.25, 1.0]], NO_BOOL),
        (by_while, [[0.25, 1.0]], NO_BOOL),
        (by_and, [[0.25, 1.0]], NO_BOOL),
        (by_for, [1.0, 4.0], NO_ITERATION),
    ],
)
def test_python_on_a_tensor_works_on_data_and_nowhere_else(limit, expected, message):
    np.testing.assert_array_equal(Limit(limit)(LARGE), expected)
    cause = rf"^Exception encountered when calling Limit\.call\(\)\.\n\n\S*{message}"
    after_another = rf"^Exception encountered when calling Limit\.call\(\)\.\n\n\S*{NOT_INFERRED}{message}"
    error = tf.errors.OperatorNotAllowedInGraphError
    with pytest.raises(error, match=after_another):
        Limit(limit)(keras.Input((2,)))
    with pytest.raises(error, match=after_another):
        keras.Sequential([Limit(limit)])(LARGE)
    with pytest.raises(error, match=cause):
        Subclassed(Limit(limit)).predict(LARGE, verbose=0)
    model = Subclassed(Limit(limit))
    model.compile(loss="mse")
    with pytest.raises(error, match=cause):
        model.fit(LARGE, LARGE, verbose=0)


@pytest.mark.parametrize("limit", [by_where, by_cond, by_while_loop])
def test_the_operations_of_keras_work_everywhere(limit):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, Limit(limit)(inputs))
    for x, expected in (LARGE, [[0.25, 1.0]]), (SMALL, SMALL):
        np.testing.assert_array_equal(Limit(limit)(x), expected)
        np.testing.assert_array_equal(model(x), expected)
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    for model in keras.Sequential([keras.layers.Dense(2), Limit(limit)]), Subclassed(Limit(limit)):
        model.compile(loss="mse")
        model.fit(LARGE, LARGE, verbose=0)
        assert int(model.optimizer.iterations) == 1


def test_where_chooses_element_by_element_and_cond_one_of_two_functions():
    x = tf.constant([[1.0, -1.0]])
    np.testing.assert_array_equal(ops.where(x > 0, x, 10.0), [[1.0, 10.0]])
    called = []
    assert ops.cond(tf.constant(True), lambda: called.append("yes") or 1.0, lambda: called.append("no") or 0.0) == 1
    assert called == ["yes"]


def test_a_python_if_on_a_python_value_is_fine():
    class Doubles(keras.layers.Layer):
        def call(self, inputs, training=False):
            return 2 * inputs if training else inputs

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Doubles()(inputs))
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        assert model.fit(LARGE, LARGE, verbose=0).history["loss"] == [8.5]
    assert model.evaluate(LARGE, LARGE, verbose=0) == 0


class Decorated(keras.layers.Layer):
    @tf.function
    def call(self, inputs):
        largest = ops.max(inputs)
        if largest > 1.0:
            inputs = inputs / largest
        return inputs


def without_source() -> keras.layers.Layer:
    names = {"keras": keras, "ops": ops, "tf": tf}
    exec(inspect.getsource(Decorated), names)
    return names["Decorated"]()


@pytest.mark.parametrize(
    ("make", "raises"),
    [
        (Decorated, contextlib.nullcontext()),
        (without_source, pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match=NO_BOOL)),
    ],
)
def test_tf_function_on_call_helps_where_there_is_a_source(make, raises):
    with raises:
        np.testing.assert_array_equal(Subclassed(make()).limit(LARGE), [[0.25, 1.0]])
    with raises:
        assert keras.Sequential([make()]).predict(4 * SMALL, verbose=0).max() == 1


def test_tf_function_elsewhere_does_not_help():
    layer = Limit(by_if)

    @tf.function
    def call(inputs):
        return layer(inputs)

    class Model(Subclassed):
        @tf.function
        def call(self, inputs):
            return self.limit(inputs)

    for attempt in call, Model(layer):
        with pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match=NO_BOOL):
            attempt(LARGE)
