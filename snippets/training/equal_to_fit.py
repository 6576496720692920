"""Compare a `train_step` or a training loop with `fit`, number by number."""

# --8<-- [start:compare]
import keras
import numpy as np
import tensorflow as tf


def fit(model, batches, epochs):
    options = {"epochs": epochs, "shuffle": False, "verbose": 0}
    return model.fit(batches, **options).history


def record(make_model, make_batches, train=fit, epochs=2):
    """Train a model from a seed. Return its history, first and last weights."""
    keras.utils.set_random_seed(1)
    model, batches = make_model(), make_batches()
    start = np.concatenate([np.ravel(w) for w in model.get_weights()])
    history = train(model, batches, epochs)
    end = np.concatenate([np.ravel(w) for w in model.get_weights()])
    return history, start, end


def compare(expected, own):
    """Return how far each number is off, as a share of the expected one.

    That of the weights is a share of the way that the expected ones moved.
    """
    (history, start, end), (own_history, _, own_end) = expected, own
    if not np.any(end - start):
        raise ValueError("No weight moved: there is nothing to compare.")
    shares = {}
    for name in history | own_history:
        numbers, own_numbers = history.get(name), own_history.get(name)
        shares[name] = np.nan  # where one is missing, or has fewer epochs
        if np.shape(numbers) == np.shape(own_numbers):
            off = np.max(np.abs(np.subtract(own_numbers, numbers)))
            shares[name] = float(off and off / np.max(np.abs(numbers)))
    off = np.max(np.abs(own_end - end))
    return shares | {"weights": float(off / np.max(np.abs(end - start)))}


# --8<-- [end:compare]


# --8<-- [start:same_step]
@keras.saving.register_keras_serializable(package="guide")
class SameStep(keras.Model):
    """A model with a step of its own, equal to that of ``fit``."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)

        replicas = self.distribute_strategy.num_replicas_in_sync
        samples = tf.shape(keras.tree.flatten(x)[0])[0]
        self.metrics[0].update_state(loss * replicas, sample_weight=samples)
        return self.compute_metrics(x, y, y_pred, sample_weight)


# --8<-- [end:same_step]


# --8<-- [start:train]
def train(model, batches, epochs):
    """Do what ``model.fit(batches, epochs=epochs)`` does with each batch."""
    weights = model.trainable_weights
    strategy = model.distribute_strategy  # without one: one replica
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        model.optimizer.build(weights)
    if replicas > 1:  # there, a step can't make the variables of metrics
        model.evaluate(batches.take(1), verbose=0)

    def step(x, y, sample_weight=None):
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = model.compute_loss(x, y, y_pred, sample_weight)
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, weights)
        model.optimizer.apply(gradients, weights)
        samples = tf.shape(keras.tree.flatten(x)[0])[0]
        model.metrics[0].update_state(loss * replicas, sample_weight=samples)
        model.compute_metrics(x, y, y_pred, sample_weight)

    def run(batch):
        strategy.run(step, args=batch)

    batches = strategy.experimental_distribute_dataset(batches)
    if not model.run_eagerly:
        spec = [batches.element_spec]  # of batches of any size, as in fit
        run = tf.function(run, spec, jit_compile=model.jit_compile)
    history = {}
    for _ in range(epochs):
        model.reset_metrics()
        for batch in batches:
            run(batch)
        results = {}
        for name, value in model.get_metrics_result().items():
            results |= value if isinstance(value, dict) else {name: value}
        for name, value in results.items():
            history.setdefault(name, []).append(np.array(value).tolist())
    model.optimizer.finalize_variable_values(weights)  # for use_ema=True
    return history


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:program]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(72, 4)).astype("float32")
    y = (x[:, :1] > x[:, 1:2]).astype("float32")

    def make_optimizer():
        return keras.optimizers.SGD(0.1)

    def make_model(model_class=keras.Model):
        inputs = keras.Input((4,))
        dropped = keras.layers.Dropout(0.3)(inputs)
        dense = keras.layers.Dense(1, kernel_regularizer="l2")(dropped)
        outputs = keras.layers.Activation("sigmoid", dtype="float32")(dense)
        model = model_class(inputs, outputs)
        loss = keras.losses.BinaryCrossentropy()
        model.compile(make_optimizer(), loss, metrics=["accuracy"])
        return model

    def make_batches():
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(32)

    def report(own):
        for name, share in compare(of_fit, own).items():
            print(f"{name}: {share:.1%} off", end=", ")
        print("equal:", not any(compare(of_fit, own).values()))

    of_fit = record(make_model, make_batches)
    report(record(lambda: make_model(SameStep), make_batches))
    # --8<-- [end:program]

    # --8<-- [start:loop]
    report(record(make_model, make_batches, train=train))
    # --8<-- [end:loop]

    # --8<-- [start:seen_step_fails]
    class SeenStep(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            loss_metric, *others = self.metrics
            loss_metric.update_state(loss)
            for metric in others:
                metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    report(record(lambda: make_model(SeenStep), make_batches))
    # --8<-- [end:seen_step_fails]

    # --8<-- [start:seen_loop_fails]
    def seen_train(model, batches, epochs):
        optimizer = make_optimizer()
        loss_fn = keras.losses.BinaryCrossentropy()
        mean, accuracy = keras.metrics.Mean(), keras.metrics.BinaryAccuracy()

        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                y_pred = model(x, training=True)
                loss = loss_fn(y, y_pred)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            mean.update_state(loss)
            accuracy.update_state(y, y_pred)

        history = {"loss": [], "accuracy": []}
        for _ in range(epochs):
            for x, y in batches:
                step(x, y)
            history["loss"].append(float(mean.result()))
            history["accuracy"].append(float(accuracy.result()))
            mean.reset_state()
            accuracy.reset_state()
        return history

    report(record(make_model, make_batches, train=seen_train))
    # --8<-- [end:seen_loop_fails]

    # --8<-- [start:means]
    weights = np.where(y > 0, 3.0, 1.0).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    losses = np.square(model(x) - y)  # (72, 1)
    by_batch = np.split(losses * weights, [32, 64])

    still = keras.optimizers.SGD(0.0)  # the weights stay as they are
    model.compile(still, "mse", metrics=["mse"], weighted_metrics=["mse"])
    weighted = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(32)
    reported = model.fit(weighted, shuffle=False, verbose=0).history
    by_hand = {
        "loss": np.mean(losses * weights),
        "mse": np.mean(losses),
        "weighted_mse": np.sum(losses * weights) / np.sum(weights),
    }
    for name, value in by_hand.items():
        print(name, np.allclose(reported[name], value))
    of_batches = np.mean([np.mean(one) for one in by_batch])
    print(
        f"mean of the batches: {of_batches / by_hand['loss']:.2f} of the loss"
    )
    # --8<-- [end:means]

    # --8<-- [start:order]
    data = tf.data.Dataset.from_tensor_slices((x, y))

    def make_another():
        return data.shuffle(72).batch(32)

    def make_same():
        return data.shuffle(72, reshuffle_each_iteration=False).batch(32)

    for make in (make_another, make_same):
        expected = record(make_model, make)
        shares = compare(expected, record(make_model, make, train=train))
        print(f"{make.__name__}, equal: {not any(shares.values())}")
    # --8<-- [end:order]
