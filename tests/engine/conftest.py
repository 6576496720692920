"""A small site of the same engine and configuration, to break on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from mkdocs.__main__ import cli

from engine.prove import laws
from engine.site import Site

ROOT = Path(__file__).parents[2]

PAGE = """\
# Add

Two numbers are added.

```python
--8<-- "snippets/add.py:add"
```

```python
--8<-- "snippets/add.py:use"
```

```text title="Output"
--8<-- "snippets/add.txt:use"
```
"""

MODULE = """\
# --8<-- [start:add]
def add(a, b):
    return a + b


# --8<-- [end:add]

if __name__ == "__main__":
    # --8<-- [start:use]
    total = add(1, 2)
    print("total:", total)
    # --8<-- [end:use]
"""

RECORD = """\
--8<-- [start:use]
total: 3
--8<-- [end:use]
"""


NOTEBOOK = """\
# ---
# jupyter:
#   description: 'A notebook: three cells.'
# ---

# %% [markdown]
# # Squares
#
# Numbers $x^2$, [added](add.md).

# %%
import matplotlib.pyplot as plt

x = [0, 1, 2]
print("numbers:", len(x))

# %% alt="A line that rises from 0 to 4."
fig, ax = plt.subplots()
ax.plot(x, [number**2 for number in x])
ax.set(xlabel="number", ylabel="square")
plt.show()
"""


@dataclass(frozen=True)
class Project:
    root: Path
    forks: subprocess.Popen[str]

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert old in text, f"{old!r} doesn't stand in {path}"
        self.write(path, text.replace(old, new))

    def problems(self) -> list[str]:
        return [str(problem) for problem in laws.problems(Site.load(self.root))]

    def assert_red(self, where: str, what: str) -> None:
        """The problem is told at `where` by the check that the tests run, and by the strict build."""
        said = self.problems()
        assert any(problem.startswith(f"{where}: ") and what in problem for problem in said), said
        code, said = self.build()
        assert code != 0
        assert f"{where}: " in said
        assert what in said

    def build(self, mode: str = "--strict") -> tuple[int, str]:
        """What `mkdocs build` answers: its exit code and what it says."""
        result = CliRunner().invoke(cli, ["build", mode, "--config-file", str(self.root / "mkdocs.yml")])
        return result.exit_code, result.output

    def run(self, *options: str, what: tuple[str, ...] = ("docs", "snippets")) -> tuple[int, str]:
        """What pytest answers on the pages, in a process of its own."""
        quietly = ["-q", "-p", "no:cacheprovider", "--color=no"]
        self.forks.stdin.write(json.dumps([str(self.root), *what, *quietly, *options]) + "\n")
        self.forks.stdin.flush()
        return int(self.forks.stdout.readline()), self.read("said.txt")


@pytest.fixture(scope="session")
def forks() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.engine.forks"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


@pytest.fixture
def project(tmp_path: Path, forks: subprocess.Popen[str]) -> Project:
    return make(tmp_path, forks)


def make(tmp_path: Path, forks: subprocess.Popen[str]) -> Project:
    """A site of one page that keeps every law."""
    for name in ("conftest.py", "mkdocs_hooks.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("engine", "theme", "docs/assets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path / "base.yml")
    project = Project(tmp_path, forks)
    project.write("snippets/plots.mplstyle", (ROOT / "snippets/plots.mplstyle").read_text(encoding="utf-8"))
    project.write("mkdocs.yml", "INHERIT: base.yml\nnav: null\n")
    project.write("docs/index.md", "# Home\n\nSee [add](add.md).\n")
    project.write("docs/add.md", PAGE)
    project.write("snippets/add.py", MODULE)
    project.write("snippets/add.txt", RECORD)
    return project


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, forks: subprocess.Popen[str]) -> str:
    """The notebook as the recording command writes it."""
    project = make(tmp_path_factory.mktemp("recorded"), forks)
    project.write("snippets/squares.py", NOTEBOOK)
    code, said = project.run("--update-outputs")
    assert code == 0, said
    return project.read("docs/squares.ipynb")


@pytest.fixture
def with_notebook(project: Project, recorded: str) -> Project:
    """The same site with a notebook, recorded."""
    project.write("snippets/squares.py", NOTEBOOK)
    project.write("docs/squares.ipynb", recorded)
    return project
