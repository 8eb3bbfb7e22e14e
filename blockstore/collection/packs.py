"""Packs: what an interrupted run left half removed goes, and what the rows that are left make of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blockstore.compaction.plan import SLACK
from blockstore.compaction.retiring import Retiring
from blockstore.compaction.run import Compacting, Counted, compact
from blockstore.index.contract import PackState
from blockstore.usage import Usage

if TYPE_CHECKING:
    from blockstore.bare_store import BareStore
    from blockstore.collection.pace import Pace
    from blockstore.garbage import Collected, Collecting
    from blockstore.progress import Progress
    from blockstore.roots import Ledger


def finish_retiring(store: BareStore, pace: Pace) -> int:
    """Go on where an interrupted run left a pack; gives the bytes freed."""
    retiring = Retiring(store, pace)
    for record in store.index.packs():
        if record.state is PackState.RETIRING:
            retiring.remove(record)
    retiring.settle()
    return retiring.freed


def drop_rowless(store: BareStore, pace: Pace) -> tuple[int, int]:
    """Remove sealed packs that no row names, whatever its mark; gives how many, and the bytes freed."""
    packs = [record for record in store.index.packs() if record.state is PackState.SEALED]
    named = Usage()
    for rows in store.index.rows():
        pace.read(rows.nbytes)
        named.add(rows)
    retiring = Retiring(store, pace)
    for record in packs:
        if not named.rows[record.number]:
            retiring.remove(record)
    retiring.settle()
    return retiring.removed, retiring.freed


def free_packs(
    store: BareStore,
    counted: Counted,
    ledger: Ledger,
    how: Collecting,
    done: Collected,
    progress: Progress,
    pace: Pace,
) -> None:
    """Drop what is dead and compact the rest; roots only give the order of images."""
    compacting = Compacting(share=how.share, slack=SLACK if how.share else 0.0, dry_run=how.dry_run)
    packs = compact(store, counted, ledger.roots(), compacting, progress, pace, ledger.expect_order)
    done.dead, done.dead_bytes, done.left = packs.dead, packs.dead_bytes, packs.left
    done.packs_dropped += packs.packs_dropped
    done.packs_rewritten, done.moved = packs.packs_rewritten, packs.moved
    done.freed += packs.freed
    done.ordered_bytes, done.split = packs.gathered, packs.split
    done.notes += packs.notes
