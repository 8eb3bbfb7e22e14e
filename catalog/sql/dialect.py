"""SQLite as SQLAlchemy speaks it, with the text of a statement worked out once a process: for every engine."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

DRIVER: Final = "sqlite+alike"
MOST: Final = 100
"""Statements whose text is kept: every combination of a list's filters has one of its own, of up to 45 KB."""


class _Hinting(SQLiteCompiler):
    """Writes hints, such as INDEXED BY, behind a table's name."""

    def get_from_hint_text(self, _table: object, text: str | None) -> str | None:
        return text


class Alike(SQLiteDialect_pysqlite):
    """Each engine has its own, and they all write the same texts: so these are kept for every one of them."""

    supports_statement_cache = True
    statement_compiler = _Hinting

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return hash(Alike)


STATEMENTS: Final[LRUCache[Any, Any]] = LRUCache(MOST)
"""What was worked out."""

registry.register("sqlite.alike", __name__, "Alike")
