"""Which rows collections have condemned: the table of their marks, as part of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blockstore.index.bounded import pieces
from blockstore.index.contract import MARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.index.lmdb_env import Txn


class RunMarks:
    """On the tables `blocks` and `condemned`; a mark is the name of the run that set it."""

    def __init__(self, blocks: Any, condemned: Any) -> None:  # noqa: ANN401 - the library ships no types
        self._blocks = blocks
        self._condemned = condemned

    def put(self, txn: Txn, digests: Sequence[bytes], run: bytes) -> int:
        """Mark those that have rows, many in a call; gives how many of the digests it got to."""
        done = 0
        with txn.cursor(self._blocks) as rows, txn.cursor(self._condemned) as marks:
            for piece in pieces(len(digests), MARKS):
                marks.putmulti([(digest, run) for digest, _ in rows.getmulti(digests[piece])])
                done = piece.stop
        return done

    def among(self, txn: Txn, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those that are marked; looked up one by one, but only while anything is."""
        if not txn.stat(self._condemned)["entries"]:
            return {}
        marks = [(digest, txn.get(digest, db=self._condemned)) for digest in digests]
        return {digest: run for digest, run in marks if run is not None}
