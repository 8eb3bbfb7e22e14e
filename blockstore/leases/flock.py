"""Locks that die with their process: flock on files, without any clock.

A lock file is made under a hidden name, locked, and only then renamed to the name that listings show: so whoever sees
it and can take its lock knows that the owner is dead. Descriptors close on exec; the process must not fork. A frozen
process keeps its locks: others wait for it, and say whom they wait for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.disk import disk_errors
from blockstore.errors import DataRefused, LeaseLost
from blockstore.names import new_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
HOLDS: Final = "holds"
"""The second line of a lock file whose owner keeps what it is about to name locked (`unnamed.py`)."""
TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file without waiting; False if somebody else has it."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    return True


def wait_for_lock(fd: int) -> None:
    """Take the lock of an open file, held by anybody for moments only, and wait for it."""
    fcntl.flock(fd, fcntl.LOCK_EX)


def try_lock_for(fd: int, seconds: float) -> bool:
    """Take the lock of an open file, at once or within so many seconds; False if somebody keeps it."""
    until = clock.monotonic() + seconds
    pause = 0.0005
    while not try_lock(fd):
        left = until - clock.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, 0.02)
    return True


class LockFile:
    """A file that this process holds locked for as long as the object is open."""

    def __init__(self, directory: Path, purpose: str) -> None:
        self.name = new_name().hex()
        self._path = directory / self.name
        hidden = directory / f".{self.name}"
        with disk_errors(str(self._path)):
            self._fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX)
                os.write(self._fd, f"{os.getpid()} {purpose}\n{HOLDS}\n".encode())
                hidden.rename(self._path)
            except OSError:
                os.close(self._fd)
                hidden.unlink(missing_ok=True)
                raise

    def check(self) -> None:
        """LeaseLost if the file was removed from under us."""
        try:
            same = self._path.stat().st_ino == os.fstat(self._fd).st_ino
        except OSError:
            same = False
        if not same:
            raise LeaseLost(f"{self._path} is gone: somebody removed a lock file of a running process")

    def close(self) -> None:
        """Remove the file, then let the lock go: nobody ever sees it unlocked while its work goes on."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            # A file system gone read-only: the lock goes with the descriptor, the file with the next listing.
            log.warning("%s could not be removed: %s", self._path, error)
        finally:
            os.close(self._fd)


def is_held(path: Path) -> bool:
    """Whether the lock file exists and its owner lives (this process included)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def holder(path: Path) -> str:
    """What the owner wrote about itself: process number and purpose; empty if the file is gone."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    return ""


def holds(path: Path) -> bool:
    """Whether the owner keeps files locked that it is about to name; also if it is gone, and has none."""
    try:
        return HOLDS in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def only_one(path: Path, doing: str, purpose: str) -> Iterator[None]:
    """Be the only process meanwhile that has this file's lock, and write down who that is, and since when.

    `doing` begins the DataRefused for all others: "DATA is being scrubbed". Who is frozen keeps the lock.
    """
    with disk_errors(str(path)):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(fd):
            raise DataRefused(
                f"{doing} already, by process {holder(path)}: wait until it has finished, or stop it if it hangs"
            )
        with disk_errors(str(path)):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} ({purpose}), since {clock.now():%Y-%m-%d %H:%M:%S} UTC\n".encode(), 0)
        yield
    finally:
        os.close(fd)


class FlockLeases:
    """Leases as lock files in one directory; the embedded form of `leases/contract.py`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, purpose: str) -> LockFile:
        """A new lease, locked before it can be seen."""
        return LockFile(self._directory, purpose)

    def live(self) -> frozenset[str]:
        """The names whose locks are held; files of dead owners are removed on the way."""
        return frozenset(path.name for path in live_files(self._directory))


def held_files(directory: Path) -> list[Path]:
    """The lock files in `directory` whose owners live; nothing is removed."""
    return [path for path in sorted(directory.iterdir()) if not path.name.startswith(".") and is_held(path)]


def live_files(directory: Path) -> list[Path]:
    """The lock files in `directory` whose owners live; the others are removed."""
    live = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        if is_held(path):
            live.append(path)
        else:
            path.unlink(missing_ok=True)
    return live
