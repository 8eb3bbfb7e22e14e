"""Reading an image out of our own store: a few pieces ahead on the crew, as long as the budget has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore import frames
from catalog.blocking import to_its_end
from catalog.stores.admission import admitted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from concurrent.futures import Future

    from blockstore.manifest_reader import ManifestReader
    from blockstore.store import BlockStore

AHEAD: Final = 3
"""Pieces of a download that are being read or wait to be sent."""
STORED_PIECES: Final = 2
"""Pieces that are read at once as they are stored: they are smaller then, and there is little to do for each."""
SMALLEST_PIECE: Final = 64 * 1024


class StoredReader:
    """`catalog.ports.Reader`: a few pieces ahead on the crew, as long as the budget has room for them."""

    def __init__(self, store: BlockStore, reader: ManifestReader, line: asyncio.Lock) -> None:
        self._store = store
        self._reader = reader
        self._line = line
        self._open = True

    @property
    def size(self) -> int:
        """The image's length in bytes."""
        return self._reader.size

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Verified pieces in order."""

        def load(begins: int, ends: int) -> Future[bytes]:
            return self._store.crew.call(partial(self._reader.load, begins, ends))

        return self._pieces(start, stop, self._reader.piece, load)

    async def read_stored(self) -> AsyncIterator[bytes]:
        """Verified frames in order; what is small (holes are) goes out together."""
        # In a lane: there is little to compute, and two threads would only take the interpreter from each other.
        lane = self._store.crew.lane()

        def load(begins: int, ends: int) -> Future[bytes]:
            return lane.call(partial(self._reader.load_stored, begins, ends))

        small: list[bytes] = []
        loaded = self._pieces(0, self.size, STORED_PIECES * self._reader.piece, load)
        async with aclosing(loaded) as pieces:
            async for piece in pieces:
                small.append(piece)
                if sum(map(len, small)) >= SMALLEST_PIECE:
                    yield small[0] if len(small) == 1 else b"".join(small)
                    small.clear()
        if small or not self.size:
            yield b"".join(small) or frames.zeros(0)

    async def _pieces(
        self, start: int, stop: int, longest: int, load: Callable[[int, int], Future[bytes]]
    ) -> AsyncGenerator[bytes, None]:
        """Pieces in order; each counts against the process's budget until the next one is asked for.

        A piece is as long as the budget allows, a block at least: with very many readers at once, each holds little.
        """
        unit = max(SMALLEST_PIECE, self._reader.longest)
        most = AHEAD * longest // unit
        pool = self._store.pieces
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=most))
        loading: deque[tuple[Future[bytes], int]] = deque()
        try:
            at = start
            while at < stop:
                # Pieces end at multiples of the piece's size, so that whole blocks and whole runs are read.
                ends = min(stop, (at // longest + 1) * longest)
                units = share.reserve(-(-(ends - at) // unit))
                if units:
                    ends = min(ends, (at // unit + units) * unit)
                    loading.append((load(at, ends), units))
                    at = ends
                else:
                    # Its own pieces are all that it may have: the oldest goes out first. One unit is always sure.
                    piece, units = await self._next(loading)
                    yield piece
                    share.release(units)
            while loading:
                piece, units = await self._next(loading)
                yield piece
                share.release(units)
        finally:
            # What is being read right now uses the open files and the counted memory until it is done.
            running = [future for future, _ in loading if not future.cancel()]
            await to_its_end(asyncio.gather(*map(asyncio.wrap_future, running), return_exceptions=True))
            share.release(share.held)
            share.close()

    def close(self) -> None:
        """Close the manifests."""
        if self._open:
            self._open = False
            self._reader.close()

    @staticmethod
    async def _next(loading: deque[tuple[Future[bytes], int]]) -> tuple[bytes, int]:
        piece = await asyncio.wrap_future(loading[0][0])
        return piece, loading.popleft()[1]
