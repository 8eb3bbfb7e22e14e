"""An image's places, one by one: look at them, and take one away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import location_policy
from catalog.model.errors import Conflict, Forbidden, NotFound
from catalog.model.image import Status
from catalog.stores.set import OPAQUE
from catalog.usecases.access import load_visible
from catalog.usecases.coalescing import let_go
from catalog.usecases.copying import let_go_copies
from catalog.usecases.shown_places import readable, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from catalog.usecases.shown_places import ShownLocation


async def list_locations(services: Services, caller: Caller, image_id: str) -> Sequence[ShownLocation]:
    """Where an image lies, for services that use it in place. Raises NotFound, Forbidden."""

    def look(uow: UnitOfWork) -> Sequence[ShownLocation]:
        image = load_visible(uow, caller, image_id)
        if not location_policy.may_fetch_locations(caller, image):
            raise Forbidden(f"You are not permitted to ask where image {image_id} lies; services are, by default.")
        return [shown(services, caller, image, each) for each in readable(services, image)]

    return await services.database.read(look)


async def delete_from_store(services: Services, caller: Caller, store: str, image_id: str) -> None:
    """Take away what an image has in a store, unless that is all of it.

    Raises NotFound (no stores are configured, no such image, not in that store), Forbidden (also for the last place),
    Conflict (an unknown store, an image that is not active).
    """
    if not services.stores.several:
        raise NotFound("This service does not tell stores apart.")
    if services.stores.info(store) is None:
        raise Conflict(f"There is no store {store[:80]!r} here.")

    def remove(uow: UnitOfWork) -> None:
        image = load_visible(uow, caller, image_id)
        if not (
            location_policy.may_see_locations(caller, image) and location_policy.may_delete_location(caller, image)
        ):
            raise Forbidden(f"You are not permitted to take image {image_id} out of a store; admins are, by default.")
        if image.status is not Status.ACTIVE:
            raise Conflict(
                f"Image {image_id} is {image.status.value}; only an active image can be taken out of a store."
            )
        there = [each for each in image.locations if each.store == store]
        if not there:
            raise NotFound(f"Image {image_id} is not in store {store[:80]}.")
        at = services.clock()
        take_away(services, uow, image, there, at=at)
        uow.images.save(image, expect=Status.ACTIVE)
        let_go_blocks(uow, there, at=at)

    await services.database.write(remove)
    services.bell.ring()


def is_read_from(services: Services, locations: Sequence[Location]) -> bool:
    """Whether this service reads from any of these: they are not lost, and not only kept for others to read."""
    infos = [services.stores.info(each.store) for each in locations if each.is_active]
    return any(info is not None and info.kind != OPAQUE for info in infos)


def take_away(
    services: Services, uow: UnitOfWork, image: Image, locations: Sequence[Location], *, at: datetime
) -> None:
    """The image has these no more; whoever asks saves it. Raises Forbidden when no place would be left to read from."""
    left = tuple(each for each in image.locations if each not in locations)
    if not left:
        raise Forbidden(
            f"Image {image.id} lies nowhere else: its last location cannot be removed. Delete the image instead."
        )
    if is_read_from(services, locations) and not is_read_from(services, left):
        raise Forbidden(
            f"All other copies of image {image.id} are lost, or not read by this service: this location is the last one"
            " that it is read from."
        )
    image.locations = left
    image.be_changed(at=at)
    let_go_copies(uow, image.id, locations, at=at)


def let_go_blocks(uow: UnitOfWork, locations: Sequence[Location], *, at: datetime) -> None:
    """Of locations that an image has lost, and that is written: retire what nothing names any more."""
    for location in locations:
        if location.manifest is not None:
            let_go(uow, location.manifest, at=at)
