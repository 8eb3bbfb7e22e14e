"""What a pull of changes writes to: a file that already has some of the image's blocks.

A regular file is never changed in place: its part, a private copy beside it, becomes the image and then takes its
name, so the name always stands for the whole old file or the whole new one. The copy shares its blocks with the old
file where the file system can (reflink). What a pull that was killed left of a part is taken over by the next one: each
block in it is compared with the image, so nothing needs to be written down. A block device has no room for a copy:
it is written in place, only where it differs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from blockstore.file_clone import clone
from httpapi.client.block_file import BlockFile, open_block_file
from httpapi.client.errors import SourceRefused, TargetRefused
from httpapi.client.file_target import FileTarget
from httpapi.client.part import take_part
from httpapi.client.target import PIECE, DeviceTarget
from httpapi.client.writing import refusing, write_at

if TYPE_CHECKING:
    from collections.abc import Sequence

_PUNCH_AND_KEEP_SIZE: Final = 3
_NO_PUNCH: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})
_ZEROS: Final = memoryview(bytes(PIECE))


class UpdateTarget(Protocol):
    """`prepare`, any number of `put` and `zero` on any threads, then `finish`, or `leave` or `discard`."""

    name: str

    @property
    def seeds(self) -> Sequence[BlockFile]:
        """Other files that may have blocks of the image at the same place."""

    @property
    def can_gain(self) -> bool:
        """Whether a block of the image may be here already."""

    def prepare(self, size: int) -> BlockFile:
        """What the image of `size` bytes is to become of; TargetRefused if there is no room."""

    def put(self, offset: int, block: memoryview) -> None:
        """Writes a block."""

    def zero(self, offset: int, length: int) -> None:
        """Makes these bytes zeros, and a hole where that can be."""

    def finish(self) -> None:
        """All is there: make it durable, and visible under its name."""

    def leave(self) -> str:
        """Keeps what is there for the next pull; a sentence that says so."""

    def discard(self) -> str:
        """Takes back what can be taken back; a sentence that says what is left."""


def open_update(path: str, seeds: Sequence[str], *, force: bool, empty: bool = False) -> UpdateTarget | None:
    """None where a whole download is as good: nothing is there yet that could have a block of the image.

    With `empty` a file of which nothing is there is an update, too. What `open_target` would refuse is left to that.
    TargetRefused when another pull is writing the same file; SourceRefused for a seed.
    """
    if path == "-" or not path:
        return None
    try:
        kind: int | None = Path(path).stat().st_mode
    except OSError:
        kind = None
    opened = [open_block_file(each) for each in seeds]
    try:
        if kind is not None and stat.S_ISBLK(kind) and force:
            return UpdatedDevice(path, opened)
        if kind is None or (stat.S_ISREG(kind) and force):
            target = UpdatedFile(Path(path), opened, force=force)
            if empty or target.can_gain:
                return target
            target.discard()
    except BaseException:
        for each in opened:
            each.close()
        raise
    for each in opened:
        each.close()
    return None


class UpdatedFile(FileTarget):
    """A file by way of its part; the file that is there already is the first seed."""

    def __init__(self, path: Path, seeds: Sequence[BlockFile], *, force: bool) -> None:
        part, descriptor, self._resumed = take_part(Path(os.path.realpath(path)), name=str(path))
        super().__init__(path, force=force, part=(part, descriptor))
        self.seeds: Sequence[BlockFile] = seeds
        try:
            # The old file is only a seed: one that can't be read may be replaced all the same.
            with suppress(SourceRefused):
                if force and self._path.is_file():
                    self.seeds = [open_block_file(str(self._path)), *seeds]
        except BaseException:
            super().discard()
            raise

    @property
    def can_gain(self) -> bool:
        """Whether a block of the image may be here already."""
        return self._resumed or bool(self.seeds)

    def prepare(self, size: int) -> BlockFile:
        """The part, in its whole length; a new one is a copy of the first seed where that costs nothing."""
        if not self._resumed and self.seeds:
            self._clone(self.seeds[0])
        self.begin(size)
        return BlockFile(self._descriptor, self.name)

    def put(self, offset: int, block: memoryview) -> None:
        """Writes a block."""
        write_at(self._descriptor, block, offset, self.name)

    def zero(self, offset: int, length: int) -> None:
        """Punches a hole."""
        make_zeros(self._descriptor, offset, length, self.name)

    def finish(self) -> None:
        """As any file, see FileTarget."""
        super().finish()
        self._close_seeds()

    def leave(self) -> str:
        """The part stays, hidden, for the next pull of the same file."""
        if self._finished or self._placed:
            return self.discard()
        os.close(self._descriptor)
        self._close_seeds()
        return f"what has arrived of {self.name} is kept beside it: the same command goes on where this one stopped"

    def discard(self) -> str:
        """Removes the part."""
        self._close_seeds()
        return super().discard()

    def _clone(self, seed: BlockFile) -> None:
        # On another file system, or one that cannot, blocks are copied one by one.
        with suppress(OSError):
            clone(seed.descriptor, self._descriptor)

    def _close_seeds(self) -> None:
        for seed in self.seeds:
            seed.close()
        self.seeds = []


class UpdatedDevice(DeviceTarget):
    """A block device in place."""

    can_gain = True

    def __init__(self, path: str, seeds: Sequence[BlockFile]) -> None:
        super().__init__(path, readable=True)
        self.seeds: Sequence[BlockFile] = seeds

    def prepare(self, size: int) -> BlockFile:
        """The device's beginning, which becomes the image; what is behind it is not looked at."""
        self.begin(size)
        device = BlockFile(self._descriptor, self.name)
        device.size = size
        return device

    def put(self, offset: int, block: memoryview) -> None:
        """Writes a block."""
        self.write(offset, block)

    def zero(self, offset: int, length: int) -> None:
        """Zeros, as the device can."""
        self._touched = True
        make_zeros(self._descriptor, offset, length, self.name)

    def leave(self) -> str:
        """The device is a mixture now, unless it is complete or as it was."""
        said = self.discard()
        if self._finished or not self._touched:
            return said
        return f"{said}: the same command goes on where this one stopped"


def make_zeros(descriptor: int, offset: int, length: int, name: str) -> None:
    """A hole where the file system or device can make one, else written zeros."""
    libc = ctypes.CDLL(None, use_errno=True)
    where = (ctypes.c_int64(offset), ctypes.c_int64(length))
    if not libc.fallocate(descriptor, _PUNCH_AND_KEEP_SIZE, *where):
        return
    failure = ctypes.get_errno()
    if failure not in _NO_PUNCH:
        raise TargetRefused(f"cannot make a hole in {name} at byte {offset}: {os.strerror(failure)}")
    with refusing(f"cannot write {name}"):
        for at in range(offset, offset + length, PIECE):
            write_at(descriptor, _ZEROS[: min(PIECE, offset + length - at)], at, name)
