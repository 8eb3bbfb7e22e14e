"""One push of a kind at a time: the directory in which it writes down what is under way, and the lock on it."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from blockstore.clock import now_us
from httpapi.client.errors import SourceRefused
from httpapi.client.push_terms import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORGOTTEN_DAYS: Final = 7
UNDER_WAY: Final = "push.json"
"""The file that says which push of changes is under way."""
LEFT: Final = "image"
"""The file with the id of an image that a push of an unchanged file made, while that is under way."""
_LOCK: Final = "lock"


@contextmanager
def held_directory(root: Path, what: Sequence[str], name: str) -> Iterator[Path | None]:
    """The directory below `root` of the push that `what` tells apart from others; messages call its file `name`.

    SourceRefused while another push of the same kind runs. None where nothing can be written. It goes afterwards
    unless something is under way.
    """
    directory, lock = _take(root, root / key_of(what), name)
    try:
        yield directory
    finally:
        if directory is not None and not any((directory / each).exists() for each in (UNDER_WAY, LEFT)):
            shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _take(root: Path, directory: Path, name: str) -> tuple[Path | None, int | None]:
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(root)
        while True:
            directory.mkdir(exist_ok=True, mode=0o700)
            lock = _lock(directory)
            if lock is None:
                raise SourceRefused(f"another push of {name} is under way: wait for it, or stop it")
            if _is_at(lock, directory):
                return directory, lock
            # Its push has ended just now, and removed it.
            os.close(lock)
    except OSError:
        return None, None


def _lock(directory: Path) -> int | None:
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_at(descriptor: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), (directory / _LOCK).stat())
    except FileNotFoundError:
        return False


def _sweep(root: Path) -> None:
    """Removes what no command has come back to."""
    for directory in root.iterdir():
        with suppress(OSError):
            if now_us() / 1e6 - directory.stat().st_mtime < FORGOTTEN_DAYS * 86400:
                continue
            lock = _lock(directory)
            if lock is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(lock)
