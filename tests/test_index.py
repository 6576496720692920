"""`docs/index.md`: every claim that the page makes, proved."""

from __future__ import annotations

import ast
import itertools
import json
import re

import numpy as np
import pytest
from checkup import CHECKS
from sybil import Document

from engine.prove import records
from engine.site import blocks, read
from snippets import index
from snippets.index import Scale
from tests import contract
from tests.shown import shown
from tests.site import SITE
from tests.takeaway import shell

HOME = (SITE.docs / "index.md").read_text("utf-8")
CASES = {"Scale": contract.Layer(lambda **kw: Scale(**kw), inputs=[(3,), (5, 3)])}


IN_ONE_LINE = contract.its_docstring_gives_the_shapes
"""What the layer of the first screen leaves to the pages."""


@pytest.mark.parametrize(
    "check", [one for one in contract.LAYER if one is not IN_ONE_LINE], ids=lambda check: check.__name__
)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.proves("Multiplies by a factor that is learned.")
@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 5, 3), (4, 2, 5, 3)])
def test_it_starts_as_the_identity_and_multiplies_whatever_it_is_given(shape):
    layer = Scale()
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(layer(x), x)
    layer.factor.assign(2.5)
    np.testing.assert_array_equal(layer(x), x * np.float32(2.5))
    assert layer.trainable_weights == [layer.factor]
    for dtype in ("int32", "bool"):
        whole = np.ones(shape, dtype)
        np.testing.assert_array_equal(layer(whole), whole * np.float32(2.5))


def test_it_learns_the_factor(seed):
    page = shown(index, "train", seed=seed)
    np.testing.assert_allclose(page["factor"], 2.54, atol=0.005)
    assert page.printed == "centimetres in an inch: 2.54"


@pytest.mark.proves("Each is one block, trains, saves and reloads, and runs as it is pasted")
@pytest.mark.parametrize("name", re.findall(r"\(([\w/]+)\.md#a-complete-program\)", HOME))
def test_each_program_to_copy_is_one_block_that_trains_saves_and_reloads(name, process):
    first = next(block for block in read(SITE.docs / f"{name}.md") if block.is_python)
    program = SITE.expand(first)
    assert 30 <= len(program.splitlines()) <= 60
    for step in (".save(", "load_model("):
        assert step in program
    assert ".fit(" in program or ".apply(" in program
    assert process.call(shell.script, program).strip() == records.read(SITE, SITE.sections_of(first)[-1]).printed


# --- how the pages are proved -----------------------------------------------------------------------------------------

MARKDOWN = sorted(page for page in SITE.pages() if page.suffix == ".md")
NAMES = [page.relative_to(SITE.docs).with_suffix("").as_posix() for page in SITE.pages()]
WITHOUT_CODE = ["errors/index", "releases"]


@pytest.mark.proves(
    "Layers, models and training in Keras 3: each block is run, each output compared.",
    "No code is typed into a page: each block is drawn from a module",
    "What a block prints is recorded, shown under it",
)
@pytest.mark.parametrize("page", MARKDOWN, ids=SITE.relative)
def test_each_block_is_drawn_from_a_module_and_stands_over_what_it_prints(page):
    for block, below in itertools.pairwise([*read(page), None]):
        if block.is_python:
            section = SITE.sections_of(block)[-1]
            assert section.path == SITE.module_of(page)
            if records.read(SITE, section).printed:
                assert below.include == (SITE.relative(records.path_of(SITE, section.path)), section.name)


@pytest.mark.proves(
    "Layers and models are saved and reloaded.",
    "The gradients of layers with weights of their own are compared with finite differences.",
)
def test_each_layer_and_model_goes_through_the_contract():
    assert contract.passes_the_checkup in contract.LAYER
    assert contract.passes_the_checkup in contract.MODEL
    assert {"file_round_trip", "true_gradients"} <= CHECKS.keys()
    for page in SITE.pages():
        module = SITE.module_of(page)
        if not module.is_file():
            continue
        classes = [node for node in ast.parse(module.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
        bases = {node.name: ast.unparse(node.bases[0]) for node in classes if node.bases}
        test = SITE.tests_of(page)
        proof = test.read_text("utf-8")
        if {"keras.layers.Layer", "keras.Model"} & set(bases.values()):
            tried = ("contract.LAYER", "contract.MODEL", "contract.passes_the_checkup")
            assert any(one in proof for one in tried), test


@pytest.mark.proves(
    "Every page can be taken away as Markdown, with code and outputs in place. A page with Python code can be taken "
    "away as a notebook that runs and as a Python module too.",
)
def test_what_can_be_taken_away(built):
    """The tests of `tests/takeaway/` run what is downloaded."""
    for name in NAMES:
        markdown = (built / f"{name}.md").read_text("utf-8")
        code = [block.source.rstrip("\n") for block in blocks(Document(markdown, "")) if block.is_python]
        assert bool(code) == (name not in WITHOUT_CODE), name
        for ending in (".ipynb", ".py"):
            assert (built / f"{name}{ending}").is_file() == bool(code), name
        if code:
            cells = json.loads((built / f"{name}.ipynb").read_text("utf-8"))["cells"]
            assert ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"] == code, name


@pytest.mark.proves("For a language model, `llms.txt` lists the pages, and `llms-full.txt` holds them all.")
def test_the_files_for_language_models(built):
    listed, full = ((built / name).read_text("utf-8") for name in ("llms.txt", "llms-full.txt"))
    for name in NAMES:
        assert f"/{name}.md): " in listed
        assert (built / f"{name}.md").read_text("utf-8") in full
