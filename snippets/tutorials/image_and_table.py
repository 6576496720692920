# ---
# jupyter:
#   description: A Keras model that reads a picture and a row of a table and gives a class and a number, fused by a custom FiLM layer, with each output's errors.
# ---

# %% [markdown]
# # One model for an image and a table, with two outputs
# <!-- search: image and tabular data, multimodal model, mixed data, combine CNN and MLP -->
# <!-- search: image plus metadata, image and numbers, classification and regression -->
# <!-- search: tabular and image input -->
#
# This tutorial builds a model that takes a picture and a row of measurements, and
# answers two questions at once: which class, and how much. You want one when the picture
# alone can't give the number, and the row alone can't give the class.
#
# The task: pieces are punched from sheet metal 1 mm thick and photographed at 16 by 16
# pixels. The table says how many millimetres a pixel is, and how dense the metal is. The
# shape of a piece is in its picture only; its mass needs both.
#
# The data flows so:
#
# | Step | Reads | Gives |
# |---|---|---|
# | Two convolutions | `image`, `(batch, 16, 16, 1)` | features, `(batch, 8, 8, 24)` |
# | Two dense layers | `table`, `(batch, 2)` | condition, `(batch, 32)` |
# | FiLM, the custom layer | features and condition | fused, `(batch, 8, 8, 24)` |
# | Shape head | features | `shape`, `(batch, 3)` |
# | Mass head | fused | `mass`, `(batch, 1)` |

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Draw the data
#
# Each piece is a disc, a square or a triangle with an area of 20 to 60 pixels, whatever
# its shape, at a random place and turned by a random angle. A pixel is the share of it
# that the piece covers: close to 0.5 minus its distance from the outline, which is
# negative inside, and no less than 0 or more than 1.

# %%
SHAPES = ("disc", "square", "triangle")


def from_outline(shape, area, x, y):
    """Distance of pixels from the outline of a piece, negative inside.

    Args:
        shape: Index in SHAPES, ``(samples, 1, 1)``.
        area: Area of the piece in pixels, ``(samples, 1, 1)``.
        x: Pixels from its middle along its own axis, ``(samples, 16, 16)``.
        y: Pixels across that axis, ``(samples, 16, 16)``.
    """

    def from_polygon(sides, to_side):
        angles = 2 * np.pi * np.arange(sides) / sides
        along = [x * np.cos(a) + y * np.sin(a) for a in angles]
        return np.max(along, axis=0) - to_side

    disc = np.hypot(x, y) - np.sqrt(area / np.pi)
    square = from_polygon(4, np.sqrt(area) / 2)
    triangle = from_polygon(3, np.sqrt(area / np.sqrt(27)))
    return np.select(
        [shape == 0, shape == 1, shape == 2], [disc, square, triangle]
    )


# %% [markdown]
# A density of 1 g/cm³ is 1 mg/mm³, so with a thickness of 1 mm the mass in grams is
#
# $$m = \text{area in pixels} \cdot (\text{mm per pixel})^2 \cdot \text{density} / 1000$$


# %%
def draw_pieces(samples, seed, noise=0.1):
    """Draw pieces: a dict of inputs and a dict of targets."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(len(SHAPES), size=samples)
    area = rng.uniform(20, 60, samples)
    middle = 7.5 + rng.uniform(-1.5, 1.5, (2, samples, 1, 1))
    turn = rng.uniform(0, 2 * np.pi, (samples, 1, 1))

    row, column = np.mgrid[:16, :16][:, None] - middle  # (samples, 16, 16) each
    x = column * np.cos(turn) + row * np.sin(turn)
    y = row * np.cos(turn) - column * np.sin(turn)
    outline = from_outline(shape[:, None, None], area[:, None, None], x, y)
    image = np.clip(0.5 - outline, 0, 1)
    image += rng.normal(scale=noise, size=image.shape)

    scale = rng.uniform(1, 3, samples)  # mm per pixel
    density = rng.uniform(2, 8, samples)  # g/cm³: light alloys to steel
    mass = area * scale**2 * density / 1000  # g
    table = np.stack([scale, density], axis=-1)
    inputs = {"image": image[..., None], "table": table}
    inputs = {name: value.astype("float32") for name, value in inputs.items()}
    return inputs, {"shape": shape, "mass": mass[:, None].astype("float32")}


# %% [markdown]
# Inputs and targets are dicts: Keras finds each by its key, not by its position. 1500
# pieces are for training, 500 for the test.

# %%
x_train, y_train = draw_pieces(1500, seed=1)
x_test, y_test = draw_pieces(500, seed=2)
for name, value in {**x_train, **y_train}.items():
    print(f"{name:6}", value.shape)
mass = y_train["mass"]
print(f"mass from {mass.min():.2f} g to {mass.max():.2f} g")
print(f"mean {mass.mean():.2f} g, standard deviation {mass.std():.2f} g")

# %% [markdown]
# Small discs and small squares differ by few pixels, and the noise has a standard
# deviation of 0.1, so the class is not free.

# %% alt="Three rows of eight noisy pictures of 16 by 16 pixels: discs in the first row, squares in the second and triangles in the third, in several sizes, places and angles." tags=["cover"]
rows = [x_train["image"][y_train["shape"] == k][:8, ..., 0] for k in range(3)]
panel = np.concatenate([np.concatenate(row, axis=1) for row in rows])

fig, ax = plt.subplots(figsize=(6, 2.4))
ax.imshow(panel, cmap=plt.get_cmap("viridis", 16), interpolation="none")
ax.set_title("discs, squares and triangles, a row each")
ax.set_axis_off()
plt.show()

# %% [markdown]
# Now the other target. The area is all that a picture tells about the mass, and pieces of
# nearly one area differ in mass by more than ten times. The grams per pixel, which the
# table gives, sort them into rays.

# %% alt="Scatter plot of the mass in grams over the area in pixels for 200 pieces, coloured by grams per pixel. Pieces of one area have masses from nearly zero up to an upper limit that grows with the area; points of one colour lie along a ray from the origin, steeper for more grams per pixel."
scale, density = x_train["table"].T[:2]
per_pixel = scale**2 * density / 1000
area = mass[:, 0] / per_pixel

fig, ax = plt.subplots(figsize=(5, 3.2))
points = ax.scatter(area[:200], mass[:200], s=12, c=per_pixel[:200])
ax.set_xlabel("area in pixels")
ax.set_ylabel("mass in g")
fig.colorbar(points, ax=ax, label="grams per pixel")
plt.show()

# %% [markdown]
# ## Write the layer that joins them
# <!-- search: FiLM layer, conditioning, condition a network on an input, conditional normalization -->
# <!-- search: feature modulation, scale and shift, fuse two inputs, conditional batch normalization -->
# <!-- search: merge image and tabular features, conditional layer -->
#
# The mass is a product: the table has to scale what the picture shows. A dense layer after
# a `Concatenate` computes a weighted sum of the two. FiLM (feature-wise linear modulation,
# Perez et al. 2018) multiplies: it computes a factor and a shift for each channel $c$ from
# the condition $z$.
#
# $$\text{FiLM}(F)_{hwc} = (1 + \gamma_c(z)) \, F_{hwc} + \beta_c(z)$$
#
# Here $\gamma$ and $\beta$ are linear in $z$, with a bias. Because of the 1, weights of
# zero leave the features unchanged. If `call` takes two tensors, `build` and
# `compute_output_shape` take a shape for each, named like the tensor with `_shape` behind.


# %%
@keras.saving.register_keras_serializable(package="guide")
class FiLM(keras.layers.Layer):
    """Scale and shift each channel as a condition says (Perez et al. 2018).

    Shapes:
        ``[(batch, height, width, channels), (batch, size)]`` to
        ``(batch, height, width, channels)``. The first are the features, the
        second is the condition.
    """

    def build(self, features_shape, condition_shape):
        channels = features_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(condition_shape[-1], 2 * channels)
        )
        self.bias = self.add_weight(
            name="bias", shape=(2 * channels,), initializer="zeros"
        )

    def scale_and_shift(self, condition):
        """Gamma and beta for each sample: ``(batch, channels)`` each."""
        both = ops.matmul(condition, self.kernel) + self.bias
        return ops.split(both, 2, axis=-1)

    def call(self, features, condition):
        gamma, beta = self.scale_and_shift(condition)
        gamma = gamma[:, None, None, :]  # (batch, 1, 1, channels)
        beta = beta[:, None, None, :]  # (batch, 1, 1, channels)
        return (1 + gamma) * features + beta

    def compute_output_shape(self, features_shape, condition_shape):
        return features_shape


# %% [markdown]
# Check it with numbers: against the formula in NumPy for one sample, one channel and one
# pixel, with all weights at zero, and one gradient against a difference of two outputs.

# %%
rng = np.random.default_rng(0)
features = rng.normal(size=(5, 8, 8, 3))
condition = tf.Variable(rng.normal(size=(5, 4)))
film = FiLM(dtype="float64")
with tf.GradientTape() as tape:
    outputs = film(features, condition)
    pixel = outputs[2, 6, 1, 0]  # sample 2, row 6, column 1, channel 0
slope = tape.gradient(pixel, condition)[2, 3]

kernel, bias = film.get_weights()  # (4, 6) and (6,)
both = condition.numpy()[2] @ kernel + bias
by_hand = (1 + both[0]) * features[2, 6, 1, 0] + both[0 + 3]
print(f"layer {pixel:.4f}, by hand {by_hand:.4f}")

step = 1e-6 * np.outer(np.eye(5)[2], np.eye(4)[3])  # (5, 4), one entry
difference = film(features, condition + step) - film(features, condition - step)
print(f"gradient {slope:.4f}, differences {difference[2, 6, 1, 0] / 2e-6:.4f}")
film.set_weights([0 * kernel, 0 * bias])
unchanged = np.array_equal(film(features, condition), features)
print("unchanged with weights of zero:", unchanged)

# %% [markdown]
# ## Put the model together
# <!-- search: subclassed model with dict inputs, CNN with two inputs, Normalization layer adapt, two heads -->
# <!-- search: cannot be accessed from here, InaccessibleTensorError, adapt in a subclassed model -->
#
# `call` takes a dict and returns a dict. The shape head reads the features before FiLM,
# so the table can't change the shape; both heads train the convolutions. The mass head is
# one linear unit over the fused features. Kernels before a `relu` start with `he_normal`,
# which is made for it.
#
# `Normalization` keeps the mean and the variance of the table in the model, and so in its
# file. It is built in the constructor. Otherwise a subclassed model that is called before
# `adapt` builds it symbolically, and its tensors can't be used later: the call raises
# `cannot be accessed from here`, and `fit` raises `InaccessibleTensorError`. Built here,
# it returns the table unchanged until `adapt`.


# %%
@keras.saving.register_keras_serializable(package="guide")
class PieceReader(keras.Model):
    """Read the shape and the mass of a piece.

    Args:
        filters: Channels of the features.
        columns: Columns of the table.
        film: Whether FiLM joins the table, or a concatenation.

    Shapes:
        ``{"image": (batch, 16, 16, 1), "table": (batch, columns)}`` to
        ``{"shape": (batch, 3), "mass": (batch, 1)}``.
    """

    def __init__(self, filters=24, columns=2, film=True, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.columns = columns
        dtype = self.dtype_policy  # the layers compute as the model does
        relu = {
            "activation": "relu",
            "kernel_initializer": "he_normal",
            "dtype": dtype,
        }
        self.edges = keras.layers.Conv2D(16, 3, padding="same", **relu)
        self.parts = keras.layers.Conv2D(filters, 3, padding="same", **relu)
        self.halve = keras.layers.MaxPooling2D(dtype=dtype)
        self.normalize = keras.layers.Normalization(dtype=dtype)
        self.normalize.build((None, columns))
        self.condition = keras.Sequential(
            [keras.layers.Dense(32, **relu), keras.layers.Dense(32, **relu)]
        )
        self.film = FiLM(dtype=dtype) if film else None
        self.average = keras.layers.GlobalAveragePooling2D(dtype=dtype)
        self.flatten = keras.layers.Flatten(dtype=dtype)
        self.shape_hidden = keras.layers.Dense(32, **relu)
        dtype = self.variable_dtype  # float32 in mixed precision too
        self.shape_head = keras.layers.Dense(
            3, activation="softmax", dtype=dtype
        )
        self.mass_head = keras.layers.Dense(1, dtype=dtype)

    def call(self, inputs):
        small = self.halve(self.edges(inputs["image"]))  # (batch, 8, 8, 16)
        features = self.parts(small)  # (batch, 8, 8, filters)
        condition = self.condition(self.normalize(inputs["table"]))

        flat = self.flatten(self.halve(features))  # (batch, 16 * filters)
        if self.film:
            fused = ops.relu(self.film(features, condition))
            fused = self.average(fused)  # (batch, filters)
        else:
            averaged = self.average(features)  # (batch, filters)
            fused = ops.concatenate([averaged, condition], axis=-1)
        return {
            "shape": self.shape_head(self.shape_hidden(flat)),
            "mass": self.mass_head(fused),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "columns": self.columns,
            "film": self.film is not None,
        }


# %% [markdown]
# `adapt` measures the table before the training. The first call creates the weights; an
# untrained model is right about as often as a guess, which is once in three.

# %%
model = PieceReader()
model.normalize.adapt(x_train["table"])
outputs = model(x_test)
print("mean of each column:", np.round(model.normalize.mean[0], 1))
count = sum(np.prod(weight.shape) for weight in model.trainable_weights)
print(f"trainable parameters: {count:,}")
guessed = outputs["shape"].numpy().argmax(axis=-1)
print(f"accuracy before training: {np.mean(guessed == y_test['shape']):.1f}")

# %% [markdown]
# ## Train it
# <!-- search: train two outputs, loss of classification and regression, cosine decay learning rate -->
# <!-- search: validation data for two outputs -->
#
# Each output has its loss and its metric under its name. `loss` is their sum, which
# [can do harm](#what-goes-wrong). More on it is in
# [multiple inputs and outputs](../models/multiple_inputs_outputs.md#give-each-output-its-loss-metric-and-weight).
#
# The learning rate falls along a cosine to zero, so that the result doesn't depend on the
# last batch. The test pieces are the validation data too. That is sound only because
# nothing is chosen by them; where you choose the epoch or an option, hold back one more
# set. Results are rounded down or up to a tenth, because later digits differ from one
# processor to another.


# %%
EPOCHS = 10
STEPS = 500  # 10 epochs of 50 batches


def train(model, x, y):
    """Compile and fit; return what each epoch measured."""
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(0.005, STEPS)
        ),
        loss={"shape": "sparse_categorical_crossentropy", "mass": "mse"},
        metrics={"shape": ["accuracy"], "mass": ["mae"]},
    )
    return model.fit(
        x,
        y,
        epochs=EPOCHS,
        batch_size=30,
        validation_data=(x_test, y_test),
        validation_batch_size=500,
        verbose=0,
    ).history


def at_least(value):
    """Rounded down to a tenth."""
    return f"at least {np.floor(10 * value) / 10:.1f}"


def at_most(value):
    """Rounded up to a tenth."""
    return f"at most {np.ceil(10 * value) / 10:.1f}"


history = train(model, x_train, y_train)
accuracy = history["val_shape_accuracy"][-1]
error = history["val_mass_mae"][-1]
print("test accuracy of the shape:", at_least(accuracy))
print("mean absolute error of the mass:", at_most(error), "g")

# %% [markdown]
# Plot the losses one by one, not only their sum. The mass is learned first: from the first
# epoch to the second its loss falls to less than a third. In the first epoch the loss of
# the shape is still near $\ln 3 = 1.1$, that of a guess, and it keeps the larger part of
# the sum to the end.

# %% alt="Two panels over 10 epochs with logarithmic vertical axes, each with a curve for training and one for test pieces. Left, the cross-entropy of the shape starts above 0.5 and falls below 0.2. Right, the squared error of the mass falls steeply in training from the first epoch to the second, and both curves end below 0.01."
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
epochs = np.arange(1, EPOCHS + 1)
panels = [
    ("shape_loss", "shape: cross-entropy", [0.05, 0.2, 1], (0.02, 2)),
    ("mass_loss", "mass: squared error in g²", [0.01, 0.1, 1], (0.001, 1)),
]
for ax, (name, label, ticks, limits) in zip(axes, panels, strict=True):
    ax.semilogy(epochs, history[name], label="train")
    ax.semilogy(epochs, history[f"val_{name}"], "--", label="test")
    ax.set_ylim(limits)
    ax.set_yticks(ticks, [f"{tick}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xticks([1, 4, 7, 10])
    ax.set_xlabel("epoch")
    ax.set_ylabel(label)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Look at the errors of each output
# <!-- search: confusion matrix, plot predictions, evaluate each output, predicted against true -->
#
# Count, for each true shape, what was read: the confusion matrix. Its rows are the truth.
# Discs and triangles are confused in less than 1 % of the pieces; nearly every error has a
# square in it.

# %%
predicted = model.predict(x_test, batch_size=500, verbose=0)
read = predicted["shape"].argmax(axis=-1)
confusion = np.zeros((3, 3), dtype=int)
np.add.at(confusion, (y_test["shape"], read), 1)
right = np.trace(confusion) / confusion.sum()
disc_triangle = confusion[0, 2] + confusion[2, 0]
print("pieces of each true shape:", confusion.sum(axis=1))
print("share read right:", at_least(right))
rare = disc_triangle < 0.01 * confusion.sum()
print("discs and triangles confused in less than 1 %:", rare)

# %% alt="Confusion matrix of the three shapes as shades, true shape in rows and predicted shape in columns. The diagonal has nearly all of each row, and the two cells of discs and triangles taken for each other are the darkest."
fig, ax = plt.subplots(figsize=(4.4, 3.2))
shares = confusion / confusion.sum(axis=1, keepdims=True)
image = ax.imshow(shares**0.5, vmin=0, vmax=1, interpolation="none")
bar = fig.colorbar(image, ax=ax, label="share of the true shape")
bar.set_ticks(
    np.sqrt([0, 0.05, 0.2, 0.5, 1]), labels=["0", "0.05", "0.2", "0.5", "1"]
)
ax.set_xticks(range(3), SHAPES)
ax.set_yticks(range(3), SHAPES)
ax.set_xlabel("predicted shape")
ax.set_ylabel("true shape")
plt.show()

# %% [markdown]
# For the mass, plot the prediction against the truth. A right one lies on the diagonal,
# and the vertical distance from it is the error in grams.


# %%
def absolute_error(predicted, true):
    """Mean absolute error of the mass, in g."""
    return np.mean(np.abs(predicted["mass"] - true["mass"]))


# %% alt="Scatter plot of predicted over true mass in grams for 200 test pieces, from 0 to 4. The points lie close along the diagonal."
fig, ax = plt.subplots(figsize=(4.5, 3.6))
ax.scatter(y_test["mass"][:200], predicted["mass"][:200], s=8)
ax.plot([0, 4], [0, 4], "--", color="C1", linewidth=1, label="right")
ax.set_xlabel("true mass in g")
ax.set_ylabel("predicted mass in g")
ax.legend(frameon=False)
plt.show()

with_table = absolute_error(predicted, y_test)
print("mean absolute error:", at_most(with_table), "g")

# %% [markdown]
# ## Change the table under one picture
#
# Keep one picture and give it the rows of 100 pieces. Its mass has to grow in proportion to
# the grams per pixel $s^2 \rho / 1000$, and the slope is its area; the model was told
# neither that formula nor an area. Its shape must not change at all.

# %%
rows = x_test["table"][:100]
per_pixel = rows[:, 0] ** 2 * rows[:, 1] / 1000
areas = y_test["mass"][:, 0] / (
    x_test["table"][:, 0] ** 2 * x_test["table"][:, 1] / 1000
)
by_area = np.argsort(areas)
answers = {}
for piece in by_area[[25, 250, 475]]:  # a small, a middling and a large one
    image = np.repeat(x_test["image"][piece : piece + 1], 100, axis=0)
    answers[piece] = model({"image": image, "table": rows})

    masses = answers[piece]["mass"].numpy()[:, 0]
    slope = np.sum(masses * per_pixel) / np.sum(per_pixel**2)
    near = abs(slope / areas[piece] - 1) < 0.2
    print(f"area {areas[piece]:.0f} pixels: ", end="")
    print(f"slope within a fifth of it: {near}, ", end="")
    moved = np.ptp(answers[piece]["shape"], axis=0).max()
    print(f"largest change of the shape: {moved:.4f}")

# %% alt="Scatter plot of the predicted mass in grams over the grams per pixel, for three pictures with 100 rows of the table each. The points of each picture lie along a line through the origin, and the line is steeper the larger the piece; the straight lines with the true areas as slopes run through them."
fig, ax = plt.subplots(figsize=(5, 3.4))
for (piece, answer), marker in zip(answers.items(), "o^s", strict=True):
    label = f"{areas[piece]:.0f} pixels"
    ax.scatter(per_pixel, answer["mass"], s=8, marker=marker, label=label)
    ax.plot([0, 0.07], [0, 0.07 * areas[piece]], linewidth=1)
ax.set_xlabel("grams per pixel")
ax.set_ylabel("predicted mass in g")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The points follow the lines of the true areas: each slope is right within a fifth. The
# table changes the mass and leaves the shape alone.
#
# ## Compare it with Concatenate
# <!-- search: Concatenate layer, concatenate features, concat vs FiLM, merge branches, late fusion -->
#
# Is FiLM worth a layer of its own? Average the same features, concatenate them with the
# condition, and leave the rest as it is: one linear unit for the mass.

# %%
keras.utils.set_random_seed(1)
joined = PieceReader(film=False)
joined.normalize.adapt(x_train["table"])
train(joined, x_train, y_train)
without = joined.predict(x_test, batch_size=500, verbose=0)
larger = absolute_error(without, y_test) > 2 * with_table
print("error of the mass more than twice as large:", larger)

# %% [markdown]
# FiLM has less than half of the error: a weighted sum of features and condition isn't their
# product. A hidden layer can approximate the product: with 32 `relu` units before the mass
# head, Concatenate comes closer.
#
# ## Take the table away
# <!-- search: ablation, feature importance, permute an input, does the model use an input -->
#
# Does the model need its second input? Give each picture the row of another piece: the
# columns keep their values and lose their connection to the picture. Train again,
# everything else equal.


# %%
def with_foreign_rows(x, seed):
    """The same pictures, each with the row of another piece."""
    rows = np.random.default_rng(seed).permutation(len(x["table"]))
    return {**x, "table": x["table"][rows]}


keras.utils.set_random_seed(1)
blind = PieceReader()
x_blind, x_blind_test = (
    with_foreign_rows(x, seed=3) for x in (x_train, x_test)
)
blind.normalize.adapt(x_blind["table"])
train(blind, x_blind, y_train)

predicted_blind = blind.predict(x_blind_test, batch_size=500, verbose=0)
read_blind = predicted_blind["shape"].argmax(axis=-1)
right_blind = np.mean(read_blind == y_test["shape"])
blind_error = absolute_error(predicted_blind, y_test)
median = {"mass": np.median(y_train["mass"])}
print("with its row:     shape", at_least(right), end="")
print(f", mass {at_most(with_table)} g off")
print("with another row: shape", at_least(right_blind), end="")
print(f", mass about {blind_error:.1f} g off")
print(
    f"always the median: mass about {absolute_error(median, y_test):.1f} g off"
)

# %% [markdown]
# The shape is read about as well as before. The error of the mass is more than eight times as
# large, and hardly smaller than that of one constant for all pieces.

# %% [markdown]
# ## What goes wrong
# <!-- search: one loss dominates, loss scale, losses of different scale, scale the targets -->
# <!-- search: gradient of each loss, unbalanced losses, broadcast along the wrong axis -->
#
# **One loss drowns the other.** The mass has a standard deviation of 0.64 g, and before any
# training its loss is less than ten times that of the shape. In milligrams the squared
# error of the same masses is a million times as large. Look at the gradient of each loss at
# the first convolution, which both outputs share:

# %%
in_milligrams = {**y_train, "mass": 1000 * y_train["mass"]}
keras.utils.set_random_seed(1)
fresh = PieceReader()
fresh.normalize.adapt(x_train["table"])
with tf.GradientTape(persistent=True) as tape:
    outputs = fresh(x_train)
    losses = {
        "shape": keras.losses.sparse_categorical_crossentropy(
            y_train["shape"], outputs["shape"]
        ),
        "mass in g": (outputs["mass"] - y_train["mass"]) ** 2,
        "mass in mg": (outputs["mass"] - in_milligrams["mass"]) ** 2,
    }
    losses = {name: tf.reduce_mean(loss) for name, loss in losses.items()}
for name, loss in losses.items():
    gradient = tape.gradient(loss, fresh.edges.kernel.value)
    norm = np.linalg.norm(gradient)
    print(f"{name:10}: loss {loss:.1e}, norm of its gradient {norm:.0e}")

# %% [markdown]
# Train on milligrams, and nothing is raised. The convolutions follow the mass, and the
# shape is read little better than by a guess.

# %%
history_mg = train(fresh, x_train, in_milligrams)
for name, one in [("g", history), ("mg", history_mg)]:
    above = one["shape_accuracy"][-1] > 0.5
    print(f"in {name:2}: more than half of the shapes read right: {above}")

# %% [markdown]
# Give a regression target a unit in which its standard deviation is near 1. `loss_weights`
# is for what remains; a misspelt name in it
# [isn't reported](../models/multiple_inputs_outputs.md).
#
# **The scale lands on the wrong axis.** Without the two new axes in FiLM, $\gamma$
# `(batch, channels)` is broadcast against `(width, channels)` of the features. If the batch
# is as large as the width, nothing is raised, and each column of a picture is scaled by
# another sample's condition. Change one row of the table and see which samples change:


# %%
class WrongAxis(FiLM):
    """Wrong: lines the batch up with the width."""

    def call(self, features, condition):
        gamma, beta = self.scale_and_shift(condition)
        return (1 + gamma) * features + beta


features = np.ones((8, 8, 8, 3), "float32")  # batch and width are 8
row = np.ones((8, 4), "float32")
other = np.where(np.arange(8)[:, None] == 7, 2 * row, row)  # the last sample
for layer in (FiLM(), WrongAxis()):
    moved = np.abs(layer(features, row) - layer(features, other))
    changed = np.flatnonzero(moved.max(axis=(1, 2, 3)))
    print(f"{type(layer).__name__}: samples that change:", changed)

# %% [markdown]
# A third mistake raises: with `metrics=["accuracy"]` for two outputs, `fit` raises at the
# first batch. [Name the metrics of each output](../errors/models.md#metrics-arity), as
# `train` does.
#
# ## Save it and load it
#
# The file holds the statistics of the table and all weights, but not the classes. The
# arguments stand in `get_config`; without them the file would hold
# [the defaults](../errors/saving.md#default-arguments-saved).

# %%
model.save("pieces.keras")
reloaded = keras.saving.load_model("pieces.keras")
again = reloaded.predict(x_test, batch_size=500, verbose=0)
for name in predicted:
    difference = np.abs(again[name] - predicted[name]).max()
    print(f"{name}: largest difference {difference:.6f}")
same = np.array_equal(reloaded.normalize.mean, model.normalize.mean)
print("the same statistics:", same)

# %% [markdown]
# ## What to change
#
# Add a third column to the table, with `PieceReader(columns=3)`, or write the masses in
# milligrams and set `loss_weights` so that both outputs are learned. More on dicts, losses
# and weights is in
# [models with multiple inputs and outputs](../models/multiple_inputs_outputs.md).
