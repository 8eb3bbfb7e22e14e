"""Blocks by digest: places → runs that lie together → one pread a run → each block checked, decompressed or as stored.

Nothing that is handed out went unchecked: a decompressed block by its BLAKE3; a stored entry by its header, which names
the block, and the frame's xxh3-64. Where a pack is gone (compacted), the place is looked up again, as often as the
index names another one. A row that leads astray is looked up once more; then the block is marked bad, so that the next
upload of its bytes heals it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.checksum import xxh3
from blockstore.digest import digest
from blockstore.errors import Damaged, Missing
from blockstore.hinted_runs import HintedRuns
from blockstore.packs.pack_format import LONGEST_BLOCK, LONGEST_FRAME, decode_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from blockstore.block import Place
    from blockstore.index.contract import BlockIndex
    from blockstore.packs.local import LocalPacks
    from blockstore.packs.pack_format import Header
    from blockstore.resolve import Window
    from blockstore.stored_span import StoredSpan

    Sited = tuple[Place, bytes]
    """A block's place and its digest."""

    Hints = Mapping[bytes, Place | None]
    """Digests, each with where its block was stored, if that is known without the index."""

T = TypeVar("T")
REBUILD: Final = "run `drystone admin rebuild-index`, which makes the index again from the packs"


class BlockFetch:
    """Reads blocks for the image whose newest manifest is `what`; safe on several threads at once."""

    def __init__(
        self,
        index: BlockIndex,
        packs: LocalPacks,
        damaged: Callable[[bytes, Place], None],
        looked_up: Callable[[list[bytes]], object],
        *,
        what: str,
    ) -> None:
        self._index = index
        self._packs = packs
        self._damaged = damaged
        self._looked_up = looked_up
        self._what = what
        self._names: dict[int, bytes] = {}
        self._misled = False
        self._runs = HintedRuns(packs, self._pack_name, what)

    def raw(self, wanted: Hints) -> Mapping[bytes, bytes]:
        """Each block's own bytes. Damaged or Missing, naming the file, rather than a wrong byte."""
        return self._all(wanted, self._decompressed)

    def stored(self, wanted: Hints) -> Mapping[bytes, memoryview]:
        """Each block's entry as it lies in its pack: a skippable frame and the block's zstd frame. As `raw`."""
        return self._all(wanted, self._entry)

    def fill(self, window: Window, room: memoryview) -> bool:
        """Put all of the window's bytes into `room`, which is as long; False where hints don't do."""

        def filled() -> bool:
            self._runs.fill(window, room)
            return True

        return self._by_hints(window, filled) is True

    def add_stored(self, window: Window, span: StoredSpan) -> bool:
        """Add the window's blocks to `span` as they are stored, holes as frames of zeros; False as `fill`."""

        def added() -> bool:
            self._runs.stored(window, span)
            return True

        return self._by_hints(window, added) is True

    def _by_hints(self, window: Window, work: Callable[[], T]) -> T | None:
        if self._misled or not self._runs.knows(window):
            return None
        try:
            return work()
        except (Missing, Damaged):
            # They have moved, or the hints are damaged: from now on this reader asks the index.
            self._misled = True
            return None

    def _all(self, wanted: Hints, check: Callable[[memoryview, Place, bytes], T]) -> dict[bytes, T]:
        names = list(wanted)
        hinted = [(hint, name) for name, hint in wanted.items() if hint is not None]
        if hinted and not self._misled:
            try:
                unknown = [name for name, hint in wanted.items() if hint is None]
                sited = hinted + (self._places(unknown) if unknown else [])
                return self._fetch(_runs(sorted(sited)), check)
            except (Missing, Damaged):
                # They have moved, or the hints are damaged: from now on this reader asks the index.
                self._misled = True
        try:
            return self._fetch(_runs(self._places(names)), check)
        except (Missing, Damaged):
            self._names.clear()
        blocks: dict[bytes, T] = {}
        for name in names:
            blocks |= self._one(name, check)
        return blocks

    def _one(self, name: bytes, check: Callable[[memoryview, Place, bytes], T]) -> dict[bytes, T]:
        """One block, looked up right before it is read, and again as long as it has moved since."""
        before = None
        while True:
            (sited,) = self._places([name])
            try:
                return self._fetch([[sited]], check)
            except Missing:
                # Rows move before their pack goes, and no name is used again: so this ends.
                if sited[0] == before:
                    raise
                before = sited[0]
            except Damaged:
                self._damaged(name, sited[0])
                raise

    def _places(self, wanted: list[bytes]) -> list[Sited]:
        places = self._index.get_many(wanted, hidden=True)
        for name, place in zip(wanted, places, strict=True):
            if place is None:
                raise Damaged(f"block {name.hex()} of {self._what} has no row in the index: {REBUILD}")
        self._looked_up(wanted)
        return sorted(zip([place for place in places if place is not None], wanted, strict=True))

    def _fetch(self, runs: Iterable[list[Sited]], check: Callable[[memoryview, Place, bytes], T]) -> dict[bytes, T]:
        blocks = {}
        for run in runs:
            begins = run[0][0].offset
            (data,) = self._packs.read_many(self._pack_name(run[0][0].pack), [(begins, run[-1][0].end)])
            view = memoryview(data)
            for place, wanted in run:
                blocks[wanted] = check(view[place.offset - begins : place.end - begins], place, wanted)
        return blocks

    def _decompressed(self, entry: memoryview, place: Place, wanted: bytes) -> bytes:
        try:
            block = frames.decompress(entry[HEADER_SIZE:], place.raw_length)
        except Damaged as error:
            raise Damaged(f"{self._where(place)} is damaged: {error}; {self._cure(entry, place, wanted)}") from error
        if digest(block) != wanted:
            raise Damaged(
                f"{self._where(place)} holds other bytes than those of block {wanted.hex()}; "
                f"{self._cure(entry, place, wanted)}"
            )
        return block

    def _entry(self, entry: memoryview, place: Place, wanted: bytes) -> memoryview:
        header = _header(entry, place, wanted)
        if header is None or header.frame_sum != xxh3(entry[HEADER_SIZE:]):
            raise Damaged(
                f"{self._where(place)} is not as block {wanted.hex()} was stored; {self._cure(entry, place, wanted)}"
            )
        return entry

    def _cure(self, entry: memoryview, place: Place, wanted: bytes) -> str:
        """What helps: when the entry's own header contradicts the row, the index is to blame, else the pack."""
        if _header(entry, place, wanted) is not None:
            return "upload an image with this block again, which heals it"
        return f"if the pack is right, the index is not: {REBUILD}"

    def _where(self, place: Place) -> str:
        return f"{self._packs.path(self._pack_name(place.pack))}: the entry at {place.offset}"

    def _pack_name(self, number: int) -> bytes:
        name = self._names.get(number)
        if name is None:
            record = self._index.pack(number)
            if record is None:
                raise Missing(f"pack {number} of {self._what} is not in the index's register: {REBUILD}")
            name = self._names[number] = record.name
        return name


def _header(entry: memoryview, place: Place, wanted: bytes) -> Header | None:
    """The entry's header, if it is the one that row and manifest speak of."""
    header = decode_header(entry)
    if header is None or header.digest != wanted or header.raw_length != place.raw_length:
        return None
    return header if header.frame_length == place.frame_length else None


def _runs(sited: list[Sited]) -> Iterator[list[Sited]]:
    """Places that lie one after another in a pack, together."""
    run: list[Sited] = []
    for place, name in sited:
        if place.frame_length > LONGEST_FRAME or place.raw_length > LONGEST_BLOCK:
            # Nobody may make us ask for gibibytes of memory.
            raise Damaged(f"block {name.hex()} cannot be as long as its row in the index says: {REBUILD}")
        if run and (place.pack != run[-1][0].pack or place.offset != run[-1][0].end):
            yield run
            run = []
        run.append((place, name))
    if run:
        yield run
