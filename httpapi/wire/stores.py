"""Stores as they travel. What is true is the text `true`, as the reference tells it; what is not is not told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STORES_HEADER: Final = "OpenStack-image-store-ids"
"""The header of a new image that names the stores which can take its bytes, with commas between them."""

_TRUE: Final = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecord:
    """What is told of a store: to everybody up to `read_only`, the rest to whom the rule `stores_info_detail` lets."""

    id: str
    description: str | None = None
    default: bool = False
    read_only: bool = False
    type: str | None = None
    weight: int | None = None
    properties: Mapping[str, object] = field(default_factory=dict)

    def to_json(self, *, detail: bool) -> dict[str, object]:
        """The JSON object that a server sends."""
        document: dict[str, object] = {"id": self.id}
        if self.description is not None:
            document["description"] = self.description
        if self.default:
            document["default"] = _TRUE
        if self.read_only:
            document["read-only"] = _TRUE
        if detail:
            document |= {"type": self.type, "weight": self.weight, "properties": dict(self.properties)}
        return document


def stores_document(stores: Iterable[StoreRecord], *, detail: bool) -> dict[str, object]:
    """The list, in this order."""
    return {"stores": [store.to_json(detail=detail) for store in stores]}


def parse_stores(document: object) -> list[StoreRecord]:
    """The stores of a server's list. Raises ValueError for what is none."""
    match document:
        case {"stores": [*listed]}:
            return [_parse(each) for each in listed]
        case _:
            raise ValueError("no list of stores")


def _parse(document: object) -> StoreRecord:
    if not isinstance(document, dict):
        raise ValueError("a store that is no object")  # noqa: TRY004 - the answer's value is wrong, not our type
    name, description, kind, weight = (document.get(key) for key in ("id", "description", "type", "weight"))
    properties = document.get("properties")
    if not isinstance(name, str):
        raise ValueError("a store without an id")  # noqa: TRY004 - the same
    return StoreRecord(
        id=name,
        description=description if isinstance(description, str) else None,
        default=_is_true(document.get("default")),
        read_only=_is_true(document.get("read-only")),
        type=kind if isinstance(kind, str) else None,
        weight=weight if isinstance(weight, int) else None,
        properties=properties if isinstance(properties, dict) else {},
    )


def _is_true(value: object) -> bool:
    return value is True or value == _TRUE
