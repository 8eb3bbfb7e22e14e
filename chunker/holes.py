"""Which blocks are all zero. Such a block is a hole: never stored, never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORD = 8


def is_zero(block: memoryview) -> bool:
    """Whether every byte of `block` is zero (12–40 GB/s; comparing with `bytes` runs at 0.6)."""
    words = len(block) // WORD
    if words:
        view = np.frombuffer(block, dtype=np.uint64, count=words)
        # The first and the last word tell nearly every block of data apart from a hole.
        if view[0] or view[-1] or view.any():
            return False
    return not any(block[words * WORD :])


def find_holes(window: memoryview, ends: Sequence[int]) -> NDArray[np.bool_]:
    """For each block of `window` that ends at one of `ends`, whether it is a hole; shape (len(ends),)."""
    holes = np.zeros(len(ends), dtype=np.bool_)
    if not ends:
        return holes
    size = ends[0]
    even = _even_blocks(ends, size)
    if even:
        words = np.frombuffer(window, dtype=np.uint64, count=even * size // WORD).reshape(even, size // WORD)
        maybe = np.flatnonzero((words[:, 0] == 0) & (words[:, -1] == 0)).tolist()
        for at in maybe:
            holes[at] = not words[at].any()
    start = ends[even - 1] if even else 0
    for at in range(even, len(ends)):
        holes[at] = is_zero(window[start : ends[at]])
        start = ends[at]
    return holes


def _even_blocks(ends: Sequence[int], size: int) -> int:
    """How many blocks from the first on have the same length, a multiple of the word."""
    if size % WORD:
        return 0
    regular = np.asarray(ends) == np.arange(1, len(ends) + 1) * size
    return len(ends) if regular.all() else int(regular.argmin())
