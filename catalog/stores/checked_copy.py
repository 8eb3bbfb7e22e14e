"""A copy read through a check: its bytes are compared with the digests of the image's blocks before they go out.

A flat file or an object has nothing that says whether its bytes are still those that were written. While the image has
its blocks, too, their manifest says it: a read costs a hash (some 4 GB/s a core) and no pack. A block that is wrong
ends the read as a lost copy does: it goes on elsewhere, and the copy is put back.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from blockstore.errors import BlockstoreError
from catalog.blocking import to_its_end
from catalog.model.errors import CopyWrong

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from blockstore.manifest_reader import ManifestReader
    from blockstore.proof import Proof
    from catalog.store_ports import CopyReader

log = logging.getLogger(__name__)
T = TypeVar("T")
PIECE: Final = 1 << 20
"""Bytes that are checked at a time, or one block where that is longer."""


class Crew(Protocol):
    """Who computes."""

    async def compute(self, step: Callable[[], T]) -> T:
        """A small piece of work, to its end; its result."""
        ...


class CheckedCopy:
    """`catalog.store_ports.CopyReader` over a copy and the manifest of the same image; both are closed with it."""

    def __init__(self, crew: Crew, copy: CopyReader, reader: ManifestReader) -> None:
        self._crew = crew
        self._copy = copy
        self._reader = reader
        self._proof: Proof = reader.proof()
        self._open = True
        self._is_broken = False

    @property
    def size(self) -> int:
        """The copy's length, which is the image's."""
        return self._copy.size

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Whole blocks are read, and of the first and the last one the part that was asked for is given.

        Where the manifest is damaged its blocks are given unchecked: the copy is then all that there is.
        """
        if self._copy.size != self._reader.size:
            raise CopyWrong(f"A copy of {self._copy.size} bytes cannot be one of an image of {self._reader.size}.")
        if start >= stop:
            return
        begins, ends = await self._whole_blocks(start, stop)
        room = memoryview(bytearray(min(ends - begins, PIECE + self._reader.longest)))
        async with aclosing(_Filling(self._copy.read(begins, ends))) as filling:
            at = begins
            while at < ends:
                until = await self._end_of_piece(at, ends)
                piece = room[: until - at]
                await filling.fill(piece)
                await self._check(at, piece)
                yield piece[max(0, start - at) : min(until, stop) - at]
                at = until

    async def _whole_blocks(self, start: int, stop: int) -> tuple[int, int]:
        found = await self._on_crew(partial(self._proof.whole_blocks, start, stop))
        return found or (start, stop)

    async def _end_of_piece(self, at: int, ends: int) -> int:
        """The end of the block with the byte that would be the piece's last one."""
        last = min(at + PIECE, ends)
        if last == ends or (self._reader.header.is_fixed and last % self._reader.longest == 0):
            return last
        return (await self._whole_blocks(last - 1, last))[1]

    async def _check(self, at: int, piece: memoryview) -> None:
        wrong = await self._on_crew(partial(self._proof.first_wrong, at, piece))
        if wrong is not None:
            raise CopyWrong(f"A copy holds other bytes than the image from byte {wrong} on.")

    async def _on_crew(self, step: Callable[[], T]) -> T | None:
        """To its end, since it looks at the piece and at open files; None once the manifest cannot be read."""
        if self._is_broken:
            return None
        try:
            return await to_its_end(self._crew.compute(step))
        except BlockstoreError as error:
            self._is_broken = True
            log.warning("a copy is read without a check from here on: %s", error)
            return None

    def close(self) -> None:
        """Close both."""
        if self._open:
            self._open = False
            self._copy.close()
            self._reader.close()


class _Filling:
    """Pieces as they come, put into rooms of other lengths."""

    def __init__(self, pieces: AsyncIterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    async def fill(self, room: memoryview) -> None:
        """All of the room; CopyWrong if the copy ends before."""
        filled = 0
        while filled < len(room):
            if not self._left:
                piece = await anext(self._pieces, None)
                if piece is None:
                    raise CopyWrong("A copy ended before its last byte.")
                self._left = memoryview(piece)
            taken = self._left[: len(room) - filled]
            room[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._left = self._left[len(taken) :]

    async def aclose(self) -> None:
        """End the read."""
        closing = getattr(self._pieces, "aclose", None)
        if closing is not None:
            await closing()
