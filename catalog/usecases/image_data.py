"""An image's bytes: take them in, give them out, and tidy up after a process that died in between."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from blockstore import names
from blockstore.errors import BlockstoreError
from catalog import location_policy, policy
from catalog.blocking import to_its_end
from catalog.cutting import cutting_of
from catalog.formats.rules import Said
from catalog.model.errors import CatalogError, Forbidden, NoData
from catalog.model.image import CHECKSUM, Status, Upload, canonical_id
from catalog.model.pin import UploadKind
from catalog.model.task import Requester
from catalog.usecases import format_checks, uploads
from catalog.usecases.access import load_modifiable, load_visible
from catalog.usecases.bases import base_of, our_manifests
from catalog.usecases.copying import copy_into, drop
from catalog.usecases.metering import Meter
from catalog.usecases.named_stores import check_preferred, target_of
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from blockstore.stored_span import StoredSpan
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.ports import Source, StoredManifest, UnitOfWork
    from catalog.stores.failover import FailoverReader
    from catalog.usecases.services import Services
    from chunker.cutting import Cutting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Download:
    """An image and its bytes, open for reading; close it when done. `size` in bytes."""

    image: Image
    size: int
    reader: FailoverReader

    @property
    def has_stored(self) -> bool:
        """Whether it is read from where it lies as frames."""
        return self.reader.has_stored

    def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """The bytes from `start` up to `stop`, in pieces of about 1 MiB, each verified, and valid until the next."""
        return self.reader.read(start, stop)

    def read_stored(self) -> AsyncIterator[StoredSpan]:
        """The whole image as zstd frames, as they are stored, where it has such; spans as the pieces of `read`."""
        return self.reader.read_stored()

    def close(self) -> None:
        """Give back what reading holds; may be called again."""
        self.reader.close()


async def upload(
    services: Services,
    caller: Caller,
    image_id: str,
    source: Source,
    *,
    expected: int | None,
    request_id: str | None = None,
    store: str | None = None,
) -> Image:
    """Take an image's bytes in: queued → saving → active. `expected` is their number, if the sender announced it.

    They are to lie in `store`, or in the default one. All of them go through our blocks, and are copied from there.

    What the image's parent has at the same place is inherited from it, if the caller may read it (`bases.py`).
    Without its hashes when `services.hashes_later`: a task then adds them, which bears `request_id`.
    Raises NotFound, Forbidden, Conflict (not queued), Invalid (formats, cutting or store), LimitExceeded,
    QuotaExceeded, SizeMismatch, FormatRefused, Gone (deleted meanwhile), StoreDown, StoreFull, StoreReadOnly, the
    source's errors, and the block store's. After any of them, and after a cancellation, the image is queued again as if
    nothing had been sent.
    """
    mine = Upload(id=names.new_name().hex(), kind=UploadKind.STREAM, process=services.blocks.process)
    target = target_of(services, store)
    meter = Meter(services, mine.id, expected)

    def begin(uow: UnitOfWork) -> tuple[Said, Cutting, Sequence[StoredManifest]]:
        base = base_of(uow, caller, load_modifiable(uow, caller, image_id, policy.may_upload), services.blocks.store)
        bases = [each.name for each in base[:1]]
        image = uploads.begin(uow, caller, image_id, mine, at=services.clock(), bases=bases, admit=meter.admit)
        return Said.of(image), cutting_of(image, services.block_size), base

    async def take_in() -> Image:
        said, cutting, base = await services.database.write(begin)
        async with meter.metered(source) as coming:
            watched = format_checks.watched(services, said, coming)
            written = await services.blocks.write(
                mine.id,
                watched or coming,
                expected=expected,
                cutting=cutting,
                base=base,
                hashes=() if services.hashes_later else tuple(dict.fromkeys((services.hashing, CHECKSUM))),
            )
        by = Requester(caller.user, request_id)
        size = said.disk_size(watched.finding if watched is not None else None, written.size)
        work = uploads.Commit(image_id, mine.id, written, services.blocks.store, services.hashing, by, size)
        if target is None:
            image = await uploads.settled(services, written, lambda uow: uploads.commit(uow, work, at=services.clock()))
        else:
            image = await _settled_in(services, target.info.name, work, uploads.chain_of(written, base))
        services.on_upload(written)
        return image

    services.running.add(mine.id)
    try:
        image = await take_in()
    except BaseException:
        await to_its_end(give_up(services, image_id, mine))
        raise
    finally:
        services.running.discard(mine.id)
    uploads.forget(services, mine.id)
    services.bell.ring()
    return image


async def _settled_in(services: Services, store: str, work: uploads.Commit, chain: Sequence[StoredManifest]) -> Image:
    """Copy what was written into a store, and make it the image's only place, with the commit."""
    written = work.written
    try:
        reader = await services.blocks.open(chain)
        try:
            copy = await copy_into(
                services, store, work.image_id, reader, holder=work.upload_id, process=services.blocks.process
            )
        finally:
            reader.close()
    except BaseException:
        uploads.drop_written(services, written)
        raise
    there = replace(work, copies=(copy,), in_blocks=False)
    try:
        image = await uploads.settled(services, written, lambda uow: uploads.commit(uow, there, at=services.clock()))
    except BaseException:
        await drop(services, [copy])
        raise
    uploads.discard(services, written)
    return image


async def download(services: Services, caller: Caller, image_id: str, *, prefer: Sequence[str] = ()) -> Download:
    """Open an image's bytes, from the stores of `prefer` first.

    Raises NotFound, Forbidden, NoData while there are none, Invalid (a store that is unknown), and what
    `reading.open_image` does.
    """
    check_preferred(services, prefer)

    def load(uow: UnitOfWork) -> Image:
        image = readable_image(uow, caller, image_id)
        if prefer and not location_policy.may_prefer(caller, image):
            raise Forbidden(f"You are not permitted to choose the store that image {image_id} is read from.")
        return image

    image, reader = await open_image(services, load, prefer)
    return Download(image=image, size=reader.size, reader=reader)


def readable(uow: UnitOfWork, caller: Caller, image_id: str, store: str) -> tuple[Image, Sequence[StoredManifest]]:
    """An image whose bytes the caller may have now, and its chain. Raises as `readable_image`, and NoBlocks."""
    image = readable_image(uow, caller, image_id)
    return image, our_manifests(uow, image, store)


def readable_image(uow: UnitOfWork, caller: Caller, image_id: str) -> Image:
    """An image whose bytes the caller may have now. Raises NotFound, Forbidden, NoData."""
    image = load_visible(uow, caller, image_id)
    if not policy.may_download(caller, image):
        asleep = " It is deactivated: until it is reactivated, only admins are."
        raise Forbidden(
            f"You are not permitted to download image {image_id}.{asleep if image.status is Status.DEACTIVATED else ''}"
        )
    if not image.has_bytes:
        raise NoData(f"Image {image_id} is {image.status.value} and has no data yet.")
    return image


async def requeue_orphans(services: Services) -> int:
    """Queue again what streams of dead processes, or of this one but no longer running, left behind; how many."""
    count = 0
    for image_id, left in await services.database.read(lambda uow: uow.images.streams()):
        if _is_being_written(services, left):
            continue
        if await _abandon(services, image_id, left):
            count += 1
            log.info("image %s is queued again: nobody writes its upload %s any more", image_id, left.id)
    return count


async def give_up(services: Services, image_id: str, mine: Upload) -> None:
    """An upload failed: its image is queued again, now or by the next sweep. One that was committed stays."""
    try:
        await _abandon(services, image_id, mine)
    except (CatalogError, BlockstoreError) as error:
        log.warning("image %s stays as it is until the next sweep: %s", image_id, error)


async def _abandon(services: Services, image_id: str, left: Upload) -> bool:
    def abandon(uow: UnitOfWork) -> bool:
        image = uow.images.get(canonical_id(image_id))
        # What was staged is a session's by now, with the same id: it waits for its import though its writer is gone.
        if image is not None and image.is_taking(left.id) and image.upload != left:
            return False
        return uploads.abandon(uow, image_id, left.id, at=services.clock())

    requeued = await services.database.write(abandon)
    uploads.forget(services, left.id)
    return requeued


def _is_being_written(services: Services, left: Upload) -> bool:
    if left.process == services.blocks.process:
        return left.id in services.running
    return services.blocks.is_alive(left.process)
