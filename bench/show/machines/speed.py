"""What a conversion of the real image costs, beside plain `qemu-img convert` of the same file with the same options.

A job reads the image out of blocks, converts that file, and takes in what came of it. The second of these is compared
with qemu-img on a file that came as the job's did, sparse and over as many seconds (`bench/paced_copy.py` says why);
told beside it, what qemu-img takes for a file that has lain there for long. All of the job is compared with the same by
hand: curl, qemu-img and curl.
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
from bench.paced_copy import paced_copy
from bench.qemu_img import Cost
from bench.show import client
from bench.show.registry import MB, Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from catalog.conversion.qemu_img import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Generator

BOUND: Final = 1.3
ROUNDS: Final = 5

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
WAYS: Final = {(RAW, QCOW2): ROUNDS, (QCOW2, RAW): ROUNDS, (RAW, PACKED): 1, (PACKED, RAW): 3}
"""With their rounds: to compress takes a minute, which no other moment of the machine changes much."""


@dataclass(frozen=True, slots=True)
class Round:
    """One conversion by a job, of which `step` converts a file; `plain` is qemu-img of one that came alike.

    `lying` is qemu-img of a file that has lain there for long, and `by_hand` the whole by hand, in seconds.
    """

    job: Cost
    step: Cost
    plain: Cost
    by_hand: float
    lying: Cost
    seconds: dict[str, float]
    right: bool

    @property
    def parts(self) -> str:
        """The job's, in words."""
        return ", ".join(f"{name} {took:.2f} s" for name, took in self.seconds.items())


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
            for source, target in (*WAYS, *WAYS)[turn : turn + len(WAYS)]:
                done = rounds[source, target]
                if number < WAYS[source, target]:
                    pace = done[-1].seconds["read"] if number % 2 else None
                    done.append(_round(server, *kept[source], source, target, room.work, pace))
    for (source, target), found_all in rounds.items():
        yield from _figures(f"{source} → {target}", found_all)


def _figures(name: str, rounds: list[Round]) -> Generator[Figure, None, None]:
    plain, step, lying = (
        Cost(median(each.wall for each in costs), median(each.cpu for each in costs))
        for costs in ([each.plain for each in rounds], [each.step for each in rounds], [each.lying for each in rounds])
    )
    for what, ours, theirs, long_there in (
        ("time", step.wall, plain.wall, lying.wall),
        ("CPU", step.cpu, plain.cpu, lying.cpu),
    ):
        found = (
            f"{ours:.2f} s, qemu-img {theirs:.2f} s; medians of {len(rounds)}",
            f"qemu-img, of a file that has lain there for long: {long_there:.2f} s",
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


def _round(server: Server, file: Path, image: str, source: Form, target: Form, work: Path, pace: float | None) -> Round:
    """Ours first; or qemu-img, with a file that comes over `pace` seconds."""

    def alone(disk: Path) -> Cost:
        made.unlink(missing_ok=True)
        return qemu_img.convert(disk, source.disk_format, made, target.disk_format, *target.options)

    def paced(seconds: float) -> Cost:
        _rest(came, made)
        paced_copy(file, came, seconds)
        return alone(came)

    made, came = work / "made", work / "came"
    lying = alone(file)
    plain = None if pace is None else paced(pace)
    _rest(came, made)
    job, step, seconds, converted = _by_job(server, image, target)
    plain = plain or paced(seconds["read"])
    _rest(came, made)
    client.download(server.url, converted, came)
    right = qemu_img.equal(file, source.disk_format, came, target.disk_format)
    client.delete(server.url, converted)
    _rest(came, made)
    began = time.monotonic()
    client.download(server.url, image, came)
    alone(came)
    uploaded = conversions.kept(server.url, made, target.disk_format)
    by_hand = time.monotonic() - began
    client.delete(server.url, uploaded)
    return Round(job, step, plain, by_hand, lying, seconds, right)


def _rest(*files: Path) -> None:
    """Each way begins without the files of those before, and when the disk has nothing left to write."""
    for file in files:
        file.unlink(missing_ok=True)
    os.sync()


def _by_job(server: Server, image: str, target: Form) -> tuple[Cost, Cost, dict[str, float], str]:
    """A conversion on demand: what all of it cost, what its step did, its parts' seconds, and the new image."""
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
    return job, step, seconds, str(ended["image_id"])


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of CPU that a process has had, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, of_children, in_kernel = (int(field) / _TICK for field in fields[11:15])
    return user + system, of_children + in_kernel
