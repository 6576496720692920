"""Contrastive learning: an encoder trained on pairs, for what it never saw."""

# --8<-- [start:encoder]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


def unit(embeddings):
    """Scale each to length 1, in float32 under mixed precision.

    Shapes: ``(batch, size)`` to ``(batch, size)``
    """
    dtype = keras.backend.result_type(embeddings.dtype, "float32")
    return ops.normalize(ops.cast(embeddings, dtype), axis=-1)


def nt_xent(first, second, temperature):
    """Return the loss of each pair: Chen et al. 2020, arXiv:2002.05709, eq. 1.

    Each of the two has to tell the other from all that are in the batch.

    Shapes: ``[(batch, size), (batch, size)]`` to ``(batch,)``
    """
    both = unit(ops.concatenate([first, second]))
    logits = ops.matmul(both, ops.transpose(both)) / temperature
    batch = ops.shape(first)[0]
    logits -= 1e9 * ops.eye(2 * batch, dtype=both.dtype)  # not itself
    rows = ops.arange(batch)
    losses = keras.losses.sparse_categorical_crossentropy(
        ops.concatenate([rows + batch, rows]), logits, from_logits=True
    )
    return ops.mean(ops.reshape(losses, (2, -1)), axis=0)


@keras.saving.register_keras_serializable(package="guide")
class PairEncoder(keras.Model):
    """An encoder, trained on pairs that belong together.

    Shapes:
        ``[(batch, features), (batch, features)]`` to
        ``[(batch, size), (batch, size)]``
    """

    def __init__(self, size=8, temperature=0.2, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.temperature = temperature
        self.encoder = keras.Sequential(
            [
                keras.layers.Dense(64, "relu", dtype=self.dtype_policy),
                keras.layers.Dense(size, dtype=self.dtype_policy),
            ]
        )

    def build(self, input_shape):
        self.encoder.build(input_shape[0])

    def call(self, pair, training=False):
        return [self.encoder(one, training=training) for one in pair]

    def losses_of_pairs(self, first, second):
        return nt_xent(first, second, self.temperature)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        losses = self.losses_of_pairs(*y_pred)
        if sample_weight is not None:
            weights = ops.reshape(sample_weight, (-1,))  # one for each pair
            losses *= ops.cast(weights, losses.dtype)
        penalties = (ops.cast(one, losses.dtype) for one in self.losses)
        return ops.mean(losses) + sum(penalties)  # of regularizers, too

    def get_config(self):
        own = {"size": self.size, "temperature": self.temperature}
        return {**super().get_config(), **own}


# --8<-- [end:encoder]


# --8<-- [start:triplet]
@keras.saving.register_keras_serializable(package="guide")
class TripletEncoder(PairEncoder):
    """Trained on triplets: Schroff et al. 2015, arXiv:1503.03832, eq. 3.

    Shapes:
        ``[(batch, features), (batch, features)]`` to
        ``[(batch, size), (batch, size)]``
    """

    def losses_of_pairs(self, first, second):
        anchor, positive = unit(first), unit(second)
        negative = ops.roll(positive, 1, axis=0)  # of another pair
        near = ops.sum(ops.square(anchor - positive), axis=-1)
        far = ops.sum(ops.square(anchor - negative), axis=-1)
        return ops.relu(near - far + 0.5)  # with a margin


# --8<-- [end:triplet]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    of_person, of_day = rng.normal(size=(2, 6, 32))

    def photograph(people):
        """Return 32 numbers of each person and a day: half are negatives."""
        days = rng.normal(size=people.shape)
        mixed = people @ of_person + 0.5 * days @ of_day
        noise = 0.1 * rng.normal(size=mixed.shape)
        signs = rng.choice([-1, 1], size=(len(people), 1))
        return (signs * np.tanh(0.4 * mixed + noise)).astype("float32")

    people, strangers = np.split(rng.normal(size=(2200, 6)), [2000])
    pairs = photograph(people), photograph(people)
    data = tf.data.Dataset.from_tensor_slices((pairs,))  # a tuple of one
    batches = data.shuffle(2000).batch(200, drop_remainder=True)

    on_two_days = photograph(strangers), photograph(strangers)

    def recognized(encode):
        """Return the share of the strangers who are nearest to their own."""
        first, second = (
            ops.normalize(encode(pictures), axis=-1) for pictures in on_two_days
        )
        nearest = ops.argmax(ops.matmul(first, ops.transpose(second)), axis=1)
        return np.mean(nearest == np.arange(200))

    model = PairEncoder()
    model.compile(keras.optimizers.Adam(0.005))
    print(f"as they are: {recognized(lambda x: x):.1f}")
    model.build([(None, 32), (None, 32)])
    print(f"not trained: {recognized(model.encoder):.1f}")
    model.fit(batches, epochs=15, shuffle=False, verbose=0)
    print(f"trained on pairs: {recognized(model.encoder):.1f}")

    model.encoder.save("encoder.keras")  # holds built-in layers only
    encoder = keras.saving.load_model("encoder.keras")
    x = on_two_days[0]
    print("reloaded, same:", np.allclose(encoder(x), model.encoder(x)))
    # --8<-- [end:program]

    # --8<-- [start:itself_fails]
    def with_itself(first, second, temperature):
        both = unit(ops.concatenate([first, second]))
        logits = ops.matmul(both, ops.transpose(both)) / temperature
        batch = ops.shape(first)[0]
        others = ops.roll(ops.arange(2 * batch), batch)
        return keras.losses.sparse_categorical_crossentropy(
            others, logits, from_logits=True
        )

    told_apart = ops.eye(8)  # eight pairs, each at a right angle to the others
    for loss_of in (nt_xent, with_itself):
        loss = ops.mean(loss_of(told_apart, told_apart, 0.05))
        print(f"{loss_of.__name__}: {loss:.2f}")
    # --8<-- [end:itself_fails]

    # --8<-- [start:by_size]
    for batch in (8, 64, 512):
        alike = ops.ones((batch, 8))
        loss = ops.mean(nt_xent(alike, alike, 0.2))
        print(f"batch of {batch}: {loss:.2f}")
    # --8<-- [end:by_size]

    # --8<-- [start:triplets]
    keras.utils.set_random_seed(7)
    model = TripletEncoder()
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(batches, epochs=15, shuffle=False, verbose=0)
    print(f"trained on triplets: {recognized(model.encoder):.1f}")
    # --8<-- [end:triplets]

    # --8<-- [start:collapse_fails]
    class Attracted(PairEncoder):
        def losses_of_pairs(self, first, second):
            return ops.mean(ops.square(first - second), axis=-1)

    twice = tf.data.Dataset.from_tensor_slices(((pairs[0], pairs[0]),))
    trials = {
        "no other pairs": (Attracted(), batches),
        "the same view twice": (PairEncoder(), twice.batch(200)),
    }
    for name, (model, data) in trials.items():
        model.compile(keras.optimizers.Adam(0.005))
        model.fit(data, epochs=5, shuffle=False, verbose=0)
        loss = model.evaluate(data, verbose=0)
        most = recognized(model.encoder) > 0.5
        print(f"{name}: loss {loss:.1f}, recognizes most: {most}")
    # --8<-- [end:collapse_fails]
