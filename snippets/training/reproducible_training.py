"""Reproducible training: seeds, order, rounding, and where runs part."""

# --8<-- [start:definitions]
import hashlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def fingerprint(values):
    """Eight characters that are equal if every bit of the numbers is."""
    digest = hashlib.sha256()
    for value in keras.tree.flatten(values):
        array = ops.convert_to_numpy(value)
        if array.dtype == object:
            raise TypeError("A fingerprint is of numbers.")
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:8]


def make_model(*between, **options):
    hidden = keras.layers.Dense(16, activation="relu")
    between = [make() for make in between]
    layers = [keras.Input((4,)), hidden, *between, keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), loss="mse", **options)
    return model


# --8<-- [end:definitions]


# --8<-- [start:trail]
class Trail(keras.callbacks.Callback):
    """Notes where a training stands: before it, after each step, at its end."""

    def on_train_begin(self, logs=None):
        if not self.model.built:
            raise ValueError("Build the model first: it has no weights yet.")
        self.found = {}
        self.step = 0
        self.note_model("step 0")

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        for name, value in (logs or {}).items():
            number = str(ops.convert_to_numpy(value).tolist())
            self.found[f"step {self.step}: {name}"] = number
        self.note_model(f"step {self.step}")

    def on_train_end(self, logs=None):
        self.note_model("end")

    def note_model(self, place):
        variables, held = self.model.variables, vars(self.model).values()
        states = [one for one in variables if "seed_generator" in one.path]
        kind = keras.optimizers.Optimizer  # a GAN has two
        optimizers = [one for one in held if isinstance(one, kind)]
        parts = {
            "weights": self.model.weights,
            "random states": states,
            "optimizer": [one.variables for one in optimizers],
        }
        for name, part in parts.items():
            self.found[f"{place}: {name}"] = fingerprint(part)


def first_difference(one, other):
    """The first thing that isn't equal in two dictionaries, or None."""
    for name in {**one, **other}:
        if one.get(name) != other.get(name):
            return name
    return None


# --8<-- [end:trail]


if __name__ == "__main__":
    # --8<-- [start:program]
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 4)).astype("float32")
    y = np.sin(x.sum(axis=-1, keepdims=True))

    def dropout():
        return keras.layers.Dropout(0.5)

    def train(seed, *between, **options):
        keras.utils.set_random_seed(seed)  # before the first layer is made
        model = make_model(*between, **options)
        model.fit(x, y, verbose=0)
        return model

    first = train(1, dropout)
    for seed in (1, 2):
        again = train(seed, dropout)
        equal = fingerprint(again.weights) == fingerprint(first.weights)
        print(f"seed {seed}: every bit as in the first run: {equal}")
    # --8<-- [end:program]

    # --8<-- [start:cell_fails]
    def is_first(model):
        return fingerprint(model.weights) == fingerprint(first.weights)

    keras.utils.set_random_seed(1)  # once, in the first cell
    for run in (1, 2):
        model = make_model(dropout)
        model.fit(x, y, verbose=0)
        print(f"new model, run {run}: {is_first(model)}")

    model = train(1, dropout)
    keras.utils.set_random_seed(1)
    model.fit(x, y, verbose=0)
    print("same model, seed set again:", is_first(model))
    masks = int(model.layers[1].seed_generator.state[1])
    print(f"steps: {int(model.optimizer.iterations)}, masks drawn: {masks}")
    # --8<-- [end:cell_fails]

    # --8<-- [start:tensorflow_seed_fails]
    for set_seed in (tf.random.set_seed, keras.utils.set_random_seed):
        weights = []
        for _ in range(2):
            set_seed(1)
            weights.append(fingerprint(make_model().weights))
        equal = weights[0] == weights[1]
        print(f"{set_seed.__name__}: equal initial weights: {equal}")
    # --8<-- [end:tensorflow_seed_fails]

    # --8<-- [start:one_more]
    def seeded_dropout():
        return keras.layers.Dropout(0.5, seed=3)

    def seeded_dense():
        start = keras.initializers.GlorotUniform(seed=4)
        return keras.layers.Dense(16, kernel_initializer=start)

    def last_kernel(*between):
        keras.utils.set_random_seed(1)
        return make_model(*between).layers[-1].kernel.numpy()

    without = last_kernel()
    for make in (dropout, seeded_dropout, seeded_dense):
        equal = np.array_equal(last_kernel(make), without)
        print(f"{make.__name__}: the last kernel is the same: {equal}")
    # --8<-- [end:one_more]

    # --8<-- [start:noise]
    def by_tensorflow():
        return lambda: tf.random.normal((100,))

    def by_keras():
        generator = keras.random.SeedGenerator()  # in __init__, in a layer
        return lambda: keras.random.normal((100,), seed=generator)

    def draw(make, **options):
        keras.utils.set_random_seed(1)
        noise = make()
        return fingerprint(
            tf.function(noise, **options)() if options else noise()
        )

    graph, xla = {"jit_compile": False}, {"jit_compile": True}
    for make in (by_tensorflow, by_keras):
        by_xla = [draw(make, **xla) for _ in range(2)]
        print(f"{make.__name__}:")
        print("  a graph as eager:", draw(make, **graph) == draw(make))
        print("  XLA twice:", by_xla[0] == by_xla[1])
        print("  XLA as a graph:", by_xla[0] == draw(make, **graph))
    # --8<-- [end:noise]

    # --8<-- [start:parallel_fails]
    options = tf.data.Options()
    options.threading.private_threadpool_size = 4  # also on one core
    numbers = tf.data.Dataset.range(2000).with_options(options)

    def draw_one(number):
        return number, tf.random.uniform(())

    def count_results(calls):
        found = set()
        for _ in range(5):
            keras.utils.set_random_seed(1)
            dataset = numbers.map(draw_one, num_parallel_calls=calls)
            found.add(fingerprint(list(dataset.batch(2000))))
        return len(found)

    print("one after the other, results:", count_results(None))
    print("in parallel, more than one:", count_results(4) > 1)
    # --8<-- [end:parallel_fails]

    # --8<-- [start:parallel]
    def draw_by_seed(number, seed):
        return number, tf.random.stateless_uniform((), seed=seed)

    def make_dataset():
        seeds = tf.data.Dataset.random(1, rerandomize_each_iteration=True)
        pairs = tf.data.Dataset.zip(
            tf.data.Dataset.range(2000), seeds.batch(2)
        )  # a number, and two integers
        return pairs.map(draw_by_seed, num_parallel_calls=4).batch(2000)

    runs = []
    for _ in range(5):
        keras.utils.set_random_seed(1)
        dataset = make_dataset()
        epochs = [fingerprint(list(dataset)) for _ in range(2)]
        runs.append(tuple(epochs))
    print("in parallel, results:", len(set(runs)))
    print("other numbers in the second epoch:", epochs[0] != epochs[1])
    # --8<-- [end:parallel]

    # --8<-- [start:rounding]
    def difference(one, other):
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        return max(np.max(np.abs(left - right)) for left, right in pairs)

    plain = train(1)
    eager = difference(train(1, run_eagerly=True), plain)
    xla = difference(train(1, jit_compile=True), plain)
    masked = difference(train(1, dropout, jit_compile=True), first)
    print("eager, at most rounding:", eager < 1e-5)
    print("XLA, at most rounding:", xla < 1e-5)
    print("XLA with Dropout, at most rounding:", masked < 1e-5)
    # --8<-- [end:rounding]

    # --8<-- [start:bias_fails]
    def normalized(use_bias, **options):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(16, use_bias=use_bias),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(1),
            ]
        )
        model.compile(keras.optimizers.Adam(0.01), loss="mse", **options)
        model.fit(x, y, batch_size=64, verbose=0)
        return model

    for bias in (True, False):
        eager = normalized(bias, run_eagerly=True)
        apart = difference(normalized(bias), eager)
        print(f"use_bias={bias}, at most rounding: {apart < 1e-5}")
    # --8<-- [end:bias_fails]

    # --8<-- [start:trails]
    def follow(seed, dropout_seed=3, **options):
        keras.utils.set_random_seed(seed)
        model = make_model(lambda: keras.layers.Dropout(0.5, seed=dropout_seed))
        trail = Trail()
        model.fit(x, y, verbose=0, callbacks=[trail], **options)
        return trail.found

    one = follow(1)
    print("again:", first_difference(one, follow(1)))
    print("other seed:", first_difference(one, follow(2)))
    print("other dropout:", first_difference(one, follow(1, 4)))
    print("not shuffled:", first_difference(one, follow(1, shuffle=False)))
    # --8<-- [end:trails]

    # --8<-- [start:seeds]
    held_out = random.normal(size=(1000, 4)).astype("float32")
    truth = np.sin(held_out.sum(axis=-1, keepdims=True))
    found = []
    for seed in range(5):
        predicted = train(seed)(held_out)
        found.append(np.mean(np.square(predicted - truth)))
    print(f"mean {np.mean(found):.2f}, deviation {np.std(found, ddof=1):.2f}")
    print(f"lowest {min(found):.2f}, highest {max(found):.2f}")
    # --8<-- [end:seeds]
