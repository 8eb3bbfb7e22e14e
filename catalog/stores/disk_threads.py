"""Threads for a disk that may hang: whoever waits is told in time that it is down, while the thread hangs on.

They are few, and no more are made when they hang: then nothing is begun any more until one of them is back. They are
daemons, so that a dead disk does not keep a process from its end.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from blockstore import clock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
THREADS: Final = 4


class DiskHangs(Exception):
    """A step did not end in time, or none can be begun because all threads hang."""


class DiskThreads:
    """At most `threads` threads, made when there is something to do; each step may take `seconds` once it has begun."""

    def __init__(self, name: str, *, seconds: float, threads: int = THREADS) -> None:
        self._name = name
        self._seconds = seconds
        self._most = threads
        self._steps: SimpleQueue[_Step | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0
        self._waiting = 0
        self._begun: set[_Step] = set()

    async def run(self, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run one step and give its result. Raises DiskHangs.

        It waits for a thread as long as others get on. A step that has begun goes on when its caller is cancelled or
        told that the disk hangs; if it then succeeds all the same, `undo` is given what nobody waits for.
        """
        if self._all_hang():
            raise DiskHangs
        queued = _Step(contextvars.copy_context(), step)
        self._queue(queued)
        waited = asyncio.wrap_future(queued.future)
        try:
            while not waited.done():
                await asyncio.wait({waited}, timeout=self._seconds / 4)
                self._check(queued)
            return cast("T", waited.result())
        except (DiskHangs, asyncio.CancelledError):
            queued.future.cancel()
            _undo_later(queued.future, undo)
            raise

    def later(self, step: Callable[[], None]) -> None:
        """Run one step when a thread is free, and tell nobody how it went."""
        self._queue(_Step(contextvars.copy_context(), step))

    def close(self) -> None:
        """Let the threads end that are not at work, the others when they are done; waits for none."""
        with self._lock:
            count, self._count = self._count, 0
        for _ in range(count):
            self._steps.put(None)

    def _queue(self, step: _Step) -> None:
        self._steps.put(step)
        with self._lock:
            self._waiting += 1
            if self._waiting <= self._idle or self._count >= self._most:
                return
            self._count += 1
            number = self._count
        threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            step = self._steps.get()
            with self._lock:
                self._idle -= 1
                if step is None:
                    return
                self._waiting -= 1
                step.begun = clock.monotonic()
                self._begun.add(step)
            step.run()
            with self._lock:
                self._begun.discard(step)
            del step

    def _check(self, step: _Step) -> None:
        """Raises DiskHangs for a step that nobody should wait for any longer."""
        if not step.future.done() and (self._hangs(step) or self._all_hang()):
            raise DiskHangs

    def _hangs(self, step: _Step) -> bool:
        return step.begun is not None and step.begun < clock.monotonic() - self._seconds

    def _all_hang(self) -> bool:
        with self._lock:
            return len(self._begun) >= self._most and all(self._hangs(step) for step in self._begun)


class _Step:
    """What a thread is to do, and since when it does it."""

    def __init__(self, context: contextvars.Context, step: Callable[[], object]) -> None:
        self.future: Future[Any] = Future()
        self.begun: float | None = None
        self._context = context
        self._step = step

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._context.run(self._step)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told; the thread is for the others too
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def _undo_later(future: Future[T], undo: Callable[[T], None] | None) -> None:
    def done(ended: Future[T]) -> None:
        if undo is not None and not ended.cancelled() and ended.exception() is None:
            undo(ended.result())

    future.add_done_callback(done)
