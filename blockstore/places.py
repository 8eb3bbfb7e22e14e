"""Where a manifest's blocks were when it was written: a disposable file beside it, so that reads need no index.

Look-ups in an index beyond memory cost milliseconds each. The file is a hint and nothing else: it is never synced, and
may be removed at any time. Every block is checked when it is read, so a place that is wrong or has moved only costs
another look, in the index. FORMAT.md, "Places".

Most blocks lie right behind the one before, so an offset is kept as the distance from there: zstd makes two or three
bytes of the sixteen of such a place.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.errors import BlockstoreError, Damaged
from blockstore.manifest_format import LEAF_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.block import Place
    from blockstore.disk import Disk

SUFFIX: Final = ".places"
MAGIC: Final = b"DRYPLACES\0\0\0\0\0\0\2"
COLUMNS: Final = 4
WORTH_IT: Final = 256
"""A whole manifest with fewer blocks has no such file: looking them up costs less than making it.

An increment always has one: each of a chain lists a few blocks, and one without a place makes its whole window slow.
"""
ROW: Final = COLUMNS * 4
_LENGTH: Final = np.dtype("<u4")
_LONGEST: Final = 2 * LEAF_BLOCKS * ROW
"""Bytes that no leaf's frame has: zstd adds little to what it can't make smaller."""
_NOWHERE: Final = (0,) * COLUMNS
_HEADER: Final = np.uint32(HEADER_SIZE)


def beside(manifest: Path) -> Path:
    """The places' file of the manifest at this path."""
    return manifest.with_suffix(SUFFIX)


class PlacesWriter:
    """Writes a new file of places, leaf by leaf; without `finish` it says nothing. There is none if no place is known.

    Raises StoreFull or StoreUnavailable: then the caller closes it and removes the file.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._fd: int | None = None
        self._end = 0
        self._lengths: list[int] = []

    def add(self, places: NDArray[np.uint32]) -> None:
        """The places of the next leaf's rows, shape (rows, 4); zeros for a hole or an unknown one."""
        frame = _encode(places) if places.any() else b""
        if frame:
            self._append(frame)
        self._lengths.append(len(frame))

    def finish(self) -> None:
        """All is said."""
        if self._fd is not None:
            self._append(np.array(self._lengths, dtype=_LENGTH).tobytes())

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _append(self, data: bytes) -> None:
        if self._fd is None:
            self._fd = self._disk.create(self._path)
            self._end = self._disk.write(self._fd, [MAGIC], 0, str(self._path))
        self._end = self._disk.write(self._fd, [data], self._end, str(self._path))


class UploadPlaces:
    """The places of a manifest that an upload writes; none if its first leaf has fewer than `fewest` rows.

    It never fails an upload: after an error there are no hints.
    """

    def __init__(self, manifest: Path, disk: Disk, *, fewest: int = WORTH_IT) -> None:
        self._path = beside(manifest)
        self._disk = disk
        self._fewest = fewest
        self._writer: PlacesWriter | None = PlacesWriter(self._path, disk)

    def add(self, places: Sequence[Place | None]) -> None:
        """The places of the next leaf's rows, None for a hole or an unknown one."""
        if len(places) < self._fewest:
            self._writer = None
        self._fewest = 0
        with self._or_none():
            if self._writer is not None:
                self._writer.add(np.array([place or _NOWHERE for place in places], dtype=np.uint32))

    def finish(self) -> None:
        """All is said."""
        with self._or_none():
            if self._writer is not None:
                self._writer.finish()

    def close(self) -> None:
        """Close the file, finished or not."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    @contextlib.contextmanager
    def _or_none(self) -> Iterator[None]:
        try:
            yield
        except BlockstoreError:
            self.close()
            with contextlib.suppress(BlockstoreError):
                self._disk.unlink(self._path)


class PlacesFile:
    """Reads the hints of one manifest of so many leaves; safe on several threads. Without the file it knows nothing."""

    def __init__(self, manifest: Path, leaves: int) -> None:
        self._path = beside(manifest)
        self._leaves = leaves
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._looked = False
        self._bounds = np.zeros(0, dtype=np.int64)

    def leaf(self, at: int, count: int) -> NDArray[np.uint32]:
        """The places of the `count` rows of the directory's `at`-th leaf, shape (count, 4); zeros are unknown."""
        # A hint that can't be read is no hint: whatever the disk says here, the blocks may still be read.
        with contextlib.suppress(OSError, Damaged):
            fd = self._opened()
            if fd is not None:
                begins, ends = self._bounds[at : at + 2].tolist()
                if ends > begins:
                    return _decode(os.pread(fd, min(ends - begins, _LONGEST), begins), count)
        return np.zeros((count, COLUMNS), dtype=np.uint32)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._looked = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _opened(self) -> int | None:
        with self._lock:
            if not self._looked:
                self._looked = True
                fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if self._read_table(fd):
                        self._fd = fd
                finally:
                    if self._fd is None:
                        os.close(fd)
            return self._fd

    def _read_table(self, fd: int) -> bool:
        """Whether the file is whole: its leaves reach from its magic number to its table."""
        table = self._leaves * _LENGTH.itemsize
        begins = os.fstat(fd).st_size - table
        if begins < len(MAGIC) or os.pread(fd, len(MAGIC), 0) != MAGIC:
            return False
        lengths = np.frombuffer(os.pread(fd, table, begins), dtype=_LENGTH)
        self._bounds = len(MAGIC) + np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return int(self._bounds[-1]) == begins


def _encode(places: NDArray[np.uint32]) -> bytes:
    """A leaf's frame: an offset is the distance from the end of the entry before, modulo 2^32."""
    rows = places.astype("<u4")
    rows[1:, 1] -= places[:-1, 1] + places[:-1, 2] + _HEADER
    return frames.compress(rows.tobytes())


def _decode(frame: bytes, count: int) -> NDArray[np.uint32]:
    """The places in a leaf's frame; Damaged if it is not one of `count` rows."""
    rows = np.frombuffer(frames.decompress(frame, count * ROW), dtype="<u4").reshape(count, COLUMNS).copy()
    distances = rows[:, 1]
    distances[1:] += rows[:-1, 2] + _HEADER
    rows[:, 1] = np.cumsum(distances, dtype=np.uint32)
    return rows
