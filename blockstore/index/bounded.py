"""How long a transaction may keep the write lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.index.contract import BATCH, HOLD

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK_EVERY: Final = 256
"""Rows between two looks at the clock while the write lock is held."""


def bounded(count: int) -> Iterator[int]:
    """1, 2, 3 … count, but ending early after BATCH rows or when the lock was held for HOLD seconds."""
    for piece in pieces(count, BATCH):
        yield from range(piece.start + 1, piece.stop + 1)


def pieces(count: int, most: int) -> Iterator[slice]:
    """Slices of `count` rows, one after another, ending early after `most` rows or when HOLD is over."""
    began = clock.monotonic()
    last = min(count, most)
    for first in range(0, last, CHECK_EVERY):
        yield slice(first, min(first + CHECK_EVERY, last))
        if clock.monotonic() - began > HOLD:
            return
