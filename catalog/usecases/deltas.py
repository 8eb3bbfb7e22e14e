"""Delta uploads: an image made of blocks that arrive by number, and of those that a base has.

Begin (`delta_begin.py`) pins the base and makes the image `saving`; blocks arrive in any number of requests, in any
process; commit (`delta_commit.py`) builds the manifest and is then the commit of every upload. Rights are asked for at
each request. A request counts as acknowledged in the transaction that precedes its answer, and a commit goes through
only if it has seen all that were.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from blockstore.errors import Missing
from catalog import policy
from catalog.blocking import to_its_end
from catalog.model.errors import Gone, NotFound
from catalog.usecases import uploads
from catalog.usecases.access import load_modifiable
from catalog.usecases.bases import readable_chain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from catalog.delta_ports import ArrivedBlocks, Part
    from catalog.model.caller import Caller
    from catalog.model.delta import Delta
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """An upload as a request names it."""

    caller: Caller
    image_id: str
    upload_id: str


async def take(services: Services, named: Named, parts_of: Callable[[Delta], AsyncGenerator[Part, None]]) -> None:
    """Take one request's blocks in, durable when this returns; `parts_of` is asked for them once they may come.

    Raises NotFound, Forbidden, Gone (it ended meanwhile), LimitExceeded, and the block store's errors.
    """
    delta = await _touched(services, named, growing=True)

    async def locate(image_id: str) -> Sequence[StoredManifest]:
        return await services.database.read(
            lambda uow: readable_chain(uow, named.caller, image_id, services.blocks.store)
        )

    try:
        async with aclosing(parts_of(delta)) as parts:
            records = await services.blocks.deltas.take(delta, parts, locate)
    except Missing:
        if await services.database.read(lambda uow: uow.deltas.get(delta.id)) is None:
            raise _ended(named) from None
        raise
    if not await services.database.write(partial(_renew, services, delta=delta, acknowledged=True, records=records)):
        raise _ended(named)


async def show(services: Services, named: Named, *, start: int, most: int) -> tuple[Delta, ArrivedBlocks]:
    """The upload, and what has arrived from number `start` on. Raises NotFound, Forbidden, Gone."""
    delta = await _touched(services, named)
    found = await services.blocks.deltas.arrived(delta, start=start, most=most)
    # What is told to have arrived is not sent again: so it is acknowledged, whatever became of its request.
    told = partial(_renew, services, delta=delta, records=found.records)
    if found.records > delta.records and not await services.database.write(told):
        raise _ended(named)
    return delta, found


async def of_image(services: Services, caller: Caller, image_id: str) -> Sequence[Delta]:
    """The delta upload under way, if there is one. Raises NotFound, Forbidden."""

    def find(uow: UnitOfWork) -> Sequence[Delta]:
        image = load_modifiable(uow, caller, image_id, policy.may_upload)
        found = None if image.upload is None else uow.deltas.get(image.upload.id)
        return () if found is None else (found,)

    return await services.database.read(find)


async def give_up(services: Services, named: Named) -> None:
    """End the upload: saving → queued. Raises NotFound, Forbidden."""

    def abandon(uow: UnitOfWork) -> None:
        delta = session_of(services, uow, named)
        uploads.abandon(uow, delta.image_id, delta.id, at=services.clock())

    await to_its_end(services.database.write(abandon))
    uploads.forget(services, named.upload_id)


async def end_expired(services: Services) -> int:
    """End the uploads for which nobody has asked for too long; how many."""
    now = services.clock()

    def end(uow: UnitOfWork, upload_id: str) -> bool:
        delta = uow.deltas.get(upload_id)
        return delta is not None and delta.expires_at <= now and uploads.abandon(uow, delta.image_id, delta.id, at=now)

    count = 0
    for old in await services.database.read(lambda uow: uow.deltas.expired(now)):
        if await services.database.write(partial(end, upload_id=old.id)):
            uploads.forget(services, old.id)
            log.info("image %s is queued again: nobody has asked for its delta upload %s", old.image_id, old.id)
            count += 1
    return count


def session_of(services: Services, uow: UnitOfWork, named: Named) -> Delta:
    """The upload, if it is under way and the caller may change its image; one that has expired is none."""
    image = load_modifiable(uow, named.caller, named.image_id, policy.may_upload)
    delta = uow.deltas.get(named.upload_id)
    if delta is None or not image.is_taking(delta.id) or delta.expires_at <= services.clock():
        raise NotFound(f"Image {image.id} has no delta upload {named.upload_id[:80]} under way.")
    return delta


async def _touched(services: Services, named: Named, *, growing: bool = False) -> Delta:
    """The upload, which lives on from now; LimitExceeded if it is to grow and its project has too much under way."""

    def find(uow: UnitOfWork) -> Delta:
        delta = session_of(services, uow, named)
        if growing:
            image = load_modifiable(uow, named.caller, named.image_id, policy.may_upload)
            services.limits.check_journals(uow.deltas.under_way(image.owner))
        return delta

    delta = await services.database.read(find)
    if not await live_on(services, delta):
        raise _ended(named)
    return delta


async def live_on(services: Services, delta: Delta) -> bool:
    """Begin the upload's time anew; False when it has ended."""
    # A hundredth of its time is not worth a transaction.
    lately = services.clock() + timedelta(seconds=0.99 * services.delta_expiry)
    return delta.expires_at >= lately or await services.database.write(partial(_renew, services, delta=delta))


def _renew(services: Services, uow: UnitOfWork, delta: Delta, *, acknowledged: bool = False, records: int = 0) -> bool:
    until = services.clock() + timedelta(seconds=services.delta_expiry)
    return uow.deltas.renew(delta.id, expires_at=until, acknowledged=acknowledged, records=records)


def _ended(named: Named) -> Gone:
    return Gone(f"The delta upload {named.upload_id} ended while blocks came: look at image {named.image_id}.")
