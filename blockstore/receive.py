"""The one door: whatever becomes a block in the store comes in here.

It hashes what it is given, drops holes, skips what is held or is being stored right now, and compresses the rest. Since
there is no other way in, no later part has to check again, and none can forget to.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.digest import HOLE, digest
from blockstore.errors import BlockNotHeld, BlockRefused, Damaged
from blockstore.packs.pack_format import decode_header, make_entry
from blockstore.scan import Scanned, scan
from blockstore.sent_blocks import NumberRange, longest_frame
from chunker.holes import is_zero

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class SentBlock(NamedTuple):
    """Block `number`, `length` bytes of the image: its entry as somebody sent it, or the digest of one that is held."""

    number: int
    length: int
    entry: memoryview | None = None
    digest: bytes = b""


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
        spans = list(scanned.spans())

        def entry_of(name: bytes, at: int) -> Frame:
            start, stop = spans[at]
            return make_entry(name, stop - start, frames.compress(window[start:stop]))

        return self._looked_up(scanned, inherited, entry_of)

    def prepare_sent(self, blocks: Sequence[SentBlock]) -> Prepared:
        """Unpack and check what was sent as entries, look up, and compress anew what must be stored.

        Never the sender's frame: by an unusual one, who reads it back would learn whether the block was held before.
        As `prepare`. BlockRefused names the first block that is not what its entry says; BlockNotHeld those that were
        said to be held and that nothing can be built on now.
        """
        names = [block.digest if block.entry is None else _name_of(block) for block in blocks]
        ends = list(itertools.accumulate(block.length for block in blocks))
        entries = {name: block for name, block in zip(names, blocks, strict=True) if block.entry is not None}

        def entry_of(name: bytes, at: int) -> Frame:
            block = entries.get(name)
            if block is None or block.entry is None:
                raise BlockNotHeld(
                    f"Block {blocks[at].number} cannot be taken from another image now: send its bytes.",
                    [NumberRange(blocks[at].number, 1)],
                )
            # Unpacked once more, rather than all of a window's blocks kept in memory until they are looked up.
            return make_entry(
                name, block.length, frames.compress(frames.decompress(block.entry[HEADER_SIZE:], block.length))
            )

        return self._looked_up(Scanned(ends, names), frozenset(), entry_of)

    def _looked_up(
        self, scanned: Scanned, inherited: frozenset[int], entry_of: Callable[[bytes, int], Frame]
    ) -> Prepared:
        """What of it is held or pending, and the entries of the rest, made by name and position."""
        wanted = {name: at for at, name in enumerate(scanned.digests) if name != HOLE and at not in inherited}
        # Pending first, then the index: a block that moves from the one to the other in between is seen in one of them.
        pending = self._generations.pending(wanted)
        unknown = [name for name in wanted if name not in pending]
        places = self._index.get_many(unknown) if unknown else []
        claimed = self._claims.claim(name for name, place in zip(unknown, places, strict=True) if place is None)
        fresh, held = {}, {}
        for name, place in zip(unknown, places, strict=True):
            if place is not None:
                held[name] = place
            else:
                fresh[name] = entry_of(name, wanted[name])
        return Prepared(scanned, inherited, fresh, pending, held, claimed)

    def _inherited(self, digests: Sequence[bytes], base: Sequence[bytes | None]) -> frozenset[int]:
        """The positions where the base has the same block, unless that was found bad: then it is stored anew."""
        same = [at for at, theirs in enumerate(base) if theirs == digests[at]]
        bad = self._index.bad_among([digests[at] for at in same if digests[at] != HOLE]) if same else frozenset()
        return frozenset(at for at in same if digests[at] not in bad)


def _name_of(block: SentBlock) -> bytes:
    """The digest of a block that was sent as an entry, HOLE if it is zeros; BlockRefused if it is not what it says."""
    assert block.entry is not None
    header, frame = decode_header(block.entry), block.entry[HEADER_SIZE:]
    if header is None or header.frame_length != len(frame) or header.frame_sum != xxh3(frame):
        raise _refused(block, "its entry's header is not right, or not that of the frame behind it")
    if header.raw_length != block.length:
        raise _refused(block, f"its entry says {header.raw_length} bytes where the block has {block.length}")
    if len(frame) > longest_frame(block.length):
        raise _refused(block, f"its frame has {len(frame)} bytes, more than one of {block.length} can need")
    try:
        raw = frames.decompress(frame, block.length)
    except Damaged as error:
        raise _refused(block, str(error)) from error
    if digest(raw) != header.digest:
        raise _refused(block, "its bytes have another digest than its entry says")
    return HOLE if is_zero(memoryview(raw)) else header.digest


def _refused(block: SentBlock, why: str) -> BlockRefused:
    return BlockRefused(f"Block {block.number} is refused: {why}.", [NumberRange(block.number, 1)])
