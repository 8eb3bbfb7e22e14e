"""GET and HEAD of an image's bytes: statuses, headers, ranges, and failures in the middle."""

from __future__ import annotations

import hashlib
import http.client
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged
from catalog.usecases.services import Services
from tests.kit.memory_blocks import MemoryBlocks, MemoryReader
from tests.kit.running_server import Answer, RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from catalog.ports import StoredManifest

DATA = b"0123456789"
OCTETS = {"Content-Type": "application/octet-stream"}


def active(server: RunningServer, data: bytes = DATA) -> str:
    image_id = server.new_image()
    assert server.call("PUT", f"/v2/images/{image_id}/file", data, OCTETS).status == 204
    return image_id


def get(server: RunningServer, image_id: str, method: str = "GET", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call(method, f"/v2/images/{image_id}/file", headers=named)


def test_a_whole_read_has_every_header_and_head_has_the_same(server: RunningServer) -> None:
    image_id = active(server)
    whole, head = get(server, image_id), get(server, image_id, "HEAD")
    assert (whole.status, whole.body) == (200, DATA)
    assert (head.status, head.body) == (200, b"")
    for answer in (whole, head):
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Length"] == "10"
        assert answer.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest()
        assert answer.headers["ETag"] == f'"{image_id}"'
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Transfer-Encoding"] is None


@pytest.mark.parametrize(
    ("header", "body", "content_range"),
    [
        ("bytes=0-4", b"01234", "bytes 0-4/10"),
        ("bytes=5-", b"56789", "bytes 5-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", DATA, "bytes 0-9/10"),
        ("bytes=0-100", DATA, "bytes 0-9/10"),
    ],
)
def test_a_range_gives_206_and_that_part(server: RunningServer, header: str, body: bytes, content_range: str) -> None:
    image_id = active(server)
    part = get(server, image_id, Range=header)
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, body, content_range)
    assert part.headers["Content-Length"] == str(len(body))
    assert part.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest()


def test_a_read_takes_no_body(server: RunningServer) -> None:
    image = active(server)
    assert server.call("GET", f"/v2/images/{image}/file", b"{}").status == 400


@pytest.mark.parametrize("header", ["bytes=0-4", "bytes=20-", "bytes=0-1,3-4", "foo"])
def test_head_has_no_parts_so_a_range_is_ignored(server: RunningServer, header: str) -> None:
    image_id = active(server)
    for headers in ({"Range": header}, {"Content_Range": header.replace("=", " ") + "/10"}):
        head = get(server, image_id, "HEAD", **headers)
        assert (head.status, head.headers["Content-Length"]) == (200, "10")
        assert head.headers["Content-Range"] is None
    assert get(server, image_id, "HEAD", If_None_Match=f'"{image_id}"', Range=header).status == 304


def test_a_range_without_bytes_is_416_and_tells_the_size(server: RunningServer) -> None:
    image_id = active(server)
    for header in ("bytes=20-", "bytes=5-2", "foo", "bytes=-0"):
        answer = get(server, image_id, Range=header)
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")
        assert answer.json["code"].startswith("416 ")
    assert get(server, image_id, Range="bytes=0-1,3-4").status == 400


def test_the_legacy_content_range_gives_206(server: RunningServer) -> None:
    part = get(server, active(server), Content_Range="bytes 2-4/10")
    assert (part.status, part.body) == (206, b"234")


def test_an_empty_image_is_200_without_bytes_and_416_for_any_range(server: RunningServer) -> None:
    image_id = active(server, b"")
    whole = get(server, image_id)
    assert (whole.status, whole.body, whole.headers["Content-Length"]) == (200, b"", "0")
    answer = get(server, image_id, Range="bytes=0-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */0")


def test_an_image_without_bytes_yet_is_204(server: RunningServer) -> None:
    image_id = server.new_image()
    for method in ("GET", "HEAD"):
        answer = get(server, image_id, method)
        assert (answer.status, answer.body) == (204, b"")


def test_a_known_tag_is_304_and_another_if_match_412(server: RunningServer) -> None:
    image_id = active(server)
    known = get(server, image_id, If_None_Match=f'"{image_id}"')
    assert (known.status, known.body, known.headers["ETag"]) == (304, b"", f'"{image_id}"')
    assert get(server, image_id, If_None_Match='"other"').body == DATA
    assert get(server, image_id, If_Match='"other"').status == 412
    assert get(server, image_id, If_Match=f'"{image_id}"').status == 200


def test_tags_on_several_lines_are_one_list(server: RunningServer) -> None:
    image_id = active(server)
    for name, status in (("If-None-Match", 304), ("If-Match", 200)):
        head = f'GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\n{name}: "other"\r\n{name}: "{image_id}"'
        assert server.exchange(f"{head}\r\n\r\n".encode()).startswith(f"HTTP/1.1 {status} ".encode())


def test_ranges_on_several_lines_are_several_ranges(server: RunningServer) -> None:
    head = f"GET /v2/images/{active(server)}/file HTTP/1.1\r\nHost: localhost\r\n"
    answer = server.exchange(f"{head}Range: bytes=0-1\r\nRange: bytes=3-4\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"x-drystone-error: several-ranges" in answer


def test_if_range_with_another_tag_gives_the_whole(server: RunningServer) -> None:
    image_id = active(server)
    assert get(server, image_id, Range="bytes=2-", If_Range=f'"{image_id}"').body == DATA[2:]
    whole = get(server, image_id, Range="bytes=2-", If_Range='"other"')
    assert (whole.status, whole.body) == (200, DATA)


def test_several_reads_go_over_one_connection(server: RunningServer) -> None:
    image_id = active(server)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for header in ("bytes=0-0", "bytes=99-", "bytes=1-1"):
        connection.request("GET", f"/v2/images/{image_id}/file", headers={"Range": header})
        response = connection.getresponse()
        response.read()
        assert not response.will_close
    connection.close()


class BreakingReader(MemoryReader):
    """Gives `good` bytes, then fails, or ends as if that were all."""

    def __init__(self, size: int, good: int, failure: Exception | None) -> None:
        super().__init__(bytes(size))
        self._good = good
        self._failure = failure

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, min(stop, self._good), 1 << 20):
            yield b"a" * (min(stop, self._good, at + (1 << 20)) - at)
        if self._failure is not None:
            raise self._failure


class BreakingBlocks(MemoryBlocks):
    """Everything as it should be, except reading."""

    good = 0
    failure: Exception | None = None

    async def open(self, manifests: Sequence[StoredManifest]) -> MemoryReader:
        whole = await super().open(manifests)
        whole.close()
        return BreakingReader(whole.size, self.good, self.failure)


def test_damage_at_the_very_start_is_503_and_names_the_file(services: Services) -> None:
    blocks = BreakingBlocks()
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        image_id = active(server, bytes(3 << 20))
        blocks.failure = Damaged("pack 12ab is damaged")
        answer = get(server, image_id)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "damaged", "5")
        assert "pack 12ab" in answer.json["message"]


@pytest.mark.parametrize("failure", [Damaged("pack 12ab is damaged"), None])
def test_a_failure_in_the_middle_cuts_the_connection_and_never_pads(
    services: Services, failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BreakingBlocks()
    with RunningServer(Services(database=services.database, blocks=blocks)) as server:
        image_id = active(server, bytes(3 << 20))
        blocks.good, blocks.failure = 2 << 20, failure
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", f"/v2/images/{image_id}/file")
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()
        assert server.call("GET", "/healthcheck").status == 200
    assert ("pack 12ab is damaged" if failure else "where 3145728 belong") in caplog.text


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: RunningServer) -> None:
    image_id = active(server, bytes(20 << 20))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"/v2/images/{image_id}/file")
    assert connection.getresponse().read(10) == bytes(10)
    connection.close()
    assert get(server, image_id, Range="bytes=-1").body == b"\0"


def test_a_client_that_takes_nothing_for_too_long_is_cut_off(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningServer(services, body_timeout=0.2) as server:
        image_id = active(server, bytes(30 << 20))
        with server.connect() as connection:
            connection.sendall(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while "took nothing" not in caplog.text:
                pass
