"""A set of blocks that is larger than memory: what roots reach, to be compared with the index.

A mark is the first 16 bytes of a digest. Up to RUN of them are kept in memory; then they are sorted and spilled to a
nameless temporary file (in TMPDIR), which is gone when the process is. They come back by buckets, one for each first
byte of a digest, sorted and without doubles, so that they can be merged with the index's rows, which are in that order
too: 20 M marks take 320 MB of disk and 64 MiB of memory. That a mark is only half a digest can keep a block that
nobody needs, never lose one.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.disk import disk_errors
from blockstore.index.contract import ROW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedRandom

    from numpy.typing import NDArray

SIZE: Final = 16
RUN: Final = 4 << 20
"""Marks in memory: 64 MiB."""
BUCKETS: Final = 256
_FULL: Final = "the temporary file for marks (the variable TMPDIR chooses its place)"


def prefixes(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """The marks of digests of shape (n, 32), as n texts of 16 bytes, which numpy sorts and compares as bytes."""
    return np.ascontiguousarray(digests[:, :SIZE]).view(f"S{SIZE}").ravel()


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted marks: `ends[b]` is where those that begin with byte b do. Without `marks`: in the file, at `at`."""

    ends: NDArray[np.int64]
    at: int
    marks: NDArray[np.bytes_] | None


@dataclass(slots=True)
class Marks:
    """Add digests, then ask by bucket, then close. `count` counts what was added, doubles included."""

    run: int = RUN
    count: int = 0
    _new: list[NDArray[np.bytes_]] = field(default_factory=list)
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

    def bucket(self, first: int) -> NDArray[np.bytes_]:
        """The marks of digests that begin with the byte `first`, ascending, each once."""
        if self._new:
            self._settle(spill=bool(self._runs))
        parts = [self._part(run, int(run.ends[first]), int(run.ends[first + 1])) for run in self._runs]
        if len(parts) == 1:
            return parts[0]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=f"S{SIZE}")

    def buckets(self) -> Iterator[NDArray[np.bytes_]]:
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
        marks = np.unique(np.concatenate(self._new))
        edges = np.array([bytes([first]) for first in range(BUCKETS)], dtype=f"S{SIZE}")
        ends = np.append(np.searchsorted(marks, edges), len(marks))
        self._runs.append(_Run(ends, self._write(marks), None) if spill else _Run(ends, 0, marks))
        self._new.clear()
        self._waiting = 0

    def _write(self, marks: NDArray[np.bytes_]) -> int:
        with disk_errors(_FULL):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="drystone-marks-")  # noqa: SIM115 - lives as long as the marks
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(marks.tobytes())
            self._file.flush()
        return at

    def _part(self, run: _Run, begins: int, ends: int) -> NDArray[np.bytes_]:
        if run.marks is not None:
            return run.marks[begins:ends]
        assert self._file is not None
        with disk_errors(_FULL):
            data = os.pread(self._file.fileno(), (ends - begins) * SIZE, run.at + begins * SIZE)
        return np.frombuffer(data, dtype=f"S{SIZE}")


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of the index, in order: which of them are marked; and marks before the next rows that have no row."""

    rows: NDArray[np.void]
    marked: NDArray[np.bool_]
    missing: NDArray[np.bytes_]


def compare(batches: Iterable[NDArray[np.void]], marks: Marks) -> Iterator[Compared]:
    """Merge the index's rows (arrays of ROW, ascending) with the marks, both bucket by bucket."""
    no_rows = np.empty(0, dtype=ROW)
    no_marks = np.empty(0, dtype=f"S{SIZE}")
    bucket = _Bucket(marks, 0)
    for batch in batches:
        rest = batch
        while len(rest):
            first = int(rest["digest"][0, 0])
            while bucket.first < first:
                yield Compared(no_rows, np.empty(0, dtype=np.bool_), bucket.missing())
                bucket = _Bucket(marks, bucket.first + 1)
            count = int(np.searchsorted(rest["digest"][:, 0], first, side="right"))
            yield Compared(rest[:count], bucket.meet(prefixes(rest[:count]["digest"])), no_marks)
            rest = rest[count:]
    while bucket.first < BUCKETS:
        yield Compared(no_rows, np.empty(0, dtype=np.bool_), bucket.missing())
        bucket = _Bucket(marks, bucket.first + 1)


class _Bucket:
    """The marks of one bucket, and which of them were met; those of the one behind the last are none."""

    def __init__(self, marks: Marks, first: int) -> None:
        self.first = first
        self._marks = marks.bucket(first) if first < BUCKETS else np.empty(0, dtype=f"S{SIZE}")
        self._met = np.zeros(len(self._marks), dtype=np.bool_)

    def meet(self, rows: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """Which rows are marked."""
        found = np.zeros(len(rows), dtype=np.bool_)
        if len(self._marks):
            at = np.minimum(np.searchsorted(self._marks, rows), len(self._marks) - 1)
            found = self._marks[at] == rows
            self._met[at[found]] = True
        return found

    def missing(self) -> NDArray[np.bytes_]:
        return self._marks[~self._met]
