"""Walking over a table in the order of its keys: what one transaction gives of it, from beyond a key on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from blockstore.index.contract import BATCH

if TYPE_CHECKING:
    from blockstore.index.lmdb_env import Txn


def pairs_beyond(txn: Txn, *, table: Any, after: bytes) -> list[tuple[bytes, bytes]]:  # noqa: ANN401 - lmdb has no types
    """The next BATCH keys and values; none at the end."""
    with txn.cursor(table) as cursor:
        return list(itertools.islice(cursor, BATCH)) if _go_beyond(cursor, after) else []


def _go_beyond(cursor: Any, after: bytes) -> bool:  # noqa: ANN401 - lmdb has no types
    """Stand on the first row beyond `after`; False if there is none."""
    if not (cursor.set_range(after) if after else cursor.first()):
        return False
    return not after or cursor.key() != after or bool(cursor.next())
