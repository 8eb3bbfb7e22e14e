"""How much of each pack is in use: rows by pack from the index, entries by pack from the packs themselves."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from blockstore.block import HEADER_SIZE
from blockstore.disk import disk_errors
from blockstore.index.contract import PackState
from blockstore.pack_contents import read_contents
from blockstore.packs import pack_format
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord


@dataclass(slots=True)
class Usage:
    """What rows name: how many and how long (as stored, entry headers included, and raw), by pack and in all."""

    rows: Counter[int] = field(default_factory=Counter)
    stored: Counter[int] = field(default_factory=Counter)
    raw: int = 0

    def add(self, rows: NDArray[np.void]) -> None:
        """Count rows; an array of ROW."""
        if not len(rows):
            return
        numbers, where, counts = np.unique(rows["pack"], return_inverse=True, return_counts=True)
        sizes = np.bincount(where, weights=rows["frame"].astype(np.float64) + HEADER_SIZE)
        for number, count, size in zip(numbers.tolist(), counts.tolist(), sizes.tolist(), strict=True):
            self.rows[number] += count
            self.stored[number] += int(size)
        self.raw += int(rows["raw"].sum(dtype=np.uint64))


@dataclass(frozen=True, slots=True)
class Occupied:
    """A pack's file: its length and what it takes on the disk, its entries and their bytes. None: there is no file."""

    size: int
    taken: int
    entries: int
    bytes: int


def occupied(store: BareStore, record: PackRecord) -> Occupied | None:
    """What a pack has, live or dead. A sealed one tells by its trailer; another, or a damaged one, is walked over."""
    path = store.packs.path(record.name)
    with disk_errors(str(path)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return _occupied(fd, store, record)
        finally:
            os.close(fd)


def _occupied(fd: int, store: BareStore, record: PackRecord) -> Occupied:
    about = os.fstat(fd)
    size, taken = about.st_size, about.st_blocks * 512
    if record.state is not PackState.OPEN:
        begins = pack_format.table_begins(os.pread(fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)), size)
        if begins is not None:
            return Occupied(size, taken, pack_format.rows_between(begins, size), begins - START_SIZE)
    path = str(store.packs.path(record.name))
    entries = read_contents(fd, path, store.data.store, record.name, stop=size).entries
    return Occupied(size, taken, len(entries), sum(HEADER_SIZE + entry.frame_length for entry in entries))
