"""The access log's line: one a request, with the bytes that really left, written when the answer is out."""

from __future__ import annotations

import logging
import re
import socket
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged
from catalog.usecases.services import Services
from tests.httpapi.test_download import BreakingBlocks, active
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "drystone.access"):
        yield


def the_line(caplog: pytest.LogCaptureFixture, start: str) -> re.Match[str]:
    """The one line that begins so, once it is there; the test's own time limit ends the wait."""
    while not (lines := [text for text in caplog.messages if text.startswith(start)]):
        pass
    [line] = lines
    found = re.fullmatch(r"\S+ \S+ (\S+) (\d+) bytes( cut)? \d+\.\d{3} s \S+ \S+", line)
    assert found is not None, line
    return found


def test_a_whole_answer_counts_its_body_and_nothing_else(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    image_id = active(server, bytes(100_000))
    path = f"/v2/images/{image_id}/file"
    server.call("HEAD", path)
    server.call("GET", path, headers={"Range": "bytes=10-29"})
    shown = server.call("GET", f"/v2/images/{image_id}")
    missing = server.call("GET", "/nothing")
    assert the_line(caplog, f"PUT {path} ").groups() == ("204", "0", None)
    assert the_line(caplog, f"HEAD {path} ").groups() == ("200", "0", None)
    assert the_line(caplog, f"GET {path} ").groups() == ("206", "20", None)
    assert the_line(caplog, f"GET /v2/images/{image_id} ").groups() == ("200", str(len(shown.body)), None)
    assert the_line(caplog, "GET /nothing ").groups() == ("404", str(len(missing.body)), None)


def test_a_download_that_is_cut_off_is_marked_and_counts_what_left(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BreakingBlocks()
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        image_id = active(server, bytes(30 << 20))
        blocks.good, blocks.failure = 2 << 20, Damaged("pack 12ab is damaged")
        received = server.exchange(
            f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), end=False
        )
        status, sent, cut = the_line(caplog, f"GET /v2/images/{image_id}/file ").groups()
    assert (status, cut) == ("200", " cut")
    assert len(received.partition(b"\r\n\r\n")[2]) <= int(sent) <= 2 << 20


def test_a_client_that_leaves_or_stands_still_is_marked_too(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningServer(services, body_timeout=0.2) as server:
        size = 30 << 20
        for leaves in (True, False):
            image_id = active(server, bytes(size))
            with server.connect() as connection:
                connection.sendall(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert connection.recv(10)
                if leaves:
                    connection.shutdown(socket.SHUT_RDWR)
                    connection.close()
                status, sent, cut = the_line(caplog, f"GET /v2/images/{image_id}/file ").groups()
            assert (status, cut) == ("200", " cut")
            assert 0 <= int(sent) < size


def test_what_is_no_http_has_a_line_too(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    server.exchange(b"nonsense\r\n\r\n")
    assert the_line(caplog, "- - ").group(1) == "400"


def test_a_defect_of_ours_has_one_line(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    blocks = BreakingBlocks()
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        image_id = active(server, bytes(3 << 20))
        blocks.failure = RuntimeError("a defect")
        answer = server.call("GET", f"/v2/images/{image_id}/file")
        assert answer.status == 500
        line = the_line(caplog, f"GET /v2/images/{image_id}/file ")
        assert line.groups() == ("500", str(len(answer.body)), None)
        assert line.string.endswith(" 127.0.0.1 admin/default")
