"""From the catalog's image to what travels of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.usecases.shown_places import shown_places, tells_places
from httpapi.wire.images import image_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.property_protection import PropertyRights
    from catalog.usecases.services import Services
    from catalog.usecases.shown_places import ShownLocation


def document_of(services: Services, caller: Caller, image: Image, rights: PropertyRights) -> dict[str, object]:
    """What the caller, who has these rights on properties, is told of an image, as JSON."""
    return image_json(
        image,
        sorted(image.tags),
        rights.seen(image.properties),
        created_at=wire_time(image.created_at),
        updated_at=wire_time(image.updated_at),
        **_places(services, caller, image),
    )


def _places(services: Services, caller: Caller, image: Image) -> dict[str, object]:
    if not tells_places(services):
        return {}
    told = shown_places(services, caller, image)
    found: dict[str, object] = {}
    if told.stores is not None:
        found["stores"] = ",".join(told.stores)
    if told.direct_url is not None:
        found["direct_url"] = told.direct_url
    if told.locations is not None:
        found["locations"] = locations_json(told.locations)
    return found


def locations_json(locations: Sequence[ShownLocation]) -> list[dict[str, object]]:
    """Locations as they are told."""
    return [{"url": each.url, "metadata": dict(each.metadata)} for each in locations]


def wire_time(moment: datetime) -> str:
    """UTC to the second, as the reference has it."""
    # A page of 1,000 images has 2,000 of them: isoformat's arguments make it take three times as long, strftime ten.
    return moment.isoformat()[:19] + "Z"
