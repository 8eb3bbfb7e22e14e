"""Which places answer just now: those that failed are set aside for a pause, twice as long each time in a row.

Nothing here waits or asks anybody; it is told what went well and what failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0
"""Seconds. A store that is back is in its order again after this, if nobody could read from it before."""


@dataclass(slots=True)
class _Trouble:
    """A place that failed: how long its pause is, when it ends, and whether somebody asks it just now."""

    pause: float
    until: float
    asked: bool = False


class Health:
    """The health of places, each called by any text; `now` gives seconds that never go back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._troubles: dict[str, _Trouble] = {}

    def failed(self, place: str) -> None:
        """Set it aside. Many who fail at once, or while it is aside anyway, count once."""
        trouble = self._troubles.get(place)
        if trouble is None:
            self._troubles[place] = _Trouble(SHORTEST_PAUSE, self._now() + SHORTEST_PAUSE)
        elif trouble.asked or trouble.until <= self._now():
            trouble.pause = min(2 * trouble.pause, LONGEST_PAUSE)
            trouble.until = self._now() + trouble.pause
            trouble.asked = False

    def worked(self, place: str) -> None:
        """Bytes came from there, or went there: whatever was, is over."""
        self._troubles.pop(place, None)

    def answered(self, place: str) -> None:
        """It says that it is well: it is in its order again, and what its next pause would be is remembered."""
        if (trouble := self._troubles.get(place)) is not None:
            trouble.asked = False
            trouble.until = min(trouble.until, self._now())

    def asks(self, place: str) -> None:
        """Somebody asks it how it is: it stays aside until it has said so, however long its pause is."""
        if (trouble := self._troubles.get(place)) is not None and self.aside_until(place) is not None:
            trouble.asked = True

    def aside_until(self, place: str) -> float | None:
        """When the pause of a place ends that is set aside, perhaps a moment ago; None for one that is not."""
        trouble = self._troubles.get(place)
        if trouble is None or not (trouble.asked or trouble.until > self._now()):
            return None
        return trouble.until

    def ending(self, within: float) -> Sequence[str]:
        """Places that are set aside, and whose pause ends within so many seconds."""
        soon = self._now() + within
        return [
            place
            for place, trouble in self._troubles.items()
            if self.aside_until(place) is not None and trouble.until <= soon
        ]
