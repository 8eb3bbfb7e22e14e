"""Unpacking and converting, as jobs have it done: bytes out of the store into a room, and what was made of them there.

What comes out is a source of bytes like any other, and is taken in like any other (`fetching.py`): so hashes, sizes,
quotas and what a kill leaves are those of every import. The room goes when the source is closed.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from catalog.conversion_ports import PACKED, SOURCES
from catalog.jobs.counting import Counted, report_stored
from catalog.model.errors import ConversionUnavailable
from catalog.model.importing import Plan
from catalog.model.job import JobFailed
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from catalog.conversion_ports import Converter
    from catalog.jobs.context import JobContext
    from catalog.jobs.rooms import FileSource, Room, Rooms
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services

_HEAD: Final = max(map(len, PACKED))
CAME: Final = "came"
"""The file in a room that holds the bytes as they came."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done with a file: unpack it, and then make `target` of the disk in it, unless that is None."""

    unpack: bool
    target: str | None
    compressed: bool = False

    @property
    def is_none(self) -> bool:
        """Whether the file stays what it is."""
        return not self.unpack and self.target is None


async def work_on(image: Image, plan: Plan, reader: CopyReader) -> Work:
    """What a task's plan has done with bytes that came for an image.

    Only those of bare images are looked at: of any other they are not the disk's. Discs, kernels and the like have
    nothing that could be converted.
    """
    if image.container_format != "bare":
        return Work(unpack=False, target=None)
    converts = plan.convert is not None and image.disk_format in SOURCES and image.disk_format != plan.convert
    unpack = plan.decompress and await _is_packed(reader)
    return Work(unpack=unpack, target=plan.convert if converts else None)


@asynccontextmanager
async def worked_on(
    context: JobContext, reader: CopyReader, disk_format: str, work: Work
) -> AsyncGenerator[FileSource, None]:
    """What `work` makes of the reader's bytes, open. `reader` is closed when they have been read.

    Raises ConversionRefused, ConversionFailed, StoreFull, and what reading raises.
    """
    rooms, converter = await _means(context.services)
    async with rooms.room(context.claim.id) as room:
        try:
            with context.timed("read", part=(0, 15)):
                await room.fill(CAME, Counted(context, reader, "Read"))
        finally:
            reader.close()
        name = CAME
        if work.unpack:
            with context.timed("unpack", part=(15, 30)):
                context.report(0, 1, "Is unpacked.")
                cap = context.services.limits.image_size_cap
                await converter.unpack(room.path, name, "unpacked", cap=cap)
            await room.remove(name)
            name = "unpacked"
        if work.target is not None:
            with context.timed("convert", part=(30 if work.unpack else 15, 80)):
                await _convert(context, converter, room, name, disk_format, work)
            await room.remove(name)
            name = "converted"
        async with room.opened(name) as source:
            source.on_progress = partial(report_stored, context)
            with context.timed("store", part=(80, 100)):
                yield source


@asynccontextmanager
async def converted_image(context: JobContext) -> AsyncGenerator[FileSource, None]:
    """What the task is to make of another image, open; that one is read from wherever it can be."""
    method = Plan.of(context.task).method
    image_id = str(method["image_id"])

    def load(uow: UnitOfWork) -> Image:
        image = uow.images.get(image_id)
        if image is None or not image.has_bytes:
            raise JobFailed(f"Image {image_id}, which was to be converted, was deleted.")
        return image

    image, reader = await open_image(context.services, load)
    work = Work(unpack=False, target=str(method["disk_format"]), compressed=bool(method.get("compressed")))
    try:
        async with worked_on(context, reader, image.disk_format or "", work) as source:
            yield source
    finally:
        # Of what could not begin, too; closed twice is closed.
        reader.close()


async def _convert(
    context: JobContext, converter: Converter, room: Room, name: str, disk_format: str, work: Work
) -> None:
    def report(share: float) -> None:
        context.report(int(share * 1000), 1000, f"Converted {share:.0%}.")

    assert work.target is not None
    source = await converter.inspect(room.path / name, disk_format)
    await converter.convert(
        room.path, source, name, "converted", work.target, compressed=work.compressed, progress=report
    )


async def _means(services: Services) -> tuple[Rooms, Converter]:
    if services.rooms is None or services.converter is None:
        raise ConversionUnavailable("This service converts no images.")
    await asyncio.to_thread(services.converter.check)
    return services.rooms, services.converter


async def _is_packed(reader: CopyReader) -> bool:
    head = b""
    async for piece in reader.read(0, min(reader.size, _HEAD)):
        head += bytes(piece)
    return head.startswith(PACKED)
