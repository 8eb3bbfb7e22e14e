"""/ready: what it checks, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from blockstore.index.lock_owner import Process
from httpapi import health
from httpapi.disk_space import Disk, disk_of
from httpapi.handlers.probes import ProbeHandlers
from httpapi.health import Check, Health, Report, State, Watched
from httpapi.metrics.place import Place
from httpapi.metrics.scrape import Scrape
from httpapi.middlewares import IN_FLIGHT
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from catalog.usecases.services import Services

GIB = 1 << 30


def states(report: Report) -> dict[str, State]:
    return {check.name: check.state for check in report.checks}


def detail(report: Report, name: str) -> str:
    [found] = [check.detail for check in report.checks if check.name == name]
    return found


def test_a_server_that_can_work_is_ready_and_says_what_it_looked_at(server: RunningServer) -> None:
    answer = server.call("GET", "/ready")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    names = ["serving", "catalog", "catalog-lock", "index", "disk"]
    assert answer.json == {"ready": True, "checks": [{"name": name, "state": "ok"} for name in names]}
    assert server.call("HEAD", "/ready").status == 200
    assert server.call("POST", "/ready").status == 405


def test_a_worker_of_several_says_which_it_is(services: Services) -> None:
    probes = ProbeHandlers(Health(services), Scrape(services, Place(2, 4)))
    with RunningServer(services, probes=probes) as server:
        assert server.call("GET", "/ready").json["worker"] == "2/4"


def test_a_stopping_server_is_not_ready(server: RunningServer) -> None:
    assert server.call("GET", "/ready").status == 200
    app = server._runner.app
    assert app is not None
    app[IN_FLIGHT].stopping = True
    answer = server.call("GET", "/ready")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json["ready"] is False
    assert answer.json["checks"][0] == {"name": "serving", "state": "failed", "detail": "The server is stopping."}
    app[IN_FLIGHT].stopping = False


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is well must be found so within it, on a busy machine too.
    monkeypatch.setattr(health, "PATIENCE", 0.5)
    monkeypatch.setattr(health, "FRESH", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_catalog_that_another_process_keeps_locked_is_told_until_it_is_free(
    services: Services, tmp_path: Path
) -> None:
    async def scenario() -> None:
        checks = Health(services)
        with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                report = await checks.check(stopping=False)
                assert not report.ready
                assert states(report) == states(
                    Report([Check("serving"), Check("catalog"), Check("index"), Check("disk")])
                ) | {"catalog-lock": State.FAILED}
                assert "keeps it locked" in detail(report, "catalog-lock")
            other.execute("ROLLBACK")
        # Each look waits for the one before, whose turn comes when the database is free.
        while not (await checks.check(stopping=False)).ready:
            pass

    asyncio.run(scenario())


@pytest.mark.usefixtures("impatient")
def test_a_catalog_that_cannot_be_read_is_told_without_its_file(services: Services, tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / "catalog.sqlite").mkdir()
        report = await Health(services).check(stopping=False)
        assert states(report)["catalog"] is State.FAILED
        assert detail(report, "catalog") == "The catalog cannot be read; the log says why."
        assert not [check for check in report.checks if str(tmp_path) in check.detail]

    asyncio.run(scenario())


def index_report(services: Services, data: Path, waited: float, holders: Sequence[Process]) -> Report:
    watched = Watched(data, lambda: waited, lambda: holders)
    return asyncio.run(Health(services, watched).check(stopping=False))


def test_an_index_whose_lock_is_held_too_long_names_the_holder(services: Services, tmp_path: Path) -> None:
    holder = Process(17, "serve", "T")
    assert index_report(services, tmp_path, 1.0, [holder]).ready
    report = index_report(services, tmp_path, 9.0, [holder])
    assert not report.ready
    told = "The index has not been changed for 9 s; its write lock is held by process 17 (serve, stopped)."
    assert detail(report, "index") == told
    several = index_report(services, tmp_path, 9.0, [holder, Process(18, "worker", "S")])
    assert "held by one of process 17 (serve, stopped), process 18 (worker)." in detail(several, "index")


def test_a_disk_that_is_nearly_full_is_told_and_keeps_nobody_away(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "disk_of", lambda _: Disk(size=100 * GIB, free=1 * GIB))
    report = index_report(services, tmp_path, 0.0, [])
    assert report.ready
    assert states(report)["disk"] is State.DEGRADED


def test_a_disk_is_nearly_full_below_a_twentieth_or_ten_gibibytes() -> None:
    assert not Disk(size=100 * GIB, free=5 * GIB).nearly_full
    assert Disk(size=100 * GIB, free=5 * GIB - 1).nearly_full
    assert not Disk(size=10_000 * GIB, free=10 * GIB).nearly_full
    assert Disk(size=10_000 * GIB, free=10 * GIB - 1).nearly_full


def test_a_disk_is_looked_at(tmp_path: Path) -> None:
    found = disk_of(tmp_path)
    assert 0 < found.free <= found.size


def test_asking_often_looks_once(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH", 60.0)
    looks = 0

    def index_wait() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    async def scenario() -> None:
        checks = Health(services, Watched(tmp_path, index_wait, list))
        await asyncio.gather(*(checks.check(stopping=False) for _ in range(20)))

    asyncio.run(scenario())
    assert looks == 1
