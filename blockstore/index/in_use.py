"""Whether the index was closed in peace: a file that is there while any process has the index open.

Every process that opens the index holds a shared flock on `in-use`; the last one to close removes it. So a file that
is there, and that nobody holds, was left by a process that died, perhaps of the index itself: who comes next looks at
every page before it trusts them. Nothing but a look that found no damage, or a new index, makes such an index usable
again: a refused start leaves the file as it is. Who does not come alone need not look, the others have.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.disk import disk_errors
from blockstore.errors import StoreUnavailable
from blockstore.leases.flock import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)
NAME: Final = "in-use"
OPENED: Final = b"opened\n"
PATIENCE: Final = 900.0
"""Seconds to wait for a neighbour that looks at every page of a large index."""


@dataclass(slots=True)
class InUse:
    """This process's hold on the file."""

    _path: Path
    _fd: int

    @classmethod
    def enter(cls, directory: Path, look: Callable[[bool], None]) -> InUse:
        """Take part. Whoever is the only one calls `look(died)` first, while all others wait; its error passes through.

        `died` tells that the last one that had the index open did not close it.
        """
        path = directory / NAME
        deadline = clock.monotonic() + PATIENCE
        while True:
            with disk_errors(str(path)):
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if cls._join(fd, path, look):
                    return cls(path, fd)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
            if clock.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another process has been looking at every page of the index in {directory} for {PATIENCE:.0f} s: "
                    "wait until it has finished, or stop it"
                )
            time.sleep(0.05)

    @classmethod
    def _join(cls, fd: int, path: Path, look: Callable[[bool], None]) -> bool:
        """Whether this descriptor now holds its share of the file that bears the name."""
        with disk_errors(str(path)):
            alone = try_lock(fd)
            if not alone and not try_lock(fd, shared=True):
                return False
            if not cls._is_current(fd, path):
                return False
        if alone:
            look(os.fstat(fd).st_size > 0)
            with disk_errors(str(path)):
                os.pwrite(fd, OPENED, 0)
                os.fsync(fd)
                # Not atomic: whoever comes in between finds the file written, and looks once more than needed.
                fcntl.flock(fd, fcntl.LOCK_SH)
        return cls._is_current(fd, path)

    @staticmethod
    def _is_current(fd: int, path: Path) -> bool:
        """Whether the name still stands for this file: the last one of before may have removed it meanwhile."""
        try:
            return path.stat().st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            return False

    def leave(self) -> None:
        """Let go after the index is closed; the last one removes the file."""
        try:
            if try_lock(self._fd):
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s stays behind, so the next start looks at the whole index: %s", self._path, error)
        finally:
            os.close(self._fd)
