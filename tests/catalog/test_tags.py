"""Tags, one at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.limits import Limits
from catalog.model.errors import Forbidden, Invalid, LimitExceeded, NotFound
from catalog.usecases import images, tags
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, names_listed, one_of_each_visibility

if TYPE_CHECKING:
    from catalog.usecases.services import Services


def test_a_tag_is_put_on_once_and_taken_off(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, replace(RAW, tags=frozenset({"old"})))
        await tags.add(services, ANNA, image.id, "a/b é")
        tagged = await images.show(services, ANNA, image.id)
        assert tagged.tags == frozenset({"old", "a/b é"})
        assert tagged.updated_at > image.updated_at
        await tags.add(services, ANNA, image.id.upper(), "a/b é")
        assert await images.show(services, ANNA, image.id) == tagged
        assert await names_listed(services, ANNA, ("tag", "a/b é")) == ["disk"]
        await tags.remove(services, ANNA, image.id, "old")
        assert (await images.show(services, ANNA, image.id)).tags == frozenset({"a/b é"})
        for gone in ("old", "A/B é", "t" * 9000):
            with pytest.raises(NotFound, match="no tag"):
                await tags.remove(services, ANNA, image.id, gone)

    asyncio.run(scene())


def test_a_tag_is_bounded_in_length_and_number(services: Services) -> None:
    async def scene() -> None:
        tight = replace(services, limits=Limits(tags=1))
        image = await images.create(tight, ANNA, RAW)
        for bad in ("t" * 256, "a\0b", "\ud800", ".", ".."):
            with pytest.raises(Invalid):
                await tags.add(tight, ANNA, image.id, bad)
        await tags.add(tight, ANNA, image.id, "t" * 255)
        with pytest.raises(LimitExceeded, match="2 tags"):
            await tags.add(tight, ANNA, image.id, "one more")
        await tags.add(tight, ANNA, image.id, "t" * 255)

    asyncio.run(scene())


def test_tags_put_on_at_once_are_all_there(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        wanted = {f"t{number}" for number in range(30)}
        await asyncio.gather(*(tags.add(services, ANNA, image.id, tag) for tag in wanted))
        assert (await images.show(services, ANNA, image.id)).tags == wanted

    asyncio.run(scene())


def test_whoever_may_change_an_image_tags_it(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        for act in (tags.add, tags.remove):
            with pytest.raises(Forbidden):
                await act(services, READER, image.id, "t")
            with pytest.raises(NotFound, match="No image"):
                await act(services, BORIS, image.id, "t")
            await act(services, ADMIN, image.id, "t")
            for visibility, other in (await one_of_each_visibility(services)).items():
                with pytest.raises(Forbidden if visibility in {"public", "community"} else NotFound):
                    await act(services, ANNA, other.id, "t")

    asyncio.run(scene())
