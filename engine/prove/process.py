"""A page runs as a reader's script does: in a process of its own, whose every print is kept, and in an empty folder.

A server has imported what pages import, and has computed nothing. It forks a process for each page, in a hundredth of
the time that the imports take. What TensorFlow reads from the environment it reads when it is imported, so each
environment needs a server.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from engine.prove import figures, shapes
from engine.site import UNSEEN, Piece, Site

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
"""The CPU only, one arithmetic on every processor, no chatter: TensorFlow reads it when it is imported."""
TOOLS = ROOT / "snippets/tools"
SECONDS, WAITING = 60, 300
"""Of the processor, and of the clock, that a piece of code may take."""

RETRACING = "triggered tf.function retracing"
"""The one message that is left out of what a page prints: it names an address, and how many calls came before it."""

TOUCHES = {"os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}
TOUCHES |= {"os.truncate", "os.utime", "socket.bind", "sqlite3.connect"}
REACHES = {"socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname"}
REACHES |= {"socket.sendmsg", "socket.sendto"}
STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
"""Events of Python's audit: https://docs.python.org/3/library/audit_events.html"""
SPAWNS = "multiprocessing.popen_spawn_posix"
"""What is imported to start another Python, for which there is no event."""


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of code."""

    printed: str = ""
    """On standard output and standard error, in the order in which a terminal shows it."""
    picture: figures.Picture | None = None
    wrong: str = ""
    """What it did instead: raised, wrote outside its folder, opened a connection, drew what can't be read."""
    frames: str = ""
    """By which lines it came to raise."""
    line: int = 0
    """Where, if that is known."""


# --- on this side -----------------------------------------------------------------------------------------------------


class Server:
    """Starts processes for pages, each as if Python had just imported TensorFlow under an environment."""

    def __init__(self, site: Site, env: dict[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address := f"{self._folder.name}/socket")
        self._socket.listen()
        self._socket.settimeout(1)
        command = [sys.executable, "-m", "engine.prove.process", address, *sorted(_imported(site))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=env)

    def page(self) -> Page:
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        while self._process.poll() is None:
            with contextlib.suppress(TimeoutError):
                return Page(Connection(self._socket.accept()[0].detach()))
        raise RuntimeError("The process that starts those of pages has ended: what it said stands above.")

    def close(self) -> None:
        self._process.stdin.close()
        before = sum(os.times()[2:4])
        self._process.wait()
        Page.seconds -= sum(os.times()[2:4]) - before  # counted already, page by page
        self._socket.close()
        self._folder.cleanup()


class Page:
    """A process that runs the code of one page."""

    seconds = 0.0
    """Of the processor, for all pages of this process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._id: int = connection.recv()

    def run(self, piece: Piece) -> Outcome:
        """Run a piece of code below those that ran before it."""
        return self.call(_run, piece)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of a module in the page's process."""
        try:
            self._connection.send((function, args))
            if self._connection.poll(2 * WAITING):
                result, seconds = self._connection.recv()
                Page.seconds += seconds
                if isinstance(result, RuntimeError):
                    raise result
                return result
            os.kill(self._id, signal.SIGKILL)
            return Outcome(wrong=f"takes more than {WAITING} seconds.")
        except (EOFError, ConnectionError):
            return Outcome(wrong="isn't run, or ends the process: nothing below it can run.")

    def end(self) -> str:
        """End the process, as Python ends. Returns what it prints then, which no block shows."""
        ended = self.call(_end)
        self._connection.close()
        return ended if isinstance(ended, str) else ""


def _imported(site: Site) -> set[str]:
    """What the modules of a site import."""
    found = set()
    for module in site.modules():
        with contextlib.suppress(SyntaxError):
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                found |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
                found |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    return found


# --- in the server ----------------------------------------------------------------------------------------------------


def _serve(address: str, *imported: str) -> None:
    """Fork a process for each line of the input, until it ends."""
    sys.path.insert(0, str(TOOLS))  # as if each lay beside the code of the page
    for name in imported:
        with contextlib.suppress(ImportError):  # the page that imports it raises
            importlib.import_module(name)
    gc.freeze()  # pages share it, and their garbage isn't looked for in it
    while sys.stdin.buffer.readline():
        if os.fork() == 0:
            _run_a_page(Client(address))
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) and os.wait():
            pass  # those that have ended, so that their seconds are counted


# --- in the process of a page -----------------------------------------------------------------------------------------


class _Process:
    """What the code of a page finds, and what is kept of it."""

    module: ModuleType
    folder: str
    log: int
    seen: int
    """How many bytes of the log were looked at."""
    refused: list[str]


def _run_a_page(connection: Connection) -> None:
    connection.send(os.getpid())
    with tempfile.TemporaryDirectory() as around, tempfile.TemporaryFile() as log:
        _settle_in(Path(around, "page"), log.fileno())
        while True:
            try:
                function, args = connection.recv()
            except EOFError:
                break
            before = sum(os.times()[:4])
            try:
                result = function(*args)
            except Exception as error:
                result = RuntimeError("".join(traceback.format_exception(error)))
            connection.send((result, sum(os.times()[:4]) - before))
        _Process.folder = os.path.realpath(around)
        os.chdir("/")
    os._exit(0)


def _settle_in(folder: Path, log: int) -> None:
    """Become what a reader's new Python is."""
    folder.mkdir()
    os.chdir(folder)
    tempfile.tempdir = str(folder / ".." / "temporary")
    os.mkdir(tempfile.tempdir)
    atexit._clear()  # what the server's packages do at their end isn't the page's
    sys.argv, sys.dont_write_bytecode = [""], True
    sys.modules["__main__"] = _Process.module = ModuleType("__main__")
    builtins.__dict__[shapes.CHECK] = shapes.check
    _Process.folder, _Process.log, _Process.seen, _Process.refused = os.path.realpath(folder.parent), log, 0, []
    for stream, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(log, number)
        setattr(sys, stream, open(number, "w", buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stdin = open(os.devnull)  # noqa: SIM115  nobody answers, and what the server reads isn't the page's
    warnings.formatwarning = _in_words
    logging.getLogger("tensorflow").addFilter(lambda record: RETRACING not in record.getMessage())
    figures.start(ROOT / "snippets/plots.mplstyle")
    signal.signal(signal.SIGPROF, _too_long)
    signal.signal(signal.SIGALRM, _too_long)
    sys.displayhook = _is_shown
    sys.addaudithook(_refuse)


def _run(piece: Piece) -> Outcome:
    _Process.refused.clear()
    wrong, frames, line, start = "", "", 0, time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 1)
    signal.setitimer(signal.ITIMER_REAL, WAITING, 1)
    try:
        for code in _compiled(piece):
            exec(code, vars(_Process.module))
    except BaseException as error:  # SystemExit, too: a page has no end but its own
        wrong, frames, line = _raised(error, piece)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if time.monotonic() - start > WAITING:
        _Process.refused.append(f"takes more than {WAITING} seconds.")
    if _Process.refused:
        wrong = _Process.refused[0]
    picture, badly_drawn = figures.capture(piece)
    printed = _printed()
    if not wrong and (found := UNSEEN.search(printed)):
        wrong = f"prints {found[0]!r}, which a page can't show. With fit, verbose=0 or 2 doesn't."
    return Outcome(printed, picture, wrong or badly_drawn or "", frames, line)


def _compiled(piece: Piece) -> Iterator[CodeType]:
    """The code of a piece under its own file and lines, and behind it the expression that it ends with.

    Of that a notebook shows the value, and a script nothing: so does a page, and it may have none.
    """
    text = "\n" * (piece.line - 1) + piece.text
    tree = shapes.with_checks(ast.parse(text), text, piece.path)
    last = [tree.body.pop()] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
    yield compile(tree, str(piece.path), "exec", dont_inherit=True)
    yield compile(ast.Interactive(last), str(piece.path), "single", dont_inherit=True)


def _is_shown(value: object) -> None:
    if value is not None:
        _Process.refused.append("ends with a value, which a notebook shows and a script doesn't: print it, or name it.")


def _end() -> str:
    """Do what Python does at its end, for which there is no public way: threads, what was registered, what is left."""
    signal.setitimer(signal.ITIMER_REAL, WAITING, 1)
    threading._shutdown()
    atexit._run_exitfuncs()
    vars(_Process.module).clear()
    gc.collect()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return _printed()


def _printed() -> str:
    """What was printed since this was asked last."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # what TensorFlow's C++ has printed
    start, _Process.seen = _Process.seen, os.fstat(_Process.log).st_size
    return os.pread(_Process.log, _Process.seen - start, start).decode(errors="replace")


def _raised(error: BaseException, piece: Piece) -> tuple[str, str, int]:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename == str(piece.path)]
    line = error.lineno if isinstance(error, SyntaxError) else ours[-1].lineno if ours else piece.line
    start = frames.index(ours[0]) if ours else len(frames)
    way = "\n".join(traceback.format_list(frames[start:])).rstrip()
    return f"raises {type(error).__name__}: {error}", way, line or piece.line


def _in_words(message: Warning | str, category: type[Warning], *_place: object) -> str:
    """A warning without the place of a file on this machine."""
    return f"{category.__name__}: {message}\n"


def _too_long(number: int, _frame: object) -> None:
    limit = f"{SECONDS} seconds of the processor" if number == signal.SIGPROF else f"{WAITING} seconds"
    _Process.refused.append(f"takes more than {limit}.")
    raise TimeoutError(_Process.refused[0])


def _refuse(event: str, args: tuple) -> None:
    """Python's audit: what a page doesn't do on a reader's machine."""
    what = ""
    if event in REACHES and not (isinstance(args[-1], str) and args[-1].startswith("/")):
        what = f"opens a connection ({event}): a page needs nothing but its packages."
    elif (event in STARTS or (event, args[:1]) == ("import", (SPAWNS,))) and not _by_a_tool():
        what = f"starts a process ({event}): what that does, nobody sees."
    elif event in TOUCHES or (event == "open" and _writes(args)):
        outside = [path for path in args[:2] if isinstance(path, str | bytes | os.PathLike) and not _inside(path)]
        what = f"writes outside its folder, to {os.fspath(outside[0])!s}." if outside else ""
    if what:
        _Process.refused.append(what)
        raise PermissionError(f"A page {what}")


def _by_a_tool() -> bool:
    """Whether a tool of the site does it, which has its own tests."""
    return any(Path(frame.f_code.co_filename).parent == TOOLS for frame, _ in traceback.walk_stack(None))


def _writes(args: tuple) -> bool:
    _path, mode, flags = args
    return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _inside(path: str | bytes | os.PathLike) -> bool:
    whole = os.path.realpath(os.fsdecode(path))
    folders = (os.path.join(_Process.folder, name, "") for name in ("page", "temporary"))
    return whole in (os.devnull, _Process.folder) or f"{whole}/".startswith(tuple(folders))


if __name__ == "__main__":
    from engine.prove import process

    process._serve(*sys.argv[1:])
