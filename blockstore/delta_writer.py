"""One request of a delta upload: windows of blocks in, in packs and in the session's journal when it is done.

    store ─ prepare (free task: unpack, BLAKE3, look-up) ─ append lane ─ note │ finish: the generation closes ─ journal

Windows may be prepared in any order, since each block has its number. What a window holds in memory is its slab's, the
frames of what is new in it, and one unpacked block for each thread of the crew. The frames are the server's own: so a
window has no more bytes of image than its slab is long, however small they were sent.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore.digest import HOLE
from blockstore.errors import BlockstoreError
from blockstore.journal import Record, hole_run
from blockstore.sent_blocks import NumberRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockstore.generation import Generation
    from blockstore.manifest_writer import Crossing
    from blockstore.receive import Prepared, SentBlock
    from blockstore.session_journal import SessionJournal

MOST_ITEMS: Final = 1024
"""Blocks and runs of holes in one window."""


@dataclass(slots=True)
class SentWindow:
    """Blocks to be stored together, and runs of holes."""

    blocks: list[SentBlock] = field(default_factory=list)
    holes: list[NumberRange] = field(default_factory=list)
    unpacked: int = 0
    """Bytes of image in its entries."""

    def add(self, block: SentBlock) -> None:
        """One more block."""
        self.blocks.append(block)
        if block.entry is not None:
            self.unpacked += block.length

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be added."""
        return len(self.blocks) + len(self.holes) >= MOST_ITEMS


class DeltaWriter:
    """See the module. `store` and `finish` are its request's; the rest is called by the crew and by generations."""

    def __init__(self, shared: Crossing, journal: SessionJournal) -> None:
        self._shared = shared
        self.journal = journal
        self._lock = threading.Lock()
        self._rounds: set[int] = set()
        self._error: BlockstoreError | None = None
        self._finished: Future[None] | None = None

    def store(self, window: SentWindow) -> Future[None]:
        """Take a window in: done when its bytes are not looked at any more; `finish` makes them durable.

        BlockRefused names a block that is not what was said: nothing of this window is kept.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        self._shared.crew.submit(partial(self._prepare, window, future))
        return future

    def finish(self) -> Future[None]:
        """After the last window: done when all that was stored is durable and journaled.

        BlockConflict when a number has arrived with other bytes before.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._finished = future
            waits = bool(self._rounds)
        if waits:
            self._shared.generations.flush()
        self._settle()
        return future

    def write_journal(self, records: Sequence[Record]) -> None:
        """Called by the closing generation."""
        try:
            self.journal.append(records)
        except BlockstoreError as error:
            # This request's alone: the others of the generation are not to fail with it.
            self._fail(error)

    def generation_closed(self, generation: Generation, error: BlockstoreError | None) -> None:
        """Called when what this request noted is journaled, or lost."""
        if error is not None:
            self._fail(error)
        with self._lock:
            self._rounds.discard(id(generation))
        self._settle()

    def _fail(self, error: BlockstoreError) -> None:
        with self._lock:
            self._error = self._error or error

    def _settle(self) -> None:
        with self._lock:
            future = self._finished
            if future is None or self._rounds:
                return
            self._finished = None
        if self._error is None:
            future.set_result(None)
        else:
            future.set_exception(self._error)

    def _prepare(self, window: SentWindow, future: Future[None]) -> None:
        generation = None
        try:
            generation = self._shared.generations.admit()
            prepared = self._shared.door.prepare_sent(window.blocks)
            self._shared.append_lane.submit(partial(self._append, window, generation, prepared, future))
        except Exception as error:  # noqa: BLE001 - handed to the request
            if generation is not None:
                self._shared.generations.leave(generation)
            future.set_exception(error)

    def _append(self, window: SentWindow, generation: Generation, prepared: Prepared, future: Future[None]) -> None:
        try:
            self._shared.generations.append(generation, prepared)
            records = [
                hole_run(NumberRange(block.number, 1)) if name == HOLE else Record(block.number, name)
                for block, name in zip(window.blocks, prepared.scanned.digests, strict=True)
            ]
            records += map(hole_run, window.holes)
            with self._lock:
                self._rounds.add(id(generation))
            self._shared.generations.note(generation, self, records)
        except Exception as error:  # noqa: BLE001 - as above
            self._shared.generations.leave(generation)
            future.set_exception(error)
        else:
            self._shared.generations.leave(generation)
            future.set_result(None)
