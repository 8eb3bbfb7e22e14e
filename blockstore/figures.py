"""What a running store tells of itself to whoever watches it: memory, rounds of syncs, the index's lock.

Nothing here is counted per block. Looking at the figures takes no lock that an upload waits for longer than a moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from blockstore.damage_met import Met
    from blockstore.pipeline.slabs import SlabPool

T = TypeVar("T")
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """One budget of memory, in bytes, and how many transfers wait to be let in."""

    budget: int
    taken: int
    queued: int

    @classmethod
    def of(cls, pool: SlabPool) -> PoolFigures:
        """The pool's figures now."""
        return cls(pool.budget, pool.taken, pool.queued)


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """A store now; `index_wait` is how long the index's present change has taken, in seconds, 0 without one.

    `rounds` are the seconds that each generation took to be made durable since the figures were looked at last.
    `met` is what readers met that was damaged, since the store was opened.
    """

    uploads: PoolFigures
    downloads: PoolFigures
    index_wait: float
    rounds: tuple[float, ...]
    met: Met


class Rounds:
    """How long each round of syncs took; remembers the last few thousand until they are asked for."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def timed(self, close: Callable[[T], None], generation: T) -> None:
        """Run `close(generation)` and remember how long it took."""
        began = clock.monotonic()
        try:
            close(generation)
        finally:
            self._seconds.append(clock.monotonic() - began)

    def drained(self) -> tuple[float, ...]:
        """What was not asked for before, the oldest first; on any thread."""
        found = []
        while self._seconds:
            found.append(self._seconds.popleft())
        return tuple(found)
