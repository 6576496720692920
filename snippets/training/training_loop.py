"""A training loop from scratch: metrics, validation, early stopping, resume."""

# --8<-- [start:imports]
import keras
import numpy as np
import tensorflow as tf
from keras import ops

# --8<-- [end:imports]

if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    x = np.random.uniform(-1, 1, size=(410, 1)).astype("float32")
    y = 3 * x + 1 + np.random.normal(0, 0.1, x.shape).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, y))
    train = data.take(330).shuffle(330).batch(32)
    unseen = data.skip(330).batch(32)

    penalty = keras.regularizers.L2(1e-4)
    dense = keras.layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((1,)), dense])
    optimizer = keras.optimizers.Adam(0.05)
    optimizer.build(model.trainable_variables)
    squared_error = keras.losses.MeanSquaredError()

    @tf.function
    def loss_of(x, y, training=False):
        loss = squared_error(y, model(x, training=training))
        return loss + sum(model.losses)  # with the penalty

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(x, y, training=True)
            scaled = optimizer.scale_loss(loss)  # for mixed_float16
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    def mean_loss(step, batches):
        mean = keras.metrics.Mean()
        for x, y in batches:
            mean.update_state(step(x, y), sample_weight=len(x))
        return float(mean.result())

    best, waited = np.inf, 0
    for epoch in range(200):
        loss = mean_loss(train_step, train)
        unseen_loss = mean_loss(loss_of, unseen)
        if epoch % 10 == 0:
            print(f"epoch {epoch}: {loss:.2f}, unseen {unseen_loss:.2f}")
        waited += 1
        if unseen_loss < best:
            best, waited, weights = unseen_loss, 0, model.get_weights()
        if waited == 5:
            break

    model.set_weights(weights)  # the best ones
    model.save("line.keras")
    reloaded = keras.saving.load_model("line.keras")
    kernel, bias = (weight.numpy().item() for weight in reloaded.weights)
    print(f"stopped early: {waited == 5}, {kernel:.1f} x + {bias:.1f}")
    # --8<-- [end:program]

    # --8<-- [start:resume]
    def start(by_variables):
        keras.utils.set_random_seed(7)
        hidden = keras.layers.Dense(16, activation="tanh")
        dropout = keras.layers.Dropout(0.2)
        layers = [keras.Input((1,)), hidden, dropout, keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(0.05)
        optimizer.build(model.trainable_variables)
        held = {"model": model, "optimizer": optimizer}
        if by_variables:
            variables = model.variables + optimizer.variables
            held = {"variables": [variable.value for variable in variables]}
        checkpoint = tf.train.Checkpoint(epoch=tf.Variable(0), **held)
        return model, optimizer, checkpoint

    def train_until(last, model, optimizer, checkpoint):
        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(y - model(x, training=True)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)

        while checkpoint.epoch < last:
            seed = int(checkpoint.epoch)  # an order of its own each epoch
            for batch in data.shuffle(410, seed=seed).batch(64):
                train_step(*batch)
            checkpoint.epoch.assign_add(1)
        return model.get_weights()

    expected = train_until(4, *start(by_variables=True))
    for by_variables in (True, False):
        for last in (2, 4):  # the second time as after a crash
            model, optimizer, checkpoint = start(by_variables)
            folder = f"checkpoints_{by_variables}"
            manager = tf.train.CheckpointManager(checkpoint, folder, 3)
            manager.restore_or_initialize()
            weights = train_until(last, model, optimizer, checkpoint)
            manager.save()
        same = all(map(np.allclose, weights, expected))
        print(f"by variables: {by_variables}, as without a break: {same}")
    # --8<-- [end:resume]

    # --8<-- [start:clip_the_mean]
    def make_line():
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        return keras.Sequential([keras.Input((1,)), dense])

    x, y = x[:330], y[:330]
    wrong = y.copy()
    wrong[::42] += 100  # 8 of the 330 labels

    for options in ({}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}):
        model = make_line()
        optimizer = keras.optimizers.SGD(0.1, **options)
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(x, wrong, batch_size=32, epochs=20, shuffle=False, verbose=0)
        slope, intercept = (weight.numpy().item() for weight in model.weights)
        print(f"{options or None}: {slope:.1f} x + {intercept:.1f}")
    # --8<-- [end:clip_the_mean]

    # --8<-- [start:clip_each_sample]
    model = make_line()
    weights = model.trainable_variables
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(weights)

    @tf.function
    def clipped_step(x, y):
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            losses = keras.losses.mean_squared_error(y, predicted)  # (batch,)
        # A gradient for each sample: the shape of the weight behind the batch.
        # `jacobian` takes TensorFlow's variable, the `value` of Keras's.
        gradients = tape.jacobian(losses, [w.value for w in weights])
        squares = [
            ops.sum(ops.square(g), axis=tuple(range(1, len(g.shape))))
            for g in gradients
        ]
        norms = ops.sqrt(sum(squares))  # (batch,)
        scales = ops.minimum(1.0, 1.0 / norms)  # (batch,)
        size = ops.cast(ops.shape(x)[0], scales.dtype)
        means = [ops.tensordot(scales, g, axes=1) / size for g in gradients]
        optimizer.apply(means, weights)

    batches = tf.data.Dataset.from_tensor_slices((x, wrong)).batch(32)
    for _ in range(20):
        for batch in batches:
            clipped_step(*batch)

    slope, intercept = (weight.numpy().item() for weight in model.weights)
    print(f"each sample clipped: {slope:.1f} x + {intercept:.1f}")
    # --8<-- [end:clip_each_sample]
