"""Extents that differ between two images, as they travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpapi.wire.images import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blockstore.diff import Extent

MOST_EXTENTS = 4096
"""Extents in one answer."""


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """A page of extents, and the byte that the next page begins with; sizes in bytes."""

    image: str
    since: str
    size: int
    since_size: int
    extents: Sequence[Extent]
    next: int | None = None

    def to_json(self, *, limit: int = MOST_EXTENTS) -> dict[str, object]:
        """The JSON object; the link to the next page keeps a `limit` that is not the usual one."""
        extents = [{"offset": each.offset, "length": each.length, "zero": each.zero} for each in self.extents]
        document: dict[str, object] = {
            "image": self.image,
            "since": self.since,
            "size": self.size,
            "since_size": self.since_size,
            "extents": extents,
        }
        if self.next is not None:
            more = "" if limit == MOST_EXTENTS else f"&limit={limit}"
            document["next"] = f"{ROOT}/images/{self.image}/changes?since={self.since}&from={self.next}{more}"
        return document


def parse_extents(document: Mapping[str, object]) -> list[tuple[int, int, bool]]:
    """(offset, length, zero) of each extent in a server's page; raises KeyError or TypeError when it is none."""
    extents = document["extents"]
    if not isinstance(extents, list):
        raise TypeError("extents is no list")
    return [(int(each["offset"]), int(each["length"]), bool(each["zero"])) for each in extents]
