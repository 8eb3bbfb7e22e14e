"""A member of an image, as it travels; the keys are the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.wire.errors import BadRequest
from httpapi.wire.images import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEMBERS_SCHEMA: Final = f"{ROOT}/schemas/members"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """What the API tells of one; times as on the wire."""

    image_id: str
    member_id: str
    status: str
    created_at: str
    updated_at: str

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "member_id": self.member_id,
            "image_id": self.image_id,
            "status": self.status,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "schema": f"{ROOT}/schemas/member",
        }


def members_json(members: Sequence[MemberRecord]) -> dict[str, object]:
    """The list of an image's members, which has no pages."""
    return {"members": [each.to_json() for each in members], "schema": MEMBERS_SCHEMA}


def text_of(document: Mapping[str, object], key: str) -> str:
    """The one text that a request on members says; raises BadRequest when it is missing or no text."""
    value = document.get(key)
    if not isinstance(value, str):
        raise BadRequest(f'The JSON body says {key} as a text, such as {{"{key}": "..."}}.')
    return value
