"""GET of an image as it is stored: `Accept: application/zstd`."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import zstandard

from httpapi.wire.reading import wants_stored
from tests.kit.open_packs import packs_open
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.forked_program import ForkedPrograms
    from tests.kit.running_server import RunningServer

OCTETS = {"Content-Type": "application/octet-stream"}
ZSTD = {"Accept": "application/zstd"}


def unpack(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/*", False),
        ("application/octet-stream", False),
        ("application/zstd", True),
        ("Application/ZSTD;q=0.1", True),
        ("application/zstd;q=0", False),
        ("application/zstd;q=nonsense", False),
        ("application/octet-stream;q=0.5, application/zstd", True),
        ("application/octet-stream, application/zstd;q=0.9", False),
        ("application/octet-stream, application/zstd", True),
    ],
)
def test_only_who_names_the_type_gets_frames(accept: str | None, *, wanted: bool) -> None:
    assert wants_stored(accept) is wanted


def test_the_headers_of_a_stored_read_promise_no_more_than_holds(server: RunningServer) -> None:
    image_id = server.new_image()
    assert server.call("PUT", f"/v2/images/{image_id}/file", b"0123456789", OCTETS).status == 204
    path = f"/v2/images/{image_id}/file"
    whole = server.call("GET", path, headers=ZSTD | {"Range": "bytes=2-4"})
    head = server.call("HEAD", path, headers=ZSTD)
    assert (whole.status, unpack(whole.body)) == (200, b"0123456789")
    assert (head.status, head.body) == (200, b"")
    for answer in (whole, head):
        assert answer.headers["Content-Type"] == "application/zstd"
        assert answer.headers["ETag"] == f'W/"{image_id}"'
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Accept-Ranges"] == "none"
        assert answer.headers["Content-Length"] is None
        assert answer.headers["Content-MD5"] is None
    assert server.call("GET", path).headers["Vary"] == "Accept"
    assert server.call("GET", path, headers=ZSTD | {"If-None-Match": f'"{image_id}"'}).status == 304
    assert server.call("GET", path, headers=ZSTD | {"If-Match": f'"{image_id}"'}).status == 412
    # If-Match compares strongly, so a weak tag is not even the same as itself.
    assert server.call("GET", path, headers=ZSTD | {"If-Match": f'W/"{image_id}"'}).status == 412


@pytest.fixture
def images(tmp_path: Path, programs: ForkedPrograms) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path / "data", programs) as served:
        yield served


@pytest.mark.parametrize("name", ["sparse with an odd tail", "all holes", "empty", "random", "repeats"])
def test_zstd_gives_back_the_bytes_of_any_image(images: ServeProcess, tmp_path: Path, name: str) -> None:
    random_bytes = random.Random(name).randbytes(300_001)
    data = {
        "sparse with an odd tail": bytes(9_000_000) + random_bytes + bytes(131_072) + b"tail" * 1000 + bytes(77),
        "all holes": bytes(20_000_003),
        "empty": b"",
        "random": random_bytes * 3,
        "repeats": (b"a" * 65536 + b"b" * 65536) * 40,
    }[name]
    image_id = images.new_image()
    assert images.call("PUT", f"/v2/images/{image_id}/file", data)[0] == 204
    url = f"http://127.0.0.1:{images.port}/v2/images/{image_id}/file"
    stored = tmp_path / "stored.zst"
    curl = ["curl", "-sSf", "-H", "Accept: application/zstd", "-o", str(stored), url]
    subprocess.run(curl, check=True)
    found = subprocess.run(["zstd", "-dc", str(stored)], check=True, capture_output=True).stdout
    assert found == data
    assert len(data) < 65536 or stored.stat().st_size < len(data) * 1.01 + 1000


def test_readers_that_take_little_at_a_time_get_each_byte_in_its_place(images: ServeProcess) -> None:
    data = random.Random(5).randbytes(7_000_001)
    image_id = images.new_image()
    assert images.call("PUT", f"/v2/images/{image_id}/file", data)[0] == 204
    with ExitStack() as stack:
        answers = [stack.enter_context(_asked(images, image_id, accept)) for accept in ("*/*", "application/zstd")]
        bodies = [bytearray(), bytearray()]
        for _ in range(0, 2 * len(data), 30_000):
            bodies[0].extend(answers[0].read(30_000))
            bodies[1].extend(answers[1].read(30_000))
    assert bodies[0] == data
    assert unpack(bytes(bodies[1])) == data


def test_a_reader_that_leaves_in_the_middle_leaves_no_pack_open(images: ServeProcess) -> None:
    image_id = images.new_image()
    assert images.call("PUT", f"/v2/images/{image_id}/file", random.Random(6).randbytes(36_000_000))[0] == 204
    before = packs_open(images.process.pid)
    with _asked(images, image_id, "application/zstd") as answer:
        assert len(answer.read(100_000)) == 100_000
        _until(lambda: len(packs_open(images.process.pid)) > len(before))
    _until(lambda: packs_open(images.process.pid) == before)


def _until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def _asked(server: ServeProcess, image_id: str, accept: str) -> Iterator[http.client.HTTPResponse]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", server.port))
        head = f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
        connection.sendall(head.encode())
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            assert answer.status == 200
            yield answer
