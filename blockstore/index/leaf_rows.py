"""Rows of a table read off LMDB's own pages, thousands at a time: a cursor makes three objects a row, numpy none.

As `pages.py` it knows the layout that LMDB 0.9 writes. Whoever calls gives the table's tree as a read transaction sees
it, and keeps that transaction meanwhile, so that nobody uses its pages again. Of the pages it reads it checks what it
goes by, and nothing else.

    branch pages from the table's root down to the lowest, which names some hundred leaves → the rows of those leaves,
    copied out of the map of the file by one take
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.errors import Damaged
from blockstore.index.page_format import BRANCH, DEEPEST, HEAD, LEAF, NO_PAGE, NODE, PAGE, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PAGE_HEAD: Final = np.dtype([("number", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("lower", "<u2"), ("upper", "<u2")])
_CHILD: Final = np.uint64((1 << 48) - 1)
"""Of a branch's node: the other sixteen bits are the length of its key."""
assert _PAGE_HEAD.itemsize == HEAD


@dataclass(frozen=True, slots=True)
class Some:
    """Rows in the order of their keys, and the key from which on the next ones are; None if these were the last."""

    rows: NDArray[np.void]
    following: bytes | None


class LeafRows:
    """Reads the rows of one table. `row` is a key and its value, each of the one length that all of them have."""

    def __init__(self, file: Path, page_size: int, row: np.dtype[np.void]) -> None:
        self._file = file
        self._size = page_size
        self._row = row
        self._key = (row.names or ("",))[0]
        key = row[self._key].itemsize
        self._node = np.frombuffer(NODE.pack(row.itemsize - key, 0, 0, key), "<u8")[0]
        self._pages = np.empty((0, page_size), np.uint8)

    def read(self, tree: Tree, start: bytes) -> Some:
        """The rows with keys from `start` on of one lowest branch page; maybe none, with others following.

        Damaged names the page that is wrong.
        """
        if tree.root == NO_PAGE:
            return Some(np.empty(0, self._row), None)
        if not 0 < tree.depth <= DEEPEST:
            raise Damaged(f"a table claims a depth of {tree.depth}")
        leaves, following = np.array([tree.root], np.uint64), None
        for depth in range(tree.depth, 1, -1):
            branch = _Branch(self._page(int(leaves[0])), int(leaves[0]))
            at = branch.child_for(start)
            if depth > 2 and at + 1 < len(branch.offsets):
                following = branch.key(at + 1)
            leaves = branch.children(at)
        rows = self._leaves(leaves)
        before = bisect_left(range(len(rows)), start, key=lambda at: bytes(rows[self._key][at])) if start else 0
        return Some(rows[before:], following)

    def _page(self, number: int) -> bytes:
        self._reach(number)
        return bytes(self._pages[number])

    def _reach(self, number: int) -> None:
        """Map the file again if it has grown. Nobody cuts it off while it is open."""
        if number >= len(self._pages):
            with self._file.open("rb") as file:
                count = os.fstat(file.fileno()).st_size // self._size
                if number >= count:
                    raise Damaged(f"page {number} lies beyond the end of the file")
                whole = mmap.mmap(file.fileno(), count * self._size, access=mmap.ACCESS_READ)
            self._pages = np.frombuffer(whole, np.uint8).reshape(count, self._size)

    def _leaves(self, numbers: NDArray[np.uint64]) -> NDArray[np.void]:
        """The rows of these pages, one after another."""
        size = self._size
        self._reach(int(numbers.max()))
        pages = self._pages[numbers.astype(np.int64)]
        heads = np.ascontiguousarray(pages[:, :HEAD]).view(_PAGE_HEAD)[:, 0]
        lower, upper = heads["lower"].astype(np.int64), heads["upper"].astype(np.int64)
        right = (heads["number"] == numbers) & (heads["flags"] == LEAF)
        right &= (lower > HEAD) & (lower % 2 == 0) & (lower <= upper) & (upper <= size)
        if not right.all():
            raise Damaged(f"page {numbers[~right][0]} is not the leaf that it should be")
        counts = (lower - HEAD) // 2
        listed = np.arange(counts.max()) < counts[:, None]
        offsets = np.ascontiguousarray(pages[:, HEAD : int(lower.max())]).view("<u2")[listed].astype(np.int64)
        where = np.repeat(np.arange(len(numbers)), counts)
        fits = (offsets >= upper[where]) & (offsets <= size - NODE.size - self._row.itemsize) & (offsets % 2 == 0)
        if not fits.all():
            raise Damaged(f"page {numbers[where[~fits][0]]} has rows that do not fit")
        # Rows begin at any even byte: seen so, one take copies them all.
        places = (where * size + offsets) // 2
        nodes = np.ndarray((pages.size // 2 - 3,), "<u8", pages, 0, (2,))[places]
        if (nodes != self._node).any():
            raise Damaged(f"page {numbers[where[nodes != self._node][0]]} has a row of a size that none has")
        seen = (pages.size - NODE.size - self._row.itemsize) // 2 + 1
        # Plain bytes are copied ten times as fast as records of fields.
        plain = np.ndarray((seen,), f"V{self._row.itemsize}", pages, NODE.size, (2,))
        rows: NDArray[np.void] = plain[places].view(self._row)
        return rows


class _Branch:
    """A branch page whose head is right; `offsets` are those of its nodes, in the order of keys."""

    def __init__(self, data: bytes, number: int) -> None:
        self._data = data
        own, _, flags, lower, upper = PAGE.unpack_from(data)
        if (own, flags) != (number, BRANCH) or not HEAD < lower <= upper <= len(data):
            raise Damaged(f"page {number} is not the branch that it should be")
        self.offsets = np.frombuffer(data, "<u2", (lower - HEAD) // 2, HEAD)
        if (self.offsets > len(data) - NODE.size).any() or (self.offsets % 2).any() or not len(self.offsets):
            raise Damaged(f"page {number} has nodes that are none")

    def child_for(self, start: bytes) -> int:
        """Which child has `start`: the first one has whatever is before the second one's key."""
        return bisect_right(range(len(self.offsets)), start, lo=1, key=self.key) - 1

    def key(self, at: int) -> bytes:
        """The key of a node."""
        begins = int(self.offsets[at])
        size = NODE.unpack_from(self._data, begins)[3]
        return self._data[begins + NODE.size : begins + NODE.size + size]

    def children(self, first: int) -> NDArray[np.uint64]:
        """The pages that are named, from node `first` on."""
        nodes = np.ndarray((len(self._data) // 2 - 3,), "<u8", self._data, 0, (2,))[self.offsets[first:] // 2]
        children: NDArray[np.uint64] = nodes & _CHILD
        return children
