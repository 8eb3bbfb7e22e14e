"""The hashes of an image that has its parent's bytes: they are the parent's, and nothing is read for them.

A nightly push of a disk that nobody has written to makes such an image each time. Whether the bytes are the same is
for the manifests to say, which name them by their digests.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from catalog.jobs.subjects import with_bytes
from catalog.model.image import CHECKSUM, Status
from catalog.model.job import JobCancelled
from catalog.stores.failover import FAILURES
from catalog.usecases.bases import our_chain
from catalog.usecases.opening import opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.block_ports import BlockReader
    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.services import Services


async def parents_hashes(services: Services, image: Image, algorithm: str) -> Mapping[str, str] | None:
    """By algorithm, as `hashes_of` gives them; None where the image has to be read for them."""

    def locate(uow: UnitOfWork, image_id: str) -> tuple[Image, Sequence[StoredManifest]]:
        found = with_bytes(uow, image_id)
        return found, our_chain(uow, found, services.blocks.store)

    async def blocks_of(image_id: str) -> tuple[Image, BlockReader]:
        return await opened(services, lambda uow: locate(uow, image_id), services.blocks.open_blocks)

    if image.parent is None or not await services.database.read(lambda uow: _lie_here(services, uow, image, algorithm)):
        return None
    try:
        parent, below = await blocks_of(image.parent)
        with closing(below):
            known = _known(parent, image, algorithm)
            if known is None:
                return None
            _, reader = await blocks_of(image.id)
            with closing(reader):
                return known if await _are_same(reader, below) else None
    except (JobCancelled, *FAILURES):
        # What is wrong with either, reading the image tells.
        return None


def _lie_here(services: Services, uow: UnitOfWork, image: Image, algorithm: str) -> bool:
    """Whether there are two chains to be compared, and it may be worth it."""
    parent = None if image.parent is None else uow.images.get(image.parent)
    if parent is None or _known(parent, image, algorithm) is None:
        return False
    return all(our_chain(uow, each, services.blocks.store) for each in (image, parent))


def _known(parent: Image, image: Image, algorithm: str) -> Mapping[str, str] | None:
    """The hashes of an active parent of the same owner, of as many bytes, if they were made of what was uploaded.

    What was registered with its hashes has those that somebody said. It has no upload, as imports have none.
    """
    same = (parent.owner, parent.size, parent.os_hash_algo) == (image.owner, image.size, algorithm)
    if parent.status is not Status.ACTIVE or parent.upload is None or not same:
        return None
    if parent.checksum is None or parent.os_hash_value is None:
        return None
    return {CHECKSUM: parent.checksum, algorithm: parent.os_hash_value}


async def _are_same(reader: BlockReader, below: BlockReader) -> bool:
    """Whether all blocks of two images are; what differs ends it soon."""
    if reader.size != below.size:
        return False
    at: int | None = 0
    while at is not None:
        extents, at = await reader.changes(below, start=at, most=1)
        if extents:
            return False
    return True
