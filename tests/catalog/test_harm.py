from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from blockstore.manifest_copies import copies_of
from blockstore.progress import Silent
from blockstore.roots import path_of
from blockstore.verify import Wanted
from catalog.usecases import administration, scrubbing
from tests.kit.filled_store import flip, looked_after
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.image_service import ImageService

BLOCK = 4096
DATA = random.Random(8).randbytes(40 * BLOCK)


def changed(data: bytes, *blocks: int) -> bytes:
    made = bytearray(data)
    for block in blocks:
        made[block * BLOCK : (block + 1) * BLOCK] = random.Random(block + len(data)).randbytes(BLOCK)
    return bytes(made)


def serve(root: Path, *images: tuple[str, bytes, str | None]) -> dict[str, str]:
    """Images by name, each with its data and its parent's name; their ids."""
    ids: dict[str, str] = {}

    async def work(service: ImageService) -> None:
        for name, data, parent in images:
            ids[name] = await service.pushed(data, parent=ids[parent] if parent else None, name=name)

    async def run() -> None:
        with image_service(root) as service:
            await work(service)

    asyncio.run(run())
    return ids


def harmed(root: Path) -> dict[str, int]:
    """What scrubbing says, and verification as well."""
    with looked_after(root) as (store, records):
        told = {str(image.name): image.blocks for image in scrubbing.harmed_now(store, records)[0]}
        verified = administration.verify_all(store, records, Wanted(), Silent())
        assert {str(image.name): image.blocks for image in verified.harmed} == told
    return told


def mark(root: Path, data: bytes, *blocks: int) -> None:
    from blockstore.digest import digest

    with looked_after(root) as (store, _):
        for block in blocks:
            name = digest(data[block * BLOCK : (block + 1) * BLOCK])
            (place,) = store.index.get_many([name])
            assert place is not None
            assert store.index.mark_bad(name, place)


def family(root: Path) -> dict[str, str]:
    """A base; a child that changes block 3, a grandchild that changes block 5; and an image of its own."""
    return serve(
        root,
        ("base", DATA, None),
        ("child", changed(DATA, 3), "base"),
        ("grandchild", changed(changed(DATA, 3), 5), "child"),
        ("other", random.Random(9).randbytes(20 * BLOCK), None),
    )


def test_damage_in_a_base_harms_those_that_show_it_and_nobody_else(tmp_path: Path) -> None:
    family(tmp_path)
    assert harmed(tmp_path) == {}
    mark(tmp_path, DATA, 3)
    assert harmed(tmp_path) == {"base": 1}, "the child has another block there"
    mark(tmp_path, DATA, 5)
    assert harmed(tmp_path) == {"base": 2, "child": 1}
    mark(tmp_path, DATA, 10)
    assert harmed(tmp_path) == {"base": 3, "child": 2, "grandchild": 1}
    mark(tmp_path, changed(DATA, 3), 3)
    assert harmed(tmp_path) == {"base": 3, "child": 3, "grandchild": 2}


def test_a_manifest_that_cannot_be_read_harms_all_that_are_read_through_it(tmp_path: Path) -> None:
    ids = family(tmp_path)
    with looked_after(tmp_path) as (_, records):
        names = {image.id: image.manifest for image in records.read(lambda uow: uow.inventory.images())}
    first, second = copies_of(path_of(tmp_path, names[ids["child"]] or ""))
    flip(first, 20 * 8)
    assert harmed(tmp_path) == {}
    flip(second, 20 * 8)
    assert harmed(tmp_path) == {"child": 0, "grandchild": 0}


def test_an_image_that_is_cut_by_content_is_named_too(tmp_path: Path) -> None:
    async def work() -> None:
        with image_service(tmp_path) as service:
            image_id = await service.new("iso", cutting="content-defined:16KiB")
            await service.put(image_id, DATA)

    asyncio.run(work())
    with looked_after(tmp_path) as (store, _):
        for name, place in list(store.index.scan())[:2]:
            store.index.mark_bad(name, place)
    assert harmed(tmp_path) == {"iso": 2}
