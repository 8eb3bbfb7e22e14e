from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog.usecases.services import Services
from tests.catalog.cast import Clock
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.sql.database import SqlDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    opened = new_catalog(tmp_path / "catalog.sqlite", wait_seconds=5)
    yield opened
    opened.close()


@pytest.fixture
def blocks() -> MemoryBlocks:
    return MemoryBlocks()


@pytest.fixture
def services(database: SqlDatabase, blocks: MemoryBlocks) -> Services:
    return Services(database, blocks, clock=Clock())
