"""What a caller asks to be changed of an image: attributes by name, one after the other, and what each does to it.

Base attributes are always there, so they cannot be added or removed; any other name is an extra property.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from catalog.model.errors import Conflict, Forbidden
from catalog.model.image import Status

if TYPE_CHECKING:
    from catalog.model.image import Image

CHANGEABLE: Final = frozenset(
    {
        "name", "owner", "visibility", "protected", "os_hidden", "disk_format", "container_format", "min_disk",
        "min_ram", "tags",
    }
)  # fmt: skip
"""The base attributes that can be changed at all."""

BEFORE_DATA: Final = frozenset({"disk_format", "container_format"})
"""Attributes that say what the bytes are: fixed once they come. Of staged bytes the import asks, until it begins."""

_TAKES_FORMATS: Final = frozenset({Status.QUEUED, Status.UPLOADING})


class Act(StrEnum):
    """What is done to an attribute: `put` sets it in any case, `add` insists on a new one, `replace` on an old one."""

    ADD = "add"
    PUT = "put"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One act on one attribute, or `at` a place in it; a property set to None is none afterwards.

    `value` means nothing when it is removed.
    """

    act: Act
    name: str
    value: object = None
    at: str | None = None


def apply(image: Image, change: Change) -> None:
    """Do it to the image. Raises Conflict if it must be there and is not, or the reverse; Forbidden if it is fixed."""
    if change.name in CHANGEABLE:
        _apply_to_base(image, change)
    else:
        _apply_to_property(image, change)


def _apply_to_base(image: Image, change: Change) -> None:
    name = change.name
    if change.act is Act.REMOVE:
        raise Forbidden(f"Attribute '{name}' cannot be removed; every image has it.")
    if change.act is Act.ADD:
        raise _already_there(name)
    if name in BEFORE_DATA and image.status not in _TAKES_FORMATS:
        raise Forbidden(
            f"Attribute '{name}' can be replaced only while an image is queued or staged, and this one is "
            f"{image.status.value}."
        )
    setattr(image, name, change.value)


def _apply_to_property(image: Image, change: Change) -> None:
    name, there = change.name, change.name in image.properties
    if change.act is Act.ADD and there:
        raise _already_there(name)
    if change.act in {Act.REPLACE, Act.REMOVE} and not there:
        raise Conflict(f"Property {name[:255]} does not exist.")
    if change.act is Act.REMOVE or change.value is None:
        image.properties.pop(name, None)
    else:
        assert isinstance(change.value, str), "it was read as a property's value"
        image.properties[name] = change.value


def _already_there(name: str) -> Conflict:
    return Conflict(f"Property {name[:255]} already exists; replace it.")
