"""One LMDB environment with its rules kept. The one home of lmdb.

The rules: one environment a process, opened after spawn, never across fork; one constant sparse map of 1 TiB, and a
map that another process enlarged is taken over; a read transaction lives no longer than one call; readers of dead
processes are cleared; a file shorter than its last page is refused at the start (reading a truncated map is SIGBUS);
local file systems only (`data_dir.py` refuses others). A full disk may show as MapFull, ENOSPC or EIO and becomes one
error, StoreFull.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import lmdb

from blockstore.disk import Disk
from blockstore.errors import Damaged, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
Txn: TypeAlias = Any
"""lmdb.Transaction; the library ships no types."""
MAP_SIZE: Final = 1 << 40
WALK: Final = 600.0
"""Seconds for looking at every page of an index that may have been truncated."""
NEARLY_NOTHING: Final = 1 << 20
"""With less than this free, an I/O error of LMDB is a full disk."""
_DAMAGED: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)


class LmdbEnv:
    """An open environment; `read` and `write` run a function in one transaction each."""

    def __init__(self, directory: Path, *, disk: Disk | None = None, map_size: int = MAP_SIZE) -> None:
        self._directory = directory
        self._disk = disk or Disk()
        with self._errors():
            self._env = lmdb.open(
                str(directory),
                map_size=map_size,
                max_dbs=8,
                max_readers=512,
                mode=0o600,
                readahead=False,
            )
            self._env.reader_check()
        self._disk.sync_directory(directory)
        self._refuse_truncated()

    def tables(self, *names: bytes) -> list[Any]:
        """The named tables, made if they aren't there."""
        with self._errors():
            return [self._env.open_db(name) for name in names]

    def read(self, look: Callable[[Txn], T]) -> T:
        """Run `look(transaction)` on one snapshot."""
        return self._run(look, write=False)

    def write(self, what: str, change: Callable[[Txn], T]) -> T:
        """Run `change(transaction)` and commit durably; an error from it aborts. Waits for the one write lock."""

        def run(txn: Txn) -> T:
            result = change(txn)
            self._disk.step(f"index {what}")
            return result

        return self._run(run, write=True)

    def close(self) -> None:
        """Close the files."""
        self._env.close()

    def _run(self, step: Callable[[Txn], T], *, write: bool) -> T:
        with self._errors():
            try:
                with self._env.begin(write=write) as txn:
                    return step(txn)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)
                with self._env.begin(write=write) as txn:
                    return step(txn)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """LMDB's errors become the store's."""
        try:
            yield
        except _DAMAGED as error:
            raise Damaged(f"{self._file}: {error}: the index is damaged, make it again from the packs") from error
        except lmdb.Error as error:
            if self._is_full(error):
                raise StoreFull(
                    f"no space left for the index in {self._directory}: free some space, try again"
                ) from error
            raise StoreUnavailable(f"the index in {self._directory} refuses to work: {error}") from error

    def _is_full(self, error: lmdb.Error) -> bool:
        if isinstance(error, lmdb.MapFullError) or os.strerror(28) in str(error):
            return True
        return os.strerror(5) in str(error) and shutil.disk_usage(self._directory).free < NEARLY_NOTHING

    @property
    def _file(self) -> Path:
        return self._directory / "data.mdb"

    def _refuse_truncated(self) -> None:
        """Refuse a file that was cut: reading beyond its end would kill the process.

        What a transaction takes and frees again is never written, so a file may end before its last page and yet be
        whole. Whether it is, another process finds out, which may die of it.
        """
        page = self._env.stat()["psize"]
        # In this order: a neighbour's commit in between can only make the file longer than needed.
        needed = (self._env.info()["last_pgno"] + 1) * page
        size = self._file.stat().st_size
        if size >= needed:
            return
        if size % page or not self._walks_through():
            self._env.close()
            raise Damaged(
                f"{self._file} has {size} bytes where its last page ends at {needed}: "
                "the index was truncated, make it again from the packs",
            )

    def _walks_through(self) -> bool:
        walk = [sys.executable, "-m", __name__, str(self._directory)]
        try:
            return subprocess.run(walk, capture_output=True, check=False, timeout=WALK).returncode == 0  # noqa: S603 - ourselves
        except subprocess.TimeoutExpired as error:
            raise StoreUnavailable(
                f"{self._file} is shorter than its last page, and another process keeps it locked: stop that one first"
            ) from error


def walk_all(directory: str) -> bool:
    """Read every row of every table, take pages from the free ones, and make the file as long as its last page.

    Under the write lock, so that nobody's commit comes between. A missing page ends the process by a signal.
    """
    env = lmdb.open(directory, map_size=MAP_SIZE, max_dbs=8, max_readers=512)
    txn = env.begin(write=True)
    for name in list(txn.cursor().iternext(keys=True, values=False)):
        table = env.open_db(name, txn, create=False)
        if sum(1 for _, value in txn.cursor(table) if value) != txn.stat(table)["entries"]:
            return False
    for number in range(1000):
        txn.put(f"walk {number}".encode(), bytes(100))
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    file = Path(directory, "data.mdb")
    if file.stat().st_size < needed:
        os.truncate(file, needed)
    txn.abort()
    env.close()
    return True


if __name__ == "__main__":
    sys.exit(not walk_all(sys.argv[1]))
