"""Where one read of an image may go: the places that the catalog names, in the order that the stores say.

When none of them is left the catalog is asked again, since an image may have moved meanwhile: its chain was coalesced,
a copy was put back elsewhere, a location was removed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blockstore.errors import BlockstoreError, Missing
from catalog.model.errors import (
    CatalogError,
    CopyLost,
    CopyWrong,
    NotReadable,
    StoreDown,
)
from catalog.stores.failover import FailoverReader, OpenPlace, open_first
from catalog.stores.set import OPAQUE
from catalog.usecases.bases import in_another_store, our_chain, our_manifest
from catalog.usecases.lost_copies import mark_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.ports import StoredManifest, UnitOfWork
    from catalog.store_ports import CopyReader
    from catalog.usecases.services import Services

log = logging.getLogger(__name__)


async def open_image(
    services: Services, load: Callable[[UnitOfWork], Image], prefer: Sequence[str] = ()
) -> tuple[Image, FailoverReader]:
    """An image that has bytes, and these, open for reading; `load` gives it, anew when it is asked again.

    Raises what `load` does; NotReadable (opaque places alone), CatalogUnavailable (another block store's), StoreDown,
    CopyLost, and the block store's errors, when no place can be opened.
    """
    ways = ImageWays(services, load, prefer)
    await ways.look()
    reader = await open_first(ways)
    if reader is None:
        raise _no_place(services, ways.image)
    return ways.image, reader


class ImageWays:
    """`catalog.stores.failover.Ways` of one image, as the catalog knows it."""

    image: Image

    def __init__(self, services: Services, load: Callable[[UnitOfWork], Image], prefer: Sequence[str]) -> None:
        self._services = services
        self._load = load
        self._prefer = prefer
        self._chain: Sequence[StoredManifest] = ()
        self._gone: set[str] = set()

    async def look(self) -> None:
        """Ask the catalog where the image lies."""

        def locate(uow: UnitOfWork) -> tuple[Image, Sequence[StoredManifest]]:
            image = self._load(uow)
            return image, our_chain(uow, image, self._services.blocks.store)

        self.image, self._chain = await self._services.database.read(locate)

    async def following(self, tried: Collection[str]) -> Location | None:
        """The first place that was not tried; at the end, one that is new."""
        location = self._first(tried)
        if location is None and tried:
            await self.look()
            location = self._first(tried)
        return location

    async def open(self, location: Location, size: int | None) -> OpenPlace:
        """Open our blocks, or a copy, which must be as long as the image."""
        if location.manifest is not None:
            reader = await self._services.blocks.open(self._chain)
            return OpenPlace(location, reader, reader.read_stored)
        store = self._services.stores.get(location.store)
        if store is None:
            raise StoreDown(f"There is no store {location.store} any more.")
        copy = await store.open(location.url, self.image.size if size is None else size)
        return OpenPlace(location, await self._checked(copy))

    async def _checked(self, copy: CopyReader) -> CopyReader:
        """Read through a check, where our own manifest of the image can be had."""
        if not self._chain:
            return copy
        try:
            return await self._services.blocks.checked(self._chain, copy)
        except BlockstoreError as error:
            log.warning("copies of image %s are read without a check: %s", self.image.id, error)
            return copy
        except BaseException:
            copy.close()
            raise

    async def failed(self, location: Location, error: Exception) -> None:
        """Set a store aside that is down; mark a copy that is lost. Of our blocks, one image's failure is no other's.

        Never fails itself: what could not be recorded is found again.
        """
        if location.manifest is not None:
            # A chain that was coalesced meanwhile is no failure, if the next look finds another one.
            if not isinstance(error, Missing):
                log.warning("image %s cannot be read from our blocks: %s", self.image.id, error)
        elif isinstance(error, CopyLost):
            self._gone.add(location.url)
            try:
                await mark_lost(self._services, self.image.id, location, wrong=isinstance(error, CopyWrong))
            except (CatalogError, BlockstoreError) as failure:
                log.warning("that image %s is lost in %s is not recorded: %s", self.image.id, location.store, failure)
        else:
            self._services.stores.failed(location)
            self._services.on_place(location.store, "failed")
            log.warning("image %s cannot be read from %s: %s", self.image.id, location.store, error)

    def worked(self, location: Location) -> None:
        """The store is in its order again."""
        self._services.stores.worked(location)

    def _first(self, tried: Collection[str]) -> Location | None:
        ours = our_manifest(self.image, self._services.blocks.store)
        for location in self._services.stores.to_try(self.image.locations, self._prefer):
            # Of blocks, those of our own block store alone.
            known = location.manifest in {None, ours}
            if known and location.url not in tried and location.url not in self._gone:
                return location
        return None


def _no_place(services: Services, image: Image) -> CatalogError:
    """Why an image that has bytes cannot be read from anywhere."""
    if any(location.manifest is not None for location in image.locations):
        return in_another_store(image, services.blocks.store)
    lost = [location.store for location in image.locations if not location.is_active]
    if lost:
        return CopyLost(f"The copies of image {image.id} in {', '.join(lost)} are lost, and it lies nowhere else.")
    known = [services.stores.info(location.store) for location in image.locations]
    if any(info is not None and info.kind == OPAQUE for info in known):
        return NotReadable(
            f"Image {image.id} lies only where this service does not read it; use one of its locations directly."
        )
    return StoreDown(f"The stores that image {image.id} lies in are not configured here, or otherwise than before.")
