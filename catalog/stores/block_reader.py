"""An image of our own store as blocks: its flat manifest, its entries, what differs from another image.

All of it in pieces on the crew, two of them in memory at a time, counted against the budget of downloads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore import diff
from blockstore.sent_blocks import NumberRange
from catalog.block_ports import ManifestSummary
from catalog.blocking import to_its_end
from catalog.stores.admission import admitted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from blockstore.diff import Extent
    from blockstore.flat import FlatManifest
    from blockstore.manifest_reader import ManifestReader
    from blockstore.store import BlockStore
    from catalog.block_ports import BlockReader, Entries

T = TypeVar("T")
AT_ONCE: Final = 16
"""Windows of 1,024 blocks that one task of the crew looks at: some milliseconds."""
MOST_COMPARED: Final = 2048
"""Leaves that are read for one page of changes: about a second."""
PARTS: Final = 16
"""Parts of a manifest that travel together: up to 0.7 MB."""
MOST_BLOCKS: Final = 1024
"""Blocks that are read together, if they are small."""


class StoredBlockReader:
    """`catalog.block_ports.BlockReader` over one open chain."""

    def __init__(self, store: BlockStore, reader: ManifestReader, line: asyncio.Lock) -> None:
        self._store = store
        self.reader = reader
        self._line = line
        self._flat: FlatManifest | None = None
        self._open = True

    @property
    def size(self) -> int:
        """The image's length in bytes."""
        return self.reader.size

    @property
    def blocks(self) -> int:
        """How many blocks the image has."""
        return self.reader.header.blocks

    @property
    def is_fixed(self) -> bool:
        """Whether its blocks have one size."""
        return self.reader.header.is_fixed

    @property
    def block_size(self) -> int:
        """In bytes."""
        return self.reader.header.block_size

    async def summary(self) -> ManifestSummary:
        """Look through all leaves, some at a time; it waits for its turn as a download, since it may take as long."""
        pool, unit = self._store.pieces, self.reader.piece
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=1))
        try:
            flat = self.reader.flat()
            while not await self._on_crew(partial(flat.look, AT_ONCE)):
                pass
        finally:
            share.close()
        self._flat = flat
        header = flat.header
        return ManifestSummary(
            digest=flat.digest,
            bytes=flat.size,
            size=header.size,
            is_fixed=header.is_fixed,
            block_size=header.block_size,
            blocks=header.blocks,
            data_blocks=flat.data_blocks,
        )

    async def manifest(self) -> AsyncGenerator[bytes, None]:
        """The parts in order, several together."""
        flat = self._flat
        assert flat is not None

        def load(first: int, last: int) -> bytes:
            return b"".join(map(flat.part, range(first, last)))

        firsts = range(0, flat.parts, PARTS)
        tasks = (partial(load, first, min(first + PARTS, flat.parts)) for first in firsts)
        async with aclosing(self._in_order(tasks)) as pieces:
            async for piece in pieces:
                yield piece

    async def entries(self, wanted: Sequence[NumberRange]) -> AsyncGenerator[Entries, None]:
        """Some 2 MiB of blocks at a time."""
        together = max(1, min(MOST_BLOCKS, self.reader.piece // self.reader.longest))

        def load(ranges: Sequence[NumberRange]) -> Entries:
            return [item for each in ranges for item in self.reader.entries(each.first, each.count)]

        tasks = (partial(load, ranges) for ranges in _batches(wanted, together))
        async with aclosing(self._in_order(tasks)) as pieces:
            async for piece in pieces:
                yield piece

    async def changes(self, since: BlockReader, *, start: int, most: int) -> tuple[Sequence[Extent], int | None]:
        """Window by window until there are enough extents, or enough was read; the last may go on in the next page."""
        assert isinstance(since, StoredBlockReader)
        difference = self.reader.difference(since.reader)
        found: list[Extent] = []
        left = MOST_COMPARED * diff.LEAF
        while start < difference.size and len(found) <= most and left > 0:
            more, start, done = await self._on_crew(partial(difference.extents, start, min(left, AT_ONCE * diff.LEAF)))
            left -= done
            for extent in more:
                diff.add(found, extent)
        if len(found) > most:
            return found[:most], found[most].offset
        return found, (start if start < difference.size else None)

    def close(self) -> None:
        """Close the manifests."""
        if self._open:
            self._open = False
            self.reader.close()

    async def _on_crew(self, work: Callable[[], T]) -> T:
        """A task's result; it has ended when this returns, cancelled or not, so that files may be closed."""
        return await to_its_end(asyncio.wrap_future(self._store.crew.call(work)))

    async def _in_order(self, tasks: Iterable[Callable[[], T]]) -> AsyncGenerator[T, None]:
        """What tasks of the crew give, each at most a piece long, in their order, one ahead of the receiver."""
        pool, unit = self._store.pieces, self.reader.piece
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=2))
        running: deque[Future[T]] = deque()
        try:
            for task in tasks:
                while not share.reserve(1):
                    yield await asyncio.wrap_future(running[0])
                    running.popleft()
                    share.release(1)
                running.append(self._store.crew.call(task))
            while running:
                yield await asyncio.wrap_future(running[0])
                running.popleft()
                share.release(1)
        finally:
            left = [future for future in running if not future.cancel()]
            await to_its_end(asyncio.gather(*map(asyncio.wrap_future, left), return_exceptions=True))
            share.release(share.held)
            share.close()


def _batches(wanted: Sequence[NumberRange], most: int) -> Iterator[list[NumberRange]]:
    """The same numbers in order, so many at a time: strewn ones are read together, long ranges in parts."""
    batch: list[NumberRange] = []
    room = most
    for each in wanted:
        first = each.first
        while first < each.stop:
            part = NumberRange(first, min(room, each.stop - first))
            batch.append(part)
            first, room = part.stop, room - part.count
            if not room:
                yield batch
                batch, room = [], most
    if batch:
        yield batch
