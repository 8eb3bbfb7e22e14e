"""Packs: those without rows are dropped, those with much that is dead are written anew.

A sealed pack is dropped in one transaction that finds no row in it and makes it retiring; from then on no row may name
it. Then its file is unlinked, and only then it leaves the register. Names and numbers are never used again, so whoever
comes late with either step harms nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from blockstore.compact import Compaction
from blockstore.disk import disk_errors
from blockstore.errors import StoreFull
from blockstore.index.contract import PackState
from blockstore.pack_contents import read_contents
from blockstore.usage import occupied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.collection.pace import Pace
    from blockstore.garbage import Collected, Collecting
    from blockstore.index.contract import PackRecord
    from blockstore.progress import Progress
    from blockstore.usage import Usage


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack's fate: how many rows still name it, its dead entries and bytes, its file's bytes."""

    record: PackRecord
    rows: int
    dead: int
    dead_bytes: int
    bytes: int
    taken: int


def finish_retiring(store: BareStore, pace: Pace) -> int:
    """Go on where an interrupted run left a pack; gives the bytes freed."""
    retiring = [record for record in store.index.packs() if record.state is PackState.RETIRING]
    return sum(_drop(store, record, pace) for record in retiring)


def free_packs(
    store: BareStore,
    records: Sequence[PackRecord],
    kept: Usage,
    how: Collecting,
    done: Collected,
    progress: Progress,
    pace: Pace,
) -> None:
    """Drop and rewrite; `records` were read before the rows were scanned, so that no pack looks emptier than it is."""
    packs = list(_fates(store, records, kept, done, dry_run=how.dry_run))
    done.dead, done.dead_bytes = sum(pack.dead for pack in packs), sum(pack.dead_bytes for pack in packs)
    drop = [pack for pack in packs if not pack.rows]
    rewrite = [pack for pack in packs if pack.rows and pack.dead_bytes > how.share * pack.bytes]
    done.packs_dropped, done.packs_rewritten = len(drop), len(rewrite)
    done.left = done.dead_bytes - sum(pack.dead_bytes for pack in (*drop, *rewrite))
    if how.dry_run:
        done.moved = sum(pack.rows for pack in rewrite)
        done.freed += sum(pack.taken for pack in drop) + sum(pack.dead_bytes for pack in rewrite)
        return
    progress.begin("packs", sum(pack.bytes for pack in (*drop, *rewrite)), "B")
    passed = 0
    # The dead ones first: they make the room that copying needs.
    for pack in drop:
        done.freed += _drop(store, pack.record, pace)
        passed += pack.bytes
        progress.moved(passed)
    compaction = Compaction(store)
    try:
        for pack in rewrite:
            compaction.rewrite(pack.record, pack.rows)
            pace.read(pack.bytes)
            passed += pack.bytes
            progress.moved(passed)
        compaction.finish()
    except StoreFull as error:
        done.notes.append(f"packs were not written anew, for which there is no room: {error}")
    done.moved, done.packs_rewritten = compaction.moved, compaction.removed
    done.freed += sum(pack.taken for pack in rewrite if store.index.pack(pack.record.number) is None)
    mine = [record for record in store.index.packs() if record.owner == store.data.process.name]
    done.freed -= sum(found.taken for record in mine if (found := occupied(store, record)) is not None)
    done.notes += compaction.notes


def _fates(
    store: BareStore, records: Sequence[PackRecord], kept: Usage, done: Collected, *, dry_run: bool
) -> Iterator[_Pack]:
    for record in records:
        rows = kept.rows[record.number]
        found = occupied(store, record)
        if found is None:
            if rows and store.index.pack(record.number) is not None:
                done.notes.append(f"{store.packs.path(record.name)} is gone, although rows name blocks in it")
            elif not rows and record.state is not PackState.OPEN:
                yield _Pack(record, 0, 0, 0, 0, 0)
        elif record.state is PackState.OPEN and not dry_run:
            if not store.data.is_alive(record.owner):
                done.notes.append(
                    f"{store.packs.path(record.name)} could not be sealed and stays as it is: see the log"
                )
        else:
            dead = max(0, found.entries - rows), max(0, found.bytes - kept.stored[record.number])
            yield _Pack(record, rows, *dead, found.bytes, found.taken)


def _drop(store: BareStore, record: PackRecord, pace: Pace) -> int:
    """Remove a pack that seemed to have no rows, if that is so; gives the bytes freed."""
    path = store.packs.path(record.name)
    digests: list[bytes] = []
    with disk_errors(str(path)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            fd = -1
    if fd >= 0:
        try:
            digests = [row.digest for row in read_contents(fd, str(path), store.data.store, record.name).entries]
        finally:
            os.close(fd)
    if not pace.change(partial(store.index.retire_pack, record.number, digests)):
        return 0
    found = occupied(store, record)
    store.disk.unlink(path)
    store.disk.sync_directory(path.parent)
    pace.change(partial(store.index.drop_pack, record.number))
    return 0 if found is None else found.taken
