"""What has to be looked at from time to time: the loop's lag, memory, rounds of syncs, the size of all packs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Final

from blockstore.clock import monotonic
from httpapi.metrics.instruments import (
    GENERATION_SECONDS,
    INDEX_WAIT,
    LOOP_LAG,
    PACK_BYTES,
    PACKS,
    SLAB_BUDGET,
    SLAB_QUEUED,
    SLAB_TAKEN,
)
from httpapi.metrics.requests import REQUEST_METER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from blockstore.figures import PoolFigures, StoreFigures
    from httpapi.metrics.place import Place

_log = logging.getLogger("drystone.metrics")
TICK_SECONDS: Final = 0.25
SAMPLE_SECONDS: Final = 1.0
PACKS_SECONDS: Final = 60.0


@contextlib.asynccontextmanager
async def sampling(place: Place, figures: Callable[[], StoreFigures], data: Path) -> AsyncIterator[None]:
    """Sample meanwhile, in this worker's name; the first one weighs the packs for all."""
    REQUEST_METER.belongs_to(place.number)
    running = [asyncio.create_task(sample_forever(figures))]
    if place.number == 1:
        running.append(asyncio.create_task(weigh_packs_forever(data / "packs")))
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def sample_forever(figures: Callable[[], StoreFigures]) -> None:
    """Sample until cancelled: the lag four times a second, the rest once."""
    due = monotonic()
    while True:
        began = monotonic()
        await asyncio.sleep(TICK_SECONDS)
        now = monotonic()
        LOOP_LAG.observe(max(0.0, now - began - TICK_SECONDS))
        if now >= due:
            sample(figures())
            due = now + SAMPLE_SECONDS


def sample(figures: StoreFigures) -> None:
    """Take a store's figures in, and what the open requests have moved."""
    REQUEST_METER.flush()
    _pool("uploads", figures.uploads)
    _pool("downloads", figures.downloads)
    INDEX_WAIT.set(figures.index_wait)
    for seconds in figures.rounds:
        GENERATION_SECONDS.observe(seconds)


async def weigh_packs_forever(packs: Path) -> None:
    """Add up the sizes of all packs once a minute, until cancelled; one process does it for all."""
    while True:
        try:
            count, size = await asyncio.to_thread(weigh, packs)
        except OSError as error:
            _log.warning("The packs' sizes cannot be looked at: %s", error)
        else:
            PACKS.set(count)
            PACK_BYTES.set(size)
        await asyncio.sleep(PACKS_SECONDS)


def weigh(packs: Path) -> tuple[int, int]:
    """How many files lie in the folder's folders, and their bytes."""
    count = size = 0
    with os.scandir(packs) as folders:
        for folder in folders:
            if folder.is_dir(follow_symlinks=False):
                with os.scandir(folder.path) as files:
                    for file in files:
                        size += _size_of(file)
                        count += 1
    return count, size


def _size_of(file: os.DirEntry[str]) -> int:
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        # Retired between the two looks.
        return 0


def _pool(use: str, pool: PoolFigures) -> None:
    SLAB_BUDGET.labels(use).set(pool.budget)
    SLAB_TAKEN.labels(use).set(pool.taken)
    SLAB_QUEUED.labels(use).set(pool.queued)
