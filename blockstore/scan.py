"""Looking at a window of bytes: where it is cut, what is a hole, what each block is called.

Server and client share this, so that both ends always cut and name blocks the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.digest import HOLE, digest
from chunker.holes import find_holes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Scanned:
    """The blocks of one window: `ends` are offsets in bytes; a hole's digest is HOLE (32 zero bytes)."""

    ends: Sequence[int]
    digests: Sequence[bytes]

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each block in the window."""
        start = 0
        for end in self.ends:
            yield start, end
            start = end


def scan(window: memoryview, ends: Sequence[int]) -> Scanned:
    """Find holes and hash the rest; frees the GIL for most of its time."""
    holes = find_holes(window, ends)
    digests = []
    start = 0
    for end, hole in zip(ends, holes.tolist(), strict=True):
        digests.append(HOLE if hole else digest(window[start:end]))
        start = end
    return Scanned(ends, digests)
