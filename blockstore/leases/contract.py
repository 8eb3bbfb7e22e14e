"""The contract of leases: a writer's word that it is at work right now.

A lease covers one writer generation: it is opened before the generation's first look-up and closed after its journal
is durable; seconds. The collector waits for leases and for nothing else. What holds after a crash: the lease of a dead
process is not live. What the caller owes: `check` right before it journals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Lease(Protocol):
    """One open lease."""

    @property
    def name(self) -> str:
        """Its name, 32 hex digits."""

    def check(self) -> None:
        """LeaseLost if the collector may not count on it any more."""

    def close(self) -> None:
        """The generation is over."""


class Leases(Protocol):
    """Where leases are opened and listed."""

    def open(self, purpose: str) -> Lease:
        """A new lease, live when this returns; `purpose` is for people who look at what is open."""

    def live(self) -> AbstractSet[str]:
        """The names of all leases that are held at this moment."""
