"""The user's example: an ephemeral volume for quick clones, and a copy that stays in case the volume is lost."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

from bench import boot, tools, volume
from bench.images import MIB, compressible_image
from bench.kept_places import OnVolume, stores_file
from bench.show import client
from bench.show.locations.failover import is_read_from
from bench.show.registry import Figure, Room, at_most, check, holds
from bench.show.server import Server
from bench.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

PUT_BACK_WITHIN: Final = 60.0
"""Seconds from when the empty volume is mounted until the image is read from there again."""
NOTICED_WITHIN: Final = 20.0
"""A store that is down is asked every ten seconds at least; when it is back its copies are looked at."""
_LONG, _SHORT = 1024 * MIB, 64 * MIB


@check(
    "locations",
    "users-example",
    "An ephemeral volume is lost with its copy: still served; the copy is put back by itself.",
)
def users_example(room: Room) -> Generator[Figure, None, None]:
    if why := volume.missing() or tools.missing(*boot.NEEDED):
        yield holds("a volume can be made here, and a machine booted", False, (why,))
        return
    disk = room.work / "disk"
    compressible_image(disk, _SHORT if room.short else _LONG, seed=32)
    boot.make_bootable(disk, seed=32)
    size = disk.stat().st_size
    with Volume(room.work / "volume.img", room.work / "fast", 2 * size + 64 * MIB) as lost:
        fast = OnVolume(lost)
        file = stores_file(room.work / "stores.toml", [fast], "fast")
        with Server(room.work / "data", settings={"stores_file": file}) as server:
            yield from _example(server, fast, disk, room.work)


def _example(server: Server, fast: OnVolume, disk: Path, work: Path) -> Generator[Figure, None, None]:
    image = client.program(server.url, "push", str(disk), "--name", "debian").strip()
    client.program(server.url, "copy", "debian", "--to", "fast")
    told = client.program(server.url, "locations", "debian")
    yield holds(
        "`drystone copy debian --to fast`: it lies in both", _stores(told) == ["fast", "blocks"], (told.strip(),)
    )
    yield holds("it is read from the volume", is_read_from(server, image, fast))
    fast.volume.unmount()
    yield _served("the volume is unmounted: it is served all the same", server, image, disk, work)
    yield _boots("and a machine boots from it", server, image, disk)
    yield holds("and nothing is written beside the volume", not any(fast.volume.mount_point.iterdir()))
    fast.volume.wipe()
    fast.volume.mount()
    mounted = time.monotonic()
    noticed = _until(lambda: _stores(client.program(server.url, "locations", "debian")) == ["blocks"], NOTICED_WITHIN)
    # A copy is put back so soon after that a look may miss it.
    if noticed is not None:
        what = "another, empty one is mounted: the location is marked after"
        yield at_most(what, noticed, NOTICED_WITHIN, "s", ("until it is put back it is told no more",))
    yield _served("meanwhile it is served", server, image, disk, work)
    _until(lambda: is_read_from(server, image, fast), 2 * PUT_BACK_WITHIN)
    yield at_most("put back, and read from there again, after", time.monotonic() - mounted, PUT_BACK_WITHIN, "s")
    yield holds("one copy lies there, no more", fast.copies() == 1, (f"{fast.copies()} files",))
    yield _served("every byte is right", server, image, disk, work)
    yield _boots("a machine boots from the volume's copy", server, image, disk)
    tasks = client.call(f"{server.url}/v2/tasks?type=put_back")["tasks"]
    done = bool(tasks) and all(task["status"] == "success" for task in tasks)
    yield holds("by the service's own tasks", done, (f"put_back: {', '.join(task['status'] for task in tasks)}",))


def _served(what: str, server: Server, image: str, disk: Path, work: Path) -> Figure:
    back = work / "back"
    client.download(server.url, image, back)
    same = _hash(back) == _hash(disk)
    back.unlink()
    return holds(what, same)


def _boots(what: str, server: Server, image: str, disk: Path) -> Figure:
    """Over HTTP, as QEMU reads it; what it says is what a boot from the disk itself says."""
    try:
        said = boot.boot(f"{server.url}/v2/images/{image}/file")
    except boot.DidNotBoot as error:
        return holds(what, False, (str(error),))
    return holds(what, said == boot.boot(str(disk)), (said,))


def _stores(told: str) -> list[str]:
    """The stores in what `drystone locations` prints."""
    return [each.split("\t")[0] for each in told.splitlines()]


def _until(come: Callable[[], bool], seconds: float) -> float | None:
    """After how many seconds it was so; None if it never was."""
    began = time.monotonic()
    while not come():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.1)
    return time.monotonic() - began


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
