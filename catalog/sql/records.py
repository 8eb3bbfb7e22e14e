"""The catalog opened to be looked after: a step at a time, on the caller's thread."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from blockstore.errors import DataRefused
from catalog.sql.database import engine_for, run_step
from catalog.sql.open import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from catalog.ports import UnitOfWork

T = TypeVar("T")


class SqlRecords:
    """`catalog.inventory.Records` on one SQLite file; made by `open_records`."""

    def __init__(self, reading: Engine, writing: Engine) -> None:
        self._reading = reading
        self._writing = writing

    def read(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step on one snapshot; it cannot write."""
        return run_step(self._reading, step)

    def write(self, step: Callable[[UnitOfWork], T]) -> T:
        """Run a step in a transaction that is durable when this returns."""
        return run_step(self._writing, step)


@contextlib.contextmanager
def open_records(path: Path, *, wait_seconds: float = 10.0) -> Iterator[SqlRecords]:
    """The catalog in the file at `path`. DataRefused when there is none, or one of another version.

    A new one would know no image, and every block beside it would look like garbage.
    """
    if not path.exists():
        raise DataRefused(
            f"there is no catalog {path}: restore it from a backup, or name the right data directory with --data; "
            "nothing was touched"
        )
    prepare(path, wait_seconds=wait_seconds)
    reading = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN", threads=1)
    writing = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN IMMEDIATE", threads=1)
    try:
        yield SqlRecords(reading, writing)
    finally:
        reading.dispose()
        writing.dispose()
