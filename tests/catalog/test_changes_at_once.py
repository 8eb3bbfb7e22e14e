"""An image that is changed while something else is done with it: by two requests, two servers, or while bytes come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Conflict, Forbidden
from catalog.model.image import Status
from catalog.sql.open import open_catalog
from catalog.usecases import changing, image_data, images
from tests.catalog.cast import ANNA, bytes_of
from tests.catalog.changes import made, put_, removed, replaced
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services


def test_two_changes_at_once_are_both_made(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        steps = [put_(f"key{number}", "v") for number in range(40)]
        await asyncio.gather(*(changing.change(services, ANNA, image.id, [each]) for each in steps))
        found = await images.show(services, ANNA, image.id)
        assert found.properties == {f"key{number}": "v" for number in range(40)}

    asyncio.run(scene())


def test_changes_by_two_servers_at_once_are_all_made(services: Services, tmp_path: Path) -> None:
    async def scene() -> None:
        image = await made(services, shared="0")
        other = replace(services, database=second)
        steps = [put_(f"key{number}", "v") for number in range(30)]
        await asyncio.gather(
            *(
                changing.change((services, other)[number % 2], ANNA, image.id, [each])
                for number, each in enumerate(steps)
            )
        )
        found = await images.show(services, ANNA, image.id)
        assert found.properties == {"shared": "0"} | {each.name: "v" for each in steps}

    second = open_catalog(tmp_path / "catalog.sqlite")
    try:
        asyncio.run(scene())
    finally:
        second.close()


def test_a_change_while_bytes_come_in_is_kept_and_harms_no_commit(services: Services) -> None:
    async def scene() -> None:
        image = await made(services, os="linux", arch="x86")
        seen: list[Status] = []

        async def slow() -> AsyncIterator[bytes]:
            yield b"by"
            steps = [replaced("os", "bsd"), removed("arch"), put_("name", "new"), put_("tags", ["t"])]
            seen.append((await changing.change(services, ANNA, image.id, steps)).status)
            with pytest.raises(Forbidden):
                await changing.change(services, ANNA, image.id, [put_("disk_format", "iso")])
            yield b"tes"

        done = await image_data.upload(services, ANNA, image.id, PiecesSource(slow()), expected=None)
        assert (seen, done.status) == ([Status.SAVING], Status.ACTIVE)
        found = await images.show(services, ANNA, image.id)
        assert (found.properties, found.name, found.tags) == ({"os": "bsd"}, "new", frozenset({"t"}))
        assert await bytes_of(services, found) == b"bytes"

    asyncio.run(scene())


def test_a_change_survives_an_upload_that_is_given_up(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)

        async def broken() -> AsyncIterator[bytes]:
            yield b"by"
            await changing.change(services, ANNA, image.id, [put_("name", "new")])
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            await image_data.upload(services, ANNA, image.id, PiecesSource(broken()), expected=None)
        found = await images.show(services, ANNA, image.id)
        assert (found.name, found.status) == ("new", Status.QUEUED)

    asyncio.run(scene())


def test_what_was_read_before_another_change_is_not_written_over_it(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        image = await made(services)
        before = await images.show(services, ANNA, image.id)
        await changing.change(services, ANNA, image.id, [put_("name", "first")])
        late = replace(before, name="second")
        with pytest.raises(Conflict, match="another request"):
            await database.write(lambda uow: uow.images.change(before, late))
        assert (await images.show(services, ANNA, image.id)).name == "first"

    asyncio.run(scene())
