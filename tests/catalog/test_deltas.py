"""Delta uploads as use cases: what ends them, and what meets them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.sent_blocks import NumberRange, SentHeld, SentHoles
from blockstore.verify import Wanted
from catalog.model.errors import Conflict, Gone, NotFound, SourceLost
from catalog.model.manifest import StoredManifest
from catalog.usecases import administration, delta_commit, deltas, image_data, images
from catalog.usecases.deltas import Named
from tests.catalog.delta_scenes import BLOCK, DATA, begun, parts, send, served
from tests.kit.filled_store import looked_after
from tests.kit.image_service import CALLER, SMALL, image_service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from catalog.delta_ports import Part
    from catalog.model.delta import Delta


def test_an_upload_that_nobody_asks_for_ends_and_its_image_is_queued_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, ticking):
            named = await begun(services, await service.new())
            await send(services, named, (0, b"x" * BLOCK))
            ticking.passed += timedelta(seconds=99)
            assert await deltas.end_expired(services) == 0
            # Asked for, it lives on.
            await deltas.show(services, named, start=0, most=1)
            ticking.passed += timedelta(seconds=99)
            assert await deltas.end_expired(services) == 0
            ticking.passed += timedelta(seconds=2)
            for late in (send(services, named, (1, b"x" * BLOCK)), delta_commit.commit(services, named, expected=None)):
                with pytest.raises(NotFound):
                    await late
            assert await service.status(named.image_id) == "saving"
            assert service.store.deltas._known
            assert await deltas.end_expired(services) == 1
            assert not service.store.deltas._known
            assert await deltas.end_expired(services) == 0
            assert await service.status(named.image_id) == "queued"
            assert not list((tmp_path / "journals").iterdir())
            await service.put(named.image_id, DATA)

    asyncio.run(scenario())


def test_the_sweep_of_dead_streams_leaves_sessions_alone(tmp_path: Path) -> None:
    async def scenario() -> str:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            assert await image_data.requeue_orphans(services) == 0
            return named.image_id

    async def later(image_id: str) -> None:
        # In another process, whose lock the upload never had.
        with served(tmp_path) as (service, services, _):
            assert await image_data.requeue_orphans(services) == 0
            assert await service.status(image_id) == "saving"

    asyncio.run(later(asyncio.run(scenario())))


def test_blocks_that_come_while_the_upload_ends_are_not_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):

            async def ends(how: Callable[[Named], Awaitable[object]]) -> None:
                named = await begun(services, await service.new())
                with pytest.raises(Gone):
                    await deltas.take(services, named, lambda _: parts((0, b"x" * BLOCK), then=lambda: how(named)))

            await ends(lambda named: deltas.give_up(services, named))
            await ends(lambda named: delta_commit.commit(services, named, expected=None))
            await ends(lambda named: images.delete(services, CALLER, named.image_id))
            assert not list((tmp_path / "journals").iterdir())

    asyncio.run(scenario())


def test_what_was_never_begun_leaves_no_journal(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            image_id = await service.new()
            await service.put(image_id, DATA)
            with pytest.raises(Conflict):
                await begun(services, image_id)
            assert not list((tmp_path / "journals").iterdir())

    asyncio.run(scenario())


def test_blocks_of_an_image_that_is_coalesced_meanwhile_are_found_where_they_are_now(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            other = await service.new()
            await service.put(other, DATA)
            named = await begun(services, await service.new())
            delta, _ = await deltas.show(services, named, start=0, most=1)
            now = await service.manifest(other)
            before = StoredManifest("0" * 32, now.digest)
            chains = iter([[before], [StoredManifest(now.id, now.digest)]])

            async def locate(_: str) -> Sequence[StoredManifest]:
                return next(chains)

            async def two() -> AsyncGenerator[Part, None]:
                yield SentHeld(NumberRange(0, 2), other, 3)

            await services.blocks.deltas.take(delta, two(), locate)
            await delta_commit.commit(services, named, expected=2)
            assert await service.get(named.image_id) == DATA[3 * BLOCK : 5 * BLOCK] + bytes(18 * BLOCK)

    asyncio.run(scenario())


def test_a_request_that_is_cancelled_leaves_an_upload_that_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            reached = asyncio.Event()

            async def stand_still() -> None:
                reached.set()
                await asyncio.sleep(60)

            task = asyncio.create_task(
                deltas.take(services, named, lambda _: parts((0, b"x" * BLOCK), then=stand_still))
            )
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert service.store.slabs.taken == 0
            await send(services, named, (0, b"x" * BLOCK), (1, b"y" * BLOCK))
            await delta_commit.commit(services, named, expected=2)

    asyncio.run(scenario())


def test_after_a_request_failed_nothing_of_it_arrives_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        slow = replace(SMALL, generation_seconds=60.0)
        with image_service(tmp_path, options=slow) as service:
            named = await begun(service.services, await service.new())

            async def fail() -> None:
                raise SourceLost("the sender went away")

            def cut_off(_: Delta) -> AsyncGenerator[Part, None]:
                return parts(*((n, DATA[n * BLOCK : (n + 1) * BLOCK]) for n in range(19)), then=fail)

            with pytest.raises(SourceLost):
                await deltas.take(service.services, named, cut_off)
            _, before = await deltas.show(service.services, named, start=0, most=1)
            assert before.blocks
            await send(service.services, named, (19, b"x" * BLOCK))
            await delta_commit.commit(service.services, named, expected=before.blocks + 1)

    asyncio.run(scenario())


def test_holes_of_a_huge_image_cost_a_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            size = (1 << 24) * BLOCK
            named = await begun(services, await service.new(), size=size)

            async def all_of_it() -> AsyncGenerator[Part, None]:
                yield SentHoles(NumberRange(0, 1 << 24))

            await deltas.take(services, named, lambda _: all_of_it())
            _, found = await deltas.show(services, named, start=0, most=10)
            assert (list(found.ranges), found.blocks) == ([NumberRange(0, 1 << 24)], 1 << 24)
            [journal] = (tmp_path / "journals").iterdir()
            assert journal.stat().st_size < 200

    asyncio.run(scenario())


def test_what_an_upload_holds_is_no_garbage(tmp_path: Path) -> None:
    async def half() -> tuple[str, str]:
        with served(tmp_path) as (service, services, _):
            base = await service.new()
            await service.put(base, DATA)
            named = await begun(services, await service.new(), base=base)
            await send(services, named, (0, b"x" * BLOCK), (3, bytes(BLOCK)))
            await images.delete(services, CALLER, base)
            return named.image_id, named.upload_id

    async def rest(image_id: str, upload_id: str) -> bytes:
        with served(tmp_path) as (service, services, _):
            await delta_commit.commit(services, Named(CALLER, image_id, upload_id), expected=2)
            return await service.get(image_id)

    names = asyncio.run(half())
    with looked_after(tmp_path, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
        assert administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean
    expected = b"x" * BLOCK + DATA[BLOCK : 3 * BLOCK] + bytes(BLOCK) + DATA[4 * BLOCK :]
    assert asyncio.run(rest(*names)) == expected
