"""Where a manifest's blocks were when it was written: a disposable file beside it, so that reads need no index.

Look-ups in an index beyond memory cost milliseconds each. The file is a hint and nothing else: it is never synced,
carries no sums, and may be removed at any time. Every block is checked when it is read, so a place that is wrong or has
moved only costs another look, in the index. FORMAT.md, "places".
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.errors import BlockstoreError
from blockstore.manifest_format import LEAF_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.block import Place
    from blockstore.disk import Disk

SUFFIX: Final = ".places"
MAGIC: Final = b"DRYPLACES\0\0\0\0\0\0\1"
COLUMNS: Final = 4
CHUNK: Final = LEAF_BLOCKS * COLUMNS * 4
"""Bytes kept for a leaf: 1,024 places of 16 bytes; zeros where no place is known."""
WORTH_IT: Final = 256
"""A whole manifest with fewer blocks has no such file: looking them up costs less than making it.

An increment always has one: each of a chain lists a few blocks, and one without a place makes its whole window slow.
"""
_NOWHERE: Final = bytes(COLUMNS * 4)


def beside(manifest: Path) -> Path:
    """The places' file of the manifest at this path."""
    return manifest.with_suffix(SUFFIX)


class PlacesWriter:
    """Writes the hints leaf by leaf, unless the first has fewer than `fewest`.

    It never fails an upload: after an error there are no hints.
    """

    def __init__(self, manifest: Path, disk: Disk, *, fewest: int = WORTH_IT) -> None:
        self._path = beside(manifest)
        self._disk = disk
        self._fd: int | None = None
        self._fewest = fewest
        self._leaf = 0
        self._given_up = False

    def add(self, places: Sequence[Place | None]) -> None:
        """The places of the next leaf's rows, None for a hole or an unknown one."""
        at, self._leaf = len(MAGIC) + self._leaf * CHUNK, self._leaf + 1
        self._given_up = self._given_up or (self._fd is None and len(places) < self._fewest)
        if self._given_up or not any(places):
            return
        rows = b"".join(_NOWHERE if place is None else place.encode() for place in places)
        try:
            if self._fd is None:
                self._fd = self._disk.create(self._path)
                self._disk.write(self._fd, [MAGIC], 0, str(self._path))
            self._disk.write(self._fd, [rows], at, str(self._path))
        except BlockstoreError:
            self._given_up = True

    def close(self) -> None:
        """All is said."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class PlacesFile:
    """Reads the hints of one manifest; safe on several threads. Without the file it knows nothing."""

    def __init__(self, manifest: Path) -> None:
        self._path = beside(manifest)
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._looked = False

    def leaf(self, at: int, count: int) -> NDArray[np.uint32]:
        """The places of `count` rows of the leaf at a place of the directory, shape (count, 4); zeros are unknown."""
        data = b""
        # A hint that can't be read is no hint: whatever the disk says here, the blocks may still be read.
        with contextlib.suppress(OSError):
            fd = self._opened() if at >= 0 else None
            if fd is not None:
                data = os.pread(fd, count * COLUMNS * 4, len(MAGIC) + at * CHUNK)
        known = np.zeros((count, COLUMNS), dtype="<u4")
        whole = len(data) // (COLUMNS * 4)
        known[:whole] = np.frombuffer(data, dtype="<u4", count=whole * COLUMNS).reshape(whole, COLUMNS)
        return known

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
                    if os.pread(fd, len(MAGIC), 0) == MAGIC:
                        self._fd = fd
                finally:
                    if self._fd is None:
                        os.close(fd)
            return self._fd
