"""Filling a new index at once: the register, then rows in the order of their digests, which LMDB only appends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.index.lmdb_index import LmdbIndex

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from blockstore.index.contract import PackRecord
    from blockstore.index.lmdb_env import Txn

AT_ONCE: Final = 65536
"""Rows a transaction; nobody waits for the lock of an index that is not there yet."""


class BulkIndex(LmdbIndex):
    """An index that nobody else has open."""

    def load_packs(self, records: Iterable[PackRecord]) -> None:
        """Enter packs under the numbers that they have; the next one given is above them all."""
        self._write("load", lambda txn: self._register.load(txn, records))

    def load_rows(self, rows: NDArray[np.void]) -> None:
        """Append rows, an array of ROW: ascending, each digest once, all behind those that are there."""
        data = rows.tobytes()
        for first in range(0, len(rows), AT_ONCE):
            some = range(first * 48, min(first + AT_ONCE, len(rows)) * 48, 48)
            pairs = [(data[at : at + 32], data[at + 32 : at + 48]) for at in some]

            def put(txn: Txn, pairs: list[tuple[bytes, bytes]] = pairs) -> None:
                with txn.cursor(self._blocks) as cursor:
                    consumed, _ = cursor.putmulti(pairs, dupdata=False, append=True)
                    assert consumed == len(pairs)

            self._write("load", put)
