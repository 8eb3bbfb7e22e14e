"""The journal of a session, in which blocks arrive by number over many requests, and in several processes.

Appends come one after another: each takes the file's lock, reads on what others have appended, cuts off a torn tail,
and writes behind it. A number arrives once: again with the same digest it is passed over, with another one it is
refused. What was acknowledged is never taken for a torn tail: a journal with fewer records is damaged, and stays as it
is.

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
from blockstore.errors import BlockConflict, BlockstoreError, Damaged, JournalDamaged, Missing
from blockstore.journal import HEADER_SIZE, PIECE, RECORD_SIZE, lost, numbers_of, read_at
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

    All methods raise Missing when the session is over, JournalDamaged when it has lost what was acknowledged, and
    StoreUnavailable or StoreFull as the disk does.
    """

    def __init__(self, path: Path, blocks: int, disk: Disk, *, acknowledged: int) -> None:
        self._path = path
        self._blocks = blocks
        self._disk = disk
        self.acknowledged = acknowledged
        """So many records, at least, were acknowledged."""
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        self._records = 0
        self._synced = 0
        self._doubted = False
        """A write or a sync failed: what is not synced yet may be lost, and the next sync may not say so."""

    @property
    def records(self) -> int:
        """How many records are known to be there, and durable."""
        return self._synced

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
        size = os.fstat(fd).st_size
        if not self._records:
            self._check_header(fd)
        while True:
            begins = HEADER_SIZE + self._records * RECORD_SIZE
            data = read_at(fd, min(PIECE * RECORD_SIZE, max(0, size - begins)), begins, self._path)
            found = list(journal.decode_records(data, 0, self._records))
            self._learn(found)
            if len(found) < PIECE:
                break
        end = HEADER_SIZE + self._records * RECORD_SIZE
        if size < end or self._records < self.acknowledged:
            there = min(self._records, max(0, size - HEADER_SIZE) // RECORD_SIZE)
            raise self._damaged(str(lost(self._path, there, max(self._records, self.acknowledged))))
        if size > end:
            self._disk.truncate(fd, end, str(self._path))
        if self._records > self._synced:
            self._make_durable(fd)

    def _make_durable(self, fd: int) -> None:
        """Sync what was read on; after a sync that failed it is written again first, for its pages may be dropped.

        It is not cut off: whoever wrote it may have synced and acknowledged it.
        """
        at, end = (HEADER_SIZE + records * RECORD_SIZE for records in (self._synced, self._records))
        while self._doubted and at < end:
            piece = read_at(fd, min(PIECE * RECORD_SIZE, end - at), at, self._path)
            if not piece:
                raise self._damaged(f"{self._path} ended while it was read")
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
                first = numbers_of(record).first
                raise self._damaged(f"{self._path} names block {first}, which its image does not have")
        self._arrivals.learn(records, self._records)
        self._records += len(records)

    def _digest(self, fd: int, place: int) -> bytes:
        """The digest of what the arrivals say of a block."""
        if place == IS_HOLE:
            return HOLE
        seq = place - FIRST
        data = read_at(fd, RECORD_SIZE, HEADER_SIZE + seq * RECORD_SIZE, self._path)
        for record in journal.decode_records(data, 0, seq):
            return record.digest
        raise self._damaged(f"{self._path} has lost record {seq}")

    def _check_header(self, fd: int) -> None:
        try:
            journal.check_header(read_at(fd, HEADER_SIZE, 0, self._path), str(self._path))
        except Damaged as error:
            raise self._damaged(str(error)) from error

    @staticmethod
    def _damaged(why: str) -> JournalDamaged:
        return JournalDamaged(f"{why}: give this upload up, and push the image again")
