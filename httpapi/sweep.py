"""The sweep: images whose upload died or expired go back to `queued`, jobs whose worker died back into the queue.

At start and every two seconds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError
from catalog.usecases import deltas, staging, tasks
from catalog.usecases.image_data import requeue_orphans
from catalog.usecases.import_tokens import let_go_tokens
from httpapi.copy_tending import tend_copies_forever
from httpapi.metrics.instruments import REQUEUED, SWEEPS

if TYPE_CHECKING:
    from catalog.usecases.services import Services

# Another process's death must be noticed within five seconds.
INTERVAL_SECONDS = 2.0

_log = logging.getLogger("drystone.sweep")


async def sweep_once(services: Services) -> None:
    """One sweep; a catalog that can't do it now is logged, and the next sweep tries again."""
    try:
        found = await requeue_orphans(services)
        found += await deltas.end_expired(services)
        found += await staging.end_expired(services)
        await tasks.sweep(services)
        await let_go_tokens(services)
        if services.rooms is not None:
            await services.rooms.sweep()
    except (BlockstoreError, CatalogError, OSError) as error:
        SWEEPS.labels("failed").inc()
        _log.warning("What dead processes left could not be swept, next try in %g s: %s", INTERVAL_SECONDS, error)
    else:
        SWEEPS.labels("done").inc()
        REQUEUED.inc(found)
        if found:
            _log.info("%d images whose upload had died or expired are queued again", found)


async def sweep_forever(services: Services) -> None:
    """Sweep until cancelled; and beside that, since stores may be slow, tend what lies in them."""
    async with asyncio.TaskGroup() as group:
        group.create_task(tend_copies_forever(services))
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await sweep_once(services)
