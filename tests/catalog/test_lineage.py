from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from catalog.model.errors import Forbidden
from catalog.model.image import Visibility
from catalog.usecases import images
from catalog.usecases.lineage import list_lineage
from catalog.usecases.queries import parse_query
from tests.catalog.cast import ADMIN, ANNA, BORIS, NOBODY, RAW, READER, put

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services

HEDGES_ADMIN = Caller("root", "hedge", frozenset({"admin"}))
BLOCK = 65536


async def told(
    services: Services, caller: Caller, *pairs: tuple[str, str]
) -> dict[str | None, tuple[bool | None, int | None]]:
    page = await list_lineage(services, caller, parse_query([*pairs]))
    assert not page.more
    return {each.image.name: (each.parent_visible, each.changed_size) for each in page.descents}


async def made(services: Services, caller: Caller, data: bytes, **attributes: object) -> Image:
    new = replace(RAW, **attributes)  # type: ignore[arg-type]
    return await put(services, await images.create(services, caller, new), data, caller=caller)


def test_an_image_is_told_with_its_parent_and_what_it_changed(services: Services) -> None:
    async def scene() -> None:
        old = await made(services, ANNA, b"a" * 3 * BLOCK, name="old")
        await made(services, ANNA, b"b" + b"a" * (3 * BLOCK - 1), name="new", parent_image_ref=old.id)
        await images.create(services, ANNA, replace(RAW, name="queued", parent_image_ref=old.id))
        for caller in (ANNA, READER, ADMIN):
            assert await told(services, caller) == {
                "old": (None, 3 * BLOCK),
                "new": (True, BLOCK),
                "queued": (True, None),
            }
        assert await told(services, ANNA, ("parent_image_ref", old.id), ("status", "active")) == {"new": (True, BLOCK)}
        assert await told(services, BORIS) == {}
        with pytest.raises(Forbidden):
            await told(services, NOBODY)

    asyncio.run(scene())


def test_what_a_child_changed_is_told_to_whoever_sees_the_parent_and_to_its_owner(services: Services) -> None:
    """It says how much of a public image is the same in one that is not."""

    async def scene() -> None:
        old = await made(services, HEDGES_ADMIN, b"a" * 3 * BLOCK, name="old", visibility=Visibility.PRIVATE)
        await made(
            services, HEDGES_ADMIN, b"a" * 3 * BLOCK, name="new", parent_image_ref=old.id, visibility=Visibility.PUBLIC
        )
        assert (await told(services, ANNA))["new"] == (False, None)
        assert (await told(services, BORIS))["new"] == (True, 0)
        await images.delete(services, ADMIN, old.id)
        assert (await told(services, ANNA))["new"] == (False, None), "a parent that is gone looks the same"
        assert (await told(services, BORIS))["new"] == (False, 0)
        assert (await told(services, ADMIN))["new"] == (False, 0)

    asyncio.run(scene())


def test_a_page_has_the_lineage_of_its_images(services: Services) -> None:
    async def scene() -> None:
        parent = None
        for number in range(5):
            image = await images.create(services, ANNA, replace(RAW, name=f"v{number}", parent_image_ref=parent))
            parent = image.id
        first = await list_lineage(services, ANNA, parse_query([("limit", "2")]))
        assert ([each.image.name for each in first.descents], first.more) == (["v4", "v3"], True)
        rest = await told(services, ANNA, ("marker", first.descents[-1].image.id))
        assert rest == {"v2": (True, None), "v1": (True, None), "v0": (None, None)}

    asyncio.run(scene())
