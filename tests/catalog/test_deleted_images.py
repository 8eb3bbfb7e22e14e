from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
from sqlalchemy import JSON, BigInteger, Boolean, Integer, String

from catalog import policy
from catalog.model.deleted import Dropped, KeptQuery
from catalog.model.errors import CatalogFull, Conflict, Forbidden, Invalid, NotFound, TooLate
from catalog.model.image import Status, Visibility
from catalog.model.manifest import ManifestState
from catalog.model.query import ImageQuery
from catalog.model.task import HASH
from catalog.sql.deleted_images import PARTS
from catalog.sql.open import open_catalog
from catalog.sql.records import open_records
from catalog.usecases import image_data, images, lineage, tasks
from catalog.usecases.administration import roots_of
from catalog.usecases.deleted_images import list_kept, parse_kept_query, undelete
from catalog.usecases.expiry import as_if_expired, expire_all, expire_deleted
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, RAW, READER, bytes_of, put
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from catalog.inventory import Records
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

T = TypeVar("T")
DAY = timedelta(days=1)
BLOCK = 65536
UNKNOWN = str(uuid.uuid4())


@pytest.fixture
def kept(services: Services) -> Services:
    """Services that keep deleted images for a day."""
    return replace(services, keep_deleted=DAY.total_seconds())


async def made(services: Services, data: bytes = b"data", **attributes: object) -> Image:
    new = replace(RAW, **attributes)  # type: ignore[arg-type]
    return await put(services, await images.create(services, ANNA, new), data)


async def expire(services: Services, keep: timedelta = timedelta(0)) -> int:
    return await services.database.write(lambda uow: expire_deleted(uow, services.clock(), keep))


async def manifests(services: Services) -> dict[str, ManifestState]:
    found = await services.database.read(lambda uow: uow.inventory.manifests())
    return {each.id: each.state for each in found}


async def listed(services: Services, **query: object) -> list[str]:
    page = await list_kept(services, ANNA, KeptQuery(**query))  # type: ignore[arg-type]
    return [each.id for each in page.images]


def test_a_deleted_image_comes_back_with_all_that_it_had(kept: Services) -> None:
    async def scene() -> None:
        parent = await made(kept)
        image = await made(
            kept,
            b"more data",
            name="disk – naïve",
            visibility=Visibility.COMMUNITY,
            os_hidden=True,
            min_disk=3,
            properties={"trait:X": "", "os_distro": "debian"},
            tags=frozenset({"a", "é"}),
            parent_image_ref=parent.id,
        )
        await images.delete(kept, ANNA, image.id)
        back = (await undelete(kept, ANNA, image.id.upper())).image
        assert back == await images.show(kept, ANNA, image.id)
        assert back.updated_at > image.updated_at
        assert replace(back, updated_at=image.updated_at) == image
        assert await bytes_of(kept, back) == b"more data"
        assert await listed(kept) == []

    asyncio.run(scene())


def test_a_deactivated_image_comes_back_deactivated(kept: Services) -> None:
    async def scene() -> None:
        image = await made(kept)

        def deactivate(uow: UnitOfWork) -> None:
            found = uow.images.get(image.id)
            assert found is not None
            found.status = Status.DEACTIVATED
            uow.images.save(found, expect=Status.ACTIVE)

        await kept.database.write(deactivate)
        await images.delete(kept, ANNA, image.id)
        assert (await undelete(kept, ANNA, image.id)).image.status is Status.DEACTIVATED

    asyncio.run(scene())


def test_what_was_public_comes_back_private_for_who_may_not_make_it_public(kept: Services) -> None:
    """An administrator may have taken it down."""

    async def scene() -> None:
        for caller, shown in ((ANNA, Visibility.PRIVATE), (ADMIN, Visibility.PUBLIC)):
            image = await images.create(kept, ADMIN, replace(RAW, owner=ANNA.project, visibility=Visibility.PUBLIC))
            await put(kept, image, b"data")
            await images.delete(kept, ADMIN, image.id)
            back = await undelete(kept, caller, image.id)
            lost = None if shown is Visibility.PUBLIC else Visibility.PUBLIC
            assert (back.image.visibility, back.lost) == (shown, lost)
            assert await images.show(kept, ANNA, image.id) == back.image
        community = await made(kept, visibility=Visibility.COMMUNITY)
        strict = replace(ANNA, rules=policy.rules_with({"communitize_image": "role:admin"}))
        for each, shown in ((ANNA, Visibility.COMMUNITY), (strict, Visibility.PRIVATE)):
            await images.delete(kept, ANNA, community.id)
            assert (await undelete(kept, each, community.id)).image.visibility is shown

    asyncio.run(scene())


def test_until_then_it_is_gone_for_everybody_and_its_id_stays_taken(kept: Services) -> None:
    async def scene() -> None:
        image = await made(kept, visibility=Visibility.COMMUNITY)
        await images.delete(kept, ANNA, image.id)
        acts: list[Callable[[], Awaitable[object]]] = [
            lambda: images.show(kept, ANNA, image.id),
            lambda: images.show(kept, ADMIN, image.id),
            lambda: images.delete(kept, ANNA, image.id),
            lambda: image_data.download(kept, ANNA, image.id),
            lambda: tasks.of_image(kept, ANNA, image.id),
            lambda: put(kept, image, b"again"),
        ]
        for act in acts:
            with pytest.raises(NotFound, match="No image found"):
                await act()
        for caller in (ANNA, ADMIN):
            page = await images.list_images(kept, caller, ImageQuery())
            assert page.images == ()
        other = await images.create(kept, BORIS, RAW)
        told = []
        for taken in (image.id, other.id):
            with pytest.raises(Conflict, match="never used again") as refused:
                await images.create(kept, ANNA, replace(RAW, id=taken))
            told.append(str(refused.value).replace(taken, "ID"))
        assert told[0] == told[1], "whether it is still there is not told"
        await images.delete(kept, BORIS, other.id)
        with pytest.raises(Invalid, match="parent_image_ref"):
            await images.create(kept, ANNA, replace(RAW, parent_image_ref=image.id))

    asyncio.run(scene())


@pytest.mark.parametrize("keep", [0.0, DAY.total_seconds()])
def test_an_image_without_data_and_every_one_where_none_is_kept_go_at_once(services: Services, keep: float) -> None:
    async def scene() -> None:
        world = replace(services, keep_deleted=keep)
        gone = await images.create(world, ANNA, RAW) if keep else await made(world)
        await images.delete(world, ANNA, gone.id)
        assert await listed(world) == []
        assert ManifestState.LIVE not in (await manifests(world)).values()
        with pytest.raises(TooLate, match="not kept any more"):
            await undelete(world, ANNA, gone.id)

    asyncio.run(scene())


def test_who_may_bring_back_what(kept: Services) -> None:
    async def scene() -> None:
        image = await made(kept, visibility=Visibility.COMMUNITY)
        with pytest.raises(Conflict, match="not deleted"):
            await undelete(kept, ANNA, image.id)
        await images.delete(kept, ANNA, image.id)
        for caller in (BORIS, NOBODY):
            with pytest.raises(NotFound, match="No deleted image found"):
                await undelete(kept, caller, image.id)
        with pytest.raises(Forbidden, match="not permitted to bring back"):
            await undelete(kept, READER, image.id)
        for text in (UNKNOWN, "disk", ""):
            with pytest.raises(NotFound, match="No deleted image found"):
                await undelete(kept, ANNA, text)
        assert (await undelete(kept, ADMIN, image.id)).image.owner == ANNA.project
        await images.delete(kept, ANNA, image.id)
        assert await expire(kept) == 1
        for caller in (ANNA, ADMIN):
            with pytest.raises(TooLate):
                await undelete(kept, caller, image.id)
        for caller in (BORIS, NOBODY, READER):
            with pytest.raises(NotFound):
                await undelete(kept, caller, image.id)

    asyncio.run(scene())


def test_who_is_told_of_which(kept: Services) -> None:
    async def scene() -> None:
        ours = await made(kept)
        await images.delete(kept, ANNA, ours.id)
        for caller in (ANNA, READER, ADMIN):
            page = await list_kept(kept, caller, KeptQuery())
            assert [(each.id, each.name, each.status, each.size) for each in page.images] == [
                (ours.id, "disk", Status.ACTIVE, 4)
            ]
            assert page.images[0].created_at == ours.created_at
            assert page.images[0].until(DAY) == page.images[0].deleted_at + DAY
        assert (await list_kept(kept, BORIS, KeptQuery())).images == ()
        with pytest.raises(Forbidden):
            await list_kept(kept, NOBODY, KeptQuery())
        with pytest.raises(Invalid, match="marker"):
            await list_kept(kept, BORIS, KeptQuery(marker=ours.id))

    asyncio.run(scene())


def test_a_list_of_them_has_the_last_deleted_first_and_comes_in_pages(kept: Services) -> None:
    async def scene() -> None:
        ids = [(await made(kept, name=f"disk {number % 2}")).id for number in range(5)]
        for image_id in ids:
            await images.delete(kept, ANNA, image_id)
        assert await listed(kept) == ids[::-1]
        assert await listed(kept, name="disk 1") == [ids[3], ids[1]]
        assert await listed(kept, name="nothing") == []
        assert await listed(kept, limit=0) == []
        pages, marker = [], None
        while True:
            page = await list_kept(kept, ANNA, KeptQuery(limit=2, marker=marker))
            pages.append([each.id for each in page.images])
            if not page.more:
                break
            marker = pages[-1][-1]
        assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]

    asyncio.run(scene())


def test_what_a_list_is_asked_is_read_strictly(services: Services) -> None:
    limits = services.limits
    assert parse_kept_query([("name", "a:b"), ("limit", "5000"), ("marker", UNKNOWN)], limits) == KeptQuery(
        name="a:b", limit=limits.page_max, marker=UNKNOWN
    )
    for pair in (("status", "active"), ("limit", "-1"), ("limit", "x"), ("name", "\udcff"), ("marker", "\0")):
        with pytest.raises(Invalid):
            parse_kept_query([pair], limits)


def test_its_data_stays_until_it_expires_and_is_retired_then_with_a_base_that_it_alone_needed(kept: Services) -> None:
    async def scene() -> None:
        parent = await made(kept, b"a" * 3 * BLOCK)
        child = await made(kept, b"b" + b"a" * (3 * BLOCK - 1), parent_image_ref=parent.id)
        names = {image.id: image.locations[0].manifest or "" for image in (parent, child)}
        await images.delete(kept, ANNA, parent.id)
        await images.delete(kept, ANNA, child.id)
        assert set((await manifests(kept)).values()) == {ManifestState.LIVE}
        assert await expire(kept, DAY) == 0
        assert set((await manifests(kept)).values()) == {ManifestState.LIVE}
        await undelete(kept, ANNA, child.id)
        assert await expire(kept) == 1
        assert set((await manifests(kept)).values()) == {ManifestState.LIVE}, "the child reads through it"
        assert await bytes_of(kept, child) == b"b" + b"a" * (3 * BLOCK - 1)
        await images.delete(kept, ANNA, child.id)
        assert await expire(kept) == 1
        states = await manifests(kept)
        assert [states[names[image.id]] for image in (parent, child)] == [ManifestState.RETIRED] * 2
        assert await expire(kept) == 0

    asyncio.run(scene())


def test_those_that_were_deleted_first_expire_first(kept: Services) -> None:
    async def scene() -> None:
        ids = [(await made(kept)).id for _ in range(3)]
        for image_id in ids:
            await images.delete(kept, ANNA, image_id)
        page = await list_kept(kept, ANNA, KeptQuery())
        newest, _, oldest = (each.deleted_at for each in page.images)
        now = newest + DAY

        def step(moment: timedelta) -> Callable[[UnitOfWork], int]:
            return lambda uow: expire_deleted(uow, now, DAY + moment)

        assert await kept.database.write(step(newest - oldest + timedelta(microseconds=1))) == 0
        assert await kept.database.write(step(newest - oldest)) == 1
        assert await listed(kept) == ids[:0:-1]

    asyncio.run(scene())


def test_many_expire_in_transactions_of_their_own(kept: Services) -> None:
    async def scene() -> None:
        for _ in range(5):
            await images.delete(kept, ANNA, (await made(kept)).id)
        now = kept.clock()

        def some(uow: UnitOfWork) -> int:
            return expire_deleted(uow, now, timedelta(0), 2)

        assert [await kept.database.write(some) for _ in range(4)] == [2, 2, 1, 0]

    asyncio.run(scene())


@dataclass
class FullRecords:
    """The catalog's file on a full disk: a transaction that gives up more than `room` images does not fit."""

    records: Records
    room: int

    def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return self.records.read(step)

    def write(self, step: Callable[[UnitOfWork], T]) -> T:
        def bounded(uow: UnitOfWork) -> T:
            before = len(uow.inventory.images())
            result = step(uow)
            if before - len(uow.inventory.images()) > self.room:
                raise CatalogFull("the disk is full")
            return result

        return self.records.write(bounded)


def test_on_a_full_disk_they_expire_one_by_one(kept: Services, tmp_path: Path) -> None:
    async def scene() -> None:
        for _ in range(3):
            await images.delete(kept, ANNA, (await made(kept)).id)

    asyncio.run(scene())
    with open_records(tmp_path / "catalog.sqlite") as records:
        with pytest.raises(CatalogFull):
            expire_all(FullRecords(records, 0), kept.clock(), timedelta(0))
        assert len(records.read(lambda uow: uow.inventory.images())) == 3
        assert expire_all(FullRecords(records, 1), kept.clock(), timedelta(0)) == 3
        assert expire_all(records, kept.clock(), timedelta(0)) == 0


def test_what_would_be_left_can_be_told_beforehand(kept: Services) -> None:
    async def scene() -> None:
        oldest = await made(kept, b"a" * 3 * BLOCK)
        old = await made(kept, b"b" + b"a" * (3 * BLOCK - 1), parent_image_ref=oldest.id)
        new = await made(kept, b"c" + b"a" * (3 * BLOCK - 1), parent_image_ref=old.id)
        for image in (old, oldest, await made(kept), await made(kept)):
            await images.delete(kept, ANNA, image.id)
        page = await list_kept(kept, ANNA, KeptQuery())
        now = page.images[0].deleted_at + DAY
        keep = DAY + timedelta(microseconds=1)
        told, count = await kept.database.read(lambda uow: as_if_expired(uow, roots_of(uow), now, keep))
        assert await kept.database.write(lambda uow: expire_deleted(uow, now, keep)) == count == 3
        assert await kept.database.read(roots_of) == told
        assert new.locations[0].manifest in told.live
        assert (len(told.live), len(told.retired)) == (4, 1)

    asyncio.run(scene())


def test_nothing_is_coalesced_for_a_kept_parent_and_its_last_child_is_when_it_expires(kept: Services) -> None:
    async def scene() -> None:
        parent = await made(kept, b"a" * 3 * BLOCK)
        child = await made(kept, b"b" + b"a" * (3 * BLOCK - 1), parent_image_ref=parent.id)
        before = child.locations
        await images.delete(kept, ANNA, parent.id)
        await until_quiet(kept)
        assert (await images.show(kept, ANNA, child.id)).locations == before
        await expire(kept)
        await until_quiet(kept)
        assert (await images.show(kept, ANNA, child.id)).locations != before
        assert await bytes_of(kept, child) == b"b" + b"a" * (3 * BLOCK - 1)

    asyncio.run(scene())


def test_a_child_that_comes_back_after_its_parent_has_expired_is_coalesced(kept: Services) -> None:
    async def scene() -> None:
        parent = await made(kept, b"a" * 3 * BLOCK)
        child = await made(kept, b"b" + b"a" * (3 * BLOCK - 1), parent_image_ref=parent.id)
        await images.delete(kept, ANNA, parent.id)
        await images.delete(kept, ANNA, child.id)
        dropped = await kept.database.write(lambda uow: uow.deleted.drop(parent.id))
        assert dropped == Dropped([str(parent.locations[0].manifest)], [])
        await until_quiet(kept)
        await undelete(kept, ANNA, child.id)
        await until_quiet(kept)
        whole = await images.show(kept, ANNA, child.id)
        found = await kept.database.read(lambda uow: uow.manifests.get(whole.locations[0].manifest or ""))
        assert found is not None
        assert found.base is None
        assert await bytes_of(kept, child) == b"b" + b"a" * (3 * BLOCK - 1)

    asyncio.run(scene())


def test_lineage_shows_a_kept_parent_as_any_that_is_gone_and_again_when_it_is_back(kept: Services) -> None:
    async def scene() -> None:
        parent = await made(kept, name="old")
        child = await made(kept, name="new", parent_image_ref=parent.id)

        async def told() -> list[tuple[str | None, bool | None]]:
            page = await lineage.list_lineage(kept, ADMIN, ImageQuery())
            return [(each.image.name, each.parent_visible) for each in page.descents]

        assert await told() == [("new", True), ("old", None)]
        await images.delete(kept, ANNA, parent.id)
        assert await told() == [("new", False)]
        assert (await images.show(kept, ANNA, child.id)).parent_image_ref == parent.id
        await undelete(kept, ANNA, parent.id)
        assert await told() == [("new", True), ("old", None)]

    asyncio.run(scene())


def test_an_upload_over_a_parent_that_is_deleted_meanwhile_still_inherits_from_it(
    kept: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        parent = await made(kept, b"a" * 3 * BLOCK)
        new = replace(RAW, parent_image_ref=parent.id)
        child = await images.create(kept, ANNA, new)

        async def delete(_pin: str) -> None:
            blocks.at_end = None
            await images.delete(kept, ANNA, parent.id)
            await expire(kept)

        blocks.at_end = delete
        child = await put(kept, child, b"b" + b"a" * (3 * BLOCK - 1))
        assert (child.status, child.changed_size) == (Status.ACTIVE, BLOCK)
        assert await bytes_of(kept, child) == b"b" + b"a" * (3 * BLOCK - 1)

    asyncio.run(scene())


def test_hashes_that_the_deletion_cancelled_are_computed_after_all(kept: Services) -> None:
    async def scene() -> None:
        later = replace(kept, hashes_later=True)
        image = await made(later)
        assert image.os_hash_value is None
        await images.delete(later, ANNA, image.id)
        await until_quiet(later)
        await undelete(later, ANNA, image.id, request_id="req-1")
        task, _ = await tasks.of_image(later, ANNA, image.id)
        assert (task.type, task.user, task.request_id) == (HASH, "anna", "req-1")
        await until_quiet(later)
        assert (await images.show(later, ANNA, image.id)).os_hash_value is not None

    asyncio.run(scene())


def test_a_commit_that_is_asked_for_again_after_an_undelete_finds_its_image(kept: Services) -> None:
    async def scene() -> None:
        image = await made(kept)
        assert image.upload is not None
        await images.delete(kept, ANNA, image.id)
        back = (await undelete(kept, ANNA, image.id)).image
        assert back.was_saved(image.upload.id)

    asyncio.run(scene())


def test_of_an_undelete_and_an_expiry_exactly_one_wins_whatever_their_processes(kept: Services, tmp_path: Path) -> None:
    """Each on a connection of its own, as a server and a collection have, and several of each."""

    async def scene() -> None:
        with closing(open_catalog(tmp_path / "catalog.sqlite")) as other:
            collector = replace(kept, database=other)
            won = {"undelete": 0, "expire": 0}
            for _ in range(20):
                image = await made(kept)
                await images.delete(kept, ANNA, image.id)
                outcomes = await asyncio.gather(
                    expire(collector),
                    undelete(kept, ANNA, image.id),
                    undelete(collector, ANNA, image.id),
                    expire(kept),
                    return_exceptions=True,
                )
                back = [each for each in outcomes[1:3] if not isinstance(each, BaseException)]
                expired = [each for each in (outcomes[0], outcomes[3]) if each]
                assert len(back) + len(expired) == 1, outcomes
                won["undelete" if back else "expire"] += 1
                state = (await manifests(kept))[image.locations[0].manifest or ""]
                if back:
                    assert await bytes_of(kept, image) == b"data"
                    assert state is ManifestState.LIVE
                else:
                    refused = [each for each in outcomes[1:3] if isinstance(each, TooLate)]
                    assert len(refused) == 2, outcomes
                    assert state is ManifestState.RETIRED
            assert sum(won.values()) == 20

    asyncio.run(scene())


def test_whatever_a_table_has_of_an_image_can_be_kept_as_text() -> None:
    """A table with another kind of column needs a thought before its rows are written as JSON."""
    assert {table.name for table in PARTS} >= {"image_properties", "image_tags", "image_locations"}
    for table in PARTS:
        assert {"image_id"} == {key.parent.name for key in table.foreign_keys if key.column.table.name == "images"}, (
            table.name
        )
        for column in table.columns:
            assert isinstance(column.type, String | Integer | BigInteger | Boolean | JSON), (table.name, column.name)


def test_rows_that_were_kept_by_a_version_with_other_columns_come_back(kept: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        image = await made(kept)
        await images.delete(kept, ANNA, image.id)

        def age(uow: UnitOfWork) -> None:
            connection = uow.deleted._connection  # type: ignore[attr-defined]  # a look inside
            rows = json.loads(connection.exec_driver_sql("SELECT rows FROM kept_images").scalar())
            del rows["images"][0]["changed_size"], rows["image_tags"]
            rows["images"][0]["colour"] = "grey"
            rows["image_moods"] = [{"image_id": image.id, "mood": "good"}]
            connection.exec_driver_sql("UPDATE kept_images SET rows = ?", (json.dumps(rows),))

        await database.write(age)
        back = (await undelete(kept, ANNA, image.id)).image
        assert back.changed_size is None
        assert await bytes_of(kept, back) == b"data"

    asyncio.run(scene())
