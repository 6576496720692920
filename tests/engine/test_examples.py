"""What pytest says of pages whose blocks go wrong, and what the recording command writes."""

from __future__ import annotations


def test_green(project):
    code, said = project.run()
    assert code == 0, said
    assert "2 passed" in said


def test_a_block_that_raises(project):
    project.replace("snippets/add.py", "return a + b", "return a + b.real.imaginary")
    code, said = project.run()
    assert code == 1
    assert "docs/add.md, line 9" in said
    assert "snippets/add.py:3: section 'use' raises AttributeError: 'int' object has no attribute 'imaginary'" in said
    assert 'add.py", line 10, in <module>' in said


def test_a_block_that_raises_below_blank_lines(project):
    project.replace("snippets/add.py", "    total = add(1, 2)", "\n\n    total = add(1, 2) / 0")
    _code, said = project.run()
    assert "snippets/add.py:12: section 'use' raises ZeroDivisionError" in said


def test_a_block_that_does_not_parse(project):
    project.replace("snippets/add.py", "total = add(1, 2)", "total = add(1, 2")
    code, said = project.run()
    assert code == 1
    assert "snippets/add.py:10: section 'use' raises SyntaxError" in said


def test_a_block_that_prints_something_else(project):
    project.replace("snippets/add.py", "add(1, 2)", "add(1, 3)")
    code, said = project.run()
    assert code == 1
    assert "docs/add.md, line 9" in said
    assert "snippets/add.py:10: section 'use' prints something else than is recorded." in said
    assert "run `make outputs`" in said
    assert "-total: 3\n+total: 4" in said


def test_a_long_difference_is_told_in_forty_lines(project):
    project.replace("snippets/add.py", 'print("total:", total)', "print(*range(1000), sep='\\n')")
    code, said = project.run()
    assert code == 1
    told = said[said.index("snippets/add.py:10: ") : said.index("lines more")].splitlines()
    assert len(told) <= 40
    assert told[-1] == "and 966 "


def test_a_print_that_the_page_leaves_out(project):
    project.replace("docs/add.md", '\n```text title="Output"\n--8<-- "snippets/add.txt:use"\n```\n', "")
    code, said = project.run()
    assert code == 1
    assert "snippets/add.py:10: section 'use' prints, and the page leaves it out." in said
    assert '--8<-- "snippets/add.txt:use"' in said


def test_a_block_of_two_sections_runs_both_and_each_print_is_told(project):
    """What the first prints has no place under the block: the page's second output is that of the last."""
    project.replace("docs/add.md", ':add"\n```\n\n```python\n', ':add"\n')
    code, said = project.run()
    assert code == 0, said
    project.replace("snippets/add.py", "    return a + b\n", "    return a + b\n\n\nprint('added')\n")
    code, said = project.run()
    assert code == 1
    assert "section 'add' prints" in said


def test_recording_comes_before_showing(project):
    """A recorded output that the page doesn't show yet is told by the next run, not by the command that records it."""
    project.replace("docs/add.md", '\n```text title="Output"\n--8<-- "snippets/add.txt:use"\n```\n', "")
    code, said = project.run("--update-outputs")
    assert code == 0, said


def test_python_typed_into_a_page(project):
    project.write("docs/typed.md", '# Typed\n\n```python title="typed.py"\nprint("typed")\n```\n')
    code, said = project.run()
    assert code == 1
    assert "docs/typed.md:3: Python is typed into the page." in said


def test_blocks_share_a_namespace_and_an_empty_folder(project):
    project.replace("snippets/add.py", 'print("total:", total)', SAVES)
    project.run("--update-outputs")
    code, said = project.run()
    assert code == 0, said
    assert "['total.txt'] __main__" in project.read("snippets/add.txt")
    assert not list(project.root.rglob("total.txt"))


SAVES = """from pathlib import Path

    Path("total.txt").write_text(str(total))
    print([path.name for path in Path().iterdir()], __name__)"""


def test_recording_writes_what_is_printed_and_forgets_the_rest(project):
    project.replace("snippets/add.py", "add(1, 2)", "add(2, 2)")
    project.write("snippets/add.txt", project.read("snippets/add.txt") + "\n--8<-- [start:old]\nx\n--8<-- [end:old]\n")
    code, said = project.run("--update-outputs")
    assert code == 0, said
    first = project.read("snippets/add.txt")
    assert first == "--8<-- [start:use]\ntotal: 4\n--8<-- [end:use]\n"
    project.run("--update-outputs")
    assert project.read("snippets/add.txt") == first


def test_a_block_that_prints_no_more_loses_its_record(project):
    project.replace("snippets/add.py", '    print("total:", total)\n', "")
    project.run("--update-outputs")
    assert not (project.root / "snippets/add.txt").exists()


def test_source_is_found_at_its_own_lines(project):
    """As AutoGraph needs it: `inspect.getsource` of a function that a page defines gives its lines in the module."""
    project.replace("snippets/add.py", 'print("total:", total)', "import inspect\n\n    print(inspect.getsource(add))")
    project.run("--update-outputs")
    assert "def add(a, b):\n    return a + b" in project.read("snippets/add.txt")
