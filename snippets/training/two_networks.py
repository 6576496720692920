"""Two networks, two optimizers: a GAN inside `fit`, saved and resumed."""

# --8<-- [start:gan]
import keras
import numpy as np
import tensorflow as tf
from keras import ops


def network(inputs, outputs, policy):
    layers = [
        keras.layers.Dense(64, activation="leaky_relu", dtype=policy),
        keras.layers.Dense(64, activation="leaky_relu", dtype=policy),
        keras.layers.Dense(outputs, dtype=policy),
    ]
    of_inputs = keras.Input((inputs,), dtype=policy.compute_dtype)
    return keras.Sequential([of_inputs, *layers])


@keras.saving.register_keras_serializable(package="guide")
class GAN(keras.Model):
    """A generator of points in the plane, trained against a discriminator.

    Shapes: ``(batch, noise)`` to ``(batch, 2)``
    """

    def __init__(self, noise_size=2, discriminator_steps=1, **kwargs):
        super().__init__(**kwargs)
        self.noise_size = noise_size
        self.discriminator_steps = discriminator_steps
        self.generator = self.make_generator()
        self.discriminator = self.make_discriminator()
        self.random = keras.random.SeedGenerator()
        self.random_state = self.random.state  # a weight: it is saved
        self.generator_mean = keras.metrics.Mean()
        self.discriminator_mean = keras.metrics.Mean()
        self.built = self.generator.built and self.discriminator.built

    def make_generator(self):
        return network(self.noise_size, 2, self.dtype_policy)

    def make_discriminator(self):
        return network(2, 1, self.dtype_policy)  # gives a logit

    def call(self, noise, training=False):
        return self.generator(noise, training=training)  # (batch, 2)

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        super().compile(optimizer=None, **kwargs)  # not the default, RMSprop
        self.generator_optimizer = self.own(generator_optimizer, self.generator)
        self.discriminator_optimizer = self.own(
            discriminator_optimizer, self.discriminator
        )

    def own(self, optimizer, part):
        """Make an optimizer that is ready to load its state."""
        if not part.built:
            raise ValueError("Begin each network with keras.Input.")
        optimizer = keras.optimizers.get(optimizer)
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if self.dtype_policy.name == "mixed_float16" and not scales:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(part.trainable_variables)
        return optimizer

    def judge(self, points):
        logits = self.discriminator(points, training=True)
        return ops.cast(logits, self.variable_dtype)  # float32 if mixed

    def compute_discriminator_loss(self, real, fake):
        on_real = ops.mean(ops.softplus(-self.judge(real)))
        return on_real + ops.mean(ops.softplus(self.judge(fake)))

    def compute_generator_loss(self, fake):
        return ops.mean(ops.softplus(-self.judge(fake)))

    def train_step(self, data):
        real, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        size = tf.shape(real)[0]

        for _ in range(self.discriminator_steps):
            fake = self(self.draw_noise(size), training=True)
            with tf.GradientTape() as tape:
                loss = self.compute_discriminator_loss(real, fake)
                scaled = self.discriminator_optimizer.scale_loss(loss)
            weights = self.discriminator.trainable_variables
            gradients = tape.gradient(scaled, weights)
            self.discriminator_optimizer.apply(gradients, weights)
        self.discriminator_mean.update_state(loss, sample_weight=size)

        with tf.GradientTape() as tape:
            fake = self(self.draw_noise(size), training=True)
            loss = self.compute_generator_loss(fake)
            scaled = self.generator_optimizer.scale_loss(loss)
        weights = self.generator.trainable_variables
        gradients = tape.gradient(scaled, weights)
        self.generator_optimizer.apply(gradients, weights)
        self.generator_mean.update_state(loss, sample_weight=size)
        return {
            "discriminator_loss": self.discriminator_mean.result(),
            "generator_loss": self.generator_mean.result(),
        }

    def draw_noise(self, size):
        return keras.random.normal((size, self.noise_size), seed=self.random)

    def get_config(self):
        own = {
            "noise_size": self.noise_size,
            "discriminator_steps": self.discriminator_steps,
        }
        return {**super().get_config(), **own}

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            del config["optimizer"]
            for name in ("generator_optimizer", "discriminator_optimizer"):
                optimizer = getattr(self, name)
                config[name] = keras.saving.serialize_keras_object(optimizer)
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))


# --8<-- [end:gan]


# --8<-- [start:wgan_gp]
@keras.saving.register_keras_serializable(package="guide")
class WGANGP(GAN):
    """A GAN with the losses of a Wasserstein GAN and a gradient penalty.

    The discriminator is pulled towards a slope of 1 between real points and
    made ones (Gulrajani et al., 2017, arXiv:1704.00028).

    Shapes: ``(batch, noise)`` to ``(batch, 2)``
    """

    def slopes(self, real, fake):
        real = ops.cast(real, self.variable_dtype)
        fake = ops.cast(fake, self.variable_dtype)
        axes = list(range(1, len(fake.shape)))  # all but the batch
        shape = (tf.shape(real)[0], *[1 for _ in axes])
        share = keras.random.uniform(shape, seed=self.random)
        between = real + ops.cast(share, fake.dtype) * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            judged = self.judge(between)
        gradients = tape.gradient(judged, between)  # (batch, 2)
        squares = ops.sum(ops.square(gradients), axis=axes)
        return ops.sqrt(squares + 1e-12)  # (batch,)

    def compute_discriminator_loss(self, real, fake):
        penalty = ops.mean(ops.square(self.slopes(real, fake) - 1))
        distance = ops.mean(self.judge(real)) - ops.mean(self.judge(fake))
        return 10 * penalty - distance

    def compute_generator_loss(self, fake):
        return -ops.mean(self.judge(fake))


# --8<-- [end:wgan_gp]


# --8<-- [start:halve_rates]
class HalveRates(keras.callbacks.Callback):
    """Halves both learning rates after each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        gan = self.model
        for one in (gan.generator_optimizer, gan.discriminator_optimizer):
            one.learning_rate = float(one.learning_rate) / 2


# --8<-- [end:halve_rates]


# --8<-- [start:check_owned_once]
def check_owned_once(model, *parts):
    """Raise unless each trainable weight belongs to exactly one part."""
    if not model.built:
        raise ValueError("Build the model first: it has no weights yet.")
    owned = [id(one) for part in parts for one in part.trainable_variables]
    for weight in model.trainable_variables:
        owners = owned.count(id(weight))
        if owners != 1:
            raise ValueError(f"{weight.path} has {owners} optimizers")


# --8<-- [end:check_owned_once]


if __name__ == "__main__":
    # --8<-- [start:program]
    angles = np.arange(8) * np.pi / 4
    centers = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def sample(size):
        chosen = centers[np.random.randint(8, size=size)]
        return chosen + 0.1 * np.random.normal(size=(size, 2))  # (size, 2)

    def report(name, points):
        away = np.linalg.norm(points[:, None] - centers, axis=-1)
        near = away.min(axis=-1) < 0.4
        counts = np.bincount(away.argmin(axis=-1)[near], minlength=8)
        found = np.sum(counts > len(points) / 40)
        print(f"{name}: {found} of 8 clusters")

    keras.utils.set_random_seed(1)
    x = sample(25_600).astype("float32")
    noise = np.random.normal(size=(1000, 2))
    model = GAN(noise_size=2)
    report("untrained", model.predict(noise, verbose=0))
    fitted = np.random.multivariate_normal(x.mean(axis=0), np.cov(x.T), 1000)
    report("a normal distribution", fitted)

    model.compile(
        generator_optimizer=keras.optimizers.Adam(0.002, beta_1=0.5),
        discriminator_optimizer=keras.optimizers.Adam(0.004, beta_1=0.5),
    )
    losses = model.fit(x, batch_size=256, epochs=5, verbose=0).history
    report("trained", model.predict(noise, verbose=0))
    # --8<-- [end:program]

    # --8<-- [start:resume]
    def difference(one, other):
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        return max(np.max(np.abs(left - right)) for left, right in pairs)

    model.save("gan.keras")
    reloaded = keras.saving.load_model("gan.keras")
    print("generator:", int(reloaded.generator_optimizer.iterations))
    print("discriminator:", int(reloaded.discriminator_optimizer.iterations))

    for each in (model, reloaded):
        each.fit(x[:5120], batch_size=256, shuffle=False, verbose=0)
    print("difference after 20 more steps:", difference(model, reloaded))
    # --8<-- [end:resume]

    # --8<-- [start:both_moved_fails]
    made = model(noise)
    with tf.GradientTape() as tape:
        loss = model.compute_generator_loss(model(noise))
    of_both = model.trainable_variables
    gradients = tape.gradient(loss, of_both)

    before = np.mean(model.judge(made))
    keras.optimizers.Adam(0.002).apply(gradients, of_both)
    risen = np.mean(model.judge(made)) > before
    print("the discriminator takes the same points for more real:", risen)
    # --8<-- [end:both_moved_fails]

    # --8<-- [start:frozen_fails]
    for fitted_before in (False, True):
        gan = GAN()
        gan.compile("adam", "adam")
        if fitted_before:
            gan.fit(x[:256], verbose=0)
        gan.discriminator.trainable = False
        before = gan.discriminator.get_weights()[0]
        gan.fit(x[:256], verbose=0)
        trained = np.any(gan.discriminator.get_weights()[0] != before)
        print(f"fitted before: {fitted_before}, still trained: {trained}")
    # --8<-- [end:frozen_fails]

    # --8<-- [start:logits]
    logit = tf.constant([[-5.0], [-20.0]])
    real = tf.ones_like(logit)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logit)
        probability = ops.sigmoid(logit)
        cross_entropy = keras.losses.binary_crossentropy
        of_one = {
            "softplus of the logit": ops.softplus(-logit),
            "of sigmoid": cross_entropy(real, probability),
            "of sigmoid + 0": cross_entropy(real, probability + 0.0),
        }
    for name, loss in of_one.items():
        slopes = tape.gradient(loss, logit).numpy().ravel()
        print(f"{name}: {slopes.round(2) + 0.0}")
    # --8<-- [end:logits]

    # --8<-- [start:normalized]
    normalize = keras.layers.BatchNormalization()
    real, fake = np.full((2, 64, 1), [[[3.0]], [[0.0]]], dtype="float32")
    real += np.random.normal(size=real.shape).astype("float32")
    fake += np.random.normal(size=fake.shape).astype("float32")
    apart = [normalize(one, training=True) for one in (real, fake)]
    gap = np.mean(apart[0]) - np.mean(apart[1])
    print(f"in two batches, the means differ by {abs(gap):.1f}")
    # --8<-- [end:normalized]

    # --8<-- [start:rates]
    model.fit(x[:256], epochs=2, callbacks=[HalveRates()], verbose=0)
    print(f"{float(model.generator_optimizer.learning_rate):.4f}")
    print(f"{float(model.discriminator_optimizer.learning_rate):.4f}")
    # --8<-- [end:rates]

    # --8<-- [start:penalty]
    keras.utils.set_random_seed(1)
    wgan = WGANGP(discriminator_steps=5)
    wgan.compile(
        generator_optimizer=keras.optimizers.Adam(0.001, beta_1=0.5),
        discriminator_optimizer=keras.optimizers.Adam(0.001, beta_1=0.5),
    )
    wgan.fit(x, batch_size=256, verbose=0)
    slope = np.mean(wgan.slopes(x[:1000], wgan(noise)))
    print(f"mean slope between 0.7 and 1.3: {0.7 < slope < 1.3}")
    # --8<-- [end:penalty]

    # --8<-- [start:parts]
    features = np.random.normal(size=(256, 3)).astype("float32")
    encoder = keras.layers.Dense(8, activation="tanh", name="encoder")
    head = keras.layers.Dense(1, name="head")
    line = keras.Sequential([keras.Input((3,)), encoder, head], name="line")
    by_path = keras.optimizers.OptimizerMap(
        keras.optimizers.Adam(0.01),
        {".*encoder.*": keras.optimizers.Adam(0.0001)},
    )
    line.compile(keras.optimizers.MultiOptimizer(by_path), "mse")

    before = {layer: layer.kernel.numpy() for layer in line.layers}
    line.fit(features, features[:, :1], batch_size=256, verbose=0)
    for layer, kernel in before.items():
        print(f"{layer.name}: {np.max(np.abs(layer.kernel - kernel)):.4f}")
    # --8<-- [end:parts]

    # --8<-- [start:owned]
    check_owned_once(model, model.generator, model.discriminator)
    for parts in ([encoder], [encoder, line]):
        try:
            check_owned_once(line, *parts)
        except ValueError as error:
            print(error)
    # --8<-- [end:owned]
