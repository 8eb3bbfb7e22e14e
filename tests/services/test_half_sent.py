"""Connections that are opened and left half-sent: all are freed in time, and nothing of them stays."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path

import pytest

from tests.kit.serve_process import ServeProcess

CONNECTIONS = 200
HEAD = "Host: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 9000000\r\n"


def figures(pid: int) -> tuple[int, int]:
    """RssAnon in KiB, and how many descriptors are open."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def half(number: int, image_id: str) -> bytes:
    """The beginning of a request, of five kinds in turn."""
    return (
        b"",
        b"GET /v2/ima",
        b"GET /v2/images HTTP/1.1\r\nHost: localhost\r\nX-Begun: " + b"x" * 4000,
        f"PUT /v2/images/{image_id}/file HTTP/1.1\r\n{HEAD}\r\n".encode() + bytes(100_000),
        b"POST /v2/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b" " * 50_000,
    )[number % 5]


def leave_half_sent(server: ServeProcess) -> None:
    """Open them all, send their beginnings, and wait until the server has closed each."""
    opened = []
    for number in range(CONNECTIONS):
        image_id = server.new_image() if number % 5 == 3 else ""
        opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        opened[-1].sendall(half(number, image_id))
    for connection in opened:
        with connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


@pytest.mark.serial
def test_half_sent_connections_are_freed_with_their_memory_and_descriptors(tmp_path: Path) -> None:
    limits = {"DRYSTONE_HEADER_TIMEOUT": "2", "DRYSTONE_BODY_TIMEOUT": "2"}
    with ServeProcess(tmp_path / "data", **limits) as server:
        # What every server comes to after its first requests is no trace of these.
        for _ in range(40):
            server.call("PUT", f"/v2/images/{server.new_image()}/file", bytes(100_000))
        before = figures(server.process.pid)
        leave_half_sent(server)
        assert server.call("GET", "/healthcheck") == (200, b"OK")
        # What was kept for later is given back once the server has been quiet for a moment; else this never ends.
        while any(now > then * 1.1 for now, then in zip(figures(server.process.pid), before, strict=True)):
            time.sleep(0.2)
