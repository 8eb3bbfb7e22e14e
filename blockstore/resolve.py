"""Which block stands at a position: the newest manifest of a chain that lists it decides.

Done by windows of 1,024 blocks, so memory is bounded and the cost is window × depth. The geometry rules (FORMAT.md):
a block absent here that begins at or beyond the base's size is a hole and the search stops; a block is inherited only
if its length is equal under both sizes, and a manifest that breaks this is refused. A content-defined image is always
one manifest that lists every block: its windows are its leaves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from blockstore.block import Place
from blockstore.errors import GeometryBroken
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.places import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from blockstore.manifest import ManifestFile

KEPT: Final = 3
"""Windows that a resolver keeps: 40 kB each."""


class PlacedBlock(NamedTuple):
    """A block of an image: where it begins and how long it is, in bytes, and its digest (HOLE for a hole)."""

    begins: int
    length: int
    digest: bytes
    hint: Place | None = None
    """Where it was stored, if that is known without the index."""


def resolve(chain: Sequence[ManifestFile], key: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """A fixed-size image's blocks from key · 1,024 on: digests, shape (count, 32), zeros for a hole; and hints.

    Hints are the places where they were stored, shape (count, 4); zeros where that is not known.
    """
    top = chain[0].header
    first = key * LEAF_BLOCKS
    count = min(LEAF_BLOCKS, top.blocks - first)
    digests = np.zeros((count, 32), dtype=np.uint8)
    hints = np.zeros((count, COLUMNS), dtype=np.uint32)
    absent = np.ones(count, dtype=np.bool_)
    starts = np.arange(first, first + count, dtype=np.int64) * top.block_size
    for level, manifest in enumerate(chain):
        _take_leaf(manifest, key, digests, hints, absent)
        if level + 1 == len(chain):
            break
        _descend(manifest, chain[level + 1], starts, absent)
        if not absent.any():
            break
    return digests, hints


def _take_leaf(
    manifest: ManifestFile,
    key: int,
    digests: NDArray[np.uint8],
    hints: NDArray[np.uint32],
    absent: NDArray[np.bool_],
) -> None:
    leaf = manifest.leaf(key)
    if leaf is None:
        return
    at = leaf["number"].astype(np.int64) - key * LEAF_BLOCKS
    # They ascend, so those that a larger ancestor has beyond this image come last.
    within = int(np.searchsorted(at, len(absent)))
    at, rows, places = at[:within], leaf["digest"][:within], manifest.places(key)[:within]
    new = absent[at]
    digests[at[new]] = rows[new]
    hints[at[new]] = places[new]
    absent[at] = False


def _descend(here: ManifestFile, base: ManifestFile, starts: NDArray[np.int64], absent: NDArray[np.bool_]) -> None:
    """Leave in `absent` what the base decides; refuse what it can't give."""
    size, limit, block = here.header.size, base.header.size, here.header.block_size
    if size == limit:
        return
    absent &= starts < limit
    lengths = np.minimum(block, size - starts)
    theirs = np.minimum(block, limit - starts)
    broken = absent & (lengths != theirs)
    if broken.any():
        number = int(starts[broken][0]) // block
        raise GeometryBroken(f"{here.path} inherits block {number}, which has another length in its base {base.path}")


@dataclass(frozen=True, slots=True)
class Window:
    """Up to 1,024 blocks in a row: block i lies from bounds[i] to bounds[i + 1], in bytes, and is called digests[i].

    `data[i]` is false for a hole. `hints[i]` is a place (pack, offset, frame length, raw length), zeros where unknown.
    """

    bounds: NDArray[np.int64]
    digests: NDArray[np.uint8]
    hints: NDArray[np.uint32]
    data: NDArray[np.bool_]

    @classmethod
    def of(cls, bounds: NDArray[np.int64], digests: NDArray[np.uint8], hints: NDArray[np.uint32]) -> Window:
        """The window of these blocks."""
        return cls(bounds, digests, hints, np.asarray(digests.any(axis=1)))

    def __len__(self) -> int:
        return len(self.data)

    def part(self, first: int, last: int) -> Window:
        """The blocks from number `first` up to `last` of this window."""
        inside = slice(first, last)
        return Window(self.bounds[first : last + 1], self.digests[inside], self.hints[inside], self.data[inside])

    def blocks(self) -> list[PlacedBlock]:
        """The same as values, one a block."""
        bounds, names, hints = self.bounds.tolist(), self.digests.tobytes(), self.hints.tolist()
        found = []
        for at, begins in enumerate(bounds[:-1]):
            hint = Place(*hints[at]) if hints[at][0] else None
            found.append(PlacedBlock(begins, bounds[at + 1] - begins, names[at * 32 : at * 32 + 32], hint))
        return found


class Resolver:
    """The blocks of a chain by position, with the last few windows kept; safe on several threads."""

    def __init__(self, chain: Sequence[ManifestFile]) -> None:
        self.chain = chain
        self._top = chain[0].header
        self._lock = threading.Lock()
        # Threads that read on together come to a new window together: one of them resolves it for all.
        self._resolving = threading.Lock()
        self._windows: OrderedDict[int, Window] = OrderedDict()

    def blocks(self, start: int, stop: int) -> list[PlacedBlock]:
        """The blocks that have a byte from `start` up to `stop` (within the image), in order, without a gap."""
        return [block for window in self.windows(start, stop) for block in window.blocks()]

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """The same blocks as arrays, up to 1,024 at a time."""
        key = self._window_of(start) if start < stop else 0
        while start < stop:
            window = self.window(key)
            first = int(np.searchsorted(window.bounds, start, side="right")) - 1
            last = min(int(np.searchsorted(window.bounds, stop)), len(window))
            yield window.part(first, last)
            start = int(window.bounds[last])
            key += 1

    def numbered(self, first: int, count: int) -> Iterator[Window]:
        """`count` blocks from number `first` on, all within the image, as arrays."""
        while count:
            key, at = divmod(first, LEAF_BLOCKS)
            window = self.window(key)
            part = window.part(at, min(at + count, len(window.digests)))
            yield part
            first += len(part.digests)
            count -= len(part.digests)

    def digests(self, first: int, count: int) -> list[bytes]:
        """The digests of `count` blocks from number `first` on, all within the image; HOLE for holes."""
        found: list[bytes] = []
        while len(found) < count:
            key, at = divmod(first + len(found), LEAF_BLOCKS)
            rows = self.window(key).digests[at : at + count - len(found)]
            found += [row.tobytes() for row in rows]
        return found

    def _window_of(self, position: int) -> int:
        if self._top.is_fixed:
            return position // (self._top.block_size * LEAF_BLOCKS)
        return self.chain[0].place_of(position)

    def window(self, key: int) -> Window:
        """The blocks that leaf `key` is about: numbers from key · 1,024 on, whatever the kind."""
        kept = self._kept(key)
        if kept is not None:
            return kept
        with self._resolving:
            kept = self._kept(key)
            if kept is not None:
                return kept
            window = self._fixed(key) if self._top.is_fixed else self._content_defined(key)
            with self._lock:
                self._windows[key] = window
                if len(self._windows) > KEPT:
                    self._windows.popitem(last=False)
            return window

    def _kept(self, key: int) -> Window | None:
        with self._lock:
            window = self._windows.get(key)
            if window is not None:
                self._windows.move_to_end(key)
            return window

    def _fixed(self, key: int) -> Window:
        digests, hints = resolve(self.chain, key)
        first = key * LEAF_BLOCKS
        bounds = np.arange(first, first + len(digests) + 1, dtype=np.int64) * self._top.block_size
        bounds[-1] = min(int(bounds[-1]), self._top.size)
        return Window.of(bounds, digests, hints)

    def _content_defined(self, key: int) -> Window:
        leaf = self.chain[0].leaf_at(key)
        ends = leaf["offset"][-1:] + leaf["length"][-1:]
        bounds = np.concatenate([leaf["offset"], ends]).astype(np.int64)
        return Window.of(bounds, leaf["digest"], self.chain[0].places_at(key))
