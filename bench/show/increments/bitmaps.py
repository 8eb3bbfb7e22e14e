"""A disk in use, pushed night after night by QEMU's dirty bitmap, with the script that the documentation has."""

from __future__ import annotations

import json
import random
import re
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import count, tools
from bench.guest_writes import scattered, touched
from bench.images import REAL, SMALL, real_pair
from bench.places import ROOT, drystone
from bench.qemu_compare import DIFFERENT, IDENTICAL, compare, compare_command
from bench.show import client
from bench.show.registry import Figure, Room, check, holds, told
from bench.show.server import Server, environment
from bench.storage_daemon import StorageDaemon

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bench.guest_writes import GuestWrite

NEEDED = ("qemu-img", "qemu-io", "qemu-storage-daemon", "nbdinfo", tools.QEMU_CURL)
_DOCUMENT = ROOT / "httpapi/cli/RUNNING_MACHINES.md"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TAIL = 3 * 512  # bytes after the last whole block
# Finer than a block of the image, so that rounding shows: QEMU takes the size of a cluster.
_CLUSTER = 16384
_WRITES = 60
_GROWTH = (1 << 20) + 512

# Stands where the script calls drystone, while the point in time is held: what the bitmap says, then writes by the
# disk's user, some of them beside the push, then what qemu-img says of the export and the image.
_STAND_IN = """#!/bin/sh
set -eu
cd {room}
if [ -e fail ]; then rm fail; exit 1; fi
nbdinfo --map=qemu:dirty-bitmap:since --json {export} > map.json 2> map.err || echo null > map.json
sh -c "$(cat before)"
sh -c "$(cat beside)" &
wc -c < trace > began
image=$({drystone} "$@")
wait
wc -c < trace > ended
{compare} > compared 2>&1 || true
echo "$image"
"""


@dataclass(slots=True)
class Nights:
    """A disk in use, the script, and what was written to the disk since the last image."""

    room: Path
    daemon: StorageDaemon
    url: str
    size: int
    dice: random.Random
    written: list[GuestWrite] = field(default_factory=list)

    def write(self) -> None:
        """As the disk's user, between two nights."""
        writes = scattered(self.dice, self.size, _WRITES)
        client.run(self.daemon.guest([each.command for each in writes]))
        self.written += writes

    def grow(self, more: int) -> int:
        """Makes the disk longer while nobody has it in use; the size that it had."""
        tools.run("qemu-img", "resize", "-q", "-f", "qcow2", str(self.daemon.disk), f"+{more}")
        self.size += more
        return self.size - more

    def push(self, *, busy: bool) -> Night:
        """A night, in which its user writes on if `busy`. RuntimeError if the script fails."""
        meanwhile: list[GuestWrite] = []
        for name in ("before", "beside"):
            writes = scattered(self.dice, self.size, _WRITES // 2) if busy else []
            meanwhile += writes
            command = shlex.join(self.daemon.guest([each.command for each in writes])) if busy else "true"
            (self.room / name).write_text(command)
        image = self.run().strip()
        began, ended = (int((self.room / name).read_text()) for name in ("began", "ended"))
        rows = json.loads((self.room / "map.json").read_text())
        night = Night(
            image,
            tuple(self.written),
            [] if rows is None else [(row["offset"], row["length"]) for row in rows if row["type"]],
            self.daemon.reads(began, ended),
            (self.room / "compared").read_text().strip(),
        )
        # While a point in time is held, QEMU passes over discards: what backup puts above the disk does not take them.
        self.written = [each for each in meanwhile if not each.is_discard]
        return night

    def length(self, block: int) -> int:
        """Of a block of the image: the last one is shorter."""
        return min(count.BLOCK, self.size - block * count.BLOCK)

    def run(self) -> str:
        """The script, as cron would run it."""
        arguments = [str(self.daemon.qmp), str(self.daemon.nbd), "disk", "vm", str(self.room / "state")]
        variables = {
            "DRYSTONE_ENDPOINT": self.url,
            "XDG_STATE_HOME": str(self.room / "home"),
            "PATH": f"{self.room / 'bin'}:{environment({})['PATH']}",
        }
        return client.run([sys.executable, str(self.room / "nightly.py"), *arguments], variables)


@dataclass(frozen=True, slots=True)
class Night:
    """What was written before it, what the bitmap said (offset, length), what was read, what qemu-img says of it."""

    image: str
    written: tuple[GuestWrite, ...]
    dirty: list[tuple[int, int]]
    reads: list[tuple[int, int]]
    compared: str


@check("increments", "bitmaps", "A disk in use is pushed by its bitmap: just what is dirty is read, and all is right.")
def bitmaps(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing(*NEEDED):
        yield Figure("a disk in use", "none", "one", False, (why,))
        return
    blocks = dict(_BLOCK.findall(_DOCUMENT.read_text()))
    size, disk = _disk(room)
    with (
        Server(room.work / "data") as server,
        StorageDaemon(blocks["sh"], disk, room.work / "trace") as daemon,
    ):
        nights = Nights(room.work, daemon, server.url, size, random.Random(size))
        _put_script(nights, blocks["python"])
        yield told("the disk in use", f"{size / 1e6:.0f} MB", ("a qcow2 of the pair's v1, with a bitmap in it",))
        yield from _whole("first night", nights, nights.push(busy=True))
        nights.write()
        yield from _increment("round 1", nights, nights.push(busy=True))
        nights.write()
        yield _failing(nights)
        nights.write()
        yield from _increment("round 2, after a failure", nights, nights.push(busy=True))
        nights.write()
        daemon.stop()
        daemon.start()
        last = nights.push(busy=False)
        yield from _increment("round 3, after a shutdown", nights, last)
        daemon.stop()
        said = compare(str(disk), client.file_of(server.url, last.image), "qcow2")
        yield holds("stopped: qemu-img: the qcow2 and the image", said == IDENTICAL, (said,))
        was = nights.grow(_GROWTH)
        daemon.start()
        nights.write()
        yield from _increment("round 4, the disk grown", nights, nights.push(busy=False), was)
        nights.write()
        daemon.kill()
        daemon.start()
        yield from _whole("after a kill -9 of QEMU", nights, nights.push(busy=False))


def _disk(room: Room) -> tuple[int, Path]:
    """The size in bytes and the path of a qcow2."""
    pair, disk = real_pair(room.images, SMALL if room.short else REAL), room.work / "disk.qcow2"
    tools.run("qemu-img", "convert", "-O", "qcow2", "-o", f"cluster_size={_CLUSTER}", str(pair.v1), str(disk))
    tools.run("qemu-img", "resize", "-q", str(disk), f"+{_TAIL}")
    return pair.size + _TAIL, disk


def _put_script(nights: Nights, script: str) -> None:
    for name in ("state", "bin"):
        (nights.room / name).mkdir()
    (nights.room / "nightly.py").write_text(script)
    stand_in = nights.room / "bin" / "drystone"
    stand_in.write_text(
        _STAND_IN.format(
            room=shlex.quote(str(nights.room)),
            export=shlex.quote(nights.daemon.uri("night")),
            drystone=shlex.join(drystone()),
            # The shell puts the image's id where it is not known yet.
            compare=_quoted(compare_command(nights.daemon.uri("night"), client.file_of(nights.url, "@image@"))),
        )
    )
    stand_in.chmod(0o755)


def _quoted(command: list[str]) -> str:
    return shlex.join(command).replace("@image@", "'\"$image\"'")


def _whole(name: str, nights: Nights, night: Night) -> Generator[Figure, None, None]:
    """A night of which no bitmap tells."""
    read = sum(length for _, length in night.reads)
    yield Figure(f"{name}: read of the export", f"{read} bytes", f"= {nights.size} bytes", read == nights.size)
    yield from _right(name, nights, night)


def _increment(name: str, nights: Nights, night: Night, was: int | None = None) -> Generator[Figure, None, None]:
    """A night by the bitmap; `was` is the disk's size in the night before, where it has grown since."""
    written, pieces = touched(night.written, _CLUSTER), _numbers(night.dirty, _CLUSTER)
    blocks = _numbers(night.dirty, count.BLOCK)
    dirty = sum(length for _, length in night.dirty)
    detail = (
        f"{len(night.written)} writes, {len(night.dirty)} dirty extents with {dirty} bytes, in {len(blocks)} blocks",
    )
    yield holds(f"{name}: dirty is what was written", pieces == written, detail)
    if was is not None:
        # No bitmap needs to tell of what the parent cannot have, its last block in this length included.
        blocks |= _numbers([(was, nights.size - was)], count.BLOCK)
    rounded = sum(nights.length(block) for block in blocks)
    read = sum(length for _, length in night.reads)
    just = read == rounded and _numbers(night.reads, count.BLOCK) == blocks
    requests = (f"{len(night.reads)} reads, as QEMU's trace has them",)
    yield Figure(f"{name}: read of the export", f"{read} bytes", f"= {rounded} bytes", just, requests)
    yield from _right(name, nights, night)


def _right(name: str, nights: Nights, night: Night) -> Generator[Figure, None, None]:
    said = night.compared
    yield holds(f"{name}: qemu-img: the export and the image", said == IDENTICAL, (said,))
    if nights.written:
        said = compare(nights.daemon.uri("guest"), client.file_of(nights.url, night.image))
        yield holds(f"{name}: without what was written meanwhile", said.startswith(DIFFERENT), (said,))
    left = {each: nights.daemon.bitmaps()[each]["recording"] for each in nights.daemon.bitmaps()}
    if left != {"since": True}:
        yield holds(f"{name}: one bitmap goes on", False, (f"{left}",))


def _failing(nights: Nights) -> Figure:
    """The bitmap of a night that failed goes on with all that it had."""
    (nights.room / "fail").touch()
    failed = False
    try:
        nights.run()
    except RuntimeError:
        failed = True
    return holds("a push that fails, fails the night", failed and not (nights.room / "fail").exists())


def _numbers(extents: list[tuple[int, int]], piece: int) -> set[int]:
    """The pieces of so many bytes that extents touch."""
    return {number for offset, length in extents for number in range(offset // piece, -(-(offset + length) // piece))}
