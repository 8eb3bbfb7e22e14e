"""How a collection shares the machine with those who serve.

It reads at most so fast. Beside others it rests as long as a change of the index took, and stays off the processor
more than twice as long as on it: then uploads keep four fifths of two cores, whatever the system makes of priorities.
Where others kept it waiting, for a processor, the disk or the index's lock, they had their turn: that counts as rest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore import clock
from blockstore.leases.flock import held_files
from blockstore.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from blockstore.bare_store import BareStore

T = TypeVar("T")
LONGEST_REST: Final = 1.0
SLICE: Final = 0.05
"""Seconds of processor time between two rests."""
REST: Final = 2.2
"""Seconds off the processor for a second on it."""
LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at who else is there."""


class Pace:
    """Changes of the index and reads of one collection go through it; one thread."""

    def __init__(self, store: BareStore, rate: int | None) -> None:
        self._store = store
        self.throttle = Throttle(rate)
        self._rested = clock.monotonic()
        self._used = time.process_time()
        self._looked = 0.0
        self._alone = False

    def read(self, count: int) -> None:
        """So many bytes were read and looked at."""
        self.throttle.take(count)
        if time.process_time() - self._used > SLICE:
            self._rest(0.0)

    def change(self, change: Callable[[], T]) -> T:
        """Change the index in a batch, then leave its lock to others for as long. StoreUnavailable as its writer."""
        began = clock.monotonic()
        result = self._store.writer.run(change)
        self._rest(clock.monotonic() - began)
        return result

    def _rest(self, least: float) -> None:
        now = clock.monotonic()
        if not self._is_alone(now):
            computed = time.process_time() - self._used
            waited = now - self._rested - computed
            time.sleep(min(LONGEST_REST, max(least, REST * computed - waited)))
        self._rested, self._used = clock.monotonic(), time.process_time()

    def _is_alone(self, now: float) -> bool:
        if not self._looked or now - self._looked > LOOK_AGAIN:
            self._looked = now
            self._alone = len(held_files(self._store.data.folder("processes"))) < 2
        return self._alone
