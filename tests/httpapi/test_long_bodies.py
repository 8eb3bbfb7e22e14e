"""Bodies that are so long that they are received past aiohttp's parser, right into memory."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from httpapi.body import LONG, WORTH_WAKING
from tests.httpapi.test_upload import await_status, head_of, is_queued_and_empty, read_head
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from catalog.usecases.services import Services

DATA = random.Random(3).randbytes(2 * LONG + 12_345)
LENGTH = f"Content-Length: {len(DATA)}"


@pytest.fixture
def hasty(services: Services) -> Iterator[RunningServer]:
    with RunningServer(services, body_timeout=1) as running:
        yield running


def begun(server: RunningServer, image_id: str, sent: bytes) -> socket.socket:
    """An upload under way: the server waits for its body when the first bytes of it are sent."""
    connection = server.connect()
    connection.sendall(head_of(image_id, LENGTH))
    await_status(server, image_id, "saving")
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    return connection.recv(1) == b""


@pytest.mark.parametrize("piece", [len(DATA), 1_000_000, 70_001])
def test_every_byte_arrives_however_it_is_cut_and_the_connection_ends(server: RunningServer, piece: int) -> None:
    image_id = server.new_image()
    with begun(server, image_id, b"") as connection:
        for start in range(0, len(DATA), piece):
            connection.sendall(DATA[start : start + piece])
        head = read_head(connection)
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"\r\nConnection: close\r\n" in head
        assert is_closed(connection)
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA


def test_one_that_comes_with_its_head_is_right_too(server: RunningServer) -> None:
    image_id = server.new_image()
    answer = server.exchange(head_of(image_id, LENGTH) + DATA)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA


def test_a_sender_that_goes_away_or_ends_its_side_leaves_the_image_queued(server: RunningServer) -> None:
    image_id = server.new_image()
    begun(server, image_id, DATA[: LONG + 5]).close()
    await_status(server, image_id, "queued")
    answer = server.exchange(head_of(image_id, LENGTH) + DATA[:-1])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"x-drystone-error: source-lost" in answer
    assert is_queued_and_empty(server, image_id)


def test_a_sender_that_stands_still_is_told_so_and_one_that_trickles_is_not(hasty: RunningServer) -> None:
    still, trickling = hasty.new_image(), hasty.new_image()
    with begun(hasty, still, DATA[:LONG]) as connection:
        head = read_head(connection)
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"x-drystone-error: body-timeout" in head
    assert is_queued_and_empty(hasty, still)
    with begun(hasty, trickling, DATA[:-5]) as connection:
        for at in range(len(DATA) - 5, len(DATA)):
            time.sleep(0.3)
            connection.sendall(DATA[at : at + 1])
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")


def test_less_than_what_is_worth_waking_for_is_no_standstill(hasty: RunningServer) -> None:
    image_id = hasty.new_image()
    few = WORTH_WAKING // 8
    with begun(hasty, image_id, DATA[:LONG]) as connection:
        for start in range(LONG, LONG + 6 * few, few):
            time.sleep(0.4)
            connection.sendall(DATA[start : start + few])
        connection.sendall(DATA[LONG + 6 * few :])
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    assert hasty.call("GET", f"/v2/images/{image_id}/file").body == DATA


def test_a_refusal_in_the_middle_arrives_and_ends_the_connection(server: RunningServer) -> None:
    image_id = server.new_image()
    with begun(server, image_id, DATA[:LONG]) as connection:
        assert server.call("DELETE", f"/v2/images/{image_id}").status == 204
        connection.sendall(DATA[LONG:])
        head = read_head(connection)
        assert head.startswith(b"HTTP/1.1 410 ")
        assert b"\r\nConnection: close\r\n" in head
        connection.settimeout(10)
        while connection.recv(65536):
            pass


def test_nothing_behind_a_long_body_is_ever_a_request(server: RunningServer) -> None:
    image_id, victim = server.new_image(), server.new_image()
    smuggled = f"DELETE /v2/images/{victim} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with begun(server, image_id, DATA) as connection:
        connection.sendall(smuggled)
        answered = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answered += piece
        assert answered.count(b"HTTP/1.1 ") <= 1
    await_status(server, image_id, "active")
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA
    assert server.status_of(victim) == "queued"


def test_one_that_waits_to_be_invited_is_invited_once(server: RunningServer) -> None:
    image_id = server.new_image()
    with server.connect() as connection:
        connection.sendall(head_of(image_id, LENGTH, "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA)
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    assert server.call("GET", f"/v2/images/{image_id}/file").body == DATA
