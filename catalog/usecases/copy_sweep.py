"""Removing copies that no image has: what dead writers left, and what images have lost.

In every server and worker. Two at once do no harm: what is gone already is removed again, and forgotten again.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.model.errors import CatalogError
from catalog.model.location import Location
from catalog.usecases.copying import doom_unsettled

if TYPE_CHECKING:
    from collections.abc import Collection

    from catalog.model.loose import LooseCopy
    from catalog.ports import UnitOfWork
    from catalog.store_ports import Store
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)
AT_ONCE: Final = 20
"""Copies that are removed from one store before the next one is looked at."""


async def doom_left_behind(services: Services) -> int:
    """Give up copies whose writer died, or stopped without a word; how many."""

    def look(uow: UnitOfWork) -> Collection[str]:
        writing = uow.loose.writing()
        if not writing:
            return ()
        ours = {held.claim.job_id for held in uow.jobs.claims() if held.claim.id in services.claims}
        return {copy.url for copy in writing if not _is_being_written(services, copy, ours)}

    left = await services.database.read(look)
    if left:
        await services.database.write(lambda uow: doom_unsettled(uow, left))
        log.info("%d copies whose writers are gone are to be removed", len(left))
    return len(left)


async def remove_doomed(services: Services) -> int:
    """Remove copies that are to be removed from stores that are up, some of each; how many went."""
    count = 0
    for name in sorted(await services.database.read(lambda uow: uow.loose.stores())):
        store = services.stores.get(name)
        if store is None or services.stores.is_aside(name):
            # Also one that is not configured now: it may be again.
            continue
        count += await _remove_from(services, store)
    return count


async def _remove_from(services: Services, store: Store) -> int:
    name = store.info.name
    doomed = await services.database.read(lambda uow: uow.loose.doomed(name, AT_ONCE))
    for done, copy in enumerate(doomed):
        try:
            # What others registered is theirs.
            if not store.info.read_only and store.owns(copy.url):
                await store.remove(copy.url)
        except (CatalogError, OSError) as error:
            services.stores.failed(Location(url=copy.url, store=name))
            log.warning("a copy is removed from store %s later: %s", name, error)
            return done
        await services.database.write(partial(_forget, copy.url))
    return len(doomed)


def _forget(url: str, uow: UnitOfWork) -> None:
    uow.loose.forget(url)


def _is_being_written(services: Services, copy: LooseCopy, jobs: Collection[str]) -> bool:
    """Whether its writer lives: another process answers for its own ones, as long as it does."""
    if copy.process == services.blocks.process:
        return copy.holder in services.running or copy.holder in jobs
    return services.blocks.is_alive(copy.process)
