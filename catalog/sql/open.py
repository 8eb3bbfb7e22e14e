"""Open a catalog: create it, or bring its schema up to date, or say why not."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from blockstore import clock
from blockstore.errors import DataRefused
from catalog.sql.database import SqlDatabase
from catalog.sql.failures import catalog_error, is_busy, is_no_catalog

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "0006"
"""The newest revision in `migrations/`: a catalog that has it is opened as it is."""


def open_catalog(path: Path, *, wait_seconds: float = 10.0) -> SqlDatabase:
    """The catalog in the SQLite file at `path`, created if it is missing, its schema brought up to date.

    `wait_seconds` bounds each wait for another process's write. Several processes may open one file, at once too.
    Raises DataRefused when the file is a newer version's or no database, CatalogFull, CatalogUnavailable.
    """
    bring_up_to_date(path, wait_seconds=wait_seconds)
    return SqlDatabase(path, wait_seconds=wait_seconds)


def bring_up_to_date(path: Path, *, wait_seconds: float) -> None:
    """Create or migrate the catalog where that is wanted; else it is only read, and nobody's write is waited for.

    Raises as `open_catalog`.
    """
    try:
        _use_wal(path, wait_seconds)
        if _schema(path, wait_seconds) != SCHEMA:
            # Seldom, and a sixth of what the program takes to start.
            from catalog.sql.migrate import migrate

            migrate(path, wait_seconds)
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
