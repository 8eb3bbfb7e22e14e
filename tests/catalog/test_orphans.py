from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.model.image import Status, Upload
from catalog.model.pin import UploadKind
from catalog.usecases import image_data, images, uploads
from tests.catalog.cast import ANNA, RAW, put
from tests.kit.memory_blocks import MemoryBlocks

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services


async def left_by(services: Services, blocks: MemoryBlocks, process: str, kind: UploadKind) -> Image:
    """An image whose upload was begun by a process, and no more was heard of it."""
    image = await images.create(services, ANNA, RAW)
    upload = Upload(f"upload-of-{process}", kind, process)
    blocks.journals.add(upload.id)
    await services.database.write(lambda uow: uploads.begin(uow, ANNA, image.id, upload, at=services.clock()))
    return image


async def status(services: Services, image: Image) -> Status:
    return (await images.show(services, ANNA, image.id)).status


def test_the_stream_of_a_dead_process_is_queued_again_and_can_be_uploaded(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        image = await left_by(services, blocks, "other", UploadKind.STREAM)
        assert await image_data.requeue_orphans(services) == 0
        blocks.dead.add("other")
        assert await image_data.requeue_orphans(services) == 1
        assert await status(services, image) is Status.QUEUED
        assert not await services.database.read(lambda uow: uow.pins.of_image(image.id))
        assert not blocks.journals
        assert await image_data.requeue_orphans(services) == 0
        assert (await put(services, image, b"again")).status is Status.ACTIVE

    asyncio.run(scene())


def test_a_session_waits_for_its_client_whatever_became_of_its_process(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        image = await left_by(services, blocks, "other", UploadKind.SESSION)
        blocks.dead.add("other")
        assert await image_data.requeue_orphans(services) == 0
        assert await status(services, image) is Status.SAVING

    asyncio.run(scene())


def test_an_upload_that_runs_in_this_process_is_left_alone_by_every_sweep(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        neighbour = replace(services, blocks=MemoryBlocks(process="process-2"), running=set())

        async def sweep(_pin: str) -> None:
            assert await image_data.requeue_orphans(services) == 0
            assert await image_data.requeue_orphans(neighbour) == 0

        blocks.at_end = sweep
        assert (await put(services, image, b"data")).status is Status.ACTIVE

    asyncio.run(scene())


def test_deleting_what_a_dead_process_left_forgets_its_journal(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await left_by(services, blocks, "other", UploadKind.STREAM)
        blocks.dead.add("other")
        await images.delete(services, ANNA, image.id)
        assert not blocks.journals
        assert not await services.database.read(lambda uow: uow.pins.of_image(image.id))

    asyncio.run(scene())
