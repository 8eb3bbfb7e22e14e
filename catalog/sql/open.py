"""Open a catalog: create it, or bring its schema up to date, or say why not."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from blockstore import clock
from blockstore.errors import DataRefused
from catalog.sql.database import SqlDatabase, engine_for
from catalog.sql.failures import catalog_error, is_busy, is_no_catalog

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def open_catalog(path: Path, *, wait_seconds: float = 10.0) -> SqlDatabase:
    """The catalog in the SQLite file at `path`, created if it is missing, its schema brought up to date.

    `wait_seconds` bounds each wait for another process's write. Several processes may open one file, at once too.
    Raises DataRefused when the file is a newer version's or no database, CatalogFull, CatalogUnavailable.
    """
    try:
        _use_wal(path, wait_seconds)
        engine = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN IMMEDIATE", threads=1)
        try:
            with engine.begin() as connection:
                _migrate(connection, path)
        finally:
            engine.dispose()
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
    return SqlDatabase(path, wait_seconds=wait_seconds)


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


def _migrate(connection: Connection, path: Path) -> None:
    """Run the migrations that are missing, within the caller's transaction: all of them or none."""
    config = Config()
    # A setting's value is interpolated, a directory's name may hold a percent sign.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise DataRefused(
            f"The catalog {path} was written by a newer Drystone (schema {current}): start that version, "
            "or restore a backup that this one made."
        )
    if current != script.get_current_head():
        command.upgrade(config, "head")
