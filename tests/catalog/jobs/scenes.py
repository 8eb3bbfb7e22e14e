"""What the scenes with workers need: jobs that do as they are told, and a worker at a quick pace."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from catalog.jobs import steps
from catalog.jobs.kinds import Kind
from catalog.jobs.steps import Done
from catalog.jobs.worker import Worker
from catalog.model.job import Retries
from catalog.model.lane import Places
from catalog.model.task import Requester, TaskStatus, image_task
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.running import Pace
    from catalog.jobs.steps import Effect
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

AT_ONCE = Retries(tries=3, first=0.0)


@dataclass
class Told:
    """A kind of job that raises what `errors` say, one a try, waits while `gate` is closed, and counts its effects."""

    errors: list[BaseException] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    effects: int = 0
    at_work: int = 0
    most_at_work: int = 0
    breaks_in_effect: list[BaseException] = field(default_factory=list)

    async def run(self, context: JobContext) -> Effect:
        self.begun += 1
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        context.report(1, 2, "Half of it.")
        try:
            if self.errors:
                raise self.errors.pop(0)
            await self.gate.wait()
        finally:
            self.at_work -= 1
        return self.effect

    def effect(self, _uow: UnitOfWork, _at: datetime) -> Done:
        if self.breaks_in_effect:
            raise self.breaks_in_effect.pop(0)
        self.effects += 1
        return Done("Done.", {"answer": 42})


def kinds(told: Told, retries: Retries = AT_ONCE) -> Mapping[str, Kind]:
    return {"told": Kind(told.run, retries)}


async def new_task(services: Services, image_id: str = "image", owner: str = "wall", kind: str = "told") -> Task:
    by = Requester("anna", "req-1")
    task = image_task(kind, image_id=image_id, owner=owner, by=by, at=services.clock())
    await services.database.write(lambda uow: steps.enqueue(uow, task))
    services.bell.ring()
    return task


@asynccontextmanager
async def working(
    services: Services,
    told: Told,
    *,
    at_once: int = 1,
    grace: float = 0.0,
    retries: Retries = AT_ONCE,
    pace: Pace = QUICK,
) -> AsyncIterator[Worker]:
    worker = Worker(services, at_once=Places(at_once, at_once), kinds=kinds(told, retries), pace=pace)
    running = asyncio.create_task(worker.run(grace=grace))
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def task_now(services: Services, task: Task) -> Task:
    found = await services.database.read(lambda uow: uow.tasks.get(task.id))
    assert found is not None
    return found


async def until(services: Services, task: Task, status: TaskStatus) -> Task:
    return await seen(services, task, lambda now: now.status is status)


async def over(services: Services, task: Task) -> Task:
    return await seen(services, task, lambda now: now.is_over)


async def at_work(told: Told, jobs: int = 1) -> None:
    """Until so many have begun their work: a task is in progress from its claim on, which is a little earlier."""
    for _ in range(4000):
        if told.at_work >= jobs:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{told.at_work} jobs are at work")


async def seen(services: Services, task: Task, holds: Callable[[Task], bool]) -> Task:
    for _ in range(4000):
        if holds(now := await task_now(services, task)):
            return now
        await asyncio.sleep(0.005)
    raise AssertionError(f"still {now}")
