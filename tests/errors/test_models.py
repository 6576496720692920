"""`docs/errors/models.md`: every claim that the page makes, proved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

# --- metrics-arity ----------------------------------------------------------------------------------------------------

X = np.ones((8, 4), dtype="float32")
Y = [np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]], np.eye(2)[[0, 1] * 4]]


def two_outputs(metrics) -> keras.Model:
    inputs = keras.Input((4,))
    colour = keras.layers.Dense(3, activation="softmax", name="colour")(inputs)
    shape = keras.layers.Dense(2, activation="softmax", name="shape")(inputs)
    model = keras.Model(inputs, [colour, shape])
    model.compile(loss="categorical_crossentropy", metrics=metrics)
    return model


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_one_metric_for_two_outputs_is_accepted_by_compile_and_refused_by_the_first_batch(method):
    model = two_outputs(["accuracy"])
    with pytest.raises(ValueError, match=r"^tuple arity mismatch; expected: 2, got: 1; [^\n]*\nInvalid `metrics`\."):
        getattr(model, method)(X, Y, verbose=0)


def test_a_list_of_two_metrics_gives_one_to_each_output():
    history = two_outputs(["accuracy", "mse"]).fit(X, Y, verbose=0).history
    assert set(history) == {"loss", "colour_loss", "shape_loss", "colour_accuracy", "shape_mse"}


def test_a_dict_of_metrics_by_output_works():
    model = two_outputs({"colour": ["accuracy"], "shape": ["accuracy"]})
    result = model.evaluate(X, Y, verbose=0, return_dict=True)
    for name, output, target in zip(["colour", "shape"], model(X), Y, strict=True):
        expected = np.mean(np.argmax(output, -1) == np.argmax(target, -1))
        assert result[f"{name}_accuracy"] == pytest.approx(expected)


# --- relu-cross-entropy -----------------------------------------------------------------------------------------------


def of_one_sample(outputs: list[float]) -> tuple[float, np.ndarray]:
    """Loss and gradient where the first class is true."""
    variable = tf.Variable([outputs])
    with tf.GradientTape() as tape:
        loss = keras.losses.categorical_crossentropy(np.array([[1.0, 0, 0]], "float32"), variable)
    return float(loss[0]), tape.gradient(loss, variable).numpy()


def test_the_loss_is_the_logarithm_of_the_true_classs_share():
    assert of_one_sample([2.0, 5.0, 1.0])[0] == pytest.approx(-np.log(2 / 8), rel=1e-5)


def test_outputs_that_are_all_zero_give_nan():
    assert np.isnan(of_one_sample([0.0, 0.0, 0.0])[0])


def test_the_gradient_is_zero_where_only_another_output_is_not():
    loss, gradient = of_one_sample([0.0, 5.0, 0.0])
    assert loss > 16
    np.testing.assert_array_equal(gradient, 0)


def clusters() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=300)
    x = rng.normal(scale=2, size=(3, 4))[classes] + 0.3 * rng.normal(size=(300, 4))
    return x.astype("float32"), keras.utils.to_categorical(classes)


@pytest.mark.parametrize(
    ("activation", "from_logits", "accuracy"), [("relu", False, None), ("softmax", False, 1.0), (None, True, 1.0)]
)
def test_only_softmax_or_logits_train(activation, from_logits, accuracy):
    x, y = clusters()
    model = keras.Sequential([keras.layers.Dense(3, activation=activation)])
    zero = np.all(model.predict(x, verbose=0) == 0, axis=-1).any()
    loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss, metrics=["accuracy"])
    history = model.fit(x, y, epochs=10, verbose=0).history
    if accuracy is None:
        assert zero
        assert np.isnan(history["loss"]).all()
    else:
        assert history["accuracy"][-1] > 0.95
        assert history["loss"][-1] < history["loss"][0]


# --- training-argument ------------------------------------------------------------------------------------------------


class Without(keras.Model):
    """A layer that behaves differently in training, and a model that isn't told."""

    def __init__(self, layer):
        super().__init__()
        self.inner = layer
        self.head = keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.inner(inputs))


class With(Without):
    def call(self, inputs, training=False):
        return self.head(self.inner(inputs, training=training))


def normalization() -> keras.layers.Layer:
    return keras.layers.BatchNormalization(momentum=0.9)


class Block(keras.layers.Layer):
    """A layer inside a model: it needs no argument of its own."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization(momentum=0.9)

    def call(self, inputs):
        return self.norm(inputs)


def fitted(model: keras.Model) -> keras.Model:
    x = np.random.default_rng(0).normal(5.0, 1.0, size=(128, 1)).astype("float32")
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, x, epochs=15, verbose=0)
    return model


def test_without_the_argument_the_moving_statistics_keep_their_first_values(recwarn):
    norm = fitted(Without(normalization())).inner
    assert not [warning for warning in recwarn if "training" in str(warning.message)]
    assert (norm.moving_mean.numpy(), norm.moving_variance.numpy()) == (0.0, 1.0)


def test_with_the_argument_they_are_learnt():
    norm = fitted(With(normalization())).inner
    np.testing.assert_allclose(norm.moving_mean, 5.0, atol=0.3)
    assert norm.moving_variance.numpy() != 1.0


def test_a_layer_between_needs_no_argument():
    class TakesIt(Without):
        def call(self, inputs, training=False):
            return self.head(self.inner(inputs))

    np.testing.assert_allclose(fitted(TakesIt(Block())).inner.norm.moving_mean, 5.0, atol=0.3)
    np.testing.assert_array_equal(fitted(Without(Block())).inner.norm.moving_mean, 0.0)


@pytest.mark.parametrize(("cls", "drops"), [(Without, False), (With, True)])
def test_dropout_drops_nothing_in_fit_without_the_argument(cls, drops):
    """Nothing is learnt at a rate of 0: the loss of `fit` is that of `evaluate`, unless something is dropped."""
    x = np.random.default_rng(0).normal(size=(64, 1)).astype("float32")
    model = cls(keras.layers.Dropout(0.5))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    loss = model.fit(x, x, verbose=0).history["loss"][0]
    assert (loss != pytest.approx(model.evaluate(x, x, verbose=0), rel=1e-5)) is drops


# --- list-order -------------------------------------------------------------------------------------------------------


def functional() -> keras.Model:
    inputs = keras.Input((1,))
    price, area = keras.layers.Rescaling(10.0)(inputs), keras.layers.Rescaling(1.0)(inputs)
    return keras.Model(inputs, {"price": price, "area": area})


class Subclassed(keras.Model):
    def call(self, inputs):
        return {"price": 10.0 * inputs, "area": inputs}


ONE = np.ones((8, 1), dtype="float32")
DICT = {"price": 10 * ONE, "area": ONE}


@pytest.fixture(params=[functional, Subclassed])
def dict_model(request) -> keras.Model:
    return request.param()


def evaluated(model: keras.Model, y, **options) -> dict[str, float]:
    model.compile(**options)
    return model.evaluate(ONE, y, verbose=0, return_dict=True)


def test_a_list_of_targets_is_matched_with_the_sorted_keys(dict_model):
    assert evaluated(dict_model, [10 * ONE, ONE], loss="mse") == {"loss": 162.0, "price_loss": 81.0, "area_loss": 81.0}
    assert evaluated(dict_model, [ONE, 10 * ONE], loss="mse")["loss"] == 0


def test_so_is_a_list_of_losses(dict_model):
    off = {"price": 10 * ONE + 3, "area": ONE}
    assert evaluated(dict_model, off, loss=["mse", "mae"])["price_loss"] == 3
    assert evaluated(dict_model, off, loss={"price": "mse", "area": "mae"})["price_loss"] == 9


def test_so_are_lists_of_metrics_and_loss_weights(dict_model):
    loss = {"price": "mse", "area": "mse"}
    off = {"price": 10 * ONE + 3, "area": ONE}
    assert {"area_mae", "price_mse"} <= set(evaluated(dict_model, off, loss=loss, metrics=["mae", "mse"]))
    assert evaluated(dict_model, off, loss=loss, loss_weights=[100.0, 1.0])["loss"] == 9


def test_dicts_are_matched_by_key(dict_model):
    for y in DICT, dict(reversed(DICT.items())):
        assert evaluated(dict_model, y, loss={"price": "mse", "area": "mse"})["loss"] == 0


# --- unbuilt-summary --------------------------------------------------------------------------------------------------


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8)
        self.scores = keras.layers.Dense(3)

    def call(self, inputs):
        return self.scores(ops.relu(self.hidden(inputs)))


def summary(model: keras.Model) -> str:
    lines: list[str] = []
    model.summary(line_length=72, print_fn=lines.append)
    return "\n".join(lines)


def test_a_new_model_shows_nothing():
    text = summary(Classifier())
    assert (text.count("?"), text.count("0 (unbuilt)")) == (2, 2)


@pytest.mark.filterwarnings("ignore:`build:UserWarning")
def test_build_changes_nothing():
    model = Classifier()
    model.build((None, 4))
    text = summary(model)
    assert (text.count("?"), text.count("0 (unbuilt)")) == (2, 2)


@pytest.mark.parametrize("inputs", [lambda: keras.Input((4,)), lambda: np.ones((1, 4))], ids=["Input", "data"])
def test_one_call_is_enough(inputs):
    model = Classifier()
    model(inputs())
    text = summary(model)
    assert "?" not in text
    assert "Total params: 67 " in text
    assert model.count_params() == 4 * 8 + 8 + 8 * 3 + 3


# --- trainable-after-compile ------------------------------------------------------------------------------------------


def two_layers() -> tuple[keras.Model, keras.layers.Layer]:
    base, head = (keras.layers.Dense(1, kernel_initializer="ones") for _ in range(2))
    return keras.Sequential([keras.Input((1,)), base, head]), base


def moved(model: keras.Model, base: keras.layers.Layer) -> bool:
    """Whether a `fit` changes the kernel."""
    before = base.kernel.numpy()
    model.fit(ONE, 0 * ONE, verbose=0)
    return not np.array_equal(before, base.kernel.numpy())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("first", [True, False])
def test_trainable_after_the_first_fit_changes_what_is_listed_and_not_what_is_trained(first, optimizer, recwarn):
    model, base = two_layers()
    base.trainable = first
    model.compile(optimizer=optimizer, loss="mse")
    assert moved(model, base) is first
    base.trainable = not first
    assert len(model.trainable_weights) == (2 if first else 4)
    assert moved(model, base) is first
    assert moved(model, base) is first
    assert not [warning for warning in recwarn if "compile" in str(warning.message)]

    model.compile(optimizer=optimizer, loss="mse")
    assert moved(model, base) is not first


@pytest.mark.parametrize("first", [True, False])
def test_it_is_the_first_fit_that_settles_it(first):
    model, base = two_layers()
    base.trainable = first
    model.compile(optimizer="sgd", loss="mse")
    base.trainable = not first
    assert moved(model, base) is not first


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_an_optimizer_that_has_trained_without_a_weight_refuses_it(optimizer):
    model, base = two_layers()
    base.trainable = False
    used = optimizer()
    model.compile(used, loss="mse")
    model.fit(ONE, ONE, verbose=0)
    base.trainable = True
    model.compile(used, loss="mse")
    with pytest.raises(ValueError, match=r"^Unknown variable: "):
        model.fit(ONE, ONE, verbose=0)
    model.compile(optimizer(), loss="mse")
    assert moved(model, base)
