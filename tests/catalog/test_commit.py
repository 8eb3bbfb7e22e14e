"""Begin, commit and abandon, in every order that a crash, a sweep or a slow client can bring about."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from catalog.model.errors import Conflict, Gone
from catalog.model.image import Status, Upload
from catalog.model.manifest import Manifest, ManifestState
from catalog.model.pin import UploadKind
from catalog.ports import Written
from catalog.usecases import images, uploads
from tests.catalog.cast import ANNA, RAW

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


def written(manifest: str, *, base: str | None = None) -> Written:
    hashes = {"md5": hashlib.md5(b"x").hexdigest(), "sha512": hashlib.sha512(b"x").hexdigest()}
    return Written(manifest, b"d" * 32, 0 if base is None else 1, 1, hashes, 1, 1, 0, 0, base)


async def begin(services: Services, image: Image, upload_id: str, *, bases: tuple[str, ...] = ()) -> None:
    upload = Upload(upload_id, UploadKind.STREAM, services.blocks.process)
    await services.database.write(
        lambda uow: uploads.begin(uow, ANNA, image.id, upload, at=services.clock(), bases=bases)
    )


async def commit(services: Services, image: Image, upload_id: str, *, base: str | None = None) -> Image:
    work = uploads.Commit(image.id, upload_id, written(f"m-{upload_id}", base=base), "store", "sha512")
    return await services.database.write(lambda uow: uploads.commit(uow, work, at=services.clock()))


async def abandon(services: Services, image: Image, upload_id: str) -> bool:
    return await services.database.write(lambda uow: uploads.abandon(uow, image.id, upload_id, at=services.clock()))


async def manifest_state(services: Services, name: str) -> ManifestState | None:
    found = await services.database.read(lambda uow: uow.manifests.get(name))
    return None if found is None else found.state


async def status(services: Services, image: Image) -> Status:
    return (await images.show(services, ANNA, image.id)).status


def test_the_pin_stands_from_begin_to_commit(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        [pin] = await services.database.read(lambda uow: uow.pins.of_image(image.id))
        assert (pin.id, pin.upload_id, pin.owner, pin.process) == ("a", "a", "wall", services.blocks.process)
        assert (pin.kind, pin.expires_at) == (UploadKind.STREAM, None)
        await commit(services, image, "a")
        assert not await services.database.read(lambda uow: uow.pins.of_image(image.id))
        assert await manifest_state(services, "m-a") is ManifestState.LIVE

    asyncio.run(scene())


def test_the_same_commit_twice_gives_the_image_and_changes_nothing(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        first = await commit(services, image, "a")
        assert await commit(services, image, "a") == first
        assert await images.show(services, ANNA, image.id) == first

    asyncio.run(scene())


def test_giving_up_after_the_commit_changes_nothing(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        active = await commit(services, image, "a")
        assert not await abandon(services, image, "a")
        assert await images.show(services, ANNA, image.id) == active

    asyncio.run(scene())


def test_a_commit_after_giving_up_is_refused(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        assert await abandon(services, image, "a")
        with pytest.raises(Conflict):
            await commit(services, image, "a")
        assert await status(services, image) is Status.QUEUED
        assert await manifest_state(services, "m-a") is None

    asyncio.run(scene())


def test_a_late_commit_of_an_abandoned_upload_does_not_touch_its_successor(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        await abandon(services, image, "a")
        await begin(services, image, "b")
        with pytest.raises(Conflict):
            await commit(services, image, "a")
        assert not await abandon(services, image, "a")
        assert await status(services, image) is Status.SAVING
        active = await commit(services, image, "b")
        assert active.locations[0].manifest == "m-b"
        with pytest.raises(Conflict):
            await commit(services, image, "a")
        assert await images.show(services, ANNA, image.id) == active
        assert await manifest_state(services, "m-a") is None

    asyncio.run(scene())


def test_a_commit_whose_pin_is_gone_is_refused_whole(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        await services.database.write(lambda uow: uow.pins.remove("a"))
        with pytest.raises(Gone):
            await commit(services, image, "a")
        assert await status(services, image) is Status.SAVING
        assert await manifest_state(services, "m-a") is None
        assert await abandon(services, image, "a")
        assert await status(services, image) is Status.QUEUED

    asyncio.run(scene())


def test_a_commit_into_a_deleted_image_finds_it_gone(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "a")
        await images.delete(services, ANNA, image.id)
        with pytest.raises(Gone):
            await commit(services, image, "a")
        assert not await abandon(services, image, "a")
        assert await manifest_state(services, "m-a") is None

    asyncio.run(scene())


async def active(services: Services, upload_id: str) -> Image:
    image = await images.create(services, ANNA, RAW)
    await begin(services, image, upload_id)
    return await commit(services, image, upload_id)


async def increment(services: Services, upload_id: str, *, base: str) -> Image:
    image = await images.create(services, ANNA, RAW)
    await begin(services, image, upload_id, bases=(base,))
    return await commit(services, image, upload_id, base=base)


def test_a_base_lives_while_an_increment_names_it_and_goes_with_the_last(services: Services) -> None:
    async def scene() -> None:
        parent = await active(services, "parent")
        children = [await increment(services, name, base="m-parent") for name in ("one", "two")]
        await images.delete(services, ANNA, parent.id)
        assert await manifest_state(services, "m-parent") is ManifestState.LIVE
        await images.delete(services, ANNA, children[0].id)
        assert await manifest_state(services, "m-one") is ManifestState.RETIRED
        assert await manifest_state(services, "m-parent") is ManifestState.LIVE
        await images.delete(services, ANNA, children[1].id)
        assert await manifest_state(services, "m-parent") is ManifestState.RETIRED

    asyncio.run(scene())


def test_an_upload_pins_its_base_until_it_is_settled(services: Services) -> None:
    async def scene() -> None:
        parent = await active(services, "parent")
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "child", bases=("m-parent",))
        await images.delete(services, ANNA, parent.id)
        assert await manifest_state(services, "m-parent") is ManifestState.LIVE
        await abandon(services, image, "child")
        assert await manifest_state(services, "m-parent") is ManifestState.RETIRED

    asyncio.run(scene())


def test_a_pinned_base_that_the_commit_does_not_name_is_let_go(services: Services) -> None:
    async def scene() -> None:
        parent = await active(services, "parent")
        image = await images.create(services, ANNA, RAW)
        await begin(services, image, "child", bases=("m-parent",))
        await images.delete(services, ANNA, parent.id)
        await commit(services, image, "child")
        assert await manifest_state(services, "m-parent") is ManifestState.RETIRED

    asyncio.run(scene())


def test_a_retired_base_can_neither_be_pinned_nor_named(services: Services) -> None:
    async def scene() -> None:
        parent = await active(services, "parent")
        image = await images.create(services, ANNA, RAW)
        await images.delete(services, ANNA, parent.id)
        with pytest.raises(Gone, match="The base of this upload is gone"):
            await begin(services, image, "child", bases=("m-parent",))
        await begin(services, image, "child")
        with pytest.raises(Gone, match="The base of this upload is gone"):
            await commit(services, image, "child", base="m-parent")
        assert await status(services, image) is Status.SAVING

    asyncio.run(scene())


def test_a_chain_is_given_newest_first(services: Services) -> None:
    async def scene() -> None:
        def add(uow: UnitOfWork) -> None:
            base = None
            for depth, name in enumerate(["bottom", "middle", "top"]):
                uow.manifests.add(Manifest(name, name.encode(), base, depth, 1))
                base = name

        await services.database.write(add)
        chain = await services.database.read(lambda uow: uow.manifests.chain("top"))
        assert [(each.name, each.digest) for each in chain] == [
            ("top", b"top"), ("middle", b"middle"), ("bottom", b"bottom"),
        ]  # fmt: skip
        assert await services.database.read(lambda uow: uow.manifests.chain("unknown")) == []

    asyncio.run(scene())


def test_a_save_that_comes_too_late_is_a_conflict(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        for expect, upload in ((Status.SAVING, None), (Status.QUEUED, "other")):
            with pytest.raises(Conflict):
                await services.database.write(partial(save, image, expect, upload))

    def save(image: Image, expect: Status, upload: str | None, uow: UnitOfWork) -> None:
        uow.images.save(image, expect=expect, upload=upload)

    asyncio.run(scene())
