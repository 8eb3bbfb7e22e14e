"""A catalog in which everything that a request writes can be undone, so that the next one finds what it found."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from catalog.sql.database import engine_for
from catalog.sql.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from catalog.ports import UnitOfWork

T = TypeVar("T")


class _Undone(Exception):
    """What ends a savepoint from inside."""


class UndoneDatabase:
    """The port `Database` on one connection and the caller's thread, for one request at a time."""

    def __init__(self, path: Path) -> None:
        self._engine = engine_for(path, wait_seconds=5, begin="BEGIN IMMEDIATE", threads=1)
        self._connection = self._engine.connect()
        self._connection.begin()

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return step(SqlUnitOfWork(self._connection))

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        with self._savepoint("step"):
            return step(SqlUnitOfWork(self._connection))

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """What is written inside is gone afterwards."""
        with contextlib.suppress(_Undone), self._savepoint("request"):
            yield
            raise _Undone

    @contextlib.contextmanager
    def _savepoint(self, name: str) -> Iterator[None]:
        # SQLite's own: SQLAlchemy's cost as much as what most requests do inside.
        driver: Any = self._connection.connection.driver_connection
        driver.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            driver.execute(f"ROLLBACK TO {name}")
            raise
        finally:
            driver.execute(f"RELEASE {name}")

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
