"""A collection puts an image in order, and asks for a whole manifest in the place of its chain."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from catalog.model.task import COALESCE, TaskQuery
from catalog.usecases import administration
from catalog.usecases.coalescing import EXPECTED
from tests.kit.filled_store import looked_after, verified
from tests.kit.image_service import image_service
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.usecases.administration import Collection

BLOCK = 4096
BLOCKS = 600


def nights(count: int) -> list[bytes]:
    """A disk, and what it is after each night: a tenth of its blocks are others, wherever they lie."""
    disk, dice = bytearray(random.Random(1).randbytes(BLOCKS * BLOCK)), random.Random(2)
    states = [bytes(disk)]
    for _ in range(count):
        for number in dice.sample(range(BLOCKS), BLOCKS // 10):
            disk[number * BLOCK : (number + 1) * BLOCK] = dice.randbytes(BLOCK)
        states.append(bytes(disk))
    return states


async def pushed(root: Path, states: list[bytes]) -> list[str]:
    with image_service(root) as service:
        ids = [await service.pushed(states[0])]
        for data in states[1:]:
            ids.append(await service.pushed(data, parent=ids[-1]))
        return ids


def collected(root: Path, *, dry_run: bool = False) -> Collection:
    with looked_after(root) as (store, records):
        how = Collecting(dry_run=dry_run)
        return administration.collect(store, records, how, Silent(), at=clock.now())


async def depths(root: Path, ids: list[str], states: list[bytes]) -> list[int]:
    """When all jobs are done, and all images are right."""
    with image_service(root) as service:
        await until_quiet(service.services)
        assert [await service.get(image_id) for image_id in ids] == states
        return [(await service.manifest(image_id)).depth for image_id in ids]


def test_the_newest_image_of_a_line_has_a_whole_manifest_after_its_blocks_were_put_in_order(tmp_path: Path) -> None:
    states = nights(5)
    ids = asyncio.run(pushed(tmp_path, states))
    assert asyncio.run(depths(tmp_path, ids, states)) == [0, 1, 2, 3, 4, 5]
    planned = collected(tmp_path, dry_run=True)
    assert planned.coalescing == 1
    assert asyncio.run(depths(tmp_path, ids, states)) == [0, 1, 2, 3, 4, 5], "nothing was asked for"
    done = collected(tmp_path)
    assert done.coalescing == 1
    assert done.collected.ordered_bytes == planned.collected.ordered_bytes > BLOCKS * BLOCK // 2
    assert asyncio.run(depths(tmp_path, ids, states)) == [0, 1, 2, 3, 4, 0]
    again = collected(tmp_path)
    assert (again.collected.ordered_bytes, again.coalescing) == (0, 0)
    verified(tmp_path)


class Killed(Exception):
    """The process is no more."""


class KilledAfterOrder(Silent):
    """Ends the work when images are in order."""

    def __init__(self) -> None:
        self.ordered = False

    def begin(self, what: str, total: int, unit: str = "") -> None:
        if self.ordered and what == "packs":
            raise Killed
        self.ordered |= what == "order"


def test_a_collection_that_is_killed_after_it_put_an_image_in_order_leaves_no_chain_for_ever(tmp_path: Path) -> None:
    states = nights(5)
    ids = asyncio.run(pushed(tmp_path, states))
    with looked_after(tmp_path) as (store, records), pytest.raises(Killed):
        administration.collect(store, records, Collecting(), KilledAfterOrder(), at=clock.now())
    assert collected(tmp_path).coalescing == 0, "nothing tells any more that its blocks have been put in order"
    with looked_after(tmp_path) as (_, records):
        assert not records.read(lambda uow: uow.jobs.is_due({COALESCE}, at=clock.now()))
        assert records.read(lambda uow: uow.jobs.is_due({COALESCE}, at=clock.now() + EXPECTED))
        # An hour later.
        [task] = records.read(lambda uow: uow.tasks.page(None, TaskQuery(), None)).tasks
        records.write(lambda uow: uow.jobs.hasten(task.id, run_at=clock.now()))
    assert asyncio.run(depths(tmp_path, ids, states)) == [0, 1, 2, 3, 4, 0]
    verified(tmp_path)


def test_an_image_that_is_deleted_after_it_was_put_in_order_asks_for_nothing(tmp_path: Path) -> None:
    states = nights(5)
    ids = asyncio.run(pushed(tmp_path, states))
    assert collected(tmp_path).coalescing == 1

    async def deleted() -> None:
        with image_service(tmp_path) as service:
            await service.delete(ids[-1])

    asyncio.run(deleted())
    assert asyncio.run(depths(tmp_path, ids[:-1], states[:-1])) == [0, 1, 2, 3, 4]
    verified(tmp_path)
