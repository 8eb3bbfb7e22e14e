"""Copies as plain files in a directory, such as one on a fast volume: flat, sparse, cloned where that can be.

A copy is written under another name, made durable, and renamed. Everything that touches the disk runs on this store's
own few threads, since a dead disk hangs.
"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from catalog.blocking import to_its_end
from catalog.model.errors import CopyLost, StoreDown, StoreFull
from catalog.stores.disk_threads import DiskHangs, DiskThreads
from catalog.stores.file_place import NotThere, Unusable
from catalog.stores.filling import COPIED_AT_ONCE, Filling
from catalog.stores.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from catalog.store_ports import CopyReader, StoreInfo
    from catalog.stores.file_place import FilePlace

T = TypeVar("T")

TIME_OUT: Final = 10.0
"""Seconds that a step on the disk may take, a few MiB each."""
_PIECE: Final = 1 << 20
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
        # Apart, so that reads don't wait behind the syncs of what is written.
        self._reading = DiskThreads(f"store-{info.name}-read", seconds=seconds)
        self._writing = DiskThreads(f"store-{info.name}-write", seconds=seconds)

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
            return FileCopy(self, await self.reading(step, OpenFile.close))
        except NotThere:
            raise self.lost() from None

    async def write(self, url: str, source: CopyReader) -> None:
        """A part is filled, made durable and renamed; after any failure it and its name are cleared."""
        name = self._name(url)
        try:
            part, file = await self._begin(name)
            try:
                await self._fill(file, source)
                await self._write(lambda: self._place.publish(part, name))
            finally:
                self._writing.later(file.close)
        except NotThere:
            raise StoreDown(f"Store {self.info.name} is down: what was being written there has vanished.") from None
        except BaseException:
            with contextlib.suppress(StoreDown, StoreFull):
                await to_its_end(self._write(lambda: self._place.clear(name)))
            raise

    async def remove(self, url: str) -> None:
        """The file, and what was left of writing it."""
        name = self._place.name_of(url)
        if name is not None:
            await self._write(lambda: self._place.clear(name))

    async def check(self) -> None:
        """Whether the directory, on its volume, can be looked at."""
        await self.reading(self._place.look)

    async def close(self) -> None:
        """Threads end as they are free."""
        self._reading.close()
        self._writing.close()

    def lost(self) -> CopyLost:
        """What is said of a copy that is not there."""
        return CopyLost(f"Store {self.info.name} has no such copy, or one of another size.")

    async def reading(self, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run one step on this store's threads for reading; its failures are the store's. NotThere passes through."""
        with self._told():
            return await self._reading.run(step, undo)

    def close_later(self, file: OpenFile) -> None:
        """On the same threads, since closing may hang as well."""
        self._reading.later(file.close)

    async def _write(self, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        with self._told():
            return await self._writing.run(step, undo)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Around a step: what its failure says of the store."""
        name = self.info.name
        try:
            yield
        except DiskHangs:
            raise StoreDown(f"Store {name} is down: its disk does not answer within {self._seconds:g} s.") from None
        except Unusable as why:
            raise StoreDown(f"Store {name} is down: {why}.") from None
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull(f"Store {name} is full; nothing of the copy was kept.") from None
            raise StoreDown(f"Store {name} is down: {error.strerror or 'its disk failed'}.") from error

    async def _begin(self, name: str) -> tuple[str, OpenFile]:
        def step() -> tuple[str, OpenFile]:
            part, descriptor = self._place.new_part(name)
            return part, OpenFile(descriptor)

        return await self._write(step, lambda made: made[1].close())

    async def _fill(self, file: OpenFile, source: CopyReader) -> None:
        await self._write(lambda: file.truncate(source.size))
        if not (isinstance(source, FileCopy) and await self._is_filled_from_file(file, source)):
            filling = Filling(self._write, file)
            try:
                await filling.take(source)
            finally:
                await filling.end()
        await self._write(file.sync)

    async def _is_filled_from_file(self, file: OpenFile, source: FileCopy) -> bool:
        """By the kernel: extents are shared where both files can, else copied, holes kept.

        False when that failed: piece by piece it comes to light which of the two disks it is.
        """
        twin = source.twin()
        try:
            if await self._write(lambda: file.clone(twin)):
                return True
            filling = Filling(self._write, file)
            try:
                for start, stop in await self._write(lambda: twin.extents(COPIED_AT_ONCE)):
                    await filling.add(partial(file.copy, twin, start, stop), stop - start)
                await filling.all_done()
            finally:
                await filling.end()
        except (StoreDown, EOFError):
            return False
        else:
            return True
        finally:
            self._writing.later(twin.close)

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

    async def read(self, start: int, stop: int) -> AsyncIterator[memoryview]:
        """A step for each MiB, into the same room again."""
        room = memoryview(bytearray(min(_PIECE, max(stop - start, 1))))
        while start < stop:
            wanted = room[: stop - start]
            got = await self._store.reading(partial(self._file.read_into, wanted, start))
            if not got:
                raise self.lost()
            yield wanted[:got]
            start += got

    def twin(self) -> OpenFile:
        """The file for somebody who clones it."""
        return self._file.twin()

    def lost(self) -> CopyLost:
        """What is said when the file is shorter than it was."""
        return self._store.lost()

    def close(self) -> None:
        """On the store's threads, since that may hang as well."""
        self._store.close_later(self._file)
