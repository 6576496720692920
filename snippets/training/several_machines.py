"""A training loop on several machines."""

if __name__ == "__main__":
    # --8<-- [start:program]
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import ops

    # Before all else. Without TF_CONFIG, it has one worker, this one.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(7)  # the same on each worker

    x = np.random.uniform(-1, 1, size=(321, 1)).astype("float32")
    y = 3 * x + 1 + np.random.normal(0, 0.1, x.shape).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, y))
    batches = data.shuffle(321).batch(64)  # of all workers together
    shared = strategy.experimental_distribute_dataset(batches)

    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), loss="mse")
        optimizer, weights = model.optimizer, model.trainable_variables
        optimizer.build(weights)
        mean_loss = keras.metrics.Mean()

    def replica_step(x, y):  # with one worker's part of the batch
        replica = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            losses = keras.losses.mean_squared_error(y, model(x))  # (batch,)
            count = replica.all_reduce("SUM", tf.size(losses))
            loss = ops.sum(losses) / ops.cast(count, losses.dtype)
        optimizer.apply(tape.gradient(loss, weights), weights)
        mean_loss.update_state(losses)

    @tf.function
    def train_step(x, y):
        strategy.run(replica_step, args=(x, y))

    for epoch in range(10):
        mean_loss.reset_state()
        for batch in shared:
            train_step(*batch)
        if epoch % 3 == 0:
            print(f"epoch {epoch}: loss {mean_loss.result():.2f}")

    kernel, bias = (weight.numpy().item() for weight in weights)
    print(f"{kernel:.1f} x + {bias:.1f}")
    if not strategy.cluster_resolver.task_id:  # on the first worker
        model.save("line.keras")
    # --8<-- [end:program]
