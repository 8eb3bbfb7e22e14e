"""Copies that were lost with their volume: found, marked, and put back when there is a place for them again.

A copy is lost when its store is there and the copy is not, or is of another size; a store that is down has lost
nothing. An image whose only location is lost stays as it is, and that is told. A copy that is there with other bytes is
wrong: as lost as the others, but that it is there again is no news.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from catalog.jobs import steps
from catalog.jobs.reading_lanes import lane_of_reading
from catalog.model.location import ACTIVE, LOST, WRONG
from catalog.model.task import PUT_BACK, own_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)


async def mark_lost(services: Services, image_id: str, location: Location, *, wrong: bool = False) -> bool:
    """Record that this copy is lost, or wrong, and have it put back; False when the image has it no more."""
    status = WRONG if wrong else LOST
    marked = await services.database.write(lambda uow: _mark(services, uow, image_id, location.url, status))
    if marked is None:
        return False
    services.on_place(location.store, "lost")
    log.error("the copy of image %s in store %s is %s%s", image_id, location.store, status, _what_then(marked))
    services.bell.ring()
    return True


def _mark(services: Services, uow: UnitOfWork, image_id: str, url: str, status: str) -> Image | None:
    image = uow.images.get(image_id)
    if image is None or not image.change_location(url, ACTIVE, status):
        return None
    uow.images.save(image, expect=image.status)
    have_put_back(services, uow, image, at=services.clock())
    return image


def have_put_back(services: Services, uow: UnitOfWork, image: Image, *, at: datetime) -> bool:
    """Enqueue the job that puts an image's lost copies back, if that is wanted; whether it is."""
    if not is_wanted(services, uow, image):
        return False
    task = own_task(PUT_BACK, image_id=image.id, at=at)
    steps.enqueue(uow, task, lock=image.id, lane=lane_of_reading(services, image))
    return True


def is_wanted(services: Services, uow: UnitOfWork, image: Image) -> bool:
    """Whether something can come of a job that puts copies back, and none has it to do: one at work asks again."""
    if not any(each.status == ACTIVE for each in image.locations):
        return False
    return next(can_be_put_back(services, image), None) is not None and not uow.jobs.has(PUT_BACK, lock=image.id)


def can_be_put_back(services: Services, image: Image) -> Iterator[Location]:
    """The lost copies of an image whose stores take copies, and answer now as far as is known."""
    for location in image.locations:
        store = services.stores.get(location.store)
        takes = store is not None and not store.info.read_only and not services.stores.is_aside(location.store)
        if takes and not location.is_active:
            yield location


async def found_again(services: Services, image_id: str, location: Location) -> bool:
    """A lost copy is there after all, since its volume came back: it is read again."""

    def back(uow: UnitOfWork) -> bool:
        image = uow.images.get(image_id)
        if image is None or not image.change_location(location.url, LOST, ACTIVE):
            return False
        uow.images.save(image, expect=image.status)
        return True

    done = await services.database.write(back)
    if done:
        services.on_place(location.store, "found")
        log.info("the copy of image %s in store %s is there again", image_id, location.store)
    return done


def _what_then(image: Image) -> str:
    if any(each.status == ACTIVE for each in image.locations):
        return "; it is read from elsewhere, and put back"
    return ", and the image lies nowhere else: it cannot be read until its store has it again"
