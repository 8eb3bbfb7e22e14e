"""Stop a collection, the making of a new index or a scrub at step 1, 2, 3 …: all is there, and a second run finishes.

`python -m tests.crashes.crash_while_cleaning WORK DIR MODE FIRST STRIDE`; WORK is `gc` (alone), `beside` (gc beside
others, of whom one has a delta upload under way), `rebuild` or `scrub`, the rest is as `stopped_work` has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.garbage import Collecting
from blockstore.index.rebuild import Rebuilding, rebuild
from blockstore.manifest import second_of
from blockstore.progress import Silent
from blockstore.roots import path_of
from blockstore.scrub import Scrubbing
from catalog.usecases import administration, delta_commit, scrubbing
from catalog.usecases.deltas import Named
from tests.catalog.delta_scenes import BLOCK, begun, send
from tests.crashes.stopped_work import Subject, main
from tests.kit.filled_store import MAP, contents, delete, fill, flip, looked_after, read, verified
from tests.kit.image_service import CALLER, image_service

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = contents(3, 300_000)


def prepare(root: Path, what: str) -> list[str]:
    """Three images, of which the first is deleted; of a fourth some blocks have arrived, which the first had, too.

    To be scrubbed, one's manifest is damaged, and another one's second copy is lost.
    """
    ids = fill(root, IMAGES)
    upload = asyncio.run(_begin(root))
    delete(root, ids[0])
    if what == "scrub":
        with looked_after(root) as (_, records):
            one, two = (path_of(root, name) for name in records.read(administration.roots_of).live)
        flip(one, 8 * 200)
        second_of(two).unlink()
    return [*ids[1:], *upload]


async def _begin(root: Path) -> list[str]:
    with image_service(root) as service:
        image_id = await service.new()
        named = await begun(service.services, image_id, size=len(IMAGES[0]))
        await send(service.services, named, *_blocks(range(60, 70)))
        return [image_id, named.upload_id]


def _blocks(numbers: range) -> list[tuple[int, bytes]]:
    return [(number, IMAGES[0][number * BLOCK : (number + 1) * BLOCK]) for number in numbers]


async def _resume(root: Path, image_id: str, upload_id: str) -> bytes:
    """What the upload that was under way becomes, once the rest of it has come."""
    with image_service(root) as service:
        named = Named(CALLER, image_id, upload_id)
        await send(service.services, named, *_blocks(range(60)), *_blocks(range(70, -(-len(IMAGES[0]) // BLOCK))))
        await delta_commit.commit(service.services, named, expected=None)
        return await service.get(image_id)


def collect(root: Path, disk: Disk, *, exclusive: bool = True) -> None:
    with looked_after(root, exclusive=exclusive, disk=disk) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())


def collect_beside(root: Path, disk: Disk) -> None:
    collect(root, disk, exclusive=False)


def make_again(root: Path, disk: Disk) -> None:
    data = DataDir.open_made(root, disk, purpose="test", exclusive=True)
    with contextlib.closing(data):
        rebuild(data, Rebuilding(data=True, keep_old=True, map_size=MAP), Silent())


def scrub(root: Path, disk: Disk) -> None:
    with looked_after(root, disk=disk) as (store, records):
        assert scrubbing.scrub_all(store, records, Scrubbing(), Silent()).scrubbed.clean


WORKS = {"gc": collect, "beside": collect_beside, "rebuild": make_again, "scrub": scrub}


def look(what: str, root: Path, ids: list[str]) -> None:
    """Whatever is left is whole; images read the same; the same work done to its end leaves nothing behind."""
    if what != "scrub":
        verified(root)
    *images, uploaded, upload = ids
    for image_id, data in zip(images, IMAGES[1:], strict=True):
        assert read(root, image_id) == data, "other bytes"
    WORKS[what](root, Disk())
    verified(root)
    for image_id, data in zip(images, IMAGES[1:], strict=True):
        assert read(root, image_id) == data, "other bytes after the second run"
    if what in {"gc", "beside"}:
        with looked_after(root) as (store, records):
            found = administration.stats(store, records, Silent(), garbage=True).store
        assert found.garbage is not None
        assert (found.garbage.blocks, found.dead.blocks) == (0, 0), "the second run left something"
        assert found.manifests["retired"].files == found.manifests["orphaned"].files == 0
        assert found.packs["open"].files == found.packs["retiring"].files == 0
    assert asyncio.run(_resume(root, uploaded, upload)) == IMAGES[0], "the upload that was under way"
    fill(root, IMAGES[:1])
    verified(root)


def subject(what: str) -> Subject:
    return Subject(
        lambda root: prepare(root, what),
        lambda root, _ids, disk, _said: WORKS[what](root, disk),
        lambda root, ids, _said: look(what, root, ids),
    )


if __name__ == "__main__":
    sys.exit(main(subject(sys.argv[1])))
