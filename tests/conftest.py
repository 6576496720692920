"""Fixtures that every test may use."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

import pytest

from engine.examples import fresh_keras


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    fresh_keras(seed=0)


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[Executor]:
    """One other Python that has seen none of this one's classes: what a file loads there, it loads anywhere."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor
