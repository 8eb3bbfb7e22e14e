"""The index contract: digest → place, and the register of packs.

What the caller owes: digests are 32 bytes; a batch may have any length, an implementation splits it into
transactions of at most BATCH rows (MARKS when it condemns) and HOLD seconds. Each row is its own compare-and-set, so a
batch that was interrupted may be given again. The packs that rows name are durable *before* the rows are put.

What holds after a crash: every transaction whole or not at all. What "missing" means: nobody stored the block, or it
was forgotten; the row of a condemned block is still there, but `get_many` doesn't show it unless asked to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from blockstore.block import Place

BATCH: Final = 4096
"""Rows a transaction, at most."""
MARKS: Final = 4 * BATCH
"""Rows that a transaction condemns, at most: marks lie together, so they are quicker than rows all over the table."""
HOLD: Final = 0.05
"""Seconds that a writer keeps the write lock, at most; then it commits what is done and goes on."""


ROW: Final = np.dtype(
    [("digest", "u1", (32,)), ("pack", "<u4"), ("offset", "<u4"), ("frame", "<u4"), ("raw", "<u4")],
)
"""A row as it lies in arrays: the digest, then its place."""


MARKED: Final = np.dtype([("digest", "u1", (32,))])
"""A condemned row as it lies in arrays."""


class PackState(IntEnum):
    """A pack's life in the register; it only ever goes forward."""

    OPEN = 1
    SEALED = 2
    RETIRING = 3


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A pack as the register knows it; `indexed_end`: the highest end of an entry that a row ever named, in bytes."""

    number: int
    name: bytes
    owner: str
    state: PackState
    indexed_end: int


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How much the index holds: rows, marks, packs in the register, and bytes of its file."""

    rows: int
    condemned: int
    bad: int
    packs: int
    bytes: int


class BlockIndex(Protocol):
    """See the module. Errors: StoreFull, StoreUnavailable, Damaged."""

    def get_many(self, digests: Sequence[bytes], *, hidden: bool = False) -> list[Place | None]:
        """The place of each digest, None if missing, condemned or bad; reads ask for the `hidden` (marked) ones too."""

    def put_many(self, rows: Mapping[bytes, Place], *, seal: Iterable[int] = ()) -> None:
        """Add rows: a live row is kept, a condemned or bad one gets the new place and loses its mark.

        The packs in `seal` become sealed in the transaction of the last rows. A row that names a pack that is unknown
        or retiring is refused: StoreUnavailable, and the writer starts again. But a condemned one then keeps its place
        and loses its mark: it has moved there from the pack in which the writer knows it, or will never be missed.
        """

    def condemn_many(self, digests: Sequence[bytes], run: bytes) -> None:
        """Mark rows with a collector's run: invisible to dedup, still readable; an older run's mark is taken over."""

    def revive_many(self, digests: Sequence[bytes]) -> None:
        """Take the mark off rows."""

    def condemned(self, run: bytes | None = None) -> Iterator[NDArray[np.void]]:
        """The rows that bear this run's mark, or any run's, in the order of digests, as arrays of MARKED.

        As `scan`: rows may be marked, revived and forgotten meanwhile.
        """

    def condemned_among(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Those whose row is condemned, each with the run whose mark it bears."""

    def forget_many(self, digests: Sequence[bytes], run: bytes) -> int:
        """Remove the rows that still bear this run's mark; gives their number."""

    def move_many(self, moves: Mapping[bytes, tuple[Place, Place]], *, seal: Iterable[int] = ()) -> int:
        """Set (old, new) places of rows that are still at the old one, condemned or not; gives their number.

        The mark of a condemned row stays; that of a bad one goes, since its bytes were verified on the way. A new place
        in a pack that is unknown or retiring is refused, in the transaction that would set it: StoreUnavailable, and
        the row stays where it was. The packs in `seal` become sealed in the transaction of the last moves.
        """

    def mark_bad(self, digest: bytes, place: Place) -> bool:
        """Hide a row from dedup if it is still at `place`; True if it was."""

    def bad_among(self, digests: Sequence[bytes]) -> AbstractSet[bytes]:
        """Those whose row is marked bad: an increment must not inherit them."""

    def bad_rows(self) -> list[tuple[bytes, Place]]:
        """All rows that are marked bad and still at that place, in the order of digests: as good as always few."""

    def scan(self, after: bytes = b"") -> Iterator[tuple[bytes, Place]]:
        """All rows in the order of digests, from beyond `after`; no transaction lives longer than a batch."""

    def rows(self, after: bytes = b"") -> Iterator[NDArray[np.void]]:
        """As `scan`, in arrays of ROW: for whoever looks at all of them."""

    def size(self) -> IndexSize:
        """How much there is, at no cost to speak of."""

    def check(self) -> None:
        """Look at the whole structure without trusting it; Damaged says where it is wrong and what to do."""

    def register_pack(self, name: bytes, owner: str) -> int:
        """Enter a new open pack, before its first byte; gives its number, which is never used again."""

    def pack(self, number: int) -> PackRecord | None:
        """A pack by its number."""

    def packs(self) -> list[PackRecord]:
        """The whole register."""

    def advance_pack(self, number: int, state: PackState) -> None:
        """Move a pack's state forward."""

    def retire_pack(self, number: int, digests: Sequence[bytes]) -> bool:
        """Sealed → retiring, unless one of these blocks, all that the pack has, has its row there: in one transaction.

        True if the pack is retiring now and no row names it: none ever will. A condemned row counts, for it may be
        revived. An open pack stays what it is; one that is retiring already is looked at as well.
        """

    def drop_pack(self, number: int) -> None:
        """Take a pack out of the register: it was never made, or its file is unlinked."""

    def close(self) -> None:
        """Let go of the files; no call may follow."""
