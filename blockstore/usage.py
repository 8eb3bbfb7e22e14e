"""How much of each pack is in use: rows by pack from the index, entries by pack from the packs themselves."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.block import HEADER_SIZE
from blockstore.disk import disk_errors
from blockstore.index.contract import PackState
from blockstore.pack_contents import read_contents
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import START_SIZE, TRAILER_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord


AT_ONCE: Final = 1 << 18
"""Rows that are counted together: with thousands of packs, few of a batch's rows are of the same one."""


class Usage:
    """What rows name: how many and how long (as stored, entry headers included, and raw), by pack and in all."""

    def __init__(self) -> None:
        self.raw = 0
        self._rows: Counter[int] = Counter()
        self._stored: Counter[int] = Counter()
        self._waiting: list[tuple[NDArray[np.uint32], NDArray[np.uint32], int]] = []
        self._count = 0

    @property
    def rows(self) -> Counter[int]:
        """How many, by pack's number."""
        self._settle()
        return self._rows

    @property
    def stored(self) -> Counter[int]:
        """Bytes as stored, by pack's number."""
        self._settle()
        return self._stored

    def add(self, rows: NDArray[np.void], chosen: NDArray[np.bool_] | None = None) -> None:
        """Count rows, an array of ROW, or those of them that are chosen."""
        self._note(rows, 1, chosen)

    def take(self, rows: NDArray[np.void]) -> None:
        """Count rows no more that were added before."""
        self._note(rows, -1, None)

    def merge(self, other: Usage) -> None:
        """Count what another one has counted, too; that one is not used again."""
        self._rows.update(other._rows)
        self._stored.update(other._stored)
        self.raw += other.raw
        self._waiting += other._waiting
        self._count += other._count
        self._settle_enough()

    def _note(self, rows: NDArray[np.void], sign: int, chosen: NDArray[np.bool_] | None) -> None:
        # Column by column: to choose whole rows copies their digests, too.
        columns = (np.ascontiguousarray(rows[name]) for name in ("pack", "frame", "raw"))
        packs, frames, raw = (column if chosen is None else column[chosen] for column in columns)
        if len(packs):
            self._waiting.append((packs, frames, sign))
            self._count += len(packs)
            self.raw += sign * int(raw.sum(dtype=np.uint64))
            self._settle_enough()

    def _settle_enough(self) -> None:
        if self._count >= AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Count what is waiting."""
        if not self._waiting:
            return
        signs = np.concatenate([np.full(len(packs), sign, np.int8) for packs, _, sign in self._waiting])
        frames = np.concatenate([frames for _, frames, _ in self._waiting])
        numbers, where = _numbered(np.concatenate([packs for packs, _, _ in self._waiting]))
        self._waiting.clear()
        self._count = 0
        counts = np.bincount(where, weights=signs)
        sizes = np.bincount(where, weights=(frames.astype(np.float64) + HEADER_SIZE) * signs)
        met = np.flatnonzero((counts != 0) | (sizes != 0))
        for number, count, size in zip(numbers[met].tolist(), counts[met].tolist(), sizes[met].tolist(), strict=True):
            self._rows[number] += int(count)
            self._stored[number] += int(size)


def _numbered(packs: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packs' numbers, and for each row which of them is its own. They are close together, but for damaged rows."""
    low, high = int(packs.min()), int(packs.max())
    if high - low < AT_ONCE:
        return np.arange(low, high + 1), packs.astype(np.int64) - low
    numbers, where = np.unique(packs, return_inverse=True)
    return numbers.astype(np.int64), where


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
        begins = pack_format.table_begins(resync.read_past(fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)), size)
        if begins is not None:
            return Occupied(size, taken, pack_format.rows_between(begins, size), begins - START_SIZE)
    path = str(store.packs.path(record.name))
    entries = read_contents(fd, path, store.data.store, record.name, stop=size).entries
    return Occupied(size, taken, len(entries), sum(HEADER_SIZE + entry.frame_length for entry in entries))
