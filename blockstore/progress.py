"""How far a long look at the data is: told to whoever wants to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by one thread at a time. An exception from it (an interruption) ends the work between two safe steps."""

    def begin(self, what: str, total: int, unit: str = "") -> None:
        """A new stretch of work, of `total` bytes (unit "B") or things; 0 when nobody knows."""

    def moved(self, done: int) -> None:
        """So much of it is done, counted from its beginning."""

    def note(self, sentence: str) -> None:
        """Something that is worth a line."""


class Silent:
    """Shows nothing."""

    def begin(self, what: str, total: int, unit: str = "") -> None:
        """Nothing."""

    def moved(self, done: int) -> None:
        """Nothing."""

    def note(self, sentence: str) -> None:
        """Nothing."""
