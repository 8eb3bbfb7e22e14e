"""Opening what an image has now: a chain that was coalesced after it was located is gone, and is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from blockstore.errors import Missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from catalog.model.image import Image
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.usecases.services import Services

T = TypeVar("T")


async def opened(
    services: Services,
    locate: Callable[[UnitOfWork], tuple[Image, Sequence[StoredManifest]]],
    opening: Callable[[Sequence[StoredManifest]], Awaitable[T]],
) -> tuple[Image, T]:
    """The image and its chain, open. Raises what `locate` does, and the block store's errors.

    Missing only if a file is gone of a chain that the image has still.
    """
    image, chain = await services.database.read(locate)
    while True:
        try:
            return image, await opening(chain)
        except Missing:
            before = chain
            image, chain = await services.database.read(locate)
            if list(chain) == list(before):
                raise
