# ---
# jupyter:
#   description: Turn an equation into a Keras layer, check its values and gradients, train one quadratic neuron, and read an ellipse off its weights.
# ---

# %% [markdown]
# # From an equation to a trained layer
# <!-- search: implement a paper, formula to code, math to keras layer, implement an equation as a layer -->
# <!-- search: quadratic neuron -->
#
# This tutorial takes one equation, a quadratic neuron, from paper to a trained model:
# the layer, the checks that it computes what is written, its decision surface before and
# after training, and the curve that its weights spell out. Follow the same steps when
# your operation has no built-in layer.
#
# Each unit $k$ of a `Dense` layer computes $w_k^\top x + b_k$, and its boundary is a
# straight line. A quadratic unit adds every product of two inputs, each with a weight
# of its own (a second-order unit in Giles and Maxwell, *Applied Optics*, 1987):
#
# $$y_k = x^\top A_k x + w_k^\top x + b_k$$
#
# With $n$ inputs, $A_k$ is a matrix of $n \times n$ numbers, $w_k$ a vector of $n$ and
# $b_k$ one number. In two dimensions the points with $y_k = 0$ form an ellipse, a
# parabola or a hyperbola (a *conic*). They may also be lines, one point or none.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import ops
from sklearn.datasets import make_circles

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Write the layer
# <!-- search: quadratic layer, bilinear layer, polynomial layer, einsum layer, second order layer -->
# <!-- search: bilinear form, quadratic form -->
#
# Three weights, one for each term: `matrices` is $(k, n, n)$, `kernel` $(n, k)$ and
# `bias` $(k,)$. They are sized by `input_shape[-1]`, the features;
# [another axis](../errors/layers.md#input-shape-axis) fits one shape of input only.
#
# `einsum` is the equation in letters: `i` and `j` run over the features and are summed,
# `k` is the unit, and `...` is the batch and any axis after it. The matrices start at a
# standard deviation of $1/n$, for a reason that the section on what goes wrong shows.


# %%
@keras.saving.register_keras_serializable(package="guide")
class Quadratic(keras.layers.Layer):
    """Quadratic units, ``x A_k x + w_k x + b_k`` (Giles and Maxwell, 1987).

    Args:
        units: Size of the last axis of the outputs.
        activation: Name of an activation, a function, or None.
        matrix_initializer: Name or object that fills the matrices, or None
            for normal numbers with a deviation of 1 / features.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    def __init__(
        self, units, activation=None, matrix_initializer=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.matrix_initializer = keras.initializers.get(matrix_initializer)

    def build(self, input_shape):
        n, k = input_shape[-1], self.units
        small = keras.initializers.RandomNormal(stddev=1 / n)
        self.matrices = self.add_weight(
            name="matrices",
            shape=(k, n, n),
            initializer=self.matrix_initializer or small,
        )
        self.kernel = self.add_weight(name="kernel", shape=(n, k))
        self.bias = self.add_weight(
            name="bias", shape=(k,), initializer="zeros"
        )

    def call(self, inputs):
        quadratic = ops.einsum(
            "...i,kij,...j->...k", inputs, self.matrices, inputs
        )
        linear = ops.matmul(inputs, self.kernel) + self.bias
        return self.activation(quadratic + linear)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "matrix_initializer": keras.initializers.serialize(
                self.matrix_initializer
            ),
        }


# %% [markdown]
# The last axis becomes the units, and the axes before it stay. A wrapper such as
# `TimeDistributed` asks `compute_output_shape` for that, and doesn't run `call`.

# %%
for shape in [(4,), (7, 4), (None, 4)]:
    inputs = keras.Input(shape)
    print(inputs.shape, "becomes", Quadratic(3)(inputs).shape)

# %% [markdown]
# ## Check it against the equation
# <!-- search: verify a layer by hand, compare a layer with NumPy, analytic gradient -->
# <!-- search: tape gradient against formula -->
#
# Take one sample and write the sum out in NumPy, term by term. A loop is slow and hard
# to get wrong, and that is what a check wants.

# %%
layer = Quadratic(2, dtype="float64")
x = np.array([[1.0, -2.0, 0.5]])  # (1, 3): one sample, n = 3
outputs = layer(x)
matrices, kernel, bias = layer.get_weights()

for k in range(2):
    by_hand = bias[k]
    for i in range(3):
        by_hand += kernel[i, k] * x[0, i]
        for j in range(3):
            by_hand += x[0, i] * matrices[k, i, j] * x[0, j]
    print(f"unit {k}: layer {outputs[0, k]:.4f}, by hand {by_hand:.4f}")

# %% [markdown]
# The product $x_i x_j$ meets both $A_{ij}$ and $A_{ji}$, so only their sum counts.
# Replace $A$ by its symmetric part $S = (A + A^\top)/2$ and nothing changes; keep the
# antisymmetric rest $(A - A^\top)/2$ alone and the term is zero.

# %%
symmetric = (matrices + matrices.transpose(0, 2, 1)) / 2
rest = (matrices - matrices.transpose(0, 2, 1)) / 2

layer.set_weights([symmetric, kernel, bias])
print(f"change with the symmetric part: {np.abs(layer(x) - outputs).max():.6f}")

layer.set_weights([rest, np.zeros((3, 2)), np.zeros(2)])
print(f"output of the rest alone:       {np.abs(layer(x)).max():.6f}")
print(f"largest number in the rest:     {np.abs(rest).max():.2f}")
layer.set_weights([matrices, kernel, bias])

# %% [markdown]
# The gradient has a closed form too: $\partial y_k / \partial x = 2 S_k x + w_k$, and
# $\partial y_k / \partial A_k = x x^\top$. Compare what `GradientTape` returns with the
# closed form, and with a difference of two outputs that knows nothing of either.

# %%
point = tf.Variable(x)
with tf.GradientTape() as tape:
    y = layer(tf.convert_to_tensor(point))[0, 0]  # unit 0
to_x, to_matrices = tape.gradient(y, [point, layer.matrices.value])

step = 1e-6 * np.eye(3)  # one row for each input that is moved
differences = (layer(x + step) - layer(x - step))[:, 0] / 2e-6
print("tape:       ", np.round(to_x[0], 4))
print("closed form:", np.round(2 * symmetric[0] @ x[0] + kernel[:, 0], 4))
print("differences:", np.round(differences, 4))
print("to A it is x xᵀ:", np.allclose(to_matrices[0], np.outer(x, x)))

# %% [markdown]
# Since $x x^\top$ is symmetric, no gradient moves the antisymmetric rest: trained with Adam
# or SGD in `float32`, without weight decay, it stays as it was drawn. You can see that in
# the numbers after training.
#
# ## Draw the data
#
# Two rings of radius 1 and 0.5 around the point (0.5, -0.3), with noise of standard
# deviation 0.1. The inner ring is class 1. No straight line separates them, and an
# ellipse does.


# %%
CENTRE = (0.5, -0.3)
NOISE = 0.1


def draw_rings(samples, seed):
    """Draw two rings: points ``(samples, 2)`` and classes ``(samples, 1)``."""
    points, inner = make_circles(
        samples, factor=0.5, noise=NOISE, random_state=seed
    )
    points = (points + CENTRE).astype("float32")
    return points, inner[:, None].astype("float32")


x_train, y_train = draw_rings(300, seed=1)
x_test, y_test = draw_rings(1000, seed=2)
print("train:", x_train.shape, y_train.shape)
print("test: ", x_test.shape, y_test.shape)

# %% alt="Scatter plot of every second training point over x1 and x2. The points of class 1 form a ring of radius 0.5 around (0.5, -0.3), those of class 0 a ring of radius 1 around it, each blurred by noise."


def scatter(ax, size, every=1):
    """Draw the training points, with a marker for each class."""
    for value, marker, name in [(0, "o", "outer"), (1, "^", "inner")]:
        x1, x2 = x_train[y_train[:, 0] == value][::every].T
        ax.scatter(x1, x2, s=size, marker=marker, color=f"C{value}", label=name)
    ax.set_xlabel("$x_1$")


fig, ax = plt.subplots(figsize=(4.5, 4))
scatter(ax, size=14, every=2)
ax.set_ylabel("$x_2$")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Look at the decision surface before training
# <!-- search: plot decision boundary, decision boundary, classification plot -->
#
# The model is one quadratic unit with a sigmoid: seven numbers. Its surface is the
# probability of class 1 at each point of a grid, and its boundary is the line at 0.5,
# where $y = 0$.


# %%
EXTENT = (-1.1, 2.1, -1.9, 1.3)  # left, right, bottom, top


def surface(model, points):
    """The probability of class 1 on a grid: ``(points, points)``."""
    left, right, bottom, top = EXTENT
    middles = (np.arange(points) + 0.5) / points  # of the grid's cells
    x1 = left + (right - left) * middles
    x2 = bottom + (top - bottom) * middles
    grid = np.stack(np.meshgrid(x1, x2), axis=-1)  # (points, points, 2)
    return model.predict(grid.reshape(-1, 2), verbose=0).reshape(points, points)


def show(ax, model, points=32, size=10, every=2):
    """Draw the surface, its boundary and the training points."""
    values = surface(model, points)
    options = {"origin": "lower", "extent": EXTENT}
    # From -1 to 2, so that 0 to 1 gets the pale middle of the map, on which
    # points and boundary stand out.
    image = ax.imshow(
        values,
        vmin=-1,
        vmax=2,
        cmap="coolwarm",
        aspect="auto",
        **options,
    )
    ax.contour(values, levels=[0.5], colors="C2", linewidths=2, **options)
    scatter(ax, size, every)
    return image


# %% [markdown]
# The surface is smooth and has nothing to do with the rings: the boundary goes where the
# first random numbers put it. Keep a copy of $A$ to compare with later.

# %% alt="Decision surface of the untrained quadratic unit over x1 and x2 with the training points on top. The boundary at probability 0.5 is a curve that cuts across the outer ring."
model = keras.Sequential(
    [keras.Input((2,)), Quadratic(1, activation="sigmoid", name="unit")]
)
unit = model.get_layer("unit")
matrix_before = unit.get_weights()[0][0]

fig, ax = plt.subplots(figsize=(5, 4))
image = show(ax, model)
ax.set_ylabel("$x_2$")
bar = fig.colorbar(image, ax=ax, label="probability of the inner ring")
bar.ax.set_ylim(0, 1)
plt.show()

# %% [markdown]
# ## Train it
# <!-- search: plot loss curve, learning curves, training history plot -->
#
# Nothing in this step knows that the layer is a custom one. `History` keeps the loss and
# the accuracy of each epoch, on the training points and on 1000 points that the model
# doesn't train on.


# %%
def train(model, epochs):
    """Compile and fit on the rings; return what each epoch measured."""
    model.compile(
        optimizer=keras.optimizers.Adam(0.1),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(
        x_train,
        y_train,
        epochs=epochs,
        batch_size=60,
        validation_data=(x_test, y_test),
        validation_batch_size=1000,
        verbose=0,
    ).history


history = train(model, epochs=50)
for epoch in (1, 10, 50):
    loss = history["val_loss"][epoch - 1]
    accuracy = history["val_accuracy"][epoch - 1]
    print(f"epoch {epoch:2}: test loss {loss:.2f}, accuracy {accuracy:.2f}")

# %% [markdown]
# Both losses fall together: seven numbers don't overfit 300 points here. The accuracy is
# flat long before the loss is: the boundary is in place, and the unit grows surer.

# %% alt="Two panels over 50 epochs, each with a curve for training and one for test points. Left, the loss falls steeply and then slowly. Right, the accuracy climbs to more than 0.9 within the first ten epochs and stays there."
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
epochs = np.arange(1, 51)
for ax, name in zip(axes, ["loss", "accuracy"], strict=True):
    ax.plot(epochs, history[name], label="train")
    ax.plot(epochs, history[f"val_{name}"], "--", label="test")
    ax.set_xlabel("epoch")
    ax.set_ylabel(name)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# The boundary has closed into an ellipse between the rings. Beyond the outer ring the
# surface is flat and certain, since $x^\top A x$ grows with the square of the distance.

# %% alt="Decision surface of the trained quadratic unit. The boundary at probability 0.5 is a nearly circular ellipse between the two rings; inside it the probability of the inner ring rises to 1, outside it falls to 0." tags=["cover"]
fig, ax = plt.subplots(figsize=(5, 4))
image = show(ax, model)
ax.set_ylabel("$x_2$")
bar = fig.colorbar(image, ax=ax, label="probability of the inner ring")
bar.ax.set_ylim(0, 1)
plt.show()

# %% [markdown]
# ## Read the ellipse off the weights
# <!-- search: interpret the weights, interpretable weights, ellipse -->
#
# The boundary of one unit can be written down. Complete the square with the symmetric
# part $S$:
#
# $$y = (x - c)^\top S (x - c) + d, \qquad c = -\tfrac{1}{2} S^{-1} w, \qquad
# d = b - c^\top S c$$
#
# The ellipse has its centre at $c$, and its semi-axes are $\sqrt{-d / \lambda}$, one for
# each eigenvalue $\lambda$ of $S$.


# %%
def complete_square(matrix, vector, constant):
    """Write ``x A x + w x + b`` as ``(x - c) S (x - c) + d``: S, c and d."""
    symmetric = (matrix + matrix.T) / 2
    centre = -np.linalg.solve(symmetric, vector) / 2
    return symmetric, centre, constant - centre @ symmetric @ centre


matrices, kernel, bias = unit.get_weights()
matrix, w, b = matrices[0], kernel[:, 0], bias[0]
S, c, d = complete_square(matrix, w, b)
axes_found = np.sqrt(-d / np.linalg.eigvalsh(S))
print(
    f"y = {S[0, 0]:+.1f} x1² {2 * S[0, 1]:+.1f} x1 x2 {S[1, 1]:+.1f} x2² "
    f"{w[0]:+.1f} x1 {w[1]:+.1f} x2 {b:+.1f}"
)
print("centre:   ", np.round(c, 2), "drawn around", CENTRE)
print("semi-axes:", np.round(axes_found, 2))


# %% [markdown]
# What would be right? With noise of deviation $\sigma$, the density of a ring of radius
# $R$ at the distance $r$ is proportional to $e^{-(r^2 + R^2) / 2\sigma^2} I_0(rR /
# \sigma^2)$, where $I_0$ is the modified Bessel function, `np.i0`. The logarithm of the
# ratio of the two densities is the best $y$ there is, and where it is zero is the best
# radius.


# %%
def best_logit(r):
    """Log of the ratio of the densities of both rings at distance ``r``."""
    variance = NOISE**2
    bessel = np.log(np.i0(0.5 * r / variance) / np.i0(1.0 * r / variance))
    return (1.0**2 - 0.5**2) / (2 * variance) + bessel


radii = np.linspace(0.5, 1, 501)
best_radius = radii[np.abs(best_logit(radii)).argmin()]
print(f"best radius:       {best_radius:.2f}")
print(f"mean of semi-axes: {axes_found.mean():.2f}")

by_radius = np.linalg.norm(x_test - CENTRE, axis=-1) < best_radius
best = np.mean(by_radius == y_test[:, 0])
print(f"test accuracy of the best circle: {best:.2f}")
print(f"test accuracy of the unit:        {history['val_accuracy'][-1]:.2f}")

# %% [markdown]
# Cut both along a line through the centre. They cross zero at nearly the same two
# places, which is all that the accuracy sees; away from the rings the unit's parabola
# and the true curve part, and so do the probabilities there.

# %% alt="Line plot of y over x1 along a horizontal line through the centre of the rings. The trained unit is a downward parabola; the best curve is a rounded cone with steeper sides and a higher top. Both cross zero at almost the same two places, near -0.3 and 1.3."
x1 = np.linspace(-0.9, 1.9, 100)
line = np.stack([x1, np.full(100, CENTRE[1])], axis=-1)  # (100, 2)
y_line = np.einsum("ni,ij,nj->n", line, S, line) + line @ w + b

fig, ax = plt.subplots(figsize=(5, 3))
ax.plot(x1, y_line, label="trained unit")
ax.plot(x1, best_logit(np.abs(x1 - CENTRE[0])), "--", label="best possible")
ax.axhline(0, color="C4", linewidth=1)
ax.set_xlabel("$x_1$, at $x_2 = -0.3$")
ax.set_ylabel("$y$, positive for the inner ring")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# And the part of $A$ that doesn't matter is the one that was drawn:

# %%
before = (matrix_before - matrix_before.T)[0, 1] / 2
after = (matrix - matrix.T)[0, 1] / 2
print(f"antisymmetric part before {before:.3f}, after {after:.3f}")
print(f"symmetric part before {matrix_before[0, 0]:.1f}, after {S[0, 0]:.1f}")

# %% [markdown]
# ## Compare it with Dense
# <!-- search: custom layer vs Dense, compare with a dense network -->
#
# Train a `Dense` layer of as many units, one, on the same points, and a small network of
# `Dense` layers that can bend its boundary. Each gets the same optimizer and epochs.

# %%
models = {
    "Dense(1)": keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")]
    ),
    "Dense(8), Dense(1)": keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    ),
}
for other in models.values():
    train(other, epochs=50)

models["Quadratic(1)"] = model
for name, other in models.items():
    accuracy = other.evaluate(x_test, y_test, verbose=0)[1]
    print(f"{name:18} {other.count_params():2} parameters, ", end="")
    print(f"test accuracy {accuracy:.2f}")

# %% [markdown]
# A line that touches the inner ring would cut a third of the outer one off, and be right
# for 0.67 of the points; the cross-entropy prefers to say about 0.5 everywhere. Eight
# `relu` units close a polygon around the inner ring, with more than four times the
# parameters of the unit whose equation has the shape of the problem.

# %% alt="Three decision surfaces side by side with the training points. Dense(1) draws a straight line through the middle of both rings, on a surface that is nearly the same everywhere. The network of eight relu units has a closed boundary with corners. Quadratic(1) has a smooth one, an ellipse."
fig, axes = plt.subplots(
    1, 3, figsize=(7, 2.8), sharey=True, layout="constrained"
)
for ax, (name, other) in zip(axes, models.items(), strict=True):
    show(ax, other, points=30, size=6, every=5)
    ax.set_title(name)
axes[0].set_ylabel("$x_2$")
plt.show()

# %% [markdown]
# ## What goes wrong
# <!-- search: initial weights too large, initialization scale, weight scale -->
# <!-- search: glorot_uniform for a custom weight, large initial loss, too many parameters, scale the inputs -->
# <!-- search: normalize inputs -->
#
# **The matrices grow with the square of the features.** At two inputs a unit has 7
# numbers and a `Dense` unit 3. At the 784 pixels of a digit ten quadratic units have
# more than six million, and nearly half of those do nothing, since only $n (n + 1) / 2$
# numbers of a matrix matter.

# %%
for n in (2, 16, 784):
    quadratic, dense = Quadratic(10), keras.layers.Dense(10)
    quadratic.build((None, n))
    dense.build((None, n))
    idle = 10 * n * (n - 1) // 2
    print(f"{n:3} features: Dense {dense.count_params():,}, ", end="")
    print(f"Quadratic {quadratic.count_params():,}, {idle:,} do nothing")

# %% [markdown]
# **The start grows with the features too.** For inputs of variance 1, $x^\top A x$ adds
# $n^2$ products, so its standard deviation is about $n$ times that of the entries of $A$.
# Keras's default, `glorot_uniform`, reads a weight of shape $(k, n, n)$ as the kernel of
# a convolution and makes the entries $1/\sqrt{kn}$, which is too much for more features
# than units.
#
# Measure the loss of ten units before any training, beside that of ten `Dense` units. A
# model that knows nothing has a loss of $\ln 10 = 2.3$ over ten classes.

# %%
STARTS = {
    "1 / features": None,
    "glorot_uniform": "glorot_uniform",
    "random_normal": "random_normal",  # a deviation of 0.05
}
FEATURES = (4, 16, 64, 256, 784)


def loss_at_start(layer, features):
    """Cross-entropy of ten untrained units on random classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, features)).astype("float32")
    y = rng.integers(10, size=256)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(y, layer(x)))


starts = {
    name: [
        loss_at_start(Quadratic(10, matrix_initializer=start), n)
        for n in FEATURES
    ]
    for name, start in STARTS.items()
}
starts["Dense"] = [loss_at_start(keras.layers.Dense(10), n) for n in FEATURES]
for name, losses in starts.items():
    print(f"{name:14} at 784 features: a loss of {losses[-1]:.1f}")

# %% [markdown]
# With $1/n$ the loss stays near that of `Dense` up to 784 features. The other two climb. You
# notice it in the loss of the first epoch: where it is far above $\ln 10$, the model is
# sure of answers that are random.

# %% alt="Loss before training over the number of features from 4 to 784, both on logarithmic axes, for three starts of Quadratic and for Dense. The start of 1 / features stays as level as Dense, between 2 and 4; glorot_uniform rises to 14 and random_normal to about 60."
fig, ax = plt.subplots(figsize=(5, 3.4))
for (name, losses), marker in zip(starts.items(), "o^sv", strict=True):
    ax.loglog(FEATURES, losses, marker=marker, label=name)
ax.set_xticks(FEATURES, [f"{n}" for n in FEATURES])
ax.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
ax.minorticks_off()
ax.set_xlabel("features")
ax.set_ylabel("loss before training")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Inputs are squared as well: pixels from 0 to 255 make $x^\top A x$ 65,025 times what
# pixels from 0 to 1 make it. Scale them first.
#
# ## Save it and load it
#
# The class is registered and `get_config` returns its three arguments, so the file is
# enough where the class is imported. Compare the outputs, not only the names; a class
# that isn't registered
# [can't be located](../errors/saving.md#could-not-locate-class).

# %%
model.save("ring.keras")
reloaded = keras.saving.load_model("ring.keras")

difference = model.predict(x_test, verbose=0) - reloaded.predict(
    x_test, verbose=0
)
print(f"largest difference after reloading: {np.abs(difference).max():.6f}")
print("activation:", reloaded.get_layer("unit").activation.__name__)

# %% [markdown]
# ## What to change
#
# Put `Quadratic(4)` before a `Dense(1)` and train it on `make_moons`, or write $A$ as a
# product of thin matrices to save parameters. The parts of a layer, one by one, are
# in [Create a custom layer](../layers/custom_layer.md);
# [Create a custom model](../models/custom_model.md) goes on from there.
