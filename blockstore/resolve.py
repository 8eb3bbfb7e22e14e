"""Which block stands at a position: the newest manifest of a chain that lists it decides.

Done by windows of 1,024 blocks, so memory is bounded and the cost is window × depth. The geometry rules (FORMAT.md):
a block absent here that begins at or beyond the base's size is a hole and the search stops; a block is inherited only
if its length is equal under both sizes, and a manifest that breaks this is refused.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.errors import GeometryBroken
from blockstore.manifest_format import LEAF_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.manifest import ManifestFile

KEPT: Final = 3
"""Windows that a resolver keeps: 32 kB each."""


def resolve(chain: Sequence[ManifestFile], key: int) -> NDArray[np.uint8]:
    """The digests of the blocks from key · 1,024 on, shape (count, 32); a row of zeros is a hole."""
    top = chain[0].header
    first = key * LEAF_BLOCKS
    count = min(LEAF_BLOCKS, top.blocks - first)
    digests = np.zeros((count, 32), dtype=np.uint8)
    absent = np.ones(count, dtype=np.bool_)
    starts = np.arange(first, first + count, dtype=np.int64) * top.block_size
    for level, manifest in enumerate(chain):
        _take_leaf(manifest, key, digests, absent)
        if level + 1 == len(chain):
            break
        _descend(manifest, chain[level + 1], starts, absent)
        if not absent.any():
            break
    return digests


def _take_leaf(manifest: ManifestFile, key: int, digests: NDArray[np.uint8], absent: NDArray[np.bool_]) -> None:
    leaf = manifest.leaf(key)
    if leaf is None:
        return
    at = leaf["number"].astype(np.int64) - key * LEAF_BLOCKS
    within = at < len(absent)
    at, rows = at[within], leaf["digest"][within]
    new = absent[at]
    digests[at[new]] = rows[new]
    absent[at] = False


def _descend(here: ManifestFile, base: ManifestFile, starts: NDArray[np.int64], absent: NDArray[np.bool_]) -> None:
    """Leave in `absent` what the base decides; refuse what it can't give."""
    size, limit, block = here.header.size, base.header.size, here.header.block_size
    absent &= starts < limit
    lengths = np.minimum(block, size - starts)
    theirs = np.minimum(block, limit - starts)
    broken = absent & (lengths != theirs)
    if broken.any():
        number = int(starts[broken][0]) // block
        raise GeometryBroken(f"{here.path} inherits block {number}, which has another length in its base {base.path}")


class Resolver:
    """The digests of a chain by position, with the last few windows kept; safe on several threads."""

    def __init__(self, chain: Sequence[ManifestFile]) -> None:
        self.chain = chain
        self._lock = threading.Lock()
        self._windows: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    def digests(self, first: int, count: int) -> list[bytes]:
        """The digests of `count` blocks from number `first` on, all within the image; HOLE for holes."""
        found: list[bytes] = []
        while len(found) < count:
            key, at = divmod(first + len(found), LEAF_BLOCKS)
            rows = self._window(key)[at : at + count - len(found)]
            found += [row.tobytes() for row in rows]
        return found

    def _window(self, key: int) -> NDArray[np.uint8]:
        with self._lock:
            kept = self._windows.get(key)
            if kept is not None:
                self._windows.move_to_end(key)
                return kept
        window = resolve(self.chain, key)
        with self._lock:
            self._windows[key] = window
            if len(self._windows) > KEPT:
                self._windows.popitem(last=False)
        return window
