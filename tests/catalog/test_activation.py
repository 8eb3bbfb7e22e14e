"""Deactivated images: who gets their bytes, and by which ways not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Forbidden, Invalid, NotFound
from catalog.model.image import Status
from catalog.model.new_image import NewImage
from catalog.usecases import activation, block_reads, delta_begin, image_data, images
from catalog.usecases.lineage import list_lineage
from catalog.usecases.queries import parse_query
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, bytes_of, one_of_each_visibility, put, stream

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services


async def asleep(services: Services) -> Image:
    image = await put(services, await images.create(services, ANNA, RAW), b"bytes")
    await activation.deactivate(services, ANNA, image.id)
    return await images.show(services, ANNA, image.id)


def test_an_image_is_deactivated_and_reactivated_and_a_second_time_changes_nothing(services: Services) -> None:
    async def scene() -> None:
        image = await asleep(services)
        assert image.status is Status.DEACTIVATED
        await activation.deactivate(services, ANNA, image.id)
        assert await images.show(services, ANNA, image.id) == image
        await activation.reactivate(services, ANNA, image.id)
        awake = await images.show(services, ANNA, image.id)
        assert (awake.status, awake.updated_at > image.updated_at) == (Status.ACTIVE, True)
        await activation.reactivate(services, ANNA, image.id)
        assert await images.show(services, ANNA, image.id) == awake
        assert await bytes_of(services, awake) == b"bytes"

    asyncio.run(scene())


def test_an_image_without_data_can_be_neither(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        for act, word in ((activation.deactivate, "deactivate"), (activation.reactivate, "reactivate")):
            with pytest.raises(Forbidden, match=f"Not allowed to {word} image in status 'queued'"):
                await act(services, ANNA, image.id)

    asyncio.run(scene())


def test_whoever_may_change_an_image_may_deactivate_it(services: Services) -> None:
    async def scene() -> None:
        image = await put(services, await images.create(services, ANNA, RAW), b"bytes")
        for act in (activation.deactivate, activation.reactivate):
            with pytest.raises(Forbidden):
                await act(services, READER, image.id)
            with pytest.raises(NotFound):
                await act(services, BORIS, image.id)
            await act(services, ADMIN, image.id)
        for visibility, other in (await one_of_each_visibility(services)).items():
            with pytest.raises(Forbidden if visibility in {"public", "community"} else NotFound):
                await activation.deactivate(services, ANNA, other.id)

    asyncio.run(scene())


def test_its_bytes_are_the_admins_alone_by_every_way(services: Services) -> None:
    async def scene() -> None:
        image = await asleep(services)
        with pytest.raises(Forbidden, match="deactivated"):
            await image_data.download(services, ANNA, image.id)
        with pytest.raises(Forbidden, match="deactivated"):
            await block_reads.open_blocks(services, ANNA, image.id)
        assert await bytes_of(services, image, caller=ADMIN) == b"bytes"

    asyncio.run(scene())


def test_nothing_is_inherited_from_it(services: Services) -> None:
    async def scene() -> None:
        image = await asleep(services)
        new = NewImage(disk_format="raw", container_format="bare", parent_image_ref=image.id)
        child = await images.create(services, ANNA, new)
        with pytest.raises(Invalid, match="no image whose data you may download"):
            await delta_begin.begin(services, ANNA, child.id, size=5, base=image.id, block_size=None)
        child = await put(services, child, b"bytes")
        assert child.changed_size == 5
        [descent] = [
            each for each in (await list_lineage(services, ANNA, parse_query([]))).descents if each.image.id == child.id
        ]
        assert descent.parent_visible

    asyncio.run(scene())


def test_no_upload_begins_into_it(services: Services) -> None:
    async def scene() -> None:
        image = await asleep(services)
        with pytest.raises(Exception, match="only while an image is queued"):
            await image_data.upload(services, ANNA, image.id, stream(b"x"), expected=1)
        assert (await images.show(services, ANNA, image.id)).status is Status.DEACTIVATED

    asyncio.run(scene())


def test_it_can_be_deleted(services: Services) -> None:
    async def scene() -> None:
        image = await asleep(services)
        await images.delete(services, ANNA, image.id)
        with pytest.raises(NotFound):
            await activation.reactivate(services, ANNA, image.id)

    asyncio.run(scene())
