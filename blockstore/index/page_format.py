"""The records of an LMDB file, as LMDB 0.9 writes them (mdb.c): pages, meta pages, trees, nodes."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore.errors import Damaged

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = 0xBEEFC0DE
VERSION: Final = 1
HEAD: Final = 16
"""Bytes of a page's header; the offsets of its nodes follow."""
BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8
BIG, TABLE = 1, 2
INTEGER_KEYS: Final = 8
DEEPEST: Final = 32
PAGE: Final = struct.Struct("<QHHHH")
_META: Final = struct.Struct("<IIQQ")
TREE: Final = struct.Struct("<IHHQQQQQ")
_LAST: Final = struct.Struct("<QQ")
NODE: Final = struct.Struct("<HHHH")
NO_PAGE: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as its record says: 48 bytes in a meta page, or as the value of a table's name."""

    pad: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


@dataclass(frozen=True, slots=True)
class Meta:
    """A meta page: the free pages' tree, the tree of names, the last page and the transaction that wrote it."""

    free: Tree
    main: Tree
    last: int
    transaction: int

    @property
    def page_size(self) -> int:
        """Bytes a page."""
        return self.free.pad


def length(file: Path) -> int:
    """How long the file should be for its last page to lie within, in bytes; Damaged if its meta pages are."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        meta = read_meta(fd, None)
    finally:
        os.close(fd)
    return (meta.last + 1) * meta.page_size


def read_meta(fd: int, transaction: int | None) -> Meta:
    """The meta page of a transaction, or of the last one; Damaged if it is not right."""
    size = _decode_meta(os.pread(fd, 4096, 0), 0).page_size
    metas = [_decode_meta(os.pread(fd, size, number * size), number) for number in (0, 1)]
    if transaction is not None:
        found = metas[transaction & 1]
        if found.transaction != transaction:
            raise Damaged(f"no meta page is that of transaction {transaction}")
        return found
    even, odd = (meta.transaction for meta in metas)
    # Transactions write the two in turn. With another number in one of them, LMDB would go back in time in silence.
    if (even or odd) and (even % 2 or abs(even - odd) != 1):
        raise Damaged(f"its meta pages name the transactions {even} and {odd}, which do not follow one another")
    return max(metas, key=lambda meta: meta.transaction)


def _decode_meta(page: bytes, number: int) -> Meta:
    if len(page) < HEAD + _META.size + 2 * TREE.size + _LAST.size:
        raise Damaged(f"meta page {number} is missing")
    own, _, flags, _, _ = PAGE.unpack_from(page)
    magic, version, _, _ = _META.unpack_from(page, HEAD)
    at = HEAD + _META.size
    free, main = (Tree(*TREE.unpack_from(page, at + each * TREE.size)) for each in (0, 1))
    last, transaction = _LAST.unpack_from(page, at + 2 * TREE.size)
    right = (own, flags, magic, version, free.flags, main.flags) == (number, META, MAGIC, VERSION, INTEGER_KEYS, 0)
    if not right or free.pad not in {4096, 8192, 16384, 32768, 65536} or last >> 40:
        raise Damaged(f"meta page {number} is damaged")
    return Meta(free, main, last, transaction)
