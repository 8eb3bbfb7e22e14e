"""Flip bits of an index and read every image after each: `python -m tests.blockstore.index_flips DIR COUNT SEED`.

Each read runs in a forked process, which LMDB may end. A line of JSON a flip: what became of it. What must hold: the
right bytes, or an error that says `rebuild-index`; after an end by LMDB the next start says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from blockstore.errors import Damaged, DataRefused, Missing
from tests.kit.filled_store import contents, fill
from tests.kit.image_service import image_service

SAME, TOLD, WRONG, SILENT = 0, 10, 11, 12
IMAGES = contents(2, 200_000)


def outcome(root: Path, ids: list[str]) -> int:
    """Read every image: all the same, or told what to do, or not."""

    async def work() -> int:
        code = SAME
        with image_service(root) as service:
            for image_id, data in zip(ids, IMAGES, strict=True):
                try:
                    if await service.get(image_id) != data:
                        return WRONG
                except (Damaged, Missing) as error:
                    code = max(code, TOLD if "rebuild-index" in str(error) else SILENT)
        return code

    try:
        return asyncio.run(work())
    except (Damaged, DataRefused) as error:
        return TOLD if "rebuild-index" in str(error) else SILENT


def in_child(root: Path, ids: list[str]) -> int:
    child = os.fork()
    if not child:
        code = 99
        try:
            code = outcome(root, ids)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(work: Path, count: int, seed: int) -> int:
    root, rng = work / "data", random.Random(seed)
    child = os.fork()
    if not child:
        (work / "ids").write_text(json.dumps(fill(root, IMAGES)), encoding="utf-8")
        os._exit(0)
    os.waitpid(child, 0)
    ids = json.loads((work / "ids").read_text(encoding="utf-8"))
    file = root / "index" / "data.mdb"
    whole = file.read_bytes()
    bad = 0
    for _ in range(count):
        data = bytearray(whole)
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        code = in_child(root, ids)
        again = None
        if code < 0:
            file.write_bytes(data)
            again = in_child(root, ids)
        fine = code in {SAME, TOLD} or again == TOLD
        bad += not fine
        print(json.dumps({"byte": bit // 8, "code": code, "again": again, "fine": fine}), flush=True)
        file.write_bytes(whole)
        (root / "index" / "in-use").unlink(missing_ok=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
