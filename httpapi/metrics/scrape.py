"""One scrape: the figures of all workers as one text, with what is looked up only when somebody asks."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from catalog.model.errors import CatalogError
from catalog.usecases import tasks
from httpapi.disk_space import disk_of
from httpapi.metrics.instruments import REGISTRY
from httpapi.metrics.place import ALONE, Member, Place, read_roster
from httpapi.metrics.requests import REQUEST_METER
from httpapi.settings import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from catalog.model.task import TaskStatus
    from catalog.usecases.services import Services
    from httpapi.disk_space import Disk

PATIENCE: Final = 2.0
"""Seconds that a scrape waits for the catalog; without its answer the rest is told all the same."""
CATALOG_FILES: Final = (CATALOG_FILE, f"{CATALOG_FILE}-wal")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk that are cheap to look up: the index's file, the catalog's, and the disk that holds the data."""

    index: int
    catalog: int
    disk: Disk


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape of the service needs; `data` is None where there is no data directory, as in tests."""

    services: Services
    place: Place = ALONE
    data: Path | None = None

    async def text(self, accept: str) -> tuple[bytes, str]:
        """All figures now, in the format that `accept` asks for, and that format's content type."""
        REQUEST_METER.flush()
        counts = await self._job_counts()
        return await asyncio.to_thread(self._encoded, counts, accept)

    async def _job_counts(self) -> Mapping[TaskStatus, int]:
        try:
            async with asyncio.timeout(PATIENCE):
                return await tasks.counts(self.services)
        except (CatalogError, TimeoutError):
            # /ready says what is wrong; a scrape without a line says it too.
            return {}

    def _encoded(self, counts: Mapping[TaskStatus, int], accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        registry = CollectorRegistry()
        registry.register(
            _Families([*self._counted(), *_jobs(counts), *self._looked_up(), *_processes(self._members())])
        )
        return encode(registry), content_type

    def _counted(self) -> Iterable[Metric]:
        if self.place.directory is None:
            return REGISTRY.collect()
        return MultiProcessCollector(None, str(self.place.directory)).collect()  # type: ignore[no-untyped-call, no-any-return]  # the library's

    def _members(self) -> Mapping[str, Member]:
        if self.place.directory is None:
            return {"1": Member(os.getpid(), 1)}
        return read_roster(self.place.directory)

    def _looked_up(self) -> Iterator[Metric]:
        if self.data is None:
            return
        sizes = sizes_of(self.data)
        yield GaugeMetricFamily("drystone_index_bytes", "The index's file.", sizes.index)
        yield GaugeMetricFamily("drystone_catalog_bytes", "The catalog's files.", sizes.catalog)
        yield GaugeMetricFamily("drystone_disk_bytes", "The disk that holds the data directory.", sizes.disk.size)
        yield GaugeMetricFamily("drystone_disk_free_bytes", "What is free on it.", sizes.disk.free)


@dataclass(frozen=True, slots=True, eq=False)
class _Families(Collector):
    """Figures that are there already, for the library to write down."""

    found: list[Metric]

    def collect(self) -> list[Metric]:
        return self.found


def sizes_of(data: Path) -> Sizes:
    """Look them up; a file that is not there has no bytes."""
    catalog = sum(_size_of(data / name) for name in CATALOG_FILES)
    return Sizes(_size_of(data / "index" / "data.mdb"), catalog, disk_of(data))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _jobs(counts: Mapping[TaskStatus, int]) -> Iterator[Metric]:
    if counts:
        family = GaugeMetricFamily("drystone_tasks", "Tasks by status; ended ones for two days.", labels=("status",))
        for status, number in counts.items():
            family.add_metric((status.value,), number)
        yield family


def _processes(members: Mapping[str, Member]) -> Iterator[Metric]:
    """The library's figures of a process, for each of ours."""
    starts = CounterMetricFamily("drystone_worker_starts", "How often each process was started.", labels=("worker",))
    found: dict[str, Metric] = {}
    for name, member in members.items():
        starts.add_metric((name,), member.starts)
        for family in ProcessCollector(pid=partial(int, member.pid), registry=None).collect():
            kept = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                kept.add_sample(sample.name, {**sample.labels, "worker": name}, sample.value)
    yield starts
    yield from found.values()
