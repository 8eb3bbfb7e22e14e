"""An image's record out of an answer, with what the client relies on checked."""

from __future__ import annotations

import re
from typing import Final

from httpapi.client.errors import NotAnImageService
from httpapi.wire.images import ImageRecord, parse_image

_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_LARGEST_SIZE: Final = 2**63 - 1


def is_image_id(text: str) -> bool:
    """Whether `text` is a whole id: a UUID, its letters in either case."""
    return _ID.fullmatch(text) is not None


def read_record(document: object) -> ImageRecord:
    """The image in one JSON object of an answer; NotAnImageService for anything else."""
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no image record: check --endpoint")
    try:
        image = parse_image(document)
    except KeyError as missing:
        raise NotAnImageService(f"the answer is no image record, it lacks {missing}: check --endpoint") from None
    always = (image.id, image.status, image.visibility, image.created_at, image.updated_at)
    sometimes = (image.name, image.owner, image.disk_format, image.container_format)
    hashes = (image.checksum, image.os_hash_algo, image.os_hash_value)
    if not all(isinstance(text, str) for text in always):
        raise NotAnImageService("the answer is no image record (its id, status or time is no text): check --endpoint")
    if not all(isinstance(text, str | None) for text in (*sometimes, *hashes)):
        raise NotAnImageService("the answer is no image record (its name, format or hash is no text): check --endpoint")
    # An id becomes a part of paths and of file names: nothing else may stand in its place.
    if not is_image_id(image.id):
        raise NotAnImageService(
            f"the answer is no image record (its id {image.id[:80]!r} is no UUID): check --endpoint"
        )
    if not _is_size(image.size):
        raise NotAnImageService("the answer is no image record (its size is no number of bytes): check --endpoint")
    return image


def _is_size(size: object) -> bool:
    return size is None or (isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _LARGEST_SIZE)
