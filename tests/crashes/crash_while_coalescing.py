"""Stop a worker that coalesces at step 1, 2, 3 …: images read the same, and the next worker finishes.

`python -m tests.crashes.crash_while_coalescing DIR MODE FIRST STRIDE`, as `stopped_work` has it.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from catalog.usecases import administration
from tests.crashes.stopped_work import Said, Subject, main, serving
from tests.kit.filled_store import looked_after, verified
from tests.kit.quiet_worker import until_quiet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.faulty_disk import StoppingDisk
    from tests.kit.image_service import ImageService

BLOCK = 4096
DISK = random.Random(8).randbytes(300 * BLOCK) + bytes(20 * BLOCK) + b"tail"
VERSIONS = [DISK, b"1" + DISK[1:], b"2" + DISK[1:-3] + b"s", DISK[:-4]]


def prepare(root: Path) -> list[str]:
    """A line of four; the oldest is deleted, so the others are to be coalesced one after the other."""
    ids: list[str] = []

    async def work(service: ImageService) -> None:
        for data in VERSIONS:
            ids.append(await service.pushed(data, parent=ids[-1] if ids else None))
        await service.delete(ids[0])

    serving(root, work)
    return ids[1:]


def coalesce(root: Path, ids: list[str], disk: StoppingDisk, said: Said) -> None:
    serving(root, lambda service: until_quiet(service.services), disk)


def look(root: Path, ids: list[str], said: list[str]) -> None:
    """Whatever is left is whole; the next worker finishes; a collection leaves nothing of the chain."""
    verified(root)
    read(root, ids, coalesced=False)
    serving(root, lambda service: until_quiet(service.services))
    read(root, ids, coalesced=True)
    verified(root)
    with looked_after(root, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
    verified(root)
    with looked_after(root) as (store, records):
        found = administration.stats(store, records, Silent(), garbage=True).store
    assert found.manifests["live"].files == len(ids)
    assert found.manifests["retired"].files == found.manifests["orphaned"].files == 0
    read(root, ids, coalesced=True)


def read(root: Path, ids: list[str], *, coalesced: bool) -> None:
    async def work(service: ImageService) -> None:
        for image_id, data in zip(ids, VERSIONS[1:], strict=True):
            assert await service.get(image_id) == data, "other bytes"
            assert not coalesced or (await service.manifest(image_id)).depth == 0, "not coalesced"

    serving(root, work)


if __name__ == "__main__":
    sys.exit(main(Subject(prepare, coalesce, look)))
