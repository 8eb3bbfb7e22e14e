"""Delta uploads as use cases: what ends them, what meets them, and that a commit has all that was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from blockstore import clock
from blockstore.errors import BlocksMissing, Missing
from blockstore.garbage import Collecting
from blockstore.journal import hole_run
from blockstore.progress import Silent
from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
from blockstore.session_journal import SessionJournal
from blockstore.verify import Wanted
from catalog.model.errors import CatalogUnavailable, Conflict, Gone, NotFound, SourceLost
from catalog.model.manifest import StoredManifest
from catalog.usecases import administration, deltas, image_data, images
from catalog.usecases.deltas import Named
from tests.kit.filled_store import looked_after
from tests.kit.image_service import CALLER, SMALL, image_service
from tests.kit.sent_deltas import entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from catalog.delta_ports import Part
    from catalog.model.delta import Delta
    from catalog.ports import UnitOfWork, Written
    from catalog.usecases.services import Services
    from tests.kit.image_service import ImageService

T = TypeVar("T")
BLOCK = 4096
DATA = random.Random(3).randbytes(20 * BLOCK)


class Clock:
    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return clock.now() + self.passed


@contextmanager
def served(root: Path) -> Iterator[tuple[ImageService, Services, Clock]]:
    ticking = Clock()
    with image_service(root) as service:
        yield service, replace(service.services, clock=ticking, delta_expiry=100.0), ticking


async def parts(
    *blocks: tuple[int, bytes], then: Callable[[], Awaitable[object]] | None = None
) -> AsyncGenerator[Part, None]:
    for number, block in blocks:
        sent = entry(block)
        yield EntryBegins(number, len(sent))
        yield memoryview(sent)
    if then is not None:
        await then()


async def begun(services: Services, image_id: str, *, base: str | None = None, size: int = len(DATA)) -> Named:
    delta = await deltas.begin(services, CALLER, image_id, size=size, base=base, block_size=BLOCK)
    return Named(CALLER, image_id, delta.id)


async def send(services: Services, named: Named, *blocks: tuple[int, bytes]) -> None:
    await deltas.take(services, named, lambda _: parts(*blocks))


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
            for late in (send(services, named, (1, b"x" * BLOCK)), deltas.commit(services, named, expected=None)):
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
            await ends(lambda named: deltas.commit(services, named, expected=None))
            await ends(lambda named: images.delete(services, CALLER, named.image_id))
            assert not list((tmp_path / "journals").iterdir())

    asyncio.run(scenario())


class Meddling:
    """The store's deltas, with something that happens after each manifest is built."""

    def __init__(self, services: Services, after: Callable[[], Awaitable[object]]) -> None:
        self._deltas = services.blocks.deltas
        self._after = after
        self.built = 0

    async def build(self, delta: Delta, base: Sequence[StoredManifest], *, expected: int | None) -> Written:
        written = await self._deltas.build(delta, base, expected=expected)
        self.built += 1
        await self._after()
        return written


def test_a_commit_has_all_blocks_that_were_acknowledged_before_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            late = iter([(5, b"5" * BLOCK), (6, b"6" * BLOCK)])

            async def one_more() -> None:
                for block in late:
                    services.blocks.deltas = plain  # type: ignore[misc]
                    await send(services, named, block)
                    services.blocks.deltas = meddling  # type: ignore[misc,assignment]
                    return

            plain = services.blocks.deltas
            meddling = Meddling(services, one_more)
            services.blocks.deltas = meddling  # type: ignore[misc,assignment]
            await deltas.commit(services, named, expected=None)
            assert meddling.built == 3
            data = await service.get(named.image_id)
            assert data == bytes(5 * BLOCK) + b"5" * BLOCK + b"6" * BLOCK + bytes(13 * BLOCK)
            assert len(list((tmp_path / "manifests").rglob("*.manifest"))) == 1

    asyncio.run(scenario())


def test_a_commit_begins_the_time_of_its_upload_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, ticking):
            named = await begun(services, await service.new())
            plain = services.blocks.deltas
            late = iter([3])

            async def time_passes() -> None:
                ticking.passed += timedelta(seconds=99)
                assert await deltas.end_expired(services) == 0
                for number in late:
                    services.blocks.deltas = plain  # type: ignore[misc]
                    delta, _ = await deltas.show(services, named, start=0, most=1)
                    await plain.take(delta, parts((number, b"x" * BLOCK)), services.database.read)  # type: ignore[arg-type]
                    services.blocks.deltas = meddling  # type: ignore[misc,assignment]

            meddling = Meddling(services, time_passes)
            services.blocks.deltas = meddling  # type: ignore[misc,assignment]
            ticking.passed += timedelta(seconds=99)
            await deltas.commit(services, named, expected=None)

    asyncio.run(scenario())


def test_a_commit_gives_up_when_blocks_keep_arriving(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            numbers = iter(range(20))

            async def one_more() -> None:
                services.blocks.deltas = plain  # type: ignore[misc]
                await send(services, named, (next(numbers), b"x" * BLOCK))
                services.blocks.deltas = meddling  # type: ignore[misc,assignment]

            plain = services.blocks.deltas
            meddling = Meddling(services, one_more)
            services.blocks.deltas = meddling  # type: ignore[misc,assignment]
            with pytest.raises(Conflict, match="wait for the answers"):
                await deltas.commit(services, named, expected=None)
            services.blocks.deltas = plain  # type: ignore[misc]
            assert await service.status(named.image_id) == "saving"
            await deltas.commit(services, named, expected=3)

    asyncio.run(scenario())


class Unsure:
    """A database whose writes are committed and fail all the same."""

    def __init__(self, services: Services, error: BaseException) -> None:
        self._database = services.database
        self.error = error

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return await self._database.read(step)

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        await self._database.write(step)
        raise self.error


@pytest.mark.parametrize("error", [CatalogUnavailable("disk I/O error"), asyncio.CancelledError()])
def test_what_was_committed_in_spite_of_an_error_keeps_its_files(tmp_path: Path, error: BaseException) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            unsure = replace(services, database=Unsure(services, error))
            image_id = await service.new()
            with pytest.raises(type(error)):
                await begun(unsure, image_id)
            [delta] = await deltas.of_image(services, CALLER, image_id)
            named = Named(CALLER, image_id, delta.id)
            await send(services, named, (0, b"x" * BLOCK))
            with pytest.raises(type(error)):
                await deltas.commit(unsure, named, expected=1)
            assert (await deltas.commit(services, named, expected=1)).status.value == "active"
            assert await service.get(image_id) == b"x" * BLOCK + bytes(19 * BLOCK)

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


@pytest.mark.parametrize("folder", ["manifests", "journals"])
def test_a_commit_without_its_files_is_no_conflict(tmp_path: Path, folder: str) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            base = await service.new()
            await service.put(base, DATA)
            named = await begun(services, await service.new(), base=base)
            await send(services, named, (0, b"x" * BLOCK))
            [path] = (path for path in (tmp_path / folder).rglob("*.*") if path.is_file())
            kept = path.read_bytes()
            path.unlink()
            with pytest.raises(Missing):
                await deltas.commit(services, named, expected=1)
            path.write_bytes(kept)
            await deltas.commit(services, named, expected=1)
            assert await service.get(named.image_id) == b"x" * BLOCK + DATA[BLOCK:]

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
            await deltas.commit(services, named, expected=2)
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
            await deltas.commit(services, named, expected=2)

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
            await deltas.commit(service.services, named, expected=before.blocks + 1)

    asyncio.run(scenario())


class Filling(SessionJournal):
    """A journal into which a block comes whenever a leaf of it was read, for as long as there are `late` ones."""

    late: Iterator[int] = iter(())

    def leaves(self) -> Iterator[tuple[int, list[bytes | None]]]:
        for leaf in super().leaves():
            for number in itertools.islice(self.late, 1):
                self.append([hole_run(NumberRange(number, 1))])
            yield leaf


def test_a_commit_has_counted_all_that_the_image_is_made_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            await send(services, named, (0, b"x" * BLOCK))
            [path] = (tmp_path / "journals").iterdir()
            journal = Filling(path, 20, service.store.disk)
            service.store.deltas._known[named.upload_id] = journal
            for late, expected, refusal in (
                (range(5, 6), 1, "2 blocks have arrived, not 1"),
                (range(6, 20), None, "keep"),
            ):
                journal.late = iter(late)
                with pytest.raises(BlocksMissing, match=refusal):
                    await deltas.commit(services, named, expected=expected)
            journal.late = iter([19])
            await deltas.commit(services, named, expected=None)
            assert len(list((tmp_path / "manifests").rglob("*.manifest"))) == 1

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
            await deltas.commit(services, Named(CALLER, image_id, upload_id), expected=2)
            return await service.get(image_id)

    names = asyncio.run(half())
    with looked_after(tmp_path, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
        assert administration.verify_all(store, records, Wanted(data=True), Silent()).verified.clean
    expected = b"x" * BLOCK + DATA[BLOCK : 3 * BLOCK] + bytes(BLOCK) + DATA[4 * BLOCK :]
    assert asyncio.run(rest(*names)) == expected
