"""One LMDB environment with its rules kept. The one home of lmdb.

The rules: one environment a process, opened after spawn, never across fork; one constant sparse map of 1 TiB, and a
map that another process enlarged is taken over; a read transaction lives no longer than one call; readers of dead
processes are cleared; pages that LMDB would die of are looked for before it opens the file (`in_use.py` says when,
`pages.py` how); local file systems only (`data_dir.py` refuses others). A full disk may show as MapFull, ENOSPC or EIO
and becomes one error, StoreFull.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import lmdb

from blockstore.disk import Disk, disk_errors
from blockstore.errors import Damaged, StoreFull, StoreUnavailable
from blockstore.index import page_format, pages
from blockstore.index.in_use import InUse
from blockstore.index.leaf_rows import LeafRows
from blockstore.index.page_format import TREE, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from blockstore.index.leaf_rows import Some

T = TypeVar("T")
log = logging.getLogger(__name__)
Txn: TypeAlias = Any
"""lmdb.Transaction; the library ships no types."""
MAP_SIZE: Final = 1 << 40
LAYOUT: Final = {b"blocks": (32, 16), b"bad": (32, 16), b"condemned": (32, 0), b"packs": (4, 26)}
"""For a table the bytes of its keys and the least bytes of its values (FORMAT.md)."""
SMALL: Final = 32 << 20
"""An index of up to so many bytes is looked at whenever it is opened: some tenths of a second."""
NEARLY_NOTHING: Final = 1 << 20
"""With less than this free, an I/O error of LMDB is a full disk."""
_DAMAGED: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)


class LmdbEnv:
    """An open environment; `read` and `write` run a function in one transaction each."""

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk | None = None,
        map_size: int = MAP_SIZE,
        in_use: InUse | None = None,
    ) -> None:
        """`in_use` comes from `enter`, which may take its time, and is ours from now on; None calls it here."""
        self._directory = directory
        self._disk = disk or Disk()
        self._in_use = in_use or enter(directory)
        try:
            self._open(map_size)
        except BaseException:
            self._in_use.leave()
            raise

    def _open(self, map_size: int) -> None:
        with self._errors():
            self._env = lmdb.open(
                str(self._directory),
                map_size=map_size,
                max_dbs=8,
                max_readers=512,
                mode=0o600,
                readahead=False,
            )
            self._env.reader_check()
        self._disk.sync_directory(self._directory)

    def tables(self, *names: bytes) -> list[Any]:
        """The named tables, made if they aren't there; if that fails, the environment is closed."""
        try:
            with self._errors():
                return [self._env.open_db(name) for name in names]
        except BaseException:
            self.close()
            raise

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

    def rows(self, table: bytes, row: np.dtype[np.void], start: bytes) -> Iterator[NDArray[np.void]]:
        """Walk a table's rows from key `start` on, some thousand in an array, each from a snapshot of its own."""
        with self._errors():
            pages = LeafRows(self._file, self._env.stat()["psize"], row)

        def look(txn: Txn) -> Some:
            # Among the tables' names LMDB keeps each one's tree, as this transaction sees it.
            return pages.read(Tree(*TREE.unpack(txn.get(table))), here)

        following: bytes | None = start
        while following is not None:
            here = following
            with _telling(self._file):
                some = self.read(look)
            if len(some.rows):
                yield some.rows
            following = some.following

    def close(self) -> None:
        """Close the files."""
        self._env.close()
        self._in_use.leave()

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
        except (*_DAMAGED, ValueError, struct.error) as error:
            # The last two: a row that is none, such as a state or a place that can't be.
            raise _damaged(self._file, str(error)) from error
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
    def file(self) -> Path:
        """The file of the tables."""
        return self._file

    @property
    def _file(self) -> Path:
        return self._directory / "data.mdb"

    def check(self) -> None:
        """Damaged, naming the page, unless every page of the present snapshot is right; others may go on writing."""
        with _telling(self._file):
            self.read(lambda txn: pages.check(self._file, LAYOUT, txn.id()))


def enter(directory: Path) -> InUse:
    """Take part in the use of an index, after a look at its pages if need be; Damaged if it must not be opened.

    A small index is looked at whenever nobody else has it open. A large one only when the last process that had it open
    died, or when the file is too short: reading a map beyond its file's end kills. What a transaction takes and frees
    again is never written, so a file may end before its last page and yet be whole; then it is made as long as it says.
    """
    file = directory / "data.mdb"

    def look(died: bool) -> None:  # noqa: FBT001 - the contract of InUse
        size = file.stat().st_size if file.exists() else 0
        if not size:
            return
        with _telling(file):
            needed = page_format.length(file)
            if not (died or size <= SMALL or size < needed):
                return
            if size > SMALL:
                log.warning("looking at every page of %s (%d MiB), which was not closed in peace", file, size >> 20)
            pages.check(file, LAYOUT)
        if size < needed:
            with disk_errors(str(file)):
                os.truncate(file, needed)

    return InUse.enter(directory, look)


@contextlib.contextmanager
def _telling(file: Path) -> Iterator[None]:
    """What is wrong with a page, with the name of the file and what to do."""
    try:
        yield
    except Damaged as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, why: str) -> Damaged:
    return Damaged(
        f"{file}: {why}: the index is damaged, make it again from the packs: "
        f"stop what uses it, then run `drystone admin rebuild-index --data {file.parent.parent}`"
    )
