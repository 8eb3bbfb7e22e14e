"""Disks that fail in one step, once told to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blockstore.disk import Disk
from blockstore.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Buffer


class FailingDisk(Disk):
    """The real disk, until `failing` names a step: then that step fails, a write after half of its bytes."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.syncs = 0

    def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
        if "write" in self.failing:
            whole = b"".join(bytes(buffer) for buffer in buffers)
            os.pwrite(fd, whole[: len(whole) // 2], at)
            raise StoreFull(f"no space left at {what}")
        return super().write(fd, buffers, at, what)

    def truncate(self, fd: int, size: int, what: str) -> None:
        self._step("truncate", what)
        super().truncate(fd, size, what)

    def sync(self, fd: int, what: str) -> None:
        self.syncs += 1
        self._step("sync", what)
        super().sync(fd, what)

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory", str(path))
        super().sync_directory(path)

    def _step(self, name: str, what: str) -> None:
        if name in self.failing:
            raise StoreUnavailable(f"{what}: Input/output error")
