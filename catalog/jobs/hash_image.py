"""The job `hash`: an image's checksum and hash, for an upload that did not compute them on its way.

A hash's state cannot be kept, so a job that was interrupted starts over.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.blocking import to_its_end
from catalog.jobs.hash_of_parent import parents_hashes
from catalog.jobs.steps import Done
from catalog.jobs.subjects import with_bytes
from catalog.model.image import CHECKSUM
from catalog.model.job import JobCancelled
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from catalog.jobs.context import JobContext
    from catalog.jobs.steps import Effect
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services

_MIB: Final = 1 << 20


async def hash_image(context: JobContext) -> Effect:
    """Hash the image on the shared threads, unless it has its parent's bytes; set that if it still has these bytes."""
    services = context.services
    image_id = context.task.image_id or ""

    image = await services.database.read(lambda uow: with_bytes(uow, image_id))
    found = await parents_hashes(services, image, _algorithm(services, image))
    if found is None:
        image, reader = await open_image(services, lambda uow: with_bytes(uow, image_id))
        try:
            found = await hashes_of(context, reader, tuple(dict.fromkeys((_algorithm(services, image), CHECKSUM))))
        finally:
            reader.close()
    hashes, algorithm = found, _algorithm(services, image)

    def effect(uow: UnitOfWork, at: datetime) -> Done:
        now = with_bytes(uow, image_id)
        if now.upload != image.upload:
            raise JobCancelled("the image has other data now.")
        now.be_hashed(checksum=hashes[CHECKSUM], algorithm=algorithm, value=hashes[algorithm], at=at)
        uow.images.save(now, expect=now.status)
        # Not how: whether it is as its parent is not for everybody who sees its tasks, see "Increments" in README.md.
        return Done(f"Hashed {_mib(image.size or 0)} MiB.", {"image_id": image_id})

    return effect


def _algorithm(services: Services, image: Image) -> str:
    """The one that the upload announced, whatever the setting is now."""
    return image.os_hash_algo or services.hashing


async def hashes_of(context: JobContext, reader: CopyReader, algorithms: Sequence[str]) -> Mapping[str, str]:
    """The hex digests of all the reader's bytes; the reader reads a few pieces ahead meanwhile, no more."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    done = 0
    pieces = reader.read(0, reader.size)
    try:
        async for piece in pieces:
            await _update(context, [partial(digest.update, piece) for digest in digests.values()])
            done += len(piece)
            context.report(done, reader.size, f"Hashed {_mib(done)} of {_mib(reader.size)} MiB.")
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    return {name: digest.hexdigest() for name, digest in digests.items()}


async def _update(context: JobContext, updates: Sequence[partial[None]]) -> None:
    """One piece into each hash, side by side."""
    hashing = asyncio.gather(*map(context.services.blocks.compute, updates), return_exceptions=True)
    # To their end, also when the job is cancelled or one of them fails: they look at the piece's memory until then.
    for failure in await to_its_end(hashing):
        if failure is not None:
            raise failure


def _mib(size: int) -> int:
    return -(-size // _MIB)
