"""A commit that fails itself: all of its steps fail with it, nothing is half done, and what comes later works."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from catalog.model.errors import CatalogUnavailable, Conflict
from catalog.model.manifest import Manifest
from catalog.model.query import ImageQuery
from catalog.sql import shared_commits
from catalog.usecases import images
from tests.catalog.cast import ANNA, RAW
from tests.kit.lost_commits import LogEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services

    Step = Callable[[UnitOfWork], object]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, all steps that wait are taken into one commit."""
    monkeypatch.setattr(shared_commits, "HOLD", 30.0)


async def in_one_commit(database: SqlDatabase, steps: Sequence[Step]) -> list[object]:
    """The results or errors of steps that are given while the first of them runs."""
    began, go_on = threading.Event(), threading.Event()

    def first(uow: UnitOfWork) -> object:
        began.set()
        assert go_on.wait(10)
        return steps[0](uow)

    running = asyncio.ensure_future(database.write(first))
    await asyncio.to_thread(began.wait, 10)
    waiting = [asyncio.ensure_future(database.write(step)) for step in steps[1:]]
    await asyncio.sleep(0)
    go_on.set()
    return await asyncio.gather(running, *waiting, return_exceptions=True)


def remove(uow: UnitOfWork, image: Image) -> str:
    uow.images.remove(image)
    return image.id


def refuse(_uow: UnitOfWork) -> None:
    raise Conflict("for what another step of this commit has done")


def leave_a_key_dangling(uow: UnitOfWork) -> None:
    """SQLite looks at it when all is to be committed, and refuses; the transaction then stays open."""
    connection: Any = uow.images._connection  # type: ignore[attr-defined]  # a look inside
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    uow.manifests.add(Manifest("child", b"d" * 32, "a base that nobody knows", 1, 1))


@contextlib.contextmanager
def no_longer_log(catalog: Path) -> Iterator[None]:
    """The log can't be written on, and that is first met in the commit."""
    size = catalog.with_name(catalog.name + "-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def all_images(services: Services) -> list[str]:
    return sorted(image.id for image in (await images.list_images(services, ANNA, ImageQuery())).images)


async def later_ones_work(services: Services, database: SqlDatabase, made: Sequence[Image]) -> None:
    assert await all_images(services) == sorted(image.id for image in made), "nothing was done"
    again: list[Step] = [partial(remove, image=image) for image in made]
    assert await in_one_commit(database, again) == [image.id for image in made]
    assert await all_images(services) == []


def test_a_commit_that_the_disk_refuses_fails_each_of_its_steps_and_the_next_one_is_done(
    services: Services, database: SqlDatabase, tmp_path: Path
) -> None:
    async def scene() -> None:
        made = [await images.create(services, ANNA, RAW) for _ in range(4)]
        steps: list[Step] = [partial(remove, image=image) for image in made]
        with no_longer_log(tmp_path / "catalog.sqlite"):
            results = await in_one_commit(database, [*steps[:2], refuse, *steps[2:]])
        assert [type(result) for result in results] == [CatalogUnavailable] * 5
        assert len({id(result) for result in results}) == 5, "each has an error of its own"
        await later_ones_work(services, database, made)

    asyncio.run(scene())


def test_a_commit_that_sqlite_refuses_fails_each_of_its_steps_and_the_next_one_is_done(
    services: Services, database: SqlDatabase
) -> None:
    async def scene() -> None:
        made = [await images.create(services, ANNA, RAW) for _ in range(4)]
        steps: list[Step] = [partial(remove, image=image) for image in made]
        results = await in_one_commit(database, [*steps[:2], leave_a_key_dangling, refuse, *steps[2:]])
        assert [type(result) for result in results] == [IntegrityError] * 6
        await later_ones_work(services, database, made)

    asyncio.run(scene())


def test_what_a_lost_commit_did_is_seen_by_nobody_and_the_next_one_takes_its_place(
    services: Services, database: SqlDatabase, tmp_path: Path
) -> None:
    async def scene() -> None:
        made = [await images.create(services, ANNA, RAW) for _ in range(2)]
        end = LogEnd(tmp_path / "catalog.sqlite")
        await database.write(partial(remove, image=made[0]))
        end.put_back()
        assert await all_images(services) == sorted(image.id for image in made)
        await later_ones_work(services, database, made)

    asyncio.run(scene())
