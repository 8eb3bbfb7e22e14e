"""How whoever is in no hurry shares the machine: it reads at most so fast, and leaves the index's lock to others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from blockstore import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from blockstore.index.writer import IndexWriter
    from blockstore.throttle import Throttle

T = TypeVar("T")


class Pace(Protocol):
    """Told of each read, asked for each change of the index."""

    def read(self, count: int) -> None:
        """So many bytes are read."""

    def change(self, change: Callable[[], T]) -> T:
        """Change the index, a batch at most; then leave its lock to others for a while."""


class Turns:
    """Changes take turns with those of others: after each it rests for as long as that took."""

    def __init__(self, writer: IndexWriter, throttle: Throttle) -> None:
        self._writer = writer
        self._throttle = throttle

    def read(self, count: int) -> None:
        """Wait until they may be."""
        self._throttle.take(count)

    def change(self, change: Callable[[], T]) -> T:
        """Change, then rest."""
        began = clock.monotonic()
        result = self._writer.run(change)
        time.sleep(clock.monotonic() - began)
        return result
