"""Very many slow transfers on the real block store: nobody is kept out, and memory stays in its budget."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import StoreUnavailable
from blockstore.store import BlockStore, StoreOptions
from catalog.model.manifest import StoredManifest
from catalog.stores import admission as module
from catalog.stores.blocks import StoredBlocks
from chunker.cutting import CutKind, Cutting
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1 << 20
OPTIONS = StoreOptions(generation_seconds=0.2, index_map=1 << 30, threads=2)
DATA = random.Random(1).randbytes(3 * MIB) + b"tail"
BLOCK = 64 * 1024
CUTTING = Cutting(CutKind.FIXED, BLOCK)


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_eighty_readers_that_stand_still_keep_nobody_from_reading(tmp_path: Path) -> None:
    async def work() -> None:
        store = BlockStore.open(tmp_path, OPTIONS)
        blocks = StoredBlocks(store)
        written = await blocks.write("0" * 32, PiecesSource(whole(DATA)), expected=len(DATA), cutting=CUTTING)
        chain = [StoredManifest(written.manifest, written.digest)]
        async with AsyncExitStack() as stack:
            for _ in range(80):
                reader = await blocks.open(chain)
                stack.callback(reader.close)
                standing = await stack.enter_async_context(aclosing(reader.read(0, reader.size)))  # type: ignore[type-var]
                assert await anext(standing)
            assert store.pieces.taken <= store.pieces.budget
            reader = await blocks.open(chain)
            stack.callback(reader.close)
            assert b"".join([bytes(piece) async for piece in reader.read(5, reader.size)]) == DATA[5:]
        assert store.pieces.taken == 0
        store.close()

    asyncio.run(work())


def test_eighty_uploads_that_stand_still_keep_nobody_from_uploading(tmp_path: Path) -> None:
    async def work() -> None:
        store = BlockStore.open(tmp_path, OPTIONS)
        blocks = StoredBlocks(store)
        go = asyncio.Event()

        async def slow(number: int) -> AsyncIterator[bytes]:
            yield DATA[: MIB // 2]
            await go.wait()
            yield bytes([number])

        standing = [
            asyncio.create_task(blocks.write(f"{n:032x}", PiecesSource(slow(n)), expected=None, cutting=CUTTING))
            for n in range(80)
        ]
        await asyncio.sleep(0.5)
        assert store.slabs.taken <= store.slabs.budget
        written = await blocks.write("f" * 32, PiecesSource(whole(DATA)), expected=len(DATA), cutting=CUTTING)
        assert written.size == len(DATA)
        go.set()
        assert {(await task).size for task in standing} == {MIB // 2 + 1}
        assert store.slabs.taken == 0
        store.close()

    asyncio.run(work())


def test_a_transfer_without_room_is_told_to_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def work() -> None:
        store = BlockStore.open(tmp_path, OPTIONS)
        blocks = StoredBlocks(store)
        held = []
        while share := store.slabs.admit(BLOCK):
            held.append(share)
        with pytest.raises(StoreUnavailable, match="try again"):
            await blocks.write("0" * 32, PiecesSource(whole(DATA)), expected=None, cutting=CUTTING)
        for share in held:
            share.close()
        written = await blocks.write("1" * 32, PiecesSource(whole(DATA)), expected=None, cutting=CUTTING)
        assert written.size == len(DATA)
        store.close()

    asyncio.run(work())
