"""Imports from another image service of the cloud: what comes along, what is refused, and where the token goes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Invalid
from catalog.model.image import Status
from catalog.model.importing import Method
from catalog.model.task import TaskStatus
from catalog.property_protection import parse_protection
from catalog.usecases import images, imports
from catalog.usecases.import_tokens import let_go_tokens
from catalog.usecases.imports import Asked
from tests.catalog.cast import ANNA, RAW, bytes_of
from tests.catalog.import_scenes import left, now, told, working
from tests.catalog.jobs.scenes import over
from tests.kit.broken_web import BrokenWeb
from tests.kit.other_cloud import FILE, IMAGE, RECORD, REGION, other_cloud, serve_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.stores.other_services import OtherServices
    from catalog.usecases.services import Services

DATA = os.urandom(1 << 20)
HASH = {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(DATA).hexdigest()}


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as running:
        serve_image(running, DATA, disk_format="iso", hw_cpu_cores="5", os_distro="rhel", speed="88mph", **HASH)
        yield running


@pytest.fixture
def elsewhere(web: BrokenWeb, tmp_path: Path) -> OtherServices:
    return other_cloud(web, tmp_path)


@pytest.fixture
def near(services: Services, elsewhere: OtherServices) -> Services:
    return replace(services, other_services=elsewhere)


def asked(region: str = REGION, image: str = IMAGE) -> Asked:
    said = {"glance_image_id": image, "glance_region": region, "glance_service_interface": "public"}
    return Asked({"name": Method.GLANCE_DOWNLOAD, **said})


async def queued(services: Services) -> Image:
    return await images.create(services, ANNA, replace(RAW, properties={"hw_cpu_cores": "1", "own": "mine"}))


async def ended(services: Services, image: Image, wanted: Asked | None = None) -> Task:
    task = await imports.start(services, ANNA, image.id, wanted or asked(), token="the-token")
    async with working(services):
        return await over(services, task)


def test_bytes_formats_and_some_properties_come_along(near: Services, elsewhere: OtherServices, web: BrokenWeb) -> None:
    web.files[FILE].drops = [1000]

    async def scene() -> None:
        image = await queued(near)
        task = await ended(near, image)
        image = await now(near, image)
        assert (task.status, image.status, image.size) == (TaskStatus.SUCCESS, Status.ACTIVE, len(DATA))
        assert (image.disk_format, image.container_format) == ("iso", "bare")
        assert image.properties == {"hw_cpu_cores": "5", "os_distro": "rhel", "own": "mine"}
        assert await bytes_of(near, image) == DATA
        assert await left(near, image) == []
        assert "the-token" not in repr(task)

    asyncio.run(scene())
    assert not elsewhere.tokens.held()


@pytest.mark.parametrize("wanted", [asked("not a region"), asked(image="c7edec8e-24b5-416a-9d42-b3e773bab62c")])
def test_what_is_not_there_ends_the_import_and_leaves_all_as_it_was(
    near: Services, elsewhere: OtherServices, wanted: Asked
) -> None:
    async def scene() -> None:
        image = await queued(near)
        task = await ended(near, image, wanted)
        after = await now(near, image)
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
        assert (after.status, after.properties, told(after)) == (Status.QUEUED, image.properties, {})
        assert await left(near, image) == []
        await let_go_tokens(near)

    asyncio.run(scene())
    assert not elsewhere.tokens.held()


def test_a_token_that_has_ended_by_then_is_said(near: Services, web: BrokenWeb) -> None:
    web.files[RECORD].status = 401

    async def scene() -> None:
        task = await ended(near, await queued(near))
        assert task.status is TaskStatus.FAILURE
        assert "is not valid any more" in task.message

    asyncio.run(scene())


def test_other_bytes_than_the_other_service_tells_of_are_not_kept(near: Services, web: BrokenWeb) -> None:
    web.files[FILE].data = DATA[::-1]

    async def scene() -> None:
        image = await queued(near)
        task = await ended(near, image)
        assert task.status is TaskStatus.FAILURE
        assert "have another sha512" in task.message
        assert (await now(near, image)).properties == image.properties
        assert await left(near, image) == []

    asyncio.run(scene())


def test_an_id_that_is_no_uuid_is_refused_at_once(near: Services) -> None:
    async def scene() -> None:
        image = await queued(near)
        with pytest.raises(Invalid, match="image id does not look like a UUID"):
            await imports.start(near, ANNA, image.id, asked(image="foo"), token="the-token")

    asyncio.run(scene())


def test_a_token_whose_task_was_never_made_goes_after_a_while(near: Services, elsewhere: OtherServices) -> None:
    async def scene() -> None:
        task = await imports.start(near, ANNA, (await queued(near)).id, asked(), token="the-token")
        elsewhere.tokens.keep("never-made", "another")
        came = elsewhere.tokens.held()["never-made"]
        moment = near.clock().fromtimestamp(came, near.clock().tzinfo)
        await let_go_tokens(replace(near, clock=lambda: moment + timedelta(seconds=59)))
        assert set(elsewhere.tokens.held()) == {"never-made", task.id}
        await let_go_tokens(replace(near, clock=lambda: moment + timedelta(seconds=61)))
        assert set(elsewhere.tokens.held()) == {task.id}

    asyncio.run(scene())


def test_properties_that_not_every_member_may_create_stay_there(near: Services) -> None:
    acts = ("create", "read", "update", "delete")
    sections = {"hw_.*": "admin", ".*": "member"}
    text = "".join(f"[{name}]\n" + "".join(f"{act} = {role}\n" for act in acts) for name, role in sections.items())

    async def scene() -> None:
        image = await images.create(near, ANNA, RAW)
        await ended(replace(near, protection=parse_protection(text)), image)
        assert (await now(near, image)).properties == {"os_distro": "rhel"}

    asyncio.run(scene())
