"""A block device that is written to between two pushes of it, in every way that there is: each write is noticed."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import count, loop_device
from bench.counting_proxy import CountingProxy
from bench.images import REAL, SMALL, real_pair
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# A request's headers and names beside the block itself, and the requests before and after it.
FIXED = 20_000
QUIET = 2.5  # seconds after which a file's times tell of every change
_TAIL = 3 * 512  # bytes after the last whole block


@dataclass(slots=True)
class Disk:
    """A device over a file, and the wire to the server that both are pushed to."""

    device: str
    behind: Path
    wire: CountingProxy
    home: Path
    dice: random.Random
    size: int

    def push(self, source: str | Path) -> Pushed:
        self.wire.taken()
        name = "file" if source == self.behind else "device"
        said = client.program(self.wire.url, "push", str(source), "--name", name, "--json", home=self.home)
        return Pushed(
            **{key: value for key, value in json.loads(said).items() if key in Pushed.__slots__},
            wire=self.wire.taken()[0],
        )

    def somewhere(self) -> int:
        """The offset of a whole block."""
        return self.dice.randrange(self.size // count.BLOCK) * count.BLOCK


@dataclass(frozen=True, slots=True)
class Pushed:
    """What `drystone push --json` told, and the bytes that went over the wire."""

    id: str
    size: int
    unchanged: int
    seconds: float
    wire: int


@check("increments", "loop-device", "Writes to a block device between two pushes are noticed, and they alone are sent.")
def loop(room: Room) -> Generator[Figure, None, None]:
    if why := loop_device.missing():
        yield Figure("a loop device", "none", "one", False, (why,))
        return
    behind = room.work / "disk.img"
    pair = real_pair(room.images, SMALL if room.short else REAL)
    client.run(["cp", "--sparse=always", str(pair.v1), str(behind)])
    os.truncate(behind, pair.size + _TAIL)
    with Server(room.work / "data") as server, CountingProxy(server.port) as wire, loop_device.over(behind) as device:
        disk = Disk(device, behind, wire, room.work / "home", random.Random(pair.size), pair.size)
        first, again = disk.push(device), disk.push(device)
        yield told("a loop device over a copy of the pair's v1", f"{first.size / 1e6:.0f} MB")
        detail = (f"read again in {again.seconds:.2f} s",)
        yield at_most("nothing written: push sends", again.wire / 1e3, FIXED / 1e3, "kB", detail)
        # As a mounted file system has it open: nothing is written back at once, and what was read is kept.
        with Path(device).open("rb"):
            for how, length, write in _writes(disk):
                write()
                yield from _noticed(how, length, disk, device)
        loop_device.write(behind, disk.somewhere() + 7, disk.dice.randbytes(1000))
        yield from _noticed("the file behind it, nobody at the device", count.BLOCK, disk, device)
        yield from _of_the_file(disk)


def _writes(disk: Disk) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """Each way to write, the bytes of the blocks that it touches, and what does it."""
    device, dice, one = disk.device, disk.dice, disk.somewhere()
    yield "O_DIRECT", count.BLOCK, lambda: loop_device.write_direct(device, one, dice.randbytes(count.BLOCK))
    for how, offset, length in (
        ("page cache", disk.somewhere() + 777, count.BLOCK),
        ("page cache, two blocks", max(one, count.BLOCK) - 500, 2 * count.BLOCK),
        ("page cache, last block", disk.size + 99, _TAIL),
    ):
        yield how, length, partial(_write_unsynced, disk, offset)
    yield "discarded", count.BLOCK, lambda: loop_device.discard(device, one, count.BLOCK)
    yield "the file behind it", count.BLOCK, lambda: loop_device.write(disk.behind, one + 5, dice.randbytes(1000))


def _write_unsynced(disk: Disk, offset: int) -> None:
    data = disk.dice.randbytes(1000)
    loop_device.write(disk.device, offset, data)
    with disk.behind.open("rb") as file:
        file.seek(offset)
        if file.read(len(data)) == data:
            raise RuntimeError(f"what was written to {disk.device} was synced by itself: nothing was shown")


def _of_the_file(disk: Disk) -> Generator[Figure, None, None]:
    """The other way round: the file is pushed, whose blocks' names are kept as long as its times stay."""
    loop_device.settle(disk.device)
    time.sleep(QUIET)
    disk.push(disk.behind)
    kept = disk.push(disk.behind)
    yield at_most(
        "nothing written, the file pushed: push sends", kept.wire / 1e3, FIXED / 1e3, "kB", (f"{kept.seconds:.2f} s",)
    )
    loop_device.write(disk.device, disk.somewhere() + 1001, disk.dice.randbytes(1000))
    loop_device.settle(disk.device)
    yield from _noticed("the device, synced, and the file pushed", count.BLOCK, disk, disk.behind)


def _noticed(how: str, length: int, disk: Disk, source: str | Path) -> Generator[Figure, None, None]:
    """Pushes; then the image is what the file has once all is written to it."""
    pushed = disk.push(source)
    detail = (f"{pushed.size - pushed.unchanged} bytes in blocks that differ, {pushed.seconds:.2f} s",)
    yield at_most(f"{how}: push sends", pushed.wire / 1e3, (length + FIXED) / 1e3, "kB", detail)
    loop_device.settle(disk.device)
    back = disk.behind.with_name("back.img")
    client.download(disk.wire.url, pushed.id, back)
    right = client.same(disk.behind, back) and pushed.size - pushed.unchanged == length
    back.unlink()
    yield holds(f"{how}: the image has just that", right)
