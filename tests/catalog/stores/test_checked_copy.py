"""Copies are compared with the image's digests on their way: of the real block store, fixed blocks and others."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged
from blockstore.store import BlockStore, StoreOptions
from catalog.model.errors import CopyWrong
from catalog.model.manifest import StoredManifest
from catalog.stores.blocks import StoredBlocks
from chunker.cutting import CutKind, Cutting
from tests.kit.memory_blocks import MemoryReader
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from catalog.store_ports import CopyReader

KIB = 1 << 10
SIZE = 3 * 1024 * KIB + 12_345
CUTTINGS = (
    Cutting(CutKind.FIXED, 64 * KIB),
    Cutting(CutKind.FIXED, 4096 * KIB),
    Cutting(CutKind.CONTENT_DEFINED, 64 * KIB),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    opened = BlockStore.open(tmp_path, StoreOptions(generation_seconds=0.1, index_map=1 << 30, threads=2))
    yield opened
    opened.close()


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def image() -> bytearray:
    data = bytearray(random.Random(7).randbytes(SIZE))
    data[512 * KIB : 1024 * KIB] = bytes(512 * KIB)
    return data


async def stored(blocks: StoredBlocks, data: bytes, cutting: Cutting) -> Sequence[StoredManifest]:
    written = await blocks.write("0" * 32, PiecesSource(whole(data)), expected=len(data), cutting=cutting)
    return [StoredManifest(written.manifest, written.digest)]


async def read(copy: CopyReader, start: int, stop: int) -> bytes:
    found = b""
    async for piece in copy.read(start, stop):
        assert 0 < len(piece) <= 1024 * KIB + 4096 * KIB
        found += piece
    return found


@pytest.mark.parametrize("cutting", CUTTINGS, ids=str)
def test_a_right_copy_is_read_as_it_is(store: BlockStore, cutting: Cutting) -> None:
    async def scene() -> None:
        data = bytes(image())
        blocks = StoredBlocks(store)
        copy = await blocks.checked(await stored(blocks, data, cutting), MemoryReader(data))
        for start, stop in ((0, SIZE), (0, 0), (5, 6), (64 * KIB - 1, 64 * KIB + 1), (1, SIZE - 1), (SIZE - 1, SIZE)):
            assert await read(copy, start, stop) == data[start:stop]
        copy.close()
        copy.close()

    asyncio.run(scene())


@pytest.mark.parametrize("at", [0, 600 * KIB, SIZE - 1])
@pytest.mark.parametrize("cutting", CUTTINGS, ids=str)
def test_no_byte_of_a_wrong_block_comes_out(store: BlockStore, cutting: Cutting, at: int) -> None:
    async def scene() -> None:
        data = bytes(image())
        blocks = StoredBlocks(store)
        manifests = await stored(blocks, data, cutting)
        rotten = bytearray(data)
        rotten[at] ^= 1
        copy = await blocks.checked(manifests, MemoryReader(bytes(rotten)))
        found = b""
        with pytest.raises(CopyWrong, match="other bytes"):
            async for piece in copy.read(0, SIZE):
                found += piece
        assert found == data[: len(found)]
        assert len(found) <= at
        copy.close()

    asyncio.run(scene())


def test_a_copy_of_another_length_or_that_ends_early_is_wrong(store: BlockStore) -> None:
    class Short(MemoryReader):
        async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
            yield self._data[start : stop - 1]

    async def scene() -> None:
        data = bytes(image())
        blocks = StoredBlocks(store)
        manifests = await stored(blocks, data, CUTTINGS[0])
        for wrong in (MemoryReader(data + b"x"), Short(data)):
            copy = await blocks.checked(manifests, wrong)
            with pytest.raises(CopyWrong):
                await read(copy, 0, SIZE)
            copy.close()

    asyncio.run(scene())


def test_what_a_damaged_manifest_cannot_tell_comes_unchecked(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        data = bytes(image())
        blocks = StoredBlocks(store)
        copy = await blocks.checked(await stored(blocks, data, CUTTINGS[0]), MemoryReader(data))

        def damaged(*_: object) -> None:
            raise Damaged("a leaf is not what it was")

        monkeypatch.setattr("blockstore.proof.Proof.first_wrong", damaged)
        assert await read(copy, 10, SIZE - 10) == data[10 : SIZE - 10]
        copy.close()

    asyncio.run(scene())
