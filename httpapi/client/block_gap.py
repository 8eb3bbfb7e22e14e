"""What a file still lacks of an image: its blocks are compared with the image's names, and filled from seeds.

One window at a time, on any thread. What is taken from a seed was hashed in the same buffer that is written, so a seed
may change meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.scan import scan
from httpapi.client.block_scan import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from blockstore.resolve import Window
    from httpapi.client.block_file import BlockFile
    from httpapi.client.update_target import UpdateTarget

MOST_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Gap:
    """Blocks of a window that are nowhere here: places in it, and the bytes that are right up to now."""

    missing: list[int]
    right: int


def parts_of(window: Window) -> Iterator[tuple[int, Window]]:
    """The window in parts of at most MOST_BYTES, each with its place in it; no block is longer."""
    lengths = np.diff(window.bounds)
    first, size = 0, 0
    for at, length in enumerate(lengths.tolist()):
        if at > first and size + length > MOST_BYTES:
            yield first, window.part(first, at)
            first, size = at, 0
        size += length
    if len(lengths) > first:
        yield first, window.part(first, len(lengths))


def fill(here: BlockFile, target: UpdateTarget, buffer: memoryview, window: Window) -> Gap:
    """Makes what it can of the window right; `here` is what `target` has now. `buffer` holds a part."""
    missing = ~_same(here, buffer, window, np.ones(len(window.digests), dtype=np.bool_))
    holes = missing & ~window.digests.any(axis=1)
    for start, stop in runs_of(holes):
        begin, end = int(window.bounds[start]), int(window.bounds[stop])
        target.zero(begin, end - begin)
    missing &= ~holes
    for seed in target.seeds:
        if not missing.any():
            break
        found = _same(seed, buffer, window, missing)
        base = int(window.bounds[0])
        for start, stop in runs_of(found):
            begin, end = int(window.bounds[start]), int(window.bounds[stop])
            target.put(begin, buffer[begin - base : end - base])
        missing &= ~found
    lengths = np.diff(window.bounds)
    return Gap(np.flatnonzero(missing).tolist(), int(lengths[~missing].sum()))


def _same(file: BlockFile, buffer: memoryview, window: Window, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of these blocks the file has at the same place; their bytes are in the buffer then, unless holes."""
    same = np.zeros(len(which), dtype=np.bool_)
    base = int(window.bounds[0])
    within = which & (window.bounds[1:] <= file.size)
    for start, stop in runs_of(within):
        begin, end = int(window.bounds[start]), int(window.bounds[stop])
        want = window.digests[start:stop]
        if file.next_data(begin)[0] >= end:
            same[start:stop] = ~want.any(axis=1)
            continue
        piece = file.fill(buffer[begin - base : end - base], begin)
        ends = (window.bounds[start + 1 : stop + 1] - begin).tolist()
        found = np.frombuffer(b"".join(scan(piece, ends).digests), dtype=np.uint8).reshape(want.shape)
        same[start:stop] = (found == want).all(axis=1)
    return same
