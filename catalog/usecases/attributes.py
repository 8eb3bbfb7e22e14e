"""From the keys and values that a caller sends to a typed NewImage, or to typed changes of an image.

Which keys may be set, and of which type, is said here. Values are bounded later, by `limits`; whose they may be is
`policy`'s matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from catalog.model.change import Act, Change
from catalog.model.errors import Invalid, ReadOnlyAttribute, ReservedAttribute
from catalog.model.image import Visibility
from catalog.model.known_properties import RESERVED_PREFIX, property_value
from catalog.model.new_image import NewImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READ_ONLY: Final = frozenset(
    {
        "status", "checksum", "size", "virtual_size", "created_at", "updated_at", "os_hash_algo", "os_hash_value",
        "direct_url", "self", "file", "schema", "stores",
    }
)  # fmt: skip
"""Attributes that the service alone sets."""

ONLY_AT_CREATION: Final = frozenset({"id", "parent_image_ref"})
"""Attributes that say what an image is: set when it is made, read-only from then on."""

RESERVED: Final = frozenset({"locations", "location", "deleted", "deleted_at"})
"""Names that nobody may use for an attribute."""


def new_image(attributes: Mapping[str, object]) -> NewImage:
    """Read the attributes of an image to be created; a key that is no base attribute is an extra property.

    Raises ReadOnlyAttribute, ReservedAttribute or Invalid, naming the attribute.
    """
    base: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for key, value in attributes.items():
        check_settable(key)
        if key in _BASE:
            base[key] = _BASE[key](key, value)
        elif (kept := property_value(key, value)) is not None:
            properties[key] = kept
    return NewImage(**base, properties=properties)


def typed_change(change: Change) -> Change:
    """The same change with a value of its attribute's type.

    Raises ReadOnlyAttribute, ReservedAttribute or Invalid, naming the attribute.
    """
    if change.name in ONLY_AT_CREATION:
        raise ReadOnlyAttribute(f"Attribute '{change.name}' is read-only: it is set when an image is created.")
    check_settable(change.name)
    if change.act is Act.REMOVE:
        return Change(change.act, change.name)
    read = _BASE.get(change.name, property_value)
    return Change(change.act, change.name, read(change.name, change.value))


def check_settable(key: str) -> None:
    """Refuse a key that no caller may set."""
    if key in READ_ONLY:
        raise ReadOnlyAttribute(f"Attribute '{key}' is read-only.")
    if key in RESERVED or key.startswith(RESERVED_PREFIX):
        raise ReservedAttribute(f"Attribute '{key[:255]}' is reserved.")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(f"Attribute '{key[:255]}' must be a string.")
    return value


def _text_or_none(key: str, value: object) -> str | None:
    return None if value is None else _text(key, value)


def _truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"Attribute '{key}' must be true or false.")
    return value


def _number(key: str, value: object) -> int:
    # A bool is an int to Python, and none to JSON.
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(f"Attribute '{key}' must be an integer.")
    return value


def _visibility(key: str, value: object) -> Visibility:
    try:
        return Visibility(_text(key, value))
    except ValueError:
        raise Invalid(f"Attribute '{key}' must be one of {', '.join(sorted(Visibility))}.") from None


def _tags(key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise Invalid(f"Attribute '{key}' must be a list of strings.")
    return frozenset(_text(key, tag) for tag in value)


_BASE: Final[Mapping[str, Callable[[str, object], object]]] = {
    "id": _text,
    "name": _text_or_none,
    "owner": _text_or_none,
    "visibility": _visibility,
    "protected": _truth,
    "os_hidden": _truth,
    "disk_format": _text_or_none,
    "container_format": _text_or_none,
    "min_disk": _number,
    "min_ram": _number,
    "parent_image_ref": _text_or_none,
    "tags": _tags,
}
