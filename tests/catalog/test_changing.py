"""Changing what is said of an image: what each change does, who may, and what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from catalog.limits import Limits
from catalog.model.change import Act, Change
from catalog.model.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    ReadOnlyAttribute,
    ReservedAttribute,
)
from catalog.model.image import Status, Visibility
from catalog.usecases import changing, images
from catalog.usecases.attributes import ONLY_AT_CREATION, READ_ONLY, RESERVED, typed_change
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, bytes_of, one_of_each_visibility, put
from tests.catalog.changes import made, put_, removed, replaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services


def refused(
    services: Services, error: type[Exception], changes: Sequence[Change], *, caller: Caller = ANNA, match: str = "."
) -> None:
    """A new image takes none of these changes, and is as it was."""

    async def scene() -> None:
        image = await made(services, os="linux")
        with pytest.raises(error, match=match):
            await changing.change(services, caller, image.id, [put_("first", "is taken back"), *changes])
        assert await images.show(services, ANNA, image.id) == image

    asyncio.run(scene())


def test_attributes_and_properties_change_and_the_rest_stays(services: Services) -> None:
    async def scene() -> None:
        image = await made(services, os="linux", arch="x86", empty="")
        changed = await changing.change(
            services,
            ANNA,
            image.id,
            [
                put_("name", "new – näme"), replaced("min_disk", 7), put_("tags", ["b", "a", "b"]),
                replaced("os", "bsd"), removed("arch"), Change(Act.ADD, "a/~b", ""), put_("visibility", "community"),
                put_("protected", True),
                put_("os_hidden", True), put_("disk_format", "iso"),
            ],
        )  # fmt: skip
        assert changed == replace(
            image,
            name="new – näme",
            min_disk=7,
            tags=frozenset({"a", "b"}),
            properties={"os": "bsd", "a/~b": "", "empty": ""},
            visibility=Visibility.COMMUNITY,
            protected=True,
            os_hidden=True,
            disk_format="iso",
            updated_at=changed.updated_at,
        )
        assert changed.updated_at > image.updated_at
        assert await images.show(services, ANNA, image.id) == changed

    asyncio.run(scene())


def test_each_change_sees_what_the_one_before_left(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        steps = [put_("a", "1"), replaced("a", "2"), removed("a"), Change(Act.ADD, "a", "3")]
        assert (await changing.change(services, ANNA, image.id, steps)).properties == {"a": "3"}

    asyncio.run(scene())


def test_what_changes_nothing_leaves_the_time_of_the_last_change(services: Services) -> None:
    async def scene() -> None:
        image = await made(services, os="linux")
        for steps in ([], [put_("os", "linux"), put_("name", "disk")], [put_("x", "1"), removed("x")]):
            assert await changing.change(services, ANNA, image.id, steps) == image

    asyncio.run(scene())


@pytest.mark.parametrize("key", sorted(READ_ONLY | ONLY_AT_CREATION))
def test_what_the_service_says_of_an_image_is_read_only(key: str) -> None:
    for act in Act:
        with pytest.raises(ReadOnlyAttribute, match=f"'{key}' is read-only"):
            typed_change(Change(act, key, "x"))


@pytest.mark.parametrize("key", [*sorted(RESERVED), "os_glance_import_task"])
def test_reserved_names_are_refused_in_every_act(key: str) -> None:
    for act in Act:
        with pytest.raises(ReservedAttribute, match=f"'{key}' is reserved"):
            typed_change(Change(act, key, "x"))


def test_a_base_attribute_is_always_there(services: Services) -> None:
    refused(services, Forbidden, [removed("name")], match="'name' cannot be removed")
    refused(services, Forbidden, [removed("tags")])
    refused(services, Conflict, [Change(Act.ADD, "min_ram", 1)], match="min_ram already exists")


def test_a_property_must_be_there_or_must_not(services: Services) -> None:
    refused(services, Conflict, [replaced("no", "x")], match="no does not exist")
    refused(services, Conflict, [removed("no")], match="no does not exist")
    refused(services, Conflict, [removed("os"), removed("os")])
    refused(services, Conflict, [Change(Act.ADD, "os", "x")], match="os already exists")


def test_a_value_that_cannot_be_is_invalid(services: Services) -> None:
    async def scene() -> None:
        image = await made(services, os="linux")
        for key, value in (
            ("name", 7), ("name", "n" * 256), ("name", "\ud800"), ("visibility", "nobody"), ("visibility", None),
            ("protected", "true"), ("min_disk", -1), ("min_disk", True), ("min_ram", 2**31), ("tags", "a"),
            ("tags", [1]), ("tags", ["t" * 256]), ("disk_format", "floppy"), ("container_format", "box"), ("os", None),
            ("os", 7), ("k" * 256, "v"), ("os", "v" * 65536), ("kernel_id", "x"), ("ramdisk_id", 7),
            ("drystone_cutting", "finely"),
        ):  # fmt: skip
            with pytest.raises(Invalid):
                await changing.change(services, ANNA, image.id, [put_("first", "is taken back"), put_(key, value)])
        assert await images.show(services, ANNA, image.id) == image

    asyncio.run(scene())


def test_a_wish_for_cutting_is_taken_as_at_creation(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        changed = await changing.change(services, ANNA, image.id, [put_("drystone_cutting", "content-defined")])
        assert changed.properties == {"drystone_cutting": "content-defined"}

    asyncio.run(scene())


def test_the_ids_of_kernel_and_ramdisk_are_ids_or_nothing(services: Services) -> None:
    async def scene() -> None:
        image = await made(services)
        steps = [put_("kernel_id", image.id), put_("ramdisk_id", None)]
        assert (await changing.change(services, ANNA, image.id, steps)).properties == {"kernel_id": image.id}
        with pytest.raises(Conflict):
            await changing.change(services, ANNA, image.id, [replaced("ramdisk_id", None)])
        assert not (await changing.change(services, ANNA, image.id, [replaced("kernel_id", None)])).properties

    asyncio.run(scene())


def test_only_admins_make_images_public_or_give_them_away(services: Services) -> None:
    refused(services, Forbidden, [put_("visibility", "public")], match="public")
    refused(services, Forbidden, [put_("owner", "hedge")], match="owner")
    refused(services, Forbidden, [put_("owner", "wall")], match="owner")

    async def scene() -> None:
        image = await made(services)
        steps = [put_("owner", "hedge"), put_("visibility", "public")]
        given = await changing.change(services, ADMIN, image.id, steps)
        assert (given.owner, given.visibility) == ("hedge", Visibility.PUBLIC)
        with pytest.raises(Forbidden):
            await changing.change(services, ANNA, image.id, [put_("name", "still mine")])
        # Who owns it may change the rest of a public image, and may hide it again.
        await changing.change(services, BORIS, image.id, [put_("name", "mine"), put_("visibility", "private")])
        with pytest.raises(NotFound):
            await changing.change(services, ANNA, image.id, [put_("name", "gone")])

    asyncio.run(scene())


def test_what_is_invisible_is_not_found_and_what_is_anothers_is_not_changed(services: Services) -> None:
    async def scene() -> None:
        there = await one_of_each_visibility(services)
        for visibility, image in there.items():
            error = Forbidden if visibility in {"public", "community"} else NotFound
            for steps in ([], [put_("name", "mine")]):
                with pytest.raises(error):
                    await changing.change(services, ANNA, image.id, steps)
        mine = await made(services)
        with pytest.raises(Forbidden):
            await changing.change(services, READER, mine.id, [put_("name", "read")])

    asyncio.run(scene())


def test_a_protected_image_can_be_changed_and_then_deleted(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, replace(RAW, protected=True))
        with pytest.raises(Forbidden):
            await images.delete(services, ANNA, image.id)
        await changing.change(services, ANNA, image.id, [put_("protected", False)])
        await images.delete(services, ANNA, image.id)

    asyncio.run(scene())


def test_limits_hold_for_what_an_image_becomes(services: Services) -> None:
    tight = replace(services, limits=Limits(properties=2, tags=1, text_bytes=40, changes=4))
    refused(tight, LimitExceeded, [put_("b", ""), put_("c", "")], match="properties")
    refused(tight, LimitExceeded, [put_("tags", ["a", "b"])], match="tags")
    refused(tight, LimitExceeded, [put_("os", "v" * 40)], match="bytes")
    refused(tight, LimitExceeded, [put_("name", str(number)) for number in range(4)], match="5 changes")


def test_an_image_from_before_a_limit_may_change_and_shrink_and_not_grow(services: Services) -> None:
    async def scene() -> None:
        new = replace(RAW, properties={"a": "1", "b": "2", "c": "3"}, tags=frozenset("xyz"))
        image = await images.create(services, ANNA, new)
        tight = replace(services, limits=Limits(properties=1, tags=1, text_bytes=4))
        await changing.change(tight, ANNA, image.id, [put_("a", "4")])
        await changing.change(tight, ANNA, image.id, [removed("c"), put_("tags", ["x", "y"])])
        for steps in ([put_("d", "")], [put_("tags", ["x", "y", "z"])], [put_("a", "longer")]):
            with pytest.raises(LimitExceeded):
                await changing.change(tight, ANNA, image.id, steps)

    asyncio.run(scene())


def test_formats_are_fixed_once_bytes_come(services: Services) -> None:
    async def scene() -> None:
        image = await put(services, await made(services), b"bytes")
        for name in ("disk_format", "container_format"):
            with pytest.raises(Forbidden, match=f"'{name}' can be replaced only while an image is queued"):
                await changing.change(services, ANNA, image.id, [replaced(name, None)])
        changed = await changing.change(services, ANNA, image.id, [put_("name", "other"), put_("os", "linux")])
        assert (changed.status, changed.size, changed.locations) == (Status.ACTIVE, 5, image.locations)
        assert await bytes_of(services, image) == b"bytes"

    asyncio.run(scene())


def test_a_change_costs_a_handful_of_statements_however_much_the_image_has(
    services: Services, database: SqlDatabase
) -> None:
    statements: list[str] = []

    @event.listens_for(database._writing, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append(f"{statement} {parameters}")

    async def scene() -> None:
        image = await made(services, **{f"key{number}": f"value{number}" for number in range(100)})
        statements.clear()
        await changing.change(services, ANNA, image.id, [put_("key7", "new"), put_("name", "new")])

    asyncio.run(scene())
    written = [each for each in statements if not each.startswith(("SELECT", "BEGIN", "SAVEPOINT", "RELEASE"))]
    assert len([each for each in statements if each.startswith("SELECT")]) == 1
    assert [each.split()[0] for each in written] == ["UPDATE", "DELETE", "INSERT"]
    assert "key8" not in "".join(written)
