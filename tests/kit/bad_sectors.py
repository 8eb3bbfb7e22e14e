"""A disk with a place that cannot be read: whoever reads over it in this process is told so by the system."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def unreadable(file: Path, begins: int, ends: int) -> Iterator[None]:
    """Reads of these bytes of a file fail with EIO, on all threads of this process, while it lasts."""
    real = {name: getattr(os, name) for name in ("pread", "preadv")}

    def failing(name: str, size: Callable[[Any], int]) -> Callable[..., Any]:
        def call(fd: int, what: Any, at: int) -> Any:
            meets = at < ends and at + size(what) > begins
            if meets and Path(f"/proc/self/fd/{fd}").readlink() == file.resolve():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real[name](fd, what, at)

        return call

    try:
        os.pread = failing("pread", int)
        os.preadv = failing("preadv", lambda rooms: sum(map(len, rooms)))
        yield
    finally:
        for name, call in real.items():
            setattr(os, name, call)
