"""Chains on the real store: deep ones, parents deleted at every moment, many at once, and the verbs that look after."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from blockstore import clock, listing
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration, image_data
from catalog.usecases.coalescing import coalesce
from tests.kit.filled_store import looked_after
from tests.kit.image_service import CALLER, image_service
from tests.kit.pieces_source import PiecesSource
from tests.kit.quiet_worker import at_work, until_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from catalog.ports import Written
    from tests.kit.image_service import ImageService

BLOCK = 4096
DISK = random.Random(4).randbytes(400 * BLOCK) + bytes(40 * BLOCK) + b"tail"


def edited(data: bytes, number: int) -> bytes:
    """One block more is another one."""
    changed = bytearray(data)
    changed[number * 7 * BLOCK : number * 7 * BLOCK + 4] = b"%04d" % number
    return bytes(changed)


def verified(root: Path) -> None:
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
    assert found.verified.clean, found.verified.findings


def collected(root: Path) -> None:
    with looked_after(root, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())


def garbage(root: Path) -> tuple[int, int, int]:
    """Blocks that nothing reaches, retired manifests, manifests that nothing names."""
    with looked_after(root) as (store, records):
        found = administration.stats(store, records, Silent(), garbage=True).store
    assert found.garbage is not None
    manifests = found.manifests
    return found.garbage.blocks, manifests["retired"].files, manifests["orphaned"].files


def test_a_chain_that_grows_beyond_sixteen_is_flattened_and_starts_over(tmp_path: Path) -> None:
    async def scene() -> None:
        with image_service(tmp_path) as service:
            data, image_id = DISK, await service.pushed(DISK)
            depths, images = [0], {image_id: data}
            for number in range(1, 21):
                data = edited(data, number)
                image_id = await service.pushed(data, parent=image_id)
                images[image_id] = data
                depths.append((await service.manifest(image_id)).depth)
            assert depths == [*range(17), 0, 1, 2, 3]
            for each, wanted in images.items():
                assert await service.get(each) == wanted

    asyncio.run(scene())
    verified(tmp_path)


MOMENTS = ["before", "begun", "half", "last piece", "written", "committed"]


@dataclass(frozen=True)
class Ancestors:
    """A parent and its parent; `at` makes an end of both when the `moment` has come."""

    service: ImageService
    oldest: str
    parent: str
    moment: str
    coalesced: bool

    async def at(self, moment: str) -> None:
        if moment != self.moment:
            return
        if self.coalesced:
            await coalesce(self.service.services, CALLER, self.parent)
            await until_quiet(self.service.services)
        await self.service.delete(self.parent)
        await self.service.delete(self.oldest)
        await until_quiet(self.service.services)

    async def source(self, data: bytes) -> AsyncIterator[bytes]:
        half = len(data) // 2
        for moment, piece in (("begun", b""), ("half", data[:half]), ("last piece", data[half:])):
            yield piece
            await self.at(moment)

    async def upload(self, image_id: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        blocks = self.service.services.blocks
        write = blocks.write

        async def and_then(*args: Any, **kwargs: Any) -> Written:
            written = await write(*args, **kwargs)
            await self.at("written")
            return written

        monkeypatch.setattr(blocks, "write", and_then)
        await self.at("before")
        await image_data.upload(
            self.service.services, CALLER, image_id, PiecesSource(self.source(data)), expected=len(data)
        )
        await self.at("committed")


@pytest.mark.parametrize("coalesced", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_parent_deleted_at_any_moment_of_a_childs_upload_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, *, coalesced: bool
) -> None:
    """Or coalesced and deleted, so that the manifest which the child lies over is nobody's even before."""
    new = edited(edited(DISK, 3), 50)

    async def scene() -> str:
        with image_service(tmp_path) as service:
            oldest = await service.pushed(DISK)
            parent = await service.pushed(edited(DISK, 3), parent=oldest)
            child = await service.new("child", parent=parent)
            ancestors = Ancestors(service, oldest, parent, moment, coalesced)
            await ancestors.upload(child, new, monkeypatch)
            assert await service.get(child) == new
            await until_quiet(service.services)
            assert (await service.manifest(child)).base is None, "nothing of its ancestors is left"
            assert await service.get(child) == new
            return child

    child = asyncio.run(scene())
    verified(tmp_path)
    collected(tmp_path)
    assert garbage(tmp_path) == (0, 0, 0)
    verified(tmp_path)

    async def again() -> None:
        with image_service(tmp_path) as service:
            assert await service.get(child) == new

    asyncio.run(again())


def test_a_collection_keeps_ancestors_that_live_children_read(tmp_path: Path) -> None:
    async def scene() -> dict[str, bytes]:
        with image_service(tmp_path) as service:
            parent = await service.pushed(DISK)
            children = {await service.pushed(edited(DISK, n), parent=parent): edited(DISK, n) for n in (1, 2)}
            await service.delete(parent)
            return children

    children = asyncio.run(scene())
    verified(tmp_path)
    collected(tmp_path)
    assert garbage(tmp_path) == (0, 0, 0)
    assert len(list(listing.manifests(tmp_path))) == 3
    verified(tmp_path)

    async def read() -> None:
        with image_service(tmp_path) as service:
            for image_id, data in children.items():
                assert await service.get(image_id) == data

    asyncio.run(read())


def test_a_download_goes_on_in_the_chain_that_it_opened(tmp_path: Path) -> None:
    async def scene() -> None:
        with image_service(tmp_path) as service:
            parent = await service.pushed(DISK)
            data = edited(DISK, 9)
            child = await service.pushed(data, parent=parent)
            download = await image_data.download(service.services, CALLER, child)
            pieces = download.read(0, download.size)
            got = bytes(await anext(pieces))
            before = await service.manifest(child)
            await service.delete(parent)
            await until_quiet(service.services)
            assert await service.manifest(child) != before
            got += b"".join([bytes(piece) async for piece in pieces])
            download.close()
            assert got == data

    asyncio.run(scene())


def test_many_children_of_one_parent_at_once_while_ancestors_are_deleted_and_coalesced(tmp_path: Path) -> None:
    async def scene() -> dict[str, bytes]:
        with image_service(tmp_path) as service:
            services = service.services
            line = [await service.pushed(DISK)]
            for number in (1, 2, 3):
                line.append(await service.pushed(edited(DISK, number), parent=line[-1]))
            made: dict[str, bytes] = {}

            async def push(number: int) -> None:
                data = edited(edited(DISK, 3), 10 + number)
                made[await service.pushed(data, parent=line[3])] = data

            async def disturb() -> None:
                await service.delete(line[1])
                await coalesce(services, CALLER, line[3])
                await asyncio.sleep(0.05)
                await service.delete(line[0])
                await service.delete(line[2])
                await coalesce(services, CALLER, line[3])

            async with at_work(services):
                await asyncio.gather(disturb(), *(push(number) for number in range(10)))
                await service.delete(line[3])
            await until_quiet(services)
            for image_id, data in made.items():
                assert await service.get(image_id) == data
            return made

    made = asyncio.run(scene())
    assert len(made) == 10
    verified(tmp_path)
    collected(tmp_path)
    verified(tmp_path)
    assert garbage(tmp_path) == (0, 0, 0)
