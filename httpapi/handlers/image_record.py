"""From the catalog's image to what travels of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.wire.images import image_json

if TYPE_CHECKING:
    from datetime import datetime

    from catalog.model.image import Image
    from catalog.property_protection import PropertyRights


def document_of(image: Image, rights: PropertyRights) -> dict[str, object]:
    """What a caller with these rights is told of an image, as JSON; locations and uploads stay inside."""
    return image_json(
        image,
        sorted(image.tags),
        rights.seen(image.properties),
        created_at=wire_time(image.created_at),
        updated_at=wire_time(image.updated_at),
    )


def wire_time(moment: datetime) -> str:
    """UTC to the second, as the reference has it."""
    # A page of 1,000 images has 2,000 of them: isoformat's arguments make it take three times as long, strftime ten.
    return moment.isoformat()[:19] + "Z"
