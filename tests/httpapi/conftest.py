"""A running server over a real catalog and blocks in memory."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalog.usecases.services import Services
from tests.kit.forked_program import ForkedPrograms
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A server that a test starts in this process sets up its log; the next test must not write into it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    database = new_catalog(tmp_path / "catalog.sqlite")
    yield Services(database=database, blocks=MemoryBlocks())
    database.close()


@pytest.fixture
def server(services: Services) -> Iterator[RunningServer]:
    with RunningServer(services) as running:
        yield running


@pytest.fixture(scope="session")
def programs() -> Iterator[ForkedPrograms]:
    with ForkedPrograms() as running:
        yield running


@pytest.fixture
def data_root() -> Iterator[Path]:
    """Where a server may have its data, also where `tmp_path` is on a disk: to make its folders there takes longest."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory, "data")
