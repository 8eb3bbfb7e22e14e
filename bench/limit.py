"""The honest limit of this machine, taken in the same run as what it is compared with.

    time = max((CPU of the primitives, fused per slab in plain processes + CPU of HTTP alone) / cores, the slowest hash)

The CPU of HTTP alone is that of an aiohttp server that does nothing and of the same client, curl. No primitive counts
as slower than 0.9 times its single speed in this run, so that processes that hinder each other don't make the limit
lenient. A hash of the whole image is serial: more cores don't help it.

    python -m bench.limit v1.img [v2.img]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import sink
from bench.harness import Workload, cpu_seconds, interleave, spent_by_children
from bench.primitives import HASHES, INGEST, READ, Spent, Task, alone, fused, start_together

if TYPE_CHECKING:
    from collections.abc import Iterator

CORES = len(os.sched_getaffinity(0))
SLOWDOWN = 0.9


@dataclass(frozen=True, slots=True)
class Part:
    """A primitive's share of the limit: CPU seconds as measured when fused, and its speed alone in MB/s."""

    name: str
    size: int
    cpu: float
    single: float | None = None

    @property
    def counted(self) -> float:
        """CPU seconds that count: never more than at 0.9 of the single speed."""
        return self.cpu if self.single is None else min(self.cpu, self.size / 1e6 / (SLOWDOWN * self.single))

    def __str__(self) -> str:
        if self.single is None:
            return f"{self.name}: {self.cpu:.2f} s CPU"
        fused_speed = self.size / 1e6 / self.cpu if self.cpu else 0
        return (
            f"{self.name}: {self.counted:.2f} s CPU for {self.size / 1e6:.0f} MB "
            f"({fused_speed:.0f} MB/s fused, {self.single:.0f} MB/s alone)"
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """What this machine could do at best: `size` bytes in `seconds`, and what that is made of."""

    name: str
    size: int
    parts: tuple[Part, ...]
    cores: int = CORES
    streams: int = 1  # equal images at once that make up `size`: so many hashes run side by side

    @property
    def shared(self) -> float:
        """Seconds of the CPU work when every core does its share."""
        return sum(part.counted for part in self.parts) / self.cores

    @property
    def serial(self) -> float:
        """Seconds of the slowest hash over one whole image."""
        one = self.size / self.streams / 1e6
        return max((one / part.single for part in self.parts if part.name in HASHES and part.single), default=0)

    @property
    def seconds(self) -> float:
        return max(self.shared, self.serial)

    @property
    def mb_per_s(self) -> float:
        return self.size / 1e6 / self.seconds

    def lines(self) -> list[str]:
        by = "the slowest hash" if self.serial > self.shared else f"CPU on {self.cores} cores"
        told = f"limit of {self.name}: {self.mb_per_s:.0f} MB/s, set by {by}"
        return [
            told,
            f"  CPU {self.shared:.2f} s, slowest hash {self.serial:.2f} s",
            *(f"  {part}" for part in self.parts),
        ]


@dataclass(slots=True)
class Probe:
    """Measures one limit a round, so that it can stand among the workloads that it is the limit of."""

    name: str
    image: Path
    room: Path  # a directory on the file system where packs are written
    steps: tuple[str, ...]
    held: Path | None = None
    url: str | None = None  # of a sink, where HTTP is part of it
    sink_pid: int = 0
    _fused: list[dict[str, Spent]] = field(default_factory=list)
    _alone: list[dict[str, Spent]] = field(default_factory=list)
    _http: list[float] = field(default_factory=list)

    def workload(self) -> Workload:
        return Workload(f"limit of {self.name}", self.image.stat().st_size, self.round)

    def round(self) -> None:
        """One measurement: the processes together, each primitive alone, and HTTP alone."""
        task = Task(self.image, self.room / "pack", self.steps, self.held)
        parts = [replace(task, pack=self.room / f"pack-{part}", part=part, parts=CORES) for part in range(CORES)]
        spawn = multiprocessing.get_context("spawn")
        barrier = spawn.Barrier(CORES)
        with ProcessPoolExecutor(CORES, spawn, start_together, (barrier,)) as pool:
            done = list(pool.map(fused, parts))
        self._fused.append({name: _sum(spent[name] for spent in done) for name in self.steps})
        with ProcessPoolExecutor(1, spawn) as pool:
            self._alone.append(pool.submit(alone, task).result())
        if self.url:
            self._http.append(self._http_alone())

    def limit(self, streams: int = 1) -> Limit:
        """The medians of the rounds so far, for the image as a whole or in so many equal parts at once."""
        # Over HTTP the client reads the file: that is in the CPU of HTTP alone.
        parts = [self._part(name) for name in self.steps if not (self.url and name == "read")]
        size = self.image.stat().st_size
        if self._http:
            parts.append(Part("HTTP alone", size, statistics.median(self._http)))
        return Limit(self.name, size, tuple(parts), streams=streams)

    def _part(self, name: str) -> Part:
        cpu = statistics.median(spent[name].seconds for spent in self._fused)
        single = statistics.median(spent[name].size / 1e6 / max(spent[name].seconds, 1e-6) for spent in self._alone)
        return Part(name, self._fused[0][name].size, cpu, single or None)

    def _http_alone(self) -> float:
        reading = "pread" in self.steps
        size = self.image.stat().st_size
        transfer = [f"{self.url}/{size}"] if reading else ["-T", str(self.image), f"{self.url}/file"]
        before = cpu_seconds(self.sink_pid) + spent_by_children()
        subprocess.run(["curl", "-sSf", "-o", "/dev/null", *transfer], check=True)
        return cpu_seconds(self.sink_pid) + spent_by_children() - before


def ingest_steps(*, hashes: bool) -> tuple[str, ...]:
    return INGEST if hashes else tuple(step for step in INGEST if step not in HASHES)


def probes(v1: Path, v2: Path | None, room: Path, url: str | None = None, sink_pid: int = 0) -> Iterator[Probe]:
    """The limits of first ingest, the next version, held and read; with `url`, a sink's, over HTTP."""
    way = "over HTTP" if url else "in process"
    for hashes in (True, False):
        told = f"{way}, {'with' if hashes else 'without'} hashes"
        steps = ingest_steps(hashes=hashes)
        yield Probe(f"first {told}", v1, room, steps, None, url, sink_pid)
        if v2:
            yield Probe(f"next {told}", v2, room, steps, v1, url, sink_pid)
        yield Probe(f"held {told}", v1, room, steps, v1, url, sink_pid)
    yield Probe(f"read {way}", v1, room, READ, None, url, sink_pid)


def _sum(spent: Iterator[Spent]) -> Spent:
    listed = list(spent)
    return Spent(sum(one.seconds for one in listed), sum(one.size for one in listed))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.limit", description=__doc__)
    parser.add_argument("v1", type=Path)
    parser.add_argument("v2", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=1)
    wanted = parser.parse_args()
    with sink.running() as (url, pid), tempfile.TemporaryDirectory(dir=wanted.v1.parent) as room:
        asked = [*probes(wanted.v1, wanted.v2, Path(room)), *probes(wanted.v1, wanted.v2, Path(room), url, pid)]
        interleave([probe.workload() for probe in asked], wanted.rounds)
        for probe in asked:
            print(*probe.limit().lines(), sep="\n")


if __name__ == "__main__":
    main()
