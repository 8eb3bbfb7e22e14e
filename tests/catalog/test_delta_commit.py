"""The commit of a delta upload: it has all that was acknowledged, whatever comes meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from blockstore.delta_store import DeltaStore
from blockstore.errors import BlocksMissing, Missing
from blockstore.journal import hole_run
from blockstore.sent_blocks import NumberRange
from blockstore.session_journal import SessionJournal
from catalog.model.errors import CatalogUnavailable, Conflict, Gone
from catalog.usecases import delta_commit, deltas
from catalog.usecases.deltas import Named
from tests.catalog.delta_scenes import BLOCK, DATA, begun, parts, send, served
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from catalog.model.delta import Delta
    from catalog.model.manifest import StoredManifest
    from catalog.ports import UnitOfWork, Written
    from catalog.usecases.services import Services

T = TypeVar("T")


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
            await delta_commit.commit(services, named, expected=None)
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
            await delta_commit.commit(services, named, expected=None)

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
                await delta_commit.commit(services, named, expected=None)
            services.blocks.deltas = plain  # type: ignore[misc]
            assert await service.status(named.image_id) == "saving"
            await delta_commit.commit(services, named, expected=3)

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
                await delta_commit.commit(unsure, named, expected=1)
            assert (await delta_commit.commit(services, named, expected=1)).status.value == "active"
            assert await service.get(image_id) == b"x" * BLOCK + bytes(19 * BLOCK)

    asyncio.run(scenario())


@pytest.mark.parametrize("folder", ["manifests", "journals"])
def test_a_commit_without_its_files_is_no_conflict(tmp_path: Path, folder: str) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            base = await service.new()
            await service.put(base, DATA)
            named = await begun(services, await service.new(), base=base)
            await send(services, named, (0, b"x" * BLOCK))
            paths = [path for path in (tmp_path / folder).rglob("*.*") if path.is_file()]
            kept = [path.read_bytes() for path in paths]
            for path in paths:
                path.unlink()
            with pytest.raises(Missing):
                await delta_commit.commit(services, named, expected=1)
            for path, data in zip(paths, kept, strict=True):
                path.write_bytes(data)
            await delta_commit.commit(services, named, expected=1)
            assert await service.get(named.image_id) == b"x" * BLOCK + DATA[BLOCK:]

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
            journal = Filling(path, 20, service.store.disk, acknowledged=0)
            service.store.deltas._in_use[named.upload_id] = journal
            for late, expected, refusal in (
                (range(5, 6), 1, "2 blocks have arrived, not 1"),
                (range(6, 20), None, "keep"),
            ):
                journal.late = iter(late)
                with pytest.raises(BlocksMissing, match=refusal):
                    await delta_commit.commit(services, named, expected=expected)
            journal.late = iter([19])
            await delta_commit.commit(services, named, expected=None)
            assert len(list((tmp_path / "manifests").rglob("*.manifest"))) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("meanwhile", ["deleted", "given up"])
def test_a_commit_that_is_refused_leaves_no_manifest(tmp_path: Path, meanwhile: str) -> None:
    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            await send(services, named, (0, b"x" * BLOCK))

            async def end() -> None:
                assert len(list((tmp_path / "manifests").rglob("*.manifest"))) == 1
                await (service.delete(named.image_id) if meanwhile == "deleted" else deltas.give_up(services, named))

            meddling = Meddling(services, end)
            services.blocks.deltas = meddling  # type: ignore[misc,assignment]
            with pytest.raises((Gone, Conflict)):
                await delta_commit.commit(services, named, expected=1)
            assert meddling.built == 1
            assert not list((tmp_path / "manifests").rglob("*.*"))
            assert not list((tmp_path / "journals").iterdir())

    asyncio.run(scenario())


def test_a_commit_that_is_cancelled_while_it_is_built_leaves_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, building, go_on = DeltaStore._build_once, threading.Event(), threading.Event()

    def slowly(store: DeltaStore, *given: Any) -> Any:
        building.set()
        go_on.wait(30)
        return build(store, *given)

    async def scenario() -> None:
        with served(tmp_path) as (service, services, _):
            named = await begun(services, await service.new())
            await send(services, named, (0, b"x" * BLOCK))
            with monkeypatch.context() as patched:
                patched.setattr(DeltaStore, "_build_once", slowly)
                task = asyncio.create_task(delta_commit.commit(services, named, expected=1))
                await asyncio.to_thread(building.wait, 30)
                task.cancel()
                await asyncio.sleep(0)
                go_on.set()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert not list((tmp_path / "manifests").rglob("*.*"))
            await delta_commit.commit(services, named, expected=1)
            assert await service.get(named.image_id) == b"x" * BLOCK + bytes(19 * BLOCK)

    asyncio.run(scenario())
