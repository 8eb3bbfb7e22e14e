"""Reading an image out of our own store: a few pieces ahead on the crew, as long as the budget has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from blockstore import frames
from catalog.blocking import to_its_end
from catalog.stores.admission import admitted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from concurrent.futures import Future

    from blockstore.manifest_reader import ManifestReader
    from blockstore.pipeline.slabs import SlabShare
    from blockstore.store import BlockStore

AHEAD: Final = 3
"""Pieces of a download that are being read or wait to be sent."""
STORED_PIECES: Final = 2
"""Pieces that are read at once as they are stored: they are smaller then, and there is little to do for each."""
SMALLEST_PIECE: Final = 64 * 1024
FRAMES_ARE_LONGER: Final = 32
"""By one part in so many, at most, blocks as they are stored may be longer than themselves: headers of small ones."""


class _Piece(NamedTuple):
    """A piece that is being read: what comes of it, and the memory that it counts for and lies in."""

    loaded: Future[memoryview]
    units: int
    room: bytearray


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

    def read(self, start: int, stop: int) -> AsyncIterator[memoryview]:
        """Verified pieces in order; each is valid until the next one is asked for."""

        def load(begins: int, ends: int, room: memoryview) -> Future[memoryview]:
            return self._store.crew.call(partial(self._load, begins, ends, room[: ends - begins]))

        return self._pieces(start, stop, self._reader.piece, load, more=lambda _: 0)

    async def read_stored(self) -> AsyncIterator[bytes | memoryview]:
        """Verified frames in order, as `read`; what is small (holes are) goes out together."""
        # In a lane: there is little to compute, and two threads would only take the interpreter from each other.
        lane = self._store.crew.lane()

        def load(begins: int, ends: int, room: memoryview) -> Future[memoryview]:
            return lane.call(partial(self._reader.load_stored_into, begins, ends, room))

        small = bytearray()
        loaded = self._pieces(0, self.size, STORED_PIECES * self._reader.piece, load, more=self._frames_beyond)
        async with aclosing(loaded) as pieces:
            async for piece in pieces:
                if len(piece) < SMALLEST_PIECE:
                    small += piece
                if small and (len(small) >= SMALLEST_PIECE or len(piece) >= SMALLEST_PIECE):
                    yield bytes(small)
                    small.clear()
                if len(piece) >= SMALLEST_PIECE:
                    yield piece
        if small or not self.size:
            yield bytes(small) or frames.zeros(0)

    def _frames_beyond(self, size: int) -> int:
        """By how much the frames of a span of so many bytes may be longer."""
        return size // FRAMES_ARE_LONGER + self._reader.overhang

    def _load(self, start: int, stop: int, room: memoryview) -> memoryview:
        self._reader.load_into(start, stop, room)
        return room

    async def _pieces(
        self,
        start: int,
        stop: int,
        longest: int,
        load: Callable[[int, int, memoryview], Future[memoryview]],
        *,
        more: Callable[[int], int],
    ) -> AsyncGenerator[memoryview, None]:
        """Pieces in order; each counts against the process's budget until the next one is asked for.

        A piece is as long as the budget allows, a block at least: with very many readers at once, each holds little.
        `more` says how many bytes of room a piece needs beyond its own length.
        """
        unit = max(SMALLEST_PIECE, self._reader.longest)
        most = AHEAD * longest // unit
        pool = self._store.pieces
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=most))
        loading: deque[_Piece] = deque()
        try:
            at = start
            while at < stop or loading:
                # Pieces end at multiples of the piece's size, so that whole blocks and whole runs are read.
                ends = min(stop, (at // longest + 1) * longest)
                units = share.reserve(-(-(ends - at) // unit)) if at < stop else 0
                if units:
                    ends = min(ends, (at // unit + units) * unit)
                    loading.append(_begin(share, units, units * unit + more(units * unit), partial(load, at, ends)))
                    at = ends
                else:
                    # Its own pieces are all that it may have: the oldest goes out first. One unit is always sure.
                    yield await asyncio.wrap_future(loading[0].loaded)
                    oldest = loading.popleft()
                    share.release(oldest.units, oldest.room)
        finally:
            # What is being read right now uses the open files and the counted memory until it is done.
            running = [piece.loaded for piece in loading if not piece.loaded.cancel()]
            try:
                await to_its_end(asyncio.gather(*map(asyncio.wrap_future, running), return_exceptions=True))
            finally:
                for piece in loading:
                    share.release(piece.units, piece.room)
                share.close()

    def close(self) -> None:
        """Close the manifests."""
        if self._open:
            self._open = False
            self._reader.close()


def _begin(share: SlabShare, units: int, size: int, load: Callable[[memoryview], Future[memoryview]]) -> _Piece:
    """Give a piece room and have it read; what was reserved for it is given back if that cannot even begin."""
    try:
        room = share.room(size)
        return _Piece(load(memoryview(room)), units, room)
    except BaseException:
        share.release(units)
        raise
