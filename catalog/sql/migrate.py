"""A catalog's schema made, or brought from an older version's to this one's: alembic is loaded for that alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from blockstore.errors import DataRefused
from catalog.sql.database import engine_for

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(path: Path, wait_seconds: float) -> None:
    """Run the migrations that are missing: all of them or none. DataRefused for a newer version's catalog."""
    engine = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN IMMEDIATE", threads=1)
    try:
        with engine.begin() as connection:
            _migrate(connection, path)
    finally:
        engine.dispose()


def newest() -> str | None:
    """The newest revision in `migrations/`."""
    return _script(Config()).get_current_head()


def _script(config: Config) -> ScriptDirectory:
    # A setting's value is interpolated, a directory's name may hold a percent sign.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _migrate(connection: Connection, path: Path) -> None:
    config = Config()
    config.attributes["connection"] = connection
    script = _script(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise DataRefused(
            f"The catalog {path} was written by a newer Drystone (schema {current}): start that version, "
            "or restore a backup that this one made."
        )
    if current != script.get_current_head():
        command.upgrade(config, "head")
