from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Missing
from catalog.jobs.running import Pace
from catalog.model.image import Status
from catalog.model.task import TaskStatus
from catalog.usecases import image_data, images, tasks
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, bytes_of, put, stream
from tests.catalog.jobs.scenes import over
from tests.kit.image_service import CALLER, image_service
from tests.kit.memory_blocks import MemoryBlocks, MemoryReader
from tests.kit.quiet_worker import at_work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.services import Services

DATA = bytes(range(256)) * 12_000
worker = partial(at_work, at_once=1)


@pytest.fixture
def later(services: Services) -> Services:
    return replace(services, hashes_later=True)


async def only_task(services: Services, image: Image) -> Task:
    [task] = await tasks.of_image(services, ADMIN, image.id)
    return task


def is_hashed(image: Image, data: bytes) -> bool:
    found = image.checksum, image.os_hash_algo, image.os_hash_value
    return found == (hashlib.md5(data).hexdigest(), "sha512", hashlib.sha512(data).hexdigest())


def test_an_upload_leaves_its_hashes_to_a_job_that_is_there_with_the_image(later: Services) -> None:
    async def scene() -> None:
        made = await images.create(later, ANNA, RAW)
        sent = stream(DATA)
        image = await image_data.upload(later, ANNA, made.id, sent, expected=len(DATA), request_id="req-7")
        assert (image.status, image.size) == (Status.ACTIVE, len(DATA))
        assert (image.checksum, image.os_hash_algo, image.os_hash_value) == (None, "sha512", None)
        task = await only_task(later, image)
        assert (task.type, task.status, task.owner) == ("hash", TaskStatus.PENDING, "wall")
        assert (task.user, task.request_id, task.input) == ("anna", "req-7", {"image_id": image.id})
        async with worker(later):
            ended = await over(later, task)
        assert (ended.status, ended.message) == (TaskStatus.SUCCESS, "Hashed 3 MiB.")
        hashed = await images.show(later, ANNA, image.id)
        assert is_hashed(hashed, DATA)
        assert hashed.updated_at > image.updated_at
        assert await bytes_of(later, hashed) == DATA

    asyncio.run(scene())


def test_with_inline_hashes_there_is_no_task(services: Services) -> None:
    async def scene() -> None:
        image = await put(services, await images.create(services, ANNA, RAW), DATA)
        assert is_hashed(image, DATA)
        assert await tasks.of_image(services, ANNA, image.id) == []

    asyncio.run(scene())


def test_an_empty_image_is_hashed_too(later: Services) -> None:
    async def scene() -> None:
        image = await put(later, await images.create(later, ANNA, RAW), b"")
        async with worker(later):
            assert (await over(later, await only_task(later, image))).status is TaskStatus.SUCCESS
        assert is_hashed(await images.show(later, ANNA, image.id), b"")

    asyncio.run(scene())


def test_deleting_an_image_cancels_what_was_to_be_done_with_it(later: Services) -> None:
    async def scene() -> None:
        image = await put(later, await images.create(later, ANNA, RAW), DATA)
        task = await only_task(later, image)
        await images.delete(later, ANNA, image.id)
        ended = await tasks.show(later, ANNA, task.id)
        assert (ended.status, ended.message) == (TaskStatus.FAILURE, "Cancelled: the image was deleted.")
        assert not await later.database.read(lambda uow: uow.jobs.is_due(["hash"], at=later.clock()))

    asyncio.run(scene())


def test_an_image_that_is_deleted_while_it_is_hashed_ends_the_job_in_quiet(later: Services) -> None:
    async def scene() -> None:
        blocks = later.blocks
        assert isinstance(blocks, MemoryBlocks)
        image = await put(later, await images.create(later, ANNA, RAW), DATA)
        task = await only_task(later, image)
        opened = blocks.open

        async def delete_then_open(manifests: Sequence[StoredManifest]) -> MemoryReader:
            await images.delete(later, ANNA, image.id)
            return await opened(manifests)

        blocks.open = delete_then_open  # type: ignore[method-assign]
        # So slow a look that the job comes to its end before anybody tells it.
        async with worker(later, Pace(poll=0.02, look=60)):
            ended = await over(later, task)
        assert (ended.message, ended.attempts) == ("Cancelled: the image was deleted.", 1)

    asyncio.run(scene())


def test_a_deactivated_image_is_hashed_and_stays_so(later: Services) -> None:
    async def scene() -> None:
        image = await put(later, await images.create(later, ANNA, RAW), DATA)

        def deactivate(uow: UnitOfWork) -> None:
            now = uow.images.get(image.id)
            assert now is not None
            now.status = Status.DEACTIVATED
            uow.images.save(now, expect=Status.ACTIVE)

        await later.database.write(deactivate)
        async with worker(later):
            await over(later, await only_task(later, image))
        hashed = await images.show(later, ANNA, image.id)
        assert is_hashed(hashed, DATA)
        assert hashed.status is Status.DEACTIVATED

    asyncio.run(scene())


def test_an_image_whose_bytes_are_lost_ends_in_a_failure_that_says_so(later: Services) -> None:
    async def scene() -> None:
        blocks = later.blocks
        assert isinstance(blocks, MemoryBlocks)
        image = await put(later, await images.create(later, ANNA, RAW), DATA)

        async def lost(manifests: Sequence[StoredManifest]) -> MemoryReader:
            raise Missing("manifest 5 is missing: restore it from a backup")

        blocks.open = lost  # type: ignore[method-assign]
        # A clock that goes on by an hour whenever it is asked: no pause is waited for.
        hours = iter(range(1, 1000))
        start = later.clock()
        quick = replace(later, clock=lambda: start.replace(year=start.year + next(hours)))
        async with worker(quick):
            ended = await over(later, await only_task(later, image))
        assert ended.status is TaskStatus.FAILURE
        assert ended.whole_message == "Given up after 5 tries: manifest 5 is missing: restore it from a backup."
        assert "in the store; whoever runs the service" in ended.message
        assert (await images.show(later, ANNA, image.id)).status is Status.ACTIVE

    asyncio.run(scene())


def test_the_hash_is_the_one_that_the_upload_announced_whatever_the_setting_is_now(later: Services) -> None:
    async def scene() -> None:
        old = replace(later, hashing="sha256")
        image = await put(old, await images.create(old, ANNA, RAW), DATA)
        assert image.os_hash_algo == "sha256"
        async with worker(later):
            await over(later, await only_task(later, image))
        hashed = await images.show(later, ANNA, image.id)
        assert hashed.os_hash_value == hashlib.sha256(DATA).hexdigest()

    asyncio.run(scene())


def test_who_sees_an_image_sees_its_tasks_and_nobody_else_does(later: Services) -> None:
    async def scene() -> None:
        image = await put(later, await images.create(later, ANNA, RAW), DATA)
        task = await only_task(later, image)
        assert [each.id for each in await tasks.of_image(later, ANNA, image.id)] == [task.id]
        with pytest.raises(Exception, match="No image found"):
            await tasks.of_image(later, BORIS, image.id)
        with pytest.raises(Exception, match="No task found"):
            await tasks.show(later, BORIS, task.id)

    asyncio.run(scene())


def test_a_real_store_hashes_on_its_crew_while_uploads_and_downloads_go_on(tmp_path: Path) -> None:
    async def scene() -> None:
        with image_service(tmp_path) as real:
            services = replace(real.services, hashes_later=True)
            service = replace(real, services=services)
            first, second = await service.new(), await service.new()
            image = await service.put(first, DATA)
            async with worker(services):
                task = (await tasks.of_image(services, CALLER, first))[0]
                await service.put(second, DATA[::-1])
                assert await service.get(second) == DATA[::-1]
                assert (await over(services, task)).status is TaskStatus.SUCCESS
            assert image.os_hash_value is None
            assert is_hashed(await images.show(services, CALLER, first), DATA)

    asyncio.run(scene())
