"""Healing from a stream of bytes: it is cut as the harmed images are, and the blocks that are lost are stored anew.

    feed ─ cut, once for each way in which a harmed image is cut ─ hash ─ is it lost? ─ the one door ─ pack, row

Nothing is believed of the source: a block is what its BLAKE3 says. What was stored is durable within seconds and is not
looked for any more, so a repair that was interrupted is run again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blockstore.errors import BlockstoreError
    from blockstore.generation import Generation
    from blockstore.journal import Record
    from blockstore.store import BlockStore
    from chunker.cutting import Cutting

WINDOW: Final = 4 << 20
"""Bytes that are cut at a time, or as many as the longest block has."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The blocks that are lost, by digest; how the images that show them are cut; and the sizes of these images."""

    blocks: frozenset[bytes]
    cuttings: frozenset[Cutting]
    sizes: frozenset[int]


@dataclass(slots=True)
class _Cut:
    """The stream, cut in one way: what has come and has no end yet, and where that begins in the stream."""

    cutting: Cutting
    begins: int = 0
    rest: bytearray = field(default_factory=bytearray)


class Repair:
    """See the module. `feed` the source's bytes in order, then `finish`; one caller at a time."""

    def __init__(self, store: BlockStore, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._left = set(wanted.blocks)
        self._cuts = [_Cut(cutting) for cutting in wanted.cuttings]
        self._error: BlockstoreError | None = None

    @property
    def left(self) -> frozenset[bytes]:
        """The blocks that are still to be found."""
        return frozenset(self._left)

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the source."""
        for cut in self._cuts if self._left else ():
            cut.rest += data
            if len(cut.rest) >= max(WINDOW, cut.cutting.longest):
                self._look(cut, last=False)

    def finish(self) -> None:
        """The source has ended: all that was found is durable when this returns."""
        for cut in self._cuts if self._left else ():
            self._look(cut, last=True)
        self._store.crossing.generations.flush().result()
        if self._error is not None:
            raise self._error

    def _look(self, cut: _Cut, *, last: bool) -> None:
        window = memoryview(bytes(cut.rest))
        ends = cut.cutting.cutter().cut(window, last=last)
        scanned = scan(window, ends)
        self._keep(
            window[start:stop]
            for (start, stop), name in zip(scanned.spans(), scanned.digests, strict=True)
            if name in self._left
        )
        if cut.cutting.is_fixed:
            self._look_at_tails(cut, window)
        used = ends[-1] if ends else 0
        del cut.rest[:used]
        cut.begins += used

    def _look_at_tails(self, cut: _Cut, window: memoryview) -> None:
        """Where a harmed image ended within a block that the source goes on with."""
        tails = []
        for size in self._wanted.sizes:
            start = size - size % cut.cutting.size - cut.begins
            stop = size - cut.begins
            if 0 <= start < stop <= len(window):
                tails.append(window[start:stop])
        names = (scan(tail, [len(tail)]).digests[0] for tail in tails)
        self._keep([tail for tail, name in zip(tails, names, strict=True) if name in self._left])

    def _keep(self, blocks: Iterable[memoryview]) -> None:
        """Through the door, which hashes them itself."""
        found = list(blocks)
        if not found:
            return
        if self._error is not None:
            raise self._error
        ends = list(itertools.accumulate(map(len, found)))
        generations, door = self._store.crossing.generations, self._store.crossing.door
        generation = generations.admit()
        try:
            prepared = door.prepare(memoryview(b"".join(found)), ends)
            generations.append(generation, prepared)
            # No journal: live manifests list these blocks already.
            generations.note(generation, self, [])
        finally:
            generations.leave(generation)
        self._left.difference_update(prepared.scanned.digests)

    # Called by the closing generation.

    def write_journal(self, records: Sequence[Record]) -> None:
        """There is none."""

    def generation_closed(self, generation: Generation, error: BlockstoreError | None) -> None:
        """What was found is durable, or the repair has failed."""
        del generation
        self._error = self._error or error
