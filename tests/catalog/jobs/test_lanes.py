"""Two lanes: what takes hours never holds up what takes seconds, and no project has all places."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.kinds import KINDS, Kind
from catalog.jobs.worker import Worker
from catalog.model.importing import IMPORT
from catalog.model.lane import LANES, Places, crowding
from catalog.model.task import HASH, TaskStatus
from tests.catalog.jobs.scenes import Told, new_task, over, task_now, until
from tests.kit.quiet_worker import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.usecases.services import Services


@asynccontextmanager
async def working(services: Services, told: Told, slow: Told, places: Places) -> AsyncIterator[None]:
    worker = Worker(services, at_once=places, kinds={HASH: Kind(told.run), IMPORT: Kind(slow.run)}, pace=QUICK)
    running = asyncio.create_task(worker.run(grace=0.0))
    try:
        yield
    finally:
        worker.stop()
        await running


def test_every_kind_of_job_has_a_lane() -> None:
    assert LANES.keys() == KINDS.keys()


def test_slow_jobs_that_never_end_hold_up_no_quick_one(services: Services) -> None:
    async def scene() -> None:
        quick, slow = Told(), Told()
        quick.gate.set()
        async with working(services, quick, slow, Places(1, 2)):
            waits = [await new_task(services, f"slow-{n}", f"project-{n}", IMPORT) for n in range(5)]
            for task in waits[:2]:
                await until(services, task, TaskStatus.PROCESSING)
            for number in range(5):
                assert (await over(services, await new_task(services, f"quick-{number}", kind=HASH))).attempts == 1
            assert [(await task_now(services, task)).status for task in waits[2:]] == [TaskStatus.PENDING] * 3
            slow.gate.set()
            for task in waits:
                await over(services, task)
        assert slow.most_at_work == 2

    asyncio.run(scene())


def test_a_lane_without_places_is_left_to_other_workers(services: Services) -> None:
    async def scene() -> None:
        told = Told()
        told.gate.set()
        async with working(services, told, told, Places(1, 0)):
            left = await new_task(services, "slow", kind=IMPORT)
            await over(services, await new_task(services, "quick", kind=HASH))
            assert (await task_now(services, left)).status is TaskStatus.PENDING
        async with working(services, told, told, Places(0, 1)):
            await over(services, left)

    asyncio.run(scene())


def test_a_project_with_many_slow_jobs_leaves_places_to_others(services: Services) -> None:
    async def scene() -> None:
        slow = Told()
        async with working(services, Told(), slow, Places(1, 4)):
            mine = [await new_task(services, f"mine-{n}", "mine", IMPORT) for n in range(6)]
            for task in mine[:2]:
                await until(services, task, TaskStatus.PROCESSING)
            for owner in ("other", "third"):
                await until(services, await new_task(services, owner, owner, IMPORT), TaskStatus.PROCESSING)
            states = Counter([(await task_now(services, task)).status for task in mine])
            assert states == {TaskStatus.PROCESSING: 2, TaskStatus.PENDING: 4}
            slow.gate.set()
            for task in mine:
                await over(services, task)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("running", "places", "crowding_ones"),
    [("", 1, ""), ("a", 1, "a"), ("a", 2, "a"), ("a", 3, ""), ("aa", 4, "a"), ("aab", 4, "ab"), ("aaabb", 8, "a")],
)
def test_a_project_begins_another_only_while_more_places_are_free_than_it_has(
    running: str, places: int, crowding_ones: str
) -> None:
    assert crowding(running, places) == frozenset(crowding_ones)
