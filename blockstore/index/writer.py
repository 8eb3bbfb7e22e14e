"""The one thread of a process that waits for the index's write lock.

A process that was stopped while it held the lock would stop every thread that asks for it. So only this thread asks;
the others wait for it with a limit, and then say StoreUnavailable instead of hanging.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore import clock
from blockstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds until a writer is told that the index does not answer."""


class IndexWriter:
    """Runs changes of the index one after another; `run` waits for the result."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._patience = patience
        self._since: float | None = None

    def run(self, change: Callable[[], T]) -> T:
        """Run `change` on the thread and give its result; StoreUnavailable after `patience` seconds.

        A change that was given up may still happen later; every change of the index is safe to happen late.
        """
        if self.waiting() > self._patience:
            raise self._stuck()
        future = self._pool.submit(self._timed, change)
        try:
            return future.result(self._patience)
        except TimeoutError:
            future.cancel()
            raise self._stuck() from None

    def later(self, change: Callable[[], object]) -> None:
        """Run `change` some time, for things that nobody waits for; it must deal with its own errors."""
        self._pool.submit(self._timed, change)

    def _stuck(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the index's write lock was not free within {self._patience:.0f} s: "
            "another process that uses this data directory is stopped or stuck",
        )

    def waiting(self) -> float:
        """Seconds that the change now running has taken; 0 when there is none."""
        since = self._since
        return 0.0 if since is None else clock.monotonic() - since

    def close(self) -> None:
        """Finish what was given."""
        self._pool.shutdown(wait=True)

    def _timed(self, change: Callable[[], T]) -> T:
        self._since = clock.monotonic()
        try:
            return change()
        finally:
            self._since = None
