from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from catalog.jobs import steps
from catalog.jobs.context import JobContext
from catalog.jobs.put_back import put_back
from catalog.jobs.running import Pace
from catalog.jobs.worker import Worker
from catalog.model.lane import Places
from catalog.model.location import ACTIVE, LOST, WRONG
from catalog.model.task import PUT_BACK, TaskQuery, TaskStatus
from catalog.stores.set import StoreSet
from catalog.usecases import images
from catalog.usecases.copy_sweep import doom_left_behind, remove_doomed
from catalog.usecases.copy_watch import PAUSE, CopyWatch
from catalog.usecases.locations import delete_from_store
from catalog.usecases.lost_copies import mark_lost
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of, put
from tests.kit.memory_store import MemoryStore
from tests.kit.several_stores import copied, loose, with_stores
from tests.kit.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.image import Image
    from catalog.model.task import Task
    from catalog.ports import Database, UnitOfWork
    from catalog.usecases.services import Services

T = TypeVar("T")
DATA = bytes(range(256)) * 1000


@dataclass
class CountedWrites:
    """A database that counts its transactions which may write."""

    database: Database
    writes: int = 0

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return await self.database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        self.writes += 1
        return await self.database.write(step)


async def stored(services: Services, *stores: MemoryStore) -> Image:
    image = await put(services, await images.create(services, ANNA, RAW), DATA)
    return await copied(services, image.id, *stores)


async def states(services: Services, image: Image) -> dict[str, str]:
    return {each.store: each.status for each in (await images.show(services, ADMIN, image.id)).locations}


async def tasks(services: Services) -> Sequence[Task]:
    page = await services.database.read(lambda uow: uow.tasks.page(None, TaskQuery(type=PUT_BACK), None))
    return page.tasks


async def worked_off(services: Services) -> None:
    worker = Worker(services, at_once=Places(1, 1), pace=Pace(poll=0.01, look=0.01))
    running = asyncio.create_task(worker.run(grace=0.0))
    for _ in range(2000):
        if all(task.is_over for task in await tasks(services)):
            break
        await asyncio.sleep(0.01)
    worker.stop()
    await running
    assert all(task.is_over for task in await tasks(services))


def test_a_copy_that_a_read_found_lost_is_put_back(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        fast.lose()
        assert await bytes_of(there, image) == DATA
        assert await states(there, image) == {"blocks": ACTIVE, "fast": LOST}
        await worked_off(there)
        assert [task.status for task in await tasks(there)] == [TaskStatus.SUCCESS]
        now = await images.show(there, ADMIN, image.id)
        assert [each.status for each in now.locations] == [ACTIVE, ACTIVE]
        assert now.locations[1].url != image.locations[1].url
        assert now.updated_at == image.updated_at
        assert fast.copies == {now.locations[1].url: DATA}
        writing, [old] = await loose(there)
        assert (writing, old.url) == ([], image.locations[1].url)
        await remove_doomed(there)
        assert fast.copies == {now.locations[1].url: DATA}
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_a_copy_with_other_bytes_is_not_taken_for_found_again_but_written_anew(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        rotten = image.locations[1].url
        fast.copies[rotten] = DATA[:-1] + b"\x00"
        assert await bytes_of(there, image) == DATA
        await CopyWatch(there, Ticks()).look()
        assert await states(there, image) == {"blocks": ACTIVE, "fast": WRONG}
        await worked_off(there)
        assert await states(there, image) == {"blocks": ACTIVE, "fast": ACTIVE}
        await remove_doomed(there)
        assert list(fast.copies.values()) == [DATA]
        assert rotten not in fast.copies

    asyncio.run(scene())


def test_copies_of_a_volatile_store_are_looked_for_and_put_back_without_any_read(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", volatile=True), deep := MemoryStore("deep"))
        made = [await stored(there, fast, deep) for _ in range(3)]
        watch = CopyWatch(there, ticks := Ticks())
        assert await watch.look() == 0
        del fast.copies[made[1].locations[1].url]
        deep.lose()
        # The pass is over, and the next one is due after a pause.
        assert await watch.look() == 0
        assert await watch.look() == 0
        ticks.now += PAUSE
        assert await watch.look() == 1
        assert [(await states(there, image))["fast"] for image in made] == [ACTIVE, LOST, ACTIVE]
        # What is lost elsewhere is found by whoever reads it.
        assert (await states(there, made[1]))["deep"] == ACTIVE
        await worked_off(there)
        assert [(await states(there, image))["fast"] for image in made] == [ACTIVE] * 3
        assert len(fast.copies) == 3

    asyncio.run(scene())


def test_a_volatile_store_that_was_away_is_looked_at_as_soon_as_it_is_back(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", volatile=True))
        image = await stored(there, fast)
        stores = there.stores
        assert isinstance(stores, StoreSet)
        watch = CopyWatch(there, Ticks())
        assert [await watch.look(), await watch.look()] == [0, 0]
        fast.down = True
        await stores.check("fast")
        assert await watch.look() == 0
        fast.down = False
        fast.lose()
        await stores.check("fast")
        # By the clock no pass is due.
        assert await watch.look() == 1
        assert (await states(there, image))["fast"] == LOST

    asyncio.run(scene())


def test_a_store_that_is_down_has_lost_nothing(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", volatile=True))
        image = await stored(there, fast)
        fast.down = True
        watch = CopyWatch(there, Ticks())
        assert await watch.look() == 0
        assert there.stores.is_aside("fast")
        assert await states(there, image) == {"blocks": ACTIVE, "fast": ACTIVE}

    asyncio.run(scene())


def test_a_store_that_is_configured_otherwise_has_lost_nothing(services: Services) -> None:
    class Moved(MemoryStore):
        def owns(self, url: str) -> bool:
            return url.startswith("memory://elsewhere/")

    async def scene() -> None:
        fast = MemoryStore("fast")
        image = await stored(with_stores(services, fast), fast)
        there = with_stores(services, Moved("fast", weight=1, volatile=True))
        assert await bytes_of(there, image) == DATA
        assert await CopyWatch(there, Ticks()).look() == 0
        assert await states(there, image) == {"blocks": ACTIVE, "fast": ACTIVE}
        assert not there.stores.is_aside("fast")
        assert not await tasks(there)

    asyncio.run(scene())


def test_a_lost_copy_waits_until_its_store_is_up(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        fast.lose()
        await bytes_of(there, image)
        there.stores.failed(image.locations[1])
        await worked_off(there)
        assert (await states(there, image))["fast"] == LOST
        watch = CopyWatch(there, Ticks())
        assert await watch.look() == 0
        assert len(await tasks(there)) == 1
        there.stores.worked(image.locations[1])
        watch = CopyWatch(there, Ticks())
        await watch.look()
        await CopyWatch(there, Ticks()).look()
        assert len(await tasks(there)) == 2
        await worked_off(there)
        assert (await states(there, image))["fast"] == ACTIVE

    asyncio.run(scene())


def test_a_volume_that_comes_back_with_its_copies_is_read_again(services: Services) -> None:
    async def scene() -> None:
        told: list[tuple[str, str]] = []
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        there = replace(there, on_place=lambda *what: told.append(what))
        image = await stored(there, fast)
        away, fast.copies = fast.copies, {}
        await bytes_of(there, image)
        fast.copies = away
        watch = CopyWatch(there, Ticks())
        assert await watch.look() == 1
        assert await states(there, image) == {"blocks": ACTIVE, "fast": ACTIVE}
        await worked_off(there)
        assert list(fast.copies) == [image.locations[1].url]
        assert told == [("fast", "lost"), ("fast", "found")]

    asyncio.run(scene())


def test_an_only_copy_that_is_lost_stays_lost_until_it_is_there_again(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", default=True))
        image = await put(there, await images.create(there, ANNA, RAW), DATA)
        away, fast.copies = fast.copies, {}
        watch = CopyWatch(there, Ticks())
        assert await watch.look() == 0
        await asyncio.gather(bytes_of(there, image), return_exceptions=True)
        assert await states(there, image) == {"fast": LOST}
        await watch.look()
        assert not await tasks(there)
        fast.copies = away
        assert await CopyWatch(there, Ticks()).look() == 1
        assert await bytes_of(there, image) == DATA

    asyncio.run(scene())


def test_what_cannot_be_put_back_now_costs_a_look_no_write(services: Services) -> None:
    async def scene() -> None:
        fast = MemoryStore("fast", weight=1)
        database = CountedWrites(services.database)
        there = with_stores(replace(services, database=database), fast)
        image = await stored(there, fast)
        fast.lose()
        await bytes_of(there, image)
        assert len(await tasks(there)) == 1
        written = database.writes
        await CopyWatch(there, Ticks()).look()  # there is a job already
        assert (database.writes, len(await tasks(there))) == (written, 1)
        await services.database.write(lambda uow: _forget(uow, image))
        there.stores.failed(image.locations[1])
        await CopyWatch(there, Ticks()).look()
        assert (database.writes, len(await tasks(there))) == (written, 1)
        there.stores.worked(image.locations[1])
        await CopyWatch(there, Ticks()).look()
        assert (database.writes, len(await tasks(there))) == (written + 1, 2)

    asyncio.run(scene())


def test_a_copy_that_is_being_put_back_gets_no_second_job(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        fast.lose()
        await bytes_of(there, image)
        await there.database.write(lambda uow: steps.claim(uow, "c", "other", [PUT_BACK], at=there.clock()))
        await CopyWatch(there, Ticks()).look()
        [task] = await tasks(there)
        assert task.status is TaskStatus.PROCESSING

    asyncio.run(scene())


def test_a_copy_that_is_lost_while_others_are_put_back_is_not_forgotten(services: Services) -> None:
    async def scene() -> None:
        one, other = MemoryStore("one", weight=2), MemoryStore("other", weight=1)
        there = with_stores(services, one, other)
        image = await stored(there, one, other)
        other.lose()
        await mark_lost(there, image.id, image.locations[2])
        there.stores.failed(image.locations[2])
        [task] = await tasks(there)
        taken = await there.database.write(lambda uow: steps.claim(uow, "c", "p", [PUT_BACK], at=there.clock()))
        assert taken is not None
        effect = await put_back(JobContext(there, task, taken[0], is_last=False))
        one.lose()
        await mark_lost(there, image.id, image.locations[1])
        assert len(await tasks(there)) == 1
        await there.database.write(lambda uow: steps.succeed(uow, taken[0], effect, at=there.clock()))
        assert len(await tasks(there)) == 2

    asyncio.run(scene())


def _forget(uow: UnitOfWork, image: Image) -> None:
    """The job is gone, and nobody has put anything back."""
    for task in uow.tasks.page(None, TaskQuery(type=PUT_BACK), None).tasks:
        uow.jobs.cancel(task.id)
        uow.tasks.save(task.failed("Given up.", at=task.created_at))
    assert uow.images.get(image.id) is not None


def test_several_lost_copies_come_back_one_after_the_other(services: Services) -> None:
    async def scene() -> None:
        one, other = MemoryStore("one", volatile=True), MemoryStore("other", volatile=True)
        there = with_stores(services, one, other)
        image = await stored(there, one, other)
        one.lose()
        other.lose()
        assert await CopyWatch(there, Ticks()).look() == 2
        await worked_off(there)
        assert await states(there, image) == {"blocks": ACTIVE, "one": ACTIVE, "other": ACTIVE}
        assert (len(one.copies), len(other.copies)) == (1, 1)

    asyncio.run(scene())


def test_an_image_that_goes_while_its_copy_is_put_back_leaves_nothing(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        fast.lose()
        await bytes_of(there, image)
        write = fast.write

        async def deleted_meanwhile(url: str, source: object) -> None:
            await write(url, source)  # type: ignore[arg-type]  # the same
            await images.delete(there, ANNA, image.id)

        fast.write = deleted_meanwhile  # type: ignore[method-assign]  # in the middle
        await worked_off(there)
        await doom_left_behind(there)
        await remove_doomed(there)
        assert not fast.copies
        assert await loose(there) == ([], [])

    asyncio.run(scene())


def test_a_lost_copy_that_was_taken_away_meanwhile_is_not_put_back(services: Services) -> None:
    async def scene() -> None:
        there = with_stores(services, fast := MemoryStore("fast", weight=1))
        image = await stored(there, fast)
        fast.lose()
        await bytes_of(there, image)
        await delete_from_store(there, ADMIN, "fast", image.id)
        await worked_off(there)
        assert await states(there, image) == {"blocks": ACTIVE}
        assert not fast.copies

    asyncio.run(scene())
