"""Count traces, XLA's refusals, what 16 bits lose, and what stays in memory."""

# --8<-- [start:traces]
import gc

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Traces:
    """Runs a function, and keeps what it was given each time it ran."""

    def __init__(self, function):
        self.function = function
        self.seen = []

    def __call__(self, *args, **kwargs):
        kinds = [getattr(arg, "shape", arg) for arg in args]
        self.seen.append((*kinds, *kwargs.items()))
        return self.function(*args, **kwargs)


# --8<-- [end:traces]


# --8<-- [start:rms_norm]
@keras.saving.register_keras_serializable(package="guide")
class RMSNorm(keras.layers.Layer):
    """Divides by the root of the mean square, which it takes in 32 bits.

    Shapes: ``(batch, ..., features)`` to ``(batch, ..., features)``
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, wide)
        square = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return ops.cast(x / ops.sqrt(square + 1e-6), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


# --8<-- [end:rms_norm]


# --8<-- [start:size]
def size(model):
    """Bytes of a compiled model's weights and of what its optimizer keeps."""
    if not model.built:
        raise ValueError("call the model on data first")

    def count(variables):
        widths = [tf.as_dtype(v.dtype).size for v in variables]
        numbers = [int(np.prod(v.shape)) for v in variables]
        return int(np.dot(widths, numbers))

    model.optimizer.build(model.trainable_variables)
    return count(model.weights), count(model.optimizer.variables)


# --8<-- [end:size]


# --8<-- [start:left]
def operations():
    gc.collect()
    return sum(type(one) is tf.Operation for one in gc.get_objects())


def left_by(run, times=2):
    """How many operations of graphs stay alive after each run but the first."""
    run()
    before = operations()
    for _ in range(times):
        run()
        keras.utils.clear_session()
    return (operations() - before) // times


# --8<-- [end:left]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(1)
    x = np.random.normal(size=(320, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(32)

    def train(kind):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

        def step(x, y, rate):
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(model(x, training=True) - y))
            weights = model.trainable_variables
            for weight, slope in zip(
                weights, tape.gradient(loss, weights), strict=True
            ):
                weight.assign_sub(rate * slope)

        counted = Traces(step)
        graph = tf.function(counted)
        rate = 0.1
        for batch in data.repeat(3):
            graph(*batch, kind(rate))
            rate *= 0.95
        return counted.seen

    print("a Python number:", len(train(float)), "traces in 30 steps")
    print("a tensor:", len(train(tf.constant)), "trace,", *train(tf.constant))
    # --8<-- [end:program]

    # --8<-- [start:sizes]
    def double(x):
        return 2 * x

    unknown = tf.TensorSpec((None, 3), "float32")
    for options in (
        {},
        {"reduce_retracing": True},
        {"input_signature": [unknown]},
    ):
        counted = Traces(double)
        graph = tf.function(counted, **options)
        for length in range(1, 31):
            graph(x[:length])
        print(*options or ["by default"], len(counted.seen))
    # --8<-- [end:sizes]

    # --8<-- [start:fitted]
    def make(optimizer, *first, **options):
        last = keras.layers.Dense(1)
        model = keras.Sequential([keras.Input((3,)), *first, last])
        model.compile(optimizer, loss="mse", **options)
        return model

    def report(what, rows=320, **options):
        model.fit(x[:rows], x[:rows, :1], verbose=0, **options)
        print(f"{what}: {len(counted.seen)}")
        counted.seen.clear()

    model = make("adam")
    model.train_step = counted = Traces(model.train_step)
    report("first fit, 3 epochs", epochs=3)
    report("second fit")
    report("batches of 16", batch_size=16)
    report("300 rows, the last batch has 12", rows=300)
    report("batches of 50", batch_size=50)
    model.compile("adam", loss="mse")
    report("compiled again")
    model.layers[0].trainable = False
    report("trainable = False")
    # --8<-- [end:fitted]

    # --8<-- [start:refused]
    class Ranks(keras.layers.Layer):
        def call(self, inputs):
            found = tf.numpy_function(np.argsort, [inputs], tf.int64)
            return ops.reshape(ops.cast(found, "float32"), ops.shape(inputs))

        def compute_output_shape(self, input_shape):
            return input_shape

    print("jit_compile by default:", make("sgd").jit_compile)
    model = make("sgd", Ranks(), jit_compile=True)
    try:
        model.fit(x, x[:, :1], verbose=0)
    except tf.errors.InvalidArgumentError as error:
        message = "Detected unsupported operations"
        print(message if message in str(error) else error)
    # --8<-- [end:refused]

    # --8<-- [start:unchecked_fails]
    table = keras.layers.Embedding(3, 2, embeddings_initializer="ones")
    for jit in (False, True):
        read = tf.function(table, jit_compile=jit)
        try:
            print(f"XLA {jit}:", read(tf.constant([7])).numpy())
        except tf.errors.InvalidArgumentError as error:
            at = str(error).index("indices[0]")
            print(f"XLA {jit}:", str(error)[at : at + 31])
    # --8<-- [end:unchecked_fails]

    # --8<-- [start:overflow_fails]
    class NarrowNorm(RMSNorm):
        def call(self, inputs):
            square = ops.mean(ops.square(inputs), axis=-1, keepdims=True)
            return inputs / ops.sqrt(square + 1e-6)

    large = np.full((1, 4), 300.0)
    for policy in ("mixed_float16", "mixed_bfloat16"):
        for layer in (NarrowNorm(dtype=policy), RMSNorm(dtype=policy)):
            name = type(layer).__name__
            print(policy, name, float(layer(large)[0, 0]))
    # --8<-- [end:overflow_fails]

    # --8<-- [start:loss_scale]
    weight = keras.Variable([1.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    optimizer.build([weight])
    print("at first:", float(optimizer.dynamic_scale))
    optimizer.apply([tf.constant([np.inf])])
    print("after inf:", float(optimizer.dynamic_scale), weight.numpy())
    print("steps:", int(optimizer.inner_optimizer.iterations))
    # --8<-- [end:loss_scale]

    # --8<-- [start:models]
    def new_model():
        make("sgd").fit(x, x[:, :1], verbose=0)

    model = make("sgd")
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [one.numpy() for one in variables]

    def same_model(rate=0.1):
        for one, value in zip(variables, start, strict=True):
            one.assign(value)
        model.optimizer.learning_rate = rate
        model.fit(x, x[:, :1], verbose=0)

    print("a new model each time:", left_by(new_model), "operations")
    print("one model, reset:", left_by(same_model), "operations")
    # --8<-- [end:models]

    # --8<-- [start:sized]
    for optimizer in ("sgd", "adam"):
        wide = keras.Sequential([keras.Input((100,)), keras.layers.Dense(50)])
        wide.compile(optimizer, loss="mse")
        print(optimizer, *size(wide))
    # --8<-- [end:sized]
