"""Blocks of one size, aligned at 0: what disk images want, whose bytes do not shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST: Final = 4 * 1024
LONGEST: Final = 4 * 1024 * 1024
USUAL: Final = 64 * 1024


class BlockSizeRefused(ValueError):
    """The block size is no power of two between 4 KiB and 4 MiB."""


@dataclass(frozen=True, slots=True)
class FixedCutter:
    """Cuts every `size` bytes; a power of two between 4 KiB and 4 MiB, else BlockSizeRefused."""

    size: int = USUAL

    def __post_init__(self) -> None:
        if not SMALLEST <= self.size <= LONGEST or self.size & (self.size - 1):
            raise BlockSizeRefused(
                f"block size {self.size} is refused: choose a power of two from {SMALLEST} to {LONGEST} bytes",
            )

    @property
    def longest(self) -> int:
        """A block's length in bytes."""
        return self.size

    @property
    def aligned(self) -> int:
        """A block's length in bytes: every block begins at a multiple of it."""
        return self.size

    def cut(self, window: memoryview, *, last: bool) -> Sequence[int]:
        """Every multiple of the size, and with `last` the odd tail."""
        ends = list(range(self.size, len(window) + 1, self.size))
        if last and len(window) % self.size:
            ends.append(len(window))
        return ends
