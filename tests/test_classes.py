"""Each class that the pages show passes on what it takes for Keras, in blocks that show something else too.

The contract holds this for the layers and models of a module. A class that a section defines is met by no contract.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from engine.site import has_cells
from tests.shown import definitions
from tests.site import SITE

REQUIRED = {"quantile": 0.5}
"""Of arguments that can't be 2."""
NETWORKS = ("inner", "student", "teacher")
"""Arguments that are layers or models."""


def classes() -> Iterator[tuple[Path, ast.ClassDef, list[str]]]:
    """Each class whose constructor takes ``**kwargs``, and the arguments that it requires."""
    for module in SITE.modules():
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                init = next((part for part in node.body if getattr(part, "name", "") == "__init__"), None)
                if init and init.args.kwarg:
                    required = len(init.args.args) - len(init.args.defaults)
                    yield module, node, [argument.arg for argument in init.args.args[1:required]]


def defined(module: Path, node: ast.ClassDef) -> type:
    """The class, with the classes above it and without what its section does."""
    name = ".".join(module.relative_to(SITE.root).with_suffix("").parts)
    namespace = dict(vars(definitions(name) if has_cells(module) else importlib.import_module(name)))
    above = [one for one in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(one, ast.ClassDef)]
    for one in sorted(above, key=lambda one: one.lineno):
        if one.lineno <= node.lineno:
            one.decorator_list = []  # registered, it would take the place of the module's own
            exec(compile(ast.Module([one], []), str(module), "exec"), namespace)
    return namespace[node.name]


FOUND = list(classes())


@pytest.mark.parametrize(
    ("module", "node", "required"), FOUND, ids=[f"{module.stem}:{node.name}:{node.lineno}" for module, node, _ in FOUND]
)
def test_a_class_passes_on_what_it_takes_for_keras(module, node, required):
    cls = defined(module, node)
    made = cls.__new__(cls)
    given = REQUIRED | {name: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]) for name in NETWORKS}
    with contextlib.suppress(ValueError):  # of what is shown because it raises, behind `super().__init__`
        made.__init__(**{name: given.get(name, 2) for name in required}, name="given")
    assert made.name == "given"


def test_no_two_modules_register_one_name():
    """In one process, the later class would be loaded for the earlier one, silently."""
    registered: dict[str, list[str]] = {}
    for module in SITE.modules():
        for node in ast.parse(module.read_text("utf-8")).body:
            if any("register_keras_serializable" in ast.unparse(one) for one in getattr(node, "decorator_list", [])):
                registered.setdefault(node.name, []).append(str(module.relative_to(SITE.root)))
    assert len(registered) > 40
    assert {name: modules for name, modules in registered.items() if len(modules) > 1} == {}
