from __future__ import annotations

import asyncio
import errno
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from blockstore.disk import disk_errors
from blockstore.errors import Poisoned, StoreFull, StoreUnavailable
from blockstore.store import StoreOptions
from catalog.model.errors import CatalogFull
from catalog.usecases import image_data
from tests.kit.faulty_disk import CountingDisk, FailingDisk
from tests.kit.image_service import image_service
from tests.kit.images_in_store import every_row_has_its_entry

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.ports import Database, UnitOfWork

FIRST = random.Random(1).randbytes(400_000)
SECOND = random.Random(2).randbytes(900_001)
STEPS = [
    "create .zst",
    "write .zst",
    "index rows",
    "index register",
    "create .manifest",
    "write .manifest",
    "sync .manifest",
    "create .second",
    "write .second",
    "sync .second",
    "create .journal",
    "write .journal",
    "sync .journal",
    "sync directory",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_at_any_step_fails_the_upload_cleanly_and_it_works_after_space_is_made(
    tmp_path: Path, step: str
) -> None:
    async def work() -> None:
        disk = FailingDisk(lambda what: what == step)
        with image_service(tmp_path, disk=disk) as service:
            done, image = await service.new("done"), await service.new("next")
            await service.put(done, FIRST)
            service.store._generations._open_pack.roll()  # so that a new pack is begun
            disk.armed = True
            with pytest.raises((StoreFull, Poisoned)):
                await service.put(image, SECOND)
            assert disk.failures, "the step was reached"
            assert await service.status(image) == "queued"
            assert await service.get(done) == FIRST, "what was there is still read"
            disk.armed = False
            await service.put(image, SECOND)
            assert await service.get(image) == SECOND
            every_row_has_its_entry(service.store)
            assert service.store.slabs.taken == 0

    asyncio.run(work())


class PackSyncFails(CountingDisk):
    """While armed, no pack can be synced; keeps which ones it was tried for."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.failed: list[str] = []

    def sync(self, fd: int, what: str) -> None:
        if self.armed and what.endswith(".zst"):
            self.failed.append(what)
            with disk_errors(what):
                raise OSError(errno.EIO, "broken")
        super().sync(fd, what)


def test_a_failed_sync_poisons_the_pack_and_the_next_upload_gets_another(tmp_path: Path) -> None:
    async def work() -> None:
        disk = PackSyncFails()
        with image_service(tmp_path, disk=disk) as service:
            image = await service.new()
            disk.armed = True
            with pytest.raises(StoreUnavailable, match="given up"):
                await service.put(image, SECOND)
            disk.armed = False
            await service.put(image, SECOND)
            assert await service.get(image) == SECOND
            rows = {place.pack for _, place in service.store.index.scan()}
            names = {record.number: record.name for record in service.store.index.packs()}
            named = {str(service.store.packs.path(names[number])) for number in rows}
            assert disk.failed
            assert not set(disk.failed) & named, "nothing names it"

    asyncio.run(work())


def test_a_full_index_is_a_full_store_and_works_again_when_it_has_room(tmp_path: Path) -> None:
    async def work() -> None:
        small = StoreOptions(slab=64 * 1024, slab_budget=4 << 20, generation_seconds=0.1, index_map=48 * 4096)
        with image_service(tmp_path, options=small) as service:
            image = await service.new()
            with pytest.raises(StoreFull, match="index"):
                await service.put(image, random.Random(3).randbytes(20_000_000))
            assert await service.status(image) == "queued"
        with image_service(tmp_path) as service:
            await service.put(image, SECOND)
            assert await service.get(image) == SECOND

    asyncio.run(work())


async def limit_pages(database: Database, pages: int) -> None:
    """SQLite's own way of a full disk: the file may not grow beyond so many pages."""

    def step(uow: UnitOfWork) -> None:
        connection: Any = uow.images._connection  # type: ignore[attr-defined]  # a look inside
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await database.write(step)


def test_a_full_catalog_fails_the_commit_cleanly_and_it_works_after_space_is_made(tmp_path: Path) -> None:
    async def work() -> None:
        with image_service(tmp_path) as service:
            image = await service.new()
            await service.put(image, SECOND)
            pages = sqlite3.connect(tmp_path / "catalog.sqlite").execute("PRAGMA page_count").fetchone()[0]
            await limit_pages(service.services.database, pages)
            with pytest.raises(CatalogFull):
                for number in range(1000):
                    await service.put(await service.new(f"{number:0200}"), FIRST)
            assert await service.get(image) == SECOND
            await limit_pages(service.services.database, 1 << 30)
            assert await image_data.requeue_orphans(service.services) <= 1
            assert not await service.services.database.read(lambda uow: list(uow.images.streams()))
            last = await service.new("last")
            await service.put(last, FIRST)
            assert await service.get(last) == FIRST

    asyncio.run(work())
