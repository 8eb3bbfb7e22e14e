"""Each race of a collection with files: manifests and journals that no record names yet, or none any more."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from blockstore import clock, listing
from blockstore.errors import DataRefused, Missing
from blockstore.leases.flock import LockFile
from blockstore.manifest_copies import copies_of
from blockstore.names import new_name
from blockstore.progress import Silent
from catalog.sql.records import open_records
from catalog.usecases import administration, delta_begin, image_data
from tests.catalog.delta_scenes import DATA as DELTA
from tests.catalog.delta_scenes import begun, send
from tests.kit.collector import ALL, LateDisk, bare, collected
from tests.kit.filled_store import verified
from tests.kit.image_service import CALLER, ImageService, image_service
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

DATA = random.Random(5).randbytes(80 * 4096)
OTHER = random.Random(6).randbytes(80 * 4096)
PATIENCE = 30


def run(root: Path, scene: Callable[[ImageService], Coroutine[Any, Any, None]], disk: LateDisk | None = None) -> None:
    async def bounded() -> None:
        with image_service(root, disk=disk) as service:
            await asyncio.wait_for(scene(service), PATIENCE)

    asyncio.run(bounded())
    verified(root)


def before_each_write(service: ImageService, act: Callable[[int], Awaitable[object]]) -> None:
    """Do something before the n-th transaction that writes, counted from 1."""
    database = service.services.database
    write, count = database.write, [0]

    async def stepping(step: Any) -> Any:
        count[0] += 1
        await act(count[0])
        return await write(step)

    database.write = stepping  # type: ignore[method-assign]


def test_a_manifest_that_is_about_to_be_committed_is_not_collected(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.new()

        async def collect(step: int) -> None:
            # The first begins the upload, the second commits it.
            if step == 2:
                assert len(list(listing.manifests(tmp_path))) == 1
                done = await collected(service.store)
                assert (done.manifests_removed, done.forgotten) == (0, 0)

        before_each_write(service, collect)
        await service.put(image, DATA)
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_flat_manifest_that_is_about_to_be_swapped_in_is_not_collected(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        parent = await service.pushed(DATA)
        child = await service.pushed(OTHER[:4096] + DATA[4096:], parent=parent)
        await service.delete(parent)
        removed = []

        async def collect(_: int) -> None:
            removed.append((await collected(service.store)).manifests_removed)

        before_each_write(service, collect)
        await until_quiet(service.services)
        # The parent's is retired with the swap.
        assert sum(removed) <= 2
        assert await service.get(child) == OTHER[:4096] + DATA[4096:]

    run(tmp_path, scene)


def test_a_manifest_whose_commit_comes_between_the_look_and_the_lock_stays(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.new()
        reached, commit = asyncio.Event(), asyncio.Event()

        async def stand_still(step: int) -> None:
            if step == 2:
                reached.set()
                await commit.wait()

        before_each_write(service, stand_still)
        upload = asyncio.create_task(service.put(image, DATA))
        await reached.wait()

        async def finish() -> None:
            commit.set()
            await upload

        # The snapshots: of the marks, of retired files, and the one that tells which files have no record.
        done = await collected(service.store, snapshots={3: finish})
        assert done.manifests_removed == 0
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_what_a_dead_process_left_without_a_record_goes(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.pushed(DATA)
        left = [
            tmp_path / "manifests" / "aa" / f"{31 * '0'}1.manifest",
            tmp_path / "manifests" / "aa" / f"{31 * '0'}1.places",
            tmp_path / "manifests" / "aa" / f"{31 * '0'}2.places",
            tmp_path / "journals" / f"{31 * '0'}3.journal",
        ]
        for path in left:
            path.write_bytes(b"half")
        done = await collected(service.store, how=replace(ALL, dry_run=True))
        assert (done.manifests_removed, done.journals_removed) == (1, 1)
        assert all(path.exists() for path in left)
        done = await collected(service.store)
        assert (done.manifests_removed, done.journals_removed) == (1, 1)
        assert not any(path.exists() for path in left)
        assert await service.get(image) == DATA

    run(tmp_path, scene)


def test_a_pack_whose_writer_dies_while_others_are_collected_is_the_next_collections_and_no_failure(
    tmp_path: Path,
) -> None:
    async def scene(service: ImageService) -> None:
        index, packs = service.store.index, service.store.packs
        other = LockFile(tmp_path / "processes", "serve")
        name = new_name()
        pack = packs.create(index.register_pack(name, other.name), name)

        async def die() -> None:
            pack.close()
            other.close()

        assert not (await collected(service.store, {"condemn": die})).notes
        assert index.pack(pack.number) is not None
        assert not (await collected(service.store)).notes
        assert index.pack(pack.number) is None

    run(tmp_path, scene)


def test_a_sessions_journal_that_has_no_pin_yet_is_not_collected(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.new()

        async def collect(step: int) -> None:
            if step == 1:
                assert (await collected(service.store)).journals_removed == 0

        before_each_write(service, collect)
        named = await begun(service.services, image, size=len(DELTA))
        await send(service.services, named, (0, DELTA[:4096]))

    run(tmp_path, scene)


@pytest.mark.parametrize("suffix", [".manifest", ".zst"])
def test_an_unlink_that_comes_after_the_same_bytes_were_stored_anew_hits_nothing_new(
    tmp_path: Path, suffix: str
) -> None:
    disk = LateDisk()

    async def scene(service: ImageService) -> None:
        await service.delete(await service.pushed(DATA))
        await service.pushed(OTHER)
        image = await service.new()
        loop = asyncio.get_running_loop()
        disk.suffix = suffix
        disk.before = lambda: asyncio.run_coroutine_threadsafe(service.put(image, DATA), loop).result(PATIENCE)
        await collected(service.store, how=replace(ALL, share=1.0))
        assert not disk.is_armed, "a file of this kind was removed"
        assert await service.get(image) == DATA

    run(tmp_path, scene, disk)


def test_who_opens_a_chain_that_was_coalesced_and_collected_meanwhile_gets_the_new_one(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        parent = await service.pushed(DATA)
        changed = OTHER[:4096] + DATA[4096:]
        child = await service.pushed(changed, parent=parent)
        blocks = service.services.blocks
        moved: list[object] = []
        opening = blocks.open

        async def late(chain: Any) -> Any:
            if not moved:
                moved.append(chain)
                await service.delete(parent)
                await until_quiet(service.services)
                await collected(service.store)
                with pytest.raises(Missing):
                    await opening(chain)
            return await opening(chain)

        blocks.open = late  # type: ignore[method-assign, assignment]
        assert await service.get(child) == changed

    run(tmp_path, scene)


def test_a_delta_over_an_image_that_is_coalesced_and_collected_just_then_begins_over_what_that_is_now(
    tmp_path: Path,
) -> None:
    async def scene(service: ImageService) -> None:
        parent = await service.pushed(DATA)
        child = await service.pushed(OTHER[:4096] + DATA[4096:], parent=parent)
        image = await service.new()
        blocks = service.services.blocks
        moved: list[object] = []
        opening = blocks.open_blocks

        async def late(chain: Any) -> Any:
            if not moved:
                moved.append(chain)
                await service.delete(parent)
                await until_quiet(service.services)
                await collected(service.store)
            return await opening(chain)

        blocks.open_blocks = late  # type: ignore[method-assign, assignment]
        begun = await delta_begin.begin(service.services, CALLER, image, size=len(DATA), base=child, block_size=None)
        assert (begun.base_image, begun.block_size) == (child, 4096)

    run(tmp_path, scene)


def test_a_file_that_is_gone_of_a_chain_that_stays_is_missing(tmp_path: Path) -> None:
    async def scene(service: ImageService) -> None:
        image = await service.pushed(DATA)
        (listed,) = listing.manifests(tmp_path)
        hidden = {copy: copy.rename(copy.with_name(f"hidden-{copy.name}")) for copy in copies_of(listed.path)}
        with pytest.raises(Missing):
            await image_data.download(service.services, CALLER, image)
        for copy, other in hidden.items():
            other.rename(copy)

    run(tmp_path, scene)


def test_beside_a_process_that_does_not_lock_what_it_is_about_to_name_nothing_is_collected(tmp_path: Path) -> None:
    """So wrote the versions before there were collections beside others."""

    async def scene(service: ImageService) -> None:
        await service.delete(await service.pushed(DATA))
        older = LockFile(tmp_path / "processes", "serve")
        path = tmp_path / "processes" / older.name
        path.write_text("4711 serve\n")
        with open_records(tmp_path / "catalog.sqlite") as records:

            def collect() -> administration.Collection:
                return administration.collect(
                    bare(service.store), records, ALL, Silent(), at=clock.now(), keep_deleted=0
                )

            with pytest.raises(DataRefused, match="process 4711 serve is of an older version"):
                collect()
            older.close()
            assert collect().collected.manifests_removed

    run(tmp_path, scene)
