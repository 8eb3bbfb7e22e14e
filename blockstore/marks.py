"""A set of blocks that is larger than memory: what roots reach, to be compared with the index.

A mark is the first eight bytes of a digest as a number, since numpy sorts and searches numbers many times as fast as
texts. Up to RUN of them are kept in memory; then they are sorted and spilled to a nameless temporary file (in TMPDIR),
which is gone when the process is. They come back by buckets, one for each first byte of a digest, sorted and without
doubles, so that they can be merged with the index's rows, which are in that order too: 20 M marks take 160 MB of disk
and, while they are sorted, 100 MiB of memory. That a mark is only a part of a digest can keep a block that nobody
needs, never lose one: by chance once in a million collections of 10 M blocks, and whoever makes two blocks with one
mark keeps one block longer than he must.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.disk import disk_errors
from blockstore.errors import StoreUnavailable
from blockstore.index.contract import ROW

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from io import BufferedRandom

    from numpy.typing import NDArray

MARK: Final = np.dtype(np.uint64)
RUN: Final = 4 << 20
"""Marks in memory: 32 MiB."""
BUCKETS: Final = 256
_FULL: Final = "the temporary file for marks (the variable TMPDIR chooses its place)"


def prefixes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The marks of digests of shape (n, 32): n numbers in the order of their digests."""
    marks: NDArray[np.uint64] = np.ascontiguousarray(digests[:, : MARK.itemsize]).view(">u8").ravel().astype(MARK)
    return marks


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted marks: `ends[b]` is where those that begin with byte b do. Without `marks`: in the file, at `at`."""

    ends: NDArray[np.int64]
    at: int
    marks: NDArray[np.uint64] | None


@dataclass(slots=True)
class Marks:
    """Add digests, then ask by bucket, then close. `count` counts what was added, doubles included."""

    run: int = RUN
    count: int = 0
    _new: list[NDArray[np.uint64]] = field(default_factory=list)
    _waiting: int = 0
    _runs: list[_Run] = field(default_factory=list)
    _file: BufferedRandom | None = None

    def add(self, digests: NDArray[np.uint8]) -> None:
        """Mark blocks; shape (n, 32). StoreFull if the temporary file finds no room."""
        if len(digests):
            self._new.append(prefixes(digests))
            self._waiting += len(digests)
            self.count += len(digests)
        if self._waiting >= self.run:
            self._settle(spill=True)

    def bucket(self, first: int) -> NDArray[np.uint64]:
        """The marks of digests that begin with the byte `first`, ascending, each once."""
        if self._new:
            self._settle(spill=bool(self._runs))
        parts = [self._part(run, int(run.ends[first]), int(run.ends[first + 1])) for run in self._runs]
        if len(parts) == 1:
            return parts[0]
        return _each_once(np.concatenate(parts)) if parts else np.empty(0, dtype=MARK)

    def buckets(self) -> Iterator[NDArray[np.uint64]]:
        """All marks in order, by first byte."""
        for first in range(BUCKETS):
            yield self.bucket(first)

    def close(self) -> None:
        """Give back the file and the memory."""
        self._new.clear()
        self._runs.clear()
        if self._file is not None:
            self._file.close()

    def _settle(self, *, spill: bool) -> None:
        """Make a run of what is new."""
        # They stay in `_new` until they are a run: after an error nobody must find them missing.
        joined = np.concatenate(self._new)
        self._new = [joined]
        marks = _each_once(joined)
        edges = np.arange(BUCKETS, dtype=MARK) << np.uint64(56)
        ends = np.append(np.searchsorted(marks, edges), len(marks))
        self._runs.append(_Run(ends, self._write(marks), None) if spill else _Run(ends, 0, marks))
        self._new.clear()
        self._waiting = 0

    def _write(self, marks: NDArray[np.uint64]) -> int:
        with disk_errors(_FULL):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="drystone-marks-")  # noqa: SIM115 - lives as long as the marks
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(marks.data)
            self._file.flush()
        return at

    def _part(self, run: _Run, begins: int, ends: int) -> NDArray[np.uint64]:
        if run.marks is not None:
            return run.marks[begins:ends]
        assert self._file is not None
        with disk_errors(_FULL):
            data = os.pread(self._file.fileno(), (ends - begins) * MARK.itemsize, run.at + begins * MARK.itemsize)
        if len(data) != (ends - begins) * MARK.itemsize:
            # Marks that are missing would make garbage of what lives.
            raise StoreUnavailable(f"{_FULL} is shorter than it was written")
        return np.frombuffer(data, dtype=MARK)


def _each_once(marks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted, in place, and without doubles."""
    marks.sort()
    first = np.empty(len(marks), dtype=np.bool_)
    first[:1] = True
    np.not_equal(marks[1:], marks[:-1], out=first[1:])
    return marks[first]


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of the index, in order: which of them are marked; and marks before the next rows that have no row."""

    rows: NDArray[np.void]
    marked: NDArray[np.bool_]
    missing: NDArray[np.uint64]


def compare(batches: Iterable[NDArray[np.void]], marks: Marks) -> Iterator[Compared]:
    """Merge the index's rows (arrays of ROW, ascending) with the marks, both bucket by bucket."""
    no_marks = np.empty(0, dtype=MARK)
    bucket = _Bucket(marks, 0)
    for batch in batches:
        rest = batch
        while len(rest):
            first = int(rest["digest"][0, 0])
            bucket = yield from _without_rows(bucket, marks, until=first)
            count = int(np.searchsorted(rest["digest"][:, 0], first, side="right"))
            yield Compared(rest[:count], bucket.meet(prefixes(rest[:count]["digest"])), no_marks)
            rest = rest[count:]
    yield from _without_rows(bucket, marks, until=BUCKETS)


def _without_rows(bucket: _Bucket, marks: Marks, *, until: int) -> Generator[Compared, None, _Bucket]:
    """What no row has met in the buckets before `until`, which is the one that it gives."""
    no_rows, none_marked = np.empty(0, dtype=ROW), np.empty(0, dtype=np.bool_)
    while bucket.first < until:
        missing = bucket.missing()
        # A small store has hundreds of buckets with nothing in them.
        if len(missing):
            yield Compared(no_rows, none_marked, missing)
        bucket = _Bucket(marks, bucket.first + 1)
    return bucket


class _Bucket:
    """The marks of one bucket, and which of them were met; those of the one behind the last are none."""

    def __init__(self, marks: Marks, first: int) -> None:
        self.first = first
        self._marks = marks.bucket(first) if first < BUCKETS else np.empty(0, dtype=MARK)
        self._met = np.zeros(len(self._marks), dtype=np.bool_)

    def meet(self, rows: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows are marked."""
        found = np.zeros(len(rows), dtype=np.bool_)
        if len(self._marks):
            at = np.minimum(np.searchsorted(self._marks, rows), len(self._marks) - 1)
            found = self._marks[at] == rows
            self._met[at[found]] = True
        return found

    def missing(self) -> NDArray[np.uint64]:
        return self._marks[~self._met]
