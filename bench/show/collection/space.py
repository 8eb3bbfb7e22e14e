"""What is left when nine images of ten are deleted and the store is collected once: as much as a fresh store takes."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench import count
from bench.images import MIB
from bench.in_process import copied
from bench.parts import parts_for
from bench.places import drystone
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

OF_FRESH: Final = 1.1
STAY: Final = 0.1  # of the images
_LONG, _SHORT = (32 * MIB, 10, 10, 4), (6 * MIB, 4, 10, 2)  # bytes of a disk, disks, nights, collections meanwhile
_EDITED, _GO = 0.05, 0.3  # of the blocks each night; of the images before each collection
_GONE_AT_ONCE: Final = {"gc_keep_deleted": "0"}
"""Nothing deleted is kept, so children are coalesced before the collection, and not when it gives their parents up."""


@check(
    "collection", "space", "After nine of ten images are deleted and one collection, it is as small as a fresh store."
)
def space(room: Room) -> Generator[Figure, None, None]:
    data = room.work / "data"
    churn = _Churn(room)
    churn.run(data)
    full, images = _Size.of(data), len(churn.kept)
    with Server(data, settings=_GONE_AT_ONCE) as server:
        churn.delete(server.url, images - max(1, round(STAY * images)))
        until_quiet(server.url)
    stay = len(churn.kept)
    yield told(f"a churned store of {images} images", str(full), (f"{churn.made} were made; {stay} stay",))
    everything = copied(data, room.work / "everything")
    collected = collect(data)
    left = _Size.of(data)
    collect(everything, "--all")
    least = _Size.of(everything)
    fresh_data = room.work / "fresh"
    with Server(fresh_data) as server:
        fresh_images = [client.upload(server.url, file) for file in churn.kept.values()]
    fresh = _Size.of(fresh_data)
    detail = (f"left {left}, fresh {fresh}", f"freed {collected['freed'] / 1e6:.1f} MB")
    yield at_most("packs and manifests, of a fresh store's", left.both / fresh.both, OF_FRESH, "times", detail)
    yield told("the same with `gc --all`", f"{least.both / fresh.both:.2f} times", (str(least),))
    yield told("the index, which doesn't shrink", f"{left.index / 1e6:.2f} MB", (f"fresh {fresh.index / 1e6:.2f} MB",))
    client.run([*drystone(), "admin", "rebuild-index", "--data", str(data), "--quiet"])
    index = _Size.of(data).index
    yield told("and after `rebuild-index`", f"{index / 1e6:.2f} MB")
    back = room.work / "back"
    with Server(data) as server:
        same = [_reads(server.url, image, file, back) for image, file in churn.kept.items()]
    yield holds("what stays is as it was", all(same) and len(fresh_images) == stay)


@dataclass(frozen=True, slots=True)
class _Size:
    """Bytes on the disk of packs, of manifests with what lies beside them, and of the index."""

    packs: int
    manifests: int
    index: int

    @classmethod
    def of(cls, data: Path) -> _Size:
        return cls(*(files_taken(data / name) for name in ("packs", "manifests", "index")))

    @property
    def both(self) -> int:
        return self.packs + self.manifests

    def __str__(self) -> str:
        return f"packs {self.packs / 1e6:.2f} MB, manifests {self.manifests / 1e6:.2f} MB"


@dataclass(slots=True)
class _Churn:
    """Some disks that change every night, each night an increment of each; now and then some go, and are collected."""

    room: Room
    kept: dict[str, Path] = field(default_factory=dict)
    made: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(5))

    def run(self, data: Path) -> None:
        size, disks, nights, collections = _SHORT if self.room.short else _LONG
        newest: dict[int, str] = {}
        current = [self._disk(number, size) for number in range(disks)]
        for period in range(collections):
            with Server(data, settings=_GONE_AT_ONCE) as server:
                for _ in range(nights // collections):
                    self._night(server.url, current, newest)
                if period + 1 < collections:
                    self.delete(server.url, int(_GO * len(self.kept)))
            newest = {number: image for number, image in newest.items() if image in self.kept}
            if period + 1 < collections:
                collect(data)

    def _night(self, url: str, current: list[Path], newest: dict[int, str]) -> None:
        for number, disk in enumerate(current):
            edit(disk, self._dice, _EDITED)
            image = client.create(url, f"disk-{number}", newest.get(number))
            client.run(client.put_command(url, image, disk))
            self.kept[image] = shutil.copyfile(disk, disk.with_name(image))
            newest[number] = image
            self.made += 1

    def delete(self, url: str, number: int) -> None:
        for image in self._dice.sample(sorted(self.kept), number):
            client.delete(url, image)
            self.kept.pop(image).unlink()

    def _disk(self, number: int, size: int) -> Path:
        """Pieces of the real image, some of which several disks have."""
        path = self.room.work / "disks" / f"{number}.img"
        path.parent.mkdir(exist_ok=True)
        whole = parts_for(self.room).whole
        with whole.open("rb") as source:
            source.seek(number * size // 2 // count.BLOCK * count.BLOCK % max(1, whole.stat().st_size - size))
            path.write_bytes(source.read(size))
        return path


AT_ONCE: Final = ("--keep-deleted", "0")
"""What is deleted is given up by the next collection."""


def collect(data: Path, *options: str, beside: bool = False) -> dict[str, int]:
    """One collection by the command line; what it said. `beside`: a server runs."""
    where = [] if beside else ["--offline"]
    command = [*drystone(), "admin", "gc", *where, *AT_ONCE, "--data", str(data), "--json", "--quiet", *options]
    said: dict[str, int] = json.loads(client.run(command))
    return said


def until_quiet(url: str, seconds: float = 120.0) -> None:
    """Waits for jobs: images whose ancestors are gone are coalesced, which frees what those alone hold."""
    deadline = time.monotonic() + seconds
    while any(client.call(f"{url}/v2/tasks?status={each}")["tasks"] for each in ("pending", "processing")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"jobs are still under way after {seconds:.0f} s")
        time.sleep(0.1)


def edit(disk: Path, dice: random.Random, share: float) -> None:
    """Some bytes in so many of the blocks; most of them in runs, as files lie."""
    blocks = disk.stat().st_size // count.BLOCK
    wanted = max(1, int(share * blocks))
    with disk.open("r+b") as file:
        while wanted > 0:
            first, run = dice.randrange(blocks), min(dice.choice((1, 1, 2, 8, 16)), wanted)
            for number in range(first, min(first + run, blocks)):
                file.seek(number * count.BLOCK + dice.randrange(count.BLOCK - 1000))
                file.write(dice.randbytes(dice.randrange(16, 1000)))
            wanted -= run


def files_taken(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _reads(url: str, image: str, file: Path, back: Path) -> bool:
    client.download(url, image, back)
    return client.same(file, back)
