"""`docs/training/feeding_data.md`: every claim that the page makes, proved."""

from __future__ import annotations

import itertools
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from snippets.training.feeding_data import (
    CountBatches,
    RowBatches,
    count_batches,
    homes,
    make_model,
    read,
    weigh_classes,
    weigh_known,
    yield_batches,
)
from tests.shown import shown

MODULE = "snippets.training.feeding_data"
NOT_IN_CONTRACT = {
    "CountBatches": "is a callback, which counts: tested below",
    "RowBatches": "is a dataset: tested below",
    "Records of same_order_fails": "is a Sequential of Keras that takes notes: tested below",
}
X = np.arange(10.0)[:, None]
slices = tf.data.Dataset.from_tensor_slices
RAN_OUT = "Your input ran out of data; interrupting training"


class Notes(keras.Model):
    """Notes the batches that it is given, and trains nothing."""

    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []
        self.compile(run_eagerly=True)

    def train_step(self, data):
        self.trained.append(keras.tree.map_structure(np.asarray, data))
        return {"loss": 0.0}

    def test_step(self, data):
        self.validated.append(keras.tree.map_structure(np.asarray, data))
        return {"loss": 0.0}


def notes(*data, **options) -> Notes:
    model = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(*data, **{"verbose": 0, **options})
    return model


def first(batches) -> list[list[int]]:
    """The inputs of each batch."""
    return [np.ravel(batch[0] if isinstance(batch, (tuple, list)) else batch).astype(int).tolist() for batch in batches]


def numbers(count=10, batch=1) -> tf.data.Dataset:
    return slices((X[:count], X[:count])).batch(batch)


class Numbers(keras.utils.PyDataset):
    """One number in a batch; `form` makes the batch of it."""

    def __init__(self, count=4, form=lambda x: (x, x), **kwargs):
        super().__init__(**kwargs)
        self.num_batches, self.form, self.read, self.threads = count, form, [], set()

    num_batches = None

    def __getitem__(self, index):
        self.read.append(index)
        self.threads.add(threading.current_thread().name)
        return self.form(np.full((1, 1), index, "float32"))

    def on_epoch_end(self):
        self.read.append("end")


def generator(count=4, form=lambda x: (x, x)):
    for number in range(count):
        yield form(np.full((1, 1), number, "float32"))


class Bias(layers.Layer):
    """Answers with its weight, whatever the inputs are."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, inputs):
        return 0 * inputs + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape


def bias(loss="mse", rate=0.0, **options) -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), Bias()])
    model.compile(keras.optimizers.SGD(rate), loss, **options)
    return model


def two(loss="mse", **options) -> keras.Model:
    x = keras.Input((1,), name="x")
    model = keras.Model({"x": x}, {"a": Bias(name="a")(x), "b": Bias(name="b")(x)})
    model.compile(keras.optimizers.SGD(0.0), loss, **{"run_eagerly": True, **options})
    return model


def fit(model, *data, **options) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*will be ignored")
        history = model.fit(*data, **{"verbose": 0, "batch_size": 10, **options}).history
    return {name: values[-1] for name, values in history.items()}


# --- the table, and the program -----------------------------------------------------------------------------------


@pytest.mark.proves(
    "`fit` takes arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator.",
    "arrays | `fit(x, y)`; lists of numbers raise `Unrecognized data type`",
    "`Unrecognized data type` | lists of numbers, a `zip`, or a generator function that isn't called",
    "`Data cardinality is ambiguous` | arrays of different lengths; `Dataset.zip` silently stops with the shorter one",
)
def test_what_fit_takes():
    for data in ((X, X), (numbers(),), (Numbers(),), (generator(),), ({"a": X}, X), ([X, X], (X, X))):
        assert notes(*data).trained
    for data in (([1.0, 2.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), ({"a": [1.0]}, X[:1]), (iter([(X, X)]),), (generator,)):
        with pytest.raises(ValueError, match="Unrecognized data type"):
            notes(*data)
    with pytest.raises(ValueError, match="Data cardinality is ambiguous"):
        notes(X, X[:9])
    assert len(tf.data.Dataset.zip((slices(X), slices(X[:9])))) == 9


@pytest.mark.proves(
    "strings | `tf.constant(strings)`, or a dataset; a NumPy array of them raises `Invalid dtype`",
)
def test_strings():
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a", "b"]), layers.Embedding(3, 2)]
    )
    model.compile("sgd", "mse", run_eagerly=True)
    strings, y = np.array([["a"], ["z"]]), np.zeros((2, 1, 2))
    fit(model, tf.constant(strings), y)
    fit(model, slices((strings, y)).batch(2))
    assert model.predict(tf.constant(strings), verbose=0).shape == (2, 1, 2)
    for wrong in (strings, strings.astype(object)):
        with pytest.raises(ValueError, match="Invalid dtype"):
            fit(model, wrong, y)


@pytest.mark.proves(
    "Homes for sale. The price is known of those that were sold.",
    "An unknown price becomes 0, and its weight is 0.",
    "Two inputs and two outputs. The price is known only of the homes that were sold, and the others still train the "
    "second output:",
)
def test_the_program(seed):
    page = shown(MODULE, "program", seed=seed)
    assert page.printed.splitlines()[0] == "error below 0.1: True"
    x, y = homes(50)
    sold, district = y["sold"] == 1, x["district"].argmax(1)[:, None]
    np.testing.assert_array_equal(np.isfinite(y["price"]), sold)
    _, targets, weights = weigh_known(x, y)
    np.testing.assert_array_equal(weights["price"], sold)
    np.testing.assert_array_equal(weights["sold"], np.ones((50, 1)))
    np.testing.assert_allclose(targets["price"], np.where(sold, x["size"] + district, 0), rtol=1e-6)


@pytest.mark.proves(
    "Targets, losses and weights are dicts with the keys of the outputs. Those of the inputs are the names of the "
    "`Input` layers, in any order."
)
def test_dicts_in_any_order():
    model = make_model()
    x, _ = homes(8)
    expected = model.predict(x, verbose=0)["price"]
    for keys in itertools.permutations(x):
        given = {key: x[key] for key in keys}
        for data in (given, slices(given).batch(4), slices((given, X[:8])).batch(4)):
            np.testing.assert_allclose(model.predict(data, verbose=0)["price"], expected, rtol=1e-6)
    a, b = keras.Input((1,), name="right"), keras.Input((1,), name="left")
    listed = keras.Model([a, b], layers.Subtract()([a, b]))
    given = {"left": np.ones((2, 1)), "right": np.full((2, 1), 10.0)}
    assert listed.predict(given, verbose=0).ravel().tolist() == [9.0, 9.0]


@pytest.mark.proves("A key that isn't an input only warns, and may exchange inputs. Drop it with `map`.")
def test_another_key():
    left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
    model = keras.Model({"left": left, "right": right}, layers.Subtract()([left, right]))
    x = {"left": np.full((2, 1), 10.0), "right": np.ones((2, 1))}
    more = slices(({"id": np.full((2, 1), 500.0), **x}, np.ones(2))).batch(2)
    with pytest.warns(UserWarning, match="The structure of `inputs` doesn't match"):
        assert model.predict(more, verbose=0).ravel().tolist() == [490.0, 490.0]
    fewer = more.map(lambda x, y: ({name: x[name] for name in ("left", "right")}, y))
    assert model.predict(fewer, verbose=0).ravel().tolist() == [9.0, 9.0]


# --- one batch ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`x` or `(x,)` | inputs without targets",
    "`(x, y)` | inputs and targets; `predict` ignores the targets",
    "`(x, y, weights)` | the same, with sample weights",
    "`((a, b), y)` | two inputs, and targets",
    '`{"a": a, "y": y}` | inputs without targets, whatever the keys are',
)
def test_what_a_batch_means():
    def taken(data):
        return keras.utils.unpack_x_y_sample_weight(notes(data).trained[0])

    w = np.ones(10)
    for make in (
        lambda batch: slices(batch).batch(10),
        lambda batch: Numbers(1, lambda _: batch),
        lambda batch: iter_of(batch),
    ):
        for batch, expected in (
            ((X,), (X, None, None)),
            ((X, 2 * X), (X, 2 * X, None)),
            ((X, 2 * X, w), (X, 2 * X, w)),
            (((X, 2 * X), 3 * X), ((X, 2 * X), 3 * X, None)),
        ):
            keras.tree.map_structure(np.testing.assert_array_equal, taken(make(batch)), expected)
    for make in (lambda batch: slices(batch).batch(10), lambda batch: Numbers(1, lambda _: batch)):
        for batch in (X, {"a": X, "y": X}):
            x, y, _ = taken(make(batch))
            assert y is None
            assert keras.tree.flatten(x)[0].shape == (10, 1)
    np.testing.assert_array_equal(bias().predict(slices((X, X)).batch(3), verbose=0), 0 * X)


def iter_of(*batches):
    yield from batches


@pytest.mark.proves(
    "`(a, b)` | the input `a` with the targets `b`, in `predict` too: for two inputs, write `((a, b),)`"
)
def test_two_inputs_in_a_tuple():
    a, b = keras.Input((1,)), keras.Input((1,))
    model = keras.Model([a, b], layers.Subtract()([a, b]))
    with pytest.raises(ValueError, match="received 1 input tensors"):
        model.predict(slices((3 * X, X)).batch(10), verbose=0)
    np.testing.assert_allclose(model.predict(slices(((3 * X, X),)).batch(10), verbose=0), 2 * X)
    np.testing.assert_allclose(bias().predict(slices((X, X)).batch(10), verbose=0), 0 * X)


@pytest.mark.proves(
    "A list isn't a tuple. `from_tensor_slices([x, y])` stacks the two arrays into one, and a generator that yields "
    "lists raises. A `PyDataset` may return a list."
)
def test_a_list_is_not_a_tuple():
    assert slices([X, X]).element_spec.shape == (10, 1)
    assert len(slices([X, X])) == 2
    with pytest.raises(ValueError, match="must return a tuple"):
        notes(generator(form=lambda x: [x, x]))
    assert isinstance(notes(Numbers(form=lambda x: [x, 2 * x])).trained[1], tuple)


KINDS = {"Dataset": lambda: numbers(4), "PyDataset": Numbers, "Generator": generator}


@pytest.mark.proves(
    "`y`, `sample_weight` | with arrays; the others raise",
    "`batch_size` | with arrays; the others ignore it",
    "`class_weight` | with all but a generator, which raises; together with sample weights, all raise",
    "`validation_split` | with arrays; the others raise",
    "`epochs` | each begins again, but not with a generator",
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_takes(kind):
    make = KINDS[kind]
    for options in ({"y": X[:4]}, {"sample_weight": np.ones(4)}):
        with pytest.raises(ValueError, match="should not be passed"):
            notes(make(), **options)
    with pytest.raises(ValueError, match="`validation_split` is only supported for tensors or NumPy arrays"):
        notes(make(), validation_split=0.25)
    assert first(notes(make(), batch_size=64, shuffle=False).trained) == [[0], [1], [2], [3]]
    if kind == "Generator":
        with pytest.raises(ValueError, match="`class_weight` is not supported"):
            notes(make(), class_weight={0: 1.0})
        with pytest.raises(ValueError, match="`class_weight` is not supported"):
            notes(generator(form=lambda x: (x, x, x[:, 0])), class_weight={0: 1.0})
    else:
        weighed = {"Dataset": slices((X, X, X[:, 0])).batch(1), "PyDataset": Numbers(4, lambda x: (x, x, x[:, 0]))}
        for data, weights in (((weighed[kind],), {}), ((X, X), {"sample_weight": np.ones(10)})):
            with pytest.raises(ValueError, match="`class_weight` and `sample_weight` at the same time"):
                notes(*data, class_weight={0: 1.0}, **weights)
        trained = notes(make(), class_weight={0: 1.0, 3: 5.0}, shuffle=False).trained
        assert [float(weight[0]) for *_, weight in trained] == [1, 1, 1, 5]
    epochs = first(notes(make(), epochs=3, shuffle=False).trained)
    assert epochs == [[0], [1], [2], [3]] + [[0], [1], [2], [3]] * 2 * (kind != "Generator") + [[0], [1]] * 2 * (
        kind == "Generator"
    )


@pytest.mark.proves(
    "`shuffle=True`, the default | samples of arrays, batches of a `PyDataset`; for a dataset or generator it "
    "warns `was passed, but will be ignored`",
)
def test_what_is_shuffled():
    for make in (lambda: numbers(4), generator):
        for options, warned in (({}, True), ({"shuffle": True}, True), ({"shuffle": False}, False)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                Notes().fit(make(), verbose=0, **options)
            assert any("was passed, but will be ignored" in str(one.message) for one in caught) == warned
    rows = np.arange(40.0)[:, None]
    shuffled = first(notes(rows, rows, batch_size=20).trained)
    assert sorted(np.concatenate(shuffled)) == list(range(40))
    assert all(batch != list(range(start, start + 20)) for batch in shuffled for start in (0, 20))
    pairs = Numbers(20, lambda x: (np.concatenate([2 * x, 2 * x + 1]),) * 2)
    batches = first(notes(pairs).trained)
    assert sorted(batches) == [[2 * n, 2 * n + 1] for n in range(20)] != batches


@pytest.mark.proves(
    "`validation_split=0.2` takes the last fifth of the arrays, before they are shuffled. If they are sorted by class, "
    "the validation has only the last classes.",
)
def test_validation_split_takes_the_last():
    model = notes(X, X, validation_split=0.2, sample_weight=np.ones(10))
    assert first(model.validated) == [[8, 9]]
    assert sorted(first(model.trained)[0]) == list(range(8))
    np.testing.assert_array_equal(model.trained[0][2], np.ones(8))


@pytest.mark.proves(
    "`batch_size` is ignored silently: a dataset without `.batch` gives one sample at a time. Most layers then raise "
    "for the missing axis, but a model of `Dense` layers without an `Input` trains on sequences, and one with "
    "`Input((1,))` on single numbers."
)
def test_without_batch():
    assert first(notes(slices((X, X)), batch_size=5).trained) == [[number] for number in range(10)]

    def trains(model, *shape, targets=(4, 1)):
        model.compile("sgd", "mse", run_eagerly=True)
        return "loss" in fit(model, slices((np.ones(shape), np.ones(targets))))

    assert trains(keras.Sequential([layers.Dense(2), layers.Dense(1)]), 4, 8, 2)
    assert trains(keras.Sequential([keras.Input((1,)), layers.Dense(1)]), 4, 1)
    for model, shape in (
        (keras.Sequential([keras.Input((3,)), layers.Dense(1)]), (4, 3)),
        (keras.Sequential([layers.Dense(1)]), (4, 3)),
        (keras.Sequential([layers.Conv2D(1, 3)]), (4, 8, 8, 1)),
        (keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3)]), (4, 8, 8, 1)),
        (keras.Sequential([layers.LSTM(1)]), (4, 8, 2)),
        (keras.Sequential([keras.Input((8, 2)), layers.Dense(1)]), (4, 8, 2)),
    ):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            trains(model, *shape)


# --- generators ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A generator can't begin again. After the first epoch `fit` has only the two batches that it read ahead for their "
    "shapes, and each later epoch trains, or validates, on these.",
    "With `steps_per_epoch`, an epoch goes on where the last one ended, and is cut short where the data end:",
    "Counts the batches of each epoch.",
)
def test_a_generator_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        page = shown(MODULE, "generator_fails")
    assert page.printed.splitlines()[:2] == ["generator: [4, 2, 2]", "3 steps of 4: [3, 1, 3, 1]"]
    for count, batches in itertools.product((3, 5), (False, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counts = CountBatches()
            bias(run_eagerly=batches).fit(generator(count), epochs=4, callbacks=[counts], verbose=0)
        assert counts.counts == [count, 2, 2, 2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = bias(rate=0.0)
            given = model.fit(generator(2), validation_data=generator(count), epochs=3, verbose=0).history["val_loss"]
            first_two = model.evaluate(generator(2), verbose=0)
        assert given[0] > given[1] == given[2] == pytest.approx(first_two)
    for make in (lambda: numbers(5), lambda: Numbers(5)):
        model = notes(make(), epochs=3, steps_per_epoch=2, shuffle=False)
        assert first(model.trained) == [[0], [1], [2], [3], [4]]
        with pytest.warns(UserWarning, match=RAN_OUT):
            Notes().fit(make(), epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    trained = first(notes(X, X, batch_size=2, epochs=4, steps_per_epoch=2, shuffle=False).trained)
    assert trained == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [0, 1], [2, 3]]


@pytest.mark.proves(
    "Give the function to `from_generator`, which calls it for each epoch, and leave `steps_per_epoch` out, or repeat "
    "the dataset:",
    "Python code that yields batches | `Dataset.from_generator`, and no generator",
    "without it, fit warns after an epoch",
)
def test_from_generator():
    page = shown(MODULE, "from_generator")
    assert page.printed.splitlines() == ["from_generator: [4, 4, 4]", "3 steps, repeated: [3, 3, 3, 3]"]
    spec = (tf.TensorSpec((None, 1)),) * 2
    plain = tf.data.Dataset.from_generator(generator, output_signature=spec)
    assert first(notes(plain, epochs=3).trained) == [[0], [1], [2], [3]] * 3
    for dataset, warned in ((plain, True), (plain.apply(tf.data.experimental.assert_cardinality(4)), False)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Notes().fit(dataset, epochs=2, shuffle=False, verbose=0)
        assert any(RAN_OUT in str(one.message) for one in caught) == warned
    assert len(list(yield_batches())) == 4
    assert count_batches(numbers(5, batch=2), epochs=2) == [3, 3]


@pytest.mark.proves(
    "An infinite generator is right with `steps_per_epoch`. `validation_steps` of a dataset begin at its first batch "
    "each time."
)
def test_an_infinite_generator():
    endless = generator(10**9)
    assert first(notes(endless, epochs=3, steps_per_epoch=2).trained) == [[number] for number in range(6)]
    model = notes(X, X, epochs=3, validation_data=numbers(5), validation_steps=2)
    assert first(model.validated) == [[0], [1]] * 3


# --- PyDataset ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Each epoch trains on each row once.",
    "Batches of rows, in a new order each epoch.",
    "Of each batch but the last, which may be smaller.",
    "a file, or code that reads batch number `i` | a `PyDataset`",
)
@pytest.mark.parametrize("workers", [1, 3])
def test_each_row_once_in_each_epoch(workers):
    assert shown(MODULE, "mapped").printed == "kernel: [1. 2. 3.]" if workers == 1 else True
    rows = np.arange(50.0, dtype="float32")[:, None]
    batches = first(notes(RowBatches(rows, 2 * rows, 8, workers=workers), epochs=4).trained)
    epochs = [np.concatenate(batches[start : start + 7]) for start in range(0, 28, 7)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert sorted(len(batch) for batch in batches[:7]) == [2, *[8] * 6]


@pytest.mark.proves(
    "`workers=2` reads two batches at a time, in threads, and their order stays; keep `__getitem__` free of what "
    "changes the object.",
    "Threads that read; with 1, `fit` reads by itself.",
)
def test_workers_are_threads():
    meet = threading.Barrier(2, timeout=20)

    def form(x):
        if threading.current_thread() is not threading.main_thread():
            meet.wait()  # passes only if two read at a time
        return x, x

    data = Numbers(8, form, workers=2)
    assert first(notes(data, shuffle=False).trained) == [[number] for number in range(8)]
    assert len(data.threads) == 3, "the main one reads the shapes"
    alone = Numbers(3)
    notes(alone, shuffle=False)
    assert not any("Worker" in name or "Pool" in name for name in alone.threads)
    assert RowBatches(X, X).workers == 1


@pytest.mark.proves(
    "`fit` reads the first two batches once more for their shapes, and calls `on_epoch_end` once before the first "
    "epoch.",
    "`num_batches` is read when `fit` begins.",
)
def test_what_fit_reads_of_a_pydataset():
    data = Numbers(3)
    notes(data, epochs=2, shuffle=False)
    assert data.read == [0, 1, "end", 0, 1, 2, "end", 0, 1, 2, "end"]

    class Grows(Numbers):
        def on_epoch_end(self):
            self.num_batches += 1

    assert first(notes(Grows(2), epochs=3, shuffle=False).trained) == [[0], [1]] * 3


# --- order --------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "After `keras.utils.set_random_seed` or `tf.random.set_seed`, `fit(x, y)` shuffles once: all epochs, and later "
    "calls of `fit`, see the same batches. `Dataset.shuffle` doesn't:",
    "arrays, and a seed is set | a dataset: `fit(x, y)` repeats one order",
)
@pytest.mark.parametrize("set_seed", [keras.utils.set_random_seed, tf.random.set_seed])
def test_one_order_under_a_seed(seed, set_seed):
    assert shown(MODULE, "same_order_fails", seed=seed).printed.splitlines() == [
        "orders of fit(x, y): 1",
        "of a dataset: 5",
    ]
    set_seed(seed)
    model = Notes()
    for _ in range(2):
        model.fit(X, X, batch_size=5, epochs=3, verbose=0)
    batches = first(model.trained)
    assert batches == batches[:2] * 6
    assert batches[0] != list(range(5))

    traced = []

    class Traced(keras.Sequential):  # in a graph
        def train_step(self, data):
            tf.numpy_function(lambda x: traced.append(tuple(x.ravel())), [data[0]], [])
            return super().train_step(data)

    model = Traced([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X, epochs=3, verbose=0)
    assert len(traced) == 3
    assert len(set(traced)) == 1


@pytest.mark.proves(
    "Shuffle before `batch`, or whole batches move.",
    "A buffer that is smaller than the data mixes neighbours only: of 1000 sorted samples, `shuffle(100).batch(100)` "
    "begins with a batch of the first 200.",
)
def test_a_buffer(seed):
    data = tf.data.Dataset.range(1000)
    begins = next(iter(data.shuffle(100, seed=seed).batch(100))).numpy()
    assert begins.max() < 200
    pairs = [tuple(pair.numpy()) for pair in data.batch(2).shuffle(500, seed=seed)]
    assert all(b == a + 1 for a, b in pairs)


@pytest.mark.proves(
    "Split before you shuffle, because a new epoch is shuffled anew:",
    "The same holds for `take`: mix such data with `shuffle(n, reshuffle_each_iteration=False)`, which keeps one "
    "order, and then split.",
)
def test_split_before_you_shuffle(seed):
    lines = shown(MODULE, "leak_fails", seed=seed).printed.splitlines()
    assert lines == ["shuffle, then take: 20", "take, then shuffle: 0"]
    shuffled = tf.data.Dataset.range(100).shuffle(100)
    assert [int(v) for v in shuffled] != [int(v) for v in shuffled]

    by_class = tf.data.Dataset.range(100)  # the first 50 of one class
    assert max(int(v) for v in by_class.take(20)) < 50
    mixed = by_class.shuffle(100, reshuffle_each_iteration=False)
    seen = {int(v) for _ in range(5) for v in mixed.skip(20).shuffle(80)}
    held_out = [[int(v) for v in mixed.take(20)] for _ in range(2)]
    assert held_out[0] == held_out[1]
    assert seen == set(range(100)) - set(held_out[0])
    assert min(held_out[0]) < 50 <= max(held_out[0])


# --- the last batch -----------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "The reported loss is a mean over samples. The step isn't: the smaller batch moves the weights as far as the "
    "others do. Here its one sample cancels eight:",
)
@pytest.mark.parametrize("make", [lambda x, y: slices((x, y)).batch(4), lambda x, y: RowBatches(x, y, 4)])
def test_the_last_batch(make):
    lines = shown(MODULE, "last_batch").printed.splitlines()
    assert lines == ["loss: 2.56, of 23 / 9 = 2.56", "first 8: bias +0.5", "last 1: bias -0.5"]
    x, y = np.zeros((5, 1)), np.array([[1.0]] * 4 + [[3.0]])
    model = bias(metrics=["mse"])
    assert fit(model, make(x, y), shuffle=False) == pytest.approx({"loss": 2.6, "mse": 2.6})
    assert model.evaluate(make(x, y), verbose=0) == pytest.approx([2.6, 2.6])
    assert fit(model, x, y, batch_size=4, shuffle=False)["loss"] == pytest.approx(2.6)


@pytest.mark.proves(
    "`batch(8, drop_remainder=True)` leaves it out. Shuffle before, or the same samples are left out each epoch.",
    "With fewer than 8 samples nothing is left: `fit` only warns, and its history is empty.",
)
def test_drop_remainder():
    dropped = slices((X, X)).batch(8, drop_remainder=True)
    assert first(notes(dropped, epochs=2).trained) == [list(range(8))] * 2
    shuffled = slices((X, X)).shuffle(10, seed=1).batch(8, drop_remainder=True)
    assert set(np.concatenate(first(notes(shuffled, epochs=20).trained))) == set(range(10))
    few = slices((X[:7], X[:7])).batch(8, drop_remainder=True)
    with pytest.warns(UserWarning, match=RAN_OUT):
        assert bias().fit(few, shuffle=False, verbose=0).history == {}


@pytest.mark.proves(
    "The losses of single outputs are means over batches, and means over samples with `run_eagerly=True`."
)
@pytest.mark.parametrize(("run_eagerly", "expected"), [(False, (1 + 9) / 2), (True, (4 * 1 + 9) / 5)])
def test_losses_of_outputs(run_eagerly, expected):
    y = np.array([[1.0]] * 4 + [[3.0]])
    model = two(run_eagerly=run_eagerly)
    losses = fit(model, {"x": np.zeros((5, 1))}, {"a": y, "b": 0 * y}, batch_size=4, shuffle=False)
    assert losses == pytest.approx({"a_loss": expected, "b_loss": 0.0, "loss": 2.6})


# --- missing labels -----------------------------------------------------------------------------------------------

Y = np.array([[1.0]] * 3 + [[5.0]])
KNOWN = np.array([1.0, 1.0, 1.0, 0.0])


@pytest.mark.proves(
    "A weight of 0 takes a label out, but `nan` times 0 is `nan`. Put a number there first, as `weigh_known` does.",
    "By default the sum is divided by all samples. With `mean_with_sample_weight` it is divided by the weights, so "
    "that the loss is that of the known labels:",
    "That holds in each batch. The reported loss averages the batches by all their samples, and one without a known "
    "label counts as 0. Compare by `weighted_metrics`; `metrics` count the unknown labels too.",
    "labels that are partly missing | weights of 0",
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_missing_labels(jit_compile):
    lines = shown(MODULE, "nan_fails").printed.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["nan", "nan", "0.75", "1.00"]
    mean = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    x = np.zeros((4, 1))
    options = {"weighted_metrics": ["mse"], "metrics": ["mse"], "jit_compile": jit_compile}
    losses = fit(bias(**options), x, Y, sample_weight=KNOWN)
    assert losses == pytest.approx({"loss": 0.75, "mse": 7.0, "weighted_mse": 1.0})
    # Two batches: one known label of 2 samples, then none of 2.
    batches = bias(mean, **{**options, "metrics": None})
    losses = fit(batches, x, Y, sample_weight=np.array([1.0, 0, 0, 0]), batch_size=2, shuffle=False)
    assert losses == pytest.approx({"loss": (2 * 1 + 2 * 0) / 4, "mse": 1.0})
    losses = fit(batches, x, Y, sample_weight=np.array([1.0, 0, 0, 1]), batch_size=3, shuffle=False)
    assert losses == pytest.approx({"loss": (3 * 1 + 1 * 25) / 4, "mse": (1 + 25) / 2})
    model = bias(mean, rate=0.1, jit_compile=jit_compile)
    assert fit(model, x, Y, sample_weight=0 * KNOWN)["loss"] == 0
    assert model.get_weights()[0] == 0
    assert fit(model, x, Y, sample_weight=KNOWN)["loss"] == pytest.approx(1.0)
    assert model.get_weights()[0] == pytest.approx(0.2)
    assert np.isnan(fit(model, x, np.where(Y == 5, np.nan, Y), sample_weight=KNOWN)["loss"])


@pytest.mark.proves(
    "For one output of class numbers, `SparseCategoricalCrossentropy(ignore_class=-1)` leaves out the labels -1; with "
    "a weight of 0 instead, -1 raises, and under XLA makes the loss `nan`."
)
def test_ignore_class():
    x, y = np.zeros((4, 1)), np.array([0, 1, 2, -1])
    dense = layers.Dense(3, activation="softmax", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=-1))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(np.log(3), rel=1e-5)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.evaluate(x, y, sample_weight=KNOWN, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    assert np.isnan(model.evaluate(x, y, sample_weight=KNOWN, verbose=0))


@pytest.mark.proves(
    "In a loss of your own, replace the error and not its square: behind "
    "`ops.where(known, ops.square(y_true - y_pred), 0.0)` the gradient of a `nan` is `nan`. With "
    "`ops.square(ops.where(known, y_true - y_pred, 0.0))` it is 0."
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_loss_of_your_own(jit_compile):
    y = np.where(Y == 5, np.nan, Y)

    def square(y_true, y_pred):
        return ops.where(~ops.isnan(y_true), ops.square(y_true - y_pred), 0.0)

    def error(y_true, y_pred):
        return ops.square(ops.where(~ops.isnan(y_true), y_true - y_pred, 0.0))

    for loss, moved in ((square, np.nan), (error, 0.1 * 2 * 3 / 4)):
        model = bias(loss, rate=0.1, jit_compile=jit_compile)
        assert fit(model, np.zeros((4, 1)), y)["loss"] == pytest.approx(0.75)
        np.testing.assert_allclose(model.get_weights()[0], moved, rtol=1e-5)


# --- class weights ------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`class_weight` is for one output; several, or a dict of targets, raise. Give each output its weights in the "
    "dataset:",
    "Multiply the weights of one output by those of its classes.",
)
def test_weights_of_two_outputs():
    page = shown(MODULE, "program", "two_weights")
    assert page.printed.splitlines()[-2:] == ["prices: [0. 1.]", "sold: [1. 4.]"]
    _, y, weights = weigh_classes(*weigh_known(*homes(20)))
    np.testing.assert_array_equal(weights["sold"], 1 + 3 * y["sold"])
    np.testing.assert_array_equal(weights["price"], y["sold"])
    page["model"].fit(page["weighed"], shuffle=False, verbose=0)
    data = {"x": X}, {"a": X, "b": X}
    one = {name: np.ones((1, 1), "float32") for name in "ab"}
    for given in (data, (slices(data).batch(5),), (Numbers(1, lambda x: ({"x": x}, one)),)):
        with pytest.raises((ValueError, IndexError)):
            fit(two(), *given, class_weight={0: 1.0, 1: 2.0})
    for given in ((X, {"bias": X}), (slices((X, {"bias": X})).batch(5),)):
        with pytest.raises((ValueError, IndexError, KeyError)):
            fit(bias(), *given, class_weight={0: 1.0, 1: 2.0})


@pytest.mark.proves(
    "In a dataset or a `PyDataset`, write each key; from `map`, `None` stands for no weights. One array of weights "
    "holds for all outputs."
)
def test_weights_by_key():
    x, y = {"x": np.zeros((4, 1))}, {"a": Y, "b": Y}
    both = {"a": KNOWN, "b": np.ones(4)}
    expected = {"a_loss": 0.75, "b_loss": 7.0, "loss": 7.75}
    dataset = slices((x, y)).batch(4)
    none = dataset.map(lambda x, y: (x, y, {"a": tf.constant(KNOWN), "b": None}))
    for data in (slices((x, y, both)).batch(4), Numbers(1, lambda _: (x, y, both)), none):
        assert fit(two(), data) == pytest.approx(expected)
    for data in (slices((x, y, {"a": KNOWN})).batch(4), Numbers(1, lambda _: (x, y, {"a": KNOWN}))):
        with pytest.raises(KeyError):
            fit(two(), data)
    for data in ((slices((x, y, KNOWN)).batch(4),), (Numbers(1, lambda _: (x, y, KNOWN)),)):
        assert fit(two(), *data) == pytest.approx({"a_loss": 0.75, "b_loss": 0.75, "loss": 1.5})
    assert fit(two(), x, y, sample_weight=KNOWN)["loss"] == pytest.approx(1.5)


def weights_of(*data, class_weight) -> list:
    return notes(*data, class_weight=class_weight, shuffle=False).trained[0][2].tolist()


@pytest.mark.proves(
    "`class_weight` takes the class from an integer, or from the largest entry of a row. Several labels of one sample "
    "go wrong silently. So do keys that are strings, but in a dataset they raise:",
    "Of the two labels it took the first largest, 0, 0, 1 and 1.",
    "Labels `(batch, steps)` get one weight for each sequence in the same way. Labels `(batch, steps, 1)` get one for "
    "each step in a dataset, and raise as arrays.",
    "A class without a key has a weight of 1, but in a dataset a class above the largest key raises "
    "`is not in [0, 2)`.",
    "Validation isn't weighted.",
    "A loss of 1 for each sample: fit reports the mean weight.",
)
def test_class_weight():
    lines = shown(MODULE, "class_weight_fails").printed.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["3.25", "1.0", "2.5"]
    labels, weights = np.array([0, 1, 2]), {0: 1.0, 1: 10.0, 2: 100.0}
    x = np.zeros((3, 1))
    for y in (labels, labels[:, None], np.eye(3)[labels], labels.astype("float32")):
        for data in ((x, y), (slices((x, y)).batch(3),), (Numbers(1, lambda _, y=y: (x, y)),)):
            assert weights_of(*data, class_weight=weights) == [1, 10, 100]
    several = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])
    assert weights_of(x, several, class_weight=weights) == [1, 10, 1]
    steps = np.array([[0, 0, 2], [1, 1, 1], [0, 2, 0]])
    for data in ((x, steps), (slices((x, steps)).batch(3),), (Numbers(1, lambda _: (x, steps)),)):
        assert weights_of(*data, class_weight=weights) == [100, 1, 10]
    of_steps = [[1, 1, 100], [10, 10, 10], [1, 100, 1]]
    assert weights_of(slices((x, steps[..., None])).batch(3), class_weight=weights) == of_steps
    with pytest.raises(TypeError):
        weights_of(x, steps[..., None], class_weight=weights)
    for data in ((x, labels), (Numbers(1, lambda _: (x, labels)),)):
        assert weights_of(*data, class_weight={0: 1.0, 1: 3.0}) == [1, 3, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not in \[0, 2\)"):
        notes(slices((x, labels)).batch(3), class_weight={0: 1.0, 1: 3.0})
    assert weights_of(slices((x, labels)).batch(3), class_weight={2: 3.0}) == [1, 1, 3]
    strings = {"0": 1.0, "1": 4.0}
    for data in ((x, labels), (Numbers(1, lambda _: (x, labels)),)):
        assert weights_of(*data, class_weight=strings) == [1, 1, 1]
    with pytest.raises(TypeError):
        weights_of(slices((x, labels)).batch(3), class_weight=strings)
    for data in ((x, several), (slices((x, several)).batch(3),)):
        assert weights_of(*data, class_weight=weights) == [1, 10, 1]
    model = notes(x, labels, class_weight=weights, validation_data=(x, labels))
    assert len(keras.tree.flatten(model.validated[0])) == 2


# --- sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "`batch` raises `Cannot batch tensors with different shapes`. `padded_batch` fills each batch up to its longest "
    "sequence, and `Masking` leaves the filling out. Fill with a number that the data don't have:",
    "sequences of different lengths | padding, and a mask",
)
def test_padding():
    page = shown(MODULE, "padded")
    lines = page.printed.splitlines()
    assert lines == ["batches: [(2, 2, 1), (2, 7, 1)]", "means: [1.0, 2.0, 3.0, 7.0]"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Cannot batch tensors with different shapes"):
        list(page["lengths"].batch(2))
    mean = keras.Sequential([layers.GlobalAveragePooling1D()])
    assert mean.predict(page["lengths"].padded_batch(2), verbose=0)[0] == 0.5, "the padding is counted"
    masked = keras.Sequential([layers.Masking(3.0), layers.GlobalAveragePooling1D()])
    assert masked.predict(page["lengths"].padded_batch(2, padding_values=-1.0), verbose=0)[2] < 3, "a number it has"


RAGGED = tf.ragged.constant([[[1.0], [2.0], [3.0]], [[4.0]], [[5.0], [6.0]]], ragged_rank=1)


@pytest.mark.proves(
    "Of a `RaggedTensor`, `GlobalAveragePooling1D` and `Embedding` are right, and `Dense` and `LSTM` raise.",
    "Make each batch dense: `dataset.batch(2).map(lambda x: x.to_tensor(-1.0))`.",
)
@pytest.mark.parametrize("ragged", [{}, {"ragged": True}], ids=str)
def test_ragged(ragged):
    def predict(data, *of, shape=(None, 1), dtype="float32"):
        return keras.Sequential([keras.Input(shape, dtype=dtype, **ragged), *of]).predict(data, verbose=0)

    pooling = layers.GlobalAveragePooling1D()
    np.testing.assert_allclose(predict(RAGGED, pooling).ravel(), [2.0, 4.0, 5.5])
    embedding = layers.Embedding(7, 2)
    found = predict(tf.cast(tf.squeeze(RAGGED, 2), "int32"), embedding, pooling, shape=(None,), dtype="int32")
    table = embedding.get_weights()[0]
    np.testing.assert_allclose(found, [table[1:4].mean(0), table[4], table[5:7].mean(0)], rtol=1e-5)
    for layer in (layers.Dense(1), layers.LSTM(1)):
        with pytest.raises((ValueError, TypeError), match=r"[rR]agged"):
            predict(RAGGED, layer)
    first_batch, _ = slices(RAGGED).batch(2).map(lambda x: x.to_tensor(-1.0))
    assert first_batch.numpy().squeeze(-1).tolist() == [[1, 2, 3], [4, -1, -1]]


@pytest.mark.proves(
    "`keras.utils.pad_sequences` makes integers, silently: of `[[1.5, 2.5], [3.5]]` it makes `[[1, 2], [0, 3]]`.",
    'Pass `dtype="float32"`, and `padding="post"` to fill at the end.',
)
def test_pad_sequences():
    sequences = [[1.5, 2.5], [3.5]]
    assert keras.utils.pad_sequences(sequences).tolist() == [[1, 2], [0, 3]]
    padded = keras.utils.pad_sequences(sequences, dtype="float32", padding="post")
    assert padded.tolist() == [[1.5, 2.5], [3.5, 0]]


# --- shapes -------------------------------------------------------------------------------------------------------


def losing(part: str) -> tf.data.Dataset:
    """Batches of three features; the inputs or the targets have no shape."""

    def load(x, y):
        if part == "x":
            return tf.py_function(lambda x: x, [x], tf.float32), y
        return x, tf.numpy_function(lambda y: y, [y], tf.float32)

    return slices((np.ones((4, 3), "float32"), np.ones((4, 1), "float32"))).map(load).batch(2)


def dense(*before, **options) -> keras.Model:
    model = keras.Sequential([*before, layers.Dense(1)])
    model.compile("sgd", "mse", **options)
    return model


@pytest.mark.proves(
    "What comes from `tf.py_function`, `tf.numpy_function`, `tf.io.decode_image` or `from_generator` with "
    "`output_types` has no shape, and a layer that isn't built needs one:",
    "With an `Input`, or for targets without a shape, the message is "
    "`Cannot take the length of shape with unknown rank`. It is the same if `fit` gets targets `(n, 1)` after "
    "`(n,)`, without a new `compile`. State the shape where it gets lost:",
    "Stands for Python code that reads one sample.",
)
def test_without_a_shape():
    page = shown(MODULE, "unknown_fails", "ensured")
    assert page.printed.splitlines() == ["as_list() is not defined on an unknown TensorShape.", "inputs: (None, 3)"]
    assert read(2).tolist() == [2, 2, 2]
    png = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
    types = tf.data.Dataset.from_generator(lambda: iter([np.ones((2, 3))]), output_types=tf.float32)
    for dataset in (
        slices([png.numpy()]).map(lambda image: tf.io.decode_image(image)),
        types,
        losing("x").map(lambda x, y: x),
        losing("y").map(lambda x, y: y),
    ):
        assert dataset.element_spec.shape.rank is None
    with pytest.raises(ValueError, match=r"as_list\(\) is not defined on an unknown TensorShape"):
        fit(dense(), losing("x"))
    for model, part in ((dense(keras.Input((3,))), "x"), (dense(), "y")):
        with pytest.raises(ValueError, match="Cannot take the length of shape with unknown rank"):
            fit(model, losing(part))
    model, x = dense(keras.Input((3,))), np.ones((4, 3))
    fit(model, x, np.ones(4))
    with pytest.raises(ValueError, match="Cannot take the length of shape with unknown rank"):
        fit(model, x, np.ones((4, 1)))
    model.compile("sgd", loss="mse")
    fit(model, x, np.ones((4, 1)))
    right = losing("x").map(lambda x, y: (tf.ensure_shape(x, (None, 3)), y))
    assert "loss" in fit(dense(), right)


@pytest.mark.proves(
    "`variable input dimensions other than the batch size` | a generator whose first two batches have the same length; "
    "use `from_generator`"
)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_generator_of_lengths():
    def lengths(*steps):
        for length in steps:
            yield np.ones((2, length, 1), "float32"), np.ones((2, 1), "float32")

    def model():
        made = keras.Sequential([layers.GlobalAveragePooling1D()])
        made.compile(loss="mse")
        return made

    model().evaluate(lengths(4, 5, 6), verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="variable input dimensions other than the batch size"):
        model().evaluate(lengths(4, 4, 6), verbose=0)
    spec = tf.TensorSpec((None, None, 1)), tf.TensorSpec((None, 1))
    given = tf.data.Dataset.from_generator(lambda: lengths(4, 4, 6), output_signature=spec)
    model().evaluate(given, verbose=0)
