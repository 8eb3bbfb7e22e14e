"""What marking and condemning cost: beside a plain scan, beside uploads, in memory, and for ever more blocks."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import lmdb

from bench.big_index import index_file, warm
from bench.harness import Ratio
from bench.images import MIB, compressible_image
from bench.in_process import copied
from bench.lineages import IMAGES, LINEAGES, Plan, lineages
from bench.places import ROOT, drystone
from bench.show import client
from bench.show.bound.speed import asked
from bench.show.collection.space import AT_ONCE
from bench.show.registry import Figure, Room, at_least, at_most, check, told
from bench.show.server import Memory, Server, environment
from blockstore.index.lmdb_env import MAP_SIZE
from blockstore.leases.flock import LockFile

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

ALONE, BESIDE, UPLOADS = 3.0, 6.0, 0.8  # times a plain scan; of the uploads' usual speed
MEMORY: Final = 300 << 20
STEEPER = 1.3  # times the cost of a block among a million, among ten
_LONG, _SHORT = (1_000_000, 3_000_000, 10_000_000), (30_000, 100_000, 300_000)
_ROUNDS = 3
_IN_SHORT = 0.25  # of a bound is asked for: the start of a program is a good part of so small a scan
_UPLOAD, _UPLOAD_IN_SHORT = 128 * MIB, 16 * MIB
_BLOCK: Final = 65536
_USUAL = 8.0  # seconds of uploads with nothing beside them, before and after each collection
_WAITED_IN_VAIN: Final = 3  # the exit code
_LEAST = 2  # uploads that were under way from their beginning to their end beside the collector


@check("collection", "mark", "Marking and condemning cost little more than a plain scan does, also beside uploads.")
def mark(room: Room) -> Generator[Figure, None, None]:
    sizes = _SHORT if room.short else _LONG
    stores = []
    for entries in sizes:
        started = time.perf_counter()
        kept = lineages(room.images, entries)
        stores.append(_Store(entries, copied(kept, room.work / str(entries))))
        yield told(f"making {_million(entries)} blocks, or finding them made", f"{time.perf_counter() - started:.1f} s")
    rounds = 1 if room.short else _ROUNDS
    for number in range(rounds):
        for store in stores[number % 3 :] + stores[: number % 3]:
            store.round()
    big = stores[-1]
    detail = (f"{IMAGES} images in {LINEAGES} lineages; {big.condemned} rows of {big.rows} condemned", *big.lines())
    yield at_most(f"mark and condemn, {big.rows} rows", big.times, ALONE / _share(room), "plain scans", detail)
    yield from _linear(room, stores)
    yield from _beside_uploads(room, big, rounds)
    peak = max(store.peak for store in stores)
    yield at_most("RssAnon + RssShmem of the collector", peak / MIB, MEMORY / MIB, "MiB")


@dataclass(slots=True)
class _Store:
    """A data directory to collect in, and the seconds of each scan and collection."""

    entries: int
    data: Path
    peak: int = 0
    condemned: int = 0
    scans: list[float] = field(default_factory=list)
    marking: list[float] = field(default_factory=list)
    condemning: list[float] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return Plan(self.entries).rows

    @property
    def seconds(self) -> float:
        return statistics.median(map(sum, zip(self.marking, self.condemning, strict=True)))

    @property
    def times(self) -> float:
        return self.seconds / statistics.median(self.scans)

    def lines(self) -> tuple[str, ...]:
        took = f"mark {statistics.median(self.marking):.2f} s, condemn {statistics.median(self.condemning):.2f} s"
        scanned = f"plain scan {statistics.median(self.scans):.2f} s; medians of {len(self.scans)} rounds, in turns"
        return (took, scanned)

    def round(self) -> None:
        """A scan and a collection, in turns; everything is in memory before."""
        turns = [self._scan, self._collect]
        for turn in turns if len(self.scans) % 2 else reversed(turns):
            warm(index_file(self.data))
            turn()

    def collect(self) -> dict[str, float]:
        """The seconds of a collection's parts; it leaves everything as it was."""
        # It waits for this writer in vain, so what it has condemned is not forgotten, and can be revived.
        lease = LockFile(self.data / "leases", "the show")
        try:
            gc = [*drystone(), "admin", "gc", "--data", str(self.data), "--json", "--quiet", "--wait", "0", *AT_ONCE]
            process = _started(gc)
            with Memory(process.pid) as watch:
                said, complained = process.communicate()
        finally:
            lease.close()
        if process.returncode != _WAITED_IN_VAIN:
            raise RuntimeError(f"exit code {process.returncode}, not {_WAITED_IN_VAIN}: {gc}\n{complained}")
        self.peak = max(self.peak, watch.peak)
        self.condemned = _revive_all(self.data)
        seconds: dict[str, float] = json.loads(said)["seconds"]
        return seconds

    def _scan(self) -> None:
        process = _started([sys.executable, "-m", "bench.plain_scan", str(self.data)])
        said, complained = process.communicate()
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {process.args!r}\n{complained}")
        self.scans.append(json.loads(said)["seconds"])

    def _collect(self) -> None:
        seconds = self.collect()
        self.marking.append(seconds["mark"])
        self.condemning.append(seconds["condemn"])


def _linear(room: Room, stores: Sequence[_Store]) -> Generator[Figure, None, None]:
    each = [store.seconds / store.entries * 1e6 for store in stores]
    for store, cost in zip(stores, each, strict=True):
        yield told(f"mark and condemn, {_million(store.entries)} blocks", f"{cost:.2f} us each", store.lines())
    what = f"a block among {_million(stores[-1].entries)}, of one among {_million(stores[0].entries)}"
    yield at_most(what, each[-1] / each[0], STEEPER / _share(room), "times")


def _beside_uploads(room: Room, store: _Store, rounds: int) -> Generator[Figure, None, None]:
    """As an operator starts it: beside others it gives way by itself, whatever the kernel thinks of priorities."""
    image = room.work / "image"
    compressible_image(image, _UPLOAD_IN_SHORT if room.short else _UPLOAD, seed=1)
    usual, beside, collecting = [], [], []
    with Server(store.data) as server:
        usual += _usual(server, image)
        for _ in range(rounds):
            with Uploads(server.url, image) as uploads:
                uploads.wait(0)
                began = time.monotonic()
                seconds = store.collect()
                collecting.append(seconds["mark"] + seconds["condemn"])
                ended = time.monotonic()
            beside += uploads.speeds(began, ended)
            # Before and after each: the machine is not as fast in one minute as in the next.
            usual += _usual(server, image)
    scan = statistics.median(store.scans)
    slower = Ratio("beside uploads", statistics.median(collecting), scan, "plain scan, alone", "s")
    what, detail = "mark and condemn beside uploads", (_exact(slower),)
    if room.short:
        # Some tenths of a second of scan beside what a busy machine leaves to the last in its queue.
        yield told(what, f"{slower.value:.2f} plain scans", detail)
    else:
        yield at_most(what, slower.value, BESIDE, "plain scans", detail)
    kept = Ratio("uploads", statistics.median(beside), statistics.median(usual), "nothing beside them")
    counts = f"medians of {len(beside)} and {len(usual)} uploads of {image.stat().st_size / MIB:.0f} MiB of new bytes"
    bound = asked(room, UPLOADS, 0.5)
    yield at_least("uploads beside it, of their usual speed", kept.value, bound, "times", (str(kept), counts))


def _usual(server: Server, image: Path) -> list[float]:
    with Uploads(server.url, image) as uploads:
        uploads.wait(_USUAL)
    return uploads.speeds()


class Uploads:
    """One upload after another, each of bytes that nobody has stored before, until the block ends."""

    def __init__(self, url: str, image: Path) -> None:
        self._url, self._image = url, image
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._done: list[tuple[float, float]] = []
        self._failed: BaseException | None = None
        self._moved = threading.Condition()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def wait(self, seconds: float) -> None:
        """So long, and until one upload is done and the next one under way."""
        deadline = time.monotonic() + seconds
        with self._moved:
            self._moved.wait_for(lambda: self._done or self._failed)
        self._ended.wait(max(0.0, deadline - time.monotonic()))

    def speeds(self, began: float = 0, ended: float = float("inf")) -> list[float]:
        """MB/s of the uploads that ran between these two moments, wholly or, if too few did, in part."""
        size = self._image.stat().st_size / 1e6
        whole = [(start, stop) for start, stop in self._done if start >= began and stop <= ended]
        partly = [(start, stop) for start, stop in self._done if stop > began and start < ended]
        return [size / (stop - start) for start, stop in (whole if len(whole) >= _LEAST else partly)]

    def _loop(self) -> None:
        try:
            while not self._ended.is_set():
                _renew(self._image)
                image = client.create(self._url, "new bytes")
                started = time.monotonic()
                client.run(client.put_command(self._url, image, self._image))
                with self._moved:
                    self._done.append((started, time.monotonic()))
                    self._moved.notify_all()
        except Exception as error:  # noqa: BLE001 - told where the block ends
            with self._moved:
                self._failed = error
                self._moved.notify_all()


def _renew(image: Path) -> None:
    """Other bytes in each block, at next to no cost."""
    mark = time.monotonic_ns().to_bytes(8, "little")
    with image.open("r+b", buffering=0) as file:
        for start in range(0, image.stat().st_size, _BLOCK):
            file.seek(start)
            file.write(mark)


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    """In a session of its own, as servers are: where the kernel shares out by sessions, each then has a share."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment({}), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def _revive_all(data: Path) -> int:
    """No row is condemned any more; how many were."""
    with lmdb.open(str(data / "index"), map_size=MAP_SIZE, max_dbs=8, readahead=False) as env:
        table = env.open_db(b"condemned")
        with env.begin(write=True) as txn:
            count = int(txn.stat(table)["entries"])
            txn.drop(table, delete=False)
    return count


def _share(room: Room) -> float:
    return _IN_SHORT if room.short else 1.0


def _million(entries: int) -> str:
    return f"{entries / 1e6:g} M"


def _exact(ratio: Ratio) -> str:
    return f"{ratio.name}: {ratio.over:.2f} s / {ratio.under:.2f} s ({ratio.of}) = {ratio.value:.2f}"
