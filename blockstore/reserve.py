"""Room on a full disk for what makes room: a file that is given up when nothing else is left, and made again later.

To delete an image takes some pages of the catalog's log, to collect it some of the index's. On a disk that is full to
its last byte neither could begin. Uploads never get it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "reserve"
SIZE: Final = 4 << 20
PLENTY: Final = 4 * SIZE
"""It is made while so much is free."""


def keep(root: Path) -> None:
    """Make it in this data directory, if it is not there and there is plenty of room; never a reason to fail."""
    path = root / NAME
    with contextlib.suppress(OSError):
        if path.exists() or shutil.disk_usage(root).free < PLENTY:
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Real space: a file with holes would keep none.
            os.posix_fallocate(fd, 0, SIZE)
        finally:
            os.close(fd)


def give_up(root: Path) -> bool:
    """Let the room go; False if there was none."""
    try:
        (root / NAME).unlink()
    except OSError:
        return False
    return True


def give_up_if_full(root: Path) -> None:
    """Let the room go if there is hardly any other."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(root).free < SIZE // 2:
            give_up(root)
