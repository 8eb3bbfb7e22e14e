"""The job `api_image_import`: bytes that are staged, or are fetched and staged first, into the stores asked for.

Each step that must be found by a next try is a transaction of its own (`catalog/README.md`, "Imports"), the last
store's is one with the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.formats.rules import Said
from catalog.jobs.steps import Done
from catalog.model.errors import Forbidden, FormatRefused, Invalid, LimitExceeded, NotFound, StoreDown, StoreFull
from catalog.model.importing import Plan
from catalog.model.job import JobFailed
from catalog.model.location import OUR_STORE, our_location
from catalog.usecases import format_checks, import_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.model.location import Location
    from catalog.ports import UnitOfWork
    from catalog.usecases.import_steps import Found

_USELESS = (FormatRefused, Forbidden, Invalid, LimitExceeded, NotFound)
"""Errors that are the same the next time."""


async def import_image(context: JobContext) -> Effect:
    """Go on from where the try before stopped, and end with the last store."""
    try:
        return await _imported(context)
    except _USELESS as error:
        raise JobFailed(str(error)) from error


async def _imported(context: JobContext) -> Effect:
    task, database = context.task, context.services.database
    found = await database.read(lambda uow: import_steps.look(uow, task))
    if found.left_pins or found.left_copies:
        await context.change(lambda uow, at: import_steps.clear(uow, task, at=at))
    size = await _disk_size(context, found)
    pending: Callable[[UnitOfWork, datetime], None] | None = None
    down: StoreDown | None = None
    for store in Plan.of(task).left(found.image):
        if pending is not None:
            await context.change(pending)
        pending, late = await _into(context, found, store, size)
        down = down or late
    if down is not None:
        if pending is not None:
            await context.change(pending)
        raise down

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        if pending is not None:
            pending(uow, at)
        image = import_steps.finish(uow, task, at=at)
        return Done(f"Imported {-(-(image.size or 0) >> 20)} MiB.", {"image_id": image.id})

    return effect


async def _into(
    context: JobContext, found: Found, store: str, size: int | None
) -> tuple[Callable[[UnitOfWork, datetime], None], StoreDown | None]:
    """Give a store its copy: what that changes, and the error if the store is to be asked again by the next try."""
    task = context.task
    try:
        location = await _copy(context, found, store)
    except (StoreFull, StoreDown) as error:
        if Plan.of(task).all_must_succeed:
            raise
        if isinstance(error, StoreDown) and not context.is_last:
            return _nothing, error
        return (lambda uow, at: import_steps.has_failed(uow, task, store, at=at)), None
    return (lambda uow, at: import_steps.has_come(uow, task, found.staged, location, size, at)), None


async def _copy(context: JobContext, found: Found, store: str) -> Location:
    assert found.staged is not None, "it was staged or fetched"
    assert store == OUR_STORE
    return our_location(context.services.blocks.store, found.staged.manifest)


async def _disk_size(context: JobContext, found: Found) -> int | None:
    """The size of the disk in it, if it is known. Raises FormatRefused."""
    assert found.staged is not None, "it was staged or fetched"
    said = Said.of(found.image)
    content = await format_checks.check(context.services, said, found.chain)
    return said.disk_size(content, found.staged.size)


def _nothing(_uow: UnitOfWork, _at: datetime) -> None:
    """Nothing changes."""
