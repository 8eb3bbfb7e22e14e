"""A file or block device that is read by position: its size, its holes, and whether it stayed as it was.

Safe on several threads, since nothing depends on where another one has read.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a regular file is the same file with the same bytes; times in nanoseconds.

    `size` is of the bytes that are read. `reading` says how they come of the file, where they are not its own bytes.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    reading: str = ""

    @property
    def touched_ns(self) -> int:
        """When it was last changed, as far as the file system tells."""
        return max(self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Below:
    """A disk that shows wherever the `depth` files over it have nothing; `size` in bytes, `stamp` as if read alone."""

    depth: int
    name: str
    size: int
    stamp: Stamp | None


class Readable(Protocol):
    """Bytes of a known size that are read by position, on several threads. Reading raises SourceRefused."""

    name: str
    size: int  # bytes

    @property
    def files(self) -> Sequence[BlockFile]:
        """The files here whose bytes they are, or are made of."""

    def begin(self) -> None:
        """What can be wrong with it is found now, at the latest. May take a while, and be stopped."""

    def below(self) -> Sequence[Below]:
        """The disks that it lies over, the nearest first; mostly none."""

    def above(self, depth: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what lies over the disk of this depth."""

    def end(self) -> int:
        """Its size now."""

    def stamp(self) -> Stamp | None:
        """What it is now, None if nothing tells."""

    def settle(self) -> None:
        """Whatever is written to it from now on changes its stamp; may take as long as a disk takes."""

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """Reads all of `piece` from `offset` on."""

    def next_data(self, start: int) -> tuple[int, int]:
        """The next stretch of data from `start` on, as (start, stop): before it lies a hole. Both `size` at the end."""

    def changed_size(self) -> str:
        """The sentence for one that did."""

    def changed_bytes(self) -> str:
        """The sentence for one that was written to."""

    def stop(self) -> None:
        """For good, from any thread: a read that waits for somebody else gives up."""

    def close(self) -> None:
        """Frees what it has open."""


class BlockFile:
    """An open regular file or block device; `size` in bytes is what it had when it was opened."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.name = path
        self.descriptor = descriptor
        kind = os.fstat(descriptor).st_mode
        self.is_device, self.is_regular = stat.S_ISBLK(kind), stat.S_ISREG(kind)
        self.size = self.end()
        if self.is_device:
            _read_afresh(descriptor)

    @property
    def files(self) -> Sequence[BlockFile]:
        """Itself."""
        return (self,)

    def begin(self) -> None:
        """It is open."""

    def below(self) -> Sequence[Below]:
        """None."""
        return ()

    def above(self, depth: int) -> Iterator[tuple[int, int]]:
        """There is nothing below."""
        raise AssertionError(depth)

    def end(self) -> int:
        """Its size now."""
        # Seeking tells a block device's size too, where fstat says 0.
        return os.lseek(self.descriptor, 0, os.SEEK_END)

    def stamp(self) -> Stamp | None:
        """What it is now; None for a block device, whose times say nothing of its bytes."""
        if self.is_device:
            return None
        found = os.fstat(self.descriptor)
        return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def settle(self) -> None:
        """What was written through memory maps is written back: the next such write to a page sets the times again."""
        # One that can't be synced is on no disk of ours.
        with suppress(OSError):
            os.fdatasync(self.descriptor)

    def fill(self, piece: memoryview, offset: int) -> memoryview:
        """Reads all of `piece` from `offset` on; SourceRefused if there are not so many bytes."""
        done = 0
        while done < len(piece):
            try:
                count = os.preadv(self.descriptor, [piece[done:]], offset + done)
            except OSError as failure:
                at = offset + done
                raise SourceRefused(f"cannot read {self.name} at byte {at}: {failure.strerror}") from failure
            if not count:
                raise SourceRefused(self.changed_size())
            done += count
        return piece

    def next_data(self, start: int) -> tuple[int, int]:
        """The next stretch of data from `start` on, as (start, stop): before it lies a hole. Both `size` at the end."""
        try:
            data = os.lseek(self.descriptor, start, os.SEEK_DATA)
            return min(data, self.size), min(os.lseek(self.descriptor, data, os.SEEK_HOLE), self.size)
        except OSError as failure:
            if failure.errno == errno.ENXIO:
                return self.size, self.size
            # This file system or device knows no holes: all is data.
            return start, self.size

    def changed_size(self) -> str:
        """The sentence for a file that did."""
        return (
            f"{self.name} changed its size while it was read (it had {self.size} bytes): "
            "stop what writes to it, or push a snapshot of it"
        )

    def changed_bytes(self) -> str:
        """The sentence for a file that was written to."""
        return (
            f"{self.name} changed while it was read: stop what writes to it, push a snapshot of it, or say --live "
            "if a mixture of before and after will do"
        )

    def stop(self) -> None:
        """Reads end by themselves."""

    def close(self) -> None:
        """Frees the descriptor."""
        os.close(self.descriptor)


def _read_afresh(descriptor: int) -> None:
    """What the kernel keeps in memory of a block device is forgotten, except what is still to be written.

    While anybody has the device open it is kept, and then not told of what is written another way: to a partition of
    it, to the file behind it, by another machine that shares it.
    """
    # A device that takes no advice is read as it is.
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def open_block_file(path: str) -> BlockFile:
    """SourceRefused for what is no regular file or block device, or cannot be read."""
    try:
        # A named pipe without a writer is refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        raise SourceRefused(f"cannot read {path}: {failure.strerror}") from failure
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
        os.close(descriptor)
        raise SourceRefused(f"{path} is no regular file and no block device: only those can be read by position")
    try:
        return BlockFile(descriptor, path)
    except OSError as failure:
        os.close(descriptor)
        raise SourceRefused(f"cannot read {path}: {failure.strerror}") from failure
