"""The workloads that are measured: images into, and out of, a store that holds nothing, v1, or all of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.harness import Ratio, Report, Workload, interleave
from bench.in_process import Store, copied
from bench.places import ROOT
from bench.primitives import HASHES
from bench.show import client
from bench.show.server import Server, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bench.limit import Limit, Probe


@dataclass(slots=True)
class InProcess:
    """The pipeline alone; `more` images go in at the same time. `held`: a data directory to begin with, copied before
    each run.
    """

    name: str
    image: Path
    room: Path
    held: Path | None = None
    hashes: tuple[str, ...] = HASHES
    reading: bool = False
    more: tuple[Path, ...] = ()
    _open: list[Store] = field(default_factory=list)

    def workload(self) -> Workload:
        return Workload(self.name, size_of(self.image, *self.more), self._run, self._prepare, self._clean)

    def _prepare(self) -> None:
        self._open = [Store(_begun(self.room / "in-process", self.held))]
        if self.reading:
            self._open[0].ingest(self.image, ())

    def _run(self) -> None:
        if self.reading:
            self._open[0].read()
        else:
            self._open[0].ingest_all([self.image, *self.more], self.hashes)

    def _clean(self) -> None:
        for store in self._open:
            store.close()
            shutil.rmtree(store.data)
        self._open = []


@dataclass(slots=True)
class Apart:
    """The pipeline in a process of its own, started as `wrap` has it: under a slow disk, say."""

    name: str
    images: Sequence[Path]
    room: Path
    held: Path | None = None
    hashes: tuple[str, ...] = HASHES
    wrap: Sequence[str] = ()
    _process: list[subprocess.Popen[str]] = field(default_factory=list)

    def workload(self) -> Workload:
        return Workload(self.name, size_of(*self.images), self._run, self._prepare, self._clean)

    def _prepare(self) -> None:
        data = _begun(self.room / "apart", self.held)
        hashes = [word for name in self.hashes for word in ("--hash", name)]
        command = [*self.wrap, sys.executable, "-m", "bench.in_process", *hashes, str(data), *map(str, self.images)]
        pipe = subprocess.PIPE
        self._process = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)]
        self._expect("ready")

    def _run(self) -> None:
        entry = self._process[0].stdin
        assert entry is not None
        print(file=entry, flush=True)
        self._expect("done")

    def _expect(self, word: str) -> None:
        said = self._process[0].stdout
        assert said is not None
        if said.readline().strip() != word:
            self._process[0].communicate()
            raise RuntimeError(f"{self.name} failed before it was {word}: what it said stands above")

    def _clean(self) -> None:
        for process in self._process:
            process.communicate()
        shutil.rmtree(self.room / "apart")
        self._process = []


@dataclass(slots=True)
class OverHttp:
    """The same through a real server, with curl as the client; `more` images go in at the same time.

    `times`: an image is read so often by one curl. `headers` are curl's, `command` starts the server in another way.
    """

    name: str
    image: Path
    room: Path
    held: Path | None = None
    reading: bool = False
    more: tuple[Path, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    command: Sequence[str] = ()
    headers: Sequence[str] = ()
    times: int = 1
    bytes_read: int = 0  # in one read, where that isn't the image's size
    _server: list[Server] = field(default_factory=list)
    _commands: list[list[str]] = field(default_factory=list)

    def workload(self) -> Workload:
        size = (self.bytes_read or size_of(self.image, *self.more)) * self.times
        return Workload(self.name, size, self._run, self._prepare, self._clean, self._pids)

    def _prepare(self) -> None:
        server = Server(_begun(self.room / "over-http", self.held), settings=self.settings, command=self.command)
        server.start()
        self._server = [server]
        if self.reading:
            image = client.upload(server.url, self.image)
            self._commands = [client.get_command(server.url, image, "/dev/null", self.headers, self.times)]
        else:
            self._commands = [
                client.put_command(server.url, client.create(server.url, self.name), image)
                for image in (self.image, *self.more)
            ]

    def _run(self) -> None:
        with ThreadPoolExecutor(len(self._commands)) as pool:
            for one in [pool.submit(client.run, command) for command in self._commands]:
                one.result()

    def _pids(self) -> Iterable[int]:
        return [pid for server in self._server for pid in tree(server.pid)]

    def _clean(self) -> None:
        for server in self._server:
            server.stop()
            shutil.rmtree(server.data)
        self._server = []


def measured(subjects: Iterable[tuple[InProcess | OverHttp, Probe]], rounds: int) -> Report:
    """Each subject in turns with its limit, and its share of it."""
    pairs = list(subjects)
    report = interleave([one.workload() for pair in pairs for one in pair], rounds)
    for subject, probe in pairs:
        limit: Limit = probe.limit()
        del report.results[probe.workload().name]
        report.ratios.append(
            Ratio(f"share, {subject.name}", report.results[subject.name].mb_per_s, limit.mb_per_s, "limit")
        )
        report.notes += limit.lines()
    return report


def size_of(*images: Path) -> int:
    return sum(image.stat().st_size for image in images)


def _begun(data: Path, held: Path | None) -> Path:
    """A data directory to begin with: a copy of `held`, or none yet."""
    return copied(held, data) if held else data
