"""The commit of a delta upload: the manifest of what has arrived is built, and is then committed as any upload's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blockstore.errors import Missing
from catalog import policy
from catalog.blocking import to_its_end
from catalog.formats.rules import Said
from catalog.model.errors import Conflict, FormatRefused, NotFound
from catalog.model.task import Requester
from catalog.usecases import format_checks, uploads
from catalog.usecases.access import load_modifiable
from catalog.usecases.bases import tells_change
from catalog.usecases.deltas import give_up, live_on, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.delta import Delta
    from catalog.model.image import Image
    from catalog.model.manifest import StoredManifest
    from catalog.ports import UnitOfWork, Written
    from catalog.usecases.deltas import Named
    from catalog.usecases.services import Services

TRIES: Final = 3
"""Times that a commit is made again because blocks arrived meanwhile."""


async def commit(services: Services, named: Named, *, expected: int | None, request_id: str | None = None) -> Image:
    """Make the image of what has arrived: saving → active; again gives the image as it is.

    `expected`: how many blocks have arrived as far as the client knows. Raises NotFound, Forbidden, BlocksMissing,
    Conflict (blocks keep arriving), Gone, FormatRefused (then the upload is given up), and the block store's errors.
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
        said = Said.of(image)
        try:
            content = await format_checks.check(services, said, uploads.chain_of(written, chain))
        except BaseException as error:
            await _let_go(services, named, written, ends=isinstance(error, FormatRefused))
            raise
        size = said.disk_size(content, written.size)
        found = await to_its_end(_commit(services, named.caller, delta, written, by, size))
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


async def _let_go(services: Services, named: Named, written: Written, *, ends: bool) -> None:
    """A manifest that is not committed goes; with `ends` its upload, too: what it has is not to be had."""
    uploads.drop_written(services, written)
    if ends:
        # Another commit may have come to the same end.
        with suppress(NotFound):
            await to_its_end(give_up(services, named))


async def _commit(
    services: Services, caller: Caller, delta: Delta, written: Written, by: Requester, virtual_size: int | None
) -> Image | None:
    """The image, or None when more has arrived than was seen; a manifest that is not the image's goes."""
    work = uploads.Commit(delta.image_id, delta.id, written, services.blocks.store, services.hashing, by, virtual_size)

    def settle(uow: UnitOfWork) -> Image | None:
        now = uow.deltas.get(delta.id)
        if now is not None and not delta.has_seen(now):
            return None
        image = uow.images.get(delta.image_id)
        told = image is not None and tells_change(uow, caller, image, delta.base_image)
        return uploads.commit(uow, replace(work, tells_change=told), at=services.clock())

    image = await uploads.settled(services, written, settle)
    if image is not None and any(each.manifest == written.manifest for each in image.locations):
        services.on_upload(written)
        services.bell.ring()
    else:
        uploads.discard(services, written)
    if image is not None:
        uploads.forget(services, delta.id)
    return image
