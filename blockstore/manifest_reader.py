"""Reading an image's bytes: window → places → runs that lie together → one pread a run → frames, each checked.

No byte leaves before the BLAKE3 of its block was right.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.block_fetch import BlockFetch
from blockstore.diff import Difference
from blockstore.digest import HOLE
from blockstore.errors import Damaged
from blockstore.flat import FlatManifest
from blockstore.frames import zero_frames
from blockstore.packs.pack_format import raw_length_of
from blockstore.proof import Proof
from blockstore.resolve import Resolver
from blockstore.sent_blocks import NumberRange, SentHoles
from blockstore.stored_span import StoredSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from blockstore.block import Place
    from blockstore.index.contract import BlockIndex
    from blockstore.manifest import ManifestFile
    from blockstore.manifest_format import Header
    from blockstore.packs.local import LocalPacks
    from blockstore.resolve import Window

PIECE: Final = 4 * 1024 * 1024
"""Bytes that are read, checked and handed on at a time (as many as the longest block has if that is longer)."""


class ManifestReader:
    """One image, given by its chain of manifests (newest first). `load` is safe on several threads at once."""

    def __init__(
        self,
        chain: Sequence[ManifestFile],
        index: BlockIndex,
        packs: LocalPacks,
        damaged: Callable[[bytes, Place], None],
        looked_up: Callable[[Path, list[bytes]], object],
    ) -> None:
        self._chain = chain
        self._resolver = Resolver(chain)
        newest = chain[0].path
        self._fetch = BlockFetch(index, packs, damaged, partial(looked_up, newest), what=str(newest))
        self.header: Header = chain[0].header
        self.size = chain[0].header.size
        self.longest = chain[0].header.longest_block
        self.piece = max(PIECE, self.longest)
        self.overhang = 0 if chain[0].header.is_fixed else self.longest
        """By how many bytes a block that begins in a span of whole pieces may reach beyond it."""

    def read(self, start: int, stop: int) -> Iterator[bytearray]:
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

    def load(self, start: int, stop: int) -> bytearray:
        """The bytes of one span in memory of its own, see `load_into`."""
        room = bytearray(stop - start)
        self.load_into(start, stop, memoryview(room))
        return room

    def load_into(self, start: int, stop: int, room: memoryview) -> None:
        """Put the bytes of one span into `room`, which is as long; Damaged (naming the file) rather than a wrong byte.

        After an error `room` may hold anything.
        """
        for window in self._resolver.windows(start, stop):
            # A block that the span cuts is read apart.
            first = int(window.bounds[0] < start)
            last = max(first, len(window) - int(window.bounds[-1] > stop))
            whole = window.part(first, last)
            if len(whole):
                part = room[int(whole.bounds[0]) - start : int(whole.bounds[-1]) - start]
                if not self._fetch.fill(whole, part):
                    self._fill_block_by_block(whole, part)
            for edge in (window.part(0, first), window.part(last, len(window))):
                if len(edge):
                    self._fill_edge(edge, start, stop, room)

    def read_stored(self, start: int, stop: int) -> bytes:
        """What `load_stored` gives, in memory; for callers without a crew."""
        with contextlib.closing(self.load_stored(start, stop, memoryview(b""))) as span:
            return span.load()

    def load_stored(self, start: int, stop: int, room: memoryview) -> StoredSpan:
        """The blocks that begin from `start` up to `stop` as zstd frames: as stored, holes as frames of zeros.

        RFC 8878; each entry's skippable header frame goes with it. `zstd -d` of all spans in order is the image. Parts
        may lie in `room`. Close each span. Damaged as `load_into`.
        """
        # A block that began before `start` was sent with the span before.
        windows = [
            window.part(int(window.bounds[0] < start), len(window)) for window in self._resolver.windows(start, stop)
        ]
        span = StoredSpan(room=room)
        try:
            if not all(self._fetch.add_stored(window, span) for window in windows):
                span.close()
                span.parts = [part for window in windows for part in self._stored_block_by_block(window)]
        except BaseException:
            span.close()
            raise
        return span

    def _fill_block_by_block(self, window: Window, room: memoryview) -> None:
        placed = window.blocks()
        blocks = self._fetch.raw({block.digest: block.hint for block in placed if block.digest != HOLE})
        at = 0
        for begins, length, name, _ in placed:
            block = bytes(length) if name == HOLE else blocks[name]
            if len(block) != length:
                raise self._misfit(len(block), begins, length)
            room[at : at + length] = block
            at += length

    def _fill_edge(self, block: Window, start: int, stop: int, room: memoryview) -> None:
        """The part of one block that lies in the span."""
        begins, ends = int(block.bounds[0]), int(block.bounds[-1])
        whole = memoryview(bytearray(ends - begins))
        self._fill_block_by_block(block, whole)
        inside = whole[max(0, start - begins) : stop - begins]
        at = max(0, begins - start)
        room[at : at + len(inside)] = inside

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

    def entries(self, first: int, count: int) -> list[tuple[int, memoryview] | SentHoles]:
        """`count` blocks from number `first` on, within the image: (number, entry as stored), or a run of holes."""
        placed = [block for window in self._resolver.numbered(first, count) for block in window.blocks()]
        entries = self._fetch.stored({block.digest: block.hint for block in placed if block.digest != HOLE})
        found: list[tuple[int, memoryview] | SentHoles] = []
        for number, (begins, length, name, _) in enumerate(placed, first):
            if name != HOLE:
                entry = entries[name]
                if raw_length_of(entry) != length:
                    raise self._misfit(raw_length_of(entry), begins, length)
                found.append((number, entry))
            elif found and isinstance(found[-1], SentHoles):
                run = found[-1].numbers
                found[-1] = SentHoles(NumberRange(run.first, run.count + 1))
            else:
                found.append(SentHoles(NumberRange(number, 1)))
        return found

    def blocks(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """Length and digest of `count` blocks from number `first` on, within the image; HOLE for holes."""
        placed = (block for window in self._resolver.numbered(first, count) for block in window.blocks())
        return [(block.length, block.digest) for block in placed]

    def flat(self) -> FlatManifest:
        """The image's flat manifest, which lives as long as this reader is open."""
        return FlatManifest(self._chain)

    def proof(self) -> Proof:
        """What tells whether bytes from elsewhere are this image's, while this reader is open."""
        return Proof(self._resolver)

    def difference(self, since: ManifestReader) -> Difference:
        """What differs from another image, while both are open."""
        return Difference(self._chain, since._chain)

    def _misfit(self, found: int, begins: int, length: int) -> Damaged:
        return Damaged(f"{self._chain[0].path} names a block of {found} bytes at {begins}, where {length} belong")

    def close(self) -> None:
        """Close the manifests."""
        for manifest in self._chain:
            manifest.close()
