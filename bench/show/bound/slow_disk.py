"""A disk on which every sync takes 5 ms longer hardly slows ingest, and small uploads at once share their syncs."""

from __future__ import annotations

import http.client
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.harness import Ratio, interleave
from bench.in_process import filled
from bench.parts import parts_for
from bench.places import drystone
from bench.show import client
from bench.show.bound.speed import CASES, Case, asked
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Server
from bench.slow_disk.calls import Calls, SlowDisk
from bench.subjects import Apart, OverHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from bench.harness import Result, Workload
    from bench.parts import Parts

DELAY = 0.005
KEPT, SHARED = 0.8, 0.5
SMALL_UPLOADS, SMALL_SIZE = 50, 256 << 10
_ROUNDS, _OF_SHORT_ONES = 3, 9  # what is over in a quarter of a second is measured more often
_IN_SHORT = 0.25  # a small image is over soon, and its few commits' syncs weigh more
_PROBES = 20


@check("bound", "slow-disk", "With every sync delayed by 5 ms ingest keeps 0.8 of its speed.")
def slow_disk(room: Room) -> Generator[Figure, None, None]:
    quick, slow = _disks(room.work)
    yield _works(slow)
    parts = parts_for(room)
    held = filled(room.work / "held", parts.whole)
    cases = CASES[::3] if room.short else CASES
    runs = [
        _Runs(case, way, parts, room.work, held, quick, slow) for way in ("in process", "over HTTP") for case in cases
    ]
    results = _results(runs, 1 if room.short else _ROUNDS, is_short=False)
    results |= _results(runs, 1 if room.short else _OF_SHORT_ONES, is_short=True)
    for run in runs:
        delayed, plain = (results[name].mb_per_s for name in (run.slow_name, run.quick_name))
        ratio = Ratio(run.name, delayed, plain, "the same without delays")
        calls = run.calls[-1]
        detail = (str(ratio), f"the disk was waited for {calls.total} times: {calls}")
        yield at_least(f"of its speed kept: {run.name}", ratio.value, asked(room, KEPT, _IN_SHORT), "times", detail)
    fewest = min(calls.total for run in runs for calls in run.calls)
    yield holds("every delayed run waited for the disk", fewest > 0, (f"the fewest calls in a run: {fewest}",))


def _results(runs: Sequence[_Runs], rounds: int, *, is_short: bool) -> dict[str, Result]:
    chosen = [load for run in runs if run.is_short is is_short for load in run.workloads()]
    return interleave(chosen, rounds).results


class _Runs:
    """One case with and without delays; the calls of each delayed run are kept."""

    def __init__(
        self, case: Case, way: str, parts: Parts, work: Path, held: Path, quick: SlowDisk, slow: SlowDisk
    ) -> None:
        self.name = f"{way}, {case}"
        self.is_short = case.held and not case.hashes
        self.quick_name, self.slow_name = f"{self.name}, as it is", f"{self.name}, delayed"
        self.calls: list[Calls] = []
        self._slow = slow
        images = parts.images(case.streams)
        begin = held if case.held else None
        make = partial(_subject, case, way, images, work, begin)
        self._quick_load, self._slow_load = make(self.quick_name, quick), make(self.slow_name, slow)

    def workloads(self) -> Iterator[Workload]:
        yield self._quick_load
        yield replace(self._slow_load, run=partial(self._counted, self._slow_load.run))

    def _counted(self, run: Callable[[], object]) -> None:
        before = self._slow.calls()
        run()
        self.calls.append(self._slow.calls() - before)


def _subject(
    case: Case, way: str, images: tuple[Path, ...], work: Path, held: Path | None, name: str, disk: SlowDisk
) -> Workload:
    if way == "in process":
        return Apart(name, images, work, held, case.names, disk.command()).workload()
    first, *more = images
    command = disk.command(*drystone())
    return OverHttp(name, first, work, held, more=tuple(more), settings=case.settings, command=command).workload()


@check("bound", "shared-commits", "50 small uploads at once share commits: half as many, in half the time, or better.")
def shared_commits(room: Room) -> Generator[Figure, None, None]:
    """Each commit of the index is one O_DSYNC write: what the uploads of a generation share, with the pack's syncs.

    An upload's own files (journal, manifest) and its rows in the catalog are not shared; all calls are told.
    """
    _, slow = _disks(room.work)
    yield _works(slow)
    with Server(room.work / "data", command=slow.command(*drystone())) as server:
        alone, alone_seconds = _small_uploads(server.url, slow, at_once=1)
        together, seconds = _small_uploads(server.url, slow, at_once=SMALL_UPLOADS)
    commits = together.synced_writes / alone.synced_writes
    detail = (f"{together.synced_writes} O_DSYNC writes at once, {alone.synced_writes} one after another",)
    yield at_most("commits of the index, at once to one after another", commits, SHARED, "times", detail)
    detail = (f"{SMALL_UPLOADS} uploads of 256 KiB: {seconds:.2f} s at once, {alone_seconds:.2f} s one after another",)
    yield at_most("seconds, at once to one after another", seconds / alone_seconds, SHARED, "times", detail)
    for name, calls in (("one after another", alone), ("at once", together)):
        yield told(f"all calls for each upload, {name}", f"{calls.total / SMALL_UPLOADS:.1f} calls", (str(calls),))


def _small_uploads(url: str, disk: SlowDisk, at_once: int) -> tuple[Calls, float]:
    """What so many uploads of new bytes cost, when up to `at_once` of them run at a time; creation not counted."""
    made = [client.create(url, f"small-{number}") for number in range(SMALL_UPLOADS)]
    before, started = disk.calls(), time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for one in [pool.submit(_upload, url, image, os.urandom(SMALL_SIZE)) for image in made]:
            one.result()
    return disk.calls() - before, time.perf_counter() - started


def _upload(url: str, image: str, data: bytes) -> None:
    """By the standard library: fifty processes of curl would not be at once on a small machine."""
    place = urlsplit(client.file_of(url, image))
    assert place.hostname is not None
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=120)) as connection:
        connection.request("PUT", place.path, data, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        said = answer.read()
    if answer.status != http.HTTPStatus.NO_CONTENT:
        raise RuntimeError(f"PUT {place.path}: {answer.status} {said.decode(errors='replace')}")


def _disks(work: Path) -> tuple[SlowDisk, SlowDisk]:
    """The same shim twice, without a delay and with it: so that what the shim itself costs is on both sides."""
    room = work / "shim"
    room.mkdir()
    return SlowDisk(room, 0), SlowDisk(room, DELAY)


def _works(disk: SlowDisk) -> Figure:
    """That the shim sees each kind of call, and that each takes longer."""
    calls, seconds = disk.probe(_PROBES)
    ok = calls == Calls(_PROBES, _PROBES, 3 * _PROBES) and seconds >= calls.total * disk.delay
    detail = (f"a plain program's {calls.total} calls took {seconds * 1e3:.0f} ms: {calls}",)
    return holds("every call is seen and delayed", ok, detail)
