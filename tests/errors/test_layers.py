"""`docs/errors/layers.md`: every claim that the page makes, proved on the code that it shows.

Its layers pass the checkup but for two things, which would hide the line that an entry is about: they have no docstring
and no `compute_output_shape`. And they aren't registered, so that only the process that defines them can load them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
import warnings
from collections import deque

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tests import contract
from tests.shown import Shown, maker, shown

MODULE = "snippets.errors.layers"
ONES = np.ones((2, 3), dtype="float32")
RNG = np.random.default_rng(0)
DRAWN = RNG.normal(size=(5, 4)).astype("float32")
SEQUENCES = RNG.normal(size=(5, 7, 4)).astype("float32")
registered = keras.saving.register_keras_serializable(package="tests_errors_layers")


@functools.cache
def fails(topic: str) -> Shown:
    return shown(MODULE, f"{topic}_fails")


@functools.cache
def works(topic: str) -> Shown:
    """The form that works, after the one that fails: it uses what that defined."""
    return shown(MODULE, f"{topic}_fails", f"{topic}_works")


def with_random_weights(layer: keras.layers.Layer, x: np.ndarray) -> list[np.ndarray]:
    """Builds a layer on inputs, and gives it weights that no initializer gives."""
    layer(x)
    weights = [RNG.normal(size=weight.shape).astype("float32") for weight in layer.weights]
    layer.set_weights(weights)
    return weights


# --- every form that works --------------------------------------------------------------------------------------------


CASES = {
    "name_works, Scale": (("name", "Scale", {}), [(4,), (7, 4)]),
    "kwargs_works, Power": (("kwargs", "Power", {"exponent": 3}), [(4,), (7, 4)]),
    "axis_works, Projection": (("axis", "Projection", {}), [(4,), (None, 4), (2, 3, 4)]),
    "untracked_works, Gain": (("untracked", "Gain", {}), [(4,), (7, 4)]),
    "untracked_works, Stack": (("untracked", "Stack", {}), [(4,), (7, 4)]),
    "kerastensor_works, Sum": (("kerastensor", "Sum", {}), [(4,), (7, 4)]),
    "mask_works, TimesOne": (("mask", "TimesOne", {}), [(4,), (7, 4)]),
    "late_works, Scale": (("late", "Scale", {}), [(4,), (7, 4)]),
    "late_works, Project": (("late", "Project", {}), [(4,), (7, 4)]),
    "if_works, Limit": (("if", "Limit", {}), [(4,), (7, 4)]),
    "if_works, LimitByCond": (("if", "LimitByCond", {}), [(4,), (7, 4)]),
}
LEFT_OUT = {"inside_time_distributed": "an entry shows no compute_output_shape"}
CAUGHT = {
    "Scale of name_fails": contract.Wrong(maker("Scale", MODULE, "name_fails"), (4,), "can_be_called"),
    "Total of name_fails": contract.Wrong(fails("name")["Total"], (DRAWN, DRAWN), "can_be_made"),
    "Power of kwargs_fails": contract.Wrong(
        maker("Power", MODULE, "kwargs_fails", arguments=(3,)), (4,), "base_arguments"
    ),
    "Projection of axis_fails": contract.Wrong(maker("Projection", MODULE, "axis_fails"), (7, 4), "can_be_called"),
    "Gain of untracked_fails": contract.Wrong(maker("Gain", MODULE, "untracked_fails"), (4,), "tracked_weights"),
    "Stack of untracked_fails": contract.Wrong(maker("Stack", MODULE, "untracked_fails"), (4,), "tracked_weights"),
    "TimesOne of mask_fails": contract.Wrong(
        maker("TimesOne", MODULE, "mask_fails"), (7, 4), "mask_goes_on", "mask ends"
    ),
    "Scale of late_fails": contract.Wrong(maker("Scale", MODULE, "late_fails"), (4,), "can_be_called"),
    "Project of late_fails": contract.Wrong(maker("Project", MODULE, "late_fails"), (4,), "tracked_weights"),
    "Limit of if_fails": contract.Wrong(maker("Limit", MODULE, "if_fails"), (4,), "graph_call"),
}


def made(topic: str, name: str, arguments: dict, /, **options) -> keras.layers.Layer:
    return works(topic)[name](**arguments, **options)


@pytest.mark.parametrize(("which", "inputs"), CASES.values(), ids=CASES)
@pytest.mark.proves("Here one number of the whole batch decides, so that a sample depends on the others.")
def test_a_form_that_works_passes_the_checkup(which, inputs):
    """But for the rows of those that limit a batch: they depend on each other, as the page says."""
    left_out = LEFT_OUT | ({"rows_are_independent": "one number decides for the batch"} if which[0] == "if" else {})
    contract.passes_the_checkup(contract.Layer(functools.partial(made, *which), inputs, left_out))
    if which[0] == "if":
        rows = np.array([[2.0, 1.0], [4.0, 0.0]], "float32")
        assert not np.allclose(made(*which)(rows)[:1], made(*which)(rows[:1]))


@pytest.mark.parametrize("case", CAUGHT.values(), ids=CAUGHT)
def test_a_wrong_form_is_caught(case):
    contract.is_caught(case)


@pytest.mark.parametrize(("which", "inputs"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")  # the model builds what the layer doesn't
def test_each_form_that_works_comes_back_from_a_file(which, inputs, tmp_path):
    layer = made(*which, name="by_name")
    model = keras.Sequential([keras.Input(inputs[0]), layer])
    with_random_weights(model, DRAWN)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={type(layer).__name__: type(layer)})
    np.testing.assert_array_equal(loaded(DRAWN), model(DRAWN))
    assert loaded.layers[0].name == "by_name"


# --- add-weight-name --------------------------------------------------------------------------------------------------


class AddsWeight(keras.layers.Layer):
    """Creates its one weight with the arguments that it is given."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.weight = self.add_weight(*args, **kwargs)


class ModelAddsWeight(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.weight = self.add_weight(*args, **kwargs)


class MetricAddsWeight(keras.metrics.Metric):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.weight = self.add_weight(*args, **kwargs)


@pytest.mark.proves("From Keras 3.14 on, a layer or a model names the mistake.")
@pytest.mark.parametrize("base", [AddsWeight, ModelAddsWeight])
@pytest.mark.parametrize("arguments", [("scale",), ("scale", (3,)), ("scale", (3,), "ones")])
def test_a_positional_name_is_refused_by_a_layer_and_a_model(base, arguments):
    with pytest.raises(ValueError, match=r"^`name` must be passed as a keyword argument\. "):
        base(*arguments)
    assert "a layer, ValueError: `name` must be passed as a keyword argument" in fails("name").printed


@pytest.mark.proves(
    "A metric, whose `add_weight` is its own, reads the name as a shape where it is given an initializer "
    "and no `shape`."
)
def test_a_positional_name_is_read_as_a_shape_by_a_metric():
    with pytest.raises(TypeError, match="multiple values for argument 'shape'"):
        MetricAddsWeight("total", shape=(), initializer="zeros")
    with pytest.raises(ValueError, match=r"^Cannot convert 'total' to a shape\."):
        MetricAddsWeight("total", initializer="zeros")
    with pytest.raises(ValueError, match=r"^Cannot convert 'total' to a shape\."):
        fails("name")["Total"]()
    assert keras.metrics.Metric.add_weight is not keras.layers.Layer.add_weight


@pytest.mark.proves("The first positional argument of `add_weight` is the shape")
@pytest.mark.parametrize("base", [AddsWeight, ModelAddsWeight, MetricAddsWeight])
def test_the_first_positional_argument_is_the_shape(base):
    assert base((3,), initializer="ones").weight.shape == (3,)


@pytest.mark.proves(
    "Pass `name=` and `shape=` by keyword.", "A metric's total is a scalar, which is the default shape."
)
def test_keywords_work_and_a_metric_needs_no_shape():
    total = works("name")["Total"]().total
    assert (total.name, total.shape, float(total)) == ("total", (), 0.0)
    layer = works("name")["Scale"]()
    for x in DRAWN, SEQUENCES:
        (scale,) = with_random_weights(layer, x)
        np.testing.assert_allclose(layer(x), x * scale, rtol=1e-6)
    assert (layer.scale.name, layer.scale.shape) == ("scale", (4,))


@pytest.mark.proves(
    '`keras.Input("image")` raises `Cannot convert \'image\' to a shape` too: pass the shape, and `name="image"`.'
)
def test_an_input_reads_a_positional_name_as_a_shape_too():
    with pytest.raises(ValueError, match=r"^Cannot convert 'image' to a shape\."):
        keras.Input("image")
    assert keras.Input((3,), name="image").shape == (None, 3)


# --- init-kwargs ------------------------------------------------------------------------------------------------------


OPTIONS = {"name": "square", "dtype": "float64", "trainable": False}


class Through(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class Names(Through):
    """Lists the arguments of Keras, and takes no others."""

    def __init__(self, exponent, name=None, dtype=None, trainable=True):
        super().__init__(name=name, dtype=dtype, trainable=trainable)


class Extends(Through):
    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent

    def get_config(self):
        return {**super().get_config(), "exponent": self.exponent}


class Kw(Through):
    def __init__(self, exponent, **kw):
        super().__init__(**kw)
        self.exponent = exponent


class KwExtends(Kw):
    def get_config(self):
        return {**super().get_config(), "exponent": self.exponent}


@pytest.mark.proves(
    "A constructor that takes neither `**kwargs` nor `name`, `dtype` and `trainable` refuses these three."
)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_constructor_refuses_each_option_that_it_does_not_take(option):
    with pytest.raises(TypeError, match=rf"^Power\.__init__\(\) got an unexpected keyword argument '{option}'$"):
        fails("kwargs")["Power"](2, **{option: OPTIONS[option]})
    assert getattr(Names(2, **{option: OPTIONS[option]}), option) == OPTIONS[option]


@pytest.mark.proves("Keras itself passes `trainable` and `dtype` when it makes a layer from its config.")
def test_keras_itself_passes_trainable_and_dtype():
    power = fails("kwargs")["Power"]
    assert set(power(2).get_config()) == {"exponent", "trainable", "dtype"}
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'trainable'$"):
        power.from_config(power(2).get_config())


@pytest.mark.proves(
    "If `get_config` extends that of `super()`, Keras passes `name` too, and the message is about `name`."
)
def test_with_get_config_the_message_is_about_the_name(tmp_path):
    assert set(Extends(2).get_config()) == {"exponent", "name", "trainable", "dtype"}
    message = r"Extends\.__init__\(\) got an unexpected keyword argument 'name'$"
    with pytest.raises(TypeError, match=message):
        Extends.from_config(Extends(2).get_config())
    keras.Sequential([keras.Input((3,)), Extends(2)]).save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match=message):
        keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Extends": Extends})


@pytest.mark.proves("Take `**kwargs` and pass it to `super().__init__`.")
@pytest.mark.parametrize("exponent", [2, 3, 5])
def test_with_kwargs_the_options_come_back_from_the_config(exponent):
    failing, power = fails("kwargs")["Power"](exponent), works("kwargs")["Power"]
    layer = power(exponent, **OPTIONS)
    copy = power.from_config(layer.get_config())
    assert (copy.exponent, copy.name, copy.dtype, copy.trainable) == (exponent, "square", "float64", False)
    np.testing.assert_allclose(copy(DRAWN), DRAWN.astype("float64") ** exponent, rtol=1e-5)
    np.testing.assert_allclose(failing(DRAWN), power(exponent)(DRAWN), rtol=1e-6)


@pytest.mark.proves(
    "Under another name, such as `**kw`, the layer's `name` isn't recorded, unless a `get_config` extends that of "
    "`super()`."
)
def test_the_spelling_of_kwargs_matters_without_get_config():
    def copied(cls):
        return cls.from_config(cls(2, name="square").get_config()).name

    assert copied(Kw) != "square"
    assert copied(KwExtends) == copied(works("kwargs")["Power"]) == copied(Names) == "square"


@pytest.mark.parametrize(("fails_or_works", "raises"), [(fails, True), (works, False)])
def test_cloning_makes_layers_from_their_configs(fails_or_works, raises):
    model = keras.Sequential([keras.Input((4,)), fails_or_works("kwargs")["Power"](3)])
    with pytest.raises(TypeError, match="argument 'trainable'") if raises else contextlib.nullcontext():
        np.testing.assert_array_equal(keras.models.clone_model(model)(DRAWN), model(DRAWN))


@pytest.mark.proves("The constructors of models and metrics refuse `name` in the same words.")
@pytest.mark.parametrize("base", [keras.Model, keras.metrics.Metric])
def test_models_and_metrics_refuse_the_name(base):
    class Bare(base):
        def __init__(self):
            super().__init__()

    with pytest.raises(TypeError, match=r"Bare\.__init__\(\) got an unexpected keyword argument 'name'$"):
        Bare(name="named")


# --- input-shape-axis -------------------------------------------------------------------------------------------------


UNEQUAL = "Dimensions must be equal, but are 4 and 7"
INCOMPATIBLE = "Matrix size-incompatible"
UNDEFINED = r"Shapes used to initialize variables must be fully-defined \(no `None` dimensions\)"


def of_steps(projection: type, steps: int | None = 7) -> keras.Model:
    inputs = keras.Input((steps, 4))
    return keras.Model(inputs, projection()(inputs))


def projecting(product) -> type:
    """The projection that fails, by another product."""

    class Projection(fails("axis")["Projection"]):
        def call(self, inputs):
            return product(inputs, self.kernel)

    return Projection


@pytest.mark.proves(
    "A weight is sized by `input_shape[1]`, which is the number of features only if the input is `(batch, features)`.",
    "On a sequence it is the number of steps.",
    "From Keras 3.15 on, with `ops.matmul` or `@` and an axis of unknown size, as the batch mostly is, the model is "
    "built, declares a shape that looks right, and fails at its first batch, in `predict` as `Dimensions "
    "must be equal, "
    "but are 4 and 7`. Other products and releases may raise those words while it is built.",
)
@pytest.mark.parametrize("product", [None, ops.matmul, lambda x, kernel: x @ kernel])
def test_the_wrong_axis_builds_a_model_that_fails_at_the_first_batch(product):
    wrong = projecting(product) if product else fails("axis")["Projection"]
    model, right = of_steps(wrong), of_steps(works("axis")["Projection"])
    assert model.output_shape == right.output_shape == (None, 7, 8)
    assert [one.weights[0].shape for one in (model, right)] == [(7, 8), (4, 8)]
    x, y = np.ones((2, 7, 4)), np.ones((2, 7, 8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=INCOMPATIBLE):
        model(x)
    with pytest.raises(ValueError, match=UNEQUAL):
        model.predict(x, verbose=0)
    model.compile(loss="mse")
    with pytest.raises(tf.errors.InvalidArgumentError, match=INCOMPATIBLE):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match=UNEQUAL):
        keras.Sequential([keras.Input((7, 4), batch_size=2), wrong()])
    assert keras.Sequential([keras.Input((7, None, 4), batch_size=2), wrong()]).output_shape == (2, 7, None, 8)


@pytest.mark.proves(
    "With `tf.matmul` or `einsum` in `call`, the wrong axis is noticed while the model is built, as `Dimensions must "
    "be equal`."
)
@pytest.mark.parametrize("product", [tf.matmul, functools.partial(ops.einsum, "bti,ij->btj")])
def test_with_other_products_it_fails_while_the_model_is_built(product):
    with pytest.raises(ValueError, match=rf"Could not automatically infer [\s\S]*{UNEQUAL}"):
        of_steps(projecting(product))


@pytest.mark.proves("If the number of steps is `None`, there is no size to take.")
def test_the_wrong_axis_has_no_size_if_it_is_none():
    with pytest.raises(ValueError, match=f"^{UNDEFINED}"):
        of_steps(fails("axis")["Projection"], None)


@pytest.mark.proves("If it happens to equal the number of features, nothing is raised at all.")
def test_the_wrong_axis_raises_nothing_if_the_sizes_happen_to_be_equal():
    x = SEQUENCES[:, :4]
    wrong, right = fails("axis")["Projection"](), works("axis")["Projection"]()
    with_random_weights(wrong, x), right(x)
    right.set_weights(wrong.get_weights())
    np.testing.assert_allclose(wrong(x), right(x), rtol=1e-6)


def test_the_first_axis_is_right_without_steps():
    wrong, right = fails("axis")["Projection"](), works("axis")["Projection"]()
    (kernel,) = with_random_weights(wrong, DRAWN)
    right(DRAWN), right.set_weights([kernel])
    np.testing.assert_allclose(wrong(DRAWN), DRAWN @ kernel, rtol=1e-5)
    np.testing.assert_allclose(wrong(DRAWN), right(DRAWN), rtol=1e-6)


@pytest.mark.proves("Size the weight by the last axis, which is the number of features.")
def test_the_last_axis_is_right_with_any_number_of_steps():
    model = of_steps(works("axis")["Projection"], None)
    for steps in 1, 7:
        x = SEQUENCES[:, :steps]
        (kernel,) = with_random_weights(model, x)
        np.testing.assert_allclose(model(x), x @ kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.proves(
    "`Matrix size-incompatible`: the layer is right, and is called on another number of features than it was built "
    "for.",
    "If `build` sets `self.input_spec = keras.InputSpec(axes={-1: input_shape[-1]})`, Keras says so: "
    "`expected axis -1 of input shape to have value 3`.",
)
def test_a_right_layer_on_another_width_says_so_only_with_input_spec():
    right = works("axis")["Projection"]

    class Specified(right):
        def build(self, input_shape):
            super().build(input_shape)
            self.input_spec = keras.InputSpec(axes={-1: input_shape[-1]})

    for layer, error, message in [
        (right(), tf.errors.InvalidArgumentError, INCOMPATIBLE),
        (Specified(), ValueError, "expected axis -1 of input shape to have value 3"),
    ]:
        layer(ONES)
        with pytest.raises(error, match=message):
            layer(DRAWN)


@pytest.mark.proves(
    "`must be fully-defined`: the size is an axis that isn't known, such as the batch, or the features after `Flatten` "
    "of a sequence without a length.",
    "Give `keras.Input` the sizes that weights depend on.",
)
def test_other_sizes_that_are_not_known():
    right = works("axis")["Projection"]

    class ByBatch(right):
        def build(self, input_shape):
            self.kernel = self.add_weight(name="kernel", shape=(input_shape[0], 8))

    with pytest.raises(ValueError, match=f"^{UNDEFINED}"):
        ByBatch()(keras.Input((3,)))
    with pytest.raises(ValueError, match=f"^{UNDEFINED}"):
        right()(layers.Flatten()(keras.Input((None, 3))))
    assert right()(layers.Flatten()(keras.Input((5, 3)))).shape == (None, 8)


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


def by_append_to_a_list_of_an_assigned_dict(layer):
    layer.groups = {"first": []}
    layer.groups["first"].append(dense())
    return layer.groups["first"][0]


def by_append_of_a_full_list(layer):
    layer.groups = []
    layer.groups.append([dense()])
    return layer.groups[0][0]


def by_append_to_a_list_that_was_put_into_a_dict(layer):
    layer.groups = {}
    layer.groups["a"] = []
    layer.groups["a"].append(dense())
    return layer.groups["a"][0]


def by_append_to_the_old_name(layer):
    blocks = []
    layer.blocks = blocks
    blocks.append(dense())
    return blocks[0]


def by_append_to_a_nested_list(layer):
    layer.groups = [[]]
    layer.groups[0].append(dense())
    return layer.groups[0][0]


def by_setdefault(layer):
    layer.blocks = {}
    return layer.blocks.setdefault("a", dense())


def in_a_deque(layer):
    layer.blocks = deque([dense()])
    return layer.blocks[0]


def in_an_object(layer):
    class Holder:
        def __init__(self):
            self.block = dense()

    layer.holder = Holder()
    return layer.holder.block


def by_a_function(layer):
    block = dense()
    layer.function = lambda inputs: block(inputs)
    return block


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


def assigned_tuple(layer):
    layer.blocks = (dense(),)
    return layer.blocks[0]


def assigned_dict(layer):
    layer.blocks = {"a": dense()}
    return layer.blocks["a"]


def as_an_attribute(layer):
    layer.block = dense()
    return layer.block


class Holds(keras.layers.Layer):
    """Holds a sublayer as ``hold`` does it and fetches it anew, so that nothing else tracks it."""

    def __init__(self, hold):
        super().__init__()
        held = hold(self)
        object.__setattr__(self, "fetch", lambda: held)

    def call(self, inputs):
        return self.fetch()(inputs)


@pytest.mark.proves(
    "Keras tracks what `add_weight` makes, `keras.Variable`s and layers, and the lists, tuples and dicts of them that "
    "you assign to an attribute.",
    "nor a layer put into a list by index.",
    "`self.blocks.append(layer)` is tracked too, until the first call.",
    "An append isn't tracked if its list was appended, or put under a key, after the outer one was assigned: "
    "`self.groups.append([])`, then `self.groups[-1].append(layer)`.",
    "Nor is an append by the list's old name: `self.blocks = blocks`, then `blocks.append(layer)`.",
    "Keras doesn't see a layer that a dict got by `setdefault`, or that is kept in a `deque`, in an object of a class "
    "of your own or by a function.",
)
@pytest.mark.parametrize(
    ("hold", "weights"),
    [
        (by_index, 0),
        (by_append_to_a_list_that_was_appended, 0),
        (by_append_to_a_list_that_was_put_into_a_dict, 0),
        (by_append_to_the_old_name, 0),
        (by_setdefault, 0),
        (in_a_deque, 0),
        (in_an_object, 0),
        (by_a_function, 0),
        (as_an_attribute, 2),
        (assigned_list, 2),
        (assigned_nested_list, 2),
        (assigned_tuple, 2),
        (assigned_dict, 2),
        (by_append, 2),
        (by_append_to_a_nested_list, 2),
        (by_append_to_a_list_of_an_assigned_dict, 2),
        (by_append_of_a_full_list, 2),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_which_sublayers_are_tracked(hold, weights):
    layer = Holds(hold)
    layer(ONES)
    assert len(layer.trainable_weights) == weights


@pytest.mark.proves("`self.blocks.append(layer)` is tracked too, until the first call.")
def test_after_the_first_call_an_append_raises():
    layer = Holds(by_append)
    layer(ONES)
    with pytest.raises(ValueError, match=REFUSED):
        layer.blocks.append(dense())


@pytest.mark.proves(
    "It never trains in `fit`, and nothing is raised.",
    "Keras tracks what `add_weight` makes, `keras.Variable`s",
    "It doesn't see a `tf.Variable`",
    "`fit` warns only if the whole model has nothing to train: `The model does not have any trainable weights`.",
)
@pytest.mark.parametrize(
    ("make", "trains"),
    [
        (lambda: fails("untracked")["Gain"](), False),
        (lambda: works("untracked")["Gain"](), True),
        (lambda: Times(keras.Variable(1.0)), True),
    ],
    ids=["tf.Variable", "add_weight", "keras.Variable"],
)
@pytest.mark.parametrize("alone", [True, False])
def test_which_variables_are_tracked_and_train(make, trains, alone):
    layer = make()
    model = keras.Sequential([keras.Input((3,)), layer, *([] if alone else [layers.Dense(3)])])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(ONES, 3 * ONES, epochs=5, verbose=0)
    assert (float(layer.gain) != 1.0) == (len(layer.trainable_weights) == 1) == trains
    told = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    assert told == (["The model does not have any trainable weights."] if alone and not trains else [])


class Times(keras.layers.Layer):
    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def call(self, inputs):
        return inputs * self.gain


@pytest.mark.proves("It never trains in `fit`, and nothing is raised.")
def test_a_layer_put_into_a_list_by_index_does_not_train():
    for stack, trains in (fails("untracked")["Stack"](), False), (works("untracked")["Stack"](), True):
        model = keras.Sequential([keras.Input((4,)), stack, layers.Dense(3)])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        before = [block.kernel.numpy() for block in stack.blocks]
        model.fit(DRAWN, DRAWN[:, :3], verbose=0)
        moved = [not np.array_equal(old, block.kernel) for old, block in zip(before, stack.blocks, strict=True)]
        assert moved == [trains, trains]


@pytest.mark.proves("A saved file doesn't hold a `tf.Variable`: after loading it has its initial value.")
def test_a_file_does_not_hold_a_tf_variable(tmp_path):
    for layer, loaded in (fails("untracked")["Gain"](), 1.0), (works("untracked")["Gain"](), 5.0):
        model = keras.Sequential([keras.Input((3,)), layer])
        layer.gain.assign(5.0)
        model.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Gain": type(layer)})
        assert float(copy.layers[0].gain) == loaded


@pytest.mark.proves("Use `add_weight`, and fill the list before you assign it.")
def test_what_is_tracked_computes_what_was_not():
    gains = fails("untracked")["Gain"](), works("untracked")["Gain"]()
    for start in None, 2.5:
        for gain in gains if start else ():
            gain.gain.assign(start)
        for gain in gains:
            np.testing.assert_allclose(gain(DRAWN), DRAWN * (start or 1.0), rtol=1e-6)
    hidden, stack = fails("untracked")["Stack"](), works("untracked")["Stack"]()
    first, shift, second, end = with_random_weights(stack, DRAWN)
    hidden(DRAWN)
    for block, weights in zip(hidden.blocks, [(first, shift), (second, end)], strict=True):
        block.set_weights(weights)
    expected = (DRAWN @ first + shift) @ second + end
    np.testing.assert_allclose(stack(DRAWN), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(hidden(DRAWN), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.proves(
    "`trainable weights: 0` is no mistake in a layer that hasn't been called yet, nor in one that is frozen by "
    "`trainable = False`."
)
def test_two_layers_that_have_none_by_right():
    layer = dense()
    assert layer.trainable_weights == []
    layer(ONES)
    assert len(layer.trainable_weights) == 2
    layer.trainable = False
    assert layer.trainable_weights == []


# --- kerastensor ------------------------------------------------------------------------------------------------------


KERAS_TENSOR = r"A KerasTensor cannot be used as input to a TensorFlow function\."


@pytest.mark.proves(
    "`keras.Input` returns a symbolic tensor, with a shape and no numbers, and so does each layer called on one.",
    "TensorFlow's functions refuse it between layers",
)
@pytest.mark.parametrize(
    "function",
    [tf.reduce_sum, tf.shape, tf.nn.relu, tf.cast, tf.stop_gradient, lambda x, *_: tf.concat([x, x], axis=-1)],
)
def test_tensorflow_refuses_what_input_returns_and_what_layers_return(function):
    inputs = keras.Input((3,))
    for symbolic in inputs, keras.layers.Dense(3)(inputs):
        assert symbolic.shape == (None, 3)
        assert not hasattr(symbolic, "numpy")
        with pytest.raises(ValueError, match=f"^{KERAS_TENSOR}"):
            function(symbolic, *(["float32"] if function is tf.cast else []))


LEFT = (
    "Operators such as `*` and `@` belong to Keras, and work with the symbolic tensor on the left of a number, an "
    "array or a tensor, except `==`: `inputs == 1` is `False`. Use `ops.equal`."
)


@pytest.mark.proves(LEFT)
def test_operators_work():
    inputs, matrix = keras.Input((4,)), tf.constant(DRAWN[:4, :2])
    model = keras.Model(inputs, [inputs * 2.0, inputs @ matrix])
    for out, expected in zip(model(DRAWN), [DRAWN * 2, DRAWN @ matrix.numpy()], strict=True):
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    ones, two = np.ones(4, dtype="float32"), keras.Variable(2.0)
    compared = [inputs * ones, inputs * two, inputs > tf.constant(1.0), inputs != 1, ops.equal(inputs, 1.0), -inputs]
    assert all(out.shape == (None, 4) for out in compared)
    assert (inputs == 1) is False
    with pytest.raises(ValueError, match=KERAS_TENSOR):
        inputs == tf.constant(1.0)  # noqa: B015
    for operation in lambda listed: inputs + listed, lambda listed: inputs * listed:
        with pytest.raises(ValueError, match=r"^Invalid dtype: list"):
            operation([1.0, 2.0, 3.0, 4.0])


@pytest.mark.proves(
    LEFT, "`np.ones(3) * inputs`, `keras.Variable(2.0) * inputs` and `tf.constant(1.0) < inputs` raise."
)
@pytest.mark.parametrize(
    "operation",
    [
        lambda inputs: np.ones(3) * inputs,
        lambda inputs: np.float32(2.0) * inputs,
        lambda inputs: np.ones((2, 3)) @ inputs,
        lambda inputs: keras.Variable(2.0) * inputs,
        lambda inputs: keras.Variable(2.0) - inputs,
        lambda inputs: tf.constant(1.0) < inputs,
    ],
)
def test_operators_may_raise_with_the_symbolic_tensor_on_the_right(operation):
    with pytest.raises(ValueError, match=rf"{KERAS_TENSOR}|A KerasTensor is symbolic"):
        operation(keras.Input((3,)))


@pytest.mark.proves(
    "and in `compute_mask`, which gets symbolic tensors while a functional model is built.",
    "In `compute_mask` use `keras.ops`.",
)
def test_compute_mask_gets_symbolic_tensors():
    class MasksZeros(Through):
        def __init__(self, any_of):
            super().__init__()
            self.any_of = any_of

        def compute_mask(self, inputs, previous_mask=None):
            return self.any_of(inputs != 0, axis=-1)

    by_tf, by_keras = MasksZeros(tf.reduce_any), MasksZeros(ops.any)
    assert mean(by_tf(STEPS)) == 3.0  # called on data it works
    with pytest.raises(ValueError, match=f"^{KERAS_TENSOR}"):
        by_tf(keras.Input((4, 1)))
    inputs = keras.Input((4, 1))
    assert keras.Model(inputs, layers.GlobalAveragePooling1D()(by_keras(inputs)))(STEPS).numpy().item() == 3.0


@pytest.mark.proves("Use the function of `keras.ops`, or call TensorFlow's inside the `call` of a layer.")
def test_keras_ops_and_a_layer_work():
    for total in works("kerastensor")["model"](DRAWN[:, :3]):
        np.testing.assert_allclose(total, DRAWN[:, :3].sum(axis=-1), rtol=1e-5, atol=1e-6)


@pytest.mark.proves(
    "A loss or a layer that passes a tensor kept from building a model, such as `model.output`, to a function of "
    "TensorFlow raises it too.",
    "Use the arguments of the function instead.",
)
def test_a_tensor_kept_from_building_raises_it_too():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(loss=lambda y, y_pred: tf.reduce_mean(model.output))
    with pytest.raises(ValueError, match=KERAS_TENSOR):
        model.fit(ONES, ONES[:, :1], verbose=0)
    model.compile(loss=lambda y, y_pred: tf.reduce_mean(y_pred))
    model.fit(ONES, ONES[:, :1], verbose=0)

    class Keeps(keras.layers.Layer):
        def call(self, inputs):
            return tf.reduce_sum(model.output) + inputs

    with pytest.raises(ValueError, match=KERAS_TENSOR):
        Keeps()(ONES)


@pytest.mark.proves(
    "A layer that only adds or multiplies it returns a symbolic tensor, and `fit` raises a `TypeError`, unless it runs "
    "eagerly."
)
@pytest.mark.parametrize("operation", [lambda x, kept: x + kept, lambda x, kept: x * kept])
def test_a_layer_with_an_operator_returns_a_symbolic_tensor(operation):
    inputs = keras.Input((3,))
    kept = keras.layers.Dense(3)(inputs)

    class Keeps(keras.layers.Layer):
        def call(self, inputs):
            return operation(inputs, kept)

    model = keras.Model(inputs, Keeps()(inputs))
    assert isinstance(model(ONES), keras.KerasTensor)
    model.compile(loss="mse")
    for run in lambda: model.fit(ONES, ONES, verbose=0), lambda: model.predict(ONES, verbose=0):
        with pytest.raises(TypeError, match=r"To be compatible with tf\.function|Failed to convert elements"):
            run()
    model.compile(loss="mse", run_eagerly=True)
    with pytest.raises(ValueError, match=KERAS_TENSOR):
        model.fit(ONES, ONES, verbose=0)


@pytest.mark.proves("NumPy, and a `tf.function`, say `A KerasTensor is symbolic`.")
@pytest.mark.parametrize("function", [np.exp, np.mean, tf.function(lambda x: x + 1)])
def test_numpy_and_a_tf_function_say_it_in_other_words(function):
    with pytest.raises(ValueError, match="A KerasTensor is symbolic"):
        function(keras.Input((3,)))


# --- mask-lost --------------------------------------------------------------------------------------------------------


STEPS = np.array([[[2.0], [4.0], [0.0], [0.0]]], dtype="float32")
BELOW = -STEPS
TARGETS = np.array([[[2.0], [4.0], [9.0], [9.0]]])  # the padding is off by 9
WARNING = r"^Layer '\w+' \(of type \w+\) was passed an input .* this layer does not support masking and will "


class TakesMask(keras.layers.Layer):
    def call(self, inputs, mask=None):
        return inputs * 1.0


class EverySecond(keras.layers.Layer):
    """Changes the number of steps."""

    def call(self, inputs):
        return inputs[:, ::2]

    def compute_mask(self, inputs, previous_mask=None):
        return None if previous_mask is None else previous_mask[:, ::2]


class Composed(keras.layers.Layer):
    """Returns what a layer inside it returns."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Rescaling(1.0)

    def call(self, inputs):
        return self.inner(inputs)


def masked(steps: np.ndarray = STEPS) -> tf.Tensor:
    return keras.layers.Masking()(steps)


def mean(steps, **options) -> float:
    return keras.layers.GlobalAveragePooling1D()(steps, **options).numpy().item()


def has_mask(tensor) -> bool:
    return getattr(tensor, "_keras_mask", None) is not None


class Subclassed(keras.Model):
    """Does in `call` what it is given."""

    def __init__(self, run, **sublayers):
        super().__init__()
        self.run, self.sublayers = run, sublayers

    def call(self, inputs):
        return self.run(inputs, **self.sublayers)


def through(operation):
    """The mean of the steps: called on data, in a functional and in a subclassed model."""
    inputs = keras.Input((4, 1))
    steps = operation(keras.layers.Masking()(inputs))
    functional = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(steps))
    subclassed = Subclassed(
        lambda x, mask, mean: mean(operation(mask(x))), mask=layers.Masking(), mean=layers.GlobalAveragePooling1D()
    )
    return {
        mean(operation(masked())),
        *(model(STEPS).numpy().item() for model in (functional, subclassed)),
        *(model.predict(STEPS, verbose=0).item() for model in (functional, subclassed)),
    }


OPERATIONS = [
    lambda h: h * 1.0,
    lambda h: ops.multiply(h, 1.0),
    lambda h: h + h - h,
    lambda h: ops.concatenate([h, h], axis=-1)[..., :1],
]


@pytest.mark.proves(
    "in an operation outside a layer, `steps * 1.0` or one of `keras.ops`, silently;",
    "Padding is counted: `mean of 2 and 4: 1.5`",
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_ends_the_mask_silently(operation):
    assert through(operation) == {1.5}
    assert "an operation, warnings: 0\nmean of 2 and 4: 1.5" in fails("mask").printed


@pytest.mark.proves(
    "in a layer of your own that doesn't declare `supports_masking`, with a warning;",
    "To take a `mask` in `call` isn't enough.",
)
@pytest.mark.parametrize("make", [lambda: fails("mask")["TimesOne"](), TakesMask])
def test_a_layer_that_does_not_declare_it_ends_the_mask_with_a_warning(make):
    with pytest.warns(UserWarning, match=WARNING):
        assert through(make()) == {1.5}


@pytest.mark.proves(
    "A mask is attached to one tensor, and layers propagate it to their output.",
    "Declare `supports_masking`, and do the operation in such a layer.",
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: works("mask")["TimesOne"](),
        lambda: layers.Rescaling(1.0),
        lambda: layers.Dropout(0.5),
        lambda: layers.Dense(1, kernel_initializer="ones"),
    ],
)
def test_a_layer_that_declares_it_and_built_in_ones_propagate_the_mask(make):
    assert through(make()) == {3.0}


def test_the_layer_that_works_computes_what_the_one_that_fails_does():
    failing, working = fails("mask")["TimesOne"](), works("mask")["TimesOne"]()
    for x in DRAWN, SEQUENCES:
        np.testing.assert_array_equal(failing(x), x)
        np.testing.assert_array_equal(working(x), x)
    means = re.findall(r"mean of 2 and 4: (.*)", works("mask").printed)
    assert means == ["1.5"] * 3 + ["3.0"] * 4


@pytest.mark.proves(
    "A layer that changes the number of steps defines `compute_mask` instead, which returns the new mask: Keras then "
    "sets `supports_masking` itself."
)
def test_compute_mask_declares_it_and_returns_the_mask_of_the_new_steps():
    assert EverySecond().supports_masking
    kept = EverySecond()(masked())
    assert kept.shape == (1, 2, 1)
    assert mean(kept) == 2.0

    class Declares(EverySecond):
        compute_mask = keras.layers.Layer.compute_mask

        def __init__(self):
            super().__init__()
            self.supports_masking = True

    with pytest.raises(tf.errors.InvalidArgumentError):  # a mask of four steps for two
        mean(Declares()(masked()))


@pytest.mark.proves("Without it `GlobalAveragePooling1D`, recurrent layers, attention and the loss count the padding.")
@pytest.mark.parametrize(
    ("make", "run"),
    [
        (layers.GlobalAveragePooling1D, lambda layer, x: layer(x)),
        (lambda: layers.SimpleRNN(1), lambda layer, x: layer(x)),
        (lambda: layers.GRU(1), lambda layer, x: layer(x)),
        (lambda: layers.LSTM(1), lambda layer, x: layer(x)),
        (lambda: layers.MultiHeadAttention(1, 2), lambda layer, x: layer(x[:, :2], x)),
        (layers.Attention, lambda layer, x: layer([x[:, :2], x])),
        (layers.AdditiveAttention, lambda layer, x: layer([x[:, :2], x])),
    ],
    ids=["pooling", "simple", "gru", "lstm", "multi-head attention", "attention", "additive attention"],
)
def test_without_the_mask_padding_is_counted(make, run):
    layer = make()
    without_padding = np.asarray(run(layer, tf.constant(STEPS[:, :2])))
    np.testing.assert_allclose(run(layer, masked()), without_padding, rtol=1e-5)
    assert not np.allclose(run(layer, masked() * 1.0), without_padding)


@pytest.mark.proves("attention and the loss count the padding.")
@pytest.mark.parametrize(("operation", "loss"), [(lambda h: h * 1.0, 40.5), (layers.Rescaling(1.0), 0.0)])
def test_so_does_the_loss(operation, loss):
    inputs = keras.Input((4, 1))
    model = keras.Model(inputs, operation(keras.layers.Masking()(inputs)))
    model.compile(loss="mse")
    assert model.evaluate(STEPS, TARGETS, verbose=0) == loss


def attend_to(steps, kept, attention):
    """Attention to `steps`, whose output is 0, is added to what is kept."""
    return layers.Add()([kept, attention(steps, steps)])


def zero_attention() -> keras.layers.Layer:
    return layers.MultiHeadAttention(1, 1, kernel_initializer="zeros")


@pytest.mark.proves(
    "in the input of `MultiHeadAttention`, silently: called on data, in a subclassed model or in a layer of your own, "
    "it removes the mask of `steps`.",
    "`MultiHeadAttention(h, h)` called on data, in a subclassed model or in a layer of your own | is removed from `h`, "
    "so a residual `Add` of `h` has none",
)
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.filterwarnings("ignore:Layer 'block'", "ignore:`build..` was called on layer")
def test_attention_in_a_layer_of_your_own_removes_it_in_a_functional_model_too(copy):
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention, self.add = zero_attention(), layers.Add()
            self.copy, self.mean = layers.Rescaling(1.0), layers.GlobalAveragePooling1D()

        def call(self, h):
            steps = self.copy(h) if copy else h
            return self.mean(self.add([h, self.attention(steps, steps)]))

    inputs = keras.Input((4, 1))
    model = keras.Model(inputs, Block()(keras.layers.Masking()(inputs)))
    for found in model(STEPS).numpy(), model.predict(STEPS, verbose=0):
        assert found.item() == (3.0 if copy else 1.5)


@pytest.mark.proves(
    "`MultiHeadAttention(h, h)` called on data, in a subclassed model or in a layer of your own | is removed from `h`, "
    "so a residual `Add` of `h` has none",
)
def test_attention_removes_the_mask_of_its_input():
    h = masked()
    attended = zero_attention()(h, h)
    assert has_mask(attended)
    assert not has_mask(h)
    assert not has_mask(layers.Add()([h, attended]))
    assert mean(h) == 1.5

    def residual(inputs, mask, attention, mean, add):
        h = mask(inputs)
        attended = attention(h, h)
        return mean(h), mean(add([h, attended]))

    model = Subclassed(
        residual,
        mask=layers.Masking(),
        attention=zero_attention(),
        mean=layers.GlobalAveragePooling1D(),
        add=layers.Add(),
    )
    assert [out.numpy().item() for out in model(STEPS)] == [1.5, 1.5]
    assert [out.item() for out in model.predict(STEPS, verbose=0)] == [1.5, 1.5]
    assert "the input of attention, warnings: 0\nmean of 2 and 4: 1.5" in fails("mask").printed


@pytest.mark.proves(
    "`MultiHeadAttention(h, h)` between the layers of a functional model | The mask of `h` reaches the layers after "
    "it. It reaches neither the loss behind a residual `Add`, nor the layers inside a layer of your own whose `call` "
    "has no `mask` argument"
)
@pytest.mark.parametrize(
    ("takes_it", "attends", "expected"), [(False, True, 1.5), (True, True, 3.0), (False, False, 3.0)]
)
def test_in_a_functional_model_the_layers_inside_your_own_may_miss_it(takes_it, attends, expected):
    class Pools(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True
            self.mean = layers.GlobalAveragePooling1D()

        def call(self, steps):
            return self.mean(steps)

    class PoolsByMask(Pools):
        def call(self, steps, mask=None):
            return self.mean(steps, mask=mask)

    inputs = keras.Input((4, 1))
    h = keras.layers.Masking()(inputs)
    steps = attend_to(h, h, zero_attention()) if attends else h
    model = keras.Model(inputs, (PoolsByMask if takes_it else Pools)()(steps))
    assert model(STEPS).numpy().item() == model.predict(STEPS, verbose=0).item() == expected


@pytest.mark.proves(
    "`MultiHeadAttention(h, h)` between the layers of a functional model | The mask of `h` reaches the layers after "
    "it. It reaches neither the loss behind a residual `Add`"
)
def test_in_a_functional_model_only_the_loss_misses_it():
    inputs = keras.Input((4, 1))
    h = keras.layers.Masking()(inputs)
    added = attend_to(h, h, zero_attention())
    pool = layers.GlobalAveragePooling1D()
    model = keras.Model(inputs, [pool(h), pool(added)])
    assert [out.numpy().item() for out in model(STEPS)] == [3.0, 3.0]
    model = keras.Model(inputs, added)
    model.compile(loss="mse")
    assert model.evaluate(STEPS, TARGETS, verbose=0) == 40.5


COPY = (
    "Let `MultiHeadAttention` attend to a copy that a layer made: `LayerNormalization` or `Rescaling(1.0)`, but not "
    "`Dropout`."
)


@pytest.mark.proves(COPY)
def test_not_each_layer_makes_a_copy_with_a_mask():
    def kept(layer) -> tuple[bool, bool]:
        h = masked()
        copy = layer(h)
        attended = has_mask(copy)
        zero_attention()(copy, copy)
        return attended, has_mask(h)

    for layer in layers.LayerNormalization(), layers.Rescaling(1.0):
        assert kept(layer) == (True, True)
    for layer in layers.Dropout(0.5), layers.Identity():  # return what they get
        assert kept(layer) == (True, False)
    with pytest.warns(UserWarning, match=WARNING):
        assert kept(layers.RMSNormalization()) == (False, True)  # attention counts the padding


@pytest.mark.proves(COPY)
@pytest.mark.parametrize("copy", [lambda: layers.Rescaling(1.0), layers.LayerNormalization])
def test_a_copy_keeps_the_mask(copy):
    inputs = keras.Input((4, 1))
    h = keras.layers.Masking()(inputs)
    functional = keras.Model(inputs, attend_to(copy()(h), h, zero_attention()))
    subclassed = Subclassed(
        lambda x, mask, copy, attention: attend_to(copy(h := mask(x)), h, attention),
        mask=layers.Masking(),
        copy=copy(),
        attention=zero_attention(),
    )
    subclassed(STEPS)
    for model in functional, subclassed:
        assert mean(model(STEPS)) == 3.0
        model.compile(loss="mse")
        assert model.evaluate(STEPS, TARGETS, verbose=0) == 0.0


MASK = (
    "Or pass `mask=` to the layers that use its input afterwards: `GlobalAveragePooling1D`, `BatchNormalization`, "
    "recurrent layers, `Bidirectional` and `TimeDistributed` take it; `Add`, `Concatenate`, `Dense`, `Dropout` and "
    "`LayerNormalization` don't."
)


@pytest.mark.proves(MASK)
@pytest.mark.parametrize(
    ("layer", "takes_it"),
    [
        (layers.GlobalAveragePooling1D(), True),
        (layers.BatchNormalization(), True),
        (layers.SimpleRNN(1), True),
        (layers.GRU(1), True),
        (layers.LSTM(1), True),
        (layers.Bidirectional(layers.LSTM(1)), True),
        (layers.TimeDistributed(layers.Dense(1)), True),
        (layers.Add(), False),
        (layers.Concatenate(), False),
        (layers.Dense(1), False),
        (layers.Dropout(0.5), False),
        (layers.LayerNormalization(), False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_which_layers_take_a_mask(layer, takes_it):
    steps = [STEPS, STEPS] if isinstance(layer, layers.Add | layers.Concatenate) else STEPS
    mask = keras.layers.Masking().compute_mask(STEPS)
    with contextlib.nullcontext() if takes_it else pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        layer(steps, mask=mask)


@pytest.mark.proves(MASK)
def test_a_mask_that_is_passed_is_respected():
    def residual(inputs, mask, attention, mean):
        h, kept = mask(inputs), mask.compute_mask(inputs)
        return mean(h + attention(h, h), mask=kept)

    model = Subclassed(
        residual, mask=layers.Masking(), attention=zero_attention(), mean=layers.GlobalAveragePooling1D()
    )
    assert model(STEPS).numpy().item() == 3.0
    assert model.predict(STEPS, verbose=0).item() == 3.0


ENDS = [
    layers.Conv1D(1, 1),
    layers.SeparableConv1D(1, 1),
    layers.DepthwiseConv1D(1),
    layers.EinsumDense("abc,cd->abd", (None, 1)),
    layers.RMSNormalization(),
    layers.Lambda(lambda x: x * 1.0),
    layers.Reshape((4, 1)),
    layers.Permute((1, 2)),
    layers.Flatten(),
    layers.Cropping1D(0),
    layers.ZeroPadding1D(1),
    layers.UpSampling1D(2),
]


@pytest.mark.proves(
    "`Conv1D`, `SeparableConv1D`, `DepthwiseConv1D`, `EinsumDense`, `RMSNormalization`, `Lambda` without `mask=`, "
    "`Reshape`, `Permute`, `Flatten`, `Cropping1D`, `ZeroPadding1D`, `UpSampling1D` | ends, with the warning"
)
@pytest.mark.parametrize("layer", ENDS, ids=lambda layer: type(layer).__name__)
def test_built_in_layers_that_end_a_mask(layer):
    with pytest.warns(UserWarning, match=WARNING):
        assert not has_mask(layer(masked()))


@pytest.mark.proves("`Lambda` without `mask=`")
def test_a_lambda_with_a_mask_propagates_it():
    assert through(layers.Lambda(lambda x: x * 1.0, mask=lambda inputs, mask: mask)) == {3.0}


@pytest.mark.proves(
    "`MaxPooling1D`, `AveragePooling1D`, `GlobalMaxPooling1D` | ends, with the warning; they count the padding even "
    "where there is a mask"
)
@pytest.mark.parametrize(
    ("layer", "counted"),
    [(layers.MaxPooling1D(4), 0.0), (layers.AveragePooling1D(4), -1.5), (layers.GlobalMaxPooling1D(), 0.0)],
    ids=lambda value: type(value).__name__,
)
def test_these_pooling_layers_count_the_padding(layer, counted):
    with pytest.warns(UserWarning, match=WARNING):
        out = layer(masked(BELOW))
    assert not has_mask(out)
    assert out.numpy().item() == counted  # of -2 and -4 it would be -2 or -3
    assert mean(masked(BELOW)) == -3.0


@pytest.mark.proves("`Dot`; `Add` and `Multiply`, if one of their inputs has no mask | ends, silently")
def test_layers_that_join_end_it_silently():
    assert not has_mask(layers.Dot(2)([masked(), masked()]))
    for layer in layers.Add(), layers.Multiply():
        assert has_mask(layer([masked(), masked()]))
        assert not has_mask(layer([masked(), tf.constant(STEPS)]))
        assert not has_mask(layer([tf.constant(STEPS), masked()]))


@pytest.mark.proves(
    "A layer of your own with two arguments and `supports_masking` | is that of the first argument; if that has none, "
    "it ends silently"
)
def test_supports_masking_propagates_the_mask_of_the_first_argument():
    class Adds(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, inputs, others):
            return inputs + others

    shorter = keras.layers.Masking()(STEPS * [[[1], [0], [0], [0]]])
    assert mean(Adds()(masked(), shorter)) == 4.0  # of 2 + 2 and 4 + 0
    np.testing.assert_array_equal(Adds()(masked(), shorter)._keras_mask, [[True, True, False, False]])
    np.testing.assert_array_equal(Adds()(shorter, masked())._keras_mask, [[True, False, False, False]])
    assert has_mask(Adds()(masked(), tf.constant(STEPS)))
    assert not has_mask(Adds()(tf.constant(STEPS), masked()))


@pytest.mark.proves(
    "One without `supports_masking` whose `call` returns its input, or what a layer inside it propagates | stays, and "
    "the warning is wrong"
)
@pytest.mark.parametrize("make", [Through, Composed])
def test_the_warning_is_wrong_where_the_mask_stays(make):
    with pytest.warns(UserWarning, match=WARNING):
        assert through(make()) == {3.0}


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


CLOSES = (
    "Keras closes a layer or a subclassed model to new weights and layers before its first `call`: from then on it "
    "refuses `add_weight`, and a layer assigned to an attribute or appended to a list."
)


@pytest.mark.proves(CLOSES)
@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
def test_a_layer_that_call_appends_to_a_list_is_refused(base):
    class Appends(base):
        def __init__(self):
            super().__init__()
            self.inner = []

        def call(self, inputs):
            if not self.inner:
                self.inner.append(keras.layers.Dense(2))
            return self.inner[0](inputs)

    with pytest.raises(ValueError, match=REFUSED):
        Appends()(ONES)
    for method, args in ("fit", (ONES, ONES)), ("predict", (ONES,)):
        model = keras.Sequential([Appends()])
        model.compile(loss="mse")
        with pytest.raises(ValueError, match=REFUSED):
            getattr(model, method)(*args, verbose=0)


@pytest.mark.proves(CLOSES)
@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
@pytest.mark.parametrize("create", [weight_in_call, layer_in_call])
def test_state_made_in_call_is_refused(base, create):
    with pytest.raises(ValueError, match=rf"^Exception encountered when calling Late\.call\(\)\.\n\n\S*{REFUSED}"):
        calling(base, create)(ONES)
    with pytest.raises(ValueError, match=rf"Could not automatically infer .*\n\n{REFUSED}"):
        calling(base, create)(keras.Input((3,)))
    with pytest.raises(ValueError, match=REFUSED):
        fails("late")["Scale"]()(ONES)


@pytest.mark.proves(
    "A layer that `call` makes and doesn't keep isn't seen.",
    "Called on data it gets new random weights each time, and a functional model accepts it silently.",
)
@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
def test_a_layer_that_call_does_not_keep_is_new_each_time(base):
    for layer in calling(base, lambda _layer, inputs: keras.layers.Dense(2)(inputs)), fails("late")["Project"]():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, layer(inputs))
        assert model.output_shape == (None, 2)
        assert not np.allclose(layer(ONES), layer(ONES))
        assert layer.weights == model.weights == []


@pytest.mark.proves(
    "`fit` and `predict` raise if such a layer has weights or a seed, as `Dense` and `Dropout` have.",
    "With `run_eagerly=True` they run, and it isn't trained.",
)
@pytest.mark.parametrize(
    ("make", "raises"),
    [
        (lambda: layers.Dense(2), True),
        (layers.BatchNormalization, True),
        (lambda: layers.Dropout(0.5), True),
        (layers.ReLU, False),
        (lambda: layers.Rescaling(2.0), False),
    ],
)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_fit_and_predict_raise_if_it_has_state(make, raises):
    model = keras.Sequential([calling(keras.layers.Layer, lambda _layer, inputs: make()(inputs))])
    targets = np.zeros(make()(DRAWN).shape)
    for run in lambda: model.predict(DRAWN, verbose=0), lambda: model.fit(DRAWN, targets, verbose=0):
        model.compile(loss="mse")
        with pytest.raises(ValueError, match=SINGLETON) if raises else contextlib.nullcontext():
            run()
        model.compile(loss="mse", run_eagerly=True)
        run()
    assert model.weights == []


AT_INDEX = (
    "They also run if the first `call` puts it at an index of a list: `self.inner[0] = Dense(4)`. It isn't trained "
    "either."
)


@pytest.mark.proves(AT_INDEX)
def test_a_layer_that_each_call_puts_there_raises_as_the_others():
    class PutsEachTime(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = [None]

        def call(self, inputs):
            self.inner[0] = layers.Dense(4)
            return self.inner[0](inputs)

    model = keras.Sequential([PutsEachTime(), layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"tf\.function only supports singleton tf\.Variables"):
        model.fit(DRAWN, np.ones((*DRAWN.shape[:-1], 1)), verbose=0)


@pytest.mark.proves(AT_INDEX)
@pytest.mark.parametrize("base", [keras.layers.Layer, keras.Model])
@pytest.mark.parametrize("eagerly", [False, True])
def test_a_layer_that_call_keeps_at_an_index_is_not_trained(base, eagerly):
    class Keeps(base):
        def __init__(self):
            super().__init__()
            self.inner = [None]

        def call(self, inputs):
            if self.inner[0] is None:
                self.inner[0] = layers.Dense(4)
            return self.inner[0](inputs)

    keeps = Keeps()
    model = keras.Sequential([keeps, layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", run_eagerly=eagerly)
    model(DRAWN)
    before = model.get_weights(), keeps.inner[0].get_weights()
    model.fit(DRAWN, np.ones((*DRAWN.shape[:-1], 1)), verbose=0)
    assert keeps.weights == []
    assert (model.get_weights()[0] != before[0][0]).any()
    contract.assert_same(keeps.inner[0].get_weights(), before[1])
    assert keras.Sequential([Keeps()]).predict(DRAWN, verbose=0).shape[-1] == 4


@pytest.mark.proves("In a layer, create weights in `build`, and layers in `__init__` or in `build`.")
@pytest.mark.parametrize("where", ["init", "build"])
def test_state_made_in_init_or_build_stays_trains_and_comes_back(where, tmp_path):
    @registered
    class Kept(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            if where == "init":
                self.dense = keras.layers.Dense(2)

        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=(input_shape[-1],))
            if where == "build":
                self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs * self.scale)

    layer = Kept()
    np.testing.assert_array_equal(layer(ONES), layer(ONES))
    model = keras.Sequential([layer])
    model.compile(loss="mse")
    before = [weight.numpy() for weight in layer.weights]
    model.fit(ONES, ONES[:, :2], verbose=0)
    assert len(model.trainable_weights) == 3
    assert not any(np.array_equal(old, new) for old, new in zip(before, layer.weights, strict=True))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(ONES), model(ONES))


def test_the_forms_that_work_compute_what_they_say():
    scale, project = works("late")["Scale"](), works("late")["Project"]()
    for x in DRAWN, SEQUENCES:
        (factor,) = with_random_weights(scale, x)
        assert factor.shape == (4,)
        np.testing.assert_allclose(scale(x), x * factor, rtol=1e-6)
    kernel, bias = with_random_weights(project, DRAWN)
    np.testing.assert_allclose(project(DRAWN), DRAWN @ kernel + bias, rtol=1e-4, atol=1e-5)
    outputs = []
    for cls in fails("late")["Project"], works("late")["Project"]:
        keras.utils.set_random_seed(1)
        outputs.append(cls()(DRAWN).numpy())
    np.testing.assert_array_equal(*outputs)


class InInit(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.scores = layers.Dense(4), layers.Dense(2)

    def call(self, inputs):
        return self.scores(self.hidden(inputs))


class InBuild(InInit):
    def __init__(self, **kwargs):
        keras.Model.__init__(self, **kwargs)

    def build(self, input_shape):
        self.hidden, self.scores = layers.Dense(4), layers.Dense(2)


class EmptyBuild(InInit):
    def build(self, input_shape):
        pass


class BuildsOne(InInit):
    def build(self, input_shape):
        self.hidden.build(input_shape)


class BuildsBoth(BuildsOne):
    def build(self, input_shape):
        super().build(input_shape)
        self.scores.build((None, 4))


@pytest.mark.proves(
    "In a model, create layers in `__init__` and write no `build`.",
    "A layer that a model's `build` makes and doesn't build has new random weights after `load_model`, and nothing is "
    "raised.",
)
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("cls", "back"), [(InInit, 4), (InBuild, 0), (EmptyBuild, 0), (BuildsOne, 2), (BuildsBoth, 4)])
def test_a_model_with_a_build_of_its_own_loses_what_that_does_not_build(cls, back, compiled, tmp_path):
    model = cls()
    if compiled:
        model.compile(optimizer="adam", loss="mse")
        model.fit(DRAWN, DRAWN[:, :2], verbose=0)
    outputs = model(DRAWN)
    assert len(model.weights) == 4
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={cls.__name__: cls})
    assert len(loaded.weights) == back
    assert np.allclose(loaded(DRAWN), outputs) == (back == 4)
    told = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    assert all(message.startswith("Skipping variable loading for optimizer") for message in told)
    assert bool(told) == (compiled and back < 4)


@pytest.mark.proves(
    "A layer of a model is replaced or appended after the first call.",
    "Make a new model of the old layers: `keras.Sequential([model.features, keras.layers.Dense(5)])`.",
)
def test_a_layer_is_not_replaced_after_the_first_call():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.features, self.heads = layers.Dense(4), [layers.Dense(2)]

        def call(self, inputs):
            return self.heads[0](self.features(inputs))

    model = Classifier()
    model(DRAWN)
    with pytest.raises(ValueError, match=f"^{REFUSED}"):
        model.features = keras.layers.Dense(4)
    with pytest.raises(ValueError, match=f"^{REFUSED}"):
        model.heads.append(keras.layers.Dense(5))
    new = keras.Sequential([model.features, keras.layers.Dense(5)])
    new.compile(loss="mse")
    before = model.features.kernel.numpy()
    new.fit(DRAWN, np.ones((5, 5)), verbose=0)
    assert len(new.trainable_weights) == 4
    assert not np.array_equal(before, model.features.kernel)


@pytest.mark.proves(
    "`build` runs twice, often on an inner layer that came back from a file already built: `if not self.inner.built: "
    "self.inner.build(input_shape)`."
)
@pytest.mark.parametrize("asks", [False, True])
def test_an_inner_layer_comes_back_built(asks, tmp_path):
    @registered
    class Wraps(keras.layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def build(self, input_shape):
            if not (asks and self.inner.built):
                self.inner.build(input_shape)

        def call(self, inputs):
            return self.inner(inputs)

        def get_config(self):
            return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

        @classmethod
        def from_config(cls, config):
            return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})

    model = keras.Sequential([keras.Input((4,)), Wraps(layers.Dense(2))])
    model.save(tmp_path / "model.keras")
    with contextlib.nullcontext() if asks else pytest.raises(ValueError, match=REFUSED):
        np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(DRAWN), model(DRAWN))
    layer = layers.Dense(2)
    layer.build((None, 4))
    with pytest.raises(ValueError, match=f"^{REFUSED}"):
        layer.build((None, 4))


def metric_in_train_step():
    class Counts(InInit):
        def train_step(self, data):
            metric = keras.metrics.Mean()
            metric.update_state(1.0)
            return {"one": metric.result()}

    model = Counts()
    model.compile(loss="mse")
    model.fit(DRAWN, DRAWN[:, :2], verbose=0)


def optimizer_in_train_step():
    class Optimizes(InInit):
        def train_step(self, data):
            keras.optimizers.Adam()
            return {}

    model = Optimizes()
    model.compile(loss="mse")
    model.fit(DRAWN, DRAWN[:, :2], verbose=0)


def layer_in_a_loss():
    model = InInit()
    model.compile(loss=lambda y, y_pred: ops.mean(keras.layers.Dense(2)(y_pred) - y))
    model.fit(DRAWN, DRAWN[:, :2], verbose=0)


def layer_in_map():
    tf.data.Dataset.from_tensors(DRAWN).map(lambda x: keras.layers.Dense(2)(x))


def layer_outside_map():
    layer = keras.layers.Dense(2)
    layer.build((None, 4))
    (out,) = tf.data.Dataset.from_tensors(DRAWN).map(lambda x: layer(x))
    assert out.shape == (5, 2)


@pytest.mark.proves(
    "A metric, an optimizer or a layer is made in `train_step`, in a loss or in `Dataset.map`.",
    "Make it outside, once.",
)
@pytest.mark.parametrize("run", [metric_in_train_step, optimizer_in_train_step, layer_in_a_loss, layer_in_map])
def test_what_is_made_in_a_graph_raises(run):
    with pytest.raises(ValueError, match=SINGLETON):
        run()
    layer_outside_map()


@pytest.mark.proves(
    "A `tf.function` of your own is called with a second optimizer, layer or `Sequential` model that isn't built.",
    "Build it before: call the layer or the model, or `optimizer.build(model.trainable_variables)`.",
)
def test_a_function_called_with_a_second_model_or_optimizer():
    @tf.function
    def step(model, optimizer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(DRAWN) ** 2)
        optimizer.apply(tape.gradient(loss, [v.value for v in model.trainable_variables]), model.trainable_variables)

    for make in lambda: keras.layers.Dense(2), lambda: keras.Sequential([keras.layers.Dense(2)]):
        apply = tf.function(lambda model: model(DRAWN))
        first, second, built = make(), make(), make()
        apply(first)
        with pytest.raises(ValueError, match=SINGLETON):
            apply(second)
        built(DRAWN)
        assert apply(built).shape == (5, 2)

    first = InInit()
    first(DRAWN)
    optimizers = [keras.optimizers.Adam() for _ in range(3)]
    step(first, optimizers[0])
    with pytest.raises(ValueError, match=SINGLETON):
        step(first, optimizers[1])
    optimizers[2].build(first.trainable_variables)
    step(first, optimizers[2])
    assert int(optimizers[2].iterations) == 1


# --- python-if-on-a-tensor --------------------------------------------------------------------------------------------


NO_BOOL = r"Using a symbolic `tf\.Tensor` as a Python `bool` is not allowed\. "
NO_ITERATION = r"Iterating over a symbolic `tf\.Tensor` is not allowed\. "
NOT_INFERRED = r"Could not automatically infer the output shape / dtype of .*\n\n"
NO_GRAPH = tf.errors.OperatorNotAllowedInGraphError
LARGE, SMALL = np.array([[1.0, 4.0]], dtype="float32"), np.array([[0.5, 0.25]], dtype="float32")


class Applies(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


class Limited(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.dense, self.limit = keras.layers.Dense(2), layer

    def call(self, inputs):
        return self.limit(self.dense(inputs))


def fitted(model: keras.Model, x: np.ndarray = LARGE, **options) -> int:
    model.compile(loss="mse", **options)
    model.fit(x, x, verbose=0)
    return int(model.optimizer.iterations)


def by_while(inputs):
    while ops.max(inputs) > 1.0:
        inputs = inputs / 2
    return inputs


def by_not(inputs):
    return inputs if not ops.max(inputs) > 1.0 else inputs / ops.max(inputs)


def by_assert(inputs):
    assert ops.max(inputs) > 1.0
    return inputs / ops.max(inputs)


def by_while_loop(inputs, **options):
    (halved,) = ops.while_loop(lambda x: ops.max(x) > 1.0, lambda x: (x / 2,), (inputs,), **options)
    return halved


LIMITED = [[0.25, 1.0]]


@pytest.mark.proves(
    "An `if`, a `while`, an `and`, a `not`, an `assert` or Python's `max` needs a value, which a layer called on data "
    "finds.",
    "`fit`, `predict`, and functional and `Sequential` models run `call` on tensors that have none yet.",
    "The last two say `Could not automatically infer the output shape` first; a `for` over a tensor says `Iterating "
    "over a symbolic`.",
)
@pytest.mark.parametrize(
    ("limit", "expected", "message"),
    [
        (None, LIMITED, NO_BOOL),
        (by_while, LIMITED, NO_BOOL),
        (lambda x: x / (ops.max(x) > 1.0 and ops.max(x)), LIMITED, NO_BOOL),
        (by_not, LIMITED, NO_BOOL),
        (by_assert, LIMITED, NO_BOOL),
        (lambda x: x / max(ops.max(x), 1.0), LIMITED, NO_BOOL),
        (lambda x: sum(row for row in x), [1.0, 4.0], NO_ITERATION),
    ],
    ids=["if", "while", "and", "not", "assert", "max", "for"],
)
def test_python_on_a_tensor_works_on_data_and_nowhere_else(limit, expected, message):
    make = functools.partial(Applies, limit) if limit else fails("if")["Limit"]
    np.testing.assert_array_equal(make()(LARGE), expected)
    cause = rf"^Exception encountered when calling \w+\.call\(\)\.\n\n\S*{message}"
    after_another = rf"^Exception encountered when calling \w+\.call\(\)\.\n\n\S*{NOT_INFERRED}{message}"
    with pytest.raises(NO_GRAPH, match=after_another):
        make()(keras.Input((2,)))
    with pytest.raises(NO_GRAPH, match=after_another):
        keras.Sequential([make()])(LARGE)
    with pytest.raises(NO_GRAPH, match=cause):
        Limited(make()).predict(LARGE, verbose=0)
    with pytest.raises(NO_GRAPH, match=cause):
        fitted(Limited(make()))


@pytest.mark.proves("A batch size from `ops.shape(x)[0]` is a tensor too.")
def test_a_batch_size_is_a_tensor():
    layer = Applies(lambda x: x if ops.shape(x)[0] > 1 else 2 * x)
    np.testing.assert_array_equal(layer(LARGE), 2 * LARGE)
    with pytest.raises(NO_GRAPH, match=NO_BOOL):
        layer(keras.Input((2,)))


@pytest.mark.proves("A loss and a `train_step` raise it for the same reason.")
def test_a_loss_and_a_train_step_raise_it():
    class Steps(InInit):
        def train_step(self, data):
            return {"loss": 1.0 if ops.max(data[0]) > 1 else 0.0}

    model = Steps()
    model.compile()
    with pytest.raises(NO_GRAPH, match=NO_BOOL):
        model.fit(LARGE, LARGE, verbose=0)
    model = InInit()
    model.compile(loss=lambda y, y_pred: ops.mean(y) if ops.max(y) > 1 else ops.mean(y_pred))
    with pytest.raises(NO_GRAPH, match=NO_BOOL):
        model.fit(LARGE, LARGE, verbose=0)


@pytest.mark.proves(
    "`run_eagerly=True` gives `fit` values, but functional and `Sequential` models are still built without them."
)
def test_run_eagerly_gives_values_to_fit():
    limit = fails("if")["Limit"]
    assert fitted(Limited(limit()), run_eagerly=True) == 1
    with pytest.raises(NO_GRAPH, match=NO_BOOL):
        fitted(keras.Sequential([keras.layers.Dense(2), limit()]), run_eagerly=True)
    with pytest.raises(NO_GRAPH, match=NO_BOOL):
        limit()(keras.Input((2,)))


@pytest.mark.parametrize("name", ["Limit", "LimitByCond"])
def test_the_forms_that_work_compute_what_the_one_that_fails_does(name):
    failing, working = fails("if")["Limit"](), works("if")[name]()
    inputs = [LARGE, SMALL, -LARGE, SMALL * 2.1, DRAWN, 3 * DRAWN, SEQUENCES]
    inputs += [np.array([[0.5, 0.2], [1.5, -3.0]]), np.array([[2.0, 1.0], [0.1, 0.2]]), np.array([[0.9, 1.05]])]
    for x in inputs:
        expected = x / x.max() if x.max() > 1 else x
        np.testing.assert_allclose(working(x), expected, rtol=1e-6)
        np.testing.assert_allclose(working(x), failing(x), rtol=1e-6)


@pytest.mark.proves(
    "`ops.where` chooses element by element, `ops.cond` one of two functions, and `ops.while_loop` repeats one."
)
@pytest.mark.parametrize(
    "make",
    [lambda: works("if")["Limit"](), lambda: works("if")["LimitByCond"](), lambda: Applies(by_while_loop)],
    ids=["where", "cond", "while_loop"],
)
def test_the_operations_of_keras_work_everywhere(make):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, make()(inputs))
    for x, expected in (LARGE, LIMITED), (SMALL, SMALL):
        np.testing.assert_array_equal(make()(x), expected)
        np.testing.assert_array_equal(model(x), expected)
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    assert fitted(keras.Sequential([keras.layers.Dense(2), make()])) == 1
    assert fitted(Limited(make())) == 1


@pytest.mark.proves(
    "`ops.where` chooses element by element, `ops.cond` one of two functions, and `ops.while_loop` repeats one."
)
def test_where_chooses_element_by_element_and_cond_one_of_two_functions():
    x = tf.constant([[1.0, -1.0]])
    np.testing.assert_array_equal(ops.where(x > 0, x, 10.0), [[1.0, 10.0]])
    called = []
    assert ops.cond(tf.constant(True), lambda: called.append("yes") or 1.0, lambda: called.append("no") or 0.0) == 1
    assert called == ["yes"]


def by_fori_loop(inputs):
    return ops.fori_loop(0, 3, lambda _step, x: x / 2, inputs)


def by_scan(inputs):
    total, _ = ops.scan(lambda total, row: (total + row, total), ops.zeros_like(inputs[0]), inputs)
    return inputs + total


@pytest.mark.proves(
    "Under XLA, `fit` refuses three loops if a gradient passes through them: `ops.fori_loop`, `ops.scan`, and "
    "`ops.while_loop` without `maximum_iterations`.",
    "The message is `XLA compilation requires a fixed tensor list size`.",
    "Keras compiles with XLA if `compile` is given `jit_compile=True`",
)
@pytest.mark.parametrize("loop", [by_while_loop, by_fori_loop, by_scan])
def test_under_xla_a_loop_may_have_no_gradient(loop):
    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA compilation requires a fixed tensor list size"):
        fitted(keras.Sequential([keras.layers.Dense(2), Applies(loop)]), jit_compile=True)
    assert fitted(keras.Sequential([Applies(loop), keras.layers.Dense(2)]), jit_compile=True) == 1
    assert fitted(keras.Sequential([keras.layers.Dense(2), Applies(loop)])) == 1


@pytest.mark.proves("and `ops.while_loop` without `maximum_iterations`.")
def test_under_xla_a_while_loop_needs_its_maximum():
    loop = functools.partial(by_while_loop, maximum_iterations=50)
    assert fitted(keras.Sequential([keras.layers.Dense(2), Applies(loop)]), jit_compile=True) == 1


@pytest.mark.proves(
    "It doesn't with `run_eagerly=True`, with a layer such as `RandomRotation` or `StringLookup`, or after "
    "`enable_op_determinism()`.",
    "Then `jit_compile=True` only warns, such as `Model doesn't support `jit_compile=True``.",
)
@pytest.mark.parametrize(
    ("layer", "deterministic", "eagerly"),
    [
        (lambda: layers.RandomRotation(0.1), False, False),
        (lambda: layers.TimeDistributed(layers.RandomRotation(0.1)), False, False),
        (lambda: layers.StringLookup(vocabulary=["a"]), False, False),
        (lambda: layers.Dense(2), True, False),
        (lambda: layers.Dense(2), False, True),
    ],
    ids=["RandomRotation", "wrapped", "StringLookup", "determinism", "eager"],
)
def test_jit_compile_is_not_always_obeyed(layer, deterministic, eagerly, monkeypatch):
    config = importlib.import_module("tensorflow.python.framework.config")
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: deterministic)
    model = keras.Sequential([layer()])
    warning = "If `run_eagerly` is True, then" if eagerly else "Model doesn't support `jit_compile=True`."
    with pytest.warns(UserWarning, match=f"^{re.escape(warning)}"):
        model.compile(loss="mse", jit_compile=True, run_eagerly=eagerly)
    assert model.jit_compile is False


@pytest.mark.proves("With `maximum_iterations=50` the loop stops after 50 rounds, finished or not.")
def test_the_maximum_stops_the_loop():
    for power, expected in (52, 4.0), (50, 1.0), (3, 1.0):
        assert by_while_loop(tf.constant([2.0**power]), maximum_iterations=50).numpy().item() == expected


@pytest.mark.proves("and by default on a GPU that isn't Apple's.")
@pytest.mark.parametrize(("system", "processor", "by_xla"), [("Linux", "x86_64", True), ("Darwin", "arm", False)])
def test_keras_chooses_xla_on_a_gpu(system, processor, by_xla, monkeypatch):
    def compiled() -> bool:
        model = keras.Sequential([keras.layers.Dense(2)])
        model.compile(loss="mse")
        return model.jit_compile

    assert not compiled()
    gpu = [tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _type=None: gpu)
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.processor", lambda: processor)
    assert compiled() == by_xla


@pytest.mark.proves("An `if` on a Python value, such as `training`, is fine.")
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


HELPS = (
    "The `@tf.function` that the message recommends helps on the function that holds the `if`, where TensorFlow finds "
    "its source."
)


@pytest.mark.proves(HELPS)
@pytest.mark.parametrize(
    ("make", "raises"),
    [
        (Decorated, contextlib.nullcontext()),
        (without_source, pytest.raises(NO_GRAPH, match=NO_BOOL)),
    ],
)
def test_tf_function_on_call_helps_where_there_is_a_source(make, raises):
    with raises:
        np.testing.assert_array_equal(Limited(make()).limit(LARGE), LIMITED)
    with raises:
        assert keras.Sequential([make()]).predict(4 * SMALL, verbose=0).max() == 1


class ByMethod(keras.layers.Layer):
    def call(self, inputs):
        return self.limited(inputs)

    @tf.function
    def limited(self, inputs):
        largest = ops.max(inputs)
        if largest > 1.0:
            inputs = inputs / largest
        return inputs


@pytest.mark.proves(HELPS)
def test_tf_function_helps_on_each_function_that_holds_the_if():
    @tf.function
    def limited(inputs):
        if ops.max(inputs) > 1.0:
            return inputs / ops.max(inputs)
        return inputs

    for layer in ByMethod(), Applies(limited):
        inputs = keras.Input((2,))
        np.testing.assert_array_equal(keras.Model(inputs, layer(inputs))(LARGE), LIMITED)
        assert fitted(keras.Sequential([keras.layers.Dense(2), layer])) == 1

    @tf.function
    def loss(y, y_pred):
        if ops.max(y) > 1.0:
            return ops.mean((y - y_pred) ** 2)
        return ops.mean(y_pred)

    class Steps(InInit):
        @tf.function
        def train_step(self, data):
            largest = ops.max(data[0])
            if largest > 1.0:
                largest = 1.0
            return {"largest": largest}

    model = InInit()
    model.compile(loss=loss)
    model.fit(LARGE, LARGE, verbose=0)
    model = Steps()
    model.compile()
    assert model.fit(LARGE, LARGE, verbose=0).history == {"largest": [1.0]}


class DividesInTheBranch(keras.layers.Layer):
    @tf.function
    def call(self, inputs):
        if ops.max(inputs) > 1.0:
            inputs = inputs / ops.max(inputs)
        return inputs


@registered
class DecoratedModel(InInit):
    """The `if` stands in a function that calls layers."""

    @tf.function
    def call(self, inputs):
        if ops.max(inputs) > 1.0:
            inputs = inputs / 2
        return self.scores(self.hidden(inputs))


@registered
class DecoratedMethod(InInit):
    """The `if` stands in a function without weights."""

    @tf.function
    def halved(self, inputs):
        if ops.max(inputs) > 1.0:
            inputs = inputs / 2
        return inputs

    def call(self, inputs):
        return self.scores(self.hidden(self.halved(inputs)))


class DecoratedBlock(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    @tf.function
    def call(self, inputs):
        if ops.max(inputs) > 1.0:
            inputs = inputs / 2
        return self.dense(inputs)


WITHOUT_WEIGHTS = "Put the `if` into a method that uses no weights and calls no layers."
ANOTHER = (
    "Another may compute with the initial values of its weights, silently in a loaded model; `fit` may raise `No "
    "gradients provided for any variable`."
)


@pytest.mark.proves(WITHOUT_WEIGHTS, ANOTHER)
@pytest.mark.parametrize("before", ["nothing", "Input", "data"])
def test_a_decorated_function_that_calls_layers_may_have_no_gradient(before):
    call = {"nothing": lambda model: None, "Input": lambda m: m(keras.Input((2,))), "data": lambda m: m(LARGE)}[before]
    for model, trains in (DecoratedModel(), before == "data"), (DecoratedMethod(), True):
        call(model)
        with contextlib.nullcontext() if trains else pytest.raises(ValueError, match=r"^No gradients provided for any"):
            assert fitted(model) == 1


@pytest.mark.proves(WITHOUT_WEIGHTS, ANOTHER)
def test_so_has_a_decorated_layer_in_a_functional_model_which_ignores_its_weights():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, DecoratedBlock()(inputs))
    model(LARGE)
    with pytest.raises(ValueError, match=r"^No gradients provided for any"):
        fitted(model)
    model.set_weights([np.zeros(weight.shape) for weight in model.weights])
    assert model.predict(np.ones((3, 2)), verbose=0).any()


@pytest.mark.proves(WITHOUT_WEIGHTS, ANOTHER)
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(("cls", "same"), [(DecoratedModel, False), (DecoratedMethod, True)])
def test_a_loaded_model_may_ignore_the_weights_that_it_has(cls, same, tmp_path):
    model = cls()
    model(LARGE)
    model.set_weights([RNG.normal(size=weight.shape) for weight in model.weights])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for mine, its in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert np.allclose(again(LARGE), model(LARGE)) is same
    assert np.allclose(again.predict(LARGE, verbose=0), model.predict(LARGE, verbose=0)) is same


@pytest.mark.proves(
    "`Detected unsupported operations` may come from an `if` in a `@tf.function` that was traced without XLA before, "
    "as it is when a functional model is built. Use `ops.cond`.",
)
def test_under_xla_a_function_that_was_traced_before_may_be_refused():
    def functional(layer: keras.layers.Layer) -> keras.Model:
        inputs = keras.Input((2,))
        return keras.Model(inputs, layer(keras.layers.Dense(2)(inputs)))

    with pytest.raises(tf.errors.InvalidArgumentError, match="Detected unsupported operations"):
        fitted(functional(DividesInTheBranch()), jit_compile=True)
    assert fitted(keras.Sequential([keras.layers.Dense(2), DividesInTheBranch()]), jit_compile=True) == 1
    assert fitted(functional(Decorated()), jit_compile=True) == 1
    assert fitted(functional(works("if")["LimitByCond"]()), jit_compile=True) == 1


@pytest.mark.proves(HELPS)
def test_tf_function_elsewhere_does_not_help():
    layer = fails("if")["Limit"]()

    @tf.function
    def call(inputs):
        return layer(inputs)

    class Model(Limited):
        @tf.function
        def call(self, inputs):
            return self.limit(inputs)

    for attempt in call, Model(layer):
        with pytest.raises(NO_GRAPH, match=NO_BOOL):
            attempt(LARGE)


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("name", r"Cannot convert 'total' to a shape"),
        ("kwargs", r"unexpected keyword argument 'name'\n.*unexpected keyword argument 'trainable'"),
        ("axis", rf"{INCOMPATIBLE}.*\n.*{UNDEFINED}"),
        ("untracked", r"Gain, trainable weights: 0\nStack, trainable weights: 0"),
        ("kerastensor", "A KerasTensor cannot be used as input to a TensorFlow function"),
        ("mask", "this layer does not support masking"),
        ("late", r"You cannot add new elements of state[\s\S]*tf\.function only supports singleton tf\.Variables"),
        ("if", r"Using a symbolic `tf\.Tensor` as a Python `bool` is not allowed"),
    ],
)
def test_each_entry_fails_in_the_words_of_its_title_and_then_does_not(topic, message):
    assert re.search(message, fails(topic).printed)
    printed = works(topic).printed.splitlines()[fails(topic).printed.count("\n") + 1 :]
    assert printed
    assert not re.search(rf"Error|{message}", "\n".join(printed))
