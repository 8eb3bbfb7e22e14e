"""The catalog on a real block store and a real SQLite file, without HTTP: what the server joins, for tests."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blockstore.store import BlockStore, StoreOptions
from catalog.cutting import PROPERTY
from catalog.model.caller import Caller
from catalog.model.new_image import NewImage
from catalog.stores.blocks import StoredBlocks
from catalog.usecases import image_data, images
from catalog.usecases.services import Services
from tests.kit.new_catalog import new_catalog
from tests.kit.pieces_source import PiecesSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from blockstore.disk import Disk
    from catalog.model.image import Image
    from catalog.model.manifest import Manifest
    from catalog.ports import UnitOfWork

CALLER = Caller("user", "project", frozenset({"admin", "member", "reader"}))
SMALL = StoreOptions(
    slab=64 * 1024,
    slab_budget=4 * 1024 * 1024,
    generation_bytes=512 * 1024,
    generation_seconds=0.2,
    pack_full=256 * 1024,
    index_map=1 << 30,
)


@dataclass(frozen=True, slots=True)
class ImageService:
    services: Services
    store: BlockStore

    async def new(self, name: str = "image", *, cutting: str = "", parent: str | None = None) -> str:
        wanted = NewImage(
            name=name,
            disk_format="raw",
            container_format="bare",
            properties={PROPERTY: cutting} if cutting else {},
            parent_image_ref=parent,
        )
        return (await images.create(self.services, CALLER, wanted)).id

    async def put(self, image_id: str, data: bytes, *, piece: int = 100_000) -> Image:
        source = PiecesSource(pieces(data, piece))
        return await image_data.upload(self.services, CALLER, image_id, source, expected=len(data))

    async def pushed(self, data: bytes, *, parent: str | None = None, name: str = "image") -> str:
        """A new active image."""
        image_id = await self.new(name, parent=parent)
        await self.put(image_id, data)
        return image_id

    async def delete(self, image_id: str) -> None:
        await images.delete(self.services, CALLER, image_id)

    async def manifest(self, image_id: str) -> Manifest:
        """The record of the manifest that the image has now."""

        def look(uow: UnitOfWork) -> Manifest:
            image = uow.images.get(image_id)
            assert image is not None
            found = uow.manifests.get(image.locations[0].manifest or "")
            assert found is not None
            return found

        return await self.services.database.read(look)

    async def get(self, image_id: str) -> bytes:
        download = await image_data.download(self.services, CALLER, image_id)
        try:
            return b"".join([bytes(piece) async for piece in download.read(0, download.size)])
        finally:
            download.close()

    async def status(self, image_id: str) -> str:
        return (await images.show(self.services, CALLER, image_id)).status.value


async def pieces(data: bytes, piece: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


@contextlib.contextmanager
def image_service(
    root: Path,
    *,
    options: StoreOptions = SMALL,
    disk: Disk | None = None,
    block_size: int = 4096,
    keep_deleted: float = 0.0,
) -> Iterator[ImageService]:
    """Where nobody says otherwise, what is deleted goes at once: most tests look at what that leaves."""
    store = BlockStore.open(root, options, disk=disk)
    try:
        database = new_catalog(root / "catalog.sqlite")
        try:
            services = Services(database, StoredBlocks(store), block_size=block_size, keep_deleted=keep_deleted)
            yield ImageService(services, store)
        finally:
            database.close()
    finally:
        store.close()
