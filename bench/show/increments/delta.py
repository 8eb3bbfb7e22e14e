"""The next version of a real disk goes out, and comes in, as what changed: bytes on the wire, and time."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import count, shaped_link
from bench.counting_proxy import CountingProxy
from bench.harness import cpu_seconds
from bench.images import REAL, SMALL, real_pair
from bench.in_process import copied
from bench.places import ROOT, drystone
from bench.show import client
from bench.show.registry import Figure, Room, at_most, check, holds, told
from bench.show.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from bench.images import Pair

SENT, UNCHANGED, MORE_THAN_VERSION, OF_A_PUT, OF_A_PUT_FAR = 1.1, 100_000, 0.3, 0.5, 1 / 8
OF_A_CHANGED = 0.1
_ROUNDS = 3
_STARTS = 7
_HASHED_WITHIN = 120.0
# In the short form the images are small, and what a request costs beside its blocks is not.
_FIXED = 200_000


@dataclass(slots=True)
class Pusher:
    """A user's `drystone`, with what it remembers in a directory of its own; `prefix` runs it somewhere else."""

    home: Path
    prefix: Sequence[str] = ()

    def run(self, url: str, *arguments: str) -> str:
        """What the program printed."""
        return client.run([*self.prefix, *drystone(), *arguments], self._variables(url))

    def start(self, url: str, *arguments: str) -> subprocess.Popen[str]:
        """The program under way."""
        return subprocess.Popen(
            [*self.prefix, *drystone(), *arguments],
            cwd=ROOT,
            env=environment(self._variables(url)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def push(self, url: str, image: Path) -> None:
        self.run(url, "push", str(image), "--name", "disk")

    def _variables(self, url: str) -> dict[str, str]:
        return {"DRYSTONE_ENDPOINT": url, "XDG_STATE_HOME": str(self.home), "XDG_CACHE_HOME": str(self.home)}


@check(
    "increments", "delta-bytes", "A push of the next version sends what changed, a pull onto the old one fetches it."
)
def delta_bytes(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL if room.short else REAL)
    differing = count.differing_blocks(pair.v1, pair.v2)
    need = count.zstd1_size(pair.v2, differing)
    yield told("zstd 1 of the blocks that differ", f"{need / 1e6:.2f} MB", (str(pair),))
    bound = (SENT * need + (_FIXED if room.short else 0)) / 1e6
    user, back = Pusher(room.work / "home"), room.work / "back.img"
    with Server(room.work / "data") as server, CountingProxy(server.port) as wire:
        user.push(wire.url, pair.v1)
        wire.taken()
        changed = _spent(server, lambda: user.push(wire.url, pair.v2))
        up, down = wire.taken()
        detail = (f"{down / 1e6:.2f} MB came back, the old manifest most of it",)
        yield at_most("push of the next version sends", up / 1e6, bound, "MB", detail)
        unchanged = _spent(server, lambda: user.push(wire.url, pair.v2))
        up, down = wire.taken()
        yield at_most(
            "push of an unchanged file sends", up / 1e3, UNCHANGED / 1e3, "kB", (f"{down / 1e3:.1f} kB came",)
        )
        most = 1.0 if room.short else OF_A_CHANGED
        detail = (f"{unchanged:.2f} s, of what changed {changed:.2f} s: until its hashes are there",)
        yield at_most("it costs the service, of a push of what changed", unchanged / changed, most, "times", detail)
        shutil.copyfile(pair.v1, back)
        user.run(wire.url, "pull", "disk", str(back), "--force")
        up, down = wire.taken()
        yield at_most("pull onto the previous version fetches", down / 1e6, bound, "MB", (f"{up / 1e3:.1f} kB sent",))
        yield holds("what was pulled is the next version", client.same(pair.v2, back))
        yield _unchanged_in_time(user, server.url, pair.v2)


def _spent(server: Server, push: Callable[[], None]) -> float:
    """Seconds of a processor that the service spends until each image has its hashes."""
    before = cpu_seconds(server.pid)
    push()
    deadline = time.monotonic() + _HASHED_WITHIN
    while any(image["os_hash_value"] is None for image in client.call(f"{server.url}/v2/images")["images"]):
        if time.monotonic() > deadline:
            raise TimeoutError("an image gets no hashes")
        time.sleep(0.05)
    return cpu_seconds(server.pid) - before


def _unchanged_in_time(user: Pusher, url: str, image: Path) -> Figure:
    pushes, starts = [], []
    for _ in range(_STARTS):
        starts.append(_seconds(lambda: user.run(url, "--version")))
        pushes.append(_seconds(lambda: user.push(url, image)))
    more = statistics.median(pushes) - statistics.median(starts)
    detail = (f"{statistics.median(pushes):.2f} s, `drystone --version` {statistics.median(starts):.2f} s",)
    return at_most("push of an unchanged file takes more than --version", more, MORE_THAN_VERSION, "s", detail)


@check(
    "increments", "delta-time", "A push of what changed takes half the time of a PUT, an eighth of it over 1 Gbit/s."
)
def delta_time(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL if room.short else REAL)
    held = room.work / "held"
    with Server(held) as server:
        Pusher(room.work / "first").push(server.url, pair.v1)
    # Small images are mostly beginning and end: the short form only says that nothing is broken.
    far = 4 * OF_A_PUT if room.short else OF_A_PUT_FAR
    yield from _Race(room.work, held, pair, []).figures("on loopback", 4 * OF_A_PUT if room.short else OF_A_PUT, room)
    if why := shaped_link.missing():
        yield Figure("over 1 Gbit/s", why, f"<= {far:.2f}", ok=False)
        return
    with shaped_link.gigabit() as inside:
        yield from _Race(room.work, held, pair, inside).figures("over 1 Gbit/s", far, room)


@dataclass(slots=True)
class _Race:
    """The same next version by `drystone push` and by curl's PUT, each to a server that holds the one before."""

    work: Path
    held: Path
    pair: Pair
    prefix: list[str]
    pushes: list[float] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)

    def figures(self, where: str, bound: float, room: Room) -> Generator[Figure, None, None]:
        for turn in range(1 if room.short else _ROUNDS):
            user = Pusher(self.work / f"home-{len(self.prefix)}-{turn}", self.prefix)
            self.pushes.append(self._timed(lambda url, user=user: user.push(url, self.pair.v2)))  # type: ignore[misc]  # mypy can't infer a lambda's defaults
            self.puts.append(self._timed(self._put))
        ratio = statistics.median(self.pushes) / statistics.median(self.puts)
        detail = (f"push {statistics.median(self.pushes):.2f} s, PUT by curl {statistics.median(self.puts):.2f} s",)
        yield at_most(f"push of what changed, of a PUT, {where}", ratio, bound, "times", detail)

    def _put(self, url: str) -> None:
        # Created before the time begins: it is the PUT that is compared.
        record = json.loads(client.run([*self.prefix, "curl", "-sSf", *_NEW, f"{url}/v2/images"]))
        client.run([*self.prefix, *client.put_command(url, record["id"], self.pair.v2)])

    def _timed(self, transfer: Callable[[str], None]) -> float:
        data = copied(self.held, self.work / "racing")
        with Server(data, prefix=self.prefix) as server:
            seconds = _seconds(lambda: transfer(server.url))
        shutil.rmtree(data)
        return seconds


_NEW = ["-H", "Content-Type: application/json", "-d", '{"disk_format": "raw", "container_format": "bare"}']


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
