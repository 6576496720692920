"""Measure what custom layers, steps and loops cost against the built-in ones, on your machine.

Each row is a ratio of processor time: what the first form takes, divided by what the second takes. Both are run in
turn, as often as `--repeat` says, and the median of the ratios is printed with the smallest and the largest::

    python cost.py --repeat 9

Needs Python, NumPy, TensorFlow and Keras 3 on the TensorFlow backend.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

FEATURES, WIDTH, BATCH = 32, 128, 32


class OwnDense(layers.Layer):
    """What `Dense` does, without its options."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.bias


class OwnNormalization(layers.Layer):
    """What `LayerNormalization` does, without its options."""

    def build(self, input_shape):
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        centered = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
        return centered / ops.sqrt(variance + 1e-3) * self.gamma + self.beta


class OwnStep(keras.Sequential):
    """A `train_step` that is written out."""

    def train_step(self, data):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True), weights)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        self.metrics[0].update_state(loss, sample_weight=tf.shape(x)[0])
        return {"loss": self.metrics[0].result()}


def make(dense=layers.Dense, norm=layers.Identity, cls=keras.Sequential, policy="float32", **options) -> keras.Model:
    """A small compiled model: what stands around its products takes a large share of the time."""
    keras.utils.set_random_seed(1)
    hidden = [part for _ in range(2) for part in (dense(WIDTH, dtype=policy), norm(dtype=policy))]
    model = cls([keras.Input((FEATURES,)), *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.001), "mse", **options)
    model.optimizer.build(model.trainable_variables)
    return model


def fitted(steps: int, **options) -> Callable[[], object]:
    """`fit` of a model, which is traced before it is timed."""
    model, x = make(**options), np.random.default_rng(1).normal(size=(steps * BATCH, FEATURES)).astype("float32")
    return lambda: model.fit(x, x[:, :1], batch_size=BATCH, shuffle=False, verbose=0)


def looped(steps: int, traced: bool) -> Callable[[], object]:
    """A training loop over the batches of a dataset, whose step is a tf.function or runs eagerly."""
    model, x = make(), np.random.default_rng(1).normal(size=(steps * BATCH, FEATURES)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(BATCH).prefetch(2)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    step = tf.function(step) if traced else step
    return lambda: [step(*batch) for batch in data]


def rows(count: int, how: str) -> Callable[[], object]:
    """A prediction for each of some single rows."""
    model, x = make(), tf.random.normal((count, 1, FEATURES))
    call = {"predict": lambda row: model.predict(row, verbose=0), "model": model, "graph": tf.function(model)}[how]
    return lambda: [call(row) for row in x]


def pairs(steps: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """What is compared: a name, the form that is measured, and the form it is divided by."""
    plain = fitted(steps)
    normal = fitted(steps, norm=layers.LayerNormalization)
    eager, traced = looped(steps, traced=False), looped(steps, traced=True)
    predict, call, graph = (rows(steps // 8 + 1, how) for how in ("predict", "model", "graph"))
    return {
        "custom Dense / Dense": (fitted(steps, dense=OwnDense), plain),
        "custom LayerNormalization / built-in": (fitted(steps, norm=OwnNormalization), normal),
        "custom train_step / fit": (fitted(steps, cls=OwnStep), plain),
        "traced loop / fit": (traced, plain),
        "eager loop / traced loop": (eager, traced),
        "run_eagerly=True / fit": (fitted(steps, run_eagerly=True), plain),
        "steps_per_execution=16 / fit": (fitted(steps, steps_per_execution=16), plain),
        "jit_compile=True / fit": (fitted(steps, jit_compile=True), plain),
        "mixed_float16 / float32": (fitted(steps, policy="mixed_float16"), plain),
        "mixed_bfloat16 / float32": (fitted(steps, policy="mixed_bfloat16"), plain),
        "predict(row) / model(row)": (predict, call),
        "tf.function(model)(row) / model(row)": (graph, call),
    }


def seconds(run: Callable[[], object]) -> float:
    """Processor time of all threads: what other programs take doesn't count."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(repeat: int = 9, steps: int = 200) -> dict[str, list[float]]:
    """The ratios of each pair. The forms of a pair take turns, and so do the pairs."""
    compared = pairs(steps)
    for pair in compared.values():  # traces, compiles with XLA
        for run in pair:
            run()
    ratios = {name: [] for name in compared}
    for _ in range(repeat):
        for name, (one, other) in compared.items():
            ratios[name].append(seconds(one) / max(seconds(other), 1e-9))
    return ratios


def report(ratios: dict[str, list[float]]) -> str:
    """A line for each pair: the median, and the smallest and the largest ratio."""
    lines = [f"{n:40}{statistics.median(r):7.2f}   {min(r):.2f} to {max(r):.2f}" for n, r in ratios.items()]
    cores, today = os.cpu_count(), datetime.date.today()
    return "\n".join([f"{today}, TensorFlow {tf.__version__}, Keras {keras.__version__}, {cores} cores", *lines])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ratios of processor time: custom code against built-in.")
    parser.add_argument("--repeat", type=int, default=9, help="how often each pair is timed")
    parser.add_argument("--steps", type=int, default=200, help="how many batches are timed at once")
    print(report(measure(**vars(parser.parse_args()))))
