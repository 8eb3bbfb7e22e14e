"""Checking packs: every byte of every entry, on several threads; then what the index says of each."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.block import HEADER_SIZE, Place
from blockstore.disk import disk_errors
from blockstore.findings import Finding
from blockstore.index.contract import PackState
from blockstore.pack_contents import (
    NO_ENTRY,
    Contents,
    Spot,
    checked_run,
    end_of,
    header_trouble,
    read_contents,
    runs,
)
from blockstore.packs.resync import read_past

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.findings import Suspects, Verified
    from blockstore.index.contract import PackRecord
    from blockstore.packs.pack_format import TableRow
    from blockstore.pipeline.crew import Crew
    from blockstore.throttle import Throttle


GONE: Final = "the pack is gone"


@dataclass(frozen=True, slots=True)
class CheckedPack:
    """A pack after its check: its entries, what is wrong (by entry where that is known), and how much was read."""

    record: PackRecord
    path: Path
    entries: tuple[TableRow, ...]
    spots: tuple[Spot, ...]
    size: int


@dataclass(frozen=True, slots=True)
class PackCheck:
    """How packs are checked: only headers and tables, or with `data` every byte."""

    store: BareStore
    crew: Crew
    throttle: Throttle
    data: bool
    stop: threading.Event
    ahead: int
    """Packs that are checked or wait to be told of."""
    from_disk: bool = False
    """Read what the disk has, not what the kernel kept of it, and leave nothing kept."""

    def all(self, records: Iterable[PackRecord]) -> Iterator[CheckedPack]:
        """Each pack, checked, in order; a few at once. Packs whose file is gone have one spot."""
        waiting: deque[Future[CheckedPack]] = deque()
        try:
            for record in records:
                waiting.append(self.crew.call(partial(self.one, record)))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            self.stop.set()

    def one(self, record: PackRecord) -> CheckedPack:
        """One pack. An open one is checked up to the end of what rows ever named: the rest is its writer's."""
        path = self.store.packs.path(record.name)
        if record.state is PackState.OPEN and not record.indexed_end:
            # Its file may be empty yet, or torn where its writer died: nothing in it was acknowledged.
            return CheckedPack(record, path, (), (), 0)
        with disk_errors(str(path)):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return CheckedPack(record, path, (), (Spot(0, 0, GONE),), 0)
            try:
                self._let_go(fd)
                return self._check(fd, record, path)
            finally:
                self._let_go(fd)
                os.close(fd)

    def _let_go(self, fd: int) -> None:
        if self.from_disk:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _check(self, fd: int, record: PackRecord, path: Path) -> CheckedPack:
        stop = record.indexed_end if record.state is PackState.OPEN else None
        size = os.fstat(fd).st_size
        contents = read_contents(fd, str(path), self.store.data.store, record.name, stop)
        spots = [*contents.spots, *self._entries(fd, contents)]
        if stop is not None and size < stop:
            spots.append(Spot(size, stop, "the pack was truncated: rows name blocks beyond its end"))
        return CheckedPack(record, path, tuple(contents.entries), tuple(spots), size)

    def _entries(self, fd: int, contents: Contents) -> Iterator[Spot]:
        for run in runs(contents.entries):
            if self.stop.is_set():
                return
            if self.data:
                self.throttle.take(end_of(run[-1]) - run[0].offset)
                found = [(entry, trouble) for entry, _, trouble in checked_run(fd, run)]
            else:
                self.throttle.take(HEADER_SIZE * len(run))
                found = [(entry, header_trouble(entry, read_past(fd, HEADER_SIZE, entry.offset))) for entry in run]
            for entry, trouble in found:
                if trouble is not None:
                    yield Spot(entry.offset, end_of(entry), trouble, entry.digest)


def compare_pack(store: BareStore, pack: CheckedPack, result: Verified, suspects: Suspects) -> int:
    """Tell what is wrong with a pack: a damaged entry that a row names harms, others don't. How many a row names.

    Where no entry can be read, the rows that expect one are told of by whoever looks at rows.
    """
    number = pack.record.number
    places = store.index.get_many([entry.digest for entry in pack.entries], hidden=True)
    named = {
        entry.offset for entry, place in zip(pack.entries, places, strict=True) if place == place_of(number, entry)
    }
    result.packs += 1
    result.entries += len(pack.entries)
    result.bytes += pack.size
    result.dead_entries += len(pack.entries) - len(named)
    entries = {entry.offset: entry for entry in pack.entries}
    for spot in pack.spots:
        if spot.why == GONE and not _is_wanted(store, pack.record):
            continue
        harmless = spot.why == NO_ENTRY if spot.digest is None else spot.begins not in named
        block = None if spot.digest is None else spot.digest.hex()
        result.add(Finding(str(pack.path), spot.begins, spot.ends, spot.why, block, harmless))
        if spot.digest is not None and not harmless:
            suspects.add(spot.digest, place_of(number, entries[spot.begins]))
    return len(named)


def _is_wanted(store: BareStore, record: PackRecord) -> bool:
    """Whether a pack without a file should have one: it is in the register still, and had a first byte."""
    now = store.index.pack(record.number)
    return now is not None and now.state is not PackState.RETIRING and now.indexed_end > 0


def place_of(pack: int, entry: TableRow) -> Place:
    """Where the index would say that an entry lies."""
    return Place(pack, entry.offset, entry.frame_length, entry.raw_length)
