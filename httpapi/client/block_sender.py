"""Blocks on their way to a delta upload: gathered into requests, several of which run at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore.sent_blocks import MOST_UNPACKED, NumberRange
from httpapi.wire.block_stream import block_head, held_item, holes_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpapi.client.block_scan import Looked
    from httpapi.client.comparison import Comparison
    from httpapi.client.delta_api import DeltaApi
    from httpapi.client.retrying import Retrying
    from httpapi.wire.deltas import DeltaRecord

AT_ONCE: Final = 4
"""Requests that run beside each other."""
LEAST: Final = 256 << 10
FULL: Final = 4 << 20
"""Bytes after which a request leaves, at first and at most."""
SHARE: Final = 64
"""What is on its way when somebody is killed is sent again: a request is no more than this part of what has arrived."""
_MOST_ITEMS: Final = 16_384


@dataclass(frozen=True, slots=True)
class _Item:
    """`blocks` are those that count against a request's, `unpacked` the image's bytes in a frame."""

    numbers: NumberRange
    parts: tuple[bytes | memoryview, ...]
    blocks: int = 0
    unpacked: int = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


@dataclass(slots=True)
class _Batch:
    parts: list[bytes | memoryview] = field(default_factory=list)
    numbers: list[NumberRange] = field(default_factory=list)
    size: int = 0
    blocks: int = 0
    unpacked: int = 0

    def add(self, item: _Item) -> None:
        self.parts += item.parts
        self.numbers.append(item.numbers)
        self.size += item.size
        self.blocks += item.blocks
        self.unpacked += item.unpacked


class BlockSender:
    """Sends what a scan found. `add` in order, then `finish`; `close` whatever happened."""

    def __init__(
        self,
        api: DeltaApi,
        delta: DeltaRecord,
        comparison: Comparison,
        retrying: Retrying,
        sent: Callable[[int], None],
    ) -> None:
        self._api = api
        self._delta = delta
        self._comparison = comparison
        self._retrying = retrying
        self._sent = sent
        self._batch = _Batch()
        self._running: set[asyncio.Task[None]] = set()
        self._arrived = 0

    async def add(self, looked: Looked) -> None:
        """Takes what was wanted of a window; waits while enough is on its way. Raises what a request raised."""
        items = [_Item(numbers, (holes_item(numbers),)) for numbers in looked.holes]
        items += [_Item(held.numbers, (held_item(held),), held.numbers.count) for held in looked.held]
        for number, entry in looked.entries:
            head = block_head(number, len(entry.header) + len(entry.data))
            parts = (head, entry.header, entry.data)
            items.append(_Item(NumberRange(number, 1), parts, 1, self._delta.block_size))
        items.sort(key=lambda item: item.numbers.first)
        self._comparison.note(looked.first, looked.names, [item.numbers for item in items])
        for item in items:
            if self._is_full(item):
                await self._leave()
            self._batch.add(item)

    async def finish(self) -> None:
        """All that was added is durable at the server afterwards."""
        if self._batch.parts:
            await self._leave()
        while self._running:
            await self._reap()

    async def close(self) -> None:
        """Breaks off what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _is_full(self, more: _Item) -> bool:
        batch = self._batch
        if not batch.parts:
            return False
        most = min(max(LEAST, self._arrived // SHARE), FULL, self._delta.request_bytes)
        return (
            batch.size + more.size > most
            or batch.blocks + more.blocks > self._delta.request_blocks
            or batch.unpacked + more.unpacked > MOST_UNPACKED
            or len(batch.numbers) >= _MOST_ITEMS
        )

    async def _leave(self) -> None:
        while len(self._running) >= AT_ONCE:
            await self._reap()
        batch, self._batch = self._batch, _Batch()
        self._running.add(asyncio.create_task(self._send(b"".join(batch.parts), batch.numbers)))

    async def _send(self, stream: bytes, numbers: list[NumberRange]) -> None:
        async def request() -> None:
            self._sent(len(stream))
            await self._api.send(self._delta, stream)

        await self._retrying(request)
        self._arrived += len(stream)
        self._comparison.has_arrived(numbers)

    async def _reap(self) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
