"""Reading what a store is given to write: whatever happens, what the source holds is given back at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.store_ports import CopyReader


@contextlib.asynccontextmanager
async def pieces_of(source: CopyReader, start: int, stop: int) -> AsyncIterator[AsyncIterator[bytes | memoryview]]:
    """A range's pieces; when it is left, reading has ended, and not only when somebody collects the generator."""
    pieces = source.read(start, stop)
    try:
        yield pieces
    finally:
        closing = getattr(pieces, "aclose", None)
        if closing is not None:
            await closing()
