"""Copies of images in stores, from before their first byte until after their removal.

A copy is recorded, written, and becomes an image's in the caller's transaction (`settle`), together with what makes it
one. Whatever ends before that leaves a record, and a sweep (`copy_sweep.py`) removes what was written. An image's copy
is let go in the transaction that takes it from the image (`let_go_copies`), and removed from its store by the sweep.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError
from catalog.blocking import to_its_end
from catalog.model.errors import CatalogError, Conflict, Gone, StoreDown, StoreReadOnly
from catalog.model.location import Location
from catalog.model.loose import LooseCopy, LooseState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from catalog.ports import UnitOfWork
    from catalog.store_ports import CopyReader, Store
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)


async def copy_into(
    services: Services, store: str, image_id: str, reader: CopyReader, *, holder: str, process: str
) -> Location:
    """Write a copy of `reader`'s bytes into a store: durable, and no image's until it is settled.

    `holder` is the id of the upload, in `services.running`, or of the job that writes, and `process` its process: while
    they live the copy stays. What this holder began for this image in this store before, and did not settle, is given
    up. Raises what the store's `write` does and what reading raises, Conflict for a store that takes no copies, Gone
    when somebody gave the copy up meanwhile; then nothing is left that the sweep does not remove.
    """
    to = _writable(services, store)
    location = Location(url=to.place(image_id), store=store)
    copy = LooseCopy(
        url=location.url, store=store, image_id=image_id, holder=holder, process=process, since=services.clock()
    )

    def begin(uow: UnitOfWork) -> None:
        _give_up(uow, (each for each in uow.loose.writing() if _same_work(each, copy)))
        uow.loose.begin(copy)

    await to_its_end(services.database.write(begin))
    try:
        await to.write(location.url, reader)
    except StoreDown:
        services.stores.failed(location)
        await to_its_end(_doom(services, copy))
        raise
    except BaseException:
        await to_its_end(_doom(services, copy))
        raise
    if not await services.database.read(lambda uow: any(each.url == copy.url for each in uow.loose.writing())):
        await to_its_end(_doom(services, copy))
        raise _given_up(store)
    return location


def settle(uow: UnitOfWork, copies: Iterable[Location]) -> None:
    """These copies are an image's from this transaction on. Raises Gone when one was given up meanwhile."""
    for copy in copies:
        if not uow.loose.settle(copy.url):
            raise _given_up(copy.store)


async def drop(services: Services, copies: Collection[Location]) -> None:
    """Give up copies that will not be settled; what cannot be recorded now is found by the sweep."""
    for copy in copies:
        await to_its_end(_give_up_by(services, copy.store, partial(doom_unsettled, urls={copy.url})))


def let_go_copies(uow: UnitOfWork, image_id: str, locations: Iterable[Location], *, at: datetime) -> None:
    """An image loses these of its locations: what is ours to remove goes from its store by and by.

    That of our blocks is `coalescing.let_go`'s. URLs that others registered are only forgotten by the sweep, which
    knows the stores.
    """
    copies = [location for location in locations if location.manifest is None]
    uow.loose.doom(
        [
            LooseCopy(url=each.url, store=each.store, image_id=image_id, holder="", process="", since=at)
            for each in copies
        ]
    )


def doom_unsettled(uow: UnitOfWork, urls: Collection[str]) -> None:
    """Those of these copies that are still recorded as being written are to be removed."""
    _give_up(uow, (each for each in uow.loose.writing() if each.url in urls))


def _give_up(uow: UnitOfWork, copies: Iterable[LooseCopy]) -> None:
    uow.loose.doom([replace(each, state=LooseState.DOOMED) for each in copies])


def _same_work(one: LooseCopy, other: LooseCopy) -> bool:
    return (one.holder, one.store, one.image_id) == (other.holder, other.store, other.image_id)


async def _doom(services: Services, copy: LooseCopy) -> None:
    """Give up what was never told to whoever could settle it.

    Also when it was given up before: it may have been removed, and forgotten, while it was still being written.
    """
    await _give_up_by(services, copy.store, lambda uow: _give_up(uow, [copy]))


async def _give_up_by(services: Services, store: str, step: Callable[[UnitOfWork], None]) -> None:
    try:
        await services.database.write(step)
    except (CatalogError, BlockstoreError) as error:
        log.warning("a copy in store %s is given up by the next sweep: %s", store, error)


def _given_up(store: str) -> Gone:
    return Gone(f"The copy in store {store} was given up before it was an image's; begin again.")


def _writable(services: Services, name: str) -> Store:
    store = services.stores.get(name)
    if store is None:
        raise Conflict(f"There is no store {name[:80]!r} that takes copies.")
    if store.info.read_only:
        raise StoreReadOnly(f"Store {name} is only read; choose another one.")
    return store
