"""Four real server processes on one port, under one supervisor: they serve, die, stop and refuse."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.serve_process import ROOT, ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.serial
MIB = 1 << 20
WORKERS = 4
SOON = 30.0


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for it, up to half a minute."""
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def status_if_answered(server: ServeProcess, image: str) -> str | None:
    """An image's status; None when the connection broke."""
    try:
        return server.status_of(image)
    except (ConnectionError, http.client.HTTPException):
        return None


def children(server: ServeProcess) -> set[int]:
    """The workers' process ids."""
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def worker_of(server: ServeProcess) -> str:
    """Which worker answers, this time."""
    status, body = server.call("GET", "/ready")
    assert status == 200, body
    return str(json.loads(body)["worker"])


def wait_for_all(server: ServeProcess) -> None:
    """Ask until each of the workers has answered."""
    missing = {f"{number}/{WORKERS}" for number in range(1, WORKERS + 1)}
    deadline = time.monotonic() + SOON
    while missing:
        assert time.monotonic() < deadline, missing
        missing.discard(worker_of(server))


def figure(server: ServeProcess, name: str, **labels: str) -> float:
    """One figure of /metrics, summed over the labels that are not given."""
    status, body = server.call("GET", "/metrics")
    assert status == 200, body
    return sum(
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def random_bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path / "data", DRYSTONE_WORKERS=str(WORKERS)) as running:
        yield running
        workers = children(running)
        running.process.kill()
        running.process.wait()
        until(lambda: not any(is_running(pid) for pid in workers), "a worker outlived the test")


def test_all_workers_answer_and_see_the_same_images(server: ServeProcess) -> None:
    assert server.said.endswith(f"(identity none: admin/default; {WORKERS} workers)\n")
    assert len(children(server)) == WORKERS
    wait_for_all(server)

    def put(seed: int) -> str:
        image = server.new_image()
        assert server.call("PUT", f"/v2/images/{image}/file", random_bytes(seed, 2 * MIB))[0] == 204
        return image

    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(put, range(12)))
        for _ in range(2):
            found = pool.map(lambda image: server.call("GET", f"/v2/images/{image}/file"), images)
            assert list(found) == [(200, random_bytes(seed, 2 * MIB)) for seed in range(12)]
    # One answer has the whole service: what was sent is told within a second by the workers that were not asked.
    until(lambda: figure(server, "drystone_uploads_total") == 12, "not all uploads were counted")
    until(lambda: figure(server, "drystone_image_sent_bytes_total") == 48 * MIB, "not all was counted")
    until(lambda: figure(server, "drystone_image_received_bytes_total") == 24 * MIB, "not all was counted")
    for number in range(1, WORKERS + 1):
        until(
            lambda worker=str(number): figure(server, "drystone_worker_requests_total", worker=worker) > 0,  # type: ignore[misc]  # mypy can't infer a lambda's defaults
            f"worker {number} has taken no request",
        )
    assert figure(server, "drystone_slab_budget_bytes") == 96 * MIB
    assert figure(server, "process_resident_memory_bytes", worker="supervisor") > 0


def test_a_killed_worker_is_replaced_and_its_upload_queued_by_another_one(server: ServeProcess) -> None:
    kept = {}
    for seed in range(8):
        image = server.new_image()
        kept[image] = random_bytes(seed, MIB)
        assert server.call("PUT", f"/v2/images/{image}/file", kept[image])[0] == 204
    # A request is counted when its answer is out, so perhaps a moment after the client has it.
    until(lambda: figure(server, "drystone_requests_total", method="PUT", status="204") == 8, "not all was counted")
    half = server.new_image()
    with server.begin_upload(half, 8 * MIB, random_bytes(99, 2 * MIB)) as upload:
        victim = owner_of(upload, children(server))
        before = children(server)
        os.kill(victim, signal.SIGKILL)
        # A connection that the dead one's port took just before it was closed is reset: a client asks again.
        until(lambda: status_if_answered(server, half) == "queued", "the upload's image is not queued")
    until(lambda: len(children(server) - before) == 1, "no worker took its place")
    wait_for_all(server)
    assert {image: server.call("GET", f"/v2/images/{image}/file") for image in kept} == {
        image: (200, data) for image, data in kept.items()
    }
    assert server.call("PUT", f"/v2/images/{half}/file", random_bytes(99, 8 * MIB))[0] == 204
    until(lambda: figure(server, "drystone_requeued_images_total") == 1, "the image was not queued just once")
    until(lambda: figure(server, "drystone_worker_starts_total") == WORKERS + 2, "the new worker was not counted")
    # What the dead one had counted is not forgotten.
    until(lambda: figure(server, "drystone_requests_total", method="PUT", status="204") == 9, "a count was forgotten")
    until(lambda: figure(server, "drystone_requests_in_flight") == 0, "the dead one's upload is still at work")


def target_of(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def owner_of(connection: socket.socket, pids: set[int]) -> int:
    """The process at the other end of a loopback connection."""
    mine = connection.getsockname()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    [inode] = [row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == mine and row[3] == "01"]
    # A long body has a second descriptor of its connection.
    [owner] = {
        pid for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if target_of(link) == f"socket:[{inode}]"
    }
    return owner


def test_a_stop_lets_every_worker_finish_and_ends_with_nobody_left(server: ServeProcess) -> None:
    images = [server.new_image() for _ in range(4)]
    uploads = [server.begin_upload(image, 2 * MIB, random_bytes(1, MIB)) for image in images]
    workers = children(server)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: not is_taking_connections(server.port), "it still listens")
    for upload in uploads:
        upload.sendall(random_bytes(2, MIB))
        assert b"".join(iter(lambda: upload.recv(65536), b"")).startswith(b"HTTP/1.1 204 ")  # noqa: B023 - read at once
        upload.close()
    assert server.process.wait(SOON) == 0
    assert not any(is_running(pid) for pid in workers)


def test_a_second_signal_ends_all_at_once(server: ServeProcess) -> None:
    with server.begin_upload(server.new_image(), 2 * MIB, random_bytes(1, MIB)):
        workers = children(server)
        server.process.send_signal(signal.SIGINT)
        until(lambda: not is_taking_connections(server.port), "it still listens")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(SOON) == -signal.SIGINT
        until(lambda: not any(is_running(pid) for pid in workers), "a worker runs on")


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with ServeProcess(tmp_path / "data", DRYSTONE_WORKERS="2", TMPDIR=str(temporary)) as server:
        workers = children(server)
        assert len(workers) == 2
        assert len(list(temporary.iterdir())) == 1
        server.process.kill()
        server.process.wait()
        until(lambda: not any(is_running(pid) for pid in workers), "a worker runs on")
        # The figures' directory, which the supervisor could not take away any more.
        assert not list(temporary.iterdir())
        assert not is_taking_connections(server.port)


def refused(*arguments: str) -> str:
    """The one sentence that a start with two workers ends with; the log's own lines are left out."""
    command = [sys.executable, "-c", "from httpapi.cli.root import main; main()", "serve", "--workers", "2", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1, ended.stderr
    assert not ended.stdout
    [sentence] = [line for line in ended.stderr.splitlines() if line.startswith("drystone: ")]
    assert "Traceback" not in ended.stderr
    return sentence


def test_the_port_is_nobody_elses_and_nobody_elses_port_is_shared(server: ServeProcess, tmp_path: Path) -> None:
    listen = f"127.0.0.1:{server.port}"
    assert "already in use" in refused("--data", str(tmp_path / "other"), "--listen", listen)
    assert not (tmp_path / "other").exists()
    alone = [sys.executable, "-c", "from httpapi.cli.root import main; main()", "serve", "--listen", listen]
    single = subprocess.run(
        [*alone, "--data", str(tmp_path / "third")], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (single.returncode, "already in use" in single.stderr) == (1, True)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as theirs:
        taken = f"127.0.0.1:{theirs.getsockname()[1]}"
        assert "choose another address" in refused("--data", str(tmp_path / "other"), "--listen", taken)


def test_a_start_that_is_refused_is_refused_once(tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "file").write_text("not ours")
    assert "is not empty" in refused("--data", str(tmp_path / "strange"), "--listen", "127.0.0.1:0")
    assert "there is no identity" in refused("--data", str(tmp_path / "data"), "--listen", "192.0.2.1:80")
    assert not (tmp_path / "data").exists()


def test_a_worker_that_dies_at_once_again_and_again_stops_the_service(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from httpapi.cli.root import main; main()", "serve", "--workers", "2"]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        # The data directory's format is not what it was: no worker can be started on it any more.
        (tmp_path / "data" / "format").write_bytes(b"damaged")
        listing = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(listing.stdout.split()[0]), signal.SIGKILL)
        said = process.stderr.read()
        assert process.wait(60) == 1
    last = said.splitlines()[-1]
    told = r"drystone: Worker [12]/2 ended 3 times within 10 seconds of its start, so all are stopped\. The last time: "
    assert re.match(told, last)
    assert "format" in last


def is_taking_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
