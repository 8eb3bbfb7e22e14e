"""How often a whole download reads files: after thirty nights, and after a collection has put the image in order.

Every read counts, of packs and of manifests: those of a chain are read one after another, so a collection also asks for
a whole one, which a server's job makes.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.in_process import Chain, Store, copied
from bench.parts import parts_for
from bench.show import client
from bench.show.collection.space import collect, edit, until_quiet
from bench.show.increments.delta import Pusher
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from catalog.sql.records import open_records
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Generator

OF_FRESH: Final = 1.3
NIGHTS: Final = 30
_EDITED: Final = 0.02  # of the blocks
_GIB: Final = 1 << 30


@check("collection", "order", "After thirty nights and a compaction, the newest image is read as in one piece.")
def order(room: Room) -> Generator[Figure, None, None]:
    disk, data, fresh = room.work / "disk.img", room.work / "data", room.work / "fresh"
    shutil.copyfile(parts_for(room).whole, disk)
    dice, user = random.Random(NIGHTS), Pusher(room.work / "home")
    with Server(data) as server:
        image = client.upload(server.url, disk, "disk")
        for _ in range(NIGHTS):
            edit(disk, dice, _EDITED)
            image = user.run(server.url, "push", str(disk), "--name", "disk", "--parent", image, "--quiet").strip()
    with Server(fresh) as server:
        again = client.upload(server.url, disk)
    whole = _reads(fresh, again, room)
    before = _reads(data, image, room)
    collect(data)
    packs_only = _reads(data, image, room)
    with Server(data) as server:
        until_quiet(server.url)
    after = _reads(data, image, room)
    size = f"of {disk.stat().st_size >> 20} MiB"
    yield told("reads a GiB, uploaded whole", f"{whole:.0f}", (size,))
    yield told(f"after {NIGHTS} increments", f"{before:.0f}", (f"{before / whole:.2f} times as many",))
    what = "after compaction, with a chain of manifests"
    yield told(what, f"{packs_only:.0f}", (f"{packs_only / whole:.2f} times as many",))
    yield at_most("after compaction, of the whole upload's", after / whole, OF_FRESH, "times", (f"{after:.0f} a GiB",))
    back = room.work / "back"
    with Server(data) as server:
        client.download(server.url, image, back)
    yield holds("it is the disk byte for byte", client.same(back, disk))


def _reads(data: Path, image: str, room: Room) -> float:
    """System calls that read, for each GiB of the image, by the kernel's own count; on a copy, which may be opened."""
    with open_records(data / CATALOG_FILE) as records:
        chain: Chain = records.read(
            lambda uow: [
                (stored.name, stored.digest)
                for held in uow.inventory.images()
                if held.id == image and held.manifest
                for stored in uow.manifests.chain(held.manifest)
            ]
        )
    target = copied(data, room.work / "read")
    with contextlib.closing(Store(target)) as store:
        store.read(chain)  # what is opened once is open now
        before = _reading_calls()
        size = store.read(chain)
        return (_reading_calls() - before) / size * _GIB


def _reading_calls() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["syscr"])
