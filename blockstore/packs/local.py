"""Packs as files on a local disk: create, append, sync, seal, read.

One process appends to a pack: the one that holds its flock. A partial append is cut off before others go on. A failed
sync poisons the pack: what the kernel did with its pages is unknown, so it is never synced again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore.block import Frame, Place
from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError, Damaged, Missing, Poisoned
from blockstore.leases.flock import try_lock
from blockstore.names import fan_out
from blockstore.packs import pack_format
from blockstore.packs.pack_format import Start, TableRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from blockstore.disk import Disk

SUFFIX: Final = ".zst"
ASTRAY: Final = "if the pack is right, the index is not: `drystone admin rebuild-index` makes it again from the packs"
EARLY: Final = 32 * 1024 * 1024
"""Bytes after which a pack is synced ahead of its generation, so that the end of an upload waits for the rest only."""


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack that is open to be read, also when its name goes meanwhile."""

    path: Path
    fd: int

    def read_into(self, start: int, room: memoryview) -> None:
        """Fill `room` with the pack's bytes from `start` on; Damaged if it ends too early."""
        with disk_errors(str(self.path)):
            if os.preadv(self.fd, [room], start) != len(room):
                raise _too_short(self.path, os.fstat(self.fd).st_size, start + len(room))

    def close(self) -> None:
        """Once: the number may be another file's afterwards."""
        os.close(self.fd)


class LocalPacks:
    """The packs under one directory, fanned out over 256."""

    def __init__(self, directory: Path, store: bytes, disk: Disk) -> None:
        self._directory = directory
        self._store = store
        self._disk = disk

    def path(self, name: bytes) -> Path:
        """Where the pack with this name lies."""
        text = name.hex()
        return self._directory / fan_out(text) / f"{text}{SUFFIX}"

    def create(self, number: int, name: bytes) -> PackWriter:
        """A new pack, locked, with its first frame written; its name is durable after the first `sync`."""
        path = self.path(name)
        self._disk.make_directory(path.parent)
        fd = self._disk.create(path)
        try:
            try_lock(fd)
            end = self._disk.write(fd, [pack_format.encode_start(Start(self._store, name))], 0, str(path))
        except BaseException:
            os.close(fd)
            with contextlib.suppress(BlockstoreError):
                self._disk.unlink(path)
            raise
        return PackWriter(self._disk, path, fd, number, end)

    def read_many(self, name: bytes, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (start, stop); Missing if there is no such pack, Damaged if it ends too early."""
        with self._opened(name) as (fd, path):
            return [self._read(fd, start, stop, path) for start, stop in ranges]

    def read_into(self, parts: Iterable[tuple[bytes, int, memoryview]]) -> None:
        """Fill each memory with a pack's bytes: (pack, where they start, memory). Errors as `read_many`.

        Each pack is opened once, however strewn its parts are.
        """
        by_pack: dict[bytes, list[tuple[int, memoryview]]] = {}
        for name, start, room in parts:
            by_pack.setdefault(name, []).append((start, room))
        for name, wanted in by_pack.items():
            with contextlib.closing(self.open(name)) as pack:
                for start, room in wanted:
                    pack.read_into(start, room)

    def open(self, name: bytes) -> PackFile:
        """The pack, open to be read; Missing if there is none of this name."""
        path = self.path(name)
        with disk_errors(str(path)):
            try:
                return PackFile(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                raise Missing(f"{path} is gone; {ASTRAY}") from None

    @contextlib.contextmanager
    def _opened(self, name: bytes) -> Iterator[tuple[int, Path]]:
        with contextlib.closing(self.open(name)) as pack, disk_errors(str(pack.path)):
            yield pack.fd, pack.path

    @staticmethod
    def _read(fd: int, start: int, stop: int, path: Path) -> bytes:
        size = os.fstat(fd).st_size
        # Looked at before reading: a damaged row may claim gigabytes.
        piece = os.pread(fd, stop - start, start) if stop <= size else b""
        if len(piece) != stop - start:
            raise _too_short(path, size, stop)
        return piece


def _too_short(path: Path, size: int, stop: int) -> Damaged:
    return Damaged(f"{path} ends at {size}, where an entry should reach {stop}: it was truncated; {ASTRAY}")


class PackWriter:
    """An open pack. `append` is called by one thread at a time; `sync` and `seal` may come from another."""

    def __init__(self, disk: Disk, path: Path, fd: int, number: int, size: int) -> None:
        self.path = path
        self.number = number
        self.size = size
        self._disk = disk
        self._fd = fd
        self._rows: list[TableRow] = []
        self._poisoned = False
        self._named = False
        self._sealed = False
        self._closed = False
        self._syncing = threading.Lock()
        self._synced_early = 0

    def append(self, entries: Sequence[Frame]) -> list[Place]:
        """Write entries at the end; gives their places. After an error none of them is there."""
        self._refuse_poisoned()
        buffers = [part for entry in entries for part in (entry.header, entry.data)]
        try:
            end = self._disk.write(self._fd, buffers, self.size, str(self.path))
        except BlockstoreError:
            self._cut_off()
            raise
        places = []
        for entry in entries:
            place = Place(self.number, self.size, len(entry.data), entry.raw_length)
            places.append(place)
            self._rows.append(TableRow(place.offset, place.raw_length, place.frame_length, entry.digest))
            self.size = place.end
        assert self.size == end
        return places

    def sync(self) -> None:
        """Make everything appended so far durable, and the pack's name with the first call; Poisoned if that fails."""
        with self._syncing:
            self._refuse_poisoned()
            if self._closed:
                # Sealed and durable; a later generation that refers to its blocks asks once more.
                return
            try:
                self._disk.sync(self._fd, str(self.path))
                if not self._named:
                    self._disk.sync_directory(self.path.parent)
            except BlockstoreError as error:
                self._poisoned = True
                raise Poisoned(f"{self.path} could not be synced and is given up: {error}") from error
            self._named = True

    def wants_early_sync(self) -> bool:
        """Whether so much was appended since the last early sync that it is time for one; says so once. As `append`."""
        wants = self.size - self._synced_early >= EARLY
        if wants:
            self._synced_early = self.size
        return wants

    def sync_early(self) -> None:
        """A sync that nobody waits for: should it fail, the pack is poisoned, and whoever needs it is told."""
        with contextlib.suppress(BlockstoreError):
            self.sync()

    def seal(self) -> None:
        """Write the table and sync; nobody may append any more. The register learns of it from the caller."""
        if not self._sealed:
            self._refuse_poisoned()
            table = pack_format.encode_table(self._rows, self.size)
            try:
                self._disk.write(self._fd, [table], self.size, str(self.path))
            except BlockstoreError:
                self._cut_off()
                raise
            self._sealed = True
        self.sync()

    def close(self) -> None:
        """Close the file, which lets its lock go."""
        with self._syncing:
            if not self._closed:
                self._closed = True
                os.close(self._fd)

    @property
    def poisoned(self) -> bool:
        """Whether a sync or a cut failed: no append, no sync any more."""
        return self._poisoned

    def _refuse_poisoned(self) -> None:
        if self._poisoned:
            raise Poisoned(f"{self.path} failed earlier and is given up")

    def _cut_off(self) -> None:
        try:
            self._disk.truncate(self._fd, self.size, str(self.path))
        except BlockstoreError:
            self._poisoned = True
