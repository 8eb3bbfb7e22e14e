"""What an increment may inherit: the base's blocks by position."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blockstore.errors import Damaged
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.manifest import ManifestFile

log = logging.getLogger(__name__)


class BaseView:
    """The chain of manifests that a new image is written over, newest first; both have the same fixed block size."""

    def __init__(self, chain: Sequence[ManifestFile]) -> None:
        self.chain = chain
        self._resolver = Resolver(chain)
        self._size = chain[0].header.size
        self._block = chain[0].header.block_size

    def digests(self, first: int, ends: Sequence[int]) -> list[bytes | None]:
        """For blocks from number `first` on with these ends: the base's digest, HOLE, or None if not inheritable.

        A block is inheritable if it lies in the base with the same length (FORMAT.md, geometry) and can be read there.
        """
        within = max(0, min(len(ends), -(-self._size // self._block) - first))
        try:
            found: list[bytes | None] = list(self._resolver.digests(first, within)) if within else []
        except Damaged as error:
            # The new image then lists these blocks itself, and needs the base for none of them.
            log.warning("nothing is inherited here: %s", error)
            return [None] * len(ends)
        start = 0
        for at, end in enumerate(ends[:within]):
            if end - start != min(self._block, self._size - (first + at) * self._block):
                found[at] = None
            start = end
        return found + [None] * (len(ends) - within)

    def close(self) -> None:
        """Close the manifests."""
        for manifest in self.chain:
            manifest.close()
