"""How long each stretch of a collection took, told by what its progress is told."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from blockstore import clock

if TYPE_CHECKING:
    from blockstore.progress import Progress


class Timed:
    """Progress that passes everything on, and sums up seconds by stretch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._stretch = ""
        self._began = 0.0

    def begin(self, what: str, total: int, unit: str = "") -> None:
        """The one before is over."""
        self._end()
        self._stretch, self._began = what, clock.monotonic()
        self._progress.begin(what, total, unit)

    def moved(self, done: int) -> None:
        """Passed on."""
        self._progress.moved(done)

    def note(self, sentence: str) -> None:
        """Passed on."""
        self._progress.note(sentence)

    def seconds(self) -> dict[str, float]:
        """Of each stretch; the last one is over, too."""
        self._end()
        return {what: round(seconds, 3) for what, seconds in self._sums.items()}

    def _end(self) -> None:
        if self._stretch:
            self._sums[self._stretch] += clock.monotonic() - self._began
            self._stretch = ""
