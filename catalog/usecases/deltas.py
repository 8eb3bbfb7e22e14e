"""Delta uploads: an image made of blocks that arrive by number, and of those that a base has.

Begin pins the base and makes the image `saving`; blocks arrive in any number of requests, in any process; commit
builds the manifest and is then the commit of every upload. Rights are asked for at each request. A request counts as
acknowledged in the transaction that precedes its answer, and a commit goes through only if it has seen all that were.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from blockstore import names
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.session_journal import MOST_BLOCKS
from catalog.blocking import to_its_end
from catalog.cutting import cutting_of
from catalog.model.delta import Delta
from catalog.model.errors import CatalogError, Conflict, Gone, Invalid, LimitExceeded, NotFound
from catalog.model.image import Upload, canonical_id
from catalog.model.pin import UploadKind
from catalog.model.task import Requester
from catalog.usecases import uploads
from catalog.usecases.access import load_modifiable
from catalog.usecases.bases import readable_chain
from chunker.cutting import CutKind, Cutting, CuttingRefused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from catalog.delta_ports import ArrivedBlocks, Part
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork, Written
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)
TRIES: Final = 3
"""Times that a commit is made again because blocks arrived meanwhile."""


@dataclass(frozen=True, slots=True)
class Named:
    """An upload as a request names it."""

    caller: Caller
    image_id: str
    upload_id: str


async def begin(
    services: Services, caller: Caller, image_id: str, *, size: int, base: str | None, block_size: int | None
) -> Delta:
    """Begin a delta upload of `size` bytes over the image `base`: queued → saving.

    Raises NotFound, Forbidden, Conflict (not queued, or the base has other blocks), Invalid (the base, the block size,
    formats unset), LimitExceeded.
    """
    image = await services.database.read(lambda uow: load_modifiable(uow, caller, image_id))
    services.limits.check_size(size)
    chosen = await _block_size(services, caller, image, base, block_size)
    if size > chosen * MOST_BLOCKS:
        raise LimitExceeded(
            f"A delta upload has {MOST_BLOCKS} blocks at most, here {chosen * MOST_BLOCKS} bytes: choose larger blocks."
        )
    now = services.clock()
    delta = Delta(
        id=names.new_name().hex(),
        image_id=image.id,
        size=size,
        block_size=chosen,
        base_image=None if base is None else canonical_id(base),
        expires_at=now + timedelta(seconds=services.delta_expiry),
    )

    recorded = False

    def record(uow: UnitOfWork) -> None:
        nonlocal recorded
        chain = () if base is None else _chain_of(uow, caller, base, services.blocks.store)
        mine = Upload(id=delta.id, kind=UploadKind.SESSION, process=services.blocks.process)
        bases = [each.name for each in chain[:1]]
        uploads.begin(uow, caller, image.id, mine, at=now, bases=bases, expires_at=delta.expires_at)
        uow.deltas.add(delta)
        recorded = True

    # The journal first: whatever comes for a pin finds it.
    await services.blocks.deltas.begin(delta)
    try:
        await to_its_end(services.database.write(record))
    except (CatalogError, BlockstoreError):
        # What fails after that may be committed in spite of it: then the journal is the pin's, else gc's.
        if not recorded:
            uploads.forget(services, delta.id)
        raise
    return delta


async def take(services: Services, named: Named, parts_of: Callable[[Delta], AsyncGenerator[Part, None]]) -> None:
    """Take one request's blocks in, durable when this returns; `parts_of` is asked for them once they may come.

    Raises NotFound, Forbidden, Gone (it ended meanwhile), LimitExceeded, and the block store's errors.
    """
    delta = await _touched(services, named)

    async def locate(image_id: str) -> Sequence[StoredManifest]:
        return await services.database.read(
            lambda uow: readable_chain(uow, named.caller, image_id, services.blocks.store)
        )

    try:
        async with aclosing(parts_of(delta)) as parts:
            await services.blocks.deltas.take(delta, parts, locate)
    except Missing:
        if await services.database.read(lambda uow: uow.deltas.get(delta.id)) is None:
            raise _ended(named) from None
        raise
    if not await services.database.write(lambda uow: _renew(services, uow, delta, acknowledged=True)):
        raise _ended(named)


async def show(services: Services, named: Named, *, start: int, most: int) -> tuple[Delta, ArrivedBlocks]:
    """The upload, and what has arrived from number `start` on. Raises NotFound, Forbidden."""
    delta = await _touched(services, named)
    return delta, await services.blocks.deltas.arrived(delta, start=start, most=most)


async def of_image(services: Services, caller: Caller, image_id: str) -> Sequence[Delta]:
    """The delta upload under way, if there is one. Raises NotFound, Forbidden."""

    def find(uow: UnitOfWork) -> Sequence[Delta]:
        image = load_modifiable(uow, caller, image_id)
        found = None if image.upload is None else uow.deltas.get(image.upload.id)
        return () if found is None else (found,)

    return await services.database.read(find)


async def commit(services: Services, named: Named, *, expected: int | None, request_id: str | None = None) -> Image:
    """Make the image of what has arrived: saving → active; again gives the image as it is.

    `expected`: how many blocks have arrived as far as the client knows. Raises NotFound, Forbidden, BlocksMissing,
    Conflict (blocks keep arriving), Gone, and the block store's errors.
    """
    by = Requester(named.caller.user, request_id)
    lost: Missing | None = None
    for _ in range(TRIES):
        image, delta, chain = await services.database.read(lambda uow: _to_commit(services, uow, named))
        if delta is None:
            return image
        # Whether it still lives on is for the transaction to say that commits, also whether it is committed by now.
        await _live_on(services, delta)
        try:
            written = await services.blocks.deltas.build(delta, chain, expected=expected)
        except Missing as error:
            # Another request may have committed it, or given it up, and the journal went: look again.
            lost = error
            continue
        await _live_on(services, delta)
        found = await to_its_end(_commit(services, delta, written, by))
        if found is not None:
            return found
    # With `lost` it is under way all the same, so something is missing indeed.
    raise lost or Conflict("Blocks keep arriving: wait for the answers to all PUTs, then commit again.")


async def give_up(services: Services, named: Named) -> None:
    """End the upload: saving → queued. Raises NotFound, Forbidden."""

    def abandon(uow: UnitOfWork) -> None:
        delta = _session(services, uow, named)
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


async def _block_size(services: Services, caller: Caller, image: Image, base: str | None, wished: int | None) -> int:
    try:
        if wished is not None:
            Cutting(CutKind.FIXED, wished)
    except CuttingRefused as refused:
        raise Invalid(f"Invalid block_size {wished}: {refused}") from None
    if base is None:
        usual = cutting_of(image, services.block_size)
        return wished or (usual.size if usual.is_fixed else services.block_size)
    chain = await services.database.read(lambda uow: _chain_of(uow, caller, base, services.blocks.store))
    try:
        reader = await services.blocks.open_blocks(chain)
    except (Damaged, Missing):
        raise _no_base(base) from None
    try:
        is_fixed, theirs = reader.is_fixed, reader.block_size
    finally:
        reader.close()
    if not is_fixed:
        raise Invalid(f"Image {base} is cut by content and can be no base: begin without one.")
    if wished not in {None, theirs}:
        raise Conflict(f"Image {base} has blocks of {theirs} bytes: so has what is made over it, or begin without it.")
    return theirs


def _chain_of(uow: UnitOfWork, caller: Caller, base: str, store: str) -> Sequence[StoredManifest]:
    chain = readable_chain(uow, caller, base, store)
    if not chain:
        raise _no_base(base)
    return chain


def _no_base(base: str) -> Invalid:
    return Invalid(f"Base {base[:80]!r} is no image whose data you may download; name another one, or none.")


def _session(services: Services, uow: UnitOfWork, named: Named) -> Delta:
    """The upload, if it is under way and the caller may change its image; one that has expired is none."""
    image = load_modifiable(uow, named.caller, named.image_id)
    delta = uow.deltas.get(named.upload_id)
    if delta is None or not image.is_saving(delta.id) or delta.expires_at <= services.clock():
        raise NotFound(f"Image {image.id} has no delta upload {named.upload_id[:80]} under way.")
    return delta


async def _touched(services: Services, named: Named) -> Delta:
    """The upload, which lives on from now."""
    delta = await services.database.read(lambda uow: _session(services, uow, named))
    if not await _live_on(services, delta):
        raise _ended(named)
    return delta


async def _live_on(services: Services, delta: Delta) -> bool:
    """Begin the upload's time anew; False when it has ended."""
    # A hundredth of its time is not worth a transaction.
    lately = services.clock() + timedelta(seconds=0.99 * services.delta_expiry)
    renew = partial(_renew, services, delta=delta, acknowledged=False)
    return delta.expires_at >= lately or await services.database.write(renew)


def _renew(services: Services, uow: UnitOfWork, delta: Delta, *, acknowledged: bool) -> bool:
    until = services.clock() + timedelta(seconds=services.delta_expiry)
    return uow.deltas.renew(delta.id, expires_at=until, acknowledged=acknowledged)


def _to_commit(
    services: Services, uow: UnitOfWork, named: Named
) -> tuple[Image, Delta | None, Sequence[StoredManifest]]:
    """The image, with the upload and the chain that its pin holds; without them when it is committed."""
    image = load_modifiable(uow, named.caller, named.image_id)
    if image.was_saved(named.upload_id):
        return image, None, ()
    delta = _session(services, uow, named)
    bases = uow.pins.bases(delta.id)
    return image, delta, uow.manifests.chain(bases[0]) if bases else ()


async def _commit(services: Services, delta: Delta, written: Written, by: Requester) -> Image | None:
    """The image, or None when more has arrived than was seen; a manifest that is not the image's goes."""
    work = uploads.Commit(delta.image_id, delta.id, written, services.blocks.store, services.hashing, by)

    def settle(uow: UnitOfWork) -> Image | None:
        now = uow.deltas.get(delta.id)
        if now is not None and now.requests != delta.requests:
            return None
        return uploads.commit(uow, work, at=services.clock())

    # After an exception it may be the image's all the same, committed in spite of it: then it is left to gc.
    image = await services.database.write(settle)
    if image is not None and any(each.manifest == written.manifest for each in image.locations):
        services.on_upload(written)
        services.bell.ring()
    else:
        services.blocks.forget_manifest(written.manifest)
    if image is not None:
        uploads.forget(services, delta.id)
    return image


def _ended(named: Named) -> Gone:
    return Gone(f"The delta upload {named.upload_id} ended while blocks came: look at image {named.image_id}.")
