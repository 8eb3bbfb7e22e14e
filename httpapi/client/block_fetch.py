"""Blocks of an image by number: asked for in batches, several at once, each checked before it is written."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.errors import Damaged
from blockstore.frames import decompress
from blockstore.sent_blocks import SentHeld, SentHoles, longest_entry
from httpapi.client.errors import Interrupted, Mismatch
from httpapi.client.lane import Lane
from httpapi.wire.block_stream import BlockStreamDecoder, whole_entries
from httpapi.wire.errors import BadBlockStream
from httpapi.wire.number_ranges import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from httpapi.client.block_names import ImageNames
    from httpapi.client.delta_api import DeltaApi
    from httpapi.client.retrying import Retrying
    from httpapi.client.update_target import UpdateTarget

AT_ONCE: Final = 4
LEAST: Final = 1 << 20
FULL: Final = 8 << 20
"""Bytes of image that one request asks for, at first and at most."""
SHARE: Final = 64
"""What is on its way when somebody is killed comes again: a request is no more than this part of what was written."""
_MOST_BLOCKS: Final = 1024


class BlockFetch:
    """`add` numbers in order, then `finish`; `close` whatever happened.

    `arrived` is told how many bytes of image were written, and how many came through the network for them.
    """

    def __init__(
        self,
        api: DeltaApi,
        image_id: str,
        names: ImageNames,
        target: UpdateTarget,
        retrying: Retrying,
        arrived: Callable[[int, int], None],
    ) -> None:
        self._api = api
        self._image_id = image_id
        self._names = names
        self._target = target
        self._retrying = retrying
        self._arrived = arrived
        self._written = 0
        self._wanted: list[int] = []
        self._running: set[asyncio.Task[None]] = set()
        self._lanes = [Lane(f"fetch-{number}") for number in range(AT_ONCE)]
        self._free = list(self._lanes)

    async def add(self, numbers: Sequence[int]) -> None:
        """Blocks to be fetched; waits while enough is on its way. Raises what a request raised."""
        self._wanted += numbers
        while len(self._wanted) >= self._most():
            await self._ask()

    async def finish(self) -> None:
        """All of them are written afterwards."""
        while self._wanted:
            await self._ask()
        while self._running:
            await self._reap()

    async def close(self) -> None:
        """Breaks off what still runs; nothing is written afterwards."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for lane in self._lanes:
            lane.close(wait=True)

    async def _ask(self) -> None:
        while len(self._running) >= AT_ONCE:
            await self._reap()
        most = self._most()
        batch, self._wanted = self._wanted[:most], self._wanted[most:]
        self._running.add(asyncio.create_task(self._fetch(batch)))

    def _most(self) -> int:
        """Blocks of a request."""
        size = min(max(LEAST, self._written // SHARE), FULL)
        return max(1, min(_MOST_BLOCKS, size // self._names.header.longest_block))

    async def _reap(self) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _fetch(self, batch: list[int]) -> None:
        left = dict.fromkeys(batch)
        lane = self._free.pop()
        try:
            await self._retrying(lambda: self._request(left, lane))
        finally:
            self._free.append(lane)

    async def _request(self, left: dict[int, None], lane: Lane) -> None:
        """One request for what is left; takes from it what was written."""
        header = self._names.header
        decoder = BlockStreamDecoder(blocks=header.blocks, longest=longest_entry(header.longest_block), held=False)
        begun = bytearray()
        async with self._api.blocks(self._image_id, runs(left)) as arriving, aclosing(arriving):
            async for piece in arriving:
                try:
                    found = list(whole_entries(decoder.feed(piece), begun))
                except BadBlockStream as failure:
                    raise Interrupted(f"what the server sent is no stream of blocks ({failure})") from failure
                written = 0
                for item in found:
                    if isinstance(item, SentHoles | SentHeld) or item[0] not in left:
                        raise Mismatch("the server sends other blocks than were asked for: pull it again")
                    number, entry = item
                    written += await lane.submit(partial(self._write, number, entry))
                    del left[number]
                self._written += written
                self._arrived(written, len(piece))
        if left:
            raise Interrupted("the connection broke before all blocks had come")

    def _write(self, number: int, entry: bytes) -> int:
        window = next(iter(self._names.numbered(number, 1)))
        begin, end = window.bounds.tolist()
        try:
            block = decompress(memoryview(entry)[HEADER_SIZE:], end - begin)
        except Damaged as failure:
            raise Interrupted(f"block {number} did not arrive whole ({failure})") from failure
        if digest(block) != window.digests[0].tobytes():
            raise Mismatch(
                f"what the server sent is not block {number} of image {self._image_id}: pull it again; "
                "if that repeats, look for a faulty proxy, disk or memory"
            )
        self._target.put(begin, memoryview(block))
        return len(block)
