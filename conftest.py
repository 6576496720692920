"""Where pytest meets the engine: each page of `docs/` is a test file, each of its blocks a test."""

from __future__ import annotations

import os
from pathlib import Path

# Before TensorFlow is imported: the CPU only, one arithmetic on every processor, no chatter.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import pytest
from sybil import Sybil

from engine.examples import PageParser, end_page, start_page
from engine.pages import Site

site = Site.load(Path(__file__).parent)
page_parser = PageParser(site)
pytest_collect_file = Sybil(
    parsers=[page_parser], path=str(site.docs), patterns=["*.md"], setup=start_page, teardown=end_page
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-outputs", action="store_true", help="record what the blocks print, instead of comparing")


def pytest_configure(config: pytest.Config) -> None:
    page_parser.update = config.getoption("--update-outputs")
