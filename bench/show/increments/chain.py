"""A chain of sixteen increments reads as fast as the one whole manifest that it comes to."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import count
from bench.harness import Ratio, Workload, interleave
from bench.in_process import copied
from bench.parts import parts_for
from bench.show import client
from bench.show.bound.speed import ZSTD, asked
from bench.show.increments.delta import Pusher
from bench.show.registry import Figure, Room, at_least, check, holds, told
from bench.show.server import Server, tree
from blockstore import manifest_format
from blockstore.coalesce import DEEPEST
from blockstore.manifest import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Generator

OF_COALESCED, CHANGED = 0.9, 0.02
_AIM = 0.022  # of the blocks are edited in each level
_ROUNDS, _TIMES = 7, 2
_IN_SHORT = 0.5  # of the bound is asked for: one round of a small image
# Slow enough that a download is still under way when the server's open files are looked at, however small the image.
_SLOWLY = ["--limit-rate", "8M"]
_WAYS = {"read over HTTP": (), "read as stored": (ZSTD,)}


@check("increments", "chain", "A chain of 16, each level with >= 2 % changes, reads at >= 0.9 of its coalesced form.")
def chain(room: Room) -> Generator[Figure, None, None]:
    disk, held, flat, whole = (room.work / name for name in ("disk.img", "chain", "flat", "whole"))
    shutil.copyfile(parts_for(room).whole, disk)
    with Server(held) as server:
        image, changed = _grown(server.url, disk, Pusher(room.work / "home"))
    blocks = disk.stat().st_size // count.BLOCK
    least = min(changed) / blocks * 100
    detail = (f"{', '.join(map(str, changed))} of {blocks} blocks, by `drystone push` and by PUT in turns",)
    yield at_least("blocks changed by the level with the fewest", least, CHANGED * 100, "%", detail)
    with Server(copied(held, flat)) as server:
        client.program(server.url, "coalesce", image)
        client.program(server.url, "tasks", image, "--watch")
    with Server(whole) as server:
        again = client.upload(server.url, disk)
    with contextlib.ExitStack() as running:
        # Nobody works on jobs, so the chain stays as it is.
        servers = [running.enter_context(Server(data, settings={"jobs": 0})) for data in (held, flat, whole)]
        served = [Served(*each) for each in zip(servers, (image, image, again), strict=True)]
        yield _depths("before", served)
        right = [each.is_same(disk, room.work / "back.img") for each in served]
        yield holds("the chain, coalesced or not, is the file byte for byte", all(right))
        yield from _speeds(room, disk.stat().st_size, served)
        yield _depths("after", served)


@dataclass(frozen=True, slots=True)
class Served:
    """The image on one of the servers."""

    server: Server
    image: str

    def is_same(self, disk: Path, back: Path) -> bool:
        client.download(self.server.url, self.image, back)
        return client.same(disk, back)

    def workload(self, name: str, size: int, headers: tuple[str, ...]) -> Workload:
        command = client.get_command(self.server.url, self.image, "/dev/null", headers, _TIMES)
        return Workload(name, size * _TIMES, lambda: client.run(command), pids=lambda: tree(self.server.pid))

    def depths_open(self) -> list[int]:
        """Of the manifests that the server has open while it sends: each one's header says how many are below it."""
        reading = subprocess.Popen([*client.get_command(self.server.url, self.image, "/dev/null"), *_SLOWLY])
        try:
            deadline = time.monotonic() + 10
            while not _manifests_open(self.server.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)
            heads = {path: path.read_bytes() for path in _manifests_open(self.server.pid)}
        finally:
            reading.kill()
            reading.wait()
        size = manifest_format.HEADER_SIZE
        return sorted(
            (manifest_format.decode_header(heads[path][:size], str(path)).depth for path in heads), reverse=True
        )


def _grown(url: str, disk: Path, user: Pusher) -> tuple[str, list[int]]:
    """Sixteen increments over the file's first state; the last one's id, and how many blocks each one changed."""
    dice, before, changed = random.Random(DEEPEST), disk.with_suffix(".before"), []
    image = client.upload(url, disk)
    for level in range(DEEPEST):
        shutil.copyfile(disk, before)
        _edit(disk, dice)
        changed.append(len(count.differing_blocks(before, disk)))
        if level % 2:
            child = client.create(url, "disk", parent=image)
            client.run(client.put_command(url, child, disk))
        else:
            child = user.run(url, "push", str(disk), "--name", "disk", "--parent", image, "--quiet").strip()
        image = child
    before.unlink()
    return image, changed


def _edit(disk: Path, dice: random.Random) -> None:
    """Some bytes in blocks all over the file."""
    blocks = disk.stat().st_size // count.BLOCK
    with disk.open("r+b") as file:
        for number in dice.sample(range(blocks), int(_AIM * blocks) + 1):
            file.seek(number * count.BLOCK + dice.randrange(count.BLOCK - 1000))
            file.write(dice.randbytes(dice.randrange(16, 1000)))


def _speeds(room: Room, size: int, served: list[Served]) -> Generator[Figure, None, None]:
    named = {f"{way}, {each.server.data.name}": (each, headers) for way, headers in _WAYS.items() for each in served}
    workloads = [each.workload(name, size, headers) for name, (each, headers) in named.items()]
    report = interleave(workloads, 1 if room.short else _ROUNDS)
    for way in _WAYS:
        deep, flat, whole = (report.results[f"{way}, {each.server.data.name}"] for each in served)
        ratio = Ratio("the chain", deep.mb_per_s, flat.mb_per_s, "coalesced")
        apart = Ratio("coalesced", flat.mb_per_s, whole.mb_per_s, "the same disk stored in one piece")
        what, detail = f"{way}, of its coalesced form", tuple(map(str, (ratio, deep, flat, whole)))
        if way == "read as stored":
            yield told(what, f"{ratio.value:.2f} times", detail)
        else:
            yield at_least(what, ratio.value, asked(room, OF_COALESCED, _IN_SHORT), "times", detail)
        yield told("coalesced, of the same disk stored in one piece", f"{apart.value:.2f} times", (str(apart),))


def _depths(when: str, served: list[Served]) -> Figure:
    deep, flat, _ = (each.depths_open() for each in served)
    detail = (f"depths of the manifests open in the servers: {_told(deep)}; coalesced: {_told(flat)}",)
    right = (deep, flat) == ([*range(DEEPEST, -1, -1)], [0])
    return holds(f"{when}, while it is read, the chain is {DEEPEST} deep", right, detail)


def _told(depths: list[int]) -> str:
    return ", ".join(map(str, depths)) or "none"


def _manifests_open(pid: int) -> set[Path]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(entry.readlink())
    return {path for path in found if path.suffix == SUFFIX}
