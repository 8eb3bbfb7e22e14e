"""An image of another service of this API, as far as it is taken over with its bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# As the reference does without being told others.
COPIED: Final = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")
"""The beginnings of the names of properties that are taken over."""

_HASH: Final = re.compile(r"[0-9a-f]{32,128}", re.ASCII)


class NotTaken(ValueError):
    """What another service tells of an image cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """What another service tells: formats, the properties that go along, size in bytes and hash of its bytes.

    `hash` is an algorithm of hashlib and a hex digest, None where the service tells none.
    """

    disk_format: str
    container_format: str
    size: int | None = None
    hash: tuple[str, str] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: object) -> ForeignImage:
        """Read a record of the API; raises NotTaken with a sentence."""
        if not isinstance(record, Mapping):
            raise NotTaken("The other service's record of the image is no record.")
        status = record.get("status")
        if status != "active":
            raise NotTaken(f"The image is {str(status)[:40]!r} at the other service: only active images have bytes.")
        disk, container, size = record.get("disk_format"), record.get("container_format"), record.get("size")
        if not isinstance(disk, str) or not isinstance(container, str):
            raise NotTaken("The image has no formats at the other service.")
        algorithm, digest = record.get("os_hash_algo"), record.get("os_hash_value")
        told = isinstance(algorithm, str) and isinstance(digest, str) and _HASH.fullmatch(digest) is not None
        texts = {name: text for name, text in record.items() if isinstance(name, str) and isinstance(text, str)}
        return cls(
            disk,
            container,
            size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
            (str(algorithm), str(digest)) if told else None,
            {name: text for name, text in texts.items() if name.startswith(COPIED)},
        )
