"""A worker that does all there is to do, for tests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from catalog.jobs.running import Pace
from catalog.jobs.worker import Worker
from catalog.model.lane import Places
from catalog.model.task import TaskStatus
from catalog.usecases import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.usecases.services import Services

QUICK: Final = Pace(poll=0.02, look=0.01, hear=0.02)


@asynccontextmanager
async def at_work(services: Services, pace: Pace = QUICK, *, at_once: int = 2) -> AsyncIterator[None]:
    """A worker on this loop, until left; what it has begun then is put back."""
    worker = Worker(services, at_once=Places(at_once, at_once), pace=pace)
    running = asyncio.create_task(worker.run(grace=0))
    try:
        yield
    finally:
        worker.stop()
        await running


async def until_quiet(services: Services) -> None:
    """Let a worker work until nothing waits and nothing runs, dead workers' jobs included."""
    async with at_work(services):
        while True:
            await tasks.sweep(services)
            counts = await tasks.counts(services)
            if not counts[TaskStatus.PENDING] + counts[TaskStatus.PROCESSING]:
                return
            await asyncio.sleep(0.01)
