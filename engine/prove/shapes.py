"""The shapes that code claims in comments and docstrings, held against those of the tensors.

    x = self.stem(inputs)  # (batch, 8)

A comment behind an assignment or a return begins with the shape of what is assigned or returned. A docstring has a
paragraph ``Shapes:`` with one expression for the inputs and one for the outputs: ``(batch, ..., features)`` to
``(batch, ..., units)``; lists and dicts of shapes are written as such. In both, a number is that number, ``...`` any
number of axes, and a name the same size wherever it occurs: an attribute of the layer or a variable, if one is called
so and is a whole number, else whatever it is where it is met first.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

SHAPE = re.compile(r"#\s*(?:shapes?:?\s*)?(?P<shape>\([^()]*\))(?P<rest>.*)")
CHECK = "__check_shapes__"
"""The builtin by which code that is compiled here calls `check`."""

IN_DOCSTRING = re.compile(r"Shapes:\s+``([(\[{][^`]+)``\s+to\s+``([(\[{][^`]+)``")


class WrongShape(Exception):
    """A shape that is claimed isn't the one that came out."""


def match(claimed: str | ast.expr, shape: Any, sizes: dict[str, int]) -> bool:
    """Whether a shape is the one that is claimed. Sizes of names that are met first are added to `sizes`."""
    node = ast.parse(claimed, mode="eval").body if isinstance(claimed, str) else claimed
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys]
        return (
            isinstance(shape, Mapping)
            and set(shape) == set(keys)
            and all(match(value, shape[key], sizes) for key, value in zip(keys, node.values, strict=True))
        )
    if isinstance(node, ast.List):
        parts = shape if isinstance(shape, list) else []
        return len(parts) == len(node.elts) and all(map(lambda one, part: match(one, part, sizes), node.elts, parts))
    if not isinstance(shape, tuple) or not isinstance(node, ast.Tuple):
        return False
    return _match_axes(node.elts, shape, sizes)


def _match_axes(axes: list[ast.expr], shape: tuple, sizes: dict[str, int]) -> bool:
    dots = [place for place, axis in enumerate(axes) if isinstance(axis, ast.Constant) and axis.value is ...]
    if dots:
        after = len(axes) - dots[0] - 1
        if len(shape) < len(axes) - 1:
            return False
        between = shape[dots[0] : len(shape) - after]
        axes, shape = axes[: dots[0]] + axes[dots[0] + 1 :], shape[: dots[0]] + shape[len(shape) - after :]
        if sizes.setdefault("...", between) != between:
            return False
    return len(axes) == len(shape) and all(map(lambda axis, size: _match_axis(axis, size, sizes), axes, shape))


def _match_axis(axis: ast.expr, size: int | None, sizes: dict[str, int]) -> bool:
    if size is None:
        return True  # not known while a graph is traced
    if isinstance(axis, ast.Name):
        return sizes.setdefault(axis.id, size) == size
    try:
        return eval(compile(ast.Expression(axis), "<shape>", "eval"), {}, dict(sizes)) == size
    except NameError:
        return False


def of(value: Any) -> Any:
    """The shape of a tensor, or the shapes of a list or dict of tensors."""
    if isinstance(value, Mapping):
        return {key: of(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [of(one) for one in value]
    return tuple(value.shape) if hasattr(value, "shape") else None


# --- docstrings -------------------------------------------------------------------------------------------------------


def of_docstring(thing: Any) -> tuple[str, str] | None:
    """What a docstring claims of the shapes of inputs and outputs, if it has a paragraph on them."""
    text = inspect.getdoc(thing) or ""
    if "Shapes:" not in text:
        return None
    found = IN_DOCSTRING.search(text)
    if not found:
        raise WrongShape(f"{thing.__qualname__}: its docstring names shapes that can't be read. {__doc__}")
    inputs, outputs = found.groups()
    return inputs, outputs


def check_docstring(thing: Any, inputs: Any, outputs: Any, *, layer: Any = None) -> None:
    """Hold what the docstring of a class or function claims against what it was given and returned.

    Args:
        thing: The class or function.
        inputs: A tensor, or a list or dict of tensors.
        outputs: The same.
        layer: An instance of the class, whose attributes are the sizes of these names.
    """
    claims = of_docstring(thing)
    assert claims, f"{thing.__qualname__} doesn't say in its docstring what shapes it takes and returns."
    names = {node.id for claim in claims for node in ast.walk(ast.parse(claim)) if isinstance(node, ast.Name)}
    sizes = {name: size for name in names if type(size := getattr(layer, name, None)) is int}
    for which, claimed, value in zip(("inputs", "outputs"), claims, (inputs, outputs), strict=True):
        known = dict(sizes)
        if not match(claimed, of(value), sizes):
            raise WrongShape(f"{thing.__qualname__} claims {which} {claimed}, and they are {of(value)}; {known or ''}")


# --- comments ---------------------------------------------------------------------------------------------------------


def _comments(text: str) -> dict[int, re.Match[str]]:
    """The comments that begin with a shape, by their lines."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = {token.start[0]: SHAPE.match(token.string) for token in tokens if token.type == tokenize.COMMENT}
    return {line: shape for line, shape in found.items() if shape and is_shape(shape["shape"])}


def is_shape(text: str) -> bool:
    with contextlib.suppress(SyntaxError):
        return isinstance(ast.parse(text, mode="eval").body, ast.Tuple)
    return False


def out_of_place(text: str) -> list[int]:
    """Lines whose comment begins with a shape, and stands behind nothing that has one."""
    tree = ast.parse(text)
    claims = _Claims(text, Path())
    claims.visit(tree)
    return sorted(set(claims.comments) - claims.found)


def checked(text: str, path: Path) -> CodeType:
    """Compile code so that it holds its comments against its values, by the builtin `CHECK`, while it runs."""
    tree = ast.parse(text)  # first: what it raises at code that doesn't parse names the line
    return compile(with_checks(tree, text, path), str(path), "exec", dont_inherit=True)


def with_checks(tree: ast.Module, text: str, path: Path) -> ast.Module:
    """The same code, or a part of it, with a call of `CHECK` wherever a comment of the text gives a shape."""
    return ast.fix_missing_locations(_Claims(text, path).visit(tree))


class _Claims(ast.NodeTransformer):
    """Puts a check behind each assignment, and around each value that is returned, whose comment gives its shape."""

    def __init__(self, text: str, path: Path) -> None:
        self.path = str(path)
        self.comments = _comments(text)
        self.found: set[int] = set()

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        if node.end_lineno not in self.comments:
            return node
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [ast.unparse(name) for name in names if ast.unparse(name) != "_"]
        values = ast.parse(f"[{', '.join(names)}]", mode="eval").body
        return [node, ast.copy_location(ast.Expr(self._call(node, names, values)), node)]

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        if node.end_lineno in self.comments:
            values = ast.List([node.value], ast.Load())
            node.value = ast.Subscript(self._call(node, ["what is returned"], values), ast.Constant(0), ast.Load())
        return node

    def _call(self, node: ast.stmt, names: list[str], values: ast.expr) -> ast.Call:
        line, comment = node.end_lineno, self.comments[node.end_lineno]
        self.found.add(line)
        shapes = [comment["shape"], *re.findall(r"^ and (\([^()]*\))", comment["rest"])]
        shapes *= len(names) // len(shapes)  # "(samples, 16, 16) each"
        known = [ast.Call(ast.Name(scope, ast.Load()), [], []) for scope in ("globals", "locals")]
        given = map(ast.Constant, (self.path, line, tuple(names), tuple(shapes)))
        return ast.Call(ast.Name(CHECK, ast.Load()), [*given, values, *known], [])


def check(path: str, line: int, names: tuple, claims: tuple, values: list, outer: dict, inner: dict) -> list:
    """Hold the shapes that a comment claims against those of the values of a statement."""
    sizes = _known_sizes(outer | inner)
    for name, claimed, value in zip(names, claims, values, strict=True):
        known = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        shape = of(value)
        if not match(claimed, shape, sizes):
            raise WrongShape(
                f"{path}:{line}: the comment says that {name} is {claimed}, and it is "
                f"{'without a shape' if shape is None else shape}"
                f"{f' ({known})' if known else ''}. Correct the comment, or the code."
            )
    return values


def _known_sizes(variables: dict[str, Any]) -> dict[str, int]:
    """Of names: variables that are whole numbers, and in a method what the docstring of the class tells."""
    layer = variables.get("self")
    sizes = {name: value for name, value in (vars(layer) if layer else {}).items() if type(value) is int}
    sizes |= {name: value for name, value in variables.items() if type(value) is int}
    if layer and "inputs" in variables and (told := of_docstring(type(layer))):
        met = dict(sizes)
        if match(told[0], of(variables["inputs"]), met):
            return met
    return sizes
