from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Conflict, Gone, StoreDown, StoreFull, StoreReadOnly
from catalog.model.image import Status
from catalog.model.location import LOST
from catalog.model.loose import LooseCopy, LooseState
from catalog.stores.set import StoreSet
from catalog.usecases import image_data, images
from catalog.usecases.copy_sweep import AT_ONCE, PAUSE, Pauses, doom_left_behind, remove_doomed
from catalog.usecases.copying import copy_into, doom_unsettled, drop, settle
from catalog.usecases.deleted_images import undelete
from catalog.usecases.expiry import expire_deleted
from tests.catalog.cast import ANNA, RAW, bytes_of, put, stream
from tests.kit.memory_store import MemoryStore
from tests.kit.pieces_source import PiecesSource
from tests.kit.several_stores import copied, loose, with_stores
from tests.kit.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

DATA = bytes(range(256)) * 1000


async def begun(
    services: Services, store: MemoryStore, *, holder: str = "upload-1", process: str = "process-1"
) -> Location:
    """A copy that was written and is nobody's yet."""
    image = await put(services, await images.create(services, ANNA, RAW), DATA)
    return await another(services, image, store, holder=holder, process=process)


async def another(services: Services, image: Image, store: MemoryStore, *, holder: str, process: str) -> Location:
    download = await image_data.download(services, ANNA, image.id)
    try:
        return await copy_into(services, store.info.name, image.id, download.reader, holder=holder, process=process)
    finally:
        download.close()


def test_a_copy_is_recorded_from_before_its_first_byte_until_it_is_an_images(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, store := MemoryStore("fast"))
        copy = await begun(there, store)
        assert store.copies == {copy.url: DATA}
        [writing], doomed = await loose(there)
        assert (writing.url, writing.store, writing.holder, writing.process) == (
            copy.url,
            "fast",
            "upload-1",
            "process-1",
        )
        assert not doomed
        await there.database.write(lambda uow: settle(uow, [copy]))
        assert await loose(there) == ([], [])
        with pytest.raises(Gone, match="given up before"):
            await there.database.write(lambda uow: settle(uow, [copy]))

    asyncio.run(scene())


@pytest.mark.parametrize(("switch", "error"), [("down", StoreDown), ("full", StoreFull)])
def test_a_copy_that_cannot_be_written_is_to_be_removed(
    services: Services, switch: str, error: type[Exception]
) -> None:
    async def scene() -> None:
        there = with_stores(services, store := MemoryStore("fast"))
        setattr(store, switch, True)
        with pytest.raises(error):
            await begun(there, store)
        writing, [doomed] = await loose(there)
        assert not writing
        assert (doomed.store, doomed.state) == ("fast", LooseState.DOOMED)
        assert there.stores.is_aside("fast") == (switch == "down")

    asyncio.run(scene())


def test_copies_go_only_where_copies_are_taken(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, web := MemoryStore("web", read_only=True))
        with pytest.raises(StoreReadOnly):
            await begun(there, web)
        with pytest.raises(Conflict, match="no store 'blocks' that takes copies"):
            await begun(there, MemoryStore("blocks"))
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_who_begins_again_gives_up_what_came_before(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, store := MemoryStore("fast"))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        first = await another(there, image, store, holder="job-1", process="process-1")
        other = await another(there, image, store, holder="job-2", process="process-1")
        second = await another(there, image, store, holder="job-1", process="process-2")
        writing, doomed = await loose(there)
        assert {each.url for each in writing} == {other.url, second.url}
        assert [each.url for each in doomed] == [first.url]

    asyncio.run(scene())


def test_the_sweep_removes_what_was_given_up_from_stores_that_are_up(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"), deep := MemoryStore("deep"))
        copies = [await begun(there, fast), await begun(there, deep)]
        await drop(there, copies)
        await drop(there, copies)
        deep.down = True
        pauses = Pauses(ticks := Ticks())
        assert await remove_doomed(there, pauses) == 1
        assert (len(fast.copies), len(deep.copies)) == (0, 1)
        # Not asked again at once, and read all the same: who may read need not be allowed to remove.
        deep.down = False
        assert await remove_doomed(there, pauses) == 0
        assert not there.stores.is_aside("deep")
        ticks.now += PAUSE
        assert await remove_doomed(there, pauses) == 1
        assert not deep.copies
        assert await loose(there) == ([], [])
        assert await remove_doomed(there) == 0

    asyncio.run(scene())


def test_copies_of_stores_that_are_not_configured_wait_for_them(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        await drop(there, [await begun(there, fast)])
        assert await remove_doomed(services) == 0
        assert await remove_doomed(there) == 1

    asyncio.run(scene())


def test_what_dead_writers_left_is_given_up_and_what_living_ones_write_is_not(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        there.running.add("mine")
        mine = await begun(there, fast, holder="mine")
        await begun(there, fast, holder="no longer mine")
        theirs = await begun(there, fast, process="process-2")
        await begun(there, fast, process="process-3")
        blocks.dead.add("process-3")
        assert await doom_left_behind(there) == 2
        assert {each.url for each in (await loose(there))[0]} == {mine.url, theirs.url}
        there.running.discard("mine")
        assert await doom_left_behind(there) == 1
        assert await doom_left_behind(there) == 0

    asyncio.run(scene())


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_copy_that_was_given_up_and_removed_while_it_was_written_is_removed_again(
    services: Services, *, ends_well: bool
) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        write = fast.write

        async def swept_meanwhile(url: str, source: object) -> None:
            # Its image was deleted, or its job went to another worker.
            await there.database.write(lambda uow: doom_unsettled(uow, {url}))
            assert await remove_doomed(there) == 1
            await write(url, source)  # type: ignore[arg-type]  # the same
            if not ends_well:
                raise StoreFull("Store fast is full.")

        fast.write = swept_meanwhile  # type: ignore[method-assign]  # in the middle
        with pytest.raises(Gone if ends_well else StoreFull):
            await begun(there, fast)
        assert len(fast.copies) == 1
        assert await remove_doomed(there) == 1
        assert not fast.copies
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_a_copy_that_was_settled_meanwhile_is_not_given_up(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        image = await copied(there, image.id, fast)
        await drop(there, [image.locations[1]])
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_a_deleted_image_lets_its_copies_go(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"), deep := MemoryStore("deep"))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        image = await copied(there, image.id, fast, deep)
        await images.delete(there, ANNA, image.id)
        assert {each.url for each in (await loose(there))[1]} == {each.url for each in image.locations[1:]}
        assert await remove_doomed(there) == 2
        assert not fast.copies
        assert not deep.copies

    asyncio.run(scene())


def test_a_kept_image_keeps_its_copies_until_it_expires(services: Services) -> None:
    async def scene() -> None:
        there = replace(with_stores(services, fast := MemoryStore("fast", weight=1)), keep_deleted=60.0)
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        image = await copied(there, image.id, fast)
        await images.delete(there, ANNA, image.id)
        assert await loose(there) == ([], [])
        assert await there.database.read(lambda uow: uow.places.is_named(image.locations[1].url))
        back = await undelete(there, ANNA, image.id)
        assert back.image.locations == image.locations
        download = await image_data.download(there, ANNA, image.id)
        assert download.reader.location.store == "fast"
        download.close()
        await images.delete(there, ANNA, image.id)
        now = there.clock() + timedelta(days=1)
        assert await there.database.write(lambda uow: expire_deleted(uow, now, timedelta(seconds=60))) == 1
        assert [each.url for each in (await loose(there))[1]] == [image.locations[1].url]
        assert not await there.database.read(lambda uow: uow.places.is_named(image.locations[1].url))

    asyncio.run(scene())


def test_what_others_registered_is_forgotten_and_never_removed(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"), web := MemoryStore("web", read_only=True))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        image = await copied(there, image.id, fast)
        web.copies["memory://web/theirs"] = DATA
        at = there.clock()
        rows = [
            LooseCopy(url=url, store=store, image_id=image.id, holder="", process="", since=at)
            for url, store in (("memory://web/theirs", "web"),)
        ]
        await there.database.write(lambda uow: uow.loose.doom(rows))
        assert await remove_doomed(there) == 1
        assert (len(web.copies), len(fast.copies)) == (1, 1)
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_what_lies_where_a_store_was_before_waits_for_it_and_keeps_no_other_copy_waiting(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        former = [
            LooseCopy(url=f"memory://old/{n}", store="fast", image_id="1", holder="", process="", since=there.clock())
            for n in range(AT_ONCE)
        ]
        await there.database.write(lambda uow: uow.loose.doom(former))
        await drop(there, [await begun(there, fast)])
        pauses = Pauses(ticks := Ticks())
        assert await remove_doomed(there, pauses) == 0
        assert fast.copies
        ticks.now += PAUSE
        assert await remove_doomed(there, pauses) == 1
        assert not fast.copies
        assert {each.url for each in (await loose(there))[1]} == {each.url for each in former}

    asyncio.run(scene())


def test_an_upload_into_a_store_that_is_known_to_be_down_is_refused_before_its_first_byte(services: Services) -> None:
    asked: list[str] = []

    async def unread() -> AsyncIterator[bytes]:
        asked.append("for bytes")
        yield b""

    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        fast.down = True
        stores = there.stores
        assert isinstance(stores, StoreSet)
        await stores.check("fast")
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(StoreDown, match="fast cannot be used now"):
            await image_data.upload(there, ANNA, made.id, PiecesSource(unread()), expected=5, store="fast")
        assert (await images.show(there, ANNA, made.id)).status is Status.QUEUED
        assert not asked

    asyncio.run(scene())


def test_an_upload_into_a_store_ends_active_there_alone(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        made = await images.create(there, ANNA, RAW)
        source = stream(DATA)
        image = await image_data.upload(there, ANNA, made.id, source, expected=len(DATA), store="fast")
        assert (image.status, image.size, [each.store for each in image.locations]) == (
            Status.ACTIVE,
            len(DATA),
            ["fast"],
        )
        assert image.os_hash_value is not None
        assert fast.copies == {image.locations[0].url: DATA}
        assert await bytes_of(there, image) == DATA
        assert not blocks.manifests
        assert not blocks.journals
        assert await loose(there) == ([], [])
        assert not await there.database.read(lambda uow: uow.pins.of_image(made.id))

    asyncio.run(scene())


def test_the_default_store_takes_uploads_that_name_none(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, MemoryStore("fast", default=True))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        assert [each.store for each in image.locations] == ["fast"]
        made = await images.create(there, ANNA, RAW)
        ours = await image_data.upload(there, ANNA, made.id, stream(DATA), expected=None, store="blocks")
        assert [each.store for each in ours.locations] == ["blocks"]

    asyncio.run(scene())


@pytest.mark.parametrize(("switch", "error"), [("down", StoreDown), ("full", StoreFull)])
def test_an_upload_into_a_store_that_fails_leaves_nothing(
    services: Services, blocks: MemoryBlocks, switch: str, error: type[Exception]
) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        setattr(fast, switch, True)
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(error):
            await image_data.upload(there, ANNA, made.id, stream(DATA), expected=None, store="fast")
        assert (await images.show(there, ANNA, made.id)).status is Status.QUEUED
        assert (blocks.manifests, blocks.journals) == ({}, set())
        fast.down = fast.full = False
        there.stores.worked((await put(there, made, DATA)).locations[0])
        await remove_doomed(there)
        assert not fast.copies

    asyncio.run(scene())


def test_an_image_deleted_while_its_bytes_are_copied_leaves_nothing(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        made = await images.create(there, ANNA, RAW)
        write = fast.write

        async def deleted_meanwhile(url: str, source: object) -> None:
            await write(url, source)  # type: ignore[arg-type]  # the same
            await images.delete(there, ANNA, made.id)

        fast.write = deleted_meanwhile  # type: ignore[method-assign]  # in the middle
        with pytest.raises(Gone):
            await image_data.upload(there, ANNA, made.id, stream(DATA), expected=None, store="fast")
        assert (blocks.manifests, blocks.journals) == ({}, set())
        assert len((await loose(there))[1]) == 1
        assert await remove_doomed(there) == 1
        assert not fast.copies

    asyncio.run(scene())


def test_pages_of_places_come_by_image(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast"))
        made = [await put(there, await images.create(there, ANNA, RAW), DATA) for _ in range(5)]
        made = sorted([await copied(there, image.id, fast) for image in made], key=lambda image: image.id)
        first = await there.database.read(lambda uow: uow.places.in_store("fast", "", 3))
        assert first == [(image.id, image.locations[1], len(DATA)) for image in made[:3]]
        rest = await there.database.read(lambda uow: uow.places.in_store("fast", made[2].id, 3))
        assert [image_id for image_id, _, _ in rest] == [image.id for image in made[3:]]
        assert not await there.database.read(lambda uow: uow.places.lost("", 3))
        fast.lose()
        for image in made[:4]:
            await bytes_of(replace(there), image)
            download = await image_data.download(there, ANNA, image.id, prefer=["fast"])
            download.close()
        lost = await there.database.read(lambda uow: uow.places.lost("", 3))
        assert [(image_id, each.status) for image_id, each, _ in lost] == [(image.id, LOST) for image in made[:3]]

    asyncio.run(scene())
