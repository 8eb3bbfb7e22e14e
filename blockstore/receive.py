"""The one door: whatever becomes a block in the store comes in here.

It hashes what it is given, drops holes, skips what is held or is being stored right now, and compresses the rest. Since
there is no other way in, no later part has to check again, and none can forget to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore import frames
from blockstore.digest import HOLE
from blockstore.packs.pack_format import make_entry
from blockstore.scan import Scanned, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.block import Frame, Place
    from blockstore.claims import Claims
    from blockstore.generation import Pending
    from blockstore.generations import Generations
    from blockstore.index.contract import BlockIndex


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window made ready: its blocks, those that it inherits from the base, and what must be stored."""

    scanned: Scanned
    inherited: frozenset[int]
    """Positions whose block is the base's: not listed, not journaled, not looked up."""
    fresh: dict[bytes, Frame]
    """Blocks that nobody held when they were looked up."""
    pending: dict[bytes, Pending]
    """Blocks that another upload has appended but no row names yet."""
    held: dict[bytes, Place]
    """Blocks that were there already, and where."""
    claimed: int
    """How many of the fresh ones another process is storing, too."""


class Door:
    """Prepares windows on any thread; `base` digests come from the base's manifest at the same positions."""

    def __init__(self, index: BlockIndex, generations: Generations, claims: Claims) -> None:
        self._index = index
        self._claims = claims
        self._generations = generations

    def prepare(self, window: memoryview, ends: Sequence[int], base: Sequence[bytes | None] = ()) -> Prepared:
        """Scan, compare with the base, look up, compress. The caller has been admitted to a generation before.

        `base` has for each block the base's digest, HOLE for a hole, or None where nothing can be inherited.
        """
        scanned = scan(window, ends)
        inherited = self._inherited(scanned.digests, base)
        wanted = {digest: at for at, digest in enumerate(scanned.digests) if digest != HOLE and at not in inherited}
        # Pending first, then the index: a block that moves from the one to the other in between is seen in one of them.
        pending = self._generations.pending(wanted)
        unknown = [digest for digest in wanted if digest not in pending]
        places = self._index.get_many(unknown) if unknown else []
        spans = list(scanned.spans())
        claimed = self._claims.claim(name for name, place in zip(unknown, places, strict=True) if place is None)
        fresh, held = {}, {}
        for digest, place in zip(unknown, places, strict=True):
            if place is not None:
                held[digest] = place
            else:
                start, stop = spans[wanted[digest]]
                fresh[digest] = make_entry(digest, stop - start, frames.compress(window[start:stop]))
        return Prepared(scanned, inherited, fresh, pending, held, claimed)

    def _inherited(self, digests: Sequence[bytes], base: Sequence[bytes | None]) -> frozenset[int]:
        """The positions where the base has the same block, unless that was found bad: then it is stored anew."""
        same = [at for at, theirs in enumerate(base) if theirs == digests[at]]
        bad = self._index.bad_among([digests[at] for at in same if digests[at] != HOLE]) if same else frozenset()
        return frozenset(at for at in same if digests[at] not in bad)
