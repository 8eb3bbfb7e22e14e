"""Which blocks of a session have arrived, and as which record of its journal: by leaves of 1,024 numbers.

Memory follows what arrived, not the image: a leaf with few blocks or few runs of holes is a short list of its runs.
So neither a huge image nor blocks strewn over it cost more than some hundred bytes a leaf until their bytes were sent.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blockstore.journal import NumberArrays

    Leaf: TypeAlias = NDArray[np.uint32]

ABSENT: Final = 0
IS_HOLE: Final = 1
FIRST: Final = 2
"""A block with the number FIRST + n has the digest of record n."""
_FEW: Final = 128
"""With more runs than this a leaf is kept in full, 4 KiB; a run is of blocks of which the same is known."""
_LISTED: Final = np.dtype([("at", "<u2"), ("what", "<u4")])
"""Where a run begins, and what is known of it; the first one begins at 0."""
_OVERHEAD: Final = 256
"""Bytes that a leaf costs besides what is in it: its array, and its place among the others."""
_NONE: Final = np.zeros(LEAF_BLOCKS, dtype=np.uint32)
_NONE.flags.writeable = False
_HOLES: Final = np.array([(0, IS_HOLE)], dtype=_LISTED)
"""A leaf of holes alone."""


class Arrivals:
    """See the module; one caller at a time."""

    def __init__(self) -> None:
        self._listed: dict[int, NDArray[np.void]] = {}
        self._full: dict[int, Leaf] = {}
        self._seen = -1, _NONE
        self.count = 0
        """How many blocks have arrived."""
        self.taken = 0
        """About how many bytes of memory this takes."""

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

    def about(self, numbers: NumberRange) -> tuple[bool, bool]:
        """Whether some of these blocks are absent, and whether some have arrived as data."""
        absent = data = False
        for key, begins, stop in _leaves(numbers):
            if self._listed.get(key) is _HOLES:
                continue
            part = self.leaf(key)[begins:stop]
            absent = absent or bool((part == ABSENT).any())
            data = data or bool((part >= FIRST).any())
        return absent, data

    def learn(self, numbers: NumberArrays, first: int) -> None:
        """Records with these numbers are in the journal, the first of them as record `first`."""
        begins = 0
        for at in np.flatnonzero(numbers.count > LEAF_BLOCKS).tolist():
            self._learn_short(numbers[begins:at], first + begins)
            self._learn_long(numbers.at(at))
            begins = at + 1
        self._learn_short(numbers[begins:], first + begins)

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

    def _learn_short(self, numbers: NumberArrays, first: int) -> None:
        """Blocks, and runs that reach into two leaves at most; where a number comes twice, the last time counts."""
        if not len(numbers.first):
            return
        keys, last = numbers.first // LEAF_BLOCKS, (numbers.first + numbers.count - 1) // LEAF_BLOCKS
        begins = numbers.first - keys * LEAF_BLOCKS
        stops = begins + numbers.count
        whats = np.where(numbers.holes, IS_HOLE, np.arange(first, first + len(keys)) + FIRST)
        if (keys != last).any():
            # The second leaf's part comes behind the first one's.
            parts = np.repeat(np.arange(len(keys)), 1 + (keys != last))
            second = np.append(False, parts[1:] == parts[:-1])
            keys, begins, stops, whats = keys[parts] + second, begins[parts], stops[parts], whats[parts]
            begins[second], stops[second] = 0, stops[second] - LEAF_BLOCKS
            stops = np.minimum(stops, LEAF_BLOCKS)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, begins, stops, whats = keys[order], begins[order], stops[order], whats[order]
        edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
        for one, end in itertools.pairwise(edges):
            key = int(keys[one])
            leaf = self.leaf(key).copy()
            lengths = stops[one:end] - begins[one:end]
            ends = np.cumsum(lengths)
            leaf[np.arange(ends[-1]) + np.repeat(stops[one:end] - ends, lengths)] = np.repeat(whats[one:end], lengths)
            self._keep(key, leaf)

    def _learn_long(self, numbers: NumberRange) -> None:
        for key, begins, stop in _leaves(numbers):
            if stop - begins == LEAF_BLOCKS:
                self._keep_holes(key)
                continue
            leaf = self.leaf(key).copy()
            leaf[begins:stop] = IS_HOLE
            self._keep(key, leaf)

    def _keep(self, key: int, leaf: Leaf) -> None:
        """Keep a leaf in its shortest form."""
        self._drop(key)
        self.count += int(np.count_nonzero(leaf))
        at = np.concatenate(([0], np.flatnonzero(np.diff(leaf)) + 1))
        if len(at) > _FEW:
            self._full[key] = leaf
            self.taken += _OVERHEAD + leaf.nbytes
        else:
            listed = np.zeros(len(at), dtype=_LISTED)
            listed["at"], listed["what"] = at, leaf[at]
            self._listed[key] = listed
            self.taken += _OVERHEAD + listed.nbytes

    def _keep_holes(self, key: int) -> None:
        """A whole leaf of them, which all such leaves share."""
        self._drop(key)
        self.count += LEAF_BLOCKS
        self._listed[key] = _HOLES
        self.taken += _OVERHEAD + _HOLES.nbytes

    def _drop(self, key: int) -> None:
        """Forget a leaf; what is known of it is kept anew."""
        self._seen = -1, _NONE
        if key not in self._listed and key not in self._full:
            return
        self.count -= int(np.count_nonzero(self.leaf(key)))
        listed, full = self._listed.pop(key, None), self._full.pop(key, None)
        self.taken -= _OVERHEAD + (0 if listed is None else listed.nbytes) + (0 if full is None else full.nbytes)


def _leaves(numbers: NumberRange) -> list[tuple[int, int, int]]:
    """The leaves that a range reaches into: key, and where it begins and stops there."""
    return [
        (key, max(0, numbers.first - key * LEAF_BLOCKS), min(LEAF_BLOCKS, numbers.stop - key * LEAF_BLOCKS))
        for key in range(numbers.first // LEAF_BLOCKS, (numbers.stop - 1) // LEAF_BLOCKS + 1)
    ]
