"""The job `location_import`: an image of what lies at a URL, once it is what it was said to be.

Nothing is copied. Where hashes were said and the place can be read, all of it is read through before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from catalog.jobs.hash_image import hashes_of
from catalog.jobs.steps import Done
from catalog.model.errors import Invalid
from catalog.model.image import CHECKSUM
from catalog.model.job import JobFailed
from catalog.stores.set import OPAQUE
from catalog.usecases.location_import import finish, waiting_image
from catalog.usecases.registering import NamedPlace, find_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.ports import UnitOfWork
    from catalog.usecases.registering import FoundPlace


async def location_import(context: JobContext) -> Effect:
    """Look what is there, compare it with what was said, and give it to the image."""
    services, task = context.services, context.task
    await services.database.read(lambda uow: waiting_image(uow, task))
    try:
        found = await find_place(services, NamedPlace(str(task.input["loc_url"])), None)
    except Invalid as error:
        if context.is_last:
            raise JobFailed(str(error)) from error
        raise
    said = cast("Mapping[str, str]", task.input["validation_data"])
    hashes = await _compared(context, found, said) if said and services.location_hashes else said

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        finish(services, uow, task, found, hashes, at=at)
        return Done("The image has what lies there.", {"image_id": task.image_id})

    return effect


async def _compared(context: JobContext, found: FoundPlace, said: Mapping[str, str]) -> Mapping[str, str]:
    """All hashes of what is there, once the one that was said is one of them; where nobody can read, that alone."""
    location, algorithm = found.location, said["os_hash_algo"]
    store = context.services.stores.get(location.store)
    if store is None or store.info.kind == OPAQUE:
        return said
    reader = await store.open(location.url, found.size)
    try:
        real = await hashes_of(context, reader, tuple(dict.fromkeys((algorithm, CHECKSUM))))
    finally:
        reader.close()
    if real[algorithm] != said["os_hash_value"]:
        raise JobFailed(f"What lies there has another {algorithm} than was said: {real[algorithm]}.")
    return {**said, "checksum": real[CHECKSUM]}
