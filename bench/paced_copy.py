"""A sparse copy of a file that takes as long as it is told to.

What a program does next with a file depends on how that came to be: one that was written over four seconds is partly on
its way to the disk, and a virtual machine's free memory has gone back to its host meanwhile, from which it is had again
at about a GB a second. Beside that, half a second's copy in memory is nothing. So whoever compares two programs on a
file that has just come gives both a file that came alike.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from blockstore.file_clone import data_extents

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE: Final = 4 << 20


def paced_copy(source: Path, target: Path, seconds: float) -> None:
    """Copy what is no hole to a new file, evenly over so many seconds, or as fast as it goes."""
    buffer = memoryview(bytearray(_AT_ONCE))
    began = time.monotonic()
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        for start, stop in data_extents(old.fileno(), size, _AT_ONCE):
            got = os.preadv(old.fileno(), [buffer[: stop - start]], start)
            if got != stop - start or os.pwrite(new.fileno(), buffer[:got], start) != got:
                raise EOFError(f"{source} was cut, or {target} not written, at {start}")
            time.sleep(max(0.0, began + seconds * stop / size - time.monotonic()))
