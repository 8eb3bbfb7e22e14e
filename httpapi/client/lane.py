"""A lane: one thread that does its jobs in order and answers on the event loop.

Reading, hashing and writing each get one, so that they overlap with the network and with each other while
each stays in order. The threads are daemons: one that hangs in a read or write of a pipe whose other end
sleeps must not keep an interrupted program alive, which a ThreadPoolExecutor's would.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
P = TypeVar("P")


class Lane:
    """Made inside a running event loop, which gets the answers."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Queues `job`; the future gets its result or its error."""
        answer: asyncio.Future[T] = self._loop.create_future()
        # After one failure nobody asks for the rest; that is no reason to complain on standard error.
        answer.add_done_callback(_seen)

        def turn() -> None:
            try:
                result = job()
            except BaseException as failure:  # noqa: BLE001 - not swallowed: the future hands it to who waits
                self._call(_fail, answer, failure)
            else:
                self._call(_give, answer, result)

        self._jobs.put(turn)
        return answer

    def close(self, *, wait: bool) -> None:
        """Lets the queued jobs finish and ends the thread; with `wait`, comes back when it has ended."""
        self._jobs.put(None)
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while (turn := self._jobs.get()) is not None:
            turn()

    def _call(self, settle: Callable[[asyncio.Future[T], P], None], answer: asyncio.Future[T], outcome: P) -> None:
        # RuntimeError: the loop is closed, nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle, answer, outcome)


def _give(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[T], failure: BaseException) -> None:
    if not answer.done():
        answer.set_exception(failure)


def _seen(answer: asyncio.Future[T]) -> None:
    if not answer.cancelled():
        answer.exception()
