"""Rows in any order in, in the order of their digests out, however many: 256 buckets in files of one directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.disk import disk_errors
from blockstore.index.contract import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HELD: Final = 1 << 20
"""Rows kept in memory until they are spilled: 48 MiB."""
BUCKETS: Final = 256


@dataclass(slots=True)
class RowSpill:
    """Add arrays of ROW, then take the buckets; `directory` is the caller's, who also removes it."""

    directory: Path
    held: int = HELD
    _new: list[NDArray[np.void]] = field(default_factory=list)
    _waiting: int = 0

    def add(self, rows: NDArray[np.void]) -> None:
        """Keep rows; the later ones are the newer ones."""
        self._new.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self.held:
            self._spill()

    def buckets(self) -> Iterator[NDArray[np.void]]:
        """For each first byte of a digest its rows, ascending; of equal digests the one added last comes first."""
        self._spill()
        for bucket in range(BUCKETS):
            path = self._path(bucket)
            if not path.exists():
                continue
            with disk_errors(str(path)):
                rows = np.frombuffer(path.read_bytes(), dtype=ROW)
            rows = rows[::-1]
            keys = np.ascontiguousarray(rows["digest"]).view("S32").ravel()
            yield rows[np.argsort(keys, kind="stable")]

    def _spill(self) -> None:
        if not self._new:
            return
        rows = np.concatenate(self._new)
        firsts = rows["digest"][:, 0]
        order = np.argsort(firsts, kind="stable")
        ends = np.searchsorted(firsts[order], np.arange(BUCKETS + 1))
        for bucket in np.unique(firsts).tolist():
            path = self._path(bucket)
            with disk_errors(str(path)), path.open("ab") as file:
                file.write(rows[order[ends[bucket] : ends[bucket + 1]]].tobytes())
        self._new.clear()
        self._waiting = 0

    def _path(self, bucket: int) -> Path:
        return self.directory / f"{bucket:02x}.rows"
