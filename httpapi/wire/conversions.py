"""What a request to convert an image says: the format of the new one, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from httpapi.wire.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS: Final = frozenset({"disk_format", "name", "compressed"})


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """What is to be made of an image; `name` None is for the service to choose."""

    disk_format: str
    name: str | None = None
    compressed: bool = False

    def to_json(self) -> Mapping[str, object]:
        """As a request says it."""
        named = {} if self.name is None else {"name": self.name}
        return {"disk_format": self.disk_format, **named, **({"compressed": True} if self.compressed else {})}


def parse_conversion(document: object) -> ConversionRequest:
    """The document of `POST …/actions/convert`. Raises BadRequest."""
    if not isinstance(document, dict) or not isinstance(document.get("disk_format"), str):
        raise BadRequest('The JSON body says what the image is to become, such as {"disk_format": "raw"}.')
    unknown = sorted(document.keys() - _KEYS)
    if unknown:
        raise BadRequest(f"There is no {unknown[0][:80]!r} in a conversion; it has disk_format, name and compressed.")
    name, compressed = document.get("name"), document.get("compressed", False)
    if name is not None and not isinstance(name, str):
        raise BadRequest("name is a text.")
    if not isinstance(compressed, bool):
        raise BadRequest(f"compressed is true or false, not {str(compressed)[:80]!r}.")
    return ConversionRequest(document["disk_format"], name, compressed)
