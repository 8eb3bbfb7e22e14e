"""The beginning of a delta upload: its size and block size, its base, journal, pin and record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from blockstore import names
from blockstore.errors import BlockstoreError, Damaged, Missing
from blockstore.session_journal import MOST_BLOCKS
from catalog import policy
from catalog.blocking import to_its_end
from catalog.cutting import cutting_of
from catalog.model.delta import Delta
from catalog.model.errors import CatalogError, Conflict, Invalid, LimitExceeded
from catalog.model.image import Status, Upload, canonical_id
from catalog.model.pin import UploadKind
from catalog.usecases import quotas, uploads
from catalog.usecases.access import find_visible, load_modifiable
from catalog.usecases.bases import our_manifests, readable_chain
from catalog.usecases.opening import opened
from chunker.cutting import CutKind, Cutting, CuttingRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.services import Services


async def begin(
    services: Services, caller: Caller, image_id: str, *, size: int, base: str | None, block_size: int | None
) -> Delta:
    """Begin a delta upload of `size` bytes over the image `base`: queued → saving.

    Raises NotFound, Forbidden, Conflict (not queued, or the base has other blocks), Invalid (the base, the block size,
    formats unset), LimitExceeded, QuotaExceeded.
    """
    image = await services.database.read(lambda uow: load_modifiable(uow, caller, image_id, policy.may_upload))
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

        def admit(uow: UnitOfWork, image: Image) -> int:
            return quotas.admit(services, uow, image.owner, size)

        uploads.begin(uow, caller, image.id, mine, at=now, bases=bases, expires_at=delta.expires_at, admit=admit)
        uow.deltas.add(delta)
        recorded = True

    # The journal first: whatever comes for a pin finds it.
    hold = await services.blocks.deltas.begin(delta)
    try:
        await to_its_end(services.database.write(record))
    except (CatalogError, BlockstoreError):
        # What fails after that may be committed in spite of it: then the journal is the pin's, else gc's.
        if not recorded:
            uploads.forget(services, delta.id)
        raise
    finally:
        hold.release()
    return delta


async def _block_size(services: Services, caller: Caller, image: Image, base: str | None, wished: int | None) -> int:
    try:
        if wished is not None:
            Cutting(CutKind.FIXED, wished)
    except CuttingRefused as refused:
        raise Invalid(f"Invalid block_size {wished}: {refused}") from None
    if base is None:
        usual = cutting_of(image, services.block_size)
        return wished or (usual.size if usual.is_fixed else services.block_size)

    def locate(uow: UnitOfWork) -> tuple[Image, Sequence[StoredManifest]]:
        return image, _chain_of(uow, caller, base, services.blocks.store)

    try:
        _, reader = await opened(services, locate, services.blocks.open_blocks)
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
        image = find_visible(uow, caller, base)
        if image is not None and image.status is Status.ACTIVE and policy.may_download(caller, image):
            # Says where it should lie.
            our_manifests(uow, image, store)
        raise _no_base(base)
    return chain


def _no_base(base: str) -> Invalid:
    return Invalid(f"Base {base[:80]!r} is no image whose data you may download; name another one, or none.")
