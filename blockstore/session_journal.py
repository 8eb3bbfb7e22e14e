"""The journal of a session, in which blocks arrive by number over many requests, and in several processes.

Appends come one after another: each takes the file's lock, reads on what others have appended, cuts off a torn tail,
and writes behind it. A number arrives once: again with the same digest it is passed over, with another one it is
refused.

The file is made before its pin, and an append never makes it: so what comes after the pin's end goes nowhere.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import journal
from blockstore.arrivals import ABSENT, FIRST, IS_HOLE, Arrivals
from blockstore.digest import HOLE
from blockstore.disk import disk_errors
from blockstore.errors import BlockConflict, BlockstoreError, Damaged, Missing
from blockstore.journal import HEADER_SIZE, RECORD_SIZE, numbers_of
from blockstore.leases.flock import wait_for_lock
from blockstore.manifest_format import LEAF_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.journal import Record
    from blockstore.sent_blocks import NumberRange

MOST_BLOCKS: Final = 1 << 24
"""Blocks of one session: 1 TiB at 64 KiB, and 64 MiB of memory when all of them have arrived."""
_AT_ONCE: Final = 1 << 14
_DIGEST: Final = 16
"""Where the digest stands in a record."""


def create(path: Path, store: bytes, pin: str, disk: Disk) -> None:
    """Make an empty journal, durable."""
    fd = disk.create(path)
    try:
        disk.write(fd, [journal.encode_header(store, bytes.fromhex(pin))], 0, str(path))
        disk.sync(fd, str(path))
    finally:
        os.close(fd)
    disk.sync_directory(path.parent)


class SessionJournal:
    """One session's journal, of an image with so many blocks; safe on several threads and in several processes.

    All methods raise Missing when the session is over, and StoreUnavailable or StoreFull as the disk does.
    """

    def __init__(self, path: Path, blocks: int, disk: Disk) -> None:
        self._path = path
        self._blocks = blocks
        self._disk = disk
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        self._records = 0
        self._synced = 0
        self._doubted = False
        """A write or a sync failed: what is not synced yet may be lost, and the next sync may not say so."""

    def append(self, records: Sequence[Record]) -> None:
        """Make records durable; BlockConflict, and none of them is there, if a number has arrived otherwise."""
        with self._opened() as fd:
            fresh = self._fresh(fd, records)
            end = HEADER_SIZE + self._records * RECORD_SIZE
            self._doubted = True
            try:
                self._disk.write(fd, [journal.encode_records(fresh, self._records)], end, str(self._path))
                self._disk.sync(fd, str(self._path))
            except BlockstoreError:
                # What could not be synced must not be there for whoever reads on.
                self._disk.truncate(fd, end, str(self._path))
                raise
            self._learn(fresh)
            self._synced, self._doubted = self._records, False

    def arrived(self, start: int, most: int) -> tuple[list[NumberRange], int | None]:
        """The numbers from `start` on that have arrived, as at most so many ranges; where to go on, or None."""
        with self._opened():
            return self._arrivals.ranges(start, most)

    def count(self) -> int:
        """How many numbers have arrived."""
        with self._opened():
            return self._arrivals.count

    def leaves(self) -> Iterator[tuple[int, list[bytes | None]]]:
        """Leaf by leaf of 1,024 numbers what has arrived: the first number, and the digests: HOLE, or None for none.

        As they are when each is asked for; leaves of which nothing has arrived are left out.
        """
        for key in range(-(-self._blocks // LEAF_BLOCKS)):
            with self._lock:
                leaf = self._arrivals.leaf(key)
            if not leaf.any():
                continue
            count = min(LEAF_BLOCKS, self._blocks - key * LEAF_BLOCKS)
            found: list[bytes | None] = [None] * count
            with disk_errors(str(self._path)), self._path.open("rb", buffering=0) as file:
                for at in np.flatnonzero(leaf).tolist():
                    found[at] = self._digest(file.fileno(), int(leaf[at]))
            yield key * LEAF_BLOCKS, found

    def has(self, number: int) -> bool:
        """Whether a block has arrived, as known at the last look."""
        with self._lock:
            return self._arrivals.at(number) != ABSENT

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with self._lock, disk_errors(str(self._path)):
            fd = self._disk.open(self._path)
            try:
                wait_for_lock(fd)
                if not os.fstat(fd).st_nlink:
                    raise Missing(f"{self._path} is gone")
                self._read_on(fd)
                yield fd
            finally:
                os.close(fd)

    def _read_on(self, fd: int) -> None:
        """Learn what others have appended, and make it durable: whoever did may have died before."""
        what = str(self._path)
        size = os.fstat(fd).st_size
        if not self._records:
            journal.check_header(os.pread(fd, HEADER_SIZE, 0), what)
        while True:
            begins = HEADER_SIZE + self._records * RECORD_SIZE
            data = _read(fd, min(_AT_ONCE * RECORD_SIZE, max(0, size - begins)), begins)
            found = list(journal.decode_records(data, 0, self._records))
            self._learn(found)
            if len(found) < _AT_ONCE:
                break
        end = HEADER_SIZE + self._records * RECORD_SIZE
        if size > end:
            self._disk.truncate(fd, end, what)
        if self._records > self._synced:
            self._make_durable(fd)

    def _make_durable(self, fd: int) -> None:
        """Sync what was read on; after a sync that failed it is written again first, for its pages may be dropped.

        It is not cut off: whoever wrote it may have synced and acknowledged it.
        """
        at, end = (HEADER_SIZE + records * RECORD_SIZE for records in (self._synced, self._records))
        while self._doubted and at < end:
            piece = _read(fd, min(_AT_ONCE * RECORD_SIZE, end - at), at)
            if not piece:
                raise Damaged(f"{self._path} ended while it was read")
            at = self._disk.write(fd, [piece], at, str(self._path))
        self._doubted = True
        self._disk.sync(fd, str(self._path))
        self._synced, self._doubted = self._records, False

    def _fresh(self, fd: int, records: Sequence[Record]) -> list[Record]:
        fresh, refused = [], []
        for record in records:
            is_run = record.digest == HOLE
            known = self._arrivals.of(numbers_of(record)) if is_run else [self._arrivals.at(record.number)]
            if any(self._digest(fd, place) != record.digest for place in known if place != ABSENT):
                refused.append(numbers_of(record))
            elif ABSENT in known:
                fresh.append(record)
        if refused:
            raise BlockConflict(
                f"Block {refused[0].first} has arrived with other bytes before: give this upload up, and begin anew.",
                refused,
            )
        return fresh

    def _learn(self, records: Sequence[Record]) -> None:
        for record in records:
            if numbers_of(record).stop > self._blocks:
                raise Damaged(f"{self._path} names block {numbers_of(record).first}, which its image does not have")
        self._arrivals.learn(records, self._records)
        self._records += len(records)

    @staticmethod
    def _digest(fd: int, place: int) -> bytes:
        """The digest of what the arrivals say of a block."""
        return HOLE if place == IS_HOLE else os.pread(fd, 32, HEADER_SIZE + (place - FIRST) * RECORD_SIZE + _DIGEST)


def _read(fd: int, length: int, at: int) -> bytes:
    """So many bytes, fewer only at the file's end: a disk that fails half-way makes a read short, and no torn tail."""
    data = os.pread(fd, length, at)
    while len(data) < length and (more := os.pread(fd, length - len(data), at + len(data))):
        data += more
    return data
