"""What a person reads when the set-up can't go on."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def setup(folder: Path, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", str(ROOT / "engine/setup.sh")],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def fake_python(folder: Path, version: str) -> str:
    path = folder / f"python{version}"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} || exit 1\n')
    path.chmod(0o755)
    return str(path)


def test_python_too_old(tmp_path):
    code, said = setup(tmp_path, PYTHON=fake_python(tmp_path, "3.9.18"))
    assert code == 1
    assert "needs Python 3.11, 3.12 or 3.13, and found is: Python 3.9.18" in said
    assert "make PYTHON=" in said


def test_python_too_new(tmp_path):
    code, said = setup(tmp_path, PYTHON=fake_python(tmp_path, "3.15.0"))
    assert code == 1
    assert "found is: Python 3.15.0" in said


def test_no_python(tmp_path):
    code, said = setup(tmp_path, PYTHON="no-such-python")
    assert code == 1
    assert "found is: no Python at all." in said


def test_registry_out_of_reach(tmp_path):
    (tmp_path / "requirements.txt").write_text("tensorflow==2.21.0\n")
    env = {name: "" for name in os.environ if name.startswith("PIP_")}
    env |= {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
    env |= {"PIP_RETRIES": "0"}
    code, said = setup(tmp_path, **env)
    assert code == 1
    assert "The package registry can't be reached." in said
    assert "PIP_INDEX_URL" in said


def test_port_taken(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", f"127.0.0.1:{port}"]
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} can't be used (Address already in use)." in done.stdout + done.stderr
    assert f"make serve PORT={port + 1}" in done.stdout + done.stderr


def test_make_alone_lists_the_commands():
    done = subprocess.run([shutil.which("make")], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("serve", "test", "bench", "build", "outputs", "lock"):
        assert f"make {name} " in done.stdout


def test_each_package_that_is_imported_is_asked_for():
    """In requirements.in, with the reason: what only another package brings may be gone with its next release."""
    asked = set(re.findall(r"(?m)^[\w-]+", (ROOT / "requirements.in").read_text(encoding="utf-8")))
    provides = importlib.metadata.packages_distributions()
    folders = [ROOT.glob("*.py"), *((ROOT / name).rglob("*.py") for name in ("engine", "snippets", "tests"))]
    for file in (file for files in folders for file in files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
                packages = {package.lower().replace("_", "-") for package in provides.get(name, [])}
                assert not packages or packages & asked, f"{file.relative_to(ROOT)} imports {name}, of {packages}"
