"""Blocks cut where the content says so: for streams whose bytes shift, such as archives and ISO images.

FastCDC as of 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
Systems", IEEE TPDS 31(9)): a rolling Gear hash over the last 64 bytes ends a block wherever certain of its bits are
zero, so an insertion moves the ends only near itself. `pyfastcdc` computes it, this is its one home.

The ends are part of what makes two uploads share blocks, so ALGORITHM is recorded in every manifest: it stands for the
Gear table and the masks of the paper's reference code, seed 0, normalisation level 1, for what lies between `shortest`
and `longest`. A test pins the ends of a fixed input: a library that cuts differently is another algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pyfastcdc import FastCDC

if TYPE_CHECKING:
    from collections.abc import Sequence

ALGORITHM: Final = 1
"""FastCDC 2020 with the reference Gear table, seed 0, normalisation level 1."""
SMALLEST: Final = 16 * 1024
LARGEST: Final = 1024 * 1024
USUAL: Final = 64 * 1024
SPREAD: Final = 4
"""The shortest block is a quarter of the average asked for, the longest four times that."""
_NORMALISATION: Final = 1


class AverageRefused(ValueError):
    """The average size is no power of two between 16 KiB and 1 MiB."""


@dataclass(frozen=True, slots=True)
class ContentDefinedCutter:
    """Blocks of `average` bytes, roughly: a power of two between 16 KiB and 1 MiB, else AverageRefused.

    (On random bytes they come out about a fifth longer, since no end is looked for in the shortest block's length.)
    A run of zeros never ends a block, so it is cut at the longest length. For one caller at a time.
    """

    average: int = USUAL
    _library: FastCDC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not SMALLEST <= self.average <= LARGEST or self.average & (self.average - 1):
            raise AverageRefused(
                f"average block size {self.average} is refused: "
                f"choose a power of two from {SMALLEST} to {LARGEST} bytes",
            )
        library = FastCDC(
            self.average,
            min_size=self.shortest,
            max_size=self.longest,
            normalized_chunking=_NORMALISATION,
            seed=0,
        )
        object.__setattr__(self, "_library", library)

    @property
    def shortest(self) -> int:
        """The shortest block in bytes; only a stream's last one may be shorter."""
        return self.average // SPREAD

    @property
    def longest(self) -> int:
        """The longest block in bytes."""
        return self.average * SPREAD

    @property
    def aligned(self) -> int:
        """0: its blocks begin anywhere."""
        return 0

    def cut(self, window: memoryview, *, last: bool) -> Sequence[int]:
        """The ends that no byte behind the window could move, and with `last` the window's own (about 2–4 GB/s)."""
        ends = [chunk.offset + chunk.length for chunk in self._library.cut_buf(window)]
        # The library ends its last block with the window. That is an end of the stream only if the stream ends here,
        # or if the block can't get longer: otherwise it is the tail.
        if ends and not last:
            begins = ends[-2] if len(ends) > 1 else 0
            if ends[-1] - begins < self.longest:
                ends.pop()
        return ends
