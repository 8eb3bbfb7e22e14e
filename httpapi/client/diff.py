"""Where one image or file differs from another: extents of the newer one, by names of blocks.

Two images are compared by the server. A file is read, in the blocks that the image beside it has, or in blocks of
64 KiB beside another file. Whole blocks are told: never too little, sometimes too much.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from blockstore.diff import Extent
from blockstore.scan import scan
from chunker.fixed import USUAL
from httpapi.client.block_file import Readable
from httpapi.client.block_gap import MOST_BYTES, parts_of
from httpapi.client.block_names import SIZE, ImageNames
from httpapi.client.block_scan import runs_of
from httpapi.client.lane import Lane

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

    from numpy.typing import NDArray

    from httpapi.client.block_names import Names
    from httpapi.client.delta_api import DeltaApi
    from httpapi.client.report import Report

Side: TypeAlias = ImageNames | Readable
_MOST_THREADS: Final = 8


@dataclass(slots=True)
class Totals:
    """Bytes that differ, those of them that are zeros in the newer one, and the extents they are in."""

    changed: int = 0
    zeros: int = 0
    extents: int = 0

    def add(self, extent: Extent) -> None:
        """One more extent."""
        self.changed += extent.length
        self.zeros += extent.length if extent.zero else 0
        self.extents += 1


async def image_changes(delta: DeltaApi, image_id: str, since: str) -> AsyncIterator[Extent]:
    """What differs in the image from `since`, ascending."""

    async def told() -> AsyncIterator[Extent]:
        async for offset, length, zero in delta.changes(image_id, since):
            yield Extent(offset, length, zero)

    async for extent in _joined(told()):
        yield extent


async def changes(since: Side, here: Side, report: Report) -> AsyncIterator[Extent]:
    """What differs in `here` from `since`, ascending; one of them at least is a file. Raises SourceRefused."""
    report.begin(here.size)
    async for extent in _joined(_found(since, here, report)):
        yield extent


async def _found(since: Side, here: Side, report: Report) -> AsyncIterator[Extent]:
    lanes = [Lane(f"diff-{number}") for number in range(min(_MOST_THREADS, len(os.sched_getaffinity(0)) + 1))]
    buffers = [(memoryview(bytearray(MOST_BYTES)), memoryview(bytearray(MOST_BYTES))) for _ in lanes]
    ahead: deque[tuple[int, asyncio.Future[list[Extent]]]] = deque()
    try:
        for turn, part in enumerate(_parts(since, here)):
            at = turn % len(lanes)
            job = partial(_compare, since, here, part, buffers[at])
            ahead.append((int(part.bounds[-1]), lanes[at].submit(job)))
            if len(ahead) >= 2 * len(lanes):
                end, answer = ahead.popleft()
                for extent in await answer:
                    yield extent
                report.moved(end)
        while ahead:
            end, answer = ahead.popleft()
            for extent in await answer:
                yield extent
            report.moved(end)
    finally:
        for lane in lanes:
            lane.close(wait=True)


async def _joined(extents: AsyncIterator[Extent]) -> AsyncIterator[Extent]:
    """Those that touch and are alike as one."""
    last: Extent | None = None
    async for extent in extents:
        if last is not None and last.offset + last.length == extent.offset and last.zero == extent.zero:
            last = Extent(last.offset, last.length + extent.length, last.zero)
            continue
        if last is not None:
            yield last
        last = extent
    if last is not None:
        yield last


@dataclass(frozen=True, slots=True)
class _Part:
    """Blocks in a row: where each begins and the last one ends, and their names in the image that is one of the two."""

    bounds: NDArray[np.int64]
    digests: Names


def _parts(since: Side, here: Side) -> Iterator[_Part]:
    """The newer one's bytes, in blocks of the image that is one of the two, or of the usual size."""
    image = here if isinstance(here, ImageNames) else since
    covered = 0
    if isinstance(image, ImageNames):
        covered = min(image.size, here.size)
        for window in image.windows(0, covered):
            for _, part in parts_of(window):
                yield _Part(np.minimum(part.bounds, here.size), part.digests)
    while covered < here.size:
        end = min(covered + MOST_BYTES, here.size)
        bounds = np.append(np.arange(covered, end, USUAL, dtype=np.int64), end)
        yield _Part(bounds, np.zeros((len(bounds) - 1, SIZE), dtype=np.uint8))
        covered = end


def _compare(since: Side, here: Side, part: _Part, buffers: tuple[memoryview, memoryview]) -> list[Extent]:
    theirs, known = _names(since, part, buffers[0])
    mine, _ = _names(here, part, buffers[1])
    differs = ~known | (theirs != mine).any(axis=1)
    zero = ~mine.any(axis=1)
    found = []
    for which, zeros in ((differs & ~zero, False), (differs & zero, True)):
        for start, stop in runs_of(which):
            begin = int(part.bounds[start])
            found.append(Extent(begin, int(part.bounds[stop]) - begin, zeros))
    return sorted(found, key=lambda extent: extent.offset)


def _names(side: Side, part: _Part, buffer: memoryview) -> tuple[Names, NDArray[np.bool_]]:
    """The names of the part's blocks, and which of these the side has in the same length."""
    within = part.bounds[1:] <= side.size
    if isinstance(side, ImageNames):
        # Where a file ends within a block of the image, the image's block is longer: it has another name.
        return part.digests, within
    names = np.zeros((len(within), SIZE), dtype=np.uint8)
    count = int(within.sum())
    begin, end = int(part.bounds[0]), int(part.bounds[count])
    if count and side.next_data(begin)[0] < end:
        piece = side.fill(buffer[: end - begin], begin)
        found = scan(piece, (part.bounds[1 : count + 1] - begin).tolist()).digests
        names[:count] = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(count, SIZE)
    return names, within
