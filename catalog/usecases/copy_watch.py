"""A look, now and then, whether copies are still where they should be: volatile ones, and those that were found lost.

Nobody may read an image for months, and its copy on a volume that is gone is to be put back long before. A lost copy
may be there again, since its volume is. Page by page, so that nobody waits for it; what is found is recorded at once.
A store that was down is looked at when it is back: its volume may be another one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from blockstore import clock
from catalog.model.errors import CatalogError, CopyLost
from catalog.model.location import WRONG
from catalog.usecases.lost_copies import found_again, have_put_back, is_wanted, mark_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.model.location import Location
    from catalog.ports import UnitOfWork
    from catalog.store_ports import Store
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)
PAGE: Final = 100
"""Images that are looked at in one go."""
PAUSE: Final = 30.0
"""Seconds between the end of one pass and the beginning of the next."""
_LOST: Final = ""


class CopyWatch:
    """Where each pass stands; `look` goes on with all that are due. `now` gives seconds that never go back."""

    def __init__(self, services: Services, now: Callable[[], float] = clock.monotonic) -> None:
        self._services = services
        self._now = now
        self._after: dict[str, str] = {}
        self._due: dict[str, float] = {}

    async def look(self) -> int:
        """A page of each pass that is due; how many copies were found lost, or there again."""
        names = [info.name for info in self._services.stores.infos() if info.volatile]
        return sum([await self._go_on(name) for name in (*names, _LOST)])

    async def _go_on(self, name: str) -> int:
        """The next page of a store's copies, or of the lost ones; at the end the next pass is due after a pause."""
        if self._services.stores.is_aside(name):
            # When it is back its volume may be another one: from the beginning, at once.
            self._after.pop(name, None)
            self._due.pop(name, None)
            return 0
        if self._now() < self._due.get(name, 0.0):
            return 0
        after = self._after.get(name, "")
        page = await self._services.database.read(lambda uow: _page(uow, name, after))
        self._after[name] = page[-1][0] if page else ""
        if not page:
            self._due[name] = self._now() + PAUSE
        return sum([await self._differs(*each) for each in page])

    async def _differs(self, image_id: str, location: Location, size: int | None) -> bool:
        """Whether a copy is not what the catalog says of it; then that is set right."""
        services = self._services
        store = services.stores.get(location.store)
        if store is None or services.stores.is_aside(location.store) or not store.owns(location.url):
            return False
        try:
            is_there = await _is_there(store, location, size)
        except (CatalogError, OSError) as error:
            services.stores.failed(location)
            log.warning("store %s cannot be asked for its copies: %s", location.store, error)
            return False
        if is_there:
            return not location.is_active and await found_again(services, image_id, location)
        if location.is_active:
            return await mark_lost(services, image_id, location)
        # What cannot be put back now is met by each pass, and only read.
        if await services.database.read(lambda uow: _is_wanted(services, uow, image_id)):
            await services.database.write(lambda uow: _ask_for(services, uow, image_id))
            services.bell.ring()
        return False


async def _is_there(store: Store, location: Location, size: int | None) -> bool:
    """Whether the copy can be read; that a wrong one is there is no news. Raises StoreDown."""
    if location.status == WRONG:
        return False
    try:
        (await store.open(location.url, size)).close()
    except CopyLost:
        return False
    return True


def _page(uow: UnitOfWork, name: str, after: str) -> Sequence[tuple[str, Location, int | None]]:
    return uow.places.lost(after, PAGE) if name == _LOST else uow.places.in_store(name, after, PAGE)


def _is_wanted(services: Services, uow: UnitOfWork, image_id: str) -> bool:
    image = uow.images.get(image_id)
    return image is not None and is_wanted(services, uow, image)


def _ask_for(services: Services, uow: UnitOfWork, image_id: str) -> None:
    image = uow.images.get(image_id)
    if image is not None:
        have_put_back(services, uow, image, at=services.clock())
