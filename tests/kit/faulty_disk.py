"""Disks that fail: at the n-th step, as a full disk, as a power cut, or as a failed sync.

A power cut forgets what was not synced: files made by this disk are cut to the length they had at their last sync,
and names that were not made durable by a directory sync are gone. The databases sync by themselves and stay.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore.disk import Disk, disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

STOPPED = 137


@dataclass(slots=True)
class Tracked:
    path: Path
    synced: int = 0
    named: bool = False


class CountingDisk(Disk):
    """Calls `at_step(number, what)` before each step of a real disk; steps are counted from 1."""

    def __init__(self) -> None:
        self.steps = 0
        self.files: dict[int, Tracked] = {}
        self.made: dict[Path, Tracked] = {}

    def at_step(self, number: int, what: str) -> None:
        """For subclasses."""

    def _count(self, what: str) -> None:
        self.steps += 1
        self.at_step(self.steps, what)

    def create(self, path: Path) -> int:
        self._count(f"create {path.suffix}")
        fd = super().create(path)
        self.files[fd] = self.made[path] = Tracked(path)
        return fd

    def open(self, path: Path) -> int:
        fd = super().open(path)
        known = self.made.get(path) or Tracked(path, os.fstat(fd).st_size, named=True)
        self.files[fd] = self.made[path] = known
        return fd

    def write(self, fd: int, buffers: Sequence[Buffer], at: int, what: str) -> int:
        self._count(f"write {Path(what).suffix}")
        return super().write(fd, buffers, at, what)

    def truncate(self, fd: int, size: int, what: str) -> None:
        self._count(f"truncate {Path(what).suffix}")
        super().truncate(fd, size, what)

    def sync(self, fd: int, what: str) -> None:
        self._count(f"sync {Path(what).suffix}")
        super().sync(fd, what)
        if fd in self.files:
            self.files[fd].synced = os.fstat(fd).st_size

    def sync_together(self, files: Sequence[tuple[int, str]], directory: Path) -> None:
        # In one order, so that a step has the same number each time.
        for fd, what in files:
            self.sync(fd, what)
        self.sync_directory(directory)

    def sync_directory(self, path: Path) -> None:
        self._count("sync directory")
        super().sync_directory(path)
        for tracked in self.made.values():
            if tracked.path.parent == path:
                tracked.named = True

    def rename(self, old: Path, new: Path) -> None:
        self._count("rename")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._count(f"unlink {path.suffix}")
        super().unlink(path)

    def step(self, what: str) -> None:
        self._count(what)


class StoppingDisk(CountingDisk):
    """Ends the process at step `stop_at`, with `power_cut` after forgetting what was not synced."""

    def __init__(self, stop_at: int, *, power_cut: bool) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.power_cut = power_cut

    def at_step(self, number: int, what: str) -> None:
        if number < self.stop_at:
            return
        if self.power_cut:
            for tracked in self.made.values():
                self._forget(tracked)
        print(f"stopped at step {number}: {what}", flush=True)
        os._exit(STOPPED)

    @staticmethod
    def _forget(tracked: Tracked) -> None:
        if not tracked.path.exists():
            return
        if not tracked.named:
            tracked.path.unlink()
        elif tracked.path.stat().st_size > tracked.synced:
            os.truncate(tracked.path, tracked.synced)


class FailingDisk(CountingDisk):
    """Raises an OSError (no space by default) in each step that `fails(what)` picks, while `armed`."""

    def __init__(self, fails: Callable[[str], bool], code: int = errno.ENOSPC) -> None:
        super().__init__()
        self.fails = fails
        self.code = code
        self.armed = False
        self.failures = 0

    def at_step(self, number: int, what: str) -> None:
        if self.armed and self.fails(what):
            self.failures += 1
            with disk_errors(what):
                raise OSError(self.code, os.strerror(self.code))
