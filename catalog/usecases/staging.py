"""Staging: bytes that an import is to make an image's, in the block store at once and under a pin.

An upload in all but its end, which makes nothing visible: its pin is made again as one that holds the manifest.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from blockstore import names
from catalog.blocking import to_its_end
from catalog.cutting import cutting_of
from catalog.model.errors import Gone
from catalog.model.image import CHECKSUM, Upload
from catalog.model.pin import UploadKind
from catalog.model.staged import Staged
from catalog.usecases import uploads
from catalog.usecases.access import load_modifiable
from catalog.usecases.bases import base_of
from catalog.usecases.coalescing import let_go
from catalog.usecases.image_data import give_up
from catalog.usecases.metering import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import Source, StoredManifest, UnitOfWork, Written
    from catalog.usecases.services import Services
    from chunker.cutting import Cutting

log = logging.getLogger(__name__)


async def stage(services: Services, caller: Caller, image_id: str, source: Source, *, expected: int | None) -> None:
    """Take bytes in for an import: queued → uploading. `expected` is their number, if the sender announced it.

    The image's formats need not be set yet. Raises NotFound, Forbidden, Conflict (not queued), Invalid (cutting),
    LimitExceeded, QuotaExceeded, SizeMismatch, Gone (deleted meanwhile), the source's errors, and the block store's.
    After any of them, and after a cancellation, the image is queued again as if nothing had been sent.
    """
    mine = Upload(id=names.new_name().hex(), kind=UploadKind.STREAM, process=services.blocks.process)
    meter = Meter(services, mine.id, expected)

    def begin(uow: UnitOfWork) -> tuple[Cutting, Sequence[StoredManifest]]:
        base = base_of(uow, caller, load_modifiable(uow, caller, image_id), services.blocks.store)
        bases = [each.name for each in base[:1]]
        now = services.clock()
        image = uploads.begin(uow, caller, image_id, mine, at=now, bases=bases, admit=meter.admit, staging=True)
        return cutting_of(image, services.block_size), base

    async def take_in() -> None:
        cutting, base = await services.database.write(begin)
        async with meter.metered(source) as coming:
            written = await services.blocks.write(
                mine.id, coming, expected=expected, cutting=cutting, base=base, hashes=hashes_of(services)
            )
        await uploads.settled(services, written, partial(_end, services, image_id=image_id, mine=mine, written=written))
        services.on_upload(written)

    services.running.add(mine.id)
    try:
        await take_in()
    except BaseException:
        await to_its_end(give_up(services, image_id, mine))
        raise
    finally:
        services.running.discard(mine.id)
    # The manifest holds the blocks now.
    uploads.forget(services, mine.id)


def hashes_of(services: Services) -> Sequence[str]:
    """The algorithms by which bytes are hashed on their way in."""
    return () if services.hashes_later else tuple(dict.fromkeys((services.hashing, CHECKSUM)))


def _end(services: Services, uow: UnitOfWork, image_id: str, mine: Upload, written: Written) -> None:
    """All has come: it is the session's that waits for the import."""
    image = uow.images.get(image_id.lower())
    if image is None:
        raise Gone(f"Image {image_id} was deleted while its data was uploaded.")
    now = services.clock()
    before = image.status
    image.be_staged(replace(mine, kind=UploadKind.SESSION), written.size, at=now)
    uow.images.save(image, expect=before, upload=mine.id)
    until = now + timedelta(seconds=services.staging_expiry)
    keep(uow, image, mine.id, written, hashing=services.hashing, at=now, until=until)


def keep(
    uow: UnitOfWork, image: Image, pin_id: str, written: Written, *, hashing: str, at: datetime, until: datetime | None
) -> Staged:
    """The pin that kept blocks is made again, as one that holds what was written of them; gives the record of that.

    With an end (`until`) it is a session's; without, it stays whose it is. Raises Gone when it or the base is gone.
    """
    bases = uow.pins.bases(pin_id)
    pin = next((each for each in uow.pins.of_image(image.id) if each.id == pin_id), None)
    if pin is None or not uow.pins.remove(pin_id):
        raise Gone(f"The data for image {image.id} took too long, or was given up, and is gone; send it again.")
    uploads.add_manifest(uow, written)
    kind = pin.kind if until is None else UploadKind.SESSION
    uow.pins.add(replace(pin, kind=kind, expires_at=until, reserved=written.size), bases=[written.manifest])
    for base in bases:
        let_go(uow, base, at=at)
    staged = Staged(
        id=pin_id,
        image_id=image.id,
        manifest=written.manifest,
        size=written.size,
        os_hash_algo=hashing,
        os_hash_value=written.hashes.get(hashing),
        checksum=written.hashes.get(CHECKSUM),
        changed_size=written.changed_bytes,
    )
    uow.staged.add(staged)
    return staged


async def end_expired(services: Services) -> int:
    """Let go of what nobody has imported in time; how many images are queued again."""
    now = services.clock()

    def end(uow: UnitOfWork, old: Staged) -> bool:
        # Asked for again: an import may have it by now.
        still = any(each.id == old.id for each in uow.staged.expired(now))
        return still and uploads.abandon(uow, old.image_id, old.id, at=now)

    count = 0
    for old in await services.database.read(lambda uow: uow.staged.expired(now)):
        if await services.database.write(partial(end, old=old)):
            log.info("image %s is queued again: nobody has imported what was staged for it", old.image_id)
            count += 1
    return count
