"""A catalog's schema made, or brought from an older version's to this one's: alembic is loaded for that alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from blockstore.errors import DataRefused
from catalog.sql.database import engine_for

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def create(path: Path, wait_seconds: float) -> None:
    """Make the schema, if there is none. DataRefused for another version's catalog."""
    _migrate(path, wait_seconds, upgrade=False)


def migrate(path: Path, wait_seconds: float) -> None:
    """Run the migrations that are missing: all of them or none. DataRefused for a newer version's catalog."""
    _migrate(path, wait_seconds, upgrade=True)


def refuse_newer(path: Path, schema: str) -> None:
    """DataRefused for a schema that no migration here makes."""
    if schema not in {revision.revision for revision in _script(Config()).walk_revisions()}:
        raise DataRefused(
            f"The catalog {path} was written by a newer Drystone (schema {schema}): start that version, "
            "or restore a backup that this one made."
        )


def newest() -> str | None:
    """The newest revision in `migrations/`."""
    return _script(Config()).get_current_head()


def _script(config: Config) -> ScriptDirectory:
    # A setting's value is interpolated, a directory's name may hold a percent sign.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _migrate(path: Path, wait_seconds: float, *, upgrade: bool) -> None:
    config = Config()
    script = _script(config)
    engine = engine_for(path, wait_seconds=wait_seconds, begin="BEGIN IMMEDIATE", threads=1)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            current = MigrationContext.configure(connection).get_current_revision()
            if current == script.get_current_head():
                return
            if current is not None:
                refuse_newer(path, current)
                if not upgrade:
                    raise DataRefused(
                        f"The catalog {path} was written by an older Drystone (schema {current}): try again, "
                        "and it is brought up to date."
                    )
            command.upgrade(config, "head")
    finally:
        engine.dispose()
