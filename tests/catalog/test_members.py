"""Sharing: who may do what about members, and what being one lets a project do with the image."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog import policy
from catalog.limits import Limits
from catalog.model.caller import Caller
from catalog.model.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound
from catalog.model.image import Visibility
from catalog.model.member import MemberStatus
from catalog.model.new_image import NewImage
from catalog.model.task import HASH, Requester, image_task
from catalog.usecases import image_data, images, lineage, members, tasks
from catalog.usecases.deleted_images import undelete
from catalog.usecases.queries import parse_query
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, RAW, READER, bytes_of, names_listed, put

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

HEDGE = BORIS.project
CARLA = Caller("carla", "moor", frozenset({"member"}))
BORIS_READS = Caller("brit", HEDGE, frozenset({"reader"}))


async def shared(services: Services, *projects: str, **attributes: object) -> Image:
    """An image of Anna's, with data, shared with these projects."""
    made = await images.create(services, ANNA, replace(RAW, **attributes))  # type: ignore[arg-type]
    image = await put(services, made, b"bytes")
    for project in projects:
        await members.add(services, ANNA, image.id, project)
    return image


async def become(services: Services, image: Image, visibility: Visibility) -> None:
    def change(uow: UnitOfWork) -> None:
        found = uow.images.get(image.id)
        assert found is not None
        uow.images.save(replace(found, visibility=visibility), expect=found.status)

    await services.database.write(change)


async def refused(error: type[Exception], act: Awaitable[object]) -> None:
    with pytest.raises(error) as raised:
        await act
    assert type(raised.value) is error


def test_a_new_member_is_pending_and_answers_for_itself(services: Services) -> None:
    async def scene() -> None:
        image = await shared(services)
        made = await members.add(services, ANNA, image.id.upper(), HEDGE)
        assert (made.image_id, made.id, made.status) == (image.id, HEDGE, MemberStatus.PENDING)
        for status in ("accepted", "rejected", "pending", "accepted"):
            said = await members.answer(services, BORIS, image.id, HEDGE, status)
            assert said.status == status
            assert said.updated_at > made.updated_at
            assert said.created_at == made.created_at
            assert await members.show(services, BORIS, image.id, HEDGE) == said
        assert await members.list_members(services, ANNA, image.id) == [said]

    asyncio.run(scene())


def test_the_owner_says_with_whom_and_the_member_what_it_thinks_of_it(services: Services) -> None:
    async def scene() -> None:
        image = await shared(services, HEDGE)
        for caller in (READER, BORIS):
            await refused(Forbidden, members.add(services, caller, image.id, "moor"))
            await refused(Forbidden, members.remove(services, caller, image.id, HEDGE))
        for caller in (ANNA, READER, BORIS_READS):
            await refused(Forbidden, members.answer(services, caller, image.id, HEDGE, "accepted"))
        for caller in (CARLA, NOBODY):
            await refused(NotFound, members.add(services, caller, image.id, "moor"))
            await refused(NotFound, members.list_members(services, caller, image.id))
            await refused(NotFound, members.show(services, caller, image.id, HEDGE))
            await refused(NotFound, members.answer(services, caller, image.id, HEDGE, "accepted"))
            await refused(NotFound, members.remove(services, caller, image.id, HEDGE))
        await members.add(services, ADMIN, image.id, "moor")
        assert (await members.answer(services, ADMIN, image.id, HEDGE, "accepted")).status == "accepted"
        await members.remove(services, ADMIN, image.id, "moor")
        await members.remove(services, ANNA, image.id, HEDGE)
        await refused(NotFound, images.show(services, BORIS, image.id))

    asyncio.run(scene())


def test_a_member_sees_itself_and_no_other_member(services: Services) -> None:
    async def scene() -> None:
        image = await shared(services, HEDGE, "moor")
        for caller, seen in (
            (ANNA, [HEDGE, "moor"]), (READER, [HEDGE, "moor"]), (ADMIN, [HEDGE, "moor"]), (BORIS, [HEDGE]),
            (BORIS_READS, [HEDGE]), (CARLA, ["moor"]),
        ):  # fmt: skip
            assert [each.id for each in await members.list_members(services, caller, image.id)] == seen
        # Others' membership looks like none, whatever is asked.
        for project in ("moor", "nobody", "", "x" * 300):
            await refused(NotFound, members.show(services, BORIS, image.id, project))
            await refused(NotFound, members.answer(services, BORIS, image.id, project, "accepted"))
            await refused(NotFound, members.remove(services, BORIS, image.id, project))
        await refused(NotFound, members.show(services, ANNA, image.id, "nobody"))
        await refused(NotFound, members.remove(services, ANNA, image.id, "nobody"))

    asyncio.run(scene())


def test_what_makes_no_member_is_refused(services: Services) -> None:
    async def scene() -> None:
        limited = replace(services, limits=Limits(members=2))
        image = await shared(limited, HEDGE)
        for project in ("", "x" * 256, "a\0b", ".", ".."):
            await refused(Invalid, members.add(limited, ANNA, image.id, project))
        await refused(Conflict, members.add(limited, ANNA, image.id, HEDGE))
        await members.add(limited, ANNA, image.id, "x" * 255)
        await refused(LimitExceeded, members.add(limited, ANNA, image.id, "one-too-many"))
        await refused(Conflict, members.add(limited, ANNA, image.id, HEDGE))
        assert len(await members.list_members(limited, ANNA, image.id)) == 2
        await refused(Invalid, members.answer(limited, BORIS, image.id, HEDGE, "perhaps"))

    asyncio.run(scene())


@pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.PUBLIC, Visibility.COMMUNITY])
def test_only_a_shared_image_has_members_and_they_are_back_when_it_is_shared_again(
    services: Services, visibility: Visibility
) -> None:
    async def scene() -> None:
        image = await shared(services, HEDGE)
        await members.answer(services, BORIS, image.id, HEDGE, "accepted")
        await become(services, image, visibility)
        await refused(Forbidden, members.list_members(services, ANNA, image.id))
        await refused(Forbidden, members.add(services, ANNA, image.id, "moor"))
        await refused(NotFound, members.show(services, ANNA, image.id, HEDGE))
        await refused(Forbidden, members.remove(services, ANNA, image.id, HEDGE))
        hidden = visibility is Visibility.PRIVATE
        await refused(NotFound if hidden else Forbidden, members.answer(services, BORIS, image.id, HEDGE, "rejected"))
        assert ("disk" in await names_listed(services, BORIS, ("visibility", "all"))) == (not hidden)
        if hidden:
            await refused(NotFound, images.show(services, BORIS, image.id))
        await become(services, image, Visibility.SHARED)
        assert (await members.show(services, BORIS, image.id, HEDGE)).status == "accepted"
        assert await names_listed(services, BORIS) == ["disk"]

    asyncio.run(scene())


@pytest.mark.parametrize("said", ["pending", "accepted", "rejected"])
def test_a_member_reads_the_image_by_its_id_whatever_it_said_and_changes_nothing(services: Services, said: str) -> None:
    async def scene() -> None:
        image = await shared(services, HEDGE)
        await members.answer(services, BORIS, image.id, HEDGE, said)
        assert (await images.show(services, BORIS, image.id)).id == image.id
        assert await bytes_of(services, image, caller=BORIS) == b"bytes"
        await images.show(services, BORIS_READS, image.id)
        await refused(Forbidden, image_data.download(services, BORIS_READS, image.id))
        await refused(Forbidden, images.delete(services, BORIS, image.id))
        assert await tasks.of_image(services, BORIS, image.id) == []
        child = await images.create(services, BORIS, replace(RAW, name="child", parent_image_ref=image.id))
        [descent] = (await lineage.list_lineage(services, BORIS, parse_query([("name", "child")]))).descents
        assert (descent.image.id, descent.parent_visible) == (child.id, True)
        # The child is Boris's, and nothing of Anna's: that the parent is there no more is all that is told of it.
        await members.remove(services, ANNA, image.id, HEDGE)
        [descent] = (await lineage.list_lineage(services, BORIS, parse_query([("name", "child")]))).descents
        assert descent.parent_visible is False
        await refused(Invalid, images.create(services, BORIS, replace(RAW, parent_image_ref=image.id)))
        await refused(NotFound, image_data.download(services, BORIS, image.id))

    asyncio.run(scene())


def test_who_sees_anothers_image_is_told_nothing_of_the_work_on_it(services: Services) -> None:
    async def scene() -> None:
        image = await shared(services, HEDGE)
        by = Requester(ANNA.user, "req-of-anna")
        task = image_task(HASH, image_id=image.id, owner="wall", by=by, at=services.clock())
        await services.database.write(lambda uow: uow.tasks.add(task))
        for visibility in (Visibility.SHARED, Visibility.COMMUNITY, Visibility.PUBLIC):
            await become(services, image, visibility)
            assert await tasks.of_image(services, BORIS, image.id) == []
            for caller in (ANNA, ADMIN):
                assert [each.id for each in await tasks.of_image(services, caller, image.id)] == [task.id]
            hidden = replace(ANNA, rules=policy.rules_with({"get_task": "!"}))
            assert await tasks.of_image(services, hidden, image.id) == [], "as in the list of tasks"

    asyncio.run(scene())


def test_a_list_has_what_the_project_has_accepted_or_what_is_asked_for(services: Services) -> None:
    async def scene() -> None:
        for said in ("pending", "accepted", "rejected"):
            image = await shared(services, HEDGE, name=said)
            await members.answer(services, BORIS, image.id, HEDGE, said)
        await images.create(services, BORIS, NewImage(name="own"))
        await images.create(services, BORIS, NewImage(name="own private", visibility=Visibility.PRIVATE))
        await shared(services, name="not shared with anybody")
        everything = {"pending", "accepted", "rejected"}
        own = {"own", "own private"}
        for pairs, listed in (
            ([], {"accepted"} | own),
            ([("member_status", "pending")], {"pending"} | own),
            ([("member_status", "rejected")], {"rejected"} | own),
            ([("member_status", "all")], everything | own),
            ([("visibility", "shared")], {"accepted", "own"}),
            ([("visibility", "shared"), ("member_status", "all")], everything | {"own"}),
            ([("visibility", "all"), ("member_status", "all")], everything | own),
            ([("visibility", "private"), ("member_status", "all")], {"own private"}),
            ([("visibility", "public"), ("member_status", "all")], set()),
            ([("owner", "wall"), ("member_status", "all")], everything),
        ):
            assert set(await names_listed(services, BORIS, *pairs)) == listed, pairs

    asyncio.run(scene())


def test_members_go_with_a_deleted_image_and_come_back_with_it(services: Services) -> None:
    async def scene() -> None:
        keeping = replace(services, keep_deleted=3600)
        image = await shared(keeping, HEDGE, "moor")
        said = await members.answer(keeping, BORIS, image.id, HEDGE, "accepted")
        await images.delete(keeping, ANNA, image.id)
        await refused(NotFound, images.show(keeping, BORIS, image.id))
        await refused(NotFound, undelete(keeping, BORIS, image.id))
        assert await names_listed(keeping, BORIS, ("member_status", "all")) == []
        await undelete(keeping, ANNA, image.id)
        assert await members.show(keeping, BORIS, image.id, HEDGE) == said
        assert await names_listed(keeping, BORIS) == ["disk"]
        assert (await images.show(keeping, ANNA, image.id)).members == {HEDGE, "moor"}

    asyncio.run(scene())


def test_members_survive_whatever_else_happens_to_the_image(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        await members.add(services, ANNA, made.id, HEDGE)
        await put(services, made, b"bytes")
        assert (await images.show(services, BORIS, made.id)).status == "active"

    asyncio.run(scene())
