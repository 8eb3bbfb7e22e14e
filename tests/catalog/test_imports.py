"""Imports of what was staged: what they check, change, and leave."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.formats.rules import Formats
from catalog.jobs import steps
from catalog.model.change import Act, Change
from catalog.model.errors import Conflict, Forbidden, Invalid, NotFound
from catalog.model.image import Status
from catalog.model.importing import IMPORT, LOCK
from catalog.model.new_image import NewImage
from catalog.model.task import TaskStatus
from catalog.usecases import images, imports, tasks
from catalog.usecases.changing import change
from catalog.usecases.staging import stage
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, bytes_of, put, stream
from tests.catalog.import_scenes import DATA, DIRECT, imported, left, now, staged, told, working
from tests.catalog.jobs.scenes import over, task_now

if TYPE_CHECKING:
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks


def test_an_import_makes_what_was_staged_the_images(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await staged(services)
        [manifest] = blocks.manifests
        task = await imported(services, image)
        assert (task.type, task.status, task.result) == ("api_image_import", TaskStatus.SUCCESS, {"image_id": image.id})
        assert (task.request_id, task.user, task.owner) == ("req-7", "anna", "wall")
        assert task.input["import_req"] == {
            "method": {"name": "glance-direct"},
            "all_stores": False,
            "all_stores_must_succeed": True,
        }
        assert task.input["backend"] == [None]
        image = await now(services, image)
        assert (image.status, image.size, image.virtual_size) == (Status.ACTIVE, len(DATA), len(DATA))
        assert (len(image.os_hash_value or ""), len(image.checksum or "")) == (128, 32)
        assert told(image) == {}
        assert [location.manifest for location in image.locations] == [manifest]
        assert await bytes_of(services, image) == DATA
        assert await left(services, image) == []

    asyncio.run(scene())


def test_a_parent_that_goes_between_stage_and_import_is_not_kept_for_ever(services: Services) -> None:
    data = bytes(range(1, 251)) * (1 << 12)

    async def scene() -> None:
        parent = await put(services, await images.create(services, ANNA, RAW), data)
        image = await staged(services, data + b"more", replace(RAW, parent_image_ref=parent.id))
        await images.delete(services, ANNA, parent.id)
        await imported(services, image)
        async with working(services):
            for _ in range(500):
                if await left(services, image) == []:
                    break
                await asyncio.sleep(0.01)
        assert await bytes_of(services, image) == data + b"more"
        # Nothing is read through the parent's manifest any more, and it is retired.
        assert await left(services, image) == []

    asyncio.run(scene())


@pytest.mark.parametrize(("owner", "changed"), [("wall", 40_964), ("hedge", None)])
def test_who_is_given_an_image_between_stage_and_import_learns_nothing_of_its_parent(
    services: Services, owner: str, changed: int | None
) -> None:
    data = bytes(range(1, 251)) * (1 << 12)

    async def scene() -> None:
        parent = await put(services, await images.create(services, ANNA, RAW), data)
        image = await staged(services, data + b"more", replace(RAW, parent_image_ref=parent.id))
        await change(services, ADMIN, image.id, [Change(Act.REPLACE, "owner", owner)])
        task = await imports.start(services, ADMIN, image.id, DIRECT)
        async with working(services):
            await over(services, task)
        after = await images.show(services, ADMIN, image.id)
        assert (after.status, after.changed_size) == (Status.ACTIVE, changed)

    asyncio.run(scene())


def test_an_import_that_has_begun_is_told_and_keeps_others_away(services: Services) -> None:
    async def scene() -> None:
        image = await staged(services)
        task = await imports.start(services, ANNA, image.id, DIRECT)
        image = await now(services, image)
        assert (image.status, told(image)) == (Status.IMPORTING, {LOCK: task.id})
        with pytest.raises(Conflict):
            await imports.start(services, ANNA, image.id, DIRECT)

    asyncio.run(scene())


def test_an_import_wants_staged_bytes_and_the_right_to_change_the_image(services: Services) -> None:
    async def scene() -> None:
        queued = await images.create(services, ANNA, RAW)
        with pytest.raises(Conflict, match="staged first"):
            await imports.start(services, ANNA, queued.id, DIRECT)
        image = await staged(services)
        for caller, error in ((READER, Forbidden), (BORIS, NotFound)):
            with pytest.raises(error):
                await imports.start(services, caller, image.id, DIRECT)
        with pytest.raises(Invalid, match="all_stores_must_succeed"):
            await imports.start(services, ANNA, image.id, replace(DIRECT, all_must_succeed=False))
        assert (await now(services, image)).status is Status.UPLOADING

    asyncio.run(scene())


def test_bytes_of_another_format_end_the_import_at_once(services: Services, blocks: MemoryBlocks) -> None:
    enforcing = replace(services, formats=Formats.ENFORCE)

    async def scene() -> None:
        image = await staged(enforcing, new=NewImage(name="x", disk_format="qcow2", container_format="bare"))
        task = await imported(enforcing, image)
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        assert "disk_format is qcow2" in task.message
        image = await now(enforcing, image)
        assert (image.status, image.locations, image.upload, told(image)) == (Status.QUEUED, (), None, {})
        assert await left(enforcing, image) == []

    asyncio.run(scene())


def test_a_cancelled_import_leaves_a_queued_image(services: Services) -> None:
    async def scene() -> None:
        image = await staged(services)
        task = await imports.start(services, ANNA, image.id, DIRECT)
        await tasks.cancel(services, ANNA, task.id)
        image = await now(services, image)
        assert (image.status, told(image)) == (Status.QUEUED, {})
        assert await left(services, image) == []
        await stage(services, ANNA, image.id, stream(DATA), expected=len(DATA))
        assert (await imported(services, image)).status is TaskStatus.SUCCESS

    asyncio.run(scene())


def test_hashes_that_were_not_computed_are_left_to_a_job(services: Services) -> None:
    later = replace(services, hashes_later=True)

    async def scene() -> None:
        image = await staged(later)
        await imported(later, image)
        [hashing] = [task for task in await tasks.of_image(later, ANNA, image.id) if task.type == "hash"]
        async with working(later):
            assert (await over(later, hashing)).status is TaskStatus.SUCCESS
        assert len((await now(later, image)).os_hash_value or "") == 128

    asyncio.run(scene())


def test_a_job_whose_worker_died_is_done_by_the_next(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await staged(services)
        task = await imports.start(services, ANNA, image.id, DIRECT)
        await services.database.write(lambda uow: steps.claim(uow, "c", "other", [IMPORT], at=services.clock()))
        blocks.dead.add("other")
        assert await tasks.sweep(services) == 1
        async with working(services):
            assert (await over(services, task)).attempts == 2
        assert (await now(services, image)).status is Status.ACTIVE
        assert (await task_now(services, task)).status is TaskStatus.SUCCESS
        assert await left(services, image) == []

    asyncio.run(scene())
