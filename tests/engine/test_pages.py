"""Each law that holds without running a page: broken once, it is red in the tests and in the strict build.

The message names the file, the line, and how to mend it.
"""

from __future__ import annotations

import re

import pytest

from engine.site import Site, language_of, read

FENCE = "```python\nprint('typed')\n```\n"
TYPED = {
    "plain": FENCE,
    "py": "```py\nprint('typed')\n```\n",
    "python3": "```python3\nprint('typed')\n```\n",
    "pycon": "```pycon\n>>> print('typed')\ntyped\n```\n",
    "titled": '```python title="typed.py"\nprint("typed")\n```\n',
    "annotated": "```{ .python .annotate }\nprint('typed') # (1)!\n```\n\n1.  A note.\n",
    "attributes first": "``` { #typed .py }\nprint('typed')\n```\n",
    "highlighted": "```python linenums='1' hl_lines='1'\nprint('typed')\n```\n",
    "tildes": "~~~python\nprint('typed')\n~~~\n",
    "long fence": "````python\nprint('typed')\n````\n",
    "in a tab": '=== "Tab"\n\n    ```python\n    print("typed")\n    ```\n',
    "in a list": "- An item\n\n    ```python\n    print('typed')\n    ```\n",
    "in an admonition": "!!! note\n\n    ```python\n    print('typed')\n    ```\n",
    "in a folded admonition": "??? note\n\n    ```python\n    print('typed')\n    ```\n",
    "in a quote": "> ```python\n> print('typed')\n> ```\n",
    "without a language": "```\nprint('typed')\n```\n",
    "an output by hand": '```text title="Output"\ntyped\n```\n',
    "beside an include": '```python\n--8<-- "snippets/add.py:add"\nprint("typed")\n```\n',
}


def test_a_site_that_keeps_the_laws_is_green(project):
    assert project.problems() == []
    code, said = project.build()
    assert code == 0, said


@pytest.mark.parametrize("form", TYPED.values(), ids=TYPED)
def test_code_typed_into_a_page(project, form):
    project.write("docs/typed.md", f"# Typed\n\n{form}")
    line = next(
        number for number, text in enumerate(f"# Typed\n\n{form}".splitlines(), 1) if "``" in text or "~~" in text
    )

    found = [problem for problem in project.problems() if problem.startswith(f"docs/typed.md:{line}: ")]
    assert len(found) == 1, project.problems()
    assert "snippets/" in found[0]
    code, said = project.build()
    assert code != 0
    assert f"docs/typed.md:{line}: " in said


INDENTED = {
    "indented code": "# Typed\n\nText.\n\n    print('typed')\n",
    "indented code with a language": "# Typed\n\nText.\n\n    :::python\n    print('typed')\n",
    "raw HTML": "# Typed\n\n<pre><code>print('typed')</code></pre>\n",
}


@pytest.mark.parametrize("text", INDENTED.values(), ids=INDENTED)
def test_code_that_is_no_fence_is_found_in_the_html(project, text):
    project.write("docs/typed.md", text)
    code, said = project.build()
    assert code != 0
    assert "docs/typed.md:1: the HTML has 1 blocks of code, 0 were found on the page." in said


def test_a_fence_that_the_html_shows_otherwise(project):
    """Indented by four spaces, a fence is read as code about a fence: what runs isn't what a reader sees."""
    include = '```python\n--8<-- "snippets/add.py:add"\n```\n'
    project.replace("docs/add.md", include, "".join(f"    {line}\n" for line in include.splitlines()))
    code, said = project.build()
    assert code != 0
    assert "docs/add.md:5: the HTML shows a text block that isn't the one found here" in said


def test_an_include_of_a_missing_file(project):
    (project.root / "snippets/add.py").rename(project.root / "snippets/gone.py")
    project.assert_red("docs/add.md:5", "snippets/add.py is missing. Write the module.")


def test_an_include_of_a_missing_section(project):
    project.replace("docs/add.md", "add.py:use", "add.py:usage")
    project.assert_red("docs/add.md:9", "snippets/add.py has no section 'usage'. Add its two markers.")


def test_an_include_of_a_missing_record(project):
    (project.root / "snippets/add.txt").unlink()
    project.assert_red("docs/add.md:13", "snippets/add.txt is missing. Run `make outputs`.")


def test_serving_stops_with_the_message_and_no_traceback_where_a_page_cannot_be_built(project):
    project.replace("docs/add.md", "add.py:use", "add.py:usage")
    code, said = project.build("--no-strict")
    assert code != 0
    assert "docs/add.md:9: snippets/add.py has no section 'usage'." in said
    assert "Traceback" not in said


def test_a_missing_picture_outside_a_fence(project):
    project.write("docs/picture.md", '# Picture\n\n--8<-- "docs/picture.svg"\n')
    project.assert_red("docs/picture.md:3", "docs/picture.svg is missing.")


def test_code_included_outside_a_fence(project):
    project.write("docs/other.md", '# Other\n\n--8<-- "docs/add.md"\n')
    project.assert_red("docs/other.md:3", "docs/add.md is included outside a fence. Only .svg pictures can be.")


def test_an_empty_section(project):
    project.replace("snippets/add.py", "def add(a, b):\n    return a + b\n", "")
    project.assert_red("docs/add.md:5", "section 'add' of snippets/add.py is empty or not ended.")


def test_a_section_without_an_end(project):
    project.replace("snippets/add.py", "# --8<-- [end:add]\n", "")
    project.assert_red("docs/add.md:5", "section 'add' of snippets/add.py is empty or not ended.")


def test_a_section_within_a_section(project):
    project.replace("snippets/add.py", "    return", "    # --8<-- [start:use]\n    return")
    project.assert_red("docs/add.md:5", "section 'add' of snippets/add.py holds a marker, of another section or none.")


def test_a_marker_that_is_none(project):
    project.replace("snippets/add.py", "    return", "    # --8<-- [begin:more]\n    return")
    project.assert_red("docs/add.md:5", "section 'add' of snippets/add.py holds a marker, of another section or none.")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("a + b", "(a + b", 3), ("\nif __name__", "numbers = (\n\nif __name__", 7)],
    ids=["in a section", "outside of the sections"],
)
def test_a_module_that_is_not_python(project, old, new, line):
    project.replace("snippets/add.py", old, new)
    what = "Python can't read this module: '(' was never closed. Mend this line, or one above it."
    project.assert_red(f"snippets/add.py:{line}", what)


def test_a_shape_that_nothing_is_held_against(project):
    project.replace("snippets/add.py", "    total = add", "    # (batch, 8)\n    total = add")
    what = "this comment begins with a shape, and there is nothing that it can be held against."
    project.assert_red("snippets/add.py:10", what)
    project.replace("snippets/add.py", "# (batch, 8)", "# shape: (batch, 8)")
    project.assert_red("snippets/add.py:10", what)


@pytest.mark.parametrize(
    "code", ["print(add(1, 2))", "for number in (1, 2):\n    add(number, 1)", "if True:\n    add(1, 2)"]
)
def test_what_runs_where_the_module_is_imported(project, code):
    project.replace("snippets/add.py", "\nif __name__", f"\n{code}\n\nif __name__")
    project.assert_red("snippets/add.py:8", "this runs where the module is imported. Put it into `if __name__")


@pytest.mark.parametrize(
    "code",
    ["def add(a, b):\n    return a - b", "class Other:\n    pass", "import keras", "zero = 0"],
    ids=["a second definition", "a class", "an import", "a constant"],
)
def test_code_beside_the_sections(project, code):
    """Tests would import it, and no reader sees it."""
    project.replace("snippets/add.py", "\nif __name__", f"\n{code}\n\nif __name__")
    project.assert_red("snippets/add.py:8", "this line stands in no section: no page shows it.")


@pytest.mark.parametrize("where", ["    # --8<-- [start:use]\n", "    # --8<-- [end:use]\n"], ids=["above", "below"])
def test_a_line_that_only_the_script_runs(project, where):
    above = project.read("snippets/add.py").partition(where)[0].count("\n") + 1
    below = "end" in where
    project.replace("snippets/add.py", where, f"{where}    zero = 0\n" if below else f"    zero = 0\n{where}")
    line = above + below
    project.assert_red(f"snippets/add.py:{line}", "this line stands in no section: no page shows it.")


def test_what_is_defined_where_the_module_is_imported(project):
    project.write("snippets/add.py", f"{project.read('snippets/add.py')}else:\n    add = max\n")
    line = len(project.read("snippets/add.py").splitlines())
    project.assert_red(f"snippets/add.py:{line}", "this line stands in no section: no page shows it.")


def test_a_page_to_which_no_navigation_leads(project):
    project.write("mkdocs.yml", "INHERIT: base.yml\nnav:\n  - index.md\n")
    project.assert_red("docs/add.md:1", "no navigation leads to this page. Name add.md once in mkdocs")


def test_a_page_to_which_the_navigation_leads_twice(project):
    project.write("mkdocs.yml", "INHERIT: base.yml\nnav:\n  - index.md\n  - Add: add.md\n  - Sum: add.md\n")
    project.assert_red("docs/add.md:1", "the navigation leads to this page 2 times. Name add.md once in mkdocs.yml")


def test_two_sections_of_one_name(project):
    project.write("snippets/add.py", project.read("snippets/add.py") + UNSHOWN.replace("more", "use"))
    project.assert_red("snippets/add.py:13", "there is a section 'use' already. Give this one a name of its own.")


def test_an_include_from_the_module_of_another_page(project):
    project.write("docs/other.md", '# Other\n\n```python\n--8<-- "snippets/add.py:add"\n```\n')
    project.assert_red("docs/other.md:3", "This page draws from its mirror, snippets/other.py.")


def test_a_section_that_no_page_shows(project):
    project.write("snippets/add.py", project.read("snippets/add.py") + UNSHOWN)
    project.assert_red("snippets/add.py:14", "no page shows section 'more'. Show it on docs/add.md, or delete it.")


UNSHOWN = "    # --8<-- [start:more]\n    total += 1\n    # --8<-- [end:more]\n"


def test_a_module_that_no_page_shows(project):
    project.write("snippets/orphan.py", MODULE_WITHOUT_PAGE)
    project.assert_red("snippets/orphan.py:2", "no page shows section 'alone'.")


MODULE_WITHOUT_PAGE = "# --8<-- [start:alone]\nx = 1\n# --8<-- [end:alone]\n"


def test_a_recorded_output_that_no_page_shows(project):
    project.replace("docs/add.md", '\n```text title="Output"\n--8<-- "snippets/add.txt:use"\n```\n', "")
    project.assert_red("snippets/add.txt:2", "no page shows what 'use' printed.")


def test_a_record_whose_module_is_gone(project):
    project.write("snippets/gone.txt", "anything\n")
    project.assert_red("snippets/gone.txt:1", "the module of this record is gone. Delete it.")


RECORD = "--8<-- [start:use]\ntotal: 3\n--8<-- [end:use]\n"
OTHERWISE = {
    "above": (f"stray\n{RECORD}", 1),
    "below": (f"{RECORD}stray\n", 4),
    "twice": (f"{RECORD}\n{RECORD}", 4),
    "indented": (RECORD.replace("total", "  total"), 2),
    "spaced": (RECORD.replace("total", "\ntotal"), 2),
    "in another order": (f"{RECORD}\n{RECORD.replace('use', 'add')}", 1),
}


@pytest.mark.parametrize(("text", "line"), OTHERWISE.values(), ids=OTHERWISE)
def test_a_record_that_the_command_would_write_otherwise(project, text, line):
    project.write("snippets/add.txt", text)
    what = "the record isn't as the command writes it from here on. Run `make outputs`."
    project.assert_red(f"snippets/add.txt:{line}", what)


def test_a_tool_needs_no_page_and_holds_the_laws_of_modules(project):
    project.write("snippets/tools/tool.py", "import keras\n")
    assert project.problems() == []
    project.write("snippets/tools/tool.py", "import keras.src.layers\n")
    project.assert_red("snippets/tools/tool.py:1", "keras.src isn't for readers to use.")


@pytest.mark.parametrize("text", ["", "x = 1\n"], ids=["empty", "code"])
def test_a_module_without_a_section(project, text):
    project.write("snippets/helper.py", text)
    what = "the module has no section that docs/helper.md could show. Mark one, or delete the module."
    project.assert_red("snippets/helper.py:1", what)


def test_a_module_among_the_pages(project):
    project.write("docs/assets/tool.py", "print('typed')\n")
    project.assert_red("docs/assets/tool.py:1", "a module among the pages is published and never run.")


@pytest.mark.parametrize("line", ["total: 3", ">>> add(1, 2)", "add(1, 2)", "$ python -c 'print(3)'", "$ print(3)"])
def test_a_console_block_that_holds_more_than_commands(project, line):
    project.write("docs/typed.md", f"# Typed\n\n```console\n$ make serve\n{line}\n```\n")
    project.assert_red("docs/typed.md:5", "in a console block is no command. Keep commands, as `$ make serve`.")


@pytest.mark.parametrize("path", ["docs/add.md", "snippets/add.py"])
@pytest.mark.parametrize(
    "unseen",
    ["\u202e", "\u2066", "\u200b", "\u00ad", "\u00a0", "\u202f", "\u3164", "\U000e0041"],
    ids=["order", "isolate", "no width", "hyphen", "space", "narrow space", "a letter", "tag"],
)
def test_what_stands_in_a_file_and_on_no_screen(project, path, unseen):
    project.replace(path, "dd", f"d{unseen}d")
    line = next(number for number, line in enumerate(project.read(path).split("\n"), 1) if unseen in line)
    project.assert_red(f"{path}:{line}", f"this line holds {unseen!r}, which nobody sees. Delete it.")


@pytest.mark.parametrize("words", ["TODO: more.", "FIXME", "Lorem ipsum dolor."])
def test_what_is_not_written_yet(project, words):
    project.write("docs/add.md", project.read("docs/add.md") + f"\n{words}\n")
    project.assert_red("docs/add.md:17", "something isn't written yet. Write it, or delete this.")


@pytest.mark.parametrize("title", ["Keras 3.9", "Output of 9"])
def test_a_fence_whose_title_nothing_proves(project, title):
    project.replace(
        "docs/add.md",
        '```python\n--8<-- "snippets/add.py:add"',
        f'```python title="{title}"\n--8<-- "snippets/add.py:add"',
    )
    project.assert_red("docs/add.md:5", f'nothing proves what title="{title}" says.')


def test_a_merge_that_was_not_finished(project):
    project.write("docs/add.md", project.read("docs/add.md") + "\n<<<<<<< HEAD\nOne.\n=======\nTwo.\n>>>>>>> other\n")
    project.assert_red("docs/add.md:17", "two versions of these lines wait to be merged. Choose one.")


@pytest.mark.parametrize("before", ["> ", "- "], ids=["quote", "list"])
def test_a_line_that_draws_nothing(project, before):
    project.write("docs/add.md", project.read("docs/add.md") + f'\n{before}--8<-- "snippets/add.py:add"\n')
    code, said = project.build()
    assert code != 0
    assert """docs/add.md:17: '--8<-- "snippets/add.py:add"' is shown as it is""" in said


def test_a_file_that_is_published_as_it_is(project):
    project.write("docs/static.html", "<pre>x = 1</pre>")
    project.assert_red(
        "docs/static.html:1", "this is published as it is, and isn't looked at. Move it to docs/assets/."
    )


@pytest.mark.parametrize("name", ["docs/assets/notes.pdf", "docs/assets/more.js", "docs/drawing.svg"])
def test_a_file_that_nothing_names(project, name):
    project.write(name, "x = 1")
    project.assert_red(f"{name}:1", "this is published, and no page and no template names it. Delete it.")


def test_a_link_to_a_folder(project):
    (project.root / "docs/linked").symlink_to(project.root / "docs/assets")
    project.assert_red("docs/linked:1", "what a link leads to is published, and isn't looked at.")


def test_another_template(project):
    project.write("docs/page.md", "---\ntemplate: 404.html\n---\n# Page\n")
    project.assert_red("docs/page.md:2", "template: above the title changes what is shown. Leave it out.")
    project.write("docs/page.md", "template: 404.html\n\n# Page\n")
    project.assert_red("docs/page.md:1", "template: above the title changes what is shown. Leave it out.")


@pytest.mark.parametrize("path", ["/tmp/x", "~/x", "../x", "gs://x"])
def test_a_path_that_leads_out_of_the_folder(project, path):
    project.replace("snippets/add.py", '"total:"', f'"{path}"')
    project.assert_red("snippets/add.py:11", f"'{path}' leads out of the folder that a page has.")


def test_a_file_that_is_not_utf_8(project):
    (project.root / "docs/latin.md").write_bytes(b"# Latin\n\nR\xe9sum\xe9\n")
    project.assert_red("docs/latin.md:3", "this line isn't UTF-8. Save the file as UTF-8.")


@pytest.mark.parametrize("name", ["two words", "Größe", "Page"])
def test_a_page_whose_name_makes_no_address(project, name):
    project.write(f"docs/{name}.md", "# Page\n\nText.\n")
    project.assert_red(f"docs/{name}.md:1", "the name of a page is its address. Use a to z, 0 to 9 and _ in it.")


@pytest.mark.parametrize(
    ("front", "line"),
    [("---\ntitle: 'open\n---\n", 3), ("---\na: b: c\n---\n", 2), ("---\nwords\n---\n", 1), ("---\ntitle: x\n", 1)],
    ids=["a quote that isn't closed", "two colons", "no name", "no end"],
)
def test_what_stands_above_the_title_is_broken(project, front, line):
    project.write("docs/page.md", f"{front}# Page\n\nText.\n")
    project.assert_red(f"docs/page.md:{line}", "what stands above the title can't be read.")


def test_a_cell_in_the_module_of_a_page(project):
    project.replace("snippets/add.py", "\nif __name__", "\n# %% a thought\nif __name__")
    what = "a cell, `# %%`, makes a tutorial of this module, and docs/add.md draws sections from it."
    project.assert_red("snippets/add.py:8", what)


PRIVATE = {
    "an import": "import keras.src.layers\n",
    "a name of it": "from tensorflow.python.framework import ops\n",
    "an attribute": "import keras\n\nLayer = keras.src.layers.Layer\n",
    "a compatible one": "import tensorflow.compat.v1 as tf\n",
    "an older name": "import tensorflow as tf\n\nLayer = tf.keras.layers.Layer\n",
    "under another name": "import keras as k\n\nLayer = k.src.layers.Layer\n",
    "the module of another page": "from snippets.layers.custom_layer import Linear\n",
}


@pytest.mark.parametrize("code", PRIVATE.values(), ids=PRIVATE)
def test_what_is_not_for_readers_to_use(project, code):
    line = 1 + len(code.splitlines())
    project.replace("snippets/add.py", "# --8<-- [start:add]\n", f"# --8<-- [start:add]\n{code}")
    project.assert_red(f"snippets/add.py:{line}", "isn't for readers to use.")

    project.replace("snippets/add.py", ":add]", ":add_fails]")
    project.replace("docs/add.md", ':add"', ':add_fails"')
    assert project.problems() == []


def test_a_lock_of_other_versions_than_run(project):
    lock = project.read("requirements.txt")
    line = next(number for number, text in enumerate(lock.splitlines(), 1) if text.startswith("keras=="))
    project.write("requirements.txt", re.sub(r"(?m)^keras==.*$", "keras==3.0.0", lock))
    project.assert_red(f"requirements.txt:{line}", "the lock has keras 3.0.0, and ")


def test_a_lock_of_another_version_of_any_package(project):
    lock = project.read("requirements.txt")
    line = next(number for number, text in enumerate(lock.splitlines(), 1) if text.startswith("sybil=="))
    project.write("requirements.txt", re.sub(r"(?m)^sybil==.*$", "sybil==0.1", lock))
    project.assert_red(f"requirements.txt:{line}", "the lock has sybil 0.1, and ")


def test_a_lock_without_a_version_that_pages_tell(project):
    project.write("requirements.txt", re.sub(r"(?m)^keras==.*\n", "", project.read("requirements.txt")))
    project.assert_red("requirements.txt:1", "the lock has no line keras==…, which each page tells its reader.")


def test_an_output_that_stands_elsewhere(project):
    project.replace(
        "docs/add.md", '\n```text title="Output"', '\nText.\n\n```console\n$ make\n```\n\n```text title="Output"'
    )
    project.assert_red("docs/add.md:19", "the output of 'use' doesn't stand under the block that prints it.")


def test_a_section_shown_twice(project):
    project.write("docs/add.md", project.read("docs/add.md") + '\n```python\n--8<-- "snippets/add.py:add"\n```\n')
    project.assert_red("snippets/add.py:2", "docs/add.md shows section 'add' 2 times.")


TWO = '```python\n--8<-- "snippets/add.py:add"\n--8<-- "snippets/add.py:use"\n```\n'
"""A block that draws a definition, and below it what is done with it."""


@pytest.fixture
def drawn_as_one(project):
    start = project.read("docs/add.md").index("```python")
    end = project.read("docs/add.md").index("```text")
    project.write("docs/add.md", f"{project.read('docs/add.md')[:start]}{TWO}\n{project.read('docs/add.md')[end:]}")
    return project


def test_a_block_draws_sections_one_below_the_other(drawn_as_one):
    """Its reader gets one program, though one part is imported and the other is not."""
    code, said = drawn_as_one.build()
    assert code == 0, said
    site = Site.load(drawn_as_one.root)
    (block,) = (block for block in read(site.docs / "add.md") if block.is_python)
    text = 'def add(a, b):\n    return a + b\n\n\ntotal = add(1, 2)\nprint("total:", total)'
    assert (site.expand(block), block.include[1]) == (text, "use")
    assert [piece.name for piece in site.shown(site.docs / "add.md")[text]] == ["add", "use"]
    assert '"total:"' in (drawn_as_one.root / "site/add.html").read_text(encoding="utf-8")


def test_each_section_that_a_block_draws_keeps_the_laws(drawn_as_one):
    whole = drawn_as_one.read("docs/add.md")
    drawn_as_one.replace("docs/add.md", "add.py:use", "add.py:gone")
    drawn_as_one.assert_red("docs/add.md:5", "snippets/add.py has no section 'gone'. Add its two markers.")
    drawn_as_one.write("docs/add.md", whole.replace("snippets/add.py:add", "snippets/squares.py:add"))
    drawn_as_one.assert_red("docs/add.md:5", "the block draws from snippets/squares.py.")
    drawn_as_one.write("docs/add.md", whole.replace('add.py:use"\n', 'add.py:use"\nprint(total)\n'))
    drawn_as_one.assert_red("docs/add.md:5", "Python is typed into the page.")
    drawn_as_one.write("docs/add.md", whole.replace(TWO, TWO + TWO))
    drawn_as_one.assert_red("snippets/add.py:2", "docs/add.md shows section 'add' 2 times.")


def test_an_output_is_what_one_section_prints(project):
    project.replace("docs/add.md", '--8<-- "snippets/add.txt:use"', '--8<-- "snippets/add.txt:use"\n' * 2)
    project.assert_red("docs/add.md:13", "output is typed into the page.")


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("python", "python"),
        (' py title="x"', "python"),
        ("{ .python3 .annotate }", "python"),
        ("{#id .py}", "python"),
        ("pycon", "pycon"),
        ("", ""),
        ("mermaid", "mermaid"),
        ('text title="Output"', "text"),
    ],
)
def test_language_of(info, language):
    assert language_of(info) == language
