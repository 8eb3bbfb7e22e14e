"""Our own block store as the catalog's `Blocks`: where the loop and the slabs meet.

Uploads: what the sender gives is put into slabs as it comes; when no slab is free, nothing more is read from the
sender. Downloads: pieces are read, decompressed and checked on the crew, a few ahead of the sender. Nothing crosses
threads per block.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from blockstore.coalesce import Flattening
from blockstore.manifest_reader import ManifestReader
from blockstore.manifest_writer import ManifestWriter
from blockstore.pipeline.taps import HashTap
from catalog.block_ports import Flattened
from catalog.blocking import to_its_end
from catalog.model.errors import SizeMismatch
from catalog.model.manifest import Manifest
from catalog.ports import Written
from catalog.stores.admission import admitted, settled, when_free
from catalog.stores.block_reader import StoredBlockReader
from catalog.stores.checked_copy import CheckedCopy
from catalog.stores.delta_blocks import StoredDeltas
from catalog.stores.stored_reader import StoredReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blockstore.pipeline.slabs import Slab, SlabPool
    from blockstore.store import BlockStore
    from blockstore.write_result import WriteResult
    from catalog.block_ports import BlockReader, Reader
    from catalog.delta_ports import DeltaBlocks
    from catalog.model.manifest import StoredManifest
    from catalog.ports import Source
    from catalog.store_ports import CopyReader
    from chunker.cutting import Cutting

T = TypeVar("T")


class StoredBlocks:
    """`catalog.ports.Blocks` over one BlockStore."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        # Whoever waits for admission waits in line, so that a large share is not passed over for ever by small ones.
        self._uploads = asyncio.Lock()
        self._downloads = asyncio.Lock()
        self.deltas: DeltaBlocks = StoredDeltas(store, self._uploads)

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
        source: Source,
        *,
        expected: int | None,
        cutting: Cutting,
        base: Sequence[StoredManifest] = (),
        hashes: Sequence[str] = (),
    ) -> Written:
        """Pump a stream through the pipeline; see the port for what holds after a failure."""
        share = await admitted(self._store.slabs, self._uploads, lambda: self._store.admit_upload(cutting))
        try:
            taps = [HashTap(name) for name in hashes]
            # Beginning makes files and may open a chain: not the loop's work.
            chain = [(manifest.name, manifest.digest) for manifest in base]
            begun = self._store.crew.call(
                lambda: self._store.writer(pin, share, cutting=cutting, base=chain, taps=taps)
            )
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
        """Open a chain."""
        return StoredReader(self._store, await self._reader(manifests), self._downloads)

    async def open_blocks(self, manifests: Sequence[StoredManifest]) -> BlockReader:
        """Open a chain, to be read by blocks."""
        return StoredBlockReader(self._store, await self._reader(manifests), self._downloads)

    async def checked(self, manifests: Sequence[StoredManifest], copy: CopyReader) -> CopyReader:
        """Open the chain beside the copy."""
        return CheckedCopy(self, copy, await self._reader(manifests))

    async def flatten(self, manifests: Sequence[StoredManifest], report: Callable[[int, int], None]) -> Flattened:
        """A window at a time on the crew, the last syncs elsewhere; each to its end, so that none runs on."""
        chain = [(manifest.name, manifest.digest) for manifest in manifests]
        making = await settled(self._store.crew.call(lambda: self._store.flattening(chain)), Flattening.abandon)
        try:
            done = 0
            while done < making.total:
                done = await to_its_end(self.compute(making.step))
                report(done, making.total)
            built = await to_its_end(asyncio.wrap_future(self._store.sync(making.finish)))
        except BaseException:
            await to_its_end(asyncio.wrap_future(self._store.sync(making.abandon)))
            raise
        manifest = Manifest(built.name, built.digest, None, built.depth, making.size, built.listed)
        return Flattened(manifest, built.hold)

    def forget_manifest(self, name: str) -> None:
        """The file goes now, or as garbage later."""
        self._store.discard(name)

    async def compute(self, step: Callable[[], T]) -> T:
        """As a free task of the crew."""
        return await asyncio.wrap_future(self._store.crew.call(step))

    def forget_journal(self, pin: str) -> None:
        """The pin is gone."""
        self._store.forget_journal(pin)

    async def _reader(self, manifests: Sequence[StoredManifest]) -> ManifestReader:
        """On the crew, since a cold disk may take its time."""
        chain = [(manifest.name, manifest.digest) for manifest in manifests]
        return await settled(self._store.crew.call(lambda: self._store.reader(chain)), ManifestReader.close)


class _Pump:
    """Lets slabs be filled with what comes, and waits for slabs when there are none."""

    def __init__(self, pool: SlabPool, writer: ManifestWriter, expected: int | None) -> None:
        self._pool = pool
        self._writer = writer
        self._expected = expected
        self._slab: Slab | None = None
        self._filled = 0
        self._received = 0

    async def run(self, source: Source) -> None:
        """Everything up to the source's end; SizeMismatch as soon as it is certain."""
        try:
            await self._next()
            while got := await source.read_into(self._room()):
                self._filled += got
                self._received += got
                if self._expected is not None and self._received > self._expected:
                    raise _mismatch(self._expected, self._received)
                if not self._room():
                    self._submit(last=False)
                    await self._next()
            if self._expected is not None and self._received != self._expected:
                raise _mismatch(self._expected, self._received)
            self._submit(last=True)
        finally:
            if self._slab is not None:
                self._slab.drop()

    def _room(self) -> memoryview:
        assert self._slab is not None
        return self._slab.view[self._filled :]

    def _submit(self, *, last: bool) -> None:
        slab, self._slab = self._slab, None
        assert slab is not None
        self._writer.submit(slab, self._filled, last=last)

    async def _next(self) -> None:
        await asyncio.sleep(self._writer.pause())
        self._slab = self._writer.acquire()
        while self._slab is None:
            freed = when_free(self._pool)
            self._slab = self._writer.acquire()
            if self._slab is None:
                await freed.wait()
        self._filled = self._slab.head


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
        fresh_bytes=result.fresh_bytes,
        hole_bytes=result.hole_bytes,
        listed_bytes=result.manifest.listed,
        changed_bytes=result.changed_bytes,
        hold=result.manifest.hold,
    )
