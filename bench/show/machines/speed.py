"""What a conversion of the real image costs, beside plain `qemu-img convert` of the same file with the same options.

The job's part that converts a file is what qemu-img is compared with, each on a copy that was just written: where a
conversion is half a second's copy in memory, what is still to be written to the disk takes its share. All of the job
reads the image out of blocks, checks them, and compresses and hashes what comes into them: it is compared with the same
by hand, curl and qemu-img.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from bench import conversions, qemu_img, tools
from bench.images import REAL, real_pair
from bench.qemu_img import Cost
from bench.show import client
from bench.show.registry import MB, Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from catalog.conversion.qemu_img import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Generator

BOUND: Final = 1.3
ROUNDS: Final = 3
_SLOW_ROUNDS: Final = 1
"""To compress takes a minute and more, which no other moment of the machine changes much."""

_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Form:
    """What a disk is kept as."""

    disk_format: str
    compressed: bool = False

    def __str__(self) -> str:
        return f"{self.disk_format}{' -c' if self.compressed else ''}"

    @property
    def options(self) -> tuple[str, ...]:
        """What qemu-img is told to write it."""
        return tuple(OPTIONS[self.disk_format, self.compressed])


RAW, QCOW2, PACKED = Form("raw"), Form("qcow2"), Form("qcow2", compressed=True)
WAYS: Final = ((RAW, QCOW2), (QCOW2, RAW), (RAW, PACKED), (PACKED, RAW))


@dataclass(frozen=True, slots=True)
class Round:
    """One conversion by a job, of which `step` converts a file; qemu-img alone; and all of it by hand, in seconds.

    `lying` is what qemu-img takes for a file that has lain there for long, in seconds.
    """

    job: Cost
    step: Cost
    plain: Cost
    by_hand: float
    lying: float
    parts: str
    right: bool


@check("machines", "speed", "Converting the real image takes at most 1.3 times what qemu-img takes.", long_only=True)
def speed(room: Room) -> Generator[Figure, None, None]:
    if why := tools.missing("qemu-img"):
        yield Figure("a conversion beside qemu-img's", "not run", f"<= {BOUND} times", False, (why,))
        return
    pair = real_pair(room.images, REAL)
    yield told("the real image", f"{pair.size / MB:.0f} MB", (str(pair),))
    with Server(room.work / "data") as server:
        kept = {}
        for number, form in enumerate((RAW, QCOW2, PACKED)):
            file = room.work / f"disk-{number}"
            qemu_img.convert(pair.v1, "raw", file, form.disk_format, *form.options)
            kept[form] = file, conversions.kept(server.url, file, form.disk_format)
        rounds: dict[tuple[Form, Form], list[Round]] = {way: [] for way in WAYS}
        for number in range(ROUNDS):
            # In another order each time, since a machine drifts.
            turn = number % len(WAYS)
            for source, target in WAYS[turn:] + WAYS[:turn]:
                if target is PACKED and number >= _SLOW_ROUNDS:
                    continue
                found = _round(server, *kept[source], source, target, room.work, ours_first=bool(number % 2))
                rounds[source, target].append(found)
    for (source, target), found_all in rounds.items():
        yield from _figures(f"{source} → {target}", found_all)


def _figures(name: str, rounds: list[Round]) -> Generator[Figure, None, None]:
    plain = Cost(median(each.plain.wall for each in rounds), median(each.plain.cpu for each in rounds))
    for what, ours, theirs in (
        ("time", median(each.step.wall for each in rounds), plain.wall),
        ("CPU", median(each.step.cpu for each in rounds), plain.cpu),
    ):
        found = (
            f"{ours:.2f} s, qemu-img alone {theirs:.2f} s; medians of {len(rounds)}",
            f"qemu-img, of a file that has lain there for long: {median(each.lying for each in rounds):.2f} s",
        )
        yield at_most(f"{name}: the conversion, {what}", ours / theirs, BOUND, "times", found)
    wall, cpu = median(each.job.wall for each in rounds), median(each.job.cpu for each in rounds)
    whole = (
        f"{wall:.2f} s, the first one {rounds[0].job.wall:.2f} s",
        f"CPU {cpu:.2f} s, {cpu / plain.cpu:.2f} times qemu-img's",
        *(each.parts for each in rounds),
    )
    yield told(f"{name}: the whole job, of qemu-img alone", f"{wall / plain.wall:.2f} times", whole)
    by_hand = median(each.by_hand for each in rounds)
    beside = (f"{wall:.2f} s, curl, qemu-img and curl {by_hand:.2f} s",)
    yield at_most(f"{name}: the whole job, of the same by hand", wall / by_hand, BOUND, "times", beside)
    yield holds(f"{name}: equal disks by qemu-img compare", all(each.right for each in rounds))


def _round(
    server: Server, file: Path, image: str, source: Form, target: Form, work: Path, *, ours_first: bool
) -> Round:
    def alone(disk: Path) -> Cost:
        made.unlink(missing_ok=True)
        return qemu_img.convert(disk, source.disk_format, made, target.disk_format, *target.options)

    made, back, copy = work / "plain", work / "back", work / "copy"

    def just_written() -> Cost:
        tools.run("cp", "--sparse=always", str(file), str(copy))
        return alone(copy)

    lying = alone(file).wall
    plain = None if ours_first else just_written()
    job, step, parts, converted = _by_job(server, image, target)
    plain = plain or just_written()
    client.download(server.url, converted, back)
    right = qemu_img.equal(file, source.disk_format, back, target.disk_format)
    client.delete(server.url, converted)
    began = time.monotonic()
    client.download(server.url, image, back)
    alone(back)
    client.delete(server.url, conversions.kept(server.url, made, target.disk_format))
    by_hand = time.monotonic() - began
    return Round(job, step, plain, by_hand, lying, parts, right)


def _by_job(server: Server, image: str, target: Form) -> tuple[Cost, Cost, str, str]:
    """A conversion on demand: what all of it cost, what its step did, in words, and the new image."""
    own, others = _cpu(server.pid)
    began = time.monotonic()
    task = conversions.converted(server.url, image, target.disk_format, compressed=target.compressed)
    ended = conversions.succeeded(server.url, task)
    wall = time.monotonic() - began
    own_after, others_after = _cpu(server.pid)
    seconds = ended["result"]["seconds"]
    # Its children are the programs in the cage, and nothing else.
    step = Cost(seconds["convert"], others_after - others)
    job = Cost(wall, own_after - own + others_after - others)
    return job, step, ", ".join(f"{name} {took:.2f} s" for name, took in seconds.items()), str(ended["image_id"])


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of CPU that a process has had, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, of_children, in_kernel = (int(field) / _TICK for field in fields[11:15])
    return user + system, of_children + in_kernel
