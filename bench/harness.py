"""Measures named workloads in turns, and says what came out as medians and as ratios with both their numbers.

A shared machine drifts by a third within minutes: only what ran in the same rounds can be compared. Works with and
without pytest.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

GIB = 1 << 30
_TICKS = os.sysconf("SC_CLK_TCK")


class Benchmark(Protocol):
    """What of pytest-benchmark's fixture is used here."""

    extra_info: dict[str, object]

    def pedantic(self, target: Callable[[], object], *, rounds: int, iterations: int) -> object: ...


def _nothing() -> None:
    """Most workloads need no preparation."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that moves `size` bytes. Only `run` is measured; `prepare` and `clean` go before and after each run."""

    name: str
    size: int
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing
    clean: Callable[[], object] = _nothing
    pids: Callable[[], Iterable[int]] = tuple  # further processes at work for it, such as a server


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds on the wall, and CPU seconds of this process, its ended children and the named processes."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """The medians of one workload's runs. MB are 10^6 bytes."""

    name: str
    size: int
    samples: Sequence[Sample]

    @property
    def wall(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)

    @property
    def mb_per_s(self) -> float:
        return self.size / 1e6 / self.wall

    @property
    def cpu_per_gib(self) -> float:
        return self.cpu * GIB / self.size

    def __str__(self) -> str:
        rounds = len(self.samples)
        slowest = self.size / 1e6 / max(sample.wall for sample in self.samples)
        return (
            f"{self.name}: {self.mb_per_s:.0f} MB/s, {self.cpu_per_gib:.2f} CPU s/GiB "
            f"(median of {rounds}, slowest {slowest:.0f} MB/s)"
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share whose two numbers are told with it: a ratio alone hides a slow denominator."""

    name: str
    over: float
    under: float
    of: str  # what the number below is
    unit: str = "MB/s"

    @property
    def value(self) -> float:
        return self.over / self.under

    def __str__(self) -> str:
        return f"{self.name}: {self.over:.0f} {self.unit} / {self.under:.0f} {self.unit} ({self.of}) = {self.value:.2f}"


@dataclass(slots=True)
class Report:
    """The results of one run of the harness, the ratios formed of them, and lines that say how."""

    results: dict[str, Result]
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [*map(str, (*self.results.values(), *self.ratios)), *self.notes]

    def extra_info(self) -> dict[str, object]:
        """As pytest-benchmark keeps it in its JSON."""
        info: dict[str, object] = {}
        for result in self.results.values():
            info[result.name] = {
                "MB/s": round(result.mb_per_s, 1),
                "CPU s/GiB": round(result.cpu_per_gib, 3),
                "wall s": [round(sample.wall, 4) for sample in result.samples],
            }
        for ratio in self.ratios:
            told = {"numerator": round(ratio.over, 1), "denominator": round(ratio.under, 1), "of": ratio.of}
            info[ratio.name] = {**told, "unit": ratio.unit, "ratio": round(ratio.value, 3)}
        return info | {"notes": self.notes}


def interleave(workloads: Iterable[Workload], rounds: int = 3) -> Report:
    """Runs every workload once a round, in another order each round, so that none always follows the same other."""
    listed = list(workloads)
    samples: Mapping[str, list[Sample]] = {workload.name: [] for workload in listed}
    for number in range(rounds):
        turn = number % len(listed)
        for workload in listed[turn:] + listed[:turn]:
            samples[workload.name].append(_measure(workload))
    return Report({w.name: Result(w.name, w.size, tuple(samples[w.name])) for w in listed})


def under_pytest(benchmark: Benchmark, run: Callable[[], Report]) -> Report:
    """Runs a whole interleaved measurement as one round of pytest-benchmark, which can't interleave or form ratios."""
    kept: list[Report] = []
    benchmark.pedantic(lambda: kept.append(run()), rounds=1, iterations=1)
    benchmark.extra_info.update(kept[0].extra_info())
    print("", *kept[0].lines(), sep="\n  ")
    return kept[0]


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a running process and of its children that have ended; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def _measure(workload: Workload) -> Sample:
    workload.prepare()
    try:
        before, started = _cpu(workload), time.perf_counter()
        workload.run()
        wall = time.perf_counter() - started
        return Sample(wall, _cpu(workload) - before)
    finally:
        workload.clean()


def spent_by_children() -> float:
    """CPU seconds of this process's children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _cpu(workload: Workload) -> float:
    return time.process_time() + spent_by_children() + sum(cpu_seconds(pid) for pid in workload.pids())
