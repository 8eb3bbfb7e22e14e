"""Whether a virtual machine is writing to a file: then its bytes are of no one moment."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from httpapi.client.block_file import BlockFile

# QEMU takes a shared lock on the byte 100 + n for the permission n that it uses (block/file-posix.c); 1 is to write.
_WRITE_LOCK: Final = 101
# struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("hhqqi4x")
_PROC: Final = Path("/proc")
_PROGRAMS: Final = ("qemu", "kvm")


def writer_of(file: BlockFile, processes: Path = _PROC) -> str | None:
    """Who has the file open to write as a QEMU does, in words; None if nobody, as far as this user may see."""
    return _by_lock(file) or _by_process(file, processes)


def _by_lock(file: BlockFile) -> str | None:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE_LOCK, 1, 0)
    try:
        found = _FLOCK.unpack(fcntl.fcntl(file.descriptor, fcntl.F_OFD_GETLK, asked))
    except OSError:
        # This file system has no locks.
        return None
    return None if found[0] == fcntl.F_UNLCK else "a QEMU"


def _by_process(file: BlockFile, processes: Path) -> str | None:
    mine = os.fstat(file.descriptor)
    for process in processes.iterdir():
        # Other users' processes, and those that end meanwhile, can't be looked at.
        with suppress(OSError):
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            if not process.name.isdigit() or not name.startswith(_PROGRAMS):
                continue
            for descriptor in (process / "fd").iterdir():
                theirs = descriptor.stat()
                same = os.path.samestat(mine, theirs) or (file.is_device and mine.st_rdev == theirs.st_rdev)
                if same and _writes(process, descriptor.name):
                    return f"process {process.name} ({name})"
    return None


def _writes(process: Path, descriptor: str) -> bool:
    for line in (process / "fdinfo" / descriptor).read_text(encoding="ascii").splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & os.O_ACCMODE)
    return False
