"""An image as blocks, for those who may download it: its manifest, blocks by number, what differs from another."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.usecases.image_data import readable
from catalog.usecases.opening import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blockstore.diff import Extent
    from catalog.block_ports import BlockReader
    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.usecases.services import Services


@dataclass(frozen=True, slots=True)
class OpenBlocks:
    """An image and its blocks, open for reading."""

    image: Image
    reader: BlockReader


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of what differs: extents in order, the byte to go on at, and both images' sizes in bytes."""

    image: Image
    since: Image
    size: int
    since_size: int
    extents: Sequence[Extent]
    next: int | None


async def open_blocks(services: Services, caller: Caller, image_id: str) -> OpenBlocks:
    """Open an image's blocks; close the reader when done.

    Raises as a download does: NotFound, Forbidden, NoData while there are none, and the block store's errors.
    """
    image, reader = await opened(
        services, lambda uow: readable(uow, caller, image_id, services.blocks.store), services.blocks.open_blocks
    )
    return OpenBlocks(image, reader)


async def changes(
    services: Services, caller: Caller, image_id: str, since_id: str, *, start: int, most: int
) -> Changes:
    """Where an image may differ from another one, from byte `start` on, at most so many extents. Raises as above."""
    with (
        _closing(await open_blocks(services, caller, image_id)) as image,
        _closing(await open_blocks(services, caller, since_id)) as since,
    ):
        extents, following = await image.reader.changes(since.reader, start=start, most=most)
        return Changes(image.image, since.image, image.reader.size, since.reader.size, extents, following)


@contextmanager
def _closing(opened: OpenBlocks) -> Iterator[OpenBlocks]:
    try:
        yield opened
    finally:
        opened.reader.close()
