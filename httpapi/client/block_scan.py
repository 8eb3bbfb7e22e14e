"""A file looked at by blocks, several windows at once, in order: what each is called, and the entries of those wanted.

    plan (holes are long windows) → look (a lane a thread: read, hash, compare, compress) → in order to the caller

What waits to be taken is bounded: windows of 4 MiB, two a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from blockstore.frames import compress
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.packs.pack_format import make_entry
from blockstore.scan import scan
from blockstore.sent_blocks import NumberRange, SentHeld
from httpapi.client.block_names import SIZE
from httpapi.client.lane import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from numpy.typing import NDArray

    from blockstore.block import Frame
    from httpapi.client.block_file import Readable
    from httpapi.client.block_names import Names

WINDOW: Final = 4 << 20
_MOST_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a file of `size` bytes is cut: blocks of one size, the last one as long as what is left."""

    size: int
    block_size: int

    @property
    def blocks(self) -> int:
        """How many there are."""
        return -(-self.size // self.block_size)

    @property
    def window(self) -> int:
        """Blocks that are looked at together."""
        return max(1, WINDOW // self.block_size)

    def stop(self, number: int) -> int:
        """The byte behind block `number`."""
        return min(self.size, (number + 1) * self.block_size)

    def bytes_of(self, first: int, count: int) -> int:
        """How long these blocks are together."""
        return self.stop(first + count - 1) - first * self.block_size if count else 0


@dataclass(frozen=True, slots=True)
class Looked:
    """A window of blocks: their names, and of those that were wanted the entries, holes, and where others have them."""

    first: int
    names: Names
    entries: list[tuple[int, Frame]]
    holes: list[NumberRange]
    held: list[SentHeld]

    @property
    def count(self) -> int:
        """How many blocks it has."""
        return len(self.names)


class Wish(Protocol):
    """What a scan is for. Called on the scan's threads, for one window after another, several at once."""

    def known(self, first: int, count: int) -> tuple[Names, NDArray[np.bool_]] | None:
        """Names that need not be found by reading, and for which blocks they hold; None if for none."""

    def wanted(self, first: int, names: Names) -> NDArray[np.bool_]:
        """Which of these blocks are wanted: as entries, or as holes."""

    def elsewhere(self, first: int, names: Names, which: NDArray[np.bool_]) -> list[SentHeld]:
        """Of the wanted data blocks those that need no entry, since another image has them."""

    def settled(self, first: int, names: Names) -> bool:
        """Whether nothing of a window is wanted, told from the known names alone: then it may be a long one."""


class BlockScan:
    """Looks at `file` as `geometry` cuts it. Reading raises SourceRefused in the windows' iterator."""

    def __init__(self, file: Readable, geometry: Geometry) -> None:
        self._file = file
        self._cut = geometry

    @asynccontextmanager
    async def windows(self, wish: Wish) -> AsyncIterator[AsyncIterator[Looked]]:
        """All windows in order; inside, threads work ahead, and none does afterwards."""
        threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)) + 1)
        lanes = [Lane(f"scan-{number}") for number in range(threads)]
        try:
            yield self._in_order(lanes, wish)
        except asyncio.CancelledError:
            # The lanes are waited for, and they may wait for a server that is silent.
            self._file.stop()
            raise
        finally:
            for lane in lanes:
                lane.close(wait=False)
            for lane in lanes:
                lane.close(wait=True)

    async def _in_order(self, lanes: list[Lane], wish: Wish) -> AsyncIterator[Looked]:
        length = self._cut.window * self._cut.block_size
        buffers = [memoryview(bytearray(length)) for _ in lanes]
        ahead: deque[asyncio.Future[Looked]] = deque()
        for turn, (first, count) in enumerate(self._plan(wish)):
            lane = turn % len(lanes)
            ahead.append(lanes[lane].submit(partial(self._look, wish, buffers[lane], first, count)))
            if len(ahead) >= 2 * len(lanes):
                yield await ahead.popleft()
        while ahead:
            yield await ahead.popleft()

    def _plan(self, wish: Wish) -> Iterator[tuple[int, int]]:
        """(first, count) of the windows: long ones for holes, and where all is known and nothing wanted."""
        at, size, data = 0, self._cut.block_size, (0, 0)
        while at < self._cut.blocks:
            long = min(LEAF_BLOCKS - at % LEAF_BLOCKS, self._cut.blocks - at)
            count = min(self._cut.window, long)
            if (known := wish.known(at, long)) is not None and known[1].all() and wish.settled(at, known[0]):
                count = long
            else:
                if at * size >= data[1]:
                    data = self._file.next_data(at * size)
                if data[0] >= self._cut.stop(at + count - 1):
                    holes = self._cut.blocks - at if data[0] >= self._cut.size else data[0] // size - at
                    count = min(holes, long)
            yield at, count
            at += count

    def _look(self, wish: Wish, buffer: memoryview, first: int, count: int) -> Looked:
        """A long window was a hole when it was planned; if it is none any more, it is read in parts like any other."""
        size = self._cut.window
        parts = [
            self._look_at(wish, buffer, at, min(size, first + count - at)) for at in range(first, first + count, size)
        ]
        if len(parts) == 1:
            return parts[0]
        entries = [entry for part in parts for entry in part.entries]
        holes = [each for part in parts for each in part.holes]
        held = [each for part in parts for each in part.held]
        return Looked(first, np.concatenate([part.names for part in parts]), entries, holes, held)

    def _look_at(self, wish: Wish, buffer: memoryview, first: int, count: int) -> Looked:
        unread = np.zeros(count, dtype=np.bool_)
        names = np.zeros((count, SIZE), dtype=np.uint8)
        if (known := wish.known(first, count)) is not None:
            unread = known[1]
            names[unread] = known[0][unread]
        self._name(buffer, first, names, ~unread)
        wanted = wish.wanted(first, names)
        entered = wanted & names.any(axis=1)
        held = wish.elsewhere(first, names, entered)
        for each in held:
            entered[each.numbers.first - first : each.numbers.stop - first] = False
        if (late := entered & unread).any():
            # Known by name alone, and its bytes are needed after all: what is read now counts.
            self._name(buffer, first, names, late)
            entered &= names.any(axis=1)
        entries = [(first + at, self._entry(buffer, first, at, names)) for at in np.flatnonzero(entered).tolist()]
        holes = runs_of(wanted & ~names.any(axis=1))
        return Looked(first, names, entries, [NumberRange(first + start, stop - start) for start, stop in holes], held)

    def _name(self, buffer: memoryview, first: int, names: Names, which: NDArray[np.bool_]) -> None:
        """Reads these blocks of the window to their places in the buffer and sets their names."""
        size = self._cut.block_size
        for start, stop in runs_of(which):
            offset, end = (first + start) * size, self._cut.stop(first + stop - 1)
            if self._file.next_data(offset)[0] >= end:
                names[start:stop] = 0
                continue
            begin = start * size
            window = buffer[begin : begin + end - offset]
            self._read(window, offset)
            ends = [min((at + 1) * size, len(window)) for at in range(stop - start)]
            found = scan(window, ends).digests
            names[start:stop] = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, SIZE)

    def _read(self, window: memoryview, offset: int) -> None:
        """Fills the window from the file; holes are not read."""
        at, end = offset, offset + len(window)
        while at < end:
            data, stop = self._file.next_data(at)
            data, stop = min(data, end), min(stop, end)
            if data > at:
                window[at - offset : data - offset] = bytes(data - at)
            if stop > data:
                self._file.fill(window[data - offset : stop - offset], data)
            at = max(stop, data)

    def _entry(self, buffer: memoryview, first: int, at: int, names: Names) -> Frame:
        size = self._cut.block_size
        length = self._cut.stop(first + at) - (first + at) * size
        block = buffer[at * size : at * size + length]
        return make_entry(names[at].tobytes(), length, compress(block))


def runs_of(which: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The stretches of True, as (start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], which, [False])).astype(np.int8))).tolist()
    return zip(edges[::2], edges[1::2], strict=True)
