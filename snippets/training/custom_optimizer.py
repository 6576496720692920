"""A custom optimizer, a learning rate schedule, and a rate for each layer."""

# --8<-- [start:normalized_momentum]
import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="guide")
class NormalizedMomentum(keras.optimizers.Optimizer):
    """Steps of length ``learning_rate`` along the averaged gradient."""

    def __init__(self, learning_rate=0.01, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError("`momentum` must be at least 0 and less than 1.")
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient, variable, learning_rate):
        average = self.averages[self._get_variable_index(variable)]
        fresh = ops.multiply(gradient, 1 - self.momentum)
        self.assign(average, ops.add(self.momentum * average, fresh))

        wide = keras.backend.result_type(variable.dtype, "float32")
        step = ops.cast(average, wide)
        # First to a size whose squares neither overflow nor vanish.
        step = ops.divide_no_nan(step, ops.max(ops.abs(step)))
        step = ops.divide_no_nan(step, ops.norm(ops.ravel(step)))
        step = ops.multiply(learning_rate, step)
        self.assign_sub(variable, ops.cast(step, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


# --8<-- [end:normalized_momentum]


# --8<-- [start:warmup_cosine]
@keras.saving.register_keras_serializable(package="guide")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 to ``peak`` in a line, then to 0 along half a cosine wave.

    Args:
        peak: The highest rate.
        warmup: Number of steps until it is reached.
        total: Number of steps until the rate is 0, and stays there.

    Raises:
        ValueError: If ``warmup`` is below 0, or isn't less than ``total``.
    """

    def __init__(self, peak, warmup, total):
        if not 0 <= warmup < total:
            raise ValueError(
                "`warmup` must be at least 0 and less than `total`."
            )
        self.peak = peak
        self.warmup = warmup
        self.total = total

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = step / self.warmup
        left = (self.total - step) / (self.total - self.warmup)
        falling = (1 - ops.cos(np.pi * ops.clip(left, 0, 1))) / 2
        return self.peak * ops.where(step < self.warmup, rising, falling)

    def get_config(self):
        names = ("peak", "warmup", "total")
        return {name: getattr(self, name) for name in names}


# --8<-- [end:warmup_cosine]


# --8<-- [start:layerwise_adam]
@keras.saving.register_keras_serializable(package="guide")
class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a rate of its own for some layers.

    Args:
        learning_rate: As for Adam.
        factors: The names of layers, each with what its rate is multiplied by.

    Raises:
        ValueError: If no weight is in a layer of that name.
    """

    def __init__(self, learning_rate=0.001, factors=None, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.factors = factors or {}

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        paths = [variable.path.split("/") for variable in variables]
        for name in self.factors:
            if not any(name in path for path in paths):
                raise ValueError(f"No weight is in a layer named {name!r}.")
        self.of_each = []
        for path in paths:  # as ["sequential", "head", "kernel"]
            named = [name for name in path if name in self.factors]
            self.of_each.append(self.factors[named[-1]] if named else 1.0)

    def update_step(self, gradient, variable, learning_rate):
        factor = self.of_each[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self):
        return {**super().get_config(), "factors": dict(self.factors)}


# --8<-- [end:layerwise_adam]


# --8<-- [start:decays_kernels]
@keras.saving.register_keras_serializable(package="guide")
class DecaysKernels(keras.optimizers.AdamW):
    """AdamW without decay of biases and of what normalization multiplies by.

    Loshchilov and Hutter 2019, arXiv:1711.05101.
    """

    def build(self, variables):
        if not self.built:
            names = ["bias", "beta", "gamma", "scale"]
            self.exclude_from_weight_decay(var_names=names)
        super().build(variables)


# --8<-- [end:decays_kernels]


if __name__ == "__main__":
    # --8<-- [start:program]
    keras.utils.set_random_seed(7)
    x = np.random.normal(size=(320, 3)).astype("float32")
    y = x @ [[2.0], [-1.0], [0.5]]

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=NormalizedMomentum(0.05, momentum=0.5), loss="mse")
    losses = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    print(f"loss in the first epoch {losses[0]:.2f}, last {losses[-1]:.2f}")

    model.save("line.keras")
    optimizer = keras.saving.load_model("line.keras").optimizer
    print("reloaded:", type(optimizer).__name__, optimizer.momentum)
    print("steps so far:", int(optimizer.iterations))
    # --8<-- [end:program]

    # --8<-- [start:steps]
    for make in (
        keras.optimizers.SGD,
        keras.optimizers.Adam,
        keras.optimizers.Lion,
        NormalizedMomentum,
    ):
        print(f"{make.__name__}:", end="")
        for scale in (1.0, 1000.0, 0.01):
            weight = keras.Variable([0.0, 0.0])
            gradient = ops.multiply(scale, [-4.0, -3.0])
            make(0.5).apply([gradient], [weight])
            one, other = weight.numpy().round(3)
            print(f" ({one:g}, {other:g})", end="")
        print()
    # --8<-- [end:steps]

    # --8<-- [start:rates]
    schedules = keras.optimizers.schedules
    rate = WarmupCosine(peak=0.1, warmup=10, total=100)
    built_in = schedules.CosineDecay(
        0.0, decay_steps=90, warmup_target=0.1, warmup_steps=10
    )
    for step in (0, 5, 10, 55, 100, 200):
        print(f"step {step}: {float(rate(step)):.3f}, ", end="")
        print(f"CosineDecay {float(built_in(step)):.3f}")

    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    model.fit(x, y, epochs=3, verbose=0)
    model.save("scheduled.keras")
    optimizer = keras.saving.load_model("scheduled.keras").optimizer
    print(f"reloaded after {int(optimizer.iterations)} steps: ", end="")
    print(f"{float(optimizer.learning_rate):.3f}")
    # --8<-- [end:rates]

    # --8<-- [start:moved]
    body = keras.layers.Dense(4, activation="tanh", name="body")
    head = keras.layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((3,)), body, head])
    adam = LayerwiseAdam(0.1, factors={"body": 0.01})
    model.compile(optimizer=adam, loss="mse")

    before = model.get_weights()
    model.fit(x, y, batch_size=320, verbose=0)  # one step
    for weight, old in zip(model.weights, before, strict=True):
        moved = np.max(np.abs(weight.numpy() - old))
        print(f"{weight.path} moved by {moved:.3f}")
    # --8<-- [end:moved]

    # --8<-- [start:accumulate]
    def trained(batch_size, **options):
        keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1, **options), loss="mse")
        model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
        return model.get_weights()[0][:, 0].round(2)

    print("steps on 32 samples: ", trained(32))
    print("on 4 batches of 8:   ", trained(8, gradient_accumulation_steps=4))
    print("steps on 8 samples:  ", trained(8))
    # --8<-- [end:accumulate]

    # --8<-- [start:decayed]
    def after_ten_steps(optimizer):
        """Return weights that start at 1 and have no gradient."""
        names = ("kernel", "bias", "gamma")
        weights = [keras.Variable(1.0, name=name) for name in names]
        optimizer.build(weights)
        for _ in range(10):
            optimizer.apply([ops.zeros(())] * 3, weights)
        return [round(float(weight), 2) for weight in weights]

    adamw = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    adamw.exclude_from_weight_decay(var_names=["bias", "gamma"])
    for optimizer in (adamw, DecaysKernels(0.1, weight_decay=0.1)):
        loaded = type(optimizer).from_config(optimizer.get_config())
        print(f"{type(optimizer).__name__}: {after_ten_steps(optimizer)}")
        print(f"from its config: {after_ten_steps(loaded)}")
    # --8<-- [end:decayed]
