"""A conversion whose worker dies at its n-th step, for each n until it passes: it ends well, or nothing was.

A step is a transaction of the catalog, or the middle of a file that the converter makes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from catalog.jobs.rooms import Rooms
from catalog.model.image import Status
from catalog.model.importing import ImportRules
from catalog.model.new_image import NewImage
from catalog.model.task import TaskStatus
from catalog.usecases import images, imports, tasks
from catalog.usecases.conversions import Wanted, convert
from tests.catalog.cast import ANNA, bytes_of, put
from tests.catalog.import_scenes import DATA, DIRECT, left, now, staged, working
from tests.catalog.jobs.scenes import over, task_now
from tests.catalog.killed_workers import Life, dies
from tests.kit.played_converter import PlayedConverter, marked, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from catalog.model.task import Task
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

FEWEST, MOST = 2, 40
QCOW2 = NewImage(disk_format="qcow2", container_format="bare")


def deaths_of(scene: Callable[[int], Coroutine[Any, Any, bool]]) -> int:
    """Play the scene with a death at its first step, its second …, until nobody dies any more; how many died."""
    for last in range(1, MOST):
        if not asyncio.run(scene(last)):
            return last - 1
    return MOST


async def goes_on(services: Services, task: Task) -> Task:
    await tasks.sweep(services)
    async with working(services):
        return await over(services, task)


class MortalConverter(PlayedConverter):
    """Its steps are deaths, too: in the middle of a file, after which nobody removes what is there."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life
        self.in_the_middle = self._step

    async def _step(self, target: Path) -> None:
        self._life.begin()


def where_conversions_are(services: Services, blocks: MemoryBlocks, root: Path, process: str, life: Life) -> Services:
    rooms = Rooms(root, store=blocks.store, process=process, is_alive=blocks.is_alive)
    rules = ImportRules(convert="raw", decompress=True, inject={"tier": "gold"})
    return replace(services, rooms=rooms, converter=MortalConverter(life), import_rules=rules)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("before", [True, False])
def test_an_import_that_converts_ends_well_wherever_its_worker_died(
    services: Services, blocks: MemoryBlocks, tmp_path: Path, *, before: bool
) -> None:
    async def scene(last: int) -> bool:
        process = f"converts-{last}-{before}"
        life = Life(last, before=before)
        mortal = where_conversions_are(services, blocks, tmp_path / "work", process, life)
        after = where_conversions_are(services, blocks, tmp_path / "work", "process-1", Life(MOST, before=True))
        image = await staged(mortal, packed("xz", marked("qcow2", DATA)), QCOW2)
        task = await imports.start(mortal, ANNA, image.id, DIRECT)
        await dies(mortal, blocks, task, life, process)
        done = await goes_on(after, task)
        found = await now(after, image)
        assert (done.status, found.status, found.disk_format) == (TaskStatus.SUCCESS, Status.ACTIVE, "raw")
        assert (found.size, found.properties["tier"]) == (len(DATA), "gold")
        assert await bytes_of(after, found) == DATA
        assert await left(after, image) == []
        await after.rooms.sweep()  # type: ignore[union-attr]
        assert files(tmp_path / "work") == []
        return life.is_over

    assert FEWEST < deaths_of(scene) < MOST


@pytest.mark.parametrize("before", [True, False])
def test_an_import_that_converts_and_is_cancelled_when_its_worker_is_dead_is_as_before(
    services: Services, blocks: MemoryBlocks, tmp_path: Path, *, before: bool
) -> None:
    async def scene(last: int) -> bool:
        process = f"cancelled-{last}-{before}"
        life = Life(last, before=before)
        mortal = where_conversions_are(services, blocks, tmp_path / "work", process, life)
        image = await staged(mortal, marked("qcow2", DATA), QCOW2)
        task = await imports.start(mortal, ANNA, image.id, DIRECT)
        await dies(mortal, blocks, task, life, process)
        if (await task_now(services, task)).is_over:
            return False
        await tasks.cancel(services, ANNA, task.id)
        await tasks.sweep(services)
        after = await now(services, image)
        assert (after.status, after.disk_format, after.size) == (Status.QUEUED, "qcow2", None)
        assert "tier" not in after.properties
        assert await left(services, image) == []
        return life.is_over

    assert FEWEST < deaths_of(scene) < MOST


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_conversion_on_demand_ends_well_or_leaves_nothing_wherever_its_worker_died(
    services: Services, blocks: MemoryBlocks, tmp_path: Path, *, before: bool, cancelled: bool
) -> None:
    async def scene(last: int) -> bool:
        process = f"demand-{last}-{before}"
        life = Life(last, before=before)
        mortal = where_conversions_are(services, blocks, tmp_path / "work", process, life)
        after = where_conversions_are(services, blocks, tmp_path / "work", "process-1", Life(MOST, before=True))
        source = await put(services, await images.create(services, ANNA, QCOW2), marked("qcow2", DATA))
        task = await convert(services, ANNA, source.id, Wanted("raw"))
        await dies(mortal, blocks, task, life, process)
        was_over = (await task_now(services, task)).is_over
        if cancelled and not was_over:
            await tasks.cancel(services, ANNA, task.id)
            await tasks.sweep(services)
        done = await goes_on(after, task)
        made = await services.database.read(lambda uow: uow.images.get(task.image_id or ""))
        if cancelled and not was_over:
            assert (done.status, made) == (TaskStatus.FAILURE, None)
        else:
            assert made is not None
            assert (done.status, made.status) == (TaskStatus.SUCCESS, Status.ACTIVE)
            assert await bytes_of(services, made) == DATA
        assert await left(services, source) == []
        await after.rooms.sweep()  # type: ignore[union-attr]
        assert files(tmp_path / "work") == []
        return life.is_over

    assert FEWEST < deaths_of(scene) < MOST
