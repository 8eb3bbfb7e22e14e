"""Imports from a URL: what is refused at once, what is tried again, and what is left."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from catalog.formats.rules import Formats
from catalog.limits import Limits
from catalog.model.errors import AddressRefused, Conflict
from catalog.model.image import Status
from catalog.model.importing import IMPORT, Method
from catalog.model.new_image import NewImage
from catalog.model.pin import Pin, UploadKind
from catalog.model.quota import Quota
from catalog.model.task import TaskStatus
from catalog.quota_ports import Said
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.outgoing.rules import Rules
from catalog.usecases import images, import_tasks, imports, tasks
from catalog.usecases.imports import Asked
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of
from tests.catalog.import_scenes import imported, left, now, staged, told, working
from tests.catalog.jobs.scenes import over, seen
from tests.kit.broken_web import BrokenWeb, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

DATA = os.urandom(3 << 20) + b"end"
QUICK = (0.01, 0.01)


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as running:
        running.files["/image"] = Served(DATA)
        yield running


def reaching(services: Services, web: BrokenWeb) -> Services:
    """The services, which may ask this web server, of which each event loop needs new ones."""
    rules = Rules(ports=frozenset({web.port}), networks=(ip_network("127.0.0.0/8"),))
    return replace(services, outgoing=Outgoing(rules, pauses=QUICK))


def asked(web: BrokenWeb, path: str = "/image") -> Asked:
    return Asked({"name": Method.WEB_DOWNLOAD, "uri": web.url(path)})


async def downloaded(
    services: Services, web: BrokenWeb, path: str = "/image", new: NewImage = RAW
) -> tuple[Image, Task]:
    image = await images.create(services, ANNA, new)
    task = await imported(services, image, asked(web, path))
    await services.outgoing.close()
    return await now(services, image), task


@contextmanager
def ends_queued(services: Services, image: Image) -> Iterator[None]:
    yield
    assert (image.status, image.size, image.locations, told(image)) == (Status.QUEUED, None, (), {})


def test_bytes_are_fetched_hashed_and_made_the_images(services: Services, web: BrokenWeb) -> None:
    async def scene() -> None:
        near = reaching(services, web)
        image, task = await downloaded(near, web)
        assert (task.status, task.message, task.progress) == (TaskStatus.SUCCESS, "Imported 4 MiB.", 100)
        assert task.input["import_req"]["method"] == {"name": "web-download", "uri": web.url("/image")}  # type: ignore[index]
        assert (image.status, image.size, len(image.os_hash_value or "")) == (Status.ACTIVE, len(DATA), 128)
        assert await bytes_of(near, image) == DATA
        assert await left(near, image) == []

    asyncio.run(scene())


def test_a_line_that_breaks_is_gone_on_with_and_each_byte_comes_once(services: Services, web: BrokenWeb) -> None:
    web.files["/image"].drops = [1 << 20, 1 << 19, 7]

    async def scene() -> None:
        image, task = await downloaded(reaching(services, web), web)
        assert (task.attempts, image.size, image.status) == (1, len(DATA), Status.ACTIVE)

    asyncio.run(scene())
    assert web.sent == len(DATA)


def test_what_comes_without_a_length_is_taken_too(services: Services, web: BrokenWeb) -> None:
    web.files["/chunked"] = Served(DATA, chunked=True)

    async def scene() -> None:
        near = reaching(services, web)
        image, _ = await downloaded(near, web, "/chunked")
        assert await bytes_of(near, image) == DATA

    asyncio.run(scene())


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "file:///etc/passwd", "http://0x7f000001/", "http://[::1]/"])
def test_an_address_that_is_never_asked_is_refused_before_there_is_a_task(services: Services, url: str) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        with pytest.raises(AddressRefused):
            await imports.start(services, ANNA, image.id, Asked({"name": Method.WEB_DOWNLOAD, "uri": url}))
        assert (await now(services, image)).status is Status.QUEUED
        assert await tasks.of_image(services, ANNA, image.id) == []

    asyncio.run(scene())


def test_only_a_queued_image_is_downloaded_into(services: Services, web: BrokenWeb) -> None:
    async def scene() -> None:
        near = reaching(services, web)
        image = await staged(near)
        with pytest.raises(Conflict, match="queued"):
            await imports.start(near, ANNA, image.id, asked(web))

    asyncio.run(scene())
    assert web.asked == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_the_server_does_not_give_ends_the_import_at_once(services: Services, web: BrokenWeb, status: int) -> None:
    web.files["/none"] = Served(status=status)

    async def scene() -> None:
        near = reaching(services, web)
        image, task = await downloaded(near, web, "/none")
        with ends_queued(near, image):
            assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        assert await left(near, image) == []

    asyncio.run(scene())


def test_a_redirect_to_where_nobody_may_go_ends_it_too(services: Services, web: BrokenWeb) -> None:
    web.redirect("/away", f"http://169.254.169.254:{web.port}/latest")

    async def scene() -> None:
        image, task = await downloaded(reaching(services, web), web, "/away")
        with ends_queued(services, image):
            assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
            assert "169.254.169.254" in task.message

    asyncio.run(scene())


def test_bytes_of_another_format_are_not_fetched_to_their_end(services: Services, web: BrokenWeb) -> None:
    async def scene() -> None:
        near = replace(reaching(services, web), formats=Formats.ENFORCE)
        image, task = await downloaded(near, web, new=NewImage(name="x", disk_format="qcow2", container_format="bare"))
        with ends_queued(near, image):
            assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
            assert "disk_format is qcow2" in task.message
        assert await left(near, image) == []

    asyncio.run(scene())


def test_too_much_for_a_limit_or_quota_ends_it_at_once(services: Services, web: BrokenWeb) -> None:
    async def scene(bounded: Services) -> None:
        near = reaching(bounded, web)
        for path in ("/image", "/chunked"):
            image, task = await downloaded(near, web, path)
            with ends_queued(near, image):
                assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
            assert await left(near, image) == []

    web.files["/chunked"] = Served(DATA, chunked=True)
    asyncio.run(scene(replace(services, limits=Limits(image_size_cap=1 << 20))))
    asyncio.run(scene(replace(services, quotas=Said(default=Quota(bytes=1 << 20)))))


def test_a_source_that_breaks_off_for_good_is_tried_again(services: Services, web: BrokenWeb) -> None:
    web.files["/image"].drops = [1 << 20, 0, 0, 0]

    async def scene() -> None:
        near = reaching(services, web)
        image = await images.create(near, ANNA, RAW)
        task = await imports.start(near, ANNA, image.id, asked(web))
        async with working(near):
            ended = await over(near, task)
        assert (ended.status, ended.attempts) == (TaskStatus.SUCCESS, 2)
        assert await bytes_of(near, await now(near, image)) == DATA
        assert await left(near, image) == []
        await near.outgoing.close()

    asyncio.run(scene())


def test_the_journal_of_a_try_whose_worker_died_goes_with_its_pin(
    services: Services, blocks: MemoryBlocks, web: BrokenWeb
) -> None:
    async def scene() -> None:
        near = reaching(services, web)
        image = await images.create(near, ANNA, RAW)
        task = await imports.start(near, ANNA, image.id, asked(web))
        pin = Pin("1" * 32, image.owner, UploadKind.JOB, image.id, process="dead", upload_id=task.id)
        await near.database.write(lambda uow: uow.pins.add(pin))
        blocks.journals.add(pin.id)
        blocks.dead.add("dead")
        async with working(near):
            assert (await over(near, task)).status is TaskStatus.SUCCESS
        assert await left(near, image) == []
        assert not blocks.journals
        await near.outgoing.close()

    asyncio.run(scene())


def test_a_download_is_cancelled_in_the_middle_and_leaves_nothing(services: Services, web: BrokenWeb) -> None:
    web.files["/slow"] = Served(DATA, stall=60)

    async def scene() -> None:
        near = reaching(services, web)
        image = await images.create(near, ANNA, RAW)
        task = await imports.start(near, ANNA, image.id, asked(web, "/slow"))
        async with working(near):
            await seen(near, task, lambda now: now.status is TaskStatus.PROCESSING)
            await tasks.cancel(near, ANNA, task.id)
            assert (await over(near, task)).message.startswith("Cancelled")
        with ends_queued(near, await now(near, image)):
            assert await left(near, image) == []
        await near.outgoing.close()

    asyncio.run(scene())


def test_an_image_that_is_deleted_in_the_middle_leaves_nothing(services: Services, web: BrokenWeb) -> None:
    async def scene() -> None:
        near = reaching(services, web)
        image = await images.create(near, ANNA, RAW)
        blocks = near.blocks

        async def delete(_pin: str) -> None:
            await images.delete(near, ANNA, image.id)

        blocks.at_end = delete  # type: ignore[attr-defined]  # the double has it
        task = await imported(near, image, asked(web))
        assert task.message.startswith("Cancelled")
        assert await left(near, image) == []
        assert not await near.database.read(lambda uow: uow.jobs.is_due([IMPORT], at=near.clock()))
        await near.outgoing.close()

    asyncio.run(scene())


def test_the_older_way_fetches_an_image_too(services: Services, web: BrokenWeb) -> None:
    properties = {"name": "older way", "disk_format": "raw", "container_format": "bare"}
    given = {"import_from": web.url("/image"), "import_from_format": "raw", "image_properties": properties}

    async def scene() -> None:
        near = reaching(services, web)
        task = await import_tasks.create(near, ADMIN, "import", given)
        async with working(near):
            ended = await over(near, task)
        assert (ended.status, ended.type, ended.result) == (TaskStatus.SUCCESS, "import", {"image_id": task.image_id})
        image = await images.show(near, ADMIN, str(task.image_id))
        assert (image.status, image.name, image.size) == (Status.ACTIVE, "older way", len(DATA))
        assert await left(near, image) == []
        await near.outgoing.close()

    asyncio.run(scene())
