"""Stop an upload at step 1, 2, 3 …: the finished image reads the same, the upload can be sent again.

`python -m tests.crashes.crash_at_every_step CUTTING DIR MODE FIRST STRIDE`; CUTTING says how the upload is cut, the
rest is as `stopped_work` has it.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from catalog.usecases import image_data
from tests.crashes.stopped_work import Said, Subject, main, serving
from tests.kit.images_in_store import both_copies_are_right, every_row_has_its_entry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.faulty_disk import StoppingDisk
    from tests.kit.image_service import ImageService

FIRST_DATA = random.Random(1).randbytes(300_000) + bytes(100_000)
SECOND_DATA = FIRST_DATA[:200_000] + random.Random(2).randbytes(900_001)


def prepare(root: Path, cutting: str) -> list[str]:
    """A finished image and a queued one."""
    ids: list[str] = []

    async def work(service: ImageService) -> None:
        ids.append(await service.pushed(FIRST_DATA))
        ids.append(await service.new("next", cutting=cutting))

    serving(root, work)
    return ids


def upload(root: Path, ids: list[str], disk: StoppingDisk, said: Said) -> None:
    async def work(service: ImageService) -> None:
        await service.put(ids[1], SECOND_DATA)
        said.tell("acknowledged")

    serving(root, work, disk)


def look(root: Path, ids: list[str], said: list[str]) -> None:
    done, image_id = ids

    async def work(service: ImageService) -> None:
        await image_data.requeue_orphans(service.services)
        assert await service.get(done) == FIRST_DATA, "the finished image reads other bytes"
        status = await service.status(image_id)
        assert status == "active" if said else status in {"queued", "active"}, f"the image is {status}"
        if status == "queued":
            await service.put(image_id, SECOND_DATA)
        assert await service.get(image_id) == SECOND_DATA, "the image reads other bytes"
        every_row_has_its_entry(service.store)
        for each in ids:
            both_copies_are_right(root, await service.manifest(each))
        # Each upload has one; that of a commit which was never told of may stay, named by no pin.
        assert len(list((root / "journals").iterdir())) <= 1, "journals pile up"

    serving(root, work)


if __name__ == "__main__":
    sys.exit(main(Subject(lambda root: prepare(root, sys.argv[1]), upload, look)))
