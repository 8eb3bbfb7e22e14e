"""Reading an image out of our own store: a few pieces ahead on the crew, as long as the budget has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from blockstore import frames
from blockstore.stored_span import StoredSpan
from catalog.blocking import to_its_end
from catalog.stores.admission import admitted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from concurrent.futures import Future

    from blockstore.manifest_reader import ManifestReader
    from blockstore.pipeline.slabs import SlabShare
    from blockstore.store import BlockStore

T = TypeVar("T")
AHEAD: Final = 3
"""Pieces of a download that are being read or wait to be sent."""
SMALLEST_PIECE: Final = 64 * 1024


class _Piece(NamedTuple, Generic[T]):
    """A piece that is being read: what comes of it, and the memory that it counts for and lies in."""

    loaded: Future[T]
    units: int
    room: bytearray

    def drop(self, share: SlabShare) -> None:
        """It was sent, or will never be: give back all that it has."""
        if self.loaded.done() and not self.loaded.cancelled() and self.loaded.exception() is None:
            found = self.loaded.result()
            if isinstance(found, StoredSpan):
                found.close()
        share.release(self.units, self.room)


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

        def begin(share: SlabShare, units: int, begins: int, ends: int) -> _Piece[memoryview]:
            room = share.room(units * self._unit)
            part = memoryview(room)[: ends - begins]
            return _Piece(self._store.crew.call(partial(self._load, begins, ends, part)), units, room)

        return self._pieces(start, stop, self._reader.piece, begin)

    async def read_stored(self) -> AsyncIterator[StoredSpan]:
        """Verified frames in order, as `read`; what is small (holes are) goes out together."""
        # In a lane: there is little to compute, and two threads would only take the interpreter from each other.
        lane = self._store.crew.lane()

        def begin(share: SlabShare, units: int, begins: int, ends: int) -> _Piece[StoredSpan]:
            # As long as the blocks are: more than their frames but for the headers of very small ones.
            room = share.room(units * self._unit)
            return _Piece(lane.call(partial(self._reader.load_stored, begins, ends, memoryview(room))), units, room)

        small = bytearray()
        async with aclosing(self._pieces(0, self.size, self._reader.piece, begin)) as spans:
            async for span in spans:
                length = len(span)
                if length < SMALLEST_PIECE:
                    small += span.load()
                if small and (len(small) >= SMALLEST_PIECE or length >= SMALLEST_PIECE):
                    yield StoredSpan([bytes(small)])
                    small.clear()
                if length >= SMALLEST_PIECE:
                    yield span
        if small or not self.size:
            yield StoredSpan([bytes(small) or frames.zeros(0)])

    @property
    def _unit(self) -> int:
        return max(SMALLEST_PIECE, self._reader.longest)

    def _load(self, start: int, stop: int, room: memoryview) -> memoryview:
        self._reader.load_into(start, stop, room)
        return room

    async def _pieces(
        self,
        start: int,
        stop: int,
        longest: int,
        begin: Callable[[SlabShare, int, int, int], _Piece[T]],
    ) -> AsyncGenerator[T, None]:
        """Pieces in order; each counts against the process's budget until the next one is asked for.

        A piece is as long as the budget allows, a block at least: with very many readers at once, each holds little.
        `begin` has a piece read: what it may have, in units and of which share, where it begins and ends.
        """
        unit = self._unit
        most = AHEAD * longest // unit
        pool = self._store.pieces
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=most))
        loading: deque[_Piece[T]] = deque()
        try:
            at = start
            while at < stop or loading:
                # Pieces end at multiples of the piece's size, so that whole blocks and whole runs are read.
                ends = min(stop, (at // longest + 1) * longest)
                wanted = -(-(ends - at) // unit)
                # While others are under way, only a whole one: many little ones cost more than they bring.
                units = share.reserve(wanted, least=wanted if loading else 1) if at < stop else 0
                if units:
                    ends = min(ends, (at // unit + units) * unit)
                    loading.append(_begun(partial(begin, share, units, at, ends), share, units))
                    at = ends
                else:
                    # Its own pieces are all that it may have: the oldest goes out first. One unit is always sure.
                    yield await asyncio.wrap_future(loading[0].loaded)
                    loading.popleft().drop(share)
        finally:
            # What is being read right now uses the open files and the counted memory until it is done.
            running = [piece.loaded for piece in loading if not piece.loaded.cancel()]
            try:
                await to_its_end(asyncio.gather(*map(asyncio.wrap_future, running), return_exceptions=True))
            finally:
                for piece in loading:
                    piece.drop(share)
                share.close()

    def close(self) -> None:
        """Close the manifests."""
        if self._open:
            self._open = False
            self._reader.close()


def _begun(begin: Callable[[], _Piece[T]], share: SlabShare, units: int) -> _Piece[T]:
    try:
        return begin()
    except BaseException:
        share.release(units)
        raise
