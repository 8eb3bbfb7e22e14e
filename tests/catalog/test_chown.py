"""What one project owns becomes another's: everything that names an owner, wholly, once, and beside others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.enqueueing import enqueue
from catalog.model.caller import Caller
from catalog.model.errors import Conflict, Invalid, NotFound
from catalog.model.image import Visibility
from catalog.model.member import MemberStatus
from catalog.model.ownership import Handed
from catalog.model.task import HASH, NOBODY, image_task
from catalog.sql.records import open_records
from catalog.sql.tables import metadata
from catalog.usecases import chown, image_data, images, members, tasks
from catalog.usecases.deleted_images import undelete
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, bytes_of, names_listed, put, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from catalog.inventory import Records
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

WALL, HEDGE = ANNA.project, BORIS.project
CARLA = Caller("carla", "moor", frozenset({"member"}))
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def records(database: SqlDatabase, tmp_path: Path) -> Iterator[Records]:
    with open_records(tmp_path / "catalog.sqlite") as opened:
        yield opened


@pytest.fixture
def keeping(services: Services) -> Services:
    return replace(services, keep_deleted=3600.0)


def give(records: Records, *ids: str, giver: str = WALL, taker: str = HEDGE, dry_run: bool = False) -> Handed:
    told: list[Handed] = []
    done = chown.hand_over(records, chown.handover(giver, taker, ids), dry_run=dry_run, report=told.append)
    assert (told[-1:] == [done]) != (dry_run or done == Handed())
    return done


async def new(services: Services, name: str, caller: Caller = ANNA, **more: object) -> Image:
    made = await images.create(services, caller, replace(RAW, name=name, **more))  # type: ignore[arg-type]
    return await put(services, made, name.encode(), caller=caller)


def test_all_that_a_project_owns_is_given_and_nothing_else(keeping: Services, records: Records) -> None:
    async def scene() -> None:
        kept = await new(keeping, "kept")
        await images.delete(keeping, ANNA, kept.id)
        gone = await images.create(keeping, ANNA, RAW)
        await images.delete(keeping, ANNA, gone.id)
        mine = await new(keeping, "mine", visibility=Visibility.PRIVATE, tags=frozenset({"t"}))
        other = await new(keeping, "other", CARLA)
        task = image_task(HASH, image_id=mine.id, owner=WALL, by=NOBODY, at=keeping.clock())
        await keeping.database.write(lambda uow: enqueue(uow, task))
        wanted = Handed(images=1, deleted=1, former=2, tasks=1)
        assert give(records, dry_run=True) == wanted
        assert (await images.show(keeping, ANNA, mine.id)).owner == WALL
        assert give(records) == wanted
        with pytest.raises(NotFound):
            await images.show(keeping, ANNA, mine.id)
        assert await images.show(keeping, BORIS, mine.id) == replace(mine, owner=HEDGE)
        assert await bytes_of(keeping, mine, caller=BORIS) == b"mine"
        assert (await tasks.show(keeping, BORIS, task.id)).owner == HEDGE
        assert not await keeping.database.read(lambda uow: uow.jobs.is_due([HASH], at=task.created_at, but_of=[HEDGE]))
        assert await keeping.database.read(lambda uow: uow.jobs.is_due([HASH], at=task.created_at, but_of=[WALL]))
        assert (await undelete(keeping, BORIS, kept.id)).image.owner == HEDGE
        assert (await images.show(keeping, CARLA, other.id)).owner == "moor"
        assert give(records) == give(records, dry_run=True) == Handed()

    asyncio.run(scene())


def test_single_images_are_given_by_their_ids_or_none_is(keeping: Services, records: Records) -> None:
    async def scene() -> None:
        first, second, kept = [await new(keeping, name) for name in ("first", "second", "kept")]
        theirs = await new(keeping, "theirs", CARLA)
        await images.delete(keeping, ANNA, kept.id)
        for ids, error in (((first.id, UNKNOWN), NotFound), ((first.id, theirs.id), Conflict)):
            with pytest.raises(error, match="nothing was changed"):
                give(records, *ids)
        assert sorted(str(name) for name in await names_listed(keeping, ANNA)) == ["first", "second"]
        assert give(records, first.id.upper(), kept.id) == Handed(images=1, deleted=1, former=1)
        # Again, with one more: what was given stays given.
        assert give(records, first.id, second.id, kept.id) == Handed(images=1)
        assert sorted(str(name) for name in await names_listed(keeping, BORIS)) == ["first", "second"]
        assert (await undelete(keeping, BORIS, kept.id)).image.owner == HEDGE

    asyncio.run(scene())


def test_what_is_shared_with_the_giver_is_shared_with_the_taker(keeping: Services, records: Records) -> None:
    async def scene() -> None:
        alone, both, takers, kept = [await new(keeping, name, CARLA) for name in ("alone", "both", "takers", "kept")]
        own = await new(keeping, "own")
        for image, *projects in ((alone, WALL), (both, WALL, HEDGE), (takers, HEDGE), (kept, WALL)):
            for project in projects:
                await members.add(keeping, CARLA, image.id, project)
        for image in (alone, both, kept):
            await members.answer(keeping, ANNA, image.id, WALL, "accepted")
        await members.answer(keeping, BORIS, both.id, HEDGE, "rejected")
        await members.add(keeping, ANNA, own.id, HEDGE)
        await images.delete(keeping, CARLA, kept.id)
        assert give(records) == Handed(images=1, deleted=1, members=2)
        await undelete(keeping, CARLA, kept.id)
        said = {
            image.id: [(each.id, each.status) for each in await members.list_members(keeping, ADMIN, image.id)]
            for image in (alone, both, takers, kept, own)
        }
        assert said == {
            alone.id: [(HEDGE, MemberStatus.ACCEPTED)],
            both.id: [(HEDGE, MemberStatus.REJECTED)],
            takers.id: [(HEDGE, MemberStatus.PENDING)],
            kept.id: [(HEDGE, MemberStatus.ACCEPTED)],
            own.id: [],
        }
        assert give(records) == Handed()

    asyncio.run(scene())


def test_an_owner_is_no_member_of_its_own_image_afterwards(keeping: Services, records: Records) -> None:
    async def scene() -> None:
        # Boris's, shared with Anna's project, which becomes his; and one in the other direction, deleted.
        his, gone = await new(keeping, "his", BORIS), await new(keeping, "gone")
        await members.add(keeping, BORIS, his.id, WALL)
        await members.add(keeping, ANNA, gone.id, HEDGE)
        await images.delete(keeping, ANNA, gone.id)
        assert give(records) == Handed(deleted=1, former=1, members=1)
        await undelete(keeping, BORIS, gone.id)
        for image in (his, gone):
            assert await members.list_members(keeping, BORIS, image.id) == []
        assert sorted(str(name) for name in await names_listed(keeping, BORIS)) == ["gone", "his"]

    asyncio.run(scene())


def test_a_taker_is_not_told_how_much_differs_from_what_it_does_not_see(keeping: Services, records: Records) -> None:
    """The giver was, for which it was compared; who takes all that it has takes its place."""

    async def scene() -> None:
        secret = await new(keeping, "secret", visibility=Visibility.PRIVATE)
        open_one = await new(keeping, "open", visibility=Visibility.COMMUNITY)
        children = [
            await new(keeping, "by reference", parent_image_ref=secret.id),
            await new(keeping, "by property", properties={"base_image_ref": secret.id.upper()}),
            await new(keeping, "of another", parent_image_ref=open_one.id),
            await new(keeping, "alone"),
        ]
        kept = await new(keeping, "kept", parent_image_ref=secret.id)
        await images.delete(keeping, ANNA, kept.id)
        give(records, *(image.id for image in (*children, kept)))
        await undelete(keeping, BORIS, kept.id)
        told = [(await images.show(keeping, BORIS, image.id)).changed_size for image in (*children, kept)]
        assert [size is not None for size in told] == [False, False, True, True, False]
        whole = await new(keeping, "whole", parent_image_ref=secret.id)
        give(records)
        assert (await images.show(keeping, BORIS, whole.id)).changed_size == whole.changed_size is not None

    asyncio.run(scene())


def test_an_upload_under_way_ends_as_the_new_owners(services: Services, records: Records, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)

        async def hand_over(_pin: str) -> None:
            assert give(records) == Handed(images=1, uploads=1)

        blocks.at_end = hand_over
        await image_data.upload(services, ANNA, image.id, stream(b"bytes"), expected=5)
        blocks.at_end = None
        assert await bytes_of(services, image, caller=BORIS) == b"bytes"

    asyncio.run(scene())


def test_many_are_given_a_few_at_a_time(services: Services, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chown, "AT_ONCE", 3)

    async def scene() -> None:
        ids = [(await images.create(services, ANNA, RAW)).id for _ in range(10)]
        assert give(records, *ids[:4]) == Handed(images=4)
        assert give(records) == Handed(images=6)
        assert len(await names_listed(services, BORIS)) == 10

    asyncio.run(scene())


@pytest.mark.parametrize(
    "make",
    [
        lambda: chown.handover("", "b", ()),
        lambda: chown.handover("a", "", ()),
        lambda: chown.handover("a", "a", ()),
        lambda: chown.handover("a", "b" * 256, ()),
        lambda: chown.handover("a", "b\0", ()),
        lambda: chown.handover("a", "b", ("disk",)),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(Invalid):
        make()


def test_every_table_that_names_an_owner_is_looked_at(database: SqlDatabase) -> None:
    def kinds(uow: UnitOfWork) -> set[str]:
        found = uow.ownership._kinds(chown.handover(WALL, HEDGE, ()))  # type: ignore[attr-defined]  # a look inside
        return {table.name for table, _, _ in found}

    named = {table.name for table in metadata.sorted_tables if {"owner", "project", "member"} & set(table.c.keys())}
    assert asyncio.run(database.read(kinds)) == named - NOT_GIVEN


# What an operator said of a project, and what is counted of it by the database itself: neither is owned. A job goes
# with its task.
NOT_GIVEN = {"quotas", "project_usage", "jobs"}


def test_a_giver_that_goes_on_making_images_does_not_keep_it_going(
    services: Services, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chown, "AT_ONCE", 2)

    async def scene() -> None:
        for number in range(5):
            await images.create(services, ANNA, replace(RAW, name=f"early {number}"))

    def make_one_more(given: Handed) -> None:
        assert given.images < 20, "it goes on for as long as the giver does"
        asyncio.run(late())

    async def late() -> None:
        await images.create(services, ANNA, replace(RAW, name="late"))

    asyncio.run(scene())
    wanted = chown.handover(WALL, HEDGE, ())
    done = chown.hand_over(records, wanted, dry_run=False, report=make_one_more)
    assert 5 <= done.images < 20
    assert asyncio.run(names_listed(services, ANNA)) == ["late"]
