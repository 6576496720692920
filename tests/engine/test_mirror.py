"""What is shown and not used by the tests of its page is red, at its line."""

from __future__ import annotations

import pytest

from engine.site import Site
from tests import mirror

PROOF = '''\
"""`docs/add.md`: proved."""


def test_add():
    assert add(1, 2) == shown("use")
'''
LAYER = "\n\nclass Doubled(keras.layers.Layer):\n    pass\n"


@pytest.fixture
def proved(project):
    project.write("tests/test_add.py", PROOF)
    project.write("tests/test_index.py", PROOF.replace("add.md", "index.md"))
    return project


def problems(project) -> list[str]:
    return [str(problem) for problem in mirror.problems(Site.load(project.root))]


def test_what_is_used_is_green(proved):
    assert problems(proved) == []


def test_a_page_without_tests(proved):
    (proved.root / "tests/test_add.py").unlink()
    assert problems(proved) == [
        "docs/add.md:1: docs/add.md claims things that no test proves. Write tests/test_add.py."
    ]


def test_a_module_that_does_not_name_its_page(proved):
    proved.replace("tests/test_add.py", "`docs/add.md`", "Adding")
    (problem,) = problems(proved)
    assert problem.startswith("tests/test_add.py:1: the docstring of this module doesn't name its page.")


def test_a_module_without_a_test(proved):
    proved.replace("tests/test_add.py", "def test_add", "def add_test")
    assert "tests/test_add.py:1: this module has no test. Prove what its page says." in problems(proved)


def test_a_test_that_asserts_nothing(proved):
    proved.replace("tests/test_add.py", "    assert add(1, 2)", "    add(1, 2)")
    assert problems(proved) == ["tests/test_add.py:4: test_add asserts nothing. Say what has to hold."]

    proved.write("tests/test_add.py", proved.read("tests/test_add.py") + "\n\ndef holds(shown):\n    assert shown\n")
    proved.replace("tests/test_add.py", "    add(1, 2)", "    holds(shown);add(1, 2)")
    assert problems(proved) == []


NOTHING = {
    "def test_more():\n    if add(1, 2):\n        return\n    assert add(1, 2)\n": (
        9,
        "test_more may end before it has",
    ),
    "class TestAdd:\n    def test_add(self):\n        assert add(1, 2)\n": (
        7,
        "TestAdd: the tests in a class aren't run.",
    ),
    "@pytest.mark.proves('See add.')\ndef more():\n    assert add(1, 2)\n": (
        8,
        "more is to prove a sentence, and isn't",
    ),
    "def test_more():\n    assert np.allclose\n": (8, "`np.allclose` is always true. Call it, or compare it."),
    "def test_more():\n    assert (add(1, 2), 4)\n": (8, "`(add(1, 2), 4)` is always true."),
    "def test_more():\n    assert (add(1, 2) == 4).all\n": (8, "`(add(1, 2) == 4).all` is always true."),
    "def test_more():\n    assert add(1, 2) == 4 or True\n": (8, "`add(1, 2) == 4 or True` is always true."),
    "def test_more():\n    total = add(1, 2)\n    assert total == total\n": (9, "`total == total` is always true."),
    "def test_more():\n    assert (one > 9 for one in [add(1, 2)])\n": (
        8,
        "`(one > 9 for one in [add(1, 2)])` is always",
    ),
    "def test_more():\n    with suppress(AssertionError):\n        assert add(1, 2)\n": (
        8,
        "an assertion that fails here is",
    ),
    "def test_more():\n    try:\n        assert add(1, 2)\n    except Exception:\n        pass\n": (
        10,
        "an assertion that",
    ),
    "def add(a, b):\n    return a + b\n": (7, "add is defined here, and by snippets/add.py."),
}


@pytest.mark.parametrize(("code", "line", "what"), [(code, *told) for code, told in NOTHING.items()])
def test_a_test_that_cannot_be_red(proved, code, line, what):
    proved.write("tests/test_add.py", f"{PROOF}\n{code}")
    (problem,) = problems(proved)
    assert problem.startswith(f"tests/test_add.py:{line}: {what}")


LEFT_OUT = ["@pytest.mark.skip\n", "@pytest.mark.xfail(strict=False)\n", "@pytest.mark.skipif(True)\n"]
LEFT_OUT += ["pytestmark = pytest.mark.skip\n\n\n", 'pytest.importorskip("gone")\n\n\n', 'pytest.skip("later")\n\n\n']


@pytest.mark.parametrize("code", LEFT_OUT)
def test_a_test_that_is_left_out(proved, code):
    proved.replace("tests/test_add.py", "def test_add", f"{code}def test_add")
    (problem,) = problems(proved)
    assert problem.startswith("tests/test_add.py:4: what `pytest.")
    assert problem.endswith("` names is left out, or may fail. Let it prove its claim.")


def test_tests_of_a_page_that_is_gone(proved):
    proved.write("tests/layers/test_gone.py", PROOF)
    (problem,) = problems(proved)
    assert problem.startswith("tests/layers/test_gone.py:1: the page of these tests is gone.")


def test_a_function_that_no_test_uses(proved):
    proved.replace("tests/test_add.py", "add(1, 2)", "3")
    (problem,) = problems(proved)
    assert problem.startswith("snippets/add.py:2: no test of tests/test_add.py uses add.")


def test_a_layer_outside_of_the_contract(proved):
    proved.replace("snippets/add.py", "    return a + b\n", f"    return a + b\n{LAYER}")
    proved.replace("tests/test_add.py", "add(1, 2)", "add(1, 2) or Doubled")
    (problem,) = problems(proved)
    assert problem.startswith("snippets/add.py:6: Doubled doesn't run through the contract in tests/test_add.py.")

    proved.replace("tests/test_add.py", "\n\ndef", '\nNOT_IN_CONTRACT = {"Doubled": "shows a fault"}\n\n\ndef')
    assert problems(proved) == []


def test_a_wrong_form_that_no_check_is_said_to_catch(proved):
    proved.replace("snippets/add.py", "    return a + b\n", f"    return a + b\n{LAYER}")
    for end in "start", "end":
        proved.replace("snippets/add.py", f"[{end}:add]", f"[{end}:add_fails]")
    proved.replace("tests/test_add.py", "add(1, 2)", "add(1, 2) or Doubled")
    proved.replace("tests/test_add.py", "\n\ndef", '\nCASES = {"Doubled": Doubled}\n\n\ndef')  # that of another section
    (problem,) = problems(proved)
    said = "snippets/add.py:6: no test of tests/test_add.py says which check catches Doubled of add_fails."
    assert problem.startswith(said)

    proved.replace("tests/test_add.py", '"Doubled": Doubled', '"Doubled of add_fails": Doubled')
    assert problems(proved) == []


@pytest.mark.parametrize(
    "layer",
    [
        "from keras.layers import Layer as Base\n\n\nclass Doubled(Base):\n    pass\n",
        "if add:\n\n    class Doubled(keras.Layer):\n        pass\n",
        "def doubled():\n    class Doubled(keras.Layer):\n        pass\n\n    return Doubled()\n",
    ],
    ids=["by another name", "within if", "within a function"],
)
def test_a_layer_is_one_wherever_and_from_whatever_it_is_defined(proved, layer):
    proved.replace("snippets/add.py", "# --8<-- [end:add]", f"{layer}\n\n# --8<-- [end:add]")
    proved.replace("tests/test_add.py", "add(1, 2)", "add(1, 2) or doubled() or Doubled")
    line = next(n for n, text in enumerate(proved.read("snippets/add.py").split("\n"), 1) if "class Doubled" in text)
    (problem,) = problems(proved)
    assert problem.startswith(f"snippets/add.py:{line}: Doubled doesn't run through the contract")


@pytest.mark.parametrize("base", ["keras.Model", "keras.Sequential", "keras.layers.Dense"])
def test_a_model_or_a_subclass_of_a_built_in_layer_is_one_too(proved, base):
    proved.replace(
        "snippets/add.py", "    return a + b\n", f"    return a + b\n{LAYER}".replace("keras.layers.Layer", base)
    )
    proved.replace("tests/test_add.py", "add(1, 2)", "add(1, 2) or Doubled")
    (problem,) = problems(proved)
    assert "Doubled doesn't run through the contract" in problem
