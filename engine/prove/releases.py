"""The same code on other releases of Keras: `make releases` runs each piece there, and records what isn't the same.

`releases` in pyproject.toml lists them. A release of Keras is laid over the installed TensorFlow as a folder on the
path, or together with a TensorFlow of its own. A page runs from top to bottom in one namespace, and goes on after what
raises, so a section may fail only because one above it did.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from engine.prove import figures, records
from engine.prove.process import ENVIRONMENT, ROOT, Outcome, Server
from engine.prove.records import as_recorded
from engine.site import Piece, Problem, Site, pieces

NIGHTLY = "nightly"
LOG = re.compile(r"^(?:WARNING: All log messages before absl|[IWEF]\d{4} \d\d:\d\d:).*\n?", re.MULTILINE)
"""What TensorFlow's C++ says to whoever debugs it, with the time of day."""
ADDRESS, STYLE = re.compile(r"0x[0-9a-f]+"), re.compile(r"\x1b\[[\d;]*m")
FOLDER = re.compile(r"/\S*/temporary/\w+")
"""A temporary file of a page, in a folder that has another name in each run."""
NUMBER = re.compile(r"[-+]?\b\d[\d,]*\.?\d*(e[+-]?\d+)?")
HEAD = "# What the code of the pages does on other releases. `make releases` writes this file.\n"


@dataclass(frozen=True)
class Release:
    """A Keras, and the TensorFlow under it if it isn't the one of the lock."""

    keras: str
    tensorflow: str = ""

    @property
    def requirements(self) -> list[str]:
        pair = {"keras": self.keras, "tensorflow": self.tensorflow}
        if self.keras == NIGHTLY:
            return ["--pre", "keras-nightly", "tf-nightly"]
        return [f"{name}=={version}" for name, version in pair.items() if version]

    def folder(self, root: Path) -> Path:
        return root / ".cache/releases" / "-".join(filter(None, (self.keras, self.tensorflow)))

    def env(self, root: Path) -> dict[str, str]:
        return os.environ | ENVIRONMENT | {"PYTHONPATH": str(self.folder(root))}

    def install(self, root: Path) -> dict[str, str]:
        """Lay it into its folder, unless it is there. Returns its versions, or raises `LookupError` with the reason."""
        folder = self.folder(root)
        alone = ["--no-deps"] if self.keras != NIGHTLY and not self.tensorflow else []
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", folder, *alone]
        if self.keras == NIGHTLY or not folder.is_dir():
            done = subprocess.run([*pip, *self.requirements], capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(folder, ignore_errors=True)
                raise LookupError(f"it can't be installed: {_last(done.stderr)}")
        ask = "import keras, tensorflow as tf; print(keras.__version__, tf.__version__)"
        command, env = [sys.executable, "-c", ask], self.env(root)
        done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LookupError(f"it can't be imported: {_last(done.stderr)}")
        return dict(zip(("keras", "tensorflow"), done.stdout.split()[-2:], strict=True))


def _last(told: str) -> str:
    return (told.strip() or "nothing is told").splitlines()[-1]


def listed(root: Path) -> list[Release]:
    """The releases that are tried, oldest first: the first is the oldest that is supported."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["releases"]
    return [Release(**release) for release in table["tried"]]


def digest(site: Site, piece: Piece) -> str:
    """Of a piece and what is recorded of it: another one hasn't been tried."""
    return hashlib.sha256(f"{piece.text}\n{records.read(site, piece).printed}".encode()).hexdigest()[:6]


# --- what is recorded -------------------------------------------------------------------------------------------------


@dataclass
class Tried:
    """The file: which pieces were tried on which releases, and what those do there that aren't the same."""

    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each Keras its TensorFlow, how many pieces ran, and how many of them were the same."""
    pieces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each module, by its path without an ending, the digests of its pieces."""
    differs: dict[str, dict[str, dict[str, dict[str, str]]]] = field(default_factory=dict)
    """Of each module, piece and Keras: `prints`, `raises`, `fails`, `draws` or `follows`, with what."""

    @staticmethod
    def path(site: Site) -> Path:
        return site.snippets / "releases.yaml"

    @classmethod
    def read(cls, site: Site) -> Tried:
        path = cls.path(site)
        return _read(path, path.stat().st_mtime_ns) if path.is_file() else cls()

    def text(self) -> str:
        together = {
            module: {name: _together(what) for name, what in names.items()} for module, names in self.differs.items()
        }
        held = {"releases": self.releases, "pieces": self.pieces, "differs": together}
        text = yaml.dump(held, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
        return f"{HEAD}# {hashlib.sha256(text.encode()).hexdigest()[:12]}: with another text below, it is red.\n{text}"

    def write(self, site: Site) -> None:
        self.path(site).write_text(self.text(), encoding="utf-8")

    @cached_property
    def released(self) -> list[str]:
        """Each Keras that isn't a nightly, oldest first."""
        return [version for version in self.releases if not _is_nightly(version)]

    def untried(self, site: Site, module: Path) -> list[Piece]:
        """The pieces of a module that are new, or another, since the file was written."""
        known = self.pieces.get(key(site, module), {})
        return [piece for piece in pieces(module) if piece.is_code and known.get(piece.name) != digest(site, piece)]


@lru_cache(maxsize=8)
def _read(path: Path, _mtime: int) -> Tried:
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        held = {name: held[name] for name in ("releases", "pieces", "differs")}
    except (yaml.YAMLError, TypeError, KeyError):
        return Tried()  # which isn't what stands there: a problem
    for names in held["differs"].values():
        for name, together in names.items():
            names[name] = {version: what for versions, what in together.items() for version in versions.split(", ")}
    return Tried(**held)


def _together(what: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Releases that follow each other and do the same, as one."""
    groups = [(same, list(group)) for same, group in groupby(what, key=what.get)]
    return {", ".join(group): same for same, group in groups}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def key(site: Site, module: Path) -> str:
    return module.relative_to(site.snippets).with_suffix("").as_posix()


def problems(site: Site) -> Iterator[Problem]:
    """What the file tells of pieces that are gone, or in words of its own."""
    tried, path = Tried.read(site), Tried.path(site)
    text = path.read_text(encoding="utf-8") if path.is_file() else tried.text()
    if text != tried.text():
        yield site.problem(path, 1, "this isn't as the command writes it.", "Run `make releases`.")
    there = {key(site, module): {piece.name for piece in pieces(module)} for module in site.modules()}
    lines = text.splitlines()
    for module, known in tried.pieces.items():
        for name in known.keys() - there.get(module, set()):
            line = next((number for number, line in enumerate(lines, 1) if line.strip().startswith(f"{name}: ")), 1)
            what = f"{module} has no {name!r} any more."
            yield site.problem(path, line, what, "Run `make releases`, which writes the file anew.")


# --- how it is found out ----------------------------------------------------------------------------------------------


Found = dict[str, dict[str, dict[str, str]]]
"""Of each module and piece: `prints`, `raises`, `fails`, `draws` or `follows`, with what."""


@dataclass(frozen=True)
class Result:
    """What came of a release."""

    keras: str
    tensorflow: str
    ran: int
    found: Found

    @property
    def about(self) -> dict[str, Any]:
        same = self.ran - sum(map(len, self.found.values()))
        return {"tensorflow": self.tensorflow, "ran": self.ran, "same": same}


def compare(site: Site, release: Release, versions: dict[str, str]) -> Result:
    """Run all pieces on a release."""
    start, ran, found = time.monotonic(), 0, {}
    with contextlib.closing(Server(site, release.env(site.root))) as server:
        for module in site.modules():
            page, differs, raised = server.page(), {}, False
            code = [piece for piece in pieces(module) if piece.is_code]
            for piece in code:
                what = difference(site, piece, page.run(piece), raised, masked=release.keras == NIGHTLY)
                raised |= bool({"raises", "fails"} & what.keys())
                differs |= {piece.name: what} if what else {}
            page.end()
            ran += len(code)
            found |= {key(site, module): differs} if differs else {}
            told = f"{len(code) - len(differs)} of {len(code)} the same"
            print(f"Keras {release.keras}: {key(site, module)}, {told} ({time.monotonic() - start:.0f} s)", flush=True)
    return Result(**versions, ran=ran, found=found)


def difference(site: Site, piece: Piece, outcome: Outcome, raised: bool, *, masked: bool = False) -> dict[str, str]:
    """What a piece does that isn't what is recorded: nothing if it is the same.

    On a nightly, numbers may drift: only other words count.
    """
    record = records.read(site, piece)
    if outcome.wrong:
        what = _told_anywhere(outcome.wrong.removeprefix("raises "))
        verb = "raises" if outcome.wrong.startswith("raises ") else "fails"
        return {"follows" if raised and what.startswith("NameError") else verb: what}
    now, before = _told_anywhere(outcome.printed), _told_anywhere(record.printed)
    if now != before and not (masked and _masked(now) == _masked(before)):
        return {"prints": now}
    if not record.picture or (masked and outcome.picture):
        return {}
    change = figures.differ(record.picture, outcome.picture) if outcome.picture else "nothing"
    return {"draws": change} if change else {}


def _told_anywhere(text: str) -> str:
    """A text without what is another on each machine, and without colours."""
    text = ADDRESS.sub("0x…", STYLE.sub("", LOG.sub("", text)))
    return as_recorded(FOLDER.sub("…", text).replace(str(ROOT), "…"))


def _masked(text: str) -> str:
    return "".join(NUMBER.sub("0", text).split())


def main(*arguments: str) -> int:
    """Try the releases that are listed, or some of them, and write the file; or with --check compare with it."""
    site, only = Site.load(ROOT), set(arguments) - {"--check"}
    chosen = [release for release in listed(ROOT) if not only or release.keras in only]
    if unknown := only - {release.keras for release in chosen}:
        print(f"No such release is listed in pyproject.toml: {', '.join(unknown)}")
        return 2
    print(f"Running every block on Keras {', '.join(release.keras for release in chosen)}: minutes for each")
    start, before, versions, texts = time.monotonic(), Tried.read(site), {}, digests(site)
    for release in chosen:
        try:
            versions[release] = release.install(ROOT)
        except LookupError as why:
            print(f"Keras {release.keras} is left out: {why}")
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        results = list(workers.map(lambda release: compare(site, release, versions[release]), versions))
    tried = merged(site, before, results, texts)
    print(f"{time.monotonic() - start:.0f} s")
    for result in results:
        print(f"Keras {result.keras}, TensorFlow {result.tensorflow}: {result.about['same']} of {result.ran} the same")
    if "--check" in arguments:
        left_out = any(release not in versions and release.keras != NIGHTLY for release in chosen)
        return _told(before, tried) | left_out
    tried.write(site)
    print(f"Wrote {site.relative(Tried.path(site))}")
    return 0


def _told(before: Tried, tried: Tried) -> int:
    """Print what isn't as it is recorded. Returns 1 if that is so on a release, 0 if on nightlies only."""
    code = 0
    for version in tried.releases:
        known, now = _flat(_of(before, version)), _flat(_of(tried, version))
        for piece in sorted(known.keys() | now.keys()):
            if known.get(piece) != now.get(piece):
                code |= not _is_nightly(version)
                print(f"Keras {version}: {': '.join(piece)}")
                print(f"    now {now.get(piece, 'the same')}\n    recorded {known.get(piece, 'the same')}")
    return code


def _flat(found: Found) -> dict[tuple[str, str], dict[str, str]]:
    return {(module, name): what for module, names in found.items() for name, what in names.items()}


def digests(site: Site) -> dict[str, dict[str, str]]:
    """The text of each piece of each module, in short."""
    return {
        key(site, module): {piece.name: digest(site, piece) for piece in pieces(module) if piece.is_code}
        for module in site.modules()
    }


def merged(site: Site, before: Tried, results: list[Result], texts: dict[str, dict[str, str]]) -> Tried:
    """The file with new results, in the order of the releases; of those that weren't tried now, what it held.

    `texts` are those of before the run: what was changed in the meantime isn't tried.
    """
    anew = {result.keras: (result.about, result.found) for result in results}
    known = {release.keras for release in listed(site.root)}
    if any(map(_is_nightly, anew)):
        known.discard(NIGHTLY)
    kept = {
        version: (about, _of(before, version))
        for version, about in before.releases.items()
        if version not in anew and (NIGHTLY if _is_nightly(version) else version) in known
    }
    every = kept | anew
    tried = Tried(releases={version: every[version][0] for version in sorted(every, key=_order)})
    for module, names in digests(site).items():
        tried.pieces[module] = {name: texts[module][name] for name in names if name in texts.get(module, {})}
        there = {version: every[version][1].get(module, {}) for version in tried.releases}
        for name in names:
            if what := {version: found[name] for version, found in there.items() if name in found}:
                tried.differs.setdefault(module, {})[name] = what
    if kept:  # a piece that changed since wasn't tried on these
        for module, names in tried.pieces.items():
            known_before = before.pieces.get(module, {})
            tried.pieces[module] = {name: known_before[name] for name in names if name in known_before}
    return tried


def _of(tried: Tried, version: str) -> Found:
    """What isn't the same on one release."""
    return {
        module: {name: what[version] for name, what in names.items() if version in what}
        for module, names in tried.differs.items()
    }


def _is_nightly(version: str) -> bool:
    return "dev" in version


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
