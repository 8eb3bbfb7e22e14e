"""Staging: bytes that wait for an import."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from catalog.model.change import Act, Change
from catalog.model.errors import Conflict, Forbidden, Gone, NotFound, QuotaExceeded, SizeMismatch
from catalog.model.image import Status
from catalog.model.importing import IMPORT
from catalog.model.new_image import NewImage
from catalog.model.pin import UploadKind
from catalog.model.quota import Quota, Usage
from catalog.quota_ports import Said
from catalog.usecases import changing, image_data, images, imports, quotas, uploads
from catalog.usecases.staging import end_expired, stage
from tests.catalog.cast import ANNA, BORIS, RAW, READER, put, stream
from tests.catalog.import_scenes import DATA, DIRECT, imported, left, now, staged
from tests.kit.memory_blocks import MemoryBlocks

if TYPE_CHECKING:
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


def test_what_is_staged_tells_its_size_and_counts_once(services: Services) -> None:
    async def scene() -> None:
        def usage(uow: UnitOfWork) -> tuple[Usage, object]:
            return uow.quotas.usage(ANNA.project), uow.quotas.counted().get(ANNA.project)

        async def counts() -> tuple[int, int]:
            kept, counted = await services.database.read(usage)
            assert kept == counted
            return kept.bytes, kept.staged_bytes

        image = await staged(services)
        assert await counts() == (0, len(DATA))
        await imported(services, image)
        assert await counts() == (len(DATA), 0)
        again = await staged(services)
        assert again.upload is not None
        upload = again.upload.id
        await services.database.write(lambda uow: uploads.abandon(uow, again.id, upload, at=services.clock()))
        assert (await now(services, again)).size is None
        assert await counts() == (len(DATA), 0)

    asyncio.run(scene())


def test_staged_bytes_wait_under_a_sessions_pin_and_are_no_images_yet(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await staged(services)
        assert (image.status, image.size, image.locations) == (Status.UPLOADING, len(DATA), ())
        found = await services.database.read(lambda uow: uow.staged.of_image(image.id))
        assert found is not None
        assert (found.size, found.os_hash_algo, len(found.os_hash_value or "")) == (len(DATA), "sha512", 128)
        [pin] = await services.database.read(lambda uow: uow.inventory.pins())
        assert (pin.id, pin.kind, pin.reserved) == (found.id, UploadKind.SESSION, len(DATA))
        assert await services.database.read(lambda uow: uow.pins.bases(pin.id)) == [found.manifest]
        assert blocks.journals == set()
        assert not services.running

    asyncio.run(scene())


def test_the_formats_need_not_be_said_before_and_can_be_until_the_import(services: Services) -> None:
    async def scene() -> None:
        image = await staged(services, new=NewImage(name="later"))
        with pytest.raises(Conflict, match="has no disk_format"):
            await imports.start(services, ANNA, image.id, DIRECT)
        formats = [Change(Act.REPLACE, "disk_format", "raw"), Change(Act.REPLACE, "container_format", "bare")]
        await changing.change(services, ANNA, image.id, formats)
        await imports.start(services, ANNA, image.id, DIRECT)
        with pytest.raises(Forbidden, match="importing"):
            await changing.change(services, ANNA, image.id, formats[:1])

    asyncio.run(scene())


def test_an_image_is_staged_once_and_not_uploaded_then(services: Services) -> None:
    async def scene() -> None:
        image = await staged(services)
        with pytest.raises(Conflict):
            await stage(services, ANNA, image.id, stream(DATA), expected=len(DATA))
        with pytest.raises(Conflict):
            await put(services, image, DATA)
        assert (await now(services, image)).status is Status.UPLOADING

    asyncio.run(scene())


def test_who_may_not_change_an_image_stages_nothing(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        for caller, error in ((READER, Forbidden), (BORIS, NotFound)):
            with pytest.raises(error):
                await stage(services, caller, image.id, stream(DATA), expected=len(DATA))
        assert (await now(services, image)).status is Status.QUEUED

    asyncio.run(scene())


def test_a_stage_that_fails_leaves_a_queued_image_and_nothing_else(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        with pytest.raises(SizeMismatch):
            await stage(services, ANNA, image.id, stream(DATA), expected=len(DATA) + 1)
        assert (await now(services, image)).status is Status.QUEUED
        assert await left(services, image) == []

    asyncio.run(scene())


def test_what_a_dead_process_was_staging_is_swept(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        other_blocks = MemoryBlocks(process="process-2")
        other = replace(services, blocks=other_blocks, running=set())

        async def dies(_pin: str) -> None:
            blocks.dead.add("process-2")
            assert await image_data.requeue_orphans(services) == 1

        other_blocks.at_end = dies
        with pytest.raises((Conflict, Gone)):
            await stage(other, ANNA, image.id, stream(DATA), expected=len(DATA))
        assert (await now(services, image)).status is Status.QUEUED
        assert await left(services, image) == []

    asyncio.run(scene())


def test_what_was_staged_outlives_its_process(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await staged(services)
        blocks.dead.add(blocks.process)
        services.running.clear()
        assert await image_data.requeue_orphans(services) == 0
        assert await end_expired(services) == 0
        assert (await now(services, image)).status is Status.UPLOADING

    asyncio.run(scene())


def test_what_nobody_imports_expires_unless_an_import_has_it(services: Services) -> None:
    async def scene() -> None:
        forgotten, taken = await staged(services), await staged(services)
        await imports.start(services, ANNA, taken.id, DIRECT)
        later = replace(services, clock=lambda: services.clock() + timedelta(hours=25))
        assert await end_expired(services) == 0
        assert await end_expired(later) == 1
        assert (await now(services, forgotten)).status is Status.QUEUED
        assert (await now(services, taken)).status is Status.IMPORTING
        assert [each.split()[0] for each in await left(services, forgotten)] == ["pin", "manifest"]

    asyncio.run(scene())


def test_deleting_an_image_lets_what_is_staged_go(services: Services) -> None:
    async def scene() -> None:
        waiting, taken = await staged(services), await staged(services)
        await imports.start(services, ANNA, taken.id, DIRECT)
        for image in (waiting, taken):
            await images.delete(services, ANNA, image.id)
            assert not await services.database.read(lambda uow, it=image: uow.staged.of_image(it.id))  # type: ignore[misc]
        assert await left(services, taken) == []
        assert not await services.database.read(lambda uow: uow.jobs.is_due([IMPORT], at=services.clock()))

    asyncio.run(scene())


def test_staged_bytes_count_until_they_are_an_images(services: Services) -> None:
    bounded = replace(services, quotas=Said(default=Quota(staged_bytes=len(DATA) + 10)))

    async def scene() -> None:
        await staged(bounded)
        _, usage = await quotas.usage_of(bounded, ANNA)
        assert (usage.staged_bytes, usage.bytes) == (len(DATA), 0)
        with pytest.raises(QuotaExceeded):
            await staged(bounded)

    asyncio.run(scene())
