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
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import lmdb

from blockstore.disk import Disk
from blockstore.errors import Damaged, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")
Txn: TypeAlias = Any
"""lmdb.Transaction; the library ships no types."""
MAP_SIZE: Final = 1 << 40
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

        result = self._run(run, write=True)
        self._cover_last_page()
        return result

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

    def _needed(self) -> int:
        """The length in bytes that the file has when its last page is there."""
        return int((self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"])

    def _cover_last_page(self) -> None:
        """Pages taken and freed in one transaction are never written: so that a short file always means a cut one."""
        needed = self._needed()
        if self._file.stat().st_size < needed:
            os.truncate(self._file, needed)

    def _refuse_truncated(self) -> None:
        size, needed = self._file.stat().st_size, self._needed()
        # A process that was killed right after a commit may have left the last, unused page unwritten.
        if size < needed and not self._readable(needed):
            os.truncate(self._file, size)
            self._env.close()
            raise Damaged(
                f"{self._file} has {size} bytes where its last page ends at {needed}: "
                "the index was truncated, make it again from the packs",
            )

    def _readable(self, needed: int) -> bool:
        """Whether every page that is in use is there, looked at with the file made long enough to be mapped safely."""
        os.truncate(self._file, needed)
        try:
            with self._env.begin() as txn, txn.cursor() as names:
                for name in list(names.iternext(keys=True, values=False)):
                    table = self._env.open_db(name, txn, create=False)
                    entries = sum(1 for _ in txn.cursor(table).iternext(keys=True, values=False))
                    if entries != txn.stat(table)["entries"]:
                        return False
        except lmdb.Error:
            return False
        return True
