"""Reading an image's bytes: window → places → runs that lie together → one pread a run → frames, each checked.

No byte leaves before the BLAKE3 of its block was right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.block_fetch import BlockFetch
from blockstore.digest import HOLE
from blockstore.errors import Damaged
from blockstore.frames import zero_frames
from blockstore.packs.pack_format import raw_length_of
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from blockstore.block import Place
    from blockstore.index.contract import BlockIndex
    from blockstore.manifest import ManifestFile
    from blockstore.packs.local import LocalPacks
    from blockstore.resolve import Window

PIECE: Final = 2 * 1024 * 1024
"""Bytes that are read, checked and handed on at a time (as many as the longest block has if that is longer)."""


class ManifestReader:
    """One image, given by its chain of manifests (newest first). `load` is safe on several threads at once."""

    def __init__(
        self,
        chain: Sequence[ManifestFile],
        index: BlockIndex,
        packs: LocalPacks,
        damaged: Callable[[bytes, Place], None],
    ) -> None:
        self._chain = chain
        self._resolver = Resolver(chain)
        self._fetch = BlockFetch(index, packs, damaged, what=str(chain[0].path))
        self.size = chain[0].header.size
        self.longest = chain[0].header.longest_block
        self.piece = max(PIECE, self.longest)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop` (within the image), in pieces; for callers without a crew."""
        for piece_start, piece_stop in self.pieces(start, stop):
            yield self.load(piece_start, piece_stop)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The spans to `load` one after another: each ends at a multiple of the piece size, or at `stop`."""
        while start < stop:
            end = min(stop, (start // self.piece + 1) * self.piece)
            yield start, end
            start = end

    def digests(self) -> list[bytes]:
        """The digest of every block in order; HOLE for holes. 32 bytes a block: for small images and checks."""
        return self._resolver.digests(0, self._chain[0].header.blocks)

    def load(self, start: int, stop: int) -> bytes:
        """The bytes of one span; Damaged (naming the file) rather than a wrong byte."""
        placed = self._resolver.blocks(start, stop)
        blocks = self._fetch.raw({block.digest: block.hint for block in placed if block.digest != HOLE})
        parts: list[bytes] = []
        for begins, length, name, _ in placed:
            block = bytes(length) if name == HOLE else blocks[name]
            if len(block) != length:
                raise self._misfit(len(block), begins, length)
            inside = slice(max(0, start - begins), min(length, stop - begins))
            parts.append(block if inside == slice(0, length) else block[inside])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def load_stored(self, start: int, stop: int) -> bytes:
        """The blocks that begin from `start` up to `stop` as zstd frames: as stored, holes as frames of zeros.

        RFC 8878; each entry's skippable header frame goes with it. `zstd -d` of all spans in order is the image.
        """
        parts: list[bytes | memoryview] = []
        for window in self._resolver.windows(start, stop):
            # A block that began before `start` was sent with the span before.
            begun = window.part(int(window.bounds[0] < start), len(window.digests))
            parts += self._fetch.stored_run_by_run(begun) or self._stored_block_by_block(begun)
        return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)

    def _stored_block_by_block(self, window: Window) -> list[bytes | memoryview]:
        placed = window.blocks()
        entries = self._fetch.stored({block.digest: block.hint for block in placed if block.digest != HOLE})
        parts: list[bytes | memoryview] = []
        zeros = 0
        for begins, length, name, _ in placed:
            if name == HOLE:
                zeros += length
                continue
            entry = entries[name]
            if raw_length_of(entry) != length:
                raise self._misfit(raw_length_of(entry), begins, length)
            parts += [*zero_frames(zeros), entry]
            zeros = 0
        return [*parts, *zero_frames(zeros)]

    def _misfit(self, found: int, begins: int, length: int) -> Damaged:
        return Damaged(f"{self._chain[0].path} names a block of {found} bytes at {begins}, where {length} belong")

    def close(self) -> None:
        """Close the manifests."""
        for manifest in self._chain:
            manifest.close()
