"""A catalog in a SQLite file; the empty one is made once a process, since to migrate is the dearest part of a scene."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from catalog.sql.database import SqlDatabase
from catalog.sql.migrate import MIGRATIONS
from catalog.sql.open import open_catalog

if TYPE_CHECKING:
    from collections.abc import Sequence


def new_catalog(path: Path, *, wait_seconds: float = 10.0) -> SqlDatabase:
    """The catalog at `path`, empty if there was none."""
    if path.exists():
        return open_catalog(path, wait_seconds=wait_seconds)
    # Its schema is this version's: nothing is left for `open_catalog` to do.
    path.write_bytes(_empty())
    return SqlDatabase(path, wait_seconds=wait_seconds)


def older_catalog(path: Path, revision: str) -> None:
    """A catalog as the version made it that had this schema."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def revisions() -> Sequence[str]:
    """The schemas that there were, and the one that is, in the order of their coming."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return [each.revision for each in scripts.walk_revisions()][::-1]


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "catalog.sqlite")
        open_catalog(path).close()
        return path.read_bytes()
