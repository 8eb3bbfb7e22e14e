"""Collection beside running writers: what no root reaches is forgotten, and the space it took is given back.

    mark → seal what dead writers left open → finish what is retiring → remove files that nobody names → condemn → wait
    for open leases → mark what is new → forget → drop dead packs → rewrite packs with much that is dead

It takes nothing to itself: who has the store alone only has nobody to wait for. Each step is safe to stop after, and a
second run goes on from what it finds, since nothing is kept but what lies in the index, the packs' register and the
records. Roots decide alone; whoever keeps the records has ended what has expired before. With `dry_run` everything is
counted, and nothing is done. The locking table in README.md says what meets what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from blockstore.collection import files
from blockstore.collection.pace import Pace
from blockstore.collection.packs import drop_rowless, finish_retiring, free_packs
from blockstore.collection.reached import Reached
from blockstore.collection.rows import RowRun
from blockstore.collection.timed import Timed
from blockstore.collection.waiting import USUAL_WAIT
from blockstore.compaction.plan import SHARE
from blockstore.compaction.run import Counted
from blockstore.errors import StoreFull
from blockstore.packs.adoption import adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from blockstore.bare_store import BareStore
    from blockstore.collection.waiting import Awaited
    from blockstore.progress import Progress
    from blockstore.roots import Ledger


@dataclass(frozen=True, slots=True)
class Collecting:
    """How to collect: packs whose dead share is above `share` are rewritten (0: any with a dead byte).

    `wait`: seconds that open leases may take to close. `rate`: bytes that are read a second, at most.
    """

    share: float = SHARE
    dry_run: bool = False
    wait: float = USUAL_WAIT
    rate: int | None = None


@dataclass(slots=True)
class Collected:
    """What was done, or with `dry_run` would be, about; bytes as stored. `freed` is what files of this run took.

    `dead` counts entries that no row names any more, those of the rows forgotten now included; `left` are the bytes of
    those that stay, since their packs hold little else that is dead. `ordered_bytes` were copied to put images in
    order, and `split` are manifests as `Compacted` has them. `seconds` are by stretch. `awaited` are writers that it
    waited for in vain: then no row was forgotten, and no pack was looked at.
    """

    dry_run: bool
    forgotten: int = 0
    forgotten_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    packs_dropped: int = 0
    packs_rewritten: int = 0
    moved: int = 0
    ordered_bytes: int = 0
    split: AbstractSet[str] = frozenset()
    manifests_removed: int = 0
    journals_removed: int = 0
    freed: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    awaited: Sequence[Awaited] = ()


def collect(store: BareStore, ledger: Ledger, how: Collecting, progress: Progress) -> Collected:
    """Collect, beside running writers or alone.

    Damaged or Missing if a root cannot be read: then no row was condemned. StoreFull if the index finds no room at all.
    """
    done = Collected(how.dry_run)
    pace = Pace(store, how.rate)
    timed = Timed(progress)
    reached = Reached(store, ledger, pace, timed)
    try:
        reached.catch_up()
        timed.begin("files", 0)
        if not how.dry_run:
            adopt = partial(adopt_orphans, store.index, store.packs, store.disk, store.data.is_alive)
            done.notes += store.writer.run(adopt).failed
            done.freed += finish_retiring(store, pace)
        # Before the rows: on a full disk this is the room that the index needs.
        _remove_files(store, ledger, done)
        packs = store.index.packs()
        run = RowRun(store, reached, pace, timed, how.wait)
        if how.dry_run:
            run.count()
        else:
            try:
                run.run()
            except StoreFull:
                # Packs that an interrupted run left without rows need no marks to go, and make room for these.
                if not _drop_rowless(store, done, pace):
                    raise
                run.run()
    finally:
        reached.close()
    done.awaited = run.awaited
    if not done.awaited:
        done.forgotten, done.forgotten_bytes = run.forgotten, sum(run.gone.stored.values())
        free_packs(store, Counted(packs, run.kept), ledger, how, done, timed, pace)
    done.seconds = timed.seconds()
    return done


def _drop_rowless(store: BareStore, done: Collected, pace: Pace) -> int:
    dropped, freed = drop_rowless(store, pace)
    done.packs_dropped += dropped
    done.freed += freed
    return dropped


def _remove_files(store: BareStore, ledger: Ledger, done: Collected) -> None:
    roots = ledger.roots()
    if done.dry_run:
        retired = files.retired(store, roots)
        manifests = [each for some in files.unnamed_manifests(store, ledger.roots, ledger.roots) for each in some]
        journals = [each for some in files.unnamed_journals(store, ledger.roots, ledger.roots) for each in some]
    else:
        retired = files.remove_retired(store, ledger, roots)
        manifests, journals = files.remove_unnamed(store, ledger)
    done.manifests_removed = len([each for each in (*retired, *manifests) if each.path.suffix == files.MANIFEST])
    done.journals_removed = len(journals)
    done.freed += sum(listed.taken for listed in (*retired, *manifests, *journals))
