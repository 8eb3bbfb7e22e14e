"""The real pair comes back byte for byte, and its next version costs what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import count
from bench.images import REAL, SMALL, real_pair
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server
from bench.show.stock import openstack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

ALLOWANCE = 1.15
# In the short form only: beside half a megabyte of new blocks the pages by which the index grows are not small.
_FIXED = 1 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """One way to bring an image in and out."""

    name: str
    push: Callable[[str, Path], str]
    pull: Callable[[str, str, Path], object]


def _drystone_push(url: str, image: Path) -> str:
    return client.program(url, "push", str(image), "--name", image.stem).split()[-1]


def _drystone_pull(url: str, image: str, target: Path) -> None:
    client.program(url, "pull", image, str(target))


def _openstack_push(url: str, image: Path) -> str:
    formats = ["--disk-format", "raw", "--container-format", "bare"]
    return openstack(url, "create", "--file", str(image), *formats, "-f", "value", "-c", "id", image.stem).split()[-1]


def _openstack_pull(url: str, image: str, target: Path) -> None:
    openstack(url, "save", "--file", str(target), image)


WAYS = (
    Way("drystone push/pull", _drystone_push, _drystone_pull),
    Way("curl", client.upload, client.download),
    Way("openstack image create/save", _openstack_push, _openstack_pull),
)


@check("main-job", "round-trip", "A real pair of images round-trips byte for byte; v2 costs only what changed.")
def round_trip(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL if room.short else REAL)
    yield told("the real pair", f"{pair.size / 1e6:.0f} MB", (str(pair),))
    data = room.work / "data"
    with Server(data) as server:
        for way in WAYS:
            first = way.push(server.url, pair.v1)
            before = _at_rest(server, data) if way is WAYS[0] else 0
            second = way.push(server.url, pair.v2)
            if way is WAYS[0]:
                serving = f"{(client.disk_use(data) - before) / 1e6:.2f} MB"
                yield told("the same with the server running, its catalog's log included", serving)
                yield _growth(pair.v1, pair.v2, before, _at_rest(server, data), _FIXED if room.short else 0)
            for image, original in ((first, pair.v1), (second, pair.v2)):
                target = room.work / "back.img"
                way.pull(server.url, image, target)
                taken = target.stat().st_blocks * 512
                detail = (f"{taken / 1e6:.0f} MB on disk, the original {original.stat().st_blocks * 512 / 1e6:.0f} MB",)
                yield holds(f"{original.stem} by {way.name} is byte-identical", client.same(original, target), detail)
                target.unlink()


def _at_rest(server: Server, data: Path) -> int:
    """What the data directory takes on the disk while nobody serves it: a catalog's running log is no image's cost."""
    server.stop()
    taken = client.disk_use(data)
    server.start()
    return taken


def _growth(v1: Path, v2: Path, before: int, after: int, fixed: int) -> Figure:
    """du of the data directory against zstd 1 of the blocks that differ, counted apart."""
    differing = count.differing_blocks(v1, v2)
    need = count.zstd1_size(v2, differing)
    raw = len(differing) * count.BLOCK
    detail = (
        f"du before {before / 1e6:.2f} MB, after {after / 1e6:.2f} MB: {(after - before) / need:.3f} times",
        f"{need / 1e6:.2f} MB, the zstd 1 of {len(differing)} blocks that differ, {raw / 1e6:.2f} MB",
    )
    bound = (ALLOWANCE * need + fixed) / 1e6
    return at_most("the data directory grows by v2", (after - before) / 1e6, bound, "MB", detail)
