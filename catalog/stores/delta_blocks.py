"""Delta uploads into our own store: where a stream of blocks meets slabs.

Entries are copied into a slab as they come; when it is full, or holds enough, it is a window and goes to the crew. When
no slab is free nothing more is read from the sender. Blocks of other images need no bytes of a slab, and yet a slab.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore.delta_store import Session
from blockstore.delta_writer import SentWindow
from blockstore.errors import BlockNotHeld, BlockRefused, Damaged, Missing
from blockstore.manifest_reader import ManifestReader
from blockstore.receive import SentBlock
from blockstore.sent_blocks import MOST_BLOCKS_SENT, MOST_UNPACKED, EntryBegins, SentHeld, SentHoles, longest_entry
from catalog.blocking import to_its_end
from catalog.delta_ports import ArrivedBlocks
from catalog.model.errors import LimitExceeded
from catalog.ports import Written
from catalog.stores.admission import admitted, settled, when_free

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from blockstore.delta_store import BuiltDelta
    from blockstore.delta_writer import DeltaWriter
    from blockstore.pipeline.slabs import Slab, SlabShare
    from blockstore.store import BlockStore
    from blockstore.unnamed import Hold
    from catalog.delta_ports import Locate, Part
    from catalog.model.delta import Delta
    from catalog.model.manifest import StoredManifest

T = TypeVar("T")
MOST_IMAGES: Final = 16
"""Other images that one request may name."""
BUILDS: Final = 2
"""Manifests that are built at once: a long one keeps a thread that also syncs."""


class StoredDeltas:
    """`catalog.delta_ports.DeltaBlocks` over one BlockStore; `line` is where uploads wait for memory."""

    def __init__(self, store: BlockStore, line: asyncio.Lock) -> None:
        self._store = store
        self._line = line
        self._builds = asyncio.Semaphore(BUILDS)

    async def begin(self, delta: Delta) -> Hold:
        """Make the journal."""
        return await self._on_sync_thread(partial(self._store.deltas.create, _session(delta)))

    async def take(self, delta: Delta, parts: AsyncIterator[Part], locate: Locate) -> int:
        """Window by window; see the port."""
        session = _session(delta)
        spare = longest_entry(session.block_size) - session.block_size
        admit = partial(self._store.admit_upload, session.cutting, spare=spare)
        share = await admitted(self._store.slabs, self._line, admit)
        try:
            writer = self._store.deltas.writer(session)
            # Read now what others have appended, rather than while a generation waits for it.
            await self._on_sync_thread(writer.journal.count)
            await _Request(self._store, session, writer, share, locate).run(parts)
            return writer.journal.records
        finally:
            share.close()

    async def arrived(self, delta: Delta, *, start: int, most: int) -> ArrivedBlocks:
        """A page of ranges."""
        journal = self._store.deltas.journal(_session(delta))

        def look() -> ArrivedBlocks:
            ranges, following = journal.arrived(start, most)
            return ArrivedBlocks(ranges, journal.count(), following, journal.records)

        return await self._on_sync_thread(look)

    async def build(self, delta: Delta, base: Sequence[StoredManifest], *, expected: int | None) -> Written:
        """Two at a time."""
        session, chain = _session(delta), [(manifest.name, manifest.digest) for manifest in base]
        async with self._builds:
            built = self._store.deltas.build(session, chain, expected=expected)
            try:
                return _written(session, await to_its_end(asyncio.wrap_future(built)))
            except asyncio.CancelledError:
                # Nobody is told of it, so nobody commits it.
                if built.exception() is None:
                    self._store.discard(built.result().manifest.name)
                raise

    async def _on_sync_thread(self, work: Callable[[], T]) -> T:
        return await to_its_end(asyncio.wrap_future(self._store.sync(work)))


class _Request:
    """One request's stream of parts on its way into windows."""

    def __init__(
        self, store: BlockStore, session: Session, writer: DeltaWriter, share: SlabShare, locate: Locate
    ) -> None:
        self._store = store
        self._session = session
        self._writer = writer
        self._share = share
        self._locate = locate
        self._readers: dict[str, ManifestReader | None] = {}
        self._window = SentWindow()
        self._slab: Slab | None = None
        self._filled = 0
        self._begun = 0
        self._entry = EntryBegins(0, 0)
        self._taken = self._unpacked = 0
        self._running: deque[asyncio.Future[None]] = deque()

    async def run(self, parts: AsyncIterator[Part]) -> None:
        """Take all parts in, to the journal.

        What was handed to the crew is journaled, or has failed, before this ends, whatever happens: nothing arrives
        after the answer, when a commit has counted.
        """
        try:
            async for part in parts:
                await self._take(part)
            self._submit()
            while self._running:
                await self._next()
        finally:
            if self._slab is not None:
                self._slab.drop()
            error = await to_its_end(self._end())
        if error is not None:
            raise error

    async def _take(self, part: Part) -> None:
        if isinstance(part, memoryview):
            self._fill(part)
            return
        count = part.numbers.count if isinstance(part, SentHeld) else 1
        self._taken += count
        if self._taken > MOST_BLOCKS_SENT:
            raise LimitExceeded(
                f"A request may have {MOST_BLOCKS_SENT} blocks and runs of holes; send the others in another one."
            )
        if isinstance(part, EntryBegins):
            length = self._session.length_of(part.number)
            self._unpacked += length
            if self._unpacked > MOST_UNPACKED:
                raise LimitExceeded(
                    f"A request's frames may hold {MOST_UNPACKED} bytes; send the others in another one."
                )
            await self._room(part.length, length)
            self._entry, self._begun = part, self._filled
        elif isinstance(part, SentHoles):
            await self._room()
            self._window.holes.append(part.numbers)
        else:
            for block in await self._held(part):
                await self._room()
                self._window.add(block)

    async def _room(self, length: int = 0, unpacked: int = 0) -> None:
        """A window that is not full, with a slab that has room for so many bytes, sent and unpacked."""
        if self._slab is not None:
            most = max(self._filled + length, self._window.unpacked + unpacked)
            if self._window.is_full or most > len(self._slab.view):
                self._submit()
        while self._slab is None:
            freed = when_free(self._store.slabs)
            self._slab = self._share.acquire()
            if self._slab is None:
                await (self._next() if self._running else freed.wait())
            self._filled = 0

    def _fill(self, piece: memoryview) -> None:
        assert self._slab is not None
        end = self._filled + len(piece)
        self._slab.view[self._filled : end] = piece
        self._filled = end
        if end - self._begun == self._entry.length:
            number, entry = self._entry.number, self._slab.view[self._begun : end]
            self._window.add(SentBlock(number, self._session.length_of(number), entry))

    def _submit(self) -> None:
        slab, self._slab = self._slab, None
        window, self._window = self._window, SentWindow()
        if slab is None:
            return
        try:
            stored = self._writer.store(window)
        except BaseException:
            slab.drop()
            raise
        stored.add_done_callback(lambda _: slab.drop())
        self._running.append(asyncio.wrap_future(stored))

    async def _next(self) -> None:
        # Shielded, for a cancelled caller must not make it look done: `_end` waits for it.
        await asyncio.shield(self._running[0])
        self._running.popleft()

    async def _end(self) -> BaseException | None:
        await asyncio.gather(*self._running, return_exceptions=True)
        for reader in self._readers.values():
            if reader is not None:
                reader.close()
        [error] = await asyncio.gather(asyncio.wrap_future(self._writer.finish()), return_exceptions=True)
        return error

    async def _held(self, held: SentHeld) -> list[SentBlock]:
        """The blocks of another image; BlockRefused, in one sentence, for all that cannot be had."""
        try:
            reader = await self._reader(held.image)
            if reader is not None and held.first + held.numbers.count <= reader.header.blocks:
                found = await self._on_crew(partial(_named, reader, held))
                wrong = [block.number for block in found if block.length != self._session.length_of(block.number)]
                if not wrong:
                    return found
        except (Damaged, Missing):
            # That image may be read, only not now; what is wrong with it is not this request's business.
            raise BlockNotHeld(
                f"Blocks {held.numbers.first} to {held.numbers.stop - 1} cannot be taken from image {held.image} now: "
                "send their bytes.",
                [held.numbers],
            ) from None
        raise BlockRefused(
            f"Blocks {held.numbers.first} to {held.numbers.stop - 1} can't be taken from image {held.image}: it must "
            "be one that you may download, and have blocks with these numbers and lengths.",
            [held.numbers],
        )

    async def _reader(self, image: str) -> ManifestReader | None:
        if image not in self._readers:
            if len(self._readers) == MOST_IMAGES:
                raise LimitExceeded(f"A request may name blocks of {MOST_IMAGES} other images.")
            try:
                self._readers[image] = await self._opened(image)
            except Missing:
                # Its chain was coalesced after it was located, and is another one now.
                self._readers[image] = await self._opened(image)
        return self._readers[image]

    async def _opened(self, image: str) -> ManifestReader | None:
        """None for an image that may not be read."""
        chain = [(manifest.name, manifest.digest) for manifest in await self._locate(image)]
        if not chain:
            return None
        return await settled(self._store.crew.call(partial(self._store.reader, chain)), ManifestReader.close)

    async def _on_crew(self, work: Callable[[], T]) -> T:
        return await to_its_end(asyncio.wrap_future(self._store.crew.call(work)))


def _named(reader: ManifestReader, held: SentHeld) -> list[SentBlock]:
    return [
        SentBlock(number, length, digest=name)
        for number, (length, name) in enumerate(reader.blocks(held.first, held.numbers.count), held.numbers.first)
    ]


def _session(delta: Delta) -> Session:
    return Session(delta.id, delta.size, delta.block_size, delta.records)


def _written(session: Session, built: BuiltDelta) -> Written:
    return Written(
        manifest=built.manifest.name,
        digest=built.manifest.digest,
        depth=built.manifest.depth,
        size=session.size,
        hashes={},
        new_blocks=built.arrived,
        new_bytes=0,
        held_blocks=built.inherited,
        hole_blocks=0,
        base=built.manifest.base,
        fresh_bytes=built.changed,
        listed_bytes=built.manifest.listed,
        changed_bytes=built.changed,
        hold=built.manifest.hold,
    )
