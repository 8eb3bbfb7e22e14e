"""Scenes with several stores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.stores.set import OUR_BLOCKS, StoreSet
from catalog.usecases.copying import copy_into, settle
from catalog.usecases.reading import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.image import Image
    from catalog.model.location import Location
    from catalog.model.loose import LooseCopy
    from catalog.ports import UnitOfWork
    from catalog.store_ports import Store
    from catalog.usecases.services import Services
    from tests.kit.memory_store import MemoryStore


def with_stores(services: Services, *stores: MemoryStore) -> Services:
    """The same services with these stores configured; our blocks are the default one if none of these is."""
    default = not any(store.info.default for store in stores)
    return replace(services, stores=StoreSet(stores, blocks=replace(OUR_BLOCKS, default=default)))


async def copied(services: Services, image_id: str, *stores: Store) -> Image:
    """The image with a copy in each of these stores, too."""

    def load(uow: UnitOfWork) -> Image:
        found = uow.images.get(image_id)
        assert found is not None
        return found

    for store in stores:
        _, reader = await open_image(services, load)
        copy = await copy_into(
            services, store.info.name, image_id, reader, holder="upload-1", process=services.blocks.process
        )
        reader.close()

        def add(uow: UnitOfWork, copy: Location = copy) -> None:
            settle(uow, [copy])
            found = load(uow)
            found.locations = (*found.locations, copy)
            uow.images.save(found, expect=found.status)

        await services.database.write(add)
    return await services.database.read(load)


async def loose(services: Services) -> tuple[Sequence[LooseCopy], Sequence[LooseCopy]]:
    """The copies that are being written, and those that are to be removed."""

    def look(uow: UnitOfWork) -> tuple[Sequence[LooseCopy], Sequence[LooseCopy]]:
        doomed = [copy for store in sorted(uow.loose.stores()) for copy in uow.loose.doomed(store, 100)]
        return uow.loose.writing(), doomed

    return await services.database.read(look)
