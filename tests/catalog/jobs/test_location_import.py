from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.worker import Worker
from catalog.model.change import Act, Change
from catalog.model.errors import AddressRefused, Conflict, Forbidden, Invalid, NotFound
from catalog.model.image import Status
from catalog.model.importing import LOCK
from catalog.model.lane import Places
from catalog.model.task import HASH, LOCATION_IMPORT, TaskStatus
from catalog.store_ports import StoreInfo
from catalog.stores.http import HttpStore
from catalog.stores.opaque import OpaqueStore
from catalog.stores.outgoing.outgoing import Outgoing
from catalog.stores.set import StoreSet
from catalog.usecases import image_data, images, tasks
from catalog.usecases.changing import change
from catalog.usecases.location_import import start
from tests.catalog.cast import ANNA, BORIS, RAW, READER, bytes_of, stream
from tests.kit.memory_store import MemoryStore
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.usecases.services import Services

DATA = b"0123456789" * 1000
URL = "memory://web/theirs"
SAID = {"os_hash_algo": "sha256", "os_hash_value": hashlib.sha256(DATA).hexdigest()}
SERVICE = replace(ANNA, service_roles=frozenset({"service"}))


@pytest.fixture
def web() -> MemoryStore:
    store = MemoryStore("web", read_only=True, kind="http")
    store.copies[URL] = DATA
    return store


@pytest.fixture
def there(services: Services, web: MemoryStore) -> Services:
    ceph = OpaqueStore(StoreInfo("ceph", "opaque"), ["rbd"])
    return replace(services, stores=StoreSet([web, MemoryStore("fast"), ceph]))


async def of(services: Services, image: Image) -> Sequence[Task]:
    return await services.database.read(lambda uow: uow.tasks.of_image(image.id, 10))


async def worked_off(services: Services, image: Image) -> Image:
    worker = Worker(services, at_once=Places(1, 1), pace=QUICK)
    running = asyncio.create_task(worker.run(grace=0.0))
    for _ in range(1000):
        if all(task.is_over for task in await of(services, image)):
            break
        await asyncio.sleep(0.01)
    worker.stop()
    await running
    return await images.show(services, ANNA, image.id)


def test_an_image_is_made_of_what_lies_there_and_hashed_afterwards(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        task = await start(there, ANNA, made.id, URL, {}, request_id="req-1")
        waits = await images.show(there, ANNA, made.id)
        assert (task.type, waits.status, waits.properties) == (LOCATION_IMPORT, Status.IMPORTING, {LOCK: task.id})
        with pytest.raises(Conflict, match="importing"):
            await start(there, ANNA, made.id, URL, None)
        with pytest.raises(Conflict):
            await image_data.upload(there, ANNA, made.id, stream(DATA), expected=None)
        image = await worked_off(there, made)
        assert (image.status, image.size, image.properties) == (Status.ACTIVE, len(DATA), {})
        assert [(each.url, each.store) for each in image.locations] == [(URL, "web")]
        assert (image.os_hash_algo, image.os_hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
        assert {(each.type, each.status) for each in await of(there, image)} == {
            (LOCATION_IMPORT, TaskStatus.SUCCESS),
            (HASH, TaskStatus.SUCCESS),
        }
        assert await bytes_of(there, image) == DATA

    asyncio.run(scene())


def test_what_was_said_is_compared_before_the_image_is_active(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        await start(there, ANNA, made.id, URL, SAID)
        image = await worked_off(there, made)
        assert image.status is Status.ACTIVE
        assert (image.os_hash_algo, image.os_hash_value) == ("sha256", SAID["os_hash_value"])
        assert image.checksum == hashlib.md5(DATA).hexdigest()
        assert len(await of(there, image)) == 1

    asyncio.run(scene())


def test_other_bytes_than_were_said_leave_the_image_queued(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        await start(there, ANNA, made.id, URL, SAID | {"os_hash_value": "0" * 64})
        image = await worked_off(there, made)
        assert replace(image, updated_at=made.updated_at) == made
        [task] = await of(there, image)
        assert (task.status, "another sha256 than was said" in task.message) == (TaskStatus.FAILURE, True)
        await start(there, ANNA, made.id, URL, SAID)
        assert (await worked_off(there, made)).status is Status.ACTIVE

    asyncio.run(scene())


def test_where_nothing_is_hashed_what_is_said_is_believed_and_nothing_read(there: Services, web: MemoryStore) -> None:
    believing = replace(there, location_hashes=False)

    async def scene() -> None:
        for said in (SAID | {"os_hash_value": "0" * 64}, {}):
            made = await images.create(believing, ANNA, RAW)
            await start(believing, ANNA, made.id, URL, said)
            image = await worked_off(believing, made)
            assert (image.status, image.size, image.checksum) == (Status.ACTIVE, len(DATA), None)
            assert image.os_hash_value == said.get("os_hash_value")
            assert len(await of(believing, image)) == 1

    asyncio.run(scene())


def test_what_vanished_meanwhile_or_was_cancelled_leaves_it_queued(there: Services, web: MemoryStore) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        task = await start(there, ANNA, made.id, URL, None)
        await tasks.cancel(there, ANNA, task.id)
        assert replace(await images.show(there, ANNA, made.id), updated_at=made.updated_at) == made
        other = await images.create(there, ANNA, RAW)
        await start(there, ANNA, other.id, URL, None)
        await images.delete(there, ANNA, other.id)
        assert all(each.is_over for each in await of(there, other))

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("url", "hashes"),
    [
        (3, {}),
        ("", {}),
        ("memory://web/" + "x" * 255, {}),
        ("memory://web/nothing", {}),
        (URL, {"os_hash_algo": "sha256"}),
        (URL, {"os_hash_algo": "crc32", "os_hash_value": "00"}),
        (URL, SAID | {"os_hash_value": "xy" * 32}),
        (URL, SAID | {"os_hash_value": "00"}),
        (URL, SAID | {"checksum": "0" * 32}),
        (URL, "text"),
    ],
)
def test_what_is_said_wrongly_is_refused_at_once(there: Services, url: object, hashes: object) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(Invalid):
            await start(there, ANNA, made.id, url, hashes)
        assert await images.show(there, ANNA, made.id) == made
        assert not await of(there, made)

    asyncio.run(scene())


def test_users_name_the_web_alone_and_services_what_others_read(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        for url in ("rbd://pool/image/snap", "memory://fast/image/1", "file:///etc/passwd"):
            with pytest.raises(Forbidden, match="http store must be enabled"):
                await start(there, ANNA, made.id, url, None)
        for url in ("memory://fast/image/1", "file:///etc/passwd"):
            with pytest.raises(Invalid):
                await start(there, SERVICE, made.id, url, None)
        await start(there, SERVICE, made.id, "rbd://pool/image/snap", SAID)
        image = await worked_off(there, made)
        assert (image.status, image.size, image.os_hash_value) == (Status.ACTIVE, None, SAID["os_hash_value"])
        assert len(await of(there, image)) == 1

    asyncio.run(scene())


def test_only_who_may_adds_a_location_and_only_to_a_queued_image(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(Forbidden):
            await start(there, READER, made.id, URL, None)
        with pytest.raises(NotFound):
            await start(there, BORIS, made.id, URL, None)
        with pytest.raises(Invalid, match="disk_format"):
            await start(there, ANNA, (await images.create(there, ANNA, replace(RAW, disk_format=None))).id, URL, None)
        await image_data.upload(there, ANNA, made.id, stream(DATA), expected=None)
        with pytest.raises(Conflict, match="status is active"):
            await start(there, ANNA, made.id, URL, None)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/image",
        "http://0x7f000001/image",
        "http://127.1/image",
        "http://127.0.0.1/image",
        "http://[::ffff:127.0.0.1]/image",
        "http://10.0.0.1:22/image",
        "http://user:secret@example.org/image",
    ],
)
def test_an_address_that_may_not_be_asked_is_refused_in_words_of_the_rule(services: Services, url: str) -> None:
    async def scene() -> None:
        outgoing = Outgoing()
        web = HttpStore(StoreInfo("web", "http", read_only=True), outgoing)
        there = replace(services, stores=StoreSet([web]), outgoing=outgoing, show_locations=True)
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(AddressRefused):
            await start(there, ANNA, made.id, url, None)
        added = Change(Act.PUT, "locations", {"url": url, "metadata": {}}, "-")
        with pytest.raises(AddressRefused):
            await change(there, ANNA, made.id, [added])
        assert await images.show(there, ANNA, made.id) == made
        await there.stores.close()

    asyncio.run(scene())
