"""Making the index again from the packs, whatever has become of the old one.

    rows of all packs → sorted in buckets → a new file beside the old, durable → renamed over it → open packs adopted

Until the rename nothing has changed, so a stop at any step leaves the old index, and the next run begins anew. Packs
get new numbers, from 1 on in the order of their names: only the index knows them. A pack whose table can be believed
gives its rows without being read through; any other is walked over, and what is found enters only if its BLAKE3 is
right. Of several copies of a block the newest one counts: a damaged block is healed by a newer one, and compaction
made its copy from a verified one. With `data` every entry is read, and only right ones count.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore import listing
from blockstore.disk import disk_errors
from blockstore.index.bulk_load import AT_ONCE, BulkIndex
from blockstore.index.contract import ROW, PackRecord, PackState
from blockstore.index.in_use import NAME as IN_USE
from blockstore.index.lmdb_env import MAP_SIZE
from blockstore.index.row_spill import RowSpill
from blockstore.names import SIZE as NAME_SIZE
from blockstore.names import new_name
from blockstore.pack_contents import checked_run, end_of, read_contents, runs
from blockstore.packs.adoption import adopt_orphans
from blockstore.packs.local import LocalPacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blockstore.data_dir import DataDir
    from blockstore.listing import Listed
    from blockstore.packs.pack_format import TableRow
    from blockstore.progress import Progress

WORK: Final = "rebuild-"
OLD: Final = "data.mdb.old-"


@dataclass(slots=True)
class Rebuilt:
    """What came of it. `duplicates` are entries whose block another entry, a newer one, stands for."""

    packs: int = 0
    rows: int = 0
    duplicates: int = 0
    skipped: list[str] = field(default_factory=list)
    adopted: int = 0
    bytes: int = 0
    old: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """How: `data` reads every entry; `keep_old` leaves the old index's file beside the new one."""

    data: bool = False
    keep_old: bool = False
    map_size: int = MAP_SIZE


def rebuild(data: DataDir, how: Rebuilding, progress: Progress) -> Rebuilt:
    """Make the index again; `data` is open exclusively, its index closed. StoreFull leaves the old one as it was."""
    folder = data.folder("index")
    for left in folder.glob(f"{WORK}*"):
        shutil.rmtree(left, ignore_errors=True)
    work = folder / f"{WORK}{new_name().hex()}"
    data.disk.make_directory(work)
    try:
        done = _Rebuild(data, how, progress, work).run()
        done.old = _swap(data, work, keep_old=how.keep_old)
        # They name packs by the numbers that these had: hints that would now only mislead.
        for listed in listing.places(data.root):
            data.disk.unlink(listed.path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    index = BulkIndex(folder, disk=data.disk, map_size=how.map_size)
    try:
        packs = LocalPacks(data.folder("packs"), data.store, data.disk)
        done.adopted = adopt_orphans(index, packs, data.disk, lambda _owner: False).count
    finally:
        index.close()
    return done


def _swap(data: DataDir, work: Path, *, keep_old: bool) -> str | None:
    """Put the new file in the old one's place; gives where the old one is kept."""
    folder, disk = work.parent, data.disk
    old = folder / f"{OLD}{new_name().hex()}"
    kept = None
    with disk_errors(str(folder)):
        if keep_old and (folder / "data.mdb").exists():
            os.link(folder / "data.mdb", old)
            kept = str(old)
    # Packs get new numbers, so what manifests remember of places would mislead every read once.
    for hints in listing.places(data.root):
        disk.unlink(hints.path)
    # LMDB's own lock file is the old index's, and so is the sign that somebody died with it open.
    disk.unlink(folder / "lock.mdb")
    disk.rename(work / "data.mdb", folder / "data.mdb")
    disk.sync_directory(folder)
    disk.unlink(folder / IN_USE)
    return kept


class _Rebuild:
    def __init__(self, data: DataDir, how: Rebuilding, progress: Progress, work: Path) -> None:
        self._data = data
        self._how = how
        self._progress = progress
        self._work = work
        self._done = Rebuilt()
        self._spill = RowSpill(work)
        self._ends: dict[int, int] = {}
        self._unsealed: set[int] = set()

    def run(self) -> Rebuilt:
        files = sorted(self._files(), key=lambda listed: listed.name)
        self._progress.begin("packs", sum(listed.size for listed in files), "B")
        for number, listed in enumerate(files, 1):
            self._take(number, listed)
            self._done.packs += 1
            self._done.bytes += listed.size
            self._progress.moved(self._done.bytes)
        self._load(files)
        return self._done

    def _files(self) -> Iterator[Listed]:
        for listed in listing.packs(self._data.root):
            try:
                fits = len(bytes.fromhex(listed.name)) == NAME_SIZE
            except ValueError:
                fits = False
            if fits:
                yield listed
            else:
                self._skip(listed.path, "its name is none that a pack has")

    def _take(self, number: int, listed: Listed) -> None:
        """The rows of one pack."""
        with disk_errors(str(listed.path)):
            fd = os.open(listed.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # What is behind the last entry of a pack that was not sealed is torn, and no damage.
                found = read_contents(fd, str(listed.path), self._data.store, bytes.fromhex(listed.name))
                entries: Sequence[TableRow] = found.entries
                for spot in found.spots:
                    self._skip(listed.path, f"{spot.why}, from {spot.begins} to {spot.ends}")
                if not found.tabled or self._how.data or found.spots:
                    entries = list(self._right(fd, entries, listed.path))
            finally:
                os.close(fd)
        if not found.tabled:
            self._unsealed.add(number)
        self._ends[number] = end_of(entries[-1]) if entries else 0
        self._spill.add(_rows(number, entries))

    def _right(self, fd: int, entries: Sequence[TableRow], path: Path) -> Iterator[TableRow]:
        for run in runs(entries):
            for entry, _, trouble in checked_run(fd, run):
                if trouble is None:
                    yield entry
                else:
                    self._skip(path, f"{trouble} at {entry.offset}")

    def _skip(self, path: Path, why: str) -> None:
        self._done.skipped.append(f"{path}: {why}")

    def _load(self, files: Sequence[Listed]) -> None:
        """A pack without a table that could be believed counts as open: adoption cuts and seals it as ever."""
        index = BulkIndex(self._work, disk=self._data.disk, map_size=self._how.map_size)
        try:
            index.load_packs(self._records(files))
            self._progress.begin("index", 256)
            waiting: list[NDArray[np.void]] = []
            for done, rows in enumerate(self._spill.buckets(), 1):
                waiting.append(self._newest(rows))
                # A transaction costs a sync, so small buckets share one.
                if sum(map(len, waiting)) >= AT_ONCE:
                    index.load_rows(np.concatenate(waiting))
                    waiting.clear()
                self._progress.moved(done)
            if waiting:
                index.load_rows(np.concatenate(waiting))
        finally:
            index.close()

    def _newest(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Of rows in order the first of each digest, which is that of the newest pack."""
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (rows["digest"][1:] != rows["digest"][:-1]).any(axis=1)
        self._done.rows += int(first.sum())
        self._done.duplicates += len(rows) - int(first.sum())
        return rows[first]

    def _records(self, files: Sequence[Listed]) -> Iterator[PackRecord]:
        for number, listed in enumerate(files, 1):
            state = PackState.OPEN if number in self._unsealed else PackState.SEALED
            yield PackRecord(number, bytes.fromhex(listed.name), "", state, self._ends[number])


def _rows(number: int, entries: Sequence[TableRow]) -> NDArray[np.void]:
    rows = np.zeros(len(entries), dtype=ROW)
    rows["pack"] = number
    rows["offset"] = [entry.offset for entry in entries]
    rows["frame"] = [entry.frame_length for entry in entries]
    rows["raw"] = [entry.raw_length for entry in entries]
    digests = b"".join(entry.digest for entry in entries)
    rows["digest"] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    return rows
