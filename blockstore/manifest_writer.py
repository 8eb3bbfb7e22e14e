"""One upload: slabs in, blocks in packs and a manifest out.

    submit ─┬─ scan (free task: holes, BLAKE3, look-up, zstd) ─ in order ─ append lane ─ manifest, journal notes
            └─ one lane a tap

`submit` never blocks. A slab goes back to the pool after the last tap and the append, so what is in flight is bounded.
`finish` gives the result when every block is journaled and the manifest is durable.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.claims import GO_AHEAD
from blockstore.errors import BlockstoreError, StoreUnavailable
from blockstore.journal import Record
from blockstore.write_result import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blockstore.base_view import BaseView
    from blockstore.generation import Generation
    from blockstore.generations import Generations
    from blockstore.journal import Journal
    from blockstore.manifest_builder import BuiltManifest, ManifestBuilder
    from blockstore.pipeline.crew import Crew, Lane
    from blockstore.pipeline.slabs import Slab, SlabShare
    from blockstore.pipeline.taps import Tap
    from blockstore.receive import Door, Prepared
    from blockstore.write_result import WriteResult
    from chunker.cutter import Cutter


@dataclass(frozen=True, slots=True)
class Crossing:
    """What all uploads of a process share."""

    crew: Crew
    append_lane: Lane
    generations: Generations
    door: Door


@dataclass(frozen=True, slots=True)
class _Window:
    """A scanned slab on its way to the append lane; without a generation it was lost to an error."""

    slab: Slab
    first: int
    generation: Generation | None
    prepared: Prepared | None


class ManifestWriter:
    """See the module. `acquire`, `submit`, `finish` and `abort` belong to one caller; the rest runs on the crew."""

    def __init__(
        self,
        shared: Crossing,
        share: SlabShare,
        cutter: Cutter,
        builder: ManifestBuilder,
        journal: Journal,
        *,
        base: BaseView | None = None,
        taps: Sequence[Tap] = (),
        flatten: Callable[[BuiltManifest], BuiltManifest] | None = None,
    ) -> None:
        self._shared = shared
        self._share = share
        self._cutter = cutter
        self._builder = builder
        self._journal = journal
        self._base = base
        self._taps = [(tap, shared.crew.lane()) for tap in taps]
        self._flatten = flatten
        self._tail = b""
        self._size = 0
        self._blocks = 0
        self._submitted = 0
        self._counts = Counts()
        # Below: guarded by the lock, since the crew and the closing thread come here too.
        self._lock = threading.Lock()
        self._journal_lock = threading.Lock()
        self._waiting: dict[int, _Window] = {}
        self._next = self._in_flight = 0
        self._rounds: set[int] = set()
        self._error: BaseException | None = None
        self._result: Future[WriteResult] | None = None
        self._quiet: Future[None] | None = None
        self._finishing = self._ended = False
        self._resume = 0.0

    def acquire(self) -> Slab | None:
        """A slab to fill from `slab.head` on, or None: wait with the pool's `when_free`. Raises what failed so far."""
        if self._error is not None:
            raise self._error
        slab = self._share.acquire()
        if slab is not None:
            slab.head = len(self._tail)
            slab.view[: slab.head] = self._tail
        return slab

    def pause(self) -> float:
        """Seconds to wait before the next slab: another process is storing the same image, and goes ahead."""
        return max(0.0, self._resume - clock.monotonic())

    def submit(self, slab: Slab, filled: int, *, last: bool = False) -> None:
        """Hand a slab over, filled up to `filled` bytes (its head included); with `last` the stream ends here."""
        if self._shared.crew.stopping:
            slab.drop()
            raise StoreUnavailable("the store is being closed: send the upload again when the server is back")
        window = slab.view[:filled]
        ends = self._cutter.cut(window, last=last)
        used = ends[-1] if ends else 0
        fresh = window[slab.head :]
        self._tail = bytes(window[used:])
        self._size += len(fresh)
        first, self._blocks = self._blocks, self._blocks + len(ends)
        seq, self._submitted = self._submitted, self._submitted + 1
        with self._lock:
            self._in_flight += 1 + len(self._taps)
        slab.share_with(len(self._taps))
        for tap, lane in self._taps:
            lane.submit(partial(self._tap, tap, slab, fresh))
        self._shared.crew.submit(partial(self._scan, seq, slab, window[:used], ends, first))

    def finish(self) -> Future[WriteResult]:
        """After the last slab: done when all of it is journaled and the manifest is durable, or with the error."""
        future: Future[WriteResult] = Future()
        # Whoever waits may go, but not cancel it: the end of the upload would not be told to `abort`.
        future.set_running_or_notify_cancel()
        with self._lock:
            self._result = future
        self._share.close()
        self._settle()
        return future

    def abort(self) -> Future[None]:
        """Give up: done when nothing of this upload runs any more; what it stored is garbage, or somebody's block."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        self._fail(StoreUnavailable("the upload was given up"))
        with self._lock:
            ended = self._ended
            self._quiet = future
        if ended:
            future.set_result(None)
            return future
        self._share.close()
        self._settle()
        return future

    # What follows runs on the crew, on the closing thread or on a sync thread.

    def write_journal(self, records: Sequence[Record]) -> None:
        """Called by the closing generation; a given-up upload's journal is not touched any more."""
        with self._journal_lock:
            if self._error is None:
                self._journal.append(records)

    def generation_closed(self, generation: Generation, error: BlockstoreError | None) -> None:
        """Called when what this upload noted in a generation is durable, or lost."""
        if error is not None:
            self._fail(error)
        with self._lock:
            self._rounds.discard(id(generation))
        self._settle()

    def _tap(self, tap: Tap, slab: Slab, data: memoryview) -> None:
        try:
            if self._error is None:
                tap.update(data)
        except Exception as error:  # noqa: BLE001 - a tap may refuse in its own words; the upload's caller gets them
            self._fail(error)
        finally:
            slab.drop()
            self._land()

    def _scan(self, seq: int, slab: Slab, window: memoryview, ends: Sequence[int], first: int) -> None:
        generation = prepared = None
        try:
            if self._error is None:
                generation = self._shared.generations.admit()
                base = self._base.digests(first, ends) if self._base else ()
                prepared = self._shared.door.prepare(window, ends, base)
                if prepared.claimed * 2 > len(prepared.fresh):
                    self._resume = clock.monotonic() + GO_AHEAD
        except Exception as error:  # noqa: BLE001 - handed to the upload's caller; the queue behind must not stand still
            self._fail(error)
        with self._lock:
            self._waiting[seq] = _Window(slab, first, generation, prepared)
            ready = []
            while self._next in self._waiting:
                ready.append(self._waiting.pop(self._next))
                self._next += 1
            # Queued under the lock, so that two scans that end together can't swap their windows.
            for item in ready:
                self._shared.append_lane.submit(partial(self._append, item))

    def _append(self, item: _Window) -> None:
        try:
            if item.generation is not None and item.prepared is not None and self._error is None:
                self._store(item.first, item.generation, item.prepared)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            if item.generation is not None:
                self._shared.generations.leave(item.generation)
            item.slab.drop()
            self._land()

    def _store(self, first: int, generation: Generation, prepared: Prepared) -> None:
        appended = self._shared.generations.append(generation, prepared)
        scanned, places = prepared.scanned, {**prepared.held, **appended.places}
        listed = self._builder.add(first, scanned.digests, prepared.inherited, scanned.ends, places)
        if listed:
            with self._lock:
                self._rounds.add(id(generation))
            self._shared.generations.note(generation, self, [Record(number, name) for number, name in listed])
        self._counts.add(prepared, appended, len(listed))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error

    def _land(self) -> None:
        with self._lock:
            self._in_flight -= 1
        self._settle()

    def _settle(self) -> None:
        """Go on if everything in flight has landed: to the last generation, to the manifest, or to the end."""
        with self._lock:
            if self._in_flight or self._finishing or (self._result is None and self._quiet is None):
                return
            failed = self._error is not None
            waits = bool(self._rounds) and not failed
            self._finishing = not waits
        if waits:
            self._shared.generations.flush()
        else:
            self._end_on_sync_thread(self._end_failed if failed else self._complete)

    def _end_on_sync_thread(self, end: Callable[[], None]) -> None:
        """The last steps sync and unlink, so neither the loop nor the crew does them, unless nobody else is left."""
        try:
            self._shared.generations.run_sync(end)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            self._end_failed()

    def _complete(self) -> None:
        try:
            manifest = built = self._builder.finish(self._size)
            if self._flatten is not None:
                manifest = self._flatten(manifest)
            taps = {tap.name: tap.result() for tap, _ in self._taps}
            result = self._counts.result(manifest, built.listed, self._size, taps)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            self._end_failed()
            return
        self._close_files()
        with self._lock:
            self._ended = True
            quiet = self._quiet
        assert self._result is not None
        self._result.set_result(result)
        if quiet is not None:
            # Given up while the last sync ran: nobody is going to name this manifest.
            self._builder.abandon(manifest)
            quiet.set_result(None)

    def _end_failed(self) -> None:
        try:
            self._builder.abandon()
            self._close_files()
        finally:
            # Whatever stays behind is garbage; whoever waits must be told.
            with self._lock:
                self._ended = True
                error, result, quiet = self._error, self._result, self._quiet
            if result is not None:
                result.set_exception(error)
            if quiet is not None:
                quiet.set_result(None)

    def _close_files(self) -> None:
        with self._journal_lock:
            self._journal.close()
        if self._base is not None:
            self._base.close()
