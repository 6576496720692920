"""The laws of notebooks, each broken once: red at the line of the module, with what to do."""

from __future__ import annotations

import json

import nbformat
import pytest

PLOT = """ax.plot(x, [number**2 for number in x])
ax.set(xlabel="number", ylabel="square")"""


def edit_record(project, edit) -> None:
    notebook = json.loads(project.read("docs/squares.ipynb"))
    edit(notebook["cells"])
    notebook = nbformat.reads(json.dumps(notebook), as_version=4)
    project.write("docs/squares.ipynb", nbformat.writes(notebook) + "\n")


# --- told without running ---------------------------------------------------------------------------------------------


def test_a_site_with_a_notebook_that_keeps_the_laws_is_green(with_notebook):
    assert with_notebook.problems() == []
    code, said = with_notebook.build()
    assert code == 0, said
    page = (with_notebook.root / "site/squares.html").read_text(encoding="utf-8")
    assert '<div class="language-python highlight">' in page
    assert 'aria-label="A line that rises from 0 to 4."' in page
    assert "<math alttext=x^2>" in page
    assert "id=squares" in page
    assert "jp-" not in page
    assert 'content="A notebook: three cells."' in page
    assert "description:" not in page


def test_a_notebook_that_is_not_recorded(with_notebook):
    (with_notebook.root / "docs/squares.ipynb").unlink()
    with_notebook.assert_red("snippets/squares.py:1", "docs/squares.ipynb is missing. Run `make outputs`.")


def test_a_notebook_without_its_module(with_notebook):
    (with_notebook.root / "snippets/squares.py").unlink()
    with_notebook.assert_red("docs/squares.ipynb:1", "there is no snippets/squares.py with cells to record.")


def test_code_that_changed_since_it_was_recorded(with_notebook):
    with_notebook.replace("snippets/squares.py", "x = [0, 1, 2]", "x = [0, 1, 3]")
    with_notebook.assert_red("snippets/squares.py:12", "cell 2 isn't the one in docs/squares.ipynb.")


def test_code_changed_in_the_notebook(with_notebook):
    with_notebook.replace("docs/squares.ipynb", "x = [0, 1, 2]", "x = [0, 1, 3]")
    with_notebook.assert_red("snippets/squares.py:12", "cell 2 isn't the one in docs/squares.ipynb.")


def test_a_cell_added_to_the_notebook(with_notebook):
    extra = {"cell_type": "markdown", "id": "extra", "metadata": {}, "source": "More."}
    edit_record(with_notebook, lambda cells: cells.append(extra))
    line = 1 + with_notebook.read("docs/squares.ipynb").partition('"id": "extra"')[0].count("\n")
    with_notebook.assert_red(
        f"docs/squares.ipynb:{line - 3}", "the record isn't as the command writes it from here on."
    )


def test_a_plot_missing_from_the_notebook(with_notebook):
    edit_record(with_notebook, lambda cells: cells[2]["outputs"].clear())
    with_notebook.assert_red("snippets/squares.py:18", "cell 3 has no plot in docs/squares.ipynb.")


@pytest.mark.parametrize("text", ["{}", "<<<<<<< HEAD\n{}\n"], ids=["empty", "a merge"])
def test_a_notebook_that_cannot_be_read(with_notebook, text):
    with_notebook.write("docs/squares.ipynb", text)
    what = "this can't be read as a notebook. Delete it, and run `make outputs`."
    with_notebook.assert_red("docs/squares.ipynb:1", what)


def test_an_alt_text_that_tells_nothing(with_notebook):
    for path in "snippets/squares.py", "docs/squares.ipynb":
        with_notebook.replace(path, "A line that rises from 0 to 4.", "plot")
    code, said = with_notebook.build()
    assert code != 0
    assert "snippets/squares.py:17: the alt text 'plot' doesn't tell what the drawing shows. Say it: # %% alt" in said


EXTRA = {
    "a stream": {"output_type": "stream", "name": "stderr", "text": "accuracy: 99 %"},
    "a result": {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/html": "99 %"}},
}


@pytest.mark.parametrize("output", EXTRA.values(), ids=EXTRA)
def test_an_output_that_no_cell_has(with_notebook, output):
    edit_record(with_notebook, lambda cells: cells[1]["outputs"].append(output))
    line = 1 + with_notebook.read("docs/squares.ipynb").partition('"numbers: 3\\n"')[0].count("\n")
    what = "the record isn't as the command writes it from here on. Run `make outputs`."
    with_notebook.assert_red(f"docs/squares.ipynb:{line + 2}", what)


def test_a_description_that_changed(with_notebook):
    with_notebook.replace("snippets/squares.py", "three cells", "cells")
    text = with_notebook.read("docs/squares.ipynb")
    line = 1 + text.partition("three cells")[0].count("\n")
    with_notebook.assert_red(f"docs/squares.ipynb:{line}", "the record isn't as the command writes it from here on.")


def test_code_typed_into_a_prose_cell(with_notebook):
    with_notebook.replace("snippets/squares.py", "# Numbers", "# ```python\n# print('typed')\n# ```\n#\n# Numbers")
    with_notebook.assert_red("snippets/squares.py:9", "a python block can't be proved.")


def test_code_above_the_first_cell(with_notebook):
    with_notebook.replace("snippets/squares.py", "# %% [markdown]", "y = 1\n\n# %% [markdown]")
    with_notebook.assert_red("snippets/squares.py:1", "something stands outside the cells.")


def test_a_module_that_is_not_python(with_notebook):
    with_notebook.replace("snippets/squares.py", "x = [0, 1, 2]", "x = [0, 1, 2")
    what = "Python can't read this module: '[' was never closed. Mend this line, or one above it."
    with_notebook.assert_red("snippets/squares.py:14", what)
    assert len(with_notebook.problems()) == 1, "and not that `make outputs` would mend it"


def test_a_shape_that_nothing_is_held_against(with_notebook):
    with_notebook.replace("snippets/squares.py", "x = [0", "# (batch, 8)\nx = [0")
    what = "this comment begins with a shape, and there is nothing that it can be held against."
    with_notebook.assert_red("snippets/squares.py:14", what)


def test_an_include_in_a_prose_cell(with_notebook):
    with_notebook.replace("snippets/squares.py", "# Numbers", '# --8<-- "docs/add.md"\n#\n# Numbers')
    with_notebook.assert_red("snippets/squares.py:7", "a tutorial includes nothing")


def test_a_dead_link(with_notebook):
    for path in ("snippets/squares.py", "docs/squares.ipynb"):
        with_notebook.replace(path, "(add.md)", "(gone.md)")
    code, said = with_notebook.build()
    assert code != 0
    assert "snippets/squares.py:9: the link to gone.md leads nowhere." in said


# --- told by running it -----------------------------------------------------------------------------------------------


def test_green(with_notebook):
    code, said = with_notebook.run()
    assert code == 0, said
    assert "4 passed" in said


def test_a_module_named_on_the_command_line_is_not_imported(with_notebook):
    with_notebook.replace("snippets/squares.py", "plt.show()", 'open("here.txt", "w").close()')
    code, said = with_notebook.run("--update-outputs", what=("snippets/squares.py",))
    assert code == 0, said
    assert not (with_notebook.root / "here.txt").exists()


def test_recording_again_changes_nothing(with_notebook, recorded):
    code, said = with_notebook.run("--update-outputs")
    assert code == 0, said
    assert with_notebook.read("docs/squares.ipynb") == recorded


def test_a_cell_that_raises(with_notebook):
    with_notebook.replace("snippets/squares.py", "number**2", "number.squared")
    code, said = with_notebook.run()
    assert code == 1
    assert "snippets/squares.py:19: cell 3 raises AttributeError: 'int' object has no attribute 'squared'" in said


def test_a_print_that_is_stale(with_notebook):
    with_notebook.replace("docs/squares.ipynb", "numbers: 3", "numbers: 4")
    code, said = with_notebook.run()
    assert code == 1
    assert "snippets/squares.py:12: cell 2 prints something else than is recorded." in said
    assert "-numbers: 4\n+numbers: 3" in said


def test_recording_what_changed(with_notebook):
    with_notebook.replace("snippets/squares.py", "x = [0, 1, 2]", "x = [0, 1, 2, 3]")
    code, said = with_notebook.run("--update-outputs")
    assert code == 0, said
    assert "numbers: 4" in with_notebook.read("docs/squares.ipynb")
    code, said = with_notebook.run()
    assert code == 0, said


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("number**2", "4 * (number == 2)", "its lines or colours changed"),
        ("square", "number squared", "its words changed: number squared, square"),
    ],
    ids=["data", "words"],
)
def test_a_plot_that_is_stale(with_notebook, old, new, change):
    """Both the module and the notebook have the new code, the notebook has the old plot."""
    with_notebook.replace("snippets/squares.py", old, new)
    code = lambda cells: cells[2].update(source="".join(cells[2]["source"]).replace(old, new))  # noqa: E731
    edit_record(with_notebook, code)
    assert with_notebook.problems() == []
    code, said = with_notebook.run()
    assert code == 1
    assert f"snippets/squares.py:18: cell 3 draws something else than is recorded: {change}" in said


BLANK = "draws a plot that shows nothing"
WRONG = {
    "no data": (PLOT, 'ax.set(xlabel="number", ylabel="square")', BLANK),
    "only NaN": ("number**2", "number * float('nan')", BLANK),
    "data outside of the axes": ('ylabel="square"', 'ylabel="square", ylim=(10, 20)', BLANK),
    "one panel of two is empty": (
        f"fig, ax = plt.subplots()\n{PLOT}",
        f"fig, (ax, _) = plt.subplots(1, 2)\n{PLOT}",
        BLANK,
    ),
    "no label": (', ylabel="square"', "", 'draws an axis without a label. Say what it shows: ax.set_ylabel("…")'),
    "two figures": ("plt.show()", "other = plt.figure()", "draws 2 figures. Draw one in a cell"),
    "no alt text": (' alt="A line that rises from 0 to 4."', "", "draws a plot without alt text."),
    "no plot": ("plt.show()", "plt.close()", "has an alt text and draws nothing."),
    "too large": (
        PLOT,
        'rng = __import__("random").Random(1)\nax.scatter(range(3000), [rng.random() for _ in range(3000)])\n'
        'ax.set(xlabel="number", ylabel="square")',
        "bytes, compressed. Draw fewer points",
    ),
}


@pytest.mark.parametrize(("old", "new", "what"), WRONG.values(), ids=WRONG)
def test_a_plot_that_no_reader_can_use(with_notebook, old, new, what):
    with_notebook.replace("snippets/squares.py", old, new)
    code, said = with_notebook.run("--update-outputs")
    assert code == 1
    assert "snippets/squares.py:18: cell 3 draws" in said or "snippets/squares.py:18: cell 3 has" in said
    assert what in said
