"""Connections that never finish what they began: told why where that helps, and closed."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from httpapi.listening import Listening, Site
from httpapi.setting_values import Listen
from httpapi.tls import Tls
from tests.kit.authority import Authority
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.usecases.services import Services

REQUEST = b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def hasty(services: Services) -> Iterator[RunningServer]:
    with RunningServer(services, header_timeout=0.6, body_timeout=0.6) as server:
        yield server


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("begun", [b"GET /v2/ima", b"GET /v2/images HTTP/1.1\r\nHost: local", REQUEST[:-2], b"\r\n"])
def test_half_a_head_is_answered_408_and_closed(hasty: RunningServer, begun: bytes) -> None:
    answer = hasty.exchange(begun, end=False)
    assert answer.startswith(b"HTTP/1.0 408 ")
    assert b"x-drystone-error: header-timeout\r\n" in answer
    assert b"did not come within 0.6 seconds" in answer


def test_a_connection_that_says_nothing_is_closed_without_a_word(hasty: RunningServer) -> None:
    assert hasty.exchange(b"", end=False) == b""


def test_bytes_that_trickle_in_do_not_stretch_the_time(hasty: RunningServer) -> None:
    with hasty.connect() as connection:
        connection.settimeout(0.05)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        answer = b""
        while not answer:
            try:
                connection.sendall(b"X-More: and more\r\n")
                answer = connection.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.0 408 ")


def test_a_second_request_has_its_own_time_and_an_idle_connection_stays(hasty: RunningServer) -> None:
    with hasty.connect() as connection:
        connection.sendall(REQUEST)
        assert connection.recv(4096).endswith(b"OK")
        # Longer than a head may take: between requests only the keep-alive time counts.
        time.sleep(0.9)
        connection.sendall(REQUEST[:20])
        time.sleep(0.05)
        connection.sendall(REQUEST[20:])
        assert connection.recv(4096).endswith(b"OK")
        connection.sendall(REQUEST[:20])
        assert rest_of(connection).startswith(b"HTTP/1.0 408 ")


def test_half_a_body_is_answered_408_and_closed(hasty: RunningServer) -> None:
    image_id = hasty.new_image()
    head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    answer = hasty.exchange(head.encode() + b"Content-Type: application/octet-stream\r\n\r\nhalf", end=False)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body-timeout" in answer
    assert hasty.status_of(image_id) == "queued"


def test_a_long_request_is_not_disturbed_by_the_heads_time(services: Services) -> None:
    with RunningServer(services, header_timeout=0.4) as server:
        image_id = server.new_image()
        with server.connect() as connection:
            head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/octet-stream\r\n\r\nab")
            time.sleep(0.7)
            connection.sendall(b"cd")
            assert connection.recv(4096).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("closes", [0, 1])
def test_who_takes_nothing_of_an_answer_is_cut_off(services: Services, closes: int) -> None:
    with RunningServer(services, body_timeout=0.3) as server:
        for _ in range(70):
            server.new_image(note="x" * 60_000)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            close = "Connection: close\r\n" if closes else ""
            connection.sendall(f"GET /v2/images HTTP/1.1\r\nHost: localhost\r\n{close}\r\n".encode() * 3)
            while server.run(open_connections(server)):
                time.sleep(0.05)


async def open_connections(server: RunningServer) -> int:
    """How many connections the server knows."""
    found = server._runner.server
    assert found is not None
    return len(found.connections)


def test_no_handshake_takes_for_ever(services: Services, tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign()
    tls = Tls(pair.certificate, pair.key)
    with RunningServer(services, header_timeout=0.3) as server:
        site = Site(server._runner, Listening(Listen("127.0.0.1", 0), tls, header_timeout=0.3))
        server.run(site.start())
        port = server._runner.addresses[-1][1]
        for begun in (b"", b"\x16\x03\x01"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(begun)
                assert rest_of(connection) == b""
        trusting = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(REQUEST)
            assert connection.recv(4096).endswith(b"OK")
