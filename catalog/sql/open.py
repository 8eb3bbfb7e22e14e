"""Open a catalog: create it if there is none, or say why not. `upgrade.py` brings an older one up to date."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from blockstore import clock
from blockstore.errors import DataRefused
from catalog.sql.database import SqlDatabase
from catalog.sql.failures import catalog_error, is_busy, is_no_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA: Final = "0015"
"""The newest revision in `migrations/`: a catalog that has it is opened as it is."""


def open_catalog(path: Path, *, wait_seconds: float = 10.0) -> SqlDatabase:
    """The catalog in the SQLite file at `path`, created if it is missing.

    `wait_seconds` bounds each wait for another process's write. Several processes may open one file, at once too.
    Raises DataRefused when the file is another version's or no database, CatalogFull, CatalogUnavailable.
    """
    prepare(path, wait_seconds=wait_seconds)
    return SqlDatabase(path, wait_seconds=wait_seconds)


def prepare(path: Path, *, wait_seconds: float) -> None:
    """Create the catalog where there is none; else it is only read, and nobody's write is waited for.

    Raises as `open_catalog`.
    """
    with _refusals(path):
        _use_wal(path, wait_seconds)
        if _schema(path, wait_seconds) != SCHEMA:
            # Seldom, and a sixth of what the program takes to start.
            from catalog.sql.migrate import create

            create(path, wait_seconds)


def is_older(path: Path, *, wait_seconds: float = 10.0) -> bool:
    """Whether there is a catalog whose schema an older version made. Changes nothing; raises as `open_catalog`."""
    if not path.exists():
        return False
    with _refusals(path):
        schema = _schema(path, wait_seconds)
        if schema is None or schema == SCHEMA:
            return False
        from catalog.sql.migrate import refuse_newer

        refuse_newer(path, schema)
        return True


def bring_up(path: Path, *, wait_seconds: float = 10.0) -> None:
    """Run the migrations that are missing. For whoever has the catalog to itself; raises as `open_catalog`."""
    from catalog.sql.migrate import migrate

    with _refusals(path):
        migrate(path, wait_seconds)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """The database's errors come as ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if is_no_catalog(cause):
            raise DataRefused(
                f"The catalog {path} cannot be opened ({cause}): name a directory that exists and may be written, "
                "or restore the file from a backup."
            ) from error
        refusal = catalog_error(cause)
        if refusal is None:
            raise
        raise refusal from error


def _use_wal(path: Path, wait_seconds: float) -> None:
    """Put the file in WAL mode, which it then keeps.

    The switch needs the file for itself alone and, unlike a transaction, does not wait for that: so it is tried again.
    """
    deadline = clock.monotonic() + wait_seconds
    with closing(sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)) as connection:
        while True:
            try:
                [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if not is_busy(error) or clock.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    if mode != "wal":
        raise DataRefused(
            f"The catalog {path} lies on a file system without shared memory (SQLite's journal mode stays {mode!r}): "
            "put the data directory on a local disk."
        )


def _schema(path: Path, wait_seconds: float) -> str | None:
    """The revision that the catalog says it has; None if it says nothing."""
    with closing(sqlite3.connect(path, timeout=wait_seconds)) as connection:
        asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
        if connection.execute(asked).fetchone() is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
