"""Hashes of an image whose bytes are its parent's: taken from there when the blocks are the same, and never else."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from catalog.model.image import Status
from catalog.model.task import HASH, TaskStatus
from catalog.usecases import delta_commit, images, tasks
from tests.catalog.delta_scenes import BLOCK, DATA, begun, send, served
from tests.catalog.jobs.scenes import over
from tests.kit.image_service import CALLER
from tests.kit.quiet_worker import at_work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services
    from tests.kit.image_service import ImageService

worker = partial(at_work, at_once=1)
TAKEN, READ = "taken", "read"


async def increment(
    service: ImageService, services: Services, parent: str, *blocks: tuple[int, bytes], size: int = len(DATA)
) -> Image:
    """An image over its parent, of the blocks that are sent."""
    made = await service.new(parent=parent)
    named = await begun(services, made, base=parent, size=size)
    if blocks:
        await send(services, named, *blocks)
    return await delta_commit.commit(services, named, expected=len(blocks))


async def hashed(services: Services, image: Image, data: bytes) -> str:
    """Where the job had them from, of which it says nothing; the hashes must be the data's, wherever that is."""
    read: list[object] = []
    opening = services.blocks.open

    async def seen(manifests: Sequence[StoredManifest]) -> CopyReader:
        read.append(manifests)
        return await opening(manifests)

    services.blocks.open = seen  # type: ignore[method-assign, assignment]  # of this scene's store alone
    [task] = [each for each in await tasks.of_image(services, CALLER, image.id) if each.type == HASH]
    async with worker(services):
        ended = await over(services, task)
    assert (ended.status, ended.message) == (TaskStatus.SUCCESS, "Hashed 1 MiB.")
    now = await images.show(services, CALLER, image.id)
    assert (now.checksum, now.os_hash_value) == (hashlib.md5(data).hexdigest(), hashlib.sha512(data).hexdigest())
    return READ if read else TAKEN


def test_an_unchanged_increment_takes_its_parents_hashes_and_so_does_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            parent = (await service.put(await service.new(), DATA)).id
            for _ in range(2):
                image = await increment(service, services, parent)
                assert image.os_hash_value is None
                assert await hashed(services, image, DATA) == TAKEN
                parent = image.id
            # Blocks that were sent, and are what was there.
            again = await increment(service, services, parent, (2, DATA[2 * BLOCK : 3 * BLOCK]))
            assert await hashed(services, again, DATA) == TAKEN

    asyncio.run(scene())


@pytest.mark.parametrize("change", ["a block", "a hole", "longer", "shorter"])
def test_what_differs_is_read(tmp_path: Path, change: str) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            parent = (await service.put(await service.new(), DATA)).id
            new = bytes(BLOCK) if change == "a hole" else b"x" * BLOCK
            blocks, expected = [(2, new)], DATA[: 2 * BLOCK] + new + DATA[3 * BLOCK :]
            if change == "longer":
                blocks, expected = [(20, new)], DATA + new
            elif change == "shorter":
                blocks, expected = [], DATA[:-BLOCK]
            image = await increment(service, services, parent, *blocks, size=len(expected))
            assert await hashed(services, image, expected) == READ

    asyncio.run(scene())


def not_hashed(image: Image) -> None:
    image.checksum = image.os_hash_value = None


def somebody_elses(image: Image) -> None:
    image.owner, image.os_hash_value = "another", "0" * 128


def only_said(image: Image) -> None:
    image.upload, image.os_hash_value = None, "0" * 128


def deactivated(image: Image) -> None:
    image.status, image.os_hash_value = Status.DEACTIVATED, "0" * 128


def by_another_algorithm(image: Image) -> None:
    image.os_hash_algo, image.os_hash_value = "sha256", "0" * 64


@pytest.mark.parametrize("otherwise", [not_hashed, somebody_elses, only_said, deactivated, by_another_algorithm])
def test_hashes_that_are_not_proven_are_not_taken(tmp_path: Path, otherwise: Callable[[Image], None]) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            parent = (await service.put(await service.new(), DATA)).id
            image = await increment(service, services, parent)

            def change(uow: UnitOfWork) -> None:
                now = uow.images.get(parent)
                assert now is not None
                status = now.status
                otherwise(now)
                uow.images.save(now, expect=status)

            await services.database.write(change)
            assert await hashed(services, image, DATA) == READ

    asyncio.run(scene())


def test_a_parent_that_is_gone_is_no_hindrance(tmp_path: Path) -> None:
    async def scene() -> None:
        with served(tmp_path) as (service, services, _):
            parent = (await service.put(await service.new(), DATA)).id
            image = await increment(service, services, parent)
            await images.delete(services, CALLER, parent)
            assert await hashed(services, image, DATA) == READ

    asyncio.run(scene())
