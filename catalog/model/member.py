"""A member: another project that an image is shared with, and what it said to that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class MemberStatus(StrEnum):
    """What a project says to an image that is shared with it; it decides in which of its lists the image stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One image, shared with the project `id`. It counts only while the image's visibility is `shared`."""

    image_id: str
    id: str
    created_at: datetime
    updated_at: datetime
    status: MemberStatus = MemberStatus.PENDING

    def answered(self, status: MemberStatus, *, at: datetime) -> Member:
        """The project says something else, or the same again."""
        return replace(self, status=status, updated_at=at)
