"""Deactivating an image keeps its bytes from everybody but admins, until it is reactivated; nothing else changes.

Asked for again, either is done already. Reads that have begun go on, and so does an upload that has begun over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import policy
from catalog.model.errors import Forbidden
from catalog.usecases.access import load_visible
from catalog.usecases.changing import changed

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services


async def deactivate(services: Services, caller: Caller, image_id: str) -> None:
    """From active to deactivated. Raises NotFound, Forbidden, also in any other status."""

    def step(uow: UnitOfWork) -> None:
        image = load_visible(uow, caller, image_id)
        if not policy.may_deactivate(caller, image):
            raise Forbidden(f"You are not permitted to deactivate image {image.id}.")
        changed(services, uow, image, lambda image: image.deactivate(at=services.clock()))

    await services.database.write(step)


async def reactivate(services: Services, caller: Caller, image_id: str) -> None:
    """And back. Raises as above."""

    def step(uow: UnitOfWork) -> None:
        image = load_visible(uow, caller, image_id)
        if not policy.may_reactivate(caller, image):
            raise Forbidden(f"You are not permitted to reactivate image {image.id}.")
        changed(services, uow, image, lambda image: image.reactivate(at=services.clock()))

    await services.database.write(step)
