"""What jobs work on: images that have bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.job import JobCancelled

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork


def with_bytes(uow: UnitOfWork, image_id: str) -> Image:
    """The image, while it has bytes. Raises JobCancelled."""
    image = uow.images.get(image_id)
    if image is None or not image.has_bytes:
        raise JobCancelled("the image was deleted.")
    return image
