"""The port `Blocks` in memory: whole images as bytes, with the block store's promises about failures and bases."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

from blockstore import frames, names
from blockstore.stored_span import StoredSpan
from catalog.block_ports import Flattened
from catalog.model.errors import CopyWrong, SizeMismatch
from catalog.model.manifest import Manifest
from catalog.ports import Written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from catalog.block_ports import BlockReader
    from catalog.delta_ports import DeltaBlocks
    from catalog.ports import Source, StoredManifest
    from catalog.store_ports import CopyReader
    from chunker.cutting import Cutting

T = TypeVar("T")
_PIECE = 1 << 20


class MemoryBlocks:
    """Keeps what is written; a test may name dead processes, and look at journals and manifests.

    `at_end` runs after the last byte of a write and before it returns: the place for what happens "in the middle".
    """

    def __init__(self, *, process: str = "process-1", store: str = "5" * 32) -> None:
        self.store = store
        self.process = process
        self.dead: set[str] = set()
        self._readers: list[MemoryReader] = []
        self.journals: set[str] = set()
        self.manifests: dict[str, tuple[bytes, bytes]] = {}
        self.cuttings: dict[str, Cutting] = {}
        self.at_end: Callable[[str], Awaitable[None]] | None = None

    def is_alive(self, process: str) -> bool:
        return process not in self.dead

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
        self.journals.add(pin)
        taken = bytearray()
        room = memoryview(bytearray(_PIECE))
        while got := await source.read_into(room):
            taken += room[:got]
            if expected is not None and len(taken) > expected:
                break
        if expected is not None and len(taken) != expected:
            raise SizeMismatch(f"Size mismatch: expected {expected} bytes, got {len(taken)} bytes")
        if self.at_end is not None:
            await self.at_end(pin)
        return self._keep(bytes(taken), cutting, base, hashes)

    async def open(self, manifests: Sequence[StoredManifest]) -> MemoryReader:
        top = manifests[0]
        digest, data = self.manifests[top.name]
        assert digest == top.digest
        reader = MemoryReader(data)
        self._readers.append(reader)
        return reader

    @property
    def open_readers(self) -> int:
        """Those that nobody has closed."""
        return sum(not reader.closed for reader in self._readers)

    async def checked(self, manifests: Sequence[StoredManifest], copy: CopyReader) -> CopyReader:
        return _Checked(copy, self.manifests[manifests[0].name][1])

    async def open_blocks(self, manifests: Sequence[StoredManifest]) -> BlockReader:
        raise NotImplementedError("whole images have no blocks: use a real store")

    @property
    def deltas(self) -> DeltaBlocks:
        raise NotImplementedError("whole images have no blocks: use a real store")

    def forget_journal(self, pin: str) -> None:
        self.journals.discard(pin)

    async def compute(self, step: Callable[[], T]) -> T:
        return step()

    async def flatten(self, manifests: Sequence[StoredManifest], report: Callable[[int, int], None]) -> Flattened:
        assert len(manifests) > 1
        digest, data = self.manifests[manifests[0].name]
        assert digest == manifests[0].digest
        report(len(data), len(data))
        if self.at_end is not None:
            await self.at_end("")
        name = names.new_name().hex()
        cutting = self.cuttings[manifests[0].name]
        self.manifests[name], self.cuttings[name] = (digest, data), cutting
        listed = sum(len(block) for block in _blocks(data, cutting) if any(block))
        return Flattened(Manifest(name, digest, None, 0, len(data), listed))

    def forget_manifest(self, name: str) -> None:
        del self.manifests[name]

    def _keep(self, data: bytes, cutting: Cutting, base: Sequence[StoredManifest], hashes: Sequence[str]) -> Written:
        manifest = names.new_name().hex()
        digest = hashlib.sha256(data).digest()
        self.manifests[manifest] = digest, data
        self.cuttings[manifest] = cutting
        over = base[0].name if base and cutting.is_fixed and self.cuttings[base[0].name] == cutting else None
        below = _blocks(self.manifests[over][1], cutting) if over else []
        blocks = _blocks(data, cutting)
        changed = [block for at, block in enumerate(blocks) if any(block) and block not in below[at : at + 1]]
        return Written(
            manifest=manifest,
            digest=digest,
            depth=len(base) if over else 0,
            size=len(data),
            hashes={name: hashlib.new(name, data).hexdigest() for name in hashes},
            new_blocks=len(blocks),
            new_bytes=len(data),
            held_blocks=0,
            hole_blocks=0,
            base=over,
            listed_bytes=sum(map(len, changed)),
            changed_bytes=sum(map(len, changed)),
        )


def _blocks(data: bytes, cutting: Cutting) -> list[bytes]:
    return [data[at : at + cutting.size] for at in range(0, len(data), cutting.size)]


class _Checked:
    def __init__(self, copy: CopyReader, data: bytes) -> None:
        self._copy = copy
        self._data = data

    @property
    def size(self) -> int:
        return self._copy.size

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        async for piece in self._copy.read(start, stop):
            if piece != self._data[start : start + len(piece)]:
                raise CopyWrong(f"A copy holds other bytes than the image from byte {start} on.")
            yield piece
            start += len(piece)

    def close(self) -> None:
        self._copy.close()


class MemoryReader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.closed = False

    @property
    def size(self) -> int:
        return len(self._data)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for first in range(start, stop, _PIECE):
            yield self._data[first : min(first + _PIECE, stop)]

    async def read_stored(self) -> AsyncIterator[StoredSpan]:
        yield StoredSpan([frames.compress(self._data)])

    def close(self) -> None:
        self.closed = True
