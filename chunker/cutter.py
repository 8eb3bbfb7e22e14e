"""The cutter contract: where the stream is cut into blocks.

A cutter is a pure function over a window of bytes. The caller shows it a window that begins at a block's
first byte; it answers with the ends of the blocks that are certain. Bytes after the last end are the tail:
the caller puts them at the head of the next window, so a cutter needs no state and no byte is cut twice.
Any way of splitting the stream into windows gives the same blocks, as long as each window but the last is
at least `longest` bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cutter(Protocol):
    """Decides where blocks end; see the module for the contract."""

    @property
    def longest(self) -> int:
        """The longest block it makes, in bytes: a window of this length always yields at least one end."""

    @property
    def aligned(self) -> int:
        """The block size when every block but the last has it and begins at a multiple of it; 0 otherwise."""

    def cut(self, window: memoryview, *, last: bool) -> Sequence[int]:
        """The ends of the blocks in `window`, ascending offsets in bytes from its beginning.

        With `last`, the stream ends with this window and the final end is its length (none for an empty
        window); without it, what lies after the final end belongs to the next window.
        """
