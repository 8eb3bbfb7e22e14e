"""Packs are rewritten by another process, again and again, while servers send and receive images."""

from __future__ import annotations

import http.client
import random
import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import zstandard

from blockstore.bare_store import open_bare
from tests.kit.compacted import move_all
from tests.kit.filled_store import looked_after
from tests.kit.images_in_store import every_row_has_its_entry
from tests.kit.serve_process import ServeProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.serial
MIB = 1024 * 1024
DATA = random.Random(1).randbytes(40 * MIB) + bytes(3 * MIB) + b"tail"


def put(server: ServeProcess, data: bytes) -> str:
    image = server.new_image()
    status, answer = server.call("PUT", f"/v2/images/{image}/file", data)
    assert status == 204, answer
    return image


def stored_and_sealed(root: Path) -> str:
    """An image whose packs are sealed: their server has gone."""
    with ServeProcess(root) as server:
        image = put(server, DATA)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()
    return image


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/zstd"])
def test_a_long_download_gives_every_byte_while_all_blocks_move_under_it(tmp_path: Path, kind: str) -> None:
    image = stored_and_sealed(tmp_path)
    with ServeProcess(tmp_path) as server, open_bare(tmp_path, "test", exclusive=False) as store:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            connection.request("GET", f"/v2/images/{image}/file", headers={"Accept": kind})
            response = connection.getresponse()
            assert response.status == 200
            body = b""
            while piece := response.read(5 * MIB):
                body += piece
                move_all(store, full=64 * MIB)
        if kind == "application/zstd":
            body = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()
        assert body == DATA
        assert server.call("GET", f"/v2/images/{image}/file") == (200, DATA)


def test_uploads_and_downloads_of_two_servers_lose_nothing_beside_it(tmp_path: Path) -> None:
    image = stored_and_sealed(tmp_path)
    stop = threading.Event()
    moved = []

    def move() -> None:
        with open_bare(tmp_path, "test", exclusive=False) as store:
            while not stop.is_set():
                move_all(store, full=16 * MIB)
                moved.append(True)

    with ServeProcess(tmp_path) as one, ServeProcess(tmp_path) as two:
        mover = threading.Thread(target=move)
        mover.start()
        try:
            # Half of each is held, and may be moving when it is looked up.
            news = [DATA[: 4 * MIB] + random.Random(seed).randbytes(4 * MIB) for seed in range(10)]
            made = [put((one, two)[number % 2], data) for number, data in enumerate(news)]
            for server in (one, two):
                assert server.call("GET", f"/v2/images/{image}/file") == (200, DATA)
            for number, (name, data) in enumerate(zip(made, news, strict=True)):
                assert (two, one)[number % 2].call("GET", f"/v2/images/{name}/file") == (200, data)
        finally:
            stop.set()
            mover.join(60)
    assert len(moved) >= 3
    with looked_after(tmp_path) as (store, _):
        every_row_has_its_entry(store)
