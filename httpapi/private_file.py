"""A small file that others must not read: it appears whole, under its name, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWNERS_ALONE: Final = 0o600


def write_private(path: Path, text: str) -> None:
    """Replace the file by one with this text, durably; raises OSError, and then the old one is still there.

    A new file is readable for its owner alone. One that is replaced hands on its permissions and, where that is
    allowed, its owner or at least its group: a server of another user may have to read it. Where not even the group can
    be handed on, the new one gets no permissions. A link stays, and what it leads to is replaced.
    """
    _write(path.resolve(), text, inherits=True)


def write_own(path: Path, text: str) -> None:
    """The same, for its owner alone whatever was there: nothing is handed on, and a link is replaced, not followed.

    OSError for what is no file, nor leads to one: no device such as /dev/stdout is replaced.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is there and no regular file", str(path))
    _write(path.parent.resolve() / path.name, text, inherits=False)


def _write(real: Path, text: str, *, inherits: bool) -> None:
    part = real.with_name(f".{real.name}.{secrets.token_hex(6)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNERS_ALONE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            if inherits:
                _inherit(file.fileno(), real)
            file.flush()
            os.fsync(file.fileno())
        part.replace(real)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Around reading and replacing files in a directory, so that two programs do not undo each other's change."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _inherit(descriptor: int, old: Path) -> None:
    with suppress(FileNotFoundError):
        found = old.stat()
        mode = found.st_mode & 0o777
        try:
            _hand_on(descriptor, found)
        except PermissionError:
            # It is another group's now, to which nobody has given anything.
            mode &= ~0o070
        os.fchmod(descriptor, mode)


def _hand_on(descriptor: int, found: os.stat_result) -> None:
    """Give owner and group, or the group alone; raises PermissionError when that may not be either."""
    try:
        os.fchown(descriptor, found.st_uid, found.st_gid)
    except PermissionError:
        os.fchown(descriptor, -1, found.st_gid)
