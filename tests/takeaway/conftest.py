"""Readers' processes: with the arithmetic that this machine is best at, and not the one that every machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.prove.process import Page, Server
from tests.site import AS_A_READER, SITE


@pytest.fixture(scope="session")
def readers() -> Iterator[Server]:
    server = Server(SITE, AS_A_READER)
    yield server
    server.close()


@pytest.fixture
def process(readers: Server) -> Iterator[Page]:
    """A new Python in an empty folder."""
    page = readers.page()
    yield page
    page.end()
