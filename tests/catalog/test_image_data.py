from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import StoreFull
from catalog.limits import Limits
from catalog.model.errors import (
    CatalogFull,
    CatalogUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    LimitExceeded,
    NoData,
    NotFound,
    SizeMismatch,
    SourceLost,
)
from catalog.model.image import Status, Visibility
from catalog.model.new_image import NewImage
from catalog.usecases import image_data, images
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, bytes_of, one_of_each_visibility, put, stream
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import TypeVar

    from catalog.model.image import Image
    from catalog.ports import Database, UnitOfWork
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

    T = TypeVar("T")


async def is_untouched(services: Services, blocks: MemoryBlocks, image: Image) -> bool:
    """Whether the image is queued as if no upload had ever begun."""
    shown = await images.show(services, ADMIN, image.id)
    pins = await services.database.read(lambda uow: uow.pins.of_image(image.id))
    settled = not pins and not blocks.journals and not services.running
    return settled and replace(shown, updated_at=image.updated_at) == image


def test_bytes_come_back_as_they_were_sent_with_their_hashes(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        data = bytes(range(256)) * 9000
        sent = image_data.upload(services, ANNA, made.id, stream(data[:7], data[7:]), expected=len(data))
        active = await sent
        assert (active.status, active.size) == (Status.ACTIVE, len(data))
        assert active.checksum == hashlib.md5(data).hexdigest()
        assert (active.os_hash_algo, active.os_hash_value) == ("sha512", hashlib.sha512(data).hexdigest())
        assert active.updated_at > made.updated_at
        assert await images.show(services, ANNA, made.id) == active
        assert active.locations[0].url == f"blocks://{blocks.store}/{active.locations[0].manifest}"
        assert await bytes_of(services, active) == data
        assert not blocks.journals
        assert not services.running

    asyncio.run(scene())


def test_a_part_of_an_image_can_be_read(services: Services) -> None:
    async def scene() -> None:
        active = await put(services, await images.create(services, ANNA, RAW), b"0123456789")
        download = await image_data.download(services, ANNA, active.id)
        assert (download.size, download.image) == (10, active)
        assert b"".join([piece async for piece in download.read(2, 5)]) == b"234"
        download.close()

    asyncio.run(scene())


def test_an_empty_body_makes_an_active_image_of_no_bytes(services: Services) -> None:
    async def scene() -> None:
        active = await put(services, await images.create(services, ANNA, RAW), b"")
        assert (active.status, active.size) == (Status.ACTIVE, 0)
        assert await bytes_of(services, active) == b""

    asyncio.run(scene())


def test_a_stream_of_unknown_length_is_taken(services: Services) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        active = await image_data.upload(services, ANNA, made.id, stream(b"ab", b"cd"), expected=None)
        assert active.size == 4

    asyncio.run(scene())


def test_the_hash_that_clients_verify_is_a_setting(services: Services) -> None:
    async def scene() -> None:
        active = await put(replace(services, hashing="sha256"), await images.create(services, ANNA, RAW), b"bytes")
        assert (active.os_hash_algo, active.os_hash_value) == ("sha256", hashlib.sha256(b"bytes").hexdigest())

    asyncio.run(scene())


@pytest.mark.parametrize("expected", [3, 5])
def test_a_body_of_another_size_leaves_the_image_queued(
    services: Services, blocks: MemoryBlocks, expected: int
) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        with pytest.raises(SizeMismatch, match=f"expected {expected} bytes, got 4 bytes"):
            await image_data.upload(services, ANNA, made.id, stream(b"four"), expected=expected)
        assert await is_untouched(services, blocks, made)
        assert (await put(services, made, b"again")).status is Status.ACTIVE

    asyncio.run(scene())


@pytest.mark.parametrize("error", [SourceLost("gone"), StoreFull("full"), RuntimeError("a fault of ours")])
def test_what_fails_underneath_passes_through_and_leaves_the_image_queued(
    services: Services, blocks: MemoryBlocks, error: Exception
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise error

    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        with pytest.raises(type(error), match=str(error)):
            await image_data.upload(services, ANNA, made.id, PiecesSource(broken()), expected=None)
        assert await is_untouched(services, blocks, made)

    asyncio.run(scene())


def test_an_image_that_is_announced_as_too_large_is_refused_before_a_byte_moves(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def untouchable() -> AsyncIterator[bytes]:
        yield pytest.fail("the body was read")

    async def scene() -> None:
        tight = replace(services, limits=Limits(image_size_cap=10))
        made = await images.create(tight, ANNA, RAW)
        with pytest.raises(LimitExceeded, match="10 bytes"):
            await image_data.upload(tight, ANNA, made.id, PiecesSource(untouchable()), expected=11)
        assert await is_untouched(tight, blocks, made)
        await put(tight, made, b"0123456789")

    asyncio.run(scene())


def test_an_image_that_turns_out_too_large_is_cut_off(services: Services, blocks: MemoryBlocks) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    async def scene() -> None:
        tight = replace(services, limits=Limits(image_size_cap=10))
        made = await images.create(tight, ANNA, RAW)
        with pytest.raises(LimitExceeded):
            await image_data.upload(tight, ANNA, made.id, PiecesSource(endless()), expected=None)
        assert await is_untouched(tight, blocks, made)

    asyncio.run(scene())


def test_an_image_without_formats_takes_no_data(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, NewImage(disk_format="raw"))
        with pytest.raises(Invalid, match="container_format must be set"):
            await put(services, made, b"data")
        assert await is_untouched(services, blocks, made)

    asyncio.run(scene())


def test_an_active_image_takes_no_other_bytes(services: Services) -> None:
    async def scene() -> None:
        active = await put(services, await images.create(services, ANNA, RAW), b"first")
        with pytest.raises(Conflict, match="active"):
            await put(services, active, b"other")
        assert await images.show(services, ANNA, active.id) == active
        assert await bytes_of(services, active) == b"first"

    asyncio.run(scene())


def test_two_uploads_of_one_image_at_once_have_one_winner(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        results = await asyncio.gather(
            *(put(services, made, data) for data in (b"one", b"two")), return_exceptions=True
        )
        [winner] = [result for result in results if not isinstance(result, BaseException)]
        assert [type(result) for result in results if isinstance(result, BaseException)] == [Conflict]
        assert await images.show(services, ANNA, made.id) == winner
        assert not blocks.journals

    asyncio.run(scene())


def test_who_may_upload_and_who_download(services: Services) -> None:
    async def scene() -> None:
        others = await one_of_each_visibility(services)
        for name, refusal in (
            ("public", Forbidden), ("community", Forbidden), ("shared", NotFound), ("private", NotFound),
        ):  # fmt: skip
            with pytest.raises(refusal):
                await put(services, others[name], b"data")
            await put(services, others[name], b"data", caller=BORIS)
            if refusal is NotFound:
                with pytest.raises(NotFound):
                    await bytes_of(services, others[name])
            else:
                assert await bytes_of(services, others[name]) == b"data"
                with pytest.raises(Forbidden):
                    await bytes_of(services, others[name], caller=READER)

    asyncio.run(scene())


def test_there_is_no_data_before_the_upload_and_while_it_runs(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, replace(RAW, visibility=Visibility.COMMUNITY))
        with pytest.raises(NoData):
            await bytes_of(services, made)

        async def look(_pin: str) -> None:
            assert (await images.show(services, BORIS, made.id)).status is Status.SAVING
            with pytest.raises(NoData):
                await bytes_of(services, made, caller=BORIS)

        blocks.at_end = look
        await put(services, made, b"data")
        assert await bytes_of(services, made, caller=BORIS) == b"data"

    asyncio.run(scene())


def test_an_image_deleted_during_its_upload_makes_it_end_with_gone(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)

        async def delete(_pin: str) -> None:
            await images.delete(services, ANNA, made.id)
            assert blocks.journals, "its writer still needs it"

        blocks.at_end = delete
        with pytest.raises(Gone, match="deleted"):
            await put(services, made, b"data")
        with pytest.raises(NotFound):
            await images.show(services, ADMIN, made.id)
        assert not blocks.journals
        assert not blocks.manifests
        assert not services.running

    asyncio.run(scene())


def test_a_cancelled_upload_is_given_up_to_the_end_however_often_it_is_cancelled(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        reached = asyncio.Event()

        async def stuck(_pin: str) -> None:
            reached.set()
            await asyncio.Event().wait()

        blocks.at_end = stuck
        task = asyncio.create_task(put(services, made, b"data"))
        await reached.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await is_untouched(services, blocks, made)

    asyncio.run(scene())


@pytest.mark.parametrize("turns", range(12))
def test_an_upload_cancelled_at_any_moment_is_either_whole_or_untouched(
    services: Services, blocks: MemoryBlocks, turns: int
) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        task = asyncio.create_task(put(services, made, b"data"))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait({task})
        shown = await images.show(services, ANNA, made.id)
        if shown.status is Status.ACTIVE:
            assert await bytes_of(services, shown) == b"data"
        else:
            assert await is_untouched(services, blocks, made)
        assert not blocks.journals

    asyncio.run(scene())


class FailingWrites:
    """A database whose writes fail from the n-th on, until it is mended."""

    def __init__(self, database: Database, *, from_write: int) -> None:
        self._database = database
        self._left = from_write

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return await self._database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        if self._left == 0:
            raise CatalogFull("No space is left for the catalog.")
        self._left -= 1
        return await self._database.write(step)


def test_an_upload_that_could_not_even_be_given_up_is_queued_by_the_next_sweep(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        failing = replace(services, database=FailingWrites(services.database, from_write=1))
        with pytest.raises(CatalogFull):
            await put(failing, made, b"data")
        assert (await images.show(services, ANNA, made.id)).status is Status.SAVING
        assert await image_data.requeue_orphans(services) == 1
        assert await is_untouched(services, blocks, made)

    asyncio.run(scene())


def test_a_catalog_beside_another_store_says_so(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        active = await put(services, await images.create(services, ANNA, RAW), b"data")
        blocks.store = "6" * 32
        with pytest.raises(CatalogUnavailable, match="another store"):
            await bytes_of(services, active)

    asyncio.run(scene())
