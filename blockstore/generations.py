"""Generations: one round of syncs for all uploads of a process.

    admit (lease open) → look up → append → … → close: wait for those admitted · sync packs · rows · journals · lease

A generation closes every 64 MiB or 2 s, or when somebody asks for it. While it closes, the next one is open; so two
leases may be live. Appended blocks that no row names yet are *pending*: another upload that brings the same bytes
refers to them, and its generation then syncs the same pack and puts the same row, so it depends on nobody else's luck.
A generation whose pack was poisoned meanwhile is lost already: nobody joins it any more, it is set aside to be closed.

Order of durability, always: pack → index → journal; whoever commits goes on with manifest → catalog.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore import clock
from blockstore.errors import BlockstoreError, StoreUnavailable
from blockstore.figures import Rounds
from blockstore.generation import Appended, Generation, Pending
from blockstore.sync_threads import SyncThreads, T

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from blockstore.block import Place
    from blockstore.generation import Session
    from blockstore.index.contract import BlockIndex
    from blockstore.index.writer import IndexWriter
    from blockstore.journal import Record
    from blockstore.leases.contract import Leases
    from blockstore.open_pack import OpenPack
    from blockstore.packs.local import PackWriter
    from blockstore.receive import Prepared

log = logging.getLogger(__name__)
MOST_NOTED: Final = 1 << 20
"""Blocks that may wait for one generation's journals, about 120 bytes each."""
IDLE_LOOK: Final = 5.0
"""Seconds between two looks at whether the open pack has been idle long enough to be sealed."""


class Generations:
    """All rounds of one process. `admit`, `append`, `note` and `leave` are for uploads; one thread closes."""

    def __init__(
        self,
        *,
        leases: Leases,
        open_pack: OpenPack,
        index: BlockIndex,
        index_writer: IndexWriter,
        largest: int,
        longest: float,
    ) -> None:
        self._leases = leases
        self._open_pack = open_pack
        self._index = index
        self._index_writer = index_writer
        self._largest = largest
        self._longest = longest
        self._lock = threading.Condition()
        self._appending = threading.Lock()
        self._current: Generation | None = None
        self._aside: deque[Generation] = deque()
        self._pending: dict[bytes, Pending] = {}
        self._opening = False
        self._asked = False
        self._stopping = False
        self._syncers = SyncThreads()
        self.rounds = Rounds()
        self._thread = threading.Thread(target=self._close_rounds, name="generations", daemon=True)
        self._thread.start()

    def admit(self) -> Generation:
        """Take part in the open generation (a new one if need be); its lease is held from now on. Pair with `leave`."""
        with self._lock:
            while self._opening:
                self._lock.wait()
            self._refuse_closed()
            self._set_aside_if_lost()
            if self._current is not None:
                self._current.admitted += 1
                return self._current
            self._opening = True
        # Outside the lock: making the lease's file is disk work, and the loop may want the lock for a moment.
        lease = None
        try:
            lease = self._leases.open("generation")
        finally:
            with self._lock:
                self._opening = False
                if lease is not None:
                    self._current = generation = Generation(lease, clock.monotonic(), admitted=1)
                self._lock.notify_all()
        return generation

    def _set_aside_if_lost(self) -> None:
        if self._current is not None and self._current.lost:
            self._aside.append(self._current)
            self._current = None
            self._lock.notify_all()

    def _refuse_closed(self) -> None:
        if self._stopping:
            raise StoreUnavailable("the store is being closed: send the upload again when the server is back")
        if self._current is not None and self._current.noted > MOST_NOTED:
            raise StoreUnavailable("the disk is too slow to make durable what has come: try again later")

    def leave(self, generation: Generation) -> None:
        """This part of the work is done (or failed): the generation need not wait for it any longer."""
        with self._lock:
            generation.admitted -= 1
            self._lock.notify_all()

    def pending(self, digests: Iterable[bytes]) -> dict[bytes, Pending]:
        """Digests that are appended to a pack that can still become durable, but not yet named by rows."""
        with self._lock:
            return self._met(digests)

    def _met(self, digests: Iterable[bytes]) -> dict[bytes, Pending]:
        found = {digest: self._pending[digest] for digest in digests if digest in self._pending}
        return {digest: pending for digest, pending in found.items() if not pending.pack.poisoned}

    def append(self, generation: Generation, prepared: Prepared) -> Appended:
        """Store what is new of a prepared window. One caller at a time (the lane)."""
        with self._appending:
            with self._lock:
                met = self._met(prepared.fresh)
            entries = [entry for digest, entry in prepared.fresh.items() if digest not in met]
            places, pack = self._open_pack.append(entries) if entries else ([], None)
            written = sum(place.end - place.offset for place in places)
            if pack is not None and pack.wants_early_sync():
                self._syncers.run(pack.sync_early)
            with self._lock:
                for entry, place in zip(entries, places, strict=True):
                    assert pack is not None
                    met[entry.digest] = self._pending[entry.digest] = Pending(place, pack)
                    generation.stored[entry.digest] = met[entry.digest]
                mine = prepared.pending | met
                for digest, where in mine.items():
                    generation.rows[digest] = where.place
                    generation.packs.add(where.pack)
                generation.size += written
                self._lock.notify_all()
        return Appended(len(entries), written, {digest: where.place for digest, where in mine.items()})

    def note(self, generation: Generation, session: Session, records: Sequence[Record]) -> None:
        """What `session` will have in its journal when this generation is closed; even an empty list makes it told."""
        with self._lock:
            generation.notes.setdefault(session, []).extend(records)
            generation.noted += len(records)

    def flush(self) -> Future[None]:
        """Close the open generation soon; done when it is closed, well or not. Several callers share one round."""
        future: Future[None] = Future()
        # A waiter that is cancelled must not take the future with it: the closing thread sets it in any case.
        future.set_running_or_notify_cancel()
        with self._lock:
            # One that is set aside closes by itself, but before the open one.
            last = self._current or (self._aside[-1] if self._aside else None)
            if last is None:
                future.set_result(None)
            else:
                last.waiters.append(future)
                self._asked = self._current is not None
                self._lock.notify_all()
        return future

    def run_sync(self, work: Callable[[], T]) -> Future[T]:
        """Run what mostly waits for a disk on the threads that are kept for it; StoreUnavailable if closed."""
        return self._syncers.run(work)

    def stop(self) -> None:
        """Admit nobody any more; close the last generation and seal the pack."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self._thread.join()

    def close(self) -> None:
        """Stop the threads, after `stop` and after the crew."""
        self._syncers.close()
        self._open_pack.close()

    def _close_rounds(self) -> None:
        # Neither `_close` nor `_seal_last` lets an error out: without this thread every upload would wait for ever.
        while True:
            generation = self._next_to_close()
            if generation is not None:
                self.rounds.timed(self._close, generation)
                continue
            self._seal_last()
            if self._stopping:
                return

    def _next_to_close(self) -> Generation | None:
        """Wait until a generation is due, and for those who were admitted to it; None if there is only idling to do."""
        with self._lock:
            while not self._due():
                if self._current is None and (self._stopping or self._open_pack.is_idle()):
                    return None
                self._lock.wait(self._until_due())
            if self._aside:
                generation = self._aside.popleft()
            else:
                assert self._current is not None
                generation, self._current = self._current, None
                self._asked = False
            # Whoever comes now opens the next one; those inside have their slabs in memory and end without us.
            while generation.admitted:
                self._lock.wait()
            return generation

    def _due(self) -> bool:
        now = self._current
        if self._aside:
            return True
        if now is None:
            return False
        return self._asked or self._stopping or now.size >= self._largest or self._until_due() <= 0

    def _until_due(self) -> float:
        if self._current is None:
            return IDLE_LOOK
        return max(0.0, self._current.opened + self._longest - clock.monotonic())

    def _close(self, generation: Generation) -> None:
        error: BlockstoreError | None = None
        try:
            self._make_durable(generation)
        except BlockstoreError as failure:
            error = failure
            log.warning("a generation with %d new bytes could not be made durable: %s", generation.size, failure)
        except Exception as failure:
            # Those who wait are told, and later generations are others' work.
            log.exception("a generation could not be made durable")
            error = StoreUnavailable(f"the store failed inside: {failure}")
        try:
            generation.lease.close()
        except OSError as failure:
            # Its journals are durable or it has failed; either way nobody counts on the lease any more.
            log.warning("a lease could not be closed: %s", failure)
        with self._lock:
            for digest, pending in generation.stored.items():
                # A block of a poisoned pack may have been stored once more, for another generation.
                if self._pending.get(digest) is pending:
                    del self._pending[digest]
        generation.tell(error)
        for waiter in generation.waiters:
            waiter.set_result(None)

    def _make_durable(self, generation: Generation) -> None:
        full = self._ready_to_seal()
        self._syncers.all([pack.seal for pack in full] + [pack.sync for pack in generation.packs if pack not in full])
        self._put(generation.rows, full)
        generation.lease.check()
        journals = [(session, records) for session, records in generation.notes.items() if records]
        self._syncers.all([partial(session.write_journal, records) for session, records in journals])

    def _ready_to_seal(self) -> list[PackWriter]:
        """Full packs that the generation now open has no entries in: their last rows are in the one being closed."""
        with self._appending, self._lock:
            open_ones = [*self._aside, *([self._current] if self._current else [])]
            mine = {pack for generation in open_ones for pack in generation.packs}
            return [pack for pack in self._open_pack.full() if pack not in mine]

    def _put(self, rows: dict[bytes, Place], full: list[PackWriter]) -> None:
        if rows or full:
            numbers = [pack.number for pack in full]
            self._index_writer.run(lambda: self._index.put_many(rows, seal=numbers))
        for pack in full:
            self._open_pack.sealed(pack)

    def _seal_last(self) -> None:
        """Seal the open pack between generations: nobody has written to it for a while, or the store is closing."""
        try:
            with self._appending:
                self._open_pack.roll()
            full = self._ready_to_seal()
            self._syncers.all([pack.seal for pack in full])
            self._put({}, full)
        except BlockstoreError as error:
            log.warning("a pack stays unsealed until the next start: %s", error)
        except Exception:
            # The thread ends or goes on all the same: an unsealed pack costs nothing but its adoption.
            log.exception("a pack stays unsealed until the next start")
