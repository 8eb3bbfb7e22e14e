"""Removing a pack that no row names, beside whoever may be about to name it.

    no rows, retiring (one transaction) → unlinked → its directory synced → out of the register

Only a pack that is sealed is removed. Its table lists all that it has, and a row names an entry that was there before
it: so looking up what the table lists finds each row that names the pack, whatever its mark. `put_many` and `move_many`
refuse rows that name a retiring pack, each in its own transaction. So none names it then, and none ever will.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import Missing
from blockstore.index.contract import BATCH
from blockstore.pack_contents import read_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    """Those of a pack's entries that rows name, marked or not: digest and place, a batch at a time, in their order."""
    for first in range(0, len(entries), BATCH):
        digests = [entry.digest for entry in entries[first : first + BATCH]]
        places = store.index.get_many(digests, hidden=True)
        found = [(name, place) for name, place in zip(digests, places, strict=True) if place and place.pack == pack]
        if found:
            yield found


def retire(store: BareStore, record: PackRecord, pace: Pace) -> bool:
    """Remove the pack; False if a row names it, or if another has removed it."""
    contents = contents_of(store, record)
    digests = [entry.digest for entry in contents.entries] if contents else []
    if not pace.change(partial(store.index.retire_pack, record.number, digests)):
        return False
    path = store.packs.path(record.name)
    store.disk.unlink(path)
    store.disk.sync_directory(path.parent)
    pace.change(partial(store.index.drop_pack, record.number))
    return True
