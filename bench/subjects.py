"""The workloads that are measured: an image into, and out of, a store that holds nothing, v1, or all of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.harness import Ratio, Report, Workload, interleave
from bench.in_process import Store, copied
from bench.primitives import HASHES
from bench.show import client
from bench.show.server import Server, tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.limit import Limit, Probe


@dataclass(slots=True)
class InProcess:
    """The pipeline alone. `held`: a data directory to begin with, copied before each run."""

    name: str
    image: Path
    room: Path
    held: Path | None = None
    hashes: tuple[str, ...] = HASHES
    reading: bool = False
    _open: list[Store] = field(default_factory=list)

    def workload(self) -> Workload:
        return Workload(self.name, self.image.stat().st_size, self._run, self._prepare, self._clean)

    def _prepare(self) -> None:
        data = self.room / "in-process"
        if self.held:
            copied(self.held, data)
        self._open = [Store(data)]
        if self.reading:
            self._open[0].ingest(self.image, ())

    def _run(self) -> None:
        if self.reading:
            self._open[0].read()
        else:
            self._open[0].ingest(self.image, self.hashes)

    def _clean(self) -> None:
        for store in self._open:
            store.close()
            shutil.rmtree(store.data)
        self._open = []


@dataclass(slots=True)
class OverHttp:
    """The same through a real server, with curl as the client."""

    name: str
    image: Path
    room: Path
    held: Path | None = None
    reading: bool = False
    _server: list[Server] = field(default_factory=list)
    _command: list[str] = field(default_factory=list)

    def workload(self) -> Workload:
        size = self.image.stat().st_size
        return Workload(self.name, size, self._run, self._prepare, self._clean, self._pids)

    def _prepare(self) -> None:
        data = self.room / "over-http"
        if self.held:
            copied(self.held, data)
        server = Server(data)
        server.start()
        self._server = [server]
        if self.reading:
            self._command = client.get_command(server.url, client.upload(server.url, self.image), "/dev/null")
        else:
            self._command = client.put_command(server.url, client.create(server.url, self.name), self.image)

    def _run(self) -> None:
        client.run(self._command)

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
