"""Ingest and reads reach their share of what this machine can do at best, taken in the same rounds."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import sink
from bench.harness import Ratio, Workload, interleave
from bench.in_process import copied, filled
from bench.limit import Probe, ingest_steps
from bench.parts import STREAMS, Parts, parts_for
from bench.primitives import HASHES, READ
from bench.show import client
from bench.show.registry import Figure, Room, at_least, check, told
from bench.show.server import Server
from bench.subjects import InProcess, OverHttp, size_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from bench.harness import Report

IN_PROCESS, OVER_HTTP, DECOMPRESSED, AS_STORED = 0.9, 0.8, 0.8, 0.7
ZSTD = "Accept: application/zstd"
_ROUNDS = 3
_REPEATED = 4  # an image as stored is read so often by one curl: once is over too soon
# In the short form an image is mostly beginning and end, and the machine is CI's, with others at work on it: a share of
# the limit then says that nothing is broken, and no more.
_OF_THE_LIMIT = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """One way to bring an image in."""

    hashes: bool
    held: bool
    streams: int

    def __str__(self) -> str:
        told = "SHA-512 + MD5" if self.hashes else "no hashes"
        return f"{self.bytes}, {told}, {'one upload' if self.streams == 1 else f'{self.streams} at once'}"

    @property
    def bytes(self) -> str:
        return "held" if self.held else "first"

    @property
    def names(self) -> tuple[str, ...]:
        return HASHES if self.hashes else ()

    @property
    def settings(self) -> dict[str, object]:
        """Without hashes: they are left to a worker, and there is none."""
        return {} if self.hashes else {"hashes": "background", "jobs": 0}


CASES = [Case(hashes, held, streams) for hashes in (True, False) for held in (False, True) for streams in (1, STREAMS)]
Probes = dict[tuple[bool, bool], Probe]
"""The limits by whether there are hashes and whether the image is held; one upload or four: the same work."""


@check(
    "bound", "speed-in-process", "In process, ingest reaches 0.9 of the machine's limit, one upload and four at once."
)
def speed_in_process(room: Room) -> Generator[Figure, None, None]:
    parts = parts_for(room)
    held = filled(room.work / "held", parts.whole)
    subjects = [
        InProcess(str(case), first, room.work, held if case.held else None, case.names, more=tuple(more))
        for case in CASES
        for first, *more in [parts.images(case.streams)]
    ]
    probes = _probes(room.work, parts.whole)
    report = interleave([subject.workload() for subject in subjects] + _workloads(probes), _rounds(room))
    yield from _shares(CASES, report, probes, asked(room, IN_PROCESS, _OF_THE_LIMIT))


@check("bound", "speed-http", "Over HTTP, ingest reaches 0.8 of the machine's limit, one upload and four at once.")
def speed_http(room: Room) -> Generator[Figure, None, None]:
    parts = parts_for(room)
    held = filled(room.work / "held", parts.whole)
    by_two = [Case(hashes, held=False, streams=STREAMS) for hashes in (True, False)]
    with sink.running() as (url, pid):
        subjects = [_over_http(case, parts, room.work, held) for case in CASES]
        subjects += [_over_http(case, parts, room.work, held, workers=2) for case in by_two]
        probes = _probes(room.work, parts.whole, url, pid)
        report = interleave([subject.workload() for subject in subjects] + _workloads(probes), _rounds(room))
    yield from _shares(CASES, report, probes, asked(room, OVER_HTTP, _OF_THE_LIMIT))
    for case in by_two:
        ratio = _ratio(case, report, probes, _by_two(case))
        yield told(f"the same by two server processes: {case}", f"{ratio.value:.2f} times", (str(ratio),))


@check("bound", "speed-reads", "Reads, each block decompressed and verified, reach 0.8 of the machine's limit.")
def speed_reads(room: Room) -> Generator[Figure, None, None]:
    image = parts_for(room).whole
    held = filled(room.work / "held", image)
    with sink.running() as (url, pid):
        subjects: list[InProcess | OverHttp] = [
            InProcess("in process", image, room.work, held, reading=True),
            OverHttp("over HTTP", image, room.work, held, reading=True),
        ]
        probes = [
            Probe(subjects[0].name, image, room.work, READ),
            Probe(subjects[1].name, image, room.work, READ, None, url, pid),
        ]
        workloads = [subject.workload() for subject in subjects] + [probe.workload() for probe in probes]
        report = interleave(workloads, _rounds(room))
    for subject, probe in zip(subjects, probes, strict=True):
        result, limit = report.results[subject.name], probe.limit()
        ratio = Ratio(subject.name, result.mb_per_s, limit.mb_per_s, "limit")
        what, bound = f"share of the limit: read {subject.name}", asked(room, DECOMPRESSED, _OF_THE_LIMIT)
        yield at_least(what, ratio.value, bound, "times", (str(ratio), str(result), *limit.lines()))


@check("bound", "speed-stored", "Reads as stored reach 0.7 of aiohttp that sends the same bytes from memory.")
def speed_stored(room: Room) -> Generator[Figure, None, None]:
    image = parts_for(room).whole
    held = filled(room.work / "held", image)
    stored = _as_stored(room.work, held, image)
    sent = size_of(stored)
    with sink.running() as (url, _):
        subprocess.run(["curl", "-sSf", "-T", str(stored), f"{url}/kept"], check=True)
        ours = OverHttp(
            "as stored", image, room.work, held, reading=True, headers=[ZSTD], times=_REPEATED, bytes_read=sent
        )
        memory = Workload("aiohttp, the same bytes from memory", sent * _REPEATED, lambda: _read_kept(url))
        report = interleave([ours.workload(), memory], _rounds(room))
    told = [report.results[name] for name in (ours.name, memory.name)]
    ratio = Ratio("as stored", told[0].mb_per_s, told[1].mb_per_s, memory.name)
    logical = f"{told[0].mb_per_s * size_of(image) / sent:.0f} MB/s of the image's own bytes"
    detail = (str(ratio), *map(str, told), logical)
    bound = asked(room, AS_STORED, _OF_THE_LIMIT)
    yield at_least("as stored, of aiohttp from memory", ratio.value, bound, "times", detail)


def asked(room: Room, bound: float, in_short: float) -> float:
    """The bound, of which the short form only asks for a share."""
    return bound * in_short if room.short else bound


def _rounds(room: Room) -> int:
    return 1 if room.short else _ROUNDS


def _probes(work: Path, image: Path, url: str | None = None, pid: int = 0) -> Probes:
    return {
        (hashes, held): Probe(
            f"{'held' if held else 'first'}, {'SHA-512 + MD5' if hashes else 'no hashes'}",
            image,
            work,
            ingest_steps(hashes=hashes),
            image if held else None,
            url,
            pid,
        )
        for hashes in (True, False)
        for held in (False, True)
    }


def _workloads(probes: Probes) -> list[Workload]:
    return [probe.workload() for probe in probes.values()]


def _over_http(case: Case, parts: Parts, work: Path, held: Path, workers: int = 1) -> OverHttp:
    first, *more = parts.images(case.streams)
    several: dict[str, object] = {} if workers == 1 else {"workers": workers}
    name = str(case) if workers == 1 else _by_two(case)
    begin = held if case.held else None
    return OverHttp(name, first, work, begin, more=tuple(more), settings=case.settings | several)


def _by_two(case: Case) -> str:
    return f"{case}, two processes"


def _shares(cases: Sequence[Case], report: Report, probes: Probes, bound: float) -> Iterator[Figure]:
    for case in cases:
        ratio = _ratio(case, report, probes, str(case))
        limit = probes[case.hashes, case.held].limit(case.streams)
        # One upload's parts are four uploads' parts.
        made_of = limit.lines() if case.streams == 1 else limit.lines()[:1]
        detail = (str(ratio), str(report.results[str(case)]), *made_of)
        yield at_least(f"share of the limit: {case}", ratio.value, bound, "times", detail)


def _ratio(case: Case, report: Report, probes: Probes, name: str) -> Ratio:
    limit = probes[case.hashes, case.held].limit(case.streams)
    return Ratio(name, report.results[name].mb_per_s, limit.mb_per_s, "limit")


def _as_stored(work: Path, held: Path, image: Path) -> Path:
    """What the server sends to who accepts zstd, as a file; RuntimeError if that is something else."""
    target = work / "stored.zst"
    with Server(copied(held, work / "storing")) as server:
        command = client.get_command(server.url, client.upload(server.url, image), target, [ZSTD])
        kind = client.run([*command, "--write-out", "%{content_type}"])
    if kind.split(";")[0].strip() != "application/zstd":
        raise RuntimeError(f"the server answered {kind!r} where application/zstd was accepted")
    return target


def _read_kept(url: str) -> None:
    subprocess.run(["curl", "-sSf", *(["-o", "/dev/null", f"{url}/kept"] * _REPEATED)], check=True)
