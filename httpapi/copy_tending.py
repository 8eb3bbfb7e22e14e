"""Copies in stores that no image has, removed beside the requests; where stores are configured, there can be such."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from blockstore.errors import BlockstoreError
from catalog.model.errors import CatalogError
from catalog.usecases.copy_sweep import doom_left_behind, remove_doomed

if TYPE_CHECKING:
    from catalog.usecases.services import Services

INTERVAL_SECONDS: Final = 2.0

_log = logging.getLogger("drystone.sweep")


async def tend_copies(services: Services) -> None:
    """One round; what cannot be done now is logged, and the next round tries again. It may wait for a slow store."""
    try:
        await doom_left_behind(services)
        removed = await remove_doomed(services)
    except (BlockstoreError, CatalogError, OSError) as error:
        _log.warning("Copies that no image has could not be removed, next try in %g s: %s", INTERVAL_SECONDS, error)
    else:
        if removed:
            _log.info("%d copies that no image has were removed from their stores", removed)


async def tend_copies_forever(services: Services) -> None:
    """Round after round, until cancelled; nothing where there are no stores."""
    while services.stores.several:
        await tend_copies(services)
        await asyncio.sleep(INTERVAL_SECONDS)
