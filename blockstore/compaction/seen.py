"""Which blocks were met before, in memory that doesn't grow with the store: a Bloom filter.

It errs for one block in thousands while there are 16 bits for each, and for more beyond 32 million blocks, for which
64 MiB are full. A block that it takes for met is left where it is: a matter of speed, never of right bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST: Final = 1 << 20
MOST: Final = 1 << 29
"""Bits: 64 MiB."""
BITS_EACH: Final = 16


class Seen:
    """A set of digests that can only grow, made for about `expected` of them."""

    def __init__(self, expected: int) -> None:
        bits = min(MOST, max(FEWEST, 1 << (expected * BITS_EACH).bit_length()))
        self._bits = np.zeros(bits // 8, dtype=np.uint8)
        self._mask = np.uint64(bits - 1)

    def claim(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of the digests, shape (n, 32), are met for the first time; from now on they are not."""
        # A digest is as random as any hash of it: its four words are the four hashes.
        words = np.ascontiguousarray(digests).view("<u8")
        slots = words & self._mask
        at, bit = (slots >> np.uint64(3)).astype(np.int64), (1 << (slots & np.uint64(7))).astype(np.uint8)
        new = ~(self._bits[at] & bit).astype(np.bool_).all(axis=1)
        first = np.zeros(len(words), dtype=np.bool_)
        first[np.unique(words[:, 0], return_index=True)[1]] = True
        new &= first
        np.bitwise_or.at(self._bits, at[new], bit[new])
        return new
