"""Training on several devices: a step and a loop of your own, and state."""

# --8<-- [start:step]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class SharedStep(keras.Model):
    """A model whose step does what that of `fit` does, on any replicas."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights)
        # Adds up the gradients of all replicas.
        self.optimizer.apply(gradients, self.trainable_weights)

        # `compute_loss` has divided by the number of replicas, for that sum.
        loss *= self.distribute_strategy.num_replicas_in_sync
        samples = tf.shape(keras.tree.flatten(x)[0])[0]
        self.metrics[0].update_state(loss, sample_weight=samples)
        return self.compute_metrics(x, y, y_pred, sample_weight)


def make_model(model_class=keras.Model):
    keras.utils.set_random_seed(7)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(16, "relu", kernel_regularizer="l2")(inputs)
    outputs = keras.layers.Dense(1, "sigmoid")(hidden)
    model = model_class(inputs, outputs)
    adam = keras.optimizers.Adam(0.01)
    model.compile(adam, "binary_crossentropy", metrics=["accuracy"])
    return model


# --8<-- [end:step]


# --8<-- [start:last_mean]
@keras.saving.register_keras_serializable(package="guide")
class LastMean(keras.layers.Layer):
    """Keeps the mean of the last batch in training, in four ways.

    Shapes: ``(batch, ...)`` to ``(batch, ...)``
    """

    def build(self, input_shape):
        self.means = {
            aggregation: self.add_weight(
                shape=(),
                initializer="zeros",
                trainable=False,
                aggregation=aggregation,
                name=aggregation,
            )
            for aggregation in ("none", "mean", "sum", "only_first_replica")
        }

    def call(self, inputs, training=False):
        if training:
            for mean in self.means.values():
                mean.assign(ops.mean(ops.cast(inputs, mean.dtype)))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:last_mean]


if __name__ == "__main__":
    # --8<-- [start:program]
    # Two logical CPUs stand for two GPUs. Make them before all else.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    x = np.random.default_rng(7).normal(size=(321, 4)).astype("float32")
    y = (x[:, :1] > x[:, 1:2]).astype("float32")
    options = {"batch_size": 64, "epochs": 2, "verbose": 0}

    on_one = make_model()
    expected = on_one.fit(x[:320], y[:320], **options).history
    with strategy.scope():
        model = make_model(SharedStep)
    history = model.fit(x[:320], y[:320], **options).history
    for name, values in history.items():
        print(f"{name}: {values[-1]:.3f}, on one {expected[name][-1]:.3f}")

    model.save("shared.keras")
    reloaded = keras.saving.load_model("shared.keras")  # on one device
    print("reloaded, same as on one:", np.allclose(reloaded(x), on_one(x)))
    # --8<-- [end:program]

    # --8<-- [start:loop]
    def make_train_step(model):
        """Return a step of a built model, for batches that are distributed."""
        optimizer, weights = model.optimizer, model.trainable_variables
        with strategy.scope():
            optimizer.build(weights)

        def replica_step(x, y):  # with one replica's part of the batch
            replica = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                y_pred = model(x, training=True)
                # Read before `all_reduce`, where the next replica runs.
                penalty = sum(model.losses) / strategy.num_replicas_in_sync
                losses = keras.losses.binary_crossentropy(y, y_pred)
                count = replica.all_reduce("SUM", tf.size(losses))
                loss = ops.sum(losses) / ops.cast(count, losses.dtype)
                loss += penalty
                scaled = optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, weights)
            optimizer.apply(gradients, weights)
            return loss

        @tf.function
        def train_step(x, y):
            losses = strategy.run(replica_step, args=(x, y))
            return strategy.reduce("SUM", losses, axis=None)

        return train_step

    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)  # of all
    on_one, models = make_model(), {}
    on_one.fit(batches, epochs=2, shuffle=False, verbose=0)
    with strategy.scope():
        models["fit"], models["the loop"] = make_model(), make_model()
    models["fit"].fit(batches, epochs=2, shuffle=False, verbose=0)

    train_step = make_train_step(models["the loop"])
    shared = strategy.experimental_distribute_dataset(batches)
    for _epoch in range(2):
        for batch in shared:
            train_step(*batch)

    for name, model in models.items():
        pairs = zip(model.get_weights(), on_one.get_weights(), strict=True)
        apart = max(np.max(np.abs(one - other)) for one, other in pairs)
        print(f"{name} on two devices: weights {apart:.4f} apart")
    # --8<-- [end:loop]

    # --8<-- [start:who_divides]
    mse = keras.losses.MeanSquaredError()
    losses = {
        "ops.mean": lambda y, p: ops.mean(ops.square(y - p)),
        "ops.mean, divided": lambda y, p: ops.mean(ops.square(y - p)) / 2,
        "keras.losses": mse,
        "keras.losses, divided": lambda y, p: mse(y, p) / 2,
    }

    def after_a_step(loss_of, optimizer_class=keras.optimizers.SGD):
        """Return a weight that starts at 0, and should become 1."""
        with strategy.scope():
            weight = keras.Variable(0.0)
            optimizer = optimizer_class(0.1)
            optimizer.build([weight])

        @tf.function
        def step(y):
            with tf.GradientTape() as tape:
                loss = loss_of(y, weight * ops.ones_like(y))
            optimizer.apply(tape.gradient(loss, [weight]), [weight])

        strategy.run(step, args=(tf.ones((8, 1)),))
        return weight.numpy()

    for name, loss_of in losses.items():
        print(f"{name}: one step to {after_a_step(loss_of):.1f}")
    # --8<-- [end:who_divides]

    # --8<-- [start:states]
    rows = np.float32([[0], [0], [2], [2]])  # one replica gets the zeros
    with strategy.scope():
        layer = LastMean()
        line = keras.Sequential([layer, keras.layers.Dense(1)])
        line.compile(loss="mse")
    line.fit(rows, rows, shuffle=False, verbose=0)
    for aggregation, mean in layer.means.items():
        parts = strategy.experimental_local_results(mean.value)
        print(f"{aggregation}: {[float(part) for part in parts]}")
    # --8<-- [end:states]

    # --8<-- [start:largest_fails]
    class Largest(keras.metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.largest = self.add_variable((), "zeros", name="largest")

        def update_state(self, y_true, y_pred, sample_weight=None):
            seen = ops.maximum(self.largest, ops.max(y_pred))
            self.largest.assign(seen)

        def result(self):
            return self.largest

    with strategy.scope():
        line = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
        line.compile(loss="mse", metrics=[Largest()])
    largest = line.evaluate(np.ones((4, 1)), np.ones((4, 1)), verbose=0)[1]
    print(f"largest of ones: {largest:.0f}")
    # --8<-- [end:largest_fails]

    # --8<-- [start:same_noise]
    with strategy.scope():
        dropout = keras.layers.Dropout(0.5)

    @tf.function
    def dropped():
        ones = tf.ones((1, 100))
        return strategy.run(lambda: dropout(ones, training=True))

    first, second = strategy.experimental_local_results(dropped())
    print("the same values dropped on both:", np.array_equal(first, second))
    # --8<-- [end:same_noise]
