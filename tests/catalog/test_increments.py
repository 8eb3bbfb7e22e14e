"""Images with a parent: what is inherited, who may inherit, and that nothing depends on the parent afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Invalid
from catalog.model.image import Status, Visibility
from catalog.model.manifest import ManifestState
from catalog.usecases import images
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, bytes_of, names_listed, one_of_each_visibility, put

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.manifest import Manifest
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

BLOCK = 65536
OLD = b"a" * BLOCK + b"b" * BLOCK + b"c" * 100
NEW = b"a" * BLOCK + b"B" * BLOCK + b"c" * 100
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def manifest_of(services: Services, image: Image) -> Manifest:
    name = image.locations[0].manifest
    assert name is not None
    found = await services.database.read(lambda uow: uow.manifests.get(name))
    assert found is not None
    return found


async def parent(services: Services, data: bytes = OLD) -> Image:
    return await put(services, await images.create(services, ANNA, RAW), data)


async def child(services: Services, of: str, data: bytes = NEW, *, caller: Caller = ANNA, **properties: str) -> Image:
    new = replace(RAW, name="child", parent_image_ref=of or None, properties=properties)
    return await put(services, await images.create(services, caller, new), data, caller=caller)


def set_status(image: Image, status: Status, uow: UnitOfWork) -> None:
    now = uow.images.get(image.id)
    assert now is not None
    before, now.status = now.status, status
    uow.images.save(now, expect=before)


def test_a_child_is_written_over_its_parents_manifest_and_reads_as_itself(services: Services) -> None:
    async def scene() -> None:
        old = await parent(services)
        made = await child(services, old.id.upper())
        below, above = await manifest_of(services, old), await manifest_of(services, made)
        assert (above.base, above.depth, above.listed) == (below.id, 1, BLOCK)
        assert (below.base, below.listed, old.changed_size) == (None, len(OLD), len(OLD))
        assert (made.parent_image_ref, made.changed_size, made.size) == (old.id, BLOCK, len(NEW))
        assert await bytes_of(services, made) == NEW
        shown = await images.show(services, ANNA, made.id)
        assert (shown.parent_image_ref, shown.changed_size) == (old.id, BLOCK)

    asyncio.run(scene())


def test_an_unknown_parent_and_one_that_may_not_be_read_are_refused_in_the_same_words(services: Services) -> None:
    async def scene() -> None:
        others = await one_of_each_visibility(services)
        for refused in (UNKNOWN, others["private"].id, others["shared"].id, "no id", "x" * 9999):
            with pytest.raises(Invalid) as told:
                await images.create(services, ANNA, replace(RAW, parent_image_ref=refused))
            assert str(told.value).replace(refused[:80], "") == (
                "Invalid parent_image_ref ''; it is the id of an image that you may read, or left out."
            )
        for taken in (others["public"].id, others["community"].id):
            assert (await images.create(services, ANNA, replace(RAW, parent_image_ref=taken))).parent == taken

    asyncio.run(scene())


@pytest.mark.parametrize("status", [Status.QUEUED, Status.DEACTIVATED])
def test_a_parent_that_is_not_active_is_lineage_only(services: Services, status: Status) -> None:
    async def scene() -> None:
        old = await images.create(services, ANNA, RAW)
        if status is not Status.QUEUED:
            await put(services, old, OLD)
            await services.database.write(lambda uow: set_status(old, status, uow))
        made = await child(services, old.id)
        assert (await manifest_of(services, made)).base is None
        assert (made.parent_image_ref, made.changed_size) == (old.id, len(NEW))
        assert await bytes_of(services, made) == NEW

    asyncio.run(scene())


def test_a_parent_that_goes_before_the_bytes_come_leaves_lineage_and_a_whole_manifest(services: Services) -> None:
    async def scene() -> None:
        old = await parent(services)
        made = await images.create(services, ANNA, replace(RAW, parent_image_ref=old.id))
        await images.delete(services, ANNA, old.id)
        made = await put(services, made, NEW)
        assert (made.parent_image_ref, (await manifest_of(services, made)).base) == (old.id, None)

    asyncio.run(scene())


@pytest.mark.parametrize("meanwhile", [True, False])
def test_a_parent_that_goes_while_the_bytes_come_or_later_is_still_read_from(
    services: Services, blocks: MemoryBlocks, *, meanwhile: bool
) -> None:
    async def scene() -> None:
        old = await parent(services)
        below = await manifest_of(services, old)

        async def state() -> ManifestState:
            found = await services.database.read(lambda uow: uow.manifests.get(below.id))
            assert found is not None
            return found.state

        async def delete(_pin: str) -> None:
            await images.delete(services, ANNA, old.id)
            assert await state() is ManifestState.LIVE

        blocks.at_end = delete if meanwhile else None
        made = await child(services, old.id)
        if not meanwhile:
            await images.delete(services, ANNA, old.id)
        assert (await manifest_of(services, made)).base == below.id
        assert await state() is ManifestState.LIVE
        assert await bytes_of(services, made) == NEW
        await images.delete(services, ANNA, made.id)
        assert await state() is ManifestState.RETIRED

    asyncio.run(scene())


def test_whoever_may_no_longer_read_the_parent_inherits_nothing_from_it(services: Services) -> None:
    """How much was inherited would tell which of the bytes sent are the parent's."""

    async def scene() -> None:
        old = await put(services, (await one_of_each_visibility(services))["community"], OLD, caller=BORIS)
        made = await images.create(services, ANNA, replace(RAW, parent_image_ref=old.id))

        def withdraw(uow: UnitOfWork) -> None:
            now = uow.images.get(old.id)
            assert now is not None
            now.visibility = Visibility.PRIVATE
            uow.images.save(now, expect=Status.ACTIVE)

        await services.database.write(withdraw)
        made = await put(services, made, OLD)
        assert (await manifest_of(services, made)).base is None
        assert made.changed_size == len(OLD)

    asyncio.run(scene())


def test_novas_property_is_lineage_and_a_base_and_never_a_reason_to_fail(services: Services) -> None:
    async def scene() -> None:
        old = await parent(services)
        foreign = await put(services, (await one_of_each_visibility(services))["private"], OLD, caller=BORIS)
        made = await child(services, "", base_image_ref=old.id)
        assert (made.parent, made.parent_image_ref) == (old.id, None)
        assert (await manifest_of(services, made)).base == (await manifest_of(services, old)).id
        for useless in (UNKNOWN, foreign.id, "no id", ""):
            made = await child(services, "", base_image_ref=useless)
            assert ((await manifest_of(services, made)).base, made.changed_size) == (None, len(NEW))
        assert made.parent is None
        named = await child(services, old.id, base_image_ref=foreign.id)
        assert named.parent == old.id

    asyncio.run(scene())


def test_an_admin_who_uploads_for_others_makes_them_know_nothing_of_what_they_cannot_see(services: Services) -> None:
    async def scene() -> None:
        foreign = await put(services, (await one_of_each_visibility(services))["private"], OLD, caller=BORIS)
        for of, inherited in ((foreign, False), (await parent(services), True)):
            new = replace(RAW, name="child", properties={"base_image_ref": of.id})
            made = await put(services, await images.create(services, ANNA, new), NEW, caller=ADMIN)
            assert ((await manifest_of(services, made)).base is not None) is inherited
            assert made.changed_size == (BLOCK if inherited else len(NEW))

    asyncio.run(scene())


def test_a_child_that_is_cut_otherwise_is_whole(services: Services) -> None:
    async def scene() -> None:
        old = await parent(services)
        for cutting in ("fixed:4KiB", "content-defined"):
            made = await child(services, old.id, drystone_cutting=cutting)
            assert (await manifest_of(services, made)).base is None
            assert (made.parent_image_ref, await bytes_of(services, made)) == (old.id, NEW)

    asyncio.run(scene())


def test_children_are_listed_by_their_parent_as_far_as_the_caller_may_see_them(services: Services) -> None:
    async def scene() -> None:
        old = await put(services, (await one_of_each_visibility(services))["public"], OLD, caller=BORIS)
        for number in range(3):
            new = replace(RAW, name=f"anna's {number}", parent_image_ref=old.id)
            await images.create(services, ANNA, new)
        await images.create(services, BORIS, replace(RAW, name="boris's", parent_image_ref=old.id))
        await images.create(services, ANNA, RAW)
        anna = ["anna's 2", "anna's 1", "anna's 0"]
        assert await names_listed(services, ANNA, ("parent_image_ref", old.id.upper())) == anna
        page = [("parent_image_ref", old.id), ("limit", "2")]
        assert await names_listed(services, ANNA, *page) == anna[:2]
        assert await names_listed(services, BORIS, ("parent_image_ref", old.id)) == ["boris's"]
        assert len(await names_listed(services, ADMIN, ("parent_image_ref", old.id))) == 4
        assert await names_listed(services, ANNA, ("parent_image_ref", UNKNOWN)) == []

    asyncio.run(scene())
