"""Imports into several stores: in which order an image gets its copies, and what failures leave."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs import steps
from catalog.model.errors import Conflict, Forbidden, Invalid, StoreDown, StoreFull
from catalog.model.image import Status
from catalog.model.importing import FAILED, IMPORT, LEFT, LOCK, Method
from catalog.model.task import TaskStatus
from catalog.usecases import images, imports, tasks
from catalog.usecases.imports import Asked
from catalog.usecases.lost_copies import mark_lost
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of, put
from tests.catalog.import_scenes import DATA, DIRECT, imported, left, now, staged, told, working
from tests.catalog.jobs.scenes import over, seen
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import loose, with_stores

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

EVERYWHERE = replace(DIRECT, all_stores=True)
ANYWHERE = replace(EVERYWHERE, all_must_succeed=False)
COPY = Asked({"name": Method.COPY_IMAGE}, all_stores=True)


def stores_of(image: Image) -> list[str]:
    return sorted(location.store for location in image.locations)


async def copied(services: Services, image: Image, asked: Asked = COPY) -> Task:
    task = await imports.start(services, ADMIN, image.id, asked)
    async with working(services):
        return await over(services, task)


def test_an_import_into_all_stores_copies_from_what_was_staged(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    several = with_stores(services, near, far)

    async def scene() -> None:
        image = await staged(several)
        task = await imported(several, image, EVERYWHERE)
        assert (task.status, task.input["backend"]) == (TaskStatus.SUCCESS, ["blocks", "far", "near"])
        image = await now(several, image)
        assert (image.status, stores_of(image)) == (Status.ACTIVE, ["blocks", "far", "near"])
        assert told(image) == {LEFT: "", FAILED: ""}
        assert [*near.copies.values(), *far.copies.values()] == [DATA, DATA]
        assert await left(several, image) == []

    asyncio.run(scene())


def test_an_image_that_is_to_lie_in_one_store_leaves_our_blocks(services: Services) -> None:
    far = MemoryStore("far")
    several = with_stores(services, far)

    async def scene() -> None:
        image = await staged(several)
        await imported(several, image, replace(DIRECT, stores=("far",)))
        image = await now(several, image)
        assert (image.status, stores_of(image), image.size) == (Status.ACTIVE, ["far"], len(DATA))
        assert await bytes_of(several, image) == DATA
        assert await left(several, image) == []

    asyncio.run(scene())


def test_the_default_store_takes_what_names_none(services: Services) -> None:
    several = with_stores(services, MemoryStore("far", default=True))

    async def scene() -> None:
        image = await staged(several)
        await imported(several, image)
        assert stores_of(await now(several, image)) == ["far"]

    asyncio.run(scene())


def test_if_all_must_succeed_one_that_is_full_takes_all_back(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    near.full = True
    several = with_stores(services, near, far)

    async def scene() -> None:
        image = await staged(several)
        task = await imported(several, image, EVERYWHERE)
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        image = await now(several, image)
        assert (image.status, image.size, image.locations) == (Status.QUEUED, None, ())
        assert told(image) == {LEFT: "", FAILED: "near"}
        assert await left(several, image) == []
        _, doomed = await loose(several)
        assert {copy.url for copy in doomed} >= set(far.copies)

    asyncio.run(scene())


def test_else_the_image_has_what_succeeded(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    near.full = True
    several = with_stores(services, near, far)

    async def scene() -> None:
        image = await staged(several)
        task = await imported(several, image, ANYWHERE)
        assert task.status is TaskStatus.SUCCESS
        image = await now(several, image)
        assert (image.status, stores_of(image)) == (Status.ACTIVE, ["blocks", "far"])
        assert told(image) == {LEFT: "", FAILED: "near"}
        assert await left(several, image) == []

    asyncio.run(scene())


def test_an_image_that_no_store_could_keep_is_queued(services: Services) -> None:
    far = MemoryStore("far")
    far.full = True
    several = with_stores(services, far)

    async def scene() -> None:
        image = await staged(several)
        task = await imported(several, image, replace(DIRECT, stores=("far",), all_must_succeed=False))
        assert (task.status, task.message) == (TaskStatus.FAILURE, "None of the stores could keep the image: far.")
        image = await now(several, image)
        assert (image.status, told(image)) == (Status.QUEUED, {LEFT: "", FAILED: "far"})
        assert await left(several, image) == []

    asyncio.run(scene())


def test_a_store_that_is_down_is_asked_again_and_the_others_have_theirs_meanwhile(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    several = with_stores(services, near, far)

    async def scene() -> None:
        up, write = asyncio.Event(), far.write
        asked: list[str] = []

        async def down_at_first(url: str, source: object) -> None:
            asked.append(url)
            if len(asked) == 1:
                raise StoreDown("Store far is down.")
            await up.wait()
            await write(url, source)  # type: ignore[arg-type]  # the same

        far.write = down_at_first  # type: ignore[method-assign]  # at the first time
        image = await staged(several)
        task = await imports.start(several, ANNA, image.id, ANYWHERE)
        async with working(several):
            await seen(several, task, lambda now: now.attempts == 2)
            between = await now(several, image)
            assert (between.status, stores_of(between)) == (Status.ACTIVE, ["blocks", "near"])
            assert told(between) == {LOCK: task.id, LEFT: "far", FAILED: ""}
            up.set()
            assert (await over(several, task)).status is TaskStatus.SUCCESS
        assert len(near.copies) == 1
        image = await now(several, image)
        assert (stores_of(image), told(image)) == (["blocks", "far", "near"], {LEFT: "", FAILED: ""})
        assert await left(several, image) == []

    asyncio.run(scene())


def test_a_worker_that_died_is_followed_by_one_that_goes_on_with_what_is_left(
    services: Services, blocks: MemoryBlocks
) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    several = with_stores(services, near, far)

    async def scene() -> None:
        from catalog.jobs.context import JobContext
        from catalog.jobs.import_image import import_image

        image = await staged(several)
        task = await imports.start(several, ANNA, image.id, ANYWHERE)
        found = await services.database.write(lambda uow: steps.claim(uow, "c", "other", [IMPORT], at=services.clock()))
        assert found is not None
        claim, running = found
        # Its effect, which would be made with the end, never comes: but for the last store all is there.
        await import_image(JobContext(several, running, claim))
        between = await now(several, image)
        assert (between.status, stores_of(between)) == (Status.ACTIVE, ["blocks", "far"])
        assert await left(several, image) != []
        blocks.dead.add("other")
        await tasks.sweep(several)
        async with working(several):
            assert (await over(several, task)).status is TaskStatus.SUCCESS
        assert stores_of(await now(several, image)) == ["blocks", "far", "near"]
        assert len(far.copies) == 1
        assert await left(several, image) == []
        _, doomed = await loose(several)
        assert len(doomed) == 1

    asyncio.run(scene())


def test_where_all_images_lie_in_one_place_no_other_store_can_be_named(services: Services) -> None:
    async def scene() -> None:
        image = await staged(services)
        with pytest.raises(Conflict, match="no store 'fast'"):
            await imports.start(services, ANNA, image.id, replace(DIRECT, stores=("fast",)))
        await imports.start(services, ANNA, image.id, replace(DIRECT, stores=("blocks",)))

    asyncio.run(scene())


def test_stores_must_be_there_and_take_copies(services: Services) -> None:
    several = with_stores(services, MemoryStore("near"), MemoryStore("web", read_only=True))

    async def scene() -> None:
        image = await staged(several)
        for name in ("other", "web"):
            with pytest.raises(Conflict, match=name):
                await imports.start(several, ANNA, image.id, replace(DIRECT, stores=(name,)))
        task = await imported(several, image, EVERYWHERE)
        assert task.input["backend"] == ["blocks", "near"]

    asyncio.run(scene())


def test_an_active_image_is_copied_into_the_stores_that_lack_it(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    several = with_stores(services, near, far)

    async def scene() -> None:
        image = await put(several, await images.create(several, ANNA, RAW), DATA)
        with pytest.raises(Forbidden, match="copy"):
            await imports.start(several, ANNA, image.id, COPY)
        with pytest.raises(Invalid, match="in store blocks already"):
            await imports.start(several, ADMIN, image.id, replace(COPY, all_stores=False, stores=("blocks",)))
        task = await copied(several, image)
        assert (task.status, task.input["backend"]) == (TaskStatus.SUCCESS, ["far", "near"])
        after = await now(several, image)
        assert (after.status, stores_of(after)) == (Status.ACTIVE, ["blocks", "far", "near"])
        assert told(after) == {LEFT: "", FAILED: ""}
        assert (after.os_hash_value, after.size) == (image.os_hash_value, image.size)
        assert await left(several, image) == []
        with pytest.raises(Invalid, match="all stores already"):
            await imports.start(several, ADMIN, image.id, COPY)

    asyncio.run(scene())


def test_an_image_can_be_copied_into_our_blocks(services: Services) -> None:
    several = with_stores(services, MemoryStore("far", default=True))

    async def scene() -> None:
        image = await put(several, await images.create(several, ANNA, RAW), DATA)
        assert stores_of(image) == ["far"]
        assert (await copied(several, image)).status is TaskStatus.SUCCESS
        after = await now(several, image)
        assert stores_of(after) == ["blocks", "far"]
        assert (after.os_hash_value, after.checksum) == (image.os_hash_value, image.checksum)
        assert await left(several, image) == []

    asyncio.run(scene())


def test_a_rotten_copy_does_not_become_the_blocks_that_others_are_checked_by(
    services: Services, blocks: MemoryBlocks
) -> None:
    near, far = MemoryStore("near", weight=1), MemoryStore("far", default=True)
    several = with_stores(services, near, far)
    into_blocks = replace(COPY, all_stores=False, stores=("blocks",))

    async def scene() -> None:
        image = await put(several, await images.create(several, ANNA, RAW), DATA)
        await copied(several, image, replace(into_blocks, stores=("near",)))
        [rotten] = near.copies
        near.copies[rotten] = DATA[:-1] + b"?"
        task = await copied(several, image, into_blocks)
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        assert "other bytes than its hash says" in task.message
        assert stores_of(await now(several, image)) == ["far", "near"]
        assert (await left(several, image), blocks.manifests) == ([], {})
        near.copies[rotten] = DATA
        assert (await copied(several, image, into_blocks)).status is TaskStatus.SUCCESS

    asyncio.run(scene())


def test_a_bad_end_keeps_a_new_copy_that_is_the_last_one_to_be_read(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far", default=True)
    several = with_stores(services, near, far, MemoryStore("alp"))

    async def scene() -> None:
        image = await put(several, await images.create(several, ANNA, RAW), DATA)

        async def lost_meanwhile(url: str, source: object) -> None:
            far.lose()
            await mark_lost(several, image.id, image.locations[0])
            raise StoreFull("Store near is full.")

        near.write = lost_meanwhile  # type: ignore[method-assign]  # in the middle
        task = await copied(several, image, replace(COPY, all_stores=False, stores=("alp", "near")))
        assert task.status is TaskStatus.FAILURE
        after = await now(several, image)
        assert stores_of(after) == ["alp", "far"]
        assert await bytes_of(several, after) == DATA

    asyncio.run(scene())


def test_a_copy_that_fails_takes_back_the_new_copies_alone(services: Services) -> None:
    near, far = MemoryStore("near"), MemoryStore("far")
    near.full = True
    several = with_stores(services, near, far)

    async def scene() -> None:
        image = await put(several, await images.create(several, ANNA, RAW), DATA)
        assert (await copied(several, image)).status is TaskStatus.FAILURE
        after = await now(several, image)
        assert (after.status, stores_of(after)) == (Status.ACTIVE, ["blocks"])
        assert told(after) == {LEFT: "", FAILED: "near"}
        assert await bytes_of(several, after) == DATA
        assert (await copied(several, image, replace(COPY, all_must_succeed=False))).status is TaskStatus.SUCCESS
        after = await now(several, image)
        assert (stores_of(after), told(after)) == (["blocks", "far"], {LEFT: "", FAILED: "near"})
        assert await left(several, image) == []

    asyncio.run(scene())


def test_an_image_that_is_deleted_while_it_is_copied_comes_back_without_a_lock(services: Services) -> None:
    several = replace(with_stores(services, MemoryStore("far")), keep_deleted=3600.0)

    async def scene() -> None:
        from catalog.usecases import deleted_images

        image = await put(several, await images.create(several, ANNA, RAW), DATA)
        await imports.start(several, ADMIN, image.id, COPY)
        await services.database.write(lambda uow: steps.claim(uow, "c", "other", [IMPORT], at=services.clock()))
        await images.delete(several, ANNA, image.id)
        await deleted_images.undelete(several, ANNA, image.id)
        after = await now(several, image)
        assert (after.status, told(after)) == (Status.ACTIVE, {LEFT: "", FAILED: "far"})

    asyncio.run(scene())
