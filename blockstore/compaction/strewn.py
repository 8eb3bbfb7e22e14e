"""Images that are strewn over packs, and the blocks that should be copied to put them in order.

The newest image of each lineage comes first, and a block is its who has it first: an older image is asked for what no
newer one has. So two images that share blocks never take them from each other, run after run.

A read is one run of a pack: it ends where the next block lies elsewhere, at a hole or another image's block, after
AT_ONCE bytes, and at a download's piece. `fresh` are the reads that there would be if the image's own blocks lay one
after another, `extra` those that come on top of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blockstore.block import HEADER_SIZE
from blockstore.compaction.seen import Seen
from blockstore.errors import Damaged, DataRefused, Missing
from blockstore.hinted_runs import AT_ONCE
from blockstore.manifest import open_chain
from blockstore.manifest_format import LEAF_BLOCKS
from blockstore.manifest_reader import PIECE
from blockstore.resolve import Resolver
from blockstore.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.block import Place
    from blockstore.manifest import ManifestFile
    from blockstore.resolve import Window
    from blockstore.roots import ManifestRoot, Roots

STREWN: Final = 2.0
"""An image that takes more than so many times the reads of a fresh one is put in order …"""
WINDOW_STREWN: Final = 1.2
"""… and in it the windows of 1,024 blocks that take more than so many times theirs."""
LEAST_EXTRA: Final = 64
"""Reads that an image must take beyond a fresh one's: for fewer nobody notices."""
MAINLY: Final = 0.5
"""An image with more than this share of its blocks to itself, as no newer one has them, is worth a whole manifest."""


@dataclass(frozen=True, slots=True)
class Reads:
    """How a window, or an image, is read, as far as its blocks are its own; `stored` bytes."""

    fresh: float = 0.0
    extra: int = 0
    stored: int = 0

    def __add__(self, other: Reads) -> Reads:
        return Reads(self.fresh + other.fresh, self.extra + other.extra, self.stored + other.stored)

    def beyond(self, times: float) -> bool:
        """Whether it takes more than so many times the reads of a fresh one."""
        return self.fresh + self.extra > times * self.fresh


@dataclass(frozen=True, slots=True)
class StrewnWindow:
    """Blocks that follow one another in an image and are strewn: digests of shape (n, 32), in order, and `bounds`.

    `split` names the image's manifest if that lies on others although most of the image's blocks are its own.
    """

    window: Window
    owned: NDArray[np.bool_]
    split: str | None = None

    def digests(self) -> list[bytes]:
        """Those that are the image's own, in order."""
        return [name.tobytes() for name in self.window.digests[self.owned]]

    def reads(self, found: Sequence[Place | None]) -> Reads:
        """The reads that it takes when its own blocks are at these places."""
        return count_reads(self.window, self.owned, _rows_of(found, self.owned))


def count_reads(window: Window, owned: NDArray[np.bool_], places: NDArray[np.int64]) -> Reads:
    """The reads of the owned blocks of a window, whose places are given as rows (pack, offset, frame, raw)."""
    owned = owned & (places[:, 0] != 0)
    lengths = places[:, 2] + HEADER_SIZE
    piece = window.bounds[:-1] // PIECE
    joined = owned[1:] & owned[:-1] & (piece[1:] == piece[:-1])
    follows = (places[1:, 0] == places[:-1, 0]) & (places[1:, 1] == places[:-1, 1] + lengths[:-1])
    stored = int(lengths[owned].sum())
    starts = int(owned.sum()) - int(joined.sum())
    return Reads(starts + stored / AT_ONCE, int((joined & ~follows).sum()), stored)


def newest_first(roots: Roots) -> list[ManifestRoot]:
    """The manifests that no other lies on, the newest first: their names begin with the time."""
    bases = {root.base for root in roots.live.values()}
    return sorted((root for root in roots.live.values() if root.name not in bases), key=_name, reverse=True)


def _name(root: ManifestRoot) -> str:
    return root.name


def strewn(store: BareStore, roots: Roots, least_extra: int = LEAST_EXTRA) -> Iterator[StrewnWindow]:
    """The windows that should be copied, image by image. A manifest that is gone or damaged is passed over."""
    seen = Seen(store.index.size().rows)
    known = np.array([record.number for record in store.index.packs()], dtype=np.int64)
    for tip in newest_first(roots):
        try:
            chain = open_chain([(path_of(store.root, root.name), root.digest) for root in roots.chain(tip.name)])
        except (Damaged, DataRefused, Missing):
            continue
        try:
            yield from _of_image(store, Resolver(chain), seen, known, least_extra)
        except (Damaged, Missing):
            # Another's business: whoever marks or verifies says so.
            continue
        finally:
            for manifest in chain:
                manifest.close()


def _of_image(
    store: BareStore, resolver: Resolver, seen: Seen, known: NDArray[np.int64], least_extra: int
) -> Iterator[StrewnWindow]:
    total, blocks, own = Reads(), 0, 0
    windows: list[tuple[int, bytes]] = []
    for key in range(_windows(resolver.chain[0])):
        window = resolver.window(key)
        owned = window.data.copy()
        owned[window.data] = seen.claim(window.digests[window.data])
        reads = count_reads(window, owned, _places(store, window, owned, known))
        total += reads
        blocks += int(window.data.sum())
        own += int(owned.sum())
        if reads.beyond(WINDOW_STREWN):
            windows.append((key, np.packbits(owned).tobytes()))
    split = resolver.chain[0].path.stem if len(resolver.chain) > 1 and own > MAINLY * blocks else None
    if total.beyond(STREWN) and total.extra >= least_extra:
        for key, bits in windows:
            window = resolver.window(key)
            owned = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=len(window)).astype(np.bool_)
            yield StrewnWindow(window, owned, split)


def _windows(top: ManifestFile) -> int:
    return -(-top.header.blocks // LEAF_BLOCKS)


def _places(store: BareStore, window: Window, owned: NDArray[np.bool_], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the owned blocks lie: as the manifest remembers if that pack is still there, else as the index says."""
    places = window.hints.astype(np.int64)
    unknown = owned & ~np.isin(places[:, 0], known)
    if unknown.any():
        found = store.index.get_many([name.tobytes() for name in window.digests[unknown]], hidden=True)
        places[unknown] = _rows_of(found, unknown)[unknown]
    return places


def _rows_of(found: Sequence[Place | None], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places as rows, those found at `where`; zeros for none."""
    rows = np.zeros((len(where), 4), dtype=np.int64)
    rows[where] = np.array([place or (0, 0, 0, 0) for place in found], dtype=np.int64).reshape(-1, 4)
    return rows
