"""Waiting for memory: a share of the process's budget, and a sign when some of it is free again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from blockstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from blockstore.pipeline.slabs import SlabPool, SlabShare

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds that a transfer waits for room in memory before it is told to come back later."""


async def admitted(pool: SlabPool, line: asyncio.Lock, admit: Callable[[], SlabShare | None]) -> SlabShare:
    """A share of the budget, waited for in line: nobody begins who could starve. StoreUnavailable after PATIENCE."""
    pool.queued += 1
    try:
        async with asyncio.timeout(PATIENCE), line:
            share = admit()
            while share is None:
                freed = when_free(pool)
                share = admit()
                if share is None:
                    await freed.wait()
            return share
    except TimeoutError:
        raise StoreUnavailable(
            "as many transfers are under way as there is memory set aside for: try again in a moment"
        ) from None
    finally:
        pool.queued -= 1


async def settled(future: Future[T], undo: Callable[[T], object]) -> T:
    """The future's result; if the caller is cancelled meanwhile, what comes of it is undone when it is there."""

    def dispose(done: Future[T]) -> None:
        if not done.cancelled() and done.exception() is None:
            undo(done.result())

    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(dispose)
        raise


def when_free(pool: SlabPool) -> asyncio.Event:
    """An event that is set when the pool has got something back; ask for it before looking, so that none is missed."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    pool.when_free(wake)
    return event
