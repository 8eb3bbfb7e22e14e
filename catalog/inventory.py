"""What the verbs that look after the data need of the catalog: everything, in one snapshot, synchronously.

They run in a process of their own, without a loop: so `Records` is the port `Database` without waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from catalog.model.manifest import Manifest
    from catalog.model.pin import Pin
    from catalog.ports import UnitOfWork

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image and one of its locations in our own store; `size` in bytes, None while it has no data.

    `url` and `manifest` are None for an image without such a location.
    """

    id: str
    name: str | None
    status: str
    size: int | None
    url: str | None
    manifest: str | None


@dataclass(frozen=True, slots=True)
class HeldCopies:
    """What images that are there have in one store beside our blocks: so many copies, in bytes of the images."""

    store: str
    status: str
    copies: int
    bytes: int


class Inventory(Protocol):
    """Everything in one transaction; in memory, some hundred bytes each."""

    def images(self) -> Sequence[HeldImage]:
        """All images; one with several locations of ours comes several times.

        Deleted ones that can be brought back are among them, with the status `deleted`.
        """
        ...

    def copies(self) -> Sequence[HeldCopies]:
        """What lies in other stores, by store and status; of deleted images nothing."""
        ...

    def without_place(self) -> Sequence[str]:
        """The ids of images that have bytes and no location that may be read."""
        ...

    def manifests(self) -> Sequence[Manifest]:
        """All manifests, live and retired."""
        ...

    def pins(self) -> Sequence[Pin]:
        """All pins."""
        ...

    def acknowledged(self) -> Mapping[str, int]:
        """How many records of its journal were acknowledged, of each delta upload by its pin's name."""
        ...

    def settle(self) -> None:
        """Write something, so that of what was tried before nothing comes about any more that has not yet."""
        ...

    def remove_retired(self, names: Sequence[str]) -> int:
        """Forget these manifests, if they are retired; gives how many were."""
        ...


class Records(Protocol):
    """Runs steps, each in a transaction of its own, on the caller's thread. As `ports.Database` otherwise."""

    def read(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step that only reads, on one snapshot."""
        ...

    def write(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step that may write; when this returns, its changes are durable."""
        ...
