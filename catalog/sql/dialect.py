"""SQLite as SQLAlchemy speaks it, with the text of a statement worked out once a process: for every engine."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

DRIVER: Final = "sqlite+alike"
MOST: Final = 100
"""Statements whose text is kept: every combination of a list's filters has one of its own, of up to 45 KB."""


class Alike(SQLiteDialect_pysqlite):
    """Each engine has its own, and they all write the same texts: so these are kept for every one of them."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return hash(Alike)


STATEMENTS: Final[LRUCache[Any, Any]] = LRUCache(MOST)
"""What was worked out."""

registry.register("sqlite.alike", __name__, "Alike")
