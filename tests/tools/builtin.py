"""The checkup on what Keras exports: how each object is made and called. `make builtins` runs it, and records.

It runs every check on each right form of the library, too; the tests run the one that finds the wrong form beside it.

An object of two names, such as AvgPool1D and AveragePooling1D, is one case. Its name has that of its namespace before
it, since keras.losses and keras.metrics both have a BinaryCrossentropy.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import inspect
import os
import resource
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.prove.process import ENVIRONMENT, TOOLS

if __name__ == "__main__":  # before TensorFlow is imported; pytest does the same
    os.environ.update(ENVIRONMENT)
    sys.path.append(str(TOOLS))

import checkup as tool
import keras
import numpy as np
import tensorflow as tf
import yaml
from keras import layers

from tests.tools import forms
from tests.tools.forms.form import normal, uniform

RECORD = Path(__file__).with_suffix(".yaml")
HEAD = "# What the checkup finds in Keras's own objects. `make builtins` writes this file.\n"


@dataclass(frozen=True)
class Case:
    """How an object is made, and what it is called with.

    Attributes:
        inputs: The first argument of `call`; `(y_true, y_pred)` of a loss or a metric; the shape of an initializer.
        keywords: Tensors for further arguments of `call`.
        make: A function in the place of the class, where an argument has to be made anew for each object.
        arguments: Of the constructor.
    """

    inputs: Any = None
    keywords: dict[str, Any] | None = None
    make: Callable[..., Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def on(
    inputs: Any = None, keywords: dict[str, Any] | None = None, make: Callable[..., Any] | None = None, **arguments: Any
) -> Case:
    """A case: `on(TABLE, units=3)`."""
    return Case(inputs, keywords, make, arguments)


def each(names: str, case: Case) -> dict[str, Case]:
    """The same case for several names."""
    return dict.fromkeys(names.split(), case)


# --- inputs -----------------------------------------------------------------------------------------------------------


def integers(*shape: int, below: int = 9, seed: int = 0) -> np.ndarray:
    """Random integers."""
    return np.random.default_rng(seed).integers(0, below, size=shape).astype("int32")


TABLE, STEPS, MAPS = normal(6, 5), normal(6, 8, 5), normal(6, 8, 8, 3)
VOLUMES, CHANNELS = normal(4, 4, 4, 4, 2), normal(6, 8, 8, 4)
PHOTOS = uniform(4, 8, 8, 3, high=255)
LABELLED = {"images": PHOTOS, "labels": np.eye(4, dtype="float32")}
BOXES = {"boxes": np.tile(np.float32([[1, 1, 4, 5], [2, 2, 6, 6], [0, 0, 3, 3]]), (4, 1, 1)), "labels": integers(4, 3)}
TOKENS = integers(6, 7)
PAIR = [STEPS, normal(6, 8, 5, seed=1)]
QUERY_AND_VALUE = [STEPS, normal(6, 7, 5, seed=1)]
VALUE = {"value": normal(6, 7, 5, seed=1)}
STATE, OTHER_STATE = normal(6, 3, seed=1), normal(6, 2, seed=2)
WORDS = np.array([["a", "b"], ["c", "a"], ["b", "z"], ["z", "a"]])
TEXTS = np.array(["a b", "c a", "b z", "z a"])
SOUND = normal(4, 2000)

SHARES = uniform(8, 3, low=0.05, high=0.95)
SHARES = SHARES / SHARES.sum(axis=-1, keepdims=True)
CLASSES = integers(8, below=3)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
NUMBERS = np.abs(normal(8, 3)), np.abs(normal(8, 3, seed=1))
BITS = integers(8, 3, below=2, seed=1).astype("float32"), uniform(8, 3, low=0.05, high=0.95)
BIT = BITS[0][:, :1], BITS[1][:, :1]
SIGNS = 2 * BITS[0] - 1, normal(8, 3)
KNOWN, SPARSE = (ONE_HOT, SHARES), (CLASSES, SHARES)
LABELS = CLASSES, integers(8, below=3, seed=1)
UNIT = normal(8, 4) / np.linalg.norm(normal(8, 4), axis=-1, keepdims=True)
SPELLED = 1 + integers(4, 3, below=4), normal(4, 8, 6)

# --- layers -----------------------------------------------------------------------------------------------------------


def stacked(dtype: Any = None, **kwargs: Any) -> layers.StackedRNNCells:
    """Two cells, one on the other."""
    return layers.StackedRNNCells(
        [layers.GRUCell(3, dtype=dtype), layers.GRUCell(2, dtype=dtype)], dtype=dtype, **kwargs
    )


def pipeline(**kwargs: Any) -> layers.Pipeline:
    """Two layers, one after the other."""
    return layers.Pipeline([layers.Rescaling(0.5), layers.RandomFlip()], **kwargs)


@functools.cache
def folder_of_a_saved_model() -> tempfile.TemporaryDirectory:
    """A folder with a Dense layer in it, until Python ends."""
    folder = tempfile.TemporaryDirectory()
    keras.Sequential([keras.Input((5,)), layers.Dense(3)]).export(folder.name, verbose=False)
    return folder


def saved_model(**kwargs: Any) -> layers.TFSMLayer:
    """A Dense layer, out of a SavedModel."""
    return layers.TFSMLayer(folder_of_a_saved_model().name, call_endpoint="serve", **kwargs)


def by_rank() -> dict[str, Case]:
    """Layers of one, two and three dimensions."""
    found = {}
    for rank, inputs in (1, STEPS), (2, MAPS), (3, VOLUMES):
        found |= {
            f"Conv{rank}D": on(inputs, filters=4, kernel_size=2),
            f"Conv{rank}DTranspose": on(inputs, filters=3, kernel_size=2, strides=2),
            f"ConvLSTM{rank}D": on(normal(3, 4, *[5] * rank, 2), filters=2, kernel_size=2),
            f"Cropping{rank}D": on(inputs, cropping=1),
            f"SpatialDropout{rank}D": on(inputs, rate=0.5),
            f"UpSampling{rank}D": on(inputs),
            f"ZeroPadding{rank}D": on(inputs),
        }
        for pooling in "Max", "Average":
            found |= {
                f"{pooling}Pooling{rank}D": on(inputs, pool_size=2),
                f"Global{pooling}Pooling{rank}D": on(inputs),
                f"Adaptive{pooling}Pooling{rank}D": on(inputs, output_size=2),
            }
        if rank < 3:
            found[f"DepthwiseConv{rank}D"] = on(inputs, kernel_size=2)
            found[f"SeparableConv{rank}D"] = on(inputs, filters=3, kernel_size=2)
    return found


LAYERS = {
    **each("BatchNormalization ELU Flatten Identity LayerNormalization LeakyReLU PReLU", on(TABLE)),
    **each("RMSNormalization ReLU UnitNormalization", on(TABLE)),
    **each("Masking Softmax", on(STEPS)),
    **each("Dropout GaussianDropout AlphaDropout", on(STEPS, rate=0.3)),
    **each("LSTM GRU SimpleRNN", on(STEPS, units=3, return_sequences=True)),
    **each("GRUCell SimpleRNNCell", on(TABLE, {"states": STATE}, units=3)),
    **each("Add Average Concatenate Maximum Minimum Multiply Subtract", on(PAIR)),
    **each("Attention AdditiveAttention", on(QUERY_AND_VALUE)),
    **each("Embedding ReversibleEmbedding", on(TOKENS, input_dim=10, output_dim=4)),
    **by_rank(),
    "Activation": on(TABLE, activation="gelu"),
    "ActivityRegularization": on(TABLE, l2=0.1),
    "Bidirectional": on(STEPS, layer=layers.LSTM(3, return_sequences=True)),
    "CategoryEncoding": on(TOKENS, num_tokens=10, output_mode="multi_hot"),
    "Dense": on(STEPS, units=3),
    "Discretization": on(TABLE, bin_boundaries=[-0.5, 0.5]),
    "Dot": on([TABLE, normal(6, 5, seed=1)], axes=1),
    "EinsumDense": on(STEPS, equation="abc,cd->abd", output_shape=(None, 4), bias_axes="d"),
    "GaussianNoise": on(STEPS, stddev=0.3),
    "GroupNormalization": on(CHANNELS, groups=2),
    "GroupQueryAttention": on(STEPS, VALUE, head_dim=4, num_query_heads=4, num_key_value_heads=2),
    "HashedCrossing": on([TOKENS[:, 0], TOKENS[:, 1]], num_bins=5),
    "Hashing": on(TOKENS, num_bins=5),
    "IntegerLookup": on(TOKENS, vocabulary=[1, 2, 3]),
    "LSTMCell": on(TABLE, {"states": [STATE, normal(6, 3, seed=2)]}, units=3),
    "Lambda": on(TABLE, function=keras.activations.tanh),
    "MelSpectrogram": on(SOUND, fft_length=256, sequence_stride=64, num_mel_bins=20, sampling_rate=4000),
    "MultiHeadAttention": on(STEPS, VALUE, num_heads=2, key_dim=3),
    "Normalization": on(TABLE, mean=1.0, variance=2.0),
    "Permute": on(STEPS, dims=(2, 1)),
    "RNN": on(STEPS, cell=layers.GRUCell(3)),
    "RepeatVector": on(TABLE, n=3),
    "Reshape": on(STEPS, target_shape=(5, 8)),
    "STFTSpectrogram": on(SOUND[:, :400, None], mode="log", frame_length=64, frame_step=32, fft_length=64),
    "SpectralNormalization": on(TABLE, layer=layers.Dense(3)),
    "StackedRNNCells": on(TABLE, {"states": [STATE, OTHER_STATE]}, stacked),
    "StringLookup": on(WORDS, vocabulary=["a", "b", "c"]),
    "TFSMLayer": on(TABLE, make=saved_model),
    "TextVectorization": on(TEXTS, vocabulary=["a", "b", "c"], output_sequence_length=4),
    "TimeDistributed": on(STEPS, layer=layers.Dense(3)),
}
PREPROCESSING = {
    **each("AugMix AutoContrast Equalization RandAugment RandomFlip", on(PHOTOS)),
    **each("CutMix MixUp", on(LABELLED)),
    **each("CenterCrop RandomCrop Resizing", on(PHOTOS, height=6, width=5)),
    **each("RandomBrightness RandomContrast RandomHue RandomRotation", on(PHOTOS, factor=0.2)),
    **each("RandomColorDegeneration RandomSharpness", on(PHOTOS, factor=0.3)),
    **each("RandomElasticTransform RandomErasing RandomGaussianBlur RandomGrayscale", on(PHOTOS, factor=0.5)),
    **each("RandomInvert RandomPerspective", on(PHOTOS, factor=0.5)),
    "ContrastLimitedAdaptiveHistogramEqualization": on(PHOTOS, tile_grid_size=(2, 2)),
    "MaxNumBoundingBoxes": on({"images": PHOTOS, "bounding_boxes": BOXES}, max_number=2, bounding_box_format="xyxy"),
    "Pipeline": on(PHOTOS, make=pipeline),
    "RandomColorJitter": on(PHOTOS, value_range=(0, 255), brightness_factor=0.2),
    "RandomPosterization": on(PHOTOS, factor=4),
    "RandomSaturation": on(PHOTOS, factor=(0.3, 0.6)),
    "RandomShear": on(PHOTOS, x_factor=0.2, y_factor=0.2),
    "RandomTranslation": on(PHOTOS, height_factor=0.2, width_factor=0.2),
    "RandomZoom": on(PHOTOS, height_factor=0.2),
    "Rescaling": on(PHOTOS, scale=0.5, offset=1.0),
    "Solarization": on(PHOTOS, addition_factor=0.1),
}

# --- losses and metrics -----------------------------------------------------------------------------------------------

LOSSES = {
    **each("BinaryCrossentropy BinaryFocalCrossentropy Dice Tversky", on(BITS)),
    **each("CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalHinge KLDivergence", on(KNOWN)),
    **each("CosineSimilarity Huber LogCosh Poisson MeanAbsoluteError MeanAbsolutePercentageError", on(NUMBERS)),
    **each("MeanSquaredError MeanSquaredLogarithmicError", on(NUMBERS)),
    **each("Hinge SquaredHinge", on(SIGNS)),
    **each("CategoricalGeneralizedCrossEntropy SparseCategoricalCrossentropy", on(SPARSE)),
    "CTC": on(SPELLED),
    "Circle": on((CLASSES, UNIT)),
}
LOSS_FUNCTIONS = {
    **each("binary_crossentropy binary_focal_crossentropy dice tversky", on(BITS)),
    **each("categorical_crossentropy categorical_focal_crossentropy categorical_hinge kl_divergence", on(KNOWN)),
    **each("cosine_similarity huber log_cosh poisson mean_absolute_error mean_absolute_percentage_error", on(NUMBERS)),
    **each("mean_squared_error mean_squared_logarithmic_error", on(NUMBERS)),
    **each("hinge squared_hinge", on(SIGNS)),
    "categorical_generalized_cross_entropy": on(
        SPARSE, make=functools.partial(keras.losses.categorical_generalized_cross_entropy, q=0.5)
    ),
    "circle": on((CLASSES, UNIT)),
    "ctc": on(SPELLED),
    "sparse_categorical_crossentropy": on(SPARSE),
}
METRICS = {
    **each("AUC BinaryAccuracy BinaryCrossentropy FalseNegatives FalsePositives Precision Recall", on(BIT)),
    **each("TrueNegatives TruePositives BinaryIoU", on(BIT)),
    **each("CategoricalAccuracy CategoricalCrossentropy CategoricalHinge KLDivergence", on(KNOWN)),
    **each("F1Score FBetaScore", on(KNOWN)),
    **each("ConcordanceCorrelation CosineSimilarity LogCoshError MeanAbsoluteError", on(NUMBERS)),
    **each("MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError PearsonCorrelation", on(NUMBERS)),
    **each("Poisson R2Score RootMeanSquaredError", on(NUMBERS)),
    **each("Hinge SquaredHinge", on(SIGNS)),
    **each("SparseCategoricalAccuracy SparseCategoricalCrossentropy", on(SPARSE)),
    **each("Mean Sum", on((NUMBERS[0][:, 0],))),
    "Accuracy": on(LABELS),
    "IoU": on(LABELS, num_classes=3, target_class_ids=[0, 1]),
    "MeanIoU": on(LABELS, num_classes=3),
    "MeanMetricWrapper": on(NUMBERS, fn=keras.losses.mean_squared_error),
    "OneHotIoU": on(KNOWN, num_classes=3, target_class_ids=[0, 1]),
    "OneHotMeanIoU": on(KNOWN, num_classes=3),
    "PrecisionAtRecall": on(BIT, recall=0.5),
    "RecallAtPrecision": on(BIT, precision=0.5),
    "SensitivityAtSpecificity": on(BIT, specificity=0.5),
    "SparseTopKCategoricalAccuracy": on(SPARSE, k=2),
    "SpecificityAtSensitivity": on(BIT, sensitivity=0.5),
    "TopKCategoricalAccuracy": on(KNOWN, k=2),
}
METRIC_FUNCTIONS = {
    **each("binary_accuracy binary_crossentropy binary_focal_crossentropy", on(BITS)),
    **each("categorical_accuracy categorical_crossentropy categorical_focal_crossentropy categorical_hinge", on(KNOWN)),
    **each("kl_divergence top_k_categorical_accuracy", on(KNOWN)),
    **each("concordance_correlation huber log_cosh mean_absolute_error pearson_correlation poisson", on(NUMBERS)),
    **each("mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error", on(NUMBERS)),
    **each("hinge squared_hinge", on(SIGNS)),
    **each("sparse_categorical_accuracy sparse_categorical_crossentropy", on(SPARSE)),
    **each("sparse_top_k_categorical_accuracy", on(SPARSE)),
}

# --- what trains a model ----------------------------------------------------------------------------------------------


def scaled(**kwargs: Any) -> keras.optimizers.LossScaleOptimizer:
    """Scales the loss for SGD."""
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), **kwargs)


def several(**kwargs: Any) -> keras.optimizers.MultiOptimizer:
    """One optimizer for one weight, another for the rest."""
    others = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.01))
    others["b"] = keras.optimizers.SGD(0.02)
    return keras.optimizers.MultiOptimizer(others, **kwargs)


OPTIMIZERS = {
    **each("Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam RMSprop SGD", on(learning_rate=0.01)),
    "Adadelta": on(),
    "LossScaleOptimizer": on(make=scaled),
    "MultiOptimizer": on(make=several),
    "ScheduleFreeAdamW": on(learning_rate=0.01),
}
SCHEDULES = {
    "CosineDecay": on(initial_learning_rate=0.1, decay_steps=100, warmup_steps=5, warmup_target=0.2),
    "CosineDecayRestarts": on(initial_learning_rate=0.1, first_decay_steps=10),
    "ExponentialDecay": on(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9),
    "InverseTimeDecay": on(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5),
    "PiecewiseConstantDecay": on(boundaries=[5, 10], values=[0.1, 0.05, 0.01]),
    "PolynomialDecay": on(initial_learning_rate=0.1, decay_steps=10),
}
ACTIVATIONS = {
    **each("celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear", on(TABLE)),
    **each("log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus", on(TABLE)),
    **each("softsign sparse_plus sparse_sigmoid sparsemax squareplus tanh tanh_shrink", on(TABLE)),
    "glu": on(STATE[:, :2]),
    "threshold": on(TABLE, make=functools.partial(keras.activations.threshold, threshold=0.5, default_value=0.0)),
}
INITIALIZERS = {
    **each("GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal", on()),
    **each("RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros", on()),
    "Constant": on(value=0.5),
    "Identity": on((6, 6)),
    "STFT": on((64, 1, 20), side="real"),
}
REGULARIZERS = each("L1 L1L2 L2 OrthogonalRegularizer", on(TABLE))
CONSTRAINTS = each("MaxNorm MinMaxNorm NonNeg UnitNorm", on(TABLE))

# --- all of them ------------------------------------------------------------------------------------------------------

TABLES: dict[str, list[tuple[str, dict[str, Case]]]] = {
    "layers": [("layer", LAYERS | PREPROCESSING)],
    "losses": [("loss", LOSSES), ("loss function", LOSS_FUNCTIONS)],
    "metrics": [("metric", METRICS), ("metric function", METRIC_FUNCTIONS)],
    "optimizers": [("optimizer", OPTIMIZERS)],
    "optimizers.schedules": [("schedule", SCHEDULES)],
    "activations": [("activation", ACTIVATIONS)],
    "initializers": [("initializer", INITIALIZERS)],
    "regularizers": [("regularizer", REGULARIZERS)],
    "constraints": [("constraint", CONSTRAINTS)],
}
"""Of each namespace of keras, the kinds of object and their cases."""
BASE, FINDS = "a base class", "makes an object from its name or config, or tells them"
NOT_TRIED = {
    **dict.fromkeys(("layers.Layer", "losses.Loss", "metrics.Metric", "optimizers.Optimizer"), BASE),
    **dict.fromkeys(("initializers.Initializer", "regularizers.Regularizer", "constraints.Constraint"), BASE),
    "optimizers.schedules.LearningRateSchedule": BASE,
    "layers.Wrapper": "a base class: it has no call",
    "layers.InputLayer": "its call takes no inputs",
    "layers.Input": "makes a symbolic tensor",
    "layers.InputSpec": "describes an input, and is no layer",
    **{
        f"layers.{name}": "makes a layer that is tried, and calls it"
        for name in ("add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract")
    },
    "layers.FlaxLayer": "needs JAX and Flax",
    "layers.JaxLayer": "needs JAX",
    "layers.TorchModuleWrapper": "needs PyTorch",
    "optimizers.OptimizerMap": "a dict of optimizers, which MultiOptimizer is tried with",
    **{
        f"{namespace}.{name}": FINDS
        for namespace in TABLES
        for name in ("get", "serialize", "deserialize")
        if not (namespace in ("layers", "optimizers.schedules") and name == "get")
    },
}
"""What is exported and isn't a case, each with the reason."""


def namespace_of(name: str) -> Any:
    """The module of a namespace of keras."""
    return functools.reduce(getattr, name.split("."), keras)


def exported() -> dict[str, Any]:
    """Every class and function of the namespaces, once: under its own name if it is exported under that."""
    found = {}
    for namespace in TABLES:
        names: dict[int, list[str]] = {}
        module = namespace_of(namespace)
        for name in sorted(vars(module)):
            if not name.startswith("_") and not inspect.ismodule(getattr(module, name)):
                names.setdefault(id(getattr(module, name)), []).append(name)
        for aliases in names.values():
            thing = getattr(module, aliases[0])
            name = thing.__name__ if thing.__name__ in aliases else aliases[0]
            found[f"{namespace}.{name}"] = thing
    return found


def cases() -> dict[str, tuple[str, Case]]:
    """Of each name the kind of object and its case."""
    return {
        f"{namespace}.{name}": (kind, case)
        for namespace, tables in TABLES.items()
        for kind, table in tables
        for name, case in table.items()
    }


def digest() -> str:
    """Of the checkup, the cases and the forms: the record is of these."""
    files = Path(tool.__file__), Path(__file__), *sorted(Path(forms.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in files)).hexdigest()


# --- the run ----------------------------------------------------------------------------------------------------------


def report_on(name: str) -> tool.Report:
    """Run the checkup on an object, from the same seed each time."""
    kind, case = cases()[name]
    keras.backend.clear_session()
    gc.freeze()  # it collected garbage: next time through what was made since, not all that was imported
    keras.utils.set_random_seed(0)
    return tool.checkup(
        case.make or exported()[name],
        case.inputs,
        keywords=case.keywords,
        kind=kind if kind in tool.FUNCTIONS else None,
        **case.arguments,
    )


def found_in(report: tool.Report) -> dict[str, str]:
    """Of each check what it found; it may be several things."""
    found: dict[str, list[str]] = {}
    for one in report.findings:
        found.setdefault(one.check, []).append(one.found)
    return {check: " / ".join(texts) for check, texts in found.items()}


def cpu_seconds() -> float:
    """What this process, its ended children, and the process that loads files with its own have used, on Linux."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) + helper_seconds()


def helper_seconds() -> float:
    """What the process that loads files has used, if it runs."""
    if not tool.helper.cache_info().currsize or not (stat := Path(f"/proc/{tool.helper().process.pid}/stat")).exists():
        return 0.0
    fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its user and system time, and of its children


def costs(seconds: dict[str, float], first: float) -> dict[str, Any]:
    """Of layers and of all else the median, for layers the ninth decile and the dearest; what a first run adds."""
    kinds = {name: kind for name, (kind, _) in cases().items()}
    of_layers = {name: taken for name, taken in seconds.items() if kinds[name] in tool.LAYERS}
    dearest = sorted(of_layers, key=of_layers.get, reverse=True)[:5]
    return {
        "all": round(cpu_seconds()),
        "layers": {
            "median": round(statistics.median(of_layers.values()), 1),
            "ninth decile": round(statistics.quantiles(of_layers.values(), n=10)[-1], 1),
            "dearest": {name: round(of_layers[name], 1) for name in dearest},
            "LSTM": round(of_layers["layers.LSTM"], 1),
        },
        "others": {"median": round(statistics.median(seconds[name] for name in seconds.keys() - of_layers.keys()), 1)},
        "first run": round(first, 1),
    }


def right_form(form: forms.Form) -> tool.Report:
    """Run every check on the right form of the library."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    kind = form.kind if form.kind == "activation" else None
    with keras.saving.custom_object_scope(forms.OBJECTS):
        return tool.checkup(form.right, form.inputs, keywords=form.keywords or None, kind=kind)


def main(*only: str) -> int:
    """Run all, or those whose names are given, which records nothing."""
    sha256 = digest()  # a file may change meanwhile
    seconds: dict[str, float] = {}
    findings: dict[str, dict[str, str]] = {}
    runs = []
    for _ in range(0 if only else 3):  # the first starts the process that loads files
        start = cpu_seconds()
        report_on("layers.Dense")
        runs.append(cpu_seconds() - start)
    for number, name in enumerate(only or cases(), 1):
        start = cpu_seconds()
        report = report_on(name)
        seconds[name] = cpu_seconds() - start
        if report.findings:
            findings[name] = found_in(report)
        told = ", ".join(findings.get(name, {})) or "nothing found"
        print(f"{number:3} of {len(only or cases())} {name}: {told} ({seconds[name]:.1f} s)", flush=True)
        if only:
            print(report)
    if only:
        return 0
    called_wrong = {form.name: found_in(report) for form in forms.FORMS if (report := right_form(form)).findings}
    record = {
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "sha256": sha256,
        "tried": dict(Counter(kind for kind, _ in cases().values())),
        "seconds": costs(seconds, runs[0] - runs[-1]),
        "right forms": len(forms.FORMS),
        "right forms called wrong": called_wrong,
        "findings": findings,
    }
    RECORD.write_text(HEAD + yaml.safe_dump(record, sort_keys=False, width=119), encoding="utf-8")
    print(f"{sum(map(len, findings.values()))} findings in {len(findings)} of {len(seconds)}, in {RECORD}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
