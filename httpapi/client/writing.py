"""Opening and writing what a pull writes to, with errors that name it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from httpapi.client.errors import TargetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turns an OSError into a TargetRefused that begins with `what`, such as "cannot write disk.raw"."""
    try:
        yield
    except OSError as failure:
        use = ": it is in use, unmount it first" if failure.errno == errno.EBUSY else f": {failure.strerror}"
        raise TargetRefused(f"{what}{use}") from failure


def open_to_write(path: str, flags: int, *, name: str) -> int:
    """A descriptor that a child process does not inherit; a file that is made is its owner's alone."""
    with refusing(f"cannot write {name}"):
        return os.open(path, flags | os.O_CLOEXEC, 0o600)


def write_at(descriptor: int, piece: memoryview, offset: int, name: str) -> None:
    """All of `piece` at `offset`."""
    while piece:
        with refusing(f"cannot write {name} at byte {offset}"):
            count = os.pwrite(descriptor, piece, offset)
        piece, offset = piece[count:], offset + count
