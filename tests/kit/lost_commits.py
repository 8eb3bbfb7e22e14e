"""Commits that lie in SQLite's log and are seen by nobody, as after a sync that failed, or a death in the commit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_HEADERS: Final = 96
"""Bytes at the beginning of the shared memory that say how far the log is valid: SQLite's WalIndexHdr, twice."""


class LogEnd:
    """Where the log of a database ends now, all of whose connections are this process's."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-shm")
        self._headers = self._path.read_bytes()[:_HEADERS]

    def put_back(self) -> None:
        """Whatever was committed since is seen by nobody."""
        with self._path.open("r+b") as shared:
            shared.write(self._headers)


def after_a_crash(database: Path, into: Path) -> Path:
    """The database as whoever opens it finds it when all who have it open have died now."""
    into.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(database.with_name(database.name + suffix), into / (database.name + suffix))
    return into / database.name
