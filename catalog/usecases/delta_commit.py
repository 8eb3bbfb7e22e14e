"""The commit of a delta upload: the manifest of what has arrived is built, and is then committed as any upload's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blockstore.errors import Missing
from catalog import policy
from catalog.blocking import to_its_end
from catalog.model.errors import Conflict
from catalog.model.task import Requester
from catalog.usecases import uploads
from catalog.usecases.access import load_modifiable
from catalog.usecases.deltas import live_on, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.delta import Delta
    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork, Written
    from catalog.usecases.deltas import Named
    from catalog.usecases.services import Services

TRIES: Final = 3
"""Times that a commit is made again because blocks arrived meanwhile."""


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
        await live_on(services, delta)
        try:
            written = await services.blocks.deltas.build(delta, chain, expected=expected)
        except Missing as error:
            # Another request may have committed it, or given it up, and the journal went: look again.
            lost = error
            continue
        found = await to_its_end(_commit(services, delta, written, by))
        if found is not None:
            return found
        await live_on(services, delta)
    # With `lost` it is under way all the same, so something is missing indeed.
    raise lost or Conflict("Blocks keep arriving: wait for the answers to all PUTs, then commit again.")


def _to_commit(
    services: Services, uow: UnitOfWork, named: Named
) -> tuple[Image, Delta | None, Sequence[StoredManifest]]:
    """The image, with the upload and the chain that its pin holds; without them when it is committed."""
    image = load_modifiable(uow, named.caller, named.image_id, policy.may_upload)
    if image.was_saved(named.upload_id):
        return image, None, ()
    delta = session_of(services, uow, named)
    bases = uow.pins.bases(delta.id)
    return image, delta, uow.manifests.chain(bases[0]) if bases else ()


async def _commit(services: Services, delta: Delta, written: Written, by: Requester) -> Image | None:
    """The image, or None when more has arrived than was seen; a manifest that is not the image's goes."""
    work = uploads.Commit(delta.image_id, delta.id, written, services.blocks.store, services.hashing, by)

    def settle(uow: UnitOfWork) -> Image | None:
        now = uow.deltas.get(delta.id)
        if now is not None and not delta.has_seen(now):
            return None
        return uploads.commit(uow, work, at=services.clock())

    image = await uploads.settled(services, written, settle)
    if image is not None and any(each.manifest == written.manifest for each in image.locations):
        services.on_upload(written)
        services.bell.ring()
    else:
        uploads.discard(services, written)
    if image is not None:
        uploads.forget(services, delta.id)
    return image
