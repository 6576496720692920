"""Shapes that code claims in comments and docstrings are held against the shapes that are met."""

from __future__ import annotations

import numpy as np
import pytest

from engine.prove import shapes


@pytest.mark.parametrize(
    ("claimed", "shape"),
    [
        ("(batch, 4)", (2, 4)),
        ("(batch, 4)", (None, 4)),
        ("(batch, batch)", (3, 3)),
        ("(batch, ..., features)", (2, 4)),
        ("(batch, ..., features)", (2, 5, 6, 4)),
        ("(units / 2,)", (4,)),
        ("(batch, 4 * units)", (2, 32)),
        ("[(batch, 2), (batch, 1)]", [(5, 2), (5, 1)]),
        ('{"price": (batch, 1)}', {"price": (5, 1)}),
    ],
)
def test_a_right_claim(claimed, shape):
    assert shapes.match(claimed, shape, {"units": 8})


@pytest.mark.parametrize(
    ("claimed", "shape"),
    [
        ("(batch, 4)", (2, 5)),
        ("(batch, 4)", (4,)),
        ("(batch, batch)", (3, 4)),
        ("(units, batch)", (2, 8)),
        ("(batch, ..., features)", (2,)),
        ("(batch, 4 * units)", (2, 8)),
        ("(batch, 4 * heads)", (2, 8)),
        ("[(batch, 2), (batch, 1)]", [(5, 1), (5, 2)]),
        ("[(batch, 2), (batch, 1)]", [(5, 2), (4, 1)]),
        ('{"price": (batch, 1)}', {"risk": (5, 1)}),
        ("(batch, 4)", None),
    ],
)
def test_a_wrong_claim(claimed, shape):
    assert not shapes.match(claimed, shape, {"units": 8})


class Halves:
    """Halves.

    Shapes:
        ``(batch, ..., features)`` to ``(batch, ..., units)``.
    """

    units = 2


def test_a_docstring_is_held_against_the_attributes_of_the_layer():
    shapes.check_docstring(Halves, np.ones((3, 5, 4)), np.ones((3, 5, 2)), layer=Halves())
    for inputs, outputs in [((3, 5, 4), (3, 5, 4)), ((3, 5, 4), (3, 6, 2)), ((3, 5, 4), (4, 5, 2))]:
        with pytest.raises(shapes.WrongShape, match=r"Halves claims outputs \(batch, \.\.\., units\)"):
            shapes.check_docstring(Halves, np.ones(inputs), np.ones(outputs), layer=Halves())


def test_swapped_shapes_are_seen():
    class Swapped(Halves):
        """Swaps them.

        Shapes:
            ``(batch, ..., units)`` to ``(batch, ..., features)``.
        """

    with pytest.raises(shapes.WrongShape, match="claims inputs"):
        shapes.check_docstring(Swapped, np.ones((3, 4)), np.ones((3, 2)), layer=Swapped())


@pytest.mark.parametrize("shapes_of", ["any to the same", "``inputs`` to ``outputs``"])
def test_shapes_that_cannot_be_read(shapes_of):
    vague = type("Vague", (), {"__doc__": f"Shapes: {shapes_of}."})
    with pytest.raises(shapes.WrongShape, match="Vague: its docstring names shapes that can't be read"):
        shapes.check_docstring(vague, np.ones(3), np.ones(3))


MODULE = """\
# --8<-- [start:add]
import numpy as np


class Add:
    \"\"\"Add a number to each feature.

    Shapes:
        ``(batch, features)`` to ``(batch, features)``.
    \"\"\"

    def call(self, inputs):
        shift = np.ones(inputs.shape[1])  # (features,)
        return inputs + shift  # (batch, features)


# --8<-- [end:add]

if __name__ == "__main__":
    # --8<-- [start:use]
    ones, rows = np.ones((3, 2)), np.ones(3)  # (3, 2) and (3,): three of two
    total = Add().call(
        ones
    ).sum()  # a number
    print("total:", total)
    # --8<-- [end:use]
"""


@pytest.fixture
def with_shapes(project):
    project.write("snippets/add.py", MODULE)
    project.run("--update-outputs")
    return project


def test_right_comments_are_green(with_shapes):
    code, said = with_shapes.run()
    assert code == 0, said


@pytest.mark.parametrize(
    ("right", "wrong", "where", "what"),
    [
        ("# (features,)", "# (batch,)", 13, "shift is (batch,), and it is (2,) (batch = 3, features = 2)"),
        ("# (batch, features)", "# (features, batch)", 14, "what is returned is (features, batch), and it is (3, 2)"),
        ("# (3, 2) and (3,)", "# (3, 2) and (2,)", 21, "rows is (2,), and it is (3,)"),
        ("# a number", "# (3,)", 24, "total is (3,), and it is ()"),
    ],
)
def test_a_wrong_comment_is_red_at_its_line(with_shapes, right, wrong, where, what):
    with_shapes.replace("snippets/add.py", right, wrong)
    code, said = with_shapes.run()
    assert code == 1
    assert f"add.py:{where}: the comment says that {what}" in said


def test_comments_that_stand_behind_nothing_are_found():
    text = "# (2, 3)\nx = 1  # (one of these)\nprint(x)  # (4,)\n"
    assert shapes.out_of_place(text) == [1, 3]
