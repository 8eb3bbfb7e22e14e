"""Stop a collection, or the making of a new index, at step 1, 2, 3 …: all is there, and a second run finishes.

`python -m tests.crashes.crash_while_cleaning DIR WORK MODE FIRST STRIDE`; WORK is `gc` or `rebuild`, MODE `kill` or
`power`. A line of JSON a step; exit 0 if all held.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.data_dir import DataDir
from blockstore.disk import Disk
from blockstore.garbage import Collecting
from blockstore.index.rebuild import Rebuilding, rebuild
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from tests.crashes.crash_at_every_step import LAST_STEP, in_child
from tests.kit.faulty_disk import STOPPED, StoppingDisk
from tests.kit.filled_store import MAP, contents, delete, fill, looked_after, read

if TYPE_CHECKING:
    from blockstore.disk import Disk as AnyDisk

IMAGES = contents(3, 300_000)


def prepare(root: Path, said: Path) -> None:
    """Three images, of which the first is deleted."""
    ids = fill(root, IMAGES)
    delete(root, ids[0])
    said.write_text(json.dumps(ids[1:]), encoding="utf-8")


def collect(root: Path, disk: AnyDisk) -> None:
    with looked_after(root, exclusive=True, disk=disk) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now())


def make_again(root: Path, disk: AnyDisk) -> None:
    data = DataDir.open_made(root, disk, purpose="test", exclusive=True)
    with contextlib.closing(data):
        rebuild(data, Rebuilding(data=True, keep_old=True, map_size=MAP), Silent())


def work(what: str, root: Path, stop_at: int, *, power_cut: bool) -> None:
    disk = StoppingDisk(stop_at, power_cut=power_cut)
    (collect if what == "gc" else make_again)(root, disk)


def look(what: str, root: Path, ids: list[str]) -> None:
    """Whatever is left is whole; images read the same; the same work done to its end leaves nothing behind."""
    verified(root)
    for image_id, data in zip(ids, IMAGES[1:], strict=True):
        assert read(root, image_id) == data, "other bytes"
    (collect if what == "gc" else make_again)(root, Disk())
    verified(root)
    for image_id, data in zip(ids, IMAGES[1:], strict=True):
        assert read(root, image_id) == data, "other bytes after the second run"
    if what == "gc":
        with looked_after(root) as (store, records):
            found = administration.stats(store, records, Silent(), garbage=True).store
        assert found.garbage is not None
        assert (found.garbage.blocks, found.dead.blocks) == (0, 0), "the second run left something"
        assert found.manifests["retired"].files == found.manifests["orphaned"].files == 0
        assert found.packs["open"].files == found.packs["retiring"].files == 0
    fill(root, IMAGES[:1])
    verified(root)


def verified(root: Path) -> None:
    with looked_after(root) as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
    assert found.verified.clean, found.verified.findings
    assert not any("register" in note for note in found.verified.notes), found.verified.notes


def main(directory: Path, what: str, mode: str, first: int, stride: int) -> int:
    origin, said = directory / "origin", directory / "ids"
    assert in_child(prepare, origin, said) == 0
    ids = json.loads(said.read_text(encoding="utf-8"))
    for step in range(first, LAST_STEP, stride):
        root = directory / "data"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(origin, root)
        code = in_child(work, what, root, step, power_cut=mode == "power")
        held = in_child(look, what, root, ids) == 0
        print(json.dumps({"step": step, "stopped": code == STOPPED, "held": held}), flush=True)
        if not held or code not in {0, STOPPED}:
            return 1
        if code == 0:
            return 0
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
