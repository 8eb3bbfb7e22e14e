"""What a job changes while it runs, and what each bad end lets go."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.context import JobContext
from catalog.jobs.kinds import Kind
from catalog.jobs.releases import RELEASES
from catalog.jobs.running import RunningJob
from catalog.model.job import ClaimLost, JobCancelled, JobFailed, Retries
from catalog.model.task import TaskStatus
from catalog.usecases import images, tasks
from tests.catalog.cast import ANNA, RAW
from tests.catalog.jobs.scenes import Told, new_task, over, task_now, until, working
from tests.catalog.jobs.test_worker import taken
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from catalog.jobs.steps import Effect
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

TOOK = "It took something along."


@contextmanager
def released() -> Iterator[list[str]]:
    """What the kind `told` lets go: the images of its tasks."""
    found: list[str] = []
    RELEASES["told"] = lambda _uow, task, _at: found.append(str(task.image_id))
    try:
        yield found
    finally:
        del RELEASES["told"]


async def end_by(services: Services, told: Told) -> Task:
    async with working(services, told):
        return await over(services, await new_task(services))


@pytest.mark.parametrize("error", [JobFailed("no"), JobCancelled("gone."), ValueError("broken")])
def test_a_job_that_fails_for_good_lets_go_once(services: Services, error: Exception) -> None:
    with released() as found:
        ended = asyncio.run(end_by(services, Told(errors=[error] * 3)))
    assert (ended.status, found) == (TaskStatus.FAILURE, ["image"])


def test_a_failed_try_and_success_let_nothing_go(services: Services) -> None:
    told = Told(errors=[ValueError("broken")])
    told.gate.set()
    with released() as found:
        ended = asyncio.run(end_by(services, told))
    assert (ended.status, found) == (TaskStatus.SUCCESS, [])


def test_a_job_lets_go_when_it_is_cancelled_waiting_or_running(services: Services) -> None:
    async def scene() -> None:
        await tasks.cancel(services, ANNA, (await new_task(services)).id)
        assert found == ["image"]
        async with working(services, Told()):
            task = await until(services, await new_task(services, "other"), TaskStatus.PROCESSING)
            await tasks.cancel(services, ANNA, task.id)
            await over(services, task)
        assert found == ["image", "other"]

    with released() as found:
        asyncio.run(scene())


def test_a_job_whose_workers_die_lets_go_with_the_last_one(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        await new_task(services)
        blocks.dead.add("other")
        for attempt in range(5):
            assert found == []
            await taken(services, "other")
            assert await tasks.sweep(services) == 1, attempt
        assert found == ["image"]

    with released() as found:
        asyncio.run(scene())


def test_what_jobs_took_along_is_let_go_in_the_transaction_that_deletes_their_image(services: Services) -> None:
    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await new_task(services, image.id)
        await taken(services, "other")
        await images.delete(services, ANNA, image.id)
        assert found[0] == image.id

    with released() as found:
        asyncio.run(scene())


def test_an_image_that_a_release_changes_is_deleted_as_it_then_is(services: Services) -> None:
    def rename(uow: UnitOfWork, task: Task, at: datetime) -> None:
        image = uow.images.get(str(task.image_id))
        assert image is not None
        image.name = "let go"
        image.be_changed(at=at)
        uow.images.save(image, expect=image.status)

    async def scene() -> None:
        image = await images.create(services, ANNA, RAW)
        await new_task(services, image.id)
        await images.delete(services, ANNA, image.id)
        assert await services.database.read(lambda uow: uow.images.get(image.id)) is None

    RELEASES["told"] = rename
    try:
        asyncio.run(scene())
    finally:
        del RELEASES["told"]


def test_a_release_that_breaks_takes_the_end_back_with_it(services: Services) -> None:
    def broken(_uow: UnitOfWork, _task: Task, _at: datetime) -> None:
        raise RuntimeError(TOOK)

    async def scene() -> None:
        task = await new_task(services)
        with pytest.raises(RuntimeError, match=TOOK):
            await tasks.cancel(services, ANNA, task.id)
        assert (await task_now(services, task)).status is TaskStatus.PENDING
        assert await services.database.read(lambda uow: uow.jobs.is_due(["told"], at=services.clock()))

    RELEASES["told"] = broken
    try:
        asyncio.run(scene())
    finally:
        del RELEASES["told"]


def change_of(changed: asyncio.Event) -> Kind:
    """A job that changes something in between, and then waits for ever."""

    async def run(context: JobContext) -> Effect:
        def say(uow: UnitOfWork, at: datetime) -> None:
            task = uow.tasks.get(context.task.id)
            assert task is not None
            uow.tasks.save(task.moved(7, TOOK, at=at))

        await context.change(say)
        changed.set()
        await asyncio.Event().wait()
        raise AssertionError

    return Kind(run, Retries(tries=1))


def test_a_change_in_between_is_there_before_the_job_ends(services: Services) -> None:
    async def scene() -> None:
        changed = asyncio.Event()
        task = await new_task(services)
        claim, claimed = await taken(services, services.blocks.process)
        job = RunningJob(services, change_of(changed), claim, claimed, QUICK)
        running = asyncio.create_task(job.run())
        await asyncio.wait_for(changed.wait(), 20)
        assert (await task_now(services, task)).message == TOOK
        job.stop()
        await running

    asyncio.run(scene())


def test_a_worker_that_lost_its_job_changes_nothing_in_between(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        await new_task(services)
        late, task = await taken(services, "other")
        blocks.dead.add("other")
        await tasks.sweep(services)
        context = JobContext(services, task, late)
        with pytest.raises(ClaimLost):
            await context.change(lambda uow, _at: uow.tasks.save(task.moved(99, "late", at=services.clock())))
        assert (await task_now(services, task)).progress == 0

    asyncio.run(scene())


def test_a_job_knows_which_try_is_its_last(services: Services) -> None:
    async def scene() -> None:
        lasts: list[bool] = []

        async def run(context: JobContext) -> Effect:
            lasts.append(context.is_last)
            raise ValueError("again")

        await new_task(services)
        kind = Kind(run, Retries(tries=2, first=0.0))
        for _ in range(2):
            claim, task = await taken(services, services.blocks.process)
            await RunningJob(services, kind, claim, task, QUICK).run()
        assert lasts == [False, True]

    asyncio.run(scene())
