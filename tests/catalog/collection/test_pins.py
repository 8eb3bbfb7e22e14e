"""Each race of a collection with pins: journals that grow, uploads that expire while somebody goes on with them."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from blockstore import clock, journal
from blockstore.digest import digest
from blockstore.journal import HEADER_SIZE, RECORD_SIZE, Record, encode_records
from blockstore.names import new_name
from blockstore.progress import Silent
from catalog.model.errors import Gone, NotFound
from catalog.model.image import Upload
from catalog.model.pin import UploadKind
from catalog.sql.records import open_records
from catalog.usecases import administration, delta_commit, deltas, uploads
from tests.catalog.delta_scenes import BLOCK, begun, send, served
from tests.kit.collector import ALL, STAGES, bare, collected
from tests.kit.filled_store import verified
from tests.kit.image_service import CALLER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from catalog.usecases.administration import Collection
    from catalog.usecases.deltas import Named
    from catalog.usecases.services import Services
    from tests.catalog.delta_scenes import Clock
    from tests.kit.image_service import ImageService

BLOCKS = 80
DATA = random.Random(5).randbytes(BLOCKS * BLOCK)
OTHER = random.Random(6).randbytes(BLOCKS * BLOCK)
PATIENCE = 30


def run(root: Path, scene: Callable[[ImageService, Services, Clock], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        with served(root) as (service, services, ticking):
            await asyncio.wait_for(scene(service, services, ticking), PATIENCE)

    asyncio.run(bounded())
    verified(root)


def some(data: bytes, *numbers: int) -> list[tuple[int, bytes]]:
    return [(number, data[number * BLOCK : (number + 1) * BLOCK]) for number in numbers]


async def read_back(service: ImageService, services: Services, named: Named) -> bytes:
    await delta_commit.commit(services, named, expected=None)
    return await service.get(named.image_id)


@pytest.mark.parametrize("stage", STAGES)
def test_a_journal_that_grows_after_it_was_marked_is_read_on(tmp_path: Path, stage: str) -> None:
    async def scene(service: ImageService, services: Services, _: Clock) -> None:
        await service.delete(await service.pushed(DATA))
        named = await begun(services, await service.new(), size=len(DATA))
        await send(services, named, *some(DATA, *range(10)))
        await collected(service.store, {stage: lambda: send(services, named, *some(DATA, *range(10, BLOCKS)))})
        await collected(service.store)
        assert await read_back(service, services, named) == DATA

    run(tmp_path, scene)


def test_a_record_that_was_marked_and_then_cut_off_hides_none_that_takes_its_place(tmp_path: Path) -> None:
    async def scene(service: ImageService, services: Services, _: Clock) -> None:
        await service.delete(await service.pushed(DATA))
        named = await begun(services, await service.new(), size=len(DATA))
        await send(services, named, *some(OTHER, 0))
        path = journal.path_of(tmp_path / "journals", named.upload_id)
        end = HEADER_SIZE + RECORD_SIZE

        async def tear(*, whole: bool) -> None:
            with path.open("r+b") as file:
                file.seek(end)
                if whole:
                    file.write(encode_records([Record(1, bytes(31) + b"x")], 1))
                else:
                    file.truncate(end)

        async def take_its_place() -> None:
            # What was written and could not be synced is cut off; then another request comes.
            await tear(whole=False)
            await send(services, named, *some(DATA, 7))

        await collected(service.store, {"mark": lambda: tear(whole=True), "condemn": take_its_place})
        held = service.store.index.get_many([_name(DATA, 7)])
        assert held != [None]
        await send(services, named, *some(DATA, *range(1, 7)), *some(DATA, *range(8, BLOCKS)))
        assert await read_back(service, services, named) == OTHER[:BLOCK] + DATA[BLOCK:]

    run(tmp_path, scene)


def _name(data: bytes, number: int) -> bytes:
    return digest(some(data, number)[0][1])


async def looked_after(service: ImageService, *, at: timedelta = timedelta()) -> Collection:
    """A whole collection, at a time."""
    store = bare(service.store)
    with open_records(store.root / "catalog.sqlite") as records:
        return await asyncio.to_thread(
            administration.collect, store, records, ALL, Silent(), at=clock.now() + at, empty_catalog=True
        )


def test_an_upload_that_has_expired_ends_with_the_collection_and_is_not_resumed(tmp_path: Path) -> None:
    async def scene(service: ImageService, services: Services, ticking: Clock) -> None:
        named = await begun(services, await service.new(), size=len(DATA))
        await send(services, named, *some(DATA, *range(10)))
        ticking.passed = timedelta(seconds=99)
        done = await looked_after(service, at=timedelta(seconds=101))
        assert (done.given_up, done.collected.journals_removed, done.collected.forgotten) == (1, 1, 10)
        with pytest.raises((Gone, NotFound)):
            await send(services, named, *some(DATA, 11))
        assert await service.status(named.image_id) == "queued"

    run(tmp_path, scene)


def test_an_upload_that_was_resumed_just_before_it_would_have_expired_lives_on(tmp_path: Path) -> None:
    async def scene(service: ImageService, services: Services, ticking: Clock) -> None:
        named = await begun(services, await service.new(), size=len(DATA))
        await send(services, named, *some(DATA, *range(10)))
        ticking.passed = timedelta(seconds=99)
        await send(services, named, *some(DATA, 10))
        done = await looked_after(service, at=timedelta(seconds=101))
        assert (done.given_up, done.collected.forgotten) == (0, 0)
        await send(services, named, *some(DATA, *range(11, BLOCKS)))
        assert await read_back(service, services, named) == DATA

    run(tmp_path, scene)


@pytest.mark.parametrize("stage", STAGES)
def test_an_upload_that_expires_while_a_request_of_it_runs_loses_it_or_lives(tmp_path: Path, stage: str) -> None:
    """The blocks are on their way when the pin goes: the request ends with Gone, and nothing half is left."""

    async def scene(service: ImageService, services: Services, ticking: Clock) -> None:
        await service.delete(await service.pushed(DATA))
        named = await begun(services, await service.new(), size=len(DATA))
        await send(services, named, *some(DATA, *range(10)))

        async def expire_and_resume() -> None:
            ticking.passed += timedelta(seconds=101)
            assert await deltas.end_expired(services) == 1
            with pytest.raises((Gone, NotFound)):
                await send(services, named, *some(DATA, 11))

        await collected(service.store, {stage: expire_and_resume})
        assert await service.status(named.image_id) == "queued"
        again = await begun(services, named.image_id, size=len(DATA))
        await send(services, again, *some(DATA, *range(BLOCKS)))
        await collected(service.store)
        assert await read_back(service, services, again) == DATA

    run(tmp_path, scene)


def test_a_renewal_between_the_look_for_expired_uploads_and_their_end_wins(tmp_path: Path) -> None:
    async def scene(service: ImageService, services: Services, ticking: Clock) -> None:
        named = await begun(services, await service.new(), size=len(DATA))
        read = services.database.read
        now = services.clock
        renewed: list[bool] = []

        async def reading(step: Any) -> Any:
            found = await read(step)
            if not renewed:
                renewed.append(True)
                # Its request came in time, and was slow.
                ticking.passed -= timedelta(seconds=2)
                await services.database.write(
                    lambda uow: uow.deltas.renew(named.upload_id, expires_at=now() + timedelta(seconds=100))
                )
                ticking.passed += timedelta(seconds=2)
            return found

        ticking.passed = timedelta(seconds=101)
        services.database.read = reading  # type: ignore[method-assign]
        assert await deltas.end_expired(services) == 0
        await send(services, named, *some(DATA, 1))

    run(tmp_path, scene)


def test_a_dead_process_upload_is_a_root_until_a_transaction_has_ended_it(tmp_path: Path) -> None:
    """It may have committed after a snapshot began, and died before somebody looked at its lock."""

    async def scene(service: ImageService, services: Services, _: Clock) -> None:
        dead = Upload(id=new_name().hex(), kind=UploadKind.STREAM, process="0" * 32)
        image = await service.new()
        await services.database.write(lambda uow: uploads.begin(uow, CALLER, image, dead, at=services.clock()))
        with open_records(tmp_path / "catalog.sqlite") as records:
            assert dead.id in administration.CatalogLedger(records).roots().pins
        assert (await looked_after(service)).given_up == 1
        assert await service.status(image) == "queued"
        with open_records(tmp_path / "catalog.sqlite") as records:
            assert not administration.CatalogLedger(records).roots().pins

    run(tmp_path, scene)
