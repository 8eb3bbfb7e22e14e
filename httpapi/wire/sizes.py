"""How many bytes an upload announces: `x-openstack-image-size` and Content-Length, which must agree."""

from __future__ import annotations

import re
from dataclasses import dataclass

from httpapi.wire.errors import BadRequest

IMAGE_SIZE_HEADER = "x-openstack-image-size"
# As large as the catalog's column: a signed number of 64 bits.
_LARGEST = 2**63 - 1
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Announced:
    """The sizes that an upload's headers state, in bytes; None where a header is missing."""

    image_size: int | None
    content_length: int | None

    @property
    def expected(self) -> int | None:
        """What the body must hold: the image's size goes before the body's length."""
        return self.content_length if self.image_size is None else self.image_size

    @property
    def disagrees(self) -> bool:
        """Whether both are given and differ, so that the upload cannot succeed whatever the body holds."""
        return None not in {self.image_size, self.content_length} and self.image_size != self.content_length


def announced(image_size: str | None, content_length: str | None) -> Announced:
    """Both headers' values, read; raises BadRequest for what is no plain number of bytes."""
    return Announced(_read(IMAGE_SIZE_HEADER, image_size), _read("Content-Length", content_length))


def _read(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    stripped = text.strip()
    if _DIGITS.fullmatch(stripped) is None or int(stripped) > _LARGEST:
        raise BadRequest(f"{name} must be a number of bytes, 0 or more: {text[:80]!r} is not.")
    return int(stripped)
