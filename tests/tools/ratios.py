"""The cost of custom code on this machine, as the page tells it. `make ratios` runs it, records, and writes the rows.

The rows stand in the page, and in the test that quotes them: both are rewritten with the record.
"""

from __future__ import annotations

import datetime
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from engine.prove.process import TOOLS

if __name__ == "__main__":
    sys.path.append(str(TOOLS))

import cost
import keras
import tensorflow as tf
import yaml

from tests.site import SITE

RECORD = Path(__file__).with_suffix(".yaml")
HEAD = "# What custom code costs against built-in code, in processor time. `make ratios` writes this file.\n"
PAGE = SITE.docs / "training/fast_and_small.md"
QUOTED = SITE.root / "tests/training/test_fast_and_small.py"


def read() -> dict[str, Any]:
    """What is recorded."""
    return yaml.safe_load(RECORD.read_text(encoding="utf-8"))


def cells(name: str, found: list[float]) -> str:
    """The row of a pair: the median, and the smallest and the largest ratio."""
    return f"{name} | {statistics.median(found):.2f} | {min(found):.2f} to {max(found):.2f}"


def told(record: dict[str, Any]) -> list[str]:
    """Each sentence and each row of the page that the record fills."""
    where = (
        f"Measured on {record['date']} with TensorFlow {record['tensorflow']} and Keras {record['keras']} on "
        f"{record['cores']} shared cores, {record['repeat']} times:"
    )
    return [where, *(cells(name, found) for name, found in record["ratios"].items())]


def main(repeat: int = 9) -> None:
    """Measure, record, and rewrite the rows."""
    before = told(read()) if RECORD.is_file() else []
    ratios = {name: [round(one, 3) for one in found] for name, found in cost.measure(repeat).items()}
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    known = {"date": str(datetime.date.today()), **versions, "cores": os.cpu_count(), "repeat": repeat}
    record = {**known, "ratios": ratios}
    RECORD.write_text(HEAD + yaml.safe_dump(record, sort_keys=False, default_flow_style=None, width=110), "utf-8")
    for path in (PAGE, QUOTED):
        text = path.read_text(encoding="utf-8")
        for old, new in zip(before, told(record), strict=False):
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    print("\n".join(told(record)))


if __name__ == "__main__":
    main()
