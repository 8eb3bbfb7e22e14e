"""Which blocks of a session have arrived, and as which record of its journal: by leaves of 1,024 numbers.

Memory follows what arrived, not the image: a leaf with few blocks or few runs of holes is a short list of its runs.
So neither a huge image nor blocks strewn over it cost more than some hundred bytes a leaf until their bytes were sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from blockstore.digest import HOLE
from blockstore.journal import numbers_of
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.journal import Record

    Leaf: TypeAlias = NDArray[np.uint32]

ABSENT: Final = 0
IS_HOLE: Final = 1
FIRST: Final = 2
"""A block with the number FIRST + n has the digest of record n."""
_FEW: Final = 128
"""With more runs than this a leaf is kept in full, 4 KiB; a run is of blocks of which the same is known."""
_LISTED: Final = np.dtype([("at", "<u2"), ("what", "<u4")])
"""Where a run begins, and what is known of it; the first one begins at 0."""
_NONE: Final = np.zeros(LEAF_BLOCKS, dtype=np.uint32)
_NONE.flags.writeable = False


class Arrivals:
    """See the module; one caller at a time."""

    def __init__(self) -> None:
        self._listed: dict[int, NDArray[np.void]] = {}
        self._full: dict[int, Leaf] = {}
        self._seen = -1, _NONE
        self._key = -1
        self._open = _NONE
        self.count = 0
        """How many blocks have arrived."""

    def leaf(self, key: int) -> Leaf:
        """What is known of the blocks from key · 1,024 on: ABSENT, IS_HOLE, or FIRST + the record's number."""
        listed = self._listed.get(key)
        if listed is None:
            return self._full.get(key, _NONE)
        return np.repeat(listed["what"], np.diff(listed["at"], append=LEAF_BLOCKS))

    def at(self, number: int) -> int:
        """The same of one block; quick for one after another."""
        key, at = divmod(number, LEAF_BLOCKS)
        if key != self._seen[0]:
            self._seen = key, self.leaf(key)
        return int(self._seen[1][at])

    def of(self, numbers: NumberRange) -> list[int]:
        """The different things that are known of these blocks."""
        found: set[int] = set()
        for key in range(numbers.first // LEAF_BLOCKS, (numbers.stop - 1) // LEAF_BLOCKS + 1):
            part = self.leaf(key)[max(0, numbers.first - key * LEAF_BLOCKS) : numbers.stop - key * LEAF_BLOCKS]
            found.update(np.unique(part).tolist())
        return sorted(found)

    def learn(self, records: Sequence[Record], first: int) -> None:
        """These records, of which the first one has that number, are in the journal."""
        for what, record in enumerate(records, first + FIRST):
            numbers = numbers_of(record)
            if record.digest != HOLE:
                key, at = divmod(numbers.first, LEAF_BLOCKS)
                self._opened(key)[at] = what
                continue
            for key in range(numbers.first // LEAF_BLOCKS, (numbers.stop - 1) // LEAF_BLOCKS + 1):
                begins = max(0, numbers.first - key * LEAF_BLOCKS)
                stop = min(LEAF_BLOCKS, numbers.stop - key * LEAF_BLOCKS)
                self._opened(key)[begins:stop] = IS_HOLE
        self._close()

    def ranges(self, start: int, most: int) -> tuple[list[NumberRange], int | None]:
        """What has arrived from number `start` on, as at most so many ranges; where to go on, or None."""
        found: list[NumberRange] = []
        for key in sorted(key for key in (*self._listed, *self._full) if (key + 1) * LEAF_BLOCKS > start):
            there = self.leaf(key) != ABSENT
            there[: max(0, start - key * LEAF_BLOCKS)] = False
            edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).astype(np.int8)))
            for first, stop in (edges.reshape(-1, 2) + key * LEAF_BLOCKS).tolist():
                if found and found[-1].stop == first:
                    found[-1] = NumberRange(found[-1].first, stop - found[-1].first)
                elif len(found) == most:
                    return found, first
                else:
                    found.append(NumberRange(first, stop - first))
        return found, None

    def _opened(self, key: int) -> Leaf:
        if key != self._key:
            self._close()
            self._key, self._open = key, self.leaf(key).copy()
        return self._open

    def _close(self) -> None:
        """Keep the leaf that is being changed in its shortest form."""
        if self._key < 0:
            return
        self.count += int(np.count_nonzero(self._open)) - int(np.count_nonzero(self.leaf(self._key)))
        at = np.concatenate(([0], np.flatnonzero(np.diff(self._open)) + 1))
        if len(at) > _FEW:
            self._listed.pop(self._key, None)
            self._full[self._key] = self._open
        else:
            self._full.pop(self._key, None)
            listed = np.zeros(len(at), dtype=_LISTED)
            listed["at"], listed["what"] = at, self._open[at]
            self._listed[self._key] = listed
        self._key, self._seen = -1, (-1, _NONE)
