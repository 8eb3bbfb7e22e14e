"""A data directory with a few images, made through the catalog, and what is asked of it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from blockstore.bare_store import BareStore, open_bare
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.sql.records import open_records
from catalog.usecases import administration, images
from tests.kit.image_service import CALLER, image_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blockstore.disk import Disk
    from catalog.inventory import Records

MAP = 1 << 30
COMMON = random.Random(1).randbytes(200_000)


def contents(count: int = 3, size: int = 400_000) -> list[bytes]:
    """Images that share a beginning, have bytes of their own, text that compresses, a hole and an odd tail."""
    made = []
    for seed in range(count):
        own = random.Random(100 + seed).randbytes(size)
        made.append(COMMON + own + b"each stone fits. " * 3000 + bytes(50_000) + b"tail")
    return made


def woven(*threads: bytes, block: int = 4096) -> bytes:
    """A block of each in turns: whoever stored one thread before has the blocks of the other elsewhere."""
    spans = range(0, min(map(len, threads)), block)
    return b"".join(thread[at : at + block] for at in spans for thread in threads)


def fill(root: Path, images_bytes: list[bytes]) -> list[str]:
    """Upload them; their ids."""

    async def work() -> list[str]:
        with image_service(root) as service:
            ids = []
            for number, data in enumerate(images_bytes):
                ids.append(await service.new(f"image {number}"))
                await service.put(ids[-1], data)
            return ids

    return asyncio.run(work())


def read(root: Path, image_id: str, disk: Disk | None = None) -> bytes:
    """An image's bytes."""

    async def work() -> bytes:
        with image_service(root, disk=disk) as service:
            return await service.get(image_id)

    return asyncio.run(work())


def delete(root: Path, *image_ids: str, keep: float = 0.0) -> None:
    """Delete images; with `keep` seconds, so that they can be brought back."""

    async def work() -> None:
        with image_service(root, keep_deleted=keep) as service:
            for image_id in image_ids:
                await images.delete(service.services, CALLER, image_id)

    asyncio.run(work())


@contextlib.contextmanager
def looked_after(
    root: Path, *, exclusive: bool = False, disk: Disk | None = None
) -> Iterator[tuple[BareStore, Records]]:
    """The store and the catalog as the host verbs open them."""
    with (
        open_bare(root, "test", exclusive=exclusive, disk=disk, map_size=MAP) as store,
        open_records(root / "catalog.sqlite") as records,
    ):
        yield store, records


def verified(root: Path) -> None:
    """Read all there is, which must be right, and nothing amiss in the register of packs."""
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
    assert found.verified.clean, found.verified.findings
    assert not any("register" in note for note in found.verified.notes), found.verified.notes


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
