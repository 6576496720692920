"""What a page does on other releases of Keras: found out, kept in a file, and told under its block."""

from __future__ import annotations

import functools

import pytest
from bs4 import BeautifulSoup

from engine.prove import figures, records, releases
from engine.prove.process import Outcome
from engine.prove.releases import Release, Result, Tried
from engine.publish import releases as told
from engine.site import Site, pieces, sections

OLD, OLDER = "3.14.1", "3.13.2"
PRINTS, RAISES = {"prints": "total: 4"}, {"raises": "ValueError: wrong\n\nthe second line"}


@pytest.fixture
def site(project) -> Site:
    return Site.load(project.root)


@pytest.fixture
def piece(site):
    return sections(site.snippets / "add.py")["use"]


# --- what is the same ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "raised", "expected"),
    [
        (Outcome("total: 3\n"), False, {}),
        (Outcome("total: 4\n"), False, {"prints": "total: 4"}),
        (Outcome("", wrong="raises ValueError: <A at 0x7f01>"), False, {"raises": "ValueError: <A at 0x…>"}),
        (Outcome("", wrong="raises NameError: add"), True, {"follows": "NameError: add"}),
        (Outcome("", wrong="raises NameError: add"), False, {"raises": "NameError: add"}),
        (Outcome("", wrong="raises ValueError: add"), True, {"raises": "ValueError: add"}),
        (Outcome("", wrong="takes more than 300 seconds."), False, {"fails": "takes more than 300 seconds."}),
        (Outcome("\x1b[1m<A at 0x7f01>\x1b[0m"), False, {"prints": "<A at 0x…>"}),
        (Outcome("I0000 00:00:17.5 16 a.cc:1] Compiled!\n<A at 0x7f01>"), False, {"prints": "<A at 0x…>"}),
        (Outcome("at /tmp/x/page/../temporary/tmp1_a."), False, {"prints": "at …."}),
    ],
)
def test_what_a_block_does_that_is_not_recorded(site, piece, outcome, raised, expected):
    assert releases.difference(site, piece, outcome, raised) == expected


@pytest.mark.parametrize(
    ("printed", "same"), [("total: 4", True), ("total: -0.5e-3", True), ("total: +1,000.", True), ("sum: 3", False)]
)
def test_on_a_nightly_only_other_words_count(site, piece, printed, same):
    assert (releases.difference(site, piece, Outcome(printed), False, masked=True) == {}) is same


def test_a_plot_counts_by_what_a_reader_sees_and_on_a_nightly_by_being_there(with_notebook):
    site = Site.load(with_notebook.root)
    cell = pieces(site.snippets / "squares.py")[2]
    drawn = records.read(site, cell).picture
    other = figures.Picture(drawn.svg.replace("number", "size"), drawn.png)
    does = functools.partial(releases.difference, site, cell, raised=False)
    assert does(Outcome(picture=drawn)) == {}
    assert does(Outcome(picture=other)) == {"draws": "its words changed: number, size"}
    assert does(Outcome(picture=other), masked=True) == {}
    assert does(Outcome()) == does(Outcome(), masked=True) == {"draws": "nothing"}


# --- the file --------------------------------------------------------------------------------------------------------


def merged(site: Site, before: Tried, results: list[Result]) -> Tried:
    """The file after a run in which nothing was changed."""
    return releases.merged(site, before, results, releases.digests(site))


def result(version: str, what: dict[str, str]) -> Result:
    """What one block does on a release."""
    return Result(version, "2.21.0", ran=2, found={"add": {"use": what}} if what else {})


def tried(site: Site, **differs: dict) -> Tried:
    """The file, with what one block does on each release."""
    return merged(site, Tried(), [result(version.replace("_", "."), what) for version, what in differs.items()])


def test_the_file_is_read_as_it_was_written_and_readable(site):
    tried(site, **{"3_13_2": RAISES, "3_14_1": PRINTS}).write(site)
    text = Tried.path(site).read_text(encoding="utf-8")
    assert text.startswith("# What the code of the pages does on other releases. `make releases` writes this file.\n")
    assert "3.14.1:\n        prints: 'total: 4'\n" in text
    assert "raises: |-\n          ValueError: wrong\n\n          the second line\n" in text
    known = Tried.read(site)
    known.write(site)
    assert Tried.path(site).read_text(encoding="utf-8") == text


def test_one_release_alone_leaves_what_is_known_of_the_others(site):
    before = tried(site, **{"3_13_2": RAISES, "3_14_1": PRINTS})
    after = merged(site, before, [result(OLD, {})])
    assert list(after.releases) == [OLDER, OLD]
    assert after.differs == {"add": {"use": {OLDER: RAISES}}}


def test_a_release_that_is_no_longer_listed_is_forgotten(project, site):
    before = tried(site, **{"3_13_2": RAISES, "3_14_1": PRINTS})
    project.replace("pyproject.toml", OLDER, "3.13.1")
    after = merged(site, before, [result(OLD, {})])
    assert list(after.releases) == [OLD]
    assert after.differs == {}


def test_a_new_nightly_takes_the_place_of_the_one_before(site):
    before = merged(site, Tried(), [result("3.16.0.dev1", RAISES)])
    after = merged(site, before, [result("3.16.0.dev2", {})])
    assert list(after.releases) == ["3.16.0.dev2"]
    assert after.differs == {}
    kept = merged(site, before, [result(OLD, {})])
    assert list(kept.releases) == [OLD, "3.16.0.dev1"]


def test_a_block_that_changed_is_told_as_not_tried_and_not_as_the_same(project, site):
    tried(site, **{"3_13_2": {}, "3_14_1": {}}).write(site)
    module = site.snippets / "add.py"
    assert told.since(site, Tried.read(site), module) == "alike since 3.13"
    project.replace("snippets/add.py", "add(1, 2)", "add(2, 1)")
    assert [piece.name for piece in Tried.read(site).untried(site, module)] == ["use"]
    assert told.since(site, Tried.read(site), module) == "1 block not tried on others"

    alone = merged(site, Tried.read(site), [result(OLD, {})])
    assert alone.untried(site, module), "it wasn't tried on the other release"


def test_a_block_that_was_changed_while_it_ran_is_not_tried(project, site):
    texts, module = releases.digests(site), site.snippets / "add.py"
    project.replace("snippets/add.py", "add(1, 2)", "add(2, 1)")
    after = releases.merged(site, Tried(), [result(OLD, {})], texts)
    assert [piece.name for piece in after.untried(site, module)] == ["use"]


def test_a_record_that_changed_is_another_block(project, site):
    tried(site, **{"3_14_1": {}}).write(site)
    project.replace("snippets/add.txt", "total: 3", "total: 5")
    assert len(Tried.read(site).untried(site, site.snippets / "add.py")) == 1


def test_a_block_in_the_file_that_is_gone_is_red_at_its_line_until_the_command_ran(project, site):
    known = tried(site, **{"3_13_2": {}, "3_14_1": RAISES})
    known.pieces["add"]["gone"] = "123456"
    known.write(site)
    line = next(n for n, text in enumerate(project.read("snippets/releases.yaml").splitlines(), 1) if "gone:" in text)
    project.assert_red(f"snippets/releases.yaml:{line}", "add has no 'gone' any more. Run `make releases`")
    merged(site, known, [result(OLD, RAISES)]).write(site)
    assert project.problems() == []


def test_a_command_that_names_what_is_not_listed_runs_nothing(capsys):
    assert releases.main("9.9") == releases.main(OLD, "9.9") == 2
    assert capsys.readouterr().out == "No such release is listed in pyproject.toml: 9.9\n" * 2


@pytest.mark.parametrize(("keras", "code"), [("9.9.9", 1), ("nightly", 0)])
def test_a_check_is_red_if_a_release_was_left_out(project, site, monkeypatch, capsys, keras, code):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(releases, "ROOT", project.root)
    monkeypatch.setattr(releases, "listed", lambda root: [Release(keras)])
    assert releases.main("--check") == code
    assert f"Keras {keras} is left out: it can't be installed: ERROR: No matching" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [("same: 1", "same: 2"), ("second line", "third line"), ("differs:", "differs: ["), ("pieces:", "<<<<<<< HEAD")],
)
def test_a_file_that_was_written_by_hand_is_red(project, site, old, new):
    tried(site, **{"3_14_1": RAISES}).write(site)
    assert project.problems() == []
    project.replace("snippets/releases.yaml", old, new)
    project.assert_red("snippets/releases.yaml:1", "this isn't as the command writes it. Run `make releases`.")


@pytest.mark.parametrize(("version", "red"), [(OLD, 1), ("3.16.0.dev1", 0)], ids=["release", "nightly"])
def test_a_check_is_red_if_a_release_does_something_else_than_recorded(site, capsys, version, red):
    before = merged(site, Tried(), [result(version, PRINTS)])
    after = merged(site, Tried(), [result(version, RAISES)])
    assert releases._told(before, before) == 0
    assert capsys.readouterr().out == ""
    assert releases._told(before, after) == red
    said = capsys.readouterr().out
    assert f"Keras {version}: add: use\n" in said
    assert "recorded {'prints': 'total: 4'}" in said


# --- how it is found out ----------------------------------------------------------------------------------------------


def test_a_release_is_laid_over_what_is_installed(project, site):
    """A page goes on after what raises, and each of its blocks is told apart."""
    release = Release("9.9.9", "8.8.8")
    for name, version in (("keras", "9.9.9"), ("tensorflow", "8.8.8")):
        folder = release.folder(project.root) / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(f"__version__ = {version!r}\n", encoding="utf-8")
    code = 'import keras\n\n    if keras.__version__ == "9.9.9":\n        raise ValueError("too new")'
    section = "    # --8<-- [start:{0}]\n    {1}\n    # --8<-- [end:{0}]\n"
    project.write(
        "snippets/add.py",
        project.read("snippets/add.py") + section.format("import", code) + section.format("after", "print(3)"),
    )
    versions = release.install(project.root)
    assert versions == {"keras": "9.9.9", "tensorflow": "8.8.8"}
    tried = releases.compare(site, release, versions)
    assert tried.about == {"tensorflow": "8.8.8", "ran": 4, "same": 2}
    assert tried.found == {"add": {"import": {"raises": "ValueError: too new"}, "after": {"prints": "3"}}}


def test_what_cannot_be_installed_is_told(project, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    release = Release("9.9.9")
    with pytest.raises(LookupError, match=r"can't be installed: .*No matching distribution found for keras==9\.9\.9"):
        release.install(project.root)
    assert not release.folder(project.root).exists(), "it is tried again"


def test_what_cannot_be_imported_is_told(project):
    release = Release("9.9.9")
    (release.folder(project.root) / "keras").mkdir(parents=True)
    (release.folder(project.root) / "keras/__init__.py").write_text("import gone", encoding="utf-8")
    with pytest.raises(LookupError, match="can't be imported: ModuleNotFoundError: No module named 'gone'"):
        release.install(project.root)


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differs", "labels"),
    [
        ({"3_13_2": RAISES, "3_14_1": RAISES}, ["Before Keras 3.15, it raises"]),
        ({"3_13_2": RAISES, "3_14_1": {}}, ["Before Keras 3.14, it raises"]),
        ({"3_13_2": {}, "3_14_1": PRINTS}, ["On Keras 3.14, it prints"]),
        ({"3_13_2": RAISES, "3_14_1": PRINTS}, ["Before Keras 3.14, it raises", "On Keras 3.14, it prints"]),
        ({"3_13_2": {}, "3_14_1": {}}, []),
    ],
)
def test_under_a_block_stands_what_it_does_on_other_releases(project, site, differs, labels):
    tried(site, **differs).write(site)
    code, said = project.build()
    assert code == 0, said
    page = (project.root / "site/add.html").read_text(encoding="utf-8")
    assert [line.text for line in BeautifulSoup(page, "html.parser").select("details.release > summary")] == labels
    if labels:
        assert page.index("total: 3") < page.index("<details class=release"), "below what it prints today"
        assert page.count("id=other-releases-use") == 1, "on the first"


def test_of_a_block_that_changed_since_nothing_is_told(project, site):
    tried(site, **{"3_14_1": RAISES}).write(site)
    project.replace("snippets/add.py", "add(1, 2)", "add(2, 1)")
    code, said = project.build()
    assert code == 0, said
    assert "class=release" not in (project.root / "site/add.html").read_text(encoding="utf-8")


def test_a_page_tells_since_when_it_does_the_same(site):
    module = site.snippets / "add.py"
    assert told.since(site, Tried(), module) == ""
    assert (
        told.since(site, tried(site, **{"3_13_2": RAISES, "3_14_1": {}}), module) == "alike since 3.13 but for 1 block"
    )
    assert told.since(site, tried(site, **{"3_13_2": {}, "3_14_1": {}}), module) == "alike since 3.13"
