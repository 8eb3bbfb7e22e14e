"""What the use cases need of staged bytes and loose copies in one transaction; `sql/staged.py`, `sql/loose.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from catalog.model.location import Location
    from catalog.model.loose import LooseCopy
    from catalog.model.staged import Staged


class StagedBytes(Protocol):
    """Staged bytes; each goes with its pin, whoever removes that."""

    def add(self, staged: Staged) -> None:
        """Keep them; their pin and their manifest are there."""
        ...

    def of_image(self, image_id: str) -> Staged | None:
        """What is staged for this image, or None."""
        ...

    def expired(self, now: datetime) -> Sequence[Staged]:
        """What has waited for its import for too long."""
        ...


class LooseCopies(Protocol):
    """Copies that no image has."""

    def begin(self, copy: LooseCopy) -> None:
        """Record a copy that is about to be written."""
        ...

    def settle(self, url: str) -> bool:
        """The copy is an image's from this transaction on; False, when it is not recorded as being written any more."""
        ...

    def doom(self, copies: Collection[LooseCopy]) -> None:
        """These are to be removed, whether they were recorded before or were an image's until this transaction."""
        ...

    def writing(self) -> Sequence[LooseCopy]:
        """All that are being written, as far as is known."""
        ...

    def doomed(self, store: str, most: int) -> Sequence[LooseCopy]:
        """The first ones of a store that are to be removed, the oldest first."""
        ...

    def stores(self) -> Collection[str]:
        """The stores that something is to be removed from."""
        ...

    def forget(self, url: str) -> None:
        """The copy was removed from its store."""
        ...


class Places(Protocol):
    """Images' locations across the catalog."""

    def in_store(self, store: str, after: str, most: int) -> Sequence[tuple[str, Location, int | None]]:
        """Image id, location and the image's size of locations in a store, by image id, behind the id `after`."""
        ...

    def lost(self, after: str, most: int) -> Sequence[tuple[str, Location, int | None]]:
        """The same of copies in all stores that were found lost, or wrong."""
        ...

    def is_named(self, url: str) -> bool:
        """Whether an image, kept or not, has this URL."""
        ...
