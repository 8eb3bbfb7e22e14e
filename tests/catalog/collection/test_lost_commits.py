"""Commits that failed, or whose process died there, and that come about after all: their manifests' files are there."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from blockstore import listing
from catalog.model.errors import CatalogFull, CatalogUnavailable
from catalog.sql.inventory import SqlInventory
from catalog.sql.records import open_records
from catalog.usecases.administration import roots_of
from tests.kit.collector import ALL, collected
from tests.kit.image_service import image_service
from tests.kit.lost_commits import LogEnd, after_a_crash
from tests.kit.quiet_worker import at_work, until_quiet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.image_service import ImageService

DATA = random.Random(5).randbytes(40 * 4096)
OTHER = random.Random(6).randbytes(40 * 4096)


class FailingCatalog:
    """The service's database: the next write that names a manifest is lost, and all that follow fail until `mend`."""

    def __init__(self, service: ImageService, root: Path) -> None:
        self.path = root / "catalog.sqlite"
        self.failed = asyncio.Event()
        self._database = service.services.database
        self._write = self._database.write
        self._known = live(self.path)
        self._database.write = self._fail  # type: ignore[method-assign]

    def mend(self) -> None:
        self._database.write = self._write  # type: ignore[method-assign]

    async def _fail(self, step: Any) -> Any:
        if not self.failed.is_set():
            before = LogEnd(self.path)
            result = await self._write(step)
            if live(self.path) <= self._known:
                return result
            before.put_back()
            self.failed.set()
        raise CatalogUnavailable("the catalog's disk fails")


def live(catalog: Path) -> set[str]:
    with open_records(catalog) as records:
        return set(records.read(roots_of).live)


def there(root: Path) -> set[str]:
    return {listed.name for listed in listing.manifests(root)}


def test_a_lost_commit_is_seen_by_nobody_and_comes_about_after_a_crash(tmp_path: Path) -> None:
    """What these tests are about: it is not enough to look."""
    root = tmp_path / "data"

    async def scene(service: ImageService) -> None:
        image = await service.new()
        catalog = FailingCatalog(service, root)
        with pytest.raises(CatalogUnavailable):
            await service.put(image, DATA)
        assert await service.status(image) == "saving"
        assert live(catalog.path) == set()
        assert live(after_a_crash(catalog.path, tmp_path / "crashed")) == there(root)

    with image_service(root) as service:
        asyncio.run(scene(service))


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_collection_takes_no_file_that_a_lost_commit_of_an_upload_names(tmp_path: Path, *, dry_run: bool) -> None:
    root = tmp_path / "data"

    async def scene(service: ImageService) -> None:
        image = await service.new()
        catalog = FailingCatalog(service, root)
        with pytest.raises(CatalogUnavailable):
            await service.put(image, DATA)
        assert (await collected(service.store, how=replace(ALL, dry_run=dry_run))).manifests_removed == 1
        assert live(after_a_crash(catalog.path, tmp_path / "crashed")) <= there(root)
        assert len(there(root)) == dry_run

    with image_service(root) as service:
        asyncio.run(scene(service))


def test_where_the_catalog_is_full_a_collection_leaves_what_has_no_record_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"

    def full(_inventory: SqlInventory) -> None:
        raise CatalogFull("no space is left")

    async def scene(service: ImageService) -> None:
        await service.pushed(OTHER)
        image = await service.new()
        FailingCatalog(service, root)
        with pytest.raises(CatalogUnavailable):
            await service.put(image, DATA)
        monkeypatch.setattr(SqlInventory, "settle", full)
        assert (await collected(service.store)).manifests_removed == 0
        assert len(there(root)) == 2
        monkeypatch.undo()
        assert (await collected(service.store)).manifests_removed == 1
        assert len(there(root)) == 1

    with image_service(root) as service:
        asyncio.run(scene(service))


def test_a_collection_takes_no_file_that_a_lost_swap_of_a_chain_names(tmp_path: Path) -> None:
    """Here an image that was acknowledged long ago would lose its data."""
    root = tmp_path / "data"

    async def scene(service: ImageService) -> None:
        parent = await service.pushed(DATA)
        child = await service.pushed(OTHER[:4096] + DATA[4096:], parent=parent)
        await service.delete(parent)
        catalog = FailingCatalog(service, root)
        async with at_work(service.services):
            await asyncio.wait_for(catalog.failed.wait(), 20)
        assert len(there(root)) == 3
        assert (await collected(service.store)).manifests_removed == 1
        assert live(after_a_crash(catalog.path, tmp_path / "crashed")) <= there(root)
        catalog.mend()
        await until_quiet(service.services)
        assert await service.get(child) == OTHER[:4096] + DATA[4096:]

    with image_service(root) as service:
        asyncio.run(scene(service))
