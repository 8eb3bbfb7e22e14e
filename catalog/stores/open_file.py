"""An open file of a store, and what its threads do with it."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING, Final

from blockstore.file_clone import clone, copy_range, data_extents
from chunker.holes import find_holes, is_zero

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLE: Final = 64 << 10


class OpenFile:
    """An open file that any thread may use and close: it is closed when nobody uses it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False
        self.size = os.fstat(descriptor).st_size

    def close(self) -> None:
        """Now, or after its last user; may be called again."""
        with self._lock:
            ours = not self._is_closed and not self._users
            self._is_closed = True
        if ours:
            os.close(self._descriptor)

    def read_into(self, room: memoryview, at: int) -> int:
        """Fill the room; gives how many bytes there were, none only where the file ends."""
        with self._used() as descriptor:
            return os.preadv(descriptor, [room], at)

    def truncate(self, size: int) -> None:
        """One hole of this size."""
        with self._used() as descriptor:
            os.ftruncate(descriptor, size)

    def put(self, data: memoryview, at: int) -> None:
        """Write what is no hole."""
        with self._used() as descriptor:
            for start, stop in _runs(data, at):
                done = start
                while done < stop:
                    done += os.pwrite(descriptor, data[done:stop], at + done)

    def sync(self) -> None:
        """Bytes and size are durable."""
        with self._used() as descriptor:
            os.fdatasync(descriptor)

    def twin(self) -> OpenFile:
        """The same file for another user."""
        with self._used() as descriptor:
            return OpenFile(os.dup(descriptor))

    def clone(self, source: OpenFile) -> bool:
        """All of the source, by sharing its extents; False where that cannot be."""
        with self._used() as target, source._used() as descriptor:
            return clone(descriptor, target)

    def copy(self, source: OpenFile, start: int, stop: int) -> None:
        """The same range of the source."""
        with self._used() as target, source._used() as descriptor:
            copy_range(descriptor, target, start, stop)

    def extents(self, longest: int) -> list[tuple[int, int]]:
        """What is no hole."""
        with self._used() as descriptor:
            return list(data_extents(descriptor, self.size, longest))

    @contextlib.contextmanager
    def _used(self) -> Iterator[int]:
        with self._lock:
            if self._is_closed:
                raise OSError(errno.EBADF, "closed meanwhile")
            self._users += 1
        try:
            yield self._descriptor
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._is_closed and not self._users
        if last:
            os.close(self._descriptor)


def _runs(data: memoryview, at: int) -> Iterator[tuple[int, int]]:
    """Start and end, in `data`, of what is no hole of whole 64 KiB; `at` is where in the file it begins."""
    head = min(-at % _HOLE, len(data))
    ends = [*range(head + _HOLE, len(data), _HOLE), len(data)] if head < len(data) else []
    pieces = [(0, head, is_zero(data[:head]))] if head else []
    holes = find_holes(data[head:], [end - head for end in ends])
    pieces += [(start, end, bool(hole)) for start, end, hole in zip([head, *ends], ends, holes.tolist(), strict=False)]
    begun: int | None = None
    for start, _, hole in pieces:
        if hole and begun is not None:
            yield begun, start
            begun = None
        elif not hole and begun is None:
            begun = start
    if begun is not None:
        yield begun, len(data)
