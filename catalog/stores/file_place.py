"""A directory that holds copies: the names in it, and the way in, on which no link and no missing volume leads astray.

A copy of image ID is the file `ID[:2]/ID.RANDOM`, and `ID.RANDOM.MORE.part` beside it while it is being written. All is
opened relative to the directory, link by link refused. Where a mount point is configured, the directory is reached from
there, and only if what is open there is that mount: a volume that is not mounted is down, never empty.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"([0-9a-zA-Z]{2})[0-9a-zA-Z-]{0,62}\.[0-9a-f]{32}", re.ASCII)
_IMAGE: Final = re.compile(r"[0-9a-zA-Z]{2}[0-9a-zA-Z-]{0,62}", re.ASCII)
_PART: Final = ".part"
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ASTRAY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class NotThere(Exception):
    """The directory is there, and such a copy is not in it."""


class Unusable(Exception):
    """The directory cannot be used now; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """`directory` and `mount_point` as they were configured, absolute; `mode` is that of copies."""

    directory: Path
    mount_point: Path | None = None
    mode: int = 0o600

    @property
    def prefix(self) -> str:
        """What each URL begins with."""
        return f"file://{quote(str(self.directory))}/"

    def new_url(self, image_id: str) -> str:
        """A URL that was never given before."""
        if not _IMAGE.fullmatch(image_id):
            raise ValueError(f"{image_id!r} is no image's id.")
        return f"{self.prefix}{image_id[:2]}/{image_id}.{secrets.token_hex(16)}"

    def name_of(self, url: str) -> str | None:
        """The copy's own file name, if the URL is one of this directory's."""
        if not url.startswith(self.prefix):
            return None
        fan, _, name = url[len(self.prefix) :].partition("/")
        match = _NAME.fullmatch(name)
        return name if match is not None and match[1] == fan else None

    def path_of(self, name: str) -> str:
        """Where the copy lies."""
        return str(self.directory / name[:2] / name)

    @contextmanager
    def root(self, *, make: bool = False) -> Iterator[int]:
        """The directory, open. Raises Unusable, NotThere for one that is yet to be made on its volume, and OSError."""
        if self.mount_point is None:
            try:
                found = os.open(self.directory, _OPEN_DIRECTORY)
            except FileNotFoundError:
                raise Unusable(f"its directory {self.directory} does not exist") from None
        else:
            found = self._from_mount_point(self.mount_point, make=make)
        try:
            yield found
        finally:
            os.close(found)

    @contextmanager
    def folder(self, name: str, *, make: bool = False) -> Iterator[int]:
        """The folder that the copy with this name belongs in, open. Raises as `root` does."""
        with self.root(make=make) as root:
            found = _below(root, name[:2], make=make, mode=self._folder_mode, follow=False)
            try:
                yield found
            finally:
                os.close(found)

    def open_copy(self, name: str) -> int:
        """A copy, open for reading. Raises as `folder` does, NotThere also for what is no plain file."""
        with self.folder(name) as folder:
            try:
                found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                if error.errno in _ASTRAY:
                    raise NotThere from None
                raise
        if stat.S_ISREG(os.fstat(found).st_mode):
            return found
        os.close(found)
        raise NotThere

    def new_part(self, name: str) -> tuple[str, int]:
        """A file in which the copy may come to be, open for reading and writing, and what it is called.

        What lay at its name, and what others left who wrote it before, is gone.
        """
        with self.folder(name, make=True) as folder:
            self._clear(folder, name)
            part = f"{name}.{secrets.token_hex(8)}{_PART}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            found = os.open(part, flags, self.mode, dir_fd=folder)
            os.fchmod(found, self.mode)
            return part, found

    def publish(self, part: str, name: str) -> None:
        """The part is the copy from now on, durably; its bytes are durable already."""
        with self.folder(name) as folder:
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def clear(self, name: str) -> None:
        """No copy is there, and no part of one; durably."""
        try:
            with self.folder(name) as folder:
                if self._clear(folder, name):
                    os.fsync(folder)
        except NotThere:
            return

    def look(self) -> None:
        """Touch the volume; raises Unusable or OSError."""
        with self.root(make=True) as root:
            os.statvfs(root)
            with os.scandir(root) as entries:
                next(entries, None)

    @property
    def _folder_mode(self) -> int:
        """Who may read copies may go through the folders to them."""
        return 0o700 | (self.mode & 0o044) | (self.mode & 0o044) >> 2

    def _clear(self, folder: int, name: str) -> bool:
        """The parts first: one that becomes the copy meanwhile is met as the copy."""
        found = False
        with os.scandir(folder) as entries:
            parts = [each.name for each in entries if each.name.startswith(f"{name}.") and each.name.endswith(_PART)]
        for each in (*parts, name):
            try:
                os.unlink(each, dir_fd=folder)
                found = True
            except FileNotFoundError:
                continue
        return found

    def _from_mount_point(self, mount_point: Path, *, make: bool) -> int:
        here = os.open(mount_point, _OPEN_DIRECTORY)
        try:
            _must_be_mounted(here, mount_point)
            for part in self.directory.relative_to(mount_point).parts:
                below = _below(here, part, make=make, mode=self._folder_mode, follow=True)
                os.close(here)
                here = below
        except BaseException:
            os.close(here)
            raise
        return here


def _below(above: int, name: str, *, make: bool, mode: int, follow: bool) -> int:
    flags = _OPEN_DIRECTORY if follow else _OPEN_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        if not make:
            raise NotThere from None
    except OSError as error:
        if error.errno in _ASTRAY and not make:
            raise NotThere from None
        raise
    try:
        os.mkdir(name, mode, dir_fd=above)
    except FileExistsError:
        return os.open(name, flags, dir_fd=above)
    made = os.open(name, flags, dir_fd=above)
    try:
        os.fchmod(made, mode)
        os.fsync(above)
    except BaseException:
        os.close(made)
        raise
    return made


def _must_be_mounted(descriptor: int, mount_point: Path) -> None:
    """A directory that is mounted over itself, as systemd does it for ReadWritePaths, is a mount and no volume."""
    real = os.path.realpath(mount_point)
    if _mount_of(descriptor) not in _mounts_at(real) or not _is_another_volume(descriptor, real):
        raise Unusable(f"no volume is mounted at {mount_point}")


def _is_another_volume(descriptor: int, path: str) -> bool:
    return os.fstat(descriptor).st_dev != Path(path).parent.stat().st_dev


def _mount_of(descriptor: int) -> int:
    """The number of the mount in which an open file lies; proc_pid_fdinfo(5)."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    raise OSError(errno.ENOSYS, "the kernel does not tell mounts apart")


def _mounts_at(path: str) -> frozenset[int]:
    """The numbers of the mounts at a path; proc_pid_mountinfo(5)."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    fields = (line.split(b" ") for line in lines)
    return frozenset(int(each[0]) for each in fields if _unescaped(each[4]) == os.fsencode(path))


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
