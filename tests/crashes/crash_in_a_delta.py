"""Stop a delta upload over a base at step 1, 2, 3 …: what was acknowledged is kept, and the same upload goes on.

`python -m tests.crashes.crash_in_a_delta DIR MODE FIRST STRIDE`, as `stopped_work` has it.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
from catalog.usecases import delta_begin, delta_commit, deltas, image_data
from catalog.usecases.deltas import Named
from tests.crashes.stopped_work import Said, Subject, main, serving
from tests.kit.image_service import CALLER
from tests.kit.images_in_store import every_row_has_its_entry
from tests.kit.sent_deltas import entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from catalog.delta_ports import Part
    from tests.kit.faulty_disk import StoppingDisk
    from tests.kit.image_service import ImageService

BLOCK = 4096
BASE = random.Random(1).randbytes(80 * BLOCK + 100)
FIRST = {number: random.Random(number).randbytes(BLOCK) for number in range(3, 60, 7)}
SECOND = {number: random.Random(number).randbytes(BLOCK) for number in range(61, 70)}
HOLES = NumberRange(70, 5)
TAIL = 80


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


async def send(service: ImageService, base: str, image_id: str, said: Said) -> None:
    """The whole upload, going on with one that is under way; each acknowledgement is written down."""
    services = service.services
    under_way = await deltas.of_image(services, CALLER, image_id)
    delta = under_way[0] if under_way else None
    if delta is None:
        size = (TAIL + 1) * BLOCK
        delta = await delta_begin.begin(services, CALLER, image_id, size=size, base=base, block_size=None)
        said.tell("begun")
    named = Named(CALLER, image_id, delta.id)
    await deltas.take(services, named, lambda _: first())
    said.tell("first")
    await deltas.take(services, named, lambda _: second(base))
    said.tell("second")
    await delta_commit.commit(services, named, expected=len(FIRST) + len(SECOND) + HOLES.count + 1)
    said.tell("committed")


def prepare(root: Path) -> list[str]:
    """The base, and the image that is to be uploaded."""
    ids: list[str] = []

    async def work(service: ImageService) -> None:
        ids.append(await service.pushed(BASE))
        ids.append(await service.new("delta"))

    serving(root, work)
    return ids


def upload(root: Path, ids: list[str], disk: StoppingDisk, said: Said) -> None:
    base, image_id = ids
    serving(root, lambda service: send(service, base, image_id, said), disk)


def look(root: Path, ids: list[str], said: list[str]) -> None:
    base, image_id = ids

    async def work(service: ImageService) -> None:
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
            await send(service, base, image_id, Said(root / "again"))
        assert await service.get(image_id) == expected(), "the image reads other bytes"
        every_row_has_its_entry(service.store)
        # That of the base's upload is gone; of this one's at most what no pin names.
        assert len(list((root / "journals").iterdir())) <= 1, "journals pile up"

    serving(root, work)


if __name__ == "__main__":
    sys.exit(main(Subject(prepare, upload, look)))
