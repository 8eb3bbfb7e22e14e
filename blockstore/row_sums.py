"""XXH3-64 of many short rows, computed by numpy for all of them at once.

A call for each took most of the time that it takes to read a journal, and kept the interpreter all the while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.checksum import xxh3

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_WORDS: Final = 6
_FEW: Final = 64
_AT_ONCE: Final = 1 << 13
"""Rows whose arrays stay in a processor's cache."""
# The first 64 bytes of XXH3's secret, its primes, and for each pair of a row's words the pair of the secret's that it
# is mixed with: doc/xxhash_spec.md of xxHash, "XXH3 17-240 bytes", for 48 bytes.
_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    ),
    dtype="<u8",
)
_BEGIN: Final = np.uint64(48 * 0x9E3779B185EBCA87 & (1 << 64) - 1)
_LAST: Final = np.uint64(0x165667919E3779F9)
_PAIRS: Final = ((2, 4), (2, 6), (0, 0), (4, 2))
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)


def xxh3_rows(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The sum of each row of 48 bytes, given as little-endian words of shape (n, 6)."""
    if len(rows) < _FEW:
        return np.array([xxh3(row.tobytes()) for row in rows], dtype=np.uint64)
    sums = [_sums(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]
    return np.concatenate(sums)


def _sums(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    total = np.full(len(rows), _BEGIN)
    for word, secret in _PAIRS:
        total += _folded(rows[:, word] ^ _SECRET[secret], rows[:, word + 1] ^ _SECRET[secret + 1])
    total ^= total >> np.uint64(37)
    total *= _LAST
    total ^= total >> _HALF
    return total


def _folded(one: NDArray[np.uint64], two: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Both halves of the products of 128 bits, one xor the other."""
    one_low, one_high, two_low, two_high = one & _LOW, one >> _HALF, two & _LOW, two >> _HALF
    crossed = one_high * two_low
    middle = (one_low * two_low >> _HALF) + (crossed & _LOW) + one_low * two_high
    high: NDArray[np.uint64] = one_high * two_high + (crossed >> _HALF) + (middle >> _HALF)
    return high ^ one * two
