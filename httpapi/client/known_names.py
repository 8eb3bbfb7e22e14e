"""Names of blocks that are known without reading them: the file, or a disk that it lies over, was scanned before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from httpapi.client.block_file import Below, Readable
    from httpapi.client.block_names import Names, NamesFile
    from httpapi.client.block_scan import Geometry
    from httpapi.client.names_cache import NamesCache


class KnownNames:
    """`names` of the blocks for which `known` holds; of all, if it is None."""

    def __init__(self, names: NamesFile, known: NDArray[np.bool_] | None = None) -> None:
        self._names = names
        self._known = known

    def of(self, first: int, count: int) -> tuple[Names, NDArray[np.bool_]]:
        """The names of the blocks from number `first` on, and for which of them they hold."""
        known = np.ones(count, dtype=np.bool_) if self._known is None else self._known[first : first + count]
        return self._names.names(first, count), known

    def close(self) -> None:
        """Closes the file."""
        self._names.close()


def known_below(file: Readable, cut: Geometry, cache: NamesCache) -> tuple[KnownNames, Below] | None:
    """By the nearest disk below `file` that is still as it was when it was scanned.

    Asks for what lies over it, which is all that has to be read.
    """
    for below in file.below():
        names = None if below.stamp is None else cache.find(below.stamp, cut.block_size)
        if names is None:
            continue
        known = np.zeros(cut.blocks, dtype=np.bool_)
        # A block that is cut off by either disk's end is another one in the other.
        whole = cut.blocks if below.size == cut.size else min(below.size, cut.size) // cut.block_size
        known[:whole] = True
        try:
            for offset, length in file.above(below.depth):
                known[offset // cut.block_size : -(-(offset + length) // cut.block_size)] = False
        except BaseException:
            names.close()
            raise
        return KnownNames(names, known), below
    return None
