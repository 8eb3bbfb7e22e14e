"""Two server processes on one data directory."""

from __future__ import annotations

import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.serial
MIB = 1024 * 1024
SAME = random.Random(1).randbytes(12 * MIB) + bytes(4 * MIB)


def put(server: ServeProcess, data: bytes) -> str:
    image = server.new_image()
    status, answer = server.call("PUT", f"/v2/images/{image}/file", data)
    assert status == 204, answer
    return image


def test_both_upload_the_same_image_while_others_are_deleted_and_all_bytes_are_right(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as one, ServeProcess(tmp_path) as two:
        doomed = [put(one, random.Random(seed).randbytes(MIB)) for seed in range(6)]
        kept = put(two, random.Random(2).randbytes(3 * MIB))
        start = threading.Barrier(3)

        def upload(server: ServeProcess) -> list[str]:
            start.wait()
            return [put(server, SAME + bytes([number])) for number in range(3)]

        def delete() -> None:
            start.wait()
            for number, image in enumerate(doomed):
                assert (one, two)[number % 2].call("DELETE", f"/v2/images/{image}")[0] == 204

        with ThreadPoolExecutor(3) as pool:
            uploads = [pool.submit(upload, one), pool.submit(upload, two)]
            pool.submit(delete).result()
            images = [future.result() for future in uploads]
        for made in images:
            for number, image in enumerate(made):
                for server in (one, two):
                    assert server.call("GET", f"/v2/images/{image}/file") == (200, SAME + bytes([number]))
        assert one.call("GET", f"/v2/images/{kept}/file")[1] == random.Random(2).randbytes(3 * MIB)
        assert all(one.call("GET", f"/v2/images/{image}")[0] == 404 for image in doomed)


def test_a_killed_servers_upload_is_queued_by_its_neighbour_within_five_seconds(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as one, ServeProcess(tmp_path) as two:
        image = one.new_image()
        connection = one.begin_upload(image, 10 * MIB, SAME[:MIB])
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        connection.close()
        deadline = time.monotonic() + 5
        while two.status_of(image) != "queued":
            assert time.monotonic() < deadline, "still saving"
            time.sleep(0.1)
        assert two.call("PUT", f"/v2/images/{image}/file", SAME)[0] == 204
        assert two.call("GET", f"/v2/images/{image}/file") == (200, SAME)
