"""Room on a full disk for what makes room: a file that is given up when nothing else is left, and made again later.

To delete an image takes some pages of the catalog's log, to collect it some of the index's and of lock files. On a disk
that is full to its last byte neither could begin. What is given up is anybody's, and may be gone before it is used: so
deletions get it in steps, and never the part without which no collection could begin; a collection that has freed
nothing takes back what is still there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME: Final = "reserve"
SIZE: Final = 4 << 20
PLENTY: Final = 4 * SIZE
"""It is made while so much is free."""
STEP: Final = 512 << 10
"""What a deletion gets at a time: some hundred changes of the catalog."""
COLLECTION: Final = SIZE // 2
"""What only a collection gets."""


def keep(root: Path) -> None:
    """Make it in this data directory, or whole again, while there is plenty of room; never a reason to fail."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(root).free >= PLENTY:
            _make(root / NAME, SIZE)


def give_up(root: Path) -> bool:
    """Let a step of the room go, for a deletion; False if none is left for that."""
    try:
        fd = os.open(root / NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        left = os.fstat(fd).st_size - STEP
        if left < COLLECTION:
            return False
        os.ftruncate(fd, left)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


@contextlib.contextmanager
def for_collection(root: Path) -> Iterator[None]:
    """Let all of the room go meanwhile if there is hardly any other, and have it again afterwards.

    After a failure of whatever is free; else of half of that at most, so that others have something of it, too.
    """
    given_up = False
    with contextlib.suppress(OSError):
        if shutil.disk_usage(root).free < SIZE // 2:
            (root / NAME).unlink()
            given_up = True
    try:
        yield
    except BaseException:
        if given_up:
            _take_back(root, 1)
        raise
    if given_up:
        _take_back(root, 2)
    else:
        keep(root)


def _take_back(root: Path, share: int) -> None:
    with contextlib.suppress(OSError):
        _make(root / NAME, min(SIZE, shutil.disk_usage(root).free // share))


def _make(path: Path, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size < size:
            # Real space: a file with holes would keep none.
            os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)
