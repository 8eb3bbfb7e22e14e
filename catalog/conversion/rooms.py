"""A room as a caged program finds it: what it may read, the one file that it may write, and nothing else.

The room and all in it are the service's. Where the cage has a user of its own, that user's group may look up names in
the room, read what is given and write the new file; it can make, rename and remove nothing. So a program that its file
has taken over can put no link in the place of what the service reads afterwards.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.conversion.walls import Guest

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


def plain(name: str) -> str:
    """A file's name that no program takes for an option, a path, a protocol or a list; else ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain file name")
    return name


def lend(room: Path, name: str, guest: Guest | None) -> None:
    """Let the cage's user read a file of the room."""
    if not stat.S_ISREG((room / plain(name)).lstat().st_mode):
        raise ValueError(f"{name!r} is no file")
    if guest is not None:
        _share(room, guest, 0o710)
        _share(room / name, guest, 0o640)


@contextmanager
def new_file(room: Path, name: str, guest: Guest | None) -> Iterator[int]:
    """A new file, empty and open for writing, which the cage's user may write; it goes again if what follows fails."""
    path = room / plain(name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if guest is not None:
            _share(room, guest, 0o710)
            _share(path, guest, 0o660)
        yield descriptor
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _share(path: Path, guest: Guest, mode: int) -> None:
    os.chown(path, -1, guest.gid)
    path.chmod(mode)
