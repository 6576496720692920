"""Where pytest meets the engine: each page and notebook is a test file, each of its blocks or cells a test."""

from __future__ import annotations

import os
from pathlib import Path

# Before TensorFlow is imported: the CPU only, one arithmetic on every processor, no chatter.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import pytest
from sybil import Document, Sybil

from engine.examples import CellParser, PageParser, end_page, start_page
from engine.pages import Site

site = Site.load(Path(__file__).parent)
parsers = [PageParser(site), CellParser(site)]
around = {"setup": start_page, "teardown": end_page}
pages = Sybil([parsers[0]], path=str(site.docs), patterns=["*.md"], **around)
notebooks = Sybil([parsers[1]], path=str(site.snippets), patterns=["*.py"], document_types={".py": Document}, **around)
pytest_collect_file = (pages + notebooks).pytest()


class _NoTests(pytest.Module):
    def collect(self) -> list:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Keep pytest from importing a notebook's module, which would run it, where it is named on the command line."""
    inside = module_path.is_relative_to(site.snippets)
    return _NoTests.from_parent(parent, path=module_path) if inside else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-outputs", action="store_true", help="record what the blocks print, instead of comparing")


def pytest_configure(config: pytest.Config) -> None:
    for parser in parsers:
        parser.update = config.getoption("--update-outputs")
