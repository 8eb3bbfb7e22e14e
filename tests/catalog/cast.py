"""Who plays in the catalog's tests, and the small acts that every scene needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from catalog.model.caller import Caller
from catalog.model.image import Visibility
from catalog.model.new_image import NewImage
from catalog.usecases import image_data, images
from catalog.usecases.queries import parse_query
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from catalog.model.image import Image
    from catalog.usecases.services import Services

ANNA = Caller("anna", "wall", frozenset({"member", "reader"}))
BORIS = Caller("boris", "hedge", frozenset({"member", "reader"}))
READER = Caller("rita", "wall", frozenset({"reader"}))
NOBODY = Caller("nemo", "wall", frozenset())
ADMIN = Caller("root", "operators", frozenset({"admin"}))

RAW = NewImage(name="disk", disk_format="raw", container_format="bare")


class Clock:
    """Goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 17, 47, 8, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def stream(*pieces: bytes) -> PiecesSource:
    async def one_by_one() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return PiecesSource(one_by_one())


async def put(services: Services, image: Image, data: bytes, *, caller: Caller = ANNA) -> Image:
    return await image_data.upload(services, caller, image.id, stream(data), expected=len(data))


async def bytes_of(services: Services, image: Image, *, caller: Caller = ANNA) -> bytes:
    download = await image_data.download(services, caller, image.id)
    try:
        return b"".join([bytes(piece) async for piece in download.read(0, download.size)])
    finally:
        download.close()


async def names_listed(services: Services, caller: Caller, *pairs: tuple[str, str]) -> list[str | None]:
    page = await images.list_images(services, caller, parse_query([*pairs]))
    return [image.name for image in page.images]


async def one_of_each_visibility(services: Services) -> dict[str, Image]:
    """An image of Boris's for each visibility, named after it."""
    made = {}
    for visibility in Visibility:
        caller = Caller("root", BORIS.project, frozenset({"admin"}))
        new = NewImage(name=visibility.value, visibility=visibility, disk_format="raw", container_format="bare")
        made[visibility.value] = await images.create(services, caller, new)
    return made
