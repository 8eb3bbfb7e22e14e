"""Threads for what mostly waits for a disk: syncs, renames, unlinks. The crew is for the processor's work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

T = TypeVar("T")
THREADS: Final = 8


class SyncThreads:
    """A few threads of one process; tasks may not wait for each other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Queue one task and get its result or its error by a future; StoreUnavailable after `close`."""
        try:
            return self._threads.submit(work)
        except RuntimeError as error:
            raise StoreUnavailable("the store is closed") from error

    def all(self, work: Sequence[Callable[[], None]]) -> None:
        """Do all of it, side by side, and raise the first error after everything has ended."""
        if len(work) == 1:
            work[0]()
            return
        futures = [self._threads.submit(step) for step in work]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        if errors:
            raise errors[0]

    def close(self) -> None:
        """End the threads, after what is queued."""
        self._threads.shutdown(wait=True)
