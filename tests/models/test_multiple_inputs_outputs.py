"""`docs/models/multiple_inputs_outputs.md`: every claim that the page makes, proved."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

from snippets.models.multiple_inputs_outputs import TwoDigitReader, draw_numbers, functional_reader, numbers
from tests import contract

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


def data(samples: int = 64, features: int = 784) -> tuple[dict, dict]:
    return draw_numbers(np.random.default_rng(0).normal(size=(10, 784)), samples)


CASES = {
    "functional_reader": contract.Model(functional_reader, data, COMPILE),
    "TwoDigitReader": contract.Model(lambda: TwoDigitReader(units=16), data, COMPILE),
}


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


# --- the program ------------------------------------------------------------------------------------------------------


def test_the_data_are_prototypes_under_noise():
    prototypes = np.random.default_rng(0).normal(size=(10, 784))
    images, targets = draw_numbers(prototypes, 200)
    for side, name in zip(SIDES, OUTPUTS, strict=True):
        assert images[side].shape == (200, 784)
        assert targets[name].shape == (200, 10)
        noise = images[side] - targets[name] @ prototypes
        assert noise.std() == pytest.approx(2.0, abs=0.02)
    assert not (targets["left_digit"] == targets["right_digit"]).all()


def test_numbers_puts_the_left_digit_first():
    assert list(numbers({"left_digit": np.eye(10)[[4, 0]], "right_digit": np.eye(10)[[2, 7]]})) == [42, 7]


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


def test_a_dataset_yields_the_pair_of_dicts():
    x, y = data()
    model = functional_reader()
    model.compile(**EAGER)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))
    model.fit(dataset, verbose=0)


@pytest.mark.parametrize("keys", [("left",), ("left", "rihgt")])
def test_a_missing_or_misspelt_input_raises(keys):
    x, y = data()
    model = functional_reader()
    model.compile(**COMPILE)
    wrong = {key: x["left"] for key in keys}
    for call in (lambda: model(wrong), lambda: model.fit(wrong, y, verbose=0)):
        with pytest.raises(ValueError, match=re.escape('Missing data for input "right"')):
            call()


def test_keras_wants_the_name_of_an_input_to_be_its_key():
    inputs = keras.Input((4,), name="left")
    with pytest.warns(UserWarning, match="all keys in the dict must match the names"):
        keras.Model({"other": inputs}, keras.layers.Dense(2)(inputs))


# --- a shared layer ---------------------------------------------------------------------------------------------------


def test_the_shared_encoder_is_counted_once():
    model = functional_reader()
    encoder, head = 784 * 64 + 64, 64 * 10 + 10
    assert model.count_params() == encoder + 2 * head
    assert [layer.name for layer in model.layers].count("encoder") == 1
    assert len(model.trainable_weights) == 6


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


# --- one loss, metric and weight per output ---------------------------------------------------------------------------


def test_the_total_is_the_weighted_sum_and_the_penalties():
    x, y = data()
    model = TwoDigitReader()
    model.encoder.kernel_regularizer = keras.regularizers.L2(0.1)
    model.compile(**EAGER)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    penalty = 0.1 * np.sum(np.square(model.encoder.kernel))
    assert penalty > 1
    assert logs["loss"] == pytest.approx(logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"] + penalty, rel=1e-5)


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

    model.compile(**COMPILE)
    logs = model.evaluate(x, y, batch_size=11, verbose=0, return_dict=True)  # 33 = 3 * 11
    assert logs["left_digit_loss"] + 0.5 * logs["right_digit_loss"] == pytest.approx(right_total, rel=1e-4)


def test_the_keys_of_loss_and_metrics_are_checked():
    x, y = data(8)
    model = functional_reader()
    model.compile(loss={"left_digit": "mse", "rihgt_digit": "mse"})
    with pytest.raises(KeyError, match=r"\('rihgt_digit',\) in the `loss` argument, can't be found"):
        model.evaluate(x, y, verbose=0)
    model.compile(loss=CROSSENTROPY, metrics={"rihgt_digit": "accuracy"})
    with pytest.raises(ValueError, match="Invalid `metrics`"):
        model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize(
    ("make", "misspelt", "belongs_to"),
    [(functional_reader, "rihgt_digit", "right_digit"), (TwoDigitReader, "a_right_digit", "left_digit")],
    ids=["after", "before"],
)
def test_a_misspelt_key_of_loss_weights_is_taken_by_its_place(make, misspelt, belongs_to):
    x, y = data(32)
    model = make()
    model.compile(loss=CROSSENTROPY, loss_weights={"left_digit": 0.0, misspelt: 3.0})
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(3 * logs[f"{belongs_to}_loss"], rel=1e-5)


def test_sample_weight_takes_a_dict_and_class_weight_refuses():
    x, y = data(32)
    model = functional_reader()
    model.compile(loss=CROSSENTROPY, run_eagerly=True)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    weights = {"left_digit": np.zeros(32), "right_digit": np.full(32, 2.0)}
    weighted = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert weighted["left_digit_loss"] == 0
    assert weighted["loss"] == pytest.approx(2 * logs["right_digit_loss"], rel=1e-5)
    with pytest.raises(ValueError, match="only supported for Models with a single output"):
        model.fit(x, y, class_weight={0: 2.0}, verbose=0)


# --- the same model as a subclass -------------------------------------------------------------------------------------


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


def test_fit_hands_over_x_as_a_whole():
    class TwoArguments(TwoDigitReader):
        def call(self, left, right):
            return super().call({"left": left, "right": right})

    x, y = data(8)
    model = TwoArguments()
    model.compile(loss=CROSSENTROPY)
    for inputs in (x, list(x.values())):
        with pytest.raises(TypeError, match="missing a required argument: 'right'"):
            model.fit(inputs, y, verbose=0)


def test_a_dict_of_losses_cannot_be_matched_with_a_tuple():
    class ReturnsTuple(TwoDigitReader):
        def call(self, inputs):
            return tuple(super().call(inputs).values())

    x, y = data(8)
    for targets in (y, tuple(y.values())):
        model = ReturnsTuple()
        model.compile(loss=CROSSENTROPY)
        with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
            model.fit(x, targets, verbose=0)


@keras.saving.register_keras_serializable(package="tests")
class NoConfig(keras.Model):
    def __init__(self, units=64, **kwargs):
        super().__init__(**kwargs)
        self.units = units


def test_without_get_config_the_defaults_are_saved():
    assert NoConfig(units=16).get_config()["units"] == 64
    assert TwoDigitReader(units=16).get_config()["units"] == 16


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


# --- what each form gives you -----------------------------------------------------------------------------------------


def test_layers_that_do_not_fit_raise_when_a_functional_model_is_built():
    left, right = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(ValueError, match="incompatible shapes"):
        keras.layers.Add()([keras.layers.Dense(3)(left), keras.layers.Dense(4)(right)])


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


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_missing_input_is_a_key_error_or_what_call_makes_of_it():
    class RightIfThere(TwoDigitReader):
        def call(self, inputs):
            outputs = {"left_digit": self.left_head(self.encoder(inputs["left"]))}
            if "right" in inputs:
                outputs["right_digit"] = self.right_head(self.encoder(inputs["right"]))
            return outputs

    x, _ = data(4)
    only_left = {"left": x["left"]}
    model = TwoDigitReader()
    model(x)
    with pytest.raises(KeyError, match="right"):
        model(only_left)

    model = RightIfThere()
    assert set(model(x)) == set(OUTPUTS)
    assert set(model(only_left)) == {"left_digit"}
    assert set(model.predict(only_left, verbose=0)) == {"left_digit"}


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


def test_the_size_of_the_inputs_is_fixed_or_taken_from_the_first_call():
    small = {side: np.ones((2, 20), "float32") for side in SIDES}
    with pytest.raises(ValueError, match=r"expected shape=\(None, 784\), found shape=\(2, 20\)"):
        functional_reader()(small)
    model = TwoDigitReader()
    model(small)
    assert model.encoder.kernel.shape == (20, 64)


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


def test_a_tensor_in_the_middle():
    x, _ = data(4)
    functional = functional_reader()
    middle = keras.Model(functional.inputs, functional.get_layer("left_head").output)
    contract.assert_same(middle(x), functional(x)["left_digit"])

    subclassed = TwoDigitReader()
    subclassed(x)
    with pytest.raises(AttributeError):
        _ = subclassed.inputs
    with pytest.raises(AttributeError):
        _ = subclassed.left_head.output


# --- you may have seen ------------------------------------------------------------------------------------------------


def seen(activation: str = "relu") -> keras.Model:
    input1, input2 = keras.Input((784,)), keras.Input((784,))
    dense1 = keras.layers.Dense(64, activation, name="dense1")
    return keras.Model([input1, input2], [dense1(input1), dense1(input2)])


def seen_data(samples: int) -> tuple[list, list]:
    x, y = data(samples)
    return list(x.values()), [np.pad(target, ((0, 0), (0, 54))) for target in y.values()]


def test_one_metric_for_two_outputs_raises_at_fit():
    model = seen()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"Invalid `metrics`(.|\n)*Received: metrics=\['accuracy'\]"):
        model.fit(*seen_data(8), verbose=0)


@pytest.mark.parametrize("make", [functional_reader, TwoDigitReader])
def test_one_metric_for_a_dict_of_two_outputs_raises_too(make):
    model = make()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match="Invalid `metrics`"):
        model.fit(*data(8), verbose=0)


def test_outputs_in_a_list_are_named_after_the_layer_that_made_them():
    model = seen()
    assert model.output_names == ["dense1", "dense1"]
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy", "accuracy"])
    logs = model.evaluate(*seen_data(8), verbose=0, return_dict=True)
    assert [name for name in sorted(logs) if name.endswith("_loss")] == ["dense1_loss"]


def test_the_outputs_need_targets_of_as_many_columns():
    model = seen()
    model.compile("adam", "categorical_crossentropy")
    x, y = data(8)
    with pytest.raises(ValueError, match="must have the same shape"):
        model.fit(list(x.values()), list(y.values()), verbose=0)


def test_crossentropy_divides_the_outputs_by_their_sum():
    rng = np.random.default_rng(0)
    outputs, true = rng.uniform(0.1, 5, size=(6, 4)).astype("float32"), np.eye(4, dtype="float32")[[0, 1, 2, 3, 0, 1]]
    loss = keras.losses.categorical_crossentropy(true, outputs)
    share = np.sum(true * outputs, axis=-1) / outputs.sum(axis=-1)
    np.testing.assert_allclose(loss, -np.log(share), rtol=1e-5)


def test_a_zero_for_the_true_class_costs_the_logarithm_of_epsilon_and_has_no_gradient():
    before = tf.Variable([[3.0, 1.0, -2.0], [-1.0, -1.0, -2.0]])  # of the relu
    with tf.GradientTape() as tape:
        loss = keras.losses.categorical_crossentropy(np.eye(3)[[2, 2]], tf.nn.relu(before))
    assert float(loss[0]) == pytest.approx(-np.log(keras.config.epsilon()), rel=1e-5)
    assert np.isnan(loss[1])
    assert not tape.gradient(loss, before)[0].numpy().any()


def test_a_sample_of_zeros_makes_the_loss_nan_for_good():
    model = functional_reader("relu")
    for head in ("left_head", "right_head"):
        model.get_layer(head).bias.assign(np.full(10, -1e6))
    model.compile(**EAGER)
    losses = model.fit(*data(64), epochs=2, verbose=0).history["loss"]
    assert np.isnan(losses).all()
    assert all(np.isnan(weight).all() for weight in model.get_layer("left_head").get_weights())


def test_relu_heads_learn_worse_than_softmax_heads_with_another_seed_too():
    x, y = data(512)
    accuracy = []
    for activation in ("relu", "softmax"):
        keras.utils.set_random_seed(2)
        model = functional_reader(activation)
        model.compile("adam", CROSSENTROPY)
        model.fit(x, y, epochs=3, verbose=0)
        accuracy.append(np.mean(numbers(model.predict(x, verbose=0)) == numbers(y)))
    assert accuracy[1] > 0.95
    assert accuracy[0] < accuracy[1] - 0.1


def test_logits_are_the_other_right_form():
    x, y = data()
    probabilities, logits = functional_reader(), functional_reader(None)
    logits.set_weights(probabilities.get_weights())
    probabilities.compile(loss=CROSSENTROPY, run_eagerly=True)
    logits.compile(
        loss={name: keras.losses.CategoricalCrossentropy(from_logits=True) for name in OUTPUTS}, run_eagerly=True
    )
    assert logits.evaluate(x, y, verbose=0) == pytest.approx(probabilities.evaluate(x, y, verbose=0), rel=1e-5)


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


# --- the diagram ------------------------------------------------------------------------------------------------------


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
