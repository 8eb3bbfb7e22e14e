"""Stop a compaction at step 1, 2, 3 …: all is there, and the next one finishes.

`python -m tests.crashes.crash_while_compacting DIR MODE FIRST STRIDE`; the arguments are as `stopped_work` has it. The
data is opened beside others, as a collection of a running server does it.
"""

from __future__ import annotations

import random
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from blockstore.compaction.run import Compacting
from blockstore.compaction.strewn import strewn
from blockstore.disk import Disk
from blockstore.index.contract import PackState
from blockstore.manifest import ManifestFile
from blockstore.packs.adoption import adopt_orphans
from blockstore.progress import Silent
from blockstore.roots import path_of
from catalog.usecases import administration
from tests.crashes.stopped_work import Subject, main
from tests.kit.compacted import compacted_beside, counted
from tests.kit.filled_store import contents, delete, fill, looked_after, read, verified, woven

if TYPE_CHECKING:
    from pathlib import Path

FRESH = contents(2, 600_000)
IMAGES = [*FRESH, woven(FRESH[0], random.Random(7).randbytes(300_000))]
GONE = b"".join(contents(4, 400_000)[2:])
HOW = Compacting(share=0, slack=0, full=256 * 1024, least_extra=8)


def prepare(root: Path) -> list[str]:
    """Two images, a third that is strewn over them and packs of its own, and dead blocks in all packs."""
    ids = fill(root, [GONE, *IMAGES])
    with looked_after(root) as (store, records):
        live = records.read(administration.roots_of).live
        needed: set[bytes] = set()
        for name in sorted(live)[1:]:
            with closing(ManifestFile(path_of(root, name), live[name].digest)) as manifest:
                needed |= {digest.tobytes() for leaf in manifest.digests() for digest in leaf}
        doomed = [name for name, _ in store.index.scan() if name not in needed]
        store.index.condemn_many(doomed, b"run")
        store.index.forget_many(doomed, b"run")
        assert list(strewn(store, records.read(administration.roots_of), HOW.least_extra)), "something to put in order"
    delete(root, ids[0])
    return ids[1:]


def work(root: Path, disk: Disk) -> None:
    with looked_after(root, disk=disk) as (store, records):
        adopt_orphans(store.index, store.packs, disk, store.data.is_alive)
        compacted_beside(store, counted(store), HOW, records.read(administration.roots_of))


def look(root: Path, ids: list[str]) -> None:
    """Whatever is left is whole; images read the same; the same work done to its end leaves nothing behind."""
    verified(root)
    for image_id, data in zip(ids, IMAGES, strict=True):
        assert read(root, image_id) == data, "other bytes"
    work(root, Disk())
    verified(root)
    for image_id, data in zip(ids, IMAGES, strict=True):
        assert read(root, image_id) == data, "other bytes after the second run"
    with looked_after(root) as (store, records):
        assert not list(strewn(store, records.read(administration.roots_of), HOW.least_extra)), "not in order"
        found = administration.stats(store, records, Silent(), garbage=True).store
        assert found.dead.blocks == 0, "the second run left something"
        assert {record.state for record in store.index.packs()} == {PackState.SEALED}
        known = {store.packs.path(record.name) for record in store.index.packs()}
        assert set(root.glob("packs/*/*.zst")) == known, "a pack that nobody knows"


if __name__ == "__main__":
    sys.exit(
        main(
            Subject(prepare, lambda root, _ids, disk, _said: work(root, disk), lambda root, ids, _said: look(root, ids))
        )
    )
