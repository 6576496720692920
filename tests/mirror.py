"""Pages, modules and tests mirror each other: what is shown is what the tests of the page use.

A class or function of a page is named by its test module, or the section that defines it is. What is made for Keras
stands in one of its constants, which hold the cases of the checkup and the wrong forms that it catches, or, with the
reason, in `NOT_IN_CONTRACT`. A class of a section whose name ends on `_fails` stands as "Power of kwargs_fails".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from engine.site import Piece, Problem, Site, pieces

CHAPTERS = ("engine", "browser", "takeaway", "tools")
"""Folders of tests that belong to no page."""
KERAS = ("keras.Layer", "keras.Model", "keras.Sequential", "keras.layers.", "keras.models.")
KERAS += tuple(
    f"keras.{kind}." for kind in ("losses", "metrics", "optimizers", "initializers", "regularizers", "constraints")
)


ALWAYS_TRUE = (ast.Constant, ast.Dict, ast.GeneratorExp, ast.JoinedStr, ast.Lambda, ast.List, ast.Tuple)
LEFT_OUT = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)")
ASSERTS = ("raises", "warns", "fail", "assert_", "check_")


def problems(site: Site) -> Iterator[Problem]:
    tests = site.root / "tests"
    proofs = {site.tests_of(page): page for page in site.pages()}
    for proof in sorted(tests.glob("*/test_*.py")):
        if proof not in proofs and proof.parent.name not in CHAPTERS:
            yield site.problem(proof, 1, "the page of these tests is gone.", "Delete them, or name the page's module.")
    for proof, page in proofs.items():
        if not proof.is_file():
            what = f"{site.relative(page)} claims things that no test proves."
            yield site.problem(page, 1, what, f"Write {proof.relative_to(site.root)}.")
            continue
        tree = ast.parse(proof.read_text(encoding="utf-8"))
        if f"`{site.relative(page)}`" not in (ast.get_docstring(tree) or ""):
            what = "the docstring of this module doesn't name its page."
            yield site.problem(proof, 1, what, f"Begin it with `{site.relative(page)}`.")
        tests_of_page = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"]
        if not tests_of_page:
            yield site.problem(proof, 1, "this module has no test.", "Prove what its page says.")
        for test in tests_of_page:
            if not _asserts(test, tree):
                yield site.problem(proof, test.lineno, f"{test.name} asserts nothing.", "Say what has to hold.")
        for line, what, mend in _proves_nothing(tree):
            yield site.problem(proof, line, what, mend)
        if site.module_of(page).is_file():
            yield from _unused(site, site.module_of(page), proof)


def _asserts(test: ast.FunctionDef, tree: ast.Module) -> bool:
    """Whether a test can be red but by an accident: it, or a function of its module that it calls, asserts."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert) or _calls_assertion(node):
            return True
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)} | {one.arg for one in test.args.args}
    if "contract" in used:
        return True
    helpers = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in used - {test.name}]
    return any(_asserts(helper, tree) for helper in helpers)


def _proves_nothing(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """What looks like a proof and can't be red: the line, what it is, and what to write."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) if name.startswith("Test"):
                yield node.lineno, f"{name}: the tests in a class aren't run.", "Let each be a function of the module."
            case ast.FunctionDef(name=name) if name.startswith("test_"):
                if (line := _ends_early(node)) and node in tree.body:
                    yield line, f"{name} may end before it has asserted.", "Assert first."
            case ast.FunctionDef(name=name) if any("mark.proves" in ast.unparse(one) for one in node.decorator_list):
                yield node.lineno, f"{name} is to prove a sentence, and isn't run.", "Begin its name with test_."
            case ast.Attribute() if LEFT_OUT.fullmatch(name := ast.unparse(node)):
                yield node.lineno, f"what `{name}` names is left out, or may fail.", "Let it prove its claim."
            case ast.Assert(test=test) if _always_true(test):
                yield node.lineno, f"`{ast.unparse(test)[:40]}` is always true.", "Call it, or compare it."
            case ast.ExceptHandler(type=caught) if caught is None or _catches_assertion(caught):
                yield node.lineno, "an assertion that fails here is caught.", "Name the exception that is meant."
            case ast.Call(func=function, args=given) if ast.unparse(function).endswith("suppress"):
                if any(map(_catches_assertion, given)):
                    yield node.lineno, "an assertion that fails here is caught.", "Name the exception that is meant."


def _ends_early(test: ast.FunctionDef) -> int:
    """The line on which a test returns above whatever asserts, or 0."""
    inside = [one for one in ast.walk(test) if isinstance(one, ast.FunctionDef) and one is not test]
    others = {id(node) for one in inside for node in ast.walk(one)}
    returns = [node.lineno for node in ast.walk(test) if isinstance(node, ast.Return) and id(node) not in others]
    asserts = [node.lineno for node in ast.walk(test) if isinstance(node, ast.Assert) or _calls_assertion(node)]
    return min(returns, default=0) if returns and min(returns) < min(asserts, default=1 << 30) else 0


def _calls_assertion(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr.startswith(ASSERTS)


def _always_true(test: ast.expr) -> bool:
    """Whether it is a function that isn't called, what holds something, or the same on both sides."""
    match test:
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(_always_true, values))
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) if "(" not in ast.unparse(test):
            return ast.unparse(left) == ast.unparse(right)
    is_function = re.fullmatch(r"(np|tf|keras|ops)(\.\w+)+|.*\.(all|any|exists|is_file)", ast.unparse(test))
    return bool(is_function) or isinstance(test, ALWAYS_TRUE)


def _catches_assertion(caught: ast.expr) -> bool:
    return bool(re.search(r"\b(AssertionError|Exception|BaseException)\b", ast.unparse(caught)))


def _unused(site: Site, module: Path, proof: Path) -> Iterator[Problem]:
    source = proof.read_text(encoding="utf-8")
    constants = [node for node in ast.parse(source).body if isinstance(node, ast.Assign) and _is_constant(node)]
    code = [node for node in ast.parse(source).body if not isinstance(node, ast.Expr)]  # not its docstring
    used, in_contract = (
        _words("\n".join(map(ast.unparse, code))),
        _words("\n".join(map(ast.unparse, constants))) | _contract(source),
    )
    known: set[str] = set()
    names = _imported(module)
    its_own = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for piece, node in _defined(module):
        line = piece.line + node.lineno - 1
        if node.name in its_own:
            what = f"{node.name} is defined here, and by {site.relative(module)}."
            yield site.problem(proof, its_own[node.name].lineno, what, "Test the one that is shown.")
        if not used & {node.name, piece.name}:
            what = f"no test of {site.relative(proof)} uses {node.name}."
            yield site.problem(module, line, what, "Test what it does, by the name that is shown.")
        bases = {ast.unparse(base) for base in node.bases} if isinstance(node, ast.ClassDef) else set()
        bases = {names.get(base, base) for base in bases}
        if bases & known or any(base.startswith(KERAS) for base in bases):
            known.add(node.name)
            if piece.name.endswith("_fails") and f'"{node.name} of {piece.name}"' not in source:
                what = f"no test of {site.relative(proof)} says which check catches {node.name} of {piece.name}."
                yield site.problem(module, line, what, "Add it to CAUGHT, or say why not in NOT_IN_CONTRACT.")
            elif node.name not in in_contract:
                what = f"{node.name} doesn't run through the contract in {site.relative(proof)}."
                yield site.problem(module, line, what, "Add it to the cases, or say why not in NOT_IN_CONTRACT.")


def _defined(module: Path) -> Iterator[tuple[Piece, ast.ClassDef | ast.FunctionDef]]:
    """The classes and functions that the pieces of a module define; not those that only draw."""
    for piece in pieces(module):
        for node in ast.parse(piece.text).body if piece.is_code else []:
            draws = isinstance(node, ast.FunctionDef) and {"ax", "axes"} & {one.arg for one in node.args.args}
            if isinstance(node, ast.FunctionDef) and not draws:
                yield piece, node
            yield from ((piece, inner) for inner in ast.walk(node) if isinstance(inner, ast.ClassDef))


def _imported(module: Path) -> dict[str, str]:
    """The whole names of what a module imports from another."""
    nodes = [node for node in ast.parse(module.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in nodes for alias in node.names}


def _is_constant(node: ast.Assign) -> bool:
    return all(isinstance(target, ast.Name) and target.id.isupper() for target in node.targets)


def _contract(source: str) -> set[str]:
    """What stands in the tests that speak of the contract."""
    found = [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return _words("\n".join(text for text in found if "contract." in text))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
