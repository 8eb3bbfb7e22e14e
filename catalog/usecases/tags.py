"""Tags, one at a time; all of an image's at once are an attribute that `changing.py` changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.errors import NotFound
from catalog.usecases.access import load_modifiable
from catalog.usecases.changing import changed

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def add(services: Services, caller: Caller, image_id: str, tag: str) -> None:
    """The image has the tag; it may have it already. Raises NotFound, Forbidden, Invalid, LimitExceeded."""

    def put(image: Image) -> None:
        image.tags |= {tag}

    def step(uow: UnitOfWork) -> None:
        changed(services, uow, load_modifiable(uow, caller, image_id), put)

    await services.database.write(step)


async def remove(services: Services, caller: Caller, image_id: str, tag: str) -> None:
    """The image loses the tag. Raises NotFound, also when it has no such tag, and Forbidden."""

    def take(image: Image) -> None:
        if tag not in image.tags:
            raise NotFound(f"Image {image.id} has no tag {tag[:80]!r}.")
        image.tags -= {tag}

    def step(uow: UnitOfWork) -> None:
        changed(services, uow, load_modifiable(uow, caller, image_id), take)

    await services.database.write(step)
