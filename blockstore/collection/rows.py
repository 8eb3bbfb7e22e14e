"""Rows that no root reaches: condemned, waited for, looked at again, and only then forgotten.

    marks of a first snapshot → condemn what has none → wait for the leases that are open *now* → what is new in a
    second snapshot → revive what that reaches → forget what still bears this run's mark

Whoever looked a block up before it was condemned had a lease, and has journaled it when the lease is closed; whoever
looks later does not see it. So what the second snapshot does not reach, nothing will.

Condemning needs pages of the index. On a full disk it goes in several rounds: what was condemned until it was full is
forgotten first, which frees pages for the next ones; and if not even one batch finds room, smaller ones are tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blockstore.collection.waiting import wait_for_leases
from blockstore.digest import SIZE
from blockstore.errors import StoreFull
from blockstore.index.contract import BATCH, MARKS, ROW
from blockstore.marks import Marks, compare
from blockstore.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blockstore.bare_store import BareStore
    from blockstore.collection.pace import Pace
    from blockstore.collection.reached import Reached
    from blockstore.collection.waiting import Awaited
    from blockstore.marks import Compared
    from blockstore.progress import Progress


class RowRun:
    """One run over the rows. `kept` is what the rows that stay use, as far as this run has seen them.

    `awaited`: writers that it waited for in vain; nothing was forgotten then, and the next run goes on.
    """

    def __init__(self, store: BareStore, reached: Reached, pace: Pace, progress: Progress, wait: float) -> None:
        self.kept = Usage()
        self.gone = Usage()
        self.forgotten = 0
        self.awaited: Sequence[Awaited] = ()
        self._name = reached.run
        self._index = store.index
        self._store = store
        self._reached = reached
        self._pace = pace
        self._progress = progress
        self._wait = wait
        self._after = b""
        self._at_once = MARKS - BATCH

    def count(self) -> None:
        """Only count what would be forgotten, about: what is being uploaded right now looks as if it would."""
        self._progress.begin("condemn", self._index.size().rows)
        looked = 0
        for part in compare(self._index.rows(), self._reached.marks):
            self.kept.add(part.rows, part.marked)
            self.gone.add(part.rows, ~part.marked)
            looked += len(part.rows)
            self._progress.moved(looked)
        self.forgotten = sum(self.gone.rows.values())

    def run(self) -> None:
        """All of it, after the first `catch_up`. StoreFull if not even a few rows find room; it may be run again."""
        self._revive_reached()
        finished = False
        while not finished:
            finished = self._condemn()
            self.awaited = wait_for_leases(self._store, self._wait, self._progress)
            if self.awaited:
                return
            self._settle()

    def _revive_reached(self) -> None:
        """Interrupted runs have left marks; what a root reaches loses them, the rest is taken over."""
        if self._index.size().condemned:
            reached: list[bytes] = []
            for part in compare(self._index.condemned(), self._reached.marks):
                reached += _digests(part.rows[part.marked]["digest"])
                if len(reached) >= BATCH:
                    self._revive(reached)
            self._revive(reached)

    def _condemn(self) -> bool:
        """Condemn rows without a mark, from where the last round ended; whether all were."""
        self._progress.begin("condemn", self._index.size().rows)
        batch = _Batch()
        begun, looked = self._after, 0
        for part in compare(self._index.rows(self._after), self._reached.marks):
            batch.add(part)
            if batch.count > self._at_once:
                if not self._condemn_batch(batch, begun):
                    return False
                batch = _Batch()
            looked += len(part.rows)
            self._pace.read(part.rows.nbytes)
            self._progress.moved(looked)
        return self._condemn_batch(batch, begun)

    def _condemn_batch(self, batch: _Batch, begun: bytes) -> bool:
        """Condemn what is unreached in it; False if there was no room, StoreFull if there never is."""
        digests = batch.digests()
        if digests:
            try:
                self._pace.change(partial(self._index.condemn_many, digests, self._name))
            except StoreFull:
                if self._after == begun:
                    if self._at_once <= 0:
                        raise
                    self._at_once = 0
                return False
        for rows in batch.unreached:
            self.gone.add(rows)
        self.kept.merge(batch.kept)
        self._after = batch.last or self._after
        return True

    def _settle(self) -> None:
        """Look again, revive what is reached now, forget the rest."""
        fresh = Marks()
        try:
            self._reached.catch_up(fresh)
            self._progress.begin("forget", self._index.size().condemned)
            looked = 0
            kept: list[bytes] = []
            gone: list[bytes] = []
            # All that was reached before was never condemned in this run, so the new marks are enough.
            for part in compare(self._index.condemned(self._name), fresh):
                kept += _digests(part.rows[part.marked]["digest"])
                gone += _digests(part.rows[~part.marked]["digest"])
                if len(kept) + len(gone) >= BATCH:
                    self._keep(kept)
                    self._forget(gone)
                looked += len(part.rows)
                self._progress.moved(looked)
            self._keep(kept)
            self._forget(gone)
        finally:
            fresh.close()

    def _keep(self, digests: list[bytes]) -> None:
        """Revive them, and empty the list."""
        places = [place for place in self._index.get_many(digests, hidden=True) if place is not None]
        rows = np.zeros(len(places), dtype=ROW)
        for at, place in enumerate(places):
            rows[at]["pack"], rows[at]["offset"], rows[at]["frame"], rows[at]["raw"] = place
        self.kept.add(rows)
        self.gone.take(rows)
        self._revive(digests)

    def _revive(self, digests: list[bytes]) -> None:
        """Take marks off, and empty the list."""
        if digests:
            self._pace.change(partial(self._index.revive_many, tuple(digests)))
        digests.clear()

    def _forget(self, digests: list[bytes]) -> None:
        """Forget what still bears our mark, and empty the list."""
        if digests:
            self.forgotten += self._pace.change(partial(self._index.forget_many, tuple(digests), self._name))
        digests.clear()


@dataclass(slots=True)
class _Batch:
    """Rows that were compared and not acted on yet; `last` is the last one's digest."""

    unreached: list[NDArray[np.void]] = field(default_factory=list)
    kept: Usage = field(default_factory=Usage)
    count: int = 0
    last: bytes = b""

    def add(self, part: Compared) -> None:
        if not len(part.rows):
            return
        rows = part.rows[~part.marked]
        if len(rows):
            self.unreached.append(rows)
            self.count += len(rows)
        self.kept.add(part.rows, part.marked)
        self.last = part.rows["digest"][-1].tobytes()

    def digests(self) -> list[bytes]:
        """Of the unreached."""
        return [digest for rows in self.unreached for digest in _digests(rows["digest"])]


def _digests(names: NDArray[np.uint8]) -> list[bytes]:
    data = names.tobytes()
    return [data[at : at + SIZE] for at in range(0, len(data), SIZE)]
