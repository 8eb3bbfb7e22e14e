"""A big index whose pages are not in memory: ingest with and without a base, and reads of a whole image."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from bench.big_index import big_data, drop, index_file, mappers, resident, warm
from bench.harness import Ratio
from bench.images import compressible, compressible_image
from bench.in_process import Chain, Store
from bench.parts import parts_for
from bench.show.bound.speed import asked
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.subjects import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

LONG, SHORT = 20_000_000, 1_000_000  # rows
RESIDENT, READS = 0.01, 0.5
_ROUNDS = 3
_IN_SHORT = 0.5  # of a ratio is asked for: one round of a small image
_CHANGED: Final = 40  # one block in so many is another in a next version
_BLOCK: Final = 65536


@check("bound", "cold-index", "With a big index out of memory, a whole image is read at 0.5 of its warm speed.")
def cold_index(room: Room) -> Generator[Figure, None, None]:
    rows = SHORT if room.short else LONG
    started = time.perf_counter()
    kept = big_data(room.images, rows)
    yield told("making the index, or finding it made", f"{time.perf_counter() - started:.1f} s")
    data = shutil.copytree(kept, room.work / "data")
    image = parts_for(room).whole
    with Store(data) as store:
        chain = store.ingest(image, ())
    bench = _Bench(data, image, chain, room.work / "image")
    size = f"{index_file(data).stat().st_size / 1e6:.0f} MB"
    yield told(f"an index of {rows} rows and those of an image", size)
    for _ in range(1 if room.short else _ROUNDS):
        bench.round()
    times = f"the most of {len(bench.dropped)} cold runs, by mincore"
    for when, shares in (("dropped", bench.dropped), ("opened again", bench.opened)):
        yield at_most(f"pages of the index in memory, {when}", max(shares) * 100, RESIDENT * 100, "%", (times,))
    yield holds("no process had it mapped", not bench.mapped, tuple(f"process {pid}" for pid in bench.mapped))
    for name in ("new bytes", "next version, base named", "next version, no base"):
        yield _told(f"ingest: {name}", bench.ratio(name))
    reads = bench.ratio("read")
    bound = asked(room, READS, _IN_SHORT)
    yield at_least("read of the whole image, cold to warm", reads.value, bound, "times", (str(reads),))


@dataclass(slots=True)
class _Bench:
    """Runs on a data directory that holds `image`, each with a cold index and with a warm one; MB/s by name."""

    data: Path
    image: Path
    chain: Chain
    scratch: Path  # where images to ingest are made
    dropped: list[float] = field(default_factory=list)  # the shares of pages in memory, before a cold run's open
    opened: list[float] = field(default_factory=list)  # and after it: to open it must not be to read it
    mapped: list[int] = field(default_factory=list)
    cold: dict[str, list[float]] = field(default_factory=dict)
    warm: dict[str, list[float]] = field(default_factory=dict)
    _seed: int = 0

    def round(self) -> None:
        self._both("read", lambda store, _: store.read(self.chain))
        self._both("new bytes", lambda store, new: store.ingest(new, ()), self._new_bytes)
        based = self._next_version
        self._both("next version, base named", lambda store, new: store.ingest(new, (), self.chain), based)
        self._both("next version, no base", lambda store, new: store.ingest(new, ()), based)

    def ratio(self, name: str) -> Ratio:
        return Ratio(name, statistics.median(self.cold[name]), statistics.median(self.warm[name]), "warm")

    def _both(self, name: str, work: Callable[[Store, Path], object], make: Callable[[], None] | None = None) -> None:
        """Cold first, then warm, each on bytes of its own: what one has stored the other would find."""
        for speeds, into in ((self.cold, self._cool), (self.warm, self._heat)):
            if make:
                make()
            into()
            with Store(self.data) as store:
                if speeds is self.cold:
                    self.opened.append(resident(index_file(self.data)))
                started = time.perf_counter()
                work(store, self.scratch)
                seconds = time.perf_counter() - started
            speeds.setdefault(name, []).append(size_of(self.image) / 1e6 / seconds)

    def _cool(self) -> None:
        file = index_file(self.data)
        drop(file)
        self.dropped.append(resident(file))
        self.mapped += mappers(file)

    def _heat(self) -> None:
        warm(index_file(self.data))

    def _new_bytes(self) -> None:
        self._seed += 1
        compressible_image(self.scratch, size_of(self.image), self._seed)

    def _next_version(self) -> None:
        self._seed += 1
        next_version(self.image, self.scratch, self._seed)


def next_version(image: Path, target: Path, seed: int) -> None:
    """The image with one block in forty replaced by bytes that no other seed has."""
    shutil.copyfile(image, target)
    count = image.stat().st_size // _BLOCK
    numbers = np.random.default_rng(seed).choice(count, max(1, count // _CHANGED), replace=False).tolist()
    blocks = (
        piece[start : start + _BLOCK]
        for piece in compressible(len(numbers) * _BLOCK, seed)
        for start in range(0, len(piece), _BLOCK)
    )
    with target.open("r+b") as file:
        for number, block in zip(numbers, blocks, strict=True):
            file.seek(number * _BLOCK)
            file.write(block)


def _told(what: str, ratio: Ratio) -> Figure:
    return told(what, f"{ratio.over:.0f} MB/s", (f"{ratio}, to be compared with the same, warm",))
