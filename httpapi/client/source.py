"""Where a push reads from: a regular file or block device, or a stream such as standard input.

Sources are synchronous and are read on a lane of their own.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from pathlib import Path
from typing import Final, Protocol

from httpapi.client.block_file import BlockFile, Readable
from httpapi.client.errors import SourceRefused

PIECE: Final = 1 << 20
ZEROS: Final = memoryview(bytes(PIECE))
STANDARD_INPUT: Final = 0
_POLL_SECONDS: Final = 0.2


class Source(Protocol):
    """Read once from beginning to end."""

    name: str
    size: int | None  # bytes, None if only the end will tell

    def read(self, buffer: memoryview) -> memoryview:
        """The next piece, empty at the end: in `buffer` (its beginning), or a static one of zeros.

        Raises SourceRefused when the source changed or cannot be read.
        """

    def again(self) -> Source | None:
        """The same source from its beginning, None if it can be read only once."""

    def stop(self) -> None:
        """From any thread: a read that waits for data gives up soon."""

    def close(self) -> None:
        """Frees the descriptor, once no read runs any more."""


def open_source(path: str, *, size: int | None = None, live: bool = False) -> Source:
    """`-` is standard input, anything else a path; `size` (bytes) is what a stream is to hold.

    `live`: a file may change while it is read, though not its size.
    """
    if path == "-":
        try:
            return StreamSource(STANDARD_INPUT, "standard input", size)
        except OSError as failure:
            raise SourceRefused(f"cannot read standard input: {failure.strerror}") from failure
    if not path:
        raise SourceRefused("an empty text names no file to push: name one, or `-` for standard input")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as failure:
        raise SourceRefused(f"cannot read {path}: {failure.strerror}") from failure
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or stat.S_ISBLK(kind):
        if size is None:
            return _open_file(descriptor, path, live=live)
        os.close(descriptor)
        raise SourceRefused(f"--size is for streams: {path} has a size of its own")
    if stat.S_ISDIR(kind):
        os.close(descriptor)
        raise SourceRefused(f"{path} is a directory: push one image file")
    return StreamSource(descriptor, path, size)


def _open_file(descriptor: int, path: str, *, live: bool) -> FileSource:
    try:
        source = FileSource(descriptor, path, live=live)
        sized = bool(source.size) or not os.pread(descriptor, 1, 0)
    except OSError as failure:
        os.close(descriptor)
        # What the kernel makes up when it is read, in /proc say, has no end to seek to.
        how = f"it has no size, push what it holds with `cat {path} | drystone push - --name NAME`"
        why = how if failure.errno == errno.EINVAL else failure.strerror
        raise SourceRefused(f"cannot read {path}: {why}") from failure
    if not sized:
        os.close(descriptor)
        raise SourceRefused(f"{path} says it is empty and is not: `cat {path} | drystone push - --name NAME` pushes it")
    return source


def open_export(uri: str) -> Source:
    """An NBD export, see `nbd_file.py`."""
    from httpapi.client.nbd_file import NbdFile

    return PositionedSource(NbdFile(uri), live=True)


class PositionedSource:
    """What can be read by position; holes are sent as zeros without being read."""

    def __init__(self, file: Readable, *, live: bool) -> None:
        self.name = file.name
        self.file = file
        self.size: int | None = file.size
        self._stamp = None if live else file.stamp()
        self._at = 0
        # The data extent that the file system told last: a hole up to `_data`, data up to `_data_stop`.
        self._data = self._data_stop = 0

    def read(self, buffer: memoryview) -> memoryview:
        """The next `len(buffer)` bytes, fewer only at the end."""
        wanted = min(len(buffer), self.file.size - self._at)
        if not wanted:
            return buffer[:0]
        if self._is_hole(self._at, self._at + wanted) and wanted <= PIECE:
            piece = ZEROS[:wanted]
        else:
            piece = self.file.fill(buffer[:wanted], self._at)
        self._at += wanted
        if self._at == self.size and self.file.end() != self.size:
            # Before the last piece leaves, so that the upload fails and not only its check.
            raise SourceRefused(self.file.changed_size())
        if self._at == self.size and self._stamp is not None and self.file.stamp() != self._stamp:
            raise SourceRefused(self.file.changed_bytes())
        return piece

    def again(self) -> PositionedSource | None:
        """None: what is at an address may be something else by now."""
        return None

    def stop(self) -> None:
        """Those of a file end by themselves, others are ended."""
        self.file.stop()

    def close(self) -> None:
        """Frees what is open."""
        self.file.close()

    def _is_hole(self, start: int, stop: int) -> bool:
        if start >= self._data_stop:
            self._data, self._data_stop = self.file.next_data(start)
        return stop <= self._data


class FileSource(PositionedSource):
    """A regular file or a block device, by its open descriptor."""

    def __init__(self, descriptor: int, path: str, *, live: bool = False) -> None:
        super().__init__(BlockFile(descriptor, path), live=live)
        self._live = live

    def again(self) -> FileSource | None:
        """Opens the same path anew."""
        return FileSource(os.open(self.name, os.O_RDONLY | os.O_CLOEXEC), self.name, live=self._live)


class StreamSource:
    """Standard input, a pipe, a character device: read once, to its end or to the size it was said to have."""

    def __init__(self, descriptor: int, name: str, size: int | None) -> None:
        self.name = name
        self._descriptor = descriptor
        self._stopped = threading.Event()
        self._at = 0
        self.size = size if size is not None else self._rest_of_file()

    def read(self, buffer: memoryview) -> memoryview:
        """What has arrived, up to `len(buffer)`; waits for the first byte, and a moment for more."""
        done = 0
        while done < len(buffer) and not self._stopped.is_set():
            if not select.select([self._descriptor], [], [], _POLL_SECONDS)[0]:
                if done:
                    break
                continue
            try:
                count = os.readv(self._descriptor, [buffer[done:]])
            except OSError as failure:
                raise SourceRefused(f"cannot read {self.name}: {failure.strerror}") from failure
            if not count:
                break
            done += count
        self._at += done
        if self.size is not None and (self._at > self.size or (not done and self._at < self.size)):
            more = "more" if self._at > self.size else f"only {self._at}"
            raise SourceRefused(f"{self.name} holds {more} bytes, not the {self.size} announced: check --size")
        return buffer[:done]

    def again(self) -> StreamSource | None:
        """Never: what was read is gone."""
        return None

    def stop(self) -> None:
        """A read that waits ends within a moment."""
        self._stopped.set()

    def close(self) -> None:
        """Frees the descriptor, except the process's own standard input."""
        if self._descriptor != STANDARD_INPUT:
            os.close(self._descriptor)

    def _rest_of_file(self) -> int | None:
        """`push - < FILE` knows its size."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return max(0, status.st_size - os.lseek(self._descriptor, 0, os.SEEK_CUR))


def image_name_of(path: str) -> str:
    """The name an image gets from its file's: without directory and last suffix."""
    return Path(path).stem
