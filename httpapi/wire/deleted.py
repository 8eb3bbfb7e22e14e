"""A deleted image that can be brought back, as it travels. Ours: to the reference a deleted image is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOST_HEADER: Final = "x-drystone-lost-visibility"
"""Of an image that is back, and private: the visibility that it had, which the caller may not give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedRecord:
    """What is told of one; `size` in bytes, times as on the wire.

    `status` is the one that it had and would have again. Until `kept_until` no collection takes it.
    """

    id: str
    name: str | None
    owner: str | None
    status: str
    size: int | None
    created_at: str
    deleted_at: str
    kept_until: str

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "id": self.id,
            "name": self.name,
            "owner": self.owner,
            "status": self.status,
            "size": self.size,
            "created_at": self.created_at,
            "deleted_at": self.deleted_at,
            "kept_until": self.kept_until,
        }


def parse_deleted(document: Mapping[str, object]) -> DeletedRecord:
    """The record in a server's JSON object; raises KeyError when what each has is missing or of another type."""
    size = document["size"]
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise KeyError("size")
    return DeletedRecord(
        id=_text(document, "id"),
        name=_text(document, "name") if document.get("name") is not None else None,
        owner=_text(document, "owner") if document.get("owner") is not None else None,
        status=_text(document, "status"),
        size=size,
        created_at=_text(document, "created_at"),
        deleted_at=_text(document, "deleted_at"),
        kept_until=_text(document, "kept_until"),
    )


def _text(document: Mapping[str, object], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise KeyError(key)
    return value
