"""Two server processes on one data directory upload the same image: one shortly after the other, and in lockstep."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

from bench import count
from bench.images import REAL, SMALL, real_pair
from bench.places import drystone
from bench.show import client
from bench.show.main_job.kill import pack_bytes
from bench.show.registry import MB, Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LATER = 3.0
STORED = 1.2
FREED = 0.9  # of the dead bytes; packs that are rewritten end and begin anew, and a file takes whole pages
_IN_SHORT = ["--limit-rate", "12M"]  # so that a small image takes longer than the other one waits
_FRAMES = re.compile(r"^# Zstandard Frames: (\d+)$", re.MULTILINE)


@check(
    "bound",
    "two-processes",
    "The same image by two processes: 3 s later it costs <= 1.2 x; in lockstep, gc frees what is dead.",
)
def two_processes(room: Room) -> Generator[Figure, None, None]:
    image = real_pair(room.images, SMALL if room.short else REAL).v1
    alone = room.work / "alone"
    started = time.monotonic()
    with Server(alone) as server:
        client.upload(server.url, image)
    seconds = time.monotonic() - started
    one = pack_bytes(alone)
    detail = (f"{image.stat().st_size / MB:.0f} MB in {seconds:.1f} s, start and stop included",)
    yield told("in packs, by one process alone", f"{one / MB:.1f} MB", detail)

    _together(room.work / "later", image, LATER, _IN_SHORT if room.short else [])
    both = pack_bytes(room.work / "later")
    detail = (f"{both / MB:.1f} MB, {one / MB:.1f} MB alone",)
    yield at_most(f"in packs, the second {LATER:g} s later, to one alone", both / one, STORED, "times", detail)

    lockstep = room.work / "lockstep"
    images = _together(lockstep, image, 0, [])
    both = pack_bytes(lockstep)
    detail = (f"{both / MB:.1f} MB, {one / MB:.1f} MB alone",)
    yield told("in packs, both at once, to one alone", f"{both / one:.2f} times", detail)
    yield from _collected(lockstep, image)
    with Server(lockstep) as server:
        right = [_reads_right(server, each, image, room.work / "back") for each in images]
    yield holds("both images read the same bytes afterwards", all(right), (f"{right.count(True)} of {len(right)}",))


def _together(data: Path, image: Path, later: float, more: list[str]) -> list[str]:
    """Uploads the image through two servers, the second so many seconds later; both are stopped then. The ids."""
    with Server(data) as one, Server(data) as two:
        made = [client.create(server.url, image.stem) for server in (one, two)]
        commands = [
            [*client.put_command(server.url, each, image), *more] for server, each in zip((one, two), made, strict=True)
        ]
        first = subprocess.Popen(commands[0])
        time.sleep(later)
        if later and first.poll() is not None:
            raise RuntimeError(f"the first upload had ended when the second began, {later:g} s later")
        second = subprocess.Popen(commands[1])
        codes = [process.wait() for process in (first, second)]
    if any(codes):
        raise RuntimeError(f"curl ended with {codes}")
    return made


def _collected(data: Path, image: Path) -> Generator[Figure, None, None]:
    """Rows and entries counted apart, and what the host verbs say and do."""
    unique, entries = _unique_blocks(image), sum(map(_entries, _packs(data)))
    before = _admin("stats", data)["store"]
    rows, dead = before["index"]["rows"], before["dead"]
    detail = (f"{unique} different blocks in the image, counted apart; {rows} rows",)
    yield holds("in lockstep: one row a digest", rows == unique, detail)
    counted = (
        f"`zstd -l` counts {entries} frames in the packs, {rows} have a row",
        f"{dead['blocks']} are told as dead, {dead['stored'] / MB:.1f} MB",
    )
    yield holds("`admin stats` tells the rest as dead", dead["blocks"] == entries - rows > 0, counted)

    taken = client.disk_use(data)
    gone = _admin("gc", data, "--offline")
    freed = taken - client.disk_use(data)
    lines = (f"{gone['packs_rewritten']} packs rewritten, {gone['packs_dropped']} removed, {gone['left']} bytes left",)
    what = f"du less by `gc --offline`, of {(dead['stored'] - gone['left']) / MB:.1f} MB in packs worth rewriting"
    yield at_least(what, freed / max(1, dead["stored"] - gone["left"]), FREED, "times", lines)
    _admin("gc", data, "--offline", "--all")
    freed = taken - client.disk_use(data)
    yield at_least("du less after `gc --offline --all`, of all dead", freed / dead["stored"], FREED, "times")
    after = _admin("stats", data)["store"]
    detail = (f"{after['index']['rows']} rows, {after['dead']['blocks']} dead entries",)
    yield holds("then nothing is dead, every row is there", _as_wanted(after, rows), detail)
    clean = _admin("verify", data, "--read-data")["clean"]
    yield holds("`verify --read-data` finds nothing wrong", clean)


def _as_wanted(stats: dict[str, Any], rows: int) -> bool:
    return bool(stats["index"]["rows"] == rows and not stats["dead"]["blocks"])


def _admin(verb: str, data: Path, *more: str) -> dict[str, Any]:
    """A host verb's JSON. RuntimeError with what it said if it fails."""
    return dict(json.loads(client.run([*drystone(), "admin", verb, "--data", str(data), "--json", *more])))


def _unique_blocks(image: Path) -> int:
    """How many different blocks of 64 KiB there are that aren't zeros."""
    zeros = bytes(count.BLOCK)
    with image.open("rb") as file:
        blocks = iter(lambda: file.read(count.BLOCK), b"")
        return len({hashlib.sha256(block).digest() for block in blocks if block != zeros})


def _packs(data: Path) -> list[Path]:
    return [path for path in (data / "packs").rglob("*") if path.is_file()]


def _entries(pack: Path) -> int:
    """How many blocks a pack holds, by zstd itself: one frame each, and the rest is skippable."""
    found = _FRAMES.search(client.run(["zstd", "-l", "-v", str(pack)]))
    if found is None:
        raise RuntimeError(f"zstd does not tell how many frames {pack} has")
    return int(found[1])


def _reads_right(server: Server, image: str, original: Path, back: Path) -> bool:
    client.download(server.url, image, back)
    return client.same(original, back)
