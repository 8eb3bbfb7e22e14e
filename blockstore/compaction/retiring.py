"""Removing packs that no row names, beside whoever may be about to name them.

    no rows, retiring (one transaction) → unlinked → its directory synced → out of the register

Only a pack that is sealed is removed. Its table lists all that it has, and a row names an entry that was there before
it: so looking up what the table lists finds each row that names the pack, whatever its mark. `put_many` and `move_many`
refuse rows that name a retiring pack, each in its own transaction. So none names it then, and none ever will.

Where the table cannot be believed, rows may name what nothing lists. Then all rows are scanned: once before, so that a
pack which rows name stays what it is, and once when the pack is retiring, since only then no row can come any more.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import Missing
from blockstore.index.contract import BATCH, PackState
from blockstore.pack_contents import read_contents
from blockstore.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from blockstore.bare_store import BareStore
    from blockstore.block import Place
    from blockstore.compaction.pace import Pace
    from blockstore.index.contract import PackRecord
    from blockstore.pack_contents import Contents
    from blockstore.packs.pack_format import TableRow


def contents_of(store: BareStore, record: PackRecord) -> Contents | None:
    """What a sealed pack holds, by its own word; None if its file is gone."""
    path = store.packs.path(record.name)
    try:
        file = store.packs.open(record.name)
    except Missing:
        return None
    with contextlib.closing(file), disk_errors(str(path)):
        return read_contents(file.fd, str(path), store.data.store, record.name)


def rows_in(store: BareStore, pack: int, entries: Sequence[TableRow]) -> Iterator[list[tuple[bytes, Place]]]:
    """Those of a pack's entries that rows name, marked or not: digest and place, a batch at a time, in their order.

    Each row once, though a pack may have a block several times. Rows that name no entry, only its block, come last.
    """
    elsewhere: dict[bytes, Place] = {}
    for first in range(0, len(entries), BATCH):
        part = entries[first : first + BATCH]
        found = []
        for entry, place in zip(part, store.index.get_many([each.digest for each in part], hidden=True), strict=True):
            if place and place.pack == pack:
                if place.offset == entry.offset:
                    found.append((entry.digest, place))
                else:
                    elsewhere[entry.digest] = place
        if found:
            yield found
    if elsewhere:
        there = {(entry.digest, entry.offset) for entry in entries if entry.digest in elsewhere}
        astray = [(name, place) for name, place in elsewhere.items() if (name, place.offset) not in there]
        if astray:
            yield astray


@dataclass(slots=True)
class Retiring:
    """`remove` packs, then `settle` those whose own word does not do; `removed` and `freed` say what came of it."""

    store: BareStore
    pace: Pace
    removed: int = 0
    freed: int = 0
    """Bytes of the disk."""
    _doubted: list[PackRecord] = field(default_factory=list)

    def remove(self, record: PackRecord) -> None:
        """Remove a pack at once if no row names it, unless that takes a scan to know."""
        contents = contents_of(self.store, record)
        if contents is None:
            self._remove_without_file(record)
        elif not contents.is_whole:
            self.doubt(record)
        elif self._becomes_retiring(record, contents):
            self._unlink(record)

    def doubt(self, record: PackRecord) -> None:
        """What the pack says of itself is not all that rows say of it: `settle` decides."""
        self._doubted.append(record)

    def settle(self) -> list[PackRecord]:
        """Remove the doubted packs that no row names; gives those that stay."""
        doubted, self._doubted = self._doubted, []
        named = self._named(doubted)
        retiring = [
            record
            for record in doubted
            if record.number not in named and self._becomes_retiring(record, contents_of(self.store, record))
        ]
        named |= self._named(retiring)
        for record in retiring:
            if record.number not in named:
                self._unlink(record)
        return [record for record in doubted if record.number in named]

    def _remove_without_file(self, record: PackRecord) -> None:
        now = self.store.index.pack(record.number)
        if now is None:
            return
        if now.state is PackState.RETIRING:
            # Whoever unlinked it knew that no row names it.
            self._unlink(now)
        else:
            self.doubt(now)

    def _becomes_retiring(self, record: PackRecord, contents: Contents | None) -> bool:
        digests = [entry.digest for entry in contents.entries] if contents else []
        return self.pace.change(partial(self.store.index.retire_pack, record.number, digests))

    def _named(self, records: Sequence[PackRecord]) -> set[int]:
        """The numbers of those that a row names."""
        if not records:
            return set()
        usage = Usage()
        for rows in self.store.index.rows():
            self.pace.read(rows.nbytes)
            usage.add(rows)
        return {record.number for record in records if usage.rows[record.number]}

    def _unlink(self, record: PackRecord) -> None:
        path = self.store.packs.path(record.name)
        taken = taken_by(path)
        self.store.disk.unlink(path)
        self.store.disk.sync_directory(path.parent)
        self.pace.change(partial(self.store.index.drop_pack, record.number))
        self.removed += 1
        self.freed += taken


def taken_by(path: Path) -> int:
    """Bytes of the disk that a file takes, if it is there."""
    with contextlib.suppress(OSError):
        return path.stat().st_blocks * 512
    return 0
