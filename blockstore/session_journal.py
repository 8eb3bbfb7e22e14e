"""The journal of a session, in which blocks arrive by number over many requests, and in several processes.

Appends come one after another: each takes the file's lock, reads on what others have appended, cuts off a torn tail,
and writes behind it. A number arrives once: again with the same digest it is passed over, with another one it is
refused. What was acknowledged is never taken for a torn tail: a journal with fewer records is damaged, and stays as it
is. It is never cut off either, so it is read without the file's lock, and only what is behind it with it: long reading
keeps no other process waiting. Nobody waits longer than PATIENCE.

The file is made before its pin, and an append never makes it: so what comes after the pin's end goes nowhere.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import journal, unnamed
from blockstore.arrivals import ABSENT, FIRST, IS_HOLE, Arrivals
from blockstore.digest import HOLE
from blockstore.disk import disk_errors
from blockstore.errors import BlockConflict, BlockstoreError, Damaged, JournalDamaged, Missing, StoreUnavailable
from blockstore.journal import (
    HEADER_SIZE,
    PIECE,
    RECORD_SIZE,
    decode_records,
    fetch,
    lost,
    numbers_in,
    numbers_of,
    read_at,
)
from blockstore.leases.flock import try_lock_for
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.unnamed import Hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.disk import Disk
    from blockstore.journal import Record
    from blockstore.sent_blocks import NumberRange

MOST_BLOCKS: Final = 1 << 24
"""Blocks of one session: 1 TiB at 64 KiB, and 64 MiB of memory when all of them have arrived."""
PATIENCE: Final = 10.0
"""Seconds that one waits for a journal: threads that sync for everybody wait here, too."""


def create(path: Path, store: bytes, pin: str, disk: Disk) -> Hold:
    """Make an empty journal, durable; until the hold goes no collection removes it, and nobody appends to it."""
    hold = Hold(fd := unnamed.create(disk, path))
    try:
        disk.write(fd, [journal.encode_header(store, bytes.fromhex(pin))], 0, str(path))
        disk.sync(fd, str(path))
        disk.sync_directory(path.parent)
    except BaseException:
        hold.release()
        raise
    return hold


class SessionJournal:
    """One session's journal, of an image with so many blocks; safe on several threads and in several processes.

    All methods raise Missing when the session is over, JournalDamaged when it has lost what was acknowledged, and
    StoreUnavailable or StoreFull as the disk does, or after `patience` seconds.
    """

    def __init__(self, path: Path, blocks: int, disk: Disk, *, acknowledged: int, patience: float = PATIENCE) -> None:
        self._path = path
        self._blocks = blocks
        self._disk = disk
        self.acknowledged = acknowledged
        """So many records, at least, were acknowledged."""
        self._patience = patience
        self._in_vain = False
        """Somebody has waited: until the journal is free nobody else does."""
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

    @property
    def taken(self) -> int:
        """About how many bytes of memory this takes."""
        return self._arrivals.taken

    def append(self, records: Sequence[Record]) -> None:
        """Make records durable; BlockConflict, and none of them is there, if a number has arrived otherwise."""
        with self._opened() as fd:
            data = journal.encode_records(self._fresh(fd, records), self._records)
            end = HEADER_SIZE + self._records * RECORD_SIZE
            self._doubted = True
            try:
                self._disk.write(fd, [data], end, str(self._path))
                self._disk.sync(fd, str(self._path))
            except BlockstoreError:
                # What could not be synced must not be there for whoever reads on.
                self._disk.truncate(fd, end, str(self._path))
                raise
            self._learn(decode_records(data, self._records))
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
        fd = self._disk.open(self._path)
        try:
            for key in range(-(-self._blocks // LEAF_BLOCKS)):
                with self._lock:
                    leaf = self._arrivals.leaf(key)
                if leaf.any():
                    with disk_errors(str(self._path)), _what_to_do():
                        names = self._names(fd, leaf[: self._blocks - key * LEAF_BLOCKS])
                    yield key * LEAF_BLOCKS, names
        finally:
            os.close(fd)

    def has(self, number: int) -> bool:
        """Whether a block has arrived, as known at the last look."""
        with self._lock:
            return self._arrivals.at(number) != ABSENT

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, locked, and all of it known."""
        patience = 0.0 if self._in_vain else self._patience
        if not self._lock.acquire(timeout=patience):
            raise self._held()
        try:
            with disk_errors(str(self._path)), _what_to_do():
                fd = self._disk.open(self._path)
                try:
                    self._read_acknowledged(fd)
                    self._in_vain = not try_lock_for(fd, patience)
                    if self._in_vain:
                        raise self._held()
                    if not os.fstat(fd).st_nlink:
                        raise Missing(f"{self._path} is gone")
                    self._read_on(fd)
                    yield fd
                finally:
                    os.close(fd)
        finally:
            self._lock.release()

    def _read_acknowledged(self, fd: int) -> None:
        """Learn what is durable and never cut off, without the file's lock."""
        if not self._records:
            journal.check_header(read_at(fd, HEADER_SIZE, 0, self._path), str(self._path))
        acknowledged = self.acknowledged
        while self._records < acknowledged:
            if not self._learn(self._piece(fd, acknowledged)):
                raise lost(self._path, self._records, acknowledged)
        self._synced = max(self._synced, acknowledged)

    def _read_on(self, fd: int) -> None:
        """Learn what others have appended, and make it durable: whoever did may have died before."""
        size = os.fstat(fd).st_size
        there = max(0, size - HEADER_SIZE) // RECORD_SIZE
        if there < self._records:
            raise lost(self._path, there, self._records)
        while self._learn(self._piece(fd, there)):
            pass
        end = HEADER_SIZE + self._records * RECORD_SIZE
        if size > end:
            self._disk.truncate(fd, end, str(self._path))
        if self._records > self._synced:
            self._make_durable(fd)

    def _piece(self, fd: int, stop: int) -> NDArray[np.void]:
        """The next records that are not known, none of them beyond record `stop`."""
        length = min(PIECE, stop - self._records) * RECORD_SIZE
        return decode_records(read_at(fd, length, HEADER_SIZE + self._records * RECORD_SIZE, self._path), self._records)

    def _make_durable(self, fd: int) -> None:
        """Sync what was read on; after a sync that failed it is written again first, for its pages may be dropped.

        It is not cut off: whoever wrote it may have synced and acknowledged it.
        """
        at, end = (HEADER_SIZE + records * RECORD_SIZE for records in (self._synced, self._records))
        while self._doubted and at < end:
            piece = read_at(fd, min(PIECE * RECORD_SIZE, end - at), at, self._path)
            if not piece:
                raise Damaged(f"{self._path} ended while it was read")
            at = self._disk.write(fd, [piece], at, str(self._path))
        self._doubted = True
        self._disk.sync(fd, str(self._path))
        self._synced, self._doubted = self._records, False

    def _fresh(self, fd: int, records: Sequence[Record]) -> list[Record]:
        """Those that say something new; BlockConflict names those that say something else than what has arrived."""
        fresh, refused = [], []
        again: list[tuple[int, Record]] = []
        for record in records:
            if record.digest == HOLE:
                absent, data = self._arrivals.about(numbers_of(record))
                if data:
                    refused.append(numbers_of(record))
                elif absent:
                    fresh.append(record)
                continue
            place = self._arrivals.at(record.number)
            if place == ABSENT:
                fresh.append(record)
            elif place == IS_HOLE:
                refused.append(numbers_of(record))
            else:
                again.append((place - FIRST, record))
        known = fetch(fd, np.array([seq for seq, _ in again], dtype=np.int64), self._path)["digest"]
        refused += [
            numbers_of(record)
            for (_, record), name in zip(again, known, strict=True)
            if name.tobytes() != record.digest
        ]
        if refused:
            raise BlockConflict(
                f"Block {refused[0].first} has arrived with other bytes before: give this upload up, and begin anew.",
                refused,
            )
        return fresh

    def _learn(self, records: NDArray[np.void]) -> int:
        """Keep what these say, the next ones of the journal; how many they are."""
        numbers = numbers_in(records)
        wrong = numbers.beyond(self._blocks)
        if wrong is not None:
            raise Damaged(f"{self._path} names block {wrong.first}, which its image does not have")
        self._arrivals.learn(numbers, self._records)
        self._records += len(records)
        return len(records)

    def _names(self, fd: int, leaf: NDArray[np.uint32]) -> list[bytes | None]:
        """What the arrivals say of some blocks, as digests."""
        found: list[bytes | None] = [HOLE if what == IS_HOLE else None for what in leaf.tolist()]
        data = np.flatnonzero(leaf >= FIRST)
        names = fetch(fd, leaf[data].astype(np.int64) - FIRST, self._path)["digest"]
        for at, name in zip(data.tolist(), names, strict=True):
            found[at] = name.tobytes()
        return found

    def _held(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._path} was not free within {self._patience:.0f} s: it is long and just being read, or another "
            "process that uses this data directory is stopped or stuck"
        )


@contextmanager
def _what_to_do() -> Iterator[None]:
    """Damage of a session's journal is told with the way out."""
    try:
        yield
    except Damaged as error:
        raise JournalDamaged(f"{error}: give this upload up, and push the image again") from error
