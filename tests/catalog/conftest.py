from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from catalog.sql.open import open_catalog
from catalog.usecases.services import Services
from tests.catalog.cast import Clock
from tests.kit.memory_blocks import MemoryBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.sql.database import SqlDatabase


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that was made once: migrating is the dearest part of most scenes here."""
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite"
    open_catalog(path).close()
    return path


@pytest.fixture
def database(tmp_path: Path, empty_catalog: Path) -> Iterator[SqlDatabase]:
    shutil.copy(empty_catalog, tmp_path / "catalog.sqlite")
    opened = open_catalog(tmp_path / "catalog.sqlite", wait_seconds=5)
    yield opened
    opened.close()


@pytest.fixture
def blocks() -> MemoryBlocks:
    return MemoryBlocks()


@pytest.fixture
def services(database: SqlDatabase, blocks: MemoryBlocks) -> Services:
    return Services(database, blocks, clock=Clock())
