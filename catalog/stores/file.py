"""Copies as plain files in a directory, such as one on a fast volume: flat, sparse, cloned where that can be.

A copy is written under another name, made durable, and renamed. Everything that touches the disk runs on this store's
own few threads, since a dead disk hangs.
"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from catalog.blocking import to_its_end
from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.stores.disk_threads import DiskHangs, DiskThreads
from catalog.stores.file_place import NotThere, Unusable
from catalog.stores.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from catalog.store_ports import CopyReader, StoreInfo
    from catalog.stores.file_place import FilePlace

T = TypeVar("T")

TIME_OUT: Final = 10.0
"""Seconds that a step on the disk may take, a few MiB each."""
_PIECE: Final = 1 << 20
_BATCH: Final = 4 << 20
_SYNCED: Final = 64 << 20
"""Bytes after which what was written is made durable, so that no single sync takes long."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FileStore:
    """`catalog.store_ports.Store` over a directory; `seconds` is what each step on the disk may take."""

    def __init__(self, info: StoreInfo, place: FilePlace, *, seconds: float = TIME_OUT) -> None:
        told: dict[str, str | int | bool] = {"data_dir": str(place.directory)}
        if place.mount_point is not None:
            told["mount_point"] = str(place.mount_point)
        self.info = replace(info, properties=told)
        self._place = place
        self._seconds = seconds
        self._threads = DiskThreads(f"store-{info.name}", seconds=seconds)

    def owns(self, url: str) -> bool:
        """By the directory and the form of the name."""
        return self._place.name_of(url) is not None

    def place(self, image_id: str) -> str:
        """A new file's URL."""
        return self._place.new_url(image_id)

    def path(self, url: str) -> str | None:
        """Where the copy lies."""
        name = self._place.name_of(url)
        return None if name is None else self._place.path_of(name)

    async def open(self, url: str, size: int | None) -> FileCopy:
        """Open the file."""
        name = self._name(url)

        def step() -> OpenFile:
            file = OpenFile(self._place.open_copy(name))
            if size is not None and file.size != size:
                file.close()
                raise NotThere
            return file

        try:
            return FileCopy(self, await self.run(step, OpenFile.close))
        except NotThere:
            raise self.lost() from None

    async def write(self, url: str, source: CopyReader) -> None:
        """A part is filled, made durable and renamed; after any failure it and its name are cleared."""
        name = self._name(url)
        try:
            part, file = await self._begin(name)
            try:
                await self._fill(file, source)
                await self.run(lambda: self._place.publish(part, name))
            finally:
                self._threads.later(file.close)
        except NotThere:
            raise StoreDown(f"Store {self.info.name} is down: what was being written there has vanished.") from None
        except BaseException:
            with contextlib.suppress(StoreDown, StoreFull):
                await to_its_end(self.run(lambda: self._place.clear(name)))
            raise

    async def remove(self, url: str) -> None:
        """The file, and what was left of writing it."""
        name = self._place.name_of(url)
        if name is not None:
            await self.run(lambda: self._place.clear(name))

    async def check(self) -> None:
        """Whether the directory, on its volume, can be looked at."""
        await self.run(self._place.look)

    async def close(self) -> None:
        """Threads end as they are free."""
        self._threads.close()

    def lost(self) -> CopyLost:
        """What is said of a copy that is not there."""
        return CopyLost(f"Store {self.info.name} has no such copy, or one of another size.")

    async def run(self, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run one step on this store's threads; its failures are the store's. NotThere passes through."""
        name = self.info.name
        try:
            return await self._threads.run(step, undo)
        except DiskHangs:
            raise StoreDown(f"Store {name} is down: its disk does not answer within {self._seconds:g} s.") from None
        except Unusable as why:
            raise StoreDown(f"Store {name} is down: {why}.") from None
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull(f"Store {name} is full; nothing of the copy was kept.") from None
            raise StoreDown(f"Store {name} is down: {error.strerror or 'its disk failed'}.") from error

    def later(self, step: Callable[[], None]) -> None:
        """Run a step that nobody waits for."""
        self._threads.later(step)

    async def _begin(self, name: str) -> tuple[str, OpenFile]:
        def step() -> tuple[str, OpenFile]:
            part, descriptor = self._place.new_part(name)
            return part, OpenFile(descriptor)

        return await self.run(step, lambda made: made[1].close())

    async def _fill(self, file: OpenFile, source: CopyReader) -> None:
        await self.run(lambda: file.truncate(source.size))
        if not (isinstance(source, FileCopy) and await self._is_filled_from_file(file, source)):
            await self._fill_from_pieces(file, source)
        await self.run(file.sync)

    async def _is_filled_from_file(self, file: OpenFile, source: FileCopy) -> bool:
        """By the kernel: extents are shared where both files can, else copied, holes kept.

        False when that failed: piece by piece it comes to light which of the two disks it is.
        """
        twin = source.twin()
        try:
            if await self.run(lambda: file.clone(twin)):
                return True
            extents = await self.run(lambda: twin.extents(_BATCH))
            unsynced = 0
            for start, stop in extents:
                await self.run(lambda start=start, stop=stop: file.copy(twin, start, stop))  # type: ignore[misc]  # mypy and defaults of lambdas
                unsynced = await self._synced(file, unsynced + stop - start)
        except (StoreDown, EOFError):
            return False
        else:
            return True
        finally:
            self._threads.later(twin.close)

    async def _fill_from_pieces(self, file: OpenFile, source: CopyReader) -> None:
        at = unsynced = 0
        batch = bytearray()
        async for piece in source.read(0, source.size):
            batch += piece
            if len(batch) >= _BATCH:
                unsynced = await self._synced(file, unsynced + await self._put(file, bytes(batch), at))
                at += len(batch)
                batch = bytearray()
        await self._put(file, bytes(batch), at)
        if at + len(batch) != source.size:
            raise CopyLost(f"A copy of {source.size} bytes ended after {at + len(batch)}.")

    async def _put(self, file: OpenFile, data: bytes, at: int) -> int:
        return await self.run(lambda: file.put(data, at))

    async def _synced(self, file: OpenFile, unsynced: int) -> int:
        if unsynced < _SYNCED:
            return unsynced
        await self.run(file.sync)
        return 0

    def _name(self, url: str) -> str:
        name = self._place.name_of(url)
        if name is None:
            raise self.lost()
        return name


class FileCopy:
    """A copy in a directory, open for reading."""

    def __init__(self, store: FileStore, file: OpenFile) -> None:
        self._store = store
        self._file = file

    @property
    def size(self) -> int:
        """The file's length when it was opened."""
        return self._file.size

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """A step for each MiB."""
        while start < stop:
            end = min(start + _PIECE, stop)
            piece = await self._store.run(lambda start=start, end=end: self._file.read(start, end))  # type: ignore[misc]  # mypy and defaults of lambdas
            if not piece:
                raise self.lost()
            yield piece
            start += len(piece)

    def twin(self) -> OpenFile:
        """The file for somebody who clones it."""
        return self._file.twin()

    def lost(self) -> CopyLost:
        """What is said when the file is shorter than it was."""
        return self._store.lost()

    def close(self) -> None:
        """On the store's threads, since that may hang as well."""
        self._store.later(self._file.close)
