"""Two plots are told apart by what a reader sees differ: words, parts, colours, places, lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from engine.prove import figures
from engine.site import Piece
from tests.site import SITE

CELL = Piece(Path("snippets/plot.py"), "cell 1", line=1, text="", number=1, alt="Sixty points and a line.")
POINTS = np.random.default_rng(1).normal(size=(60, 2))
CLASSES = np.arange(60) % 2
LINE = POINTS[:, 0].cumsum()


def picture(
    points=POINTS, classes=CLASSES, line=LINE, style="-", colours=("C0", "C1"), width=1.5, picture=None
) -> figures.Picture:
    figures.start(SITE.snippets / "plots.mplstyle")
    _, ax = plt.subplots()
    for number, colour in enumerate(colours):
        ax.plot(*points[classes == number].T, "o", color=colour, label=f"class {number}")
    ax.plot(np.linspace(-2, 2, len(line)), line / 10, style, color="C2", linewidth=width)
    if picture is not None:
        ax.imshow(picture, extent=(1, 2, 1, 2), cmap="viridis", interpolation="none", vmin=0, vmax=1)
    ax.set(xlabel="x", ylabel="y", xlim=(-3, 3), ylim=(-3, 3), aspect="auto")
    ax.legend()
    found, wrong = figures.capture(CELL)
    assert not wrong
    return found


STEPS = np.linspace(0, 1, 64).reshape(8, 8)
moved = POINTS.copy()
moved[7] += 0.5

CHANGES = {
    "a colour": ({"colours": ("C0", "C3")}, "have another colour"),
    "a dashed line": ({"style": "--"}, "its lines, areas or markers changed"),
    "a wider line": ({"width": 3}, "its lines, areas or markers changed"),
    "two classes swapped": ({"classes": 1 - CLASSES}, "markers or words moved"),
    "ten of sixty points gone": ({"points": POINTS[:50], "classes": CLASSES[:50]}, "markers changed: "),
    "a point elsewhere": ({"points": moved}, "1 of its lines, areas, markers or words moved"),
    "another line": ({"line": POINTS[:, 1].cumsum()}, "1 of its lines, areas, markers or words moved"),
    "a line between the same ends": ({"line": LINE[[0, *range(58, 0, -1), 59]]}, "its lines or colours changed"),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_what_a_reader_sees_differ_is_red(change, told):
    assert told in figures.differ(picture(), picture(**change))


def test_one_cell_of_a_heatmap_that_changed_a_little_is_red():
    changed = STEPS.copy()
    changed[3, 3] += 0.2
    assert "1 of its lines, areas, images or markers have another colour" in figures.differ(
        picture(picture=STEPS), picture(picture=changed)
    )


WHITE = {
    "a line": lambda ax: ax.plot([1, 2], color="white"),
    "one of ten points": lambda ax: ax.scatter(range(10), range(10), c=["C0"] * 9 + ["#ffffff"]),
    "a word": lambda ax: ax.text(0.5, 0.5, "seven", color="w"),
    "bars": lambda ax: ax.bar([1, 2], [1, 2], color="white", edgecolor="C0"),
}


@pytest.mark.parametrize("draw", WHITE.values(), ids=WHITE)
def test_what_is_drawn_in_white_is_refused_for_a_dark_page_would_leave_it_out(draw):
    figures.start(SITE.snippets / "plots.mplstyle")
    _, ax = plt.subplots()
    ax.plot([2, 1])
    draw(ax)
    ax.set(xlabel="x", ylabel="y")
    found, wrong = figures.capture(CELL)
    assert found is None
    assert "draws something in white" in wrong


RECORDS = {
    "a bent line": (r'd="M (\S+) (\S+)', r'd="M 1 \2'),
    "hidden parts": ("<path ", '<path display="none" '),
    "a part on top": ("</svg>", '<rect width="400" height="300" /></svg>'),
    "other words for it": ("Sixty points", "Six points"),
    "a word elsewhere": (r'(<text [^>]*x=")\d', r"\g<1>9"),
}


@pytest.mark.parametrize(("old", "new"), RECORDS.values(), ids=RECORDS)
def test_a_drawing_that_was_changed_in_its_record_is_red(old, new):
    """The page shows the drawing, and not the pixels beside it."""
    recorded = picture()
    changed, times = re.subn(old, new, recorded.svg)
    assert times
    assert figures.differ(figures.Picture(changed, recorded.png), recorded)


def test_another_picture_in_the_plot_is_red():
    assert "1 of its lines, areas, images or markers have another colour" in figures.differ(
        picture(picture=STEPS), picture(picture=STEPS.T)
    )


@pytest.mark.parametrize("other", range(5))
def test_the_last_digits_of_another_processor_are_not(other):
    noise = np.random.default_rng(other)
    points = POINTS * (1 + 1e-5 * noise.normal(size=POINTS.shape))
    line = LINE * (1 + 1e-5 * noise.normal(size=60))
    steps = STEPS + 1e-3 * noise.normal(size=STEPS.shape)
    assert figures.differ(picture(picture=STEPS), picture(points=points, line=line, picture=steps)) is None
