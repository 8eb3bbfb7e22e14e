"""The crossings between the loop and threads: database steps here, slabs in `catalog/stores/blocks.py`'s pump.

A step is a plain function that runs to its end on a thread of its own kind. The loop never waits
inside a transaction, and a step can't await: so no transaction stays open across a stream.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Wait for `work` to its end even if the caller is cancelled meanwhile; the cancellation comes after."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result


async def kept(work: Awaitable[T], undo: Callable[[T], object]) -> T:
    """The result of `work`; if the caller is cancelled meanwhile, what comes of it is undone when it is there."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:

        def dispose(done: asyncio.Future[T]) -> None:
            if not done.cancelled() and done.exception() is None:
                undo(done.result())

        task.add_done_callback(dispose)
        raise


class StepThreads:
    """A few named threads that run steps one after another; never the crew, which must not wait for a disk's lock."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, step: Callable[[], T]) -> T:
        """Run one step to its end and give its result; a cancelled caller doesn't stop a step that began.

        The step has the caller's context variables, so that what it logs is known to be the caller's doing.
        """
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(step))

    def close(self) -> None:
        """Wait for running steps; none may be submitted afterwards."""
        self._pool.shutdown(wait=True)
