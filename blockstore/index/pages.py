"""Looking at every page of an LMDB file without LMDB, which trusts its pages and may die of a wrong one.

The layout is that of LMDB 0.9 (`struct MDB_page`, `MDB_node`, `MDB_db`, `MDB_meta` in its mdb.c): pages of one size,
two of them meta pages, copy-on-write trees of branch and leaf pages, a tree of free pages. Everything that LMDB would
follow is checked: that each page is where it says, is used once, and is not free; that nodes lie in their page and
fill it; that keys ascend, across pages too; that counts are right; and that rows have the sizes which the index gives
them. What a value says (a place, a register record) is not: whoever reads by it checks what is found there.
"""

from __future__ import annotations

import itertools
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blockstore.errors import Damaged
from blockstore.index.page_format import (
    BIG,
    BRANCH,
    DEEPEST,
    HEAD,
    INTEGER_KEYS,
    LEAF,
    NO_PAGE,
    NODE,
    OVERFLOW,
    PAGE,
    TABLE,
    TREE,
    Meta,
    Tree,
    read_meta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Row:
    """A leaf's node: its flags, key, and value (or where that lies, if it has pages of its own)."""

    flags: int
    key: bytes
    value: bytes
    length: int


def check(file: Path, sizes: Mapping[bytes, tuple[int, int]], transaction: int | None = None) -> None:
    """Damaged (naming the page) unless the file is one that LMDB can be trusted with.

    `sizes` gives for a table the bytes of its keys and the least bytes of its values. `transaction` names the snapshot,
    which its reader keeps alive meanwhile; None takes the last one, for a file that nobody else has open.
    """
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _Walk(fd, read_meta(fd, transaction)).walk(sizes)
    finally:
        os.close(fd)


class _Walk:
    """One look at all pages of a snapshot."""

    def __init__(self, fd: int, meta: Meta) -> None:
        self._fd = fd
        self._meta = meta
        self._size = meta.page_size
        if meta.last >= os.fstat(fd).st_size // self._size + (1 << 20):
            raise Damaged(f"its last page should be {meta.last}, far beyond its end")
        self._used = np.zeros(meta.last + 1, dtype=np.bool_)
        self._used[:2] = True
        self._counts = [0, 0, 0, 0]

    def walk(self, sizes: Mapping[bytes, tuple[int, int]]) -> None:
        tables: dict[bytes, Tree] = {}

        def name(row: Row) -> None:
            if row.flags != TABLE or row.length != TREE.size:
                raise Damaged(f"the table {row.key!r} is not described as one")
            tables[row.key] = Tree(*TREE.unpack(row.value))

        self._tree("the table of names", self._meta.main, name)
        for key, tree in tables.items():
            self._tree(repr(key.decode(errors="replace")), tree, None, sizes.get(key))
        free: list[bytes] = []
        self._tree("the free pages", self._meta.free, lambda row: free.append(self._value(row)))
        for value in free:
            self._take_free(value)

    def _tree(
        self,
        what: str,
        tree: Tree,
        look: Callable[[Row], None] | None,
        sizes: tuple[int, int] | None = None,
    ) -> None:
        self._counts = [0, 0, 0, 0]
        if tree.root != NO_PAGE:
            if not 0 < tree.depth <= DEEPEST:
                raise Damaged(f"{what} claims a depth of {tree.depth}")
            integers = bool(tree.flags & INTEGER_KEYS)
            _TreeWalk(self, what, look, sizes, integers=integers).descend(tree.root, tree.depth, None, None)
        if self._counts != [tree.branches, tree.leaves, tree.overflows, tree.entries]:
            raise Damaged(f"{what} has {self._counts} pages and rows where it says {tree}")

    def _value(self, row: Row) -> bytes:
        if not row.flags & BIG:
            return row.value
        (number,) = struct.unpack("<Q", row.value)
        return self._overflow(number, row.length)[HEAD : HEAD + row.length]

    def count(self, kind: int, number: int) -> None:
        """Count branches (0), leaves (1), overflow pages (2), rows (3)."""
        self._counts[kind] += number

    def overflow(self, row: Row) -> None:
        """The pages of a long value: there, its own, and used once."""
        (number,) = struct.unpack("<Q", row.value)
        pages = -(-(HEAD + row.length) // self._size)
        for page in range(number, number + pages):
            self._use(page)
        self.count(2, pages)
        self._overflow(number, row.length)

    def _overflow(self, number: int, length: int) -> bytes:
        pages = -(-(HEAD + length) // self._size)
        data = os.pread(self._fd, pages * self._size, number * self._size)
        own, _, flags, low, high = PAGE.unpack_from(data.ljust(HEAD, b"\0"))
        if len(data) != pages * self._size or (own, flags, low | high << 16) != (number, OVERFLOW, pages):
            raise Damaged(f"page {number} is not the long value that it should be")
        return data

    def page(self, number: int) -> bytes:
        """A page of a tree, used for the first time."""
        self._use(number)
        data = os.pread(self._fd, self._size, number * self._size)
        if len(data) != self._size:
            raise Damaged(f"page {number} lies beyond the end of the file: it was truncated")
        return data

    def _use(self, number: int) -> None:
        if number > self._meta.last or self._used[number]:
            raise Damaged(f"page {number} does not exist or is used twice")
        self._used[number] = True

    def _take_free(self, value: bytes) -> None:
        numbers = np.frombuffer(value[: len(value) // 8 * 8], dtype="<u8")
        if not len(numbers) or int(numbers[0]) >= len(numbers):
            raise Damaged("a list of free pages is longer than its row")
        for number in numbers[1 : int(numbers[0]) + 1].tolist():
            self._use(number)


@dataclass(slots=True)
class _TreeWalk:
    """One tree of a walk."""

    walk: _Walk
    what: str
    look: Callable[[Row], None] | None
    sizes: tuple[int, int] | None
    integers: bool

    def descend(self, number: int, depth: int, low: bytes | None, high: bytes | None) -> None:
        """A page and all below it, whose keys must lie from `low` on and before `high`."""
        data = self.walk.page(number)
        own, _, flags, lower, upper = PAGE.unpack_from(data)
        kind = LEAF if depth == 1 else BRANCH
        if (own, flags) != (number, kind) or not HEAD <= lower <= upper <= len(data) or lower % 2:
            raise self._wrong(number, "is not the page that it should be")
        self.walk.count(kind - 1, 1)
        offsets = np.frombuffer(data, dtype="<u2", count=(lower - HEAD) // 2, offset=HEAD).astype(np.int64)
        self._check_offsets(number, offsets, upper, len(data))
        if kind == LEAF:
            self._leaf(number, data, offsets, (low, high))
        else:
            self._branch(number, data, offsets, depth, (low, high))

    def _check_offsets(self, number: int, offsets: NDArray[np.int64], upper: int, size: int) -> None:
        wrong = len(offsets) == 0 or offsets.min() < upper or offsets.max() > size - NODE.size or (offsets % 2).any()
        if wrong:
            raise self._wrong(number, "has nodes that are none")

    def _leaf(
        self, number: int, data: bytes, offsets: NDArray[np.int64], bounds: tuple[bytes | None, bytes | None]
    ) -> None:
        self.walk.count(3, len(offsets))
        if self.look is None and self.sizes == (32, 16):
            self._check_keys(number, self._uniform(number, data, offsets), bounds)
            return
        rows = [self._row(number, data, offset) for offset in offsets.tolist()]
        lengths = {o: _even(8 + len(row.key) + len(row.value)) for o, row in zip(offsets.tolist(), rows, strict=True)}
        self._check_filled(number, lengths, len(data))
        self._check_keys(number, [row.key for row in rows], bounds)
        for row in rows:
            if self.sizes and (len(row.key) != self.sizes[0] or row.length < self.sizes[1]):
                raise self._wrong(number, "has a row of a size that none has")
            if row.flags == BIG:
                self.walk.overflow(row)
            if self.look is not None:
                self.look(row)

    def _uniform(self, number: int, data: bytes, offsets: NDArray[np.int64]) -> list[bytes]:
        """The keys of a leaf whose rows are all 32 and 16 bytes: the index's millions."""
        size = NODE.size + 48
        ordered = np.sort(offsets)
        expected = len(data) - size * np.arange(len(offsets), 0, -1)
        if not (ordered == expected).all():
            raise self._wrong(number, "has rows that overlap or leave gaps")
        page = np.frombuffer(data, dtype=np.uint8)
        heads = page[offsets[:, None] + np.arange(NODE.size)]
        if not (heads == np.frombuffer(NODE.pack(16, 0, 0, 32), dtype=np.uint8)).all():
            raise self._wrong(number, "has a row of a size that none has")
        return [data[at + 8 : at + 40] for at in offsets.tolist()]

    def _row(self, number: int, data: bytes, at: int) -> Row:
        low, high, flags, key = NODE.unpack_from(data, at)
        length = low | high << 16
        here = 8 if flags & BIG else length
        if flags not in {0, BIG, TABLE} or at + NODE.size + key + here > len(data):
            raise self._wrong(number, "has a row that does not fit")
        begins = at + NODE.size + key
        return Row(flags, data[at + NODE.size : begins], data[begins : begins + here], length)

    def _branch(
        self,
        number: int,
        data: bytes,
        offsets: NDArray[np.int64],
        depth: int,
        bounds: tuple[bytes | None, bytes | None],
    ) -> None:
        keys, children, lengths = [], [], {}
        for at in offsets.tolist():
            low, high, top, size = NODE.unpack_from(data, at)
            if at + NODE.size + size > len(data):
                raise self._wrong(number, "has a key that does not fit")
            keys.append(data[at + NODE.size : at + NODE.size + size])
            children.append(low | high << 16 | top << 32)
            lengths[at] = _even(NODE.size + size)
        self._check_filled(number, lengths, len(data))
        self._check_keys(number, keys[1:], bounds)
        edges = [bounds[0], *keys[1:], bounds[1]]
        for at, child in enumerate(children):
            self.descend(child, depth - 1, edges[at], edges[at + 1])

    def _check_filled(self, number: int, lengths: Mapping[int, int], size: int) -> None:
        """Nodes lie one after another up to the page's end."""
        at = min(lengths)
        for begins in sorted(lengths):
            if begins != at:
                raise self._wrong(number, "has rows that overlap or leave gaps")
            at += lengths[begins]
        if at != size:
            raise self._wrong(number, "has rows that end elsewhere than the page")

    def _check_keys(self, number: int, keys: list[bytes], bounds: tuple[bytes | None, bytes | None]) -> None:
        low, high = bounds
        if self.integers:
            ascending = [int.from_bytes(key, "little") for key in keys]
            right = all(a < b for a, b in itertools.pairwise(ascending))
        else:
            right = all(a < b for a, b in itertools.pairwise(keys))
            if keys:
                right = right and (low is None or low <= keys[0]) and (high is None or keys[-1] < high)
        if not right:
            raise self._wrong(number, "has keys out of order")

    def _wrong(self, number: int, why: str) -> Damaged:
        return Damaged(f"page {number} of {self.what} {why}")


def _even(size: int) -> int:
    return size + (size & 1)
