"""kill -9 of client or server at each stage of push and pull: the same command ends it right, and little goes twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.counting_proxy import CountingProxy
from bench.images import REAL, SMALL, real_pair
from bench.request_watch import Moment, RequestWatch
from bench.show import client
from bench.show.increments.delta import Pusher
from bench.show.registry import Figure, Room, check, told
from bench.show.server import Server
from bench.slow_disk.calls import SlowDisk

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

BOTH_RUNS = 1.2
_REACHED_WITHIN = 300.0
_HELD = 5.0  # seconds that a sync takes which something is killed in


@check("increments", "kills", "kill -9 of client or server at any stage: the same command ends it, little goes twice.")
def kills(room: Room) -> Generator[Figure, None, None]:
    pair = real_pair(room.images, SMALL if room.short else REAL)
    half = room.work / "half.img"
    shutil.copyfile(pair.v1, half)
    os.truncate(half, pair.size // 2)
    watch = RequestWatch()
    with Server(room.work / "data") as server, CountingProxy(server.port, watch=watch) as wire:
        place = _Place(room.work, server, wire, watch)
        yield told("the pair", "", (str(pair),))
        # A few requests carry what changed in small images: there half of the image is pushed, or pulled.
        yield from _figures(place, _Change("half of it", half, pair.v1), SHARES if room.short else (0.5,))
        if not room.short:
            yield from _figures(place, _Change("the next version", pair.v1, pair.v2), SHARES)


SHARES = (0.25, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class _Place:
    work: Path
    server: Server
    wire: CountingProxy
    watch: RequestWatch

    def user(self, prefix: Sequence[str] = ()) -> Pusher:
        """Somebody who remembers nothing."""
        return Pusher(self._directory(), prefix)

    def _directory(self) -> Path:
        return type(self.work)(tempfile.mkdtemp(dir=self.work, prefix="home-"))


@dataclass(frozen=True, slots=True)
class _Change:
    what: str
    old: Path
    new: Path


class _Push:
    """A command that moves a change; `blocks` are the requests that carry it."""

    what, blocks = "push", "PUT blocks"

    def __init__(self, place: _Place, change: _Change) -> None:
        self._place = place
        self._change = change
        self._parent = place.user().run(place.server.url, "push", str(change.old), "--name", "disk").strip()

    def prepare(self) -> None:
        """Nothing: each image is over the same parent."""

    def arguments(self) -> Sequence[str]:
        return ["push", str(self._change.new), "--name", "disk", "--parent", self._parent]

    def moved(self) -> int:
        """Bytes on the wire since the last call, the way that the change goes."""
        return self._place.wire.taken()[0]

    def share(self, part: float, totals: Counter[str]) -> Moment:
        """When this part of the blocks has gone; `totals` are those of a run that nobody disturbed."""
        return Moment(self.blocks, up=int(part * totals[self.blocks]))

    def totals(self) -> Counter[str]:
        return Counter(self._place.watch.up)

    def is_as_before(self) -> bool:
        """After a client was killed."""
        return True

    def is_right(self, printed: str) -> bool:
        """The image has the file's bytes, and is the only one that was made."""
        url, image = self._place.server.url, printed.strip()
        right = _reads_as(url, image, self._change.new)
        client.delete(url, image)
        listed = [each["id"] for each in client.call(f"{url}/v2/images?name=disk")["images"]]
        return right and listed == [self._parent]

    def end(self) -> None:
        client.delete(self._place.server.url, self._parent)


class _Pull:
    """As `_Push`."""

    what, blocks = "pull", "POST blocks"

    def __init__(self, place: _Place, change: _Change) -> None:
        self._place = place
        self._change = change
        self._target = place.work / "target" / "disk.img"
        self._target.parent.mkdir(exist_ok=True)
        self._image = place.user().run(place.server.url, "push", str(change.new), "--name", "pulled").strip()

    def prepare(self) -> None:
        shutil.copyfile(self._change.old, self._target)

    def arguments(self) -> Sequence[str]:
        return ["pull", self._image, str(self._target), "--force"]

    def moved(self) -> int:
        return self._place.wire.taken()[1]

    def share(self, part: float, totals: Counter[str]) -> Moment:
        return Moment(self.blocks, down=int(part * totals[self.blocks]))

    def totals(self) -> Counter[str]:
        return Counter(self._place.watch.down)

    def is_as_before(self) -> bool:
        return client.same(self._target, self._change.old)

    def is_right(self, printed: str) -> bool:
        alone = [each.name for each in self._target.parent.iterdir()] == [self._target.name]
        return alone and printed.strip() == str(self._target) and client.same(self._target, self._change.new)

    def end(self) -> None:
        client.delete(self._place.server.url, self._image)


def _figures(place: _Place, change: _Change, shares: Sequence[float]) -> Generator[Figure, None, None]:
    for transfer in (_Push(place, change), _Pull(place, change)):
        try:
            yield from _Kills(place, change, transfer).figures(shares)
        finally:
            transfer.end()


class _Kills:
    def __init__(self, place: _Place, change: _Change, transfer: _Push | _Pull) -> None:
        self._place = place
        self._what = f"{transfer.what} of {change.what}"
        self._transfer = transfer
        self._is_push = isinstance(transfer, _Push)
        self._once = 0

    def figures(self, shares: Sequence[float]) -> Generator[Figure, None, None]:
        self._transfer.prepare()
        self._place.watch.begin()
        self._transfer.moved()
        right = self._transfer.is_right(self._place.user().run(self._place.wire.url, *self._transfer.arguments()))
        self._once = self._transfer.moved()
        totals = self._transfer.totals()
        yield Figure(f"{self._what}, nobody killed", f"{self._once / 1e6:.2f} MB", "-", right)
        parts = {f"{part:.0%} of the blocks": self._transfer.share(part, totals) for part in shares}
        for stage, moment in (self._before() | parts | self._after()).items():
            yield self._client(stage, moment)
            if stage != "commit answered":
                yield self._server(stage, moment)
        yield self._server(f"{shares[0]:.0%} of the blocks, too long", next(iter(parts.values())), away=True)
        if not self._is_push:
            yield self._before_the_name()

    def _before(self) -> dict[str, Moment]:
        if self._is_push:
            return {
                "image asked for": Moment("POST images", whole=1),
                "upload asked for": Moment("POST deltas", whole=1),
            }
        return {"manifest on its way": Moment("GET manifest", whole=1, down=1)}

    def _after(self) -> dict[str, Moment]:
        if not self._is_push:
            return {}
        return {
            "commit asked for": Moment("POST commit", whole=1),
            "commit answered": Moment("POST commit", whole=1, down=1),
        }

    def _client(self, stage: str, moment: Moment) -> Figure:
        self._transfer.prepare()
        user, started = self._place.user(), threading.Event()

        def kill() -> None:
            started.wait()
            process.kill()
            # Nothing is handed on to one that may still live.
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        self._place.watch.begin(moment, kill)
        process = user.start(self._place.wire.url, *self._transfer.arguments())
        started.set()
        _end(process, stage)
        as_before = self._transfer.is_as_before()
        return self._figure(f"client killed, {stage}", self._again(user), right=as_before)

    def _server(self, stage: str, moment: Moment, *, away: bool = False) -> Figure:
        self._transfer.prepare()
        user, killed = self._place.user(), threading.Event()

        def kill() -> None:
            self._place.server.kill()
            killed.set()

        self._place.watch.begin(moment, kill)
        process = user.start(self._place.wire.url, *self._transfer.arguments())
        if not killed.wait(_REACHED_WITHIN):
            process.kill()
            raise RuntimeError(f"{self._what} has not come to: {stage}")
        told = _end(process, stage) if away else ""
        self._place.server.start()
        told = told if away else _end(process, stage)
        by_itself = process.returncode == 0
        printed = told if by_itself else self._again(user)
        how = "the client went on by itself" if by_itself else "the same command again"
        return self._figure(f"server killed, {stage}", printed, how)

    def _before_the_name(self) -> Figure:
        """All is there, and the file has the name of its part still."""
        self._transfer.prepare()
        disk = SlowDisk(self._place.work, _HELD)
        self._place.watch.begin()
        process = self._place.user(disk.command()).start(self._place.wire.url, *self._transfer.arguments())
        while not disk.calls().fsync and process.poll() is None:
            threading.Event().wait(0.01)
        process.kill()
        _end(process, "before its name")
        as_before = self._transfer.is_as_before()
        return self._figure("client killed, before it has its name", self._again(self._place.user()), right=as_before)

    def _again(self, user: Pusher) -> str:
        return user.run(self._place.wire.url, *self._transfer.arguments())

    def _figure(self, how: str, printed: str, note: str = "the same command again", *, right: bool = True) -> Figure:
        both = self._transfer.moved()
        right = self._transfer.is_right(printed) and right
        self._transfer.moved()
        times = both / self._once
        detail = (f"{both / 1e6:.2f} MB; {note}", *([] if right else ["the result is not right"]))
        return Figure(
            f"{self._what}, {how}", f"{times:.2f} times", f"<= {BOTH_RUNS}", right and times <= BOTH_RUNS, detail
        )


def _end(process: subprocess.Popen[str], stage: str) -> str:
    """What it printed; whether it was killed, gave up or went on is its return code's to say."""
    try:
        return process.communicate(timeout=_REACHED_WITHIN)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"it has not come to: {stage}, or not to its end") from None


def _reads_as(url: str, image: str, original: Path) -> bool:
    """By curl and cmp, without a second copy on the disk."""
    with subprocess.Popen(client.get_command(url, image, "-"), stdout=subprocess.PIPE) as reading:
        same = subprocess.run(["cmp", "--silent", "-", original], stdin=reading.stdout, check=False).returncode == 0
        if not same:
            reading.kill()
    return same and reading.returncode == 0
