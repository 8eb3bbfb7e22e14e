"""Reading an image's bytes: window → places → runs that lie together → one pread a run → frames, each checked.

No byte leaves before the BLAKE3 of its block was right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import HOLE, digest
from blockstore.errors import Damaged, Missing
from blockstore.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from blockstore.block import Place
    from blockstore.index.contract import BlockIndex
    from blockstore.manifest import ManifestFile
    from blockstore.packs.local import LocalPacks

PIECE: Final = 1024 * 1024
"""Bytes that are read, checked and handed on at a time (one block if that is longer)."""


class ManifestReader:
    """One image, given by its chain of manifests (newest first). `load` is safe on several threads at once."""

    def __init__(
        self,
        chain: Sequence[ManifestFile],
        index: BlockIndex,
        packs: LocalPacks,
        damaged: Callable[[bytes, Place], None],
    ) -> None:
        self._chain = chain
        self._resolver = Resolver(chain)
        self._index = index
        self._packs = packs
        self._damaged = damaged
        self._names: dict[int, bytes] = {}
        self.size = chain[0].header.size
        self.block_size = chain[0].header.block_size
        self.piece = max(PIECE, self.block_size)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop` (within the image), in pieces; for callers without a crew."""
        for piece_start, piece_stop in self.pieces(start, stop):
            yield self.load(piece_start, piece_stop)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The spans to `load` one after another: each ends at a multiple of the piece size, or at `stop`."""
        while start < stop:
            end = min(stop, (start // self.piece + 1) * self.piece)
            yield start, end
            start = end

    def digests(self) -> list[bytes]:
        """The digest of every block in order; HOLE for holes. 32 bytes a block: for small images and checks."""
        return self._resolver.digests(0, -(-self.size // self.block_size))

    def load(self, start: int, stop: int) -> bytes:
        """The bytes of one span; Damaged (naming the file) rather than a wrong byte."""
        size = self.block_size
        first = start // size
        names = self._resolver.digests(first, (stop - 1) // size - first + 1)
        blocks = self._blocks({name for name in names if name != HOLE})
        parts: list[bytes] = []
        for number, name in enumerate(names, first):
            begins = number * size
            length = min(size, self.size - begins)
            block = bytes(length) if name == HOLE else blocks[name]
            if len(block) != length:
                raise Damaged(
                    f"{self._chain[0].path} names a block of {len(block)} bytes at {begins}, where {length} belong"
                )
            inside = slice(max(0, start - begins), min(length, stop - begins))
            parts.append(block if inside == slice(0, length) else block[inside])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the manifests."""
        for manifest in self._chain:
            manifest.close()

    def _blocks(self, names: set[bytes]) -> Mapping[bytes, bytes]:
        """The verified bytes of each block; if there is trouble, places are looked up anew and read one by one."""
        try:
            return self._fetch(_runs(self._places(names)))
        except (Missing, Damaged):
            self._names.clear()
        blocks: dict[bytes, bytes] = {}
        for place, name in self._places(names):
            try:
                blocks |= self._fetch([[(place, name)]])
            except Damaged:
                self._damaged(name, place)
                raise
        return blocks

    def _places(self, names: set[bytes]) -> list[tuple[Place, bytes]]:
        wanted = list(names)
        places = self._index.get_many(wanted, hidden=True)
        for name, place in zip(wanted, places, strict=True):
            if place is None:
                raise Damaged(
                    f"block {name.hex()} of {self._chain[0].path} has no row in the index: "
                    "make the index again from the packs",
                )
        return sorted(zip([place for place in places if place is not None], wanted, strict=True))

    def _fetch(self, runs: Iterable[list[tuple[Place, bytes]]]) -> dict[bytes, bytes]:
        blocks = {}
        for run in runs:
            pack = run[0][0].pack
            name = self._pack_name(pack)
            begins = run[0][0].offset
            (data,) = self._packs.read_many(name, [(begins, run[-1][0].end)])
            view = memoryview(data)
            for place, wanted in run:
                at = place.offset - begins + HEADER_SIZE
                blocks[wanted] = self._checked(view[at : at + place.frame_length], place, wanted, name)
        return blocks

    def _checked(self, frame: memoryview, place: Place, wanted: bytes, name: bytes) -> bytes:
        where = f"{self._packs.path(name)}: the entry at {place.offset}"
        try:
            block = frames.decompress(frame, place.raw_length)
        except Damaged as error:
            raise Damaged(f"{where} is damaged: {error}") from error
        if digest(block) != wanted:
            raise Damaged(f"{where} holds other bytes than those of block {wanted.hex()}")
        return block

    def _pack_name(self, number: int) -> bytes:
        name = self._names.get(number)
        if name is None:
            record = self._index.pack(number)
            if record is None:
                raise Missing(f"pack {number} is gone")
            name = self._names[number] = record.name
        return name


def _runs(sited: list[tuple[Place, bytes]]) -> Iterator[list[tuple[Place, bytes]]]:
    """Places that lie one after another in a pack, together."""
    run: list[tuple[Place, bytes]] = []
    for place, name in sited:
        if run and (place.pack != run[-1][0].pack or place.offset != run[-1][0].end):
            yield run
            run = []
        run.append((place, name))
    if run:
        yield run
