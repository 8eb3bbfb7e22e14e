"""Where an import's bytes come from, and how they come into our blocks: staged under a pin of the job's.

The pin is recorded before the first byte, and made again as one that holds the manifest in the transaction that records
it: so a try that finds something staged fetches nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from blockstore import names
from catalog.cutting import cutting_of
from catalog.formats.rules import Said
from catalog.jobs import steps
from catalog.jobs.converting import converted_image
from catalog.jobs.counting import Counted, report_copied
from catalog.jobs.foreign import check_hash, from_other_service, take_over
from catalog.model.errors import SourceLost, SourceRefused
from catalog.model.image import CHECKSUM
from catalog.model.importing import CONVERT, Method, Plan, Ready
from catalog.model.job import JobFailed
from catalog.model.pin import Pin, UploadKind
from catalog.usecases import format_checks, import_steps, staging, uploads
from catalog.usecases.metering import Meter
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.model.foreign_image import ForeignImage
    from catalog.model.image import Image
    from catalog.model.staged import Staged
    from catalog.ports import Source, UnitOfWork, Written
    from catalog.usecases.import_steps import Found
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class Coming:
    """Bytes that are to be staged; `size` in bytes, None where nobody knows it. `told`: what comes along with them.

    `replaces` is what was staged before, of which they were made, and then `disk_format` what they are.
    """

    source: Source
    size: int | None
    told: ForeignImage | None = None
    replaces: Staged | None = None
    disk_format: str | None = None


async def fetched(context: JobContext) -> Found:
    """Have the bytes of the task's method staged; how the import stands then.

    Raises AddressRefused, FormatRefused, QuotaExceeded, LimitExceeded, the source's errors and the block store's.
    """
    return await taken_in(context, _source(context))


async def taken_in(context: JobContext, opening: AbstractAsyncContextManager[Coming]) -> Found:
    """Have these bytes staged, in one transaction in the place of what they replace. Raises as `fetched` does."""
    services, task = context.services, context.task
    pin_id = names.new_name().hex()
    plan = Plan.of(task)
    copies = plan.copies
    async with opening as coming:
        told, before = coming.told, coming.replaces
        meter = Meter(services, pin_id, _more(services, coming))

        def begin(uow: UnitOfWork, _at: datetime) -> Image:
            image = import_steps.importing_image(uow, task)
            # What is copied counts already.
            uow.pins.add(_pin(context, image, pin_id, reserved=0 if copies else meter.admit(uow, image)))
            take_over(services, image, told)
            image.disk_format = coming.disk_format or image.disk_format
            return image

        image = await context.change(begin)
        known = _known_hashes(image) if copies else {}
        # What is yet to be unpacked, or was made here, is looked at afterwards.
        unseen = copies or plan.decompress or before is not None
        try:
            async with meter.metered(coming.source) as source:
                watched = None if unseen else format_checks.watched(services, Said.of(image), source)
                written = await services.blocks.write(
                    pin_id,
                    watched or source,
                    expected=coming.size,
                    cutting=cutting_of(image, services.block_size),
                    hashes=tuple(known) if copies else staging.hashes_of(services),
                )
            _require_same(services, image, written, known)

            def keep(uow: UnitOfWork, at: datetime) -> None:
                image = import_steps.importing_image(uow, task)
                if told is not None:
                    check_hash(told, written.hashes)
                    take_over(services, image, told)
                    image.be_changed(at=at)
                    uow.images.save(image, expect=image.status)
                if before is not None:
                    import_steps.replace_staged(uow, task, before, Ready(pin_id, coming.disk_format or ""), at=at)
                staging.keep(uow, image, pin_id, written, hashing=services.hashing, at=at, until=None)

            now = services.clock()
            await uploads.settled(services, written, lambda uow: steps.change(uow, context.claim, keep, at=now))
        finally:
            uploads.forget(services, pin_id)
    services.on_upload(written)
    return await services.database.read(lambda uow: import_steps.look(uow, task))


def _more(services: Services, coming: Coming) -> int | None:
    """What of it is to be reserved: all, or how much longer it is than what it replaces. Raises LimitExceeded."""
    if coming.size is None:
        return None
    services.limits.check_size(coming.size)
    return coming.size if coming.replaces is None else max(0, coming.size - coming.replaces.size)


def _known_hashes(image: Image) -> Mapping[str, str]:
    """What the bytes of an image that has some must be, as far as anybody knows: one is enough."""
    if image.os_hash_algo is not None and image.os_hash_value is not None:
        return {image.os_hash_algo: image.os_hash_value}
    return {} if image.checksum is None else {CHECKSUM: image.checksum}


def _require_same(services: Services, image: Image, written: Written, known: Mapping[str, str]) -> None:
    """Our blocks are what other copies are checked by: never of a rotten one. Raises JobFailed, and lets them go."""
    if all(written.hashes[name] == value for name, value in known.items()):
        return
    uploads.drop_written(services, written)
    raise JobFailed(f"What image {image.id} was read from holds other bytes than its hash says: nothing was copied.")


def _pin(context: JobContext, image: Image, pin_id: str, *, reserved: int) -> Pin:
    return Pin(
        id=pin_id,
        owner=image.owner,
        kind=UploadKind.JOB,
        image_id=image.id,
        process=context.services.blocks.process,
        upload_id=context.task.id,
        reserved=reserved,
    )


def _source(context: JobContext) -> AbstractAsyncContextManager[Coming]:
    """What the task's method reads, open."""
    method = Plan.of(context.task).method
    if method["name"] == Method.WEB_DOWNLOAD:
        return _from_web(context, method["uri"])
    if method["name"] == Method.GLANCE_DOWNLOAD:
        return _from_other_service(context, method)
    if method["name"] == CONVERT:
        return _converted(context)
    return _from_image(context)


@asynccontextmanager
async def _from_other_service(context: JobContext, method: Mapping[str, str]) -> AsyncGenerator[Coming, None]:
    async with from_other_service(context, method) as (source, size):
        yield Coming(source, size, told=source.told)


@asynccontextmanager
async def _converted(context: JobContext) -> AsyncGenerator[Coming, None]:
    async with converted_image(context) as source:
        yield Coming(source, source.size)


@asynccontextmanager
async def _from_web(context: JobContext, url: str) -> AsyncGenerator[Coming, None]:
    outgoing, cap = context.services.outgoing, context.services.limits.image_size_cap
    try:
        remote = await outgoing.open(url, limit=cap)
    except SourceLost as error:
        # It was tried several times, and nothing came.
        raise JobFailed(str(error)) from error

    remote.on_progress = partial(report_copied, context)
    try:
        yield Coming(remote, remote.size)
    except SourceRefused as error:
        raise JobFailed(str(error)) from error
    finally:
        remote.close()


@asynccontextmanager
async def _from_image(context: JobContext) -> AsyncGenerator[Coming, None]:
    """The image's own bytes, wherever they can be read."""
    async with own_bytes(context) as reader:
        pieces = reader.read(0, reader.size)
        try:
            yield Coming(_Pieces(pieces), reader.size)
        finally:
            await pieces.aclose()


@asynccontextmanager
async def own_bytes(context: JobContext) -> AsyncGenerator[Counted, None]:
    """The bytes of the image that the task is on, open."""
    task = context.task
    _, reader = await open_image(context.services, lambda uow: import_steps.importing_image(uow, task))
    try:
        yield Counted(context, reader)
    finally:
        reader.close()


class _Pieces:
    """`catalog.ports.Source` of pieces as they come."""

    def __init__(self, pieces: AsyncIterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    async def read_into(self, room: memoryview) -> int:
        """The next bytes."""
        while not self._left:
            piece = await anext(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        taken = min(len(room), len(self._left))
        room[:taken] = self._left[:taken]
        self._left = self._left[taken:]
        return taken
