"""One file's bytes in another without reading them here: a clone that shares extents, else a copy that keeps holes.

Both ends use it: the server for copies in a directory of its own, the client for clones of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# ioctl_ficlone(2): _IOW(0x94, 9, int).
_FICLONE: Final = 0x40049409
_CANNOT: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY, errno.EISDIR}
)
_PIECE: Final = 1 << 20


def clone(source: int, target: int) -> bool:
    """Let the target share all extents of the source; False where these two files can't, and nothing was done.

    Both are open descriptors, the target's for writing. Raises OSError for all else, such as a full disk.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def data_extents(source: int, size: int, longest: int) -> Iterator[tuple[int, int]]:
    """Start and end of the parts of a file's first `size` bytes that are no holes, each at most `longest` bytes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
            stop = min(os.lseek(source, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            # A file system that knows of no holes.
            start, stop = at, size
        while start < stop:
            end = min(start + longest, stop)
            yield start, end
            start = end
        at = max(stop, start)


def copy_range(source: int, target: int, start: int, stop: int) -> None:
    """The same bytes at the same place, by the kernel where it can. Raises OSError; EOFError for a source too short."""
    while start < stop:
        try:
            copied = os.copy_file_range(source, target, stop - start, start, start)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            copied = _copy_piece(source, target, start, stop)
        if not copied:
            raise EOFError
        start += copied


def _copy_piece(source: int, target: int, start: int, stop: int) -> int:
    data = os.pread(source, min(_PIECE, stop - start), start)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], start + written)
    return written
