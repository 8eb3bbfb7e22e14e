"""Whether bytes from elsewhere are an image's: compared with the digests of its blocks, no pack is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore.digest import HOLE, digest
from chunker.holes import is_zero

if TYPE_CHECKING:
    from blockstore.resolve import Resolver


class Proof:
    """The digests of one image by position; safe on several threads, as long as its manifests are open."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def whole_blocks(self, start: int, stop: int) -> tuple[int, int]:
        """Where the block with byte `start` begins, and where that with the last byte before `stop` ends."""
        blocks = self._resolver.blocks(start, start + 1)
        last = self._resolver.blocks(stop - 1, stop)
        return blocks[0].begins, last[-1].begins + last[-1].length

    def first_wrong(self, start: int, data: memoryview) -> int | None:
        """Where the first block begins that these bytes are not; None: all are right.

        `data` are whole blocks from `start` on, within the image.
        """
        for block in self._resolver.blocks(start, start + len(data)):
            piece = data[block.begins - start : block.begins - start + block.length]
            if not (is_zero(piece) if block.digest == HOLE else digest(piece) == block.digest):
                return block.begins
        return None
