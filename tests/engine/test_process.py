"""A page runs in a process of its own: what it finds there, what of it is recorded, and what it may not do.

Each sabotage is the code of a page of one site, which is run once.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.engine.conftest import make

PAGE = '# Page\n\n```python\n--8<-- "snippets/{name}.py:code"\n```\n'
OUTPUT = '\n```text title="Output"\n--8<-- "snippets/{name}.txt:code"\n```\n'
MODULE = "# --8<-- [start:code]\n{code}\n# --8<-- [end:code]\n"

PRINTED = {
    "namespace": (
        "print(sorted(globals()))",
        "['__builtins__', '__doc__', '__loader__', '__name__', '__package__', '__spec__']",
    ),
    "main": ("import __main__\n\nprint(__name__, __main__.__dict__ is globals())", "__main__ True"),
    "annotations": ("def f(x: int): ...\n\n\nprint(f.__annotations__)", "{'x': <class 'int'>}"),
    "changes": ("import math\n\nmath.pi = 3\nprint(math.pi)", "3"),
    "finds_no_change": ("import math\n\nprint(math.pi > 3)", "True"),
    "error": ('import sys\n\nprint("told", file=sys.stderr)\nprint("printed")', "told\nprinted"),
    "warning": ('import warnings\n\nwarnings.warn("Take care.")\nprint("on")', "UserWarning: Take care.\non"),
    "log": ('import logging\n\nlogging.warning("Take care.")', "WARNING:root:Take care."),
    "of_c": ('import ctypes\n\ntold = ctypes.CDLL(None).puts(b"in C")', "in C"),
    "folder": ('open("here.txt", "w").close()\nimport os\n\nprint(os.listdir())', "['here.txt']"),
    "temporary": ("import tempfile\n\nwith tempfile.TemporaryDirectory():\n    print('made')", "made"),
    "uses_a_tool": ("import starter\n\nprint(starter.start())", "started"),
    "calls": ("numbers = [2, 1]\nprint(len(numbers))\nnumbers.sort()", "2"),
    "arguments": ("import sys\n\nprint(sys.argv)", "['']"),
}
STARTER = """\
import subprocess


def start():
    return subprocess.run(["echo", "started"], capture_output=True, text=True).stdout.strip()
"""
"""A tool of the site may start a process: it has its own tests."""
REFUSED = {
    "exits": ("import os\n\nos._exit(0)", 0, "isn't run, or ends the process"),
    "leaves": ("import sys\n\nsys.exit()", 4, "raises SystemExit"),
    "connects": ('import socket\n\nsocket.create_connection(("127.0.0.1", 9))', 0, "opens a connection (socket."),
    "looks_up": ('import socket\n\nsocket.getaddrinfo("keras.io", 443)', 0, "opens a connection (socket.getaddrinfo)"),
    "hides": (
        'import socket\n\ntry:\n    socket.create_connection(("127.0.0.1", 9))\nexcept Exception:\n    pass',
        0,
        "opens a connection (socket.",
    ),
    "starts": ('import subprocess\n\nsubprocess.run(["true"])', 4, "starts a process (subprocess.Popen)"),
    "writes": ('open(__import__("os").path.expanduser("~/beside.txt"), "w")', 2, "writes outside its folder, to "),
    "makes": ('import os\n\nos.mkdir("/tmp/beside")', 4, "writes outside its folder, to /tmp/beside."),
    "renames": (
        'open("a", "w").close()\n__import__("os").rename("a", "/tmp/beside")',
        3,
        "writes outside its folder, to /tmp/beside.",
    ),
    "computes": ("while True:\n    pass", 0, "takes more than 1 seconds of the processor"),
    "goes_on": ("import time\n\ntry:\n    time.sleep(9)\nexcept Exception:\n    pass", 0, "takes more than 5 seconds"),
    "forks": ("import os\n\nos.fork()", 4, "starts a process (os.fork)"),
    "asks": ('import socket\n\nsocket.gethostbyname("localhost")', 4, "opens a connection (socket.gethostbyname)"),
    "listens": (
        'import socket\n\nsocket.socket(socket.AF_UNIX).bind("/tmp/beside")',
        4,
        "writes outside its folder, to /tmp/beside.",
    ),
    "spawns": (
        'import multiprocessing\n\nmultiprocessing.get_context("spawn").Process(target=print).start()',
        4,
        "starts a process (import)",
    ),
    "waits": ('name = input("name?")', 2, "raises EOFError"),
    "tells": ("import keras\n\nprint(keras.__file__)", 0, "which no other machine has: print a name"),
    "climbs": ('open("../beside.txt", "w")', 2, "writes outside its folder, to ../beside.txt."),
    "returns": ('print("wrong\\rright")', 0, "prints '\\r', which a page can't show."),
    "shows": ("numbers = [1, 2]\nnumbers.count(1)", 0, "ends with a value, which a notebook shows"),
    "sleeps": ("import time\n\ntime.sleep(9)", 4, "takes more than 5 seconds"),
    "draws": (
        "import matplotlib.pyplot as plt\n\nlines = plt.plot([1, 2])",
        0,
        "draws a plot, which only a tutorial can show.",
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, forks: subprocess.Popen[str]) -> str:
    """What pytest says of all of them, recorded before. The engine is a copy that waits for less long."""
    project = make(tmp_path_factory.mktemp("sabotaged"), forks)
    project.write("snippets/tools/starter.py", STARTER)
    project.replace("engine/prove/process.py", "SECONDS, WAITING = 60, 300", "SECONDS, WAITING = 1, 5")
    for name, (code, *rest) in (PRINTED | REFUSED).items():
        project.write(f"snippets/{name}.py", MODULE.format(code=code))
        project.write(f"docs/{name}.md", PAGE.format(name=name) + (OUTPUT.format(name=name) if len(rest) == 1 else ""))
    command = [sys.executable, "-m", "pytest", "docs", "snippets", "-q", "-p", "no:cacheprovider", "--color=no"]
    subprocess.run([*command, "--update-outputs"], cwd=project.root, capture_output=True, check=False)
    said = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False).stdout
    records = [
        f"{name}.txt:\n{project.read(f'snippets/{name}.txt')}"
        for name in PRINTED
        if (project.root / f"snippets/{name}.txt").is_file()
    ]
    return "\n".join([said, *records])


@pytest.mark.parametrize("name", PRINTED)
def test_what_a_page_prints(said, name):
    _, printed = PRINTED[name]
    assert f"{name}.txt:\n--8<-- [start:code]\n{printed}\n--8<-- [end:code]\n" in said
    assert f"snippets/{name}.py" not in said


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_page_may_not_do(said, name):
    _, line, what = REFUSED[name]
    told = next((told for told in said.splitlines() if told.startswith(f"snippets/{name}.py:")), said)
    assert told.startswith(f"snippets/{name}.py:{line or ''}")
    assert what in told


@pytest.mark.parametrize(
    "code",
    [
        'import atexit\n\natexit.register(print, "bye")',
        'import threading\n\nthreading.Timer(0.5, print, ["bye"]).start()',
        'class Leaves:\n    def __del__(self):\n        print("bye")\n\n\nleaves = Leaves()',
    ],
    ids=["at exit", "in a thread", "when deleted"],
)
def test_what_is_printed_when_the_page_ends_is_red(project, code):
    project.replace("snippets/add.py", "# --8<-- [end:add]", f"{code}\n# --8<-- [end:add]")
    code, said = project.run()
    assert code == 1
    assert "When the page ends, it prints what no block shows: bye" in said


def test_nothing_below_a_block_that_ends_the_process_is_green(project):
    project.replace("snippets/add.py", "# --8<-- [end:add]", "import os\n\nos._exit(0)\n# --8<-- [end:add]")
    code, said = project.run()
    assert code == 1
    assert "2 failed" in said
