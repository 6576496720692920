"""`docs/training/equal_to_fit.md`: every claim that the page makes, proved."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.prove.process import Page
from engine.site import sections
from snippets.training import equal_to_fit
from snippets.training.custom_optimizer import NormalizedMomentum
from snippets.training.equal_to_fit import SameStep, compare, fit, record, train
from tests import contract, prose
from tests.shown import shown
from tests.site import SITE
from tests.training.replicas import two_replicas

MODULE = "snippets.training.equal_to_fit"
PAGE = SITE.docs / "training/equal_to_fit.md"
NOT_IN_CONTRACT = {
    "SeenStep of seen_step_fails": "its training is wrong, and its outputs are right: the table says how",
}

DATA = np.random.default_rng(1)
X = DATA.normal(size=(48, 4)).astype("float32")
Y = (X[:, :1] > X[:, 1:2]).astype("float32")
WEIGHTS = np.linspace(0, 2, 48, dtype="float32")
OF_CLASSES = np.where(Y[:, 0] > 0, 3.0, 1.0).astype("float32")


def four() -> SameStep:
    inputs = keras.Input((4,))
    return SameStep(inputs, keras.layers.Dense(1)(inputs))


MODELS = {
    "SameStep": contract.Model(
        four, lambda: (X, Y), leave_out={"config_is_complete": "The config of a functional model is its graph."}
    )
}


def test_the_step_passes_the_checkup():
    contract.passes_the_checkup(MODELS["SameStep"])


class AddsALoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(keras.ops.cast(inputs, "float32"))))
        return inputs


def sgd(**options: Any) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: keras.optimizers.SGD(0.1, **options)


def adam(**options: Any) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: keras.optimizers.Adam(0.05, **options)


def custom(**options: Any) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: NormalizedMomentum(0.05, **options)


EAGER, GRAPH = {"run_eagerly": True}, {}


@dataclass(frozen=True)
class Setting:
    """What a row of a table trains. Without `run_eagerly`, a step is traced, which takes most of the time."""

    layers: Callable[[], list[keras.layers.Layer]] = list
    """In front of the dense layer."""
    optimizer: Callable[[], keras.optimizers.Optimizer] = lambda: keras.optimizers.SGD(0.1)
    compiled: dict[str, Any] = field(default_factory=EAGER.copy)
    weights: np.ndarray | None = None
    penalty: str | None = None
    size: int = 24
    samples: int = 48
    epochs: int = 2
    policy: str = "float32"

    def model(self, cls: type[keras.Model] = keras.Model) -> keras.Model:
        inputs = outputs = keras.Input((4,))
        dense = keras.layers.Dense(1, kernel_regularizer=self.penalty)
        for layer in [*self.layers(), dense, keras.layers.Activation("sigmoid", dtype="float32")]:
            outputs = layer(outputs)
        model = cls(inputs, outputs)
        compiled = {"metrics": ["accuracy"], **self.compiled}
        model.compile(self.optimizer(), keras.losses.BinaryCrossentropy(), **compiled)
        return model

    def batches(self) -> tf.data.Dataset:
        arrays = (X, Y) if self.weights is None else (X, Y, self.weights)
        return tf.data.Dataset.from_tensor_slices(tuple(one[: self.samples] for one in arrays)).batch(self.size)

    def record(self, cls: type[keras.Model] = keras.Model, train: Callable = fit, strategy: Any = None) -> Any:
        """As the page's `record`; on the replicas of a strategy if there is one. An error is returned."""
        keras.config.set_dtype_policy(self.policy)
        scope = (strategy or tf.distribute.get_strategy()).scope

        def model() -> keras.Model:
            with scope():
                return self.model(cls)

        try:
            return record(model, self.batches, train, self.epochs)
        except (ValueError, RuntimeError, tf.errors.InvalidArgumentError) as error:
            return error


def cell(expected: Any, own: Any, least: float = 1e-5) -> str:
    """What the table says of a training, compared with another."""
    if isinstance(own, Exception):
        return "raises"
    if isinstance(expected, Exception):
        return "doesn't raise"
    shares = compare(expected, own)
    worst = {name: shares[name] for name in ("loss", "weights")}
    worst["metrics"] = np.max([share for name, share in shares.items() if name not in worst])  # nan, if one is
    return ", ".join(f"{name} {off}" for name, share in worst.items() if (off := percent(share, least))) or "="


def percent(share: float, least: float) -> str:
    if np.isnan(share):
        return "missing"
    if share < least:
        return ""
    return f"{100 * share:.0f} %" if share > 0.095 else f"{100 * share:.1f} %"


RIGHT, SEEN = ("`SameStep`", "`train`"), ("`SeenStep`", "`seen_train`")


def together(names: tuple[str, str], cells: list[str]) -> str:
    """What stands in a cell for two forms, which has to be read without the header on a phone."""
    if cells[0] == cells[1]:
        return f"{' and '.join(names)}: {cells[0]}"
    return "; ".join(f"{name}: {one}" for name, one in zip(names, cells, strict=True))


def table(first: str) -> dict[str, list[str]]:
    """The rows of the page's table whose header begins so: what stands in the cells behind the first."""
    rows, found = {}, False
    for passage in prose.readable(PAGE):
        head, *cells = passage.text.split(" | ")
        found = bool(cells) and (found or passage.text.startswith(first))
        if found:
            rows[head] = cells
    return rows


def says(rows: dict[str, list[str]], setting: str, cells: list[str]) -> None:
    told = rows.get(setting)
    assert told == cells, f"The row as it is: | {' | '.join([setting, *cells])} |, and the page says {told}"


MORE = {"metrics": ["accuracy", "mae"], "weighted_metrics": ["mse"]}
ALL = {"size": 32, "samples": 40, "weights": WEIGHTS, "penalty": "l2", "policy": "mixed_float16"}
OPTIONS = {"use_ema": True, "ema_momentum": 0.9, "gradient_accumulation_steps": 2, "clipnorm": 0.05}


def of_all() -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dropout(0.3), AddsALoss()]


SETTINGS = {
    "float32, SGD": Setting(),
    "A smaller last batch": Setting(size=32, samples=40),
    "`sample_weight`": Setting(weights=WEIGHTS),
    "`class_weight`": Setting(weights=OF_CLASSES),
    "Regularizers": Setting(penalty="l2"),
    "`add_loss`": Setting(lambda: [AddsALoss()]),
    "More metrics": Setting(compiled=EAGER | MORE),
    "`BatchNormalization`": Setting(lambda: [keras.layers.BatchNormalization(momentum=0.5)]),
    "`Dropout`": Setting(lambda: [keras.layers.Dropout(0.3)]),
    "`mixed_float16`": Setting(policy="mixed_float16"),
    "`use_ema`": Setting(optimizer=sgd(use_ema=True, ema_momentum=0.9)),
    "Accumulation": Setting(optimizer=sgd(gradient_accumulation_steps=2)),
    "`clipnorm`": Setting(optimizer=sgd(clipnorm=0.05)),
    "Adam": Setting(optimizer=adam()),
    "A custom optimizer": Setting(optimizer=custom()),
    "XLA": Setting(compiled={"jit_compile": True}),
    "All, SGD": Setting(of_all, sgd(**OPTIONS), MORE, **ALL),
    "All, Adam": Setting(of_all, adam(**OPTIONS), EAGER | MORE, **ALL),
    "All, custom": Setting(of_all, custom(**OPTIONS), EAGER | MORE, **ALL),
}


def recorded(name: str) -> str:
    """What a section prints: the test that runs the page compares it."""
    return sections(SITE.root / "snippets/training/equal_to_fit.txt")[name].text


@cache
def of_fit(name: str) -> Any:
    return SETTINGS[name].record()


@cache
def seen() -> SimpleNamespace:
    """The step and the loop that are often seen, as the page shows them."""
    given = {"report": lambda own: None, "record": lambda *args, **options: None, "make_batches": None}
    page = shown(MODULE, "seen_step_fails", "seen_loop_fails", make_model=None, make_optimizer=None, **given)
    return SimpleNamespace(step=page["SeenStep"], loop=page["seen_train"], namespace=page.namespace)


@pytest.mark.proves(
    "A smaller last batch | `SameStep` and `train`: = | `SeenStep` and `seen_train`: loss 12 %",
    "Regularizers | `SameStep` and `train`: = | `SeenStep`: =; `seen_train`: loss 1.5 %, weights 4.7 %",
    "`add_loss` | `SameStep` and `train`: = | `SeenStep`: =; `seen_train`: loss 41 %",
    "`mixed_float16` | `SameStep` and `train`: = | `SeenStep`: loss 5.6 %, weights 100 %, metrics 7.1 %; "
    "`seen_train`: =",
    "`use_ema` | `SameStep` and `train`: = | `SeenStep`: =; `seen_train`: weights 208 %",
    "Each row is one setting, trained for two epochs by `fit` and by four others from the same seed.",
    "A `=` means that no loss, metric or weight is off by 0.001 % or more.",
    "For `SameStep` and `train` the differences are 0, not small ones.",
)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_table(name):
    setting = SETTINGS[name]
    seen().namespace["make_optimizer"] = setting.optimizer
    expected, own = of_fit(name), [setting.record(SameStep), setting.record(train=train)]
    wrong = [setting.record(seen().step), setting.record(train=seen().loop)]
    cells = [cell(expected, one) for one in own + wrong]
    says(table("Setting | "), name, [together(RIGHT, cells[:2]), together(SEEN, cells[2:])])
    assert [max(compare(expected, one).values()) for one in own] == [0.0, 0.0]


@pytest.mark.proves(
    '"All" is all the rows before Adam at once, but `class_weight`, of which `fit` makes sample weights.',
    'XLA and "All, SGD" are compiled. The others run with `run_eagerly=True`.',
)
def test_the_table_has_no_other_rows():
    names = list(SETTINGS)
    alone = [SETTINGS[name] for name in names[: names.index("Adam")]]
    for name in names[-3:]:
        whole = SETTINGS[name]
        layers = {type(layer) for layer in whole.layers()}
        assert layers == {type(layer) for one in alone for layer in one.layers()}
        assert {one.policy for one in alone} - {"float32"} == {whole.policy}
        assert (whole.size, whole.penalty) == (32, "l2")
        assert whole.weights is WEIGHTS
        assert whole.compiled.keys() >= MORE.keys()
        assert whole.optimizer().use_ema
        assert whole.optimizer().clipnorm == 0.05
        assert whole.optimizer().gradient_accumulation_steps == 2
    compiled = {name for name, one in SETTINGS.items() if not one.compiled.get("run_eagerly")}
    assert compiled == {"XLA", "All, SGD"}
    assert list(table("Setting | ")) == ["Setting", *SETTINGS]


# --- on two replicas ----------------------------------------------------------------------------------------------

ONE_BATCH = {"samples": 24, "epochs": 1}


def normalized(**options: Any) -> Callable[[], list[keras.layers.Layer]]:
    return lambda: [keras.layers.BatchNormalization(momentum=0.5, **options)]


ON_TWO = {
    "Adam, and all that works": Setting(
        normalized(synchronized=True),
        adam(use_ema=True, ema_momentum=0.9),
        GRAPH,
        WEIGHTS,
        penalty="l2",
        size=32,
        samples=40,
    ),
    "`mixed_float16`, custom optimizer": Setting(
        lambda: [AddsALoss()], custom(), penalty="l2", policy="mixed_float16", **ONE_BATCH
    ),
    "A last batch of 7": Setting(samples=31, epochs=1),
    "A first batch of 7": Setting(samples=7, epochs=1),
    "`Dropout`": Setting(lambda: [keras.layers.Dropout(0.3)], **ONE_BATCH),
    "`BatchNormalization`": Setting(normalized(), **ONE_BATCH),
    "Synchronized, and `add_loss`": Setting(lambda: [*normalized(synchronized=True)(), AddsALoss()], **ONE_BATCH),
    "`clipnorm`": Setting(optimizer=sgd(clipnorm=0.05), **ONE_BATCH),
    "Accumulation": Setting(optimizer=sgd(gradient_accumulation_steps=2), compiled=GRAPH, epochs=1),
    "XLA": Setting(compiled={"jit_compile": True}, **ONE_BATCH),
}
AT_ONCE = "Six rows at once"
IN_ONE = list(ON_TWO)[1:3] + list(ON_TWO)[4:8]
ON_REPLICAS = ON_TWO | {
    AT_ONCE: Setting(of_all, custom(clipnorm=0.05), penalty="l2", policy="mixed_float16", samples=31, epochs=1)
}


def begin() -> None:
    two_replicas()  # before anything is trained, for then the devices are made


@cache
def of_two(name: str) -> Any:
    """What `fit` gives on the two replicas."""
    return ON_REPLICAS[name].record(strategy=two_replicas())


@cache
def own(name: str) -> tuple[str, list[float]]:
    """The cell of the page's step and loop, and how far they are off."""
    setting = ON_REPLICAS[name]
    trained = [setting.record(SameStep, strategy=two_replicas()), setting.record(train=train, strategy=two_replicas())]
    gc.freeze()  # the iterators of a strategy take a second each to go
    told = together(RIGHT, [cell(of_two(name), one) for one in trained])
    return told, [off(of_two(name), one) for one in trained]


@cache
def on_two_replicas(name: str) -> tuple[str, float]:
    """The cell of `fit`, and how far it is off."""
    expected = ON_REPLICAS[name].record()
    least = 1e-3 if "float16" in ON_REPLICAS[name].policy else 1e-5
    gc.freeze()
    return f"`fit`: {cell(expected, of_two(name), least)}", off(expected, of_two(name))


def halves_count_the_same() -> bool:
    halves = np.repeat(np.array([1, 7 / 8, 7 / 6], "float32"), [24, 4, 3])
    by_halves = replace(ON_TWO["A last batch of 7"], weights=halves).record()[2]
    return bool(np.allclose(by_halves, of_two("A last batch of 7")[2], rtol=1e-5))


def half() -> str:
    setting = Setting(**ONE_BATCH)
    return cell(setting.record(), setting.record(unscaled(), strategy=two_replicas()))


def masks() -> list[list[float]]:
    with two_replicas().scope():
        dropout = keras.layers.Dropout(0.5)
    drawn = two_replicas().run(tf.function(lambda: dropout(tf.ones((1, 40)), training=True)))
    return [one.numpy().ravel().tolist() for one in two_replicas().experimental_local_results(drawn)]


def off(expected: Any, own: Any) -> float:
    """The largest difference, as a share; 0 if both raise."""
    errors = [isinstance(one, Exception) for one in (expected, own)]
    return float(errors[0] != errors[1]) if any(errors) else max(compare(expected, own).values())


def unscaled() -> type[keras.Model]:
    """The step of the page, without the number of replicas."""
    text = sections(SITE.root / "snippets/training/equal_to_fit.py")["same_step"].text
    assert "loss * replicas" in text
    namespace = dict(vars(equal_to_fit))
    exec(text.replace("loss * replicas", "loss"), namespace)
    return namespace["SameStep"]


@pytest.fixture(scope="module")
def two(readers) -> Iterator[Page]:
    page = readers.page()
    page.call(begin)
    yield page
    page.end()


@pytest.mark.proves(
    "A last batch of 7 | `fit`: weights 5.1 % | `SameStep` and `train`: =",
    "A first batch of 7 | `fit`: raises | `SameStep` and `train`: raises",
    "`Dropout` | `fit`: loss 13 %, weights 48 %, metrics 33 % | `SameStep` and `train`: =",
    "`BatchNormalization` | `fit`: loss 2.5 %, weights 91 %, metrics 17 % | `SameStep` and `train`: =",
    "Synchronized, and `add_loss` | `fit`: loss 24 % | `SameStep` and `train`: =",
    "`clipnorm` | `fit`: weights 65 % | `SameStep` and `train`: =",
    "work under a `MirroredStrategy` as well, if `make_model` makes the model in `strategy.scope()`. Here `fit` on two "
    "replicas is compared with `fit` on one device, and the step and the loop with `fit` on two replicas:",
    "The step and the loop are compared on the rows with `mixed_float16`, a last batch of 7, `Dropout`, "
    "`BatchNormalization`, `add_loss` and `clipnorm` at once.",
)
@pytest.mark.parametrize("name", ON_TWO)
def test_the_table_of_two_replicas(two, name):
    rows = table("On replicas | ")
    assert list(rows) == ["On replicas", *ON_TWO]
    of_step_and_loop, shares = two.call(own, AT_ONCE if name in IN_ONE else name)
    says(rows, name, [two.call(on_two_replicas, name)[0], of_step_and_loop])
    assert max(shares) < 1e-6


@pytest.mark.proves(
    "`compute_loss` divides by the number of replicas, since gradients are summed over them. The mean in the step "
    "multiplies by it. Without this, the reported loss is half."
)
def test_without_the_number_of_replicas_the_loss_is_half(two):
    assert two.call(half) == "loss 50 %"


@pytest.mark.proves("A batch of 7 is split into 4 and 3, and each half counts the same.")
def test_the_halves_of_an_odd_batch_count_the_same(two):
    assert two.call(halves_count_the_same) is True


@pytest.mark.proves("Each replica normalizes and clips by its own half, and both draw the same dropout mask.")
def test_two_replicas_draw_the_same_mask(two):
    first, second = two.call(masks)
    assert first == second
    assert set(first) == {0.0, 2.0}


@pytest.mark.proves(
    "The digits aren't those of one device: sums are taken in another order. Under `mixed_float16`, `=` is less than "
    "0.1 % here."
)
def test_two_replicas_have_other_last_digits(two):
    assert 0 < two.call(on_two_replicas, "Adam, and all that works")[1] < 1e-5
    assert 1e-5 < two.call(on_two_replicas, "`mixed_float16`, custom optimizer")[1] < 1e-3


# --- the comparison -----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`equal: True` means the same digits, all of them.",
    "If no weight moves in the expected training, `compare` raises.",
    "Return how far each number is off, as a share of the expected one.",
    "That of the weights is a share of the way that the expected ones moved.",
)
def test_it_finds_one_digit():
    start, end = np.array([1.0, 2.0, 3.0], "float32"), np.array([1.5, 2.0, 1.0], "float32")
    expected = ({"loss": [4.0, 2.0], "accuracy": [0.0, 0.0]}, start, end)
    assert compare(expected, expected) == {"loss": 0.0, "accuracy": 0.0, "weights": 0.0}
    moved = np.nextafter(end, 9, dtype="float32")
    assert 0 < compare(expected, (expected[0], start, moved))["weights"] < 1e-6
    own = ({"loss": [4.0, 1.5]}, start, end + np.array([0, 0.5, 0], "float32"))
    shares = compare(expected, own)
    assert (shares["loss"], shares["weights"]) == (0.125, 0.25)
    assert np.isnan(shares["accuracy"])
    assert np.isnan(compare((own[0], start, end), expected)["accuracy"])
    assert np.isnan(compare(({"loss": [np.nan]}, start, end), own)["loss"])
    with pytest.raises(ValueError, match="No weight moved"):
        compare((expected[0], start, start), own)
    still = replace(SETTINGS["`Dropout`"], optimizer=lambda: keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match="No weight moved"):
        compare(still.record(), still.record())


@pytest.mark.proves(
    "`make_model` returns a new, compiled model that has its weights: begin it with `keras.Input`, or call it once. "
    'Make its layers, metrics and optimizer in there, and name the metrics: `keras.metrics.AUC(name="auc")`.',
)
def test_what_make_model_returns():
    def unbuilt(call: bool = False) -> keras.Model:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        if call:
            model(X)
        return model

    batches = SETTINGS["Adam"].batches
    with pytest.raises(ValueError, match="need at least one array"):
        record(unbuilt, batches)
    assert compare(record(lambda: unbuilt(True), batches), record(lambda: unbuilt(True), batches, train))["loss"] == 0

    optimizer, dense = keras.optimizers.SGD(0.1), keras.layers.Dense(1)

    def model(**kept) -> keras.Model:
        made = keras.Sequential([keras.Input((4,)), kept.get("dense") or keras.layers.Dense(1)])
        made.compile(optimizer=kept.get("optimizer") or "sgd", loss="mse", run_eagerly=True)
        return made

    def measured(**options: Any) -> keras.Model:
        made = model()
        made.compile("sgd", "mse", metrics=[kept.pop() if kept else keras.metrics.AUC(**options)], run_eagerly=True)
        return made

    kept = []
    first, second = (record(lambda: measured(name="auc"), batches, epochs=1) for _ in range(2))
    assert off(first, second) == 0
    auto = compare(*(record(measured, batches, epochs=1) for _ in range(2)))
    assert sum(np.isnan(share) for share in auto.values()) == 2
    kept = [keras.metrics.AUC(name="auc")] * 2
    first, second = (record(measured, batches) for _ in range(2))  # which begins with what the first has counted
    assert compare(first, second)["auc"] > 0

    record(lambda: model(optimizer=optimizer), batches, epochs=1)
    with pytest.raises((ValueError, KeyError), match="Unknown variable"):
        record(lambda: model(optimizer=optimizer), batches, epochs=1)
    first, second = (record(lambda: model(dense=dense), batches, epochs=1) for _ in range(2))
    assert compare(first, second)["weights"] > 0.1


@pytest.mark.proves(
    "Put in what your training uses, and a smaller last batch. With a plain model, batches of one size, float32 and "
    "SGD, the wrong forms below are equal, too.",
    "The step of this class is that of `fit`, written out. Here it is compared with dropout, a regularizer, and a last "
    "batch of 8 samples:",
)
def test_a_model_of_little_finds_little(seed):
    assert table("Setting | ")["float32, SGD"] == [together(names, ["=", "="]) for names in (RIGHT, SEEN)]
    page = shown(MODULE, "program", seed=seed)
    assert page.printed.endswith("weights: 0.0% off, equal: True")
    assert [len(x) for x, _ in page["make_batches"]()] == [32, 32, 8]


# --- forms that are often seen ------------------------------------------------------------------------------------


@pytest.mark.proves(
    "This step trains as `fit` does, and reports another loss: the last batch of 8 samples counts as much as one "
    "of 32:",
    "Neither raises, and both have the accuracy of `fit`.",
    "This loop trains without the penalty of the regularizer, which the loss lacks as well:",
)
def test_what_the_forms_do_instead():
    partial = SETTINGS["A smaller last batch"]
    seen().namespace["make_optimizer"] = partial.optimizer
    losses = []

    class Keeps(SameStep):
        def compute_loss(self, *args, **options):
            losses.append(float(loss := super().compute_loss(*args, **options)))
            return loss

    right, own = partial.record(Keeps), partial.record(seen().step)
    np.testing.assert_allclose(own[0]["loss"], np.mean(np.reshape(losses, (2, 2)), axis=1), rtol=1e-6)
    np.testing.assert_allclose(right[0]["loss"], np.reshape(losses, (2, 2)) @ [32 / 40, 8 / 40], rtol=1e-6)
    np.testing.assert_array_equal(own[2], right[2])

    plain, penalized = SETTINGS["Adam"], replace(SETTINGS["Adam"], penalty="l2")
    seen().namespace["make_optimizer"] = plain.optimizer
    assert off(plain.record(), penalized.record(train=seen().loop)) < 1e-6
    assert off(penalized.record(), penalized.record(train=seen().loop)) > 0.01
    for name in ("seen_step_fails", "seen_loop_fails"):
        assert recorded(name).startswith("accuracy: 0.0% off")


@pytest.mark.parametrize("gradient", [1e-3, 1e-7])
@pytest.mark.proves(
    "Under `mixed_float16` the step trains without `scale_loss`, and SGD hardly moves. The loop has an optimizer "
    "without a loss scale, and is equal until a gradient is so small that float16 makes it 0."
)
def test_a_loop_without_a_loss_scale(gradient):
    keras.config.set_dtype_policy("mixed_float16")
    found = []

    def small() -> keras.Model:
        inputs = keras.Input((1,))
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        outputs = keras.layers.Activation("sigmoid", dtype="float32")(dense(inputs))
        model = keras.Model(inputs, outputs)
        model.compile("sgd", keras.losses.BinaryCrossentropy(), metrics=["accuracy"], run_eagerly=True)
        return model

    def batches() -> tf.data.Dataset:
        x = np.full((8, 1), 1.0, "float32")
        return tf.data.Dataset.from_tensors((x, np.full((8, 1), 0.5 + gradient, "float32")))

    seen().namespace["make_optimizer"] = lambda: keras.optimizers.SGD(0.01)
    for way in (fit, seen().loop):
        found.append(record(small, batches, way, epochs=1)[2].item())
    assert found[0] == pytest.approx(0.01 * gradient, rel=0.05 if gradient > 1e-4 else 0.6)
    assert found[1] == (pytest.approx(found[0], rel=1e-2) if gradient > 1e-4 else 0)


# --- the loop -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The loop takes the loss, the metrics and the optimizer from `compile`, which wraps the optimizer in a "
    "`LossScaleOptimizer` under `mixed_float16`:",
    "Do what `model.fit(batches, epochs=epochs)` does with each batch.",
)
def test_the_loop_takes_what_compile_was_given():
    model = SETTINGS["Adam"].model()
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    keras.config.set_dtype_policy("mixed_float16")
    model = SETTINGS["Adam"].model()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = train(model, SETTINGS["Adam"].batches(), 3)
    assert {name: len(values) for name, values in history.items()} == {"accuracy": 3, "loss": 3}
    assert int(model.optimizer.inner_optimizer.iterations) == 3 * 2


@pytest.mark.proves(
    "`fit(class_weight={0: 1.0, 1: 3.0})` turns the classes into sample weights. For the loop, put them into the "
    "dataset: `np.where(y > 0, 3.0, 1.0)`.",
    "A dataset that yields inputs alone, without targets, raises.",
)
def test_class_weights_and_inputs_alone():
    plain, weighted = Setting(), Setting(weights=OF_CLASSES)

    def by_class(model: keras.Model, batches: tf.data.Dataset, epochs: int) -> dict:
        return fit_with(model, batches, epochs, class_weight={0: 1.0, 1: 3.0})

    of_fit = plain.record(train=by_class)
    for own in (weighted.record(train=train), weighted.record(SameStep), plain.record(SameStep, by_class)):
        assert off(of_fit, own) == 0
    assert off(of_fit, plain.record()) > 0.1
    model = plain.model()
    with pytest.raises((TypeError, ValueError)):
        train(model, tf.data.Dataset.from_tensors(X), 1)


def fit_with(model: keras.Model, batches: tf.data.Dataset, epochs: int, **options: Any) -> dict:
    return model.fit(batches, epochs=epochs, shuffle=False, verbose=0, **options).history


@pytest.mark.proves(
    "With several outputs, a compiled `fit` counts each batch the same in the loss of one of them, and with "
    "`run_eagerly=True` by its samples."
)
@pytest.mark.parametrize("eager", [False, True])
def test_dicts_of_inputs_and_outputs(eager):
    def model(cls: type[keras.Model] = keras.Model) -> keras.Model:
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        both = keras.layers.Concatenate()(list(inputs.values()))
        outputs = {name: keras.layers.Dense(1, name=name)(both) for name in ("one", "two")}
        made = cls(inputs, outputs)
        losses = {"one": "mse", "two": "mae"}
        made.compile("sgd", losses, loss_weights={"one": 1.0, "two": 3.0}, metrics={"one": "mae"}, run_eagerly=eager)
        return made

    def batches() -> tf.data.Dataset:
        data = {"a": X[:, :2], "b": X[:, 2:]}, {"one": Y, "two": 1 - Y}
        return tf.data.Dataset.from_tensor_slices(data).batch(32)

    def still() -> keras.Model:
        model_ = model()
        model_.optimizer.learning_rate = 0.0
        return model_

    of_fit = record(model, batches, epochs=1)
    assert len(of_fit[0]) == 4
    own = [record(model, batches, train, 1), record(lambda: model(SameStep), batches, epochs=1)]
    assert [off(of_fit, one) for one in own] == [0, 0]
    history, *_ = record(still, batches, epochs=1)
    keras.utils.set_random_seed(1)
    losses = np.square(model()({"a": X[:, :2], "b": X[:, 2:]})["one"] - Y)
    means = [np.mean([np.mean(losses[:32]), np.mean(losses[32:])]), np.mean(losses)]
    assert history["one_loss"][0] == pytest.approx(means[eager], rel=1e-6)
    assert means[0] != pytest.approx(means[1], rel=1e-3)


@pytest.mark.proves(
    "Give a `call` of your own an argument `training`. Without it, `fit` trains with dropout off, and the step and the "
    "loop with dropout on."
)
def test_a_call_without_training():
    class Takes(keras.Model):
        def __init__(self):
            super().__init__()
            self.dropout, self.dense = keras.layers.Dropout(0.5), keras.layers.Dense(1)

        def call(self, inputs, training=None):
            return self.dense(self.dropout(inputs, training=training))

    class Without(Takes):
        def call(self, inputs):
            return self.dense(self.dropout(inputs))

    class Step(Without):
        train_step = SameStep.train_step

    class NoDropout(Takes):
        def call(self, inputs):
            return self.dense(self.dropout(inputs, training=False))

    def trained(cls: type[keras.Model], way: Callable = fit) -> Any:
        def make() -> keras.Model:
            model = cls()
            model.compile("sgd", "mse", run_eagerly=True)
            model(X)
            return model

        return record(make, Setting().batches, way)

    assert off(trained(Takes), trained(Step)) == off(trained(Takes), trained(Without, train)) == 0
    assert off(trained(NoDropout), trained(Without)) == 0
    assert off(trained(Takes), trained(Without)) > 0.1


def test_metrics_of_several_numbers():
    def model(cls: type[keras.Model] = keras.Model) -> keras.Model:
        inputs = keras.Input((4,))
        made = cls(inputs, keras.layers.Dense(2, activation="sigmoid")(inputs))
        made.compile("sgd", "mse", metrics=[keras.metrics.F1Score(threshold=0.5, name="f1")], run_eagerly=True)
        return made

    def batches() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((X, np.hstack([Y, 1 - Y]))).batch(32)

    of_fit, own = record(model, batches), record(model, batches, train)
    assert off(of_fit, own) == 0
    assert np.shape(own[0]["f1"]) == (2, 2)


@pytest.mark.proves(
    "Accumulation, clipping, weight decay and schedules are the same everywhere: `optimizer.apply` does them.",
    "With `use_ema=True`, the loop keeps the last weights, and `fit` takes the averaged ones.",
)
def test_what_the_optimizer_does_by_itself():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    options = {"weight_decay": 0.1, "clipvalue": 0.01}
    setting = Setting(optimizer=lambda: keras.optimizers.SGD(schedule, **options))
    seen().namespace["make_optimizer"] = setting.optimizer
    of_fit = setting.record()
    others = [setting.record(SameStep), setting.record(train=train)]
    assert max(off(of_fit, own) for own in [*others, setting.record(train=seen().loop)]) < 1e-6
    assert off(of_fit, Setting().record()) > 0.01

    plain, averaged = Setting(), SETTINGS["`use_ema`"]
    seen().namespace["make_optimizer"] = averaged.optimizer
    np.testing.assert_array_equal(averaged.record(train=seen().loop)[2], plain.record()[2])


# --- means, order, and what differs -------------------------------------------------------------------------------


@pytest.mark.proves(
    "The loss of an epoch is the mean of those of its batches, each counted by its samples. A learning rate of 0 keeps "
    "the weights, and the numbers can be computed by hand:",
    "By default, the loss with sample weights is divided by the number of samples, a metric in `weighted_metrics` by "
    "the sum of the weights. One in `metrics` ignores them.",
)
def test_means(seed):
    page = shown(MODULE, "program", "means", seed=seed)
    lines = page.printed.splitlines()[-4:]
    assert lines[:3] == ["loss True", "mse True", "weighted_mse True"]
    assert not np.isclose(page["by_hand"]["loss"], page["of_batches"], rtol=1e-3)
    assert page["weighted"].cardinality() == 3


@pytest.mark.proves(
    "`evaluate` gives another loss on the same data: it has the last weights for all batches, and no dropout."
)
def test_evaluate_gives_another_loss():
    found = {}
    for name, rate in (("plain", 0.1), ("still", 0.0), ("`Dropout`", 0.0)):
        layers = SETTINGS[name].layers if name in SETTINGS else list
        keras.utils.set_random_seed(1)
        setting = Setting(layers, lambda rate=rate: keras.optimizers.SGD(rate))
        model = setting.model()
        loss = fit_with(model, setting.batches(), 1)["loss"][0]
        found[name] = abs(model.evaluate(setting.batches(), verbose=0)[0] / loss - 1)
    assert found["still"] < 1e-6
    assert min(found["plain"], found["`Dropout`"]) > 1e-3


@pytest.mark.proves(
    "`shuffle` gives a new order each time that a dataset is iterated, and `fit` and a loop don't iterate it as often. "
    "From the same seed, they see different batches:",
    "Given arrays, `fit` shuffles by itself, unless you pass `shuffle=False`.",
)
def test_the_order(seed):
    setting = Setting()
    data = tf.data.Dataset.from_tensor_slices((X, Y))
    model = setting.model
    for kept, equal in ((True, True), (False, False)):
        made = lambda kept=kept: data.shuffle(48, seed=seed, reshuffle_each_iteration=not kept).batch(24)  # noqa: E731
        shares = compare(record(model, made), record(model, made, train))
        assert (max(shares.values()) == 0) == equal
    shuffled = data.shuffle(48, seed=seed)
    first, second = ([x.numpy().tolist() for x, _ in shuffled] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)

    order = {}
    for shuffle in (True, False):
        read = []

        class Reads(keras.Model):
            def train_step(self, data, read=read):
                read.extend(np.asarray(data[0]).tolist())
                return super().train_step(data)

        Setting().model(Reads).fit(X, Y, shuffle=shuffle, verbose=0)
        order[shuffle] = read
    assert order[False] == X.tolist() != order[True]
    assert sorted(order[True]) == sorted(X.tolist())


def test_the_page_shows_both_orders():
    assert recorded("order").splitlines() == ["make_another, equal: False", "make_same, equal: True"]


@pytest.mark.proves(
    "the loss off, the weights equal | how the losses of batches are averaged, a mean that isn't reset after an epoch, "
    "or a penalty that doesn't depend on a weight",
    "`nan` | a name that only one of them reports, another number of epochs, or a loss that is `nan`, in both too",
    "the weights 100 % off | `scale_loss`: the model wasn't trained",
    "the weights off, the loss equal | `finalize_variable_values`, or what happens after the last batch; a step that "
    "calls a model with `BatchNormalization` twice; with one epoch of one batch, the gradient or the optimizer",
)
def test_what_differs_tells_the_reason():
    seen_forms = {name: cells[1] for name, cells in table("Setting | ").items()}
    assert re.fullmatch("`SeenStep` and `seen_train`: loss [0-9]+ %", seen_forms["A smaller last batch"])
    assert re.fullmatch("`SeenStep`: =; `seen_train`: loss [0-9]+ %", seen_forms["`add_loss`"])
    assert seen_forms["More metrics"].endswith("`seen_train`: metrics missing")
    assert re.match("`SeenStep`: loss .* weights 100 %", seen_forms["`mixed_float16`"])
    assert re.fullmatch("`SeenStep`: =; `seen_train`: weights [0-9]+ %", seen_forms["`use_ema`"])

    class CallsTwice(SameStep):
        def train_step(self, data):
            self(data[0], training=True)
            return super().train_step(data)

    shares = compare(of_fit("`BatchNormalization`"), SETTINGS["`BatchNormalization`"].record(CallsTwice))
    assert shares["loss"] == 0 < 0.01 < shares["weights"]
    one_batch = Setting(samples=24, epochs=1)
    other_rate = replace(one_batch, optimizer=lambda: keras.optimizers.SGD(0.05))
    shares = compare(one_batch.record(), other_rate.record())
    assert (shares["loss"], shares["weights"]) == (0, pytest.approx(0.5, rel=1e-3))

    def without_a_reset(model: keras.Model, batches: tf.data.Dataset, epochs: int) -> dict:
        model.reset_metrics = lambda: None
        return train(model, batches, epochs)

    shares = compare(of_fit("float32, SGD"), Setting().record(train=without_a_reset))
    assert shares["weights"] == 0 < 1e-4 < shares["loss"]


def test_what_compare_cannot_subtract():
    still, moved = np.zeros(2), np.ones(2)
    given = lambda *losses, **others: ({"loss": list(losses), **others}, still, moved)  # noqa: E731
    assert compare(given(1.0, 1.0), given(1.0, 1.0)) == {"loss": 0, "weights": 0}
    for one, other in (
        (given(1.0, 1.0), given(1.0)),  # of another number of epochs
        (given(1.0), given(1.0, 1.0, 1.0)),
        (given(np.nan), given(np.nan)),
        (given(1.0), given(np.nan)),
        (({}, still, moved), given(1.0)),
    ):
        assert np.isnan(compare(one, other)["loss"])
        assert np.isnan(compare(other, one)["loss"])


def test_a_metric_that_returns_a_dict():
    class Both(keras.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

        def result(self):
            return {"mean": super().result(), "twice": 2 * super().result()}

    setting = Setting(compiled={"metrics": [Both(name="both")], "run_eagerly": True}, size=32)
    expected, own = setting.record(), replace(setting, compiled={**setting.compiled, "metrics": [Both()]})
    assert set(expected[0]) == {"loss", "mean", "twice"}
    assert off(expected, own.record(train=train)) == 0


@pytest.mark.proves(
    "all of it off | the first weights, the order of the batches, or random numbers: with `epochs=1` and a dataset of "
    "one batch, the loss is that of the first weights",
    "A model that is called with `training=True` once before the training draws a dropout mask more, and all later "
    "masks are others.",
)
def test_random_numbers():
    setting = SETTINGS["`Dropout`"]

    def calls_first(model: keras.Model, batches: tf.data.Dataset, epochs: int) -> dict:
        model(X, training=True)
        return train(model, batches, epochs)

    shares = compare(of_fit("`Dropout`"), setting.record(train=calls_first))
    assert min(shares["loss"], shares["weights"]) > 0.01
    plain = Setting(samples=24, epochs=1)
    history, _, _ = plain.record()
    keras.utils.set_random_seed(1)
    expected = keras.losses.BinaryCrossentropy()(Y[:24], plain.model()(X[:24]))
    assert history["loss"][0] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.proves(
    "Two right runs differ in the last digits where sums are taken in another order: with XLA in one of them, or on "
    "two replicas. TensorFlow also optimizes the graphs of `fit` and of the loop differently: with `gelu`, the weights "
    "of the loop are off by some 1e-7. With `run_eagerly=True` they are equal."
)
def test_where_right_runs_differ():
    eager, xla = of_fit("float32, SGD"), of_fit("XLA")
    assert off(eager, xla) < 1e-5

    def gelu() -> list[keras.layers.Layer]:
        return [keras.layers.Dense(16, activation="gelu")]

    for options, least in ((GRAPH, 1e-9), (EAGER, 0)):
        setting = Setting(gelu, compiled=options, size=32)
        share = off(setting.record(), setting.record(train=train))
        assert least <= share <= 1000 * least
