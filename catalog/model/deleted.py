"""Deleted images: those that can be brought back, and what is remembered of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from catalog.model.image import Status
    from catalog.model.location import Location

KEEP_DELETED: Final = 86400.0
"""Seconds for which a deleted image can be brought back, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A deleted image that can be brought back; `status` is the one that it had and would have again."""

    id: str
    name: str | None
    owner: str | None
    status: Status
    size: int | None
    created_at: datetime
    deleted_at: datetime

    def until(self, keep: timedelta) -> datetime:
        """When a collection may take it, if deleted images are kept for so long."""
        return self.deleted_at + keep


@dataclass(frozen=True, slots=True)
class FormerImage:
    """What stays of an image for ever: its id, and whose it was (None: nobody's, or not known any more)."""

    id: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a kept image named and nothing of it names any more: our manifests, and its copies in other stores."""

    manifests: Sequence[str]
    copies: Sequence[Location]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptQuery:
    """What a list of deleted images asks: `name` None for all names; `marker` is the last id of the page before."""

    name: str | None = None
    marker: str | None = None
    limit: int = 25


@dataclass(frozen=True, slots=True)
class KeptPage:
    """One page of such a list; `more` tells that images follow it."""

    images: tuple[KeptImage, ...]
    more: bool
