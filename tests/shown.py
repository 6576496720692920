"""The code that readers see, run by the tests from where it stands: no test proves a copy."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import keras
import numpy as np

from engine.prove import figures, records, shapes
from engine.prove.examples import as_recorded
from engine.site import Piece, cells, sections
from tests.site import SITE


@dataclass(frozen=True)
class Shown:
    """What sections or cells defined and printed."""

    namespace: dict[str, Any]
    printed: str

    def __getitem__(self, name: str) -> Any:
        return self.namespace[name]


def shown(module: str | ModuleType, *names: str, seed: int | None = None, **given: Any) -> Shown:
    """Run sections of a page's module, in the namespace of the module and an empty folder.

    Args:
        module: As for an import: ``snippets.layers.custom_layer``.
        names: The sections, in order.
        seed: Takes the place of each seed that the sections set.
        given: What they find in their namespace beside the definitions of the module.
    """
    module = importlib.import_module(module) if isinstance(module, str) else module
    path = Path(module.__file__)
    namespace = {**vars(module), "__name__": "__main__", **given}
    with _as_a_page(seed) as printed:
        for name in names:
            _run(sections(path)[name], namespace)
    return Shown(namespace, as_recorded(printed.getvalue()))


def maker(name: str, module: str | ModuleType, *names: str, arguments: tuple = (), **given: Any) -> Callable[[], Any]:
    """Calls, each time it is called, what sections define under a name. They run once, when it is called first."""
    once = cache(lambda: shown(module, *names, **given))
    return lambda: once()[name](*arguments)


def shown_cells(module: str, *, seed: int | None = None, until: str | None = None) -> Shown:
    """Run the code cells of a tutorial from the top, to the end or to the first that contains the text `until`.

    The cell that contains it is run too.
    """
    path = _path(module)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    figures.start(path.parents[1] / "plots.mplstyle")
    with _as_a_page(seed) as printed:
        for cell in cells(path):
            if cell.is_code:
                _run(cell, namespace)
                figures.plt.close("all")
                if until and until in cell.text:
                    break
    return Shown(namespace, as_recorded(printed.getvalue()))


def _run(piece: Piece, namespace: dict[str, Any]) -> None:
    """Run a piece of code under its own file and lines, where AutoGraph finds its source."""
    setattr(builtins, shapes.CHECK, shapes.check)
    exec(shapes.checked("\n" * (piece.line - 1) + piece.text, piece.path), namespace)


@contextlib.contextmanager
def _as_a_page(seed: int | None) -> Iterator[io.StringIO]:
    """In an empty folder, with another seed for whatever sets one."""
    set_seed, default_rng = keras.utils.set_random_seed, np.random.default_rng
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.enter_context(contextlib.redirect_stdout(printed))
        if seed is not None:
            stack.enter_context(mock.patch("keras.utils.set_random_seed", lambda _its: set_seed(seed)))  # noqa: PT008
            stack.enter_context(mock.patch("numpy.random.default_rng", lambda its=0: default_rng([seed, its])))
        yield printed


def definitions(name: str) -> ModuleType:
    """The imports, classes, functions and literal constants of a tutorial's module, without running the rest.

    `name` is as for an import: ``snippets.tutorials.diffusion``.
    """
    if name in sys.modules:
        return sys.modules[name]
    path = _path(name)
    kept = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, kept) or is_constant(node)]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    return module


def printed(name: str) -> str:
    """Everything that a tutorial is recorded to print."""
    return "\n".join(filter(None, (records.read(SITE, cell).printed for cell in cells(_path(name)))))


def _path(name: str) -> Path:
    return SITE.root.joinpath(*name.split(".")).with_suffix(".py")


def is_constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Name) for target in node.targets):
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True
