"""Removing copies that no image has: what dead writers left, and what images have lost.

In every server and worker. Two at once do no harm: what is gone already is removed again, and forgotten again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore import clock
from catalog.model.errors import CatalogError
from catalog.usecases.copying import doom_unsettled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from catalog.model.loose import LooseCopy
    from catalog.ports import UnitOfWork
    from catalog.store_ports import Store
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)
AT_ONCE: Final = 20
"""Copies that are removed from one store before the next one is looked at."""
PAUSE: Final = 60.0
"""Seconds for which a store is left alone that does not remove what it should."""


class Pauses:
    """Which stores are left alone; reads go on there, since who may read need not be allowed to remove."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._until: dict[str, float] = {}

    def holds(self, store: str) -> bool:
        """Whether the store is left alone just now."""
        return self._now() < self._until.get(store, 0.0)

    def begin(self, store: str) -> None:
        """Leave it alone for a while."""
        self._until[store] = self._now() + PAUSE


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


async def remove_doomed(services: Services, pauses: Pauses | None = None) -> int:
    """Remove copies that are to be removed from stores that are up, some of each; how many went."""
    pauses = pauses or Pauses()
    count = 0
    for name in sorted(await services.database.read(lambda uow: uow.loose.stores())):
        store = services.stores.get(name)
        if store is None or services.stores.is_aside(name) or pauses.holds(name):
            # Also one that is not configured now: it may be again.
            continue
        count += await _remove_from(services, store, pauses)
    return count


async def _remove_from(services: Services, store: Store, pauses: Pauses) -> int:
    name = store.info.name
    doomed = await services.database.read(lambda uow: uow.loose.doomed(name, AT_ONCE))
    unknown: list[LooseCopy] = []
    for done, copy in enumerate(doomed):
        if not store.info.read_only and not store.owns(copy.url):
            unknown.append(copy)
            continue
        try:
            # What others registered is theirs.
            if not store.info.read_only:
                await store.remove(copy.url)
        except (CatalogError, OSError) as error:
            pauses.begin(name)
            log.warning("a copy is removed from store %s later: %s", name, error)
            return done - len(unknown)
        await services.database.write(partial(_forget, copy.url))
    if unknown:
        await _wait_for_its_store(services, unknown)
        pauses.begin(name)
    return len(doomed) - len(unknown)


async def _wait_for_its_store(services: Services, copies: Sequence[LooseCopy]) -> None:
    """Copies of a store that was another place when they were written: behind all others, until it is that again."""
    log.warning(
        "%d copies are to be removed from store %s, which is another place now than when they were written, such as %s",
        len(copies),
        copies[0].store,
        copies[0].url,
    )
    now = services.clock()
    await services.database.write(lambda uow: uow.loose.doom([replace(copy, since=now) for copy in copies]))


def _forget(url: str, uow: UnitOfWork) -> None:
    uow.loose.forget(url)


def _is_being_written(services: Services, copy: LooseCopy, jobs: Collection[str]) -> bool:
    """Whether its writer lives: another process answers for its own ones, as long as it does."""
    if copy.process == services.blocks.process:
        return copy.holder in services.running or copy.holder in jobs
    return services.blocks.is_alive(copy.process)
