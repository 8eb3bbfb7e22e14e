"""Extra properties that have a meaning to everybody who uses this API, or to this service: which values make sense.

The image schema lists them, so that clients offer them by name; whoever sets one is held to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.model.errors import Invalid
from catalog.model.image import is_image_id

if TYPE_CHECKING:
    from collections.abc import Mapping


RESERVED_PREFIX: Final = "os_glance"
"""Names that begin so belong to the service: callers read them, and set none."""


@dataclass(frozen=True, slots=True)
class KnownProperty:
    """What a property says; whether its value is an image's id, which may then also be null: none."""

    meaning: str
    is_image_id: bool = False


KNOWN_PROPERTIES: Final[Mapping[str, KnownProperty]] = {
    "architecture": KnownProperty("The processor architecture that the system in the image is made for."),
    "os_distro": KnownProperty("The distribution's short name, in lower case, such as debian."),
    "os_version": KnownProperty("The version of the system, as its distributor writes it."),
    "description": KnownProperty("What the image is, in a sentence for people."),
    "instance_uuid": KnownProperty("The server that the image was made of. It is kept, and nothing follows from it."),
    "kernel_id": KnownProperty("The image that holds the kernel to start this one with (AMI).", is_image_id=True),
    "ramdisk_id": KnownProperty("The image that holds the RAM disk to start this one with (AMI).", is_image_id=True),
}


def property_value(key: str, value: object) -> str | None:
    """The value of an extra property as it is kept; None asks for no such property. Raises Invalid."""
    known = KNOWN_PROPERTIES.get(key)
    if known is not None and known.is_image_id:
        if value is None:
            return None
        if not (isinstance(value, str) and is_image_id(value)):
            raise Invalid(f"Invalid {key} {str(value)[:80]!r}; it is the id of an image, or null.")
        return value
    if not isinstance(value, str):
        raise Invalid(f"Attribute '{key[:255]}' must be a string.")
    return value
