"""Real worker processes beside a real server, killed and stopped in the middle of a job."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.serve_process import ServeProcess
from tests.kit.worker_process import ROOT, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.serial
# Holes: quick to send, and a second's work to hash.
DATA = bytes(600 << 20)


def task_of(server: ServeProcess, image: str) -> dict[str, Any]:
    [task] = json.loads(server.call("GET", f"/v2/images/{image}/tasks")[1])["tasks"]
    assert isinstance(task, dict)
    return task


def until(server: ServeProcess, image: str, holds: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not holds(task := task_of(server, image)):
        assert time.monotonic() < deadline, task
        time.sleep(0.002)
    return task


def uploaded(server: ServeProcess) -> str:
    image = server.new_image()
    assert server.call("PUT", f"/v2/images/{image}/file", DATA)[0] == 204
    assert task_of(server, image)["status"] == "pending"
    return image


def attempts(data: Path) -> int:
    with closing(sqlite3.connect(data / "catalog.sqlite")) as catalog:
        [[number]] = catalog.execute("SELECT attempts FROM tasks").fetchall()
    return int(number)


def is_hashed(server: ServeProcess, image: str) -> bool:
    shown = json.loads(server.call("GET", f"/v2/images/{image}")[1])
    return bool(shown["os_hash_value"] == hashlib.sha512(DATA).hexdigest())


def test_the_job_of_a_killed_worker_runs_again_within_thirty_seconds_and_once(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, DRYSTONE_HASHES="background", DRYSTONE_JOBS="0") as server:
        image = uploaded(server)
        with WorkerProcess(tmp_path) as worker:
            until(server, image, lambda task: task["status"] == "processing", 30)
            worker.process.send_signal(signal.SIGKILL)
            worker.process.wait()
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(WorkerProcess(tmp_path))
            task = until(server, image, lambda task: task["status"] not in {"pending", "processing"}, 30)
        assert (task["status"], task["result"]) == ("success", {"image_id": image})
        # Once before the kill, once after it, though two workers were there for it.
        assert attempts(tmp_path) == 2
        assert is_hashed(server, image)


def test_a_worker_that_is_told_to_stop_puts_its_job_back_or_ends_it_and_exits_in_order(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, DRYSTONE_HASHES="background", DRYSTONE_JOBS="0") as server:
        image = uploaded(server)
        with WorkerProcess(tmp_path) as worker:
            until(server, image, lambda task: task["status"] == "processing", 30)
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(30) == 0
        assert task_of(server, image)["status"] == "success"
        assert attempts(tmp_path) == 1
        assert is_hashed(server, image)


def test_a_worker_refuses_a_directory_that_it_cannot_use_with_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = WorkerProcess(tmp_path / "file" / "data").command
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("drystone: ")
    assert done.stderr.count("\n") == 1
    assert "choose another data directory with --data" in done.stderr


def test_a_killed_server_that_worked_on_a_job_itself_leaves_it_to_its_neighbour(tmp_path: Path) -> None:
    with (
        ServeProcess(tmp_path, DRYSTONE_HASHES="background", DRYSTONE_JOBS="0") as kept,
        ServeProcess(tmp_path, DRYSTONE_JOBS="1") as killed,
    ):
        image = kept.new_image()
        assert kept.call("PUT", f"/v2/images/{image}/file", DATA)[0] == 204
        until(kept, image, lambda task: task["status"] == "processing", 30)
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        # The neighbour works on no jobs, but it sweeps: the task does not stand as being processed.
        until(kept, image, lambda task: task["status"] == "pending", 30)
        with WorkerProcess(tmp_path, "--jobs", "2") as worker:
            assert "2 at once" in worker.said
            until(kept, image, lambda task: task["status"] == "success", 60)
        assert attempts(tmp_path) == 2
