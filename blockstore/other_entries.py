"""Another whole entry of a damaged block: two processes that stored it in the same moment leave one, for a while.

A copy that no row names is garbage until the one that a row names is damaged; then the row is given its place.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from blockstore.disk import disk_errors
from blockstore.errors import BlockstoreError, Damaged
from blockstore.index.contract import PackState
from blockstore.pack_contents import data_trouble, end_of, read_run, read_table
from blockstore.verify_packs import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.packs.pack_format import TableRow
    from blockstore.progress import Progress
    from blockstore.throttle import Throttle


def find_others(store: BareStore, bad: Sequence[bytes], throttle: Throttle, progress: Progress) -> int:
    """Give each of the `bad` blocks the place of a whole entry, where there is one; how many there were.

    The tables of all sealed packs are read.
    """
    wanted, healed = set(bad), 0
    records = [record for record in store.index.packs() if record.state is PackState.SEALED]
    progress.begin("other copies", len(records))
    for done, record in enumerate(records, 1):
        for entry in _whole_ones(store, record, wanted, throttle):
            place = place_of(record.number, entry)
            try:
                # Refused if the pack is retiring by now.
                store.writer.run(partial(store.index.put_many, {entry.digest: place}))
            except BlockstoreError as error:
                progress.note(f"block {entry.digest.hex()} could not be given another place: {error}")
                continue
            wanted.discard(entry.digest)
            healed += 1
        progress.moved(done)
        if not wanted:
            break
    return healed


def _whole_ones(store: BareStore, record: PackRecord, wanted: set[bytes], throttle: Throttle) -> Iterator[TableRow]:
    path = store.packs.path(record.name)
    with disk_errors(str(path)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            rows, _ = read_table(fd, str(path))
            throttle.take(44 * len(rows))
            for entry in [row for row in rows if row.digest in wanted]:
                throttle.take(end_of(entry) - entry.offset)
                [(_, data)] = read_run(fd, [entry])
                if data_trouble(entry, data) is None:
                    yield entry
        except (Damaged, OSError):
            # Its table or its place on the disk is bad, which was told of; the next pass asks again.
            return
        finally:
            os.close(fd)
