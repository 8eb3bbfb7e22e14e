from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest

from blockstore.errors import Damaged, Poisoned
from blockstore.names import new_name
from catalog.jobs import steps
from catalog.jobs.bell import Bell
from catalog.jobs.kinds import Kind
from catalog.jobs.running import Pace, RunningJob
from catalog.jobs.steps import Done
from catalog.model.errors import CatalogUnavailable, CopyLost, SourceLost, StoreDown
from catalog.model.job import Job, JobCancelled, JobFailed, Retries
from catalog.model.task import KEPT, TaskStatus
from catalog.usecases import tasks
from tests.catalog.cast import ANNA
from tests.catalog.jobs.scenes import AT_ONCE, Told, at_work, kinds, new_task, over, seen, task_now, until, working
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.model.job import Claim
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

T = TypeVar("T")
IN_THE_LOG = "whoever runs the service finds more in its log, under this task's id."


def is_due(uow: UnitOfWork, *, at: datetime) -> bool:
    return uow.jobs.is_due(["told"], at=at)


async def claims(services: Services) -> int:
    return len(await services.database.read(lambda uow: uow.jobs.claims()))


async def taken(services: Services, process: str) -> tuple[Claim, Task]:
    """A job claimed by a process that is not heard of any more."""
    found = await services.database.write(
        lambda uow: steps.claim(uow, new_name().hex(), process, kinds(Told()), at=services.clock())
    )
    assert found is not None
    return found


def test_a_job_is_done_and_its_task_tells_so(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        async with working(services, told):
            task = await over(services, await new_task(services))
        assert (task.status, task.progress, task.message) == (TaskStatus.SUCCESS, 100, "Done.")
        assert (task.result, task.attempts) == ({"answer": 42}, 1)
        assert (task.user, task.request_id, task.owner) == ("anna", "req-1", "wall")
        assert task.expires_at == task.updated_at + KEPT
        assert told.effects == 1
        assert await claims(services) == 0
        assert not services.claims

    asyncio.run(scene())


def test_another_processs_job_behind_one_that_was_done_is_not_waited_for_as_long_as_one_after_hours(
    services: Services,
) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        async with working(services, told, pace=Pace(poll=16, look=60)), asyncio.timeout(14):
            await over(services, await new_task(services))
            await asyncio.sleep(0.1)  # so that the worker has looked in vain
            # Whose bell nobody hears here.
            elsewhere = replace(services, bell=Bell())
            await over(services, await new_task(elsewhere))
        assert told.effects == 2

    asyncio.run(scene())


def test_what_a_job_holds_is_let_go_only_after_the_step_that_names_it_though_the_job_is_cancelled(
    services: Services,
) -> None:
    order: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def effect(_uow: UnitOfWork, _at: datetime) -> Done:
        begun.set()
        assert go.wait(20)
        order.append("named")
        return Done("Done.", {})

    async def hold(context: JobContext) -> Effect:
        context.let_go = lambda: order.append("let go")
        return effect

    async def scene() -> None:
        await new_task(services)
        claim, task = await taken(services, services.blocks.process)
        running = asyncio.create_task(RunningJob(services, Kind(hold, AT_ONCE), claim, task, QUICK).run())
        try:
            assert await asyncio.to_thread(begun.wait, 20)
            running.cancel()
            await asyncio.wait({running}, timeout=0.1)
            assert order == []
        finally:
            go.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert order == ["named", "let go"]

    asyncio.run(scene())


def test_progress_is_told_while_the_job_runs(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        async with working(services, told):
            task = await new_task(services)
            now = await seen(services, task, lambda now: now.progress == 50)
            assert (now.status, now.message) == (TaskStatus.PROCESSING, "Half of it.")
            told.gate.set()
            await over(services, task)

    asyncio.run(scene())


def test_jobs_on_one_image_run_one_at_a_time_and_on_several_side_by_side(services: Services) -> None:
    async def scene(images: tuple[str, str], most: int) -> None:
        told = Told()
        async with working(services, told, at_once=2):
            made = [await new_task(services, image) for image in images]
            await until(services, made[0], TaskStatus.PROCESSING)
            await at_work(told, most)
            told.gate.set()
            for task in made:
                await over(services, task)
        assert (told.most_at_work, told.effects) == (most, 2)

    asyncio.run(scene(("one", "one"), 1))
    asyncio.run(scene(("one", "two"), 2))


def test_no_more_jobs_run_at_once_than_a_worker_is_told(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        async with working(services, told, at_once=2):
            for task in [await new_task(services, f"image-{n}") for n in range(8)]:
                await over(services, task)
        assert told.most_at_work <= 2
        assert told.effects == 8

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("error", "sentence", "whole"),
    [
        (
            Damaged("manifest 5 is damaged: restore it"),
            f"What this needs is damaged in the store; {IN_THE_LOG}",
            "manifest 5 is damaged: restore it.",
        ),
        (
            Poisoned("pack 7 was not synced"),
            f"The store cannot do this now; {IN_THE_LOG}",
            "pack 7 was not synced.",
        ),
        (
            OSError(5, "Input/output error"),
            f"The system refused what this needs; {IN_THE_LOG}",
            "the system refused: Input/output error.",
        ),
        (
            StoreDown("Store fast is down: /mnt/fast is empty."),
            f"A store cannot be asked now; {IN_THE_LOG}",
            "Store fast is down: /mnt/fast is empty.",
        ),
        (
            CopyLost("Store fast has no /mnt/fast/a."),
            f"A store has lost the image's bytes; {IN_THE_LOG}",
            "Store fast has no /mnt/fast/a.",
        ),
        (
            ValueError("x"),
            f"A fault of the service; {IN_THE_LOG}",
            "a fault of the service (ValueError: x); its log has the trace.",
        ),
        (SourceLost("The file could not be fetched"), "The file could not be fetched.", None),
    ],
)
def test_a_job_that_fails_each_time_is_given_up_with_its_last_error_and_the_number_of_tries(
    services: Services, error: Exception, sentence: str, whole: str | None
) -> None:
    async def scene() -> None:
        told = Told(errors=[error] * 9)
        async with working(services, told):
            task = await over(services, await new_task(services))
        assert (task.status, task.attempts) == (TaskStatus.FAILURE, 3)
        assert task.message == f"Given up after 3 tries: {sentence}"
        assert task.whole_message == (None if whole is None else f"Given up after 3 tries: {whole}")
        assert task.expires_at is not None
        assert (told.begun, told.effects) == (3, 0)
        assert not await services.database.read(lambda uow: uow.jobs.is_due(["told"], at=services.clock()))

    asyncio.run(scene())


def test_a_job_that_fails_once_is_tried_again_and_succeeds(services: Services) -> None:
    async def scene() -> None:
        told = Told(errors=[CatalogUnavailable("locked")], breaks_in_effect=[ValueError("broken")])
        told.gate.set()
        async with working(services, told):
            task = await over(services, await new_task(services))
        assert (task.status, task.attempts, told.effects) == (TaskStatus.SUCCESS, 3, 1)

    asyncio.run(scene())


def test_the_time_between_tries_grows_and_the_task_says_so(services: Services) -> None:
    async def scene() -> None:
        found = await new_task(services)
        for attempt, pause in ((1, 1), (2, 4), (3, 16), (4, 64)):
            now = services.clock() + timedelta(hours=attempt)

            def try_once(uow: UnitOfWork, at: datetime = now) -> None:
                held = steps.claim(uow, "c", "p", ["told"], at=at)
                assert held is not None
                steps.fail(uow, held[0], "it broke.", retries=Retries(), at=at)

            await services.database.write(try_once)
            told = await task_now(services, found)
            assert told.status is TaskStatus.PENDING
            assert told.message == f"Try {attempt} of 5 failed, the next one follows in {pause} s: it broke."
            almost = now + timedelta(seconds=pause - 0.5)
            assert not await services.database.read(partial(is_due, at=almost))

    asyncio.run(scene())


def test_what_cannot_succeed_is_not_tried_again(services: Services) -> None:
    async def scene() -> None:
        told = Told(errors=[JobFailed("There is no such format.")])
        async with working(services, told):
            task = await over(services, await new_task(services))
        assert (task.status, task.message, told.begun) == (TaskStatus.FAILURE, "There is no such format.", 1)

    asyncio.run(scene())


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_soon(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        waiting = await new_task(services)
        ended = await tasks.cancel(services, ANNA, waiting.id)
        assert (ended.status, ended.message) == (TaskStatus.FAILURE, "Cancelled: asked for by anna.")
        async with working(services, told):
            task = await until(services, await new_task(services), TaskStatus.PROCESSING)
            await at_work(told)
            assert (await tasks.cancel(services, ANNA, task.id)).status is TaskStatus.PROCESSING
            ended = await over(services, task)
        assert ended.message == "Cancelled: asked for while it ran."
        assert (told.begun, told.effects) == (1, 0)

    asyncio.run(scene())


def test_work_that_is_not_wanted_any_more_says_so_and_is_not_tried_again(services: Services) -> None:
    async def scene(told: Told) -> None:
        told.gate.set()
        async with working(services, told):
            task = await over(services, await new_task(services))
        assert (task.status, task.message) == (TaskStatus.FAILURE, "Cancelled: the image was deleted.")
        assert (told.begun, told.effects) == (1, 0)

    asyncio.run(scene(Told(errors=[JobCancelled("the image was deleted.")])))
    asyncio.run(scene(Told(breaks_in_effect=[JobCancelled("the image was deleted.")])))


def test_a_worker_that_stops_gives_its_job_back_uncounted(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        async with working(services, told):
            task = await until(services, await new_task(services), TaskStatus.PROCESSING)
            await at_work(told)
        now = await task_now(services, task)
        assert (now.status, await claims(services), told.effects) == (TaskStatus.PENDING, 0, 0)
        told.gate.set()
        async with working(services, told):
            assert (await over(services, task)).attempts == 1
        assert (told.begun, told.effects) == (2, 1)

    asyncio.run(scene())


def test_a_worker_that_stops_lets_a_job_finish_within_its_grace(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        async with working(services, told, grace=20):
            task = await until(services, await new_task(services), TaskStatus.PROCESSING)
            asyncio.get_running_loop().call_later(0.05, told.gate.set)
        assert (await task_now(services, task)).status is TaskStatus.SUCCESS

    asyncio.run(scene())


def test_the_job_of_a_dead_process_runs_again_and_its_late_effect_changes_nothing(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        task = await new_task(services)
        late, _ = await taken(services, "other")
        assert await tasks.sweep(services) == 0
        blocks.dead.add("other")
        assert await tasks.sweep(services) == 1
        assert (await task_now(services, task)).status is TaskStatus.PENDING
        async with working(services, told):
            ended = await over(services, task)
        assert (ended.status, ended.attempts) == (TaskStatus.SUCCESS, 2)
        with pytest.raises(Exception, match="no longer held"):
            await services.database.write(lambda uow: steps.succeed(uow, late, told.effect, at=services.clock()))
        assert told.effects == 1
        assert await task_now(services, task) == ended

    asyncio.run(scene())


def test_the_job_of_a_worker_that_stands_still_runs_again_and_when_it_wakes_it_stops(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        frozen, neighbour = Told(), Told()
        neighbour.gate.set()
        other = replace(
            services,
            blocks=MemoryBlocks(process="process-2"),
            claims=set(),
            clock=lambda: services.clock() + timedelta(seconds=60),
        )
        async with working(services, frozen):
            task = await until(services, await new_task(services), TaskStatus.PROCESSING)
            await at_work(frozen)
            assert await tasks.sweep(other) == 1
            async with working(other, neighbour):
                ended = await over(other, task)
                await seen(services, task, lambda _: not frozen.at_work)
        assert (frozen.effects, neighbour.effects, ended.attempts) == (0, 1, 2)
        assert await task_now(services, task) == ended

    asyncio.run(scene())


def test_a_claim_of_this_process_that_nobody_works_on_is_put_back(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        await new_task(services)
        claim, _ = await taken(services, blocks.process)
        services.claims.add(claim.id)
        assert await tasks.sweep(services) == 0
        services.claims.clear()
        assert await tasks.sweep(services) == 1

    asyncio.run(scene())


def test_a_job_that_kills_its_worker_each_time_is_given_up(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        task = await new_task(services)
        blocks.dead.add("other")
        for _ in range(5):
            await taken(services, "other")
            assert await tasks.sweep(services) == 1
        ended = await task_now(services, task)
        assert ended.status is TaskStatus.FAILURE
        assert ended.message == "Given up after 5 tries: each time its worker died or stood still."

    asyncio.run(scene())


def test_a_job_that_was_cancelled_while_its_worker_died_is_over(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        task = await new_task(services)
        await taken(services, "other")
        await tasks.cancel(services, ANNA, task.id)
        blocks.dead.add("other")
        await tasks.sweep(services)
        assert (await task_now(services, task)).message == "Cancelled: asked for while it ran."

    asyncio.run(scene())


def test_a_job_without_a_task_goes_and_keeps_nobody_from_working(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        await services.database.write(lambda uow: uow.jobs.add(Job("lost", "told", services.clock())))
        async with working(services, told):
            await over(services, await new_task(services))
        assert told.begun == 1
        assert not await services.database.read(partial(is_due, at=services.clock() + KEPT))

    asyncio.run(scene())


def test_tasks_are_forgotten_two_days_after_their_end(services: Services) -> None:
    async def scene() -> None:
        ended = await tasks.cancel(services, ANNA, (await new_task(services)).id)
        waiting = await new_task(services)
        later = replace(services, clock=lambda: services.clock() + KEPT - timedelta(minutes=1))
        await tasks.sweep(later)
        await task_now(services, ended)
        later = replace(services, clock=lambda: services.clock() + KEPT)
        await tasks.sweep(later)
        assert await services.database.read(lambda uow: uow.tasks.get(ended.id)) is None
        await task_now(services, waiting)

    asyncio.run(scene())


class SweptDatabase:
    """A database after each of whose writes a sweep gets in before the writer hears of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return await self._services.database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        result = await self._services.database.write(step)
        await tasks.sweep(self._services)
        return result


def test_a_sweep_just_after_a_claim_does_not_take_the_job_back(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        task = await new_task(services)
        async with working(replace(services, database=SweptDatabase(services)), told):
            ended = await over(services, task)
        assert (told.begun, told.effects, ended.attempts) == (1, 1, 1)
        assert not services.claims

    asyncio.run(scene())


def test_a_job_that_is_cancelled_while_a_sweep_takes_it_back_is_over(services: Services) -> None:
    async def scene() -> None:
        task = await new_task(services)
        await taken(services, "other")
        [left] = await services.database.read(lambda uow: uow.jobs.claims())
        await tasks.cancel(services, ANNA, task.id)
        await services.database.write(lambda uow: steps.take_back(uow, left, retries=Retries(), at=services.clock()))
        assert (await task_now(services, task)).message == "Cancelled: asked for while it ran."

    asyncio.run(scene())
