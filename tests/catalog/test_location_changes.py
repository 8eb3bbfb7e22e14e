from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from catalog import policy
from catalog.model.change import Act, Change
from catalog.model.errors import Conflict, Forbidden, Invalid, LimitExceeded, QuotaExceeded
from catalog.model.image import Status
from catalog.model.lane import Lane
from catalog.model.quota import Quota
from catalog.model.task import HASH
from catalog.quota_ports import Said
from catalog.store_ports import StoreInfo
from catalog.stores.opaque import OpaqueStore
from catalog.stores.set import StoreSet
from catalog.usecases import images
from catalog.usecases.changing import change
from catalog.usecases.locations import delete_from_store
from catalog.usecases.shown_places import shown_places
from tests.catalog.cast import ADMIN, ANNA, RAW, READER, bytes_of, put
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import copied, loose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services

DATA = b"0123456789" * 100
URL = "memory://web/theirs"
SHA = hashlib.sha512(DATA).hexdigest()
OWNER_AND_ADMIN = replace(ADMIN, project=ANNA.project)


class Slow(MemoryStore):
    """A store that shows what it has when so many have asked for something that is there."""

    def __init__(self, name: str, *, read_only: bool, met: asyncio.Barrier) -> None:
        super().__init__(name, read_only=read_only)
        self.met = met

    async def open(self, url: str, size: int | None) -> CopyReader:
        if url.startswith(URL):
            await self.met.wait()
        return await super().open(url, size)


@pytest.fixture
def web() -> MemoryStore:
    store = MemoryStore("web", read_only=True)
    store.copies |= {URL: DATA, f"{URL}/2": DATA, f"{URL}/short": DATA[1:], f"{URL}/empty": b""}
    return store


@pytest.fixture
def there(services: Services, web: MemoryStore) -> Services:
    ceph = OpaqueStore(StoreInfo("ceph", "opaque"), ["rbd"])
    stores = StoreSet([web, MemoryStore("fast", weight=1), ceph])
    return replace(services, stores=stores, show_locations=True)


def place(url: str = URL, **more: object) -> dict[str, object]:
    return {"url": url, "metadata": {}, **more}


def add(value: object, at: str = "-") -> Change:
    return Change(Act.PUT, "locations", value, at)


async def changed(services: Services, image: Image, *changes: Change, caller: Caller = ANNA) -> Image:
    return await change(services, caller, image.id, changes)


async def urls(services: Services, image: Image) -> Sequence[str]:
    told = shown_places(services, ANNA, await images.show(services, ANNA, image.id)).locations
    return [each.url for each in told or ()]


async def active(services: Services) -> Image:
    return await put(services, await images.create(services, ANNA, RAW), DATA)


def test_a_queued_image_becomes_active_by_a_location(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        image = await changed(there, made, add(place(metadata={"shelf": "3"})))
        assert (image.status, image.size, image.os_hash_value) == (Status.ACTIVE, len(DATA), None)
        assert [(each.url, each.store, each.metadata) for each in image.locations] == [(URL, "web", {"shelf": "3"})]
        assert await bytes_of(there, image) == DATA
        [task] = await there.database.read(lambda uow: uow.tasks.of_image(image.id, 5))
        assert task.type == "hash"

    asyncio.run(scene())


def test_what_lies_with_somebody_else_is_hashed_where_slow_jobs_are(there: Services) -> None:
    async def scene() -> None:
        await changed(there, await images.create(there, ANNA, RAW), add(place()))

        def is_due(uow: UnitOfWork, lane: Lane) -> bool:
            return uow.jobs.is_due([HASH], at=there.clock(), lane=lane)

        assert not await there.database.read(partial(is_due, lane=Lane.QUICK))
        assert await there.database.read(partial(is_due, lane=Lane.SLOW))

    asyncio.run(scene())


def test_hashes_that_are_said_are_taken_and_nothing_is_computed(there: Services) -> None:
    async def scene() -> None:
        said = {"checksum": hashlib.md5(DATA).hexdigest(), "os_hash_algo": "sha512", "os_hash_value": SHA}
        made = await images.create(there, ANNA, RAW)
        image = await changed(there, made, add(place(validation_data=said)))
        assert (image.checksum, image.os_hash_algo, image.os_hash_value) == tuple(said.values())
        assert not await there.database.read(lambda uow: uow.tasks.of_image(image.id, 5))
        # The same again is no news; others are.
        await changed(there, image, add(place(f"{URL}/2", validation_data=said)))
        with pytest.raises(Conflict, match="already set with a different value"):
            await changed(there, image, add(place(f"{URL}/2", validation_data=said | {"os_hash_value": "0" * 128})))

    asyncio.run(scene())


@pytest.mark.parametrize(
    "said",
    [
        {"os_hash_algo": "md5", "os_hash_value": "0" * 32},
        {"os_hash_algo": "sha512", "os_hash_value": "x" * 128},
        {"os_hash_algo": "sha512", "os_hash_value": "0" * 126},
        {"os_hash_algo": "sha512"},
        {"checksum": "0" * 30, "os_hash_algo": "sha512", "os_hash_value": "0" * 128},
    ],
)
def test_hashes_that_are_none_are_a_conflict(there: Services, said: dict[str, str]) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(Conflict):
            await changed(there, made, add(place(validation_data=said)))
        assert await images.show(there, ANNA, made.id) == made

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("text", "JSON object"),
        ({"url": URL}, "metadata"),
        ({"url": "", "metadata": {}}, "1 to 255"),
        ({"url": "memory://web/" + "x" * 255, "metadata": {}}, "1 to 255"),
        (place(metadata={"a": 1}), "'a' is not taken"),
        (place(other="x"), "JSON object"),
        (place(validation_data={"size": "3"}), "'size' is not taken"),
        (place("file:///etc/passwd"), "no store of this service has URLs like"),
        (place("ftp://web/theirs"), "no store of this service has URLs like"),
        (place("memory://fast/image/1"), "named by this service alone"),
        (place("memory://web/nothing"), "Invalid location"),
        (place(f"{URL}/empty"), "not a byte"),
        (place("rbd://user:secret@pool/image"), "credentials"),
        (place("memory://web/\x00"), "character"),
    ],
)
def test_what_is_no_place_of_bytes_is_refused(there: Services, value: object, says: str) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(Invalid, match=says):
            await changed(there, made, add(value), caller=ADMIN)
        assert (await images.show(there, ANNA, made.id)).status is Status.QUEUED

    asyncio.run(scene())


def test_what_only_others_read_is_kept_and_shown(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        with pytest.raises(Forbidden, match="they name themselves"):
            await changed(there, made, add(place("rbd://fsid/pool/image/snap")))
        image = await changed(there, made, add(place("rbd://fsid/pool/image/snap")), caller=ADMIN)
        assert (image.status, image.size) == (Status.ACTIVE, None)
        assert await urls(there, image) == ["rbd://fsid/pool/image/snap"]
        assert not await there.database.read(lambda uow: uow.tasks.of_image(image.id, 5))

    asyncio.run(scene())


def test_locations_are_added_at_their_position_and_not_twice(there: Services) -> None:
    async def scene() -> None:
        image = await active(there)
        await changed(there, image, add(place()), add(place(f"{URL}/2"), "0"))
        assert await urls(there, image) == [f"blocks://{image.id}", f"{URL}/2", URL]
        for again in (place(), place(metadata={"other": "x"}), place(f"blocks://{image.id}")):
            with pytest.raises(Invalid, match="already"):
                await changed(there, image, add(again))
        with pytest.raises(Invalid, match="position for adding"):
            await changed(there, image, add(place("rbd://a/b"), "x"), caller=ADMIN)
        with pytest.raises(Invalid, match="Invalid location"):
            await changed(there, image, add(place(f"{URL}/short")))
        eight = [add(place(f"rbd://pool/{number}")) for number in range(8)]
        with pytest.raises(LimitExceeded, match="10 locations"):
            await changed(there, image, *eight, caller=ADMIN)
        assert len(await urls(there, image)) == 3

    asyncio.run(scene())


def test_places_are_looked_at_side_by_side_and_one_that_is_bad_ends_the_others(services: Services) -> None:
    async def scene() -> None:
        web = Slow("web", read_only=True, met=asyncio.Barrier(3))
        web.copies |= {f"{URL}/{number}": DATA for number in range(3)}
        there = replace(services, stores=StoreSet([web]), show_locations=True)
        image = await active(there)
        three = [add(place(f"{URL}/{number}")) for number in range(3)]
        async with asyncio.timeout(30):
            await changed(there, image, *three)
        assert len(await urls(there, image)) == 4

        web.met = asyncio.Barrier(2)  # which only one of these two comes to
        async with asyncio.timeout(30):
            with pytest.raises(Invalid, match="Invalid location"):
                await changed(there, image, add(place("memory://web/none")), add(place(f"{URL}/4")))
        assert (web.met.n_waiting, len(await urls(there, image))) == (0, 4)

    asyncio.run(scene())


def test_a_location_is_removed_by_an_admin_with_what_lies_there(there: Services) -> None:
    async def scene() -> None:
        image = await active(there)
        fast = there.stores.get("fast")
        assert fast is not None
        image = await copied(there, image.id, fast)
        remove = Change(Act.REMOVE, "locations", at="0")
        with pytest.raises(Forbidden, match="not permitted to remove"):
            await changed(there, image, remove)
        with pytest.raises(Invalid, match="position for removing"):
            await changed(there, image, Change(Act.REMOVE, "locations", at="2"), caller=OWNER_AND_ADMIN)
        after = await changed(there, image, remove, caller=OWNER_AND_ADMIN)
        assert [each.store for each in after.locations] == ["blocks"]
        assert after.updated_at > image.updated_at
        assert [each.url for each in (await loose(there))[1]] == [image.locations[1].url]
        with pytest.raises(Forbidden, match="last location"):
            await changed(there, image, remove, caller=OWNER_AND_ADMIN)

    asyncio.run(scene())


def test_the_last_place_that_this_service_reads_is_not_removed_for_one_that_others_read(there: Services) -> None:
    async def scene() -> None:
        image = await active(there)
        image = await changed(there, image, add(place("rbd://pool/1")), add(place("rbd://pool/2")), caller=ADMIN)
        with pytest.raises(Forbidden, match="this location is the last one that it is read from"):
            await changed(there, image, Change(Act.REMOVE, "locations", at="0"), caller=OWNER_AND_ADMIN)
        with pytest.raises(Forbidden, match="this location is the last one that it is read from"):
            await delete_from_store(there, ADMIN, "blocks", image.id)
        after = await changed(there, image, Change(Act.REMOVE, "locations", at="1"), caller=OWNER_AND_ADMIN)
        assert [each.url for each in after.locations[1:]] == ["rbd://pool/2"]
        assert await bytes_of(there, image) == DATA

    asyncio.run(scene())


def test_of_places_that_only_others_read_one_can_go(there: Services) -> None:
    async def scene() -> None:
        image = await images.create(there, ANNA, RAW)
        image = await changed(there, image, add(place("rbd://pool/1")), add(place("rbd://pool/2")), caller=ADMIN)
        remove = Change(Act.REMOVE, "locations", at="0")
        after = await changed(there, image, remove, caller=OWNER_AND_ADMIN)
        assert [each.url for each in after.locations] == ["rbd://pool/2"]
        with pytest.raises(Forbidden, match="last location"):
            await changed(there, image, remove, caller=OWNER_AND_ADMIN)

    asyncio.run(scene())


def test_removing_our_blocks_lets_their_manifest_go(there: Services) -> None:
    async def scene() -> None:
        image = await active(there)
        image = await changed(there, image, add(place()))
        manifest = str(image.locations[0].manifest)
        await changed(there, image, Change(Act.REMOVE, "locations", at="0"), caller=OWNER_AND_ADMIN)
        assert await urls(there, image) == [URL]
        kept = await there.database.read(lambda uow: uow.manifests.get(manifest))
        assert kept is not None
        assert kept.state.value == "retired"
        assert await bytes_of(there, image) == DATA

    asyncio.run(scene())


def test_replacing_changes_order_and_metadata_alone(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        both = [place(), place(f"{URL}/2")]
        image = await changed(there, made, Change(Act.REPLACE, "locations", both))
        assert await urls(there, image) == [URL, f"{URL}/2"]
        turned = [place(f"{URL}/2", metadata={"shelf": "1", "store": "web"}), place()]
        image = await changed(there, image, Change(Act.REPLACE, "locations", turned))
        assert [(each.url, each.metadata) for each in image.locations] == [(f"{URL}/2", {"shelf": "1"}), (URL, {})]
        for other in ([place()], [place(), place()], [place(), place("rbd://a/b")]):
            with pytest.raises(Invalid, match="replaced by the same ones"):
                await changed(there, image, Change(Act.REPLACE, "locations", other), caller=ADMIN)
        with pytest.raises(Forbidden, match="empty list"):
            await changed(there, image, Change(Act.REPLACE, "locations", []))

    asyncio.run(scene())


def test_who_may_not_and_where_locations_are_invisible_nothing_is_even_looked_at(
    there: Services, web: MemoryStore
) -> None:
    async def scene() -> None:
        image = await active(there)
        with pytest.raises(Forbidden, match="show_locations is off"):
            await changed(replace(there, show_locations=False), image, add(place()))
        with pytest.raises(Forbidden):
            await changed(there, image, add(place()), caller=READER)
        kept_from = replace(ANNA, rules=policy.rules_with({"set_image_location": "role:admin"}))
        with pytest.raises(Forbidden, match="not permitted to add"):
            await changed(there, image, add(place()), caller=kept_from)
        assert not web.opened

    asyncio.run(scene())


def test_other_states_formats_and_quotas_refuse(there: Services) -> None:
    async def scene() -> None:
        image = await active(there)
        await there.database.write(lambda uow: _deactivated(uow, image))
        with pytest.raises(Conflict, match="deactivated"):
            await changed(there, image, add(place()))
        formless = await images.create(there, ANNA, replace(RAW, disk_format=None))
        with pytest.raises(Invalid, match="disk_format"):
            await changed(there, formless, add(place()))
        made = await images.create(there, ANNA, RAW)
        little = replace(there, quotas=Said(Quota(bytes=len(DATA) + 5)))
        with pytest.raises(QuotaExceeded):
            await changed(little, made, add(place()))
        assert (await images.show(there, ANNA, made.id)).status is Status.QUEUED

    asyncio.run(scene())


def test_attributes_and_locations_change_together_or_not_at_all(there: Services) -> None:
    async def scene() -> None:
        made = await images.create(there, ANNA, RAW)
        name = Change(Act.REPLACE, "name", "new")
        with pytest.raises(Conflict):
            await changed(there, made, add(place()), name, Change(Act.REMOVE, "nothing"))
        assert await images.show(there, ANNA, made.id) == made
        image = await changed(there, made, name, add(place()), Change(Act.PUT, "note", "x"))
        assert await images.show(there, ANNA, made.id) == image
        assert (image.name, image.status, image.properties) == ("new", Status.ACTIVE, {"note": "x"})

    asyncio.run(scene())


def _deactivated(uow: UnitOfWork, image: Image) -> None:
    uow.images.save(replace(image, status=Status.DEACTIVATED), expect=image.status)
