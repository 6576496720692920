"""The shapes of each docstring hold for any sizes: what is called with sizes of its own gives the shapes it claims.

The comments under it hold for these sizes too. The tests of each page hold both against data of the page. Here the data
are made from the docstring, with another size for each name, so that a name that is met only once is held as well.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from engine.prove import shapes
from tests.shown import is_constant
from tests.site import SITE


class Read:
    """The definitions of a module, which hold the comments on shapes in them as strictly as the docstrings.

    While a case is called, a comment in it has no name but those of its docstring and of whole numbers around it.
    """

    case: Case | None = None
    sizes: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str) -> None:
        path = SITE.snippets / f"{name}.py"
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        nodes = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        self.lines = {node.name: range(node.lineno, node.end_lineno + 1) for node in nodes}
        for node in nodes:
            # Registered, it would take the place of the module's own.
            node.decorator_list = [one for one in node.decorator_list if "register" not in ast.unparse(one)]
        kept = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
        tree.body = [node for node in tree.body if isinstance(node, kept) or is_constant(node)]
        tree = shapes.with_checks(tree, text, path)
        self.__dict__["__builtins__"] = {**vars(builtins), shapes.CHECK: self._hold}
        self.__dict__["__name__"] = f"read.{name.replace('/', '.')}"
        exec(compile(tree, str(path), "exec"), self.__dict__)

    def _hold(self, _path: str, line: int, names: tuple, claims: tuple, values: list, *scopes: dict) -> list:
        if Read.case and line in self.lines.get(Read.case.thing.__name__, ()):
            _outer, inner = scopes
            numbers = {name: value for name, value in inner.items() if type(value) is int}
            numbers |= {name: value for name, value in vars(inner.get("self", self)).items() if type(value) is int}
            known = numbers | Read.sizes
            for name, claim, value in zip(names, claims, values, strict=True):
                met = {node.id for node in ast.walk(ast.parse(claim)) if isinstance(node, ast.Name)}
                assert met <= set(known), f"line {line}: {claim} has a name of its own: {met - set(known)}"
                assert shapes.match(claim, shapes.of(value), dict(known)), f"line {line}: {name} isn't {claim}: {known}"
        return values


(index, custom_layer, custom_model, multiple_inputs_outputs, advantages, disadvantages, when_to_use) = map(
    Read,
    ["index", "layers/custom_layer", "models/custom_model", "models/multiple_inputs_outputs"]
    + [f"decisions/{name}" for name in ("advantages", "disadvantages", "when_to_use")],
)
check_your_own = Read("errors/check_your_own")
custom_callback = Read("training/custom_callback")
contrastive_learning = Read("training/contrastive_learning")
custom_gradient = Read("training/custom_gradient")
custom_loss = Read("training/custom_loss")
fast_and_small = Read("training/fast_and_small")
train_step = Read("training/train_step")
several_devices = Read("training/several_devices")
two_networks = Read("training/two_networks")
teacher_student = Read("training/teacher_student")
save_and_reload = Read("saving/save_and_reload")
what_comes_back = Read("saving/what_comes_back")
configs = Read("saving/configs")
smaller = Read("saving/smaller")
weights = Read("saving/weights")
keras_2_files = Read("saving/keras_2_files")
export = Read("saving/export")
state_and_files = Read("saving/state_and_files")
litert_and_onnx = Read("saving/litert_and_onnx")
(diffusion, equation, image, transformer, autoencoder) = (
    Read(f"tutorials/{name}")
    for name in ("diffusion", "equation_to_layer", "image_and_table", "transformer", "variational_autoencoder")
)
diffusion.betas, diffusion.alpha_bars = diffusion.make_schedule(diffusion.STEPS)


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def whole(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 3, size=shape).astype("int32")


def of_call(thing: Any, inputs: Any) -> Any:
    return thing(inputs)


def of_two(thing: Any, inputs: list) -> Any:
    return thing(*inputs)


@dataclass(frozen=True)
class Case:
    """What has a docstring with shapes.

    Attributes:
        thing: The class or function.
        make: Makes what is called: a layer or a model, or the function itself.
        call: Calls it.
        fill: Makes the inputs of their shapes.
        sizes: Of names that can't have any size.
    """

    thing: Any
    make: Callable[[], Any]
    call: Callable[[Any, Any], Any] = of_call
    fill: Callable[[Any], Any] = normal
    sizes: dict[str, int] = field(default_factory=dict)


def layer(cls: type, *args: Any, **options: Any) -> Case:
    return Case(cls, lambda: cls(*args), **options)


def function(given: Callable, **options: Any) -> Case:
    return Case(given, lambda: given, **options)


def diffuse(_function: Callable, inputs: list) -> Any:
    x, t, noise = inputs
    return diffusion.diffuse(x, np.ones(t.shape, int), noise)


def denoise(_function: Callable, inputs: list) -> Any:
    x, t, predicted = inputs
    return diffusion.denoise(x, np.ones(t.shape, int), predicted)


def distiller() -> keras.Model:
    return teacher_student.Distiller(teacher_student.network(2), teacher_student.network(4))


def mean_teacher() -> keras.Model:
    return teacher_student.MeanTeacher(teacher_student.network(2))


CASES = [
    layer(weights.TrainableSwish),
    layer(keras_2_files.Offset),
    Case(weights.LowRank, lambda: weights.LowRank(keras.layers.Dense(3)), sizes={"units": 3}),
    layer(custom_layer.Linear, 3),
    layer(custom_layer.Affine, 3),
    layer(check_your_own.Standardized),
    layer(custom_model.Classifier),
    layer(custom_model.PriceAndRisk),
    layer(custom_model.AsWideAsItsInput),
    layer(custom_model.SizedClassifier, 4, 3),
    layer(multiple_inputs_outputs.TwoDigitReader),
    layer(multiple_inputs_outputs.ReadsWhatIsThere),
    layer(advantages.SharedDepth, 2),
    layer(advantages.RadialBasis, 3),
    Case(
        custom_loss.QuantileLoss,
        lambda: custom_loss.QuantileLoss(0.9),
        call=lambda loss, inputs: loss.call(*map(keras.ops.convert_to_tensor, inputs)),
    ),
    function(custom_loss.weighted_crossentropy, call=of_two),
    layer(custom_callback.Penalty, 0.5),
    function(contrastive_learning.unit),
    function(contrastive_learning.nt_xent, call=lambda given, inputs: given(*inputs, 0.2)),
    layer(contrastive_learning.PairEncoder, 3),
    layer(contrastive_learning.TripletEncoder, 3),
    layer(custom_gradient.SignDense, 3),
    layer(custom_gradient.ReverseGradient),
    layer(custom_gradient.PartlyFrozenDense, 3, 2),
    layer(custom_gradient.SolvesDecay),
    layer(fast_and_small.RMSNorm),
    layer(custom_loss.Rebuilding, 3),
    layer(several_devices.LastMean),
    layer(two_networks.GAN, sizes={"noise": 2}),
    layer(two_networks.WGANGP, sizes={"noise": 2}),
    Case(
        teacher_student.SoftTargets,
        teacher_student.SoftTargets,
        call=lambda loss, inputs: loss.call(*map(keras.ops.convert_to_tensor, inputs)),
    ),
    Case(teacher_student.Distiller, distiller, sizes={"features": 10, "classes": 3}),
    Case(teacher_student.MeanTeacher, mean_teacher, sizes={"features": 10, "classes": 3}),
    layer(save_and_reload.Shift),
    Case(
        what_comes_back.WeightedError,
        what_comes_back.WeightedError,
        call=lambda loss, inputs: loss.call(*map(keras.ops.convert_to_tensor, inputs)),
    ),
    Case(configs.Residual, lambda: configs.Residual(keras.layers.Dense(4)), sizes={"features": 4}),
    layer(state_and_files.TargetMean, fill=lambda shape: np.full(shape, "tea")),
    layer(state_and_files.Bins),
    layer(state_and_files.Codes, fill=whole),
    layer(state_and_files.Penalized),
    layer(configs.Rescale, 2.0, 0.5),
    layer(configs.Amplify, 2.0, 0.5),
    Case(
        configs.ScaledError,
        lambda: configs.ScaledError(10.0),
        call=lambda loss, inputs: loss.call(*map(keras.ops.convert_to_tensor, inputs)),
    ),
    layer(smaller.Convolve, 3),
    layer(smaller.GatedUnits, 4),
    layer(smaller.AdaptedConvolve, 3),
    layer(export.Saturate),
    layer(litert_and_onnx.Prototypes, 3),
    Case(
        export.Appraiser,
        lambda: export.Appraiser(),
        call=lambda model, inputs: model(inputs),
        sizes={"t": 4, "p": 9},
    ),
    layer(when_to_use.SkipBlock, 3),
    layer(when_to_use.Snake),
    layer(train_step.AdversarialClassifier, 0.1),
    layer(train_step.JudgedMoved, 0.1),
    layer(disadvantages.FeatureNorm),
    layer(disadvantages.TimeAttention),
    function(disadvantages.running_mean),
    function(diffusion.diffuse, call=diffuse),
    layer(diffusion.TimeEmbedding, 4),
    layer(diffusion.NoisePredictor),
    function(diffusion.denoise, call=denoise),
    layer(equation.Quadratic, 3),
    layer(image.FiLM, call=of_two),
    layer(image.PieceReader),
    layer(image.PieceReader, 24, 2, False),
    layer(transformer.TokenAndPosition, 11, 40, 3, fill=whole),
    layer(transformer.SelfAttention, 2, 3),
    layer(transformer.EncoderBlock, 6, 2, 4, sizes={"features": 6}),
    layer(transformer.Transformer, 11, 40, 6, 2, 1, fill=whole),
    layer(transformer.Gain, 2.0),
    layer(transformer.MaskedGain, 2.0),
    layer(autoencoder.Sampling),
    function(autoencoder.kl_divergence, call=of_two),
    function(autoencoder.reconstruction_loss, call=of_two),
    layer(autoencoder.VAE),
]


def named(case: Case) -> str:
    return case.thing.__name__


def of_sizes(claim: str, sizes: dict[str, int], between: tuple[int, ...]) -> Any:
    """The shape, or the list or dict of shapes, that a claim means for these sizes."""
    return _shape(ast.parse(claim, mode="eval").body, sizes, between)


def _shape(node: ast.expr, sizes: dict[str, int], between: tuple[int, ...]) -> Any:
    if isinstance(node, ast.Dict):
        keys = map(ast.literal_eval, node.keys)
        return {key: _shape(value, sizes, between) for key, value in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.List):
        return [_shape(part, sizes, between) for part in node.elts]
    axes = []
    for axis in node.elts:
        dots = isinstance(axis, ast.Constant) and axis.value is ...
        axes += between if dots else [eval(ast.unparse(axis), {}, sizes)]
    return tuple(axes)


def _filled(shape: Any, fill: Callable) -> Any:
    if isinstance(shape, dict):
        return {key: _filled(one, fill) for key, one in shape.items()}
    return [_filled(one, fill) for one in shape] if isinstance(shape, list) else fill(shape)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_shapes_of_a_docstring_hold_for_any_sizes(case, monkeypatch):
    claims = shapes.of_docstring(case.thing)
    nodes = [node for claim in claims for node in ast.walk(ast.parse(claim, mode="eval"))]
    names = dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name))
    dots = any(isinstance(node, ast.Constant) and node.value is ... for node in nodes)
    for first in (5, 8):
        for between in ((), (2,), (4, 2)) if dots else ((),):
            made = case.make()
            sizes = {name: first + 2 * place for place, name in enumerate(names)}
            sizes |= {name: size for name in names if type(size := getattr(made, name, None)) is int} | case.sizes
            inputs, outputs = (of_sizes(claim, sizes, between) for claim in claims)
            monkeypatch.setattr(Read, "case", case)
            monkeypatch.setattr(Read, "sizes", sizes | {"...": between})
            assert shapes.of(case.call(made, _filled(inputs, case.fill))) == outputs, sizes
            monkeypatch.undo()


def test_each_docstring_with_shapes_is_held():
    missing = [
        f"{place}: no case of this module holds the shapes of {name}."
        for name, place in with_shapes().items()
        if name not in set(map(named, CASES))
    ]
    assert not missing, "\n".join([*missing, "Read its module above, and add layer(…) or function(…) to CASES."])


def pieces() -> list[np.ndarray]:
    """What `draw_pieces` gives to `from_outline`."""
    given = []
    inner, image.from_outline = image.from_outline, lambda *parts: given.extend(parts) or inner(*parts)
    try:
        image.draw_pieces(5, seed=0)
    finally:
        image.from_outline = inner
    return given


def scores(made: Any) -> Any:
    return made(normal((5, 7, 8)), return_attention_scores=True)[1]


def film() -> Any:
    layer = image.FiLM()
    layer(normal((5, 6, 4, 3)), normal((5, 9)))
    return layer


ELSEWHERE = {
    "compose": ({"rows": 2, "columns": 3}, lambda: [x := normal((6, 64)), autoencoder.compose(x, 2, 3)]),
    "from_outline": ({"samples": 5}, pieces),
    "scale_and_shift": ({"batch": 5, "channels": 3}, lambda: [film().scale_and_shift(normal((5, 9)))]),
    "draw_rings": ({"samples": 4}, lambda: list(equation.draw_rings(4, seed=0))),
    "surface": (
        {"points": 6},
        lambda: [equation.surface(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), 6)],
    ),
    "reversal": (
        {"samples": 5, "PLACES": transformer.PLACES},
        lambda: [transformer.reversal(np.full(5, 4), np.random.default_rng(0))],
    ),
    "agreement": (
        {"batch": 5, "heads": 2, "query": 7, "key": 7},
        lambda: [(layer := transformer.SelfAttention(2, 3)).build((5, 7, 8)) or layer.agreement(normal((5, 7, 8)))],
    ),
    "SelfAttention": (
        {"batch": 5, "heads": 2, "time": 7},
        lambda: [scores(transformer.SelfAttention(2, 3))],
    ),
    "EncoderBlock": (
        {"batch": 5, "heads": 2, "time": 7},
        lambda: [scores(transformer.EncoderBlock(8, 2, 4))],
    ),
}
"""Docstrings that give shapes in other words than those of ``Shapes:``: sizes, and what has each shape in turn."""


def elsewhere() -> dict[str, list[str]]:
    """The shapes in docstrings, by the class or function, without the two that a paragraph ``Shapes:`` begins with."""
    found = {}
    for module in SITE.modules():
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                claims = re.findall(r"``(\([^`]*\))``", shapes.IN_DOCSTRING.sub("", text))
                if claims := [claim for claim in claims if shapes.is_shape(claim)]:
                    found[node.name] = claims
    return found


def test_each_shape_elsewhere_in_a_docstring_is_held():
    otherwise = elsewhere().keys() - {"draw_map"} ^ ELSEWHERE.keys()  # what is drawn has its own tests
    assert not otherwise, f"{otherwise}: give the shapes behind `Shapes:`, or hold them by ELSEWHERE of this module."


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_shapes_elsewhere_in_a_docstring_hold(name):
    sizes, make = ELSEWHERE[name]
    for claim, values in zip(elsewhere()[name], make(), strict=True):
        for value in values if isinstance(values, list | tuple) else [values]:
            assert tuple(value.shape) == of_sizes(claim, sizes, ()), claim


def with_shapes() -> dict[str, str]:
    """Where each class or function stands whose docstring has a paragraph ``Shapes:``."""
    found = {}
    for module in SITE.modules():
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and "Shapes:" in (ast.get_docstring(node) or ""):
                found[node.name] = f"{SITE.relative(module)}:{node.lineno}"
    return found
