"""Entries copied into new packs, each verified, and their rows moved there.

    copied in the order given → new pack durable, with its table → rows moved (each compares its old place), and the
    pack sealed with the last of them → packs that were emptied are retired

The new pack is open in the register, and locked, until all its rows are in: so nobody takes it for one without rows,
and what a killed compaction leaves is adopted as any open pack is. In memory are a batch of entries, a pack's table and
some thousand moves.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.block import HEADER_SIZE, Frame, Place
from blockstore.compaction.retiring import Retiring, taken_by
from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError, Missing, StoreFull
from blockstore.index.contract import BATCH
from blockstore.names import new_name
from blockstore.open_pack import FULL
from blockstore.pack_contents import checked_run, end_of, runs
from blockstore.packs.pack_format import TableRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.compaction.pace import Pace
    from blockstore.index.contract import PackRecord
    from blockstore.packs.local import PackFile, PackWriter

    Sited = tuple[bytes, Place]
    """A block's digest, and where it lies."""

MOST_MOVES: Final = 16_384
"""Rows that wait to be moved."""
AT_ONCE: Final = 16 << 20
"""Bytes of entries in memory: they are read in the order of packs and written in the order that was asked for."""
LEAST: Final = 16 << 20
"""Bytes that are left free on the disk beside the new pack: the index wants some, and so do uploads."""


@dataclass(slots=True)
class Copying:
    """`copy` blocks out of sealed packs, `remove` packs that are emptied, `finish`; `close` it whatever happened.

    `packs` are the packs that may be copied from, by number. `notes` say what stays as it was, and why.
    """

    store: BareStore
    packs: Mapping[int, PackRecord]
    pace: Pace
    full: int = FULL
    moved: int = 0
    written: int = 0
    touched: Counter[int] = field(default_factory=Counter)
    """How many blocks were copied out of a pack, by number."""
    notes: list[str] = field(default_factory=list)
    _pack: PackWriter | None = None
    _landed: int = 0
    _moving: bool = False
    _moves: dict[bytes, tuple[Place, Place]] = field(default_factory=dict)
    _emptied: list[PackRecord] = field(default_factory=list)
    _taken: int = 0
    _retiring: Retiring = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing copied and nothing removed."""
        self._retiring = Retiring(self.store, self.pace)

    @property
    def removed(self) -> int:
        """How many packs are gone."""
        return self._retiring.removed

    @property
    def freed(self) -> int:
        """Bytes that the disk has more than before; fewer than 0 while old and new packs are there."""
        return self._retiring.freed - self._taken

    def copy(self, blocks: Sequence[Sited], *, coming: int | None = None) -> None:
        """Copy blocks in this order. `coming`: bytes that will follow; a new pack wants room for that much.

        StoreFull when there is none. Blocks whose pack is gone are passed over: another has moved them.
        """
        for batch in _batches(blocks, min(AT_ONCE, max(1, self.full // 4))):
            found = self._read(batch)
            entries = [(digest, place, found[digest]) for digest, place in batch if digest in found]
            if entries:
                self._append(entries, self.full if coming is None else coming)

    def remove_when_moved(self, record: PackRecord) -> None:
        """What rows name of this pack was copied: it goes when they have moved."""
        self._emptied.append(record)

    def remove(self, record: PackRecord) -> None:
        """Remove a pack, unless rows name it: those of damaged blocks, or of such as came back in the last moment."""
        self._retiring.remove(record)

    def doubt(self, record: PackRecord) -> None:
        """Leave it to `settle_doubts` whether rows name a pack."""
        self._retiring.doubt(record)

    def settle_doubts(self) -> None:
        """Packs whose own word doesn't account for all rows that name them go only if no row is left."""
        for record in self._retiring.settle():
            self.notes.append(
                f"{self.store.packs.path(record.name)} stays: rows name blocks in it that it does not list; run "
                "`drystone admin verify --read-data`"
            )

    def finish(self) -> None:
        """Make the new pack durable, move the rows, remove the packs that were emptied."""
        self._settle(last=True)
        while self._emptied:
            self.remove(self._emptied.pop(0))

    def close(self) -> None:
        """Let go of what was begun and not finished: nothing of it is half there."""
        if self._pack is not None:
            pack, self._pack = self._pack, None
            if not self._moving:
                with contextlib.suppress(BlockstoreError):
                    self.store.disk.unlink(pack.path)
                    self._drop(pack.number)
            # Otherwise rows may name it, and the next collection adopts it.
            pack.close()
        self._moves.clear()
        self._emptied.clear()

    def _read(self, batch: Sequence[Sited]) -> dict[bytes, Frame]:
        """The verified entries; each pack is opened once."""
        found: dict[bytes, Frame] = {}
        by_pack = itertools.groupby(sorted(batch, key=lambda sited: sited[1]), lambda sited: sited[1].pack)
        for number, sited in by_pack:
            try:
                file = self.store.packs.open(self.packs[number].name)
            except Missing:
                continue
            with contextlib.closing(file):
                for frame in self._checked(file, number, sited):
                    found[frame.digest] = frame
        return found

    def _checked(self, file: PackFile, number: int, sited: Iterable[Sited]) -> Iterator[Frame]:
        """Those that are right; the others are marked, so that the next upload of their bytes heals them."""
        entries = [TableRow(place.offset, place.raw_length, place.frame_length, name) for name, place in sited]
        for run in runs(entries):
            self.pace.read(end_of(run[-1]) - run[0].offset)
            with disk_errors(str(file.path)):
                read = list(checked_run(file.fd, run))
            for entry, data, trouble in read:
                if trouble is None:
                    yield Frame(entry.digest, entry.raw_length, bytes(data[:HEADER_SIZE]), bytes(data[HEADER_SIZE:]))
                else:
                    place = Place(number, entry.offset, entry.frame_length, entry.raw_length)
                    self.pace.change(partial(self.store.index.mark_bad, entry.digest, place))
                    self.notes.append(
                        f"{file.path} stays: {trouble} at {entry.offset}; run `drystone admin verify --read-data`"
                    )

    def _append(self, entries: Sequence[tuple[bytes, Place, Frame]], coming: int) -> None:
        if self._pack is None:
            self._pack = self._begin(coming)
        before = self._pack.size
        places = self._pack.append([frame for _, _, frame in entries])
        self.written += self._pack.size - before
        for (digest, old, _), new in zip(entries, places, strict=True):
            self._moves[digest] = (old, new)
            self.touched[old.pack] += 1
        if self._pack.size >= self.full:
            self.finish()
        elif len(self._moves) >= MOST_MOVES:
            self._settle(last=False)

    def _begin(self, coming: int) -> PackWriter:
        with disk_errors(str(self.store.root)):
            free = shutil.disk_usage(self.store.root).free
        if free < min(coming, self.full) + LEAST:
            raise StoreFull(f"{free} bytes are free at {self.store.root}")
        name = new_name()
        register = partial(self.store.index.register_pack, name, self.store.data.process.name)
        number = self.pace.change(register)
        self._landed, self._moving = 0, False
        try:
            return self.store.packs.create(number, name)
        except BlockstoreError:
            self._drop(number)
            raise

    def _drop(self, number: int) -> None:
        """Take a pack out of the register that was never made; what can't be now the next collection does."""
        with contextlib.suppress(BlockstoreError):
            self.pace.change(partial(self.store.index.drop_pack, number))

    def _settle(self, *, last: bool) -> None:
        """Move what was copied so far; with `last` into a pack that is complete."""
        if self._pack is None:
            return
        pack = self._pack
        if last:
            pack.seal()
        else:
            pack.sync()
        self._moving = True
        moves = sorted(self._moves.items())
        for first in range(0, max(1, len(moves)), BATCH):
            part = dict(moves[first : first + BATCH])
            seal = [pack.number] if last and first + BATCH >= len(moves) else []
            self._landed += self.pace.change(partial(self.store.index.move_many, part, seal=seal))
        self._moves.clear()
        if last:
            self.moved += self._landed
            self._pack = None
            pack.close()
            self._taken += taken_by(pack.path)
            if not self._landed:
                # Another was quicker.
                self._forget(pack.number)

    def _forget(self, number: int) -> None:
        record = self.store.index.pack(number)
        if record is not None:
            self.remove(record)


def _batches(blocks: Iterable[Sited], most: int) -> Iterator[list[Sited]]:
    """Blocks in parts of `most` bytes as they are stored, one block at least."""
    batch: list[Sited] = []
    size = 0
    for digest, place in blocks:
        length = place.end - place.offset
        if batch and size + length > most:
            yield batch
            batch, size = [], 0
        batch.append((digest, place))
        size += length
    if batch:
        yield batch
