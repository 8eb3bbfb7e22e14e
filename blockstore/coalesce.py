"""Making one whole manifest of a chain: the same image, without its ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.block import Place
from blockstore.manifest_builder import BuiltManifest, ManifestBuilder
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from blockstore.disk import Disk
    from blockstore.manifest import ManifestFile
    from blockstore.resolve import Window

DEEPEST: Final = 16
"""A deeper chain is flattened when it is committed."""


class Flattening:
    """The flat manifest of `chain` (newest first, of fixed-size blocks) in the making, a window at a time.

    `step` until it gives `total`, then `finish`; or `abandon`, at any time. Either closes the chain. One caller at a
    time. `find` asks the index for the places that the chain's manifests do not know.
    """

    def __init__(
        self,
        chain: Sequence[ManifestFile],
        directory: Path,
        disk: Disk,
        find: Callable[[Sequence[bytes]], Sequence[Place | None]],
    ) -> None:
        header = chain[0].header
        self.total = header.blocks
        self._chain = chain
        self.size = header.size
        self._block = header.block_size
        self._find = find
        self._done = 0
        self._resolver = Resolver(chain)
        self._builder = ManifestBuilder(directory, header.store, header.cutting, None, disk)

    def run(self) -> BuiltManifest:
        """All of it at once."""
        try:
            while self.step() < self.total:
                pass
            return self.finish()
        except BaseException:
            self.abandon()
            raise

    def step(self) -> int:
        """Some milliseconds of work: the next 1,024 blocks; gives how many blocks are done."""
        start = self._done * self._block
        stop = min(self.size, start + LEAF_BLOCKS * self._block)
        for window in self._resolver.windows(start, stop):
            names = [row.tobytes() for row in window.digests]
            self._builder.add(self._done, names, frozenset(), places=self._places(window))
            self._done += len(names)
        return self._done

    def finish(self) -> BuiltManifest:
        """After the last step: the manifest, durable."""
        built = self._builder.finish(self.size)
        self._close()
        return built

    def abandon(self) -> None:
        """Nobody wants it: the file goes, finished or not."""
        self._builder.abandon()
        self._close()

    def _places(self, window: Window) -> Mapping[bytes, Place]:
        data = window.digests.any(axis=1)
        known = window.hints[:, 0] != 0
        rows = zip(window.digests[known], window.hints[known].tolist(), strict=True)
        places = {name.tobytes(): Place(*hint) for name, hint in rows}
        unknown = list({name.tobytes() for name in window.digests[np.logical_and(data, ~known)]} - places.keys())
        found = zip(unknown, self._find(unknown) if unknown else [], strict=True)
        return places | {name: place for name, place in found if place is not None}

    def _close(self) -> None:
        for manifest in self._chain:
            manifest.close()
        self._chain = ()
