"""Errors of custom layers: each fails as met, then works."""

# --8<-- [start:imports]
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# --8<-- [end:imports]


if __name__ == "__main__":
    # --8<-- [start:name_fails]
    class Scale(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(
                "scale", shape=(input_shape[-1],)
            )

        def call(self, inputs):
            return inputs * self.scale

    class Total(keras.metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.total = self.add_weight(
                "total", initializer="zeros"
            )

    try:
        Scale()(np.ones((2, 3)))
    except (TypeError, ValueError) as error:
        print(f"a layer, {type(error).__name__}: {error}")

    try:
        Total()
    except ValueError as error:
        print("a metric, ValueError:", error)
    # --8<-- [end:name_fails]

    # --8<-- [start:name_works]
    class Scale(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(
                name="scale", shape=(input_shape[-1],)
            )

        def call(self, inputs):
            return inputs * self.scale

    class Total(keras.metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.total = self.add_weight(
                name="total", initializer="zeros"
            )

    layer = Scale()
    layer(np.ones((2, 3)))
    print(
        "the layer's weight:", layer.scale.name, layer.scale.shape
    )
    total = Total().total
    print("the metric's:", total.name, total.shape)
    # --8<-- [end:name_works]

    # --8<-- [start:kwargs_fails]
    class Power(keras.layers.Layer):
        def __init__(self, exponent):
            super().__init__()
            self.exponent = exponent

        def call(self, inputs):
            return inputs**self.exponent

    try:
        Power(2, name="square")
    except TypeError as error:
        print("TypeError:", error)

    try:  # what cloning and loading do
        Power.from_config(Power(2).get_config())
    except TypeError as error:
        print("TypeError:", str(error).splitlines()[-1])
    # --8<-- [end:kwargs_fails]

    # --8<-- [start:kwargs_works]
    class Power(keras.layers.Layer):
        def __init__(self, exponent, **kwargs):
            super().__init__(**kwargs)
            self.exponent = exponent

        def call(self, inputs):
            return inputs**self.exponent

    layer = Power(3, name="cube")
    copy = Power.from_config(layer.get_config())
    print("the copy:", copy.name, copy.exponent)
    print("2 and 3:", copy(np.array([2.0, 3.0])).numpy())
    # --8<-- [end:kwargs_works]

    # --8<-- [start:axis_fails]
    class Projection(keras.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[1], 8)
            )

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    inputs = keras.Input((7, 4))  # (batch, steps, features)
    try:
        model = keras.Model(inputs, Projection()(inputs))
        print("declared:", model.output_shape)
        print("kernel:", model.weights[0].shape)
        model(np.ones((2, 7, 4)))
    except tf.errors.InvalidArgumentError as error:
        _, _, words = str(error).partition("}} ")
        print("InvalidArgumentError:", words.partition(" [Op")[0])
    except ValueError as error:  # while the model is built
        _, _, words = str(error).partition("encountered:\n\n")
        print("ValueError:", words.partition(" for ")[0])

    try:
        Projection()(keras.Input((None, 4)))
    except ValueError as error:
        words, _, _ = str(error).partition(" for variable")
        print("ValueError:", words)
    # --8<-- [end:axis_fails]

    # --8<-- [start:axis_works]
    class Projection(keras.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[-1], 8)
            )

        def call(self, inputs):
            return ops.matmul(inputs, self.kernel)

    inputs = keras.Input((None, 4))  # any number of steps
    model = keras.Model(inputs, Projection()(inputs))
    print("declared:", model.output_shape)
    print("kernel:", model.weights[0].shape)
    print("outputs:", model(np.ones((2, 7, 4))).shape)
    # --8<-- [end:axis_works]

    # --8<-- [start:untracked_fails]
    class Gain(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.gain = tf.Variable(1.0)  # Keras doesn't see it

        def call(self, inputs):
            return inputs * self.gain

    class Stack(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            policy = self.dtype_policy
            self.blocks = [None, None]
            for i in range(2):  # nor these
                self.blocks[i] = keras.layers.Dense(3, dtype=policy)

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return inputs

    for layer in Gain(), Stack():
        layer(np.ones((2, 3)))
        print(type(layer).__name__, end=", ")
        print("trainable weights:", len(layer.trainable_weights))
    # --8<-- [end:untracked_fails]

    # --8<-- [start:untracked_works]
    class Gain(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.gain = self.add_weight(
                name="gain", initializer="ones"
            )

        def call(self, inputs):
            return inputs * self.gain

    class Stack(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            policy = self.dtype_policy
            self.blocks = [
                keras.layers.Dense(3, dtype=policy)
                for _ in range(2)
            ]

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return inputs

    for layer in Gain(), Stack():
        layer(np.ones((2, 3)))
        print(type(layer).__name__, end=", ")
        print("trainable weights:", len(layer.trainable_weights))
    # --8<-- [end:untracked_works]

    # --8<-- [start:kerastensor_fails]
    inputs = keras.Input((3,))
    try:
        tf.reduce_sum(inputs, axis=-1)
    except ValueError as error:
        words, _, _ = str(error).partition(". ")
        print("ValueError:", words)
    # --8<-- [end:kerastensor_fails]

    # --8<-- [start:kerastensor_works]
    class Sum(keras.layers.Layer):
        def call(self, inputs):
            return tf.reduce_sum(inputs, axis=-1)

    inputs = keras.Input((3,))
    sums = [ops.sum(inputs, axis=-1), Sum()(inputs)]
    model = keras.Model(inputs, sums)
    print("by keras.ops and by a layer:", model.output_shape)
    x = np.array([[1.0, 2.0, 4.0]])
    print("sums:", [float(total[0]) for total in model(x)])
    # --8<-- [end:kerastensor_works]

    # --8<-- [start:mask_fails]
    class TimesOne(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 1.0

    def attend(steps):
        attention = keras.layers.MultiHeadAttention(1, 1)
        attention(steps, steps)
        return steps

    x = np.array([[[2.0], [4.0], [0.0], [0.0]]])
    mask_zeros = keras.layers.Masking()  # they are padding
    mean = keras.layers.GlobalAveragePooling1D()

    for name, operation in [
        ("a layer", TimesOne()),
        ("an operation", lambda steps: steps * 1.0),
        ("the input of attention", attend),
    ]:
        masked = mask_zeros(x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lost = operation(masked)
        print(f"{name}, warnings:", len(caught))
        for warning in caught:
            print(warning.message)
        print("mean of 2 and 4:", mean(lost).numpy().item())
    # --8<-- [end:mask_fails]

    # --8<-- [start:mask_works]
    class TimesOne(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, inputs):
            return inputs * 1.0

    masked = mask_zeros(x)
    for layer in TimesOne(), keras.layers.Rescaling(1.0):
        print(type(layer).__name__, end=", ")
        kept = layer(masked)
        print("mean of 2 and 4:", mean(kept).numpy().item())

    attention = keras.layers.MultiHeadAttention(1, 1)
    copy = keras.layers.Rescaling(1.0)(masked)
    attention(copy, copy)  # removes the mask of the copy
    print("copied, mean of 2 and 4:", mean(masked).numpy().item())

    mask = mask_zeros.compute_mask(x)
    attention(masked, masked)
    told = mean(masked, mask=mask)
    print("told, mean of 2 and 4:", told.numpy().item())
    # --8<-- [end:mask_works]

    # --8<-- [start:late_fails]
    class Scale(keras.layers.Layer):
        def call(self, inputs):
            self.scale = self.add_weight(
                name="scale", shape=(inputs.shape[-1],)
            )
            return inputs * self.scale

    class Project(keras.layers.Layer):
        def call(self, inputs):
            return keras.layers.Dense(2)(inputs)

    x = np.ones((2, 3))
    try:
        Scale()(x)
    except ValueError as error:
        _, _, words = str(error).partition("[1m")  # in bold
        print("Scale, ValueError:", words.partition(". ")[0])

    layer = Project()
    same = np.allclose(layer(x), layer(x))
    print("Project, weights:", len(layer.weights))
    print("two calls agree:", same)

    try:
        keras.Sequential([layer]).predict(x, verbose=0)
    except ValueError as error:
        _, _, words = str(error).partition("[1m")
        print("Project, ValueError:", words.partition(". ")[0])
    # --8<-- [end:late_fails]

    # --8<-- [start:late_works]
    class Scale(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(
                name="scale", shape=(input_shape[-1],)
            )

        def call(self, inputs):
            return inputs * self.scale

    class Project(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            policy = self.dtype_policy
            self.dense = keras.layers.Dense(2, dtype=policy)

        def call(self, inputs):
            return self.dense(inputs)

    for layer in Scale(), Project():
        same = np.allclose(layer(x), layer(x))
        print(type(layer).__name__, end=", ")
        print("weights:", len(layer.weights))
        print("two calls agree:", same)
        outputs = keras.Sequential([layer]).predict(x, verbose=0)
        print("predicted:", outputs.shape)
    # --8<-- [end:late_works]

    # --8<-- [start:if_fails]
    class Limit(keras.layers.Layer):
        def call(self, inputs):
            largest = ops.max(inputs)
            if largest > 1.0:
                return inputs / largest
            return inputs

    x = np.array([[1.0, 4.0]])
    print("called on data:", Limit()(x).numpy())

    model = keras.Sequential([keras.layers.Dense(2), Limit()])
    model.compile(loss="mse")
    try:
        model.fit(x, x, verbose=0)
    except tf.errors.OperatorNotAllowedInGraphError as error:
        print("fit,", type(error).__name__, end=": ")
        _, using, words = str(error).partition("Using")
        print(using + words.partition(". ")[0])
    # --8<-- [end:if_fails]

    # --8<-- [start:if_works]
    class Limit(keras.layers.Layer):
        def call(self, inputs):
            largest = ops.max(inputs)
            return inputs / ops.where(largest > 1.0, largest, 1.0)

    class LimitByCond(keras.layers.Layer):
        def call(self, inputs):
            largest = ops.max(inputs)
            return ops.cond(
                largest > 1.0,
                lambda: inputs / largest,
                lambda: inputs,
            )

    for layer in Limit(), LimitByCond():
        print(type(layer).__name__)
        print("called on data:", layer(x).numpy())
        model = keras.Sequential([keras.layers.Dense(2), layer])
        model.compile(loss="mse")
        model.fit(x, x, verbose=0)
        print("steps of fit:", int(model.optimizer.iterations))
    # --8<-- [end:if_works]
