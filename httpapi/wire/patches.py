"""What a PATCH of an image says, in both dialects of the API, as one list of operations.

`application/openstack-images-v2.1-json-patch` is RFC 6902's form, in which `add` sets what is there already, too;
`application/openstack-images-v2.0-json-patch` the fourth draft's, `{"replace": "/name", "value": …}`, in which `add`
insists on something new. Both know add, replace and remove, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from httpapi.wire.errors import BadRequest, UnsupportedBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOCATIONS: Final = "locations"


class Dialect(StrEnum):
    """The media types that a PATCH may have."""

    DRAFT_4 = "application/openstack-images-v2.0-json-patch"
    RFC_6902 = "application/openstack-images-v2.1-json-patch"


ACCEPT_PATCH: Final = ", ".join(sorted(Dialect))
"""The header by which a server says what it takes (RFC 5789)."""

_OPERATIONS: Final = ("add", "remove", "replace")
# Of everything else an attribute as a whole is changed.
_LOCATION_DEPTHS: Final = {"add": 2, "remove": 2, "replace": 1}
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")


@dataclass(frozen=True, slots=True)
class PatchOperation:
    """One operation: `act` is `add` (something new), `put` (new or not), `replace` or `remove`; `at` what is inside."""

    act: str
    name: str
    value: object = None
    at: str | None = None


def dialect_of(media_type: str) -> Dialect:
    """The dialect of a body; raises UnsupportedBody for any other type."""
    try:
        return Dialect(media_type)
    except ValueError:
        raise UnsupportedBody(
            f"A PATCH is sent with one of these as its Content-Type: {ACCEPT_PATCH}.", accept_patch=ACCEPT_PATCH
        ) from None


def parse_patch(document: object, dialect: Dialect) -> tuple[PatchOperation, ...]:
    """The operations of a JSON document, in order. Raises BadRequest, naming the operation by its number from 1."""
    if not isinstance(document, list):
        raise BadRequest("A PATCH is a JSON array of operations, such as [].")
    return tuple(_operation(number, each, dialect) for number, each in enumerate(document, start=1))


def patch_document(operations: Iterable[PatchOperation]) -> list[dict[str, object]]:
    """The operations as the newer dialect has them, which has no `add` that insists on something new."""
    return [
        {"op": "add" if each.act == "put" else each.act, "path": pointer_to(each.name)}
        | ({} if each.act == "remove" else {"value": each.value})
        for each in operations
    ]


def pointer_to(name: str) -> str:
    """The JSON pointer that names an attribute."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _operation(number: int, raw: object, dialect: Dialect) -> PatchOperation:
    if not isinstance(raw, dict):
        raise BadRequest(f"Operation {number} is no JSON object.")
    kind, pointer = _as_rfc(number, raw) if dialect is Dialect.RFC_6902 else _as_draft(number, raw)
    if not isinstance(pointer, str):
        raise BadRequest(f"Operation {number} has no path; it is a text such as '/name'.")
    name, *inside = _attribute(number, kind, pointer)
    at = inside[0] if inside else None
    if kind == "remove":
        return PatchOperation(kind, name, at=at)
    if "value" not in raw:
        raise BadRequest(f"Operation {number} has no value; {kind} needs one.")
    act = "put" if kind == "add" and dialect is Dialect.RFC_6902 else kind
    return PatchOperation(act, name, raw["value"], at)


def _as_rfc(number: int, raw: Mapping[str, object]) -> tuple[str, object]:
    kind = raw.get("op")
    if not isinstance(kind, str) or kind not in _OPERATIONS:
        raise BadRequest(f"Operation {number} has no op that is known here; it is one of {', '.join(_OPERATIONS)}.")
    return kind, raw.get("path")


def _as_draft(number: int, raw: Mapping[str, object]) -> tuple[str, object]:
    kinds = [kind for kind in _OPERATIONS if kind in raw]
    if len(kinds) != 1:
        raise BadRequest(f"Operation {number} must have exactly one member named {', '.join(_OPERATIONS)}.")
    return kinds[0], raw[kinds[0]]


def _attribute(number: int, kind: str, pointer: str) -> list[str]:
    """The attribute that a JSON pointer (RFC 6901) names; of an attribute's inside only a location has a name, too."""
    if not pointer.startswith("/"):
        raise BadRequest(f"The path {pointer[:80]!r} of operation {number} does not begin with '/'.")
    if _BAD_ESCAPE.search(pointer):
        raise BadRequest(f"The path {pointer[:80]!r} of operation {number} has a '~' that is neither '~0' nor '~1'.")
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]
    if len(tokens) != (_LOCATION_DEPTHS[kind] if tokens[0] == LOCATIONS else 1):
        raise BadRequest(
            f"The path {pointer[:80]!r} of operation {number} leads nowhere here; an attribute is '/name', "
            "with '~1' for a slash in its name and '~0' for a tilde."
        )
    return tokens
