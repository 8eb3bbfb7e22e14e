"""Rooms: directories in which jobs have foreign programs work on files, and what is looked after around them.

A room is `DIRECTORY/STORE/PROCESS/CLAIM`, by the block store's id, the name of the worker's process lock, and the id of
the worker's hold on the job: one directory may serve several stores. It is there for one try of one job. Nothing in it
is anybody's record: a worker that was killed leaves files, and whoever sweeps removes the rooms of processes that hold
their lock no more. `DIRECTORY` may be one that others write, such as /var/tmp: what lies in `STORE` is made and removed
only where that is a directory of our own, and no link to another.

While a room is open its disk is watched. What is left for others is never used up: the work ends with StoreFull before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.blocking import StepThreads, kept, to_its_end
from catalog.model.errors import ConversionRefused, ConversionUnavailable, StoreFull
from catalog.stores.filling import Filling
from catalog.stores.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
    from pathlib import Path

    from catalog.store_ports import CopyReader

_log = logging.getLogger("drystone.rooms")

THREADS: Final = 4
SECONDS: Final = 0.5
"""Between two looks at a disk while a room is open."""
_RESERVE: Final = 1 << 30


def spared(directory: Path) -> bool:
    """Whether its disk has room for work: the last GiB is for others."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize >= _RESERVE


class Rooms:
    """All rooms below `directory`, as one process sees them: its own, and those that dead ones left.

    `has_space` says of a directory whether its disk has room for work.
    """

    def __init__(
        self,
        directory: Path,
        *,
        store: str,
        process: str,
        is_alive: Callable[[str], bool],
        has_space: Callable[[Path], bool] = spared,
    ) -> None:
        self._all = directory / store
        self._process = process
        self._is_alive = is_alive
        self._has_space = has_space
        self._open: set[str] = set()
        self._threads = StepThreads("rooms", THREADS)

    @asynccontextmanager
    async def room(self, name: str) -> AsyncGenerator[Room, None]:
        """An empty room for one try of a job, removed at the end whatever that is; no other one has this name.

        Raises StoreFull where the disk has no room, or has none any more: whoever works in it is then cancelled.
        ConversionUnavailable where the directory is none of ours.
        """
        room = Room(self._all / self._process / name, self._threads)
        self._open.add(name)
        try:
            await self._threads.run(partial(self._make, room.path))
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._watch(limit))
                try:
                    yield room
                finally:
                    watch.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._full() from None
        finally:
            # Seconds for what is large: but never a room that stays because nobody waited.
            await to_its_end(self._threads.run(partial(_remove, room.path)))
            self._open.discard(name)

    async def sweep(self) -> int:
        """Remove the rooms of dead processes, and those of this one's that could not be removed; how many it was."""
        return await self._threads.run(self._sweep)

    def close(self) -> None:
        """No room is open any more, and none will be."""
        self._threads.close()

    def _make(self, path: Path) -> None:
        self._all.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self._all.mkdir(mode=0o700)
        if not self._is_ours():
            raise ConversionUnavailable(
                f"{self._all} is a link, or somebody else's: remove it, or set another work_dir."
            )
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not self._has_space(path.parent):
            raise self._full()
        # What a try before could not remove.
        _remove(path)
        path.mkdir(mode=0o700)

    async def _watch(self, limit: asyncio.Timeout) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            if not await self._threads.run(partial(self._has_space, self._all)):
                limit.reschedule(asyncio.get_running_loop().time())
                return

    def _is_ours(self) -> bool:
        found = self._all.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()

    def _full(self) -> StoreFull:
        _log.warning("the disk of work_dir %s is nearly full: a job that works there has to wait", self._all.parent)
        return StoreFull("The service's disk for conversions is nearly full: try again later.")

    def _sweep(self) -> int:
        count = 0
        if not self._all.exists() or not self._is_ours():
            return count
        for process in _directories(self._all):
            is_own = process.name == self._process
            if not is_own and self._is_alive(process.name):
                continue
            for room in _directories(process):
                if not is_own or room.name not in self._open:
                    _remove(room)
                    count += 1
            if not is_own:
                _remove(process)
        return count


@dataclass(frozen=True, slots=True)
class Room:
    """One open room; `path` is its directory. Its files have names, and whoever works in it may make more of them."""

    path: Path
    _threads: StepThreads

    async def fill(self, name: str, reader: CopyReader) -> None:
        """A new file with all of the reader's bytes, its holes left out. What the reader raises passes through."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = await kept(self._threads.run(lambda: OpenFile(os.open(self.path / name, flags, 0o600))), OpenFile.close)
        try:
            await self._threads.run(partial(file.truncate, reader.size))
            filling = Filling(self._threads.run, file, durable=False)
            try:
                await filling.take(reader)
            finally:
                await filling.end()
        finally:
            file.close()

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncIterator[FileSource]:
        """A file that a program has made here, to be read through; refused if it is no plain file of its own."""
        file = await kept(self._threads.run(partial(_open, self.path / name)), OpenFile.close)
        source = FileSource(file, self._threads)
        try:
            yield source
        finally:
            source.close()

    async def remove(self, name: str) -> None:
        """A file is not needed any more: its space is."""
        await self._threads.run(partial((self.path / name).unlink, missing_ok=True))


class FileSource:
    """`catalog.ports.Source` of a file; `size` in bytes. `on_progress` is told how many of them were read."""

    def __init__(self, file: OpenFile, threads: StepThreads) -> None:
        self._file = file
        self._threads = threads
        self._at = 0
        self.on_progress: Callable[[int, int], None] = _tell_nobody

    @property
    def size(self) -> int:
        """The file's length."""
        return self._file.size

    async def read_into(self, room: memoryview) -> int:
        """The next bytes. When this ends, however it does, nobody writes into `room` any more: it may be another's."""
        got = await to_its_end(self._threads.run(partial(self._file.read_into, room, self._at)))
        self._at += got
        self.on_progress(self._at, self.size)
        return got

    def close(self) -> None:
        """Let the file go; the step that may still read it has it until then."""
        self._file.close()


def _tell_nobody(_done: int, _size: int) -> None:
    """Where nobody asks."""


def _open(path: Path) -> OpenFile:
    # The program that made it may have been led astray by what it read.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise ConversionRefused("The conversion made no file that could be read.") from None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return OpenFile(descriptor)
    os.close(descriptor)
    raise ConversionRefused("The conversion made no file that could be read.")


def _directories(path: Path) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    yield from (path / name for name in found)


def _remove(path: Path) -> None:
    """What cannot be removed stays for the next sweep."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("a job's room stays behind in %s: %s", path, error)
