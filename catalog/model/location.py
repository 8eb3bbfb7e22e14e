"""Where an image's bytes lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OUR_STORE: Final = "blocks"
"""The name of the store that holds our own blocks."""

ACTIVE: Final = "active"
"""The status of a location that may be read."""

LOST: Final = "lost"
"""The status of a location whose store is there and whose copy is not; it is not read until it was put back."""

WRONG: Final = "wrong"
"""The status of a location whose copy is there and holds other bytes: never read again, until it was put back."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place of an image's bytes: a URL in a named store.

    Our own blocks have the URL `blocks://<store id>/<manifest>`, and `manifest` names the manifest's row;
    for every other store `manifest` is None.
    """

    url: str
    store: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    manifest: str | None = None
    status: str = ACTIVE

    @property
    def is_active(self) -> bool:
        """Whether it may be read."""
        return self.status == ACTIVE


def our_location(store_id: str, manifest: str) -> Location:
    """The location of a manifest in the block store with this id (hex)."""
    return Location(url=f"blocks://{store_id}/{manifest}", store=OUR_STORE, manifest=manifest)
