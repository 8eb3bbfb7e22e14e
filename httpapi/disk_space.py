"""How full the disk is that holds the data directory, and when that is nearly full."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SHARE: Final = 20
_ENOUGH: Final = 10 << 30


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk's size and what is free on it for us, in bytes."""

    size: int
    free: int

    @property
    def nearly_full(self) -> bool:
        """Less than a twentieth is free, and less than 10 GiB."""
        return self.free < min(self.size // _SHARE, _ENOUGH)


def disk_of(path: Path) -> Disk:
    """The disk that `path` lies on; raises OSError."""
    found = os.statvfs(path)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
