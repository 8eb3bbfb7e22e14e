"""A pull's file: it appears under its name when it is complete, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chunker.holes import find_holes
from httpapi.client.errors import TargetRefused
from httpapi.client.part import hidden_beside, make_part
from httpapi.client.writing import refusing, write_at

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLE: Final = 64 * 1024
# How file systems say that they have no hard links.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class FileTarget:
    """Writes a hidden part beside the file, with holes for zeros; it gets the file's name when all is verified."""

    patient = False

    def __init__(self, path: Path, *, force: bool, part: tuple[Path, int] | None = None) -> None:
        self.name = str(path)
        # Through a symlink, so that the file it points to is replaced and not the link.
        self._path = Path(os.path.realpath(path))
        self._force = force
        self._placed = self._finished = False
        self._part, self._descriptor = part or make_part(self._path, name=self.name)

    @property
    def part(self) -> Path:
        """The hidden file that gets the name: for who writes it by other ways than `write`."""
        return self._part

    def beside(self, suffix: str) -> Path:
        """Another hidden file that belongs to this one, always of the same name."""
        return hidden_beside(self._path, suffix)

    def begin(self, size: int) -> None:
        """Gives the part its whole length; what is never written stays a hole."""
        with refusing(f"cannot make {self.name} {size} bytes long"):
            os.ftruncate(self._descriptor, size)

    def write(self, offset: int, piece: memoryview) -> None:
        """Writes the runs between the holes."""
        for start, stop in _data_runs(piece):
            write_at(self._descriptor, piece[start:stop], offset + start, self.name)

    def finish(self) -> None:
        """File, name and directory are durable afterwards."""
        with refusing(f"cannot complete {self.name}"):
            _set_permissions(self._descriptor, self._replaced())
            os.fsync(self._descriptor)
            self._place()
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
        os.close(self._descriptor)
        if self._placed:
            return f"{self.name} is complete, but the disk does not confirm that it is durable"
        try:
            self._part.unlink(missing_ok=True)
        except OSError as failure:
            return f"the incomplete {self._part} cannot be removed: {failure.strerror}"
        return f"the incomplete {self.name} is removed"

    def _replaced(self) -> os.stat_result | None:
        """The file that is to be replaced, None if there is none; TargetRefused for what is no file."""
        if not self._force:
            return None
        try:
            old = self._path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(old.st_mode):
            raise TargetRefused(f"{self.name} is no regular file any more: choose another name")
        return old

    def _place(self) -> None:
        """Gives the part the file's name; without force never over a file that came into being meanwhile."""
        if self._force:
            self._part.replace(self._path)
            self._placed = True
            return
        try:
            try:
                os.link(self._part, self._path)
            except OSError as failure:
                if failure.errno not in _NO_LINKS:
                    raise
                self._place_without_links()
        except FileExistsError:
            raise TargetRefused(f"{self.name} came into being meanwhile: choose another name, or use --force") from None
        self._placed = True
        self._part.unlink(missing_ok=True)

    def _place_without_links(self) -> None:
        """Takes the name with an empty file first: only one can make it, and ours may be replaced."""
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._part.replace(self._path)
        except OSError:
            self._path.unlink()
            raise


def _set_permissions(descriptor: int, old: os.stat_result | None) -> None:
    """Those of the file that is replaced, never wider; else what any new file gets."""
    if old is None:
        mode = 0o666 & ~_umask()
    else:
        mode = stat.S_IMODE(old.st_mode) & 0o777
        if not _give_to(descriptor, old.st_uid, old.st_gid):
            # What the old group might do is not the new group's.
            mode &= ~0o070 | (mode & 0o007) << 3
    # Some file systems know no permissions; then there is nothing to keep.
    with suppress(OSError):
        os.fchmod(descriptor, mode)


def _give_to(descriptor: int, user: int, group: int) -> bool:
    """Gives the file to the user and group, or to the group; whether the group has it now."""
    for owner in (user, -1):
        with suppress(OSError):
            os.fchown(descriptor, owner, group)
            return True
    return False


def _umask() -> int:
    # It can be read only by setting it; the strictest does no harm to what another thread makes meanwhile.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
