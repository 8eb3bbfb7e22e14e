"""Where two images differ: extents, window by window, by digests alone.

Blocks are compared where both images have one with the same beginning and end, and holes with holes wherever they are;
all else counts as different. So nothing that differs is missed, whatever the two images' block sizes and kinds. Windows
that both images take from the same leaf, or from leaves with the same digest, are not looked into.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.manifest import ManifestFile
    from blockstore.resolve import Window

LEAF: Final = 16
"""How much work a leaf is that is read; passing over a window is 1."""
_STEP: Final = 16
"""Windows of the older image that are looked at together: one of the newer may reach over a thousand of them."""
_SAME: Final = 0
_DATA: Final = 1
_ZERO: Final = 2


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes that may differ, from `offset` on; `zero`: they are zeros in the newer image."""

    offset: int
    length: int
    zero: bool


class Difference:
    """What differs in the image of one chain from that of another, both newest first; one caller at a time."""

    def __init__(self, image: Sequence[ManifestFile], since: Sequence[ManifestFile]) -> None:
        self._image, self._since = Resolver(image), Resolver(since)
        self.size = image[0].header.size
        self._since_size = since[0].header.size
        self._by_leaf = _Leaves.of(image, since)

    def extents(self, start: int, work: int) -> tuple[list[Extent], int, int]:
        """Compare from byte `start` on until so much work is done; gives where it stopped, and how much it was, too.

        It is done when that is `size`. Extents ascend and don't touch, but those of two calls may.
        """
        found: list[Extent] = []
        done = 0
        while start < self.size and done < work:
            if self._by_leaf is not None and (skipped := self._by_leaf.same_until(start)):
                start = min(skipped, self.size)
                done += 1
                continue
            compared = self._compare(next(self._image.windows(start, self.size)))
            for extent in compared.extents:
                # The first block may have begun before `start`.
                offset = max(extent.offset, start)
                add(found, Extent(offset, extent.offset + extent.length - offset, extent.zero))
            start = compared.end
            done += LEAF * (len(self._image.chain) + compared.theirs * len(self._since.chain))
        return found, start, done

    def _compare(self, window: Window) -> _Compared:
        """Compare the blocks of a window, or as many of them as the step has of the older image."""
        bounds, names = window.bounds, window.digests
        data = np.asarray(names.any(axis=1))
        same = np.zeros(len(names), dtype=np.bool_)
        over_data = np.zeros(len(names) + 1, dtype=np.int64)
        stop = min(int(bounds[-1]), self._since_size)
        reached, looked = stop, 0
        for theirs in itertools.islice(self._since.windows(int(bounds[0]), stop), _STEP):
            starts, ends = theirs.bounds[:-1], theirs.bounds[1:]
            at = np.clip(np.searchsorted(bounds, starts, side="right") - 1, 0, len(names) - 1)
            fits = (bounds[at] == starts) & (bounds[at + 1] == ends)
            same[at[fits]] = (names[at[fits]] == theirs.digests[fits]).all(axis=1)
            full = np.asarray(theirs.digests.any(axis=1))
            last = np.clip(np.searchsorted(bounds, ends), 1, len(names))
            np.add.at(over_data, at[full], 1)
            np.add.at(over_data, last[full], -1)
            reached, looked = int(ends[-1]), looked + 1
        # A block is compared if all of it was; a step of the smallest blocks is longer than the longest block.
        count = len(names) if reached >= stop else int(np.searchsorted(bounds, reached, side="right")) - 1
        both_zero = ~data & (np.cumsum(over_data[:-1]) == 0) & (bounds[1:] <= self._since_size)
        state = np.where(same | both_zero, _SAME, np.where(data, _DATA, _ZERO))
        return _Compared(_runs(bounds[: count + 1], state[:count]), int(bounds[count]), looked)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What differs up to byte `end`, and how many windows of the older image that took."""

    extents: list[Extent]
    end: int
    theirs: int


def add(extents: list[Extent], extent: Extent) -> None:
    """Add an extent behind the others; what touches the last one and is like it becomes one with it."""
    if extents and extents[-1].offset + extents[-1].length == extent.offset and extents[-1].zero == extent.zero:
        extent = Extent(extents[-1].offset, extents[-1].length + extent.length, extent.zero)
        extents.pop()
    extents.append(extent)


def _runs(bounds: NDArray[np.int64], state: NDArray[np.int64]) -> list[Extent]:
    cuts = [0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), len(state)]
    return [
        Extent(int(bounds[first]), int(bounds[last] - bounds[first]), bool(state[first] == _ZERO))
        for first, last in itertools.pairwise(cuts)
        if state[first] != _SAME
    ]


class _Leaves:
    """Two images of blocks of one size, by their leaves: which windows are the same without being resolved."""

    def __init__(self, image: Sequence[ManifestFile], since: Sequence[ManifestFile], shared: int) -> None:
        self._own = [*image[: len(image) - shared], *since[: len(since) - shared]]
        below = [image[-shared]] if shared else []
        # A window is taken from below only where every manifest above reaches over all of it.
        self._until = min(manifest.header.size for manifest in [*self._own, *below])
        self._flat = not shared and len(image) == len(since) == 1
        self._shared = bool(shared)
        self._window = image[0].header.block_size * LEAF_BLOCKS

    @classmethod
    def of(cls, image: Sequence[ManifestFile], since: Sequence[ManifestFile]) -> _Leaves | None:
        """None where leaves say nothing: other kinds or block sizes."""
        mine, theirs = image[0].header, since[0].header
        if not (mine.is_fixed and theirs.is_fixed and mine.block_size == theirs.block_size):
            return None
        shared = 0
        while shared < min(len(image), len(since)) and image[-1 - shared].digest == since[-1 - shared].digest:
            shared += 1
        return cls(image, since, shared)

    def same_until(self, start: int) -> int:
        """The end of the window at byte `start` if both images have the same there, else 0."""
        key = start // self._window
        end = (key + 1) * self._window
        if end > self._until:
            return 0
        leaves = [manifest.leaf_digest(key) for manifest in self._own]
        same = leaves[0] == leaves[1] if self._flat else self._shared and not any(leaves)
        return end if same else 0
