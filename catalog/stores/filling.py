"""Filling a file: while the source gives its next bytes, those before are written, and what came before them synced."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from catalog.model.errors import CopyLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.store_ports import CopyReader
    from catalog.stores.open_file import OpenFile

T = TypeVar("T")
SYNCED: Final = 64 << 20
"""Bytes after which what was written is made durable, so that no single sync takes long."""
COPIED_AT_ONCE: Final = 4 << 20
"""Bytes that the kernel is to copy in one step."""
_BATCH: Final = 4 << 20


class Run(Protocol):
    """Runs a step on the store's threads."""

    async def __call__(self, step: Callable[[], T], /) -> T:
        """The step's result; its failures are the store's."""
        ...


class Filling:
    """One step that writes, and one that syncs, at a time: more would wait for the same file in the kernel.

    `end` must be called, whatever happened. Not `durable`: nothing is synced, for a file that nobody needs tomorrow.
    """

    def __init__(self, run: Run, file: OpenFile, *, durable: bool = True) -> None:
        self._run = run
        self._file = file
        self._durable = durable
        self._step: asyncio.Task[object] | None = None
        self._sync: asyncio.Task[object] | None = None
        self._unsynced = 0

    async def take(self, source: CopyReader) -> None:
        """All bytes of a source, holes left out. What it raises passes through."""
        at = 0
        rooms = cycle([memoryview(bytearray(min(_BATCH, max(source.size, 1)))) for _ in range(2)])
        room, filled = next(rooms), 0
        async for piece in source.read(0, source.size):
            # A copy of its own: the piece is the source's again while a thread may still write it.
            left = memoryview(piece)
            while left:
                part = left[: len(room) - filled]
                room[filled : filled + len(part)] = part
                filled += len(part)
                left = left[len(part) :]
                if filled == len(room):
                    await self.add(partial(self._file.put, room, at), filled)
                    # The other room is free: what was in it has been written before this was begun.
                    at, room, filled = at + filled, next(rooms), 0
        if filled:
            await self.add(partial(self._file.put, room[:filled], at), filled)
        await self.all_done()
        if at + filled != source.size:
            raise CopyLost(f"A copy of {source.size} bytes ended after {at + filled}.")

    async def add(self, step: Callable[[], object], size: int) -> None:
        """One more step, that writes `size` bytes, when the one before is done."""
        if self._step is not None:
            await self._step
        self._step = asyncio.create_task(self._run(step))
        self._unsynced += size
        if self._durable and self._unsynced >= SYNCED:
            if self._sync is not None:
                await self._sync
            self._sync = asyncio.create_task(self._run(self._file.sync))
            self._unsynced = 0

    async def all_done(self) -> None:
        """All is written; synced only in part."""
        for task in self._left():
            await task

    async def end(self) -> None:
        """Nobody waits for a step any more; one that has begun may go on on its thread."""
        for task in self._left():
            task.cancel()
        await asyncio.gather(*self._left(), return_exceptions=True)

    def _left(self) -> Sequence[asyncio.Task[object]]:
        return [task for task in (self._step, self._sync) if task is not None]
