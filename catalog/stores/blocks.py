"""Our own block store as the catalog's `Blocks`: where the loop and the slabs meet.

Uploads: what the sender gives is copied into slabs as it comes; when no slab is free, nothing more is read from the
sender. Downloads: pieces are read, decompressed and checked on the crew, a few ahead of the sender. Nothing crosses
threads per block.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore.errors import StoreUnavailable
from blockstore.manifest_reader import ManifestReader
from blockstore.manifest_writer import ManifestWriter
from blockstore.pipeline.taps import HashTap
from catalog.blocking import to_its_end
from catalog.model.errors import SizeMismatch
from catalog.ports import Written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from concurrent.futures import Future

    from blockstore.pipeline.slabs import Slab, SlabPool, SlabShare
    from blockstore.store import BlockStore
    from blockstore.write_result import WriteResult
    from catalog.model.manifest import StoredManifest
    from catalog.ports import Reader

T = TypeVar("T")
AHEAD: Final = 3
"""Pieces of a download that are being read or wait to be sent."""
SMALLEST_PIECE: Final = 64 * 1024
PATIENCE: Final = 30.0
"""Seconds that a transfer waits for room in memory before it is told to come back later."""
LEGACY_HASH: Final = "md5"
"""`checksum` in the Images API is always this one."""


class StoredBlocks:
    """`catalog.ports.Blocks` over one BlockStore."""

    def __init__(self, store: BlockStore, hashing: str = "sha512") -> None:
        self._store = store
        self._algorithms = tuple(dict.fromkeys((hashing, LEGACY_HASH)))
        # Whoever waits for admission waits in line, so that a large share is not passed over for ever by small ones.
        self._uploads = asyncio.Lock()
        self._downloads = asyncio.Lock()

    @property
    def store(self) -> str:
        """The store's id in hex."""
        return self._store.id

    @property
    def process(self) -> str:
        """This process's lock."""
        return self._store.process

    def is_alive(self, process: str) -> bool:
        """Whether that process holds its lock."""
        return self._store.is_alive(process)

    async def write(
        self,
        pin: str,
        source: AsyncIterator[bytes | memoryview],
        *,
        expected: int | None,
        block_size: int,
    ) -> Written:
        """Pump a stream through the pipeline; see the port for what holds after a failure."""
        share = await admitted(self._store.slabs, self._uploads, lambda: self._store.admit_upload(block_size))
        try:
            taps = [HashTap(name) for name in self._algorithms]
            # Beginning makes files and may open a chain: not the loop's work.
            begun = self._store.crew.call(lambda: self._store.writer(pin, share, block_size=block_size, taps=taps))
            writer = await settled(begun, ManifestWriter.abort)
        except BaseException:
            share.close()
            raise
        try:
            await _Pump(self._store.slabs, writer, expected).run(source)
            result = await asyncio.wrap_future(writer.finish())
        except BaseException:
            # Nothing of this upload may run on when its pin goes; the crew ends it within a slab's time.
            await to_its_end(asyncio.wrap_future(writer.abort()))
            raise
        return _written(result)

    async def open(self, manifests: Sequence[StoredManifest]) -> Reader:
        """Open a chain; on the crew, since a cold disk may take its time."""
        chain = [(manifest.name, manifest.digest) for manifest in manifests]
        reader = await settled(self._store.crew.call(lambda: self._store.reader(chain)), ManifestReader.close)
        return StoredReader(self._store, reader, self._downloads)

    def forget_journal(self, pin: str) -> None:
        """The pin is gone."""
        self._store.forget_journal(pin)


class _Pump:
    """Copies what comes into slabs, and waits for slabs when there are none."""

    def __init__(self, pool: SlabPool, writer: ManifestWriter, expected: int | None) -> None:
        self._pool = pool
        self._writer = writer
        self._expected = expected
        self._slab: Slab | None = None
        self._filled = 0
        self._received = 0

    async def run(self, source: AsyncIterator[bytes | memoryview]) -> None:
        """Everything up to the source's end; SizeMismatch as soon as it is certain."""
        try:
            await self._next()
            async for piece in source:
                await self._take(memoryview(piece))
            if self._expected is not None and self._received != self._expected:
                raise _mismatch(self._expected, self._received)
            self._submit(last=True)
        finally:
            if self._slab is not None:
                self._slab.drop()

    async def _take(self, piece: memoryview) -> None:
        self._received += len(piece)
        if self._expected is not None and self._received > self._expected:
            raise _mismatch(self._expected, self._received)
        while len(piece):
            assert self._slab is not None
            room = len(self._slab.view) - self._filled
            part = piece[:room]
            self._slab.view[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            piece = piece[room:]
            if self._filled == len(self._slab.view):
                self._submit(last=False)
                await self._next()

    def _submit(self, *, last: bool) -> None:
        slab, self._slab = self._slab, None
        assert slab is not None
        self._writer.submit(slab, self._filled, last=last)

    async def _next(self) -> None:
        self._slab = self._writer.acquire()
        while self._slab is None:
            freed = when_free(self._pool)
            self._slab = self._writer.acquire()
            if self._slab is None:
                await freed.wait()
        self._filled = self._slab.head


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

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Verified pieces in order; each counts against the process's budget until the next one is asked for.

        A piece is as long as the budget allows, a block at least: with very many readers at once, each holds little.
        """
        unit = max(SMALLEST_PIECE, self._reader.block_size)
        most = AHEAD * self._reader.piece // unit
        pool = self._store.pieces
        share = await admitted(pool, self._line, lambda: pool.admit(unit, sure=1, most=most))
        loading: deque[tuple[Future[bytes], int]] = deque()
        try:
            at = start
            while at < stop:
                # Pieces end at multiples of the piece's size, so that whole blocks and whole runs are read.
                ends = min(stop, (at // self._reader.piece + 1) * self._reader.piece)
                units = share.reserve(-(-(ends - at) // unit))
                if units:
                    ends = min(ends, (at // unit + units) * unit)
                    loading.append((self._load(at, ends), units))
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

    def _load(self, begins: int, ends: int) -> Future[bytes]:
        return self._store.crew.call(lambda: self._reader.load(begins, ends))

    @staticmethod
    async def _next(loading: deque[tuple[Future[bytes], int]]) -> tuple[bytes, int]:
        piece = await asyncio.wrap_future(loading[0][0])
        return piece, loading.popleft()[1]


async def admitted(pool: SlabPool, line: asyncio.Lock, admit: Callable[[], SlabShare | None]) -> SlabShare:
    """A share of the budget, waited for in line: nobody begins who could starve. StoreUnavailable after PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE), line:
            share = admit()
            while share is None:
                freed = when_free(pool)
                share = admit()
                if share is None:
                    await freed.wait()
            return share
    except TimeoutError:
        raise StoreUnavailable(
            "as many transfers are under way as there is memory set aside for: try again in a moment"
        ) from None


async def settled(future: Future[T], undo: Callable[[T], object]) -> T:
    """The future's result; if the caller is cancelled meanwhile, what comes of it is undone when it is there."""

    def dispose(done: Future[T]) -> None:
        if not done.cancelled() and done.exception() is None:
            undo(done.result())

    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(dispose)
        raise


def when_free(pool: SlabPool) -> asyncio.Event:
    """An event that is set when the pool has got something back; ask for it before looking, so that none is missed."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    pool.when_free(wake)
    return event


def _mismatch(expected: int, received: int) -> SizeMismatch:
    return SizeMismatch(f"Size mismatch: expected {expected} bytes, got {received} bytes")


def _written(result: WriteResult) -> Written:
    return Written(
        manifest=result.manifest.name,
        digest=result.manifest.digest,
        depth=result.manifest.depth,
        size=result.size,
        hashes=result.taps,
        new_blocks=result.new_blocks,
        new_bytes=result.new_bytes,
        held_blocks=result.held_blocks,
        hole_blocks=result.hole_blocks,
        base=result.manifest.base,
    )
