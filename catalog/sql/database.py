"""SQLite as the port `Database`: short transactions on threads of their own.

One thread writes, so that a process never waits for itself, and steps that wait for it share a commit
(`shared_commits.py`); a few read, each on its own snapshot (WAL), and never wait for the writer. Writes begin with
`BEGIN IMMEDIATE`: whoever waits for another process does so before it has read anything, so no transaction fails
half-way because what it read has changed. `synchronous=FULL`: when a write returns, it is on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError

from catalog.blocking import StepThreads
from catalog.sql.dialect import DRIVER, STATEMENTS
from catalog.sql.shared_commits import SharedCommits, refusal
from catalog.sql.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from catalog.ports import UnitOfWork

T = TypeVar("T")

_READERS: Final = 3


class SqlDatabase:
    """The port `Database` on one SQLite file whose schema is up to date; `open.open_catalog` makes one."""

    def __init__(self, path: Path, *, wait_seconds: float) -> None:
        self._writing = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN IMMEDIATE", threads=1)
        self._reading = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN", threads=_READERS)
        self._writer = SharedCommits(self._writing, "catalog-write")
        self._readers = StepThreads("catalog-read", _READERS)

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step on one snapshot; it cannot write."""
        return await self._readers.run(lambda: run_step(self._reading, step))

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step, wholly or not at all; it is durable when this returns."""
        return await self._writer.run(step)

    def close(self) -> None:
        """Wait for running steps and close every connection."""
        self._writer.close()
        self._readers.close()
        self._writing.dispose()
        self._reading.dispose()


def run_step(engine: Engine, step: Callable[[UnitOfWork], T]) -> T:
    """One step in one transaction; the database's refusals come as the catalog's errors."""
    try:
        with engine.begin() as connection:
            return step(SqlUnitOfWork(connection))
    except DBAPIError as error:
        told = refusal(error)
        if told is error:
            raise
        raise told from error


def engine_for(path: Path, *, wait_seconds: float, begin: str, threads: int) -> Engine:
    """An engine with a connection for each thread, every transaction of which starts with `begin`."""
    engine = create_engine(
        URL.create(DRIVER, database=str(path)),
        connect_args={"timeout": wait_seconds},
        pool_size=threads,
        max_overflow=0,
        execution_options={"compiled_cache": STATEMENTS},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3's connection, as SQLAlchemy hands it
        # Transactions are begun by us alone: sqlite3's own begin knows no IMMEDIATE and comes too late for reads.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if begin == "BEGIN":
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
