"""Images converted by the service as it is: real files, the real cage, servers and workers that are killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.hostile_files import HOSTILE
from tests.kit.serve_process import ServeProcess
from tests.kit.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.forked_program import ForkedPrograms

pytestmark = pytest.mark.serial
BLOCK = 64 << 10
DISK = b"".join(os.urandom(BLOCK) if number % 3 else bytes(BLOCK) for number in range(48))
SECONDS = 60.0


def qcow2_of(root: Path, disk: bytes, *options: str) -> bytes:
    (root / "disk.raw").write_bytes(disk)
    command = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        *options,
        str(root / "disk.raw"),
        str(root / "disk.q"),
    ]
    subprocess.run(command, check=True)
    return (root / "disk.q").read_bytes()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def server(root: Path, programs: ForkedPrograms) -> Iterator[ServeProcess]:
    settings = {"DRYSTONE_IMPORT_CONVERT": "raw", "DRYSTONE_IMPORT_DECOMPRESS": "true"}
    with ServeProcess(root / "data", programs, **settings) as running:
        yield running


def asked(server: ServeProcess, method: str, path: str, document: object = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    status, text = server.call(method, path, body)
    assert status < 300, (status, text)
    return json.loads(text) if text else None


def new_image(server: ServeProcess, disk_format: str) -> str:
    return str(asked(server, "POST", "/v2/images", {"disk_format": disk_format, "container_format": "bare"})["id"])


def imported(server: ServeProcess, data: bytes, disk_format: str) -> tuple[str, Any]:
    """An image's id and its task, at its end."""
    image = new_image(server, disk_format)
    assert server.call("PUT", f"/v2/images/{image}/stage", data)[0] == 204
    asked(server, "POST", f"/v2/images/{image}/import", {"method": {"name": "glance-direct"}})
    task = asked(server, "GET", f"/v2/images/{image}/tasks")["tasks"][0]
    return image, ended(server, task["id"])


def ended(server: ServeProcess, task_id: str) -> Any:
    return until(
        lambda: asked(server, "GET", f"/v2/tasks/{task_id}"), lambda task: task["status"] in {"success", "failure"}
    )


def until(look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + SECONDS
    while not holds(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def packs_of(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "data" / "packs").rglob("*") if path.is_file())


def rooms_of(root: Path) -> list[Path]:
    return [path for path in (root / "data" / "work").rglob("*") if path.is_file()]


def test_a_disk_that_is_held_is_the_same_image_in_whatever_it_comes(root: Path, server: ServeProcess) -> None:
    raw = new_image(server, "raw")
    assert server.call("PUT", f"/v2/images/{raw}/file", DISK)[0] == 204
    held = asked(server, "GET", f"/v2/images/{raw}")
    for data in (qcow2_of(root, DISK, "-c"), gzip.compress(qcow2_of(root, DISK), 1)):
        image, task = imported(server, data, "qcow2")
        assert task["status"] == "success", task
        told = asked(server, "GET", f"/v2/images/{image}")
        for name in ("size", "virtual_size", "checksum", "os_hash_value", "disk_format", "status"):
            assert told[name] == held[name], name
        assert server.call("GET", f"/v2/images/{image}/file")[1] == DISK
    assert not rooms_of(root)


def test_there_and_back_on_demand_is_the_same_disk_and_stores_nothing_twice(root: Path, server: ServeProcess) -> None:
    raw = new_image(server, "raw")
    assert server.call("PUT", f"/v2/images/{raw}/file", DISK)[0] == 204
    for target in ("qcow2", "vmdk", "vhdx"):
        there = asked(server, "POST", f"/v2/images/{raw}/actions/convert", {"disk_format": target})
        assert ended(server, there["id"])["status"] == "success"
        told = asked(server, "GET", f"/v2/images/{there['image_id']}")
        assert (told["status"], told["disk_format"]) == ("active", target)
        before = packs_of(root)
        back = asked(server, "POST", f"/v2/images/{there['image_id']}/actions/convert", {"disk_format": "raw"})
        done = ended(server, back["id"])
        assert done["status"] == "success"
        assert set(done["result"]["seconds"]) == {"read", "convert", "store"}
        assert server.call("GET", f"/v2/images/{back['image_id']}/file")[1][: len(DISK)] == DISK
        assert packs_of(root) - before < BLOCK, "its blocks are held"


def test_a_hostile_file_ends_its_task_and_harms_nobody(root: Path, server: ServeProcess) -> None:
    for name in ("a qcow2 over another file", "a qcow2 of 8 EiB", "a vmdk with a flat extent"):
        file = HOSTILE[name]
        file.write(root / "hostile")
        with (root / "hostile").open("rb") as opened:
            data = opened.read(4 << 20)
        image, task = imported(server, data, file.disk_format)
        assert task["status"] == "failure"
        assert task["message"]
        told = asked(server, "GET", f"/v2/images/{image}")
        assert (told["status"], told["size"], told["disk_format"]) == ("queued", None, file.disk_format)
    _, task = imported(server, qcow2_of(root, DISK), "qcow2")
    assert task["status"] == "success"
    assert not rooms_of(root)


def test_a_worker_that_is_killed_while_it_converts_leaves_nothing_and_another_one_ends_it(
    tmp_path: Path, programs: ForkedPrograms
) -> None:
    data = tmp_path / "data"
    disk = os.urandom(BLOCK) * 1024
    with ServeProcess(data, programs, DRYSTONE_JOBS="0") as server:
        raw = new_image(server, "raw")
        assert server.call("PUT", f"/v2/images/{raw}/file", disk)[0] == 204
        task = asked(server, "POST", f"/v2/images/{raw}/actions/convert", {"disk_format": "qcow2", "compressed": True})
        with WorkerProcess(data) as worker:
            until(lambda: [path for path in rooms_of(tmp_path) if path.name == "converted"], bool)
            worker.process.send_signal(signal.SIGKILL)
            worker.process.wait()
        assert rooms_of(tmp_path)
        # The server sweeps; nothing that the dead one had started lives on and writes.
        until(lambda: rooms_of(tmp_path), lambda found: not found)
        with WorkerProcess(data):
            done = ended(server, task["id"])
        assert (done["status"], done["result"]["image_id"]) == ("success", task["image_id"])
        assert asked(server, "GET", f"/v2/images/{task['image_id']}")["status"] == "active"
        assert not rooms_of(tmp_path)
