"""The jobs `api_image_import`, `import` and `convert`: bytes that are staged, or first have to be, into stores.

Each step that must be found by a next try is a transaction of its own (`catalog/README.md`, "Imports"), the last
store's is one with the end.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from catalog.jobs.converting import work_on, worked_on
from catalog.jobs.counting import Counted
from catalog.jobs.fetching import Coming, fetched, own_bytes, taken_in
from catalog.jobs.steps import Done
from catalog.model.errors import (
    Conflict,
    Forbidden,
    FormatRefused,
    Invalid,
    LimitExceeded,
    NotFound,
    StoreDown,
    StoreFull,
    StoreReadOnly,
)
from catalog.model.importing import CONVERT, Plan
from catalog.model.job import JobFailed
from catalog.model.location import OUR_STORE, our_location
from catalog.usecases import format_checks, import_steps, uploads
from catalog.usecases.copying import copy_into

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.converting import Work
    from catalog.jobs.steps import Effect
    from catalog.model.location import Location
    from catalog.model.staged import Staged
    from catalog.ports import UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.import_steps import Found

    Change: TypeAlias = Callable[[UnitOfWork, datetime], None]

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
    _forget_journals(context, found)
    plan = Plan.of(task)
    left = plan.left(found.image)
    if left and found.staged is None and (not plan.copies or OUR_STORE in left):
        found = await fetched(context)
    if left and found.staged is not None and not plan.copies:
        found = await _prepared(context, found, found.staged)
    size = await _disk_size(context, found) if left and not plan.copies else None
    pending: Change = _nothing
    down: StoreDown | None = None
    for store in left:
        if pending is not _nothing:
            await context.change(pending)
        pending, late = await _into(context, found, store, size)
        down = down or late
    if down is not None:
        await context.change(pending)
        raise down

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        pending(uow, at)
        image = import_steps.finish(uow, task, at=at)
        took = {"seconds": context.seconds} if context.seconds else {}
        verb = "Converted to" if task.type == CONVERT else "Imported"
        return Done(f"{verb} {-(-(image.size or 0) // (1 << 20))} MiB.", {"image_id": image.id, **took})

    return effect


async def _prepared(context: JobContext, found: Found, staged: Staged) -> Found:
    """What is staged, unpacked and converted as the task's plan says, if that is not done yet."""
    plan = Plan.of(context.task)
    if found.ready is not None or not (plan.decompress or plan.convert):
        return found
    reader = await context.services.blocks.open(found.chain)
    try:
        work = await work_on(found.image, plan, reader)
        if work.is_none:
            return found
        return await taken_in(context, _remade(context, found, staged, reader, work))
    finally:
        reader.close()


@asynccontextmanager
async def _remade(
    context: JobContext, found: Found, staged: Staged, reader: CopyReader, work: Work
) -> AsyncGenerator[Coming, None]:
    disk_format = found.image.disk_format or ""
    async with worked_on(context, reader, disk_format, work) as source:
        yield Coming(source, source.size, replaces=staged, disk_format=work.target or disk_format)


def _forget_journals(context: JobContext, found: Found) -> None:
    """What a killed process left of pins that are gone, or whose blocks a manifest holds by now."""
    for pin in found.left_pins:
        uploads.forget_left_behind(context.services, pin)
    if found.staged is not None:
        uploads.forget(context.services, found.staged.id)


async def _into(context: JobContext, found: Found, store: str, size: int | None) -> tuple[Change, StoreDown | None]:
    """Give a store its copy: what that changes, and the error if the store is to be asked again by the next try."""
    task = context.task
    try:
        location = await _copy(context, found, store)
    except (StoreFull, StoreDown, StoreReadOnly, Conflict) as error:
        if Plan.of(task).all_must_succeed:
            if isinstance(error, StoreDown):
                raise
            raise JobFailed(str(error)) from error
        if isinstance(error, StoreDown) and not context.is_last:
            return _nothing, error
        return (lambda uow, at: import_steps.has_failed(uow, task, store, at=at)), None
    staged = None if Plan.of(task).copies else found.staged
    return (lambda uow, at: import_steps.has_come(uow, task, staged, location, size, at)), None


async def _copy(context: JobContext, found: Found, store: str) -> Location:
    """A copy in a store: of what is staged, or of the image; in our own blocks it is there already."""
    services, task = context.services, context.task
    staged = found.staged
    if store == OUR_STORE:
        assert staged is not None, "it was staged or fetched"
        return our_location(services.blocks.store, staged.manifest)
    async with _bytes_of(context, found) as reader:
        return await copy_into(services, store, found.image.id, reader, holder=task.id, process=services.blocks.process)


@asynccontextmanager
async def _bytes_of(context: JobContext, found: Found) -> AsyncGenerator[Counted, None]:
    if found.staged is None:
        async with own_bytes(context) as reader:
            yield reader
        return
    staged = await context.services.blocks.open(found.chain)
    try:
        yield Counted(context, staged)
    finally:
        staged.close()


async def _disk_size(context: JobContext, found: Found) -> int | None:
    """The size of the disk in it, if it is known. Raises FormatRefused."""
    assert found.staged is not None, "it was staged or fetched"
    said = found.said
    content = await format_checks.check(context.services, said, found.chain)
    return said.disk_size(content, found.staged.size)


def _nothing(_uow: UnitOfWork, _at: datetime) -> None:
    """Nothing changes."""
