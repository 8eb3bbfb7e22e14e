"""Where a pull writes to: a file that appears when it is complete, a block device, or a stream.

Targets are synchronous and are written on a lane of their own. Pieces come in order, without gaps.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from chunker.holes import find_holes
from httpapi.client.errors import TargetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLE: Final = 64 * 1024
PIECE: Final = 1 << 20


class Target(Protocol):
    """`begin`, `write` for each piece, then `finish` once all was verified, or `discard`."""

    name: str
    patient: bool  # whether a write may wait for somebody else for ever, as a pipe's does

    def begin(self, size: int) -> None:
        """`size` bytes will come; TargetRefused if there is no room for them."""

    def write(self, offset: int, piece: memoryview) -> None:
        """The bytes at `offset`; TargetRefused when the disk is full."""

    def finish(self) -> None:
        """All is there: make it durable, and visible under its name."""

    def discard(self) -> str:
        """Takes back what can be taken back; a sentence that says what is left."""


def open_target(path: str, *, force: bool = False) -> Target:
    """`-` is standard output, anything else a path. TargetRefused for what must not be overwritten."""
    if path == "-":
        return StreamTarget(1, "standard output")
    try:
        kind = Path(path).stat().st_mode
    except FileNotFoundError:
        return FileTarget(Path(path), force=force)
    except OSError as failure:
        raise TargetRefused(f"cannot write {path}: {failure.strerror}") from failure
    if stat.S_ISDIR(kind):
        raise TargetRefused(f"{path} is a directory: name a file in it")
    if stat.S_ISREG(kind):
        if not force:
            raise TargetRefused(f"{path} exists: choose another name, or replace it with --force")
        return FileTarget(Path(path), force=True)
    if stat.S_ISBLK(kind):
        if not force:
            raise TargetRefused(f"{path} is a block device, all that is on it would be lost: say so with --force")
        return DeviceTarget(path)
    return StreamTarget(_open(path, os.O_WRONLY), path)


class FileTarget:
    """Writes NAME.part beside the file, with holes for zeros, and renames it when all is verified."""

    patient = False

    def __init__(self, path: Path, *, force: bool) -> None:
        # Through a symlink, so that the file it points to is replaced and not the link.
        self._path = Path(os.path.realpath(path))
        self._part = self._path.with_name(self._path.name + ".part")
        self.name = str(path)
        self._force = force
        self._finished = False
        self._descriptor = self._claim()

    def begin(self, size: int) -> None:
        """Gives the file its whole length; what is never written stays a hole."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as failure:
            raise TargetRefused(f"cannot make {self._part} {size} bytes long: {failure.strerror}") from failure

    def write(self, offset: int, piece: memoryview) -> None:
        """Writes the runs between the holes."""
        for start, stop in _data_runs(piece):
            _write_at(self._descriptor, piece[start:stop], offset + start, str(self._part))

    def finish(self) -> None:
        """File, name and directory are durable afterwards."""
        os.fsync(self._descriptor)
        if not self._force and self._path.exists():
            raise TargetRefused(f"{self.name} came into being meanwhile: choose another name, or use --force")
        self._part.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        os.close(self._descriptor)
        self._finished = True

    def discard(self) -> str:
        """Removes the part."""
        if self._finished:
            return f"{self.name} was complete already"
        with suppress(FileNotFoundError):
            self._part.unlink()
        os.close(self._descriptor)
        return f"the incomplete {self._part} is removed"

    def _claim(self) -> int:
        """Opens the part, taking over one that a killed pull left, but never one that is being written."""
        descriptor = _open(str(self._part), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock its owner may have finished with it.
            mine = os.path.samestat(os.fstat(descriptor), self._part.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        except OSError as failure:
            os.close(descriptor)
            raise TargetRefused(f"cannot lock {self._part}: {failure.strerror}") from failure
        if not mine:
            os.close(descriptor)
            raise TargetRefused(f"another pull is writing {self._part}: wait for it, or choose another name")
        os.ftruncate(descriptor, 0)
        return descriptor


class DeviceTarget:
    """Writes a block device in place, zeros too: what was there before must not shine through."""

    patient = False

    def __init__(self, path: str) -> None:
        self.name = path
        self._finished = self._touched = False
        # O_EXCL refuses a device that is mounted or otherwise in use.
        self._descriptor = _open(path, os.O_WRONLY | os.O_EXCL)

    def begin(self, size: int) -> None:
        """TargetRefused for a device that is too small."""
        room = os.lseek(self._descriptor, 0, os.SEEK_END)
        if room < size:
            raise TargetRefused(f"{self.name} has {room} bytes, the image {size}: it does not fit")

    def write(self, offset: int, piece: memoryview) -> None:
        """Writes it all."""
        self._touched = True
        _write_at(self._descriptor, piece, offset, self.name)

    def finish(self) -> None:
        """The device has the bytes afterwards, not only its cache."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._finished = True

    def discard(self) -> str:
        """Nothing brings back what was there."""
        if self._finished:
            return f"{self.name} was complete already"
        os.close(self._descriptor)
        if not self._touched:
            return f"{self.name} is as it was"
        return f"{self.name} is written in part and must not be used as it is"


class StreamTarget:
    """Standard output, a pipe, a character device: bytes in order, nothing can be taken back."""

    patient = True

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor

    def begin(self, size: int) -> None:
        """Any size."""

    def write(self, offset: int, piece: memoryview) -> None:  # noqa: ARG002 - a stream has no offsets
        """In order; a BrokenPipeError says that nobody reads any more."""
        while piece:
            piece = piece[os.write(self._descriptor, piece) :]

    def finish(self) -> None:
        """Nothing to make durable."""

    def discard(self) -> str:
        """Only the reader can throw it away."""
        return f"what went to {self.name} is incomplete and must not be used"


def _data_runs(piece: memoryview) -> Iterator[tuple[int, int]]:
    """The stretches of `piece` that are not holes, as (start, stop), neighbours joined."""
    ends = [*range(HOLE, len(piece), HOLE), len(piece)]
    start: int | None = None
    for end, hole in zip(ends, find_holes(piece, ends).tolist(), strict=True):
        begin = (end - 1) // HOLE * HOLE
        if hole and start is not None:
            yield start, begin
            start = None
        elif not hole and start is None:
            start = begin
    if start is not None:
        yield start, len(piece)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as failure:
        use = ": it is in use, unmount it first" if failure.errno == errno.EBUSY else f": {failure.strerror}"
        raise TargetRefused(f"cannot write {path}{use}") from failure


def _write_at(descriptor: int, piece: memoryview, offset: int, name: str) -> None:
    try:
        while piece:
            count = os.pwrite(descriptor, piece, offset)
            piece, offset = piece[count:], offset + count
    except OSError as failure:
        raise TargetRefused(f"cannot write {name} at byte {offset}: {failure.strerror}") from failure
