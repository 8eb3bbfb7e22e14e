"""What is needed to give what one project owns to another; `sql/ownership.py` fulfils it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from catalog.model.ownership import Handed, Handover


class Ownership(Protocol):
    """Whose things are, in one transaction."""

    def owners(self, image_ids: Collection[str]) -> Mapping[str, str | None]:
        """The owners of those of these images that there are, also as deleted ones that can be brought back."""
        ...

    def count(self, handover: Handover) -> Handed:
        """How much there is to be given."""
        ...

    def hand_over(self, handover: Handover, most: int) -> Handed:
        """Give at most so many rows of each kind; gives how many. Nothing is left when these are none.

        Nothing else of an image changes, the time of its last change neither. The taker is then no member of what it
        owns; where both were members of an image, the taker stays what it was.
        """
        ...
