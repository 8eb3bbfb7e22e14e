"""A volume that may go: an ext4 file system in a file, mounted where a check wants it. Needs root and loop devices."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING, Final, Self

from bench import loop_device, tools

if TYPE_CHECKING:
    from pathlib import Path

# linux/fs.h: EXT4_IOC_SHUTDOWN, and to do so without a word to the disk.
_SHUTDOWN: Final = 0x8004587D
_AT_ONCE: Final = 2


def missing() -> str:
    """What keeps this machine from having one; empty if nothing does."""
    return loop_device.missing()


class Volume:
    """Of `size` bytes, at `mount_point`; mounted when entered, and gone when left."""

    def __init__(self, file: Path, mount_point: Path, size: int) -> None:
        self.mount_point = mount_point
        self._file = file
        self._size = size

    def __enter__(self) -> Self:
        self.mount_point.mkdir(parents=True, exist_ok=True)
        self.wipe()
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        while self.is_mounted:
            self.unmount()
        self._file.unlink(missing_ok=True)

    @property
    def is_mounted(self) -> bool:
        return os.path.ismount(self.mount_point)

    def mount(self) -> None:
        """Be there, with what is on it."""
        tools.run("mount", "-o", "loop", str(self._file), str(self.mount_point))

    def unmount(self) -> None:
        """Be gone; what is open on it stays open, as it does with `umount --lazy`."""
        tools.run("umount", "--lazy", str(self.mount_point))

    def die(self) -> None:
        """From now on each read of what is on it fails, of open files too, as of a disk that was pulled out."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _AT_ONCE))
        finally:
            os.close(descriptor)

    def wipe(self) -> None:
        """Be another, empty one, while it is not mounted."""
        # Another file: what is still open of the one before must not be written over.
        self._file.unlink(missing_ok=True)
        with self._file.open("wb") as file:
            file.truncate(self._size)
        tools.run("mke2fs", "-q", "-F", "-t", "ext4", str(self._file))
