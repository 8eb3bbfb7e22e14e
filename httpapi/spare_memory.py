"""Memory that a burst of requests left behind is given back to the system once the server is quiet.

Buffers are kept for the next transfer, since the first touch of memory is dear, and the C library keeps what is freed
between what is not. Both are right while requests come, and both would hold the most that there ever was for ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOOK_SECONDS: Final = 1.0
# So much more than after the last time is worth the milliseconds that it costs.
_WORTH: Final = 2 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def giving_back(is_idle: Callable[[], bool], let_go: Callable[[], None]) -> AsyncIterator[None]:
    """Look every second meanwhile: when `is_idle` twice in a row and memory has grown, give back what is spare.

    `let_go` drops the buffers that are kept for later.
    """
    task = asyncio.create_task(_give_back(is_idle, let_go))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _give_back(is_idle: Callable[[], bool], let_go: Callable[[], None]) -> None:
    trim = _trim_function()
    least = _own_memory()
    was_idle = False
    while trim is not None:
        await asyncio.sleep(LOOK_SECONDS)
        idle = is_idle()
        # No file can be opened while idle connections hold all that this process may have: the next look may succeed.
        with suppress(OSError):
            if idle and was_idle and _own_memory() > least + _WORTH:
                let_go()
                trim(0)
                least = _own_memory()
        was_idle = idle


def _trim_function() -> Callable[[int], int] | None:
    """The C library's malloc_trim, which other libraries than glibc lack."""
    try:
        found = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return None
    found.argtypes = [ctypes.c_size_t]
    found.restype = ctypes.c_int

    def trim(kept: int) -> int:
        return int(found(kept))

    return trim


def _own_memory() -> int:
    """Bytes of this process's memory that lie in no file."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * _PAGE
