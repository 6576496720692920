"""`docs/tutorials/variational_autoencoder.ipynb`: every claim that the notebook makes, proved."""

from __future__ import annotations

import re
from functools import cache
from unittest import mock

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.markers import MarkerStyle

from engine.prove import shapes
from tests import contract
from tests.shown import Shown, definitions, printed, shown_cells

NAME = "snippets.tutorials.variational_autoencoder"
tutorial = definitions(NAME)


def pictures(count: int = 64) -> np.ndarray:
    return (tutorial.load_digits().data[:count] / 16).astype("float32")


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def noise_of(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """What a new generator of that seed draws."""
    return np.asarray(keras.random.normal(shape, seed=keras.random.SeedGenerator(seed)))


def output() -> str:
    return printed(NAME)


def number(pattern: str) -> float:
    return float(re.search(pattern, output())[1])


# --- Sampling ---------------------------------------------------------------------------------------------------------


class Halves(tutorial.Sampling):
    """`Sampling`, with mean and log-variance as the halves of one input, as the contract gives them."""

    def call(self, inputs):
        return super().call(keras.ops.split(inputs, 2, axis=-1))

    def compute_output_shape(self, input_shape):
        half = (*input_shape[:-1], input_shape[-1] // 2)
        return super().compute_output_shape([half, half])


def test_sampling_passes_the_checkup():
    """Two calls differ: what the checkup can't compare for that reason follows below."""
    leave_out = {"file_round_trip": "the class of a test can't be loaded elsewhere: the model's is"}
    contract.passes_the_checkup(contract.Layer(lambda **kw: Halves(3, **kw), [(4,), (7, 4)], leave_out))


@pytest.mark.proves(
    "A draw from a normal distribution, with a gradient to its parameters.",
    "is the exponential of half of it.",
)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("shape", [(1, 2), (5, 2), (3, 4)])
def test_sampling_is_mean_plus_deviation_times_noise(shape, compiled):
    mean, log_variance = normal(*shape), normal(2, *shape)[1]
    layer = tutorial.Sampling(seed=3)
    call = tf.function(lambda *inputs: layer(list(inputs))) if compiled else lambda *inputs: layer(list(inputs))
    expected = mean + np.sqrt(np.exp(log_variance)) * noise_of(3, shape)
    np.testing.assert_allclose(call(tf.constant(mean), tf.constant(log_variance)), expected, rtol=1e-5, atol=1e-6)


def test_sampling_has_the_mean_and_the_variance_it_is_given():
    mean, log_variance = np.full((200_000, 1), 1.0, "float32"), np.full((200_000, 1), np.log(0.25), "float32")
    z = np.asarray(tutorial.Sampling(seed=1)([mean, log_variance]))
    assert z.mean() == pytest.approx(1.0, abs=0.01)
    assert z.var() == pytest.approx(0.25, abs=0.01)


@pytest.mark.proves(
    "It is an attribute of the layer, so that Keras knows it",
)
def test_sampling_has_no_weights_and_draws_other_noise_at_each_call():
    layer = tutorial.Sampling(seed=1)
    zeros = np.zeros((4, 2), "float32")
    one, other = layer([zeros, zeros]), layer([zeros, zeros])
    assert layer.weights == []
    assert np.abs(one - other).min() > 0
    assert layer.seed_generator.state.path in {variable.path for variable in layer.variables}


def test_the_gradient_of_sampling_matches_finite_differences():
    mean, log_variance = normal(3, 2).astype("float64"), normal(2, 3, 2)[1].astype("float64")

    def loss(mean, log_variance):
        z = tutorial.Sampling(seed=3, dtype="float64")([mean, log_variance])  # the same noise each time
        return tf.reduce_sum(tf.sin(z))

    inputs = [tf.constant(mean), tf.constant(log_variance)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    for index, gradient in enumerate(tape.gradient(value, inputs)):
        direction = np.random.default_rng(index).normal(size=mean.shape)
        above, below = [list(inputs), list(inputs)]
        above[index], below[index] = inputs[index] + 1e-6 * direction, inputs[index] - 1e-6 * direction
        slope = (loss(*above) - loss(*below)) / 2e-6
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5)


@pytest.mark.proves(
    "Draw the same distribution with NumPy, and the numbers are as good, but there is no gradient: the tape "
    "sees a constant.",
)
def test_numpys_draw_has_no_gradient():
    mean = tf.Variable(np.ones((5, 1), "float32"))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.constant(np.random.default_rng(0).normal(mean, 1.0)))
    assert tape.gradient(total, mean) is None
    assert "gradients: [None, None]" in output()


@pytest.mark.proves(
    "20,000 draws with mean 1 and variance 0.25 show whether it does what it says",
)
def test_the_printed_draws_have_the_mean_and_variance_of_the_prose():
    assert "mean of the draws 1.00, variance 0.25" in output()
    assert "dz / d mean is 1, largest difference 0.0" in output()
    assert "sigma * noise / 2, 0.0" in output()


@pytest.mark.proves(
    "the config keeps `seed`, so that a copy starts from the same noise.",
)
def test_a_copy_starts_from_the_same_noise():
    layer = tutorial.Sampling(seed=5, name="code")
    zeros = np.zeros((4, 2), "float32")
    first = layer([zeros, zeros])
    copy = tutorial.Sampling.from_config(layer.get_config())
    assert (copy.seed, copy.name) == (5, "code")
    contract.assert_same(copy([zeros, zeros]), first)


def test_sampling_reloads_from_a_file_and_starts_again_from_its_seed(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, tutorial.Sampling(seed=5)(inputs))
    zeros = np.zeros((4, 2), "float32")
    first, second = model([zeros, zeros]), model([zeros, zeros])
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.abs(second - first).min() > 0
    contract.assert_same(reloaded([zeros, zeros]), first)


def test_sampling_computes_in_the_precision_of_its_policy():
    zeros = np.zeros((4, 2), "float32")
    assert tutorial.Sampling(seed=1, dtype="mixed_float16")([zeros, zeros]).dtype == "float16"


# --- the losses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.1), (-2.0, 3.0)])
def test_the_divergence_is_the_integral(mean, variance):
    x = np.linspace(-30, 30, 60_001)
    log_q = -((x - mean) ** 2) / (2 * variance) - 0.5 * np.log(2 * np.pi * variance)
    log_p = -(x**2) / 2 - 0.5 * np.log(2 * np.pi)
    integral = np.sum(np.exp(log_q) * (log_q - log_p)) * (x[1] - x[0])
    closed = tutorial.kl_divergence(np.array([[mean]]), np.log([[variance]]))
    np.testing.assert_allclose(closed, [integral], atol=1e-8)


def test_the_divergence_is_summed_over_the_code_and_zero_for_the_prior():
    mean, log_variance = normal(5, 3), normal(2, 5, 3)[1]
    whole = tutorial.kl_divergence(mean, log_variance)
    axes = [tutorial.kl_divergence(mean[:, [i]], log_variance[:, [i]]) for i in range(3)]
    assert whole.shape == (5,)
    np.testing.assert_allclose(whole, np.sum(axes, axis=0), rtol=1e-5)
    assert np.asarray(tutorial.kl_divergence(np.zeros((1, 3)), np.zeros((1, 3)))) == 0


def test_the_divergences_that_the_plot_names():
    for mean, variance, value in (0.0, 1.0, "0.000"), (1.0, 1.0, "0.500"), (1.0, 0.1, "1.201"):
        assert f"mean {mean}, variance {variance}: formula {value}, integral {value}" in output()


def test_the_density_is_that_of_a_normal_distribution():
    x = np.linspace(-20, 20, 20_001)
    density, step = tutorial.density(x, 1.0, 0.5), x[1] - x[0]
    assert np.sum(density) * step == pytest.approx(1.0)
    assert np.sum(x * density) * step == pytest.approx(1.0)
    assert np.sum((x - 1) ** 2 * density) * step == pytest.approx(0.5)


@pytest.mark.proves(
    "The first loss is the binary cross-entropy of the pixels. It is summed over the 64 pixels, as the "
    "divergence is summed over the axes",
)
def test_the_reconstruction_loss_is_the_cross_entropy_summed_over_the_pixels():
    x, logits = pictures(5).astype("float64"), normal(5, 64).astype("float64")
    p = 1 / (1 + np.exp(-logits))
    expected = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=-1)
    np.testing.assert_allclose(tutorial.reconstruction_loss(x, logits), expected, rtol=1e-6)


@pytest.mark.proves(
    "Two numbers tell you what to expect. An untrained decoder gives each pixel about 0.5, which costs "
    r"$64 \log 2 = 44.4$.",
    "Grey pixels cost something even when they are met exactly, and that floor can be computed.",
)
def test_a_pixel_of_one_half_costs_log_two_and_the_floor_is_the_least_loss():
    x = pictures(20)
    np.testing.assert_allclose(tutorial.reconstruction_loss(x, np.zeros_like(x)), 64 * np.log(2), rtol=1e-5)
    assert 64 * np.log(2) == pytest.approx(44.4, abs=0.05)
    p = np.clip(x, 1e-6, 1 - 1e-6)
    exact = np.log(p / (1 - p))
    of_exact = np.mean(tutorial.reconstruction_loss(x, exact))
    assert of_exact == pytest.approx(tutorial.floor(x), abs=0.01)
    assert of_exact < np.mean(tutorial.reconstruction_loss(x, exact + 0.3 * normal(20, 64)))


@pytest.mark.proves(
    "The built-in cross-entropy averages over the pixels.",
)
def test_the_built_in_cross_entropy_averages_over_the_pixels():
    x, logits = pictures(5), normal(5, 64)
    averaged = keras.losses.binary_crossentropy(x, logits, from_logits=True)
    np.testing.assert_allclose(tutorial.reconstruction_loss(x, logits), 64 * averaged, rtol=1e-5)


# --- VAE --------------------------------------------------------------------------------------------------------------

MODEL = contract.Model(
    lambda **kw: tutorial.VAE(units=16, seed=1, **kw),
    data=lambda: (pictures(), pictures()),
    compile={"optimizer": "adam"},
    leave_out={"own_train_step": "its page says that a sample_weight is ignored"},
)


@pytest.mark.parametrize("check", contract.MODEL, ids=lambda check: check.__name__)
def test_contract(check):
    check(MODEL)


def test_it_comes_back_trained(tmp_path):
    """From a file, in this process: in another one, importing the module would run the whole notebook."""
    x, _y = MODEL.data()
    model, reloaded = fitted_and_reloaded(tmp_path, called=True)
    assert type(reloaded) is tutorial.VAE
    contract.assert_same(reloaded(x), model(x))


def fitted_and_reloaded(tmp_path, called):
    model = MODEL.make()
    if called:
        model(pictures())
    model.compile(**MODEL.compile)
    model.fit(pictures(), epochs=3, verbose=0)
    model.save(tmp_path / "vae.keras")
    return model, keras.saving.load_model(tmp_path / "vae.keras")


@pytest.mark.proves(
    "`vae.save` keeps the optimizer's state too, because `vae(train)` was called above.",
)
def test_the_optimizer_comes_back_if_the_model_was_called(tmp_path):
    model, reloaded = fitted_and_reloaded(tmp_path, called=True)
    assert int(reloaded.optimizer.iterations) == int(model.optimizer.iterations) == 6
    contract.assert_same(
        [np.asarray(v) for v in reloaded.optimizer.variables], [np.asarray(v) for v in model.optimizer.variables]
    )


@pytest.mark.proves(
    "after `fit` alone the model counts as unbuilt, and the loaded one has its weights and a new optimizer, "
    "with no more than a warning.",
)
def test_after_fit_alone_the_weights_come_back_and_the_optimizer_is_new(tmp_path):
    with (
        pytest.warns(UserWarning, match="You are saving a model that has not yet been built"),
        pytest.warns(UserWarning, match="Skipping variable loading for optimizer"),
    ):
        model, reloaded = fitted_and_reloaded(tmp_path, called=False)
    assert not model.built
    contract.assert_same(reloaded(pictures()), model(pictures()))
    assert (int(model.optimizer.iterations), int(reloaded.optimizer.iterations)) == (6, 0)


def test_the_gradient_of_both_losses_reaches_every_weight():
    vae = tutorial.VAE(units=16, seed=1)
    with tf.GradientTape() as tape:
        loss = vae.track_losses(pictures())
    watched = {id(variable) for variable in tape.watched_variables()}
    assert watched == {id(weight.value) for weight in vae.trainable_variables}
    for gradient in tape.gradient(loss, [weight.value for weight in vae.trainable_variables]):
        assert np.abs(gradient).max() > 0


def test_the_loss_is_the_mean_of_the_two_with_the_weight_of_the_second():
    x = pictures(7)
    vae = tutorial.VAE(latent=3, kl_weight=0.5, seed=4)
    mean, log_variance = (np.asarray(head) for head in vae.encoder(x))
    z = mean + np.exp(log_variance / 2) * noise_of(4, (7, 3))
    p = 1 / (1 + np.exp(-np.asarray(vae.decoder(z), "float64")))
    reconstruction = np.mean(np.sum(-x * np.log(p) - (1 - x) * np.log(1 - p), axis=-1))
    kl = np.mean(np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1)) / 2
    assert float(vae.track_losses(x)) == pytest.approx(reconstruction + 0.5 * kl, rel=1e-5)
    results = {name: float(value) for name, value in vae.results().items()}
    expected = {"loss": reconstruction + 0.5 * kl, "reconstruction": reconstruction, "kl": kl}
    assert results == pytest.approx(expected, rel=1e-5)


def test_train_step_moves_every_weight_and_test_step_none():
    vae = tutorial.VAE(units=16, seed=1)
    vae.compile(optimizer=keras.optimizers.Adam(0.01))
    vae(pictures())
    first = vae.get_weights()
    logs = vae.evaluate(pictures(), verbose=0, return_dict=True)
    contract.assert_same(vae.get_weights(), first)
    assert set(logs) == {"loss", "reconstruction", "kl"}
    assert logs["loss"] == pytest.approx(logs["reconstruction"] + logs["kl"], rel=1e-5)
    vae.fit(pictures(), verbose=0)
    assert not any(np.array_equal(now, then) for now, then in zip(vae.get_weights(), first, strict=True))


@pytest.mark.proves(
    "Keras 3 finds them in the attribute, and resets them at the start of each epoch.",
)
def test_the_trackers_are_found_without_a_metrics_property_and_reset_at_each_epoch():
    assert "metrics" not in vars(tutorial.VAE)
    vae = tutorial.VAE(units=16, seed=1)
    assert [metric.name for metric in vae.metrics] == ["loss", "reconstruction", "kl"]
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    history = vae.fit(pictures(), batch_size=64, epochs=3, verbose=0).history
    steps = [float(tracker.count) for tracker in vae.trackers]
    assert steps == [64.0, 64.0, 64.0]  # the pictures of the last epoch, not of three
    assert len(history["kl"]) == 3


class Told(keras.layers.Layer):
    """Counts how often it is told that it trains, and adds a loss."""

    def build(self, input_shape):
        self.times = self.add_weight(name="times", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        self.times.assign_add(1.0 if training else 0.0)
        self.add_loss(keras.ops.convert_to_tensor(3.0))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.proves("of regularizers and `add_loss`")
@pytest.mark.parametrize("eagerly", [True, False])
def test_the_parts_may_have_losses_and_layers_that_train_otherwise(eagerly):
    vae = tutorial.VAE(units=16, seed=1)
    inputs = keras.Input((64,))
    told = Told()
    vae.encoder = keras.Model(inputs, vae.encoder(told(inputs)))
    vae.decoder.layers[-1].kernel.regularizer = keras.regularizers.L2(0.5)
    penalty = float(0.5 * np.sum(vae.decoder.layers[-1].kernel.numpy() ** 2))
    vae.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=eagerly)
    history = {name: values[-1] for name, values in vae.fit(pictures(), epochs=2, verbose=0).history.items()}
    assert float(told.times) == 4
    logs = vae.evaluate(pictures(), verbose=0, return_dict=True)
    assert float(told.times) == 4
    for found in (history, logs):
        assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"] + penalty + 3.0, rel=1e-5)


@pytest.mark.proves("A short last batch counts as many as it holds, as in `fit`.")
@pytest.mark.parametrize("batch_size", [3, 33, 63])
def test_the_losses_do_not_depend_on_how_the_batches_divide_the_data(batch_size):
    vae = tutorial.VAE(units=16, seed=1)
    vae.compile(optimizer="sgd")
    x = pictures()
    whole, parts = (vae.evaluate(x, batch_size=size, verbose=0, return_dict=True) for size in (64, batch_size))
    assert parts["kl"] == pytest.approx(whole["kl"], rel=1e-5)
    blank = np.concatenate([x[:63], np.zeros((1, 64), "float32")])
    whole, parts = (vae.evaluate(blank, batch_size=size, verbose=0, return_dict=True) for size in (64, batch_size))
    assert parts["kl"] == pytest.approx(whole["kl"], rel=1e-5)


@pytest.mark.proves("A `sample_weight` is ignored here.")
def test_a_sample_weight_is_ignored():
    losses = []
    for weights in (None, np.zeros(64)):
        vae = tutorial.VAE(units=16, seed=1)
        vae.compile(optimizer="sgd")
        vae.decoder.set_weights([np.full_like(weight, 0.01) for weight in vae.decoder.get_weights()])
        vae.encoder.set_weights([np.full_like(weight, 0.01) for weight in vae.encoder.get_weights()])
        losses.append(vae.fit(pictures(), pictures(), sample_weight=weights, verbose=0, shuffle=False).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.proves("`latent=8` gives the code more room, and takes the plane away.")
def test_the_classes_work_where_the_notebook_ends(tmp_path):
    """No cell takes a name away that a class needs."""
    found = run(None)
    larger = found["VAE"](latent=8)
    assert larger.encoder(pictures())[0].shape == (64, 8)
    larger(pictures())
    larger.save(tmp_path / "larger.keras")
    contract.assert_same(keras.saving.load_model(tmp_path / "larger.keras")(pictures()), larger(pictures()))


@pytest.mark.proves("only the built-in `train_step` and `test_step` feed the metric `loss` that `compile` adds.")
def test_without_a_tracker_for_the_sum_the_history_has_none():
    class Untracked(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.half = keras.metrics.Mean(name="half")

        def call(self, inputs):
            return inputs

        def train_step(self, data):
            self.half.update_state(3.0)
            return {"loss": 2 * self.half.result(), "half": self.half.result()}

    model = Untracked()
    assert [metric.name for metric in model.metrics] == ["half"]
    model.compile("sgd")
    assert [metric.name for metric in model.metrics] == ["loss", "half"]
    history = model.fit(pictures(), verbose=0).history
    assert history == {"half": [3.0], "loss": [0.0]}

    model.compile("sgd", loss="mse")
    assert model.evaluate(pictures(), pictures() + 2, verbose=0, return_dict=True)["loss"] == pytest.approx(4, rel=1e-5)

    class Untested(Untracked):
        def test_step(self, data):
            return {"loss": 2 * self.half.result()}

    model = Untested()
    model.compile("sgd", loss="mse")
    model.evaluate(pictures(), pictures() + 2, verbose=0)
    assert model.get_metrics_result()["loss"] == 0


@pytest.mark.proves(
    "`add_loss` in `call` would do, with a plain `fit`, but the history then holds one number, and here you "
    "want to see two. So the model has its own `train_step`, and a metric for each loss.",
)
def test_add_loss_trains_with_a_plain_fit_and_reports_one_number():
    class Added(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.encoder = tutorial.make_encoder(2, 16, self.dtype_policy)
            self.sampling = tutorial.Sampling(seed=1)
            self.decoder = tutorial.make_decoder(2, 16, self.dtype_policy)

        def call(self, inputs):
            mean, log_variance = self.encoder(inputs)
            logits = self.decoder(self.sampling([mean, log_variance]))
            self.add_loss(keras.ops.mean(tutorial.reconstruction_loss(inputs, logits)))
            self.add_loss(keras.ops.mean(tutorial.kl_divergence(mean, log_variance)))
            return keras.ops.sigmoid(logits)

    model = Added()
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(pictures(), epochs=5, verbose=0).history
    assert set(history) == {"loss"}
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.proves(
    "`call` is what `predict` gives: the picture decoded at the mean, without noise.",
)
def test_call_decodes_the_mean_without_noise():
    vae, x = tutorial.VAE(seed=1), pictures(5)
    contract.assert_same(vae(x), vae(x))
    mean, _ = vae.encoder(x)
    contract.assert_same(vae(x), keras.ops.sigmoid(vae.decoder(mean)))


@pytest.mark.proves(
    "Seven dense layers, the two heads among them, have a kernel and a bias each",
)
def test_the_counts_that_the_notebook_prints():
    vae = tutorial.VAE(seed=1)
    vae(pictures(2))
    dense = [layer for part in (vae.encoder, vae.decoder) for layer in part.layers if layer.weights]
    assert len(dense) == 7
    assert all(len(layer.weights) == 2 for layer in dense)
    sizes = [(64, 128), (128, 128), (128, 2), (128, 2), (2, 128), (128, 128), (128, 64)]
    assert len(vae.trainable_variables) == 14
    assert vae.count_params() == sum(rows * columns + columns for rows, columns in sizes) == 50500
    for line in "weights to train: 14", "numbers to train: 50500", "metrics: ['loss', 'reconstruction', 'kl']":
        assert line in output()
    assert "weights that have moved: 14 of 14" in output()


@pytest.mark.proves(
    "`train_step` trains what `trainable_variables` lists, and nothing else.",
)
def test_a_tf_variable_is_not_in_the_models_books():
    class Hides(tutorial.VAE):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = tf.Variable(1.0)

    vae = Hides(seed=1)
    assert not any(variable.value is vae.scale for variable in vae.trainable_variables)
    assert len(vae.trainable_variables) == 14
    inputs, told = keras.Input((64,)), Told()
    vae.encoder = keras.Model(inputs, vae.encoder(told(inputs)))
    vae.compile("sgd")
    vae.fit(pictures(), epochs=2, verbose=0)
    assert float(vae.scale) == 1
    assert float(told.times) == 4  # moved, by its layer
    assert not any(variable is told.times for variable in vae.trainable_variables)


def test_every_argument_comes_back():
    vae = tutorial.VAE(latent=3, units=8, kl_weight=0.5, seed=2, name="codes")
    copy = tutorial.VAE.from_config(vae.get_config())
    assert (copy.latent, copy.units, copy.kl_weight, copy.seed, copy.name) == (3, 8, 0.5, 2, "codes")
    assert copy.sampling.seed == 2
    assert copy.encoder.output_shape == [(None, 3), (None, 3)]


@pytest.mark.proves(
    "in mixed precision, small gradients of an",
)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_it_learns_as_fast_under_mixed_precision_with_sgd_too(policy):
    """An unscaled loss stands still there: its gradients are rounded to zero."""
    losses = {}
    for name in ("float32", policy):
        keras.utils.set_random_seed(1)
        vae = tutorial.VAE(units=16, seed=1, dtype=name)
        keras.config.set_dtype_policy(name)  # as `compile` looks at it
        vae.compile(optimizer=keras.optimizers.SGD(0.01))
        keras.config.set_dtype_policy("float32")
        losses[name] = vae.fit(pictures(320), epochs=4, verbose=0).history["loss"]
    assert losses["float32"][-1] < losses["float32"][0] - 3
    np.testing.assert_allclose(losses[policy], losses["float32"], atol=0.3)


@pytest.mark.proves(
    "The encoder has one body and two heads, for the mean and for the logarithm of the variance. The decoder "
    "ends in 64 logits, without an activation.",
    "What the losses are made of comes in the dtype of the weights: under mixed precision that is `float32`",
)
def test_the_heads_are_in_the_dtype_of_the_weights_and_the_rest_in_that_of_the_policy():
    vae = tutorial.VAE(units=16, seed=1, dtype="mixed_float16")
    heads = [*vae.encoder(pictures(2)), vae.decoder(np.ones((2, 2)))]
    assert {keras.backend.standardize_dtype(head.dtype) for head in heads} == {"float32"}
    hidden = [layer for layer in [*vae.encoder.layers, *vae.decoder.layers] if layer.name.startswith("dense")]
    assert len(hidden) == 4
    assert {layer.compute_dtype for layer in [*hidden, vae.sampling]} == {"float16"}
    assert {layer.activation for layer in hidden} == {keras.activations.tanh}


def test_encoder_and_decoder_are_what_their_layers_compute():
    vae, x = tutorial.VAE(units=16, seed=1), pictures(5)
    vae(x)
    rng = np.random.default_rng(0)
    for part in (vae.encoder, vae.decoder):
        part.set_weights([rng.normal(size=weight.shape, scale=0.3) for weight in part.weights])
    (k1, b1, k2, b2, k3, b3, k4, b4), decoder = vae.encoder.get_weights(), vae.decoder.get_weights()
    hidden = np.tanh(np.tanh(x @ k1 + b1) @ k2 + b2)
    mean, log_variance = vae.encoder(x)
    np.testing.assert_allclose(mean, hidden @ k3 + b3, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(log_variance, hidden @ k4 + b4, rtol=1e-3, atol=1e-4)
    hidden = np.tanh(np.tanh(mean @ decoder[0] + decoder[1]) @ decoder[2] + decoder[3])
    logits = hidden @ decoder[4] + decoder[5]
    np.testing.assert_allclose(vae(x), 1 / (1 + np.exp(-logits)), rtol=1e-3, atol=1e-4)


def test_the_defaults_of_the_constructors():
    vae = tutorial.VAE()
    assert (vae.latent, vae.units, vae.kl_weight, vae.seed, tutorial.Sampling().seed) == (2, 128, 1.0, None, None)


def test_the_docstrings_give_the_shapes():
    mean, pixels = normal(5, 3), pictures(5)
    shapes.check_docstring(tutorial.Sampling, [mean, mean], tutorial.Sampling()([mean, mean]))
    shapes.check_docstring(tutorial.kl_divergence, [mean, mean], tutorial.kl_divergence(mean, mean))
    shapes.check_docstring(
        tutorial.reconstruction_loss, [pixels, pixels], tutorial.reconstruction_loss(pixels, normal(5, 64))
    )


# --- the pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "A margin of one pixel makes each 10 by 10",
)
def test_compose_puts_each_picture_where_it_belongs():
    many = pictures(6)
    image = tutorial.compose(many, rows=2, columns=3)
    assert image.shape == (20, 30)
    for index in range(6):
        row, column = divmod(index, 3)
        tile = image[row * 10 : row * 10 + 10, column * 10 : column * 10 + 10]
        np.testing.assert_array_equal(tile[1:-1, 1:-1], many[index].reshape(8, 8))
        assert tile.sum() == pytest.approx(many[index].sum(), rel=1e-6)  # the margin is zero


@pytest.mark.proves(
    "scikit-learn carries 1,797 handwritten digits of 8 by 8 pixels, each pixel a whole number from 0 to 16. "
    "Divided by 16 a pixel is a number from 0 to 1",
)
def test_the_data_are_as_the_prose_says():
    data = tutorial.load_digits().data
    assert data.shape == (1797, 64)
    assert set(np.unique(data)) == set(range(17))
    assert tutorial.load_digits().images.shape[1:] == (8, 8)
    assert "training: (1500, 64) held out: (297, 64)" in output()


# --- what the trained run shows ---------------------------------------------------------------------------------------


def test_training_beats_the_average_picture_and_not_the_floor():
    average = number(r"the average picture for each: ([\d.]+)")
    floor = number(r"each picture exactly: ([\d.]+)")
    trained = number(r"reconstruction, held out: ([\d.]+)")
    assert 44 <= number(r"before training: (\d+)") <= 46
    assert floor < trained < average - 4
    assert number(r"kl, held out: ([\d.]+)") == pytest.approx(2.3, abs=0.15)


@cache
def drawn(seed: int | None) -> tuple[Shown, list[plt.Figure]]:
    """The notebook as far as its last training, with another seed or its own, and its figures."""
    figures: list[plt.Figure] = []
    with mock.patch("matplotlib.pyplot.show", side_effect=lambda: figures.append(plt.gcf())):
        done = shown_cells(NAME, seed=seed, until="both summed: spread")
    return done, figures


def run(seed: int | None) -> Shown:
    return drawn(seed)[0]


@pytest.mark.proves(
    "50 epochs of 30 batches are 1,500 steps. The learning rate falls to 0 over them",
    "Two panels over 50 epochs, with training and held-out pictures close together. The reconstruction "
    "loss starts between 27 and 33 and falls to about 22. In the first five epochs the KL divergence stays "
    "between 0.5 and 2.1; at the end it is about 2.3.",
    "The dashed lines stay close to the solid ones: the model doesn't overfit.",
)
def test_the_losses_go_as_the_plot_is_described(seed):
    for found in (run(seed), run(None)):
        history = found["history"]
        assert len(history["kl"]) == 50
        for split in ("", "val_"):
            assert 27 < history[f"{split}reconstruction"][0] < 33
            assert 21.5 < history[f"{split}reconstruction"][-1] < 23
            assert all(0.5 < kl < 2.1 for kl in history[f"{split}kl"][:5])
            assert 2.05 < history[f"{split}kl"][-1] < 2.5
        np.testing.assert_allclose(history["reconstruction"][5:], history["val_reconstruction"][5:], rtol=0.05)
        rates = found["rate"]
        assert float(rates(1500)) == pytest.approx(0, abs=1e-9)
        assert int(found["vae"].optimizer.iterations) == 1500


@pytest.mark.proves(
    "KL divergence over 15 epochs for three weightings. With both losses summed it stays between 0.5 and 2. "
    "With averaged pixels it lies close to zero throughout. With an averaged KL it starts above 20, and from the "
    "second epoch on it stays between 6 and 12.",
    "and the decoder returns the average picture, whose loss of 27 you met above.",
    "its means spread about twice as wide as the",
)
def test_averaged_pixels_collapse_the_code_and_an_averaged_kl_frees_it(seed):
    found = run(seed)
    assert "pixels averaged: KL 0, reconstruction 27, spread of the means 0" in found.printed
    curves = found["curves"]
    assert max(curves["pixels averaged"]) < 0.2
    assert curves["KL averaged"][0] > 20
    assert all(6 < kl < 12 for kl in curves["KL averaged"][1:])
    assert all(0.5 < kl < 2 for kl in curves["both summed"])
    (wide,) = re.findall(r"KL averaged: KL \d+, reconstruction (\d+), spread of the means 2", found.printed)
    assert int(wide) <= 22
    assert "both summed: spread of the means 1" in found.printed


@pytest.mark.proves(
    "The other model reconstructs better, at 21, and can't be drawn from",
)
def test_the_page_prints_what_its_sentence_says_of_the_freed_code():
    assert "KL averaged: KL 10, reconstruction 21, spread of the means 2" in output()


def neighbours_alike(found: Shown) -> dict[int, float]:
    """For each digit, how many of the five nearest codes of held-out pictures show the same."""
    labels, codes = found["held_out_labels"], np.asarray(found["vae"].encoder(found["held_out"])[0])
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    alike = labels[np.argsort(distances, axis=1)[:, :5]] == labels[:, None]
    return {digit: alike[labels == digit].mean() for digit in range(10)}


@pytest.mark.proves(
    "Equal digits gather; 1, 3, 5, 8 and 9 overlap.",
    "Equal digits gather: 0, 2, 4, 6 and 7 have places of their own around the edge, while 1, 3, 5, 8 and 9 "
    "overlap towards the middle. All lie within 3 of the origin.",
)
def test_equal_digits_gather_and_half_of_them_overlap():
    found = run(None)
    alike = neighbours_alike(found)
    assert min(alike[digit] for digit in (0, 2, 4, 6, 7)) > 0.75
    assert max(alike[digit] for digit in (1, 3, 5, 8, 9)) < 0.6
    codes = np.asarray(found["vae"].encoder(found["held_out"])[0])
    assert codes.shape == (297, 2)
    assert np.linalg.norm(codes, axis=-1).max() < 3


@pytest.mark.proves("Each held-out picture stands at the mean of its code, drawn as the digit that it shows.")
def test_each_picture_is_drawn_as_its_digit_at_the_mean_of_its_code(seed):
    found, figures = drawn(seed)
    codes, labels = np.asarray(found["vae"].encoder(found["held_out"])[0]), found["held_out_labels"]
    (axes,) = [ax for figure in figures for ax in figure.axes if len(ax.collections) == 10]
    for digit, points in enumerate(axes.collections):
        np.testing.assert_allclose(points.get_offsets(), codes[labels == digit], rtol=1e-3, atol=1e-4)
        marker = MarkerStyle(f"${digit}$")
        (path,) = points.get_paths()
        np.testing.assert_allclose(path.vertices, marker.get_path().transformed(marker.get_transform()).vertices)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first axis of the code", "second axis of the code")


def test_equal_digits_gather_with_any_seed(seed):
    alike = neighbours_alike(run(seed))
    assert all(share > 0.2 for share in alike.values())  # one in ten would be chance
    assert np.mean(list(alike.values())) > 0.6


@pytest.mark.proves(
    "the average over all pictures with about that code. It is blurred",
)
def test_the_reconstruction_is_the_average_of_pictures_with_about_that_code():
    """It is blurred: a reconstruction lies nearer to the mean of its code's neighbours than its own picture does."""
    found = run(None)
    train, codes = found["train"], np.asarray(found["vae"].encoder(found["train"])[0])
    own = np.asarray(found["vae"](found["held_out"]))
    centres = np.asarray(found["vae"].encoder(found["held_out"])[0])
    nearest = np.argsort(np.linalg.norm(centres[:, None] - codes[None], axis=-1), axis=1)[:, :20]
    averages = train[nearest].mean(axis=1)
    to_average = np.linalg.norm(own - averages, axis=1).mean()
    assert to_average < np.linalg.norm(found["held_out"] - averages, axis=1).mean() / 2


@pytest.mark.proves(
    "Beside a summed divergence it is 64 times too light, the same as `kl_weight=64`. The reverse, a "
    "divergence divided by the number of pixels, is `kl_weight=1 / 64`.",
)
def test_one_factor_makes_all_the_difference_between_sums_and_averages():
    """Averaging the pixels is `kl_weight=64`, up to the scale of the whole loss; averaging the KL is 1 / 64."""
    x = pictures(7)
    vae = tutorial.VAE(seed=4)
    mean, log_variance = vae.encoder(x)
    logits = vae.decoder(vae.sampling([mean, log_variance]))
    kl = float(np.mean(tutorial.kl_divergence(mean, log_variance)))
    averaged = float(keras.losses.BinaryCrossentropy(from_logits=True)(x, logits)) + kl
    heavy = tutorial.VAE(kl_weight=64.0, seed=4)
    heavy(x)
    heavy.set_weights(vae.get_weights())
    assert float(heavy.track_losses(x)) == pytest.approx(64 * averaged, rel=1e-5)


@pytest.mark.proves(
    "posterior collapse: every picture has the code",
)
def test_a_few_epochs_of_a_heavy_divergence_collapse_the_code():
    vae = tutorial.VAE(units=16, kl_weight=64.0, seed=1)
    vae.compile(optimizer=keras.optimizers.Adam(0.01))
    history = vae.fit(pictures(300), epochs=12, verbose=0).history
    assert history["kl"][-1] < 0.05
    assert np.std(vae.encoder(pictures(300))[0]) < 0.1


# --- the other traps --------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "Without the factor 0.5 the exponential is the variance and not the deviation.",
)
def test_without_the_half_the_variance_is_squared():
    assert "exp(0.5 * log variance): variance 0.25" in output()
    assert "exp(1.0 * log variance): variance 0.06" in output()
    np.testing.assert_allclose(0.25**2, 0.06, atol=0.005)


@pytest.mark.proves(
    "A head that is taken for the variance itself has negative values, whose root is `nan`.",
)
def test_a_linear_head_has_negative_values_whose_root_is_nan():
    _, head = tutorial.VAE().encoder(pictures())
    assert np.min(head) < 0
    assert np.isnan(keras.ops.sqrt(head)).any()
    assert "roots of the head that are nan: True" in output()


@pytest.mark.proves(
    "inside, as in `fit`, it is drawn once, while the function is traced.",
)
@pytest.mark.parametrize("draw", [tutorial.numpy_noise, tutorial.fixed_seed], ids=lambda draw: draw.__name__)
def test_noise_that_stands_still_in_a_tf_function(draw):
    zeros, compiled = tf.zeros((4, 2)), tf.function(draw)
    contract.assert_same(compiled(zeros), compiled(zeros))
    assert f"{draw.__name__}: the same noise twice, True" in output()


@pytest.mark.proves(
    "A number as the seed of `keras.random.normal` gives the same noise at each call. NumPy's noise differs "
    "from call to call outside a `tf.function`",
)
def test_numpys_noise_moves_outside_a_tf_function_and_a_fixed_seed_does_not():
    zeros = tf.zeros((4, 2))
    assert np.abs(tutorial.numpy_noise(zeros) - tutorial.numpy_noise(zeros)).min() > 0
    contract.assert_same(tutorial.fixed_seed(zeros), tutorial.fixed_seed(zeros))


@pytest.mark.proves(
    "The `SeedGenerator` holds a counter that moves with each draw, inside a `tf.function` too.",
)
def test_noise_that_moves_in_a_tf_function():
    layer, zeros = tutorial.Sampling(seed=1), tf.zeros((4, 2))
    compiled = tf.function(lambda mean: layer([mean, mean]))
    assert np.abs(compiled(zeros) - compiled(zeros)).min() > 0
    assert "sampling_layer: the same noise twice, False" in output()


@pytest.mark.proves(
    "Without any seed, `keras.random.normal` draws from a generator that the whole program shares: the noise "
    "moves, and depends on everything that drew from it before.",
)
def test_without_a_seed_the_noise_moves_and_depends_on_what_drew_before():
    draw = tf.function(lambda: keras.random.normal((4, 2)))
    assert np.abs(draw() - draw()).min() > 0
    keras.utils.set_random_seed(3)
    alone = keras.random.normal((4, 2))
    keras.utils.set_random_seed(3)
    keras.random.normal((1,))
    assert np.abs(keras.random.normal((4, 2)) - alone).max() > 0
    keras.utils.set_random_seed(3)
    keras.layers.Dense(2).build((None, 3))  # so do the layers that are made
    assert np.abs(keras.random.normal((4, 2)) - alone).max() > 0
    keras.utils.set_random_seed(3)
    np.random.normal(), tf.random.normal(()), keras.random.normal((1,), seed=1)  # from others
    contract.assert_same(keras.random.normal((4, 2)), alone)


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "It is a functional model of built-in layers, so the file loads without the classes of this page.",
)
def test_the_decoder_loads_without_the_classes_of_the_page(tmp_path, fresh_process):
    vae, codes = tutorial.VAE(units=16), normal(5, 2)
    vae.decoder.save(tmp_path / "decoder.keras")
    drawn = fresh_process.submit(contract.load_and_call, tmp_path / "decoder.keras", "keras", codes).result()
    contract.assert_same(drawn, np.asarray(vae.decoder(codes)))
    assert "largest difference after reloading: 0.0" in output()


@pytest.mark.proves(
    "The counter of the noise isn't in the file: a loaded model starts again from its seed.",
)
def test_a_loaded_model_starts_its_noise_again(tmp_path):
    x = pictures(5)
    vae = tutorial.VAE(units=16, seed=3)
    vae(x)
    zeros = np.zeros((4, 2), "float32")
    first = vae.sampling([zeros, zeros])
    vae.save(tmp_path / "vae.keras")
    reloaded = keras.saving.load_model(tmp_path / "vae.keras")
    contract.assert_same(reloaded.sampling([zeros, zeros]), first)
