from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, literal, literal_column, select

from blockstore.errors import DataRefused
from catalog.model.errors import CatalogFull, CatalogUnavailable, Conflict, NotFound, TooLate
from catalog.model.image import Status
from catalog.model.query import ImageQuery
from catalog.sql.database import engine_for
from catalog.sql.dialect import MOST, STATEMENTS
from catalog.sql.migrate import newest
from catalog.sql.open import SCHEMA, bring_up, open_catalog
from catalog.sql.records import open_records
from catalog.sql.tables import metadata
from catalog.usecases import image_data, images
from catalog.usecases.deleted_images import undelete
from catalog.usecases.services import Services
from tests.catalog.cast import ADMIN, ANNA, RAW, bytes_of, put
from tests.kit.memory_blocks import MemoryBlocks
from tests.kit.new_catalog import older_catalog, revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from catalog.model.image import Image
    from catalog.model.new_image import NewImage
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase


def pragma(name: str, value: int | None = None) -> Any:
    """A step that asks for a setting of the connection it runs on, or sets it."""

    def step(uow: UnitOfWork) -> Any:
        connection: Any = uow.images._connection  # type: ignore[attr-defined]  # a look inside
        return connection.exec_driver_sql(f"PRAGMA {name}" + ("" if value is None else f" = {value}")).scalar()

    return step


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: SqlDatabase, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_every_connection_is_durable_and_checks_its_keys(database: SqlDatabase) -> None:
    async def scene() -> None:
        for run in (database.read, database.write):
            settings = {
                name: await run(pragma(name))
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}

    asyncio.run(scene())


def test_a_catalog_opened_again_holds_what_it_held(tmp_path: Path) -> None:
    async def scene() -> None:
        blocks = MemoryBlocks()
        first = open_catalog(tmp_path / "100% catalog.sqlite")
        made = await images.create(Services(first, blocks), ANNA, RAW)
        first.close()
        second = open_catalog(tmp_path / "100% catalog.sqlite")
        assert await images.show(Services(second, blocks), ANNA, made.id) == made
        second.close()

    asyncio.run(scene())


def test_a_step_that_fails_leaves_nothing_behind(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)

        def half(uow: UnitOfWork) -> None:
            uow.images.remove(made)
            raise Conflict("after all not")

        with pytest.raises(Conflict):
            await database.write(half)
        assert await images.show(services, ANNA, made.id) == made

    asyncio.run(scene())


class _Held:
    """The writing thread is kept busy by a first step, until it is let go; meanwhile others wait for it."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def step(self, _uow: UnitOfWork) -> None:
        self.began.set()
        assert self.go_on.wait(10)


async def _together(database: SqlDatabase, steps: Sequence[Callable[[UnitOfWork], object]]) -> list[object]:
    """Give these steps while the thread is busy, so that it finds them waiting; their results or errors."""
    held = _Held()
    first = asyncio.ensure_future(database.write(held.step))
    await asyncio.to_thread(held.began.wait, 10)
    waiting = [asyncio.ensure_future(database.write(step)) for step in steps]
    await asyncio.sleep(0)
    held.go_on.set()
    # The first one may be in the same commit, and fail with it.
    return (await asyncio.gather(first, *waiting, return_exceptions=True))[1:]


def _commits(database: SqlDatabase) -> list[int]:
    """One entry for each commit from now on."""
    seen: list[int] = []
    event.listen(database._writing, "commit", lambda _connection: seen.append(1))
    return seen


def test_steps_that_wait_for_the_writer_share_a_commit(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        made = [await images.create(services, ANNA, RAW) for _ in range(20)]
        commits = _commits(database)
        await _together(database, [partial(_remove, image=image) for image in made])
        assert 1 <= len(commits) <= 2
        assert (await images.list_images(services, ANNA, ImageQuery())).images == ()

    asyncio.run(scene())


def _remove(uow: UnitOfWork, image: Image) -> str:
    uow.images.remove(image)
    return image.id


def test_a_step_that_fails_among_others_leaves_nothing_behind_and_the_others_are_done(
    services: Services, database: SqlDatabase
) -> None:
    async def scene() -> None:
        kept, *gone = [await images.create(services, ANNA, RAW) for _ in range(5)]

        def half(uow: UnitOfWork) -> None:
            uow.images.remove(kept)
            raise Conflict("after all not")

        steps = [partial(_remove, image=image) for image in gone]
        commits = _commits(database)
        results = await _together(database, [*steps[:2], half, *steps[2:]])
        assert len(commits) <= 2
        assert isinstance(results.pop(2), Conflict)
        assert results == [image.id for image in gone]
        assert [image.id for image in (await images.list_images(services, ANNA, ImageQuery())).images] == [kept.id]

    asyncio.run(scene())


def test_when_the_disk_is_full_no_step_of_the_commit_is_told_that_it_is_done(
    services: Services, database: SqlDatabase
) -> None:
    async def scene() -> None:
        kept = await images.create(services, ANNA, RAW)
        bound = await _fill(services, database)
        before = await images.list_images(services, ANNA, ImageQuery(limit=1000))

        def grow(uow: UnitOfWork) -> None:
            for number in range(50):
                uow.images.add(replace(kept, id=str(UUID(int=number)), properties={"padding": "x" * 3000}))

        results = await _together(database, [partial(_remove, image=kept), grow, grow])
        after = await images.list_images(services, ANNA, ImageQuery(limit=1000))
        done = isinstance(results[0], str)
        assert {image.id for image in before.images} - {image.id for image in after.images} == (
            {kept.id} if done else set()
        )
        assert all(isinstance(result, CatalogFull) for result in results[1:])
        await database.write(pragma("max_page_count", bound))
        assert (await put(services, await images.create(services, ANNA, RAW), b"more")).status is Status.ACTIVE

    asyncio.run(scene())


def test_a_step_whose_caller_gave_up_before_it_began_is_not_run(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        held = _Held()
        first = asyncio.ensure_future(database.write(held.step))
        await asyncio.to_thread(held.began.wait, 10)
        given_up = asyncio.ensure_future(database.write(partial(_remove, image=made)))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        held.go_on.set()
        await first
        assert await images.show(services, ANNA, made.id) == made

    asyncio.run(scene())


def test_a_read_step_cannot_write(services: Services, database: SqlDatabase) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        with pytest.raises(CatalogUnavailable, match="readonly"):
            await database.read(lambda uow: uow.images.remove(made))
        assert await images.show(services, ANNA, made.id) == made

    asyncio.run(scene())


async def _fill(services: Services, database: SqlDatabase) -> int:
    """Let the database grow no more, and create images until it is full; its former bound."""
    bound: int = await database.write(pragma("max_page_count"))
    await database.write(pragma("max_page_count", 1))
    wide = replace(RAW, properties={"padding": "x" * 3000})
    with pytest.raises(CatalogFull, match="make space"):
        await _create_for_ever(services, wide)
    return bound


async def _create_for_ever(services: Services, new: NewImage) -> None:
    while True:
        await images.create(services, ANNA, new)


def test_a_full_catalog_says_so_reads_on_and_works_again_after_space_is_made(
    services: Services, database: SqlDatabase
) -> None:
    async def scene() -> None:
        kept = await put(services, await images.create(services, ANNA, RAW), b"kept")
        bound = await _fill(services, database)
        assert await bytes_of(services, kept) == b"kept"
        await database.write(pragma("max_page_count", bound))
        again = await images.create(services, ANNA, replace(RAW, properties={"padding": "x" * 3000}))
        assert (await put(services, again, b"more")).status is Status.ACTIVE

    asyncio.run(scene())


def test_an_upload_into_a_catalog_that_fills_up_ends_with_full_and_queued(
    services: Services, database: SqlDatabase, blocks: MemoryBlocks
) -> None:
    async def scene() -> None:
        made = await images.create(services, ANNA, RAW)
        bounds = []

        async def fill(_pin: str) -> None:
            bounds.append(await _fill(services, database))

        blocks.at_end = fill
        # The commit may still find room on a page that is there; whatever it does, it does wholly.
        try:
            await put(services, made, b"data")
        except CatalogFull:
            assert (await images.show(services, ANNA, made.id)).locations == ()
        blocks.at_end = None
        await database.write(pragma("max_page_count", bounds[0]))
        await image_data.requeue_orphans(services)
        shown = await images.show(services, ANNA, made.id)
        active = shown if shown.status is Status.ACTIVE else await put(services, made, b"data")
        assert await bytes_of(services, active) == b"data"

    asyncio.run(scene())


def test_a_lock_that_another_process_keeps_makes_the_catalog_unavailable_for_writing_only(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "catalog.sqlite"
        database = open_catalog(path, wait_seconds=0.05)
        services = Services(database, MemoryBlocks())
        made = await images.create(services, ANNA, RAW)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CatalogUnavailable, match="locked"):
                await images.create(services, ANNA, RAW)
            assert await images.show(services, ANNA, made.id) == made
            other.execute("ROLLBACK")
        await images.create(services, ANNA, RAW)
        database.close()

    asyncio.run(scene())


def test_two_databases_on_one_file_write_at_once(tmp_path: Path) -> None:
    async def work(services: Services, mine: int) -> None:
        for number in range(15):
            made = await images.create(services, ANNA, replace(RAW, name=f"{mine}-{number}"))
            await put(services, made, f"{mine}-{number}".encode())
            if number % 3 == 0:
                await images.delete(services, ANNA, made.id)
            await image_data.requeue_orphans(services)

    async def scene() -> None:
        path = tmp_path / "catalog.sqlite"
        databases = [open_catalog(path) for _ in range(2)]
        both = [Services(each, MemoryBlocks(process=f"process-{n}")) for n, each in enumerate(databases)]
        await asyncio.gather(*(work(services, mine) for mine, services in enumerate(both)))
        for services in both:
            query = ImageQuery(limit=1000)
            page = await images.list_images(services, ANNA, query)
            assert len(page.images) == 20
            assert {image.status for image in page.images} == {Status.ACTIVE}
        for each in databases:
            each.close()

    asyncio.run(scene())


def test_a_new_catalog_can_be_opened_from_several_sides_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "catalog.sqlite"
        opened = await asyncio.gather(*(asyncio.to_thread(open_catalog, path) for _ in range(4)))
        made = await images.create(Services(opened[0], MemoryBlocks()), ANNA, RAW)
        assert await images.show(Services(opened[3], MemoryBlocks()), ANNA, made.id) == made
        for each in opened:
            each.close()

    asyncio.run(scene())


def test_a_delta_upload_that_an_older_version_began_has_acknowledged_nothing_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    older_catalog(path, "0004")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO deltas (id, size, block_size, requests) VALUES ('old', 10, 4096, 3)")
    bring_up(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT requests, records FROM deltas").fetchall() == [(3, 0)]


def test_what_an_older_version_kept_of_an_image_is_there_whatever_its_tables_became(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    older_catalog(path, "0010")
    image_id = "6e0acd3c-0001-4fff-8fff-0123456789ab"
    with closing(sqlite3.connect(path)) as connection, connection:
        # A clock was set back in between.
        connection.execute(
            "INSERT INTO images (id, owner, status, visibility, protected, os_hidden, min_disk, min_ram,"
            " created_at, updated_at) VALUES (?, 'wall', 'queued', 'shared', 0, 0, 0, 0, 7000000, 5000000)",
            (image_id,),
        )
        connection.execute("INSERT INTO image_properties VALUES (?, 'os_distro', 'debian')", (image_id,))
        connection.execute("INSERT INTO image_properties VALUES (?, 'role', '')", (image_id,))
        connection.execute("INSERT INTO image_tags VALUES (?, 'daily')", (image_id,))
    bring_up(path)

    async def scene() -> None:
        with closing(open_catalog(path)) as database:
            services = Services(database, MemoryBlocks())
            image = await images.show(services, ANNA, image_id)
            assert image.properties == {"os_distro": "debian", "role": ""}
            assert image.tags == frozenset({"daily"})
            assert image.updated_at == image.created_at
            await images.delete(services, ANNA, image_id)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT COUNT(*) FROM image_properties").fetchone() == (0,)

    asyncio.run(scene())


def test_no_migration_loses_a_trigger_that_an_older_one_made(tmp_path: Path) -> None:
    """A table that is made anew loses its own, in silence; those of `images` count what projects have."""
    path = tmp_path / "catalog.sqlite"
    made: dict[str, str] = {}
    for revision in revisions():
        older_catalog(path, revision)
        with closing(sqlite3.connect(path)) as connection:
            there = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        lost = made.keys() - there.keys()
        assert not lost, f"{revision} loses {lost}: make them again at its end"
        made |= there
    assert {"project_usage_added", "project_usage_changed", "project_usage_removed"} <= made.keys()


def test_an_image_that_an_older_version_deleted_is_nobodys_and_its_id_stays_taken(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    used = "6e0acd3c-0001-4fff-8fff-0123456789ab"
    older_catalog(path, "0005")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO deleted_images (id, deleted_at) VALUES (?, 1)", (used,))
    bring_up(path)

    async def scene() -> None:
        with closing(open_catalog(path)) as database:
            services = Services(database, MemoryBlocks())
            with pytest.raises(Conflict, match="never used again"):
                await images.create(services, ANNA, replace(RAW, id=used))
            with pytest.raises(NotFound):
                await undelete(services, ANNA, used)
            with pytest.raises(TooLate):
                await undelete(services, ADMIN, used)

    asyncio.run(scene())


def test_the_schema_that_is_opened_as_it_is_is_that_of_the_newest_migration() -> None:
    assert newest() == SCHEMA


def test_a_catalog_that_is_up_to_date_is_opened_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    open_catalog(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        with open_records(path, wait_seconds=0.1) as records:
            assert not records.read(lambda uow: uow.inventory.images())
        open_catalog(path, wait_seconds=0.1).close()


def test_a_catalog_that_must_be_migrated_waits_for_another_process_that_writes(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    older_catalog(path, "0005")
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogUnavailable, match="locked"):
            bring_up(path, wait_seconds=0.05)
        writing.execute("ROLLBACK")
    bring_up(path)


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    open_catalog(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DataRefused, match=r"newer Drystone \(schema 9999\)"):
        open_catalog(path)


def test_a_file_that_is_no_database_and_a_directory_that_is_missing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"not SQLite at all, and long enough to be looked at " * 20)
    with pytest.raises(DataRefused, match="not a database"):
        open_catalog(path)
    with pytest.raises(DataRefused, match="cannot be opened"):
        open_catalog(tmp_path / "missing" / "catalog.sqlite")


def test_a_damaged_catalog_is_unavailable_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "catalog.sqlite"
        first = open_catalog(path)
        made = await images.create(Services(first, MemoryBlocks()), ANNA, RAW)
        first.close()
        with path.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        # The first page is whole, so only what lies behind it can tell: on opening, or on reading.
        with pytest.raises(CatalogUnavailable, match="damaged"):
            await look(path, made.id)

    async def look(path: Path, image_id: str) -> None:
        with closing(open_catalog(path)) as database:
            await images.show(Services(database, MemoryBlocks()), ANNA, image_id)

    asyncio.run(scene())


def engine(path: Path) -> Engine:
    return engine_for(path, wait_seconds=1, begin="BEGIN", threads=1)


def test_statements_of_which_there_are_ever_more_are_not_all_kept(tmp_path: Path) -> None:
    one = engine(tmp_path / "catalog.sqlite")
    with one.begin() as connection:
        for number in range(MOST * 3):
            connection.execute(select(literal_column(str(number))))
    assert MOST <= len(STATEMENTS) <= 2 * MOST
    one.dispose()


def test_what_a_statement_says_is_worked_out_once_for_every_engine(tmp_path: Path) -> None:
    engines = [engine(tmp_path / name) for name in ("one.sqlite", "other.sqlite", "one.sqlite")]
    STATEMENTS.clear()
    for each in engines:
        with each.begin() as connection:
            for number in (7, 8):
                assert connection.execute(select(literal(number))).scalar_one() == number
        assert len(STATEMENTS) == 1
        each.dispose()
