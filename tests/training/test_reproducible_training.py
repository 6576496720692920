"""`docs/training/reproducible_training.md`: every claim that the page makes, proved."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from snippets.training.reproducible_training import Trail, fingerprint, first_difference, make_model
from snippets.training.two_networks import GAN
from tests.shown import Shown, shown

MODULE = "snippets.training.reproducible_training"
NOT_IN_CONTRACT = {"Trail": "a callback: what it notes, and that it changes nothing, is proved below"}
X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = np.sin(X.sum(axis=-1, keepdims=True))


def dropping(**options) -> keras.layers.Layer:
    return keras.layers.Dropout(0.5, **options)


dropping.__name__ = "dropout"  # as the page calls and prints it


def trained(seed: int = 1, *between, epochs: int = 1, fit=None, **options) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = make_model(*between, **options)
    model.fit(X, Y, epochs=epochs, verbose=0, **fit or {})
    return model


def same(one: keras.Model, other: keras.Model) -> bool:
    return fingerprint(one.weights) == fingerprint(other.weights)


def furthest(one: keras.Model, other: keras.Model) -> float:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.max(np.abs(left - right))) for left, right in pairs)


# --- the program, and other processes -----------------------------------------------------------------------------


@cache
def program() -> Shown:
    return shown(MODULE, "program")


@pytest.mark.proves(
    "`keras.utils.set_random_seed`, called before the first layer is made, makes two trainings equal bit for bit "
    "on one machine, but for a few operations."
)
def test_the_program():
    assert program().printed.splitlines() == [
        "seed 1: every bit as in the first run: True",
        "seed 2: every bit as in the first run: False",
    ]


def test_another_model_repeats(seed):
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype("float32")
    found = set()
    for _ in range(2):
        keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy("mixed_bfloat16")
        layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.GaussianNoise(0.1)]
        model = keras.Sequential([keras.Input((6, 6, 2)), *layers, keras.layers.Flatten(), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, x.reshape(64, -1).sum(axis=-1), verbose=0)
        found.add(fingerprint(model.weights))
    assert len(found) == 1


@pytest.mark.proves(
    "With `evaluate`, `predict` and `validation_data` or without, the weights are the same, unless these read the "
    "`Dataset.shuffle` of `fit`, or a layer draws in them too, as the sampling of a VAE does."
)
def test_what_draws_nothing():
    def between(*calls, **options):
        keras.utils.set_random_seed(1)
        model = make_model(dropping)
        for _ in range(2):
            model.fit(X, Y, verbose=0, **options)
            for call in calls:
                call(model)
        return fingerprint(model.weights)

    others = [lambda model: model.evaluate(X, Y, verbose=0), lambda model: model.predict(X, verbose=0)]
    assert between() == between(*others, validation_data=(X, Y))

    def shuffled(*calls):
        keras.utils.set_random_seed(1)
        dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=1).batch(32)
        model = make_model(run_eagerly=True)
        model.fit(dataset, verbose=0, shuffle=False)
        for call in calls:
            call(model, dataset)
        model.fit(dataset, verbose=0, shuffle=False)
        return fingerprint(model.weights)

    assert shuffled() != shuffled(lambda model, dataset: model.evaluate(dataset, verbose=0))

    class Samples(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.noise = keras.random.SeedGenerator()

        def call(self, mean):
            return mean + keras.random.normal(ops.shape(mean), seed=self.noise)

    def sampled(**options):
        keras.utils.set_random_seed(1)
        model = make_model(Samples)
        model.fit(X, Y, epochs=2, verbose=0, **options)
        return fingerprint(model.weights)

    assert sampled() == sampled() != sampled(validation_data=(X, Y))


def in_a_process(threads: int) -> tuple[dict, list, str]:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(1)
    trail = Trail()
    model = make_model(dropping)
    model.fit(X, Y, verbose=0, callbacks=[trail])
    keras.utils.set_random_seed(1)
    layer, picture = keras.layers.Conv2D(4, 3), tf.reshape(tf.sin(tf.range(9600.0)), (3, 40, 40, 2))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(picture) ** 2)
    drawn = fingerprint(dropping(seed=3)(ops.ones((100,)), training=True))
    return trail.found, model.get_weights(), fingerprint(tape.gradient(value, layer.kernel)) + drawn


@pytest.mark.proves(
    "In a new process they are the same, too.",
    "one thread and two | the same | may differ",
    "oneDNN on and off | the same | may differ",
    "`TF_ENABLE_ONEDNN_OPTS=0` is read when TensorFlow is imported.",
)
def test_in_new_processes(readers):
    pages = [readers.page() for _ in range(2)]  # with oneDNN; this process is without
    found = [page.call(in_a_process, threads) for page, threads in zip(pages, (2, 1), strict=True)]
    for page in pages:
        page.end()
    assert found[0][0] == found[1][0]
    assert found[0][2][8:] == found[1][2][8:]  # the gradient of the convolution isn't the same, with one thread

    keras.utils.set_random_seed(1)
    trail, model = Trail(), make_model(dropping)
    model.fit(X, Y, verbose=0, callbacks=[trail])
    start = [name for name in trail.found if name.startswith("step 0")]
    assert len(start) == 3
    assert [trail.found[name] for name in start] == [found[0][0][name] for name in start]
    assert fingerprint(dropping(seed=3)(ops.ones((100,)), training=True)) == found[0][2][8:]
    assert trail.found["step 2: random states"] == found[0][0]["step 2: random states"]
    for one, other in zip(model.get_weights(), found[0][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    os.environ["TF_ENABLE_ONEDNN_OPTS"], before = "1", os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    try:
        assert same(trained(1), trained(1))
    finally:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = before or "0"


# --- a cell that is run again -------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The seed starts the generators once, and each layer takes from them. What was made before keeps its state:",
    "A model has weights, steps of its optimizer, and a count of masks in `Dropout`, and `set_random_seed` "
    "reaches none of them. By default, a `Dataset.shuffle` counts its epochs, one with a `seed` too. Set the seed, "
    "make the dataset and the model, and compile it, all in one cell.",
)
def test_a_cell_again():
    given = {name: program()[name] for name in ("x", "y", "dropout", "train", "first")}
    page = shown(MODULE, "cell_fails", **given)
    assert page.printed.splitlines() == [
        "new model, run 1: True",
        "new model, run 2: False",
        "same model, seed set again: False",
        "steps: 16, masks drawn: 16",
    ]
    model = page["model"]
    before = fingerprint([model.variables, model.optimizer.variables])
    keras.utils.set_random_seed(1)
    assert fingerprint([model.variables, model.optimizer.variables]) == before
    assert page["is_first"](page["train"](1, page["dropout"]))


@pytest.mark.parametrize("seed_of_shuffle", [None, 1])
def test_a_cell_with_a_dataset_again(seed_of_shuffle):
    def make():
        return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=seed_of_shuffle).batch(16)

    def cell(dataset=None):
        keras.utils.set_random_seed(1)
        dataset, model = dataset or make(), make_model()
        model.fit(dataset, shuffle=False, verbose=0)
        return fingerprint(model.weights)

    of_another_cell = make()
    assert cell() == cell()
    assert cell(of_another_cell) != cell(of_another_cell)
    kept = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=1, reshuffle_each_iteration=False).batch(16)
    assert cell(kept) == cell(kept)


# --- where random numbers come from -------------------------------------------------------------------------------


def repeated(set_seed, draw) -> bool:
    found = set()
    for _ in range(2):
        set_seed()
        found.add(fingerprint(draw()))
    return len(found) == 1


SEEDS = {
    "Keras": lambda: keras.utils.set_random_seed(1),
    "TensorFlow": lambda: tf.random.set_seed(1),
    "NumPy": lambda: np.random.seed(1),
    "Python": lambda: random.seed(1),
}
DRAWS = {
    "weights": (lambda: make_model().weights, {"Keras", "Python"}),
    "Dropout": (lambda: dropping()(ops.ones((50,)), training=True), {"Keras", "Python"}),
    "SeedGenerator": (lambda: keras.random.normal((3,), seed=keras.random.SeedGenerator()), {"Keras", "Python"}),
    "keras.random": (lambda: keras.random.normal((3,)), {"Keras"}),
    "tf.random": (lambda: tf.random.normal((3,)), {"Keras", "TensorFlow"}),
    "Dataset.shuffle": (lambda: list(tf.data.Dataset.range(50).shuffle(50).batch(50)), {"Keras", "TensorFlow"}),
    "np.random": (lambda: np.random.normal(size=3), {"Keras", "NumPy"}),
    "default_rng": (lambda: np.random.default_rng().normal(size=3), set()),
}


@pytest.mark.proves(
    "The initial weights and `Dropout` come from Python's `random`, not from TensorFlow's seed:",
    "`np.random.default_rng()` | the operating system | `default_rng(1)`; `set_random_seed` doesn't reach it",
)
@pytest.mark.parametrize(("draw", "by"), DRAWS.values(), ids=DRAWS)
def test_what_repeats_it(draw, by):
    assert {name for name, set_seed in SEEDS.items() if repeated(set_seed, draw)} == by


def test_the_seed_of_tensorflow_as_the_page_shows_it():
    printed = shown(MODULE, "tensorflow_seed_fails").printed.splitlines()
    assert printed == ["set_seed: equal initial weights: False", "set_random_seed: equal initial weights: True"]
    both = lambda: (np.random.seed(1), tf.random.set_seed(1))  # noqa: E731
    assert not repeated(both, DRAWS["weights"][0])
    assert not repeated(both, DRAWS["Dropout"][0])
    assert repeated(SEEDS["Keras"], lambda: np.random.default_rng(1).normal(size=3))


@pytest.mark.proves(
    "initial weights, `Dropout`, `SeedGenerator()` | Python's `random`, when the layer is made. "
    "`MultiHeadAttention`, `SpectralNormalization`, a layer that makes others in `build`, and `add_weight` without an "
    "initializer or with its name, draw in `build`.",
    "`keras.random` without a seed | Python's `random`, at the first call | `set_random_seed`",
)
def test_seeds_are_drawn_when_the_layer_is_made():
    def kernel(**between):
        keras.utils.set_random_seed(1)
        first, second = keras.layers.Dense(3), keras.layers.Dense(3)
        if between:
            keras.utils.set_random_seed(7)
            second.build((None, 4))
        state = random.getstate()
        first.build((None, 4))
        assert random.getstate() == state
        return first.kernel.numpy()

    np.testing.assert_array_equal(kernel(), kernel(other=True))
    for draw, draws in ((lambda: keras.random.normal(()), True), (lambda: tf.random.normal(()), False)):
        keras.utils.set_random_seed(1)
        state = random.getstate()
        draw()
        assert (random.getstate() != state) == draws
        state = random.getstate()
        draw()
        assert random.getstate() == state


class Own(keras.layers.Layer):
    def __init__(self, initializer=None):
        super().__init__()
        self.initializer = initializer

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(4, 3), initializer=self.initializer)


class MakesAnother(keras.layers.Layer):
    def build(self, input_shape):
        self.inner = keras.layers.Dense(3)
        self.inner.build(input_shape)


@pytest.mark.parametrize(
    ("make", "in_build"),
    [
        (Own, True),
        (MakesAnother, True),
        (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(3)), True),
        (lambda: Own("he_normal"), True),
        (lambda: Own("zeros"), False),
        (lambda: Own(keras.initializers.HeNormal()), False),
        (lambda: keras.layers.MultiHeadAttention(2, 3), True),
        (lambda: keras.layers.LSTM(3), False),
        (lambda: keras.layers.Conv1D(3, 2), False),
        (lambda: keras.layers.Embedding(3, 2), False),
    ],
)
def test_which_layers_draw_in_build(make, in_build):
    layer = make()
    state = random.getstate()
    several = isinstance(layer, keras.layers.MultiHeadAttention)
    layer.build(*[(None, 4, 4)] * (2 if several else 1))
    assert (random.getstate() != state) == in_build


class Numbered(keras.utils.PyDataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return np.full((1, 1), index, "float32"), np.zeros((1, 1), "float32")


@pytest.mark.proves("order of a `PyDataset` | Python's `random`, anew each epoch | `set_random_seed`")
def test_the_order_of_a_pydataset():
    def rows(set_seed, workers=1):
        set_seed()
        model = keras.Sequential([Seen()])
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(Numbered(workers=workers), epochs=2, verbose=0)
        return tuple(np.concatenate(model.layers[0].batches)[-24:])

    found = rows(SEEDS["Keras"])
    assert sorted(found[:12]) == sorted(found[12:]) == list(range(12))
    assert found[:12] != found[12:]
    assert rows(SEEDS["Python"]) == found == rows(SEEDS["Keras"], workers=4)
    assert rows(SEEDS["TensorFlow"]) != found


class Seen(keras.layers.Layer):
    """Keeps the batches that it is called with."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.scale = self.add_weight(shape=())

    def call(self, inputs):
        if hasattr(inputs, "numpy"):
            self.batches.append(inputs.numpy().ravel())
        return inputs * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape


def orders(epochs: int = 2, batch_size: int = 16, **options) -> list[tuple]:
    """The rows of each epoch, as `fit` takes them."""
    rows = np.arange(64, dtype="float32")[:, None]
    model = keras.Sequential([Seen()])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(rows, rows, epochs=epochs, batch_size=batch_size, verbose=0, **options)
    rows = np.concatenate(model.layers[0].batches)
    rows = rows[len(rows) % 64 :]
    return [tuple(rows[start : start + 64]) for start in range(0, len(rows), 64)]


@pytest.mark.proves("order of `fit(x, y)` | TensorFlow's seed alone, so each epoch repeats it | `set_random_seed`")
def test_the_order_of_fit(seed):
    keras.utils.set_random_seed(seed)
    first = orders()
    assert first[0] == first[1] != tuple(range(64))
    random.seed(99)
    np.random.seed(99)
    tf.random.normal((3,))
    assert orders() == first
    tf.random.set_seed(seed)
    assert orders() == first
    tf.random.set_seed(seed + 100)
    assert orders()[0] != first[0]


def order(dataset: tf.data.Dataset) -> str:
    return fingerprint(list(dataset.batch(1000)))


@pytest.mark.proves(
    "`Dataset.shuffle(n)` | TensorFlow's seed, and what TensorFlow drew before | `shuffle(n, seed=1)`, and "
    "`set_random_seed`",
    "`shuffle(n, seed=1)` alone gives another order under another global seed. Its second epoch has another "
    "order than its "
    "first, and a look at the first batch counts as an epoch.",
)
def test_the_order_of_a_dataset(seed):
    def make(**options):
        return tf.data.Dataset.range(50).shuffle(50, **options)

    keras.utils.set_random_seed(seed)
    plain, seeded = order(make()), order(make(seed=1))
    keras.utils.set_random_seed(seed)
    tf.random.normal(())
    assert order(make()) != plain
    assert order(make(seed=1)) == seeded
    keras.utils.set_random_seed(seed + 100)
    assert order(make(seed=1)) != seeded

    keras.utils.set_random_seed(seed)
    dataset, looked_at = make(seed=1), make(seed=1)
    epochs = [order(dataset), order(dataset)]
    assert epochs[0] != epochs[1]
    next(iter(looked_at))
    assert order(looked_at) == epochs[1]
    fixed = make(seed=1, reshuffle_each_iteration=False)
    assert order(fixed) == order(fixed)


@pytest.mark.proves(
    '`list({"cat", "dog"})` | Python\'s hashes, others in each process | `sorted`',
    '`os.environ["PYTHONHASHSEED"] = "0"` in the script | No effect on the process that runs; Keras needs none.',
)
def test_the_order_of_a_set():
    names = "{'cat', 'dog', 'bird', 'fish', 'horse', 'cow', 'ant', 'bee'}"

    def run(code, **env):
        command = [sys.executable, "-S", "-c", f"import os\n{code}"]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"} | env
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert len({run(f"print(list({names}))") for _ in range(6)}) > 1
    assert len({run(f"os.environ['PYTHONHASHSEED'] = '0'\nprint(list({names}))") for _ in range(6)}) > 1
    assert len({run(f"print(list({names}))", PYTHONHASHSEED="0") for _ in range(3)}) == 1
    assert len({run(f"print(sorted({names}))") for _ in range(3)}) == 1


@pytest.mark.proves("`set_random_seed(np.int64(1))` | `Expected `seed` argument to be an integer`")
def test_the_seed_is_an_int():
    with pytest.raises(ValueError, match="Expected `seed` argument to be an integer"):
        keras.utils.set_random_seed(np.int64(1))


# --- one more layer -----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Each layer that draws a seed moves all that are made after it. A layer with a seed for all that it draws moves "
    "none:",
    "The `seed=` of `LSTM` and `MultiHeadAttention` is of their masks alone: their weights still draw.",
)
def test_one_more_layer(seed):
    page = shown(MODULE, "one_more", seed=seed, dropout=dropping)
    without = page["last_kernel"]()
    assert page.printed.splitlines() == [
        "dropout: the last kernel is the same: False",
        "seeded_dropout: the last kernel is the same: True",
        "seeded_dense: the last kernel is the same: True",
    ]
    draws = {
        lambda: keras.layers.Dense(16): True,
        lambda: keras.layers.GaussianNoise(0.1): True,
        lambda: keras.layers.GaussianNoise(0.1, seed=2): False,
        lambda: keras.layers.Dropout(0.0): False,
        keras.layers.BatchNormalization: False,
        keras.layers.ReLU: False,
    }
    for make, moves in draws.items():
        assert np.array_equal(page["last_kernel"](make), without) != moves
    for make in (lambda: keras.layers.LSTM(8, seed=3), lambda: keras.layers.MultiHeadAttention(2, 3, seed=3)):
        state = random.getstate()
        make()
        assert random.getstate() != state


@pytest.mark.proves(
    "Give each layer another integer. Two kernels of one shape and one seed start equal, and so do two that share one "
    "initializer without a seed. Two `Dropout` layers with one seed drop the same places."
)
@pytest.mark.parametrize("cls", ["GlorotUniform", "HeNormal", "RandomNormal", "Orthogonal"])
def test_equal_starts(cls):
    def kernel(initializer):
        layer = keras.layers.Dense(3, kernel_initializer=initializer)
        layer.build((None, 4))
        return fingerprint(layer.kernel)

    cls = getattr(keras.initializers, cls)
    shared = cls()
    assert kernel(shared) == kernel(shared)
    assert kernel(cls(seed=4)) == kernel(cls(seed=4)) != kernel(cls(seed=5))
    assert kernel(cls()) != kernel(cls())
    drop = [dropping(seed=3), dropping(seed=3), dropping(seed=4)]
    for _ in range(2):
        first, second, third = (fingerprint(layer(ops.ones((4, 50)), training=True)) for layer in drop)
        assert first == second != third


# --- noise --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The numbers of a `SeedGenerator` are the same in eager mode and in a graph. Those of `tf.random.normal` "
    "aren't, and "
    "under XLA no seed repeats them:",
    "eager and graph | the same, but for `tf.random` | may differ",
)
def test_noise(seed):
    assert shown(MODULE, "noise", seed=seed).printed.splitlines() == [
        "by_tensorflow:",
        "  a graph as eager: False",
        "  XLA twice: False",
        "  XLA as a graph: False",
        "by_keras:",
        "  a graph as eager: True",
        "  XLA twice: True",
        "  XLA as a graph: False",
    ]


def test_no_seed_repeats_it_under_xla():
    def draw():
        tf.random.set_seed(1)
        return tf.function(lambda: tf.random.normal((20,), seed=3), jit_compile=True)()

    assert len({fingerprint(draw()) for _ in range(3)}) == 3


@pytest.mark.proves(
    "XLA turns the same seed into other `normal` and `uniform` numbers, in `Dropout` as well.",
    "`jit_compile=True` and without | others, but the same initial weights | may differ",
)
def test_dropout_under_xla(seed):
    def uniform(draw=keras.random.uniform):
        return draw((20,), seed=seed)

    def integers():
        return keras.random.randint((20,), 0, 1000, seed=seed)

    for draw, equal in ((uniform, False), (integers, True)):  # integers stay
        by_xla = tf.function(draw, jit_compile=True)()
        assert np.array_equal(by_xla, draw()) == equal
    masks = [
        fingerprint(
            tf.function(lambda x, layer: layer(x, training=True), jit_compile=xla)(ops.ones((99,)), dropping(seed=seed))
        )
        for xla in (False, True, True)
    ]
    assert masks[0] != masks[1] == masks[2]

    def start(build, **options):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.0), "mse", **options)
        build(model)
        return model

    by_xla = start(lambda model: model.train_on_batch(X, Y), jit_compile=True)
    assert same(by_xla, start(lambda model: model.build((None, 4))))


# --- a parallel map -----------------------------------------------------------------------------------------------


@pytest.mark.proves("The elements come in order, but which one draws first is chance:")
def test_parallel_draws(seed):
    page = shown(MODULE, "parallel_fails", seed=seed)
    assert page.printed.splitlines() == ["one after the other, results: 1", "in parallel, more than one: True"]
    elements, _ = next(iter(page["numbers"].map(page["draw_one"], num_parallel_calls=4).batch(2000)))
    np.testing.assert_array_equal(elements, np.arange(2000))


@pytest.mark.proves(
    "A `seed=` of the operation doesn't help, and `RandomFlip(seed=3)` in a parallel `map` does the same. Draw "
    "the seeds in "
    "order, one for each element:",
    "Without `rerandomize_each_iteration`, each epoch gets the same numbers.",
)
def test_parallel_seeds(seed):
    page = shown(MODULE, "parallel", seed=seed)
    assert page.printed.splitlines() == ["in parallel, results: 1", "other numbers in the second epoch: True"]
    picture = tf.reshape(tf.range(12.0), (2, 2, 3))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 4

    def count(make):
        found = set()
        for _ in range(4):
            keras.utils.set_random_seed(seed)
            draw = make()
            found.add(order(tf.data.Dataset.range(400).with_options(options).map(draw, num_parallel_calls=4)))
        return len(found)

    def flip():
        layer = keras.layers.RandomFlip(seed=3)
        return lambda number: layer(picture, training=True)

    assert count(lambda: lambda number: tf.random.uniform((), seed=7)) > 1
    assert count(flip) > 1
    seeds = tf.data.Dataset.random(1).batch(2).take(9)
    assert order(seeds) == order(seeds)


# --- rounding -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Sums in another order round differently:",
    "Compare such runs with a tolerance, and not by a fingerprint.",
)
def test_rounding(seed):
    assert float(tf.reduce_sum([1e8, 1.0, -1e8])) != float(tf.reduce_sum([1e8, -1e8, 1.0]))
    plain, xla = trained(seed), trained(seed, jit_compile=True)
    assert not same(plain, xla)
    assert furthest(plain, xla) < 1e-5
    assert furthest(plain, trained(seed, run_eagerly=True)) < 1e-5
    eager = trained(seed, dropping, run_eagerly=True)
    assert furthest(eager, trained(seed, dropping, jit_compile=True)) > 1e-4


@pytest.mark.proves(
    "Rounding can become large where an optimizer divides by it. A bias before `BatchNormalization` has a "
    "gradient of 0, up "
    "to rounding, and Adam still makes steps of it:"
)
def test_the_bias_before_batch_normalization(seed):
    page = shown(MODULE, "bias_fails", seed=seed, x=X, y=Y, difference=furthest)
    assert page.printed.splitlines()[1] == "use_bias=False, at most rounding: True"
    model = page["normalized"](True)
    dense = model.layers[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(X, training=True) - Y) ** 2)
    of_kernel, of_bias = tape.gradient(loss, [dense.kernel, dense.bias])
    assert np.max(np.abs(of_bias)) < 1e-6 < 1e-3 < np.max(np.abs(of_kernel))
    assert np.max(np.abs(dense.bias)) > 1e-5  # a step from 0


# --- determinism --------------------------------------------------------------------------------------------------


def count_bincounts() -> int:
    """How many results a sum of a million weights has."""
    drawn = np.random.default_rng(0)
    weights = tf.constant(drawn.normal(size=1_000_000), tf.float32)
    numbers = tf.constant(drawn.integers(0, 5, size=1_000_000), tf.int32)
    return len({fingerprint(tf.math.bincount(numbers, weights=weights)) for _ in range(60)})


def count_embeddings(optimizer: str, runs: int) -> int:
    """How many results some steps on an `Embedding` have; stops at two."""
    drawn = np.random.default_rng(0)
    layer = keras.layers.Embedding(50, 64)
    rows = tf.constant(drawn.integers(0, 50, size=(64, 200)))
    truth = tf.constant(drawn.normal(size=(64, 200, 64)), tf.float32)
    layer.build()
    start, found = layer.get_weights(), set()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((layer(rows) - truth) ** 2)
    gradient = tape.gradient(loss, layer.trainable_weights[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    while runs and len(found) < 2:
        layer.set_weights(start)
        update = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.1}})
        for _ in range(4):
            update.apply([gradient], layer.trainable_weights)
        found.add(fingerprint(layer.weights))
        runs -= 1
    return len(found)


def under_determinism(draws: int = 300) -> dict:
    def drawn(calls):
        keras.utils.set_random_seed(1)
        return order(tf.data.Dataset.range(draws).map(lambda _: tf.random.uniform(()), num_parallel_calls=calls))

    before = fingerprint(trained(1, dropping).weights), drawn(None)
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(None)
    raised = []
    model = make_model()
    dataset = tf.data.Dataset.range(5)
    for call in (lambda: model.fit(X, Y, verbose=0), lambda: list(dataset.shuffle(5)), lambda: tf.random.normal(())):
        try:
            call()
        except RuntimeError as error:
            raised.append(str(error))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        by_xla = fingerprint(trained(1, dropping, jit_compile=True).weights)
    after = fingerprint(trained(1, dropping).weights), drawn(4)
    return {
        "before": before,
        "after": after,
        "xla": by_xla,
        "said": [str(one.message) for one in said],
        "raised": raised,
        "sums": count_bincounts(),
        "embeddings": [count_embeddings(name, 8) for name in ("sgd", "rmsprop")],
    }


@pytest.mark.proves(
    "On the CPU, `tf.config.experimental.enable_op_determinism()` changes no bit of the program above, which repeats "
    "without it. What it does change:",
    "An `Embedding` trained with `SGD` or `RMSprop` repeats. Without it, several threads add up the gradients of a row "
    "as they come: in batches of 64 x 200 integers, runs with one seed differed.",
    "A parallel `map` with random numbers gives what `map` gives one after the other.",
    "`jit_compile=True` only warns, and the model trains without XLA.",
    "Without a global seed, `fit(x, y)`, `Dataset.shuffle` and `tf.random` raise `Random ops require a seed to "
    "be set when determinism is enabled`.",
    "With it too, on several cores, `tf.math.bincount` with many `weights` differs from call to call.",
)
def test_determinism(process):
    found = process.call(under_determinism)
    assert found["before"] == found["after"]
    assert found["xla"] == found["after"][0]
    assert any("Model doesn't support `jit_compile=True`" in one for one in found["said"])
    assert len(found["raised"]) == 3
    several = len(os.sched_getaffinity(0)) > 1
    assert (count_bincounts() > 1, found["sums"] > 1) == (several, several)
    assert found["embeddings"] == [1, 1]
    if several:
        assert [count_embeddings(name, 60) for name in ("sgd", "rmsprop")] == [2, 2]
    assert all("Random ops require a seed to be set when determinism is enabled" in one for one in found["raised"])


# --- the trail ----------------------------------------------------------------------------------------------------


def followed(seed: int = 1, model=None, callbacks=(), between=(dropping,), data=(X, Y), fit=None, **options) -> dict:
    keras.utils.set_random_seed(seed)
    model = model or make_model(*between, **{"run_eagerly": True, **options})
    trail = Trail()
    model.fit(*data, verbose=0, callbacks=[*callbacks, trail], **fit or {})
    return trail.found


@pytest.mark.proves(
    "This callback notes a fingerprint of weights, random states and optimizers before the first step, after each "
    "with the loss and the metrics, and at the end. It draws nothing, and changes nothing:",
    "In a test, write `assert first_difference(follow(1), follow(1)) is None`. To compare two machines, write "
    "`trail.found` "
    "with `json.dump`, and give `first_difference` what `json.load` reads.",
    "With `steps_per_execution=8`, a step here is eight.",
)
def test_the_trail(seed):
    page = shown(MODULE, "trails", seed=seed, x=X, y=Y)
    assert page.printed.splitlines() == [
        "again: None",
        "other seed: None",  # `shown` gives both the same
        "other dropout: step 0: random states",
        "not shuffled: step 1: loss",
    ]
    found = page["one"]
    assert list(found)[:5] == [
        *(f"step 0: {name}" for name in ("weights", "random states", "optimizer")),
        "step 1: loss",
        "step 1: weights",
    ]
    assert len(found) == 3 + 2 * 4 + 3
    assert first_difference(json.loads(json.dumps(found)), found) is None
    eight = followed(fit={"batch_size": 4}, run_eagerly=False, steps_per_execution=8)
    assert len(eight) == 3 + 2 * 4 + 3
    watched = trained(seed, dropping, fit={"callbacks": [Trail()]})
    assert same(trained(seed, dropping), watched)


def test_the_trail_of_other_models():
    subclassed = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    subclassed.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()], run_eagerly=True)
    data = X, np.eye(3, dtype="float32")[np.arange(64) % 3]
    with pytest.raises(ValueError, match="Build the model first"):  # it would have no weights at step 0
        followed(model=subclassed, data=data)
    subclassed.build((None, 4))
    found = followed(model=subclassed, data=data)
    assert len(json.loads(found["step 1: f1_score"])) == 3  # a metric with several numbers

    def stopped(truth):
        best = keras.callbacks.EarlyStopping(restore_best_weights=True, patience=9)
        fit = {"epochs": 3, "validation_data": (X, truth)}
        return followed(callbacks=[best], fit=fit)

    assert first_difference(stopped(Y), stopped(-5 * Y)) == "end: weights"

    def of_a_gan(steps):
        keras.utils.set_random_seed(1)
        gan, trail = GAN(), Trail()
        gan.compile("adam", "adam")
        gan.discriminator_optimizer.iterations.assign(steps)
        gan.fit(X[:, :2], shuffle=False, verbose=0, callbacks=[trail])
        return trail.found

    assert first_difference(of_a_gan(0), of_a_gan(50)) == "step 0: optimizer"


class Nudge(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.layers[-1].bias.assign_add([1e-7])


@pytest.mark.proves(
    "`step 0: weights` | the seed, set after a layer was made; a layer more; a model that has trained",
    "`step 0: random states` | the seed of `Dropout`; a model that was loaded, which starts them anew",
    "`step 0: optimizer` | its learning rate; its steps, where it has trained",
    "`step 1: loss` | the rows and their order; noise of `tf.random`; XLA. `fingerprint(list(dataset.take(1)))` "
    "tells of the "
    "rows.",
    "`step 1: optimizer` or `step 1: weights` | the gradient: rounding, or another loss; the options of the optimizer",
    "a later step, or `end` | data drawn in parallel; a callback, as `EarlyStopping`; more steps; rounding",
    "Put `Trail` last in `callbacks`.",
)
def test_what_differs_first(tmp_path):
    one = followed()
    assert first_difference(one, followed()) is None
    assert first_difference(followed(fit={"epochs": 2}), one) == "step 3: loss"

    def make():
        return make_model(dropping, run_eagerly=True)

    assert first_difference(one, followed(model=make())) == "step 0: weights"
    assert first_difference(one, followed(model=trained(1, dropping, run_eagerly=True))) == "step 0: weights"
    assert first_difference(one, followed(between=(dropping, dropping))) == "step 0: weights"
    assert first_difference(one, followed(data=(X[::-1], Y[::-1]))) == "step 1: loss"
    assert first_difference(one, followed(jit_compile=True, run_eagerly=False)) == "step 1: loss"  # its masks
    assert first_difference(one, followed(callbacks=[Nudge()])) == "step 1: weights"

    keras.utils.set_random_seed(1)
    other_rate = make()
    other_rate.optimizer.learning_rate = 0.02
    assert first_difference(one, followed(model=other_rate)) == "step 0: optimizer"
    keras.utils.set_random_seed(1)
    clipped = make()
    clipped.compile(keras.optimizers.SGD(0.1, clipnorm=1e-3), "mse", run_eagerly=True)
    assert first_difference(one, followed(model=clipped)) in {"step 1: weights", "step 1: optimizer"}

    model = trained(1, dropping, run_eagerly=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    assert first_difference(followed(model=model), followed(model=loaded)) == "step 0: random states"

    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=1).batch(16)
    again = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=1).batch(16)
    assert fingerprint(list(shuffled.take(1))) == fingerprint(list(again.take(1)))
    assert fingerprint(list(shuffled.take(1))) != fingerprint(list(shuffled.take(1)))


@pytest.mark.proves("Eight characters that are equal if every bit of the numbers is.")
def test_the_fingerprint():
    numbers = np.arange(6, dtype="float32")
    assert len(fingerprint(numbers)) == 8
    assert fingerprint(numbers) == fingerprint(tf.constant(numbers)) == fingerprint([keras.Variable(numbers)])
    turned = np.asfortranarray(numbers.reshape(2, 3))
    assert fingerprint(turned) == fingerprint(numbers.reshape(2, 3)) != fingerprint(turned.T)
    others = [numbers[::-1], numbers.astype("float64"), np.nextafter(numbers, 9, dtype="float32"), numbers[:, None]]
    assert len({fingerprint(one) for one in [numbers, *others]}) == 5
    assert fingerprint({"a": numbers, "b": 1}) == fingerprint({"b": 1, "a": numbers})
    assert fingerprint(tf.constant(numbers, "bfloat16")) != fingerprint(numbers)
    with pytest.raises(TypeError, match="of numbers"):
        fingerprint(tf.constant(["a", "b"]))


# --- seeds --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("A fixed seed makes a run repeatable, not typical. The same model and data, with five seeds:")
def test_five_seeds():
    losses = []
    for seed in range(5):
        model = trained(seed, run_eagerly=True)
        losses.append(float(np.mean(np.square(model(X) - Y))))
    assert len(set(losses)) == 5
    assert max(losses) > 1.05 * min(losses)
