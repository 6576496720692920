"""How a reader runs what a page offers, in a process of its own: as a script, or cell by cell in IPython's shell."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


def script(text: str) -> str:
    """Run a module without a file, as if pasted. Returns what it prints, on either stream."""
    logging.getLogger("tensorflow").setLevel("ERROR")  # it warns of each function whose source it doesn't find
    return _printed(lambda: exec(compile(text, "<stdin>", "exec", dont_inherit=True), vars(sys.modules["__main__"])))


def cells(sources: list[str]) -> list[str]:
    """Run cells one below the other. Returns what each prints."""
    os.environ["IPYTHONDIR"] = tempfile.mkdtemp()  # where there is no ~/.ipython, it would make one
    nothing = Config({"HistoryManager": {"enabled": False}})  # it would keep what was typed, beside the page's folder
    shell = InteractiveShell.instance(config=nothing)
    return [_printed(lambda: shell.run_cell(text, store_history=False).raise_error()) for text in sources]  # noqa: B023


def _printed(run: Callable[[], object]) -> str:
    start = os.lseek(1, 0, os.SEEK_END)
    run()
    sys.stdout.flush()
    sys.stderr.flush()
    return os.pread(1, os.lseek(1, 0, os.SEEK_END) - start, start).decode()
