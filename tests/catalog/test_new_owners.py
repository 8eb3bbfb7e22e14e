"""An image that an admin gives to another project: what the new owner is, and what it learns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.usecases import changing, image_data, images, members, tasks
from catalog.usecases.coalescing import coalesce
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, put
from tests.catalog.changes import made, put_
from tests.kit.pieces_source import PiecesSource
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.usecases.services import Services


def test_a_new_owner_is_no_member_of_its_image_and_learns_nothing_of_a_parent_that_it_does_not_see(
    services: Services,
) -> None:
    async def scene() -> None:
        secret = await put(services, await made(services), b"secret")
        for parent, told in ((secret.id, False), (None, True)):
            child = await images.create(services, ANNA, replace(RAW, parent_image_ref=parent))
            child = await put(services, child, b"secreT")
            for project in (BORIS.project, "moor"):
                await members.add(services, ANNA, child.id, project)
            await changing.change(services, ADMIN, child.id, [put_("owner", BORIS.project)])
            given = await images.show(services, BORIS, child.id)
            assert (given.owner, set(given.members)) == (BORIS.project, {"moor"})
            assert [each.id for each in await members.list_members(services, BORIS, child.id)] == ["moor"]
            assert (given.changed_size is not None) is told
        # Where it sees the parent, there is nothing to hide; and who stays the owner keeps what it knew.
        child = await put(services, await images.create(services, ANNA, replace(RAW, parent_image_ref=secret.id)), b"x")
        await changing.change(services, ADMIN, child.id, [put_("owner", ANNA.project), put_("name", "same")])
        await members.add(services, ANNA, secret.id, BORIS.project)
        await changing.change(services, ADMIN, child.id, [put_("owner", BORIS.project)])
        assert (await images.show(services, BORIS, child.id)).changed_size == 1

    asyncio.run(scene())


def test_an_owner_that_comes_during_an_upload_learns_nothing_of_such_a_parent_either(services: Services) -> None:
    async def scene() -> None:
        secret = await put(services, await made(services), b"secret")
        for owner in (ANNA.project, BORIS.project):
            child = await images.create(services, ANNA, replace(RAW, parent_image_ref=secret.id))

            async def pieces(image_id: str = child.id, taker: str = owner) -> AsyncIterator[bytes]:
                yield b"sec"
                await changing.change(services, ADMIN, image_id, [put_("owner", taker)])
                yield b"reT"

            source = PiecesSource(pieces())
            child = await image_data.upload(services, ANNA, child.id, source, expected=6)
            assert (child.owner, child.changed_size) == (owner, 6 if owner == ANNA.project else None)

    asyncio.run(scene())


def test_a_new_owner_who_asks_for_a_whole_manifest_is_told_of_no_task_of_the_old_ones(services: Services) -> None:
    async def scene() -> None:
        for quiet in (False, True):
            image = await put(services, await made(services), b"bytes")
            theirs = await coalesce(services, ANNA, image.id, request_id="req-anna")
            if quiet:
                await until_quiet(services)
            await changing.change(services, ADMIN, image.id, [put_("owner", BORIS.project)])
            own = await coalesce(services, BORIS, image.id)
            assert own.id != theirs.id
            assert (own.owner, own.user, own.request_id) == (BORIS.project, BORIS.user, None)
            assert await tasks.show(services, BORIS, own.id) == own
            assert (await coalesce(services, BORIS, image.id)).id == own.id

    asyncio.run(scene())
