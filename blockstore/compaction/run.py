"""Compaction, beside whoever writes and reads: room is given back, and strewn images are put in order.

    packs without rows go → strewn images are copied, in order → packs with much that is dead, and many small ones, are
    copied → what was emptied goes → manifests learn where their blocks are now

Each step is safe to stop after, and the next run goes on from what it finds. How each is safe stands in `copying.py`
and `retiring.py`; which packs and images are worth it in `plan.py` and `strewn.py`. What is copied is bounded by
`Compacting`, its reads by the pace, and it takes no room that is not there.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore.compaction.copying import LEAST, Copying
from blockstore.compaction.new_places import renew_places
from blockstore.compaction.plan import SHARE, SLACK, Fate, fates, to_rewrite
from blockstore.compaction.retiring import contents_of, rows_in
from blockstore.compaction.strewn import LEAST_EXTRA, WINDOW_STREWN, strewn
from blockstore.errors import Poisoned, StoreFull
from blockstore.index.contract import PackState
from blockstore.open_pack import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blockstore.bare_store import BareStore
    from blockstore.compaction.pace import Pace
    from blockstore.compaction.strewn import StrewnWindow
    from blockstore.index.contract import PackRecord
    from blockstore.progress import Progress
    from blockstore.roots import Roots
    from blockstore.usage import Usage

GATHER: Final = 16 << 30
"""Bytes that a run copies, at most, to put strewn images in order."""


@dataclass(frozen=True, slots=True)
class Compacting:
    """How to compact; new packs are `full` bytes long.

    Packs with a greater share of dead bytes than `share` are rewritten, and the deadest of the others until at most
    `slack` of what lives is dead. `gather` and `most` are the bytes copied to put images in order, and in all. Images
    that take fewer than `least_extra` reads more than fresh ones stay as they are.
    """

    share: float = SHARE
    slack: float = SLACK
    gather: int = GATHER
    most: int | None = None
    dry_run: bool = False
    full: int = FULL
    least_extra: int = LEAST_EXTRA


@dataclass(frozen=True, slots=True)
class Counted:
    """The register of packs, and then what rows named when all that are left were counted, whatever their mark.

    In this order, so that no pack looks emptier than it is.
    """

    packs: Sequence[PackRecord]
    usage: Usage


@dataclass(slots=True)
class Compacted:
    """What was done, or with `dry_run` would be; bytes as stored. `gathered` were copied to put images in order.

    `dead` counts entries without a row, before; `left` are the bytes of those that stay. `split` are manifests of
    images that are in order now, which are read through others although most of their blocks are their own: whoever
    keeps the records may give them whole ones. `notes` are trouble, `remarks` are not.
    """

    dead: int = 0
    dead_bytes: int = 0
    packs_dropped: int = 0
    packs_rewritten: int = 0
    moved: int = 0
    gathered: int = 0
    places_renewed: int = 0
    freed: int = 0
    left: int = 0
    split: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _tell_nobody(_name: str) -> None:
    """Where there are no records."""


def compact(
    store: BareStore,
    counted: Counted,
    roots: Roots,
    how: Compacting,
    progress: Progress,
    pace: Pace,
    expect: Callable[[str], None] = _tell_nobody,
) -> Compacted:
    """Compact; `roots` only give the order of images. `expect` hears of each `split` manifest before its first copy."""
    done = Compacted()
    run = _Run(store, counted.packs, how, progress, pace, done, expect)
    usage = counted.usage
    if how.dry_run:
        run.plan(roots, usage)
        return done
    try:
        run.drop(usage)
        run.gather(roots, usage)
        run.rewrite(usage)
    except StoreFull as error:
        done.remarks.append(f"packs stay as they are, since there is no room to write new ones: {error}")
        progress.note(done.remarks[-1])
    except Poisoned as error:
        done.notes.append(f"packs stay as they are: {error}")
    finally:
        run.close()
    if run.work.touched or run.work.removed:
        done.places_renewed = renew_places(store, roots, run.work.touched.keys())
    return done


class _Run:
    """The steps of one run, in their order."""

    def __init__(
        self,
        store: BareStore,
        packs: Sequence[PackRecord],
        how: Compacting,
        progress: Progress,
        pace: Pace,
        done: Compacted,
        expect: Callable[[str], None],
    ) -> None:
        self._expect = expect
        self._store = store
        self._how = how
        self._progress = progress
        self._done = done
        # Packs that are sealed from now on are the next run's, and this one's new packs are nobody's.
        self._packs = {record.number: record for record in packs if record.state is not PackState.OPEN}
        self.work = Copying(store, self._packs, pace, how.full)
        self._passed = 0

    def plan(self, roots: Roots, usage: Usage) -> None:
        """Count what would be done."""
        packs = self._fates(usage)
        drop = [pack for pack in packs if not pack.rows]
        chosen = to_rewrite(packs, self._how.share, self._how.slack)
        self._count(packs, drop, chosen)
        done = self._done
        done.packs_dropped, done.packs_rewritten = len(drop), len(chosen)
        done.moved = sum(pack.rows for pack in chosen)
        done.freed = sum(pack.taken for pack in drop) + sum(pack.dead_bytes for pack in chosen)
        for window in strewn(self._store, roots, self._how.least_extra):
            reads = window.reads(self._store.index.get_many(window.digests(), hidden=True))
            if reads.beyond(WINDOW_STREWN):
                done.gathered += reads.stored
                done.split.update([window.split] if window.split else ())
            if done.gathered > self._how.gather:
                break

    def drop(self, usage: Usage) -> None:
        """Remove the packs that no row names; that makes the room which copying needs."""
        packs = self._fates(usage)
        drop = [pack for pack in packs if not pack.rows]
        self._count(packs, drop, to_rewrite(packs, self._how.share, self._how.slack))
        self._progress.begin("packs", sum(pack.bytes for pack in drop), "B")
        for pack in drop:
            self.work.remove(pack.record)
            self._pass(pack.bytes)
        self.work.settle_doubts()
        self._done.packs_dropped = self.work.removed

    def gather(self, roots: Roots, usage: Usage) -> None:
        """Copy the blocks of strewn images in their order, as far as there is room for a second copy of them."""
        room = (shutil.disk_usage(self._store.root).free - LEAST) // 2
        most = min(self._how.gather, room, self._budget())
        self._progress.begin("order", 0, "B")
        self._passed = 0
        for window in strewn(self._store, roots, self._how.least_extra) if most > 0 else ():
            self._gather(window, usage)
            self._pass(0)
            if self.work.written >= most:
                break
        self.work.finish()
        self._done.gathered = self.work.written

    def _gather(self, window: StrewnWindow, usage: Usage) -> None:
        digests = window.digests()
        places = self._store.index.get_many(digests, hidden=True)
        sited = [(name, place) for name, place in zip(digests, places, strict=True) if place is not None]
        # What the manifest remembers may be wrong; only who is strewn in truth is copied.
        self.work.touched.update({place.pack: 0 for _, place in sited})
        if not window.reads(places).beyond(WINDOW_STREWN):
            return
        movable = [(name, place) for name, place in sited if place.pack in self._packs]
        if window.split and window.split not in self._done.split:
            self._expect(window.split)
            self._done.split.add(window.split)
        self.work.copy(movable)
        self._passed += sum(place.end - place.offset for _, place in movable)
        for _, place in movable:
            usage.rows[place.pack] -= 1
            usage.stored[place.pack] -= place.end - place.offset

    def rewrite(self, usage: Usage) -> None:
        """Copy what lives in packs with much that is dead, and in small ones; remove them."""
        packs = self._fates(usage)
        emptied = [pack for pack in packs if pack.rows <= 0 and self.work.touched[pack.record.number]]
        chosen = [*emptied, *to_rewrite(packs, self._how.share, self._how.slack)]
        self._progress.begin("packs", sum(pack.bytes for pack in chosen), "B")
        self._passed = 0
        before = self.work.removed
        coming = sum(pack.live_bytes for pack in chosen)
        for pack in chosen:
            if self._budget() <= 0:
                break
            self._rewrite(pack, coming)
            coming -= pack.live_bytes
            self._pass(pack.bytes)
        self.work.finish()
        self.work.settle_doubts()
        self._done.packs_rewritten = self.work.removed - before

    def _rewrite(self, pack: Fate, coming: int) -> None:
        contents = contents_of(self._store, pack.record)
        if contents is None:
            return
        live = 0
        for part in rows_in(self._store, pack.record.number, contents.entries):
            self.work.copy(part, coming=coming)
            live += len(part)
        if contents.is_whole and live >= pack.rows:
            self.work.remove_when_moved(pack.record)
        else:
            # Rows may have gone or moved since they were counted; or they name what the pack doesn't have.
            self.work.doubt(pack.record)

    def close(self) -> None:
        """The end, however it came."""
        self.work.close()
        self._done.moved, self._done.freed = self.work.moved, self.work.freed
        self._done.notes += self.work.notes

    def _fates(self, usage: Usage) -> list[Fate]:
        packs = []
        records = (record for record in self._packs.values() if self._store.index.pack(record.number) is not None)
        for fate in fates(self._store, records, usage):
            if isinstance(fate, Fate):
                packs.append(fate)
            elif not usage.rows[fate.number]:
                packs.append(Fate(fate, 0, 0, 0, 0, 0, 0))
            elif self._is_lost(fate):
                self._done.notes.append(f"{self._store.packs.path(fate.name)} is gone, although rows name blocks in it")
        return packs

    def _is_lost(self, record: PackRecord) -> bool:
        """Whether a pack without a file is none that somebody is just removing, and that has no rows any more."""
        now = self._store.index.pack(record.number)
        return now is not None and now.state is not PackState.RETIRING

    def _count(self, packs: Sequence[Fate], drop: Sequence[Fate], chosen: Sequence[Fate]) -> None:
        self._done.dead = sum(pack.dead for pack in packs)
        self._done.dead_bytes = sum(pack.dead_bytes for pack in packs)
        self._done.left = self._done.dead_bytes - sum(pack.dead_bytes for pack in (*drop, *chosen))

    def _budget(self) -> int:
        """Bytes that may still be copied."""
        return (sys.maxsize if self._how.most is None else self._how.most) - self.work.written

    def _pass(self, size: int) -> None:
        self._passed += size
        self._progress.moved(self._passed)
