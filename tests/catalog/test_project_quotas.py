"""What a project may have: images, bytes, uploads under way and what these reserve."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from catalog.limits import Limits
from catalog.model.errors import Conflict, Gone, LimitExceeded, QuotaExceeded
from catalog.model.image import Status, Upload
from catalog.model.pin import UploadKind
from catalog.model.quota import NO_QUOTA, UNLIMITED, Quota, Usage
from catalog.quota_ports import Said
from catalog.usecases import delta_begin, delta_commit, deltas, image_data, images, uploads
from catalog.usecases.deleted_images import undelete
from catalog.usecases.quotas import usage_of
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, put
from tests.catalog.delta_scenes import BLOCK, begun, send, served
from tests.catalog.quota_scenes import new, put_unknown, say, slowly, usage
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

WALL = ANNA.project


@pytest.fixture
def services(services: Services) -> Services:
    """Services that reserve ten bytes at a time."""
    return replace(services, limits=Limits(reserve_step=10))


async def status(services: Services, image_id: str) -> Status:
    return (await images.show(services, ADMIN, image_id)).status


def test_one_image_more_than_the_quota_is_refused_until_one_is_deleted(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(images=2))
        first, _ = [await new(services) for _ in range(2)]
        told = "Project 'wall' has 2 images, and its quota of images is 2: delete one first"
        with pytest.raises(QuotaExceeded, match=told) as refused:
            await new(services)
        assert refused.value.quota == "images"
        await new(services, BORIS)
        await images.delete(services, ANNA, first.id)
        await new(services)
        assert (await usage(services)).images == 2

    asyncio.run(scene())


def test_an_announced_size_is_refused_before_a_byte_is_read(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=10))
        await put(services, await new(services), b"1234")
        image = await new(services)

        async def never(_: int) -> None:
            pytest.fail("it was read")

        told = r"Project 'wall' uses 4 of the 10 bytes .* 7 more were asked for: delete images first"
        with pytest.raises(QuotaExceeded, match=told):
            await image_data.upload(services, ANNA, image.id, slowly(b"1234567", between=never), expected=7)
        assert await status(services, image.id) is Status.QUEUED
        assert await usage(services) == Usage(images=2, bytes=4)
        assert (await put(services, image, b"123456")).status is Status.ACTIVE
        assert await usage(services) == Usage(images=2, bytes=10)

    asyncio.run(scene())


def test_an_unknown_size_stops_at_the_limit_and_nothing_is_kept(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=25))
        image = await new(services)
        reached = []

        async def note(number: int) -> None:
            reached.append((number, (await usage(services)).staged_bytes))

        source = slowly(*[b"12345"] * 9, between=note)
        with pytest.raises(QuotaExceeded, match=r"uses 25 of the 25 bytes .* 5 more"):
            await image_data.upload(services, ANNA, image.id, source, expected=None)
        assert [number for number, _ in reached] == [0, 1, 2, 3, 4, 5]
        assert all(5 * number <= staged <= min(25, 5 * number + 12) for number, staged in reached), reached
        assert await status(services, image.id) is Status.QUEUED
        assert await usage(services) == Usage(images=1)
        assert not blocks.journals
        assert not blocks.manifests
        assert (await put_unknown(services, image, *[b"12345"] * 5)).size == 25
        assert await usage(services) == Usage(images=1, bytes=25)
        with pytest.raises(QuotaExceeded, match="1 more"):
            await put_unknown(services, await new(services), b"1")

    asyncio.run(scene())


def test_a_piece_longer_than_a_step_is_reserved_whole(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(staged_bytes=100))
        image = await new(services)
        assert (await put_unknown(services, image, b"x" * 40, b"x" * 60)).size == 100
        with pytest.raises(QuotaExceeded, match="use 10 of the 100 bytes that the quota of project 'wall' gives them"):
            await put_unknown(services, await new(services), b"x" * 101)
        assert await usage(services) == Usage(images=2, bytes=100)

    asyncio.run(scene())


def test_uploads_that_come_together_never_overshoot(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=100))
        most = 0

        async def look(_: int) -> None:
            nonlocal most
            most = max(most, (await usage(services)).all_bytes)
            await asyncio.sleep(0)

        async def one(number: int) -> bool:
            image = await new(services)
            source = slowly(*[b"1234567"] * 3, between=look)
            try:
                await image_data.upload(services, ANNA, image.id, source, expected=21 if number % 2 else None)
            except QuotaExceeded:
                return False
            return True

        done = await asyncio.gather(*(one(number) for number in range(16)))
        assert 0 < sum(done) <= 4
        assert most <= 100
        assert await usage(services) == Usage(images=16, bytes=21 * sum(done))

    asyncio.run(scene())


def test_uploads_under_way_and_what_they_reserve_have_quotas_of_their_own(services: Services) -> None:
    async def scene() -> None:
        first, second = [await new(services) for _ in range(2)]

        async def another(_: int) -> None:
            await say(services, Quota(uploads=1))
            with pytest.raises(QuotaExceeded, match="has 1 uploads under way, and its quota of uploads is 1"):
                await put(services, second, b"")
            await say(services, Quota(staged_bytes=10))
            with pytest.raises(QuotaExceeded, match="use 4 of the 10 bytes"):
                await put(services, second, b"1234567")
            assert await usage(services) == Usage(images=2, uploads=1, staged_bytes=4)

        await image_data.upload(services, ANNA, first.id, slowly(b"1234", between=another), expected=4)
        assert (await put(services, second, b"1234567")).size == 7

    asyncio.run(scene())


def test_an_image_that_takes_no_data_says_so_whatever_the_quota(services: Services) -> None:
    async def scene() -> None:
        image = await new(services)
        await put(services, image, b"1234")
        await say(services, Quota(bytes=4))
        with pytest.raises(Conflict):
            await put(services, image, b"1234")

    asyncio.run(scene())


def test_what_a_killed_process_had_reserved_is_free_after_the_sweep(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=10))
        image = await new(services)
        dead = Upload("left", UploadKind.STREAM, "other")
        at = services.clock()
        await services.database.write(
            lambda uow: uploads.begin(uow, ANNA, image.id, dead, at=at, admit=lambda _uow, _image: 8)
        )
        assert await usage(services) == Usage(images=1, uploads=1, staged_bytes=8)
        blocks.dead.add("other")
        assert await image_data.requeue_orphans(services) == 1
        assert await usage(services) == Usage(images=1)

    asyncio.run(scene())


def test_an_upload_whose_image_was_deleted_reserves_no_more(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=1000))
        image = await new(services)

        async def delete_it(number: int) -> None:
            if number == 1:
                await images.delete(services, ANNA, image.id)

        with pytest.raises(Gone, match="deleted"):
            source = slowly(b"1234567", b"1234567", b"never", between=delete_it)
            await image_data.upload(services, ANNA, image.id, source, expected=None)
        assert await usage(services) == Usage()

    asyncio.run(scene())


def test_undelete_wants_the_room_back_that_a_deletion_made(services: Services) -> None:
    async def scene() -> None:
        keeping = replace(services, keep_deleted=86400.0)
        await say(keeping, Quota(bytes=10, images=2))
        image = await put(keeping, await new(keeping), b"12345678")
        await images.delete(keeping, ANNA, image.id)
        assert await usage(keeping) == Usage()
        other = await put(keeping, await new(keeping), b"1234")
        with pytest.raises(QuotaExceeded, match=r"uses 4 of the 10 bytes .* 8 more"):
            await undelete(keeping, ANNA, image.id)
        await images.delete(keeping, ANNA, other.id)
        assert (await undelete(keeping, ANNA, image.id)).image.size == 8
        assert await usage(keeping) == Usage(images=1, bytes=8)

    asyncio.run(scene())


def test_a_new_owner_has_the_image_and_what_its_upload_reserves(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(bytes=10), BORIS.project)
        there, coming = [await new(services) for _ in range(2)]
        await put(services, there, b"x" * 20)

        def give(uow: UnitOfWork) -> None:
            for each in (there, coming):
                image = uow.images.get(each.id)
                assert image is not None
                image.owner = BORIS.project
                uow.images.save(image, expect=image.status)

        async def halfway(number: int) -> None:
            if number == 1:
                assert await usage(services) == Usage(images=2, bytes=20, uploads=1, staged_bytes=6)
                await services.database.write(give)
                assert await usage(services) == Usage()
                assert await usage(services, BORIS.project) == Usage(images=2, bytes=20, uploads=1, staged_bytes=6)

        await image_data.upload(services, ANNA, coming.id, slowly(b"123", b"456", between=halfway), expected=6)
        assert await usage(services, BORIS.project) == Usage(images=2, bytes=26)
        with pytest.raises(QuotaExceeded, match="Project 'hedge' uses 26 of the 10 bytes"):
            await put(services, await new(services, BORIS), b"1", caller=BORIS)

    asyncio.run(scene())


def test_an_admin_who_uploads_for_others_uses_their_quota(services: Services) -> None:
    async def scene() -> None:
        await say(services, Quota(images=1, bytes=3))
        image = await images.create(services, ADMIN, replace(RAW, owner=WALL))
        with pytest.raises(QuotaExceeded):
            await images.create(services, ADMIN, replace(RAW, owner=WALL))
        with pytest.raises(QuotaExceeded):
            await put(services, image, b"1234", caller=ADMIN)

    asyncio.run(scene())


def test_a_delta_upload_reserves_the_flat_size_until_it_ends(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, served_ones, _):
            await say(served_ones, Quota(bytes=10 * BLOCK), CALLER.project)
            named = await begun(served_ones, await service.new(), size=6 * BLOCK)
            assert (await usage(served_ones, CALLER.project)).staged_bytes == 6 * BLOCK
            waits = await service.new()
            with pytest.raises(QuotaExceeded):
                await begun(served_ones, waits, size=5 * BLOCK)
            assert not (await deltas.of_image(served_ones, CALLER, waits))
            await send(served_ones, named, (0, b"x" * BLOCK), *((number, b"y" * BLOCK) for number in range(1, 6)))
            await delta_commit.commit(served_ones, named, expected=None)
            assert await usage(served_ones, CALLER.project) == Usage(images=2, bytes=6 * BLOCK)
            given_up = await begun(served_ones, waits, size=4 * BLOCK)
            await deltas.give_up(served_ones, given_up)
            assert await usage(served_ones, CALLER.project) == Usage(images=2, bytes=6 * BLOCK)

    asyncio.run(scene())


def test_an_expired_delta_upload_gives_back_what_it_reserved(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, served_ones, ticking):
            await say(served_ones, Quota(staged_bytes=5 * BLOCK), CALLER.project)
            image_id = await service.new()
            await delta_begin.begin(served_ones, CALLER, image_id, size=5 * BLOCK, base=None, block_size=BLOCK)
            ticking.passed += 2 * (ticking.passed.resolution * 10**8)
            assert await deltas.end_expired(served_ones) == 1
            assert await usage(served_ones, CALLER.project) == Usage(images=1)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("catalog", "file", "holds"),
    [
        (Said(), Said(), NO_QUOTA),
        (Said(), Said(Quota(images=1)), Quota(images=1)),
        (Said(Quota(images=2)), Said(Quota(images=1)), Quota(images=2)),
        (Said(Quota(images=2)), Said(Quota(images=1), {WALL: Quota(images=3)}), Quota(images=3)),
        (Said(Quota(images=2), {WALL: Quota(images=4)}), Said(Quota(), {WALL: Quota(images=3)}), Quota(images=4)),
        (
            Said(Quota(uploads=2), {WALL: Quota(images=UNLIMITED)}),
            Said(Quota(bytes=1), {WALL: Quota(images=3)}),
            Quota(images=UNLIMITED, uploads=2, bytes=1),
        ),
        (Said(Quota(), {"hedge": Quota(images=0)}), Said(Quota(), {"hedge": Quota(images=0)}), NO_QUOTA),
    ],
)
def test_who_says_what_a_quota_is(services: Services, catalog: Said, file: Said, holds: Quota) -> None:
    async def scene() -> None:
        mine = replace(services, quotas=file)
        await say(mine, catalog.default, None)
        for project, quota in catalog.projects.items():
            await say(mine, quota, project)
        assert (await usage_of(mine, ANNA))[0] == holds
        assert await mine.database.read(lambda uow: uow.quotas.all_said()) == catalog

    asyncio.run(scene())


def test_what_is_said_counts_at_once_in_another_process_and_can_be_taken_back(
    services: Services, database: SqlDatabase, tmp_path: Path
) -> None:
    from catalog.sql.records import open_records

    async def scene() -> None:
        with open_records(tmp_path / "catalog.sqlite") as elsewhere:
            elsewhere.write(lambda uow: uow.quotas.say(WALL, Quota(images=0)))
            with pytest.raises(QuotaExceeded):
                await new(services)
            elsewhere.write(lambda uow: uow.quotas.say(WALL, NO_QUOTA))
            await new(services)

    asyncio.run(scene())


def test_a_quota_below_what_is_used_takes_nothing_back(services: Services) -> None:
    async def scene() -> None:
        image, empty = [await new(services) for _ in range(2)]

        async def lower(number: int) -> None:
            if number == 1:
                await say(services, Quota(bytes=1, images=0, uploads=0, staged_bytes=0))

        source = slowly(b"12345", b"12345", between=lower)
        assert (await image_data.upload(services, ANNA, image.id, source, expected=10)).size == 10
        with pytest.raises(QuotaExceeded):
            await put(services, empty, b"1")
        await images.delete(services, ANNA, image.id)
        assert await usage(services) == Usage(images=1)

    asyncio.run(scene())


def test_the_cap_of_one_image_holds_whatever_the_quota(services: Services) -> None:
    async def scene() -> None:
        capped = replace(services, limits=Limits(image_size_cap=8, reserve_step=10))
        await say(capped, Quota(bytes=1000))
        with pytest.raises(LimitExceeded, match="larger than the 8 bytes"):
            await put_unknown(capped, await new(capped), b"12345", b"12345")

    asyncio.run(scene())


def test_without_quotas_an_upload_costs_one_statement_more_and_no_transaction(
    services: Services, database: SqlDatabase
) -> None:
    """The look into `quotas`, in the transaction that begins it; nothing while bytes come, nothing at the commit."""
    seen: list[str] = []
    writing = database._writing
    event.listen(writing, "before_cursor_execute", lambda *given: seen.append(given[2]))

    async def scene() -> None:
        image = await new(services)
        del seen[:]
        await put_unknown(services, image, *[b"x" * 1000] * 5)

    asyncio.run(scene())
    assert [text for text in seen if "quotas" in text] == [text for text in seen if text.startswith("SELECT quotas")]
    assert sum("quotas" in text for text in seen) == 1
    assert not [text for text in seen if "project_usage" in text or "UPDATE pins" in text]
    assert sum(text.startswith("BEGIN") for text in seen) == 2


def test_what_is_asked_of_quotas_is_found_by_keys(services: Services, database: SqlDatabase) -> None:
    asked: list[tuple[str, object]] = []
    event.listen(database._reading, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))

    async def scene() -> None:
        await usage_of(services, ANNA)
        statements = [each for each in asked if each[0].startswith("SELECT")]
        assert len(statements) == 3

        def plans(uow: UnitOfWork) -> list[str]:
            connection = uow.quotas._connection  # type: ignore[attr-defined]  # a look inside
            return [
                row[3]
                for text, values in statements
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
            ]

        assert not [plan for plan in await services.database.read(plans) if "SCAN" in plan]

    asyncio.run(scene())
