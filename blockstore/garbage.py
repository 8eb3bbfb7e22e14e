"""Collection with the store to itself: what no root reaches is forgotten, and the space it took is given back.

    give up what dead writers left open → mark → forget rows that are not marked → remove manifests, journals and leases
    that are nobody's → drop dead packs → rewrite packs with much that is dead

Each step is safe to stop after, and a second run goes on from what it finds: a row is forgotten before its block goes,
a file is removed before the record that names it as dead. Roots decide alone; whoever keeps the records has given up
the uploads of dead processes before. With `dry_run` everything is counted, by the same code, and nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore import listing
from blockstore.compact import Compaction, remove_pack
from blockstore.index.contract import BATCH, PackState
from blockstore.leases.flock import live_files
from blockstore.mark import mark
from blockstore.marks import compare
from blockstore.names import new_name
from blockstore.packs.adoption import adopt_orphans
from blockstore.usage import Usage, occupied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.index.contract import PackRecord
    from blockstore.listing import Listed
    from blockstore.marks import Marks
    from blockstore.progress import Progress
    from blockstore.roots import Roots

USUAL_SHARE: Final = 0.2
"""A pack with a greater share of dead bytes is rewritten."""


@dataclass(frozen=True, slots=True)
class Collecting:
    """How to collect: packs whose dead share is above `share` are rewritten (0: any with a dead byte)."""

    share: float = USUAL_SHARE
    dry_run: bool = False


@dataclass(slots=True)
class Collected:
    """What was done, or with `dry_run` would be; bytes as stored. `freed` is what the disk then has more.

    `dead` counts entries that no row names any more, those of the rows forgotten now included; `left` are the bytes of
    those that stay, since their packs hold little else that is dead.
    """

    dry_run: bool
    forgotten: int = 0
    forgotten_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    packs_dropped: int = 0
    packs_rewritten: int = 0
    moved: int = 0
    manifests_removed: int = 0
    journals_removed: int = 0
    freed: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack's fate: how many rows still name it, its dead entries and bytes, its file's bytes."""

    record: PackRecord
    rows: int
    dead: int
    dead_bytes: int
    bytes: int
    taken: int


def collect(
    store: BareStore,
    roots: Roots,
    how: Collecting,
    progress: Progress,
    forget_retired: Callable[[Sequence[str]], object],
) -> Collected:
    """Collect; the store is open exclusively. `forget_retired` is told of retired manifests whose files are gone.

    Damaged or Missing, before anything is removed, if a root cannot be read.
    """
    done = Collected(how.dry_run)
    before = 0 if how.dry_run else listing.taken(store.root)
    if not how.dry_run:
        adopt_orphans(store.index, store.packs, store.disk, lambda _owner: False)
    marks = mark(store, roots, progress, alone=True)
    try:
        kept = _forget(store, marks, done, progress)
    finally:
        marks.close()
    _remove_files(store, roots, done, forget_retired)
    _free_packs(store, kept, how, done, progress)
    if not how.dry_run:
        done.freed = before - listing.taken(store.root)
    return done


def _forget(store: BareStore, marks: Marks, done: Collected, progress: Progress) -> Usage:
    """Forget rows without a mark; gives what those with one use."""
    kept, gone = Usage(), Usage()
    run = new_name()
    # An interrupted collection may have condemned what is a root's again by now.
    revive = store.index.size().condemned > 0 and not done.dry_run
    unreached: list[bytes] = []
    looked = 0
    progress.begin("index", store.index.size().rows)
    for part in compare(store.index.rows(), marks):
        kept.add(part.rows[part.marked])
        gone.add(part.rows[~part.marked])
        if revive:
            store.index.revive_many(_digests(part.rows[part.marked]))
        unreached += _digests(part.rows[~part.marked])
        if len(unreached) >= BATCH:
            _forget_rows(store, unreached, run, done)
        looked += len(part.rows)
        progress.moved(looked)
    _forget_rows(store, unreached, run, done)
    done.forgotten = sum(gone.rows.values())
    done.forgotten_bytes = sum(gone.stored.values())
    return kept


def _forget_rows(store: BareStore, digests: list[bytes], run: bytes, done: Collected) -> None:
    """Forget them, and empty the list."""
    if digests and not done.dry_run:
        store.index.condemn_many(digests, run)
        store.index.forget_many(digests, run)
    digests.clear()


def _digests(rows: NDArray[np.void]) -> list[bytes]:
    return [digest.tobytes() for digest in rows["digest"]]


def _remove_files(
    store: BareStore, roots: Roots, done: Collected, forget_retired: Callable[[Sequence[str]], object]
) -> None:
    """Manifests that are retired or that no record names, journals without a pin, locks without an owner."""
    manifests = [listed for listed in listing.manifests(store.root) if listed.name not in roots.live]
    journals = [listed for listed in listing.journals(store.root) if listed.name not in roots.pins]
    beside = (*listing.places(store.root), *listing.seconds(store.root))
    places = [listed for listed in beside if listed.name not in roots.live]
    done.manifests_removed, done.journals_removed = len(manifests), len(journals)
    if done.dry_run:
        done.freed += sum(listed.taken for listed in (*manifests, *places, *journals))
        return
    _unlink(store, places)
    _unlink(store, manifests)
    _unlink(store, journals)
    # The records last: until then they say what is still to be removed.
    forget_retired(sorted(roots.retired))
    for folder in ("leases", "processes"):
        live_files(store.data.folder(folder))


def _unlink(store: BareStore, files: Iterable[Listed]) -> None:
    folders = set()
    for listed in files:
        store.disk.unlink(listed.path)
        folders.add(listed.path.parent)
    for folder in sorted(folders):
        store.disk.sync_directory(folder)


def _free_packs(store: BareStore, kept: Usage, how: Collecting, done: Collected, progress: Progress) -> None:
    packs = list(_fates(store, kept, done))
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
        remove_pack(store, pack.record)
        passed += pack.bytes
        progress.moved(passed)
    compaction = Compaction(store)
    for pack in rewrite:
        compaction.rewrite(pack.record, pack.rows)
        passed += pack.bytes
        progress.moved(passed)
    compaction.finish()
    done.moved, done.packs_rewritten = compaction.moved, compaction.removed
    done.notes += compaction.notes


def _fates(store: BareStore, kept: Usage, done: Collected) -> Iterable[_Pack]:
    for record in store.index.packs():
        rows = kept.rows[record.number]
        found = occupied(store, record)
        if found is None:
            if rows:
                done.notes.append(f"{store.packs.path(record.name)} is gone, although rows name blocks in it")
            else:
                yield _Pack(record, 0, 0, 0, 0, 0)
        elif record.state is PackState.OPEN and not done.dry_run:
            done.notes.append(f"{store.packs.path(record.name)} could not be sealed and stays as it is: see the log")
        else:
            dead = max(0, found.entries - rows), max(0, found.bytes - kept.stored[record.number])
            yield _Pack(record, rows, *dead, found.bytes, found.taken)
