"""Compaction: the entries of a pack that rows name go into a new pack, each verified, then the old one is removed.

    new pack durable, sealed → rows moved (each compares its old place) → old pack retiring → unlinked → unregistered

A crash in between leaves a pack without rows, which the next collection drops, or the old pack with what was not yet
moved. Only for who has the data directory to itself: nobody else adds rows to a pack meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blockstore.block import HEADER_SIZE, Frame, Place
from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError
from blockstore.index.contract import PackState
from blockstore.names import new_name
from blockstore.open_pack import FULL
from blockstore.pack_contents import data_trouble, read_contents, read_run, runs
from blockstore.verify_packs import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.packs.local import PackWriter
    from blockstore.packs.pack_format import TableRow


@dataclass(slots=True)
class Compaction:
    """Packs are given one by one to `rewrite`; `finish` ends it. `notes` says what stays as it was, and why."""

    store: BareStore
    full: int = FULL
    moved: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    _pack: PackWriter | None = None
    _moves: dict[bytes, tuple[Place, Place]] = field(default_factory=dict)
    _emptied: list[PackRecord] = field(default_factory=list)

    def rewrite(self, record: PackRecord, rows: int) -> None:
        """Copy what `rows` rows name in this pack; it is removed when the new pack is durable and all were moved."""
        try:
            if self._copy(record, rows):
                self._emptied.append(record)
        except BaseException:
            self._abandon()
            raise
        if self._pack is not None and self._pack.size >= self.full:
            self.finish()

    def finish(self) -> None:
        """Make the new pack durable, move the rows, remove the packs that were emptied."""
        if self._pack is not None:
            pack, self._pack = self._pack, None
            try:
                pack.seal()
            finally:
                pack.close()
            self.store.index.advance_pack(pack.number, PackState.SEALED)
            self.moved += self.store.index.move_many(self._moves)
        self._moves.clear()
        while self._emptied:
            remove_pack(self.store, self._emptied.pop(0))
            self.removed += 1

    def _copy(self, record: PackRecord, rows: int) -> bool:
        """Whether every row's entry was copied."""
        path = self.store.packs.path(record.name)
        with disk_errors(str(path)):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            live = self._live(record, read_contents(fd, str(path), self.store.data.store, record.name).entries)
            copied = sum(
                self._append(record.number, self._checked(fd, record.number, run, str(path))) for run in runs(live)
            )
        finally:
            os.close(fd)
        if len(live) != rows:
            self.notes.append(
                f"{path} stays: rows name blocks that it does not have; run `drystone admin verify --read-data`"
            )
        return copied == rows

    def _live(self, record: PackRecord, entries: Sequence[TableRow]) -> list[TableRow]:
        places = self.store.index.get_many([entry.digest for entry in entries], hidden=True)
        pairs = zip(entries, places, strict=True)
        return [entry for entry, place in pairs if place == place_of(record.number, entry)]

    def _checked(self, fd: int, number: int, run: Sequence[TableRow], path: str) -> list[tuple[TableRow, Frame]]:
        """Those that are right; the others are marked, so that the next upload of their bytes heals them."""
        found = []
        for entry, data in read_run(fd, run):
            trouble = data_trouble(entry, data)
            if trouble is None:
                frame = Frame(entry.digest, entry.raw_length, bytes(data[:HEADER_SIZE]), bytes(data[HEADER_SIZE:]))
                found.append((entry, frame))
            else:
                self.store.index.mark_bad(entry.digest, place_of(number, entry))
                self.notes.append(f"{path} stays: {trouble} at {entry.offset}; run `drystone admin verify --read-data`")
        return found

    def _append(self, number: int, entries: Sequence[tuple[TableRow, Frame]]) -> int:
        if not entries:
            return 0
        if self._pack is None:
            self._pack = self._begin()
        places = self._pack.append([frame for _, frame in entries])
        for (entry, _), place in zip(entries, places, strict=True):
            self._moves[entry.digest] = (place_of(number, entry), place)
        return len(entries)

    def _begin(self) -> PackWriter:
        name = new_name()
        return self.store.packs.create(self.store.index.register_pack(name, self.store.data.process.name), name)

    def _abandon(self) -> None:
        """Nothing was moved into the new pack yet: it goes. What can't be removed now the next start adopts."""
        if self._pack is not None:
            pack, self._pack = self._pack, None
            with contextlib.suppress(BlockstoreError):
                self.store.disk.unlink(pack.path)
                self.store.index.drop_pack(pack.number)
            pack.close()
        self._moves.clear()
        self._emptied.clear()


def remove_pack(store: BareStore, record: PackRecord) -> None:
    """Remove a pack that no row names: retiring, unlinked, and only then out of the register."""
    path = store.packs.path(record.name)
    store.index.advance_pack(record.number, PackState.RETIRING)
    store.disk.unlink(path)
    store.disk.sync_directory(path.parent)
    store.index.drop_pack(record.number)
