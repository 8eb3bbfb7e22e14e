"""A directory on a disk, for tests of what a file system in memory does otherwise: times of files, their lengths."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK: Final = "/var/tmp"
"""`make test-unit` gives all other tests a directory in memory."""


@contextlib.contextmanager
def disk_room() -> Iterator[Path]:
    """Empty, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="drystone-tests-", dir=DISK) as directory:
        yield Path(directory)
