from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.limits import Limits
from catalog.model.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, SizeMismatch
from catalog.model.image import Status, Visibility
from catalog.model.manifest import ManifestState
from catalog.model.new_image import NewImage
from catalog.usecases import image_data, images
from tests.catalog.cast import (
    ADMIN,
    ANNA,
    BORIS,
    NOBODY,
    RAW,
    READER,
    bytes_of,
    names_listed,
    one_of_each_visibility,
    put,
    stream,
)

if TYPE_CHECKING:
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

ID = "6e0acd3c-0001-4fff-8fff-0123456789ab"


def test_a_created_image_is_shown_as_it_was_made(services: Services) -> None:
    async def scene() -> None:
        new = NewImage(
            id=ID,
            name="disk – naïve",
            visibility=Visibility.PRIVATE,
            protected=True,
            os_hidden=True,
            disk_format="qcow2",
            container_format="bare",
            min_disk=3,
            min_ram=512,
            properties={"trait:X": "", "owner_specified.openstack.md5": "é"},
            tags=frozenset({"a", "b"}),
        )
        made = await images.create(services, ANNA, new)
        assert (made.id, made.owner, made.status) == (ID, "wall", Status.QUEUED)
        assert made.created_at == made.updated_at
        assert await images.show(services, ANNA, ID) == made

    asyncio.run(scene())


def test_defaults_are_the_callers_project_a_new_id_and_shared(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, NewImage())
        assert uuid.UUID(made.id).version == 4
        assert (made.owner, made.visibility, made.size, made.upload) == ("wall", Visibility.SHARED, None, None)

    asyncio.run(scene())


def test_an_id_is_taken_once_and_for_ever(services: Services) -> None:
    async def scene() -> None:
        await images.create(services, ANNA, replace(RAW, id=ID))
        with pytest.raises(Conflict, match="never used again"):
            await images.create(services, ANNA, replace(RAW, id=ID))
        await images.delete(services, ANNA, ID)
        with pytest.raises(Conflict, match="never used again"):
            await images.create(services, ANNA, replace(RAW, id=ID))

    asyncio.run(scene())


def test_ids_that_differ_in_case_alone_are_one_image(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, replace(RAW, id=ID.upper()))
        assert made.id == ID
        with pytest.raises(Conflict, match="never used again"):
            await images.create(services, ANNA, replace(RAW, id=ID))
        assert await images.show(services, ANNA, ID.upper()) == made
        assert await names_listed(services, ANNA, ("id", ID.upper())) == ["disk"]
        assert await names_listed(services, ANNA, ("id", f"in:{ID.upper()}")) == ["disk"]
        assert await names_listed(services, ANNA, ("marker", ID.upper())) == []
        shouted = replace(made, id=ID.upper())
        assert (await put(services, shouted, b"bytes")).id == ID
        assert await bytes_of(services, shouted) == b"bytes"
        await images.delete(services, ANNA, ID.upper())
        for spelling in (ID, ID.upper()):
            with pytest.raises(Conflict, match="never used again"):
                await images.create(services, ANNA, replace(RAW, id=spelling))

    asyncio.run(scene())


def test_an_upload_that_named_its_image_in_capitals_can_be_given_up(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, replace(RAW, id=ID))
        with pytest.raises(SizeMismatch):
            await image_data.upload(services, ANNA, ID.upper(), stream(b"short"), expected=9)
        assert (await images.show(services, ANNA, made.id)).status is Status.QUEUED

    asyncio.run(scene())


@pytest.mark.parametrize("bad", ["", "disk", f"{ID}0", ID.replace("-", "")])
def test_an_id_that_is_no_uuid_is_invalid(services: Services, bad: str) -> None:
    with pytest.raises(Invalid, match="UUID"):
        asyncio.run(images.create(services, ANNA, NewImage(id=bad)))


def test_who_may_create_what(services: Services) -> None:
    async def scene() -> None:
        for caller, new in (
            (READER, NewImage()),
            (NOBODY, NewImage()),
            (ANNA, NewImage(owner="hedge")),
            (ANNA, NewImage(visibility=Visibility.PUBLIC)),
        ):
            with pytest.raises(Forbidden):
                await images.create(services, caller, new)
        made = await images.create(services, ADMIN, NewImage(owner="hedge", visibility=Visibility.PUBLIC))
        assert made.owner == "hedge"
        await images.create(services, ANNA, NewImage(visibility=Visibility.COMMUNITY))

    asyncio.run(scene())


def test_limits_hold_at_creation(services: Services) -> None:
    tight = replace(services, limits=Limits(tags=1, disk_formats=frozenset({"raw"})))
    with pytest.raises(LimitExceeded):
        asyncio.run(images.create(tight, ANNA, NewImage(tags=frozenset({"a", "b"}))))
    with pytest.raises(Invalid, match="disk_format"):
        asyncio.run(images.create(tight, ANNA, NewImage(disk_format="qcow2")))


@pytest.mark.parametrize("unknown", [ID, "disk", "", "\ud800", "a\0b", "x" * 9000])
def test_an_unknown_image_is_not_found_whatever_its_id_looks_like(services: Services, unknown: str) -> None:
    async def scene() -> None:
        with pytest.raises(NotFound):
            await images.show(services, ANNA, unknown)
        with pytest.raises(NotFound):
            await images.delete(services, ANNA, unknown)

    asyncio.run(scene())


def test_what_others_do_not_show_is_not_found_and_what_they_show_is_not_changed(services: Services) -> None:
    async def scene() -> None:
        made = await one_of_each_visibility(services)
        for name in ("private", "shared"):
            with pytest.raises(NotFound):
                await images.show(services, ANNA, made[name].id)
            with pytest.raises(NotFound):
                await images.delete(services, ANNA, made[name].id)
        for name in ("public", "community"):
            await images.show(services, ANNA, made[name].id)
            with pytest.raises(Forbidden):
                await images.delete(services, ANNA, made[name].id)
        for image in made.values():
            await images.delete(services, BORIS, image.id)

    asyncio.run(scene())


def test_a_deleted_image_is_gone_and_a_second_deletion_finds_nothing(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        await images.delete(services, ANNA, made.id)
        for act in (images.show, images.delete):
            with pytest.raises(NotFound):
                await act(services, ANNA, made.id)

    asyncio.run(scene())


def test_a_protected_image_stays(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, replace(RAW, protected=True))
        with pytest.raises(Forbidden, match="protected"):
            await images.delete(services, ANNA, made.id)
        assert await images.show(services, ANNA, made.id) == made

    asyncio.run(scene())


def test_deleting_an_image_retires_its_manifest_and_no_other(
    services: Services, database: SqlDatabase, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        first, second = [await images.create(services, ANNA, RAW) for _ in range(2)]
        first, second = await put(services, first, b"same"), await put(services, second, b"same")
        await images.delete(services, ANNA, first.id)
        states = [await _state(database, image.locations[0].manifest) for image in (first, second)]
        assert states == [ManifestState.RETIRED, ManifestState.LIVE]
        assert await bytes_of(services, second) == b"same"

    asyncio.run(scene())


async def _state(database: SqlDatabase, manifest: str | None) -> ManifestState:
    assert manifest is not None
    found = await database.read(lambda uow: uow.manifests.get(manifest))
    assert found is not None
    return found.state
