"""Checking packs: every byte of every entry, on several threads; then what the index says of each."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from blockstore.block import HEADER_SIZE, Place
from blockstore.disk import disk_errors
from blockstore.index.contract import PackState
from blockstore.pack_contents import (
    Contents,
    Spot,
    data_trouble,
    end_of,
    header_trouble,
    read_contents,
    read_run,
    runs,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.packs.pack_format import TableRow
    from blockstore.pipeline.crew import Crew
    from blockstore.throttle import Throttle


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
                return CheckedPack(record, path, (), (Spot(0, 0, "the pack is gone"),), 0)
            try:
                return self._check(fd, record, path)
            finally:
                os.close(fd)

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
                found = [(entry, data_trouble(entry, data)) for entry, data in read_run(fd, run)]
            else:
                self.throttle.take(HEADER_SIZE * len(run))
                found = [(entry, header_trouble(entry, os.pread(fd, HEADER_SIZE, entry.offset))) for entry in run]
            for entry, trouble in found:
                if trouble is not None:
                    yield Spot(entry.offset, end_of(entry), trouble, entry.digest)


def place_of(pack: int, entry: TableRow) -> Place:
    """Where the index would say that an entry lies."""
    return Place(pack, entry.offset, entry.frame_length, entry.raw_length)
