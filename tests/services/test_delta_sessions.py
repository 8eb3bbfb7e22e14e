"""Delta uploads and server processes: several on one data directory, and ones that are killed."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from httpapi.wire.block_stream import MEDIA_TYPE
from tests.kit.sent_deltas import holes, item
from tests.kit.serve_process import ServeProcess

pytestmark = pytest.mark.serial
BLOCK = 65536
BASE = random.Random(1).randbytes(64 * BLOCK + 5)


def put_image(server: ServeProcess, data: bytes) -> str:
    image = server.new_image()
    assert server.call("PUT", f"/v2/images/{image}/file", data)[0] == 204
    return image


def begin(server: ServeProcess, size: int, **how: object) -> str:
    """The path of a new upload."""
    image = server.new_image()
    status, body = server.call("POST", f"/v2/images/{image}/deltas", json.dumps({"size": size, **how}).encode())
    assert status == 201, body
    return f"/v2/images/{image}/deltas/{json.loads(body)['id']}"


def send(server: ServeProcess, path: str, *items: bytes) -> int:
    return server.call("PUT", f"{path}/blocks", b"".join(items), MEDIA_TYPE)[0]


def shown(server: ServeProcess, path: str) -> Any:
    status, body = server.call("GET", path)
    assert status == 200, body
    return json.loads(body)


def finish(server: ServeProcess, path: str, blocks: int) -> bytes:
    status, body = server.call("POST", f"{path}/commit", json.dumps({"blocks": blocks}).encode())
    assert status == 200, body
    return server.call("GET", f"/v2/images/{json.loads(body)['id']}/file")[1]


def high_water(server: ServeProcess) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def test_an_upload_is_sent_through_two_processes_in_turns_and_at_once(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as one, ServeProcess(tmp_path) as two:
        base = put_image(one, BASE)
        path = begin(two, len(BASE), base=base)
        blocks = {number: random.Random(number).randbytes(BLOCK) for number in range(0, 60, 2)}
        statuses: list[int] = []

        def work(server: ServeProcess, numbers: list[int]) -> None:
            parts = (numbers[at : at + 3] for at in range(0, len(numbers), 3))
            statuses.extend(send(server, path, *(item(n, blocks[n]) for n in part)) for part in parts)

        numbers = list(blocks)
        # The middle third is sent by both.
        threads = [
            threading.Thread(target=work, args=(one, numbers[:20])),
            threading.Thread(target=work, args=(two, numbers[10:])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {204}
        assert shown(one, path)["arrived"] == shown(two, path)["arrived"] == [[n, 1] for n in numbers]
        for server in (one, two):
            assert send(server, path, item(0, BASE[:BLOCK])) == 409
        expected = bytearray(BASE)
        for number, block in blocks.items():
            expected[number * BLOCK : (number + 1) * BLOCK] = block
        assert finish(one, path, 30) == bytes(expected)
        assert send(two, path, item(1, BASE[:BLOCK])) == 404


def test_a_killed_server_loses_nothing_that_it_acknowledged_and_the_upload_goes_on(tmp_path: Path) -> None:
    blocks = {number: random.Random(number).randbytes(BLOCK) for number in range(20)}
    with ServeProcess(tmp_path) as server:
        base = put_image(server, BASE)
        path = begin(server, len(BASE), base=base)
        for number in range(5):
            assert send(server, path, item(number, blocks[number])) == 204
        # Killed in the middle of a request.
        stream = b"".join(item(number, blocks[number]) for number in range(5, 15))
        connection = server.connect_with(
            f"PUT {path}/blocks HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(stream)}\r\n\r\n".encode()
            + stream[:-BLOCK]
        )
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        connection.close()
    with ServeProcess(tmp_path) as server:
        arrived = {n for first, count in shown(server, path)["arrived"] for n in range(first, first + count)}
        assert arrived >= set(range(5))
        missing = sorted(set(blocks) - arrived)
        assert send(server, path, *(item(number, blocks[number]) for number in missing)) == 204
        data = finish(server, path, 20)
        assert data == b"".join(blocks.values()) + BASE[20 * BLOCK :]
        # And once more, since the answer might have been lost.
        assert finish(server, path, 20) == data


def test_memory_stays_the_budgets_whatever_is_sent_at_once(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, DRYSTONE_SLAB_BUDGET="16MiB") as server:
        path = begin(server, 4000 * BLOCK)
        assert send(server, path, item(3999, bytes(range(256)) * 256)) == 204
        before = high_water(server)
        statuses: list[int] = []

        def work(first: int) -> None:
            items = [item(first + n, random.Random(first + n).randbytes(BLOCK)) for n in range(400)]
            statuses.append(send(server, path, *items))

        threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 3200, 400)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [204] * 8
        assert send(server, path, holes(3200, 799)) == 204
        # 200 MiB came in, by eight requests.
        assert high_water(server) - before < 80 << 20
        assert shown(server, path)["blocks"] == 4000
