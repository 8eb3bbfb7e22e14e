"""Files that a record is to name soon: locked until the transaction that names them is over, so that none is collected.

A collection removes a file without a record only if it can take the file's lock, and no snapshot that it reads *after*
that names it. So whoever makes such a file locks it, looks whether it still has its name, and lets the lock go when no
transaction of theirs can name it any more. The lock dies with the process.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import StoreUnavailable
from blockstore.leases.flock import try_lock

if TYPE_CHECKING:
    from pathlib import Path

    from blockstore.disk import Disk


class Hold:
    """A file's lock. It is held until `release`, or until nobody has this object any more.

    So the object goes where the file's name goes, up to the step that commits it.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Close the file; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """Whoever would have named the file is gone."""
        with contextlib.suppress(OSError):
            self.release()


def create(disk: Disk, path: Path) -> int:
    """A new file, locked: a descriptor whose closing lets the lock go.

    StoreUnavailable if a collection took it for garbage between the two steps.
    """
    fd = disk.create(path)
    with disk_errors(str(path)):
        if try_lock(fd) and os.fstat(fd).st_nlink:
            return fd
        os.close(fd)
    raise StoreUnavailable(f"{path} was removed the moment it was made: send the upload again")
