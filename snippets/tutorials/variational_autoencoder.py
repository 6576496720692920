# ---
# jupyter:
#   description: "A variational autoencoder in Keras 3: a sampling layer, a model with its own train_step, and digits decoded from a plane of codes."
# ---

# %% [markdown]
# # Variational autoencoder with a custom layer and `train_step`
# <!-- search: VAE, vae example, autoencoder, latent variable model, beta-VAE, variational inference -->
# <!-- search: custom train_step example -->
#
# A variational autoencoder compresses a picture to a few numbers and draws a picture
# from any such numbers, so that it can make pictures that were in no data set. Write
# one when you want codes that lie close together and have no holes between them; to
# compress only, a plain autoencoder is enough.
#
# You build a layer that draws random numbers and lets the gradient through, and a
# model with a `train_step` of its own that adds one loss to another. At the end stands a map:
# handwritten digits, decoded from the points of a plane.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Load the digits
# <!-- search: digits dataset, MNIST -->
#
# scikit-learn carries 1,797 handwritten digits of 8 by 8 pixels, each pixel a whole
# number from 0 to 16. Divided by 16 a pixel is a number from 0 to 1, and a picture is a
# row of 64 of them. 297 pictures stay out of the training.

# %%
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.data))
pictures = (digits.data[order] / 16).astype("float32")  # (1797, 64)
labels = digits.target[order]
train, held_out = pictures[:1500], pictures[1500:]
held_out_labels = labels[1500:]
print("training:", train.shape, "held out:", held_out.shape)
print("smallest and largest pixel:", pictures.min(), pictures.max())

# %% [markdown]
# A function puts pictures into one array; it is used again below.
# A margin of one pixel makes each 10 by 10; `(rows, columns, 10, 10)` has to become
# `(rows * 10, columns * 10)`, so the axes are swapped before they are merged.


# %%
def compose(pictures, rows, columns):
    """``(rows * columns, 64)`` to one image, ``(rows * 10, columns * 10)``."""
    tiles = np.reshape(pictures, (rows, columns, 8, 8))
    tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return tiles.transpose(0, 2, 1, 3).reshape(rows * 10, columns * 10)


# %% alt="Two rows of ten handwritten digits from the training set, eight pixels high and wide each: coarse, and still readable."
fig, ax = plt.subplots(figsize=(7, 1.9))
ax.imshow(compose(train[:20], rows=2, columns=10), interpolation="none")
ax.set_axis_off()
ax.set_title("Training pictures")
plt.show()

# %% [markdown]
# ## Sample so that the gradient gets through
# <!-- search: sampling layer, reparametrization, random sampling in a layer -->
# <!-- search: sample from a normal distribution, stochastic layer, gaussian noise -->
# <!-- search: gradient through sampling -->
#
# The encoder answers a picture $x$ with a normal distribution over codes $z$: a mean
# $\mu$ and a variance $\sigma^2$ for each axis. The decoder gets one draw from it, and
# a draw has no derivative by $\mu$ or $\sigma$. Kingma and Welling (2013,
# section 2.4) draw noise that depends on neither, and compute the code from it, which
# is known as the reparameterization trick:
#
# $$z = \mu + \sigma \epsilon, \qquad \epsilon \sim N(0, 1)$$
#
# Now $z$ is a sum and a product, and has a derivative by both. The encoder returns
# $\log \sigma^2$, which may be any number, and $\sigma$ is the exponential of half of it.


# %%
@keras.saving.register_keras_serializable(package="guide")
class Sampling(keras.layers.Layer):
    """A draw from a normal distribution, with a gradient to its parameters.

    Equation 10 of Kingma and Welling, "Auto-Encoding Variational Bayes" (2013).

    Args:
        seed: Seed of the noise, or None for other noise in each run.

    Shapes:
        ``[(batch, latent), (batch, latent)]`` to ``(batch, latent)``. The
        inputs are the mean and the logarithm of the variance.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # it has no weights to wait for
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(
            ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator
        )
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


# %% [markdown]
# The `SeedGenerator` holds a counter that moves with each draw, inside a `tf.function`
# too. It is an attribute of the layer, so that Keras knows it, and the config keeps
# `seed`, so that a copy starts from the same noise.
#
# 20,000 draws with mean 1 and variance 0.25 show whether it does what it says:

# %%
mean = tf.Variable(np.full((20_000, 1), 1.0, "float32"))
log_variance = tf.Variable(np.full((20_000, 1), np.log(0.25), "float32"))
with tf.GradientTape() as tape:
    z = Sampling(seed=1)([mean, log_variance])
    total = ops.sum(z)
by_mean, by_log_variance = tape.gradient(total, [mean, log_variance])

print(f"mean of the draws {np.mean(z):.2f}, variance {np.var(z):.2f}")
difference = ops.max(ops.abs(by_mean - 1))
print(f"dz / d mean is 1, largest difference {float(difference):.1f}")
difference = ops.max(ops.abs(by_log_variance - 0.5 * (z - mean)))
print(f"dz / d log variance is sigma * noise / 2, {float(difference):.1f}")

# %% [markdown]
# Draw the same distribution with NumPy, and the numbers are as good, but there is no
# gradient: the tape sees a constant.

# %%
with tf.GradientTape() as tape:
    drawn = np.random.default_rng(1).normal(mean, np.exp(log_variance / 2))
    total = ops.sum(ops.convert_to_tensor(drawn))
print(f"mean of the draws {drawn.mean():.2f}, variance {drawn.var():.2f}")
print("gradients:", tape.gradient(total, [mean, log_variance]))

# %% [markdown]
# ## Pull the codes towards one distribution
# <!-- search: KL term, KL loss, Kullback-Leibler, VAE loss, ELBO, reconstruction loss and KL, kl_weight -->
#
# With the decoder's error alone, the encoder would make each variance tiny and spread
# the means far apart, and a point between two codes would decode to anything. The
# second loss is the Kullback-Leibler divergence from the code to $N(0, 1)$, in closed
# form (appendix B of the paper), summed over the axes $j$ of the code:
#
# $$D = \frac{1}{2} \sum_j \left( \sigma_j^2 + \mu_j^2 - 1 - \log \sigma_j^2 \right)$$
#
# The first loss is the binary cross-entropy of the pixels. It is **summed** over the
# 64 pixels, as the divergence is summed over the axes; what happens when one of the two
# is averaged stands [below](#what-goes-wrong).


# %%
def kl_divergence(mean, log_variance):
    """From ``N(mean, variance)`` to ``N(0, 1)``.

    Shapes:
        ``[(batch, latent), (batch, latent)]`` to ``(batch,)``.
    """
    terms = ops.exp(log_variance) + ops.square(mean) - 1 - log_variance
    return 0.5 * ops.sum(terms, axis=-1)  # (batch,)


def reconstruction_loss(pictures, logits):
    """Cross-entropy between pixels and logits, summed over the pixels.

    Shapes:
        ``[(batch, pixels), (batch, pixels)]`` to ``(batch,)``.
    """
    pictures = ops.cast(pictures, logits.dtype)
    pixels = ops.binary_crossentropy(pictures, logits, from_logits=True)
    return ops.sum(pixels, axis=-1)  # (batch,)


# %% [markdown]
# The definition of the divergence is an integral, $\int q \log (q / p)$. Computed
# on a fine grid with NumPy, it agrees with the formula:


# %%
def density(x, mean, variance):
    scale = np.sqrt(2 * np.pi * variance)
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / scale


codes = [(0.0, 1.0), (1.0, 1.0), (1.0, 0.1)]
x = np.linspace(-8, 8, 4001)
for mean, variance in codes:
    q, p = density(x, mean, variance), density(x, 0, 1)
    integral = np.sum(q * np.log(q / p)) * (x[1] - x[0])
    closed = kl_divergence(np.array([[mean]]), np.log([[variance]]))
    print(f"mean {mean}, variance {variance}: ", end="")
    print(f"formula {float(closed[0]):.3f}, integral {integral:.3f}")

# %% alt="Three bell curves over the code. The one with mean 0 and variance 1 has divergence 0.00; moved to mean 1 it has 0.50; narrowed to variance 0.1 as well it is tall and thin and has 1.20."
fig, ax = plt.subplots(figsize=(5, 3))
x = np.linspace(-3, 4, 150)
for (mean, variance), line in zip(codes, ("-", "--", ":"), strict=True):
    closed = kl_divergence(np.array([[mean]]), np.log([[variance]]))
    label = f"mean {mean}, variance {variance}: {float(closed[0]):.2f}"
    ax.plot(x, density(x, mean, variance), line, label=label)
ax.set_xlabel("code z")
ax.set_ylabel("density")
ax.legend(frameon=False, title="divergence from N(0, 1)")
ax.set_ylim(0, 2.4)
plt.show()

# %% [markdown]
# A code that is $N(0, 1)$ costs nothing and says nothing about its picture. To say
# something it has to move or to narrow, and both add to the loss.
#
# ## Add one loss to another in `train_step`
# <!-- search: train_step with two losses, custom train_step, track losses, Mean metric tracker -->
# <!-- search: loss_tracker, VAE train_step, metrics in train_step, add_loss in a VAE -->
# <!-- search: encoder and decoder in one model, metrics property -->
#
# The encoder has one body and two heads, for the mean and for the logarithm of the
# variance. The decoder ends in 64 logits, without an activation. What the losses are
# made of comes in the dtype of the weights: under mixed precision that is `float32`,
# and the sum over the pixels needs it.


# %%
def hidden(units, policy):
    return keras.layers.Dense(units, activation="tanh", dtype=policy)


def head(units, name, policy):
    return keras.layers.Dense(units, name=name, dtype=policy.variable_dtype)


def make_encoder(latent, units, policy):
    inputs = keras.Input((64,))
    x = hidden(units, policy)(inputs)
    x = hidden(units, policy)(x)  # (batch, units)
    mean = head(latent, "mean", policy)(x)
    log_variance = head(latent, "log_variance", policy)(x)
    return keras.Model(inputs, [mean, log_variance], name="encoder")


def make_decoder(latent, units, policy):
    inputs = keras.Input((latent,))
    x = hidden(units, policy)(inputs)
    x = hidden(units, policy)(x)  # (batch, units)
    return keras.Model(inputs, head(64, "logits", policy)(x), name="decoder")


# %% [markdown]
# The loss needs the picture, the code's distribution and the logits at once, which a
# loss function of `compile` doesn't get. `add_loss` in `call` would do, with a plain
# `fit`, but the history then holds one number, and here you want to see two.
# So the model has its own `train_step`, and a metric for each loss.
#
# `call` is what `predict` gives: the picture decoded at the mean, without noise.


# %%
@keras.saving.register_keras_serializable(package="guide")
class VAE(keras.Model):
    """A variational autoencoder of pictures with 64 pixels.

    Args:
        latent: Size of the code.
        units: Width of the hidden layers.
        kl_weight: Factor of the divergence in the loss; the paper has 1.
        seed: Seed of the noise.

    Shapes:
        ``(batch, 64)`` to ``(batch, 64)``.
    """

    def __init__(self, latent=2, units=128, kl_weight=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.latent, self.units = latent, units
        self.kl_weight, self.seed = kl_weight, seed
        self.encoder = make_encoder(latent, units, self.dtype_policy)
        self.sampling = Sampling(seed, dtype=self.dtype_policy)
        self.decoder = make_decoder(latent, units, self.dtype_policy)
        names = ("loss", "reconstruction", "kl")
        self.trackers = [keras.metrics.Mean(name=name) for name in names]

    def call(self, inputs):
        mean, _ = self.encoder(inputs)  # (batch, latent)
        return ops.sigmoid(self.decoder(mean))

    def track_losses(self, x, training=False):
        mean, log_variance = self.encoder(x, training=training)
        z = self.sampling([mean, log_variance])  # (batch, latent)
        logits = self.decoder(z, training=training)
        reconstruction = ops.mean(reconstruction_loss(x, logits))
        kl = ops.mean(kl_divergence(mean, log_variance))
        loss = reconstruction + self.kl_weight * kl
        loss = loss + sum(self.losses)  # of regularizers and `add_loss`
        values = (loss, reconstruction, kl)
        for tracker, value in zip(self.trackers, values, strict=True):
            # A short last batch counts as many as it holds, as in `fit`.
            tracker.update_state(value, sample_weight=ops.shape(x)[0])
        return loss

    def results(self):
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.track_losses(x, training=True)
            # As `fit` does it: in mixed precision, small gradients of an
            # unscaled loss are rounded to zero.
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, weights), weights)
        return self.results()

    def test_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.track_losses(x)
        return self.results()

    def get_config(self):
        return {
            **super().get_config(),
            "latent": self.latent,
            "units": self.units,
            "kl_weight": self.kl_weight,
            "seed": self.seed,
        }


# %% [markdown]
# `train_step` trains what `trainable_variables` lists, and nothing else. Layers, metrics
# and seed generators that you assign to attributes are in Keras's books; a
# `tf.Variable` isn't, and [stays as it is](../errors/layers.md#untracked-variable). Seven
# dense layers, the two heads among them, have a kernel and a bias each:

# %%
vae = VAE(seed=1)
reconstructed = vae(train)
print("reconstructed:", reconstructed.shape)
print("weights to train:", len(vae.trainable_variables))
print("numbers to train:", vae.count_params())
print("metrics:", [metric.name for metric in vae.metrics])

# %% [markdown]
# You may have seen a `metrics` property that lists the trackers. Keras 3 finds them in
# the attribute, and resets them at the start of each epoch. The sum has a tracker of
# its own, because only the built-in `train_step` and `test_step` feed the metric
# `loss` that `compile` adds. A `sample_weight` is ignored here.
#
# ## Train it
# <!-- search: learning rate cosine decay, VAE training -->
#
# Two numbers tell you what to expect. An untrained decoder gives each pixel
# about 0.5, which costs $64 \log 2 = 44.4$. Grey pixels cost something even when
# they are met exactly, and that floor can be computed.
#
# 50 epochs of 30 batches are 1,500 steps. The learning rate falls to 0 over them, along
# a cosine, so that the last epochs settle.


# %%
def floor(pictures):
    """The reconstruction loss of a decoder that returns each picture."""
    p = np.clip(pictures.astype("float64"), 1e-12, 1 - 1e-12)
    return np.mean(-np.sum(p * np.log(p) + (1 - p) * np.log(1 - p), axis=-1))


average = np.clip(train.mean(axis=0), 1e-6, 1 - 1e-6)
logits = np.log(average / (1 - average)) + 0 * held_out  # (297, 64)
of_average = np.mean(reconstruction_loss(held_out, logits))

rate = keras.optimizers.schedules.CosineDecay(0.003, decay_steps=50 * 30)
vae.compile(optimizer=keras.optimizers.Adam(rate))
before = vae.evaluate(held_out, verbose=0, return_dict=True)
print(f"before training: {before['reconstruction']:.0f}")
print(f"the average picture for each: {of_average:.1f}")
print(f"each picture exactly: {floor(held_out):.1f}")

# %%
first_weights = vae.get_weights()
history = vae.fit(
    train,
    validation_data=(held_out,),
    epochs=50,
    batch_size=50,
    validation_batch_size=297,
    verbose=0,
).history

moved = [
    not np.array_equal(now, first)
    for now, first in zip(vae.get_weights(), first_weights, strict=True)
]
print("weights that have moved:", sum(moved), "of", len(moved))
for name in ("reconstruction", "kl"):
    print(f"{name}, held out: {history['val_' + name][-1]:.1f}")

# %% alt="Two panels over 50 epochs, with training and held-out pictures close together. The reconstruction loss starts between 27 and 33 and falls to about 22. In the first five epochs the KL divergence stays between 0.5 and 2.1; at the end it is about 2.3."
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8))
epochs = np.arange(1, 51)
for ax, name in zip(axes, ("reconstruction", "kl"), strict=True):
    ax.plot(epochs, history[name], label="training")
    ax.plot(epochs, history["val_" + name], "--", label="held out")
    ax.set_xlabel("epoch")
axes[0].set_ylabel("reconstruction loss")
axes[1].set_ylabel("KL divergence")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# The dashed lines stay close to the solid ones: the model doesn't overfit. The
# reconstruction loss falls because the code says more, and the divergence rises for the
# same reason. One that stays at 0 is a [failure](#what-goes-wrong).
#
# ## Look at what it has learned
# <!-- search: latent space, plot latent space, visualize embeddings, t-SNE, cluster plot -->
# <!-- search: reconstruct images -->
#
# The upper row shows held-out digits, the lower row what comes back through two
# numbers: the average over all pictures with about that code. It is blurred, and where
# two digits share a place in the plane, one comes back as the other.

# %% alt="Ten held-out digits above their reconstructions. Several reconstructions show the same digit with softer edges, 0, 3 and 6 among them; others have turned towards a digit of a similar shape."
fig, ax = plt.subplots(figsize=(7, 1.9))
chosen = held_out[[np.argmax(held_out_labels == digit) for digit in range(10)]]
both = np.concatenate([chosen, vae.predict(chosen, verbose=0)])
ax.imshow(compose(both, rows=2, columns=10), interpolation="none")
ax.set_axis_off()
ax.set_title("Above: held-out digits. Below: their reconstructions")
plt.show()

# %% [markdown]
# No label was used in training. Each held-out picture stands at the mean of its code,
# drawn as the digit that it shows. Equal digits gather; 1, 3, 5, 8 and 9 overlap.

# %% alt="The plane of codes with 297 held-out pictures, each drawn as the digit that it shows. Equal digits gather: 0, 2, 4, 6 and 7 have places of their own around the edge, while 1, 3, 5, 8 and 9 overlap towards the middle. All lie within 3 of the origin."
means, _ = vae.encoder.predict(held_out, verbose=0)  # (297, 2)
fig, ax = plt.subplots(figsize=(5, 4.5))
for digit in range(10):
    ax.scatter(*means[held_out_labels == digit].T, s=60, marker=f"${digit}$")
ax.set_xlabel("first axis of the code")
ax.set_ylabel("second axis of the code")
ax.set(xlim=(-3, 3), ylim=(-3, 3))
plt.show()

# %% [markdown]
# The other direction needs no picture: walk over the plane and decode each point. The
# map has the axes of the plot above, and a digit stands where its cluster stands.

# %%
steps = np.linspace(-2.25, 2.25, 10)
first, second = np.meshgrid(steps, steps[::-1])  # the top row comes first
points = np.stack([first.ravel(), second.ravel()], axis=-1)  # (100, 2)
decoded = ops.sigmoid(vae.decoder.predict(points, verbose=0))
print("points:", points.shape, "pictures:", tuple(decoded.shape))

# %% alt="A map of ten by ten decoded pictures over the plane of codes from -2.5 to 2.5 on both axes. One digit passes into the next without a gap, and each lies where its cluster lies in the plot before." tags=["cover"]
fig, ax = plt.subplots(figsize=(5, 5))
image = np.round(compose(decoded, rows=10, columns=10) * 16)  # as the data
ax.imshow(image, extent=(-2.5, 2.5, -2.5, 2.5), interpolation="none")
ax.set_xlabel("first axis of the code")
ax.set_ylabel("second axis of the code")
plt.show()

# %% [markdown]
# ## What goes wrong
# <!-- search: KL vanishes, KL is zero, blurry images, sum or mean of the loss, VAE does not learn -->
# <!-- search: same noise each call, random seed in a layer, log variance -->
#
# **One loss is summed and the other averaged.** The built-in cross-entropy *averages*
# over the pixels. Beside a summed divergence it is 64 times too light, the same as
# `kl_weight=64`. The reverse, a divergence divided by the number of pixels, is
# `kl_weight=1 / 64`. Nothing is raised in either.

# %%
curves = {"both summed": history["kl"][:15]}
for name, kl_weight in ("pixels averaged", 64.0), ("KL averaged", 1 / 64):
    keras.utils.set_random_seed(1)
    wrong = VAE(kl_weight=kl_weight, seed=1)
    wrong.compile(optimizer=keras.optimizers.Adam(0.003))
    log = wrong.fit(train, epochs=15, batch_size=50, verbose=0).history
    curves[name] = log["kl"]
    spread = wrong.encoder.predict(train, verbose=0)[0].std()
    print(f"{name}: KL {log['kl'][-1]:.0f}, ", end="")
    print(f"reconstruction {log['reconstruction'][-1]:.0f}, ", end="")
    print(f"spread of the means {spread:.0f}")
spread = vae.encoder.predict(train, verbose=0)[0].std()
print(f"both summed: spread of the means {spread:.0f}")

# %% alt="KL divergence over 15 epochs for three weightings. With both losses summed it stays between 0.5 and 2. With averaged pixels it lies close to zero throughout. With an averaged KL it starts above 20, and from the second epoch on it stays between 6 and 12."
fig, ax = plt.subplots(figsize=(5, 3))
for (name, curve), line in zip(curves.items(), ("-", "--", ":"), strict=True):
    ax.plot(np.arange(1, 16), curve, line, label=name)
ax.set_xlabel("epoch")
ax.set_ylabel("KL divergence")
ax.set_xticks([1, 5, 10, 15])
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# A KL of 0 is *posterior collapse*: every picture has the code $N(0, 1)$, and the
# decoder returns the average picture, whose loss of 27 you met above. The other model
# reconstructs better, at 21, and can't be drawn from: its means spread about twice as
# wide as the $N(0, 1)$ that codes are drawn from.
#
# **The logarithm of the variance is taken for something else.** Without the factor 0.5
# the exponential is the variance and not the deviation. A head that is taken for
# the variance itself has negative values, whose root is `nan`.

# %%
log_variance = np.full((20_000, 1), np.log(0.25))
noise = np.random.default_rng(1).normal(size=(20_000, 1))
for factor in (0.5, 1.0):
    drawn = np.exp(factor * log_variance) * noise
    print(f"exp({factor} * log variance): variance {drawn.var():.2f}")

_, variances = VAE().encoder(train)
print("roots of the head that are nan:", np.isnan(ops.sqrt(variances)).any())

# %% [markdown]
# **The noise stands still.** A number as the seed of `keras.random.normal` gives the
# same noise at each call. NumPy's noise differs from call to call outside a
# `tf.function`; inside, as in `fit`, it is drawn once, while the function is traced.


# %%
def numpy_noise(mean):
    return mean + np.random.normal(size=mean.shape).astype("float32")


def fixed_seed(mean):
    return mean + keras.random.normal(mean.shape, seed=1)


sampling = Sampling(seed=1)


def sampling_layer(mean):
    return sampling([mean, ops.zeros_like(mean)])


for draw in numpy_noise, fixed_seed, sampling_layer:
    compiled = tf.function(draw)
    same = ops.all(compiled(tf.zeros((4, 2))) == compiled(tf.zeros((4, 2))))
    print(f"{draw.__name__}: the same noise twice, {bool(same)}")

# %% [markdown]
# Without any seed, `keras.random.normal` draws from a generator that the whole program
# shares: the noise moves, and depends on everything that drew from it before.
#
# ## Save the decoder and draw from it
# <!-- search: generate images, decode latent codes, save the decoder, save encoder and decoder separately -->
#
# To make pictures you need the decoder only. It is a functional model of built-in
# layers, so the file loads without the classes of this page.

# %%
vae.decoder.save("decoder.keras")
decoder = keras.saving.load_model("decoder.keras")

codes = np.random.default_rng(5).normal(size=(20, 2)).astype("float32")
drawn = ops.sigmoid(decoder(codes))  # (20, 64)
difference = ops.max(ops.abs(decoder(codes) - vae.decoder(codes)))
print("drawn:", tuple(drawn.shape))
print(f"largest difference after reloading: {float(difference):.1f}")

# %% alt="Two rows of ten pictures that the reloaded decoder made from random codes. Most are readable digits; some lie between two digits."
fig, ax = plt.subplots(figsize=(7, 1.9))
ax.imshow(compose(drawn, rows=2, columns=10), interpolation="none")
ax.set_axis_off()
ax.set_title("Decoded from random codes")
plt.show()

# %% [markdown]
# The whole `VAE` is registered and has a complete config, and `vae.save` keeps the
# optimizer's state too, because `vae(train)` was called above. `train_step` calls the
# parts and never the model: after `fit` alone the model counts as unbuilt, and the
# loaded one has its weights and a new optimizer, with no more than a warning.
#
# The counter of the noise isn't in the file: a loaded model starts again from its seed.
#
# ## What to change
#
# `latent=8` gives the code more room, and takes the plane away. How a model's arguments
# reach its file is on [create a custom model](../models/custom_model.md), and a layer's
# on [create a custom layer](../layers/custom_layer.md).
