"""A data directory opened to be looked after: locks, index and packs, without the pipeline of a server.

Shared, it stands beside running servers and changes nothing but marks; exclusive, it is alone, which every verb that
moves or removes something wants. Nothing is adopted by opening.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.index.lmdb_env import MAP_SIZE
from blockstore.index.opening import open_index
from blockstore.index.writer import IndexWriter
from blockstore.packs.local import LocalPacks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.index.contract import BlockIndex


@dataclass(frozen=True, slots=True)
class BareStore:
    """What the verbs that look after the data work with."""

    data: DataDir
    index: BlockIndex
    writer: IndexWriter
    """Whoever wants the write lock of an index that others use asks here: it gives up after a while, and says why."""
    packs: LocalPacks

    @property
    def root(self) -> Path:
        """The data directory."""
        return self.data.root

    @property
    def disk(self) -> Disk:
        """Every step goes through it."""
        return self.data.disk


@contextlib.contextmanager
def open_bare(
    root: Path, purpose: str, *, exclusive: bool, disk: Disk | None = None, map_size: int = MAP_SIZE
) -> Iterator[BareStore]:
    """Open `root`, which must hold data; `purpose` tells others who is there.

    DataRefused, Damaged and StoreUnavailable say why not, and what to do.
    """
    data = DataDir.open_made(root, disk or Disk(), purpose=purpose, exclusive=exclusive)
    try:
        with contextlib.closing(IndexWriter()) as writer:
            index = open_index(data, writer, map_size)
            try:
                yield BareStore(data, index, writer, LocalPacks(data.folder("packs"), data.store, data.disk))
            finally:
                index.close()
    finally:
        data.close()
