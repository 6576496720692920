"""Data for `fit`: datasets, generators, weights, missing labels, sequences."""

# --8<-- [start:homes]
import math

import keras
import numpy as np
import tensorflow as tf


def homes(samples):
    """Homes for sale. The price is known of those that were sold."""
    rng = np.random.default_rng(0)
    size = rng.uniform(size=(samples, 1)).astype("float32")
    number = rng.integers(3, size=(samples, 1))
    sold = (rng.uniform(size=(samples, 1)) < 0.5).astype("float32")
    price = np.where(sold, size + number, np.nan).astype("float32")
    x = {"size": size, "district": keras.utils.to_categorical(number, 3)}
    return x, {"price": price, "sold": sold}


def weigh_known(x, y):
    """An unknown price becomes 0, and its weight is 0."""
    known = tf.math.is_finite(y["price"])  # (batch, 1)
    y = {**y, "price": tf.where(known, y["price"], 0.0)}
    weights = {"price": tf.cast(known, tf.float32)}
    weights["sold"] = tf.ones_like(weights["price"])
    return x, y, weights


def make_model():
    keras.utils.set_random_seed(1)
    size = keras.Input((1,), name="size")
    district = keras.Input((3,), name="district")
    both = keras.layers.Concatenate()([size, district])  # (batch, 4)
    price = keras.layers.Dense(1)(both)
    sold = keras.layers.Dense(1, activation="sigmoid")(both)
    return keras.Model(
        {"size": size, "district": district}, {"price": price, "sold": sold}
    )


# --8<-- [end:homes]


# --8<-- [start:count_batches]
class CountBatches(keras.callbacks.Callback):
    """Counts the batches of each epoch."""

    def on_train_begin(self, logs=None):
        self.counts = []

    def on_epoch_begin(self, epoch, logs=None):
        self.counts.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.counts[-1] += 1


def yield_batches():
    for number in range(4):
        x = np.full((8, 1), number, "float32")
        yield x, 2 * x


def count_batches(data, **options):
    count = CountBatches()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    options = {"epochs": 3, "shuffle": False, "verbose": 0, **options}
    model.fit(data, callbacks=[count], **options)
    return count.counts


# --8<-- [end:count_batches]


# --8<-- [start:row_batches]
class RowBatches(keras.utils.PyDataset):
    """Batches of rows, in a new order each epoch.

    Args:
        x: Inputs, as an array or a file that `np.load` maps.
        y: Targets.
        batch_size: Of each batch but the last, which may be smaller.
        workers: Threads that read; with 1, `fit` reads by itself.
    """

    def __init__(self, x, y, batch_size=32, workers=1):
        super().__init__(workers=workers)
        self.x, self.y, self.batch_size = x, y, batch_size
        self.rng = np.random.default_rng(0)
        self.order = np.arange(len(x))

    @property
    def num_batches(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        rows = self.order[start : start + self.batch_size]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.x))


# --8<-- [end:row_batches]


# --8<-- [start:weigh_classes]
SOLD_WEIGHTS = tf.constant([1.0, 4.0])  # of the classes 0 and 1


def weigh_classes(x, y, weights):
    """Multiply the weights of one output by those of its classes."""
    of_class = tf.gather(SOLD_WEIGHTS, tf.cast(y["sold"], tf.int32))
    return x, y, {**weights, "sold": weights["sold"] * of_class}


# --8<-- [end:weigh_classes]


# --8<-- [start:read]
def read(row):
    """Stands for Python code that reads one sample."""
    return np.float32([row, row, row])


# --8<-- [end:read]


if __name__ == "__main__":
    # --8<-- [start:program]
    samples = tf.data.Dataset.from_tensor_slices(homes(1000))
    validation = samples.take(200).batch(50).map(weigh_known)
    training = samples.skip(200).shuffle(800, seed=1)
    training = training.batch(50).map(weigh_known).prefetch(2)

    model = make_model()
    mean = {"reduction": "mean_with_sample_weight"}
    model.compile(
        keras.optimizers.Adam(0.05),
        loss={
            "price": keras.losses.MeanSquaredError(**mean),
            "sold": "binary_crossentropy",
        },
        weighted_metrics={"price": ["mae"], "sold": ["accuracy"]},
    )
    history = model.fit(
        training,
        validation_data=validation,
        epochs=10,
        shuffle=False,  # the dataset shuffles itself
        verbose=0,
    ).history
    predictions = model.predict(validation, verbose=0)
    print("error below 0.1:", history["val_price_mae"][-1] < 0.1)
    print({name: value.shape for name, value in predictions.items()})
    # --8<-- [end:program]

    # --8<-- [start:generator_fails]
    import warnings

    ones = np.ones((32, 1))
    four = tf.data.Dataset.from_tensor_slices((ones, ones)).batch(8)
    with warnings.catch_warnings(record=True) as caught:
        print("generator:", count_batches(yield_batches()))
        steps = {"steps_per_epoch": 3, "epochs": 4}
        print("3 steps of 4:", count_batches(four, **steps))
    print(str(caught[-1].message).split(";")[0])
    # --8<-- [end:generator_fails]

    # --8<-- [start:from_generator]
    batch = tf.TensorSpec((None, 1), "float32")
    dataset = tf.data.Dataset.from_generator(
        yield_batches, output_signature=(batch, batch)
    )
    known = tf.data.experimental.assert_cardinality(4)
    dataset = dataset.apply(known)  # without it, fit warns after an epoch
    print("from_generator:", count_batches(dataset))
    steps = {"steps_per_epoch": 3, "epochs": 4}
    print("3 steps, repeated:", count_batches(dataset.repeat(), **steps))
    # --8<-- [end:from_generator]

    # --8<-- [start:mapped]
    rows = np.random.default_rng(1).normal(size=(500, 3)).astype("float32")
    np.save("x.npy", rows)
    np.save("y.npy", rows @ np.array([[1.0], [2.0], [3.0]], "float32"))
    data = RowBatches(
        np.load("x.npy", mmap_mode="r"),  # reads the rows that are asked for
        np.load("y.npy", mmap_mode="r"),
    )
    keras.utils.set_random_seed(1)
    linear = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    linear.compile(keras.optimizers.SGD(0.1), loss="mse")
    linear.fit(data, epochs=5, verbose=0)
    print("kernel:", np.round(linear.get_weights()[0].ravel(), 1))
    # --8<-- [end:mapped]

    # --8<-- [start:last_batch]
    bias = keras.layers.Dense(1, kernel_initializer="zeros")
    offset = keras.Sequential([keras.Input((1,)), bias])
    offset.compile(keras.optimizers.SGD(0.5), loss="mae")

    x, y = np.zeros((9, 1)), np.array([[2.0]] * 8 + [[-7.0]])
    nine = tf.data.Dataset.from_tensor_slices((x, y))
    loss = offset.evaluate(nine.batch(8), verbose=0)
    print(f"loss: {loss:.2f}, of 23 / 9 = {23 / 9:.2f}")
    for name, part in ("first 8", nine.take(8)), ("last 1", nine.skip(8)):
        before = bias.get_weights()[1][0]
        offset.fit(part.batch(8), shuffle=False, verbose=0)
        print(f"{name}: bias {bias.get_weights()[1][0] - before:+.1f}")
    # --8<-- [end:last_batch]

    # --8<-- [start:same_order_fails]
    class Records(keras.Sequential):
        def train_step(self, data):
            orders.append(tuple(np.ravel(data[0])))
            return super().train_step(data)

    def count_orders(*data, **options):
        orders.clear()
        keras.utils.set_random_seed(1)
        model = Records([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse", run_eagerly=True)
        model.fit(*data, epochs=5, verbose=0, **options)
        return len(set(orders))

    orders = []
    x = np.arange(20.0)[:, None]
    print("orders of fit(x, y):", count_orders(x, x))
    slices = tf.data.Dataset.from_tensor_slices((x, x))
    shuffled = slices.shuffle(20).batch(20)
    print("of a dataset:", count_orders(shuffled, shuffle=False))
    # --8<-- [end:same_order_fails]

    # --8<-- [start:leak_fails]
    def count_leaked(training, validation):
        seen = {int(v) for _ in range(10) for v in training}
        return len(seen & {int(v) for v in validation})

    numbers = tf.data.Dataset.range(100)
    shuffled = numbers.shuffle(100)
    leaked = count_leaked(shuffled.skip(20), shuffled.take(20))
    print("shuffle, then take:", leaked)
    leaked = count_leaked(numbers.skip(20).shuffle(80), numbers.take(20))
    print("take, then shuffle:", leaked)
    # --8<-- [end:leak_fails]

    # --8<-- [start:nan_fails]
    predicted = np.zeros((4, 1))
    known = np.array([1.0, 1.0, 1.0, 0.0])
    for unknown in np.nan, 0.0:
        targets = np.array([[1.0], [1.0], [1.0], [unknown]])
        for reduction in "sum_over_batch_size", "mean_with_sample_weight":
            loss = keras.losses.MeanSquaredError(reduction=reduction)
            value = loss(targets, predicted, sample_weight=known)
            print(f"{unknown}, {reduction}: {float(value):.2f}")
    # --8<-- [end:nan_fails]

    # --8<-- [start:two_weights]
    weighed = training.map(weigh_classes)
    x, y, weights = next(iter(weighed))
    print("prices:", np.unique(weights["price"]))
    print("sold:", np.unique(weights["sold"]))
    # --8<-- [end:two_weights]

    # --8<-- [start:class_weight_fails]
    counter = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    # A loss of 1 for each sample: fit reports the mean weight.
    counter.compile("sgd", loss=lambda y, y_pred: 1 + 0 * y_pred[:, 0])

    def mean_weight(targets, weights):
        options = {"class_weight": weights, "verbose": 0}
        history = counter.fit(np.zeros((4, 1)), targets, **options).history
        return round(history["loss"][0], 2)

    classes = np.array([[0], [1], [1], [1]])
    print("keys 0 and 1:", mean_weight(classes, {0: 1.0, 1: 4.0}))
    print("keys '0' and '1':", mean_weight(classes, {"0": 1.0, "1": 4.0}))
    labels = np.array([[1, 1], [1, 1], [0, 1], [0, 1]])  # of two kinds
    print("two labels:", mean_weight(labels, {0: 1.0, 1: 4.0}))
    # --8<-- [end:class_weight_fails]

    # --8<-- [start:padded]
    def sequences():
        for steps in 1, 2, 3, 7:
            yield np.full((steps, 1), steps, "float32")

    lengths = tf.data.Dataset.from_generator(
        sequences, output_signature=tf.TensorSpec((None, 1))
    ).apply(tf.data.experimental.assert_cardinality(4))

    padded = lengths.padded_batch(2, padding_values=-1.0)
    steps = keras.Input((None, 1))
    masked = keras.layers.Masking(mask_value=-1.0)(steps)
    mean = keras.layers.GlobalAveragePooling1D()(masked)
    means = keras.Model(steps, mean).predict(padded, verbose=0)
    print("batches:", [tuple(batch.shape) for batch in padded])
    print("means:", means.ravel().tolist())
    # --8<-- [end:padded]

    # --8<-- [start:unknown_fails]
    def load(row):
        return tf.numpy_function(read, [row], tf.float32), 0.0

    dense = keras.Sequential([keras.layers.Dense(1)])
    dense.compile("sgd", loss="mse")
    try:
        loaded = tf.data.Dataset.range(8).map(load).batch(4)
        dense.fit(loaded, shuffle=False, verbose=0)
    except ValueError as error:
        print(error)
    # --8<-- [end:unknown_fails]

    # --8<-- [start:ensured]
    def load_shaped(row):
        values = tf.numpy_function(read, [row], tf.float32)
        return tf.ensure_shape(values, (3,)), 0.0

    shaped = tf.data.Dataset.range(8).map(load_shaped).batch(4)
    dense = keras.Sequential([keras.layers.Dense(1)])
    dense.compile("sgd", loss="mse")
    dense.fit(shaped, shuffle=False, verbose=0)
    print("inputs:", shaped.element_spec[0].shape)
    # --8<-- [end:ensured]
