"""The crew: as many threads as cores, shared by all uploads, downloads and jobs of a process.

Two kinds of work. A *free* task may run at any time beside any other. A *lane* is a queue whose tasks run one after
another, in order, on whichever thread is free; a lane's turn goes before free tasks, so that the slowest hash of an
upload never waits for compression. One task a slab and lane: nothing crosses threads per block.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from blockstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Member(threading.local):
    """Whether the thread that asks is one of the crew."""

    yes = False


class Crew:
    """Threads that run tasks until `close`. A task must not wait for another task."""

    def __init__(self, threads: int | None = None) -> None:
        self._wake = threading.Condition()
        self._turns: deque[Lane] = deque()
        self._free: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._member = _Member()
        count = threads or os.cpu_count() or 1
        self._threads = [threading.Thread(target=self._work, name=f"crew-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a free task; it must deal with its own errors (what escapes is logged and dropped).

        StoreUnavailable after `close`: a task that nobody would ever run is not taken.
        """
        with self._wake:
            if self._stopping:
                raise StoreUnavailable("the store is being closed")
            self._free.append(task)
            self._wake_another()

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Queue a free task and get its result or its error by a future."""
        future: Future[T] = Future()
        self.submit(partial(_settle, future, work))
        return future

    def lane(self) -> Lane:
        """A new serial queue."""
        return Lane(self)

    @property
    def stopping(self) -> bool:
        """Whether nothing new is taken any more."""
        return self._stopping

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def enter(self, lane: Lane) -> None:
        """A lane has work and is not being worked on: give it a turn (called by Lane)."""
        with self._wake:
            self._turns.append(lane)
            self._wake_another()

    def _wake_another(self) -> None:
        # A crew thread that queues one thing takes it itself as soon as its task ends, which is cheaper than to wake
        # another: a wake-up of an idle core costs as much as hashing a block or more.
        if self._member.yes and len(self._turns) + len(self._free) == 1:
            return
        self._wake.notify()

    def _work(self) -> None:
        self._member.yes = True
        while True:
            with self._wake:
                while not (self._turns or self._free):
                    if self._stopping:
                        return
                    self._wake.wait()
                lane = self._turns.popleft() if self._turns else None
                task = None if lane else self._free.popleft()
            try:
                if lane is not None:
                    lane.take_turn()
                elif task is not None:
                    task()
            except Exception:
                log.exception("a task of the crew ended with an error that nobody waits for")


class Lane:
    """Tasks in order, one at a time."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._lock = threading.Lock()
        self._tasks: deque[Callable[[], None]] = deque()
        self._busy = False

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a task behind the lane's others."""
        with self._lock:
            self._tasks.append(task)
            if self._busy:
                return
            self._busy = True
        self._crew.enter(self)

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Queue a task behind the others; its result or error by a future. StoreUnavailable as the crew's `submit`."""
        if self._crew.stopping:
            raise StoreUnavailable("the store is being closed")
        future: Future[T] = Future()
        self.submit(partial(_settle, future, work))
        return future

    def take_turn(self) -> None:
        """Run the next task, then queue for another turn if there is more (called by the crew)."""
        with self._lock:
            task = self._tasks.popleft()
        try:
            task()
        finally:
            with self._lock:
                more = self._busy = bool(self._tasks)
            if more:
                self._crew.enter(self)


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)
