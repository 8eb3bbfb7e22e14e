"""What SQLite says when it cannot, as errors of the catalog: the one place that knows its codes."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from catalog.model.errors import CatalogFull, CatalogUnavailable

if TYPE_CHECKING:
    from catalog.model.errors import CatalogError

# The shared-memory file beside a WAL database grows by itself; on a full disk that is an I/O error.
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_FAILING: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def catalog_error(error: BaseException | None) -> CatalogError | None:
    """The catalog's error for one of sqlite3's, or None when it is a fault of ours, which nobody should catch."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    # The low byte is the kind, what stands above it says more.
    kind = code & 0xFF
    if not _FULL.isdisjoint({code, kind}):
        return CatalogFull("No space is left for the catalog; make space on its disk and try again.")
    if kind in _BUSY:
        return CatalogUnavailable("The catalog's database is locked by another process for too long; try again.")
    if kind in _FAILING:
        return CatalogUnavailable(f"The catalog's disk fails ({error}); look at the server's log and its disk.")
    if kind in _DAMAGED:
        return CatalogUnavailable(f"The catalog's database is damaged ({error}); restore it from a backup.")
    return None


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process only has to be waited for."""
    return error.sqlite_errorcode & 0xFF in _BUSY


def is_no_catalog(error: BaseException | None) -> bool:
    """Whether the file is no database at all, or there is none and none can be made."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
