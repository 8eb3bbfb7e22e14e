"""Where a pull writes to: a file that appears when it is complete, a block device, or a stream.

Targets are synchronous and are written on a lane of their own. Pieces come in order, without gaps.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from pathlib import Path
from typing import Final, Protocol

from httpapi.client.errors import TargetRefused
from httpapi.client.file_target import FileTarget
from httpapi.client.writing import open_to_write, refusing, write_at

PIECE: Final = 1 << 20
_POLL_SECONDS: Final = 0.1


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
    kind = _kind_of(path)
    if kind is None:
        return FileTarget(Path(path), force=force)
    if stat.S_ISDIR(kind):
        raise TargetRefused(f"{path} is a directory: name a file in it")
    if stat.S_ISSOCK(kind):
        raise TargetRefused(f"{path} is a socket: name a file, or pipe standard output (`-`) to what serves it")
    if stat.S_ISREG(kind):
        if not force:
            raise TargetRefused(f"{path} exists: choose another name, or replace it with --force")
        return FileTarget(Path(path), force=True)
    if stat.S_ISBLK(kind):
        if not force:
            raise TargetRefused(f"{path} is a block device, all that is on it would be lost: say so with --force")
        return DeviceTarget(path)
    return NamedStreamTarget(path)


def _kind_of(path: str) -> int | None:
    """The mode of what is there, None if nothing is."""
    if not path:
        raise TargetRefused("an empty text names no file: name one, or leave it out")
    try:
        return Path(path).stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise TargetRefused(f"cannot write {path}: {failure.strerror}") from failure


class DeviceTarget:
    """Writes a block device in place, zeros too: what was there before must not shine through."""

    patient = False

    def __init__(self, path: str, *, readable: bool = False) -> None:
        self.name = path
        self._finished = self._touched = False
        # O_EXCL refuses a device that is mounted or otherwise in use.
        way = os.O_RDWR if readable else os.O_WRONLY
        self._descriptor = open_to_write(path, way | os.O_EXCL, name=path)

    def begin(self, size: int) -> None:
        """TargetRefused for a device that is too small."""
        with refusing(f"cannot tell the size of {self.name}"):
            room = os.lseek(self._descriptor, 0, os.SEEK_END)
        if room < size:
            raise TargetRefused(f"{self.name} has {room} bytes, the image {size}: it does not fit")

    def write(self, offset: int, piece: memoryview) -> None:
        """Writes it all."""
        self._touched = True
        write_at(self._descriptor, piece, offset, self.name)

    def finish(self) -> None:
        """The device has the bytes afterwards, not only its cache."""
        with refusing(f"cannot complete {self.name}"):
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
    """Standard output, or another open descriptor: bytes in order, nothing can be taken back."""

    patient = True

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor

    def begin(self, size: int) -> None:
        """Any size."""

    def write(self, offset: int, piece: memoryview) -> None:  # noqa: ARG002 - a stream has no offsets
        """In order; a BrokenPipeError says that nobody reads any more."""
        while piece:
            piece = piece[_write(self._descriptor, piece, self.name) :]

    def finish(self) -> None:
        """Nothing to make durable."""

    def discard(self) -> str:
        """Only the reader can throw it away."""
        return f"what went to {self.name} is incomplete and must not be used"


class NamedStreamTarget:
    """A named pipe or a character device: opened when the bytes are there, and never waited for blindly.

    A named pipe opens only when somebody reads it, so waiting for that, and for room in it, ends on `discard`.
    """

    patient = True

    def __init__(self, path: str) -> None:
        self.name = path
        self._descriptor: int | None = None
        self._finished = False
        self._stopped = threading.Event()
        # Whoever holds it uses the descriptor: it is not closed under a write.
        self._turn = threading.Lock()

    def begin(self, size: int) -> None:  # noqa: ARG002 - a stream takes any size
        """Waits until somebody reads."""
        with self._turn:
            while not self._stopped.is_set():
                if self._open():
                    return
                self._stopped.wait(_POLL_SECONDS)
        raise TargetRefused(f"nobody has opened {self.name} to read it")

    def write(self, offset: int, piece: memoryview) -> None:  # noqa: ARG002 - a stream has no offsets
        """In order; a BrokenPipeError says that nobody reads any more."""
        with self._turn:
            room = select.poll()
            while piece:
                if self._stopped.is_set() or self._descriptor is None:
                    raise TargetRefused(f"{self.name} takes no more bytes, the transfer was given up")
                room.register(self._descriptor, select.POLLOUT)
                try:
                    piece = piece[_write(self._descriptor, piece, self.name) :]
                except BlockingIOError:
                    room.poll(_POLL_SECONDS * 1000)

    def finish(self) -> None:
        """The reader meets the end."""
        with self._turn:
            self._finished = self._close()

    def discard(self) -> str:
        """Only the reader can throw away what it got."""
        self._stopped.set()
        with self._turn:
            if self._finished:
                return f"{self.name} got it all already"
            if not self._close():
                return f"nothing was written to {self.name}"
        return f"what went to {self.name} is incomplete and must not be used"

    def _open(self) -> bool:
        """False for a pipe that nobody reads yet."""
        kind = 0
        try:
            kind = Path(self.name).stat().st_mode
            self._descriptor = os.open(self.name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as failure:
            if failure.errno == errno.ENXIO and stat.S_ISFIFO(kind):
                return False
            raise TargetRefused(f"cannot write {self.name}: {failure.strerror}") from failure
        kind = os.fstat(self._descriptor).st_mode
        if not stat.S_ISFIFO(kind) and not stat.S_ISCHR(kind):
            self._close()
            raise TargetRefused(f"{self.name} is another kind of file than a moment ago: choose another name")
        return True

    def _close(self) -> bool:
        """Whether there was anything to close."""
        if self._descriptor is None:
            return False
        os.close(self._descriptor)
        self._descriptor = None
        return True


def _write(descriptor: int, piece: memoryview, name: str) -> int:
    """The number of bytes a stream took; those who call know what it means that nobody reads, or not now."""
    try:
        return os.write(descriptor, piece)
    except (BrokenPipeError, BlockingIOError):
        raise
    except OSError as failure:
        raise TargetRefused(f"cannot write {name}: {failure.strerror}") from failure
