"""Every step that a crash could fall between: creating, writing, syncing, renaming and removing files.

All durable writing of the block store goes through one `Disk`, so that the tests can stop it at the n-th step, for
n = 1, 2, 3 …, forget whatever was not synced, and look at what is left. Errors of the operating system become
StoreFull or StoreUnavailable here and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.errors import Damaged, Missing, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MOST_BUFFERS: Final = 512
"""Below every system's IOV_MAX (1,024 here)."""
CANNOT_READ: Final = "the disk cannot read it"


@functools.cache
def _beside() -> ThreadPoolExecutor:
    """Threads for syncs that somebody waits for who syncs something else meanwhile."""
    return ThreadPoolExecutor(8, thread_name_prefix="sync-too")


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_beside.cache_clear)


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an OSError into the store's own error, with `what` naming the file or step."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StoreFull(f"no space left at {what}: free some space, then try again") from error
        raise StoreUnavailable(f"{what}: {os.strerror(error.errno or 0)}") from error


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """As `disk_errors`; but a place that the disk cannot read is that file's damage, and no trouble of the store's."""
    with disk_errors(what):
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise Damaged(f"{what}: {CANNOT_READ}") from error


class Disk:
    """The real one; see the module. Paths and descriptors are the caller's, who also closes them."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist; the descriptor reads and writes and closes on exec."""
        with disk_errors(str(path)):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """Open a file that was made before, to read and write on; Missing if it is gone."""
        with disk_errors(str(path)):
            try:
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Missing(f"{path} is gone") from None

    def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
        """Write all buffers one after another from offset `at`; gives the end. After an error any part may be there."""
        with disk_errors(what):
            for first in range(0, len(buffers), MOST_BUFFERS):
                at += self._write_some(fd, buffers[first : first + MOST_BUFFERS], at)
        return at

    @staticmethod
    def _write_some(fd: int, buffers: Sequence[Buffer], at: int) -> int:
        total = sum(memoryview(buffer).nbytes for buffer in buffers)
        written = os.pwritev(fd, buffers, at)
        if written < total:
            # Short writes are rare (a signal, a nearly full disk): finish from one joined copy.
            rest = memoryview(b"".join(buffers))
            while written < total:
                written += os.pwrite(fd, rest[written:], at + written)
        return total

    def truncate(self, fd: int, size: int, what: str) -> None:
        """Cut the file to `size` bytes."""
        with disk_errors(what):
            os.ftruncate(fd, size)

    def sync(self, fd: int, what: str) -> None:
        """Make the file's bytes and its length durable."""
        with disk_errors(what):
            os.fdatasync(fd)

    def sync_together(self, files: Sequence[tuple[int, str]], directory: Path) -> None:
        """Sync files (descriptor, name for messages) and the directory that names them, side by side.

        Journalling file systems then need one or two flushes of the disk for all of them, where one sync after another
        waits for one each.
        """
        others = [partial(self.sync, fd, what) for fd, what in files[1:]] + [partial(self.sync_directory, directory)]
        running = [_beside().submit(step) for step in others]
        try:
            self.sync(*files[0])
        finally:
            errors = [error for error in (each.exception() for each in running) if error is not None]
        if errors:
            raise errors[0]

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        with disk_errors(str(path)):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def make_directory(self, path: Path) -> None:
        """Make a directory durable in its parent, if it does not exist."""
        with disk_errors(str(path)):
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                return
        self.sync_directory(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its name; durable after `sync_directory`."""
        with disk_errors(str(new)):
            old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is not there is as good as removed."""
        with disk_errors(str(path)):
            path.unlink(missing_ok=True)

    def step(self, what: str) -> None:
        """Called before each commit of a database, which syncs by itself: a place to stop at, for the tests."""
