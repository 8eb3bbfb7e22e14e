"""A catalog in which everything that a request writes can be undone, so that the next one finds what it found."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from catalog.sql.database import engine_for
from catalog.sql.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from catalog.ports import UnitOfWork

T = TypeVar("T")


class UndoneDatabase:
    """The port `Database` on one connection and the caller's thread, for one request at a time."""

    def __init__(self, path: Path) -> None:
        self._engine = engine_for(path, wait_seconds=5, begin="BEGIN IMMEDIATE", threads=1)
        self._connection = self._engine.connect()
        self._connection.begin()

    async def read(self, step: Callable[[UnitOfWork], T]) -> T:
        return step(SqlUnitOfWork(self._connection))

    async def write(self, step: Callable[[UnitOfWork], T]) -> T:
        with self._connection.begin_nested():
            return step(SqlUnitOfWork(self._connection))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is written inside is gone afterwards."""
        inside = self._connection.begin_nested()
        try:
            yield
        finally:
            inside.rollback()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
