# ---
# jupyter:
#   description: "A diffusion model of points in the plane in Keras 3, with a time embedding layer, a training loop from scratch, and samples drawn from noise."
# ---

# %% [markdown]
# # Diffusion model with a training loop from scratch
# <!-- search: DDPM, denoising diffusion, diffusion model example, generative model, noise to image -->
# <!-- search: stable diffusion, ddim -->
#
# A diffusion model learns to take noise out of data, a little at a time, and then makes
# new data out of noise alone. Points in the plane show all of it: the model is small,
# trains in seconds, and what it makes can be held against the truth.
#
# You write the layer that tells the model the time, the model that predicts the noise,
# and a training loop of your own with `tf.GradientTape` and `tf.function`. The method
# is that of Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020).

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops

keras.utils.set_random_seed(1)

STEPS = 100

# %% [markdown]
# ## Make the data
#
# The points lie along a spiral of a little more than one turn, with a deviation of 0.05 around
# it. 2,000 of them train the model, and 500 others say how near a good sample lies.


# %%
def spiral(count, seed):
    """Points along a spiral."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(rng.uniform(0.06, 1, count))
    angle = 3 * np.pi * radius
    points = 2 * radius * np.stack([np.cos(angle), np.sin(angle)])
    noise = rng.normal(scale=0.05, size=(count, 2))
    return (points.T + noise).astype("float32")  # (count, 2)


def nearest(points, others):
    """Mean distance of each point to the nearest of the others."""
    differences = points[:, None] - others[None]  # (points, others, 2)
    return np.sqrt(np.sum(differences**2, axis=-1)).min(axis=1).mean()


train, held_out = spiral(2000, seed=0), spiral(500, seed=1)
noise = np.random.default_rng(2).normal(size=(500, 2))
print("training:", train.shape, "held out:", held_out.shape)
print(f"mean distance to the data, held out: {nearest(held_out, train):.2f}")
print(f"mean distance to the data, pure noise: {nearest(noise, train):.2f}")

# %% [markdown]
# ## Turn data into noise
# <!-- search: forward process, noise schedule, beta schedule, add noise, alpha bar, forward diffusion -->
#
# Each of $T = 100$ steps shrinks the point a little and adds a little noise, of
# variance $\beta_t$. With $\bar\alpha_t = (1 - \beta_1) \cdots (1 - \beta_t)$, any
# number of steps is one step (equation 4 of the paper):
#
# $$x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \epsilon,
# \qquad \epsilon \sim N(0, 1)$$
#
# The arrays get an entry for $t = 0$, no noise at all, so that index `t` means step
# $t$ everywhere.


# %%
def make_schedule(steps):
    """``beta`` and ``alpha_bar`` of step 0 to ``steps``."""
    betas = np.linspace(0.1, 20, steps) / steps  # (steps,)
    betas = np.concatenate([[0.0], betas])  # (steps + 1,)
    return betas.astype("float32"), np.cumprod(1 - betas).astype("float32")


def diffuse(x, t, noise):
    """The points after ``t`` steps, in one.

    Shapes:
        ``[(batch, 2), (batch, 1), (batch, 2)]`` to ``(batch, 2)``. The second
        are whole numbers.
    """
    alpha_bar = ops.take(alpha_bars, t)  # (batch, 1)
    x = ops.sqrt(alpha_bar) * x + ops.sqrt(1 - alpha_bar) * noise
    return x  # (batch, 2)


betas, alpha_bars = make_schedule(STEPS)
print("entries:", len(alpha_bars))
for t in 0, 4, 20, 100:
    print(f"t = {t}: {alpha_bars[t]:.3f} of the variance is data")

# %% [markdown]
# The closed form against the steps themselves: 100,000 copies of one point, walked 40
# steps one by one, have the mean and the deviation that the formula says.

# %%
rng = np.random.default_rng(3)
walked = np.full((100_000, 2), 1.5)
for beta in betas[1:41]:
    step = rng.normal(size=walked.shape)
    walked = np.sqrt(1 - beta) * walked + np.sqrt(beta) * step
mean = np.sqrt(alpha_bars[40]) * 1.5
deviation = np.sqrt(1 - alpha_bars[40])
print(f"mean: walked {walked.mean():.2f}, formula {mean:.2f}")
print(f"deviation: walked {walked.std():.2f}, formula {deviation:.2f}")

# %% alt="Four panels of the same 75 points at t = 0, 4, 20 and 100. At 0 they form a thin spiral, at 4 a thick one, at 20 it is gone to the eye, and at 100 the points are a round cloud."
fig, axes = plt.subplots(1, 4, figsize=(7, 2.2), sharex=True, sharey=True)
noise = np.random.default_rng(4).normal(size=(75, 2)).astype("float32")
for ax, t in zip(axes, (0, 4, 20, 100), strict=True):
    points = diffuse(train[:75], np.full((75, 1), t), noise)
    ax.scatter(*np.transpose(points), s=6)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="first axis")
    ax.set_title(f"t = {t}")
axes[0].set_ylabel("second axis")
plt.show()

# %% [markdown]
# ## Tell the model the time
# <!-- search: time embedding, timestep embedding, sinusoidal embedding, sinusoidal position encoding -->
# <!-- search: Fourier features, positional embedding, sine and cosine encoding -->
#
# The model sees a noisy point and has to know how noisy it is. One number from 1 to 100
# is a poor input for a dense layer, so the layer turns it into waves of many lengths, as
# transformers do with positions (Vaswani and others, 2017, section 3.5):
#
# $$e_i(t) = \sin(\omega_i t), \quad e_{n + i}(t) = \cos(\omega_i t), \qquad
# \omega_i = 1000^{-i / n}$$
#
# The fast waves tell 3 from 4, the slow ones tell 10 from 80. The angles are computed
# in `float32` at least: `bfloat16` rounds a time of 999 to 1000.


# %%
@keras.saving.register_keras_serializable(package="guide")
class TimeEmbedding(keras.layers.Layer):
    """Sines and cosines of a time.

    Args:
        units: Size of the outputs, an even number.
        base: The slowest wave is slower than the fastest by the factor
            ``base ** (1 - 2 / units)``.

    Raises:
        ValueError: If ``units`` is odd, or the times have no axis of size 1.

    Shapes:
        ``(batch, ..., 1)`` to ``(batch, ..., units)``.
    """

    def __init__(self, units, base=1000.0, **kwargs):
        # In 16 bits a time would be rounded before `call` sees it.
        super().__init__(autocast=False, **kwargs)
        if units % 2:
            raise ValueError(f"units has to be even, and is {units}")
        self.units = units
        self.base = base

    def build(self, input_shape):
        # Without that axis, times would be spread over the waves.
        if len(input_shape) < 2 or input_shape[-1] != 1:
            raise ValueError(f"times are (batch, 1), and not {input_shape}")

    def call(self, inputs):
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        half = self.units // 2
        exponents = ops.arange(half, dtype=wide) / half
        frequencies = ops.power(self.base, -exponents)  # (units / 2,)
        angles = ops.cast(inputs, wide) * frequencies  # (batch, ..., units / 2)
        waves = [ops.sin(angles), ops.cos(angles)]
        waves = ops.concatenate(waves, axis=-1)  # (batch, ..., units)
        return ops.cast(waves, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        config = {"units": self.units, "base": self.base}
        return {**super().get_config(), **config}


# %%
embedding = TimeEmbedding(32)
times = np.arange(STEPS + 1)[:, None]  # (101, 1)
waves = np.asarray(embedding(times))
print("embedded:", waves.shape, "weights:", len(embedding.weights))

expected = np.sin(times[:, 0] * 1000 ** (-4 / 16))
difference = np.abs(waves[:, 4] - expected).max()
print(f"the wave of i = 4, largest difference from NumPy: {difference:.1f}")
apart = np.sqrt(np.sum((waves[1:] - waves[:-1]) ** 2, axis=-1)).min()
print(f"neighbouring times are at least {apart:.1f} apart")

# %% alt="An image of 32 rows, the waves, over the time from 0 to 100. The rows of sines and of cosines each go from quick stripes at the bottom of their half to nearly even colour at its top."
fig, ax = plt.subplots(figsize=(5, 3))
extent = (-0.5, STEPS + 0.5, -0.5, 31.5)
image = ax.imshow(
    waves.T, extent=extent, origin="lower", aspect="auto", cmap="RdBu_r"
)
ax.set_xlabel("time t")
ax.set_ylabel("unit: sines, then cosines")
fig.colorbar(image, label="value")
plt.show()

# %% [markdown]
# ## Predict the noise
# <!-- search: noise prediction network, epsilon prediction, denoiser, dense network with time input -->
#
# The model answers a point and its time with the noise that is in the point, which has
# the shape of the point. It is three dense layers over both, side by side. The last
# layer computes in the dtype of the weights: `float32`, under mixed precision too, as
# the loss needs it.


# %%
@keras.saving.register_keras_serializable(package="guide")
class NoisePredictor(keras.Model):
    """The noise in points of the plane.

    Args:
        units: Width of the hidden layers.

    Shapes:
        ``[(batch, 2), (batch, 1)]`` to ``(batch, 2)``: points and times, to
        noise.
    """

    def __init__(self, units=128, **kwargs):
        # The times go to the embedding as they are; the layers cast.
        super().__init__(autocast=False, **kwargs)
        self.units = units
        policy = self.dtype_policy
        self.embedding = TimeEmbedding(32, dtype=policy)
        self.hidden = [
            keras.layers.Dense(units, activation="silu", dtype=policy)
            for _ in range(3)
        ]
        self.noise = keras.layers.Dense(2, dtype=policy.variable_dtype)

    def call(self, inputs):
        points, time = inputs
        x = ops.concatenate([points, self.embedding(time)], axis=-1)
        for layer in self.hidden:
            x = layer(x)  # (batch, units)
        return self.noise(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


# %%
model = NoisePredictor()
times = np.full((500, 1), 50)
predicted = model([held_out, times])
print("predicted:", predicted.shape)
print("weights to train:", len(model.trainable_variables))
print("numbers to train:", model.count_params())

# %% [markdown]
# ## Write the training loop
# <!-- search: tf.function training step, GradientTape training loop, custom training loop example -->
# <!-- search: training step from scratch, optimizer.build, loss scaling -->
#
# A step draws a batch of points, a time for each and noise, mixes them with `diffuse`,
# and asks for the noise back; the loss is the mean squared error (algorithm 1 of the
# paper). `fit` could do it with a custom `train_step`; with the loop in your hands you
# see every line.
#
# All that outlives a step is made before it: the weights by the call above, the
# optimizer's variables by `build`, the counter of the random numbers by the
# `SeedGenerator`. `tf.function` traces the Python once, and runs the graph from then on.

# %%
TRAINING_STEPS = 4000

rate = keras.optimizers.schedules.CosineDecay(0.003, TRAINING_STEPS)
optimizer = keras.optimizers.Adam(rate)
optimizer.build(model.trainable_variables)
seeds = keras.random.SeedGenerator(1)
data = ops.convert_to_tensor(train)


@tf.function
def train_step():
    rows = keras.random.randint((256,), 0, len(train), seed=seeds)
    t = keras.random.randint((256, 1), 1, STEPS + 1, seed=seeds)
    noise = keras.random.normal((256, 2), seed=seeds)
    noisy = diffuse(ops.take(data, rows, axis=0), t, noise)
    with tf.GradientTape() as tape:
        predicted = model([noisy, t], training=True)
        loss = ops.mean(ops.square(predicted - noise))
        scaled = optimizer.scale_loss(loss)
    weights = model.trainable_variables
    optimizer.apply(tape.gradient(scaled, weights), weights)
    return loss


# %% [markdown]
# `scale_loss` returns the loss as it is. Under `mixed_float16` the optimizer has to be a
# `keras.optimizers.LossScaleOptimizer` around Adam, and it scales the loss, so that
# small gradients aren't rounded to 0; `compile` does that for `fit`.
#
# `randint` leaves its upper end out, so the times are 1 to 100. A model that always
# answers 0 has a loss of 1, the variance of the noise; a loss of 0 can't be reached,
# because many pairs of point and noise lead to the same place.

# %%
losses = np.array([train_step() for _ in range(TRAINING_STEPS)])
print("steps:", int(optimizer.iterations))
print(f"loss, first step: {losses[0]:.1f}")
print(f"loss, last 1000 steps: {losses[-1000:].mean():.2f}")

# %% [markdown]
# One batch has 256 times of its own, easy and hard, and its loss jumps. The mean over
# 40 steps shows where it goes.

# %% alt="Training loss over 4000 steps, as means over 40 steps. It drops steeply within the first few hundred steps and then falls slowly to a little above 0.2, with small jumps all along."
fig, ax = plt.subplots(figsize=(5, 3))
smooth = losses.reshape(-1, 40).mean(axis=1)  # (100,)
ax.plot(np.arange(40, TRAINING_STEPS + 1, 40), smooth)
ax.set_xlabel("step")
ax.set_ylabel("mean squared error")
ax.set_ylim(0, None)
plt.show()

# %% [markdown]
# ## Draw samples from noise
# <!-- search: reverse process, sampling from a diffusion model, generate new data, generate samples -->
#
# Start from $N(0, 1)$ at $t = 100$ and go back, one step at a time. Each step takes out
# a share of the predicted noise, and puts fresh noise $z$ of a smaller deviation in
# (equations 7 and 11 of the paper):
#
# $$x_{t-1} = \frac{1}{\sqrt{1 - \beta_t}} \left( x_t -
# \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}} \epsilon(x_t, t) \right) + \sigma_t z,
# \qquad \sigma_t^2 = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t} \beta_t$$
#
# At $t = 1$ the entry for step 0 makes $\sigma_1 = 0$: the last step adds nothing.
# This variance is exact for data in a single point. Normally distributed data come back
# too narrow. Up to a deviation of 3, narrower data lose a larger share: with the best
# prediction, data of deviation 2 come back with 1.94 from 100 steps, of deviation 0.5 with
# 0.47, of deviation 0.05 with 0.035.


# %%
def deviation(t):
    """Of the noise that the step from ``t`` to ``t - 1`` adds."""
    share = (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t])
    return np.sqrt(share * betas[t])


def denoise(x, t, predicted):
    """The mean of the step from ``t`` to ``t - 1``.

    Shapes:
        ``[(batch, 2), (), (batch, 2)]`` to ``(batch, 2)``.
    """
    share = betas[t] / np.sqrt(1 - alpha_bars[t])
    return (x - share * predicted) / np.sqrt(1 - betas[t])


def sample(predict, count, seed, deviation=deviation):
    """Points at each time; index 0 is the end."""
    rng = np.random.default_rng(seed)
    path = [rng.normal(size=(count, 2)).astype("float32")]
    for t in range(STEPS, 0, -1):
        predicted = predict([path[-1], np.full((count, 1), t)])
        mean = denoise(path[-1], t, np.asarray(predicted))
        noise = rng.normal(size=(count, 2))
        path.append((mean + deviation(t) * noise).astype("float32"))
    return np.stack(path[::-1])  # (STEPS + 1, count, 2)


# %%
predict = tf.function(model)
path = sample(predict, count=500, seed=5)
untrained = sample(tf.function(NoisePredictor()), count=500, seed=5)[0]
print("path:", path.shape)
for name, points in {
    "pure noise": path[STEPS],
    "trained model": path[0],
    "held-out data": held_out,
}.items():
    print(f"{name}: mean distance to the data {nearest(points, train):.2f}")
back = nearest(held_out, path[0])
print(f"from held-out data to the samples: {back:.2f}")
far = nearest(untrained, train) > 100
print("an untrained model ends farther than 100 away:", bool(far))

# %% [markdown]
# The samples lie farther from the data than held-out data do, because a few of
# them end between the arms of the spiral. The distance from the data to the samples
# looks the other way: samples that all sat on one spot of the spiral
# would be near the data, and most of the data far from them. An untrained model takes
# no noise out, and a hundred divisions by $\sqrt{1 - \beta_t}$ blow up what is left.

# %% alt="Four panels of 60 points each on their way back, at t = 100, 20, 4 and 0. A round cloud at 100 and 20 becomes a thick spiral at 4, and at 0 nearly all points lie on a thin one."
fig, axes = plt.subplots(1, 4, figsize=(7, 2.2), sharex=True, sharey=True)
for ax, t in zip(axes, (100, 20, 4, 0), strict=True):
    ax.scatter(*path[t, :60].T, s=6)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="first axis")
    ax.set_title(f"t = {t}")
axes[0].set_ylabel("second axis")
plt.show()

# %% alt="Samples, drawn as crosses, over held-out data, drawn as dots, 120 of each. Both trace the same spiral along its whole length; a few crosses lie between its arms." tags=["cover"]
fig, ax = plt.subplots(figsize=(4.5, 4))
ax.scatter(*held_out[:120].T, s=12, label="held-out data")
ax.scatter(*path[0, :120].T, s=18, marker="x", linewidths=1, label="samples")
ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
ax.set_xlabel("first axis")
ax.set_ylabel("second axis")
ax.legend()
plt.show()

# %% [markdown]
# ## See where the model pulls
# <!-- search: score function, score matching, vector field -->
#
# Minus the predicted noise is the direction in which the model sends a point; the
# arrows show it on a grid, all of one length. At $t = 80$ every point is sent towards
# the middle. At $t = 4$, with little noise left, nearly all are sent to the spiral.

# %% alt="Two fields of arrows over the plane, with points of the spiral. At t = 80 all arrows point towards one place near the middle. At t = 4 nearly all point to the spiral: those around it inwards, and most of those inside it outwards."
fig, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharex=True, sharey=True)
axis = np.linspace(-2.4, 2.4, 7, dtype="float32")
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)  # (49, 2)
for ax, t in zip(axes, (80, 4), strict=True):
    arrows = -np.asarray(model([grid, np.full((49, 1), t)]))
    arrows /= np.sqrt(np.sum(arrows**2, axis=-1, keepdims=True))
    ax.scatter(*train[:60].T, s=8, color="C1")
    ax.quiver(*grid.T, *arrows.T, color="C0", angles="xy", scale=16)
    ax.set(aspect="equal", xlabel="first axis", title=f"t = {t}")
axes[0].set_ylabel("second axis")
plt.show()

# %% [markdown]
# ## What goes wrong
# <!-- search: NumPy inside tf.function, Python side effects in tf.function -->
# <!-- search: random number the same every call, off by one in the schedule, variables inside tf.function -->
# <!-- search: list append in tf.function -->
#
# **Noise at the last step.** The paper allows $\sigma_t^2 = \beta_t$ as well, and
# leaves the noise out at $t = 1$. Forget that, and every sample ends with a deviation
# of 0.03 that nothing takes out again.
#
# **Off by one in the schedule.** Without the entry for $t = 0$, step $t$ stands at
# index `t - 1`, and the step before the first at index `-1`, which NumPy reads as the
# last. Nothing is raised, and $\sigma_1$ is 1.


# %%
def noise_at_the_end(t):
    return np.sqrt(betas[t])


def wrapped(t):
    without_zero = alpha_bars[1:]
    share = (1 - without_zero[t - 2]) / (1 - without_zero[t - 1])
    return np.sqrt(share * betas[t])


for wrong in deviation, noise_at_the_end, wrapped:
    points = sample(predict, count=500, seed=5, deviation=wrong)[0]
    distance = nearest(points, train)
    print(
        f"{wrong.__name__}: deviation at the last step {wrong(1):.2f}, ", end=""
    )
    print(f"mean distance to the data {distance:.2f}")

# %% [markdown]
# **Python inside a `tf.function`.** What isn't a tensor happens while the function is
# traced, and not again. A list gets one entry in ten calls, and NumPy's noise is the
# same in all of them: a model trained so meets one batch of noise again and again.

# %%
calls = []


@tf.function
def traced_once():
    calls.append("called")
    return ops.convert_to_tensor(np.random.normal(size=(4, 2)))


draws = [traced_once().numpy() for _ in range(10)]
print("entries after 10 calls:", len(calls))
print("all draws the same:", bool(np.all(np.array(draws) == draws[0])))

# %% [markdown]
# **Variables inside a `tf.function`.** A layer or an optimizer that is made in there
# creates its variables at each trace, and `tf.function`
# [refuses](../errors/layers.md#state-created-late) them.


# %%
@tf.function
def makes_a_layer(x):
    return keras.layers.Dense(2)(x)


try:
    makes_a_layer(tf.zeros((1, 2)))
except ValueError as error:
    words = str(error).rpartition("ValueError: ")[2]
    print("ValueError:", words.partition(" Make sure")[0])

# %% [markdown]
# Make the layer, the optimizer and the seed generator outside, and call or `build` them
# once before the first step, as the loop above does.
#
# ## Save the model
#
# Both classes are registered and have a complete config, so the file holds all that
# sampling needs, except the schedule and the code.

# %%
model.save("diffusion.keras")
reloaded = keras.saving.load_model("diffusion.keras")
again = sample(tf.function(reloaded), count=500, seed=5)
print(f"largest difference of the samples: {np.abs(again - path).max():.1f}")

# %% [markdown]
# ## Where next
#
# Other data need another `spiral` and, beyond the plane, another last layer. The parts
# are on [create a custom layer](../layers/custom_layer.md) and
# [create a custom model](../models/custom_model.md).
