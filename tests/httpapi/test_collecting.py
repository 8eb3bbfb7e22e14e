from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blockstore.leases.flock import is_held
from httpapi import collecting
from httpapi.settings import Settings, child_environment, worker_environment
from tests.kit.collector import until
from tests.kit.filled_store import contents, delete, fill, read, verified
from tests.kit.serve_process import ROOT, ServeProcess

IMAGES = contents(2, 300_000)
DATA = random.Random(9).randbytes(300_000)
PATIENCE = 60.0


def figure(server: ServeProcess, name: str) -> float:
    lines = server.call("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_server_collects_on_schedule_while_it_serves(tmp_path: Path) -> None:
    root = tmp_path / "data"
    ids = fill(root, IMAGES)
    delete(root, ids[0])
    with ServeProcess(root, DRYSTONE_GC_EVERY="1s") as server:
        until_when = time.monotonic() + PATIENCE
        while not figure(server, 'drystone_collections_total{result="done"}'):
            assert time.monotonic() < until_when, "no collection"
            image_id = server.new_image()
            assert server.call("PUT", f"/v2/images/{image_id}/file", DATA)[0] == 204
            assert server.call("GET", f"/v2/images/{image_id}/file") == (200, DATA)
            assert server.call("DELETE", f"/v2/images/{image_id}")[0] == 204
        assert figure(server, "drystone_collected_bytes_total") > 0
        assert server.call("GET", f"/v2/images/{ids[1]}/file") == (200, IMAGES[1])
    verified(root)
    assert read(root, ids[1]) == IMAGES[1]


def test_one_server_of_a_data_directory_has_the_schedule_and_the_next_takes_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LOOK_SECONDS", 0.01)
    (tmp_path / "processes").mkdir()
    lock = tmp_path / "processes" / ".schedule"

    async def scene() -> None:
        settings = Settings(data=tmp_path, gc_every=3600.0)
        first = asyncio.create_task(collecting.collect_forever(settings))
        await until(lambda: is_held(lock))
        second = asyncio.create_task(collecting.collect_forever(settings))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(lambda: is_held(lock))
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert not is_held(lock)

    asyncio.run(scene())


def test_where_collections_are_off_nothing_is_locked(tmp_path: Path) -> None:
    async def scene() -> None:
        async with collecting.collecting(Settings(data=tmp_path, gc_every=0.0)):
            pass

    asyncio.run(scene())
    assert not list(tmp_path.iterdir())


def test_a_collection_that_cannot_begin_is_told_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(collecting.collect_once(Settings(data=tmp_path / "none", log_format="json")))
    assert "ended with exit code 1" in caplog.text
    (line,) = capfd.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["process"]) == ("error", "gc")
    assert "there is no Drystone data in" in told["message"]


def test_a_collection_that_is_stopped_with_its_server_ends(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fill(root, IMAGES[:1])

    async def scene() -> None:
        running = asyncio.create_task(collecting.collect_once(Settings(data=root)))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    verified(root)


def test_a_worker_hands_its_figures_on_to_no_process_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "figures")
    monkeypatch.setenv("NOTIFY_SOCKET", "socket")
    assert not {"PROMETHEUS_MULTIPROC_DIR", "NOTIFY_SOCKET"} & child_environment().keys()
    assert worker_environment(Path("others"))["PROMETHEUS_MULTIPROC_DIR"] == "others"


def test_giving_way_lowers_the_priority_of_a_process() -> None:
    program = "from httpapi.low_priority import give_way; import os; give_way(); print(os.getpriority(0, 0))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "19"
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19
