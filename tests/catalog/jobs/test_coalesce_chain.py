"""Coalescing: who may ask, when it comes by itself, and that it changes an image's manifest wholly or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from catalog.jobs.running import Pace
from catalog.model.errors import Conflict, Forbidden, NotFound
from catalog.model.manifest import ManifestState
from catalog.model.task import TaskQuery, TaskStatus
from catalog.usecases import images, tasks
from catalog.usecases.coalescing import coalesce
from tests.catalog.cast import ADMIN, ANNA, BORIS, RAW, READER, bytes_of, put
from tests.catalog.jobs.scenes import over, task_now
from tests.kit.quiet_worker import at_work, until_quiet

if TYPE_CHECKING:
    from catalog.model.image import Image
    from catalog.model.job import Claim
    from catalog.model.manifest import Manifest
    from catalog.model.task import Task
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services
    from tests.kit.memory_blocks import MemoryBlocks

BLOCK = 65536


def version(number: int) -> bytes:
    """Ten blocks; each version changes one of them."""
    return b"".join((b"%d" % max(0, number - at) * BLOCK)[:BLOCK] if number > at else b"x" * BLOCK for at in range(10))


async def made(services: Services, number: int, of: Image | None = None) -> Image:
    new = replace(RAW, name=f"v{number}", parent_image_ref=of.id if of else None)
    return await put(services, await images.create(services, ANNA, new), version(number))


async def a_line(services: Services, length: int) -> list[Image]:
    """The oldest first, each the child of the one before."""
    line: list[Image] = []
    for number in range(length):
        line.append(await made(services, number, line[-1] if line else None))
    return line


async def manifest(services: Services, image: Image) -> Manifest:
    """The one that the image has now."""
    name = (await images.show(services, ADMIN, image.id)).locations[0].manifest
    return await by_name(services, name or "")


async def by_name(services: Services, name: str) -> Manifest:
    found = await services.database.read(lambda uow: uow.manifests.get(name))
    assert found is not None
    return found


async def all_done(services: Services) -> list[Task]:
    """Let a worker do all there is; gives all tasks, the oldest first."""
    await until_quiet(services)
    page = await tasks.list_tasks(services, ADMIN, TaskQuery(limit=1000, descending=False))
    failed = [task.message for task in page.tasks if task.status is not TaskStatus.SUCCESS]
    assert set(failed) <= {"Cancelled: the image was deleted."}
    return list(page.tasks)


async def waiting(services: Services) -> list[str]:
    page = await tasks.list_tasks(services, ADMIN, TaskQuery(status=TaskStatus.PENDING, type="coalesce", limit=100))
    return sorted(str(task.input["image_id"]) for task in page.tasks)


def test_a_coalesced_image_has_a_whole_manifest_and_nothing_else_of_it_changes(services: Services) -> None:
    async def scene() -> None:
        _, old, image = await a_line(services, 3)
        before, chain = await images.show(services, ANNA, image.id), await manifest(services, image)
        assert chain.depth == 2
        task = await coalesce(services, ANNA, image.id, request_id="req-5")
        assert (task.type, task.image_id, task.owner, task.request_id) == ("coalesce", image.id, "wall", "req-5")
        assert (await coalesce(services, ANNA, image.id)).id == task.id, "one at a time"
        await all_done(services)
        ended = await task_now(services, task)
        assert (ended.message, ended.progress) == ("The image has a whole manifest.", 100)
        after, flat = await images.show(services, ANNA, image.id), await manifest(services, image)
        assert (flat.base, flat.depth, flat.size, flat.listed) == (None, 0, 10 * BLOCK, 10 * BLOCK)
        assert after == replace(before, locations=after.locations)
        assert after.locations[0].url.endswith(f"/{flat.id}")
        assert (await by_name(services, chain.id)).state is ManifestState.RETIRED
        assert (await manifest(services, old)).state is ManifestState.LIVE
        assert await bytes_of(services, image) == version(2)

    asyncio.run(scene())


def test_what_is_whole_already_stays_as_it_is(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        [image] = await a_line(services, 1)
        before = await manifest(services, image)
        await coalesce(services, ANNA, image.id)
        [task] = await all_done(services)
        assert (task.message, task.result) == ("The image has a whole manifest.", {"image_id": image.id})
        assert await manifest(services, image) == before
        assert len(blocks.manifests) == 1
        assert await coalesce(services, ANNA, image.id) == task, "whoever asks again makes no heap of tasks"

    asyncio.run(scene())


def test_a_coalescing_that_the_service_needs_is_not_lost_with_one_that_a_user_takes_back(services: Services) -> None:
    async def scene() -> None:
        old, image = await a_line(services, 2)
        asked = await coalesce(services, ANNA, image.id)
        await images.delete(services, ANNA, old.id)
        await tasks.cancel(services, ANNA, asked.id)
        assert await waiting(services) == [image.id]
        await until_quiet(services)
        assert (await manifest(services, image)).depth == 0

    asyncio.run(scene())


def test_it_takes_the_rights_to_change_the_image_and_an_image_with_data(services: Services) -> None:
    async def scene() -> None:
        [image] = await a_line(services, 1)
        with pytest.raises(Forbidden):
            await coalesce(services, READER, image.id)
        for caller, image_id in ((BORIS, image.id), (ANNA, "00000000-0000-4000-8000-000000000000")):
            with pytest.raises(NotFound):
                await coalesce(services, caller, image_id)
        queued = await images.create(services, ANNA, RAW)
        with pytest.raises(Conflict, match="is queued and has no data"):
            await coalesce(services, ANNA, queued.id)
        await coalesce(services, ADMIN, image.id)

    asyncio.run(scene())


def test_the_last_child_of_a_deleted_image_is_coalesced_and_the_ancestor_goes(services: Services) -> None:
    async def scene() -> None:
        parent = await made(services, 0)
        one, two = await made(services, 1, parent), await made(services, 2, parent)
        below = await manifest(services, parent)
        await images.delete(services, ANNA, parent.id)
        assert await waiting(services) == []
        await images.delete(services, ANNA, one.id)
        assert await waiting(services) == [two.id]
        assert (await by_name(services, below.id)).state is ManifestState.LIVE
        await all_done(services)
        assert (await manifest(services, two)).base is None
        assert (await by_name(services, below.id)).state is ManifestState.RETIRED
        assert await bytes_of(services, two) == version(2)

    asyncio.run(scene())


def test_an_owner_does_not_learn_from_tasks_that_a_parent_was_deleted(services: Services) -> None:
    async def scene() -> None:
        parent, child = await a_line(services, 2)
        await images.delete(services, ANNA, parent.id)
        for done in (False, True):
            if done:
                await all_done(services)
            assert await tasks.of_image(services, ANNA, child.id) == []
            assert (await tasks.list_tasks(services, ANNA, TaskQuery())).tasks == ()
            assert len((await tasks.list_tasks(services, ADMIN, TaskQuery())).tasks) == 1
        shown = await images.show(services, ANNA, child.id)
        assert (shown.parent_image_ref, shown.changed_size) == (parent.id, child.changed_size)
        assert shown.updated_at == child.updated_at

    asyncio.run(scene())


def test_a_line_whose_oldest_is_deleted_is_made_whole_from_there_on(services: Services) -> None:
    async def scene() -> None:
        line = await a_line(services, 6)
        oldest = await manifest(services, line[0])
        await images.delete(services, ANNA, line[0].id)
        await all_done(services)
        assert (await by_name(services, oldest.id)).state is ManifestState.RETIRED
        for number, image in enumerate(line[1:], 1):
            assert (await manifest(services, image)).depth == 0
            assert await bytes_of(services, image) == version(number)

    asyncio.run(scene())


def test_ancestors_deleted_from_the_middle_are_passed_over(services: Services) -> None:
    async def scene() -> None:
        line = await a_line(services, 5)
        for number in (2, 3, 1):
            await images.delete(services, ANNA, line[number].id)
        assert await waiting(services) == sorted([line[3].id, line[4].id]), "one each, whatever is deleted later"
        assert [task.message for task in await all_done(services)] == [
            "Cancelled: the image was deleted.",
            "The image has a whole manifest.",
        ]
        assert (await manifest(services, line[4])).base is None
        assert await bytes_of(services, line[4]) == version(4)
        assert await bytes_of(services, line[0]) == version(0)

    asyncio.run(scene())


def test_a_base_that_an_upload_holds_waits_for_its_end(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        parent, child = await a_line(services, 2)

        async def delete(_pin: str) -> None:
            await images.delete(services, ANNA, parent.id)
            assert await waiting(services) == []

        blocks.at_end = delete
        other = await made(services, 2, parent)
        blocks.at_end = None
        assert await waiting(services) == [], "two children"
        await images.delete(services, ANNA, child.id)
        assert await waiting(services) == [other.id]

    asyncio.run(scene())


def test_a_new_increment_whose_dead_ancestors_hold_much_in_vain_is_coalesced(services: Services) -> None:
    async def scene() -> None:
        root = await made(services, 0)
        keeper = await made(services, 1, root)
        middle = await images.create(services, ANNA, replace(RAW, parent_image_ref=root.id))
        middle = await put(services, middle, b"y" * 10 * BLOCK)
        side = await made(services, 3, middle)
        await images.delete(services, ANNA, root.id)
        assert await waiting(services) == [], "two children are left"
        late = await images.create(services, ANNA, replace(RAW, parent_image_ref=middle.id))
        await put(services, late, b"y" * 10 * BLOCK)
        assert await waiting(services) == [late.id], "what the deleted root has, nobody reads through this chain"
        await all_done(services)
        assert (await manifest(services, late)).base is None
        for image, data in ((keeper, version(1)), (side, version(3)), (late, b"y" * 10 * BLOCK)):
            assert await bytes_of(services, image) == data

    asyncio.run(scene())


def test_an_image_deleted_while_it_is_coalesced_ends_the_job_and_leaves_nothing(
    services: Services, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        _, image = await a_line(services, 2)
        before = set(blocks.manifests)

        async def delete(_pin: str) -> None:
            await images.delete(services, ANNA, image.id)

        blocks.at_end = delete
        task = await coalesce(services, ANNA, image.id)
        async with at_work(services, Pace(poll=0.02, look=60)):
            ended = await over(services, task)
        assert ended.message == "Cancelled: the image was deleted."
        assert set(blocks.manifests) == before

    asyncio.run(scene())


def test_a_job_that_comes_second_changes_nothing_and_leaves_nothing(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        _, image = await a_line(services, 2)
        first = await manifest(services, image)
        swapped: list[str] = []

        async def overtaken(_pin: str) -> None:
            blocks.at_end = None
            chain = await services.database.read(lambda uow: uow.manifests.chain(first.id))
            flat = (await blocks.flatten(chain, lambda *_: None)).manifest
            swapped.append(flat.id)

            def swap(uow: UnitOfWork) -> None:
                now = uow.images.get(image.id)
                assert now is not None
                assert now.exchange(first.id, replace(now.locations[0], manifest=flat.id))
                uow.manifests.add(flat)
                uow.images.save(now, expect=now.status)

            await services.database.write(swap)

        blocks.at_end = overtaken
        task = await coalesce(services, ANNA, image.id)
        async with at_work(services, Pace(poll=0.02, look=60)):
            ended = await over(services, task)
        assert ended.message == "Cancelled: the image has another manifest now."
        assert (await manifest(services, image)).id == swapped[0]
        assert len(blocks.manifests) == 3

    asyncio.run(scene())


def test_a_worker_that_lost_its_claim_leaves_nothing(services: Services, blocks: MemoryBlocks) -> None:
    async def scene() -> None:
        _, image = await a_line(services, 2)
        task = await coalesce(services, ANNA, image.id)
        before = set(blocks.manifests)

        async def taken_away(_pin: str) -> None:
            blocks.at_end = None
            [held] = await services.database.read(lambda uow: uow.jobs.claims())
            await services.database.write(partial(release, held.claim))

        def release(claim: Claim, uow: UnitOfWork) -> None:
            uow.jobs.put_back(claim, run_at=services.clock(), counts=False)

        blocks.at_end = taken_away
        async with at_work(services, Pace(poll=0.02, look=60)):
            ended = await over(services, task)
        assert ended.status is TaskStatus.SUCCESS
        assert len(set(blocks.manifests) - before) == 1, "the first try's is gone again"

    asyncio.run(scene())
