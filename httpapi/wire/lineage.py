"""Where an image came from, as it travels. Ours: the reference knows no parents.

It is apart from the images' records, where clients turn keys that they do not know into properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ParentRecord:
    """An image's parent: its id, and whether this caller sees it; one that was deleted is seen by nobody."""

    id: str
    visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRecord:
    """An image in its line; sizes in bytes: `size` of the full disk, `changed_size` of what its parent has not.

    `changed_size` is None where there is no data yet, and where this caller may not know it.
    """

    id: str
    name: str | None
    status: str
    created_at: str
    size: int | None
    changed_size: int | None
    parent: ParentRecord | None

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        parent = self.parent
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "created_at": self.created_at,
            "size": self.size,
            "changed_size": self.changed_size,
            "parent": None if parent is None else {"id": parent.id, "visible": parent.visible},
        }


def parse_lineage(document: Mapping[str, object]) -> LineageRecord:
    """The record in a server's JSON object; raises KeyError when what each has is missing or of another type."""
    parent = document.get("parent")
    return LineageRecord(
        id=_text(document, "id"),
        name=_text(document, "name") if document.get("name") is not None else None,
        status=_text(document, "status"),
        created_at=_text(document, "created_at"),
        size=_size(document, "size"),
        changed_size=_size(document, "changed_size"),
        parent=ParentRecord(_text(parent, "id"), parent.get("visible") is True) if isinstance(parent, dict) else None,
    )


def _text(document: Mapping[str, object], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise KeyError(key)
    return value


def _size(document: Mapping[str, object], key: str) -> int | None:
    value = document[key]
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise KeyError(key)
    return value
