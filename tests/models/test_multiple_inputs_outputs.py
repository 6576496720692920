"""`docs/models/multiple_inputs_outputs.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

from engine.prove import shapes
from snippets.models.multiple_inputs_outputs import (
    ReadsWhatIsThere,
    TwoDigitReader,
    functional_reader,
)
from tests import contract
from tests.shown import shown

MODULE = "snippets.models.multiple_inputs_outputs"

SIDES = ("left", "right")
OUTPUTS = ("left_digit", "right_digit")
CROSSENTROPY = dict.fromkeys(OUTPUTS, "categorical_crossentropy")
COMPILE = {
    "optimizer": "adam",
    "loss": CROSSENTROPY,
    "loss_weights": {"left_digit": 1.0, "right_digit": 0.5},
    "metrics": {name: ["accuracy"] for name in OUTPUTS},
}
EAGER = {**COMPILE, "run_eagerly": True}
"""For tests that pass few batches: tracing a graph takes longer than running it."""
DIAGRAM = Path(__file__).parents[2] / "docs/models/multiple_inputs_outputs.svg"


def data(samples: int = 64) -> tuple[dict, dict]:
    """Images of two digits under noise, and the digits, as the page draws them."""
    prototypes, digits = np.random.default_rng(0).normal(size=(10, 784)), np.random.randint(10, size=(2, samples))
    images = (prototypes[digits] + np.random.normal(scale=2.0, size=(2, samples, 784))).astype("float32")
    return dict(zip(SIDES, images, strict=True)), dict(
        zip(OUTPUTS, keras.utils.to_categorical(digits, 10), strict=True)
    )


CASES = {
    "functional_reader": contract.Model(lambda: functional_reader(), data, COMPILE),
    "TwoDigitReader": contract.Model(lambda **kw: TwoDigitReader(units=16, **kw), data, COMPILE),
    "ReadsWhatIsThere": contract.Model(lambda **kw: ReadsWhatIsThere(units=16, **kw), data, COMPILE),
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


# --- the program ------------------------------------------------------------------------------------------------------


def dense(x, kernel, bias):
    return x @ kernel + bias


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


FORMS = {
    "functional": functional_reader,
    "subclass": TwoDigitReader,
    "what is there": ReadsWhatIsThere,
    "relu": lambda: functional_reader("relu"),
}


@pytest.mark.proves(
    "One encoder reads both images, and each digit has its own head.",
    "The model of `functional_reader` as a class.",
    "Size of the encoder's output.",
    "Read the two digits of a number, each from an image of its own.",
)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_what_its_layers_compute(form):
    model, (x, _) = FORMS[form](), data(5)
    model(x)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(scale=0.05, size=weight.shape) for weight in model.weights])
    kernel, bias, *heads = model.get_weights()
    assert kernel.shape == (784, 64)
    activation = (lambda z: np.maximum(z, 0)) if form == "relu" else softmax
    outputs = model(x)
    for side, head in zip(SIDES, (heads[:2], heads[2:]), strict=True):
        expected = activation(dense(np.maximum(dense(x[side], kernel, bias), 0), *head))
        np.testing.assert_allclose(outputs[f"{side}_digit"], expected, rtol=1e-3, atol=1e-5)


def test_docstrings_give_the_shapes():
    x, _ = data(3)
    shapes.check_docstring(TwoDigitReader, x, TwoDigitReader()(x))
    assert TwoDigitReader().units == 64
    assert (
        TwoDigitReader(units=7, name="other", dtype="float64").get_config().items()
        >= {"units": 7, "name": "other"}.items()
    )


@pytest.mark.proves(
    "The data are synthetic: ten fixed images of 784 values, and noise.",
    "The model reads a number of two digits. Each digit comes as an image of its own.",
    "one image a digit",
)
def test_the_data_are_prototypes_under_noise():
    page = shown(MODULE, "train")
    noises = []
    for part, samples in (("", 512), ("_test", 256)):
        images = page[f"x{part}"]
        digits = page["digits"][:, :512] if not part else page["digits"][:, 512:]
        for side, of_side in zip(SIDES, digits, strict=True):
            assert images[side].shape == (samples, 784)
            assert images[side].dtype == "float32"
            assert set(of_side) == set(range(10))
            noise = images[side] - page["prototypes"][of_side]
            assert noise.std() == pytest.approx(2.0, abs=0.02)
            assert noise.mean() == pytest.approx(0.0, abs=0.02)
            noises.append(noise.ravel()[: 256 * 784])
    assert np.abs(np.corrcoef(noises) - np.eye(4)).max() < 0.02  # each image has its own
    for name, digits in zip(OUTPUTS, page["digits"], strict=True):
        np.testing.assert_array_equal(page["y"][name], np.eye(10)[digits[:512]])
    assert page["prototypes"].shape == (10, 784)
    assert not (page["digits"][0] == page["digits"][1]).all()


@pytest.mark.proves(
    "Inputs and outputs are dicts, so that data, losses and metrics are matched by name.",
    "Targets, losses, weights and metrics are dicts with the keys of the outputs, and `predict` returns one.",
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_everything_goes_by_name(make):
    x, y = data()
    model = make()
    model.compile(**EAGER)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert set(logs) == {"loss", *(f"{name}_{kind}" for name in OUTPUTS for kind in ("loss", "accuracy"))}
    assert set(model.predict(x, verbose=0)) == set(OUTPUTS)

    backwards = [dict(reversed(one.items())) for one in (x, y)]
    assert model.evaluate(*backwards, verbose=0, return_dict=True) == logs


@pytest.mark.chance
@pytest.mark.proves("One encoder reads both images, and each digit has its own head.")
def test_the_program_reads_unseen_numbers(seed):
    page = shown(MODULE, "train", seed=seed)
    settings, x_test = page["settings"], page["x_test"]
    assert settings["loss_weights"] == {"left_digit": 1.0, "right_digit": 0.5}
    assert int(page["model"].optimizer.iterations) == 5 * 512 // 32
    predicted = page["model"].predict(x_test, verbose=0)
    right = [predicted[name].argmax(axis=-1) == page["digits"][side, 512:] for side, name in enumerate(OUTPUTS)]
    assert page["correct"] == np.mean(right[0] & right[1]) > 0.9
    assert f"both digits right in {page['correct']:.2f} of {len(right[0])} unseen numbers" in page.printed
    assert not (x_test["left"][:, None, :9] == page["x"]["left"][None, :, :9]).all(axis=-1).any()

    reloaded = page["reloaded"]
    assert page.printed.count("same after reloading: True") == 2
    assert reloaded is not page["model"]
    contract.assert_same(reloaded.get_weights(), page["model"].get_weights())


@pytest.mark.proves("A `tf.data.Dataset` yields the same pair of dicts, `(x, y)`.")
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored:UserWarning")
def test_a_dataset_yields_the_pair_of_dicts():
    x, y = data()
    model = functional_reader()
    model.compile(**EAGER)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))
    model.fit(dataset, verbose=0)


@pytest.mark.proves(
    "A key that isn't an input only warns: `The structure of inputs doesn't match`. A functional model then takes the "
    "first arrays in the sorted order of their keys. With a third key `middle`, `right` is read from the array under "
    "`middle`.",
)
@pytest.mark.parametrize(("key", "read"), [("a", ("a", "left")), ("middle", ("left", "middle")), ("z", SIDES)])
def test_another_key_of_x_shifts_the_inputs(key, read):
    x, _ = data(4)
    more = {**x, key: -x["right"]}
    model = functional_reader()
    expected = model({side: more[name] for side, name in zip(SIDES, read, strict=True)})
    for call in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.warns(UserWarning, match="The structure of `inputs` doesn't match"):
            outputs = call(more)
        contract.assert_same(outputs, tree.map_structure(np.asarray, expected), atol=1e-5)

    subclassed = TwoDigitReader()
    contract.assert_same(subclassed(more), subclassed(x))


@pytest.mark.proves('An input that is missing or misspelt raises: `Missing data for input "right"`.')
@pytest.mark.parametrize("keys", [("left",), ("left", "rihgt")])
def test_a_missing_or_misspelt_input_raises(keys):
    x, y = data()
    model = functional_reader()
    model.compile(**COMPILE)
    wrong = {key: x["left"] for key in keys}
    for call in (lambda: model(wrong), lambda: model.fit(wrong, y, verbose=0)):
        with pytest.raises(ValueError, match=re.escape('Missing data for input "right"')):
            call()


@pytest.mark.proves(
    "Define one `Input` for each array, and pass them in a dict. The `name` of an `Input` is its key in this dict and "
    "in the data.",
)
def test_the_key_of_the_dict_is_that_of_the_data_and_keras_wants_it_to_be_the_name():
    inputs = keras.Input((4,), name="left")
    with pytest.warns(UserWarning, match="all keys in the dict must match the names"):
        model = keras.Model({"other": inputs}, keras.layers.Dense(2)(inputs))
    x = np.ones((3, 4))
    assert model({"other": x}).shape == (3, 2)
    with pytest.raises(ValueError, match='Missing data for input "other"'):
        model({"left": x})


# --- a shared layer ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("The encoder is listed once, and its parameters are counted once.")
def test_the_shared_encoder_is_counted_once():
    model = functional_reader()
    encoder, head = 784 * 64 + 64, 64 * 10 + 10
    assert model.count_params() == encoder + 2 * head
    assert [layer.name for layer in model.layers].count("encoder") == 1
    assert len(model.trainable_weights) == 6


@pytest.mark.proves(
    "A layer owns its weights, however often it is called. Two inputs through one encoder make a siamese network.",
    "A layer that is called more than once is shared.",
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_both_branches_use_the_same_kernel(make):
    x, _ = data(4)
    model = make()
    model(x)
    kernel = model.weights[0]
    assert kernel.shape == (784, 64)
    before = model(x)
    kernel.assign(-kernel)
    for name, after in model(x).items():
        assert not np.allclose(after, before[name])

    same = model({"left": x["left"], "right": x["left"]})
    for head in (model.weights[2:4], model.weights[4:6]):
        head[0].assign(model.weights[2]), head[1].assign(model.weights[3])
    same = model({"left": x["left"], "right": x["left"]})
    contract.assert_same(same["left_digit"], same["right_digit"])


@pytest.mark.proves(
    "Both branches train it: its gradient is that of the left loss plus that of the right loss, each multiplied by its "
    "weight.",
    "the tf.Variable that a tape watches",
)
def test_the_gradient_of_a_shared_layer_comes_from_every_branch():
    x, y = data()
    model = functional_reader()
    model.compile(**COMPILE)
    crossentropy = keras.losses.CategoricalCrossentropy()
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(x)
        left, right = (crossentropy(y[name], outputs[name]) for name in OUTPUTS)
        total = model.compute_loss(x, y, outputs)

    def gradient(loss, layer):
        return tape.gradient(loss, model.get_layer(layer).kernel.value)

    of_left, of_right = gradient(left, "encoder"), gradient(right, "encoder")
    assert min(np.linalg.norm(of_left), np.linalg.norm(of_right)) > 0
    np.testing.assert_allclose(gradient(total, "encoder"), of_left + 0.5 * of_right, atol=1e-6)
    assert gradient(left, "right_head") is None
    assert gradient(right, "left_head") is None
    assert isinstance(model.get_layer("encoder").kernel.value, tf.Variable)


# --- one loss, metric and weight per output ---------------------------------------------------------------------------


@pytest.mark.proves(
    "It is the sum of the outputs' losses, each multiplied by its entry in `loss_weights`, plus the penalties that "
    "layers add.",
)
def test_the_total_is_the_weighted_sum_and_the_penalties():
    x, y = data()
    model = TwoDigitReader()
    model.encoder.kernel_regularizer = keras.regularizers.L2(0.1)
    model.compile(**EAGER)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    penalty = 0.1 * np.sum(np.square(model.encoder.kernel))
    assert penalty > 1
    assert logs["loss"] == pytest.approx(logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"] + penalty, rel=1e-5)


@pytest.mark.proves("The losses of the single outputs are reported without their weight.")
def test_the_losses_of_the_outputs_are_reported_without_their_weight():
    x, y = data()
    model = functional_reader()
    parts = []
    for weight in (1.0, 100.0):
        model.compile(loss=CROSSENTROPY, loss_weights=dict.fromkeys(OUTPUTS, weight), run_eagerly=True)
        logs = model.evaluate(x, y, verbose=0, return_dict=True)
        parts.append((logs["left_digit_loss"], logs["right_digit_loss"]))
        assert logs["loss"] == pytest.approx(weight * sum(parts[-1]), rel=1e-5)
    assert parts[0] == pytest.approx(parts[1])


@pytest.mark.proves(
    "The sum comes out if all batches have the same size. `loss` is a mean over samples. A `left_digit_loss` is a mean "
    "over batches up to Keras 3.15: the last batch counts as much as the others, however small it is. With "
    "`run_eagerly=True` it is a mean over samples.",
    "In the history of `fit`, `left_digit_loss` and `val_left_digit_loss` are computed the same way, up to the same "
    "release. Compare runs by "
    "`loss`, by the metrics, or with a batch size that divides the number of samples.",
)
@pytest.mark.parametrize(("make", "as_dataset"), [(functional_reader, False), (TwoDigitReader, True)])
def test_the_last_batch_counts_as_much_as_the_others_in_the_loss_of_an_output(make, as_dataset):
    """The total is a mean over samples, and so are the metrics."""
    x, y = data(33)
    model = make()
    model.compile(**COMPILE)
    source = (tf.data.Dataset.from_tensor_slices((x, y)).batch(32),) if as_dataset else (x, y)
    logs = model.evaluate(*source, verbose=0, return_dict=True)
    outputs = model.predict(x, verbose=0)

    right_total = 0
    for name, weight in COMPILE["loss_weights"].items():
        of_samples = -np.log(np.sum(y[name] * outputs[name], axis=-1))
        of_batches = [of_samples[:32].mean(), of_samples[32:].mean()]
        assert logs[f"{name}_loss"] == pytest.approx(np.mean(of_batches), rel=1e-4)
        assert logs[f"{name}_loss"] != pytest.approx(of_samples.mean(), rel=1e-2)
        hits = outputs[name].argmax(-1) == y[name].argmax(-1)
        assert logs[f"{name}_accuracy"] == pytest.approx(hits.mean())
        right_total += weight * of_samples.mean()
    assert logs["loss"] == pytest.approx(right_total, rel=1e-4)

    model.compile(keras.optimizers.SGD(0.0), CROSSENTROPY)
    history = model.fit(x, y, shuffle=False, validation_data=(x, y), verbose=0).history
    for name in OUTPUTS:
        assert history[f"{name}_loss"] == history[f"val_{name}_loss"] == pytest.approx([logs[f"{name}_loss"]], rel=1e-4)

    model.compile(**{**EAGER, "optimizer": keras.optimizers.SGD(0.0)})
    eager = [model.evaluate(*source, verbose=0, return_dict=True)]
    eager += [{name: values[0] for name, values in model.fit(*source, shuffle=False, verbose=0).history.items()}]
    for logs in eager:
        assert logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"] == pytest.approx(right_total, rel=1e-4)
        for name in OUTPUTS:
            of_samples = -np.log(np.sum(y[name] * outputs[name], axis=-1))
            assert logs[f"{name}_loss"] == pytest.approx(of_samples.mean(), rel=1e-4)

    model.compile(**COMPILE)
    logs = model.evaluate(x, y, batch_size=11, verbose=0, return_dict=True)  # 33 = 3 * 11
    assert logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"] == pytest.approx(right_total, rel=1e-4)


@pytest.mark.proves(
    "`loss` | raises `KeyError` | that output isn't trained, and `fit` warns `Gradients do not exist` for trainable "
    "weights that no other loss reaches; raises if `loss_weights` has both keys",
    "`metrics` | raises | that output has no metric",
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_the_keys_of_loss_and_metrics_are_checked(make):
    x, y = data(8)
    model = make()
    model.compile(loss={"left_digit": "mse", "rihgt_digit": "mse"}, run_eagerly=True)
    with pytest.raises(KeyError, match=r"\('rihgt_digit',\) in the `loss` argument, can't be found"):
        model.evaluate(x, y, verbose=0)
    model.compile(loss=CROSSENTROPY, metrics={"rihgt_digit": "accuracy"}, run_eagerly=True)
    with pytest.raises(ValueError, match="Invalid `metrics`"):
        model.evaluate(x, y, verbose=0)

    model.compile(loss={"left_digit": "categorical_crossentropy"}, metrics={"left_digit": ["accuracy"]})
    left, right = model.weights[2:4], model.weights[4:6]
    before = [[weight.numpy() for weight in head] for head in (left, right)]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        history = model.fit(x, y, verbose=0).history
    assert set(history) == {"loss", "left_digit_accuracy"}
    moved = [
        any((w.numpy() != b).any() for w, b in zip(h, bs, strict=True))
        for h, bs in zip((left, right), before, strict=True)
    ]
    assert moved == [True, False]

    model.compile(loss={"left_digit": "categorical_crossentropy"}, loss_weights=COMPILE["loss_weights"])
    with pytest.raises(ValueError, match="`loss_weights` must match the number of losses, got 1 losses and 2 weights"):
        model.fit(x, y, verbose=0)


UNREACHED = {
    "no layer of its own": (lambda: keras.layers.Identity(), False),
    "no weights": (lambda: keras.layers.Activation("tanh"), False),
    "trainable weights": (lambda: keras.layers.Dense(2), True),
    "frozen weights": (lambda: keras.layers.Dense(2, trainable=False), False),
    "penalised weights": (lambda: keras.layers.Dense(2, use_bias=False, kernel_regularizer="l2"), False),
}


@pytest.mark.proves("`fit` warns `Gradients do not exist` for trainable weights that no other loss reaches")
@pytest.mark.parametrize(("own", "warns"), UNREACHED.values(), ids=UNREACHED)
def test_which_outputs_without_a_loss_warn(own, warns):
    one, other, dense = keras.Input((4,)), keras.Input((4,)), keras.layers.Dense(2)
    model = keras.Model([one, other], {"one": dense(one), "other": own()(dense(other))})
    x, y = np.ones((8, 4)), np.ones((8, 2))
    model.compile(loss={"one": "mse"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit([x, x], {"one": y, "other": y}, verbose=0)
    assert any("Gradients do not exist" in str(warning.message) for warning in caught) == warns


@pytest.mark.proves(
    "`loss_weights` checks the number of its keys, not their names: a misspelt key is taken silently for the output at "
    "its place in the sorted order.",
    "`loss_weights` | taken by its place in the sorted order, silently | raises: `must match the number of losses`",
)
@pytest.mark.parametrize(
    ("make", "misspelt", "belongs_to"),
    [(functional_reader, "rihgt_digit", "right_digit"), (TwoDigitReader, "a_right_digit", "left_digit")],
    ids=["after", "before"],
)
def test_a_misspelt_key_of_loss_weights_is_taken_by_its_place(make, misspelt, belongs_to):
    x, y = data(32)
    model = make()
    model.compile(loss=CROSSENTROPY, loss_weights={"left_digit": 0.0, misspelt: 3.0}, run_eagerly=True)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(3 * logs[f"{belongs_to}_loss"], rel=1e-5)


@pytest.mark.proves(
    "`loss_weights` checks the number of its keys",
    "raises: `must match the number of losses`",
    '`loss_weights` has as many entries as `loss`: beside a single `loss="mse"` for all outputs, a dict of two weights '
    "raises.",
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        (CROSSENTROPY, {"left_digit": 1.0}),
        (CROSSENTROPY, {"left_digit": 1.0, "right_digit": 1.0, "other": 1.0}),
        ("mse", {"left_digit": 1.0, "right_digit": 1.0}),
    ],
    ids=["left out", "too many", "one loss"],
)
def test_the_number_of_loss_weights_is_checked(make, loss, weights):
    model = make()
    model.compile(loss=loss, loss_weights=weights, run_eagerly=True)
    with pytest.raises(ValueError, match="`loss_weights` must match the number of losses"):
        model.evaluate(*data(8), verbose=0)


CLASS_WEIGHT = "With `class_weight`, `fit` raises if the targets are a dict or a list, of one output too."


@pytest.mark.proves(
    "`sample_weight` | raises | raises; `None` stands for no weights",
    CLASS_WEIGHT,
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_sample_weight_takes_a_dict_and_class_weight_raises(make):
    x, y = data(32)
    model = make()
    model.compile(loss=CROSSENTROPY, run_eagerly=True)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    weights = {"left_digit": np.zeros(32), "right_digit": np.full(32, 2.0)}
    weighted = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert weighted["left_digit_loss"] == 0
    assert weighted["loss"] == pytest.approx(2 * logs["right_digit_loss"], rel=1e-5)
    one = model.evaluate(x, y, sample_weight={**weights, "left_digit": None}, verbose=0, return_dict=True)
    assert one["loss"] == pytest.approx(logs["left_digit_loss"] + 2 * logs["right_digit_loss"], rel=1e-5)
    for wrong in ({"left_digit": np.ones(32)}, {"left_digit": np.ones(32), "rihgt_digit": np.ones(32)}):
        with pytest.raises(ValueError, match="one `sample_weight` array per output"):
            model.evaluate(x, y, sample_weight=wrong, verbose=0)
    with pytest.raises(ValueError, match="only supported for Models with a single output"):
        model.fit(x, y, class_weight={0: 2.0}, verbose=0)


@pytest.mark.proves(CLASS_WEIGHT)
def test_class_weight_takes_one_array_of_targets():
    inputs = keras.Input((4,))
    output = keras.layers.Dense(2, activation="softmax")(inputs)
    x, y = np.ones((8, 4)), np.eye(2)[[0, 1] * 4]
    for outputs, targets in (({"digit": output}, {"digit": y}), ([output], [y])):
        model = keras.Model(inputs, outputs)
        model.compile(loss="categorical_crossentropy")
        with pytest.raises(ValueError, match="only supported for Models with a single output"):
            model.fit(x, targets, class_weight={0: 2.0, 1: 1.0}, verbose=0)
    model = keras.Model(inputs, output)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="categorical_crossentropy")
    losses = [model.fit(x, y, class_weight={0: w, 1: w}, verbose=0).history["loss"][0] for w in (1.0, 2.0)]
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)


# --- the same model as a subclass -------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Given the weights of the functional model, it predicts the same:",
    "It is compiled and trained with the same settings.",
)
def test_both_forms_compute_the_same():
    x, y = data()
    functional, subclassed = functional_reader(), TwoDigitReader()
    subclassed(x)
    subclassed.set_weights(functional.get_weights())
    expected = functional.predict(x, verbose=0)
    for name, outputs in subclassed.predict(x, verbose=0).items():
        np.testing.assert_array_equal(outputs, expected[name])

    histories = []
    for model in (functional, subclassed):
        model.compile(**EAGER)
        histories.append(model.fit(x, y, epochs=3, shuffle=False, verbose=0).history)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[0].items():
        assert values == pytest.approx(histories[1][name], rel=1e-4)


@pytest.mark.proves("One argument of `call` holds all inputs, because `fit` passes `x` as a whole.")
def test_fit_passes_x_as_a_whole():
    class TwoArguments(TwoDigitReader):
        def call(self, left, right):
            return super().call({"left": left, "right": right})

    x, y = data(8)
    model = TwoArguments()
    model.compile(loss=CROSSENTROPY)
    for inputs in (x, list(x.values())):
        with pytest.raises(TypeError, match="missing a required argument: 'right'"):
            model.fit(inputs, y, verbose=0)


@pytest.mark.proves(
    "A tuple or a list has no names, and with a dict of losses `fit` raises, unless you set `self.output_names` in "
    "`__init__`.",
    "Return a dict: its keys name the outputs.",
)
@pytest.mark.parametrize("sequence", [tuple, list])
def test_a_dict_of_losses_is_matched_with_a_sequence_only_by_output_names(sequence):
    class ReturnsSequence(TwoDigitReader):
        def call(self, inputs):
            return sequence(super().call(inputs).values())

    class Names(ReturnsSequence):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.output_names = list(OUTPUTS)

    x, y = data(8)
    for targets in (y, sequence(y.values())):
        model = ReturnsSequence()
        model.compile(loss=CROSSENTROPY, run_eagerly=True)
        with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
            model.fit(x, targets, verbose=0)
    model = Names()
    model.compile(loss=CROSSENTROPY, run_eagerly=True)
    assert set(model.fit(x, sequence(y.values()), verbose=0).history) == {"loss", *(f"{name}_loss" for name in OUTPUTS)}


@keras.saving.register_keras_serializable(package="tests")
class NoConfig(keras.Model):
    def __init__(self, units=64, **kwargs):
        super().__init__(**kwargs)
        self.units = units


@pytest.mark.proves("Without `get_config`, Keras saves the defaults.")
def test_without_get_config_the_defaults_are_saved():
    assert NoConfig(units=16).get_config()["units"] == 64
    assert TwoDigitReader(units=16).get_config()["units"] == 16


@pytest.mark.proves(
    "To come back from a file, it has to be registered, and `get_config` has to return its arguments.",
    "Load from a file | needs nothing more, unless the model holds a `Lambda`, an activation function from outside "
    "`keras.activations`, or a class or function of yours | needs the registered class, and `get_config` if it has "
    "arguments",
)
def test_the_class_has_to_be_registered_and_the_functional_model_needs_nothing(tmp_path, fresh_process):
    x, _ = data(4)
    unregistered, functional = Unregistered(), functional_reader()
    unregistered(x)
    unregistered.save(tmp_path / "unregistered.keras")
    functional.save(tmp_path / "functional.keras")
    with pytest.raises(TypeError, match="Could not locate class 'Unregistered'"):
        fresh_process.submit(contract.load_and_call, tmp_path / "unregistered.keras", "keras", x).result()
    outputs = fresh_process.submit(contract.load_and_call, tmp_path / "functional.keras", "keras", x).result()
    contract.assert_same(outputs, tree.map_structure(np.asarray, functional(x)))


class Unregistered(TwoDigitReader):
    pass


def doubled(tensor):
    return 2 * tensor


class OwnLayer(keras.layers.Layer):
    def call(self, inputs):
        return inputs


NEEDS_MORE = {
    "Lambda": (lambda: keras.layers.Lambda(lambda tensor: 2 * tensor), "safe_mode=False"),
    "Lambda of a function": (lambda: keras.layers.Lambda(doubled), "Could not locate function 'doubled'"),
    "function": (lambda: keras.layers.Dense(2, activation=doubled), "Could not locate function 'doubled'"),
    "class": (OwnLayer, "Could not locate class 'OwnLayer'"),
    "function of Keras": (lambda: keras.layers.Dense(2, activation=keras.ops.sin), "Could not locate function 'sin'"),
    "of TensorFlow": (lambda: keras.layers.Dense(2, activation=tf.nn.silu), "Could not locate function 'swish'"),
}


@pytest.mark.proves(
    "unless the model holds a `Lambda`, an activation function from outside `keras.activations`, or a class or "
    "function of yours"
)
@pytest.mark.parametrize(("make", "message"), NEEDS_MORE.values(), ids=NEEDS_MORE)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning")
def test_what_a_functional_model_cannot_be_loaded_with(make, message, tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, make()(inputs)).save(tmp_path / "model.keras")
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        keras.saving.load_model(tmp_path / "model.keras")


def test_nor_with_a_loss_of_ones_own(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile(loss=lambda true, outputs: keras.ops.mean(true - outputs))
    with pytest.warns(UserWarning, match="includes a `lambda`"):
        model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.saving.load_model(tmp_path / "model.keras")


# --- what each form gives you -----------------------------------------------------------------------------------------


class Projects(keras.layers.Layer):
    """Right but for one thing: it sets no `input_spec`."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3))

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel)


FIT = (
    "Layers that don't fit together | `Dense`, `Conv1D`, `BatchNormalization`, `Add` and `Concatenate` raise while the "
    "model is built, before any data, where `Input` fixes the sizes. `LSTM`, `LayerNormalization` and a layer of yours "
    "without `input_spec` can fail as late as in `predict`. | raise at the first call"
)
CHECKS = {
    "Dense": (lambda: keras.layers.Dense(3), True),
    "Conv1D": (lambda: keras.layers.Conv1D(3, 2), True),
    "BatchNormalization": (keras.layers.BatchNormalization, True),
    "LSTM": (lambda: keras.layers.LSTM(3), False),
    "LayerNormalization": (keras.layers.LayerNormalization, False),
    "a layer without input_spec": (Projects, False),
}


@pytest.mark.proves(FIT)
@pytest.mark.parametrize(("make", "checks"), CHECKS.values(), ids=CHECKS)
def test_which_layers_raise_when_a_functional_model_is_built(make, checks):
    layer, inputs = make(), [keras.Input((7, 4)), keras.Input((7, 5))]
    layer(inputs[0])
    if checks:
        with pytest.raises(ValueError, match="incompatible with the layer"):
            layer(inputs[1])
        return
    model = keras.Model(inputs, [layer(one) for one in inputs])
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        model.predict([np.ones((2, 7, 4)), np.ones((2, 7, 5))], verbose=0)


@pytest.mark.proves(FIT)
def test_layers_that_merge_raise_when_a_functional_model_is_built():
    left, right = keras.Input((7, 4)), keras.Input((6, 5))
    with pytest.raises(ValueError, match="incompatible shapes"):
        keras.layers.Add()([left, right])
    with pytest.raises(ValueError, match="matching shapes"):
        keras.layers.Concatenate()([left, right])

    inputs = [keras.Input((None, 4)), keras.Input((7, 4))]
    for merge in (keras.layers.Add(), keras.layers.Concatenate()):
        model = keras.Model(inputs, merge(inputs))
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            model.predict([np.ones((2, 5, 4)), np.ones((2, 7, 4))], verbose=0)


@pytest.mark.proves(FIT)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_that_do_not_fit_raise_at_the_first_call_of_a_subclassed_model():
    class DoesNotFit(TwoDigitReader):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.three, self.four, self.add = keras.layers.Dense(3), keras.layers.Dense(4), keras.layers.Add()

        def call(self, inputs):
            return self.add([self.three(inputs["left"]), self.four(inputs["right"])])

    x, _ = data(4)
    model = DoesNotFit()
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="incompatible shapes"):
        model(x)


@pytest.mark.proves(
    "A missing input | raises and names the input | is a `KeyError` from `call`, or what `call` makes of it",
    "A subclass decides in `call` what a missing input means. This one reads the images that are there:",
    "Reads each image that it is given",
)
def test_a_missing_input_is_a_key_error_or_what_call_makes_of_it():
    x, _ = data(4)
    only_left = {"left": x["left"]}
    model = TwoDigitReader()
    model(x)
    with pytest.raises(KeyError, match="right"):
        model(only_left)

    model = ReadsWhatIsThere()
    whole = model(x)
    assert set(whole) == set(OUTPUTS)
    for side in SIDES:
        alone = {side: x[side]}
        contract.assert_same(model(alone), {f"{side}_digit": whole[f"{side}_digit"]})
        contract.assert_same(
            model.predict(alone, verbose=0), {f"{side}_digit": np.asarray(whole[f"{side}_digit"])}, 1e-5
        )


@pytest.mark.proves(
    "The first call needs both inputs. If a head is first used later, `load_model` drops its weights without an error, "
    "and a `predict` after one without that head raises. `fit` with a dict of two losses needs both outputs.",
    "the first call takes both.",
    "both inputs, so that both heads get their weights",
)
@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")
def test_where_leaving_out_an_input_ends(tmp_path):
    x, y = data(4)
    model = ReadsWhatIsThere()
    model({"left": x["left"]})
    outputs = model.predict(x, verbose=0)
    assert set(outputs) == set(OUTPUTS)
    assert len(model.weights) == 6
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(reloaded.weights) == 4
    again = reloaded.predict(x, verbose=0)
    np.testing.assert_allclose(again["left_digit"], outputs["left_digit"], atol=1e-5)
    assert not np.allclose(again["right_digit"], outputs["right_digit"], atol=1e-2)

    model = ReadsWhatIsThere()
    model.predict({"left": x["left"]}, verbose=0)
    assert len(model.weights) == 4
    with pytest.raises(ValueError, match=r"singleton tf\.Variables created on the first call"):
        model.predict(x, verbose=0)

    model = ReadsWhatIsThere()
    model(x)
    assert len(model.weights) == 6
    model.compile(loss=CROSSENTROPY, run_eagerly=True)
    with pytest.raises(KeyError, match=r"\('right_digit',\) in the `loss` argument, can't be found"):
        model.fit({"left": x["left"]}, {"left_digit": y["left_digit"]}, verbose=0)
    model.compile(loss={"left_digit": "categorical_crossentropy"}, run_eagerly=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        assert model.fit({"left": x["left"]}, {"left_digit": y["left_digit"]}, verbose=0).history["loss"][0] > 0


@pytest.mark.proves(
    "A functional model takes `None` for an input with `keras.Input(shape=(784,), optional=True)`, if the layers that "
    "get it accept `None`; `Dense` doesn't. The key itself can't be left out.",
)
def test_a_functional_model_takes_none_for_an_optional_input():
    class AddsWhatIsThere(keras.layers.Layer):
        def call(self, left, right=None):
            return left if right is None else left + right

    left, right = keras.Input((784,), name="left"), keras.Input(shape=(784,), optional=True, name="right")
    sides = {"left": left, "right": right}
    model = keras.Model(sides, AddsWhatIsThere()(left, right))
    x, _ = data(4)
    contract.assert_same(model.predict(x, verbose=0), x["left"] + x["right"])
    contract.assert_same(model.predict({"left": x["left"], "right": None}, verbose=0), x["left"])
    with pytest.raises(ValueError, match='Missing data for input "right"'):
        model({"left": x["left"]})

    model = keras.Model(sides, [keras.layers.Dense(2)(left), keras.layers.Dense(2)(right)])
    with pytest.raises(ValueError, match="Got 'None'"):
        model({"left": x["left"], "right": None})


@pytest.mark.proves(
    "Python in the forward pass | runs once, while the model is built | runs in `call`: a branch on which inputs are "
    "there, a loop",
)
def test_python_runs_only_while_a_functional_model_is_built():
    calls = []

    def doubled(tensor):
        calls.append(tensor)
        return 2 * tensor

    inputs = keras.Input((4,))
    model = keras.Model(inputs, doubled(inputs))
    model(np.ones((2, 4))), model.predict(np.ones((2, 4)), verbose=0)
    assert len(calls) == 1

    class Doubled(keras.Model):
        def call(self, inputs):
            return doubled(inputs)

    model = Doubled()
    model(np.ones((2, 4))), model(np.ones((2, 4)))
    assert len(calls) == 3


@pytest.mark.proves("Size of the inputs | fixed by `Input` | taken from the first call")
def test_the_size_of_the_inputs_is_fixed_or_taken_from_the_first_call():
    small = {side: np.ones((2, 20), "float32") for side in SIDES}
    with pytest.raises(ValueError, match=r"expected shape=\(None, 784\), found shape=\(2, 20\)"):
        functional_reader()(small)
    model = TwoDigitReader()
    model(small)
    assert model.encoder.kernel.shape == (20, 64)


@pytest.mark.proves(
    "`summary` | complete at once, with what each layer is connected to | without counts until the first call, and "
    "without connections",
)
def test_summary():
    def summary(model):
        lines = []
        model.summary(print_fn=lines.append)
        return "\n".join(lines)

    functional, subclassed = functional_reader(), TwoDigitReader()
    assert "Total params: 51,540" in summary(functional)
    assert "Connected to" in summary(functional)
    assert "encoder[1][0]" in summary(functional)

    assert "0 (unbuilt)" in summary(subclassed)
    assert "Total params: 0" in summary(subclassed)
    subclassed(data(4)[0])
    assert "Total params: 51,540" in summary(subclassed)
    assert "Connected to" not in summary(subclassed)


@pytest.mark.proves(
    "A tensor in the middle | `keras.Model(model.inputs, layer.output)`; of a shared layer, `output` is that of its "
    "first call | return it from `call`",
    'For the second call of a shared layer, call it again: `keras.Model(model.inputs, encoder(model.input["right"]))`.',
)
def test_a_tensor_in_the_middle():
    x, _ = data(4)
    functional = functional_reader()
    encoder = functional.get_layer("encoder")
    first = keras.Model(functional.inputs, encoder.output)
    second = keras.Model(functional.inputs, encoder(functional.input["right"]))
    contract.assert_same(first(x), encoder(x["left"]))
    contract.assert_same(second(x), encoder(x["right"]))
    assert np.abs(first(x) - second(x)).max() > 1
    middle = keras.Model(functional.inputs, functional.get_layer("left_head").output)
    contract.assert_same(middle(x), functional(x)["left_digit"])

    subclassed = TwoDigitReader()
    subclassed(x)
    with pytest.raises(AttributeError):
        _ = subclassed.inputs
    with pytest.raises(AttributeError):
        _ = subclassed.left_head.output


# --- you may have seen ------------------------------------------------------------------------------------------------


@pytest.fixture
def seen():
    """The page's model of one shared `Dense`, and its data."""
    x, y = data(32)
    page = shown(MODULE, "seen_metrics_fails", x=x, y=y)
    return page["seen"], page["images"], page["targets"], page.printed


@pytest.mark.proves(
    '`metrics=["accuracy"]` for two outputs compiles, and `fit` raises at the first batch:',
)
def test_one_metric_for_two_outputs_raises_at_fit(seen):
    model, x, y, printed = seen
    assert "Invalid `metrics`" in printed
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"Invalid `metrics`(.|\n)*Received: metrics=\['accuracy'\]"):
        model.fit(x, y, verbose=0)


@pytest.mark.proves(
    "If the outputs are a dict, the message begins `Expected an instance of dict`; its second line begins with Invalid "
    "`metrics` too.",
    "Invalid `metrics`, with one metric for two outputs",
)
@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_one_metric_for_a_dict_of_two_outputs_raises_too(make):
    model = make()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"^Expected an instance of dict.*\nInvalid `metrics`"):
        model.fit(*data(8), verbose=0)


@pytest.mark.proves(
    "With one entry per output it trains. But outputs in a list are named after the layer that made them. Here that is "
    "one layer, and of the two losses one is reported.",
)
def test_outputs_in_a_list_are_named_after_the_layer_that_made_them(seen):
    model, x, y, _ = seen
    assert model.output_names == ["dense1", "dense1"]
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy", "accuracy"])
    logs = model.fit(x, y, verbose=0).history
    assert [name for name in sorted(logs) if name.endswith("_loss")] == ["dense1_loss"]


@pytest.mark.proves("of 64 columns, as many as the outputs have")
def test_the_outputs_need_targets_of_as_many_columns(seen):
    model, _, targets, _ = seen
    assert [target.shape[-1] for target in targets] == [64, 64]
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    x, y = data(8)
    with pytest.raises(ValueError, match="must have the same shape"):
        model.fit(list(x.values()), list(y.values()), verbose=0)


@pytest.mark.proves("nothing is raised. Keras divides them by their sum.")
def test_crossentropy_divides_the_outputs_by_their_sum():
    rng = np.random.default_rng(0)
    outputs, true = rng.uniform(0.1, 5, size=(6, 4)).astype("float32"), np.eye(4, dtype="float32")[[0, 1, 2, 3, 0, 1]]
    loss = keras.losses.categorical_crossentropy(true, outputs)
    share = np.sum(true * outputs, axis=-1) / outputs.sum(axis=-1)
    np.testing.assert_allclose(loss, -np.log(share), rtol=1e-5)


@pytest.mark.proves(
    "In float32, a 0 for the true class costs 16.12 and has no gradient, so that the sample trains nothing.",
)
def test_a_zero_for_the_true_class_costs_the_logarithm_of_epsilon_and_has_no_gradient():
    before = tf.Variable([[3.0, 1.0, -2.0], [-1.0, -1.0, -2.0]])  # of the relu
    with tf.GradientTape() as tape:
        loss = keras.losses.categorical_crossentropy(np.eye(3)[[2, 2]], tf.nn.relu(before))
    assert float(loss[0]) == pytest.approx(-np.log(keras.config.epsilon()), rel=1e-5)
    assert f"{loss[0]:.2f}" == "16.12"
    in_float16 = keras.losses.categorical_crossentropy(np.eye(2), tf.constant([[3.0, 0.0]] * 2, "float16"))
    assert float(in_float16[1]) == pytest.approx(15.945, abs=0.01)
    assert np.isnan(loss[1])
    assert not tape.gradient(loss, before)[0].numpy().any()


@pytest.mark.proves("A sample with only zeros makes the loss `nan`.")
def test_a_sample_of_zeros_makes_the_loss_nan_for_good():
    model = functional_reader("relu")
    for head in ("left_head", "right_head"):
        model.get_layer(head).bias.assign(np.full(10, -1e6))
    model.compile(**EAGER)
    losses = model.fit(*data(64), epochs=2, verbose=0).history["loss"]
    assert np.isnan(losses).all()
    assert all(np.isnan(weight).all() for weight in model.get_layer("left_head").get_weights())


@pytest.mark.chance
@pytest.mark.proves("The same model, data and seed, with `relu` and with `softmax` in the heads.")
def test_relu_heads_do_not_learn_what_softmax_heads_do(seed):
    """Whatever the seed: what is printed with the page's own."""
    printed = shown(MODULE, "train", "seen_relu_train_fails", seed=seed).printed
    assert "relu heads: loss below 1: False, both digits right in three of four: False" in printed
    assert "softmax heads: loss below 1: True, both digits right in three of four: True" in printed


@pytest.mark.proves("With some other seeds, the loss of the `relu` heads becomes `nan`:")
def test_the_loss_of_relu_heads_becomes_nan_with_some_other_seeds():
    becomes_nan = set()
    for seed in range(1, 6):
        page = shown(MODULE, "train", seed=seed)
        keras.utils.set_random_seed(seed)
        model = functional_reader("relu")
        model.compile(**page["settings"])
        becomes_nan.add(bool(np.isnan(model.fit(page["x"], page["y"], epochs=5, verbose=0).history["loss"][-1])))
        if len(becomes_nan) == 2:
            break
    assert becomes_nan == {True, False}


@pytest.mark.proves(
    "The other correct form is a head without activation, and "
    "`keras.losses.CategoricalCrossentropy(from_logits=True)`.",
)
def test_logits_are_the_other_right_form():
    x, y = data()
    probabilities, logits = functional_reader(), functional_reader(None)
    logits.set_weights(probabilities.get_weights())
    probabilities.compile(loss=CROSSENTROPY, run_eagerly=True)
    logits.compile(
        loss={name: keras.losses.CategoricalCrossentropy(from_logits=True) for name in OUTPUTS}, run_eagerly=True
    )
    assert logits.evaluate(x, y, verbose=0) == pytest.approx(probabilities.evaluate(x, y, verbose=0), rel=1e-5)


@pytest.mark.proves(
    "A list of targets for a dict of outputs is matched with the sorted keys, not with the written order, silently.",
    "A list of losses, metrics or `loss_weights` is matched the same way; a list for `sample_weight` raises.",
)
@pytest.mark.parametrize("layer_names", [("first", "second"), ("top", "bottom")], ids=["other names", "same names"])
def test_a_list_is_matched_with_the_sorted_keys(layer_names):
    """Top is constantly 0, bottom is constantly 1."""
    inputs = keras.Input((4,))
    top, bottom = (
        keras.layers.Dense(
            2, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(value), name=name
        )
        for value, name in zip((0, 1), layer_names, strict=True)
    )
    model = keras.Model(inputs, {"top": top(inputs), "bottom": bottom(inputs)})
    x, y = np.ones((8, 4)), {"top": np.full((8, 2), 2.0), "bottom": np.full((8, 2), 4.0)}

    def evaluate(targets, **settings):
        model.compile("sgd", run_eagerly=True, **{"metrics": None, **settings})
        return model.evaluate(x, targets, verbose=0, return_dict=True)

    by_name = evaluate(
        y,
        loss={"top": "mse", "bottom": "mae"},
        loss_weights={"top": 1.0, "bottom": 10.0},
        metrics={"top": "mae", "bottom": "mse"},
    )
    assert by_name == {"loss": 34, "top_loss": 4, "bottom_loss": 3, "top_mae": 2, "bottom_mse": 9}

    losses = evaluate(y, loss=["mse", "mae"], metrics={"top": "mae", "bottom": "mse"})
    assert (losses["top_loss"], losses["bottom_loss"]) == (2, 9)
    weights = evaluate(y, loss={"top": "mse", "bottom": "mae"}, loss_weights=[1.0, 10.0])
    assert weights["loss"] == 10 * 4 + 1 * 3
    metrics = evaluate(y, loss="mse", metrics=["mae", "mse"])
    assert (metrics["top_mse"], metrics["bottom_mae"]) == (4, 3)
    targets = evaluate([y["top"], y["bottom"]], loss="mse", metrics={"top": "mae", "bottom": "mse"})
    assert (targets["top_loss"], targets["bottom_loss"]) == (16, 1)
    for targets in (y, list(y.values())):
        with pytest.raises((ValueError, TypeError)):
            model.evaluate(x, targets, sample_weight=[np.ones(8), np.ones(8)], verbose=0)


@pytest.mark.proves(
    "Left and right happen to be sorted. The same trained heads under the names top and bottom are not:"
)
def test_the_list_of_the_page_is_swapped():
    assert sorted(OUTPUTS) == list(OUTPUTS)
    assert sorted(["top", "bottom"]) == ["bottom", "top"]
    page = shown(MODULE, "train", "shared", "gradient", "seen_list_fails")
    x, y = page["x_test"], page["y_test"]
    right, wrong = (
        page["renamed"].evaluate(x, dict(zip(("top", "bottom"), targets, strict=True)), verbose=0)[0]
        for targets in ((y["left_digit"], y["right_digit"]), (y["right_digit"], y["left_digit"]))
    )
    swapped = page["renamed"].evaluate(x, [y["left_digit"], y["right_digit"]], verbose=0)[0]
    assert swapped == pytest.approx(wrong)
    assert swapped > 10 * right


# --- the diagram ------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "left right encoder left_head right_head left_digit right_digit (batch, 784) (batch, 784) one Dense(64, relu), "
    "called twice (batch, 64) (batch, 64) Dense(10, softmax) Dense(10, softmax) (batch, 10) (batch, 10)"
)
def test_the_diagram_shows_the_model():
    texts = ["".join(text.itertext()) for text in ElementTree.parse(DIAGRAM).iter("{http://www.w3.org/2000/svg}text")]
    model = functional_reader()
    for name in (*(layer.name for layer in model.layers), *OUTPUTS):
        assert name in texts
    shapes = [*(tensor.shape for tensor in model.inputs), *(tensor.shape for tensor in model.outputs)]
    shapes += [model.get_layer("encoder").output.shape] * 2
    for shape in set(shapes):
        assert texts.count(f"(batch, {shape[1]})") == shapes.count(shape)


def test_the_diagram_follows_light_and_dark_and_says_what_it_shows():
    text = DIAGRAM.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert all(name in root.get("aria-label") for name in ("left", "right", "encoder", *OUTPUTS))
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', text))
    assert colours <= {"none", "currentColor", "var(--md-accent-fg-color, currentColor)"}
    assert "\n\n" not in text


# --- the blocks themselves --------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Both branches train it: its gradient is that of the left loss plus that of the right loss, each multiplied by its "
    "weight.",
)
def test_the_losses_whose_gradients_are_shown_are_those_of_the_outputs():
    page = shown(MODULE, "train", "shared", "gradient")
    for side, name in zip(SIDES, OUTPUTS, strict=True):
        probabilities, targets = np.asarray(page["outputs"][name]), page["y_test"][name]
        expected = -np.log(probabilities[targets == 1]).mean()
        assert float(page[f"{side}_loss"]) == pytest.approx(expected, rel=1e-4)
        kernel, gradient = page["kernel"], page[f"from_{side}"]
        before = kernel.numpy()
        kernel.assign(before - 1e-3 * gradient)
        below = page["model"].evaluate(page["x_test"], page["y_test"], batch_size=256, return_dict=True, verbose=0)
        kernel.assign(before)
        falls = (expected - below[f"{name}_loss"]) / 1e-3
        assert falls == pytest.approx(np.sum(np.square(gradient)), rel=0.05)
