"""A delta upload: an image that is made of blocks that arrive by number, and of those that a base has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Delta:
    """One delta upload's record; sizes in bytes.

    `id` is the upload's and its pin's. `base_image` is the image whose blocks are kept where none arrives, as it was
    named; what is read is the manifest that the pin holds. `requests` counts those that were acknowledged: a commit
    is of as many as it has seen. `records` are those of the journal that somebody was told of, at least.
    """

    id: str
    image_id: str
    size: int
    block_size: int
    base_image: str | None
    expires_at: datetime
    requests: int = 0
    records: int = 0

    def has_seen(self, now: Delta) -> bool:
        """Whether all that was acknowledged by `now`, a later look at the same upload, was by this one."""
        return (self.requests, self.records) == (now.requests, now.records)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a project has under way: uploads of all kinds, and the bytes of its delta uploads' journals."""

    uploads: int
    journal_bytes: int
