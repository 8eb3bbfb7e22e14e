"""An image's record out of an answer, with what the client relies on checked."""

from __future__ import annotations

from httpapi.client.errors import NotAnImageService
from httpapi.wire.images import ImageRecord, parse_image


def read_record(document: object) -> ImageRecord:
    """The image in one JSON object of an answer; NotAnImageService for anything else."""
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no image record: check --endpoint")
    try:
        image = parse_image(document)
    except KeyError as missing:
        raise NotAnImageService(f"the answer is no image record, it lacks {missing}: check --endpoint") from None
    texts = (image.id, image.status, image.created_at)
    if not all(isinstance(text, str) for text in texts) or not isinstance(image.size, int | None):
        raise NotAnImageService("the answer is no image record (id, status or size is wrong): check --endpoint")
    return image
