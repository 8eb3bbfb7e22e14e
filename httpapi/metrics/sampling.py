"""What has to be looked at from time to time: the loop's lag, memory, rounds of syncs, the size of all packs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blockstore import listing, verified_at
from blockstore.clock import monotonic
from blockstore.damage_met import Met
from blockstore.errors import BlockstoreError
from catalog.health import health_of
from catalog.model.location import OUR_STORE
from catalog.stores.set import OPAQUE
from httpapi.metrics.instruments import (
    BAD_BLOCKS,
    DAMAGE_MET,
    GENERATION_SECONDS,
    HARMED_IMAGES,
    INDEX_WAIT,
    LOOP_LAG,
    PACK_BYTES,
    PACKS,
    PACKS_NEVER_VERIFIED,
    PACKS_VERIFIED_SINCE,
    SCRUB_ENDED,
    SLAB_BUDGET,
    SLAB_QUEUED,
    SLAB_TAKEN,
    STORE_UP,
)
from httpapi.metrics.requests import REQUEST_METER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from blockstore.figures import PoolFigures, StoreFigures
    from blockstore.verified_at import PacksVerified
    from catalog.health import Health
    from catalog.store_ports import Stores
    from httpapi.metrics.place import Place

_log = logging.getLogger("drystone.metrics")
TICK_SECONDS: Final = 0.25
SAMPLE_SECONDS: Final = 1.0
PACKS_SECONDS: Final = 60.0


@contextlib.asynccontextmanager
async def sampling(
    place: Place, figures: Callable[[], StoreFigures], data: Path, store: bytes, stores: Stores
) -> AsyncIterator[None]:
    """Sample meanwhile, in this worker's name; the first one weighs the packs for all. `store` is the store's id."""
    REQUEST_METER.belongs_to(place.number)
    running = [asyncio.create_task(sample_forever(figures, stores))]
    if place.number == 1:
        running.append(asyncio.create_task(weigh_packs_forever(data / "packs")))
        running.append(asyncio.create_task(look_at_health_forever(data, store)))
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def sample_forever(figures: Callable[[], StoreFigures], stores: Stores) -> None:
    """Sample until cancelled: the lag four times a second, the rest once."""
    due = monotonic()
    while True:
        began = monotonic()
        await asyncio.sleep(TICK_SECONDS)
        now = monotonic()
        LOOP_LAG.observe(max(0.0, now - began - TICK_SECONDS))
        if now >= due:
            sample(figures())
            look_at_stores(stores)
            due = now + SAMPLE_SECONDS


def sample(figures: StoreFigures) -> None:
    """Take a store's figures in, and what the open requests have moved."""
    REQUEST_METER.flush()
    _pool("uploads", figures.uploads)
    _pool("downloads", figures.downloads)
    INDEX_WAIT.set(figures.index_wait)
    for seconds in figures.rounds:
        GENERATION_SECONDS.observe(seconds)
    DAMAGE.count(figures.met)


def look_at_stores(stores: Stores) -> None:
    """Tell which of the stores beside our blocks answer, as far as this process knows; nobody is asked."""
    for info in stores.infos():
        if info.name != OUR_STORE and info.kind != OPAQUE:
            STORE_UP.labels(info.name).set(not stores.is_aside(info.name))


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


@dataclass(slots=True)
class DamageMeter:
    """Counts what readers of this process met since it was asked last."""

    counted: Met = field(default_factory=lambda: Met(0, frozenset()))

    def count(self, met: Met) -> None:
        """Add what is new."""
        DAMAGE_MET.labels("block").inc(met.blocks - self.counted.blocks)
        DAMAGE_MET.labels("manifest").inc(len(met.manifests) - len(self.counted.manifests))
        DAMAGE_MET.labels("condemned").inc(met.condemned - self.counted.condemned)
        self.counted = met


DAMAGE: Final = DamageMeter()


async def look_at_health_forever(data: Path, store: bytes) -> None:
    """Look once a minute, until cancelled, at what scrubbing has found; one process does it for all."""
    while True:
        try:
            verified, health = await asyncio.to_thread(_look_at_health, data, store)
        except (BlockstoreError, OSError) as error:
            _log.warning("What was verified when cannot be looked at: %s", error)
        else:
            PACKS_NEVER_VERIFIED.set(verified.never)
            PACKS_VERIFIED_SINCE.set(verified.oldest / 1e6)
            SCRUB_ENDED.set(verified.pass_ended / 1e6)
            BAD_BLOCKS.set(health.bad_blocks if health else 0)
            HARMED_IMAGES.set(len(health.harmed) if health else 0)
        await asyncio.sleep(PACKS_SECONDS)


def _look_at_health(data: Path, store: bytes) -> tuple[PacksVerified, Health | None]:
    names = [bytes.fromhex(listed.name) for listed in listing.packs(data)]
    return verified_at.load(data, store).of(names), health_of(data)


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
