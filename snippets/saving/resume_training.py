"""Training that is interrupted and resumed, digit for digit: `fit`, a loop."""

# --8<-- [start:resume]
import contextlib
import os
import pickle
import random

import keras
import numpy as np
import tensorflow as tf


def parts_of(model):
    """List the model and the optimizers that are its attributes."""
    its, optimizer = vars(model).values(), keras.optimizers.Optimizer
    return [model, *(one for one in its if isinstance(one, optimizer))]


def variables_of(model):
    """List all that a step changes: weights, random states, optimizers."""
    return [one for part in parts_of(model) for one in part.variables]


def write_whole(path, state):
    """Write beside the file, then rename: what is at `path` is whole."""
    with open(f"{path}.new", "wb") as file:
        pickle.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


class Resume(keras.callbacks.Callback):
    """Saves what training needs to go on after each epoch, and restores it.

    It stands last in `callbacks`, and `kept` are those that have a state.
    """

    def __init__(self, path, kept=()):
        super().__init__()
        self.path, self.kept = path, kept
        self.state = {"epoch": 0, "history": {}}
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.state = pickle.load(file)

    @property
    def epoch(self):
        """The `initial_epoch` to pass to `fit`."""
        return self.state["epoch"]

    @property
    def history(self):
        """The history of all epochs, those before the break included."""
        return self.state["history"]

    def on_train_begin(self, logs=None):
        model, optimizer = self.model, self.model.optimizer
        if model.built and optimizer is not None and not optimizer.built:
            optimizer.build(model.trainable_variables)
        if not all(part.built for part in parts_of(model)):
            raise ValueError("Build model and optimizers before `fit`.")
        if "values" not in self.state:
            return
        if self.state["kinds"] != self.kinds():
            raise ValueError("Saved with another model or other callbacks.")
        pairs = zip(variables_of(model), self.state["values"], strict=True)
        for variable, value in pairs:
            variable.assign(value)
        for one, its in zip(self.kept, self.state["kept"], strict=True):
            vars(one).update(its)
        random.setstate(self.state["random"])
        np.random.set_state(self.state["numpy"])

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch:
            raise ValueError("Pass `initial_epoch=resume.epoch` to `fit`.")

    def on_epoch_end(self, epoch, logs=None):
        history = dict(self.history)
        for name, value in (logs or {}).items():
            history[name] = [*history.get(name, []), value]
        over = self.model.stop_training  # by EarlyStopping
        variables = variables_of(self.model)
        state = {
            "epoch": self.params["epochs"] if over else epoch + 1,
            "history": history,
            "kinds": self.kinds(),
            "values": [variable.numpy() for variable in variables],
            "kept": [self.state_of(one) for one in self.kept],
            "random": random.getstate(),
            "numpy": np.random.get_state(),
        }
        write_whole(self.path, state)
        self.state = state

    def kinds(self):
        parts = [*parts_of(self.model), *self.kept]
        inner = [getattr(one, "inner_optimizer", one) for one in parts]
        return [type(one).__name__ for one in inner], [
            (tuple(one.shape), str(one.dtype), one.trainable)
            for one in variables_of(self.model)
        ]

    def state_of(self, callback):
        left_out = ("_model", "params")
        its = vars(callback).items()
        return {name: one for name, one in its if name not in left_out}


# --8<-- [end:resume]


# --8<-- [start:ordered]
def ordered(data, batch_size, seed, first_step=0):
    """Batches without end; their order depends on seed and step alone."""
    data = tf.nest.map_structure(tf.constant, data)
    size = len(tf.nest.flatten(data)[0])
    steps = -(-size // batch_size)  # of one epoch, the smaller batch too

    def rows_of(epoch):
        shuffle = tf.random.experimental.stateless_shuffle
        rows = shuffle(tf.range(size), seed=tf.stack([seed, epoch]))
        return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)

    def read(rows):
        return tf.nest.map_structure(lambda one: tf.gather(one, rows), data)

    epochs = tf.data.Dataset.range(first_step // steps, 2**31)
    numbers = epochs.flat_map(rows_of).skip(first_step % steps)
    return numbers.map(read)  # what is skipped isn't read


# --8<-- [end:ordered]


# --8<-- [start:interrupts]
class Interrupts(keras.callbacks.Callback):
    """Raises after as many batches, as if the machine had stopped."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise InterruptedError(f"in the batch {batch} of an epoch")


# --8<-- [end:interrupts]


if __name__ == "__main__":
    # --8<-- [start:program]
    rows = np.random.default_rng(1).normal(size=(300, 5)).astype("float32")
    x, y = rows[:, :4], rows[:, :1] * rows[:, 1:2] + rows[:, 4:]  # noise
    train, unseen = (x[:250], y[:250]), (x[250:], y[250:])
    steps = 8  # batches of 32 rows, the last of 26

    def make_model():
        keras.utils.set_random_seed(1)
        layers = keras.layers
        hidden = [layers.Dense(32, "relu"), layers.Dropout(0.2)]
        model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.02), "mse")
        return model

    def run(path, *more):
        model = make_model()
        plateau = keras.callbacks.ReduceLROnPlateau(patience=2)
        stop = keras.callbacks.EarlyStopping(
            patience=5, restore_best_weights=True
        )
        resume = Resume(path, kept=[plateau, stop])
        data = ordered(train, 32, seed=1, first_step=resume.epoch * steps)
        model.fit(
            data,
            steps_per_epoch=steps,
            epochs=30,
            initial_epoch=resume.epoch,
            validation_data=unseen,
            callbacks=[plateau, stop, *more, resume],
            shuffle=False,  # the data are shuffled already
            verbose=0,
        )
        return model, resume

    def difference(one, other):
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        return max(np.max(np.abs(left - right)) for left, right in pairs)

    whole, of_all = run("whole.state")
    print("without a break:", len(of_all.history["loss"]), "epochs")

    try:
        run("training.state", Interrupts(batches=45))
    except InterruptedError as error:
        print("interrupted", error)
    print("saved:", Resume("training.state").epoch, "epochs")
    resumed, resume = run("training.state")
    print("difference:", difference(resumed, whole))
    print("the same history:", resume.history == of_all.history)
    # --8<-- [end:program]

    # --8<-- [start:position]
    def batches(first_step, count):
        data = ordered(np.arange(10), 4, seed=1, first_step=first_step)
        return [
            batch.tolist() for batch in data.take(count).as_numpy_iterator()
        ]

    for batch in batches(0, 6):
        print(batch)
    print("from step 4 on the same:", batches(4, 2) == batches(0, 6)[4:])
    # --8<-- [end:position]

    # --8<-- [start:backup_fails]
    def backed_up(*more):
        model = make_model()
        backup = keras.callbacks.BackupAndRestore("backup", save_freq=3)
        model.fit(*train, epochs=4, callbacks=[backup, *more], verbose=0)
        return int(model.optimizer.iterations)

    for batches in (20, 4):  # interrupted twice
        with contextlib.suppress(InterruptedError):
            backed_up(Interrupts(batches))
    print(f"{backed_up()} steps, and not {4 * steps}")
    # --8<-- [end:backup_fails]

    # --8<-- [start:best_fails]
    def go_on(model, epochs, lowest=None):
        best = keras.callbacks.ModelCheckpoint(
            "best.keras", save_best_only=True, initial_value_threshold=lowest
        )
        options = {"validation_data": unseen, "callbacks": [best], "verbose": 0}
        model.fit(x[:20], y[:20], epochs=epochs, **options)  # overfits
        return best.best

    for known in (False, True):
        model = make_model()
        lowest = go_on(model, epochs=5)
        go_on(model, epochs=1, lowest=lowest if known else None)  # resumed
        in_file = keras.saving.load_model("best.keras")
        loss = in_file.evaluate(*unseen, verbose=0)
        print(f"lowest given: {known}, kept: {np.isclose(loss, lowest)}")
    # --8<-- [end:best_fails]

    # --8<-- [start:loop]
    def loop(folder, breaks_at=None):
        model = make_model()
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        step, best = tf.Variable(0), tf.Variable(np.inf)
        held = [one.value for one in variables_of(model)]
        state = tf.train.Checkpoint(step=step, best=best, variables=held)
        manager = tf.train.CheckpointManager(state, folder, max_to_keep=2)
        manager.restore_or_initialize()

        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x, y, model(x, training=True))
            weights = model.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)

        first = int(step)
        batches = ordered(train, 32, seed=1, first_step=first)
        for number, batch in enumerate(batches, start=first):
            if number >= 40:
                break
            if number == breaks_at:
                raise InterruptedError
            train_step(*batch)
            step.assign_add(1)
            if step % 5 == 0:  # in the middle of an epoch, too
                unseen_loss = model.evaluate(*unseen, verbose=0)
                if unseen_loss < best:
                    best.assign(unseen_loss)
                    model.save_weights(f"{folder}_best.weights.h5")
                manager.save()
        return model, float(best)

    expected, lowest = loop("loop_whole")
    with contextlib.suppress(InterruptedError):
        loop("loop", breaks_at=18)
    model, best = loop("loop")
    print("difference:", difference(model, expected))
    print("the same best loss:", best == lowest)
    # --8<-- [end:loop]

    # --8<-- [start:unbuilt_fails]
    @keras.saving.register_keras_serializable(package="guide")
    class Line(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    saved = Line()
    saved(x)
    path = tf.train.Checkpoint(model=saved).save("line")
    for built in (False, True):
        line = Line()
        if built:
            line(x)
        status = tf.train.Checkpoint(model=line).restore(path)
        difference_of = np.max(np.abs(line(x) - saved(x)))
        print(f"built: {built}, restored: {difference_of == 0}")
        try:
            status.assert_consumed()
        except AssertionError:
            print("assert_consumed raises")
    # --8<-- [end:unbuilt_fails]

    # --8<-- [start:settings]
    def resumed_with(optimizer, frozen=False):
        model = make_model()
        model.layers[0].trainable = not frozen
        model.compile(optimizer, "mse")
        resume = Resume("settings.state")
        epochs = resume.epoch + 1
        options = {"initial_epoch": resume.epoch, "epochs": epochs}
        options |= {"callbacks": [resume], "verbose": 0}
        model.fit(*train, **options)
        return float(model.optimizer.learning_rate)

    print(f"first: {resumed_with(keras.optimizers.Adam(0.02)):.3f}")
    print(f"then: {resumed_with(keras.optimizers.Adam(0.005)):.3f}")
    try:
        resumed_with(keras.optimizers.Adam(0.02), frozen=True)
    except ValueError as error:
        print(error)
    # --8<-- [end:settings]
