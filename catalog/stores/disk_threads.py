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
from typing import TYPE_CHECKING, Any, Final, TypeVar

from blockstore import clock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
THREADS: Final = 4


class DiskHangs(Exception):
    """A step did not end in time, or none can be begun because all threads hang."""


class DiskThreads:
    """At most `threads` threads, made when there is something to do; each step has `seconds`, waiting included."""

    def __init__(self, name: str, *, seconds: float, threads: int = THREADS) -> None:
        self._name = name
        self._seconds = seconds
        self._most = threads
        self._steps: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0
        self._waiting = 0
        self._begun: dict[int, float] = {}

    async def run(self, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run one step and give its result. Raises DiskHangs.

        A step that has begun goes on when its caller is cancelled or told that the disk hangs; if it then succeeds all
        the same, `undo` is given what nobody waits for.
        """
        future = self._submit(step)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            future.cancel()
            _undo_later(future, undo)
            raise DiskHangs from None
        except asyncio.CancelledError:
            _undo_later(future, undo)
            raise

    def later(self, step: Callable[[], None]) -> None:
        """Run one step when a thread is free, and tell nobody how it went."""
        self._queue(Future(), step)

    def close(self) -> None:
        """Let the threads end that are not at work, the others when they are done; waits for none."""
        with self._lock:
            count, self._count = self._count, 0
        for _ in range(count):
            self._steps.put(None)

    def _submit(self, step: Callable[[], T]) -> Future[T]:
        with self._lock:
            late = clock.monotonic() - self._seconds
            if len(self._begun) >= self._most and all(begun < late for begun in self._begun.values()):
                raise DiskHangs
        future: Future[T] = Future()
        self._queue(future, step)
        return future

    def _queue(self, future: Future[T], step: Callable[[], T]) -> None:
        context = contextvars.copy_context()
        self._steps.put((future, lambda: context.run(step)))
        with self._lock:
            self._waiting += 1
            if self._waiting <= self._idle or self._count >= self._most:
                return
            self._count += 1
            number = self._count
        threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            with self._lock:
                self._idle += 1
            item = self._steps.get()
            with self._lock:
                self._idle -= 1
                if item is None:
                    return
                self._waiting -= 1
                self._begun[me] = clock.monotonic()
            _run(*item)
            del item
            with self._lock:
                del self._begun[me]


def _run(future: Future[Any], step: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = step()
    except BaseException as error:  # noqa: BLE001 - whoever waits is told; the thread is for the others too
        future.set_exception(error)
    else:
        future.set_result(result)


def _undo_later(future: Future[T], undo: Callable[[T], None] | None) -> None:
    def done(ended: Future[T]) -> None:
        if undo is not None and not ended.cancelled() and ended.exception() is None:
            undo(ended.result())

    future.add_done_callback(done)
