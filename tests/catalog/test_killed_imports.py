"""An import whose worker dies at its n-th step, for each n until it passes: the next worker ends it as if nothing was.

A step is a transaction of the catalog, or a store's write. A worker dies before it, or after it without hearing of it.
What it would have done afterwards is never done; its process is dead, its work is not.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import pytest

from catalog.model.image import Status
from catalog.model.importing import FAILED, LEFT, Method
from catalog.model.task import TaskStatus
from catalog.usecases import images, imports, tasks
from catalog.usecases.imports import Asked
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of, put
from tests.catalog.import_scenes import DATA, DIRECT, left, staged, told, working
from tests.catalog.jobs.scenes import over, task_now
from tests.catalog.killed_workers import Life, dies
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import loose, with_stores

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

FEWEST, MOST = 4, 40


class MortalStore(MemoryStore):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.life: Life | None = None

    async def write(self, url: str, source: CopyReader) -> None:
        life = self.life
        if life is not None:
            life.begin()
        await super().write(url, source)
        if life is not None:
            life.end()


Start: TypeAlias = "Callable[[Services], Awaitable[Task]]"
End: TypeAlias = "Callable[[Services, Task], Awaitable[None]]"


def deaths_of(services: Services, blocks: MemoryBlocks, start: Start, end: End, *, before: bool) -> int:
    """Start an import, let its worker die at its first step, then at its second …, and end it; how many died.

    The last one dies no more. Whatever the end is, nothing may be left but the image and its copies.
    """

    async def scene(last: int) -> bool:
        near, far = MortalStore("near"), MortalStore("far")
        several = with_stores(services, near, far)
        task = await start(several)
        near.life = far.life = life = Life(last, before=before)
        await dies(several, blocks, task, life, f"dead-{last}-{before}")
        near.life = far.life = None
        await end(several, task)
        await nothing_but(several, task, near, far)
        return life.is_over

    for last in range(1, MOST):
        if not asyncio.run(scene(last)):
            return last - 1
    return MOST


async def staged_import(services: Services) -> Task:
    image = await staged(services)
    return await imports.start(services, ANNA, image.id, replace(DIRECT, all_stores=True))


async def a_copy(services: Services) -> Task:
    image = await put(services, await images.create(services, ANNA, RAW), DATA)
    return await imports.start(services, ADMIN, image.id, Asked({"name": Method.COPY_IMAGE}, all_stores=True))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("start", [staged_import, a_copy])
def test_an_import_into_several_stores_ends_well_wherever_its_worker_died(
    services: Services, blocks: MemoryBlocks, *, start: Start, before: bool
) -> None:
    async def goes_on(services: Services, task: Task) -> None:
        await tasks.sweep(services)
        async with working(services):
            await is_whole(services, await over(services, task))

    assert FEWEST < deaths_of(services, blocks, start, goes_on, before=before) < MOST


@pytest.mark.parametrize("before", [True, False])
def test_an_import_that_is_cancelled_when_its_worker_is_dead_leaves_nothing(
    services: Services, blocks: MemoryBlocks, *, before: bool
) -> None:
    async def is_cancelled(services: Services, task: Task) -> None:
        if (await task_now(services, task)).is_over:
            # It died just after the end, if at all.
            return
        await tasks.cancel(services, ANNA, task.id)
        await tasks.sweep(services)
        after = await image_of(services, task)
        assert (after.status, after.size, after.locations) == (Status.QUEUED, None, ())

    assert FEWEST < deaths_of(services, blocks, staged_import, is_cancelled, before=before) < MOST


async def is_whole(services: Services, task: Task) -> None:
    after = await image_of(services, task)
    assert (task.status, after.status) == (TaskStatus.SUCCESS, Status.ACTIVE)
    assert sorted(location.store for location in after.locations) == ["blocks", "far", "near"]
    assert told(after) == {LEFT: "", FAILED: ""}
    assert await bytes_of(services, after) == DATA


async def nothing_but(services: Services, task: Task, *stores: MemoryStore) -> None:
    """Each copy in a store is the image's, or is to be removed; nothing is pinned, staged or being written."""
    image = await image_of(services, task)
    assert await left(services, image) == []
    named = {location.url for location in image.locations}
    _, doomed = await loose(services)
    for store in stores:
        assert set(store.copies) <= named | {copy.url for copy in doomed}


async def image_of(services: Services, task: Task) -> Image:
    assert task.image_id is not None
    return await images.show(services, ANNA, task.image_id)
