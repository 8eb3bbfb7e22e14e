"""One collection at a time: two would be safe, and only take each other's rows over.

A lock that dies with its process. Who is frozen keeps it: the next one is refused, and told who that is.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.disk import disk_errors
from blockstore.errors import DataRefused
from blockstore.leases.flock import held_files, holder, holds, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.data_dir import DataDir

_LOCK: Final = ".collection"
"""In `processes/`, where names with a dot are no processes'."""


def last_begun(root: Path) -> float | None:
    """When the last collection of this data directory began, in seconds since 1970; None if none ever did."""
    try:
        return (root / "processes" / _LOCK).stat().st_mtime
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def only_collection(data: DataDir, purpose: str) -> Iterator[None]:
    """Hold the lock meanwhile; DataRefused says which process has it, and since when.

    It is refused, too, beside a process of an older version, whose files would be taken for nobody's (`unnamed.py`).
    """
    path = data.folder("processes") / _LOCK
    with disk_errors(str(path)):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(fd):
            raise DataRefused(
                f"{data.root} is being collected already, by process {holder(path)}: wait until it has finished, or "
                "stop it if it hangs"
            )
        for process in held_files(path.parent):
            if not holds(process):
                raise DataRefused(
                    f"process {holder(process)} is of an older version, beside which nothing can be collected: start "
                    "it again, or stop it"
                )
        with disk_errors(str(path)):
            # Its time is that of this collection's beginning, see `last_begun`.
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} ({purpose}), since {clock.now():%Y-%m-%d %H:%M:%S} UTC\n".encode(), 0)
        yield
    finally:
        os.close(fd)
