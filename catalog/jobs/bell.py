"""The bell: tells this process's workers that there is something to do, so that they need not wait for their poll."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Event


class Bell:
    """Rung after a transaction that added a job has committed. Only the loop's thread touches it."""

    def __init__(self) -> None:
        self._listening: set[Event] = set()

    def listen(self, event: Event) -> None:
        """Set the event whenever the bell rings, until `leave`."""
        self._listening.add(event)

    def leave(self, event: Event) -> None:
        """No longer."""
        self._listening.discard(event)

    def ring(self) -> None:
        """There may be something to do."""
        for event in self._listening:
            event.set()
