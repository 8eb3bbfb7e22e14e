"""Run an upload and stop it at step 1, 2, 3 … until it passes; after each stop look at everything that is left.

Run as a program, since it forks: `python -m tests.crashes.crash_at_every_step DIR MODE FIRST STRIDE CUTTING`. MODE is
`kill` (what the kernel has is kept) or `power` (what was not synced is forgotten), CUTTING says how the upload is cut.
A line of JSON a step; exit 0 if all held.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore import frames
from blockstore.block import HEADER_SIZE
from blockstore.digest import digest
from blockstore.packs import pack_format
from catalog.usecases import image_data
from tests.kit.faulty_disk import STOPPED, CountingDisk, StoppingDisk
from tests.kit.image_service import image_service

if TYPE_CHECKING:
    from blockstore.store import BlockStore

FIRST_DATA = random.Random(1).randbytes(300_000) + bytes(100_000)
SECOND_DATA = FIRST_DATA[:200_000] + random.Random(2).randbytes(900_001)
LAST_STEP = 400


def prepare(root: Path, cutting: str) -> tuple[str, str]:
    """A data directory with a finished image and a queued one."""

    async def work() -> tuple[str, str]:
        with image_service(root) as service:
            done = await service.new("done")
            await service.put(done, FIRST_DATA)
            return done, await service.new("next", cutting=cutting)

    return asyncio.run(work())


def upload_until(root: Path, image_id: str, stop_at: int, *, power_cut: bool, said: Path) -> None:
    """Upload the second image; when it is acknowledged, write so; the disk ends this process at `stop_at`."""

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
            await service.put(image_id, SECOND_DATA)
            said.write_text("acknowledged", encoding="utf-8")

    asyncio.run(work())


def look(root: Path, done: str, image_id: str, *, acknowledged: bool) -> None:
    """What must hold after any stop."""

    async def work() -> None:
        disk = CountingDisk()
        with image_service(root, disk=disk) as service:
            await image_data.requeue_orphans(service.services)
            assert await service.get(done) == FIRST_DATA, "the finished image reads other bytes"
            status = await service.status(image_id)
            assert status == "active" if acknowledged else status in {"queued", "active"}, f"the image is {status}"
            if status == "queued":
                await service.put(image_id, SECOND_DATA)
            assert await service.get(image_id) == SECOND_DATA, "the image reads other bytes"
            every_row_has_its_entry(service.store)
            # Each upload has one; that of a commit which was never told of may stay, named by no pin.
            assert len(list((root / "journals").iterdir())) <= 1, "journals pile up"

    asyncio.run(work())


def every_row_has_its_entry(store: BlockStore) -> None:
    """What is left over may be garbage in packs, never a row without its block."""
    names = {record.number: record.name for record in store.index.packs()}
    for name, place in store.index.scan():
        (entry,) = store.packs.read_many(names[place.pack], [(place.offset, place.end)])
        header = pack_format.decode_header(entry[:HEADER_SIZE])
        assert header is not None
        assert header.digest == name
        assert digest(frames.decompress(entry[HEADER_SIZE:], place.raw_length)) == name


def in_child(work, *args, **kwargs) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001, ANN002, ANN003 - any function
    """Run `work` in a forked process: it dies without taking us along; gives its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(work_dir: Path, mode: str, first: int, stride: int, cutting: str) -> int:
    origin = work_dir / "origin"
    names = work_dir / "names"
    assert in_child(lambda: names.write_text(json.dumps(prepare(origin, cutting)), encoding="utf-8")) == 0
    done, image_id = json.loads(names.read_text(encoding="utf-8"))
    for step in range(first, LAST_STEP, stride):
        root, said = work_dir / "data", work_dir / "said"
        shutil.rmtree(root, ignore_errors=True)
        said.unlink(missing_ok=True)
        shutil.copytree(origin, root)
        code = in_child(upload_until, root, image_id, step, power_cut=mode == "power", said=said)
        acknowledged = said.exists()
        held = in_child(look, root, done, image_id, acknowledged=acknowledged) == 0
        report = {"step": step, "stopped": code == STOPPED, "acknowledged": acknowledged, "held": held}
        print(json.dumps(report), flush=True)
        if not held or code not in {0, STOPPED}:
            return 1
        if code == 0:
            return 0
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
