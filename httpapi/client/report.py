"""How a transfer tells how far it is: what `push` and `pull` call, and what a progress bar implements."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Called on the event loop; must return at once."""

    def begin(self, total: int | None) -> None:
        """The transfer starts, or once more from its beginning; `total` bytes are to move, None if not known."""

    def moved(self, done: int) -> None:
        """So many bytes have moved since the beginning."""

    def compared(self, unchanged: int, moved: int) -> None:
        """Of a transfer of what differs: so many bytes need not move, so many have gone through the network."""

    def tell(self, sentence: str) -> None:
        """What is being done, for whoever wants to know."""

    def note(self, sentence: str) -> None:
        """Something the user should know, although the transfer goes on."""


class NoReport:
    """For callers who do not want to know."""

    def begin(self, total: int | None) -> None:
        """Nothing."""

    def moved(self, done: int) -> None:
        """Nothing."""

    def compared(self, unchanged: int, moved: int) -> None:
        """Nothing."""

    def tell(self, sentence: str) -> None:
        """Nothing."""

    def note(self, sentence: str) -> None:
        """Nothing."""
