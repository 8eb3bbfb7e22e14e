"""Acts around quotas: say one, look at what is used, upload with and without a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.quota import Usage
from catalog.usecases import image_data, images
from tests.catalog.cast import ANNA, RAW, stream
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.quota import Quota
    from catalog.ports import UnitOfWork
    from catalog.usecases.services import Services

NOTHING = Usage()


async def say(services: Services, quota: Quota, project: str | None = ANNA.project) -> None:
    await services.database.write(lambda uow: uow.quotas.say(project, quota))


async def usage(services: Services, project: str = ANNA.project) -> Usage:
    """What the project has, after a look that the counters say what a count over all images does."""

    def look(uow: UnitOfWork) -> Usage:
        assert uow.quotas.all_usage() == uow.quotas.counted()
        assert uow.quotas.all_usage().get(project, NOTHING) == uow.quotas.usage(project)
        return uow.quotas.usage(project)

    return await services.database.read(look)


async def new(services: Services, caller: Caller = ANNA) -> Image:
    return await images.create(services, caller, RAW)


async def put_unknown(services: Services, image: Image, *pieces: bytes, caller: Caller = ANNA) -> Image:
    """An upload whose size nobody announced."""
    return await image_data.upload(services, caller, image.id, stream(*pieces), expected=None)


def slowly(*pieces: bytes, between: Callable[[int], Awaitable[object]]) -> PiecesSource:
    """These pieces, with something that happens before each of them, told its number, and before the end."""

    async def one_by_one() -> AsyncIterator[bytes]:
        for number, piece in enumerate(pieces):
            await between(number)
            yield piece
        await between(len(pieces))

    return PiecesSource(one_by_one())
