"""In which lane an image is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.lane import Lane

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.usecases.services import Services


def lane_of_reading(services: Services, image: Image) -> Lane:
    """The slow one where the image lies with somebody else, too: that server may be as slow as its owner likes."""
    infos = (services.stores.info(each.store) for each in image.locations)
    return Lane.SLOW if any(info is not None and info.read_only for info in infos) else Lane.QUICK
