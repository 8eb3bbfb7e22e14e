"""How many rows a transaction may change: as many as BATCH, for as long as HOLD."""

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
    began = clock.monotonic()
    for done in range(1, min(count, BATCH) + 1):
        yield done
        if done % CHECK_EVERY == 0 and clock.monotonic() - began > HOLD:
            return
