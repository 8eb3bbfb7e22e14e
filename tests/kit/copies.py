"""Flat bytes as a `CopyReader`: what a store is given to write, and ways in which that can end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from catalog.store_ports import CopyReader, Store

PIECE = 1 << 20


class BytesCopy:
    """These bytes, in pieces; `before` is awaited before each, with its position: it may wait for ever, or raise.

    A piece is overwritten when the next one is asked for, as its contract allows. `reading`: how many reads are open.
    """

    def __init__(
        self, data: bytes, *, piece: int = PIECE, before: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        self._data = data
        self._piece = piece
        self._before = before
        self.closed = False
        self.reading = 0

    @property
    def size(self) -> int:
        return len(self._data)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        self.reading += 1
        try:
            for at in range(start, stop, self._piece):
                if self._before is not None:
                    await self._before(at)
                piece = bytearray(self._data[at : min(at + self._piece, stop)])
                yield memoryview(piece)
                piece[:] = b"\xee" * len(piece)
        finally:
            self.reading -= 1

    def close(self) -> None:
        self.closed = True


async def all_of(reader: CopyReader, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes of a range, each piece looked at before the next one is asked for."""
    taken = bytearray()
    async for piece in reader.read(start, reader.size if stop is None else stop):
        assert 0 < len(piece) <= PIECE
        taken += piece
    return bytes(taken)


async def kept(store: Store, url: str, size: int | None = None) -> bytes:
    """All bytes of a copy."""
    reader = await store.open(url, size)
    try:
        return await all_of(reader)
    finally:
        reader.close()
