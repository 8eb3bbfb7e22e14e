"""Stop a worker that coalesces at step 1, 2, 3 …: images read the same, and the next worker finishes.

`python -m tests.crashes.crash_while_coalescing DIR MODE FIRST STRIDE`; MODE is `kill` or `power`. A line of JSON a
step; exit 0 if all held.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
from pathlib import Path

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.crashes.crash_at_every_step import LAST_STEP, in_child
from tests.kit.faulty_disk import STOPPED, StoppingDisk
from tests.kit.filled_store import looked_after
from tests.kit.image_service import image_service
from tests.kit.quiet_worker import until_quiet

BLOCK = 4096
DISK = random.Random(8).randbytes(300 * BLOCK) + bytes(20 * BLOCK) + b"tail"
VERSIONS = [DISK, b"1" + DISK[1:], b"2" + DISK[1:-3] + b"s", DISK[:-4]]


def prepare(root: Path, said: Path) -> None:
    """A line of four; the oldest is deleted, so the others are to be coalesced one after the other."""

    async def work() -> list[str]:
        with image_service(root) as service:
            ids: list[str] = []
            for data in VERSIONS:
                ids.append(await service.pushed(data, parent=ids[-1] if ids else None))
            await service.delete(ids[0])
            return ids[1:]

    said.write_text(json.dumps(asyncio.run(work())), encoding="utf-8")


def coalesce_until(root: Path, stop_at: int, *, power_cut: bool) -> None:
    async def work() -> None:
        disk = StoppingDisk(stop_at, power_cut=power_cut)
        with image_service(root, disk=disk) as service:
            write = service.services.database.write

            async def stepping(step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - the Protocol has the types
                disk.step("before a catalog commit")
                result = await write(step)
                disk.step("after a catalog commit")
                return result

            service.services.database.write = stepping  # type: ignore[method-assign] # a step on both sides of each commit
            await until_quiet(service.services)

    asyncio.run(work())


def look(root: Path, ids: list[str]) -> None:
    """Whatever is left is whole; the next worker finishes; a collection leaves nothing of the chain."""
    verified(root)
    read(root, ids, work=False)
    read(root, ids, work=True)
    verified(root)
    with looked_after(root, exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())
    verified(root)
    with looked_after(root) as (store, records):
        found = administration.stats(store, records, Silent(), garbage=True).store
    assert found.manifests["live"].files == len(ids)
    assert found.manifests["retired"].files == found.manifests["orphaned"].files == 0
    read(root, ids, work=False)


def read(root: Path, ids: list[str], *, work: bool) -> None:
    async def reading() -> None:
        with image_service(root) as service:
            if work:
                await until_quiet(service.services)
            for image_id, data in zip(ids, VERSIONS[1:], strict=True):
                assert await service.get(image_id) == data, "other bytes"
                assert not work or (await service.manifest(image_id)).depth == 0, "not coalesced"

    asyncio.run(reading())


def verified(root: Path) -> None:
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
    assert found.verified.clean, found.verified.findings


def main(directory: Path, mode: str, first: int, stride: int) -> int:
    origin, said = directory / "origin", directory / "ids"
    assert in_child(prepare, origin, said) == 0
    ids = json.loads(said.read_text(encoding="utf-8"))
    for step in range(first, LAST_STEP, stride):
        root = directory / "data"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(origin, root)
        code = in_child(coalesce_until, root, step, power_cut=mode == "power")
        held = in_child(look, root, ids) == 0
        print(json.dumps({"step": step, "stopped": code == STOPPED, "held": held}), flush=True)
        if not held or code not in {0, STOPPED}:
            return 1
        if code == 0:
            return 0
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
