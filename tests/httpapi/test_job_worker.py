"""The process for jobs alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from catalog.model.lane import Places
from catalog.usecases.services import Services
from httpapi.job_worker import work
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import new_catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from catalog.ports import Database, UnitOfWork

T = TypeVar("T")


@dataclass
class Breaking:
    """A database that fails in a way nobody has thought of, from the moment when it is told to."""

    database: Database
    broken: bool = False

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        if self.broken:
            raise RuntimeError("unforeseen")
        return await self.database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        return await self.database.write(step)


def test_a_worker_that_can_work_no_more_ends_with_the_fault_and_does_not_stay_idle(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "catalog.sqlite")
    database = Breaking(catalog)

    def announce() -> None:
        database.broken = True

    async def scene() -> None:
        async with asyncio.timeout(30):
            await work(
                Services(database=database, blocks=MemoryBlocks()), at_once=Places(1, 1), grace=0, announce=announce
            )

    with pytest.raises(RuntimeError, match="unforeseen"):
        asyncio.run(scene())
    catalog.close()
