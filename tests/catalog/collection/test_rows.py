"""Each race of a writer with a collection's rows, at the moment where it would do harm."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from blockstore.block import HEADER_SIZE, Frame
from blockstore.collection import rows
from blockstore.digest import digest
from blockstore.errors import StoreFull, StoreUnavailable
from blockstore.garbage import Collecting
from blockstore.index.contract import PackState
from blockstore.names import new_name
from tests.kit.collector import ALL, STAGES, collected, until
from tests.kit.filled_store import verified
from tests.kit.image_service import SMALL, image_service
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from pathlib import Path

    from blockstore.generation import Generation
    from tests.kit.image_service import ImageService

BLOCKS = 80
DATA = random.Random(5).randbytes(BLOCKS * 4096)
OTHER = random.Random(6).randbytes(BLOCKS * 4096)
LONG = replace(SMALL, generation_seconds=600, generation_bytes=1 << 30)
"""Generations that close when somebody asks for it."""
PATIENCE = 30


def run(root: Path, scene: Callable[[ImageService], Coroutine[Any, Any, None]]) -> None:
    """Run a scene on a store, then read all that is left."""

    async def bounded() -> None:
        with image_service(root, options=LONG) as service:
            await asyncio.wait_for(scene(service), PATIENCE)

    asyncio.run(bounded())
    verified(root)


@contextmanager
def held_open(service: ImageService) -> Iterator[tuple[Generation, Callable[[], Awaitable[None]]]]:
    """The open generation, whose lease is held until the act that comes with it, or until left."""
    generations = service.store.crossing.generations
    generation = generations.admit()
    left: list[bool] = []

    async def leave() -> None:
        if not left:
            left.append(True)
            generations.leave(generation)
            await asyncio.wrap_future(generations.flush())

    try:
        yield generation, leave
    finally:
        if not left:
            generations.leave(generation)


async def a_deleted_image(service: ImageService, data: bytes = DATA) -> None:
    await service.delete(await service.pushed(data))


def test_a_writer_that_looked_a_block_up_just_before_it_was_condemned_is_waited_for(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        with held_open(service) as (generation, leave):
            upload = asyncio.create_task(service.put(image, DATA))
            await until(lambda: generation.noted == BLOCKS)
            done = await collected(service.store, {"wait": leave})
            assert (done.forgotten, done.awaited) == (0, ())
        await upload
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_who_looks_later_is_not_waited_for_and_stores_anew(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        # Its leases are opened after the others were listed, and its pin after the second snapshot.
        snapshot = {_SECOND: lambda: service.put(image, DATA)}
        done = await collected(service.store, snapshots=snapshot)
        assert done.forgotten == 0, "each row was put anew, so none bears the mark"
        assert await service.get(image) == DATA

    run(tmp_path, scene)


@pytest.mark.parametrize("stage", STAGES)
def test_an_upload_of_the_same_bytes_at_any_stage_keeps_its_image(tmp_path: Path, stage: str) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        await collected(service.store, {stage: lambda: service.put(image, DATA)})
        assert await service.get(image) == DATA
        await collected(service.store)
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_writer_that_is_frozen_through_three_collections_commits_then(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        with held_open(service) as (generation, leave):
            upload = asyncio.create_task(service.put(image, DATA))
            await until(lambda: generation.noted == BLOCKS)
            for _ in range(3):
                done = await collected(service.store, how=Collecting(share=0, wait=0.05))
                assert (done.forgotten, done.packs_dropped) == (0, 0)
                assert [awaited.purpose for awaited in done.awaited] == ["serve"]
            await leave()
        await upload
        assert await service.get(image) == DATA
        assert service.store.index.size().condemned == BLOCKS
        assert (await collected(service.store)).forgotten == 0
        assert service.store.index.size().condemned == 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_marks_of_a_run_that_ended_early_are_taken_over(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        with held_open(service) as (_, leave):
            early = await collected(service.store, how=Collecting(wait=0.05))
            assert len(early.awaited) == 1
            assert service.store.index.size().condemned == BLOCKS
            await leave()
        done = await collected(service.store)
        assert done.forgotten == BLOCKS
        assert service.store.index.size().rows == service.store.index.size().condemned == 0

    run(tmp_path, scene)


def test_a_collection_frozen_before_it_forgets_forgets_nothing_that_a_later_one_condemned(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        frozen, revived = asyncio.Event(), asyncio.Event()

        async def freeze() -> None:
            frozen.set()
            await revived.wait()

        first = asyncio.create_task(collected(service.store, before={"forget_many": freeze}))
        await frozen.wait()

        async def revive() -> None:
            revived.set()
            assert (await first).forgotten == 0

        # The upload is no root of the second one's first snapshot, so its rows are condemned once more.
        second = await collected(service.store, {"condemn": lambda: service.put(image, DATA), "wait": revive})
        assert second.forgotten == 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_collection_frozen_between_looking_again_and_forgetting_meets_what_another_has_done(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        frozen, revived = asyncio.Event(), asyncio.Event()

        async def freeze() -> None:
            frozen.set()
            await revived.wait()

        first = asyncio.create_task(collected(service.store, before={"forget_many": freeze}))
        await frozen.wait()
        assert (await collected(service.store)).forgotten == BLOCKS
        image = await service.pushed(DATA)
        revived.set()
        assert (await first).forgotten == 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_pins_journal_that_goes_after_the_snapshot_leads_to_its_image(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        image = await service.new()
        committing, commit = asyncio.Event(), asyncio.Event()
        write = service.services.database.write
        steps: list[object] = []

        async def stepping(step: Any) -> Any:
            steps.append(step)
            if len(steps) == 2:
                committing.set()
                await commit.wait()
            return await write(step)

        uploads: list[asyncio.Task[object]] = []

        async def begin() -> None:
            service.services.database.write = stepping  # type: ignore[method-assign]
            uploads.append(asyncio.create_task(service.put(image, DATA)))
            await committing.wait()

        async def finish() -> None:
            commit.set()
            await uploads[0]

        # The upload has looked up what is then condemned. Its pin is in the second snapshot, its journal is not there
        # any more when that is read, and its manifest came later than it.
        done = await collected(service.store, {"condemn": begin}, snapshots={_SECOND: finish})
        assert done.forgotten == 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


_SECOND = 3
"""Of a run's snapshots: one for retired files, since there is nothing without a record, one to mark, and this one."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_parent_is_deleted_and_its_child_coalesced_at_any_stage(tmp_path: Path, stage: str) -> None:
    async def scene(service: ImageService) -> None:
        parent = await service.pushed(DATA)
        changed = OTHER[: 4 * 4096] + DATA[4 * 4096 :]
        child = await service.pushed(changed, parent=parent)

        async def delete() -> None:
            await service.delete(parent)
            await until_quiet(service.services)

        await collected(service.store, {stage: delete})
        assert await service.get(child) == changed
        assert (await service.manifest(child)).base is None
        await collected(service.store)
        assert service.store.index.size().rows == BLOCKS, "the parent's four that the child does not have are gone"
        assert await service.get(child) == changed

    run(tmp_path, scene)


async def full() -> None:
    raise StoreFull("no space left")


def test_where_the_index_finds_no_room_for_all_marks_what_has_them_is_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MARKS", 16)

    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        kept = await service.pushed(OTHER)
        image = await service.new()
        # In the second round, a block that the first one would have condemned has come back.
        done = await collected(
            service.store, {"condemn 2": lambda: service.put(image, DATA)}, before={"condemn_many 3": full}
        )
        assert 0 < done.forgotten < BLOCKS
        assert [await service.get(each) for each in (kept, image)] == [OTHER, DATA]
        await service.delete(image)
        assert (await collected(service.store)).forgotten == BLOCKS
        assert await service.get(kept) == OTHER

    run(tmp_path, scene)


def test_where_a_whole_batch_of_marks_finds_no_room_a_smaller_one_may(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        done = await collected(service.store, before={"condemn_many": full})
        assert done.forgotten == BLOCKS

    run(tmp_path, scene)


def test_packs_that_an_interrupted_run_left_without_rows_go_before_the_room_that_marks_need(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        with pytest.raises(StoreUnavailable):
            await collected(service.store, before={"retire_pack": interrupted})
        assert service.store.index.size().rows == 0
        left = [pack for pack in service.store.index.packs() if pack.state is PackState.SEALED]
        assert left
        kept, image = await service.pushed(OTHER), await service.pushed(DATA)
        await service.delete(image)
        done = await collected(service.store, before={"condemn_many": full, "condemn_many 2": full})
        assert done.packs_dropped >= len(left)
        assert done.forgotten == BLOCKS
        assert await service.get(kept) == OTHER

    run(tmp_path, scene)


async def interrupted() -> None:
    raise StoreUnavailable("killed here")


def test_where_the_index_finds_no_room_at_all_the_collection_says_so(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        with pytest.raises(StoreFull):
            await collected(service.store, before={"condemn_many": full, "condemn_many 2": full})
        assert service.store.index.size().condemned == 0

    run(tmp_path, scene)


def test_between_forgetting_and_unlinking_the_same_bytes_come_back(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        await service.pushed(OTHER)
        image = await service.new()
        done = await collected(service.store, {"packs": lambda: service.put(image, DATA)}, replace(ALL, share=1.0))
        assert done.forgotten == BLOCKS
        assert done.packs_dropped > 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_row_that_comes_into_a_pack_after_it_was_counted_keeps_it(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        await a_deleted_image(service)
        await service.pushed(OTHER)
        index = service.store.index
        sealed = {record.number for record in index.packs() if record.state is PackState.SEALED}
        named = {name: place for name, place in index.scan() if place.pack in sealed}
        dead = {place.pack for place in named.values()} - {place.pack for _, place in _living(service)}
        assert dead
        some = next((name, place) for name, place in named.items() if place.pack in dead)

        async def put() -> None:
            # As a generation does that met the block while its pack was open.
            index.put_many(dict([some]))

        await collected(service.store, {"packs": put}, replace(ALL, share=1.0))
        (place,) = index.get_many([some[0]])
        assert place is not None
        record = index.pack(place.pack)
        assert record is not None
        assert service.store.packs.path(record.name).exists()

    run(tmp_path, scene)


def _living(service: ImageService) -> list[tuple[bytes, Any]]:
    names = {digest(OTHER[at : at + 4096]) for at in range(0, len(OTHER), 4096)}
    return [(name, place) for name, place in service.store.index.scan() if name in names]


def test_a_sealed_pack_whose_rows_are_not_in_yet_gets_none_once_it_is_dropped(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.pushed(DATA)
        index, packs = service.store.index, service.store.packs
        name, old = next(iter(index.scan()))
        record = index.pack(old.pack)
        assert record is not None
        # A copy of one block, as compaction makes it, sealed before its row is moved there.
        (entry,) = packs.read_many(record.name, [(old.offset, old.end)])
        target_name = new_name()
        target = packs.create(index.register_pack(target_name, service.store.process), target_name)
        (new,) = target.append([Frame(name, old.raw_length, entry[:HEADER_SIZE], entry[HEADER_SIZE:])])
        target.seal()
        target.close()
        index.advance_pack(target.number, PackState.SEALED)
        await collected(service.store, how=replace(ALL, share=1.0))
        assert index.pack(target.number) is None
        with pytest.raises(StoreUnavailable):
            index.move_many({name: (old, new)})
        assert index.get_many([name]) == [old]
        assert await service.get(image) == DATA

    run(tmp_path, scene)
