from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged, StoreUnavailable
from catalog import policy
from catalog.model.errors import CopyLost, Forbidden, Invalid, NoBlocks, NotFound, NotReadable, StoreDown
from catalog.model.image import Status
from catalog.model.location import LOST, WRONG, Location
from catalog.store_ports import StoreInfo
from catalog.stores.opaque import OpaqueStore
from catalog.stores.set import StoreSet
from catalog.usecases import coalescing, image_data, images
from catalog.usecases.block_reads import open_blocks
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of, put
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import copied, with_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.image_data import Download
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks, MemoryReader

DATA = bytes(range(256)) * 2000


async def stored(services: Services, *stores: MemoryStore) -> Image:
    image = await put(services, await images.create(services, ANNA, RAW), DATA)
    return await copied(services, image.id, *stores)


async def only_in(services: Services, image: Image, *locations: Location) -> None:
    def move(uow: UnitOfWork) -> None:
        found = uow.images.get(image.id)
        assert found is not None
        found.locations = locations
        uow.images.save(found, expect=found.status)

    await services.database.write(move)


async def rest_of(download: Download) -> bytes:
    try:
        return b"".join([bytes(piece) async for piece in download.read(0, download.size)])
    finally:
        download.close()


def test_an_image_is_read_from_its_heaviest_store(services: Services) -> None:
    async def scene() -> None:
        light, heavy = MemoryStore("light", weight=1), MemoryStore("heavy", weight=2)
        there = with_stores(services, light, heavy)
        image = await stored(there, light, heavy)
        before = heavy.opened, light.opened
        download = await image_data.download(there, ANNA, image.id)
        assert download.reader.location.store == "heavy"
        assert await rest_of(download) == DATA
        assert (heavy.opened, light.opened) == (before[0] + 1, before[1])

    asyncio.run(scene())


def test_preferred_stores_come_first_and_the_others_are_behind_them(services: Services) -> None:
    async def scene() -> None:
        light, heavy = MemoryStore("light", weight=1), MemoryStore("heavy", weight=2)
        there = with_stores(services, light, heavy)
        image = await stored(there, light, heavy)
        download = await image_data.download(there, ANNA, image.id, prefer=["blocks", "light"])
        assert (download.reader.location.store, download.has_stored) == ("blocks", True)
        download.close()
        download = await image_data.download(there, ANNA, image.id, prefer=["light"])
        assert (download.reader.location.store, download.has_stored) == ("light", False)
        download.close()
        light.down = True
        download = await image_data.download(there, ANNA, image.id, prefer=["light"])
        assert download.reader.location.store == "heavy"
        download.close()

    asyncio.run(scene())


def test_a_preference_needs_stores_that_there_are_and_a_permission(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, light := MemoryStore("light"))
        image = await stored(there, light)
        with pytest.raises(Invalid, match="no store 'fast' to prefer; it is one of blocks, light"):
            await image_data.download(there, ANNA, image.id, prefer=["light", "fast"])
        with pytest.raises(Invalid, match="leave 'prefer' out"):
            await image_data.download(services, ANNA, image.id, prefer=["blocks"])
        kept_from = replace(ANNA, rules=policy.rules_with({"download_from_store": "!"}))
        with pytest.raises(Forbidden, match="choose the store"):
            await image_data.download(there, kept_from, image.id, prefer=["light"])
        assert await bytes_of(there, image, caller=kept_from) == DATA

    asyncio.run(scene())


def test_a_store_that_is_down_is_passed_over_and_asked_last_from_then_on(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, heavy := MemoryStore("heavy", weight=1))
        image = await stored(there, heavy)
        heavy.down = True
        assert await bytes_of(there, image) == DATA
        assert there.stores.is_aside("heavy")
        heavy.down = False
        download = await image_data.download(there, ANNA, image.id)
        assert download.reader.location.store == "blocks"
        download.close()

    asyncio.run(scene())


@pytest.mark.parametrize("at", [0, 1, 65536, 65537, 200_000, len(DATA) - 1])
def test_a_store_that_breaks_off_is_gone_on_from_elsewhere_at_the_very_byte(services: Services, at: int) -> None:
    async def scene() -> None:
        there = with_stores(services, heavy := MemoryStore("heavy", weight=1))
        image = await stored(there, heavy)
        heavy.breaks_at = at
        download = await image_data.download(there, ANNA, image.id)
        assert download.reader.location.store == "heavy"
        assert await rest_of(download) == DATA
        assert download.reader.location.store == "blocks"

    asyncio.run(scene())


def test_a_part_goes_on_elsewhere_too(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, heavy := MemoryStore("heavy", weight=1))
        image = await stored(there, heavy)
        heavy.breaks_at = 150_000
        download = await image_data.download(there, ANNA, image.id)
        got = b"".join([bytes(piece) async for piece in download.read(100_001, 300_003)])
        assert got == DATA[100_001:300_003]
        download.close()

    asyncio.run(scene())


def test_damage_among_our_blocks_is_passed_over_in_a_copy(services: Services, blocks: MemoryBlocks) -> None:
    """A block is damaged; the copy has the same bytes."""

    class Broken:
        def __init__(self, reader: MemoryReader) -> None:
            self.reader, self.size, self.read_stored, self.close = reader, reader.size, reader.read_stored, reader.close

        async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
            yield DATA[start : start + 70_000]
            raise Damaged("block 17 is damaged")

    class BrokenBlocks:
        def __getattr__(self, name: str) -> object:
            return getattr(blocks, name)

        async def open(self, manifests: Sequence[StoredManifest]) -> Broken:
            return Broken(await blocks.open(manifests))

    async def scene() -> None:
        there = with_stores(services, light := MemoryStore("light", weight=-1))
        image = await stored(there, light)
        broken = replace(there, blocks=BrokenBlocks())  # type: ignore[arg-type]  # the rest is as it was
        assert await bytes_of(broken, image) == DATA
        light.down = True
        with pytest.raises(StoreDown, match="light"):
            await bytes_of(broken, image)

    asyncio.run(scene())


def test_when_no_place_is_left_the_error_of_the_last_one_is_told(services: Services, blocks: MemoryBlocks) -> None:
    class NoBlocksNow:
        def __getattr__(self, name: str) -> object:
            return getattr(blocks, name)

        async def open(self, _manifests: Sequence[StoredManifest]) -> None:
            raise StoreUnavailable("the disk is gone")

    async def scene() -> None:
        there = with_stores(services, heavy := MemoryStore("heavy", weight=1))
        image = await stored(there, heavy)
        down = replace(there, blocks=NoBlocksNow())  # type: ignore[arg-type]  # the rest is as it was
        heavy.down = True
        with pytest.raises(StoreUnavailable, match="the disk is gone"):
            await image_data.download(down, ANNA, image.id)
        heavy.down, heavy.breaks_at = False, 0
        download = await image_data.download(down, ANNA, image.id)
        with pytest.raises(StoreUnavailable, match="the disk is gone"):
            await rest_of(download)

    asyncio.run(scene())


def test_a_copy_that_is_lost_is_marked_and_not_asked_for_again(services: Services) -> None:
    async def scene() -> None:
        told: list[tuple[str, str]] = []
        there = with_stores(services, heavy := MemoryStore("heavy", weight=1))
        there = replace(there, on_place=lambda *what: told.append(what))
        image = await stored(there, heavy)
        heavy.lose()
        assert await bytes_of(there, image) == DATA
        shown = await images.show(there, ANNA, image.id)
        assert [(each.store, each.status) for each in shown.locations] == [("blocks", "active"), ("heavy", LOST)]
        assert (shown.status, shown.updated_at) == (Status.ACTIVE, image.updated_at)
        assert told == [("heavy", "lost")]
        assert not there.stores.is_aside("heavy")
        asked = heavy.opened
        assert await bytes_of(there, image) == DATA
        assert heavy.opened == asked

    asyncio.run(scene())


def test_the_only_copy_when_it_is_lost_is_a_503_with_a_sentence(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, heavy := MemoryStore("heavy"))
        image = await stored(there, heavy)
        await only_in(there, image, image.locations[1])
        heavy.lose()
        for _ in range(2):
            with pytest.raises(CopyLost):
                await image_data.download(there, ANNA, image.id)
        with pytest.raises(CopyLost, match=r"copies of image .* in heavy are lost, and it lies nowhere else"):
            await image_data.download(there, ANNA, image.id)

    asyncio.run(scene())


def test_a_copy_that_moved_meanwhile_is_found_by_another_look(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, one := MemoryStore("one", weight=2), other := MemoryStore("other", weight=1))
        image = await stored(there, one)
        await only_in(there, image, image.locations[1])
        download = await image_data.download(there, ANNA, image.id)
        pieces = download.read(0, download.size)
        got = bytes(await anext(pieces))
        moved = await copied(there, image.id, other)
        await only_in(there, image, moved.locations[-1])
        one.down = True
        got += b"".join([bytes(piece) async for piece in pieces])
        assert (got, download.reader.location.store) == (DATA, "other")
        download.close()

    asyncio.run(scene())


def test_an_image_deleted_while_its_store_broke_off_tells_what_the_store_said(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, one := MemoryStore("one", weight=1))
        image = await stored(there, one)
        await only_in(there, image, image.locations[1])
        download = await image_data.download(there, ANNA, image.id)
        one.breaks_at = 70_000
        await images.delete(there, ANNA, image.id)
        with pytest.raises((StoreDown, NotFound)):
            await rest_of(download)

    asyncio.run(scene())


def test_a_read_that_is_given_up_lets_go_of_its_place(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, one := MemoryStore("one", weight=1))
        image = await stored(there, one)
        download = await image_data.download(there, ANNA, image.id)
        async with aclosing(download.reader.read(0, download.size)) as pieces:
            assert bytes(await anext(pieces)) == DATA[: 1 << 16]
        download.close()
        download.close()

    asyncio.run(scene())


def test_what_lies_only_where_nobody_reads_cannot_be_downloaded(services: Services) -> None:
    async def scene() -> None:
        image = await stored(services)
        await only_in(services, image, Location("rbd://pool/image/snap", "ceph"))
        with pytest.raises(StoreDown, match="not configured here"):
            await image_data.download(services, ANNA, image.id)
        ceph = OpaqueStore(StoreInfo("ceph", "opaque"), ["rbd"])
        there = replace(services, stores=StoreSet([ceph]))
        with pytest.raises(NotReadable, match="use one of its locations directly"):
            await image_data.download(there, ANNA, image.id)

    asyncio.run(scene())


def test_what_needs_blocks_says_so_of_an_image_without_any(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, one := MemoryStore("one"))
        image = await stored(there, one)
        await only_in(there, image, image.locations[1])
        assert await bytes_of(there, image) == DATA
        with pytest.raises(NoBlocks, match="copy it there first: import it with the method copy-image"):
            await open_blocks(there, ANNA, image.id)
        with pytest.raises(NoBlocks):
            await coalescing.coalesce(there, ANNA, image.id)
        child = await images.create(there, ANNA, replace(RAW, parent_image_ref=image.id))
        full = await put(there, child, DATA)
        assert full.changed_size == len(DATA)
        assert await bytes_of(there, full, caller=ADMIN) == DATA

    asyncio.run(scene())


def test_a_copy_with_other_bytes_is_never_served_and_counts_as_lost(services: Services) -> None:
    async def scene() -> None:
        heavy = MemoryStore("heavy", weight=2)
        there = with_stores(services, heavy)
        image = await stored(there, heavy)
        [url] = heavy.copies
        rotten = bytearray(heavy.copies[url])
        rotten[200_000] ^= 1
        heavy.copies[url] = bytes(rotten)
        download = await image_data.download(there, ANNA, image.id)
        assert download.reader.location.store == "heavy"
        assert await rest_of(download) == DATA
        shown = await images.show(there, ANNA, image.id)
        assert [place.status for place in shown.locations if place.store == "heavy"] == [WRONG]

    asyncio.run(scene())
