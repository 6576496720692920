# ---
# jupyter:
#   description: Build a small transformer from custom Keras layers, train it to reverse digit sequences, and read its masks and attention maps.
# ---

# %% [markdown]
# # Build a transformer from custom layers
# <!-- search: transformer from scratch, transformer encoder example, attention is all you need -->
# <!-- search: encoder only transformer, BERT from scratch, sequence model -->
# <!-- search lacks: transformer decoders and text, GPT, decoder, causal mask, causal attention -->
# <!-- search lacks: transformer decoders and text, language model, text generation, text classification -->
# <!-- search lacks: transformer decoders and text, cross-attention, machine translation, tokenizer -->
# <!-- search lacks: transformer decoders and text, TextVectorization, NLP, LLM -->
# <!-- search lacks: vision transformers, vision transformer, ViT, patch embedding -->
#
# A transformer encoder lets each token of a sequence read from all the others, by
# weights that it computes. Write the layers out when you want to see those weights or
# to change how they are made. Otherwise use `keras.layers.MultiHeadAttention`; called on
# data, as in a model or layer of your own, it
# [removes the mask from its input](../errors/layers.md#mask-lost).
#
# The task is to write a sequence of digits backwards. The sequences have 3 to 12 digits,
# so each token needs to know where its sequence ends before it can find its partner.
# The attention is that of *Attention Is All You Need* (Vaswani et al., 2017).

# %%
import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

keras.utils.set_random_seed(2)

# %% [markdown]
# ## Pad the sequences
# <!-- search: pad_sequences, padding token, batch of different lengths, variable length input -->
#
# A batch is an array, so each sequence is filled up to 12 places. The token 0 stands
# for padding and nothing else: the digits 0 to 9 are the tokens 1 to 10. The target
# of place $i$ in a sequence of length $n$ is the token at place $n - 1 - i$.
#
# Of the 1,000 sequences of 3 digits, chance would put many into both sets. Training
# sequences that occur in the test are left out.

# %%
PLACES = 12
DIGITS = 10


def reversal(lengths, rng):
    """Tokens and targets, each ``(samples, PLACES)``, of these lengths."""
    places = np.arange(PLACES)
    ends = lengths[:, None]
    real = places < ends  # (samples, places)
    digits = rng.integers(1, DIGITS + 1, size=real.shape)
    tokens = np.where(real, digits, 0)
    mirror = np.where(real, ends - 1 - places, places)
    targets = np.take_along_axis(tokens, mirror, axis=1)
    return tokens.astype("int32"), targets.astype("int32")


rng = np.random.default_rng(2)
test = reversal(np.repeat(np.arange(3, PLACES + 1), 50), rng)
drawn = reversal(rng.integers(3, PLACES + 1, size=25000), rng)
held_back = {row.tobytes() for row in test[0]}
new = [row.tobytes() not in held_back for row in drawn[0]]
train = [each[new][: 360 * 64] for each in drawn]  # 360 steps of 64
print("training sequences:", train[0].shape, "test:", test[0].shape)
shared = held_back & {row.tobytes() for row in train[0]}
print("in both:", len(shared))
print("tokens: ", train[0][1])
print("targets:", train[1][1])
print(f"padding: {np.mean(test[0] == 0):.3f} of the places of the test")

# %% [markdown]
# ## Embed tokens and make the mask
# <!-- search: positional encoding, position embedding, token embedding, learned positional embedding -->
# <!-- search: Embedding layer mask, compute_mask, custom embedding layer, mask from padding -->
#
# Attention treats its input as a set: without a sign of its place, a 7 at the start and
# a 7 at the end are the same. So each token becomes a row of one table, and the row of
# its place in a second table, a learned positional encoding, is added.
#
# This layer sees the token numbers, so it knows which are padding, and returns that from
# `compute_mask`. Keras attaches the mask to the output and passes it to the next layer
# whose `call` takes a `mask`.


# %%
@keras.saving.register_keras_serializable(package="guide")
class TokenAndPosition(keras.layers.Layer):
    """A learned vector for each token, plus one for its place.

    The token 0 is padding. Its places are False in the mask.

    Args:
        tokens: Number of tokens, padding included.
        places: Length of the longest sequence.
        features: Size of the vectors.

    Shapes:
        ``(batch, time)`` to ``(batch, time, features)``.
    """

    def __init__(self, tokens, places, features, **kwargs):
        # 16 bits would round the numbers of tokens, where they are floats.
        super().__init__(autocast=False, **kwargs)
        self.tokens = tokens
        self.places = places
        self.features = features
        self.supports_masking = True

    def build(self, input_shape):
        wide = keras.initializers.RandomNormal(stddev=1.0)
        self.by_token = self.add_weight(
            name="by_token",
            shape=(self.tokens, self.features),
            initializer=wide,
        )
        self.by_place = self.add_weight(
            name="by_place",
            shape=(self.places, self.features),
            initializer=wide.clone(),  # numbers of its own
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.features)

    def compute_mask(self, inputs, previous_mask=None):
        return ops.not_equal(inputs, 0)  # (batch, time)

    def call(self, inputs):
        tokens = ops.cast(inputs, "int32")  # Keras may build it on floats
        by_token = ops.take(self.by_token, tokens, axis=0)
        by_place = self.by_place[: ops.shape(inputs)[1]]  # (time, features)
        x = by_token + by_place  # (batch, time, features)
        return ops.cast(x, self.compute_dtype)


# %% [markdown]
# For the sequence 7 2 5 0 9, padded:

# %%
embed = TokenAndPosition(DIGITS + 1, PLACES, features=8)
short = np.array([[8, 3, 6, 1, 10] + [0] * 7], dtype="int32")  # 7 2 5 0 9
print("embedded:", embed(short).shape)
print("mask:", np.asarray(embed.compute_mask(short)[0]).astype(int))

# %% [markdown]
# ## Write multi-head self-attention
# <!-- search: self-attention from scratch, scaled dot-product attention, attention layer -->
# <!-- search: custom attention layer, query key value, attention mask, attention weights -->
# <!-- search: return attention scores, mask the padding in attention, compute_output_spec -->
#
# Each token asks with a query $q$, and answers with a key $k$ and a value $v$, all three
# linear maps of its vector. The weight that token $i$ gives to token $j$ is a softmax
# over $j$ of how well query and key agree:
#
# $$a_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt{d})}{\sum_m \exp(q_i \cdot k_m / \sqrt{d})}$$
#
# Token $i$ receives $\sum_j a_{ij} v_j$. A layer has several heads, each with its own
# three maps to $d$ numbers and its own weights $a$; a last map combines their results.
#
# The sum in the denominator runs over real tokens only. The layer makes the score of a
# padded key so low that its exponential is 0; adding more padding then changes nothing.
# A row of padding alone has no real key, and its weights are even.


# %%
@keras.saving.register_keras_serializable(package="guide")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention, as in section 3.2 of Vaswani et al., 2017.

    Args:
        heads: Number of heads.
        size: Length of a query, key or value, ``d`` in the equation.

    Shapes:
        ``(batch, time, features)`` to ``(batch, time, features)``. The
        attention scores are ``(batch, heads, time, time)``: the query's
        place, then the key's.
    """

    def __init__(self, heads, size, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.size = size
        self.supports_masking = True  # the mask is passed on as it came

    def build(self, input_shape):
        split = (input_shape[-1], self.heads, self.size)
        self.query = self.add_weight(name="query", shape=split)
        self.key = self.add_weight(name="key", shape=split)
        self.value = self.add_weight(name="value", shape=split)
        joined = (self.heads, self.size, input_shape[-1])
        self.output_map = self.add_weight(name="output", shape=joined)

    def agreement(self, inputs, mask=None):
        """What the softmax gets: ``(batch, heads, query, key)``."""
        # Scaled first: float16 products may overflow.
        query = ops.einsum("btf,fhd->bthd", inputs, self.query) / self.size**0.5
        key = ops.einsum("btf,fhd->bthd", inputs, self.key)
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key)
        if mask is not None:
            # exp(-10000) is 0, and 10000 still fits into 16 bits
            scores = ops.where(mask[:, None, None, :], scores, -1e4)
        return scores  # (batch, heads, time, time)

    def call(self, inputs, mask=None, return_attention_scores=False):
        weights = ops.softmax(self.agreement(inputs, mask), axis=-1)
        value = ops.einsum("btf,fhd->bthd", inputs, self.value)
        mixed = ops.einsum("bhqk,bkhd->bqhd", weights, value)
        outputs = ops.einsum("bqhd,hdf->bqf", mixed, self.output_map)
        return (outputs, weights) if return_attention_scores else outputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(
        self, inputs, mask=None, return_attention_scores=False
    ):
        dtype = self.compute_dtype
        outputs = keras.KerasTensor(inputs.shape, dtype=dtype)
        if not return_attention_scores:
            return outputs
        batch, time, _ = inputs.shape
        shape = (batch, self.heads, time, time)
        return outputs, keras.KerasTensor(shape, dtype=dtype)


# %% [markdown]
# `compute_output_spec` is needed because `call` returns one tensor or two, which
# [`compute_output_shape`](../layers/custom_layer.md) can't say.
#
# `call` takes a `mask`, and Keras fills it in from what is attached to the inputs. A
# `keras.layers.MultiHeadAttention` without biases, given the same weights and key mask,
# returns the same numbers, if each query has a score far above -10000 for a real key.

# %%
vectors = np.random.normal(size=(4, 7, 16)).astype("float32")
real = np.arange(7) < np.array([[7], [5], [2], [3]])  # (batch, time)

layer = SelfAttention(heads=2, size=8)
builtin = keras.layers.MultiHeadAttention(2, key_dim=8, use_bias=False)
layer(vectors), builtin(vectors, vectors)
layer.set_weights(builtin.get_weights())

ours = layer(vectors, mask=real, return_attention_scores=True)
theirs = builtin(
    vectors,
    vectors,
    attention_mask=real[:, None, :],
    return_attention_scores=True,
)
for what, one, other in zip(("outputs", "scores"), ours, theirs, strict=True):
    difference = float(ops.max(ops.abs(one - other)))
    print(f"{what} {one.shape}: they differ by {difference:.5f}")

# %% [markdown]
# The axis of the softmax is easy to get wrong, because both time axes have the same
# length and every shape stays right. The weights of a query have to add up to 1 over the
# keys, the last axis.

# %%
for axis in (-1, -2):
    weights = ops.softmax(layer.agreement(vectors), axis=axis)
    rows = np.sum(weights, axis=-1)
    print(f"axis={axis}: {weights.shape}, ", end="")
    print(f"rows add up to between {rows.min():.2f} and {rows.max():.2f}")

# %% [markdown]
# ## Stack encoder blocks into a model
# <!-- search: transformer block, encoder block, feed-forward block, pre-norm -->
# <!-- search: residual and layer normalization, stack of blocks, pass the mask on -->
#
# A block adds two things to each token: what attention brings from all tokens, and what
# two dense layers compute from the token alone. Each of them gets normalized inputs, and
# the sum isn't normalized inside the block: this *pre-norm* order trains without a
# warm-up of the learning rate (Xiong et al., 2020).
#
# A sum such as `inputs + found` is a new tensor without a mask. So the block passes the
# mask to the attention as an argument, and `supports_masking` attaches it to what the
# block returns.


# %%
@keras.saving.register_keras_serializable(package="guide")
class EncoderBlock(keras.layers.Layer):
    """Self-attention and two dense layers, each added to its input.

    Args:
        features: Size of a token's vector, a multiple of ``heads``.
        heads: Number of heads.
        hidden: Width between the two dense layers.

    Raises:
        ValueError: If ``features`` isn't a multiple of ``heads``.

    Shapes:
        ``(batch, time, features)`` to ``(batch, time, features)``, with the
        attention scores ``(batch, heads, time, time)`` if they are asked for.
    """

    def __init__(self, features, heads, hidden, **kwargs):
        super().__init__(**kwargs)
        if features % heads:
            raise ValueError(f"{features} isn't a multiple of {heads} heads")
        dtype = self.dtype_policy  # the parts compute as the block does
        norm = keras.layers.LayerNormalization
        dense = keras.layers.Dense
        self.before_attention = norm(dtype=dtype)
        self.attention = SelfAttention(heads, features // heads, dtype=dtype)
        self.before_dense = norm(dtype=dtype)
        self.widen = dense(hidden, activation="relu", dtype=dtype)
        self.narrow = dense(features, dtype=dtype)
        self.supports_masking = True

    def build(self, input_shape):
        self.before_attention.build(input_shape)
        self.attention.build(input_shape)
        self.before_dense.build(input_shape)
        self.widen.build(input_shape)
        self.narrow.build((*input_shape[:-1], self.widen.units))

    def call(self, inputs, mask=None, return_attention_scores=False):
        found, weights = self.attention(
            self.before_attention(inputs),
            mask=mask,
            return_attention_scores=True,
        )
        x = inputs + found  # (batch, time, features)
        x = x + self.narrow(self.widen(self.before_dense(x)))
        return (x, weights) if return_attention_scores else x

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(
        self, inputs, mask=None, return_attention_scores=False
    ):
        return self.attention.compute_output_spec(
            inputs, mask, return_attention_scores
        )


# %% [markdown]
# The model embeds, runs the blocks, normalizes once at the end and computes a logit for
# each token at each place. The logits have the dtype of the weights, `float32` under mixed
# precision too. Its arguments stand in `get_config`, because Keras records those of a layer
# but [not those of a model](../errors/saving.md#default-arguments-saved).


# %%
@keras.saving.register_keras_serializable(package="guide")
class Transformer(keras.Model):
    """An encoder that gives each place of a sequence a token.

    Args:
        tokens: Number of tokens, padding included.
        places: Length of the longest sequence.
        features: Size of a token's vector, a multiple of ``heads``.
        heads: Number of heads in each block.
        blocks: Number of blocks.

    Shapes:
        ``(batch, time)`` to ``(batch, time, tokens)``: logits, with a list of
        each block's attention scores if they are asked for.
    """

    def __init__(self, tokens, places, features, heads, blocks, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the layers cast
        self.tokens = tokens
        self.places = places
        self.features = features
        self.heads = heads
        dtype = self.dtype_policy  # the layers compute as the model does
        self.embed = TokenAndPosition(tokens, places, features, dtype=dtype)
        self.blocks = [
            EncoderBlock(features, heads, 4 * features, dtype=dtype)
            for _ in range(blocks)
        ]
        self.norm = keras.layers.LayerNormalization(dtype=dtype)
        self.classify = keras.layers.Dense(tokens, dtype=self.variable_dtype)

    def call(self, inputs, return_attention_scores=False):
        x, scores = self.embed(inputs), []
        for block in self.blocks:
            x, weights = block(x, return_attention_scores=True)
            scores.append(weights)
        logits = self.classify(self.norm(x))
        return (logits, scores) if return_attention_scores else logits

    def get_config(self):
        return {
            **super().get_config(),
            "tokens": self.tokens,
            "places": self.places,
            "features": self.features,
            "heads": self.heads,
            "blocks": len(self.blocks),
        }


# %% [markdown]
# Two blocks of two heads are enough here. Before any training one thing has to hold:
# the logits of 7 2 5 0 9 are the same with 7 places of padding behind it and with none.

# %%
model = Transformer(DIGITS + 1, PLACES, features=48, heads=2, blocks=2)
logits, scores = model(short, return_attention_scores=True)
print("logits:", logits.shape, "scores:", [tuple(a.shape) for a in scores])
print("parameters:", model.count_params())

difference = ops.max(ops.abs(logits[:, :5] - model(short[:, :5])))
print(f"with and without padding: they differ by {float(difference):.4f}")

# %% [markdown]
# ## Train it
# <!-- search: train a transformer, masked loss, padded tokens in the loss, loss over sequences -->
#
# First the attention of the untrained model. Each row of a map is a place that asks,
# labelled with the digit that belongs there in the reversed sequence. Each column is a
# token that it can read from, and a row adds up to 1.
#
# The weights have no pattern yet: all lie around 0.2, an even share of 5 tokens.


# %%
def draw_map(ax, weights, digits, title):
    """One head's weights ``(query, key)`` on the places of ``digits``."""
    size = len(digits)
    image = ax.imshow(
        weights[:size, :size], vmin=0, vmax=1, interpolation="none"
    )
    ax.set_xticks(range(size), digits)
    ax.set_yticks(range(size), digits[::-1])
    ax.set(title=title, xlabel="token read", ylabel="token to write")
    return image


# %% alt="Two maps of 5 by 5 weights, the first head of each block, for the sequence 7 2 5 0 9. The columns are the tokens read, the rows the tokens to write. All weights lie around 0.2, without a pattern."
fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for number, (ax, weights) in enumerate(zip(axes, scores, strict=True), 1):
    weights = np.asarray(weights[0, 0])  # first sequence, first head
    title = f"block {number}, head 1"
    image = draw_map(ax, weights, [7, 2, 5, 0, 9], title)
fig.colorbar(image, ax=axes, label="attention weight")
plt.show()

# %% [markdown]
# The loss is the cross-entropy of each place. The logits carry the mask, because every
# layer down to the last propagates it, and Keras applies it to the loss and to the
# accuracy: padded places count in neither.
#
# The test is the validation data too. If you choose the epoch or an option by it, hold
# back one more set.

# %%
steps, rounds = 15, 24
model.compile(
    optimizer=keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(3e-3, steps * rounds)
    ),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(
    *train,
    batch_size=64,
    steps_per_epoch=steps,
    epochs=rounds,
    validation_data=test,
    validation_batch_size=500,
    verbose=0,
).history


# %%
def accuracy(logits, tokens, targets):
    """Share of the real tokens that are right."""
    right = np.argmax(logits, axis=-1) == targets  # (batch, time)
    return np.mean(right[tokens != 0])


tokens, targets = test
logits, scores = model(tokens, return_attention_scores=True)
print(f"accuracy that fit reports:   {history['val_accuracy'][-1]:.2f}")
print(f"accuracy on the real tokens: {accuracy(logits, *test):.2f}")

right = (np.argmax(logits, axis=-1) == targets) | (tokens == 0)
print(f"sequences without an error:  {np.mean(right.all(axis=1)):.2f}")

# %% [markdown]
# ## Read the attention maps
# <!-- search: visualize attention, attention map, attention heatmap, plot attention weights -->
# <!-- search: attention visualization -->
#
# The token to write at a place is the mirrored one. How much weight each head gives to
# it, as a mean over the places of a sequence and then over the test:


# %%
def mirrored_weight(scores, lengths):
    """Mean weight of each head on the token that a place has to write."""
    means = []
    for weights, size in zip(np.asarray(scores), lengths, strict=True):
        places = np.arange(size)
        mirrored = weights[:, places, places[::-1]]  # (heads, size)
        means.append(mirrored.mean(axis=-1))
    return np.mean(means, axis=0)


lengths = np.sum(tokens != 0, axis=1)
for number, weights in enumerate(scores, 1):
    least = min(mirrored_weight(weights, lengths))  # of both heads
    least = np.floor(10 * least) / 10  # rounded down: processors differ
    print(f"block {number}: at least {least:.1f} on the mirrored token")

# %% [markdown]
# The second block does the reversing. One call gives the maps of all four heads for a
# sequence, padded as before.


# %%
def draw_heads(axes, model, digits):
    """Each block in a row, each head in a column, for one sequence."""
    row = np.zeros((1, PLACES), dtype="int32")
    row[0, : len(digits)] = np.array(digits) + 1
    _, scores = model(row, return_attention_scores=True)
    for number, (line, weights) in enumerate(zip(axes, scores, strict=True), 1):
        for head, ax in enumerate(line):
            title = f"block {number}, head {head + 1}"
            image = draw_map(ax, np.asarray(weights[0, head]), digits, title)
    return image


# %% [markdown]
# In the second block, most bright cells stand where both labels are the same: the
# antidiagonal of a 5 by 5 map.

# %% alt="Four maps of 5 by 5 weights for the sequence 7 2 5 0 9. Both heads of block 2 have most of their weight on the antidiagonal, where the token read is the token to write. The first rows of block 1 lean to the right, to the last tokens of the sequence." tags=["cover"]
fig, axes = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
image = draw_heads(axes, model, [7, 2, 5, 0, 9])
fig.colorbar(image, ax=axes, label="attention weight")
plt.show()

# %% [markdown]
# With 12 digits it is the antidiagonal of a 12 by 12 map. In the first row the weight
# has moved from place 4 to places 10 and 11. Block 2 knows the end of the sequence mostly
# from block 1, whose first rows look for it.

# %% alt="Four maps of 12 by 12 weights for a sequence of 12 digits. Both heads of block 2 follow the antidiagonal from corner to corner, with some weight on the cells beside it. In block 1 the first rows look at the last tokens and the last rows at the first tokens."
fig, axes = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
image = draw_heads(axes, model, [3, 9, 1, 6, 0, 8, 2, 7, 4, 5, 1, 6])
fig.colorbar(image, ax=axes, label="attention weight")
plt.show()

# %% [markdown]
# ## What goes wrong
#
# ### The mask gets lost
# <!-- search: mask disappears, mask not propagated, layer drops the mask -->
#
# A layer without `supports_masking` between the embedding and the blocks
# [is enough](../errors/layers.md#mask-lost).
# `MaskedGain` is the right form of `Gain`, one line longer. Both get the factor 1, so
# they can change only the mask.


# %%
@keras.saving.register_keras_serializable(package="guide")
class Gain(keras.layers.Layer):
    """Multiply by a constant. A mask ends here, and it should not.

    Shapes:
        ``(batch, ...)`` to ``(batch, ...)``.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="guide")
class MaskedGain(Gain):
    """The same, and it propagates the mask.

    Shapes:
        ``(batch, ...)`` to ``(batch, ...)``.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(factor, **kwargs)
        self.supports_masking = True


# %% [markdown]
# Connect the trained layers again with such a layer in between. No weight changes.


# %%
def with_layer(model, between):
    """Logits and attention scores, with a layer after the embedding."""
    inputs = keras.Input((PLACES,), dtype="int32")
    x, scores = between(model.embed(inputs)), []
    for block in model.blocks:
        x, weights = block(x, return_attention_scores=True)
        scores.append(weights)
    logits = model.classify(model.norm(x))
    return keras.Model(inputs, (logits, scores))


padded = lengths < PLACES
for between in (MaskedGain(1.0), Gain(1.0)):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lost_logits, lost_scores = with_layer(model, between)(tokens)
    print(type(between).__name__, end=": ")
    for rows, which in ((~padded, "12 digits"), (padded, "fewer")):
        some = (one[rows] for one in (np.asarray(lost_logits), *test))
        print(f"{which} {accuracy(*some):.1f}", end=", ")
    print("warnings:", len(caught))
print(*str(caught[0].message).split(". "), sep="\n  ")

# %% [markdown]
# Keras warns and continues. The softmax now includes the padding, and where most of the row
# is padding, most of the weight goes there.

# %%
for size in (3, 6, 9):
    some = np.asarray(lost_scores)[:, lengths == size]
    padding = some[..., :size, size:]  # real queries, padded keys
    padding = padding.sum(axis=-1).mean()
    print(f"{size} digits: {padding:.1f} of the weight on padding")

# %% [markdown]
# Sequences of 12 digits have no padding and stay right: a test on them alone doesn't show
# the fault.

# %% alt="Token accuracy for each length from 3 to 12 digits, as pairs of bars. With the mask all bars are close to 1.0. With the mask lost those for 3 to 10 digits stay below 0.25, most of them near the dotted line of guessing at 0.1; the bar for 11 is higher than guessing, and the bar for 12 close to 1.0."
fig, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
sizes = np.arange(3, PLACES + 1)
for shift, given, label in (
    (-0.2, logits, "with the mask"),
    (0.2, lost_logits, "mask lost"),
):
    means = []
    for size in sizes:
        rows = lengths == size
        means.append(accuracy(given[rows], tokens[rows], targets[rows]))
    ax.bar(sizes + shift, means, width=0.4, label=label)
ax.axhline(1 / DIGITS, color="C2", linestyle=":", label="guessing")
ax.set(xlabel="digits in the sequence", ylabel="token accuracy", xticks=sizes)
ax.set(yticks=np.linspace(0, 1, 6), ylim=(0, 1.3))
ax.legend(frameon=False, loc="upper left", ncols=3, columnspacing=1)
plt.show()

# %% [markdown]
# ### Padding is counted
# <!-- search: padding counted in the loss, sample_weight for padding, masked accuracy -->
# <!-- search: ignore padding in loss and metrics, temperature on logits -->
#
# A mask is attached to one tensor, and an operation outside a layer returns a new tensor
# without it. Dividing the logits by a temperature of 1 changes no number, but from then
# on losses and metrics count the padding.

# %%
nothing = ops.one_hot(0 * targets, DIGITS + 1)  # always token 0, padding

for what, given in (
    ("the model's logits", logits),
    ("the model's logits / 1.0", logits / 1.0),
    ("a model that only writes padding", nothing),
):
    metric = keras.metrics.SparseCategoricalAccuracy()
    metric.update_state(targets, given)
    print(f"{what}: {float(metric.result()):.3f}")

# %% [markdown]
# The same logits look worse, because nothing trained the model to write padding: 0.625 is
# the share of real tokens. A model that writes only padding scores the rest, 0.375.
#
# To compute with logits before the loss, use a layer that propagates the mask, or pass
# `sample_weight`, 1 for real tokens and 0 for padding. `fit` uses it in the loss and
# `weighted_metrics`, not `metrics`. The loss still divides by all places.

# %%
weight = (tokens != 0).astype("float32")
for what, given in (("logits / 1.0", logits / 1.0), ("padding", nothing)):
    metric = keras.metrics.SparseCategoricalAccuracy()
    metric.update_state(targets, given, sample_weight=weight)
    print(f"{what}: {float(metric.result()):.3f}")

# %% [markdown]
# ## Save it and load it
#
# The classes are registered and their arguments are recorded, so the file is enough, in
# a program that [imports the classes](../errors/saving.md#could-not-locate-class) first.
# The mask comes back too, since the embedding computes it.

# %%
model.save("transformer.keras")
reloaded = keras.saving.load_model("transformer.keras")

difference = ops.max(ops.abs(model(tokens) - reloaded(tokens)))
print(f"largest difference of the logits: {float(difference):.1f}")
written = np.argmax(reloaded(short), axis=-1)[0, :5] - 1
print("7 2 5 0 9 backwards:", *written)

# %% [markdown]
# To go on, sort the digits, with `np.sort` on the real places of each row: the
# place to read then depends on all digits.
