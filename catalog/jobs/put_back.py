"""The job `put_back`: a copy of an image again in a store that has lost the one it had.

From whatever other place the image has. One copy a job; when more are lost the next job is enqueued with its effect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.jobs.counting import Counted
from catalog.jobs.steps import Done
from catalog.jobs.subjects import with_bytes
from catalog.model.errors import CopyLost
from catalog.model.job import JobCancelled
from catalog.model.location import ACTIVE, WRONG
from catalog.usecases import lost_copies
from catalog.usecases.copying import copy_into, let_go_copies, settle
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.model.location import Location
    from catalog.ports import UnitOfWork


async def put_back(context: JobContext) -> Effect:
    """Copy the image into the store that lost it; nothing if nothing is lost, or what was lost is there again."""
    services = context.services
    image_id = str(context.task.input["image_id"])
    image = await services.database.read(lambda uow: with_bytes(uow, image_id))
    lost = next(lost_copies.can_be_put_back(services, image), None)
    if lost is None:
        return lambda uow, at: _nothing_lost(context, uow, image_id, at)
    if lost.status != WRONG and await is_there(context, lost, image.size):
        await lost_copies.found_again(services, image_id, lost)
        return lambda uow, at: _done(context, uow, image_id, lost, at)
    _, reader = await open_image(services, lambda uow: with_bytes(uow, image_id))
    try:
        copy = await copy_into(
            services,
            lost.store,
            image_id,
            Counted(context, reader),
            holder=context.task.id,
            process=services.blocks.process,
        )
    finally:
        reader.close()

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        now = with_bytes(uow, image_id)
        if not now.replace_location(lost, replace(lost, url=copy.url, status=ACTIVE)):
            raise JobCancelled("the image has no such copy any more.")
        settle(uow, [copy])
        uow.images.save(now, expect=now.status)
        # Should its volume come back, it has a copy that nobody knows.
        let_go_copies(uow, image_id, [lost], at=at)
        return _done(context, uow, image_id, lost, at)

    return effect


async def is_there(context: JobContext, location: Location, size: int | None) -> bool:
    """Whether a copy that was found lost is there after all."""
    store = context.services.stores.get(location.store)
    if store is None:
        return False
    try:
        (await store.open(location.url, size)).close()
    except CopyLost:
        return False
    return True


def _nothing_lost(context: JobContext, uow: UnitOfWork, image_id: str, at: datetime) -> Done:
    # Whoever found one lost meanwhile has left it to this job.
    lost_copies.have_put_back(context.services, uow, with_bytes(uow, image_id), at=at)
    return Done("No copy is lost that can be put back now.", {"image_id": image_id})


def _done(context: JobContext, uow: UnitOfWork, image_id: str, lost: Location, at: datetime) -> Done:
    image = with_bytes(uow, image_id)
    lost_copies.have_put_back(context.services, uow, image, at=at)
    context.services.on_place(lost.store, "put back")
    return Done(f"The image is in store {lost.store} again.", {"image_id": image_id})
