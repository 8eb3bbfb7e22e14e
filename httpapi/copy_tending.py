"""Copies in stores, tended beside the requests: those that no image has are removed, those that were lost are found."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError
from catalog.usecases.copy_sweep import Pauses, doom_left_behind, remove_doomed
from catalog.usecases.copy_watch import CopyWatch

if TYPE_CHECKING:
    from catalog.usecases.services import Services

INTERVAL_SECONDS: Final = 2.0

_log = logging.getLogger("drystone.sweep")


async def tend_copies(services: Services, watch: CopyWatch, pauses: Pauses) -> None:
    """One round; what cannot be done now is logged, and the next round tries again. It may wait for a slow store."""
    try:
        await doom_left_behind(services)
        removed = await remove_doomed(services, pauses)
        await watch.look()
    except (BlockstoreError, CatalogError, OSError) as error:
        _log.warning("Copies in stores could not be tended, next try in %g s: %s", INTERVAL_SECONDS, error)
    else:
        if removed:
            _log.info("%d copies that no image has were removed from their stores", removed)


async def tend_copies_forever(services: Services, pause: float = INTERVAL_SECONDS) -> None:
    """Round after round, until cancelled, with so many seconds in between; nothing where there are no stores.

    A store that breaks in a way that nobody foresaw ends its round alone: the sweep of uploads and jobs is beside it.
    """
    watch, pauses = CopyWatch(services), Pauses()
    while services.stores.several:
        [outcome] = await asyncio.gather(tend_copies(services, watch, pauses), return_exceptions=True)
        if isinstance(outcome, Exception):
            _log.error("A fault of ours: copies in stores were not tended this time", exc_info=outcome)
        await asyncio.sleep(pause)
