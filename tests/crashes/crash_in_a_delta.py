"""Run a delta upload over a base and stop it at step 1, 2, 3 … until it passes; after each stop, go on with it.

Run as a program, since it forks: `python -m tests.crashes.crash_in_a_delta DIR MODE FIRST STRIDE`, with MODE as in
`crash_at_every_step`. A line of JSON a step; exit 0 if all held.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
from catalog.usecases import delta_begin, delta_commit, deltas, image_data
from catalog.usecases.deltas import Named
from tests.crashes.crash_at_every_step import every_row_has_its_entry, in_child
from tests.kit.faulty_disk import STOPPED, CountingDisk, StoppingDisk
from tests.kit.image_service import CALLER, image_service
from tests.kit.sent_deltas import entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from catalog.delta_ports import Part
    from tests.kit.image_service import ImageService

BLOCK = 4096
BASE = random.Random(1).randbytes(80 * BLOCK + 100)
FIRST = {number: random.Random(number).randbytes(BLOCK) for number in range(3, 60, 7)}
SECOND = {number: random.Random(number).randbytes(BLOCK) for number in range(61, 70)}
HOLES = NumberRange(70, 5)
TAIL = 80
LAST_STEP = 400


def expected() -> bytes:
    data = bytearray(BASE)
    for number, block in (FIRST | SECOND).items():
        data[number * BLOCK : (number + 1) * BLOCK] = block
    data[HOLES.first * BLOCK : HOLES.stop * BLOCK] = bytes(HOLES.count * BLOCK)
    return bytes(data[: TAIL * BLOCK]) + BASE[:BLOCK]


async def first() -> AsyncGenerator[Part, None]:
    for number, block in FIRST.items():
        sent = entry(block)
        yield EntryBegins(number, len(sent))
        yield memoryview(sent)


async def second(base: str) -> AsyncGenerator[Part, None]:
    for number, block in SECOND.items():
        sent = entry(block)
        yield EntryBegins(number, len(sent))
        yield memoryview(sent)
    yield SentHoles(HOLES)
    yield SentHeld(NumberRange(TAIL, 1), base, 0)


async def upload(service: ImageService, base: str, image_id: str, said: Path) -> None:
    """The whole upload, going on with one that is under way; each acknowledgement is written down."""
    services = service.services
    under_way = await deltas.of_image(services, CALLER, image_id)
    delta = under_way[0] if under_way else None
    if delta is None:
        size = (TAIL + 1) * BLOCK
        delta = await delta_begin.begin(services, CALLER, image_id, size=size, base=base, block_size=None)
        tell(said, "begun")
    named = Named(CALLER, image_id, delta.id)
    await deltas.take(services, named, lambda _: first())
    tell(said, "first")
    await deltas.take(services, named, lambda _: second(base))
    tell(said, "second")
    await delta_commit.commit(services, named, expected=len(FIRST) + len(SECOND) + HOLES.count + 1)
    tell(said, "committed")


def tell(said: Path, what: str) -> None:
    said.write_text(f"{said.read_text(encoding='utf-8') if said.exists() else ''}{what} ", encoding="utf-8")


def prepare(root: Path) -> tuple[str, str]:
    async def work() -> tuple[str, str]:
        with image_service(root) as service:
            base = await service.new("base")
            await service.put(base, BASE)
            return base, await service.new("delta")

    return asyncio.run(work())


def upload_until(root: Path, base: str, image_id: str, stop_at: int, *, power_cut: bool, said: Path) -> None:
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
            await upload(service, base, image_id, said)

    asyncio.run(work())


def look(root: Path, base: str, image_id: str, *, said: str) -> None:
    """What must hold after any stop, and that the same upload goes on from there."""

    async def work() -> None:
        with image_service(root, disk=CountingDisk()) as service:
            await image_data.requeue_orphans(service.services)
            assert await service.get(base) == BASE, "the base reads other bytes"
            status = await service.status(image_id)
            if "begun" in said:
                assert status in {"saving", "active"}, f"the image is {status}"
            if status == "saving":
                [delta] = await deltas.of_image(service.services, CALLER, image_id)
                named = Named(CALLER, image_id, delta.id)
                _, found = await deltas.show(service.services, named, start=0, most=1000)
                arrived = {number for each in found.ranges for number in range(each.first, each.stop)}
                told = (set(FIRST) if "first" in said else set()) | (set(SECOND) if "second" in said else set())
                assert told <= arrived, "what was acknowledged has not arrived"
            assert status == "active" if "committed" in said else status in {"queued", "saving", "active"}
            if status != "active":
                await upload(service, base, image_id, root / "again")
            assert await service.get(image_id) == expected(), "the image reads other bytes"
            every_row_has_its_entry(service.store)
            # That of the base's upload is gone; of this one's at most what no pin names.
            assert len(list((root / "journals").iterdir())) <= 1, "journals pile up"

    asyncio.run(work())


def main(work_dir: Path, mode: str, begin: int, stride: int) -> int:
    origin, names = work_dir / "origin", work_dir / "names"
    assert in_child(lambda: names.write_text(json.dumps(prepare(origin)), encoding="utf-8")) == 0
    base, image_id = json.loads(names.read_text(encoding="utf-8"))
    for step in range(begin, LAST_STEP, stride):
        root, said = work_dir / "data", work_dir / "said"
        shutil.rmtree(root, ignore_errors=True)
        said.unlink(missing_ok=True)
        shutil.copytree(origin, root)
        code = in_child(upload_until, root, base, image_id, step, power_cut=mode == "power", said=said)
        heard = said.read_text(encoding="utf-8") if said.exists() else ""
        held = in_child(look, root, base, image_id, said=heard) == 0
        report = {"step": step, "stopped": code == STOPPED, "said": heard.split(), "held": held}
        print(json.dumps(report), flush=True)
        if not held or code not in {0, STOPPED}:
            return 1
        if code == 0:
            return 0
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
