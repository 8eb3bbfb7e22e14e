"""Which hash proves an image, and whether it does.

The service states `os_hash_algo` with `os_hash_value`, by default sha512, and `checksum`, an MD5; some say
only one of them. The stronger one that Python's hashlib knows is used.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from httpapi.wire.images import ImageRecord

USUAL: Final = "sha512"


def stated_hash(image: ImageRecord) -> tuple[str, str] | None:
    """Algorithm and lower-case hex value that `image`'s record states; None if it states none we can check."""
    algorithm = image.os_hash_algo
    if algorithm and image.os_hash_value and _is_fixed(algorithm):
        return algorithm, image.os_hash_value.lower()
    if image.checksum:
        return "md5", image.checksum.lower()
    return None


def new_digest(algorithm: str) -> hashlib._Hash:
    """A fresh hash object; it finds accidents, it guards no secrets."""
    return hashlib.new(algorithm, usedforsecurity=False)


def _is_fixed(algorithm: str) -> bool:
    """Whether hashlib knows it and its values have a length of their own, as shake's have not."""
    return algorithm in hashlib.algorithms_available and new_digest(algorithm).digest_size > 0
