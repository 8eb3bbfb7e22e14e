"""What a disk has lost that was cut and made longer again (`qemu-img resize`): no bitmap of QEMU's knows of it.

What it has lost are zeros now, from the cut to its old end, but for what was written since, which a bitmap has. So the
cut lies behind the last byte that is data and clean. If the base has data behind that which is neither there any more
nor written, the disk was cut; if it has none, it was not, or it lost nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from httpapi.client.block_names import ImageNames
    from httpapi.client.block_scan import Geometry

_WINDOW: Final = 1 << 16
# A cluster that was cut in its middle is still there, with zeros in the place of what was behind the cut: as data.
_LONGEST_CLUSTER: Final = 2 << 20


def end_of_clean(data: Sequence[tuple[int, int]], dirty: Sequence[tuple[int, int]]) -> int:
    """Behind the last byte of `data` that is not `dirty`, both (offset, length); 0 if there is none."""
    written = sorted(dirty)
    starts = [offset for offset, _ in written]
    for offset, length in sorted(data, reverse=True):
        end = offset + length
        while end > offset:
            number = bisect_left(starts, end) - 1
            if number < 0 or sum(written[number]) < end:
                return end
            end = starts[number]
    return 0


async def note_lost(
    touched: NDArray[np.bool_],
    end: int,
    cut: Geometry,
    base: ImageNames,
    read: Callable[[int, int], Awaitable[bytes | None]],
) -> None:
    """Have the blocks be `touched` that the disk has lost; `end` is `end_of_clean`.

    `read(start, stop)` gives bytes of the base; None means that they may be anything. It is asked for once at most.
    """
    block = cut.block_size
    first = end // block
    lost = await asyncio.to_thread(_held, touched, first + bool(end % block), cut.blocks, base)
    if not lost and end % block and _held(touched, first, first + 1, base):
        stop = min((first + 1) * block, base.header.size)
        # The base's own block tells: to read the disk's each time would be for nothing, nearly always.
        behind = await read(end, stop) if end < stop else b""
        if behind is None or any(behind):
            lost = [first]
    if lost:
        begin = max(0, end - _LONGEST_CLUSTER) // block
        touched[[*_held(touched, begin, min(first + 1, cut.blocks), base), *lost]] = True


def _held(touched: NDArray[np.bool_], first: int, stop: int, base: ImageNames) -> list[int]:
    """Of these blocks those where the base has data, and which nobody has touched."""
    found = []
    for start in range(first, stop, _WINDOW):
        count = min(_WINDOW, stop - start)
        here = base.names(start, count).any(axis=1) & ~touched[start : start + count]
        found += [start + int(each) for each in here.nonzero()[0]]
    return found
