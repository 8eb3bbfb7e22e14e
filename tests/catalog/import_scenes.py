"""What the scenes of imports need: staged images, a worker, and a look at what is left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from catalog.jobs.worker import Worker
from catalog.model.importing import FAILED, LEFT, LOCK, Method
from catalog.model.lane import Places
from catalog.usecases import images, imports
from catalog.usecases.imports import Asked
from catalog.usecases.staging import stage
from tests.catalog.cast import ANNA, RAW, stream
from tests.catalog.jobs.scenes import over
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from catalog.model.image import Image
    from catalog.model.new_image import NewImage
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

DATA = bytes(range(256)) * 300
DIRECT = Asked({"name": Method.GLANCE_DIRECT})


async def staged(services: Services, data: bytes = DATA, new: NewImage = RAW) -> Image:
    """An image with staged bytes."""
    image = await images.create(services, ANNA, new)
    await stage(services, ANNA, image.id, stream(data), expected=len(data))
    return await now(services, image)


async def now(services: Services, image: Image) -> Image:
    return await images.show(services, ANNA, image.id)


@asynccontextmanager
async def working(services: Services, *, grace: float = 0.0) -> AsyncIterator[Worker]:
    """A worker of the kinds that there are."""
    worker = Worker(services, at_once=Places(2, 2), pace=QUICK)
    running = asyncio.create_task(worker.run(grace=grace))
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def imported(services: Services, image: Image, asked: Asked = DIRECT) -> Task:
    """The task of an import, at its end."""
    task = await imports.start(services, ANNA, image.id, asked, request_id="req-7")
    async with working(services):
        return await over(services, task)


def told(image: Image) -> Mapping[str, str]:
    """What the image tells of imports."""
    return {name: text for name, text in image.properties.items() if name in {LOCK, LEFT, FAILED}}


async def left(services: Services, image: Image) -> Sequence[str]:
    """What is still there that no image has: pins, staged bytes, loose copies, live manifests, jobs."""

    def look(uow: UnitOfWork) -> list[str]:
        found = [f"pin {pin.kind.value}" for pin in uow.inventory.pins()]
        found += ["staged"] if uow.staged.of_image(image.id) else []
        found += [f"writing in {copy.store}" for copy in uow.loose.writing()]
        found += [f"claim of {held.claim.job_id}" for held in uow.jobs.claims()]
        named = {each.manifest for each in uow.inventory.images()}
        live = [each for each in uow.inventory.manifests() if each.state.value == "live"]
        return found + [f"manifest {each.id}" for each in live if each.id not in named]

    return await services.database.read(look)
