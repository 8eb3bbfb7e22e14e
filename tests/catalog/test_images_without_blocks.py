"""What looks after our blocks, and what needs them, beside images whose bytes lie in other stores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.names import new_name
from blockstore.progress import Silent
from blockstore.roots import path_of
from blockstore.verify import Wanted
from catalog.inventory import HeldCopies
from catalog.model.errors import Invalid, NoBlocks
from catalog.model.new_image import NewImage
from catalog.usecases import administration, delta_begin, image_data, images
from catalog.usecases.block_reads import changes
from catalog.usecases.locations import delete_from_store
from catalog.usecases.lost_copies import mark_lost
from tests.kit.filled_store import looked_after
from tests.kit.image_service import CALLER, image_service
from tests.kit.memory_store import MemoryStore
from tests.kit.pieces_source import PiecesSource
from tests.kit.several_stores import copied, with_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.usecases.services import Services

DATA = bytes(range(256)) * 1024
RAW = NewImage(name="disk", disk_format="raw", container_format="bare")


async def put(services: Services, store: str, parent: str | None = None) -> Image:
    async def pieces() -> AsyncIterator[bytes]:
        yield DATA

    new = NewImage(disk_format="raw", container_format="bare", parent_image_ref=parent)
    made = await images.create(services, CALLER, new)
    return await image_data.upload(services, CALLER, made.id, PiecesSource(pieces()), expected=None, store=store)


def filled(root: Path, *stores: str) -> list[str]:
    with image_service(root) as service:
        there = with_stores(service.services, MemoryStore("fast"))

        async def fill() -> list[str]:
            return [(await put(there, store)).id for store in stores]

        return asyncio.run(fill())


def test_verify_and_stats_know_that_an_image_may_lie_elsewhere(tmp_path: Path) -> None:
    filled(tmp_path, "fast", "fast", "blocks")
    with looked_after(tmp_path) as (store, records):
        assert administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean
        found = administration.stats(store, records, Silent(), garbage=True)
    assert (found.images, found.logical) == ({"active": 3}, len(DATA))
    assert found.copies == [HeldCopies("fast", "active", 2, 2 * len(DATA))]


def test_verify_names_images_that_lie_nowhere_any_more(tmp_path: Path) -> None:
    with image_service(tmp_path) as service:
        there = with_stores(service.services, MemoryStore("fast"))

        async def lose() -> Image:
            image = await put(there, "fast")
            assert await mark_lost(there, image.id, image.locations[0])
            return image

        image = asyncio.run(lose())
    with looked_after(tmp_path) as (store, records):
        verified = administration.verify_all(store, records, Wanted(data=False), Silent()).verified
        found = administration.stats(store, records, Silent(), garbage=False)
    assert [finding.what for finding in verified.findings if image.id in finding.what]
    assert not verified.clean
    assert [(each.store, each.status, each.copies) for each in found.copies] == [("fast", "lost", 1)]


def test_a_collection_takes_what_passed_through_and_does_not_take_the_catalog_for_lost(tmp_path: Path) -> None:
    filled(tmp_path, "fast")
    # As a crash between the commit and the removal of its file leaves it.
    left = path_of(tmp_path, new_name().hex())
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"left")
    with looked_after(tmp_path, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
        found = administration.stats(store, records, Silent(), garbage=True)
    assert found.store.garbage is not None
    assert (found.store.unique.blocks, found.store.garbage.blocks) == (0, 0)


def test_what_needs_blocks_of_an_image_that_has_none_says_how_to_have_some(tmp_path: Path) -> None:
    with image_service(tmp_path) as service:
        there = with_stores(service.services, MemoryStore("fast"))

        async def scene() -> None:
            ours, theirs = await put(there, "blocks"), await put(there, "fast")
            for pair in ((ours, theirs), (theirs, ours)):
                with pytest.raises(NoBlocks):
                    await changes(there, CALLER, pair[0].id, pair[1].id, start=0, most=10)
            begun = await images.create(there, CALLER, RAW)
            with pytest.raises(NoBlocks, match="copy-image"):
                await delta_begin.begin(there, CALLER, begun.id, size=len(DATA), base=theirs.id, block_size=None)
            with pytest.raises(Invalid, match="no image whose data"):
                await delta_begin.begin(there, CALLER, begun.id, size=len(DATA), base=begun.id, block_size=None)
            child = await put(there, "blocks", parent=theirs.id)
            assert (child.parent_image_ref, child.changed_size) == (theirs.id, len(DATA))

        asyncio.run(scene())


def test_a_child_keeps_what_it_needs_of_a_parent_that_leaves_our_blocks(tmp_path: Path) -> None:
    with image_service(tmp_path) as service:
        there = with_stores(service.services, MemoryStore("fast"))

        async def scene() -> None:
            parent = await put(there, "blocks")
            child = await put(there, "blocks", parent=parent.id)
            assert child.changed_size == 0
            fast = there.stores.get("fast")
            assert fast is not None
            await copied(there, parent.id, fast)
            await delete_from_store(there, CALLER, "blocks", parent.id)
            download = await image_data.download(there, CALLER, child.id)
            got = b"".join([bytes(piece) async for piece in download.read(0, download.size)])
            download.close()
            assert got == DATA

        asyncio.run(scene())
    with looked_after(tmp_path) as (store, records):
        assert administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean
